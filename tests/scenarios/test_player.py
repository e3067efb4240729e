"""The scenarios are scenarios, and their player sees what is wrong: without a cluster, which `make scenarios` brings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.scenarios import player
from tests.scenarios.__main__ import FAST
from tests.scenarios.player import Play, Scenario, Unmet, at, read, scenarios

THING = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "uid": "u", "annotations": {player.TEMPLATE: "one"}, "labels": {"x": "y"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


class Seen:
    """A control plane that has one object, one event, and refuses everything."""

    def get(self, kind, *where):
        event = {"involvedObject": {"uid": "u"}, "type": "Warning", "reason": "Why", "message": "since it is so"}
        return {"items": [event if kind == "events" else THING]}

    def kubectl(self, *args, input=None, check=True):
        return SimpleNamespace(returncode=1, stderr="it is denied")

    def wait(self, what, condition, *, seconds=0.0):
        if value := condition():
            return value
        raise AssertionError(what)


def play(step, **more):
    Play(Seen()).run(Scenario("s", "", [step | more]))


def test_all_can_be_read_and_a_third_of_them_is_ci_s():
    found = scenarios()
    assert {each.name for each in found} >= FAST
    assert len(FAST) >= len(found) / 3
    assert all(any("expect" in step for step in each.steps) for each in found)


@pytest.mark.parametrize(
    "steps", ["- nonsense: {}", "- {apply: [], delete: {}}", "- expect: {kind: configmaps, paragraph: 1}"]
)
def test_what_is_no_step_is_refused(tmp_path, steps):
    path = tmp_path / "one.yaml"
    path.write_text(f"- scenario: one\n{steps}\n")
    with pytest.raises(ValueError, match="one.yaml"):
        read(path)


@pytest.mark.parametrize(
    "said",
    [
        {"has": {"status.conditions[Ready].status": "True", "spec": None}},
        {"count": 1, "labels": {"x": "y"}},
        {"gone": True, "template": "two"},
        {"event": {"type": "Warning", "reason": "Why", "message": "so"}},
    ],
)
def test_what_is_so_holds(said):
    play({"expect": {"paragraph": "§1", "kind": "configmaps", **said}})


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"has": {"status.conditions[Ready].status": "False"}}, 'is "True", not "False"'),
        ({"has": {"a": 1}, "name": "b"}, "there is none"),
        ({"gone": True}, "1 are there"),
        ({"count": 2}, "1 are there"),
        ({"event": {"type": "Normal", "reason": "Why"}}, "no event"),
    ],
)
def test_what_is_not_so_is_told_with_its_paragraph(said, text):
    with pytest.raises(Unmet, match="§1") as caught:
        play({"expect": {"paragraph": "§1", "kind": "configmaps", **said}})
    assert text in str(caught.value)


def test_a_refusal_counts_only_in_the_words_that_are_wanted():
    play({"apply": [THING]}, refused="denied")
    for refused in ("", "immutable"):
        with pytest.raises(Unmet, match="it is denied"):
            play({"apply": [THING]}, refused=refused)


def test_a_path_that_leads_nowhere_is_nothing():
    assert at(THING, "status.conditions[Synced].status") is None
    assert at(THING, "metadata.name.more") is None
    assert at({"a": [1]}, "a[3]") is None
