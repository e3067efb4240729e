"""From EnvironmentConfigs to the environment."""

from __future__ import annotations

import pytest

from groundplane.core import environment, pipeline
from groundplane.core.objects import matches
from groundplane.core.pipeline import Fatal, Resource, Step
from groundplane.functions import environment_configs

COMPOSITE = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"site": "north", "count": 3}}


def config(name, data, **labels):
    return {"kind": "EnvironmentConfig", "metadata": {"name": name, "labels": labels}, "data": data}


def named(name, **more):
    return {"type": "Reference", "ref": {"name": name}} | more


def label(key, value=None, path=None, **more):
    if path is None:
        return {"key": key, "type": "Value", "value": value} | more
    return {"key": key, "type": "FromCompositeFieldPath", "valueFromFieldPath": path} | more


def selected(*labels, to=None, **more):
    source = {"type": "Selector", "selector": {"matchLabels": list(labels)} | more}
    return source | ({"toFieldPath": to} if to else {})


def given(*sources, **more):
    return {"kind": "Input", "spec": {"environmentConfigs": list(sources)} | more}


def outcome(configs, made, context=None):
    assert environment_configs.check(made) == []
    asked = []

    def fetch(selector):
        asked.append(selector)
        if selector.name:
            return [found for found in configs if found["metadata"]["name"] == selector.name]
        return [found for found in configs if matches(found["metadata"]["labels"], selector.labels)]

    step = Step("env", "function-environment-configs", environment_configs.compile(made))
    running = pipeline.calls(Resource(COMPOSITE), [step], {}, context=context)
    try:
        wanted = next(running)
        while True:
            wanted = running.send(pipeline.Found({name: fetch(each) for name, each in wanted.resources.items()}))
    except StopIteration as end:
        return end.value, asked


def result(configs, made, **in_context):
    """The data of the environment that comes of it."""
    context = {environment.KEY: in_context} if in_context else {}
    found = outcome(configs, made, context)[0].context[environment.KEY]
    assert (found.pop("apiVersion"), found.pop("kind")) == ("internal.crossplane.io/v1alpha1", "Environment")
    return found


def test_selected_configs_count_more_than_the_context_and_that_more_than_defaults():
    configs = [config("one", {"c": "c", "f": 1, "h": 1}), config("two", {"d": "d", "g": 2, "h": 2})]
    made = given(named("one"), named("two"), defaultData={"b": "b", "e": "def", "f": "def"})
    assert result(configs, made, a="a", e="in", f="in", g="in") == {
        "a": "a",
        "b": "b",
        "c": "c",
        "d": "d",
        "e": "in",
        "f": 1,
        "g": 2,
        "h": 2,
    }


def test_objects_are_merged_and_everything_else_replaced():
    configs = [config("one", {"a": {"x": 1, "y": 1}, "l": [1]}), config("two", {"a": {"y": 2}, "l": [2]})]
    assert result(configs, given(named("one"), named("two"))) == {"a": {"x": 1, "y": 2}, "l": [2]}
    assert configs[0]["data"] == {"a": {"x": 1, "y": 1}, "l": [1]}


def test_without_sources_not_even_defaults_are_applied():
    assert outcome([], given(defaultData={"a": 1}))[0].context == {}


def test_labels_come_from_the_composite_or_are_given():
    configs = [config("a", {"is": "a"}, site="north", tier="one"), config("b", {"is": "b"}, site="north", tier="two")]
    made = given(selected(label("site", path="spec.site"), label("tier", "two")))
    assert result(configs, made) == {"is": "b"}


def test_a_label_may_come_from_what_another_source_brought():
    configs = [
        config("a", {"region": "eu"}),
        config("b", {"is": "b"}, region="eu"),
        config("c", {"is": "c"}, region="us"),
    ]
    later = label("region", path="region", type="FromEnvironmentFieldPath", fromFieldPathPolicy="Optional")
    assert result(configs, given(named("a"), selected(later))) == {"region": "eu", "is": "b"}


def test_an_optional_label_that_is_not_there_is_left_out_and_without_any_nothing_is_selected():
    configs = [config("a", {"is": "a"}, tier="one")]
    missing = label("site", path="spec.nowhere", fromFieldPathPolicy="Optional")
    assert result(configs, given(selected(missing, label("tier", "one")))) == {"is": "a"}
    assert result(configs, given(selected(missing))) == {}


MANY = [config(name, {"n": number, name: True}, t="x") for name, number in (("c", 10), ("a", 9), ("b", 8))]


@pytest.mark.parametrize(
    ("more", "last"),
    [
        ({}, 10),
        ({"sortByFieldPath": "data.n"}, 10),
        ({"maxMatch": 2}, 8),
        ({"sortByFieldPath": "data.n", "maxMatch": 2}, 9),
    ],
)
def test_several_are_merged_in_their_order_and_cut(more, last):
    assert result(MANY, given(selected(label("t", "x"), mode="Multiple", **more)))["n"] == last


def test_what_lacks_the_field_to_sort_by_comes_first():
    configs = [config("a", {"n": 1, "is": "a"}, t="x"), config("b", {"is": "b"}, t="x")]
    made = given(selected(label("t", "x"), mode="Multiple", sortByFieldPath="data.n"))
    assert result(configs, made)["is"] == "a"
    made = given(selected(label("t", "x"), mode="Multiple", sortByFieldPath="data.nowhere"))
    assert result(configs, made)["is"] == "b"


def test_data_may_go_somewhere_in_the_environment():
    configs = [config("a", {"x": 1}, t="x"), config("b", {"y": 2})]
    made = given(selected(label("t", "x"), to="sites.north"), named("b", toFieldPath="sites.south"))
    assert result(configs, made) == {"sites": {"north": {"x": 1}, "south": {"y": 2}}}


def test_a_reference_that_is_not_there_is_skipped_if_it_may():
    assert result([], given(named("a"), policy={"resolution": "Optional"}, defaultData={"d": 1})) == {"d": 1}


@pytest.mark.parametrize(
    ("configs", "made", "text"),
    [
        ([], given(named("a")), 'environmentConfigs[0]: EnvironmentConfig "a" not found'),
        ([], given(selected(label("t", "x"))), "0 EnvironmentConfigs have the labels, not exactly one"),
        (MANY, given(selected(label("t", "x"))), "3 EnvironmentConfigs have the labels, not exactly one"),
        (
            [],
            given(selected(label("t", "x")), policy={"resolution": "Optional"}),
            "0 EnvironmentConfigs have the labels, not exactly one",
        ),
        (MANY, given(selected(label("t", "x"), mode="Multiple", minMatch=4)), "fewer than 4"),
        (MANY, given(selected(label("t", path="spec.nowhere"))), "matchLabels[0]: spec.nowhere: no such field"),
        (MANY, given(selected(label("t", path="spec.count"))), "spec.count: not a string, but a number"),
        (
            [*MANY, config("z", {"n": "text"}, t="x")],
            given(selected(label("t", "x"), mode="Multiple", sortByFieldPath="data.n")),
            "data.n is a string here and a number there",
        ),
        (
            MANY,
            given(selected(label("t", "x"), mode="Multiple", sortByFieldPath="data")),
            "data: an object can't be sorted by",
        ),
    ],
)
def test_what_is_missing_or_does_not_fit_stops_the_pipeline(configs, made, text):
    with pytest.raises(Fatal) as caught:
        outcome(configs, made)
    assert text in str(caught.value)


def test_a_context_that_holds_no_object_stops_the_pipeline():
    with pytest.raises(Fatal, match="environment is a string, not an object"):
        outcome([config("a", {})], given(named("a")), {environment.KEY: "text"})


def test_what_is_needed_is_asked_for_once():
    found, asked = outcome([config("a", {})], given(named("a")))
    assert [selector.name for selector in asked] == ["a"]
    assert found.required == (asked[0],)


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ({}, ["ref.name"]),
        ({"type": "Selector"}, ["selector.matchLabels"]),
        (selected(label("a", "b"), minMatch=1, maxMatch=2), ["selector.minMatch", "selector.maxMatch"]),
        (
            selected({"key": "a"}, {"key": "b", "type": "Value"}),
            ["selector.matchLabels[0].valueFromFieldPath", "selector.matchLabels[1].value"],
        ),
        (selected(label("a", path="a..b")), ["selector.matchLabels[0].valueFromFieldPath"]),
        (named("a", toFieldPath="a["), ["toFieldPath"]),
        (selected({"type": "Value", "value": "x"}), ["selector.matchLabels[0].key"]),
        (named("a", typo=1), ["typo"]),
    ],
)
def test_mistakes_are_told_with_their_place(source, fields):
    found = [problem.field for problem in environment_configs.check(given(source))]
    assert found == [f"spec.environmentConfigs[0].{field}" for field in fields]
