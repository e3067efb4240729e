"""Which composites a new revision of a Composition concerns; as their last reconciles found it, so nothing is lost with the process."""

from __future__ import annotations

from groundplane.core.objects import Key


class Followers:
    """The composites that take whatever revision of a Composition is the latest, as their last reconciles found them."""

    def __init__(self) -> None:
        self._composition: dict[Key, str] = {}
        # by Composition: whether they choose among revisions by label
        self._composites: dict[str, dict[Key, bool]] = {}

    def __len__(self) -> int:
        return len(self._composition)

    def set(self, composite: Key, composition: str, *, selects: bool = False) -> None:
        """A composite follows this Composition and no other; "" is none."""
        before = self._composition.pop(composite, "")
        if before and before != composition:
            left = self._composites[before]
            del left[composite]
            if not left:
                del self._composites[before]
        if composition:
            self._composition[composite] = composition
            self._composites.setdefault(composition, {})[composite] = selects

    def count(self, composition: str) -> int:
        """How many follow it."""
        return len(self._composites.get(composition, ()))

    def of(self, composition: str, *, latest: bool) -> list[Key]:
        """Whom a change of one of its revisions concerns: of one that is not the latest, those that select by label."""
        return [key for key, selects in self._composites.get(composition, {}).items() if latest or selects]
