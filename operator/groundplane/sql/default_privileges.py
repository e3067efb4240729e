"""Default privileges: what a role may do with things that another role has yet to make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core.conditions import available
from groundplane.errors import InvalidInput
from groundplane.ports import Difference, Observation
from groundplane.sql import privileges
from groundplane.sql.faults import Lacking
from groundplane.sql.ledger import HELD_BEFORE, Ledger
from groundplane.sql.server import Server, Session
from groundplane.sql.text import check_names, check_roles, name
from groundplane.sql.thing import Thing, run_as
from groundplane.sql.wishes import Wish, Wishes

TYPES = {
    "table": (privileges.TABLE, "r"),
    "sequence": (privileges.SEQUENCE, "S"),
    "function": (privileges.ROUTINE, "f"),
    "schema": (privileges.SCHEMA, "n"),
    "type": (privileges.Type((), ("USAGE",), keyword="type"), "T"),
}
"""By objectType: what can be granted, and how the catalog calls it."""
PLACE = ("targetRole", "objectType", "schema", "role", "database")
_HELD = """
SELECT x.privilege_type AS word, bool_or(x.is_grantable) AS is_grantable
FROM pg_default_acl d, aclexplode(d.defaclacl) x
WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = $1) AND d.defaclobjtype = $2::text::"char"
  AND d.defaclnamespace = CASE WHEN $3 = '' THEN 0 ELSE (SELECT oid FROM pg_namespace WHERE nspname = $3) END
  AND x.grantee = (SELECT oid FROM pg_roles WHERE rolname = $4)
GROUP BY 1
"""
Spec = Mapping[str, Any]


class DefaultPrivileges:
    """`thing.Kind` for DefaultPrivileges."""

    def __init__(self) -> None:
        self._ledger, self._wishes = Ledger(), Wishes()

    def check(self, thing: Thing) -> None:
        asked = thing.asked
        if (asked.get("objectType") == "schema") == bool(asked.get("schema")):
            raise InvalidInput(
                "a schema must be named, but for objectType schema, where none may be",
                mend="set spec.forProvider.schema, or remove it",
            )
        if not asked.get("privileges"):
            raise InvalidInput("no privileges are named", mend="set spec.forProvider.privileges")
        if asked.get("withOption") == "ADMIN":
            raise InvalidInput("withOption ADMIN is for memberships", mend="use GRANT for privileges")
        privileges.words(TYPES[asked["objectType"]][0], asked["privileges"])
        check_roles(asked, "targetRole", "role")
        check_names(asked, "database", "schema")

    async def observe(self, thing: Thing, server: Server) -> Observation:
        wish, before = _wish(thing), dict(thing.seen)
        if thing.is_leaving:
            own = self._own(thing, server)
            is_held = any([await _surplus({}, spec, server) for spec in own])
            self._wishes.forget(thing.uid)
            if not is_held:
                self._ledger.forget(thing)
                return Observation(exists=False)
            lost = [each for spec in own for each in _wishes(spec, server)]
            return Observation(exists=True, at_provider=before, wakes=self._wishes.others(thing, lost))
        held = await _held(wish, server)
        wished, option = _words(wish, server), bool(wish.get("withOption"))
        lacking = [word for word in wished if word not in held or (option and not held[word])]
        too_much = [word for word in wished if before.get("withOption") and not option and held.get(word)]
        self._wishes.note(thing, _wishes(wish, server))
        if lacking and not before:
            return Observation(exists=False)
        drift = []
        surplus = await _surplus(wish, self._less_taken(thing, before, server), server)
        wakes = self._wishes.others(thing, _wishes(before, server)) if surplus else ()
        if lacking or surplus:
            drift.append(Difference("privileges", wished, sorted(held)))
        if too_much:
            drift.append(Difference("withOption", None, "GRANT"))
        kept = before
        if not drift:
            is_same = all(wish.get(field) == before.get(field) for field in PLACE)
            theirs = self._ledger.theirs(thing, wished, before.get("privileges") or () if is_same else (), held)
            fields = (*PLACE, "withOption")
            kept = {field: wish[field] for field in fields if wish.get(field)} | {"privileges": wished}
            kept |= {HELD_BEFORE: theirs} if theirs else {}
            if kept == before:
                self._ledger.forget(thing)
        return Observation(exists=True, ready=available(), drift=tuple(drift), at_provider=kept, wakes=wakes)

    async def create(self, thing: Thing, server: Server) -> None:
        wish = _wish(thing)
        wished = ", ".join(_words(wish, server))
        option = " WITH GRANT OPTION" if wish.get("withOption") else ""
        statements = [f"GRANT {wished} ON {_plural(wish)} TO {name(wish['role'])}{option}"]
        if thing.seen.get("withOption") and not option:
            statements.append(f"REVOKE GRANT OPTION FOR {wished} ON {_plural(wish)} FROM {name(wish['role'])}")
        had = await _held(wish, server)
        await _alter(wish, server, *statements)
        self._ledger.give(thing, [word for word in _words(wish, server) if word not in had])

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        await self.create(thing, server)
        wish, before = _wish(thing), thing.seen
        if surplus := await _surplus(wish, self._less_taken(thing, before, server), server):
            await _revoke(before, server, surplus)
        self._ledger.take(thing, {*_wishes(before, server)} - {*_wishes(wish, server)})

    async def delete(self, thing: Thing, server: Server) -> None:
        for spec in self._own(thing, server):
            if words := await _surplus({}, spec, server):
                await _revoke(spec, server, words)
            self._ledger.take(thing, _wishes(spec, server))

    def _own(self, thing: Thing, server: Server) -> list[Spec]:
        """The specs of what this object has granted: by its status, and since then.  Where that is lost nobody knows, and all stays."""
        wish, told = _wish(thing), dict(thing.seen)
        words = _words(wish, server) if _is_sound(wish) else []
        since = wish | {HELD_BEFORE: self._ledger.not_ours(thing, words)}
        return [self._less_taken(thing, spec, server) for spec in (told, since)]

    def _less_taken(self, thing: Thing, spec: Spec, server: Server) -> Spec:
        return self._ledger.less_taken(thing, spec, _wishes(spec, server))


def _is_sound(spec: Spec) -> bool:
    """Whether it describes any: what was edited to nonsense has granted nothing, and goes."""
    try:
        return bool(spec.get("role") and privileges.words(TYPES[spec["objectType"]][0], spec.get("privileges") or ()))
    except InvalidInput:
        return False


def _wish(thing: Thing) -> dict[str, Any]:
    if not thing.asked.get("role") and not thing.is_leaving:
        raise InvalidInput("no role is named", mend="set spec.forProvider.role, roleRef or roleSelector")
    return dict(thing.asked)


def _words(spec: Spec, server: Server) -> list[str]:
    type_, _ = TYPES[spec["objectType"]]
    return privileges.words(type_, spec.get("privileges") or (), server.version)


def _wishes(spec: Spec, server: Server) -> list[Wish]:
    """The words of a spec, told apart from all others of all servers."""
    place = (server.login.place, *(spec.get(field) for field in PLACE))
    return [(*place, word) for word in _words(spec, server)] if _is_sound(spec) else []


def _plural(spec: Spec) -> str:
    return f"{str(spec['objectType']).upper()}S"


async def _held(spec: Spec, server: Server) -> dict[str, bool]:
    """What the role has by default of what the spec names, and whether it may grant it; nothing where a partner is gone."""
    try:
        async with server.session(str(spec.get("database") or "")) as session:
            return await _held_in(spec, session)
    except Lacking as error:
        if error.state in ("3D000", "3F000", "42704"):
            return {}
        raise


async def _held_in(spec: Spec, session: Session) -> dict[str, bool]:
    type_ = TYPES[spec["objectType"]][1]
    rows = await session.rows(_HELD, spec["targetRole"], type_, str(spec.get("schema") or ""), spec["role"])
    return {row["word"]: row["is_grantable"] for row in rows}


async def _surplus(wish: Spec, before: Spec, server: Server) -> list[str]:
    """What this object has granted, and is wished no more."""
    if not _is_sound(before):
        return []
    is_same = all(wish.get(field) == before.get(field) for field in PLACE)
    kept = set(_words(wish, server)) if is_same else set()
    held = await _held(before, server)
    kept |= set(before.get(HELD_BEFORE) or ())
    return [word for word in _words(before, server) if word in held and word not in kept]


async def _revoke(spec: Spec, server: Server, words: list[str]) -> None:
    await _alter(spec, server, f"REVOKE {', '.join(words)} ON {_plural(spec)} FROM {name(spec['role'])}")


async def _alter(spec: Spec, server: Server, *statements: str) -> None:
    place = f" IN SCHEMA {name(spec['schema'])}" if spec.get("schema") else ""
    begin = f"ALTER DEFAULT PRIVILEGES FOR ROLE {name(spec['targetRole'])}{place}"
    async with server.session(str(spec.get("database") or "")) as session:
        await run_as(session, [str(spec["targetRole"])], *(f"{begin} {statement}" for statement in statements))
