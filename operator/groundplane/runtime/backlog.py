"""Which event is written next: what is new, namespace after namespace in turn; then what has repeated, when it is due."""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict

from groundplane.core.objects import Key

STALE = 1_000  # void entries of the heap that we put up with


class Backlog:
    """Events to be written, by key; each once."""

    def __init__(self) -> None:
        self._news: OrderedDict[str, OrderedDict[Key, None]] = OrderedDict()  # by share
        self._shares: dict[Key, str] = {}  # of what is new
        self._due: dict[Key, tuple[float, int]] = {}  # when, order
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._shares) + len(self._due)

    def __contains__(self, key: Key) -> bool:
        return key in self._shares or key in self._due

    def memory(self) -> int:
        """How many entries are kept, void ones included."""
        return len(self) + len(self._heap) + len(self._news)

    def add(self, key: Key, share: str) -> None:
        """It is new, and `share`'s."""
        self._shares[key] = share
        self._news.setdefault(share, OrderedDict())[key] = None

    def add_later(self, key: Key, when: float) -> None:
        """To be written at that time, after what is new."""
        entry = self._due[key] = (when, next(self._order))
        heapq.heappush(self._heap, (*entry, key))
        if len(self._heap) > 2 * len(self._due) + STALE:
            self._heap = [(when, order, key) for key, (when, order) in self._due.items()]
            heapq.heapify(self._heap)

    def discard(self, key: Key) -> bool:
        """Forget it; whether it was there."""
        if (share := self._shares.pop(key, None)) is not None:
            keys = self._news[share]
            del keys[key]
            if not keys:
                del self._news[share]
            return True
        return self._due.pop(key, None) is not None

    def next_at(self) -> float | None:
        """When there is something to write, 0 for at once; None: nothing, ever."""
        if self._shares:
            return 0.0
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self) -> Key | None:
        """The one that is first, be it due or not."""
        if self._shares:
            share, keys = next(iter(self._news.items()))
            key, _ = next(iter(keys.items()))
            self._news.move_to_end(share)
        elif self.next_at() is None:
            return None
        else:
            key = self._heap[0][2]
        self.discard(key)
        return key
