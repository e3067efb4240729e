"""The kinds that informers follow: what we write, that is composed kinds; connection Secrets; and what somebody waits for.

Of what is only waited for, and of Secrets that hold no connection details, no more than metadata comes and is kept: names, labels, owners.
Of kinds that Kubernetes has built in, only what carries a composite's label comes: the ConfigMaps and Deployments of everybody else are none of our business.
Where somebody takes that label off, the object leaves the watch; its owner is told so, and puts it back.
A kind that is wanted is followed once it is served, dropped when it vanishes, and picked up again when it returns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial

from groundplane.cluster.cache import Cache, Change
from groundplane.cluster.client import Api
from groundplane.cluster.informer import Informer
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core import activation, operations, providers, usages
from groundplane.core.connection import SECRET_TYPE
from groundplane.core.naming import COMPOSITE_LABEL
from groundplane.core.objects import group_of
from groundplane.errors import Awaited, GroundplaneError, NoSuchKind
from groundplane.ports import Cloud, Resource
from groundplane.reconcile import predecessor
from groundplane.runtime import logs, metrics
from groundplane.runtime.served import CRDS, Crd, ServedKinds, version_of
from groundplane.runtime.tasks import detached, within

SECRETS = Resource("v1", "Secret", "secrets", namespaced=True, has_status=False)
MANAGED_DEFINITIONS = (activation.VERSION, activation.DEFINITION)

PATIENCE = 10.0  # seconds to wait for the first list of a composed kind; reads go to the API server until it is there
RESTART = 30.0  # seconds until an informer that broke is started again
UNWANTED = 700.0  # seconds after which what was waited for is followed no more; who waits asks again within 300, or 360
SILENT = 150.0  # seconds without even a bookmark (one a minute) after which a watch counts as dead

log = logs.get_logger(__name__)


@dataclass
class _Informed:
    """A kind that an informer follows."""

    informer: Informer
    expected: float = 0.0  # when somebody waited for it last, by the monotonic clock; 0: it is followed for good
    task: asyncio.Task[None] | None = None
    awaited: bool = False  # somebody waited for its first list, successfully or not
    is_part: bool = False  # only composed resources of it come


class Informers:
    """Which kinds informers follow, from when to when."""

    def __init__(
        self,
        api: Api,
        cluster: KubernetesCluster,
        cache: Cache,
        cloud: Cloud,
        served: ServedKinds,
        tell: Callable[[Change, bool], None],
        on_crd: Callable[[Change], None],
        is_declared: Callable[[str, str], bool],
        secret_namespaces: Collection[str] = (),
    ) -> None:
        """`tell` gets each change, and whether it is only what was found at the start; `on_crd` those of the definitions.

        `is_declared(group, kind)`: a definition brings that kind into being, so it is not ours to follow.

        `secret_namespaces`: the only ones whose Secrets are followed; none: all are.
        """
        self._api, self._cluster, self._cache, self._cloud, self._served = api, cluster, cache, cloud, served
        self._tell, self._is_declared = tell, is_declared
        self._wanted: set[tuple[str, str]] = set()  # kinds to be followed when they are served
        self._informed: dict[tuple[str, str], _Informed] = {}
        self._glanced: dict[tuple[str, str], list[_Informed]] = {}  # of which only metadata comes
        self._metadata = cluster.metadata
        self._looking: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._secret_namespaces = tuple(secret_namespaces) or ("",)
        ours = f"type={SECRET_TYPE}"
        self._secrets = [
            _Informed(
                Informer(
                    api, SECRETS, cache, self._on_secret, field_selector=ours, namespace=each, on_denied=_tell_denied
                )
            )
            for each in self._secret_namespaces
        ]
        self._crds = _Informed(Informer(api, CRDS, cache, on_crd, large=True, on_denied=_tell_denied))
        self._stopping = False

    async def find_kinds(self) -> None:
        """Follow the CustomResourceDefinitions; returns when the API server has said which there are."""
        self._start(self._crds)
        while not await within(PATIENCE, self._crds.informer.synced):
            log.warning("still waiting for the list of kinds", problem=self._crds.informer.problem)

    def start(self) -> None:
        """Follow what is followed from the start: connection Secrets, usages of objects and of ProviderConfigs, managed
        definitions, what Crossplane may have left of packages, and what the cloud has."""
        for informed in self._secrets:
            self._start(informed)
        self._wanted.update(
            (
                *providers.usages(),
                *providers.collections(),
                *usages.KINDS,
                *operations.KINDS,
                *predecessor.KINDS,
                MANAGED_DEFINITIONS,
            )
        )
        self._wanted.update(
            wanted for kind in self._cloud.kinds() if (wanted := self._canonical(kind.api_versions[0], kind.kind))
        )
        for api_version, kind in sorted(self._wanted):
            self._inform_if_served(api_version, kind)

    def unlisted(self) -> list[str]:
        """The kinds of which the first list is still coming; one that can't be listed is not waited for."""
        listing = [each for each in self._all_informed() if each.task and not each.task.done()]
        informers = [informed.informer for informed in listing]
        return [each.resource.plural for each in informers if not each.synced.is_set() and not each.problem]

    async def stop(self) -> None:
        """Follow nothing any more."""
        self._stopping = True
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        for informed in self._all_informed():
            informed.informer.stop()
            if informed.task:
                tasks.append(informed.task)
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def knows_kinds(self) -> bool:
        """Whether the CustomResourceDefinitions have been listed."""
        return self._crds.informer.synced.is_set()

    def problem(self) -> str:
        """Which watch must be considered dead; "" if all live.  What waits for the API server, lives."""
        now = time.monotonic()
        for informed in self._all_informed():
            informer = informed.informer
            if informed.task and not informer.problem and now - informer.last_seen > SILENT:
                return f"nothing heard of {informer.resource.plural} for {now - informer.last_seen:.0f} s"
        return ""

    async def ensure(self, kinds: Iterable[tuple[str, str]], *, whole: bool = False) -> None:
        """Follow kinds, as (api version, kind); returns when they have been listed once, or that takes too long.

        Of a kind that Kubernetes has built in, there may be thousands of others' objects: only what is composed comes, unless
        it is wanted `whole`.
        """
        fresh = []
        for api_version, kind in kinds:
            informed = await self._ensure_one(api_version, kind, whole=whole)
            if informed and not informed.awaited:
                fresh.append(informed)
        for informed in fresh:
            if not await within(PATIENCE, informed.informer.synced):
                informer = informed.informer
                log.warning("kind could not be listed", kind=informer.resource.plural, problem=informer.problem)
            informed.awaited = True

    def expect(self, awaited: Iterable[Awaited]) -> None:
        """Somebody waits for these: have their metadata told for a while, unless they are followed already."""
        for group, kind in {(each.group, each.kind) for each in awaited if not each.served}:
            if place := self._unfollowed(group, kind):
                if known := self._glanced.get(place):
                    for informed in known:
                        informed.expected = informed.expected and time.monotonic()
                elif place not in self._looking:
                    self._looking[place] = detached(self._glance(place))
                    self._looking[place].add_done_callback(partial(self._looking.pop, place))

    def glanced(self) -> list[tuple[str, str]]:
        """The kinds of which only metadata is followed."""
        return sorted(self._glanced)

    def activate(self, api_version: str, kind: str) -> None:
        """The cloud has this kind from now on: follow it as the cloud's, at one version, whoever wanted it before."""
        wanted = self._canonical(api_version, kind)
        if wanted is None:
            return
        group = group_of(api_version)
        for place in [each for each in self._informed if (group_of(each[0]), each[1]) == (group, kind)]:
            if place != wanted:
                self._forget(*place)
        self._wanted.add(wanted)
        self._inform_if_served(*wanted)

    def hand_over(self, api_version: str, kind: str) -> None:
        """Somebody else follows the kind from now on, into the same cache."""
        if informed := self._informed.pop((api_version, kind), None):
            informed.informer.stop()

    def appear(self, crd: Crd) -> None:
        """A kind is new, or served differently: pick up what is wanted of it."""
        for api_version, kind in sorted(self._wanted):
            if crd.is_of(api_version, kind):
                if informed := self._informed.get((api_version, kind)):
                    informed.informer.wake()
                elif wanted := self._canonical(api_version, kind):
                    self._inform_if_served(*wanted)

    def relist(self, crd: Crd) -> None:
        """Its objects may read differently now."""
        for place, informed in self._informed.items():
            if crd.is_of(*place):
                informed.informer.relist()

    def vanish(self, crd: Crd) -> None:
        """Its objects are gone with it."""
        for api_version, kind in [place for place in self._glanced if crd.is_of(*place)]:
            self._dismiss(api_version, kind)
        for place in [place for place in self._informed if crd.is_of(*place)]:
            self._forget(*place)

    # --- inside ---------------------------------------------------------------------------------------------

    def _forget(self, api_version: str, kind: str) -> None:
        self._informed.pop((api_version, kind)).informer.stop()
        self._cache.empty(api_version, kind)
        self._cache.drop(api_version, kind)
        metrics.watches_stopped.labels(controller="shared", type="Dependency").inc()

    def _unfollowed(self, group: str, kind: str) -> tuple[str, str] | None:
        """The version and kind at which its metadata can be followed; None: it is followed as a whole, or is not served."""
        crd = self._served.declaring(f"{group}/", kind)
        if crd is None:
            is_built_in = "." not in group or group.endswith(".k8s.io")
            versions = [f"{group}/v1" if group else "v1"] if is_built_in else []
        else:
            versions = [f"{group}/{version}" for version, _ in crd.versions if crd.established]
        if not versions or any(self._cache.follows(version, kind) for version in versions):
            return None
        return versions[0], kind

    async def _glance(self, place: tuple[str, str]) -> None:
        try:
            resource = await self._cluster.resource(*place)
        except GroundplaneError:
            return  # it is not served, or nobody knows just now: who waits comes back
        self._follow_metadata(resource, time.monotonic())

    def _follow_metadata(self, resource: Resource, expected: float) -> None:
        """`expected` 0 means for good."""
        place = (resource.api_version, resource.kind)
        if known := self._glanced.get(place):
            for informed in known:
                informed.expected = min(informed.expected, expected)
            return
        is_secret = place == (SECRETS.api_version, SECRETS.kind)
        rest = f"type!={SECRET_TYPE}" if is_secret else ""
        part = self._informed.get(place)
        others = f"!{COMPOSITE_LABEL}" if part and part.is_part else ""
        informers = [
            Informer(
                self._api,
                resource,
                self._metadata,
                self._on_glance,
                field_selector=rest,
                label=others,
                namespace=namespace,
                metadata_only=True,
                on_denied=_tell_denied,
            )
            for namespace in (self._secret_namespaces if is_secret else ("",))
        ]
        self._glanced[place] = [_Informed(informer, expected) for informer in informers]
        for informed in self._glanced[place]:
            self._start(informed)
        self._retire(place)
        metrics.watches_started.labels(controller="shared", type="Metadata").inc()

    def _retire(self, place: tuple[str, str]) -> None:
        """Stop what nobody has waited for for long."""
        informed = self._glanced.get(place)
        if not informed or not informed[0].expected or self._stopping:
            return
        if (left := informed[0].expected + UNWANTED - time.monotonic()) > 0:
            asyncio.get_running_loop().call_later(left, self._retire, place)
        else:
            self._dismiss(*place)

    def _dismiss(self, api_version: str, kind: str) -> None:
        if known := self._glanced.pop((api_version, kind), None):
            for informed in known:
                informed.informer.stop()
            self._metadata.drop(api_version, kind)
            metrics.watches_stopped.labels(controller="shared", type="Metadata").inc()

    def _on_glance(self, change: Change) -> None:
        known = self._glanced.get(change.key[:2]) or ()
        self._cluster.changed(change.key)
        self._tell(change, not all(informed.informer.synced.is_set() for informed in known))

    async def _ensure_one(self, api_version: str, kind: str, *, whole: bool) -> _Informed | None:
        if (api_version, kind) == (SECRETS.api_version, SECRETS.kind):
            self._follow_metadata(SECRETS, 0.0)  # whose data is none of our business
            return None
        wanted = self._canonical(api_version, kind)
        if wanted is None:
            return None
        self._wanted.add(wanted)
        if (informed := self._informed.get(wanted)) and not (whole and informed.is_part):
            return informed
        try:
            resource = await self._cluster.resource(*wanted)
        except NoSuchKind:
            # Discovery may lag behind the definition, which we know already: then the informer tries until it is served.
            self._inform_if_served(*wanted)
            return self._informed.get(wanted)
        return self._inform(resource, whole=whole)

    def _canonical(self, api_version: str, kind: str) -> tuple[str, str] | None:
        """The one version at which a kind is to be followed by an informer; None: not at all.

        One object under two versions would be two keys, reconciled side by side.
        """
        group = group_of(api_version)
        if self._is_declared(group, kind):
            return None
        if managed := self._cloud.kind(api_version, kind):
            crd = self._served.named(group, managed.plural)
            versions = [each for each in managed.api_versions if group_of(each) == group]
            served = [each for each in versions if crd and crd.serves(version_of(each))]
            return (served or versions)[0], kind
        for usage in usages.KINDS:
            if (group, kind) == (group_of(usage[0]), usage[1]):
                return usage
        return api_version, kind

    def _inform_if_served(self, api_version: str, kind: str) -> None:
        """Start an informer for a kind of which there is a CustomResourceDefinition."""
        crd = self._served.declaring(api_version, kind)
        if crd and crd.serves(version_of(api_version)):
            self._inform(Resource(api_version, kind, crd.plural, crd.namespaced))

    def _inform(self, resource: Resource, *, whole: bool = True) -> _Informed:
        kind = (resource.api_version, resource.kind)
        known = self._informed.get(kind)
        if known and not (whole and known.is_part):
            return known
        if known:  # what is in the cache already stays, and the list of all comes on top of it
            known.informer.stop()
        is_part = not whole and self._served.declaring(*kind) is None
        label = COMPOSITE_LABEL if is_part else ""
        if not is_part:
            self._dismiss(*kind)
        large = kind == MANAGED_DEFINITIONS  # each has all of a CustomResourceDefinition
        informer = Informer(
            self._api, resource, self._cache, self._on_composed, label=label, large=large, on_denied=_tell_denied
        )
        self._informed[kind] = _Informed(informer)
        self._informed[kind].is_part = is_part
        self._start(self._informed[kind])
        metrics.watches_started.labels(controller="shared", type="Dependency").inc()
        return self._informed[kind]

    def _start(self, informed: _Informed) -> None:
        if self._stopping:
            return
        informed.task = detached(informed.informer.run())
        informed.task.add_done_callback(partial(self._ended, informed))

    def _ended(self, informed: _Informed, task: asyncio.Task[None]) -> None:
        """An informer does not end by itself; one that breaks is started again, not at once."""
        if not task.cancelled() and (error := task.exception()):
            log.exception("informer broke", error=error, kind=informed.informer.resource.plural)
            if informed in self._all_informed():
                asyncio.get_running_loop().call_later(RESTART, self._start, informed)

    def _all_informed(self) -> list[_Informed]:
        glanced = (informed for known in self._glanced.values() for informed in known)
        return [self._crds, *self._secrets, *self._informed.values(), *glanced]

    def _on_composed(self, change: Change) -> None:
        informed = self._informed.get(change.key[:2])
        self._tell(change, informed is not None and not informed.informer.synced.is_set())

    def _on_secret(self, change: Change) -> None:
        self._tell(change, not all(informed.informer.synced.is_set() for informed in self._secrets))


def _tell_denied(resource: Resource, why: str) -> None:
    """Its objects are not seen, so none of them can say it."""
    group = group_of(resource.api_version)
    log.warning("kind may not be followed", kind=f"{resource.plural}.{group}" if group else resource.plural, error=why)
