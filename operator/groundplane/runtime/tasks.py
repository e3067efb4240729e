"""Tasks that outlive whoever began them, and waits that end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from groundplane.errors import GroundplaneError, NotLeader, Unavailable


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


async def insisting(
    work: Callable[[], Awaitable[object]], failed: Callable[[GroundplaneError], None], pause: float
) -> None:
    """Do a piece of work that may be begun again, after a pause if the other side was away or slow.

    What else goes wrong is told and ends it, as what can't be mended by trying.  Raises NotLeader.
    """
    while True:
        try:
            await work()
            return
        except NotLeader:
            raise
        except Unavailable as error:
            failed(error)
            await asyncio.sleep(pause)
        except GroundplaneError as error:
            failed(error)
            return
