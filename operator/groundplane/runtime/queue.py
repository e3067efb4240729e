"""A keyed work queue with client-go's rules, on asyncio.

A key never runs twice at the same time; additions while it runs coalesce into one more run; one timer serves all
delays, the earliest deadline of a key wins; failures back off per key, exponentially with jitter; what people
changed goes before start-up lists and drift polls.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from groundplane.core.objects import Key
from groundplane.runtime import metrics

FIRST_BACKOFF = 0.5  # seconds; doubled with each failure in a row
JITTER = 0.1  # of a delay, both ways
RESYNC = 10 * 3600.0  # seconds until a key that nobody asked for is looked at again

Lane = Literal["change", "idle"]


@dataclass(frozen=True)
class Done:
    """It went through; nothing to come back for."""


@dataclass(frozen=True)
class After:
    """It went through; come back in so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Retry:
    """It did not go through; come back after the backoff, or after so many seconds."""

    after: float | None = None


Outcome = Done | After | Retry
Handler = Callable[[Key], Awaitable[Outcome]]


class Queue:
    """One controller's work."""

    def __init__(
        self,
        name: str,
        handler: Handler,
        *,
        workers: int = 10,
        max_backoff: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_backoff` in seconds; `clock` is monotonic, in seconds."""
        self._name, self._handler, self._clock = name, handler, clock
        self._workers, self._max_backoff = workers, max_backoff
        self._lanes: dict[Lane, deque[Key]] = {"change": deque(), "idle": deque()}
        self._queued: dict[Key, float] = {}  # key → when it was added
        self._running: set[Key] = set()
        self._dirty: dict[Key, Lane] = {}  # added while running
        self._failures: dict[Key, int] = {}
        self._delays: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}  # key → its earliest deadline
        self._order = itertools.count()
        self._available = asyncio.Event()
        self._timer = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def add(self, key: Key, *, lane: Lane = "change", after: float | None = None) -> None:
        """Have a key handled: now, or in `after` seconds (an earlier date that is set already stays)."""
        if self._stopped:
            return
        if after is not None and after > 0:
            self._delay(key, after)
            return
        metrics.queue_adds.labels(controller=self._name).inc()
        self._due.pop(key, None)
        if key in self._running:
            if self._dirty.get(key) != "change":
                self._dirty[key] = lane
        elif key not in self._queued:
            self._push(key, lane)
        elif lane == "change" and key in self._lanes["idle"]:
            self._lanes["idle"].remove(key)
            self._lanes["change"].append(key)

    def is_idle(self) -> bool:
        """Nothing queued, nothing running.  Delayed keys do not count."""
        return not self._queued and not self._running

    def next_due(self) -> float | None:
        """Seconds until the earliest delayed key is due; None if there is none."""
        return min(self._due.values()) - self._clock() if self._due else None

    async def run(self) -> None:
        """Work until cancelled or drained."""
        async with asyncio.TaskGroup() as group:
            self._tasks = {group.create_task(self._work()) for _ in range(self._workers)}
            self._tasks.add(group.create_task(self._keep_time()))

    async def drain(self, seconds: float) -> bool:
        """Take nothing more; let what runs finish for so long, then cancel it.  True if all finished."""
        self._stopped = True
        end = self._clock() + seconds
        while self._running and self._clock() < end:
            await asyncio.sleep(0.02)
        finished = not self._running
        for task in self._tasks:
            task.cancel()
        return finished

    def _push(self, key: Key, lane: Lane) -> None:
        self._queued[key] = self._clock()
        self._lanes[lane].append(key)
        self._available.set()
        metrics.queue_depth.labels(controller=self._name).set(len(self._queued))

    def _pop(self) -> Key | None:
        for lane in self._lanes.values():
            if lane:
                key = lane.popleft()
                waited = self._clock() - self._queued.pop(key)
                metrics.queue_seconds.labels(controller=self._name).observe(waited)
                metrics.queue_depth.labels(controller=self._name).set(len(self._queued))
                return key
        return None

    async def _work(self) -> None:
        while True:
            key = None if self._stopped else self._pop()
            if key is None:
                self._available.clear()
                await self._available.wait()
                continue
            self._running.add(key)
            try:
                outcome = await self._handler(key)
            finally:
                self._running.discard(key)
                lane = self._dirty.pop(key, None)
            self._follow_up(key, outcome)
            if lane is not None and not self._stopped:
                self._push(key, lane)

    def _follow_up(self, key: Key, outcome: Outcome) -> None:
        if isinstance(outcome, Retry):
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            backoff = min(FIRST_BACKOFF * 2 ** min(failures - 1, 20), self._max_backoff)
            metrics.queue_retries.labels(controller=self._name).inc()
            self._delay(key, backoff if outcome.after is None else outcome.after)
            return
        self._failures.pop(key, None)
        if isinstance(outcome, After):
            self._delay(key, outcome.seconds)

    def _delay(self, key: Key, seconds: float) -> None:
        moment = self._clock() + seconds * random.uniform(1 - JITTER, 1 + JITTER)
        if key in self._due and self._due[key] <= moment:
            return
        self._due[key] = moment
        heapq.heappush(self._delays, (moment, next(self._order), key))
        self._timer.set()

    async def _keep_time(self) -> None:
        while True:
            now = self._clock()
            while self._delays and self._delays[0][0] <= now:
                moment, _, key = heapq.heappop(self._delays)
                if self._due.get(key) == moment:
                    self.add(key, lane="idle")
            self._timer.clear()
            try:
                async with asyncio.timeout(self._delays[0][0] - now if self._delays else None):
                    await self._timer.wait()
            except TimeoutError:
                continue
