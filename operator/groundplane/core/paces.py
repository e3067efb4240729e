"""How often a change of what many objects follow is taken up: a Composition or an EnvironmentConfig that is edited in a loop costs nobody else.

Each change that is taken up costs seconds, by how many follow it, and some seconds are saved up: a person's edits are followed at once.
When they are used up, what was changed meanwhile is taken up together, as it is by then.
"""

from __future__ import annotations

from groundplane.core.bucket import Bucket
from groundplane.core.objects import Key
from groundplane.errors import Busy

SAVED = 30.0  # seconds
EACH = 0.5  # seconds for each that follows
LEAST, MOST = 1.0, SAVED  # seconds that a change costs: of two in a row the second waits a second at most
FEW = 64  # that are kept, whatever they are


class _Pace:
    __slots__ = ("booked", "bucket")

    def __init__(self, now: float) -> None:
        self.bucket = Bucket(1.0, SAVED, now)
        self.booked = now  # when those that follow look at it next

    def is_rested(self, now: float) -> bool:
        """Whether it is as a new one: all is saved up again, and nobody is to look at anything."""
        return self.booked <= now and self.bucket.is_full(now)


class Paces:
    """By purpose and object.  `now` is in seconds of a clock that nobody sets.

    >>> paces, key = Paces(), Key("apiextensions.crossplane.io/v1", "Composition", "", "network")
    >>> for _ in range(2):
    ...     paces.spend("revisions", key, followers=50, now=0.0)
    >>> paces.check("revisions", key, now=0.0)
    Traceback (most recent call last):
    groundplane.errors.Busy: ...
    >>> paces.check("revisions", key, now=21.0)

    >>> [paces.book("read", key, followers=50, now=now) for now in (0.0, 1.0, 2.0, 20.0, 25.0)]
    [0.0, 0.0, 19.0, 1.0, 21.0]
    """

    def __init__(self) -> None:
        self._paces: dict[tuple[str, Key], _Pace] = {}
        self._most = FEW  # when those that are as new ones are dropped next

    def __len__(self) -> int:
        return len(self._paces)

    def check(self, purpose: str, key: Key, now: float) -> None:
        """Return if a change of the object may be taken up; to be followed by `spend` if one is.

        Raises:
            Busy: it has changed too often lately.
        """
        pace = self._paces.get((purpose, key))
        if pace and (left := pace.bucket.left(now)):
            error = Busy(f"{key} changes again and again", after=left)
            error.line = "it changes again and again; what it is by then is taken up after a while"
            raise error

    def spend(self, purpose: str, key: Key, followers: int, now: float) -> None:
        """A change of it is taken up, which so many objects follow."""
        self._of(purpose, key, now).bucket.reserve(now, _cost(followers))

    def book(self, purpose: str, key: Key, followers: int, now: float) -> float:
        """Seconds until those that follow are to look at a change, 0 for at once; what changes until then they see as well."""
        pace = self._of(purpose, key, now)
        if pace.booked <= now:
            pace.booked = now + pace.bucket.left(now)
            pace.bucket.reserve(now, _cost(followers))
        return pace.booked - now

    def _of(self, purpose: str, key: Key, now: float) -> _Pace:
        """That of an object that is gone stays a while: who deletes it and makes it again, again and again, changes it as well."""
        if (purpose, key) not in self._paces and len(self._paces) >= self._most:
            self._paces = {each: pace for each, pace in self._paces.items() if not pace.is_rested(now)}
            self._most = max(FEW, 2 * len(self._paces))
        return self._paces.setdefault((purpose, key), _Pace(now))


def _cost(followers: int) -> float:
    return min(MOST, max(LEAST, EACH * followers))
