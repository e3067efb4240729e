"""The tree of a claim: what it says of each object, and where it fails."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from groundplane.cli import tree
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
    managed = made("Instance", "i", spec={"forProvider": {}}, annotations={tree.EXTERNAL_NAME: "db-1"}, **instance)
    return {key_of(obj): obj for obj in (claim, composite, managed)}


CLAIM = Key("a/v1", "Claim", "team", "c")
FAILS = {"Synced": ("False", "ReconcileError", "create failed: no such class"), "Ready": ("False", "Creating", "")}
READY = {"Synced": ("True", "ReconcileSuccess", ""), "Ready": ("True", "Available", "")}


def test_the_lowest_object_that_fails_is_the_trouble():
    (trouble,) = tree.troubles(tree.grow(CLAIM, family(**FAILS), NOW))
    assert (trouble.key.name, trouble.cause) == ("i", "create failed: no such class")


def test_what_is_ready_took_as_long_as_it_took_and_what_is_not_has_its_age():
    nodes = {node.key.name: node for node in tree.every(tree.grow(CLAIM, family(**READY), NOW))}
    assert (nodes["i"].seconds, nodes["c"].seconds) == (7, 60)
    assert nodes["gone"].state == "absent"


def test_a_reference_that_is_only_waited_for_is_no_failure():
    waits = {"Synced": ("False", "ReconcileError", f"x ({tree.EARLY}): y"), "Ready": ("False", "Creating", "")}
    assert tree.troubles(tree.grow(CLAIM, family(**waits), NOW)) == []


def test_only_changes_are_lines():
    before = [tree.grow(CLAIM, family(**FAILS), NOW)]
    after = [tree.grow(CLAIM, family(**READY), NOW)]
    assert tree.changes(before, before) == []
    assert tree.changes(before, after) == ["✔ Instance i → AWS db-1: Synced, Ready"]
    assert tree.changes(after, []) == ["○ Claim team/c: gone", "○ XR x: gone", "○ Instance i: gone"]


def test_the_drawing_shows_every_object_and_the_error():
    console = Console(width=200)
    with console.capture() as captured:
        console.print(tree.drawn(tree.grow(CLAIM, family(**FAILS), NOW)))
    for text in ("Claim team/c", "XR x", "Instance i", "AWS db-1", "create failed: no such class"):
        assert text in captured.get()
