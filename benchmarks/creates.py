"""Managed resources that come one after the other, or together, with an AWS that is done at once: how long each takes until it is Ready, and what AWS's stand-in could do.

Roles, whose name we choose, and addresses, whose name AWS gives; on a real API server.  $GROUNDPLANE_BENCH_CREATES says how many, 10,000 else, and
$GROUNDPLANE_BENCH_RATE how many a second, 25 else: as many as the rest keeps up with; with 0 they come as fast as the API server takes them.
Times are the API server's, from an object's creation to the change of its condition Ready, in whole seconds each.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import aiohttp

from benchmarks.ten_thousand import PROVIDER, SECRET, Bench, Client, running_bench

TOTAL = int(os.environ.get("GROUNDPLANE_BENCH_CREATES", "10000"))
RATE = float(os.environ.get("GROUNDPLANE_BENCH_RATE", "25"))  # a second
KINDS = {  # plural: api version, kind, and what it says
    "roles": ("iam.aws.upbound.io/v1beta1", "Role", {"assumeRolePolicy": '{"Version":"2012-10-17","Statement":[]}'}),
    "eips": ("ec2.aws.upbound.io/v1beta1", "EIP", {"region": "eu-west-1", "domain": "vpc"}),
}
PATIENCE = 3600.0  # seconds
ASKING = 3.0  # seconds in which the stand-in is asked for as much as it can do
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/eu-west-1/iam/aws4_request"}


def measure() -> Iterator[tuple[str, str]]:
    with running_bench("benchmarks.instant") as bench:
        for manifest in (SECRET, PROVIDER):
            bench.plane.kubectl("apply", "-f", "-", input=json.dumps(manifest))
        bench.plane.wait("the stand-in answers", lambda: _answers(bench))
        limit = asyncio.run(_limit(bench))
        bench.start("--no-leader-election")
        bench.wait("the operator", lambda found: bool(found), 120)
        calls = bench.calls()
        yield from asyncio.run(_make(bench))
        found = bench.metrics()
        each = (bench.calls() - calls) / TOTAL
        yield "calls to AWS for each; the stand-in's own limit", f"{each:.1f}; {limit:.0f} a second"
        yield "CPU seconds of the operator", f"{found['process_cpu_seconds_total']:.0f}"
        yield "resident memory", f"{found['process_resident_memory_bytes'] / 2**20:.0f} MiB"


async def _make(bench: Bench) -> list[tuple[str, str]]:
    async with Client(bench.plane) as client:
        begun = time.monotonic()
        each = TOTAL // len(KINDS)
        wanted = [(plural, number) for number in range(each) for plural in KINDS]
        await asyncio.gather(*(_create(client, place, *each_) for place, each_ in enumerate(wanted)))
        created, took = time.monotonic() - begun, list[float]()
        while len(took) < each * len(KINDS):
            if time.monotonic() - begun > PATIENCE:
                raise TimeoutError(f"{len(took)} of {TOTAL} are Ready after {PATIENCE:.0f} s")
            await asyncio.sleep(2)
            paths = [f"/apis/{version}/{plural}?resourceVersion=0" for plural, (version, *_) in KINDS.items()]
            lists = [await client.send("GET", path) for path in paths]
            took = sorted(seconds for found in lists for obj in found["items"] for seconds in _until_ready(obj))
        ended = time.monotonic() - begun
    return [
        (f"{len(took):,} created at the API server after; all Ready after", f"{created:.0f} s; {ended:.0f} s"),
        (
            "time to Ready: average, median, 99th percentile",
            f"{sum(took) / len(took):.1f} s, {took[len(took) // 2]:.0f} s, {took[-1 - len(took) // 100]:.0f} s",
        ),
    ]


async def _create(client: Client, place: int, plural: str, number: int) -> None:
    await asyncio.sleep(place / RATE if RATE else 0.0)
    await client.create(plural, _one(plural, number))


def _one(plural: str, number: int) -> dict[str, Any]:
    version, kind, fields = KINDS[plural]
    spec = {"forProvider": fields, "providerConfigRef": {"name": "default"}}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": f"new-{plural}-{number}"}, "spec": spec}


def _until_ready(obj: dict[str, Any]) -> Iterator[float]:
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if (condition["type"], condition["status"]) == ("Ready", "True"):
            created, ready = obj["metadata"]["creationTimestamp"], condition["lastTransitionTime"]
            yield (datetime.fromisoformat(ready) - datetime.fromisoformat(created)).total_seconds()


def _answers(bench: Bench) -> bool:
    try:
        return bench.calls() >= 0
    except OSError:
        return False


async def _limit(bench: Bench) -> float:
    """Looks a second that the stand-in answers, asked by sixteen at once who do nothing else."""
    answered, end = 0, time.monotonic() + ASKING

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        body = {"Action": "GetRole", "RoleName": "nobody", "Version": "2010-05-08"}
        while time.monotonic() < end:
            async with session.post(f"http://127.0.0.1:{bench.still}/", data=body, headers=SIGNED) as response:
                await response.read()
            answered += 1

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(ask(session) for _ in range(16)))
    return answered / ASKING
