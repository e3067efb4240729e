"""A network and identities, from manifests that refer to each other, to nothing left; and what only a create tells."""

import copy
import json

import pytest

from tests.reconcile import managed
from tests.reconcile.interrupt import Counter, FragileSessions, Killed, Trouble, fragile
from tests.reconcile.managed import EC2, IAM, applied, condition, deleted, get, is_ready, message, resource, secret_of

KMS = "kms.aws.upbound.io/v1beta1"
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
MAIN, ORDERS = {"name": "main"}, {"name": "orders"}
RULE = {"protocol": "tcp", "fromPort": 443, "toPort": 443}
NETWORK = [
    managed.vpc(),
    resource(EC2, "Subnet", "main", {}, cidrBlock="10.0.1.0/24", vpcIdRef=MAIN),
    resource(EC2, "InternetGateway", "main", {}, vpcIdRef=MAIN),
    resource(EC2, "RouteTable", "main", {}, vpcIdRef=MAIN),
    resource(EC2, "Route", "out", {}, routeTableIdRef=MAIN, gatewayIdRef=MAIN, destinationCidrBlock="0.0.0.0/0"),
    resource(EC2, "RouteTableAssociation", "main", {}, routeTableIdRef=MAIN, subnetIdRef=MAIN),
    resource(EC2, "MainRouteTableAssociation", "main", {}, routeTableIdRef=MAIN, vpcIdRef=MAIN),
    resource(EC2, "EIP", "main", {}, domain="vpc"),
    resource(EC2, "NATGateway", "main", {}, allocationIdRef=MAIN, subnetIdRef=MAIN),
    managed.group(vpcIdRef=MAIN),
    resource(
        EC2,
        "SecurityGroupRule",
        "https",
        {},
        securityGroupIdRef={"name": "database"},
        type="ingress",
        self=True,
        **RULE,
    ),
    resource(
        EC2,
        "SecurityGroupIngressRule",
        "postgres",
        {},
        securityGroupIdRef={"name": "database"},
        referencedSecurityGroupIdRef={"name": "database"},
        ipProtocol="tcp",
        fromPort=5432,
        toPort=5432,
    ),
    resource(
        EC2,
        "SecurityGroupEgressRule",
        "all",
        {},
        securityGroupIdRef={"name": "database"},
        ipProtocol="-1",
        cidrIpv4="0.0.0.0/0",
    ),
]
IDENTITIES = [
    managed.role(),
    resource(IAM, "Policy", "orders", {}, policy=json.dumps(READ)),
    resource(IAM, "RolePolicyAttachment", "orders", {}, roleRef=ORDERS, policyArnRef=ORDERS),
    resource(IAM, "RolePolicy", "orders", {}, roleRef=ORDERS, policy=json.dumps(READ)),
    resource(IAM, "InstanceProfile", "orders", {}, roleRef=ORDERS),
    resource(IAM, "User", "orders", {}),
    resource(IAM, "UserPolicyAttachment", "orders", {}, userRef=ORDERS, policyArnRef=ORDERS),
    resource(
        IAM, "OpenIDConnectProvider", "eks", {}, url="https://oidc.example.com/A", clientIdList=["sts.amazonaws.com"]
    ),
    resource(KMS, "Key", "orders", {}, description="orders", deletionWindowInDays=7),
    resource(KMS, "Alias", "orders", {}, targetKeyIdRef=ORDERS),
]
SECRET = {"writeConnectionSecretToRef": {"name": "conn", "namespace": "team-a"}}
ACCESS_KEY = resource(IAM, "AccessKey", "orders", SECRET, userRef=ORDERS)


def namespaced(manifests):
    """The same in the generation that lives in namespaces."""
    found = copy.deepcopy(manifests)
    for each in found:
        each["apiVersion"] = each["apiVersion"].replace(".aws.", ".aws.m.")
        each["metadata"]["namespace"] = "team-a"
    return found


@pytest.mark.parametrize(
    "manifests",
    [
        pytest.param([*NETWORK, *namespaced(IDENTITIES)], id="identities in a namespace"),
        pytest.param([*namespaced(NETWORK), *IDENTITIES], id="network in a namespace", marks=pytest.mark.soak),
    ],
)
async def test_a_network_and_identities_become_ready_rest_and_leave_nothing(aws, manifests):
    world = await aws.world()
    cluster_config = managed.provider_config(aws.standin.url)
    cluster_config |= {"apiVersion": "aws.m.upbound.io/v1beta1", "kind": "ClusterProviderConfig"}
    await world.apply(cluster_config, *manifests)
    await world.settle(seconds=30)
    for manifest in manifests:
        found = await get(world, manifest)
        assert is_ready(found), (manifest["kind"], message(found), message(found, "Ready"))
    aws.standin.forget_calls()
    await world.settle(seconds=70)
    assert aws.writes() == []
    for manifest in reversed(manifests):
        await world.cluster.delete(managed.key(manifest))
    await world.settle(seconds=40)
    left = [each for each in await managed.kinds_left(world) if each != "ClusterProviderConfig"]
    assert left == []
    ec2 = aws.client("ec2")
    assert [each["IsDefault"] for each in ec2.describe_vpcs()["Vpcs"]] == [True]
    assert ec2.describe_addresses()["Addresses"] == []


async def test_the_secret_of_an_access_key_is_stored_before_the_create_counts(aws):
    world = await aws.world()
    await applied(world, resource(IAM, "User", "orders", {}))
    found = await applied(world, ACCESS_KEY, seconds=10)
    assert is_ready(found)
    secret = await secret_of(world)
    assert set(secret) == {"username", "password", "attribute.secret", "attribute.ses_smtp_password_v4"}
    assert secret["username"] == managed.external_name(found)
    assert len(secret["password"]) == 40
    await deleted(world, ACCESS_KEY)
    assert aws.client("iam").list_access_keys(UserName="orders")["AccessKeyMetadata"] == []


async def test_an_access_key_whose_secret_cannot_be_stored_goes_again(aws):
    world = await aws.world()
    await world.apply(managed.secret("conn", "team-a", mine="mine"), resource(IAM, "User", "orders", {}))
    found = await applied(world, ACCESS_KEY, seconds=10)
    assert "refusing to modify uncontrolled secret" in message(found)
    assert condition(found, "Ready") == ("False", "Creating")
    assert await secret_of(world) == {"mine": "mine"}
    assert aws.client("iam").list_access_keys(UserName="orders")["AccessKeyMetadata"] == []


def main_table(aws, vpc):
    wanted = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}]
    [table] = aws.client("ec2").describe_route_tables(Filters=wanted)["RouteTables"]
    return table["RouteTableId"]


@pytest.mark.parametrize("k", [pytest.param(1, marks=pytest.mark.soak), 2, pytest.param(3, marks=pytest.mark.soak)])
async def test_whatever_write_a_process_dies_at_the_main_route_table_is_the_old_one_at_the_end(aws, k):
    main = NETWORK[6]
    world = await aws.world()
    await world.apply(managed.vpc(), NETWORK[3])
    await world.settle(seconds=10)
    vpc = managed.external_name(await get(world, managed.vpc()))
    table = managed.external_name(await get(world, NETWORK[3]))
    before = main_table(aws, vpc)
    counter = Counter(k)
    fresh = fragile(aws.restarted(world, sessions=FragileSessions(counter, Trouble.KILLED)), counter, Trouble.KILLED)
    await fresh.apply(main)
    counter.begin()
    try:
        await fresh.settle(seconds=10)
    except Killed:
        fresh = aws.restarted(fresh)
        await fresh.settle(seconds=130)
    assert is_ready(await get(fresh, main)), (k, message(await get(fresh, main)))
    assert main_table(aws, vpc) == table
    await deleted(fresh, main)
    assert main_table(aws, vpc) == before


async def test_of_two_equal_rules_the_second_says_whose_it_is_and_deletes_nothing(aws):
    world = await aws.world()
    both = [
        resource(EC2, "SecurityGroupRule", name, {}, securityGroupIdRef={"name": "database"}, type="ingress", cidrBlocks=["10.0.0.0/8"], **RULE)
        for name in ("first", "second")
    ]  # fmt: skip
    await world.apply(managed.vpc(), managed.group(vpcIdRef=MAIN), both[0])
    await world.settle(seconds=60)
    await world.apply(both[1])
    await world.settle(seconds=120)
    assert is_ready(await get(world, both[0]))
    second = await get(world, both[1])
    assert "is that of SecurityGroupRule" in message(second)
    assert "first" in message(second)
    assert condition(second, "Ready")[0] != "True"
    await deleted(world, both[1])
    rules = aws.client("ec2").describe_security_group_rules()["SecurityGroupRules"]
    assert [rule["CidrIpv4"] for rule in rules if not rule["IsEgress"]] == ["10.0.0.0/8"]
    await deleted(world, both[0])
    rules = aws.client("ec2").describe_security_group_rules()["SecurityGroupRules"]
    assert not [rule for rule in rules if not rule["IsEgress"] and rule.get("CidrIpv4")]
