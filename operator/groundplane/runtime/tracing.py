"""Traces, for a collector that speaks OTLP: a claim's way through its composite and managed resources to the calls of AWS.

Each reconcile is a span; below it are its writes to the API server and its calls to AWS.  A reconcile goes on with the trace of whoever
made or changed its object a moment ago: the claim of a composite, the controller of a composed resource, or the object's own last one.
Polls begin traces of their own.  Spans hold names, kinds and outcomes, never what is in an object, nor an error's text.

OpenTelemetry's SDK (the extra `traces`) batches and sends them on a thread of its own, and is imported only where there is an endpoint.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from groundplane import __version__
from groundplane.core.objects import Key, Object, controller_of, key_of, spec_of
from groundplane.core.turns import Lane
from groundplane.errors import InvalidInput

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

JOIN = 60.0  # seconds after its end in which others go on with a span
LONGEST = 600.0  # seconds that a trace goes on at most: who never rests begins anew
REMEMBERED = 10_000  # objects whose last span is known
PATIENCE = 10.0  # seconds for what is left to be sent at the end
WRITES = frozenset({"create", "update", "patch", "apply", "delete"})
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")  # of OpenTelemetry's environment

Place = tuple[str, str, str]  # kind, namespace, name


@dataclass(frozen=True)
class _Last:
    """Where others go on."""

    span: SpanContext
    ended: float  # by a clock that nobody sets
    since: float  # when its trace began


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

    async def stop(self, seconds: float = PATIENCE) -> None:
        """Send what is left, as far as that time allows."""


class Traces(NoTraces):
    """Spans of this process, sent by the provider's processor."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace

        self._api, self._provider = trace, provider
        self._tracer = provider.get_tracer("groundplane", __version__)
        self._last: OrderedDict[Place, _Last] = OrderedDict()

    @contextmanager
    def reconcile(self, controller: str, key: Key, lane: Lane) -> Iterator[dict[str, str]]:
        from opentelemetry.context import Context

        now = time.monotonic()
        before = None if lane == "poll" else self._goes_on(key, now)
        context = Context()
        if before:
            context = self._api.set_span_in_context(self._api.NonRecordingSpan(before.span), context)
        facts: dict[str, str] = {}
        with self._tracer.start_as_current_span(
            controller, context, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield facts
            finally:
                about = {"k8s.kind": key.kind, "k8s.namespace.name": key.namespace, "k8s.name": key.name, "lane": lane}
                span.set_attributes({name: value for name, value in (facts | about).items() if value})
                if facts.get("result") == "error":
                    span.set_status(self._api.StatusCode.ERROR)
        self._last[key[1:]] = _Last(span.get_span_context(), time.monotonic(), before.since if before else now)
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

    async def stop(self, seconds: float = PATIENCE) -> None:
        # On a thread that nobody waits for: a collector that does not answer must not keep the process.
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, seconds)

    # --- inside ----------------------------------------------------------------------------------------------

    def _goes_on(self, key: Key, now: float) -> _Last | None:
        """The span that a reconcile of an object follows."""
        obj = self.peek(key)
        for place in [*(_makers(obj) if obj else ()), key[1:]]:
            last = self._last.get(place)
            if last and now - last.ended < JOIN and now - last.since < LONGEST:
                return last
        return None

    def _ended(self, name: str, facts: Mapping[str, str], seconds: float, *, failed: bool) -> None:
        if not self._api.get_current_span().is_recording():
            return
        now = time.time_ns()
        span = self._tracer.start_span(
            name,
            kind=self._api.SpanKind.CLIENT,
            attributes={name: value for name, value in facts.items() if value},
            start_time=now - int(seconds * 1e9),
        )
        if failed:
            span.set_status(self._api.StatusCode.ERROR)
        span.end(now)


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


def are_wanted(setting: str, environ: Mapping[str, str]) -> bool:
    """Whether an endpoint is named, here or in OpenTelemetry's environment."""
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not is_off and bool(setting or any(environ.get(name) for name in ENDPOINTS))


def connected(setting: str, ratio: float, environ: Mapping[str, str]) -> NoTraces:
    """Traces as the setting and OpenTelemetry's environment want them.  `ratio` of them are kept.

    Raises:
        InvalidInput: they are wanted, and the extra `traces` is not there.
    """
    if not are_wanted(setting, environ):
        return NoTraces()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise InvalidInput(
            "traces need OpenTelemetry's SDK, which is not installed",
            mend="pip install 'groundplane[traces]', or leave out --trace-endpoint and $OTEL_EXPORTER_OTLP_ENDPOINT",
        ) from error
    exporter = OTLPSpanExporter(endpoint=f"{setting.rstrip('/')}/v1/traces" if setting else None)
    return Traces(_provider(exporter, ratio, environ))


def _provider(exporter: SpanExporter, ratio: float, environ: Mapping[str, str]) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    is_named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    about = {"service.version": __version__} | ({} if is_named else {"service.name": "groundplane"})
    sampler = ParentBasedTraceIdRatio(ratio)
    provider = TracerProvider(sampler, Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
