"""The real helm as a process."""

from __future__ import annotations

import json
import subprocess

from tests.cluster import build


def helm(*args, values=None):
    """Run helm, with these values if there are any; what it said and how it ended."""
    command = [str(build.helm()), *map(str, args)]
    if values is not None:
        command += ["--values", "-"]
    return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True)
