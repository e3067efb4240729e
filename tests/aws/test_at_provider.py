"""status.atProvider against upstream's schema: what an object with everything configured does not show, and why.

`tests/vectors/aws/fields/` has upstream's fields (see test_fields.py); what AWS answers where everything is set is made from
botocore's models.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest

from groundplane import errors
from groundplane.aws import catalogue
from groundplane.aws.account_config import AccountConfig
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.engine import Engine
from groundplane.aws.resource import POLL, SELDOM
from groundplane.aws.session import Sessions
from tests.aws.conftest import RDS, S3, made, managed, settle
from tests.aws.test_fields import KINDS, upstream
from tests.aws.test_grammar import operation

EMPTY = {"s3.aws.upbound.io_Bucket": {"acl": "AWS has no canned ACL, only the grants that it stood for"}}


def answer(shape, name=""):
    """A value that fills all of a shape, as botocore hands it out."""
    match shape.type_name:
        case "structure":
            return {key: answer(inner, key) for key, inner in shape.members.items() if key != "ResponseMetadata"}
        case "list":
            return [answer(shape.member, name)]
        case "map":
            return {"key": answer(shape.value)}
        case "timestamp":
            return datetime(2030, 1, 1, tzinfo=UTC)
        case "string":
            return {"State": "associated", "Ipv6Pool": "Amazon", "LogTypesToDisable": "8"}.get(name, "7")
    return {"boolean": True, "blob": b"x"}.get(shape.type_name, 7)


def given(field):
    """A value for a field of the spec."""
    inner = field.type.removeprefix("[]")
    value = {name: given(entry) for name, entry in field.fields.items()} if field.fields else {"a": "b"}
    value = {"string": "text", "number": 7, "boolean": True}.get(inner, value)
    return [value] if field.type.startswith("[]") else value


def filled(value, path=""):
    """The paths at which a status has something."""
    if isinstance(value, dict):
        return {path} | {
            found for name, inner in value.items() for found in filled(inner, f"{path}.{name}".lstrip("."))
        }
    if isinstance(value, list):
        return {path} | {
            at for inner in value for at in filled(inner, f"{path}[]" if isinstance(inner, dict) else path)
        }
    return {path}


class Answered(Engine):
    """One that has everything from AWS already."""

    def ask(self, name, /, **parameters):
        return answer(operation(self.kind, name).output_shape)

    def pages(self, name, /, **parameters):
        yield self.ask(name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_upstreams_status_is_filled_where_everything_is_configured(kind):
    group, _, name = kind.partition("_")
    found = catalogue.lookup(f"{group}/v1beta1", name)
    spec = {field: given(rule) for field, rule in found.fields.items()} | {"region": "eu-west-1", "tags": {"a": "b"}}
    thing = managed(f"{group}/v1beta1", name, "orders", external_name="orders", **spec)
    engine = Answered(found, catalogue.hooks(found.file), thing, now=datetime.now(UTC))
    engine._clients = Partition()
    shown = engine._at_provider(engine.read(informed=True), {"a": "b"})
    known = upstream(kind)["v1beta1"]
    paths = {path.removeprefix("status.atProvider.") for path in known if path.startswith("status.atProvider.")}
    assert paths - filled(shown) == set(EMPTY.get(kind, {}))


class Partition:
    """Of an account, what templates ask."""

    config = AccountConfig({})

    def account_id(self, region):
        return "123456789012"


# --- settings of a bucket


@pytest.fixture
async def bucket(cloud, account, standin):
    """A bucket with settings that others have charge of."""
    bucket = managed(S3, "Bucket", "orders-data", objectLockEnabled=True)
    await cloud.create(bucket, account, {})
    s3, name = standin.client("s3"), "orders-data"
    read = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [read]}))
    s3.put_bucket_cors(
        Bucket=name, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
    )
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [default]})
    s3.put_bucket_website(Bucket=name, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    return bucket


async def test_the_settings_of_a_bucket_are_told_in_the_style_of_upstreams_first_version(cloud, account, bucket):
    shown = (await settle(cloud, bucket, account)).at_provider
    assert shown["versioning"] == [{"enabled": True, "mfaDelete": False}]
    assert shown["corsRule"] == [{"allowedMethods": ["GET"], "allowedOrigins": ["*"]}]
    [rule] = shown["lifecycleRule"]
    assert (rule["id"], rule["enabled"], rule["tags"], rule["expiration"]) == ("old", True, {"a": "b"}, [{"days": 30}])
    [encryption] = shown["serverSideEncryptionConfiguration"]
    assert encryption["rule"][0]["applyServerSideEncryptionByDefault"] == [{"sseAlgorithm": "AES256"}]
    assert shown["objectLockConfiguration"] == [{"objectLockEnabled": "Enabled"}]
    assert shown["websiteEndpoint"] == "orders-data.s3-website-eu-west-1.amazonaws.com"
    assert json.loads(shown["policy"])["Statement"][0]["Action"] == "s3:GetObject"
    assert shown["grant"][0]["permissions"] == ["FULL_CONTROL"]


class Clock:
    def __init__(self):
        self.now = datetime.now(UTC)

    def __call__(self):
        return self.now


async def test_what_only_informs_is_read_every_six_hours_and_when_a_look_is_asked_for(account, bucket, standin):
    clock = Clock()
    cloud = AwsCloud(sessions=Sessions(attempts=1), now=clock)
    settings = {"GET ?versioning", "GET ?cors", "GET ?policy", "GET ?lifecycle", "GET ?website", "GET ?encryption"}
    before = await settle(cloud, bucket, account)

    async def asked():
        standin.forget_calls()
        observation = await settle(cloud, bucket, account)
        assert observation.at_provider == before.at_provider
        return bool(settings & set(standin.operations()))

    assert not await asked()
    clock.now += timedelta(seconds=SELDOM * POLL - 1)
    assert not await asked()
    clock.now += timedelta(seconds=1)
    assert await asked()
    assert not await asked()
    bucket["metadata"]["annotations"]["crossplane.io/reconcile-requested-at"] = "now"
    assert await asked()
    cloud.close()


async def test_after_a_start_buckets_take_turns_with_what_only_informs(account, bucket, standin):
    cloud, clock = AwsCloud(sessions=Sessions(attempts=1)), Clock()
    await settle(cloud, bucket, account)
    cloud.close()
    restarted = AwsCloud(sessions=Sessions(attempts=1), now=clock)
    read = []
    for _ in range(61):
        standin.forget_calls()
        await restarted.observe(bucket, account, {})
        read.append("GET ?versioning" in standin.operations())
        clock.now += timedelta(minutes=6)
    assert read.count(True) == 1
    restarted.close()


async def test_a_setting_that_may_not_be_read_is_left_out(cloud, account, bucket, standin):
    standin.fail("s3", "GET ?policy", "AccessDenied", status=403)
    standin.fail("s3", "GET ?website", "NotImplemented", status=501)
    shown = (await settle(cloud, bucket, account)).at_provider
    assert not {"policy", "website", "websiteEndpoint"} & set(shown)
    assert shown["versioning"]


async def test_stale_credentials_and_trouble_of_aws_are_no_missing_setting(cloud, account, bucket, standin):
    standin.fail("s3", "GET ?policy", "ExpiredToken", status=400)
    assert await cloud.find(bucket, account) == "orders-data"  # which needs none of them
    with pytest.raises(errors.Denied):
        await cloud.observe(bucket, account, {})
    assert (await settle(cloud, bucket, account)).at_provider["policy"]


# --- what moves all the time


async def test_the_latest_restorable_time_is_told_by_the_hour(account, standin):
    clock = Clock()
    cloud = AwsCloud(sessions=Sessions(attempts=1), now=clock)
    facts = {"engine": "postgres", "instanceClass": "db.t4g.micro", "allocatedStorage": 20, "username": "postgres"}
    password = {"namespace": "crossplane-system", "name": "orders", "key": "password"}
    database = managed(RDS, "Instance", "orders", **facts, passwordSecretRef=password, skipFinalSnapshot=True)
    secrets = {"password": "correct-horse-battery"}
    first = (await made(cloud, database, account, secrets)).at_provider["latestRestorableTime"]
    assert (await cloud.observe(database, account, secrets)).at_provider["latestRestorableTime"] == first
    database["status"]["atProvider"]["latestRestorableTime"] = "2020-01-01T00:00:00Z"
    assert (await cloud.observe(database, account, secrets)).at_provider["latestRestorableTime"] >= first
    cloud.close()
