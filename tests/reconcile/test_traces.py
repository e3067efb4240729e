"""Traces: one leads from a claim to the calls of AWS that it causes, and nothing of what is in an object is in it."""

import asyncio
import json
from contextlib import asynccontextmanager

from groundplane.aws import faults
from groundplane.aws.session import Sessions
from groundplane.core.objects import Key
from groundplane.runtime import metrics, tracing
from tests.reconcile import managed
from tests.reconcile.test_restore import PLATFORM, VERSION
from tests.world import manifests


class Collector:
    """What an OpenTelemetry collector was sent."""

    def __init__(self):
        self.spans, self.headers, self.about, self.status = [], [], {}, 200

    async def answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.headers.append((lines[0], headers))
        for each in body["resourceSpans"]:
            self.about |= attributes(each["resource"])
            for scope in each["scopeSpans"]:
                self.spans += scope["spans"]
        writer.write(f"HTTP/1.1 {self.status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


def attributes(obj):
    return {each["key"]: each["value"]["stringValue"] for each in obj["attributes"]}


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


async def test_a_trace_follows_a_claim_to_the_call_that_makes_its_database(aws):
    async with collecting() as (collector, url):
        traces = tracing.connected(
            url, 1.0, {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=hush", "OTEL_SERVICE_NAME": "mine"}
        )
        world = await aws.world(sessions=sessions_of(traces))
        world.engine._traces, traces.peek = traces, world.cluster.peek
        for name in ("definition", "composition", "network"):
            await world.apply(*manifests(PLATFORM / f"{name}.yaml"))
            await world.settle()
        await world.apply(*manifests(PLATFORM / "examples/claim.yaml"))
        await world.settle(seconds=30)
        claim = await world.one(VERSION, "Database")
        await traces.flush()
    [made] = [each for each in collector.spans if each["name"] == "rds CreateDBInstance"]
    assert attributes(made)["aws.request_id"]
    by_id = {each["spanId"]: each for each in collector.spans}
    way = [made]
    while parent := way[-1].get("parentSpanId"):
        way.append(by_id[parent])
    assert list(dict.fromkeys(each["name"] for each in way)) == [
        "rds CreateDBInstance",
        "managed",
        "composite",
        "claim",
    ]
    assert {each["traceId"] for each in way} == {made["traceId"]}
    assert attributes(way[-1])["k8s.name"] == claim["metadata"]["name"]
    line, headers = collector.headers[0]
    assert line.startswith("POST /v1/traces ")
    assert headers["api-key"] == "hush"
    assert collector.about["service.name"] == "mine"
    text = json.dumps(collector.spans)
    [secret] = [o for o in world.objects() if o["kind"] == "Secret" and o["metadata"]["name"].endswith("-credentials")]
    assert not [value for name, value in managed.decoded(secret).items() if "password" in name and value in text]


KEY = Key("v1", "Thing", "", "t")


def worked(traces, key=KEY, lane="change"):
    with traces.reconcile("thing", key, lane) as told:
        told["outcome"] = "success"


async def test_a_collector_that_fails_costs_spans_and_nothing_else():
    def dropped():
        return metrics.spans.labels(result="dropped")._value.get()

    async with collecting() as (collector, url):
        traces, before = tracing.Traces(url), dropped()
        collector.status = 503
        for _ in range(tracing.HELD + 10):
            worked(traces)
        assert dropped() == before + 10
        await traces.flush()
        assert dropped() == before + 10 + tracing.BATCH
        collector.status, collector.spans = 200, []
        await traces.flush()
        assert len(collector.spans) == tracing.HELD - tracing.BATCH
    worked(traces)
    await traces.flush()
    assert dropped() == before + 11 + tracing.BATCH


def test_polls_begin_traces_of_their_own_and_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(tracing, "REMEMBERED", 2)
    traces = tracing.Traces("http://127.0.0.1:9")
    for lane in ("change", "change", "poll"):
        worked(traces, lane=lane)
    first, second, third = traces._held
    assert (second.trace, second.parent) == (first.trace, first.id)
    assert third.trace != first.trace
    for name in "abc":
        worked(traces, KEY._replace(name=name))
    assert len(traces._last) == 2


def test_without_an_endpoint_there_are_none_and_the_environment_of_opentelemetry_counts():
    assert type(tracing.connected("", 1.0, {})) is tracing.NoTraces
    assert tracing.endpoint("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/own"}) == "http://c/own"
    assert tracing.endpoint("http://a", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}) == "http://a/v1/traces"
    assert tracing.endpoint("http://a", {"OTEL_SDK_DISABLED": "true"}) == ""
    traces = tracing.Traces("http://127.0.0.1:9", ratio=0.0)
    worked(traces)
    traces.aws_call("ec2", "CreateVpc", "success", 0.1, "")
    assert not traces._held
