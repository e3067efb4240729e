"""An object whose contents can't be read is told so by the engine all the same: what is left of it takes a status."""

from __future__ import annotations

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import conditions
from groundplane.core.objects import Key
from groundplane.errors import TooDeep
from groundplane.runtime.queue import Retry
from tests.world import Clock, World

KEY = Key("aws.upbound.io/v1beta1", "ProviderConfig", "", "deep")
CONFIG = {
    "apiVersion": KEY.api_version,
    "kind": KEY.kind,
    "metadata": {"name": KEY.name},
    "spec": {"credentials": {"source": "None"}},
}


class Unreadable(SqliteCluster):
    """Has, of one object, no more than its metadata to give, as the cache of an API server's objects has."""

    async def get(self, key, *, live=False):
        found = await super().get(key, live=live)
        if key != KEY or live:
            return found
        left = {name: value for name, value in found.items() if name != "spec"}
        raise TooDeep(f"{key} is nested too deep to be worked with", obj=left, mend="make it flatter")


async def test_an_object_whose_contents_cannot_be_read_is_told_so_and_keeps_them():
    clock = Clock()
    world = await World(cluster=Unreadable(":memory:", now=clock), clock=clock).install()
    await world.apply(CONFIG)
    assert isinstance(await world.engine.process("providerconfig", KEY), Retry)
    found = await world.cluster.get(KEY, live=True)
    assert conditions.find(found, "Synced")["message"].startswith("ProviderConfig deep is nested too deep")
    assert found["spec"] == CONFIG["spec"]
    assert "nested too deep" in world.told.text()
