"""Names: within the limits, deterministic where a repeat must meet itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import naming

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("orders-", "orders-2447fc20d672"),
        ("orders", "orders-2447fc20d672"),
        ("x" * 60, "x" * 50 + "-2447fc20d672"),
        ("x" * 50 + "-", "x" * 50 + "-2447fc20d672"),
        ("x" * 50 + "-yyyyy-", "x" * 50 + "-2447fc20d672"),
    ],
)
def test_a_composed_name_is_cut_before_its_digest(prefix, name):
    assert naming.composed_name(prefix, "uid", "bucket") == name


@given(labels, st.text(max_size=40), st.text(max_size=40))
def test_a_composed_name_fits_and_is_always_the_same(prefix, uid, resource):
    name = naming.composed_name(prefix, uid, resource)
    assert len(name) <= naming.MAX_LENGTH
    assert re.fullmatch("[a-z0-9-]+-[0-9a-f]{12}", name)
    assert naming.composed_name(prefix, uid, resource) == name


def test_composed_names_differ_by_composite_and_by_template():
    names = {naming.composed_name("a-", uid, resource) for uid in ("1", "2") for resource in ("x", "y")}
    assert len(names) == 4


@given(labels, st.lists(st.integers(0, 26), min_size=5, max_size=5))
def test_a_composite_name_fits_and_has_five_random_characters(claim, indices):
    chosen = iter(indices)
    name = naming.composite_name(claim, lambda n: next(chosen) % n)
    assert len(name) <= naming.MAX_LENGTH
    assert name[:-5] == f"{claim}-"[:58]
    assert set(name[-5:]) <= set("bcdfghjklmnpqrstvwxz2456789")
