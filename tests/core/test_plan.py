"""Plans as data: what is saved of one, and what keeps it from being applied."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from groundplane.core.objects import Key
from groundplane.core.plan import (
    OUTSIDE,
    Allowed,
    Field,
    Input,
    Plan,
    Read,
    Stale,
    Step,
    allowed,
    check,
    check_file,
    permits,
    read_of,
    saved,
)
from groundplane.errors import InvalidInput

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = Key("platform.example.com/v1alpha1", "Database", "my-team", "orders")
COMPOSITE = Key("platform.example.com/v1alpha1", "XDatabase", "", "orders-x7k2p")
KEY = Key("rds.aws.upbound.io/v1beta1", "Instance", "", "orders-x7k2p-1")
CHANGE = Field("spec.forProvider.instanceClass", "db.t3.medium", "db.t4g.medium", source="Composition database-aws")


def step(action="change", *changes, key=KEY, address="orders"):
    return Step(key, action, address, OWNER, "instance", "", COMPOSITE, "database-aws", changes)


PLAN = Plan(
    [step("change", CHANGE)],
    accounts=["123456789012"],
    regions=["eu-west-1"],
    calls=2,
    users={("database-aws", "XDatabase"): 1},
    inputs=[Input("composition.yaml", "aa")],
    objects=[Read(KEY, "u1", "7", "bb")],
    asked={"paths": ["composition.yaml"]},
)


def test_what_was_saved_holds_as_long_as_nothing_moves():
    before = check_file(saved(PLAN, version="1", now=NOW), version="1", now=NOW + timedelta(hours=23))
    check(before, PLAN)
    check(before, replace(PLAN, calls=9, objects=[Read(KEY, "u1", "8", "bb")]))  # a status was written


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(PLAN, inputs=[Input("composition.yaml", "ab")]), "composition.yaml is not as it was"),
        (replace(PLAN, inputs=[]), "composition.yaml is gone"),
        (
            replace(PLAN, accounts=["210987654321"]),
            "it is for account 123456789012, these credentials are of 210987654321",
        ),
        (replace(PLAN, steps=[step("same")]), "it would be left as it is, it was changed"),
        (replace(PLAN, steps=[]), "orders: it is gone"),
        (
            replace(PLAN, steps=[step("change", replace(CHANGE, before="db.t3.large"))]),
            'instanceClass was "db.t3.medium", is "db.t3.large" (changed meanwhile)',
        ),
        (
            replace(
                PLAN, steps=[step("change", CHANGE, Field("spec.forProvider.allocatedStorage", 50, 20, source=OUTSIDE))]
            ),
            "Instance orders-x7k2p-1 spec.forProvider.allocatedStorage was 20, is 50 (changed outside)",
        ),
        (replace(PLAN, objects=[Read(KEY, "u2", "7", "bb")]), "was deleted and made anew"),
        (replace(PLAN, objects=[Read(KEY, "u1", "7", "bc")]), "was edited"),
        (replace(PLAN, objects=[]), "is gone"),
        (replace(PLAN, objects=[*PLAN.objects, Read(OWNER, "u3", "9", "cc")]), "is new"),
    ],
)
def test_what_has_moved_is_told(now, words):
    with pytest.raises(Stale, match="the plan is stale: ") as error:
        check(saved(PLAN, version="1", now=NOW), now)
    assert words in str(error.value)
    assert str(error.value).endswith("Mend: plan again.")


def test_a_file_that_was_edited_is_too_old_or_is_another_version_s_is_stale():
    made = saved(PLAN, version="1", now=NOW)
    with pytest.raises(Stale, match="valid until 2026-01-02T00:00:00Z"):
        check_file(made, version="1", now=NOW + timedelta(hours=24))
    with pytest.raises(Stale, match="made by version 1, this is 2"):
        check_file(made, version="2", now=NOW)
    for name in made:
        edited = copy.deepcopy(made)
        edited[name] = "edited"
        with pytest.raises(InvalidInput):
            check_file(edited, version="1", now=NOW)
    for other in (None, [], {}, {"format": "tfplan"}):
        with pytest.raises(InvalidInput, match="no saved plan"):
            check_file(other, version="1", now=NOW)


def test_a_step_lets_its_own_calls_be_made_and_no_others():
    known = allowed(replace(PLAN, steps=[step("change", CHANGE, Field("spec.forProvider.tags[team]", None, "a"))]))[
        "orders"
    ]
    assert known == Allowed("change", frozenset({"instanceClass", "tags"}))
    assert permits(known, "update", ["instanceClass", "tags"])
    assert not permits(known, "update", ["instanceClass", "engineVersion"])
    assert not permits(known, "delete")
    assert not permits(known, "create")
    path = "spec.forProvider.manifest.data[app.conf]"
    one = allowed(replace(PLAN, steps=[step("change", Field(path, "a", "b"))]))["orders"]
    assert permits(one, "update", ["manifest.data[app.conf]"])
    assert not permits(one, "update", ["manifest.data[db.conf]"]), "another key of the same map"
    assert permits(Allowed("add", frozenset()), "create")
    assert permits(Allowed("add", frozenset()), "update", ["anything"])  # what the create call does not take
    assert permits(Allowed("destroy", frozenset()), "delete")
    for action in ("same", "blocked", "unknown", "forget"):
        assert not any(permits(Allowed(action, frozenset()), did) for did in ("create", "update", "delete"))
    assert not permits(None, "update")
    steps = replace(PLAN, steps=[step("unknown")])
    assert not any(permits(each, "create") for each in allowed(steps).values())
    assert all(permits(each, "create") for each in allowed(steps, unknown=True).values())


def test_nothing_of_a_secret_is_kept():
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "uid": "u"}, "data": {"password": "eA=="}}
    assert read_of(secret) == read_of({**secret, "data": {"password": "eQ=="}})
    claim = {"apiVersion": "example.org/v1", "kind": "App", "metadata": {"name": "a", "uid": "u"}, "spec": {"size": 1}}
    assert read_of(claim).spec != read_of({**claim, "spec": {"size": 2}}).spec
    assert read_of(claim).spec == read_of({**claim, "status": {"seen": True}}).spec
