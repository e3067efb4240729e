"""What is told of claims, composites and managed resources: true at any time, and no more series with more objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from groundplane.cluster.cache import Cache
from groundplane.core.objects import key_of
from groundplane.runtime import metrics
from groundplane.runtime.census import Census

CLAIM, VPC = ("census.example.org/v1", "Shop"), ("ec2.aws.upbound.io/v1beta1", "VPC")
GVK = "ec2.aws.upbound.io/v1beta1, Kind=VPC"
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
OWN = {CLAIM[1]: ("claim",), "XShop": ("composite",), VPC[1]: ("managed",)}


@pytest.fixture
def world():
    return World()


class World:
    """A cache, the census of its changes, and a clock."""

    def __init__(self):
        self.now, self.version, self.leads = NOW, 0, True
        self.census = Census(lambda key: OWN.get(key.kind, ()), lambda: self.now)
        self.cache = Cache()
        for kind in (CLAIM, (CLAIM[0], "XShop"), VPC):
            self.cache.follow(*kind, lambda change: self.census.changed(change.old, change.new, leads=self.leads))

    def put(self, kind, name, *, namespace="", ready=None, synced=None, age=0, deleting=False):
        self.version += 1
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"{kind[1]}-{namespace}-{name}",
            "resourceVersion": str(self.version),
            "creationTimestamp": (NOW - timedelta(seconds=age)).isoformat(),
        }
        if deleting:
            metadata["deletionTimestamp"] = self.now.isoformat()
        told = {"Ready": ready, "Synced": synced}
        conditions = [{"type": type_, "status": status} for type_, status in told.items() if status]
        obj = {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "status": {"conditions": conditions}}
        self.cache.put(obj)
        return obj

    def told(self, name, **labels):
        self.census.tell(self.cache.tallies(), leads=self.leads)
        return metrics.registry.get_sample_value(name, labels)

    def measured(self, name, **labels):
        count = metrics.registry.get_sample_value(f"{name}_count", labels) or 0
        return count, metrics.registry.get_sample_value(f"{name}_sum", labels) or 0


def claims(world, ready):
    return world.told("groundplane_claims", group="census.example.org", kind="Shop", ready=ready)


def test_claims_are_counted_by_readiness_as_they_change(world):
    world.put(CLAIM, "a", namespace="one", ready="False")
    shop = world.put(CLAIM, "b", namespace="two", ready="True")
    assert (claims(world, "true"), claims(world, "false")) == (1, 1)
    world.put(CLAIM, "a", namespace="one", ready="True")
    assert (claims(world, "true"), claims(world, "false")) == (2, 0)
    assert world.told("groundplane_claim_namespaces", group="census.example.org", kind="Shop") == 2
    world.cache.remove(key_of(shop))
    assert claims(world, "true") == 1
    assert world.told("groundplane_claim_namespaces", group="census.example.org", kind="Shop") == 1


def test_a_composite_whose_last_attempt_failed_is_failing_whether_it_is_ready_or_not(world):
    kind = (CLAIM[0], "XShop")
    world.put(kind, "a", ready="True", synced="False")
    world.put(kind, "b", ready="True", synced="True")
    world.put(kind, "c")
    labels = {"group": "census.example.org", "kind": "XShop"}
    states = ("ready", "unready", "failing")
    assert [world.told("groundplane_composites", state=state, **labels) for state in states] == [1, 1, 1]


def test_managed_resources_are_counted_under_upstreams_names(world):
    world.put(VPC, "a", ready="True", synced="True")
    world.put(VPC, "b", ready="False", synced="True")
    world.put(VPC, "c")
    names = ("exists", "ready", "synced")
    assert [world.told(f"crossplane_managed_resource_{name}", gvk=GVK) for name in names] == [3, 1, 2]


def test_who_does_not_lead_tells_nothing_so_that_sums_over_replicas_are_right(world):
    world.put(CLAIM, "a", namespace="one", ready="True")
    world.leads = False
    assert claims(world, "true") is None


def test_a_kind_that_nobody_follows_any_more_is_not_told(world):
    world.put(VPC, "a", ready="True")
    world.cache.drop(*VPC)
    assert world.told("crossplane_managed_resource_exists", gvk=GVK) is None


def test_the_time_to_provision_is_measured_once_for_each_claim(world):
    labels = {"group": "census.example.org", "kind": "Shop"}
    count, total = world.measured("groundplane_claim_ready_seconds", **labels)
    world.put(CLAIM, "a", namespace="one", ready="False")
    world.now += timedelta(seconds=42)
    for ready in ("True", "False", "True"):
        world.put(CLAIM, "a", namespace="one", ready=ready)
    assert world.measured("groundplane_claim_ready_seconds", **labels) == (count + 1, total + 42)
    assert len(world.census) == 0


def test_an_old_claim_that_was_perhaps_ready_before_we_came_does_not_count_as_provisioned_now(world):
    labels = {"group": "census.example.org", "kind": "Shop"}
    before = world.measured("groundplane_claim_ready_seconds", **labels)
    world.put(CLAIM, "a", namespace="one", ready="False", age=90_000)
    world.put(CLAIM, "a", namespace="one", ready="True", age=90_000)
    assert world.measured("groundplane_claim_ready_seconds", **labels) == before


def test_a_managed_resources_first_look_readiness_and_deletion_are_measured(world):
    names = ("first_time_to_reconcile", "first_time_to_readiness", "deletion")
    of = [f"crossplane_managed_resource_{name}_seconds" for name in names]
    before = [world.measured(name, gvk=GVK) for name in of]
    world.put(VPC, "a")
    world.now += timedelta(seconds=2)
    world.put(VPC, "a", synced="True")
    world.now += timedelta(seconds=3)
    world.put(VPC, "a", synced="True", ready="True")
    vpc = world.put(VPC, "a", synced="True", ready="True", deleting=True)
    world.now += timedelta(seconds=7)
    assert world.told("groundplane_oldest_deletion_seconds", gvk=GVK) == 7
    world.cache.remove(key_of(vpc))
    after = [world.measured(name, gvk=GVK) for name in of]
    assert [(n - m, round(s - t, 3)) for (n, s), (m, t) in zip(after, before, strict=True)] == [(1, 2), (1, 5), (1, 7)]
    assert world.told("groundplane_oldest_deletion_seconds", gvk=GVK) == 0


def test_drift_is_measured_since_aws_was_last_as_wanted_and_an_edit_is_none(world):
    name = "crossplane_managed_resource_drift_seconds"
    before = world.measured(name, gvk=GVK)
    vpc = world.put(VPC, "a")
    for wanted, generation in ((False, 1), (True, 1), (False, 1), (False, 1), (True, 1), (False, 2)):
        vpc["metadata"]["generation"] = generation
        world.census.looked(vpc, is_as_wanted=wanted)
        world.now += timedelta(seconds=30)
    assert world.measured(name, gvk=GVK) == (before[0] + 1, before[1] + 30)
    world.census.looked(vpc, is_as_wanted=True)
    world.cache.remove(key_of(vpc))
    assert len(world.census) == 0


def test_ten_thousand_objects_with_made_up_names_make_no_more_series_than_ten(world):
    def series(objects):
        for number in range(objects):
            state = ("True", "False", f"made-up-{number}")[number % 3]
            world.put(CLAIM, f"claim-{number}", namespace=f"tenant-{number}", ready=state, synced=state)
            world.put(VPC, f"vpc-{number}", ready=state, synced=state)
        world.census.tell(world.cache.tallies(), leads=True)
        return sum(len(metric.samples) for metric in metrics.registry.collect())

    assert series(10) == series(5_000)
    assert {len(tally.states) for kind, tally in world.cache.tallies().items() if kind != (CLAIM[0], "XShop")} == {3}
