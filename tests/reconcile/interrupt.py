"""A process that dies at its k-th write: before the write reached anybody, or after it did and before we knew.

What was only in memory is lost with the World that used it; what was written stays.
"""

from __future__ import annotations

MUTATING = ("create", "update", "apply", "patch", "delete")


class Killed(BaseException):
    """Not an Exception, so that nothing on the way handles it."""


class Interrupted:
    """A port of which some methods count, and the k-th call kills."""

    def __init__(self, inner, counter, methods, *, before):
        self.inner = inner
        self._counter, self._methods, self._before = counter, methods, before

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        if name not in self._methods:
            return found

        async def counted(*args, **kwargs):
            self._counter.calls += 1
            fatal = self._counter.calls == self._counter.fatal
            if fatal and self._before:
                raise Killed
            result = await found(*args, **kwargs)
            if fatal:
                raise Killed
            return result

        return counted


class Counter:
    """Shared by the ports of one process: calls are counted over all of them."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.calls = fatal, 0


def interrupted(cluster, k: int, *, before: bool) -> Interrupted:
    """The cluster, whose k-th mutating call kills the process before or after it takes effect."""
    return Interrupted(cluster, Counter(k), MUTATING, before=before)
