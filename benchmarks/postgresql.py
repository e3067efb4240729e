"""A claim on a PostgreSQL server until it is ready; and many databases, each with its role and grant, at rest.

1,000 databases take PostgreSQL 8 GB of its folder, below the system's temporary one.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

from tests.cluster.person import offer

from benchmarks.running import REPOSITORY, Running, running
from groundplane.sql.standin import serving

MANY = int(os.environ.get("GROUNDPLANE_BENCH_COMPOSITES", "1000"))
CLAIMS = 5
REST = 60.0  # seconds
GROUP = "postgresql.sql.crossplane.io"
FOLDER = REPOSITORY / "compositions" / "database-postgresql"


def measure() -> Iterator[tuple[str, str]]:
    with serving() as server, running("--activations", f"*.{GROUP}") as operator:
        offer(operator.plane, server)
        yield f"a claim until it is ready, median of {CLAIMS}", f"{statistics.median(_claims(operator)):.2f} s"
        time.sleep(10)
        before = operator.cost()[1]
        begun = time.monotonic()
        operator.plane.apply(*(obj for number in range(MANY) for obj in _database(f"bench-{number}")))
        operator.plane.wait("all are ready", lambda: _are_ready(operator), seconds=3600)
        yield f"{MANY} databases, each with role and grant, until all are ready", f"{time.monotonic() - begun:.0f} s"
        time.sleep(10)
        cpu, memory = operator.cost()
        yield "memory more than without them", f"{memory - before:.0f} MiB"
        time.sleep(REST)
        yield "CPU at rest", f"{(operator.cost()[0] - cpu) / REST:.3f} cores"


def _claims(operator: Running) -> Iterator[float]:
    plane = operator.plane
    for name in ("definition.yaml", "composition.yaml"):
        plane.kubectl("apply", "-f", FOLDER / name)
    plane.wait("the claim's kind", lambda: plane.get("databases.platform.example.com", "-A") is not None)
    for number in range(CLAIMS + 1):
        name = f"claim-{number}"
        begun = time.monotonic()
        plane.apply(_claim(name))
        plane.wait(
            "it is ready",
            lambda name=name: _is_ready(plane.get("databases.platform.example.com", name, "-n", "my-team")),
            seconds=120,
        )
        if number:  # the first imports the driver
            yield time.monotonic() - begun


def _claim(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "platform.example.com/v1alpha1",
        "kind": "Database",
        "metadata": {"name": name, "namespace": "my-team"},
        "spec": {
            "compositionSelector": {"matchLabels": {"provider": "postgresql"}},
            "parameters": {"size": "small", "engine": "postgres"},
            "writeConnectionSecretToRef": {"name": name},
        },
    }


def _database(name: str) -> Iterator[dict[str, Any]]:
    asked: dict[str, dict[str, Any]] = {
        "Role": {"privileges": {"login": True}},
        "Database": {"owner": name},
        "Grant": {"privileges": ["ALL"], "role": name, "database": name, "revokePublicOnDb": True},
    }
    for kind, fields in asked.items():
        spec: dict[str, Any] = {"forProvider": fields}
        if kind == "Role":
            spec["writeConnectionSecretToRef"] = {"name": name, "namespace": "my-team"}
        yield {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _are_ready(operator: Running) -> bool:
    kinds = (f"{plural}.{GROUP}" for plural in ("databases", "roles", "grants"))
    return all(
        sum(_is_ready(each) for each in json.loads(operator.plane.kubectl("get", kind, "-o", "json").stdout)["items"])
        >= MANY
        for kind in kinds
    )


def _is_ready(obj: dict[str, Any] | None) -> bool:
    told = ((obj or {}).get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in told)
