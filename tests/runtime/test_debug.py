"""What the page /debug tells: queues, who waits for what, budgets; bounded, and no more of an object than its name."""

from __future__ import annotations

import asyncio

from groundplane.aws.budget import Budgets, Place
from groundplane.core.objects import Key
from groundplane.errors import Awaited
from groundplane.runtime.queue import Queue, Retry
from groundplane.runtime.waiting import Waiting


def key(number):
    return Key("v1", "Thing", "team", f"thing-{number}")


async def test_a_queue_tells_what_runs_and_what_keeps_failing_the_most_stubborn_first():
    hold, held = asyncio.Event(), asyncio.Event()

    async def handle(each, lane):
        if each == key(0):
            held.set()
            await hold.wait()
        return Retry(0.0)

    queue = Queue("test", handle)
    running = asyncio.create_task(queue.run(workers=2))
    for number in range(5):
        queue.add(key(number))
    await held.wait()
    async with asyncio.timeout(60):
        while queue.told(10)["failing"] != 4:
            await asyncio.sleep(0)
    told = queue.told(2)
    assert [each["key"] for each in told["running"]][:1] == [str(key(0))]
    counts = [each["inARow"] for each in told["failures"]]
    assert len(counts) == 2
    assert counts == sorted(counts, reverse=True)
    hold.set()
    await queue.drain(1)
    await running


def test_who_waits_is_told_with_what_for_and_not_more_than_asked_for():
    waiting = Waiting()
    for number in range(3):
        waiting.wait(("managed", key(number)), [Awaited("ec2.aws.upbound.io", "VPC", name="main")])
    told = waiting.told(2)
    assert told == [
        {"controller": "managed", "key": str(key(number)), "for": ["ec2.aws.upbound.io VPC main"]}
        for number in range(2)
    ]


async def test_budgets_that_fail_are_told_first_and_never_by_their_credentials():
    budgets = Budgets(16)
    for service, fate in (("rds", "answered"), ("ec2", "silent")):
        call = await budgets.begin(Place("default", "eu-west-1", service, version="digest-of-credentials"))
        budgets.done(call, fate, "no answer")
    first, second = budgets.told()
    assert (first["service"], first["failures"], first["problem"]) == ("ec2", 1, "no answer")
    assert (second["service"], second["failures"]) == ("rds", 0)
    assert "digest-of-credentials" not in str(budgets.told())
