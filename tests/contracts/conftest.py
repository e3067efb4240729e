"""The adapters of the Cluster port, for the suites that every one of them must pass.

A new adapter is one more context manager in `ADAPTERS`, that yields it ready for use.
"""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.credentials import Access, load
from groundplane.cluster.informer import Informer
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import Key
from groundplane.errors import AlreadyExists, NoSuchKind
from groundplane.ports import Cluster, Resource

DEADLINE = 180.0  # seconds for what a real API server does in its own time; its collector learns of kinds every 30
GROUP = "shared.example.org"  # of the Widgets that all tests share, so that the collector learns of them once

WIDGET = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "string", "enum": ["small", "large"], "default": "small"},
                "count": {"type": "integer", "minimum": 0},
                "note": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "rules": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"from": {"type": "string"}, "to": {"type": "string"}}},
                },
                "settings": {"type": "object", "additionalProperties": {"type": "string"}},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "number": {"type": "integer", "default": 80},
                            "limits": {"type": "object", "additionalProperties": {"type": "string"}},
                        },
                    },
                },
                "colours": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": {"type": "string"},
                "address": {"type": "string"},
                "conditions": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                    "items": {
                        "type": "object",
                        "required": ["type", "status"],
                        "properties": {name: {"type": "string"} for name in ("type", "status", "reason")},
                    },
                },
            },
        },
    },
}


def definition(group: str, kind: str, plural: str, *, scope: str = "Namespaced", status: bool = True) -> dict[str, Any]:
    """A CustomResourceDefinition with two served versions of the same schema."""
    version = {"served": True, "storage": False, "schema": {"openAPIV3Schema": copy.deepcopy(WIDGET)}}
    if status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural},
            "versions": [version | {"name": "v1", "storage": True}, version | {"name": "v1beta1"}],
        },
    }


@dataclass
class Place:
    """An adapter, with an API group and a namespace of the test's own."""

    cluster: Cluster
    group: str
    namespace: str

    def widget(self, name: str = "one", **fields: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace} | fields.pop("metadata", {})
        return {"apiVersion": f"{self.group}/v1", "kind": "Widget", "metadata": metadata} | fields

    def key(self, name: str = "one", kind: str = "Widget", version: str = "v1") -> Key:
        namespace = "" if kind == "Rack" else self.namespace
        return Key(f"{self.group}/{version}", kind, namespace, name)

    def secret(self, name: str = "one", **fields: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.namespace}} | fields

    def config_map(self, name: str = "one", **fields: Any) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
        } | fields

    async def install(self, kind: str, plural: str, **how: Any) -> None:
        await self.cluster.create(definition(self.group, kind, plural, **how))
        await self.served(kind)

    async def served(self, kind: str) -> None:
        async def listed() -> bool:
            try:
                await self.cluster.list(f"{self.group}/v1", kind)
            except NoSuchKind:
                return False
            return True

        await eventually(listed, f"{kind} is served")

    async def gone(self, *keys: Key) -> None:
        for key in keys:

            async def absent(key: Key = key) -> bool:
                return await self.cluster.get(key, live=True) is None

            await eventually(absent, f"{key} is gone")


async def eventually(holds: Callable[[], Awaitable[Any]], what: str) -> None:
    """Poll until it holds: a real API server's controllers work in their own time."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE} s: {what}") from None


@asynccontextmanager
async def sqlite(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    store = SqliteCluster()
    try:
        yield store
    finally:
        store.close()


@asynccontextmanager
async def kubernetes(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    api = Api(load(str(request.getfixturevalue("control_plane").kubeconfig)))
    try:
        yield KubernetesCluster(api, Cache())
    finally:
        await api.close()


class Following(KubernetesCluster):
    """Follows every kind that it is asked for, so that reads come from the cache."""

    def __init__(self, access: Access) -> None:
        super().__init__(Api(access, on_request=self._saw), Cache())
        self._informers: dict[tuple[str, str], tuple[Informer, asyncio.Task[None]]] = {}
        self._watched: set[str] = set()

    def _saw(self, verb: str, resource: str, status: int, seconds: float) -> None:
        if verb == "watch":
            self._watched.add(resource.partition(".")[0])

    async def resource(self, api_version: str, kind: str) -> Resource:
        resource = await super().resource(api_version, kind)
        if (api_version, kind) not in self._informers:
            informer = Informer(self._api, resource, self._cache, lambda _: None)
            self._informers[api_version, kind] = informer, asyncio.create_task(informer.run())
            await informer.synced.wait()
            # A connection that is cancelled while it comes about is never closed (asyncio of Python 3.11).
            await eventually(partial(self._is_watched, resource), f"{resource.plural} are watched")
        return resource

    async def _is_watched(self, resource: Resource) -> bool:
        return resource.plural in self._watched

    async def close(self) -> None:
        for informer, task in self._informers.values():
            informer.stop()
            await task
        await self._api.close()


@asynccontextmanager
async def followed(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    cluster = Following(load(str(request.getfixturevalue("control_plane").kubeconfig)))
    try:
        yield cluster
    finally:
        await cluster.close()


Adapter = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Cluster]]
ADAPTERS: dict[str, Adapter] = {"sqlite": sqlite, "kubernetes": kubernetes, "followed": followed}
MARKS = {"kubernetes": pytest.mark.cluster, "followed": pytest.mark.cluster}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in ADAPTERS])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    async with ADAPTERS[request.param](request) as adapter:
        yield adapter


@pytest.fixture
async def bare(cluster: Cluster) -> Place:
    """A namespace and a group in which nothing is defined yet."""
    own = uuid.uuid4().hex[:8]
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns-{own}"}})
    return Place(cluster, f"g{own}.example.org", f"ns-{own}")


@pytest.fixture
async def place(bare: Place) -> Place:
    """A namespace of its own for Widgets, which are namespaced and have a status subresource."""
    bare.group = GROUP
    with suppress(AlreadyExists):
        await bare.cluster.create(definition(GROUP, "Widget", "widgets"))
    await bare.served("Widget")
    return bare


@pytest.fixture
async def collected(place: Place) -> Place:
    """Where garbage is collected: an object whose owner never was has just vanished."""
    nobody = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "name": "nobody", "uid": str(uuid.uuid4())}
    await place.cluster.create(place.widget("probe", metadata={"ownerReferences": [nobody]}))
    await place.gone(place.key("probe"))
    return place
