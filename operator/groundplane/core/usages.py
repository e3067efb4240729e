"""Usages: what keeps which object from being deleted.  The three kinds read into one model, and what is told of them.

Source: Crossplane v1.20, internal/controller/apiextensions/usage and internal/webhook/usage; v2, internal/controller/protection/usage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from groundplane.core import goformat
from groundplane.core.naming import COMPOSITE_LABEL
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    controller_of,
    group_of,
    is_deleting,
    key_of,
    labels_of,
    meta,
    spec_of,
)
from groundplane.errors import InvalidInput

LEGACY, PROTECTION = "apiextensions.crossplane.io", "protection.crossplane.io"
LEGACY_VERSION, PROTECTION_VERSION = f"{LEGACY}/v1beta1", f"{PROTECTION}/v1beta1"
KINDS = ((PROTECTION_VERSION, "Usage"), (PROTECTION_VERSION, "ClusterUsage"), (LEGACY_VERSION, "Usage"))
"""At the versions at which they are followed; in the order in which they are named to people."""

FINALIZER = "usage.apiextensions.crossplane.io"
DETAILS = "crossplane.io/usage-details"  # annotation of a usage: a sentence for people
PROTECTED = "groundplane.io/protected"  # annotation of a usage: what it labels, so that an edit leaves no label behind
IN_USE = "crossplane.io/in-use"  # label of what is protected, "true"
ATTEMPT = (
    "usage.crossplane.io/deletion-attempt-with-policy"  # annotation of what is protected: how it was to be deleted
)
POLICIES = ("Background", "Foreground", "Orphan")
DENIED = "This resource is in-use"  # how each refusal begins
WHERE = f"usages.{PROTECTION},clusterusages.{PROTECTION},usages.{LEGACY}"  # for kubectl get
MEND = "delete the usage first, or what uses it"

Role = Literal["of", "by"]
_KINDS = frozenset((group_of(api_version), kind) for api_version, kind in KINDS)
_MEND = "name apiVersion and kind, and either resourceRef.name or resourceSelector"


class Referent(NamedTuple):
    """What a usage speaks of.  The version is left out on purpose: an object has many, and is the same in all."""

    group: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Party:
    """One side of a usage: what is used, or what uses it."""

    api_version: str
    kind: str
    namespace: str  # where to look if the kind has namespaces; "" for usages that have none
    name: str  # "": the selector is still to be resolved
    selector: Mapping[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        """What the selector wants."""
        return {name: value for name, value in _part(self.selector, "matchLabels").items() if isinstance(value, str)}

    @property
    def same_controller(self) -> bool:
        """Whether the selector wants what has the same controller as the usage."""
        return self.selector.get("matchControllerRef") is True

    @property
    def referent(self) -> Referent:
        return Referent(group_of(self.api_version), self.kind, self.namespace, self.name)

    @property
    def record(self) -> str:
        """The party for the annotation `PROTECTED`."""
        told = {"apiVersion": self.api_version, "kind": self.kind, "namespace": self.namespace, "name": self.name}
        return json.dumps({name: value for name, value in told.items() if value})

    def key(self, *, namespaced: bool) -> Key:
        """`namespaced`: whether its kind is."""
        return Key(self.api_version, self.kind, self.namespace if namespaced else "", self.name)


@dataclass(frozen=True)
class Usage:
    """A usage of any of the three kinds."""

    key: Key
    of: Party
    by: Party | None
    reason: str | None
    replays: bool

    def party(self, role: Role) -> Party | None:
        return self.of if role == "of" else self.by

    @property
    def details(self) -> str:
        """The sentence for the annotation, as upstream has it."""
        if self.reason is not None:
            return self.reason
        if self.by is None:
            return "undefined"
        told = f"{self.by.kind}/{self.by.name} uses {self.of.kind}/{self.of.name}"
        return f"{told} in namespace {self.of.namespace}" if self.is_across else told

    @property
    def is_across(self) -> bool:
        """Whether it protects what is in another namespace than its own."""
        return self.of.namespace != self.key.namespace


def is_usage(key: Key) -> bool:
    return (key.group, key.kind) in _KINDS


def read(obj: Object) -> Usage:
    """A usage, whichever of its selectors are resolved.

    Raises:
        InvalidInput: it says too little, or claims what is not its own.
    """
    spec, key = spec_of(obj), key_of(obj)
    if not spec.get("by") and spec.get("reason") is None:
        raise InvalidInput("neither spec.by nor spec.reason is set", mend="say what uses it, or why it must stay")
    used, reason = _party(spec, "of", key.namespace), _text(spec, "reason") if "reason" in spec else None
    using = _party(spec, "by", key.namespace) if spec.get("by") else None
    if used.namespace != key.namespace and using is None:
        raise InvalidInput(
            f'spec.of is in namespace "{used.namespace}", and nothing in this one uses it',
            mend="say in spec.by what uses it, or put the usage into that namespace",
        )
    if used.referent == referent_of(obj):
        raise InvalidInput(
            "spec.of is the usage itself, which could never be deleted", mend="name what is to be protected"
        )
    return Usage(key, used, using, reason, spec.get("replayDeletion") is True)


def _party(spec: Mapping[str, Any], role: Role, namespace: str) -> Party:
    said = spec.get(role)
    if not isinstance(said, dict):
        raise InvalidInput(f"spec.{role} is not set", mend=_MEND)
    api_version, kind = _text(said, "apiVersion"), _text(said, "kind")
    reference, selector = _part(said, "resourceRef"), _part(said, "resourceSelector")
    name = _text(reference, "name")
    if not api_version or not kind:
        raise InvalidInput(f"spec.{role} names no {'kind' if api_version else 'apiVersion'}", mend=_MEND)
    if not name and "resourceSelector" not in said:
        raise InvalidInput(f"spec.{role} has neither a resourceRef with a name nor a resourceSelector", mend=_MEND)
    # only the used object may be elsewhere, and only that of a usage that is in a namespace itself
    elsewhere = _text(reference if name else selector, "namespace") if role == "of" else ""
    return Party(api_version, kind, (elsewhere or namespace) if namespace else "", name, selector)


def left_behind(obj: Object) -> Party | None:
    """What a usage has labelled before its `spec.of` was edited; None if it has not been.

    Who may write the usage may write the annotation, too: nothing that others protect loses its label by it.
    """
    try:
        told = json.loads(annotations_of(obj).get(PROTECTED) or "null")
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    api_version, kind, namespace, name = (_text(told, each) for each in ("apiVersion", "kind", "namespace", "name"))
    if not (api_version and kind and name) or bool(namespace) != bool(key_of(obj).namespace):
        return None
    party = Party(api_version, kind, namespace, name, {})
    try:
        return None if read(obj).of.referent == party.referent else party
    except InvalidInput:
        return party


def _part(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name)
    return found if isinstance(found, dict) else {}


def _text(said: Mapping[str, Any], name: str) -> str:
    found = said.get(name)
    return found if isinstance(found, str) else ""


def spoken_of(obj: Object) -> Iterator[tuple[Role, Referent]]:
    """What a usage speaks of, for an index; nothing if the object is no usage, or one that counts for nothing.

    One that is being deleted is of nothing any more, unless it waits for what uses the object: the label is about to go.
    """
    if (group_of(obj.get("apiVersion") or ""), obj.get("kind") or "") not in _KINDS:
        return
    try:
        usage = read(obj)
    except InvalidInput:
        return
    if usage.of.name and (not is_deleting(obj) or outlasts_its_end(obj)):
        yield "of", usage.of.referent
    if usage.by and usage.by.name:
        yield "by", usage.by.referent
        if usage.by.namespace:  # of a kind without namespaces, perhaps
            yield "by", usage.by.referent._replace(namespace="")


def referent_of(obj: Object) -> Referent:
    key = key_of(obj)
    return Referent(key.group, key.kind, key.namespace, key.name)


def is_of(usage: Object, used: Referent) -> bool:
    """Whether it keeps that object from being deleted."""
    return ("of", used) in spoken_of(usage)


def is_protected(obj: Object) -> bool:
    return labels_of(obj).get(IN_USE) == "true"


def outlasts_its_end(usage: Object) -> bool:
    """Whether a usage that is being deleted stays until what uses the object is gone: one that a composite composes, if it says who."""
    return bool(is_deleting(usage) and COMPOSITE_LABEL in labels_of(usage) and spec_of(usage).get("by"))


def selected(party: Party, usage: Object, candidates: Sequence[Object]) -> Object | None:
    """The first of those with the labels that the selector means."""
    controller = (controller_of(usage) or {}).get("uid")
    for candidate in candidates:
        if not party.same_controller or (controller and (controller_of(candidate) or {}).get("uid") == controller):
            return candidate
    return None


def nothing_selected(party: Party) -> str:
    labels = " ".join(f"{_quoted(name)}:{_quoted(value)}" for name, value in sorted(party.labels.items()))
    more = " and with same controller reference" if party.same_controller else ""
    return f'no "{party.kind}" found matching labels: map[{labels}]{more}'


def owners(usage: Object, using: Object) -> list[dict[str, Any]] | None:
    """The usage's owners, with what uses the object among them, so that it goes with that; None if they are so already."""
    key, uid = key_of(using), meta(using)["uid"]
    found = meta(usage).get("ownerReferences") or []
    if any(owner.get("uid") == uid for owner in found):
        return None
    of_old = [
        owner for owner in found if not _names(owner, key) or owner.get("controller")
    ]  # one of that name that is gone
    return [*of_old, {"apiVersion": key.api_version, "kind": key.kind, "name": key.name, "uid": uid}]


def is_owned_by_user(found: Object, usage: Usage) -> bool:
    """Whether an object of the name that uses the other one is an owner of the usage, there or gone."""
    using = usage.by.key(namespaced=False) if usage.by else None
    owners = meta(found).get("ownerReferences") or []
    return using is not None and any(_names(owner, using) and not owner.get("controller") for owner in owners)


def _names(owner: Mapping[str, Any], key: Key) -> bool:
    return (group_of(owner.get("apiVersion") or ""), owner.get("kind"), owner.get("name")) == (
        key.group,
        key.kind,
        key.name,
    )


def with_owners_of(live: Object, desired: Object) -> Object:
    """A composed usage as it is wanted, which keeps the owners that it has: a merge patch would take the one off that uses the object."""
    wanted = meta(desired).get("ownerReferences") or []
    uids = {owner.get("uid") for owner in wanted}
    kept = [owner for owner in meta(live).get("ownerReferences") or [] if owner.get("uid") not in uids]
    return {**desired, "metadata": {**meta(desired), "ownerReferences": [*wanted, *kept]}}


def policy_tried(used: Object) -> str:
    """With which policy somebody tried to delete it; "" if nobody did."""
    tried = annotations_of(used).get(ATTEMPT, "")
    return tried if tried in POLICIES else ""


def denial(first: Object, count: int, *, strict_upstream: bool = False) -> str:
    """Why what `count` usages protect can't be deleted, the first of which is named.

    Upstream's words: those of v2, which tell the kind of usage; of v1.20 with strict upstream behaviour.
    """
    usage, key = read(first), key_of(first)
    name = _quoted(key.name) + (f" (in namespace {_quoted(key.namespace)})" if key.namespace else "")
    if strict_upstream:
        told = f"{DENIED} by {count} Usage(s), including the {key.kind} {name}"
    else:
        told = f"{DENIED} by {count} usage(s), including the *v1beta1.{key.kind} {name}"
    if usage.by is not None:
        return f"{told} by resource {usage.by.kind}/{usage.by.name}."
    return f"{told} with reason: {_quoted(usage.reason)}." if usage.reason else f"{told}."


def _quoted(value: str) -> str:
    return goformat.sprintf("%q", value)
