"""What somebody holds of a grant by others than its object: that stays when the object goes."""

from __future__ import annotations

from collections.abc import Collection

from groundplane.sql.thing import Thing

HELD_BEFORE = "heldBefore"  # in status.atProvider: what was held when it came to be wished


class Ledger:
    """What was granted in this process and does not show in a status yet.

    A process that dies in between has granted it for good, and so has one whose status is lost, as after a restore: that errs to the side of
    work going on, and what anybody else has granted is never revoked for what an annotation says.
    """

    def __init__(self) -> None:
        self._given: dict[str, frozenset[str]] = {}  # by UID

    def give(self, thing: Thing, items: Collection[str]) -> None:
        """Note what was granted: nobody held it."""
        self._given[thing.uid] = self._given.get(thing.uid, frozenset()) | frozenset(items)

    def not_ours(self, thing: Thing, items: Collection[str]) -> list[str]:
        """Of these items those that were not granted by us, as far as that is in no status yet."""
        return sorted(set(items) - self._given.get(thing.uid, frozenset()))

    def forget(self, thing: Thing) -> None:
        self._given.pop(thing.uid, None)

    def theirs(
        self, thing: Thing, wished: Collection[str], before: Collection[str], held: Collection[str]
    ) -> list[str]:
        """Of what is wished what others have given: it was held when it came to be wished.  `before` was wished at the last look."""
        fresh = set(wished) - set(before)
        old = set(before) & set(thing.seen.get(HELD_BEFORE) or ())
        return sorted(((fresh | old) & set(wished) & set(held)) - self._given.get(thing.uid, frozenset()))
