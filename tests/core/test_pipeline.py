"""One run of a pipeline: what flows between steps, what stops it, what is fetched, and what becomes of the answer."""

from __future__ import annotations

import pytest

from groundplane.core import pipeline
from groundplane.core.conditions import Condition
from groundplane.core.pipeline import Fatal, Request, Resource, Response, Result, Selector, State, Step, Told
from groundplane.errors import InvalidInput

COMPOSITE = {
    "apiVersion": "example.org/v1",
    "kind": "XThing",
    "metadata": {"name": "db", "uid": "uid-xr", "labels": {"crossplane.io/composite": "db"}},
    "spec": {"size": "small"},
}
CONFIG = Selector("v1", "ConfigMap", name="site")


def bucket(**more):
    return {"apiVersion": "s3.example.org/v1", "kind": "Bucket"} | more


def desired(request, **resources):
    """The request's desired state with more resources."""
    return State(request.desired.composite, {**request.desired.resources, **resources})


class Recorded:
    """A function that remembers what it was asked, and gives the answers that it was made with, the last one for ever."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        return answer(request) if callable(answer) else answer


def adds(name, **more):
    return lambda request: Response(
        desired(request, **{name: Resource(bucket())}), {**request.context, name: 1}, **more
    )


def needs(**requirements):
    return lambda request: Response(request.desired, request.context, requirements=requirements)


def tells(*results, **more):
    return lambda request: Response(request.desired, request.context, results, **more)


def step(name, function, **more):
    return Step(name, f"function-{name}", function, **more)


def run(*steps, cluster=None, **how):
    def fetch(selector):
        return (cluster or {}).get(selector.name, [])

    return pipeline.run(Resource(COMPOSITE), steps, how.pop("observed", {}), fetch=fetch, **how)


# --- what flows ---------------------------------------------------------------------------------------------


def test_each_step_gets_what_the_one_before_answered_and_all_see_the_same():
    first, second = Recorded(adds("a")), Recorded(adds("b"))
    observed = {"a": Resource(bucket(metadata={"name": "a-1"}))}
    outcome, _ = run(step("one", first), step("two", second), observed=observed, context={"given": True})
    assert first.asked[0].desired == State(Resource({"apiVersion": "example.org/v1", "kind": "XThing"}))
    assert first.asked[0].context == {"given": True}
    assert set(second.asked[0].desired.resources) == {"a"}
    assert second.asked[0].context == {"given": True, "a": 1}
    assert first.asked[0].observed == second.asked[0].observed == State(Resource(COMPOSITE), observed)
    assert set(outcome.desired.resources) == {"a", "b"}
    assert outcome.context == {"given": True, "a": 1, "b": 1}


def test_a_step_that_does_not_pass_on_drops_what_others_desired():
    forgetful = Recorded(lambda request: Response(State(Resource({}), {"b": Resource(bucket())})))
    outcome, _ = run(step("one", Recorded(adds("a"))), step("two", forgetful))
    assert set(outcome.desired.resources) == {"b"}
    assert outcome.context == {}


def test_each_step_gets_its_own_credentials():
    one, two = Recorded(adds("a")), Recorded(adds("b"))
    run(step("one", one), step("two", two), credentials={"one": {"aws": {"key": b"secret"}}})
    assert one.asked[0].credentials == {"aws": {"key": b"secret"}}
    assert two.asked[0].credentials == {}
    assert "secret" not in repr(one.asked[0])


def test_the_shortest_time_to_live_counts():
    steps = [step(str(ttl), Recorded(adds("a", ttl=ttl))) for ttl in (0.0, 60.0, 10.0, 0.0)]
    assert run(*steps)[0].ttl == 10.0
    assert run(step("one", Recorded(adds("a"))))[0].ttl == 0.0


# --- what is told -------------------------------------------------------------------------------------------


def test_results_and_conditions_are_told_in_order_with_their_steps():
    ready = Told(Condition("DatabaseReady", "True", "Available"), to_claim=True)
    outcome, _ = run(
        step("one", Recorded(tells(Result("Normal", "a"), Result("Warning", "b"), conditions=[ready]))),
        step("two", Recorded(tells(Result("Normal", "c")))),
    )
    assert [(name, result.message) for name, result in outcome.results] == [("one", "a"), ("one", "b"), ("two", "c")]
    assert outcome.conditions == (ready,)


def test_a_fatal_result_stops_the_pipeline_and_keeps_what_was_told_until_then():
    condition = Told(Condition("DatabaseReady", "False", "Broken"))
    fatal = tells(Result("Warning", "b"), Result("Fatal", "no"), Result("Normal", "late"), conditions=[condition])
    last = Recorded(adds("a"))
    with pytest.raises(Fatal) as caught:
        run(step("one", Recorded(tells(Result("Normal", "a")))), step("two", Recorded(fatal)), step("three", last))
    assert str(caught.value) == 'pipeline step "two" returned a fatal result: no'
    assert [result.message for _, result in caught.value.outcome.results] == ["a", "b"]
    assert caught.value.outcome.conditions == (condition,)
    assert last.asked == []


def test_a_function_that_fails_stops_the_pipeline():
    def fails(request):
        raise InvalidInput("can't", mend="do otherwise", where=["here"])

    with pytest.raises(Fatal) as caught:
        run(step("one", fails))
    assert str(caught.value) == (
        'cannot run Composition pipeline step "one": cannot run Function "function-one": here: can\'t. '
        "Mend: do otherwise."
    )


# --- what is fetched ----------------------------------------------------------------------------------------


def test_a_function_that_wants_nothing_is_called_once():
    function = Recorded(adds("a"))
    run(step("one", function))
    assert len(function.asked) == 1


def test_a_function_is_called_until_it_wants_the_same_twice():
    found = {"kind": "ConfigMap", "data": {"a": "b"}}
    function = Recorded(
        lambda request: Response(request.desired, {"seen": 1}, requirements={"site": CONFIG}), adds("a")
    )
    function.answers[1] = lambda request: Response(
        desired(request, a=Resource(bucket())), request.context, requirements={"site": CONFIG}
    )
    outcome, _ = run(step("zero", Recorded(adds("z"))), step("one", function), cluster={"site": [found]})
    first, second = function.asked
    assert first.required == {}
    assert second.required == {"site": [found]}
    assert second.context == {"seen": 1}
    assert (second.desired, second.observed) == (first.desired, first.observed)
    assert set(outcome.desired.resources) == {"z", "a"}
    assert outcome.required == (CONFIG,)


def test_what_is_not_there_is_an_empty_entry():
    function = Recorded(needs(site=CONFIG))
    run(step("one", function))
    assert function.asked[-1].required == {"site": []}


def test_requirements_that_never_settle_stop_the_pipeline():
    def restless(request):
        return needs(**{f"r{len(function.asked)}": CONFIG})(request)

    function = Recorded(restless)
    with pytest.raises(Fatal, match='step "one": its requirements did not stabilise within 5 iterations'):
        run(step("one", function))
    assert len(function.asked) == 6


def test_what_the_composition_has_a_step_see_is_there_at_the_first_call_and_stays():
    other = Selector("v1", "Secret", labels={"a": "b"})
    function = Recorded(adds("a"), adds("a"))
    outcome, _ = run(step("one", function, requirements={"site": CONFIG}), cluster={"site": [{"kind": "ConfigMap"}]})
    assert [request.required for request in function.asked] == [{"site": [{"kind": "ConfigMap"}]}]
    assert outcome.required == (CONFIG,)
    function = Recorded(needs(more=other))
    run(step("one", function, requirements={"site": CONFIG}))
    assert function.asked[-1].required == {"site": [], "more": []}


def test_a_step_that_asks_for_what_it_has_already_is_not_called_again():
    function = Recorded(needs(site=CONFIG))
    run(step("one", function, requirements={"site": CONFIG}))
    assert len(function.asked) == 1


def test_a_fatal_result_is_told_before_anything_is_fetched():
    def fatal(request):
        return Response(request.desired, results=[Result("Fatal", "no")], requirements={"site": CONFIG})

    running = pipeline.calls(Resource(COMPOSITE), [step("one", fatal)], {})
    with pytest.raises(Fatal, match="no"):
        next(running)


# --- what becomes of the answer -----------------------------------------------------------------------------


def composed(obj, *, observed=None, scope="LegacyCluster", composite=COMPOSITE, v1=False):
    state = State(Resource({}), {"bucket": Resource(obj)})
    there = {"bucket": Resource(observed)} if observed else {}
    [item] = pipeline.compose(composite, state, there, scope=scope, v1=v1)
    return item


def labelled(**labels):
    return COMPOSITE | {"metadata": COMPOSITE["metadata"] | {"labels": {"crossplane.io/composite": "db"} | labels}}


def test_a_new_object_gets_a_name_and_the_metadata_of_its_composite():
    item = composed(bucket(spec={"a": 1}))
    metadata = item.object["metadata"]
    assert metadata == {
        "name": "db-11c616f11e4a",
        "generateName": "db-",
        "labels": {"crossplane.io/composite": "db"},
        "annotations": {"crossplane.io/composition-resource-name": "bucket"},
        "ownerReferences": [
            {
                "apiVersion": "example.org/v1",
                "kind": "XThing",
                "name": "db",
                "uid": "uid-xr",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert item.reference == {"apiVersion": "s3.example.org/v1", "kind": "Bucket", "name": "db-11c616f11e4a"}


def test_a_name_that_a_function_gave_counts_for_what_is_new_alone():
    asked = bucket(metadata={"name": "mine", "namespace": "there"})
    assert composed(asked).reference["name"] == "mine"
    assert composed(asked).reference["namespace"] == "there"
    item = composed(asked, observed=bucket(metadata={"name": "db-1"}))
    assert (item.object["metadata"]["name"], item.object["metadata"].get("namespace")) == ("db-1", None)
    assert 'asks for the name "mine"' in item.notes[0]


def test_v1_tells_of_a_claim_that_is_not_there_and_always_has_a_generate_name():
    made = composed(bucket(metadata={"name": "mine"}), v1=True).object["metadata"]
    assert made["labels"] == {
        "crossplane.io/composite": "db",
        "crossplane.io/claim-name": "",
        "crossplane.io/claim-namespace": "",
    }
    assert (made["name"], made["generateName"]) == ("mine", "db-")
    assert "generateName" not in composed(bucket(metadata={"name": "mine"})).object["metadata"]


@pytest.mark.parametrize("there", [{"generateName": "my-"}, {}])
def test_an_observed_object_keeps_what_its_name_was_made_from(there):
    asked = bucket(metadata={"name": "my-1", "generateName": "other-"})
    made = composed(asked, observed=bucket(metadata={"name": "my-1"} | there)).object["metadata"]
    assert {name: made[name] for name in made if name == "generateName"} == there


def test_composites_of_v2_pass_on_only_what_they_have():
    item = composed(bucket(metadata={"generateName": "my-"}), scope="Cluster")
    assert item.object["metadata"]["labels"] == {"crossplane.io/composite": "db"}
    assert item.object["metadata"]["generateName"] == "my-"
    assert item.object["metadata"]["name"] == "my-11c616f11e4a"
    claimed = labelled(**{"crossplane.io/claim-name": "db", "crossplane.io/claim-namespace": "a"})
    assert composed(bucket(), scope="Cluster", composite=claimed).object["metadata"]["labels"] == {
        "crossplane.io/composite": "db",
        "crossplane.io/claim-name": "db",
        "crossplane.io/claim-namespace": "a",
    }


def test_what_a_composite_in_a_namespace_is_composed_of_is_there_too():
    composite = COMPOSITE | {"metadata": COMPOSITE["metadata"] | {"namespace": "team-a"}}
    item = composed(bucket(metadata={"namespace": "elsewhere"}), scope="Namespaced", composite=composite)
    assert item.object["metadata"]["namespace"] == "team-a"
    assert item.reference["namespace"] == "team-a"


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        ({"apiVersion": "v1"}, "resource bucket: the desired object has no kind"),
        ({"kind": "Bucket"}, "no apiVersion"),
        (bucket(metadata={"labels": {"a": 1}}), r"metadata.labels\[a\] is a number"),
        (bucket(metadata="text"), "metadata is no object"),
        (
            bucket(metadata={"ownerReferences": [{"uid": "x", "kind": "Y", "controller": True}]}),
            "already controlled by Y",
        ),
    ],
)
def test_what_can_not_be_marked_as_the_composites_is_an_error_that_names_it(obj, text):
    with pytest.raises(InvalidInput, match=text):
        composed(obj)


def test_what_functions_desired_is_not_changed():
    obj = bucket(metadata={"labels": {"a": "b"}})
    composed(obj)
    assert obj == bucket(metadata={"labels": {"a": "b"}})
