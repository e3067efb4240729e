"""The admission webhooks: what the API server asks before it stores an object, over TLS, answered in this process by every replica.

`all_webhooks` is the registry: what each is asked about, what happens when nobody answers, and who answers (`reconcile/`).  The leader keeps the
configurations that point here (`webhook_configurations.py`), every replica its certificate (`certificates.py`).

The server has a thread, an event loop and a connection of its own: a storm of reconciles delays no answer.  It reads the cache, and puts nothing into it.

Whoever reaches the port may ask; the API server shows no certificate of its own.  So no answer says more than the asker has sent, but for
names of Compositions; bodies are bounded one by one and together; nothing of a body is logged.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from groundplane.cluster import depth
from groundplane.cluster.cache import Cache
from groundplane.cluster.client import APPLY_PATCH, Api
from groundplane.cluster.informer import Informer
from groundplane.core import typecheck, usages
from groundplane.core.admission import Malformed, Verdict, request_in
from groundplane.core.objects import Key, Object, meta
from groundplane.errors import Awaited, GroundplaneError, InvalidInput, NotLeader, Unavailable
from groundplane.ports import Context, Resource, Watches
from groundplane.reconcile import admission, definition, protection
from groundplane.reconcile.admission import Request, TryOut
from groundplane.runtime import certificates, guard, logs, metrics, pairs
from groundplane.runtime.crds import PATH as CRDS_PATH
from groundplane.runtime.pairs import SERVER, Pair
from groundplane.runtime.tasks import within
from groundplane.runtime.webhook_configurations import (
    CONFIGURATIONS,
    CROSSPLANE,
    NAMES,
    NO_USAGES,
    SERVICE,
    Configurations,
    Target,
    entry,
    rule,
)

# Seconds between two looks at certificate and configurations, and while something is still to be done.
CHECK, SOON = 600.0, 1.0
LATER = 10.0  # seconds until what did not work is tried again
TRIES = 5  # looks, a second apart, whether the API server reaches them: it takes a moment to take up a configuration
CALM = 0.3  # seconds between two looks at changes that follow each other
GOODBYE = 1.5  # seconds that a process takes to withdraw what only it can answer
# Bytes: an object as it would be and as it is, of 3 MiB each, which the API server takes at most.
LONGEST_BODY = 8 << 20
MOST_BYTES = 64 << 20  # of all bodies in hand
BODY_PATIENCE = 10.0  # seconds for a body to come
PATIENCE = 2.0  # seconds for a request to the API server on which an answer to it depends
BEGINNING = 10.0  # seconds for the thread to begin
FAREWELL = 2.0  # seconds for answers that are under way when it ends
CORE = "apiextensions.crossplane.io"
ASKS = "admission.k8s.io/v1"
SECRETS = Resource("v1", "Secret", "secrets", namespaced=True)

log = logs.get_logger(__name__)

Handler = Callable[[Request, Context, TryOut], Awaitable[Verdict]]
Rules = Callable[[Context], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Webhook:
    """One thing that the API server asks."""

    name: str  # in metrics and logs
    full_name: str  # in the configuration, and in what kubectl shows
    path: str
    answer: Handler
    rules: Rules
    configuration: str = CROSSPLANE
    failure_policy: Literal["Ignore", "Fail"] = "Ignore"
    timeout: int = (
        3  # seconds; well below the five that a write of our own may take, or it would fail where nobody answers
    )
    object_selector: Mapping[str, Any] = field(default_factory=dict)
    match_conditions: tuple[Mapping[str, str], ...] = ()


_NAMES_ANOTHER = """has(object.spec) && (
(has(object.spec.compositionRef) && (oldObject == null || !has(oldObject.spec) || !has(oldObject.spec.compositionRef)
|| oldObject.spec.compositionRef != object.spec.compositionRef))
|| (has(object.spec.crossplane) && has(object.spec.crossplane.compositionRef) && (oldObject == null || !has(oldObject.spec)
|| !has(oldObject.spec.crossplane) || !has(oldObject.spec.crossplane.compositionRef)
|| oldObject.spec.crossplane.compositionRef != object.spec.crossplane.compositionRef)))"""
_IS_ANOTHER = (
    "oldObject == null || oldObject.metadata.generation != object.metadata.generation"  # not only its metadata
)
_ASKS_FOR_IT = (
    f'has(object.metadata.annotations) && "{typecheck.MODE_ANNOTATION}" in object.metadata.annotations'
    f' && object.metadata.annotations["{typecheck.MODE_ANNOTATION}"] in ["strict", "loose"]'
)
_HAS_NO_CLAIM = '!has(object.metadata.labels) || !("crossplane.io/claim-name" in object.metadata.labels)'


def _static(plural: str) -> Rules:
    found = (
        rule(CORE, ["v1", "v2"] if plural.startswith("compositeresource") else ["v1"], [plural], ["CREATE", "UPDATE"]),
    )
    return lambda context: found


def _declared(context: Context) -> list[Mapping[str, Any]]:
    """Composites and claims, by group."""
    plurals: dict[str, set[str]] = {}
    for role, known in context.definitions.every():
        plurals.setdefault(known.group, set()).add(known.plural if role == "composite" else known.claim_plural or "")
    return [rule(group, ["*"], sorted(names), ["CREATE", "UPDATE"]) for group, names in sorted(plurals.items())]


def tentative_webhooks(*, strict_upstream: bool) -> tuple[Webhook, ...]:
    """Those that are tried where nobody has asked for webhooks.

    With strict upstream behaviour nothing is refused that a Crossplane without webhooks takes, unless it says itself that it wants to be judged.
    """
    webhooks = all_webhooks()
    if not strict_upstream:
        return webhooks
    by_name = {each.name: each for each in webhooks}
    wanted = {"name": "asks-for-it", "expression": _ASKS_FOR_IT}
    return replace(by_name["compositions"], match_conditions=(wanted,)), by_name["usages"]


def all_webhooks() -> tuple[Webhook, ...]:
    """What is asked, whose answer counts, and what happens when nobody answers.

    What is wrong with a definition or a Composition is told on its condition, too: so nothing is refused just because no replica answers, but for the
    deletion of what is in use.
    """
    return (
        Webhook(
            "definitions",
            f"compositeresourcedefinitions.{CORE}",
            "/validate-apiextensions-crossplane-io-v1-compositeresourcedefinition",
            admission.definitions,
            _static("compositeresourcedefinitions"),
            match_conditions=({"name": "is-another", "expression": _IS_ANOTHER},),
        ),
        Webhook(
            "compositions",
            f"compositions.{CORE}",
            "/validate-apiextensions-crossplane-io-v1-composition",
            admission.compositions,
            _static("compositions"),
        ),
        Webhook(
            "composites",
            "composites.groundplane.io",
            "/validate-composites",
            admission.composites,
            _declared,
            timeout=1,  # for a warning
            match_conditions=(
                {"name": "names-another-composition", "expression": " ".join(_NAMES_ANOTHER.split())},
                {"name": "is-no-claims", "expression": _HAS_NO_CLAIM},
            ),
        ),
        Webhook(
            "usages",
            f"nousages.{usages.PROTECTION}",
            "/validate-no-usages",
            protection.deletion,
            lambda context: (rule("*", ["*"], ["*"], ["DELETE"]),),
            configuration=NO_USAGES,
            failure_policy="Fail",  # of what is labelled alone: while nobody answers, nothing that is in use is deleted
            object_selector={"matchLabels": {usages.IN_USE: "true"}},
        ),
    )


# --- the server ---------------------------------------------------------------------------------------------


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

    def wake(self, keys: Sequence[Key]) -> None:
        self._loop.call_soon_threadsafe(self._watches.wake, keys)

    async def _there(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


# --- all of it -----------------------------------------------------------------------------------------------


class Webhooks:
    """Server, certificate and configurations, looked after until it is cancelled."""

    def __init__(
        self,
        server: Apart,
        webhooks: Sequence[Webhook],
        api: Api,
        configurations: Configurations,
        context: Context,
        *,
        leads: Callable[[], bool],
        namespace: str,
        port: int,
        url: str = "",
        is_tentative: bool = False,
        is_alone: bool = False,
    ) -> None:
        """`api` may write the Secrets whoever leads; `configurations` are applied only while this process `leads`.

        `is_tentative`: nobody has asked for webhooks, so whatever is in their way ends them, and their end withdraws them.  `is_alone`: the `url`
        means this process and no other replica, at the port that is listened on.
        """
        self.is_tentative = is_tentative
        self.have_ended = False  # given up, or withdrawn
        self._is_alone = is_alone
        self._server, self._webhooks, self._api, self._configurations = server, webhooks, api, configurations
        self._context, self._leads = context, leads
        self._namespace, self._port, self._url = namespace, port, url
        self._hosts = hosts(namespace, url)
        self._loaded: Pair | None = None
        self._problem = "no certificate yet"
        self._is_configured = False  # by us, since we lead
        self._has_begun = False  # something that only this process can answer may be there
        self._turn = asyncio.Lock()  # of who applies configurations, or withdraws them
        self._news = asyncio.Event()  # there is something to look at
        self._said = ""

    def problem(self) -> str:
        """Why no API server can be answered; "" if all is well."""
        return self._problem

    def dead(self) -> str:
        """Why nothing but a new process helps; "" if nothing is wrong."""
        return self._server.problem()

    def look(self) -> None:
        """We have begun to lead, or a definition has changed: configurations may have to say something else."""
        self._news.set()

    async def run(self) -> None:
        """Serve, renew, repair; until they have ended."""
        informers = [self._followed(CONFIGURATIONS, name) for name in NAMES]
        if not self._is_alone:
            informers.append(self._followed(SECRETS, SERVER))
        following = [asyncio.create_task(informer.run()) for informer in informers]
        try:
            while not self.have_ended:
                self._news.clear()
                await self._look()
                is_done = self._loaded is not None and (self._is_configured or not self._leads())
                if await within(CHECK if is_done else LATER if self._said else SOON, self._news):
                    await asyncio.sleep(CALM)  # much else may change in the same moment
        finally:
            for informer in informers:
                informer.stop()
            await asyncio.gather(*following, return_exceptions=True)
            await self._server.stop()

    def _followed(self, resource: Resource, name: str) -> Informer:
        """Whoever changes a configuration, or the certificate, it is put right at once."""
        return Informer(
            self._api,
            resource,
            Cache(),
            lambda change: self._news.set(),
            field_selector=f"metadata.name={name}",
            namespace=self._namespace if resource.namespaced else "",
            metadata_only=True,
        )

    async def withdraw(self) -> None:
        """At an orderly end, of what nobody has asked for: nothing is left that only this process can answer."""
        if self.have_ended or not (self.is_tentative and self._has_begun and self._leads()):
            return
        self.have_ended = True
        try:
            async with asyncio.timeout(GOODBYE), self._turn:
                await guard.bring(self._context.cluster)
                await self._configurations.withdraw()
        except (TimeoutError, GroundplaneError) as error:
            log.warning("the webhooks could not be withdrawn", error=str(error))

    async def _give_up(self, why: str) -> None:
        """End what nobody has asked for; if the policy can't be brought in its place now, at the next look."""
        try:
            if self._leads():
                await guard.bring(self._context.cluster)
                await self._configurations.withdraw()
        except NotLeader:
            log.debug("whoever leads brings the policy of usages")
        except GroundplaneError as error:
            self._say(str(error))
            return
        self.have_ended = True
        log.info("webhooks are off", why=why, mend="--webhooks on, with a --webhook-url that the API server reaches")

    async def _look(self) -> None:
        try:
            pair = await self._certificate()
            if pair != self._loaded:
                await self._server.serve(pair)
                self._loaded = pair
                metrics.certificate_expiry.set(pair.until.timestamp())
                log.info("webhooks are served", port=self._server.port, until=f"{pair.until:%Y-%m-%dT%H:%M:%SZ}")
            self._problem = ""
        except GroundplaneError as error:
            if self._loaded is None:
                self._problem = str(error)
            elif self._loaded.until <= certificates.now():
                self._problem = "the certificate has expired"
            self._say(str(error))
            if self.is_tentative and not isinstance(error, Unavailable):
                await self._give_up(str(error))
            return
        async with self._turn:
            if not self.have_ended:
                await self._configure(pair)

    async def _certificate(self) -> Pair:
        """From the Secret that all replicas share, or, where none but this process is to be asked, its own."""
        now = certificates.now()
        if not self._is_alone:
            return await certificates.ensure(self._api, self._namespace, self._hosts, now, known=self._loaded)
        if self._loaded is None or pairs.is_due(self._loaded, now):
            return await certificates.transient(self._hosts, now)
        return self._loaded

    async def _configure(self, pair: Pair) -> None:
        if not self._leads():
            self._is_configured, self._said = False, ""
            return
        url = f"{self._url}:{self._server.port}" if self._is_alone else self._url
        target = Target(self._namespace, self._port, pair.bundle, url)
        self._has_begun = True
        try:
            await self._configurations.ensure(configured(self._webhooks, target, self._context))
            if not self._is_configured:
                if self.is_tentative and not await self._are_reached():
                    await self._give_up("the API server does not reach them")
                    return
                await guard.take_away(self._context.cluster)  # not before: something refuses all the time
            self._is_configured, self._said = True, ""
        except NotLeader:
            return
        except GroundplaneError as error:
            if self.is_tentative and not isinstance(error, Unavailable):
                await self._give_up(str(error))
            else:
                self._say(str(error))

    async def _are_reached(self) -> bool:
        for _ in range(TRIES):
            if await self._configurations.answered():
                return True
            await asyncio.sleep(SOON)
        return False

    def _say(self, text: str) -> None:
        """Once, until it is another problem."""
        if text != self._said and not self.is_tentative:
            log.error("webhooks can't be set up", error=text)
        self._said = text


def configured(webhooks: Sequence[Webhook], target: Target, context: Context) -> dict[str, list[dict[str, Any]]]:
    """The webhooks of each configuration, as they must be now: those that have something to be asked about."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in webhooks:
        configuration = found.setdefault(each.configuration, [])
        if rules := each.rules(context):
            configuration.append(
                entry(
                    each.full_name,
                    target.client(each.path),
                    rules,
                    failure_policy=each.failure_policy,
                    timeout=each.timeout,
                    object_selector=each.object_selector,
                    match_conditions=each.match_conditions,
                )
            )
    return found


def hosts(namespace: str, url: str = "") -> list[str]:
    """The names and addresses that the certificate is for."""
    service = f"{SERVICE}.{namespace}"
    found = [f"{service}.svc", service, SERVICE, f"{service}.svc.cluster.local"]
    if url:
        host = urlsplit(url).hostname or ""
        try:
            host = str(ip_address(host))
        except ValueError:
            host = host.lower()
        found.append(host)
    return found


def trying_out(api: Api) -> TryOut:
    """Have the API server judge an object that is applied, as the definition's reconciler applies it, without keeping it."""

    async def try_out(crd: Object) -> None:
        path = f"{CRDS_PATH}/{meta(crd)['name']}"
        query = {"fieldManager": definition.MANAGER, "force": "true", "dryRun": "All"}
        await api.request("PATCH", path, query=query, body=crd, content_type=APPLY_PATCH)

    return try_out
