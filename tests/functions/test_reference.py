"""docs/reference: every example of functions does what it says, and every function that is built in has one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundplane.core import fieldpath
from groundplane.core.spec import refusal
from groundplane.errors import InvalidInput
from groundplane.functions import BUILT_IN
from tests.functions.pipelines import COMPOSITE, asked

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
TEXT = (FOLDER / "functions.md").read_text(encoding="utf-8")
EXAMPLES = [
    (f"{name} line {text[: found.start()].count(chr(10)) + 1}", yaml.safe_load(found[1]))
    for name, text in (
        ("functions", TEXT),
        ("go-templating", (FOLDER / "go-templating.md").read_text(encoding="utf-8")),
    )
    for found in re.finditer(r"```yaml\n(.*?)```", text, re.S)
]
OBJECT = {"apiVersion": "example.org/v1", "kind": "Thing"}
PARTS = {"function", "input", "composite", "observed", "desired", "required", "context", "gives", "error"}


def contains(found: Any, wanted: Any) -> bool:
    """Whether what was found has at least what is wanted; in lists, as many."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and contains(found[name], value) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(contains, found, wanted))
    return fieldpath.same(fieldpath.normalised(found), fieldpath.normalised(wanted))


def resources(given):
    """Objects by name, with what is said of their readiness."""
    return {
        name: ({**OBJECT, **{key: value for key, value in each.items() if key != "ready"}}, each.get("ready"))
        for name, each in given.items()
    }


def answered(example):
    assert example.keys() <= PARTS
    name, given = example["function"], example.get("input", {})
    if problems := BUILT_IN[name].check(given):
        raise refusal(problems)
    return asked(
        name.removeprefix("function-"),
        given,
        resources(example.get("desired", {})),
        resources(example.get("observed", {})),
        composite={**COMPOSITE, **example.get("composite", {})},
        context=example.get("context"),
        required=example.get("required"),
    )


@pytest.mark.parametrize("example", [example for _, example in EXAMPLES], ids=[place for place, _ in EXAMPLES])
def test_an_example_does_what_it_says(example):
    try:
        answer = answered(example)
        fatal = [result.message for result in answer.results if result.severity == "Fatal"]
    except InvalidInput as error:
        fatal = [str(error)]
    if "error" in example:
        assert example["error"] in fatal[0]
        return
    assert fatal == []
    gives, desired = example["gives"], answer.desired.resources
    assert gives.keys() <= {"desired", "ready", "events", "context", "conditions"}
    wanted = gives.get("desired", {})
    if isinstance(wanted, list):
        assert sorted(desired) == sorted(wanted)
    else:
        assert contains({name: each.object for name, each in desired.items()}, wanted), desired
    if "ready" in gives:
        assert sorted(name for name, each in desired.items() if each.ready) == sorted(gives["ready"])
    assert [result.message for result in answer.results] == gives.get("events", [])
    assert {each.condition.type: each.condition.message for each in answer.conditions} == gives.get("conditions", {})
    assert contains(answer.context, gives.get("context", {})), answer.context


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_function_has_a_chapter_with_an_example(name):
    assert re.search(rf"^## {name}$", TEXT, re.M)
    assert name in {example["function"] for _, example in EXAMPLES}
