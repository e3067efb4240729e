"""Every metric there is, declared in one place.

Where upstream's dashboards look for a number under a name (control-plane behaviour §7: client-go's `workqueue_*`, Crossplane's
`engine_*`), that name is used; all else is `groundplane_*`.  Labels are kinds and results, never the names of objects.
"""

from __future__ import annotations

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


def request_made(verb: str, resource: str, status: int, seconds: float) -> None:
    """Count one request; fits `cluster.client.Api(on_request=…)`."""
    requests.labels(verb=verb, resource=resource, code=str(status)).inc()
    request_seconds.labels(verb=verb).observe(seconds)
