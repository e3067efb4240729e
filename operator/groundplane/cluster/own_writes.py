"""No reconcile is run again for what it wrote itself: all that decides this is here.

The invariant: a change is told exactly once, by whoever learns of it first; if a reconcile of ours made it, that one is left out of those
that it calls for, and nobody else is.  A change by somebody else between two of ours counts as theirs.

How it is kept.  A reconcile runs inside `running`, and writes there.  Whoever takes in a change tells it where it was made: the cache the answer to
a write, the embedded store its own writes; so who is told asks `writers` whom to leave out.  The watch's event of the same version may come
later, outside: by `Versions` the cache knows it again, and says nothing, unless somebody else wrote in between, whose change was in our answer and
seemed to be all our own.  Or it comes before the answer, which it does more often the more there is to do: then it is told at once, to all but those
whose writes of the object are on their way (`Flights`); and if their answers have other versions, it is told once more.
What a run does need to see again of its own, it asks for: `Result.again`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from groundplane.core.objects import Key

LATEST = 8  # of our own writes of one object that are remembered until the API server has told of them

Target = tuple[str, Key]  # a controller's name, and what it reconciles
_running: ContextVar[frozenset[Target]] = ContextVar("running", default=frozenset())


@contextmanager
def running(*targets: Target) -> Iterator[None]:
    """What is written inside is the target's own, or may be that of several.  Tasks that outlive it need an empty context (`tasks.detached`)."""
    token = _running.set(frozenset(targets))
    try:
        yield
    finally:
        _running.reset(token)


def writers() -> frozenset[Target]:
    """Whose change is told right now, or may be, if it is of reconciles of this process."""
    return _running.get()


class Flights:
    """Writes that reconciles have sent and that are not answered.  Belongs to one event loop."""

    def __init__(self) -> None:
        self._flying: dict[Key, list[tuple[frozenset[Target], set[int]]]] = {}

    def __len__(self) -> int:
        return len(self._flying)

    @contextmanager
    def sent(self, key: Key) -> Iterator[set[int]]:
        """A write of the object is on its way: the versions of which the API server tells meanwhile, which may be it."""
        told = set[int]()
        if not (own := writers()):
            yield told
            return
        flight = (own, told)
        flying = self._flying.setdefault(key, [])
        flying.append(flight)
        try:
            yield told
        finally:
            flying[:] = [each for each in flying if each is not flight]
            if not flying:
                del self._flying[key]

    def suspects(self, key: Key, version: int) -> frozenset[Target]:
        """Who may have made the version of which the API server tells."""
        flying = self._flying.get(key, ())
        for _, told in flying:
            told.add(version)
        return frozenset(target for own, _ in flying for target in own)


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
