"""Which composites a changed object concerns because their functions wanted to see it; indexed, since every event asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from groundplane.core.objects import Key, Object, key_of, labels_of

if TYPE_CHECKING:
    from groundplane.core.pipeline import Selector


class Interests:
    """What functions wanted to see of the cluster, by composite: a change of it calls for another run of its pipeline."""

    def __init__(self) -> None:
        self._by_composite: dict[Key, tuple[Selector, ...]] = {}
        self._composites: dict[tuple[object, ...], dict[Key, None]] = {}  # by what they all ask for, see _asked_for
        self._seen: dict[Key, set[Key]] = {}  # by composite
        self._seen_by: dict[Key, dict[Key, None]] = {}

    def set(self, composite: Key, wanted: tuple[Selector, ...]) -> None:
        """Take what the last run of a composite's pipeline wanted; nothing forgets the composite."""
        for asked in {_asked_for(selector) for selector in self._by_composite.pop(composite, ())}:
            self._composites[asked].pop(composite)
            if not self._composites[asked]:
                del self._composites[asked]
        if wanted:
            self._by_composite[composite] = wanted
        else:
            for obj in self._seen.pop(composite, ()):
                seers = self._seen_by[obj]
                del seers[composite]
                if not seers:
                    del self._seen_by[obj]
        for selector in wanted:
            self._composites.setdefault(_asked_for(selector), {})[composite] = None

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
        kind = (key.api_version, key.kind)
        asked = [kind, (*kind, key.namespace, key.name), *((*kind, label) for label in labels_of(obj).items())]
        interested = {composite: None for each in asked for composite in self._composites.get(each, ())}
        wanting = [
            composite
            for composite in interested
            if any(selector.selects(obj) for selector in self._by_composite[composite])
        ]
        return list(dict.fromkeys([*wanting, *self._seen_by.get(key, ())]))


def _asked_for(selector: Selector) -> tuple[object, ...]:
    """What an object must have for a selector to mean it, as far as an index goes: its name, or one of its labels."""
    kind = (selector.api_version, selector.kind)
    if selector.name:
        return (*kind, selector.namespace, selector.name)
    label = min(selector.labels.items(), default=None)
    return (*kind, label) if label else kind
