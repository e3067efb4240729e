"""Conversions and comparisons, by tables."""

from datetime import UTC, datetime
from pathlib import Path

import botocore.session
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from groundplane.aws import compare, convert
from groundplane.aws.grammar import SchemaField
from groundplane.errors import InvalidInput

VECTORS = Path(__file__).parents[1] / "vectors" / "aws"
SESSION = botocore.session.Session()


def table(name):
    return [pytest.param(row, id=row["case"]) for row in yaml.load((VECTORS / name).read_text(), yaml.CSafeLoader)]


@pytest.mark.parametrize("row", table("equal.yaml"))
def test_what_counts_as_equal(row):
    assert compare.equal(row["compare"], row["desired"], row["observed"]) is row["equal"]


@pytest.mark.parametrize("row", table("to_aws.yaml"))
def test_what_aws_is_sent(row):
    shape = SESSION.get_service_model(row["service"]).operation_model(row["operation"]).input_shape
    parameters = {}
    if "error" in row:
        with pytest.raises(InvalidInput) as caught:
            convert.place(parameters, row["parameter"], row["value"], shape)
        assert caught.value.what == row["error"]
        assert caught.value.mend == row.get("mend", caught.value.mend)
    else:
        convert.place(parameters, row["parameter"], row["value"], shape)
        assert parameters[row["parameter"].partition(".")[0]] == row["result"]


@pytest.mark.parametrize(
    "kind, value, result",
    [
        ("number", "5", 5),
        ("number", 2.5, 2.5),
        ("boolean", "false", False),
        ("string", datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00Z"),
        ("string", {"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ("[]string", ["a", None], ["a"]),
        ("map[string]", {"a": 1}, {"a": "1"}),
        ("[]object", {"SecretArn": "x", "Other": None}, [{"secretArn": "x"}]),
    ],
)
def test_what_aws_says_in_our_types(kind, value, result):
    assert convert.from_aws(value, SchemaField(type=kind)) == result


def test_unknown_members_of_a_typed_object_are_left_out():
    field = SchemaField(type="object", fields={"kmsKeyId": SchemaField(type="string")})
    assert convert.from_aws({"KmsKeyIdentifier": "k", "Else": 1}, field) == {"kmsKeyId": "k"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
@example([{}])
@example([[{}]])
@example([[[{}]]])
@example({"a": [{"b": [[{"c": [{}]}]], "d": None}]})
@example([[{"a": 1}], None])
def test_everything_equals_itself(value):
    assert compare.equal("exact", value, value)
    assert compare.canonical(compare.canonical(value)) == compare.canonical(value)


@pytest.mark.parametrize(
    ("desired", "observed", "same"),
    [
        ([{"a": 1}], {"a": 1.0}, True),
        ({"a": [{"b": None}]}, {"a": {}}, True),
        ([[{"a": 1}]], [{"a": 1}], False),
        ([[{"a": 1}]], {"a": 1}, False),
        ([[]], [], False),
        ([{"a": 1}, {"a": 1}], {"a": 1}, False),
    ],
)
def test_a_list_of_one_object_is_that_object_and_nothing_else_is(desired, observed, same):
    assert compare.equal("exact", desired, observed) is same
    assert compare.equal("exact", observed, desired) is same
