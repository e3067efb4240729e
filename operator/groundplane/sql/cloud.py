"""The Cloud port over PostgreSQL servers: kinds by their modules, connections kept while they are used.

All of it waits on the event loop; no thread is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from groundplane.core.objects import Key, Object
from groundplane.errors import InvalidInput, Waiting
from groundplane.ports import Account, Creation, Default, ManagedKind, Observation
from groundplane.sql import adoption, listing
from groundplane.sql.account import login_of
from groundplane.sql.database import Databases
from groundplane.sql.default_privileges import DefaultPrivileges
from groundplane.sql.faults import Closed, Lacking
from groundplane.sql.grant import Grants
from groundplane.sql.kinds import DATABASE, DEFAULT_PRIVILEGES, EXTENSION, GRANT, KINDS, NAMELESS, ROLE, SCHEMA
from groundplane.sql.listing import Found
from groundplane.sql.role import Roles
from groundplane.sql.schema import Extensions, Schemas
from groundplane.sql.server import Server, Servers
from groundplane.sql.thing import Kind, Thing
from groundplane.sql.wishes import REMEMBERED, Wishes

GIVEN_UP = "given up"  # what a role that is to go waits for: its owner's name is all that is known
OPENED = "opened"  # what waits until a database that lets nobody in does, or is gone
Name = tuple[str, str, str]  # as of Thing.names
_FIELDS = {
    "role": ("owner", "memberOf"),
    "database": ("template",),
    "relation": ("tables", "sequences"),
    "function": ("routines",),
    "procedure": ("routines",),
}
"""By the server's word for a thing: the fields for such things that are not called after it."""


class SqlCloud:
    """`ports.Cloud` for PostgreSQL.  One for the process; it belongs to one event loop."""

    def __init__(
        self,
        *,
        strict_upstream: bool = False,
        may_write: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._strict, self._now = strict_upstream, now
        self._servers = Servers(may_write)
        self._expected = Wishes()  # what objects wait for: to be made, or to be given up by its owner
        self._kinds: dict[str, Kind] = {
            DATABASE: Databases(),
            ROLE: Roles(),
            GRANT: Grants(),
            SCHEMA: Schemas(),
            EXTENSION: Extensions(),
            DEFAULT_PRIVILEGES: DefaultPrivileges(),
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._servers.close()

    def kind(self, api_version: str, kind: str) -> ManagedKind | None:
        return KINDS.get((api_version, kind))

    def kinds(self) -> Sequence[ManagedKind]:
        return tuple(KINDS.values())

    def default_external_name(self, managed: Object) -> str:
        return "" if managed["kind"] in NAMELESS else self._thing(managed).name

    def check(self, managed: Object) -> None:
        self._kinds[managed["kind"]].check(self._thing(managed))

    async def check_account(self, account: Account) -> None:
        login_of(account, strict_upstream=self._strict).tls()

    def defaults(self, managed: Object) -> Sequence[Default]:
        return ()

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        thing, server = self._thing(managed, secrets), await self._server(account)
        try:
            with self._noting_closed(thing, server), _blaming(thing):
                found = await self._kinds[managed["kind"]].observe(thing, server)
        except Lacking as error:
            raise InvalidInput(error.what, mend=error.mend) from error
        if thing.is_leaving:
            self._expected.forget(thing.uid)
            wakes = () if found.exists else self._waiting(thing, [*_given_up(thing), *_opened(thing)], server)
            return replace(found, wakes=(*found.wakes, *wakes))
        if any((each.field, each.desired) == ("allowConnections", True) for each in found.drift):
            found = replace(found, wakes=(*found.wakes, *self._waiting(thing, _opened(thing), server)))
        await adoption.check(thing, found, server)
        if found.exists or self._strict or not thing.needs:
            return found
        self._expect(thing, thing.needs.values(), server)
        return replace(found, obstacle=await _lacking(thing, server))

    async def listed(self, account: Account, kinds: Collection[str]) -> list[Found]:
        """What the server has of these kinds.  Raises as `observe`."""
        return await listing.everything(await self._server(account), kinds)

    async def find(self, managed: Object, account: Account) -> str | None:
        found, thing = await self.observe(managed, account, {}), self._thing(managed)
        is_ours = found.owner.get("crossplane-uid", thing.uid) == thing.uid  # or nobody's yet
        return thing.name if found.exists and is_ours else ""

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        thing, server = replace(self._thing(managed, secrets), is_new=True), await self._server(account)
        with self._expecting(thing, thing.needs.values(), server), _blaming(thing):
            await self._kinds[managed["kind"]].create(thing, server)
        wakes = self._waiting(thing, [thing.names, *_opened(thing)], server)
        return Creation(self.default_external_name(managed), wakes=wakes)

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        thing, server = self._thing(managed, secrets), await self._server(account)
        with self._expecting(thing, thing.needs.values(), server), _blaming(thing):
            await self._kinds[managed["kind"]].update(thing, server, observation)
        return {}

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        thing, server = self._thing(managed), await self._server(account)
        with self._expecting(thing, [(GIVEN_UP, "", thing.name)], server), _blaming(thing):
            await self._kinds[managed["kind"]].delete(thing, server)

    async def let_go(self, managed: Object) -> None:
        return None

    @contextmanager
    def _expecting(self, thing: Thing, names: Collection[Name], server: Server) -> Iterator[None]:
        """It waits for these, unless what is done inside is done."""
        self._expect(thing, names, server)
        with self._noting_closed(thing, server):
            yield
        self._expected.forget(thing.uid)

    @contextmanager
    def _noting_closed(self, thing: Thing, server: Server) -> Iterator[None]:
        """It waits for a database that lets nobody in, where that is what stops it."""
        try:
            yield
        except Closed as error:
            self._expected.add(thing, (server.login.place, OPENED, "", error.database))
            raise

    def _expect(self, thing: Thing, names: Collection[Name], server: Server) -> None:
        """To be noted before it is looked for: then nothing comes unseen."""
        self._expected.note(thing, [(server.login.place, *each) for each in names])

    def _waiting(self, thing: Thing, names: Collection[Name], server: Server) -> tuple[Key, ...]:
        """Who waits for one of these."""
        return self._expected.others(thing, [(server.login.place, *each) for each in names], most=REMEMBERED)

    def _thing(self, managed: Object, secrets: Mapping[str, str] | None = None) -> Thing:
        return Thing(managed, self._now(), self._strict, secrets or {})

    async def _server(self, account: Account) -> Server:
        return await self._servers.of(login_of(account, strict_upstream=self._strict))


@contextmanager
def _blaming(thing: Thing) -> Iterator[None]:
    """Name the field whose value the server does not take, or whose thing it lacks, as far as its words quote one."""
    try:
        yield
    except InvalidInput as error:
        if error.mend:
            raise
        path = _quoted(thing.asked, error.what)
        field = f"spec.forProvider.{path}" if path else "spec.forProvider"
        if isinstance(error, Lacking) and _may_come(thing, error):
            raise Waiting(error.what, mend=f"create it, or correct {field}") from error
        if not path:
            raise
        raise InvalidInput(error.what, mend=f"correct {field}, or have the server know it", where=(field,)) from error


def _may_come(thing: Thing, error: Lacking) -> bool:
    """Whether it is a thing that somebody makes, and no encoding or parameter, of which only the server's makers make more."""
    return error.state != "42704" or thing.managed["kind"] not in (DATABASE, ROLE)


def _quoted(asked: object, words: str) -> str:
    """The path of the text that the words quote last, for they come to what is wrong; "" where they quote none.

    Of several with that text the one that is for what the words call it.

    >>> _quoted({"parameters": [{"name": "work_mem", "value": "lots"}]}, 'invalid value for parameter "work_mem": "lots"')
    'parameters[0].value'
    >>> asked = {"template": "orders", "owner": "orders", "tablespace": "orders"}
    >>> [_quoted(asked, f'{noun} "orders" does not exist') for noun in ("role", "template database", "tablespace")]
    ['owner', 'template', 'tablespace']
    """
    for flags in (re.NOFLAG, re.IGNORECASE):  # a parameter's name is sent in small letters
        last = {path: found[-1] for path, text in _texts(asked, "") if (found := _mentions(text, words, flags))}
        if last:
            return max(last, key=lambda path: (last[path].end(), _is_for(path, words[: last[path].start()])))
    return ""


def _mentions(text: str, words: str, flags: re.RegexFlag) -> list[re.Match[str]]:
    """Where words have a text as a word of its own; one letter only in quotes."""
    around = ('(?<=")', '(?=")') if len(text) == 1 else (r"(?<![\w-])", r"(?![\w-])")
    return list(re.finditer(f"{around[0]}{re.escape(text)}{around[1]}", words, flags))


def _is_for(path: str, before: str) -> bool:
    """Whether a field is for what the words call what they quote: `role "x"`."""
    field, nouns = path.rpartition(".")[2].partition("[")[0], re.findall(r"[a-z]+", before.lower())
    noun = nouns[-1] if nouns else ""
    return bool(noun) and (noun in field.lower() or field in _FIELDS.get(noun, ()))


def _texts(value: object, path: str) -> Iterator[tuple[str, str]]:
    """All texts inside of a value, with their paths."""
    match value:
        case str():
            if value:
                yield path, value
        case Mapping():
            for name, each in value.items():
                yield from _texts(each, f"{path}.{name}" if path else name)
        case list():
            for place, each in enumerate(value):
                yield from _texts(each, f"{path}[{place}]")


async def _lacking(thing: Thing, server: Server) -> Waiting | None:
    """What it names, and there is not: roles and databases, which are the server's."""
    there = await adoption.there(server, [name for *_, name in thing.needs.values()])
    for field, (kind, _, name) in thing.needs.items():
        if kind in (ROLE, DATABASE) and (kind, name) not in there:
            text = f'{kind.lower()} "{name}" does not exist'
            return Waiting(text, mend=f"create it, or correct spec.forProvider.{field}")
    return None


def _opened(thing: Thing) -> list[Name]:
    """What lets others in from now on, or is gone."""
    return [(OPENED, "", thing.name)] if thing.managed["kind"] == DATABASE else []


def _given_up(thing: Thing) -> list[Name]:
    """What its owner had, and has no more."""
    owner = thing.asked.get("owner") or thing.asked.get("role")
    return [(GIVEN_UP, "", str(owner))] if owner else []
