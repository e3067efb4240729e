"""How long the API server waits for our answers while 1,000 composites come, each of which names its Composition, and Compositions are written beside them.

Its histogram has few buckets, and counts its own work in, and its waiting for a core.  So it asks a webhook beside ours as often, which says yes at once in a
process of its own: what it waits for that one is not ours.  And somebody asks ours as it does, and measures each answer.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import composites
from benchmarks.running import Running, running
from benchmarks.ten_thousand import Client

PAUSE = 0.2  # seconds between two Compositions
_NAME, _LE = re.compile(r'\b(?:webhook|name)="([^"]+)"'), re.compile(r'\ble="([^"]+)"')
_OURS, _THEIRS = "groundplane_admission_seconds", "apiserver_admission_webhook_admission_duration_seconds"
YES = "yes.bench.example.com"

Histograms = dict[str, dict[float, float]]  # by webhook: how many took so many seconds at most


def measure() -> Iterator[tuple[str, str]]:
    count = composites.many(1000)
    health, port = _free_ports()
    asked = ("--webhook-host", "127.0.0.1", "--webhook-port", str(port), "--webhook-url", f"https://127.0.0.1:{port}")
    with running("--webhooks", "on", *asked, port=health) as operator:
        kinds = [composites.composed_kind(kind, namespaced=True) for kind in composites.KINDS]
        definition = composites.definition("Stack")
        composites.apply(operator.plane, *kinds, definition)
        composites.established(operator.plane, [definition["metadata"]["name"]])
        composites.apply(operator.plane, composites.composition("Stack"))
        time.sleep(10)
        with _beside("yes") as yes, _beside("ask", str(port)) as asking:
            _configure(operator, json.loads(_line(yes)))
            before = _seen(operator, health)
            begun = time.monotonic()
            asyncio.run(_spike(operator, count))
            yield f"seconds until {count} are Ready", f"{time.monotonic() - begun:.1f} s"
            after = _seen(operator, health)
            took = sorted(json.loads(asking.communicate()[0]))
        for who, name in sorted(after):
            found = {le: n - before.get((who, name), {}).get(le, 0.0) for le, n in after[who, name].items()}
            if total := found[float("inf")]:
                yield (
                    f"{who}: {name}, {total:.0f} answers: 50 %, 99 %; within 25 ms",
                    f"{_within(found, 0.5)}, {_within(found, 0.99)}; {found[0.025] / total:.1%}",
                )
        yield (
            f"asked as the API server does: Compositions, {len(took)} answers: 50 %, 99 %, the longest",
            ", ".join(f"{took[int(share * (len(took) - 1))]:.0f} ms" for share in (0.5, 0.99, 1)),
        )


@contextlib.contextmanager
def _beside(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.beside", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def _configure(operator: Running, yes: Mapping[str, Any]) -> None:
    """Have the API server ask the webhook that says yes about ConfigMaps."""
    authority = base64.b64encode(yes["authority"].encode()).decode()
    webhook = {
        "name": YES,
        "clientConfig": {"url": f"https://127.0.0.1:{yes['port']}/", "caBundle": authority},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    metadata = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    composites.apply(operator.plane, metadata | {"metadata": {"name": YES}, "webhooks": [webhook]})


async def _spike(operator: Running, count: int) -> None:
    async with Client(operator.plane) as client, composites.provider(client, namespaced=True):
        writing = asyncio.create_task(_compositions(client))
        try:
            named = {"compositionRef": {"name": composites.plural_of("Stack")}}
            await composites.create(client, "Stack", count, crossplane=named)
            await composites.ready(client, "stacks", count)
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing


async def _compositions(client: Client) -> None:
    """Compositions that somebody tries out, one after the other, and ConfigMaps."""
    path = "/apis/apiextensions.crossplane.io/v1/compositions?dryRun=All"
    beside = f"/api/v1/namespaces/{composites.NAMESPACE}/configmaps?dryRun=All"
    while True:
        await client.send("POST", path, {**composites.composition("Stack"), "metadata": {"name": "tried"}})
        await client.send("POST", beside, {"metadata": {"name": "tried"}})
        await asyncio.sleep(PAUSE)


def _seen(operator: Running, health: int) -> dict[tuple[str, str], dict[float, float]]:
    """The histograms of both sides."""
    with urllib.request.urlopen(f"http://127.0.0.1:{health}/metrics", timeout=30) as answer:
        ours = _read(answer.read().decode(), _OURS)
    theirs = _read(operator.plane.kubectl("get", "--raw", "/metrics").stdout, _THEIRS)
    return {("operator", name): found for name, found in ours.items()} | {
        ("API server", name): found for name, found in theirs.items() if "plane" in name or name == YES
    }


def _read(text: str, metric: str) -> Histograms:
    found: Histograms = defaultdict(lambda: defaultdict(float))
    for line in text.splitlines():
        if not line.startswith(f"{metric}_bucket"):
            continue
        name, le = _NAME.search(line), _LE.search(line)
        if name and le:
            found[name[1]][float(le[1])] += float(line.rpartition(" ")[2])
    return found


def _within(found: Mapping[float, float], share: float) -> str:
    """The bucket in which this share of all is complete."""
    wanted = share * found[float("inf")]
    return next(f"≤ {le * 1000:.0f} ms" for le, n in sorted(found.items()) if n >= wanted)


def _free_ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets: list[Any] = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
