"""Upstream's own answers: every vector that the repository holds, and those that may only lie beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundplane.functions import BUILT_IN
from tests import conformance

VECTORS = Path(__file__).parents[1] / "vectors"
AWS = VECTORS / "aws"  # tables of fields, which tests/aws plays
FUNCTIONS = VECTORS / "functions"


def is_played(path):
    """Whether the core or a built-in function answers it: calls of functions that run elsewhere, remote/test_vectors.py reads."""
    if FUNCTIONS in path.parents and path.stem.startswith("function-"):
        return path.stem in BUILT_IN
    return AWS not in path.parents


FILES = sorted(filter(is_played, VECTORS.rglob("*.jsonl")))
PUBLIC = (
    Path(__file__).parents[3] / "shared" / "vectors" / "render" / "public"
)  # other people's compositions: not ours to copy


def check(path):
    answers = {name: conformance.problems_of(case) for name, case in conformance.cases(path)}
    assert answers, "there are no cases"
    assert {name: found for name, found in answers.items() if found} == {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_we_answer_as_upstream_does(path):
    check(path)


def test_we_answer_as_upstream_does_to_public_compositions():
    if not PUBLIC.is_dir():
        pytest.skip(f"the public compositions are not beside the checkout: {PUBLIC}")
    for path in sorted(PUBLIC.glob("*.jsonl")):
        check(path)


PUBLIC_TEMPLATES = PUBLIC.parents[1] / "functions" / "public" / "go-templating.jsonl"


def test_we_answer_as_upstreams_function_does_to_public_templates():
    if not PUBLIC_TEMPLATES.is_file():
        pytest.skip(f"the public templates are not beside the checkout: {PUBLIC_TEMPLATES}")
    check(PUBLIC_TEMPLATES)


CONVERSIONS = PUBLIC.parents[1] / "convert" / "pipeline-composition.jsonl"


def test_we_convert_compositions_to_pipelines_as_upstream_does():
    if not CONVERSIONS.is_file():
        pytest.skip(f"the recorded conversions are not beside the checkout: {CONVERSIONS}")
    check(CONVERSIONS)


def test_the_vectors_are_there():
    assert {path.name for path in FILES} >= {"go-semantics.jsonl", "synthetic.jsonl"}


@pytest.mark.parametrize(
    "case",
    [
        {"op": "get", "path": "a", "object": {"a": 1}, "class": "ok", "result": 1.0},
        {"op": "get", "path": "a", "object": {"a": 1}, "class": "nf"},
        {"op": "parse", "path": "a..b", "class": "err", "error": "position 7"},
        {"op": "format", "fmt": "%d", "args": [1], "result": "2"},
    ],
)
def test_a_wrong_answer_is_noticed(case):
    assert conformance.problems_of(case)


def test_a_wrong_render_is_noticed():
    path = VECTORS / "render" / "synthetic.jsonl"
    found = {name: case for name, case in conformance.cases(path) if name == "syn-paths-basic-native"}
    case = found["syn-paths-basic-native"]
    case["expect"]["resources"]["a"]["object"]["spec"]["item"] = "two"
    assert conformance.problems_of(case) == ['.resources.a.object.spec.item: wanted "two", got "one"']


@pytest.mark.parametrize(
    "change",
    [
        {"output": "other"},
        {"template": "{{ fail `x` }}"},
        {"template": "{{ if }}"},
    ],
)
def test_a_wrong_template_is_noticed(change):
    case = {"id": "gt-x-01", "template": "{{ .a }}", "data": {"a": 1}, "output": "1"}
    assert conformance.problems_of(case) == []
    assert conformance.problems_of({**case, **change})


@pytest.mark.parametrize(
    ("field", "instead"),
    [
        ("desired", {"resources": {"x": {"resource": {}, "ready": "READY_FALSE"}}}),
        ("results", [{"severity": "SEVERITY_WARNING", "message": "not so"}]),
        ("conditions", [{"type": "T", "status": "STATUS_CONDITION_TRUE", "reason": "R"}]),
        ("context", {"a": 1}),
        ("requirements", {"resources": {"x": {"apiVersion": "v1", "kind": "Pod", "matchName": "x"}}}),
        ("meta", {"ttl": "7s"}),
    ],
)
def test_everything_that_a_function_answers_counts(field, instead):
    [case] = [
        case for name, case in conformance.cases(FUNCTIONS / "function-auto-ready.jsonl") if name == "auto-ready-01"
    ]
    assert conformance.problems_of(case) == []
    case["response"][field] = instead
    assert conformance.problems_of(case)


def case_named(name):
    return dict(conformance.cases(VECTORS / "render" / "synthetic.jsonl"))[name]


@pytest.mark.parametrize(
    ("name", "resource", "field", "theirs", "instead"),
    [
        ("syn-combine-values-fpt", "a", "r01", "abc-%!d(float64=10)", "abc-%!d(float64=11)"),
        ("syn-combine-values-fpt", "a", "r02", None, "something else"),
        ("syn-steps-env-fpt", "a", "t", "%!d(float64=3)", "4"),
        ("syn-steps-merge-float-fpt", "a", "l", [1, 2, 2, 3], [1, 2, 2, 2, 3]),
        ("syn-steps-merge-float-fpt", "a", "l2", [1, 2, 3], [1, 2, 2, 3, 3]),
    ],
)
def test_a_departure_excuses_what_it_explains_and_nothing_else(name, resource, field, theirs, instead):
    case = case_named(name)
    assert conformance.problems_of(case) == []
    spec = case["expect"]["resources"][resource]["object"]["spec"]
    assert theirs is None or spec[field] == theirs
    spec[field] = instead
    [problem] = conformance.problems_of(case)
    assert problem.startswith(f".resources.{resource}.object.spec.{field}")


@pytest.mark.parametrize(
    ("field", "instead"),
    [
        ("errors", [{"class": "warning", "message": "not so"}]),
        ("connection", {"more": "x"}),
        ("composite", {"status": {"x": 1}, "ready": "True"}),
    ],
)
def test_everything_that_the_function_answers_counts(field, instead):
    case = case_named("syn-merge-toxr-fpt")
    assert conformance.problems_of(case) == []
    case["expect"][field] = instead
    assert conformance.problems_of(case)


def test_the_field_that_validation_complains_of_counts():
    case = case_named("syn-val-schema-fpt")
    assert conformance.problems_of(case) == []
    [error] = case["expect"]["errors"]
    error["message"] = error["message"].replace("patches[0].type", "patches[1].type")
    assert conformance.problems_of(case)


def test_where_upstream_panics_an_error_is_wanted():
    case = case_named("syn-regexp-bad1-native")
    transform = case["composition"]["spec"]["resources"][0]["patches"][0]["transforms"][0]
    transform["string"]["regexp"] = {"match": "my", "group": -1}
    case["expect"] = {"resources": {}, "composite": {}, "errors": [{"class": "fatal", "phase": "panic"}]}
    assert conformance.problems_of(case) == []
