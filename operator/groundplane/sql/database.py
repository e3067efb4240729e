"""Databases."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from groundplane.core.conditions import available
from groundplane.errors import InvalidInput, Waiting
from groundplane.ports import Difference, Observation
from groundplane.sql import text
from groundplane.sql.faults import Lacking
from groundplane.sql.kinds import ADOPT
from groundplane.sql.server import Server, Session
from groundplane.sql.thing import MAY_JOIN, Thing, mark_new, missing, run_as

_SEEN = f"""
SELECT r.rolname AS owner, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS "lcCollate",
  d.datctype AS "lcCType", d.datallowconn AS "allowConnections", d.datconnlimit AS "connectionLimit",
  d.datistemplate AS "isTemplate", t.spcname AS tablespace,
  pg_encoding_to_char(pg_char_to_encoding($2)) AS "wantedEncoding",
  shobj_description(d.oid, 'pg_database') AS comment, {MAY_JOIN.format("r.oid")} AS "mayMark"
FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = $1
"""
_OWNER = """
SELECT r.rolname AS owner, d.datistemplate FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = $1
"""
CHANGEABLE = ("owner", "connectionLimit", "allowConnections", "isTemplate")
FIXED = ("encoding", "lcCollate", "lcCType", "tablespace")
DEFAULT = "DEFAULT"  # a word, not a name, but for the owner
KEPT = ("postgres", "template0", "template1")


class Databases:
    """`thing.Kind` for Database."""

    def check(self, thing: Thing) -> None:
        text.check_name(thing.name, "the database")
        text.check_names(thing.asked, "owner", "template", "tablespace")
        if (limit := thing.asked.get("connectionLimit")) is not None and int(limit) < -1:
            raise InvalidInput(
                f"{limit} is no number of connections",
                mend="write 0 or more, or -1 for no limit",
                where=("spec.forProvider.connectionLimit",),
            )

    async def observe(self, thing: Thing, server: Server) -> Observation:
        asked = thing.asked
        async with server.session() as session:
            rows = await session.rows(_SEEN, thing.name, str(asked.get("encoding") or ""))
        if not rows:
            return Observation(exists=False)
        seen: dict[str, Any] = dict(rows[0])
        thing = thing.found(seen["comment"])
        if thing.is_leaving and thing.is_found:
            return Observation(exists=False)
        wanted = {field: asked[field] for field in (*CHANGEABLE, *FIXED) if asked.get(field) not in (None, DEFAULT)}
        if "encoding" in wanted and seen["wantedEncoding"]:
            wanted["encoding"] = seen["wantedEncoding"]
        differing = {field: value for field, value in wanted.items() if value != seen[field]}
        return Observation(
            exists=True,
            ready=available(),
            late={
                field: seen[field]
                for field in (*CHANGEABLE, *FIXED)
                if asked.get(field) is None and seen[field] is not None
            },
            drift=(
                *(Difference(each, differing[each], seen[each]) for each in CHANGEABLE if each in differing),
                *thing.unmarked(may=seen["mayMark"] and thing.name not in KEPT),
            ),
            immutable=()
            if thing.strict
            else tuple(Difference(each, differing[each], seen[each]) for each in FIXED if each in differing),
            notes=(stray(thing),) if thing.is_found else (),
            owner=thing.mark,
            item=thing.comment,
        )

    async def create(self, thing: Thing, server: Server) -> None:
        asked = thing.asked
        words, owner = [f"CREATE DATABASE {text.name(thing.name)}"], str(asked.get("owner") or "")
        for field, word, quoted in (
            ("template", "TEMPLATE", text.name),
            ("strategy", "STRATEGY", text.name),
            ("encoding", "ENCODING", text.literal),
            ("lcCollate", "LC_COLLATE", text.literal),
            ("lcCType", "LC_CTYPE", text.literal),
            ("tablespace", "TABLESPACE", text.name),
        ):
            if asked.get(field):
                value = str(asked[field])
                words.append(
                    f"{word} {value if value == DEFAULT else quoted(value.lower() if field == 'strategy' else value)}"
                )
        words += [
            f"{word} {str(asked[field]).lower()}"
            for field, word in (
                ("allowConnections", "ALLOW_CONNECTIONS"),
                ("connectionLimit", "CONNECTION LIMIT"),
                ("isTemplate", "IS_TEMPLATE"),
            )
            if asked.get(field) is not None
        ]
        async with _source_in_use(asked), server.session() as session:
            if owner and not await session.rows("SELECT FROM pg_roles WHERE rolname = $1", owner):
                raise Waiting(
                    f'role "{owner}" does not exist',
                    mend="create it, or correct spec.forProvider.owner",
                )
            is_given_later = bool(await missing(session, owner))
            if owner and not is_given_later:
                words.insert(1, f"OWNER {text.name(owner)}")
            place = f"DATABASE {text.name(thing.name)}"
            async with session.writing():
                await session.run(" ".join(words))
                if not thing.strict:
                    await mark_new(session, thing.marking("DATABASE"))
                if is_given_later:
                    await run_as(session, [owner], f"ALTER {place} OWNER TO {text.name(owner)}")

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        place = f"ALTER DATABASE {text.name(thing.name)}"
        said = {
            "owner": lambda value: f"OWNER TO {text.name(value)}",
            "connectionLimit": lambda value: f"CONNECTION LIMIT {int(value)}",
            "allowConnections": lambda value: f"ALLOW_CONNECTIONS {str(value).lower()}",
            "isTemplate": lambda value: f"IS_TEMPLATE {str(value).lower()}",
        }
        if thing.name in KEPT:
            raise InvalidInput(
                f"{thing.name} is the server's own: it is not changed",
                mend="name another database, or set managementPolicies: [Observe]",
            )
        drift = {each.field: each for each in observation.drift}
        if (
            thing.name == server.login.database
            and "allowConnections" in drift
            and not drift["allowConnections"].desired
        ):
            raise InvalidInput(
                f"{thing.name} is the database that the ProviderConfig connects to: without connections nobody could undo that",
                mend="remove spec.forProvider.allowConnections, or set another defaultDatabase",
            )
        statements = [f"{place} {said[name](each.desired)}" for name, each in drift.items() if name in said]
        if "tags" in drift:
            statements.insert(0, thing.found(observation.item).marking("DATABASE", str(observation.item or "")))
        async with server.session() as session:
            owners = [await _owner(session, thing.name), *_owners(thing.asked)]
            try:
                await run_as(session, owners, *statements)
            except Lacking as error:
                raise Waiting(str(error), mend="create it, or correct spec.forProvider.owner") from error

    async def delete(self, thing: Thing, server: Server) -> None:
        if thing.name in (*KEPT, server.login.database):
            raise InvalidInput(
                f"{thing.name} is the server's own, or the one that the ProviderConfig connects to: it is not dropped",
                mend="set spec.deletionPolicy: Orphan, or spec.managementPolicies without Delete",
            )
        await server.leave(thing.name)
        async with server.session() as session:
            rows = await session.rows(_OWNER, thing.name)
            if not rows:
                return
            place = f"DATABASE {text.name(thing.name)}"
            first = [f"ALTER {place} IS_TEMPLATE false"] if rows[0]["datistemplate"] and not thing.strict else []
            if await missing(session, rows[0]["owner"]):
                first.append(f"ALTER {place} OWNER TO CURRENT_USER")
            await run_as(session, [rows[0]["owner"]], *first)
            force = " WITH (FORCE)" if session.version >= 13 and not thing.strict else ""
            await session.run(f"DROP DATABASE IF EXISTS {text.name(thing.name)}{force}")


@contextlib.asynccontextmanager
async def _source_in_use(asked: Mapping[str, Any]) -> AsyncIterator[None]:
    """Say which field names a database whose sessions keep it from being copied."""
    try:
        yield
    except Waiting as error:
        if "(55006)" in error.what:
            field = f"spec.forProvider.template: {asked.get('template') or 'template1'}"
            error.what = f"{field}: {error.what}"
            error.mend = "have the sessions that use it ended, or name another one, such as template0; it is tried again by and by"
        raise


def stray(thing: Thing, name: str = "") -> str:
    """What is told of a thing that was there before its object."""
    return f'{name or thing.name} was there before, and stays when this object is deleted, unless it is annotated {ADOPT}: "true"'


def _owners(asked: Any) -> list[str]:
    return [str(asked["owner"])] if asked.get("owner") else []


async def _owner(session: Session, database: str) -> str:
    rows = await session.rows(_OWNER, database)
    return str(rows[0]["owner"]) if rows else ""
