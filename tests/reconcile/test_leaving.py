"""What is nested too deep to be worked with is deleted all the same, and keeps what it says until it is gone."""

from __future__ import annotations

import copy

import pytest

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import key_of, meta
from groundplane.errors import TooDeep
from groundplane.ports import Options
from tests.reconcile import things
from tests.world import Clock, World

FIELD = "region"  # stands for the one that is too deep
HELD = "example.org/held"  # somebody else's finalizer


class Deep(SqliteCluster):
    """Has, of objects of some kinds, no more to give than what the cache of an API server's objects has of such."""

    kinds: tuple[str, ...] = ()

    async def get(self, key, *, live=False):
        found = await super().get(key, live=live)
        if found is None or key.kind not in self.kinds:
            return found
        left = copy.deepcopy(found)
        left["spec"].pop(FIELD, None)
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
