"""An object against the schema of its kind: what it has that doesn't fit, and what it lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from groundplane.core import fieldpath, providers, value_types
from groundplane.core.objects import Json, group_of
from groundplane.core.structural import TYPE_META, OpenAPI, quoted, type_of
from groundplane.core.value_types import TEXT, TYPES, Types
from groundplane.errors import did_you_mean, field_meant, nearest

KNOWN_VALUES = "x-groundplane-values"  # in schemas of kinds that are built in: values that AWS is known to take; there may be new ones


class Misfit(NamedTuple):
    """One thing in an object that its schema does not have so."""

    path: tuple[fieldpath.Segment, ...]
    detail: str
    mend: str


def cluster_scoped(api_version: str, kind: str) -> Misfit:
    """What lives in no namespace, where the composite lives in one: garbage collection would take it at once."""
    group = group_of(api_version)
    text = f"{kind}{f' of {group}' if group else ''} is cluster-scoped: a composite in a namespace can't own it"
    return Misfit(("apiVersion",), text, providers.mend_of_cluster_scope(group, kind))


def of(schema: OpenAPI, obj: Mapping[str, Json]) -> Iterator[Misfit]:
    """The fields of an object that its schema does not know, and values of another type or none of its enum.

    What is missing, and what is null, may be filled in later.

    >>> size = {"type": "object", "properties": {"size": {"type": "integer"}}}
    >>> for found in of({"type": "object", "properties": {"spec": size}}, {"spec": {"sise": 1, "size": "1"}}):
    ...     print(found.detail, found.mend)
    spec has no field "sise" did you mean size?
    spec.size is an integer, and not the string "1" write 1
    """
    for name, value in obj.items():
        if name == "metadata":
            yield from _misfits(value_types.metadata_of(schema), value, (name,))
        elif name not in TYPE_META:
            yield from _misfit_field(schema, name, value, ())


def absent(
    schema: OpenAPI, value: Json, path: tuple[fieldpath.Segment, ...] = ()
) -> Iterator[tuple[fieldpath.Segment, ...]]:
    """Required fields that are not there, and have no default.

    >>> size = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}
    >>> list(absent({"type": "object", "properties": {"spec": size}}, {"spec": {}}))
    [('spec', 'size')]
    """
    properties: Mapping[str, OpenAPI] = schema.get("properties") or {}
    if isinstance(value, dict):
        for name in schema.get("required") or ():
            if name not in value and "default" not in properties.get(name, {}):
                yield (*path, name)
        for name, item in value.items():
            child = properties.get(name, schema.get("additionalProperties"))
            if isinstance(child, Mapping) and (path or name not in (*TYPE_META, "metadata", "status")):
                yield from absent(child, item, (*path, name))
    elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from absent(items, item, (*path, index))


def _misfits(schema: OpenAPI, value: Json, path: tuple[fieldpath.Segment, ...]) -> Iterator[Misfit]:
    if value is None:
        return
    types = value_types.of_schema(schema)
    if not value_types.fits(frozenset({type_of(value)}), types):
        yield Misfit(
            path,
            f"{fieldpath.render(path)} is {value_types.in_words(types)}, and not {_value(value)}",
            _instead(value, types),
        )
        return
    allowed = schema.get("enum")
    if allowed and value not in allowed:
        mend = did_you_mean(str(value), map(str, allowed))
        yield Misfit(path, f"{fieldpath.render(path)} can't be {_value(value)}", mend)
    elif isinstance(value, str) and value not in (known := schema.get(KNOWN_VALUES) or (value,)):
        if near := nearest(value, known) or nearest(value.upper(), known) or nearest(value.lower(), known):
            yield Misfit(path, f"{fieldpath.render(path)} can hardly be {_value(value)}", f"did you mean {near}?")
    elif isinstance(value, dict):
        for name, item in value.items():
            if not (schema.get("x-kubernetes-embedded-resource") and name in TYPE_META):
                yield from _misfit_field(schema, name, item, path)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from _misfits(items, item, (*path, index))


def _misfit_field(schema: OpenAPI, name: str, value: Json, path: tuple[fieldpath.Segment, ...]) -> Iterator[Misfit]:
    properties: Mapping[str, OpenAPI] = schema.get("properties") or {}
    child = properties.get(name, schema.get("additionalProperties"))
    if isinstance(child, Mapping):
        yield from _misfits(child, value, (*path, name))
    elif not child and (
        (schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields")) or TYPES in schema
    ):
        place = fieldpath.render(path) or "the object"
        mend = field_meant(name, properties, parent=str(path[-1]) if path else "")
        yield Misfit((*path, name), f'{place} has no field "{name}"', mend)


def _value(value: Json) -> str:
    return f"the {type_of(value)} {quoted(value)}" if not isinstance(value, dict | list) else f"an {type_of(value)}"


def _instead(value: Json, types: Types) -> str:
    """How to write the same value in one of these types; "" if there is no telling."""
    if isinstance(value, str):
        try:
            meant = json.loads(value)
        except ValueError:
            return ""
        return f"write {value.strip()}" if value_types.fits(frozenset({type_of(meant)}), types) else ""
    if types == TEXT and not isinstance(value, dict | list):
        return f'write "{quoted(value)}", with the quotes'
    if types == frozenset({"array"}):
        return "write a list"
    return ""
