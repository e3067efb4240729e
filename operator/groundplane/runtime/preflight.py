"""What must be so before the first reconcile: rights, a namespace of our own, and no other control plane at work elsewhere.

Two control planes on one cluster would undo each other's work, and delete what the other composed.  One in our own
namespace holds the same Lease and so is no danger (`leader.py`); these are the others.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from groundplane.cluster.client import Api
from groundplane.core.objects import Key, Object, meta, spec_of, status_of
from groundplane.errors import AlreadyExists, Denied, NoSuchKind
from groundplane.ports import Cluster, Resource
from groundplane.runtime import logs

LEASE = "crossplane-leader-election-core"  # Crossplane's own, and ours
LABELS = {"app": "crossplane"}  # of Crossplane's Deployment, by its chart
LOOK = 65.0  # seconds that a Lease is looked at, at most, before it counts as abandoned: a Crossplane's lasts 60
GLANCE = 1.0  # seconds between two looks
AGAIN = 300.0  # seconds until rivals are looked for again

log = logs.get_logger(__name__)


async def check_rights(api: Api, resources: Iterable[Resource]) -> None:
    """Raise Denied if our credentials are not accepted, or one of these kinds may not be listed; one that is not served may.

    Later a refusal is waited out, as it may be a mistake that somebody mends; at the start somebody looks.
    """
    for resource in resources:
        await api.request("GET", f"/apis/{resource.api_version}/{resource.plural}", query={"limit": "1"})


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


async def rival(cluster: Cluster, namespace: str) -> str:
    """Which other control plane is at work in this cluster; "" if none is.  What may not be looked at is told in the log."""
    found, denied = await sought(cluster, namespace)
    for error in denied:
        log.warning("can't look for another Crossplane", error=str(error))
    return found


async def sought(cluster: Cluster, namespace: str) -> tuple[str, list[Denied]]:
    """Which other control plane is at work, "" if none is, and what may not be looked at.

    That of `namespace` holds our own Lease and does not count.  A Lease elsewhere counts when it changes while we look:
    times that another clock wrote say nothing.  One that doesn't is looked at for the seconds that it says it lasts,
    as its holder's own standby would, but no longer than LOOK.
    """
    denied: list[Denied] = []
    if found := await _deployment(cluster, denied):
        return found, denied
    before = await _leases(cluster, namespace, denied)
    look = max((min(float(spec.get("leaseDurationSeconds") or LOOK), LOOK) for spec in before.values()), default=0.0)
    for place, spec in before.items():
        until = datetime.now(UTC) + timedelta(seconds=look)
        log.info(
            "a Lease of Crossplane's is held in another namespace: looking whether it is renewed",
            lease=place,
            holder=spec["holderIdentity"],
            until=f"{until:%Y-%m-%dT%H:%M:%SZ}",
        )
    for _ in range(math.ceil(look / GLANCE)):
        await asyncio.sleep(GLANCE)
        now = await _leases(cluster, namespace, denied)
        for place, spec in now.items():
            if place in before and before[place] != spec:
                return f"Lease {place} is renewed by {spec['holderIdentity']}", denied
        before = {**now, **before}
    return "", denied


async def _deployment(cluster: Cluster, denied: list[Denied]) -> str:
    for deployment in await _list(cluster, "apps/v1", "Deployment", LABELS, denied):
        if status_of(deployment).get("readyReplicas"):
            return f"Deployment {_place(deployment)} has ready replicas"
    return ""


async def _leases(cluster: Cluster, namespace: str, denied: list[Denied]) -> dict[str, Mapping[str, Any]]:
    """The Leases of that name that somebody holds in other namespaces."""
    return {
        _place(lease): spec_of(lease)
        for lease in await _list(cluster, "coordination.k8s.io/v1", "Lease", None, denied)
        if meta(lease)["name"] == LEASE
        and meta(lease)["namespace"] != namespace
        and spec_of(lease).get("holderIdentity")
    }


async def _list(
    cluster: Cluster, api_version: str, kind: str, labels: dict[str, str] | None, denied: list[Denied]
) -> list[Object]:
    try:
        return await cluster.list(api_version, kind, labels=labels)
    except NoSuchKind:
        return []
    except Denied as error:
        denied.append(error)
        return []


def _place(obj: Object) -> str:
    return f"{meta(obj)['namespace']}/{meta(obj)['name']}"
