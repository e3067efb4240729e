"""No reconcile is run again for what it wrote itself: all that decides this is here.

The invariant: a change is told exactly once, by whoever learns of it first; if a reconcile of ours made it, that one is left out of those
that it calls for, and nobody else is.  A change by somebody else between two of ours counts as theirs.

How it is kept.  A reconcile runs inside `running`, and writes there.  Whoever takes in a change tells it where it was made: the cache takes the answer to
a write before the watch tells of it, the embedded store its own writes; so who is told asks `writer` whom to leave out.  The watch's event
of the same version comes later, outside: by `Versions` the cache knows it again, and says nothing, unless somebody else wrote in between,
whose change was in our answer and seemed to be all our own.  What a run does need to see again of its own, it asks for: `Result.again`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from groundplane.core.objects import Key

LATEST = 8  # of our own writes of one object that are remembered until the API server has told of them

Target = tuple[str, Key]  # a controller's name, and what it reconciles
_running: ContextVar[Target | None] = ContextVar("running", default=None)


@contextmanager
def running(target: Target) -> Iterator[None]:
    """What is written inside is the target's own.  Tasks that outlive it need an empty context (`tasks.detached`)."""
    token = _running.set(target)
    try:
        yield
    finally:
        _running.reset(token)


def writer() -> Target | None:
    """Who makes the change that is told right now, if it is a reconcile of this process."""
    return _running.get()


class Versions(NamedTuple):
    """Of one object: up to which version the API server has told, and which of those after it our own writes made.

    >>> Versions(5).wrote(7).heard(6)  # 6 is somebody else's, and was in the answer to our write
    (Versions(told=6, ours=(7,)), True)
    >>> Versions(5).wrote(7).heard(7)
    (Versions(told=7, ours=()), False)
    """

    told: int
    ours: tuple[int, ...] = ()

    def wrote(self, version: int) -> Versions:
        """A write of ours made this version."""
        return Versions(self.told, (*self.ours[-LATEST:], version))

    def heard(self, version: int) -> tuple[Versions, bool]:
        """The API server tells of a version that we have, or are past; and whether somebody else's change is in it that it had not told."""
        is_theirs = version > self.told and version not in self.ours
        return Versions(max(self.told, version), tuple(each for each in self.ours if each > version)), is_theirs
