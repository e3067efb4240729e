"""The server of the webhooks: TLS in this process, on a thread of its own, where a storm of reconciles delays no answer.

Whoever reaches the port may ask; the API server shows no certificate of its own.  So no answer says more than the asker has sent, but for
names of Compositions; bodies are bounded one by one and together; nothing of a body is logged.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import orjson
from aiohttp import web

from groundplane.cluster import depth
from groundplane.cluster.client import APPLY_PATCH, Api
from groundplane.core.admission import Malformed, Verdict, request_in
from groundplane.core.objects import Key, Object, meta
from groundplane.errors import Awaited, GroundplaneError, InvalidInput, Unavailable
from groundplane.ports import Context, Watches
from groundplane.reconcile import definition
from groundplane.reconcile.admission import Request, TryOut
from groundplane.runtime import certificates, logs, metrics
from groundplane.runtime.crds import PATH as CRDS_PATH
from groundplane.runtime.pairs import SERVER, Pair
from groundplane.runtime.webhook_registry import Webhook

# Bytes: an object as it would be and as it is, of 3 MiB each, which the API server takes at most.
LONGEST_BODY = 8 << 20
MOST_BYTES = 64 << 20  # of all bodies in hand
BODY_PATIENCE = 10.0  # seconds for a body to come
PATIENCE = 2.0  # seconds for a request to the API server on which an answer to it depends
BEGINNING = 10.0  # seconds for the thread to begin
FAREWELL = 2.0  # seconds for answers that are under way when it ends
ASKS = "admission.k8s.io/v1"

log = logs.get_logger(__name__)


class Server:
    """Answers over TLS.  `serve` it with a certificate, and again with the next one; connections that are open stay."""

    def __init__(self, webhooks: Sequence[Webhook], context: Context, try_out: TryOut, *, host: str, port: int) -> None:
        self._webhooks = {each.path: each for each in webhooks}
        self._context, self._try_out = context, try_out
        self._host, self._wanted_port = host, port
        self._ssl = certificates.server_context()
        self._bytes = 0  # of bodies in hand
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=FAREWELL)
        self._site: web.TCPSite | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._runner.addresses[0][1]
        return port

    async def serve(self, pair: Pair) -> None:
        """Raises InvalidInput if the certificate can't be used, or the port not listened on."""
        try:
            # On the loop, where handshakes are, too: none sees a certificate with another's key.
            certificates.load(self._ssl, pair)
        except (ssl.SSLError, OSError) as error:
            raise InvalidInput(
                f"the webhooks' certificate can't be loaded: {type(error).__name__}",
                mend=f"delete the Secret {SERVER}, and see that the folder for temporary files can be written to",
            ) from None
        if self._site is not None:
            return
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._wanted_port, ssl_context=self._ssl)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise InvalidInput(
                f"can't listen on {self._host}:{self._wanted_port} for webhooks: {os.strerror(error.errno or 0)}",
                mend="name a free port with --webhook-port, and an address of this machine with --webhook-host",
            ) from error
        self._site = site

    async def stop(self) -> None:
        self._site = None
        await self._runner.cleanup()

    # --- one request

    async def _handle(self, request: web.Request) -> web.Response:
        webhook = self._webhooks.get(request.path)
        if webhook is None:
            return _error(404, "there is no such webhook")
        if request.method != "POST":
            return _error(405, "webhooks are asked by POST", Allow="POST")
        begun, outcome = time.perf_counter(), "malformed"
        body = bytearray()
        try:
            if (problem := await self._read(request, body)) is not None:
                return problem
            try:
                asked = request_in(depth.read(bytes(body)))
            except orjson.JSONDecodeError:
                return _error(400, "the body is no JSON")
            except Malformed as error:
                return _error(400, error.what)
            outcome = "failed"
            try:
                verdict = await webhook.answer(asked, self._context, self._try_out)
            except GroundplaneError as error:
                log.warning(
                    "an admission request could not be answered", webhook=webhook.name, error=type(error).__name__
                )
                return _error(500, f"Groundplane could not judge this object: {error.what}", asked["uid"])
            except Exception as error:
                log.exception("an admission request could not be answered", error=error, webhook=webhook.name)
                return _error(500, "Groundplane could not judge this object: a fault of its own", asked["uid"])
            outcome = "refused" if not verdict.allowed else "warned" if verdict.warnings else "allowed"
            if not verdict.allowed:
                log.info("write refused", webhook=webhook.name, about=_about(asked))
            return _answer(verdict, asked["uid"])
        finally:
            self._bytes -= len(body)
            metrics.admission_answered(webhook.name, outcome, time.perf_counter() - begun)

    async def _read(self, request: web.Request, body: bytearray) -> web.Response | None:
        """Take the body in, as far as there is room; what to answer if there is none."""
        if (request.content_length or 0) > LONGEST_BODY:
            return _error(413, f"the body is longer than {LONGEST_BODY} bytes")
        try:
            async with asyncio.timeout(BODY_PATIENCE):
                async for chunk in request.content.iter_any():
                    body += chunk
                    self._bytes += len(chunk)
                    if len(body) > LONGEST_BODY:
                        return _error(413, f"the body is longer than {LONGEST_BODY} bytes")
                    if self._bytes > MOST_BYTES:
                        return _error(503, "too many requests at once")
        except TimeoutError:
            return _error(408, "the body did not come in time")
        except (web.HTTPException, ValueError):
            return _error(400, "the body can't be read")
        return None


def _about(asked: Request) -> str:
    """Kind and place of what is asked about, shortened: whoever asks has chosen them."""
    kind = (asked.get("kind") or {}).get("kind")
    place = "/".join(
        str(asked[name]) for name in ("namespace", "name") if isinstance(asked.get(name), str) and asked[name]
    )
    return f"{kind} {place}"[:300]


def _answer(verdict: Verdict, uid: str, status: int = 200, **headers: str) -> web.Response:
    body = {"apiVersion": ASKS, "kind": "AdmissionReview", "response": verdict.response(uid)}
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers or None
    )


def _error(status: int, text: str, uid: str = "", **headers: str) -> web.Response:
    """The API server takes any status but 200 for no answer, and does what the failure policy says."""
    return _answer(
        Verdict(False, text, code=status, reason="BadRequest" if status < 500 else "InternalError"),
        uid,
        status,
        **headers,
    )


class Apart:
    """The server on a thread of its own, from the first certificate on."""

    def __init__(self, begin: Callable[[], tuple[Server, Api]]) -> None:
        """`begin` is called in the thread; the Api is closed when it ends."""
        self._begin = begin
        self._running: tuple[Server, asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._has_begun = threading.Event()
        self._failure = "the thread of the webhooks has ended"
        self._is_stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="webhooks", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._running is not None
        return self._running[0].port

    def problem(self) -> str:
        """Why it must be considered dead; "" if it is not, or was told to end."""
        has_ended = self._thread.ident is not None and not self._thread.is_alive()
        return self._failure if has_ended and not self._is_stopping else ""

    async def serve(self, pair: Pair) -> None:
        """As `Server.serve`.  Raises Unavailable if the thread has ended, or does not begin."""
        if self._thread.ident is None:
            self._thread.start()
        if not await asyncio.to_thread(self._has_begun.wait, BEGINNING) or self._running is None:
            raise Unavailable(self.problem() or "the thread of the webhooks does not begin")
        server, loop, _ = self._running
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(server.serve(pair), loop))

    async def stop(self) -> None:
        self._is_stopping = True
        if self._running is not None and self._thread.is_alive():
            _, loop, ended = self._running
            loop.call_soon_threadsafe(ended.set)
            await asyncio.to_thread(self._thread.join, 2 * FAREWELL)

    async def _run(self) -> None:
        try:
            server, api = self._begin()
            self._running = server, asyncio.get_running_loop(), (ended := asyncio.Event())
        except GroundplaneError as error:
            self._failure = str(error)
            return
        finally:
            self._has_begun.set()
        try:
            await ended.wait()
        finally:
            self._running = None
            await server.stop()
            await api.close()


class Hopping:
    """`ports.Watches` for another thread: each call is made on the event loop that they belong to."""

    def __init__(self, watches: Watches, loop: asyncio.AbstractEventLoop) -> None:
        self._watches, self._loop = watches, loop

    async def ensure(self, kinds: Iterable[tuple[str, str]], *, whole: bool = False) -> None:
        await self._there(self._watches.ensure(list(kinds), whole=whole))

    async def follow(self, api_version: str, kind: str, plural: str, *, namespaced: bool, role: str) -> None:
        await self._there(self._watches.follow(api_version, kind, plural, namespaced=namespaced, role=role))

    def expect(self, awaited: Sequence[Awaited]) -> None:
        self._loop.call_soon_threadsafe(self._watches.expect, awaited)

    def unfollow(self, api_version: str, kind: str) -> None:
        self._loop.call_soon_threadsafe(self._watches.unfollow, api_version, kind)

    def enqueue(self, key: Key) -> None:
        self._loop.call_soon_threadsafe(self._watches.enqueue, key)

    def enqueue_listed(self, obj: Object) -> None:
        self._loop.call_soon_threadsafe(self._watches.enqueue_listed, obj)

    def wake(self, keys: Sequence[Key]) -> None:
        self._loop.call_soon_threadsafe(self._watches.wake, keys)

    async def _there(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


def trying_out(api: Api) -> TryOut:
    """Have the API server judge an object that is applied, as the definition's reconciler applies it, without keeping it."""

    async def try_out(crd: Object) -> None:
        path = f"{CRDS_PATH}/{meta(crd)['name']}"
        query = {"fieldManager": definition.MANAGER, "force": "true", "dryRun": "All"}
        await api.request("PATCH", path, query=query, body=crd, content_type=APPLY_PATCH)

    return try_out
