"""The stand-in's Cloud Control and CloudFormation's DescribeType, of which moto has neither: a few types, kept in a dictionary.

Requests take the stand-in's `slow` seconds.  What a schema demands is enforced: required and read-only properties, what only a create
takes; what is write-only is never shown, and lost by a patch that does not name it.  A document with the property `Fail` fails late, and
with `Leaves` beside it what was begun stays.  A create tells its identifier at its end where the document says `Slow`.
"""

from __future__ import annotations

import copy
import json
import re
import uuid
from dataclasses import dataclass, field
from html import escape
from typing import Any

RESOURCE = "AWS::Stand::In"  # a type for tests, with properties of all sorts
SCHEMAS: dict[str, dict[str, Any]] = {
    "AWS::Logs::LogGroup": {
        "primaryIdentifier": ["/properties/LogGroupName"],
        "readOnlyProperties": ["/properties/Arn"],
        "createOnlyProperties": ["/properties/LogGroupName"],
    },
    "AWS::ECS::Cluster": {
        "primaryIdentifier": ["/properties/ClusterName"],
        "readOnlyProperties": ["/properties/Arn"],
        "createOnlyProperties": ["/properties/ClusterName"],
    },
    RESOURCE: {
        "primaryIdentifier": ["/properties/Id"],
        "readOnlyProperties": ["/properties/Id", "/properties/Arn"],
        "writeOnlyProperties": ["/properties/Password"],
        "createOnlyProperties": ["/properties/Zone"],
        "required": ["Size"],
        "handlers": {"create": {"permissions": ["stand:In", "stand:Describe"]}},
        "properties": {"Steps": {"type": "array", "insertionOrder": True}, "Rules": {"$ref": "#/definitions/Rules"}},
        "definitions": {"Rules": {"type": "array", "items": {"properties": {"Ways": {"insertionOrder": True}}}}},
    },
}


class Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Requests:
    """What was asked for and what there is, of all accounts and regions."""

    things: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # by type and identifier
    events: dict[str, dict[str, Any]] = field(default_factory=dict)  # by request token
    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)  # client token: what it came with, request token

    def clear(self) -> None:
        self.things.clear()
        self.events.clear()
        self.tokens.clear()


STORE = Requests()


def answer(operation: str, body: bytes, now: float, slow: float) -> tuple[int, dict[str, Any]]:
    """A call of Cloud Control: the status and the answer, or the error, as JSON."""
    given = json.loads(body or b"{}")
    calls = {
        "CreateResource": _create,
        "UpdateResource": _update,
        "DeleteResource": _delete,
        "GetResource": _get,
        "ListResources": _list,
        "GetResourceRequestStatus": _status,
    }
    for event in STORE.events.values():
        _advance(event, now)
    try:
        if operation not in calls:
            raise Refused("UnsupportedActionException", f"the stand-in has no {operation}")
        return 200, calls[operation](given, now, slow)
    except Refused as error:
        return 400, {"__type": error.code, "message": error.message}


def describe_type(name: str) -> tuple[int, str]:
    """DescribeType of CloudFormation, as XML."""
    if name not in SCHEMAS:
        text = f"<Error><Type>Sender</Type><Code>TypeNotFoundException</Code><Message>no type {escape(name)}</Message></Error>"
        return 404, f"<ErrorResponse>{text}</ErrorResponse>"
    schema = escape(json.dumps({"typeName": name, **SCHEMAS[name]}), quote=False)
    result = f"<DescribeTypeResult><TypeName>{escape(name)}</TypeName><Schema>{schema}</Schema></DescribeTypeResult>"
    return 200, f"<DescribeTypeResponse>{result}</DescribeTypeResponse>"


def _schema(name: str) -> dict[str, Any]:
    if name not in SCHEMAS:
        raise Refused("TypeNotFoundException", f"The type '{name}' cannot be found.")
    return SCHEMAS[name]


def _properties(schema: dict[str, Any], kind: str) -> set[str]:
    return {path.removeprefix("/properties/") for path in schema.get(kind, ())}


def _create(given: dict[str, Any], now: float, slow: float) -> dict[str, Any]:
    client = str(given.get("ClientToken") or uuid.uuid4())
    shown = json.dumps({name: value for name, value in given.items() if name != "ClientToken"}, sort_keys=True)
    if client in STORE.tokens:
        before, request = STORE.tokens[client]
        if before != shown:
            raise Refused("ClientTokenConflictException", "The client token was used with another request.")
        return {"ProgressEvent": _event(STORE.events[request])}
    schema, wanted = _schema(given["TypeName"]), json.loads(given["DesiredState"])
    name = _properties(schema, "primaryIdentifier").pop()
    identifier = str(wanted.get(name) or f"{name.lower()}-{uuid.uuid4().hex[:12]}")
    error = _fault(schema, wanted) or ("AlreadyExists" if (given["TypeName"], identifier) in STORE.things else "")
    made = {**wanted, name: identifier, "Arn": f"arn:aws:stand-in:::{identifier}"}
    event = _begin("CREATE", given["TypeName"], identifier, error, made, now, slow)
    STORE.tokens[client] = (shown, event["RequestToken"])
    return {"ProgressEvent": _event(event)}


def _fault(schema: dict[str, Any], wanted: dict[str, Any]) -> str:
    if wanted.get("Fail"):
        return str(wanted["Fail"])
    is_wrong = set(schema.get("required", ())) - set(wanted) or _properties(schema, "readOnlyProperties") & set(wanted)
    return "InvalidRequest" if is_wrong else ""


def _update(given: dict[str, Any], now: float, slow: float) -> dict[str, Any]:
    schema, found = _schema(given["TypeName"]), _thing(given)
    _check_alone(given)
    made = {name: value for name, value in found.items() if name not in _properties(schema, "writeOnlyProperties")}
    error = ""
    for step in json.loads(given["PatchDocument"]):
        name = re.sub("~1", "/", step["path"].lstrip("/")).replace("~0", "~")
        if name in _properties(schema, "createOnlyProperties"):
            error = "NotUpdatable"
        if step["op"] == "remove":
            made.pop(name, None)
        else:
            made[name] = step["value"]
    error = error or str(made.get("Fail") or "")
    return {"ProgressEvent": _event(_begin("UPDATE", given["TypeName"], given["Identifier"], error, made, now, slow))}


def _delete(given: dict[str, Any], now: float, slow: float) -> dict[str, Any]:
    _thing(given)
    _check_alone(given)
    return {"ProgressEvent": _event(_begin("DELETE", given["TypeName"], given["Identifier"], "", None, now, slow))}


def _get(given: dict[str, Any], now: float, slow: float) -> dict[str, Any]:
    hidden = _properties(_schema(given["TypeName"]), "writeOnlyProperties")
    shown = {name: value for name, value in _thing(given).items() if name not in hidden}
    found = {"Identifier": given["Identifier"], "Properties": json.dumps(shown)}
    return {"TypeName": given["TypeName"], "ResourceDescription": found}


def _list(given: dict[str, Any], now: float, slow: float) -> dict[str, Any]:
    _schema(given["TypeName"])
    found = [{"Identifier": name, "Properties": "{}"} for type_, name in STORE.things if type_ == given["TypeName"]]
    return {"TypeName": given["TypeName"], "ResourceDescriptions": found}


def _status(given: dict[str, Any], now: float, slow: float) -> dict[str, Any]:
    if given["RequestToken"] not in STORE.events:
        raise Refused("RequestTokenNotFoundException", "no such request")
    return {"ProgressEvent": _event(STORE.events[given["RequestToken"]])}


def _thing(given: dict[str, Any]) -> dict[str, Any]:
    _schema(given["TypeName"])
    found = STORE.things.get((given["TypeName"], given["Identifier"]))
    if found is None:
        raise Refused("ResourceNotFoundException", f"Resource of type '{given['TypeName']}' was not found.")
    return found


def _check_alone(given: dict[str, Any]) -> None:
    for event in STORE.events.values():
        if event["Identifier"] == given["Identifier"] and event["OperationStatus"] == "IN_PROGRESS":
            raise Refused("ConcurrentOperationException", "Another operation on this resource is in progress.")


def _begin(
    operation: str, type_: str, identifier: str, error: str, made: dict[str, Any] | None, now: float, slow: float
) -> dict[str, Any]:
    event: dict[str, Any] = {
        "Operation": operation,
        "OperationStatus": "IN_PROGRESS",
        "TypeName": type_,
        "Identifier": identifier,
        "RequestToken": str(uuid.uuid4()),
        "until": now + slow,
        "made": copy.deepcopy(made),
        "error": error,
    }
    STORE.events[event["RequestToken"]] = event
    _advance(event, now)
    return event


def _advance(event: dict[str, Any], now: float) -> None:
    if event["OperationStatus"] != "IN_PROGRESS" or now < event["until"]:
        return
    key = (str(event["TypeName"]), str(event["Identifier"]))
    if event["error"]:
        event |= {"OperationStatus": "FAILED", "ErrorCode": event["error"], "StatusMessage": "as the stand-in was told"}
        if event["made"] and event["made"].get("Leaves"):
            STORE.things[key] = {name: value for name, value in event["made"].items() if name != "Fail"}
        return
    event["OperationStatus"] = "SUCCESS"
    if event["made"] is None:
        STORE.things.pop(key, None)
    else:
        STORE.things[key] = event["made"]


def _event(event: dict[str, Any]) -> dict[str, Any]:
    is_secret = event["OperationStatus"] == "IN_PROGRESS" and (event["made"] or {}).get("Slow")
    hidden = ("until", "made", "error", *(["Identifier"] if is_secret else []))
    return {name: value for name, value in event.items() if name not in hidden}
