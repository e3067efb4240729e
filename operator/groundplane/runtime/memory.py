"""Memory that has become free, given back to the system.

The C library keeps what was freed, for each thread apart: after the lists of a start, whose objects come and go by the megabyte, that is a
fifth of what a process holds; and again what connections took that are closed when nobody has used them for a while, or what many objects at once
needed.  Only the GNU C library is told; another one keeps what it likes.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc

AGAIN = 60.0  # seconds
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


async def keep_giving_back(every: float = AGAIN) -> None:
    """What is free now, and again and again what has become free; until cancelled."""
    give_back(after_collecting=True)
    while True:
        await asyncio.sleep(every)
        give_back()
