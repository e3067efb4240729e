"""What somebody holds of a grant by others than its object: that stays when the object goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from groundplane.sql.thing import Thing
from groundplane.sql.wishes import REMEMBERED, Wish

HELD_BEFORE = "heldBefore"  # in status.atProvider: what was held when it came to be wished


class Ledger:
    """What was granted, and revoked, in this process and does not show in a status yet.

    A process that dies in between has granted it for good, and so has one whose status is lost, as after a restore: that errs to the side of
    work going on, and what anybody else has granted is never revoked for what an annotation says.
    """

    def __init__(self) -> None:
        self._given: dict[str, frozenset[str]] = {}  # by UID
        self._taken: dict[str, frozenset[Wish]] = {}  # by UID, the oldest first

    def give(self, thing: Thing, items: Collection[str]) -> None:
        """Note what was granted: nobody held it."""
        self._given[thing.uid] = self._given.get(thing.uid, frozenset()) | frozenset(items)

    def not_ours(self, thing: Thing, items: Collection[str]) -> list[str]:
        """Of these items those that were not granted by us, as far as that is in no status yet."""
        return sorted(set(items) - self._given.get(thing.uid, frozenset()))

    def take(self, thing: Thing, wishes: Collection[Wish]) -> None:
        """Note what was revoked: who holds it from now on has it from others."""
        self._taken[thing.uid] = self._taken.pop(thing.uid, frozenset()) | frozenset(wishes)
        if len(self._taken) > REMEMBERED:
            del self._taken[next(iter(self._taken))]

    def less_taken(self, thing: Thing, spec: Mapping[str, Any], wishes: Collection[Wish]) -> Mapping[str, Any]:
        """A spec, which has these, without what was revoked already, and others have given again."""
        taken = self._taken.get(thing.uid, frozenset())
        theirs = {str(each[-1]) for each in wishes if each in taken}
        return {**spec, HELD_BEFORE: sorted(theirs.union(spec.get(HELD_BEFORE) or ()))} if theirs else spec

    def forget(self, thing: Thing) -> None:
        """All of it shows in the status, or nothing is left.  What was taken from one that leaves shows nowhere."""
        self._given.pop(thing.uid, None)
        if not thing.is_leaving:
            self._taken.pop(thing.uid, None)

    def theirs(
        self, thing: Thing, wished: Collection[str], before: Collection[str], held: Collection[str]
    ) -> list[str]:
        """Of what is wished what others have given: it was held when it came to be wished.  `before` was wished at the last look."""
        fresh = set(wished) - set(before)
        old = set(before) & set(thing.seen.get(HELD_BEFORE) or ())
        return sorted(((fresh | old) & set(wished) & set(held)) - self._given.get(thing.uid, frozenset()))
