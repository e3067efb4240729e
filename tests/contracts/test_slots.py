"""Requests at the same time: as many as the API server answers in time, tenants in turn, and no place is lost."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from groundplane.cluster.client import Api
from groundplane.cluster.credentials import Access
from groundplane.cluster.slots import FEWEST, KINDS, LATE, MOST, Slots, turn
from groundplane.errors import Rejected, Throttled
from groundplane.runtime.queue import Done, Queue
from tests.contracts.scripted import serving, status
from tests.runtime import virtual


async def rounds():
    """Until all have done what they can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_late_server_is_asked_less_at_once_and_more_again_when_it_answers():
    slots, clock = Slots(), itertools.count()
    for _ in range(10):
        begun = float(next(clock)) * 100
        slots.answered(begun, begun + LATE, 35.0)
    assert slots.limit == FEWEST
    for _ in range(MOST * MOST):
        slots.answered(2000.0, 2000.1, 35.0)
    assert slots.limit == MOST


def test_all_that_were_under_way_when_it_was_late_are_one_sign_of_it():
    slots = Slots()
    for begun in range(MOST):
        slots.answered(begun / 100, 5.0, 5.0)
    assert slots.limit == MOST // 2


def test_half_of_a_short_time_is_late_too():
    slots = Slots()
    slots.answered(0.0, 0.6, 1.0)
    assert slots.limit == MOST // 2


class BusyServer:
    """Two requests at a time, 20 ms each; the others wait for each other."""

    def __init__(self):
        self.slots, self._cores, self.done = Slots(), asyncio.Semaphore(2), 0

    async def ask(self, tenant):
        loop = asyncio.get_running_loop()
        with turn("change", tenant):
            async with self.slots:
                begun = loop.time()
                async with self._cores:
                    await asyncio.sleep(0.02)
                self.slots.answered(begun, loop.time(), 5.0, "update boxes")
        self.done += 1

    async def keep_asking(self, tenant):
        while True:
            await self.ask(tenant)


def test_at_a_busy_server_a_newcomer_does_not_wait_behind_sixty_requests_of_another_tenant():
    async def main():
        loop, server = asyncio.get_running_loop(), BusyServer()
        hostile = [asyncio.create_task(server.keep_asking("hostile")) for _ in range(200)]
        await asyncio.sleep(20)
        begun, done = loop.time(), server.done
        for _ in range(10):  # from a claim to what it is composed of, one after the other
            await server.ask("neighbour")
        took = loop.time() - begun
        await asyncio.sleep(20)
        rate = (server.done - done) / (loop.time() - begun)
        for task in hostile:
            task.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)
        return took, rate

    took, rate = virtual.run(main())
    assert took < 1.5  # with sixty-four at once: six seconds
    assert rate > 95  # of a hundred: the server is as busy as before


def test_a_webhook_that_takes_its_time_for_each_create_does_not_make_the_server_late():
    slots = Slots()
    for second in range(500):
        slots.answered(second, second + 0.005, 5.0, "update boxes/status")
        slots.answered(second, second + 0.8, 5.0, "create boxes")
        slots.answered(second, second + 0.002, 5.0)  # refused before anything was asked
    assert slots.limit == MOST


def test_of_kinds_of_requests_only_so_many_are_remembered():
    slots = Slots()
    for number in range(2 * KINDS):
        slots.answered(number, number + 0.01, 5.0, f"update kind{number}")
    assert len(slots._fastest) == KINDS


class Crowd:
    """Requests that keep their place until they are told to end."""

    def __init__(self, most):
        self.slots, self.order, self._go = Slots(most), [], {}

    async def ask(self, name, lane="change", tenant=""):
        with turn(lane, tenant):
            async with self.slots:
                self.order.append(name)
                self._go[name] = asyncio.Event()
                await self._go[name].wait()

    async def end(self, name):
        self._go[name].set()
        await rounds()


async def test_one_tenants_hundred_requests_delay_anothers_by_one_of_them():
    crowd = Crowd(1)
    tasks = [asyncio.create_task(crowd.ask(f"many-{number}", tenant="many")) for number in range(100)]
    await rounds()
    tasks.append(asyncio.create_task(crowd.ask("other", tenant="other")))
    await rounds()
    await crowd.end("many-0")
    await crowd.end(crowd.order[1])
    assert "other" in crowd.order[:3]
    for task in tasks:
        task.cancel()


async def test_polls_wait_for_what_somebody_changed():
    crowd = Crowd(1)
    tasks = [asyncio.create_task(crowd.ask("first"))]
    await rounds()
    tasks += [asyncio.create_task(crowd.ask(f"poll-{number}", "poll")) for number in range(5)]
    tasks += [asyncio.create_task(crowd.ask(f"change-{number}")) for number in range(3)]
    await rounds()
    for name in ("first", "change-0", "change-1", "change-2"):
        await crowd.end(name)
    assert crowd.order[:4] == ["first", "change-0", "change-1", "change-2"]
    for task in tasks:
        task.cancel()


async def test_who_gives_up_waiting_takes_no_place_along():
    crowd = Crowd(1)
    tasks = [asyncio.create_task(crowd.ask(name)) for name in ("first", "second", "third", "fourth")]
    await rounds()
    tasks[1].cancel()  # while it waits
    crowd._go["first"].set()
    await asyncio.sleep(0)
    tasks[2].cancel()  # when it may just have been given its place
    await rounds()
    assert crowd.order[-1] == "fourth"
    await crowd.end("fourth")
    async with asyncio.timeout(60):
        async with crowd.slots:
            pass
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_gives_up_as_a_place_becomes_free_neither_gets_it_nor_breaks_who_leaves_it():
    crowd = Crowd(1)
    tasks = [asyncio.create_task(crowd.ask(name)) for name in ("first", "second", "third")]
    await rounds()
    crowd._go["first"].set()  # it runs before who is cancelled, whose future is cancelled by then
    tasks[1].cancel()
    await rounds()
    assert crowd.order[-1] == "third"
    await crowd.end("third")
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in ended] == [type(None), asyncio.CancelledError, type(None)]
    assert crowd.slots._taken == 0


async def test_a_reconcile_asks_with_the_turns_of_its_tenant():
    seen = []

    async def handle(key, lane):
        slots = Slots(0)  # nobody gets a place
        waiting = asyncio.ensure_future(slots.__aenter__())
        await asyncio.sleep(0)
        seen.extend(place for _, place in slots._turns.items())
        waiting.cancel()
        return Done()

    queue = Queue("claim", handle, share=lambda key: "team-a")
    running = asyncio.create_task(queue.run(1))
    queue.add("a key")
    async with asyncio.timeout(60):
        while not seen:
            await asyncio.sleep(0)
    assert [(place.lane, place.tenant) for place in seen] == [("change", "team-a")]
    await queue.drain(1)
    await running


async def test_writes_tell_how_fast_the_server_is_and_long_lists_do_not(monkeypatch):
    told = []
    monkeypatch.setattr(
        Slots, "answered", lambda self, begun, ended, patience, what: told.append((begun <= ended, patience, what))
    )
    async with serving() as server:
        api = Api(Access(server.url), write_timeout=7.0)
        await api.request("GET", "/apis/example.org/v1/boxes")
        assert told == []
        await api.request("PUT", "/apis/example.org/v1/boxes/a", body={})
        server.answers = [status(422)]
        with pytest.raises(Rejected):
            await api.request("PUT", "/apis/example.org/v1/boxes/a", body={})
        assert told == [(True, 7.0, "update boxes.example.org"), (True, 7.0, "")]
        await api.close()


class SilentHook:
    """A server that answers all writes at once but those of one resource, which hang for as long as a webhook may."""

    def __init__(self, *silent, seconds=30.0):
        self.slots, self._silent, self.hanging, self.most = Slots(), silent, 0, 0
        self._seconds = seconds

    async def write(self, resource):
        loop = asyncio.get_running_loop()
        async with self.slots.writing(f"update {resource}/status", 35.0) as write:
            begun = loop.time()
            self.hanging += resource in self._silent
            self.most = max(self.most, self.hanging)
            await asyncio.sleep(self._seconds if resource in self._silent else 0.01)
            self.hanging -= resource in self._silent
            if write.hangs:
                self.slots.came_back(write, went_well=self._seconds < 30)
            else:
                self.slots.answered(begun, loop.time(), 35.0, f"update {resource}/status")

    async def once(self, resource):
        """Until it has gone through."""
        while True:
            try:
                return await self.write(resource)
            except Throttled as error:
                await asyncio.sleep(error.after)

    async def insist(self, resource):
        """As one does that comes back when it was asked to."""
        while True:
            try:
                await self.write(resource)
            except Throttled as error:
                await asyncio.sleep(error.after)


def test_where_writes_of_one_kind_hang_those_of_others_go_on_and_few_more_of_it_are_sent():
    async def main():
        loop, server = asyncio.get_running_loop(), SilentHook("boxes")
        hostile = [asyncio.create_task(server.insist("boxes")) for _ in range(200)]
        begun = loop.time()
        await server.write("crates")
        first = loop.time() - begun
        await asyncio.sleep(60)
        begun, server.most = loop.time(), server.hanging
        for _ in range(100):
            await server.write("crates")
            await asyncio.sleep(1)
        took = loop.time() - begun - 100
        for task in hostile:
            task.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)
        return first, took, server

    first, took, server = virtual.run(main())
    assert first < LATE + 0.1  # until it is known what hangs
    assert took < 1.1  # as without them
    assert server.most <= MOST
    assert server.slots.limit == MOST
    assert server.slots._taken == 0


def test_writes_whose_webhook_takes_seconds_for_each_come_to_be_as_many_at_a_time_as_others():
    async def main():
        loop, server = asyncio.get_running_loop(), SilentHook("boxes", seconds=3.0)
        slow = [asyncio.create_task(server.once("boxes")) for _ in range(200)]
        for _ in range(10):
            await server.write("crates")
            await asyncio.sleep(1)
        await asyncio.gather(*slow)
        return loop.time(), server

    took, server = virtual.run(main())
    assert took < 60, "four at a time would take a hundred"
    assert server.slots.limit == MOST


def test_where_all_writes_hang_the_server_does_and_gets_fewer():
    async def main():
        server = SilentHook("boxes", "crates")
        asking = [asyncio.create_task(server.insist(name)) for _ in range(100) for name in ("boxes", "crates")]
        await asyncio.sleep(300)
        server.most = server.hanging
        await asyncio.sleep(300)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        return server

    assert virtual.run(main()).most == FEWEST


def test_a_server_that_stops_amid_answers_is_no_webhook_that_does_not_answer():
    """Of what is under way then nearly all has seen another kind answered; it tells nothing of how the server is now."""

    class Stopping(SilentHook):
        async def write(self, resource):
            loop = asyncio.get_running_loop()
            async with self.slots.writing(f"update {resource}/status", 35.0) as write:
                begun, self.hanging = loop.time(), self.hanging + 1
                self.most = max(self.most, self.hanging)
                await asyncio.sleep(next(pauses))
                if 3 <= loop.time() - start < 10:
                    await asyncio.sleep(10 - (loop.time() - start))
                self.hanging -= 1
                hung.append(write.hangs)
                if not write.hangs:
                    self.slots.answered(begun, loop.time(), 35.0, f"update {resource}/status")
                    narrow.append(self.slots.limit)

    pauses, hung, narrow, start = itertools.cycle([0.05, 0.08, 0.11, 0.14]), [], [], 0.0

    async def main():
        nonlocal start
        start, server = asyncio.get_running_loop().time(), Stopping()
        asking = [asyncio.create_task(server.insist(f"kind{number % 5}")) for number in range(200)]
        await asyncio.sleep(11)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        return server

    server = virtual.run(main())
    assert not any(hung)
    assert server.most == MOST
    assert min(narrow) < MOST, "it gets as many as before"
