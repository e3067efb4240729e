"""What filters in CEL leave out, beyond what the vectors of the real one say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from groundplane.core import cel
from groundplane.core.pipeline import Request, Resource, State
from groundplane.functions import cel_filter
from tests.functions.pipelines import COMPOSITE, asked, bucket, fatal, state


def only(expression, name=".*"):
    return {"filters": [{"name": name, "expression": expression}]}


def keeps(expression, **how):
    return bool(asked("cel-filter", only(expression), {"a": bucket()}, **how).desired.resources)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (only("true", name="("), "filters[0].name"),
        (only("1 +"), "filters[0].expression"),
        (only("observed.nope == 1"), "filters[0].expression"),
        (only("nope"), "filters[0].expression"),
        (only("'x'"), "filters[0].expression"),
        (only("observed.composite.resource.spec.on"), "filters[0].expression"),
        (only("quantity('1') == quantity('1')"), "filters[0].expression"),
        (only(""), "filters[0].expression"),
        ({"filters": [{"nam": "a"}]}, "filters[0].nam"),
        (only(f"'{'x' * 20_001}' == ''"), "filters[0].expression"),
    ],
)
def test_a_mistake_is_told_before_there_is_a_composite(given, field):
    problem = next(problem for problem in cel_filter.check(given) if problem.field == field)
    assert problem.detail


def test_what_an_expression_meets_is_told_with_its_place_and_nothing_is_filtered():
    answer = asked("cel-filter", only("desired.resources['x'].ready == 1"), {"a": bucket()})
    assert fatal(answer).startswith(
        "filters[0]: cannot evaluate the expression: no such key: x. Mend: ask whether it is"
    )
    assert set(answer.desired.resources) == {"a"}


def test_what_is_not_set_has_its_zero_and_is_not_there():
    assert keeps("desired.resources['a'].ready == 0 && !has(desired.resources['a'].ready)")
    assert keeps("!has(desired.composite) && size(desired.composite.resource) == 0")
    assert keeps("size(observed.composite.connection_details) == 0")
    assert keeps("observed.composite.resource.kind == 'XApp' && size(observed.resources) == 0")


def test_a_composite_of_which_something_is_desired_is_there():
    run = cel_filter.compile(only("has(desired.composite) && desired.composite.ready == 2"))
    request = state({"a": bucket()}, {**COMPOSITE, "status": {"x": 1}})
    desired = State(replace(request.composite, ready=False), request.resources)
    assert set(run(Request(state({}), desired)).desired.resources) == {"a"}


def test_names_are_not_only_ascii():
    given = only("false", name="grün.")
    assert set(asked("cel-filter", given, {"grün1": bucket(), "grun1": bucket()}).desired.resources) == {"grun1"}


@pytest.mark.parametrize("value", [10**400, "\ud800", float("nan")])
def test_what_is_no_plain_json_ends_in_a_fatal_result_or_is_read(value):
    composite = {"apiVersion": "v1", "kind": "X", "spec": {"value": value}}
    answer = asked("cel-filter", only("has(observed.composite.resource.spec)"), {"a": bucket()}, composite=composite)
    assert answer.results == () or fatal(answer)


@pytest.mark.parametrize(
    "expression",
    [
        "{'a': 1}[string(SECRET)] == 1",
        "'a'.matches('(' + string(SECRET))",
        "observed.resources[string(SECRET)].ready == 1",
    ],
)
@pytest.mark.parametrize(
    "secret", ["observed.composite.connection_details['p']", "desired.resources['s'].resource.data.p"]
)
def test_no_error_tells_what_is_secret(expression, secret):
    run = cel_filter.compile(only(expression.replace("SECRET", secret)))
    held = Resource({"kind": "Secret", "data": {"p": "hunter2secret"}})
    composite = Resource(COMPOSITE, {"p": b"hunter2secret"})
    told = fatal(run(Request(State(composite), State(Resource({}), {"s": held}))))
    assert "hunter2" not in told
    assert "…" in told


def test_an_object_that_is_nested_too_deep_ends_in_a_fatal_result():
    deep = {}
    for _ in range(150):
        deep = {"a": deep}
    composite = {"apiVersion": "v1", "kind": "X", "spec": deep}
    assert fatal(asked("cel-filter", only("has(observed.composite.resource.spec)"), composite=composite))


def test_an_expression_can_take_neither_for_ever_nor_all_memory():
    endless = "[1,2,3,4,5,6,7,8,9,10]"
    nested = f"{endless}.all(a, {endless}.all(b, {endless}.all(c, {endless}.all(d, {endless}.all(e, a > 0)))))"
    assert fatal(asked("cel-filter", only(nested)))


def test_without_the_library_the_composition_is_refused_with_how_to_get_it(monkeypatch):
    monkeypatch.setattr(cel, "_library", lambda: None)
    [problem] = cel_filter.check(only("true"))
    assert "pip install 'groundplane[cel]'" in problem.mend
    assert cel_filter.check({"filters": []}) == []
