"""Traces, for a collector that speaks OTLP: a claim's way through its composite and managed resources to the calls of AWS.

Each reconcile is a span; below it are its writes to the API server and its calls to AWS.  A reconcile goes on with the trace of whoever
made or changed its object a moment ago: the claim of a composite, the controller of a composed resource, or the object's own last one.
Polls begin traces of their own.  Spans hold names, kinds and outcomes, never what is in an object, nor an error's text.

Written as JSON of OTLP over HTTP by us: nothing to install, no thread, and nothing at all without an endpoint.
Source: opentelemetry-proto v1.5 (trace/v1), OTLP specification 1.5 for paths, headers and what is worth another try.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import aiohttp
import orjson

from groundplane import __version__
from groundplane.core.objects import Key, Object, controller_of, key_of, spec_of
from groundplane.core.turns import Lane
from groundplane.runtime import logs, metrics

JOIN = 60.0  # seconds after its end in which others go on with a span
LONGEST = 600.0  # seconds that a trace goes on at most: who never rests begins anew
REMEMBERED = 10_000  # objects whose last span is known
HELD = 4_096  # spans that wait to be sent; more are dropped
BATCH = 512  # spans in one request
EVERY = 5.0  # seconds between two requests
PATIENCE = 10.0  # seconds for one
WRITES = frozenset({"create", "update", "patch", "apply", "delete"})
INTERNAL, CLIENT = 1, 3  # kinds of spans
FAILED = 2  # code of a status

Place = tuple[str, str, str]  # kind, namespace, name

log = logs.get_logger(__name__)


@dataclass
class Span:
    """One piece of work."""

    trace: str  # 32 hex digits
    id: str  # 16 hex digits
    parent: str  # "": none
    name: str
    kind: int
    begun: int  # nanoseconds since 1970
    ended: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    has_failed: bool = False


@dataclass(frozen=True)
class _Last:
    """Where others go on."""

    span: Span
    ended: float  # by a clock that nobody sets
    since: float  # when its trace began


_current: ContextVar[Span | None] = ContextVar("span", default=None)


class NoTraces:
    """Nobody wants any."""

    peek: Callable[[Key], Object | None] = staticmethod(lambda key: None)  # what is known of an object

    @contextmanager
    def reconcile(self, controller: str, key: Key, lane: Lane) -> Iterator[dict[str, str]]:
        """One reconcile; what is put into the dictionary is told of it: `outcome`, and `result`."""
        yield {}

    def aws_call(self, service: str, operation: str, outcome: str, seconds: float, request: str) -> None:
        """A call to AWS has ended, in the context of who wanted it, on whichever thread."""

    def api_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """A request to the API server has ended, in the context of who made it."""

    async def run(self) -> None:
        """Send what has ended, until cancelled."""

    async def flush(self, seconds: float = PATIENCE) -> None:
        """Send all there is; what can't be sent is dropped, for its place is needed."""


class Traces(NoTraces):
    """Spans of this process, sent by `run`."""

    def __init__(
        self,
        url: str,
        *,
        ratio: float = 1.0,
        headers: Mapping[str, str] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """`ratio` of the traces are kept.  `about` is told of the process; `headers` go with each request, and may be secret."""
        self._url, self._ratio, self._headers = url, ratio, dict(headers or {})
        self._about = {"service.name": "groundplane", "service.version": __version__, **(about or {})}
        self._last: OrderedDict[Place, _Last] = OrderedDict()
        self._held: deque[Span] = deque()
        self._is_lost = False  # the collector does not answer, and that was told

    @contextmanager
    def reconcile(self, controller: str, key: Key, lane: Lane) -> Iterator[dict[str, str]]:
        now = time.monotonic()
        before = None if lane == "poll" else self._goes_on(key, now)
        if before:
            span = _begin(controller, INTERNAL, before.span)
        elif random.random() < self._ratio:
            span = _begin(controller, INTERNAL, None)
        else:
            yield {}
            return
        token = _current.set(span)
        try:
            yield span.facts
        finally:
            _current.reset(token)
            span.facts |= {"k8s.kind": key.kind, "k8s.namespace.name": key.namespace, "k8s.name": key.name}
            span.facts["lane"] = lane
            span.has_failed = span.facts.get("result") == "error"
            self._end(span)
            self._last[key[1:]] = _Last(span, time.monotonic(), before.since if before else now)
            self._last.move_to_end(key[1:])
            if len(self._last) > REMEMBERED:
                self._last.popitem(last=False)

    def aws_call(self, service: str, operation: str, outcome: str, seconds: float, request: str) -> None:
        facts = {"rpc.system": "aws-api", "rpc.service": service, "rpc.method": operation, "aws.request_id": request}
        self._ended(f"{service} {operation}", {**facts, "outcome": outcome}, seconds, failed=outcome != "success")

    def api_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        if verb in WRITES:
            facts = {"k8s.verb": verb, "k8s.resource": resource, "http.response.status_code": str(code)}
            self._ended(f"{verb} {resource}", facts, seconds, failed=not 200 <= code < 400)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self, seconds: float = PATIENCE) -> None:
        while self._held:
            batch = [self._held.popleft() for _ in range(min(BATCH, len(self._held)))]
            problem = await self._send(batch, seconds)
            metrics.spans.labels(result="dropped" if problem else "sent").inc(len(batch))
            if problem and not self._is_lost:
                log.warning("traces can't be sent", server=self._url, why=problem, mend="look after the collector")
            self._is_lost = bool(problem)
            if problem:
                return

    # --- inside ----------------------------------------------------------------------------------------------

    def _goes_on(self, key: Key, now: float) -> _Last | None:
        """The span that a reconcile of an object follows."""
        obj = self.peek(key)
        for place in [*(_makers(obj) if obj else ()), key[1:]]:
            last = self._last.get(place)
            if last and now - last.ended < JOIN and now - last.since < LONGEST:
                return last
        return None

    def _ended(self, name: str, facts: dict[str, str], seconds: float, *, failed: bool) -> None:
        parent = _current.get()
        if parent is None:
            return
        span = _begin(name, CLIENT, parent)
        span.begun -= int(seconds * 1e9)
        span.facts, span.has_failed = facts, failed
        self._end(span)

    def _end(self, span: Span) -> None:
        span.ended = max(time.time_ns(), span.begun)
        if len(self._held) >= HELD:
            metrics.spans.labels(result="dropped").inc()
            return
        self._held.append(span)  # also from threads that call AWS

    async def _send(self, spans: list[Span], seconds: float) -> str:
        """Why they could not be sent; "" if they were."""
        body = orjson.dumps(written(spans, self._about))
        headers = {"Content-Type": "application/json", **self._headers}
        try:
            timeout = aiohttp.ClientTimeout(total=seconds)
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.post(self._url, data=body, headers=headers) as answer,
            ):
                return "" if answer.ok else f"HTTP {answer.status}"
        except TimeoutError:
            return "no answer in time"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__


def _begin(name: str, kind: int, parent: Span | None) -> Span:
    trace = parent.trace if parent else f"{random.getrandbits(128) or 1:032x}"
    return Span(trace, f"{random.getrandbits(64) or 1:016x}", parent.id if parent else "", name, kind, time.time_ns())


def _makers(obj: Object) -> list[Place]:
    """Who makes an object: a composite's claim, and whoever controls it."""
    found = []
    claim = spec_of(obj).get("claimRef")
    if isinstance(claim, Mapping):
        found.append((str(claim.get("kind")), str(claim.get("namespace") or ""), str(claim.get("name"))))
    if owner := controller_of(obj):
        kind, name = str(owner.get("kind")), str(owner.get("name"))
        namespace = key_of(obj).namespace
        found += [(kind, namespace, name)] + ([(kind, "", name)] if namespace else [])
    return found


def written(spans: list[Span], about: Mapping[str, str]) -> dict[str, Any]:
    """Spans as a request of OTLP has them."""
    told = [
        {
            "traceId": span.trace,
            "spanId": span.id,
            **({"parentSpanId": span.parent} if span.parent else {}),
            "name": span.name,
            "kind": span.kind,
            "startTimeUnixNano": str(span.begun),
            "endTimeUnixNano": str(span.ended),
            "attributes": _attributes(span.facts),
            "status": {"code": FAILED} if span.has_failed else {},
        }
        for span in spans
    ]
    scope = {"name": "groundplane", "version": __version__}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(about)},
                "scopeSpans": [{"scope": scope, "spans": told}],
            }
        ]
    }


def _attributes(facts: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in sorted(facts.items()) if value]


def endpoint(setting: str, environ: Mapping[str, str]) -> str:
    """Where traces go; "" for nowhere.

    >>> endpoint("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"})
    'http://collector:4318/v1/traces'
    """
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    if own := environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "") if not setting else "":
        return own
    base = setting or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return f"{base.rstrip('/')}/v1/traces" if base else ""


def pairs(text: str) -> dict[str, str]:
    """A list as OpenTelemetry's variables have it.

    >>> pairs("api-key=a%20b, x=1")
    {'api-key': 'a b', 'x': '1'}
    """
    found = (each.partition("=") for each in text.split(",") if "=" in each)
    return {name.strip(): unquote(value.strip()) for name, _, value in found}


def connected(setting: str, ratio: float, environ: Mapping[str, str]) -> NoTraces:
    """Traces as the setting and OpenTelemetry's environment want them."""
    url = endpoint(setting, environ)
    if not url:
        return NoTraces()
    headers = pairs(environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")) | pairs(
        environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "")
    )
    about = pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    if name := environ.get("OTEL_SERVICE_NAME"):
        about["service.name"] = name
    return Traces(url, ratio=ratio, headers=headers, about=about)
