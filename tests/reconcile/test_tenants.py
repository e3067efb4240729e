"""Somebody who may only write claims in one namespace takes nothing that is another's.  `docs/security.md` names these tests."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import conditions
from groundplane.core.claim import BINDABLE_TO
from groundplane.core.connection import SECRET_TYPE
from groundplane.core.objects import Key, key_of, meta, owner_reference
from groundplane.errors import Conflict
from groundplane.ports import Options
from groundplane.reconcile import claim as claim_reconciler
from groundplane.reconcile import composite as composite_reconciler
from groundplane.reconcile import connection
from tests.reconcile import things
from tests.reconcile.things import changed
from tests.world import World

FREE = {
    "apiVersion": things.VERSION,
    "kind": "XThing",
    "metadata": {"name": "free"},
    "spec": {"size": "large"},
}
PLACE = Key(things.VERSION, "XThing", "", "free")
THEIRS = Key("v1", "Secret", "team-b", "theirs")
OTHER = things.CLAIM._replace(name="other")


async def a_platform(composition=things.COMPOSITION, **options):
    world = await World(options=Options(**options)).install()
    await world.apply(*things.composed_crds(), things.XRD)
    await world.settle()
    await world.apply(composition)
    return await world.settle()


def a_claim(name="db", *, takes="", labels=None, annotations=None, namespace="team-a", **spec):
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}, "annotations": annotations or {}}
    if takes:
        spec["resourceRef"] = {"apiVersion": things.VERSION, "kind": "XThing", "name": takes}
    return {"apiVersion": things.VERSION, "kind": "Thing", "metadata": metadata, "spec": {"size": "small"} | spec}


def owned(manifest, owner):
    manifest = copy.deepcopy(manifest)
    manifest["metadata"]["ownerReferences"] = [owner_reference(owner)]
    return manifest


async def synced_of(world, key=things.CLAIM):
    return conditions.find(await world.cluster.get(key), "Synced")


# --- binding


async def test_a_claim_never_takes_a_composite_that_another_object_controls_nor_its_secret_nor_its_life():
    world = await a_platform()
    await world.apply(a_claim("parent"))
    await world.settle()
    parent = await world.one(things.VERSION, "XThing")
    await world.apply(owned(FREE, parent))
    await world.settle()
    await world.apply(a_claim(takes="free", writeConnectionSecretToRef={"name": "loot"}))
    await world.settle(seconds=600)
    synced = await synced_of(world)
    assert synced["status"] == "False"
    assert 'refusing to operate on composite resource "free": it belongs to XThing' in synced["message"]
    assert "claimRef" not in (await world.cluster.get(PLACE))["spec"]
    assert (await world.cluster.get(PLACE))["spec"]["size"] == "large"
    assert await world.cluster.get(Key("v1", "Secret", "team-a", "loot")) is None
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=600)
    assert await world.cluster.get(things.CLAIM) is None
    assert await world.cluster.get(PLACE) is not None


async def test_a_claim_takes_a_free_composite_as_upstream_documents_it_and_deletes_it_then():
    world = await a_platform()
    await world.apply(FREE, a_claim(takes="free"))
    await world.settle()
    assert (await world.cluster.get(PLACE))["spec"]["claimRef"]["name"] == "db"
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=60)
    assert await world.cluster.get(PLACE) is None


@pytest.mark.parametrize(
    ("setting", "mark", "takes"),
    [
        ("free", None, True),
        ("marked", None, False),
        ("marked", "team-a/db", True),
        ("marked", "team-a/*", True),
        ("marked", "team-b/*", False),
        ("marked", "team-a/other", False),
        ("marked", "*/*", False),
        ("marked", "*", False),
        ("never", "team-a/db", False),
    ],
)
async def test_the_setting_says_which_free_composites_a_claim_may_take(setting, mark, takes):
    world = await a_platform(static_binding=setting)
    metadata = {"name": "free", "annotations": {BINDABLE_TO: mark} if mark else {}}
    await world.apply(FREE | {"metadata": metadata})
    await world.settle()
    await world.apply(a_claim(takes="free"))
    await world.settle()
    assert ("claimRef" in (await world.cluster.get(PLACE))["spec"]) is takes
    assert ((await synced_of(world))["status"] == "True") is takes


@pytest.mark.parametrize("setting", ["free", "marked", "never"])
async def test_a_claim_gets_a_composite_of_its_own_whatever_the_setting_and_keeps_it_through_a_restart(setting):
    world = await a_platform(static_binding=setting)
    await world.apply(a_claim())
    await world.settle()
    await world.restarted().settle(seconds=600)
    composite = await world.one(things.VERSION, "XThing")
    assert composite["spec"]["claimRef"]["name"] == "db"
    assert (await synced_of(world))["status"] == "True"


async def test_a_claim_that_marks_itself_marks_no_composite():
    world = await a_platform(static_binding="marked")
    await world.apply(FREE)
    await world.settle()
    await world.apply(a_claim("mine", annotations={BINDABLE_TO: "team-a/*"}), a_claim(takes="free"))
    await world.settle()
    for composite in await world.cluster.list(things.VERSION, "XThing"):
        assert BINDABLE_TO not in (composite["metadata"].get("annotations") or {})
    assert (await synced_of(world))["status"] == "False"


async def test_a_claim_that_is_deleted_before_it_was_bound_leaves_the_composite_that_it_names():
    world = await a_platform()
    await world.apply(FREE)
    await world.settle()
    claim = a_claim(takes="free")
    claim["metadata"]["finalizers"] = ["finalizer.apiextensions.crossplane.io"]
    await world.apply(claim)
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=60)
    assert await world.cluster.get(things.CLAIM) is None
    assert await world.cluster.get(PLACE) is not None


async def test_a_composite_that_is_being_deleted_is_not_taken():
    world = await a_platform()
    metadata = {"name": "free", "finalizers": ["example.org/hold"]}
    await world.apply(FREE | {"metadata": metadata})
    await world.settle()
    await world.cluster.delete(PLACE)
    await world.apply(a_claim(takes="free"))
    await world.settle()
    assert "it is being deleted" in (await synced_of(world))["message"]


class Meddling:
    """The cluster, but something happens just before the first apply of a composite."""

    def __init__(self, cluster, first):
        self._cluster, self._first = cluster, first

    def __getattr__(self, name):
        return getattr(self._cluster, name)

    async def apply(self, obj, **how):
        if obj["kind"] == "XThing" and self._first:
            first, self._first = self._first, None
            await first()
        return await self._cluster.apply(obj, **how)


@pytest.mark.parametrize("is_there", [True, False], ids=["a free one", "a name that nobody has"])
async def test_of_two_claims_that_want_the_same_composite_one_gets_it_and_the_other_is_refused(is_there):
    world = await a_platform()
    if is_there:
        await world.apply(FREE)
        await world.settle()
    await world.apply(a_claim(takes="free"))
    bound = {"claimRef": {"apiVersion": things.VERSION, "kind": "Thing", "namespace": "team-b", "name": "first"}}

    async def another_takes_it():
        await world.apply(changed(FREE, **bound))

    racing = world.restarted(cluster=Meddling(world.cluster, another_takes_it))
    racing.seen = 0
    await racing.settle(seconds=600)
    assert (await world.cluster.get(PLACE))["spec"]["claimRef"]["name"] == "first"
    assert 'bound to Thing "first" in namespace "team-b"' in (await synced_of(world))["message"]


async def test_a_binding_that_was_decided_on_what_is_no_longer_so_is_a_conflict():
    world = await a_platform()
    await world.apply(FREE)
    await world.settle()
    seen = await world.cluster.get(PLACE)
    await world.patch(PLACE, {"spec": {"region": "elsewhere"}})
    stale = FREE | {"metadata": {"name": "free", "resourceVersion": seen["metadata"]["resourceVersion"]}}
    with pytest.raises(Conflict):
        await world.cluster.apply(stale, manager="late")


async def test_pointing_a_bound_claim_elsewhere_gives_away_neither_composite():
    world = await a_platform()
    await world.apply(a_claim(), a_claim("other"))
    await world.settle()
    mine, theirs = [(await world.cluster.get(key))["spec"]["resourceRef"] for key in (things.CLAIM, OTHER)]
    await world.patch(things.CLAIM, {"spec": {"resourceRef": theirs}})
    await world.settle(seconds=600)
    bound = {
        c["metadata"]["name"]: c["spec"]["claimRef"]["name"] for c in await world.cluster.list(things.VERSION, "XThing")
    }
    assert bound == {mine["name"]: "db", theirs["name"]: "other"}
    assert "refusing to operate" in (await synced_of(world))["message"]


@pytest.mark.parametrize("reference", [None, {"name": "nobody-is-called-so"}], ids=["taken away", "to nothing"])
async def test_a_bound_claim_keeps_its_composite_whatever_its_reference_is_edited_to(reference):
    world = await a_platform()
    await world.apply(a_claim())
    await world.settle()
    before = await world.one(things.VERSION, "XThing")
    for _ in range(2):
        await world.patch(things.CLAIM, {"spec": {"resourceRef": reference}})
        await world.settle(seconds=30)
    after = await world.one(things.VERSION, "XThing")
    assert meta(after)["uid"] == meta(before)["uid"]
    claim = await world.cluster.get(things.CLAIM)
    assert claim["spec"]["resourceRef"]["name"] == meta(before)["name"]
    assert "keeping" in world.told.text()


@pytest.mark.parametrize("reference", [None, {"name": "nobody-is-called-so"}, "theirs"])
async def test_a_claim_that_is_deleted_right_after_its_reference_was_edited_leaves_no_composite(reference):
    world = await a_platform()
    await world.apply(a_claim(), a_claim("other"))
    await world.settle()
    theirs = (await world.cluster.get(OTHER))["spec"]["resourceRef"]
    await world.patch(things.CLAIM, {"spec": {"resourceRef": theirs if reference == "theirs" else reference}})
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=600)
    assert await world.cluster.get(things.CLAIM) is None
    left = await world.one(things.VERSION, "XThing")
    assert meta(left)["name"] == theirs["name"]


async def test_a_composition_does_not_take_a_composite_that_is_bound_to_a_claim():
    world = await a_platform()
    await world.apply(a_claim())
    await world.settle()
    bound = await world.one(things.VERSION, "XThing")
    nested = {
        "name": "nested",
        "base": FREE | {"metadata": {"name": bound["metadata"]["name"]}, "spec": {"region": "x"}},
    }
    other = changed(things.COMPOSITION, resources=[nested]) | {"metadata": {"name": "greedy"}}
    await world.apply(other, a_claim("other", compositionRef={"name": "greedy"}))
    await world.settle()
    after = await world.cluster.get(Key(things.VERSION, "XThing", "", bound["metadata"]["name"]))
    assert "ownerReferences" not in after["metadata"]
    assert "region" not in after["spec"]


# --- which Composition, which revision


async def revisions(world, name):
    label = {"crossplane.io/composition-name": name}
    return await world.cluster.list("apiextensions.crossplane.io/v1", "CompositionRevision", labels=label)


def another_composition(name="enforced", fixed=7, **spec):
    resources = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    resources[0]["base"]["spec"]["forProvider"]["fixed"] = fixed
    return changed(things.COMPOSITION, **({"resources": resources} | spec)) | {
        "metadata": {"name": name, "labels": {"kind": name}}
    }


async def made_with(world):
    return (await world.one(things.COMPOSED, "Alpha"))["spec"]["forProvider"]["fixed"]


async def test_an_enforced_composition_holds_against_manual_with_a_revision_of_another_one():
    world = await a_platform()
    await world.apply(another_composition(), changed(things.XRD, enforcedCompositionRef={"name": "enforced"}))
    await world.settle()
    [revision] = await revisions(world, "thing")
    pinned = {"name": revision["metadata"]["name"]}
    await world.apply(a_claim(compositionUpdatePolicy="Manual", compositionRevisionRef=pinned))
    await world.settle(seconds=60)
    [first] = await revisions(world, "enforced")
    await asserted_made_of(world, first)
    await world.patch(things.CLAIM, {"metadata": {"labels": {"touched": "true"}}})
    await world.settle(seconds=600)
    await asserted_made_of(world, first)
    writes = world.cluster.writes
    await world.restarted().settle(seconds=600)
    assert world.cluster.writes == writes, "claim and composite write against each other"
    await world.apply(another_composition(fixed=8))
    await world.settle(seconds=60)
    await asserted_made_of(world, first)
    await world.patch(things.CLAIM, {"spec": {"compositionRevisionRef": {"name": "of-nothing"}}})
    await world.settle(seconds=60)
    [second] = [each for each in await revisions(world, "enforced") if meta(each)["name"] != meta(first)["name"]]
    await world.patch(things.CLAIM, {"spec": {"compositionRevisionRef": {"name": meta(second)["name"]}}})
    await world.settle(seconds=60)
    await asserted_made_of(world, second, fixed=8)
    await world.patch(things.CLAIM, {"spec": {"compositionRevisionRef": pinned}})
    await world.settle(seconds=60)
    await asserted_made_of(world, second, fixed=8)


@pytest.mark.parametrize("enforced_from_the_start", [True, False])
async def test_an_enforced_composition_holds_for_a_composite_that_names_a_revision_of_another_one(
    enforced_from_the_start,
):
    world = await a_platform()
    enforcing = changed(things.XRD, enforcedCompositionRef={"name": "enforced"})
    await world.apply(another_composition(), *([enforcing] if enforced_from_the_start else []))
    await world.settle()
    [revision] = await revisions(world, "thing")
    pinned = {"compositionUpdatePolicy": "Manual", "compositionRevisionRef": {"name": meta(revision)["name"]}}
    await world.apply(FREE | {"spec": FREE["spec"] | {"compositionRef": {"name": "thing"}} | pinned})
    await world.settle(seconds=60)
    await world.apply(enforcing)
    await world.settle(seconds=600)
    [first] = await revisions(world, "enforced")
    await asserted_made_of(world, first)


async def asserted_made_of(world, revision, fixed=7):
    """The composite is in order, and made of that revision of the enforced Composition."""
    composite = await world.one(things.VERSION, "XThing")
    assert conditions.find(composite, "Synced")["status"] == "True"
    assert composite["spec"]["compositionRef"] == {"name": "enforced"}
    assert composite["spec"]["compositionRevisionRef"] == {"name": meta(revision)["name"]}
    assert await made_with(world) == fixed


async def test_manual_with_another_composition_chosen_does_not_go_on_with_the_old_revision():
    world = await a_platform()
    await world.apply(another_composition())
    await world.apply(a_claim(compositionUpdatePolicy="Manual", compositionRef={"name": "thing"}))
    await world.settle()
    assert await made_with(world) == 1
    await world.apply(a_claim(compositionUpdatePolicy="Manual", compositionRef={"name": "enforced"}))
    await world.settle(seconds=60)
    assert await made_with(world) == 7
    assert (await synced_of(world))["status"] == "True"


async def test_a_revision_that_a_claim_names_and_that_is_of_another_composition_is_refused_by_name():
    world = await a_platform()
    await world.apply(another_composition())
    await world.settle()
    [theirs] = await revisions(world, "enforced")
    name = theirs["metadata"]["name"]
    await world.apply(a_claim(compositionUpdatePolicy="Manual", compositionRef={"name": "thing"}))
    await world.settle()
    await world.patch(things.CLAIM, {"spec": {"compositionRevisionRef": {"name": name}}})
    await world.settle(seconds=60)
    synced = conditions.find(await world.one(things.VERSION, "XThing"), "Synced")
    assert f'CompositionRevision "{name}" is none of Composition "thing"' in synced["message"]
    assert await made_with(world) == 1


async def test_a_revision_forged_by_its_label_alone_is_not_used():
    world = await a_platform()
    await world.apply(another_composition())
    await world.settle()
    [theirs] = await revisions(world, "enforced")
    forged = {"metadata": {"labels": {"crossplane.io/composition-name": "thing"}}}
    await world.patch(
        Key("apiextensions.crossplane.io/v1", "CompositionRevision", "", theirs["metadata"]["name"]), forged
    )
    await world.apply(a_claim(compositionUpdatePolicy="Manual", compositionRef={"name": "thing"}))
    await world.settle()
    pinned = {"compositionRevisionRef": {"name": theirs["metadata"]["name"]}}
    await world.patch(things.CLAIM, {"spec": pinned})
    await world.settle(seconds=60)
    assert await made_with(world) == 1


async def test_manual_with_a_revision_then_automatic_without_one_follows_the_newest():
    world = await a_platform()
    [first] = await revisions(world, "thing")
    pinned = {"name": first["metadata"]["name"]}
    await world.apply(a_claim(compositionUpdatePolicy="Manual", compositionRef={"name": "thing"}))
    await world.settle()
    manual = a_claim(compositionUpdatePolicy="Manual", compositionRef={"name": "thing"}, compositionRevisionRef=pinned)
    await world.apply(manual)
    await world.settle()
    await world.apply(another_composition("thing", fixed=2))
    await world.settle()
    assert await made_with(world) == 1
    await world.apply(a_claim(compositionUpdatePolicy="Automatic", compositionRef={"name": "thing"}))
    await world.settle(seconds=60)
    assert await made_with(world) == 2
    assert (await synced_of(world))["status"] == "True"
    await world.apply(another_composition("thing", fixed=3))
    await world.settle(seconds=60)
    assert await made_with(world) == 3


# --- metadata

FORGED = {
    "crossplane.io/composite": "theirs",
    "crossplane.io/claim-name": "theirs",
    "crossplane.io/claim-namespace": "team-b",
    "crossplane.io/composition-resource-name": "beta",
    "crossplane.io/external-create-pending": "2026-01-01T00:00:00Z",
    "crossplane.io/external-create-succeeded": "2026-01-01T00:00:00Z",
    "crossplane.io/external-create-failed": "2026-01-01T00:00:00Z",
    "crossplane.io/in-use": "true",
    "crossplane.io/paused": "false",
    "pkg.crossplane.io/package": "theirs",
    "rbac.crossplane.io/aggregate-to-admin": "true",
    "usage.crossplane.io/deletion-attempt-with-policy": "Orphan",
    "kubernetes.crossplane.io/owned-by-collection": "theirs",
    "gotemplating.fn.crossplane.io/ready": "True",
    "gotemplating.fn.crossplane.io/composition-resource-name": "beta",
    "groundplane.io/bindable-to": "team-b/*",
}


@pytest.mark.parametrize("base", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])
async def test_labels_and_annotations_of_the_control_plane_on_a_claim_reach_nothing(base):
    composition = copy.deepcopy(base)
    spec = composition["spec"]
    resources = spec.get("resources") or spec["pipeline"][0]["input"]["resources"]
    resources[0]["patches"] += [
        {"type": "FromCompositeFieldPath", "fromFieldPath": path, "toFieldPath": path}
        for path in ("metadata.labels", "metadata.annotations")
    ]
    world = await a_platform(composition)
    labels = {key: value.replace(":", "").replace("/*", "") for key, value in FORGED.items()}
    annotations = FORGED | {"crossplane.io/external-name": "mine", "example.org/a": "1"}
    await world.apply(a_claim(labels=labels | {"team": "a"}, annotations=annotations))
    await world.settle()
    composite, alpha = await world.one(things.VERSION, "XThing"), await world.one(things.COMPOSED, "Alpha")
    own = {
        "crossplane.io/composite": composite["metadata"]["name"],
        "crossplane.io/claim-name": "db",
        "crossplane.io/claim-namespace": "team-a",
        "team": "a",
    }
    documented = {"crossplane.io/external-name": "mine", "example.org/a": "1"}
    assert composite["metadata"]["labels"] == alpha["metadata"]["labels"] == own
    assert composite["metadata"]["annotations"] == documented
    assert alpha["metadata"]["annotations"] == documented | {"crossplane.io/composition-resource-name": "alpha"}


# --- owner references of their own


async def test_what_only_says_that_a_composite_controls_it_calls_for_none_of_its_reconciles():
    world = await a_platform()
    await world.apply(a_claim("victim"))
    await world.settle()
    victim = await world.one(things.VERSION, "XThing")
    forged = {**owner_reference(victim), "uid": "forged"}
    loud = {"metadata": {"name": "loud", "namespace": "team-a", "ownerReferences": [forged]}}
    for thing in ({"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": things.VERSION, "kind": "Thing"}):
        found = world.routes.targets(None, thing | loud) | world.routes.targets(thing | loud, None)
        assert ("composite", key_of(victim)) not in found


async def test_a_secret_that_is_no_longer_somebody_elses_is_written_at_once():
    world = await a_platform()
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone", "controller": True}
    place = Key("v1", "Secret", "team-a", "conn")
    metadata = {"name": "conn", "namespace": "team-a", "ownerReferences": [theirs], "finalizers": ["example.org/held"]}
    await world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": SECRET_TYPE})
    await world.apply(a_claim(writeConnectionSecretToRef={"name": "conn"}))
    await world.settle()
    await things.all_ready(world)
    await world.settle()
    assert "is not controlled by UID" in (await synced_of(world))["message"]
    await world.patch(place, {"metadata": {"finalizers": None}})
    await world.cluster.delete(place)
    await world.settle()
    assert (await synced_of(world))["status"] == "True"
    assert (await world.cluster.get(place))["metadata"]["ownerReferences"][0]["kind"] == "Thing"


async def test_a_claim_that_gets_no_secret_says_so_and_no_longer_what_was_in_the_way_before():
    world = await a_platform()
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "other", "controller": True}
    metadata = {"name": "conn", "namespace": "team-a", "ownerReferences": [theirs], "finalizers": ["example.org/held"]}
    await world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": SECRET_TYPE})
    await world.apply(a_claim(writeConnectionSecretToRef={"name": "conn"}))
    await world.settle()
    assert not (await world.cluster.get(things.CLAIM))["status"]["composed"].get("ready")
    await things.all_ready(world)
    await world.settle()
    claim = await world.cluster.get(things.CLAIM)
    ready = conditions.find(claim, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Waiting")
    assert "is waiting for its connection Secret: " in ready["message"]
    assert "belongs to ConfigMap other" in ready["message"]
    composed = claim["status"]["composed"]
    assert composed["ready"] == composed["total"]
    assert all(each["ready"] for each in composed["resources"])


# --- connection details


@pytest.mark.parametrize("base", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])
@pytest.mark.parametrize("type_", ["Opaque", "connection.crossplane.io/v1alpha1"])
async def test_connection_details_are_not_read_from_a_secret_that_the_composed_resource_does_not_control(base, type_):
    composition = copy.deepcopy(base)
    spec = composition["spec"]
    resources = spec.get("resources") or spec["pipeline"][0]["input"]["resources"]
    resources[0]["base"]["spec"]["writeConnectionSecretToRef"] = {"namespace": "team-b", "name": "to be said"}
    resources[0]["patches"].append(
        {
            "type": "FromCompositeFieldPath",
            "fromFieldPath": "spec.region",
            "toFieldPath": "spec.writeConnectionSecretToRef.name",
        }
    )
    detail = {"name": "loot", "type": "FromConnectionSecretKey", "fromConnectionSecretKey": "password"}
    resources[0]["connectionDetails"] = [detail]
    world = await a_platform(composition)
    metadata = {"name": THEIRS.name, "namespace": THEIRS.namespace}
    await world.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_, "data": {"password": "c2VjcmV0"}}
    )
    await world.apply(a_claim(region="theirs", writeConnectionSecretToRef={"name": "conn"}))
    await world.settle()
    await things.all_ready(world)
    await world.settle(seconds=60)
    got = await world.cluster.get(Key("v1", "Secret", "team-a", "conn"))
    assert "loot" not in (got or {}).get("data", {})
    alpha = await world.one(things.COMPOSED, "Alpha")
    await world.patch(THEIRS, {"metadata": {"ownerReferences": [owner_reference(alpha)]}})
    await world.settle(seconds=60)
    got = await world.cluster.get(Key("v1", "Secret", "team-a", "conn"))
    assert got["data"]["loot"] == "c2VjcmV0"


@pytest.mark.parametrize("base", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])
async def test_a_free_secret_that_is_taken_gives_nothing_away_of_what_it_held(base):
    composition = changed(base, writeConnectionSecretsToNamespace=None)
    world = await a_platform(composition)
    free = {"apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "data": {"loot": "c2VjcmV0", "port": "MQ=="}}
    await world.apply(free | {"metadata": {"name": "free", "namespace": "team-b"}})
    await world.apply(a_claim(writeConnectionSecretToRef={"name": "conn"}))
    await world.settle()
    composite = key_of(await world.one(things.VERSION, "XThing"))
    taken = Key("v1", "Secret", "team-b", "free")
    await world.patch(composite, {"spec": {"writeConnectionSecretToRef": {"name": "free", "namespace": "team-b"}}})
    await things.all_ready(world)
    await world.settle(seconds=60)
    secret = await world.cluster.get(taken)
    assert secret["metadata"]["ownerReferences"][0]["kind"] == "XThing"
    assert secret["data"] == {"host": "YS5leGFtcGxlLm9yZw==", "loot": "c2VjcmV0", "port": "NTQzMg=="}, "one key is lost"
    got = Key("v1", "Secret", "team-a", "conn")
    assert set((await world.cluster.get(got))["data"]) == {"host", "port"}
    await world.restarted().settle(seconds=600)
    assert set((await world.cluster.get(got))["data"]) == {"host", "port"}
    await world.patch(taken, {"metadata": {"annotations": {connection.INHERITED: None}}})
    await world.settle(seconds=600)
    assert set((await world.cluster.get(got))["data"]) == {"host", "loot", "port"}


# --- restored from a backup


@pytest.mark.parametrize("base", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])
@pytest.mark.parametrize("is_renamed", [False, True], ids=["under our name", "under another"])
async def test_what_a_template_made_and_another_object_controls_is_neither_made_again_nor_forgotten(base, is_renamed):
    world = await a_platform(base)
    await world.apply(a_claim())
    await world.settle()
    alpha = await world.one(things.COMPOSED, "Alpha")
    key = Key(things.COMPOSED, "Alpha", "", alpha["metadata"]["name"])
    [composite] = await world.cluster.list(things.VERSION, "XThing")
    place = Key(things.VERSION, "XThing", "", composite["metadata"]["name"])
    empty = changed(things.COMPOSITION, resources=[]) | {"metadata": {"name": "none"}}
    await world.apply(empty, FREE | {"spec": {"compositionRef": {"name": "none"}}})
    await world.patch(key, {"metadata": {"ownerReferences": [owner_reference(await world.cluster.get(PLACE))]}})
    if is_renamed:  # a name that we would not give: it is found by the reference alone
        key = key._replace(name="restored")
        restored = await world.one(things.COMPOSED, "Alpha")
        await world.cluster.delete(key_of(restored))
        metadata = {field: restored["metadata"][field] for field in ("labels", "annotations", "ownerReferences")}
        status = {"atProvider": {"address": "of another"}}
        await world.cluster.create(restored | {"metadata": metadata | {"name": key.name}})
        await world.patch(key, {"status": status}, subresource="status")
        references = composite["spec"]["resourceRefs"]
        moved = [each | ({"name": key.name} if each["kind"] == "Alpha" else {}) for each in references]
        await world.patch(place, {"spec": {"resourceRefs": moved}})
    await world.patch(place, {"spec": {"region": "x"}})
    await world.settle(seconds=60)
    composite = await world.cluster.get(place)
    assert "address" not in (composite.get("status") or {}), "what another object controls is shown to functions"
    assert (await world.one(things.COMPOSED, "Alpha"))["metadata"]["name"] == key.name
    assert key.name in [reference.get("name") for reference in composite["spec"]["resourceRefs"]]
    synced = conditions.find(composite, "Synced")
    assert synced["status"] == "False"
    assert "to adopt it" in synced["message"]
    await world.patch(key, {"metadata": {"ownerReferences": []}})
    await world.patch(place, {"spec": {"region": "y"}})
    await world.settle(seconds=60)
    after = await world.one(things.COMPOSED, "Alpha")
    assert after["metadata"]["ownerReferences"][0]["uid"] == composite["metadata"]["uid"]
    assert conditions.is_true(await world.cluster.get(place), "Synced")


# --- another version becomes the referenceable one


def two_versions(referenceable, *, served=("v1alpha1", "v1beta1")):
    xrd = copy.deepcopy(things.XRD)
    [first] = xrd["spec"]["versions"]
    second = copy.deepcopy(first) | {"name": "v1beta1"}
    xrd["spec"]["versions"] = [first, second]
    for version in xrd["spec"]["versions"]:
        version["referenceable"] = version["name"] == referenceable
        version["served"] = version["name"] in served
    return xrd


@pytest.mark.parametrize("served", [("v1alpha1", "v1beta1"), ("v1beta1",)])
async def test_claims_go_on_when_another_version_becomes_the_referenceable_one(served):
    world = await a_platform()
    await world.apply(two_versions("v1alpha1"))
    await world.settle()
    await world.apply(a_claim(writeConnectionSecretToRef={"name": "conn"}))
    await world.settle()
    await things.all_ready(world)
    before = await world.one(things.VERSION, "XThing")
    await world.apply(two_versions("v1beta1"))
    await world.settle(seconds=600)
    await world.apply(two_versions("v1beta1", served=served))
    await world.settle(seconds=600)
    now = Key("example.org/v1beta1", "Thing", "team-a", "db")
    await world.patch(now, {"spec": {"size": "large"}})
    await world.settle(seconds=600)
    composite = await world.one("example.org/v1beta1", "XThing")
    assert composite["metadata"]["uid"] == before["metadata"]["uid"]
    assert composite["spec"]["claimRef"]["apiVersion"] == "example.org/v1beta1"
    alpha = await world.one(things.COMPOSED, "Alpha")
    assert alpha["spec"]["forProvider"]["class"] == "t9"
    claim = await world.cluster.get(now)
    assert conditions.is_true(claim, "Synced")
    assert conditions.is_true(claim, "Ready")
    assert claim["spec"]["resourceRef"]["apiVersion"] == "example.org/v1beta1"
    await world.cluster.delete(now)
    await world.settle(seconds=60)
    assert await world.cluster.list("example.org/v1beta1", "XThing") == []
    for kind in things.KINDS:
        assert await world.cluster.list(things.COMPOSED, kind) == []


@pytest.mark.parametrize("strict", [False, True])
async def test_where_a_webhook_converts_a_composition_for_the_other_version_composes_nothing(strict):
    """control-plane.md §1.1: compositeTypeRef has the referenceable version; a path of another one may mean nothing in it, and what it filled would go."""
    hook = {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://convert.example.org"}}
    conversion = {"strategy": "Webhook", "webhook": hook}
    world = await a_platform(strict_upstream=strict)
    await world.apply(things.changed(two_versions("v1alpha1"), conversion=conversion))
    await world.settle()
    await world.apply(a_claim())
    await world.settle()
    await world.apply(things.changed(two_versions("v1beta1"), conversion=conversion))
    await world.settle(seconds=60)
    claim = Key("example.org/v1beta1", "Thing", "team-a", "db")
    await world.patch(claim, {"spec": {"size": "large"}})
    await world.settle(seconds=60)
    told = conditions.find(await world.one("example.org/v1beta1", "XThing"), "Synced")
    assert "referenced composition is not compatible with this composite resource" in told["message"]
    alpha = await world.one(things.COMPOSED, "Alpha")
    assert alpha["spec"]["forProvider"]["class"] == "t1"
    fitting = things.changed(things.COMPOSITION, compositeTypeRef={"apiVersion": claim.api_version, "kind": "XThing"})
    await world.apply({**fitting, "metadata": {"name": "later"}})
    await world.patch(claim, {"spec": {"compositionRef": {"name": "later"}}})
    await world.settle(seconds=60)
    alpha = await world.one(things.COMPOSED, "Alpha")
    assert alpha["spec"]["forProvider"]["class"] == "t9"


async def test_what_was_queued_in_the_version_before_is_looked_at_in_the_referenceable_one():
    """Else what is read in the old shape is applied as if it had the new one, and refused."""
    world = await a_platform()
    await world.apply(two_versions("v1alpha1"))
    await world.settle()
    await world.apply(a_claim())
    await world.settle()
    composite = key_of(await world.one(things.VERSION, "XThing"))
    await world.apply(two_versions("v1beta1"))
    await world.settle(seconds=60)
    for name, reconciler, key in (
        ("claim", claim_reconciler.reconcile, things.CLAIM),
        ("composite", composite_reconciler.reconcile, composite),
    ):
        await reconciler(key, world.context)
        assert [*world.due] == [(name, key._replace(api_version="example.org/v1beta1"))]
        await world.settle()
