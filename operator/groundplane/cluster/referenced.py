"""Objects that are read over and over and of which a watch tells only that they have changed: Secrets with credentials.

Each is fetched once per change and kept while it is used, for its contents are none of our business otherwise.  That there
is none is kept as well: who waits for a Secret asks again and again.
"""

from __future__ import annotations

import asyncio
from contextvars import Context

import orjson

from groundplane.cluster import compact
from groundplane.core.objects import Key, Object, key_of, meta

UNUSED = 900.0  # seconds after which an object is forgotten that nobody has read: polls are ten minutes apart
ABSENT = 60.0  # seconds after which it is asked for again what was not there: else it would be missing for as long as a watch is forbidden
OLDEST = 3600.0  # seconds after which it is fetched again all the same: a watch may have been forbidden
LIMIT = 1024  # objects


class Referenced:
    """Objects as they were last fetched.  Belongs to one event loop; never printed, for it holds secrets."""

    def __init__(self) -> None:
        # version, JSON (empty: there was none), when fetched, when last used; the longest unused first
        self._kept: dict[Key, tuple[int, bytes, float, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, version: int) -> Object | None:
        """The object, if it is kept as of this version or a later one, which the watch may still have to tell of."""
        data = self._current(key, version)
        found: Object | None = orjson.loads(data) if data else None
        return found

    def is_absent(self, key: Key) -> bool:
        """Whether there was none when it was last asked for, a moment ago, and no watch has told of one since."""
        return self._current(key, 0, ABSENT) == b""

    def put(self, obj: Object) -> None:
        """Keep it until it changes, or nobody reads it any more."""
        self._put(key_of(obj), int(meta(obj).get("resourceVersion") or 0), compact.dumps(obj))

    def put_absent(self, key: Key) -> None:
        """Keep that there is none, until a watch tells of one, or nobody asks for it any more."""
        self._put(key, 0, b"")

    def _current(self, key: Key, version: int, oldest: float = OLDEST) -> bytes | None:
        kept, now = self._kept.pop(key, None), asyncio.get_running_loop().time()
        if kept is None or kept[0] < version or now - kept[2] > oldest:
            return None
        self._kept[key] = (*kept[:3], now)
        return kept[1]

    def _put(self, key: Key, version: int, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._kept.pop(key, None)
        self._kept[key] = version, data, loop.time(), loop.time()
        if len(self._kept) > LIMIT:
            del self._kept[next(iter(self._kept))]
        self._timer = self._timer or loop.call_later(UNUSED, self._sweep, context=Context())

    def forget(self, key: Key) -> None:
        """It has changed, or is gone."""
        self._kept.pop(key, None)

    def _sweep(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        while self._kept:
            key = next(iter(self._kept))
            if (left := self._kept[key][3] + UNUSED - loop.time()) > 0:
                self._timer = loop.call_later(left, self._sweep, context=Context())
                return
            del self._kept[key]
