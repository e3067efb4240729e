"""AWS's errors become ours: by table through the translation, and through the engine with botocore's own stubber."""

from pathlib import Path

import pytest
import yaml
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber

from groundplane import errors
from groundplane.aws import catalogue, faults, tags
from tests.aws.conftest import EC2, RDS, S3, managed

VECTORS = Path(__file__).parents[1] / "vectors" / "aws" / "faults.yaml"
KNOWN = catalogue.load("rds_instance").errors


def client_error(code, message="", status=400, operation="CreateDBInstance"):
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(answer, operation)


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row["case"]) for row in yaml.load(VECTORS.read_text(), yaml.CSafeLoader)]
)
def test_what_an_answer_of_aws_becomes(row):
    error = client_error(row["code"], row.get("message", ""), row.get("status", 400))
    found = faults.translate(error, KNOWN, young=row.get("young", False))
    assert type(found).__name__ == row["becomes"]
    assert str(found) == row.get("text", str(found))
    assert found.mend == row.get("mend", found.mend)
    assert getattr(found, "fresh", None) == row.get("fresh")  # whether time alone may mend it


@pytest.mark.parametrize(
    "error, becomes",
    [
        (boto.NoCredentialsError(), errors.Denied),
        (boto.CredentialRetrievalError(provider="x", error_msg="y"), errors.Denied),
        (boto.PartialCredentialsError(provider="x", cred_var="y"), errors.Denied),
        (boto.EndpointConnectionError(endpoint_url="http://x", error="y"), errors.Unavailable),
        (boto.ReadTimeoutError(endpoint_url="http://x", error="y"), errors.Unavailable),
        (boto.ConnectionClosedError(endpoint_url="http://x", error="y"), errors.Unavailable),
        (ResponseParserError("<html>"), errors.Unavailable),
        (boto.ParamValidationError(report="Missing required parameter"), errors.InvalidInput),
        (boto.InvalidRegionError(region_name="moon base"), errors.InvalidInput),
    ],
)
def test_what_an_error_of_botocore_becomes(error, becomes):
    assert type(faults.translate(error, KNOWN)) is becomes


def test_who_can_not_connect_is_told_where_to_look():
    error = boto.EndpointConnectionError(endpoint_url="http://x", error="y")
    assert "proxy" in faults.translate(error, KNOWN).mend


def test_a_secret_value_is_in_no_text():
    error = boto.ParamValidationError(report="Invalid type for MasterUserPassword, value: hunter2-hunter2")
    found = faults.translate(error, KNOWN, secrets=["hunter2-hunter2", ""])
    assert "hunter2" not in str(found)
    assert "hunter2" not in repr(found)


@pytest.fixture
def stubbed(cloud, account):
    """botocore's stubber on the client that the engine will use."""

    def stub(service, region="eu-west-1"):
        stubber = Stubber(cloud._sessions.clients(account).client(service, region))
        stubber.activate()
        return stubber

    return stub


INSTANCE = managed(RDS, "Instance", "orders", engine="postgres", instanceClass="db.t4g.micro", skipFinalSnapshot=True)


@pytest.mark.parametrize(
    "code, status, becomes",
    [
        ("ExpiredToken", 403, errors.Denied),
        ("AccessDenied", 403, errors.Denied),
        ("Throttling", 400, errors.Throttled),
        ("InternalFailure", 500, errors.Unavailable),
        ("DBSubnetGroupNotFoundFault", 404, errors.Waiting),
        ("404", 404, errors.Unavailable),
    ],
)
async def test_no_other_code_than_its_own_says_that_a_thing_is_missing(cloud, account, stubbed, code, status, becomes):
    stubbed("rds").add_client_error("describe_db_instances", code, "words", status)
    with pytest.raises(becomes):
        await cloud.observe(INSTANCE, account, {})


async def test_its_own_code_says_that_a_thing_is_missing(cloud, account, stubbed):
    stubbed("rds").add_client_error("describe_db_instances", "DBInstanceNotFound", "words", 404)
    assert not (await cloud.observe(INSTANCE, account, {})).exists


@pytest.mark.parametrize(
    ("region", "mend"), [("us-west-9", "the SDK lists no region us-west-9: did you mean us-west-2?"), ("us-west-2", "")]
)
async def test_where_an_endpoint_fails_a_region_that_the_sdk_does_not_list_is_named(
    cloud, account, stubbed, region, mend
):
    vpc = managed(EC2, "VPC", "v", "vpc-1", region=region, cidrBlock="10.0.0.0/16")
    stubbed("ec2", region).add_client_error("describe_vpcs", "500", "<html><title>Oh</title></html>", 500)
    with pytest.raises(errors.Unavailable, match="500: Oh") as raised:
        await cloud.observe(vpc, account, {})
    assert raised.value.mend == mend


async def test_a_bucket_that_is_not_ours_to_see_is_not_missing(cloud, account, stubbed):
    stubber = stubbed("s3")
    stubber.add_client_error("head_bucket", "403", "Forbidden", 403)
    stubber.add_client_error("head_bucket", "404", "Not Found", 404)
    with pytest.raises(errors.Denied, match="a bucket of that name exists"):
        await cloud.observe(managed(S3, "Bucket", "orders"), account, {})
    assert not (await cloud.observe(managed(S3, "Bucket", "orders"), account, {})).exists


async def test_what_it_refers_to_and_is_not_there_is_waited_for_until_its_kind_changes(cloud, account, stubbed):
    subnet = managed(EC2, "Subnet", "orders", cidrBlock="10.0.0.0/24", vpcId="vpc-1")
    stubbed("ec2").add_client_error("create_subnet", "InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist", 400)
    with pytest.raises(errors.Waiting, match="vpc-1") as raised:
        await cloud.create(subnet, account, {})
    assert ("ec2.aws.upbound.io", "VPC") in [(each.group, each.kind) for each in raised.value.on]


async def test_a_name_that_somebody_else_has_is_refused(cloud, account, stubbed):
    bucket = managed(S3, "Bucket", "orders")
    stubber = stubbed("s3")
    stubber.add_client_error("create_bucket", "BucketAlreadyExists", "taken", 409)
    stubber.add_client_error("head_bucket", "403", "Forbidden", 403)
    with pytest.raises(errors.Denied):
        await cloud.create(bucket, account, {})


async def test_a_create_whose_answer_was_lost_meets_its_own_work(cloud, account, network):
    group = managed(RDS, "SubnetGroup", "orders", subnetIds=network["subnets"])
    first = await cloud.create(group, account, {})
    assert await cloud.create(group, account, {}) == first
    other = managed(RDS, "SubnetGroup", "orders", subnetIds=network["subnets"])
    with pytest.raises(errors.InvalidInput, match="DBSubnetGroupAlreadyExists"):
        await cloud.create(other, account, {})


@pytest.mark.parametrize("code, kept", [("AccessDenied", True), ("ExpiredToken", False)])
async def test_only_refused_credentials_cost_the_clients(cloud, account, stubbed, code, kept):
    before = cloud._sessions.clients(account)
    stubbed("rds").add_client_error("describe_db_instances", code, "no", 403)
    with pytest.raises(errors.Denied):
        await cloud.observe(INSTANCE, account, {})
    assert (cloud._sessions.clients(account) is before) is kept


async def test_tags_of_aws_itself_are_carried_along_where_the_whole_set_is_replaced(cloud, account, stubbed):
    bucket = managed(S3, "Bucket", "orders", tags={"team": "orders"})
    theirs = {"Key": "aws:cloudformation:stack-name", "Value": "net"}
    stubber = stubbed("s3")
    stubber.add_response("head_bucket", {"BucketRegion": "eu-west-1"})
    bucket["status"] = {"atProvider": {"id": "orders", "accelerationStatus": ""}}  # its settings have been read
    stubber.add_response("get_bucket_tagging", {"TagSet": [theirs, {"Key": "stray", "Value": "1"}]})
    observation = await cloud.observe(bucket, account, {})
    assert "aws:cloudformation:stack-name" not in observation.at_provider["tags"]
    [drift] = observation.drift
    wanted = [theirs, *({"Key": key, "Value": value} for key, value in sorted(drift.desired.items()))]
    stubber.add_response("put_bucket_tagging", {}, {"Bucket": "orders", "Tagging": {"TagSet": wanted}})
    await cloud.update(bucket, account, {}, observation)
    stubber.assert_no_pending_responses()


def test_when_no_tag_is_wanted_any_more_those_of_aws_stay():
    found = {"aws:owner": "x", "team": "orders"}
    [(call, parameters)] = tags.changes({}, found, tags.STYLES["s3"], "orders")
    assert (call, parameters["Tagging"]["TagSet"]) == ("put_bucket_tagging", [{"Key": "aws:owner", "Value": "x"}])
    [(call, parameters)] = tags.changes({}, found, tags.STYLES["ec2"], "vpc-1")
    assert (call, parameters["Tags"]) == ("delete_tags", [{"Key": "team"}])


def test_a_principal_that_was_just_made_is_waited_for_and_an_old_one_is_wrong():
    known = catalogue.load("sqs_queue_policy").errors
    error = client_error(
        "InvalidAttributeValue", "Invalid value for the parameter Policy.", operation="SetQueueAttributes"
    )
    assert isinstance(faults.translate(error, known, young=True), errors.Waiting)
    old = faults.translate(error, known)
    assert isinstance(old, errors.InvalidInput)
    assert old.where == ("spec.forProvider.policy",)
