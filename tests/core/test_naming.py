"""Names: within the limits, deterministic where a repeat must meet itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import naming

LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = re.compile(rf"{LABEL}(\.{LABEL})*")  # RFC 1123, as the API server has it
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
subdomains = st.lists(labels, min_size=1, max_size=60).map(".".join).map(lambda text: text[:253].rstrip("-."))


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("orders-", "orders-2447fc20d672"),
        ("orders", "orders-2447fc20d672"),
        ("x" * 60, "x" * 50 + "-2447fc20d672"),
        ("x" * 50 + "-", "x" * 50 + "-2447fc20d672"),
        ("x" * 50 + "-yyyyy-", "x" * 50 + "-2447fc20d672"),
        ("x" * 49 + ".yyyyy-", "x" * 49 + "-2447fc20d672"),
        ("x" * 48 + ".y.yyy", "x" * 48 + ".y-2447fc20d672"),
        ("orders.", "orders-2447fc20d672"),
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


@given(subdomains, st.text(max_size=300))
def test_of_a_name_that_the_api_server_takes_only_names_are_made_that_it_takes(name, resource):
    composite = naming.composite_name(name, lambda n: n - 1)
    made = [
        composite,
        naming.composed_name(name, "uid", resource),
        naming.composed_name(f"{composite}-", "uid", resource),
    ]
    assert [one for one in made if not SUBDOMAIN.fullmatch(one) or len(one) > 63] == []


@given(st.text(max_size=300))
def test_a_secret_is_named_well_whatever_the_template_is_called(resource):
    name = naming.secret_name("6f1c2a", resource)
    assert SUBDOMAIN.fullmatch(name), name
    assert len(name) <= 253
    assert name.startswith("6f1c2a")
