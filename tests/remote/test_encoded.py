"""What requests consist of is encoded once for each version, and what is kept of that has a bound."""

from __future__ import annotations

import pytest

from groundplane.core.pipeline import Request, Resource, State
from groundplane.errors import InvalidInput
from groundplane.remote import messages, wire
from groundplane.remote.encoded import MOST_INPUTS, Encoded


def obj(name="a", version="1", api_version="v1", **more):
    metadata = {"name": name, "uid": f"u-{name}", "resourceVersion": version}
    return {"apiVersion": api_version, "kind": "Thing", "metadata": metadata} | more


@pytest.fixture
def encodings(monkeypatch):
    """The objects that were encoded."""
    found, struct = [], wire.struct

    def counting(given, depth=0):
        if depth == 0:
            found.append(given)
        return struct(given, depth)

    monkeypatch.setattr(wire, "struct", counting)
    return found


def test_an_unchanged_reconcile_encodes_only_what_is_desired(encodings):
    encoded, given = Encoded(), {"kind": "Input"}

    def asked(size):
        observed = State(Resource(obj("x")), {name: Resource(obj(name), ready=True) for name in "abc"})
        desired = State(Resource({}), {"a": Resource({"kind": "Thing", "size": size})})
        request = Request(observed, desired, required={"r": [obj("r")]}, extra={"e": [obj("e")]})
        return messages.asked(request, given, encoded)

    first = asked(1)
    assert len(encodings) > 6
    encodings.clear()
    assert asked(1) == first
    assert [each for each in encodings if each] == [{"kind": "Thing", "size": 1}]
    assert asked(2) != first
    assert first == messages.asked(
        Request(
            State(Resource(obj("x")), {name: Resource(obj(name), ready=True) for name in "abc"}),
            State(Resource({}), {"a": Resource({"kind": "Thing", "size": 1})}),
            required={"r": [obj("r")]},
            extra={"e": [obj("e")]},
        ),
        given,
        Encoded(),
    )


@pytest.mark.parametrize(
    "other",
    [obj(version="2"), obj("b"), obj(api_version="v2"), obj(version="2", spec={"n": 1})],
    ids=["version", "uid", "api version", "content"],
)
def test_another_version_is_another_object(other):
    encoded = Encoded()
    assert encoded.object(obj()) == wire.struct(obj())
    assert encoded.object(other) == wire.struct(other)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        None,
        "text",
        {"uid": "u"},
        {"resourceVersion": "1"},
        {"uid": "", "resourceVersion": "1"},
        {"uid": 1, "resourceVersion": "1"},
    ],
)
def test_what_nobody_has_stored_is_encoded_each_time(metadata):
    encoded = Encoded()
    for n in (1, 2):
        given = {"apiVersion": "v1", "metadata": metadata, "n": n}
        assert encoded.object(given) == wire.struct(given)


def test_what_is_kept_has_a_bound_and_the_longest_unused_goes_first(encodings):
    size = len(wire.struct(obj()))
    encoded = Encoded(most=3 * size)
    for name in ("a", "b", "c", "a", "d", "a"):
        encoded.object(obj(name))
    encodings.clear()
    for name in ("a", "c", "d"):
        encoded.object(obj(name))
    assert encodings == []
    encoded.object(obj("b"))
    assert len(encodings) == 1
    large = obj("large", data="x" * 10 * size)
    assert encoded.object(large) == wire.struct(large)
    encodings.clear()
    encoded.object(obj("a"))
    assert len(encodings) == 1, "one that is larger than all that is kept leaves nothing beside it, and does not stay"


def test_inputs_are_known_by_what_they_are_not_by_where_they_were():
    encoded = Encoded()
    for number in range(3 * MOST_INPUTS):
        given = {"n": number}
        assert encoded.input(given) == wire.struct({"n": number})
    assert len(encoded._inputs) == MOST_INPUTS


def test_what_is_no_json_is_an_error_each_time():
    encoded = Encoded()
    for _ in range(2):
        with pytest.raises(InvalidInput):
            encoded.object(obj(bad={1, 2}))
