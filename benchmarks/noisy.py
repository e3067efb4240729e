"""Twenty dead AWS accounts with sixty resources each beside one that is healthy: how long its resources take on a real API server.

A dead account's endpoint takes connections and never says a word.  The healthy one's is `still`.  All resources are observed only.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.ten_thousand import KINDS, PROVIDER, SECRET, Bench, Client, managed, running_bench

DEAD, EACH = 20, 60  # accounts, and resources of each
AT_ONCE = 10  # healthy resources that are made together when the dead ones have just come
TIMES = 100  # healthy resources that are made, and that are edited, one after the other
SETTLED = 10.0  # seconds until the dead ones have found out
PLURAL = "subnets"
PATIENCE = 300.0  # seconds


def measure() -> Iterator[tuple[str, str]]:
    with running_bench() as running, _silent() as silent:
        for manifest in (SECRET, PROVIDER):
            running.plane.kubectl("apply", "-f", "-", input=json.dumps(manifest))
        running.start("--no-leader-election")  # a busy machine must not look like a dead neighbour
        yield from asyncio.run(_measure(running, silent))


async def _measure(running: Bench, silent: str) -> list[tuple[str, str]]:
    found = []
    async with Client(running.plane) as client:
        await _timed(client, "first", _make)  # the operator works by now
        found.append(("new, one after the other, alone: median, 99th percentile", await _each(client, "alone", _make)))
        found.append(("edited, alone", await _each(client, "alone", _edit)))
        for number in range(DEAD):
            await client.create("providerconfigs", _dead_account(f"dead-{number}", silent))
        await asyncio.gather(
            *(
                client.create(PLURAL, _resource(f"dead-{number}-{index}", f"dead-{number}"))
                for number in range(DEAD)
                for index in range(EACH)
            )
        )
        together = await asyncio.gather(*(_timed(client, f"together-{n}", _make) for n in range(AT_ONCE)))
        found.append(
            (
                f"{AT_ONCE} new ones when {DEAD * EACH} dead ones have just come: until all are Ready",
                f"{max(together):.2f} s",
            )
        )
        await asyncio.sleep(SETTLED)
        found.append(("new, beside the dead: median, 99th percentile", await _each(client, "beside", _make)))
        found.append(("edited, beside the dead", await _each(client, "beside", _edit)))
    memory = running.metrics()["process_resident_memory_bytes"]
    found.append(("resident memory", f"{memory / 2**20:.0f} MiB"))
    return found


Doing = Callable[[Client, str], Awaitable[int]]


async def _make(client: Client, name: str) -> int:
    await client.create(PLURAL, _resource(name, "default"))
    return 1


async def _edit(client: Client, name: str) -> int:
    """Change the spec: the generation that it has then."""
    change = {"spec": {"forProvider": {"tags": {"edited": "yes"}}}}
    changed = await client.send("PATCH", _path(name), change, "application/merge-patch+json")
    return int(changed["metadata"]["generation"])


async def _each(client: Client, word: str, doing: Doing) -> str:
    took = sorted([await _timed(client, f"{word}-{number}", doing) for number in range(TIMES)])
    return f"{took[len(took) // 2]:.2f} s, {took[-1 - len(took) // 100]:.2f} s"


async def _timed(client: Client, name: str, doing: Doing) -> float:
    """Seconds until the resource is Ready as it is then."""
    begun = time.monotonic()
    generation = await doing(client, name)
    while time.monotonic() - begun < PATIENCE:
        status = (await client.send("GET", _path(name))).get("status") or {}
        told = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        if told.get("Ready") == told.get("Synced") == "True" and status.get("observedGeneration", 0) >= generation:
            return time.monotonic() - begun
        await asyncio.sleep(0.02)
    raise TimeoutError(f"{name} is not Ready after {PATIENCE:.0f} s: {told}")


def _path(name: str) -> str:
    return f"/apis/{KINDS[PLURAL][0]}/{PLURAL}/{name}"


def _resource(name: str, account: str) -> dict[str, Any]:
    made = managed(PLURAL, name)
    made["spec"]["providerConfigRef"] = {"name": account}
    return made


def _dead_account(name: str, url: str) -> dict[str, Any]:
    endpoint = {"url": {"type": "Static", "static": url}, "hostnameImmutable": True}
    return {**PROVIDER, "metadata": {"name": name}, "spec": {**PROVIDER["spec"], "endpoint": endpoint}}


@contextmanager
def _silent() -> Iterator[str]:
    """A server that takes every connection and says nothing."""
    held = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:

        def hold() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=hold, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    for connection in held:
        connection.close()
