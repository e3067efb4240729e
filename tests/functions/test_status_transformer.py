"""What the status-transformer tells, beyond what the vectors of the real one say."""

from __future__ import annotations

import pytest

from groundplane.functions import status_transformer
from tests.functions.pipelines import COMPOSITE, asked, bucket

DENIED = {"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "cannot create: AccessDenied"}


def resource(*conditions):
    return bucket(status={"conditions": list(conditions)})


def hook(*matchers, **more):
    return {"matchers": list(matchers)} | more


def match(*conditions, name=".*", **more):
    return {"resources": [{"name": name}], "conditions": list(conditions)} | more


def sets(message="", **more):
    return {
        "setConditions": [{"condition": {"type": "Told", "status": "True", "reason": "R", "message": message} | more}]
    }


def told(*hooks, observed=None, **how):
    answer = asked(
        "status-transformer", {"statusConditionHooks": list(hooks)}, {}, observed or {"a": resource(DENIED)}, **how
    )
    return {each.condition.type: (each.condition.status, each.condition.message) for each in answer.conditions}


def test_an_input_that_is_none_is_told_by_a_condition_and_the_pipeline_goes_on():
    answer = asked("status-transformer", {"hooks": []}, {"a": bucket()})
    [only] = answer.conditions
    assert (only.condition.type, only.condition.status, only.condition.reason) == (
        status_transformer.SUCCESS,
        "False",
        "InputFailure",
    )
    assert "hooks: unknown field" in only.condition.message
    assert set(answer.desired.resources) == {"a"}


def test_groups_of_all_matchers_are_the_values_of_the_messages():
    first = match({"type": "Synced", "message": "(?P<What>create)"})
    second = match({"type": "Synced", "message": "Access(.*)"})
    text = '{{ .What }} {{ index . "" | printf "%q" }}{{ .Nothing }}'
    assert told(hook(first, second, **sets(text)))["Told"] == ("True", 'create "Denied"<no value>')


def test_a_template_has_the_language_and_nothing_more():
    groups = match({"type": "Synced", "message": "(?P<W>.*)"})
    found = told(hook(groups, **sets("{{ .W | upper }}")))
    assert "Told" not in found
    status, message = found[status_transformer.SUCCESS]
    assert (status, 'function "upper" not defined' in message) == ("False", True)
    found = told(hook(groups, **sets("{{ index .W 99 }}")))
    assert "setConditionIndex: 0: cannot execute template: template: :1:" in found[status_transformer.SUCCESS][1]


def test_no_pattern_is_looked_at_that_does_not_matter():
    broken = {"type": "Ready", "message": "("}
    assert told(hook(match({"type": "Synced", "status": "True"}, broken), **sets())) == {
        status_transformer.SUCCESS: ("True", "")
    }
    assert told(hook(match({"type": "Synced"}, broken), **sets()))[status_transformer.SUCCESS][0] == "False"


@pytest.mark.parametrize(
    ("type_", "matches"),
    [
        ("AllResourcesMatchAllConditions", False),
        ("AllResourcesMatchAnyCondition", False),
        ("AnyResourceMatchesAllConditions", False),
        ("AnyResourceMatchesAnyCondition", True),
        ("what nobody knows", False),
    ],
)
def test_how_many_must_match(type_, matches):
    observed = {"a": resource(DENIED), "b": resource()}
    wanted = match({"type": "Synced", "status": "False"}, {"type": "Ready", "status": "True"}, type=type_)
    assert ("Told" in told(hook(wanted, **sets()), observed=observed)) is matches


@pytest.mark.parametrize("extra", ["text", {"a": {"items": []}}, {"a": ["text"]}])
def test_extra_resources_that_are_something_else_are_told(extra):
    wanted = match({"type": "Synced"}, includeExtraResources=True)
    found = told(hook(wanted, **sets()), context={"apiextensions.crossplane.io/extra-resources": extra})
    assert found.keys() == {status_transformer.SUCCESS}
    assert found[status_transformer.SUCCESS][1].startswith("cannot load extra-resources: unexpected extra-resources")


def test_statuses_of_any_shape_are_read():
    odd = {"a": bucket(status="text"), "b": bucket(status={"conditions": [None, 3, {"type": 5}]}), "c": {}}
    wanted = match({"type": "Synced", "status": "Unknown"}, includeCompositeAsResource=True)
    assert told(hook(wanted, **sets()), observed=odd, composite={**COMPOSITE, "status": []})["Told"] == ("True", "")
