"""What auto-ready calls ready."""

from __future__ import annotations

import pytest

from groundplane.core import cel
from groundplane.core.pipeline import Request, Resource, State
from groundplane.functions import auto_ready
from tests.functions.pipelines import asked


def condition(type_, status="True"):
    return {"type": type_, "status": status}


def obj(api_version, kind, *conditions, spec=None, generation=None, **status):
    if conditions:
        status["conditions"] = list(conditions)
    metadata = {} if generation is None else {"generation": generation}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec or {}, "status": status}


def managed(status="True"):
    return obj("s3.aws.upbound.io/v1beta1", "Bucket", condition("Ready", status))


def answer(desired, observed):
    composite = Resource({"kind": "X"})
    request = Request(
        State(composite, {name: Resource(found) for name, found in observed.items()}),
        State(composite, {name: Resource({"kind": "Y"}, ready=ready) for name, ready in desired.items()}),
        {"a": 1},
    )
    response = auto_ready.compile({})(request)
    assert response.context == {"a": 1}
    assert response.desired.composite == composite
    return {name: resource.ready for name, resource in response.desired.resources.items()}


def test_what_is_desired_and_exists_is_ready_when_it_says_so():
    observed = {"a": managed(), "b": managed("False"), "unwanted": managed()}
    assert answer({"a": None, "b": None, "new": None}, observed) == {"a": True, "b": None, "new": None}


def test_what_an_earlier_step_said_stays():
    assert answer({"a": False, "b": True}, {"a": managed(), "b": managed("False")}) == {"a": False, "b": True}


DEPLOYED = {"updatedReplicas": 3, "availableReplicas": 3}
STATEFUL = {"readyReplicas": 1, "currentReplicas": 1, "currentRevision": "a", "updateRevision": "a"}
DAEMON = {"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
JULY, AUGUST = "2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z"


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        (obj("v1", "ConfigMap"), True),
        (obj("v1", "Secret"), True),
        (obj("rbac.authorization.k8s.io/v1", "Role"), True),
        (obj("example.org/v1", "ConfigMap"), False),
        (obj("apps/v1", "Deployment", condition("Available"), spec={"replicas": 3}, **DEPLOYED), True),
        (obj("apps/v1", "Deployment", condition("Available"), **DEPLOYED), False),
        (obj("apps/v1", "Deployment", spec={"replicas": 3}, **DEPLOYED), False),
        (obj("apps/v1", "Deployment", condition("Available"), updatedReplicas=1, availableReplicas=1), True),
        (obj("apps/v1", "StatefulSet", **STATEFUL), True),
        (obj("apps/v1", "StatefulSet", **STATEFUL | {"updateRevision": "b"}), False),
        (obj("apps/v1", "StatefulSet", readyReplicas=1, currentReplicas=1), False),
        (obj("apps/v1", "DaemonSet", **DAEMON), True),
        (obj("apps/v1", "DaemonSet", **DAEMON | {"numberReady": 1}), False),
        (obj("apps/v1", "DaemonSet"), False),
        (obj("apps/v1", "ReplicaSet", generation=2, observedGeneration=2, availableReplicas=1), True),
        (obj("apps/v1", "ReplicaSet", generation=2, observedGeneration=1, availableReplicas=1), False),
        (
            obj(
                "apps/v1",
                "ReplicaSet",
                condition("ReplicaFailure"),
                generation=1,
                observedGeneration=1,
                availableReplicas=1,
            ),
            False,
        ),
        (obj("v1", "Pod", phase="Succeeded"), True),
        (obj("v1", "Pod", condition("Ready"), phase="Running"), True),
        (obj("v1", "Pod", condition("Ready"), spec={"restartPolicy": "Never"}, phase="Running"), False),
        (obj("v1", "Pod", phase="Pending"), False),
        (obj("v1", "PersistentVolumeClaim", phase="Bound"), True),
        (obj("v1", "PersistentVolumeClaim", phase="Pending"), False),
        (obj("v1", "Service", spec={"type": "ClusterIP"}), True),
        (obj("v1", "Service", spec={"type": "LoadBalancer"}, loadBalancer={}), False),
        (obj("v1", "Service", spec={"type": "LoadBalancer"}, loadBalancer={"ingress": [{"ip": "1.2.3.4"}]}), True),
        (obj("networking.k8s.io/v1", "Ingress", loadBalancer={"ingress": [{"ip": "1.2.3.4"}]}), True),
        (obj("networking.k8s.io/v1", "Ingress"), False),
        (obj("batch/v1", "Job", condition("Complete")), True),
        (obj("batch/v1", "Job", condition("Complete"), condition("Failed")), False),
        (obj("batch/v1", "Job"), False),
        (obj("batch/v1", "CronJob", spec={"suspend": True}), True),
        (obj("batch/v1", "CronJob"), False),
        (obj("batch/v1", "CronJob", lastScheduleTime=JULY, active=[{"name": "a"}]), True),
        (obj("batch/v1", "CronJob", lastScheduleTime=JULY, lastSuccessfulTime=AUGUST), True),
        (obj("batch/v1", "CronJob", lastScheduleTime=AUGUST, lastSuccessfulTime=JULY), False),
        (obj("autoscaling/v2", "HorizontalPodAutoscaler", condition("ScalingActive")), True),
        (
            obj("autoscaling/v2", "HorizontalPodAutoscaler", condition("FailedGetScale"), condition("ScalingActive")),
            False,
        ),
        (obj("autoscaling/v2", "HorizontalPodAutoscaler"), False),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else str(value),
)
def test_kinds_of_kubernetes_itself_are_judged_by_their_own_state(found, ready):
    assert auto_ready.is_ready(found) is ready


CONFIGURATION = {
    "apiVersion": "pkg.crossplane.io/v1",
    "kind": "Configuration",
    "status": {"conditions": [{"type": "Installed", "status": "True"}]},
}
INSTALLED = "object.status.conditions.exists(c, c.type == 'Installed' && c.status == 'True')"
KEY = "pkg.crossplane.io_v1_Configuration"


def judged(given, found=CONFIGURATION, context=None):
    answer = asked("auto-ready", given, {"x": found}, {"x": found}, context=context)
    return answer.desired.resources["x"].ready, answer.results


def test_a_check_in_cel_decides_either_way():
    assert judged({"celHealthCheckCustomization": {KEY: INSTALLED}}) == (True, [])
    assert judged({"celHealthCheckCustomization": {KEY: "false"}}) == (False, [])
    assert judged({"celHealthCheckCustomization": {"pkg_crossplane_io_v1_Configuration": "false"}}) == (None, [])


def test_checks_of_the_context_count_less_than_those_of_the_input():
    context = {"example.org/checks": {"mine": {KEY: INSTALLED, "other": 3}}}
    source = {"celHealthCheckCustomizationFrom": "[example.org/checks].mine"}
    assert judged(source, context=context) == (True, [])
    assert judged(source | {"celHealthCheckCustomization": {KEY: "false"}}, context=context) == (False, [])
    for elsewhere in ("nowhere", "[example.org/checks].mine.other", "."):
        assert judged({"celHealthCheckCustomizationFrom": elsewhere}, context=context) == (None, [])


@pytest.mark.parametrize("check", ["1 +", "object.nope.nope", "object.kind", "'x'", "observed == 1"])
def test_a_check_that_cannot_be_asked_is_a_warning_and_the_usual_one_decides(check):
    ready = {**CONFIGURATION, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    found, [result] = judged({"celHealthCheckCustomization": {KEY: check}}, ready)
    assert (found, result.severity) == (True, "Warning")
    assert result.message.startswith('health check of "x": ')


def test_a_check_of_a_secret_tells_nothing_of_it():
    found = {"apiVersion": "v1", "kind": "Secret", "data": {"p": "aHVudGVyMg=="}}
    _, [result] = judged({"celHealthCheckCustomization": {"_v1_Secret": "{'a': true}[string(object.data.p)]"}}, found)
    assert "no such key: …" in result.message


def test_numbers_in_checks_are_doubles():
    found = {"apiVersion": "v1", "kind": "X", "spec": {"n": 3}}
    assert judged({"celHealthCheckCustomization": {"_v1_X": "object.spec.n + 1.0 == 4.0"}}, found) == (True, [])


def test_a_time_to_live_is_asked_for_only_by_the_input():
    assert asked("auto-ready", {}).ttl == 0
    assert asked("auto-ready", {"ttl": "90s"}).ttl == 90


def test_a_mistake_is_told_with_its_place(monkeypatch):
    assert [problem.field for problem in auto_ready.check({"ttl": "1m", "tll": "1m"})] == ["tll"]
    assert [problem.field for problem in auto_ready.check({"ttl": "soon"})] == ["ttl"]
    monkeypatch.setattr(cel, "_library", lambda: None)
    [problem] = auto_ready.check({"celHealthCheckCustomization": {KEY: "true"}})
    assert (problem.field, "groundplane[cel]" in problem.mend) == ("celHealthCheckCustomization", True)
