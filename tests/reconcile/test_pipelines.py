"""Compositions of mode Pipeline, from the claim to composed resources, the Secret and the status."""

import base64
import copy
import hashlib
from dataclasses import replace

import pytest

from groundplane.core import claim as flow
from groundplane.core import composition, conditions
from groundplane.core import pipeline as pipelines
from groundplane.core.objects import Key, key_of, owner_reference
from groundplane.errors import Denied, Misshapen, NotFound, Rejected
from groundplane.functions import finder
from groundplane.ports import Options
from tests.reconcile import things
from tests.reconcile.interrupt import deaths
from tests.reconcile.things import a_world
from tests.world import World

COMPOSITION = Key("apiextensions.crossplane.io/v1", "Composition", "", "thing")


async def running(world, composition=things.PIPELINE, claim=things.THING):
    return await things.running(world, composition=composition, claim=claim)


async def ready(world, **how):
    await running(world, **how)
    await things.all_ready(world)
    return world


def pipeline(*steps):
    return things.changed(things.PIPELINE, pipeline=list(steps))


def resource(kind, *patches, **more):
    base = {"apiVersion": things.COMPOSED, "kind": kind, "spec": {"forProvider": {}}}
    return {"name": kind.lower(), "base": base, "patches": list(patches)} | more


def patch(source, target, type_="FromCompositeFieldPath", **more):
    return {"type": type_, "fromFieldPath": source, "toFieldPath": target} | more


REQUIRED = {"policy": {"fromFieldPath": "Required"}}


async def another_owner(world):
    """An owner reference to an object that is there and is nobody of ours."""
    made = await world.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": "other",
        "uid": made["metadata"]["uid"],
        "controller": True,
    }


async def claim_of(world):
    return await world.cluster.get(things.CLAIM)


async def composite_of(world):
    return await world.one(things.VERSION, "XThing")


async def kinds_of(world):
    return {kind for kind in things.KINDS if await world.cluster.list(things.COMPOSED, kind)}


async def secret_of(world):
    found = await world.cluster.get(Key("v1", "Secret", "team-a", "conn"))
    return {name: base64.b64decode(value).decode() for name, value in found["data"].items()} if found else None


async def test_a_claim_becomes_ready_with_its_secret_and_the_status_that_functions_desire():
    world = await a_world()
    await running(world)
    assert conditions.find(await claim_of(world), "Ready")["reason"] == "Waiting"
    await things.report(world, "Alpha")
    await world.settle()
    composite = await composite_of(world)
    assert conditions.find(composite, "Ready")["message"] == "Unready resources: beta, gamma"
    await things.all_ready(world)
    claim = await claim_of(world)
    assert conditions.is_true(claim, "Ready")
    assert conditions.is_true(claim, "Synced")
    assert claim["status"]["address"] == "a.example.org"
    assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}


async def test_composed_resources_are_applied_by_the_manager_of_their_composite_with_its_metadata():
    world = await ready(await a_world())
    composite = await composite_of(world)
    name, uid = composite["metadata"]["name"], composite["metadata"]["uid"]
    alpha = (await world.one(things.COMPOSED, "Alpha"))["metadata"]
    digest = hashlib.sha256(f"{name}XThing.example.org".encode()).hexdigest()
    managers = {entry["manager"] for entry in alpha["managedFields"] if entry["operation"] == "Apply"}
    assert managers == {f"apiextensions.crossplane.io/composed/{digest}"}
    assert alpha["annotations"] == {"crossplane.io/composition-resource-name": "alpha"}
    assert alpha["generateName"] == f"{name}-"
    assert alpha["name"] == f"{name}-{hashlib.sha256(f'{uid}alpha'.encode()).hexdigest()[:12]}"
    assert alpha["labels"] == {
        "crossplane.io/composite": name,
        "crossplane.io/claim-name": "db",
        "crossplane.io/claim-namespace": "team-a",
    }
    [owner] = alpha["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (uid, True, True)


async def test_references_are_sorted_and_saved_by_the_manager_of_the_composite():
    world = await running(await a_world(), pipeline(things.patch_step(*(resource(k) for k in reversed(things.KINDS)))))
    composite = await composite_of(world)
    assert [entry["kind"] for entry in composite["spec"]["resourceRefs"]] == ["Alpha", "Beta", "Gamma"]
    managers = {entry["manager"] for entry in composite["metadata"]["managedFields"] if entry["operation"] == "Apply"}
    assert "apiextensions.crossplane.io/composite" in managers


async def test_nothing_is_written_when_nothing_changed():
    world = await ready(await a_world())
    before = world.cluster.writes
    await world.apply(things.XRD, things.PIPELINE, things.THING)
    await world.settle(seconds=1000)
    assert world.cluster.writes == before


async def test_a_restarted_operator_writes_nothing():
    world = await ready(await a_world())
    before = world.cluster.writes
    await world.restarted().settle(seconds=1000)
    assert world.cluster.writes == before


async def test_a_resource_that_lacks_what_it_requires_is_held_back_and_the_claim_says_what_is_missing():
    needy = resource("Alpha", patch("status.address", "spec.forProvider.address", **REQUIRED))
    giver = resource("Beta", patch("status.atProvider.address", "status.address", "ToCompositeFieldPath"))
    world = await running(await a_world(), pipeline(things.patch_step(needy, giver), things.READY_STEP))
    assert await kinds_of(world) == {"Beta"}
    told = conditions.find(await composite_of(world), "Ready")
    assert (told["status"], told["reason"]) == ("False", "Creating")
    message = conditions.find(await claim_of(world), "Ready")["message"]
    assert 'not adding new composed resource "alpha"' in message
    assert "status" in message
    await things.report(world, "Beta", address="b.example.org")
    await world.settle(seconds=1)  # what our own write of the status brings is seen by a run of its own
    alpha = await world.one(things.COMPOSED, "Alpha")
    assert alpha["spec"]["forProvider"]["address"] == "b.example.org"
    await things.report(world, "Alpha")
    await world.settle()
    assert conditions.is_true(await claim_of(world), "Ready")


async def test_what_is_ready_as_soon_as_it_is_there_makes_the_claim_ready_without_any_event():
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team-a"}, "data": {"a": "b"}}
    step = things.patch_step({"name": "settings", "base": base, "patches": []})
    world = await running(await a_world(), pipeline(step, things.READY_STEP))
    await world.settle(seconds=1)
    assert conditions.is_true(await claim_of(world), "Ready")


async def test_a_composite_that_functions_call_unready_says_nothing_more_with_strict_upstream():
    needy = resource("Alpha", patch("status.address", "spec.forProvider.address", **REQUIRED))
    step = things.patch_step(needy, resource("Beta"))
    world = await running(await a_world(options=Options(strict_upstream=True)), pipeline(step))
    told = conditions.find(await composite_of(world), "Ready")
    assert (told["status"], told["reason"], told.get("message")) == ("False", "Creating", None)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("source", ["spec.forProvider", "spec.forProvider.class"])
async def test_a_status_that_the_definition_does_not_allow_is_told_and_strictly_in_the_event_alone(source, strict):
    """Of another type it is answered with 500, whose text the condition has in both: upstream shortens only those of a 422."""
    wrong = resource("Alpha", patch(source, "status.address", "ToCompositeFieldPath"))
    wrong["base"]["spec"]["forProvider"]["class"] = "too long"
    world = await a_world(options=Options(strict_upstream=strict))
    declared = copy.deepcopy(things.XRD)
    schema = declared["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["status"]["properties"]["address"]["maxLength"] = 3
    await world.apply(declared)
    await world.settle()
    await world.apply(pipeline(things.patch_step(wrong)), things.THING)
    await world.settle(seconds=1)
    [event] = {
        text for _, type_, reason, text in world.told.events if (type_, reason) == ("Warning", "ComposeResources")
    }
    assert event.startswith("cannot compose resources: ")
    assert "status.address" in event
    told = conditions.find(await composite_of(world), "Synced")
    assert (told["status"], told["reason"]) == ("False", "ReconcileError")
    short = "cannot compose resources: some resources were invalid, check events"
    assert told["message"] == (short if strict and source.endswith("class") else event)


@pytest.mark.parametrize("strict", [False, True])
async def test_a_composed_resource_without_its_annotation_stops_all_until_it_has_it_again(strict):
    world = await ready(await a_world(options=Options(strict_upstream=strict)))
    alpha = await world.one(things.COMPOSED, "Alpha")
    name = "crossplane.io/composition-resource-name"
    await world.patch(key_of(alpha), {"metadata": {"annotations": {name: None}}})
    await world.settle()
    told = conditions.find(await composite_of(world), "Synced")
    assert told["status"] == "False"
    words = f'cannot compose resources: encountered composed resource without required "{name}" annotation: '
    assert told["message"].startswith(words)
    await world.patch(key_of(alpha), {"metadata": {"annotations": {name: "alpha"}}})
    await world.settle()
    assert conditions.is_true(await composite_of(world), "Synced")
    assert (await world.one(things.COMPOSED, "Alpha"))["metadata"]["uid"] == alpha["metadata"]["uid"]


@pytest.mark.parametrize("strict", [False, True])
async def test_a_connection_detail_that_no_function_gives_any_more_stays_in_the_secret(strict):
    world = await ready(await a_world(options=Options(strict_upstream=strict)))
    reference = (await composite_of(world))["spec"]["writeConnectionSecretToRef"]
    secret = Key("v1", "Secret", reference["namespace"], reference["name"])
    before = (await world.cluster.get(secret))["data"]
    alpha, *others = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    alpha["connectionDetails"] = [{"name": "port", "type": "FromValue", "value": "5433"}]
    await world.apply(pipeline(things.patch_step(alpha, *others), things.READY_STEP))
    await world.settle()
    after = (await world.cluster.get(secret))["data"]
    assert after == before | {"port": base64.b64encode(b"5433").decode()}
    assert "host" in after


async def test_a_fatal_result_changes_nothing_and_is_told_in_synced():
    world = await ready(await a_world())
    before = {kind: await world.one(things.COMPOSED, kind) for kind in things.KINDS}
    await world.apply(things.changed(things.THING, size="huge"))
    await world.settle()
    assert {kind: await world.one(things.COMPOSED, kind) for kind in things.KINDS} == before
    composite = await composite_of(world)
    told = conditions.find(composite, "Synced")
    assert (told["status"], told["reason"]) == ("False", "ReconcileError")
    assert told["message"].startswith('cannot compose resources: pipeline step "patch" returned a fatal result: ')
    assert 'no entry for "huge" in the map' in told["message"]
    assert composite["status"]["address"] == "a.example.org"
    assert len(composite["spec"]["resourceRefs"]) == 3
    assert ("Warning", "ComposeResources") in world.told.reasons("XThing")
    await world.apply(things.THING)
    await world.settle()
    assert conditions.is_true(await composite_of(world), "Synced")


async def test_a_required_value_that_went_away_drops_nothing_that_exists():
    needy = resource("Alpha", patch("spec.region", "spec.forProvider.region", **REQUIRED))
    world = await a_world()
    claim = things.changed(things.THING, region="eu-west-1")
    await running(world, pipeline(things.patch_step(needy), things.READY_STEP), claim)
    before = await world.one(things.COMPOSED, "Alpha")
    await world.apply(things.THING)
    await world.settle()
    after = await world.one(things.COMPOSED, "Alpha")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert 'composed resource "alpha" exists, going on without what is required' in world.told.text()


async def test_a_template_that_left_takes_its_resource_along():
    world = await ready(await a_world())
    await world.apply(pipeline(things.patch_step(*things.COMPOSITION["spec"]["resources"][:2]), things.READY_STEP))
    await world.settle()
    assert await kinds_of(world) == {"Alpha", "Beta"}
    composite = await composite_of(world)
    assert [entry["kind"] for entry in composite["spec"]["resourceRefs"]] == ["Alpha", "Beta"]
    assert conditions.is_true(await claim_of(world), "Ready")


async def test_what_left_is_not_deleted_where_another_one_controls_it():
    world = await ready(await a_world())
    gamma = await world.one(things.COMPOSED, "Gamma")
    key = Key(things.COMPOSED, "Gamma", "", gamma["metadata"]["name"])
    await world.patch(key, {"metadata": {"ownerReferences": [await another_owner(world)]}})
    await world.apply(pipeline(things.patch_step(*things.COMPOSITION["spec"]["resources"][:2]), things.READY_STEP))
    await world.settle()
    assert "Gamma" in await kinds_of(world)


async def test_a_field_that_left_its_base_leaves_the_object_also_after_a_change_from_mode_resources():
    world = await ready(await a_world(), composition=things.COMPOSITION)
    before = await world.one(things.COMPOSED, "Alpha")
    assert before["spec"]["forProvider"] == {"class": "t1", "fixed": 1}
    await world.apply(things.changed(things.PIPELINE, resources=None))
    await world.patch(COMPOSITION, {"spec": {"resources": None, "mode": "Pipeline"}})
    await world.settle()
    alpha = resource("Alpha", patch("spec.size", "spec.forProvider.class"))
    await world.apply(pipeline(things.patch_step(alpha, resource("Beta"), resource("Gamma")), things.READY_STEP))
    await world.settle()
    after = await world.one(things.COMPOSED, "Alpha")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["forProvider"] == {"class": "small"}
    assert "address" not in (await composite_of(world))["status"]
    assert conditions.is_true(await claim_of(world), "Ready")


async def test_a_field_that_leaves_in_the_very_change_from_mode_resources_leaves_and_what_others_wrote_stays():
    world = await ready(await a_world(), composition=things.COMPOSITION)
    before = await world.one(things.COMPOSED, "Alpha")
    mark = {"metadata": {"annotations": {"crossplane.io/external-name": "a-1"}, "finalizers": ["example.org/mine"]}}
    key = Key(things.COMPOSED, "Alpha", "", before["metadata"]["name"])
    await world.patch(key, mark)  # as whoever manages it writes, under the same manager
    alpha = resource("Alpha", patch("spec.size", "spec.forProvider.class"))
    await world.cluster.update(
        {**await world.cluster.get(COMPOSITION), "spec": pipeline(things.patch_step(alpha, resource("Beta")))["spec"]}
    )
    await world.apply(things.changed(things.THING, size="large"))
    await world.settle()
    after = await world.one(things.COMPOSED, "Alpha")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["forProvider"] == {"class": "large"}
    assert after["metadata"]["annotations"]["crossplane.io/external-name"] == "a-1"
    assert after["metadata"]["finalizers"] == ["example.org/mine"]
    assert not [entry for entry in after["metadata"]["managedFields"] if "handover" in entry["manager"]]
    status = (await composite_of(world))["status"]
    assert "address" not in status
    assert {c["type"] for c in status["conditions"]} >= {"Ready", "Synced"}


async def of_an_older_crossplane():
    """A claim whose composite was written by plain updates of the manager "crossplane"; nobody has looked at it yet."""
    world = await a_world()
    await world.apply(things.XRD)
    await world.settle()
    claim = things.changed(things.THING, resourceRef={"apiVersion": things.VERSION, "kind": "XThing", "name": "old"})
    claim["metadata"]["labels"] = {"team": "a", "tier": "gold"}
    reference = {"apiVersion": things.VERSION, "kind": "Thing", "namespace": "team-a", "name": "db"}
    written = {
        "apiVersion": things.VERSION,
        "kind": "XThing",
        "metadata": {"name": "old", "labels": {"team": "a", "tier": "gold", "theirs": "x"}},
        "spec": {"size": "small", "region": "eu", "claimRef": reference},
    }
    await world.cluster.create(written)
    await world.apply(claim | {"spec": claim["spec"] | {"region": "eu"}}, things.COMPOSITION)
    return world, claim


async def leaves_what_the_claim_leaves(world, claim):
    composite = await composite_of(world)
    assert composite["metadata"]["name"] == "old"
    claim = copy.deepcopy(claim)
    del claim["metadata"]["labels"]["tier"]
    await world.apply(claim)
    await world.settle()
    composite = await composite_of(world)
    assert "tier" not in composite["metadata"]["labels"]
    assert composite["metadata"]["labels"]["theirs"] == "x"
    assert "region" not in composite["spec"]
    assert not [entry for entry in composite["metadata"]["managedFields"] if "handover" in entry["manager"]]


async def test_what_leaves_a_claim_leaves_a_composite_that_an_older_crossplane_wrote():
    world, claim = await of_an_older_crossplane()
    await world.settle()
    await leaves_what_the_claim_leaves(world, claim)


async def test_killed_at_any_write_of_that_it_leaves_all_the_same():
    world, claim = await of_an_older_crossplane()
    heirs = await deaths(world, World.settle)
    assert len(heirs) > 5
    for heir in heirs:
        await heir.settle()
        await leaves_what_the_claim_leaves(heir, claim)


async def test_killed_at_any_write_of_that_change_the_fields_can_still_leave():
    changed = await ready(await a_world(), composition=things.COMPOSITION)
    await changed.apply(things.changed(things.PIPELINE, resources=None))
    await changed.patch(COMPOSITION, {"spec": {"resources": None, "mode": "Pipeline"}})
    heirs = await deaths(changed, World.settle)
    assert len(heirs) > 8
    alpha = resource("Alpha", patch("spec.size", "spec.forProvider.class"))
    for world in heirs:
        await world.settle()
        await world.apply(pipeline(things.patch_step(alpha, resource("Beta"), resource("Gamma")), things.READY_STEP))
        await world.settle()
        found = await world.one(things.COMPOSED, "Alpha")
        assert found["spec"]["forProvider"] == {"class": "small"}
        assert not [entry for entry in found["metadata"]["managedFields"] if "handover" in entry["manager"]]
        assert "address" not in (await composite_of(world))["status"]


async def test_what_an_object_of_somebody_else_has_is_not_touched():
    world = await a_world()
    theirs = {
        "apiVersion": things.COMPOSED,
        "kind": "Alpha",
        "metadata": {"name": "shared", "ownerReferences": [await another_owner(world)]},
        "spec": {"forProvider": {"mine": 1}},
    }
    await world.cluster.create(theirs)
    alpha = resource("Alpha", base={"apiVersion": things.COMPOSED, "kind": "Alpha", "metadata": {"name": "shared"}})
    await running(world, pipeline(things.patch_step(alpha, resource("Beta")), things.READY_STEP))
    found = await world.one(things.COMPOSED, "Alpha")
    assert found["spec"] == {"forProvider": {"mine": 1}}
    told = conditions.find(await composite_of(world), "Synced")
    assert told["status"] == "False"
    assert "Unsynced resources: alpha" in told["message"]
    assert "Beta" in await kinds_of(world)


async def test_an_object_that_the_api_server_refuses_is_told_and_the_others_go_on():
    base = {"apiVersion": things.COMPOSED, "kind": "Alpha", "metadata": {"labels": {"a": "no value!"}}}
    step = things.patch_step(resource("Alpha", base=base), resource("Beta"))
    world = await running(await a_world(), pipeline(step, things.READY_STEP))
    assert await kinds_of(world) == {"Beta"}
    told = conditions.find(await composite_of(world), "Synced")
    assert told["message"].startswith("Unsynced resources: alpha")
    assert 'cannot apply composed resource "alpha"' in world.told.text()


@pytest.mark.parametrize("composition", [things.COMPOSITION, things.PIPELINE], ids=["resources", "pipeline"])
async def test_one_unknown_kind_holds_no_other_back_and_is_made_as_soon_as_it_is_served(composition):
    world = await World().install()
    alpha, *others = things.composed_crds()
    await world.apply(*others)
    await running(world, composition, things.THING)
    assert await world.one(things.COMPOSED, "Beta")
    assert await world.one(things.COMPOSED, "Gamma")
    composite = await composite_of(world)
    synced, ready = conditions.find(composite, "Synced"), conditions.find(composite, "Ready")
    assert synced["message"].startswith("Unsynced resources: alpha")
    assert 'no matches for kind "Alpha" in version "nop.example.org/v1alpha1"' in synced["message"]
    assert ready["status"] == "False"
    assert [entry["kind"] for entry in composite["spec"]["resourceRefs"]] == ["Alpha", "Beta", "Gamma"]
    await world.apply(alpha)
    await world.settle()
    assert await kinds_of(world) == {"Alpha", "Beta", "Gamma"}
    assert conditions.is_true(await composite_of(world), "Synced")


async def test_with_strict_upstream_an_unknown_kind_has_no_name_fails_the_run_and_says_nothing_of_readiness():
    world = await World(options=Options(strict_upstream=True)).install()
    alpha, *others = things.composed_crds()
    await world.apply(*others)
    await running(world, things.COMPOSITION, things.THING)
    assert await world.one(things.COMPOSED, "Gamma")
    composite = await composite_of(world)
    references = composite["spec"]["resourceRefs"]
    assert [("name" in entry, entry["kind"]) for entry in references] == [
        (False, "Alpha"),
        (True, "Beta"),
        (True, "Gamma"),
    ]
    assert {each["type"]: each["status"] for each in composite["status"]["conditions"]} == {"Synced": "False"}
    assert ("Warning", "WatchComposedResources") in world.told.reasons("XThing")
    await world.apply(alpha)
    await world.settle()
    assert await kinds_of(world) == {"Alpha", "Beta", "Gamma"}


@pytest.mark.parametrize("strict", [False, True])
async def test_a_right_that_is_missing_to_compose_is_an_event_of_its_own(strict):
    world = await a_world(options=Options(poll_interval=60.0, strict_upstream=strict))
    apply = world.cluster.apply

    async def refusing(obj, **how):
        if obj["kind"] == "Beta":
            raise Denied("betas is forbidden: no right", mend="grant it")
        return await apply(obj, **how)

    world.cluster.apply = refusing
    await running(world, things.PIPELINE, things.THING)
    message = conditions.find(await composite_of(world), "Synced")["message"]
    assert 'cannot apply composed resource "beta": betas is forbidden' in message
    reasons = world.told.reasons("XThing")
    assert ("Warning", "ComposeResources") in reasons
    assert (("Warning", "RoleBasedAccessControl") in reasons) is not strict, "v1.20 has no such event"
    world.cluster.apply = apply
    await world.settle(seconds=120)
    assert conditions.is_true(await composite_of(world), "Synced")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("composition", [things.COMPOSITION, things.PIPELINE], ids=["resources", "pipeline"])
async def test_what_is_refused_for_its_kind_or_place_keeps_no_other_from_being_applied(composition, strict):
    """control-plane.md §3.5: upstream ends there, in an order that is another one each time, so all others come to be."""
    world = await a_world(options=Options(strict_upstream=strict))
    refusals = {
        "Alpha": Denied("alphas is forbidden: no right", mend="grant it"),
        "Beta": NotFound('namespaces "nowhere" not found', mend="create that namespace"),
    }
    apply, create = world.cluster.apply, world.cluster.create

    def refusing(write):
        async def written(obj, **how):
            if refusal := refusals.get(obj["kind"]):
                raise refusal
            return await write(obj, **how)

        return written

    world.cluster.apply, world.cluster.create = refusing(apply), refusing(create)
    await running(world, composition, things.THING)
    assert await kinds_of(world) == {"Gamma"}
    message = conditions.find(await composite_of(world), "Synced")["message"]
    assert message.startswith('cannot compose resources: cannot apply composed resource "alpha": alphas is forbidden')


@pytest.mark.parametrize("strict", [False, True])
async def test_what_the_api_server_cannot_read_as_its_kind_ends_the_run_where_upstream_does(strict):
    """control-plane.md §3.5: of what is refused only a 422 is tolerated; this is answered with 500."""
    world = await a_world(options=Options(strict_upstream=strict))
    apply, text = world.cluster.apply, "failed to create typed patch object: .spec.size: expected numeric"

    async def refusing(obj, **how):
        if obj["kind"] == "Alpha":
            raise Misshapen(text)
        return await apply(obj, **how)

    world.cluster.apply = refusing
    await running(world)
    told = {each["type"]: each for each in (await composite_of(world))["status"]["conditions"]}
    assert await kinds_of(world) == (set() if strict else {"Beta", "Gamma"})
    begin = "cannot compose resources: " if strict else "Unsynced resources: alpha; because "
    assert told["Synced"]["message"].startswith(f'{begin}cannot apply composed resource "alpha": {text}')
    assert ("Ready" in told) is not strict


async def test_a_kind_that_is_not_served_for_a_while_is_not_forgotten():
    needy = resource("Alpha", patch("spec.region", "spec.forProvider.region", **REQUIRED))
    steps = (things.patch_step(needy, resource("Beta")), things.READY_STEP)
    world = await running(await a_world(), pipeline(*steps), things.changed(things.THING, region="x"))
    crd = Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "alphas.nop.example.org")
    await world.cluster.delete(crd)
    await world.settle()
    await world.apply(things.THING)
    await world.settle(seconds=600)
    composite = await composite_of(world)
    assert [entry["kind"] for entry in composite["spec"]["resourceRefs"]] == ["Alpha", "Beta"]
    assert 'not adding new composed resource "alpha"' in conditions.find(composite, "Ready")["message"]
    await world.apply(*things.composed_crds(), things.changed(things.THING, region="y"))
    await world.settle(seconds=600)
    assert await kinds_of(world) == {"Alpha", "Beta"}


async def test_an_environment_is_fetched_and_its_values_patched():
    configs = {
        "step": "environment",
        "functionRef": {"name": "crossplane-contrib-function-environment-configs"},
        "input": {
            "apiVersion": "environmentconfigs.fn.crossplane.io/v1beta1",
            "kind": "Input",
            "spec": {"environmentConfigs": [{"type": "Reference", "ref": {"name": "site"}}]},
        },
    }
    alpha = resource("Alpha", patch("zone.name", "spec.forProvider.zone", "FromEnvironmentFieldPath"))
    world = await a_world()
    await running(world, pipeline(configs, things.patch_step(alpha), things.READY_STEP))
    message = conditions.find(await composite_of(world), "Synced")["message"]
    assert 'EnvironmentConfig "site" not found' in message
    site = {
        "apiVersion": "apiextensions.crossplane.io/v1beta1",
        "kind": "EnvironmentConfig",
        "metadata": {"name": "site"},
        "data": {"zone": {"name": "b"}},
    }
    await world.apply(site)
    await world.settle()
    alpha = await world.one(things.COMPOSED, "Alpha")
    assert alpha["spec"]["forProvider"] == {"zone": "b"}
    await world.apply({**site, "data": {"zone": {"name": "c"}}})
    await world.settle()
    alpha = await world.one(things.COMPOSED, "Alpha")
    assert alpha["spec"]["forProvider"] == {"zone": "c"}
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=60)
    assert await kinds_of(world) == set()
    assert world.interests.of(site) == []


async def test_an_environment_config_that_loses_its_label_is_no_longer_in_the_environment():
    selector = {"mode": "Multiple", "matchLabels": [{"key": "stage", "type": "Value", "value": "prod"}]}
    configs = {
        "step": "environment",
        "functionRef": {"name": "function-environment-configs"},
        "input": {
            "apiVersion": "environmentconfigs.fn.crossplane.io/v1beta1",
            "kind": "Input",
            "spec": {
                "defaultData": {"zone": "none"},
                "environmentConfigs": [{"type": "Selector", "selector": selector}],
            },
        },
    }
    alpha = resource("Alpha", patch("zone", "spec.forProvider.zone", "FromEnvironmentFieldPath"))
    site = {
        "apiVersion": "apiextensions.crossplane.io/v1beta1",
        "kind": "EnvironmentConfig",
        "metadata": {"name": "site", "labels": {"stage": "prod"}},
        "data": {"zone": "b"},
    }
    world = await a_world()
    await world.apply(site)
    await running(world, pipeline(configs, things.patch_step(alpha), things.READY_STEP))
    assert (await world.one(things.COMPOSED, "Alpha"))["spec"]["forProvider"] == {"zone": "b"}
    await world.apply({**site, "metadata": {"name": "site"}})
    await world.settle()
    assert (await world.one(things.COMPOSED, "Alpha"))["spec"]["forProvider"] == {"zone": "none"}
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=60)
    assert world.interests.of(site) == []


def templated(template):
    given = {"apiVersion": "gotemplating.fn.crossplane.io/v1beta1", "kind": "GoTemplate", "source": "Inline"}
    step = {"step": "render", "functionRef": {"name": "function-go-templating"}}
    return step | {"input": given | {"inline": {"template": template}}}


TEMPLATE = f"""
apiVersion: meta.gotemplating.fn.crossplane.io/v1alpha1
kind: ExtraResources
requirements:
  site: {{apiVersion: v1, kind: ConfigMap, matchName: site, namespace: team-a}}
---
{{{{ with getExtraResources . "site" }}}}
apiVersion: {things.COMPOSED}
kind: Alpha
metadata:
  annotations:
    {{{{ setResourceNameAnnotation "alpha" }}}}
    gotemplating.fn.crossplane.io/ready: {{{{ eq (getResourceCondition "Ready" (getComposedResource $ "alpha")).Status "True" | ternary "True" "False" | quote }}}}
spec:
  forProvider:
    zone: {{{{ (first .).resource.data.zone }}}}
{{{{ end }}}}
---
apiVersion: {things.VERSION}
kind: XThing
status:
  address: {{{{ dig "status" "atProvider" "address" "pending" (getComposedResource . "alpha") }}}}
"""


async def test_a_template_is_rendered_with_what_it_asks_for_and_again_when_that_changes():
    world = await a_world()
    await running(world, pipeline(templated(TEMPLATE)))
    assert await kinds_of(world) == set()
    assert (await composite_of(world))["status"]["address"] == "pending"
    site = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "site", "namespace": "team-a"},
        "data": {"zone": "b"},
    }
    await world.apply(site)
    await world.settle()
    assert (await world.one(things.COMPOSED, "Alpha"))["spec"]["forProvider"] == {"zone": "b"}
    assert not conditions.is_true(await composite_of(world), "Ready")
    await world.apply(site | {"data": {"zone": "c"}})
    await things.report(world, "Alpha")
    await world.settle()
    assert (await world.one(things.COMPOSED, "Alpha"))["spec"]["forProvider"] == {"zone": "c"}
    composite = await composite_of(world)
    assert conditions.is_true(composite, "Ready")
    assert composite["status"]["address"] == "a.example.org"


ALPHA = f"""
apiVersion: {things.COMPOSED}
kind: Alpha
metadata:
  annotations:
    {{{{ setResourceNameAnnotation "alpha" }}}}
"""


async def test_a_template_that_fails_leaves_all_as_it_is_and_says_where():
    world = await a_world()
    step = templated(
        f"{ALPHA}---\n{{{{ if eq .observed.composite.resource.spec.region `bad` }}}}{{{{ fail `no such region` }}}}{{{{ end }}}}"
    )
    await running(world, pipeline(step))
    assert await kinds_of(world) == {"Alpha"}
    await world.apply(things.changed(things.THING, region="bad"))
    await world.settle()
    assert await kinds_of(world) == {"Alpha"}
    told = conditions.find(await composite_of(world), "Synced")
    assert told["status"] == "False"
    assert 'executing "manifests" at <fail `no such region`>: error calling fail: no such region' in told["message"]


@pytest.mark.parametrize(
    ("step", "texts"),
    [
        (templated("a\n{{ if }}"), ["spec.pipeline[0].input.inline.template", "manifests:2:6: missing value for if"]),
        (
            {"step": "x", "functionRef": {"name": "function-kcl"}},
            ["spec.pipeline[0].functionRef.name", "function-kcl", "function-patch-and-transform"],
        ),
        (
            things.patch_step(resource("Alpha", {"type": "PatchSet", "patchSetName": "comon"}), resource("Beta", {})),
            [
                "spec.pipeline[0].input.resources[0].patches[0].patchSetName",
                "spec.pipeline[0].input.resources[1].patches[0].fromFieldPath",
            ],
        ),
    ],
    ids=["a template", "unknown function", "two mistakes"],
)
async def test_mistakes_in_a_step_are_told_on_the_composition_before_there_is_a_claim(step, texts):
    world = await a_world()
    await world.apply(things.XRD)
    await world.settle()
    await world.apply(pipeline(step))
    await world.settle()
    told = conditions.find(await world.cluster.get(COMPOSITION), "Synced")
    assert told["status"] == "False"
    for text in texts:
        assert text in told["message"]
    assert ("Warning", "InvalidComposition") in world.told.reasons("Composition")


async def test_a_function_object_says_what_its_name_means():
    world = await a_world()
    step = {**things.patch_step(resource("Alpha")), "functionRef": {"name": "our-patches"}}
    await running(world, pipeline(step, things.READY_STEP))
    assert await kinds_of(world) == set()
    package = "registry.example.org/mirror/function-patch-and-transform:v0.9.0"
    declared = {"apiVersion": "pkg.crossplane.io/v1", "kind": "Function", "metadata": {"name": "our-patches"}}
    await world.apply({**declared, "spec": {"package": package}})
    await world.settle(seconds=1)
    assert await kinds_of(world) == {"Alpha"}
    told = conditions.find(await world.cluster.get(COMPOSITION), "Synced")
    assert told["status"] == "True"


async def test_a_pipeline_without_a_mode_is_one():
    composition = things.changed(things.PIPELINE, mode=None)
    world = await ready(await a_world(), composition=composition)
    assert conditions.is_true(await claim_of(world), "Ready")


# --- what functions tell ------------------------------------------------------------------------------------


class Told:
    """A function that answers what a test has it answer."""

    def __init__(self):
        self.results, self.conditions, self.ready = [], [], None

    def check(self, given):
        return []

    def compile(self, given):
        return self.answer

    def answer(self, request):
        composite = replace(request.desired.composite, ready=self.ready)
        state = pipelines.State(composite, request.desired.resources)
        return pipelines.Response(state, results=self.results, conditions=self.conditions)


async def told_world(told, **how):
    def find(name):
        return told if name == "told" else finder()(name)

    world = await a_world(compiled=lambda revision, images: composition.compile(revision, find), **how)
    step = {"step": "tell", "functionRef": {"name": "told"}}
    return await running(world, pipeline(things.patch_step(resource("Alpha")), things.READY_STEP, step))


def condition(status, *, to_claim=True, type_="DatabaseReady"):
    return pipelines.Told(conditions.Condition(type_, status, "Said", f"it is {status}"), to_claim=to_claim)


async def again(world):
    """Have the composite reconciled: its claim changes."""
    spec = (await claim_of(world))["spec"]
    await world.patch(things.CLAIM, {"spec": {"region": f"{spec.get('region', '')}x"}})
    await world.settle()


async def test_results_become_events_with_the_name_of_their_step():
    told = Told()
    told.results = [
        pipelines.Result("Normal", "all is well"),
        pipelines.Result("Warning", "it is late", reason="Late", to_claim=True),
    ]
    world = await told_world(told)
    events = {(key.split()[0], *rest) for key, *rest in world.told.events}
    assert ("XThing", "Normal", "ComposeResources", 'Pipeline step "tell": all is well') in events
    assert ("XThing", "Warning", "Late", 'Pipeline step "tell": it is late') in events
    assert ("Thing", "Warning", "Late", "it is late") in events
    assert not [event for event in events if event[0] == "Thing" and "well" in event[-1]]
    assert conditions.is_true(await composite_of(world), "Synced")


async def test_conditions_are_set_on_the_composite_and_shown_on_the_claim_if_meant_for_it():
    told = Told()
    told.conditions = [
        condition("True"),
        condition("False", to_claim=False, type_="Internal"),
        condition("False", type_="Ready"),
    ]
    world = await told_world(told)
    await things.report(world, "Alpha")
    await world.settle()
    composite, claim = await composite_of(world), await claim_of(world)
    assert composite["status"]["claimConditionTypes"] == ["DatabaseReady"]
    assert conditions.find(composite, "Internal")["status"] == "False"
    assert conditions.find(claim, "DatabaseReady")["message"] == "it is True"
    assert conditions.find(claim, "Internal") is None
    assert conditions.is_true(composite, "Ready")
    before = world.cluster.writes
    await world.settle(seconds=1000)
    assert world.cluster.writes == before


async def test_what_was_told_is_unknown_after_a_fatal_result_but_for_what_came_before_it():
    told = Told()
    told.conditions = [condition("True"), condition("True", type_="Other")]
    world = await told_world(told)
    told.conditions = [condition("False")]
    told.results = [pipelines.Result("Warning", "first"), pipelines.Result("Fatal", "no more")]
    await again(world)
    composite = await composite_of(world)
    assert conditions.find(composite, "DatabaseReady")["status"] == "False"
    lost = conditions.find(composite, "Other")
    assert (lost["status"], lost["reason"]) == ("Unknown", "FatalError")
    assert "returned a fatal result: no more" in conditions.find(composite, "Synced")["message"]
    assert 'Pipeline step "tell": first' in world.told.text()
    assert len(await world.cluster.list(things.COMPOSED, "Alpha")) == 1
    told.results = []
    told.conditions = [condition("True"), condition("True", type_="Other")]
    await again(world)
    assert conditions.is_true(await composite_of(world), "Other")


@pytest.mark.parametrize("strict", [False, True])
async def test_types_of_conditions_that_came_with_v2_are_functions_own_to_v1(strict):
    told = Told()
    told.conditions = [condition("False", type_=type_) for type_ in ("Ready", "Synced", "Healthy", "UpToDate")]
    world = await told_world(told, options=Options(strict_upstream=strict))
    composite = await composite_of(world)
    assert conditions.is_true(composite, "Synced")
    assert conditions.find(composite, "Healthy") is None
    assert (conditions.find(composite, "UpToDate") is not None) is strict


@pytest.mark.parametrize(("ready", "status"), [(True, "True"), (False, "False")])
async def test_what_functions_say_of_the_composite_overrules_what_it_is_composed_of(ready, status):
    told = Told()
    told.ready = ready
    world = await told_world(told, options=Options(strict_upstream=True))
    if not ready:
        await things.report(world, "Alpha")
        await world.settle()
    found = conditions.find(await composite_of(world), "Ready")
    assert (found["status"], found.get("message")) == (status, None)


async def test_credentials_are_handed_to_their_step():
    told, asked = Told(), []
    answer = told.answer

    def remember(request):
        asked.append(request.credentials)
        return answer(request)

    told.answer = remember
    world = await a_world(compiled=lambda revision, images: composition.compile(revision, lambda name: told))
    reference = {"namespace": "team-a", "name": "key"}
    step = {
        "step": "tell",
        "functionRef": {"name": "told"},
        "credentials": [{"name": "aws", "source": "Secret", "secretRef": reference}],
    }
    await running(world, pipeline(step))
    message = conditions.find(await composite_of(world), "Synced")["message"]
    assert 'cannot get Composition pipeline step "tell" credential "aws" from Secret' in message
    assert asked == []
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "team-a"}}
    await world.apply({**secret, "stringData": {"id": "me"}})
    await world.settle(seconds=1)
    assert asked[-1] == {"aws": {"id": b"me"}}


# --- composites of v2 -----------------------------------------------------------------------------------------

XAPP = things.APP


async def v2_world(*resources):
    world = await a_world()
    await world.apply(things.v2_definition("Namespaced"))
    await world.settle()
    composition = pipeline(things.patch_step(*resources), things.READY_STEP)
    composition["spec"]["compositeTypeRef"] = {"apiVersion": things.VERSION, "kind": "App"}
    await world.apply(composition, things.v2_composite())
    return await world.settle()


def config_map(**metadata):
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}}
    detail = {"name": "url", "type": "FromValue", "value": "x"}
    return {
        "name": "settings",
        "base": base,
        "patches": [patch("spec.size", "data.size")],
        "connectionDetails": [detail],
    }


async def test_a_composite_in_a_namespace_is_composed_of_what_is_there_and_of_its_secret():
    world = await v2_world(config_map(namespace="elsewhere"))
    [settings] = await world.cluster.list("v1", "ConfigMap", namespace="team-a")
    assert settings["data"] == {"size": "small"}
    assert settings["metadata"]["labels"] == {"crossplane.io/composite": "app"}
    assert ("Warning", "NamespaceOverridden") in world.told.reasons("App")
    app = await world.cluster.get(XAPP)
    assert conditions.is_true(app, "Ready")
    references = app["spec"]["crossplane"]["resourceRefs"]
    assert [(entry["kind"], "namespace" in entry) for entry in references] == [("ConfigMap", False), ("Secret", False)]
    secret = await world.cluster.get(Key("v1", "Secret", "team-a", "app-connection"))
    assert secret["data"] == {"url": "eA=="}
    assert secret["type"] == "connection.crossplane.io/v1alpha1"
    before = world.cluster.writes
    await world.settle(seconds=1000)
    assert world.cluster.writes == before


async def test_a_composite_in_a_namespace_can_not_own_what_is_in_none():
    world = await v2_world(resource("Alpha"), config_map())
    message = conditions.find(await world.cluster.get(XAPP), "Synced")["message"]
    assert 'cannot apply cluster scoped composed resource "alpha"' in message
    assert await world.cluster.list("v1", "ConfigMap", namespace="team-a") == []


async def test_a_name_that_no_object_may_have_ends_the_run_before_anything_is_made():
    """control-plane.md §3.5, step 4."""
    named = {"name": "named", "base": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_Valid"}}}
    world = await v2_world(named, config_map())
    app = await world.cluster.get(XAPP)
    message = conditions.find(app, "Synced")["message"]
    assert 'cannot apply composed resource "named": "Not_Valid" is no name of a ConfigMap. Mend: use lower' in message
    assert "resourceRefs" not in app["spec"]["crossplane"]
    assert await world.cluster.list("v1", "ConfigMap", namespace="team-a") == []


async def test_killed_at_any_write_the_next_process_ends_in_the_same_state():
    heirs = await deaths(await a_world(), ready)
    assert len(heirs) > 20
    for world in heirs:
        await ready(world)
        assert [len(await world.cluster.list(things.COMPOSED, kind)) for kind in things.KINDS] == [1, 1, 1]
        assert len(await world.cluster.list(things.VERSION, "XThing")) == 1
        assert conditions.is_true(await claim_of(world), "Ready")
        assert await secret_of(world) == {"host": "a.example.org", "port": "5432"}


# --- what Crossplane began to hand over, or wrote in another version


async def without_owners(world, key):
    """As Crossplane's first step leaves it: nothing is tracked."""
    return await world.patch(key, [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}])


def managers(obj):
    return {entry["manager"] for entry in obj["metadata"]["managedFields"]}


async def test_a_handover_that_crossplane_has_left_half_done_is_ended():
    """§3.8: nothing was tracked, so the API server gave it all to `before-first-apply`, which holds on to what we no longer apply."""
    world = await ready(await a_world())
    alpha, composite = key_of(await world.one(things.COMPOSED, "Alpha")), key_of(await composite_of(world))
    assert (await world.cluster.get(alpha))["spec"]["forProvider"]["class"]
    for key in (alpha, composite):
        await without_owners(world, key)
        await world.settle(seconds=60)
        found = await world.cluster.get(key)
        assert "before-first-apply" not in managers(found)
        assert any(each.startswith("apiextensions.crossplane.io/c") for each in managers(found))
    step = things.patch_step(resource("Alpha"), resource("Beta"), resource("Gamma"))
    await world.apply(pipeline(step, things.READY_STEP))
    await world.settle()
    assert "class" not in (await world.cluster.get(alpha))["spec"].get("forProvider", {})


async def test_what_an_older_crossplane_wrote_in_several_versions_leaves_with_its_template_too():
    world = await ready(await a_world(), composition=things.COMPOSITION)
    alpha = key_of(await world.one(things.COMPOSED, "Alpha"))
    entries = (await world.cluster.get(alpha))["metadata"]["managedFields"]
    (index,) = [
        index for index, each in enumerate(entries) if each["manager"] == "crossplane" and "f:spec" in each["fieldsV1"]
    ]
    fields = entries[index]["fieldsV1"]
    newer, older = ({"f:forProvider": {name: {}}} for name in ("f:class", "f:fixed"))
    entries[index : index + 1] = [
        entries[index] | {"fieldsV1": fields | {"f:spec": newer}},
        entries[index] | {"apiVersion": "nop.example.org/v1alpha0", "fieldsV1": {"f:spec": older}},
    ]
    await world.patch(alpha, [{"op": "replace", "path": "/metadata/managedFields", "value": entries}])
    step = things.patch_step(resource("Alpha"), resource("Beta"), resource("Gamma"))
    await world.cluster.update(
        {**await world.cluster.get(COMPOSITION), "spec": pipeline(step, things.READY_STEP)["spec"]}
    )
    await world.settle()
    found = await world.cluster.get(alpha)
    assert found["spec"] == {"forProvider": {}}
    assert not [each for each in managers(found) if "handover" in each]


OUTER = {
    **things.XRD,
    "metadata": {"name": "xouters.example.org"},
    "spec": {
        **{name: value for name, value in things.XRD["spec"].items() if name != "claimNames"},
        "names": {"kind": "XOuter", "plural": "xouters"},
    },
}


def outer_pipeline(*resources):
    spec = {"compositeTypeRef": {"apiVersion": things.VERSION, "kind": "XOuter"}, "mode": "Pipeline"}
    spec["pipeline"] = [things.patch_step(*resources), things.READY_STEP]
    return things.COMPOSITION | {"metadata": {"name": "outer"}, "spec": spec}


def written(kind, name, resource, owner, spec):
    """As a composite of Crossplane writes it by a plain update."""
    metadata = {
        "name": name,
        "labels": {"crossplane.io/composite": "o"},
        "annotations": {"crossplane.io/composition-resource-name": resource},
        "ownerReferences": [owner_reference(owner)] if owner else [],
    }
    api_version = things.COMPOSED if kind in things.KINDS else things.VERSION
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("inner", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])
async def test_a_composite_that_an_older_crossplane_composed_keeps_what_it_has_made_when_its_own_becomes_a_pipeline(
    strict, inner
):
    world = await a_world(options=Options(strict_upstream=strict, poll_interval=60.0))
    await world.apply(things.XRD, OUTER)
    await world.settle()
    refs = [{"apiVersion": things.COMPOSED, "kind": kind, "name": f"o-{kind.lower()}"} for kind in things.KINDS]
    composed = {"size": "small", "region": "eu", "compositionRef": {"name": "thing"}, "resourceRefs": refs}
    nested = {"apiVersion": things.VERSION, "kind": "XThing", "name": "o-inner"}
    chosen = {"size": "small", "compositionRef": {"name": "outer"}, "resourceRefs": [nested]}
    outer = await world.cluster.create(written("XOuter", "o", "", None, chosen))
    thing = await world.cluster.create(written("XThing", "o-inner", "inner", outer, composed))
    for kind in things.KINDS:
        await world.cluster.create(written(kind, f"o-{kind.lower()}", kind.lower(), thing, {"forProvider": {}}))
    base = {"apiVersion": things.VERSION, "kind": "XThing", "spec": {"size": "small"}}
    await world.apply(inner, outer_pipeline({"name": "inner", "base": base}))
    await world.settle(seconds=120)
    found = await world.one(things.VERSION, "XThing")
    assert "region" not in found["spec"], "what is composed no longer has it"
    assert sorted(ref["name"] for ref in found["spec"]["resourceRefs"]) == ["o-alpha", "o-beta", "o-gamma"]
    for kind in things.KINDS:
        assert (await world.one(things.COMPOSED, kind))["metadata"]["name"] == f"o-{kind.lower()}"


@pytest.mark.parametrize("composition", [things.COMPOSITION, things.PIPELINE], ids=["resources", "pipeline"])
@pytest.mark.parametrize("refusal", [Misshapen, Rejected])
@pytest.mark.parametrize("is_there", [False, True])
async def test_what_is_refused_is_applied_again_soon_for_its_kind_or_a_policy_may_change(
    composition, refusal, is_there
):
    """control-plane.md §3.9: upstream tries again after 30 s at most, and looks at each composite every minute."""
    world = await a_world()
    if is_there:
        await running(world, composition)
        assert await kinds_of(world) == {"Alpha", "Beta", "Gamma"}
        [alpha] = await world.cluster.list(things.COMPOSED, "Alpha")
        await world.cluster.delete(key_of(alpha))
    apply, create = world.cluster.apply, world.cluster.create

    def refusing(write):
        async def written(obj, **how):
            if obj["kind"] == "Alpha":
                raise refusal("no Alpha for the moment")
            return await write(obj, **how)

        return written

    world.cluster.apply, world.cluster.create = refusing(apply), refusing(create)
    await (world.settle() if is_there else running(world, composition))
    await world.settle(seconds=600)
    assert await kinds_of(world) == {"Beta", "Gamma"}
    world.cluster.apply, world.cluster.create = apply, create
    await world.settle(seconds=60)
    assert await kinds_of(world) == {"Alpha", "Beta", "Gamma"}


@pytest.mark.parametrize("refusal", [Misshapen, Rejected])
async def test_a_claim_whose_composite_is_refused_is_tried_again_soon_for_its_kind_may_be_the_later_to_change(refusal):
    """A definition's edit reaches the claim's kind and the composite's one after the other: what the first has taken, the second will."""
    world = await ready(await a_world())
    apply = world.cluster.apply

    async def refusing(obj, **how):
        if obj["kind"] == "XThing" and how["manager"] == flow.MANAGER:
            raise refusal("spec.region: not known yet")
        return await apply(obj, **how)

    world.cluster.apply = refusing
    await world.patch(things.CLAIM, {"spec": {"region": "new"}})
    await world.settle()
    assert conditions.find(await claim_of(world), "Synced")["status"] == "False"
    world.cluster.apply = apply
    await world.settle(seconds=60)
    assert (await composite_of(world))["spec"]["region"] == "new"
    assert conditions.is_true(await claim_of(world), "Synced")
