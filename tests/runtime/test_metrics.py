"""Every metric is explained, has a unit in its name where it has one, and no label that grows with the cluster."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from groundplane import errors
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.session import ATTEMPTS
from groundplane.core.objects import Key
from groundplane.ports import Account, Result
from groundplane.runtime import metrics
from groundplane.runtime.engine import Controller, Engine
from tests.standin import REGION
from tests.world import World

PREFIXES = (
    "groundplane_",
    "workqueue_",
    "engine_",
    "leader_election_",
    "controller_runtime_reconcile",
    "crossplane_managed_resource_",
    "upjet_resource_",
)
DECLARED = [metric for metric in vars(metrics).values() if type(metric).__module__ == "prometheus_client.metrics"]


def test_there_are_metrics():
    assert len(DECLARED) > 15


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric._name)
def test_a_metric_is_explained_registered_and_bounded(metric):
    assert metric._documentation.endswith(".")
    assert metric._name.startswith(PREFIXES)
    assert not {"namespace", "key", "object", "uid"} & set(metric._labelnames)
    assert [found for found in metrics.registry.collect() if found.name == metric._name]
    if metric._type == "histogram":
        assert metric._name.endswith("_seconds")


def test_a_request_is_counted_by_verb_resource_and_code():
    labels = {"verb": "get", "resource": "tests.example.org", "code": "404"}
    metrics.request_made("get", "tests.example.org", 404, 0.02)
    metrics.request_made("get", "tests.example.org", 404, 0.02)
    assert metrics.registry.get_sample_value("groundplane_api_requests_total", labels) == 2


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
