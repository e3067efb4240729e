"""Readiness: the table in tests/vectors/readiness.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from groundplane.core import readiness
from groundplane.core.readiness import ReadinessCheck
from groundplane.core.spec import FUNCTION, NATIVE, Spec, load
from groundplane.errors import InvalidInput

ROWS = yaml.load(
    (Path(__file__).parents[1] / "vectors" / "readiness.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader
)


def test_what_are_another_functions_checks_are_not_told_of():
    assert readiness.unmet({}, [{"type": "Regex", "pattern": "x"}]) == ""
    assert readiness.unmet({}, ["healthy"]) == ""


class Holder(Spec):
    checks: list[ReadinessCheck]


def read(checks):
    holder, problems, pruned = load(Holder, {"checks": checks}, "", NATIVE)
    assert not problems
    assert not pruned
    return holder.checks


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_a_check_answers_as_its_table_says(row):
    checks = read(row["checks"])
    assert [p.field for check in checks for p in check.problems(NATIVE)] == row.get("problems", [])
    if "problems" in row:
        return
    compiled = readiness.compile(checks)
    if "error" in row:
        with pytest.raises(InvalidInput) as caught:
            readiness.is_ready(row["object"], compiled)
        assert row["error"] in str(caught.value)
    else:
        assert readiness.is_ready(row["object"], compiled) is row["ready"]


def test_the_function_takes_empty_values_for_values():
    [text, number] = read(
        [
            {"type": "MatchString", "fieldPath": "a", "matchString": ""},
            {"type": "MatchInteger", "fieldPath": "b", "matchInteger": 0},
        ]
    )
    assert not [*text.problems(FUNCTION), *number.problems(FUNCTION)]
    assert readiness.is_ready({"a": "", "b": 0}, readiness.compile([text, number]))


def test_an_unknown_type_is_answered_with_the_nearest():
    _, problems, _ = load(Holder, {"checks": [{"type": "MatchBool", "fieldPath": "a"}, {"fieldPath": "a"}]}, "", NATIVE)
    assert [(p.type, p.field) for p in problems] == [
        ("NotSupported", "checks[0].type"),
        ("Required", "checks[1].type"),
    ]
