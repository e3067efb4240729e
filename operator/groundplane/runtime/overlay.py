"""What would come of a change: the real reconcilers on a copy of what is there, in memory.

The copy holds what was loaded into it and no more.  Managed resources are reconciled only where a cloud is given that does nothing; of itself
no cloud is called.  Its clock begins now and moves only as far as retries need.  Source: author-tools specification, §0 and §3.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from groundplane.cluster import own_writes
from groundplane.cluster.kinds import BUILT_IN, Kind
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import applied, schema
from groundplane.core.declared_kinds import Definitions
from groundplane.core.objects import Key, Object, group_of, is_deleting, key_of, merge_patched, meta
from groundplane.core.rules import Unchecked
from groundplane.errors import GroundplaneError, InvalidInput, NoSuchKind
from groundplane.functions import HOW_HERE
from groundplane.ports import (
    Account,
    Cloud,
    Context,
    Creation,
    Default,
    Functions,
    ManagedKind,
    NoFunctions,
    Observation,
    Options,
)
from groundplane.runtime.compiling import compiled
from groundplane.runtime.controllers import all_controllers
from groundplane.runtime.engine import Engine
from groundplane.runtime.queue import After, Again, Held, Outcome, Retry
from groundplane.runtime.routes import Routes
from groundplane.runtime.unfollowed import Unfollowed

MANAGER = "groundplane-diff"
COMPOSITE = "composite"  # the controller that composes
MANAGED = "managed"  # that which calls a cloud
AT_ONCE = 16  # of its reconciles
ROUNDS = 20  # times that one object is reconciled until it swings
PATIENCE = 30.0  # seconds of the overlay's clock: what waits longer waits for something outside
HIDDEN = frozenset(
    {"Event", "CompositionRevision", "CustomResourceDefinition", "Namespace", "Lease"}
    | {"ProviderRevision", "FunctionRevision", "ConfigurationRevision"}
)

Way = Literal["added", "modified", "removed"]


MADE_UP = "00000000-0000-4000-8000-"  # how the UIDs begin of what is not there yet


@dataclass(frozen=True)
class Change:
    """An object that would be otherwise."""

    kind: Way
    key: Key
    old: Object | None
    new: Object | None
    local: bool = False  # an API server was to try it, and could not


class Copy(SqliteCluster):
    """What was loaded, in memory; what is made in it has UIDs that tell so.  Remembers which kinds somebody asked for in vain."""

    def __init__(self, there: Iterable[tuple[str, str]] = (), *, of_cluster: bool = False) -> None:
        """`there`: group and kind of all that the source serves; `of_cluster`: that is an API server."""
        numbers = itertools.count()
        super().__init__(new_uid=lambda: f"{MADE_UP}{next(numbers):012d}")
        self.keeps_all = of_cluster
        self.missed: set[tuple[str, str]] = set()  # group and kind
        self._there = frozenset(there)

    def _known(self) -> Iterable[tuple[str, str]]:
        return {*super()._known(), *self._there}

    def faults(self, applied: Object) -> list[schema.Fault]:
        """All that is wrong with what somebody applies, by its kind's schema: an apply tells misspelt fields, and nothing else then."""
        key = key_of(applied)
        if (key.api_version, key.kind) in BUILT_IN:
            return []
        kind, live = self._kind(key.api_version, key.kind).compiled, self.peek(key)
        stored = schema.prune(kind, schema.default(kind, merge_patched(live or {}, applied)))
        shape, rules = schema.faults_and_broken_rules(kind, stored, live, unchecked=Unchecked())
        return [*schema.undeclared(kind, applied), *shape, *rules]

    def _kind(self, api_version: str, kind: str) -> Kind:
        try:
            return super()._kind(api_version, kind)
        except NoSuchKind:
            self.missed.add((group_of(api_version), kind))
            raise


class Overlay(Unfollowed):
    """A copy of what is there, that may be changed."""

    def __init__(
        self, cluster: Copy, *, options: Options, functions: Functions | None = None, cloud: Cloud | None = None
    ) -> None:
        """`cluster` is the copy, in memory; `cloud` one that does nothing that it is asked to do."""
        self.cluster = cluster
        self._now = datetime.now(UTC)
        self._random = random.Random(1)
        self._seen = 0
        self._due: dict[tuple[str, Key], None] = {}
        self._later: list[tuple[datetime, int, tuple[str, Key]]] = []
        self._order = itertools.count()
        self._base: dict[Key, Object] = {}
        self.appliers: dict[Key, str] = {}  # as which field manager what was there has been applied, by place
        definitions = Definitions()
        cloud = cloud or NoCloud()
        self.admits: Callable[[str, Key], bool] = lambda controller, key: True  # what is reconciled
        self.context = Context(
            cluster=cluster,
            cloud=cloud,
            events=self,
            watches=self,
            now=lambda: self._now,
            uptime=lambda: self._now.timestamp(),
            choose=self._random.randrange,
            draw=self._random.randrange,
            compiled=partial(compiled, how=HOW_HERE, templates=options.templates),
            functions=functions or NoFunctions(),
            definitions=definitions,
            options=options,
        )
        context = self.context
        self._routes = Routes(
            definitions,
            lambda version, kind: cloud.kind(version, kind) is not None,
            cluster.peek,
            context.interests,
            context.accounts,
            cluster.speaking_of,
            context.policies,
        )
        self._engine = Engine(all_controllers(), context)
        # What reconcilers would tell in events, by who tells it.
        self._warnings: dict[tuple[str, Key], dict[str, None]] = {}

    async def begin(self, definitions: Iterable[Key], users: Iterable[Key]) -> None:
        """Know the definitions, and of their composites and claims (`users`) what a change may concern.

        What is there after that is what changes are compared with.
        """
        self._seen = self.cluster.version()
        for keys in (definitions, users):  # whose a composite is, its definition says
            for key in keys:
                self.enqueue(key)
            await self.settle()
        self._base = self._objects()
        self._warnings.clear()

    async def apply(self, obj: Object) -> None:
        """As whoever has applied it before, or as a person would.  Raises what the API server would refuse it with."""
        live = self.cluster.peek(key_of(obj)) if meta(obj).get("name") else None
        manager = MANAGER
        if live is not None:
            manager = applied.applier(live) or MANAGER
            if patch := applied.taken_out(live, obj):
                await self.cluster.patch(key_of(obj), patch)
            obj = applied.with_tools(obj, live)
            self.appliers[key_of(obj).place] = manager
        await self.cluster.apply(obj, manager=manager)

    async def remove(self, key: Key) -> None:
        """As a person would."""
        await self.cluster.delete(key)

    async def assume(self, key: Key, patch: Object) -> None:
        """Have an object otherwise, as if it had always been so."""
        changed = await self.cluster.patch(key, patch)
        self._base[key_of(changed)] = changed

    def know(self, objects: Iterable[Object], kinds: Iterable[tuple[str, str]]) -> None:
        """These have been loaded meanwhile, of kinds that somebody asked for in vain."""
        self._base |= {key_of(obj): obj for obj in objects if obj["kind"] not in HIDDEN}
        wanted = [f'no matches for kind "{kind}" in version "{group}/' for group, kind in kinds]
        for target, texts in self._warnings.items():
            self._warnings[target] = {text: None for text in texts if not any(each in text for each in wanted)}

    @property
    def warnings(self) -> dict[Key, list[str]]:
        """What reconcilers would tell of objects in events, but for what clouds said."""
        found: dict[Key, dict[str, None]] = {}
        for (controller, key), texts in self._warnings.items():
            if controller != MANAGED:
                found.setdefault(key, {}).update(texts)
        return {key: list(texts) for key, texts in found.items()}

    @property
    def base(self) -> Mapping[Key, Object]:
        """What was there in the beginning."""
        return self._base

    def changes(self) -> list[Change]:
        """What is otherwise than in the beginning, sorted: additions and changes, then removals."""
        now, found = self._objects(), []
        before = {key.place: obj for key, obj in self._base.items()}
        for key, obj in now.items():
            old = before.pop(key.place, None)
            if old is None:
                found.append(Change("added", key, None, obj))
            elif is_deleting(obj) and not is_deleting(old):
                found.append(Change("removed", key, old, None))
            elif comparable({**old, "apiVersion": key.api_version}) != comparable(obj):
                found.append(Change("modified", key, {**old, "apiVersion": key.api_version}, obj))
        found += [Change("removed", key_of(obj), obj, None) for obj in before.values()]
        return sorted(found, key=lambda change: (change.kind == "removed", change.key))

    def objects(self) -> Mapping[Key, Object]:
        """What is there now, but for what only the control plane itself is interested in."""
        return self._objects()

    def _objects(self) -> dict[Key, Object]:
        changes = self.cluster.changes(0)
        return {
            key_of(change.object): change.object
            for change in changes
            if change.type != "DELETED" and change.object["kind"] not in HIDDEN
        }

    async def settle(self) -> None:
        """Reconcile until nothing is left to do.

        Raises:
            InvalidInput: an object is changed again and again.
        """
        end, rounds = self._now + timedelta(seconds=PATIENCE), Counter[tuple[str, Key]]()
        while True:
            self._listen()
            if self._due:
                batch = self._batch()
                for target in batch:
                    del self._due[target]
                    if target[0] == COMPOSITE:
                        self._warnings.pop(target, None)  # each run of it tells all that is wrong then
                    rounds[target] += 1
                    if rounds[target] > ROUNDS:
                        raise InvalidInput(
                            f"{target[1]} is changed again and again",
                            mend="let no two things set the same field in turn",
                        )
                outcomes = await asyncio.gather(*(self._engine.process(*target) for target in batch))
                self._listen(during=batch)
                for target, outcome in zip(batch, outcomes, strict=True):
                    self._come_back(target, outcome)
            elif self._later and self._later[0][0] <= end:
                moment, _, target = heapq.heappop(self._later)
                self._now = max(self._now, moment)
                self._due[target] = None
            else:
                self._later.clear()
                return

    def _batch(self) -> list[tuple[str, Key]]:
        """What is reconciled next: one object, or several of those that wait for a cloud."""
        first = next(iter(self._due))
        if first[0] != MANAGED:
            return [first]
        return list(itertools.islice((target for target in self._due if target[0] == MANAGED), AT_ONCE))

    def _come_back(self, target: tuple[str, Key], outcome: Outcome) -> None:
        match outcome:
            case After(seconds):
                wait = seconds
            case Again() | Held():
                wait = 1.0
            case Retry(after):
                wait = 5.0 if after is None else after
            case _:
                return
        heapq.heappush(self._later, (self._now + timedelta(seconds=wait), next(self._order), target))

    def _listen(self, *, during: Sequence[tuple[str, Key]] = ()) -> None:
        """Have looked at what has changed; not by who has changed it itself."""
        alone = during[0] if len(during) == 1 else None
        for change in self.cluster.changes(self._seen) if self.cluster.version() > self._seen else ():
            self._seen = max(self._seen, change.rv)
            its_own = (MANAGED, key_of(change.object))
            woken = self._engine.waiting.woken_by(None, change.object)
            for target in (*self._routes.targets(None, change.object), *woken.by_key, *woken.by_kind):
                if target != alone and not (target == its_own and target in during) and self.admits(*target):
                    self._due[target] = None

    # --- ports.Recorder and ports.Watches

    def event(
        self,
        about: Object,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        source: str = "",
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        if type_ == "Warning":
            [teller] = own_writes.writers()
            kind, name = about["kind"], meta(about)["name"]
            text = f"{kind}/{name}: {message.removeprefix(f'{kind} {name}: ')}"
            self._warnings.setdefault(teller, {})[text] = None

    def enqueue(self, key: Key) -> None:
        self._due |= dict.fromkeys((name, key) for name in sorted(self._routes.own(key)) if self.admits(name, key))


_OURS = ("resourceVersion", "managedFields", "generation", "creationTimestamp", "uid", "selfLink")
_TOLD = (
    "conditions",
    "composed",
    "observedGeneration",
    "connectionDetails",
    "users",
    "currentRevision",
    "currentIdentifier",
)  # of a status: how it goes, not what it is


_PINNED = "compositionRevisionRef"


def comparable(obj: Object) -> Object:
    """The object without what each write changes, without the revision that follows from its Composition, and without what its
    status tells of progress.
    """
    found = {**obj, "metadata": {name: value for name, value in meta(obj).items() if name not in _OURS}}
    if isinstance(spec := obj.get("spec"), dict):
        found["spec"] = _machinery(spec)
        if isinstance(nested := spec.get("crossplane"), dict):
            found["spec"]["crossplane"] = _machinery(nested)
    if isinstance(status := found.pop("status", None), dict):
        kept = {name: value for name, value in status.items() if name not in _TOLD}
        found |= {"status": kept} if kept else {}
    return found


def _machinery(block: Mapping[str, Any]) -> dict[str, Any]:
    """Without the revision, and with what is composed in one order: which one it is tells nothing."""
    found = {name: value for name, value in block.items() if name != _PINNED}
    if isinstance(references := found.get("resourceRefs"), list):
        found["resourceRefs"] = sorted(references, key=str)
    return found


class NoCloud:
    """`ports.Cloud` that knows no kind: nothing in a cloud is looked at, or changed."""

    def kind(self, api_version: str, kind: str) -> ManagedKind | None:
        return None

    def kinds(self) -> Sequence[ManagedKind]:
        return ()

    async def check_account(self, account: Account) -> None:
        return None

    def default_external_name(self, managed: Object) -> str:
        raise _unknown(managed)

    def check(self, managed: Object) -> None:
        raise _unknown(managed)

    def defaults(self, managed: Object) -> Sequence[Default]:
        raise _unknown(managed)

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        raise _unknown(managed)

    async def find(self, managed: Object, account: Account) -> str | None:
        raise _unknown(managed)

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        raise _unknown(managed)

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        raise _unknown(managed)

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        raise _unknown(managed)

    async def let_go(self, managed: Object) -> None:
        raise _unknown(managed)


def _unknown(managed: Object) -> GroundplaneError:
    return InvalidInput(f"{key_of(managed)} is of no kind that is looked at here")
