"""The event recorder on the embedded store, in virtual time."""

from __future__ import annotations

import asyncio
import datetime
import itertools

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import Key, meta
from groundplane.errors import Denied, Rejected, Unavailable
from groundplane.runtime import events, metrics
from groundplane.runtime.events import EventRecorder
from tests.runtime import virtual

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def thing(name="db", namespace="team", uid="u1"):
    metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": "7"}
    if not namespace:
        del metadata["namespace"]
    return {"apiVersion": "example.org/v1", "kind": "Database", "metadata": metadata}


class Flaky(SqliteCluster):
    """A store that answers with an error for a while."""

    error = None

    async def create(self, obj):
        if self.error:
            raise self.error
        return await super().create(obj)


def play(scene, *, cluster=None, running=True):
    """Run `scene(recorder, cluster)` on a store; then what events there are."""

    async def main():
        loop = asyncio.get_running_loop()
        store = cluster or Flaky(":memory:")
        recorder = EventRecorder(store, lambda: EPOCH + datetime.timedelta(seconds=loop.time()))
        posting = asyncio.create_task(recorder.run()) if running else None
        await scene(recorder, store)
        await recorder.flush()
        if posting:
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)
        found = await store.list("v1", "Event")
        if cluster is None:
            store.close()
        return found

    return virtual.run(main())


def count(result):
    return metrics.registry.get_sample_value("groundplane_events_total", {"result": result}) or 0


def test_an_event_says_what_happened_to_which_object_and_who_says_so():
    async def scene(recorder, store):
        recorder.event(
            thing(), "Warning", "Broken", "it broke", source="managed/database", annotations={"external-name": "x"}
        )

    (event,) = play(scene)
    digest = meta(event)["name"].removeprefix("db.")
    assert meta(event)["namespace"] == "team"
    assert len(digest) == 16
    assert int(digest, 16) >= 0
    assert meta(event)["annotations"] == {"external-name": "x"}
    told = {name: event[name] for name in event if name not in ("metadata", "apiVersion", "kind")}
    assert told == {
        "involvedObject": {
            "apiVersion": "example.org/v1",
            "kind": "Database",
            "namespace": "team",
            "name": "db",
            "uid": "u1",
            "resourceVersion": "7",
        },
        "type": "Warning",
        "reason": "Broken",
        "message": "it broke",
        "source": {"component": "managed/database"},
        "reportingComponent": "managed/database",
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }


def test_the_events_of_a_cluster_scoped_object_are_in_default():
    async def scene(recorder, store):
        recorder.event(thing(namespace=""), "Normal", "Fine", "all is well")

    (event,) = play(scene)
    assert meta(event)["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]


def test_a_repeat_within_five_minutes_is_counted_and_written_after_them():
    async def scene(recorder, store):
        for _ in range(3):
            recorder.event(thing(), "Normal", "Fine", "all is well")
            await asyncio.sleep(10)
        (event,) = await store.list("v1", "Event")
        assert event["count"] == 1
        await asyncio.sleep(300)
        (event,) = await store.list("v1", "Event")
        assert (event["count"], event["lastTimestamp"]) == (3, "2026-01-01T00:00:20Z")

    assert len(play(scene)) == 1


def test_what_repeats_is_written_ever_more_seldom_but_before_it_expires():
    async def scene(recorder, store):
        moments, count = [], 0
        for _ in range(8 * 12):
            recorder.event(thing(), "Normal", "Fine", "all is well")
            await asyncio.sleep(300)
            (event,) = await store.list("v1", "Event")
            if event["count"] > count:
                count = event["count"]
                moments.append(asyncio.get_running_loop().time())
        pauses = [after - before for before, after in itertools.pairwise(moments)]
        assert pauses == sorted(pauses)
        assert pauses[0] <= 600
        assert max(pauses) < 3000
        assert len(pauses) <= 8 * 2 + 2

    play(scene)


def test_what_is_new_goes_before_what_repeats_and_the_namespaces_take_turns():
    written = []

    class Order(Flaky):
        async def create(self, obj):
            written.append(obj["involvedObject"]["name"])
            return await super().create(obj)

        async def patch(self, key, patch, *, subresource=""):
            written.append("repeat")
            return await super().patch(key, patch, subresource=subresource)

    async def scene(recorder, store):
        recorder.event(thing("a", uid="a"), "Normal", "Fine", "all is well")
        await recorder.flush()
        recorder.event(thing("a", uid="a"), "Normal", "Fine", "all is well")
        for number in range(5):
            recorder.event(thing(f"b{number}", uid=f"b{number}"), "Normal", "Fine", "all is well")
        recorder.event(thing("c", namespace="other", uid="c"), "Normal", "Fine", "all is well")
        await recorder.flush()

    play(scene, running=False, cluster=Order(":memory:"))
    assert written == ["a", "b0", "c", "b1", "b2", "b3", "b4", "repeat"]


def test_ten_thousand_first_events_are_all_written_and_hold_back_neither_a_warning_nor_another_namespace():
    last = []

    class Order(Flaky):
        async def create(self, obj):
            last.append(obj["involvedObject"]["name"])
            return obj

    async def scene(recorder, store):
        for number in range(10_000):
            recorder.event(thing(f"b{number}", uid=f"b{number}"), "Normal", "Fine", "all is well")
        recorder.event(thing("c", namespace="other", uid="c"), "Normal", "Fine", "all is well")
        recorder.event(thing("d", uid="d"), "Warning", "Broken", "it is not")
        await asyncio.sleep(205)
        assert len(last) == 10_002
        assert {"c", "d"} <= set(last[:3])

    play(scene, cluster=Order(":memory:"))


def test_what_was_only_counted_is_written_at_the_end():
    async def scene(recorder, store):
        for _ in range(3):
            recorder.event(thing(), "Normal", "Fine", "all is well")
            await asyncio.sleep(1)

    assert [event["count"] for event in play(scene)] == [3]


def test_flushing_writes_also_where_nobody_else_does():
    async def scene(recorder, store):
        recorder.event(thing(), "Normal", "Fine", "all is well")

    assert len(play(scene, running=False)) == 1


def test_events_that_differ_in_anything_are_several():
    async def scene(recorder, store):
        for about, type_, reason, message, source in (
            (thing(), "Normal", "Fine", "a", "x"),
            (thing(uid="u2"), "Normal", "Fine", "a", "x"),
            (thing(), "Warning", "Fine", "a", "x"),
            (thing(), "Normal", "Finer", "a", "x"),
            (thing(), "Normal", "Fine", "b", "x"),
            (thing(), "Normal", "Fine", "a", "y"),
        ):
            recorder.event(about, type_, reason, message, source=source)

    assert len(play(scene)) == 6


def test_a_restarted_recorder_counts_on():
    cluster = SqliteCluster(":memory:")

    async def scene(recorder, store):
        recorder.event(thing(), "Normal", "Fine", "all is well")

    for _ in range(3):
        found = play(scene, cluster=cluster)
    assert [event["count"] for event in found] == [3]
    cluster.close()


def test_an_event_that_has_expired_meanwhile_is_written_anew():
    async def scene(recorder, store):
        recorder.event(thing(), "Normal", "Fine", "all is well")
        await asyncio.sleep(3600)
        (event,) = await store.list("v1", "Event")
        await store.delete(Key("v1", "Event", "team", meta(event)["name"]))
        recorder.event(thing(), "Normal", "Fine", "all is well")
        await asyncio.sleep(1)
        assert [event["count"] for event in await store.list("v1", "Event")] == [2]

    play(scene)


def test_what_the_api_server_can_not_take_now_is_written_later():
    async def scene(recorder, store):
        store.error = Unavailable("the API server can't be reached")
        recorder.event(thing(), "Normal", "Fine", "all is well")
        await asyncio.sleep(100)
        assert await store.list("v1", "Event") == []
        store.error = None
        await asyncio.sleep(60)
        assert len(await store.list("v1", "Event")) == 1

    play(scene)


def test_what_is_refused_is_dropped_and_the_next_is_written():
    before = count("failed")

    async def scene(recorder, store):
        store.error = Denied("events are forbidden")
        recorder.event(thing(), "Normal", "Fine", "lost")
        await asyncio.sleep(1)
        store.error = None
        recorder.event(thing(), "Normal", "Fine", "written")

    assert [event["message"] for event in play(scene)] == ["written"]
    assert count("failed") == before + 1


def test_that_we_may_write_no_events_is_said_ever_more_seldom_and_other_refusals_each_time(monkeypatch):
    said, before = [], count("failed")
    monkeypatch.setattr(events.log, "warning", lambda message, **keys: said.append(keys["error"]))

    async def scene(recorder, store):
        for number in range(3 * 60):
            store.error = Denied("events are forbidden")
            recorder.event(thing(uid=f"u{number}"), "Normal", "Fine", "all is well")
            await asyncio.sleep(30)
            store.error = Rejected("the namespace is gone")
            recorder.event(thing(uid=f"v{number}"), "Normal", "Fine", "all is well")
            await asyncio.sleep(30)

    play(scene)
    assert said.count("events are forbidden") == 8  # after 0, 5, 15, 35 minutes, then each half hour
    assert said.count("the namespace is gone") == 3 * 60
    assert count("failed") == before + 2 * 3 * 60


def test_that_we_may_write_no_events_is_said_soon_again_once_we_could(monkeypatch):
    said = []
    monkeypatch.setattr(events.log, "warning", lambda message, **keys: said.append(asyncio.get_running_loop().time()))

    async def scene(recorder, store):
        for number in range(10):
            store.error = None if number == 5 else Denied("events are forbidden")
            recorder.event(thing(uid=f"u{number}"), "Normal", "Fine", "all is well")
            await asyncio.sleep(600)

    play(scene)
    pauses = [after - before for before, after in itertools.pairwise(said)]
    assert pauses[-1] < max(pauses)


def test_one_object_that_has_too_much_to_tell_is_cut_short_and_the_others_are_not():
    before = count("spam")

    async def scene(recorder, store):
        for number in range(100):
            recorder.event(thing(), "Normal", "Fine", f"number {number}")
        recorder.event(thing("other", uid="u2"), "Normal", "Fine", "me too")

    found = play(scene)
    assert len(found) == events.BURST + 1
    assert count("spam") == before + 75


def test_when_the_memory_is_full_the_oldest_is_forgotten(monkeypatch):
    monkeypatch.setattr(events, "REMEMBERED", 10)
    before = count("overflow")

    async def scene(recorder, store):
        for number in range(30):
            recorder.event(thing(uid=f"u{number}"), "Normal", "Fine", "all is well")

    found = play(scene)
    assert {event["involvedObject"]["uid"] for event in found} == {f"u{number}" for number in range(20, 30)}
    assert count("overflow") == before + 20


def test_no_more_is_written_per_second_than_the_api_server_should_bear():
    async def scene(recorder, store):
        for number in range(events.RATE_BURST + 100):
            recorder.event(thing(uid=f"u{number}"), "Normal", "Fine", "all is well")
        await asyncio.sleep(0.99)
        assert len(await store.list("v1", "Event")) <= events.RATE_BURST + events.RATE
        await asyncio.sleep(2)

    assert len(play(scene)) == events.RATE_BURST + 100


def test_long_names_and_messages_are_shortened_to_what_the_api_server_takes():
    async def scene(recorder, store):
        recorder.event(thing(f"{'a' * 235}-.b"), "Normal", "Fine", "x" * 5000)

    (event,) = play(scene)
    assert len(meta(event)["name"]) <= 253
    assert meta(event)["name"].startswith(f"{'a' * 235}.")
    assert len(event["message"]) == 1024
    assert event["message"].endswith("… (cut: 5000 characters in all)")


def test_flushing_takes_no_longer_than_it_may():
    async def scene(recorder, store):
        store.error = Unavailable("the API server can't be reached")
        recorder.event(thing(), "Normal", "Fine", "all is well")
        await recorder.flush(3)
        assert asyncio.get_running_loop().time() <= 3

    play(scene)
