"""YAML as upstream hashes it: answers of sigs.k8s.io/yaml v1.4."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import goyaml
from groundplane.errors import InvalidInput

LONG = " ".join(["word"] * 24)
FOLDED = " ".join(["word"] * 16) + "\n  " + " ".join(["word"] * 8)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}\n"),
        (None, "null\n"),
        ({"a": [1, None, [], {}]}, "a:\n- 1\n- null\n- []\n- {}\n"),
        ({"a": [[1], {"b": True}]}, "a:\n- - 1\n- b: true\n"),
        ({"y": "no", "n": "1_000"}, '"n": "1_000"\n"y": "no"\n'),
        ({"a": "0x1f", "b": "1e3", "c": "1.5", "d": "12:30:45"}, 'a: "0x1f"\nb: "1e3"\nc: "1.5"\nd: "12:30:45"\n'),
        ({"a": "2020-01-01", "b": "~", "c": "<<"}, 'a: "2020-01-01"\nb: "~"\nc: <<\n'),
        ({"a": "x\ty", "b": "%{x", "c": "a: b", "d": ""}, "a: \"x\\ty\"\nb: '%{x'\nc: 'a: b'\nd: \"\"\n"),
        ({"a": "one\ntwo", "b": "one\n", "c": "end\n\n"}, "a: |-\n  one\n  two\nb: |\n  one\nc: |+\n  end\n\n"),
        ({"a": LONG}, f"a: {FOLDED}\n"),
        ({"a": 1.0, "b": 1e21, "c": 100000.5, "d": 2**64}, "a: 1\nb: 1e+21\nc: 100000.5\nd: 1.8446744073709552e+19\n"),
        ({"a10": 1, "a9": 2, "a-1": 3, "a09": 4}, "a-1: 3\na9: 2\na09: 4\na10: 1\n"),
        ({"é": "日本", "b": "🙂"}, 'b: "\\U0001F642"\né: 日本\n'),
    ],
)
def test_yaml_is_written_as_upstream_writes_it(value, text):
    assert goyaml.dumps(value) == text


names = st.text(alphabet="ab1-. ", max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(alphabet="ab1 :#'\"\n-é", max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
)


@given(values)
def test_what_was_written_reads_back(value):
    assert yaml.safe_load(goyaml.dumps(value)) == value


def test_absurd_nesting_is_refused():
    value = []
    for _ in range(1000):
        value = [value]
    with pytest.raises(InvalidInput, match="nested"):
        goyaml.dumps(value)
