"""`RunFunction` as upstream's services speak it: what a function is asked and answers ↔ bytes.

Source: the field numbers of Crossplane's `apiextensions.fn.proto.v1`; v1beta1 has the same, so the same bytes go to either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.conditions import Condition
from groundplane.core.objects import Json, Object
from groundplane.core.pipeline import (
    Kind,
    Request,
    Resource,
    Response,
    Result,
    Selector,
    Severity,
    State,
    Told,
    bounded_ttl,
)
from groundplane.errors import InvalidInput
from groundplane.remote import wire
from groundplane.remote.encoded import Encoded
from groundplane.remote.wire import Field, Message

METHODS = tuple(f"/apiextensions.fn.proto.{version}.FunctionRunnerService/RunFunction" for version in ("v1", "v1beta1"))
# All there are: capabilities, required resources, credentials, conditions, schemas.
CAPABILITIES = bytes((1, 2, 3, 4, 5))

# --- the messages ---------------------------------------------------------------------------------------------

RESOURCE: Message = {
    1: Field("resource", "struct"),
    2: Field("connection_details", "bytes", "map"),
    3: Field("ready", "integer"),
}
RESOURCES: Message = {1: Field("items", RESOURCE, "list")}
STATE: Message = {1: Field("composite", RESOURCE), 2: Field("resources", RESOURCE, "map")}
CREDENTIALS: Message = {1: Field("credential_data", {1: Field("data", "bytes", "map")})}
SELECTOR: Message = {
    1: Field("api_version", "text"),
    2: Field("kind", "text"),
    3: Field("match_name", "text"),
    4: Field("match_labels", {1: Field("labels", "text", "map")}),
    5: Field("namespace", "text"),
}
SCHEMA_SELECTOR: Message = {1: Field("api_version", "text"), 2: Field("kind", "text")}
SCHEMA: Message = {1: Field("openapi_v3", "struct")}
REQUIREMENTS: Message = {
    1: Field("extra_resources", SELECTOR, "map"),
    2: Field("resources", SELECTOR, "map"),
    3: Field("schemas", SCHEMA_SELECTOR, "map"),
}
REQUEST: Message = {
    1: Field("meta", {1: Field("tag", "text"), 2: Field("capabilities", "bytes")}),  # packed: one byte for each
    2: Field("observed", STATE),
    3: Field("desired", STATE),
    4: Field("input", "struct"),
    5: Field("context", "struct"),
    6: Field("extra_resources", RESOURCES, "map"),
    7: Field("credentials", CREDENTIALS, "map"),
    8: Field("required_resources", RESOURCES, "map"),
    9: Field("required_schemas", SCHEMA, "map"),
}
RESPONSE: Message = {
    1: Field(
        "meta",
        {1: Field("tag", "text"), 2: Field("ttl", {1: Field("seconds", "integer"), 2: Field("nanos", "integer")})},
    ),
    2: Field("desired", STATE),
    3: Field(
        "results",
        {
            1: Field("severity", "integer"),
            2: Field("message", "text"),
            3: Field("reason", "text"),
            4: Field("target", "integer"),
        },
        "list",
    ),
    4: Field("context", "struct"),
    5: Field("requirements", REQUIREMENTS),
    6: Field(
        "conditions",
        {
            1: Field("type", "text"),
            2: Field("status", "integer"),
            3: Field("reason", "text"),
            4: Field("message", "text"),
            5: Field("target", "integer"),
        },
        "list",
    ),
    7: Field("output", "struct"),
}

_READY = {True: 1, False: 2}
_SEVERITIES: Mapping[int, Severity] = {1: "Fatal", 2: "Warning", 3: "Normal"}
_STATUSES = {2: "True", 3: "False"}
COMPOSITE_AND_CLAIM = 2
MOST_TOLD = 1_000  # results, and conditions, of one answer
LONGEST_TOLD = 8_192  # characters of what one of them says: a status has to hold it

# --- what a function is asked -----------------------------------------------------------------------------------


def asked(request: Request, given: Mapping[str, Json] | None, encoded: Encoded) -> tuple[bytes, str]:
    """The bytes of a request, without its meta, and the tag that belongs to them; what is `encoded` already is taken from there.

    Raises:
        InvalidInput: something in it is no JSON.
    """
    values: dict[str, Any] = {
        "desired": _desired(request.desired),
        "context": dict(request.context),
        "extra_resources": _found(request.extra, encoded),
        "credentials": {name: {"credential_data": {"data": dict(data)}} for name, data in request.credentials.items()},
        "required_resources": _found(request.required, encoded),
        "required_schemas": {
            name: {} if schema is None else {"openapi_v3": schema} for name, schema in request.schemas.items()
        },
    }
    if request.observed.composite.object or request.observed.resources:  # of an operation there is nothing
        values["observed"] = _observed(request.observed, encoded)
    if given is not None:
        values["input"] = encoded.input(given)
    body = wire.encode(REQUEST, values)
    return body, hashlib.sha256(body).hexdigest()


def with_tag(body: bytes, tag: str) -> bytes:
    """A whole request: on the wire, a message is its fields one after the other."""
    return wire.encode(REQUEST, {"meta": {"tag": tag, "capabilities": CAPABILITIES}}) + body


def _state(state: State) -> dict[str, Any]:
    return {
        "composite": _resource(state.composite),
        "resources": {name: _resource(resource) for name, resource in state.resources.items()},
    }


def _observed(state: State, encoded: Encoded) -> dict[str, Any]:
    """As `_state`, of what the API server has stored: each version of it is encoded once."""
    return {
        "composite": _resource(state.composite, encoded.object(state.composite.object)),
        "resources": {
            name: _resource(resource, encoded.object(resource.object)) for name, resource in state.resources.items()
        },
    }


def _desired(state: State) -> dict[str, Any]:
    """As `_state`; a composite of which nothing is desired yet is not there."""
    values = _state(state)
    composite = state.composite
    if composite.object.keys() <= {"apiVersion", "kind"} and not composite.connection and composite.ready is None:
        del values["composite"]
    return values


def _resource(resource: Resource, data: bytes | None = None) -> dict[str, Any]:
    values: dict[str, Any] = {"resource": resource.object if data is None else data}
    if resource.connection:
        values["connection_details"] = dict(resource.connection)
    if resource.ready is not None:
        values["ready"] = _READY[resource.ready]
    return values


def _found(found: Mapping[str, Sequence[Object]], encoded: Encoded) -> dict[str, Any]:
    return {name: {"items": [{"resource": encoded.object(obj)} for obj in objects]} for name, objects in found.items()}


# --- what it answers ------------------------------------------------------------------------------------------------


def answered(data: bytes, request: Request, *, strict_upstream: bool = False) -> Response:
    """What a function answered a request.

    An answer that has nothing in it, not even the meta that every SDK sets, is taken for a mistake: upstream deletes all
    composed resources for it.

    Raises:
        InvalidInput: it can't be used.
    """
    try:
        values = wire.decode(RESPONSE, data)
    except wire.Malformed as error:
        raise InvalidInput(f"its answer is no RunFunctionResponse: {error}", mend="look at the function") from error
    is_empty = not {"meta", "desired"} & values.keys()
    if is_empty and not strict_upstream and (request.desired.resources or request.observed.resources):
        raise InvalidInput(
            "its answer is empty: everything that is composed would be deleted",
            mend="let the function answer with what is desired, if it is nothing with meta at least",
        )
    for what in ("results", "conditions"):
        if (count := len(values.get(what, ()))) > MOST_TOLD:
            raise InvalidInput(f"its answer has {count} {what}", mend=f"let it tell {MOST_TOLD} at most")
    desired = values.get("desired", {})
    composite = _answered(desired.get("composite", {}))
    observed = request.observed.composite.object
    identity: dict[str, Json] = {name: observed[name] for name in ("apiVersion", "kind") if name in observed}
    composite = Resource({**identity, **composite.object}, composite.connection, composite.ready)
    requirements = values.get("requirements", {})
    return Response(
        desired=State(composite, {name: _answered(each) for name, each in desired.get("resources", {}).items()}),
        context=values.get("context", {}),
        results=[_result(each) for each in values.get("results", ())],
        conditions=[_condition(each) for each in values.get("conditions", ())],
        requirements=_selectors(requirements.get("resources", {})),
        extra_requirements=_selectors(requirements.get("extra_resources", {})),
        schema_requirements={
            name: Kind(each.get("api_version", ""), each.get("kind", ""))
            for name, each in requirements.get("schemas", {}).items()
        },
        ttl=_seconds(values.get("meta", {}).get("ttl", {})),
        output=values.get("output"),
    )


def _answered(values: Mapping[str, Any]) -> Resource:
    ready = {1: True, 2: False}.get(values.get("ready", 0))
    return Resource(values.get("resource", {}), values.get("connection_details", {}), ready)


def _result(values: Mapping[str, Any]) -> Result:
    return Result(
        _SEVERITIES.get(values.get("severity", 0), "Unknown"),
        _text(values.get("message", "")),
        values.get("reason", ""),
        to_claim=values.get("target") == COMPOSITE_AND_CLAIM,
    )


def _condition(values: Mapping[str, Any]) -> Told:
    status = _STATUSES.get(values.get("status", 0), "Unknown")
    if not values.get("type"):
        raise InvalidInput("a condition in its answer has no type", mend="look at the function")
    condition = Condition(values["type"], status, values.get("reason", ""), _text(values.get("message", "")))
    return Told(condition, to_claim=values.get("target") == COMPOSITE_AND_CLAIM)


def _text(text: str) -> str:
    return text if len(text) <= LONGEST_TOLD else f"{text[: LONGEST_TOLD - 1]}…"


def _selectors(values: Mapping[str, Any]) -> dict[str, Selector]:
    return {name: _selector(name, each) for name, each in values.items()}


def _selector(name: str, values: Mapping[str, Any]) -> Selector:
    if values.get("match_name") == "":
        raise InvalidInput(f"its requirement {name} has an empty name", mend="look at the function")
    if not values.get("api_version") or not values.get("kind"):
        raise InvalidInput(f"its requirement {name} says no kind", mend="look at the function")
    return Selector(
        values["api_version"],
        values["kind"],
        values.get("match_name", ""),
        values.get("match_labels", {}).get("labels", {}),
        values.get("namespace", ""),
    )


def _seconds(ttl: Mapping[str, int]) -> float:
    """
    >>> [_seconds({"seconds": seconds, "nanos": 500_000_000}) for seconds in (1, 0, -1, 10**12)]
    [1.5, 1.0, 0.0, 2592000.0]
    """
    seconds = ttl.get("seconds", 0) + ttl.get("nanos", 0) / 1e9
    return bounded_ttl(seconds)


def secret_texts(request: Request) -> set[str]:
    """What must not be told of a request: the values of its connection details and credentials."""
    states = (request.observed, request.desired)
    resources = [each for state in states for each in (state.composite, *state.resources.values())]
    details = [*(each.connection for each in resources), *request.credentials.values()]
    return {fieldpath.unicode_only(value.decode("utf-8", "replace")) for each in details for value in each.values()}


def largest(request: Request, most: int = 3) -> str:
    """What takes the most bytes of a request, for people."""
    sizes = {"the composite": len(wire.struct(request.observed.composite.object))}
    for word, state in (("observed", request.observed), ("desired", request.desired)):
        for name, resource in state.resources.items():
            sizes[f"{word} {name}"] = len(wire.struct(resource.object))
    for name, objects in (*request.required.items(), *request.extra.items()):
        sizes[f"required {name}"] = sum(len(wire.struct(obj)) for obj in objects)
    first = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:most]
    return ", ".join(f"{name} ({size})" for name, size in first)
