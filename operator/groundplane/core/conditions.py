"""Conditions: build them, merge them into a status without flapping, read them.

Source: crossplane-runtime v1.20, apis/common/v1 `ConditionedStatus.SetConditions`: a condition is replaced when
type, status, reason or message differ; then `lastTransitionTime` becomes now.  Equal ones stay untouched,
which is what keeps status writes from looping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from groundplane.core.circuit import PACE
from groundplane.core.objects import status_of
from groundplane.errors import InvalidInput, clipped, shown

LONGEST, LONGEST_REASON = 32_768, 1024  # characters of a message and a reason, as metav1.Condition has them
V1_SYSTEM_TYPES = frozenset({"Ready", "Synced", "Healthy"})  # those that no function may set, to v1.20
SYSTEM_TYPES = V1_SYSTEM_TYPES | {"UpToDate", "Responsive"}


@dataclass(frozen=True)
class Condition:
    """One condition without its time: the time is the merge's business."""

    type: str
    status: str  # "True" | "False" | "Unknown"
    reason: str
    message: str = ""


def available(cause: str = "") -> Condition:
    """In use.  With a `cause`, a later wish can't be fulfilled, and who made it must learn of it."""
    return Condition("Ready", "True", "Available", with_cause("Ready, but not up to date", cause) if cause else "")


def unavailable(message: str = "") -> Condition:
    return Condition("Ready", "False", "Unavailable", message)


def creating(message: str = "") -> Condition:
    return Condition("Ready", "False", "Creating", message)


def deleting(message: str = "") -> Condition:
    return Condition("Ready", "False", "Deleting", message)


def responsive(source: str = "") -> Condition:
    """Whether a composite follows each change; `source` is what changes so often that it does not."""
    if not source:
        return Condition("Responsive", "True", "WatchCircuitClosed")
    message = f"Too many changes of {source}: reconciled only every {PACE:.0f} seconds"
    return Condition("Responsive", "False", "WatchCircuitOpen", message)


def reconcile_success() -> Condition:
    return Condition("Synced", "True", "ReconcileSuccess")


def reconcile_error(message: str) -> Condition:
    return Condition("Synced", "False", "ReconcileError", message)


def reconcile_paused(message: str = "") -> Condition:
    return Condition("Synced", "False", "ReconcilePaused", message)


def observed_only(would: str) -> Condition:
    """An operator that only observes has left undone what it `would` do."""
    message = f"{would}. Mend: nothing, as long as --observe-only is meant; without it the operator does so."
    return Condition("Synced", "False", "ObserveOnly", message)


def last_async(operation: str = "", error: str = "") -> Condition:
    """How the last operation in the background ended; with an `error`, of which operation (Create, Update, Delete).

    This and `async_operation` are upjet's, on kinds whose calls upstream runs in the background.  Argo CD takes a False one
    for degraded, so none may stay behind.  Source: upjet, pkg/resource/conditions.go.
    """
    if not error:
        return Condition("LastAsyncOperation", "True", "Success")
    message = f"async {operation.lower()} failed: {error}"
    return Condition("LastAsyncOperation", "False", f"Async{operation}Failure", message)


def async_operation(*, ongoing: bool) -> Condition:
    """Whether an operation is running in the background."""
    return (
        Condition("AsyncOperation", "False", "Ongoing") if ongoing else Condition("AsyncOperation", "True", "Finished")
    )


EARLY = "referenced resource may not yet be ready"  # upstream's words for a reference that is only waited for
CAUSE = "; because "  # between a condition's own message and the trouble at its root


def with_cause(message: str, cause: str) -> str:
    """A message that carries its root cause, for the levels above to repeat."""
    return f"{message}{CAUSE}{cause}" if cause else message


def cause_of(obj: Mapping[str, Any]) -> str:
    """What is wrong at the root of an object that is not ready or not up to date: its own error, or the one it carries."""
    for type_ in ("Synced", "Ready"):
        message = str((find(obj, type_) or {}).get("message") or "")
        if CAUSE in message:
            return message.partition(CAUSE)[2]
    synced = find(obj, "Synced") or {}
    return str(synced.get("message") or "") if synced.get("status") == "False" else ""


def find(obj: Mapping[str, Any], type_: str) -> dict[str, Any] | None:
    """The condition of that type in an object's status, if any."""
    found = status_of(obj).get("conditions")
    for condition in found if isinstance(found, list) else ():
        if isinstance(condition, dict) and condition.get("type") == type_:
            return condition
    return None


def is_true(obj: Mapping[str, Any], type_: str) -> bool:
    condition = find(obj, type_)
    return condition is not None and condition.get("status") == "True"


def merged(
    current: Iterable[Mapping[str, Any]],
    wanted: Iterable[Condition],
    *,
    now: datetime,
    generation: int | None = None,
) -> list[dict[str, Any]]:
    """The list of conditions after `wanted` are set; equal ones keep their time and place.

    `generation` is written as observedGeneration where given; a condition that differs in nothing
    but its observedGeneration is rewritten, keeping its time.
    """
    result = [dict(condition) for condition in current]
    for condition in wanted:
        fresh: dict[str, Any] = {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason[:LONGEST_REASON],
        }
        if condition.message:
            fresh["message"] = clipped(condition.message, LONGEST)
        if generation is not None:
            fresh["observedGeneration"] = generation
        for index, old in enumerate(result):
            if old.get("type") != condition.type:
                continue
            same = all((old.get(name) or "") == (fresh.get(name) or "") for name in ("status", "reason", "message"))
            time = old.get("lastTransitionTime") if same else None
            result[index] = fresh | {"lastTransitionTime": time or timestamp(now)}
            break
        else:
            result.append(fresh | {"lastTransitionTime": timestamp(now)})
    return result


def set_on(
    obj: dict[str, Any],
    *wanted: Condition,
    now: datetime,
    generation: int | None = None,
) -> None:
    """Merge conditions into `obj["status"]["conditions"]`, in place; what is no condition there is dropped.

    Raises:
        InvalidInput: the status is no object.
    """
    target = obj.get("status")
    if target is None:
        target = obj["status"] = {}
    if not isinstance(target, dict):
        raise InvalidInput(f"status is {shown(target)}, not an object", mend="let no patch write to status as a whole")
    found = target.get("conditions")
    current = [condition for condition in found if isinstance(condition, dict)] if isinstance(found, list) else []
    target["conditions"] = merged(current, wanted, now=now, generation=generation)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as the API server writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime | None:
    """The time that an RFC 3339 text tells, in UTC if it names no zone; None if it tells none."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
