"""`toYaml` and `fromYaml`: the dialect of gopkg.in/yaml.v3, four spaces and YAML 1.2's words.

Source: gopkg.in/yaml.v3 v3.0.1 (`encode.go`, `emitterc.go`, `resolve.go`, `sorter.go`, `decode.go`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from functools import cmp_to_key
from typing import Any

from groundplane.core import goformat, goyaml_read
from groundplane.core.fieldpath import MAX_DEPTH, utf8
from groundplane.core.goformat import Special
from groundplane.core.gotemplate import values as go
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import Run
from groundplane.core.gotemplate.sprig import dates
from groundplane.core.gotemplate.sprig.library import Library, function
from groundplane.core.gotemplate.values import Int, Struct, Uint64, Value, type_name
from groundplane.core.goyaml_read import MERGE, OLD_BOOLEANS, Dialect, NotYaml

YAML: Library = {}

# --- what a plain text means ------------------------------------------------------------------------------------------

_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})"
    r"| [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?))?"
)
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_WORDS = goyaml_read._NAMED  # the core schema's
_LAYOUTS = (
    "2006-1-2T15:4:5.999999999Z07:00",
    "2006-1-2t15:4:5.999999999Z07:00",
    "2006-1-2 15:4:5.999999999",
    "2006-1-2",
)


def resolve(text: str) -> Value:
    """What plain text means."""
    if text in _WORDS:
        return _WORDS[text]
    if "0" <= text[0] <= "9":
        time = _timestamp(text)
        if time is not None:
            return time
    number = goyaml_read._number(text)
    return _typed(number)


def _typed(number: Value) -> Value:
    if isinstance(number, int) and not isinstance(number, bool):
        return Int(number) if number < 2**63 else Uint64(number)
    return number


def _timestamp(text: str) -> dates.Time | None:
    if not _TIMESTAMP.fullmatch(text):
        return None
    for layout in _LAYOUTS:
        try:
            return dates.parsed(layout, text)
        except Failure:
            continue
    return None


def _tagged(tag: str, text: str) -> Value:
    if tag == "timestamp":
        time = _timestamp(text)
        if time is None:
            raise ValueError
        return time
    return _typed(goyaml_read._tagged(tag, text))


def _mapping(pairs: list[tuple[Any, Any]], line: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key is MERGE:
            continue
        if isinstance(key, list | dict):
            raise NotYaml("a map or a list can't be a key", line)
        if key in found:
            raise NotYaml(f"mapping key {goformat.sprintf('%#v', key)} already defined", line, "keep one of them")
        found[key] = "<<" if value is MERGE else value
    merged: dict[Any, Any] = {}
    for key, value in pairs:
        if key is MERGE:
            for each in reversed(goyaml_read._merged(value, line)):
                merged.update(each)
    whole = {**merged, **found}
    return whole if all(isinstance(key, str) for key in whole) else go.AnyMap(whole)


V3 = Dialect(resolve, _tagged, _mapping)


@function(YAML, "fromYaml", "string", wants_run=True)
def from_yaml(run: Run, text: str) -> Value:
    run.charge(len(text) >> 4)
    try:
        value = goyaml_read.read(text, V3)
    except NotYaml as error:
        raise Failure(f"yaml: line {error.line}: {error.what}", error.mend) from None
    return "<<" if value is MERGE else value


# --- writing ------------------------------------------------------------------------------------------------------------


@function(YAML, "toYaml", "any", wants_run=True, is_deep=True)
def to_yaml(run: Run, value: Value) -> str:
    out: list[str] = []
    _Writer(out).root(value)
    text = "".join(out)
    run.charge(len(text) >> 3)
    return text


class _Writer:
    """Block style; what is written at a place depends on the indentation there, and on whether it is an item of a list."""

    def __init__(self, out: list[str]) -> None:
        self.out = out

    def root(self, value: Value) -> None:
        if _is_block(value):
            self.block(value, 0, 0)
        else:
            self.out.append(_scalar(value, 4) + "\n")

    def block(self, value: Value, indent: int, depth: int) -> None:
        """A map or list whose first line begins at the cursor, the others at the indentation."""
        if depth > MAX_DEPTH:
            raise Failure(f"a value is nested more than {MAX_DEPTH} levels deep", "make it flatter")
        padding = " " * indent
        is_first = True
        for head, item in _entries(value, indent):
            self.out.append(("" if is_first else padding) + head)
            is_first = False
            is_item = isinstance(value, list)
            inner = indent + 2 if is_item else (indent // 4 + 1) * 4
            if not _is_block(item):
                self.out.append(f" {_scalar(item, inner)}\n")
            elif is_item:
                self.out.append(" ")
                self.block(item, inner, depth + 1)
            else:
                self.out.append("\n" + " " * inner)
                self.block(item, inner, depth + 1)


def _is_block(value: Value) -> bool:
    if isinstance(value, Struct):
        return bool(value.fields)
    return isinstance(value, dict | list | bytes) and len(value) > 0


def _entries(value: Value, indent: int) -> Iterator[tuple[str, Value]]:
    """What stands before each item, and the item."""
    if isinstance(value, list | bytes):
        for item in value:
            yield "-", item
        return
    members = value if isinstance(value, dict) else {name.lower(): each for name, each in value.fields.items()}
    for name in _sorted(members):
        key = _scalar(name, indent, is_key=True)
        is_simple = "\n" not in key and len(utf8(key)) <= 128
        yield (f"{key}:" if is_simple else f"? {key}\n{' ' * indent}:"), members[name]


def _scalar(value: Value, indent: int, *, is_key: bool = False) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dates.Time):
        return value.json()
    if isinstance(value, Special):
        return _text(value.text(), indent, is_key=is_key)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        shown = goformat.format_float(value, "g", -1)
        return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(shown, shown)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list | bytes):
        return "[]"
    if isinstance(value, str):
        return _text(value, indent, is_key=is_key)
    raise Failure(f"cannot marshal type: {type_name(value)}")


_SAFE = re.compile(r"[A-Za-z/][A-Za-z0-9/_.-]*(?: [A-Za-z0-9/_.-]+)*")


def _text(text: str, indent: int, *, is_key: bool) -> str:
    """A text in the style that the library chooses for it."""
    if _SAFE.fullmatch(text) and text not in _WORDS and text not in OLD_BOOLEANS:
        return text
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "!!binary " + base64.b64encode(utf8(text)).decode()
    found = _Analysis(text)
    if "\n" in text:
        if found.may_be_literal and not is_key:
            return _literal(text, indent)
        return _double_quoted(text)
    if isinstance(resolve(text) if text else None, str) and text not in OLD_BOOLEANS and not _BASE_60.fullmatch(text):
        if found.may_be_plain:
            return text
        return _single_quoted(text) if found.may_be_single else _double_quoted(text)
    return _double_quoted(text)


_BREAKS = "\r\n\x85\u2028\u2029"


class _Analysis:
    """Which styles a text can have."""

    def __init__(self, text: str) -> None:
        breaks = [at for at, character in enumerate(text) if character in _BREAKS]
        edges = text[:1] + text[-1:]
        space_break = any(at and text[at - 1] == " " for at in breaks)
        break_space = any(text[at + 1 : at + 2] == " " for at in breaks)
        special = any(not _is_printable(character) for character in text)
        tabs = "\t" in text
        is_bad = space_break or special or tabs
        self.may_be_literal = not (space_break or special or text[-1:] == " ")
        self.may_be_single = not (is_bad or break_space)
        self.may_be_plain = not (
            is_bad or breaks or any(edge in " " + _BREAKS for edge in edges) or not text or _has_indicators(text)
        )


def _has_indicators(text: str) -> bool:
    first, second = text[0], text[1:2]
    if text.startswith(("---", "...")) or first in "#,[]{}&*!|>'\"%@`":
        return True
    if first in "-?:" and (not second or second in " \t" + _BREAKS):
        return True
    return re.search(r":(?:[ \t\r\n]|$)|[ \t]#", text[1:]) is not None


def _is_printable(character: str) -> bool:
    number = ord(character)
    if number < 0x7F:
        return number in (0x0A, 0x09) or number >= 0x20
    return number == 0x85 or 0xA0 <= number <= 0xD7FF or (0xE000 <= number <= 0xFFFD and number != 0xFEFF)


def _literal(text: str, indent: int) -> str:
    head = "|"
    if text[0] == " " or text[0] in _BREAKS:
        head += "4"
    if text[-1] not in _BREAKS:
        head += "-"
    elif len(text) == 1 or text[-2] in _BREAKS:
        head += "+"
    lines = text.removesuffix("\n").split("\n")
    padding = " " * indent
    return head + "".join(f"\n{padding}{line}" if line else "\n" for line in lines)


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_SHORT = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e", '"': '"', "\\": "\\",
    "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P",
}  # fmt: skip


def _double_quoted(text: str) -> str:
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(character: str) -> str:
    if character in _SHORT and character != "\xa0":
        return f"\\{_SHORT[character]}"
    if _is_printable(character):
        return character
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02X}"
    return f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"


def _sorted(members: Mapping[Any, Value]) -> list[Any]:
    if all(type(name) is str and name.isascii() and name.isalpha() for name in members):
        return sorted(members)
    return sorted(members, key=cmp_to_key(_compare))


_KIND_ORDER = {"bool": 1, "int": 2, "int64": 6, "uint64": 11, "float64": 14, "string": 24}


def _compare(one: Any, other: Any) -> int:
    """The library's order: numbers by value, letters after other characters but before them behind digits."""
    if not isinstance(one, str) or not isinstance(other, str):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        if numbers and one != other:
            return -1 if one < other else 1
        first, second = (_KIND_ORDER.get(type_name(each), 25) for each in (one, other))
        return (first > second) - (first < second)
    digits = False
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            digits = a.isdigit()
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            return (-1 if a.isalpha() else 1) if digits else (-1 if b.isalpha() else 1)
        before = one[:at]
        leading = ""
        if "0" in (a, b) and before[len(before.rstrip("0123456789")) :].strip("0"):
            leading = "1"
        ours, theirs = _digits(one, at), _digits(other, at)
        value, limit = int(leading + ours or "0"), int(leading + theirs or "0")
        if value != limit:
            return -1 if value < limit else 1
        if len(ours) != len(theirs):
            return -1 if len(ours) < len(theirs) else 1
        return -1 if a < b else 1
    return len(one) - len(other)


def _digits(text: str, start: int) -> str:
    found = re.compile("[0-9]{0,18}").match(text, start)
    return found[0] if found else ""
