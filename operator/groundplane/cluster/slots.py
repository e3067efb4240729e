"""Requests to the API server at the same time: no more than it answers in time, and tenants in turn.

A server that is late gets fewer at once, half as many each time, and one more with each round that it answers.  With as many as before all would
be late, given up when they had cost it their work, and sent again: it would come to nothing any more.  Late is also an answer that takes several times
as long as the fastest to such a request: then requests wait for each other in the server, where nobody takes turns.  Where writes of one kind of object hang while
others are answered, a webhook of that kind does: they give their places back, and few more of them are sent, as long as none comes back.  Who waits for a place here has those
of the queues (`core/turns.py`), so that what one tenant has waiting delays another's requests by one of his at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from groundplane.core.turns import Lane, Place, Turns
from groundplane.errors import Throttled

MOST, FEWEST = 64, 4  # at the same time
LATE = 2.0  # seconds: an answer after so many is late, and so is one after half of the time that it had
TIMES = 4  # as long as the fastest answer of its kind is late, too; a webhook that takes its time makes none late
PROMPT = 0.1  # seconds that are never so
MEMORY = 300.0  # seconds after which the fastest answer counts as twice as long: a server may have become slower
KINDS = 1_000  # of requests whose fastest answer is remembered
HANGING = 4  # writes of one kind at a time, once some of it have hung; one more for each that is answered late
COME_BACK = 5.0  # seconds until who was refused for that tries again

_whose: ContextVar[tuple[Lane, str]] = ContextVar("whose", default=("change", ""))


@contextmanager
def turn(lane: Lane, tenant: str) -> Iterator[None]:
    """What is asked for inside has this lane's turns, and this tenant's."""
    token = _whose.set((lane, tenant))
    try:
        yield
    finally:
        _whose.reset(token)


@dataclass(eq=False)
class Write:
    """One that is under way."""

    what: str  # "update boxes.example.org/status"
    late: float  # seconds after which it is
    begun: float  # by the event loop's clock
    hangs: bool = False  # though others are answered: it has no place any more, and tells nothing of the server

    @property
    def resource(self) -> str:
        return self.what.partition(" ")[2].partition("/")[0]


class Slots:
    """Places for requests; `async with` takes one.  Belongs to one event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._limit = most, float(most)
        self._taken = 0
        self._turns: Turns[asyncio.Future[None], str] = Turns()
        self._narrowed = float("-inf")  # when there came to be fewer
        self._fastest: dict[str, tuple[float, float]] = {}  # answer in seconds, and when, by the kind of request
        self._prompt: dict[str, float] = {}  # when a write was answered in time last, by its kind
        self._writes: dict[Write, None] = {}
        # How many at a time of the kinds of writes that hung, and of which none was answered in time since.
        self._few: dict[str, int] = {}

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
        if what and took < min(LATE, patience / 2):
            self._few.pop(what, None)
            self._prompt.pop(what, None)
            self._prompt[what] = ended
            if len(self._prompt) > KINDS:
                del self._prompt[next(iter(self._prompt))]
        if took < min(LATE, patience / 2) and took <= usual:
            self._limit = min(self._most, self._limit + 1 / self._limit)
        elif begun >= self._narrowed:  # those that were under way before tell nothing new
            self._limit, self._narrowed = max(FEWEST, self._limit / 2), ended

    def came_back(self, write: Write, *, went_well: bool) -> None:
        """One that hung has ended: its webhook is slow if it was answered, and does not answer else."""
        if write.what in self._few:
            few = self._few[write.what]
            self._few[write.what] = min(self._most, few + 1) if went_well else max(HANGING, few // 2)

    def _learn(self, what: str, took: float, now: float) -> float:
        """How long the fastest answer to such a request took, this one included."""
        fastest, since = self._fastest.pop(what, (took, now))
        fastest = min(took, fastest * 2 ** min(10.0, (now - since) / MEMORY))
        self._fastest[what] = fastest, now
        if len(self._fastest) > KINDS:
            del self._fastest[next(iter(self._fastest))]
        return fastest

    @asynccontextmanager
    async def writing(self, what: str, patience: float) -> AsyncIterator[Write]:
        """A place for a write, `what` kind of one, that is given up after `patience` seconds: as long as it does not hang alone.

        Raises:
            Throttled: such writes hang, and as many as may be under way are.
        """
        self._check(what)
        await self.__aenter__()
        loop = asyncio.get_running_loop()
        write = Write(what, min(LATE, patience / 2), loop.time())
        timer = loop.call_later(write.late, self._look, write)
        try:
            self._check(what)  # more may have come to hang while this one was in line
            self._writes[write] = None
            yield write
        finally:
            timer.cancel()
            self._writes.pop(write, None)
            if not write.hangs:
                self._give()

    def _check(self, what: str) -> None:
        if what in self._few and sum(each.what == what for each in self._writes) >= self._few[what]:
            raise Throttled(
                f"the API server does not answer this ({what}): earlier ones have not come back in time",
                after=COME_BACK,
                mend="look for a webhook of that kind that does not answer; if nothing else is answered, at the server",
            )

    def _look(self, write: Write) -> None:
        """It is late: whether it is alone in that, or the server is late."""
        if write not in self._writes:
            return
        loop = asyncio.get_running_loop()
        # What was answered before that tells nothing of a server that has stopped since.
        since = write.begun + write.late / 2
        others_answered = any(at > since for what, at in self._prompt.items() if what != write.what)
        late = (each for each in self._writes if loop.time() - each.begun >= each.late)
        if others_answered or all(each.resource == write.resource for each in late):
            write.hangs = True
            if len(self._few) < KINDS:
                self._few.setdefault(write.what, HANGING)
            self._give()
        else:
            loop.call_later(write.late, self._look, write)

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
