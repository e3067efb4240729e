"""Which composites a changed object concerns because their functions wanted to see it; indexed, since every event asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from groundplane.core.objects import Key, Object, key_of, labels_of

if TYPE_CHECKING:
    from groundplane.core.pipeline import Selector

_Kind = tuple[str, str]  # api version, kind


class Interests:
    """What functions wanted to see of the cluster, by composite: a change of it calls for another run of its pipeline."""

    def __init__(self) -> None:
        self._by_composite: dict[Key, tuple[Selector, ...]] = {}
        # by kind, and by what they all ask for, see _asked_for
        self._composites: dict[_Kind, dict[tuple[str, ...], dict[Key, None]]] = {}
        self._seen: dict[Key, set[Key]] = {}  # by composite
        self._seen_by: dict[Key, dict[Key, None]] = {}

    def set(self, composite: Key, wanted: tuple[Selector, ...]) -> None:
        """Take what the last run of a composite's pipeline wanted; nothing forgets the composite."""
        for kind, asked in {(_kind(each), _asked_for(each)) for each in self._by_composite.pop(composite, ())}:
            of_kind = self._composites[kind]
            of_kind[asked].pop(composite)
            if not of_kind[asked]:
                del of_kind[asked]
            if not of_kind:
                del self._composites[kind]
        if wanted:
            self._by_composite[composite] = wanted
        else:
            for obj in self._seen.pop(composite, ()):
                seers = self._seen_by[obj]
                del seers[composite]
                if not seers:
                    del self._seen_by[obj]
        for selector in wanted:
            self._composites.setdefault(_kind(selector), {}).setdefault(_asked_for(selector), {})[composite] = None

    def __len__(self) -> int:
        """How many composites there are whose functions want to see something."""
        return len(self._by_composite)

    def saw(self, composite: Key, objects: Iterable[Object]) -> None:
        """Take what was found of it: an object that no selector selects any more, say without its label, concerns whoever saw it."""
        for obj in objects:
            self._seen.setdefault(composite, set()).add(key_of(obj))
            self._seen_by.setdefault(key_of(obj), {})[composite] = None

    def of(self, obj: Object) -> list[Key]:
        """The composites whose pipelines wanted to see this object, or saw it when it was another."""
        key = key_of(obj)
        seen_by = self._seen_by.get(key, ())
        if not (of_kind := self._composites.get((key.api_version, key.kind))):
            return list(seen_by)  # however many labels it has
        asked: list[tuple[str, ...]] = [(), ("name", key.namespace, key.name)]
        asked += [("label", *label) for label in labels_of(obj).items()]
        interested = {composite: None for each in asked for composite in of_kind.get(each, ())}
        wanting = [
            composite
            for composite in interested
            if any(selector.selects(obj) for selector in self._by_composite[composite])
        ]
        return list(dict.fromkeys([*wanting, *seen_by]))


def _kind(selector: Selector) -> _Kind:
    return selector.api_version, selector.kind


def _asked_for(selector: Selector) -> tuple[str, ...]:
    """What an object of the kind must have for a selector to mean it, as far as an index goes: its name, or one of its labels."""
    if selector.name:
        return ("name", selector.namespace, selector.name)
    label = min(selector.labels.items(), default=None)
    return ("label", *label) if label else ()
