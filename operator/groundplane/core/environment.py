"""The environment: data that the steps of a pipeline hand on in its context, and EnvironmentConfigs that fill it.

Source: function-patch-and-transform v0.10 and function-environment-configs v0.4, which agree on the context's key.
"""

from __future__ import annotations

from collections.abc import Mapping

from groundplane.core import fieldpath
from groundplane.core.objects import Json, Object
from groundplane.errors import InvalidInput

KEY = "apiextensions.crossplane.io/environment"
API_VERSION = "internal.crossplane.io/v1alpha1"
KIND = "Environment"


def of(context: Mapping[str, Json]) -> Object:
    """A copy of the environment that a context holds; an empty one if it holds none.

    Raises:
        InvalidInput: what is there is no object.
    """
    found = context.get(KEY)
    if found is not None and not isinstance(found, dict):
        raise InvalidInput(f"context {KEY} is {fieldpath.kind_of(found)}, not an object")
    environment: Object = fieldpath.copied(found or {})
    return named(environment)


def named(environment: Object) -> Object:
    """The environment itself, with the kind that every object must have."""
    environment["apiVersion"] = environment.get("apiVersion") or API_VERSION
    environment["kind"] = environment.get("kind") or KIND
    return environment


def merged(low: Mapping[str, Json], high: Mapping[str, Json], depth: int = 0) -> dict[str, Json]:
    """Both, object by object; where they disagree, `high` counts.  Arrays are replaced, never joined.

    >>> merged({"a": {"x": 1, "y": 1}, "l": [1]}, {"a": {"y": 2}, "l": [2]})
    {'a': {'x': 1, 'y': 2}, 'l': [2]}
    """
    if depth > fieldpath.MAX_DEPTH:
        raise fieldpath.too_deep()
    result = dict(low)
    for name, value in high.items():
        there = result.get(name)
        if isinstance(there, dict) and isinstance(value, dict):
            value = merged(there, value, depth + 1)
        result[name] = value
    return result
