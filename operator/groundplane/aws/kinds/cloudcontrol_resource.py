"""Cloud Control Resource: its requests, which take time, and what of a type's document is compared and sent.

A create is told by its token, made of the object's UID and the moment at which the attempt was begun: asked for once more it answers
with the same request.  A document is compared where the spec says anything, without what the type's schema calls read-only; what it
calls write-only is compared with the document that was applied last.  A patch names each write-only property again, since AWS hands
over what it reads and would lose them; it never removes what the spec never named.

Source: Cloud Control API 2021-09-30; CloudFormation resource provider definition schema.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from groundplane.aws import compare, faults, judging, tags
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.managed import CREATE_PENDING
from groundplane.core.objects import Json, annotations_of, is_deleting, status_of
from groundplane.errors import Denied, GroundplaneError, InvalidInput, Throttled, Unavailable, Waiting
from groundplane.ports import Difference

RUNNING = ("PENDING", "IN_PROGRESS", "CANCEL_IN_PROGRESS")
WRONG = ("InvalidRequest", "NotUpdatable", "AlreadyExists", "NotFound", "UnauthorizedTaggingOperation")
REFUSED = ("AccessDenied", "InvalidCredentials")
STATE = ("spec.forProvider.desiredState",)
OF_AWS = "AWS::"  # what the names of types begin with that nobody else may register
KEPT, DAY = 256, 86_400  # schemas that are remembered, and for how many seconds

Schema = Mapping[str, Any]


class Schemas:
    """Types' schemas, as CloudFormation has them.  Safe to use from many threads."""

    def __init__(self) -> None:
        # By account, region, type and version; AWS's own types are the same in all accounts.
        self._known: OrderedDict[tuple[str, str, str, str], tuple[float, Schema]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, resource: Resource) -> Schema:
        """The type's; empty if nobody may ask for it: then everything is compared and may be sent."""
        given = resource.secrets.get("schema") if "schemaSecretRef" in resource.spec else None
        if given:
            return _object(given, ("spec.forProvider.schemaSecretRef",))
        name = str(resource.spec.get("typeName"))
        version = str(resource.spec.get("typeVersionId") or "")
        is_shared = name.startswith(OF_AWS) and not resource.has_own_endpoint("cloudformation")
        key = ("" if is_shared else resource.account, resource.region, name, version)
        with self._lock:
            at, found = self._known.get(key, (-DAY, {}))
        if time.monotonic() - at < DAY:
            return found
        try:
            given_version = {"VersionId": version} if version else {}
            answer = resource.ask("cloudformation:describe_type", Type="RESOURCE", TypeName=name, **given_version)
            found = _object(str(answer.get("Schema") or "{}"), ("spec.forProvider.typeName",))
        except ClientError as error:
            if not faults.is_refused(error):
                raise
            return {}
        with self._lock:
            self._known[key] = (time.monotonic(), found)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found


SCHEMAS = Schemas()


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        if text := resource.spec.get("desiredState"):
            _object(str(text), STATE)

    # --- creation -----------------------------------------------------------------------------------

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        return "", {"ClientToken": _token(resource)}

    def created(self, resource: Resource, answer: Item) -> None:
        event = answer.get("ProgressEvent") or {}
        _remember(resource, event)
        if event.get("OperationStatus") in ("FAILED", "CANCEL_COMPLETE"):
            if self._is_made(resource, event):
                return
            raise _error(event, SCHEMAS.of(resource))
        if not event.get("Identifier"):
            raise Unavailable("AWS is at it, and has not told its identifier yet")

    def find(self, resource: Resource) -> str | None:
        event = self._begun(resource)
        if event.get("OperationStatus") == "FAILED":
            return str(event["Identifier"]) if self._is_made(resource, event) else ""
        if not event.get("Identifier"):
            raise Waiting("a create that was begun has not told its identifier yet")
        return str(event["Identifier"])

    def missing(self, resource: Resource) -> Item | None:
        """What is not there may be on its way, or have failed: that is told once, and then tried anew."""
        if not annotations_of(resource.managed).get(CREATE_PENDING) or is_deleting(resource.managed):
            return None
        token = _token(resource)
        if resource.memory.own.get("failed") == token or resource.memory.own.get("made") == token:
            return None
        if not status_of(resource.managed).get("atProvider", {}).get("properties"):
            event = self._request(resource) or self._begun(resource)
            if event.get("OperationStatus") in RUNNING:
                return {"state": "IN_PROGRESS", "TypeName": resource.spec.get("typeName")}
            if event.get("OperationStatus") == "FAILED":
                resource.memory.own["failed"] = token
                raise _error(event, SCHEMAS.of(resource))
        return None

    def _begun(self, resource: Resource) -> Item:
        """The request of the attempt that was begun last; if AWS never got it, it does now."""
        given = _of(resource, {}) | {"DesiredState": resource.spec.get("desiredState"), "ClientToken": _token(resource)}
        del given["Identifier"]
        event: Item = resource.write("create_resource", **given)["ProgressEvent"]
        _remember(resource, event)
        return event

    @staticmethod
    def _is_made(resource: Resource, event: Item) -> bool:
        """Whether a create that failed has left what it began, which is ours then: what AWS did not see come to rest, or has chosen a name for."""
        identifier, code = str(event.get("Identifier") or ""), event.get("ErrorCode")
        document = _read(resource.spec.get("desiredState")) or {}
        is_named = {str(value) for value in document.values()} & set(identifier.split("|"))
        if not identifier or code == "AlreadyExists" or (is_named and code != "NotStabilized"):
            return False
        try:
            resource.ask("get_resource", **_of(resource, {}) | {"Identifier": identifier})
            resource.memory.own.pop("request", None)  # how it ended is known
            return True
        except ClientError as error:
            if faults.code_of(error) not in resource.kind.observe.absent:
                raise
            return False

    @staticmethod
    def _request(resource: Resource) -> Item:
        """How the request is, that this process sent last; empty if it sent none."""
        if not (token := resource.memory.own.get("request")):
            return {}
        event: Item = resource.ask("get_resource_request_status", RequestToken=token)["ProgressEvent"]
        if event.get("OperationStatus") not in RUNNING:
            del resource.memory.own["request"]
        return event

    # --- afterwards ---------------------------------------------------------------------------------

    def resolved(self, resource: Resource) -> str:
        known = status_of(resource.managed).get("atProvider") or {}
        before = known.get("typeName") if known.get("id") == resource.external_name else None
        if before and before != resource.spec.get("typeName"):
            if not is_deleting(resource.managed):
                raise InvalidInput(
                    f"cannot be changed from {before} to {resource.spec.get('typeName')}",
                    mend="set the old value again, or delete and recreate the managed resource",
                    where=("spec.forProvider.typeName",),
                )
            resource.spec["typeName"] = before
        return resource.external_name

    def owner(self, resource: Resource, item: Item) -> Mapping[str, str]:
        """A kind of its own, whose thing this is, has tagged it."""
        given = (_read(item.get("Properties")) or {}).get("Tags")
        if isinstance(given, dict):
            given = [{"Key": name, "Value": value} for name, value in given.items()]
        pairs = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
        found = {str(each.get("Key")): str(each.get("Value")) for each in pairs}
        return found if tags.OWNER in found else {}

    def observed(self, resource: Resource, item: Item) -> Item:
        item["state"] = "SUCCESS"
        item["schema"] = {} if is_deleting(resource.managed) else SCHEMAS.of(resource)
        resource.memory.own.pop("failed", None)
        return item

    def telling(self, resource: Resource, item: Item, found: dict[str, Json]) -> None:
        """The document, without what AWS alone writes."""
        there, hidden = _read(item.get("Properties")) or {}, _names(item.get("schema") or {}, "read")
        found["desiredState"] = json.dumps({name: value for name, value in there.items() if name not in hidden})

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        wanted = _read(resource.spec.get("desiredState"))
        if item.get("state") != "SUCCESS" or is_deleting(resource.managed) or not wanted:
            return found
        known = status_of(resource.managed).get("atProvider") or {}
        before = str(known.get("desiredState") or "{}")
        schema, there = item.get("schema") or {}, _read(item.get("Properties")) or {}
        event = self._request(resource)
        if event.get("OperationStatus") == "FAILED":
            raise _error(event, schema)
        steps = patch(wanted, _read(before) or {}, there, schema)
        if event.get("OperationStatus") == "SUCCESS":  # so what is never shown is as it was sent
            before = str(resource.spec["desiredState"])
            steps = patch(wanted, wanted, there, schema)
        item["patch"], item["applied"] = steps, before
        if not steps or event.get("OperationStatus") in RUNNING:
            return found
        names = ", ".join(sorted(step["path"].lstrip("/") for step in steps))
        return [*found, Difference("desiredState", names, item.get("Properties"))]

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        if item.get("patch"):
            at_provider["desiredState"] = item["applied"]  # the document that AWS has

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        patch = json.dumps(item["patch"])
        self._sent(resource, resource.write("update_resource", PatchDocument=patch, **_of(resource, item)))

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        event = self._request(resource)
        if event.get("OperationStatus") in RUNNING:
            return
        if event.get("OperationStatus") == "FAILED" and event.get("Operation") == "DELETE":
            if event.get("ErrorCode") == "NotFound":
                return
            raise _error(event, SCHEMAS.of(resource))
        try:
            self._sent(resource, resource.write("delete_resource", **_of(resource, item)))
        except ClientError as error:
            if faults.code_of(error) != "ResourceNotFoundException":
                raise

    @staticmethod
    def _sent(resource: Resource, answer: Item) -> None:
        event = answer.get("ProgressEvent") or {}
        if event.get("OperationStatus") == "FAILED" and event.get("ErrorCode") != "NotFound":
            raise _error(event, SCHEMAS.of(resource))
        _remember(resource, event)


def patch(wanted: Schema, before: Schema, found: Schema, schema: Schema) -> list[dict[str, Any]]:
    """The steps from what is found to what is wanted; `before` is the document that was applied last.

    >>> patch({"A": 1, "Tags": [{"Key": "x"}]}, {}, {"A": 2, "B": 3, "Tags": [{"Key": "x"}]}, {})
    [{'op': 'add', 'path': '/A', 'value': 1}]

    Raises:
        InvalidInput: a property that can't be changed is other.
    """
    read, write, once = (_names(schema, f"{kind}OnlyProperties") for kind in ("read", "write", "create"))
    steps, secret = [], []
    for name, value in wanted.items():
        if name in read:
            continue
        is_written = name in write
        is_right = (
            value == before.get(name, value)
            if is_written
            else _covers(value, found.get(name), schema, f"/properties/{name}", _node(schema, schema, name))
        )
        if not is_right and name in once:
            raise InvalidInput(
                f"{name} cannot be changed: AWS would have to replace the resource",
                mend="set the old value again, or delete and recreate the managed resource",
                where=STATE,
            )
        step = {"op": "add", "path": f"/{_escaped(name)}", "value": value}
        if not is_right:
            steps.append(step)
        elif is_written and name not in once:
            secret.append(step)
    gone = (set(before) - set(wanted)) & set(found) - read - once - set(schema.get("required") or ())
    steps += [{"op": "remove", "path": f"/{_escaped(name)}"} for name in sorted(gone)]
    return [*steps, *secret] if steps else []


def _covers(wanted: Json, found: Json, schema: Schema, pointer: str, node: Schema) -> bool:
    """Whether what is found has what is wanted; what is left out is no difference, nor is the order of a list unless its `node` says that it counts."""
    hidden = (*schema.get("readOnlyProperties", ()), *schema.get("writeOnlyProperties", ()))
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(
            f"{pointer}/{name}" in hidden
            or _covers(value, found.get(name), schema, f"{pointer}/{name}", _node(schema, node, name))
            for name, value in wanted.items()
            if value is not None
        )
    if isinstance(wanted, list) and isinstance(found, list):
        left = [entry for entry in found if not _is_of_aws(entry)]
        if len(left) != len(wanted):
            return False
        of_entry, is_ordered = _node(schema, node), node.get("insertionOrder") is True
        for entry in wanted:
            among = left[:1] if is_ordered else left
            match = next((other for other in among if _covers(entry, other, schema, f"{pointer}/*", of_entry)), None)
            if match is None:
                return False
            left.remove(match)
        return True
    return bool(compare.canonical(wanted) == compare.canonical(found)) or (not wanted and not found)


def _node(schema: Schema, node: Schema, name: str = "") -> Schema:
    """What a schema says of a property of an object, or, without a name, of a list's entries; {} where it says nothing."""
    found = (node.get("properties") or {}).get(name) if name else node.get("items")
    reference = found.get("$ref") if isinstance(found, Mapping) else None
    if isinstance(reference, str):
        kind, _, own = reference.removeprefix("#/").partition("/")
        found = (schema.get(kind) or {}).get(own)
    return found if isinstance(found, Mapping) else {}


def _is_of_aws(entry: Json) -> bool:
    return isinstance(entry, Mapping) and str(entry.get("Key") or "").startswith("aws:")


def _names(schema: Schema, kind: str) -> set[str]:
    """The properties of the document itself that are of a kind, or have anything inside that is to be written again."""
    paths = [str(path).removeprefix("/properties/") for path in schema.get(kind) or ()]
    return {path.partition("/")[0] for path in paths if "/" not in path or kind == "writeOnlyProperties"}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _object(text: str, where: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except judging.NO_JSON as error:
        raise InvalidInput("is no JSON", mend="correct it", where=where) from error
    if not isinstance(found, dict):
        raise InvalidInput("is no JSON object", mend='write an object: {"Name": "orders"}', where=where)
    return found


def _read(text: Json) -> dict[str, Any] | None:
    """A document that was checked already; None if it is none."""
    try:
        found = json.loads(str(text or ""))
    except judging.NO_JSON:
        return None
    return found if isinstance(found, dict) else None


def _token(resource: Resource) -> str:
    """Of an attempt to create: `external-create-pending` says when it was begun."""
    begun = annotations_of(resource.managed).get(CREATE_PENDING) or ""
    return hashlib.sha256(f"{resource.uid}/{begun}".encode()).hexdigest()


def _of(resource: Resource, item: Item) -> dict[str, Any]:
    """What a call about the resource names; its type is the one that it was made of."""
    given = {"RoleArn": resource.spec.get("roleArn"), "TypeVersionId": resource.spec.get("typeVersionId")}
    named = {"TypeName": item.get("TypeName") or resource.spec.get("typeName"), "Identifier": resource.external_name}
    return named | {name: value for name, value in given.items() if value}


def _remember(resource: Resource, event: Item) -> None:
    if token := event.get("RequestToken"):
        resource.memory.own["request"] = str(token)


def _error(event: Item, schema: Schema) -> GroundplaneError:
    """Our error for a request that failed, in AWS's words; of rights, with those that the type's handler needs."""
    code = str(event.get("ErrorCode") or event.get("OperationStatus") or "")
    what = ": ".join(
        part for part in (str(event.get("Operation") or ""), code, str(event.get("StatusMessage") or "")) if part
    )
    what = faults.stable(what)
    if code == "Throttling":
        return Throttled(what)
    if code in REFUSED:
        handler = (schema.get("handlers") or {}).get(str(event.get("Operation") or "").lower()) or {}
        needed = ", ".join(sorted(map(str, handler.get("permissions") or ()))) or "what the type's handlers need"
        return Denied(what, mend=f"allow {needed}, or name a roleArn that may")
    if code == "ServiceLimitExceeded":
        return Waiting(what, mend="delete what is not needed, or ask AWS for a higher quota")
    return InvalidInput(what, mend="correct what AWS names", where=STATE) if code in WRONG else Waiting(what)
