"""What must be so before the first reconcile: a namespace of our own, and no other Crossplane at work.

Two control planes on one cluster would undo each other's work, and delete what the other composed.
"""

from __future__ import annotations

import datetime
from typing import Any

from groundplane.core.objects import Key, Object, meta, spec_of, status_of
from groundplane.errors import AlreadyExists, Denied, InvalidInput, NoSuchKind
from groundplane.ports import Cluster
from groundplane.runtime import logs

LEASE = "crossplane-leader-election-core"  # held by a Crossplane that elects leaders
LABELS = {"app": "crossplane"}  # of Crossplane's Deployment, by its chart
SLACK = 30.0  # seconds that a lease may be overdue: clocks differ

log = logs.get_logger(__name__)


async def ensure_namespace(cluster: Cluster, name: str) -> None:
    """Create the namespace if it is absent; without the right to, somebody else must have."""
    try:
        if await cluster.get(Key("v1", "Namespace", "", name)) is None:
            await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            log.info("namespace created", namespace=name)
    except AlreadyExists:
        return
    except Denied as error:
        log.warning("namespace could not be looked after", namespace=name, error=str(error))


async def refuse_rivals(cluster: Cluster, now: datetime.datetime) -> None:
    """Raise InvalidInput if a Crossplane is at work in this cluster."""
    found = await _deployment(cluster) or await _lease(cluster, now)
    if found:
        raise InvalidInput(
            f"a Crossplane is at work in this cluster: {found}",
            mend="scale its Deployment to zero first (its objects stay), or start with --force",
        )


async def _deployment(cluster: Cluster) -> str:
    for deployment in await _list(cluster, "apps/v1", "Deployment", LABELS):
        if status_of(deployment).get("readyReplicas"):
            return f"Deployment {_place(deployment)} has ready replicas"
    return ""


async def _lease(cluster: Cluster, now: datetime.datetime) -> str:
    for lease in await _list(cluster, "coordination.k8s.io/v1", "Lease", None):
        spec: dict[str, Any] = spec_of(lease)
        if meta(lease)["name"] != LEASE or not spec.get("holderIdentity") or not spec.get("renewTime"):
            continue
        age = (now - datetime.datetime.fromisoformat(spec["renewTime"])).total_seconds()
        if age < float(spec.get("leaseDurationSeconds") or 60) + SLACK:
            return f"Lease {_place(lease)} was renewed {max(0, age):.0f} seconds ago"
    return ""


async def _list(cluster: Cluster, api_version: str, kind: str, labels: dict[str, str] | None) -> list[Object]:
    try:
        return await cluster.list(api_version, kind, labels=labels)
    except NoSuchKind:
        return []
    except Denied as error:
        log.warning("can't look for another Crossplane", error=str(error))
        return []


def _place(obj: Object) -> str:
    return f"{meta(obj)['namespace']}/{meta(obj)['name']}"
