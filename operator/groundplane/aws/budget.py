"""Who may call AWS now: a budget for each account, region and service, so that one that is dead or slow delays nobody else.

A budget begins with few calls at a time and doubles with each that succeeds, up to its bound; a token bucket bounds its rate.  One
that failed to answer, or asks for fewer calls, is tried by one call at a time after pauses that double, and refuses all others at once.
A call that takes longer than a moment only waits: it counts against its own budget, and no longer among the calls of all.
Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from groundplane.core.bucket import Bucket
from groundplane.errors import Busy, Throttled

FIRST = 2  # calls at a time of a budget that has not answered yet
RATE, BURST = 100.0, 200  # calls per second of one budget, and at once
MOMENT = 1.0  # seconds: who waits longer comes back later; a call that takes longer only waits
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # seconds until a budget that failed is tried again, doubled each time in a row
TOLD = 2  # failures in a row that are told to those who were refused; before, they come back without a word
COME_BACK = 5.0  # seconds at least until who was refused looks again
REMEMBERED = 1024  # budgets; of more, those that are not in use are forgotten

Fate = Literal["answered", "silent", "throttled", "unknown"]


class Place(NamedTuple):
    """Whose calls, and where to."""

    account: str  # the ProviderConfig's name
    region: str  # "" of a global service
    service: str


@dataclass(eq=False)
class Budget:
    """What is known of one account, region and service."""

    place: Place
    bucket: Bucket
    allowed: int = FIRST
    running: int = 0
    slow: int = 0  # of those, how many take longer than a moment
    failures: int = 0  # in a row
    until: float = 0.0  # when a failed one is tried again
    problem: str = ""  # what it said last
    waiting: int = field(default=0)


@dataclass(eq=False)
class Call:
    """A call that may be made; `Budgets.done` must be told of its end."""

    budget: Budget
    timer: asyncio.TimerHandle | None = None
    slow: bool = False


class Budgets:
    """Lets calls begin.  Its structures are bounded by the calls that run or wait, and by `REMEMBERED`."""

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`threads` calls at a time that work, of all accounts; one account has three quarters of them at most."""
        self._threads, self._clock = threads, clock
        self._most = max(1, threads * 3 // 4)
        self._budgets: dict[Place, Budget] = {}
        self._working: Counter[str] = Counter()  # calls that are not slow, by account
        self._line: dict[asyncio.Future[None], Budget] = {}  # who waits, first come first

    def __len__(self) -> int:
        return len(self._budgets)

    async def begin(self, place: Place) -> Call:
        """Have a call begin, now or within a moment.

        Raises:
            Busy: too much is going on there, or it has just failed.
            Throttled: it does not answer, or has asked for fewer calls, for some time.
        """
        budget = self._of(place)
        self._refuse(budget)
        if pause := budget.bucket.wait(self._clock()):
            raise Busy(f"too many calls to {_name(place)}", after=max(pause, MOMENT))
        if not self._may_begin(budget):
            await self._wait(budget)
        budget.running += 1
        self._working[place.account] += 1
        call = Call(budget)
        call.timer = asyncio.get_running_loop().call_later(MOMENT, self._is_slow, call)
        return call

    def done(self, call: Call, fate: Fate, problem: str = "") -> None:
        """It has ended: `problem` says in words that do not change why it failed."""
        budget = call.budget
        budget.running -= 1
        if call.timer:
            call.timer.cancel()
        if call.slow:
            budget.slow -= 1
        else:
            self._free(budget.place.account)
        if fate == "answered":
            budget.failures, budget.problem = 0, ""
            budget.allowed = min(self._most, budget.allowed * 2)
        elif fate != "unknown":
            budget.failures += 1
            budget.allowed = 1 if fate == "silent" else max(1, budget.allowed // 2)
            budget.problem = problem
            budget.until = self._clock() + min(MAX_PAUSE, FIRST_PAUSE * 2 ** min(budget.failures - 1, 20))
        self._let_in()

    # --- inside ---------------------------------------------------------------------------------------------

    def _of(self, place: Place) -> Budget:
        if place not in self._budgets:
            if len(self._budgets) >= REMEMBERED:
                for known in [k for k, budget in self._budgets.items() if not budget.running and not budget.waiting]:
                    del self._budgets[known]
            self._budgets[place] = Budget(place, Bucket(RATE, BURST, self._clock()))
        return self._budgets[place]

    def _refuse(self, budget: Budget) -> None:
        if not budget.failures:
            return
        left = budget.until - self._clock()
        if left <= 0 and not budget.running:
            return  # this one tries
        if budget.failures < TOLD:
            raise Busy(f"{_name(budget.place)} has just failed", after=max(left, MOMENT))
        raise Throttled(f"{_name(budget.place)} is called less often: {budget.problem}", after=max(left, COME_BACK))

    def _may_begin(self, budget: Budget) -> bool:
        account = budget.place.account
        is_account_free = self._working[account] < self._most
        return budget.running < budget.allowed and is_account_free and self._working.total() < self._threads

    async def _wait(self, budget: Budget) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line[turn] = budget
        budget.waiting += 1
        try:
            async with asyncio.timeout(MOMENT):
                await turn
        except TimeoutError:
            if budget.slow >= budget.allowed:
                what = f"{_name(budget.place)} does not answer: earlier calls have not come back yet"
                raise Throttled(what, after=COME_BACK) from None
            raise Busy(f"too many calls to {_name(budget.place)}", after=MOMENT) from None
        finally:
            budget.waiting -= 1
            self._line.pop(turn, None)
        self._refuse(budget)

    def _let_in(self) -> None:
        """Wake those in line who may begin; each counts before the next is looked at."""
        chosen: Counter[Budget] = Counter()
        accounts: Counter[str] = Counter()
        for turn, budget in list(self._line.items()):
            account = budget.place.account
            if self._working.total() + chosen.total() >= self._threads:
                return
            is_free = budget.running + chosen[budget] < budget.allowed
            if is_free and self._working[account] + accounts[account] < self._most and not turn.done():
                chosen[budget] += 1
                accounts[account] += 1
                turn.set_result(None)

    def _is_slow(self, call: Call) -> None:
        call.slow, call.timer = True, None
        call.budget.slow += 1
        self._free(call.budget.place.account)
        self._let_in()

    def _free(self, account: str) -> None:
        self._working[account] -= 1
        if not self._working[account]:
            del self._working[account]


def _name(place: Place) -> str:
    where = f" in {place.region}" if place.region else ""
    return f"{place.service}{where} with ProviderConfig {place.account}"
