"""The definitions of the PostgreSQL kinds and of their accounts: upstream's names and types, our prose."""

from __future__ import annotations

from typing import Any

from groundplane.core.crds import bricks
from groundplane.core.objects import Object
from groundplane.core.openapi import (
    Schema,
    array,
    boolean,
    column,
    enum,
    handled_request,
    integer,
    obj,
    ruled,
    string,
    time,
    unseen,
)
from groundplane.ports import ManagedKind
from groundplane.sql import adoption
from groundplane.sql.kinds import (
    ADOPT,
    DATABASE,
    DEFAULT_PRIVILEGES,
    DOMAIN,
    EXTENSION,
    GRANT,
    KINDS,
    NAMESPACED_DOMAIN,
    REFERENCES,
    ROLE,
    SCHEMA,
    VERSION,
)
from groundplane.sql.ledger import HELD_BEFORE

WORDS = r"^[A-Z]+( [A-Z]+)*$"
NAME = r"^[a-zA-Z_][a-zA-Z0-9_$]*$"
IMMUTABLE = ("self == oldSelf", "the field is immutable")
SECRET_KEYS = {
    "endpoint": "The host name to connect to.",
    "password": "The password of the user.",
    "port": "The port to connect to.",
    "username": "The user to log in as.",
}


def crds() -> list[Object]:
    """All of them, of both generations."""
    return [*(_managed(kind) for kind in KINDS.values()), *configs()]


def configs() -> list[Object]:
    """Those of ProviderConfigs and their usages."""
    made = []
    for domain in (DOMAIN, NAMESPACED_DOMAIN):
        is_namespaced = domain == NAMESPACED_DOMAIN
        made += [_config(domain, kind) for kind in (bricks.PLAIN, bricks.CLUSTER)[: 1 + is_namespaced]]
        made.append(bricks.usage(domain, VERSION, is_namespaced=is_namespaced, category="sql"))
    return made


def connection_details(kind: ManagedKind) -> list[dict[str, str]]:
    """The keys of a kind's connection Secrets, sorted, and what they hold."""
    if kind.kind != ROLE:
        return []
    return [{"name": name, "description": text} for name, text in sorted(SECRET_KEYS.items())]


def schema_of(kind: ManagedKind) -> Schema:
    """Of an object of a managed kind."""
    asked, rules = FIELDS[kind.kind](kind.namespaced)
    for field, to in REFERENCES[kind.kind].items():
        asked |= _siblings(field, to, kind.namespaced)
    generation = bricks.namespaced_fields() if kind.namespaced else bricks.cluster_fields(strict_upstream=False)
    for_provider = ruled(obj(dict(sorted(asked.items())), required=REQUIRED.get(kind.kind, ())), *rules)
    spec = bricks.obj({**generation, **bricks.policies(), "forProvider": for_provider}, required=["forProvider"])
    status = bricks.obj(
        {
            "atProvider": AT_PROVIDER[kind.kind](),
            "conditions": bricks.conditions(),
            "lastHandledReconcileAt": handled_request(),
        }
    )
    return {**bricks.root(spec, unseen(status)), "description": PROSE[kind.kind]}


def _managed(kind: ManagedKind) -> Object:
    synced, ready, age = (bricks.MANAGED_COLUMNS[place] for place in (0, 1, 3))
    columns = [ready, synced, *COLUMNS[kind.kind], age]
    made = bricks.version(VERSION, schema_of(kind), columns)
    scope = "Namespaced" if kind.namespaced else "Cluster"
    return bricks.crd(
        kind.group, kind.kind, kind.plural, [made], categories=["crossplane", "managed", "sql"], scope=scope
    )


def _siblings(field: str, to: str, namespaced: bool) -> dict[str, Schema]:
    """The fields beside one that say what it is taken from."""
    place = {"namespace": bricks.STRING} if namespaced else {}
    one = bricks.reference()
    one["properties"] = {**one["properties"], **place}
    many = bricks.obj(
        {
            "matchControllerRef": bricks.BOOLEAN,
            "matchLabels": bricks.strings(),
            "policy": bricks.policy(),
            **place,
        }
    )
    return {
        f"{field}Ref": {**one, "description": f"The {to} that {field} is taken from."},
        f"{field}Selector": {**many, "description": f"Selects the {to} that {field} is taken from."},
    }


# --- the fields of each kind ------------------------------------------------------------------------------------

Fields = tuple[dict[str, Schema], tuple[tuple[str, str], ...]]


def _database(namespaced: bool) -> Fields:
    return {
        "allowConnections": boolean("Whether anybody may connect to it."),
        "connectionLimit": integer("How many connections it takes at a time; -1: any number.", format="int32"),
        "encoding": string("The character set encoding: UTF8. Cannot be changed."),
        "isTemplate": boolean("Whether whoever may create databases may copy it."),
        "lcCType": string("The character classification: C.UTF-8. Cannot be changed."),
        "lcCollate": string("The collation order: C.UTF-8. Cannot be changed."),
        "owner": string("The role that owns it; the user of the ProviderConfig unless set."),
        "strategy": ruled(enum(["WAL_LOG", "FILE_COPY"], "How it is copied; PostgreSQL 15 or newer."), IMMUTABLE),
        "tablespace": string("Where it is stored. Cannot be changed."),
        "template": string("The database that it is copied from; template1 unless set. Only the creation uses it."),
    }, ()


def _role(namespaced: bool) -> Fields:
    flags = {
        "bypassRls": "Whether row level security is not for it.",
        "createDb": "Whether it may create databases.",
        "createRole": "Whether it may create roles.",
        "inherit": "Whether it has the privileges of the roles that it is a member of.",
        "login": "Whether it may log in.",
        "replication": "Whether it may replicate.",
        "superUser": "Whether it is a superuser.",
    }
    place = {} if namespaced else {"namespace": string("The Secret's namespace.")}
    secret = {"key": string("Under which it stands."), "name": string("The Secret's name."), **place}
    parameter = obj({"name": string("The parameter: search_path."), "value": string("Its value.")})
    return {
        "configurationParameters": array(parameter, "Settings with which its sessions begin."),
        "connectionLimit": integer("How many connections it may have; -1: any number.", format="int32", minimum=-1),
        "passwordRotationTrigger": time("A time; once it has come, a generated password is replaced by a new one."),
        "passwordSecretRef": obj(secret, "The password; generated unless set.", required=sorted(secret)),
        "privileges": obj({name: boolean(text) for name, text in flags.items()}, "What it may do in the server."),
    }, ()


def _grant(namespaced: bool) -> Fields:
    names = {
        "columns": "The columns of the tables that it is for.",
        "foreignDataWrappers": "The foreign data wrappers that it is for.",
        "foreignServers": "The foreign servers that it is for.",
        "sequences": "The sequences that it is for.",
        "tables": "The tables and views that it is for.",
    }
    routine = obj(
        {"name": string("Its name.", pattern=NAME), "args": array(string(), "The types of its arguments.")},
        required=["name"],
    )
    listed = {name: array(string(pattern=NAME), text) for name, text in names.items()}
    only_members = (
        "!has(self.withInherit) || has(self.memberOf) || has(self.memberOfRef) || has(self.memberOfSelector)",
        "withInherit is for memberships only: set memberOf",
    )
    return {
        **listed,
        "database": string("The database that it is for, or that has what it is for."),
        "memberOf": string("The role that the role becomes a member of."),
        "privileges": array(string(pattern=WORDS), "What is granted: SELECT, CONNECT; ALL for everything.", minItems=1),
        "revokePublicOnDb": boolean(
            "Whether everybody else's privileges on the database, those of PUBLIC, are revoked."
        ),
        "role": string("The role that gets it."),
        "routines": array(routine, "The functions and procedures that it is for."),
        "schema": string("The schema that it is for, or that has what it is for."),
        "withInherit": boolean("Whether the member has the privileges of the role; PostgreSQL 16 or newer."),
        "withOption": enum(["ADMIN", "GRANT"], "Whether the role may grant it to others: ADMIN for memberships."),
    }, (only_members,)


def _schema(namespaced: bool) -> Fields:
    return {
        "database": string("The database that it is in."),
        "dropBehavior": enum(["CASCADE", "RESTRICT"], "Whether what is in it goes with it; RESTRICT unless set."),
        "revokePublicOnSchema": boolean(
            "Whether everybody's privileges on the schema public of the database are revoked."
        ),
        "role": string("The role that owns it."),
    }, ()


def _extension(namespaced: bool) -> Fields:
    return {
        "database": string("The database that gets it."),
        "extension": string("Its name: pgcrypto."),
        "schema": string("The schema for what it brings."),
        "version": string("Its version; the newest that the server has unless set."),
    }, ()


def _default_privileges(namespaced: bool) -> Fields:
    rule = (
        "self.objectType == 'schema' ? !has(self.schema) : has(self.schema)",
        "schema is required, but for objectType schema, where it is forbidden",
    )
    types = ["table", "sequence", "function", "schema", "type"]
    return {
        "database": string("The database that has the things."),
        "objectType": enum(types, "What the things are."),
        "privileges": array(string(pattern=WORDS), "What is granted: SELECT; ALL for everything.", minItems=1),
        "role": string("The role that gets it."),
        "schema": string("The schema that the things will be in."),
        "targetRole": string("The role that will make the things."),
        "withOption": enum(["ADMIN", "GRANT"], "Whether the role may grant it to others: GRANT."),
    }, (rule,)


FIELDS = {
    DATABASE: _database,
    ROLE: _role,
    GRANT: _grant,
    SCHEMA: _schema,
    EXTENSION: _extension,
    DEFAULT_PRIVILEGES: _default_privileges,
}
REQUIRED = {EXTENSION: ["extension"], DEFAULT_PRIVILEGES: ["objectType", "targetRole"]}
PROSE = {
    DATABASE: "A database in a PostgreSQL server.",
    ROLE: "A role in a PostgreSQL server: a user, or a group of users.",
    GRANT: "What a role of a PostgreSQL server may do with one kind of things, or whose member it is.",
    SCHEMA: "A schema in a database of a PostgreSQL server.",
    EXTENSION: "An extension that a database of a PostgreSQL server has.",
    DEFAULT_PRIVILEGES: "What a role may do with things that another role of a PostgreSQL server has yet to make.",
}
COLUMNS: dict[str, list[Any]] = {
    DATABASE: [],
    ROLE: [
        column("CONN LIMIT", ".spec.forProvider.connectionLimit", "integer"),
        column("PRIVILEGES", ".status.atProvider.privilegesAsClauses"),
    ],
    GRANT: [
        column("ROLE", ".spec.forProvider.role"),
        column("MEMBER OF", ".spec.forProvider.memberOf"),
        column("DATABASE", ".spec.forProvider.database"),
        column("PRIVILEGES", ".spec.forProvider.privileges"),
    ],
    SCHEMA: [column("ROLE", ".spec.forProvider.role"), column("DATABASE", ".spec.forProvider.database")],
    EXTENSION: [
        column("DATABASE", ".spec.forProvider.database"),
        column("EXTENSION", ".spec.forProvider.extension"),
        column("VERSION", ".spec.forProvider.version"),
    ],
    DEFAULT_PRIVILEGES: [
        column("ROLE", ".spec.forProvider.role"),
        column("TARGET_ROLE", ".spec.forProvider.targetRole"),
        column("SCHEMA", ".spec.forProvider.schema"),
        column("DATABASE", ".spec.forProvider.database"),
        column("PRIVILEGES", ".spec.forProvider.privileges"),
    ],
}


def _seen_role() -> Schema:
    parameter = obj({"name": string("The parameter."), "value": string("Its value.")})
    return obj(
        {
            "configurationParameters": array(parameter, "Settings with which its sessions begin."),
            "lastPasswordChange": time("When a generated password was replaced last."),
            "passwordDigest": string(
                "Tells whether the password that was set last is still the one that is wanted, where the server does not."
            ),
            "privilegesAsClauses": array(string(), "What it may do in the server, in SQL's words."),
        }
    )


def _seen_grant() -> Schema:
    return _as_asked(_grant(False))


def _seen_default_privileges() -> Schema:
    return _as_asked(_default_privileges(False))


def _as_asked(found: Fields) -> Schema:
    fields, _ = found
    before = array(string(), "What the role held before it was wished here: it stays when this object goes.")
    return obj(
        {name: {key: item for key, item in schema.items() if key != "minItems"} for name, schema in fields.items()}
        | {HELD_BEFORE: before}
    )


AT_PROVIDER = {
    DATABASE: obj,
    ROLE: _seen_role,
    GRANT: _seen_grant,
    SCHEMA: obj,
    EXTENSION: obj,
    DEFAULT_PRIVILEGES: _seen_default_privileges,
}


# --- accounts ---------------------------------------------------------------------------------------------------


def _config(domain: str, kind: str) -> Object:
    lives_in_namespace = domain == NAMESPACED_DOMAIN and kind == bricks.PLAIN
    place = {} if lives_in_namespace else {"namespace": string("The Secret's namespace.")}
    secret = {"name": string("The Secret's name."), **place}
    mapping = {name: string(f"The key that holds it; {name} unless set.") for name in SECRET_KEYS}
    credentials = obj(
        {
            "connectionSecretRef": obj(secret, "The Secret that says where the server is.", required=sorted(secret)),
            "secretKeyMapping": obj(mapping, "How the Secret's keys are called, where they are called otherwise."),
            "source": enum(["PostgreSQLConnectionSecret"], "Where the credentials come from."),
        },
        required=["source"],
    )
    modes = ["disable", "require", "verify-ca", "verify-full"]
    spec = obj(
        {
            "adoption": enum(
                adoption.MODES,
                "Which things that were there before, and are no object's, an object takes and works with: Named, those that it names; Annotated,"
                f' none unless it is annotated {ADOPT}: "true".',
                default=adoption.NAMED,
            ),
            "credentials": credentials,
            "defaultDatabase": string("The database to connect to, where the object names none.", default="postgres"),
            "sslMode": enum(modes, "How far the server must prove itself.", default="verify-full"),
        },
        required=["credentials"],
    )
    scope = "Namespaced" if lives_in_namespace else "Cluster"
    return bricks.config(domain, kind, VERSION, spec, secret="connectionSecretRef", scope=scope, category="sql")
