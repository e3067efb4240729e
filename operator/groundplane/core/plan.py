"""What a plan says: for each managed resource what would be done outside of the cluster, field by field; and whether a saved one still holds.

Data and decisions alone: what is looked at, `runtime/planning.py` says.  Source: author-tools specification, §4.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from groundplane.core import conditions
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import (
    PAUSED_ANNOTATION,
    Json,
    Key,
    Object,
    annotations_of,
    controller_of,
    is_deleting,
    key_of,
    machinery_of,
    meta,
    spec_of,
)
from groundplane.errors import InvalidInput, shown

FORMAT = "groundplane.io/plan/v1"
VALID = timedelta(hours=24)
LATER = "(known after apply"  # how values begin that only the making of something else tells
SENSITIVE = "(sensitive value)"  # in place of what nobody may read
IMMUTABLE = "immutable"  # why something is blocked, if there is no more to say
PAUSED = "paused"  # why a resource stays as it is: nobody looks at it
OUTSIDE = "outside"  # who set a field: nobody whose object or file is known

Action = Literal["add", "change", "blocked", "destroy", "forget", "same", "unknown"]
SIGNS: dict[Action, str] = {
    "change": "~",
    "blocked": "!",
    "add": "+",
    "destroy": "-",
    "forget": ".",
    "unknown": "?",
    "same": "=",
}
FieldKind = Literal["change", "immutable", "unknown", "sensitive", "waiting"]
Peek = Callable[[Key], Object | None]


@dataclass(frozen=True)
class Field:
    """One field that would be otherwise."""

    path: str  # "spec.forProvider.instanceClass"
    before: Json
    after: Json
    kind: FieldKind = "change"
    source: str = ""  # who sets it; OUTSIDE: it was changed there
    note: str = ""  # what is to be known about it


@dataclass(frozen=True)
class Step:
    """What would be done for one managed resource."""

    key: Key
    action: Action
    address: str  # what it is called whatever its name will be: "Database my-team/orders › instance"
    owner: Key | None = None  # the claim, or the composite that nothing else is made for
    template: str = ""
    reason: str = ""
    composite: Key | None = None  # the topmost
    composition: str = ""  # of that
    changes: tuple[Field, ...] = ()

    @property
    def is_outside(self) -> bool:
        """Whether all that would be changed was changed outside."""
        return self.action == "change" and all(each.source == OUTSIDE for each in self.changes)


@dataclass(frozen=True)
class Input:
    """A file that was read, and what was in it."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Read:
    """An object that what is planned depends on, as it was."""

    key: Key
    uid: str
    version: str  # its resourceVersion
    spec: str  # digest of what somebody asks for in it


@dataclass(frozen=True)
class Plan:
    """What would be done."""

    steps: Sequence[Step]
    accounts: Sequence[str] = ()  # numbers, of AWS
    regions: Sequence[str] = ()
    calls: int = 0
    users: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (Composition, kind) → composites that use it
    inputs: Sequence[Input] = ()
    objects: Sequence[Read] = ()
    asked: Mapping[str, Json] = field(default_factory=dict)  # with which flags it was made

    @property
    def summary(self) -> Counter[str]:
        return Counter(step.action for step in self.steps)

    @property
    def is_empty(self) -> bool:
        """Whether everything was seen, and nothing would be done."""
        return all(step.action == "same" for step in self.steps)

    def impact(self) -> list[dict[str, Json]]:
        """How many composites of each Composition would be changed, or are blocked."""
        found: list[dict[str, Json]] = []
        for (composition, kind), total in sorted(self.users.items()):
            its = [step for step in self.steps if step.composite and step.composition == composition]
            its = [step for step in its if step.composite and step.composite.kind == kind]
            changed = {step.composite for step in its if step.action in ("add", "change", "destroy", "forget")}
            blocked = {step.composite for step in its if step.action == "blocked"}
            found.append(
                {
                    "composition": composition,
                    "kind": kind,
                    "total": total,
                    "changed": len(changed),
                    "blocked": len(blocked),
                }
            )
        return found

    def record(self) -> dict[str, Json]:
        """As JSON, documented in docs/plan.md."""
        counts = self.summary
        return {
            "format": FORMAT,
            "account": ", ".join(self.accounts),
            "region": ", ".join(self.regions),
            "calls": self.calls,
            "inputs": [{"path": each.path, "sha256": each.sha256} for each in self.inputs],
            "summary": {action: counts[action] for action in SIGNS},
            "impact": self.impact(),
            "resources": [_step(step) for step in self.steps if step.action != "same"],
            "outside": [
                {"key": _key(step.key), "path": each.path, "before": each.before, "after": each.after}
                for step in self.steps
                for each in step.changes
                if each.source == OUTSIDE
            ],
        }


def _step(step: Step) -> dict[str, Json]:
    return {
        "key": _key(step.key),
        "action": step.action,
        "reason": step.reason,
        "template": step.template,
        "owner": _key(step.owner) if step.owner else None,
        "address": step.address,
        "changes": [
            {
                "path": each.path,
                "before": each.before,
                "after": each.after,
                "kind": each.kind,
                "from": each.source,
                **({"note": each.note} if each.note else {}),
            }
            for each in step.changes
        ],
    }


def _key(key: Key) -> dict[str, Json]:
    return {"apiVersion": key.api_version, "kind": key.kind, "namespace": key.namespace, "name": key.name}


# --- who a resource belongs to --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Belonging:
    """Whose a managed resource is."""

    address: str
    owner: Key | None
    template: str
    composite: Key | None
    composition: str


def belonging(managed: Object, peek: Peek) -> Belonging:
    """Whose it is, as far as that is known here: by its controllers, up to the claim."""
    templates: list[str] = []
    obj, composite = managed, None
    for _ in range(MOST_LEVELS):
        above = _controller(obj, peek)
        if above is None:
            break
        templates.insert(0, annotations_of(obj).get(TEMPLATE_ANNOTATION) or str(meta(obj)["name"]))
        obj = composite = above
    if composite is None:
        return Belonging(str(_versionless(key_of(managed))), None, "", None, "")
    claim = spec_of(composite).get("claimRef")
    owner = key_of(composite)
    if isinstance(claim, Mapping) and claim.get("name"):
        owner = Key(str(claim.get("apiVersion")), str(claim["kind"]), str(claim.get("namespace")), str(claim["name"]))
    used = machinery_of(composite).get("compositionRef")
    name = str(used.get("name") or "") if isinstance(used, Mapping) else ""
    address = " › ".join([f"{owner} ({owner.group})", *templates, managed["kind"]])
    return Belonging(address, owner, " › ".join(templates), key_of(composite), name)


MOST_LEVELS = 20  # of composites in composites


def _controller(obj: Object, peek: Peek) -> Object | None:
    above = controller_of(obj)
    if above is None:
        return None
    for namespace in dict.fromkeys((str(meta(obj).get("namespace") or ""), "")):
        found = peek(Key(above["apiVersion"], above["kind"], namespace, above["name"]))
        if found is not None and meta(found).get("uid") == above.get("uid"):
            return found
    return None


def _versionless(key: Key) -> str:
    return f"{key} ({key.group})"


# --- what was read --------------------------------------------------------------------------------------------


def read_of(obj: Object) -> Read:
    """What of an object has to stay as it is."""
    uid, version = str(meta(obj).get("uid") or ""), str(meta(obj).get("resourceVersion") or "")
    annotations = {name: annotations_of(obj).get(name) for name in (EXTERNAL_NAME, PAUSED_ANNOTATION)}
    asked = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
    if obj["kind"] == "Secret":
        asked = {}  # a digest of it would tell of what is in it
    return Read(key_of(obj), uid, version, digest([asked, annotations, is_deleting(obj)]))


def digest(value: Json) -> str:
    """SHA-256, the same for what is the same as JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


# --- saved plans ----------------------------------------------------------------------------------------------


class Stale(InvalidInput):
    """A saved plan that does not hold any more."""


def saved(plan: Plan, *, version: str, now: datetime) -> dict[str, Json]:
    """A plan to be kept, with what must not have changed when it is applied.  Nothing secret is in it."""
    found = plan.record() | {
        "engine": version,
        "made": conditions.timestamp(now),
        "expires": conditions.timestamp(now + VALID),
        "asked": dict(plan.asked),
        "objects": [
            {**_key(each.key), "uid": each.uid, "resourceVersion": each.version, "spec": each.spec}
            for each in plan.objects
        ],
        "fingerprints": {step.address: fingerprint(step) for step in plan.steps},
    }
    return found | {"digest": digest(found)}


def fingerprint(step: Step) -> dict[str, Json]:
    """What is compared of a step."""
    fields = {each.path: digest([each.before, each.after, each.kind]) for each in step.changes}
    return {"action": step.action, "fields": fields}


def check_file(found: Any, *, version: str, now: datetime) -> Mapping[str, Any]:
    """A saved plan, as it was read.

    Raises:
        InvalidInput: it is none.
        Stale: it was edited, is too old, or was made by another version.
    """
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InvalidInput("this is no saved plan", mend="make one with: groundplane plan PATH… --out FILE")
    content = {name: value for name, value in found.items() if name != "digest"}
    if found.get("digest") != digest(content):
        raise _stale("its file was edited")
    if found.get("engine") != version:
        raise _stale(f"it was made by version {found.get('engine')}, this is {version}")
    expires = conditions.moment(str(found.get("expires")))
    if expires is None or now >= expires:
        raise _stale(f"it was valid until {found.get('expires')}")
    return found


def check(before: Mapping[str, Any], now: Plan) -> None:
    """Whether a plan that is made now is the one that was saved.

    Raises:
        Stale: the first difference: inputs, the account, what would be done, objects.
    """
    given = {each["path"]: each["sha256"] for each in before["inputs"]}
    for each in now.inputs:
        if given.get(each.path) != each.sha256:
            raise _stale(f"{each.path} is not as it was")
    if missing := sorted(given.keys() - {each.path for each in now.inputs}):
        raise _stale(f"{missing[0]} is gone")
    if before["account"] != ", ".join(now.accounts):
        raise _stale(
            f"it is for account {before['account'] or 'none'}, these credentials are of {', '.join(now.accounts) or 'none'}"
        )
    for text in _otherwise(before, now):
        raise _stale(text)
    known = {Key(each["apiVersion"], each["kind"], each["namespace"], each["name"]): each for each in before["objects"]}
    for read in now.objects:
        was = known.pop(read.key, None)
        if was is None:
            raise _stale(f"{read.key} is new")
        if was["uid"] != read.uid:
            raise _stale(f"{read.key} is another one: it was deleted and made anew")
        if was["spec"] != read.spec:
            raise _stale(f"{read.key} was edited")
    for key in sorted(known):
        raise _stale(f"{key} is gone")


def _otherwise(before: Mapping[str, Any], now: Plan) -> Iterator[str]:
    fingerprints: Mapping[str, Any] = before["fingerprints"]
    known = {each["address"]: each for each in before["resources"]}
    for step in now.steps:
        was = fingerprints.get(step.address)
        if was == fingerprint(step):
            continue
        told = {each["path"]: each for each in (known.get(step.address) or {}).get("changes") or ()}
        for each in step.changes:
            old = told.get(each.path)
            if old is not None and old["before"] != each.before:
                yield _moved(step, each, old["before"])
            if old is None and each.source == OUTSIDE:
                yield _moved(step, each, each.after)
        action = was["action"] if was else "not in it"
        yield f"{step.key}: it would be {_WORDS[step.action]}, it was {_WORDS.get(action, action)}"
    for address in sorted(fingerprints.keys() - {step.address for step in now.steps}):
        yield f"{address}: it is gone"


_WORDS: dict[str, str] = {
    "add": "added",
    "change": "changed",
    "blocked": "blocked",
    "destroy": "destroyed",
    "forget": "forgotten",
    "same": "left as it is",
    "unknown": "unknown",
}


def _moved(step: Step, each: Field, was: Json) -> str:
    where = "changed outside" if each.source == OUTSIDE else "changed meanwhile"
    return f"{step.key.kind} {step.key.name} {each.path} was {shown(was)}, is {shown(each.before)} ({where})"


def _stale(what: str) -> Stale:
    return Stale(f"the plan is stale: {what}", mend="plan again")


# --- what may be done ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Allowed:
    """What a plan lets be done to one managed resource."""

    action: Action
    fields: frozenset[str]  # of an update, by their names in forProvider
    is_any: bool = False  # whatever comes of it, since nobody could tell what


def allowed(plan: Plan, *, unknown: bool = False) -> dict[str, Allowed]:
    """By address.  `unknown`: of what is unknown, everything is."""
    return {
        step.address: Allowed(
            step.action,
            frozenset(_field(each.path.removeprefix("spec.forProvider.")) for each in step.changes),
            unknown and step.action == "unknown",
        )
        for step in plan.steps
    }


def _field(path: str) -> str:
    """The field that an update is of, which has tags as one.

    >>> _field("tags[team]"), _field("privileges.createDb"), _field("manifest.data[app.conf]")
    ('tags', 'privileges.createDb', 'manifest.data[app.conf]')
    """
    return "tags" if path.startswith("tags[") else path


def permits(known: Allowed | None, action: Literal["create", "update", "delete"], fields: Iterable[str] = ()) -> bool:
    """Whether a plan has a step in it.  What a create leaves to an update is part of the create."""
    if known is None:
        return False
    if known.is_any:
        return True
    if action == "create":
        return known.action == "add"
    if action == "delete":
        return known.action == "destroy"
    return known.action == "add" or (known.action == "change" and set(map(_field, fields)) <= known.fields)
