"""Polls of what has settled travel together, over real HTTP; whatever else is looked at by itself, and at once."""

import asyncio
import copy
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from groundplane.aws import catalogue, shared_reads, tags
from groundplane.aws.budget import Place
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.grammar import Shared
from groundplane.aws.resource import Want
from groundplane.aws.session import Sessions
from groundplane.aws.shared_reads import DENIED, FAILED, KEPT, SharedReads
from groundplane.errors import Denied, GroundplaneError, Throttled, Unavailable
from tests.aws.conftest import EC2, IAM, RDS, external_name, made, managed, provider_config

MANY = 200
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}

READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
OTHER = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}]}


@pytest.fixture
def polls(account):
    """The account, as polls use it."""
    return replace(account, lane="poll")


def settled(thing, **at_provider):
    """The object as a reconciler leaves it when all is as it should be."""
    conditions = [{"type": name, "status": "True"} for name in ("Synced", "Ready")]
    thing["status"] = {
        "conditions": conditions,
        "observedGeneration": 1,
        "atProvider": {"id": external_name(thing), "region": "eu-west-1", **at_provider},
    }
    return thing


def vpcs(standin, count):
    """VPCs that exist, as their objects want them, and those objects."""
    ec2, found = standin.client("ec2"), []
    for number in range(count):
        thing = managed(EC2, "VPC", f"vpc-{number}", cidrBlock="10.0.0.0/16", enableDnsHostnames=False)
        listed = [{"Key": key, "Value": value} for key, value in tags.desired(thing).items()]
        made = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": listed}])
        thing["metadata"]["annotations"]["crossplane.io/external-name"] = made["Vpc"]["VpcId"]
        known = dict.fromkeys(["defaultRouteTableId", "defaultSecurityGroupId", "defaultNetworkAclId"], "known")
        found.append(settled(thing, enableDnsSupport=True, enableDnsHostnames=False, **known))
    return found


def roles(standin, count):
    iam, found = standin.client("iam"), []
    for number in range(count):
        role = {"assumeRolePolicy": json.dumps(TRUST), "description": "orders", "path": "/"}
        thing = managed(IAM, "Role", f"role-{number}", external_name=f"role-{number}", **role)
        listed = [{"Key": key, "Value": value} for key, value in tags.desired(thing).items()]
        iam.create_role(
            RoleName=f"role-{number}", Description="orders", AssumeRolePolicyDocument=json.dumps(TRUST), Tags=listed
        )
        found.append(
            settled(
                thing,
                description="orders",
                maxSessionDuration=3600,
                arn=f"arn:aws:iam::123456789012:role/role-{number}",
            )
        )
    return found


async def looks(cloud, things, account):
    return await asyncio.gather(*(cloud.observe(thing, account, {}) for thing in things))


async def test_two_hundred_vpcs_take_one_call_and_a_lost_one_is_found(cloud, standin, polls):
    things = vpcs(standin, MANY)
    standin.forget_calls()
    found = await looks(cloud, things, polls)
    assert standin.operations() == ["DescribeVpcs"]
    assert all(each.exists and not each.drift and each.ready.status == "True" for each in found)
    assert [each.at_provider["id"] for each in found] == [external_name(thing) for thing in things]

    standin.client("ec2").delete_vpc(VpcId=external_name(things[7]))
    standin.forget_calls()
    again = await looks(cloud, things, polls)
    assert [place for place, each in enumerate(again) if not each.exists] == [7]
    assert standin.operations() == ["DescribeVpcs", "DescribeVpcs"]  # for all, and for the one that was not among them


async def test_drift_by_hand_is_seen_by_a_look_of_its_own(cloud, standin, polls):
    things = vpcs(standin, 3)
    standin.client("ec2").create_tags(Resources=[external_name(things[1])], Tags=[{"Key": "by", "Value": "hand"}])
    standin.forget_calls()
    found = await looks(cloud, things, polls)
    assert [len(each.drift) for each in found] == [0, 1, 0]
    assert Counter(standin.operations()) == {"DescribeVpcs": 2, "DescribeVpcAttribute": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"generation": 2}},
        {"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}},
        {"status": {"conditions": []}},
    ],
)
async def test_what_has_just_changed_is_looked_at_by_itself(cloud, standin, polls, change):
    things = vpcs(standin, 2)
    for thing in things:
        for part, values in change.items():
            thing[part] |= values
    standin.forget_calls()
    await looks(cloud, things, polls)
    assert Counter(standin.operations())["DescribeVpcs"] == 2


async def test_what_is_only_looked_at_travels_along_whatever_its_tags(standin, polls, account):
    passed = iter(range(0, 10**9, 100))
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=passed.__next__, window=0)
    things = vpcs(standin, 3)
    for thing in things:
        thing["spec"]["managementPolicies"] = ["Observe"]
        thing["spec"]["forProvider"]["tags"] = {"other": "than AWS has"}
    await looks(cloud, things, account)
    standin.forget_calls()
    found = await cloud.observe(things[0], polls, {})
    cloud.close()
    assert found.drift
    assert standin.operations() == ["DescribeVpcs"]


async def test_who_asks_for_a_look_gets_a_look(cloud, standin, account):
    things = vpcs(standin, 2)
    standin.forget_calls()
    await looks(cloud, things, account)
    assert Counter(standin.operations()) == {"DescribeVpcs": 2, "DescribeVpcAttribute": 4}


async def test_where_aws_asks_for_fewer_calls_nobody_is_taken_for_gone(standin, polls):
    cloud = AwsCloud(sessions=Sessions(attempts=1))
    things = vpcs(standin, 3)
    standin.fail("ec2", "DescribeVpcs", "RequestLimitExceeded", times=1)
    standin.forget_calls()
    found = await asyncio.gather(*(cloud.observe(thing, polls, {}) for thing in things), return_exceptions=True)
    cloud.close()
    assert all(isinstance(each, Throttled) and each.after for each in found)
    assert standin.operations() == ["DescribeVpcs"]


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "InternalError"])
async def test_a_shared_call_that_fails_is_made_up_for_one_by_one(standin, polls, code):
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=iter(range(0, 10**9, 60)).__next__)
    things = vpcs(standin, 2)
    standin.fail("ec2", "DescribeVpcs", code, times=1)
    standin.forget_calls()
    found = await looks(cloud, things, polls)
    cloud.close()
    assert all(each.exists and not each.drift for each in found)
    assert Counter(standin.operations())["DescribeVpcs"] == 3


async def test_who_may_not_list_is_asked_again_later_and_loses_nothing(cloud, standin, polls):
    things = roles(standin, 3)
    standin.fail("iam", "GetAccountAuthorizationDetails", "AccessDenied", status=403, times=9)
    standin.forget_calls()
    for _ in range(2):
        found = await looks(cloud, things, polls)
        assert all(each.exists and not each.drift for each in found)
    assert Counter(standin.operations()) == {"GetAccountAuthorizationDetails": 1, "GetRole": 6}


async def test_what_the_listing_of_an_account_lacks_of_its_roles_is_told_by_another(standin, polls):
    time = Calendar()
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=time.clock, now=time.now, window=0.05)
    things = roles(standin, 4)
    for _ in range(12):  # two hours
        standin.forget_calls()
        found = await looks(cloud, things, polls)
        assert all(each.exists and not each.drift for each in found)
        assert sorted(standin.operations()) == ["GetAccountAuthorizationDetails", "ListRoles"]
        time.seconds += 600
    standin.client("iam").update_role(RoleName="role-1", Description="by hand", MaxSessionDuration=7200)
    standin.forget_calls()
    found = await looks(cloud, things, polls)
    assert [sorted(drift.field for drift in each.drift) for each in found] == [
        [],
        ["description", "maxSessionDuration"],
        [],
        [],
    ]
    assert found[1].at_provider["maxSessionDuration"] == 7200
    assert Counter(standin.operations()) == {"GetAccountAuthorizationDetails": 1, "ListRoles": 1, "GetRole": 1}
    cloud.close()


async def test_policies_within_roles_travel_with_the_roles(cloud, standin, polls):
    things = roles(standin, 2)
    for number in range(3):
        role = f"role-{number % 2}"
        standin.client("iam").put_role_policy(RoleName=role, PolicyName=f"p-{number}", PolicyDocument=json.dumps(READ))
        inline = {"role": role, "policy": json.dumps(READ)}
        thing = managed(IAM, "RolePolicy", f"p-{number}", external_name=f"p-{number}", **inline)
        thing["status"] = settled(thing)["status"] | {"atProvider": {"id": f"{role}:p-{number}"}}
        things.append(thing)
    standin.forget_calls()
    found = await looks(cloud, things, polls)
    assert all(each.exists and not each.drift for each in found)
    assert found[4].at_provider["id"] == "role-0:p-2"
    assert sorted(standin.operations()) == ["GetAccountAuthorizationDetails", "ListRoles"]
    standin.client("iam").delete_role_policy(RoleName="role-1", PolicyName="p-1")
    standin.client("iam").put_role_policy(RoleName="role-0", PolicyName="p-2", PolicyDocument=json.dumps(OTHER))
    standin.forget_calls()
    cloud._shared._groups.clear()
    found = await looks(cloud, things, polls)
    assert [each.exists for each in found[2:]] == [True, False, True]
    assert [bool(each.drift) for each in found[2:]] == [False, False, True]
    assert Counter(standin.operations())["GetRolePolicy"] == 2
    cloud.close()


async def test_roles_and_what_is_attached_to_them_are_one_listing(cloud, standin, polls):
    things = roles(standin, 5)
    arn = standin.client("iam").create_policy(PolicyName="reader", PolicyDocument=json.dumps(READ))["Policy"]["Arn"]
    standin.client("iam").attach_role_policy(RoleName="role-1", PolicyArn=arn)
    attached = {"role": "role-1", "policyArn": arn}
    things.append(settled(managed(IAM, "RolePolicyAttachment", "one", external_name=f"role-1/{arn}", **attached)))
    standin.forget_calls()
    found = await looks(cloud, things, polls)
    assert sorted(standin.operations()) == ["GetAccountAuthorizationDetails", "ListRoles"]
    assert all(each.exists and not each.drift for each in found)
    assert found[0].at_provider["description"] == "orders"


async def test_pages_are_joined_and_counted(cloud, standin, polls):
    roles(standin, 5)
    shared = Shared.model_validate({"call": "list_roles", "with": {"MaxItems": 2}, "in": "Roles", "key": "RoleName"})
    entries, pages = await cloud._reader(polls, "", "")("iam", "list_roles", shared.with_, shared)
    assert sorted(each["RoleName"] for each in entries) == [f"role-{number}" for number in range(5)]
    assert pages == 3


async def test_an_account_that_fails_delays_no_other(cloud, standin, polls):
    bad = copy.deepcopy(provider_config("http://127.0.0.1:9"))
    bad["metadata"] = {"name": "other", "uid": "pc-2", "generation": 1}
    dead = replace(polls, provider_config=bad)
    things = vpcs(standin, 4)
    standin.forget_calls()
    lost = asyncio.gather(*(cloud.observe(thing, dead, {}) for thing in things[:2]), return_exceptions=True)
    found = await looks(cloud, things[2:], polls)
    assert all(each.exists for each in found)
    assert standin.operations() == ["DescribeVpcs"]
    assert all(isinstance(error, GroundplaneError) for error in await lost)


async def test_what_is_in_no_listing_is_confirmed_one_by_one(cloud, standin, polls):
    group = {"subnetIds": ["subnet-1"], "description": "orders"}
    things = [
        settled(managed(RDS, "SubnetGroup", f"group-{number}", external_name=f"group-{number}", **group))
        for number in range(2)
    ]
    standin.forget_calls()
    found = await looks(cloud, things, polls)
    assert [each.exists for each in found] == [False, False]
    assert Counter(standin.operations()) == {"DescribeDBSubnetGroups": 3}


def subnet_groups(standin, count):
    ec2, rds, found = standin.client("ec2"), standin.client("rds"), []
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"eu-west-1{zone}")["Subnet"][
            "SubnetId"
        ]
        for n, zone in enumerate("ab")
    ]
    for number in range(count):
        name = f"group-{number}"
        group = {"subnetIds": subnets, "description": "orders"}
        thing = managed(RDS, "SubnetGroup", name, external_name=name, **group)
        listed = [{"Key": key, "Value": value} for key, value in tags.desired(thing).items()]
        rds.create_db_subnet_group(
            DBSubnetGroupName=name, DBSubnetGroupDescription="orders", SubnetIds=subnets, Tags=listed
        )
        known = {"tagsAll": tags.desired(thing), "arn": f"arn:aws:rds:eu-west-1:123456789012:subgrp:{name}"}
        found.append(settled(thing, **known))
    return found


class Calendar:
    """Hours pass when they are told to."""

    def __init__(self):
        self.seconds = self.ahead = 0.0  # `ahead`: by which the clock on the wall is set

    def now(self):
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds + self.ahead)

    def clock(self):
        return self.seconds


async def test_tags_that_are_told_one_by_one_travel_together_too(standin, polls):
    time = Calendar()
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=time.clock, now=time.now, window=0.05)
    things = subnet_groups(standin, 3)
    for _ in range(12):  # two hours
        standin.forget_calls()
        found = await looks(cloud, things, polls)
        assert all(each.exists and not each.drift for each in found)
        assert sorted(standin.operations()) == ["DescribeDBSubnetGroups", "GetResources"]
        time.seconds += 600
    of = things[1]["status"]["atProvider"]["arn"]
    standin.client("rds").add_tags_to_resource(ResourceName=of, Tags=[{"Key": "by", "Value": "hand"}])
    standin.forget_calls()
    found = await looks(cloud, things, polls)
    assert [len(each.drift) for each in found] == [0, 1, 0]
    singly = Counter(standin.operations()) - Counter(["DescribeDBSubnetGroups", "GetResources"])
    assert singly == {"DescribeDBSubnetGroups": 1, "ListTagsForResource": 1}
    cloud.close()


@pytest.mark.parametrize(
    ("made", "refused", "single"),
    [
        (roles, ("iam", "ListRoles", "AccessDenied", 403), "GetRole"),
        (subnet_groups, ("tagging", "GetResources", "AccessDeniedException", 400), "ListTagsForResource"),
    ],
)
async def test_what_nobody_may_read_for_all_is_read_singly_once_an_hour(made, refused, single, standin, polls):
    time = Calendar()
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=time.clock, now=time.now, window=0.05)
    things, (service, operation, code, status) = made(standin, 3), refused
    standin.fail(service, operation, code, status=status, times=99)
    standin.forget_calls()
    for _ in range(7):  # an hour
        found = await looks(cloud, things, polls)
        assert all(each.exists and not each.drift for each in found)
        time.seconds += 600
    assert Counter(standin.operations())[single] == len(things)
    cloud.close()


async def test_what_is_polled_more_often_is_read_in_full_more_often(standin, polls):
    """What others take a call for once an hour is read at every sixth poll, as the object says how often that is."""
    time = Calendar()
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=time.clock, now=time.now, window=0)
    (thing,) = vpcs(standin, 1)
    thing["metadata"]["annotations"]["crossplane.io/poll-interval"] = "10s"
    standin.client("ec2").modify_vpc_attribute(VpcId=external_name(thing), EnableDnsHostnames={"Value": True})
    drifts = []
    for _ in range(12):
        drifts += (await cloud.observe(thing, polls, {})).drift
        time.seconds += 10
    assert {each.field for each in drifts} == {"enableDnsHostnames"}
    cloud.close()


async def test_what_is_polled_less_often_is_read_in_full_at_each_poll(standin, account, polls):
    time = Calendar()
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=time.clock, now=time.now, window=0)
    things = vpcs(standin, 2)
    for thing in things:
        thing["metadata"]["annotations"]["crossplane.io/poll-interval"] = "2h"
    await looks(cloud, things, account)
    standin.client("ec2").modify_vpc_attribute(VpcId=external_name(things[0]), EnableDnsHostnames={"Value": True})
    time.seconds += 7200
    assert [[each.field for each in found.drift] for found in await looks(cloud, things, polls)] == [
        ["enableDnsHostnames"],
        [],
    ]
    cloud.close()


async def test_a_clock_that_is_set_back_keeps_nothing_from_being_read_in_full(standin, account, polls):
    time = Calendar()
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=time.clock, now=time.now, window=0)
    thing = managed("kms.aws.upbound.io/v1beta1", "Key", "orders", enableKeyRotation=True)
    found = await made(cloud, thing, account)
    settled(thing, **found.at_provider)
    thing["spec"]["forProvider"] |= found.late
    await cloud.observe(thing, account, {})
    standin.client("kms").disable_key_rotation(KeyId=external_name(thing))
    time.seconds, time.ahead = 600, -86400.0
    assert [each.field for each in (await cloud.observe(thing, polls, {})).drift] == ["enableKeyRotation"]
    cloud.close()


@pytest.mark.parametrize(
    "kind, spec, once, by_hand, field",
    [
        (
            ("kms.aws.upbound.io/v1beta1", "Key"),
            {"enableKeyRotation": True},
            "DescribeKey",
            lambda standin, name: standin.client("kms").disable_key_rotation(KeyId=name),
            "enableKeyRotation",
        ),
        *(
            (
                (group, "Table"),
                {
                    "billingMode": "PAY_PER_REQUEST",
                    "hashKey": "id",
                    "attribute": [{"name": "id", "type": "S"}],
                    "ttl": {"attributeName": "until", "enabled": True},
                },
                "DescribeTable",
                lambda standin, name: standin.client("dynamodb").update_time_to_live(
                    TableName=name, TimeToLiveSpecification={"AttributeName": "until", "Enabled": False}
                ),
                "ttl",
            )
            for group in ("dynamodb.aws.upbound.io/v1beta2", "dynamodb.aws.m.upbound.io/v1beta1")
        ),
    ],
    ids=["Key", "Table", "Table in a namespace"],
)
async def test_what_takes_calls_of_its_own_is_read_once_an_hour(
    standin, account, polls, kind, spec, once, by_hand, field
):
    time = Calendar()
    cloud = AwsCloud(sessions=Sessions(attempts=1), clock=time.clock, now=time.now, window=0)
    thing = managed(*kind, "orders", external_name="orders" if kind[1] == "Table" else None, **spec)
    found = await made(cloud, thing, account)
    conditions = [{"type": name, "status": "True"} for name in ("Synced", "Ready")]
    thing["status"] = {"conditions": conditions, "observedGeneration": 1, "atProvider": dict(found.at_provider)}
    thing["spec"]["forProvider"] |= found.late
    await cloud.observe(thing, account, {})
    by_hand(standin, external_name(thing))
    drifts, counts = [], []
    for _ in range(6):
        time.seconds += 600
        standin.forget_calls()
        looked = await cloud.observe(thing, polls, {})
        drifts.append([each.field for each in looked.drift])
        counts.append(standin.operations())
    assert counts[:5] == [[once]] * 5
    assert drifts == [[]] * 5 + [[field]]
    cloud.close()


# --- the module alone -----------------------------------------------------------------------------------

PLACE = Place("default", "eu-west-1", "ec2", "1")


class Aws:
    """Answers for what is there, and counts."""

    def __init__(self, *names):
        self.names, self.calls, self.error, self.pages, self.between = set(names), [], None, 1, None

    async def read(self, service, call, arguments, shared):
        self.calls.append(arguments)
        if self.between:
            self.between()
        if self.error:
            raise self.error
        asked = arguments["Filters"][0]["Values"] if "Filters" in arguments else self.names
        return [{"VpcId": name} for name in sorted(self.names & set(asked))], self.pages


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reads(clock):
    return SharedReads(window=0, clock=clock)


def want(key, file="ec2_vpc"):
    shared = catalogue.load(file).observe.shared
    return [Want("observe", "ec2", shared, "describe_vpcs", key)]


def listing(key):
    return [Want("observe", "rds", LISTING, "describe_db_subnet_groups", key)]


LISTING = catalogue.load("rds_subnet_group").observe.shared.model_copy(
    update={"key": catalogue.load("ec2_vpc").observe.shared.key}
)


async def look(reads, aws, *keys, of=want):
    return await asyncio.gather(*(reads.look(PLACE, of(key), f"uid-{key}", aws.read) for key in keys))


async def test_those_that_are_due_next_travel_along_and_an_answer_serves_once(reads, clock):
    aws = Aws("a", "b", "c")
    for name in ("a", "b", "c"):
        reads.seen(PLACE, want(name), f"uid-{name}")
    clock.now += 600
    assert await look(reads, aws, "a") == [{"observe": {"Vpcs": [{"VpcId": "a"}]}}]
    clock.now += KEPT - 1
    assert await look(reads, aws, "b") == [{"observe": {"Vpcs": [{"VpcId": "b"}]}}]
    assert len(aws.calls) == 1
    assert await look(reads, aws, "b") == [None]
    clock.now += 1
    await look(reads, aws, "c")
    assert len(aws.calls) == 2


async def test_nothing_from_before_a_change_counts(reads, clock):
    aws = Aws("a", "b")
    for name in ("a", "b"):
        reads.seen(PLACE, want(name), f"uid-{name}")
    clock.now += 600
    await look(reads, aws, "a")
    reads.forget(PLACE, want("b"))
    assert reads.kept == 1
    aws.between = lambda: reads.forget(PLACE, want("b"))
    reads.seen(PLACE, want("b"), "uid-b")
    clock.now += 600
    await look(reads, aws, "a")
    assert reads.kept == 1


async def test_who_is_alone_or_not_in_the_answer_looks_for_itself(reads):
    aws = Aws("a")
    assert await look(reads, aws, "a") == [None]
    assert not aws.calls
    assert await look(reads, aws, "a", "gone") == [{"observe": {"Vpcs": [{"VpcId": "a"}]}}, None]


@pytest.mark.parametrize("error, pause", [(Throttled("slow down", after=1), FAILED), (Denied("no"), DENIED)])
async def test_a_call_that_failed_is_not_made_again_at_once(reads, clock, error, pause):
    aws = Aws("a", "b")
    aws.error = error
    assert await look(reads, aws, "a", "b") == [None, None]
    aws.error = None
    clock.now += pause - 1
    assert await look(reads, aws, "a", "b") == [None, None]
    assert len(aws.calls) == 1
    clock.now += 1
    assert None not in await look(reads, aws, "a", "b")


async def test_what_a_look_can_do_without_is_not_asked_for_again_soon_where_nobody_answers(reads, clock):
    """Where AWS is reached by endpoints of a VPC's own, there may be none for it: each attempt would hold a poll up."""
    aws = Aws("a", "b")
    aws.error = Unavailable("timed out")

    def extra(key):
        return [each._replace(is_extra=True) for each in want(key)]

    assert await look(reads, aws, "a", "b", of=extra) == [{}, {}]
    aws.error = None
    clock.now += DENIED - 1
    assert await look(reads, aws, "a", "b", of=extra) == [{}, {}]
    clock.now += 1
    assert {} not in await look(reads, aws, "a", "b", of=extra)


async def test_more_than_a_call_takes_are_several_calls(reads):
    names = [f"vpc-{number}" for number in range(450)]
    aws = Aws(*names)
    assert None not in await look(reads, aws, *names)
    assert [len(call["Filters"][0]["Values"]) for call in aws.calls] == [200, 200, 50]


async def test_a_listing_of_more_pages_than_it_saves_looks_is_not_made(reads, clock):
    aws = Aws("a", "b", "c")
    aws.pages = 5
    assert None not in await look(reads, aws, "a", "b", of=listing)
    clock.now += 600
    assert await look(reads, aws, "a", "b", of=listing) == [None, None]
    assert len(aws.calls) == 1
    for number in range(30):
        reads.seen(PLACE, listing(str(number)), f"uid-{number}")
    assert None not in await look(reads, aws, "a", "b", of=listing)


async def test_after_a_start_one_listing_serves_all_whoever_asks_when(reads, clock):
    aws = Aws("a", "b", "c")
    await look(reads, aws, "a", "b", of=listing)
    clock.now += 1
    assert (await look(reads, aws, "c", of=listing))[0] is not None
    assert len(aws.calls) == 1


async def test_what_changes_while_a_listing_is_under_way_is_not_in_it(reads, clock):
    class Slow(Aws):
        async def read(self, service, call, arguments, shared):
            found = await super().read(service, call, arguments, shared)
            reads.forget(PLACE, [listing("c")])
            return found

    aws = Slow("a", "b", "c")
    await look(reads, aws, "a", "b", of=listing)
    assert await look(reads, aws, "c", of=listing) == [None]


async def test_what_is_known_is_bounded(reads, clock, monkeypatch):
    monkeypatch.setattr(shared_reads, "MEMBERS", 10)
    monkeypatch.setattr(shared_reads, "GROUPS", 4)
    for account in range(20):
        for number in range(5):
            reads.seen(Place(f"account-{account}", "eu-west-1", "ec2"), want(str(number)), "uid")
    assert len(reads) == 10
    assert len(reads._groups) <= 4
