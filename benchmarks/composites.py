"""What the three benchmarks of composites share: five kinds that nobody reconciles, a provider that says that all is ready, and definitions.

The definitions are made in the version of Crossplane v2, for composites in a namespace, or with a claim as in v1.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from tests.cluster.rig import ControlPlane

from benchmarks.running import Running
from benchmarks.ten_thousand import Client

GROUP = "bench.example.com"
NOP = f"nop.{GROUP}"
KINDS = ("Alpha", "Beta", "Gamma", "Delta", "Epsilon")
NAMESPACE = "my-team"  # `running` makes it
READY = [
    {"type": type_, "status": "True", "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    for type_, reason in (("Synced", "ReconcileSuccess"), ("Ready", "Available"))
]


def many(default: int) -> int:
    """How many composites, or definitions."""
    return int(os.environ.get("GROUNDPLANE_BENCH_COMPOSITES", default))


def plural_of(kind: str) -> str:
    return f"{kind.lower()}s"


def composed_kind(kind: str, *, namespaced: bool) -> dict[str, Any]:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural_of(kind)}.{NOP}"},
        "spec": {
            "group": NOP,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"kind": kind, "plural": plural_of(kind)},
            "versions": [version],
        },
    }


def definition(kind: str, *, claim: str = "") -> dict[str, Any]:
    """Of composites in a namespace, or, with `claim`, of a claim's."""
    properties = {name: {"type": "string"} for name in ("size", "region")}
    spec = {"type": "object", "properties": properties}
    status = {"type": "object", "properties": {"address": {"type": "string"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}}
    names = {"kind": kind, "plural": plural_of(kind)}
    more: dict[str, Any] = {"scope": "Namespaced"}
    if claim:
        more = {"claimNames": {"kind": claim, "plural": plural_of(claim)}}
    return {
        "apiVersion": f"apiextensions.crossplane.io/{'v1' if claim else 'v2'}",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": names,
            "versions": [{"name": "v1", "served": True, "referenceable": True, "schema": schema}],
            **more,
        },
    }


def composition(kind: str) -> dict[str, Any]:
    """A pipeline of patch-and-transform and auto-ready, of five resources, each with three patches."""

    def template(composed: str) -> dict[str, Any]:
        suffix = {"type": "string", "string": {"type": "Format", "fmt": f"%s-{composed.lower()}"}}
        patches: list[dict[str, Any]] = [
            {"type": "PatchSet", "patchSetName": "common"},
            {
                "fromFieldPath": "metadata.name",
                "toFieldPath": "spec.forProvider.label",
                "transforms": [suffix],
            },
        ]
        if composed == KINDS[0]:
            address = {"fromFieldPath": "status.atProvider.address", "toFieldPath": "status.address"}
            patches.append({"type": "ToCompositeFieldPath", **address})
        base = {"apiVersion": f"{NOP}/v1alpha1", "kind": composed, "spec": {"forProvider": {"fixed": True}}}
        return {"name": composed.lower(), "base": base, "patches": patches}

    common = {
        "name": "common",
        "patches": [
            {
                "fromFieldPath": "spec.size",
                "toFieldPath": "spec.forProvider.class",
                "transforms": [{"type": "map", "map": {"small": "t1", "large": "t9"}}],
            },
            {"fromFieldPath": "spec.region", "toFieldPath": "spec.forProvider.region"},
        ],
    }
    given = {
        "apiVersion": "pt.fn.crossplane.io/v1beta1",
        "kind": "Resources",
        "patchSets": [common],
        "resources": [template(composed) for composed in KINDS],
    }
    steps = [
        {"step": "resources", "functionRef": {"name": "function-patch-and-transform"}, "input": given},
        {"step": "ready", "functionRef": {"name": "function-auto-ready"}},
    ]
    return {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": plural_of(kind)},
        "spec": {
            "compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": kind},
            "mode": "Pipeline",
            "pipeline": steps,
        },
    }


def apply(plane: ControlPlane, *manifests: dict[str, Any]) -> None:
    plane.kubectl("apply", "-f", "-", input="\n---\n".join(map(json.dumps, manifests)))


def collection(plural: str) -> str:
    return f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/{plural}"


async def create(client: Client, kind: str, count: int, **spec: Any) -> None:
    def one(number: int) -> dict[str, Any]:
        wanted = {"size": "small", "region": "eu-west-1", **spec}
        return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": f"c{number:05}"}, "spec": wanted}

    await asyncio.gather(*(client.create(plural_of(kind), one(number), namespace=NAMESPACE) for number in range(count)))


async def ready(client: Client, plural: str, count: int, *, seconds: float = 1800) -> None:
    """Until so many are Ready."""
    async with asyncio.timeout(seconds):
        while True:
            items = (await client.send("GET", f"{collection(plural)}?resourceVersion=0"))["items"]
            if sum(_is_ready(item) for item in items) >= count:
                return
            await asyncio.sleep(0.5)


async def gone(client: Client, *paths: str, seconds: float = 1800) -> None:
    """Until nothing is left in these collections."""
    async with asyncio.timeout(seconds):
        for path in paths:
            while (await client.send("GET", f"{path}?limit=1"))["items"]:
                await asyncio.sleep(0.5)


def _is_ready(obj: dict[str, Any]) -> bool:
    told = (obj.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in told)


@asynccontextmanager
async def provider(client: Client, *, namespaced: bool) -> AsyncIterator[None]:
    """Somebody who says of each composed object, as soon as it is there, that it is ready."""

    async def mark(obj: dict[str, Any]) -> None:
        metadata = obj["metadata"]
        place = f"namespaces/{metadata['namespace']}/" if namespaced else ""
        path = f"/apis/{NOP}/v1alpha1/{place}{plural_of(obj['kind'])}/{metadata['name']}/status"
        status = {"atProvider": {"address": f"a-{metadata['name']}"}, "conditions": READY}
        await client.send("PATCH", path, {"status": status}, "application/merge-patch+json")

    async def follow(kind: str, marking: set[asyncio.Task[None]]) -> None:
        async with client.watch(f"/apis/{NOP}/v1alpha1/{plural_of(kind)}", "") as lines:
            async for line in lines:
                event = json.loads(line)
                if event["type"] == "ADDED":
                    task = asyncio.create_task(mark(event["object"]))
                    marking.add(task)
                    task.add_done_callback(marking.discard)

    marking: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:  # who can't follow ends the measurement
        following = [group.create_task(follow(kind, marking)) for kind in KINDS]
        yield
        for task in following:
            task.cancel()


def told(operator: Running, mark: int, count: int) -> Iterator[tuple[str, str]]:
    """The operator's requests since then, for each of so many objects."""
    found: Counter[tuple[str, str]] = Counter(operator.requests(mark))
    yield "requests for each", f"{sum(found.values()) / count:.2f}"
    yield from ((f"  {verb} {resource}", f"{times / count:.2f}") for (verb, resource), times in found.most_common(12))


def established(plane: ControlPlane, names: Iterable[str]) -> None:
    for name in names:
        plane.kubectl("wait", "xrd", name, "--for=condition=Established", "--timeout=300s")
