"""Key → reconciler → outcome: the one place that turns errors into conditions, events and requeues.

A reconciler either returns what it wants next, or raises; what was raised decides the fate:
`Conflict` is retried after growing pauses, silently at first · `Waiting` and `NoSuchKind` come back when what they wait for
changes, or after a backoff · `InvalidInput` waits for an edit · `Throttled` comes back when it was asked to, `Busy` as well, without a word · `Unavailable`
backs off · `Denied` backs off long · anything else is our bug: traceback in the log, *internal error* in the
condition (without its text, which might hold anything).
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from groundplane.cluster import own_writes
from groundplane.core import conditions
from groundplane.core.conditions import Condition
from groundplane.core.objects import Key, Object
from groundplane.errors import (
    AlreadyExists,
    Busy,
    Conflict,
    Denied,
    GroundplaneError,
    InvalidInput,
    NoSuchKind,
    NotFound,
    NotLeader,
    Rejected,
    TooDeep,
    Unavailable,
)
from groundplane.ports import Context, Result
from groundplane.runtime import lanes, logs, metrics
from groundplane.runtime.queue import After, Again, Done, Outcome, Retry
from groundplane.runtime.waiting import Target, Waiting

TIMEOUT = 120.0  # seconds for one reconcile, as upstream's composite controller has it
AGAIN = 0.1  # seconds until a reconcile is repeated that was only overtaken by somebody's change, doubled each time in a row
LONGEST_AGAIN = 30.0  # seconds
STUBBORN = 10  # conflicts in a row that are told: no race lasts so long
RECHECK_INVALID = 300.0  # seconds until input that was refused is looked at again, unedited
RECHECK_DENIED = 60.0  # seconds until refused credentials are tried again

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class Controller:
    """A reconciler and how its errors are told."""

    name: str  # also its queue's
    reconcile: Callable[[Key, Context], Awaitable[Result]]
    source: Callable[[Key, Context], str]  # component of its events
    reason: str  # of a Warning event whose error names none
    has_synced: bool = True  # upstream's kind has Synced; else it is only added where we help
    has_ready: bool = True
    ours_ready: bool = False  # upstream's kind has no Ready, where we help it has: False beside each error
    failure: Callable[[Object, str], Condition] = lambda obj, text: conditions.reconcile_error(text)
    workers: int = 10
    max_backoff: float = 60.0  # seconds
    poll_rate: float = lanes.RATE  # polls that begin each second at most; fewer where a look costs the event loop more
    annotations: Callable[[Object, Context], Mapping[str, str]] = lambda obj, context: {}  # of its events
    share: Callable[[Object], str] | None = None  # whose an object is: no one's reconciles may hold all workers


@dataclass(frozen=True)
class _Conflicts:
    times: int = 0  # in a row
    told: str = ""  # the last one's text, if it was told


class Engine:
    """Runs one reconcile at a time per key (the queue sees to that) and reports how it went."""

    def __init__(self, controllers: Sequence[Controller], context: Context) -> None:
        self.context = context
        self.controllers = {controller.name: controller for controller in controllers}
        self.waiting = Waiting()
        self._conflicts: dict[Target, _Conflicts] = {}

    async def process(self, name: str, key: Key) -> Outcome:
        """Reconcile one object once, and say when to come back."""
        controller = self.controllers[name]
        started, since = time.perf_counter(), self.waiting.now()
        self.waiting.forget((name, key))  # it decides anew
        outcome = "success"
        try:
            with logs.bound(controller=name, key=str(key)), own_writes.running((name, key)):
                try:
                    async with asyncio.timeout(TIMEOUT):
                        result = await controller.reconcile(key, self.context)
                except TimeoutError:
                    error: Exception = Unavailable(f"reconciling took longer than {TIMEOUT:.0f} seconds")
                except Exception as raised:  # noqa: BLE001 - the one place where everything is caught
                    error = raised
                else:
                    self._conflicts.pop((name, key), None)
                    if result.again:
                        return Again()
                    return Done() if result.requeue_after is None else After(result.requeue_after)
                outcome = type(error).__name__
                return await self._handle(controller, key, error, since)
        finally:
            metrics.reconciles.labels(controller=name, outcome=outcome).inc()
            metrics.reconcile_seconds.labels(controller=name).observe(time.perf_counter() - started)

    def forget(self, key: Key) -> None:
        """The object is gone: so is what is remembered of its failures and wishes."""
        for name in self.controllers:
            self.waiting.forget((name, key))
            self._conflicts.pop((name, key), None)
        self.context.interests.set(key, ())
        self.context.accounts.forget(key)
        self.context.followers.set(key, "")

    async def _handle(self, controller: Controller, key: Key, error: Exception, since: int) -> Outcome:
        target = (controller.name, key)
        if isinstance(error, Busy):
            log.debug("held back", error=str(error))
            return Retry(error.after)
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
            error = _stubborn(error)
        else:
            self._conflicts.pop(target, None)
        if not isinstance(error, GroundplaneError):
            log.exception("internal error", error=error)
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
                fate = _fate(error)
        self.waiting.wait(target, error.on)
        self.context.watches.expect(error.on)
        try:
            await self._report(controller, key, error)
        except NotLeader:
            return Done()  # the Lease was lost in between
        except (Conflict, NotFound, NoSuchKind):
            return Retry()
        except (Rejected, Denied, Unavailable) as trouble:
            log.warning("status could not be written", error=str(trouble))
        return fate

    async def _report(self, controller: Controller, key: Key, error: GroundplaneError) -> None:
        """Tell the object's readers: an event, and Synced=False with the error as it is."""
        try:
            obj = await self.context.cluster.get(key)
        except TooDeep as unreadable:
            obj = unreadable.object
        if obj is None:
            return
        self.context.events.event(
            obj,
            "Warning",
            error.reason or controller.reason,
            str(error),
            source=controller.source(key, self.context),
            annotations=controller.annotations(obj, self.context),
        )
        strict = self.context.options.strict_upstream
        if controller.has_synced or not strict:
            failure = controller.failure(obj, str(error))
            told = [failure, *([conditions.unavailable()] if controller.ours_ready else []), *error.conditions]
            await self._write_conditions(obj, told, first_sight=controller.has_ready and not strict)

    async def _write_conditions(self, obj: Object, told: list[Condition], *, first_sight: bool) -> None:
        wanted = copy.deepcopy(obj)
        if first_sight and conditions.find(obj, "Ready") is None:
            told.insert(1, conditions.creating())
        conditions.set_on(wanted, *told, now=self.context.now(), generation=self.context.observed_generation(obj))
        await self.context.cluster.update(wanted, subresource="status")


def _stubborn(error: Exception) -> Unavailable:
    """What is told of a conflict that no fresh read ends: a webhook that answers 409, or somebody who never stops writing."""
    return Unavailable(
        f"{STUBBORN} conflicts in a row: {error}",
        mend="look for a webhook that answers 409, or for another program that keeps writing the object",
    )


def _fate(error: GroundplaneError) -> Outcome:
    if error.after is not None:
        return Retry(error.after)
    if isinstance(error, InvalidInput):
        return Retry(RECHECK_INVALID)
    if isinstance(error, Denied):
        return Retry(RECHECK_DENIED)
    return Retry()
