"""Which kinds there are composites and claims of now, and by which definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from groundplane.core.objects import GroupKind

if TYPE_CHECKING:
    from groundplane.core.definition import Definition

Role = Literal["composite", "claim"]


class Definitions:
    """The composite and claim kinds that are served now, each with the definition that declares it."""

    def __init__(self) -> None:
        self._known: dict[Role, dict[GroupKind, Definition]] = {"composite": {}, "claim": {}}

    def add(self, definition: Definition, role: Role, *, strict_upstream: bool = False) -> bool:
        """Take a definition as it is now; True if it was known, and is another one.

        With `strict_upstream` the connection Secret's keys stay those of the first sight, as upstream's
        controllers read them only when they start.
        """
        key = GroupKind(definition.group, definition.kind if role == "composite" else definition.claim_kind or "")
        before = self._known[role].get(key)
        if strict_upstream and before is not None:
            definition = replace(definition, connection_secret_keys=before.connection_secret_keys)
        self._known[role][key] = definition
        return before is not None and before != definition

    def remove(self, name: str, role: Role | None = None) -> None:
        """Forget what the definition of that name declares (only one side of it, if `role` is given)."""
        for side, known in self._known.items():
            if role in (None, side):
                for key in [key for key, definition in known.items() if definition.name == name]:
                    del known[key]

    def named(self, name: str) -> list[Definition]:
        """What is known under a definition's name: one entry, or one for each side."""
        return [each for known in self._known.values() for each in known.values() if each.name == name]

    def every(self) -> list[tuple[Role, Definition]]:
        """All that is known, and as which side of its definition."""
        return [(role, each) for role, known in self._known.items() for each in known.values()]

    def composite(self, group: str, kind: str) -> Definition | None:
        return self._known["composite"].get(GroupKind(group, kind))

    def claim(self, group: str, kind: str) -> Definition | None:
        return self._known["claim"].get(GroupKind(group, kind))
