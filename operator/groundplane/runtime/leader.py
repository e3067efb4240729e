"""One writer among the replicas: the Lease that is held and renewed, and the gate that every write passes.

The Lease has the name of Crossplane's own, so that a Crossplane and we exclude each other.  Claiming and renewing have a thread, an
event loop and a connection of their own: no busy loop, full pool or empty token bucket costs the lease.  Decisions are
`election.py`'s.  Moments are CLOCK_BOOTTIME's, which goes on while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.errors import AlreadyExists, Conflict, GroundplaneError, NotFound, NotLeader, Unavailable
from groundplane.runtime import alive, logs, metrics, preflight
from groundplane.runtime.election import JITTER, Election, Standing, Terms
from groundplane.runtime.tasks import within

LEASE = preflight.LEASE
SILENCE = 30.0  # seconds without a try after which the elector counts as dead
GONE = 5.0  # seconds for its thread to end
WATCH_SECONDS = 300  # until a watch of the Lease is begun anew

log = logs.get_logger(__name__)


def boottime() -> float:
    """Seconds of a clock that never goes back and does not stop while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Gate:
    """Whether this process may write now.  Asked before every write, from any thread."""

    def __init__(self, *, is_open: bool = False) -> None:
        """Open for ever, or shut until an elector opens it for a while."""
        self.valid_until = float("inf") if is_open else float("-inf")

    def is_open(self) -> bool:
        return boottime() < self.valid_until

    def check(self) -> None:
        """Raise NotLeader if nothing may be written."""
        if not self.is_open():
            metrics.gate_refusals.inc()
            raise NotLeader("another replica may be leading")


class Elector:
    """Holds the Lease whenever it can; tells what that means.  `start` it on the main event loop."""

    def __init__(
        self,
        connect: Callable[[], Api],
        gate: Gate,
        namespace: str,
        terms: Terms,
        tell: Callable[[Standing], None],
        *,
        identity: str,
    ) -> None:
        """`connect` is called in the thread.  `tell` is called on the main event loop when the standing has changed;
        LEADS also when the gate was shut in between, however short.
        """
        self._connect, self._gate, self._namespace, self._tell = connect, gate, namespace, tell
        self._terms = terms
        self._election = Election(identity, terms)
        self._main = asyncio.get_running_loop()
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._lease: dict[str, Any] | None = None  # as it was read or written last
        self._stopping = threading.Event()
        self._wake: Callable[[], object] = lambda: None
        self._releases = False
        self._beat = boottime()
        self._told = Standing.FOLLOWS
        self._held_by = ""  # the holder when we looked last
        self._foreign_since: float | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._elect()), name="elector", daemon=True)
        metrics.leader.labels(name=LEASE).set_function(lambda: float(gate.is_open()))

    @property
    def identity(self) -> str:
        return self._election.identity

    def start(self) -> None:
        self._thread.start()

    async def stop(self, *, release: bool) -> None:
        """Write no more, and let another replica lead at once if `release`: only when nothing of ours is under way."""
        self._releases = release
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, GONE)

    def problem(self) -> str:
        """Why it must be considered dead; "" if it is not."""
        silent = boottime() - self._beat
        return f"no try for {silent:.0f} s" if self._thread.ident and silent > SILENCE + self._terms.duration else ""

    def rival(self) -> str:
        """The Crossplane that holds the Lease, "" if none does."""
        return self._election.holder if self._foreign_since is not None else ""

    def rival_seconds(self) -> float:
        """For how long it has held it before our eyes."""
        return 0.0 if self._foreign_since is None else boottime() - self._foreign_since

    # --- the thread --------------------------------------------------------------------------------------

    async def _elect(self) -> None:
        api, loop, asked = self._connect(), asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(asked.set)
        watching = asyncio.create_task(self._watch(api, asked))
        try:
            while not self._stopping.is_set():
                asked.clear()
                self._beat = boottime()
                await self._try(api)
                self._report()
                await within(self._pause(), asked)
            await self._end(api)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await api.close()

    def _pause(self) -> float:
        """Seconds until the next try, without a change of the Lease: sooner, if it gets free before."""
        if self._election.standing(boottime()) is Standing.LEADS:
            return self._terms.retry * random.uniform(1, JITTER)
        pause, free = self._terms.retry * random.uniform(0.4, 0.6), self._election.free_from - boottime()
        return min(pause, free) if free > 0 else pause

    async def _watch(self, api: Api, asked: asyncio.Event) -> None:
        """Look at once when the Lease is free, not at the next try; without a watch, or the right to one, the tries do."""
        query = {"fieldSelector": f"metadata.name={LEASE}", "timeoutSeconds": str(WATCH_SECONDS)}
        while True:
            try:
                async with aclosing(api.stream_watch(self._path, query)) as events:
                    async for type_, lease in events:
                        if type_ == "DELETED" or not (lease.get("spec") or {}).get("holderIdentity"):
                            asked.set()
            except GroundplaneError as error:
                log.debug("the Lease can't be watched", lease=LEASE, error=str(error))
            await asyncio.sleep(self._terms.retry)

    async def _try(self, api: Api) -> None:
        """Look, and claim the Lease if it may be claimed."""
        election = self._election
        try:
            if self._lease is None or election.standing(boottime()) is not Standing.LEADS:
                await self._look(api)
            if election.standing(boottime()) is not Standing.LOST and election.may_claim(boottime()):
                await self._claim(api)
        except (Conflict, AlreadyExists, NotFound):
            self._lease = None  # look again
        except Unavailable as error:
            self._lease = None
            log.warning("the Lease can't be reached", lease=LEASE, error=str(error))
        except GroundplaneError as error:
            self._lease = None
            log.error("the Lease can't be used", lease=LEASE, error=str(error))

    async def _look(self, api: Api) -> None:
        status, found = await self._send(api, "GET", f"{self._path}/{LEASE}")
        self._lease = found if status != 404 else None
        self._election.observe((self._lease or {}).get("spec") if self._lease else None, boottime())
        self._gate.valid_until = self._election.valid_until
        if self._election.holder != self.identity and alive.is_dead(self._election.holder):
            self._election.died(boottime())
        self._tell_holder()
        if self._election.foreign_changes and self._foreign_since is None:
            self._foreign_since = boottime()
            log.error("a Crossplane leads", holder=self._election.holder, mend="scale its Deployment to zero")
        elif not self._election.foreign_changes:
            self._foreign_since = None

    def _tell_holder(self) -> None:
        """Say whom we wait for, and for how long if it is dead: once for each holder."""
        holder = self._election.holder
        if holder != self._held_by and holder not in ("", self.identity):
            seconds = self._election.free_from - boottime()
            until = datetime.now(UTC) + timedelta(seconds=seconds)
            log.info(
                "standing by: another one holds the Lease",
                lease=f"{self._namespace}/{LEASE}",
                holder=holder,
                until=f"{until:%Y-%m-%dT%H:%M:%SZ} unless renewed",
            )
        self._held_by = holder

    async def _claim(self, api: Api) -> None:
        spec = self._election.claim(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        began, holder = boottime(), ((self._lease or {}).get("spec") or {}).get("holderIdentity")
        if self._lease is None:
            if not await self._create(api, spec):
                return
        else:
            status, found = await self._send(api, "PUT", f"{self._path}/{LEASE}", {**self._lease, "spec": spec})
            if status == 404:
                raise NotFound("the Lease is gone")
            self._lease = found
        if holder != self.identity:
            metrics.lease_transitions.inc()
        until = self._gate.valid_until
        self._election.granted((self._lease or {}).get("spec") or spec, began)
        self._gate.valid_until = self._election.valid_until
        if boottime() >= until:  # it was shut: what was dropped meanwhile must be looked at
            self._told = Standing.FOLLOWS

    async def _create(self, api: Api, spec: dict[str, Any]) -> bool:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": self._namespace},
            "spec": spec,
        }
        status, found = await self._send(api, "POST", self._path, body)
        if status == 404:
            await preflight.ensure_namespace(KubernetesCluster(api, Cache()), self._namespace)
            return False  # the next try finds it
        self._lease = found
        return True

    async def _end(self, api: Api) -> None:
        self._gate.valid_until = float("-inf")
        spec = self._election.release()
        if not self._releases or spec is None or self._lease is None:
            return
        try:
            await self._send(api, "PUT", f"{self._path}/{LEASE}", {**self._lease, "spec": spec})
            log.info("the Lease is released", lease=LEASE)
        except GroundplaneError as error:
            log.warning("the Lease could not be released", lease=LEASE, error=str(error))

    async def _send(self, api: Api, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request, once; nobody waits for it longer than half of what a leader has to renew."""
        try:
            async with asyncio.timeout(self._terms.deadline / 2):
                return await api.request(method, path, body=body, idempotent=False)
        except TimeoutError as error:
            raise Unavailable("the API server does not answer in time") from error

    def _report(self) -> None:
        standing = self._election.standing(boottime())
        if standing is not self._told:
            self._told = standing
            try:
                self._main.call_soon_threadsafe(self._tell, standing)
            except RuntimeError:  # the main loop has ended in between
                self._stopping.set()
