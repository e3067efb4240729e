"""What is nested too deep to be worked with is deleted all the same, and keeps what it says until it is gone."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import key_of, meta
from groundplane.errors import TooDeep
from groundplane.ports import Options
from groundplane.reconcile import definition
from tests.reconcile import things
from tests.world import Clock, World

FIELD = "region"  # stands for the one that is too deep
FIELDS = {"CompositeResourceDefinition": "versions", "Composition": "resources"}  # of other kinds
HELD = "example.org/held"  # somebody else's finalizer


class Deep(SqliteCluster):
    """Has, of objects of some kinds, no more to give than what the cache of an API server's objects has of such."""

    kinds: tuple[str, ...] = ()

    async def get(self, key, *, live=False):
        found = await super().get(key, live=live)
        if found is None or key.kind not in self.kinds:
            return found
        left = copy.deepcopy(found)
        left["spec"].pop(FIELDS.get(key.kind, FIELD), None)
        raise TooDeep(f"{key} is nested too deep to be worked with", obj=left, mend="make it flatter")


async def a_bound_claim(**spec):
    clock = Clock()
    cluster = Deep(":memory:", now=clock)
    world = await World(cluster=cluster, clock=clock, options=Options(poll_interval=60.0)).install()
    await world.apply(*things.composed_crds(), things.XRD)
    await world.settle()
    await world.apply(things.COMPOSITION, {**things.THING, "spec": {**things.THING["spec"], **spec, FIELD: "deep"}})
    await world.settle()
    await things.all_ready(world)
    return world, await world.one(things.VERSION, "XThing")


@pytest.mark.parametrize("kinds", [("Thing",), ("XThing",), ("Thing", "XThing")])
@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_a_bound_claim_whose_spec_or_whose_composites_is_too_deep_is_deleted_with_all_that_it_made(kinds, policy):
    world, composite = await a_bound_claim(compositeDeletePolicy=policy)
    world.cluster.kinds = kinds
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=30.0)
    world.cluster.kinds = ()
    assert await world.cluster.get(things.CLAIM) is None
    assert await world.cluster.get(key_of(composite)) is None
    for kind in things.KINDS:
        assert await world.cluster.list(things.COMPOSED, kind) == []


@pytest.mark.parametrize("kind", ["Thing", "XThing"])
async def test_who_still_holds_it_finds_what_it_said(kind):
    world, composite = await a_bound_claim()
    key = things.CLAIM if kind == "Thing" else key_of(composite)
    held = await world.cluster.get(key)
    await world.cluster.patch(key, {"metadata": {"finalizers": [*meta(held)["finalizers"], HELD]}})
    await world.settle()
    world.cluster.kinds = (kind,)
    await world.cluster.delete(key)
    await world.settle()
    world.cluster.kinds = ()
    found = await world.cluster.get(key)
    assert meta(found)["finalizers"] == [HELD]
    assert found["spec"][FIELD] == "deep"


async def test_what_is_too_deep_and_stays_stops_and_says_so():
    world, _ = await a_bound_claim()
    world.cluster.kinds = ("Thing",)
    await world.cluster.patch(things.CLAIM, {"metadata": {"labels": {"team": "b"}}})
    await world.settle()
    world.cluster.kinds = ()
    claim = await world.cluster.get(things.CLAIM)
    told = {each["type"]: each for each in claim["status"]["conditions"]}
    assert "nested too deep" in told["Synced"]["message"]
    assert told["Ready"]["status"] == "True"
    assert claim["status"]["address"] == "a.example.org"


def told(obj):
    return {each["type"]: each for each in obj["status"]["conditions"]}


async def edit(world, key):
    """As a live edit that makes it too deep; what it says then."""
    world.cluster.kinds = (key.kind,)
    await world.cluster.patch(key, {"metadata": {"labels": {"edited": "yes"}}})
    await world.settle()
    world.cluster.kinds = ()
    found = await world.cluster.get(key)
    world.cluster.kinds = (key.kind,)
    return told(found)


@pytest.mark.parametrize("key", [key_of(things.XRD), key_of(things.COMPOSITION)], ids=lambda key: key.kind)
async def test_what_was_made_of_a_definition_or_a_composition_goes_on_though_it_is_edited_to_be_too_deep(key):
    world, composite = await a_bound_claim()
    conditions = await edit(world, key)
    assert "nested too deep" in conditions["Synced"]["message"]
    assert conditions.get("Established", {"status": "True"})["status"] == "True"
    await world.cluster.patch(things.CLAIM, {"spec": {FIELD: "elsewhere"}})
    await world.settle()
    assert (await world.cluster.get(key_of(composite)))["spec"][FIELD] == "elsewhere"
    assert told(await world.cluster.get(key_of(composite)))["Synced"]["status"] == "True"
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=30.0)
    assert await world.cluster.get(key_of(composite)) is None


async def test_a_definition_that_was_edited_to_be_too_deep_is_taken_up_after_a_restart_and_by_a_standby():
    world, _ = await a_bound_claim()
    await edit(world, key_of(things.XRD))
    before = world.definitions.named(meta(things.XRD)["name"])
    for again in (definition.define, definition.offer):
        world.definitions.remove(meta(things.XRD)["name"])
        with pytest.raises(TooDeep):
            await again(key_of(things.XRD), world.engine.context)
        assert world.definitions.named(meta(things.XRD)["name"])
    world.definitions.remove(meta(things.XRD)["name"])
    await definition.take_up(key_of(things.XRD), world.engine.context)
    after = world.definitions.named(meta(things.XRD)["name"])
    assert [replace(each, status_fields=frozenset()) for each in after] == [
        replace(each, status_fields=frozenset()) for each in before
    ]
    assert all(each.has_own_generation for each in after)  # nothing is written that may be the user's own


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_definition_that_was_edited_to_be_too_deep_is_deleted_with_all_that_was_made_of_it(restarted):
    world, _ = await a_bound_claim()
    await edit(world, key_of(things.XRD))
    if restarted:
        world.definitions.remove(meta(things.XRD)["name"])
    await world.cluster.delete(key_of(things.XRD))
    await world.settle(seconds=60.0)
    world.cluster.kinds = ()
    assert await world.cluster.get(key_of(things.XRD)) is None
    crds = await world.cluster.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert not [crd for crd in crds if crd["spec"]["group"] == things.XRD["spec"]["group"]]
    for kind in things.KINDS:
        assert await world.cluster.list(things.COMPOSED, kind) == []
