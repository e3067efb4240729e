"""Grants: what a role may do with things, and whose member it is.

A grant is there if the role holds what is wished, whoever gave it.  What this object has granted is kept in its status: what is wished no more of it is
revoked, and nothing that others have granted: what was held before, or by another grantor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from groundplane.core.conditions import available
from groundplane.errors import Denied, InvalidInput, Waiting
from groundplane.ports import Difference, Observation
from groundplane.sql import privileges
from groundplane.sql.faults import OWNERSHIP, Lacking
from groundplane.sql.ledger import HELD_BEFORE, Ledger
from groundplane.sql.privileges import COLUMN, DATABASE, MEMBER, ROUTINE, Type
from groundplane.sql.server import Server, Session
from groundplane.sql.text import check_names, check_roles, name
from groundplane.sql.thing import Thing, run_as
from groundplane.sql.wishes import Wish, Wishes

_HELD = """
WITH objects AS ({objects}), grantee AS (SELECT oid FROM pg_roles WHERE rolname = {role})
SELECT o.*, o.owner = g.oid AS is_owner, pg_get_userbyid(o.owner)::text AS owner_name, x.privilege_type AS word, x.is_grantable,
  x.grantor = o.owner OR x.grantor = (SELECT oid FROM pg_roles WHERE rolname = current_user) AS is_revocable,
  pg_get_userbyid(x.grantor)::text AS grantor
FROM objects o LEFT JOIN grantee g ON true
LEFT JOIN LATERAL aclexplode(coalesce(o.acl, acldefault('{acl}', o.owner))) x ON x.grantee = g.oid
"""
_PUBLIC = """
SELECT count(*) FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
WHERE d.datname = $1 AND x.grantee = 0
"""
_MEMBER = """
SELECT m.admin_option, {inherit} AS inherit_option, pg_get_userbyid(m.grantor)::text AS grantor,
  current_setting('server_version_num')::int < 160000 OR m.grantor =
    CASE WHEN current_setting('is_superuser') = 'on' THEN 10 ELSE (SELECT oid FROM pg_roles WHERE rolname = current_user) END AS is_revocable
FROM pg_auth_members m
WHERE m.roleid = (SELECT oid FROM pg_roles WHERE rolname = $1) AND m.member = (SELECT oid FROM pg_roles WHERE rolname = $2)
"""
REMEMBERED = ("role", *privileges.PLACES, "withOption", "withInherit")
MOST_NOTES = 5
Spec = Mapping[str, Any]


class Item(NamedTuple):
    """One privilege on one object."""

    object: str
    word: str

    def __str__(self) -> str:
        return f"{self.word} on {self.object}"


class Hold(NamedTuple):
    """How a role holds one."""

    is_grantable: bool = False  # it may grant it to others
    is_revocable: bool = False  # by us: it was granted as we would grant it
    is_revocably_grantable: bool = False
    grantors: tuple[str, ...] = ()

    def with_(self, row: Any) -> Hold:
        return Hold(
            self.is_grantable or row["is_grantable"],
            self.is_revocable or row["is_revocable"],
            self.is_revocably_grantable or (row["is_grantable"] and row["is_revocable"]),
            (*self.grantors, row["grantor"]),
        )


class Held(NamedTuple):
    """What a role has of the objects of a grant."""

    items: Mapping[Item, Hold]
    owned: frozenset[str]  # objects that are its own
    there: frozenset[str]  # objects that there are
    signatures: Mapping[str, str]
    owners: frozenset[str] = frozenset()  # of the objects

    def texts(self, items: Iterable[Item], *, revocable: bool = False) -> list[str]:
        """Of these items those that it holds, and not as the owner."""
        return [
            str(item)
            for item in items
            if item in self.items and item.object not in self.owned and (self.items[item].is_revocable or not revocable)
        ]


class Grants:
    """`thing.Kind` for Grant."""

    def __init__(self) -> None:
        self._ledger, self._wishes = Ledger(), Wishes()

    def check(self, thing: Thing) -> None:
        asked = thing.asked
        type_ = privileges.type_of(asked) if _is_complete(asked) else None
        check_roles(asked, "role", "memberOf")
        check_names(asked, *privileges.PLACES)
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
            own = self._own(thing, server)
            is_held = any([await _left(spec, {}, server) for spec in own])
            self._wishes.forget(thing.uid)
            if not is_held:
                self._ledger.forget(thing)
                return Observation(exists=False)
            lost = [each for spec in own for each in _wishes(spec, server)]
            return Observation(exists=True, at_provider=before, wakes=self._wishes.others(thing, lost))
        type_ = privileges.type_of(wish)
        if type_ is MEMBER:
            drift, held, notes = await _member_drift(wish, before, server)
        else:
            drift, held, notes = await _drift(type_, wish, before, server)
        self._wishes.note(thing, _wishes(wish, server))
        surplus = await _surplus(wish, self._less_taken(thing, before, server), server)
        wakes = self._wishes.others(thing, _wishes(before, server)) if surplus else ()
        drift += surplus
        if not before and any(each.field == "privileges" for each in drift):
            return Observation(exists=False)
        kept = before
        if not drift:
            wished, was = _texts(wish, server.version), _texts(before, server.version)
            if any(wish.get(field) != before.get(field) for field in ("role", "database", "schema")):
                was = []
            theirs = self._ledger.theirs(thing, wished, was, held)
            kept = _kept(type_, wish) | ({HELD_BEFORE: theirs} if theirs else {})
            if kept == before:
                self._ledger.forget(thing)
        return Observation(
            exists=True, ready=available(), drift=tuple(drift), at_provider=kept, notes=tuple(notes), wakes=wakes
        )

    async def create(self, thing: Thing, server: Server) -> None:
        await self._bring(thing, server)

    async def update(self, thing: Thing, server: Server, observation: Observation) -> None:
        await self._bring(thing, server)
        wish, before = _wish(thing), dict(thing.seen)
        if before:
            await _revoke(self._less_taken(thing, before, server), wish, server)
            self._ledger.take(thing, {*_wishes(before, server)} - {*_wishes(wish, server)})

    async def delete(self, thing: Thing, server: Server) -> None:
        for spec in self._own(thing, server):
            await _revoke(spec, {}, server)
            self._ledger.take(thing, _wishes(spec, server))

    def _own(self, thing: Thing, server: Server) -> list[Spec]:
        """The specs of what this object has granted: by its status, and since then.  Where that is lost nobody knows, and all stays."""
        wish, told = _wish(thing), dict(thing.seen)
        since = wish | {HELD_BEFORE: self._ledger.not_ours(thing, _texts(wish, server.version))}
        return [self._less_taken(thing, spec, server) for spec in (told, since)]

    def _less_taken(self, thing: Thing, spec: Spec, server: Server) -> Spec:
        return self._ledger.less_taken(thing, spec, _wishes(spec, server))

    async def _bring(self, thing: Thing, server: Server) -> None:
        """Grant what is wished."""
        wish, before = _wish(thing), dict(thing.seen)
        type_, role = privileges.type_of(wish), name(wish["role"])
        async with server.session(_database(type_, wish)) as session:
            if type_ is MEMBER:
                is_there = bool(await _membership(wish, session))
                await session.run(*_join(wish, before, session.version))
                self._ledger.give(thing, () if is_there else _texts(wish, session.version))
                return
            found, statements = await _held(type_, wish, session), []
            option = " WITH GRANT OPTION" if wish.get("withOption") else ""
            for each in privileges.names(type_, wish):
                if type_ is COLUMN and each in found.owned:
                    continue
                if each not in found.there:
                    raise await _absent(type_, wish, each, session)
                target, columns = privileges.objects(type_, wish, each, found.signatures)
                holds = [
                    (word, found.items.get(Item(each, word)))
                    for word in privileges.words(type_, wish["privileges"], session.version)
                ]
                lacking = [word for word, hold in holds if not hold or (option and not hold.is_grantable)]
                if lacking:
                    words = ", ".join(f"{word}{columns}" for word in lacking)
                    statements.append(f"GRANT {words} ON {type_.keyword} {target} TO {role}{option}")
                loose = [word for word, hold in holds if hold and hold.is_revocably_grantable]
                if loose and not option and before.get("withOption"):
                    words = ", ".join(f"{word}{columns}" for word in loose)
                    statements.append(f"REVOKE GRANT OPTION FOR {words} ON {type_.keyword} {target} FROM {role}")
            if wish.get("revokePublicOnDb"):
                statements.append(f"REVOKE ALL ON DATABASE {name(wish['database'])} FROM PUBLIC")
            await run_as(session, found.owners, *statements)
            items = _items(type_, wish, session.version)
            had, has = set(found.texts(items)), set((await _held(type_, wish, session)).texts(items))
            self._ledger.give(thing, has - had)
        if drift := (await _drift(type_, wish, before, server))[0]:
            raise _powerless(server, ", ".join(each.field for each in drift))


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


def _texts(spec: Spec, version: int) -> list[str]:
    """The items of a spec, as the status has them."""
    if not _is_sound(spec):
        return []
    type_ = privileges.type_of(spec)
    if type_ is MEMBER:
        return [f"member of {spec['memberOf']}"]
    return [str(item) for item in _items(type_, spec, version)]


def _wishes(spec: Spec, server: Server) -> list[Wish]:
    """The items of a spec, told apart from all others of all servers."""
    place = (server.login.place, spec.get("database"), spec.get("schema"), spec.get("role"))
    return [(*place, item) for item in _texts(spec, server.version)]


async def _held(type_: Type, spec: Spec, session: Session) -> Held:
    first = str(spec.get("schema") or spec["database"])
    arguments: list[Any] = [first]
    if len(type_.fields) > 1 and type_ is not privileges.SCHEMA:
        listed = spec["tables"] if type_ is privileges.COLUMN else privileges.names(type_, spec)
        arguments.append(list(map(str, listed)))
    if type_ is privileges.COLUMN:
        arguments.append(list(spec["columns"]))
    query = _HELD.format(objects=type_.objects, acl=type_.acl, role=f"${len(arguments) + 1}")
    try:
        rows = await session.rows(query, *arguments, spec["role"])
    except Lacking:
        raise
    except InvalidInput as error:
        if type_ is ROUTINE:
            error.where = ("spec.forProvider.routines",)
            error.mend = "write each argument as PostgreSQL writes a type, such as integer or text[]"
        raise
    items: dict[Item, Hold] = {}
    for row in rows:
        if row["word"]:
            item = Item(row["object"], row["word"])
            items[item] = items.get(item, Hold()).with_(row)
    signatures = {row["object"]: row["signature"] for row in rows} if type_ is ROUTINE else {}
    there = frozenset(row["object"] for row in rows)
    owned = frozenset(row["object"] for row in rows if row["is_owner"])
    return Held(items, owned, there, signatures, frozenset(row["owner_name"] for row in rows))


def _is_owners(type_: Type, item: Item, found: Held) -> bool:
    """Whether the catalog does not write down what the owner holds: of columns."""
    return type_ is COLUMN and item.object in found.owned


Compared = tuple[list[Difference], list[str], list[str]]  # drift; what is held of what is wished; what is worth telling


async def _drift(type_: Type, wish: Spec, before: Spec, server: Server) -> Compared:
    """What the role lacks of what is wished."""
    try:
        async with server.session(_database(type_, wish)) as session:
            found = await _held(type_, wish, session)
            wished = [item for item in _items(type_, wish, session.version) if not _is_owners(type_, item, found)]
            is_public = False
            if type_ is DATABASE and wish.get("revokePublicOnDb"):
                is_public = bool((await session.rows(_PUBLIC, wish["database"]))[0][0])
    except Lacking:
        return [Difference("privileges", list(wish["privileges"]), [])], [], []
    option = bool(wish.get("withOption"))
    lacking = [item for item in wished if item not in found.items or (option and not found.items[item].is_grantable)]
    too_much = [
        item
        for item in wished
        if not option and before.get("withOption") and item in found.items and found.items[item].is_revocably_grantable
    ]
    drift = []
    if lacking or (wished == [] and not found.there):
        has = sorted({item.word for item in found.items})
        drift.append(Difference("privileges", list(wish["privileges"]), has))
    if too_much:
        drift.append(Difference("withOption", None, "GRANT"))
    if is_public:
        drift.append(Difference("revokePublicOnDb", True, False))
    held, ours = found.texts(wished), found.texts(wished, revocable=True)
    grantors = {str(item): ", ".join(found.items[item].grantors) for item in wished if item in found.items}
    notes = [_of_another(each, grantors[each]) for each in sorted(set(held) - set(ours))]
    return drift, held, notes[:MOST_NOTES]


async def _surplus(wish: Spec, before: Spec, server: Server) -> list[Difference]:
    """What this object has granted, and is wished no more."""
    left = await _left(before, wish, server) if before.get("role") else []
    if not left:
        return []
    if privileges.type_of(before) is MEMBER:
        return [Difference("memberOf", wish.get("memberOf"), before["memberOf"])]
    return [Difference("privileges", sorted(wish.get("privileges") or ()), sorted({each.word for each in left}))]


async def _left(spec: Spec, kept: Spec, server: Server) -> list[Item]:
    """What the role holds by what a spec has granted, and another one does not wish."""
    if not _is_sound(spec):
        return []
    type_ = privileges.type_of(spec)
    try:
        async with server.session(_database(type_, spec)) as session:
            return await _left_in(session, type_, spec, kept)
    except Lacking as error:
        if error.state in ("3D000", "3F000", "42P01", "42704", "42883"):
            return []
        raise
    except InvalidInput:
        if type_ is ROUTINE:
            return []  # what was edited to no routine at all has granted nothing
        raise


async def _left_in(session: Session, type_: Type, spec: Spec, kept: Spec) -> list[Item]:
    theirs = set(spec.get(HELD_BEFORE) or ())
    if type_ is MEMBER:
        is_same = bool(kept) and all(kept.get(each) == spec[each] for each in ("role", "memberOf"))
        rows = [] if is_same or theirs else await _membership(spec, session)
        return [Item(str(spec["memberOf"]), "MEMBER")] if any(row["is_revocable"] for row in rows) else []
    found = await _held(type_, spec, session)
    wanted = {str(item) for item in _same_place(type_, kept, spec, session.version)}
    items = _items(type_, spec, session.version)
    ours = set(found.texts(items, revocable=True)) - theirs - wanted
    return [item for item in items if str(item) in ours]


def _same_place(type_: Type, wish: Spec, before: Spec, version: int) -> set[Item]:
    """Of the items of another spec those that this one wishes, too."""
    if not wish or privileges.type_of(wish) is not type_:
        return set()
    if any(wish.get(field) != before.get(field) for field in ("role", "database", "schema")):
        return set()
    return set(_items(type_, wish, version))


async def _revoke(spec: Spec, kept: Spec, server: Server) -> None:
    """Take from the role what a spec has given it, but for what another one wishes, too."""
    if not await _left(spec, kept, server):
        return
    type_, role = privileges.type_of(spec), name(spec["role"])
    async with server.session(_database(type_, spec)) as session:
        left = await _left_in(session, type_, spec, kept)
        if type_ is MEMBER:
            await session.run(*(f"REVOKE {name(each.object)} FROM {role}" for each in left))
        else:
            found, statements = await _held(type_, spec, session), []
            for item in left:
                target, columns = privileges.objects(type_, spec, item.object, found.signatures)
                statements.append(f"REVOKE {item.word}{columns} ON {type_.keyword} {target} FROM {role}")
            await run_as(session, found.owners, *statements)
        still = await _left_in(session, type_, spec, kept)
    if still:
        raise _powerless(server, ", ".join(map(str, still)))


async def _absent(type_: Type, wish: Spec, each: str, session: Session) -> Waiting:
    """One of a grant's objects is not there, or what it would be in."""
    field, noun = type_.fields[-1], type_.keyword.lower()
    path, words = field, f'{noun} "{each}" does not exist'
    schema = wish.get("schema") if type_ is not privileges.SCHEMA else None
    if schema and not await session.rows("SELECT FROM pg_namespace WHERE nspname = $1", schema):
        path, words = "schema", f'schema "{schema}" does not exist'
    elif type_ is COLUMN:
        table, _, column = each.rpartition(".")
        in_table = {**wish, "columns": None}
        if table in (await _held(privileges.TABLE, in_table, session)).there:
            path = f"columns[{wish['columns'].index(column)}]"
            words = f'column "{column}" of table "{table}" in schema "{schema}" does not exist'
        else:
            path = f"tables[{wish['tables'].index(table)}]"
            words = f'table "{table}" in schema "{schema}" does not exist'
    elif isinstance(wish[field], list):
        path = f"{field}[{privileges.names(type_, wish).index(each)}]"
        if type_ is ROUTINE:
            words = f"routine {each} does not exist"
        elif schema:
            words = f'{noun} "{each}" in schema "{schema}" does not exist'
    return Waiting(words, mend=f"create it, or correct spec.forProvider.{path}")


def _powerless(server: Server, what: str) -> Denied:
    """PostgreSQL only warns where it grants or revokes nothing."""
    return Denied(f"{server.login.user} has granted or revoked nothing of {what}", mend=OWNERSHIP)


def _of_another(item: str, grantor: str) -> str:
    return f"{item} stays when this object is deleted: {grantor} has granted it"


# --- memberships ------------------------------------------------------------------------------------------------


async def _membership(spec: Spec, session: Session) -> list[Any]:
    inherit = "m.inherit_option" if session.version >= 16 else "NULL::bool"
    return await session.rows(_MEMBER.format(inherit=inherit), spec["memberOf"], spec["role"])


async def _member_drift(wish: Spec, before: Spec, server: Server) -> Compared:
    async with server.session() as session:
        rows = await _membership(wish, session)
        held = _texts(wish, session.version) if rows else []
    if not rows:
        return [Difference("privileges", [f"member of {wish['memberOf']}"], [])], [], []
    ours = [row for row in rows if row["is_revocable"]]
    wanted, drift = wish.get("withOption") == "ADMIN", []
    admin = any(row["admin_option"] for row in (rows if wanted else ours))
    if admin != wanted and (wanted or before.get("withOption")):
        drift.append(Difference("withOption", wish.get("withOption"), "ADMIN" if admin else None))
    wished = wish.get("withInherit")
    inherits = any(row["inherit_option"] for row in (rows if wished else ours))
    if wished is not None and rows[0]["inherit_option"] is not None and inherits != wished:
        drift.append(Difference("withInherit", wished, inherits))
    notes = [] if ours else [_of_another(held[0], ", ".join(row["grantor"] for row in rows))]
    return drift, held, notes


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
