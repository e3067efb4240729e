"""The schemas of kinds as JSON Schema (draft 7), for editors: a YAML language server completes fields with them, and marks unknown ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from groundplane.core import known_schemas
from groundplane.core.objects import Json, Object, spec_of
from groundplane.core.structural import OBJECT_META, OpenAPI

DRAFT = "http://json-schema.org/draft-07/schema#"
INDEX = "all.json"  # says by apiVersion and kind which of the others holds

_KEPT = (
    "description",
    "default",
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "title",
    "uniqueItems",
)


def files(crds: Iterator[Object] | list[Object]) -> dict[str, Json]:
    """Path → schema: `<group>/<kind>_<version>.json` in lower case for each served version, and the index."""
    made: dict[str, Json] = {}
    cases: list[Json] = []
    for crd in crds:
        group, kind = str(spec_of(crd).get("group") or ""), known_schemas.kind_of(crd)
        for version, openapi in known_schemas.versions(crd):
            if not version.get("served"):
                continue
            api_version, path = f"{group}/{version['name']}", f"{group}/{kind}_{version['name']}.json".lower()
            made[path] = of_kind(openapi, api_version, kind)
            named = {"apiVersion": {"const": api_version}, "kind": {"const": kind}}
            cases.append({"if": {"properties": named, "required": ["apiVersion", "kind"]}, "then": {"$ref": path}})
    return {**made, INDEX: {"$schema": DRAFT, "type": "object", "required": ["apiVersion", "kind"], "allOf": cases}}


def of_kind(openapi: OpenAPI, api_version: str, kind: str) -> dict[str, Any]:
    """The schema of a whole object; what somebody writes has no status.

    >>> found = of_kind({"type": "object", "properties": {"spec": {"type": "object"}}}, "a.b/v1", "Thing")
    >>> found["properties"]["kind"], found["required"]
    ({'type': 'string', 'const': 'Thing'}, ['apiVersion', 'kind', 'metadata'])
    """
    made = _schema(openapi)
    named = {
        "apiVersion": {"type": "string", "const": api_version},
        "kind": {"type": "string", "const": kind},
        "metadata": _schema(OBJECT_META),
    }
    made["properties"] = {**made.get("properties", {}), **named}
    made["required"] = [
        "apiVersion",
        "kind",
        "metadata",
        *(name for name in made.get("required", ()) if name == "spec"),
    ]
    made["additionalProperties"] = False
    return {"$schema": DRAFT, **made}


def _schema(openapi: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {name: openapi[name] for name in _KEPT if name in openapi}
    type_ = openapi.get("type")
    if openapi.get("x-kubernetes-int-or-string"):
        type_ = ["integer", "string"]
    if type_:
        made["type"] = [*([type_] if isinstance(type_, str) else type_), "null"] if openapi.get("nullable") else type_
    for word in ("exclusiveMaximum", "exclusiveMinimum"):  # of draft 4: true, beside the limit
        limit = word.removeprefix("exclusive").lower()
        if openapi.get(word) is True and limit in made:
            made[word] = made.pop(limit)
    properties = openapi.get("properties")
    if properties:
        made["properties"] = {name: _schema(child) for name, child in properties.items()}
    additional = openapi.get("additionalProperties")
    if isinstance(additional, Mapping):
        made["additionalProperties"] = _schema(additional)
    elif properties and not additional and not openapi.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
        if openapi.get("x-kubernetes-embedded-resource"):
            made["properties"] |= {name: {} for name in ("apiVersion", "kind", "metadata")}
    if isinstance(openapi.get("items"), Mapping):
        made["items"] = _schema(openapi["items"])
    for word in ("allOf", "anyOf", "oneOf"):
        if openapi.get(word):
            made[word] = [_branch(child) for child in openapi[word]]
    if isinstance(openapi.get("not"), Mapping):
        made["not"] = _branch(openapi["not"])
    return made


def _branch(openapi: Mapping[str, Any]) -> dict[str, Any]:
    """A schema beside another: it says what must be so, not which fields there are."""
    return {name: value for name, value in _schema(openapi).items() if name != "additionalProperties"}
