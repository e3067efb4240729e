"""Who leads: single rules, and a law over replicas whose clocks differ and whose requests are late, lost or answered to nobody."""

from __future__ import annotations

import heapq
import itertools
import random

import pytest

from groundplane.runtime.election import PREFIX, Election, Standing, Terms

TERMS = Terms()
WALL = "2026-01-01T12:00:00.000000Z"


def held(holder="crossplane-0", duration=15, renewed=WALL):
    return {"holderIdentity": holder, "leaseDurationSeconds": duration, "renewTime": renewed, "leaseTransitions": 3}


@pytest.fixture
def election():
    return Election(f"{PREFIX}a", TERMS)


def test_a_lease_that_nobody_holds_is_claimed_at_once(election):
    assert election.may_claim(0.0)
    election.observe(held(holder=""), 0.0)
    assert election.may_claim(0.0)
    assert election.claim(WALL)["leaseTransitions"] == 4


@pytest.mark.parametrize("duration", [2, 15, 60])
def test_a_holder_is_given_the_duration_of_its_own_record_since_we_saw_it(election, duration):
    election.observe(held(duration=duration, renewed="1999-01-01T00:00:00Z"), 100.0)
    assert not election.may_claim(100.0 + duration - 0.1)
    assert election.may_claim(100.0 + duration)


def test_every_renewal_begins_the_wait_anew_whatever_time_it_names(election):
    election.observe(held(renewed="2030-01-01T00:00:00Z"), 100.0)
    election.observe(held(renewed="1999-01-01T00:00:00Z"), 110.0)
    assert not election.may_claim(124.9)
    assert election.may_claim(125.0)


def test_a_holder_that_is_dead_is_given_a_moment_for_what_it_sent_last(election):
    election.observe(held(), 100.0)
    election.died(102.0)
    election.died(104.0)
    assert not election.may_claim(102.9)
    assert election.may_claim(103.0)
    election.observe(held(holder="crossplane-1"), 102.5)
    assert not election.may_claim(117.4)


def test_a_death_seen_late_prolongs_nothing(election):
    election.observe(held(), 100.0)
    election.died(114.9)
    assert election.may_claim(115.0)


def test_a_deleted_lease_frees_nobody_from_waiting_for_its_last_holder(election):
    election.observe(held(), 100.0)
    election.observe(None, 101.0)
    assert not election.may_claim(114.9)
    assert election.may_claim(115.0)


def test_a_leader_counts_from_before_its_request(election):
    election.granted(election.claim(WALL), 100.0)
    assert election.standing(109.9) is Standing.LEADS
    assert election.standing(110.0) is Standing.SUSPENDED


def test_who_was_late_goes_on_if_nobody_else_led_and_has_lost_otherwise(election):
    election.granted(election.claim(WALL), 100.0)
    assert election.may_claim(200.0)
    election.granted(election.claim(WALL), 200.0)
    assert election.standing(205.0) is Standing.LEADS
    election.observe(held(holder=f"{PREFIX}b"), 206.0)
    assert election.standing(206.0) is Standing.LOST


def test_who_releases_writes_no_more_and_leaves_a_record_that_is_taken_at_once(election):
    election.granted(election.claim(WALL), 100.0)
    released = election.release()
    assert election.standing(100.0) is not Standing.LEADS
    other = Election(f"{PREFIX}b", TERMS)
    other.observe(released, 101.0)
    assert other.may_claim(101.0)


def test_only_a_holder_without_our_prefix_that_renews_is_a_crossplane(election):
    election.observe(held(holder="crossplane-0"), 0.0)
    assert not election.foreign_changes
    election.observe(held(holder="crossplane-0", renewed="2026-01-01T12:00:10Z"), 10.0)
    assert election.foreign_changes
    election.observe(held(holder=f"{PREFIX}b"), 20.0)
    election.observe(held(holder=f"{PREFIX}b", renewed="2026-01-01T12:00:10Z"), 21.0)
    assert not election.foreign_changes


class Replicas:
    """Three of them around one record, whose versions guard it as an API server does; true time passes from event to event."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.version, self.spec = 0, None
        self.rates = [self.chance.uniform(0.99, 1.01) for _ in range(3)]
        self.offsets = [self.chance.uniform(0, 1e6) for _ in range(3)]
        self.all = [Election(f"{PREFIX}{index}", TERMS) for index in range(3)]
        self.known = [0, 0, 0]  # the version that each has read
        self.events, self.order, self.now = [], itertools.count(), 0.0
        self.leaders = set()
        self.dead_until = [0.0, 0.0, 0.0]

    def clock(self, index):
        return self.offsets[index] + self.now * self.rates[index]

    def after(self, seconds, what):
        heapq.heappush(self.events, (self.now + seconds, next(self.order), what))

    def delay(self):
        return self.chance.choice([0.01, 0.1, 1.0, self.chance.uniform(0, 30)])

    def play(self, seconds):
        for index in range(3):
            self.after(self.chance.random(), lambda index=index: self.look(index))
        while self.events and self.now < seconds:
            self.now, _, what = heapq.heappop(self.events)
            what()
            leading = {i for i in range(3) if self.all[i].standing(self.clock(i)) is Standing.LEADS}
            self.leaders |= leading
            assert len(leading) <= 1, f"{leading} lead at {self.now}"

    def look(self, index):
        if self.chance.random() < 0.05:  # stopped, as by SIGSTOP, for a while
            self.dead_until[index] = self.now + self.chance.uniform(0, 40)
        seen, version = self.spec, self.version
        self.after(self.delay(), lambda: self.answered(index, seen, version))

    def answered(self, index, spec, version):
        if self.now < self.dead_until[index]:
            self.after(self.dead_until[index] - self.now, lambda: self.answered(index, spec, version))
            return
        election = self.all[index]
        election.observe(spec, self.clock(index))
        if election.may_claim(self.clock(index)):
            claim, began = election.claim(str(self.now)), self.clock(index)
            self.after(self.delay(), lambda: self.write(index, claim, version, began))
            if self.chance.random() < 0.1:  # sent twice
                self.after(self.delay(), lambda: self.write(index, claim, version, began))
        self.after(self.chance.uniform(0.5, 2.4), lambda: self.look(index))

    def write(self, index, claim, version, began):
        if version != self.version:
            return
        self.version, self.spec = self.version + 1, claim
        if self.chance.random() < 0.8:  # else its answer is lost
            self.after(self.delay(), lambda: self.granted(index, claim, began))

    def granted(self, index, claim, began):
        """Too late an answer is none: the elector has given up on the request."""
        if self.clock(index) - began < TERMS.deadline / 2 and self.now >= self.dead_until[index]:
            self.all[index].granted(claim, began)


@pytest.mark.parametrize("seed", range(30))
def test_never_do_two_lead_and_in_the_end_each_has_led(seed):
    replicas = Replicas(seed)
    replicas.play(4000)
    assert len(replicas.leaders) >= 2
