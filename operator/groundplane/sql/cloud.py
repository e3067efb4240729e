"""The Cloud port over PostgreSQL servers: kinds by their modules, connections kept while they are used.

All of it waits on the event loop; no thread is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from groundplane.core.objects import Object
from groundplane.errors import InvalidInput
from groundplane.ports import Account, Creation, Default, ManagedKind, Observation
from groundplane.sql.account import login_of
from groundplane.sql.database import Databases
from groundplane.sql.default_privileges import DefaultPrivileges
from groundplane.sql.faults import Lacking
from groundplane.sql.grant import Grants
from groundplane.sql.kinds import DATABASE, DEFAULT_PRIVILEGES, EXTENSION, GRANT, KINDS, NAMELESS, ROLE, SCHEMA
from groundplane.sql.role import Roles
from groundplane.sql.schema import Extensions, Schemas
from groundplane.sql.server import Server, Servers
from groundplane.sql.thing import Kind, Thing


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
        server = await self._server(account)
        try:
            return await self._kinds[managed["kind"]].observe(self._thing(managed, secrets), server)
        except Lacking as error:
            raise InvalidInput(str(error)) from error

    async def find(self, managed: Object, account: Account) -> str | None:
        found, thing = await self.observe(managed, account, {}), self._thing(managed)
        is_ours = found.owner.get("crossplane-uid", thing.uid) == thing.uid  # or nobody's yet
        return thing.name if found.exists and is_ours else ""

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        thing = replace(self._thing(managed, secrets), is_new=True)
        await self._kinds[managed["kind"]].create(thing, await self._server(account))
        return Creation(self.default_external_name(managed))

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        thing, server = self._thing(managed, secrets), await self._server(account)
        await self._kinds[managed["kind"]].update(thing, server, observation)
        return {}

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        await self._kinds[managed["kind"]].delete(self._thing(managed), await self._server(account))

    async def let_go(self, managed: Object) -> None:
        return None

    def _thing(self, managed: Object, secrets: Mapping[str, str] | None = None) -> Thing:
        return Thing(managed, self._now(), self._strict, secrets or {})

    async def _server(self, account: Account) -> Server:
        return await self._servers.of(login_of(account, strict_upstream=self._strict))
