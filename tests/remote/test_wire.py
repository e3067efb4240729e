"""What we write is what google's library reads, and the other way round; what is no message is refused, and never worse."""

from __future__ import annotations

import math

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from groundplane.errors import InvalidInput
from groundplane.remote import messages, wire
from tests.remote import upstream

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=20,
)
objects = st.dictionaries(texts, plain, max_size=5)


def as_read(value):
    """A value as our reader gives it: whole numbers are integers."""
    if isinstance(value, dict):
        return {name: as_read(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_read(item) for item in value]
    if isinstance(value, float) and value.is_integer() and -(2.0**63) <= value < 2.0**63:
        return int(value)
    return value


@given(objects)
@example({"": None, "a": [], "b": {}, "c": [[], {}], "d": -0.0, "e": 1e300, "f": 2**53, "g": -1, "h": "ü€𝄞\0"})
def test_a_struct_of_ours_is_what_googles_library_reads_and_back(obj):
    data = wire.struct(obj)
    theirs = struct_pb2.Struct.FromString(data)
    expected = struct_pb2.Struct()
    expected.update(obj)
    assert theirs == expected
    shape = {1: wire.Field("it", "struct")}
    outer = wire.encode(shape, {"it": data})
    assert wire.decode(shape, outer)["it"] == as_read(obj)
    assert wire.decode(shape, wire.encode(shape, {"it": expected.SerializeToString()}))["it"] == as_read(obj)


def of(kind, text):
    """A message of theirs, from its JSON."""
    return json_format.Parse(text, kind())


ALL = """{
 "meta": {"tag": "t", "ttl": "90.5s"},
 "desired": {"composite": {"resource": {"status": {"n": 3}}, "connectionDetails": {"url": "aHR0cA=="}, "ready": "READY_FALSE"},
             "resources": {"a b": {"resource": {"kind": "X", "f": 1.5}, "ready": "READY_TRUE"}, "": {}}},
 "results": [{"severity": "SEVERITY_FATAL", "message": "no", "reason": "Why", "target": "TARGET_COMPOSITE_AND_CLAIM"},
             {"severity": "SEVERITY_NORMAL"}, {}],
 "context": {"k": [1, null]},
 "requirements": {"extraResources": {"e": {"apiVersion": "v1", "kind": "A", "matchName": "n"}},
   "resources": {"r": {"apiVersion": "v1", "kind": "B", "matchLabels": {"labels": {"l": "v"}}, "namespace": "ns"},
                 "all": {"apiVersion": "v1", "kind": "B"}},
   "schemas": {"s": {"apiVersion": "v1", "kind": "C"}}},
 "conditions": [{"type": "T", "status": "STATUS_CONDITION_TRUE", "reason": "R", "message": "m", "target": "TARGET_COMPOSITE"}],
 "output": {"o": true}
}"""


def test_every_field_of_an_answer_is_read_as_their_library_writes_it():
    assert wire.decode(messages.RESPONSE, of(upstream.Response, ALL).SerializeToString()) == {
        "meta": {"tag": "t", "ttl": {"seconds": 90, "nanos": 500_000_000}},
        "desired": {
            "composite": {"resource": {"status": {"n": 3}}, "connection_details": {"url": b"http"}, "ready": 2},
            "resources": {"a b": {"resource": {"kind": "X", "f": 1.5}, "ready": 1}, "": {}},
        },
        "results": [
            {"severity": 1, "message": "no", "reason": "Why", "target": 2},
            {"severity": 3},
            {},
        ],
        "context": {"k": [1, None]},
        "requirements": {
            "extra_resources": {"e": {"api_version": "v1", "kind": "A", "match_name": "n"}},
            "resources": {
                "r": {"api_version": "v1", "kind": "B", "match_labels": {"labels": {"l": "v"}}, "namespace": "ns"},
                "all": {"api_version": "v1", "kind": "B"},
            },
            "schemas": {"s": {"api_version": "v1", "kind": "C"}},
        },
        "conditions": [{"type": "T", "status": 2, "reason": "R", "message": "m", "target": 1}],
        "output": {"o": True},
    }


def test_negative_durations_and_unknown_enums_are_read_as_numbers():
    response = of(upstream.Response, '{"meta": {"ttl": "-1.5s"}, "results": [{"severity": 7}]}')
    found = wire.decode(messages.RESPONSE, response.SerializeToString())
    assert found["meta"]["ttl"] == {"seconds": -1, "nanos": -500_000_000}
    assert found["results"] == [{"severity": 7}]


def test_unknown_fields_of_every_wire_type_are_passed_over():
    unknown = bytes.fromhex("f80196ffffff0f" + "f901" + "01" * 8 + "fa0103616263" + "fd0101020304")
    known = upstream.Response(meta={"tag": "t"}).SerializeToString()
    assert wire.decode(messages.RESPONSE, unknown + known + unknown) == {"meta": {"tag": "t"}}


def test_what_is_written_is_what_their_library_reads():
    values = {
        "meta": {"tag": "t", "capabilities": messages.CAPABILITIES},
        "observed": {
            "composite": {"resource": {"spec": {"n": 3}}, "connection_details": {"k": b"\x00\xff"}},
            "resources": {"a": {"resource": {}, "ready": 1}},
        },
        "input": {"in": 1},
        "context": {},
        "extra_resources": {"none": {"items": []}},
        "credentials": {"c": {"credential_data": {"data": {"p": b"w"}}}},
        "required_resources": {"some": {"items": [{"resource": {"kind": "X"}}]}},
        "required_schemas": {"known": {"openapi_v3": {"type": "object"}}, "unknown": {}},
    }
    theirs = upstream.Request.FromString(wire.encode(messages.REQUEST, values))
    assert json_format.MessageToDict(theirs) == {
        "meta": {
            "tag": "t",
            "capabilities": [
                f"CAPABILITY_{each}"
                for each in ("CAPABILITIES", "REQUIRED_RESOURCES", "CREDENTIALS", "CONDITIONS", "REQUIRED_SCHEMAS")
            ],
        },
        "observed": {
            "composite": {"resource": {"spec": {"n": 3.0}}, "connectionDetails": {"k": "AP8="}},
            "resources": {"a": {"resource": {}, "ready": "READY_TRUE"}},
        },
        "input": {"in": 1.0},
        "context": {},
        "extraResources": {"none": {}},
        "credentials": {"c": {"credentialData": {"data": {"p": "dw=="}}}},
        "requiredResources": {"some": {"items": [{"resource": {"kind": "X"}}]}},
        "requiredSchemas": {"known": {"openapiV3": {"type": "object"}}, "unknown": {}},
    }


def test_the_same_values_give_the_same_bytes_in_whatever_order_they_come():
    one = {"b": {"x": 1, "a": [{"q": 1, "p": 2}]}, "a": None}
    other = {"a": None, "b": {"a": [{"p": 2, "q": 1}], "x": 1}}
    assert wire.struct(one) == wire.struct(other)


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, {1, 2}, b"x", object()])
def test_what_is_no_json_is_not_sent(value):
    with pytest.raises(InvalidInput):
        wire.struct({"a": [value]})


def test_a_text_that_is_no_unicode_is_sent_with_replacements():
    assert struct_pb2.Struct.FromString(wire.struct({"a": "x\ud800"}))["a"] == "x\ufffd"


def nested(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_nesting_has_a_limit_in_both_directions():
    data = wire.struct(nested(150))
    shape = {1: wire.Field("it", "struct")}
    assert wire.decode(shape, wire.encode(shape, {"it": data}))["it"] == nested(150)
    with pytest.raises(InvalidInput, match="nested"):
        wire.struct(nested(300))
    deep = b""
    for _ in range(5000):
        value = b"\x2a" + wire.varint(len(deep)) + deep
        entry = b"\x0a\x01a\x12" + wire.varint(len(value)) + value
        deep = b"\x0a" + wire.varint(len(entry)) + entry
    with pytest.raises(wire.Malformed, match="nested"):
        wire.decode(shape, b"\x0a" + wire.varint(len(deep)) + deep)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused(number):
    response = upstream.Response()
    response.context.fields["n"].number_value = number
    with pytest.raises(wire.Malformed, match="no JSON number"):
        wire.decode(messages.RESPONSE, response.SerializeToString())


@given(st.binary(max_size=200))
@example(bytes.fromhex("120c0a0a0a080a0161120320"))
@example(bytes.fromhex("ff" * 11))
@example(bytes.fromhex("12ffffffffffffffff7f"))
def test_any_bytes_are_read_or_refused(data):
    try:
        ours = wire.decode(messages.RESPONSE, data)
    except wire.Malformed:
        return
    assert isinstance(ours, dict)


@given(st.data())
def test_a_message_with_some_bytes_changed_is_read_or_refused(data):
    whole = bytearray(of(upstream.Response, ALL).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        wire.decode(messages.RESPONSE, bytes(whole[:cut]))
    except wire.Malformed:
        return
