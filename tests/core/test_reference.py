"""docs/reference/patch-and-transform.md: every example does what it says, and nothing that there is goes without one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import Field

from groundplane.core import composition, connection, environment, fieldpath, naming, patches, readiness, render
from groundplane.core.patches import FunctionPatch, Patch, PatchSet
from groundplane.core.pipeline import Request, Resource, State
from groundplane.core.readiness import ReadinessCheck
from groundplane.core.spec import FUNCTION, NATIVE, Spec, load
from groundplane.core.transforms import Transform, base
from groundplane.errors import GroundplaneError
from groundplane.functions import patch_and_transform

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "patch-and-transform.md").read_text(encoding="utf-8")
EXAMPLES = [
    (TEXT[: m.start()].count("\n") + 1, yaml.load(m[1], yaml.CSafeLoader))
    for m in re.finditer(r"```yaml\n(.*?)```", TEXT, re.S)
]
BASE = {"apiVersion": "example.org/v1", "kind": "Composed", "metadata": {}}


class Holder(Spec):
    transforms: list[Transform] = Field(default_factory=list)
    patches: list[Patch] = Field(default_factory=list)
    patchSets: list[PatchSet] = Field(default_factory=list)
    readinessChecks: list[ReadinessCheck] = Field(default_factory=list)
    connectionDetails: list[connection.ConnectionDetail] = Field(default_factory=list)


def read(example):
    dialect = FUNCTION if example.get("function") else NATIVE
    raw = {name: value for name, value in example.items() if name in Holder.model_fields}
    holder, problems, pruned = load(Holder, raw, "", dialect)
    assert not problems
    assert not pruned
    return holder, dialect


def contains(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and contains(found[name], value) for name, value in wanted.items())
    return fieldpath.same(fieldpath.normalised(found), fieldpath.normalised(wanted))


def transformed(example):
    holder, dialect = read(example)
    value = example["input"]
    for transform in holder.transforms:
        assert not list(transform.problems(dialect))
        value = transform.compile(dialect)(value)
    assert "error" not in example
    assert contains(value, example["output"]), value


def patched_by_function(example):
    """Through the function, as the one step of a pipeline."""
    template = {"name": "it", "base": {**BASE, **example.get("base", {})}, "patches": example.get("patches", [])}
    given = {"resources": [template], "environment": example.get("environment patches", {})}
    assert not patch_and_transform.check(given)
    composite = {"apiVersion": "example.org/v1", "kind": "XR", **example["composite"]}
    observed = {"it": Resource({**BASE, **example["observed"]})} if "observed" in example else {}
    context = {environment.KEY: {**environment.of({}), **example.get("environment", {})}}
    request = Request(State(Resource(composite), observed), State(Resource({})), context=context)
    response = patch_and_transform.compile(given)(request)
    assert not response.results
    found = {
        "resource": response.desired.resources["it"].object,
        "composite": response.desired.composite.object,
        "environment": response.context[environment.KEY],
    }
    for part, wanted in example["gives"].items():
        assert contains(found[part], wanted), found[part]


def patched(example):
    """Through the whole native engine: render, then collect from what is observed."""
    template = {"name": "it", "base": {**BASE, **example.get("base", {})}, "patches": example["patches"]}
    spec = {
        "compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "XR"},
        "patchSets": example.get("patchSets", []),
        "resources": [template],
    }
    compiled = composition.compile({"metadata": {"name": "example"}, "spec": spec})
    assert not compiled.pruned
    composite = {"apiVersion": "example.org/v1", "kind": "XR", **fieldpath.copied(example["composite"])}
    composite["metadata"] = {"name": "xr", "uid": "u", **composite.get("metadata", {})}
    composite["metadata"]["labels"] = {naming.COMPOSITE_LABEL: "xr", **composite["metadata"].get("labels", {})}
    (item,) = render.render(composite, compiled, {}, helpful=False)
    if item.error:
        raise item.error
    assert "error" not in example
    gives = example["gives"]
    if "resource" in gives:
        assert contains(item.object, gives["resource"]), item.object
    if "composite" in gives:
        live = {**item.object, **example["observed"]}
        collected = render.collect(composite, compiled, {"it": render.Composed(live)}, helpful=False)
        assert contains(collected.composite, gives["composite"]), collected.composite


def judged(example):
    holder, dialect = read(example)
    for check in holder.readinessChecks:
        assert not list(check.problems(dialect))
    checks = readiness.compile(holder.readinessChecks)
    assert readiness.is_ready({**BASE, **example["ready"]}, checks)
    if "not ready" in example:
        assert not readiness.is_ready({**BASE, **example["not ready"]}, checks)


def connected(example):
    holder, _ = read(example)
    details = connection.compile(holder.connectionDetails)
    for detail in holder.connectionDetails:
        assert not list(detail.problems(FUNCTION))
    secret = {name: value.encode() for name, value in example["secret"].items()}
    found = connection.extract(details, {**BASE, **example["observed"]}, secret)
    assert {name: value.decode() for name, value in found.items()} == example["gives"]["details"]


def run(example):
    if "transforms" in example:
        return transformed
    if "readinessChecks" in example:
        return judged
    if "connectionDetails" in example:
        return connected
    return patched_by_function if example.get("function") else patched


@pytest.mark.parametrize(("line", "example"), EXAMPLES, ids=[f"line {line}" for line, _ in EXAMPLES])
def test_an_example_does_what_it_says(line, example):
    if "error" not in example:
        run(example)(example)
        return
    with pytest.raises(GroundplaneError) as caught:
        run(example)(example)
    assert caught.value.what.startswith(example["error"])


# --- nothing goes undocumented --------------------------------------------------------------------------------


def types_in(union: Any) -> set[str]:
    """The names of a union's members, by their `type`."""
    members = [get_args(member)[0] for member in get_args(get_args(union)[0])]
    fields = [get_args(member.model_fields["type"].annotation) for member in members]
    return {words[0] for words in fields if words}


def settings(model: type[Spec], field: str, **others: Any) -> set[str]:
    """The words that a field takes, as told to somebody who wrote another one."""
    found, problems, _ = load(model, {**others, field: "@"}, "", FUNCTION if model is patches.Policy else NATIVE)
    (problem,) = problems or found.problems()
    return set(problem.mend.removeprefix("use one of: ").split(", "))


KNOWN = {
    "patch": types_in(FunctionPatch),
    "transform": types_in(Transform),
    "check": types_in(ReadinessCheck),
    "from policy": settings(patches.Policy, "fromFieldPath"),
    "to policy": settings(patches.Policy, "toFieldPath"),
    "merge option": set(patches.Merging.model_fields),
    "math": settings(base.Math, "type"),
    "string": settings(base.String, "type") | {"Replace"},
    "conversion": settings(base.String, "convert"),
    "pattern": settings(base.Pattern, "type", result=""),
    "fallback": settings(base.Match, "fallbackTo"),
    "target type": settings(base.Convert, "toType"),
    "format": settings(base.Convert, "format", toType="string"),
    "connection detail": settings(connection.ConnectionDetail, "type"),
}


def used(value: Any) -> set[str]:
    """Every key and every text in an example."""
    if isinstance(value, dict):
        return set(value) | {word for item in value.values() for word in used(item)}
    if isinstance(value, list):
        return {word for item in value for word in used(item)}
    return {value} if isinstance(value, str) else {"None"} if value is None else set()


@pytest.mark.parametrize("kind", KNOWN)
def test_everything_of_a_kind_has_an_example(kind):
    assert len(KNOWN[kind]) > 1, "the test finds none of them"
    shown = {word for _, example in EXAMPLES for word in used(example)}
    assert KNOWN[kind] - shown == set()


@pytest.mark.parametrize("kind", KNOWN)
def test_everything_of_a_kind_is_named_in_the_text(kind):
    prose = re.sub(r"```yaml\n.*?```", "", TEXT, flags=re.S)
    named = set(re.findall(r"`([A-Za-z0-9]+)`", prose)) | set(re.findall(r"^#+ (\w+)", prose, re.M))
    named |= {word for pair in re.findall(r"`(\w+): (\w+)`", prose) for word in pair}
    assert KNOWN[kind] - named == set()
