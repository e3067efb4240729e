"""YAML as sigs.k8s.io/yaml writes it, byte for byte: upstream hashes it to tell one composition from another.

Source: sigs.k8s.io/yaml v1.4 (a fork of go-yaml v2.4): `encode.go`, `resolve.go`, `sorter.go`, `emitterc.go`.  PyYAML's emitter
is a port of the same C library, so only what differs is written here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from functools import cmp_to_key
from typing import Any

import yaml
from yaml.emitter import Emitter

from groundplane.core import goformat
from groundplane.core.fieldpath import INT64_MIN, MAX_DEPTH, as_float, unicode_only
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput

_WORDS = frozenset(
    word
    for words in (
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"),
        ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"),
        ("~", "null", "Null", "NULL", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF"),
        ("+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"),
    )
    for word in words
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*|0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+)")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"(([Tt]|\s)[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]*)?([Zz]|[-+][0-9]{1,2}:[0-9]{1,2})?)?"
)


def dumps(value: Json) -> str:
    """A value as YAML, keys sorted.

    >>> print(dumps({"b": "yes", "a": [1, None]}), end="")
    a:
    - 1
    - null
    b: "yes"
    """
    target = io.StringIO()
    emitter = _Emitter(target)
    emitter.emit(yaml.StreamStartEvent())
    emitter.emit(yaml.DocumentStartEvent(explicit=False))
    for event in _events(value, 0):
        emitter.emit(event)
    emitter.emit(yaml.DocumentEndEvent(explicit=False))
    emitter.open_ended = False  # else a last text that keeps its line ends would be followed by "..."
    emitter.emit(yaml.StreamEndEvent())
    return target.getvalue()


def _events(value: Json, depth: int) -> Iterator[yaml.Event]:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"a value is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        yield yaml.MappingStartEvent(None, None, True, flow_style=False)
        for name in _sorted(value):
            yield _scalar(name)
            yield from _events(value[name], depth + 1)
        yield yaml.MappingEndEvent()
    elif isinstance(value, list):
        yield yaml.SequenceStartEvent(None, None, True, flow_style=False)
        for item in value:
            yield from _events(item, depth + 1)
        yield yaml.SequenceEndEvent()
    else:
        yield _scalar(value)


def _scalar(value: Json) -> yaml.ScalarEvent:
    style = None
    match value:
        case None:
            text = "null"
        case bool():
            text = "true" if value else "false"
        case int():
            text = str(value) if INT64_MIN <= value < 2**64 else goformat.format_float(as_float(value), "g", -1)
        case float():
            text = goformat.format_float(value, "g", -1)
        case _:
            text = unicode_only(str(value))
            style = "|" if "\n" in text else '"' if _means_more(text) else None
    return yaml.ScalarEvent(None, None, (True, True), text, style=style)


def _means_more(text: str) -> bool:
    """Whether the bare text would be read as something else than a string."""
    if not text or text in _WORDS or _BASE_60.fullmatch(text):
        return True
    first = text[0]
    if first == ".":
        return _FLOAT.fullmatch(text.replace("_", "")) is not None
    if first not in "+-0123456789":
        return False
    plain = text.replace("_", "")
    return any(pattern.fullmatch(plain) for pattern in (_INTEGER, _FLOAT)) or _is_timestamp(text)


def _is_timestamp(text: str) -> bool:
    return _TIMESTAMP.fullmatch(text) is not None


def _sorted(mapping: Mapping[str, Json]) -> list[str]:
    return sorted(mapping, key=cmp_to_key(_compare))


def _compare(one: str, other: str) -> int:
    """The library's natural order: letters after other characters, numbers by value."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            return -1 if b.isalpha() else 1
        before = one[:index]
        digits = len(before) - len(before.rstrip("0123456789"))
        leading = 1 if "0" in (a, b) and before[len(before) - digits :].strip("0") else 0
        first, second = _digits(one, index), _digits(other, index)
        numbers = (int(f"{leading}{first}"), int(f"{leading}{second}"))
        if numbers[0] != numbers[1]:
            return -1 if numbers[0] < numbers[1] else 1
        if len(first) != len(second):
            return -1 if len(first) < len(second) else 1
        return -1 if a < b else 1
    return len(one) - len(other)


def _digits(text: str, start: int) -> str:
    found = re.compile("[0-9]{0,18}").match(text, start)
    return found[0] if found else ""


class _Emitter(Emitter):
    """PyYAML's emitter with the places where the Go port does otherwise."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__(stream, allow_unicode=True, width=80)

    def analyze_scalar(self, scalar: str) -> Any:
        """Beyond the sixteenth bit, characters count as unprintable."""
        found = super().analyze_scalar(scalar)
        if any(character > "\uffff" for character in scalar):
            found.allow_flow_plain = found.allow_block_plain = False
            found.allow_single_quoted = found.allow_block = False
        return found

    def check_simple_key(self) -> bool:
        """A key is written on one line up to 128 bytes; an empty one too."""
        event = self.event
        if not isinstance(event, yaml.ScalarEvent):
            return bool(super().check_simple_key())
        self.analysis = self.analyze_scalar(event.value)
        return len(event.value.encode()) <= 128 and not self.analysis.multiline

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        """Break a long line at a space, after it was too long; PyYAML breaks before it would be."""
        self.write_indicator('"', True)
        spaces = False
        for index, character in enumerate(text):
            if character == " ":
                if split and not spaces and self.column > self.best_width and 0 < index < len(text) - 1:
                    self.write_indent()
                    if text[index + 1] == " ":
                        self._put("\\")
                else:
                    self._put(" ")
                spaces = True
                continue
            spaces = False
            self._put(_double_quoted(character))
        self.write_indicator('"', False)

    def _put(self, data: str) -> None:
        self.column += len(data)
        self.stream.write(data)


_SHORT = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e",
    '"': '"', "\\": "\\", "\x85": "N", "\u2028": "L", "\u2029": "P",
}  # fmt: skip


def _double_quoted(character: str) -> str:
    if character in _SHORT:
        return f"\\{_SHORT[character]}"
    printable = " " <= character <= "~" or ("\xa0" <= character <= "\uffff" and character not in "\ufeff\ufffe\uffff")
    if printable:
        return character
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02X}"
    return f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"
