"""What the sequencer holds back and composes, beyond what the vectors of the real one say."""

from __future__ import annotations

import pytest

from groundplane.core import usages
from groundplane.functions import sequencer
from tests.functions.pipelines import asked, bucket, fatal


def rules(*sequences, **more):
    return {"rules": [{"sequence": list(sequence)} | more for sequence in sequences]}


def test_what_a_step_desires_under_a_hostile_name_is_quoted_as_go_does():
    given = rules(["a\n\"b'", "c"])
    [result] = asked("sequencer", given, {"c": bucket()}).results
    assert result.message == ('Delaying creation of resource(s) matching "c" because "a\\n\\"b\'" does not exist yet')


def test_a_pattern_that_nobody_comes_to_is_no_mistake_and_one_that_is_reached_stops_the_pipeline():
    given = rules(["a", "b("])
    assert not asked("sequencer", given, {"b(": bucket()}, {"b(": bucket()}).results
    assert "missing closing )" in fatal(asked("sequencer", given, {"a": bucket()}))


def test_the_composite_keeps_its_readiness_unless_something_is_held_back_and_the_input_says_so():
    given = rules(["a", "b"]) | {"resetCompositeReadiness": True}
    assert asked("sequencer", given, {"a": bucket(), "b": bucket()}).desired.composite.ready is False
    assert asked("sequencer", given, {"a": (bucket(), True), "b": bucket()}).desired.composite.ready is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("1ms", 1.0), ("-1s", 0.0), ("", 0.0), ("9000h", 2592000.0)]
)
def test_a_time_to_live_is_bounded(text, seconds):
    assert asked("sequencer", {"cacheTTL": text}).ttl == seconds


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"cacheTTL": "soon"}, "cacheTTL"),
        (rules(["a"], createOnly=True, deleteOnly=True), "rules[0]"),
        (rules(["a"], condition="1 +"), "rules[0].condition"),
        (rules(["a"], condition="'x'"), "rules[0].condition"),
        ({"rules": [{"sequences": []}]}, "rules[0].sequences"),
        ({"rules": [{"sequence": [1]}]}, "rules[0].sequence[0]"),
    ],
)
def test_a_mistake_is_told_with_its_place(given, field):
    [problem] = sequencer.check(given)
    assert problem.field == field
    assert problem.detail


def test_a_condition_that_is_true_or_false_only_when_it_is_asked_will_do():
    given = rules(["a", "b"], condition="observed.composite.resource.spec.strict")
    composite = {"apiVersion": "v1", "kind": "X", "spec": {"strict": False}}
    [result] = asked("sequencer", given, {"b": bucket()}, composite=composite).results
    assert result.message.startswith("Skipping sequence [a b]: condition ")
    composite["spec"]["strict"] = "yes"
    assert "neither true nor false" in fatal(asked("sequencer", given, {"b": bucket()}, composite=composite))


def test_usages_that_it_composes_are_such_as_groundplane_follows():
    there = {"a": bucket("x-a"), "b": bucket("x-b")}
    given = rules(["a", "b"]) | {"enableDeletionSequencing": True}
    made = asked("sequencer", given, there, there).desired.resources["b-a-usage"]
    assert made.ready is True
    assert usages.read(made.object).of.name == "x-a"


def test_nothing_uses_itself():
    given = rules(["a", ".*"]) | {"enableDeletionSequencing": True}
    there = {"a": bucket("x-a"), "b": bucket("x-b")}
    assert set(asked("sequencer", given, there, there).desired.resources) == {"a", "b", "b-a-usage"}


def test_there_is_an_end_to_usages():
    there = {f"r{index}": bucket(f"r{index}") for index in range(150)}
    given = rules(["r.*", "r.*"]) | {"enableDeletionSequencing": True}
    assert "more than 10000 usages" in fatal(asked("sequencer", given, there, there))


def sequences_of(*steps):
    return sequencer.sequences([{"step": str(index), "input": given} for index, given in enumerate(steps)])


def test_for_deletion_the_sequences_count_that_are_not_for_creation_only():
    typed = {"apiVersion": "sequencer.fn.crossplane.io/v1beta1", "kind": "Input"}
    assert len(sequences_of(typed | rules(["a", "b"]), {"kind": "Other"} | rules(["c"]))) == 1
    assert sequences_of(typed | rules(["a", "b"], createOnly=True)) == []
    assert sequencer.matchers(sequences_of(typed | rules(["a(", "b"]))) == []
    assert sequences_of(typed | {"rules": "wrong"}) == []
    for nonsense in (None, "x", [None], [{"input": []}], {}):
        assert sequencer.sequences(nonsense) == []
