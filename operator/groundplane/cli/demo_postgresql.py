"""The demo's second claim, one label apart from the first: a database in a PostgreSQL server, and a program that logs in to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from groundplane.cli import manifests, store, tree
from groundplane.core.objects import Key, Object, key_of
from groundplane.errors import GroundplaneError
from groundplane.sql.client import Client, logged_in
from groundplane.sql.standin import Running

if TYPE_CHECKING:
    from groundplane.runtime.local import LocalControlPlane

FOLDER = "database-postgresql"  # in compositions/
ADMIN = "postgresql-admin"
NAMESPACE = "crossplane-system"
INTRUDER = "somebody-else"


class Stage(Protocol):
    """The demo as a whole."""

    @property
    def plane(self) -> LocalControlPlane: ...

    def check(self, what: str, is_so: bool, otherwise: str = "") -> None: ...

    def say(self, text: str) -> None: ...

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]], roots: list[Key]) -> None: ...

    async def secret_of(self, claim: Object) -> dict[str, str]: ...

    async def data_of(self, claim: Object) -> dict[str, str]: ...

    async def grow(self, root: Key) -> tree.Node: ...


@dataclass
class Login:
    """The play around one claim."""

    demo: Stage
    source: Path  # compositions/database-postgresql
    server: Running
    secret: dict[str, str] = field(default_factory=dict, repr=False)
    family: list[Key] = field(default_factory=list)
    program: Client | None = None  # logged in, and at work
    open: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def claim(self) -> Path:
        return self.source / "examples" / "claim.yaml"

    async def offer(self) -> None:
        """What the platform team adds: how it is made, and where the server is."""
        objects = [
            found.object
            for name in ("composition.yaml", "provider.yaml")
            for found in manifests.read(self.source / name)
        ]
        told = {"endpoint": self.server.host, "port": str(self.server.port)}
        told |= {"username": self.server.user, "password": self.server.password}
        metadata = {"name": ADMIN, "namespace": NAMESPACE}
        for obj in [{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": told}, *objects]:
            if obj["kind"] == "ProviderConfig":
                obj["spec"]["sslMode"] = "disable"  # the stand-in has no TLS
            await self.demo.plane.cluster.apply(obj, manager="demo")

    async def use(self, claim: Object) -> None:
        """Log in with what the Secret says, and nothing else."""
        demo, key = self.demo, key_of(claim)
        self.secret = await demo.secret_of(claim)
        say = self.secret
        demo.say(f'  psql "host={say["host"]} port={say["port"]} user={say["username"]}"   # and the password above')
        self.program = await self._login(say["username"], say["password"])
        await self.program.run("CREATE TABLE orders (id int)", "INSERT INTO orders VALUES (1), (2), (3)")
        rows = await self.program.value("SELECT count(*) FROM orders")
        demo.check("a program logs in with the Secret alone, makes a table and counts its rows", rows == 3)
        async with self._as_admin() as admin:
            await admin.run(f"""CREATE ROLE "{INTRUDER}" LOGIN PASSWORD 'known'""")
        refused = await self._refusal(INTRUDER, "known")
        demo.check("another user of the server can't connect to it", "42501" in refused, refused)
        by_hand = [
            f'ALTER ROLE "{self._user}" NOLOGIN',
            f'REVOKE ALL ON DATABASE "{self._user}" FROM "{self._user}"',
        ]
        for statement in by_hand:
            demo.say(f"  somebody types: {statement};")
        async with self._as_admin() as admin:
            await admin.run(*by_hand)
        await demo.until("what somebody has changed by hand is mended", self._is_mended, [key])
        self.family = [node.key for node in tree.every(await demo.grow(key))]
        await self._rotate(claim)

    async def _rotate(self, claim: Object) -> None:
        """Have the password replaced, and log in with the new one."""
        demo, before = self.demo, dict(self.secret)
        found = await store.family(demo.plane.cluster, key_of(claim))
        (role,) = [key for key in found if key.kind == "Role"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        demo.say(f"  the platform team sets passwordRotationTrigger: {now}")
        await demo.plane.cluster.patch(role, {"spec": {"forProvider": {"passwordRotationTrigger": now}}})

        async def is_another() -> bool:
            """The Secret has it a moment before the server takes it."""
            self.secret = await demo.data_of(claim)
            is_new = self.secret["password"] != before["password"]
            return is_new and "28P01" not in await self._refusal(self._user, self.secret["password"])

        await demo.until(
            "the password was replaced, and the claim's Secret has the new one", is_another, [key_of(claim)]
        )
        await self._login(self._user, self.secret["password"])
        refused = await self._refusal(self._user, before["password"])
        demo.check("the new one logs in, the old one does not", "28P01" in refused, refused)

    async def leave(self) -> None:
        """The claim was deleted, while the program was connected."""
        demo = self.demo
        refused = await self._refusal(self._user, self.secret["password"])
        demo.check("its user can't log in any more", "28P01" in refused, refused)
        async with self._as_admin() as admin:
            left = await admin.value("SELECT count(*) FROM pg_database WHERE datname = $1", self._user)
        demo.check("its database is gone from the server", left == 0)
        await self.open.aclose()

    @property
    def _user(self) -> str:
        return self.secret["username"]

    def _as_admin(self) -> AbstractAsyncContextManager[Client]:
        server = self.server
        return logged_in(server.host, server.port, server.user, server.password, "postgres")

    async def _is_mended(self) -> bool:
        query = "SELECT rolcanlogin AND has_database_privilege(oid, $1, 'CREATE') FROM pg_roles WHERE rolname = $2"
        async with self._as_admin() as admin:
            return bool(await admin.value(query, self._user, self._user))

    async def _login(self, user: str, password: str) -> Client:
        place: Mapping[str, str] = self.secret
        login = logged_in(place["host"], int(place["port"]), user, password, self._user)
        return await self.open.enter_async_context(login)

    async def _refusal(self, user: str, password: str) -> str:
        """Why a login is refused; that it is not, otherwise."""
        place = self.secret
        try:
            async with logged_in(place["host"], int(place["port"]), user, password, self._user):
                return "it was let in"
        except GroundplaneError as error:
            return str(error)
