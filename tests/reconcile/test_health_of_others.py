"""What kstatus, Argo CD's bundled checks and `kubectl wait` make of operations, usages, managed definitions and policies, as reconcilers leave them."""

import pytest

from groundplane.errors import Unavailable
from groundplane.ports import Options
from tests import gitops
from tests.reconcile import mrds
from tests.reconcile import test_operations as ops
from tests.reconcile import test_usage as usage
from tests.world import World

NEW = ("InProgress", "Progressing", "waits")
DONE = ("Current", "Healthy", "met")
WRONG = ("Failed", "Degraded", "waits")
AWAITED = (
    "InProgress",
    "Degraded",
    "waits",
)  # what it names is not there yet: Argo CD's bundled checks know no waiting


async def of(world, kind, name):
    return gitops.verdict(await ops.get(world, kind, name))


MAKERS = [("Operation", ops.operation()), ("CronOperation", ops.cron()), ("WatchOperation", ops.watch())]


@pytest.mark.parametrize(("kind", "manifest"), MAKERS)
async def test_an_operation_and_what_makes_them_is_never_healthy_before_the_first_look_and_then_is(kind, manifest):
    world = await World().install()
    await world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}, manifest)
    assert await of(world, kind, manifest["metadata"]["name"]) == NEW
    await world.settle()
    assert await of(world, kind, manifest["metadata"]["name"]) == DONE


async def test_an_operation_that_is_tried_again_is_in_progress_and_failed_once_it_has_failed_too_often():
    world = await ops.a_world()

    async def away(obj, *, apply=world.cluster.apply, **how):
        if obj["kind"] == "ConfigMap":
            raise Unavailable("the API server is away")
        return await apply(obj, **how)

    world.cluster.apply = away
    await world.apply(ops.operation(retryLimit=3))
    await world.settle()
    assert (await of(world, "Operation", "once")).kstatus == "InProgress"
    await world.settle(seconds=600)
    assert await of(world, "Operation", "once") == WRONG


async def test_a_maker_of_operations_that_is_wrong_is_degraded_and_mends():
    world = await ops.a_world(ops.cron("nonsense"))
    assert await of(world, "CronOperation", "often") == WRONG
    await world.apply(ops.cron())
    await world.settle()
    assert await of(world, "CronOperation", "often") == DONE
    watch = ops.watch()
    watch["spec"]["watch"] = {"apiVersion": "none.example.org/v1", "kind": "None"}
    world = await ops.a_world(watch)
    assert await of(world, "WatchOperation", "eyes") == AWAITED


@pytest.mark.parametrize("kind", ["Operation", "CronOperation", "WatchOperation"])
async def test_with_strict_upstream_operations_have_upstreams_conditions_alone(kind):
    world = await World(options=Options(strict_upstream=True)).install()
    manifest = dict(MAKERS)[kind]
    await world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}, manifest)
    await world.settle()
    found = await ops.get(world, kind, manifest["metadata"]["name"])
    assert "Ready" not in ops.told(found)
    assert "observedGeneration" not in found["status"]


@pytest.mark.parametrize("key", usage.KEYS[::2], ids=str)
async def test_a_usage_is_healthy_once_it_protects(key):
    world = await usage.a_world(usage.obj(usage.ALPHA, "a1"))
    manifest = usage.usage(key, of=usage.of(usage.ALPHA, "a1"), by=usage.of(usage.BETA, "b1"))
    await world.apply(manifest)
    assert gitops.verdict(await world.cluster.get(key)) == NEW
    await world.settle()
    assert gitops.verdict(await world.cluster.get(key)) == AWAITED
    await world.apply(usage.obj(usage.BETA, "b1"))
    await world.settle()
    assert gitops.verdict(await world.cluster.get(key)) == DONE


async def test_managed_definitions_and_policies_are_healthy_active_or_not_and_degraded_where_the_schema_is_wrong():
    world = await World().install()
    await world.apply(mrds.definition(), mrds.policy("nothing.*"))
    keys = [mrds.key(), mrds.policy_key()]
    assert {gitops.verdict(await world.cluster.get(key)) for key in keys} == {NEW}
    await world.settle()
    assert {gitops.verdict(await world.cluster.get(key)) for key in keys} == {DONE}
    await world.apply(mrds.policy("*"))
    await world.settle()
    assert {gitops.verdict(await world.cluster.get(key)) for key in keys} == {DONE}
    bad = mrds.definition("urns", state="Active")
    bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {"type": "nonsense"}
    await world.apply(bad)
    await world.settle()
    assert gitops.verdict(await world.cluster.get(mrds.key("urns.vaults.example.org"))) == WRONG
