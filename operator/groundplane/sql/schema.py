"""Schemas, and extensions: what a database has beside tables."""

from __future__ import annotations

from typing import Any

from groundplane.core.conditions import available
from groundplane.errors import InvalidInput, Waiting
from groundplane.ports import Difference, Observation
from groundplane.sql import text
from groundplane.sql.database import stray
from groundplane.sql.faults import Lacking
from groundplane.sql.server import Server
from groundplane.sql.thing import Thing, membership

PUBLIC = "public"
_SCHEMA = "SELECT r.rolname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = $1"
_IS_PUBLIC = """
SELECT count(*) FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x
WHERE n.nspname = 'public' AND x.grantee = 0
"""
_EXTENSION = """
SELECT e.extversion AS version, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = $1
"""


class Schemas:
    """`thing.Kind` for Schema."""

    def check(self, thing: Thing) -> None:
        text.check_name(thing.name, "the schema")
        _check_database(thing)

    async def observe(self, thing: Thing, server: Server) -> Observation:
        asked = thing.asked
        if not asked.get("database"):
            return Observation(exists=False)  # it never came to one
        try:
            async with server.session(str(asked["database"])) as session:
                rows = await session.rows(_SCHEMA, thing.name)
                is_open = bool((await session.rows(_IS_PUBLIC))[0][0])
        except Lacking as error:
            if error.state == "3D000":
                return Observation(exists=False)
            raise
        if not rows or (thing.is_leaving and (thing.is_stray or thing.name == PUBLIC)):
            return Observation(exists=False)
        owner, drift = rows[0]["rolname"], []
        if asked.get("role") not in (None, owner):
            drift.append(Difference("role", asked["role"], owner))
        if asked.get("revokePublicOnSchema") and is_open:
            drift.append(Difference("revokePublicOnSchema", True, False))
        late = {} if asked.get("role") else {"role": owner}
        notes = (stray(thing),) if thing.is_stray else ()
        return Observation(exists=True, ready=available(), late=late, drift=tuple(drift), notes=notes)

    async def create(self, thing: Thing, server: Server) -> None:
        role = thing.asked.get("role")
        owner = f" AUTHORIZATION {text.name(role)}" if role else ""
        await self._run(thing, server, f"CREATE SCHEMA IF NOT EXISTS {text.name(thing.name)}{owner}", *_closing(thing))

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        role = thing.asked.get("role")
        statements = [f"ALTER SCHEMA {text.name(thing.name)} OWNER TO {text.name(role)}"] if role else []
        await self._run(thing, server, *statements, *_closing(thing))

    async def delete(self, thing: Thing, server: Server) -> None:
        behaviour = thing.asked.get("dropBehavior") or "RESTRICT"
        await self._run(thing, server, f"DROP SCHEMA IF EXISTS {text.name(thing.name)} {behaviour}")

    async def _run(self, thing: Thing, server: Server, *statements: str) -> None:
        try:
            async with server.session(str(thing.asked["database"])) as session:
                rows = await session.rows(_SCHEMA, thing.name)
                roles = [str(role) for role in (thing.asked.get("role"), *(row["rolname"] for row in rows)) if role]
                async with membership(session, *roles):
                    await session.run(*statements)
        except Lacking as error:
            raise _missing(thing, error) from error


class Extensions:
    """`thing.Kind` for Extension."""

    def check(self, thing: Thing) -> None:
        text.check_name(str(thing.asked.get("extension") or ""), "spec.forProvider.extension")

    async def observe(self, thing: Thing, server: Server) -> Observation:
        asked = thing.asked
        try:
            async with server.session(str(asked.get("database") or "")) as session:
                rows = await session.rows(_EXTENSION, asked["extension"])
        except Lacking as error:
            if error.state == "3D000":
                return Observation(exists=False)
            raise
        if not rows:
            return Observation(exists=False)
        seen: dict[str, Any] = dict(rows[0])
        fields = ("version",) if thing.strict else ("version", "schema")
        drift = [
            Difference(each, asked[each], seen[each]) for each in fields if asked.get(each) not in (None, seen[each])
        ]
        late = {} if asked.get("version") else {"version": seen["version"]}
        return Observation(exists=True, ready=available(), late=late, drift=tuple(drift))

    async def create(self, thing: Thing, server: Server) -> None:
        asked = thing.asked
        words = [f"CREATE EXTENSION IF NOT EXISTS {text.name(asked['extension'])}"]
        if asked.get("schema") and not thing.strict:
            words.append(f"SCHEMA {text.name(asked['schema'])}")
        if asked.get("version"):
            words.append(f"VERSION {text.literal(asked['version'])}")
        await self._run(thing, server, " ".join(words))

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        place = f"ALTER EXTENSION {text.name(thing.asked['extension'])}"
        said = {
            "version": lambda value: f"{place} UPDATE TO {text.literal(value)}",
            "schema": lambda value: f"{place} SET SCHEMA {text.name(value)}",
        }
        await self._run(thing, server, *(said[each.field](str(each.desired)) for each in observation.drift))

    async def delete(self, thing: Thing, server: Server) -> None:
        await self._run(thing, server, f"DROP EXTENSION IF EXISTS {text.name(thing.asked['extension'])}")

    async def _run(self, thing: Thing, server: Server, *statements: str) -> None:
        try:
            async with server.session(str(thing.asked.get("database") or "")) as session:
                await session.run(*statements)
        except Lacking as error:
            raise _missing(thing, error) from error


def _closing(thing: Thing) -> list[str]:
    return ["REVOKE ALL ON SCHEMA public FROM PUBLIC"] if thing.asked.get("revokePublicOnSchema") else []


def _check_database(thing: Thing) -> None:
    asked = thing.asked
    if not any(asked.get(f"database{end}") for end in ("", "Ref", "Selector")):
        raise InvalidInput(
            "no database is named", mend="set spec.forProvider.database, databaseRef or databaseSelector"
        )


def _missing(thing: Thing, error: Lacking) -> Waiting:
    return Waiting(str(error), mend="create it, or correct the spec", on=thing.awaits("Database", "Role", "Schema"))
