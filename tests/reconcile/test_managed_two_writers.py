"""Two processes on one managed resource, without any Lease: one begins a create, the other finds it begun.  There is one VPC in the end."""

import asyncio
from dataclasses import replace

import pytest

from groundplane.core.objects import key_of
from tests.reconcile import managed
from tests.reconcile.managed import external_name, get, is_ready

PATIENCE = 75.0  # seconds


class Stopped:
    """A cloud whose next create stops before it is sent, or before its answer is told, until it is let go on."""

    def __init__(self, inner, *, sent):
        self._inner, self._sent = inner, sent
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def create(self, *args):
        made = await self._inner.create(*args) if self._sent else None
        self.reached.set()
        await self.go_on.wait()
        return made or await self._inner.create(*args)


async def begun(aws, *, sent):
    """A world whose process is stopped in the middle of a create, that process, and a second one on the same store."""
    first = await aws.world()
    cloud = Stopped(aws.cloud(now=first.clock), sent=sent)
    first.context = first.engine.context = replace(first.context, cloud=cloud)
    await first.apply(managed.vpc())
    stopped = asyncio.create_task(first.settle())
    await cloud.reached.wait()
    return first, stopped, aws.restarted(first)


async def test_a_create_that_another_process_is_about_to_send_is_waited_for(aws):
    first, stopped, second = await begun(aws, sent=False)
    await second.settle(seconds=PATIENCE - 10)
    assert aws.vpcs() == []
    first.context.cloud.go_on.set()
    await stopped
    await second.settle(seconds=PATIENCE)
    [vpc] = aws.vpcs()
    found = await get(second, managed.vpc())
    assert is_ready(found)
    assert external_name(found) == vpc["VpcId"]


async def test_what_another_process_has_made_is_adopted_before_its_time_is_over(aws):
    _, stopped, second = await begun(aws, sent=True)
    await second.settle(seconds=20)
    [vpc] = aws.vpcs()
    assert external_name(await get(second, managed.vpc())) == vpc["VpcId"]
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)


async def test_a_create_of_a_process_that_is_dead_is_repeated_in_the_end(aws):
    _, stopped, second = await begun(aws, sent=False)
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    await second.settle(seconds=PATIENCE - 10)
    assert aws.vpcs() == []
    await second.settle(seconds=60)
    assert len(aws.vpcs()) == 1
    assert is_ready(await get(second, managed.vpc()))


async def test_a_resource_is_not_let_go_while_another_process_may_still_make_it(aws):
    first, stopped, second = await begun(aws, sent=False)
    await second.cluster.delete(key_of(managed.vpc()))
    await second.settle(seconds=PATIENCE - 10)
    assert await get(second, managed.vpc()) is not None
    first.context.cloud.go_on.set()
    await stopped
    await second.settle(seconds=2 * PATIENCE)
    assert aws.vpcs() == []
    assert await get(second, managed.vpc()) is None


@pytest.mark.parametrize("manifest", [managed.bucket(), managed.role()], ids=["bucket", "role"])
async def test_what_has_a_name_of_our_choice_is_made_without_waiting(aws, manifest):
    first = await aws.world()
    annotations = {"crossplane.io/external-create-pending": "2025-12-31T23:59:00Z"}
    manifest["metadata"]["annotations"] = annotations
    await first.apply(manifest)
    await first.settle(seconds=20)
    assert is_ready(await get(first, manifest))
