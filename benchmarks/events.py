"""CPU for a watch event of a composed kind: from bytes on the wire to the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson

from groundplane.cluster.cache import Cache

COUNT, SIZE = 1000, 20


def measure() -> Iterator[tuple[str, str]]:
    cache = Cache()
    cache.follow("example.org/v1", "Thing")
    events = [
        orjson.dumps(
            {
                "apiVersion": "example.org/v1",
                "kind": "Thing",
                "metadata": {
                    "name": f"n{index % COUNT}",
                    "uid": f"u{index % COUNT}",
                    "resourceVersion": str(index + 1),
                },
                "spec": {f"field{n}": f"value {n}" for n in range(SIZE)},
                "status": {f"field{n}": f"value {n}" for n in range(SIZE)},
            }
        )
        for index in range(10 * COUNT)
    ]
    begun = time.process_time()
    for event in events:
        cache.put(orjson.loads(event))
    yield "an event of a 1.5 KB object into the cache", f"{(time.process_time() - begun) / len(events) * 1e6:.0f} µs"
