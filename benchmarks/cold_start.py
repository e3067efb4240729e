"""How long the command line takes until it does something: the median of seven fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator


def measure() -> Iterator[tuple[str, str]]:
    for arguments in (["--help"], ["get", "--help"], ["crds"]):
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-m", "groundplane.cli.main", *arguments], check=True, capture_output=True)
            times.append(time.perf_counter() - begun)
        yield f"groundplane {' '.join(arguments)}", f"{statistics.median(times) * 1000:.0f} ms"
