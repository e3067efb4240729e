"""Field paths: laws that hold for any path and object.  Upstream's single answers are in test_conformance.py."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import fieldpath
from groundplane.core.fieldpath import FieldNotFound, MergeOptions, PathSyntax, WrongType, parse
from groundplane.errors import InvalidInput

names = st.text(alphabet="ab*.é", min_size=1, max_size=3)
indices = st.integers(0, 3)
paths = st.builds(
    lambda first, rest: "".join(f"[{part}]" for part in (first, *rest)), names, st.lists(names | indices, max_size=4)
)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=3)
values = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, values, max_size=4)
options = st.none() | st.builds(MergeOptions, st.booleans(), st.booleans())


@given(objects, paths, values)
def test_what_was_set_is_found(obj, text, value):
    path = parse(text)
    try:
        fieldpath.set(obj, path, value)
    except WrongType:
        return
    assert fieldpath.same(fieldpath.get(obj, path), fieldpath.normalised(value))


@given(objects, paths, values)
def test_a_set_that_fails_changes_nothing(obj, text, value):
    before = fieldpath.copied(obj)
    try:
        fieldpath.set(obj, parse(text), value)
    except InvalidInput:
        assert fieldpath.same(obj, before)


@given(objects, paths, values)
def test_checking_a_set_raises_exactly_when_setting_does(obj, text, value):
    try:
        fieldpath.check_set(obj, parse(text))
    except WrongType:
        with pytest.raises(WrongType):
            fieldpath.set(obj, parse(text), value)
    else:
        fieldpath.set(obj, parse(text), value)


@given(objects, paths)
def test_finding_and_getting_agree(obj, text):
    path = parse(text)
    try:
        found = fieldpath.find(obj, path)
    except WrongType:
        with pytest.raises(WrongType):
            fieldpath.get(obj, path)
        return
    if found is fieldpath.MISSING:
        with pytest.raises(FieldNotFound):
            fieldpath.get(obj, path)
    else:
        assert fieldpath.get(obj, path) is found


@given(objects, paths)
def test_what_was_deleted_is_gone(obj, text):
    path = parse(text)
    before = fieldpath.copied(obj)
    try:
        fieldpath.delete(obj, path)
    except WrongType:
        assert fieldpath.same(obj, before)
        return
    if isinstance(path.segments[-1], str):
        with pytest.raises((FieldNotFound, WrongType)):
            fieldpath.get(obj, path)


@given(st.text(alphabet="ab.[]'\"*01 é", max_size=8))
def test_any_text_is_a_path_or_a_syntax_error_that_says_where(text):
    try:
        path = parse(text)
    except PathSyntax:
        with pytest.raises(PathSyntax, match="position"):
            parse(text)
        return
    assert parse(text) is path


@given(st.text(alphabet="ab.[]*01é", max_size=8))
def test_a_path_without_quotes_survives_being_spelt_out(text):
    try:
        path = parse(text)
    except PathSyntax:
        return
    assert parse(str(path)).segments == path.segments


@given(values, values, options)
def test_merging_changes_neither_side(there, value, how):
    old, new = fieldpath.copied(there), fieldpath.copied(value)
    with contextlib.suppress(InvalidInput):
        fieldpath.merged(there, value, how or MergeOptions())
    assert fieldpath.same(there, old)
    assert fieldpath.same(value, new)


@given(objects, objects)
def test_keeping_loses_nothing_that_is_there(there, value):
    result = fieldpath.merged(there, value, MergeOptions(keep=True))
    for name, old in there.items():
        if old and not isinstance(old, dict):
            assert fieldpath.same(result[name], old)


@given(objects, objects)
def test_merging_the_same_twice_is_merging_once(there, value):
    for how in (MergeOptions(keep=True), MergeOptions()):
        once = fieldpath.merged(there, value, how)
        assert fieldpath.same(fieldpath.merged(once, value, how), once)


@given(objects, st.dictionaries(names, st.lists(scalars, max_size=3), min_size=1, max_size=1))
def test_appending_to_a_list_twice_adds_nothing_new(obj, source):
    [(name, items)] = source.items()
    obj[name] = [1]
    path = fieldpath.Path("", (name,))
    for _ in range(2):
        fieldpath.merge_value(obj, path, items, MergeOptions(append=True))
    assert obj[name] == [1, *[item for item in fieldpath.normalised(items) if not fieldpath.same(item, 1)]]


@given(values)
def test_normalising_is_stable(value):
    once = fieldpath.normalised(value)
    assert fieldpath.same(fieldpath.normalised(once), once)


def test_setting_shares_nothing_with_the_value():
    value = {"list": [1]}
    obj = {}
    fieldpath.set(obj, parse("a"), value)
    obj["a"]["list"].append(2)
    assert value == {"list": [1]}


def test_an_index_beyond_the_limit_is_refused_before_anything_is_made():
    obj = {}
    with pytest.raises(InvalidInput, match="too large"):
        fieldpath.set(obj, parse("a[1025]"), 1)
    assert obj == {}
    fieldpath.set(obj, parse("a[1024]"), 1)
    assert len(obj["a"]) == 1025


def test_an_index_of_five_thousand_digits_is_a_field():
    assert parse(f"a[{'9' * 5000}]").segments == ("a", "9" * 5000)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"a": float("-inf")}]])
def test_what_is_no_json_number_is_not_set(value):
    obj = {"a": 1}
    with pytest.raises(InvalidInput, match="no JSON number"):
        fieldpath.set(obj, parse("a"), value)
    assert obj == {"a": 1}


def test_a_key_that_is_no_string_is_refused():
    with pytest.raises(InvalidInput, match="the key 1 is no string"):
        fieldpath.normalised({"a": {1: "x"}})


def test_absurd_nesting_is_refused():
    value = []
    for _ in range(1000):
        value = [value]
    for use in (fieldpath.normalised, fieldpath.copied):
        with pytest.raises(InvalidInput, match="nested"):
            use(value)


def test_a_key_that_is_a_star_does_not_run_for_ever():
    with pytest.raises(WrongType, match="wildcard"):
        fieldpath.expand({"a": {"*": {"b": 1}}}, parse("a[*].b"))


def test_what_a_wildcard_can_not_pass_is_named_from_the_root():
    with pytest.raises(WrongType, match=r"^a\[0\]: not an object, but a number"):
        fieldpath.expand({"a": [1, {"x": 1}]}, parse("a[*].x"))


def test_errors_name_the_place_and_the_kind_that_was_met():
    with pytest.raises(WrongType, match=r"^spec\.list: not an object, but an array$"):
        fieldpath.get({"spec": {"list": [1]}}, parse("spec.list.name"))
    with pytest.raises(FieldNotFound, match=r"^spec\.rules\[2\]: no such element: there are 1$"):
        fieldpath.get({"spec": {"rules": [1]}}, parse("spec.rules[2].port"))


def test_integers_beyond_64_bits_become_floats_and_those_within_stay_exact():
    assert fieldpath.normalised(2**63 - 1) == 2**63 - 1
    assert isinstance(fieldpath.normalised(2**63), float)
    with pytest.raises(InvalidInput):
        fieldpath.normalised(10**400)
