"""Memory that has become free goes back to the system, whenever that was."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from groundplane.runtime import memory

# Many blocks in a process of their own, the last of which stays: what is below it is kept by the C library.
HOLES = """
import os
from pathlib import Path
from groundplane.runtime import memory
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
blocks = [b"x" * (65_000 + index % 2) for index in range(1_000)]
stays = blocks[-1]
blocks.clear()
before = resident()
memory.give_back()
print(before - resident())
"""


def test_what_is_free_between_what_is_not_goes_back():
    folder = Path(memory.__file__).parents[2]
    given = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True, cwd=folder)
    assert int(given.stdout) > 50  # MiB of 62


async def test_what_becomes_free_later_goes_back_too(monkeypatch):
    calls: asyncio.Queue[bool] = asyncio.Queue()
    monkeypatch.setattr(memory, "give_back", lambda *, after_collecting=False: calls.put_nowait(after_collecting))
    task = asyncio.create_task(memory.keep_giving_back(every=0.0))
    assert [await calls.get() for _ in range(3)] == [True, False, False]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_who_has_grown_is_looked_through_for_garbage_and_nobody_else(monkeypatch):
    collected: asyncio.Queue[int] = asyncio.Queue()
    held = iter([100, 90, 389, 390, 200, 499])  # at the start, after a minute, and so on; after a collection once more
    monkeypatch.setattr(memory, "resident", lambda: next(held, 499))
    monkeypatch.setattr(memory, "give_back", lambda *, after_collecting=False: collected.put_nowait(after_collecting))
    task = asyncio.create_task(memory.keep_giving_back(every=0.0, grown=300))
    told = [await collected.get() for _ in range(6)]
    assert told == [True, False, False, False, True, False]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
