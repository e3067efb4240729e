"""1,000 composites in a namespace at once, each of five resources through patch-and-transform and auto-ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks import composites
from benchmarks.running import Running, running
from benchmarks.ten_thousand import Client

QUIET = (
    10.0  # seconds after which the last events are written, of a thousand composites at fifty a second: see README.md
)


def measure() -> Iterator[tuple[str, str]]:
    count = composites.many(1000)
    with running() as operator:
        kinds = [composites.composed_kind(kind, namespaced=True) for kind in composites.KINDS]
        definition = composites.definition("Stack")
        composites.apply(operator.plane, *kinds, definition)
        composites.established(operator.plane, [definition["metadata"]["name"]])
        composites.apply(operator.plane, composites.composition("Stack"))
        time.sleep(5)
        mark, cpu = len(operator.plane.requests()), operator.cost()[0]
        yield f"seconds until {count} are Ready", f"{asyncio.run(_spike(operator, count)):.1f} s"
        yield "CPU seconds, resident memory", f"{operator.cost()[0] - cpu:.1f} s, {operator.cost()[1]:.0f} MiB"
        time.sleep(QUIET + count * 3 / 50)
        yield from composites.told(operator, mark, count)


async def _spike(operator: Running, count: int) -> float:
    async with Client(operator.plane) as client, composites.provider(client, namespaced=True):
        await asyncio.sleep(1)
        begun = time.monotonic()
        await composites.create(client, "Stack", count)
        await composites.ready(client, "stacks", count)
        return time.monotonic() - begun
