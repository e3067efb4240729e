"""Ten thousand managed resources of five kinds and a thousand composites on a real API server: the start, the rest, and a claim among them.

Half of the managed resources are composed, five by each composite; half stand alone.  All are observed only (`managementPolicies:
[Observe]`), and AWS is `still`: it costs nothing that would be counted as ours.  Takes some ten minutes; smaller with
$GROUNDPLANE_BENCH_COMPOSITES, of which there are ten times as many managed resources.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from tests.cluster.rig import ControlPlane

from benchmarks.running import REPOSITORY

COMPOSITES = int(os.environ.get("GROUNDPLANE_BENCH_COMPOSITES", "1000"))
FAILING = COMPOSITES // 2
CLAIMS = 20  # claims that are timed, one after the other, in each situation
REST = 120.0  # seconds
KINDS = {  # plural: api version, kind
    "subnets": ("ec2.aws.upbound.io/v1beta1", "Subnet"),
    "securitygroups": ("ec2.aws.upbound.io/v1beta1", "SecurityGroup"),
    "roles": ("iam.aws.upbound.io/v1beta1", "Role"),
    "subnetgroups": ("rds.aws.upbound.io/v1beta1", "SubnetGroup"),
    "buckets": ("s3.aws.upbound.io/v1beta1", "Bucket"),
}
LAST = list(KINDS)[-1]  # the last that a composite creates
GROUP = "bench.example.com"
XRD = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "CompositeResourceDefinition",
    "metadata": {"name": f"xstacks.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"kind": "XStack", "plural": "xstacks"},
        "claimNames": {"kind": "Stack", "plural": "stacks"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "referenceable": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}},
            }
        ],
    },
}
PROVIDER = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": "default"},
    "spec": {"credentials": {"source": "Secret", "secretRef": {"namespace": "default", "name": "aws", "key": "ini"}}},
}
INI = "[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "aws", "namespace": "default"},
    "stringData": {"ini": INI},
}


def managed(plural: str, name: str) -> dict[str, Any]:
    api_version, kind = KINDS[plural]
    for_provider = {} if kind == "Role" else {"region": "eu-west-1"}
    spec = {"managementPolicies": ["Observe"], "forProvider": for_provider, "providerConfigRef": {"name": "default"}}
    metadata = {"name": name, "annotations": {"crossplane.io/external-name": name}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def composition() -> dict[str, Any]:
    def template(plural: str) -> dict[str, Any]:
        base = managed(plural, "")
        del base["metadata"]
        format_ = {"type": "string", "string": {"type": "Format", "fmt": f"%s-{plural}"}}
        to = "metadata.annotations[crossplane.io/external-name]"
        patch = {"fromFieldPath": "metadata.name", "toFieldPath": to, "transforms": [format_]}
        return {"name": plural, "base": base, "patches": [patch]}

    return {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "stack"},
        "spec": {
            "compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "XStack"},
            "mode": "Resources",
            "resources": [template(plural) for plural in KINDS],
        },
    }


class Bench:
    """The control plane, the still AWS and an operator that can be started again."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.still, self.health = _free_port(), _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        environment = os.environ | {
            "KUBECONFIG": str(self.plane.kubeconfig_of("operator")),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.still}",
        }
        command = [sys.executable, "-m", "groundplane.cli.main", "run"]
        command += ["--health-port", str(self.health), "--health-host", "127.0.0.1", "--log-level", "error"]
        command += options
        self.process = subprocess.Popen(command, env=environment)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def metrics(self) -> dict[str, float]:
        """The operator's metrics, summed up over their labels but those of buckets; empty while it does not answer."""
        try:
            text = _get(f"http://127.0.0.1:{self.health}/metrics")
        except OSError:
            return {}
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = f"{sample.name} {sample.labels['le']}" if "le" in sample.labels else sample.name
                found[name] = found.get(name, 0.0) + sample.value
        return found

    def calls(self) -> int:
        return int(_get(f"http://127.0.0.1:{self.still}/still/calls"))

    def operations(self) -> Counter[str]:
        """What AWS was asked so far, and how often."""
        return Counter(json.loads(_get(f"http://127.0.0.1:{self.still}/still/operations")))

    def fail(self, names: list[str]) -> None:
        url = f"http://127.0.0.1:{self.still}/still/failing"
        urllib.request.urlopen(urllib.request.Request(url, "\n".join(names).encode(), method="PUT")).close()

    def wait(self, what: str, reached: Callable[[dict[str, float]], bool], seconds: float) -> float:
        """How long it took, in seconds."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if (found := self.metrics()) and reached(found):
                return time.monotonic() - begun
            time.sleep(0.5)
        raise TimeoutError(f"{what} took longer than {seconds:.0f} s")


def measure() -> Iterator[tuple[str, str]]:
    with running_bench() as bench:
        total = asyncio.run(_fill(bench))
        yield "managed resources, composites", f"{total['managed']:,}, {COMPOSITES:,}"
        bench.stop()
        bench.start()
        known = total["managed"] + COMPOSITES
        took = bench.wait("knowing all", lambda found: found.get("groundplane_cached_objects", 0) >= known, 300)
        yield "from the start until all are known", f"{took:.0f} s"
        took += bench.wait("the first round", lambda found: _rounds(found) >= known, 1800)
        yield "until each was reconciled once", f"{took:.0f} s"
        first = bench.metrics()
        yield "  event loop late by, 99th percentile", _lag({}, first)
        yield "resident memory", f"{first['process_resident_memory_bytes'] / 2**20:.0f} MiB"
        time.sleep(20)
        yield from _rest(bench)
        yield "claim → five resources created, all polled: median, worst", asyncio.run(_claims(bench, "calm"))
        failing = [f"alone-subnets-{number}" for number in range(FAILING)]
        bench.fail(failing)
        asyncio.run(_touch(bench, failing))
        before = bench.metrics()
        time.sleep(10)
        yield (
            f"claim → five resources created, while {FAILING} fail: median, worst",
            asyncio.run(_claims(bench, "failing")),
        )
        yield "  event loop late by, 99th percentile", _lag(before, bench.metrics())


def _rest(bench: Bench) -> Iterator[tuple[str, str]]:
    before, asked = bench.metrics(), bench.operations()
    begun = time.monotonic()
    time.sleep(REST)
    after, seconds = bench.metrics(), time.monotonic() - begun
    share = (after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]) / seconds
    yield "share of a core at rest, polls of AWS included", f"{share:.3f}"
    asked = bench.operations() - asked
    yield "calls to AWS a minute at rest", f"{asked.total() * 60 / seconds:.0f}"
    for operation, count in asked.most_common():
        yield f"  {operation}", f"{count * 60 / seconds:.1f}"
    yield (
        "requests to the API server a minute at rest",
        (f"{(after['groundplane_api_requests_total'] - before['groundplane_api_requests_total']) * 60 / seconds:.0f}"),
    )
    yield "event loop late at rest by, 99th percentile", _lag(before, after)


def _rounds(found: dict[str, float]) -> float:
    return found.get("groundplane_reconciles_total", 0) if found.get("workqueue_depth", 1) == 0 else 0


def _lag(before: dict[str, float], after: dict[str, float], share: float = 0.99) -> str:
    """The bucket of the histogram in which that share of the measurements is reached."""
    name = "groundplane_loop_lag_seconds"
    counts = {
        float(key.rpartition(" ")[2]): count - before.get(key, 0.0)
        for key, count in after.items()
        if key.startswith(f"{name}_bucket ")
    }
    all_ = max(counts.values())
    bound = min(bound for bound, count in counts.items() if count >= share * all_)
    return f"≤ {bound * 1000:g} ms"


# --- what is there ---------------------------------------------------------------------------------------


class Client:
    """As many requests at a time as the API server likes best."""

    def __init__(self, plane: ControlPlane) -> None:
        self._server = plane.server
        self._gate = asyncio.Semaphore(16)

    async def __aenter__(self) -> Client:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE  # the rig's certificate is its own
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusting), headers={"Authorization": "Bearer admin-token"}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, verb: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        async with (
            self._gate,
            self._session.request(
                verb,
                self._server + path,
                data=json.dumps(body) if body else None,
                headers={"Content-Type": content_type},
            ) as response,
        ):
            answer = await response.json()
            if response.status >= 400 and response.status != 409:
                raise RuntimeError(f"{verb} {path}: {answer.get('message')}")
            return answer

    @asynccontextmanager
    async def watch(self, path: str, selector: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The events of those with these labels, one line each, from now on: a list of thousands would be most of what is measured."""
        query = {"watch": "true", "labelSelector": selector}
        endless = aiohttp.ClientTimeout(total=None)
        while True:
            async with self._session.get(self._server + path, params=query, timeout=endless) as response:
                if response.status != 429:  # the API server prepares the storage of a kind that is new
                    response.raise_for_status()
                    yield aiter(response.content)
                    return
            await asyncio.sleep(0.1)

    async def create(self, plural: str, obj: dict[str, Any], namespace: str = "") -> None:
        place = f"namespaces/{namespace}/" if namespace else ""
        await self.send("POST", f"/apis/{obj['apiVersion']}/{place}{plural}", obj)


async def _fill(bench: Bench) -> dict[str, int]:
    """Everything there, composed and reconciled once."""
    for manifest in (SECRET, PROVIDER, XRD, composition()):
        bench.plane.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    bench.start()
    await asyncio.to_thread(
        bench.plane.wait, "the claim's kind", lambda: bench.plane.get(f"stacks.{GROUP}", "-A") is not None
    )
    alone = COMPOSITES
    async with Client(bench.plane) as client:
        await asyncio.gather(
            *(
                client.create(plural, managed(plural, f"alone-{plural}-{number}"))
                for plural in KINDS
                for number in range(alone)
            ),
            *(
                client.create(
                    "xstacks",
                    {"apiVersion": f"{GROUP}/v1", "kind": "XStack", "metadata": {"name": f"x-{number}"}, "spec": {}},
                )
                for number in range(COMPOSITES)
            ),
        )
        wanted = 2 * alone * len(KINDS)
        begun = time.monotonic()
        while time.monotonic() - begun < 1800:
            items = (await client.send("GET", f"/apis/{GROUP}/v1/xstacks?resourceVersion=0"))["items"]
            if sum(_is_ready(item) for item in items) >= COMPOSITES:
                return {"managed": wanted}
            await asyncio.sleep(2)
    raise TimeoutError("the composites did not get ready within half an hour")


def _is_ready(obj: dict[str, Any]) -> bool:
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in (obj.get("status") or {}).get("conditions") or ()
    )


async def _claims(bench: Bench, word: str) -> str:
    """Claims one after the other: seconds from each one's creation until what it is composed of is created."""
    took = []
    async with Client(bench.plane) as client:
        for number in range(CLAIMS):
            name = f"{word}-{number}"
            claim = {
                "apiVersion": f"{GROUP}/v1",
                "kind": "Stack",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {},
            }
            async with client.watch(f"/apis/{KINDS[LAST][0]}/{LAST}", f"crossplane.io/claim-name={name}") as events:
                begun = time.monotonic()
                await client.create("stacks", claim, "default")
                await asyncio.wait_for(anext(events), 60)
            took.append(time.monotonic() - begun)
            await asyncio.sleep(0.5)
    return f"{sorted(took)[len(took) // 2]:.2f} s, {max(took):.2f} s"


async def _touch(bench: Bench, subnets: list[str]) -> None:
    """Have these observed now."""
    async with Client(bench.plane) as client:
        change = {"metadata": {"annotations": {"bench": "now"}}}
        path = f"/apis/{KINDS['subnets'][0]}/subnets"
        await asyncio.gather(
            *(client.send("PATCH", f"{path}/{name}", change, "application/merge-patch+json") for name in subnets)
        )


@contextmanager
def running_bench(aws: str = "benchmarks.still") -> Iterator[Bench]:
    """`aws`: the module that plays it."""
    with ControlPlane() as plane:
        plane.kubectl("apply", "--server-side", "-f", REPOSITORY / "crds")
        plane.wait_for_kinds()
        bench = Bench(plane)
        still = subprocess.Popen([sys.executable, "-m", aws, str(bench.still)], cwd=REPOSITORY)
        try:
            yield bench
        finally:
            bench.stop()
            still.terminate()
            still.wait(10)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
