"""Upstream's own answers: every vector that the repository holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import conformance

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = sorted(VECTORS.rglob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_we_answer_as_upstream_does(path):
    answers = {name: conformance.problems_of(case) for name, case in conformance.cases(path)}
    run = {name: found for name, found in answers.items() if found is not conformance.NOT_RUN}
    assert run, "none of the cases was run"
    assert {name: found for name, found in run.items() if found} == {}


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
