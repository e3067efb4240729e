"""Patches: the table in tests/vectors/patches.yaml, patch sets, and the second merge."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from groundplane.core import fieldpath, patches
from groundplane.core.patches import Patch
from groundplane.core.spec import NATIVE, Spec, load
from groundplane.errors import InvalidInput

ROWS = yaml.load((Path(__file__).parents[1] / "vectors" / "patches.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)


class Holder(Spec):
    it: Patch


def read(raw):
    holder, problems, pruned = load(Holder, {"it": raw}, "", NATIVE)
    assert not problems
    assert not pruned
    return holder.it


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_a_patch_does_what_its_table_says(row):
    patch = read(row["patch"])
    found = [problem.field for problem in patch.problems(NATIVE)]
    assert found == ([row["problem"]] if "problem" in row else [])
    if "problem" in row:
        return
    source, target = {"kind": "X"} | row["from"], {"kind": "Y"} | row["to"]
    before = fieldpath.copied(source)
    if "error" in row:
        with pytest.raises(InvalidInput) as caught:
            patch.compile(NATIVE).apply(source, target)
        assert row["error"] in str(caught.value)
        assert row.get("mend", "") in caught.value.mend
    else:
        patch.compile(NATIVE).apply(source, target)
        assert fieldpath.same(target, {"kind": "Y"} | row["result"])
    assert source == before


@pytest.mark.parametrize(
    ("policy", "live", "desired", "sent"),
    [
        ({"mergeOptions": {"keepMapValues": True}}, {"a": "live"}, {"a": "new", "b": "new"}, {"a": "live", "b": "new"}),
        ({"mergeOptions": {"keepMapValues": True, "appendSlice": True}}, {"l": [1]}, {"l": [2]}, {"l": [1, 2]}),
        ({"mergeOptions": {"appendSlice": True}}, None, {"l": [2]}, {"l": [2]}),
        ({"mergeOptions": {"keepMapValues": True}}, {"a": "live"}, None, {"a": "live"}),
        ({"fromFieldPath": "Optional"}, {"a": "live"}, {"a": "new"}, {"a": "new"}),
        (None, {"a": "live"}, None, None),
    ],
)
def test_a_policy_decides_again_against_the_live_object(policy, live, desired, sent):
    patch = read({"fromFieldPath": "o", "toFieldPath": "spec.o"} | ({"policy": policy} if policy else {}))
    existing, wanted = {"spec": {"o": live} if live else {}}, {"spec": {"o": desired} if desired else {}}
    before = fieldpath.copied(existing)
    patch.compile(NATIVE).merge_with(existing, wanted)
    assert wanted == {"spec": {"o": sent} if sent else {}}
    assert existing == before


def test_without_an_explicit_target_the_live_object_does_not_count():
    patch = read({"fromFieldPath": "spec.o", "policy": {"mergeOptions": {"keepMapValues": True}}})
    wanted = {"spec": {"o": {"a": "new"}}}
    patch.compile(NATIVE).merge_with({"spec": {"o": {"a": "live"}}}, wanted)
    assert wanted == {"spec": {"o": {"a": "new"}}}


def test_a_live_object_of_another_shape_is_an_error():
    patch = read({"fromFieldPath": "l", "toFieldPath": "spec.p.l", "policy": {"mergeOptions": {"appendSlice": True}}})
    with pytest.raises(InvalidInput, match=r"spec\.p: not an object"):
        patch.compile(NATIVE).merge_with({"spec": {"p": "text"}}, {"spec": {"p": {"l": [1]}}})


def test_sets_are_put_in_the_place_of_their_reference():
    def single(path):
        return read({"fromFieldPath": path})

    sets = {"one": [single("p3"), single("p4")], "two": [single("p1"), single("p2")]}
    template = [
        read({"type": "PatchSet", "patchSetName": "two"}),
        single("q"),
        read({"type": "PatchSet", "patchSetName": "one"}),
    ]
    assert [patch.fromFieldPath for _, patch in patches.placed(template, sets)] == ["p1", "p2", "q", "p3", "p4"]


def test_an_unknown_set_is_answered_with_the_nearest():
    with pytest.raises(InvalidInput) as caught:
        patches.placed([read({"type": "PatchSet", "patchSetName": "comon"})], {"common": []})
    assert caught.value.mend == "did you mean common?"


def test_an_unknown_type_is_answered_with_the_nearest():
    _, problems, _ = load(Holder, {"it": {"type": "FromCompositeFieldPat"}}, "", NATIVE)
    assert [problem.mend for problem in problems] == ["did you mean FromCompositeFieldPath?"]


def test_unknown_fields_are_left_out_and_named():
    _, problems, pruned = load(
        Holder, {"it": {"fromFieldPath": "a", "tofieldPath": "b", "policy": {"x": 1}}}, "", NATIVE
    )
    assert not problems
    assert sorted(pruned) == ["it.policy.x", "it.tofieldPath"]
