"""What is particular to kinds of S3, SQS, SNS and Secrets Manager, beyond the life that `test_life.py` plays from their files."""

import json

import pytest

from groundplane import errors
from groundplane.ports import Account
from tests.aws.conftest import IAM, INI, S3, external_name, made, managed, provider_config, settle

SQS, SNS, SECRETS = (f"{service}.aws.upbound.io/v1beta1" for service in ("sqs", "sns", "secretsmanager"))
GROUP = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
REF = {"namespace": "crossplane-system", "name": "orders", "key": "password"}


@pytest.fixture
async def bucket(cloud, account):
    bucket = managed(S3, "Bucket", "orders-settings")
    await made(cloud, bucket, account)
    return external_name(bucket)


async def test_what_aws_made_with_the_bucket_is_ours_once_ours_was_put_over_it(cloud, account, bucket, standin):
    block = managed(S3, "BucketPublicAccessBlock", "orders", bucket=bucket, blockPublicAcls=True)
    assert cloud.default_external_name(block) == ""
    assert not (await cloud.observe(block, account, {})).exists
    observation = await made(cloud, block, account)
    assert external_name(block) == bucket
    assert observation.at_provider["blockPublicPolicy"] is False
    looking = managed(S3, "BucketPublicAccessBlock", "other", bucket=bucket)
    looking["spec"]["managementPolicies"] = ["Observe"]
    assert (await cloud.observe(looking, account, {})).at_provider["blockPublicAcls"] is True


async def test_a_create_that_finds_all_as_it_is_wanted_sends_nothing(cloud, account, bucket, standin):
    versioning = managed(
        S3, "BucketVersioning", "orders", bucket=bucket, versioningConfiguration=[{"status": "Disabled"}]
    )
    standin.forget_calls()
    assert (await made(cloud, versioning, account)).at_provider["versioningConfiguration"][0]["status"] == "Disabled"
    assert not [name for name in standin.operations() if name.startswith("PUT")]


async def test_an_interrupted_put_is_found_when_its_object_is_deleted(cloud, account, bucket):
    controls = managed(
        S3, "BucketOwnershipControls", "orders", bucket=bucket, rule=[{"objectOwnership": "ObjectWriter"}]
    )
    await cloud.create(controls, account, {})  # and its name is not saved
    assert await cloud.find(controls, account) == bucket


async def test_logs_may_have_no_prefix(cloud, account, bucket):
    facts = {"bucket": bucket, "targetBucket": bucket, "targetPrefix": ""}
    logging = managed(S3, "BucketLogging", "orders", **facts)
    assert (await made(cloud, logging, account)).at_provider["targetPrefix"] == ""
    logging["spec"]["forProvider"]["targetPrefix"] = "log/"
    assert (await settle(cloud, logging, account)).at_provider["targetPrefix"] == "log/"
    logging["spec"]["forProvider"]["targetPrefix"] = ""
    assert (await settle(cloud, logging, account)).at_provider["targetPrefix"] == ""


async def test_the_stand_in_writes_no_logs_of_access_so_that_their_bucket_can_be_deleted(cloud, account, bucket):
    target = managed(S3, "Bucket", "orders-logs")
    await made(cloud, target, account)
    logging = managed(
        S3, "BucketLogging", "orders", bucket=bucket, targetBucket=external_name(target), targetPrefix="log/"
    )
    await made(cloud, logging, account)
    await cloud.delete(target, account, await cloud.observe(target, account, {}))
    assert not (await cloud.observe(target, account, {})).exists


async def test_what_is_to_stay_counts_as_gone_when_its_object_is_deleted(cloud, account, bucket):
    block = managed(S3, "BucketPublicAccessBlock", "orders", bucket=bucket, skipDestroy=True)
    assert (await made(cloud, block, account)).exists
    block["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert not (await cloud.observe(block, account, {})).exists


async def test_another_owner_stands_in_the_name_and_is_refused_by_aws(cloud, account, bucket):
    rule = [{"allowedMethods": ["GET"], "allowedOrigins": ["*"]}]
    cors = managed(
        S3, "BucketCorsConfiguration", "orders", corsRule=rule, bucket=bucket, expectedBucketOwner="123456789012"
    )
    await made(cloud, cors, account)
    assert external_name(cors) == f"{bucket},123456789012"
    assert (await cloud.observe(cors, account, {})).immutable == ()

    imported = managed(S3, "BucketCorsConfiguration", "other", external_name=f"{bucket},123456789012")
    imported["spec"]["managementPolicies"] = ["Observe"]
    assert (await cloud.observe(imported, account, {})).at_provider["bucket"] == bucket

    cors["spec"]["forProvider"]["expectedBucketOwner"] = "999999999999"
    [difference] = (await cloud.observe(cors, account, {})).immutable
    assert (difference.field, difference.observed) == ("expectedBucketOwner", "123456789012")
    del cors["status"], cors["metadata"]["annotations"]["crossplane.io/external-name"]
    with pytest.raises(errors.Denied, match="expectedBucketOwner"):
        await cloud.observe(cors, account, {})


async def test_the_canned_acl_that_was_put_stands_in_the_name(cloud, account, bucket):
    acl = managed(S3, "BucketACL", "orders", bucket=bucket, acl="private")
    await made(cloud, acl, account)
    assert external_name(acl) == f"{bucket},private"
    acl["spec"]["forProvider"]["acl"] = "public-read"
    observation = await settle(cloud, acl, account)
    assert external_name(acl) == f"{bucket},public-read"
    assert len(observation.at_provider["accessControlPolicy"][0]["grant"]) == 2


async def test_grants_are_put_one_by_one_and_compared_as_a_set(cloud, account, bucket):
    owner = {"id": "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"}
    grants = [
        {"grantee": [{"type": "Group", "uri": GROUP}], "permission": "READ"},
        {"grantee": [{"type": "CanonicalUser", **owner}], "permission": "FULL_CONTROL"},
    ]
    acl = managed(S3, "BucketACL", "orders", bucket=bucket, accessControlPolicy=[{"grant": grants, "owner": [owner]}])
    await made(cloud, acl, account)
    acl["spec"]["forProvider"]["accessControlPolicy"][0]["grant"].reverse()
    assert (await cloud.observe(acl, account, {})).drift == ()
    del acl["spec"]["forProvider"]["accessControlPolicy"][0]["grant"][1]
    observation = await settle(cloud, acl, account)
    assert len(observation.at_provider["accessControlPolicy"][0]["grant"]) == 1


async def test_a_website_may_send_all_requests_elsewhere(cloud, account, bucket):
    site = managed(
        S3, "BucketWebsiteConfiguration", "orders", bucket=bucket, redirectAllRequestsTo=[{"hostName": "example.org"}]
    )
    observation = await made(cloud, site, account)
    assert observation.at_provider["websiteEndpoint"] == f"{bucket}.s3-website-eu-west-1.amazonaws.com"
    spec = site["spec"]["forProvider"]
    del spec["redirectAllRequestsTo"]
    spec["indexDocument"] = [{"suffix": "index.html"}]
    assert "redirectAllRequestsTo" not in (await settle(cloud, site, account)).at_provider


async def test_rules_of_a_website_in_the_one_form_are_changed_though_aws_shows_them_in_the_other_too(
    cloud, account, bucket, standin
):
    def rules(prefix):
        return [{"condition": [{"keyPrefixEquals": prefix}], "redirect": [{"hostName": "example.org"}]}]

    site = managed(S3, "BucketWebsiteConfiguration", "orders", bucket=bucket, routingRule=rules("docs/"))
    site["spec"]["forProvider"]["indexDocument"] = [{"suffix": "index.html"}]
    await made(cloud, site, account)
    site["spec"]["forProvider"]["routingRule"] = rules("papers/")
    await settle(cloud, site, account)
    (rule,) = standin.client("s3").get_bucket_website(Bucket=bucket)["RoutingRules"]
    assert rule["Condition"] == {"KeyPrefixEquals": "papers/"}


async def test_a_lifecycle_rule_for_all_objects_needs_no_filter(cloud, account, bucket):
    rule = [{"id": "all", "status": "Enabled", "expiration": [{"days": 0, "expiredObjectDeleteMarker": True}]}]
    observation = await made(
        cloud, managed(S3, "BucketLifecycleConfiguration", "orders", bucket=bucket, rule=rule), account
    )
    assert observation.at_provider["rule"][0]["filter"] == [{"prefix": ""}]


async def test_a_queue_of_another_one_is_not_taken_over_in_silence(cloud, account, standin):
    url = standin.client("sqs").create_queue(QueueName="orders-taken")["QueueUrl"]
    queue = managed(SQS, "Queue", "orders-taken")
    with pytest.raises(errors.InvalidInput, match="not of this Queue.*crossplane.io/external-name: http"):
        await cloud.create(queue, account, {})
    queue["metadata"]["annotations"]["crossplane.io/external-name"] = url
    assert (await settle(cloud, queue, account)).at_provider["tagsAll"]["crossplane-name"] == "orders-taken"


@pytest.mark.parametrize("thing", [managed(SQS, "Queue", "orders-once"), managed(SECRETS, "Secret", "orders-once")])
async def test_what_an_interrupted_create_made_is_found_by_its_name_and_tag(cloud, account, thing):
    first = await cloud.create(thing, account, {})
    assert await cloud.find(thing, account) == first.external_name
    assert (await cloud.create(thing, account, {})).external_name == first.external_name


async def test_a_fifo_queue_gets_the_name_that_aws_asks_for(cloud, account):
    queue = managed(SQS, "Queue", "orders", fifoQueue=True, contentBasedDeduplication=True)
    observation = await made(cloud, queue, account)
    assert observation.at_provider["name"] == observation.late["name"] == "orders.fifo"
    assert observation.at_provider["deduplicationScope"] == "queue"
    misnamed = managed(SQS, "Queue", "other", name="other", fifoQueue=True)
    with pytest.raises(errors.InvalidInput, match=r"spec.forProvider.name.*let it end in .fifo"):
        await cloud.create(misnamed, account, {})


async def test_a_redrive_policy_in_other_words_is_no_drift(cloud, account):
    dead = managed(SQS, "Queue", "orders-dead")
    arn = (await made(cloud, dead, account)).at_provider["arn"]
    queue = managed(
        SQS, "Queue", "orders", redrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "4"})
    )
    await made(cloud, queue, account)
    queue["spec"]["forProvider"]["redrivePolicy"] = f'{{"maxReceiveCount":4,  "deadLetterTargetArn":"{arn}"}}'
    assert (await cloud.observe(queue, account, {})).drift == ()
    queue["spec"]["forProvider"]["redrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    assert (await cloud.observe(queue, account, {})).drift


async def test_a_fifo_topic_is_made(cloud, account):
    topic = managed(SNS, "Topic", "orders.fifo", fifoTopic=True, contentBasedDeduplication=True)
    observation = await made(cloud, topic, account)
    assert observation.at_provider["fifoTopic"] is observation.at_provider["contentBasedDeduplication"] is True
    assert observation.connection["arn"].endswith(b":orders.fifo")


async def test_a_topic_is_found_though_the_account_need_not_be_asked_for(cloud, standin):
    flags = {"skip_requesting_account_id": True, "skip_credentials_validation": True}
    account = Account(provider_config(standin.url, **flags), {"creds": INI}, "1")
    assert (await made(cloud, managed(SNS, "Topic", "orders"), account)).at_provider["owner"] == "123456789012"


async def test_a_subscription_that_waits_for_its_confirmation_is_not_ready_and_can_go(cloud, account):
    topic = managed(SNS, "Topic", "orders")
    arn = (await made(cloud, topic, account)).at_provider["arn"]
    endpoint = "https://example.org/orders"
    thing = managed(SNS, "TopicSubscription", "orders", topicArn=arn, protocol="https", endpoint=endpoint)
    observation = await made(cloud, thing, account)
    assert (observation.ready.status, observation.ready.reason) == ("False", "Creating")
    thing["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert not (await cloud.observe(thing, account, {})).exists


async def test_another_value_of_a_secret_makes_another_version(cloud, account, standin):
    secret = managed(SECRETS, "Secret", "orders-login")
    arn = (await made(cloud, secret, account)).at_provider["arn"]
    version = managed(SECRETS, "SecretVersion", "orders", secretId=arn, secretStringSecretRef=REF)
    first = await made(cloud, version, account, {"secretString": "correct"})
    assert first.connection["attribute.secret_string"] == b"correct"
    assert (await cloud.create(version, account, {"secretString": "correct"})).external_name == external_name(version)
    name = external_name(version)
    second = await settle(cloud, version, account, {"secretString": "horse"})
    assert external_name(version) != name
    assert second.at_provider["versionStages"] == ["AWSCURRENT"]
    assert standin.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"] == "horse"
    assert "correct" not in repr(second.at_provider) + external_name(version)


async def test_a_version_that_is_imported_is_not_made_anew_and_one_that_is_only_looked_at_is_not_read(
    cloud, account, standin
):
    client = standin.client("secretsmanager")
    arn = client.create_secret(Name="orders-theirs")["ARN"]
    for field, value in (("secretString", "correct"), ("secretBinary", "AP8=")):
        sent = {"SecretString": "correct"} if field == "secretString" else {"SecretBinary": b"\x00\xff"}
        name = f"{arn}|{client.put_secret_value(SecretId=arn, **sent)['VersionId']}"
        version = managed(
            SECRETS, "SecretVersion", field, external_name=name, secretId=arn, **{f"{field}SecretRef": REF}
        )
        found = await cloud.observe(version, account, {field: value})
        assert found.exists
        assert found.drift == ()
        assert found.at_provider[f"{field}Digest"]  # so that another value is noticed
        assert [each.field for each in (await cloud.observe(version, account, {field: "YQ=="})).drift] == [
            f"{field}SecretRef"
        ]
    version["spec"]["managementPolicies"] = ["Observe"]
    standin.forget_calls()
    seen = await cloud.observe(version, account, {})
    assert (seen.exists, seen.at_provider["versionStages"], seen.connection) == (True, ["AWSCURRENT"], {})
    assert set(standin.operations()) == {"ListSecretVersionIds"}
    version["spec"]["writeConnectionSecretToRef"] = {"name": "x", "namespace": "y"}
    assert (await cloud.observe(version, account, {})).connection["attribute.secret_binary"] == b"AP8="
    version["metadata"]["annotations"]["crossplane.io/external-name"] = f"{arn}|{'0' * 36}"
    del version["spec"]["writeConnectionSecretToRef"]
    assert not (await cloud.observe(version, account, {})).exists


async def test_a_binary_secret_is_kept_as_it_is(cloud, account, standin):
    secret = managed(SECRETS, "Secret", "orders-key")
    arn = (await made(cloud, secret, account)).at_provider["arn"]
    version = managed(SECRETS, "SecretVersion", "orders", secretId=arn, secretBinarySecretRef=REF)
    observation = await made(cloud, version, account, {"secretBinary": "AP8="})
    assert observation.connection["attribute.secret_binary"] == b"AP8="
    assert standin.client("secretsmanager").get_secret_value(SecretId=arn)["SecretBinary"] == b"\x00\xff"
    with pytest.raises(errors.InvalidInput, match="secretBinarySecretRef.*no base64") as caught:
        await cloud.create(version, account, {"secretBinary": "not base64!"})
    assert "not base64!" not in str(caught.value)


async def test_a_name_that_waits_for_its_deletion_says_so(cloud, account, standin):
    client = standin.client("secretsmanager")
    client.create_secret(Name="orders-old")
    client.delete_secret(SecretId="orders-old")
    with pytest.raises(errors.InvalidInput, match="scheduled for deletion.*restore-secret"):
        await cloud.create(managed(SECRETS, "Secret", "orders-old"), account, {})


@pytest.mark.parametrize("capacity", [5, 0])  # 0, as upstream fills it in
async def test_a_table_on_demand_is_made_without_the_capacity_that_its_spec_has(cloud, account, capacity):
    attribute = [{"name": "id", "type": "S"}]
    facts = {"hashKey": "id", "attribute": attribute, "billingMode": "PAY_PER_REQUEST"}
    facts |= {"readCapacity": capacity, "writeCapacity": capacity}
    table = managed("dynamodb.aws.upbound.io/v1beta1", "Table", "orders", **facts)
    assert (await made(cloud, table, account)).drift == ()


async def test_a_table_is_restored_and_gets_its_tags_afterwards(cloud, account, standin):
    attribute = [{"name": "id", "type": "S"}]
    facts = {"hashKey": "id", "attribute": attribute, "billingMode": "PAY_PER_REQUEST"}
    facts |= {"pointInTimeRecovery": [{"enabled": True}]}
    await made(cloud, managed("dynamodb.aws.upbound.io/v1beta1", "Table", "orders", **facts), account)
    again = {"restoreSourceName": "orders", "restoreToLatestTime": True, "tags": {"team": "a"}}
    copy = managed("dynamodb.aws.upbound.io/v1beta1", "Table", "orders-again", **again)
    observation = await made(cloud, copy, account)
    assert observation.drift == ()
    assert observation.at_provider["tagsAll"]["team"] == "a"
    assert "RestoreTableToPointInTime" in standin.operations()


async def test_a_provider_of_identities_without_https_is_refused_before_it_is_made(cloud, account, standin):
    provider = managed(IAM, "OpenIDConnectProvider", "eks", url="http://oidc.example.com", clientIdList=["a"])
    with pytest.raises(errors.InvalidInput, match="https://"):
        await cloud.create(provider, account, {})
    assert standin.operations() == []


async def test_a_table_that_is_protected_stays_and_says_what_to_set(cloud, account):
    key = {"hashKey": "id", "attribute": [{"name": "id", "type": "S"}], "billingMode": "PAY_PER_REQUEST"}
    table = managed("dynamodb.aws.upbound.io/v1beta1", "Table", "kept", deletionProtectionEnabled=True, **key)
    await made(cloud, table, account)
    with pytest.raises(errors.InvalidInput, match="currently protected against deletion") as refused:
        await cloud.delete(table, account, await cloud.observe(table, account, {}))
    assert refused.value.mend == "set deletionProtectionEnabled: false"
