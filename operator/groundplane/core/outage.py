"""A server that does not answer in time is asked by one at a time; whoever else wants to is told so at once.

However many objects depend on it, one waits for it: else they would hold the workers and connections that the objects of other servers need.
Time comes as a value, from whichever clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from groundplane.errors import GroundplaneError, Unavailable

PAUSE = 5.0  # seconds from one that was not answered to the next who asks


class Outage:
    """Of one server: whether it answered when it was last asked."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._problem: Unavailable | None = None  # why the last who asked got no answer
        self._until = 0.0  # when the next may ask
        self._is_asked = False  # one looks whether it answers again

    def check(self) -> None:
        """Raises Unavailable, in the words of who got no answer, while nobody else is to ask."""
        known = self._problem
        if known and (self._is_asked or self._now() < self._until):
            raise Unavailable(known.what, mend=known.mend)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask inside.  Raises as `check`; an Unavailable whose cause is a TimeoutError is no answer, all else is one."""
        self.check()
        looks = self._is_asked = self._problem is not None
        try:
            yield
        except GroundplaneError as error:
            is_silent = isinstance(error.__cause__, TimeoutError)
            self._problem = error if is_silent and isinstance(error, Unavailable) else None
            self._until = self._now() + PAUSE
            raise
        else:
            self._problem = None
        finally:
            if looks:
                self._is_asked = False
