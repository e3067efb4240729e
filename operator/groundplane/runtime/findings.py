"""What a check of an installation finds, and how it is told."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from groundplane.errors import Denied, GroundplaneError

State = Literal["ok", "warning", "failed", "not allowed"]
SHOWN = 5  # names in a message; `objects` has them all


@dataclass(frozen=True)
class Finding:
    """What is so, of one check; `mend`: what to do about it."""

    id: str
    state: State
    message: str
    mend: str = ""
    objects: tuple[str, ...] = ()  # which it is about


def about(id: str, state: State, what: str, objects: Iterable[str], mend: str) -> Finding:
    """A finding about several objects."""
    names = tuple(sorted(objects))
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return Finding(id, state, f"{what}: {shown}", mend, names)


async def guarded(name: str, checking: Awaitable[list[Finding]]) -> list[Finding]:
    """What a check finds, or why it could not look."""
    try:
        return await checking
    except Denied as error:
        return [not_allowed(name, error)]
    except GroundplaneError as error:
        return [Finding(name, "failed", error.without_mend, error.mend)]


def not_allowed(name: str, error: Denied) -> Finding:
    """That a check could not look."""
    return Finding(name, "not allowed", error.without_mend, error.mend)


def has_failed(findings: Iterable[Finding]) -> bool:
    return any(finding.state in ("failed", "not allowed") for finding in findings)


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """`{"checks": [{"id", "state", "message", "mend", "objects"}]}`."""
    return {
        "checks": [
            {
                "id": each.id,
                "state": each.state,
                "message": each.message,
                "mend": each.mend,
                "objects": list(each.objects),
            }
            for each in findings
        ]
    }
