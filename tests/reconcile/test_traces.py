"""Traces: one leads from a claim to the calls of AWS that it causes, and nothing of what is in an object is in it."""

import asyncio
import os
import sys
import threading
from contextlib import asynccontextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import StatusCode

from groundplane.aws import faults
from groundplane.aws.session import Sessions
from groundplane.core.objects import Key
from groundplane.errors import InvalidInput
from groundplane.runtime import tracing
from tests.reconcile import managed
from tests.reconcile.test_restore import PLATFORM, VERSION
from tests.world import manifests


class Collector:
    """What an OpenTelemetry collector was sent."""

    def __init__(self):
        self.spans, self.headers, self.about = [], [], {}

    async def answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.headers.append((lines[0], headers))
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.about |= attributes(each.resource)
            for scope in each.scope_spans:
                self.spans += scope.spans
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


def attributes(obj):
    return {each.key: each.value.string_value for each in obj.attributes}


@asynccontextmanager
async def collecting():
    collector = Collector()
    server = await asyncio.start_server(collector.answer, "127.0.0.1", 0)
    async with server:
        yield collector, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def sessions_of(traces):
    def told(service, operation, answer, error, seconds):
        traces.aws_call(service, operation, faults.outcome(answer, error), seconds, faults.request_id(answer))

    return Sessions(attempts=1, on_call=told)


async def test_a_trace_follows_a_claim_to_the_call_that_makes_its_database(aws, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    async with collecting() as (collector, url):
        traces = tracing.connected(url, 1.0, os.environ)
        world = await aws.world(sessions=sessions_of(traces))
        world.engine._traces, traces.peek = traces, world.cluster.peek
        for name in ("definition", "composition", "network"):
            await world.apply(*manifests(PLATFORM / f"{name}.yaml"))
            await world.settle()
        await world.apply(*manifests(PLATFORM / "examples/claim.yaml"))
        await world.settle(seconds=30)
        claim = await world.one(VERSION, "Database")
        await traces.stop()
    [made] = [each for each in collector.spans if each.name == "rds CreateDBInstance"]
    assert attributes(made)["aws.request_id"]
    by_id = {each.span_id: each for each in collector.spans}
    way = [made]
    while parent := way[-1].parent_span_id:
        way.append(by_id[parent])
    names = list(dict.fromkeys(each.name for each in way))
    assert names == ["rds CreateDBInstance", "managed", "composite", "claim"]
    assert {each.trace_id for each in way} == {made.trace_id}
    assert attributes(way[-1])["k8s.name"] == claim["metadata"]["name"]
    line, headers = collector.headers[0]
    assert line.startswith("POST /v1/traces ")
    assert headers["api-key"] == "hush"
    assert collector.about["service.name"] == "mine"
    text = str(collector.spans)
    [secret] = [o for o in world.objects() if o["kind"] == "Secret" and o["metadata"]["name"].endswith("-credentials")]
    assert not [value for name, value in managed.decoded(secret).items() if "password" in name and value in text]


KEY = Key("v1", "Thing", "", "t")


def worked(traces, key=KEY, lane="change", result="done"):
    with traces.reconcile("thing", key, lane) as told:
        told["result"] = result
        traces.aws_call("ec2", "CreateVpc", "success", 0.1, "")


def kept(ratio=1.0):
    """Traces, and what of them is kept."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(ParentBasedTraceIdRatio(ratio))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return tracing.Traces(provider), exporter


def test_polls_begin_traces_of_their_own_and_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(tracing, "REMEMBERED", 2)
    traces, exporter = kept()
    for lane in ("change", "change", "poll"):
        worked(traces, lane=lane)
    first, second, third = [each for each in exporter.get_finished_spans() if each.name == "thing"]
    assert (second.context.trace_id, second.parent.span_id) == (first.context.trace_id, first.context.span_id)
    assert third.context.trace_id != first.context.trace_id
    for name in "abc":
        worked(traces, KEY._replace(name=name))
    assert len(traces._last) == 2


def test_a_reconcile_that_fails_is_told_and_no_more_than_the_ratio_is_kept():
    traces, exporter = kept()
    worked(traces, result="error")
    [_, span] = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    traces, exporter = kept(ratio=0.0)
    worked(traces)
    worked(traces)
    assert not exporter.get_finished_spans()


async def test_a_collector_that_does_not_answer_keeps_nobody():
    answers = threading.Event()

    class Silent(SpanExporter):
        def export(self, spans):
            answers.wait()
            return SpanExportResult.SUCCESS

    traces = tracing.Traces(tracing._provider(Silent(), 1.0, {}))
    try:
        worked(traces)
        await traces.stop(0.01)
        assert all(each.daemon for each in threading.enumerate() if each.name == "traces")
    finally:
        answers.set()


def test_without_an_endpoint_there_are_none_and_the_environment_of_opentelemetry_counts(monkeypatch):
    assert type(tracing.connected("", 1.0, {})) is tracing.NoTraces
    assert type(tracing.connected("http://a", 1.0, {"OTEL_SDK_DISABLED": "true"})) is tracing.NoTraces
    for name in tracing.ENDPOINTS:
        assert tracing.are_wanted("", {name: "http://c"})
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(InvalidInput, match="not installed") as refused:
        tracing.connected("http://a", 1.0, {})
    assert "groundplane[traces]" in refused.value.mend
