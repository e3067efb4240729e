"""Schemas: the answers of a real API server (tests/vectors/schema), and laws that hold for every object."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import schema, schema_defects, structural
from groundplane.errors import InvalidInput, Rejected

VECTORS = Path(__file__).parents[1] / "vectors" / "schema"


def table(name):
    return yaml.load((VECTORS / f"{name}.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)


ADMIT = table("admit")
SPEC = structural.compiled({"type": "object", "properties": {"spec": ADMIT["schema"]}})
LOOKUP = table("lookup")


def thing(spec, **metadata):
    return {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "a", **metadata}, "spec": spec}


@pytest.mark.parametrize("row", ADMIT["cases"], ids=lambda row: str(row["in"]))
def test_an_object_is_answered_as_the_api_server_answers(row):
    if "problems" in row:
        with pytest.raises(Rejected) as caught:
            schema.admit(SPEC, thing(row["in"]))
        listed = ", ".join(row["problems"])
        listed = listed if len(row["problems"]) == 1 else f"[{listed}]"
        assert caught.value.what == f'Thing.example.org "a" is invalid: {listed}'
    else:
        admitted = schema.admit(SPEC, thing(row["in"]))["spec"]
        implied = {"nnd": "dd", "nodef": {"a": "x"}}
        assert admitted == {**{n: v for n, v in implied.items() if n not in row["in"]}, **row["out"]}


@pytest.mark.parametrize("row", LOOKUP["cases"], ids=lambda row: str(row["path"]))
def test_a_path_is_looked_up(row):
    if "error" in row:
        with pytest.raises(InvalidInput) as caught:
            schema.lookup(LOOKUP["schema"], row["path"])
        assert caught.value.what == row["error"]
        assert row.get("mend", "") in caught.value.mend
    else:
        found = schema.lookup(structural.compiled(LOOKUP["schema"]), row["path"])
        assert ("anything" if found is structural.ANYTHING else found["type"]) == row["type"]


@pytest.mark.parametrize("row", table("defects"), ids=lambda row: str(row["schema"]))
def test_a_schema_that_no_crd_can_have_is_told(row):
    found = schema_defects.of(row["schema"], "s")
    if "contains" in row:
        assert row["contains"] in "; ".join(found)
    else:
        assert found == row["defects"]


SIZES = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "string", "enum": ["small", "large"], "default": "small"},
                "count": {"type": "integer", "maximum": 3},
                "rows": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "width": {"type": "integer", "maximum": 3}},
                    },
                },
                "fixed": {
                    "type": "string",
                    "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "Value is immutable"}],
                },
            },
        }
    },
}


def test_a_misspelt_word_is_answered_with_the_nearest():
    with pytest.raises(Rejected) as caught:
        schema.admit(SIZES, thing({"size": "smal"}))
    assert caught.value.mend == "did you mean small?"


def test_a_word_without_a_neighbour_gets_no_mend_as_all_are_listed_already():
    with pytest.raises(Rejected) as caught:
        schema.admit(SIZES, thing({"size": "xxl"}))
    assert caught.value.mend == ""
    assert 'supported values: "small", "large"' in str(caught.value)


def test_what_was_wrong_before_does_not_keep_an_object_from_being_updated():
    before = thing({"count": 7, "rows": [{"name": "a", "width": 9}]})
    after = copy.deepcopy(before)
    after["spec"]["size"] = "large"
    after["spec"]["rows"].insert(0, {"name": "b", "width": 1})
    assert schema.admit(SIZES, after, old=before) == after


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"count": 8}, "spec.count: Invalid value: 8: spec.count in body should be less than or equal to 3"),
        ({"rows": [{"name": "a", "width": 8}]}, "spec.rows[0].width: Invalid value: 8: "),
        ({"rows": [{"name": "z", "width": 9}]}, "spec.rows[0].width: Invalid value: 9: "),
    ],
)
def test_a_new_mistake_is_refused_even_where_there_was_one_before(change, problem):
    before = thing({"count": 7, "rows": [{"name": "a", "width": 9}]})
    with pytest.raises(Rejected) as caught:
        schema.admit(SIZES, thing({**before["spec"], **change}), old=before)
    assert problem in caught.value.what


def test_an_immutable_field_can_be_set_and_never_changed():
    before = thing({"fixed": "a", "size": "small"})
    assert schema.admit(SIZES, before) == before
    assert schema.admit(SIZES, before, old=thing({"size": "small"})) == before
    with pytest.raises(Rejected) as caught:
        schema.admit(SIZES, thing({"fixed": "b"}), old=before)
    assert caught.value.what.endswith('spec.fixed: Invalid value: "string": Value is immutable')


def test_rules_are_asked_only_once_what_is_there_has_its_shape():
    before = {"spec": {"fixed": "a"}}
    problems = schema.validate(SIZES, {"spec": {"fixed": "b", "size": "xl"}}, before)
    assert [problem.partition(":")[0] for problem in problems] == ["spec.size"]
    problems = schema.validate(SIZES, {"spec": {"fixed": "b", "count": 9}}, before)
    assert [problem.partition(":")[0] for problem in problems] == ["spec.count", "spec.fixed"]


def test_the_object_that_comes_in_is_not_touched_and_shares_nothing_with_the_one_that_comes_out():
    given_ = thing({"rows": [{"name": "a", "more": 1}]}, labels={"a": "b"})
    before = copy.deepcopy(given_)
    admitted = schema.admit(SIZES, given_)
    admitted["spec"]["rows"][0]["name"] = "z"
    admitted["metadata"]["labels"]["a"] = "z"
    assert given_ == before


def test_fields_that_are_dropped_are_named():
    given_ = thing({"siez": "a", "rows": [{"name": "a", "x": {"y": 1}}]}, lables={})
    assert [(fault.path, fault.mend) for fault in schema.undeclared(SIZES, given_)] == [
        (".metadata.lables", "did you mean labels?"),
        (".spec.rows[0].x", "use one of: name, width"),
        (".spec.siez", "did you mean size?"),
    ]


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"labels": {"a": 1}}, "metadata.labels.a: Invalid value: "),
        ({"finalizers": "a"}, "metadata.finalizers: Invalid value: "),
    ],
)
def test_metadata_has_its_shape_whatever_the_schema_says(metadata, problem):
    with pytest.raises(Rejected, match=problem.replace(".", r"\.")):
        schema.admit(SIZES, thing({}, **metadata))


def test_a_pattern_that_is_no_regular_expression_is_said_so():
    with pytest.raises(InvalidInput, match="is no regular expression"):
        structural.compiled({"type": "string", "pattern": "(?=x)"})


def test_a_long_value_is_shortened_in_the_text():
    [problem] = schema.validate({"type": "string", "enum": ["a"]}, "x" * 1000)
    assert len(problem) < 300


def test_true_is_not_one():
    assert schema.validate({"type": "array", "items": {}, "x-kubernetes-list-type": "set"}, [True, 1, "1"]) == []
    assert schema.validate({"enum": [1]}, True) != []


# --- laws

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-4, 4) | st.sampled_from(["x", "small", "b", ""])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcs"), inner, max_size=3)
)
NAMES = st.sampled_from(sorted(ADMIT["schema"]["properties"]))
SPECS = st.dictionaries(NAMES, JSON, max_size=6)


@given(SPECS)
def test_defaulting_and_pruning_twice_is_doing_it_once(spec):
    once = schema.default(SPEC, schema.prune(SPEC, thing(spec)))
    assert schema.default(SPEC, schema.prune(SPEC, once)) == once


@given(SPECS)
def test_what_was_admitted_is_admitted_as_it_is(spec):
    try:
        admitted = schema.admit(SPEC, thing(spec))
    except Rejected:
        return
    assert schema.admit(SPEC, admitted) == admitted
    assert schema.admit(SPEC, admitted, old=admitted) == admitted
    assert schema.undeclared(SPEC, admitted) == []


@given(SPECS)
def test_what_is_refused_is_refused_for_what_validate_finds_in_what_would_be_stored(spec):
    shaped = schema.prune(SPEC, schema.default(SPEC, thing(spec)))
    problems = schema.validate(SPEC, shaped)
    if problems:
        with pytest.raises(Rejected) as caught:
            schema.admit(SPEC, thing(spec))
        assert all(problem in caught.value.what for problem in problems)
    else:
        assert schema.admit(SPEC, thing(spec)) == shaped
