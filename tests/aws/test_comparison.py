"""What a spec leaves out is no difference, at any depth; and how nested fields take AWS's shape and come back."""

import json

import botocore.session
import pytest

from groundplane.aws import catalogue, compare, convert
from groundplane.aws.grammar import SchemaField

RULE = SchemaField(
    type="[]object",
    key="id",
    fields={
        "id": {"type": "string"},
        "status": {"type": "string"},
        "filter": {
            "type": "[]object",
            "single": True,
            "fields": {
                "prefix": {"type": "string"},
                "and": {"type": "[]object", "single": True, "fields": {"tags": {"type": "map[string]"}}},
            },
        },
        "transition": {
            "type": "[]object",
            "aws": "Transitions",
            "fields": {"days": {"type": "number"}, "date": {"type": "string", "compare": "time"}},
        },
    },
)
PUT = botocore.session.Session().get_service_model("s3").operation_model("PutBucketLifecycleConfiguration").input_shape
SPEC = [
    {
        "id": "logs",
        "status": "Enabled",
        "filter": [{"and": [{"tags": {"team": "orders", "tier": "data"}}]}],
        "transition": [{"days": 30.0}, {"date": "2030-01-01"}],
    }
]
AWS = {
    "ID": "logs",
    "Status": "Enabled",
    "Filter": {"And": {"Tags": [{"Key": "team", "Value": "orders"}, {"Key": "tier", "Value": "data"}]}},
    "Transitions": [{"Days": 30}, {"Date": "2030-01-01"}],
}


def test_nested_fields_take_the_names_and_shapes_of_aws_and_come_back():
    parameters = {}
    convert.place(parameters, "LifecycleConfiguration.Rules", SPEC, PUT, RULE)
    assert parameters == {"LifecycleConfiguration": {"Rules": [AWS]}}
    assert convert.from_aws([AWS], RULE) == convert.fitted(SPEC, RULE)


@pytest.mark.parametrize(
    "observed, same",
    [
        (SPEC, True),
        ([SPEC[0] | {"transition": [{"date": "2030-01-01T00:00:00Z"}, {"days": 30, "date": None}]}], True),
        ([SPEC[0] | {"filter": [{"prefix": "a/", "and": [{"tags": {"team": "orders", "tier": "data"}}]}]}], True),
        ([SPEC[0] | {"filter": [{"and": [{"tags": {"team": "orders"}}]}]}], False),
        ([SPEC[0] | {"transition": [{"days": 30}]}], False),
        ([SPEC[0] | {"transition": [{"days": 30}, {"date": "2031-01-01"}]}], False),
        ([*SPEC, {"id": "other"}], False),
        ([], False),
        (None, False),
    ],
)
def test_only_what_the_spec_says_can_differ(observed, same):
    assert compare.covers(SPEC, observed, RULE) is same


def test_a_member_that_the_spec_leaves_out_differs_in_nothing():
    index = SchemaField(
        type="[]object", key="name", fields={"name": {"type": "string"}, "warmThroughput": {"type": "object"}}
    )
    found = [{"name": "b", "warmThroughput": {"readUnitsPerSecond": 12000}}, {"name": "a", "warmThroughput": {"x": 1}}]
    assert compare.covers([{"name": "a"}, {"name": "b"}], found, index)


@pytest.mark.parametrize(
    "desired, observed, same",
    [
        ({"enabled": False, "days": 7}, {"enabled": False}, True),
        ({"enabled": False, "days": 7}, None, True),
        ({"enabled": False, "days": 7}, {"enabled": True, "days": 7}, False),
        ({"enabled": True, "days": 7}, {"enabled": True, "days": 8}, False),
        ({"days": 7}, {"enabled": False}, False),
    ],
)
def test_what_is_off_differs_in_nothing_else(desired, observed, same):
    fields = {"enabled": {"type": "boolean"}, "days": {"type": "number"}}
    assert compare.covers([desired], observed, SchemaField(type="[]object", single=True, fields=fields)) is same


def test_two_entries_that_one_would_fit_are_two():
    pair = SchemaField(type="[]object", fields={"a": {"type": "number"}, "b": {"type": "number"}})
    assert compare.covers([{"a": 1}, {"a": 1, "b": 2}], [{"a": 1, "b": 2}, {"a": 1, "b": 3}], pair)
    assert not compare.covers([{"a": 1, "b": 2}, {"a": 1, "b": 2}], [{"a": 1, "b": 2}, {"a": 1, "b": 3}], pair)


def test_a_list_is_brought_in_line_by_its_keys():
    parameter = SchemaField(
        type="[]object", key="name", fields={"name": {"type": "string", "compare": "ci"}, "value": {"type": "string"}}
    )
    wanted = [{"name": "a", "value": "2"}, {"name": "B", "value": "1"}, {"name": "d", "value": "4"}]
    found = [{"name": "A", "value": "1"}, {"name": "b", "value": "1"}, {"name": "c", "value": "3"}]
    gone, new = compare.entries(wanted, found, parameter)
    assert gone == [{"name": "c", "value": "3"}]
    assert new == [{"name": "a", "value": "2"}, {"name": "d", "value": "4"}]


@pytest.mark.parametrize(
    "desired, observed, same",
    [
        ("2030-01-01", "2030-01-01T00:00:00+00:00", True),
        ("2030-01-01T01:00:00+01:00", "2030-01-01T00:00:00Z", True),
        ("2030-01-01", "2030-01-02", False),
        ("soon", "soon", True),
        ("soon", "later", False),
    ],
)
def test_moments_are_compared_whatever_their_spelling(desired, observed, same):
    assert compare.equal("time", desired, observed) is same


def test_a_policy_is_compared_as_one_at_any_depth():
    """Also within a list of them: IAM answers in other words than it was told."""
    field = catalogue.load("iam_role").fields["inlinePolicy"]
    one = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
    same = {"Statement": {"Resource": ["*"], "Action": ["s3:Get*"], "Effect": "Allow"}, "Version": "2012-10-17"}
    wanted, found = ([{"name": "read", "policy": json.dumps(each, indent=n)}] for n, each in ((2, one), (None, same)))
    assert compare.covers(wanted, found, field)
    assert not compare.covers([{"name": "read", "policy": json.dumps(one | {"Version": "2008-10-17"})}], found, field)
    assert not compare.covers([*wanted, {"name": "write", "policy": json.dumps(one)}], found, field)
