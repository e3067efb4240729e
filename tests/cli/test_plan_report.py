"""What `groundplane plan` prints: the specification's examples, word by word."""

from __future__ import annotations

import json

from groundplane.cli.plan_report import text_of, write
from groundplane.core.objects import Key
from groundplane.core.plan import OUTSIDE, PAUSED, Field, Plan, Step

LATE = "waits for the maintenance window (applyImmediately: false)"


def instance(name, claim, action, *changes, reason=""):
    owner = Key("platform.example.com/v1alpha1", "Database", "my-team", claim)
    composite = Key("platform.example.com/v1alpha1", "XDatabase", "", claim)
    key = Key("rds.aws.upbound.io/v1beta1", "Instance", "", name)
    return Step(
        key, action, f"{owner} › rds-instance", owner, "rds-instance", reason, composite, "aws-rds-postgres", changes
    )


def group(name, *changes):
    key = Key("ec2.aws.upbound.io/v1beta1", "SecurityGroup", "", name)
    return Step(key, "change", name, changes=changes)


CLASS = Field("spec.forProvider.instanceClass", "db.t3.medium", "db.t4g.medium", "waiting", "Composition", LATE)
ENGINE = Field("spec.forProvider.engine", "mysql", "postgres", "immutable", "claim")
INGRESS = Field("spec.forProvider.ingress", ["0.0.0.0/0:22"], [], "change", OUTSIDE)
PLAN = Plan(
    [
        instance("my-service-db-x7k2p-8aa1c0d2e4f6", "my-service-db", "change", CLASS),
        *(instance(f"other-{number}", f"other-{number}", "change", CLASS) for number in range(211)),
        instance("legacy-q2m4z-1f0e55aa01bc", "legacy", "blocked", ENGINE),
    ],
    accounts=["123456789012"],
    regions=["eu-west-1"],
    calls=452,
    users={("aws-rds-postgres", "XDatabase"): 240},
)
TEXT = """\
AWS 123456789012 eu-west-1; 212 of 240 XDatabase change, 1 is blocked; 452 calls
~ Instance my-service-db-x7k2p-8aa1c0d2e4f6   (Database my-team/my-service-db › rds-instance)
    spec.forProvider.instanceClass: "db.t3.medium" → "db.t4g.medium"   waits for the maintenance window (applyImmediately: false)
    … and 211 more, the same change in each (-v lists)
! Instance legacy-q2m4z-1f0e55aa01bc          (Database my-team/legacy › rds-instance)
    spec.forProvider.engine: "mysql" → "postgres"   immutable in AWS. Mend: make a second Database and move the data.
Plan: 0 to add, 212 to change, 0 to destroy, 1 blocked, 0 to forget, 0 unknown.   Saved: p.json, valid 24 h
"""


def test_the_specification_s_example():
    assert "\n".join([*text_of(PLAN, saved="p.json"), ""]) == TEXT
    assert sum(line.startswith("~ ") for line in text_of(PLAN, verbose=True)) == 212


def test_only_resources_of_one_kind_are_told_as_one():
    queue = Key("sqs.aws.upbound.io/v1beta1", "Queue", "", "jobs")
    alike = [
        Step(queue, "change", "jobs", changes=(CLASS,)),
        *(instance(f"i{n}", f"c{n}", "change", CLASS) for n in range(3)),
    ]
    lines = list(text_of(Plan(alike)))
    assert [line.split("   ")[0].rstrip() for line in lines if line.startswith("~ ")] == [
        "~ Queue jobs",
        "~ Instance i0",
    ]
    assert "    … and 2 more, the same change in each (-v lists)" in lines


def test_what_was_changed_outside_is_told_apart():
    storage = Field("spec.forProvider.allocatedStorage", 50, 20, source=OUTSIDE)
    gone, new = (
        Field("spec.forProvider.tags[team]", None, "a", source=OUTSIDE),
        Field("spec.forProvider.tags[x]", "b", None, source=OUTSIDE),
    )
    lines = list(text_of(Plan([group("net", INGRESS), group("other", storage, gone, new)])))
    assert lines[1:] == [
        "Changed outside: SecurityGroup net ingress + 0.0.0.0/0:22 (would be removed)",
        "Changed outside: SecurityGroup other allocatedStorage 50 (would be set to 20)",
        'Changed outside: SecurityGroup other tags[team] - "a" (would be put back)',
        'Changed outside: SecurityGroup other tags[x] + "b" (would be removed)',
        "Plan: 0 to add, 2 to change, 0 to destroy, 0 blocked, 0 to forget, 0 unknown.",
    ]


def test_of_a_long_value_what_differs_is_told_with_its_place():
    rules = [
        [{"id": "a", "days": [{"n": 7}]}, {"id": "old", "days": [{"n": days}], "more": more}]
        for days, more in ((14, None), (21, "x"))
    ]
    lines = list(text_of(Plan([group("net", Field("spec.forProvider.rule", *rules))])))
    assert lines[2:4] == [
        "    spec.forProvider.rule[1].days[0].n: 14 → 21",
        '    spec.forProvider.rule[1].more: (unset) → "x"',
    ]
    lines = list(text_of(Plan([group("net", Field("spec.forProvider.rule", ["a"], ["a", "b"]))])))
    assert lines[2] == '    spec.forProvider.rule: ["a"] → ["a", "b"]'


def test_no_changes_is_only_said_of_what_was_seen():
    every = [instance(f"i{number}", f"c{number}", "same") for number in range(452)]
    assert list(text_of(Plan(every))) == ["No changes. 452 resources match AWS."]
    assert list(text_of(Plan(every[:1]))) == ["No changes. 1 resource matches AWS."]
    unseen = Plan(every[:1], asked={"refresh": False})
    assert list(text_of(unseen)) == ["No changes. 1 resource matches AWS as last seen; nothing was looked at."]
    assert list(text_of(Plan([]))) == ["No changes: this concerns no managed resource."]
    lines = list(text_of(Plan([*every, instance("dark", "dark", "unknown", reason="AWS is down")])))
    assert lines[-3:-1] == ["? Instance dark   (Database my-team/dark › rds-instance)", "    AWS is down"]
    assert lines[-1].endswith("1 unknown.")


def test_secret_values_and_values_of_later_are_told_as_such(capsys):
    changes = (
        Field("spec.forProvider.passwordSecretRef", None, "(sensitive value)", "sensitive"),
        Field("spec.forProvider.vpcId", "vpc-1", "(known after apply)", "unknown"),
    )
    plan = Plan([instance("a", "a", "change", *changes)])
    assert list(text_of(plan))[2:4] == [
        "    spec.forProvider.passwordSecretRef: (sensitive value)",
        '    spec.forProvider.vpcId: "vpc-1" → (known after apply)',
    ]
    write(plan, "json", in_colour=False)
    found = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in found["resources"][0]["changes"]] == ["sensitive", "unknown"]
    write(plan, "markdown", in_colour=False)
    assert capsys.readouterr().out.startswith("### Plan: 0 to add, 1 to change")


def test_markdown_names_what_is_paused_also_where_nothing_would_change(capsys):
    paused = instance("orders-db", "orders", "same", reason=PAUSED)
    write(Plan([paused]), "markdown", saved="p.json", in_colour=False)
    assert capsys.readouterr().out == (
        "### No changes: all that this concerns is paused.\n\n"
        "```\nPaused, and not looked at: Instance orders-db\nSaved: p.json, valid 24 h\n```\n"
    )
    write(Plan([paused, group("net", INGRESS)]), "markdown", in_colour=False)
    assert "\nPaused, and not looked at: Instance orders-db\n" in capsys.readouterr().out
    write(Plan([]), "markdown", in_colour=False)
    assert capsys.readouterr().out == "### No changes: this concerns no managed resource.\n"
