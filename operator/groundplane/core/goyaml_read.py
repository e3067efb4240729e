"""YAML as Go's libraries read it: sigs.k8s.io/yaml (YAML 1.1, to JSON), and yaml.v3 (almost YAML 1.2, to Go's values).

Source: sigs.k8s.io/yaml v1.4 with its go-yaml v2 (`resolve.go`, `decode.go`, `yaml.go`); gopkg.in/yaml.v3 v3.0 (`resolve.go`, `decode.go`).
The text is taken apart by libyaml, of which both are ports; only what the parts mean is written here.  Bounded: depth, and how much aliases
may repeat.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

from groundplane.core import goformat
from groundplane.core.fieldpath import INT64_MIN, MAX_DEPTH, utf8
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput

MAX_NODES = 500_000  # of a document, repeated ones counted each time

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UINT64_MAX = 2**64 - 1
_LONGEST_NUMBER = 400  # characters; longer ones are text

MERGE = object()  # a key that says: take over what is in there


class NotYaml(InvalidInput):
    """Text that can't be read; `line` counts from 1."""

    def __init__(self, what: str, line: int, mend: str = "") -> None:
        super().__init__(what, mend=mend)
        self.line = line


class Dialect(NamedTuple):
    """What differs between the libraries."""

    resolve: Callable[[str], Any]  # the meaning of plain text
    tagged: Callable[[str, str], Any]  # … and of text with a tag
    mapping: Callable[[list[tuple[Any, Any]], int], Any]  # pairs, in order, and the line → a map


class _Open(NamedTuple):
    """A list or map that is being read."""

    is_mapping: bool
    items: list[Any]
    anchor: str | None
    line: int
    start: int  # nodes that were counted before it


def read(text: str, dialect: Dialect) -> Any:
    """The first document of a text; None if there is none.

    Raises:
        NotYaml: with the line.
    """
    try:
        return _document(yaml.parse(utf8(text), Loader=_Loader), dialect)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise NotYaml(error.problem or "can't be read", line, _mend(error.problem or "")) from None
    except yaml.reader.ReaderError as error:
        line = utf8(text)[: error.position].count(b"\n") + 1 if isinstance(error.position, int) else 1
        raise NotYaml(f"{error.reason}", line, "let it have printable characters only") from None


def _mend(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return "look at the indentation, and put texts with a colon into quotes: X | quote"
    if "cannot start any token" in problem:
        return "indent by spaces, never by tabs, and put such texts into quotes: X | quote"
    return "look at the indentation: nindent moves what is included; quote protects texts"


def _document(events: Iterator[Any], dialect: Dialect) -> Any:
    waiting: list[_Open] = []
    anchors: dict[str, tuple[Any, int]] = {}
    count = 0
    for event in events:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            count += 1
            value = _scalar(event, dialect)
            if event.anchor:
                anchors[event.anchor] = (value, 1)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            line = event.start_mark.line + 1
            if len(waiting) >= MAX_DEPTH:
                raise NotYaml(f"nested more than {MAX_DEPTH} levels deep", line, "make it flatter")
            waiting.append(_Open(kind is yaml.MappingStartEvent, [], event.anchor, line, count))
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            opened = waiting.pop()
            items = opened.items
            value = (
                dialect.mapping(list(zip(items[::2], items[1::2], strict=True)), opened.line)
                if opened.is_mapping
                else items
            )
            count += 1
            if opened.anchor:
                anchors[opened.anchor] = (value, count - opened.start)
        elif kind is yaml.AliasEvent:
            line = event.start_mark.line + 1
            if event.anchor not in anchors:
                raise NotYaml(f"unknown anchor '{event.anchor}' referenced", line)
            value, weight = anchors[event.anchor]
            count += weight
        elif kind is yaml.DocumentEndEvent:
            return None
        else:
            continue
        if count > MAX_NODES:
            raise NotYaml(f"more than {MAX_NODES} values", event.start_mark.line + 1, "mind aliases of aliases")
        if not waiting:
            for event in events:  # the document's end, or what is wrong behind it
                if type(event) is yaml.DocumentEndEvent:
                    break
            return value
        waiting[-1].items.append(value)
    return None


def _scalar(event: Any, dialect: Dialect) -> Any:
    if event.implicit[0]:
        return dialect.resolve(event.value)
    if event.tag is None or event.tag == "!":
        return event.value
    tag = event.tag.removeprefix("tag:yaml.org,2002:")
    try:
        return dialect.tagged(tag, event.value)
    except ValueError:
        what = f"cannot decode !!{tag}" if tag != "binary" else "!!binary value contains invalid base64 data"
        raise NotYaml(what, event.start_mark.line + 1) from None


# --- numbers and words ------------------------------------------------------------------------------------------------

_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NAMED: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    "<<": MERGE,
}
_OLD_BOOLEANS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_WORDS_V2 = {**_NAMED, **_OLD_BOOLEANS}
OLD_BOOLEANS = frozenset(_OLD_BOOLEANS)


def integer(text: str) -> int | None:
    """An integer in any of Go's forms, if 64 bits hold it.

    >>> integer("0777"), integer("0o17"), integer("-0x1F"), integer("08")
    (511, 15, -31, None)
    """
    if len(text) > _LONGEST_NUMBER or not _INTEGER.fullmatch(text):
        return None
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    base = {"x": 16, "b": 2, "o": 8}.get(digits[1:2].lower(), 8 if digits[0] == "0" and len(digits) > 1 else 10)
    number = sign * int(digits[2:] if digits[1:2].lower() in ("x", "b", "o") else digits, base)
    return number if INT64_MIN <= number <= _UINT64_MAX else None


def floating(text: str) -> float | None:
    """A float, if 64 bits hold it."""
    if len(text) > _LONGEST_NUMBER or not _FLOAT.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) != float("inf") else None


def _number(text: str) -> Any:
    """The number that a plain text is, or the text."""
    first = text[0]
    if not ("0" <= first <= "9" or first in "+-."):
        return text
    plain = text.replace("_", "") if first != "." else text
    found: Any = integer(plain) if first != "." and plain else None
    if found is None:
        found = floating(plain)
    return text if found is None else found


def _resolve_v2(text: str) -> Any:
    if text in _WORDS_V2:
        return _WORDS_V2[text]
    return _number(text)


def _tagged(tag: str, text: str) -> Any:
    """What a tag makes of a text.  Raises ValueError if it can't."""
    match tag:
        case "null":
            return None
        case "bool":
            found = _WORDS_V2.get(text)
            if not isinstance(found, bool):
                raise ValueError
            return found
        case "int":
            found = integer(text.replace("_", ""))
            if found is None:
                raise ValueError
            return found
        case "float":
            found = _NAMED.get(text, floating(text.replace("_", "")))
            if found is None or isinstance(found, bool):
                whole = integer(text)
                if whole is None:
                    raise ValueError
                found = float(whole)
            return found
        case "binary":
            return base64.b64decode(text.replace("\n", "").replace(" ", ""), validate=True).decode(
                "utf-8", "surrogateescape"
            )
        case "merge":
            return MERGE
    return text


# --- sigs.k8s.io/yaml ----------------------------------------------------------------------------------------------------


def key_text(key: Any, line: int) -> str:
    """A key as JSON has it: text."""
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int):
        return str(key)
    if isinstance(key, float):
        shown = goformat.format_float(key, "g", -1)
        return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(shown, shown)
    what = "null" if key is None else "a map or a list"
    raise NotYaml(f"{what} can't be a key", line, "put it into quotes, if it is meant to be text")


def _json_mapping(pairs: list[tuple[Any, Any]], line: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key is MERGE:
            for each in reversed(_merged(value, line)):
                found.update(each)
            continue
        found[key_text(key, line)] = "<<" if value is MERGE else value
    return found


def _merged(value: Any, line: int) -> list[dict[Any, Any]]:
    maps = value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) for each in maps):
        raise NotYaml("map merge requires map or sequence of maps as the value", line)
    return maps


SIGS = Dialect(_resolve_v2, _tagged, _json_mapping)


def manifest(text: str) -> Json:
    """One document as sigs.k8s.io/yaml reads it: JSON.

    >>> manifest("{y: on, n: 0777, d: 2024-01-01}")
    {'true': True, 'false': 511, 'd': '2024-01-01'}
    """
    value = read(text, SIGS)
    return None if value is MERGE else value
