"""Measure what the design promises: `python -m benchmarks [NAME…]`, those of NAMES without any.  The table is in README.md.

Figures vary with the machine: compare those of one run on one machine, before and after a change.
"""

from __future__ import annotations

import importlib
import sys

NAMES = ("cold_start", "render", "template", "functions", "scale", "memory", "requests", "events")
LONG = (
    "ten_thousand",
    "noisy",
    "v2_spike",
    "deletion",
    "definitions",
    "objects",
    "webhooks",
    "author_tools",
    "replicas",
    "calls",
    "postgresql",
    "creates",
    "accounts",
)  # take many minutes: only by their names


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - set(NAMES) - set(LONG))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES + LONG)}")
    for name in names or NAMES:
        for what, figure in importlib.import_module(f"benchmarks.{name}").measure():
            print(f"{name:12} {what:60} {figure}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
