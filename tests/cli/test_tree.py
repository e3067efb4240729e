"""The tree of a claim: what it says of each object, and where it fails."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from groundplane.cli import health, tree
from groundplane.core import conditions
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import Key, key_of

NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


def made(kind, name, *, spec=None, namespace="", annotations=None, **conditions):
    metadata = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations or {}}
    return {
        "apiVersion": "a/v1",
        "kind": kind,
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
        "spec": spec or {},
        "status": {
            "conditions": [
                {
                    "type": type_,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:07Z",
                }
                for type_, (status, reason, message) in conditions.items()
            ]
        },
    }


def family(**instance):
    reference = {"apiVersion": "a/v1", "kind": "Instance", "name": "i"}
    synced = {"Synced": ("True", "ReconcileSuccess", "")}
    claim = made(
        "Claim",
        "c",
        namespace="team",
        spec={"resourceRef": {"apiVersion": "a/v1", "kind": "XR", "name": "x"}},
        **synced,
        Ready=("False", "Waiting", ""),
    )
    composite = made(
        "XR",
        "x",
        spec={"resourceRefs": [reference, reference | {"name": "gone"}]},
        **synced,
        Ready=("False", "Creating", ""),
    )
    managed = made("Instance", "i", spec={"forProvider": {}}, annotations={EXTERNAL_NAME: "db-1"}, **instance)
    return {key_of(obj): obj for obj in (claim, composite, managed)}


CLAIM = Key("a/v1", "Claim", "team", "c")
FAILS = {"Synced": ("False", "ReconcileError", "create failed: no such class"), "Ready": ("False", "Creating", "")}
READY = {"Synced": ("True", "ReconcileSuccess", ""), "Ready": ("True", "Available", "")}


def test_the_lowest_object_that_fails_is_the_trouble():
    (trouble,) = tree.troubles(tree.grow(CLAIM, family(**FAILS), NOW))
    assert (trouble.key.name, trouble.cause) == ("i", "create failed: no such class")


UNKNOWN = ".spec.cidrBlok: field not declared in schema. Mend: did you mean cidrBlock?"


def unsynced(cause):
    objects = family(**FAILS)
    composite = objects[Key("a/v1", "XR", "", "x")]
    composite["status"]["conditions"][0] |= {"status": "False", "message": f"Unsynced resources: vpc; because {cause}"}
    return tree.grow(CLAIM, objects, NOW)


def test_a_composites_own_failure_comes_before_what_follows_from_it_and_a_summary_is_left_out():
    assert [(each.key.name, UNKNOWN in each.cause) for each in tree.troubles(unsynced(UNKNOWN))] == [
        ("x", True),
        ("i", False),
    ]
    (trouble,) = tree.troubles(unsynced("Instance i: create failed: no such class"))
    assert trouble.key.name == "i"


async def test_a_call_that_fails_is_told_before_what_waits_and_equal_causes_once():
    call = ("True", "Retrying", "observe failed: Could not connect")
    objects = family(Synced=("True", "ReconcileSuccess", ""), Ready=("False", "Creating", ""), Reconciling=call)
    instance = objects[Key("a/v1", "Instance", "", "i")]
    composite = objects[Key("a/v1", "XR", "", "x")]
    reference = {"apiVersion": "a/v1", "kind": "Instance"}
    composite["spec"]["resourceRefs"] = [reference | {"name": name} for name in ("waits", "i", "j")]
    early = f"cannot resolve references: spec.x: referenced field was empty ({conditions.EARLY}): VPC net has no id yet. Mend: wait."
    waits = {"Synced": ("False", "ReconcileError", early), "Ready": ("False", "Creating", "")}
    objects[Key("a/v1", "Instance", "", "waits")] = made("Instance", "waits", **waits)
    objects[Key("a/v1", "Instance", "", "j")] = instance | {"metadata": instance["metadata"] | {"name": "j"}}
    verdict = health.verdict_of(CLAIM, objects, frozenset({"claim"}), NOW)
    assert verdict.state == "under way"
    assert verdict.causes == (
        "Instance i, Instance j: Synced, not Ready: Creating: observe failed: Could not connect",
        "Instance waits: waits for what it refers to: VPC net has no id yet",
    )


def test_what_is_ready_took_as_long_as_it_took_and_what_is_not_has_its_age():
    nodes = {node.key.name: node for node in tree.every(tree.grow(CLAIM, family(**READY), NOW))}
    assert (nodes["i"].seconds, nodes["c"].seconds) == (7, 60)
    assert nodes["gone"].state == "absent"


def test_a_reference_that_is_only_waited_for_is_no_failure():
    waits = {"Synced": ("False", "ReconcileError", f"x ({conditions.EARLY}): y"), "Ready": ("False", "Creating", "")}
    assert tree.troubles(tree.grow(CLAIM, family(**waits), NOW)) == []


def test_only_changes_are_lines():
    before = [tree.grow(CLAIM, family(**FAILS), NOW)]
    after = [tree.grow(CLAIM, family(**READY), NOW)]
    assert tree.changes(before, before) == []
    assert tree.changes(before, after) == ["✔ Instance i → external db-1: Synced, Ready"]
    for group, title in (("rds.aws.m.upbound.io", "AWS"), ("postgresql.sql.crossplane.io", "PostgreSQL")):
        node = tree.Node(Key(f"{group}/v1", "Thing", "", "t"), "ready", "Ready", external_name="x")
        assert tree.line(node) == f"✔ Thing t → {title} x: Ready"
    assert tree.changes(after, []) == ["○ Claim team/c: gone", "○ XR x: gone", "○ Instance i: gone"]


def test_the_drawing_shows_every_object_and_the_error():
    console = Console(width=200)
    with console.capture() as captured:
        console.print(tree.drawn(tree.grow(CLAIM, family(**FAILS), NOW)))
    for text in ("Claim team/c", "XR x", "Instance i", "external db-1", "create failed: no such class"):
        assert text in captured.get()
