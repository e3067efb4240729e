"""Whose turn it is to call a function: so that one that is slow or dead holds up nobody but its own composites.

A reconcile that would have to wait long is held back instead (`Busy`): it needs no worker until its turn is likely to have come.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from groundplane.errors import Busy, GroundplaneError, Unavailable

SLICE = 0.005  # seconds of work between two looks at what else there is to do
SHARE = 0.75  # of the calls at once, at most, for one tenant
PATIENCE = 0.25  # seconds that a call is likely to wait before it is held back instead
LONGEST_WAIT = 1.0  # seconds that it really waits
SHORTEST_HOLD, LONGEST_HOLD = 1.0, 30.0  # seconds
WEIGHT = 0.2  # of the latest call in the average
WAITING = 16  # calls of one function that wait at most
IN_ROW = 5  # failures until calls are no longer tried
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds until one is tried again


class Failed(Exception):
    """A call that gave no answer: the error to tell, and whether the connection is why."""

    def __init__(self, error: GroundplaneError, code: str, *, is_of_connection: bool) -> None:
        super().__init__(code)
        self.error, self.code, self.is_of_connection = error, code, is_of_connection


class Slices:
    """Turns of the event loop: what is done in one go is at most a slice, and one piece of work, so that nothing else is late.

    Whoever comes when a slice is used up waits in order, each for the next turn of the loop.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._spent = 0.0  # seconds, in this turn of the loop

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Work without an await."""
        async with self._lock:
            if self._spent >= SLICE:
                await asyncio.sleep(0)
            if not self._spent:
                asyncio.get_running_loop().call_soon(self._renew)
            begun = time.perf_counter()
            try:
                yield
            finally:
                self._spent += time.perf_counter() - begun

    def _renew(self) -> None:
        self._spent = 0.0


class Turns:
    """Of one function: at most `limit` calls at once, the rest in order."""

    def __init__(self, limit: int, now: Callable[[], float], *, held: str, line: str) -> None:
        """`held` and `line` say what a call that is held back waits for, for the log and for people."""
        self._limit, self._now = limit, now
        self._held, self._line = held, line
        self._running: Counter[str] = Counter()  # by tenant
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._average = 0.0  # seconds of a call that has ended
        self._began = 0.0  # the sum of the moments when those that run began
        self._promised = 0.0  # until when turns are given away to those that were held back

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """One call of a tenant's.  Raises Busy."""
        await self._take(tenant)
        began = self._now()
        self._began += began
        try:
            yield
        finally:
            self._began -= began
            self._average += WEIGHT * (self._now() - began - self._average)
            self._give(tenant)

    @property
    def running(self) -> int:
        """How many calls there are now."""
        return self._running.total()

    def _is_free(self, tenant: str) -> bool:
        return self.running < self._limit and self._running[tenant] < max(1, int(SHARE * self._limit))

    def _seconds(self) -> float:
        """What a call takes: as those that have ended, or longer, if those that run already have."""
        running = self.running
        return max(self._average, self._now() - self._began / running if running else 0.0)

    async def _take(self, tenant: str) -> None:
        if self._is_free(tenant):  # who waits has no free place: his tenant has all of its
            self._running[tenant] += 1
            return
        if len(self._waiting) >= WAITING or (len(self._waiting) + 1) * self._seconds() / self._limit > PATIENCE:
            raise self._hold()
        place = tenant, asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        is_given = False
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await place[1]
            is_given = True
        except TimeoutError:
            is_given = place[1].done() and not place[1].cancelled()  # in the same moment
            if not is_given:
                raise self._hold() from None
        finally:
            if place in self._waiting:
                self._waiting.remove(place)
            elif not is_given and not place[1].cancelled():
                self._give(tenant)  # whoever waited has gone

    def _give(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        for place in list(self._waiting):
            waiting, future = place
            if self._is_free(waiting) and not future.done():
                self._waiting.remove(place)
                self._running[waiting] += 1
                future.set_result(None)

    def _hold(self) -> Busy:
        now = self._now()
        self._promised = max(self._promised, now) + max(self._seconds(), PATIENCE / self._limit) / self._limit
        after = min(LONGEST_HOLD, max(SHORTEST_HOLD, self._promised - now))
        error = Busy(self._held, after=after)
        error.line = self._line
        return error


class Breaker:
    """Of one function: after some failures in a row, calls fail at once with the cause, but for one now and then.

    >>> seconds, breaker = [0.0], Breaker(lambda: seconds[0])
    >>> for _ in range(IN_ROW):
    ...     breaker.failed("refused")
    >>> breaker.check()
    Traceback (most recent call last):
    groundplane.errors.Unavailable: refused
    >>> seconds[0] = 1.0
    >>> breaker.check()  # this one may try
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures, self._until = 0, 0.0
        self._cause, self._mend = "", ""

    def check(self) -> None:
        """Raise Unavailable while there is no point in trying."""
        if self._failures < IN_ROW:
            return
        if self._now() < self._until:
            raise Unavailable(self._cause, mend=self._mend)
        self._pause()

    def failed(self, cause: str, mend: str = "") -> None:
        """A call did not get through."""
        self._failures += 1
        self._cause, self._mend = cause, mend
        if self._failures >= IN_ROW:
            self._pause()

    def answered(self) -> None:
        """A call got through, whatever the answer."""
        self._failures = 0

    def _pause(self) -> None:
        self._until = self._now() + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - IN_ROW, 20))
