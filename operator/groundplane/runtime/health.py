"""What Kubernetes and Prometheus ask: /livez, /readyz and /metrics on one port; and people, if it is asked for: /debug.

Live: the event loop answers and the sources of events are not dead; else a restart helps.  That the API server can't
be reached is no reason for one.  Ready: everything that is followed from the start has been listed, and work is being done.
Upstream's /healthz is another name of /livez.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from types import TracebackType

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from groundplane.errors import InvalidInput
from groundplane.runtime import metrics

LONGEST_LAG = 5.0  # seconds that the event loop may be late
PULSE = 0.1  # seconds between two measurements of that

Check = Callable[[], str]  # what is wrong, "" if nothing is


class Health:
    """An HTTP server on the event loop that it watches; use it as an async context manager."""

    def __init__(
        self,
        *,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
        host: str = "0.0.0.0",
        port: int = 8080,
        before_metrics: Callable[[], None] = lambda: None,
        debug: Callable[[], Mapping[str, object]] | None = None,
    ) -> None:
        """`live` and `ready` are checks by name.  `before_metrics` brings gauges up to date.  `debug` gives the page /debug; None: there is none.

        Entering it raises InvalidInput if the port can't be listened on.
        """
        self._live = {"event-loop": self._check_lag, **live}
        self._ready = ready
        self._before_metrics = before_metrics
        self._host, self._wanted_port = host, port
        self._lag = 0.0
        self._pulse: asyncio.Task[None] | None = None
        app = web.Application()
        app.router.add_get("/livez", self._answer_live)
        app.router.add_get("/healthz", self._answer_live)
        app.router.add_get("/readyz", self._answer_ready)
        app.router.add_get("/metrics", self._answer_metrics)
        self._debug = debug
        if debug:
            app.router.add_get("/debug", self._answer_debug)
        self._runner = web.AppRunner(app, access_log=None)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._runner.addresses[0][1]
        return port

    async def __aenter__(self) -> Health:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._wanted_port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise InvalidInput(
                f"can't listen on {self._host}:{self._wanted_port} for health and metrics: {os.strerror(error.errno or 0)}",
                mend="name a free port with --health-port (0 takes any), and an address of this machine with --health-host",
            ) from error
        self._pulse = asyncio.create_task(self._measure_lag())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pulse:
            self._pulse.cancel()
            await asyncio.gather(self._pulse, return_exceptions=True)
        await self._runner.cleanup()

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PULSE
            await asyncio.sleep(PULSE)
            self._lag = loop.time() - due
            metrics.loop_lag.observe(self._lag)

    def _check_lag(self) -> str:
        return f"{self._lag:.1f} s late" if self._lag > LONGEST_LAG else ""

    async def _answer_live(self, request: web.Request) -> web.Response:
        return _verdict(self._live)

    async def _answer_ready(self, request: web.Request) -> web.Response:
        return _verdict(self._ready)

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        self._before_metrics()
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _answer_debug(self, request: web.Request) -> web.Response:
        content = self._debug() if self._debug else {}
        return web.Response(body=orjson.dumps(content, option=orjson.OPT_INDENT_2), content_type="application/json")


def _verdict(checks: Mapping[str, Check]) -> web.Response:
    """One line a check, as the API server's own."""
    wrong = {name: found for name, check in checks.items() if (found := check())}
    lines = [f"[-]{name} {wrong[name]}" if name in wrong else f"[+]{name} ok" for name in checks]
    return web.Response(text="\n".join(lines) + "\n", status=503 if wrong else 200)
