"""`Reconciling`, `Stalled` and `observedGeneration`: what makes kstatus, Argo CD and `kubectl wait` tell the truth.

Additive to upstream's conditions, so with strict upstream behaviour nobody calls this.  At most one of the two is there, and
neither once an object is settled.  `Ready` keeps its meaning, whether it may be used now; while a change is under way it also
keeps the generation that it was found for, so that who waits for it waits for the change.

Source: kstatus (fluxcd/cli-utils v1.2.1, pkg/kstatus/status), Argo CD v3.5 (resource_customizations), kubectl's `wait`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from groundplane.core import conditions
from groundplane.core.conditions import Condition
from groundplane.core.managed import is_create_unfinished
from groundplane.core.objects import Object, is_deleting, meta, status_of
from groundplane.errors import Denied, GroundplaneError, InvalidInput, NoSuchKind, NotFound, Waiting

RECONCILING, STALLED = "Reconciling", "Stalled"
TYPES = frozenset({RECONCILING, STALLED})
GENERATION = "observedGeneration"  # of a status: the newest generation that a reconcile has seen, went it well or not
UNSEEN = -1  # its default, which no object's generation is: without it an object without status counts as done
TRIES, PATIENCE = 3, 30.0  # failures in a row, and seconds, until what may pass by itself is told in Synced
FRESH = 30.0  # seconds in which a right that AWS denies may only be of a role that is new
HOPELESS = 120.0  # seconds of being denied until only a person can help


def reconciling(reason: str, message: str = "") -> Condition:
    """Not done yet.  Reasons: Creating, Updating, Deleting, Waiting (for something else), Retrying (after an error)."""
    return Condition(RECONCILING, "True", reason, message)


def stalled(reason: str, message: str) -> Condition:
    """Only a person can help.  `reason` is the class of the error, the message has the cause and the mend."""
    return Condition(STALLED, "True", reason, message)


def tell(
    obj: Object,
    *told: Condition,
    outlook: Condition | None,
    now: datetime,
    counted: bool = True,
) -> None:
    """Set conditions on an object's status, in place, with what is still to come of it.

    Synced is the first in the list: Argo CD's check of `*.crossplane.io` takes the first true Ready, Established or Offered
    for healthy, and sees no Synced=False behind it.
    `outlook` is `reconciling(…)`, `stalled(…)`, or None if the object is settled; then what is told of these types stays.  `counted`: status.observedGeneration is
    ours, not a field of the user's schema.

    Raises:
        InvalidInput: the status is no object.
    """
    generation = meta(obj).get("generation")
    before = conditions.find(obj, "Ready") or {}
    conditions.set_on(obj, *told, *([outlook] if outlook else []), now=now, generation=generation)
    status = obj["status"]
    kept = {outlook.type} if outlook else {each.type for each in told}
    left = [each for each in status["conditions"] if each["type"] not in TYPES - kept]
    status["conditions"] = sorted(left, key=lambda each: each["type"] != "Synced")
    ready = conditions.find(obj, "Ready")
    if outlook and ready and ready.get("status") == before.get("status") == "True" and GENERATION in before:
        ready[GENERATION] = before[GENERATION]
    if counted and generation is not None:
        status[GENERATION] = generation


def has_seen(obj: Object, *, counted: bool = True) -> bool:
    """Whether the newest spec of an object has been looked at, as far as that is told."""
    told: Any = status_of(obj).get(GENERATION) if counted else (conditions.find(obj, "Synced") or {}).get(GENERATION)
    return not isinstance(told, int) or told == meta(obj).get("generation")


def is_awaited(obj: Object, *, counted: bool = True) -> bool:
    """Whether somebody waits for it to be looked at: it is new, edited, being deleted, or half made."""
    is_new = conditions.find(obj, "Synced") is None
    return is_new or is_deleting(obj) or is_create_unfinished(obj) or not has_seen(obj, counted=counted)


def outlook(obj: Object) -> Condition | None:
    """What an object says is still to come of it: for whoever is made of it."""
    for type_ in (STALLED, RECONCILING):
        found = conditions.find(obj, type_) or {}
        if found.get("status") == "True":
            return Condition(type_, "True", str(found.get("reason") or ""), str(found.get("message") or ""))
    return None


@dataclass(frozen=True)
class Failures:
    """Failures of one kind in a row, of one object, the newest included."""

    times: int
    seconds: float  # since the first

    def verdict(self, error: GroundplaneError, *, internal: bool = False) -> tuple[Condition, bool]:
        """What is still to come after this failure, and whether Synced=False says so already.

        What a person must mend is told at once, what mostly passes by itself later: one look at a degraded object ends an
        Argo CD sync.
        """
        text = str(error)
        retrying = reconciling("Retrying", text)
        if internal:
            return (stalled("InternalError", text) if self.times >= TRIES else retrying), True
        if isinstance(error, InvalidInput):
            return stalled(type(error).__name__, text), True
        if isinstance(error, Denied):
            hopeless = self.seconds >= HOPELESS
            return (stalled("Denied", text) if hopeless else retrying), not error.fresh or self.seconds >= FRESH
        if isinstance(error, Waiting | NoSuchKind | NotFound):
            return reconciling("Waiting", text), True
        return retrying, self.times >= TRIES and self.seconds >= PATIENCE
