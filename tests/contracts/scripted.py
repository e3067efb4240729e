"""An HTTP server that says what a test wants it to say, for the faults that no real API server has on demand."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Answer = Callable[[web.Request], web.StreamResponse]


def status(code: int, reason: str = "", message: str = "no", **details) -> Answer:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return lambda _: web.json_response(body, status=code)


def busy(after: str) -> Answer:
    return lambda _: web.json_response({"kind": "Status"}, status=429, headers={"Retry-After": after})


def fine(_: web.Request) -> web.StreamResponse:
    return web.json_response({"kind": "Box", "metadata": {}})


def cut(request: web.Request) -> web.StreamResponse:
    request.transport.abort()
    return web.Response()


def lines(*events: object) -> Answer:
    return lambda _: web.Response(text="".join(json.dumps(event) + "\n" for event in events))


class Server:
    """Gives its answers in order; the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [fine]
        self.requests: list[tuple[str, str, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, request.headers.get("Authorization", "")))
        await request.read()
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    script = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    script.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield script
    finally:
        await runner.cleanup()
