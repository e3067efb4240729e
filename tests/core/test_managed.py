"""What to do next for one managed resource: laws over every combination of facts, and the reading of facts."""

import datetime
import itertools

import pytest

from groundplane.core import managed
from groundplane.core.managed import ALL, Action, Creates, External, Facts, Pending, Verdict
from groundplane.core.objects import key_of
from groundplane.errors import InvalidInput

NOW = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)
BOOLEANS = ("deleting", "create_unfinished", "created_recently", "other_finalizers")
SETS = [frozenset(chosen) for size in range(6) for chosen in itertools.combinations(sorted(ALL, key=str), size)]
EVERY = [
    Facts(external=external, may=may, **dict(zip(BOOLEANS, values, strict=True)))
    for external in External
    for may in SETS
    for values in itertools.product((False, True), repeat=len(BOOLEANS))
]
CHANGING = {Action.CREATE, Action.UPDATE, Action.DELETE}


def acting(action):
    return [facts for facts in EVERY if managed.next_action(facts) is action]


# --- laws -----------------------------------------------------------------------------------------------------


def test_every_combination_of_facts_has_an_answer():
    assert len(EVERY) == 5 * 32 * 16
    assert {type(managed.next_action(facts)) for facts in EVERY} == {Action}


@pytest.mark.parametrize("action", sorted(CHANGING, key=str))
def test_nothing_is_created_updated_or_deleted_that_must_not_be(action):
    assert acting(action)
    assert all(action in facts.may for facts in acting(action))


def test_a_deleted_resource_is_never_created_or_updated():
    assert not any(facts.deleting for facts in acting(Action.CREATE) + acting(Action.UPDATE))


def test_only_a_deleted_resource_is_deleted_or_released():
    assert all(facts.deleting for facts in acting(Action.DELETE) + acting(Action.RELEASE))


def test_nothing_changes_while_the_outcome_of_a_create_is_unknown():
    assert not any(managed.next_action(facts) in CHANGING for facts in EVERY if facts.create_unfinished)


def test_nothing_changes_that_was_not_looked_at():
    assert not any(managed.next_action(facts) in CHANGING for facts in EVERY if facts.external is External.UNSEEN)


def test_only_what_is_absent_is_created_and_not_right_after_a_create():
    for facts in acting(Action.CREATE):
        assert facts.external is External.ABSENT
        assert not facts.created_recently


def test_only_what_drifts_is_updated():
    assert {facts.external for facts in acting(Action.UPDATE)} == {External.DRIFTED}


def test_what_may_be_deleted_is_released_only_once_it_is_gone_and_nobody_else_needs_it():
    for facts in acting(Action.RELEASE):
        if Action.DELETE in facts.may:
            assert facts.external is External.ABSENT
            assert not facts.created_recently
            assert not facts.other_finalizers
            assert not facts.create_unfinished


def test_what_must_not_be_deleted_is_released_without_a_look():
    for facts in EVERY:
        if facts.deleting and Action.DELETE not in facts.may:
            assert managed.next_action(facts) is Action.RELEASE


def test_what_aws_deletes_already_is_not_deleted_again():
    assert not any(facts.external is External.LEAVING for facts in acting(Action.DELETE))


def test_a_deletion_waits_for_other_finalizers():
    assert not any(facts.other_finalizers for facts in acting(Action.DELETE))


# --- what may be done -----------------------------------------------------------------------------------------

O, C, U, D, L = "Observe", "Create", "Update", "Delete", "LateInitialize"  # noqa: E741 - as the specification has them


def resource(policies=None, deletion=None, annotations=None, **metadata):
    spec = {"forProvider": {}}
    if policies is not None:
        spec["managementPolicies"] = policies
    if deletion is not None:
        spec["deletionPolicy"] = deletion
    return {"metadata": {"name": "db", "annotations": annotations or {}, **metadata}, "spec": spec}


def names(may):
    return {name for name, action in managed.MAY.items() if action in may}


@pytest.mark.parametrize("deletion", [None, "Delete", "Orphan"])
@pytest.mark.parametrize(
    "policies",
    [[O], [], [O, C, U, D], [O, C, U, L], [O, C, U], [O, C, D, L], [O, C, L], [O, C, D], [O, C], [O, D]]
    + [[O, U], [O, L], [O, U, L], [O, C, U, D, L]],
)
def test_an_explicit_list_says_all_whatever_the_deletion_policy(policies, deletion):
    assert names(managed.allowed(resource(policies, deletion))) == set(policies)
    assert names(managed.allowed(resource(policies[::-1], deletion))) == set(policies)


@pytest.mark.parametrize("policies", [None, ["*"]])
@pytest.mark.parametrize("deletion, deletes", [(None, True), ("Delete", True), ("Orphan", False)])
def test_by_default_all_is_allowed_and_orphan_takes_the_deletion_away(policies, deletion, deletes):
    may = managed.allowed(resource(policies, deletion))
    assert (Action.DELETE in may) is deletes
    assert may | {Action.DELETE} == ALL


def test_a_star_beside_delete_is_an_explicit_delete():
    assert Action.DELETE in managed.allowed(resource(["*", D], "Orphan"))


@pytest.mark.parametrize("policies", [[C], [U], [D], [L], [C, U, D], [O, U, D], [O, D, L], [O, "Fly"], ["Fly"]])
def test_an_unsupported_list_is_refused_and_quoted(policies):
    with pytest.raises(InvalidInput, match="is not a supported combination") as caught:
        managed.allowed(resource(policies))
    assert str(sorted(policies)) in str(caught.value)
    assert "managementPolicies" in str(caught.value)


def test_only_an_empty_list_pauses():
    assert managed.is_paused_by_policy(resource([]))
    assert not managed.is_paused_by_policy(resource())
    assert not managed.is_paused_by_policy(resource([O]))


# --- creates whose outcome is unknown -------------------------------------------------------------------------

T0, T1, T2 = "2026-01-01T11:59:00Z", "2026-01-01T11:59:01Z", "2026-01-01T11:59:02Z"


@pytest.mark.parametrize(
    "pending, succeeded, failed, unfinished",
    [
        (None, None, None, False),
        (None, T1, None, False),
        (T1, None, None, True),
        (T1, T0, None, True),
        (T1, None, T0, True),
        (T1, T0, T0, True),
        (T1, T1, None, False),  # the same second: strictly later is unfinished
        (T1, None, T1, False),
        (T1, T2, None, False),
        (T1, T0, T2, False),
        (T1, T2, T0, False),
        ("2026-01-01T12:59:01+01:00", T1, None, False),
        ("no time", None, None, False),
    ],
)
def test_a_create_is_unfinished_if_it_began_after_every_known_end(pending, succeeded, failed, unfinished):
    times = {
        managed.CREATE_PENDING: pending,
        managed.CREATE_SUCCEEDED: succeeded,
        managed.CREATE_FAILED: failed,
    }
    annotations = {name: time for name, time in times.items() if time}
    assert managed.is_create_unfinished(resource(annotations=annotations)) is unfinished


@pytest.mark.parametrize(
    "age, recently", [(0, True), (29, True), (30, False), (3600, False), (-30, True), (-31, False)]
)
def test_a_create_is_recent_for_thirty_seconds(age, recently):
    created = (NOW - datetime.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert managed.is_created_recently(resource(annotations={managed.CREATE_SUCCEEDED: created}), NOW) is recently


@pytest.mark.parametrize("ahead, is_ahead", [(-3600, False), (0, False), (30, False), (31, True), (10**9, True)])
def test_a_clock_may_be_ahead_by_thirty_seconds(ahead, is_ahead):
    told = (NOW + datetime.timedelta(seconds=ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = resource(annotations={managed.CREATE_SUCCEEDED: told})
    assert managed.is_ahead(found, managed.CREATE_SUCCEEDED, NOW) is is_ahead
    assert not managed.is_ahead(found, managed.CREATE_PENDING, NOW)


def test_what_was_never_created_was_not_created_recently():
    assert not managed.is_created_recently(resource(), NOW)
    assert not managed.is_created_recently(resource(annotations={managed.CREATE_FAILED: T2}), NOW)


# --- a create whose outcome nobody saved ------------------------------------------------------------------------

PENDINGS = [
    Pending(found=found, is_ours=ours, repeatable=repeatable, deleting=deleting, is_over=over)
    for found in (None, "", "vpc-1")
    for ours, repeatable, deleting, over in itertools.product((False, True), repeat=4)
]


def judged(verdict):
    return [pending for pending in PENDINGS if managed.verdict(pending) is verdict]


def test_what_a_create_made_is_adopted_whoever_began_it():
    assert judged(Verdict.ADOPT) == [pending for pending in PENDINGS if pending.found]


def test_what_cannot_be_looked_for_is_a_persons_decision():
    assert judged(Verdict.REFUSE) == [pending for pending in PENDINGS if pending.found is None]


def test_a_create_of_another_process_is_repeated_early_only_where_that_makes_no_second_thing():
    early = [pending for pending in judged(Verdict.REPEAT) if not pending.is_ours and not pending.is_over]
    assert early
    assert all(pending.repeatable and not pending.deleting for pending in early)


def test_nothing_waits_for_a_create_that_is_certainly_over():
    assert not any(pending.is_ours or pending.is_over for pending in judged(Verdict.WAIT))


def test_the_memory_of_creates_is_of_one_begin_of_one_incarnation():
    def vpc(uid, pending):
        metadata = {"name": "main", "uid": uid, "annotations": {managed.CREATE_PENDING: pending}}
        return {"apiVersion": "ec2.aws.upbound.io/v1beta1", "kind": "VPC", "metadata": metadata}

    creates = Creates()
    creates.begin(vpc("a", "12:00"))
    assert creates.is_ours(vpc("a", "12:00"))
    assert not creates.is_ours(vpc("a", "12:01"))
    assert not creates.is_ours(vpc("b", "12:00"))
    later = NOW + datetime.timedelta(hours=1)
    assert creates.waited(vpc("a", "12:01"), 100.0, NOW) == (0, NOW)
    assert creates.waited(vpc("a", "12:01"), 130.0, later) == (30, NOW)
    assert creates.waited(vpc("a", "12:02"), 140.0, later) == (0, later)
    for day in range(1000):
        creates.waited(vpc("a", str(day)), float(day), NOW)
        creates.begin(vpc("a", str(day)))
    assert len(creates) == 1
    creates.leave(vpc("a", ""))
    assert creates.is_leaving(vpc("a", "12:00"))
    assert not creates.is_leaving(vpc("b", "12:00"))
    creates.forget(key_of(vpc("a", "")))
    assert len(creates) == 0
    assert not creates.is_leaving(vpc("a", ""))
