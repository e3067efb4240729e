"""What is edited in a loop and read by many: they follow at a pace that their number sets, and see what it is in the end."""

from __future__ import annotations

import asyncio
from collections import Counter

from groundplane.core.objects import Key
from groundplane.core.paces import EACH, FEW, MOST, SAVED, Paces
from groundplane.core.pipeline import Selector
from groundplane.runtime.dispatch import SPREAD
from tests.reconcile.things import VERSION
from tests.runtime.test_circuits import Rig, config

LOUD = Selector("v1", "ConfigMap", "loud", {}, "team")
READERS = 50
SECONDS = 120


def key(number):
    return Key(VERSION, "XThing", "", f"db-{number}")


class Readers(Rig):
    """Composites whose functions read one ConfigMap; what it was when each was reconciled last."""

    def __init__(self, count, **options):
        super().__init__(**options)
        self.count, self.now, self.seen, self.by = count, "", {}, Counter()

    async def reconcile(self, key, context):
        self.by[key] += 1
        self.seen[key] = self.now
        return await super().reconcile(key, context)

    async def storm(self, dispatcher, seconds):
        context = dispatcher._engine.context
        for number in range(self.count):
            context.interests.set(key(number), (LOUD,))
        for number in range(seconds * 5):
            before, self.now = self.now, str(number)
            dispatcher.dispatch(config(before, ownerReferences=[]), config(self.now, ownerReferences=[]))
            await asyncio.sleep(0.2)


def test_what_fifty_read_and_somebody_edits_in_a_loop_is_followed_as_often_as_fifty_allow():
    async def scene(dispatcher):
        await rig.storm(dispatcher, SECONDS)
        await asyncio.sleep(MOST)
        assert set(rig.seen.values()) == {str(SECONDS * 5 - 1)}, "what it is in the end"

    rig = Readers(READERS)
    rig.play(scene)
    most = (SAVED + SECONDS) / (EACH * READERS) + 2
    assert max(rig.by.values()) <= most
    assert len(rig.by) == READERS
    assert min(rig.by.values()) >= most / 2


def test_a_few_edits_are_followed_at_once_and_all_of_an_object_that_is_deleted():
    async def scene(dispatcher):
        await rig.storm(dispatcher, 1)
        assert set(rig.seen.values()) == {"4"}
        await rig.storm(dispatcher, 20)
        rig.now = "going"
        going = config(rig.now, ownerReferences=[], deletionTimestamp="2026-01-01T00:00:00Z")
        dispatcher.dispatch(config("99", ownerReferences=[]), going)
        await asyncio.sleep(0.1)
        assert set(rig.seen.values()) == {"going"}

    rig = Readers(5)
    rig.play(scene)


def test_of_fifty_who_read_what_was_edited_once_few_begin_at_once_and_a_neighbour_waits_for_none():
    """Each keeps the event loop for a while: beside fifty a neighbour's steps would each wait for fifty."""

    async def scene(dispatcher):
        for number in range(READERS):
            dispatcher._engine.context.interests.set(key(number), (LOUD,))
        dispatcher.dispatch(config("before", ownerReferences=[]), config("after", ownerReferences=[]))
        dispatcher.enqueue(key("neighbour"))
        await asyncio.sleep(0.1)
        assert rig.by[key("neighbour")] == 1
        assert rig.by.total() < READERS / 4
        await asyncio.sleep(SPREAD * READERS)
        assert len(rig.by) == rig.by.total() == READERS + 1

    rig = Readers(READERS)
    rig.play(scene)


def test_who_deletes_it_and_makes_it_again_in_a_loop_is_no_faster_than_who_edits_it():
    async def scene(dispatcher):
        for number in range(READERS):
            dispatcher._engine.context.interests.set(key(number), (LOUD,))
        for number in range(SECONDS * 5):
            rig.now = str(number)
            there = config(rig.now, uid=rig.now, ownerReferences=[])
            dispatcher.dispatch(None, there)
            dispatcher.dispatch(there, None)
            await asyncio.sleep(0.2)
        await asyncio.sleep(MOST)
        assert set(rig.seen.values()) == {str(SECONDS * 5 - 1)}, "that it is gone in the end"

    rig = Readers(READERS)
    rig.play(scene)
    assert max(rig.by.values()) <= (SAVED + SECONDS) / (EACH * READERS) + 2


def test_paces_of_what_has_come_to_rest_take_no_memory():
    paces = Paces()
    for number in range(10 * FEW):
        paces.book("read", key(number), 1, float(number))
    assert len(paces) <= 2 * FEW
    for number in range(10 * FEW):
        paces.spend("revisions", key(number), 10 * FEW, 0.0)
    assert len(paces) >= 10 * FEW, "none that is still to be held"


def test_with_strict_upstream_each_edit_is_followed():
    rig = Readers(2, strict_upstream=True)
    rig.play(lambda dispatcher: rig.storm(dispatcher, SECONDS))
    assert min(rig.by.values()) >= SECONDS * 4
