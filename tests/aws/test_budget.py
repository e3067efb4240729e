"""Who may call AWS now: budgets on a clock of their own, and a healthy account beside one whose endpoint never answers."""

import asyncio
import socket
import threading

import pytest

from groundplane.aws.budget import (
    FIRST,
    FIRST_PAUSE,
    HANGING,
    HANGS,
    LONGEST_AWAY,
    MAX_PAUSE,
    REMEMBERED,
    Budgets,
    Place,
)
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.pace import LONGEST, RATE, Pace
from groundplane.aws.session import Sessions
from groundplane.errors import Busy, Throttled
from groundplane.ports import Account
from tests.aws.conftest import EC2, INI, managed, provider_config

DEAD, WELL = Place("dead", "eu-west-1", "ec2"), Place("well", "eu-west-1", "ec2")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budgets(clock):
    return Budgets(16, clock)


async def test_a_budget_begins_with_few_calls_and_doubles_with_each_that_is_answered(budgets, clock, monkeypatch):
    monkeypatch.setattr("groundplane.aws.budget.MOMENT", 0.0)
    calls = [await budgets.begin(DEAD) for _ in range(FIRST)]
    while budgets._working:
        await asyncio.sleep(0)
    with pytest.raises(Busy):
        await budgets.begin(DEAD)
    clock.now = HANGS + 1
    with pytest.raises(Throttled, match="ec2 in eu-west-1 with ProviderConfig dead does not answer: earlier calls"):
        await budgets.begin(DEAD)
    budgets.done(calls[0], "answered")
    assert [await budgets.begin(DEAD) for _ in range(2 * FIRST - 1)]


async def test_one_account_leaves_a_quarter_of_the_calls_to_others(budgets):
    for _ in range(8):
        budgets.done(await budgets.begin(DEAD), "answered")
    calls = [await budgets.begin(DEAD) for _ in range(12)]
    waiting = asyncio.ensure_future(budgets.begin(DEAD._replace(service="rds")))
    assert await budgets.begin(WELL)
    budgets.done(calls[0], "answered")
    assert await waiting


async def test_dead_accounts_leave_half_of_the_calls_to_those_that_are_known_to_answer(budgets):
    budgets.done(await budgets.begin(WELL), "answered")
    dead = [asyncio.ensure_future(budgets.begin(DEAD._replace(account=f"dead-{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    assert sum(task.done() for task in dead) == 8
    assert [await budgets.begin(WELL) for _ in range(2 * FIRST)]
    budgets.done(dead[0].result(), "silent", "no answer")
    await asyncio.sleep(0)
    assert sum(task.done() for task in dead) == 9
    for task in dead:
        task.cancel()


async def test_those_refused_look_again_one_after_the_other_and_soon_where_much_is_answered(budgets, clock):
    async def refused():
        with pytest.raises(Throttled) as error:
            await budgets.begin(DEAD)
        return error.value.after

    budgets.done(await budgets.begin(DEAD), "silent", "no answer")
    assert [await refused() for _ in range(4)] == [1, 2, 3, 4]
    assert max([await refused() for _ in range(200)]) == LONGEST_AWAY
    clock.now = 200.0
    for _ in range(20):
        budgets.done(await budgets.begin(DEAD), "answered")
    budgets.done(await budgets.begin(DEAD), "silent", "no answer")
    assert [await refused() for _ in range(4)] == pytest.approx([1 + number / 21 for number in range(4)])


async def test_what_does_not_answer_is_tried_by_one_call_after_pauses_that_double(budgets, clock):
    pauses = []
    for _ in range(8):
        call = await budgets.begin(DEAD)
        budgets.done(call, "silent", "no answer")
        begun = clock.now
        while True:
            try:
                call = await budgets.begin(DEAD)
            except Throttled:
                clock.now += 1.0
            else:
                break
        with pytest.raises(Throttled):
            await budgets.begin(DEAD)
        pauses.append(clock.now - begun)
        budgets.done(call, "unknown")
    assert pauses == [1, 2, 4, 8, 16, 32, MAX_PAUSE, MAX_PAUSE]
    assert await budgets.begin(WELL)
    assert await budgets.begin(DEAD._replace(region="us-east-1"))


async def test_who_is_refused_is_told_why_only_when_it_goes_on(budgets, clock):
    budgets.done(await budgets.begin(DEAD), "throttled", "Rate exceeded")
    with pytest.raises(Busy):
        await budgets.begin(DEAD)
    clock.now = 1.0
    budgets.done(await budgets.begin(DEAD), "throttled", "Rate exceeded")
    with pytest.raises(
        Throttled, match=r"ec2 in eu-west-1 with ProviderConfig dead is called less often: Rate exceeded"
    ):
        await budgets.begin(DEAD)
    clock.now = 3.0
    budgets.done(await budgets.begin(DEAD), "answered")
    with pytest.raises(Busy, match="too many calls"):  # one every other second, by now
        await budgets.begin(DEAD)
    clock.now = 5.0
    assert await budgets.begin(DEAD)


async def test_who_was_let_in_has_the_place_before_it_runs_and_no_newcomer_takes_it(budgets):
    calls = [await budgets.begin(DEAD) for _ in range(FIRST)]
    waiting = asyncio.ensure_future(budgets.begin(DEAD))
    await asyncio.sleep(0)
    budgets.done(calls.pop(), "unknown")  # a place is free, and whoever waited has not run yet
    newcomer = asyncio.ensure_future(budgets.begin(DEAD))
    calls.append(await waiting)
    await asyncio.sleep(0)
    assert not newcomer.done()
    budgets.done(calls.pop(), "unknown")
    assert await newcomer


async def test_who_is_let_in_and_goes_gives_the_place_back(budgets):
    calls = [await budgets.begin(DEAD) for _ in range(FIRST)]
    waiting = asyncio.ensure_future(budgets.begin(DEAD))
    await asyncio.sleep(0)
    budgets.done(calls.pop(), "unknown")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    newcomer = asyncio.ensure_future(budgets.begin(DEAD))
    await asyncio.sleep(0)
    assert newcomer.done()


async def test_who_waits_for_a_budget_that_fails_is_sent_away_at_once(budgets):
    calls = [await budgets.begin(DEAD) for _ in range(FIRST)]
    waiting = [asyncio.ensure_future(budgets.begin(DEAD)) for _ in range(3)]
    await asyncio.sleep(0)
    budgets.done(calls[0], "silent", "no answer")
    await asyncio.sleep(0)
    errors = [type(task.exception()) for task in waiting if task.done()]
    assert errors == [Busy] * 3
    assert len({id(task.exception()) for task in waiting}) == 3  # each adds its own words


async def test_calls_that_fail_together_fail_once(budgets, clock):
    for _ in range(3):
        budgets.done(await budgets.begin(DEAD), "answered")
    calls = [await budgets.begin(DEAD) for _ in range(10)]
    clock.now = 1.0
    for call in calls:
        budgets.done(call, "silent", "no answer")
    clock.now = 2.0
    assert await budgets.begin(DEAD)


async def test_other_credentials_are_tried_at_once_where_the_earlier_ones_are_paused(budgets):
    budgets.done(await budgets.begin(DEAD), "throttled", "Rate exceeded")
    with pytest.raises(Busy):
        await budgets.begin(DEAD)
    assert await budgets.begin(DEAD._replace(version="2"))


async def test_one_account_hangs_in_no_more_calls_than_its_bound_whatever_it_names(budgets, monkeypatch):
    monkeypatch.setattr("groundplane.aws.budget.MOMENT", 0.0)
    for number in range(HANGING * 16):
        await budgets.begin(DEAD._replace(region=f"eu-west-{number}", version=f"{number}"))
        while budgets._working:
            await asyncio.sleep(0)
    with pytest.raises(Throttled, match="does not answer"):
        await budgets.begin(DEAD._replace(region="eu-west-0", version="other"))
    assert await budgets.begin(WELL)


@pytest.mark.parametrize("limit", [2, 5, 40])
async def test_a_throttled_budget_comes_to_rest_at_what_is_taken_and_recovers(limit):
    """Half a thousand objects want a call all the time, of an AWS that takes `limit` a second."""
    pace, now, paused, sent, refused, tokens = Pace(0.0), 0.0, 0.0, [], 0, 0.0
    for step in range(60_000):
        now = step * 0.01
        tokens = min(2 * limit, tokens + limit * 0.01)
        while now >= paused and not pace.take(now):
            if tokens >= 1:
                tokens -= 1
                sent.append(now)
            else:
                refused += now >= 120
                pace.throttled(now)
                paused = now + FIRST_PAUSE
    steady = [each for each in sent if each >= 120]
    assert len(steady) >= 0.6 * limit * (now - 120)
    assert refused <= max(0.15 * len(steady), 5)
    assert pace.rate(now + 300) == RATE


async def test_those_refused_come_back_one_after_the_other():
    pace = Pace(0.0)
    while not (first := pace.take(0.0)):
        pass
    later = [first, *(pace.take(0.0) for _ in range(99))]
    assert later == pytest.approx([(n + 1) / RATE for n in range(100)])
    assert max(pace.take(0.0) for _ in range(20_000)) == LONGEST


async def test_budgets_that_are_not_in_use_are_forgotten(budgets):
    kept = await budgets.begin(DEAD)
    for index in range(3 * REMEMBERED):
        budgets.done(await budgets.begin(Place(f"account-{index}", "eu-west-1", "ec2")), "answered")
    assert len(budgets) <= REMEMBERED + 1
    budgets.done(kept, "answered")


def account(name, url):
    config = provider_config(url)
    config["metadata"] |= {"name": name, "uid": name}
    return Account(config, {"creds": INI}, "1")


async def test_an_account_that_never_answers_delays_no_other(standin):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        dead = account("dead", f"http://127.0.0.1:{silent.getsockname()[1]}")
        cloud = AwsCloud(sessions=Sessions(attempts=1))
        hanging = [
            asyncio.ensure_future(
                cloud.observe(managed(EC2, "VPC", f"v{n}", "vpc-1", cidrBlock="10.0.0.0/16"), dead, {})
            )
            for n in range(60)
        ]
        done = None
        try:
            well = account("well", standin.url)
            for index in range(10):
                vpc = managed(EC2, "VPC", f"well-{index}", cidrBlock="10.0.0.0/16")
                assert (await cloud.create(vpc, well, {})).external_name.startswith("vpc-")
            done = await asyncio.gather(*hanging[FIRST:], return_exceptions=True)
            assert {type(error) for error in done} <= {Busy, Throttled}
            assert [task.done() for task in hanging[:FIRST]] == [False] * FIRST
            assert cloud.in_flight == FIRST
            assert cloud.close(0.0) == FIRST  # it waits for nobody any longer than that
        finally:
            silent.close()
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)


async def test_credentials_that_are_looked_for_in_vain_hold_up_only_their_own_account(standin):
    asked, end = threading.Event(), threading.Event()

    class Hanging(Sessions):
        def clients(self, account):
            found = super().clients(account)
            if account.provider_config["metadata"]["name"] == "dead":
                found._base_credentials = lambda *_: asked.set() or end.wait()
            return found

    cloud = AwsCloud(sessions=Hanging(attempts=1))
    vpc = managed(EC2, "VPC", "v", "vpc-1", cidrBlock="10.0.0.0/16")
    hanging = asyncio.ensure_future(cloud.observe(vpc, account("dead", standin.url), {}))
    try:
        looked = asyncio.ensure_future(asyncio.to_thread(asked.wait))
        await asyncio.wait({looked, hanging}, return_when=asyncio.FIRST_COMPLETED)
        assert not hanging.done(), await hanging
        seen = await cloud.observe(managed(EC2, "VPC", "w", "vpc-2"), account("well", standin.url), {})
        assert not seen.exists
        assert not hanging.done()
    finally:
        asked.set()
        end.set()
        await asyncio.gather(hanging, return_exceptions=True)
        cloud.close()


async def test_what_stays_where_it_was_made_counts_there_whatever_the_spec_says(cloud, account):
    there = Place("default", "eu-central-1", "ec2", account.version)
    cloud._budgets.done(await cloud._budgets.begin(there), "silent", "no answer")
    vpc = managed(EC2, "VPC", "v", "vpc-1", cidrBlock="10.0.0.0/16")
    vpc["metadata"]["annotations"]["groundplane.io/region"] = "eu-central-1"
    with pytest.raises(Busy, match="ec2 in eu-central-1 with ProviderConfig default has just failed"):
        await cloud.observe(vpc, account, {})


async def test_refused_credentials_drop_only_the_clients_that_used_them(standin):
    sessions = Sessions({})
    first, other = sessions.clients(account("a", standin.url)), sessions.clients(account("b", standin.url))
    first.refused = True
    second = sessions.clients(account("a", standin.url))
    assert second is not first
    first.refused = True  # a late refusal of what is not used any more
    assert sessions.clients(account("a", standin.url)) is second
    assert sessions.clients(account("b", standin.url)) is other


def test_clients_that_nobody_uses_any_more_are_dropped_without_a_newcomer(monkeypatch):
    monkeypatch.setattr("groundplane.aws.session.SWEEP", -1.0)
    sessions = Sessions({})
    used = sessions.clients(account("used", "http://127.0.0.1:1"))
    sessions.clients(account("unused", "http://127.0.0.1:1"))
    monkeypatch.setattr("groundplane.aws.session.UNUSED", -1.0)
    assert sessions.clients(account("used", "http://127.0.0.1:1")) is used
    assert sessions.kept == 1
