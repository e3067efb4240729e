"""One controller's queue: which keys to reconcile, when, and never one twice at a time.

The rules are client-go's (util/workqueue): additions during a run coalesce into one more run, the earliest of
several deadlines wins, a key that fails backs off by itself and is forgiven on success.  Ours beside them: three lanes (`lanes.py`) keep
what users change, what failed and what is polled apart, and a run makes its key's pending poll or retry void, since it decides anew.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from groundplane.cluster import slots
from groundplane.core.objects import Key
from groundplane.core.turns import Lane, best
from groundplane.runtime import logs, metrics
from groundplane.runtime.lanes import RATE, Lanes, Turn

FIRST_BACKOFF = 1.0  # seconds after the first failure, doubled with each, as upstream
MAX_BACKOFF = 60.0  # seconds, as upstream
FIRST_WAKE, MAX_WAKE = 0.2, 5.0  # seconds until a key that is woken again and again is run, doubled each time
CALM = 60.0  # seconds without being woken after which the next time counts as the first
FIRST_AGAIN, MAX_AGAIN = 0.1, 5.0  # seconds until what is not at rest is looked at again, doubled each time in a row
RESTLESS = 3  # looks in a row after which it counts as a retry
RESYNC = 36_000.0  # seconds: ten hours, after which a settled object is looked at without any event
JITTER = 0.1  # of a delay, so that what began together does not stay together
FIRST_SPREAD = 0.05  # of its interval, at least: when the first poll comes after what is all looked at together
PATIENCE = 1.0  # seconds after which a run only waits for something outside, and needs no worker for that
MOMENT = 5.0  # seconds in which a run that has begun is expected to end
PARKED = 4  # times the workers: how many such runs there may be in all
STALE = 1_000  # void entries of the heap that we put up with

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class Done:
    """All is as wanted: nothing to do before the next event."""


@dataclass(frozen=True)
class After:
    """All is well; look again in so many seconds, give or take a tenth, or `exactly` then, as soon as a change would be."""

    seconds: float
    exactly: bool = False


@dataclass(frozen=True)
class Again:
    """All is well, but what was done calls for another look: soon, and less soon each time, lest it go on for ever."""


@dataclass(frozen=True)
class Retry:
    """It failed: again after the key's backoff, or after so many seconds, if that is known."""

    after: float | None = None


@dataclass(frozen=True)
class Held:
    """It was held back for the sake of others, and neither failed nor went through: in so many seconds, in the lane that it had."""

    after: float


Outcome = Done | After | Again | Retry | Held
Handler = Callable[[Key, Lane], Coroutine[Any, Any, Outcome]]


class _Job(NamedTuple):
    """A worker's work in hand."""

    task: asyncio.Task[Outcome]
    started: float
    turn: Turn
    timer: asyncio.TimerHandle
    parked: bool = False  # it holds no worker any more


class _Delay(NamedTuple):
    deadline: float
    order: int
    lane: Lane
    own: bool  # the outcome of a run asked for it, so the next run makes it void
    follows: bool = False  # something has changed, and whoever waits for what comes of it waits for this


class Queue:
    """Hands keys to `handler`.  Belongs to the event loop that it was made in."""

    def __init__(
        self,
        name: str,
        handler: Handler,
        *,
        max_backoff: float = MAX_BACKOFF,
        poll_rate: float = RATE,
        exists: Callable[[Key], bool] | None = None,
        share: Callable[[Key], str] | None = None,
        tenant: Callable[[Key], str] = lambda key: "",
        may_take: Callable[[], bool] = lambda: True,
    ) -> None:
        """`name` is the controller's, for metrics.  Keys that `exists` says are there get the ten-hourly resync.

        `share` tells whose a key is, for no one's reconciles may hold all the workers; the `tenant`s of a share take turns.  While
        `may_take` says no, keys only wait, until `resume`.
        """
        self.name = name
        self._handler = handler
        self._max_backoff = max_backoff
        self._exists = exists
        self._may_take = may_take
        self._loop = asyncio.get_running_loop()
        self._waiting = Lanes(share, tenant, poll_rate=poll_rate, now=self._loop.time())
        self._are_shared = share is not None  # where nobody has a share, nobody is kept from a worker by another
        self._running: dict[Key, _Job] = {}
        self._again: dict[Key, Lane] = {}  # running, and to be run once more
        self._later: dict[Key, _Delay] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._pace_timer: asyncio.TimerHandle | None = None
        self._unspread: set[Key] = set()  # looked at together with all the others, as when a process starts
        self._failures: dict[Key, int] = {}
        self._wakes: dict[Key, tuple[int, float]] = {}  # how often in a row what it waited for came, and when last
        self._restless: dict[Key, int] = {}  # how often in a row it called for another look
        self._parked: Counter[str] = Counter()  # runs that hold no worker any more, by share
        self._workers = 0
        self._open = True
        self._closed = asyncio.Event()
        self._adds = metrics.queue_adds.labels(name, name)
        self._retries = metrics.queue_retries.labels(name, name)
        self._waited = metrics.queue_seconds.labels(name, name)
        self._worked = metrics.work_seconds.labels(name, name)
        metrics.queue_depth.labels(name, name).set_function(lambda: len(self))
        metrics.unfinished_seconds.labels(name, name).set_function(lambda: sum(self._ages()))
        metrics.longest_seconds.labels(name, name).set_function(lambda: max(self._ages(), default=0.0))
        metrics.active_workers.labels(name).set_function(lambda: len(self._running) - self._parked.total())
        metrics.most_workers.labels(name).set_function(lambda: self._workers)

    def __len__(self) -> int:
        """How many keys wait for a worker."""
        return len(self._waiting)

    def add(self, key: Key, *, lane: Lane = "change", after: float | None = None, follows: bool = False) -> None:
        """Have the key handled: now, or in `after` seconds, unless it is due sooner already.

        What `follows` a change comes later only so that many do not come at once: until then we are not idle.
        """
        if not self._open:
            return
        self._adds.inc()
        if after is not None and after > 0:
            self._delay(key, after, lane, own=False, follows=follows)
        else:
            if lane == "poll":
                self._unspread.add(key)
            self._enqueue(key, lane)

    def wake(self, key: Key, *, lane: Lane) -> None:
        """What it waited for has come, perhaps: at once, and less soon each time it was not that."""
        now = self._loop.time()
        times, last = self._wakes.get(key, (0, now))
        times = 0 if now - last > CALM else times
        self._wakes[key] = (times + 1, now)
        if not times:
            self._failures.pop(key, None)  # the next one backs off as the first does
        self.add(key, lane=lane, after=min(MAX_WAKE, FIRST_WAKE * 2 ** min(times - 1, 20)) if times else None)

    def tries(self, key: Key) -> bool:
        """Whether its last run has failed, or one is under way."""
        return key in self._failures or key in self._running

    def retry_in(self, key: Key) -> float | None:
        """Seconds until a key that has failed is tried again, whatever happens; None if that is not so, or it is under way."""
        delay = self._later.get(key)
        if key not in self._failures or key in self._running or delay is None or not delay.own:
            return None
        return max(0.0, delay.deadline - self._loop.time())

    def is_waiting(self, key: Key) -> bool:
        """Whether it is due, and waits for a worker, or has had one for a moment."""
        job = self._running.get(key)
        return key in self._waiting or (job is not None and self._loop.time() - job.started < MOMENT)

    def resume(self) -> None:
        """Keys may be taken again."""
        self._dispatch()

    def forget(self, key: Key) -> None:
        """The object is gone: so are its failures, polls and retries.  What is queued stays, and finds nothing."""
        for memory in (self._failures, self._restless, self._wakes):
            memory.pop(key, None)
        self._unspread.discard(key)
        if (delay := self._later.get(key)) and delay.own:
            del self._later[key]

    def memory(self) -> int:
        """How many entries are kept of keys, all in all: for tests, which hold it to bounds."""
        kept = (self._waiting, self._running, self._again, self._later, self._failures, self._restless, self._wakes)
        return sum(len(each) for each in kept) + len(self._heap) + len(self._unspread)

    def told(self, most: int) -> dict[str, object]:
        """How it stands, for people; of keys, `most` at most."""
        now = self._loop.time()
        running = sorted(self._running.items(), key=lambda item: item[1].started)[:most]
        failing = heapq.nlargest(most, self._failures.items(), key=lambda item: item[1])
        return {
            "waiting": len(self),
            "delayed": len(self._later),
            "failing": len(self._failures),
            "running": [{"key": str(key), "seconds": round(now - job.started, 1)} for key, job in running],
            "failures": [{"key": str(key), "inARow": count} for key, count in failing],
        }

    async def run(self, workers: int = 10) -> None:
        """Work on so many keys at a time until `drain` has ended.  Cancelled, it cancels what runs."""
        self._workers = workers
        self._dispatch()
        try:
            await self._closed.wait()
        finally:
            await self.drain(0)

    async def drain(self, timeout: float) -> int:
        """Take nothing more, let what runs finish, and cancel after so many seconds what has not: how many."""
        self._open = False
        for waiting in (self._waiting, self._again, self._later):
            waiting.clear()
        self._heap.clear()
        for timer in (self._timer, self._pace_timer):
            if timer:
                timer.cancel()
        late: set[asyncio.Task[Outcome]] = set()
        if tasks := [job.task for job in self._running.values()]:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        self._closed.set()
        return len(late)

    def idle(self, within: float = 0.0) -> bool:
        """Whether nothing waits or runs, follows a change, or falls due within so many seconds."""
        horizon = self._loop.time() + within
        return not (
            len(self._waiting)
            or self._running
            or any(delay.follows or delay.deadline <= horizon for delay in self._later.values())
        )

    # --- now ------------------------------------------------------------------------------------------

    def _enqueue(self, key: Key, lane: Lane) -> None:
        if key in self._running:
            self._again[key] = best(lane, self._again.get(key, lane))
            return
        if self._waiting.add(key, lane, self._loop.time()):
            self._dispatch()

    def _dispatch(self) -> None:
        while self._open and self._may_take() and (turn := self._waiting.take(self._workers, self._loop.time())):
            key, now = turn.key, self._loop.time()
            self._waited.observe(now - turn.since)
            if turn.lane == "poll":
                metrics.polled(self.name, key, now - turn.since)
            # An empty context: who happened to add the key must not show in its logs.
            task = self._loop.create_task(self._work(turn), context=Context())
            self._running[key] = _Job(
                task, now, turn, self._loop.call_later(PATIENCE, self._park, key, context=Context())
            )
            task.add_done_callback(partial(self._finish, key), context=Context())
        if self._open and self._pace_timer is None and (pause := self._waiting.pause(self._loop.time())):
            self._pace_timer = self._loop.call_later(pause, self._go_on, context=Context())

    def _go_on(self) -> None:
        self._pace_timer = None
        self._dispatch()

    async def _work(self, turn: Turn) -> Outcome:
        self._again.pop(turn.key, None)  # what was added before we began is dealt with by this run
        if (delay := self._later.get(turn.key)) and delay.own:
            del self._later[turn.key]
        with slots.turn(turn.lane, turn.tenant or turn.share):
            return await self._handler(turn.key, turn.lane)

    def _park(self, key: Key) -> None:
        """It waits for something outside, by now: its worker goes on with another key, as far as its share has not too many such."""
        job = self._running[key]
        if (
            self._are_shared
            and self._parked[job.turn.share] < self._workers
            and self._parked.total() < PARKED * self._workers
        ):
            self._parked[job.turn.share] += 1
            self._running[key] = job._replace(parked=True)
            self._waiting.done(job.turn.lane, job.turn.share)
            self._dispatch()

    def _finish(self, key: Key, task: asyncio.Task[Outcome]) -> None:
        job = self._running.pop(key)
        job.timer.cancel()
        if job.parked:
            self._parked[job.turn.share] -= 1
            if not self._parked[job.turn.share]:
                del self._parked[job.turn.share]
        else:
            self._waiting.done(job.turn.lane, job.turn.share)
        self._worked.observe(self._loop.time() - job.started)
        if not self._open:
            return
        outcome: Outcome = Retry()
        if task.cancelled():
            log.warning("reconcile was cancelled", controller=self.name, key=str(key))
        elif error := task.exception():
            log.exception("reconcile broke", error=error, controller=self.name, key=str(key))
        else:
            outcome = task.result()
        self._schedule(key, outcome, job.turn.lane)
        if lane := self._again.pop(key, None):
            self._enqueue(key, lane)
        self._dispatch()

    def _schedule(self, key: Key, outcome: Outcome, lane: Lane) -> None:
        if isinstance(outcome, Held):
            self._delay(key, outcome.after * random.uniform(1, 1 + 2 * JITTER), lane, own=True)
            return
        if isinstance(outcome, Retry):
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self._retries.inc()
            if outcome.after is None:
                pause = min(self._max_backoff, FIRST_BACKOFF * 2 ** min(failures - 1, 20))
                pause *= random.uniform(1 - 2 * JITTER, 1)
            else:
                pause = outcome.after * random.uniform(1, 1 + 2 * JITTER)  # never before it was asked for
            self._delay(key, pause, "retry", own=True)
            return
        self._failures.pop(key, None)
        self._wakes.pop(key, None)
        if isinstance(outcome, Again):
            times = self._restless[key] = self._restless.get(key, 0) + 1
            pause = min(MAX_AGAIN, FIRST_AGAIN * 2 ** min(times - 1, 20))
            again: Lane = "change" if times <= RESTLESS else "retry"
            self._delay(key, pause * random.uniform(1 - JITTER, 1 + JITTER), again, own=True)
            return
        self._restless.pop(key, None)
        share = random.uniform(FIRST_SPREAD if key in self._unspread else 1 - JITTER, 1 + JITTER)
        self._unspread.discard(key)
        if isinstance(outcome, After) and outcome.exactly:
            self._delay(key, outcome.seconds, "change", own=True)
        elif isinstance(outcome, After):
            self._delay(key, outcome.seconds * share, "poll", own=True)
        elif self._exists and self._exists(key):
            self._delay(key, RESYNC * share, "poll", own=True)

    # --- later ----------------------------------------------------------------------------------------

    def _delay(self, key: Key, seconds: float, lane: Lane, *, own: bool, follows: bool = False) -> None:
        new = _Delay(self._loop.time() + seconds, next(self._order), lane, own, follows)
        if known := self._later.get(key):
            lane, own, follows = best(lane, known.lane), known.own and own, known.follows or follows
            new = new._replace(lane=lane, own=own, follows=follows)
            if known.deadline <= new.deadline:
                self._later[key] = new._replace(deadline=known.deadline, order=known.order)
                return
        self._later[key] = new
        heapq.heappush(self._heap, (new.deadline, new.order, key))
        if len(self._heap) > 2 * len(self._later) + STALE:
            self._heap = [(delay.deadline, delay.order, key) for key, delay in self._later.items()]
            heapq.heapify(self._heap)
        self._arm()

    def _arm(self) -> None:
        """One timer for all, at the first deadline.  One that rings for nothing does no harm."""
        if not self._heap or not self._open:
            return
        deadline = self._heap[0][0]
        if self._timer:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._ring, context=Context())

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            _, order, key = heapq.heappop(self._heap)
            delay = self._later.get(key)
            if delay and delay.order == order:
                del self._later[key]
                self._enqueue(key, delay.lane)
        self._arm()

    def _ages(self) -> list[float]:
        now = self._loop.time()
        return [now - job.started for job in self._running.values()]
