"""How the objects of one kind stand, counted as they change: who scrapes metrics never has to look through ten thousand of them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, TypeVar

from groundplane.core import conditions
from groundplane.core.objects import Object, meta

T = TypeVar("T")


class State(NamedTuple):
    """What is counted of an object."""

    is_ready: bool
    is_synced: bool
    is_failing: bool  # Synced is False: the last attempt did not go through


class Tally:
    """Of one kind.  Its size: the states there are, the namespaces that hold objects, and the objects being deleted."""

    def __init__(self) -> None:
        self.states: Counter[State] = Counter()
        self.namespaces: Counter[str] = Counter()
        self.deleting: dict[tuple[str, str], str] = {}  # metadata.deletionTimestamp, by namespace and name

    def changed(self, place: tuple[str, str], old: Object | None, new: Object | None) -> None:
        """An object at (namespace, name) was `old`, as it was told last, and is `new`; None: it was or is not there."""
        if old is not None:
            _add(self.states, _state(old), -1)
        if new is not None:
            _add(self.states, _state(new), 1)
        if old is None or new is None:
            _add(self.namespaces, place[0], (new is not None) - (old is not None))
        if new is not None and (deleted := meta(new).get("deletionTimestamp")):
            self.deleting[place] = str(deleted)
        else:
            self.deleting.pop(place, None)


def _state(obj: Object) -> State:
    synced = (conditions.find(obj, "Synced") or {}).get("status")
    return State(conditions.is_true(obj, "Ready"), synced == "True", synced == "False")


def _add(counter: Counter[T], key: T, count: int) -> None:
    counter[key] += count
    if not counter[key]:
        del counter[key]
