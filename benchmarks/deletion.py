"""1,000 claims of five resources each are deleted at once: seconds until the last composed resource is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks import composites
from benchmarks.running import Running, running
from benchmarks.ten_thousand import Client


def measure() -> Iterator[tuple[str, str]]:
    count = composites.many(1000)
    with running() as operator:
        kinds = [composites.composed_kind(kind, namespaced=False) for kind in composites.KINDS]
        definition = composites.definition("XStack", claim="Stack")
        composites.apply(operator.plane, *kinds, definition)
        composites.established(operator.plane, [definition["metadata"]["name"]])
        composites.apply(operator.plane, composites.composition("XStack"))
        time.sleep(5)
        for policy in ("Background", "Foreground"):
            seconds, mark = asyncio.run(_delete(operator, count, policy))
            yield f"{policy}: seconds until {count} claims and all of theirs are gone", f"{seconds:.1f} s"
            time.sleep(10)
            yield from composites.told(operator, mark, count)


async def _delete(operator: Running, count: int, policy: str) -> tuple[float, int]:
    async with Client(operator.plane) as client, composites.provider(client, namespaced=False):
        await asyncio.sleep(1)
        await composites.create(client, "Stack", count, compositeDeletePolicy=policy)
        await composites.ready(client, "stacks", count)
        await asyncio.sleep(10)
        mark, begun = len(operator.plane.requests()), time.monotonic()
        await client.send("DELETE", composites.collection("stacks"))
        composed = [f"/apis/{composites.NOP}/v1alpha1/{composites.plural_of(kind)}" for kind in composites.KINDS]
        stacks = f"/apis/{composites.GROUP}/v1/xstacks"
        await composites.gone(client, composites.collection("stacks"), stacks, *composed)
        return time.monotonic() - begun, mark
