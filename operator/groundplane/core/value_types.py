"""What a value may be, by the schema of its kind: the types at a field path.

Source: Crossplane v1.20 `pkg/validation/internal/schema` (spec §5.4), whose departures `strict_upstream` asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.fieldpath import Path
from groundplane.core.objects import Json
from groundplane.core.structural import OBJECT_META, STRING, OpenAPI, type_of
from groundplane.errors import InvalidInput, field_meant, shown

TYPES = "x-groundplane-types"  # in schemas of kinds that are built in: the types of what has none there, as it may have either of two; no fields but its own

Types = frozenset[str]  # what a value may be, in the words of JSON schema

ANY: Types = frozenset({"array", "boolean", "integer", "number", "object", "string"})
SCALARS: Types = frozenset({"boolean", "integer", "number", "string"})
NUMBERS: Types = frozenset({"integer", "number"})
TEXT: Types = frozenset({"string"})

_UPSTREAM_META: dict[str, Any] = {
    **dict.fromkeys(("name", "namespace", "uid", "generateName"), STRING),
    **{key: {"type": "object", "additionalProperties": STRING} for key in ("labels", "annotations")},
}


class NoSuchField(InvalidInput):
    """The schema has no such field."""


def types_at(schema: OpenAPI | None, path: Path, *, strict_upstream: bool = False) -> Types:
    """What the value at a path may be; ANY where the schema leaves that open.

    Raises:
        NoSuchField: with the first part of the path that the schema doesn't have.
    """
    if schema is None or not path.segments:
        return ANY
    here = schema
    for depth, segment in enumerate(path.segments):
        place = fieldpath.render(path.segments[:depth]) or "the object"
        if depth == 0 and segment == "metadata":
            here = metadata_of(schema, strict_upstream=strict_upstream)
            continue
        if isinstance(segment, int):
            found = _element(here, segment, place, strict_upstream)
        elif segment == "*" and not strict_upstream and here.get("type") == "array":
            found = _element(here, 0, place, strict_upstream)
        elif segment == "*" and not strict_upstream and here.get("properties"):
            found = None
        else:
            found = _field(here, segment, place)
        if found is None:
            return ANY
        here = found
    return of_schema(here, strict_upstream=strict_upstream)


def of_schema(schema: OpenAPI, *, strict_upstream: bool = False) -> Types:
    """What a value of a schema may be.

    Raises:
        NoSuchField: upstream, and the schema names no type.
    """
    kind = schema.get("type")
    if kind in ANY:
        return frozenset({"object"}) if strict_upstream and kind == "array" else frozenset({kind})
    if TYPES in schema:
        return frozenset(schema[TYPES])
    if strict_upstream:
        raise NoSuchField(f"has no type that is known: {shown(kind or '')}")
    if schema.get("x-kubernetes-int-or-string"):
        return frozenset({"integer", "string"})
    return ANY


def metadata_of(schema: OpenAPI, *, strict_upstream: bool = False) -> OpenAPI:
    """The schema of an object's metadata: what every object has, and what its own kind says of it."""
    named = (schema.get("properties") or {}).get("metadata") or {}
    known = _UPSTREAM_META if strict_upstream else OBJECT_META["properties"]
    return {"type": "object", **named, "properties": {**known, **(named.get("properties") or {})}}


def _field(schema: OpenAPI, name: str, place: str) -> OpenAPI | None:
    """The schema of a field; None where every field is allowed."""
    kind = schema.get("type") or ("array" if "object" not in schema.get(TYPES, ("object",)) else "")
    if kind and kind != "object":
        raise NoSuchField(f'{place} is of type {kind}: it has no field "{name}"')
    properties: Mapping[str, OpenAPI] = schema.get("properties") or {}
    if name in properties:
        return properties[name]
    if schema.get("x-kubernetes-preserve-unknown-fields") and TYPES not in schema:
        return None
    additional = schema.get("additionalProperties")
    if additional is True or (isinstance(additional, Mapping) and not additional):
        return None
    if isinstance(additional, Mapping):
        return additional if additional.get("type") else _field(additional, name, place)
    mend = field_meant(name, properties, parent=place.rpartition(".")[2])
    raise NoSuchField(f'{place} has no field "{name}"', mend=mend)


def _element(schema: OpenAPI, index: int, place: str, strict_upstream: bool) -> OpenAPI | None:
    """The schema of an array's items; None where they may be anything."""
    kind = schema.get("type")
    if kind != "array" and "array" not in schema.get(TYPES, ()):
        if not kind and not strict_upstream and schema.get("x-kubernetes-preserve-unknown-fields"):
            return None
        raise NoSuchField(f"{place} is {f'of type {kind}' if kind else 'no array'}: it has no index {index}")
    most = schema.get("maxItems")
    if most is not None and index >= most:
        raise NoSuchField(f"{place} has at most {most} items: there is no index {index}")
    items = schema.get("items")
    if isinstance(items, Mapping):
        return items
    if isinstance(items, list) and index <= len(items):
        return None
    raise NoSuchField(f"{place}: its items are not declared: there is no index {index}")


def of_values(values: Iterable[Json]) -> Types:
    """The types of values; a null fits everywhere, and says nothing."""
    return frozenset(type_of(value) for value in values) - {"null"} or ANY


def fits(given: Types, wanted: Types) -> bool:
    return bool(given & wanted) or ("integer" in given and "number" in wanted)


def in_words(types: Types) -> str:
    """The types for a sentence.

    >>> in_words(frozenset({"integer", "string"}))
    'an integer or a string'
    """
    if types == ANY:
        return "anything"
    return " or ".join(f"{'an' if name[0] in 'aio' else 'a'} {name}" for name in sorted(types)) or "nothing"
