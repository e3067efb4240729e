"""What test files may expect of values."""

from __future__ import annotations

import pytest

from groundplane.core.expectation import differences
from groundplane.core.fieldpath import MISSING
from groundplane.errors import InvalidInput

FITS = [
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, {"a": 1.0}),
    ([{"a": 1}], [{"a": 1, "b": 2}]),
    ({}, {"a": 1}),
    (None, None),
    ({"a": {"$absent": True}}, {"b": 1}),
    ({"a": {"$absent": False}}, {"a": None}),
    ({"$exact": {"a": [1]}}, {"a": [1]}),
    ({"$contains": "b"}, "abc"),
    ({"$contains": {"a": 1}}, [{"a": 2}, {"a": 1, "b": 3}]),
    ({"$contains": [1, 2]}, [3, 2, 1]),
    (
        {"$unordered": [{"a": {"$gt": 0}}, {"a": 1}]},
        [{"a": 1}, {"a": 2}],
    ),  # the first must not take what only the second may
    ({"$match": "^a.c$"}, "abc"),
    ({"$type": "integer"}, 3),
    ({"$type": "number"}, 3.5),
    ({"$gte": 3, "$lt": 4}, 3),
    ({"$gt": "a"}, "b"),
]
DIFFERS = [
    ({"a": 1}, {"a": 2}, "a: want 1, got 2"),
    ({"a": 1}, {"a": True}, "a: want 1, got true"),
    ({"a": "1"}, {"a": 1}, 'a: want "1", got 1'),
    ({"a": {"b": 1}}, {"a": 1}, "a: want a map with b, got 1"),
    ({"a": None}, {}, "a: want null, got nothing"),
    ({"a": [1]}, {"a": [1, 2]}, "a: want 1 elements, got 2: [1, 2]"),
    ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "a[0].b: want 1, got 2"),
    ({"x.y": 1}, {}, "[x.y]: want 1, got nothing"),
    ({"$absent": True}, 1, "it: want nothing, got 1"),
    ({"$absent": False}, MISSING, "it: want something, got nothing"),
    ({"$exact": {"a": 1}}, {"a": 1, "b": 2}, 'it: want exactly {"a": 1}, got {"a": 1, "b": 2}'),
    ({"$exact": 1}, True, "it: want exactly 1, got true"),
    ({"$contains": "x"}, "abc", 'it: want a text with "x", got "abc"'),
    ({"$contains": 1}, {}, "it: want something that contains 1, got {}"),
    ({"$unordered": [1, 1]}, [1, 2], "it: want an element 1, got [1, 2]"),
    ({"$unordered": [1]}, [1, 1], "it: want in any order [1], got [1, 1]"),
    ({"$match": "^b"}, "abc", 'it: want a text like "^b", got "abc"'),
    ({"$type": "integer"}, True, "it: want a value of type integer, got true"),
    ({"$gt": 3}, 3, "it: want more than 3, got 3"),
    ({"$gt": 3}, "4", 'it: want more than 3, got "4"'),
    ({"$lte": 3}, MISSING, "it: want at most 3, got nothing"),
]
SENSELESS = [
    ({"$matches": "a"}, "there is no operator $matches. Mend: did you mean $match?"),
    ({"$gt": 1, "a": 1}, "a stands beside $gt"),
    ({"$match": "("}, "is no regular expression"),
    ({"$type": "text"}, "$type takes one of string"),
    ({"$absent": "yes"}, "$absent takes true or false"),
    ({"$unordered": 1}, "$unordered takes a list"),
    ({"$gt": [1]}, "a comparison takes a number or a text"),
]


@pytest.mark.parametrize(("want", "got"), FITS, ids=str)
def test_fits(want, got):
    assert list(differences(want, got)) == []


@pytest.mark.parametrize(
    ("want", "got", "text"), DIFFERS, ids=[f"{number} {text}" for number, (*_, text) in enumerate(DIFFERS)]
)
def test_differs(want, got, text):
    assert [str(each) for each in differences(want, got)] == [text]


@pytest.mark.parametrize(("want", "text"), SENSELESS, ids=str)
def test_makes_no_sense(want, text):
    with pytest.raises(InvalidInput) as error:
        list(differences({"a": want}, {"a": "x"}))
    assert text in str(error.value)
    assert str(error.value).startswith("a: ")
