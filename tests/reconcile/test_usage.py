"""Usages protect what they name from the moment they can until nobody needs it, whatever happens in between."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace

import pytest

from groundplane.cluster.garbage_collection import Collector
from groundplane.core import conditions, usages
from groundplane.core.objects import Key, annotations_of, is_deleting, key_of, meta, owner_reference
from groundplane.core.usages import LEGACY_VERSION, PROTECTION_VERSION
from groundplane.errors import Denied, InUse
from groundplane.ports import Options
from groundplane.reconcile import protection
from tests.reconcile import things
from tests.reconcile.interrupt import deaths
from tests.reconcile.test_pipelines import XAPP, v2_world
from tests.world import World

ALPHA, BETA = ({"apiVersion": things.COMPOSED, "kind": kind} for kind in ("Alpha", "Beta"))
A1, B1 = Key(things.COMPOSED, "Alpha", "", "a1"), Key(things.COMPOSED, "Beta", "", "b1")
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap"}
U = Key(LEGACY_VERSION, "Usage", "", "u")


def obj(party, name, namespace="", **labels):
    metadata = {"name": name, "labels": labels} | ({"namespace": namespace} if namespace else {})
    return {**party, "metadata": metadata}


def of(party, name="", namespace="", **labels):
    if not name:
        return {**party, "resourceSelector": {"matchLabels": labels}}
    return {**party, "resourceRef": {"name": name} | ({"namespace": namespace} if namespace else {})}


def usage(key=U, /, **spec):
    metadata = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
    return {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata, "spec": spec}


def cluster_usage(name="u"):
    return Key(PROTECTION_VERSION, "ClusterUsage", "", name)


def namespaced(name="u", namespace="team-a"):
    return Key(PROTECTION_VERSION, "Usage", namespace, name)


async def a_world(*manifests, **how):
    world = await things.a_world(**how)
    await world.apply(*manifests)
    return await world.settle()


async def is_labelled(world, key=A1):
    return usages.is_protected(await world.cluster.get(key))


async def delete(world, key, **how):
    """As a person: what is said if that is refused, else ""."""
    try:
        assert await world.cluster.delete(key, **how)
    except InUse as refused:
        await world.settle()
        return refused.what
    await world.settle()
    return ""


async def ready(world, key=U):
    return conditions.find(await world.cluster.get(key), "Ready") or {}


KEYS = [U, U._replace(api_version="apiextensions.crossplane.io/v1alpha1"), cluster_usage()]


@pytest.mark.parametrize("key", KEYS, ids=str)
async def test_what_is_used_can_not_be_deleted_until_the_usage_is(key):
    world = await a_world(obj(ALPHA, "a1"), obj(BETA, "b1"), usage(key, of=of(ALPHA, "a1"), by=of(BETA, "b1")))
    assert await is_labelled(world)
    assert (await ready(world, key))["reason"] == "Available"
    found = await world.cluster.get(key)
    assert meta(found)["finalizers"] == ["usage.apiextensions.crossplane.io"]
    assert annotations_of(found)[usages.DETAILS] == "Beta/b1 uses Alpha/a1"
    using = await world.cluster.get(B1)
    assert meta(found)["ownerReferences"] == [{**BETA, "name": "b1", "uid": meta(using)["uid"]}]
    assert (str(key), "Normal", "UsageConfigured", "Usage configured successfully.") in world.told.events
    told = f'This resource is in-use by 1 usage(s), including the *v1beta1.{key.kind} "u" by resource Beta/b1.'
    assert await delete(world, A1, propagation="Foreground") == told
    assert annotations_of(await world.cluster.get(A1))[usages.ATTEMPT] == "Foreground"
    assert await delete(world, key) == ""
    assert await world.cluster.get(key) is None
    assert not await is_labelled(world)
    assert await delete(world, A1) == ""
    assert await world.cluster.get(A1) is None


async def test_a_settled_usage_is_not_written_and_tells_nothing():
    world = await a_world(obj(ALPHA, "a1"), obj(BETA, "b1"), usage(of=of(ALPHA, "a1"), by=of(BETA, "b1")))
    writes, told = world.cluster.writes, len(world.told.events)
    world.enqueue({("usage", U)})
    await world.settle(seconds=3600)
    assert (world.cluster.writes, len(world.told.events)) == (writes, told)


async def test_the_usage_goes_with_what_uses_it():
    world = await a_world(obj(ALPHA, "a1"), obj(BETA, "b1"), usage(of=of(ALPHA, "a1"), by=of(BETA, "b1")))
    assert await delete(world, B1) == ""
    assert await world.cluster.get(U) is None
    assert not await is_labelled(world)


async def test_a_reason_is_enough():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="it is the production database"))
    assert annotations_of(await world.cluster.get(U))[usages.DETAILS] == "it is the production database"
    assert 'with reason: "it is the production database".' in await delete(world, A1)


async def test_selectors_are_resolved_once():
    world = await a_world(
        obj(ALPHA, "a1", pick="me"),
        obj(ALPHA, "a2", pick="me"),
        obj(BETA, "b1", pick="me"),
        usage(of=of(ALPHA, pick="me"), by=of(BETA, pick="me")),
    )
    spec = (await world.cluster.get(U))["spec"]
    assert (spec["of"]["resourceRef"], spec["by"]["resourceRef"]) == ({"name": "a1"}, {"name": "b1"})
    await world.cluster.patch(A1, {"metadata": {"labels": {"pick": None}}})
    world.enqueue({("usage", U)})
    await world.settle()
    assert (await world.cluster.get(U))["spec"]["of"]["resourceRef"] == {"name": "a1"}
    assert await is_labelled(world)
    assert not await is_labelled(world, A1._replace(name="a2"))


async def edited(world, name="a2"):
    await world.patch(U, {"spec": {"of": {"resourceRef": {"name": name}}}})
    return await world.settle()


async def test_a_usage_that_is_edited_protects_what_it_names_now_and_nothing_else():
    a2, other = A1._replace(name="a2"), U._replace(name="other")
    world = await a_world(obj(ALPHA, "a1"), obj(ALPHA, "a2"), usage(of=of(ALPHA, "a1"), reason="r"))
    heirs = await deaths(world.copied(), edited)
    for heir in [await edited(world), *heirs]:
        await heir.settle()
        assert (await is_labelled(heir), await is_labelled(heir, a2)) == (False, True)
        assert await delete(heir, U) == ""
        assert not await is_labelled(heir, a2)
    await world.apply(usage(of=of(ALPHA, "a1"), reason="r"), usage(other, of=of(ALPHA, "a1"), reason="r"))
    await world.settle()
    await edited(world)
    assert await is_labelled(world)  # the other one protects it


async def test_a_usage_that_is_edited_to_mean_nothing_goes_on_protecting_until_it_is_deleted():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    await world.patch(U, {"spec": {"of": {"apiVersion": "", "resourceRef": {"name": "a1"}}}})
    await world.settle()
    assert await is_labelled(world)
    assert await delete(world, U) == ""
    assert not await is_labelled(world)


@pytest.mark.parametrize("forged", ["nonsense", "[]", '{"apiVersion": "v1", "kind": "Secret"}', '{"name": {}}'])
async def test_an_annotation_that_somebody_has_forged_means_nothing(forged):
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    await world.patch(U, {"metadata": {"annotations": {usages.PROTECTED: forged}}})
    await world.settle()
    assert await is_labelled(world)
    assert (await ready(world))["status"] == "True"


async def test_what_a_selector_does_not_find_is_waited_for():
    world = await a_world(usage(of=of(ALPHA, pick="me"), reason="r"))
    text = 'cannot resolve selectors: cannot resolve selector at "spec.of.resourceSelector": no "Alpha" found matching labels: map["pick":"me"]'
    [warning] = [event for event in world.told.events if event[2] == "ResolveSelectors"]
    assert warning[3].startswith(text)
    assert (await ready(world))["status"] == "False"
    assert not meta(await world.cluster.get(U)).get("finalizers")
    await world.apply(obj(ALPHA, "a1", pick="me"))
    await world.settle()
    assert await is_labelled(world)
    assert (await ready(world))["status"] == "True"
    assert conditions.is_true(await world.cluster.get(U), "Synced")


@pytest.mark.parametrize(
    ("spec", "reason", "text", "missing"),
    [
        (
            {"of": of(ALPHA, "a1"), "reason": "r"},
            "GetUsedResource",
            'cannot get used: alphas.nop.example.org "a1" not found',
            obj(ALPHA, "a1"),
        ),
        (
            {"of": of(ALPHA, "a2"), "by": of(BETA, "b1")},
            "GetUsingResource",
            'cannot get using: betas.nop.example.org "b1" not found',
            obj(BETA, "b1"),
        ),
    ],
)
async def test_what_is_not_there_is_told_and_waited_for(spec, reason, text, missing):
    world = await a_world(obj(ALPHA, "a2"), usage(**spec))
    [warning] = [event for event in world.told.events if event[2] == reason]
    assert warning[3].startswith(text)
    assert "Mend: create it" in (conditions.find(await world.cluster.get(U), "Synced") or {})["message"]
    await world.apply(missing)
    await world.settle()
    assert (await ready(world))["status"] == "True"


async def test_a_user_that_goes_is_no_trouble_and_one_that_comes_in_its_place_owns_the_usage():
    world = await a_world(obj(ALPHA, "a1"), obj(BETA, "b1"), usage(of=of(ALPHA, "a1"), by=of(BETA, "b1")))
    made = await world.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    owners = meta(await world.cluster.get(U))["ownerReferences"]
    await world.patch(U, {"metadata": {"ownerReferences": [*owners, owner_reference(made)]}})  # as of a composed one
    await delete(world, B1)
    assert await is_labelled(world)
    assert not [event for event in world.told.events if event[1] == "Warning"]
    await world.apply(obj(BETA, "b1"))
    await world.settle()
    uid = meta(await world.cluster.get(B1))["uid"]
    assert uid in {owner["uid"] for owner in meta(await world.cluster.get(U))["ownerReferences"]}


@pytest.mark.parametrize("strict", [False, True])
async def test_nothing_is_told_between_the_end_of_a_user_and_that_of_its_usage(strict, monkeypatch):
    used_by = usage(of=of(ALPHA, "a1"), by=of(BETA, "b1"))
    world = await a_world(obj(ALPHA, "a1"), obj(BETA, "b1"), used_by, options=Options(strict_upstream=strict))
    monkeypatch.setattr(Collector, "settle", lambda self: None)  # a cluster's comes later
    await delete(world, B1)
    assert meta(await world.cluster.get(U))["ownerReferences"]
    assert not [event for event in world.told.events if event[1] == "Warning"]
    await world.patch(U, {"spec": {"by": {"resourceRef": {"name": "b2"}}}})
    await world.settle()
    assert [event[2] for event in world.told.events if event[1] == "Warning"] == ["GetUsingResource"]


async def test_a_used_object_that_is_made_anew_or_loses_its_label_is_labelled_again():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    await world.patch(A1, {"metadata": {"labels": {usages.IN_USE: None}}})
    assert await delete(world, A1) == ""
    await world.apply(obj(ALPHA, "a1"))
    await world.settle()
    assert await is_labelled(world)
    await world.patch(A1, {"metadata": {"labels": {usages.IN_USE: None}}})
    await world.settle()
    assert await is_labelled(world)


async def test_of_two_usages_the_last_one_takes_the_label_off():
    other = cluster_usage("other")
    world = await a_world(
        obj(ALPHA, "a1"),
        usage(of=of(ALPHA, "a1"), reason="r"),
        usage(other, of=of({**ALPHA, "apiVersion": things.COMPOSED}, "a1"), reason="r"),
    )
    assert "by 2 usage(s), including the *v1beta1.ClusterUsage" in await delete(world, A1)
    assert await delete(world, U) == ""
    assert await is_labelled(world)
    assert await delete(world, other) == ""
    assert not await is_labelled(world)


async def test_of_two_that_are_deleted_at_once_neither_leaves_the_label():
    other = cluster_usage("other")
    world = await a_world(
        obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"), usage(other, of=of(ALPHA, "a1"), reason="r")
    )
    for key in (U, other):
        await world.cluster.delete(key)
    await world.settle()
    assert not await is_labelled(world)
    assert await world.cluster.get(U) is await world.cluster.get(other) is None


async def test_a_usage_that_comes_while_the_last_one_goes_finds_the_label_again():
    late = cluster_usage("late")
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))

    class Meanwhile:
        """When the label goes, another usage has just seen it."""

        def __getattr__(self, name):
            return getattr(world.cluster, name)

        async def patch(self, key, patch, **how):
            if patch["metadata"].get("labels") == {usages.IN_USE: None}:
                await world.apply(usage(late, of=of(ALPHA, "a1"), reason="r"))
                world.listen()
            return await world.cluster.patch(key, patch, **how)

    world.engine.context = replace(world.context, cluster=Meanwhile())
    await world.cluster.delete(U)
    await world.settle()
    assert await world.cluster.get(U) is None
    assert await is_labelled(world)


async def test_a_used_object_that_is_gone_holds_no_usage():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    await world.patch(A1, {"metadata": {"labels": {usages.IN_USE: None}}})
    await world.cluster.delete(A1)
    assert await delete(world, U) == ""
    assert await world.cluster.get(U) is None


async def test_a_kind_that_is_gone_holds_no_usage():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    await world.cluster.delete(Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "alphas.nop.example.org"))
    await world.settle()
    assert await delete(world, U) == ""
    assert await world.cluster.get(U) is None


async def test_a_kind_that_nobody_serves_is_told_and_waited_for():
    delta = {"apiVersion": "nop.example.org/v1alpha1", "kind": "Delta"}
    world = await a_world(usage(of=of(delta, "d1"), reason="r"))
    assert 'no matches for kind "Delta"' in (conditions.find(await world.cluster.get(U), "Synced") or {})["message"]
    [crd, *_] = copy.deepcopy(things.composed_crds())
    crd["metadata"]["name"] = "deltas.nop.example.org"
    crd["spec"]["names"] = {"kind": "Delta", "plural": "deltas"}
    await world.apply(crd, obj(delta, "d1"))
    await world.settle(seconds=10)
    assert await is_labelled(world, Key("nop.example.org/v1alpha1", "Delta", "", "d1"))


# --- namespaces ------------------------------------------------------------------------------------------

C1 = Key("v1", "ConfigMap", "team-a", "c1")


async def test_a_usage_in_a_namespace_protects_what_is_there():
    key = namespaced()
    world = await a_world(
        obj(CONFIG, "c1", "team-a"), obj(CONFIG, "c2", "team-a"), usage(key, of=of(CONFIG, "c1"), by=of(CONFIG, "c2"))
    )
    told = 'the *v1beta1.Usage "u" (in namespace "team-a") by resource ConfigMap/c2.'
    assert told in await delete(world, C1)
    assert await delete(world, C1._replace(name="c2")) == ""
    assert await world.cluster.get(key) is None
    assert await delete(world, C1) == ""


async def test_one_with_a_user_protects_what_is_in_another_namespace_too():
    key, there = namespaced(), C1._replace(namespace="team-b")
    world = await a_world(
        obj(CONFIG, "c1", "team-b"),
        obj(CONFIG, "c2", "team-a"),
        usage(key, of=of(CONFIG, "c1", "team-b"), by=of(CONFIG, "c2")),
    )
    assert (await ready(world, key))["status"] == "True"
    assert (
        annotations_of(await world.cluster.get(key))[usages.DETAILS]
        == "ConfigMap/c2 uses ConfigMap/c1 in namespace team-b"
    )
    assert "in-use" in await delete(world, there)


@pytest.mark.parametrize("user", [{"reason": "mine"}, {"by": of(CONFIG, "nobody")}])
async def test_nobody_protects_what_is_in_another_namespace_without_a_user_that_is_there(user):
    key, there = namespaced(), C1._replace(namespace="team-b")
    world = await a_world(obj(CONFIG, "c1", "team-b"), usage(key, of=of(CONFIG, "c1", "team-b"), **user))
    assert (await ready(world, key))["status"] == "False"
    assert not await is_labelled(world, there)
    assert await delete(world, there) == ""
    assert await delete(world, key) == ""
    assert await world.cluster.get(key) is None


async def test_nobody_protects_what_has_no_namespace_from_within_one():
    key = namespaced()
    world = await a_world(obj(ALPHA, "a1"), usage(key, of=of(ALPHA, "a1"), reason="mine"))
    assert "use a ClusterUsage" in (conditions.find(await world.cluster.get(key), "Synced") or {})["message"]
    assert not await is_labelled(world)
    assert await delete(world, key) == ""


@pytest.mark.parametrize("key", [U, cluster_usage()], ids=str)
async def test_a_usage_without_namespace_reaches_nothing_in_one(key):
    world = await a_world(obj(CONFIG, "c1", "team-a"), usage(key, of=of(CONFIG, "c1"), reason="r"))
    told = conditions.find(await world.cluster.get(key), "Synced") or {}
    assert "ConfigMap is a kind with namespaces" in told["message"]
    assert "use a Usage of protection.crossplane.io/v1beta1" in told["message"]
    assert await delete(world, key) == ""


# --- replaying -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tried", "left"), [(True, False), (False, True)])
async def test_a_deletion_that_was_tried_is_replayed(tried, left):
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r", replayDeletion=True))
    if tried:
        assert await delete(world, A1, propagation="Orphan")
    assert await delete(world, U) == ""
    assert await world.cluster.get(U) is None
    assert (await world.cluster.get(A1) is not None) == left


async def test_nothing_is_replayed_unless_that_is_asked_for_nor_while_another_usage_protects():
    other = cluster_usage("other")
    world = await a_world(
        obj(ALPHA, "a1"),
        usage(of=of(ALPHA, "a1"), reason="r", replayDeletion=True),
        usage(other, of=of(ALPHA, "a1"), reason="r"),
    )
    await delete(world, A1)
    await delete(world, U)
    assert await is_labelled(world)
    await delete(world, other)
    assert await world.cluster.get(A1) is not None


async def test_an_attempt_that_is_not_replayed_is_forgotten():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    await delete(world, A1)
    await delete(world, U)
    await world.apply(usage(of=of(ALPHA, "a1"), reason="somebody else's", replayDeletion=True))
    await world.settle()
    await delete(world, U)
    assert await world.cluster.get(A1) is not None


async def test_what_has_lost_its_owners_is_deleted_though_nobody_noted_that_it_was_tried():
    """As with a policy of the API server's, which can note nothing."""
    world = await a_world(obj(ALPHA, "a1"), obj(BETA, "b1"))
    owner = {**BETA, "name": "b1", "uid": meta(await world.cluster.get(B1))["uid"]}
    await world.patch(A1, {"metadata": {"ownerReferences": [owner]}})
    await world.apply(usage(of=of(ALPHA, "a1"), reason="r", replayDeletion=True))
    await world.settle()
    assert await delete(world, B1) == ""
    await world.patch(A1, {"metadata": {"annotations": {usages.ATTEMPT: None}}})
    assert await is_labelled(world)
    await delete(world, U)
    assert await world.cluster.get(A1) is None


# --- composed --------------------------------------------------------------------------------------------


def composed_usage(party, **more):
    return {
        "apiVersion": party[0],
        "kind": party[1],
        "spec": {
            "of": {**ALPHA, "resourceSelector": {"matchControllerRef": True}},
            "by": {**BETA, "resourceSelector": {"matchControllerRef": True}},
            **more,
        },
    }


def composition(base, mode):
    templates = [
        {"name": "alpha", "base": {**ALPHA, "spec": {}}},
        {"name": "beta", "base": {**BETA, "spec": {}}},
        {"name": "order", "base": base},
    ]
    found = copy.deepcopy(things.COMPOSITION if mode == "Resources" else things.PIPELINE)
    if mode == "Resources":
        found["spec"]["resources"] = templates
    else:
        found["spec"]["pipeline"] = [things.patch_step(*templates), things.READY_STEP]
    return found


@pytest.mark.parametrize("mode", ["Resources", "Pipeline"])
@pytest.mark.parametrize("kind", [(LEGACY_VERSION, "Usage"), (PROTECTION_VERSION, "ClusterUsage")], ids=lambda k: k[1])
async def test_a_composed_usage_orders_the_deletion(mode, kind):
    world = await things.running(await things.a_world(), composition=composition(composed_usage(kind), mode))
    alpha, beta = await world.one(things.COMPOSED, "Alpha"), await world.one(things.COMPOSED, "Beta")
    for each in (alpha, beta):
        await things.report(world, each["kind"])
    await world.settle()
    found = await world.one(*kind)
    assert usages.is_of(found, usages.referent_of(alpha))
    assert conditions.is_true(found, "Ready")
    assert conditions.is_true(await world.one(things.VERSION, "XThing"), "Ready")
    # what uses the other takes its time to go
    await world.patch(key_of(beta), {"metadata": {"finalizers": ["example.org/slow"]}})
    await world.settle()
    assert await delete(world, things.CLAIM) == ""
    assert is_deleting(await world.one(things.COMPOSED, "Beta"))
    assert not is_deleting(await world.one(things.COMPOSED, "Alpha"))
    await world.settle(seconds=90)
    assert not is_deleting(await world.one(things.COMPOSED, "Alpha"))
    await world.patch(key_of(beta), {"metadata": {"finalizers": None}})
    await world.settle()
    for left in (*((things.COMPOSED, kind) for kind in ("Alpha", "Beta")), kind, (things.VERSION, "XThing")):
        assert await world.cluster.list(*left) == [], left


async def test_a_composed_usage_that_is_deleted_waits_for_what_uses_the_other():
    base = composed_usage((LEGACY_VERSION, "Usage"))
    world = await things.running(await things.a_world(), composition=composition(base, "Resources"))
    found = await world.one(LEGACY_VERSION, "Usage")
    xthing = await world.one(things.VERSION, "XThing")
    await world.patch(key_of(xthing), {"metadata": {"annotations": {"crossplane.io/paused": "true"}}})
    await world.cluster.delete(key_of(found))
    await world.settle(seconds=100)
    beta = await world.one(things.COMPOSED, "Beta")
    told = f'Waiting for the using resource (which is a "Beta" named "{meta(beta)["name"]}") to be deleted.'
    assert (str(key_of(found)), "Normal", "WaitingUsingDeleted", told) in world.told.events
    assert usages.is_protected(await world.one(things.COMPOSED, "Alpha"))
    await world.cluster.delete(key_of(beta))
    await world.settle()
    assert await world.cluster.get(key_of(found)) is None
    assert not usages.is_protected(await world.one(things.COMPOSED, "Alpha"))


async def test_a_usage_that_a_composite_in_a_namespace_composes_orders_its_deletion():
    party = {**CONFIG, "resourceSelector": {"matchControllerRef": True}}
    base = {
        "apiVersion": PROTECTION_VERSION,
        "kind": "Usage",
        "spec": {
            "of": {**party, "resourceSelector": {"matchControllerRef": True, "matchLabels": {"role": "used"}}},
            "by": {**party, "resourceSelector": {"matchControllerRef": True, "matchLabels": {"role": "user"}}},
        },
    }
    made = [
        {
            "name": role,
            "base": {**CONFIG, "metadata": {"labels": {"role": role}}},
            "readinessChecks": [{"type": "None"}],
        }
        for role in ("used", "user")
    ]
    world = await v2_world(*made, {"name": "order", "base": base})
    [found] = await world.cluster.list(PROTECTION_VERSION, "Usage", namespace="team-a")
    assert conditions.is_true(found, "Ready")
    assert conditions.is_true(await world.cluster.get(XAPP), "Ready")
    owners = {owner["kind"] for owner in meta(found)["ownerReferences"]}
    assert owners == {"App", "ConfigMap"}
    used, user = [
        (await world.cluster.list("v1", "ConfigMap", namespace="team-a", labels={"role": role}))[0]
        for role in ("used", "user")
    ]
    writes = world.cluster.writes
    await world.settle(seconds=1000)
    assert world.cluster.writes == writes
    assert "in-use by 1 usage(s)" in await delete(world, key_of(used))
    await world.patch(key_of(user), {"metadata": {"finalizers": ["example.org/slow"]}})
    await world.settle()
    await world.cluster.delete(XAPP)
    await world.settle(seconds=60)
    assert not is_deleting(await world.cluster.get(key_of(used)))
    await world.patch(key_of(user), {"metadata": {"finalizers": None}})
    await world.settle(seconds=60)
    for left in (XAPP, key_of(found), key_of(used), key_of(user)):
        assert await world.cluster.get(left) is None, left


async def test_a_composite_whose_composed_resource_may_not_go_says_so_and_goes_on_when_it_may():
    world = await things.running(await things.a_world())
    await things.all_ready(world)
    gamma = await world.one(things.COMPOSED, "Gamma")
    await world.apply(usage(of=of({**ALPHA, "kind": "Gamma"}, meta(gamma)["name"]), reason="we still read it"))
    await world.settle()
    without = copy.deepcopy(things.COMPOSITION)
    without["spec"]["resources"].pop()
    await world.apply(without)
    await world.settle()
    xthing = await world.one(things.VERSION, "XThing")
    synced = conditions.find(xthing, "Synced")
    assert synced["status"] == "False"
    assert 'in-use by 1 usage(s), including the *v1beta1.Usage "u"' in synced["message"]
    assert {reference["kind"] for reference in xthing["spec"]["resourceRefs"]} == {"Alpha", "Beta", "Gamma"}
    await world.cluster.delete(U)
    await world.settle(seconds=30)
    assert await world.cluster.list(things.COMPOSED, "Gamma") == []
    assert conditions.is_true(await world.one(things.VERSION, "XThing"), "Synced")


async def test_a_namespace_waits_for_what_is_protected_in_it():
    key = namespaced("u", "team-b")
    world = await a_world(
        obj(CONFIG, "c1", "team-a"),
        obj(CONFIG, "c2", "team-b"),
        usage(key, of=of(CONFIG, "c1", "team-a"), by=of(CONFIG, "c2")),
    )
    space = Key("v1", "Namespace", "", "team-a")
    await world.cluster.delete(space)
    await world.settle()
    assert is_deleting(await world.cluster.get(space))
    assert await world.cluster.get(C1)
    await delete(world, key)
    assert await world.cluster.get(C1) is None
    assert await world.cluster.get(space) is None


# --- interrupted ---------------------------------------------------------------------------------------


async def test_a_process_that_dies_at_any_write_leaves_nothing_undone():
    world = await a_world(obj(ALPHA, "a1"), obj(BETA, "b1", pick="me"))

    async def life(world):
        await world.apply(usage(of=of(ALPHA, "a1"), by=of(BETA, pick="me"), replayDeletion=True))
        await world.settle()

    found = await deaths(world, life)
    assert len(found) > 5
    for left in found:
        left.enqueue({("usage", U)} if await left.cluster.get(U) else set())
        await left.settle()
        assert await is_labelled(left)
        assert (await ready(left))["status"] == "True"
        assert meta(await left.cluster.get(U))["ownerReferences"]


async def test_a_process_that_dies_while_it_lets_go_leaves_nothing_protected_and_replays():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r", replayDeletion=True))

    async def life(world):
        assert await delete(world, A1, propagation="Foreground")
        assert await delete(world, U) == ""

    found = await deaths(world, life)
    assert len(found) > 3
    for left in found:
        if left_usage := await left.cluster.get(U):
            if not is_deleting(left_usage):
                await left.cluster.delete(U)
            left.enqueue({("usage", U)})
        await left.settle()
        assert await left.cluster.get(U) is None
        assert await left.cluster.get(A1) is None


class Yielding:
    """A cluster where others get their turn before each call, as on a network."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args, **kwargs):
            await asyncio.sleep(0)
            return await found(*args, **kwargs)

        return call


async def test_two_operators_side_by_side_end_where_one_does():
    other = cluster_usage("other")
    world = await a_world(obj(ALPHA, "a1"), obj(BETA, "b1"))
    pair = [world, World(cluster=world.cluster, clock=world.clock)]
    for each in pair:
        each.seen = world.cluster.version()
        each.engine.context = replace(each.context, cluster=Yielding(world.cluster))

    async def settle():
        for _ in range(3):
            await asyncio.gather(*(each.settle(seconds=1) for each in pair))

    await world.apply(
        usage(of=of(ALPHA, "a1"), by=of(BETA, "b1"), replayDeletion=True), usage(other, of=of(ALPHA, "a1"), reason="r")
    )
    await settle()
    assert await is_labelled(world)
    assert len(meta(await world.cluster.get(U))["ownerReferences"]) == 1
    with pytest.raises(InUse):
        await world.cluster.delete(A1)
    for key in (U, other):
        await world.cluster.delete(key)
    await settle()
    assert await world.cluster.get(U) is None
    assert await world.cluster.get(other) is None
    left = await world.cluster.get(A1)
    assert left is None or not usages.is_protected(left)


# --- what else may go wrong ------------------------------------------------------------------------------


class Denying:
    """A cluster that refuses a verb on Alphas."""

    def __init__(self, inner, verb):
        self._inner, self._verb = inner, verb

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name != self._verb:
            return found

        async def refuse(key, *args, **how):
            if key.kind == "Alpha":
                raise Denied("alphas.nop.example.org is forbidden", mend=f"grant {name} on alphas")
            return await found(key, *args, **how)

        return refuse


@pytest.mark.parametrize(("verb", "stage"), [("get", "cannot get used"), ("patch", "cannot add in-use label")])
async def test_a_right_that_is_missing_is_told_with_its_mend_and_holds_no_usage(verb, stage):
    world = await a_world(obj(ALPHA, "a1"))
    world.engine.context = replace(world.context, cluster=Denying(world.cluster, verb))
    await world.apply(usage(of=of(ALPHA, "a1"), reason="r"))
    await world.settle()
    synced = conditions.find(await world.cluster.get(U), "Synced")
    assert synced["message"] == f"{stage}: alphas.nop.example.org is forbidden. Mend: grant {verb} on alphas."
    assert (await ready(world))["status"] == "False"
    assert await delete(world, U) == ""
    assert await world.cluster.get(U) is None


async def test_a_right_that_is_lost_holds_the_usage_until_its_label_can_be_taken_off():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    world.engine.context = replace(world.context, cluster=Denying(world.cluster, "get"))
    await delete(world, U)
    await world.settle(seconds=300)
    assert "Mend: grant get on alphas" in (conditions.find(await world.cluster.get(U), "Synced") or {})["message"]
    world.engine.context = world.context
    await world.settle(seconds=120)
    assert await world.cluster.get(U) is None
    assert not await is_labelled(world)


async def test_with_strict_upstream_behaviour_nothing_is_told_that_it_does_not_tell():
    world = await a_world(
        obj(ALPHA, "a1"),
        usage(of=of(ALPHA, "nobody"), reason="r"),
        usage(cluster_usage("good"), of=of(ALPHA, "a1"), reason="r"),
        options=Options(strict_upstream=True),
    )
    assert "status" not in await world.cluster.get(U)
    good = await world.cluster.get(cluster_usage("good"))
    assert [set(each) for each in good["status"]["conditions"]] == [{"type", "status", "reason", "lastTransitionTime"}]


async def test_a_label_without_a_usage_protects_nothing():
    world = await a_world(obj(ALPHA, "a1", **{usages.IN_USE: "true"}))
    assert await delete(world, A1) == ""


# --- admission -----------------------------------------------------------------------------------------


async def asked(world, used, *, strict=False, cluster=None, **more):
    request = {"operation": "DELETE", "oldObject": used, "options": {"propagationPolicy": "Foreground"}, **more}
    context = replace(world.context, options=Options(strict_upstream=strict), cluster=cluster or world.cluster)
    return await protection.deletion(request, context, None)


async def test_the_webhook_answers_as_upstream_and_notes_the_attempt():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    used = await world.cluster.get(A1)
    dry = await asked(world, used, dryRun=True)
    assert usages.ATTEMPT not in annotations_of(await world.cluster.get(A1))
    verdict = await asked(world, used)
    assert verdict == dry
    assert (verdict.allowed, verdict.code) == (False, 409)
    assert verdict.reason == 'This resource is in-use by 1 usage(s), including the *v1beta1.Usage "u" with reason: "r".'
    assert annotations_of(await world.cluster.get(A1))[usages.ATTEMPT] == "Foreground"
    old = await asked(world, used, strict=True)
    assert old.reason.startswith("This resource is in-use by 1 Usage(s)")
    await delete(world, U)
    assert (await asked(world, used)).allowed


@pytest.mark.parametrize("uid", [None, "", "another"])
async def test_who_does_not_know_the_object_learns_nothing_and_leaves_no_trace(uid):
    """A Pod may ask as the API server does; what it could plant would be replayed with the operator's rights."""
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="a secret reason"))
    forged = {**ALPHA, "metadata": {"name": "a1"} | ({"uid": uid} if uid is not None else {})}
    verdict = await asked(world, forged)
    assert (verdict.allowed, verdict.reason, verdict.message) == (False, "This resource is in-use.", "")
    assert usages.ATTEMPT not in annotations_of(await world.cluster.get(A1))


async def test_it_refuses_even_if_the_attempt_can_not_be_noted():
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))

    class ReadOnly:
        def __getattr__(self, name):
            return getattr(world.cluster, name)

        async def patch(self, key, patch, **how):
            raise Denied("no")

    verdict = await asked(world, await world.cluster.get(A1), cluster=ReadOnly())
    assert not verdict.allowed
    assert verdict.code == 409
    assert len(verdict.warnings) == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"operation": "CREATE"},
        {"operation": "DELETE"},
        {"operation": "DELETE", "oldObject": {"kind": "X", "apiVersion": "v1", "metadata": {}}},
        {"operation": "DELETE", "oldObject": {"kind": "X", "apiVersion": "v1", "metadata": {"name": ["a"]}}},
    ],
)
async def test_it_answers_nonsense_with_a_client_error(nonsense):
    world = await things.a_world()
    verdict = await protection.deletion(nonsense, world.context, None)
    assert (verdict.allowed, verdict.code) == (False, 400)
    assert verdict.message


async def test_ten_thousand_usages_of_others_cost_a_deletion_nothing():
    """The usages of one object are found by an index; counted in statements' steps, not in time."""
    world = await a_world(obj(ALPHA, "a1"), usage(of=of(ALPHA, "a1"), reason="r"))
    plan = world.cluster._store._db.execute(
        "EXPLAIN QUERY PLAN SELECT body FROM objects WHERE kind IN ('Usage', 'ClusterUsage')"
        " AND json_extract(body, '$.spec.of.kind')='Alpha' AND json_extract(body, '$.spec.of.resourceRef.name')='a1'"
    ).fetchall()
    assert "spoken_of" in str(plan)
