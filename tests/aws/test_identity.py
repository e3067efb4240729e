"""What a thing is known by beside its name: an edited spec leaves none behind, an interrupted create makes none twice.

For kinds whose calls name fields of the spec, and for those that AWS gives neither tags nor a token.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest

from groundplane.errors import GroundplaneError, InvalidInput, Waiting
from tests.aws.conftest import EC2, IAM, external_name, made, managed, settle

KMS = "kms.aws.upbound.io/v1beta1"
TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
POLICY = "arn:aws:iam::123456789012:policy/Reader"
PENDING, SUCCEEDED = "crossplane.io/external-create-pending", "crossplane.io/external-create-succeeded"


def policy(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def iam(standin):
    iam = standin.client("iam")
    for name in ("one", "two"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(TRUST))
        iam.create_user(UserName=name)
    iam.create_policy(PolicyName="Reader", PolicyDocument=policy(READ))
    return iam


@pytest.fixture
def ec2(standin):
    return standin.client("ec2")


@pytest.fixture
def net(ec2):
    """A VPC, a subnet in it, two route tables, a gateway, and a security group."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    tables = [ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2)]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    group = ec2.create_security_group(GroupName="orders", Description="orders", VpcId=vpc)["GroupId"]
    return {"vpc": vpc, "subnet": subnet, "tables": tables, "gateway": gateway, "group": group}


def begun(thing, ago=60):
    """The object as an interrupted create leaves it."""
    when = (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    thing["metadata"]["annotations"] |= {PENDING: when}
    return thing


# --- an edited identity -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, spec, changed",
    [
        ("RolePolicyAttachment", {"role": "one", "policyArn": POLICY}, {"role": "two"}),
        ("UserPolicyAttachment", {"user": "one", "policyArn": POLICY}, {"user": "two"}),
        ("RolePolicy", {"role": "one", "policy": policy(READ)}, {"role": "two"}),
        ("Policy", {"policy": policy(READ)}, {"path": "/other/"}),
        ("AccessKey", {"user": "one"}, {"user": "two"}),
    ],
)
async def test_what_is_found_by_a_field_is_found_and_goes_after_that_field_was_edited(
    cloud, account, iam, standin, kind, spec, changed
):
    thing = managed(IAM, kind, "orders", **spec)
    await made(cloud, thing, account)
    thing["spec"]["forProvider"] |= changed
    observation = await cloud.observe(thing, account, {})
    assert [difference.field for difference in observation.immutable] == list(changed)
    thing["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    await cloud.delete(thing, account, observation)
    thing["spec"]["forProvider"] |= spec
    assert not (await cloud.observe(thing, account, {})).exists


async def test_a_route_whose_destination_was_edited_is_refused_and_not_left_behind(cloud, account, net, ec2):
    table = net["tables"][0]
    route = managed(EC2, "Route", "out", routeTableId=table, destinationCidrBlock="0.0.0.0/0", gatewayId=net["gateway"])
    shown = (await made(cloud, route, account)).at_provider
    assert shown["id"] == f"r-{table}1080289494"  # as upstream names it
    spec = route["spec"]["forProvider"]
    spec["destinationIpv6CidrBlock"] = "::/0"
    del spec["destinationCidrBlock"]
    observation = await cloud.observe(route, account, {})
    assert observation.exists
    assert observation.immutable
    await cloud.delete(route, account, observation)
    [found] = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    assert [each["GatewayId"] for each in found["Routes"]] == ["local"]


@pytest.mark.parametrize(
    "spec, message",
    [
        ({"destinationCidrBlock": "10.1.2.3/16"}, "destinationCidrBlock: .*Mend: write 10.1.0.0/16"),
        ({"destinationIpv6CidrBlock": "2001:DB8::/56"}, "destinationIpv6CidrBlock: .*Mend: write 2001:db8::/56"),
    ],
)
def test_a_route_whose_block_aws_would_spell_otherwise_is_told_how(cloud, spec, message):
    with pytest.raises(InvalidInput, match=message):
        cloud.check(managed(EC2, "Route", "out", routeTableId="rtb-1", gatewayId="igw-1", **spec))


async def test_a_route_has_one_target_which_can_be_another(cloud, account, net, ec2, standin):
    two = managed(EC2, "Route", "out", routeTableId=net["tables"][0], destinationCidrBlock="0.0.0.0/0")
    two["spec"]["forProvider"] |= {"gatewayId": net["gateway"], "natGatewayId": "nat-1"}
    with pytest.raises(InvalidInput, match="more than one target: gatewayId, natGatewayId"):
        await cloud.create(two, account, {})
    del two["spec"]["forProvider"]["natGatewayId"]
    await made(cloud, two, account)
    interface = ec2.create_network_interface(SubnetId=net["subnet"])["NetworkInterface"]["NetworkInterfaceId"]
    two["spec"]["forProvider"]["networkInterfaceId"] = interface
    del two["spec"]["forProvider"]["gatewayId"]
    shown = (await settle(cloud, two, account)).at_provider
    assert (shown["networkInterfaceId"], shown.get("gatewayId")) == (interface, None)


# --- a create whose outcome was lost ------------------------------------------------------------------


async def test_an_association_is_found_by_its_subnet_and_another_table_is_not_taken_for_ours(cloud, account, net):
    one = managed(EC2, "RouteTableAssociation", "one", routeTableId=net["tables"][0], subnetId=net["subnet"])
    assert await cloud.find(begun(one), account) == ""
    name = (await cloud.create(one, account, {})).external_name
    assert await cloud.find(one, account) == name
    other = managed(EC2, "RouteTableAssociation", "two", routeTableId=net["tables"][1], subnetId=net["subnet"])
    assert await cloud.find(begun(other), account) == ""


async def test_a_provider_and_a_key_are_found_by_our_tag(cloud, account, standin):
    url = "https://oidc.example.com/id/A"
    provider = managed(IAM, "OpenIDConnectProvider", "eks", url=url, clientIdList=["sts.amazonaws.com"])
    key = managed(KMS, "Key", "data", deletionWindowInDays=7)
    for thing in (provider, key):
        assert await cloud.find(begun(thing), account) == ""
        name = (await cloud.create(thing, account, {})).external_name
        assert await cloud.find(thing, account) == name
    standin.fail("tagging", "GetResources", "AccessDeniedException", status=403)
    assert await cloud.find(key, account) == name  # key by key
    other = managed(IAM, "OpenIDConnectProvider", "other", url=url, clientIdList=["sts.amazonaws.com"])
    assert await cloud.find(begun(other), account) == ""
    key["metadata"]["annotations"]["crossplane.io/external-name"] = name
    await cloud.delete(key, account, await cloud.observe(key, account, {}))
    assert await cloud.find(key, account) == ""  # on its way out


async def test_an_access_key_is_made_again_only_if_the_user_has_no_young_one(cloud, account, iam):
    key = managed(IAM, "AccessKey", "orders", user="one")
    assert await cloud.find(begun(key), account) == ""
    iam.create_access_key(UserName="one")
    assert await cloud.find(key, account) is None  # whose it is, only a person can tell


# --- the main route table -----------------------------------------------------------------------------


def main_table(ec2, vpc):
    wanted = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}]
    [table] = ec2.describe_route_tables(Filters=wanted)["RouteTables"]
    return table["RouteTableId"]


async def test_what_was_the_main_route_table_before_is_noted_before_and_main_again_after(cloud, account, net, ec2):
    before = main_table(ec2, net["vpc"])
    main = managed(EC2, "MainRouteTableAssociation", "main", vpcId=net["vpc"], routeTableId=net["tables"][0])
    main["metadata"]["annotations"] |= (await cloud.observe(main, account, {})).to_note
    assert main["metadata"]["annotations"]["groundplane.io/original-route-table"] == before
    shown = (await made(cloud, main, account)).at_provider
    assert shown["originalRouteTableId"] == before
    assert await cloud.find(begun(main), account) == external_name(main)
    assert main_table(ec2, net["vpc"]) == net["tables"][0]
    main["spec"]["forProvider"]["routeTableId"] = net["tables"][1]
    observation = await settle(cloud, main, account)
    assert main_table(ec2, net["vpc"]) == net["tables"][1]
    await cloud.delete(main, account, observation)
    assert main_table(ec2, net["vpc"]) == before


async def test_a_main_route_table_that_nobody_knows_the_predecessor_of_is_kept_and_it_is_said(cloud, account, net):
    main = managed(EC2, "MainRouteTableAssociation", "main", vpcId=net["vpc"], routeTableId=net["tables"][0])
    observation = await made(cloud, main, account)
    main["status"] = {}
    with pytest.raises(InvalidInput, match=r"Mend: set annotation groundplane.io/original-route-table"):
        await cloud.delete(main, account, observation)


# --- rules of security groups -------------------------------------------------------------------------


def rules(ec2, group):
    found = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    return sorted(each.get("CidrIpv4") or each.get("CidrIpv6") for each in found if not each["IsEgress"])


async def test_a_list_of_blocks_is_brought_in_line_and_rules_of_others_stay(cloud, account, net, ec2):
    spec = {"type": "ingress", "protocol": "TCP", "fromPort": 443, "toPort": 443, "securityGroupId": net["group"]}
    rule = managed(EC2, "SecurityGroupRule", "https", **spec, cidrBlocks=["10.0.0.0/16", "10.1.0.1/16"])
    shown = (await made(cloud, rule, account)).at_provider
    assert (shown["cidrBlocks"], shown["protocol"]) == (["10.0.0.0/16", "10.1.0.1/16"], "TCP")
    permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "192.168.0.0/16"}]}
    ec2.authorize_security_group_ingress(GroupId=net["group"], IpPermissions=[permission])
    assert (await cloud.observe(rule, account, {})).drift == ()

    rule["spec"]["forProvider"] |= {"cidrBlocks": ["10.0.0.0/16", "10.2.0.0/16"], "ipv6CidrBlocks": ["2001:db8::/56"]}
    await settle(cloud, rule, account)
    assert rules(ec2, net["group"]) == ["10.0.0.0/16", "10.2.0.0/16", "192.168.0.0/16", "2001:db8::/56"]
    del rule["spec"]["forProvider"]["ipv6CidrBlocks"]
    await settle(cloud, rule, account)
    permission["IpRanges"] = [{"CidrIp": "10.0.0.0/16"}]
    ec2.revoke_security_group_ingress(GroupId=net["group"], IpPermissions=[permission])
    assert (await cloud.observe(rule, account, {})).ready.status == "False"  # not all of it is there
    rule["status"] = {}  # lost: the tags tell
    rule["spec"]["forProvider"]["cidrBlocks"] = ["10.0.0.0/16"]
    observation = await settle(cloud, rule, account)
    assert rules(ec2, net["group"]) == ["10.0.0.0/16", "192.168.0.0/16"]

    del rule["spec"]["forProvider"]["cidrBlocks"]
    with pytest.raises(InvalidInput, match="has no source"):
        await cloud.update(rule, account, {}, await cloud.observe(rule, account, {}))
    rule["spec"]["forProvider"] |= {"cidrBlocks": ["10.0.0.0/16"], "toPort": 444}
    observation = await cloud.observe(rule, account, {})
    assert [difference.field for difference in observation.immutable] == ["toPort"]
    await cloud.delete(rule, account, observation)
    assert rules(ec2, net["group"]) == ["192.168.0.0/16"]


@pytest.mark.parametrize("kind", ["SecurityGroupIngressRule", "SecurityGroupEgressRule"])
async def test_a_rule_in_other_words_is_the_same_rule(cloud, account, net, kind):
    rule = managed(EC2, kind, "all", securityGroupId=net["group"], ipProtocol="all", cidrIpv4="10.7.0.0/16")
    rule["spec"]["forProvider"] |= {"fromPort": 0, "toPort": 0}
    observation = await made(cloud, rule, account)
    assert (observation.drift, observation.immutable) == ((), ())
    two = managed(
        EC2, kind, "two", securityGroupId=net["group"], ipProtocol="tcp", cidrIpv4="10.0.0.0/8", cidrIpv6="::/0"
    )
    with pytest.raises(InvalidInput, match="more than one source: cidrIpv4, cidrIpv6"):
        await cloud.create(two, account, {})


# --- what else these kinds do beyond their files ------------------------------------------------------


async def test_a_policy_keeps_its_newest_versions(cloud, account, iam):
    thing = managed(IAM, "Policy", "orders", policy=policy(READ))
    await made(cloud, thing, account)
    for number in range(6):
        thing["spec"]["forProvider"]["policy"] = policy({**READ, "Resource": f"arn:aws:s3:::b{number}/*"})
        observation = await settle(cloud, thing, account)
    versions = iam.list_policy_versions(PolicyArn=observation.at_provider["arn"])["Versions"]
    assert [each["VersionId"] for each in versions if each["IsDefaultVersion"]] == ["v7"]
    assert len(versions) == 5
    await cloud.delete(thing, account, observation)
    assert not (await cloud.observe(thing, account, {})).exists


async def test_a_role_and_a_policy_wait_for_what_uses_them_to_go(cloud, account, iam):
    role, thing = (
        managed(IAM, "Role", "orders", assumeRolePolicy=policy(TRUST)),
        managed(IAM, "Policy", "orders", policy=policy(READ)),
    )
    arn = (await made(cloud, thing, account)).at_provider["arn"]
    await made(cloud, role, account)
    attachment = managed(IAM, "RolePolicyAttachment", "orders", role="orders", policyArn=arn)
    await made(cloud, attachment, account)
    for each in (role, thing):
        with pytest.raises(Waiting, match="DeleteConflict"):
            await cloud.delete(each, account, await cloud.observe(each, account, {}))
    for each in (attachment, role, thing):
        await cloud.delete(each, account, await cloud.observe(each, account, {}))
        assert not (await cloud.observe(each, account, {})).exists


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("AttachRolePolicy", {"managedPolicyArns": [POLICY]}),
        ("CreateRole", {"permissionsBoundary": POLICY}),
    ],
)
async def test_a_policy_that_is_not_there_is_told_with_the_roles_field(cloud, account, standin, operation, given):
    standin.fail("iam", operation, "NoSuchEntity", message=f"Policy {POLICY} does not exist or is not attachable.")
    (field,) = given
    with pytest.raises(GroundplaneError, match=rf"forProvider\.{field}: {operation}: NoSuchEntity.* Mend: name"):
        await made(cloud, managed(IAM, "Role", "orders", assumeRolePolicy=policy(TRUST), **given), account)


async def test_a_user_with_belongings_goes_only_when_told(cloud, account, iam, standin):
    user = managed(IAM, "User", "orders", forceDestroy=True)
    observation = await made(cloud, user, account)
    iam.create_access_key(UserName="orders")
    iam.attach_user_policy(UserName="orders", PolicyArn=POLICY)
    iam.put_user_policy(UserName="orders", PolicyName="read", PolicyDocument=policy(READ))
    iam.create_login_profile(UserName="orders", Password="correct-horse-battery")
    standin.forget_calls()
    await cloud.delete(user, account, observation)
    called = set(standin.operations())
    assert {"DeleteAccessKey", "DetachUserPolicy", "DeleteUserPolicy", "DeleteLoginProfile", "DeleteUser"} <= called
    assert not (await cloud.observe(user, account, {})).exists


async def test_a_gateway_leaves_one_vpc_for_another_and_is_ready_in_it_alone(cloud, account, net, ec2):
    vpcs = [ec2.create_vpc(CidrBlock=f"10.{index}.0.0/16")["Vpc"]["VpcId"] for index in (1, 2)]
    gateway = managed(EC2, "InternetGateway", "out", vpcId=vpcs[0])
    creation = await cloud.create(gateway, account, {})
    gateway["metadata"]["annotations"]["crossplane.io/external-name"] = creation.external_name
    observation = await cloud.observe(gateway, account, {})
    assert observation.ready.status == "False"  # it is in none yet
    assert (await settle(cloud, gateway, account)).ready.status == "True"
    gateway["spec"]["forProvider"]["vpcId"] = vpcs[1]
    assert (await settle(cloud, gateway, account)).at_provider["vpcId"] == vpcs[1]


async def test_further_addresses_of_a_nat_gateway_come_and_go(cloud, account, net, ec2):
    addresses = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(3)]
    spec = {"subnetId": net["subnet"], "allocationId": addresses[0], "secondaryAllocationIds": addresses[1:2]}
    public = managed(EC2, "NATGateway", "out", **spec)
    assert (await made(cloud, public, account)).at_provider["secondaryAllocationIds"] == addresses[1:2]
    public["spec"]["forProvider"]["secondaryAllocationIds"] = addresses[2:]
    assert (await settle(cloud, public, account)).at_provider["secondaryAllocationIds"] == addresses[2:]
    unsaved = {**public, "metadata": {**public["metadata"], "annotations": {}}}
    again = await cloud.create(unsaved, account, {})  # its answer was lost: the token is the object's UID
    assert again.external_name == external_name(public)
    private = managed(EC2, "NATGateway", "in", subnetId=net["subnet"], connectivityType="private")
    private["spec"]["forProvider"] |= {"privateIp": "10.0.1.9", "secondaryPrivateIpAddresses": ["10.0.1.10"]}
    assert (await made(cloud, private, account)).at_provider["privateIp"] == "10.0.1.9"
    private["spec"]["forProvider"]["secondaryPrivateIpAddresses"] = ["10.0.1.11"]
    assert (await settle(cloud, private, account)).at_provider["secondaryPrivateIpAddresses"] == ["10.0.1.11"]


async def test_an_alias_may_be_named_with_its_prefix(cloud, account, standin):
    key = standin.client("kms").create_key()["KeyMetadata"]["KeyId"]
    alias = managed(KMS, "Alias", "data", external_name="alias/orders/data", targetKeyId=key)
    await made(cloud, alias, account)
    assert external_name(alias) == "orders/data"
    with pytest.raises(InvalidInput, match="does not begin with aws/"):
        cloud.check(managed(KMS, "Alias", "data", external_name="alias/aws/s3", targetKeyId=key))


async def test_a_key_is_disabled_when_all_else_is_done(cloud, account, standin):
    key = managed(KMS, "Key", "data", isEnabled=False, enableKeyRotation=True, rotationPeriodInDays=180)
    observation = await made(cloud, key, account)
    assert observation.at_provider["rotationPeriodInDays"] == 180
    assert (observation.at_provider["isEnabled"], observation.notes) == (False, ())
