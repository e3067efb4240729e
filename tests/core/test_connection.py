"""Connection details: where each comes from, and what a helpful publisher changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import connection
from groundplane.core.connection import ConnectionDetail
from groundplane.core.spec import FUNCTION, NATIVE
from groundplane.errors import InvalidInput

OBJECT = {"metadata": {"name": "test", "generation": 4}, "status": {"list": ["a<b", 1.5]}}
SECRET = {"foo": b"a", "bar": b"\xff\x00"}


def details(*raw):
    return connection.compile([ConnectionDetail(**item) for item in raw])


def test_details_come_from_secrets_fields_and_fixed_values():
    # Source: Crossplane v1.20 connection_test.go, TestExtractConnectionDetails, as specified.
    found = connection.extract(
        details(
            {"type": "FromConnectionSecretKey", "name": "bar", "fromConnectionSecretKey": "bar"},
            {"type": "FromConnectionSecretKey", "name": "none", "fromConnectionSecretKey": "none"},
            {"type": "FromConnectionSecretKey", "name": "convfoo", "fromConnectionSecretKey": "foo"},
            {"type": "FromValue", "name": "fixed", "value": "value"},
            {"type": "FromFieldPath", "name": "name", "fromFieldPath": "metadata.name"},
            {"type": "FromFieldPath", "name": "generation", "fromFieldPath": "metadata.generation"},
            {"type": "FromFieldPath", "name": "list", "fromFieldPath": "status.list"},
        ),
        OBJECT,
        SECRET,
    )
    assert found == {
        "bar": b"\xff\x00",
        "convfoo": b"a",
        "fixed": b"value",
        "name": b"test",
        "generation": b"4",
        "list": b'["a\\u003cb",1.5]',
    }


@pytest.mark.parametrize("path", ["status.missing", "status.list.name", "status..x"])
def test_a_field_that_can_not_be_read_is_left_out(path):
    assert connection.extract(details({"name": "a", "fromFieldPath": path}), OBJECT, {}) == {}


@pytest.mark.parametrize(
    ("raw", "kind", "name"),
    [
        ({"name": "a", "value": "x", "fromFieldPath": "y"}, "FromValue", "a"),
        ({"fromConnectionSecretKey": "key", "fromFieldPath": "y"}, "FromConnectionSecretKey", "key"),
        ({"name": "a", "fromFieldPath": "y"}, "FromFieldPath", "a"),
        ({"type": "FromFieldPath", "name": "a", "fromFieldPath": ""}, "FromFieldPath", "a"),
    ],
)
def test_the_type_follows_from_the_settings(raw, kind, name):
    [detail] = details(raw)
    assert (detail.kind, detail.name, detail.error) == (kind, name, "")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"type": "FromValue", "value": "x"}, "missing name"),
        ({"type": "FromFieldPath", "fromFieldPath": "a"}, "missing name"),
        ({"name": "a"}, "has no fromConnectionSecretKey"),
        ({"name": "a", "type": "FromValue"}, "has no value"),
    ],
)
def test_an_incomplete_detail_is_an_error_that_says_where(raw, text):
    with pytest.raises(InvalidInput, match=text) as caught:
        connection.extract(details({"name": "ok", "value": "x"}, raw), OBJECT, {})
    assert caught.value.where == ("connectionDetails[1]",)


@pytest.mark.parametrize(
    ("raw", "field"),
    [({}, "type"), ({"type": "FromValue"}, "name"), ({"type": "FromValue", "name": "a"}, "value")],
)
def test_the_function_wants_everything_said(raw, field):
    detail = ConnectionDetail(**raw)
    assert [problem.field for problem in detail.problems(FUNCTION)] == [field]
    assert not list(detail.problems(NATIVE))


@pytest.mark.parametrize(
    ("host", "port", "published"),
    [
        (b"db.example.org:5432", b"5432", b"db.example.org"),
        (b"db.example.org:5432", b"5433", b"db.example.org:5432"),
        (b"db.example.org", b"5432", b"db.example.org"),
        (b":5432", b"5432", b":5432"),
        (b"::1:5432", b"5432", b"::1"),
        (b"db:http", b"http", b"db:http"),
    ],
)
def test_a_host_loses_its_port_only_if_it_is_the_port(host, port, published):
    found = {"host": host, "port": port}
    assert connection.without_port(found) is (published != host)
    assert found == {"host": published, "port": port}


@given(st.dictionaries(st.sampled_from(["host", "port", "endpoint"]), st.binary(max_size=6)))
def test_nothing_but_the_host_is_ever_changed(found):
    before = dict(found)
    connection.without_port(found)
    assert {name: value for name, value in found.items() if name != "host"} == {
        name: value for name, value in before.items() if name != "host"
    }


def test_a_fixed_value_is_not_shown():
    [detail] = details({"name": "a", "value": "hunter2"})
    assert "hunter2" not in repr(detail)
