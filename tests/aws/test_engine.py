"""What the engine promises of every kind: names, tags, searches, frozen fields, throttling."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from groundplane import errors
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.grammar import Kind
from groundplane.aws.memory import Digests
from groundplane.aws.resource import Hooks, Resource
from groundplane.aws.session import Sessions
from groundplane.aws.templates import parts_of
from groundplane.ports import Difference
from tests.aws.conftest import EC2, IAM, RDS, S3, external_name, made, managed, settle
from tests.standin import REGION


async def test_throttling_says_when_to_come_back_and_passes(patient_cloud, account, standin):
    cloud = patient_cloud
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    standin.fail("ec2", "CreateVpc", "RequestLimitExceeded", message="slow down", status=503)
    with pytest.raises(errors.Throttled, match="slow down") as caught:
        await cloud.create(vpc, account, {})
    assert caught.value.after > 0
    assert (await made(cloud, vpc, account)).exists


async def test_an_interrupted_create_is_found_by_its_tag(cloud, account):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    assert await cloud.find(vpc, account) == ""
    creation = await cloud.create(vpc, account, {})
    assert await cloud.find(vpc, account) == creation.external_name
    namesake = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    assert await cloud.find(namesake, account) == ""


async def test_nothing_found_too_soon_is_not_certain(cloud, account):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    pending = vpc["metadata"]["annotations"]
    pending["crossplane.io/external-create-pending"] = datetime.now(UTC).isoformat()
    with pytest.raises(errors.Waiting, match="doesn't show yet"):
        await cloud.find(vpc, account)
    pending["crossplane.io/external-create-pending"] = (datetime.now(UTC) - timedelta(seconds=60)).isoformat()
    assert await cloud.find(vpc, account) == ""


async def test_two_things_with_our_tag_need_a_person(cloud, account):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    first, second = [(await cloud.create(vpc, account, {})).external_name for _ in range(2)]
    with pytest.raises(errors.InvalidInput, match=", ".join(sorted([first, second]))):
        await cloud.find(vpc, account)


async def test_a_thing_with_a_name_of_ours_is_found_by_it(cloud, account, network):
    group = managed(RDS, "SubnetGroup", "orders", subnetIds=network["subnets"])
    assert await cloud.find(group, account) == ""
    await cloud.create(group, account, {})
    assert await cloud.find(group, account) == "orders"


async def test_an_assigned_name_must_be_known_to_observe(cloud, account, standin):
    assert cloud.default_external_name(managed(EC2, "VPC", "main")) == ""
    assert not (await cloud.observe(managed(EC2, "VPC", "main"), account, {})).exists
    assert standin.operations() == []


async def test_foreign_tags_are_removed_and_those_of_aws_kept(cloud, account):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16", tags={"team": "orders"})
    await made(cloud, vpc, account)
    client = cloud._sessions.clients(account).client("ec2", "eu-west-1")
    client.create_tags(Resources=[external_name(vpc)], Tags=[{"Key": "foreign", "Value": "1"}])
    assert [difference.field for difference in (await cloud.observe(vpc, account, {})).drift] == ["tags"]
    assert "foreign" not in (await settle(cloud, vpc, account)).at_provider["tags"]


async def test_a_field_that_aws_does_not_echo_is_sent_twice_and_then_reported(cloud, account, network):
    facts = {"cidrBlock": "10.0.8.0/24", "vpcId": network["vpc"]}
    subnet = managed(EC2, "Subnet", "orders", **facts, privateDnsHostnameTypeOnLaunch="resource-name")
    observation = await made(cloud, subnet, account)  # the stand-in takes it and never shows it
    [note] = observation.notes
    assert note.startswith("AWS does not echo field privateDnsHostnameTypeOnLaunch")
    subnet["spec"]["forProvider"]["privateDnsHostnameTypeOnLaunch"] = "ip-name"
    observation = await cloud.observe(subnet, account, {})
    assert (observation.drift, observation.notes) == ((), ())


async def test_drift_that_comes_back_after_it_was_mended_is_mended_again(cloud, account):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16", enableDnsHostnames=True)
    await made(cloud, vpc, account)
    client = cloud._sessions.clients(account).client("ec2", "eu-west-1")
    for _ in range(4):
        client.modify_vpc_attribute(VpcId=external_name(vpc), EnableDnsHostnames={"Value": False})
        assert (await settle(cloud, vpc, account)).at_provider["enableDnsHostnames"] is True


async def test_what_is_switched_off_goes_before_what_is_switched_on(cloud, account, standin):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16", enableDnsHostnames=True)
    await made(cloud, vpc, account)
    vpc["spec"]["forProvider"] |= {"enableDnsSupport": False, "enableDnsHostnames": False}
    observation = await settle(cloud, vpc, account)
    assert observation.at_provider["enableDnsSupport"] is False
    assert observation.at_provider["enableDnsHostnames"] is False


async def patiently(doing, *arguments):
    while True:
        try:
            return await doing(*arguments)
        except errors.Throttled as busy:
            await asyncio.sleep(busy.after / 10)


async def test_observing_is_safe_for_many_at_once(cloud, account):
    vpcs = [managed(EC2, "VPC", f"main-{index}", cidrBlock="10.0.0.0/16") for index in range(8)]
    await asyncio.gather(
        *(made(cloud, vpc, account) for vpc in vpcs[:2])
    )  # as many as may begin, however slow they are
    await asyncio.gather(*(patiently(made, cloud, vpc, account) for vpc in vpcs[2:]))
    assert len({external_name(vpc) for vpc in vpcs}) == 8


@pytest.mark.parametrize(
    "thing, message",
    [
        (managed(RDS, "SubnetGroup", "default"), r'metadata.name: "default" is reserved in AWS'),
        (managed(RDS, "SubnetGroup", "a", external_name="no blanks"), r'external-name: "no blanks" is no name'),
        (managed(S3, "Bucket", "Orders_Bucket"), r"is no name for this kind.*3 to 63 lower-case letters"),
        (managed(S3, "Bucket", "a..b"), r"is no name"),
        (managed(IAM, "Role", "a b"), r"is no name"),
        (managed(RDS, "Instance", "1orders"), r"is no name.*begins with a letter"),
        (managed(RDS, "Instance", "orders--one"), r"is no name"),
        (managed(RDS, "Instance", "orders.one"), r"is no name"),
        (managed(RDS, "Instance", "orders-"), r"is no name"),
        (managed(IAM, "Role", "orders"), r"spec.forProvider.assumeRolePolicy: is required"),
        (managed(EC2, "VPC", "a", cidrBlock="10.0.0.0/16", ipv4NetmaskLength=20), r"can't be used with"),
        (managed(EC2, "SecurityGroup", "a", name="sg-a"), r"can't begin with sg-"),
        (managed(EC2, "SecurityGroup", "a", description=""), r"can't be empty"),
    ],
)
def test_what_cannot_work_is_refused_before_any_call(cloud, thing, message):
    with pytest.raises(errors.InvalidInput, match=message):
        cloud.check(thing)


def test_names_that_aws_takes_pass(cloud):
    for name in ("a", "orders", "orders-1", "a" * 63):
        spec = {"engine": "postgres", "instanceClass": "db.t4g.micro", "allocatedStorage": 20}
        cloud.check(managed(RDS, "Instance", name, **spec))
    cloud.check(managed(S3, "Bucket", "my.bucket-1"))


async def test_a_missing_reference_is_asked_for(cloud, account):
    with pytest.raises(errors.InvalidInput, match=r"vpcId: is required. Mend: set it, or vpcIdRef or a selector"):
        await cloud.create(managed(EC2, "Subnet", "a", cidrBlock="10.0.0.0/24"), account, {})


async def test_a_missing_region_is_asked_for(cloud, account):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    del vpc["spec"]["forProvider"]["region"]
    with pytest.raises(errors.InvalidInput, match=r"spec.forProvider.region: is missing"):
        await cloud.create(vpc, account, {})


async def test_a_kind_that_is_not_built_in_says_so(cloud, account):
    with pytest.raises(errors.InvalidInput, match="Queue of sqs"):
        await cloud.observe(managed("sqs.aws.upbound.io/v9", "Queue", "a"), account, {})
    assert cloud.kind("sqs.aws.upbound.io/v9", "Queue") is None


def test_the_kinds_are_listed(cloud):
    names = {found.kind for found in cloud.kinds()}
    assert {"Instance", "SubnetGroup", "VPC", "Subnet", "SecurityGroup", "Role", "Bucket"} <= names
    instance = cloud.kind("rds.aws.upbound.io/v1beta3", "Instance")
    assert instance.api_versions[0] == "rds.aws.upbound.io/v1beta1"
    assert instance.secrets[0].generate == "autoGeneratePassword"


async def test_a_value_in_the_object_style_of_later_versions_is_read(cloud, account):
    instance = managed(RDS, "Instance", "a", restoreToPointInTime={"useLatestRestorableTime": True})
    assert cloud._offline(instance).spec["restoreToPointInTime"] == [{"useLatestRestorableTime": True}]


class Hanging(Sessions):
    """The first call that changes something waits in its thread until it is let go."""

    def __init__(self):
        super().__init__(attempts=1)
        self.reached, self.released = threading.Event(), threading.Event()

    def clients(self, account, **how):
        found = super().clients(account, **how)
        found.client("ec2", REGION, once=True).meta.events.register("before-call", self._hang, unique_id="hang")
        return found

    def _hang(self, **_):
        self.reached.set()
        self.released.wait(30)


async def test_nothing_is_done_to_a_thing_while_a_call_that_was_given_up_may_still_make_it(account, standin):
    sessions = Hanging()
    cloud = AwsCloud(sessions=sessions)
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    given_up = asyncio.create_task(cloud.create(vpc, account, {}))
    await asyncio.to_thread(sessions.reached.wait)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    with pytest.raises(errors.Waiting, match="has not come back yet"):
        await cloud.find(vpc, account)
    sessions.released.set()
    found = None
    while found is None:
        try:
            found = await cloud.find(vpc, account)
        except errors.Waiting:
            await asyncio.sleep(0)
    assert found.startswith("vpc-")
    cloud.close()


async def test_a_call_that_may_change_aws_does_not_pass_as_a_read(cloud):
    vpc = cloud._offline(managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16"))
    with pytest.raises(ValueError, match="delete_vpc may change AWS"):
        vpc.ask("delete_vpc", VpcId="vpc-1")
    with pytest.raises(ValueError, match="delete_vpc may change AWS"):
        list(vpc.pages("delete_vpc", VpcId="vpc-1"))


async def test_a_freeze_starts_anew_when_what_is_observed_has_moved(cloud, account, network):
    facts = {"cidrBlock": "10.0.8.0/24", "vpcId": network["vpc"]}
    subnet = managed(EC2, "Subnet", "orders", **facts, privateDnsHostnameTypeOnLaunch="resource-name")
    frozen = await made(cloud, subnet, account)  # the stand-in takes it and never shows it
    assert len(frozen.notes) == 1
    assert not (await cloud.observe(subnet, account, {})).drift
    memory = cloud._memories[subnet["metadata"]["uid"]]
    [(field, sent)] = memory.sent.items()
    memory.sent[field] = sent._replace(key="another")  # as if AWS had shown something else then
    again = await cloud.observe(subnet, account, {})
    assert [difference.field for difference in again.drift] == ["privateDnsHostnameTypeOnLaunch"]
    assert again.notes == ()


async def test_what_somebody_else_sets_back_before_the_next_look_is_mended_each_time_and_told(cloud, account, standin):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16", enableDnsHostnames=True)
    await made(cloud, vpc, account)
    client = cloud._sessions.clients(account).client("ec2", "eu-west-1")
    told, looks = [], []
    for _ in range(5):
        client.modify_vpc_attribute(VpcId=external_name(vpc), EnableDnsHostnames={"Value": False})
        found = await cloud.observe(vpc, account, {})
        assert [difference.field for difference in found.drift] == ["enableDnsHostnames"]
        told.append((len(found.notes), len(found.contested)))
        standin.forget_calls()
        await cloud.update(vpc, account, {}, found)
        looks.append(standin.operations().count("DescribeVpcs"))
    assert told == [(0, 0), (0, 0), (0, 1), (0, 1), (0, 1)]
    assert looks == [0, 1, 1, 1, 1]  # what drifts once costs no look of its own
    assert found.contested == ("enableDnsHostnames",)
    assert (await cloud.observe(vpc, account, {})).contested == ()


async def test_what_comes_back_after_it_was_seen_settled_is_told_from_the_second_time_on(cloud, account, standin):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16", enableDnsHostnames=True)
    await made(cloud, vpc, account)
    client, told = cloud._sessions.clients(account).client("ec2", "eu-west-1"), []
    for _ in range(3):
        client.modify_vpc_attribute(VpcId=external_name(vpc), EnableDnsHostnames={"Value": False})
        found = await cloud.observe(vpc, account, {})
        told.append(found.contested)
        await cloud.update(vpc, account, {}, found)
        assert not (await cloud.observe(vpc, account, {})).drift
    assert told == [(), ("enableDnsHostnames",), ("enableDnsHostnames",)]
    vpc["spec"]["forProvider"]["enableDnsHostnames"] = False  # edited to and fro, it is nobody else's doing
    for wanted in (False, True, False, True):
        vpc["spec"]["forProvider"]["enableDnsHostnames"] = wanted
        found = await cloud.observe(vpc, account, {})
        assert found.contested == ()
        await cloud.update(vpc, account, {}, found)


def test_a_digest_is_remembered_without_the_password_and_only_so_many_are():
    digests = Digests(size=3)
    made_ = [digests.of("uid", "password", f"correct-horse-{n}") for n in range(5)]
    assert [digests.of("uid", "password", f"correct-horse-{n}") for n in range(5)] == made_
    assert len({*made_, digests.of("other", "password", "correct-horse-0")}) == 6
    assert len(digests._known) == 3
    assert "correct-horse" not in repr(vars(digests))
    assert Digests().of("uid", "password", "correct-horse-0") == made_[0]


def test_the_names_of_identity_fields_are_read_from_a_composite_name():
    assert parts_of("$spec.role/$spec.policyArn", "a/arn:b/c") == {"spec.role": "a", "spec.policyArn": "arn:b/c"}
    assert parts_of("$spec.role/$spec.policyArn", "a-20240101") is None


ATTACHMENT = {
    "kind": "RolePolicyAttachment",
    "group": "iam.aws.upbound.io",
    "plural": "rolepolicyattachments",
    "service": "iam",
    "global": True,
    "externalName": {"mode": "composite", "format": "${spec.role}/${spec.policyArn}"},
    "create": {"call": "attach_role_policy"},
    "observe": {
        "call": "list_attached_role_policies",
        "with": {"RoleName": "$spec.role"},
        "item": "AttachedPolicies",
        "where": {"PolicyArn": "$spec.policyArn"},
        "absent": ["NoSuchEntity"],
    },
    "delete": {"call": "detach_role_policy", "with": {"RoleName": "$spec.role", "PolicyArn": "$spec.policyArn"}},
    "fields": {"role": {"type": "string"}, "policyArn": {"type": "string"}},
    "atProvider": {},
    "example": {},
}


@pytest.mark.parametrize(
    "saved, moved",
    [
        ("orders/arn:a", []),
        ("shop/arn:a", [Difference("role", "orders", "shop")]),
        ("orders-20240101120000", []),  # as upstream's provider names it
    ],
)
def test_identity_fields_of_a_composite_name_that_were_edited_are_named_with_both_values(saved, moved):
    attachment = managed(IAM, "RolePolicyAttachment", "a", external_name=saved, role="orders", policyArn="arn:a")
    kind = Kind.model_validate(ATTACHMENT)
    found = Resource(kind, Hooks(), attachment, now=datetime.now(UTC))
    assert found.moved() == moved
    assert found.external_name == (saved if moved else "orders/arn:a")
