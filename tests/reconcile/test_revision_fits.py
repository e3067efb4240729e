"""A Composition whose patches do not fit the kinds at their ends: told at once, and refused where its author asks for it."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import conditions, typecheck
from groundplane.core.conversion import pipelines
from groundplane.core.objects import Key
from groundplane.errors import Rejected
from groundplane.ports import Options
from groundplane.reconcile.doubts import READ
from groundplane.reconcile.revision import DECLARED, FITS
from tests.reconcile import things
from tests.world import World

KEY = Key("apiextensions.crossplane.io/v1", "Composition", "", "thing")


async def a_world(**how):
    world = await World(**how).install()
    await world.apply(*things.composed_crds(), things.XRD)
    return await world.settle()


def composition(*, path="spec.size", mode=None, kind="Alpha"):
    found = copy.deepcopy(things.COMPOSITION)
    found["spec"]["resources"][0]["patches"][0]["fromFieldPath"] = path
    found["spec"]["resources"][0]["base"]["kind"] = kind
    if mode:
        found["metadata"]["annotations"] = {typecheck.MODE_ANNOTATION: mode}
    return found


async def told(world, type_):
    return conditions.find(await world.cluster.get(KEY), type_)


async def revisions(world):
    return await world.cluster.list(KEY.api_version, "CompositionRevision")


async def test_a_misfit_is_told_and_used_all_the_same():
    world = await a_world()
    await world.apply(composition(path="spec.sise"))
    await world.settle()
    condition = await told(world, FITS)
    assert (condition["status"], condition["reason"]) == ("False", "PatchesDoNotFit")
    assert condition["message"] == (
        'spec.resources[0].patches[0].fromFieldPath: spec.sise: spec has no field "sise" (did you mean size?)'
    )
    assert ("Warning", "PatchesDoNotFit") in world.told.reasons("Composition")
    assert len(await revisions(world)) == 1
    assert (await told(world, "Ready"))["status"] == "True"
    await world.apply(composition())
    await world.settle()
    assert (await told(world, FITS))["status"] == "True"
    assert (await told(world, "Ready"))["status"] == "True"


async def test_nothing_is_said_of_what_fits():
    world = await a_world()
    await world.apply(composition())
    await world.settle()
    assert await told(world, FITS) is None


@pytest.mark.parametrize("mode", ["loose", "strict"])
async def test_a_misfit_gets_no_revision_where_it_must_fit(mode):
    world = await a_world()
    await world.apply(composition())
    await world.settle()
    await world.apply(composition(path="spec.sise", mode=mode))
    await world.settle()
    assert len(await revisions(world)) == 1
    synced = await told(world, "Synced")
    assert synced["status"] == "False"
    assert 'spec has no field "sise"' in synced["message"]
    assert (await told(world, "Ready"))["status"] == "False"
    await world.apply(composition(mode=mode))
    await world.settle()
    assert len(await revisions(world)) == 2
    assert (await told(world, "Ready"))["status"] == "True"
    assert (await told(world, "Synced"))["status"] == "True"


async def test_strict_waits_for_a_kind_that_is_not_there():
    world = await a_world()
    await world.apply(composition(mode="strict", kind="Delta"))
    await world.settle()
    assert await revisions(world) == []
    assert "the schema of Delta" in (await told(world, "Synced"))["message"]
    (crd,) = [c for c in copy.deepcopy(things.composed_crds()) if c["spec"]["names"]["kind"] == "Alpha"]
    crd["metadata"]["name"] = "deltas.nop.example.org"
    crd["spec"]["names"] = {"kind": "Delta", "plural": "deltas"}
    await world.apply(crd)
    await world.settle(seconds=30)
    assert len(await revisions(world)) == 1


@pytest.mark.parametrize("mode", ["warn", "loose"])
async def test_a_kind_that_is_not_there_is_no_misfit(mode):
    world = await a_world()
    await world.apply(composition(mode=mode, kind="Delta"))
    await world.settle()
    assert len(await revisions(world)) == 1
    assert await told(world, FITS) is None


async def test_an_unknown_mode_is_refused():
    world = await a_world()
    await world.apply(composition(mode="strickt"))
    await world.settle()
    assert await revisions(world) == []
    assert "did you mean strict?" in (await told(world, "Synced"))["message"]


async def test_with_strict_upstream_nothing_is_written_on_the_composition():
    world = await a_world(options=Options(strict_upstream=True))
    await world.apply(composition(path="spec.sise"))
    await world.settle()
    assert "status" not in await world.cluster.get(KEY)
    assert len(await revisions(world)) == 1


async def test_a_misfit_that_stays_is_told_once_and_written_once():
    world = await a_world()
    await world.apply(composition(path="spec.sise"))
    await world.settle()
    before = (await world.cluster.get(KEY))["metadata"]["resourceVersion"]
    await world.settle(seconds=3600)
    assert (await world.cluster.get(KEY))["metadata"]["resourceVersion"] == before
    assert world.told.text().count("PatchesDoNotFit") == 1


async def test_the_steps_of_a_pipeline_are_checked_too():
    world = await a_world()
    piped = composition(path="spec.sise", mode="strict")
    resources = piped["spec"].pop("resources")
    piped["spec"] |= {
        "mode": "Pipeline",
        "pipeline": [
            {
                "step": "all",
                "functionRef": {"name": "function-patch-and-transform"},
                "input": {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": resources},
            }
        ],
    }
    await world.apply(piped)
    await world.settle()
    assert await revisions(world) == []
    assert "spec.pipeline[0].input.resources[0].patches[0].fromFieldPath" in (await told(world, "Synced"))["message"]


@pytest.mark.parametrize("mode", ["warn", "loose", "strict"])
async def test_a_base_that_does_not_fit_is_told_and_refused_in_mode_strict_alone(mode):
    world = await World().install()
    crds = things.composed_crds()
    size = {"type": "object", "properties": {"forceDestroy": {"type": "boolean"}, "size": {"type": "string"}}}
    for crd in crds:
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] |= {
            "properties": {"options": size}
        }
    await world.apply(*crds, things.XRD)
    await world.settle()
    wanted = composition(mode=mode)
    base = wanted["spec"]["resources"][0]["base"]
    base["spec"] = {"options": {"forceDestory": True}}
    await world.apply(wanted)
    await world.settle()
    said = (
        'spec.resources[0].base.spec.options.forceDestory: spec.options has no field "forceDestory" '
        "(did you mean forceDestroy?)"
    )
    if mode == "strict":
        assert await revisions(world) == []
        assert said in (await told(world, "Synced"))["message"]
        return
    condition = await told(world, FITS)
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "BasesDoNotFit", said)
    assert ("Warning", "BasesDoNotFit") in world.told.reasons("Composition")
    assert len(await revisions(world)) == 1


# --- and its definition


MODERN = things.changed(things.XRD, scope="Namespaced", claimNames=None) | {
    "apiVersion": "apiextensions.crossplane.io/v2",
    "metadata": {"name": "xthings.example.org"},
}


async def mismatch(world):
    return (await told(world, DECLARED) or {}).get("message", "")


@pytest.mark.parametrize("first", ["definition", "composition"])
async def test_mode_resources_for_a_composite_of_v2_is_told_without_webhooks(first):
    world = await World().install()
    native = copy.deepcopy(things.COMPOSITION)
    for each in (MODERN, native) if first == "definition" else (native, MODERN):
        await world.apply(each)
        await world.settle(seconds=60)
    text = await mismatch(world)
    assert "which has no mode Resources: this works here only; its connectionDetails go nowhere" in text
    assert "use mode Pipeline with function-patch-and-transform" in text
    assert "spec.writeConnectionSecretsToNamespace has no effect" in text
    assert ("Warning", "DefinitionDoesNotFit") in world.told.reasons("Composition")
    assert (await told(world, "Ready"))["status"] == "True"
    mended = things.changed(things.PIPELINE, writeConnectionSecretsToNamespace=None)
    await world.apply(mended)
    await world.settle(seconds=60)
    assert (await told(world, DECLARED))["status"] == "True"


async def test_a_composition_for_a_claim_or_for_another_version_is_told_and_followed():
    world = await World().install()
    await world.apply(things.XRD, things.changed(things.COMPOSITION, compositeTypeRef=reference(kind="Thing")))
    await world.settle(seconds=60)
    assert "Thing is a claim; a Composition is for its composite: XThing" in await mismatch(world)
    await world.cluster.delete(KEY)  # the reference is immutable
    await world.settle()
    await world.apply(things.COMPOSITION)
    await world.settle(seconds=60)
    assert await told(world, DECLARED) is None
    [version] = things.XRD["spec"]["versions"]
    later = version | {"name": "v1"}
    await world.apply(things.changed(things.XRD, versions=[version | {"referenceable": False}, later]))
    await world.settle(seconds=60)
    assert "composed at example.org/v1, its referenceable version" in await mismatch(world)


def reference(**how):
    return {"apiVersion": things.VERSION, "kind": "XThing"} | how


async def test_upstream_says_nothing_of_a_composition_that_does_not_suit_its_definition():
    world = await World(options=Options(strict_upstream=True)).install()
    await world.apply(things.XRD, things.changed(things.COMPOSITION, compositeTypeRef=reference(kind="Thing")))
    await world.settle(seconds=60)
    assert await told(world, DECLARED) is None


# --- the native environment, which is gone

ENVIRONMENT = {"environmentConfigs": [{"type": "Reference", "ref": {"name": "shared"}}]}


async def test_a_native_environment_is_told_to_be_gone_and_makes_no_other_revision():
    world = await a_world()
    await world.apply(composition())
    await world.settle()
    [before] = await revisions(world)
    await world.apply(things.changed(composition(), environment=ENVIRONMENT))
    await world.settle()
    condition = await told(world, READ)
    assert (condition["status"], condition["reason"]) == ("False", "FieldsNotRead")
    assert "spec.environment is not read, gone since Crossplane v1.18" in condition["message"]
    assert "convert pipeline-composition" in condition["message"]
    assert ("Warning", "FieldsNotRead") in world.told.reasons("Composition")
    assert (await told(world, "Ready"))["status"] == "True"
    assert await revisions(world) == [before], "upstream does not store it"
    await world.cluster.patch(KEY, {"spec": {"environment": None}})
    await world.settle()
    assert (await told(world, READ))["status"] == "True"


async def test_the_mend_for_a_native_environment_keeps_its_meaning():
    """What the conversion makes of it is a pipeline that reads the environment."""
    world = await a_world()
    patched = things.changed(composition(), environment=ENVIRONMENT)
    patched["spec"]["resources"][0]["patches"] = [
        {"type": "FromEnvironmentFieldPath", "fromFieldPath": "zone", "toFieldPath": "spec.forProvider.zone"}
    ]
    with pytest.raises(Rejected, match="convert pipeline-composition"):
        await world.apply(patched)
    config = {
        "apiVersion": "apiextensions.crossplane.io/v1beta1",
        "kind": "EnvironmentConfig",
        "metadata": {"name": "shared"},
        "data": {"zone": "a"},
    }
    converted = pipelines.environment_to_step(pipelines.to_pipeline(patched))
    await world.apply(config, converted, things.THING)
    await world.settle()
    assert (await world.one(things.COMPOSED, "Alpha"))["spec"]["forProvider"]["zone"] == "a"
    assert await told(world, READ) is None


async def test_upstream_does_not_know_a_native_environment():
    world = await a_world(options=Options(poll_interval=60.0, strict_upstream=True))
    with pytest.raises(Rejected, match="environment: field not declared in schema"):
        await world.apply(things.changed(composition(), environment=ENVIRONMENT))
