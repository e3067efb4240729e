"""Memory that has become free, given back to the system.

The C library keeps what was freed, for each thread apart: after the lists of a start, whose objects come and go by the megabyte, that is a
fifth of what a process holds.  Only the GNU C library is told; another one keeps what it likes.
"""

from __future__ import annotations

import ctypes
import gc

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def share_arenas(count: int) -> None:
    """Have all threads take memory from so many places.  Before there are any."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_ARENA_MAX, count)


def give_back() -> None:
    """What is free now.  Takes some ten milliseconds."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
