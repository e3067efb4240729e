"""Whose turn it is: three lanes with weights; within a lane the shares in turn, within a share its tenants.

When all lanes have somebody who may go, changes go eight times, retries twice, polls once: a change waits behind few polls, however many
there are, and none of the lanes starves.  What one tenant has waiting delays another's by one item of his at a time.  No I/O, no clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Hashable, Iterator
from typing import Generic, Literal, NamedTuple, TypeVar

Lane = Literal["change", "retry", "poll"]  # what somebody changed; what failed; start-up and polls

WEIGHTS: dict[Lane, int] = {"change": 8, "retry": 2, "poll": 1}

Item = TypeVar("Item", bound=Hashable)
Share = TypeVar("Share", bound=Hashable)


class Place(NamedTuple, Generic[Share]):
    """Where an item waits."""

    lane: Lane
    share: Share  # what bounds it: whether its items may go is asked for the share
    tenant: str  # whose it is


class Turns(Generic[Item, Share]):
    """What waits, each item once.

    >>> turns = Turns[str, str]()
    >>> for name in ("p1", "p2", "a1", "a2", "a3", "b1"):
    ...     turns.add(name, Place("poll" if name[0] == "p" else "change", "", name[0]))
    >>> [turns.take(lambda lane, share: True)[0] for _ in range(len(turns))]
    ['a1', 'b1', 'a2', 'a3', 'p1', 'p2']
    """

    def __init__(self) -> None:
        self._lanes: dict[Lane, OrderedDict[Share, OrderedDict[str, OrderedDict[Item, None]]]] = {
            lane: OrderedDict() for lane in WEIGHTS
        }
        self._places: dict[Item, Place[Share]] = {}
        self._credit: Counter[Lane] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def place(self, item: Item) -> Place[Share] | None:
        """Where it waits, None if it does not."""
        return self._places.get(item)

    def add(self, item: Item, place: Place[Share]) -> None:
        """The last of its tenant's.  It must not be there yet."""
        self._places[item] = place
        self._lanes[place.lane].setdefault(place.share, OrderedDict()).setdefault(place.tenant, OrderedDict())[item] = (
            None
        )

    def remove(self, item: Item) -> None:
        """Forget it, if it is there."""
        if (place := self._places.pop(item, None)) is None:
            return
        shares = self._lanes[place.lane]
        tenants = shares[place.share]
        del tenants[place.tenant][item]
        if not tenants[place.tenant]:
            del tenants[place.tenant]
        if not tenants:
            del shares[place.share]

    def clear(self) -> None:
        for shares in self._lanes.values():
            shares.clear()
        self._places.clear()

    def is_waiting(self, lane: Lane) -> bool:
        return bool(self._lanes[lane])

    def items(self) -> Iterator[tuple[Item, Place[Share]]]:
        return iter(self._places.items())

    def take(
        self, may: Callable[[Lane, Share], bool], lanes: Container[Lane] = WEIGHTS.keys()
    ) -> tuple[Item, Place[Share]] | None:
        """The item whose turn it is, of those that `may` go and wait in one of `lanes`; it waits no more."""
        found: dict[Lane, Share] = {}
        for lane, shares in self._lanes.items():
            if lane in lanes:
                for share in shares:
                    if may(lane, share):
                        found[lane] = share
                        break
        if not found:
            return None
        # Credit is only for who could go: a lane that is held up by something else must not go before all others later.
        for lane in found:
            self._credit[lane] += WEIGHTS[lane]
        lane = max(found, key=lambda lane: self._credit[lane])
        self._credit[lane] -= sum(WEIGHTS[each] for each in found)
        share = found[lane]
        shares = self._lanes[lane]
        tenants = shares[share]
        tenant, items = next(iter(tenants.items()))
        item = next(iter(items))
        place = self._places[item]
        tenants.move_to_end(tenant)
        shares.move_to_end(share)
        self.remove(item)
        return item, place


def best(*lanes: Lane) -> Lane:
    """The lane that goes first."""
    return min(lanes, key=list(WEIGHTS).index)
