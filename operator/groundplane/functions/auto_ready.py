"""function-auto-ready: a composed resource about which no earlier step says anything is ready when its own state says so.

Source: function-auto-ready (its README and tests): condition Ready, or for Kubernetes' own kinds what Argo CD looks at.
Health checks of one's own in CEL are refused: no CEL is evaluated here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field

from groundplane.core import conditions
from groundplane.core.objects import Json, Object, meta, spec_of, status_of
from groundplane.core.pipeline import Request, Response, RunFunction, State
from groundplane.core.spec import FUNCTION, Problem, Spec, load


class Input(Spec):
    """`Input` of `autoready.fn.crossplane.io/v1beta1`; none of it must be given."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    ttl: str | None = None  # how long an answer may be kept: nothing is kept here
    celHealthCheckCustomization: dict[str, Json] = Field(default_factory=dict)
    celHealthCheckCustomizationFrom: str | None = None


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Everything that is wrong with an input."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    if found is None:
        return problems
    return [
        Problem("Forbidden", name, "CEL is not evaluated here", "give the resource's template readinessChecks instead")
        for name in ("celHealthCheckCustomization", "celHealthCheckCustomizationFrom")
        if getattr(found, name)
    ]


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function, ready to run: the input changes nothing."""
    return run


def run(request: Request) -> Response:
    """Call ready what exists and is; what an earlier step said stays."""
    resources = dict(request.desired.resources)
    for name, resource in resources.items():
        there = request.observed.resources.get(name)
        if there is not None and resource.ready is None and is_ready(there.object):
            resources[name] = replace(resource, ready=True)
    return Response(State(request.desired.composite, resources), request.context)


def is_ready(obj: Object) -> bool:
    """Whether an object's own state says that it may be used.

    >>> is_ready({"apiVersion": "v1", "kind": "ConfigMap"})
    True
    >>> is_ready({"apiVersion": "s3.aws.upbound.io/v1beta1", "kind": "Bucket"})
    False
    """
    known = _HEALTH.get((obj.get("apiVersion", ""), obj.get("kind", "")))
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
