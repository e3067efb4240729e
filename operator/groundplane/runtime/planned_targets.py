"""`ports.Targets` for plans: clusters that are looked at, where writes are rehearsed at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NoReturn

from groundplane.core.objects import Json, Key, Object
from groundplane.core.usages import Referent
from groundplane.errors import InvalidInput
from groundplane.ports import Cluster, Propagation, Resource
from groundplane.runtime.targets import ClusterTargets


class PlannedTargets:
    """This cluster with what there would be in it, and others as they are."""

    def __init__(self, there: Cluster) -> None:
        """`there` is this cluster as it is."""
        self._there, self._others = there, ClusterTargets(there)
        self.peek: Callable[[Key], Object | None] = lambda key: None  # what there would be, as far as it is known

    async def here(self) -> Cluster:
        return OnlyLooks(self._there, lambda key: self.peek(key))

    async def there(self, config: str, version: str, kubeconfig: bytes, *, by_aws: bool = False) -> Cluster:
        return OnlyLooks(await self._others.there(config, version, kubeconfig, by_aws=by_aws))

    def check(self, kubeconfig: bytes, *, by_aws: bool = False) -> None:
        self._others.check(kubeconfig, by_aws=by_aws)

    async def close(self) -> None:
        """Close all connections."""
        await self._others.close()


class OnlyLooks:
    """`ports.Cluster` that changes nothing: of all writes, an apply may be rehearsed."""

    def __init__(self, cluster: Cluster, peek: Callable[[Key], Object | None] = lambda key: None) -> None:
        """What `peek` has is as it would be, unless the API server itself is to be asked."""
        self._cluster, self._peek = cluster, peek

    async def resource(self, api_version: str, kind: str) -> Resource:
        return await self._cluster.resource(api_version, kind)

    async def get(self, key: Key, *, live: bool = False) -> Object | None:
        if not live and (found := self._peek(key)):
            return found
        return await self._cluster.get(key, live=live)

    async def referenced(self, key: Key) -> Object | None:
        return await self.get(key)

    async def count(self, api_version: str, kind: str, label: tuple[str, str]) -> int:
        return await self._cluster.count(api_version, kind, label)

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        controller: str = "",
    ) -> list[Object]:
        return await self._cluster.list(api_version, kind, namespace=namespace, labels=labels, controller=controller)

    async def heads(
        self, api_version: str, kind: str, cut: Callable[[Object], Object], *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        return await self._cluster.heads(api_version, kind, cut, labels=labels)

    async def dependents(self, group: str, kind: str) -> Sequence[Object]:
        return await self._cluster.dependents(group, kind)

    async def usages_of(self, used: Referent) -> Sequence[Key]:
        return await self._cluster.usages_of(used)

    async def create(self, obj: Object) -> Object:
        _refuse()

    async def update(self, obj: Object, *, subresource: Literal["", "status"] = "") -> Object:
        _refuse()

    async def apply(
        self, obj: Object, *, manager: str, subresource: Literal["", "status"] = "", dry_run: bool = False
    ) -> Object:
        if not dry_run:
            _refuse()
        return await self._cluster.apply(obj, manager=manager, subresource=subresource, dry_run=True)

    async def patch(
        self,
        key: Key,
        patch: Sequence[Mapping[str, Json]] | Mapping[str, Json],
        *,
        subresource: Literal["", "status"] = "",
    ) -> Object:
        _refuse()

    async def delete(self, key: Key, *, uid: str = "", propagation: Propagation | None = None) -> bool:
        _refuse()


def _refuse() -> NoReturn:
    raise InvalidInput("nothing is changed here: this only looks")
