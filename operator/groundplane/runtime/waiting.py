"""Who waits for what: reconciles that failed for want of another object, found by that object's key or labels.

One entry per waiting reconcile; it goes when the reconcile is run again, when it is woken, or when its object is deleted.  A change
looks up its own name, kind and labels, so it costs nothing to whoever waits for something else.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from groundplane.core.objects import Key, Object, key_of, labels_of, spec_of
from groundplane.errors import Awaited

Target = tuple[str, Key]  # controller, key
REMEMBERED = 4096  # latest changes, for reconciles that were running when what they miss came
REMEMBERED_LABELS = (
    40_960  # and labels of them in all: one object may have thirty thousand, and be changed all the time
)
CRD = ("apiextensions.k8s.io", "CustomResourceDefinition")

# Where a change looks, below its group and kind: ("name", name), ("label", key, value) or ("kind",).
_Slot = tuple[str, ...]
_Kind = tuple[str, str]


class Woken(NamedTuple):
    """Whom a change concerns."""

    by_key: list[Target]  # they wait for this very object, or for one with such labels
    by_kind: list[Target]  # they only know the kind


class _Seen(NamedTuple):
    tick: int
    key: Key
    labels: dict[str, str]


class Waiting:
    """Reconciles by what they wait for."""

    def __init__(self) -> None:
        self._awaited: dict[Target, tuple[Awaited, ...]] = {}
        self._slots: dict[_Kind, dict[_Slot, dict[Target, None]]] = {}
        self._recent: deque[_Seen] = deque()
        self._recent_labels = 0
        self._forgotten = 0  # the latest moment of which something is no longer remembered
        self._ticks = itertools.count(1)

    def __len__(self) -> int:
        """How many reconciles wait."""
        return len(self._awaited)

    def told(self, most: int) -> list[dict[str, object]]:
        """Who waits for what, for people: `most` at most."""
        return [
            {"controller": name, "key": str(key), "for": [_told(each) for each in wanted]}
            for (name, key), wanted in itertools.islice(self._awaited.items(), most)
        ]

    def now(self) -> int:
        """A moment, for `since`."""
        return next(self._ticks)

    def wait(self, target: Target, awaited: Iterable[Awaited]) -> None:
        """It waits for these from now on, and for nothing else."""
        self.forget(target)
        if wanted := tuple(awaited):
            self._awaited[target] = wanted
        for each in wanted:
            self._slots.setdefault((each.group, each.kind), {}).setdefault(_slot(each), {})[target] = None

    def forget(self, target: Target) -> None:
        """It waits for nothing: it is run, or its object is gone."""
        for each in self._awaited.pop(target, ()):
            kind, slot = (each.group, each.kind), _slot(each)
            slots = self._slots.get(kind) or {}
            if targets := slots.get(slot):
                targets.pop(target, None)
                if not targets:
                    del slots[slot]
                if not slots:
                    del self._slots[kind]

    def came(self, awaited: Sequence[Awaited], since: int) -> Literal["yes", "no", "unknown"]:
        """Whether something of it has changed since that moment."""
        if not awaited:
            return "no"
        for seen in reversed(self._recent):
            if seen.tick <= since:
                return "no"
            if any(_fits(each, seen.key, seen.labels) for each in awaited):
                return "yes"
        return "unknown" if since < self._forgotten else "no"

    def memory(self) -> int:
        """How many labels are kept of changes: for a test, which holds it to bounds."""
        return sum(len(seen.labels) for seen in self._recent)

    def woken_by(self, before: Object | None, after: Object | None, *, but: Collection[Target] = ()) -> Woken:
        """Who waited for this change (`but` made it themselves); those who knew what they wanted wait no longer."""
        by_key: dict[Target, None] = {}
        by_kind: dict[Target, None] = {}
        for obj in (before, after):
            for key, labels in _meanings(obj):
                if obj is after or after is None:
                    self._remember(_Seen(next(self._ticks), key, labels))
                if not (slots := self._slots.get((key.group, key.kind))):
                    continue  # however many labels it has
                by_kind |= slots.get(("kind",)) or {}
                for slot in _slots_of(key, labels):
                    for target in slots.get(slot) or ():
                        if any(_fits(each, key, labels) for each in self._awaited[target] if _is_exact(each)):
                            by_key[target] = None
        for woken in (by_key, by_kind):
            for target in but:
                woken.pop(target, None)
        for target in by_key:
            self.forget(target)
        return Woken(list(by_key), [target for target in by_kind if target not in by_key])

    def _remember(self, seen: _Seen) -> None:
        self._recent.append(seen)
        self._recent_labels += len(seen.labels)
        while len(self._recent) > REMEMBERED or self._recent_labels > REMEMBERED_LABELS:
            oldest = self._recent.popleft()
            self._recent_labels -= len(oldest.labels)
            self._forgotten = oldest.tick


def _meanings(obj: Object | None) -> Iterator[tuple[Key, dict[str, str]]]:
    """What a change is news of: the object, and with a CustomResourceDefinition the kind that it declares."""
    if obj is None:
        return
    key = key_of(obj)
    yield key, labels_of(obj)
    if (key.group, key.kind) == CRD:
        spec = spec_of(obj)
        declared = str((spec.get("names") or {}).get("kind") or "")
        yield Key(f"{spec.get('group') or ''}/", declared, "", ""), {}


def _is_exact(awaited: Awaited) -> bool:
    return bool(awaited.name or awaited.labels or awaited.served)


def _slot(awaited: Awaited) -> _Slot:
    """The one place where a change must look: selectors are found by the first of their labels."""
    if awaited.served:
        return ("name", "")
    if awaited.name:
        return ("name", awaited.name)
    if awaited.labels:
        return ("label", *min(awaited.labels))
    return ("kind",)


def _slots_of(key: Key, labels: dict[str, str]) -> Iterator[_Slot]:
    yield ("name", key.name)
    for label in labels.items():
        yield ("label", *label)


def _fits(awaited: Awaited, key: Key, labels: dict[str, str]) -> bool:
    return (
        (awaited.group, awaited.kind) == (key.group, key.kind)
        and awaited.served == (not key.name)
        and (not awaited.name or awaited.name == key.name)
        and (not awaited.namespace or awaited.namespace == key.namespace)
        and all(labels.get(name) == value for name, value in awaited.labels)
    )


def _told(awaited: Awaited) -> str:
    """For people: what is awaited, without empty parts."""
    labels = ",".join(f"{name}={value}" for name, value in awaited.labels)
    return " ".join(filter(None, (awaited.group, awaited.kind, awaited.namespace, awaited.name, labels)))
