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
from groundplane.sql.thing import MAY_JOIN, Thing, mark_new, run_as

PUBLIC = "public"
PLPGSQL = "plpgsql"  # an extension that each database begins with
_SCHEMA = f"""
SELECT r.rolname, obj_description(n.oid, 'pg_namespace') AS comment, {MAY_JOIN.format("r.oid")} AS may_mark
FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = $1
"""
_IS_PUBLIC = """
SELECT count(*) FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x
WHERE n.nspname = 'public' AND x.grantee = 0
"""
_EXTENSION = f"""
SELECT e.extversion AS version, n.nspname AS schema, obj_description(e.oid, 'pg_extension') AS comment,
  {MAY_JOIN.format("e.extowner")} AS may_mark, (SELECT rolname FROM pg_roles WHERE oid = e.extowner) AS owner
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1
"""


class Schemas:
    """`thing.Kind` for Schema."""

    def check(self, thing: Thing) -> None:
        text.check_name(thing.name, "the schema")
        text.check_names(thing.asked, "database", "role")
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
        thing = thing.found(rows[0]["comment"] if rows else "")
        is_own = thing.name == PUBLIC or _is_system(thing.name)
        if not rows or (thing.is_leaving and (thing.is_found or is_own)):
            return Observation(exists=False)
        owner, drift = rows[0]["rolname"], list(thing.unmarked(may=rows[0]["may_mark"] and not is_own))
        if asked.get("role") not in (None, owner):
            drift.append(Difference("role", asked["role"], owner))
        if asked.get("revokePublicOnSchema") and is_open:
            drift.append(Difference("revokePublicOnSchema", True, False))
        late = {} if asked.get("role") else {"role": owner}
        notes = (stray(thing),) if thing.is_found else ()
        return Observation(
            exists=True,
            ready=available(),
            late=late,
            drift=tuple(drift),
            notes=notes,
            owner={} if thing.name == PUBLIC else thing.mark,
            item=thing.comment,
        )

    async def create(self, thing: Thing, server: Server) -> None:
        role = thing.asked.get("role")
        owner = f" AUTHORIZATION {text.name(role)}" if role else ""
        marking = [] if thing.strict else [thing.marking("SCHEMA")]
        await self._run(thing, server, f"CREATE SCHEMA {text.name(thing.name)}{owner}", *marking, *_closing(thing))

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        fields = {each.field for each in observation.drift}
        if "role" in fields and _is_system(thing.name):
            raise InvalidInput(
                f"{thing.name} is the server's own: it is not changed", mend="name another schema, or remove its role"
            )
        statements = (
            [thing.found(observation.item).marking("SCHEMA", str(observation.item or ""))] if "tags" in fields else []
        )
        if "role" in fields:
            statements.append(f"ALTER SCHEMA {text.name(thing.name)} OWNER TO {text.name(thing.asked['role'])}")
        await self._run(thing, server, *statements, *_closing(thing))

    async def delete(self, thing: Thing, server: Server) -> None:
        behaviour = thing.asked.get("dropBehavior") or "RESTRICT"
        try:
            await self._run(thing, server, f"DROP SCHEMA IF EXISTS {text.name(thing.name)} {behaviour}")
        except Waiting as error:
            error.mend = error.mend and f"{error.mend}, or set spec.forProvider.dropBehavior: CASCADE"
            raise

    async def _run(self, thing: Thing, server: Server, *statements: str) -> None:
        async with server.session(str(thing.asked["database"])) as session:
            rows = await session.rows(_SCHEMA, thing.name)
            roles = [str(role) for role in (thing.asked.get("role"), *(row["rolname"] for row in rows)) if role]
            await run_as(session, roles, *statements)


class Extensions:
    """`thing.Kind` for Extension."""

    def check(self, thing: Thing) -> None:
        text.check_names(thing.asked, "extension", "database", "schema")

    async def observe(self, thing: Thing, server: Server) -> Observation:
        asked = thing.asked
        try:
            async with server.session(str(asked.get("database") or "")) as session:
                rows = await session.rows(_EXTENSION, asked["extension"])
        except Lacking as error:
            if error.state == "3D000":
                return Observation(exists=False)
            raise
        thing = thing.found(rows[0]["comment"] if rows else "")
        if not rows or (thing.is_leaving and (thing.is_found or asked["extension"] == PLPGSQL)):
            return Observation(exists=False)
        seen: dict[str, Any] = dict(rows[0])
        fields = ("version",) if thing.strict else ("version", "schema")
        drift = [
            Difference(each, asked[each], seen[each]) for each in fields if asked.get(each) not in (None, seen[each])
        ]
        owner = thing.mark if drift or not thing.is_stray else {}  # several may need one, as long as they agree
        drift += thing.unmarked(may=seen["may_mark"] and asked["extension"] != PLPGSQL)
        late = {} if asked.get("version") else {"version": seen["version"]}
        notes = (stray(thing, str(asked["extension"])),) if thing.is_found else ()
        return Observation(
            exists=True, ready=available(), late=late, drift=tuple(drift), notes=notes, owner=owner, item=thing.comment
        )

    async def create(self, thing: Thing, server: Server) -> None:
        asked = thing.asked
        words = [f"CREATE EXTENSION {text.name(asked['extension'])}"]
        if asked.get("schema") and not thing.strict:
            words.append(f"SCHEMA {text.name(asked['schema'])}")
        if asked.get("version"):
            words.append(f"VERSION {text.literal(asked['version'])}")
        async with server.session(str(asked.get("database") or "")) as session, session.writing():
            await session.run(" ".join(words))
            if not thing.strict:
                (row,) = await session.rows(_EXTENSION, asked["extension"])  # what it says of itself stays
                await mark_new(session, thing.marking("EXTENSION", str(row["comment"] or "")))

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        place = f"ALTER EXTENSION {text.name(thing.asked['extension'])}"
        said = {
            "version": lambda value: f"{place} UPDATE TO {text.literal(value)}",
            "schema": lambda value: f"{place} SET SCHEMA {text.name(value)}",
            "tags": lambda value: thing.found(observation.item).marking("EXTENSION", str(observation.item or "")),
        }
        await self._run(thing, server, *(said[each.field](each.desired) for each in observation.drift))

    async def delete(self, thing: Thing, server: Server) -> None:
        await self._run(thing, server, f"DROP EXTENSION IF EXISTS {text.name(thing.asked['extension'])}")

    async def _run(self, thing: Thing, server: Server, *statements: str) -> None:
        async with server.session(str(thing.asked.get("database") or "")) as session:
            owners = [row["owner"] for row in await session.rows(_EXTENSION, thing.asked["extension"])]
            await run_as(session, owners, *statements)


def _is_system(schema: str) -> bool:
    """Whether a schema is PostgreSQL's own, of which nothing is changed or dropped."""
    return schema.startswith("pg_") or schema == "information_schema"


def _closing(thing: Thing) -> list[str]:
    return ["REVOKE ALL ON SCHEMA public FROM PUBLIC"] if thing.asked.get("revokePublicOnSchema") else []


def _check_database(thing: Thing) -> None:
    asked = thing.asked
    if not any(asked.get(f"database{end}") for end in ("", "Ref", "Selector")):
        raise InvalidInput(
            "no database is named", mend="set spec.forProvider.database, databaseRef or databaseSelector"
        )
