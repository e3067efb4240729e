"""What a PostgreSQL server has, each thing as the spec of an object that would stand for it.  It only reads.

What everybody may (PUBLIC), and what owners may do with their own, has no object.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from groundplane.core.objects import Json
from groundplane.errors import GroundplaneError
from groundplane.sql.database import KEPT
from groundplane.sql.default_privileges import TYPES
from groundplane.sql.kinds import DATABASE, DEFAULT_PRIVILEGES, EXTENSION, GRANT, ROLE, SCHEMA
from groundplane.sql.role import FLAGS, IS_POWERFUL
from groundplane.sql.schema import PLPGSQL, PUBLIC
from groundplane.sql.server import Server, Session
from groundplane.sql.wire import LISTING

FIRST = 16384  # the OID of the first thing that somebody has made
SERVICE = "^(rds_|rdsadmin|rdsrepladmin|cloudsql|alloydb|azure_|azuresu)"  # what begins the names of those that a service made
_OWN_ROLE = f"(r.oid < {FIRST} OR r.rolname ~ '{SERVICE}' OR r.rolname = current_user)"
_ROLES = f"""
SELECT r.*, {_OWN_ROLE} AS is_own, {IS_POWERFUL} AS is_powerful FROM pg_roles r ORDER BY rolname
"""
_DATABASES = f"""
SELECT d.datname AS name, r.rolname AS owner, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS "lcCollate",
  d.datctype AS "lcCType", d.datallowconn AS "allowConnections", d.datconnlimit AS "connectionLimit",
  d.datistemplate AS "isTemplate", t.spcname AS tablespace,
  d.datname = ANY($1) OR d.datname ~ '{SERVICE}' AS is_own,
  d.datallowconn AND NOT d.datistemplate AND d.datname !~ '{SERVICE}' AND has_database_privilege(d.oid, 'CONNECT') AS is_open
FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba JOIN pg_tablespace t ON t.oid = d.dattablespace ORDER BY 1
"""
_MEMBERS = f"""
SELECT g.rolname AS "memberOf", r.rolname AS role, r.rolinherit, bool_or(m.admin_option) AS is_admin, bool_or({{inherit}}) AS inherits
FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE NOT {_OWN_ROLE} GROUP BY 1, 2, 3 ORDER BY 2, 1
"""
_HELD = f"""
SELECT r.rolname AS role, x.privilege_type AS word, bool_or(x.is_grantable) AS is_grantable, {{fields}}
FROM ({{things}}) t, aclexplode(t.acl) x JOIN pg_roles r ON r.oid = x.grantee
WHERE x.grantee <> t.owner AND NOT {_OWN_ROLE} GROUP BY {{fields}}, r.rolname, x.privilege_type ORDER BY {{fields}}, 1, 2
"""
_PEOPLES = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_NOT_EXTENSIONS = (
    "NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{}'::regclass AND e.objid = {}.oid AND e.deptype = 'e')"
)
_CLASSES = f"""
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_PEOPLES} AND {_NOT_EXTENSIONS.format("pg_class", "c")} AND c.relkind = ANY('{{{{{{kinds}}}}}}')
"""
_THINGS: dict[str, tuple[str, str]] = {
    "schema": (
        "schema",
        f"SELECT n.nspname AS schema, n.nspacl AS acl, n.nspowner AS owner FROM pg_namespace n WHERE {_PEOPLES}",
    ),
    "tables": (
        "schema, name",
        f"SELECT n.nspname AS schema, c.relname AS name, c.relacl AS acl, c.relowner AS owner {_CLASSES.format(kinds='r,v,m,p,f')}",
    ),
    "columns": (
        "schema, name, column_name",
        "SELECT c.*, a.attname AS column_name, a.attacl AS acl FROM"
        f" (SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relowner AS owner {_CLASSES.format(kinds='r,v,m,p,f')}) c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped",
    ),
    "sequences": (
        "schema, name",
        f"SELECT n.nspname AS schema, c.relname AS name, c.relacl AS acl, c.relowner AS owner {_CLASSES.format(kinds='S')}",
    ),
    "routines": (
        "schema, name, args",
        "SELECT n.nspname AS schema, p.proname AS name, p.proacl AS acl, p.proowner AS owner,"
        " ARRAY(SELECT format_type(a, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u(a, i) ORDER BY i) AS args"
        f" FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_PEOPLES} AND {_NOT_EXTENSIONS.format('pg_proc', 'p')}",
    ),
    "foreignServers": ("name", "SELECT srvname AS name, srvacl AS acl, srvowner AS owner FROM pg_foreign_server"),
    "foreignDataWrappers": (
        "name",
        "SELECT fdwname AS name, fdwacl AS acl, fdwowner AS owner FROM pg_foreign_data_wrapper",
    ),
}
"""By the field of a Grant that names the things: what tells one, and the query."""
_SCHEMAS = f"""
SELECT n.nspname AS name, r.rolname AS role, n.nspname = '{PUBLIC}' AS is_own
FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
WHERE {_PEOPLES} AND {_NOT_EXTENSIONS.format("pg_namespace", "n")} ORDER BY 1
"""
_EXTENSIONS = f"""
SELECT e.extname AS extension, e.extversion AS version, n.nspname AS schema, e.extname = '{PLPGSQL}' AS is_own
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1
"""
_DEFAULTS = f"""
SELECT o.rolname AS "targetRole", d.defaclobjtype::text AS type, coalesce(n.nspname, '') AS schema, r.rolname AS role,
  x.privilege_type AS word, bool_or(x.is_grantable) AS is_grantable
FROM pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace,
  aclexplode(d.defaclacl) x JOIN pg_roles r ON r.oid = x.grantee
WHERE x.grantee <> d.defaclrole AND NOT {_OWN_ROLE} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""
IN_DATABASES = {GRANT, SCHEMA, EXTENSION, DEFAULT_PRIVILEGES}


@dataclass(frozen=True)
class Found:
    """A thing in the server."""

    kind: str
    called: str  # its name; of what has none, what it is about, as an object may be called
    asked: Mapping[str, Json] = field(default_factory=dict)  # spec.forProvider
    external_name: str = ""
    is_own: bool = False  # it is the server's, or its service's, or whom the ProviderConfig logs in as
    only_looks: str = ""  # why it can't be held to
    problem: str = ""  # why no object can stand for it


async def everything(server: Server, kinds: Collection[str]) -> list[Found]:
    """All that the login sees of these kinds; what it may not look into is told as a problem.

    Raises Denied, Unavailable, InvalidInput.
    """
    found: list[Found] = []
    async with server.session() as session:
        databases = await session.rows(_DATABASES, list(KEPT), most=LISTING)
        if ROLE in kinds:
            found += [_role(row) for row in await session.rows(_ROLES, most=LISTING)]
        if DATABASE in kinds:
            found += [_database(row) for row in databases]
        if GRANT in kinds:
            found += await _memberships(session)
            things = "SELECT datname AS database, datacl AS acl, datdba AS owner FROM pg_database"
            for row, words, option in _told(await _held(session, "database", things), ("database", "role")):
                asked = {"database": row["database"], "role": row["role"], "privileges": words} | option
                found.append(Found(GRANT, f"{row['role']}-on-{row['database']}", asked))
    if not IN_DATABASES & {*kinds}:
        return found
    for each in databases:
        if each["is_open"]:
            name = str(each["name"])
            try:
                async with server.session(name) as session:
                    found += [one async for one in _inside(session, name, kinds)]
            except GroundplaneError as error:
                found.append(Found(DATABASE, name, external_name=name, problem=f"can't be looked into: {error}"))
    return found


async def _inside(session: Session, database: str, kinds: Collection[str]) -> Any:
    """What is in one database."""
    if SCHEMA in kinds:
        for row in await session.rows(_SCHEMAS, most=LISTING):
            asked = {"database": database, "role": row["role"]}
            yield Found(SCHEMA, f"{database}-{row['name']}", asked, row["name"], row["is_own"])
    if EXTENSION in kinds:
        for row in await session.rows(_EXTENSIONS, most=LISTING):
            asked = {"database": database} | {name: row[name] for name in ("extension", "schema", "version")}
            yield Found(EXTENSION, f"{database}-{row['extension']}", asked, is_own=row["is_own"])
    if GRANT in kinds:
        for place, (fields, things) in _THINGS.items():
            names = fields.split(", ")
            rows = await _held(session, fields, things)
            for grant in _grants(place, rows, [*names, "role"]):
                about = [grant["role"], "on", database, grant.get("schema"), place if place != "schema" else ""]
                yield Found(GRANT, "-".join(filter(None, about)), {"database": database, **grant})
    if DEFAULT_PRIVILEGES in kinds:
        types = {catalog: name for name, (_, catalog) in TYPES.items()}
        rows = await session.rows(_DEFAULTS, most=LISTING)
        for row, words, option in _told(rows, ("targetRole", "type", "schema", "role")):
            type_, schema = types.get(row["type"], ""), row["schema"]
            called = f"{row['role']}-on-{database}-{schema + '-' if schema else ''}{type_}s-of-{row['targetRole']}"
            asked = {"database": database, "objectType": type_, "privileges": words} | option
            asked |= {"role": row["role"], "targetRole": row["targetRole"]} | ({"schema": schema} if schema else {})
            if type_ and bool(schema) != (type_ == "schema"):
                yield Found(DEFAULT_PRIVILEGES, called, asked)
            else:
                problem = f"is for {type_ or 'unknown thing'}s of every schema, and DefaultPrivileges name one"
                yield Found(DEFAULT_PRIVILEGES, called, problem=problem)


def _role(row: Any) -> Found:
    flags = {name: row[column] for name, (column, _) in FLAGS.items() if row[column] != (name == "inherit")}
    asked: dict[str, Json] = {"privileges": flags} if flags else {}
    if row["rolconnlimit"] != -1:
        asked["connectionLimit"] = row["rolconnlimit"]
    if row["rolconfig"]:
        asked["configurationParameters"] = [
            dict(zip(("name", "value"), each.split("=", 1), strict=True)) for each in row["rolconfig"]
        ]
    only = "may do more than work in databases, and can only be looked at" if row["is_powerful"] else ""
    return Found(ROLE, row["rolname"], asked, row["rolname"], row["is_own"], only)


def _database(row: Any) -> Found:
    usual = {"connectionLimit": -1, "allowConnections": True, "isTemplate": False, "tablespace": "pg_default"}
    asked = {name: row[name] for name in ("owner", "encoding", "lcCollate", "lcCType")}
    asked |= {name: row[name] for name, value in usual.items() if row[name] != value}
    return Found(DATABASE, row["name"], asked, row["name"], row["is_own"])


async def _memberships(session: Session) -> list[Found]:
    found = []
    inherit = "m.inherit_option" if session.version >= 16 else "r.rolinherit"
    for row in await session.rows(_MEMBERS.format(inherit=inherit), most=LISTING):
        asked: dict[str, Json] = {"memberOf": row["memberOf"], "role": row["role"]}
        if row["is_admin"]:
            asked["withOption"] = "ADMIN"
        if row["inherits"] != row["rolinherit"]:
            asked["withInherit"] = row["inherits"]
        found.append(Found(GRANT, f"{row['role']}-in-{row['memberOf']}", asked))
    return found


async def _held(session: Session, fields: str, things: str) -> list[Any]:
    return list(await session.rows(_HELD.format(fields=fields, things=things), most=LISTING))


def _told(rows: Iterable[Any], fields: Iterable[str]) -> Iterator[tuple[Any, list[str], dict[str, Json]]]:
    """Of each place and role a row, the words that it holds in one way, and that way: with the right to grant them, or without."""
    names = list(fields)
    for _, group in groupby(rows, key=lambda row: [row[name] for name in names]):
        held = list(group)
        for is_grantable in (False, True):
            words = [row["word"] for row in held if row["is_grantable"] == is_grantable]
            if words:
                yield held[0], words, {"withOption": "GRANT"} if is_grantable else {}


def _grants(place: str, rows: Iterable[Any], fields: list[str]) -> Iterator[dict[str, Json]]:
    """The grants that say this; things of a schema of which a role may do the same are in one."""
    together: dict[tuple[Any, ...], list[Json]] = {}
    for row, words, option in _told(rows, fields):
        base = {name: row[name] for name in fields if name in ("role", "schema")} | {"privileges": words} | option
        if place == "schema":
            yield base
            continue
        one: Json = row["name"]
        if place == "routines":
            one = {"name": row["name"], "args": list(row["args"])}
        elif place == "columns":
            base["tables"], one = [row["name"]], row["column_name"]
        together.setdefault(tuple((name, repr(value)) for name, value in base.items()), [base]).append(one)
    for base, *things in together.values():
        yield {**base, place: things}
