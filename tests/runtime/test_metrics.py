"""Every metric is explained, has a unit in its name where it has one, and no label that grows with the cluster."""

from __future__ import annotations

import re

import pytest
from botocore.exceptions import ClientError
from prometheus_client import generate_latest

from groundplane import errors
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.sdk import ATTEMPTS
from groundplane.core import pipeline
from groundplane.core.objects import Key
from groundplane.ports import Account, Result
from groundplane.runtime import metrics
from groundplane.runtime.engine import Controller, Engine
from groundplane.runtime.leader import Gate
from tests.standin import REGION
from tests.world import World

PREFIXES = (
    "groundplane_",
    "workqueue_",
    "engine_",
    "leader_election_",
    "controller_runtime_",
    "crossplane_managed_resource_",
    "upjet_resource_",
    "rest_client_",
    "function_run_function_",
    "circuit_breaker_",
)
# Labels whose values grow with kinds, functions, AWS's operations or our own words, never with objects, tenants or requests.
BOUNDED = {
    "version",
    "controller",
    "outcome",
    "result",
    "group",
    "kind",
    "ready",
    "state",
    "gvk",
    "service",
    "operation",
    "name",
    "type",
    "verb",
    "resource",
    "code",
    "host",
    "method",
    "function_name",
    "function_package",
    "grpc_target",
    "grpc_method",
    "grpc_code",
    "result_severity",
    "webhook",
}
DECLARED = [metric for metric in vars(metrics).values() if type(metric).__module__ == "prometheus_client.metrics"]


def test_there_are_metrics():
    assert len(DECLARED) > 15


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric._name)
def test_a_metric_is_explained_registered_and_bounded(metric):
    assert metric._documentation.endswith(".")
    assert metric._name.startswith(PREFIXES)
    assert set(metric._labelnames) <= BOUNDED
    assert [found for found in metrics.registry.collect() if found.name == metric._name]
    if metric._type == "histogram":
        assert metric._name.endswith(("_seconds", "upjet_resource_ttr", "upjet_resource_ext_api_duration"))


def test_a_request_is_counted_by_verb_resource_and_code():
    labels = {"verb": "get", "resource": "tests.example.org", "code": "404"}
    for verb in ("get", "get", "list"):
        metrics.request_made("a:443", verb, "tests.example.org", 404, 0.02)
    assert metrics.registry.get_sample_value("groundplane_api_requests_total", labels) == 2
    labels = {"code": "404", "host": "a:443", "method": "GET"}
    assert metrics.registry.get_sample_value("rest_client_requests_total", labels) == 3


def calls(operation, outcome):
    labels = {"service": "ec2", "operation": operation, "outcome": outcome}
    return metrics.registry.get_sample_value("groundplane_aws_calls_total", labels) or 0


def test_calls_to_aws_are_counted_once_each_by_how_they_ended(standin):
    endpoint = {"url": {"type": "Static", "static": standin.url}, "hostnameImmutable": True}
    spec = {"credentials": {"source": "None"}, "endpoint": endpoint}
    cloud = AwsCloud(on_call=metrics.aws_call_made)
    ec2 = cloud._sessions.clients(Account({"metadata": {"name": "default"}, "spec": spec})).client("ec2", REGION)
    outcomes = ("success", "not_found", "throttled", "denied")
    before = [calls("DescribeVpcs", outcome) for outcome in outcomes]
    ec2.describe_vpcs()
    with pytest.raises(ClientError):
        ec2.describe_vpcs(VpcIds=["vpc-00000000"])
    for code, status, times in (("RequestLimitExceeded", 503, ATTEMPTS), ("UnauthorizedOperation", 403, 1)):
        standin.fail("ec2", "DescribeVpcs", code, status=status, times=times)  # botocore repeats: still one call
        with pytest.raises(ClientError):
            ec2.describe_vpcs()
    after = [calls("DescribeVpcs", outcome) for outcome in outcomes]
    assert [new - old for old, new in zip(before, after, strict=True)] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "raised, result, is_internal",
    [
        (None, "success", False),
        (errors.Waiting("early"), "requeue", False),
        (errors.InvalidInput("wrong"), "error", False),
        (KeyError("ours"), "error", True),
    ],
)
async def test_a_reconcile_is_counted_under_the_controllers_name_that_upstream_has_for_its_kind(
    raised, result, is_internal
):
    async def reconcile(key, context):
        if raised:
            raise raised
        return Result()

    name = f"managed/metrics.example.org/v1, kind=thing{result}{is_internal}".lower()
    engine = Engine([Controller("managed", reconcile, lambda key, context: "test", "Failed")], World().context)
    internal = "groundplane_internal_errors_total"
    before = metrics.registry.get_sample_value(internal, {"controller": "managed"}) or 0
    await engine.process("managed", Key("metrics.example.org/v1", f"Thing{result}{is_internal}", "", "a"))
    labels = {"controller": name, "result": result}
    assert metrics.registry.get_sample_value("controller_runtime_reconcile_total", labels) == 1
    failed = metrics.registry.get_sample_value("controller_runtime_reconcile_errors_total", {"controller": name})
    assert failed == (1 if result == "error" else None)
    after = metrics.registry.get_sample_value(internal, {"controller": "managed"}) or 0
    assert after - before == is_internal


def step(name, *severities, fails=False):
    def run(request):
        if fails:
            raise errors.InvalidInput("no")
        return pipeline.passed_on(request, *(pipeline.Result(severity, "said") for severity in severities))

    return metrics.measured(pipeline.Step("step", name, run), "xpkg.example.org/fn:v1")


def runs(name, code, severity):
    about = {"function_name": name, "function_package": "xpkg.example.org/fn:v1", "grpc_target": "in-process"}
    labels = {**about, "grpc_method": "RunFunction", "grpc_code": code, "result_severity": severity}
    return metrics.registry.get_sample_value("function_run_function_seconds_count", labels)


def test_a_functions_runs_are_counted_by_the_worst_that_they_said():
    request = pipeline.Request(pipeline.State(pipeline.Resource({})), pipeline.State(pipeline.Resource({})))
    step("fn-a", "Normal", "Warning").run(request)
    step("fn-a").run(request)
    with pytest.raises(errors.InvalidInput):
        step("fn-a", fails=True).run(request)
    assert [runs("fn-a", *of) for of in (("OK", "Warning"), ("OK", "Normal"), ("Unknown", "Fatal"))] == [1, 1, 1]


def test_what_v2_renamed_is_there_by_the_names_of_v1_too():
    request = pipeline.Request(pipeline.State(pipeline.Resource({})), pipeline.State(pipeline.Resource({})))
    step("fn-v1").run(request)
    metrics.watches_started.labels(controller="shared", type="Dependency").inc()
    metrics.watches_started.labels(controller="composite/x", type="CompositeResource").inc()
    text = generate_latest(metrics.registry).decode().splitlines()

    def told(*prefixes):
        return [line for line in text if line.startswith(prefixes)]

    now = told("function_run_function_", "engine_")
    assert [line for line in now if "_bucket{" in line]
    renamed = [
        re.sub("^(function|engine)_", "composition_", line).replace('"Dependency"', '"ComposedResource"')
        for line in now
    ]
    assert sorted(told("composition_")) == sorted(renamed)
    assert "# TYPE composition_run_function_seconds histogram" in text
    assert "# TYPE composition_watches_started_total counter" in text


def test_functions_with_ever_new_names_make_no_endless_number_of_series(monkeypatch):
    monkeypatch.setattr(metrics, "_functions", set())
    before = len(metrics.function_requests.collect()[0].samples)
    for number in range(10 * metrics.FUNCTIONS):
        step(f"made-up-{number}")
    assert len(metrics.function_requests.collect()[0].samples) - before <= metrics.FUNCTIONS + 1


@pytest.mark.parametrize(
    "file, text, limit",
    [
        ("memory.max", "268435456\n", 268435456),
        ("memory.max", "max\n", 0),
        ("memory/memory.limit_in_bytes", "1048576\n", 1048576),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", 0),
        ("other", "", 0),
    ],
)
def test_the_limit_of_memory_is_the_control_groups(tmp_path, file, text, limit):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert metrics.limit_of_memory(tmp_path) == limit


def test_calls_of_functions_elsewhere_are_told_by_place_and_have_the_same_bound(monkeypatch):
    monkeypatch.setattr(metrics, "_functions", set())

    def told():
        return len(metrics.function_responses.collect()[0].samples)

    before = told()
    for number in range(10 * metrics.FUNCTIONS):
        where = pipeline.Remote(f"remote-{number}", pipeline.Endpoint(f"dns:///f{number}.ns:9443"), "example.org/f:v1")
        metrics.function_called(where, where.endpoint.target, "v1/RunFunction", "OK", "Normal", 0.1)
    assert told() - before <= 2 * (metrics.FUNCTIONS + 1)  # a counter has a second sample, when it began


def test_polls_that_begin_late_are_measured_by_controller_and_those_of_managed_resources_by_kind():
    metrics.polled("managed", Key("late.example.org/v1", "Thing", "", "a"), 45)
    labels = {"group": "late.example.org", "version": "v1", "kind": "Thing"}
    assert metrics.registry.get_sample_value("upjet_resource_reconcile_delay_seconds_sum", labels) == 45


def test_a_write_that_the_gate_refuses_is_counted():
    sample = metrics.registry.get_sample_value
    before = sample("groundplane_gate_refusals_total")
    with pytest.raises(errors.NotLeader):
        Gate().check()
    Gate(is_open=True).check()
    assert sample("groundplane_gate_refusals_total") == before + 1
