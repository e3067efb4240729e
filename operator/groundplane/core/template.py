"""The templates of a composition, compiled: what rendering takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from groundplane.core import patches
from groundplane.core.connection import Detail
from groundplane.core.objects import Object
from groundplane.core.readiness import Check


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """One template with its paths parsed, regular expressions built and patch sets inlined."""

    name: str  # "resource 1" and so on for an anonymous one
    is_named: bool
    base: Object = field(repr=False)
    api_version: str
    kind: str
    from_composite: tuple[tuple[str, patches.Compiled], ...]  # each with its place in the manifest
    to_composite: tuple[tuple[str, patches.Compiled], ...]
    connection: tuple[Detail, ...]
    readiness: Sequence[Check]

    @property
    def place(self) -> str:
        """How an error says where it happened."""
        return f"resource {self.name}" if self.is_named else self.name


@dataclass(frozen=True, slots=True)
class Templates:
    """All templates of a composition, and what holds for the objects made of them."""

    name: str  # of the Composition
    templates: tuple[CompiledTemplate, ...]
    kinds: frozenset[tuple[str, str]]  # (api version, kind) of everything that it composes
    secrets_namespace: str | None = None  # of the composites' connection Secrets
    keep_host_port: bool = False  # publish a host with its port
    pruned: tuple[str, ...] = ()  # paths of fields that do not exist, and were left out

    @property
    def is_anonymous(self) -> bool:
        """Whether templates and composed resources are matched by their place in the list."""
        return any(not template.is_named for template in self.templates)
