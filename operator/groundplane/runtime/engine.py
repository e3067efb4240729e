"""Key → reconciler → outcome: the one place that turns errors into conditions, events and requeues.

A reconciler either returns what it wants next, or raises; what was raised decides the fate:
`Conflict` is retried after growing pauses, silently at first · `Waiting` and `NoSuchKind` come back when what they wait for
changes, or after a backoff · `InvalidInput` waits for an edit · `Throttled` comes back when it was asked to, `Busy` as well, without a word · `Unavailable`
backs off · `Denied` backs off long · anything else is our bug: traceback in the log, *internal error* in the
condition (without its text, which might hold anything).  When it makes an object degraded, `core/health.py` says.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from groundplane import errors
from groundplane.cluster import own_writes
from groundplane.core import conditions, health
from groundplane.core.conditions import Condition
from groundplane.core.objects import Key, Object
from groundplane.core.turns import Lane
from groundplane.errors import (
    AlreadyExists,
    Busy,
    Conflict,
    Denied,
    GroundplaneError,
    InvalidInput,
    Misshapen,
    NoSuchKind,
    NotFound,
    NotLeader,
    Rejected,
    TooDeep,
    Unavailable,
)
from groundplane.ports import Context, Result
from groundplane.runtime import lanes, logs, metrics
from groundplane.runtime.queue import After, Again, Done, Held, Outcome, Retry
from groundplane.runtime.tracing import NoTraces
from groundplane.runtime.waiting import Target, Waiting

TIMEOUT = 120.0  # seconds for one reconcile, as upstream's composite controller has it
AGAIN = 0.1  # seconds until a reconcile is repeated that was only overtaken by somebody's change, doubled each time in a row
LONGEST_AGAIN = 30.0  # seconds
STUBBORN = 10  # conflicts in a row that are told: no race lasts so long
HELD_LONG = 10.0  # seconds of being held back until that is told
RECHECK_INVALID = 300.0  # seconds until input that was refused is looked at again, unedited
RECHECK_DENIED = 60.0  # seconds until refused credentials are tried again
NO_ERRORS = (AlreadyExists, Busy, Conflict, NoSuchKind, NotLeader, errors.Waiting)  # early or overtaken, not wrong

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class Controller:
    """A reconciler and how its errors are told."""

    name: str  # also its queue's
    reconcile: Callable[[Key, Context], Awaitable[Result]]
    source: Callable[[Key, Context], str]  # component of its events
    reason: str  # of a Warning event whose error names none
    tells: bool = True  # on the object, too, not only in an event
    has_synced: bool = True  # upstream's kind has Synced; else it is only added where we help
    has_ready: bool = True
    ours_ready: bool = False  # upstream's kind has no Ready, where we help it has: False beside each error
    failure: Callable[[Object, str], Iterable[Condition]] = lambda obj, text: [conditions.reconcile_error(text)]
    # Where two report on one object: has the other one told of a failure of the whole of it?  And failures that are told later are
    # not told at all before: the other one, all being well with it, would take them back.
    is_second: Callable[[Object], bool] = lambda obj: False
    tells_hiccups: bool = True
    workers: int = 10
    max_backoff: float = 60.0  # seconds
    poll_rate: float = lanes.RATE  # polls that begin each second at most; fewer where a look costs the event loop more
    annotations: Callable[[Object, Context], Mapping[str, str]] = lambda obj, context: {}  # of its events
    share: Callable[[Object], str] | None = None  # whose an object is: no one's reconciles may hold all workers
    tenant: Callable[[Object], str] = lambda obj: ""  # those of a share take turns


@dataclass(frozen=True)
class _Conflicts:
    times: int = 0  # in a row
    told: str = ""  # the last one's text, if it was told


class Engine:
    """Runs one reconcile at a time per key (the queue sees to that) and reports how it went."""

    def __init__(self, controllers: Sequence[Controller], context: Context, traces: NoTraces | None = None) -> None:
        self.context = context
        self._traces = traces or NoTraces()
        self.controllers = {controller.name: controller for controller in controllers}
        self.waiting = Waiting()
        self._conflicts: dict[Target, _Conflicts] = {}
        self._failures: dict[Target, tuple[str, float, int]] = {}  # of what kind, since when, how many in a row
        self._held: dict[Target, float] = {}  # since when it has been held back, again and again; inf: that was told

    async def process(self, name: str, key: Key, lane: Lane = "change") -> Outcome:
        """Reconcile one object once, and say when to come back.  `lane` tells why."""
        controller = self.controllers[name]
        started, since = time.perf_counter(), self.waiting.now()
        self.waiting.forget((name, key))  # it decides anew
        outcome: str = "success"
        fate: metrics.Result = "success"
        try:
            with (
                logs.bound(controller=name, key=str(key)),
                own_writes.running((name, key)),
                self._traces.reconcile(name, key, lane) as span,
            ):
                try:
                    async with asyncio.timeout(TIMEOUT):
                        result = await controller.reconcile(key, replace(self.context, lane=lane))
                except TimeoutError:
                    error: Exception = Unavailable(f"reconciling took longer than {TIMEOUT:.0f} seconds")
                except Exception as raised:  # noqa: BLE001 - the one place where everything is caught
                    error = raised
                else:
                    self._conflicts.pop((name, key), None)
                    self._failures.pop((name, key), None)
                    self._held.pop((name, key), None)
                    if result.on and self.waiting.came(result.on, since) == "no":
                        self.waiting.wait((name, key), result.on)
                        self.context.watches.expect(result.on)
                    elif result.on:
                        result = replace(result, again=True)
                    if result.again:
                        fate = "requeue"
                        return Again()
                    if result.requeue_after is None:
                        return Done()
                    fate = "requeue_after"
                    return After(result.requeue_after, result.exactly)
                outcome, fate = type(error).__name__, "requeue" if isinstance(error, NO_ERRORS) else "error"
                span |= {"outcome": outcome, "result": fate}
                return await self._handle(controller, key, error, since)
        finally:
            metrics.reconciles.labels(controller=name, outcome=outcome).inc()
            seconds = time.perf_counter() - started
            metrics.reconcile_seconds.labels(controller=name).observe(seconds)
            metrics.reconciled(self.upstream_name(name, key), fate, seconds)

    def forget(self, key: Key) -> None:
        """The object is gone: so is what is remembered of its failures and wishes."""
        for name in self.controllers:
            self.waiting.forget((name, key))
            self._conflicts.pop((name, key), None)
            self._failures.pop((name, key), None)
            self._held.pop((name, key), None)
        self.context.creates.forget(key)
        self.context.interests.set(key, ())
        self.context.accounts.forget(key)
        self.context.circuits.forget(key)
        self.context.followers.set(key, "")
        self.context.policies.set(key, ())

    def upstream_name(self, name: str, key: Key) -> str:
        """What upstream calls the controller that there would be for this kind; our own name where it has none."""
        definitions = self.context.definitions
        match name:
            case "claim" if known := definitions.claim(key.group, key.kind):
                return f"claim/{known.name}"
            case "composite" if known := definitions.composite(key.group, key.kind):
                return f"composite/{known.name}"
            case "managed":
                return f"managed/{key.api_version}, kind={key.kind.lower()}"
        return name

    async def _handle(self, controller: Controller, key: Key, error: Exception, since: int) -> Outcome:
        target, is_stubborn = (controller.name, key), False
        if isinstance(error, Busy):
            log.debug("held back", error=str(error))
            await self._tell_of_hold(controller, key, error)
            return Held(error.after or AGAIN)
        self._held.pop(target, None)
        if isinstance(error, NotLeader):
            return Done()  # whoever leads looks at everything
        if isinstance(error, Conflict | AlreadyExists):
            log.debug("conflict", error=str(error))
            so_far = self._conflicts.get(target, _Conflicts())
            times, told = so_far.times + 1, str(error) if so_far.times + 1 >= STUBBORN else ""
            self._conflicts[target] = _Conflicts(times, told)
            if times < STUBBORN:
                return Retry(min(LONGEST_AGAIN, AGAIN * 2 ** (times - 1)))
            if told == so_far.told:
                return Retry(LONGEST_AGAIN)  # told once, until it is another one
            error, is_stubborn = _stubborn(error), True
        else:
            self._conflicts.pop(target, None)
        failures, internal = self._failed(target, error), not isinstance(error, GroundplaneError)
        if is_stubborn:  # they were counted before they were told
            failures = health.Failures(health.TRIES, health.PATIENCE)
        if not isinstance(error, GroundplaneError):
            log.exception("internal error", error=error)
            metrics.internal_errors.labels(controller=controller.name).inc()
            error = Unavailable(
                f"internal error: {type(error).__name__}", mend="look into the operator's log, and report it"
            )
        else:
            log.info("reconcile did not go through", error=str(error), fate=type(error).__name__)
        match self.waiting.came(error.on, since):
            case "yes":
                return Retry(AGAIN)  # what it waits for came while it ran
            case "unknown":
                fate: Outcome = Retry()
            case "no":
                fate = _fate(error, failures)
        self.waiting.wait(target, error.on)
        self.context.watches.expect(error.on)
        try:
            await self._report(controller, key, error, *failures.verdict(error, internal=internal))
        except NotLeader:
            return Done()  # the Lease was lost in between
        except (Conflict, NotFound, NoSuchKind):
            return Retry()
        except (Rejected, Denied, Unavailable) as trouble:
            log.warning("status could not be written", error=str(trouble))
        return fate

    async def _tell_of_hold(self, controller: Controller, key: Key, error: Busy) -> None:
        """Say what it waits for, once it has waited for long: nothing is wrong with it, but nothing happens either."""
        now = self.context.uptime()
        held = now - self._held.setdefault((controller.name, key), now)
        if held < HELD_LONG or self.context.options.strict_upstream:
            return
        try:
            await self._report(controller, key, error, health.reconciling("Waiting", error.line), False)
        except (NotLeader, Conflict, NotFound, NoSuchKind, Rejected, Denied, Unavailable) as trouble:
            log.debug("status was not written", error=str(trouble))
        else:
            self._held[controller.name, key] = float("inf")  # told once, not with each edit of what is held back

    def _failed(self, target: Target, error: Exception) -> health.Failures:
        """Count a failure; one of another kind begins anew."""
        kind, now = type(error).__name__, self.context.uptime()
        known, since, times = self._failures.get(target, (kind, now, 0))
        if known != kind:
            since, times = now, 0
        self._failures[target] = (kind, since, times + 1)
        return health.Failures(times + 1, now - since)

    async def _report(
        self, controller: Controller, key: Key, error: GroundplaneError, outlook: Condition, is_told: bool
    ) -> None:
        """Tell the object's readers: an event, what is still to come, and Synced=False with the error as it is."""
        try:
            obj = await self.context.cluster.get(key)
        except TooDeep as unreadable:
            obj = unreadable.object
        if obj is None:
            return
        if not isinstance(error, Busy):
            self.context.events.event(
                obj,
                "Warning",
                error.reason or controller.reason,
                str(error),
                source=controller.source(key, self.context),
                annotations=controller.annotations(obj, self.context),
            )
        strict = self.context.options.strict_upstream
        if not controller.tells or (strict and not controller.has_synced):
            return
        if not strict and not is_told and not controller.tells_hiccups:
            return
        if controller.is_second(obj):
            outlook = health.outlook(obj) or outlook
        wanted = copy.deepcopy(obj)
        told: list[Condition] = [*controller.failure(obj, error.told or str(error)), *error.conditions]
        if not strict:
            is_first = conditions.find(obj, "Ready") is None
            if not is_told:
                told = [condition for condition in error.conditions if condition.type in ("Ready", "Responsive")]
            if controller.ours_ready and (is_told or is_first):
                told.append(conditions.unavailable())
            elif controller.has_ready and is_first:
                told.insert(0, conditions.creating())
        self.context.tell(wanted, *told, outlook=outlook)
        await self.context.cluster.update(wanted, subresource="status")


def _stubborn(error: Exception) -> Unavailable:
    """What is told of a conflict that no fresh read ends: a webhook that answers 409, or somebody who never stops writing."""
    return Unavailable(
        f"{STUBBORN} conflicts in a row: {error}",
        mend="look for a webhook that answers 409, or for another program that keeps writing the object",
    )


def _fate(error: GroundplaneError, failures: health.Failures) -> Outcome:
    if error.after is not None:
        return Retry(error.after)
    may_be_early = isinstance(error, Misshapen)  # its kind may be changing at the moment
    if isinstance(error, InvalidInput) and not may_be_early:
        return Retry(RECHECK_INVALID)
    if isinstance(error, Denied):
        return Retry(health.FRESH if failures.seconds < health.HOPELESS else RECHECK_DENIED)
    return Retry()
