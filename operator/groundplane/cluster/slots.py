"""Requests to the API server at the same time: no more than it answers in time, and tenants in turn.

A server that is late gets fewer at once, half as many each time, and one more with each round that it answers.  With as many as before all would
be late, given up when they had cost it their work, and sent again: it would come to nothing any more.  Late is also an answer that takes several times
as long as the fastest to such a request: then requests wait for each other in the server, where nobody takes turns.  Who waits for a place here has those
of the queues (`core/turns.py`), so that what one tenant has waiting delays another's requests by one of his at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from groundplane.core.turns import Lane, Place, Turns

MOST, FEWEST = 64, 4  # at the same time
LATE = 2.0  # seconds: an answer after so many is late, and so is one after half of the time that it had
TIMES = 4  # as long as the fastest answer of its kind is late, too; a webhook that takes its time makes none late
PROMPT = 0.1  # seconds that are never so
MEMORY = 300.0  # seconds after which the fastest answer counts as twice as long: a server may have become slower
KINDS = 1_000  # of requests whose fastest answer is remembered

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
        self._fastest: dict[str, tuple[float, float]] = {}  # answer in seconds, and when, by the kind of request

    @property
    def limit(self) -> int:
        """How many there are now."""
        return int(self._limit)

    def answered(self, begun: float, ended: float, patience: float, what: str = "") -> None:
        """A request has ended, for which there were `patience` seconds; times are of any one clock.

        `what` kind of request it was, if it went through: what is refused is refused sooner than anything is done.
        """
        took = ended - begun
        usual = max(PROMPT, TIMES * self._learn(what, took, ended)) if what else float("inf")
        if took < min(LATE, patience / 2) and took <= usual:
            self._limit = min(self._most, self._limit + 1 / self._limit)
        elif begun >= self._narrowed:  # those that were under way before tell nothing new
            self._limit, self._narrowed = max(FEWEST, self._limit / 2), ended

    def _learn(self, what: str, took: float, now: float) -> float:
        """How long the fastest answer to such a request took, this one included."""
        fastest, since = self._fastest.pop(what, (took, now))
        fastest = min(took, fastest * 2 ** min(10.0, (now - since) / MEMORY))
        self._fastest[what] = fastest, now
        if len(self._fastest) > KINDS:
            del self._fastest[next(iter(self._fastest))]
        return fastest

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
            if not found[0].done():  # who has given up waiting is about to say so
                self._taken += 1
                found[0].set_result(None)
