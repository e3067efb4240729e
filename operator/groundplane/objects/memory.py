"""What this process remembers of Objects, by UID: for which nothing is left to do, which it has tried to apply, how often it has updated one.

It is bounded, and lost with the process: whoever finds nothing here asks the server, or waits, once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from groundplane.errors import Waiting

REMEMBERED = 20_000  # Objects of each kind of memory
PACE = 10.0  # seconds between two updates of an object that is changed back at once
RACES = 3  # updates in a row that come at once


@dataclass
class _Known:
    wanted: int = 0  # fingerprints: of what was applied, and of what came of it
    live: int = 0
    updates: int = 0  # in a row, each soon after the one before
    updated: datetime | None = None


class Memory:
    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._tried: dict[str, None] = {}

    def settle(self, uid: str, wanted: int, live: int) -> None:
        """Nothing is left to do while these fingerprints, of what is wanted and of what is there, stay."""
        known = self._of(uid)
        known.wanted, known.live = wanted, live

    def is_settled(self, uid: str, wanted: int, live: int) -> bool:
        known = self._known.get(uid)
        return known is not None and (known.wanted, known.live) == (wanted, live)

    def pace(self, uid: str, now: datetime) -> None:
        """Two who set the same field would undo each other's work as fast as they can: from the third time on, by and by.

        Raises:
            Waiting: it has just been updated, again and again.
        """
        known = self._of(uid)
        before = known.updated
        passed = (now - before).total_seconds() if before else PACE
        left = PACE - passed if passed >= 0 else 0.0  # less: somebody has set the clock back
        known.updates = known.updates + 1 if left > 0 else 1
        if known.updates > RACES:
            raise Waiting(
                "somebody changes the object back at once, again and again",
                mend="have two Objects, or an Object and another program, set different fields",
                after=max(0.1, left),
            )
        known.updated = now

    def try_(self, uid: str) -> None:
        """Something of it is about to be applied."""
        self._tried[uid] = None
        if len(self._tried) > REMEMBERED:
            del self._tried[next(iter(self._tried))]

    def has_tried(self, uid: str) -> bool:
        """Whether this process has applied something of it, or tried to."""
        return uid in self._tried

    def forget(self, uid: str) -> None:
        self._known.pop(uid, None)
        self._tried.pop(uid, None)

    def _of(self, uid: str) -> _Known:
        known = self._known.setdefault(uid, _Known())
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return known
