"""Every kind, from its creation to the second deletion of what is gone, over HTTP against the stand-in."""

import copy
import json
from dataclasses import replace

import pytest

from tests.aws.conftest import EC2, IAM, RDS, S3, external_name, made, managed, settle

TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
SECRETS = {"password": "correct-horse-battery"}


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture(autouse=True)
def policies(standin):
    """Two managed policies; the stand-in comes without AWS's own."""
    for name in ("ReadOnlyAccess", "PowerUserAccess"):
        standin.client("iam").create_policy(PolicyName=name, PolicyDocument=policy(READ))


# (kind, forProvider from the network, what is changed later, what AWS must then say)
KINDS = {
    "VPC": lambda net: (EC2, {"cidrBlock": "10.1.0.0/16", "enableDnsHostnames": True}, {"enableDnsHostnames": False}),
    "Subnet": lambda net: (
        EC2,
        {"cidrBlock": "10.0.7.0/24", "vpcId": net["vpc"], "mapPublicIpOnLaunch": True},
        {"mapPublicIpOnLaunch": False, "assignIpv6AddressOnCreation": False},
    ),
    "SecurityGroup": lambda net: (EC2, {"vpcId": net["vpc"]}, {}),
    "SubnetGroup": lambda net: (RDS, {"subnetIds": net["subnets"]}, {"description": "other words"}),
    "Role": lambda net: (
        IAM,
        {
            "assumeRolePolicy": policy(TRUST),
            "managedPolicyArns": ["arn:aws:iam::123456789012:policy/ReadOnlyAccess"],
            "inlinePolicy": [{"name": "read", "policy": policy(READ)}],
        },
        {
            "description": "other words",
            "maxSessionDuration": 7200,
            "managedPolicyArns": ["arn:aws:iam::123456789012:policy/PowerUserAccess"],
            "inlinePolicy": [{"name": "read-more", "policy": policy(READ)}],
            "permissionsBoundary": "arn:aws:iam::123456789012:policy/PowerUserAccess",
        },
    ),
    "Bucket": lambda net: (S3, {"forceDestroy": True}, {}),
    "Instance": lambda net: (
        RDS,
        {
            "engine": "postgres",
            "engineVersion": "15",
            "instanceClass": "db.t4g.micro",
            "allocatedStorage": 20,
            "username": "postgres",
            "passwordSecretRef": {"namespace": "crossplane-system", "name": "orders", "key": "password"},
            "vpcSecurityGroupIds": [net["group"]],
            "skipFinalSnapshot": True,
            "applyImmediately": True,
        },
        {"instanceClass": "db.t4g.small", "allocatedStorage": 30, "backupRetentionPeriod": 3},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kind_lives_from_its_creation_to_its_end(cloud, account, network, kind):
    api_version, spec, change = KINDS[kind](network)
    secrets = SECRETS if kind == "Instance" else {}
    thing = managed(api_version, kind, "orders-one", **spec, tags={"team": "orders"})

    first = await cloud.observe(thing, account, secrets)
    assert not first.exists
    observation = await made(cloud, thing, account, secrets)
    assert observation.exists
    assert observation.ready.status == "True"
    assert observation.settled
    assert observation.immutable == ()
    for name, value in spec.items():
        if name in observation.at_provider and name not in ("inlinePolicy", "assumeRolePolicy"):
            assert observation.at_provider[name] == value

    thing["spec"]["forProvider"] |= change | {"tags": {"team": "billing", "tier": "data"}}
    assert (await cloud.observe(thing, account, secrets)).drift
    observation = await settle(cloud, thing, account, secrets)
    for name, value in change.items():
        if name != "inlinePolicy":
            assert observation.at_provider[name] == value
    tags = observation.at_provider["tagsAll"]
    assert tags["team"] == "billing"
    assert tags["crossplane-uid"] == thing["metadata"]["uid"]
    assert tags["crossplane-kind"] == f"{kind}.{api_version.partition('/')[0]}".lower()

    await cloud.delete(thing, account, observation)
    assert not (await cloud.observe(thing, account, secrets)).exists
    await cloud.delete(thing, account, observation)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unchanged_thing_is_only_read(cloud, account, network, standin, kind):
    api_version, spec, _ = KINDS[kind](network)
    secrets = SECRETS if kind == "Instance" else {}
    thing = managed(api_version, kind, "orders-two", **spec)
    before = await made(cloud, thing, account, secrets)
    standin.forget_calls()
    after = await cloud.observe(thing, account, secrets)
    assert replace(after, item=None) == replace(before, item=None)
    reads = ("Describe", "Get", "List", "HEAD", "GET")
    assert all(operation.startswith(reads) for operation in standin.operations())


@pytest.mark.parametrize("kind", KINDS)
async def test_another_process_sees_no_drift_either(cloud, strict_cloud, account, network, kind):
    api_version, spec, _ = KINDS[kind](network)
    secrets = SECRETS if kind == "Instance" else {}
    thing = managed(api_version, kind, "orders-three", **spec)
    await made(cloud, thing, account, secrets)
    again = await strict_cloud.observe(copy.deepcopy(thing), account, secrets)
    assert again.exists
    assert again.drift == ()


async def test_an_immutable_field_is_reported_and_not_sent(cloud, account, network, standin):
    subnet = managed(EC2, "Subnet", "orders", cidrBlock="10.0.8.0/24", vpcId=network["vpc"])
    await made(cloud, subnet, account)
    subnet["spec"]["forProvider"]["cidrBlock"] = "10.0.9.0/24"
    observation = await cloud.observe(subnet, account, {})
    [difference] = observation.immutable
    assert (difference.field, difference.desired, difference.observed) == ("cidrBlock", "10.0.9.0/24", "10.0.8.0/24")
    assert observation.drift == ()


async def test_what_aws_chose_is_handed_back_once(cloud, account, network):
    subnet = managed(EC2, "Subnet", "orders", cidrBlock="10.0.8.0/24", vpcId=network["vpc"])
    observation = await made(cloud, subnet, account)
    assert observation.late["availabilityZone"].startswith("eu-west-1")
    assert "availabilityZoneId" not in observation.late
    assert "cidrBlock" not in observation.late
    subnet["spec"]["forProvider"] |= observation.late
    assert (await cloud.observe(subnet, account, {})).late == {}


async def test_init_provider_is_used_at_creation_and_never_enforced(cloud, account):
    vpc = managed(EC2, "VPC", "main")
    vpc["spec"]["initProvider"] = {"cidrBlock": "10.3.0.0/16", "enableDnsSupport": False}
    observation = await made(cloud, vpc, account)
    assert observation.at_provider["cidrBlock"] == "10.3.0.0/16"
    assert observation.at_provider["enableDnsSupport"] is True
    assert "cidrBlock" not in observation.late


async def test_ipv6_of_a_vpc_comes_and_goes(cloud, account):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.4.0.0/16")
    await made(cloud, vpc, account)
    vpc["spec"]["forProvider"]["assignGeneratedIpv6CidrBlock"] = True
    observation = await settle(cloud, vpc, account)
    assert "::/" in observation.at_provider["ipv6CidrBlock"]
    vpc["spec"]["forProvider"]["assignGeneratedIpv6CidrBlock"] = False
    observation = await settle(cloud, vpc, account)
    assert "ipv6CidrBlock" not in observation.at_provider


async def test_the_facts_of_a_vpc_that_never_change_are_asked_once(cloud, account, standin):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.4.0.0/16")
    await made(cloud, vpc, account)
    standin.forget_calls()
    await cloud.observe(vpc, account, {})
    assert standin.operations() == ["DescribeVpcs", "DescribeVpcAttribute", "DescribeVpcAttribute"]


async def test_a_group_lets_nothing_out_that_nobody_asked_for(cloud, account, network):
    group = managed(EC2, "SecurityGroup", "orders", vpcId=network["vpc"])
    observation = await made(cloud, group, account)
    assert "egress" not in observation.at_provider
    assert observation.at_provider["name"] == "orders"


async def test_an_open_door_that_an_interrupted_create_left_is_shut(cloud, account, network, standin):
    group = managed(EC2, "SecurityGroup", "orders", vpcId=network["vpc"])
    standin.fail("ec2", "RevokeSecurityGroupEgress", "InternalError", status=500)
    made = await cloud.create(group, account, {})  # there it is, though its set-up failed
    assert made.external_name == await cloud.find(group, account)
    group["metadata"]["annotations"]["crossplane.io/external-name"] = made.external_name
    observation = await settle(cloud, group, account)
    assert "egress" not in observation.at_provider
    assert set(observation.at_provider["tags"]) == {
        "crossplane-kind", "crossplane-name", "crossplane-providerconfig", "crossplane-uid",
    }  # fmt: skip


async def test_a_role_keeps_policies_that_its_spec_does_not_speak_of(cloud, account):
    role = managed(IAM, "Role", "orders", assumeRolePolicy=policy(TRUST))
    await made(cloud, role, account)
    other = copy.deepcopy(role)
    other["spec"]["forProvider"]["managedPolicyArns"] = ["arn:aws:iam::123456789012:policy/ReadOnlyAccess"]
    await settle(cloud, other, account)
    observation = await cloud.observe(role, account, {})
    assert observation.drift == ()
    role["spec"]["forProvider"]["managedPolicyArns"] = []
    observation = await settle(cloud, role, account)
    assert "managedPolicyArns" not in observation.at_provider


async def test_a_boundary_is_taken_away_by_an_empty_text(cloud, account):
    boundary = "arn:aws:iam::123456789012:policy/PowerUserAccess"
    role = managed(IAM, "Role", "orders", assumeRolePolicy=policy(TRUST), permissionsBoundary=boundary)
    assert (await made(cloud, role, account)).at_provider["permissionsBoundary"] == boundary
    role["spec"]["forProvider"]["permissionsBoundary"] = ""
    assert "permissionsBoundary" not in (await settle(cloud, role, account)).at_provider


async def test_a_policy_in_other_words_is_no_drift(cloud, account):
    role = managed(IAM, "Role", "orders", assumeRolePolicy=policy(TRUST))
    await made(cloud, role, account)
    listed = {**TRUST, "Action": ["sts:AssumeRole"], "Principal": {"Service": ["ec2.amazonaws.com"]}}
    role["spec"]["forProvider"]["assumeRolePolicy"] = json.dumps({"Statement": listed, "Version": "2012-10-17"})
    assert (await cloud.observe(role, account, {})).drift == ()


async def test_a_bucket_in_the_first_region_names_no_location(cloud, account):
    bucket = managed(S3, "Bucket", "orders-bucket")
    bucket["spec"]["forProvider"]["region"] = "us-east-1"
    observation = await made(cloud, bucket, account)
    assert observation.at_provider["bucketRegion"] == "us-east-1"
    assert observation.at_provider["hostedZoneId"] == "Z3AQBSTGFYJSTF"
    assert observation.connection["arn"] == b"arn:aws:s3:::orders-bucket"


async def test_a_bucket_with_content_goes_only_when_told(cloud, account):
    bucket = managed(S3, "Bucket", "orders-bucket")
    observation = await made(cloud, bucket, account)
    client = cloud._sessions.clients(account).client("s3", "eu-west-1")
    client.put_object(Bucket="orders-bucket", Key="a", Body=b"x")
    with pytest.raises(Exception, match=r"BucketNotEmpty.*Mend: .*forceDestroy: true"):
        await cloud.delete(bucket, account, observation)
    bucket["spec"]["forProvider"]["forceDestroy"] = True
    await cloud.delete(bucket, account, observation)
    assert not (await cloud.observe(bucket, account, {})).exists


async def test_a_subnet_group_in_use_is_waited_for(cloud, account, network):
    from groundplane.errors import Waiting

    group = managed(RDS, "SubnetGroup", "orders", subnetIds=network["subnets"])
    seen = await made(cloud, group, account)
    _, spec, _ = KINDS["Instance"](network)
    instance = managed(RDS, "Instance", "orders", **spec, dbSubnetGroupName=external_name(group))
    await made(cloud, instance, account, SECRETS)
    with pytest.raises(Waiting, match="still using it"):
        await cloud.delete(group, account, seen)
