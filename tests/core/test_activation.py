"""Globs over the names of managed definitions: what Go's filepath.Match says of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core.activation import Policies, globs_of, head, is_matched
from groundplane.core.objects import Key

BUCKETS = "buckets.s3.aws.upbound.io"
# Source: Go 1.24, path/filepath/match_test.go, as far as it is not about malformed patterns that meet no end.
GO = [
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "abc", True),
    ("a*", "ab/c", False),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "ab", False),
    ("a?b", "a☺b", True),
    ("a[^a]b", "a☺b", True),
    ("a???b", "a☺b", False),
    ("[a-ζ]*", "α", True),
    ("*[a-ζ]", "A", False),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    ("[\\]a]", "]", True),
    ("[\\-]", "-", True),
    ("[x\\-]", "x", True),
    ("[x\\-]", "z", False),
    ("[\\-x]", "a", False),
    ("[]a]", "]", False),
    ("[-]", "-", False),
    ("[x-]", "x", False),
    ("[-x]", "x", False),
    ("\\", "a", False),
    ("[a-b-c]", "a", False),
    ("[", "a", False),
    ("[^", "a", False),
    ("[^bc", "a", False),
    ("a[", "a", False),
    ("a[", "ab", False),
    ("a[", "x", False),
    ("*x", "xxx", True),
    ("", "", True),
    ("", "a", False),
    ("**", "abc", True),
    ("*.s3.aws.upbound.io", BUCKETS, True),
    ("*.aws.upbound.io", BUCKETS, True),
    ("*.ec2.aws.upbound.io", BUCKETS, False),
    (BUCKETS, BUCKETS, True),
    ("[!b]*", BUCKETS, True),  # no negation in Go: "!" or "b"
]


@pytest.mark.parametrize(("glob", "name", "expected"), GO)
def test_a_glob_is_what_it_is_in_go(glob, name, expected):
    assert is_matched(name, [glob]) is expected


@given(st.text(alphabet="ab*?[]^-\\/", max_size=40), st.text(alphabet="ab/", max_size=60))
def test_any_text_is_a_glob_or_none(glob, name):
    assert is_matched(name, [glob]) in (True, False)


def test_many_stars_cost_no_more_than_name_times_glob():
    assert not is_matched("a" * 250, ["*a" * 500 + "b"])


def test_one_glob_that_fits_is_enough_and_a_malformed_one_fits_nothing():
    assert is_matched(BUCKETS, ["[", "vpcs.*", "buckets.*"])
    assert not is_matched(BUCKETS, [])


@pytest.mark.parametrize(
    ("spec", "expected"), [({"activate": ["*", 5]}, ("*",)), ({"activate": "*"}, ()), ({}, ()), (None, ())]
)
def test_what_a_policy_activates_is_what_is_text(spec, expected):
    assert globs_of({"spec": spec}) == expected


def test_policies_are_found_by_a_definitions_name_until_they_are_forgotten():
    one, other = (Key("apiextensions.crossplane.io/v1alpha1", "ManagedResourceActivationPolicy", "", n) for n in "ab")
    policies = Policies()
    policies.set(one, ("*.s3.*",))
    policies.set(other, ("*",))
    assert policies.of(BUCKETS) == [one, other]
    policies.set(one, ())
    policies.set(one, ())
    assert policies.of(BUCKETS) == [other]


def test_the_head_of_a_definition_has_its_state_and_none_of_its_schemas():
    found = head(
        {
            "apiVersion": "a/v1",
            "kind": "ManagedResourceDefinition",
            "metadata": {"name": BUCKETS, "uid": "u", "managedFields": [1]},
            "spec": {"state": "Active", "versions": [{"name": "v1"}]},
        }
    )
    assert found["spec"] == {"state": "Active"}
    assert found["metadata"] == {"name": BUCKETS, "uid": "u"}
