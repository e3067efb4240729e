"""What a process remembers from one reconcile to the next, by name.  All of it can be found out again; nothing outlives what it is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from groundplane.core.objects import Key, Object, meta

if TYPE_CHECKING:
    from groundplane.core.composition import Compiled

FORMS = 1000  # revisions that stay compiled

_Content = tuple[str, str, frozenset[tuple[str, str]]]  # UID, generation, its functions' images


class Forms:
    """Revisions, compiled: of each revision the form of its latest content.  The images of functions belong to a pipeline's content."""

    def __init__(self, limit: int = FORMS) -> None:
        self._limit = limit
        self._known: dict[str, tuple[_Content, Compiled]] = {}  # by the revision's name, the longest unused first

    def __len__(self) -> int:
        return len(self._known)

    def get(self, revision: Object, images: Mapping[str, str]) -> Compiled | None:
        """The form of a revision, of which the metadata is enough."""
        name = meta(revision)["name"]
        known = self._known.get(name)
        if known is None or known[0] != _content(revision, images):
            return None
        self._known[name] = self._known.pop(name)
        return known[1]

    def put(self, revision: Object, images: Mapping[str, str], form: Compiled) -> None:
        self._known.pop(meta(revision)["name"], None)
        self._known[meta(revision)["name"]] = _content(revision, images), form
        if len(self._known) > self._limit:
            del self._known[next(iter(self._known))]

    def drop(self, name: str) -> None:
        """The revision is gone."""
        self._known.pop(name, None)


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

    def of(self, composition: str, *, latest: bool) -> list[Key]:
        """Whom a change of one of its revisions concerns: of one that is not the latest, those that select by label."""
        return [key for key, selects in self._composites.get(composition, {}).items() if latest or selects]


def _content(revision: Object, images: Mapping[str, str]) -> _Content:
    return meta(revision).get("uid", ""), str(meta(revision).get("generation")), frozenset(images.items())
