"""Go's texts: what the recorded answers in tests/vectors do not reach.  Answers are Go 1.26's."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import fieldpath, goformat
from groundplane.errors import InvalidInput

floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | floats | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@given(floats)
def test_a_shortest_float_reads_back_exactly(value):
    for form in "efgE":
        text = goformat.format_float(value, form, -1)
        assert struct.pack(">d", float(text)) == struct.pack(">d", value)
    assert float.fromhex(goformat.format_float(value, "x", -1)) == value


@given(values)
def test_json_that_is_read_is_written_the_same_again(value):
    text = goformat.dumps(fieldpath.normalised(value))
    assert goformat.dumps(json.loads(text)) == text


@given(values)
def test_json_is_one_line_and_safe_in_html(value):
    text = goformat.dumps(value)
    assert not set(text) & set("<>&\n\u2028\u2029")


@given(st.lists(scalars, max_size=3), st.text(alphabet="%svdqx+-# 0[]12.*a", max_size=8))
def test_a_prepared_format_answers_as_formatting_on_the_spot(values, template):
    try:
        expected = goformat.sprintf(template, *values)
    except InvalidInput:
        return
    assert goformat.formatter(template, len(values))(values) == expected


@given(st.text(alphabet="%svdqxXobcUtTfFgGeEz+-# 0[]123.*é", max_size=12), st.lists(values, max_size=3))
def test_formatting_never_fails(template, values):
    goformat.sprintf(template, *values)


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("%-.", [1], "%!.(int64=1)"),
        ("%#w %+w", ["a", 1.5], '%!w(string="a") %!w(float64=1.5)'),
        ("%w", [["a"]], "%!w([]interface {}=[a])"),
        ("%[2]s %s", ["a", "b"], "b %!s(MISSING)"),
        ("%#U", [0x1F600], "U+1F600 '😀'"),
        ("%+q", ["日\x07"], '"\\u65e5\\a"'),
        ("%b", [1.0], "4503599627370496p-52"),
        ("%b", [5e-324], "1p-1074"),
        ("%.3x", [3.14159], "0x1.922p+01"),
        ("%.0x", [1.9999], "0x1p+01"),
        ("%#g", [10.0], "10.0000"),
        ("%#.3x", [1.0], "0x1.000p+00"),
        ("%+.2e", [12345.678], "+1.23e+04"),
        ("%08.3f", [-3.14159], "-003.142"),
        ("% x", ["abc"], "61 62 63"),
        ("%# x", ["abc"], "0x61 0x62 0x63"),
        ("%p", [[1]], "%!p([]interface {}=[1])"),
        ("%*d", [-5, 42], "42   "),
        ("%.*f", [2, 3.14159], "3.14"),
        ("%c", [0xD800], "\ufffd"),
        ("%v", [float("inf")], "+Inf"),
        ("%f", [float("nan")], "NaN"),
    ],
)
def test_corners_of_formatting(template, values, expected):
    assert goformat.sprintf(template, *values) == expected


@pytest.mark.parametrize(
    ("template", "values"),
    [("%2000000d", [1]), ("%.2000000f", [1.0]), ("%999999d" * 2, [1, 1]), ("%*d%*d", [10**6, 1, 10**6, 1])],
)
def test_absurd_lengths_are_refused(template, values):
    with pytest.raises(InvalidInput):
        goformat.sprintf(template, *values)


def test_absurd_nesting_is_refused():
    value = []
    for _ in range(1000):
        value = [value]
    with pytest.raises(InvalidInput, match="nested"):
        goformat.dumps(value)
    with pytest.raises(InvalidInput, match="nested"):
        goformat.text(value)


def test_json_has_no_infinity():
    with pytest.raises(InvalidInput, match="no JSON number"):
        goformat.dumps([float("inf")])


def test_undecodable_bytes_become_the_replacement_character_in_json():
    assert goformat.dumps(b"a\xff".decode("utf-8", "surrogateescape")) == '"a\ufffd"'
