"""Requests to the API server: from a claim's creation to Ready, and at rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from benchmarks.running import REPOSITORY, platform, running

REST = 60.0  # seconds


def measure() -> Iterator[tuple[str, str]]:
    with running() as operator:
        platform(operator.plane)
        time.sleep(5)
        mark = len(operator.plane.requests())
        begun = time.monotonic()
        operator.plane.kubectl("apply", "-f", REPOSITORY / "compositions/database-aws/examples/claim.yaml")
        operator.plane.kubectl(
            "wait", "database", "my-service-db", "-n", "my-team", "--for=condition=Ready", "--timeout=60s"
        )
        yield "seconds from claim to Ready (the database takes 1 s)", f"{time.monotonic() - begun:.1f} s"
        time.sleep(3)
        found = Counter(operator.requests(mark))
        yield "requests from claim to Ready", str(sum(found.values()))
        for (verb, resource), count in found.most_common():
            yield f"  {verb} {resource}", str(count)
        mark, cpu = len(operator.plane.requests()), operator.cost()[0]
        time.sleep(REST)
        rest = [r for r in operator.requests(mark) if r[0] != "watch"]
        yield "requests an hour at rest, but for watches that are renewed", f"{len(rest) * 3600 / REST:.0f}"
        yield "share of a core at rest, polls of AWS included", f"{(operator.cost()[0] - cpu) / REST:.3f}"
