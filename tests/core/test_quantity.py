"""Quantities: corners, answered by k8s.io/apimachinery v0.34."""

from __future__ import annotations

import pytest

from groundplane.core import quantity
from groundplane.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1000m", 1.0),
        ("1.5", 1.5),
        ("0.5Gi", 536870912.0),
        ("-1Gi", -1073741824.0),
        ("1e3", 1000.0),
        ("1E", 1e18),
        ("1Ei", 1152921504606846976.0),
        ("Gi", 0.0),
        ("-", 0.0),
        (".", 0.0),
        ("-0", 0.0),
        ("5.", 5.0),
        ("100u", 9.999999999999999e-05),
        ("0.1n", 1e-09),
        ("-0.1n", -1e-09),
        ("1.23456789012345678901", 1.234567891),
        ("1e100", 1e100),
        ("9999999999999999999Ei", 9.223372036854775807e18),
        ("1e-999999999", 1e-09),
        ("1e999999999", float("inf")),
    ],
)
def test_a_quantity_is_read(text, value):
    found = quantity.parse(text)
    assert found == value
    assert str(found) == str(value)  # no negative zero


@pytest.mark.parametrize(
    "text", ["", " 1", "1 Gi", "1K", "1MB", "1Yi", "1e3Ki", "0x10", "Pi", "e-12", "1\n", "٣", "1" * 2000]
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(InvalidInput, match="is no quantity"):
        quantity.parse(text)
