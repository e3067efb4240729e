"""The generation of managed resources that live in namespaces: their accounts, references, Secrets and shapes."""

import copy
import json

import pytest

from groundplane.core.objects import Key
from tests.reconcile import managed
from tests.reconcile.managed import applied, condition, deleted, get, is_ready, message

EC2, RDS, S3, SQS, CLOUD_CONTROL = (
    f"{service}.aws.m.upbound.io/v1beta1" for service in ("ec2", "rds", "s3", "sqs", "cloudcontrol")
)
AWS = "aws.m.upbound.io/v1beta1"
TEAM, OTHERS = "team-a", "team-b"


def config(url, kind="ClusterProviderConfig", namespace="", name="default", **credentials):
    made = managed.provider_config(url, name)
    made |= {"apiVersion": AWS, "kind": kind}
    made["spec"]["credentials"] |= credentials
    if namespace:
        made["metadata"]["namespace"] = namespace
    return made


def thing(api_version, kind, name, spec=None, namespace=TEAM, **for_provider):
    made = managed.resource(api_version, kind, name, spec or {}, **for_provider)
    made["metadata"]["namespace"] = namespace
    return made


def vpc(name="main", **how):
    return thing(EC2, "VPC", name, cidrBlock="10.0.0.0/16", **how)


def database(name="orders", namespace=TEAM, **for_provider):
    usual = {
        "engine": "postgres",
        "instanceClass": "db.t3.micro",
        "allocatedStorage": 20,
        "username": "boss",
        "skipFinalSnapshot": True,
    }
    publishes = {"writeConnectionSecretToRef": {"name": "conn"}}
    return thing(RDS, "Instance", name, publishes, namespace, **usual | for_provider)


@pytest.fixture
async def world(aws):
    made = await aws.world(ready=False)
    await made.apply(managed.CREDENTIALS, config(aws.standin.url))
    await made.settle()
    return made


async def test_a_network_in_a_namespace_uses_the_account_of_the_cluster(aws, world):
    subnet = thing(EC2, "Subnet", "data", cidrBlock="10.0.0.0/24", vpcIdSelector={"matchLabels": {"team": "a"}})
    found = await applied(world, vpc(spec={"labels": {"team": "a"}}), subnet, seconds=10)
    assert is_ready(found), message(found)
    assert found["spec"]["forProvider"]["vpcId"] == aws.vpcs()[0]["VpcId"]
    assert found["status"]["atProvider"]["tagsAll"]["crossplane-namespace"] == TEAM
    assert found["status"]["atProvider"]["tagsAll"]["crossplane-providerconfig-kind"] == "ClusterProviderConfig"
    usages = await world.cluster.list(AWS, "ProviderConfigUsage", namespace=TEAM)
    assert {each["resourceRef"]["kind"] for each in usages} == {"VPC", "Subnet"}
    assert usages[0]["providerConfigRef"] == {"kind": "ClusterProviderConfig", "name": "default"}
    cluster_config = await get(world, config(aws.standin.url))
    assert cluster_config["status"]["users"] == 2
    assert await deleted(world, subnet) is None
    assert (await get(world, config(aws.standin.url)))["status"]["users"] == 1


async def test_a_reference_looks_in_its_own_namespace_and_elsewhere_only_if_it_says_so(world):
    await applied(world, vpc(namespace=OTHERS), seconds=10)
    own = thing(EC2, "SecurityGroup", "own", vpcIdRef={"name": "main"})
    found = await applied(world, own)
    assert "VPC.ec2.aws.m.upbound.io main not found" in message(found)
    told = thing(EC2, "SecurityGroup", "told", vpcIdRef={"name": "main", "namespace": OTHERS})
    assert is_ready(await applied(world, told, seconds=10))
    await applied(world, vpc(), seconds=10)
    ours, theirs = await get(world, vpc()), await get(world, vpc(namespace=OTHERS))
    ids = [each["metadata"]["annotations"]["crossplane.io/external-name"] for each in (ours, theirs)]
    assert ids[0] != ids[1]
    assert (await get(world, own))["spec"]["forProvider"]["vpcId"] == ids[0]
    assert (await get(world, told))["spec"]["forProvider"]["vpcId"] == ids[1]


async def test_an_account_of_a_namespace_reads_the_secrets_of_its_own_and_no_others(aws, world):
    await world.apply(config(aws.standin.url, "ProviderConfig", TEAM))
    spec = {"providerConfigRef": {"kind": "ProviderConfig", "name": "default"}}
    found = await applied(world, vpc(spec=spec), seconds=10)
    assert "Secret team-a/aws not found" in message(found)  # that of crossplane-system, which it names, is not read
    await applied(world, managed.secret("aws", TEAM, creds=managed.INI), seconds=10)
    assert is_ready(await get(world, vpc()))
    in_team = config(aws.standin.url, "ProviderConfig", TEAM)
    assert (await get(world, in_team))["status"]["users"] == 1
    assert (await get(world, config(aws.standin.url)))["status"]["users"] == 0
    await world.cluster.delete(managed.key(in_team))
    await world.settle()
    assert condition(await get(world, in_team), "Terminating") == ("True", "InUse")
    assert await deleted(world, vpc()) is None
    await world.settle(seconds=60)
    assert await get(world, in_team) is None


@pytest.mark.parametrize(
    "credentials",
    [
        {"source": "Filesystem", "fs": {"path": "/etc/passwd"}},
        {"source": "Environment", "fs": {"path": "/etc/passwd"}},
        {
            "source": "WebIdentity",
            "webIdentity": {
                "roleARN": "arn:aws:iam::111122223333:role/any",
                "tokenConfig": {"source": "Filesystem", "fs": {"path": "/etc/passwd"}},
            },
        },
    ],
    ids=lambda credentials: credentials["source"],
)
async def test_an_account_of_a_namespace_may_not_use_what_the_operator_has(aws, world, credentials):
    await world.apply(config(aws.standin.url, "ProviderConfig", TEAM, **credentials))
    found = await applied(
        world, vpc(spec={"providerConfigRef": {"kind": "ProviderConfig", "name": "default"}}), seconds=10
    )
    assert "is not for a namespace to say" in message(found)
    assert aws.vpcs() == []
    assert "AssumeRoleWithWebIdentity" not in aws.standin.operations()


async def test_a_wrong_kind_of_account_is_named(world):
    found = await applied(world, vpc(spec={"providerConfigRef": {"kind": "Config", "name": "default"}}))
    assert "use ClusterProviderConfig, or ProviderConfig for one in the same namespace" in message(found)


async def test_a_database_has_its_secrets_in_its_own_namespace(aws, world):
    found = await applied(world, database(), seconds=30)
    assert is_ready(found), message(found)
    reference = found["spec"]["forProvider"]["passwordSecretRef"]
    assert set(reference) == {"name", "key"}
    secrets = {each["metadata"]["name"]: each for each in await world.cluster.list("v1", "Secret", namespace=TEAM)}
    assert set(secrets) == {reference["name"], "conn"}
    assert secrets["conn"]["data"]["password"] == secrets[reference["name"]]["data"]["password"]
    assert await deleted(world, database()) is None


async def test_what_may_occur_once_is_an_object_in_spec_and_status(world):
    found = await applied(world, database(blueGreenUpdate={"enabled": True}), seconds=30)
    assert is_ready(found), message(found)
    assert found["status"]["atProvider"]["blueGreenUpdate"] == {"enabled": True}
    bucket = thing(S3, "Bucket", "orders-bucket-m")
    found = await applied(world, bucket, seconds=10)
    assert isinstance(found["status"]["atProvider"]["versioning"], dict), found["status"]["atProvider"]
    again = await applied(
        world, copy.deepcopy(bucket) | {"metadata": bucket["metadata"] | {"annotations": {"a": "b"}}}, seconds=10
    )
    assert isinstance(again["status"]["atProvider"]["serverSideEncryptionConfiguration"]["rule"], dict)


@pytest.mark.parametrize("kind", ["ClusterProviderConfig", "ProviderConfig"])
async def test_a_namespace_that_goes_takes_what_is_in_it_along(aws, world, kind):
    """In it nothing can be made any more, its usages go at once, and a ProviderConfig of its own would go first."""
    await world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
    own = config(aws.standin.url, "ProviderConfig", TEAM)
    own["spec"]["credentials"] = config(aws.standin.url)["spec"]["credentials"]
    await world.apply(managed.secret("aws", TEAM, creds=managed.INI))
    await world.patch(
        Key("v1", "Secret", TEAM, "aws"), {"metadata": {"finalizers": ["example.org/backup"]}}
    )  # the credentials are there as long as somebody holds them
    await world.apply(own)
    manifest = vpc(spec={"providerConfigRef": {"kind": kind, "name": "default"}})
    assert is_ready(await applied(world, manifest, seconds=10)), message(await get(world, manifest))
    if kind == "ClusterProviderConfig":
        await world.cluster.delete(managed.key(config(aws.standin.url)))
    for usage in await world.cluster.list(AWS, "ProviderConfigUsage", namespace=TEAM):
        await world.cluster.delete(managed.key(usage))  # before all else: the API server goes by kind, in any order
    await world.cluster.delete(Key("v1", "Namespace", "", TEAM))
    world = aws.restarted(world)
    await world.settle(seconds=120)
    assert aws.vpcs() == []
    assert await get(world, manifest) is None
    assert await get(world, own) is None


def named(obj, external_name):
    obj["metadata"]["annotations"] = {"crossplane.io/external-name": external_name}
    return obj


@pytest.mark.parametrize(
    "theirs, mine, spelt",
    [
        (database("orders", namespace=OTHERS), database("orders"), str.upper),
        (
            thing(SQS, "Queue", "orders", namespace=OTHERS),
            thing(SQS, "Queue", "mine"),
            lambda url: url.rpartition("/")[2],
        ),
    ],
    ids=["another case", "a name in place of the URL"],
)
async def test_what_a_living_object_has_made_is_no_others_however_its_name_is_spelt(aws, world, theirs, mine, spelt):
    there = await applied(world, theirs, seconds=30)
    assert is_ready(there), message(there)
    name = there["metadata"]["annotations"]["crossplane.io/external-name"]
    thief = named(copy.deepcopy(mine), spelt(name))
    found = await applied(world, thief, seconds=30)
    assert f"is that of {theirs['kind']} {OTHERS}/orders" in message(found)
    aws.standin.forget_calls()
    assert await deleted(world, thief, seconds=30) is None
    assert not [call for call in aws.standin.operations() if call.startswith(("Delete", "Modify", "Add", "Tag"))]
    await world.settle(seconds=700)
    still = await get(world, theirs)
    assert is_ready(still), message(still)
    assert still["status"]["atProvider"]["tagsAll"]["crossplane-uid"] == still["metadata"]["uid"]


@pytest.mark.parametrize("as_map", [False, True], ids=["a list of tags", "a map of tags"])
async def test_cloud_control_takes_nothing_that_a_kind_of_its_own_has_made(aws, world, as_map):
    owner = await applied(world, vpc(namespace=OTHERS), seconds=10)
    tags = owner["status"]["atProvider"]["tagsAll"]
    listed = tags if as_map else [{"Key": key, "Value": value} for key, value in tags.items()]
    document = json.dumps({"Size": 1, "Tags": listed})
    thief = thing(CLOUD_CONTROL, "Resource", "mine", typeName="AWS::Stand::In", desiredState=document)
    found = await applied(world, thief, seconds=30)
    assert f"is that of VPC {OTHERS}/main" in message(found)
    assert await deleted(world, thief, seconds=30) is None
    assert "DeleteResource" not in aws.standin.operations()
