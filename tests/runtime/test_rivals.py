"""Another control plane's Lease in another namespace: who renews it counts, who is dead costs its own duration and no more."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import Key
from groundplane.runtime import rivals
from groundplane.runtime.preflight import LEASE
from tests.runtime import virtual

PLACE = Key("coordination.k8s.io/v1", "Lease", "elsewhere", LEASE)
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
LEASES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "leases.coordination.k8s.io"},
    "spec": {
        "group": "coordination.k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "Lease", "plural": "leases"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": ANYTHING}}],
    },
}


def lease(holder="crossplane-0", duration=15, namespace="elsewhere"):
    return {
        "apiVersion": PLACE.api_version,
        "kind": PLACE.kind,
        "metadata": {"name": PLACE.name, "namespace": namespace},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": duration, "renewTime": "2001-01-01T00:00:00Z"},
    }


def look(*leases, renewed_after=None, own="crossplane-system"):
    """What is found, and after how many seconds."""

    async def renew(cluster):
        await asyncio.sleep(renewed_after)
        await cluster.patch(PLACE, {"spec": {"renewTime": "1999-01-01T00:00:00Z"}})

    async def main():
        cluster = SqliteCluster(":memory:")
        for each in (LEASES, *leases):
            await cluster.apply(each, manager="test")
        renewing = asyncio.create_task(renew(cluster)) if renewed_after is not None else None
        found = await rivals.rival(cluster, own)
        if renewing:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
        cluster.close()
        return found, asyncio.get_running_loop().time()

    return virtual.run(main())


@pytest.mark.parametrize(("duration", "seconds"), [(15, 15), (60, 60), (86_400, rivals.LOOK)])
def test_a_dead_one_delays_a_start_by_its_own_duration_and_no_more_than_a_crossplanes(duration, seconds):
    assert look(lease(duration=duration)) == ("", seconds)


def test_one_that_is_renewed_within_its_duration_is_a_rival_whatever_times_it_names():
    found, seconds = look(lease(duration=15), renewed_after=13.5)
    assert found == f"Lease elsewhere/{LEASE} is renewed by crossplane-0"
    assert seconds == 14


@pytest.mark.parametrize(("leases", "own"), [([], ""), ([lease(holder="")], ""), ([lease()], "elsewhere")])
def test_one_that_nobody_holds_and_our_own_cost_nothing(leases, own):
    assert look(*leases, own=own) == ("", 0)


def test_the_log_says_who_holds_it_and_until_when_that_is_looked_at(caplog):
    caplog.set_level(logging.INFO)
    look(lease())
    [line] = [record for record in caplog.records if "another namespace" in record.getMessage()]
    assert line.facts["lease"] == f"elsewhere/{LEASE}"
    assert line.facts["holder"] == "crossplane-0"
    assert line.facts["until"].endswith("Z")
