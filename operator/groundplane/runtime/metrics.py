"""Every metric there is, declared in one place.

Where upstream's dashboards look for a number under a name (client-go's `workqueue_*`, controller-runtime's, Crossplane's
`engine_*` and `crossplane_managed_resource_*`), that name is used; all else is `groundplane_*`.  Labels are kinds and results, never the names of objects.
"""

from __future__ import annotations

from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from groundplane import __version__

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # seconds
SPARSE = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)  # seconds, where there are many series
SLOW = (1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)  # seconds, upstream's for readiness

disable_created_metrics()  # type: ignore[no-untyped-call]  # else a second series for each, with the time of its birth
registry = CollectorRegistry()
ProcessCollector(registry=registry)

build = Gauge("groundplane_build_info", "Always 1; the label says which version runs.", ["version"], registry=registry)
build.labels(version=__version__).set(1)

# --- reconciling

reconciles = Counter(
    "groundplane_reconciles_total",
    "Reconciles that ended, by controller and outcome: success, or the class of the error.",
    ["controller", "outcome"],
    registry=registry,
)
reconcile_seconds = Histogram(
    "groundplane_reconcile_seconds",
    "How long one reconcile took, waiting for others included.",
    ["controller"],
    buckets=FAST,
    registry=registry,
)

controller_reconciles = Counter(
    "controller_runtime_reconcile_total",
    "Reconciles by controller and result, as controller-runtime counts them: success, error, requeue, requeue_after.",
    ["controller", "result"],
    registry=registry,
)
controller_errors = Counter(
    "controller_runtime_reconcile_errors_total",
    "Reconciles that failed, by controller.",
    ["controller"],
    registry=registry,
)
controller_seconds = Histogram(
    "controller_runtime_reconcile_time_seconds",
    "How long one reconcile took, by controller, one for each kind.",
    ["controller"],
    buckets=SPARSE,
    registry=registry,
)
internal_errors = Counter(
    "groundplane_internal_errors_total",
    "Reconciles that met an error nobody meant: a fault of ours.",
    ["controller"],
    registry=registry,
)

# --- what there is, counted as it changes; told by the leader alone, so that sums over replicas are right

claims = Gauge(
    "groundplane_claims", "Claims by kind and by whether they are ready.", ["group", "kind", "ready"], registry=registry
)
claim_namespaces = Gauge(
    "groundplane_claim_namespaces", "Namespaces with claims of a kind.", ["group", "kind"], registry=registry
)
claim_ready_seconds = Histogram(
    "groundplane_claim_ready_seconds",
    "From a claim's creation until it was ready for the first time: the time to provision.",
    ["group", "kind"],
    buckets=SLOW,
    registry=registry,
)
composites = Gauge(
    "groundplane_composites",
    "Composites by kind and state: ready, unready, or failing (Synced is False).",
    ["group", "kind", "state"],
    registry=registry,
)
managed_exists = Gauge("crossplane_managed_resource_exists", "Managed resources by kind.", ["gvk"], registry=registry)
managed_ready = Gauge("crossplane_managed_resource_ready", "Those with Ready=True.", ["gvk"], registry=registry)
managed_synced = Gauge("crossplane_managed_resource_synced", "Those with Synced=True.", ["gvk"], registry=registry)
managed_first_look = Histogram(
    "crossplane_managed_resource_first_time_to_reconcile_seconds",
    "From a managed resource's creation until its first look at the external resource was told.",
    ["gvk"],
    buckets=SLOW,
    registry=registry,
)
managed_first_ready = Histogram(
    "crossplane_managed_resource_first_time_to_readiness_seconds",
    "From a managed resource's creation until it was ready for the first time.",
    ["gvk"],
    buckets=SLOW,
    registry=registry,
)
managed_deletion = Histogram(
    "crossplane_managed_resource_deletion_seconds",
    "From a managed resource's deletion being asked for until it was gone.",
    ["gvk"],
    buckets=SLOW,
    registry=registry,
)
oldest_deletion = Gauge(
    "groundplane_oldest_deletion_seconds",
    "How long the claim, composite or managed resource of a kind that is being deleted for the longest has been so; 0: none is.",
    ["gvk"],
    registry=registry,
)
crds = Gauge(
    "groundplane_crds",
    "CustomResourceDefinitions that we bring, by state: served or missing.",
    ["state"],
    registry=registry,
)

# --- AWS

aws_calls = Counter(
    "groundplane_aws_calls_total",
    "Calls to AWS that ended, repeats not counted: success, throttled, denied, not_found, silent (no answer) or error.",
    ["service", "operation", "outcome"],
    registry=registry,
)
aws_seconds = Histogram(
    "groundplane_aws_call_seconds",
    "How long calls to AWS took, repeats included.",
    ["service"],
    buckets=SPARSE,
    registry=registry,
)
upjet_calls = Counter(
    "upjet_resource_external_api_calls_total",
    "Calls to AWS under the name that dashboards for upstream's provider look for.",
    ["service", "operation"],
    registry=registry,
)

# --- the queues, as client-go calls them

queue_depth = Gauge("workqueue_depth", "Keys that wait for a worker now.", ["name"], registry=registry)
queue_adds = Counter("workqueue_adds_total", "Additions, those that coalesced included.", ["name"], registry=registry)
queue_seconds = Histogram(
    "workqueue_queue_duration_seconds",
    "How long a key waited for a worker.",
    ["name"],
    buckets=FAST,
    registry=registry,
)
work_seconds = Histogram(
    "workqueue_work_duration_seconds",
    "How long a worker had a key in hand.",
    ["name"],
    buckets=FAST,
    registry=registry,
)
queue_retries = Counter(
    "workqueue_retries_total", "Keys that came back because they failed.", ["name"], registry=registry
)
unfinished_seconds = Gauge(
    "workqueue_unfinished_work_seconds", "Age of all the work in hand now, summed up.", ["name"], registry=registry
)

# --- watching

controllers_started = Counter(
    "engine_controllers_started_total",
    "Controllers that a definition brought into being, by upstream's name of them.",
    ["controller"],
    registry=registry,
)
controllers_stopped = Counter(
    "engine_controllers_stopped_total", "Those that ended with their kind.", ["controller"], registry=registry
)
watches_started = Counter(
    "engine_watches_started_total",
    "Kinds that began to be followed: Claim, CompositeResource, ComposedResource, or Static.",
    ["type"],
    registry=registry,
)
watches_stopped = Counter(
    "engine_watches_stopped_total", "Kinds that are followed no longer.", ["type"], registry=registry
)
objects = Gauge(
    "groundplane_cached_objects", "Objects in the cache, by the kinds that are followed.", ["kind"], registry=registry
)
kopf_restarts = Counter("groundplane_kopf_restarts_total", "Times that kopf was started anew.", registry=registry)
kopf_deaths = Counter("groundplane_kopf_deaths_total", "Times that kopf ended without being asked.", registry=registry)
kopf_touches = Counter(
    "groundplane_kopf_touches_total",
    "CustomResourceDefinitions that were annotated because kopf had overlooked their kind.",
    registry=registry,
)

# --- leadership, as controller-runtime calls it

leader = Gauge(
    "leader_election_master_status",
    "Whether this process may write now: 1 for the leader, 0 for a standby.",
    ["name"],
    registry=registry,
)

# --- the API server

requests = Counter(
    "groundplane_api_requests_total",
    "Requests to the API server; code 0: no answer came.",
    ["verb", "resource", "code"],
    registry=registry,
)
request_seconds = Histogram(
    "groundplane_api_request_seconds",
    "How long they took; of a watch, until its first byte.",
    ["verb"],
    buckets=FAST,
    registry=registry,
)
events = Counter(
    "groundplane_events_total",
    "Events by what became of them: posted, counted (a repeat), spam (too many of one object), overflow, failed.",
    ["result"],
    registry=registry,
)

# --- the process

loop_lag = Histogram(
    "groundplane_loop_lag_seconds",
    "How late the event loop was, measured several times a second.",
    buckets=FAST,
    registry=registry,
)


Result = Literal["success", "requeue", "requeue_after", "error"]


def reconciled(controller: str, result: Result, seconds: float) -> None:
    """Count a reconcile under upstream's names; `controller` is upstream's name of it."""
    controller_reconciles.labels(controller=controller, result=result).inc()
    controller_seconds.labels(controller=controller).observe(seconds)
    if result == "error":
        controller_errors.labels(controller=controller).inc()


def request_made(verb: str, resource: str, status: int, seconds: float) -> None:
    """Count one request; fits `cluster.client.Api(on_request=…)`."""
    requests.labels(verb=verb, resource=resource, code=str(status)).inc()
    request_seconds.labels(verb=verb).observe(seconds)


def aws_call_made(service: str, operation: str, outcome: str, seconds: float) -> None:
    """Count one call, on whichever thread; fits `aws.cloud.AwsCloud(on_call=…)`."""
    aws_calls.labels(service=service, operation=operation, outcome=outcome).inc()
    aws_seconds.labels(service=service).observe(seconds)
    upjet_calls.labels(service=service, operation=operation).inc()
