"""An event loop whose clock jumps to the next timer instead of waiting: hours pass in no time, and always the same way."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout=None):
        if found := super().select(0):
            return found
        if timeout is None:  # nothing will ever happen: a test that waits for that is wrong
            raise AssertionError("the event loop waits for nothing")
        self.now += timeout
        return []


class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self):
        return self._clock.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time, which begins at 0."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)
