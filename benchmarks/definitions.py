"""A cluster with 200 definitions, half of v2 and half with claims, and nothing of their kinds: memory, and requests at rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from benchmarks import composites
from benchmarks.running import running

REST = 60.0  # seconds


def measure() -> Iterator[tuple[str, str]]:
    count = composites.many(200)
    with running() as operator:
        yield "resident memory before", f"{operator.cost()[1]:.0f} MiB"
        made = [
            composites.definition(f"Stack{index}", claim="" if index % 2 else f"Claim{index}") for index in range(count)
        ]
        begun = time.monotonic()
        composites.apply(operator.plane, *made, *(composites.composition(f"Stack{index}") for index in range(count)))
        composites.established(operator.plane, [each["metadata"]["name"] for each in made])
        yield f"seconds until {count} definitions are Established", f"{time.monotonic() - begun:.1f} s"
        time.sleep(30)
        yield "resident memory", f"{operator.cost()[1]:.0f} MiB"
        mark, cpu = len(operator.plane.requests()), operator.cost()[0]
        time.sleep(REST)
        found = Counter(request for request in operator.requests(mark) if request[0] != "watch")
        yield f"requests in {REST:.0f} seconds at rest, but for watches", str(sum(found.values()))
        yield from ((f"  {verb} {resource}", str(times)) for (verb, resource), times in found.most_common(5))
        yield "share of a core at rest", f"{(operator.cost()[0] - cpu) / REST:.3f}"
