"""A process that dies before its k-th write, a statement or one to the store: the next one finds its way, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from groundplane.core.objects import key_of
from groundplane.runtime.clouds import Clouds
from groundplane.sql.cloud import SqlCloud
from tests.reconcile.interrupt import Counter, FragileCluster, Killed, Trouble
from tests.sql.conftest import is_ready, message, publishes, secret_of, seen, thing

MOST = 60  # writes that a life has at most


async def life(sql, fatal):
    """A life whose process dies once, and is succeeded; whether it died."""
    world, name = await sql.world(), f"{sql.name('c')}-{fatal}"
    counter = Counter(fatal)
    manifests = [
        thing("Role", name, publishes(name), privileges={"login": True}),
        thing("Database", name, owner=name),
        thing("Grant", name, role=name, database=name, privileges=["ALL"], revokePublicOnDb=True),
    ]

    def die():
        if counter.reached():
            raise Killed

    def fragile(world):
        cloud = SqlCloud(now=world.clock, may_write=die)
        sql.clouds.append(cloud)
        fresh = world.restarted(cloud=Clouds({"sql": lambda: cloud}))
        cluster = FragileCluster(world.cluster, counter, Trouble.KILLED)
        fresh.context = fresh.engine.context = replace(fresh.context, cluster=cluster)
        return fresh

    async def settled(world, seconds):
        """Whoever is at work now; the world that it ends in."""
        try:
            await world.settle(seconds=seconds)
            return world
        except Killed:
            await sql.close()
            again = world.restarted(cloud=sql.cloud())
            await again.settle(seconds=seconds + 100)
            return again

    await world.apply(*manifests)
    world = await settled(fragile(world), 30)
    for each in manifests:
        assert is_ready(await seen(world, each)), f"{fatal}: {message(await seen(world, each))}"
    password = (await secret_of(world, name))["password"]
    async with sql.connected(name, name, password):
        pass
    for each in reversed(manifests):
        await world.cluster.delete(key_of(each))
    world = await settled(fragile(world) if not counter.times else world, 60)
    left = [each["kind"] for each in manifests if await seen(world, each)]
    there = await sql.value(
        "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = $1) + (SELECT count(*) FROM pg_database WHERE datname = $2)",
        name,
        name,
    )
    assert (left, there) == ([], 0), f"{fatal}: {left}"
    return bool(counter.times)


@pytest.mark.parametrize("fatal", [3, 7, 12, 20])
async def test_who_dies_at_some_write_is_succeeded(sql, fatal):
    assert await life(sql, fatal)


@pytest.mark.soak
async def test_who_dies_at_any_write_is_succeeded(sql):
    fatal = 1
    while await life(sql, fatal):
        fatal += 1
    assert 15 < fatal < MOST
