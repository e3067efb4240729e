"""What was there before, and is no object's: whether an object may take it, or give and get rights in it.

A name is all that it takes to mean a thing of others, and names come from whoever writes a claim.  The ProviderConfig, which is the administrator's,
says whether that is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from groundplane.core import managed as core
from groundplane.core.managed import Action
from groundplane.errors import InvalidInput
from groundplane.ports import Observation
from groundplane.sql import marks
from groundplane.sql.kinds import ADOPT, DATABASE, DEFAULT_PRIVILEGES, EXTENSION, ROLE, SCHEMA
from groundplane.sql.server import Server
from groundplane.sql.thing import Thing

NAMED, ANNOTATED = "Named", "Annotated"
MODES = [NAMED, ANNOTATED]
_THERE = f"""
SELECT '{ROLE}' AS kind, rolname AS name, shobj_description(oid, 'pg_authid') AS comment FROM pg_roles WHERE rolname = ANY($1)
UNION ALL SELECT '{DATABASE}', datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = ANY($1)
"""
Comments = Mapping[tuple[str, str], str]


async def there(server: Server, names: Collection[str]) -> Comments:
    """Of the roles and databases of these names those that there are, by kind and name: what their comments say."""
    async with server.session() as session:
        return {(row["kind"], row["name"]): row["comment"] or "" for row in await session.rows(_THERE, [*names])}


async def check(thing: Thing, found: Observation, server: Server) -> None:
    """Raise InvalidInput for an object that means what is no object's, where its ProviderConfig wants more than a name for that."""
    is_bound = server.login.adoption == ANNOTATED and bool(core.allowed(thing.managed) - {Action.OBSERVE})
    if not is_bound or thing.is_adopting:
        return
    kind = thing.managed["kind"]
    if kind in (DATABASE, ROLE, SCHEMA) and found.exists and thing.found(found.item).is_found:
        raise _refusal(kind, thing.name)
    meant = [(each, name) for each, _, name in thing.needs.values()]
    if kind in (EXTENSION, DEFAULT_PRIVILEGES) and not thing.place:
        meant.append((DATABASE, server.login.database))  # it is in that one
    if not found.exists and (source := await _copied(thing, server)):
        meant.append((DATABASE, source))
    known = await there(server, [name for _, name in meant]) if meant else {}
    for each in meant:
        mark = marks.read(known.get(each, ""))
        if each in known and (not mark or marks.FOUND in mark):
            raise _refusal(*each)


async def _copied(thing: Thing, server: Server) -> str:
    """The database that a new one would be a copy of; "" for one that is there to be copied."""
    source = str(thing.asked.get("template") or "")
    if not source:
        return ""
    async with server.session() as session:
        rows = await session.rows("SELECT datistemplate FROM pg_database WHERE datname = $1", source)
    return "" if rows and rows[0]["datistemplate"] else source


def _refusal(kind: str, name: str) -> InvalidInput:
    return InvalidInput(
        f'{kind.lower()} "{name}" was there before, and is no object\'s: with adoption {ANNOTATED} of the ProviderConfig its name alone gives nobody a right to it',
        mend=f'name another, set managementPolicies: [Observe], or annotate this object {ADOPT}: "true"',
    )
