"""Who may write: decisions from what the Lease's record says and from our own clock.  Pure: no I/O, no clock.

The rules are client-go's (tools/leaderelection): a follower measures since *it* saw the record change last, against the duration
that the record itself names; no `renewTime` is ever compared with a clock.  A leader counts from *before* its request was sent.
A holder that is certainly dead is waited for no longer, which client-go can't know.
So what a leader's gate lets pass within `deadline` has `duration - deadline` seconds to end before anybody else can lead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

PREFIX = "groundplane_"  # of the names of our holders; another one is a Crossplane's
LAST_WRITES = 1.0  # seconds in which what a process sent before it was killed has come to its end
JITTER = 1.2  # the longest pause between two tries, in retry periods


@dataclass(frozen=True)
class Terms:
    """Seconds: how long the record holds, how long a leader writes after its last renewal, and between two tries."""

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


class Standing(Enum):
    FOLLOWS = auto()
    LEADS = auto()
    SUSPENDED = auto()  # led, could not renew in time, and nobody else is known to lead
    LOST = auto()  # led, and another one does now


class Election:
    """One candidate's view.  `spec` is a Lease's, as it is; a moment is in seconds of a clock that never goes back."""

    def __init__(self, identity: str, terms: Terms) -> None:
        self.identity, self.terms = identity, terms
        self.valid_until = -math.inf  # we may write before this moment
        self.foreign_changes = 0  # renewals by a holder that is no Groundplane, in a row
        self._spec: Mapping[str, Any] | None = None  # as it was last, also when the Lease has gone since
        self._seen = -math.inf  # when it was seen to change
        self._died = math.inf  # when its holder was known to be dead
        self._has_led = False

    @property
    def holder(self) -> str:
        return str((self._spec or {}).get("holderIdentity") or "")

    def observe(self, spec: Mapping[str, Any] | None, now: float) -> None:
        """Take what the API server said; None: there is no Lease.  `now` is a moment after the answer came."""
        if spec is None or spec == self._spec:
            return
        known = self._spec is not None
        self._spec, self._seen, self._died = dict(spec), now, math.inf
        if self.holder != self.identity:
            self.valid_until = -math.inf
        is_foreign = bool(self.holder) and not self.holder.startswith(PREFIX)
        self.foreign_changes = self.foreign_changes + known if is_foreign else 0

    def died(self, now: float) -> None:
        """The holder's process is certainly gone: it renews no more, and what it sent last is all that it writes."""
        self._died = min(self._died, now)

    @property
    def free_from(self) -> float:
        """The moment from which our name may be written into the record: it is ours, nobody's, a dead process's, or was not renewed in time.

        Of a Lease that was deleted the last record counts: its holder may still write.
        """
        if self.holder in ("", self.identity):
            return -math.inf
        duration = float((self._spec or {}).get("leaseDurationSeconds") or self.terms.duration)
        return min(self._seen + duration, self._died + LAST_WRITES)

    def may_claim(self, now: float) -> bool:
        return now >= self.free_from

    def claim(self, wall: str) -> dict[str, Any]:
        """The record to write; `wall` is the time as Kubernetes writes it, for people to read."""
        before = self._spec or {}
        is_ours = self.holder == self.identity
        transitions = int(before.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self.terms.duration),
            "acquireTime": before.get("acquireTime") or wall if is_ours else wall,
            "renewTime": wall,
            "leaseTransitions": transitions if is_ours or self._spec is None else transitions + 1,
        }

    def granted(self, spec: Mapping[str, Any], began: float) -> None:
        """Our claim was written as `spec`; `began` is a moment before the request was sent."""
        self._spec, self._seen, self._died = dict(spec), began, math.inf
        self.valid_until = began + self.terms.deadline
        self._has_led = True
        self.foreign_changes = 0

    def release(self) -> dict[str, Any] | None:
        """Write no more from now on; the record that lets another one lead at once, None if ours does not hold."""
        self.valid_until = -math.inf
        if not self._has_led or self.holder != self.identity:
            return None
        return {**(self._spec or {}), "holderIdentity": "", "leaseDurationSeconds": 1}

    def standing(self, now: float) -> Standing:
        if now < self.valid_until:
            return Standing.LEADS
        if not self._has_led:
            return Standing.FOLLOWS
        return Standing.SUSPENDED if self.holder in ("", self.identity) else Standing.LOST
