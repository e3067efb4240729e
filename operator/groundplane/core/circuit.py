"""The circuit breaker of each composite: a storm of changes slows down its reconciles, and nobody else's.

A bucket of tokens per composite, taken by the changes that call for its reconcile; an empty one opens the circuit for a while.
While it is open the composite is reconciled at a slow pace: never not at all, as a dropped last change would leave it wrong.

Source: Crossplane v2, internal/circuit (its burst, rate, cooldown and conditions); the pace is ours.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Literal, NamedTuple

from groundplane.core.bucket import Bucket
from groundplane.core.objects import Key

PACE = 10.0  # seconds between two reconciles of a composite whose circuit is open
SOURCES = 16  # of the latest changes, whose most frequent one is named


class Admission(NamedTuple):
    """What becomes of a change."""

    after: float  # seconds until the reconcile that it calls for
    result: Literal["Allowed", "HalfOpenAllowed", "Dropped"]  # upstream's word; what is dropped comes with the next one
    turned: Literal["", "opened", "closed"] = ""  # what the change made of the circuit


class _Circuit:
    __slots__ = ("bucket", "changed", "next", "opened", "sources")

    def __init__(self, bucket: Bucket, now: float) -> None:
        self.bucket, self.changed = bucket, now
        self.opened: float | None = None
        self.next = 0.0  # from when on another reconcile may begin
        self.sources: deque[str] = deque(maxlen=SOURCES)


class Circuits:
    """By composite.  `now` is in seconds of a clock that nobody sets.  Keeps only those that somebody has changed of late."""

    def __init__(self, burst: float = 100.0, rate: float = 1.0, cooldown: float = 300.0) -> None:
        """`burst` tokens at once, `rate` more per second; an open circuit closes after `cooldown` seconds."""
        self._burst, self._rate, self._cooldown = burst, rate, cooldown
        self._circuits: OrderedDict[Key, _Circuit] = OrderedDict()  # the longest unchanged first

    def __len__(self) -> int:
        return len(self._circuits)

    def admit(self, key: Key, source: str, cost: float, now: float) -> Admission:
        """A change of `source` ("Bucket/logs (team-a)") calls for a reconcile of `key`."""
        self._drop_calm(now)
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = _Circuit(self._full(now), now)
        self._circuits.move_to_end(key)
        circuit.changed = now
        circuit.sources.append(source)
        turned: Literal["", "closed"] = ""
        if circuit.opened is not None and now >= circuit.opened + self._cooldown:
            circuit.opened, circuit.bucket, turned = None, self._full(now), "closed"
        if circuit.opened is None:
            if circuit.bucket.take(now, cost):
                return Admission(0.0, "Allowed", turned)
            circuit.opened, circuit.next = now, now + PACE
            return Admission(0.0, "HalfOpenAllowed", "opened")
        if now >= circuit.next:
            circuit.next = now + PACE
            return Admission(0.0, "HalfOpenAllowed")
        return Admission(circuit.next - now, "Dropped")

    def told(self, key: Key, now: float) -> tuple[str, float]:
        """What changes most while the circuit is open, and for how many seconds it still is; ("", 0) if it is closed."""
        circuit = self._circuits.get(key)
        if circuit is None or circuit.opened is None or now >= circuit.opened + self._cooldown:
            return "", 0.0
        [(source, _)] = Counter(circuit.sources).most_common(1)
        return source, circuit.opened + self._cooldown - now

    def forget(self, key: Key) -> None:
        self._circuits.pop(key, None)

    def _full(self, now: float) -> Bucket:
        return Bucket(self._rate, self._burst, now)

    def _drop_calm(self, now: float) -> None:
        """Forget, from the longest unchanged on, those that are closed and full again: as if they had never been."""
        calm = now - self._cooldown - self._burst / self._rate
        while self._circuits and (oldest := next(iter(self._circuits.items())))[1].changed <= calm:
            del self._circuits[oldest[0]]
