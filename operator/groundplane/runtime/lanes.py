"""Which of the waiting keys is next, and who may have a worker for it.

Lanes, shares and tenants take turns (`core/turns.py`).  Retries and polls leave a quarter of the workers free, of all and of each
share's, so that what somebody changes finds one.  A share (a namespace, a ProviderConfig) may hold at most half of the workers that the
others leave: however many of its reconciles hang, a newcomer finds a worker.  Retries and polls pass at a bounded rate: ten thousand
objects that are all looked at when a process starts, or that all fail, must not fill the event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from groundplane.core.bucket import Bucket
from groundplane.core.objects import Key
from groundplane.core.turns import Lane, Place, Turns, best

RESERVED = 4  # one worker of so many is for changes only
RATE, BURST = 50.0, 50  # retries, and polls, that begin each second, and at once: 30,000 polls in ten minutes


class Turn(NamedTuple):
    """A key whose turn it is."""

    key: Key
    lane: Lane
    share: str
    tenant: str
    since: float  # waiting, in seconds of the event loop


class Lanes:
    """The keys that wait, and how many workers each share and lane holds."""

    def __init__(
        self,
        share: Callable[[Key], str] | None = None,
        tenant: Callable[[Key], str] = lambda key: "",
        *,
        poll_rate: float = RATE,
        now: float,
    ) -> None:
        """`share` tells whose a key is; where it is left out, nobody is bounded.  Within a share, each `tenant` has its turn.

        `poll_rate`: polls that begin each second.  `now`: seconds of the event loop, here and below.
        """
        self._share, self._tenant = share, tenant
        self._paces: dict[Lane, Bucket] = {"retry": Bucket(RATE, BURST, now), "poll": Bucket(poll_rate, poll_rate, now)}
        self._turns: Turns[Key, str] = Turns()
        self._since: dict[Key, float] = {}  # waiting
        self._held: Counter[str] = Counter()  # workers, by share
        self._background: Counter[str] = Counter()  # of these, those for retries and polls

    def __len__(self) -> int:
        return len(self._turns)

    def __contains__(self, key: Key) -> bool:
        return key in self._since

    def add(self, key: Key, lane: Lane, now: float) -> bool:
        """Have it wait in that lane, or stay in a better one; whether anything changed.  Its place in time it keeps."""
        if known := self._turns.place(key):
            if best(lane, known.lane) == known.lane:
                return False
            self._turns.remove(key)
        self._since.setdefault(key, now)
        self._turns.add(key, Place(lane, self._share(key) if self._share else "", self._tenant(key)))
        return True

    def clear(self) -> None:
        self._turns.clear()
        self._since.clear()

    def take(self, workers: int, now: float) -> Turn | None:
        """The next key, of so many workers' work in all; None: nobody waits who may have one."""
        taken = self._held.total()
        if taken >= workers:
            return None
        lanes: list[Lane] = ["change"]
        if self._background.total() < workers - workers // RESERVED:
            lanes += [lane for lane, pace in self._paces.items() if not pace.left(now)]

        def may(lane: Lane, share: str) -> bool:
            if self._share is None:
                return True
            most = (workers - (taken - self._held[share]) + 1) // 2
            return self._held[share] < most and (lane == "change" or self._background[share] < most - most // RESERVED)

        if (found := self._turns.take(may, lanes)) is None:
            return None
        key, (lane, share, tenant) = found
        self._held[share] += 1
        if lane != "change":
            self._paces[lane].wait(now)
            self._background[share] += 1
        return Turn(key, lane, share, tenant, self._since.pop(key))

    def pause(self, now: float) -> float | None:
        """Seconds until another of the retries or polls that wait may begin, as far as their rates go; None: rates hold up none."""
        waiting = [pace for lane, pace in self._paces.items() if self._turns.is_waiting(lane)]
        return min((left for pace in waiting if (left := pace.left(now)) > 0), default=None)

    def done(self, lane: Lane, share: str) -> None:
        """A worker is free again."""
        for counts in (self._held,) if lane == "change" else (self._held, self._background):
            counts[share] -= 1
            if not counts[share]:
                del counts[share]
