"""Which objects wish the same: what a Grant takes along, another may have had by that one alone; what is made, others have waited for."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from groundplane.core.objects import Key, key_of
from groundplane.sql.thing import Thing

Wish = tuple[object, ...]
REMEMBERED = 10_000  # objects
FEW = 10  # of those that wish the same: one of them grants it for all


class Wishes:
    """Of the objects that this process has looked at.  One that is gone unseen is looked for in vain, and that is all."""

    def __init__(self) -> None:
        self._by_uid: dict[str, frozenset[Wish]] = {}  # the longest not looked at first
        self._who: dict[Wish, dict[str, Key]] = {}  # by UID

    def note(self, thing: Thing, wishes: Collection[Wish]) -> None:
        self.forget(thing.uid)
        self._by_uid[thing.uid] = frozenset(wishes)
        for each in wishes:
            self._who.setdefault(each, {})[thing.uid] = key_of(thing.managed)
        if len(self._by_uid) > REMEMBERED:
            self.forget(next(iter(self._by_uid)))

    def add(self, thing: Thing, wish: Wish) -> None:
        self.note(thing, self._by_uid.get(thing.uid, frozenset()) | {wish})

    def forget(self, uid: str) -> None:
        for each in self._by_uid.pop(uid, ()):
            del self._who[each][uid]
            if not self._who[each]:
                del self._who[each]

    def others(self, thing: Thing, wishes: Collection[Wish], *, most: int = FEW) -> tuple[Key, ...]:
        """Who else wishes any of these, of each those that were looked at last."""
        known = [reversed(self._who.get(each, {}).items()) for each in wishes]
        found = [key for each in known for uid, key in islice(each, most + 1) if uid != thing.uid]
        return tuple(dict.fromkeys(found))
