"""From a change to the queues of the reconcilers that it calls for; the same on a cluster and on a laptop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence

from groundplane.cluster import own_writes
from groundplane.core import health
from groundplane.core.objects import Key, Object, is_deleting, key_of
from groundplane.core.turns import Lane
from groundplane.runtime import metrics
from groundplane.runtime.engine import Engine
from groundplane.runtime.queue import Handler, Queue
from groundplane.runtime.routes import Routes
from groundplane.runtime.waiting import Target

TOLD = 100  # keys of a queue, and of those that wait for something, that are named to people
SPREAD, LONGEST_SPREAD = 0.05, 300.0  # seconds for each that is woken although nothing is wrong with it, and for all
READ = "read"  # the pace at which those that read an object follow it
MANAGED = "managed"  # the controller whose polls travel together to AWS
HERD = 16  # reconciles that wait for one object and are still a person's change when it comes; more are retries


class Dispatcher:
    """One queue per controller.  Belongs to the event loop that it was made in."""

    def __init__(
        self,
        engine: Engine,
        routes: Routes,
        *,
        peek: Callable[[Key], Object | None],
        exists: Callable[[Key], bool] | None = None,
        may_work: Callable[[], bool] = lambda: True,
    ) -> None:
        """`peek` reads what is known locally, at no cost.

        `exists` tells which keys get the queues' slow resync; where it is left out, none.  While `may_work` says no, nothing is
        taken from the queues, and what is new is not even queued: whoever begins to lead enqueues everything.
        """
        self._engine, self._routes, self._may_work = engine, routes, may_work
        self._queues = {
            controller.name: Queue(
                controller.name,
                _handler(engine, controller.name),
                max_backoff=controller.max_backoff,
                poll_rate=controller.poll_rate,
                exists=exists,
                share=_said_of(controller.share, peek) if controller.share else None,
                tenant=_said_of(controller.tenant, peek),
                may_take=may_work,
            )
            for controller in engine.controllers.values()
        }

    def dispatch(self, before: Object | None, after: Object | None, *, idle: bool = False) -> None:
        """Enqueue whoever a change concerns; the reconcile that made the change itself needs no second one."""
        obj = after if after is not None else before
        if obj is None:
            return
        key = key_of(obj)
        targets = self._routes.targets(before, after)
        running = own_writes.writers()
        targets -= running
        if not running and not idle and not self._engine.context.options.strict_upstream:
            targets = self._admit(targets, before, after)
        if idle:
            self._begin(targets, key, after)
        else:
            self._add(targets, "change")
        woken = self._engine.waiting.woken_by(before, after, but=running)
        lane: Lane = "change" if len(woken.by_key) <= HERD else "retry"
        for name, waiting in woken.by_key:
            self._queues[name].wake(waiting, lane=lane)
        for name, waiting in woken.by_kind:
            self._queues[name].wake(waiting, lane="retry")
        if after is None:
            self._engine.forget(key)
            for queue in self._queues.values():
                queue.forget(key)

    def enqueue(self, key: Key, *, idle: bool = False) -> None:
        """Have an object reconciled by the controllers of its kind."""
        self._add(((name, key) for name in self._routes.own(key)), "poll" if idle else "change")

    def is_waiting(self, key: Key) -> bool:
        """Whether an object's reconcile is due, and waits for its turn, or has just begun."""
        return any(self._queues[name].is_waiting(key) for name in self._routes.own(key))

    def retry_in(self, key: Key) -> float | None:
        """Seconds until what failed of an object is tried again by itself; None if nothing is."""
        found = [self._queues[name].retry_in(key) for name in self._routes.own(key)]
        return min((seconds for seconds in found if seconds is not None), default=None)

    def begin(self, obj: Object) -> None:
        """Have an object looked at that was there before we began to work."""
        key = key_of(obj)
        self._begin({(name, key) for name in self._routes.at_first(obj)}, key, obj)

    def wake(self, keys: Sequence[Key]) -> None:
        """What these work with has changed: those that have failed are run at once, the others spread over some time."""
        if not self._may_work():
            return
        targets = [(self._queues[name], key) for key in keys for name in self._routes.own(key)]
        trying = [(queue, key) for queue, key in targets if queue.tries(key)]
        settled = [(queue, key) for queue, key in targets if not queue.tries(key)]
        lane: Lane = "change" if len(trying) <= HERD else "retry"
        for queue, key in trying:
            queue.wake(key, lane=lane)
        self._spread([target for target in settled if target[0].name != MANAGED])
        self._spread([target for target in settled if target[0].name == MANAGED], lane="poll")

    def resume(self) -> None:
        """Work may go on."""
        for queue in self._queues.values():
            queue.resume()

    def told(self) -> dict[str, dict[str, object]]:
        """How each queue stands, for people."""
        return {name: queue.told(TOLD) for name, queue in self._queues.items()}

    def told_waiting(self) -> list[dict[str, object]]:
        """Who waits for what, for people: the first of them."""
        return self._engine.waiting.told(TOLD)

    def is_idle(self) -> bool:
        """Nothing is queued or running, or follows a change by and by; what else is delayed does not count."""
        return all(queue.idle() for queue in self._queues.values())

    async def run(self) -> None:
        """Work until cancelled or drained."""
        async with asyncio.TaskGroup() as group:
            for name, queue in self._queues.items():
                group.create_task(queue.run(self._engine.controllers[name].workers))

    async def drain(self, seconds: float) -> int:
        """Take nothing more, let what runs finish, then cancel the rest: how many that were."""
        return sum(await asyncio.gather(*(queue.drain(seconds) for queue in self._queues.values())))

    def _admit(self, targets: Iterable[Target], before: Object | None, after: Object | None) -> set[Target]:
        """Whom somebody else's change concerns now; a composite that is changed too often comes later, and so do those that read what is.

        What is being deleted always counts: it must not wait for others.
        """
        context, found = self._engine.context, set[Target]()
        obj = after if after is not None else before or {}
        is_going, cost = is_deleting(obj), 2.0 if before and after else 1.0  # upstream looks at both sides of an update
        if not is_going and self._may_work():
            targets = self._paced(targets, obj)
        for name, key in targets:
            if name != "composite" or is_going or not self._may_work():
                if is_going and key == key_of(obj):
                    context.circuits.forget(key)
                found.add((name, key))
                continue
            admission = context.circuits.admit(key, _source(obj), cost, context.uptime())
            metrics.circuit_told(self._engine.upstream_name(name, key), admission)
            if admission.after:
                self._queues[name].add(key, lane="retry", after=admission.after)
            else:
                found.add((name, key))
        return found

    def _paced(self, targets: Iterable[Target], obj: Object) -> set[Target]:
        """Whom a change concerns now: those that read what changes again and again come later, and many come by and by."""
        paces, now, found = self._engine.context.paces, self._engine.context.uptime(), set(targets)
        readers = found & {target for target in self._routes.interested(obj) if target[0] != "watchoperation"}
        readers.discard(("composite", key_of(obj)))
        pause = paces.book(READ, key_of(obj), len(readers), now) if readers else 0.0
        if not pause and len(readers) <= HERD:
            return found
        self._spread([(self._queues[name], key) for name, key in readers], after=pause)
        return found - readers

    def _begin(self, targets: set[Target], key: Key, obj: Object | None) -> None:
        """Whom something concerns that is listed, not changed: at once only itself, and only if somebody waits for that.

        Else a new claim would wait for all those that are there already.
        """
        if obj is not None and health.is_awaited(obj, counted=self._engine.context.counts(obj)):
            own = {target for target in targets if target[1] == key}
            self._add(own, "change")
            targets = targets - own
        self._add(targets, "poll")

    def _spread(self, targets: Sequence[tuple[Queue, Key]], *, lane: Lane = "retry", after: float = 0.0) -> None:
        """Have many look at one change by and by: all at once they would keep the event loop, and everybody else with it, for as long."""
        seconds = min(LONGEST_SPREAD, SPREAD * len(targets))
        for queue, key in targets:
            queue.add(key, lane=lane, after=after + random.uniform(0, seconds), follows=True)

    def _add(self, targets: Iterable[Target], lane: Lane) -> None:
        if not self._may_work():
            return
        for name, key in targets:
            self._queues[name].add(key, lane=lane)


def _source(obj: Object) -> str:
    """As upstream names what changes."""
    key = key_of(obj)
    return f"{key.kind}/{key.name}" + (f" ({key.namespace})" if key.namespace else "")


def _said_of(say: Callable[[Object], str], peek: Callable[[Key], Object | None]) -> Callable[[Key], str]:
    """The same of a key; "" of what is not there."""

    def of(key: Key) -> str:
        obj = peek(key)
        return say(obj) if obj else ""

    return of


def _handler(engine: Engine, name: str) -> Handler:
    return lambda key, lane: engine.process(name, key, lane)
