"""Which kinds are followed on a real API server, by whom, and from when to when.

kopf follows what people write: the static kinds, claims and composites.  Informers follow what we write: composed kinds, and
beside them CustomResourceDefinitions, connection Secrets and usages of ProviderConfigs.  Both feed the cache, and
its changes go to `tell`, so moving a kind from one to the other is one line.  The CustomResourceDefinitions that there are
decide what can be followed at all; a kind that vanishes is dropped, and picked up again when it returns.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from groundplane.cluster.cache import Cache, Change
from groundplane.cluster.client import MERGE_PATCH, Api
from groundplane.cluster.informer import Informer
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core import conditions, definition
from groundplane.core.objects import GroupKind, Key, Object, group_of, meta, spec_of
from groundplane.errors import GroundplaneError, NoSuchKind, Unavailable
from groundplane.ports import Cloud, Resource
from groundplane.runtime import logs, metrics
from groundplane.runtime.handlers import ApiKind, Event, KopfSource

CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
SECRETS = Resource("v1", "Secret", "secrets", namespaced=True, has_status=False)
CONNECTION = "type=connection.crossplane.io/v1alpha1"  # the field selector of connection Secrets

_CORE, _PACKAGES, _AWS = "apiextensions.crossplane.io", "pkg.crossplane.io", "aws.upbound.io"
DEFINITIONS = Resource(f"{_CORE}/v1", "CompositeResourceDefinition", "compositeresourcedefinitions", namespaced=False)
REQUIRED = (
    DEFINITIONS,
    Resource(f"{_CORE}/v1", "Composition", "compositions", namespaced=False),
    Resource(f"{_CORE}/v1", "CompositionRevision", "compositionrevisions", namespaced=False),
)
STATIC = (
    *REQUIRED,
    Resource(f"{_CORE}/v1beta1", "EnvironmentConfig", "environmentconfigs", namespaced=False, has_status=False),
    Resource(f"{_AWS}/v1beta1", "ProviderConfig", "providerconfigs", namespaced=False),
    Resource(f"{_PACKAGES}/v1", "Provider", "providers", namespaced=False),
    Resource(f"{_PACKAGES}/v1", "Configuration", "configurations", namespaced=False),
    Resource(f"{_PACKAGES}/v1", "Function", "functions", namespaced=False),
)
USAGES = (f"{_AWS}/v1beta1", "ProviderConfigUsage")

TOUCHED = "groundplane.io/touched"  # annotation on a CustomResourceDefinition that kopf has overlooked
PAGE = "500"  # objects of one answer to a list
BREATH = 100  # objects after which others get their turn
PATIENCE = 10.0  # seconds to wait for the first list of a composed kind; reads go to the API server until it is there
SETTLE = 0.7  # seconds in which others, too, learn of a new kind: clients, replicas of the API server
GLANCE = 0.05  # seconds between two looks whether a watch is open
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds until a list that failed is tried again
PERSISTENT = 2.0  # seconds of pause from which on that is worth a line in the log
RESTART = 30.0  # seconds until an informer that broke is started again
SILENT = 150.0  # seconds without even a bookmark (one a minute) after which a watch counts as dead

Tell = Callable[[Change, bool], None]  # a change; whether it is only what was found at the start

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class _Crd:
    """What matters of a CustomResourceDefinition."""

    group: str
    kind: str
    plural: str
    namespaced: bool
    established: bool
    versions: tuple[tuple[str, bool], ...]  # those that are served, and whether they have the status subresource

    def serves(self, version: str) -> bool:
        return self.established and any(version == name for name, _ in self.versions)


@dataclass
class _Followed:
    """A kind that kopf follows."""

    resource: Resource
    type: str  # the metric's label
    calm: bool = True  # what comes now was only found, not changed
    listing: asyncio.Task[None] | None = None
    again: asyncio.Event = field(default_factory=asyncio.Event)  # list once more when this list is done, or has failed


@dataclass
class _Informed:
    """A kind that an informer follows."""

    informer: Informer
    task: asyncio.Task[None] | None = None
    awaited: bool = False  # somebody waited for its first list, successfully or not


class KubernetesWatches:
    """`ports.Watches` on a real API server.  `start` it before the first reconcile; it belongs to that event loop."""

    def __init__(
        self,
        api: Api,
        cluster: KubernetesCluster,
        cache: Cache,
        cloud: Cloud,
        tell: Tell,
        enqueue: Callable[[Key], None],
    ) -> None:
        """`tell` gets every change of every followed kind; `enqueue` has an object reconciled."""
        self._api, self._cluster, self._cache, self._cloud = api, cluster, cache, cloud
        self._tell, self._enqueue = tell, enqueue
        self.source = KopfSource(api, self._sink, served=self._served, touch=self._touch)
        self._crds: dict[tuple[str, str], _Crd] = {}  # by group and plural
        self._declared: dict[GroupKind, ApiKind] = {}  # what definitions bring, or will bring, into being
        self._followed: dict[ApiKind, _Followed] = {}
        self._wanted: set[tuple[str, str]] = set()  # kinds for informers, to be started when they are served
        self._informed: dict[tuple[str, str], _Informed] = {}
        self._secrets = _Informed(Informer(api, SECRETS, cache, self._on_secret, field_selector=CONNECTION))
        self._definitions = _Informed(Informer(api, CRDS, cache, self._on_crd))
        self._audit: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Follow everything that is followed from the start.  Waits until the API server has said which kinds there are."""
        self._run(self._definitions)
        while not await _within(PATIENCE, self._definitions.informer.synced):
            log.warning("still waiting for the list of kinds", problem=self._definitions.informer.problem)
        for resource in STATIC:
            self._follow(resource, "Static", now=False)
        # Before kopf's first scan, so that it finds the kinds that definitions declare wanted already.
        await self._list(self._followed[_api_kind(DEFINITIONS)])
        self.source.start()
        self._audit = asyncio.create_task(self.source.audit())
        self._run(self._secrets)
        self._wanted.add(USAGES)
        self._wanted.update(
            wanted for kind in self._cloud.kinds() if (wanted := self._canonical(kind.api_versions[0], kind.kind))
        )
        for api_version, kind in sorted(self._wanted):
            self._inform_if_served(api_version, kind)

    async def stop(self) -> None:
        """Follow nothing any more."""
        self._stopping = True
        tasks = [self._audit] if self._audit else []
        for followed in self._followed.values():
            if followed.listing:
                tasks.append(followed.listing)
        for task in tasks:
            task.cancel()
        for informed in self._all_informed():
            informed.informer.stop()
            if informed.task:
                tasks.append(informed.task)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.source.stop()

    def unready(self) -> list[str]:
        """The kinds without which nothing is certain, and that have not been listed yet."""
        missing = [] if self._definitions.informer.synced.is_set() else [CRDS.plural]
        for resource in STATIC:
            kind = _api_kind(resource)
            if self._cache.synced(resource.api_version, resource.kind):
                continue
            if resource in REQUIRED or self._served(kind):
                missing.append(f"{kind.plural}.{kind.group}")
        return missing

    def serves(self, resource: Resource) -> bool:
        """Whether the API server serves a kind that has a CustomResourceDefinition."""
        return self._served(_api_kind(resource))

    def problem(self) -> str:
        """Which source of events must be considered dead; "" if all live.  What waits for the API server, lives."""
        now = time.monotonic()
        for informed in self._all_informed():
            informer = informed.informer
            if informed.task and not informer.problem and now - informer.last_seen > SILENT:
                return f"nothing heard of {informer.resource.plural} for {now - informer.last_seen:.0f} s"
        return self.source.problem()

    # --- the port ---------------------------------------------------------------------------------------

    async def ensure(self, kinds: Iterable[tuple[str, str]]) -> None:
        fresh = []
        for api_version, kind in kinds:
            informed = await self._ensure_one(api_version, kind)
            if informed and not informed.awaited:
                fresh.append(informed)
        for informed in fresh:
            if not await _within(PATIENCE, informed.informer.synced):
                informer = informed.informer
                log.warning("kind could not be listed", kind=informer.resource.plural, problem=informer.problem)
            informed.awaited = True

    async def follow(self, api_version: str, kind: str, plural: str, *, namespaced: bool, role: str) -> None:
        resource = Resource(api_version, kind, plural, namespaced=namespaced)
        self._declared[GroupKind(group_of(api_version), kind)] = _api_kind(resource)
        is_new = _api_kind(resource) not in self._followed
        self._follow(resource, "Claim" if role == "claim" else "CompositeResource")
        end = time.monotonic() + PATIENCE
        while not self._is_streaming(resource) and time.monotonic() < end and not self._stopping:
            await asyncio.sleep(GLANCE)
        if is_new:
            await asyncio.sleep(SETTLE)

    def _is_streaming(self, resource: Resource) -> bool:
        """Whether the kind has been listed and kopf has its watch open: what "watching" means in a definition's status."""
        return self._cache.synced(resource.api_version, resource.kind) and self.source.is_streaming(_api_kind(resource))

    def unfollow(self, api_version: str, kind: str) -> None:
        declared = self._declared.pop(GroupKind(group_of(api_version), kind), None)
        if declared:
            self.source.unwant({declared})
            self._unfollow(declared)

    def enqueue(self, key: Key) -> None:
        self._enqueue(key)

    # --- what kopf follows ------------------------------------------------------------------------------

    def _follow(self, resource: Resource, type_: str, *, now: bool = True) -> None:
        kind = _api_kind(resource)
        if kind in self._followed:
            return
        for other in [known for known in self._followed if (known.group, known.plural) == (kind.group, kind.plural)]:
            self.source.unwant({other})  # its version is not the one that counts any more
            self._unfollow(other)
        if informed := self._informed.pop((resource.api_version, resource.kind), None):
            informed.informer.stop()
        followed = self._followed[kind] = _Followed(resource, type_)
        self._cache.follow(resource.api_version, resource.kind, partial(self._on_followed, followed))
        metrics.watches_started.labels(type=type_).inc()
        if type_ != "Static":
            metrics.controllers_started.labels(controller=_controller(followed)).inc()
        self.source.want({kind})
        if now:
            self._relist(followed)

    def _unfollow(self, kind: ApiKind) -> None:
        followed = self._followed.pop(kind, None)
        if followed is None:
            return
        if followed.listing:
            followed.listing.cancel()
        self._cache.drop(followed.resource.api_version, followed.resource.kind)
        metrics.watches_stopped.labels(type=followed.type).inc()
        if followed.type != "Static":
            metrics.controllers_stopped.labels(controller=_controller(followed)).inc()

    def _sink(self, kind: ApiKind, event: Event, obj: Object | None) -> None:
        """What kopf tells, on this event loop."""
        followed = self._followed.get(kind)
        if followed is None or self._stopping:
            return
        if obj is None:
            self._relist(followed)
        elif event == "DELETED":
            metadata = meta(obj)
            key = Key(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "", metadata["name"])
            self._cache.remove(key, metadata["resourceVersion"], uid=metadata["uid"])
        else:
            self._take(followed, partial(self._cache.put, obj), calm=event is None)

    def _take(self, followed: _Followed, put: Callable[[], object], *, calm: bool) -> None:
        followed.calm = calm
        try:
            put()
        finally:
            followed.calm = False

    def _on_followed(self, followed: _Followed, change: Change) -> None:
        if followed.resource is DEFINITIONS and change.new is not None:
            self._expect(change.new)
        self._tell(change, followed.calm)

    def _expect(self, xrd: Object) -> None:
        """Have kopf want the kinds that a definition declares before they come into being."""
        declared = definition.read(xrd)
        kinds = [(declared.kind, declared.plural), (declared.claim_kind or "", declared.claim_plural or "")]
        for kind, plural in kinds:
            if kind and plural and declared.version:
                expected = ApiKind(declared.group, declared.version, plural)
                self._declared[GroupKind(declared.group, kind)] = expected
                self.source.want({expected})

    def _relist(self, followed: _Followed) -> None:
        """Have the kind listed: kopf tells of nothing that vanished while it did not look."""
        if self._stopping:
            return
        if followed.listing and not followed.listing.done():
            followed.again.set()
        else:
            followed.listing = _detached(self._list(followed))

    async def _list(self, followed: _Followed) -> None:
        """Take the kind's list into the cache, however often it takes; a kind that is not served has no objects."""
        pause = FIRST_PAUSE
        while True:
            followed.again.clear()
            try:
                await self._list_once(followed)
            except GroundplaneError as error:
                if pause > PERSISTENT:
                    log.warning("kind can't be listed", kind=followed.resource.plural, error=str(error))
                await _within(pause, followed.again)  # kopf that gets through is a reason not to wait
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            if not followed.again.is_set():
                return

    async def _list_once(self, followed: _Followed) -> None:
        resource, listing, query = followed.resource, None, {"limit": PAGE}
        while True:
            path = f"/apis/{resource.api_version}/{resource.plural}"
            status, page = await self._api.request("GET", path, query=query)
            if status == 404 or page is None:
                self._cache.empty(resource.api_version, resource.kind)
                if self._served(_api_kind(resource)):
                    raise Unavailable(f"{resource.plural} are not served yet")
                return
            if listing is None:
                version = page["metadata"]["resourceVersion"]
                listing = self._cache.listing(resource.api_version, resource.kind, version)
            for count, obj in enumerate(page.get("items") or (), start=1):
                is_first = not self._cache.synced(resource.api_version, resource.kind)
                self._take(followed, partial(listing.add, obj), calm=is_first)
                if count % BREATH == 0:
                    await asyncio.sleep(0)
            if not (rest := page["metadata"].get("continue")):
                break
            query["continue"] = rest
        listing.finish()

    # --- what informers follow ------------------------------------------------------------------------------

    async def _ensure_one(self, api_version: str, kind: str) -> _Informed | None:
        wanted = self._canonical(api_version, kind)
        if wanted is None:
            return None
        self._wanted.add(wanted)
        if informed := self._informed.get(wanted):
            return informed
        try:
            resource = await self._cluster.resource(*wanted)
        except NoSuchKind:
            return None
        return self._inform(resource)

    def _canonical(self, api_version: str, kind: str) -> tuple[str, str] | None:
        """The one version at which a kind is to be followed by an informer; None: not at all.

        One object under two versions would be two keys, reconciled side by side.
        """
        group = group_of(api_version)
        if (api_version, kind) == (SECRETS.api_version, SECRETS.kind) or GroupKind(group, kind) in self._declared:
            return None  # of Secrets only those with connection details are followed: the rest is none of our business
        if managed := self._cloud.kind(api_version, kind):
            crd = self._crds.get((group, managed.plural))
            versions = [each for each in managed.api_versions if group_of(each) == group]
            served = [each for each in versions if crd and crd.serves(_version(each))]
            return (served or versions)[0], kind
        return api_version, kind

    def _inform_if_served(self, api_version: str, kind: str) -> None:
        """Start an informer for a kind of which there is a CustomResourceDefinition."""
        for crd in self._crds.values():
            if (crd.group, crd.kind) == (group_of(api_version), kind) and crd.serves(_version(api_version)):
                self._inform(Resource(api_version, kind, crd.plural, crd.namespaced))

    def _inform(self, resource: Resource) -> _Informed:
        kind = (resource.api_version, resource.kind)
        if kind not in self._informed:
            informer = Informer(self._api, resource, self._cache, self._on_composed)
            self._informed[kind] = _Informed(informer)
            self._run(self._informed[kind])
            metrics.watches_started.labels(type="ComposedResource").inc()
        return self._informed[kind]

    def _run(self, informed: _Informed) -> None:
        if self._stopping:
            return
        informed.task = _detached(informed.informer.run())
        informed.task.add_done_callback(partial(self._ended, informed))

    def _ended(self, informed: _Informed, task: asyncio.Task[None]) -> None:
        """An informer does not end by itself; one that breaks is started again, not at once."""
        if not task.cancelled() and (error := task.exception()):
            log.exception("informer broke", error=error, kind=informed.informer.resource.plural)
            if informed in self._all_informed():
                asyncio.get_running_loop().call_later(RESTART, self._run, informed)

    def _all_informed(self) -> list[_Informed]:
        return [self._definitions, self._secrets, *self._informed.values()]

    def _on_composed(self, change: Change) -> None:
        informed = self._informed.get(change.key[:2])
        self._tell(change, informed is not None and not informed.informer.synced.is_set())

    def _on_secret(self, change: Change) -> None:
        self._tell(change, not self._secrets.informer.synced.is_set())

    # --- which kinds there are ------------------------------------------------------------------------------

    def _on_crd(self, change: Change) -> None:
        obj = change.new or change.old
        crd = _read(obj) if obj else None
        if crd is None:
            return
        place = (crd.group, crd.plural)
        before = self._crds.get(place)
        if change.new is None:
            self._crds.pop(place, None)
            self._cluster.forget(crd.group)
            self._vanish(crd)
        elif before != crd:
            self._crds[place] = crd
            self._cluster.forget(crd.group)
            self._appear(crd)
        self._tell(change, not self._definitions.informer.synced.is_set())

    def _appear(self, crd: _Crd) -> None:
        """A kind is new or served differently: pick up what is wanted of it."""
        for api_version, kind in sorted(self._wanted):
            if (group_of(api_version), kind) == (crd.group, crd.kind):
                if informed := self._informed.get((api_version, kind)):
                    informed.informer.wake()
                elif wanted := self._canonical(api_version, kind):
                    self._inform_if_served(*wanted)
        for kind_, followed in self._followed.items():
            if (kind_.group, kind_.plural) == (crd.group, crd.plural) and crd.serves(kind_.version):
                self._relist(followed)

    def _vanish(self, crd: _Crd) -> None:
        """Its objects are gone with it.  Informers end; kopf goes on wanting what definitions declare."""
        for api_version, kind in list(self._informed):
            if (group_of(api_version), kind) == (crd.group, crd.kind):
                self._informed.pop((api_version, kind)).informer.stop()
                self._cache.empty(api_version, kind)
                self._cache.drop(api_version, kind)
                metrics.watches_stopped.labels(type="ComposedResource").inc()
        for known, followed in self._followed.items():
            if (known.group, known.plural) == (crd.group, crd.plural):
                self._cache.empty(followed.resource.api_version, followed.resource.kind)

    def _served(self, kind: ApiKind) -> bool:
        crd = self._crds.get((kind.group, kind.plural))
        return crd is not None and crd.serves(kind.version)

    async def _touch(self, kind: ApiKind) -> None:
        """Change the CustomResourceDefinition a little: kopf looks at a group when one of its definitions changes."""
        path = f"/apis/{CRDS.api_version}/{CRDS.plural}/{kind.plural}.{kind.group}"
        log.info("kopf is pointed at a kind", kind=f"{kind.plural}.{kind.group}")
        for value in (str(time.time_ns()), None):  # the second patch leaves nothing behind
            body = {"metadata": {"annotations": {TOUCHED: value}}}
            await self._api.request("PATCH", path, body=body, content_type=MERGE_PATCH)


def _detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task in a context of its own: it outlives the reconcile that called for it, and must not count as part of it."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Wait for an event, but no longer than so; whether it came."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _read(crd: Object) -> _Crd | None:
    spec = spec_of(crd)
    names = spec.get("names") or {}
    if not (spec.get("group") and names.get("kind") and names.get("plural")):
        return None
    return _Crd(
        group=spec["group"],
        kind=names["kind"],
        plural=names["plural"],
        namespaced=spec.get("scope") == "Namespaced",
        established=conditions.is_true(crd, "Established"),
        versions=tuple(
            (version["name"], "status" in (version.get("subresources") or {}))
            for version in spec.get("versions") or ()
            if version.get("served")
        ),
    )


def _api_kind(resource: Resource) -> ApiKind:
    return ApiKind(group_of(resource.api_version), _version(resource.api_version), resource.plural)


def _version(api_version: str) -> str:
    return api_version.rpartition("/")[2]


def _controller(followed: _Followed) -> str:
    """Upstream's name of the controller that such a kind has."""
    role = "claim" if followed.type == "Claim" else "composite"
    return f"{role}/{followed.resource.plural}.{group_of(followed.resource.api_version)}"
