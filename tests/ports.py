"""Ports for servers of tests that have to be told one, or that come back on the same one.

Below those that the kernel hands out (from 32768 on with Linux): one of these may be taken by any connection until the server binds it, and while it is
down; a client of loopback that tries a port where nobody is may even be connected to itself.
"""

from __future__ import annotations

import random
import socket

HERE = range(20_000, 30_000)
_chance = random.SystemRandom()  # no seed: other processes look for ports, too
_given: set[int] = set()


def free_port() -> int:
    """One where nobody listens on loopback, and that this process was not given before."""
    while True:
        port = _chance.choice(HERE)
        if port in _given:
            continue
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
