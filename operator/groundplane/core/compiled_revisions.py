"""The revisions that a process has compiled: found again by name, and compiled anew once they are forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from groundplane.core.objects import Object, meta

if TYPE_CHECKING:
    from groundplane.core.composition import Compiled
    from groundplane.core.function_sources import Source

LIMIT = 1000  # revisions that stay compiled

_Content = tuple[str, str, frozenset[tuple[str, "Source"]]]  # UID, generation, what its functions are


class CompiledRevisions:
    """Of each revision the form of its latest content.  What functions are belongs to a pipeline's content."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: dict[str, tuple[_Content, Compiled]] = {}  # by the revision's name, the longest unused first

    def __len__(self) -> int:
        return len(self._known)

    def get(self, revision: Object, sources: Mapping[str, Source]) -> Compiled | None:
        """The form of a revision, of which the metadata is enough."""
        name = meta(revision)["name"]
        known = self._known.get(name)
        if known is None or known[0] != _content(revision, sources):
            return None
        self._known[name] = self._known.pop(name)
        return known[1]

    def put(self, revision: Object, sources: Mapping[str, Source], form: Compiled) -> None:
        self._known.pop(meta(revision)["name"], None)
        self._known[meta(revision)["name"]] = _content(revision, sources), form
        if len(self._known) > self._limit:
            del self._known[next(iter(self._known))]

    def drop(self, name: str) -> None:
        """The revision is gone."""
        self._known.pop(name, None)


def _content(revision: Object, sources: Mapping[str, Source]) -> _Content:
    return meta(revision).get("uid", ""), str(meta(revision).get("generation")), frozenset(sources.items())
