"""Transforms: the tables in tests/vectors/transforms, and what hostile input can't do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from groundplane.core import fieldpath
from groundplane.core.spec import FUNCTION, NATIVE, Spec, load
from groundplane.core.transforms import Transform, string
from groundplane.core.transforms.base import TRANSFORMS
from groundplane.errors import InvalidInput

TABLES = Path(__file__).parents[1] / "vectors" / "transforms"
TYPES = ("map", "match", "math", "string", "convert")


class Holder(Spec):
    it: Transform


def rows():
    for kind in TYPES:
        for row in yaml.load((TABLES / f"{kind}.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader):
            yield pytest.param(row, id=f"{kind}: {row['case']}")


def read(transform, dialect=NATIVE):
    return load(Holder, {"it": transform}, "", dialect)


@pytest.mark.parametrize("row", list(rows()))
def test_a_transform_does_what_its_table_says(row):
    dialect = row.get("dialect", NATIVE)
    holder, problems, pruned = read(row["transform"], dialect)
    if "shape" in row:
        assert [problem.field for problem in problems] + pruned == [f"it.{row['shape']}"]
        return
    assert not problems
    assert not pruned
    if "problem" in row:
        assert [problem.field for problem in holder.it.problems(dialect)] == [row["problem"]]
        return
    assert not list(holder.it.problems(dialect))
    apply = holder.it.compile(dialect)
    if "error" not in row:
        got = apply(row["input"])
        assert fieldpath.same(got, row["output"]), got
        return
    with pytest.raises(InvalidInput) as caught:
        apply(row["input"])
    assert row["error"] in caught.value.what
    assert row.get("mend", "") in caught.value.mend


def test_every_type_has_a_table():
    assert set(TRANSFORMS) == {path.stem for path in TABLES.glob("*.yaml")}


@pytest.mark.parametrize(
    ("given", "field", "mend"),
    [
        ({"type": "string", "string": {"fmt": "x"}}, "string.type", "Convert, Format, Join"),
        ({"type": "math", "math": {"multiply": 1}}, "math.type", "ClampMax, ClampMin, Multiply"),
    ],
)
def test_a_type_that_is_left_out_where_it_must_be_set_is_one_of_those_told(given, field, mend):
    holder, _, _ = read(given)
    ((told, problem),) = [(each.field, each.mend) for each in holder.it.problems(FUNCTION)]
    assert told == field
    assert problem.startswith(f"use one of: {mend}")


def test_an_unknown_type_is_answered_with_the_nearest():
    _, problems, _ = read({"type": "strng"})
    assert [(problem.field, problem.mend) for problem in problems] == [("it.type", "did you mean string?")]


def test_a_transform_does_not_change_its_input_nor_share_what_it_was_made_of():
    holder, _, _ = read({"type": "map", "map": {"a": {"list": [1]}}})
    apply = holder.it.compile(NATIVE)
    target = {}
    fieldpath.set(target, fieldpath.parse("x"), apply("a"))
    target["x"]["list"].append(2)
    assert apply("a") == {"list": [1.0]}


def test_a_regular_expression_takes_linear_time():
    holder, _, _ = read({"type": "string", "string": {"type": "Regexp", "regexp": {"match": "^(a+)+$"}}})
    with pytest.raises(InvalidInput, match="no match"):
        holder.it.compile(NATIVE)("a" * 20_000 + "b")


@pytest.mark.parametrize("digits, rest", [("9", "Mi"), ("0xf", ""), ("1.1", "x")])
def test_a_number_of_a_million_digits_takes_linear_time(digits, rest):
    holder, _, _ = read({"type": "convert", "convert": {"toType": "float64"}})
    with pytest.raises(InvalidInput, match="cannot convert"):
        holder.it.compile(NATIVE)(digits + digits[-1] * 1_000_000 + rest)


def test_a_regular_expression_sees_bytes_that_are_no_text():
    decoded = string.CONVERTERS["FromBase64"]("/2Fi")
    holder, _, _ = read({"type": "string", "string": {"type": "Regexp", "regexp": {"match": "ab"}}})
    assert holder.it.compile(NATIVE)(decoded) == "ab"


def test_changing_case_replaces_bytes_that_are_no_text():
    decoded = string.CONVERTERS["FromBase64"]("/2Fi")
    for name, text in (("ToUpper", "\ufffdAB"), ("ToLower", "\ufffdab")):
        changed = string.CONVERTERS[name](decoded)
        assert string.CONVERTERS["FromBase64"](string.CONVERTERS["ToBase64"](changed)) == text


def test_a_format_can_not_make_a_text_of_gigabytes():
    holder, _, _ = read({"type": "string", "string": {"fmt": "%9999999d" * 9}})
    with pytest.raises(InvalidInput, match="width"):
        holder.it.compile(NATIVE)(1)


def test_replacing_can_not_make_a_text_of_gigabytes():
    settings = {"type": "Replace", "replace": {"search": "a", "replace": "b" * 10_000}}
    holder, _, _ = read({"type": "string", "string": settings}, FUNCTION)
    with pytest.raises(InvalidInput, match="more than"):
        holder.it.compile(FUNCTION)("a" * 10_000)


def test_text_nested_ten_thousand_deep_is_an_error_and_no_crash():
    holder, _, _ = read({"type": "convert", "convert": {"toType": "array", "format": "json"}})
    with pytest.raises(InvalidInput):
        holder.it.compile(NATIVE)("[" * 10_000 + "]" * 10_000)
