"""Other control planes at work in the cluster: looked for before the first reconcile, and again and again while we work.

Two control planes on one cluster would undo each other's work, and delete what the other composed.  One in our own
namespace holds the same Lease and so is no danger (`leader.py`); these are the others.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from groundplane.core.objects import Object, meta, spec_of, status_of
from groundplane.errors import Denied, InvalidInput, NoSuchKind, Unavailable
from groundplane.ports import Cluster
from groundplane.runtime import logs
from groundplane.runtime.leader import Elector
from groundplane.runtime.preflight import LEASE
from groundplane.runtime.settings import Settings

LABELS = {"app": "crossplane"}  # of Crossplane's Deployment, by its chart
LOOK = 65.0  # seconds that a Lease is looked at, at most, before it counts as abandoned: a Crossplane's lasts 60
GLANCE = 1.0  # seconds between two looks
KNOCK = 5.0  # seconds between two looks whether one that is waited for has ended, and whether one holds our Lease
AGAIN = 300.0  # seconds until rivals are looked for again
LEASES = 8  # how many lease durations a Crossplane may hold our Lease: two minutes by default

log = logs.get_logger(__name__)


class Rivals:
    """What the operator does about them, by its settings: refuse to work, or wait until they end."""

    def __init__(self, cluster: Cluster, elector: Elector, settings: Settings) -> None:
        self._cluster, self._elector, self._settings = cluster, elector, settings
        self._found = ""

    def problem(self) -> str:
        """The one that is waited for, or holds our Lease; "" if there is none."""
        return self._found or self._elector.rival()

    async def refuse(self, *, waits: bool) -> None:
        """Raise InvalidInput if one is at work elsewhere in the cluster, or wait for its end.

        Raises Unavailable if the API server can't be asked.
        """
        settings = self._settings
        own = "" if settings.no_leader_election else settings.namespace
        while not settings.force and (found := await rival(self._cluster, own)):
            if not waits:
                raise _at_work(found)
            if found != self._found:
                log.warning("waiting for a Crossplane to end", found=found)
            self._found = found
            await asyncio.sleep(KNOCK)
        self._found = ""

    async def mind(self) -> None:
        """Raise InvalidInput if one comes to work beside us, or holds our Lease and does not go; until cancelled."""
        settings = self._settings
        patience = LEASES * settings.lease_duration
        looked = time.monotonic()
        while True:
            await asyncio.sleep(min(KNOCK, settings.lease_duration))
            if self._elector.rival_seconds() > patience and not (settings.takeover_wait or settings.force):
                raise _at_work(f"{self._elector.rival()} holds the Lease {settings.namespace}/{LEASE}")
            if time.monotonic() - looked > AGAIN:
                looked = time.monotonic()
                try:
                    await self.refuse(waits=False)
                except Unavailable as error:
                    log.warning("could not look for another Crossplane", error=str(error))


def _at_work(found: str) -> InvalidInput:
    return InvalidInput(
        f"a Crossplane is at work in this cluster: {found}",
        mend="scale its Deployment to zero first (its objects stay), or start with --takeover-wait or --force",
    )


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
