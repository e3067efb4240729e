"""Who waits for what, and who is woken: by key and labels, through the real dispatcher and queues, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from groundplane.core.declared_kinds import Definitions
from groundplane.core.objects import Key
from groundplane.errors import Awaited
from groundplane.errors import Waiting as NotYet
from groundplane.ports import Context, Options, Result
from groundplane.runtime.dispatch import SPREAD, Dispatcher
from groundplane.runtime.engine import Controller, Engine
from groundplane.runtime.lanes import RATE
from groundplane.runtime.routes import Routes
from groundplane.runtime.waiting import REMEMBERED, REMEMBERED_LABELS, Waiting
from tests.runtime import virtual


def key(name, kind="Thing", namespace="default"):
    return Key("example.org/v1", kind, namespace, name)


def secret(name, namespace="default", **labels):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": labels},
    }


def crd(group, kind):
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{group}"},
        "spec": {"group": group, "names": {"kind": kind}},
    }


def names(targets):
    return sorted(key.name for _, key in targets)


def woken(waiting, obj):
    return names(waiting.woken_by(None, obj).by_key)


@pytest.mark.parametrize(
    "awaited, wakes, leaves",
    [
        (Awaited("", "Secret", "default", "a"), secret("a"), secret("a", namespace="other")),
        (Awaited("", "Secret", name="a"), secret("a", namespace="other"), secret("b")),
        (Awaited("", "Secret", labels=(("x", "1"), ("y", "2"))), secret("c", x="1", y="2"), secret("c", x="1", y="3")),
        (Awaited("example.org", "Thing", served=True), crd("example.org", "Thing"), crd("example.org", "Other")),
    ],
)
def test_a_change_wakes_exactly_who_waits_for_it_and_once(awaited, wakes, leaves):
    waiting = Waiting()
    waiting.wait(("managed", key("w")), [awaited])
    assert woken(waiting, leaves) == []
    assert woken(waiting, wakes) == ["w"]
    assert woken(waiting, wakes) == []
    assert len(waiting) == 0
    assert waiting._slots == {}


def test_an_object_that_loses_the_awaited_label_or_its_life_is_a_change_too():
    waiting = Waiting()
    for before, after in ((secret("a", x="1"), secret("a")), (secret("a", x="1"), None)):
        waiting.wait(("managed", key("w")), [Awaited("", "Secret", labels=(("x", "1"),))])
        assert names(waiting.woken_by(before, after).by_key) == ["w"]


def test_who_waits_for_several_is_woken_by_one_and_waits_for_none():
    waiting = Waiting()
    waiting.wait(("managed", key("w")), [Awaited("", "Secret", name="a"), Awaited("", "Secret", name="b")])
    assert woken(waiting, secret("b")) == ["w"]
    assert woken(waiting, secret("a")) == []


def test_what_came_while_the_reconcile_ran_is_not_missed():
    waiting = Waiting()
    wanted = [Awaited("", "Secret", "default", "a")]
    waiting.woken_by(None, secret("a"))
    since = waiting.now()
    assert waiting.came(wanted, since) == "no"
    waiting.woken_by(None, secret("b"))
    assert waiting.came(wanted, since) == "no"
    waiting.woken_by(None, secret("a"))
    assert waiting.came(wanted, since) == "yes"
    for number in range(REMEMBERED):
        waiting.woken_by(None, secret(f"other-{number}"))
    assert waiting.came(wanted, since) == "unknown"


def test_what_came_behind_an_object_with_very_many_labels_is_not_missed():
    waiting = Waiting()
    wanted = [Awaited("", "Secret", "default", "a")]
    since = waiting.now()
    waiting.woken_by(None, secret("a"))
    many = {f"label-{number}": "x" for number in range(REMEMBERED_LABELS)}
    waiting.woken_by(None, secret("b", **many))
    assert waiting.came(wanted, since) == "yes"
    waiting.woken_by(None, secret("c", **many))
    assert waiting.came(wanted, since) == "unknown"
    assert waiting.came(wanted, waiting.now()) == "no"


class Rig:
    """Reconcilers that wait for what `wants` says until it is in `there`; counts their runs."""

    def __init__(self, wants):
        self.wants, self.there, self.runs, self.events, self.expected = wants, set(), Counter(), [], []
        self.lanes = {}

    async def reconcile(self, key, context):
        self.runs[key.name] += 1
        self.lanes[key.name] = context.lane
        awaited = self.wants(key)
        if awaited not in self.there:
            raise NotYet("not yet", on=[awaited])
        return Result()

    def play(self, scene):
        async def main():
            context = Context(
                cluster=self,
                cloud=None,
                events=None,
                watches=self,
                now=None,
                choose=None,
                compiled=None,
                options=Options(),
            )
            controller = Controller("managed", self.reconcile, lambda key, context: "test", "Failed")
            routes = Routes(Definitions(), lambda version, kind: kind == "Thing", lambda key: None)
            self.dispatcher = Dispatcher(Engine([controller], context), routes, peek=lambda key: None)
            running = asyncio.create_task(self.dispatcher.run())
            await scene(self.dispatcher)
            await self.dispatcher.drain(10)
            await running

        virtual.run(main())
        return self

    def expect(self, awaited):
        self.expected += awaited

    async def get(self, key):
        return None


def test_three_hundred_that_wait_for_a_secret_sleep_through_twenty_others_a_second_and_wake_when_it_comes():
    rig = Rig(lambda key: Awaited("", "Secret", "default", "awaited"))

    async def scene(dispatcher):
        for number in range(300):
            dispatcher.enqueue(key(f"thing-{number}"))
        await asyncio.sleep(40)  # by now they back off for longer than ten seconds
        before = rig.runs.total()
        for number in range(200):
            dispatcher.dispatch(None, secret(f"other-{number % 20}", x=str(number)))
            await asyncio.sleep(0.05)
        assert rig.runs.total() - before <= 300  # their own retries, at most one each
        asked = Counter(rig.runs)
        rig.there.add(Awaited("", "Secret", "default", "awaited"))
        dispatcher.dispatch(None, secret("awaited"))
        await asyncio.sleep(300 / RATE)  # a herd that wakes has the pace of retries
        assert rig.runs.total() - asked.total() == 300
        assert set((rig.runs - asked).values()) == {1}

    rig.play(scene)
    assert set(rig.expected) == {Awaited("", "Secret", "default", "awaited")}


def listed(name, **changes):
    """A thing as it was found when its kind was listed: settled, but for what `changes`."""
    settled = {"conditions": [{"type": "Synced", "status": "True"}], "observedGeneration": 1}
    metadata = {"name": name, "namespace": "default", "uid": name, "generation": 1}
    thing = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": metadata, "status": settled}
    return {**thing, **changes, "metadata": {**metadata, **changes.get("metadata", {})}}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {}},
        {"metadata": {"generation": 2}},
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"metadata": {"annotations": {"crossplane.io/external-create-pending": "2026-01-01T00:00:00Z"}}},
    ],
    ids=["new", "edited", "being deleted", "half made"],
)
@pytest.mark.parametrize("begins", [True, False], ids=["known before", "listed late"])
def test_what_somebody_waits_for_does_not_wait_for_all_that_is_there_when_a_process_starts(begins, changes):
    rig = Rig(lambda key: Awaited("", "Secret", "default", "there"))
    rig.there.add(Awaited("", "Secret", "default", "there"))

    async def scene(dispatcher):
        for obj in (*(listed(f"thing-{number}") for number in range(1000)), listed("mine", **changes)):
            if begins:
                dispatcher.begin(obj)
            else:
                dispatcher.dispatch(None, obj, idle=True)
        await asyncio.sleep(1)
        assert rig.runs["mine"] == 1
        assert rig.lanes["mine"] == "change"
        assert rig.runs.total() <= 3 * RATE
        await asyncio.sleep(1000 / RATE)
        assert rig.runs.total() == 1001

    rig.play(scene)


def test_an_awaited_object_that_changes_all_the_time_does_not_run_its_waiters_all_the_time():
    rig = Rig(lambda key: Awaited("", "Secret", "default", "restless"))

    async def scene(dispatcher):
        for number in range(10):
            dispatcher.enqueue(key(f"thing-{number}"))
        for number in range(1200):
            dispatcher.dispatch(None, secret("restless", x=str(number)))
            await asyncio.sleep(0.05)

    assert max(rig.play(scene).runs.values()) <= 30


def test_of_many_that_are_woken_those_that_failed_are_run_first_and_the_others_spread_over_minutes():
    rig = Rig(lambda key: Awaited("", "Secret", "default", "awaited" if int(key.name) % 10 == 0 else "there"))
    rig.there.add(Awaited("", "Secret", "default", "there"))
    keys = [key(f"{number}") for number in range(1000)]

    async def scene(dispatcher):
        for each in keys:
            dispatcher.enqueue(each)
        await asyncio.sleep(200)
        rig.there.add(Awaited("", "Secret", "default", "awaited"))
        rig.runs.clear()
        dispatcher.wake(keys)
        await asyncio.sleep(100 / RATE)
        assert sum(int(name) % 10 == 0 for name in rig.runs) == 100
        assert rig.runs.total() < 100 + 2 * (100 / RATE) / SPREAD
        await asyncio.sleep(SPREAD * 900 / 2)
        assert 300 < rig.runs.total() < 800
        await asyncio.sleep(SPREAD * 900 / 2)
        assert set(rig.runs.values()) == {1}
        assert rig.runs.total() == 1000
        assert Counter(rig.lanes.values()) == {"retry": 100, "poll": 900}  # polls travel together

    rig.play(scene)


def test_a_deleted_object_waits_for_nothing_any_more():
    rig = Rig(lambda key: Awaited("", "Secret", "default", "awaited"))

    async def scene(dispatcher):
        gone = {"apiVersion": "example.org/v1", "kind": "Gone", "metadata": {"name": "a", "namespace": "default"}}
        dispatcher._engine.waiting.wait(
            ("managed", Key("example.org/v1", "Gone", "default", "a")), [Awaited("", "Secret")]
        )
        dispatcher.dispatch(gone, None)
        assert len(dispatcher._engine.waiting) == 0

    rig.play(scene)
