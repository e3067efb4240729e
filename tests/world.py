"""A whole control plane in memory, run step by step: the real reconcilers, engine and routes on
`SqliteCluster(":memory:")`, with a clock that only moves when told to.

    world = World(cloud)
    await world.apply(*manifests)
    await world.settle()
"""

from __future__ import annotations

import copy
import datetime
import heapq
import itertools
import random
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import yaml

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.accounts import Accounts
from groundplane.core.activation import Policies
from groundplane.core.crds import crds as core_crds
from groundplane.core.crds.upstream import of_upstream
from groundplane.core.declared_kinds import Definitions
from groundplane.core.interests import Interests
from groundplane.core.objects import Key, key_of, meta
from groundplane.ports import Context, NoFunctions, NothingBuiltIn, Options
from groundplane.runtime import clouds, compiling
from groundplane.runtime.controllers import all_controllers
from groundplane.runtime.engine import Engine
from groundplane.runtime.queue import FIRST_AGAIN, After, Again, Held, Retry
from groundplane.runtime.routes import Routes
from groundplane.runtime.unfollowed import Unfollowed

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
BACKOFF = 5.0  # seconds of the world's clock until a retry


@cache
def definitions():
    """All CRDs, without their prose."""
    return [*core_crds(), *clouds.crds(docs=False)]


_installed: dict[bool, SqliteCluster] = {}  # stores with the CRDs, once somebody needed one: worlds begin with a copy


async def installed(*, strict_upstream: bool) -> SqliteCluster:
    if strict_upstream not in _installed:
        made = SqliteCluster(":memory:", now=Clock())
        for crd in of_upstream(definitions()) if strict_upstream else definitions():
            await made.apply(crd, manager="test")
            names, group = crd["spec"]["names"], crd["spec"]["group"]
            for version in crd["spec"]["versions"]:
                if version["served"]:
                    await made.list(f"{group}/{version['name']}", names["kind"])  # its schema is compiled
        _installed[strict_upstream] = made
    return _installed[strict_upstream]


def copy_store(source: SqliteCluster, target: SqliteCluster) -> None:
    """Have the same in another store, down to UIDs and versions."""
    source._store._db.backup(target._store._db)
    target._kinds = dict(source._kinds)  # kept by UID and version, so what was compiled holds there, too


class Clock:
    def __init__(self) -> None:
        self.moment = EPOCH

    def __call__(self) -> datetime.datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += datetime.timedelta(seconds=seconds)


@dataclass
class Told:
    """Remembers events, in order."""

    events: list[tuple[str, str, str, str]] = field(default_factory=list)  # key, type, reason, message

    def event(self, about, type_, reason, message, *, source="", annotations=None):
        entry = (str(key_of(about)), type_, reason, message)
        if entry not in self.events:
            self.events.append(entry)

    def reasons(self, kind: str) -> set[tuple[str, str]]:
        return {(type_, reason) for key, type_, reason, _ in self.events if key.startswith(f"{kind} ")}

    def text(self) -> str:
        return "\n".join(" | ".join(entry) for entry in self.events)


class NoWatches(Unfollowed):
    """The store's change feed tells of every kind; following one takes no doing."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def follow(self, api_version, kind, plural, *, namespaced, role):
        for obj in await self._world.cluster.list(api_version, kind):
            self.enqueue(key_of(obj))

    def enqueue(self, key):
        self._world.enqueue({(name, key) for name in self._world.routes.own(key)})


class World:
    """`cloud` may be None where no managed resource is reconciled; `compiled` has other functions than those built in."""

    def __init__(
        self,
        cloud=None,
        *,
        cluster=None,
        options=None,
        clock=None,
        seed=1,
        compiled=None,
        functions=None,
        built_in=None,
    ):
        self.clock = clock or Clock()
        self.cluster = cluster or SqliteCluster(":memory:", now=self.clock)
        self.told = Told()
        self.definitions = Definitions()
        self.cloud = cloud or NoCloud()
        self.random = random.Random(seed)
        self.interests = Interests()
        self.accounts = Accounts()
        self.policies = Policies()
        self.routes = Routes(
            self.definitions,
            lambda v, k: self.cloud.kind(v, k) is not None,
            self.cluster.peek,
            self.interests,
            self.accounts,
            self.cluster.speaking_of,
            self.policies,
        )
        self.context = Context(
            cluster=self.cluster,
            cloud=self.cloud,
            events=self.told,
            watches=NoWatches(self),
            now=self.clock,
            choose=self.random.randrange,
            uptime=lambda: self.clock().timestamp(),
            compiled=compiled or compiling.compiled,
            functions=functions or NoFunctions(),
            definitions=self.definitions,
            interests=self.interests,
            accounts=self.accounts,
            policies=self.policies,
            built_in=built_in or NothingBuiltIn(),
            options=options or Options(poll_interval=60.0),
        )
        self.engine = Engine(all_controllers(), self.context)
        self.installed = self.seen = (
            0  # the versions of the store up to which all are CRDs, and up to which we have looked
        )
        self.due: dict[tuple[str, Key], None] = {}
        self.later: list = []
        self._order = itertools.count()
        self._latest = {}  # of each target, the order of its last outcome

    def restarted(self, **changes) -> World:
        """A new process on the same store: all that was only in memory is gone."""
        fresh = World(
            changes.get("cloud", self.cloud),
            cluster=changes.get("cluster", self.cluster),
            options=self.context.options,
            clock=changes.get("clock", self.clock),
            seed=self.random.random(),
            functions=changes.get("functions", self.context.functions),
        )
        fresh.told = self.told
        fresh.installed = fresh.seen = self.installed
        fresh.context = fresh.engine.context = replace(fresh.context, events=self.told)
        return fresh

    def copied(self) -> World:
        """A new process on a copy of the store as it is now."""
        clock = Clock()
        clock.moment = self.clock()
        cluster = SqliteCluster(":memory:", now=clock)
        copy_store(self.cluster, cluster)
        return self.restarted(cluster=cluster, clock=clock)

    async def install(self):
        copy_store(await installed(strict_upstream=self.context.options.strict_upstream), self.cluster)
        self.installed = self.seen = self.cluster.version()
        return self

    # --- what a person does

    async def apply(self, *manifests):
        for manifest in manifests:
            await self.cluster.apply(copy.deepcopy(manifest), manager="person")

    async def patch(self, key, patch, **how):
        return await self.cluster.patch(key, patch, **how)

    async def one(self, api_version, kind, **how):
        found = await self.cluster.list(api_version, kind, **how)
        assert len(found) == 1, f"{len(found)} objects of {kind}: {[meta(o)['name'] for o in found]}"
        return found[0]

    def objects(self):
        """All that there is but the CRDs of `install`, the longest unchanged first."""
        return [change.object for change in self.cluster.changes(self.installed) if change.type != "DELETED"]

    # --- time and work

    def enqueue(self, targets):
        self.due.update(dict.fromkeys(sorted(targets)))

    def listen(self, *, during=None):
        """Enqueue whoever the changes since the last look concern; as `dispatch.py`, not the reconcile that made them."""
        for change in self.cluster.changes(self.seen):
            self.seen = change.rv
            targets = self.routes.targets(None, change.object) - {during}
            woken = self.engine.waiting.woken_by(None, change.object)
            self.enqueue({*targets, *woken.by_key, *woken.by_kind})

    async def settle(self, *, seconds=0.0, limit=2000):
        """Work until nothing is left to do now; with `seconds`, let that much time pass as well."""
        end = self.clock() + datetime.timedelta(seconds=seconds)
        for _ in range(limit):
            self.listen()
            if self.due:
                target = next(iter(self.due))
                del self.due[target]
                outcome = await self.engine.process(*target)
                self.listen(during=target)
                wait = None
                if isinstance(outcome, After):
                    wait = outcome.seconds
                elif isinstance(outcome, Again):
                    wait = FIRST_AGAIN
                elif isinstance(outcome, Held):
                    wait = outcome.after
                elif isinstance(outcome, Retry):
                    wait = BACKOFF if outcome.after is None else outcome.after
                self._latest[target] = order = next(self._order)
                if wait is not None:
                    moment = self.clock() + datetime.timedelta(seconds=wait)
                    heapq.heappush(self.later, (moment, order, target))
                continue
            if self.later and self.later[0][0] <= end:
                moment, order, target = heapq.heappop(self.later)
                if order == self._latest[target]:  # a later outcome decides anew when it is looked at
                    self.clock.moment = max(self.clock.moment, moment)
                    self.due[target] = None
                continue
            self.clock.moment = max(self.clock.moment, end)
            return self
        raise AssertionError(f"does not settle; due: {list(self.due)[:5]}")


class NoCloud:
    def kind(self, api_version, kind):
        return None

    def kinds(self):
        return []

    async def check_account(self, account):
        return None


def manifests(path: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]
