"""Calls of functions that run elsewhere, for `render`: one after the other, all within one time, and ended with it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from groundplane.core.explain import is_secret
from groundplane.core.objects import Object, meta
from groundplane.core.pipeline import Call, Endpoint, Response
from groundplane.core.preview import data_of
from groundplane.errors import InvalidInput, Unavailable
from groundplane.ports import Certificates

if TYPE_CHECKING:
    import asyncio

    from groundplane.remote.runner import Runner

PATIENCE = 60.0  # seconds for all, as upstream's


class RemoteCalls:
    """Calls functions and starts those that are processes.  Use it as a context manager; it costs nothing until the first call."""

    def __init__(self, secrets: Sequence[Object], seconds: float = PATIENCE) -> None:
        """`secrets` may hold certificates."""
        self._secrets, self._seconds = secrets, seconds
        self._until = 0.0
        self._loop: asyncio.Runner | None = None
        self._runner: Runner | None = None

    def __enter__(self) -> RemoteCalls:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._runner is not None:
            self._loop.run(self._runner.close())
            self._loop.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def __call__(self, call: Call) -> Response:
        """What a function answers.  Raises Unavailable, InvalidInput."""
        if self._loop is None or self._runner is None:
            import asyncio

            from groundplane.remote.runner import Runner

            self._loop, self._until = asyncio.Runner(), time.monotonic() + self._seconds
            signal.signal(
                signal.SIGTERM, lambda number, frame: sys.exit(128 + number)
            )  # what was started is ended first
            self._runner = Runner(on_output=lambda name, line: click.echo(f"{name}: {line}", err=True))
        certificates = self._certificates(call.remote.name, call.remote.endpoint)
        response: Response = self._loop.run(self._within(self._runner.run(call.remote, call.request, certificates)))
        return response

    async def _within(self, work: Coroutine[Any, Any, Response]) -> Response:
        import asyncio

        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                return await work
        except TimeoutError:
            raise Unavailable(
                f"rendering took longer than {self._seconds:g} seconds", mend="give it longer: --timeout"
            ) from None

    def _certificates(self, name: str, endpoint: Endpoint) -> Certificates | None:
        if not endpoint.tls_secret:
            return None
        for secret in self._secrets:
            if is_secret(secret) and meta(secret).get("name") == endpoint.tls_secret:
                data = data_of(secret)
                return Certificates(data.get("ca.crt", b""), data.get("tls.crt", b""), data.get("tls.key", b""))
        raise InvalidInput(
            f"Function {name} is called with the certificates of Secret {endpoint.tls_secret}",
            mend=f"pass it with --function-credentials, or say --function {name}=ADDRESS",
        )
