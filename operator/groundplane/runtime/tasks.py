"""Tasks that outlive whoever began them, and waits that end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any


def detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task in a context of its own: it outlives the reconcile that called for it, and must not count as part of it."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


async def within(seconds: float, event: asyncio.Event) -> bool:
    """Wait for an event, but no longer than so; whether it came."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
