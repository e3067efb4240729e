"""What the kinds have in common: what is asked for, and the steps of a life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from groundplane.core.managed import CREATE_ENDS, CREATE_PENDING, EXTERNAL_NAME
from groundplane.core.objects import Object, annotations_of, group_of, is_deleting, meta, spec_of, status_of
from groundplane.errors import Awaited, InvalidInput
from groundplane.ports import Observation
from groundplane.sql.server import Server, Session
from groundplane.sql.text import name

ADOPT = "groundplane.io/adopt"


@dataclass(frozen=True)
class Thing:
    """One managed resource, as its kind sees it."""

    managed: Object
    now: datetime
    strict: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def asked(self) -> Mapping[str, Any]:
        return spec_of(self.managed).get("forProvider") or {}

    @property
    def seen(self) -> Mapping[str, Any]:
        """What the status has of it."""
        found: Mapping[str, Any] = status_of(self.managed).get("atProvider") or {}
        return found

    @property
    def name(self) -> str:
        return annotations_of(self.managed).get(EXTERNAL_NAME) or str(meta(self.managed)["name"])

    @property
    def uid(self) -> str:
        return str(meta(self.managed).get("uid") or "")

    @property
    def is_leaving(self) -> bool:
        return is_deleting(self.managed)

    @property
    def is_made(self) -> bool:
        """Whether it stands for what it has made itself."""
        annotations = annotations_of(self.managed)
        return any(annotations.get(each) for each in (CREATE_PENDING, *CREATE_ENDS))

    @property
    def is_adopting(self) -> bool:
        """Whether somebody says that what was there before is its own from now on."""
        return bool(annotations_of(self.managed).get(ADOPT) == "true")

    @property
    def is_stray(self) -> bool:
        """Whether it bears a name that nobody has chosen, of a thing that was there before us."""
        is_chosen = self.name != meta(self.managed)["name"] or self.is_adopting
        return not (self.strict or self.is_made or is_chosen)

    def awaits(self, *kinds: str) -> list[Awaited]:
        """Objects of these kinds, of its own generation, by whose change it may go on."""
        group = group_of(self.managed["apiVersion"])
        return [Awaited(group, kind) for kind in kinds]


class Kind(Protocol):
    """One kind's part of `ports.Cloud`."""

    def check(self, thing: Thing) -> None:
        """Raise InvalidInput for a spec that can't work."""

    async def observe(self, thing: Thing, server: Server) -> Observation: ...

    async def create(self, thing: Thing, server: Server) -> None: ...

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None: ...

    async def delete(self, thing: Thing, server: Server) -> None: ...


@asynccontextmanager
async def membership(session: Session, *roles: str) -> AsyncIterator[None]:
    """Be the server's only writer, and a member of roles: who is no superuser gives to its own roles only, and takes from them only.

    A membership that was there stays.
    """
    async with session.writing(), _joined(session, *roles):
        yield


@asynccontextmanager
async def _joined(session: Session, *roles: str) -> AsyncIterator[None]:
    taken: list[str] = []
    if not session.is_superuser:
        right = "USAGE" if session.version >= 16 else "MEMBER"
        query = "SELECT rolname FROM pg_roles WHERE rolname = ANY($1) AND NOT pg_has_role(oid, $2)"
        taken = [row["rolname"] for row in await session.rows(query, list(set(roles)), right)]
    for role in taken:
        await session.run(f"GRANT {name(role)} TO CURRENT_USER")
    try:
        yield
    finally:
        for role in taken:
            await session.run(f"REVOKE {name(role)} FROM CURRENT_USER")


def one_of(value: object, words: tuple[str, ...], where: str) -> None:
    """Raise InvalidInput unless a word is one of those."""
    if value not in words:
        raise InvalidInput(f"{value} is none of {', '.join(words)}", where=(where,))
