"""The verdicts on what the API server asks about: all that is wrong at once, nothing of what an edit leaves alone."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import admission, typecheck
from groundplane.core.admission import Malformed
from groundplane.core.composition import review
from groundplane.core.definition import read
from groundplane.core.definition_mistakes import dropped, replaced
from groundplane.core.spec import Problem
from tests.definitions import definition

XRD = definition("XDatabase", "example.org", claim="Database", spec={"size": {"type": "string"}})
XRD["metadata"]["uid"] = "1"


def changed(obj, path, value):
    found = copy.deepcopy(obj)
    *parents, name = path
    place = found
    for each in parents:
        place = place[each]
    if value is None:
        del place[name]
    else:
        place[name] = value
    return found


def test_a_definition_that_is_well_has_no_problems_and_no_warnings():
    assert admission.definition_problems(XRD, None) == []
    assert admission.definition_problems(XRD, None, strict_upstream=True) == []
    assert admission.definition_warnings(XRD, None) == []


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("group",), "example.com", "spec.group"),
        (("names", "plural"), "ydatabases", "spec.names.plural"),
        (("names", "kind"), "YDatabase", "spec.names.kind"),
        (("claimNames", "plural"), "others", "spec.claimNames.plural"),
        (("claimNames", "kind"), "Other", "spec.claimNames.kind"),
    ],
)
def test_what_is_immutable_may_not_change(path, value, field):
    problems = admission.definition_problems(changed(XRD, ("spec", *path), value), XRD)
    assert problems[0].startswith(f'{field}: Invalid value: "{value}": field is immutable')


def test_claim_names_may_come_later_and_their_removal_is_warned_of():
    without = changed(XRD, ("spec", "claimNames"), None)
    assert admission.definition_problems(XRD, without) == []
    assert admission.definition_problems(without, XRD) == []
    (warning,) = admission.definition_warnings(without, XRD)
    assert "spec.claimNames is taken away" in warning


def test_all_that_is_wrong_with_a_definition_is_told_at_once():
    xrd = changed(XRD, ("metadata", "name"), "wrong")
    first = xrd["spec"]["versions"][0]
    first["referenceable"] = False
    first["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"] = {"type": "text"}
    xrd["spec"]["conversion"] = {"strategy": "Webhook"}
    verdict = admission.refused(xrd, admission.definition_problems(xrd, None))
    assert not verdict.allowed
    for words in (
        'CompositeResourceDefinition.apiextensions.crossplane.io "wrong" is invalid: [',
        "spec.conversion.webhook.clientConfig: Required value",
        "metadata.name",
        "(name it xdatabases.example.org)",
        "exactly one of spec.versions must be referenceable",
        "version v1",
        "text",
    ):
        assert words in verdict.message


def test_strictly_only_what_upstream_finds_by_itself_is_found():
    xrd = changed(XRD, ("metadata", "name"), "wrong")
    assert admission.definition_problems(xrd, None, strict_upstream=True) == []
    assert admission.definition_problems(xrd, None)
    clash = changed(XRD, ("spec", "claimNames", "kind"), "XDatabase")
    (problem,) = admission.definition_problems(clash, None, strict_upstream=True)
    assert 'invalid resource claim names: "XDatabase" conflicts with composite resource name' in problem
    bare = changed(XRD, ("spec", "versions", 0, "schema"), None)
    assert "custom resource validation cannot be nil" in admission.definition_problems(bare, None)[0]


def test_what_of_a_schema_is_not_copied_is_warned_of():
    xrd = copy.deepcopy(XRD)
    schema = xrd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"] |= {"data": {"type": "object"}, "metadata": {}, "status": {"default": {}, "x-ui-order": 1}}
    schema["properties"]["spec"] |= {"anyOf": [], "title": "t"}
    place = "openAPIV3Schema.properties"
    assert dropped(xrd) == [f"{place}.data", f"{place}.spec.anyOf", f"{place}.status.default"]
    assert all("has no effect" in warning for warning in admission.definition_warnings(xrd, None))


def test_fields_that_machinery_replaces_are_warned_of():
    xrd = copy.deepcopy(XRD)
    properties = xrd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    spec = {
        "compositionRef": {"type": "object", "properties": {"name": {"type": "string"}}},  # as it is
        "claimRef": {"type": "string"},
        "writeConnectionSecretToRef": {"type": "object", "properties": {"key": {"type": "string"}}},
        "compositeDeletePolicy": {"type": "object"},
    }
    properties["spec"]["properties"] = properties["spec"].get("properties", {}) | spec
    status = {"conditions": {"type": "array"}, "connectionDetails": {"properties": {"url": {"type": "string"}}}}
    properties["status"] = {"type": "object", "properties": status}
    place = "openAPIV3Schema.properties"
    fields = ("spec.properties.claimRef", "spec.properties.writeConnectionSecretToRef")
    fields += ("spec.properties.compositeDeletePolicy", "status.properties.connectionDetails")
    assert sorted(replaced(xrd)) == sorted(f"{place}.{field}" for field in fields)
    warnings = admission.definition_warnings(xrd, None)
    assert sum("give yours another name" in warning for warning in warnings) == len(fields)


def test_match_expressions_of_a_revision_selector_are_warned_of():
    selector = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    xrd = changed(XRD, ("spec", "defaultCompositionRevisionSelector"), selector)
    (warning,) = admission.definition_warnings(xrd, None)
    assert "matchExpressions has no effect: use matchLabels" in warning


def test_what_is_being_deleted_or_keeps_its_spec_is_not_judged():
    labelled = changed(XRD, ("metadata", "labels"), {"a": "b"})
    assert admission.is_settled(labelled, XRD)
    assert not admission.is_settled(changed(XRD, ("spec", "group"), "other"), XRD)
    assert not admission.is_settled(XRD, None)
    assert admission.is_settled(changed(XRD, ("metadata", "deletionTimestamp"), "2026-01-01T00:00:00Z"), None)


# --- compositions

COMPOSITION = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "Composition",
    "metadata": {"name": "one"},
    "spec": {"compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "XDatabase"}},
}
WRONG = Problem(
    "Required", "spec.resources[0].patches[0].transforms", "a string is written to an integer", "convert it"
)
INPUT = Problem("Invalid", "spec.pipeline[0].input.resources[0].name", "must be set")
UNKNOWN = Problem("NotSupported", "spec.pipeline[0].functionRef.name", "no function is built in")
MISSING = ("example.org/v1", "XOther")


@pytest.mark.parametrize(
    ("mode", "problems", "missing", "steps", "is_allowed"),
    [
        ("warn", [WRONG], [MISSING], [INPUT, UNKNOWN], True),
        ("loose", [WRONG], [], [], False),
        ("loose", [WRONG], [MISSING], [], True),
        ("loose", [], [], [INPUT], False),
        ("loose", [], [], [UNKNOWN], True),
        ("strict", [WRONG], [], [], False),
        ("strict", [], [MISSING], [], False),
        ("strict", [], [], [UNKNOWN], False),
        ("strict", [], [], [], True),
    ],
)
def test_the_annotation_says_what_is_refused_and_the_rest_is_warned_of(mode, problems, missing, steps, is_allowed):
    outcome = typecheck.Outcome(problems, missing)
    verdict = admission.composition(COMPOSITION, mode, outcome, steps)
    assert verdict.allowed is is_allowed
    text = verdict.message or "\n".join(verdict.warnings)
    if is_allowed:
        assert len(verdict.warnings) == len([*problems, *missing, *steps])
    for found in (*problems, *steps):
        assert found.detail in text
    if mode == "strict" and missing:
        assert "the schema of XOther of example.org/v1 is not known" in text


def test_a_refusal_has_the_words_of_kubernetes_and_the_mend():
    verdict = admission.composition(COMPOSITION, "strict", typecheck.Outcome([WRONG]))
    assert verdict.message == (
        'Composition.apiextensions.crossplane.io "one" is invalid: spec.resources[0].patches[0].transforms: Required value:'
        " a string is written to an integer (convert it)"
    )
    assert verdict.response("7") == {
        "uid": "7",
        "allowed": False,
        "status": {"status": "Failure", "message": verdict.message, "reason": "Invalid", "code": 422},
    }


def test_warnings_are_few_and_short():
    verdict = admission.allowed([f"{number} {'x' * 400}" for number in range(50)] * 2)
    assert len(verdict.warnings) == admission.LISTED + 1
    assert verdict.warnings[-1] == "and 30 more"
    assert max(map(len, verdict.warnings)) == admission.LONGEST


def spec(mode="Resources", api_version="example.org/v1", kind="XDatabase"):
    templates = {"resources": [{"name": "a", "base": {"apiVersion": "v1", "kind": "ConfigMap"}}]}
    steps = {"mode": "Pipeline", "pipeline": [{"step": "a", "functionRef": {"name": "function-auto-ready"}}]}
    reference = {"compositeTypeRef": {"apiVersion": api_version, "kind": kind}}
    found = review(reference | (templates if mode == "Resources" else steps)).spec
    assert found is not None
    return found


def test_newcomers_are_warned():
    known = read(XRD)
    modern = read(changed(changed(XRD, ("spec", "claimNames"), None), ("spec", "scope"), "Namespaced"))
    assert admission.composition_warnings(spec(), known, None) == []
    assert admission.composition_warnings(spec(), None, None) == []
    assert admission.composition_warnings(spec("Pipeline"), modern, None) == []
    assert "use mode Pipeline" in admission.composition_warnings(spec(), modern, None)[0]
    assert "is a claim" in admission.composition_warnings(spec(kind="Database"), None, known)[0]
    assert (
        "example.org/v1, its referenceable"
        in admission.composition_warnings(spec(api_version="example.org/v2"), known, None)[0]
    )


# --- composites and claims


def test_the_composition_that_is_named_is_looked_for_where_the_scope_has_it():
    modern = read(changed(changed(XRD, ("spec", "claimNames"), None), ("spec", "scope"), "Cluster"))
    at_top = {"spec": {"compositionRef": {"name": "one"}}}
    below = {"spec": {"crossplane": {"compositionRef": {"name": "one"}}}}
    assert admission.reference_of(at_top, read(XRD), is_claim=True) == "one"
    assert admission.reference_of(at_top, read(XRD), is_claim=False) == "one"
    assert admission.reference_of(at_top, modern, is_claim=False) == ""
    assert admission.reference_of(below, modern, is_claim=False) == "one"
    for odd in ({}, {"spec": {"crossplane": 1}}, {"spec": {"crossplane": {"compositionRef": {"name": {}}}}}):
        assert admission.reference_of(odd, modern, is_claim=False) == ""


def test_a_reference_to_nothing_or_to_anothers_is_warned_of():
    known = read(XRD)
    assert admission.reference_warning("one", COMPOSITION, known, "") == ""
    told = admission.reference_warning("on", None, known, "did you mean one?")
    assert told == 'compositionRef: there is no Composition "on" (did you mean one?)'
    other = changed(COMPOSITION, ("spec", "compositeTypeRef", "kind"), "XOther")
    told = admission.reference_warning("one", other, known, "")
    assert (
        told == "compositionRef: Composition one is for XOther of example.org/v1, not for XDatabase of example.org/v1"
    )
    enforced = read(changed(XRD, ("spec", "enforcedCompositionRef"), {"name": "two"}))
    assert "enforces Composition two" in admission.reference_warning("one", COMPOSITION, enforced, "")


# --- requests

ASKED = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {"uid": "7", "operation": "CREATE", "kind": {"kind": "Composition"}, "object": COMPOSITION},
}


def test_a_request_is_taken_out_of_its_review():
    assert admission.request_in(ASKED)["object"] == COMPOSITION


@pytest.mark.parametrize(
    "review",
    [
        None,
        [],
        "AdmissionReview",
        {},
        changed(ASKED, ("kind",), "Pod"),
        changed(ASKED, ("apiVersion",), "admission.k8s.io/v1beta1"),
        changed(ASKED, ("request",), []),
        changed(ASKED, ("request", "uid"), 7),
        changed(ASKED, ("request", "uid"), ""),
        changed(ASKED, ("request", "operation"), {}),
        changed(ASKED, ("request", "kind"), "Composition"),
        changed(ASKED, ("request", "object"), []),
        changed(ASKED, ("request", "object"), {}),
        changed(ASKED, ("request", "object", "kind"), ["a"]),
        changed(ASKED, ("request", "object", "metadata"), "x"),
        changed(ASKED, ("request", "object", "metadata", "name"), {}),
        changed(ASKED, ("request", "object", "metadata", "labels"), [1]),
        changed(ASKED, ("request", "oldObject"), "x"),
    ],
)
def test_what_is_no_request_is_malformed(review):
    with pytest.raises(Malformed):
        admission.request_in(review)
