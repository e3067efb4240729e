"""Which of the waiting keys is next: three lanes with weights, and within each the tenants in turn.

When all lanes wait, changes go eight times, retries twice, polls once.  Retries and polls leave a quarter of the workers free, so
that what somebody changes finds one.  A share (a tenant: a namespace, a ProviderConfig) may hold at most half of the workers that the
others leave: however many of its reconciles hang, a newcomer finds a worker.  Retries and polls pass at a bounded rate: ten thousand
objects that are all looked at when a process starts, or that all fail, must not fill the event loop.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Literal, NamedTuple

from groundplane.core.bucket import Bucket
from groundplane.core.objects import Key

Lane = Literal["change", "retry", "poll"]  # what somebody changed; what failed; start-up and polls

WEIGHTS: dict[Lane, int] = {"change": 8, "retry": 2, "poll": 1}
RESERVED = 4  # one worker of so many is for changes only
RATE, BURST = 50.0, 50  # retries, and polls, that begin each second, and at once: 30,000 polls in ten minutes


class Turn(NamedTuple):
    """A key whose turn it is."""

    key: Key
    lane: Lane
    share: str
    since: float  # waiting, in seconds of the event loop


class Lanes:
    """The keys that wait, and how many workers each share and lane holds."""

    def __init__(self, share: Callable[[Key], str] | None = None, *, poll_rate: float = RATE, now: float) -> None:
        """`share` tells whose a key is; where it is left out, nobody is bounded.  `poll_rate`: polls that begin each second.
        `now`: seconds of the event loop, here and below.
        """
        self._share = share
        self._paces: dict[Lane, Bucket] = {"retry": Bucket(RATE, BURST, now), "poll": Bucket(poll_rate, poll_rate, now)}
        self._waiting: dict[Lane, OrderedDict[str, OrderedDict[Key, float]]] = {lane: OrderedDict() for lane in WEIGHTS}
        self._where: dict[Key, tuple[Lane, str]] = {}
        self._credit: Counter[Lane] = Counter()
        self._held: Counter[str] = Counter()  # workers, by share
        self._busy: Counter[Lane] = Counter()  # workers, by lane

    def __len__(self) -> int:
        return len(self._where)

    def add(self, key: Key, lane: Lane, now: float) -> bool:
        """Have it wait in that lane, or stay in a better one; whether anything changed.  Its place in time it keeps."""
        since = now
        if known := self._where.get(key):
            if best(lane, known[0]) == known[0]:
                return False
            since = self._remove(key)
        share = self._share(key) if self._share else ""
        self._where[key] = (lane, share)
        self._waiting[lane].setdefault(share, OrderedDict())[key] = since
        return True

    def clear(self) -> None:
        for lane in self._waiting.values():
            lane.clear()
        self._where.clear()

    def take(self, workers: int, now: float) -> Turn | None:
        """The next key, of so many workers' work in all; None: nobody waits who may have one."""
        waiting = [lane for lane in WEIGHTS if self._waiting[lane]]
        for lane in waiting:
            self._credit[lane] += WEIGHTS[lane]
        for lane in sorted(waiting, key=lambda lane: -self._credit[lane]):
            share = self._eligible(lane, workers)
            if share is not None and not (lane in self._paces and self._paces[lane].wait(now)):
                self._credit[lane] -= sum(WEIGHTS[each] for each in waiting)
                return self._turn(lane, share)
        for lane in waiting:
            self._credit[lane] -= WEIGHTS[lane]
        return None

    def pause(self, now: float) -> float | None:
        """Seconds until one of the retries or polls that wait may begin, as far as their rates go; None: none waits."""
        return min((pace.left(now) for lane, pace in self._paces.items() if self._waiting[lane]), default=None)

    def done(self, lane: Lane, share: str) -> None:
        """A worker is free again."""
        self._busy[lane] -= 1
        self._held[share] -= 1
        if not self._held[share]:
            del self._held[share]

    # --- inside ---------------------------------------------------------------------------------------------

    def _eligible(self, lane: Lane, workers: int) -> str | None:
        taken = self._busy.total()
        background = self._busy["retry"] + self._busy["poll"]
        if taken >= workers or (lane != "change" and background >= workers - workers // RESERVED):
            return None
        for share in self._waiting[lane]:
            left = workers - (taken - self._held[share])
            if self._share is None or self._held[share] < (left + 1) // 2:
                return share
        return None

    def _turn(self, lane: Lane, share: str) -> Turn:
        key, since = next(iter(self._waiting[lane][share].items()))
        self._remove(key)
        if share in self._waiting[lane]:
            self._waiting[lane].move_to_end(share)
        self._busy[lane] += 1
        self._held[share] += 1
        return Turn(key, lane, share, since)

    def _remove(self, key: Key) -> float:
        lane, share = self._where.pop(key)
        keys = self._waiting[lane][share]
        since = keys.pop(key)
        if not keys:
            del self._waiting[lane][share]
        return since


def best(*lanes: Lane) -> Lane:
    """The lane that goes first."""
    return min(lanes, key=list(WEIGHTS).index)
