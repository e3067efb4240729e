"""Connections to PostgreSQL: few, kept while they are used, and one writer of the catalog at a time.

Of GRANTs on one database that run side by side, a quarter fails with "tuple concurrently updated"; so statements that change something wait for each other,
per server.  The driver is imported with the first connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator, KeysView, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from groundplane.core.outage import Outage
from groundplane.errors import GroundplaneError, Unavailable
from groundplane.sql import faults, wire
from groundplane.sql.account import Login

if TYPE_CHECKING:
    import asyncpg

PER_SERVER = 5  # connections at most, of one login
IDLE = 30.0  # seconds until a connection that nobody uses is closed
REMEMBERED = 1_024  # logins
CONNECT, COMMAND = 10.0, 60.0  # seconds
ENDS = COMMAND + 2.0  # seconds until the server ends a statement that nobody gave up, for who sent it is stopped
LOCK = 2.0  # seconds until a statement that changes something and waits for a lock is given up
KNOWN_LOCK = 0.1  # seconds, where those who hold it were met lately
MET = 60.0  # seconds for which they are remembered
LOCK_TIMEOUT = 10  # seconds until the server gives it up itself, where it can't be asked what it waits for
_ALONE = ("CREATE DATABASE ", "DROP DATABASE ")  # what may be in no transaction
_HOLDERS = """
SELECT format('session %s of role %s (%s), in a transaction since %s', pid, usename, coalesce(nullif(application_name, ''), 'of no name'),
  coalesce(to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'a moment that only a superuser is told')) AS told
FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids($1)) ORDER BY pid LIMIT 3
"""


class Session:
    """One connection, while it is ours."""

    def __init__(
        self, connection: asyncpg.Connection[Any], database: str, server: Server, may_write: Callable[[], None]
    ) -> None:
        self._connection, self._database, self._server, self._may_write = connection, database, server, may_write
        self._is_writer = False

    @property
    def version(self) -> int:
        """The server's major version."""
        return int(self._connection.get_server_version().major)

    @property
    def is_superuser(self) -> bool:
        return bool(self._connection.get_settings().is_superuser == "on")

    @property
    def key(self) -> str:
        """What nobody knows who can't log in as we do."""
        return self._server.login.password

    async def rows(self, query: str, *arguments: object, most: int = wire.ANSWER) -> list[Any]:
        """`most`: bytes that the answer may have."""
        wire.allow(self._connection, most)
        async with self._asking():
            found: list[Any] = await self._connection.fetch(query, *arguments)
            return found

    async def run(self, *statements: str) -> None:
        """Change something; several statements are one transaction."""
        async with contextlib.nullcontext() if self._is_writer else self._server.writing, self._asking():
            self._may_write()  # not before: others write for a minute, and the Lease may be somebody else's then
            await self._execute(_limited(statements))

    async def _execute(self, statements: str) -> None:
        """Give up what waits for a lock: the server's other writers wait with it.  Who holds that must be asked before."""
        wire.allow(self._connection, wire.ANSWER)
        sent = asyncio.ensure_future(self._connection.execute(statements))
        known = self._server.met()
        patience = KNOWN_LOCK if known else LOCK
        try:
            while not (await asyncio.wait([sent], timeout=patience))[0]:
                holders = await self._server.holders(self._connection.get_server_pid())
                if holders and not sent.done() and (patience == LOCK or known & set(holders)):
                    self._server.meet(holders)
                    raise faults.locked(holders)
                patience = LOCK
            await sent
        finally:
            if not sent.done():
                sent.cancel()
                await _closed(self._connection)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Be the server's only writer for several statements."""
        async with self._server.writing:
            self._is_writer = True
            try:
                yield
            finally:
                self._is_writer = False

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Ask a statement inside.  One that is late is no outage, where the server answers others."""
        try:
            with faults.told(self._server.login.host):
                yield
        except Unavailable as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            await _closed(self._connection)  # once the server was told to give the statement up
            await self._server.answers(self._database)
            raise faults.late(self._server.login.host, COMMAND) from error


def _limited(statements: Sequence[str]) -> str:
    """Statements that wait for no lock for long, and that end, whatever becomes of us, before another process takes up our work.

    The limits end with their transaction: by PgBouncer the next one on the connection may be another's.
    """
    if len(statements) == 1 and statements[0].startswith(_ALONE):
        return statements[0]
    limits = f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'", f"SET LOCAL statement_timeout = '{ENDS:.0f}s'"
    return ";\n".join([*limits, *statements])


@dataclass
class _Kept:
    """A connection to one database, or the place where it will be."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: asyncpg.Connection[Any] | None = None
    used: float = 0.0  # when last, by the loop's clock
    is_timed: bool = False  # somebody will look whether it is used still


class Server:
    """One login's connections."""

    def __init__(self, login: Login, writing: asyncio.Lock, may_write: Callable[[], None]) -> None:
        self.login, self.writing, self._may_write = login, writing, may_write
        self.version = 0  # the server's major version, once somebody has connected
        self._kept: dict[str, _Kept] = {}
        self._slots = asyncio.Semaphore(PER_SERVER)
        self._outage = Outage(lambda: asyncio.get_running_loop().time())
        self._met: dict[str, float] = {}  # who held a lock that was needed, and until when that counts

    @asynccontextmanager
    async def session(self, database: str = "") -> AsyncIterator[Session]:
        """A connection to a database, the default one unless named.

        Raises Lacking (3D000: no such database), Denied, Unavailable, InvalidInput.
        """
        name = database or self.login.database
        self._outage.check()
        async with self._slots:
            kept = self._kept.setdefault(name, _Kept())
            async with kept.lock:
                with self._outage.asking():
                    if kept.connection is None or kept.connection.is_closed():
                        await self._make_room()
                        self._kept[name] = kept  # it may have been dropped while we waited
                        kept.connection = await self._connect(name)
                    session = Session(kept.connection, name, self, self._may_write)
                    try:
                        yield session
                    except asyncio.CancelledError:
                        kept.connection.terminate()  # what it was asked may still be under way
                        raise
                    finally:
                        if not kept.connection.is_closed() and kept.connection.is_in_transaction():
                            kept.connection.terminate()
                        kept.used = asyncio.get_running_loop().time()
                        self._mind(name, kept, IDLE)

    async def answers(self, database: str) -> None:
        """Raises as `session`, and Unavailable where the least statement has no answer either."""
        made = await self._connect(database)
        try:
            with faults.told(self.login.host):
                await made.execute("SELECT 1", timeout=CONNECT)
        finally:
            made.terminate()

    async def holders(self, pid: int) -> list[str]:
        """Who holds the lock that a connection waits for, as far as that can be asked."""
        with contextlib.suppress(GroundplaneError):
            made = await self._connect(self.login.database)
            try:
                with faults.told(self.login.host):
                    return [row["told"] for row in await made.fetch(_HOLDERS, pid, timeout=CONNECT)]
            finally:
                made.terminate()
        return []

    def met(self) -> KeysView[str]:
        """Who held a lock lately that was needed, as `holders` tells it: one transaction, as long as it is the same text."""
        now = asyncio.get_running_loop().time()
        self._met = {holder: until for holder, until in self._met.items() if until > now}
        return self._met.keys()

    def meet(self, holders: Collection[str]) -> None:
        self._met |= dict.fromkeys(holders, asyncio.get_running_loop().time() + MET)

    async def leave(self, database: str) -> None:
        """Close what is open to a database: it is to be dropped."""
        if kept := self._kept.pop(database, None):
            async with kept.lock:
                if kept.connection is not None:
                    await _closed(kept.connection)
                    kept.connection = None

    async def close(self) -> None:
        """Close what nobody uses; the rest goes with who uses it."""
        for name in list(self._kept):
            await self.leave(name)

    def _mind(self, name: str, kept: _Kept, seconds: float) -> None:
        if not kept.is_timed:
            kept.is_timed = True
            asyncio.get_running_loop().call_later(seconds, self._retire, name, kept)

    def _retire(self, name: str, kept: _Kept) -> None:
        kept.is_timed = False
        left = kept.used + IDLE - asyncio.get_running_loop().time()
        if kept.lock.locked() or left > 0:
            self._mind(name, kept, max(left, 1.0))
            return
        if self._kept.get(name) is kept:
            del self._kept[name]
        if kept.connection is not None:
            kept.connection.terminate()
            kept.connection = None

    async def _make_room(self) -> None:
        idle = [(kept.used, name) for name, kept in self._kept.items() if not kept.lock.locked()]
        for _, name in sorted(idle)[: max(0, len(self._kept) - PER_SERVER)]:
            await self.leave(name)

    async def _connect(self, database: str) -> asyncpg.Connection[Any]:
        import asyncpg

        wire.guard()
        login = self.login
        with _of(database, is_default=database == login.database), faults.told(login.host):
            found: asyncpg.Connection[Any] = await asyncpg.connect(
                host=login.host,
                port=login.port,
                user=login.user,
                password=login.password,
                database=database,
                ssl=login.tls(),
                timeout=CONNECT,
                command_timeout=COMMAND,
                statement_cache_size=0,  # PgBouncer knows no prepared statements
                target_session_attrs="any",
                server_settings={"application_name": "groundplane"},
            )
            wire.allow(found, wire.ANSWER)
            self.version = int(found.get_server_version().major)
            return found


@contextlib.contextmanager
def _of(database: str, *, is_default: bool) -> Iterator[None]:
    """Say which database lets nobody in, and who names the one that is not there, if no object does."""
    try:
        yield
    except faults.Lacking as error:
        if is_default:
            error.mend = "create it, or correct spec.defaultDatabase of the ProviderConfig"
        raise
    except faults.Closed as error:
        error.database = database
        raise


async def _closed(connection: asyncpg.Connection[Any]) -> None:
    with contextlib.suppress(Exception):  # it is gone either way
        await connection.close(timeout=1.0)


class Servers:
    """The servers of all accounts."""

    def __init__(self, may_write: Callable[[], None]) -> None:
        self._may_write = may_write
        self._servers: dict[str, Server] = {}  # by ProviderConfig, the longest unused first
        self._writing: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def of(self, login: Login) -> Server:
        """The connections of a login; those with credentials of before are closed."""
        known = self._servers.pop(login.config, None)
        if known and known.login == login:
            self._servers[login.config] = known
            return known
        writing = self._writing.setdefault(login.place, asyncio.Lock())
        made = self._servers[login.config] = Server(login, writing, self._may_write)
        if len(self._servers) > REMEMBERED:
            del self._servers[next(iter(self._servers))]  # its connections end by themselves
        if known:
            await known.close()
        return made

    async def close(self) -> None:
        for server in list(self._servers.values()):
            await server.close()
        self._servers.clear()
