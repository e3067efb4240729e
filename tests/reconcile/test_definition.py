"""From a definition to its kinds being followed."""

import asyncio
from dataclasses import replace

import pytest

from groundplane.core.objects import key_of
from groundplane.reconcile import definition
from tests.reconcile import things
from tests.world import NoWatches

XTHING = key_of(things.XRD)


class Slow(NoWatches):
    """Follows the composites and the claims of a definition, neither before both are asked for."""

    def __init__(self, world):
        super().__init__(world)
        self.asked, self.both, self.early = set(), asyncio.Event(), False

    async def follow(self, api_version, kind, plural, *, namespaced, role):
        if role not in self.asked:
            self.asked.add(role)
            if self.asked == {"composite", "claim"}:
                self.both.set()
            await self.both.wait()
            self.early |= self._world.context.definitions.claim("example.org", "Thing") is not None


@pytest.mark.parametrize(
    "begun", [(definition.define, definition.offer), (definition.offer,)], ids=["both sides", "the claims' first"]
)
async def test_a_process_that_starts_lists_claims_and_composites_at_the_same_time_and_begins_with_claims_once_both_are_known(
    begun,
):
    world = await things.a_world()
    await things.running(world)
    fresh = world.restarted()
    fresh.context = replace(fresh.context, watches=Slow(fresh))
    async with asyncio.timeout(10):
        await asyncio.gather(*(begin(XTHING, fresh.context) for begin in begun))
    assert not fresh.context.watches.early, "a claim would be reconciled, and not find its composite"
    assert ("claim", things.CLAIM) in fresh.due
