"""Field paths: parse, get, set, expand `[*]`, delete, merge.

Source: crossplane-runtime v1.20 `pkg/fieldpath` (grammar, look-up, creation of what is missing) and mergo 1.0.2
(merging), whose results are kept, odd ones included.  Paths are compiled once, to `Path`, and then used
often.  Getting never copies: what comes out belongs to the object.  Setting copies what goes in, as JSON
would: a whole float becomes an integer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, shown

MAX_INDEX = 1024  # of an element that `set` may create: a typo must not allocate gigabytes
MAX_DEPTH = 200  # of values and of paths that are written: far beyond any manifest, far below Python's recursion limit
MAX_EXPANSION = 10_000  # elements that one wildcard may stand for
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

MISSING: Final = object()  # what `find` answers for a field that is not there

Segment = str | int  # a field, or an index of an array


class PathSyntax(InvalidInput):
    """The text is not a field path."""


class FieldNotFound(InvalidInput):
    """A field or an element is not there: early, or misspelt."""


class WrongType(InvalidInput):
    """A value is there, but of a kind in which the path can't go on."""


class MergeFailed(InvalidInput):
    """Two values can't be merged as the options ask."""


class MergeOptions(NamedTuple):
    """How a value goes where there is one already."""

    keep: bool = False  # what is there wins over what comes
    append: bool = False  # arrays are joined instead of replaced


class Path:
    """A compiled field path."""

    __slots__ = ("segments", "text", "wild")

    def __init__(self, text: str, segments: tuple[Segment, ...]) -> None:
        self.text = text
        self.segments = segments
        self.wild = "[*]" in text  # upstream's own test: `.*` and `['*']` name a key that is a star

    def __str__(self) -> str:
        return render(self.segments)

    def __repr__(self) -> str:
        return f"Path({self.text!r})"


@lru_cache(maxsize=4096)
def parse(text: str) -> Path:
    """Compile a path; the same text again costs next to nothing.

    >>> parse("metadata.annotations['crossplane.io/external-name']").segments
    ('metadata', 'annotations', 'crossplane.io/external-name')
    >>> parse("spec.subnets[0].id").segments
    ('spec', 'subnets', 0, 'id')

    Raises:
        PathSyntax: with the position, in bytes, of what can't stand there.
    """
    segments: list[Segment] = []
    position, end = 0, len(text)
    while position < end:
        character = text[position]
        if character == "[":
            segment, position = _bracket(text, position)
            segments.append(segment)
            continue
        if character == ".":
            if position == 0 or position == end - 1:
                _unexpected(text, position)
            position += 1
            if text[position] in ".[":
                _unexpected(text, position)
        stop = position
        while stop < end and text[stop] not in ".[]":
            stop += 1
        if stop < end and text[stop] == "]":
            _unexpected(text, stop)
        segments.append(text[position:stop].strip("'\""))
        position = stop
    return Path(text, tuple(segments))


def is_path(text: str) -> bool:
    """Whether it can be parsed.

    >>> is_path("spec.size"), is_path("spec[size")
    (True, False)
    """
    try:
        parse(text)
    except PathSyntax:
        return False
    return True


def _bracket(text: str, position: int) -> tuple[Segment, int]:
    close = text.find("]", position)
    if close < 0:
        raise PathSyntax(
            f"cannot parse path {shown(text)}: unterminated '[' at position {_offset(text, position)}",
            mend="close it after an index or a name, as in items[0] or annotations['a.b/c']",
        )
    content = text[position + 1 : close]
    if not content:
        _unexpected(text, close)
    if "[" in content:
        _unexpected(text, position + 1 + content.index("["))
    if content.isascii() and content.isdigit():
        digits = content.lstrip("0") or "0"
        if len(digits) <= 10 and int(digits) < 2**32:
            return int(digits), close + 1
    return content.strip("'\""), close + 1


def _unexpected(text: str, position: int) -> NoReturn:
    raise PathSyntax(
        f"cannot parse path {shown(text)}: unexpected '{text[position]}' at position {_offset(text, position)}",
        mend="separate fields by single dots; put names that hold dots in brackets, as in annotations['a.b/c']",
    )


def _offset(text: str, position: int) -> int:
    return len(text[:position].encode("utf-8", "surrogatepass"))


def render(segments: tuple[Segment, ...]) -> str:
    """The usual spelling of a path: not every path survives being parsed again.

    >>> render(("data", ".config.yml", 0))
    'data[.config.yml][0]'
    """
    parts = []
    for segment in segments:
        if isinstance(segment, int) or "." in segment or segment == "*":
            parts.append(f"[{segment}]")
        else:
            parts.append(f".{segment}")
    return "".join(parts).removeprefix(".")


# --- reading -------------------------------------------------------------------------------------------


def find(obj: Json, path: Path) -> Json:
    """The value at a path, or MISSING where `get` would raise FieldNotFound.

    Raises:
        WrongType: a value on the way is of another kind than the path says.
    """
    value = obj
    for segment in path.segments:
        if type(segment) is str:
            if isinstance(value, dict):
                value = value.get(segment, MISSING)
                if value is MISSING:
                    return MISSING
            elif value is None:
                return MISSING
            else:
                _refuse(path, segment, obj)
        elif isinstance(value, list):
            assert isinstance(segment, int)
            if segment >= len(value):
                return MISSING
            value = value[segment]
        else:
            _refuse(path, segment, obj)
    return value if path.segments else None


def get(obj: Json, path: Path) -> Json:
    """The value at a path; a null that is there is a value.

    Raises:
        FieldNotFound: it is not there, or one of its parents is not (or is null).
        WrongType: a value on the way is of another kind than the path says.
    """
    value = find(obj, path)
    if value is MISSING:
        raise not_found(obj, path)
    return value


def not_found(obj: Json, path: Path) -> FieldNotFound:
    """The error for a path that `find` did not find: names the first part that is missing."""
    value = obj
    for depth, segment in enumerate(path.segments):
        here = render(path.segments[: depth + 1])
        if value is None:
            return FieldNotFound(f"{here}: no such field: its parent is null")
        if isinstance(segment, int):
            if segment >= len(value):
                return FieldNotFound(f"{here}: no such element: there are {len(value)}")
        elif segment not in value:
            return FieldNotFound(f"{here}: no such field")
        value = value[segment]
    return FieldNotFound(f"{path}: no such field")


def _refuse(path: Path, segment: Segment, obj: Json) -> NoReturn:
    """Find the place again, now that its cost does not matter, and raise WrongType for it."""
    value: Any = obj
    for depth, step in enumerate(path.segments):
        wanted: type[Any] = list if isinstance(step, int) else dict
        if not isinstance(value, wanted):
            raise WrongType(_not_a(wanted, path.segments[:depth], value))
        value = value[step]
    raise WrongType(f"{path} can't be followed at {segment!r}")


def _not_a(wanted: type, segments: tuple[Segment, ...], value: Json) -> str:
    place = render(segments) or "the object itself"
    return f"{place}: not an {'array' if wanted is list else 'object'}, but {kind_of(value)}"


def kind_of(value: Json) -> str:
    """What a value is, in the words of JSON.

    >>> kind_of(True), kind_of(2.5), kind_of(None)
    ('a boolean', 'a number', 'null')
    """
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"


# --- writing -------------------------------------------------------------------------------------------


def set(obj: dict[str, Any], path: Path, value: Json) -> None:
    """Write a copy of `value` into `obj`, creating what is missing on the way.

    Arrays grow with nulls up to the index.  An empty path writes nothing.  When it fails, `obj` is as before.

    Raises:
        WrongType: something on the way is there and of another kind (a field that is null included).
        InvalidInput: an index is beyond MAX_INDEX, or the value can't be JSON.
    """
    place(obj, path, normalised(value, len(path.segments)))


def place(obj: dict[str, Any], path: Path, value: Json) -> None:
    """`set` without the copy: `value` is the caller's own, already as JSON would have it."""
    segments = path.segments
    if not segments:
        return
    if len(segments) > MAX_DEPTH:
        raise too_deep()
    for segment in segments:
        if type(segment) is int and segment > MAX_INDEX:
            raise InvalidInput(
                f"{path}: index {segment} is too large", mend=f"indices up to {MAX_INDEX} can be written"
            )
    here: Any = obj
    last = len(segments) - 1
    for depth, segment in enumerate(segments):
        if type(segment) is str:
            if not isinstance(here, dict):
                raise WrongType(_not_a(dict, segments[:depth], here))
            if depth == last:
                here[segment] = value
                return
            following = here.get(segment, MISSING)
            if following is MISSING:
                following = here[segment] = _container(segments[depth + 1])
        else:
            assert isinstance(segment, int)
            if not isinstance(here, list):
                raise WrongType(_not_a(list, segments[:depth], here))
            if segment >= len(here):
                here.extend([None] * (segment + 1 - len(here)))
            if depth == last:
                here[segment] = value
                return
            following = here[segment]
            if following is None:
                following = here[segment] = _container(segments[depth + 1])
        here = following


def too_deep() -> InvalidInput:
    """The error for a value that nobody can have meant."""
    return InvalidInput(f"a value is nested more than {MAX_DEPTH} levels deep", mend="make it flatter")


def check_set(obj: Json, path: Path) -> None:
    """Raise what `set` would raise at this path because of what is there; write nothing."""
    here = obj
    for depth, segment in enumerate(path.segments):
        if isinstance(segment, int):
            if not isinstance(here, list):
                raise WrongType(_not_a(list, path.segments[:depth], here))
            here = here[segment] if segment < len(here) else None
            if here is None:
                return
        else:
            if not isinstance(here, dict):
                raise WrongType(_not_a(dict, path.segments[:depth], here))
            if segment not in here:
                return
            here = here[segment]


def _container(segment: Segment) -> Json:
    return [] if isinstance(segment, int) else {}


def delete(obj: dict[str, Any], path: Path) -> None:
    """Take the value at a path out of `obj`; what is not there is no error.  Array elements move up.

    Raises:
        WrongType: something on the way is of another kind than the path says.
    """
    if not path.segments:
        return
    here: Any = obj
    for depth, segment in enumerate(path.segments):
        wanted: type[Any] = list if isinstance(segment, int) else dict
        if not isinstance(here, wanted):
            raise WrongType(_not_a(wanted, path.segments[:depth], here))
        if (segment >= len(here)) if isinstance(segment, int) else (segment not in here):
            return
        if depth == len(path.segments) - 1:
            del here[segment]
            return
        here = here[segment]


def expand(obj: Json, path: Path) -> list[str]:
    """The texts of the paths that exist in `obj` and fit a path with wildcards.

    >>> expand({"rules": [{"port": 1}, {"name": "x"}]}, parse("rules[*].port"))
    ['rules[0].port']

    Raises:
        FieldNotFound: a null stands where there should be something to expand.
        WrongType: what should be expanded, or passed through, is of another kind.
    """
    found: list[str] = []
    for segments in _expanded(obj, path.segments, ()):
        if len(found) == MAX_EXPANSION:
            raise InvalidInput(
                f"{path.text} stands for more than {MAX_EXPANSION} elements", mend="make the array shorter"
            )
        found.append(render(segments))
    return found


def _expanded(obj: Json, rest: tuple[Segment, ...], done: tuple[Segment, ...]) -> Iterator[tuple[Segment, ...]]:
    if "*" not in rest:
        if find(obj, Path("", (*done, *rest))) is not MISSING:
            yield (*done, *rest)
        return
    star = rest.index("*")
    done = (*done, *rest[:star])
    parent = find(obj, Path("", done)) if done else obj
    if parent is MISSING:
        return
    if parent is None:
        raise FieldNotFound(f"{render(done)}: null, so that [*] stands for nothing")
    if isinstance(parent, list):
        keys: list[Segment] = list(range(len(parent)))
    elif isinstance(parent, dict):
        keys = list(parent)
        if "*" in keys:
            raise WrongType(f'{render(done)}: has a key "*", which a wildcard can\'t be told from')
    else:
        raise WrongType(f"{render(done)}: neither array nor object, but {kind_of(parent)}")
    for key in keys:
        yield from _expanded(obj, rest[star + 1 :], (*done, key))


# --- copying and merging -----------------------------------------------------------------------------------


def copied(value: Json, depth: int = 0) -> Json:
    """A deep copy of JSON-like data; much cheaper than `copy.deepcopy`."""
    if depth > MAX_DEPTH:
        raise too_deep()
    if isinstance(value, dict):
        return {
            name: copied(item, depth + 1) if isinstance(item, dict | list) else item for name, item in value.items()
        }
    if isinstance(value, list):
        return [copied(item, depth + 1) if isinstance(item, dict | list) else item for item in value]
    return value


def normalised(value: Json, depth: int = 0) -> Json:
    """A copy of the value as it is after being written as JSON and read by Kubernetes.

    Whole floats become integers where 64 bits hold them, larger integers become floats; what is not
    Unicode becomes U+FFFD.

    Raises:
        InvalidInput: the value is no JSON: not a number, infinite, nested too deeply.
    """
    kind = type(value)
    if kind is str:
        return value if value.isascii() else unicode_only(value)
    if kind is dict:
        if depth > MAX_DEPTH:
            raise too_deep()
        for name in value:
            if type(name) is not str:
                raise InvalidInput(f"the key {name!r} is no string", mend="put it in quotes")
        return {
            name if name.isascii() else unicode_only(name): normalised(item, depth + 1) for name, item in value.items()
        }
    if kind is list:
        if depth > MAX_DEPTH:
            raise too_deep()
        return [normalised(item, depth + 1) for item in value]
    if kind is float:
        if not math.isfinite(value):
            raise InvalidInput(f"{value} is no JSON number", mend="look at the transforms: where does it come from?")
        return int(value) if value.is_integer() and INT64_MIN <= value < 2.0**63 else value
    if kind is int and not INT64_MIN <= value <= INT64_MAX:
        return as_float(value)
    return value


def as_float(value: int) -> float:
    """An integer as a 64-bit float.

    Raises:
        InvalidInput: it is beyond any float.
    """
    try:
        return float(value)
    except OverflowError:
        raise InvalidInput("an integer of more than 308 digits is no JSON number") from None


def unicode_only(text: str) -> str:
    """The text with U+FFFD for what is not Unicode: single surrogates, undecodable bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def utf8(text: str) -> bytes:
    r"""The bytes of a text: undecodable ones that were kept as surrogates come back, other surrogates are U+FFFD.

    >>> utf8("a\udcff"), utf8("a\ud800")
    (b'a\xff', b'a\xef\xbf\xbd')
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return unicode_only(text).encode()


def same(one: Json, other: Json) -> bool:
    """Deep equality that tells 1 from 1.0 and from true, as Go does."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(name in other and same(item, other[name]) for name, item in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _identity(value: Json, depth: int = 0) -> Any:
    """Something hashable that two values share if they are the `same`."""
    if depth > MAX_DEPTH:
        raise too_deep()
    if isinstance(value, dict):
        return "{}", frozenset((name, _identity(item, depth + 1)) for name, item in value.items())
    if isinstance(value, list):
        return "[]", tuple(_identity(item, depth + 1) for item in value)
    return type(value), value


def weight(value: Json, limit: int) -> int:
    """About how many characters a value has as JSON; counting ends soon after `limit`."""
    total, waiting = 0, [value]
    while waiting and total <= limit:
        item = waiting.pop()
        total += 8
        if isinstance(item, dict):
            total += sum(map(len, item))
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str):
            total += len(item)
    return total


def merge_value(obj: dict[str, Any], path: Path, value: Json, options: MergeOptions | None) -> None:
    """Write `value` at a path, merged with what is there as `options` say; None replaces.

    Raises:
        WrongType: as `set`, and where reading what is there fails.
        MergeFailed: an array should be appended to what is no array.
    """
    if options is not None:
        there = find(obj, path)
        value = merged(None if there is MISSING else there, value, options)
    set(obj, path, value)


def merged(there: Json, value: Json, options: MergeOptions) -> Json:
    """What becomes of `value` coming where `there` is; neither is changed, parts of both may be in the result.

    >>> merged({"a": 1, "l": [1]}, {"a": 2, "l": [2]}, MergeOptions(keep=True, append=True))
    {'a': 1, 'l': [1, 2]}
    """
    if there is None or value is None:
        return value
    if options.append and isinstance(there, list) and isinstance(value, list):
        known = {_identity(item) for item in there}
        value = [item for item in value if _identity(item) not in known]
        if not value and not there:
            return None  # an oddity of upstream: nothing appended to nothing is null
    return _merged_objects({"": there}, {"": value}, options, 0)[""]


def _merged_objects(there: dict[str, Any], coming: dict[str, Any], options: MergeOptions, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise too_deep()
    result = dict(there)
    for name, value in coming.items():
        old = there.get(name)
        if value is None:
            if not options.keep:
                result[name] = None
        elif isinstance(value, dict) and isinstance(old, dict):
            result[name] = _merged_objects(old, value, options, depth + 1) or value
        elif isinstance(value, list) and options.append and old is not None:
            if not isinstance(old, list):
                raise MergeFailed(
                    f"failed to merge values: an array can't be appended to {kind_of(old)}",
                    mend="use a merge policy that does not append arrays, or correct one of the two paths",
                )
            result[name] = [*old, *value]
        elif not (options.keep and old):
            result[name] = value
    return result
