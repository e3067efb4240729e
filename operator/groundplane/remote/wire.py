"""The wire format of protocol buffers, for messages that are given as tables of fields, and for `google.protobuf.Struct`.

A message is a dict by field names; a field that is not there is unset.  Unknown fields are passed over, and of a field that comes twice
the last one counts.  Written here because it is small: no generated code, no compiler, no library; Struct, of which nearly all
bytes consist, is read and written as plain JSON data without anything in between.

Source: protobuf.dev/programming-guides/encoding, and google/protobuf/struct.proto.
"""

from __future__ import annotations

import math
import struct as binary
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from groundplane.core import fieldpath
from groundplane.core.fieldpath import INT64_MIN, MAX_DEPTH
from groundplane.errors import InvalidInput

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
_SMALL = [bytes((number,)) for number in range(0x80)]
_DOUBLE = binary.Struct("<d")


class Malformed(ValueError):
    """Bytes that are no such message."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message: scalars, a Struct, or a message, once, repeated, or in a map from text."""

    name: str
    type: Literal["text", "bytes", "integer", "struct"] | Message
    many: Literal["", "list", "map"] = ""


Message = Mapping[int, Field]


# --- writing --------------------------------------------------------------------------------------------------


def encode(message: Message, values: Mapping[str, Any]) -> bytes:
    """The bytes of a message; the same values always give the same bytes."""
    parts: list[bytes] = []
    for number, field in message.items():
        if field.name not in values:
            continue
        value, tag = values[field.name], varint(number << 3 | BYTES)
        if field.many == "map":
            for name in sorted(value):
                entry = _delimited(b"\x0a", _text(name)) + _encoded(b"\x12", 2, field.type, value[name])
                parts.append(_delimited(tag, entry))
        elif field.many == "list":
            parts += [_encoded(tag, number, field.type, item) for item in value]
        else:
            parts.append(_encoded(tag, number, field.type, value))
    return b"".join(parts)


def _encoded(tag: bytes, number: int, type_: Any, value: Any) -> bytes:
    if type_ == "integer":
        return varint(number << 3 | VARINT) + varint(value & 0xFFFFFFFFFFFFFFFF)
    if type_ == "text":
        return _delimited(tag, _text(value))
    if type_ == "bytes" or type(value) is bytes:  # or encoded already
        return _delimited(tag, value)
    return _delimited(tag, struct(value) if type_ == "struct" else encode(type_, value))


def varint(number: int) -> bytes:
    """
    >>> varint(300).hex()
    'ac02'
    """
    if number < 0x80:
        return _SMALL[number]
    made = bytearray()
    while number >= 0x80:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _delimited(tag: bytes, payload: bytes) -> bytes:
    return tag + varint(len(payload)) + payload


def _text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return fieldpath.unicode_only(text).encode()


def struct(obj: Mapping[str, Any], depth: int = 0) -> bytes:
    """The bytes of a Struct: a JSON object.

    Raises:
        InvalidInput: it is no JSON, or nested too deep.
    """
    if depth > MAX_DEPTH:
        raise fieldpath.too_deep()
    parts: list[bytes] = []
    for name in sorted(obj):
        key, value = _text(name), _value(obj[name], depth)
        key_size, value_size = varint(len(key)), varint(len(value))
        size = varint(2 + len(key_size) + len(key) + len(value_size) + len(value))
        parts += (b"\x0a", size, b"\x0a", key_size, key, b"\x12", value_size, value)
    return b"".join(parts)


def _value(value: Any, depth: int) -> bytes:
    kind = type(value)
    if kind is str:
        return _delimited(b"\x1a", _text(value))
    if kind is dict:
        return _delimited(b"\x2a", struct(value, depth + 1))
    if value is None:
        return b"\x08\x00"
    if kind is bool:
        return b"\x20\x01" if value else b"\x20\x00"
    if kind is list:
        if depth > MAX_DEPTH:
            raise fieldpath.too_deep()
        items: list[bytes] = []
        for item in value:
            items.append(_delimited(b"\x0a", _value(item, depth + 1)))
        return _delimited(b"\x32", b"".join(items))
    if kind is int or kind is float:
        number = fieldpath.as_float(value) if kind is int else value
        if math.isfinite(number):
            return b"\x11" + _DOUBLE.pack(number)
    raise InvalidInput(f"a {kind.__name__} is no JSON that a function could be handed")


# --- reading --------------------------------------------------------------------------------------------------


def decode(message: Message, data: bytes) -> dict[str, Any]:
    """The fields of a message that are set.

    Raises:
        Malformed: it is no such message.
    """
    try:
        return _decoded(message, data, 0, len(data))
    except (IndexError, binary.error, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"cut off, or no such message: {type(error).__name__}") from None


def _decoded(message: Message, data: bytes, at: int, end: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while at < end:
        key, at = _number(data, at)
        at, begin, stop = _span(data, at, end, key & 7)
        field = message.get(key >> 3)
        if field is None:
            continue
        if (key & 7) != (VARINT if field.type == "integer" else BYTES):
            raise Malformed(f"{field.name} has another type")
        if field.many == "map":
            name, value = _entry(data, begin, stop, _reader(field.type))
            found.setdefault(field.name, {})[name] = value
        elif field.many == "list":
            found.setdefault(field.name, []).append(_reader(field.type)(data, begin, stop))
        else:
            found[field.name] = _reader(field.type)(data, begin, stop)
    return found


def _span(data: bytes, at: int, end: int, wire: int) -> tuple[int, int, int]:
    """Where what follows a key goes on, and where its payload begins and ends."""
    if wire == BYTES:
        size, at = _number(data, at)
        begin, stop = at, at + size
    elif wire == VARINT:
        begin = at
        _, stop = _number(data, at)
    elif wire in (FIXED64, FIXED32):
        begin, stop = at, at + (8 if wire == FIXED64 else 4)
    else:
        raise Malformed(f"unknown wire type {wire}")
    if stop > end:
        raise Malformed("cut off")
    return stop, begin, stop


def _number(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    number, shift = byte & 0x7F, 7
    while shift < 70:
        at += 1
        byte = data[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at + 1
        shift += 7
    raise Malformed("a number is too long")


_Read = Callable[[bytes, int, int], Any]


def _reader(type_: Any) -> _Read:
    known = _SCALARS.get(type_) if isinstance(type_, str) else None
    return known or (lambda data, at, end: _decoded(type_, data, at, end))


def _entry(data: bytes, at: int, end: int, read: _Read) -> tuple[str, Any]:
    name, value = "", read(b"", 0, 0)
    while at < end:
        key, at = _number(data, at)
        at, begin, stop = _span(data, at, end, key & 7)
        if key == 0x0A:
            name = str(data[begin:stop], "utf-8")
        elif key == 0x12:
            value = read(data, begin, stop)
    return name, value


def _integer(data: bytes, at: int, end: int) -> int:
    number = _number(data, at)[0] if at < end else 0
    return number - (1 << 64) if number >= 1 << 63 else number


_SCALARS: Mapping[str, _Read] = {
    "text": lambda data, at, end: str(data[at:end], "utf-8"),
    "bytes": lambda data, at, end: data[at:end],
    "integer": _integer,
    "struct": lambda data, at, end: _struct(data, at, end, 0),
}


def _struct(data: bytes, at: int, end: int, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise Malformed(f"nested more than {MAX_DEPTH} levels deep")
    found: dict[str, Any] = {}
    while at < end:
        key, at = _number(data, at)
        at, begin, stop = _span(data, at, end, key & 7)
        if key != 0x0A:
            continue
        name, value = "", None
        while begin < stop:
            key, begin = _number(data, begin)
            begin, first, last = _span(data, begin, stop, key & 7)
            if key == 0x12:
                value = _plain(data, first, last, depth)
            elif key == 0x0A:
                name = str(data[first:last], "utf-8")
        found[name] = value
    return found


def _plain(data: bytes, at: int, end: int, depth: int) -> Any:
    """A Value as JSON has it; whole numbers are integers, as far as 64 bits hold them."""
    found: Any = None
    while at < end:
        key, at = _number(data, at)
        at, begin, stop = _span(data, at, end, key & 7)
        if key == 0x1A:
            found = str(data[begin:stop], "utf-8")
        elif key == 0x2A:
            found = _struct(data, begin, stop, depth + 1)
        elif key == 0x11:
            (found,) = _DOUBLE.unpack_from(data, begin)
            if found.is_integer() and INT64_MIN <= found < 2.0**63:
                found = int(found)
            elif not math.isfinite(found):
                raise Malformed(f"{found} is no JSON number")
        elif key == 0x20:
            found = _number(data, begin)[0] != 0
        elif key == 0x32:
            found = _list(data, begin, stop, depth + 1)
        elif key == 0x08:
            found = None
    return found


def _list(data: bytes, at: int, end: int, depth: int) -> list[Any]:
    if depth > MAX_DEPTH:
        raise Malformed(f"nested more than {MAX_DEPTH} levels deep")
    found: list[Any] = []
    while at < end:
        key, at = _number(data, at)
        at, begin, stop = _span(data, at, end, key & 7)
        if key == 0x0A:
            found.append(_plain(data, begin, stop, depth))
    return found
