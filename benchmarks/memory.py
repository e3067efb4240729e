"""The operator's resident memory: idle, and with a database."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.running import platform, running


def measure() -> Iterator[tuple[str, str]]:
    with running() as operator:
        yield "idle, all AWS kinds active, before any object", f"{operator.cost()[1]:.0f} MiB"
        platform(operator.plane)
        time.sleep(3)
        yield "with a network in AWS (ec2 and rds clients loaded)", f"{operator.cost()[1]:.0f} MiB"
