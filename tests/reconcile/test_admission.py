"""Admission handlers on the reconcilers' own facts: what is known of kinds, functions and Compositions; nothing is written."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import typecheck
from groundplane.core.admission import ALLOWED
from groundplane.errors import Denied, Rejected, Unavailable
from groundplane.ports import Options
from groundplane.reconcile import admission
from tests.core.test_admission import COMPOSITION, XRD, changed
from tests.world import World

SIZES = {
    "type": "object",
    "properties": {"size": {"type": "integer"}, "colour": {"type": "string"}},
}
DEFINITION = changed(
    changed(XRD, ("spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec"), SIZES),
    ("metadata",),
    {"name": "xdatabases.example.org"},
)
MODERN = {
    **copy.deepcopy(DEFINITION),
    "apiVersion": "apiextensions.crossplane.io/v2",
    "metadata": {"name": "stores.example.org"},
}
MODERN["spec"] |= {"names": {"kind": "Store", "plural": "stores"}, "scope": "Namespaced"}
del MODERN["spec"]["claimNames"]


def composition(patch, mode="", kind="XDatabase"):
    found = copy.deepcopy(COMPOSITION)
    if mode:
        found["metadata"]["annotations"] = {typecheck.MODE_ANNOTATION: mode}
    base = {"apiVersion": "example.org/v1", "kind": "XDatabase"}
    found["spec"]["compositeTypeRef"]["kind"] = kind
    found["spec"]["resources"] = [{"name": "inner", "base": base, "patches": [patch]}]
    return found


FITS = {"fromFieldPath": "spec.size", "toFieldPath": "spec.size"}
MISFIT = {"fromFieldPath": "spec.colour", "toFieldPath": "spec.size"}


async def taken(crd):
    """An API server that takes every CRD."""


async def ask(handler, world, obj, old=None, try_out=taken):
    return await handler({"uid": "1", "object": obj, "oldObject": old}, world.context, try_out)


@pytest.fixture
async def world():
    """One that serves both definitions."""
    found = await World().install()
    await found.apply(DEFINITION, MODERN)
    await found.settle()
    return found


@pytest.mark.parametrize(
    ("patch", "mode", "is_allowed", "words"),
    [
        (FITS, "", True, ""),
        (FITS, "strict", True, ""),
        (MISFIT, "", True, "spec.size is an integer, and a string would be written to it"),
        (MISFIT, "loose", False, "Required value"),
        (MISFIT, "strict", False, "Required value"),
        ({"fromFieldPath": "spec.sise"}, "strict", False, "did you mean size?"),
        (FITS, "loud", False, 'there is no mode "loud"'),
    ],
)
async def test_patches_are_judged_with_the_schemas_that_are_served(world, patch, mode, is_allowed, words):
    verdict = await ask(admission.compositions, world, composition(patch, mode))
    assert verdict.allowed is is_allowed
    assert words in verdict.message + "".join(verdict.warnings)
    assert bool(verdict.warnings) is (is_allowed and bool(words))


@pytest.mark.parametrize(("mode", "is_allowed"), [("warn", True), ("loose", True), ("strict", False)])
async def test_a_kind_that_is_not_there_is_refused_strictly_only(world, mode, is_allowed):
    verdict = await ask(admission.compositions, world, composition(FITS, mode, kind="XOther"))
    assert verdict.allowed is is_allowed
    known = "XOther of example.org/v1 is not there yet" if is_allowed else "XOther of example.org/v1 is not known"
    assert known in verdict.message + "".join(verdict.warnings)


async def test_what_an_edit_leaves_alone_is_not_judged_but_a_stricter_mode_is(world):
    wrong = composition(MISFIT, "strict")
    labelled = changed(wrong, ("metadata", "labels"), {"a": "b"})
    assert await ask(admission.compositions, world, labelled, wrong) == ALLOWED
    assert not (await ask(admission.compositions, world, wrong, composition(MISFIT))).allowed
    broken = changed(COMPOSITION, ("metadata", "deletionTimestamp"), "2026-01-01T00:00:00Z")
    assert await ask(admission.compositions, world, broken) == ALLOWED


async def test_steps_of_a_pipeline_are_warned_of_or_refused_as_the_mode_asks(world):
    steps = [
        {"step": "a", "functionRef": {"name": "function-nobody-knows"}},
        {"step": "b", "functionRef": {"name": "function-patch-and-transform"}, "input": {"resources": [{}]}},
    ]
    source = copy.deepcopy(COMPOSITION)
    source["spec"] |= {"mode": "Pipeline", "pipeline": steps}
    warned = await ask(admission.compositions, world, source)
    assert warned.allowed
    assert any("spec.pipeline[0].functionRef.name" in each for each in warned.warnings)
    assert any("spec.pipeline[1].input" in each for each in warned.warnings)
    source["metadata"] = {"name": "one", "annotations": {typecheck.MODE_ANNOTATION: "strict"}}
    assert not (await ask(admission.compositions, world, source)).allowed
    strict = World(options=Options(strict_upstream=True))
    assert await ask(admission.compositions, strict, source) == ALLOWED


async def test_strictly_a_definition_without_a_scope_is_legacy_in_whichever_version_it_is_edited():
    strict = await World(options=Options(strict_upstream=True)).install()
    tried = []

    async def try_out(crd):
        tried.append(crd["spec"]["scope"])

    edited = {**DEFINITION, "apiVersion": "apiextensions.crossplane.io/v2"}
    assert (await ask(admission.definitions, strict, edited, try_out=try_out)).allowed
    assert tried[0] == "Cluster"


async def test_strictly_it_is_judged_as_upstream_does_and_only_that():
    strict = await World(options=Options(strict_upstream=True)).install()
    await strict.apply(DEFINITION)
    await strict.settle()
    verdict = await ask(admission.compositions, strict, composition(MISFIT, "strict"))
    assert not verdict.allowed
    assert "spec.resources[0].patches[0].transforms: Required value" in verdict.message
    assert (await ask(admission.compositions, strict, composition(FITS, "strict"))) == ALLOWED
    missing = await ask(admission.compositions, strict, composition(MISFIT, "loose", kind="XOther"))
    assert missing.allowed, "a kind that is missing keeps upstream from looking at all"
    assert len(missing.warnings) == 1
    assert (await ask(admission.compositions, strict, composition(FITS, "", kind="Database"))).warnings == ()


async def test_newcomers_are_warned_of_claims_and_of_native_compositions_for_composites_of_v2(world):
    for_claim = await ask(admission.compositions, world, composition(FITS, kind="Database"))
    assert any("Database is a claim" in each for each in for_claim.warnings)
    for_modern = await ask(admission.compositions, world, composition(FITS, kind="Store"))
    assert any("use mode Pipeline" in each for each in for_modern.warnings)


async def test_the_api_server_judges_both_crds_of_a_definition(world):
    tried = []

    async def refusing(crd):
        tried.append(crd["metadata"]["name"])
        if crd["metadata"]["name"].startswith("databases"):
            raise Rejected("CustomResourceDefinition is invalid: spec.names.plural: taken")

    other = changed(XRD, ("spec", "group"), "other.org")
    other["metadata"] = {"name": "xdatabases.other.org"}
    verdict = await ask(admission.definitions, world, other, try_out=refusing)
    assert tried == ["xdatabases.other.org", "databases.other.org"]
    assert not verdict.allowed
    assert (
        "invalid CRD generated for CompositeResourceDefinition: CustomResourceDefinition is invalid" in verdict.message
    )


@pytest.mark.parametrize("error", [Unavailable("it is down"), Denied("no right")])
async def test_an_api_server_that_does_not_say_refuses_nothing(world, error):
    async def silent(crd):
        raise error

    other = changed(XRD, ("spec", "group"), "other.org")
    other["metadata"] = {"name": "xdatabases.other.org"}
    verdict = await ask(admission.definitions, world, other, try_out=silent)
    assert verdict.allowed
    assert len(verdict.warnings) == 2
    assert error.what in verdict.warnings[0]


async def test_a_kind_that_belongs_to_another_definition_is_warned_of_and_not_tried(world):
    """As after a restore, or while an old definition of that name is still going."""

    async def never(crd):
        raise AssertionError

    verdict = await ask(admission.definitions, world, changed(DEFINITION, ("metadata", "uid"), "other"), try_out=never)
    assert verdict.allowed
    assert "belongs to CompositeResourceDefinition xdatabases.example.org" in verdict.warnings[0]


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("Database", {"compositionRef": {"name": "on"}}, 'there is no Composition "on" (did you mean one?)'),
        ("XDatabase", {"compositionRef": {"name": "on"}}, 'there is no Composition "on" (did you mean one?)'),
        ("Database", {"compositionRef": {"name": "one"}}, ""),
        ("Database", {}, ""),
        (
            "Store",
            {"crossplane": {"compositionRef": {"name": "one"}}},
            "is for XDatabase of example.org/v1, not for Store",
        ),
        ("Store", {"compositionRef": {"name": "gone"}}, ""),
        ("Nobody", {"compositionRef": {"name": "gone"}}, ""),
    ],
)
async def test_a_composition_that_is_named_and_not_there_is_warned_of(world, kind, spec, words):
    await world.apply(composition(FITS))
    await world.settle()
    obj = {"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": "a", "namespace": "b"}, "spec": spec}
    verdict = await ask(admission.composites, world, obj)
    assert verdict.allowed
    assert words in "".join(verdict.warnings)
    assert bool(verdict.warnings) is bool(words)


async def test_what_a_webhook_is_not_for_it_lets_in(world):
    for handler in (admission.definitions, admission.compositions, admission.composites):
        assert await ask(handler, world, {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}) == ALLOWED
        assert await ask(handler, world, None) == ALLOWED
