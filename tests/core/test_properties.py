"""The laws of `tests/fuzz.py`, under hypothesis; and what fuzzing found, so that it stays found."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundplane.core import conditions, connection, fieldpath, goformat, goyaml, mistakes, naming, preview
from groundplane.core.objects import merge_patched, spec_of, status_of
from groundplane.core.spec import NATIVE
from groundplane.core.transforms.base import Convert
from groundplane.core.transforms.convert import ConvertTransform
from groundplane.errors import InvalidInput
from tests import fuzz

LONE = "a\ud800"  # half of a character: no text of an API server, but of a YAML file


@pytest.mark.parametrize("check", fuzz.CHECKS, ids=lambda check: check.__name__)
@settings(max_examples=60)
@given(rng=st.randoms(use_true_random=False))
def test_a_law_holds_for_whatever_hypothesis_makes_up(check, rng):
    check(rng)


@pytest.mark.parametrize("check", fuzz.CHECKS, ids=lambda check: check.__name__)
def test_a_law_holds_for_a_few_hundred_seeds(check):
    for seed in range(200):
        check(random.Random(seed))


def test_a_broken_law_is_noticed(monkeypatch):
    monkeypatch.setattr(fieldpath, "set", lambda obj, path, value: obj.update(surprise=1))
    with pytest.raises((fuzz.Broken, InvalidInput)):
        list(map(fuzz.what_is_set_can_be_got, map(random.Random, range(100))))


# --- found by fuzzing -----------------------------------------------------------------------------------------


def test_a_text_that_is_no_unicode_is_written_all_the_same():
    assert goyaml.dumps({LONE: LONE}) == "a\ufffd: a\ufffd\n"
    assert goformat.sprintf("%x", LONE) == "61efbfbd"
    detail = connection.ConnectionDetail(name="a", type="FromValue", value=LONE)
    assert connection.extract(connection.compile([detail]), {}, {}) == {"a": "a\ufffd".encode()}


def test_an_integer_beyond_every_float_is_refused_as_yaml_too():
    with pytest.raises(InvalidInput, match="no JSON number"):
        goyaml.dumps(10**400)


def test_an_integer_beyond_every_float_is_not_converted_to_one():
    convert = ConvertTransform(type="convert", convert=Convert(toType="float64"))
    with pytest.raises(InvalidInput, match="no JSON number"):
        convert.compile(NATIVE)(10**400)


@pytest.mark.parametrize("odd", [5, 0.5, "text", True, ["x"], {"type": "Ready"}])
def test_conditions_that_are_none_are_no_conditions(odd):
    obj = {"status": {"conditions": odd}}
    assert conditions.find(obj, "Ready") is None
    conditions.set_on(obj, conditions.available(), now=datetime(2024, 1, 1, tzinfo=UTC))
    assert [condition["type"] for condition in obj["status"]["conditions"]] == ["Ready"]


def test_what_others_say_is_cut_to_what_a_condition_may_hold():
    obj = {}
    long = conditions.Condition("Synced", "False", "r" * 5000, "it failed: " + "x" * 2_000_000)
    for _ in range(2):  # and it is the same when it is told again
        conditions.set_on(obj, long, now=datetime(2024, 1, 1, tzinfo=UTC))
        (told,) = obj["status"]["conditions"]
        assert (len(told["message"]), len(told["reason"])) == (32_768, 1024)
        assert told["message"].startswith("it failed: xxx")
        assert told["message"].endswith("… (cut: 2000011 characters in all)")
    caused = conditions.creating(conditions.with_cause("Unready", conditions.cause_of(obj)))
    conditions.set_on(obj, caused, now=datetime(2024, 1, 1, tzinfo=UTC))
    assert len(conditions.find(obj, "Ready")["message"]) <= 32_768


@pytest.mark.parametrize("odd", ["text", ["x"], 5])
def test_a_status_that_is_no_object_is_told_and_never_overwritten(odd):
    obj = {"status": odd}
    assert status_of(obj) == {}
    with pytest.raises(InvalidInput, match="not an object"):
        conditions.set_on(obj, conditions.available(), now=datetime(2024, 1, 1, tzinfo=UTC))
    assert obj == {"status": odd}


def test_a_spec_that_is_no_object_is_none():
    assert spec_of({"spec": "text"}) == {}


def test_the_place_of_a_field_with_an_odd_name_is_its_path():
    assert mistakes.place("spec.resources[0].", {}) == ("spec.resources[0].",)
    assert mistakes.place("", {}) == ("",)


def test_a_reference_to_a_secret_that_is_no_name_finds_none():
    observed = preview.observe({}, [])
    assert observed.connection({"spec": {"writeConnectionSecretToRef": {"name": {"a": 1}}}}) == {}


# --- laws with strategies of their own --------------------------------------------------------------------------

names = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)


@given(names, names)
def test_the_composite_of_a_claim_is_always_the_same_and_has_a_valid_name(name, namespace):
    claim = {"apiVersion": "a.b/v1", "kind": "Thing", "metadata": {"name": name, "namespace": namespace}, "spec": {}}
    one, two = (preview.composite_of(claim, api_version="a.b/v1", kind="XThing") for _ in range(2))
    assert one == two
    assert len(one["metadata"]["name"]) <= naming.MAX_LENGTH
    assert one["spec"]["claimRef"]["name"] == name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, json_values)
def test_a_merge_patch_has_the_last_word_and_leaves_no_nulls_of_its_own(target, patch):
    once = merge_patched(target, patch)
    assert merge_patched(once, patch) == once
    if not isinstance(patch, dict):
        assert once == patch
