"""Functions that run in this process: at once where that is quick, beside the event loop where it is not.

Whoever runs at once is asked to be brief: a template that is not gives up within some milliseconds, and is rendered again in a thread, from then
on there alone.  Of other functions it is found out by how long they took.  Threads take turns with one another and with the event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from weakref import WeakSet

from groundplane.core import claim
from groundplane.core.pipeline import Long, Request, Response, RunFunction
from groundplane.remote.turns import Slices, Turns

THREADS = 2  # more would not do more: they share one interpreter; one tenant gets one
PAUSE = 0.001  # seconds that a template sleeps after each millisecond or so: whatever else waits for the interpreter gets it at once
QUICK = 0.01  # seconds of the processor's that a function may take on the event loop


class Aside:
    """Where functions run; belongs to the event loop that it is first used in."""

    def __init__(self, slices: Slices, *, cpu: Callable[[], float] = time.thread_time) -> None:
        self._slices, self._cpu = slices, cpu
        self._long: WeakSet[RunFunction] = WeakSet()  # those that once took long: they belong to compiled revisions
        self._threads = ThreadPoolExecutor(THREADS, "functions")
        self._baton = threading.Lock()  # who has it works: the event loop contends with one of them for the interpreter
        self._turns = Turns(
            THREADS,
            time.monotonic,
            held="as many functions run as may that take long",
            line="its turn to run a function that takes long has not come: others are before it",
        )

    async def run(self, function: RunFunction, request: Request) -> Response:
        """Run a function; see `ports.Work`."""
        if function not in self._long:
            async with self._slices.turn():
                begun = self._cpu()
                try:
                    return function(replace(request, is_brief=True))
                except Long:
                    self._long.add(function)
                finally:
                    if self._cpu() - begun > QUICK:
                        self._long.add(function)
        async with self._turns.turn(claim.tenant(request.observed.composite.object)):
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, function, request)

    def _work(self, function: RunFunction, request: Request) -> Response:
        with self._baton:
            return function(replace(request, pause=self._pause))

    def _pause(self) -> None:
        self._baton.release()
        time.sleep(PAUSE)
        self._baton.acquire()

    def close(self) -> None:
        """Begin nothing any more; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
