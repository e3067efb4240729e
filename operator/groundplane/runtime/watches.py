"""Which kinds are followed on a real API server: `ports.Watches`, over kopf's kinds and the informers'.

kopf follows what people write (`kopf_kinds.py`), informers what we write (`informers.py`).  Both feed the cache, and
its changes go to `tell`.  The CustomResourceDefinitions that there are (`served.py`) decide what can be followed at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from groundplane.cluster.cache import Cache, Change
from groundplane.cluster.client import MERGE_PATCH, Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.objects import Key, Object, group_of
from groundplane.errors import Awaited
from groundplane.ports import Cloud, Resource
from groundplane.runtime import logs, served
from groundplane.runtime.informers import Informers
from groundplane.runtime.kopf_kinds import KopfKinds
from groundplane.runtime.kopf_supervisor import KopfSupervisor
from groundplane.runtime.served import CRDS, ApiKind, Crd, ServedKinds, api_kind
from groundplane.runtime.tasks import detached

TOUCHED = "groundplane.io/touched"  # annotation on a CustomResourceDefinition that kopf has overlooked
PATIENCE = 10.0  # seconds to wait until a kind that a definition brought into being is followed
LISTS = 30.0  # seconds at most until the kinds that are followed from the start have been listed
SETTLE = 0.7  # seconds in which others, too, learn of a new kind: clients, replicas of the API server
# Seconds until objects are listed with a schema that has changed; twice, since a server may be late to take it.
ANEW = (SETTLE, 5.0)
GLANCE = 0.05  # seconds between two looks whether a watch is open

Tell = Callable[[Change, bool], None]  # a change; whether it is only what was found at the start

log = logs.get_logger(__name__)


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
        begin: Callable[[Object], None],
        wake: Callable[[Sequence[Key]], None],
        secret_namespaces: Collection[str] = (),
    ) -> None:
        """`tell` gets every change of every followed kind; `enqueue` has an object reconciled, `begin` one that was there before,
        `wake` many of them.

        `secret_namespaces`: the only ones whose Secrets are followed; none: all are.
        """
        self._api, self._cluster, self._cache, self._tell = api, cluster, cache, tell
        self._enqueue, self._begin, self._wake = enqueue, begin, wake
        self._served = ServedKinds()
        self._kopf = KopfKinds(api, cache, self._served, tell, self._touch)
        self._informers = Informers(
            api, cluster, cache, cloud, self._served, tell, self._on_crd, self._kopf.declares, secret_namespaces
        )
        self._readings: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def supervisor(self) -> KopfSupervisor:
        return self._kopf.supervisor

    async def start(self) -> None:
        """Follow everything that is followed from the start.  Waits until the API server has said which kinds there are."""
        await self._informers.find_kinds()
        await self._kopf.start()
        self._informers.start()

    async def stop(self) -> None:
        """Follow nothing any more."""
        self._stopping = True
        for reading in self._readings:
            reading.cancel()
        await self._informers.stop()
        await self._kopf.stop()

    def unready(self) -> list[str]:
        """The kinds without which nothing is certain, and that have not been listed yet."""
        return ([] if self._informers.knows_kinds else [CRDS.plural]) + self._kopf.unready()

    async def listed(self) -> None:
        """Wait until what is followed has been listed, or takes too long, so that reconciles read the cache and not the API server."""
        end = asyncio.get_running_loop().time() + LISTS
        while (unlisted := self._informers.unlisted()) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(GLANCE)
        if unlisted:
            log.warning("working before all is listed", kinds=", ".join(unlisted))

    def serves(self, resource: Resource) -> bool:
        """Whether the API server serves a kind that has a CustomResourceDefinition."""
        return self._served.serves(api_kind(resource))

    def definition(self, name: str) -> Crd | None:
        """The CustomResourceDefinition of that name, "<plural>.<group>", as it is now."""
        plural, _, group = name.partition(".")
        return self._served.named(group, plural)

    def activate(self, api_version: str, kind: str) -> None:
        """The cloud has this kind from now on."""
        self._informers.activate(api_version, kind)

    def glanced(self) -> list[tuple[str, str]]:
        """The kinds, as (api version, kind), of which only metadata is followed."""
        return self._informers.glanced()

    def problem(self) -> str:
        """Which source of events must be considered dead; "" if all live."""
        return self._informers.problem() or self.supervisor.problem()

    # --- the port ---------------------------------------------------------------------------------------

    async def ensure(self, kinds: Iterable[tuple[str, str]], *, whole: bool = False) -> None:
        await self._informers.ensure(kinds, whole=whole)

    def expect(self, awaited: Sequence[Awaited]) -> None:
        self._informers.expect(awaited)

    async def follow(self, api_version: str, kind: str, plural: str, *, namespaced: bool, role: str) -> None:
        resource = Resource(api_version, kind, plural, namespaced=namespaced)
        self._informers.hand_over(api_version, kind)
        is_new = self._kopf.follow(resource, role)
        end = time.monotonic() + PATIENCE
        while not self._kopf.is_streaming(resource) and time.monotonic() < end and not self._stopping:
            await asyncio.sleep(GLANCE)
        if is_new:
            await asyncio.sleep(SETTLE)

    def unfollow(self, api_version: str, kind: str) -> None:
        self._kopf.unfollow(group_of(api_version), kind)

    def enqueue(self, key: Key) -> None:
        self._enqueue(key)

    def enqueue_listed(self, obj: Object) -> None:
        self._begin(obj)

    def wake(self, keys: Sequence[Key]) -> None:
        self._wake(keys)

    # --- inside ---------------------------------------------------------------------------------------------

    def _on_crd(self, change: Change) -> None:
        obj = change.new or change.old
        crd = served.read(obj) if obj else None
        if crd is None:
            return
        if change.new is None:
            self._served.drop(crd)
            self._cache.alike(crd.group, crd.kind, ())
            self._cluster.forget(crd.group)
            self._informers.vanish(crd)
            self._kopf.vanish(crd)
        else:
            self._take(crd)
        self._tell(change, not self._informers.knows_kinds)

    def _take(self, crd: Crd) -> None:
        before = self._served.take(crd)
        if before != crd:
            self._cache.alike(crd.group, crd.kind, crd.alike)
            self._cluster.forget(crd.group)
            self._informers.appear(crd)
            self._kopf.appear(crd)
        if before is not None and before.schema != crd.schema:
            task = detached(self._read_anew(crd))
            self._readings.add(task)
            task.add_done_callback(self._readings.discard)

    async def _read_anew(self, crd: Crd) -> None:
        """The schema has changed, so objects may have other defaults: no watch tells of that."""
        for pause in ANEW:
            await asyncio.sleep(pause)
            for api_version, kind in self._cache.count():
                if crd.is_of(api_version, kind):
                    self._cache.outdate(api_version, kind)
            self._informers.relist(crd)
            self._kopf.appear(crd)

    async def _touch(self, kind: ApiKind) -> None:
        """Change the CustomResourceDefinition a little: kopf looks at a group when one of its definitions changes."""
        path = f"/apis/{CRDS.api_version}/{CRDS.plural}/{kind.plural}.{kind.group}"
        log.info("kopf is pointed at a kind", kind=f"{kind.plural}.{kind.group}")
        for value in (str(time.time_ns()), None):  # the second patch leaves nothing behind
            body = {"metadata": {"annotations": {TOUCHED: value}}}
            await self._api.request("PATCH", path, body=body, content_type=MERGE_PATCH)
