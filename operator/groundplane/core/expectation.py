"""Whether a value is as somebody expects it: maps in part, lists in whole, and operators where that is not enough.

A map whose keys all begin with `$` is a list of operators; every other map asks for its keys and lets the rest be.  A list asks for as many
elements, in this order, each of which is compared in the same way.  Source of the operators: author-tools specification, §6.

>>> [str(each) for each in differences({"size": {"$gte": 20}, "x": {"$absent": True}}, {"size": 10}, ("spec",))]
['spec.size: want at least 20, got 10']
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from groundplane.core import fieldpath
from groundplane.core.fieldpath import MISSING, Segment
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, did_you_mean, shown

Place = tuple[Segment, ...]  # where in a value; () is the value itself

LONGEST_PATTERN = 1000  # characters
TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


class Difference(NamedTuple):
    """One place where a value is not as expected."""

    path: Place
    want: str
    got: str

    def __str__(self) -> str:
        return f"{_text(self.path)}: want {self.want}, got {self.got}"


def differences(want: Json, got: Any, path: Place = ()) -> Iterator[Difference]:
    """Where `got` (MISSING: there is nothing) is not as `want` has it.

    Raises:
        InvalidInput: `want` has an operator that there is not, or one with an operand that makes no sense.
    """
    if isinstance(want, dict):
        if operators := {name: operand for name, operand in want.items() if name.startswith("$")}:
            yield from _operated(operators, want, got, path)
            return
        if not isinstance(got, dict):
            yield Difference(path, "a map" if not want else f"a map with {', '.join(want)}", _shown(got))
            return
        for name, inner in want.items():
            yield from differences(inner, got.get(name, MISSING), (*path, name))
        return
    if isinstance(want, list):
        if not isinstance(got, list):
            yield Difference(path, shown(want), _shown(got))
        elif len(want) != len(got):
            yield Difference(path, f"{len(want)} elements", f"{len(got)}: {_shown(got)}")
        else:
            for index, (inner, found) in enumerate(zip(want, got, strict=True)):
                yield from differences(inner, found, (*path, index))
        return
    if not _equal(want, got):
        yield Difference(path, shown(want), _shown(got))


def _operated(operators: Mapping[str, Json], want: Mapping[str, Json], got: Any, path: Place) -> Iterator[Difference]:
    if plain := [name for name in want if name not in operators]:
        raise InvalidInput(
            f"{_text(path)}: {plain[0]} stands beside {next(iter(operators))}",
            mend="expect keys or use operators, not both at one place",
        )
    for name, operand in operators.items():
        if name not in _OPERATORS:
            raise InvalidInput(
                f"{_text(path)}: there is no operator {name}",
                mend=did_you_mean(name, _OPERATORS) or f"there are {', '.join(sorted(_OPERATORS))}",
            )
        yield from _OPERATORS[name](operand, got, path)


def _absent(operand: Json, got: Any, path: Place) -> Iterator[Difference]:
    if not isinstance(operand, bool):
        raise _nonsense("$absent", operand, path, "true or false")
    if operand and got is not MISSING:
        yield Difference(path, "nothing", _shown(got))
    if not operand and got is MISSING:
        yield Difference(path, "something", "nothing")


def _exact(operand: Json, got: Any, path: Place) -> Iterator[Difference]:
    if got is MISSING or not fieldpath.same(operand, got):
        yield Difference(path, f"exactly {shown(operand)}", _shown(got))


def _contains(operand: Json, got: Any, path: Place) -> Iterator[Difference]:
    """Of a text, a part; of a list, an element that is as expected, or several if a list of them is given."""
    if isinstance(got, str) and isinstance(operand, str):
        if operand not in got:
            yield Difference(path, f"a text with {shown(operand)}", _shown(got))
    elif isinstance(got, list):
        for each in operand if isinstance(operand, list) else [operand]:
            if not any(_fits(each, found) for found in got):
                yield Difference(path, f"a list with {shown(each)}", _shown(got))
    else:
        yield Difference(path, f"something that contains {shown(operand)}", _shown(got))


def _unordered(operand: Json, got: Any, path: Place) -> Iterator[Difference]:
    """The same elements in any order: each expected one takes one that fits."""
    if not isinstance(operand, list):
        raise _nonsense("$unordered", operand, path, "a list")
    if not isinstance(got, list) or len(got) != len(operand):
        yield Difference(path, f"in any order {shown(operand)}", _shown(got))
        return
    takes: dict[int, int] = {}  # element found → element expected

    def place(index: int, tried: set[int]) -> bool:
        for number, found in enumerate(got):
            if number not in tried and _fits(operand[index], found):
                tried.add(number)
                if number not in takes or place(takes[number], tried):
                    takes[number] = index
                    return True
        return False

    for index, each in enumerate(operand):
        if not place(index, set()):
            yield Difference(path, f"an element {shown(each)}", _shown(got))


def _match(operand: Json, got: Any, path: Place) -> Iterator[Difference]:
    if not isinstance(operand, str) or len(operand) > LONGEST_PATTERN:
        raise _nonsense("$match", operand, path, "a regular expression")
    try:
        pattern = re.compile(operand)
    except re.error as error:
        raise InvalidInput(
            f"{_text(path)}: $match {shown(operand)} is no regular expression: {error}",
            mend="write a backslash before what is meant literally",
        ) from None
    if not isinstance(got, str) or not pattern.search(got):
        yield Difference(path, f"a text like {shown(operand)}", _shown(got))


def _type(operand: Json, got: Any, path: Place) -> Iterator[Difference]:
    if operand not in TYPES:
        raise _nonsense("$type", operand, path, f"one of {', '.join(TYPES)}")
    is_so = isinstance(got, TYPES[str(operand)]) and (operand == "boolean" or not isinstance(got, bool))
    if not is_so:
        yield Difference(path, f"a value of type {operand}", _shown(got))


def _ordered(words: str, holds: Callable[[Any, Any], bool]) -> Callable[[Json, Any, Place], Iterator[Difference]]:
    def check(operand: Json, got: Any, path: Place) -> Iterator[Difference]:
        if isinstance(operand, bool) or not isinstance(operand, (int, float, str)):
            raise _nonsense("a comparison", operand, path, "a number or a text")
        comparable = isinstance(got, str) if isinstance(operand, str) else _is_number(got)
        if not comparable or not holds(got, operand):
            yield Difference(path, f"{words} {shown(operand)}", _shown(got))

    return check


_OPERATORS: Mapping[str, Callable[[Json, Any, Place], Iterator[Difference]]] = {
    "$absent": _absent,
    "$exact": _exact,
    "$contains": _contains,
    "$unordered": _unordered,
    "$match": _match,
    "$type": _type,
    "$gt": _ordered("more than", lambda got, operand: got > operand),
    "$gte": _ordered("at least", lambda got, operand: got >= operand),
    "$lt": _ordered("less than", lambda got, operand: got < operand),
    "$lte": _ordered("at most", lambda got, operand: got <= operand),
}


def _fits(want: Json, got: Any) -> bool:
    return next(differences(want, got), None) is None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal(want: Any, got: Any) -> bool:
    """Numbers by value, whatever their type; true is no 1."""
    if _is_number(want) and _is_number(got):
        return bool(want == got)
    return type(want) is type(got) and bool(want == got)


def _text(path: Place) -> str:
    return fieldpath.render(path) or "it"


def _shown(got: Any) -> str:
    return "nothing" if got is MISSING else shown(got)


def _nonsense(name: str, operand: Json, path: Place, wanted: str) -> InvalidInput:
    return InvalidInput(f"{_text(path)}: {name} takes {wanted}, not {shown(operand)}")
