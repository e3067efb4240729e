"""Every metric there is, declared in one place.

Where upstream's dashboards look for a number under a name (client-go's `workqueue_*`, controller-runtime's, Crossplane's
`engine_*` and `crossplane_managed_resource_*`), that name is used; all else is `groundplane_*`.  What Crossplane v1 named otherwise than v2 is there
under both names.  Labels are kinds and results, never the names of objects.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import Metric

from groundplane import __version__
from groundplane.core.circuit import Admission
from groundplane.core.objects import Key
from groundplane.core.pipeline import Long, Remote, Request, Response, Step

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # seconds
SPARSE = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)  # seconds, where there are many series
SLOW = (1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)  # seconds, upstream's for readiness

METHODS = {
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "apply": "PATCH",
    "delete": "DELETE",
}  # of a verb; else GET
FUNCTIONS = 64  # functions that are told, each by name, package and place; most have one
_functions: set[tuple[str, str, str, str]] = set()

CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # bytes: what the older control groups say where there is no limit is more

disable_created_metrics()  # type: ignore[no-untyped-call]  # else a second series for each, with the time of its birth
registry = CollectorRegistry()
ProcessCollector(registry=registry)

FUNCTION = ("function_name", "function_package", "grpc_target", "grpc_method")
ANSWER = (*FUNCTION, "grpc_code", "result_severity")
GVK = ("group", "version", "kind")
QUEUE = ("name", "controller")  # the same twice: client-go's label and controller-runtime's


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=registry)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=registry)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=registry)


build = _gauge("groundplane_build_info", "Always 1; the label says which version runs.", "version")
build.labels(version=__version__).set(1)


def limit_of_memory(cgroups: Path = CGROUPS) -> int:
    """Bytes that this container may use, as its control group says (version 2, then 1); 0: as many as there are."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((cgroups / name).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
        return limit if limit < UNLIMITED else 0
    return 0


memory_limit = _gauge("groundplane_memory_limit_bytes", "Memory that the container may use; 0: no limit is set.")
memory_limit.set(limit_of_memory())

# --- reconciling

reconciles = _counter(
    "groundplane_reconciles_total",
    "Reconciles that ended, by controller and outcome: success, or the class of the error.",
    "controller",
    "outcome",
)
reconcile_seconds = _histogram(
    "groundplane_reconcile_seconds", "How long one reconcile took, waiting for others included.", FAST, "controller"
)

controller_reconciles = _counter(
    "controller_runtime_reconcile_total",
    "Reconciles by controller and result, as controller-runtime counts them: success, error, requeue, requeue_after.",
    "controller",
    "result",
)
controller_errors = _counter(
    "controller_runtime_reconcile_errors_total", "Reconciles that failed, by controller.", "controller"
)
controller_seconds = _histogram(
    "controller_runtime_reconcile_time_seconds",
    "How long one reconcile took, by controller, one for each kind.",
    SPARSE,
    "controller",
)
internal_errors = _counter(
    "groundplane_internal_errors_total", "Reconciles that met an error nobody meant: a fault of ours.", "controller"
)
active_workers = _gauge(
    "controller_runtime_active_workers", "Workers that have a key in hand, by controller.", "controller"
)
most_workers = _gauge(
    "controller_runtime_max_concurrent_reconciles", "Workers that there are, by controller.", "controller"
)
function_requests = _counter(
    "function_run_function_request_total", "Runs of a composition function that began.", *FUNCTION
)
function_responses = _counter(
    "function_run_function_response_total", "Runs that ended, by code and by the worst of their results.", *ANSWER
)
function_seconds = _histogram(
    "function_run_function_seconds", "How long a run of a composition function took.", FAST, *ANSWER
)

# --- what there is, counted as it changes; told by the leader alone, so that sums over replicas are right

claims = _gauge("groundplane_claims", "Claims by kind and by whether they are ready.", "group", "kind", "ready")
claim_namespaces = _gauge("groundplane_claim_namespaces", "Namespaces with claims of a kind.", "group", "kind")
claim_ready_seconds = _histogram(
    "groundplane_claim_ready_seconds",
    "From a claim's creation until it was ready for the first time: the time to provision.",
    SLOW,
    "group",
    "kind",
)
composites = _gauge(
    "groundplane_composites",
    "Composites by kind and state: ready, unready, or failing (Synced is False).",
    "group",
    "kind",
    "state",
)
managed_exists = _gauge("crossplane_managed_resource_exists", "Managed resources by kind.", "gvk")
managed_ready = _gauge("crossplane_managed_resource_ready", "Those with Ready=True.", "gvk")
managed_synced = _gauge("crossplane_managed_resource_synced", "Those with Synced=True.", "gvk")
managed_first_look = _histogram(
    "crossplane_managed_resource_first_time_to_reconcile_seconds",
    "From a managed resource's creation until its first look at the external resource was told.",
    SLOW,
    "gvk",
)
managed_first_ready = _histogram(
    "crossplane_managed_resource_first_time_to_readiness_seconds",
    "From a managed resource's creation until it was ready for the first time.",
    SLOW,
    "gvk",
)
managed_deletion = _histogram(
    "crossplane_managed_resource_deletion_seconds",
    "From a managed resource's deletion being asked for until it was gone.",
    SLOW,
    "gvk",
)
managed_drift = _histogram(
    "crossplane_managed_resource_drift_seconds",
    "When AWS was found to differ though nobody edited the object: since it was last found to be as wanted.",
    SLOW,
    "gvk",
)
upjet_ready = _histogram(
    "upjet_resource_ttr", "Seconds from creation until ready for the first time, by upjet's name.", SLOW, *GVK
)
upjet_deletion = _histogram(
    "upjet_resource_deletion_seconds", "From asking for deletion until it was gone, by upjet's name.", SLOW, *GVK
)
upjet_delay = _histogram(
    "upjet_resource_reconcile_delay_seconds", "How late polls of managed resources were, by upjet's name.", SLOW, *GVK
)
oldest_deletion = _gauge(
    "groundplane_oldest_deletion_seconds",
    "How long the claim, composite or managed resource of a kind that is being deleted for the longest has been so; 0: none is.",
    "gvk",
)
crds = _gauge(
    "groundplane_crds",
    "CustomResourceDefinitions that we bring, by state: served, missing, or outdated (served as an older version brought it).",
    "state",
)

# --- AWS

aws_calls = _counter(
    "groundplane_aws_calls_total",
    "Calls to AWS that ended, repeats not counted: success, throttled, denied, not_found, silent (no answer) or error.",
    "service",
    "operation",
    "outcome",
)
aws_seconds = _histogram(
    "groundplane_aws_call_seconds", "How long calls to AWS took, repeats included.", SPARSE, "service"
)
aws_throttles = _counter("groundplane_aws_throttles_total", "Calls that AWS throttled to the end.", "service")
budget_wait = _histogram(
    "groundplane_aws_budget_wait_seconds",
    "How long a call to AWS waited for its budget; refused ones count.",
    SPARSE,
    "service",
)
upjet_calls = _counter(
    "upjet_resource_external_api_calls_total",
    "Calls to AWS under the name that dashboards for upstream's provider look for.",
    "service",
    "operation",
)
upjet_seconds = _histogram(
    "upjet_resource_ext_api_duration", "Seconds that calls to AWS took, by upjet's name.", SPARSE, "operation"
)

# --- the queues, as client-go calls them

queue_depth = _gauge("workqueue_depth", "Keys that wait for a worker now.", *QUEUE)
queue_adds = _counter("workqueue_adds_total", "Additions, those that coalesced included.", *QUEUE)
queue_seconds = _histogram("workqueue_queue_duration_seconds", "How long a key waited for a worker.", FAST, *QUEUE)
work_seconds = _histogram("workqueue_work_duration_seconds", "How long a worker had a key in hand.", FAST, *QUEUE)
queue_retries = _counter("workqueue_retries_total", "Keys that came back because they failed.", *QUEUE)
unfinished_seconds = _gauge("workqueue_unfinished_work_seconds", "Age of all the work in hand now, summed up.", *QUEUE)
longest_seconds = _gauge("workqueue_longest_running_processor_seconds", "Age of the oldest work in hand now.", *QUEUE)
poll_late = _histogram(
    "groundplane_poll_late_seconds",
    "How late polls began: how long they waited for a worker when due.",
    SLOW,
    "controller",
)

# --- watching

controllers_started = _counter(
    "engine_controllers_started_total",
    "Controllers that a definition brought into being, by upstream's name of them.",
    "controller",
)
controllers_stopped = _counter("engine_controllers_stopped_total", "Those that ended with their kind.", "controller")
watches_started = _counter(
    "engine_watches_started_total",
    "Kinds that began to be followed: Claim, CompositeResource, Dependency, Metadata or Static; controller is shared where many use it.",
    "controller",
    "type",
)
watches_stopped = _counter("engine_watches_stopped_total", "Kinds that are followed no longer.", "controller", "type")
V1 = {
    renamed: "composition_" + renamed._name.partition("_")[2]
    for renamed in (
        *(function_requests, function_responses, function_seconds),
        *(controllers_started, controllers_stopped, watches_started, watches_stopped),
    )
}  # the names without `_total`
V1_TYPES = {"Dependency": "ComposedResource"}  # of a watch


class _AsInV1:
    """What v2 has renamed, once more, by v1's names: dashboards that were made for it find it."""

    def describe(self) -> Iterable[Metric]:
        return [Metric(name, renamed._documentation, renamed._type) for renamed, name in V1.items()]

    def collect(self) -> Iterator[Metric]:
        for renamed, name in V1.items():
            for found in renamed.collect():
                told = Metric(name, found.documentation, found.type)
                for sample in found.samples:
                    labels = sample.labels
                    if "type" in labels:
                        labels = labels | {"type": V1_TYPES.get(labels["type"], labels["type"])}
                    told.samples.append(
                        sample._replace(name=name + sample.name.removeprefix(found.name), labels=labels)
                    )
                yield told


registry.register(_AsInV1())
objects = _gauge("groundplane_cached_objects", "Objects in the cache, by the kinds that are followed.", "kind")
kopf_restarts = _counter("groundplane_kopf_restarts_total", "Times that kopf was started anew.")
kopf_deaths = _counter("groundplane_kopf_deaths_total", "Times that kopf ended without being asked.")
kopf_touches = _counter(
    "groundplane_kopf_touches_total",
    "CustomResourceDefinitions that were annotated because kopf had overlooked their kind.",
)

circuit_opens = _counter(
    "circuit_breaker_opens_total", "Composites that changed too often to be reconciled at each change.", "controller"
)
circuit_closes = _counter(
    "circuit_breaker_closes_total", "Those that are reconciled at each change again.", "controller"
)
circuit_events = _counter(
    "circuit_breaker_events_total",
    "Changes of what composites are made of, by somebody else: Allowed, or of an open circuit HalfOpenAllowed (reconciled now) or Dropped (with the next one).",
    "controller",
    "result",
)

# --- leadership, as controller-runtime calls it

leader = _gauge(
    "leader_election_master_status", "Whether this process may write now: 1 for the leader, 0 for a standby.", "name"
)
lease_transitions = _counter(
    "groundplane_lease_transitions_total", "Times that this process took the Lease from another or from nobody."
)
gate_refusals = _counter(
    "groundplane_gate_refusals_total", "Writes that were not made because another replica may be leading."
)

# --- the API server

requests = _counter(
    "groundplane_api_requests_total", "Requests to the API server; code 0: no answer came.", "verb", "resource", "code"
)
rest_requests = _counter(
    "rest_client_requests_total",
    "Requests to the API server as client-go counts them; code <error>: no answer came.",
    "code",
    "host",
    "method",
)
request_seconds = _histogram(
    "groundplane_api_request_seconds", "How long they took; of a watch, until its first byte.", FAST, "verb"
)
events = _counter(
    "groundplane_events_total",
    "Events by what became of them: posted, counted (a repeat), spam (too many of one object), overflow, failed.",
    "result",
)

# --- admission webhooks

admissions = _counter(
    "groundplane_admissions_total",
    "Admission requests, by webhook and outcome: allowed, warned (let in with warnings), refused, malformed, or failed (the failure policy decides).",
    "webhook",
    "outcome",
)
admission_seconds = _histogram(
    "groundplane_admission_seconds", "How long an answer to an admission request took.", FAST, "webhook"
)
certificate_expiry = _gauge(
    "groundplane_webhook_certificate_expiry_seconds",
    "When the webhooks' certificate ends, in seconds since 1970; 0: there are no webhooks.",
)

# --- the process

loop_lag = _histogram(
    "groundplane_loop_lag_seconds", "How late the event loop was, measured several times a second.", FAST
)


Result = Literal["success", "requeue", "requeue_after", "error"]


def reconciled(controller: str, result: Result, seconds: float) -> None:
    """Count a reconcile under upstream's names; `controller` is upstream's name of it."""
    controller_reconciles.labels(controller=controller, result=result).inc()
    controller_seconds.labels(controller=controller).observe(seconds)
    if result == "error":
        controller_errors.labels(controller=controller).inc()


def circuit_told(controller: str, admission: Admission) -> None:
    """Count a change that called for a composite's reconcile."""
    circuit_events.labels(controller=controller, result=admission.result).inc()
    if admission.turned == "opened":
        circuit_opens.labels(controller=controller).inc()
    elif admission.turned == "closed":
        circuit_closes.labels(controller=controller).inc()


def request_made(host: str, verb: str, resource: str, status: int, seconds: float) -> None:
    """Count one request to the API server at `host`; the rest as `cluster.client.Api(on_request=…)` tells it."""
    requests.labels(verb=verb, resource=resource, code=str(status)).inc()
    request_seconds.labels(verb=verb).observe(seconds)
    rest_requests.labels(code=str(status or "<error>"), host=host, method=METHODS.get(verb, "GET")).inc()


def admission_answered(webhook: str, outcome: str, seconds: float) -> None:
    """Count one admission request."""
    admissions.labels(webhook=webhook, outcome=outcome).inc()
    admission_seconds.labels(webhook=webhook).observe(seconds)


def aws_call_made(service: str, operation: str, outcome: str, seconds: float, _request: str = "") -> None:
    """Count one call, on whichever thread; fits `aws.cloud.AwsCloud(on_call=…)`."""
    aws_calls.labels(service=service, operation=operation, outcome=outcome).inc()
    aws_seconds.labels(service=service).observe(seconds)
    upjet_calls.labels(service=service, operation=operation).inc()
    upjet_seconds.labels(operation=operation).observe(seconds)
    if outcome == "throttled":
        aws_throttles.labels(service=service).inc()


def aws_call_waited(service: str, seconds: float) -> None:
    """Measure how long one waited for its budget; fits `aws.cloud.AwsCloud(on_wait=…)`."""
    budget_wait.labels(service=service).observe(seconds)


def polled(controller: str, key: Key, seconds: float) -> None:
    """Measure how late a poll began."""
    poll_late.labels(controller=controller).observe(seconds)
    if controller == "managed":
        upjet_delay.labels(*gvk(key.api_version, key.kind)).observe(seconds)


def gvk(api_version: str, kind: str) -> tuple[str, str, str]:
    """The values of upjet's labels."""
    group, _, version = api_version.rpartition("/")
    return group, version, kind


def measured(step: Step, image: str) -> Step:
    """The same step, whose runs in this process are counted."""
    if isinstance(step.run, Remote):
        return step  # counted where it is called
    about, run = _function(step.function, image, "in-process", "RunFunction"), step.run
    began = function_requests.labels(*about)

    def measuring(request: Request) -> Response:
        begun, code, severity = time.perf_counter(), "Unknown", "Fatal"
        try:
            response = run(request)
            code, told = "OK", {result.severity for result in response.results}
            severity = next((each for each in ("Fatal", "Warning") if each in told), "Normal")
            return response
        except Long:
            code = ""  # it is asked again
            raise
        finally:
            if code:
                began.inc()
                function_responses.labels(*about, code, severity).inc()
                function_seconds.labels(*about, code, severity).observe(time.perf_counter() - begun)

    return replace(step, run=measuring)


def function_called(remote: Remote, target: str, method: str, code: str, severity: str, seconds: float) -> None:
    """Count a call of a function that runs elsewhere; fits `remote.runner.Runner(on_call=…)`."""
    about = _function(remote.name, remote.package, "process" if remote.endpoint.command else target, method)
    function_requests.labels(*about).inc()
    function_responses.labels(*about, code, severity).inc()
    function_seconds.labels(*about, code, severity).observe(seconds)


def _function(name: str, package: str, target: str, method: str) -> tuple[str, str, str, str]:
    """The labels of a function; those past `FUNCTIONS` are told as "other"."""
    about = (name, package, target, method)
    if about not in _functions and len(_functions) >= FUNCTIONS:
        return "other", "other", "other", method
    _functions.add(about)
    return about
