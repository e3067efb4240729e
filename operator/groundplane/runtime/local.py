"""A control plane in one process on one SQLite file: the store's change feed → the queues.  `groundplane up` and the demo.

async with LocalControlPlane("groundplane.db") as plane:
    await plane.cluster.apply(manifest, manager="me")
    await plane.idle()
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.cluster.store import Change
from groundplane.core.crds import crds as core_crds
from groundplane.core.crds.upstream import of_upstream
from groundplane.core.declared_kinds import Definitions
from groundplane.core.objects import Key, Object, key_of
from groundplane.functions import HOW_HERE
from groundplane.ports import Cloud, Context, Options
from groundplane.remote.runner import Runner
from groundplane.remote.turns import Slices
from groundplane.runtime import clouds, initial, logs, metrics
from groundplane.runtime.aside import Aside
from groundplane.runtime.compiling import compiled
from groundplane.runtime.controllers import all_controllers
from groundplane.runtime.dispatch import Dispatcher
from groundplane.runtime.engine import Engine
from groundplane.runtime.events import EventRecorder
from groundplane.runtime.routes import Routes
from groundplane.runtime.targets import ClusterTargets
from groundplane.runtime.unfollowed import Unfollowed

INSTALLER = "groundplane"  # field manager of the CRDs that we bring

log = logs.get_logger(__name__)


def brought(options: Options) -> list[Object]:
    """The definitions that every store has."""
    every = [*core_crds(), *clouds.crds(docs=False, nop_scope=options.nop_scope)]  # nobody reads prose out of a store
    return list(of_upstream(every)) if options.strict_upstream else every


class LocalWatches(Unfollowed):
    """The store's change feed tells of every kind: to follow one is to look at what is there already."""

    def __init__(self, plane: LocalControlPlane) -> None:
        self._plane = plane

    async def follow(self, api_version: str, kind: str, plural: str, *, namespaced: bool, role: str) -> None:
        for obj in await self._plane.cluster.list(api_version, kind):
            self._plane.dispatcher.enqueue(key_of(obj), idle=True)

    def enqueue(self, key: Key) -> None:
        self._plane.dispatcher.enqueue(key)

    def enqueue_listed(self, obj: Object) -> None:
        self._plane.dispatcher.begin(obj)

    def wake(self, keys: Sequence[Key]) -> None:
        self._plane.dispatcher.wake(keys)


class LocalControlPlane:
    """Everything wired on one SQLite file.  Use it as an async context manager."""

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        options: Options | None = None,
        cloud: Cloud | None = None,
        cluster: SqliteCluster | None = None,
    ) -> None:
        self.cluster = cluster or SqliteCluster(path)
        # one process at a time uses a store: a create that was begun is never still under way
        options = replace(options or Options(), create_wait=0.0)
        self.targets = ClusterTargets(self.cluster)
        self.cloud = cloud or clouds.every(
            strict_upstream=options.strict_upstream, namespace=options.namespace, targets=self.targets
        )
        self.definitions = Definitions()
        slices = Slices()
        self.work = Aside(slices)
        self.functions = Runner(
            slices=slices,
            strict_upstream=options.strict_upstream,
            on_call=metrics.function_called,
            on_output=lambda name, line: log.info("a function writes", function=name, line=line),
        )
        self.events = EventRecorder(self.cluster, _now)
        self.context = Context(
            cluster=self.cluster,
            cloud=self.cloud,
            events=self.events,
            watches=LocalWatches(self),
            now=_now,
            choose=secrets.randbelow,
            compiled=partial(compiled, how=HOW_HERE, templates=options.templates),
            functions=self.functions,
            work=self.work,
            collected=self.cloud if isinstance(self.cloud, clouds.Clouds) else None,
            definitions=self.definitions,
            options=options,
            is_waiting=lambda key: self.dispatcher.is_waiting(key),
        )
        self.engine = Engine(all_controllers(), self.context)
        self.routes = Routes(
            self.definitions,
            lambda version, kind: self.cloud.kind(version, kind) is not None,
            self.cluster.peek,
            self.context.interests,
            self.context.accounts,
            self.cluster.speaking_of,
            self.context.policies,
        )
        self._seen = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> LocalControlPlane:
        for crd in brought(self.context.options):
            await self.cluster.apply(crd, manager=INSTALLER)
        await initial.make(self.cluster)
        self.dispatcher = Dispatcher(self.engine, self.routes, peek=self.cluster.peek)
        self.cluster.wrote = self._wrote
        self._tasks = [
            asyncio.create_task(self.dispatcher.run()),
            asyncio.create_task(self.events.run()),
            asyncio.create_task(self._follow()),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.dispatcher.drain(10.0)
        await self.events.flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.functions.close()
        if isinstance(self.cloud, clouds.Clouds):
            await self.cloud.close()
        await self.targets.close()
        self.work.close()
        self.cluster.close()

    async def idle(self, seconds: float = 30.0) -> bool:
        """Wait until nothing is queued or running (delayed polls do not count); False if that takes too long."""
        try:
            async with asyncio.timeout(seconds):
                while self._seen < self.cluster.version() or not self.dispatcher.is_idle():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    async def _follow(self) -> None:
        while True:
            self._tell(self.cluster.changes(self._seen))
            await self.cluster.watch(self._seen)

    def _wrote(self, since: int, changes: Sequence[Change]) -> None:
        """Tell of a write of this process where it happens, so that no reconcile is run again for what it wrote.

        Unless another process wrote as well: then `_follow` tells of everything.
        """
        if since == self._seen:
            self._tell(changes)

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._seen = max(self._seen, change.rv)
            gone = change.type == "DELETED"
            self.dispatcher.dispatch(change.object if gone else None, None if gone else change.object)


def _now() -> datetime:
    return datetime.now(UTC)
