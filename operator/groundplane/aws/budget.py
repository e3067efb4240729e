"""Who may call AWS now: a budget for each account, region and service, so that one that is dead or slow delays nobody else.

A budget begins with few calls at a time and doubles with each that succeeds, up to its bound; its rate follows what AWS takes
(`pace.py`).  One that failed to answer, or asks for fewer calls, is tried by one call at a time after pauses that double, and refuses all
others at once.  A call that takes longer than a moment only waits: it counts against its own budget, and no longer among the calls of all.
Other credentials are another budget: what is known of refused or throttled ones says nothing of them.  Belongs to one event loop.

Whoever can't call at once waits in line, in turn with the other budgets; within a budget by lane and tenant (`core/turns.py`).  While
changes wait, eight of eleven calls there are theirs; of n tenants whose changes wait, each makes every nth of those.  Who is refused
comes back behind those of his own lane and tenant alone.  A line lasts as long as `PATIENCE`: where fewer calls are made in that time
than there are tenants that wait, whose come next is left to chance.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from groundplane.aws.pace import Pace
from groundplane.core.turns import Lane, Turns
from groundplane.core.turns import Place as Turn
from groundplane.errors import Busy, Throttled

FIRST = 2  # calls at a time of a budget that has not answered yet
INSTANT = 1e-6  # seconds: for less, no timer is worth setting
MOMENT = 1.0  # seconds after which a call only waits
PATIENCE: dict[Lane, float] = {"change": 10.0, "retry": 2.0, "poll": 2.0}  # seconds: who waits longer comes back later
RESERVED = 4  # one of so many of a budget's calls is for changes only, once it has as many
HANGS = 10.0  # seconds after which a call that has not come back is told to those who would make the next
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # seconds until a budget that failed is tried again, doubled each time in a row
TOLD = 2  # failures in a row that are told to those who were refused; before, they come back without a word
COME_BACK, LONGEST_AWAY = 5.0, 120.0  # seconds until who was refused looks again: as fast as calls were made lately
HANGING = 4  # times the threads: how many calls of one account may hang, whatever regions and credentials it names
BOOKINGS = 64  # lanes and tenants of a budget; of more, those whose time has come are forgotten
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
    background: int = 0  # of those, retries and polls
    slow: dict[Call, None] = field(default_factory=dict)  # of those, which take longer than a moment, the longest first
    is_proven: bool = False  # it has answered, and has not failed since
    line: Turns[asyncio.Future[Call], str] = field(default_factory=Turns)  # who waits
    failures: int = 0  # in a row
    failed: float = float("-inf")  # when last
    until: float = 0.0  # when a failed one is tried again
    problem: str = ""  # what it said last
    # when the next one who is refused looks again, by lane and tenant
    booked: dict[tuple[Lane, str], float] = field(default_factory=dict)


@dataclass(eq=False)
class Call:
    """A call that may be made; `Budgets.done` must be told of its end."""

    budget: Budget
    begun: float
    lane: Lane
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
        self.patience = PATIENCE
        self._budgets: dict[Place, Budget] = {}
        self._working: Counter[str] = Counter()  # calls that are not slow, by account
        self._trials = 0  # of the calls that are not slow, those of budgets that are not proven
        self._hanging: Counter[str] = Counter()  # those that are, by account
        self._line: OrderedDict[Budget, None] = OrderedDict()  # those that somebody waits for, in turn
        self._timer: asyncio.TimerHandle | None = None  # when somebody in line may begin

    def __len__(self) -> int:
        return len(self._budgets)

    def told(self) -> list[dict[str, str | int]]:
        """How each budget stands, for people: those that failed first, then those that are waited for."""
        troubled = sorted(self._budgets.values(), key=lambda each: (-each.failures, -len(each.line), each.place))
        return [
            {
                "account": each.place.account,
                "region": each.place.region,
                "service": each.place.service,
                "allowed": each.allowed,
                "running": each.running,
                "slow": len(each.slow),
                "waiting": len(each.line),
                "failures": each.failures,
                "problem": each.problem,
            }
            for each in troubled
        ]

    async def begin(self, place: Place, lane: Lane = "change", tenant: str = "") -> Call:
        """Have a call begin, now or when it has its turn in line: `lane` tells why it is made, `tenant` for whom.

        Raises:
            Busy: too much is going on there, or it has just failed.
            Throttled: it does not answer, or has asked for fewer calls, for some time.
        """
        budget = self._of(place)
        if refusal := self._refusal(budget, lane, tenant):
            raise refusal
        turn: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        budget.line.add(turn, Turn(lane, "", tenant))
        self._line.setdefault(budget)
        self._let_in_one(budget)  # of the others, nobody could begin a moment ago
        self._wake_for(budget)
        try:
            async with asyncio.timeout(self.patience[lane]):
                return await turn
        except TimeoutError:
            if call := _given(turn):
                return call
            raise self._in_vain(budget, lane, tenant) from None
        except asyncio.CancelledError:
            if call := _given(turn):
                self.done(call, "unknown")
            raise
        finally:
            budget.line.remove(turn)
            if not budget.line:
                self._line.pop(budget, None)

    def done(self, call: Call, fate: Fate, problem: str = "") -> None:
        """It has ended: `problem` says in words that do not change why it failed."""
        budget = call.budget
        budget.running -= 1
        budget.background -= call.lane != "change"
        if call.timer:
            call.timer.cancel()
        if call in budget.slow:
            del budget.slow[call]
            _less(self._hanging, budget.place.account)
        else:
            self._stop_working(call)
        if fate == "answered":
            if budget.failures:
                budget.booked.clear()
            budget.failures, budget.problem, budget.is_proven = 0, "", True
            budget.allowed = min(self._most, budget.allowed * 2)
        elif fate != "unknown":
            self._failed(call, fate, problem)
        self._let_in()

    # --- inside ---------------------------------------------------------------------------------------------

    def _of(self, place: Place) -> Budget:
        if place not in self._budgets:
            if len(self._budgets) >= REMEMBERED:
                for known in [k for k, budget in self._budgets.items() if not budget.running and not budget.line]:
                    del self._budgets[known]
            self._budgets[place] = Budget(place, Pace(self._clock()))
        return self._budgets[place]

    def _refusal(self, budget: Budget, lane: Lane, tenant: str) -> Throttled | None:
        """Why nobody of this lane need wait in line there just now."""
        left = budget.until - self._clock()
        if budget.failures and (left > 0 or budget.running):
            if budget.failures >= TOLD:
                what = f"{_name(budget.place)} is called less often: {budget.problem}"
                return Throttled(what, after=self._away(budget, lane, tenant, max(left, COME_BACK)))
            if lane != "change":  # a change is the next to try
                after = self._away(budget, lane, tenant, max(left, MOMENT))
                return Busy(f"{_name(budget.place)} has just failed", after=after)
        is_stuck = len(budget.slow) >= _most(budget, lane) and (lane != "change" or self._is_silent(budget))
        return self._in_vain(budget, lane, tenant) if is_stuck or self._hangs(budget.place.account) else None

    def _in_vain(self, budget: Budget, lane: Lane, tenant: str) -> Throttled:
        """Why there is no turn to wait for; told when it is no passing slowness."""
        name = _name(budget.place)
        if self._hangs(budget.place.account) or self._is_silent(budget):
            what = f"{name} does not answer: earlier calls have not come back yet"
            return Throttled(what, after=self._away(budget, lane, tenant, COME_BACK))
        return Busy(f"too many calls to {name}", after=self._away(budget, lane, tenant, MOMENT))

    def _is_silent(self, budget: Budget) -> bool:
        return bool(budget.slow) and self._clock() - next(iter(budget.slow)).begun > HANGS

    def _away(self, budget: Budget, lane: Lane, tenant: str, least: float) -> float:
        """Seconds until who is refused looks again: not all at once, and no more often than there is something to be had."""
        now, whose = self._clock(), (lane, tenant)
        then = max(budget.booked.get(whose, 0.0), now + least)
        if len(budget.booked) >= BOOKINGS:
            budget.booked = {each: until for each, until in budget.booked.items() if until > now}
        budget.booked[whose] = min(then + 1 / max(1, budget.pace.lately(now)), now + LONGEST_AWAY)
        return then - now

    def _is_free(self, budget: Budget, lane: Lane) -> bool:
        """Whether one more call may run there, as far as others that run go."""
        account = budget.place.account
        is_account_free = self._working[account] < self._most and not self._hangs(account)
        is_free = self._working.total() < self._threads and (budget.is_proven or self._trials < self._threads // 2)
        running = budget.running if lane == "change" else budget.background
        is_budget_free = budget.running < _most(budget, "change") and running < _most(budget, lane)
        return is_budget_free and is_account_free and is_free

    def _pause(self, budget: Budget) -> float:
        """Seconds until a call may begin there, as far as its pace and its failures go."""
        now = self._clock()
        pause = max(budget.pace.left(now), budget.until - now if budget.failures else 0.0)
        return pause if pause > INSTANT else 0.0

    def _hangs(self, account: str) -> bool:
        return self._hanging[account] >= HANGING * self._threads

    def _admit(self, budget: Budget, lane: Lane) -> Call:
        """A call that counts from now on, even if whoever makes it has still to hear of it."""
        budget.pace.take(self._clock())
        budget.running += 1
        budget.background += lane != "change"
        self._working[budget.place.account] += 1
        self._trials += not budget.is_proven
        call = Call(budget, self._clock(), lane, not budget.is_proven)
        call.timer = asyncio.get_running_loop().call_later(MOMENT, self._is_slow, call)
        return call

    def _let_in(self) -> None:
        """Have those in line begin who may: afterwards nobody waits who could, so that no newcomer is before them."""
        while any(self._let_in_one(budget) for budget in self._line):  # each that succeeds begins anew
            pass
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for budget in self._line:
            self._wake_for(budget)

    def _let_in_one(self, budget: Budget) -> bool:
        """Whether one of those who wait for it may begin; the budget is the last in line then."""
        if self._working.total() >= self._threads or self._pause(budget) > 0:
            return False
        while found := budget.line.take(lambda lane, _: self._is_free(budget, lane)):
            turn, (lane, _, _) = found
            if not turn.done():
                turn.set_result(self._admit(budget, lane))
                self._line.move_to_end(budget)
                return True
        return False

    def _wake_for(self, budget: Budget) -> None:
        """Look again when it may be called again, if nobody does so before."""
        if not budget.line or (pause := self._pause(budget)) <= 0:
            return
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer.when() > loop.time() + pause:
            if self._timer:
                self._timer.cancel()
            self._timer = loop.call_later(pause, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._let_in()

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
        for turn, (lane, _, tenant) in list(budget.line.items()):
            if refusal := self._refusal(budget, lane, tenant):
                budget.line.remove(turn)
                if not turn.done():
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


def _most(budget: Budget, lane: Lane) -> int:
    """Calls at a time; while it fails, one that tries."""
    if budget.failures:
        return 1
    return budget.allowed if lane == "change" else budget.allowed - budget.allowed // RESERVED


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
