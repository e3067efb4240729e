"""The parts of objects that are asked for again and again, so that large objects are decoded once and not for each question."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from groundplane.cluster import compact
from groundplane.core.objects import Object

HEADS = 20_000  # that are remembered

Cut = Callable[[Object], Object]


class Heads:
    """What a cut leaves of an object, by UID, as of one version.  What comes out is the caller's."""

    def __init__(self, limit: int = HEADS) -> None:
        self._limit = limit
        self._known: dict[tuple[Cut, str], tuple[int, bytes]] = {}  # the longest known first

    def __len__(self) -> int:
        return len(self._known)

    def get(self, cut: Cut, uid: str, version: int, read: Callable[[], Object | None]) -> Object | None:
        """`read` gives the whole object, if it has to be cut anew; None if it is gone meanwhile."""
        known = self._known.get((cut, uid))
        if known is None or known[0] != version:
            self._known.pop((cut, uid), None)
            if (whole := read()) is None:
                return None
            known = self._known[cut, uid] = version, compact.dumps(cut(whole))
            if len(self._known) > self._limit:
                del self._known[next(iter(self._known))]
        found: Object = orjson.loads(known[1])
        return found
