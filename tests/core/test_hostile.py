"""Input that wants too much memory or time is refused with a word, in both dialects."""

from __future__ import annotations

import pytest

from groundplane.core import composition, pipeline, render
from groundplane.core.pipeline import Resource
from groundplane.core.transforms.map import MapTransform
from groundplane.errors import InvalidInput
from groundplane.functions import finder

DIALECTS = ("native", "function")


def composite(**spec):
    labels = {"crossplane.io/composite": "x"}
    return {
        "apiVersion": "example.org/v1",
        "kind": "X",
        "metadata": {"name": "x", "uid": "u", "labels": labels},
        "spec": spec,
    }


def compiled(dialect, *templates, patch_sets=()):
    spec = {"compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "X"}}
    given = {"resources": list(templates), "patchSets": list(patch_sets)}
    if dialect == "function":
        step = {"step": "pt", "functionRef": {"name": "function-patch-and-transform"}, "input": given}
        return composition.compile({"spec": spec | {"mode": "Pipeline", "pipeline": [step]}}, finder())
    return composition.compile({"spec": spec | given})


def template(*patches, base=None):
    return {"name": "a", "base": {"apiVersion": "v1", "kind": "A", "spec": base or {}}, "patches": list(patches)}


def patch(target="spec.x", source="spec.v", *steps, **more):
    return {
        "type": "FromCompositeFieldPath",
        "fromFieldPath": source,
        "toFieldPath": target,
        "transforms": list(steps),
    } | more


def string(kind, **settings):
    return {"type": "string", "string": {"type": kind} | settings}


def rendered(dialect, xr, *templates, **how):
    """The spec of the one object that comes of it.  Raises what the dialect has for an error."""
    made = compiled(dialect, *templates, **how)
    if dialect == "function":
        _, [item] = pipeline.run(Resource(xr), made.steps, {}, fetch=lambda selector: [])
        return item.object["spec"]
    [item] = render.render(xr, made, {}, helpful=False)
    if item.error:
        raise item.error
    return item.object["spec"]


def nested(depth):
    value = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


COMBINED = {
    "type": "CombineFromComposite",
    "toFieldPath": "spec.x",
    "combine": {
        "strategy": "string",
        "string": {"fmt": "%s" * 50},
        "variables": [{"fromFieldPath": "spec.v"}] * 50,
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("value", "given", "text"),
    [
        (nested(300), template(patch()), "nested more than 200 levels deep"),
        (nested(900), template(patch()), "nested more than 200 levels deep"),
        (nested(150), template(patch("spec" + ".a" * 100)), "nested more than 200 levels deep"),
        ("x", template(patch("spec" + ".a" * 300)), "nested more than 200 levels deep"),
        ("x", template(patch("spec.x[999999999]")), "index 999999999 is too large"),
        (
            1,
            template(patch("spec.x", "spec.v", string("Format", fmt="%999999d%999999d"))),
            "more than 1000000 characters",
        ),
        ("x" * 50_000, template(COMBINED), "more than 1000000 characters"),
        (
            ["a", "b"] * 2000,
            template(patch("spec.x", "spec.v", string("Join", join={"separator": "-" * 1000}))),
            "Join would",
        ),
        ("x" * 2000, template(patch("spec.l[*].x"), base={"l": [{"x": 1}] * 9000}), "grows beyond 4000000 characters"),
        ("x", template(patch("spec.l[*].x"), base={"l": [{"x": 1}] * 11_000}), "stands for more than 10000 elements"),
        (
            ["x" * 10_000] * 20,
            template(*(patch(f"spec.f{number}") for number in range(60))),
            "grows beyond 4000000 characters",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 50 else "",
)
def test_a_render_that_would_grow_without_end_is_refused(dialect, value, given, text):
    with pytest.raises(InvalidInput, match=text):
        rendered(dialect, composite(v=value), given)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_width_of_a_milliard_is_no_width(dialect):
    step = string("Format", fmt="%1000000000d")
    assert rendered(dialect, composite(v=1), template(patch("spec.x", "spec.v", step))) == {
        "x": "%!(NOVERB)%!(EXTRA int64=1)"
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_long_lists_are_joined_in_reasonable_time(dialect):
    policy = {"toFieldPath": "ForceMergeObjectsAppendArrays"}
    if dialect == "native":
        policy = {"mergeOptions": {"appendSlice": True}}
    numbers = list(range(60_000))
    xr = composite(v=numbers, w=[{"n": n} for n in numbers])
    spec = rendered(dialect, xr, template(patch(), patch("spec.x", "spec.w", policy=policy), patch(policy=policy)))
    assert len(spec["x"]) == 120_000


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("patches", "references", "text"),
    [
        ([patch()] * 1000, 1000, "patches and transforms with patch sets in their places"),
        ([patch("spec.x", "spec.v", string("Regexp", regexp={"match": "a"}))] * 100, 100, "10000 regular expressions"),
        (
            [patch("spec.x", "spec.v", string("Regexp", regexp={"match": "a" * 20_000}))],
            1,
            "more than 10000 characters",
        ),
        ([patch("spec.x", "spec.v", string("Regexp", regexp={"match": r"\pL{900}\pL{900}"}))], 1, "cannot compile"),
    ],
    ids=["steps", "expressions", "long", "large"],
)
def test_a_composition_that_would_take_too_much_memory_is_refused_before_there_is_a_claim(
    dialect, patches, references, text
):
    given = template(*[{"type": "PatchSet", "patchSetName": "s"}] * references)
    with pytest.raises(InvalidInput, match=text):
        compiled(dialect, given, patch_sets=[{"name": "s", "patches": patches}])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_composition_that_is_nested_too_deep_is_refused(dialect):
    with pytest.raises(InvalidInput, match="nested more than 200 levels deep"):
        compiled(dialect, template(base=nested(300)))


def test_a_key_that_is_not_found_lists_some_of_many_and_compares_no_long_ones():
    step = MapTransform(type="map", map={f"key-{n:04}": n for n in range(1000)} | {"x" * 500: 0})
    with pytest.raises(InvalidInput) as caught:
        step.compile("native")("y" * 100_000)
    assert caught.value.mend.startswith("add it, or use one of: key-0000, key-0001")
    assert caught.value.mend.endswith("… (981 more)")
    assert len(str(caught.value)) < 1000
