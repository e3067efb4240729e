"""The queue's laws, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from groundplane.core.objects import Key
from groundplane.runtime import metrics
from groundplane.runtime.lanes import BURST, RATE, Lanes
from groundplane.runtime.queue import MAX_AGAIN, MAX_BACKOFF, RESYNC, After, Again, Done, Held, Queue, Retry
from tests.runtime import virtual


def key(name):
    return Key("example.org/v1", "Thing", "default", str(name))


A, B, C = key("a"), key("b"), key("c")


class Rig:
    """A queue whose handler takes `work` seconds and answers with `outcomes` in turn, then Done."""

    def __init__(self, *, work=0.0, outcomes=(), workers=4, **options):
        self.work, self.outcomes, self.workers, self.options = work, list(outcomes), workers, options
        self.started, self.ended = [], []  # (time, key)
        self.lanes = []  # of those started
        self.running = defaultdict(int)
        self.most = 0

    async def handle(self, key, lane):
        loop = asyncio.get_running_loop()
        self.started.append((loop.time(), key))
        self.lanes.append(lane)
        self.running[key] += 1
        assert self.running[key] == 1, "twice at a time"
        self.most = max(self.most, sum(self.running.values()))
        try:
            await asyncio.sleep(self.work)
        finally:
            self.running[key] -= 1
        self.ended.append((loop.time(), key))
        return self.outcomes.pop(0) if self.outcomes else Done()

    def play(self, scene):
        """Run `scene(queue)` while the queue works; then stop it."""

        async def main():
            queue = Queue("test", self.handle, **self.options)
            running = asyncio.create_task(queue.run(self.workers))
            await scene(queue)
            await queue.drain(1000)
            await running
            assert queue.idle()

        virtual.run(main())
        return self

    @property
    def names(self):
        return "".join(key.name for _, key in self.started)

    @property
    def times(self):
        return [round(time, 6) for time, _ in self.started]


async def settled(queue, within=0.0):
    while not queue.idle(within):
        await asyncio.sleep(0.01)


def test_additions_before_a_run_begins_become_one_run():
    async def scene(queue):
        for _ in range(5):
            queue.add(A)
        await settled(queue)

    assert Rig().play(scene).names == "a"


def test_additions_during_a_run_become_one_more_run():
    async def scene(queue):
        queue.add(A)
        await asyncio.sleep(1)
        for _ in range(5):
            queue.add(A)
        await settled(queue)

    rig = Rig(work=2).play(scene)
    assert rig.times == [0, 2]


def test_no_more_keys_run_at_a_time_than_there_are_workers():
    async def scene(queue):
        for number in range(20):
            queue.add(key(number))
        await settled(queue)

    rig = Rig(work=1, workers=3).play(scene)
    assert rig.most == 3
    assert len(rig.ended) == 20


def test_what_waits_or_has_just_begun_is_told_from_what_takes_long_and_from_what_is_done():
    async def scene(queue):
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(1)
        assert [queue.is_waiting(each) for each in (A, B, C)] == [True, True, False]
        await asyncio.sleep(6)
        assert [queue.is_waiting(each) for each in (A, B, C)] == [False, True, False]
        await asyncio.sleep(20)
        assert not queue.is_waiting(B)
        queue.add(A, after=60)
        assert not queue.is_waiting(A)
        await settled(queue)

    Rig(work=8, workers=1).play(scene)


def test_changes_go_before_start_up_and_polls():
    async def scene(queue):
        queue.add(key("1"))
        for name in ("x", "y", "z"):
            queue.add(key(name), lane="poll")
        queue.add(A)
        queue.add(key("z"))  # a change of what was only to be looked at
        queue.add(A, lane="poll")
        await settled(queue)

    assert Rig(work=1, workers=1).play(scene).names == "1azxy"


@pytest.mark.parametrize("lane", ["poll", "retry"])
def test_what_is_all_looked_at_at_a_start_or_fails_is_begun_at_a_bounded_rate_and_holds_up_no_change(lane):
    rig = Rig(workers=64)

    async def scene(queue):
        for number in range(1000):
            queue.add(key(number), lane=lane)
        await asyncio.sleep(5)
        queue.add(A)
        await settled(queue)

    rig.play(scene)
    assert len(rig.ended) == 1001
    assert (5.0, A) in rig.started
    per_second = Counter(int(time) for time in rig.times)
    assert max(per_second.values()) <= BURST + RATE + 1  # at once, and those of the same second
    assert rig.times[-1] <= 1000 / RATE + 1, "no slower than it must be"


def test_polls_begin_at_the_rate_that_the_controller_gives():
    rig = Rig(workers=64, poll_rate=15)

    async def scene(queue):
        for number in range(100):
            queue.add(key(number), lane="poll")
        await settled(queue)

    rig.play(scene)
    assert len(rig.ended) == 100
    assert (100 - 15) / 15 - 1 <= rig.times[-1] <= 100 / 15 + 1


def test_what_was_all_looked_at_together_is_polled_all_over_the_interval_from_then_on():
    rig = Rig(workers=64, outcomes=[After(600)] * 5000)

    async def scene(queue):
        for number in range(1000):
            queue.add(key(number), lane="poll")
        await asyncio.sleep(3000)

    rig.play(scene)
    per_minute = Counter(int(time // 60) for time in rig.times)
    steady = [per_minute[minute] for minute in range(1, 45)]
    assert min(steady) > 50
    assert max(steady) < 200, "1,000 objects every ten minutes are 100 a minute"


def test_of_several_deadlines_the_earliest_wins():
    async def scene(queue):
        queue.add(A, after=30)
        queue.add(A, after=10)
        queue.add(A, after=20)
        await settled(queue, within=1000)

    assert Rig().play(scene).times == [10]


def test_a_deadline_does_not_hold_up_a_change():
    async def scene(queue):
        queue.add(A, after=10)
        queue.add(A)
        await settled(queue, within=1000)

    assert Rig().play(scene).times == [0, 10]


def test_deadlines_are_kept_in_their_order():
    async def scene(queue):
        for seconds in (7, 3, 5, 1):
            queue.add(key(seconds), after=seconds)
        await settled(queue, within=1000)

    assert Rig().play(scene).times == [1, 3, 5, 7]


def test_a_failing_key_backs_off_to_the_bound_and_is_forgiven_on_success():
    rig = Rig(outcomes=[Retry()] * 10 + [Done(), Retry()], max_backoff=30.0)

    async def scene(queue):
        queue.add(A)
        await settled(queue, within=1000)
        queue.add(A)
        await settled(queue, within=1000)

    rig.play(scene)
    pauses = [later - earlier for earlier, later in zip(rig.times, rig.times[1:], strict=False)]
    for pause, nominal in zip(pauses[:10], [1, 2, 4, 8, 16, 30, 30, 30, 30, 30], strict=True):
        assert 0.8 * nominal <= pause <= nominal
    assert 0.8 <= pauses[-1] <= 1


def test_what_is_never_at_rest_is_looked_at_soon_and_then_less_often():
    rig = Rig(outcomes=[Again()] * 40 + [Done(), Again()])

    async def scene(queue):
        queue.add(A)
        await asyncio.sleep(400)
        queue.add(A)
        await asyncio.sleep(1)

    rig.play(scene)
    times = [time for time, _ in rig.started]
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert pauses[0] <= 0.11
    assert sum(pauses[:3]) <= 0.8
    assert all(0.9 * MAX_AGAIN <= pause <= 1.1 * MAX_AGAIN for pause in pauses[6:40])
    assert pauses[41] <= 0.11  # it was at rest in between


def test_a_key_that_is_woken_runs_at_once_and_backs_off_from_the_beginning():
    rig = Rig(outcomes=[Retry()] * 5, max_backoff=30.0)

    async def scene(queue):
        queue.add(A)
        await asyncio.sleep(6)  # after three failures
        queue.wake(A, lane="change")
        await settled(queue, within=1000)

    rig.play(scene)
    woken = rig.times.index(6)
    assert 0.8 <= rig.times[woken + 1] - 6 <= 1


def test_a_key_that_is_woken_in_vain_again_and_again_is_run_less_and_less_often():
    async def scene(queue):
        for _ in range(1200):  # for a minute, twenty times a second
            queue.wake(A, lane="retry")
            await asyncio.sleep(0.05)
        await settled(queue)

    rig = Rig(outcomes=[Retry(300)] * 2000).play(scene)
    assert rig.times[0] == 0
    assert len(rig.times) <= 20


def test_when_all_lanes_wait_changes_go_eight_times_retries_twice_polls_once():
    async def scene(queue):
        queue.add(key("start"))
        for lane in ("poll", "retry", "change"):
            for number in range(44):
                queue.add(key(f"{lane[0]}{number}"), lane=lane)
        await settled(queue)

    lanes = [key.name[0] for _, key in Rig(work=1, workers=1).play(scene).started[1:]]
    for turn in range(4):
        assert sorted(lanes[11 * turn : 11 * turn + 11]) == sorted("ccccccccrrp")


def test_a_change_finds_a_worker_however_many_slow_failures_are_tried_again():
    async def scene(queue):
        for number in range(500):
            queue.add(key(number), lane="retry")
        await asyncio.sleep(7)
        queue.add(A)
        await settled(queue)

    rig = Rig(work=30, workers=10).play(scene)
    assert {key: time for time, key in rig.started}[A] == 7


def test_a_tenant_finds_a_worker_beside_twenty_whose_reconciles_hang():
    def tenant(key):
        return key.name.split("-")[0]

    async def scene(queue):
        for number in range(1000):
            queue.add(key(f"t{number % 20}-{number}"))
        await asyncio.sleep(601)  # the first five rounds: by now everyone has what is his
        for number in range(2):
            queue.add(key(f"healthy-{number}"))
        await settled(queue)

    rig = Rig(work=120, workers=64, share=tenant).play(scene)
    started = {key.name: time for time, key in rig.started}
    assert [started[f"healthy-{number}"] for number in range(2)] == [601, 601]
    assert max(started.values()) < 1000 / 60 * 120 + 130  # and hardly a worker idled


def test_a_change_finds_a_worker_beside_any_number_of_slow_polls_and_retries_of_its_own_share():
    async def scene(queue):
        for number in range(600):
            queue.add(key(f"other-{number}"), lane="poll" if number % 2 else "retry")
        await asyncio.sleep(7)
        queue.add(A)
        await settled(queue)

    rig = Rig(work=0.9, workers=64, share=lambda key: "account").play(
        scene
    )  # none is slow enough to give its worker away
    assert {key: time for time, key in rig.started}[A] == 7


def test_polls_go_on_at_their_rate_beside_retries_of_another_share_that_all_hang():
    async def main():
        never = asyncio.Event()
        loop, begun = asyncio.get_running_loop(), []

        async def handle(key, lane):
            if key.name.startswith("dead"):
                await never.wait()
            begun.append(loop.time())
            return Done()

        queue = Queue("things", handle, poll_rate=1.0, share=lambda key: key.name.split("-")[0])
        runs = asyncio.ensure_future(queue.run(4))
        for number in range(20):
            queue.add(key(f"dead-{number}"), lane="retry")
        await asyncio.sleep(10)
        for number in range(4):
            queue.add(key(f"well-{number}"), lane="poll")
        await asyncio.sleep(10)
        await queue.drain(0)
        await runs
        return begun

    assert virtual.run(main()) == pytest.approx([10, 11, 12, 13], abs=0.01)


def test_one_share_holds_half_of_the_workers_that_the_others_leave():
    lanes = Lanes(lambda key: key.namespace, now=0.0)

    def holds(namespace):
        for number in range(20):
            lanes.add(Key("v1", "Box", namespace, str(number)), "change", 0.0)
        count = 0
        while lanes.take(16, 0.0):
            count += 1
        return count

    assert [holds("busy"), holds("new"), holds("third")] == [8, 4, 2]  # so that a fourth finds one, too


def test_tenants_of_one_share_take_turns():
    async def scene(queue):
        for number in range(600):
            queue.add(key(f"many-{number}"))
        for number in range(3):
            queue.add(key(f"few-{number}"))
        await settled(queue)

    rig = Rig(work=1, workers=8, share=lambda key: "account", tenant=lambda key: key.name.split("-")[0]).play(scene)
    few = [place for place, (_, key) in enumerate(rig.started) if key.name.startswith("few")]
    assert few == [1, 3, 5]


def test_what_was_held_back_comes_back_in_the_lane_that_it_had():
    async def scene(queue):
        queue.add(A)
        queue.add(B, lane="poll")
        await settled(queue, within=1000)

    rig = Rig(outcomes=[Held(5.0), Held(5.0)]).play(scene)
    assert sorted((key.name, lane) for (_, key), lane in zip(rig.started, rig.lanes, strict=True)) == [
        ("a", "change"),
        ("a", "change"),
        ("b", "poll"),
        ("b", "poll"),
    ]
    assert all(5 <= time <= 6 for time in rig.times[2:])


def test_a_retry_never_comes_before_it_was_asked_for():
    async def scene(queue):
        queue.add(A)
        await settled(queue, within=1000)

    rig = Rig(outcomes=[Retry(5.0)]).play(scene)
    assert 5 <= rig.times[1] <= 6


def test_what_is_due_at_a_time_runs_then_also_after_what_is_all_looked_at_together():
    async def scene(queue):
        queue.add(A, lane="poll")
        await settled(queue, within=4000)

    rig = Rig(outcomes=[After(3600, exactly=True)]).play(scene)
    assert rig.times == [0, 3600]
    assert rig.lanes == ["poll", "change"]


def test_a_key_in_backoff_runs_at_once_when_it_changes_and_not_again_for_the_backoff():
    rig = Rig(outcomes=[Retry(50.0)])

    async def scene(queue):
        queue.add(A)
        await asyncio.sleep(1)
        queue.add(A)
        await settled(queue, within=1000)

    assert rig.play(scene).times == [0, 1]


def test_a_run_makes_the_pending_poll_void_and_decides_anew():
    rig = Rig(outcomes=[After(60), After(60)])

    async def scene(queue):
        queue.add(A)
        await asyncio.sleep(50)
        queue.add(A)
        await settled(queue, within=1000)

    first, second, third = rig.play(scene).times
    assert (first, second) == (0, 50)
    assert 50 + 54 <= third <= 50 + 66


def test_a_poll_asked_for_from_outside_survives_a_run():
    async def scene(queue):
        queue.add(A, after=20)
        await asyncio.sleep(5)
        queue.add(A)
        await settled(queue, within=1000)

    assert Rig().play(scene).times == [5, 20]


def test_what_exists_is_looked_at_every_ten_hours_and_what_does_not_never_again():
    async def scene(queue):
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(2.5 * RESYNC)

    rig = Rig(exists=lambda key: key == A).play(scene)
    assert rig.names == "abaa"
    assert 0.9 * RESYNC <= rig.times[2] <= 1.1 * RESYNC


def test_a_handler_that_breaks_is_retried_like_any_failure(caplog):
    attempts = []

    async def handle(key, lane):
        attempts.append(key)
        if len(attempts) < 3:
            raise RuntimeError("a bug")
        return Done()

    async def main():
        queue = Queue("test", handle)
        running = asyncio.create_task(queue.run(1))
        queue.add(A)
        await settled(queue, within=MAX_BACKOFF)
        await queue.drain(0)
        await running

    virtual.run(main())
    assert attempts == [A, A, A]
    assert "reconcile broke" in caplog.text


def test_draining_lets_work_finish_takes_nothing_more_and_cancels_what_is_late():
    ended, cancelled = [], []

    async def handle(key, lane):
        try:
            await asyncio.sleep(1 if key == A else 100)
        except asyncio.CancelledError:
            cancelled.append(key)
            raise
        ended.append(key)
        return After(1)

    async def main():
        queue = Queue("test", handle)
        running = asyncio.create_task(queue.run(2))
        for each in (A, B, C):
            queue.add(each)
        await asyncio.sleep(0.5)
        late = await queue.drain(10)
        queue.add(C)
        await running
        await asyncio.sleep(1000)
        return late, asyncio.get_running_loop().time()

    assert virtual.run(main()) == (1, 1010.5)
    assert (ended, cancelled) == ([A], [B])


def test_cancelling_run_cancels_what_runs():
    rig = Rig(work=100)

    async def main():
        queue = Queue("test", rig.handle)
        running = asyncio.create_task(queue.run(2))
        queue.add(A)
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return queue.idle()

    assert virtual.run(main())
    assert (len(rig.started), rig.ended, rig.running[A]) == (1, [], 0)


def test_keys_added_before_it_runs_wait_for_it():
    rig = Rig()

    async def main():
        queue = Queue("test", rig.handle)
        queue.add(A)
        await asyncio.sleep(5)
        running = asyncio.create_task(queue.run(1))
        await settled(queue)
        await queue.drain(0)
        await running

    virtual.run(main())
    assert rig.times == [5]


def test_many_runs_leave_no_heap_of_void_deadlines_behind():
    async def scene(queue):
        for _ in range(5_000):
            queue.add(A)
            await settled(queue)
        assert len(queue._heap) < 2_000

    Rig(exists=lambda key: True).play(scene)


def test_the_queue_measures_itself():
    async def scene(queue):
        for name in ("a", "b", "c"):
            queue.add(key(name))
        await asyncio.sleep(3)
        text = generate_latest(metrics.registry).decode()
        assert 'workqueue_depth{controller="measured",name="measured"} 2.0' in text
        assert 'workqueue_unfinished_work_seconds{controller="measured",name="measured"} 3.0' in text
        assert 'workqueue_adds_total{controller="measured",name="measured"} 3.0' in text
        await settled(queue)

    async def main():
        rig = Rig(work=10)
        queue = Queue("measured", rig.handle)
        running = asyncio.create_task(queue.run(1))
        await scene(queue)
        await queue.drain(0)
        await running

    virtual.run(main())
    sample = metrics.registry.get_sample_value
    assert round(sample("workqueue_work_duration_seconds_sum", {"name": "measured", "controller": "measured"}), 3) == 30
    assert (
        round(sample("workqueue_queue_duration_seconds_sum", {"name": "measured", "controller": "measured"}), 3) == 30
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["change", "retry", "poll"]),
        st.sampled_from([None, 0, 0.5, 3]),  # after
        st.sampled_from([0, 0, 0.3, 1, 2]),  # then wait
    ),
    max_size=30,
)
OUTCOMES = st.lists(st.sampled_from([Done(), After(0), After(2), Retry(), Retry(1)]), max_size=10)


@settings(max_examples=150)
@given(steps=STEPS, outcomes=OUTCOMES, workers=st.integers(1, 3))
def test_every_addition_is_followed_by_a_run_and_no_key_runs_twice_at_a_time(steps, outcomes, workers):
    rig = Rig(work=0.7, outcomes=outcomes, workers=workers)
    added = []  # the moment, the key; a run that begins no earlier must follow

    async def scene(queue):
        loop = asyncio.get_running_loop()
        for name, lane, after, pause in steps:
            queue.add(key(name), lane=lane, after=after)
            added.append((loop.time(), key(name)))
            await asyncio.sleep(pause)
        await settled(queue, within=500)

    rig.play(scene)
    for moment, each in added:
        assert any(time >= moment and started == each for time, started in rig.started)
    assert rig.most <= workers
    assert len(rig.started) == len(rig.ended)


def test_a_run_that_only_waits_for_something_outside_gives_its_worker_to_another():
    """However many shares hang: the dead ones' reconciles last for ever, the healthy key is handled beside them."""
    handled, never = [], None

    async def main():
        nonlocal never
        never = asyncio.Event()

        async def handle(key, lane):
            if key.name != "well":
                await never.wait()
            handled.append(key)
            return Done()

        queue = Queue("test", handle, share=lambda key: key.name)
        running = asyncio.create_task(queue.run(4))
        for number in range(12):
            queue.add(key(f"dead-{number}"))
        queue.add(key("well"))
        while not handled:
            await asyncio.sleep(1)
        assert handled == [key("well")]
        never.set()
        await queue.drain(1000)
        await running
        assert len(handled) == 13
        assert queue.memory() == 0

    virtual.run(main())
