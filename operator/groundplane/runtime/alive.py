"""Whether another process of this very machine still lives, by a sign that the kernel takes away when it ends, however it ends.

Who holds a Lease and is killed can't release it.  On the same machine, nobody has to wait for it to run out: each process binds an abstract
Unix socket with its identity's name before it claims anything, and its identity says where that is to be seen: at this boot, in this network
namespace.  Where both are ours and nobody has bound the name, the process is dead.  Anywhere else nothing is known, and nothing is concluded:
another machine, a Pod of its own, a system without such sockets, an identity without a place.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import socket
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NETWORK = Path("/proc/self/ns/net")
_signs: list[socket.socket] = []  # bound until this process ends; a program that it starts does not inherit them


def new_identity(prefix: str) -> str:
    """A name for this process that nobody else has, `prefix` first; with a place in it if a sign of life is there for it."""
    host, unique, place = socket.gethostname(), secrets.token_hex(4), here()
    if place:
        identity = f"{prefix}{host}_{place}_{unique}"
        if _sign(identity):
            return identity
    return f"{prefix}{host}_{unique}"


def here() -> str:
    """The boot and the network namespace of this process; "" where that can't be known.  No other one that lives has both."""
    try:
        boot, network = _BOOT.read_text().strip(), os.stat(_NETWORK).st_ino
    except OSError:
        return ""
    return f"{hashlib.sha256(boot.encode()).hexdigest()[:16]}-{network}" if boot else ""


def is_dead(identity: str) -> bool:
    """Whether the process of this name is certainly gone; False where nobody can tell."""
    name, *place = identity.rsplit("_", 2)
    if (
        len(place) != 2 or place[0] != here() or not name.endswith(socket.gethostname())
    ):  # two clones of a machine have one boot
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_address(identity))
        except OSError as error:
            return error.errno == errno.ECONNREFUSED  # nobody has bound it
    return False


def _sign(identity: str) -> bool:
    """Bind the name for as long as this process lives."""
    sign = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sign.bind(_address(identity))
    except OSError:
        sign.close()
        return False
    _signs.append(sign)
    return True


def _address(identity: str) -> bytes:
    return b"\0groundplane-" + hashlib.sha256(identity.encode()).hexdigest().encode()
