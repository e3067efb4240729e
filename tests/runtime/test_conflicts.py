"""Conflicts that no fresh read ends: retried less and less often, and told once."""

from __future__ import annotations

import logging

from groundplane.core import conditions
from groundplane.core.objects import Key
from groundplane.errors import Conflict
from groundplane.ports import Result
from groundplane.runtime.engine import LONGEST_AGAIN, STUBBORN, Controller, Engine
from groundplane.runtime.queue import Done, Retry
from tests.world import World

CONFIG = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": "a"},
    "spec": {"credentials": {"source": "None"}},
}
KEY = Key("aws.upbound.io/v1beta1", "ProviderConfig", "", "a")


async def test_a_webhook_that_answers_409_is_no_race(caplog):
    caplog.set_level(logging.INFO)
    world = await World().install()
    await world.apply(CONFIG)
    answers = ["no"] * 12 + ["other"] * 2

    async def reconcile(key, context):
        if answers:
            raise Conflict(f'admission webhook "{answers.pop(0)}.example.org" denied the request')
        return Result()

    controller = Controller("providerconfig", reconcile, lambda key, context: "test", "Failed")
    engine = Engine([controller], world.context)
    outcomes = [await engine.process("providerconfig", KEY) for _ in range(STUBBORN - 1)]
    pauses = [outcome.after for outcome in outcomes]
    assert pauses == [min(LONGEST_AGAIN, 0.1 * 2**times) for times in range(STUBBORN - 1)]
    assert world.told.events == []
    assert conditions.find(await world.cluster.get(KEY), "Synced") is None

    outcomes = [await engine.process("providerconfig", KEY) for _ in range(3)]
    assert [each.getMessage() for each in caplog.records].count("reconcile did not go through") == 1
    assert outcomes[1:] == [Retry(LONGEST_AGAIN)] * 2
    synced = conditions.find(await world.cluster.get(KEY), "Synced")
    assert (synced["status"], "10 conflicts in a row" in synced["message"]) == ("False", True)
    assert 'webhook "no.example.org"' in synced["message"]
    assert len(world.told.events) == 1

    for _ in range(2):  # that one let go, and the next one does not
        await engine.process("providerconfig", KEY)
    synced = conditions.find(await world.cluster.get(KEY), "Synced")
    assert 'webhook "other.example.org"' in synced["message"]
    assert len(world.told.events) == 2
    assert await engine.process("providerconfig", KEY) == Done()
    assert engine._conflicts == {}
