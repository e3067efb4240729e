"""What can be granted, on what: the fields that say it, its words, and where the catalog keeps them.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from groundplane.errors import InvalidInput
from groundplane.sql.text import name

ALL = ("ALL", "ALL PRIVILEGES")
PLACES = (
    "memberOf",
    "database",
    "schema",
    "tables",
    "columns",
    "sequences",
    "routines",
    "foreignServers",
    "foreignDataWrappers",
)
"""The fields whose presence says what a grant is for."""


@dataclass(frozen=True)
class Type:
    """One type of grant."""

    fields: tuple[str, ...]  # exactly those that are filled
    words: tuple[str, ...] = ()  # what may be granted
    objects: str = (
        ""  # the query that finds them: object, acl, owner; $1 is the schema, or their only name, $2 their names
    )
    acl: str = ""  # the type that `acldefault` calls them
    keyword: str = ""  # between ON and the objects


_IN = "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND"
_TABLES = f"SELECT c.relname::text AS object, c.relacl AS acl, c.relowner AS owner FROM pg_class c {_IN}"
_OF_TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
MEMBER = Type(("memberOf",))
DATABASE = Type(
    ("database",),
    ("CREATE", "TEMPORARY", "CONNECT"),
    "SELECT datname::text AS object, datacl AS acl, datdba AS owner FROM pg_database WHERE datname = $1",
    "d",
    "DATABASE",
)
SCHEMA = Type(
    ("database", "schema"),
    ("CREATE", "USAGE"),
    "SELECT nspname::text AS object, nspacl AS acl, nspowner AS owner FROM pg_namespace WHERE nspname = $1",
    "n",
    "SCHEMA",
)
TABLE = Type(
    ("database", "schema", "tables"),
    _OF_TABLE,
    f"{_TABLES} c.relname = ANY($2) AND c.relkind = ANY('{{r,v,m,p,f}}')",
    "r",
    "TABLE",
)
COLUMN = Type(
    ("database", "schema", "tables", "columns"),
    ("SELECT", "INSERT", "UPDATE", "REFERENCES"),
    "SELECT c.relname || '.' || a.attname AS object, a.attacl AS acl, c.relowner AS owner FROM pg_attribute a"
    f" JOIN pg_class c ON c.oid = a.attrelid {_IN} c.relname = ANY($2) AND a.attname = ANY($3) AND NOT a.attisdropped",
    "c",
    "TABLE",
)
SEQUENCE = Type(
    ("database", "schema", "sequences"),
    ("USAGE", "SELECT", "UPDATE"),
    f"{_TABLES} c.relname = ANY($2) AND c.relkind = 'S'",
    "s",
    "SEQUENCE",
)
ROUTINE = Type(
    ("database", "schema", "routines"),
    ("EXECUTE",),
    "SELECT w.text AS object, p.proacl AS acl, p.proowner AS owner, p.oid::regprocedure::text AS signature"
    " FROM unnest($2::text[]) w(text) JOIN pg_proc p ON p.oid = to_regprocedure(w.text) WHERE $1::text IS NOT NULL",
    "f",
    "ROUTINE",
)
SERVER = Type(
    ("database", "foreignServers"),
    ("USAGE",),
    "SELECT srvname::text AS object, srvacl AS acl, srvowner AS owner FROM pg_foreign_server WHERE srvname = ANY($2) AND $1::text IS NOT NULL",
    "S",
    "FOREIGN SERVER",
)
WRAPPER = Type(
    ("database", "foreignDataWrappers"),
    ("USAGE",),
    "SELECT fdwname::text AS object, fdwacl AS acl, fdwowner AS owner FROM pg_foreign_data_wrapper WHERE fdwname = ANY($2) AND $1::text IS NOT NULL",
    "F",
    "FOREIGN DATA WRAPPER",
)
TYPES = (MEMBER, DATABASE, SCHEMA, TABLE, COLUMN, SEQUENCE, ROUTINE, SERVER, WRAPPER)


def type_of(asked: Mapping[str, Any]) -> Type:
    """What type of grant these fields describe.  Raises InvalidInput if it is none."""
    filled = tuple(field for field in PLACES if asked.get(field))
    for each in TYPES:
        if each.fields == filled:
            return each
    kinds = "; ".join(", ".join(each.fields) for each in TYPES)
    raise InvalidInput(
        f"cannot identify grant type: {', '.join(filled) or 'nothing'} is set",
        mend=f"set exactly the fields of one type: {kinds}",
        where=("spec.forProvider",),
    )


def words(type_: Type, privileges: Sequence[str], version: int = 0) -> list[str]:
    """The privileges of a type, ALL written out, sorted; a version of 0 is not known yet.

    >>> words(DATABASE, ["ALL"]), words(TABLE, ["SELECT", "INSERT"])
    (['CONNECT', 'CREATE', 'TEMPORARY'], ['INSERT', 'SELECT'])

    Raises:
        InvalidInput: there is no such privilege on things of this type.
    """
    known = [each for each in type_.words if each != "MAINTAIN" or version == 0 or version >= 17]
    if any(each in ALL for each in privileges):
        return sorted(known)
    spelt = {"TEMPORARY" if each == "TEMP" and "TEMPORARY" in known else each for each in privileges}
    if unknown := sorted(spelt - set(known)):
        raise InvalidInput(
            f"{', '.join(unknown)} can't be granted on a {type_.keyword.lower()}",
            mend=f"use {', '.join(known)}, or ALL",
            where=("spec.forProvider.privileges",),
        )
    return sorted(spelt)


def names(type_: Type, asked: Mapping[str, Any]) -> list[str]:
    """The objects that a grant is for, as the type's query finds them."""
    schema = str(asked.get("schema") or "")
    match type_.fields[-1]:
        case "columns":
            return [f"{table}.{column}" for table in asked["tables"] for column in asked["columns"]]
        case "routines":
            return [signature(schema, each) for each in asked["routines"]]
        case "database" | "schema" as field:
            return [str(asked[field])]
        case field:
            return [str(each) for each in asked[field]]


def signature(schema: str, routine: Mapping[str, Any]) -> str:
    """A routine as `to_regprocedure` reads it."""
    return f"{name(schema)}.{name(routine['name'])}({', '.join(map(str, routine.get('args') or ()))})"


def objects(type_: Type, asked: Mapping[str, Any], each: str, signatures: Mapping[str, str]) -> tuple[str, str]:
    """How a statement names one of a grant's objects, and the columns after its privileges."""
    if type_ is COLUMN:
        table, _, column = each.rpartition(".")
        return f"{name(str(asked['schema']))}.{name(table)}", f" ({name(column)})"
    if type_ is ROUTINE:
        return signatures[each], ""
    if "schema" in type_.fields and type_ is not SCHEMA:
        return f"{name(str(asked['schema']))}.{name(each)}", ""
    return name(each), ""
