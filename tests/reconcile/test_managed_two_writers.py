"""Two processes on one managed resource, without any Lease: one begins a create, the other finds it begun.  There is one VPC in the end."""

import asyncio
import json
from dataclasses import replace

import pytest

from groundplane.core.managed import is_create_unfinished
from groundplane.core.objects import key_of
from tests.reconcile import managed
from tests.reconcile.managed import external_name, get, is_ready

PATIENCE = 75.0  # seconds


class Stopped:
    """A cloud whose next create stops before it is sent, or before its answer is told, until it is let go on."""

    def __init__(self, inner, *, sent):
        self._inner, self._sent = inner, sent
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def create(self, *args):
        made = await self._inner.create(*args) if self._sent else None
        self.reached.set()
        await self.go_on.wait()
        return made or await self._inner.create(*args)


async def begun(aws, *, sent):
    """A world whose process is stopped in the middle of a create, that process, and a second one on the same store."""
    first = await aws.world()
    cloud = Stopped(aws.cloud(now=first.clock), sent=sent)
    first.context = first.engine.context = replace(first.context, cloud=cloud)
    await first.apply(managed.vpc())
    stopped = asyncio.create_task(first.settle())
    await cloud.reached.wait()
    return first, stopped, aws.restarted(first)


async def test_a_create_that_another_process_is_about_to_send_is_waited_for(aws):
    first, stopped, second = await begun(aws, sent=False)
    await second.settle(seconds=PATIENCE - 10)
    assert aws.vpcs() == []
    first.context.cloud.go_on.set()
    await stopped
    await second.settle(seconds=PATIENCE)
    [vpc] = aws.vpcs()
    found = await get(second, managed.vpc())
    assert is_ready(found)
    assert external_name(found) == vpc["VpcId"]


async def test_what_another_process_has_made_is_adopted_before_its_time_is_over(aws):
    _, stopped, second = await begun(aws, sent=True)
    await second.settle(seconds=20)
    [vpc] = aws.vpcs()
    assert external_name(await get(second, managed.vpc())) == vpc["VpcId"]
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)


async def test_a_create_of_a_process_that_is_dead_is_repeated_in_the_end(aws):
    _, stopped, second = await begun(aws, sent=False)
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    await second.settle(seconds=PATIENCE - 10)
    assert aws.vpcs() == []
    await second.settle(seconds=60)
    assert len(aws.vpcs()) == 1
    assert is_ready(await get(second, managed.vpc()))


async def test_a_resource_is_not_let_go_while_another_process_may_still_make_it(aws):
    first, stopped, second = await begun(aws, sent=False)
    await second.cluster.delete(key_of(managed.vpc()))
    await second.settle(seconds=PATIENCE - 10)
    assert await get(second, managed.vpc()) is not None
    first.context.cloud.go_on.set()
    await stopped
    await second.settle(seconds=2 * PATIENCE)
    assert aws.vpcs() == []
    assert await get(second, managed.vpc()) is None


@pytest.mark.parametrize("manifest", [managed.bucket(), managed.role()], ids=["bucket", "role"])
async def test_what_has_a_name_of_our_choice_is_made_without_waiting(aws, manifest):
    first = await aws.world()
    annotations = {"crossplane.io/external-create-pending": "2025-12-31T23:59:00Z"}
    manifest["metadata"]["annotations"] = annotations
    await first.apply(manifest)
    await first.settle(seconds=20)
    assert is_ready(await get(first, manifest))


async def test_who_was_stopped_before_it_sent_its_create_never_overwrites_the_outcome_of_whoever_took_over(aws):
    first, stopped, second = await begun(aws, sent=False)
    await second.settle(seconds=2 * PATIENCE)
    made = external_name(await get(second, managed.vpc()))
    first.context.cloud.go_on.set()  # no Lease here: it sends what nobody waits for any more
    await stopped
    [late] = {vpc["VpcId"] for vpc in aws.vpcs()} - {made}
    assert external_name(await get(second, managed.vpc())) == made
    assert f"{late} was made too late" in first.told.text()


async def test_the_outcome_of_a_create_is_not_written_on_another_object_of_the_same_name(aws):
    first, stopped, second = await begun(aws, sent=True)
    await managed.deleted(second, managed.vpc(), seconds=4 * PATIENCE)
    assert await get(second, managed.vpc()) is None
    assert aws.vpcs() == []
    await managed.applied(second, managed.vpc(), seconds=20)
    made = external_name(await get(second, managed.vpc()))
    first.context.cloud.go_on.set()
    await stopped
    await second.settle(seconds=PATIENCE)
    found = await get(second, managed.vpc())
    assert is_ready(found)
    assert external_name(found) == made
    assert [vpc["VpcId"] for vpc in aws.vpcs()] == [made]


async def test_what_somebody_else_writes_during_a_create_loses_neither_that_nor_the_outcome(aws):
    first, stopped, _ = await begun(aws, sent=True)
    note = {"metadata": {"annotations": {"team": "orders"}, "labels": {"a": "b"}}}
    await first.cluster.patch(key_of(managed.vpc()), note)
    first.context.cloud.go_on.set()
    await stopped
    await first.settle(seconds=20)
    found = await get(first, managed.vpc())
    assert is_ready(found)
    assert found["metadata"]["annotations"]["team"] == "orders"
    assert [vpc["VpcId"] for vpc in aws.vpcs()] == [external_name(found)]


# --- times of a clock that is ahead


FAR = "2099-01-01T00:00:00Z"


def dated(annotation):
    vpc = managed.vpc()
    vpc["metadata"]["annotations"] = {f"crossplane.io/external-create-{annotation}": FAR}
    return vpc


@pytest.mark.parametrize(("annotation", "patience"), [("succeeded", 30), ("pending", PATIENCE)])
async def test_a_time_that_is_ahead_is_waited_for_no_longer_than_any_other_and_the_condition_says_why(
    aws, annotation, patience
):
    world = await aws.world()
    found = await managed.applied(world, dated(annotation), seconds=patience - 10)
    text = managed.message(found)
    assert f"annotation crossplane.io/external-create-{annotation} says {FAR}, which is ahead of the clock here" in text
    assert f"after 2026-01-01T00:{'00:30' if patience == 30 else '01:15'}Z" in text
    assert "Mend: have the clocks of all replicas set by NTP; to go on at once, remove the annotation." in text
    assert managed.condition(found, "Ready") == ("False", "Creating")
    assert aws.vpcs() == []
    await world.settle(seconds=40)
    found = await get(world, managed.vpc())
    assert is_ready(found)
    assert [vpc["VpcId"] for vpc in aws.vpcs()] == [external_name(found)]
    assert FAR not in str(found["metadata"]["annotations"])


async def test_on_a_laptop_whose_clock_was_set_back_a_create_is_not_repeated_before_aws_has_shown_what_it_made(aws):
    world = await aws.world()
    world.context = world.engine.context = replace(
        world.context, options=replace(world.context.options, create_wait=0.0)
    )
    await managed.applied(world, dated("pending"), seconds=20)
    assert aws.vpcs() == []
    await world.settle(seconds=20)
    assert len(aws.vpcs()) == 1


async def test_a_create_in_which_the_clock_is_set_back_has_come_to_its_end_all_the_same(aws):
    first = await aws.world()
    cloud = Stopped(aws.cloud(now=first.clock), sent=True)
    first.context = first.engine.context = replace(first.context, cloud=cloud)
    await first.apply(managed.vpc())
    running = asyncio.create_task(first.engine.process("managed", key_of(managed.vpc())))
    await cloud.reached.wait()
    first.clock.advance(-3600)
    cloud.go_on.set()
    await running
    found = await get(first, managed.vpc())
    assert not is_create_unfinished(found)
    assert [vpc["VpcId"] for vpc in aws.vpcs()] == [external_name(found)]
    assert ("Normal", "CreatedExternalResource") in first.told.reasons("VPC")


@pytest.mark.parametrize("annotation", ["succeeded", "pending"])
async def test_what_has_a_time_that_is_ahead_is_deleted_after_the_wait(aws, annotation):
    world = await aws.world()
    vpc = dated(annotation)
    vpc["metadata"]["finalizers"] = ["finalizer.managedresource.crossplane.io"]
    await managed.applied(world, vpc)
    await world.cluster.delete(key_of(vpc))
    await world.settle(seconds=20)
    found = await get(world, vpc)
    assert "which is ahead of the clock here" in managed.message(found)
    assert managed.condition(found, "Ready") == ("False", "Deleting")
    await world.settle(seconds=PATIENCE)
    assert await get(world, vpc) is None


class Fought:
    """A cloud in which somebody else sets a VPC's attribute back before each look."""

    def __init__(self, inner, hand):
        self._inner, self._hand = inner, hand

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def observe(self, *args):
        self._hand()
        return await self._inner.observe(*args)


async def test_somebody_else_who_sets_a_field_back_again_and_again_is_told_and_not_given_way_to(aws):
    world = await aws.world()
    vpc = managed.resource(managed.EC2, "VPC", "main", {}, cidrBlock="10.0.0.0/16", enableDnsHostnames=True)
    await world.apply(vpc)
    await world.settle(seconds=60)
    client = aws.client("ec2")
    name = external_name(await get(world, vpc))
    inner = world.context.cloud
    fought = Fought(inner, lambda: client.modify_vpc_attribute(VpcId=name, EnableDnsHostnames={"Value": False}))
    world.context = world.engine.context = replace(world.context, cloud=fought)
    await world.settle(seconds=600)
    aws.standin.forget_calls()
    world.told.events.clear()
    await world.settle(seconds=300)
    assert [event for event in world.told.events if event[2] == "UpdatedExternalResource"]
    assert aws.standin.operations().count("DescribeVpcs") <= 20  # at the pace of the looks, not in haste
    told = [event for event in world.told.events if event[2] == "ContestedExternalResource"]
    assert told
    assert {(event[0], event[1]) for event in told} == {("VPC main", "Warning")}
    assert not [event for event in world.told.events if "does not echo" in event[3]]


def allowing(service):
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


PAIRS = [
    ("sns", ("Topic", {"policy": allowing("s3.amazonaws.com")}), ("TopicPolicy", {"arnRef": {"name": "one"}, "policy": allowing("ses.amazonaws.com")}), "policy"),
    ("sqs", ("Queue", {"policy": allowing("s3.amazonaws.com")}), ("QueuePolicy", {"queueUrlRef": {"name": "one"}, "policy": allowing("sns.amazonaws.com")}), "policy"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "one", "two", "field"), PAIRS, ids=[pair[0] for pair in PAIRS])
async def test_two_objects_that_set_the_same_in_turn_are_told_of_each_other(aws, service, one, two, field):
    world = await aws.world()
    group = f"{service}.aws.upbound.io/v1beta1"
    await world.apply(managed.resource(group, one[0], "one", {}, **one[1]))
    await world.settle(seconds=30)
    await world.apply(managed.resource(group, two[0], "two", {}, **two[1]))
    await world.settle(seconds=900)
    told = {event[0]: event[3] for event in world.told.events if event[2] == "ContestedExternalResource"}
    assert set(told) == {f"{one[0]} one", f"{two[0]} two"}
    assert (
        f"{two[0]}.{group.partition('/')[0]}/two changes field {field} in turn" in told[f"{one[0]} one"]
        or "two changes" in told[f"{one[0]} one"]
    )
    assert "one changes field policy in turn" in told[f"{two[0]} two"]
    assert "leave the field to one of the two" in told[f"{two[0]} two"]


async def test_two_policies_of_one_bucket_are_told_of_each_other(aws):
    world = await aws.world()
    group = "s3.aws.upbound.io/v1beta1"
    await world.apply(managed.resource(group, "Bucket", "groundplane-one", {}))
    for name in ("one", "two"):
        arn, who = "arn:aws:s3:::groundplane-one/*", {"one": "123456789012", "two": "210987654321"}[name]
        statement = {"Effect": "Allow", "Principal": {"AWS": who}, "Action": "s3:GetObject", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        await world.apply(
            managed.resource(group, "BucketPolicy", name, {}, bucketRef={"name": "groundplane-one"}, policy=policy)
        )
    await world.settle(seconds=900)
    told = {event[0]: event[3] for event in world.told.events if event[2] == "ContestedExternalResource"}
    assert set(told) == {"BucketPolicy one", "BucketPolicy two"}
    assert "two changes field policy in turn" in told["BucketPolicy one"]
