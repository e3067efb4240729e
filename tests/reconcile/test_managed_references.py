"""References and selectors between managed resources, and what of `initProvider` holds and how long."""

import pytest

from tests.reconcile import managed
from tests.reconcile.managed import applied, condition, deleted, edited, get, is_ready, message

SUBNET = {"cidrBlock": "10.0.0.0/24"}
SELECTOR = {"matchLabels": {"type": "network"}}


def subnet(spec=None, **for_provider):
    return managed.resource(managed.EC2, "Subnet", "data", spec or {}, **SUBNET | for_provider)


def labelled(name="main", **labels):
    return managed.vpc(name, spec={"labels": labels})


async def test_where_no_provider_config_is_that_is_told_rather_than_what_waits_for_it(aws):
    world = await aws.world(ready=False)
    found = await applied(world, subnet(vpcIdRef={"name": "main"}))
    assert message(found).startswith(
        'connect failed: cannot get referenced ProviderConfig: "default" not found. Mend: '
    )
    await world.apply(managed.provider_config(aws.standin.url))
    await world.settle()
    assert "cannot resolve references" in message(await get(world, found))


async def test_a_selector_waits_naming_field_kind_and_labels_and_resolves_the_moment_something_matches(aws):
    world = await aws.world()
    found = await applied(world, subnet(vpcIdSelector=SELECTOR), seconds=30)
    assert condition(found, "Ready") == ("False", "Creating")
    for part in ("spec.forProvider.vpcId", "VPC.ec2.aws.upbound.io", "type=network", "no resources matched selector"):
        assert part in message(found)
    assert ("Warning", "CannotResolveResourceReferences") in world.told.reasons("Subnet")
    await applied(world, labelled(type="network"))
    found = await get(world, subnet())
    [vpc] = aws.vpcs()
    assert found["spec"]["forProvider"]["vpcId"] == vpc["VpcId"]
    assert found["spec"]["forProvider"]["vpcIdRef"] == {"name": "main"}
    await world.settle(seconds=5)
    assert is_ready(await get(world, subnet()))


async def test_a_reference_waits_naming_the_object_and_resolves_when_that_has_its_name_in_aws(aws):
    world = await aws.world()
    found = await applied(world, subnet(vpcIdRef={"name": "main"}), seconds=30)
    assert "VPC.ec2.aws.upbound.io main not found" in message(found)
    aws.standin.fail("ec2", "CreateVpc", "RequestLimitExceeded")
    await applied(world, managed.vpc())
    assert "VPC main has no external-name yet" in message(await get(world, subnet()))
    await world.settle(seconds=30)
    assert is_ready(await get(world, subnet()))


async def test_what_aws_misses_is_waited_for_and_the_create_repeated_the_moment_it_is_there(aws):
    """A subnet group's name is known before AWS has it: resolving the reference is no promise."""
    world = await aws.world()
    labels = {"labels": {"type": "network"}}
    found = await applied(world, managed.instance(dbSubnetGroupName="data"), seconds=300)
    assert "spec.forProvider.dbSubnetGroupName" in message(found)
    assert "Subnet Group data not found" in message(found)
    await applied(world, managed.vpc(spec=labels))
    for name, zone in (("a", "eu-west-1a"), ("b", "eu-west-1b")):
        place = {"cidrBlock": f"10.0.{ord(name) - 97}.0/24", "availabilityZone": zone}
        wanted = managed.resource(managed.EC2, "Subnet", name, labels, **place, vpcIdSelector=SELECTOR)
        await applied(world, wanted, seconds=10)
    group = managed.resource(managed.RDS, "SubnetGroup", "data", {}, description="x", subnetIdSelector=SELECTOR)
    await applied(world, group, seconds=3)
    assert aws.database()["DBSubnetGroup"]["DBSubnetGroupName"] == "data"


async def test_a_list_takes_all_that_match_and_a_value_that_is_given_wins(aws):
    world = await aws.world()
    labels = {"labels": {"type": "database"}}
    for name in ("one", "two"):
        await applied(world, managed.group(name, spec=labels), seconds=10)
    selector = {"matchLabels": {"type": "database"}}
    found = await applied(world, managed.instance(vpcSecurityGroupIdSelector=selector), seconds=10)
    ids = sorted(group["GroupId"] for group in aws.groups())
    assert sorted(found["spec"]["forProvider"]["vpcSecurityGroupIds"]) == ids
    assert sorted(group["VpcSecurityGroupId"] for group in aws.database()["VpcSecurityGroups"]) == ids
    given = managed.instance("other", vpcSecurityGroupIdSelector=selector, vpcSecurityGroupIds=[ids[0]])
    found = await applied(world, given, seconds=10)
    assert found["spec"]["forProvider"]["vpcSecurityGroupIds"] == [ids[0]]


async def test_an_optional_reference_is_left_empty(aws):
    world = await aws.world()
    optional = {"name": "nobody", "policy": {"resolution": "Optional"}}
    found = await applied(world, managed.group(vpcIdRef=optional), seconds=10)
    assert is_ready(found)


@pytest.mark.parametrize("reference", ["vpcIdRef", "vpcIdSelector"])
async def test_an_optional_reference_that_the_create_needs_is_awaited(aws, reference):
    """AWS makes no subnet without a VPC: what isn't there yet is no mistake that only an edit could mend."""
    world = await aws.world()
    given = {"vpcIdRef": {"name": "main"}, "vpcIdSelector": SELECTOR}[reference] | {
        "policy": {"resolution": "Optional"}
    }
    found = await applied(world, subnet(**{reference: given}), seconds=30)
    assert "its reference gives nothing yet" in message(found)
    assert condition(found, "Stalled")[0] != "True"
    await applied(world, labelled(type="network"), seconds=120)
    assert is_ready(await get(world, found))


async def test_a_source_by_an_optional_reference_is_awaited(aws):
    world = await aws.world()
    optional = {"name": "web", "policy": {"resolution": "Optional"}}
    await applied(world, managed.vpc(), managed.group(vpcIdRef={"name": "main"}), seconds=30)
    facts = {"ipProtocol": "tcp", "fromPort": 80, "toPort": 80, "securityGroupIdRef": {"name": "database"}}
    rule = managed.resource(
        managed.EC2, "SecurityGroupIngressRule", "web", {}, **facts, referencedSecurityGroupIdRef=optional
    )
    assert "its reference gives nothing yet" in message(await applied(world, rule, seconds=30))
    await applied(world, managed.group("web", vpcIdRef={"name": "main"}), seconds=120)
    assert is_ready(await get(world, rule))


async def test_a_kind_that_is_not_built_in_is_named_unless_the_reference_is_optional(aws):
    world = await aws.world()
    found = await applied(world, managed.vpc(ipv4IpamPoolIdRef={"name": "pool"}))
    assert "VPCIpamPool.ec2.aws.upbound.io is not built in" in message(found)
    assert "set spec.forProvider.ipv4IpamPoolId" in message(found)
    optional = {"name": "pool", "policy": {"resolution": "Optional"}}
    found = await applied(world, managed.vpc(ipv4IpamPoolIdRef=optional), seconds=10)
    assert is_ready(found)


# --- initProvider --------------------------------------------------------------------------------------------------


async def test_references_of_init_provider_are_resolved_there(aws):
    world = await aws.world()
    found = await applied(world, subnet(spec={"initProvider": {"vpcIdSelector": SELECTOR}}))
    assert "spec.initProvider.vpcId: no resources matched selector" in message(found)
    await applied(world, labelled(type="network"), seconds=10)
    found = await get(world, subnet())
    [vpc] = aws.vpcs()
    assert found["spec"]["initProvider"] == {
        "vpcId": vpc["VpcId"],
        "vpcIdRef": {"name": "main"},
        "vpcIdSelector": SELECTOR,
    }
    assert "vpcId" not in found["spec"]["forProvider"]
    assert is_ready(found)


async def test_init_provider_is_used_for_the_create_and_never_enforced(aws):
    world = await aws.world()
    spec = {"initProvider": {"instanceClass": "db.t3.large", "backupRetentionPeriod": 3}}
    manifest = managed.instance(spec=spec, instanceClass=None, applyImmediately=True)
    found = await applied(world, manifest, seconds=10)
    assert is_ready(found)
    assert (aws.database()["DBInstanceClass"], aws.database()["BackupRetentionPeriod"]) == ("db.t3.large", 3)
    assert "instanceClass" not in found["spec"]["forProvider"]
    rds = aws.client("rds")
    rds.modify_db_instance(DBInstanceIdentifier="orders", DBInstanceClass="db.t3.small", ApplyImmediately=True)
    await world.settle(seconds=130)
    assert aws.database()["DBInstanceClass"] == "db.t3.small"
    await world.patch(managed.key(manifest), {"spec": {"initProvider": {"instanceClass": "db.r5.large"}}})
    await world.settle(seconds=130)
    assert aws.database()["DBInstanceClass"] == "db.t3.small"
    found = await edited(world, manifest, instanceClass="db.t3.micro", seconds=70)
    assert aws.database()["DBInstanceClass"] == "db.t3.micro"
    assert is_ready(found)


async def test_for_provider_wins_over_init_provider(aws):
    world = await aws.world()
    await applied(world, managed.instance(spec={"initProvider": {"instanceClass": "db.t3.large"}}), seconds=10)
    assert aws.database()["DBInstanceClass"] == "db.t3.micro"


async def test_what_the_create_call_does_not_take_of_init_provider_is_set_once_before_it_is_ready(aws):
    world = await aws.world()
    manifest = managed.vpc(spec={"initProvider": {"enableDnsHostnames": True}})
    found = await applied(world, manifest)
    assert condition(found, "Ready") == ("False", "Creating")
    await world.settle(seconds=10)
    assert is_ready(await get(world, manifest))
    vpc = aws.vpcs()[0]["VpcId"]

    def dns():
        return aws.client("ec2").describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]

    assert dns() == {"Value": True}
    aws.client("ec2").modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": False})
    await world.settle(seconds=130)
    assert dns() == {"Value": False}


@pytest.mark.parametrize("make", [managed.vpc, managed.bucket], ids=["tags in the create", "tags after it"])
async def test_tags_of_init_provider_are_set_once_and_left_as_somebody_changes_them(aws, make):
    world = await aws.world()
    manifest = make(spec={"initProvider": {"tags": {"owner": "nobody", "team": "a"}}}, tags={"team": "b"})
    assert is_ready(await applied(world, manifest, seconds=10))

    async def tags():
        found = (await get(world, manifest))["status"]["atProvider"]["tags"]
        return found.get("owner"), found.get("team")

    assert await tags() == ("nobody", "b")
    if make is managed.vpc:
        aws.client("ec2").create_tags(Resources=[aws.vpcs()[0]["VpcId"]], Tags=[{"Key": "owner", "Value": "me"}])
        await world.settle(seconds=130)
        assert await tags() == ("me", "b")
    await edited(world, manifest, tags={"team": "c"}, seconds=10)
    owner, team = await tags()
    assert owner in ("nobody", "me")
    assert team == "c"


async def test_tags_that_others_add_are_taken_away_and_those_of_init_provider_stay_as_others_set_them(aws):
    world = await aws.world()
    manifest = managed.vpc(spec={"initProvider": {"tags": {"owner": "nobody"}}})
    assert is_ready(await applied(world, manifest, seconds=10))
    for name, value in (("owner", "me"), ("stray", "1")):
        aws.client("ec2").create_tags(Resources=[aws.vpcs()[0]["VpcId"]], Tags=[{"Key": name, "Value": value}])
    seen = []
    world.cluster.wrote = lambda since, changes: seen.extend(c.object for c in changes if c.object["kind"] == "VPC")
    await world.settle(seconds=1300)
    found = await get(world, manifest)
    assert found["status"]["atProvider"]["tags"]["owner"] == "me"
    assert "stray" not in found["status"]["atProvider"]["tags"]
    assert seen
    assert {condition(obj, "Ready") for obj in [*seen, found]} == {("True", "Available")}


async def test_flags_of_init_provider_count_for_the_deletion(aws):
    world = await aws.world()
    instance = managed.instance(spec={"initProvider": {"skipFinalSnapshot": True}}, skipFinalSnapshot=None)
    bucket = managed.bucket(spec={"initProvider": {"forceDestroy": True}})
    for manifest in (instance, bucket):
        assert is_ready(await applied(world, manifest, seconds=70))
    aws.client("s3").put_object(Bucket="orders-bucket", Key="a", Body=b"1")
    for manifest in (instance, bucket):
        assert await deleted(world, manifest) is None
    assert (aws.databases(), aws.buckets()) == ([], [])


async def test_a_password_of_init_provider_stays_with_a_database_that_stays(aws):
    world = await aws.world()
    reference = {"namespace": "crossplane-system", "name": "orders-password", "key": "password"}
    spec = {"initProvider": {"passwordSecretRef": reference}, "deletionPolicy": "Orphan"}
    manifest = managed.instance(spec=spec, passwordSecretRef=None)
    assert is_ready(await applied(world, manifest, seconds=10))
    assert await deleted(world, manifest) is None
    stored = await managed.secret_of(world, "crossplane-system", "orders-password")
    assert aws.standin.passwords() == {"orders": stored["password"]}


async def test_a_password_may_be_referred_to_in_init_provider(aws):
    world = await aws.world()
    reference = {"namespace": "crossplane-system", "name": "orders-password", "key": "password"}
    spec = {"initProvider": {"passwordSecretRef": reference}}
    manifest = managed.instance(spec=spec, passwordSecretRef=None, autoGeneratePassword=None)
    await world.apply(managed.secret("orders-password", password=managed.PASSWORD))
    found = await applied(world, manifest, seconds=10)
    assert is_ready(found)
    assert "passwordSecretRef" not in found["spec"]["forProvider"]
    assert aws.standin.passwords() == {"orders": managed.PASSWORD}
    assert (await managed.secret_of(world))["password"] == managed.PASSWORD
    await world.apply(managed.secret("orders-password", password="another-password"))
    await world.settle(seconds=130)
    assert aws.standin.passwords() == {"orders": managed.PASSWORD}
