"""What the originals take for something else, or for nothing, without a word: told beside the answer, which stays theirs."""

from __future__ import annotations

import pytest

from tests.functions.pipelines import asked, bucket

HOOK = {"matchers": [{"resources": [{"name": "a"}], "conditions": [{"type": "Ready"}]}]}
CONDITION = {"type": "Fine", "status": "True", "reason": "Fine"}
SECRET = {"apiVersion": "v1", "kind": "Secret", "into": "x", "ref": {"name": "s"}}


def hook(**more):
    return {"statusConditionHooks": [HOOK | more]}


def matcher(**more):
    return {"statusConditionHooks": [{"matchers": [HOOK["matchers"][0] | more]}]}


@pytest.mark.parametrize(
    ("function", "given", "told"),
    [
        ("cel-filter", {"filters": [{"name": "buckt", "expression": "true"}]}, 'filters[0]: no resource is called "buckt". Mend: did you mean bucket?'),
        ("status-transformer", {"statusConditionHooks": [{}]}, "statusConditionHooks[0] has no matchers, so it never holds"),
        ("status-transformer", matcher(conditions=[]), "matchers[0] names no resources or no conditions"),
        ("status-transformer", matcher(type="AnyResourceMatchesAnyConditions"), "counts as AllResourcesMatchAllConditions. Mend: did you mean AnyResource"),
        ("status-transformer", matcher(conditions=[{"type": "Ready", "status": "true"}]), '"true" counts as one that is never met. Mend: did you mean True?'),
        ("status-transformer", hook(setConditions=[{"target": "Claim", "condition": CONDITION}]), 'setConditions[0].target: "Claim" counts as Composite'),
        ("status-transformer", hook(setConditions=[{"condition": CONDITION | {"status": "Yes"}}]), '"Yes" counts as Unknown'),
        ("status-transformer", hook(setConditions=[{"condition": CONDITION | {"type": "Ready"}}]), "Ready is Crossplane's own, and dropped"),
        ("status-transformer", hook(createEvents=[{"target": "claim", "event": {"message": "m"}}]), "createEvents[0].target"),
        ("tag-manager", {"addTags": [{"type": "FromCompositeFieldPath", "fromFieldPath": "spec[a"}]}, "addTags[0]: cannot parse path"),
        ("tag-manager", {"addTags": [{"type": "FromCompositeFieldPath", "fromFieldPath": "spec.size"}]}, "spec.size of the composite is a string. Mend: let it be a map of tags"),
        ("tag-manager", {"removeTags": [{"type": "FromCompositeFieldPath", "fromFieldPath": "spec"}]}, "spec of the composite is an object. Mend: let it be a list of keys"),
        ("sequencer", {"rules": [{"sequence": ["a"]}]}, "rules[0].sequence orders nothing"),
        ("sequencer", {"rules": [], "usageVersion": "v3"}, 'usageVersion "v3" counts as v2'),
        ("sequencer", {"rules": [{"sequence": ["a", "b", "c"]}, {"sequence": ["c", "a"]}]}, '"a" waits for itself'),
        ("extra-resources", {"spec": {"extraResources": [SECRET, SECRET]}}, 'extraResources[0] has no effect: extraResources[1] goes into "x", too'),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told(function, given, told):
    answer = asked(function, given, {"bucket": bucket()})
    assert any(told in hint and "Mend: " in hint for hint in answer.hints) or "cannot parse path" in told
    assert any(told in hint for hint in answer.hints)
    assert not any(told in result.message for result in answer.results)


@pytest.mark.parametrize(
    ("function", "given"),
    [
        ("cel-filter", {"filters": [{"name": "buck.*", "expression": "true"}]}),
        ("status-transformer", hook(setConditions=[{"condition": CONDITION}])),
        ("tag-manager", {"addTags": [{"type": "FromCompositeFieldPath", "fromFieldPath": "spec.tags"}]}),  # it may be left out
        ("sequencer", {"rules": [{"sequence": ["a", "b"]}, {"sequence": ["b", "a"], "deleteOnly": True}]}),
        ("sequencer", {"rules": [{"sequence": ["a", "b"], "condition": "1 == 1"}, {"sequence": ["b", "a"], "condition": "1 == 2"}]}),
        ("extra-resources", {"spec": {"extraResources": [SECRET, SECRET | {"into": "y"}]}}),
    ],
)  # fmt: skip
def test_what_may_well_be_meant_is_not(function, given):
    assert list(asked(function, given, {"bucket": bucket()}).hints) == []
