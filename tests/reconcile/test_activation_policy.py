"""Policies: which managed definitions become active, those to come included, and that nothing is undone."""

from __future__ import annotations

import pytest

from groundplane.errors import Rejected
from tests.reconcile import mrds
from tests.reconcile.managed import condition, message
from tests.world import World

URNS, JARS = f"urns.{mrds.GROUP}", "jars.other.example.org"
VAULTS = mrds.key().name


async def begun(*manifests):
    world = await World().install()
    await world.apply(*manifests)
    return await world.settle()


async def policy(world, name="mine"):
    return await world.cluster.get(mrds.policy_key(name))


async def state(world, name):
    return (await world.cluster.get(mrds.key(name)))["spec"]["state"]


def three():
    return mrds.definition(), mrds.definition(plural="urns"), mrds.definition(plural="jars", group="other.example.org")


async def test_what_fits_becomes_active_and_is_listed_sorted():
    world = await begun(*three(), mrds.policy(f"*.{mrds.GROUP}"))
    now = await policy(world)
    assert now["status"]["activated"] == [URNS, VAULTS]
    assert condition(now, "Healthy") == ("True", "Running")
    assert condition(now, "Ready") == ("True", "Available")
    assert [await state(world, name) for name in (URNS, VAULTS, JARS)] == ["Active", "Active", "Inactive"]
    assert await world.cluster.get(mrds.crd_key(URNS)) is not None
    assert ("Normal", "ActivateManagedResourceDefinition") in world.told.reasons("ManagedResourceActivationPolicy")


async def test_what_appears_later_is_activated_at_once():
    world = await begun(mrds.policy("vaults.*", "[j]ars.*"))
    assert "activated" not in (await policy(world))["status"]
    await world.apply(*three())
    await world.settle()
    assert (await policy(world))["status"]["activated"] == [JARS, VAULTS]
    assert await state(world, URNS) == "Inactive"


async def test_what_is_gone_is_listed_no_more():
    world = await begun(*three(), mrds.policy("*"))
    await world.cluster.delete(mrds.key(URNS))
    world.enqueue({("activation-policy", mrds.policy_key())})  # a store tells the world of no deletion
    await world.settle()
    assert (await policy(world))["status"]["activated"] == [JARS, VAULTS]


async def test_nothing_is_undone_when_a_policy_changes_or_goes():
    world = await begun(*three(), mrds.policy("*"))
    await world.apply(mrds.policy("urns.*"))
    await world.settle()
    assert (await policy(world))["status"]["activated"] == [URNS]
    await world.cluster.delete(mrds.policy_key())
    await world.settle()
    assert [await state(world, name) for name in (URNS, VAULTS, JARS)] == ["Active"] * 3
    assert world.policies.of(URNS) == []


async def test_two_policies_may_mean_the_same():
    world = await begun(*three(), mrds.policy("urns.*", name="one"), mrds.policy("*", name="other"))
    assert (await policy(world, "one"))["status"]["activated"] == [URNS]
    assert (await policy(world, "other"))["status"]["activated"] == [JARS, URNS, VAULTS]


async def test_one_that_activates_nothing_is_refused():
    world = await World().install()
    with pytest.raises(Rejected):
        await world.apply(mrds.policy())


async def test_a_paused_one_activates_nothing():
    paused = mrds.policy("*")
    paused["metadata"]["annotations"] = {"crossplane.io/paused": "true"}
    world = await begun(*three(), paused)
    assert await state(world, URNS) == "Inactive"
    await world.patch(mrds.policy_key(), {"metadata": {"annotations": {"crossplane.io/paused": None}}})
    await world.settle()
    assert await state(world, URNS) == "Active"


async def test_what_can_not_be_activated_keeps_no_other_and_is_told():
    world = await World().install()
    patch = world.cluster.patch

    async def refusing(key, *args, **kwargs):
        if key.name == URNS:
            raise Rejected("a webhook says no")
        return await patch(key, *args, **kwargs)

    world.cluster.patch = refusing
    await world.apply(*three(), mrds.policy("*"))
    await world.settle()
    now = await policy(world)
    assert now["status"]["activated"] == [JARS, VAULTS]
    assert condition(now, "Healthy") == ("Unknown", "EncounteredErrors")
    assert "failed to activate 1 of 3 ManagedResourceDefinitions: a webhook says no" in message(now, "Healthy")
    world.cluster.patch = patch
    await world.settle(seconds=600)
    now = await policy(world)
    assert now["status"]["activated"] == [JARS, URNS, VAULTS]
    assert condition(now, "Healthy") == ("True", "Running")


async def test_one_that_is_being_deleted_says_so():
    world = await begun(mrds.policy("*"))
    await world.patch(mrds.policy_key(), {"metadata": {"finalizers": ["example.org/hold"]}})
    await world.cluster.delete(mrds.policy_key())
    await world.settle()
    expected = ("False", "TerminatingManagedResourceActivationPolicy")
    assert condition(await policy(world), "Established") == expected
