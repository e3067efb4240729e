"""What to do next for one managed resource: a decision from facts alone.

`reconcile/managed.py` gathers the facts, asks here, does as told, and asks again.  The order of the rules follows
crossplane-runtime v1.20, pkg/reconciler/managed/reconciler.go, `Reconcile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from groundplane.core import conditions
from groundplane.core.objects import Key, Object, annotations_of, key_of, meta, spec_of, status_of
from groundplane.errors import InvalidInput

FINALIZER = "finalizer.managedresource.crossplane.io"
EXTERNAL_NAME = "crossplane.io/external-name"
REGION = "groundplane.io/region"  # annotation: where a create was begun
CREATE_PENDING = "crossplane.io/external-create-pending"
CREATE_UID = "groundplane.io/external-create-uid"  # annotation: the UID of the object that began it; AWS's tag has it
CREATE_SUCCEEDED = "crossplane.io/external-create-succeeded"
CREATE_FAILED = "crossplane.io/external-create-failed"
CREATE_ENDS = (CREATE_SUCCEEDED, CREATE_FAILED)
GRACE = timedelta(seconds=30)  # after a create in which AWS may not show yet what it made


class External(Enum):
    UNSEEN, ABSENT, DRIFTED, CURRENT, LEAVING = auto(), auto(), auto(), auto(), auto()


class Action(Enum):
    OBSERVE, CREATE, UPDATE, DELETE, LATE_INITIALIZE, REST = auto(), auto(), auto(), auto(), auto(), auto()
    RELEASE = auto()  # drop our finalizer: nothing is left outside, or it stays on purpose
    RECOVER = auto()  # a create was begun and its outcome never saved: find out first
    WAIT = auto()  # for AWS to show what it made, to finish deleting, or for another finalizer


MAY = {
    "Observe": Action.OBSERVE,
    "Create": Action.CREATE,
    "Update": Action.UPDATE,
    "Delete": Action.DELETE,
    "LateInitialize": Action.LATE_INITIALIZE,
}
ALL = frozenset(MAY.values())

OBJECT_POLICIES = {
    "Observe": ["Observe"],
    "ObserveCreateUpdate": ["Observe", "Create", "Update"],
    "ObserveDelete": ["Observe", "Delete"],
}
"""What spec.managementPolicy of provider-kubernetes' v1alpha1 means, in managementPolicies; `Default` is all."""

_O, _C, _U, _D, _L = (MAY[name] for name in ("Observe", "Create", "Update", "Delete", "LateInitialize"))
SUPPORTED = (
    ALL,
    frozenset({_O}),
    frozenset[Action](),
    frozenset({_O, _C, _U, _D}),
    frozenset({_O, _C, _U, _L}),
    frozenset({_O, _C, _U}),
    frozenset({_O, _C, _D, _L}),
    frozenset({_O, _C, _L}),
    frozenset({_O, _C, _D}),
    frozenset({_O, _C}),
    frozenset({_O, _D}),
    frozenset({_O, _U}),
    frozenset({_O, _L}),
    frozenset({_O, _U, _L}),
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    external: External
    deleting: bool  # metadata.deletionTimestamp is set
    create_unfinished: bool  # begun, outcome never saved
    created_recently: bool  # a create went through less than GRACE ago
    other_finalizers: bool  # somebody else still needs the object
    may: frozenset[Action]  # what spec.managementPolicies and deletionPolicy allow


def next_action(facts: Facts) -> Action:
    """Choose the one next step.  Total: every combination of facts has an answer."""
    if facts.deleting and Action.DELETE not in facts.may:
        return Action.RELEASE
    if facts.create_unfinished:
        return Action.RECOVER
    if facts.external is External.UNSEEN:
        return Action.OBSERVE
    if facts.external is External.ABSENT and facts.created_recently:
        return Action.WAIT
    if facts.deleting:
        if facts.other_finalizers or facts.external is External.LEAVING:
            return Action.WAIT
        return Action.RELEASE if facts.external is External.ABSENT else Action.DELETE
    wanted = {External.ABSENT: Action.CREATE, External.DRIFTED: Action.UPDATE}.get(facts.external)
    return wanted if wanted in facts.may else Action.REST


class Verdict(Enum):
    """What to make of a create that was begun and whose outcome was never saved."""

    ADOPT, REPEAT, WAIT, REFUSE = auto(), auto(), auto(), auto()


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Such a create, just looked for."""

    found: str | None  # the external name of what it made, "" if nothing is there, None if that can't be told
    is_ours: bool  # this very process began it, and has no call under way any more
    repeatable: bool  # a second call makes no second thing
    deleting: bool  # metadata.deletionTimestamp is set
    is_over: bool  # whoever else began it has certainly ended: it is known for long enough
    is_of_predecessor: bool = False  # begun by the object that this one was restored from, whose cluster may live


def verdict(pending: Pending) -> Verdict:
    """What another process began may still be sent to the cloud: what it makes must be found, not made again or left behind."""
    if pending.found is None:
        return Verdict.REFUSE
    if pending.found:
        return Verdict.ADOPT
    if pending.is_of_predecessor:
        return Verdict.REFUSE
    may_repeat = pending.repeatable and not pending.deleting
    return Verdict.REPEAT if pending.is_ours or pending.is_over or may_repeat else Verdict.WAIT


class Creates:
    """One process's memory of creates under way: its own, since when it has seen those that it can't tell the outcome of, and what it has deleted.

    A create is known by its object, the object's UID and the time that the annotation names.
    """

    def __init__(self) -> None:
        self._ours: dict[Key, tuple[str, str]] = {}
        self._seen: dict[Key, tuple[tuple[str, str], float, datetime]] = {}
        self._leaving: dict[Key, str] = {}

    def begin(self, managed: Object) -> None:
        """This process has saved that it begins one."""
        self._ours[key_of(managed)] = create_of(managed)
        self._seen.pop(key_of(managed), None)

    def is_ours(self, managed: Object) -> bool:
        return self._ours.get(key_of(managed)) == create_of(managed)

    def waited(self, managed: Object, uptime: float, now: datetime) -> tuple[float, datetime]:
        """The seconds since it was seen first, by `uptime`, a clock that nobody sets; and when that was."""
        key, create = key_of(managed), create_of(managed)
        if key not in self._seen or self._seen[key][0] != create:
            self._seen[key] = (create, uptime, now)
        _, since, moment = self._seen[key]
        return uptime - since, moment

    def leave(self, managed: Object) -> None:
        """This process has sent a delete: what is not shown then is gone, however new it is."""
        self._leaving[key_of(managed)] = str(meta(managed).get("uid") or "")

    def is_leaving(self, managed: Object) -> bool:
        return self._leaving.get(key_of(managed)) == meta(managed).get("uid")

    def forget(self, key: Key) -> None:
        """Its outcome is saved, or its object is gone."""
        self._ours.pop(key, None)
        self._seen.pop(key, None)
        self._leaving.pop(key, None)

    def __len__(self) -> int:
        return len(self._ours) + len(self._seen) + len(self._leaving)


def create_of(managed: Object) -> tuple[str, str]:
    """What tells the latest create of an object from any other: the object's UID, and when it began."""
    return str(meta(managed).get("uid") or ""), annotations_of(managed).get(CREATE_PENDING) or ""


def begun_by(managed: Object) -> str:
    """The UID with which the latest create was begun; "" if that is another one than the object's, and nobody knows which.

    An object of another UID is one that this one was restored from: whatever is said to have begun before the object was there.
    """
    uid = str(meta(managed).get("uid") or "")
    if told := annotations_of(managed).get(CREATE_UID):
        return told
    begun, born = _moment(managed, CREATE_PENDING), conditions.moment(str(meta(managed).get("creationTimestamp") or ""))
    return "" if begun is not None and born is not None and begun + GRACE < born else uid


def is_restored(managed: Object) -> bool:
    """Whether the latest create was another object's, from which this one was restored: one that had begun before the object was there."""
    uid = str(meta(managed).get("uid") or "")
    if told := annotations_of(managed).get(CREATE_UID):
        return told != uid
    born = conditions.moment(str(meta(managed).get("creationTimestamp") or ""))
    told_of = [moment for each in (CREATE_PENDING, *CREATE_ENDS) if (moment := _moment(managed, each))]
    return bool(told_of and born and min(told_of) + GRACE < born)


def is_paused_by_policy(managed: Object) -> bool:
    """An empty list of policies pauses, as the annotation does."""
    return spec_of(managed).get("managementPolicies") == []


def allowed(managed: Object) -> frozenset[Action]:
    """What may be done to the external resource.

    An explicit `Delete` policy beats `deletionPolicy: Orphan`; `Orphan` beats `*`; without `Delete`
    nothing is deleted whatever the deletionPolicy says.

    Raises:
        InvalidInput: the set of policies is not supported.
    """
    spec = spec_of(managed)
    policies = spec.get("managementPolicies")
    names = ["*"] if policies is None else list(policies)
    if names == ["*"]:
        names = OBJECT_POLICIES.get(str(spec.get("managementPolicy")), names)
    unknown = sorted(name for name in names if name != "*" and name not in MAY)
    may = ALL if "*" in names else frozenset(MAY[name] for name in names if name in MAY)
    if unknown or may not in SUPPORTED:
        raise InvalidInput(
            f"spec.managementPolicies {sorted(names)} is not a supported combination",
            mend='use ["*"]; Observe and Create, with any of Update, Delete and LateInitialize; or Observe without Create,'
            " alone, with Delete, or with Update, LateInitialize or both",
            where=("managementPolicies",),
        )
    if names == ["*"] and spec.get("deletionPolicy") == "Orphan":
        return may - {Action.DELETE}
    return may


def is_create_unfinished(managed: Object) -> bool:
    """Whether a create was begun after the last one of known outcome (whole seconds, strictly later)."""
    pending = _moment(managed, CREATE_PENDING)
    if pending is None:
        return False
    ends = [_moment(managed, end) for end in CREATE_ENDS]
    return all(end is None or pending > end for end in ends)


def is_made(managed: Object) -> bool:
    """Whether what it stands for is known to have been made: a create says so, or what was seen of it."""
    return bool(CREATE_SUCCEEDED in annotations_of(managed) or status_of(managed).get("atProvider"))


def is_created_recently(managed: Object, now: datetime) -> bool:
    """Whether a create went through so recently that "not found" may not be true yet."""
    created = _moment(managed, CREATE_SUCCEEDED)
    return created is not None and -GRACE <= now - created < GRACE


def is_ahead(managed: Object, annotation: str, now: datetime) -> bool:
    """Whether the annotation tells a time that no clock near ours can have told yet: it says nothing of how long ago it was."""
    told = _moment(managed, annotation)
    return told is not None and told - now > GRACE


def is_begun_later(managed: Object, now: datetime) -> bool:
    """Whether a create is said to have begun after now, so that no end of now would end it."""
    begun = _moment(managed, CREATE_PENDING)
    return begun is not None and begun > now


def _moment(managed: Object, annotation: str) -> datetime | None:
    text = annotations_of(managed).get(annotation)
    return conditions.moment(text) if text else None
