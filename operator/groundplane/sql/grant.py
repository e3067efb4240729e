"""Grants: what a role may do with things, and whose member it is.

A grant is there if the role holds what is wished, whoever gave it.  What this object has granted is kept in its status: what is wished no more of it is
revoked, and nothing that others have granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from groundplane.core.conditions import available
from groundplane.errors import InvalidInput, Waiting
from groundplane.ports import Difference, Observation
from groundplane.sql import privileges
from groundplane.sql.faults import Lacking
from groundplane.sql.privileges import COLUMN, DATABASE, MEMBER, ROUTINE, Type
from groundplane.sql.server import Server, Session
from groundplane.sql.text import check_name, check_role, name
from groundplane.sql.thing import Thing

_HELD = """
WITH objects AS ({objects}), grantee AS (SELECT oid FROM pg_roles WHERE rolname = {role})
SELECT o.*, o.owner = g.oid AS is_owner, x.privilege_type AS word, x.is_grantable
FROM objects o CROSS JOIN grantee g
LEFT JOIN LATERAL aclexplode(coalesce(o.acl, acldefault('{acl}', o.owner))) x ON x.grantee = g.oid
"""
_PUBLIC = """
SELECT count(*) FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
WHERE d.datname = $1 AND x.grantee = 0
"""
_MEMBER = """
SELECT m.admin_option, {inherit} AS inherit_option FROM pg_auth_members m
WHERE m.roleid = (SELECT oid FROM pg_roles WHERE rolname = $1) AND m.member = (SELECT oid FROM pg_roles WHERE rolname = $2)
"""
REMEMBERED = ("role", *privileges.PLACES, "withOption", "withInherit")
Spec = Mapping[str, Any]


class Item(NamedTuple):
    """One privilege on one object."""

    object: str
    word: str


class Held(NamedTuple):
    """What a role has of the objects of a grant."""

    items: Mapping[Item, bool]  # and whether it may grant it to others
    owned: frozenset[str]  # objects that are its own
    there: frozenset[str]  # objects that there are
    signatures: Mapping[str, str]


NOTHING = Held({}, frozenset(), frozenset(), {})


class Grants:
    """`thing.Kind` for Grant."""

    def check(self, thing: Thing) -> None:
        asked = thing.asked
        type_ = privileges.type_of(asked) if _is_complete(asked) else None
        for field in ("role", "memberOf", "database", "schema"):
            if asked.get(field):
                check = check_role if field in ("role", "memberOf") else check_name
                check(str(asked[field]), f"spec.forProvider.{field}")
        if type_ is None:
            return
        option, given = asked.get("withOption"), asked.get("privileges") or ()
        if type_ is MEMBER:
            if given:
                raise InvalidInput("a membership has no privileges", mend="remove spec.forProvider.privileges")
            if option == "GRANT":
                raise InvalidInput("withOption GRANT is for privileges", mend="use ADMIN for a membership")
            return
        if not given:
            raise InvalidInput("no privileges are named", mend="set spec.forProvider.privileges")
        privileges.words(type_, given)
        if option == "ADMIN":
            raise InvalidInput("withOption ADMIN is for memberships", mend="use GRANT for privileges")
        if asked.get("withInherit") is not None:
            raise InvalidInput("withInherit is for memberships only", mend="set memberOf, or remove it")

    async def observe(self, thing: Thing, server: Server) -> Observation:
        wish, before = _wish(thing), dict(thing.seen)
        if thing.is_leaving:
            for spec in filter(_is_sound, (wish, before)):
                if await self._is_held(spec, server):
                    return Observation(exists=True, at_provider=before)
            return Observation(exists=False)
        type_ = privileges.type_of(wish)
        if type_ is MEMBER:
            drift = await _member_drift(wish, before, server)
        else:
            drift = await _drift(type_, wish, before, server)
        drift += await _surplus(wish, before, server)
        is_new = not before and any(each.field == "privileges" for each in drift)
        if is_new:
            return Observation(exists=False)
        return Observation(
            exists=True, ready=available(), drift=tuple(drift), at_provider=before if drift else _kept(type_, wish)
        )

    async def create(self, thing: Thing, server: Server) -> None:
        await self._bring(thing, server)

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        await self._bring(thing, server)
        wish, before = _wish(thing), dict(thing.seen)
        if before and await _surplus(wish, before, server):
            await _revoke(before, server, kept=wish)

    async def delete(self, thing: Thing, server: Server) -> None:
        wish, before = _wish(thing), dict(thing.seen)
        for spec in filter(_is_sound, (wish, before)):
            if await self._is_held(spec, server):
                await _revoke(spec, server, kept={})

    async def _bring(self, thing: Thing, server: Server) -> None:
        """Grant what is wished."""
        wish, before = _wish(thing), dict(thing.seen)
        type_, role = privileges.type_of(wish), name(wish["role"])
        try:
            async with server.session(_database(type_, wish)) as session:
                if type_ is MEMBER:
                    await session.run(*_join(wish, before, session.version))
                    return
                found, statements = await _held(type_, wish, session), []
                option = " WITH GRANT OPTION" if wish.get("withOption") else ""
                for each in privileges.names(type_, wish):
                    if type_ is COLUMN and each in found.owned:
                        continue
                    if each not in found.there:
                        raise Lacking(f"{each} is not there", "42P01")
                    target, columns = privileges.objects(type_, wish, each, found.signatures)
                    words = privileges.words(type_, wish["privileges"], session.version)
                    listed = ", ".join(f"{word}{columns}" for word in words)
                    statements.append(f"GRANT {listed} ON {type_.keyword} {target} TO {role}{option}")
                    if not option and before.get("withOption"):
                        statements.append(f"REVOKE GRANT OPTION FOR {listed} ON {type_.keyword} {target} FROM {role}")
                if wish.get("revokePublicOnDb"):
                    statements.append(f"REVOKE ALL ON DATABASE {name(wish['database'])} FROM PUBLIC")
                if statements:
                    await session.run(*statements)
        except Lacking as error:
            raise Waiting(
                str(error), mend="create it, or correct the Grant", on=thing.awaits("Database", "Role", "Schema")
            ) from error

    async def _is_held(self, spec: Spec, server: Server) -> bool:
        """Whether the role has any of it, which is not its own as the owner's."""
        type_ = privileges.type_of(spec)
        try:
            async with server.session(_database(type_, spec)) as session:
                if type_ is MEMBER:
                    return bool(await _membership(spec, session))
                found = await _held(type_, spec, session)
                wished = _items(type_, spec, session.version)
        except Lacking as error:
            if error.state in ("3D000", "3F000", "42P01", "42704", "42883"):
                return False
            raise
        return any(item in found.items and item.object not in found.owned for item in wished)


# --- what is wished, and what there is --------------------------------------------------------------------------


def _is_complete(asked: Spec) -> bool:
    """Whether nothing is left to be filled from other objects."""
    return not any(
        (asked.get(f"{field}Ref") or asked.get(f"{field}Selector")) and not asked.get(field)
        for field in ("role", "memberOf", "database", "schema")
    )


def _is_sound(spec: Spec) -> bool:
    """Whether it describes a grant: what was edited to nonsense has granted nothing, and goes."""
    try:
        type_ = privileges.type_of(spec)
        return bool(spec.get("role")) and (
            type_ is MEMBER or bool(privileges.words(type_, spec.get("privileges") or ()))
        )
    except InvalidInput:
        return False


def _wish(thing: Thing) -> dict[str, Any]:
    asked = dict(thing.asked)
    if not asked.get("role"):
        if thing.is_leaving:
            return {}
        raise InvalidInput("no role is named", mend="set spec.forProvider.role, roleRef or roleSelector")
    return asked


def _kept(type_: Type, wish: Spec) -> dict[str, Any]:
    """What the status keeps of what was granted."""
    kept = {field: wish[field] for field in REMEMBERED if wish.get(field) is not None}
    return kept | ({"privileges": sorted(wish["privileges"])} if type_ is not MEMBER else {})


def _database(type_: Type, spec: Spec) -> str:
    return "" if type_ in (MEMBER, DATABASE) else str(spec["database"])


def _items(type_: Type, spec: Spec, version: int) -> list[Item]:
    words = privileges.words(type_, spec.get("privileges") or (), version)
    return [Item(each, word) for each in privileges.names(type_, spec) for word in words]


async def _held(type_: Type, spec: Spec, session: Session) -> Held:
    first = str(spec.get("schema") or spec["database"])
    arguments: list[Any] = [first]
    if len(type_.fields) > 1 and type_ is not privileges.SCHEMA:
        listed = spec["tables"] if type_ is privileges.COLUMN else privileges.names(type_, spec)
        arguments.append(list(map(str, listed)))
    if type_ is privileges.COLUMN:
        arguments.append(list(spec["columns"]))
    query = _HELD.format(objects=type_.objects, acl=type_.acl, role=f"${len(arguments) + 1}")
    rows = await session.rows(query, *arguments, spec["role"])
    items: dict[Item, bool] = {}
    for row in rows:
        if row["word"]:
            item = Item(row["object"], row["word"])
            items[item] = items.get(item, False) or row["is_grantable"]
    signatures = {row["object"]: row["signature"] for row in rows} if type_ is ROUTINE else {}
    there = frozenset(row["object"] for row in rows)
    return Held(items, frozenset(row["object"] for row in rows if row["is_owner"]), there, signatures)


def _is_owners(type_: Type, item: Item, found: Held) -> bool:
    """Whether the catalog does not write down what the owner holds: of columns."""
    return type_ is COLUMN and item.object in found.owned


async def _drift(type_: Type, wish: Spec, before: Spec, server: Server) -> list[Difference]:
    """What the role lacks of what is wished."""
    try:
        async with server.session(_database(type_, wish)) as session:
            found = await _held(type_, wish, session)
            wished = [item for item in _items(type_, wish, session.version) if not _is_owners(type_, item, found)]
            is_public = False
            if type_ is DATABASE and wish.get("revokePublicOnDb"):
                is_public = bool((await session.rows(_PUBLIC, wish["database"]))[0][0])
    except Lacking:
        return [Difference("privileges", list(wish["privileges"]), [])]
    option = bool(wish.get("withOption"))
    lacking = [item for item in wished if item not in found.items or (option and not found.items[item])]
    too_much = [item for item in wished if not option and before.get("withOption") and found.items.get(item)]
    drift = []
    if lacking or (wished == [] and not found.there):
        has = sorted({item.word for item in found.items})
        drift.append(Difference("privileges", list(wish["privileges"]), has))
    if too_much:
        drift.append(Difference("withOption", None, "GRANT"))
    if is_public:
        drift.append(Difference("revokePublicOnDb", True, False))
    return drift


async def _surplus(wish: Spec, before: Spec, server: Server) -> list[Difference]:
    """What this object has granted, and is wished no more."""
    if not before.get("role"):
        return []
    type_ = privileges.type_of(before)
    if type_ is MEMBER:
        is_same = privileges.type_of(wish) is MEMBER and all(
            wish[each] == before[each] for each in ("role", "memberOf")
        )
        if is_same:
            return []
        async with server.session() as session:
            rows = await _membership(before, session)
        return [Difference("memberOf", wish.get("memberOf"), before["memberOf"])] if rows else []
    try:
        async with server.session(_database(type_, before)) as session:
            found, items = await _held(type_, before, session), _items(type_, before, session.version)
            kept = _same_place(type_, wish, before, session.version)
    except Lacking:
        return []
    left = [item for item in items if item in found.items and item.object not in found.owned and item not in kept]
    words = sorted({item.word for item in left})
    return [Difference("privileges", sorted(wish.get("privileges") or ()), words)] if words else []


def _same_place(type_: Type, wish: Spec, before: Spec, version: int) -> set[Item]:
    """Of the items of another spec those that this one wishes, too."""
    if not wish or privileges.type_of(wish) is not type_:
        return set()
    if any(wish.get(field) != before.get(field) for field in ("role", "database", "schema")):
        return set()
    return set(_items(type_, wish, version))


async def _revoke(spec: Spec, server: Server, *, kept: Spec) -> None:
    """Take from the role what a spec has given it, but for what another one wishes, too."""
    type_, role = privileges.type_of(spec), name(spec["role"])
    async with server.session(_database(type_, spec)) as session:
        if type_ is MEMBER:
            await session.run(f"REVOKE {name(spec['memberOf'])} FROM {role}")
            return
        found, wanted = await _held(type_, spec, session), _same_place(type_, kept, spec, session.version)
        statements = []
        for item in _items(type_, spec, session.version):
            if item in found.items and item.object not in found.owned and item not in wanted:
                target, columns = privileges.objects(type_, spec, item.object, found.signatures)
                statements.append(f"REVOKE {item.word}{columns} ON {type_.keyword} {target} FROM {role}")
        if statements:
            await session.run(*statements)


# --- memberships ------------------------------------------------------------------------------------------------


async def _membership(spec: Spec, session: Session) -> list[Any]:
    inherit = "m.inherit_option" if session.version >= 16 else "NULL::bool"
    return await session.rows(_MEMBER.format(inherit=inherit), spec["memberOf"], spec["role"])


async def _member_drift(wish: Spec, before: Spec, server: Server) -> list[Difference]:
    async with server.session() as session:
        rows = await _membership(wish, session)
    if not rows:
        return [Difference("privileges", [f"member of {wish['memberOf']}"], [])]
    admin, wanted = any(row["admin_option"] for row in rows), wish.get("withOption") == "ADMIN"
    drift = []
    if admin != wanted and (wanted or before.get("withOption")):
        drift.append(Difference("withOption", wish.get("withOption"), "ADMIN" if admin else None))
    inherits, wished = any(row["inherit_option"] for row in rows), wish.get("withInherit")
    if wished is not None and rows[0]["inherit_option"] is not None and inherits != wished:
        drift.append(Difference("withInherit", wished, inherits))
    return drift


def _join(wish: Spec, before: Spec, version: int) -> list[str]:
    group, role = name(wish["memberOf"]), name(wish["role"])
    options = []
    if wish.get("withOption") == "ADMIN":
        options.append("ADMIN OPTION" if version < 16 else "ADMIN TRUE")
    if wish.get("withInherit") is not None and version >= 16:
        options.append(f"INHERIT {str(wish['withInherit']).upper()}")
    ending = f" WITH {', '.join(options)}" if options else ""
    statements = [f"GRANT {group} TO {role}{ending}"]
    if before.get("withOption") and not wish.get("withOption"):
        statements.append(f"REVOKE ADMIN OPTION FOR {group} FROM {role}")
    return statements
