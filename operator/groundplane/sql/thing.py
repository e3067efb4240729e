"""What the kinds have in common: what is asked for, and the steps of a life."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from groundplane.core.managed import CREATE_FAILED, CREATE_PENDING, CREATE_SUCCEEDED, CREATE_UID, EXTERNAL_NAME
from groundplane.core.objects import Object, annotations_of, is_deleting, meta, spec_of, status_of
from groundplane.errors import Denied
from groundplane.ports import Difference, Observation
from groundplane.sql import marks
from groundplane.sql.kinds import ADOPT, REFERENCES, ROLE, SCHEMA
from groundplane.sql.server import Server, Session
from groundplane.sql.text import literal, name

CREATES = "(current_setting('server_version_num')::int < 160000 AND (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user))"
"""In SQL: whether we are one who may do anything with roles that are no superusers."""
MAY_JOIN = f"(pg_has_role({{0}}, 'USAGE') OR pg_has_role({{0}}, 'MEMBER WITH ADMIN OPTION') OR {CREATES})"
"""In SQL: whether we have what a role has, or may take it for a statement."""


@dataclass(frozen=True)
class Thing:
    """One managed resource, as its kind sees it."""

    managed: Object
    now: datetime
    strict: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    comment: str = ""  # of what it stands for, once that was looked at
    is_new: bool = False  # it is being made right now

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
        """Whether it stands for what it has made itself: by the thing's mark, or, where it has none, by the record of the create."""
        if self.is_new:
            return True
        annotations = annotations_of(self.managed)
        if mark := self.mark:
            is_ours = mark.get(marks.UID) in (self.uid, annotations.get(CREATE_UID)) or self.is_given_by_hand
            return is_ours and marks.FOUND not in mark
        is_under_way = bool(annotations.get(CREATE_PENDING)) and not annotations.get(CREATE_FAILED)
        return bool(annotations.get(CREATE_SUCCEEDED)) or is_under_way

    @property
    def is_given_by_hand(self) -> bool:
        """Whether an administrator has written whose the thing is to be: a mark of no object's own, that names this one."""
        return bool(self.mark) and marks.UID not in self.mark and marks.names(self.mark, self.managed)

    @property
    def is_adopting(self) -> bool:
        """Whether somebody says that what was there before is its own from now on."""
        return bool(annotations_of(self.managed).get(ADOPT) == "true")

    @property
    def is_stray(self) -> bool:
        """Whether it bears a name that nobody has chosen, of a thing that was there before us."""
        return self.is_found and self.name == meta(self.managed)["name"]

    @property
    def is_found(self) -> bool:
        """Whether the thing was there before us, and nobody says that it is our own: then it stays."""
        return not (self.strict or self.is_made or self.is_adopting)

    @property
    def place(self) -> str:
        """The database that it is in, "" for what is the server's."""
        return str(self.asked.get("database") or "")

    @property
    def mark(self) -> Mapping[str, str]:
        """Whose the thing is, as its comment says; one that came from another database with all else says nothing."""
        found = {} if self.strict else marks.read(self.comment)
        return found if found.get(marks.DATABASE, self.place) == self.place else {}

    @property
    def ours(self) -> Mapping[str, str]:
        """The mark that it is to have."""
        return marks.of(self.managed, database=self.place, found=self.is_found)

    def found(self, comment: object) -> Thing:
        """It, beside what it stands for."""
        return replace(self, comment=str(comment or ""))

    def unmarked(self, *, may: bool) -> tuple[Difference, ...]:
        """The mark as drift, where the thing lacks ours and we may write it."""
        if self.strict or self.is_stray or not may or self.mark == self.ours:
            return ()
        return (Difference("tags", dict(self.ours), dict(self.mark)),)

    def marking(self, keyword: str, comment: str = "") -> str:
        """The statement that marks the thing: what it is, `DATABASE`; what its comment says already."""
        words = literal(marks.written(comment, self.ours))
        return (
            f"COMMENT ON {keyword} {name(self.asked['extension'] if keyword == 'EXTENSION' else self.name)} IS {words}"
        )

    @property
    def names(self) -> tuple[str, str, str]:
        """What others name it by: its kind, the database that it is in, its name."""
        return self.managed["kind"], self.place, self.name

    @property
    def needs(self) -> dict[str, tuple[str, str, str]]:
        """By field, what it names itself, in the same way, and can't do without."""
        fields = {**REFERENCES[self.managed["kind"]], "schema": SCHEMA, "targetRole": ROLE}
        return {
            field: (kind, self.place if kind == SCHEMA else "", str(self.asked[field]))
            for field, kind in fields.items()
            if self.asked.get(field)
        }


class Kind(Protocol):
    """One kind's part of `ports.Cloud`."""

    def check(self, thing: Thing) -> None:
        """Raise InvalidInput for a spec that can't work."""

    async def observe(self, thing: Thing, server: Server) -> Observation: ...

    async def create(self, thing: Thing, server: Server) -> None: ...

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None: ...

    async def delete(self, thing: Thing, server: Server) -> None: ...


async def missing(session: Session, *roles: str) -> list[str]:
    """Of these roles those that we must join before we can give to them or take from them, and may; none for a superuser."""
    if session.is_superuser:
        return []
    right = "USAGE" if session.version >= 16 else "MEMBER"
    query = f"SELECT rolname FROM pg_roles WHERE rolname = ANY($1) AND NOT pg_has_role(oid, $2) AND NOT rolsuper AND {MAY_JOIN} ORDER BY 1"
    return [row["rolname"] for row in await session.rows(query.format("oid"), sorted(set(roles)), right)]


async def run_as(session: Session, roles: Iterable[str], *statements: str) -> None:
    """Change something as a member of roles: who is no superuser gives to its own roles only, and takes from them only.

    One transaction: whatever happens, no membership is left that was not there.
    """
    if not statements:
        return
    joined = [name(role) for role in await missing(session, *roles)]
    begin = [f"GRANT {role} TO CURRENT_USER" for role in joined]
    await session.run(*begin, *statements, *(f"REVOKE {role} FROM CURRENT_USER" for role in joined))


async def mark_new(session: Session, statement: str) -> None:
    """Mark what was just made.  Where that is not ours to do, the record of the create says whose it is."""
    with contextlib.suppress(Denied):
        await session.run(statement)
