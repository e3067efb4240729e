"""Tags, beyond what the vectors of the real function say."""

from __future__ import annotations

import pytest

from groundplane.aws import catalogue
from groundplane.functions import tag_manager
from tests.functions.pipelines import asked, bucket


def desired(**provider):
    return {"b": bucket(spec={"forProvider": provider})}


def tags(given, there=None, **how):
    answer = asked("tag-manager", given, desired(**({} if there is None else {"tags": there})), **how)
    return answer.desired.resources["b"].object["spec"]["forProvider"].get("tags")


def test_every_kind_with_tags_that_is_built_in_is_known():
    kinds = catalogue.every()
    assert kinds
    for kind in kinds:
        obj = {"apiVersion": f"{kind.group}/v1beta1", "kind": kind.kind}
        has_tags = kind.tags is not None
        assert tag_manager.has_tags(obj) is has_tags, obj


def test_an_empty_tag_counts_as_a_gap_that_may_be_filled():
    assert tags({"addTags": [{"type": "FromValue", "policy": "Retain", "tags": {"a": "1", "b": "1"}}]}, {"a": ""}) == {
        "a": "1",
        "b": "1",
    }


def test_a_policy_counts_only_beside_a_type():
    assert tags({"addTags": [{"policy": "Retain", "tags": {"a": "1"}}]}, {"a": "0"}) == {"a": "1"}


@pytest.mark.parametrize("there", ["text", 3, ["a"]])
def test_tags_that_are_none_are_replaced(there):
    assert tags({"addTags": [{"tags": {"a": "1"}}]}, there) == {"a": "1"}


def test_an_object_that_has_no_place_for_tags_is_left_alone():
    odd = {"b": bucket(spec={"forProvider": "text"}), "c": bucket(spec=[])}
    answer = asked("tag-manager", {"addTags": [{"tags": {"a": "1"}}]}, odd)
    assert {name: each.object for name, each in answer.desired.resources.items()} == odd


def test_what_was_handed_in_is_not_changed():
    before = desired(tags={"a": "0"})
    asked("tag-manager", {"addTags": [{"tags": {"a": "1"}}]}, before)
    assert before == desired(tags={"a": "0"})


@pytest.mark.parametrize("path", ["spec.none", "a..b", "spec.size", "spec[0]"])
def test_a_source_that_cannot_be_read_adds_nothing(path):
    given = {"type": "FromCompositeFieldPath", "fromFieldPath": path}
    environment = {"type": "FromEnvironmentFieldPath", "fromFieldPath": path}
    assert tags({"addTags": [given, environment], "removeTags": [given]}, {"a": "0"}) == {"a": "0"}


def test_a_mistake_is_told_with_its_place():
    [problem] = tag_manager.check({"removeTags": [{"keys": []}, {"type": "FromEnvironmentFieldPath"}]})
    assert problem.field == "removeTags[1].fromFieldPath"
    [problem] = tag_manager.check({"addTags": [{"tags": {"a": 1}}]})
    assert problem.field == "addTags[0].tags.a"
