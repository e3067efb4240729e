"""1,000 Objects of provider-kubernetes in this cluster: until they are Ready, beside as many plain creates as that takes writes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from tests.cluster.rig import ControlPlane

from benchmarks import composites
from benchmarks.running import Running
from benchmarks.ten_thousand import Client

GROUP = "kubernetes.crossplane.io"
NAMESPACE, WRITES = "things", ("create", "update", "patch", "apply", "delete")


def measure() -> Iterator[tuple[str, str]]:
    count = composites.many(1000)
    with ControlPlane(audit=True) as plane:
        command = [sys.executable, "-m", "groundplane.cli.main", "run", "--no-leader-election", "--health-port", "0"]
        command += ["--log-level", "error", "--webhooks", "off", "--activations", f"objects.{GROUP}"]
        environment = os.environ | {"KUBECONFIG": str(plane.kubeconfig_of("operator"))}
        process = subprocess.Popen(command, env=environment)
        try:
            plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            name = f"objects.{GROUP}"
            plane.wait("the kind", lambda: plane.get(name) is not None, seconds=120)
            source = {"credentials": {"source": "InjectedIdentity"}}
            config = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ProviderConfig", "metadata": {"name": "default"}}
            plane.wait("its config's", lambda: plane.get(f"providerconfigs.{GROUP}") is not None, seconds=120)
            plane.apply({**config, "spec": source})
            time.sleep(5)
            yield from asyncio.run(_measured(Running(plane, process), count))
        finally:
            process.terminate()
            process.wait(30)


async def _measured(operator: Running, count: int) -> list[tuple[str, str]]:
    async with Client(operator.plane) as client:
        idle = operator.cluster_cpu()
        plain = await _timed(client, [_configmap(f"plain-{number}") for number in range(count)])
        mark, cpu, clusters = len(operator.plane.requests()), operator.cost()[0], operator.cluster_cpu()
        async with client.watch(f"/apis/{GROUP}/v1alpha2/objects", "") as events, asyncio.timeout(600):
            begun = time.monotonic()
            made = asyncio.gather(*(client.create("objects", _object(number)) for number in range(count)))
            await _all_ready(events, count)
            seconds = time.monotonic() - begun
            await made
    cpu = operator.cost()[0] - cpu
    plain_cpu, clusters = clusters - idle, operator.cluster_cpu() - clusters
    found = Counter(operator.requests(mark))
    writes = 1 + sum(times for (verb, _), times in found.items() if verb in WRITES) / count
    told = [
        (f"{count} plain creates of ConfigMaps", f"{plain:.1f} s"),
        (f"{count} Objects until they are Ready", f"{seconds:.1f} s"),
        ("writes for each, its own creation included", f"{writes:.1f}"),
        ("times as long as so many plain creates", f"{seconds / (plain * writes):.2f}"),
        ("the cluster's CPU for each", f"{clusters / count * 1000:.1f} ms"),
        ("the cluster's CPU for a plain create", f"{plain_cpu / count * 1000:.1f} ms"),
        ("the operator's CPU for each", f"{cpu / count * 1000:.1f} ms"),
        ("the operator's memory after that", f"{operator.cost()[1]:.0f} MiB"),
    ]
    return told + [(f"  {verb} {resource}", f"{times / count:.2f}") for (verb, resource), times in found.most_common(8)]


async def _timed(client: Client, objects: list[dict[str, object]]) -> float:
    begun = time.monotonic()
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    await asyncio.gather(*(client.send("POST", path, obj) for obj in objects))
    return time.monotonic() - begun


async def _all_ready(events: AsyncIterator[bytes], count: int) -> None:
    """A watch, for a list of a thousand again and again would cost the API server as much as what is measured."""
    ready = set()
    async for line in events:
        if b'"reason":"Available"' in line:
            ready.add(json.loads(line)["object"]["metadata"]["name"])
            if len(ready) == count:
                return


def _configmap(name: str) -> dict[str, object]:
    data = {"colour": "blue", "size": "xl", "text": "x" * 200}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _object(number: int) -> dict[str, object]:
    asked = {"forProvider": {"manifest": _configmap(f"of-{number}")}}
    metadata = {"name": f"o-{number}"}
    return {"apiVersion": f"{GROUP}/v1alpha2", "kind": "Object", "metadata": metadata, "spec": asked}
