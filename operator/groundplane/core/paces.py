"""How often a change of what many objects follow is taken up: a Composition or a definition that is edited in a loop costs nobody else.

Each change that is taken up costs seconds, by how many follow it, and some seconds are saved up: a person's edits are followed at once.
When they are used up, what was changed meanwhile is taken up together, as it is by then.
"""

from __future__ import annotations

from groundplane.core.bucket import Bucket
from groundplane.core.objects import Key
from groundplane.errors import Busy

SAVED = 60.0  # seconds
EACH = 0.2  # seconds for each that follows
LEAST, MOST = 1.0, 60.0  # seconds that a change costs


class Paces:
    """By controller and object.  `now` is in seconds of a clock that nobody sets.

    >>> paces, key = Paces(), Key("apiextensions.crossplane.io/v1", "Composition", "", "network")
    >>> for _ in range(7):
    ...     paces.spend("revisions", key, followers=50, now=0.0)
    >>> paces.check("revisions", key, now=0.0)
    Traceback (most recent call last):
    groundplane.errors.Busy: ...
    >>> paces.check("revisions", key, now=11.0)
    """

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, Key], Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def check(self, controller: str, key: Key, now: float) -> None:
        """Return if a change of the object may be taken up.

        Raises:
            Busy: it has changed too often lately.
        """
        bucket = self._buckets.get((controller, key))
        if bucket and (left := bucket.left(now)):
            error = Busy(f"{key} changes again and again", after=left)
            error.line = "it changes again and again; what it is by then is taken up after a while"
            raise error

    def spend(self, controller: str, key: Key, followers: int, now: float) -> None:
        """A change of it is taken up, which so many objects follow."""
        bucket = self._buckets.setdefault((controller, key), Bucket(1.0, SAVED, now))
        bucket.reserve(now, min(MOST, max(LEAST, EACH * followers)))

    def forget(self, controller: str, key: Key) -> None:
        """The object is gone."""
        self._buckets.pop((controller, key), None)
