"""Every metric of the operator, declared in one place.  Labels name controllers, verbs and outcomes, never objects."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

reconciles = Counter(
    "groundplane_reconciles_total",
    "Reconciles by controller and outcome (success, or the error's class).",
    ["controller", "outcome"],
)
reconcile_seconds = Histogram(
    "groundplane_reconcile_seconds", "Seconds that one reconcile took.", ["controller"], buckets=_SECONDS
)
queue_depth = Gauge("groundplane_queue_depth", "Keys that wait to be reconciled now.", ["controller"])
queue_adds = Counter("groundplane_queue_adds_total", "Keys that were added to a queue.", ["controller"])
queue_retries = Counter("groundplane_queue_retries_total", "Reconciles that did not go through.", ["controller"])
queue_seconds = Histogram(
    "groundplane_queue_seconds", "Seconds that a key waited for its reconcile.", ["controller"], buckets=_SECONDS
)
api_requests = Counter(
    "groundplane_api_requests_total",
    "Requests to the API server (status 0: no answer).",
    ["verb", "resource", "status"],
)
api_seconds = Histogram("groundplane_api_seconds", "Seconds until the API server answered.", ["verb"], buckets=_SECONDS)
events_posted = Counter("groundplane_events_posted_total", "Kubernetes Events written.", ["type"])
events_dropped = Counter("groundplane_events_dropped_total", "Kubernetes Events given up: the buffer was full.")
watch_restarts = Counter(
    "groundplane_watch_restarts_total", "Times that a source of watch events had to be restarted.", ["source"]
)
watched_kinds = Gauge("groundplane_watched_kinds", "Kinds that are being followed.", ["source"])
