"""The operator as a whole: everything wired, started, and ended in order.

On the first SIGTERM or SIGINT: not ready any more, nothing new is begun, what runs may finish, events are written, watches
and sessions are closed.  The second one ends the process at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

from groundplane import __version__
from groundplane.aws.cloud import AwsCloud
from groundplane.cluster.cache import Cache, Change
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.objects import Key
from groundplane.errors import GroundplaneError, Unavailable
from groundplane.ports import Context, Definitions
from groundplane.runtime import logs, metrics, preflight
from groundplane.runtime.controllers import all_controllers
from groundplane.runtime.dispatch import Dispatcher
from groundplane.runtime.engine import Engine
from groundplane.runtime.events import EventRecorder
from groundplane.runtime.health import Health
from groundplane.runtime.kopf_kinds import REQUIRED
from groundplane.runtime.local import compiled
from groundplane.runtime.routes import Routes
from groundplane.runtime.settings import Settings
from groundplane.runtime.watches import KubernetesWatches

DRAIN, FLUSH = 0.6, 0.15  # shares of the grace period; the rest is for watches and sessions
KNOCK = 5.0  # seconds between two attempts to reach the API server at the start

log = logs.get_logger(__name__)


async def run(settings: Settings) -> int:
    """Work until a signal comes; the exit code.

    Raises:
        InvalidInput: no usable kubeconfig, or a Crossplane is at work in the cluster.
        Denied: no usable credentials.
    """
    logs.configure(settings.log_format, settings.log_level)
    api = Api.connect(
        settings.kubeconfig or None,
        settings.context or None,
        qps=settings.qps,
        burst=settings.burst,
        on_request=metrics.request_made,
    )
    try:
        return await Operator(api, settings).run()
    finally:
        await api.close()


class Operator:
    """One operator on one API server."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api, self._settings = api, settings
        self._cache = Cache()
        self._cluster = KubernetesCluster(api, self._cache)
        self._threads = ThreadPoolExecutor(settings.aws_threads, thread_name_prefix="aws")
        self._cloud = AwsCloud(self._threads, strict_upstream=settings.strict_upstream, namespace=settings.namespace)
        self._events = EventRecorder(self._cluster, _now)
        self._watches = KubernetesWatches(
            api, self._cluster, self._cache, self._cloud, self._tell, lambda key: self._dispatcher.enqueue(key)
        )
        definitions = Definitions()
        context = Context(
            cluster=self._cluster,
            cloud=self._cloud,
            events=self._events,
            watches=self._watches,
            now=_now,
            choose=secrets.randbelow,
            compiled=compiled,
            definitions=definitions,
            options=settings.options,
        )
        routes = Routes(
            definitions, lambda v, k: self._cloud.kind(v, k) is not None, self._cache.get, context.interests
        )
        self._dispatcher = Dispatcher(
            Engine(all_controllers(), context), routes, peek=self._cache.get, exists=self._exists
        )
        self._is_working = False

    async def run(self) -> int:
        """Until a signal comes, or something breaks that must not: the exit code."""
        health = Health(
            live={"watches": self._watches.problem},
            ready={"kinds": lambda: ", ".join(self._watches.unready()), "engine": self._check_working},
            host=self._settings.health_host,
            port=self._settings.health_port,
            before_metrics=self._count_objects,
        )
        with _stop_signals() as stop:
            async with health:
                log.info("starting", version=__version__, server=self._api.server, health_port=health.port)
                working = asyncio.create_task(self._work())
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                log.info("stopping")
                await self._shut_down(working)
        error = None if working.cancelled() else working.exception()
        if isinstance(error, GroundplaneError):
            raise error
        if error:
            log.exception("the operator broke", error=error)
            return 1
        return 0

    async def _work(self) -> None:
        await self._reach_cluster()
        await self._watches.start()
        missing = [resource.plural for resource in REQUIRED if not self._watches.serves(resource)]
        if missing:
            log.error(
                "the cluster lacks our kinds; waiting for them", kinds=", ".join(missing), mend="kubectl apply -f crds/"
            )
        gc.collect()
        gc.freeze()  # what is here now stays: no need to look through it again and again
        gc.set_threshold(50_000, 50, 100)
        log.info("working")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatcher.run())
            group.create_task(self._events.run())
            self._is_working = True

    async def _reach_cluster(self) -> None:
        """Look whether we may start; wait for an API server that isn't there yet."""
        while True:
            try:
                if not self._settings.force:
                    await preflight.refuse_rivals(self._cluster, _now())
                await preflight.ensure_namespace(self._cluster, self._settings.namespace)
                return
            except Unavailable as error:
                log.warning("waiting for the API server", error=str(error))
                await asyncio.sleep(KNOCK)

    async def _shut_down(self, working: asyncio.Task[None]) -> None:
        grace = self._settings.shutdown_grace
        self._is_working = False
        if late := await self._dispatcher.drain(DRAIN * grace):
            log.warning("reconciles were cancelled", count=late)
        await self._events.flush(FLUSH * grace)
        await self._watches.stop()
        working.cancel()
        await asyncio.wait({working})
        # A call to AWS can't be cancelled; whoever ends the process need not wait for it.
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _tell(self, change: Change, idle: bool) -> None:
        self._dispatcher.dispatch(change.old, change.new, idle=idle)

    def _exists(self, key: Key) -> bool:
        return self._cache.has(key)

    def _check_working(self) -> str:
        return "" if self._is_working else "not working"

    def _count_objects(self) -> None:
        metrics.objects.clear()
        for (api_version, kind), count in self._cache.count().items():
            metrics.objects.labels(kind=f"{api_version}, Kind={kind}").set(count)


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event that the first signal sets."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def ask(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _now() -> datetime:
    return datetime.now(UTC)
