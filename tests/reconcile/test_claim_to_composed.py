"""From a definition, a composition and a claim to composed resources, a Secret and a status, and back to nothing."""

import base64
import collections
import copy
import dataclasses
import itertools

import pytest

from groundplane.core import conditions
from groundplane.core.crds.marks import MARK
from groundplane.core.definition_crds import composite_crd
from groundplane.core.objects import Key, applied_by, controller_of, key_of, owner_reference
from groundplane.errors import NoSuchKind
from groundplane.ports import Options, Result
from tests.reconcile import things
from tests.reconcile.interrupt import deaths
from tests.reconcile.things import a_world, running
from tests.world import World


async def ready(world):
    await running(world)
    await things.all_ready(world)
    return world


async def claim_of(world):
    return await world.cluster.get(things.CLAIM)


async def secret_of(world):
    found = await world.cluster.get(Key("v1", "Secret", "team-a", "conn"))
    return {name: base64.b64decode(value).decode() for name, value in found["data"].items()} if found else None


async def contents(world):
    """Everything in the store but events and times: what must be the same however we got there."""
    found = {}
    for obj in world.objects():
        found[(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"])] = (
            obj.get("spec"),
            obj.get("data"),
            sorted(obj["metadata"].get("finalizers") or ()),
            sorted((c["type"], c["status"], c["reason"]) for c in (obj.get("status") or {}).get("conditions") or ()),
        )
    return found


async def test_a_claim_becomes_ready_with_its_secret_once_all_it_is_composed_of_is_ready():
    world = await a_world()
    await running(world)
    claim = await claim_of(world)
    assert conditions.find(claim, "Ready")["reason"] == "Waiting"
    assert await secret_of(world) is None
    await things.report(world, "Alpha")
    await world.settle()
    composite = await world.one(things.VERSION, "XThing")
    assert conditions.find(composite, "Ready")["message"] == "Unready resources: beta, gamma"
    await things.all_ready(world)
    claim = await claim_of(world)
    assert conditions.is_true(claim, "Ready")
    assert claim["status"]["address"] == "a.example.org"
    assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_the_order_in_which_manifests_arrive_does_not_matter(order):
    world = await a_world()
    manifests = [things.XRD, things.COMPOSITION, things.THING]
    pending = [manifests[index] for index in order]
    for _ in range(3):  # kubectl apply -f, again and again, until all are taken
        for manifest in list(pending):
            try:
                await world.apply(manifest)
                pending.remove(manifest)
            except NoSuchKind:
                continue  # its CRD is not there yet
            finally:
                await world.settle()
    assert not pending
    await things.all_ready(world)
    assert conditions.is_true(await claim_of(world), "Ready")


async def test_nothing_is_written_when_nothing_changed():
    world = await ready(await a_world())
    before = world.cluster.writes
    await world.apply(things.XRD, things.COMPOSITION, things.THING)
    await world.settle(seconds=1000)
    assert world.cluster.writes == before


async def test_a_restarted_operator_writes_nothing():
    world = await ready(await a_world())
    before = world.cluster.writes
    await world.restarted().settle(seconds=1000)
    assert world.cluster.writes == before


async def test_deleting_a_claim_takes_composite_composed_resources_and_secrets_along():
    world = await ready(await a_world())
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=60)
    for version, kind in [(things.VERSION, "Thing"), (things.VERSION, "XThing"), ("v1", "Secret")]:
        assert await world.cluster.list(version, kind) == []
    for kind in things.KINDS:
        assert await world.cluster.list(things.COMPOSED, kind) == []


async def test_a_composite_that_the_cache_does_not_have_yet_goes_with_its_claim(monkeypatch):
    world = await ready(await a_world())
    get, list_ = world.cluster.get, world.cluster.list

    async def late(key, *, live=False):
        return await get(key, live=live) if live or key.kind != "XThing" else None

    async def late_list(version, kind, **which):
        return await list_(version, kind, **which) if kind != "XThing" else []

    with monkeypatch.context() as patched:
        patched.setattr(world.cluster, "get", late)
        patched.setattr(world.cluster, "list", late_list)
        await world.cluster.delete(things.CLAIM)
        await world.settle(seconds=60)
        assert await claim_of(world) is None
    await world.restarted().settle(seconds=60)  # it is told of all that there is
    assert await world.cluster.list(things.VERSION, "XThing") == []


async def test_an_edited_or_deleted_secret_is_repaired():
    world = await ready(await a_world())
    await world.patch(Key("v1", "Secret", "team-a", "conn"), {"data": {"port": "aGFuZA==", "extra": "aGFuZA=="}})
    await world.settle()
    assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}
    await world.cluster.delete(Key("v1", "Secret", "team-a", "conn"))
    await world.settle()
    assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}


async def test_a_connection_detail_that_changes_reaches_the_claim_though_no_status_tells_of_it():
    world = await a_world()
    [alpha, *others] = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    alpha["patches"] = []
    alpha["base"]["spec"]["writeConnectionSecretToRef"] = {"name": "alpha", "namespace": "team-a"}
    alpha["connectionDetails"] = [{"name": "password", "fromConnectionSecretKey": "password"}]
    await running(world, composition=things.changed(things.COMPOSITION, resources=[alpha, *others]))
    await things.all_ready(world)
    owner = owner_reference(await world.one(things.COMPOSED, "Alpha"))
    metadata = {"name": "alpha", "namespace": "team-a", "ownerReferences": [owner]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "connection.crossplane.io/v1alpha1"}
    for password in ("first", "second", "third"):
        await world.apply({**secret, "data": {"password": base64.b64encode(password.encode()).decode()}})
        await world.settle()
        assert await secret_of(world) == {"password": password}


async def test_a_deleted_composed_resource_is_made_again_at_once():
    world = await ready(await a_world())
    old = await world.one(things.COMPOSED, "Beta")
    await world.cluster.delete(Key(things.COMPOSED, "Beta", "", old["metadata"]["name"]))
    await world.settle()
    new = await world.one(things.COMPOSED, "Beta")
    assert new["metadata"]["name"] == old["metadata"]["name"]
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


async def test_a_template_that_left_the_composition_takes_its_resource_along():
    world = await ready(await a_world())
    resources = things.COMPOSITION["spec"]["resources"][:2]
    await world.apply(things.changed(things.COMPOSITION, resources=resources))
    await world.settle()
    assert await world.cluster.list(things.COMPOSED, "Gamma") == []
    composite = await world.one(things.VERSION, "XThing")
    assert [reference["kind"] for reference in composite["spec"]["resourceRefs"]] == ["Alpha", "Beta"]


def serving(kind, served):
    [crd] = [crd for crd in things.composed_crds() if crd["spec"]["names"]["kind"] == kind]
    crd["spec"]["versions"][0]["served"] = served
    return crd


@pytest.mark.parametrize("manifest", [things.COMPOSITION, things.PIPELINE])
async def test_a_resource_whose_kind_is_not_served_for_a_while_is_taken_along_when_its_template_has_left(manifest):
    world = await a_world()
    await running(world, composition=manifest)
    await things.all_ready(world)
    await world.apply(serving("Beta", False))
    [alpha, _, gamma] = things.COMPOSITION["spec"]["resources"]
    spec = {"resources": [alpha, gamma]}
    if manifest is things.PIPELINE:
        spec = {"pipeline": [things.patch_step(alpha, gamma), things.READY_STEP]}
    await world.apply(things.changed(manifest, **spec))
    await world.settle(seconds=60)
    composite = await world.one(things.VERSION, "XThing")
    assert "Beta" in [reference["kind"] for reference in composite["spec"]["resourceRefs"]]
    await world.apply(serving("Beta", True), things.changed(things.THING, region="y"))
    await world.settle(seconds=60)
    assert await world.cluster.list(things.COMPOSED, "Beta") == []
    composite = await world.one(things.VERSION, "XThing")
    assert [reference["kind"] for reference in composite["spec"]["resourceRefs"]] == ["Alpha", "Gamma"]


@pytest.mark.parametrize("manifest", [things.COMPOSITION, things.PIPELINE])
async def test_a_misspelt_kind_leaves_no_reference_once_it_is_mended(manifest):
    world = await a_world()
    wrong = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    wrong[1]["base"]["kind"] = "Betta"
    spec = {"resources": wrong}
    if manifest is things.PIPELINE:
        spec = {"pipeline": [things.patch_step(*wrong), things.READY_STEP]}
    await running(world, composition=things.changed(manifest, **spec))
    assert "Betta" in conditions.find(await claim_of(world), "Ready")["message"]
    await world.apply(manifest)
    await world.settle(seconds=60)
    composite = await world.one(things.VERSION, "XThing")
    assert [reference["kind"] for reference in composite["spec"]["resourceRefs"]] == list(things.KINDS)


@pytest.mark.parametrize("strict", [False, True])
async def test_a_patch_onto_what_the_claim_sets_is_not_taken_and_says_so_instead_of_being_fought(strict):
    world = await a_world(options=Options(strict_upstream=strict))
    [alpha, *others] = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    alpha["base"]["spec"]["forProvider"]["region"] = "theirs"
    alpha["patches"].append(
        {"type": "ToCompositeFieldPath", "fromFieldPath": "spec.forProvider.region", "toFieldPath": "spec.region"}
    )
    composition = things.changed(things.COMPOSITION, resources=[alpha, *others])
    await running(world, composition=composition, claim=things.changed(things.THING, region="mine"))
    await things.all_ready(world)
    assert (await world.one(things.VERSION, "XThing"))["spec"]["region"] == "mine"
    assert ("spec.region is set by the claim" in world.told.text()) is not strict  # upstream fights in silence
    assert conditions.is_true(await claim_of(world), "Ready")
    await world.patch(things.CLAIM, {"spec": {"region": None}})
    await world.settle(seconds=10)
    assert (await world.one(things.VERSION, "XThing"))["spec"]["region"] == "theirs"


async def test_a_value_that_a_template_cannot_use_withholds_that_resource_alone_and_says_so_on_the_claim():
    world = await a_world()
    await running(world, claim=things.changed(things.THING, size="huge"))
    assert await world.cluster.list(things.COMPOSED, "Alpha") == []
    assert len(await world.cluster.list(things.COMPOSED, "Beta")) == 1
    message = conditions.find(await claim_of(world), "Ready")["message"]
    assert 'no entry for "huge" in the map' in message
    assert "large, small" in message
    assert ("Warning", "ComposeResources") in world.told.reasons("XThing")
    await world.apply(things.THING)
    await world.settle()
    await things.all_ready(world)
    assert conditions.is_true(await claim_of(world), "Ready")


async def test_what_one_resource_gives_another_gets_though_no_event_tells_of_it():
    given = [
        {"type": "FromCompositeFieldPath", "fromFieldPath": "status.from", "toFieldPath": "spec.forProvider.address"},
        {"type": "ToCompositeFieldPath", "fromFieldPath": "status.atProvider.address", "toFieldPath": "status.from"},
    ]
    base = {"apiVersion": things.COMPOSED, "spec": {"forProvider": {}}}
    taker = {"name": "alpha", "base": base | {"kind": "Alpha"}, "patches": given[:1]}
    giver = {"name": "beta", "base": base | {"kind": "Beta"}, "patches": given[1:]}
    status = {"type": "object", "properties": {"from": {"type": "string"}}}
    xrd = copy.deepcopy(things.XRD)
    xrd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] = status
    world = await a_world()
    await world.apply(xrd)
    await world.settle()
    await world.apply(things.changed(things.COMPOSITION, resources=[taker, giver]), things.THING)
    await world.settle()
    await things.report(world, "Beta", address="b.example.org")
    await world.settle(seconds=1)
    alpha = await world.one(things.COMPOSED, "Alpha")
    assert alpha["spec"]["forProvider"] == {"address": "b.example.org"}


async def test_the_claim_tells_why_a_resource_fails_before_what_waits_for_it():
    needed = {
        "type": "FromCompositeFieldPath",
        "fromFieldPath": "status.from",
        "toFieldPath": "spec.forProvider.address",
    }
    base = {"apiVersion": things.COMPOSED, "spec": {"forProvider": {}}}
    taker = {
        "name": "alpha",
        "base": base | {"kind": "Alpha"},
        "patches": [needed | {"policy": {"fromFieldPath": "Required"}}],
    }
    world = await a_world()
    await running(
        world,
        composition=things.changed(
            things.COMPOSITION, resources=[taker, {"name": "beta", "base": base | {"kind": "Beta"}}]
        ),
    )

    def told(obj):
        return conditions.find(obj, "Ready")["message"]

    assert "status.from: no such field" in told(await claim_of(world)), "as long as that is all that is known"
    beta = await world.one(things.COMPOSED, "Beta")
    failed = {
        "type": "Synced",
        "status": "False",
        "reason": "ReconcileError",
        "message": "create failed: no such region",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    await world.patch(
        Key(things.COMPOSED, "Beta", "", beta["metadata"]["name"]),
        {"status": {"conditions": [failed]}},
        subresource="status",
    )
    await world.settle(seconds=1)
    assert "Beta beta: create failed: no such region" in told(await claim_of(world))
    assert "no such field" not in told(await claim_of(world))


async def test_a_resource_that_exists_is_never_dropped_because_a_patch_failed():
    world = await ready(await a_world())
    before = await world.one(things.COMPOSED, "Alpha")
    await world.apply(things.changed(things.THING, size="huge"))
    await world.settle()
    after = await world.one(things.COMPOSED, "Alpha")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]


async def test_a_composition_with_an_unknown_patch_set_says_so_on_itself_and_on_the_claim():
    world = await a_world()
    broken = things.changed(things.COMPOSITION)
    broken["spec"]["resources"][1]["patches"] = [{"type": "PatchSet", "patchSetName": "comon"}]
    await running(world, composition=broken)
    key = Key("apiextensions.crossplane.io/v1", "Composition", "", "thing")
    told = conditions.find(await world.cluster.get(key), "Synced")
    assert told["status"] == "False"
    assert "comon" in told["message"]
    assert ("Warning", "InvalidComposition") in world.told.reasons("Composition")
    assert "comon" in conditions.find(await claim_of(world), "Ready")["message"]


async def test_a_definition_with_the_wrong_name_says_the_right_one():
    world = await a_world()
    wrong = {**things.XRD, "metadata": {"name": "things.example.org"}}
    await world.apply(wrong)
    await world.settle()
    key = Key("apiextensions.crossplane.io/v1", "CompositeResourceDefinition", "", "things.example.org")
    told = conditions.find(await world.cluster.get(key), "Established")
    assert told["status"] == "False"
    assert "xthings.example.org" in told["message"]
    assert ("Warning", "RenderCRD") in world.told.reasons("CompositeResourceDefinition")


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        ("properties", [None], "[spec].properties: Invalid value"),
        ("required", "size", '[spec].required: Invalid value: "size": must be an array'),
        ("properties", {"size": {"type": "string", "enum": True}}, "[size].enum: Invalid value: true"),
        ("properties", {"size": {"type": "string", "maxLength": "5"}}, '[size].maxLength: Invalid value: "5"'),
    ],
)
async def test_a_schema_of_the_wrong_shape_is_named_on_its_definition(part, value, text):
    world = await a_world()
    wrong = copy.deepcopy(things.XRD)
    wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][part] = value
    await world.apply(wrong)
    await world.settle()
    xrd = await world.one("apiextensions.crossplane.io/v1", "CompositeResourceDefinition")
    for type_ in ("Established", "Offered"):
        assert text in conditions.find(xrd, type_)["message"]


@pytest.mark.parametrize(
    ("whose", "told"),
    [
        ("ours", "one of Groundplane's own. Mend: choose a group of your own"),
        ("another's", "belongs to Composition thing. Mend: rename the kind"),
        ("nobody's", None),
    ],
)
async def test_a_definition_takes_over_a_kind_that_nobody_controls_and_no_other(whose, told):
    world = await a_world()
    await world.apply(things.COMPOSITION)
    there = composite_crd(things.XRD)
    there["metadata"] = {"name": there["metadata"]["name"]}
    there["spec"]["names"]["shortNames"] = ["old"]
    if whose == "ours":
        there["metadata"]["annotations"] = {MARK: "0.1.0-0123456789ab"}
    if whose == "another's":
        there["metadata"]["ownerReferences"] = [owner_reference(await world.cluster.get(key_of(things.COMPOSITION)))]
    await world.apply(there)
    before = await world.cluster.get(key_of(there))
    await world.apply(things.XRD)
    await world.settle()
    after, established = await world.cluster.get(key_of(there)), await world.cluster.get(DEFINITION)
    if told:
        assert after == before
        assert told in conditions.find(established, "Established")["message"]
    else:
        assert controller_of(after)["name"] == things.XRD["metadata"]["name"]
        assert conditions.is_true(established, "Established")


async def test_a_definition_whose_referenceable_version_is_not_served_says_so():
    world = await a_world()
    wrong = copy.deepcopy(things.XRD)
    wrong["spec"]["versions"][0]["served"] = False
    await world.apply(wrong)
    await world.settle()
    told = conditions.find(await world.cluster.get(DEFINITION), "Established")
    assert "version v1alpha1 is referenceable, but not served" in told["message"]


async def test_a_composition_for_another_kind_is_named_and_a_fitting_one_ends_the_wait():
    world = await a_world()
    other = things.changed(things.COMPOSITION, compositeTypeRef={"apiVersion": things.VERSION, "kind": "XThin"})
    other["metadata"] = {"name": "other"}
    await running(world, composition=other)
    composite = await world.one(things.VERSION, "XThing")
    message = conditions.find(composite, "Synced")["message"]
    assert "no compatible Compositions found" in message
    assert "other is for XThin" in message
    await world.apply(things.COMPOSITION)
    await world.settle()
    assert len(await world.cluster.list(things.COMPOSED, "Alpha")) == 1


async def test_a_selector_without_match_is_named_as_what_may_be_wrong():
    world = await a_world()
    selector = {"matchLabels": {"provider": "gcp"}}
    await running(world, claim=things.changed(things.THING, compositionSelector=selector))
    claim = await world.cluster.get(things.CLAIM)
    mend = "carries the labels provider=gcp, or correct spec.compositionSelector."
    assert mend in conditions.find(claim, "Reconciling")["message"]


async def test_a_secret_of_somebody_else_is_never_overwritten():
    world = await a_world()
    theirs = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "conn", "namespace": "team-a"},
        "stringData": {"a": "b"},
    }
    await world.apply(theirs)
    await ready(world)
    assert await secret_of(world) == {"a": "b"}
    told = conditions.find(await claim_of(world), "Synced")
    assert "refusing to modify uncontrolled secret" in told["message"]
    await world.cluster.delete(Key("v1", "Secret", "team-a", "conn"))
    await world.settle(seconds=600)
    assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}


async def test_a_paused_claim_is_left_alone_until_it_is_unpaused():
    world = await ready(await a_world())
    await world.patch(things.CLAIM, {"metadata": {"annotations": {"crossplane.io/paused": "true"}}})
    await world.settle()
    await world.patch(things.CLAIM, {"spec": {"size": "large"}})
    await world.settle()
    composite = await world.one(things.VERSION, "XThing")
    assert composite["spec"]["size"] == "small"
    await world.patch(things.CLAIM, {"metadata": {"annotations": {"crossplane.io/paused": None}}})
    await world.settle()
    composite = await world.one(things.VERSION, "XThing")
    assert composite["spec"]["size"] == "large"


async def test_a_claim_gets_its_secret_though_the_composition_names_no_namespace_unless_strict():
    composition = things.changed(things.COMPOSITION, writeConnectionSecretsToNamespace=None)
    world = await a_world()
    await running(world, composition=composition)
    await things.all_ready(world)
    assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}
    assert "assuming" in world.told.text()
    strict = await a_world(options=Options(strict_upstream=True))
    await running(strict, composition=composition)
    await things.all_ready(strict)
    assert await secret_of(strict) is None


async def test_a_claim_that_asks_for_a_secret_later_gets_it_too():
    world = await a_world()
    composition = things.changed(things.COMPOSITION, writeConnectionSecretsToNamespace=None)
    await running(world, composition=composition, claim=things.changed(things.THING, writeConnectionSecretToRef=None))
    await things.all_ready(world)
    await world.apply(things.THING)
    await world.settle()
    assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}


async def test_a_claim_that_names_the_composite_of_another_claim_is_refused_while_that_is_there():
    world = await ready(await a_world())
    taken = (await claim_of(world))["spec"]["resourceRef"]
    other = {**things.THING, "metadata": {"name": "other", "namespace": "team-a"}}
    await world.apply(things.changed(other, resourceRef=taken, writeConnectionSecretToRef=None))
    await world.settle()
    place = things.CLAIM._replace(name="other")
    assert "refusing to operate" in conditions.find(await world.cluster.get(place), "Synced")["message"]
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=600)
    assert conditions.is_true(await world.cluster.get(place), "Synced")


DEFINITION = Key("apiextensions.crossplane.io/v1", "CompositeResourceDefinition", "", "xthings.example.org")


def nothing_is_left(world):
    left = {obj["kind"] for obj in world.objects()}
    return left.isdisjoint({"Thing", "XThing", "Alpha", "Secret", "CompositeResourceDefinition"})


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_definition_that_is_deleted_takes_all_its_objects_along(restarted):
    world = await ready(await a_world())
    await world.cluster.delete(DEFINITION)
    if restarted:  # the new process has never seen that definition alive
        world = world.restarted()
    await world.settle(seconds=60)
    assert nothing_is_left(world)


@pytest.mark.parametrize("strict", [False, True])
async def test_a_definition_that_waits_for_its_objects_is_not_called_ready_and_keeps_the_time_since_when(strict):
    world = await running(await a_world(options=Options(strict_upstream=strict)))
    held = {"apiVersion": things.VERSION, "kind": "XThing", "metadata": {"name": "held", "finalizers": ["a.b/c"]}}
    await world.apply({**held, "spec": {}})
    await world.settle()
    world.clock.advance(60)
    await world.cluster.delete(DEFINITION)
    begun = conditions.timestamp(world.clock())
    await world.settle(seconds=60)
    definition = await world.cluster.get(DEFINITION)
    established, told = (conditions.find(definition, type_) for type_ in ("Established", "Ready"))
    assert (established["status"], established["lastTransitionTime"]) == ("False", begun)
    if strict:
        assert told is None
        return
    assert (told["status"], told["reason"], told["lastTransitionTime"]) == ("False", "Deleting", begun)
    assert told["observedGeneration"] == definition["metadata"]["generation"]


async def test_a_paused_claim_whose_definition_is_deleted_goes_when_it_is_unpaused():
    world = await ready(await a_world())
    await world.patch(things.CLAIM, {"metadata": {"annotations": {"crossplane.io/paused": "true"}}})
    await world.cluster.delete(DEFINITION)
    await world.settle(seconds=60)
    assert await claim_of(world)
    await world.patch(things.CLAIM, {"metadata": {"annotations": {"crossplane.io/paused": None}}})
    await world.settle(seconds=60)
    assert nothing_is_left(world)


async def test_killed_at_any_write_the_next_process_ends_in_the_same_state():
    undisturbed = await a_world()
    heirs = await deaths(undisturbed, ready)
    assert len(heirs) > 20
    expected = len(await contents(undisturbed))
    for world in heirs:
        await ready(world)
        assert len(await contents(world)) == expected
        assert len(await world.cluster.list(things.VERSION, "XThing")) == 1
        assert conditions.is_true(await claim_of(world), "Ready")
        assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}


# --- how many writes that takes --------------------------------------------------------------------------


def counting(world, *, ready_at_once=False):
    """Count the world's writes by verb, kind and subresource from now on; composed resources may be ready the moment they are created."""
    counts, cluster = collections.Counter(), world.cluster
    update, create = cluster.update, cluster.create

    async def counted_update(obj, *, subresource=""):
        before = cluster.writes
        result = await update(obj, subresource=subresource)
        counts["update", obj["kind"], subresource] += cluster.writes != before
        return result

    async def counted_create(obj):
        made = await create(obj)
        counts["create", obj["kind"], ""] += 1
        if ready_at_once and obj["kind"] in things.KINDS:
            status = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Available"}]}}
            await cluster.patch(
                Key(made["apiVersion"], made["kind"], "", made["metadata"]["name"]), status, subresource="status"
            )
        return made

    cluster.update, cluster.create = counted_update, counted_create
    return counts


async def test_what_is_ready_as_soon_as_it_is_created_takes_one_report_of_composite_and_claim():
    world = await a_world()
    await world.apply(things.XRD)
    await world.settle()
    await world.apply(things.COMPOSITION)
    await world.settle()
    counts = counting(world, ready_at_once=True)
    await world.apply(things.THING)
    await world.settle()
    assert conditions.is_true(await claim_of(world), "Ready")
    assert counts["update", "XThing", "status"] == 1
    assert counts["update", "Thing", "status"] == 1
    assert counts["update", "Thing", ""] == 1  # its composite's name before that is created, with what it will choose
    assert counts["update", "XThing", ""] == 1
    assert ("Normal", "ComposeResources") not in world.told.reasons("XThing")


OTHER = things.changed(things.COMPOSITION) | {"metadata": {"name": "other", "labels": {"tier": "other"}}}
LABELLED = {"compositionSelector": {"matchLabels": {"tier": "other"}}}


async def claimed(world, compositions, *, definition=(), claim=()):
    """How often the claim was updated until it and what it is composed of were ready; the claim; its composite."""
    await world.apply(things.changed(things.XRD, **dict(definition)))
    await world.settle()
    for composition in compositions:
        await world.apply(composition)
    await world.settle()
    counts = counting(world, ready_at_once=True)
    await world.apply(things.changed(things.THING, **dict(claim)))
    await world.settle()
    return counts["update", "Thing", ""], await claim_of(world), await world.one(things.VERSION, "XThing")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("definition", "claim", "name"),
    [
        ({}, LABELLED, "other"),
        ({"defaultCompositionRef": {"name": "other"}}, {}, "other"),
        ({"defaultCompositionRef": {"name": "thing"}}, LABELLED, "other"),
        ({"enforcedCompositionRef": {"name": "other"}}, {"compositionRef": {"name": "thing"}}, "other"),
        ({"enforcedCompositionRef": {"name": "other"}}, {"compositionUpdatePolicy": "Manual"}, "other"),
        ({"defaultCompositionUpdatePolicy": "Manual", "defaultCompositionRef": {"name": "thing"}}, {}, "thing"),
    ],
)
async def test_a_claim_says_with_its_first_write_what_its_composite_is_certain_to_choose(
    strict, definition, claim, name
):
    world = await a_world(options=Options(strict_upstream=strict))
    writes, mine, composite = await claimed(world, [things.COMPOSITION, OTHER], definition=definition, claim=claim)
    assert writes == 1
    assert mine["spec"]["compositionRef"] == composite["spec"]["compositionRef"] == {"name": name}
    revision = composite["spec"]["compositionRevisionRef"]
    is_automatic = composite["spec"]["compositionUpdatePolicy"] == "Automatic"
    assert mine["spec"].get("compositionRevisionRef") == (revision if is_automatic else None)
    told = f"Successfully selected composition: {name}; Selected composition revision: {revision['name']}"
    assert [text for _, _, reason, text in world.told.events if reason == "SelectComposition"] == [told]
    assert "compositionRef" not in applied_by(composite, "apiextensions.crossplane.io/claim")


async def test_where_several_compositions_fit_the_composite_chooses_and_its_claim_follows():
    world = await a_world()
    writes, mine, composite = await claimed(world, [things.COMPOSITION, OTHER])
    assert writes == 2
    for field in ("compositionRef", "compositionRevisionRef"):
        assert mine["spec"][field] == composite["spec"][field]


RIVAL = things.changed(
    things.COMPOSITION,
    resources=[{**each, "name": f"rival-{each['name']}"} for each in things.COMPOSITION["spec"]["resources"]],
) | {"metadata": {"name": "rival"}}


async def another_fits(world):
    await world.apply(RIVAL)


async def another_takes_its_place(world):
    await world.cluster.delete(Key("apiextensions.crossplane.io/v1", "Composition", "", "thing"))
    await world.apply(RIVAL)


async def the_definition_asks_for_another(world):
    await world.apply(RIVAL, things.changed(things.XRD, defaultCompositionRef={"name": "rival"}))


async def a_person_asks_for_another(world):
    await world.apply(RIVAL, things.changed(things.THING, compositionRef={"name": "rival"}))


async def composites_are_pinned_from_now_on(world):
    [alpha, *others] = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    alpha["base"]["spec"]["forProvider"]["fixed"] = 2
    await world.apply(things.changed(things.COMPOSITION, resources=[alpha, *others]))
    await world.apply(things.changed(things.XRD, defaultCompositionUpdatePolicy="Manual"))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "meanwhile",
    [
        another_fits,
        another_takes_its_place,
        the_definition_asks_for_another,
        a_person_asks_for_another,
        composites_are_pinned_from_now_on,
    ],
)
async def test_whatever_comes_between_what_a_claim_foresees_and_its_composite_only_one_choice_is_made(
    meanwhile, strict
):
    world = await a_world(options=Options(strict_upstream=strict))
    await world.apply(things.XRD)
    await world.settle()
    await world.apply(things.COMPOSITION)
    await world.settle()

    async def life(world):
        await world.apply(things.THING)
        await world.settle()

    seen = set()
    for after in await deaths(world, life):
        composites = await after.cluster.list(things.VERSION, "XThing")
        if any("compositionRef" in composite["spec"] for composite in composites):
            break
        was_made, chosen = bool(composites), []

        def wrote(since, changes, chosen=chosen):
            for change in changes:
                spec = change.object.get("spec") or {}
                if change.object["kind"] == "XThing" and "compositionRevisionRef" in spec:
                    found = (spec["compositionRef"]["name"], spec["compositionRevisionRef"]["name"])
                    chosen += [found] if chosen[-1:] != [found] else []

        after.cluster.wrote = wrote
        await meanwhile(after)
        await after.settle(seconds=60)
        claim, composite = await claim_of(after), await after.one(things.VERSION, "XThing")
        assert claim["spec"]["compositionRef"] == composite["spec"]["compositionRef"]
        if not (
            was_made and meanwhile is another_takes_its_place
        ):  # its claim has said what it is made by: that is awaited
            assert len(chosen) == 1
            assert conditions.is_true(composite, "Synced")
        if meanwhile is not a_person_asks_for_another:
            assert (
                not {"compositionRef", "compositionRevisionRef"}
                & applied_by(composite, "apiextensions.crossplane.io/claim").keys()
            )
        seen.add(was_made)
    assert seen == {False, True}


async def test_a_composite_that_is_lost_comes_back_by_the_composition_that_it_had():
    world = await ready(await a_world())
    await world.apply(RIVAL)
    for _ in range(6):
        composite = await world.one(things.VERSION, "XThing")
        await world.cluster.delete(Key(things.VERSION, "XThing", "", composite["metadata"]["name"]))
        await world.settle(seconds=60)
        assert (await world.one(things.VERSION, "XThing"))["spec"]["compositionRef"] == {"name": "thing"}


async def test_a_new_claim_that_pins_a_revision_is_never_composed_by_a_newer_one():
    world = await a_world()
    await world.apply(things.XRD)
    await world.settle()
    await world.apply(things.COMPOSITION)
    await world.settle()
    [first] = await world.cluster.list("apiextensions.crossplane.io/v1", "CompositionRevision")
    await world.apply(things.changed(things.COMPOSITION, resources=things.COMPOSITION["spec"]["resources"][:1]))
    await world.settle()
    taken = []
    world.cluster.wrote = lambda since, changes: taken.extend(
        change.object["spec"]["compositionRevisionRef"]["name"]
        for change in changes
        if change.object["kind"] == "XThing" and "compositionRevisionRef" in change.object["spec"]
    )
    pinned = {"compositionUpdatePolicy": "Manual", "compositionRevisionRef": {"name": first["metadata"]["name"]}}
    await world.apply(things.changed(things.THING, **pinned))
    await world.settle()
    assert set(taken) == {first["metadata"]["name"]}
    assert len(await world.cluster.list(things.COMPOSED, "Gamma")) == 1


async def test_what_is_not_ready_yet_is_told_without_waiting_for_anything():
    world = await a_world()
    await running(world)
    composite = await world.one(things.VERSION, "XThing")
    assert conditions.find(composite, "Ready")["reason"] == "Creating"
    assert conditions.find(await claim_of(world), "Ready")["reason"] == "Waiting"


async def test_a_claim_whose_composite_says_nothing_says_so_itself_after_a_while():
    world = await a_world()

    async def silent(key, context):
        return Result()

    world.engine.controllers["composite"] = dataclasses.replace(world.engine.controllers["composite"], reconcile=silent)
    await running(world)
    assert conditions.find(await claim_of(world), "Ready") is None
    await world.settle(seconds=6)
    assert conditions.find(await claim_of(world), "Ready")["reason"] == "Waiting"


async def test_a_claim_waits_with_its_report_while_its_composite_waits_behind_others():
    world = await a_world()

    async def silent(key, context):
        return Result()

    world.engine.controllers["composite"] = dataclasses.replace(world.engine.controllers["composite"], reconcile=silent)
    behind = ["XThing"]
    world.engine.context = dataclasses.replace(world.engine.context, is_waiting=lambda key: key.kind in behind)
    await running(world)
    await world.settle(seconds=20)
    assert conditions.find(await claim_of(world), "Ready") is None
    behind.clear()
    await world.settle(seconds=15)
    assert conditions.find(await claim_of(world), "Ready")["reason"] == "Waiting"


# --- what goes wrong after something was chosen ----------------------------------------------------------


async def test_a_composite_without_a_composition_is_marked_and_is_deleted_in_order():
    world = await a_world()
    await world.apply(things.XRD)
    await world.settle()
    await world.apply(things.THING)
    await world.settle()
    composite = await world.one(things.VERSION, "XThing")
    assert composite["metadata"]["finalizers"] == ["composite.apiextensions.crossplane.io"]
    assert composite["metadata"]["labels"]["crossplane.io/composite"] == composite["metadata"]["name"]
    await world.cluster.delete(things.CLAIM)
    await world.settle()
    assert not await world.cluster.list(things.VERSION, "XThing")


@pytest.mark.parametrize(
    "wrong",
    [
        {"resources": [{"name": "alpha", "base": {"apiVersion": things.COMPOSED, "kind": "Alpha"}, "patches": [{"fromFieldPath": "spec[", "toFieldPath": "spec.x"}]}]},
        {"mode": "Pipeline", "pipeline": [{"step": "one", "functionRef": {"name": "function-nobody-has"}}]},
    ],
)  # fmt: skip
async def test_what_was_chosen_stands_on_composite_and_claim_although_it_is_refused(wrong):
    world = await running(await a_world(), composition=things.changed(things.COMPOSITION, **wrong))
    for obj in (await world.one(things.VERSION, "XThing"), await claim_of(world)):
        assert obj["spec"]["compositionRef"] == {"name": "thing"}
        assert obj["spec"]["compositionRevisionRef"]["name"].startswith("thing-")
        assert conditions.find(obj, "Synced")["status"] == "False" or obj["kind"] == "Thing"


async def test_a_composition_that_is_not_there_stays_chosen_and_is_told_of_as_composing():
    world = await running(await a_world(), claim=things.changed(things.THING, compositionRef={"name": "another"}))
    composite = await world.one(things.VERSION, "XThing")
    assert composite["spec"]["compositionRef"] == {"name": "another"}
    warnings = {
        reason for key, type_, reason, _ in world.told.events if type_ == "Warning" and key.startswith("XThing ")
    }
    assert warnings == {"ComposeResources"}


@pytest.mark.parametrize("is_pipeline", [False, True])
async def test_what_could_not_be_made_since_its_name_was_anothers_is_made_once_that_is_gone(is_pipeline):
    base = {"apiVersion": things.COMPOSED, "kind": "Alpha", "spec": {}}
    patch = {"type": "FromCompositeFieldPath", "fromFieldPath": "spec.size", "toFieldPath": "metadata.name"}
    alpha = {"name": "alpha", "base": base, "patches": [patch]}
    composition = things.changed(things.COMPOSITION, resources=[alpha])
    if is_pipeline:
        composition = things.changed(things.PIPELINE, pipeline=[things.patch_step(alpha)])
    world = await a_world()
    await world.apply({"apiVersion": things.COMPOSED, "kind": "Beta", "metadata": {"name": "other"}, "spec": {}})
    other = owner_reference(await world.cluster.get(Key(things.COMPOSED, "Beta", "", "other")))
    await world.apply({**base, "metadata": {"name": "small", "ownerReferences": [other]}})
    await running(world, composition=composition)
    taken = Key(things.COMPOSED, "Alpha", "", "small")
    assert "belongs to Beta other" in conditions.find(await world.one(things.VERSION, "XThing"), "Synced")["message"]
    await world.cluster.delete(taken)
    await world.settle()
    assert (await world.cluster.get(taken))["metadata"]["ownerReferences"][0]["kind"] == "XThing"


CRD = Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"xthings.{things.GROUP}")
HOOK = {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://convert.example.org"}}
CONVERTED = {
    **things.XRD,
    "metadata": {**things.XRD["metadata"], "labels": {"team": "a"}},
    "spec": {**things.XRD["spec"], "conversion": {"strategy": "Webhook", "webhook": HOOK}},
}


async def leaves_what_the_definition_leaves(world):
    await world.settle()
    assert (await world.cluster.get(CRD))["spec"]["conversion"]["strategy"] == "Webhook"
    await world.apply(things.XRD)
    await world.settle()
    crd = await world.cluster.get(CRD)
    assert crd["spec"].get("conversion") in (None, {"strategy": "None"})
    assert crd["metadata"]["labels"] == {"theirs": "x"}
    assert not [entry for entry in crd["metadata"]["managedFields"] if "handover" in entry["manager"]]


@pytest.mark.parametrize("strict", [False, True])
async def test_what_leaves_a_definition_leaves_the_kind_that_an_older_crossplane_wrote(strict):
    world = await a_world(options=Options(strict_upstream=strict))
    await world.cluster.create(composite_crd(CONVERTED, strict_upstream=True))
    theirs = {"conversion": {"webhook": {"clientConfig": {"caBundle": "eA=="}}}}  # as cert-manager writes it
    metadata = {"name": CRD.name, "labels": {"theirs": "x"}}
    await world.cluster.apply(
        {"apiVersion": CRD.api_version, "kind": CRD.kind, "metadata": metadata, "spec": theirs}, manager="somebody"
    )
    await world.apply(CONVERTED)
    heirs = await deaths(world, World.settle)
    assert len(heirs) > 4
    for each in (*heirs, world):
        await leaves_what_the_definition_leaves(each)


@pytest.mark.parametrize("strict", [False, True])
async def test_an_edit_of_a_live_definition_is_told_once_by_the_reason_of_v2(strict):
    def told():
        return [text for _, _, reason, text in world.told.events if reason == "RestartComposite"]

    world = await a_world(options=Options(strict_upstream=strict))
    await world.apply(things.XRD)
    await world.settle(seconds=60)
    assert told() == []
    await world.apply(things.changed(things.XRD, connectionSecretKeys=["host"]))
    await world.settle(seconds=60)
    await world.restarted().settle(seconds=60)
    assert told() == ([] if strict else ["The definition has changed: XThing is followed as it is now"])
