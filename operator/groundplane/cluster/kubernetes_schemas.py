"""The schemas of Kubernetes' own kinds: names and types of fields, for what judges manifests without a cluster.

`kubernetes_schemas.json` is made from the models of the `kubernetes` package by `python -m tests.cluster.kubernetes_schemas`:
`kinds` says which type "apps/v1 Deployment" is; each of `types` has its fields (`f`) and the required ones (`r`).  A field is of
another type, or `s` text, `i` integer, `n` number, `b` boolean, `q` integer or text, `o` anything; `[]` and `{}` before it make a
list and a map of it.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from groundplane.core.structural import ANYTHING, OpenAPI

_SCALARS: dict[str, dict[str, Any]] = {
    "s": {"type": "string"},
    "i": {"type": "integer"},
    "n": {"type": "number"},
    "b": {"type": "boolean"},
    "q": {"x-kubernetes-int-or-string": True},
    "o": dict(ANYTHING),
}
_DEEPEST = 24  # types within types: a JSONSchemaProps holds others of its kind
_OPEN = frozenset({"V1JSONSchemaProps"})  # it has no end, and `core/schema_defects.py` judges it


@cache
def _table() -> dict[str, Any]:
    source = resources.files(__package__) / "kubernetes_schemas.json"
    found: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return found


@cache
def schema(api_version: str, kind: str) -> OpenAPI | None:
    """The schema of one kind; None if Kubernetes has no such kind.

    >>> schema("v1", "ConfigMap")["properties"]["data"]
    {'type': 'object', 'additionalProperties': {'type': 'string'}}
    """
    name = f"{api_version} {kind}"
    type_ = _table()["kinds"].get(name)
    if type_ is None:
        return None
    found = _object(type_, 0)
    return {**found, "properties": {**found["properties"], "metadata": {"type": "object"}}}


def _object(type_: str, depth: int) -> dict[str, Any]:
    described = _table()["types"][type_]
    if type_ in _OPEN or depth > _DEEPEST or not described["f"]:
        return {"type": "object", **ANYTHING}
    made: dict[str, Any] = {
        "type": "object",
        "properties": {name: _field(word, depth + 1) for name, word in described["f"].items()},
    }
    return {**made, "required": described["r"]} if "r" in described else made


def _field(word: str, depth: int) -> dict[str, Any]:
    if word.startswith("[]"):
        return {"type": "array", "items": _field(word[2:], depth)}
    if word.startswith("{}"):
        return {"type": "object", "additionalProperties": _field(word[2:], depth)}
    return _SCALARS.get(word) or _object(word, depth)
