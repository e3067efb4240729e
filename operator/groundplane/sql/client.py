"""A program's side: to log in with what a connection Secret says, as the demo does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from groundplane.sql import faults


class Client:
    """One login."""

    def __init__(self, connection: Any, host: str) -> None:
        self._connection, self._host = connection, host

    async def run(self, *statements: str) -> None:
        for statement in statements:
            with faults.told(self._host):
                await self._connection.execute(statement)

    async def value(self, query: str, *arguments: object) -> Any:
        with faults.told(self._host):
            return await self._connection.fetchval(query, *arguments)


@asynccontextmanager
async def logged_in(host: str, port: int, user: str, password: str, database: str) -> AsyncIterator[Client]:
    """Without TLS.  Raises Denied, Unavailable, InvalidInput."""
    import asyncpg

    with faults.told(host):
        connection = await asyncpg.connect(
            host=host, port=port, user=user, password=password, database=database, ssl=False, timeout=10.0
        )
    try:
        yield Client(connection, host)
    finally:
        connection.terminate()
