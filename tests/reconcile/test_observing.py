"""What is seen in AWS and not touched: all of it where the operator only observes, and what is another object's."""

import pytest

from groundplane.aws.session import Sessions
from groundplane.core.objects import key_of, meta
from groundplane.ports import Options
from tests.reconcile import managed
from tests.world import World


async def succeeded(aws, world, *, observe_only):
    """Another process on the same store, with --observe-only or without."""
    gate = {"sessions": Sessions(attempts=1, may_write=refused)} if observe_only else {}
    options = Options(poll_interval=60.0, observe_only=observe_only)
    fresh = World(aws.cloud(now=world.clock, **gate), options=options, cluster=world.cluster, clock=world.clock)
    aws.worlds.append(fresh)
    aws.standin.forget_calls()
    return await fresh.settle(seconds=120)


def refused():
    raise AssertionError("AWS was to be changed")


async def test_an_operator_that_only_observes_says_what_it_would_create_change_and_delete(aws):
    world = await aws.world()
    kept, gone, other = managed.vpc(), managed.vpc("gone"), managed.role()
    for manifest in (kept, gone, other):
        await managed.applied(world, manifest, seconds=30)
    aws.client("ec2").modify_vpc_attribute(
        VpcId=managed.external_name(await managed.get(world, kept)), EnableDnsSupport={"Value": False}
    )
    fresh = await succeeded(aws, world, observe_only=True)
    drifted = await managed.get(fresh, kept)
    assert managed.condition(drifted, "Synced") == ("False", "ObserveOnly")
    assert "enableDnsSupport (there false, here true)" in managed.message(drifted)
    assert managed.is_ready(await managed.get(fresh, other))
    await fresh.cluster.delete(key_of(gone))
    new = await managed.applied(fresh, managed.vpc("new"), seconds=30)
    assert managed.condition(new, "Synced") == ("False", "ObserveOnly")
    assert "it would be created" in managed.message(new)
    assert "it would be deleted" in managed.message(await managed.get(fresh, gone))
    assert (len(aws.vpcs()), aws.writes()) == (2, [])
    back = await succeeded(aws, fresh, observe_only=False)
    assert await managed.get(back, gone) is None
    assert managed.is_ready(await managed.get(back, kept))
    assert managed.is_ready(await managed.get(back, new))


async def test_the_tags_that_say_whose_a_thing_is_are_no_difference_worth_telling(aws):
    world = await aws.world()
    made = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    fresh = await succeeded(aws, world, observe_only=True)
    annotations = {"crossplane.io/external-name": made}
    found = await managed.applied(fresh, managed.vpc(spec={"annotations": annotations}), seconds=30)
    assert managed.is_ready(found)
    found = await managed.edited(fresh, managed.vpc(), seconds=30, tags={"team": "a"})
    assert 'tags[team] (there null, here "a")' in managed.message(found)
    assert "crossplane-" not in managed.message(found)
    assert aws.writes() == []


async def test_two_objects_do_not_change_one_thing_in_turn_and_the_second_goes_without_it(aws):
    world = await aws.world()
    first = await managed.applied(world, managed.vpc(), seconds=30)
    name = managed.external_name(first)
    aws.standin.forget_calls()
    manifest = managed.vpc("second", spec={"annotations": {"crossplane.io/external-name": name}})
    second = await managed.applied(world, manifest, seconds=120)
    assert managed.condition(second, "Stalled") == ("True", "InvalidInput")
    assert f"{name} is that of VPC" in managed.message(second)
    assert aws.writes() == []
    assert await managed.deleted(world, manifest) is None
    assert len(aws.vpcs()) == 1
    assert managed.is_ready(await managed.get(world, managed.vpc()))


@pytest.mark.parametrize("policy", [None, ["Observe"]], ids=["after it has gone", "who only looks"])
async def test_who_names_anothers_thing_has_it_once_that_one_has_gone_or_may_look_at_it(aws, policy):
    world = await aws.world()
    first = managed.vpc(spec={"deletionPolicy": "Orphan"})
    name = managed.external_name(await managed.applied(world, first, seconds=30))
    spec = {"annotations": {"crossplane.io/external-name": name}} | ({"managementPolicies": policy} if policy else {})
    second = await managed.applied(world, managed.vpc("second", spec=spec), seconds=30)
    assert managed.is_ready(second) == bool(policy)
    if not policy:
        await managed.deleted(world, first, seconds=5)
        found = await managed.get(world, managed.vpc("second"))
        assert managed.is_ready(found)
        [vpc] = aws.vpcs()
        assert {"Key": "crossplane-uid", "Value": meta(found)["uid"]} in vpc["Tags"]
