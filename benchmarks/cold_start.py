"""How long the command line takes until it does something: the median of seven fresh processes."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "compositions" / "database-aws"


def measure() -> Iterator[tuple[str, str]]:
    claim = [str(FOLDER / "examples" / "claim.yaml"), str(FOLDER)]
    for words, arguments in (
        ("--help", ["--help"]),
        ("get --help", ["get", "--help"]),
        ("render (a claim of the shipped composition)", ["render", *claim]),
        ("crds", ["crds"]),
    ):
        times, cpu = [], []
        for _ in range(7):
            begun, used = time.perf_counter(), _children()
            subprocess.run([sys.executable, "-m", "groundplane.cli.main", *arguments], check=True, capture_output=True)
            times.append(time.perf_counter() - begun)
            cpu.append(_children() - used)
        yield (
            f"groundplane {words}",
            f"{statistics.median(times) * 1000:.0f} ms (CPU {statistics.median(cpu) * 1000:.0f} ms)",
        )


def _children() -> float:
    """CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
