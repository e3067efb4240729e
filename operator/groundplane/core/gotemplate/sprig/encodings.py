"""sprig's functions for JSON, base64, base32 and digests.

Source: Masterminds/sprig v3.3.0 `defaults.go`, `functions.go`, `crypto.go`; Go's `encoding/json`, `encoding/base64`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from typing import Any

from groundplane.core import goformat
from groundplane.core.fieldpath import MAX_DEPTH, utf8
from groundplane.core.goformat import Special
from groundplane.core.gotemplate import values as go
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import check_length
from groundplane.core.gotemplate.sprig.library import Library, function
from groundplane.core.gotemplate.values import Struct, Value

ENCODINGS: Library = {}


# --- JSON -----------------------------------------------------------------------------------------------------------------


def plain(value: Value) -> Any:
    """A value as JSON has it.  Raises Failure for what JSON has not."""
    if isinstance(value, go.Nil):
        return None
    if isinstance(value, go.AnyMap):
        raise Failure(
            "json: unsupported type: map[interface {}]interface {}", "a map whose keys are not all text is no JSON"
        )
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Failure(f"json: unsupported value: {goformat.format_float(value, 'g', -1)}")
        return value
    if isinstance(value, complex):
        raise Failure("json: unsupported type: complex128")
    if isinstance(value, Special):
        encoded = getattr(value, "json", None)
        if encoded is not None:
            return encoded()
        if isinstance(value, Struct):
            return {name: plain(item) for name, item in value.fields.items()}
        return int(value) if isinstance(value, int) else value.text()
    return value


def json_of(value: Value) -> str:
    return goformat.dumps(plain(value))


def pretty(value: Value) -> str:
    return _indented(plain(value), "")


def _indented(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        members = [f"{inner}{goformat.dumps(name)}: {_indented(value[name], inner)}" for name in sorted(value)]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + _indented(item, inner) for item in value) + f"\n{indent}]"
    return goformat.dumps(value)


_ESCAPED = re.compile(r"\\\\|\\u003c|\\u003e|\\u0026")
_RAW = {"\\\\": "\\\\", "\\u003c": "<", "\\u003e": ">", "\\u0026": "&"}


def raw(value: Value) -> str:
    return _ESCAPED.sub(lambda found: _RAW[found[0]], json_of(value))


def _or_nothing(encode: Any) -> Any:
    """Without `must`, what can't be encoded is an empty text."""

    def body(value: Value) -> str:
        try:
            text: str = encode(value)
        except Failure:
            return ""
        return text

    return body


for _name, _encode, _plain in (
    ("Json", json_of, _or_nothing(json_of)),
    ("PrettyJson", pretty, _or_nothing(pretty)),
    ("RawJson", raw, raw),  # panics, with and without `must`
):
    function(ENCODINGS, f"to{_name}", "any", is_deep=True)(_plain)
    function(ENCODINGS, f"mustTo{_name}", "any", is_deep=True)(_encode)


_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def _depth(text: str) -> int:
    """How deep brackets are nested outside of texts."""
    deepest = depth = 0
    for mark in re.findall(r"[\[\]{}]", _STRINGS.sub("", text)):
        depth += 1 if mark in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse(word: str) -> Any:
    raise ValueError(f"invalid character {word[0]!r} looking for beginning of value")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("cannot unmarshal a number that large into Go value of type float64")
    return value


@function(ENCODINGS, "mustFromJson", "string")
def from_json(text: str) -> Value:
    if _depth(text) > MAX_DEPTH:
        raise Failure(f"exceeded max depth: {MAX_DEPTH}", "make it flatter")
    try:
        return json.loads(go_text(text), parse_int=_number, parse_float=_number, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        place = error.pos
        if place >= len(text.rstrip()):
            raise Failure("unexpected end of JSON input") from None
        raise Failure(
            f"invalid character {text[place]!r} at position {place}", "look at what is read: is it JSON?"
        ) from None
    except ValueError as error:
        raise Failure(str(error)) from None


def go_text(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if not text.isascii() else text


@function(ENCODINGS, "fromJson", "string")
def from_json_or_nothing(text: str) -> Value:
    try:
        return from_json(text)
    except Failure:
        return None


# --- base64, base32 ---------------------------------------------------------------------------------------------------------


@function(ENCODINGS, "b64enc", "string")
def b64enc(text: str) -> str:
    check_length(len(text) * 4 // 3)
    return base64.b64encode(utf8(text)).decode()


@function(ENCODINGS, "b64dec", "string")
def b64dec(text: str) -> str:
    """The text, or what is wrong with it: sprig gives that back, too."""
    found = base64_decoded(text)
    if isinstance(found, int):
        return f"illegal base64 data at input byte {found}"
    return found.decode("utf-8", "surrogateescape")


_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def base64_decoded(text: str) -> bytes | int:
    """What base64 says, or where it goes wrong.

    >>> base64_decoded("YQ=="), base64_decoded("YQ"), base64_decoded("Y!==")
    (b'a', 0, 1)
    """
    data = utf8(text)
    try:
        return base64.b64decode(data.replace(b"\n", b"").replace(b"\r", b""), validate=True)
    except ValueError:
        return _first_wrong(data)


def _first_wrong(data: bytes) -> int:
    """The offset that Go's decoder complains of."""
    position, size = 0, len(data)
    while position < size:
        held = 0
        while held < 4:
            if position == size:
                return position - held if held else size
            byte = data[position]
            position += 1
            if byte in b"\r\n":
                continue
            if byte in _BASE64:
                held += 1
                continue
            if byte != ord("=") or held < 2:
                return position - 1
            rest = data[position:].lstrip(b"\r\n")
            if held == 2:
                if not rest:
                    return size
                if rest[:1] != b"=":
                    return position + (len(data) - position - len(rest)) - 1 + 1
                rest = rest[1:].lstrip(b"\r\n")
            return size - len(rest) if rest else size
    return size


@function(ENCODINGS, "b32enc", "string")
def b32enc(text: str) -> str:
    return base64.b32encode(utf8(text)).decode()


@function(ENCODINGS, "b32dec", "string")
def b32dec(text: str) -> str:
    data = utf8(text).replace(b"\n", b"").replace(b"\r", b"")
    try:
        return base64.b32decode(data).decode("utf-8", "surrogateescape")
    except ValueError:
        wrong = re.search(rb"[^A-Z2-7]", data.rstrip(b"="))
        return f"illegal base32 data at input byte {wrong.start() if wrong else len(data) // 8 * 8}"


# --- digests ------------------------------------------------------------------------------------------------------------------

function(ENCODINGS, "sha1sum", "string")(lambda text: hashlib.sha1(utf8(text), usedforsecurity=False).hexdigest())
function(ENCODINGS, "sha256sum", "string")(lambda text: hashlib.sha256(utf8(text)).hexdigest())
function(ENCODINGS, "sha512sum", "string")(lambda text: hashlib.sha512(utf8(text)).hexdigest())
function(ENCODINGS, "adler32sum", "string")(lambda text: str(zlib.adler32(utf8(text))))


@function(ENCODINGS, "fail", "string")
def fail(message: str) -> str:
    raise Failure(message)


@function(ENCODINGS, "getHostByName", "string")
def get_host_by_name(name: str) -> str:
    raise Failure(
        "names are not looked up here: what is rendered would change with the network",
        "take the address from a resource or an EnvironmentConfig",
    )
