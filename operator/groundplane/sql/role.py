"""Roles: users, and groups of users."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from groundplane.core.conditions import available, moment, timestamp
from groundplane.core.objects import annotations_of, meta, spec_of
from groundplane.errors import InvalidInput, Waiting
from groundplane.ports import Difference, Observation
from groundplane.sql import marks, text
from groundplane.sql.database import stray
from groundplane.sql.server import Server, Session
from groundplane.sql.thing import CREATES, Thing, run_as

FLAGS = {
    "superUser": ("rolsuper", "SUPERUSER"),
    "inherit": ("rolinherit", "INHERIT"),
    "createDb": ("rolcreatedb", "CREATEDB"),
    "createRole": ("rolcreaterole", "CREATEROLE"),
    "login": ("rolcanlogin", "LOGIN"),
    "replication": ("rolreplication", "REPLICATION"),
    "bypassRls": ("rolbypassrls", "BYPASSRLS"),
}
"""By field: the column, and the clause; NO before it takes it away."""
LISTS = ("datestyle", "local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces")
"""Parameters whose value is a list."""
_PART = re.compile(r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^,])+""")
REASSIGN = "groundplane.io/reassign-owned-to"
_POWERS = (
    "pg_execute_server_program",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_read_all_data",
    "pg_write_all_data",
    "rds_superuser",
    "rds_replication",
    "cloudsqlsuperuser",
    "alloydbsuperuser",
    "azure_pg_admin",
)
IS_POWERFUL = f"""
EXISTS (SELECT FROM pg_roles p WHERE (p.rolsuper OR p.rolcreaterole OR p.rolreplication OR p.rolbypassrls OR p.rolname IN {_POWERS})
  AND (p.oid = r.oid OR pg_has_role(r.oid, p.oid, 'MEMBER')))
"""
_SEEN = f"""
SELECT oid, {", ".join(column for column, _ in FLAGS.values())}, rolconnlimit, rolconfig, shobj_description(oid, 'pg_authid') AS comment,
  (pg_has_role(oid, 'MEMBER WITH ADMIN OPTION') OR {CREATES}) AND (NOT rolsuper OR current_setting('is_superuser') = 'on') AS may_mark,
  {IS_POWERFUL} AS is_powerful
FROM pg_roles r WHERE rolname = $1
"""
_DEPENDENTS = """
SELECT coalesce(d.datname, '') AS database, s.deptype::text AS how, s.classid::regclass::text AS kind, count(*) AS count
FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
GROUP BY 1, 2, 3 ORDER BY 1, 3
"""


class Roles:
    """`thing.Kind` for Role."""

    def __init__(self) -> None:
        self._set: dict[
            str, tuple[str, str]
        ] = {}  # by UID: a password's digest and when it replaced another, until the status has it

    def check(self, thing: Thing) -> None:
        text.check_role(thing.name, "the role")
        text.check_names(thing.asked, "configurationParameters")

    async def observe(self, thing: Thing, server: Server) -> Observation:
        asked = thing.asked
        async with server.session() as session:
            rows = await session.rows(_SEEN, thing.name)
            thing = thing.found(rows[0]["comment"] if rows else "")
            is_barred = bool(rows) and _is_barred(thing, rows[0])
            if not rows or (thing.is_leaving and (thing.is_found or is_barred)):
                self._set.pop(thing.uid, None)
                return Observation(exists=False)
            row = rows[0]
            digest, changed = self._known(thing)
            password = thing.secrets.get("password", "") if _may_set(thing) and not is_barred else ""
            is_set = not password or await _is_set(session, thing, password, digest)
        seen: dict[str, Any] = {field: row[column] for field, (column, _) in FLAGS.items()}
        flags = asked.get("privileges") or {}
        drift = [
            Difference(f"privileges.{field}", flags[field], seen[field])
            for field in FLAGS
            if flags.get(field) not in (None, seen[field])
        ]
        limit = asked.get("connectionLimit")
        if limit not in (None, row["rolconnlimit"]):
            drift.append(Difference("connectionLimit", limit, row["rolconnlimit"]))
        there = [dict(zip(("name", "value"), each.split("=", 1), strict=True)) for each in row["rolconfig"] or ()]
        wanted = asked.get("configurationParameters")
        if wanted is not None and _normal(wanted) != _normal(there):
            drift.append(Difference("configurationParameters", wanted, there))
        renew, left = (False, None) if is_barred else self._is_to_renew(thing, changed, password)
        may_mark = row["may_mark"] or (is_barred and not thing.is_stray)  # an update says why not
        drift += thing.unmarked(may=may_mark and thing.name != server.login.user)
        if not is_set or renew:
            drift.append(Difference("password", "(as wanted)", "(another one)"))
        unset = {field: value for field, value in seen.items() if flags.get(field) is None}
        late: dict[str, Any] = {"privileges": unset} if unset else {}
        if limit is None:
            late["connectionLimit"] = row["rolconnlimit"]
        at_provider: dict[str, Any] = {
            "privilegesAsClauses": [word if seen[field] else f"NO{word}" for field, (_, word) in FLAGS.items()]
        }
        if there:
            at_provider["configurationParameters"] = there
        at_provider |= {
            name: value for name, value in (("lastPasswordChange", changed), ("passwordDigest", digest)) if value
        }
        return Observation(
            exists=True,
            ready=available(),
            at_provider=at_provider,
            late=late,
            drift=tuple(drift),
            notes=_notes(thing, password),
            connection=connection(thing, server, password if is_set else ""),
            renew=("password",) if renew else (),
            next_look=left,
            owner=thing.mark,
            item=thing.comment,
        )

    async def create(self, thing: Thing, server: Server) -> None:
        asked, password = thing.asked, thing.secrets.get("password", "")
        flags = asked.get("privileges") or {}
        words = [_clause(field, flags[field]) for field in FLAGS if flags.get(field) is not None]
        if asked.get("connectionLimit") is not None:
            words.append(f"CONNECTION LIMIT {int(asked['connectionLimit'])}")
        async with server.session() as session:
            if password:
                words.append(await _password(session, thing, password))
            role = text.name(thing.name)
            parameters = _parameters(role, asked.get("configurationParameters") or ())
            marking = [] if thing.strict else [thing.marking("ROLE")]
            await session.run(f"CREATE ROLE {role} {' '.join(words)}", *marking, *parameters)
            digest = _digest(session, thing, password)
        if password:
            self._remember(thing, digest, is_renewed=False)

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        fields = {each.field: each for each in observation.drift}
        role, password = text.name(thing.name), thing.secrets.get("password", "")
        _check_not_ours(thing, server)
        async with server.session() as session:
            await _check_not_barred(thing, session)
            words = [
                _clause(name.removeprefix("privileges."), bool(each.desired))
                for name, each in fields.items()
                if name.startswith("privileges.")
            ]
            if "connectionLimit" in fields:
                words.append(f"CONNECTION LIMIT {int(thing.asked['connectionLimit'])}")
            if "password" in fields and password:
                words.append(await _password(session, thing, password))
            statements = [f"ALTER ROLE {role} {' '.join(words)}"] if words else []
            if "tags" in fields:
                statements.append(thing.found(observation.item).marking("ROLE", str(observation.item or "")))
            if "configurationParameters" in fields:
                statements += [
                    f"ALTER ROLE {role} RESET ALL",
                    *_parameters(role, thing.asked["configurationParameters"]),
                ]
            await session.run(*statements)
            digest = _digest(session, thing, password)
        if "password" in fields and password:
            self._remember(thing, digest, is_renewed="password" in observation.renew)

    async def delete(self, thing: Thing, server: Server) -> None:
        role = thing.name
        _check_not_ours(thing, server)
        async with server.session() as session:
            await _check_not_barred(thing, session)
            rows = await session.rows(_DEPENDENTS, role)
        heir = annotations_of(thing.managed).get(REASSIGN, "")
        owned = [row for row in rows if row["how"] == "o"]
        if owned and not heir:
            raise Waiting(
                f"{role} owns {_listed(owned)}",
                mend=f"delete these first, or annotate the role with {REASSIGN}: <another role>",
            )
        for database in sorted({row["database"] or server.login.database for row in rows}):
            async with server.session(database) as session:
                statements = [f"DROP OWNED BY {text.name(role)}"]  # its privileges: nothing is its own
                if heir:
                    statements.insert(0, f"REASSIGN OWNED BY {text.name(role)} TO {text.name(heir)}")
                elif any(row["how"] == "o" for row in await session.rows(_DEPENDENTS, role)):
                    raise Waiting(f"{role} owns something by now")
                await run_as(session, [role, *filter(None, [heir])], *statements)
        async with server.session() as session:
            await session.run(f"DROP ROLE IF EXISTS {text.name(role)}")

    # --- passwords

    def _known(self, thing: Thing) -> tuple[str, str]:
        """The digest of the password that was set last, and when it replaced another."""
        told = str(thing.seen.get("passwordDigest") or ""), str(thing.seen.get("lastPasswordChange") or "")
        known = self._set.get(thing.uid)
        if known == told:
            del self._set[thing.uid]
        return known or told

    def _remember(self, thing: Thing, digest: str, *, is_renewed: bool) -> None:
        _, changed = self._known(thing)
        self._set[thing.uid] = digest, timestamp(thing.now) if is_renewed else changed

    def _is_to_renew(self, thing: Thing, changed: str, password: str) -> tuple[bool, float | None]:
        """Whether a generated password is to be replaced now, and the seconds until it will be."""
        if _is_given(thing) or not spec_of(thing.managed).get("writeConnectionSecretToRef"):
            return False, None
        if not password:
            return _may_set(thing), None  # its Secret is lost
        trigger = moment(str(thing.asked.get("passwordRotationTrigger") or ""))
        since = moment(changed or str(meta(thing.managed).get("creationTimestamp") or ""))
        if trigger is None or (since is not None and trigger <= since):
            return False, None
        left = (trigger - thing.now).total_seconds()
        return left <= 0, left if left > 0 else None


def _check_not_ours(thing: Thing, server: Server) -> None:
    """Raise InvalidInput for the role that we ourselves log in as: who may make a Role may not take the server from its ProviderConfig."""
    if thing.name == server.login.user:
        raise InvalidInput(
            f"{thing.name} is the role that the ProviderConfig logs in as: it is neither changed nor dropped",
            mend="name another role, or set managementPolicies: [Observe]",
        )


def _is_barred(thing: Thing, row: Mapping[str, Any]) -> bool:
    """Whether a role is not for an object to take: who has it may do more in the server than its databases' owners, and its mark does not name this object.

    What the object's annotations say does not count: whoever may write it writes them.
    """
    is_ours = marks.names(thing.mark, thing.managed) and marks.FOUND not in thing.mark
    return bool(row["is_powerful"]) and not (thing.strict or is_ours)


async def _check_not_barred(thing: Thing, session: Session) -> None:
    """Raise InvalidInput for one that an administrator's word is needed for."""
    rows = await session.rows(_SEEN, thing.name)
    if rows and _is_barred(thing.found(rows[0]["comment"]), rows[0]):
        word = f"COMMENT ON ROLE {text.name(thing.name)} IS {text.literal(marks.by_hand(thing.managed))}"
        raise InvalidInput(
            f"role {thing.name} has no mark of this object, and may do more than work in databases (SUPERUSER, CREATEROLE, REPLICATION, BYPASSRLS,"
            " or a member of such): it is neither taken, changed nor dropped",
            mend=f"name another role, set managementPolicies: [Observe], or have an administrator of the server say whose it is: {word}",
        )


def connection(thing: Thing, server: Server, password: str) -> dict[str, bytes]:
    """What the connection Secret gets."""
    told = {"username": thing.name, "endpoint": server.login.host, "port": str(server.login.port)}
    return {name: value.encode() for name, value in (told | ({"password": password} if password else {})).items()}


def _may_set(thing: Thing) -> bool:
    """Whether the role's password is ours to set: what was there before us keeps its own, unless somebody chose it and gave one, or adopts it."""
    is_chosen = _is_given(thing) and not thing.is_stray
    return thing.strict or thing.is_made or thing.is_adopting or is_chosen


def _is_given(thing: Thing) -> bool:
    return bool((thing.asked.get("passwordSecretRef") or {}).get("name"))


def _notes(thing: Thing, password: str) -> tuple[str, ...]:
    notes = [stray(thing)] if thing.is_found else []
    if not password and not _is_given(thing) and not spec_of(thing.managed).get("writeConnectionSecretToRef"):
        notes.append(
            "no password is set: neither passwordSecretRef nor writeConnectionSecretToRef says where one is to be"
        )
    return tuple(notes)


def _clause(field: str, value: bool) -> str:
    word = FLAGS[field][1]
    return word if value else f"NO{word}"


async def _is_set(session: Session, thing: Thing, password: str, digest: str) -> bool:
    """Whether the server has this password: as it says itself where we may ask, else as far as we have set it."""
    if not session.is_superuser:
        return digest == _digest(session, thing, password)
    rows = await session.rows("SELECT rolpassword FROM pg_authid WHERE rolname = $1", thing.name)
    return bool(rows and rows[0]["rolpassword"]) and text.is_verified(password, thing.name, rows[0]["rolpassword"])


def _digest(session: Session, thing: Thing, password: str) -> str:
    """What the status keeps of a password, where the server does not tell; nothing where it does."""
    return "" if session.is_superuser else text.digest(session.key, thing.uid, password)


async def _password(session: Session, thing: Thing, password: str) -> str:
    encryption = str((await session.rows("SHOW password_encryption"))[0][0])
    return f"PASSWORD {text.literal(text.verifier(password, thing.name, encryption))}"


def _parameters(role: str, wanted: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"ALTER ROLE {role} SET {text.name(str(each['name']).lower())} TO "
        + (", ".join(text.literal(part) for part in _parts(each)) or "''")
        for each in wanted
        if each.get("name")
    ]


def _parts(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts of a parameter's value, which is one of them unless the parameter is a list.

    >>> _parts({"name": "search_path", "value": '"$user", public'}), _parts({"name": "work_mem", "value": "4MB"})
    (('$user', 'public'), ('4MB',))
    >>> _parts({"name": "search_path", "value": '"a,b", c'})
    ('a,b', 'c')
    """
    value = str(parameter.get("value") or "")
    if str(parameter.get("name")).lower() not in LISTS:
        return (value,)
    return tuple(part for part in map(_unquoted, _PART.findall(value)) if part)


def _unquoted(part: str) -> str:
    """A part of a list as it is called; quotes that don't match are no part of it.

    >>> _unquoted(' "a,""b" '), _unquoted("'mine"), _unquoted(" plain ")
    ('a,"b', 'mine', 'plain')
    """
    part = part.strip()
    if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'":
        return part[1:-1].replace(part[0] * 2, part[0])
    return part.strip(" \"'")


def _normal(parameters: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    return {str(each["name"]).lower(): _parts(each) for each in parameters if each.get("name")}


def _listed(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a role owns, by database: the server's words for the kinds."""
    words = []
    for row in rows:
        kind = str(row["kind"]).removeprefix("pg_")
        words.append(f"{row['count']} of {kind}" + (f" in database {row['database']}" if row["database"] else ""))
    return ", ".join(words)
