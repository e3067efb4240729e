"""What nobody would learn of otherwise is an event, once."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import conditions
from groundplane.core.objects import Key, key_of, status_of
from groundplane.ports import NothingBuiltIn
from tests.reconcile import things
from tests.reconcile.test_tenants import a_claim, a_platform, another_composition
from tests.reconcile.things import changed
from tests.world import World


def told(world, text):
    return [entry for entry in world.told.events if text in entry[3]]


def of(base, *resources):
    composition = copy.deepcopy(base)
    spec = composition["spec"]
    (spec if "resources" in spec else spec["pipeline"][0]["input"])["resources"] = list(resources)
    return composition


ALPHA = things.COMPOSITION["spec"]["resources"][0]
MODES = pytest.mark.parametrize("base", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])


@MODES
async def test_a_connection_detail_that_the_definition_does_not_list_is_named_on_composition_and_composite(base):
    world = await a_platform(base)
    await world.apply(changed(things.XRD, connectionSecretKeys=["host"]))
    await world.settle()
    await world.apply(a_claim(writeConnectionSecretToRef={"name": "conn"}))
    await world.settle()
    await things.all_ready(world)
    await world.settle(seconds=600)
    found = told(world, "connection details port are left out")
    assert sorted(entry[0].partition(" ")[0] for entry in found) == ["Composition", "XThing"]
    assert {entry[1] for entry in found} == {"Warning"}
    assert all("connectionSecretKeys" in entry[3] for entry in found)
    got = await world.cluster.get(Key("v1", "Secret", "team-a", "conn"))
    assert got["data"].keys() == {"host"}


async def test_a_compositionselector_changed_after_the_choice_is_told_to_have_no_effect():
    world = await a_platform(another_composition("first"))
    await world.apply(another_composition("second"))
    await world.apply(a_claim(compositionSelector={"matchLabels": {"kind": "first"}}))
    await world.settle()
    assert told(world, "has no effect") == []
    await world.apply(a_claim(compositionSelector={"matchLabels": {"kind": "second"}}))
    await world.settle(seconds=600)
    [entry] = told(world, "compositionSelector has no effect")
    assert 'Composition "first"' in entry[3]


async def test_what_is_told_is_told_once_in_a_process_and_again_in_the_next(monkeypatch):
    world = await a_platform(another_composition("first"))
    await world.apply(another_composition("second"))
    await world.apply(a_claim(compositionSelector={"matchLabels": {"kind": "first"}}))
    await world.settle()
    said = []
    monkeypatch.setattr(
        type(world.told), "event", lambda told, about, type_, reason, message, **more: said.append(message)
    )

    def times():
        return sum("compositionSelector has no effect" in message for message in said)

    await world.apply(a_claim(compositionSelector={"matchLabels": {"kind": "second"}}))
    await world.settle()
    for size in ("large", "small"):
        await world.apply(a_claim(size=size, compositionSelector={"matchLabels": {"kind": "second"}}))
        await world.settle(seconds=60)
    assert times() == 1
    await world.restarted().settle(seconds=60)
    assert times() == 2


@MODES
async def test_a_composed_kind_without_conditions_is_told_to_never_be_ready(base):
    config = {"apiVersion": "v1", "kind": "Namespace"}
    composition = of(base, ALPHA, {"name": "config", "base": config})
    if steps := composition["spec"].get("pipeline"):
        composition["spec"]["pipeline"] = steps[:1]  # function-auto-ready knows more of it
    world = await a_platform(composition)
    await world.apply(a_claim())
    await world.settle(seconds=600)
    [entry] = told(world, "will never be ready")
    assert '"config"' in entry[3]
    assert "readinessChecks" in entry[3]


@MODES
async def test_a_composed_kind_without_conditions_that_has_a_readiness_check_is_not_told_of(base):
    config = {"apiVersion": "v1", "kind": "Namespace"}
    check = {"type": "NonEmpty", "fieldPath": "spec.late"}
    world = await a_platform(of(base, ALPHA, {"name": "config", "base": config, "readinessChecks": [check]}))
    await world.apply(a_claim())
    await world.settle(seconds=600)
    assert told(world, "will never be ready") == []


@MODES
async def test_what_left_the_composition_without_an_owner_reference_stays_and_is_told_of(base):
    first, second, third = things.COMPOSITION["spec"]["resources"]
    world = await a_platform(of(base, first, second, third))
    await world.apply(a_claim())
    await world.settle()
    beta = await world.one(things.COMPOSED, "Beta")
    key = Key(things.COMPOSED, "Beta", "", beta["metadata"]["name"])
    await world.patch(key, {"metadata": {"ownerReferences": []}})
    world.due.clear()  # the composition changes before anybody looks
    world.seen = world.cluster.version()
    await world.apply(of(base, first, third))
    await world.settle(seconds=600)
    [entry] = told(world, "no owner reference")
    assert str(key) in entry[3]
    assert await world.cluster.get(key) is not None


async def test_a_template_without_a_value_is_told_of_once():
    text = """
apiVersion: example.org/v1
kind: Alpha
metadata: {annotations: {gotemplating.fn.crossplane.io/composition-resource-name: alpha}}
spec: {forProvider: {zone: "{{ .context.zone }}"}}
"""
    step = {
        "step": "make",
        "functionRef": {"name": "function-go-templating"},
        "input": {
            "apiVersion": "gotemplating.fn.crossplane.io/v1beta1",
            "kind": "GoTemplate",
            "source": "Inline",
            "inline": {"template": text.replace("example.org/v1", things.COMPOSED).replace("Alpha", "Alpha")},
        },
    }
    world = await things.running(
        await things.a_world(), composition=changed(things.PIPELINE, pipeline=[step]), claim=things.THING
    )
    await world.settle(seconds=3600)
    [entry] = told(world, "<no value>")
    assert (entry[1], entry[2]) == ("Warning", "ComposeResources")
    assert 'Pipeline step "make": "<no value>" stands in spec.forProvider.zone of Alpha' in entry[3]


@MODES
@pytest.mark.parametrize(
    ("check", "told_"),
    [
        (
            {"type": "MatchString", "fieldPath": "status.phase", "matchString": "available"},
            'status.phase is not there, and is to be "available"',
        ),
        (
            {"type": "MatchCondition", "matchCondition": {"type": "Healthy", "status": "True"}},
            "condition Healthy is not there, and is to be True",
        ),
    ],
)
async def test_a_check_that_is_not_met_by_what_is_ready_itself_is_the_cause_that_the_claim_tells(base, check, told_):
    composition = of(base, {**ALPHA, "readinessChecks": [check]})
    if steps := composition["spec"].get("pipeline"):
        composition["spec"]["pipeline"] = steps[:1]  # function-auto-ready goes by the condition alone
    world = await a_platform(composition)
    await world.apply(a_claim())
    await world.settle()
    await things.report(world, "Alpha")
    await world.settle(seconds=60)
    claim = await world.cluster.get(things.CLAIM)
    message = conditions.find(claim, "Ready")["message"]
    assert f"alpha: readinessChecks[0]: {told_}. Mend: correct the check" in message


async def test_a_check_that_makes_no_sense_for_the_value_keeps_no_pipeline_from_composing():
    composition = of(
        things.PIPELINE,
        {**ALPHA, "readinessChecks": [{"type": "MatchInteger", "fieldPath": "kind", "matchInteger": 3}]},
    )
    composition["spec"]["pipeline"] = composition["spec"]["pipeline"][:1]
    world = await a_platform(composition)
    await world.apply(a_claim())
    await world.settle()
    await things.report(world, "Alpha")
    await world.settle(seconds=60)
    [composite] = await world.cluster.list(things.VERSION, "XThing")
    assert conditions.is_true(composite, "Synced")
    assert "readinessChecks[0]: kind: not an integer, but " in conditions.find(composite, "Ready")["message"]


class NotActive(NothingBuiltIn):
    def __init__(self, *kinds):
        self._kinds = kinds

    def inactive(self, api_version, kind):
        return f"{kind.lower()}s.nop.example.org" if kind in self._kinds else ""


@MODES
async def test_that_nobody_looks_after_a_kind_that_is_not_active_is_the_cause_that_its_claim_tells(base):
    """Unless somebody else does: then there are conditions within seconds, and nothing is told meanwhile."""
    world = await things.a_world(built_in=NotActive("Alpha", "Beta"))
    await things.running(world, composition=base)
    for kind in ("Beta", "Gamma"):
        await things.report(world, kind)
    await world.settle(seconds=5)
    assert "is not active here" not in str(await world.cluster.get(things.CLAIM))
    await world.settle(seconds=30)
    composite = await world.one(things.VERSION, "XThing")
    claim = await world.cluster.get(things.CLAIM)
    for obj in (composite, claim):
        message = conditions.find(obj, "Ready")["message"]
        assert "Alpha alpha: nobody looks after it, for alphas.nop.example.org is not active here. Mend: " in message
        assert "ManagedResourceActivationPolicy" in message
        told_of = {entry["resource"]: entry["message"] for entry in status_of(obj)["composed"]["resources"][:1]}
        assert "is not active here" in told_of["alpha"]
    await things.report(world, "Alpha")
    await world.settle(seconds=30)
    assert "is not active here" not in str(await world.cluster.get(things.CLAIM))


@MODES
async def test_a_clock_that_is_set_back_delays_no_word_of_a_kind_that_is_not_active(base):
    world = await things.a_world(built_in=NotActive("Alpha"))
    await things.running(world, composition=base)
    world.clock.advance(-86400)
    world.enqueue({("composite", key_of(await world.one(things.VERSION, "XThing")))})
    await world.settle()
    composite = await world.one(things.VERSION, "XThing")
    assert "Alpha alpha: nobody looks after it" in conditions.find(composite, "Ready")["message"]


@MODES
async def test_a_kind_that_is_not_there_for_it_is_not_active_is_told_how_it_comes(base):
    world = await World(built_in=NotActive("Alpha")).install()
    await world.apply(*(crd for crd in things.composed_crds() if crd["spec"]["names"]["kind"] != "Alpha"))
    await things.running(world, composition=base)
    message = conditions.find(await world.cluster.get(things.CLAIM), "Ready")["message"]
    assert "Mend: activate alphas.nop.example.org, by a ManagedResourceActivationPolicy" in message
