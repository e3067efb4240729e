"""Memory that has become free, given back to the system.

The C library keeps what was freed, for each thread apart: after the lists of a start, whose objects come and go by the megabyte, that is a
fifth of what a process holds; and again what connections took that are closed when nobody has used them for a while, or what many objects at once
needed.  Only the GNU C library is told; another one keeps what it likes.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from pathlib import Path

AGAIN = 60.0  # seconds
GROWN = 32 * 2**20  # bytes more in use than after the last collection, at which it is worth the pause of another
_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def share_arenas(count: int) -> None:
    """Have all threads take memory from so many places.  Before there are any."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_ARENA_MAX, count)


def give_back(*, after_collecting: bool = False) -> None:
    """What is free now.  Takes a millisecond or two; some ten, if garbage is to be collected first."""
    if after_collecting:
        gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def resident() -> int:
    """Bytes of memory that the process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


async def keep_giving_back(every: float = AGAIN, *, grown: int = GROWN) -> None:
    """What is free now, and again and again what has become free; until cancelled.

    Whoever has grown may hold garbage in circles, which the interpreter itself looks for ever more seldom: the clients of an account whose
    credentials are renewed are four megabytes of it.
    """
    give_back(after_collecting=True)
    least = resident()
    while True:
        await asyncio.sleep(every)
        give_back()
        held = resident()
        if held - least >= grown:
            give_back(after_collecting=True)
            least = held = resident()
        least = min(least, held)
