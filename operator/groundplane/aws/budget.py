"""Who may call AWS now: a budget for each account, region and service, so that one that is dead or slow delays nobody else.

A budget begins with few calls at a time and doubles with each that succeeds, up to its bound; its rate follows what AWS takes
(`pace.py`).  One that failed to answer, or asks for fewer calls, is tried by one call at a time after pauses that double, and refuses all
others at once.  A call that takes longer than a moment only waits: it counts against its own budget, and no longer among the calls of all.
Other credentials are another budget: what is known of refused or throttled ones says nothing of them.  Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from groundplane.aws.pace import Pace
from groundplane.errors import Busy, Throttled

FIRST = 2  # calls at a time of a budget that has not answered yet
MOMENT = 1.0  # seconds after which a call only waits
PATIENCE = 2.0  # seconds: who waits longer comes back later
HANGS = 10.0  # seconds after which a call that has not come back is told to those who would make the next
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # seconds until a budget that failed is tried again, doubled each time in a row
TOLD = 2  # failures in a row that are told to those who were refused; before, they come back without a word
COME_BACK, LONGEST_AWAY = (
    5.0,
    120.0,
)  # seconds until who was refused looks again: one after the other, as fast as calls were made lately
HANGING = 4  # times the threads: how many calls of one account may hang, whatever regions and credentials it names
REMEMBERED = 1024  # budgets; of more, those that are not in use are forgotten

Fate = Literal["answered", "silent", "throttled", "unknown"]


class Place(NamedTuple):
    """Whose calls, and where to."""

    account: str  # the ProviderConfig's name
    region: str  # "" of a global service
    service: str
    version: str = ""  # of the ProviderConfig and its credentials


@dataclass(eq=False)
class Budget:
    """What is known of one account, region and service."""

    place: Place
    pace: Pace
    allowed: int = FIRST
    running: int = 0
    slow: dict[Call, None] = field(default_factory=dict)  # of those, which take longer than a moment, the longest first
    is_proven: bool = False  # it has answered, and has not failed since
    waiting: int = 0
    failures: int = 0  # in a row
    failed: float = float("-inf")  # when last
    until: float = 0.0  # when a failed one is tried again
    problem: str = ""  # what it said last
    booked: float = 0.0  # when the next one who is refused may look again


@dataclass(eq=False)
class Call:
    """A call that may be made; `Budgets.done` must be told of its end."""

    budget: Budget
    begun: float
    is_trial: bool  # its budget was not proven
    timer: asyncio.TimerHandle | None = None


class Budgets:
    """Lets calls begin.  Its structures are bounded by the calls that run or wait, and by `REMEMBERED`."""

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`threads` calls at a time that work, of all accounts; one account has three quarters of them at most,
        those that nobody knows to answer have half.
        """
        self._threads, self._clock = threads, clock
        self._most = max(1, threads * 3 // 4)
        self._budgets: dict[Place, Budget] = {}
        self._working: Counter[str] = Counter()  # calls that are not slow, by account
        self._trials = 0  # of the calls that are not slow, those of budgets that are not proven
        self._hanging: Counter[str] = Counter()  # those that are, by account
        self._line: dict[asyncio.Future[Call], Budget] = {}  # who waits, first come first

    def __len__(self) -> int:
        return len(self._budgets)

    def told(self) -> list[dict[str, str | int]]:
        """How each budget stands, for people: those that failed first, then those that are waited for."""
        troubled = sorted(self._budgets.values(), key=lambda each: (-each.failures, -each.waiting, each.place))
        return [
            {
                "account": each.place.account,
                "region": each.place.region,
                "service": each.place.service,
                "allowed": each.allowed,
                "running": each.running,
                "slow": len(each.slow),
                "waiting": each.waiting,
                "failures": each.failures,
                "problem": each.problem,
            }
            for each in troubled
        ]

    async def begin(self, place: Place) -> Call:
        """Have a call begin, now or within a moment.

        Raises:
            Busy: too much is going on there, or it has just failed.
            Throttled: it does not answer, or has asked for fewer calls, for some time.
        """
        budget = self._of(place)
        if refusal := self._refusal(budget):
            raise refusal
        if pause := budget.pace.take(self._clock()):
            raise Busy(f"too many calls to {_name(place)}", after=max(pause, MOMENT))
        try:
            return self._admit(budget) if self._may_begin(budget) else await self._wait(budget)
        except BaseException:
            budget.pace.give_back()
            raise

    def done(self, call: Call, fate: Fate, problem: str = "") -> None:
        """It has ended: `problem` says in words that do not change why it failed."""
        budget = call.budget
        budget.running -= 1
        if call.timer:
            call.timer.cancel()
        if call in budget.slow:
            del budget.slow[call]
            _less(self._hanging, budget.place.account)
        else:
            self._stop_working(call)
        if fate == "answered":
            budget.failures, budget.problem, budget.is_proven, budget.booked = 0, "", True, 0.0
            budget.allowed = min(self._most, budget.allowed * 2)
        elif fate != "unknown":
            self._failed(call, fate, problem)
        self._let_in()

    # --- inside ---------------------------------------------------------------------------------------------

    def _of(self, place: Place) -> Budget:
        if place not in self._budgets:
            if len(self._budgets) >= REMEMBERED:
                for known in [k for k, budget in self._budgets.items() if not budget.running and not budget.waiting]:
                    del self._budgets[known]
            self._budgets[place] = Budget(place, Pace(self._clock()))
        return self._budgets[place]

    def _refusal(self, budget: Budget) -> Throttled | None:
        """Why nobody may call there just now."""
        left = budget.until - self._clock()
        if not budget.failures or (left <= 0 and not budget.running):
            return None  # this one tries
        if budget.failures < TOLD:
            return Busy(f"{_name(budget.place)} has just failed", after=self._away(budget, max(left, MOMENT)))
        what = f"{_name(budget.place)} is called less often: {budget.problem}"
        return Throttled(what, after=self._away(budget, max(left, COME_BACK)))

    def _away(self, budget: Budget, least: float) -> float:
        """Seconds until who is refused looks again: not all at once, and no more often than there is something to be had."""
        now = self._clock()
        then = max(budget.booked, now + least)
        budget.booked = min(then + 1 / max(1, budget.pace.lately(now)), now + LONGEST_AWAY)
        return then - now

    def _may_begin(self, budget: Budget) -> bool:
        account = budget.place.account
        is_account_free = self._working[account] < self._most and not self._hangs(account)
        is_free = self._working.total() < self._threads and (budget.is_proven or self._trials < self._threads // 2)
        return budget.running < budget.allowed and is_account_free and is_free

    def _hangs(self, account: str) -> bool:
        return self._hanging[account] >= HANGING * self._threads

    def _admit(self, budget: Budget) -> Call:
        """A call that counts from now on, even if whoever makes it has still to hear of it."""
        budget.running += 1
        self._working[budget.place.account] += 1
        self._trials += not budget.is_proven
        call = Call(budget, self._clock(), not budget.is_proven)
        call.timer = asyncio.get_running_loop().call_later(MOMENT, self._is_slow, call)
        return call

    async def _wait(self, budget: Budget) -> Call:
        if len(budget.slow) >= budget.allowed or self._hangs(budget.place.account):
            raise self._in_vain(budget)
        turn: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._line[turn] = budget
        budget.waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                return await turn
        except TimeoutError:
            if call := _given(turn):
                return call
            raise self._in_vain(budget) from None
        except asyncio.CancelledError:
            if call := _given(turn):
                self.done(call, "unknown")
            raise
        finally:
            budget.waiting -= 1
            self._line.pop(turn, None)

    def _in_vain(self, budget: Budget) -> Throttled:
        """Why there is no turn to wait for; told when it is no passing slowness."""
        name = _name(budget.place)
        if self._hangs(budget.place.account) or any(self._clock() - c.begun > HANGS for c in [*budget.slow][:1]):
            what = f"{name} does not answer: earlier calls have not come back yet"
            return Throttled(what, after=self._away(budget, COME_BACK))
        return Busy(f"too many calls to {name}", after=self._away(budget, MOMENT))

    def _let_in(self) -> None:
        """Have those in line begin who may: afterwards nobody waits who could, so that no newcomer is before them."""
        for turn, budget in list(self._line.items()):
            if self._working.total() >= self._threads:
                return
            if not turn.done() and self._may_begin(budget):
                turn.set_result(self._admit(budget))

    def _failed(self, call: Call, fate: Fate, problem: str) -> None:
        budget, now = call.budget, self._clock()
        budget.problem, budget.is_proven = problem, False
        budget.allowed = 1 if fate == "silent" else max(1, budget.allowed // 2)
        if fate == "throttled":
            budget.pace.throttled(now)
        if call.begun > budget.failed:  # those that were under way together fail once
            budget.failures += 1
            budget.failed = now
            budget.until = now + min(MAX_PAUSE, FIRST_PAUSE * 2 ** min(budget.failures - 1, 20))
        for turn in [turn for turn, waits in self._line.items() if waits is budget and not turn.done()]:
            if refusal := self._refusal(budget):
                turn.set_exception(refusal)

    def _is_slow(self, call: Call) -> None:
        call.timer = None
        call.budget.slow[call] = None
        self._stop_working(call)
        self._hanging[call.budget.place.account] += 1
        self._let_in()

    def _stop_working(self, call: Call) -> None:
        _less(self._working, call.budget.place.account)
        self._trials -= call.is_trial


def _given(turn: asyncio.Future[Call]) -> Call | None:
    """The call that somebody was let in to make."""
    return turn.result() if turn.done() and not turn.cancelled() and not turn.exception() else None


def _less(counts: Counter[str], account: str) -> None:
    counts[account] -= 1
    if not counts[account]:
        del counts[account]


def _name(place: Place) -> str:
    where = f" in {place.region}" if place.region else ""
    return f"{place.service}{where} with ProviderConfig {place.account}"
