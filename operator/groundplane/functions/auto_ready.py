"""function-auto-ready: a composed resource about which no earlier step says anything is ready when its own state says so.

Source: function-auto-ready v0.7 (`fn.go`, `cel/resolver.go`): health checks of one's own, in CEL; else condition Ready, or for
Kubernetes' own kinds what Argo CD looks at.  Its CEL is behind a feature gate; here what the input says is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pydantic import Field

from groundplane.core import cel_requests, conditions, durations
from groundplane.core.objects import Json, Object, meta, spec_of, status_of
from groundplane.core.pipeline import Request, Response, Result, RunFunction, State, bounded_ttl
from groundplane.core.spec import FUNCTION, Problem, Spec, load
from groundplane.errors import InvalidInput, shown


class Input(Spec):
    """`Input` of `autoready.fn.crossplane.io/v1beta1`; none of it must be given."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    ttl: str = ""
    celHealthCheckCustomization: dict[str, str] = Field(default_factory=dict)
    celHealthCheckCustomizationFrom: str = ""


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Everything that is wrong with an input.  What can't be evaluated is a warning of each run, as upstream's."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    return problems if found is None else list(_problems(found))


def _problems(found: Input) -> Iterator[Problem]:
    try:
        durations.seconds(found.ttl or "0")
    except InvalidInput as error:
        yield Problem("Invalid", "ttl", error.what, error.mend)
    fields = ("celHealthCheckCustomization", "celHealthCheckCustomizationFrom")
    if given := [field for field in fields if getattr(found, field)]:
        try:
            cel_requests.Check("true")
        except InvalidInput as error:
            yield Problem("Invalid", given[0], error.what, error.mend)


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function with this input, ready to run.  The input has passed `check`."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    assert found is not None, problems
    path = _path(found.celHealthCheckCustomizationFrom)
    ttl = bounded_ttl(durations.seconds(found.ttl or "0"))

    def run(request: Request) -> Response:
        checks = {**_in_context(request.context, path), **found.celHealthCheckCustomization}
        return _run(request, checks, ttl)

    return run


def _run(request: Request, checks: Mapping[str, str], ttl: float) -> Response:
    """Call ready what exists and is; what an earlier step said stays."""
    resources, results = dict(request.desired.resources), list[Result]()
    for name, resource in resources.items():
        there = request.observed.resources.get(name)
        if there is None or resource.ready is not None:
            continue
        ready = None
        if (text := checks.get(_key(there.object))) is not None:
            try:
                ready = _compiled(text).holds(there.object)
            except InvalidInput as error:
                results.append(Result("Warning", f"health check of {shown(name)}: {error}"))
        if ready is None and is_ready(there.object):
            ready = True
        if ready is not None:
            resources[name] = replace(resource, ready=ready)
    return Response(State(request.desired.composite, resources), request.context, results, ttl=ttl)


@lru_cache(maxsize=256)
def _compiled(text: str) -> cel_requests.Check:
    return cel_requests.Check(text)


def _key(obj: Object) -> str:
    """By what a check is found.

    >>> _key({"apiVersion": "pkg.crossplane.io/v1", "kind": "Configuration"}), _key({"apiVersion": "v1", "kind": "Pod"})
    ('pkg.crossplane.io_v1_Configuration', '_v1_Pod')
    """
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return f"{group}_{version}_{obj.get('kind')}"


_PART = re.compile(r"\[([^\[\]]+)\]|([^.\[\]]+)")


def _path(text: str) -> tuple[str, ...]:
    """The keys of a path in the context.

    >>> _path("[example.org/checks].mine")
    ('example.org/checks', 'mine')
    """
    return tuple(bracketed or plain for bracketed, plain in _PART.findall(text))


def _in_context(context: Mapping[str, Json], path: tuple[str, ...]) -> dict[str, str]:
    """The texts of the object at a path of the context; none if it is not there."""
    value: Any = context if path else {}
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    checks = value if isinstance(value, Mapping) else {}
    return {key: text for key, text in checks.items() if isinstance(text, str)}


def is_ready(obj: Object) -> bool:
    """Whether an object's own state says that it may be used.

    >>> is_ready({"apiVersion": "v1", "kind": "ConfigMap"})
    True
    >>> is_ready({"apiVersion": "s3.aws.upbound.io/v1beta1", "kind": "Bucket"})
    False
    """
    known = _HEALTH.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
    return known(obj) if known else conditions.is_true(obj, "Ready")


def knows(api_version: str, kind: str) -> bool:
    """Whether it is more than a condition Ready that tells of objects of this kind.

    >>> knows("apps/v1", "Deployment"), knows("v1", "ResourceQuota")
    (True, False)
    """
    return (api_version, kind) in _HEALTH


# --- Kubernetes' own kinds --------------------------------------------------------------------------------------


def _exists(obj: Object) -> bool:
    return True


def _counts(obj: Object, wanted: Any, *names: str) -> bool:
    """Whether all these counts in the status are there, and are what is wanted."""
    return isinstance(wanted, int) and all(status_of(obj).get(name) == wanted for name in names)


def _replicas(obj: Object) -> Any:
    wanted = spec_of(obj).get("replicas")
    return 1 if wanted is None else wanted


def _deployment(obj: Object) -> bool:
    whole = _counts(obj, _replicas(obj), "updatedReplicas", "availableReplicas")
    return whole and conditions.is_true(obj, "Available")


def _stateful_set(obj: Object) -> bool:
    revision = status_of(obj).get("currentRevision")
    whole = _counts(obj, _replicas(obj), "readyReplicas", "currentReplicas")
    return whole and revision is not None and revision == status_of(obj).get("updateRevision")


def _daemon_set(obj: Object) -> bool:
    wanted = status_of(obj).get("desiredNumberScheduled")
    return _counts(obj, wanted, "numberReady", "updatedNumberScheduled", "numberAvailable")


def _replica_set(obj: Object) -> bool:
    seen = status_of(obj).get("observedGeneration") == meta(obj).get("generation")
    failed = conditions.is_true(obj, "ReplicaFailure")
    return seen and not failed and _counts(obj, _replicas(obj), "availableReplicas")


def _pod(obj: Object) -> bool:
    phase = status_of(obj).get("phase")
    lasting = spec_of(obj).get("restartPolicy", "Always") == "Always"
    return phase == "Succeeded" or (phase == "Running" and lasting and conditions.is_true(obj, "Ready"))


def _claim(obj: Object) -> bool:
    return bool(status_of(obj).get("phase") == "Bound")


def _has_address(obj: Object) -> bool:
    balancer = status_of(obj).get("loadBalancer")
    return isinstance(balancer, dict) and bool(balancer.get("ingress"))


def _service(obj: Object) -> bool:
    return spec_of(obj).get("type") != "LoadBalancer" or _has_address(obj)


def _job(obj: Object) -> bool:
    stopped = conditions.is_true(obj, "Failed") or conditions.is_true(obj, "Suspended")
    return not stopped and conditions.is_true(obj, "Complete")


def _cron_job(obj: Object) -> bool:
    """Suspended, at work, or its last run went well."""
    if spec_of(obj).get("suspend") is True:
        return True
    status = status_of(obj)
    scheduled = conditions.moment(str(status.get("lastScheduleTime") or ""))
    succeeded = conditions.moment(str(status.get("lastSuccessfulTime") or ""))
    if scheduled is None:
        return False
    return bool(status.get("active")) or (succeeded is not None and succeeded >= scheduled)


def _autoscaler(obj: Object) -> bool:
    """The first condition that says good or bad decides."""
    found = status_of(obj).get("conditions")
    for condition in found if isinstance(found, list) else ():
        if not isinstance(condition, dict) or condition.get("status") != "True":
            continue
        if condition.get("type") in (
            "FailedGetScale",
            "FailedUpdateScale",
            "FailedGetResourceMetric",
            "InvalidSelector",
        ):
            return False
        if condition.get("type") in ("ScalingActive", "ScalingLimited"):
            return True
    return False


_RBAC = "rbac.authorization.k8s.io/v1"

_HEALTH: Mapping[tuple[str, str], Callable[[Object], bool]] = {
    ("v1", "ConfigMap"): _exists,
    ("v1", "Secret"): _exists,
    ("v1", "ServiceAccount"): _exists,
    ("v1", "Namespace"): _exists,
    (_RBAC, "Role"): _exists,
    (_RBAC, "RoleBinding"): _exists,
    (_RBAC, "ClusterRole"): _exists,
    (_RBAC, "ClusterRoleBinding"): _exists,
    ("v1", "Pod"): _pod,
    ("v1", "PersistentVolumeClaim"): _claim,
    ("v1", "Service"): _service,
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "StatefulSet"): _stateful_set,
    ("apps/v1", "DaemonSet"): _daemon_set,
    ("apps/v1", "ReplicaSet"): _replica_set,
    ("batch/v1", "Job"): _job,
    ("batch/v1", "CronJob"): _cron_job,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): _autoscaler,
    ("networking.k8s.io/v1", "Ingress"): _has_address,
}
