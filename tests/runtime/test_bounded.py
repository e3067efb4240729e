"""Nothing grows without bound: a day of objects that come, fail, repeat themselves and go, on the virtual clock."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import tracemalloc

from groundplane.cluster.cache import TOMBSTONES, Cache
from groundplane.core.compiled_revisions import CompiledRevisions
from groundplane.core.declared_kinds import Definitions
from groundplane.core.interests import Interests
from groundplane.core.objects import Key
from groundplane.core.pipeline import Selector
from groundplane.errors import AlreadyExists, Awaited, Busy, Conflict, InvalidInput, Unavailable
from groundplane.errors import Waiting as NotYet
from groundplane.ports import Context, Options, Result
from groundplane.runtime import events
from groundplane.runtime.dispatch import Dispatcher
from groundplane.runtime.engine import Controller, Engine
from groundplane.runtime.events import EventRecorder
from groundplane.runtime.queue import STALE
from groundplane.runtime.routes import Routes
from groundplane.runtime.waiting import REMEMBERED_LABELS, Waiting
from tests.runtime import virtual

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
HOUR, DAY = 3600, 86400


def thing(number, *, namespace="team", kind="Thing", version=1):
    return {
        "apiVersion": "example.org/v1",
        "kind": kind,
        "metadata": {
            "name": f"thing-{number}",
            "namespace": namespace,
            "uid": f"uid-{number}",
            "resourceVersion": str(version),
            "labels": {"number": str(number)},
        },
    }


class Writes:
    """An API server that takes events, and tells how long each first one took to come."""

    def __init__(self):
        self.created, self.patched = {}, 0

    async def create(self, event):
        uid = event["involvedObject"]["uid"]
        if uid in self.created:
            raise AlreadyExists(uid)
        self.created[uid] = asyncio.get_running_loop().time()

    async def get(self, key, *, live=False):
        return {"count": 1}

    async def patch(self, key, patch):
        self.patched += 1


def test_events_of_thousands_that_fail_all_day_and_a_new_one_does_not_wait(monkeypatch):
    monkeypatch.setattr(events, "REMEMBERED", 1000)
    writes, sizes = Writes(), []

    async def main():
        loop = asyncio.get_running_loop()
        recorder = EventRecorder(writes, lambda: EPOCH)
        posting = asyncio.create_task(recorder.run())
        for minute in range(0, 24 * 60, 30):
            for number in range(1500):  # more than are remembered
                recorder.event(thing(number), "Warning", "Failed", "it does not work")
            recorder.event(thing(f"new-{minute}", namespace="other"), "Normal", "Made", "it works")
            begun = loop.time()
            await asyncio.sleep(1800)
            sizes.append(recorder.memory())
            assert writes.created[f"uid-new-{minute}"] - begun <= 1
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)

    virtual.run(main())
    assert max(sizes) <= 5 * 1000 + 1000  # series, by share, buckets, backlog and its void entries


def test_repeats_of_thousands_of_events_are_few_writes():
    writes = Writes()

    async def main():
        recorder = EventRecorder(writes, lambda: EPOCH)
        posting = asyncio.create_task(recorder.run())
        for _ in range(12):
            for number in range(2000):
                recorder.event(thing(number), "Warning", "Failed", "it does not work")
            await asyncio.sleep(HOUR / 3)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)

    virtual.run(main())
    assert len(writes.created) == 2000
    assert writes.patched / (4 * HOUR) < 2000 / 1200


def test_an_event_that_waits_for_its_turn_takes_no_more_memory_than_its_text():
    count = 500

    async def main():
        recorder = EventRecorder(Writes(), lambda: EPOCH)
        recorder.event(thing("first"), "Normal", "Made", "it works")  # what is made once
        tracemalloc.start()
        try:
            for number in range(count):
                recorder.event(thing(number), "Normal", "Made", "it works")
            return tracemalloc.get_traced_memory()[0] / count
        finally:
            tracemalloc.stop()

    assert virtual.run(main()) < 5000  # bytes; a buffer of orjson's alone has eight thousand


ERRORS = itertools.cycle(
    (
        Unavailable("down"),
        InvalidInput("wrong"),
        Conflict("again"),
        Busy("not its turn yet", after=60.0),
        NotYet("not yet", on=[Awaited("", "Secret", "team", "a"), Awaited("", "Secret", labels=(("x", "1"),))]),
        NotYet("not yet", on=[Awaited("example.org", "Other")]),
    )
)


async def fails(key, context):
    if key.name.endswith("7"):
        return Result(again=True)
    raise next(ERRORS)


class Nothing:
    """A cluster without objects, and watches that follow nothing."""

    async def get(self, key):
        return None

    def expect(self, awaited):
        return None


def test_queue_waiting_set_and_interests_of_a_day_of_objects_that_fail_and_go():
    sizes = []

    async def main():
        context = Context(Nothing(), None, None, Nothing(), None, None, None, options=Options())
        engine = Engine([Controller("managed", fails, lambda key, context: "test", "Failed")], context)
        alive, served = set(), {"Thing"}
        routes = Routes(Definitions(), lambda version, kind: kind in served, lambda key: None)
        dispatcher = Dispatcher(engine, routes, peek=lambda key: None, exists=alive.__contains__)
        running = asyncio.create_task(dispatcher.run())
        for number in range(DAY // 60):
            made = thing(number)
            key = Key("example.org/v1", "Thing", "team", f"thing-{number}")
            alive.add(key)
            dispatcher.dispatch(None, made)
            context.interests.set(key, (Selector("example.org/v1", f"Kind{number}", name="a"),))
            context.followers.set(key, f"composition-{number}")
            await asyncio.sleep(60)
            if number >= 10:
                gone = Key("example.org/v1", "Thing", "team", f"thing-{number - 10}")
                alive.discard(gone)
                # its kind has gone with it, so that nobody reconciles it for the last time
                served.clear()
                dispatcher.dispatch(thing(number - 10), None)
                served.add("Thing")
            queue = dispatcher._queues["managed"]
            waiting, interests = engine.waiting, context.interests
            sizes.append(
                queue.memory()
                + len(waiting)
                + len(waiting._slots)
                + len(interests)
                + len(interests._composites)
                + len(context.followers)
            )
            assert all(len(known) <= len(alive) for known in (engine._conflicts, engine._failures, engine._held))
        await dispatcher.drain(10)
        await running

    virtual.run(main())
    assert max(sizes[-100:]) <= max(sizes[:100]) + STALE  # no more than the void entries of a heap


def test_changes_of_one_object_with_ten_thousand_labels_that_is_edited_all_day():
    waiting = Waiting()
    made = thing(1)
    made["metadata"]["labels"] = {f"label-{number}": "x" for number in range(10_000)}
    sizes = []
    for _ in range(DAY // 600):
        waiting.woken_by(made, made)
        sizes.append(waiting.memory())
    assert max(sizes) <= REMEMBERED_LABELS


def test_the_cache_of_a_day_of_objects_that_come_and_go():
    cache = Cache()
    cache.follow("example.org/v1", "Thing")
    for number in range(DAY // 5):
        cache.put(thing(number, version=2 * number + 1))
        cache.remove(Key("example.org/v1", "Thing", "team", f"thing-{number}"), str(2 * number + 2))
    store = cache._stores["example.org/v1", "Thing"]
    assert (len(store.objects), len(store.labels), len(store.controllers)) == (0, 0, 0)
    assert len(cache._tombstones) <= TOMBSTONES


def test_compiled_revisions_are_those_used_last():
    forms = CompiledRevisions(20)
    for name in ("used", "old", *range(DAY // 60)):
        forms.put(thing(name), {}, f"compiled {name}")
        assert forms.get(thing("used"), {}) == "compiled used"
    assert forms.get(thing("old"), {}) is None
    assert len(forms) == 20


def test_interests_in_kinds_that_come_and_go():
    interests = Interests()
    for number in range(DAY // 60):
        key = Key("example.org/v1", "XThing", "", f"x-{number}")
        interests.set(key, (Selector("example.org/v1", f"Kind{number}", name="a"),))
        interests.set(key, ())
    assert (len(interests), len(interests._composites)) == (0, 0)
