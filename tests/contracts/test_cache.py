"""The cache alone: what is newer wins, what is deleted stays deleted, nothing is shared, each change is told once."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import tracemalloc

import orjson
import pytest
from aiohttp import web

from groundplane.cluster import own_writes
from groundplane.cluster.cache import BATCH, Cache, Reading
from groundplane.cluster.client import Api
from groundplane.cluster.credentials import Access
from groundplane.cluster.heads import Heads
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core import usages
from groundplane.core.objects import Key, meta
from groundplane.errors import Conflict
from tests.contracts.scripted import serving

BOX = ("example.org/v1", "Box")


def box(name="a", version=1, *, uid="", labels=None, owner="", namespace="ns", **spec):
    metadata = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    if labels:
        metadata["labels"] = labels
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    return {"apiVersion": BOX[0], "kind": BOX[1], "metadata": metadata, "spec": spec}


def key(name="a", namespace="ns"):
    return Key(*BOX, namespace, name)


@pytest.fixture
def told():
    return []


@pytest.fixture
def cache(told):
    cache = Cache()
    cache.follow(*BOX, lambda change: told.append((change.key.name, change.old is not None, change.new is not None)))
    return cache


def test_a_kind_that_nobody_follows_is_not_kept():
    cache = Cache()
    assert cache.put(box()) is None
    assert cache.get(key()) is None
    assert not cache.synced(*BOX)


def test_a_change_tells_what_was_and_what_is(cache):
    assert cache.put(box(size=1)).old is None
    change = cache.put(box(version=2, size=2))
    assert (change.key, change.old["spec"], change.new["spec"]) == (key(), {"size": 1}, {"size": 2})


def test_a_write_of_somebody_else_between_two_of_ours_is_told(cache, told):
    cache.put(box(version=1))
    cache.put(box(version=2), ours=True)
    cache.put(box(version=4, theirs=True), ours=True)
    told.clear()
    assert [cache.put(box(version=version)) is not None for version in (2, 3, 4, 4)] == [False, True, False, False]
    assert told == [("a", True, True)]
    assert cache.get(key())["spec"] == {"theirs": True}
    assert cache.put(box(version=3)) is None  # told once


OURS, OTHERS = ("managed", Key(*BOX, "ns", "a")), ("composite", Key(*BOX, "", "x"))


@pytest.fixture
def but():
    """Whom each change that is told is not for."""
    return []


@pytest.fixture
def heard(but):
    """A cache that has one object, of version 1."""
    cache = Cache()
    cache.follow(*BOX, lambda change: but.append((set(own_writes.writers()), change.new is not None)))
    cache.put(box(version=1))
    but.clear()
    return cache


def test_our_write_of_which_the_watch_tells_before_its_answer_comes_is_told_to_all_others_at_once(heard, but):
    with own_writes.running(OURS), heard.writing(key()) as answers:
        watch = contextvars.Context()
        watch.run(heard.put, box(version=2))
        assert but == [({OURS}, True)]
        heard.put(box(version=2), ours=True)
        answers.append(box(version=2))
    watch.run(heard.put, box(version=2))
    assert but == [({OURS}, True)]
    assert len(heard._flights) == 0


@pytest.mark.parametrize("answer", [3, None])
def test_somebody_elses_write_while_ours_is_on_its_way_is_told_to_us_as_well(heard, but, answer):
    with contextlib.suppress(Conflict), own_writes.running(OURS), heard.writing(key()) as answers:
        contextvars.Context().run(heard.put, box(version=2, theirs=True))
        if answer is None:
            raise Conflict("somebody was faster")
        heard.put(box(version=answer), ours=True)
        answers.append(box(version=answer))
    assert but[0] == ({OURS}, True)
    assert but[-1] == (set(), True)
    assert len(heard._flights) == 0


def test_of_two_writes_at_a_time_each_learns_of_the_others(heard, but):
    with own_writes.running(OURS), heard.writing(key()) as ours:
        with own_writes.running(OTHERS), heard.writing(key()) as others:
            contextvars.Context().run(heard.put, box(version=2))
            contextvars.Context().run(heard.put, box(version=3))
            others.append(box(version=2))
        assert but == [({OURS, OTHERS}, True)] * 2 + [(set(), True)]
        ours.append(box(version=3))
    assert but[3:] == [(set(), True)]


def test_a_write_outside_of_any_reconcile_leaves_nobody_out(heard, but):
    with heard.writing(key()) as answers:
        heard.put(box(version=2))
        answers.append(box(version=2))
    assert but == [(set(), True)]


def test_what_we_wrote_alone_is_told_once_however_often_and_late_its_events_come(cache, told):
    cache.put(box(version=1), ours=True)
    for version in range(2, 8):
        cache.put(box(version=version), ours=True)
    told.clear()
    for version in range(1, 8):
        assert cache.put(box(version=version)) is None
    assert told == []


@pytest.mark.parametrize("version", [5, 4, 10_000_000_000])
def test_only_a_newer_version_replaces_what_is_there_and_versions_are_numbers(cache, told, version):
    cache.put(box(version=5, size=1))
    change = cache.put(box(version=version, size=2))
    assert (change is not None) == (version > 5)
    assert cache.get(key())["spec"] == {"size": 2 if version > 5 else 1}
    assert len(told) == (2 if version > 5 else 1)


def test_what_is_read_is_the_readers_own(cache):
    obj = box(size=1)
    cache.put(obj)
    obj["spec"]["size"] = 2
    cache.get(key())["spec"]["size"] = 3
    cache.list(*BOX)[0]["spec"]["size"] = 4
    assert cache.get(key())["spec"] == {"size": 1}


def test_a_list_makes_the_kind_synced_and_tells_what_is_gone(cache, told):
    cache.put(box("a", 1))
    cache.put(box("b", 2))
    changes = cache.replace(*BOX, [box("b", 2), box("c", 3)], resource_version="3")
    assert cache.synced(*BOX)
    assert sorted((change.key.name, change.new is not None) for change in changes) == [("a", False), ("c", True)]
    assert told[2:] == [("c", False, True), ("a", True, False)]


def test_what_we_wrote_after_a_list_was_made_survives_it(cache):
    cache.put(box("a", 9, size=9))
    cache.put(box("new", 8))
    cache.replace(*BOX, [box("a", 5, size=5)], resource_version="7")
    assert cache.get(key("a"))["spec"] == {"size": 9}
    assert cache.get(key("new")) is not None


def test_a_list_from_a_restored_backup_is_believed(cache):
    cache.replace(*BOX, [box("a", 100, size=2), box("b", 90)], resource_version="100")
    cache.replace(*BOX, [box("a", 50, size=1)], resource_version="60")
    assert cache.get(key("a"))["spec"] == {"size": 1}
    assert cache.get(key("b")) is None
    assert cache.put(box("a", 61, size=3)) is not None


def listed_in(cache, namespace, version, *objects):
    listing = cache.listing(*BOX, str(version), namespace=namespace)
    for obj in objects:
        listing.add(obj)
    return [(change.key.namespace, change.key.name) for change in listing.finish()]


def test_a_list_of_one_namespace_says_nothing_of_the_others(cache):
    cache.follow(*BOX, partial=True)
    listed_in(cache, "one", 10, box("a", 5, namespace="one"), box("b", 6, namespace="one"))
    listed_in(cache, "two", 11, box("a", 7, namespace="two"))
    assert listed_in(cache, "one", 12, box("a", 5, namespace="one")) == [("one", "b")]
    assert cache.get(key("a", "two"))
    assert not cache.synced(*BOX)


def test_how_far_one_namespace_was_told_says_nothing_of_another_ones_list(cache):
    """What was written after its list was made stays, though the others' watch is further."""
    cache.follow(*BOX, partial=True)
    cache.put(box("a", 9, namespace="one", size=9))
    cache.saw(*BOX, "20", namespace="two")
    listed_in(cache, "one", 7, box("a", 5, namespace="one", size=5))
    assert cache.get(key("a", "one"))["spec"] == {"size": 9}
    cache.saw(*BOX, "20", namespace="one")
    listed_in(cache, "one", 7, box("a", 5, namespace="one", size=5))  # restored from a backup
    assert cache.get(key("a", "one"))["spec"] == {"size": 5}


def test_a_late_event_does_not_bring_a_deleted_object_back(cache):
    cache.put(box(version=5))
    assert cache.remove(key(), uid="uid-a").new is None
    assert cache.put(box(version=6)) is None  # the same incarnation: that its deletion was version 8, nobody told us
    assert cache.put(box(version=4, uid="before")) is None
    assert cache.put(box(version=9, uid="after")) is not None


def test_a_late_deletion_does_not_touch_the_next_incarnation(cache):
    cache.put(box(version=9, uid="after"))
    assert cache.remove(key(), "8", uid="uid-a") is None
    assert cache.get(key())["metadata"]["uid"] == "after"
    assert cache.put(box(version=7)) is None


def test_an_object_that_was_deleted_before_it_was_known_stays_unknown(cache):
    assert cache.remove(key(), "8", uid="uid-a") is None
    assert cache.put(box(version=7)) is None


def test_of_a_kind_that_comes_by_a_label_what_has_it_not_is_not_kept_however_much_there_is(cache):
    cache.follow(*BOX, label="ours")
    ours, theirs = box("ours", 1, labels={"ours": "x"}), box("theirs", 2)
    assert cache.keeps(ours)
    assert not cache.keeps(theirs)
    assert cache.certain(key("ours")) is None  # not listed yet
    cache.replace(*BOX, [ours], resource_version="2")
    assert cache.certain(key("ours"))["metadata"]["name"] == "ours"
    assert not cache.synced(*BOX)  # what is not in here may be there all the same
    assert cache.knows_all(*BOX, {"ours": "y", "more": "z"})
    assert not cache.knows_all(*BOX, {"more": "z"})
    assert cache.count() == {BOX: 1}


def test_what_lost_its_label_is_there_again_when_the_whole_kind_is_wanted(cache, told):
    cache.follow(*BOX, label="ours")
    cache.replace(*BOX, [box("a", 1, labels={"ours": "x"})], resource_version="1")
    cache.remove(key(), "2", uid="uid-a")
    cache.follow(*BOX)
    assert not cache.synced(*BOX)
    cache.replace(*BOX, [box("a", 2)], resource_version="3")
    assert cache.get(key()) is not None
    assert told == [("a", False, True), ("a", True, False), ("a", False, True)]


def test_of_a_partial_kind_an_object_may_come_back_into_the_selection():
    cache = Cache()
    cache.follow(*BOX, partial=True)
    cache.replace(*BOX, [box(version=5)], resource_version="5")
    cache.remove(key(), "6", uid="uid-a")
    assert cache.put(box(version=7)) is not None
    assert not cache.synced(*BOX)
    assert not cache.follows(*BOX)


def test_objects_of_a_kind_that_was_not_served_for_a_while_come_back(cache, told):
    cache.replace(*BOX, [box(version=5)], resource_version="5")
    cache.empty(*BOX)
    assert not cache.synced(*BOX)
    assert cache.get(key()) is None
    cache.replace(*BOX, [box(version=5)], resource_version="9")
    assert told == [("a", False, True), ("a", True, False), ("a", False, True)]


def test_a_dropped_kind_is_forgotten(cache, told):
    cache.replace(*BOX, [box()], resource_version="5")
    cache.drop(*BOX)
    assert not cache.follows(*BOX)
    assert cache.list(*BOX) == []
    assert len(told) == 1


def test_lists_are_sorted_and_chosen_by_namespace_and_labels(cache):
    cache.put(box("b", 1, namespace="x", labels={"app": "one", "tier": "db"}))
    cache.put(box("a", 2, namespace="y", labels={"app": "one"}))
    cache.put(box("a", 3, namespace="x"))

    def found(**selection):
        return [(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in cache.list(*BOX, **selection)]

    assert found() == [("x", "a"), ("x", "b"), ("y", "a")]
    assert found(namespace="x") == [("x", "a"), ("x", "b")]
    assert found(labels={"app": "one"}) == [("x", "b"), ("y", "a")]
    assert found(labels={"app": "one", "tier": "db"}) == [("x", "b")]
    assert found(labels={"app": "two"}) == []
    cache.put(box("b", 4, namespace="x", labels={"app": "two"}))
    assert found(labels={"app": "one"}) == [("y", "a")]
    cache.remove(key("a", "y"))
    assert found(labels={"app": "one"}) == []


def test_what_a_kind_controls_is_found_whatever_became_of_the_controller(cache):
    def owned(name, version, kind, uid):
        obj = box(name, version)
        owner = {"apiVersion": "example.org/v2", "kind": kind, "uid": uid, "controller": True}
        obj["metadata"]["ownerReferences"] = [owner]
        return obj

    for number, (name, kind, uid) in enumerate([("a", "Crate", "u1"), ("b", "Crate", "u2"), ("c", "Barrel", "u3")]):
        cache.put(owned(name, number + 1, kind, uid))
    cache.put(box("d", 9))
    assert [obj["metadata"]["name"] for obj in cache.dependents("example.org", "Crate")] == ["a", "b"]
    assert cache.dependents("example.net", "Crate") == []
    cache.remove(key("b"))
    assert [obj["metadata"]["name"] for obj in cache.dependents("example.org", "Crate")] == ["a"]


def test_what_one_object_controls_is_listed_by_its_uid(cache):
    for number, (name, owner, labels) in enumerate(
        [("b", "u1", {"app": "x"}), ("a", "u1", None), ("c", "u2", {"app": "x"})]
    ):
        cache.put(box(name, number + 1, owner=owner, labels=labels))

    def names(**how):
        return [obj["metadata"]["name"] for obj in cache.list(*BOX, **how)]

    assert names(controller="u1") == ["a", "b"]
    assert names(controller="u1", labels={"app": "x"}) == ["b"]
    assert names(controller="u3") == []
    cache.put(box("b", 9, owner="u2"))
    assert (names(controller="u1"), names(controller="u2")) == (["a"], ["b", "c"])


def test_a_head_is_cut_once_of_each_version_and_is_the_askers_own(cache):
    cuts = []

    def cut(obj):
        cuts.append((obj["metadata"]["name"], obj["metadata"]["resourceVersion"]))
        return {"metadata": obj["metadata"]}

    cache.put(box("a", 1, labels={"app": "x"}, bulk="x" * 10_000))
    cache.put(box("b", 2, bulk="y" * 10_000))
    for _ in range(3):
        heads = cache.heads(*BOX, cut)
        assert [(sorted(head), head["metadata"]["name"]) for head in heads] == [
            (["metadata"], "a"),
            (["metadata"], "b"),
        ]
        heads[0]["metadata"]["name"] = "mine"
    assert cuts == [("a", "1"), ("b", "2")]
    assert [head["metadata"]["name"] for head in cache.heads(*BOX, cut, labels={"app": "x"})] == ["a"]
    cache.put(box("a", 3, uid="uid-a"))
    assert cache.heads(*BOX, cut, labels={"app": "x"}) == []
    assert [head["metadata"]["resourceVersion"] for head in cache.heads(*BOX, cut)] == ["3", "2"]
    assert cuts == [("a", "1"), ("b", "2"), ("a", "3")]


def test_versions_in_which_objects_are_alike_are_answered_from_the_one_that_is_followed(cache, told):
    other = ("example.org/v2", "Box")
    cache.replace(*BOX, [box("a", 1, labels={"app": "x"})], resource_version="1")
    assert not cache.synced(*other)
    cache.alike("example.org", "Box", [("v1", "v2")])
    assert cache.synced(*other)
    assert cache.follows(*other)
    assert cache.get(Key(*other, "ns", "a")) == box("a", 1, labels={"app": "x"}) | {"apiVersion": other[0]}
    assert cache.get(Key(*other, "ns", "b")) is None
    assert [obj["apiVersion"] for obj in cache.list(*other, labels={"app": "x"})] == [other[0]]
    assert [head["apiVersion"] for head in cache.heads(*other, dict)] == [other[0]]
    assert [head["apiVersion"] for head in cache.heads(*BOX, dict)] == [BOX[0]]
    told.clear()
    cache.put(box("a", 2, size=7) | {"apiVersion": other[0]}, ours=True)
    assert cache.get(key()) == box("a", 2, size=7)
    cache.remove(Key(*other, "ns", "a"))
    assert cache.get(key()) is None
    assert told == [("a", True, True), ("a", True, False)]
    cache.alike("example.org", "Box", [])
    assert not cache.synced(*other)


def test_heads_of_a_day_of_churn_stay_within_bounds():
    heads = Heads(limit=100)
    for number in range(5_000):
        head = heads.get(dict, f"uid-{number}", 1, lambda number=number: {"n": number})
        assert head == {"n": number}
        heads.get(dict, "steady", number, lambda: {})
    assert len(heads) == 100
    assert heads.get(dict, "gone", 1, lambda: None) is None


def test_of_managed_fields_only_what_our_managers_applied_is_kept(cache):
    obj = box()
    obj["metadata"]["managedFields"] = [
        {"manager": "apiextensions.crossplane.io/claim", "operation": "Apply"},
        {"manager": "apiextensions.crossplane.io/claim", "operation": "Update"},
        {"manager": "kubectl", "operation": "Apply"},
    ]
    cache.put(obj)
    assert cache.get(key())["metadata"]["managedFields"] == obj["metadata"]["managedFields"][:1]
    assert len(obj["metadata"]["managedFields"]) == 3


def test_in_whatever_order_a_history_arrives_its_end_is_what_stays():
    """Versions 1 to 9 of one name: three incarnations, the last one alive at the end."""
    history = [("put", v, f"uid-{v // 3}") for v in (1, 2, 4, 5, 7, 8)] + [
        ("remove", 3, "uid-0"),
        ("remove", 6, "uid-1"),
    ]
    for seed in range(300):
        cache = Cache()
        cache.follow(*BOX)
        for verb, version, uid in random.Random(seed).sample(history * 2, len(history) * 2):
            if verb == "put":
                cache.put(box(version=version, uid=uid, size=version))
            else:
                cache.remove(key(), str(version), uid=uid)
        assert cache.get(key())["spec"] == {"size": 8}, seed


def test_an_object_weighs_little_more_than_its_json():
    """10,000 managed resources must fit into the memory of the process."""
    cache = Cache()
    cache.follow(*BOX)
    weight = len(orjson.dumps(box("b", 1, labels={"app": "x"}, text="x" * 3000)))
    tracemalloc.start()
    for n in range(500):
        cache.put(box(f"b{n}", n + 1, labels={"app": "x"}, text="x" * 3000))
    per_object = tracemalloc.get_traced_memory()[0] / 500
    tracemalloc.stop()
    assert per_object < weight + 1000


def test_objects_with_a_label_are_counted_without_being_looked_at(monkeypatch):
    cache = Cache()
    cache.follow("example.org/v1", "Usage")
    for number in range(1000):
        metadata = {"name": f"u-{number}", "uid": f"{number}", "resourceVersion": f"{number + 1}"}
        cache.put({"apiVersion": "example.org/v1", "kind": "Usage", "metadata": {**metadata, "labels": {"of": "a"}}})
    monkeypatch.delattr("groundplane.cluster.cache.orjson")
    assert cache.labelled("example.org/v1", "Usage", ("of", "a")) == 1000
    assert cache.labelled("example.org/v1", "Usage", ("of", "b")) == 0
    assert cache.labelled("example.org/v1", "Other", ("of", "a")) == 0


def test_however_many_kinds_are_listed_at_once_other_work_waits_for_one_batch_of_one_of_them(cache):
    put_since = []  # objects that were put between two looks of the other work

    async def other_work():
        while True:
            before = len(put)
            await asyncio.sleep(0)
            put_since.append(len(put) - before)

    async def listed():
        working = asyncio.create_task(other_work())
        await asyncio.gather(
            *(cache.in_batches([box(str(n)) for n in range(10 * BATCH)], put.append) for _ in range(20))
        )
        working.cancel()

    put = []
    asyncio.run(listed())
    assert len(put) == 20 * 10 * BATCH
    assert max(put_since) <= BATCH


def test_after_a_change_of_the_schema_a_list_tells_what_differs_though_nobody_has_written_it(cache, told):
    cache.replace(*BOX, [box("a"), box("b")], resource_version="5")
    told.clear()
    cache.replace(*BOX, [box("a", tier="gold"), box("b")], resource_version="6")
    assert told == [], "the same version holds the same, as a rule"
    listing = cache.listing(*BOX, "7")
    cache.outdate(*BOX)
    for each in (box("a", tier="gold"), box("b")):
        listing.add(each)
    listing.finish()
    assert told == [], "this list was begun before the change"
    cache.replace(*BOX, [box("a", tier="gold"), box("b")], resource_version="8")
    assert told == [("a", True, True)]
    assert cache.get(key("a"))["spec"] == {"tier": "gold"}
    cache.replace(*BOX, [box("a", tier="lead"), box("b")], resource_version="9")
    assert told == [("a", True, True)]


def test_another_thread_reads_what_there_is_and_puts_nothing_in(cache, told):
    reading = Reading(cache)
    cache.put(box("one"))
    assert reading.get(key("one")) == box("one")
    assert reading.list(*BOX) == [box("one")]
    before = list(told)
    assert reading.put(box("two")) is None
    assert reading.remove(key("one")) is None
    assert cache.list(*BOX) == [box("one")]
    assert told == before


def test_what_another_thread_removes_while_it_is_gone_through_is_left_out(cache):
    reading = Reading(cache)
    for name in ("a", "b", "c"):
        cache.put(box(name, labels={"tier": "gold"}, owner="uid-owner"))
    store = cache._stores[BOX]
    place = ("ns", "b")
    del store.objects[place]  # as between two steps of `remove`
    assert [meta(each)["name"] for each in reading.list(*BOX, labels={"tier": "gold"})] == ["a", "c"]
    assert [meta(each)["name"] for each in reading.heads(*BOX, lambda obj: obj)] == ["a", "c"]


def test_what_stays_as_it_was_is_found_at_every_moment_of_a_change(cache):
    """Else a webhook on another thread would let go of what a usage protects, just as that is edited."""
    cache.follow("protection.crossplane.io/v1beta1", "ClusterUsage")
    cache.put(a_usage(1))
    used, seen = usages.Referent("example.org", "Thing", "", "thing-1"), []
    store = cache._stores["protection.crossplane.io/v1beta1", "ClusterUsage"]

    class Watched(dict):
        def setdefault(self, *args):
            seen.append(len(cache.speaking_of("of", used)))
            return super().setdefault(*args)

        def __delitem__(self, value):
            seen.append(len(cache.speaking_of("of", used)))
            super().__delitem__(value)

    store.labels, store.controllers, store.spoken_of = map(Watched, (store.labels, store.controllers, store.spoken_of))
    changed = a_usage(1, version="2")
    changed["metadata"]["labels"] = {"team": "a"}
    changed["metadata"]["ownerReferences"] = [{"uid": "u", "controller": True, "kind": "Thing", "apiVersion": "v1"}]
    changed["spec"]["by"]["resourceRef"] = {"name": "other"}
    cache.put(changed)
    assert len(seen) >= 4
    assert set(seen) == {1}


def a_usage(number, *, of=None, version="1"):
    named = {"apiVersion": "example.org/v1", "kind": "Thing"}
    parties = {
        "of": of or {**named, "resourceRef": {"name": f"thing-{number}"}},
        "by": {**named, "resourceRef": {"name": "user"}},
    }
    metadata = {"name": f"usage-{number}", "uid": f"uid-{number}", "resourceVersion": version}
    return {
        "apiVersion": "protection.crossplane.io/v1beta1",
        "kind": "ClusterUsage",
        "metadata": metadata,
        "spec": parties,
    }


def test_usages_are_found_by_what_they_speak_of_and_leave_nothing_behind():
    cache = Cache()
    kind = ("protection.crossplane.io/v1beta1", "ClusterUsage")
    cache.follow(*kind)
    for number in range(1000):
        cache.put(a_usage(number))
    thing = usages.Referent("example.org", "Thing", "", "thing-7")
    assert cache.speaking_of("of", thing) == [Key(*kind, "", "usage-7")]
    assert len(cache.speaking_of("by", thing._replace(name="user"))) == 1000
    unresolved = {"apiVersion": "example.org/v1", "kind": "Thing", "resourceSelector": {}}
    cache.put(a_usage(7, of=unresolved, version="2"))
    assert cache.speaking_of("of", thing) == []
    cache.put(a_usage(7, version="3"))
    assert cache.speaking_of("of", thing) == [Key(*kind, "", "usage-7")]
    for number in range(1000):
        cache.remove(Key(*kind, "", f"usage-{number}"), "9")
    assert cache._stores[kind].spoken_of == {}


def test_of_a_kind_whose_objects_are_large_and_seldom_read_little_is_kept():
    cache, told = Cache(), []
    cache.follow(*BOX, lambda change: told.append((change.old, change.new)), compressed=True)
    schema = {f"field{number}": {"type": "string", "description": "what it is good for"} for number in range(2_000)}
    large, small = box("large", labels={"of": "mine"}, owner="o", schema=schema), box("small", size=1)
    listing = cache.listing(*BOX, "1")
    for obj in (large, small):
        listing.add(obj)
    listing.finish()
    assert cache.get(key("large")) == large
    assert cache.get(key("small")) == small
    assert cache.list(*BOX, labels={"of": "mine"}) == cache.list(*BOX, controller="o") == [large]
    assert cache.heads(*BOX, lambda obj: {"metadata": meta(obj)}, labels={"of": "mine"}) == [{"metadata": meta(large)}]
    changed = box("large", 2, schema={})
    cache.put(changed)
    cache.remove(key("large"))
    assert told[2:] == [(large, changed), (changed, None)]
    tracemalloc.start()
    try:
        for number in range(20):
            cache.put(box(f"large{number}", schema=schema))
        told.clear()
        assert tracemalloc.get_traced_memory()[0] < 20 * len(orjson.dumps(large)) / 5
    finally:
        tracemalloc.stop()
    cache.outdate(*BOX)
    assert cache.replace(*BOX, cache.list(*BOX), resource_version="9") == []  # listed anew as it was: nothing is told


@pytest.mark.parametrize("is_pruned", [True, False])
async def test_what_the_answer_to_a_status_has_in_its_spec_and_nobody_has_read_is_told_to_its_writer_too(is_pruned):
    """A watch that began before a kind gained a field tells of objects without it, in the version that they have with it."""
    discovered = {
        "resources": [{"kind": "Box", "name": "boxes", "namespaced": True}, {"kind": "Box", "name": "boxes/status"}]
    }
    answer = box(version=6, size=1, **({"new": 2} if is_pruned else {})) | {"status": {"seen": 1}}
    told, cache = [], Cache()
    cache.follow(*BOX, lambda change: told.append((change.new["spec"], set(own_writes.writers()))))
    cache.put(box(version=5, size=1))
    async with serving() as server:
        server.answers = [lambda _: web.json_response(discovered), lambda _: web.json_response(answer)]
        api = Api(Access(server.url))
        try:
            with own_writes.running(OURS):
                await KubernetesCluster(api, cache).update(
                    box(version=5, size=1) | {"status": {"seen": 1}}, subresource="status"
                )
        finally:
            await api.close()
    assert told[1:] == [({"size": 1, "new": 2}, set()) if is_pruned else ({"size": 1}, {OURS})]
    assert cache.get(key())["spec"] == answer["spec"]
