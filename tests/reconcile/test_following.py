"""What is composed of kinds that nobody else follows is followed for its composite, which mends what somebody changes."""

from __future__ import annotations

import copy

import pytest

from groundplane.core.objects import key_of
from tests.reconcile import things
from tests.reconcile.test_tenants import a_claim, a_platform
from tests.world import NoWatches

SECRET = {"apiVersion": "v1", "kind": "Secret", "stringData": {"size": "small"}}
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": []}
PLACED = {"fromFieldPath": "spec.claimRef.namespace", "toFieldPath": "metadata.namespace"}
CHECKS = [{"type": "None"}]
RESOURCES = [
    {"name": "role", "base": ROLE, "readinessChecks": CHECKS},
    {"name": "secret", "base": SECRET, "patches": [PLACED], "readinessChecks": CHECKS},
]


@pytest.mark.parametrize("base", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])
async def test_kinds_are_followed_before_anything_of_them_is_made_and_ever_after(base, monkeypatch):
    def of(resources):
        composition = copy.deepcopy(base)
        spec = composition["spec"]
        (spec if "resources" in spec else spec["pipeline"][0]["input"])["resources"] = resources
        return composition

    world = await a_platform(of(RESOURCES[:1]))
    followed, early = set(), []

    async def ensure(watches, kinds, *, whole=False):
        followed.update(kinds)

    monkeypatch.setattr(NoWatches, "ensure", ensure)
    made = world.cluster.apply

    async def apply(obj, **how):
        early.extend({(obj["apiVersion"], obj["kind"])} & wanted - followed)
        return await made(obj, **how)

    wanted = {(kind["apiVersion"], kind["kind"]) for kind in (SECRET, ROLE)}
    monkeypatch.setattr(world.cluster, "apply", apply)
    await world.apply(a_claim())
    await world.settle()
    await world.apply(of(RESOURCES))
    await world.settle()
    secret = await world.one("v1", "Secret", namespace="team-a")
    assert followed >= wanted
    assert early == []

    followed.clear()  # another process
    await world.restarted().settle()
    assert followed >= wanted
    await world.patch(key_of(secret), {"data": {"size": "eA=="}})
    await world.settle()
    assert (await world.one("v1", "Secret", namespace="team-a"))["data"] == secret["data"]


async def test_those_that_follow_a_new_revision_come_by_and_by(monkeypatch):
    world = await a_platform()
    for name in ("one", "two"):
        await world.apply(a_claim(name))
    await world.settle()
    composites = {key_of(each) for each in await world.cluster.list(things.VERSION, "XThing")}
    woken = []
    monkeypatch.setattr(NoWatches, "wake", lambda watches, keys: woken.append(keys))
    composition = copy.deepcopy(things.COMPOSITION)
    composition["metadata"].setdefault("labels", {})["edited"] = "yes"
    composition["spec"]["resources"][0]["base"].setdefault("metadata", {})["labels"] = {"edited": "yes"}
    await world.apply(composition)
    await world.settle()
    assert [set(keys) for keys in woken] == [composites]
    assert len(composites) == 2
