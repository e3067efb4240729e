"""The operator as a process: its start, its probes, its end; and when it refuses to start."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.crds import crds as core_crds
from groundplane.core.objects import Key
from groundplane.runtime import preflight, rivals

NAMESPACE = "rivals"
# What dashboards and alerts of Crossplane, its providers and controller-runtime look for, and what the platform's do.
UPSTREAMS = """crossplane_managed_resource_exists crossplane_managed_resource_ready crossplane_managed_resource_synced
    crossplane_managed_resource_first_time_to_reconcile_seconds crossplane_managed_resource_first_time_to_readiness_seconds
    crossplane_managed_resource_deletion_seconds crossplane_managed_resource_drift_seconds upjet_resource_ttr
    upjet_resource_deletion_seconds upjet_resource_reconcile_delay_seconds upjet_resource_ext_api_duration
    upjet_resource_external_api_calls_total controller_runtime_reconcile_total controller_runtime_reconcile_errors_total
    controller_runtime_reconcile_time_seconds controller_runtime_active_workers
    controller_runtime_max_concurrent_reconciles workqueue_depth workqueue_adds_total workqueue_queue_duration_seconds
    workqueue_work_duration_seconds workqueue_unfinished_work_seconds workqueue_longest_running_processor_seconds
    workqueue_retries_total rest_client_requests_total leader_election_master_status engine_controllers_started_total
    engine_controllers_stopped_total engine_watches_started_total engine_watches_stopped_total
    function_run_function_request_total function_run_function_response_total function_run_function_seconds
    process_resident_memory_bytes"""
OURS = """groundplane_claims groundplane_claim_ready_seconds groundplane_claim_namespaces groundplane_composites
    groundplane_aws_calls_total groundplane_aws_call_seconds groundplane_aws_throttles_total
    groundplane_aws_budget_wait_seconds groundplane_crds groundplane_gate_refusals_total
    groundplane_lease_transitions_total"""


@pytest.fixture
def started(control_plane, tmp_path):
    """Start `groundplane run`; it is killed at the end if it still runs."""
    processes = []
    log = tmp_path / "operator.log"

    def start(*args, user="operator"):
        command = [sys.executable, "-m", "groundplane.cli.main", "run", "--health-host", "127.0.0.1"]
        command += [
            "--health-port",
            "0",
            "--activations",
            "*.sqs.*",
        ]  # each kind costs the API server as much as the next
        command += ["--kubeconfig", str(control_plane.kubeconfig_of(user)), *args]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"}
            )
        processes.append(process)
        return process, log

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
async def cluster(control_plane):
    api = Api.connect(str(control_plane.kubeconfig))
    yield KubernetesCluster(api, Cache())
    await api.close()


@pytest.fixture
def rival(control_plane):
    """A Crossplane's Deployment, as its chart makes it, with so many ready replicas."""
    labels = {"app": "crossplane"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "crossplane", "image": "crossplane"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "crossplane", "namespace": NAMESPACE, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}

    def install(ready):
        control_plane.apply(namespace, deployment)
        status = f'{{"status":{{"replicas":1,"readyReplicas":{ready}}}}}'
        control_plane.kubectl(
            "patch", "deployment/crossplane", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", status
        )

    yield install
    control_plane.kubectl("delete", "deployment/crossplane", "-n", NAMESPACE, "--ignore-not-found")


def ask(log, path):
    """Status and text, once the log says at which port."""
    port = re.search(r"health_port=(\d+)", log.read_text())
    if not port:
        return 0, ""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


def test_it_starts_becomes_ready_and_ends_in_order_when_asked_to(control_plane, started):
    control_plane.apply(*core_crds())
    process, log = started("--namespace", "operator-home")
    control_plane.wait("it is ready", lambda: ask(log, "/readyz")[0] == 200)
    assert ask(log, "/livez")[0] == 200
    assert control_plane.get("namespace", "operator-home") is not None
    told = ask(log, "/metrics")[1]
    assert [name for name in UPSTREAMS.split() + OURS.split() if f"# TYPE {name} " not in told] == []
    labels = 'controller="managed",name="managed"'
    assert f"workqueue_depth{{{labels}}} 0.0" in told
    assert 'controller_runtime_max_concurrent_reconciles{controller="managed"} ' in told
    assert re.search(r'rest_client_requests_total\{code="200",host="[^"]+:\d+",method="GET"\} \d', told)
    control_plane.wait("it leads", lambda: "groundplane_lease_transitions_total 1.0" in ask(log, "/metrics")[1])
    assert re.search(
        r'groundplane_cached_objects\{kind="apiextensions.crossplane.io/v1, Kind=Composition"\} \d',
        told,
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    assert "stopping" in log.read_text()
    assert "ERROR" not in log.read_text()


def test_it_does_not_start_beside_a_live_crossplane_unless_forced(control_plane, started, rival):
    control_plane.apply(*core_crds())
    rival(ready=1)
    process, log = started()
    assert process.wait(120) == 1
    assert log.read_text().splitlines()[-1] == (
        "Error: a Crossplane is at work in this cluster: Deployment rivals/crossplane has ready replicas."
        " Mend: scale its Deployment to zero first (its objects stay), or start with --takeover-wait or --force."
    )
    process, log = started("--force")
    control_plane.wait("it is ready", lambda: ask(log, "/readyz")[0] == 200)


def test_without_the_right_to_list_it_ends_in_one_line_with_its_mend(started):
    process, log = started(user="nobody")
    assert process.wait(120) == 1
    assert log.read_text().splitlines()[-1] == (
        'Error: customresourcedefinitions.apiextensions.k8s.io is forbidden: User "nobody" cannot list resource'
        ' "customresourcedefinitions" in API group "apiextensions.k8s.io" at the cluster scope.'
        " Mend: grant it with a Role or ClusterRole."
    )
    assert "Traceback" not in log.read_text()


def test_with_a_token_that_nobody_accepts_it_ends_in_one_line_with_its_mend(control_plane, started, tmp_path):
    forged = control_plane.kubeconfig_of("operator").read_text().replace("operator-token", "forged-token")
    (tmp_path / "forged").write_text(forged)
    process, log = started("--kubeconfig", str(tmp_path / "forged"))
    assert process.wait(120) == 1
    assert log.read_text().splitlines()[-1] == (
        "Error: the API server does not accept our credentials. Mend: log in anew, or mend the kubeconfig."
    )
    assert "Traceback" not in log.read_text()
    assert "forged-token" not in log.read_text()


async def test_a_crossplane_that_is_scaled_to_zero_is_no_rival(cluster, rival):
    rival(ready=0)
    assert await rivals.rival(cluster, "crossplane-system") == ""


def lease(renewed):
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": preflight.LEASE, "namespace": NAMESPACE},
        "spec": {"holderIdentity": "crossplane-0", "leaseDurationSeconds": 60, "renewTime": renewed},
    }


async def test_a_lease_that_is_renewed_in_another_namespace_is_a_rival(control_plane, cluster):
    """The times that it names are years away from ours: they say nothing."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    control_plane.apply(namespace, lease("2001-01-01T00:00:00.000000Z"))
    looking = asyncio.create_task(rivals.rival(cluster, "crossplane-system"))
    try:
        for second in itertools.count():
            if looking.done():
                break
            await asyncio.to_thread(control_plane.apply, lease(f"2040-01-01T00:00:00.{second:06}Z"))
        assert await looking == f"Lease {NAMESPACE}/{preflight.LEASE} is renewed by crossplane-0"
    finally:
        control_plane.kubectl("delete", "lease", preflight.LEASE, "-n", NAMESPACE)


async def test_who_may_not_look_or_create_is_let_through(control_plane):
    api = Api.connect(str(control_plane.kubeconfig_of("nobody")))
    stranger = KubernetesCluster(api, Cache())
    assert await rivals.rival(stranger, "") == ""
    await preflight.ensure_namespace(stranger, "elsewhere")
    await api.close()
    assert control_plane.get("namespace", "elsewhere") is None


async def test_a_namespace_that_is_there_is_left_alone(cluster):
    before = await cluster.get(Key("v1", "Namespace", "", "kube-system"))
    await preflight.ensure_namespace(cluster, "kube-system")
    assert await cluster.get(Key("v1", "Namespace", "", "kube-system")) == before
