"""How objects go from the embedded store: deletion, what protects from it, and garbage collection by owner references.

The rules are pure, and follow the garbage collector of Kubernetes 1.34 (pkg/controller/garbagecollector,
`attemptToDeleteItem` and `attemptToOrphan`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

from groundplane.cluster import apply as rules
from groundplane.cluster import kinds
from groundplane.cluster.store import Store
from groundplane.core import usages
from groundplane.core.objects import (
    Object,
    annotations_of,
    group_of,
    has_finalizer,
    is_deleting,
    key_of,
    meta,
    spec_of,
    status_of,
)
from groundplane.ports import MANAGER, Propagation

FOREGROUND = "foregroundDeletion"  # the finalizer of an owner that waits for its dependents
ORPHAN = "orphan"  # the finalizer of an owner whose dependents are to be let go
COLLECTOR = "kube-controller-manager"  # the field manager of garbage collection, as upstream's


class Owner(Enum):
    """What became of the object that an owner reference names."""

    PRESENT = auto()
    WAITING = auto()  # being deleted in the foreground: there until its dependents are gone
    GONE = auto()


@dataclass(frozen=True)
class Fate:
    """What garbage collection does with a dependent: keep it, keep fewer references, or delete it."""

    action: Literal["keep", "release", "delete"]
    propagation: Literal["Background", "Foreground", "Orphan"] | None = None  # of a deletion
    references: tuple[Mapping[str, Any], ...] = ()  # what remains after a release


_KEEP = Fate("keep")


def fate(dependent: Object, owner: Callable[[Mapping[str, Any]], Owner], *, has_dependents: bool) -> Fate:
    """Decide about an object with owner references, one of whose owners may be going or gone.

    It goes when no owner stays; in the foreground if an owner waits for it and it has dependents itself.
    While one owner stays, only the references to the others go.
    """
    references = meta(dependent).get("ownerReferences") or ()
    if not references or is_deleting(dependent):
        return _KEEP
    states = [owner(reference) for reference in references]
    if all(state is Owner.PRESENT for state in states):
        return _KEEP
    if Owner.PRESENT in states:
        staying = (ref for ref, state in zip(references, states, strict=True) if state is Owner.PRESENT)
        return Fate("release", references=tuple(staying))
    if Owner.WAITING in states and has_dependents:
        return Fate("delete", "Foreground")
    if has_finalizer(dependent, ORPHAN):
        return Fate("delete", "Orphan")
    return Fate("delete", "Foreground" if has_finalizer(dependent, FOREGROUND) else "Background")


def blocks(dependent: Object, owner_uid: str) -> bool:
    """Whether an owner that is deleted in the foreground waits for this dependent."""
    references: Iterable[Mapping[str, Any]] = meta(dependent).get("ownerReferences") or ()
    return any(ref.get("uid") == owner_uid and ref.get("blockOwnerDeletion") for ref in references)


def deletion_finalizers(finalizers: Iterable[str], propagation: str | None) -> list[str]:
    """The finalizers of an object once its deletion with this policy is asked for; None keeps them."""
    kept = list(finalizers)
    if propagation is None:
        return kept
    kept = [name for name in kept if name not in (FOREGROUND, ORPHAN)]
    if propagation == "Foreground":
        kept.append(FOREGROUND)
    elif propagation == "Orphan":
        kept.append(ORPHAN)
    return kept


class Collector:
    """Puts objects into a store and takes them out, and brings to its end what that entails for others."""

    def __init__(
        self, store: Store, openapi_of: Callable[[Object], Mapping[str, Any]], time: Callable[[], str]
    ) -> None:
        """`openapi_of` gives the schema of an object's kind; `time` the time, as Kubernetes writes it."""
        self._store = store
        self._openapi_of = openapi_of
        self._time = time
        self._due: dict[str, None] = {}  # UIDs to be looked at, in order

    def forget(self) -> None:
        """Nothing is due: the transaction in which it became so is undone."""
        self._due.clear()

    def usages_of(self, role: usages.Role, referent: usages.Referent) -> list[Object]:
        """The usages of which that is what is used (`of`), or what uses it (`by`)."""
        found = self._store.usages(role, referent.kind, referent.name)
        spoken_of = (role, referent)
        return [
            usage | {"apiVersion": api_version}
            for api_version, kind in usages.KINDS
            for usage in found
            if (group_of(usage["apiVersion"]), usage["kind"]) == (group_of(api_version), kind)
            and spoken_of in usages.spoken_of(usage)
        ]

    def denial(self, live: Object, propagation: Propagation | None) -> str:
        """Why it can't be deleted, since a usage protects it: that it was tried is noted on it; "" if it can be."""
        if not usages.is_protected(live):
            return ""
        found = self.usages_of("of", usages.referent_of(live))
        denial = usages.denial(found[0], len(found)) if found else ""
        tried = propagation or "Background"
        if denial and annotations_of(live).get(usages.ATTEMPT) != tried:
            metadata = {**meta(live), "annotations": {**annotations_of(live), usages.ATTEMPT: tried}}
            new = {**live, "metadata": metadata}
            self.put(live, rules.record_update(live, new, MANAGER, "", self._time(), self._openapi_of(live)))
        return denial

    def put(self, old: Object | None, obj: Object) -> Object:
        """Store the object, or take it out if it was only waiting to be let go."""
        if old is not None and is_deleting(obj) and not _is_held(obj):
            return self.remove(obj)
        obj = self._store.put(obj, new=old is None)
        uid = meta(obj)["uid"]
        owners, before = _owner_uids(obj), _owner_uids(old) if old is not None else []
        if owners != before:
            self._store.set_owners(uid, owners)
            self._due |= dict.fromkeys([uid, *before])
        if is_deleting(obj):
            self._due[uid] = None
        if old is not None and usages.is_protected(old) and not usages.is_protected(obj):
            self._due |= dict.fromkeys([uid, *self._store.containers_going()])  # what was to be deleted can be
        if kinds.is_definition(obj) and kinds.is_established(obj):
            self._store.serve(obj["spec"]["group"], obj["spec"]["names"]["kind"], uid)
        return obj

    def remove(self, obj: Object) -> Object:
        """Take the object out; what it owned, what waited for it and what contained it are due."""
        gone = self._store.remove(obj)
        self._due |= dict.fromkeys([meta(obj)["uid"], *_owner_uids(obj), *self._store.containers_going()])
        return gone

    def delete(self, live: Object, propagation: Propagation | None) -> None:
        """Mark the object, or take it out at once if nothing holds it."""
        first = not is_deleting(live)
        metadata = dict(meta(live))
        finalizers = deletion_finalizers(metadata.get("finalizers") or (), propagation)
        marked = {**live, "metadata": metadata}
        if kinds.is_definition(live) and first:
            finalizers += [kinds.CRD_CLEANUP] if kinds.CRD_CLEANUP not in finalizers else []
            marked = kinds.terminating(marked, self._time())
        if kinds.is_namespace(live):
            marked["status"] = {**status_of(live), "phase": "Terminating"}
        if first:
            metadata |= {"deletionTimestamp": self._time(), "deletionGracePeriodSeconds": 0}
            if "generation" in metadata:
                metadata["generation"] += 1
        metadata["finalizers"] = finalizers
        if not finalizers:
            del metadata["finalizers"]
        if not _is_held(marked):
            self.remove(live)
        elif first or finalizers != meta(live).get("finalizers"):
            self.put(live, marked)

    def settle(self) -> None:
        """Collect garbage until there is none: what Kubernetes' controllers would do in a while."""
        while self._due:
            uid = next(iter(self._due))
            del self._due[uid]
            obj = self._store.by_uid(uid)
            if obj is None:
                for dependent in self._store.dependents(uid, staying=True):
                    self._judge(dependent)
                continue
            if is_deleting(obj):
                self._advance(obj)
            else:
                self._judge(obj)

    def _judge(self, obj: Object) -> None:
        """Do to an object with owners what garbage collection wants."""
        if not meta(obj).get("ownerReferences"):
            return
        uid = meta(obj)["uid"]
        verdict = fate(obj, lambda ref: self._owner_state(obj, ref), has_dependents=self._store.has_dependents(uid))
        if verdict.action == "release":
            self._set_owners(obj, [dict(reference) for reference in verdict.references])
        elif verdict.action == "delete" and not self.denial(obj, verdict.propagation):
            self.delete(obj, verdict.propagation)

    def _advance(self, obj: Object) -> None:
        """Bring a deletion forward as far as our own finalizers go."""
        uid, finalizers = meta(obj)["uid"], meta(obj).get("finalizers") or ()
        if ORPHAN in finalizers:
            for dependent in self._store.dependents(uid):
                self._set_owners(dependent, [ref for ref in meta(dependent)["ownerReferences"] if ref["uid"] != uid])
            self._without_finalizer(obj, ORPHAN)
        elif FOREGROUND in finalizers:
            for dependent in self._store.dependents(uid, staying=True):
                self._judge(dependent)
            if not any(blocks(dependent, uid) for dependent in self._store.dependents(uid)):
                self._without_finalizer(obj, FOREGROUND)
        elif kinds.CRD_CLEANUP in finalizers and kinds.is_definition(obj):
            held = {"group": obj["spec"]["group"], "kind": obj["spec"]["names"]["kind"]}
            if not kinds.is_established(obj) or self._emptied(**held):
                self._without_finalizer(obj, kinds.CRD_CLEANUP)
        elif kinds.is_namespace(obj) and self._emptied(namespace=meta(obj)["name"]):
            done = {**obj, "spec": {}}
            if _is_held(done):
                if spec_of(obj):
                    self.put(obj, done)
            else:
                self.remove(done)

    def _emptied(self, **where: str) -> bool:
        """Delete what is there; True if nothing is left."""
        for found in self._store.staying(**where):
            current = self._store.by_uid(meta(found)["uid"])  # an earlier one may have taken it along
            if current is None or is_deleting(current):
                continue
            if "namespace" in where and self.denial(current, None):
                continue
            self.delete(current, None)
        return self._store.is_empty(**where)

    def _owner_state(self, dependent: Object, reference: Mapping[str, Any]) -> Owner:
        found = self._store.by_uid(reference["uid"])
        if found is None:
            return Owner.GONE
        key = key_of(found)
        named = (group_of(reference["apiVersion"]), reference["kind"], reference["name"])
        if named != (key.group, key.kind, key.name) or key.namespace not in ("", meta(dependent).get("namespace")):
            return Owner.GONE  # a namespaced owner counts only in its own namespace
        waits = is_deleting(found) and FOREGROUND in (meta(found).get("finalizers") or ())
        return Owner.WAITING if waits else Owner.PRESENT

    def _set_owners(self, obj: Object, references: list[Object]) -> None:
        metadata = {**meta(obj), "ownerReferences": references}
        if not references:
            del metadata["ownerReferences"]
        new = {**obj, "metadata": metadata}
        self.put(obj, rules.record_update(obj, new, COLLECTOR, "", self._time(), self._openapi_of(obj)))

    def _without_finalizer(self, obj: Object, finalizer: str) -> None:
        metadata = dict(meta(obj))
        metadata["finalizers"] = [name for name in metadata["finalizers"] if name != finalizer]
        if not metadata["finalizers"]:
            del metadata["finalizers"]
        self.put(obj, {**obj, "metadata": metadata})


def _is_held(obj: Object) -> bool:
    """Whether a deletion has to wait: for finalizers, or for what is in the namespace."""
    return bool(meta(obj).get("finalizers") or (kinds.is_namespace(obj) and spec_of(obj).get("finalizers")))


def _owner_uids(obj: Object) -> list[str]:
    return list(dict.fromkeys(reference["uid"] for reference in meta(obj).get("ownerReferences") or ()))
