"""Who may call AWS now: budgets on a clock of their own, and a healthy account beside one whose endpoint never answers."""

import asyncio
import itertools
import socket
import threading
from collections import Counter
from dataclasses import replace

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
from groundplane.aws.pace import RATE, Pace
from groundplane.aws.session import Sessions
from groundplane.errors import Busy, Denied, Throttled
from groundplane.ports import Account
from tests.aws.conftest import EC2, INI, managed, provider_config
from tests.runtime import virtual

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
        await budgets.begin(DEAD, "poll")
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
            await budgets.begin(DEAD, "poll")
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
                call = await budgets.begin(DEAD, "poll")
            except Throttled:
                clock.now += 1.0
            else:
                break
        with pytest.raises(Throttled):
            await budgets.begin(DEAD, "poll")
        pauses.append(clock.now - begun)
        budgets.done(call, "unknown")
    assert pauses == [1, 2, 4, 8, 16, 32, MAX_PAUSE, MAX_PAUSE]
    assert await budgets.begin(WELL)
    assert await budgets.begin(DEAD._replace(region="us-east-1"))


async def test_who_is_refused_is_told_why_only_when_it_goes_on(budgets, clock):
    budgets.done(await budgets.begin(DEAD), "throttled", "Rate exceeded")
    with pytest.raises(Busy):
        await budgets.begin(DEAD, "poll")
    clock.now = 1.0
    budgets.done(await budgets.begin(DEAD), "throttled", "Rate exceeded")
    with pytest.raises(
        Throttled, match=r"ec2 in eu-west-1 with ProviderConfig dead is called less often: Rate exceeded"
    ):
        await budgets.begin(DEAD)
    clock.now = 3.0
    budgets.done(await budgets.begin(DEAD), "answered")
    waiting = asyncio.ensure_future(budgets.begin(DEAD))
    await asyncio.sleep(0)
    assert not waiting.done()  # one every other second, by now
    clock.now = 5.0
    newcomer = asyncio.ensure_future(budgets.begin(DEAD))
    assert await waiting
    assert not newcomer.done()
    newcomer.cancel()


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
    waiting = [asyncio.ensure_future(budgets.begin(DEAD, "retry")) for _ in range(3)]
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
        await budgets.begin(DEAD, "poll")
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


def test_who_was_throttled_for_a_minute_has_made_a_thousand_calls_two_minutes_later():
    """As long as AWS refuses all, one tries after pauses that double; what has waited then is not late by as long again and again."""
    pace, paused, failures, tried, sent = Pace(0.0), 0.0, 0, 0, 0
    for step in range(18_000):
        now = step * 0.01
        while now >= paused and not pace.take(now):
            if now >= 60:
                sent += 1
                continue
            tried += 1
            pace.throttled(now)
            failures += 1
            paused = now + min(MAX_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
    assert tried < 10
    assert sent > 1000


class Line:
    """Callers of one budget, on the virtual clock: each call takes `takes` seconds, and AWS throttles above `limit` a second."""

    def __init__(self, *, takes=0.1, limit=1000.0):
        self.budgets = Budgets(16, asyncio.get_running_loop().time)
        self.takes, self.limit = takes, limit
        self.tokens, self.filled = max(1.0, limit), 0.0
        self.made = []  # (when, lane, tenant) of each call that was answered
        self.tasks = []

    async def call(self, lane, tenant):
        """As a reconcile does: it comes back after the time that it is told."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                call = await self.budgets.begin(WELL, lane, tenant)
            except Throttled as refused:
                await asyncio.sleep(refused.after)
                continue
            await asyncio.sleep(self.takes)
            now = loop.time()
            self.tokens, self.filled = min(max(1.0, self.limit), self.tokens + (now - self.filled) * self.limit), now
            if self.tokens >= 1:
                self.tokens -= 1
                self.budgets.done(call, "answered")
                self.made.append((now, lane, tenant))
                return now
            self.budgets.done(call, "throttled", "Rate exceeded")
            await asyncio.sleep(1.0)

    async def call_for_ever(self, lane, tenant):
        while True:
            await self.call(lane, tenant)

    def start(self, count, lane, tenant):
        self.tasks += [asyncio.ensure_future(self.call_for_ever(lane, tenant)) for _ in range(count)]

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("lane", "takes", "limit"), [("poll", 0.1, 1000.0), ("poll", 5.0, 1000.0), ("retry", 0.1, 5.0), ("poll", 0.1, 0.5)]
)
def test_six_hundred_polls_of_one_tenant_do_not_hold_up_the_change_of_another(lane, takes, limit):
    async def main():
        line = Line(takes=takes, limit=limit)
        line.start(600, lane, "many")
        await asyncio.sleep(10)
        begun = asyncio.get_running_loop().time()
        await line.call("change", "other")
        waited = asyncio.get_running_loop().time() - begun
        before = len([each for each in line.made if each[0] > begun and each[1] != "change"])
        await line.end()
        return waited, before

    waited, before = virtual.run(main())
    assert before <= 15
    assert waited <= takes + 3 / limit + 3


@pytest.mark.parametrize(("takes", "limit"), [(0.1, 1000.0), (0.1, 2.0), (5.0, 1000.0)])
def test_six_hundred_changes_of_one_tenant_let_another_have_every_other_call(takes, limit):
    async def main():
        line = Line(takes=takes, limit=limit)
        line.start(600, "change", "many")
        await asyncio.sleep(10)
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(*(line.call("change", "other") for _ in range(5)))
        made = Counter(tenant for when, _, tenant in line.made if when > begun)
        await line.end()
        return made

    made = virtual.run(main())
    assert made["many"] <= made["other"] + 12 + 2, "their calls that were under way, and one for each of the other's"


def test_of_the_calls_that_all_lanes_wait_for_changes_make_eight_of_eleven_and_none_starves():
    async def main():
        line = Line(takes=0.05)
        for lane in ("poll", "retry", "change"):
            line.start(100, lane, "one")
        await asyncio.sleep(1.5)  # nobody has lost patience yet
        await line.end()
        return Counter(lane for _, lane, _ in line.made[-110:])

    made = virtual.run(main())
    assert made["change"] >= 78
    assert made["retry"] >= 18
    assert made["poll"] >= 9


def test_who_is_refused_comes_back_behind_those_of_his_own_lane_and_tenant_alone():
    async def main():
        budgets = Budgets(16, asyncio.get_running_loop().time)
        for _ in range(2):
            budgets.done(await budgets.begin(DEAD), "silent", "no answer")

        async def refused(lane, tenant):
            with pytest.raises(Throttled) as error:
                await budgets.begin(DEAD, lane, tenant)
            return error.value.after

        for lane, tenant in itertools.product(("poll", "change"), ("many", "more")):
            assert max([await refused(lane, tenant) for _ in range(200)]) == LONGEST_AWAY
        return await refused("change", "other")

    assert virtual.run(main()) == 5.0


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


async def test_an_account_that_never_answers_delays_no_other(standin, monkeypatch):
    monkeypatch.setattr(
        "groundplane.aws.client_factory.READ_TIMEOUT", 600
    )  # however slow this machine is, none ends before
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        dead = account("dead", f"http://127.0.0.1:{silent.getsockname()[1]}")
        cloud = AwsCloud(sessions=Sessions(attempts=1), patience=600.0)
        hanging = [
            asyncio.ensure_future(
                cloud.observe(
                    managed(EC2, "VPC", f"v{n}", "vpc-1", cidrBlock="10.0.0.0/16"), replace(dead, lane="poll"), {}
                )
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
        def clients(self, account, **how):
            found = super().clients(account, **how)
            if account.provider_config["metadata"]["name"] == "dead":
                found.credentials.session = lambda region: asked.set() or end.wait()
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


async def test_a_change_of_one_tenant_goes_before_the_polls_and_beside_the_changes_of_another(standin, monkeypatch):
    """Through the Cloud port, one call at a time: the first is held up until all others wait in line."""
    monkeypatch.setattr("groundplane.aws.budget.PATIENCE", dict.fromkeys(("change", "retry", "poll"), 600.0))
    monkeypatch.setattr("groundplane.aws.budget.MOMENT", 600.0)
    order, all_wait = [], threading.Event()

    class Held(Sessions):
        def clients(self, account, **how):
            all_wait.wait()
            return super().clients(account, **how)

    cloud = AwsCloud(2, sessions=Held(attempts=1))
    well = account("well", standin.url)

    async def observe(lane, tenant, number):
        vpc = managed(EC2, "VPC", f"{tenant}-{lane}-{number}", f"vpc-{number}", cidrBlock="10.0.0.0/16")
        vpc["metadata"]["labels"] = {"crossplane.io/claim-namespace": tenant}
        await cloud.observe(vpc, replace(well, lane=lane), {})
        order.append((lane, tenant))

    tasks = []
    for lane, tenant, count in (("poll", "many", 10), ("change", "many", 10), ("change", "other", 1)):
        tasks += [asyncio.ensure_future(observe(lane, tenant, number)) for number in range(count)]
    await asyncio.sleep(0)
    all_wait.set()
    await asyncio.gather(*tasks)
    cloud.close()
    assert order[:3] == [("poll", "many"), ("change", "many"), ("change", "other")]


async def test_what_stays_where_it_was_made_counts_there_whatever_the_spec_says(cloud, account):
    there = Place("default", "eu-central-1", "ec2", account.version)
    cloud._budgets.done(await cloud._budgets.begin(there), "silent", "no answer")
    vpc = managed(EC2, "VPC", "v", "vpc-1", cidrBlock="10.0.0.0/16")
    vpc["metadata"]["annotations"]["groundplane.io/region"] = "eu-central-1"
    with pytest.raises(Busy, match="ec2 in eu-central-1 with ProviderConfig default has just failed"):
        await cloud.observe(vpc, replace(account, lane="poll"), {})


async def test_refused_credentials_drop_only_the_clients_that_used_them(standin):
    sessions = Sessions({})
    first, other = sessions.clients(account("a", standin.url)), sessions.clients(account("b", standin.url))
    first.refuse(Denied("no"))
    second = sessions.clients(account("a", standin.url))
    assert second is not first
    first.refuse(Denied("no"))  # a late refusal of what is not used any more
    assert sessions.clients(account("a", standin.url)) is second
    assert sessions.clients(account("b", standin.url)) is other


def test_credentials_that_are_refused_again_are_looked_for_after_pauses_and_by_none_of_their_users_before():
    now = 1000.0
    sessions, theirs = Sessions({}, clock=lambda: now), account("a", "http://127.0.0.1:1")
    refused = Denied("they are none", mend="give others")
    made, pauses = [sessions.clients(theirs)], []
    for _ in range(6):
        made[-1].refuse(refused)
        refused.prefix = "observe failed"  # as who tells of it does
        begun = now
        while now < made[-1].again:
            with pytest.raises(Denied) as caught:
                sessions.clients(theirs)
            assert str(caught.value) == "they are none. Mend: give others."
            assert sessions.clients(theirs, for_calls=False) is made[-1]
            now += 1
        made.append(sessions.clients(theirs))
        refused.prefix = ""
        pauses.append(now - begun)
    assert len({id(each) for each in made}) == 7
    assert pauses == [0, 5, 10, 20, 40, 60]
    other = replace(theirs, version="another secret")
    assert sessions.clients(other) is not made[-1]
    made[-1].refuse(refused)
    assert sessions.clients(other).refused is None


def test_credentials_that_were_good_for_long_are_looked_for_at_once():
    now = 1000.0
    sessions, theirs = Sessions({}, clock=lambda: now), account("a", "http://127.0.0.1:1")
    for _ in range(3):
        last = sessions.clients(theirs)
        now += 3600.0
        last.refuse(Denied("they have ended"))
        assert sessions.clients(theirs) is not last


def test_clients_that_nobody_uses_any_more_are_dropped_without_a_newcomer(monkeypatch):
    monkeypatch.setattr("groundplane.aws.session.SWEEP", -1.0)
    sessions = Sessions({})
    used = sessions.clients(account("used", "http://127.0.0.1:1"))
    sessions.clients(account("unused", "http://127.0.0.1:1"))
    monkeypatch.setattr("groundplane.aws.session.UNUSED", -1.0)
    assert sessions.clients(account("used", "http://127.0.0.1:1")) is used
    assert sessions.kept == 1
