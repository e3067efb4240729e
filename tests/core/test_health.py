"""Which failure makes an object degraded, and when; what is still to come of an object, and what a generation says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from groundplane.core import conditions, health
from groundplane.core.conditions import Condition
from groundplane.core.health import Failures
from groundplane.errors import Denied, InvalidInput, NoSuchKind, Rejected, Throttled, Unavailable, Waiting
from tests import gitops

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATES = yaml.load((Path(__file__).parents[1] / "vectors" / "gitops.yaml").read_text(), yaml.CSafeLoader)


def fresh(error):
    error.fresh = True
    return error


@pytest.mark.parametrize(
    "error, times, seconds, wanted",
    [
        (InvalidInput("x"), 1, 0, ("Stalled", "InvalidInput", True)),
        (Rejected("x"), 1, 0, ("Stalled", "Rejected", True)),
        (Waiting("x"), 99, 9999, ("Reconciling", "Waiting", True)),
        (NoSuchKind("x"), 99, 9999, ("Reconciling", "Waiting", True)),
        (Unavailable("x"), 1, 0, ("Reconciling", "Retrying", False)),
        (Unavailable("x"), 9, 29, ("Reconciling", "Retrying", False)),
        (Unavailable("x"), 2, 99, ("Reconciling", "Retrying", False)),
        (Unavailable("x"), 3, 30, ("Reconciling", "Retrying", True)),
        (Throttled("x"), 99, 9999, ("Reconciling", "Retrying", True)),
        (Denied("x"), 1, 0, ("Reconciling", "Retrying", True)),
        (fresh(Denied("x")), 1, 0, ("Reconciling", "Retrying", False)),
        (fresh(Denied("x")), 2, 30, ("Reconciling", "Retrying", True)),
        (fresh(Denied("x")), 5, 120, ("Stalled", "Denied", True)),
    ],
)
def test_what_a_person_must_mend_is_told_at_once_and_what_mostly_passes_later(error, times, seconds, wanted):
    outlook, is_told = Failures(times, seconds).verdict(error)
    assert (outlook.type, outlook.reason, is_told) == wanted


def test_an_error_of_ours_is_told_at_once_and_counts_as_stalled_the_third_time():
    error = Unavailable("internal error: KeyError")
    assert Failures(2, 0).verdict(error, internal=True)[0].type == "Reconciling"
    assert Failures(3, 0).verdict(error, internal=True) == (health.stalled("InternalError", str(error)), True)


def an_object(generation=1):
    return {"metadata": {"generation": generation}, "status": {"observedGeneration": -1}}


def test_an_object_is_reconciling_or_stalled_or_neither_and_never_both():
    obj = an_object()
    for outlook, wanted in [
        (health.reconciling("Creating"), {"Ready", "Reconciling"}),
        (health.stalled("InvalidInput", "bad"), {"Ready", "Stalled"}),
        (health.reconciling("Retrying"), {"Ready", "Reconciling"}),
        (None, {"Ready"}),
    ]:
        health.tell(obj, conditions.available(), outlook=outlook, now=NOW)
        assert {condition["type"] for condition in obj["status"]["conditions"]} == wanted
        assert health.outlook(obj) == outlook


def test_ready_keeps_the_generation_that_it_was_found_for_until_a_change_is_through():
    obj = an_object()
    health.tell(obj, conditions.available(), outlook=None, now=NOW)
    obj["metadata"]["generation"] = 2
    assert not health.has_seen(obj)
    health.tell(obj, conditions.available(), outlook=health.reconciling("Updating"), now=NOW)
    assert health.has_seen(obj)
    assert conditions.find(obj, "Ready")["observedGeneration"] == 1
    health.tell(obj, conditions.unavailable(), outlook=health.reconciling("Updating"), now=NOW)
    assert conditions.find(obj, "Ready")["observedGeneration"] == 2
    health.tell(obj, conditions.available(), outlook=None, now=NOW)
    assert conditions.find(obj, "Ready")["observedGeneration"] == 2


def test_telling_the_same_again_changes_nothing():
    obj = an_object()
    told = [conditions.reconcile_success(), conditions.creating("x")]
    health.tell(obj, *told, outlook=health.reconciling("Creating", "x"), now=NOW)
    before = yaml.safe_dump(obj)
    health.tell(obj, *told, outlook=health.reconciling("Creating", "x"), now=NOW.replace(year=2027))
    assert yaml.safe_dump(obj) == before


def test_synced_is_the_first_condition_wherever_another_put_it_for_argo_cd_stops_at_the_first_that_is_true():
    obj = an_object()
    health.tell(obj, Condition("Established", "True", "x"), conditions.available(), outlook=None, now=NOW)
    for told in (conditions.reconcile_error("bad"), conditions.reconcile_success()):
        health.tell(obj, told, outlook=None, now=NOW)
        assert [each["type"] for each in obj["status"]["conditions"]] == ["Synced", "Established", "Ready"]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state["state"])
def test_the_rules_that_the_tests_judge_by_say_what_the_tools_own_code_says(state):
    group, kind = state["kind"].split("/")
    found = [
        {"type": type_, "status": status, "reason": reason or "x"} | ({"observedGeneration": seen} if seen else {})
        for type_, status, reason, seen in state.get("conditions") or ()
    ]
    status = state.get("status")
    if found:
        status = (status or {}) | {"conditions": found}
    metadata = {"name": "x", "generation": state.get("generation", 1)}
    if state.get("deleting"):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    obj = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata} | ({"status": status} if status else {})
    assert list(gitops.verdict(obj)) == state["verdict"]
