"""A process that dies after any of its writes, to this cluster or to the other: the next one finds its way, and leaves nothing behind."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from groundplane.core.objects import key_of, meta
from groundplane.objects.cloud import ObjectCloud
from groundplane.runtime.clouds import Clouds
from tests.objects.conftest import (
    Targets,
    again,
    config,
    configmap,
    is_ready,
    made,
    message,
    secret,
    secret_of,
    seen,
    thing,
)
from tests.reconcile.interrupt import Counter, FragileCluster, Killed, Trouble

MOST = 60  # writes that a life has at most
OTHER = "other"


class FragileTargets(Targets):
    """The same clusters, whose writes count."""

    def __init__(self, targets, here, counter):
        super().__init__(here)
        self.others = {name: FragileCluster(each, counter, Trouble.KILLED) for name, each in targets.others.items()}


async def life(fatal, *, remote):
    """A life whose process dies once, and is succeeded; whether it died."""
    world = await made()
    other = (await made()).cluster if remote else world.cluster
    world.targets.others[OTHER] = other
    reference = {"name": "kubeconfig", "namespace": "shop", "key": "kubeconfig"}
    there = config(name=OTHER, credentials={"source": "Secret", "secretRef": reference})
    base, source = configmap("base"), configmap("source")
    await world.apply(secret("kubeconfig", kubeconfig=OTHER), there, base, source)
    await world.settle()
    path = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop"}
    mine = thing(
        configmap(),
        providerConfigRef={"name": OTHER if remote else "default"},
        references=[
            {"patchesFrom": {**path, "name": "source", "fieldPath": "data.colour"}, "toFieldPath": "data.taken"},
            {"dependsOn": {**path, "name": "base"}},
        ],
        connectionDetails=[{**path, "name": "settings", "fieldPath": "data.taken", "toConnectionSecretKey": "taken"}],
        writeConnectionSecretToRef={"name": "conn", "namespace": "shop"},
    )
    counter = Counter(fatal)

    def fragile(world):
        cluster = FragileCluster(world.cluster, counter, Trouble.KILLED)
        clouds = Clouds(
            {"objects": lambda: ObjectCloud(FragileTargets(world.targets, cluster, counter), now=world.clock)}
        )
        return within(world, clouds, cluster)

    def within(world, clouds, cluster):
        fresh = world.restarted(cloud=clouds)
        fresh.targets = world.targets
        fresh.context = fresh.engine.context = replace(fresh.context, cluster=cluster)
        return fresh

    async def settled(world, seconds):
        """Whoever is at work now; the world that it ends in."""
        try:
            await world.settle(seconds=seconds)
            return world
        except Killed:
            again = within(
                world, Clouds({"objects": lambda: ObjectCloud(world.targets, now=world.clock)}), world.cluster
            )
            await again.settle(seconds=seconds + 100)
            return again

    async def played(*todo, seconds=40):
        nonlocal world
        for each in todo:
            await each
        world = await settled(fragile(world) if not counter.times else world, seconds)

    await played(world.apply(mine))
    assert is_ready(await seen(world, mine)), f"{fatal}: {message(await seen(world, mine))}"
    live = await other.get(key_of(configmap()))
    assert live["data"] == {"colour": "blue", "taken": "blue"}, fatal
    assert await secret_of(world, "conn") == {"taken": "blue"}
    references = [{"dependsOn": {**path, "name": "base"}}]
    await played(
        world.patch(key_of(mine), {"spec": {"references": references, "connectionDetails": None}}),
        other.patch(key_of(configmap()), {"data": {"colour": "grey"}}),
        seconds=130,
    )
    assert (await other.get(key_of(configmap())))["data"] == {"colour": "blue"}, fatal
    assert not meta(await seen(world, source)).get("finalizers"), fatal
    assert len(meta(await seen(world, base))["finalizers"]) == 1, fatal
    await played(world.cluster.delete(key_of(mine)), seconds=60)
    assert await seen(world, mine) is None, f"{fatal}: {message(await seen(world, mine))}"
    assert await other.get(key_of(configmap())) is None, fatal
    assert not meta(await seen(world, base)).get("finalizers"), fatal
    assert [each["kind"] for each in world.objects() if each["kind"] == "ProviderConfigUsage"] == []
    return bool(counter.times)


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("fatal", [1, 3, 5, 7, 10, 13])
async def test_who_dies_at_some_write_is_succeeded(fatal, remote):
    assert await life(fatal, remote=remote)


@pytest.mark.parametrize("fatal", [1, 2, 3])
async def test_that_something_was_adopted_is_told_also_by_who_succeeds_who_died(fatal):
    world = await made()
    await world.apply(configmap(colour="green", size="xl"))
    await world.settle(seconds=5)
    counter = Counter(fatal)
    cluster = FragileCluster(world.cluster, counter, Trouble.KILLED)
    targets = Targets(cluster)
    killed = world.restarted(cloud=Clouds({"objects": lambda: ObjectCloud(targets, now=world.clock)}))
    killed.context = killed.engine.context = replace(killed.context, cluster=cluster)
    await killed.apply(thing(configmap()))
    with contextlib.suppress(Killed):
        await killed.settle(seconds=5)
    assert counter.times
    fresh = again(world)
    await fresh.settle(seconds=130)
    assert is_ready(await seen(fresh, thing(configmap())))
    assert world.told.text().count("it is adopted") == 1, world.told.text()


@pytest.mark.soak
@pytest.mark.parametrize("remote", [False, True])
async def test_who_dies_at_any_write_is_succeeded(remote):
    fatal = 1
    while await life(fatal, remote=remote):
        fatal += 1
    assert 12 < fatal < MOST
