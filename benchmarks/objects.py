"""1,000 Objects of provider-kubernetes in this cluster: until they are Ready, beside as many plain creates as that takes writes.

And beside the very same writes by a client that does nothing else, one after the other for each Object: what the API server takes for them.
"""

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
        cpu_then, memory = operator.cost()
        clusters_then = operator.cluster_cpu()
        found = Counter(operator.requests(mark))
        operator.process.terminate()
        await asyncio.to_thread(operator.process.wait, 30)
        bare, bare_cpu = await _bare(client, operator, count)
    cpu = cpu_then - cpu
    plain_cpu, clusters = clusters - idle, clusters_then - clusters
    writes = 1 + sum(times for (verb, _), times in found.items() if verb in WRITES) / count
    told = [
        (f"{count} plain creates of ConfigMaps", f"{plain:.1f} s"),
        (f"{count} Objects until they are Ready", f"{seconds:.1f} s"),
        ("writes for each, its own creation included", f"{writes:.1f}"),
        ("times as long as so many plain creates", f"{seconds / (plain * writes):.2f}"),
        ("the same writes by a client that does nothing else", f"{bare:.1f} s"),
        ("times as long as these", f"{seconds / bare:.2f}"),
        ("the cluster's CPU for these, each", f"{bare_cpu / count * 1000:.1f} ms"),
        ("the cluster's CPU for each", f"{clusters / count * 1000:.1f} ms"),
        ("the cluster's CPU for a plain create", f"{plain_cpu / count * 1000:.1f} ms"),
        ("the operator's CPU for each", f"{cpu / count * 1000:.1f} ms"),
        ("the operator's memory after that", f"{memory:.0f} MiB"),
    ]
    return told + [(f"  {verb} {resource}", f"{times / count:.2f}") for (verb, resource), times in found.most_common(8)]


async def _timed(client: Client, objects: list[dict[str, object]]) -> float:
    begun = time.monotonic()
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    await asyncio.gather(*(client.send("POST", path, obj) for obj in objects))
    return time.monotonic() - begun


async def _bare(client: Client, operator: Running, count: int) -> tuple[float, float]:
    """The seconds, and the cluster's CPU, of the writes that the first Object has taken, for as many others; the operator has ended."""
    kinds, things = f"/apis/{GROUP}/v1alpha2/objects", f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    model = await client.send("GET", f"{kinds}/o-0")
    usages = f"/apis/{GROUP}/v1alpha1/providerconfigusages"
    usage = next(each for each in (await client.send("GET", usages))["items"] if each["resourceRef"]["name"] == "o-0")

    async def one(number: int) -> None:
        name = f"bare-{number}"
        made = await client.send("POST", kinds, {**_object(number), "metadata": {"name": name}})
        own = {**usage, "metadata": {"name": name, "labels": usage["metadata"].get("labels")}}
        own["metadata"]["ownerReferences"] = [
            {**owner, "name": name, "uid": made["metadata"]["uid"]} for owner in usage["metadata"]["ownerReferences"]
        ]
        await client.send("POST", usages, own)
        begun = {key: model["metadata"][key] for key in ("annotations", "finalizers")}
        known = {key: value for key, value in made["metadata"].items() if key != "managedFields"}
        made = await client.send("PUT", f"{kinds}/{name}", {**made, "metadata": known | begun})
        del made["metadata"]["managedFields"]
        applied = f"{things}/{name}?fieldManager=bare&force=true"
        await client.send("PATCH", applied, _configmap(name), "application/apply-patch+yaml")
        await client.send("PUT", f"{kinds}/{name}/status", {**made, "status": model["status"]})

    idle, begun = operator.cluster_cpu(), time.monotonic()
    await asyncio.gather(*(one(number) for number in range(count)))
    return time.monotonic() - begun, operator.cluster_cpu() - idle


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
