"""Requests to the API server at the same time: no more than it answers in time, and tenants in turn.

A server that is late gets fewer at once, half as many each time, and one more with each round that it answers.  With as many as before all would
be late, given up when they had cost it their work, and sent again: it would come to nothing any more.  Who waits for a place has the turns of the
queues (`core/turns.py`), so that what one tenant has waiting delays another's requests by one of his at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from groundplane.core.turns import Lane, Place, Turns

MOST, FEWEST = 64, 4  # at the same time
LATE = 2.0  # seconds: an answer after so many is late, and so is one after half of the time that it had

_whose: ContextVar[tuple[Lane, str]] = ContextVar("whose", default=("change", ""))


@contextmanager
def turn(lane: Lane, tenant: str) -> Iterator[None]:
    """What is asked for inside has this lane's turns, and this tenant's."""
    token = _whose.set((lane, tenant))
    try:
        yield
    finally:
        _whose.reset(token)


class Slots:
    """Places for requests; `async with` takes one.  Belongs to one event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._limit = most, float(most)
        self._taken = 0
        self._turns: Turns[asyncio.Future[None], str] = Turns()
        self._narrowed = float("-inf")  # when there came to be fewer

    @property
    def limit(self) -> int:
        """How many there are now."""
        return int(self._limit)

    def answered(self, begun: float, ended: float, patience: float) -> None:
        """A request has ended, for which there were `patience` seconds; times are of any one clock."""
        if ended - begun < min(LATE, patience / 2):
            self._limit = min(self._most, self._limit + 1 / self._limit)
        elif begun >= self._narrowed:  # those that were under way before tell nothing new
            self._limit, self._narrowed = max(FEWEST, self._limit / 2), ended

    async def __aenter__(self) -> None:
        if self._taken < self.limit and not len(self._turns):
            self._taken += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane, tenant = _whose.get()
        self._turns.add(place, Place(lane, "", tenant))
        try:
            await place
        except asyncio.CancelledError:
            self._turns.remove(place)
            if place.done() and not place.cancelled():  # given in the same moment
                self._give()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._give()

    def _give(self) -> None:
        self._taken -= 1
        while self._taken < self.limit and (found := self._turns.take(lambda lane, share: True)):
            self._taken += 1
            found[0].set_result(None)
