"""A Composition with one thing changed: a test that does not notice says nothing about that thing.

Source: author-tools specification, §6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from groundplane.core import fieldpath
from groundplane.core.objects import Object, spec_of

Place = tuple[str | int, ...]


class Mutant(NamedTuple):
    """What was changed, and where."""

    what: str
    path: Place
    source: Object


def mutants(source: Object) -> Iterator[Mutant]:
    """The Composition without each of its patches, with entries of each map exchanged, with each leaf of each base changed."""
    for path, value in _walk(spec_of(source), ("spec",)):
        last = path[-1]
        if len(path) > 1 and path[-2] == "patches" and isinstance(last, int):
            yield Mutant("without this patch", path, _without(source, path))
        elif last == "map" and isinstance(value, dict) and len(value) > 1:
            (one, first), (other, second) = [*value.items()][:2]
            if first != second:
                changed = {**value, one: second, other: first}
                yield Mutant(f"{one} and {other} exchanged", path, _with(source, path, changed))
        elif "base" in path and not isinstance(value, (dict, list)) and last not in ("apiVersion", "kind", "name"):
            yield Mutant("another value", path, _with(source, path, _other(value)))


def _walk(value: Any, path: Place) -> Iterator[tuple[Place, Any]]:
    if len(path) > 1:
        yield path, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, (*path, str(name)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, (*path, index))


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return f"{value}-mutant" if isinstance(value, str) else "mutant"


def _holder(source: Object, path: Place) -> tuple[Object, Any]:
    result: Object = fieldpath.copied(source)
    holder: Any = result
    for segment in path[:-1]:
        holder = holder[segment]
    return result, holder


def _with(source: Object, path: Place, value: Any) -> Object:
    result, holder = _holder(source, path)
    holder[path[-1]] = value
    return result


def _without(source: Object, path: Place) -> Object:
    result, holder = _holder(source, path)
    del holder[path[-1]]
    return result
