"""What Crossplane's init makes is there, and whoever edits it has the last word."""

from __future__ import annotations

import pytest

from groundplane.core.objects import Key, key_of
from groundplane.errors import AlreadyExists, Denied, NoSuchKind
from groundplane.runtime import initial
from tests.world import World

KEYS = [
    Key("pkg.crossplane.io/v1beta1", "Lock", "", "lock"),
    Key("pkg.crossplane.io/v1beta1", "DeploymentRuntimeConfig", "", "default"),
]


async def test_what_is_missing_is_made():
    world = await World().install()
    await initial.make(world.cluster)
    assert [key_of(await world.cluster.get(key)) for key in KEYS] == KEYS


async def test_what_is_there_stays_as_it_is():
    world = await World().install()
    metadata = {"name": "default", "labels": {"team": "a"}}
    theirs = {"apiVersion": KEYS[1].api_version, "kind": KEYS[1].kind, "metadata": metadata}
    before = await world.cluster.create(theirs | {"spec": {"serviceTemplate": {"metadata": {"name": "x"}}}})
    await initial.make(world.cluster)
    await initial.make(world.cluster)
    assert await world.cluster.get(KEYS[1]) == before
    assert await world.cluster.get(KEYS[0])


@pytest.mark.parametrize("error", [NoSuchKind("no Lock"), Denied("may not"), AlreadyExists("it is there")])
async def test_what_may_not_be_made_keeps_nobody_from_working(error, monkeypatch):
    world = await World().install()

    async def create(obj):
        raise error

    monkeypatch.setattr(world.cluster, "create", create)
    await initial.make(world.cluster)
    assert await world.cluster.get(KEYS[0]) is None
