"""`KubernetesWatches` on a real API server, and a person who changes things there."""

from __future__ import annotations

import asyncio
import time

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import APPLY_PATCH, MERGE_PATCH, Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core import conditions
from groundplane.core.crds import crds as core_crds
from groundplane.core.objects import Key, key_of
from groundplane.ports import Resource
from groundplane.runtime.watches import KubernetesWatches

PATIENCE = 180.0  # seconds until a state counts as one that will never come: a busy machine is no fault
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


async def eventually(what, condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.02)
    return found


async def at_rest(counts, seconds=1.0):
    """Return when nothing that `counts()` counts has come for so long."""
    before = None
    while before != (before := counts()):
        await asyncio.sleep(seconds)


class Kind:
    """A custom kind of a test's own: `things.<group>`, its CRD and a definition that declares it."""

    def __init__(self, group, plural="things", versions=("v1",)):
        self.group, self.plural, self.versions = group, plural, tuple(versions)
        self.kind = plural.removesuffix("s").capitalize()
        self.version = self.versions[-1]

    @property
    def api_version(self):
        return f"{self.group}/{self.version}"

    @property
    def name(self):
        return f"{self.plural}.{self.group}"

    def at(self, *versions):
        return Kind(self.group, self.plural, versions)

    def crd(self):
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name},
            "spec": {
                "group": self.group,
                "scope": "Cluster",
                "names": {"kind": self.kind, "plural": self.plural},
                "versions": [
                    {
                        "name": v,
                        "served": True,
                        "storage": v == self.versions[0],
                        "schema": {"openAPIV3Schema": ANYTHING},
                    }
                    for v in self.versions
                ],
            },
        }

    def definition(self):
        return {
            "apiVersion": "apiextensions.crossplane.io/v1",
            "kind": "CompositeResourceDefinition",
            "metadata": {"name": self.name},
            "spec": {
                "group": self.group,
                "names": {"kind": self.kind, "plural": self.plural},
                "versions": [
                    {
                        "name": v,
                        "served": True,
                        "referenceable": v == self.version,
                        "schema": {"openAPIV3Schema": {"type": "object"}},
                    }
                    for v in self.versions
                ],
            },
        }

    def resource(self):
        return Resource(self.api_version, self.kind, self.plural, namespaced=False)

    def thing(self, name, **fields):
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": {"name": name}, **fields}

    def key(self, name):
        return Key(self.api_version, self.kind, "", name)

    @property
    def path(self):
        return f"/apis/{self.api_version}/{self.plural}"


class Person:
    """Changes things through a client that the watches know nothing of."""

    def __init__(self, plane):
        self.api = Api.connect(str(plane.kubeconfig))

    async def apply(self, path, obj):
        query = {"fieldManager": "person", "force": "true"}
        status, found = await self.api.request(
            "PATCH", f"{path}/{obj['metadata']['name']}", query=query, body=obj, content_type=APPLY_PATCH
        )
        assert status < 300, found
        return found

    async def patch(self, path, body):
        status, found = await self.api.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        assert status < 300, found

    async def delete(self, path):
        await self.api.request("DELETE", path)

    async def exists(self, path):
        status, _ = await self.api.request("GET", path)
        return status == 200

    async def install(self, *crds):
        """Apply CRDs and wait until all are established."""
        await asyncio.gather(*(self.apply(CRDS, crd) for crd in crds))
        for crd in crds:
            await self.wait_for_crd(crd["metadata"]["name"])

    async def wait_for_crd(self, name, there=True):
        deadline = time.monotonic() + PATIENCE
        while True:
            status, found = await self.api.request("GET", f"{CRDS}/{name}")
            if status == 200 and there and conditions.is_true(found, "Established"):
                return
            if status == 404 and not there:
                return
            assert time.monotonic() < deadline, f"{name}: {found}"
            await asyncio.sleep(0.05)

    async def uninstall(self, *kinds):
        await asyncio.gather(*(self.delete(f"{CRDS}/{kind.name}") for kind in kinds))
        for kind in kinds:
            await self.wait_for_crd(kind.name, there=False)

    async def declare(self, kind):
        await self.apply("/apis/apiextensions.crossplane.io/v1/compositeresourcedefinitions", kind.definition())

    async def undeclare(self, *kinds):
        for kind in kinds:
            await self.delete(f"/apis/apiextensions.crossplane.io/v1/compositeresourcedefinitions/{kind.name}")


class NoCloud:
    """`managed` are the kinds that it stands for."""

    def __init__(self, *managed):
        self.managed = managed

    def kind(self, api_version, kind):
        return next((m for m in self.managed if m.kind == kind and api_version in m.api_versions), None)

    def kinds(self):
        return self.managed


class Rig:
    """Watches that feed a cache, and what they told.  An async context manager."""

    def __init__(self, plane, *, user="operator", cloud=None):
        self.person = Person(plane)
        self.requests = []  # verb, resource: ours
        self.asked = []  # method, path, whether a watch: kopf's
        self.fault = None  # called with each of kopf's requests
        self.answered = None  # called with each of them that was, as it was sent
        self.told = []  # key, what it was, what it is, whether only found
        self.api = Api.connect(
            str(plane.kubeconfig_of(user)), on_request=lambda verb, resource, *_: self.requests.append((verb, resource))
        )
        self.cache = Cache()
        self.cluster = KubernetesCluster(self.api, self.cache)
        self.watches = KubernetesWatches(
            self.api, self.cluster, self.cache, cloud or NoCloud(), self._tell, *[lambda what: None] * 3
        )
        guard = self.watches.supervisor.guard

        async def guarded(request, handler):
            self.asked.append((request.method, request.url.path, "watch" in request.url.query))
            if self.fault:
                self.fault(request)
            answer = await guard(request, handler)
            if self.answered:
                self.answered(request)
            return answer

        self.watches.supervisor.guard = guarded

    def _tell(self, change, idle):
        self.told.append((change.key, change.old, change.new, idle))

    async def __aenter__(self):
        await self.person.install(*core_crds())
        await self.watches.start()
        await eventually("everything static is listed", lambda: not self.watches.unready())
        return self

    async def __aexit__(self, *_):
        await self.watches.stop()
        await self.api.close()
        await self.person.api.close()
        assert {method for method, *_ in self.asked} <= {"GET"}, "kopf wrote something"

    @property
    def supervisor(self):
        return self.watches.supervisor

    async def follow(self, *kinds):
        await asyncio.gather(
            *(
                self.watches.follow(kind.api_version, kind.kind, kind.plural, namespaced=False, role="composite")
                for kind in kinds
            )
        )

    def unfollow(self, *kinds):
        for kind in kinds:
            self.watches.unfollow(kind.api_version, kind.kind)

    async def bring(self, *kinds):
        """As the definition's reconciler does: declared, installed, followed."""
        await asyncio.gather(*(self.person.declare(kind) for kind in kinds))
        for kind in kinds:
            await self.sees(Key("apiextensions.crossplane.io/v1", "CompositeResourceDefinition", "", kind.name))
        await self.person.install(*(kind.crd() for kind in kinds))
        await self.follow(*kinds)

    async def remove(self, *kinds):
        await self.person.uninstall(*kinds)
        await self.person.undeclare(*kinds)
        self.unfollow(*kinds)

    async def sees(self, key, seconds=PATIENCE, **fields):
        def there():
            found = self.cache.get(key)
            return found is not None and all(found.get(name) == value for name, value in fields.items())

        await eventually(f"{key} is seen {fields or ''}", there, seconds)

    async def misses(self, key):
        await eventually(f"{key} is seen no more", lambda: self.cache.get(key) is None)

    def gone(self):
        """The keys that were told as gone."""
        return [key for key, _, new, _ in self.told if new is None]


__all__ = ["CRDS", "Kind", "NoCloud", "Person", "Rig", "eventually", "key_of"]
