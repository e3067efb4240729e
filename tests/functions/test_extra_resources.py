"""Objects of the cluster in the context, beyond what the vectors of the real function say."""

from __future__ import annotations

import pytest

from groundplane.core import pipeline
from groundplane.core.pipeline import Resource, Selector, Step
from groundplane.functions import extra_resources
from tests.functions.pipelines import COMPOSITE, asked, fatal


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def entry(**more):
    return {"into": "cm", "apiVersion": "v1", "kind": "ConfigMap"} | more


def given(*entries, **more):
    return {"spec": {"extraResources": list(entries)} | more}


def labelled(*labels, **more):
    return entry(type="Selector", selector={"matchLabels": list(labels)} | more)


BY_SIZE = {"key": "size", "valueFromFieldPath": "spec.size"}


def test_in_a_pipeline_it_asks_once_and_hands_on_what_it_got():
    wanted = given(entry(ref={"name": "settings"}, namespace="prod"), labelled(BY_SIZE) | {"into": "all"})
    step = Step("extras", "function-extra-resources", extra_resources.compile(wanted))
    running, asked_for = pipeline.calls(Resource(COMPOSITE), [step], {}), []
    found = {"cm": [config("settings")], "all": [config("b"), config("a")]}
    try:
        asked_for.append(next(running))
        while True:
            asked_for.append(running.send(pipeline.Found(found)))
    except StopIteration as end:
        outcome = end.value
    assert outcome.context[extra_resources.KEY] == {"cm": [config("settings")], "all": [config("a"), config("b")]}
    assert outcome.required == (
        Selector("v1", "ConfigMap", "settings", namespace="prod"),
        Selector("v1", "ConfigMap", labels={"size": "small"}),
    )


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (given(entry()), "ref.name"),
        (given(entry(ref={"name": ""})), "ref.name"),
        (given(entry(type="Selector")), "selector"),
        (given(labelled({"key": "a", "type": "Value"})), "selector.matchLabels[0].value"),
        (given(labelled({"key": "a"})), "selector.matchLabels[0].valueFromFieldPath"),
        (given(labelled({"key": "a", "valueFromFieldPath": "a..b"})), "selector.matchLabels[0].valueFromFieldPath"),
        (given(labelled({"key": "a", "type": "FromEnvironmentFieldPath"})), "selector.matchLabels[0].type"),
        (given(labelled(BY_SIZE, maxMatch=-1)), "selector.maxMatch"),
        (given({"apiVersion": "v1", "kind": "ConfigMap", "ref": {"name": "a"}}), "into"),
    ],
)
def test_a_mistake_is_told_with_its_place(wanted, field):
    [problem] = extra_resources.check(wanted)
    assert problem.field == f"spec.extraResources[0].{field}"


def test_one_alone_may_have_anything_where_it_would_be_sorted_by():
    wanted = given(labelled(BY_SIZE, sortByFieldPath="data.on"))
    answer = asked("extra-resources", wanted, required={"cm": [config("a", on=True)]})
    assert answer.context[extra_resources.KEY] == {"cm": [config("a", on=True)]}


def test_other_answers_than_its_own_are_not_taken_for_them():
    answer = asked("extra-resources", given(entry(ref={"name": "a"})), required={"of the step": [config("x")]})
    assert (answer.context, set(answer.requirements)) == ({}, {"cm"})


def test_what_is_missing_is_told_with_what_to_do():
    answer = asked("extra-resources", given(entry(ref={"name": "a"})), required={"cm": []})
    assert 'Required extra resource "cm" not found. Mend: apply it' in fatal(answer)
    assert set(answer.requirements) == {"cm"}


def test_an_empty_label_is_one_and_an_empty_order_is_by_name():
    wanted = given(labelled({"key": "a", "type": "Value", "value": ""}, sortByFieldPath=""))
    answer = asked("extra-resources", wanted, required={"cm": [config("b"), config("a")]})
    assert answer.requirements["cm"].labels == {"a": ""}
    assert answer.context[extra_resources.KEY] == {"cm": [config("a"), config("b")]}
