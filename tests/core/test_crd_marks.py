"""By its mark a definition is known as ours, as current, and as newer: what is done then."""

from __future__ import annotations

import pytest

from groundplane.core.crds import crds
from groundplane.core.crds.marks import MARK, Step, marked, step

A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.mark.parametrize(
    ("theirs", "adopt", "expected"),
    [
        (None, False, Step.APPLY),
        ("", False, Step.FOREIGN),
        ("", True, Step.APPLY),
        (f"1.4.0-{A}", False, Step.CURRENT),
        (f"9.0.0-{A}", False, Step.CURRENT),  # the same was declared by another version
        (f"1.3.9-{B}", False, Step.APPLY),
        (f"1.4.0-{B}", False, Step.APPLY),  # another build of the same version
        (f"1.4-{B}", False, Step.APPLY),
        (f"1.4.0rc1-{B}", False, Step.APPLY),
        (f"1.4.1-{B}", False, Step.NEWER),
        (f"1.4.1-{B}", True, Step.NEWER),  # adopting is for what is not ours
        (f"1.10.0-{B}", False, Step.NEWER),
        (f"2.0.0rc1-{B}", False, Step.NEWER),
        ("whatever", False, Step.APPLY),
    ],
)
def test_what_is_missing_or_older_is_applied_and_nothing_is_taken_back(theirs, adopt, expected):
    assert step(f"1.4.0-{A}", theirs, adopt=adopt) is expected


def test_the_mark_changes_with_what_is_declared_and_with_nothing_else():
    def mark(crd):
        return marked(crd, "1.4.0")["metadata"]["annotations"][MARK]

    one, other, *_ = crds()
    renamed = {**one, "metadata": {**one["metadata"], "labels": {"a": "b"}}}
    wider = {**one, "spec": {**one["spec"], "preserveUnknownFields": False}}
    assert mark(one) == mark(renamed)
    assert len({mark(one), mark(other), mark(wider)}) == 3
    assert MARK not in one["metadata"].get("annotations", {})
