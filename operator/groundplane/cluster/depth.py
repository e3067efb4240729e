"""Objects that are nested deeper than anything here can work with: one of them must stop nobody else.

The API server takes ten thousand levels wherever a schema leaves fields open, so a claim may have them.  orjson reads 1024 and writes
254, and Python's recursion ends at a thousand.  So text is cut before it is read, and an object that can't be written
again is kept without its contents: it is there, has a name, owners and labels, and whoever reads it is told, with those fields
of its spec and status that are not too deep, by which it can be deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from groundplane.cluster import compact
from groundplane.core.objects import Object, key_of, meta
from groundplane.errors import Rejected, TooDeep

READABLE = 800  # levels: fewer than orjson and the json module can read, more than orjson can write
FIELDS = 2  # levels of fields of which the shallow ones are kept: spec.forProvider.region
_MEND = "make it flatter: 200 levels are enough for all that is worked with"
_STUB = "isTooDeep"  # a field that has what is left of the contents; no schema has it at the top
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)


def cut(text: bytes) -> bytes:
    """JSON without what is nested deeper than READABLE, which becomes null; as it is, if nothing is."""
    if text.count(b"{") + text.count(b"[") <= READABLE:
        return text
    depth, begun, kept = 0, 0, 0
    pieces: list[bytes] = []
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            if depth == READABLE + 1:
                begun = token.start()
        elif first in b"]}":
            if depth == READABLE + 1:
                pieces += [text[kept:begun], b"null"]
                kept = token.end()
            depth -= 1
    return b"".join((*pieces, text[kept:])) if pieces else text


def read(text: bytes) -> Any:
    """JSON as Python has it; what is nested too deep is cut.  Raises orjson.JSONDecodeError if it is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if (shallow := cut(text)) is text:
            raise
        return orjson.loads(shallow)


def written(value: Any) -> bytes:
    """The JSON of what is to be written.

    Raises:
        Rejected: it is nested too deep.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if "recursion" not in str(error).lower():
            raise
        raise Rejected("it is nested too deep to be written", mend=_MEND) from None


def packed(obj: Object) -> tuple[Object, bytes]:
    """The object as it can be kept, and its JSON: without its contents, if they are nested too deep."""
    try:
        return obj, compact.dumps(obj)
    except orjson.JSONEncodeError:  # of what came as JSON nothing else can be wrong
        metadata = {name: value for name, value in meta(obj).items() if name != "managedFields"}
        parts = {part: obj[part] for part in ("spec", "status") if isinstance(obj.get(part), dict)}
        stub = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, _STUB: _shallow(parts)}
        return stub, compact.dumps(stub)


def _shallow(fields: Mapping[str, Any], level: int = 0) -> dict[str, Any]:
    """What can be written of spec and status, of their fields and of these fields' own."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            orjson.dumps([[[[value]]]])
            found[name] = value
        except orjson.JSONEncodeError:
            if isinstance(value, dict) and level < FIELDS:
                found[name] = _shallow(value, level + 1)
    return found


def is_stub(obj: Object) -> bool:
    """Whether its contents are not all there."""
    return _STUB in obj


def checked(obj: Object) -> Object:
    """The object, if its contents are all there.

    Raises:
        TooDeep: they are not, or can't be written again.
    """
    if _STUB in obj:
        left = {name: value for name, value in obj.items() if name != _STUB} | obj[_STUB]
        raise TooDeep(f"{key_of(obj)} is nested too deep to be worked with", obj=left, mend=_MEND)
    return obj
