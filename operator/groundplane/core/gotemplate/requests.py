"""What templates of compositions see: a request as protobuf's JSON has it, and functions that look things up in it.

Source: function-go-templating v0.12 (`function_maps.go`, `fn.go`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from groundplane.core.gotemplate import values as go
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import Run
from groundplane.core.gotemplate.sprig import SPRIG, dates
from groundplane.core.gotemplate.sprig.library import Library, function
from groundplane.core.gotemplate.values import Function, Named, Struct, Value
from groundplane.core.gotemplate.yaml3 import YAML
from groundplane.core.objects import Json

EXTRA_RESOURCES = "apiextensions.crossplane.io/extra-resources"  # key of the context
NAME_ANNOTATION = "gotemplating.fn.crossplane.io/composition-resource-name"

REQUESTS: Library = {}


@function(REQUESTS, "include", "string any", wants_run=True)
def include(run: Run, name: str, data: Value) -> str:
    assert run.include is not None, "a program runs"
    return run.include(run, name, go.INVALID if data is None else data)


@function(REQUESTS, "randomChoice", "", "string", wants_run=True, is_random=True)
def random_choice(run: Run, *choices: str) -> str:
    if not choices:
        raise Failure("invalid argument to Intn", "give it something to choose from")
    return choices[int.from_bytes(run.random(8)) % len(choices)]


@function(REQUESTS, "setResourceNameAnnotation", "string")
def set_name(name: str) -> str:
    return f"{NAME_ANNOTATION}: {name}"


def _found(value: Value, *names: str) -> Value:
    """What is below a value; None if it is not there."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _map_at(request: Json, *names: str) -> dict[str, Value]:
    found = _found(request, *names)
    return found if isinstance(found, dict) else go.NilMap()


@function(REQUESTS, "getCompositeResource", "map")
def composite(request: Json) -> dict[str, Value]:
    return _map_at(request, "observed", "composite", "resource")


@function(REQUESTS, "getComposedResource", "map string")
def composed(request: Json, name: str) -> dict[str, Value]:
    return _map_at(request, "observed", "resources", name, "resource")


@function(REQUESTS, "getComposedConnectionDetails", "map string")
def connection_details(request: Json, name: str) -> dict[str, Value]:
    return _map_at(request, "observed", "resources", name, "connectionDetails")


@function(REQUESTS, "getExtraResources", "map string")
def extra_resources(request: Json, name: str) -> list[Value]:
    for field in ("requiredResources", "extraResources"):
        found = _found(request, field, name, "items")
        if isinstance(found, list):
            return found
    return go.NilList()


@function(REQUESTS, "getExtraResourcesFromContext", "map string")
def extra_resources_from_context(request: Json, name: str) -> list[Value]:
    found = _found(request, "context", EXTRA_RESOURCES, name, "items")
    return found if isinstance(found, list) else go.NilList()


@function(REQUESTS, "getCredentialData", "map string")
def credential_data(request: Json, name: str) -> Mapping[str, bytes]:
    found = _found(request, "credentials", name, "credentialData", "data")
    if not isinstance(found, dict):
        return go.NilBytesMap()
    return go.BytesMap({key: base64.b64decode(value) for key, value in found.items()})


@function(REQUESTS, "getResourceCondition", "string map")
def resource_condition(type_: str, resource: Json) -> Struct:
    status = _found(resource, "resource", "status")
    if not isinstance(status, dict):
        status = _found(resource, "status")
    conditions = _found(status, "conditions")
    found: dict[str, Any] = {"status": "Unknown"}
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict) and condition.get("type") == type_:
            found = condition
            break
    return Condition(
        Type=Named(type_, "v2.ConditionType"),
        Status=Named(_text(found, "status"), "v1.ConditionStatus"),
        LastTransitionTime=_time(found.get("lastTransitionTime")),
        Reason=Named(_text(found, "reason"), "v2.ConditionReason"),
        Message=_text(found, "message"),
        ObservedGeneration=generation if type(generation := found.get("observedGeneration", 0)) is int else 0,
    )


class Condition(Struct):
    """A condition, with Go's names."""

    __slots__ = ()
    go_type = "v2.Condition"


def _text(condition: Mapping[str, Json], name: str) -> str:
    value = condition.get(name)
    return value if isinstance(value, str) else ""


def _time(text: Json) -> dates.Time:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        at = None
    return dates.moment(at if at.tzinfo else at.replace(tzinfo=UTC)) if at is not None else dates.ZERO


# sprig comes last, and so replaces `slice` of the language.
FUNCTIONS: Mapping[str, Function] = {**REQUESTS, **YAML, **SPRIG}
