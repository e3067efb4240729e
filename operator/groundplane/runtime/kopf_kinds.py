"""The kinds that kopf follows, and the lists of them: what people write, that is the static kinds, claims and composites.

kopf's events feed the cache.  It tells of nothing that vanished while it did not look, so whenever it lists a kind, so do we.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from groundplane.cluster.cache import Cache, Change, Listing
from groundplane.cluster.client import Api
from groundplane.core import activation, definition, providers
from groundplane.core.objects import GroupKind, Key, Object, group_of, meta
from groundplane.errors import GroundplaneError, Unavailable
from groundplane.ports import Resource
from groundplane.runtime import logs, metrics
from groundplane.runtime.kopf_supervisor import Event, KopfSupervisor
from groundplane.runtime.served import ApiKind, Crd, ServedKinds, api_kind
from groundplane.runtime.tasks import detached, within

_CORE, _PACKAGES = "apiextensions.crossplane.io", "pkg.crossplane.io"
DEFINITIONS = Resource(f"{_CORE}/v1", "CompositeResourceDefinition", "compositeresourcedefinitions", namespaced=False)
REQUIRED = (
    DEFINITIONS,
    Resource(f"{_CORE}/v1", "Composition", "compositions", namespaced=False),
    Resource(f"{_CORE}/v1", "CompositionRevision", "compositionrevisions", namespaced=False),
)
STATIC = (
    *REQUIRED,
    Resource(f"{_CORE}/v1beta1", "EnvironmentConfig", "environmentconfigs", namespaced=False, has_status=False),
    Resource(activation.VERSION, activation.POLICY, "managedresourceactivationpolicies", namespaced=False),
    *(
        Resource(
            family.api_version,
            kind,
            providers.CONFIG_PLURALS[kind],
            namespaced=family.is_namespaced and kind == providers.CONFIG,
        )
        for family in providers.FAMILIES
        for kind in family.config_kinds
    ),
    Resource(f"{_PACKAGES}/v1", "Provider", "providers", namespaced=False),
    Resource(f"{_PACKAGES}/v1", "Configuration", "configurations", namespaced=False),
    Resource(f"{_PACKAGES}/v1", "Function", "functions", namespaced=False),
)

PAGE = "100"  # objects of one answer to a list; a revision may have a hundred KiB
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds until a list that failed is tried again
PERSISTENT = 2.0  # seconds of pause from which on that is worth a line in the log

log = logs.get_logger(__name__)


@dataclass
class _Followed:
    """A kind that kopf follows."""

    resource: Resource
    type: str  # the metric's label
    calm: bool = True  # what comes now was only found, not changed
    listing: asyncio.Task[None] | None = None
    again: asyncio.Event = field(default_factory=asyncio.Event)  # list once more when this list is done, or has failed


class KopfKinds:
    """Which kinds kopf follows, from when to when; its events and our lists go into the cache."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        served: ServedKinds,
        tell: Callable[[Change, bool], None],
        touch: Callable[[ApiKind], Awaitable[None]],
    ) -> None:
        """`tell` gets each change, and whether it is only what was found at the start; `touch` changes a kind's definition."""
        self._api, self._cache, self._served, self._tell = api, cache, served, tell
        self.supervisor = KopfSupervisor(api, self._sink, served=served.serves, touch=touch)
        self._declared: dict[GroupKind, ApiKind] = {}  # what definitions bring, or will bring, into being
        self._followed: dict[ApiKind, _Followed] = {}
        self._audit: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Follow the static kinds; returns when the definitions have been listed.

        Before kopf's first scan, so that it finds the kinds that definitions declare wanted already.
        """
        for resource in STATIC:
            self._start(resource, "Static")
        await self._list(self._followed[api_kind(DEFINITIONS)])
        self.supervisor.start()
        self._audit = asyncio.create_task(self.supervisor.audit())

    async def stop(self) -> None:
        """Follow nothing any more."""
        self._stopping = True
        tasks = [self._audit] if self._audit else []
        tasks += [followed.listing for followed in self._followed.values() if followed.listing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.supervisor.stop()

    def unready(self) -> list[str]:
        """The static kinds without which nothing is certain, and that have not been listed yet."""
        return [
            f"{resource.plural}.{group_of(resource.api_version)}"
            for resource in STATIC
            if not self._cache.synced(resource.api_version, resource.kind)
            and (resource in REQUIRED or self._served.serves(api_kind(resource)))
        ]

    def declares(self, group: str, kind: str) -> bool:
        """Whether a definition brings this kind into being: then it is kopf's."""
        return GroupKind(group, kind) in self._declared

    def follow(self, resource: Resource, role: str) -> bool:
        """Follow a kind that a definition brought into being; whether that is new."""
        self._declared[GroupKind(group_of(resource.api_version), resource.kind)] = api_kind(resource)
        is_new = api_kind(resource) not in self._followed
        if is_new:
            self._relist(self._start(resource, "Claim" if role == "claim" else "CompositeResource"))
        return is_new

    def is_streaming(self, resource: Resource) -> bool:
        """Whether the kind has been listed and kopf has its watch open: what "watching" means in a definition's status."""
        is_listed = self._cache.synced(resource.api_version, resource.kind)
        return is_listed and self.supervisor.is_streaming(api_kind(resource))

    def unfollow(self, group: str, kind: str) -> None:
        """No more: its definition no longer brings it into being."""
        if declared := self._declared.pop(GroupKind(group, kind), None):
            self.supervisor.unwant({declared})
            self._drop(declared)

    def appear(self, crd: Crd) -> None:
        """A kind is new, or served differently: list it anew if it is followed."""
        for kind, followed in self._followed.items():
            if (kind.group, kind.plural) == (crd.group, crd.plural) and crd.serves(kind.version):
                self._relist(followed)

    def vanish(self, crd: Crd) -> None:
        """Its objects are gone with it; kopf goes on wanting what definitions declare."""
        for kind, followed in self._followed.items():
            if (kind.group, kind.plural) == (crd.group, crd.plural):
                self._cache.empty(followed.resource.api_version, followed.resource.kind)

    # --- inside ---------------------------------------------------------------------------------------------

    def _start(self, resource: Resource, type_: str) -> _Followed:
        """Have the kind cached and watched in this version, and no other of it."""
        kind = api_kind(resource)
        for other in [known for known in self._followed if (known.group, known.plural) == (kind.group, kind.plural)]:
            self.supervisor.unwant({other})  # its version is not the one that counts any more
            self._drop(other)
        followed = self._followed[kind] = _Followed(resource, type_)
        self._cache.follow(resource.api_version, resource.kind, partial(self._on_followed, followed))
        metrics.watches_started.labels(controller=_controller(followed), type=type_).inc()
        if type_ != "Static":
            metrics.controllers_started.labels(controller=_controller(followed)).inc()
        self.supervisor.want({kind})
        return followed

    def _drop(self, kind: ApiKind) -> None:
        followed = self._followed.pop(kind, None)
        if followed is None:
            return
        if followed.listing:
            followed.listing.cancel()
        self._cache.drop(followed.resource.api_version, followed.resource.kind)
        metrics.watches_stopped.labels(controller=_controller(followed), type=followed.type).inc()
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
            self._put(followed, partial(self._cache.put, obj), calm=event is None)

    def _put(self, followed: _Followed, put: Callable[[], object], *, calm: bool) -> None:
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
                self.supervisor.want({expected})

    def _relist(self, followed: _Followed) -> None:
        """Have the kind listed: kopf tells of nothing that vanished while it did not look."""
        if self._stopping:
            return
        if followed.listing and not followed.listing.done():
            followed.again.set()
        else:
            followed.listing = detached(self._list(followed))

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
                await within(pause, followed.again)  # kopf that gets through is a reason not to wait
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
                if self._served.serves(api_kind(resource)):
                    raise Unavailable(f"{resource.plural} are not served yet")
                return
            if listing is None:
                version = page["metadata"]["resourceVersion"]
                listing = self._cache.listing(resource.api_version, resource.kind, version)
            await self._cache.in_batches(page.get("items") or (), partial(self._put_listed, followed, listing))
            if not (rest := page["metadata"].get("continue")):
                break
            query["continue"] = rest
        listing.finish()

    def _put_listed(self, followed: _Followed, listing: Listing, obj: Object) -> None:
        is_first = not self._cache.synced(followed.resource.api_version, followed.resource.kind)
        self._put(followed, partial(listing.add, obj), calm=is_first)


def _controller(followed: _Followed) -> str:
    """Upstream's name of the controller that such a kind has."""
    if followed.type == "Static":
        return "shared"
    role = "claim" if followed.type == "Claim" else "composite"
    return f"{role}/{followed.resource.plural}.{group_of(followed.resource.api_version)}"
