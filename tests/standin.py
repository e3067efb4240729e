"""AWS's stand-in as a process of its own, for tests that talk to it over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(*, slow: float = 0.0) -> Iterator[str]:
    """The URL of a fresh stand-in; databases take `slow` seconds to come and to go."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "groundplane.aws.standin", "--slow", str(slow)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), "the stand-in did not start"
        yield url
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
