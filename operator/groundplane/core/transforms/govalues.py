"""Values as Go reads, counts and writes them, where Python does it otherwise: what several transforms share.

Source: Go 1.23 `strconv` (ParseBool, ParseInt, ParseFloat) and `encoding/json`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import NoReturn

from groundplane.core import fieldpath, goformat
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, shown


def plain(value: Json) -> Json:
    """A value as Go's plain JSON decoder reads it: every number is a float.

    An integer that no float holds exactly stays an integer: nobody can want it rounded.
    """
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if type(value) is int:
        number = fieldpath.as_float(value)
        return number if int(number) == value else value
    return value


def wrapped(value: int) -> int:
    """An integer of 64 bits, as it overflows."""
    return (value + 2**63) % 2**64 - 2**63


def truncated(value: float) -> int:
    """A float cut to a 64-bit integer as amd64 does it: the smallest one for what does not fit."""
    if isinstance(value, float) and not -(2.0**63) <= value < 2.0**63:
        return fieldpath.INT64_MIN
    return int(value)


def _cannot_convert(value: str, target: str, mend: str = "") -> NoReturn:
    raise InvalidInput(f"cannot convert {shown(value)} to {target}", mend=mend)


def parse_bool(value: str) -> bool:
    """The words that strconv.ParseBool takes; this and its siblings raise InvalidInput for any other."""
    if value in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if value not in ("0", "f", "F", "FALSE", "false", "False"):
        _cannot_convert(value, "bool", 'use "true" or "false"')
    return False


def parse_int(value: str) -> int:
    """Decimal digits that fit into 64 bits."""
    if not re.fullmatch("[+-]?[0-9]{1,400}", value):
        _cannot_convert(value, "int64", "use decimal digits only")
    number = int(value)
    if not fieldpath.INT64_MIN <= number <= fieldpath.INT64_MAX:
        _cannot_convert(value, "int64", "it must fit into 64 bits")
    return number


# Each digit has one place only, else a million of them and a letter took hours.
_FLOAT = re.compile(
    r"[+-]?(?:[0-9]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|0[xX][0-9a-fA-F]*(?:\.[0-9a-fA-F]*)?[pP][+-]?[0-9]+)"
)
_ODD_UNDERSCORE = re.compile("(?<![0-9])_|_(?![0-9])")
_ODD_HEX_UNDERSCORE = re.compile("(?<![0-9a-fA-FxX])_|_(?![0-9a-fA-F])")


def parse_float(value: str) -> float:
    """What strconv.ParseFloat takes: decimal or hexadecimal, with underscores between digits; infinities and NaN by name."""
    if re.fullmatch("[+-]?inf(inity)?|nan", value, flags=re.IGNORECASE | re.ASCII):
        return float(value)
    digits, is_hex = value.replace("_", ""), "x" in value.lower()
    try:
        odd = _ODD_HEX_UNDERSCORE if is_hex else _ODD_UNDERSCORE
        if not _FLOAT.fullmatch(digits) or odd.search(value):
            raise ValueError
        number = float.fromhex(digits) if is_hex else float(digits)
    except (ValueError, OverflowError):
        _cannot_convert(value, "float64", "use a decimal number, as in 1.5 or 2e3")
    if math.isinf(number):
        _cannot_convert(value, "float64", "it is too large")
    return number


def json_parser(kind: type) -> Callable[[str], Json]:
    """A reader of JSON texts of one object (`dict`) or one array (`list`), or null."""
    name = "object" if kind is dict else "array"

    def convert(value: str) -> Json:
        try:
            found = json.loads(value, parse_int=_json_integer, parse_float=_json_float, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            _cannot_convert(value, name, f"it must be JSON, one {name}")
        if found is not None and not isinstance(found, kind):
            _cannot_convert(value, name, f"its JSON must be one {name}")
        return _valid(found)

    return convert


def _json_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("too large")
    return number


def _json_integer(digits: str) -> float:
    number = _json_float(digits)
    exact = int(digits) if len(digits) < 20 else int(number)
    return number if exact == number else exact


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _valid(value: Json, depth: int = 0) -> Json:
    """What JSON text gave, with its escapes of half characters replaced, and its depth bounded."""
    if depth > fieldpath.MAX_DEPTH:
        raise fieldpath.too_deep()
    if isinstance(value, str):
        return fieldpath.unicode_only(value)
    if isinstance(value, list):
        return [_valid(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {fieldpath.unicode_only(name): _valid(item, depth + 1) for name, item in value.items()}
    return value


def decimal_text(value: float) -> str:
    """A float without an exponent, with as few digits as tell it from all others."""
    return goformat.format_float(value, "f", -1)
