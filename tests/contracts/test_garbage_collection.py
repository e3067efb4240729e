"""Garbage collection as rules: what becomes of a dependent, and of a deletion's policy."""

from __future__ import annotations

import pytest

from groundplane.cluster import garbage_collection
from groundplane.cluster.garbage_collection import Owner

OWNED = [{"uid": "0"}]
PRESENT, WAITING, GONE = Owner.PRESENT, Owner.WAITING, Owner.GONE


@pytest.mark.parametrize(
    "states, has_dependents, action, propagation",
    [
        ([], False, "keep", None),
        ([PRESENT], False, "keep", None),
        ([PRESENT, PRESENT], True, "keep", None),
        ([PRESENT, GONE], False, "release", None),
        ([PRESENT, WAITING], True, "release", None),
        ([GONE], False, "delete", "Background"),
        ([GONE], True, "delete", "Background"),
        ([WAITING], False, "delete", "Background"),
        ([WAITING], True, "delete", "Foreground"),
        ([GONE, WAITING], True, "delete", "Foreground"),
    ],
)
def test_the_fate_of_a_dependent(states, has_dependents, action, propagation):
    references = [{"uid": str(index)} for index in range(len(states))]
    dependent = {"metadata": {"ownerReferences": references}}
    fate = garbage_collection.fate(
        dependent, lambda reference: states[int(reference["uid"])], has_dependents=has_dependents
    )
    assert (fate.action, fate.propagation) == (action, propagation)
    if action == "release":
        assert [reference["uid"] for reference in fate.references] == ["0"]


def test_a_dependent_that_is_going_already_is_left_alone():
    dependent = {"metadata": {"ownerReferences": OWNED, "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert garbage_collection.fate(dependent, lambda reference: GONE, has_dependents=True).action == "keep"


def test_a_dependents_own_wish_for_orphans_is_heeded():
    dependent = {"metadata": {"ownerReferences": OWNED, "finalizers": ["orphan"]}}
    assert garbage_collection.fate(dependent, lambda reference: GONE, has_dependents=True).propagation == "Orphan"


@pytest.mark.parametrize(
    "propagation, finalizers",
    [
        (None, ["a", "orphan", "b"]),
        ("Background", ["a", "b"]),
        ("Foreground", ["a", "b", "foregroundDeletion"]),
        ("Orphan", ["a", "b", "orphan"]),
    ],
)
def test_a_deletion_leaves_its_policy_among_the_finalizers(propagation, finalizers):
    assert garbage_collection.deletion_finalizers(["a", "orphan", "b"], propagation) == finalizers
