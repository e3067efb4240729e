"""Functions that take long run beside the event loop; what is quick does not leave it."""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import replace

import pytest

from groundplane.core.pipeline import Long, Request, Resource, Response, State, passed_on
from groundplane.errors import Busy, InvalidInput
from groundplane.functions import go_templating
from groundplane.remote.turns import SLICE, Slices
from groundplane.runtime.aside import Aside

HERE = threading.main_thread()


def request(tenant="team-a"):
    composite = {
        "apiVersion": "example.org/v1",
        "kind": "XThing",
        "metadata": {"labels": {"crossplane.io/claim-namespace": tenant}},
    }
    return Request(State(Resource(composite)), State(Resource({})))  # fmt: skip


@pytest.fixture
async def aside():
    made = Aside(Slices())
    yield made
    made.close()


class Function:
    """Notes in which threads it ran, and does as it is told."""

    def __init__(self, does=lambda asked: None):
        self.does, self.threads = does, []

    def __call__(self, asked) -> Response:
        self.threads.append(threading.current_thread())
        self.does(asked)
        return passed_on(asked)


async def test_what_is_quick_stays_where_it_is_asked_and_what_is_not_is_asked_again_in_a_thread(aside):
    def long(asked):
        if asked.is_brief:
            raise Long

    quick, slow = Function(), Function(long)
    for _ in range(2):
        await aside.run(quick, request())
        await aside.run(slow, request())
    assert quick.threads == [HERE, HERE]
    assert slow.threads[0] is HERE
    assert HERE not in slow.threads[1:]
    assert len(slow.threads) == 3  # it is not tried again


async def test_what_was_found_to_take_long_runs_in_a_thread_from_then_on():
    seconds = [0.0]
    aside = Aside(Slices(), cpu=lambda: seconds[0])
    slow = Function(lambda asked: seconds.__setitem__(0, seconds[0] + 0.02))
    await aside.run(slow, request())
    await aside.run(slow, request())
    aside.close()
    assert slow.threads[0] is HERE
    assert slow.threads[1] is not HERE


async def test_an_error_is_told_from_either_place(aside):
    def wrong(asked):
        if asked.is_brief and not failing.threads[1:]:
            raise Long
        raise InvalidInput("wrong")

    failing = Function(wrong)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="wrong"):
            await aside.run(failing, request())


async def test_one_tenant_does_not_fill_the_threads(aside):
    held, free = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def long(asked):
        if asked.is_brief:
            raise Long
        loop.call_soon_threadsafe(free.set)
        while not held.is_set():
            asked.pause()  # a template does, again and again: they take turns

    slow = Function(long)
    first = asyncio.create_task(aside.run(slow, request("team-a")))
    await free.wait()
    try:
        with pytest.raises(Busy) as told:
            await aside.run(slow, request("team-a"))
        assert "takes long has not come" in told.value.line
        free.clear()
        other = asyncio.create_task(aside.run(slow, request("team-b")))
        await free.wait()  # it runs beside the first
    finally:
        held.set()
    await asyncio.gather(first, other)


async def test_a_template_that_uses_up_its_bounds_does_not_hold_the_event_loop(aside):
    """Whatever the machine does: the loop goes round many times meanwhile, and nothing of the template is done in it."""
    text = "{{ range $i := until 1000 }}{{ range $j := until 900 }}{{ $x := add $i $j }}{{ end }}{{ end }}"
    function = go_templating.compile({"source": "Inline", "inline": {"template": text}})
    rounds = 0

    async def going_round():
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    before = sys.getrecursionlimit()
    task = asyncio.create_task(going_round())
    response = await aside.run(function, request())
    task.cancel()
    assert [each.severity for each in response.results] == ["Fatal"]
    assert "takes more than 1000000 steps" in response.results[0].message
    assert rounds > 20
    assert sys.getrecursionlimit() == before


def test_a_rendering_that_gives_way_takes_as_many_steps_and_gives_the_same():
    for turns, is_fine in ((19, True), (1000, False)):
        text = f"{{{{ range $i := until {turns} }}}}{{{{ range until 1000 }}}}{{{{ end }}}}{{{{ end }}}}kind: X"
        function = go_templating.compile({"source": "Inline", "inline": {"template": text}})
        pauses = []
        given = replace(request(), pause=lambda pauses=pauses: pauses.append(1))
        [paused], [other] = ([each.message for each in function(asked).results] for asked in (given, request()))
        assert paused == other
        assert ("steps" in paused) is not is_fine
        assert len(pauses) >= turns - 2


async def test_renderings_at_the_same_time_leave_each_other_the_depth_that_they_need():
    """Python's limit of recursion is the process's: who ends first must not take it from the others."""
    text = (
        '{{ define "down" }}{{ if gt . 0 }}{{ template "down" (sub . 1) }}{{ end }}{{ end }}{{ template "down" 900 }}'
    )
    function = go_templating.compile({"source": "Inline", "inline": {"template": text}})
    before = sys.getrecursionlimit()
    found = await asyncio.gather(*(asyncio.to_thread(function, request()) for _ in range(6)))
    assert [response.results for response in found] == [[]] * 6
    assert sys.getrecursionlimit() == before


async def test_work_that_uses_up_a_slice_lets_others_in_before_the_next():
    slices, order = Slices(), []

    async def work(name):
        async with slices.turn():
            order.append(name)
            slices._spent += SLICE

    async def look():
        for _ in range(3):
            order.append("look")
            await asyncio.sleep(0)

    await asyncio.gather(work("a"), work("b"), work("c"), look())
    assert order.index("c") > order.index("b") > order.index("look") > order.index("a")
    assert order[:3].count("look") == 1
    assert order[-1] in ("c", "look")
