"""Patch-and-transform as a function: what upstream's own tests say, as specified, and what ours adds.

Upstream's answers to whole compositions: tests/core/test_conformance.py.
"""

from __future__ import annotations

import copy

import pytest

from groundplane.core import environment
from groundplane.core.pipeline import Request, Resource, State
from groundplane.functions import patch_and_transform

XR = {"apiVersion": "example.org/v1", "kind": "XR", "metadata": {"name": "cool-xr"}, "spec": {"widgets": "10"}}
ENVIRONMENT = {"apiVersion": "internal.crossplane.io/v1alpha1", "kind": "Environment"}
TIMES_3 = [
    {"type": "convert", "convert": {"toType": "int64"}},
    {"type": "math", "math": {"type": "Multiply", "multiply": 3}},
]
REQUIRED = {"fromFieldPath": "Required"}


def patch(type_, source, target, *steps, **policy):
    made = {"type": type_, "fromFieldPath": source, "toFieldPath": target, "transforms": list(steps)}
    return made | ({"policy": policy} if policy else {})


def combine(type_, target, fmt, *paths, **policy):
    variables = [{"fromFieldPath": path} for path in paths]
    made = {"type": type_, "toFieldPath": target}
    made["combine"] = {"strategy": "string", "string": {"fmt": fmt}, "variables": variables}
    return made | ({"policy": policy} if policy else {})


def cool(*patches, name="cool", base=True, **more):
    made = {"name": name, "patches": list(patches)} | more
    return made | ({"base": {"apiVersion": "example.org/v1", "kind": "CD"}} if base else {})


def answer(*resources, xr=XR, observed=None, desired=None, context=None, **given):
    given = {"resources": list(resources)} | given
    assert patch_and_transform.check(given) == []
    request = Request(State(Resource(xr), observed or {}), State(Resource({}), desired or {}), context or {})
    before = copy.deepcopy((given, request.observed, request.desired, request.context))
    response = patch_and_transform.compile(given)(request)
    assert (given, request.observed, request.desired, request.context) == before
    if any(result.severity == "Fatal" for result in response.results):
        assert (response.desired, response.context) == (request.desired, request.context)
    return response


def told(response):
    return [(result.severity, result.message) for result in response.results]


def fields(given):
    return [problem.field for problem in patch_and_transform.check(given)]


# --- one run ------------------------------------------------------------------------------------------------


def test_a_base_becomes_a_resource_beside_what_others_desire():
    other = Resource({"kind": "Other"}, ready=True)
    response = answer(cool(), desired={"other": other})
    assert response.desired.resources == {
        "other": other,
        "cool": Resource({"apiVersion": "example.org/v1", "kind": "CD"}),
    }
    assert response.desired.composite.object == {"apiVersion": "example.org/v1", "kind": "XR"}
    assert response.context == {environment.KEY: ENVIRONMENT}
    assert told(response) == []


def test_a_base_replaces_what_was_desired_under_its_name_and_without_one_that_is_patched():
    earlier = {"cool": Resource({"kind": "CD", "spec": {"old": 1}}, ready=True)}
    times = patch("FromCompositeFieldPath", "spec.widgets", "spec.watchers", *TIMES_3)
    assert answer(cool(times), desired=earlier).desired.resources["cool"].object["spec"] == {"watchers": 30}
    response = answer(cool(times, base=False), desired=earlier)
    assert response.desired.resources["cool"] == Resource({"kind": "CD", "spec": {"old": 1, "watchers": 30}})


def test_neither_a_base_nor_an_earlier_resource_is_fatal():
    [(severity, message)] = told(answer(cool(base=False)))
    assert severity == "Fatal"
    assert message.startswith("resource cool: it has no base, and no earlier step of the pipeline desires it. Mend: ")


def test_what_exists_keeps_its_name_and_place():
    there = Resource(
        {"apiVersion": "example.org/v1beta1", "kind": "CD", "metadata": {"namespace": "default", "name": "cool-42"}}
    )
    response = answer(cool(), observed={"cool": there})
    assert response.desired.resources["cool"].object["metadata"] == {"namespace": "default", "name": "cool-42"}


def test_a_new_resource_without_what_it_requires_is_held_back_alone_and_one_that_exists_goes_on():
    lacking = patch("FromCompositeFieldPath", "spec.no", "spec.no", **REQUIRED)
    good = patch("FromCompositeFieldPath", "spec.widgets", "spec.widgets")
    response = answer(
        cool(lacking, good, name="a"),
        cool(good, lacking, patch("FromCompositeFieldPath", "spec.widgets", "spec.more"), name="b"),
        observed={"b": Resource({"kind": "CD", "metadata": {"name": "b-1"}})},
    )
    assert set(response.desired.resources) == {"b"}
    assert response.desired.resources["b"].object["spec"] == {"widgets": "10", "more": "10"}
    assert response.desired.composite.ready is False
    [(one, first), (two, second)] = told(response)
    assert (one, two) == ("Warning", "Warning")
    assert 'not adding new composed resource "a"' in first
    assert "patches[0] (FromCompositeFieldPath): spec.no: no such field" in first
    assert 'composed resource "b" exists, going on without what is required' in second
    assert "patches[1] (FromCompositeFieldPath)" in second


def test_a_patch_that_can_not_work_is_fatal_and_keeps_the_warnings_before_it():
    lacking = patch("FromCompositeFieldPath", "spec.no", "spec.no", **REQUIRED)
    wrong = patch("FromCompositeFieldPath", "spec.widgets[0]", "spec.x")
    [(one, _), (two, message)] = told(answer(cool(lacking, name="a"), cool(lacking | {"policy": {}}, wrong)))
    assert (one, two) == ("Warning", "Fatal")
    text = "resource cool › patches[1] (FromCompositeFieldPath): spec.widgets: not an array, but a string"
    assert message == text


def test_details_and_readiness_come_from_what_is_observed():
    details = [
        {"name": "user", "type": "FromConnectionSecretKey", "fromConnectionSecretKey": "u"},
        {"name": "port", "type": "FromValue", "value": "5432"},
    ]
    checks = [{"type": "MatchInteger", "fieldPath": "status.n", "matchInteger": 5}]
    template = cool(connectionDetails=details, readinessChecks=checks)
    there = Resource({"kind": "CD", "status": {"n": 5}}, {"u": b"me"})
    response = answer(template, observed={"cool": there})
    assert response.desired.composite.connection == {"user": b"me", "port": b"5432"}
    assert response.desired.resources["cool"].ready is True
    assert answer(template).desired.composite.connection == {}
    assert answer(template).desired.resources["cool"].ready is None
    wrong = answer(template, observed={"cool": Resource({"kind": "CD", "status": {"n": "5"}})})
    [(severity, message)] = told(wrong)
    assert severity == "Warning"
    assert message.startswith('cannot check readiness of composed resource "cool": readinessChecks[0]: status.n: ')
    assert wrong.desired.resources["cool"].ready is None


def test_a_check_without_a_condition_to_match_is_fatal_once_there_is_something_to_check():
    template = cool(readinessChecks=[{"type": "MatchCondition"}])
    assert told(answer(template)) == []
    [(severity, message)] = told(answer(template, observed={"cool": Resource({"kind": "CD"})}))
    assert severity == "Fatal"
    assert "set matchCondition.type and .status" in message


# --- the environment ----------------------------------------------------------------------------------------


def with_environment(**data):
    return {environment.KEY: ENVIRONMENT | data}


@pytest.mark.parametrize("type_", ["ToCompositeFieldPath", "FromEnvironmentFieldPath"])
def test_an_environment_patch_may_read_the_environment(type_):
    between = {"patches": [patch(type_, "widgets", "spec.watchers", *TIMES_3)]}
    response = answer(environment=between, context=with_environment(widgets="10"))
    assert response.desired.composite.object["spec"] == {"watchers": 30}


@pytest.mark.parametrize("type_", ["FromCompositeFieldPath", "ToEnvironmentFieldPath"])
def test_an_environment_patch_may_write_the_environment(type_):
    between = {"patches": [patch(type_, "spec.widgets", "widgets", *TIMES_3)]}
    assert answer(environment=between).context == with_environment(widgets=30)


def test_values_are_combined_into_and_out_of_the_environment():
    between = {
        "patches": [
            combine("CombineFromComposite", "id", "%s-%s", "metadata.name", "spec.widgets"),
            combine("CombineToComposite", "status.id", "<%s>", "id"),
        ]
    }
    response = answer(cool(combine("CombineFromEnvironment", "spec.id", "%s.%s", "id", "kind")), environment=between)
    assert response.desired.composite.object["status"] == {"id": "<cool-xr-10>"}
    assert response.desired.resources["cool"].object["spec"] == {"id": "cool-xr-10.Environment"}


def test_what_one_template_writes_into_the_environment_the_next_one_reads():
    there = Resource({"kind": "CD", "status": {"arn": "a:b", "id": "7"}})
    response = answer(
        cool(
            patch("ToEnvironmentFieldPath", "status.arn", "arn"),
            combine("CombineToEnvironment", "both", "%s/%s", "status.arn", "status.id"),
            name="a",
        ),
        cool(
            patch("FromEnvironmentFieldPath", "arn", "spec.arn"),
            patch("FromEnvironmentFieldPath", "both", "spec.both"),
            name="b",
        ),
        observed={"a": there},
    )
    assert response.desired.resources["b"].object["spec"] == {"arn": "a:b", "both": "a:b/7"}
    assert response.context == with_environment(arn="a:b", both="a:b/7")


def test_a_later_patch_from_the_composite_wins_over_the_environment():
    patches = [
        patch("FromEnvironmentFieldPath", "size", "spec.size"),
        patch("FromCompositeFieldPath", "spec.size", "spec.size"),
    ]
    context = with_environment(size="env")
    assert answer(cool(*patches), context=context).desired.resources["cool"].object["spec"] == {"size": "env"}
    sized = XR | {"spec": {"size": "xr"}}
    assert answer(cool(*patches), xr=sized, context=context).desired.resources["cool"].object["spec"] == {"size": "xr"}


def test_an_environment_patch_that_lacks_what_it_requires_is_fatal():
    def between(**policy):
        return {"patches": [patch("ToCompositeFieldPath", "no", "status.no", **policy)]}

    assert told(answer(environment=between())) == []
    [(severity, message)] = told(answer(environment=between(**REQUIRED)))
    assert severity == "Fatal"
    assert message.startswith("environment › patches[0] (ToCompositeFieldPath): no: no such field")


def test_what_a_resource_requires_of_the_environment_holds_it_back():
    response = answer(cool(patch("FromEnvironmentFieldPath", "no", "spec.no", **REQUIRED)))
    assert response.desired.resources == {}
    assert response.desired.composite.ready is False


# --- numbers and policies -----------------------------------------------------------------------------------


def test_integers_stay_integers():
    xr = XR | {"spec": {"count": 10}}
    step = {"type": "string", "string": {"type": "Format", "fmt": "%d of %[1]v"}}
    assert answer(cool(patch("FromCompositeFieldPath", "spec.count", "spec.text", step)), xr=xr).desired.resources[
        "cool"
    ].object["spec"] == {"text": "10 of 10"}


@pytest.mark.parametrize(
    ("policy", "result"),
    [
        (None, {"a": 2, "l": [2], "n": 1}),
        ("Replace", {"a": 2, "l": [2], "n": 1}),
        ("MergeObjects", {"a": 1, "b": 1, "l": [1], "n": 1}),
        ("MergeObject", {"a": 1, "b": 1, "l": [1], "n": 1}),
        ("MergeObjectsAppendArrays", {"a": 1, "b": 1, "l": [1, 2], "n": 1}),
        ("ForceMergeObjects", {"a": 2, "b": 1, "l": [2], "n": 1}),
        ("ForceMergeObjectsAppendArrays", {"a": 2, "b": 1, "l": [1, 2], "n": 1}),
        ("AppendArray", {"a": 2, "b": 1, "l": [1, 2], "n": 1}),
    ],
)
def test_a_policy_says_how_a_value_meets_one_that_is_there(policy, result):
    xr = XR | {"spec": {"o": {"a": 2, "l": [2], "n": 1}}}
    base = {"apiVersion": "v1", "kind": "CD", "spec": {"o": {"a": 1, "b": 1, "l": [1]}}}
    made = patch("FromCompositeFieldPath", "spec.o", "spec.o", **({"toFieldPath": policy} if policy else {}))
    response = answer(cool(made, base=False) | {"base": base}, xr=xr)
    assert response.desired.resources["cool"].object["spec"]["o"] == result


# --- the Secret of a composite of v2 ------------------------------------------------------------------------

DETAIL = [{"name": "k", "type": "FromValue", "value": "v"}]


def v2(namespace="xr-namespace", **spec):
    metadata = {"name": "my-xr", "namespace": namespace, "uid": "uid-4", "labels": {"env": "prod"}}
    return {"apiVersion": "example.org/v1", "kind": "XR", "metadata": metadata, "spec": {"crossplane": None} | spec}


@pytest.mark.parametrize(
    ("xr", "reference", "name", "namespace"),
    [
        (v2(), None, "my-xr-connection", "xr-namespace"),
        (v2(writeConnectionSecretToRef={"name": "s", "namespace": "n"}), {"name": "mine"}, "s", "n"),
        (v2(), {"name": "mine", "namespace": "there"}, "mine", "there"),
        (v2(), {"name": "mine"}, "mine", None),
        (
            v2(),
            {
                "patches": [
                    combine("CombineFromComposite", "name", "%s-creds", "metadata.uid"),
                    {"fromFieldPath": "metadata.labels.env", "toFieldPath": "namespace"},
                ]
            },
            "uid-4-creds",
            "prod",
        ),
        (v2(), {"patches": [{"fromFieldPath": "spec.no", "toFieldPath": "name"}]}, "my-xr-connection", "xr-namespace"),
        (v2(), {"patches": [{"fromFieldPath": "spec", "toFieldPath": "name"}]}, "my-xr-connection", "xr-namespace"),
        (v2(), {"patches": [{"toFieldPath": "name"}]}, "my-xr-connection", "xr-namespace"),
        (v2(), {"patches": [{"fromFieldPath": "", "toFieldPath": "name"}]}, "my-xr-connection", "xr-namespace"),
        (
            v2(),
            {"patches": [patch("FromCompositeFieldPath", "metadata.uid", "name", toFieldPath="MergeObjects")]},
            "my-xr-connection",
            "xr-namespace",
        ),
        (
            v2(),
            {
                "name": "mine",
                "patches": [
                    {"fromFieldPath": "metadata.uid", "toFieldPath": "name"},
                    {"fromFieldPath": "spec.crossplane", "toFieldPath": "name"},
                ],
            },
            "mine",
            None,
        ),
    ],
)
def test_a_composite_of_v2_is_composed_of_its_secret(xr, reference, name, namespace):
    more = {"writeConnectionSecretToRef": reference} if reference else {}
    there = {"cool": Resource({"kind": "CD"})}
    response = answer(cool(connectionDetails=DETAIL), xr=xr, observed=there, **more)
    secret = response.desired.resources["my-xr-connection-secret"]
    assert secret.ready is True
    assert secret.object == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "type": "connection.crossplane.io/v1alpha1",
        "data": {"k": "dg=="},
    }


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (patch("ToCompositeFieldPath", "spec.x", "name"), "patches[0] (ToCompositeFieldPath): can't name a Secret"),
        (combine("CombineFromComposite", "name", "%s", "spec.no"), "a value to combine is missing"),
        (patch("FromCompositeFieldPath", "spec.no", "name", **REQUIRED), "spec.no: no such field"),
    ],
)
def test_a_secret_that_can_not_be_named_is_fatal(made, text):
    there = {"cool": Resource({"kind": "CD"})}
    reference = {"patches": [made]}
    response = answer(cool(connectionDetails=DETAIL), xr=v2(), observed=there, writeConnectionSecretToRef=reference)
    [(severity, message)] = told(response)
    assert severity == "Fatal"
    assert text in message


def test_without_details_or_for_a_legacy_composite_there_is_no_such_secret():
    there = {"cool": Resource({"kind": "CD"})}
    assert set(answer(cool(), xr=v2(), observed=there).desired.resources) == {"cool"}
    assert set(answer(cool(connectionDetails=DETAIL), observed=there).desired.resources) == {"cool"}


# --- what is wrong with an input ----------------------------------------------------------------------------

FROM = {"fromFieldPath": "a"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, ["resources"]),
        ({"resources": [{"base": {"kind": "A"}}]}, ["resources[0].name"]),
        ({"resources": [{"name": "a", "base": {"spec": {}}}]}, ["resources[0].base.kind"]),
        ({"resources": [cool({})]}, ["resources[0].patches[0].fromFieldPath"]),
        ({"resources": [cool({"fromFieldPath": ""})]}, ["resources[0].patches[0].fromFieldPath"]),
        ({"resources": [cool({"type": "", **FROM})]}, []),
        ({"resources": [cool({"type": "Bogus"})]}, ["resources[0].patches[0].type"]),
        (
            {"resources": [cool(FROM | {"policy": {"mergeOptions": {}}})]},
            ["resources[0].patches[0].policy.mergeOptions"],
        ),
        ({"resources": [cool(FROM | {"policy": {"toFieldPath": ""}})]}, ["resources[0].patches[0].policy.toFieldPath"]),
        (
            {"resources": [cool(FROM | {"policy": {"fromFieldPath": "Maybe"}})]},
            ["resources[0].patches[0].policy.fromFieldPath"],
        ),
        (
            {"resources": [cool(FROM | {"transforms": [{"type": "jq"}]})]},
            ["resources[0].patches[0].transforms[0].type"],
        ),
        ({"resources": [cool(FROM | {"transforms": [{}]})]}, ["resources[0].patches[0].transforms[0].type"]),
        (
            {"resources": [cool(FROM | {"transforms": [{"type": "math", "math": {"multiply": 1}}]})]},
            ["resources[0].patches[0].transforms[0].math.type"],
        ),
        (
            {
                "resources": [
                    cool(FROM | {"transforms": [{"type": "string", "string": {"type": "Replace", "replace": {}}}]})
                ]
            },
            ["resources[0].patches[0].transforms[0].string.replace.search"],
        ),
        (
            {"resources": [cool(combine("CombineFromComposite", "x", "%s", "") | {"transforms": [{"type": "jq"}]})]},
            ["resources[0].patches[0].combine.variables[0].fromFieldPath"],
        ),
        (
            {
                "resources": [
                    cool({"type": "CombineToEnvironment", "toFieldPath": "x", "combine": {"variables": [FROM]}})
                ]
            },
            ["resources[0].patches[0].combine.strategy"],
        ),
        ({"resources": [cool({"type": "PatchSet", "patchSetName": "x"})]}, ["resources[0].patches[0].patchSetName"]),
        ({"resources": [cool(connectionDetails=[{"value": "x"}])]}, ["resources[0].connectionDetails[0].type"]),
        (
            {"resources": [cool(connectionDetails=[{"type": "FromValue", "name": "x"}])]},
            ["resources[0].connectionDetails[0].value"],
        ),
        ({"resources": [cool(readinessChecks=[{"type": "MatchTrue"}])]}, ["resources[0].readinessChecks[0].fieldPath"]),
        (
            {"patchSets": [{"patches": [{"type": "PatchSet"}, FROM | {"patchSetName": "x"}]}], "resources": [cool()]},
            ["patchSets[0].name", "patchSets[0].patches[0].type", "patchSets[0].patches[1].patchSetName"],
        ),
        (
            {
                "resources": [
                    cool(
                        {"type": "Bogus"},
                        {},
                        connectionDetails=[{"type": "FromNowhere"}],
                        readinessChecks=[{"type": "Sometimes"}, {}],
                    )
                ]
            },
            [
                "resources[0].patches[0].type",
                "resources[0].patches[1].fromFieldPath",
                "resources[0].connectionDetails[0].type",
                "resources[0].readinessChecks[0].type",
                "resources[0].readinessChecks[1].type",
            ],
        ),
        (
            {"resources": [cool({"type": "CombineFromComposite", "toFieldPath": "x", "combine": {}})]},
            ["resources[0].patches[0].combine.strategy", "resources[0].patches[0].combine.variables"],
        ),
        ({"environment": {"patches": [{"type": "CombineToEnvironment"}]}}, ["environment.patches[0].type"]),
        ({"environment": {"patches": [{}]}}, ["environment.patches[0].fromFieldPath"]),
        ({"resources": [cool()], "resorces": []}, ["resorces"]),
        (
            {"resources": [cool({"type": 5}, readinessChecks=[{"type": 5}])]},
            ["resources[0].patches[0].type", "resources[0].readinessChecks[0].type"],
        ),
        (
            {"resources": [cool()], "writeConnectionSecretToRef": {"patches": [FROM | {"patchSetName": "x"}]}},
            ["writeConnectionSecretToRef.patches[0].patchSetName"],
        ),
        (
            {"resources": [cool({}), cool({"type": "PatchSet"}, name="")]},
            ["resources[0].patches[0].fromFieldPath", "resources[1].name", "resources[1].patches[0].patchSetName"],
        ),
    ],
)
def test_every_mistake_is_told_with_its_place(given, found):
    assert fields(given) == found


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ({"type": "jq"}, 'type: unsupported value "jq"'),
        ({"type": "math", "math": {"type": "Bogus", "multiply": 2}}, 'math.type: unsupported value "Bogus"'),
        ({"type": "string", "string": {"type": "Convert", "convert": "ToRot13"}}, "string.convert"),
        ({"type": "map", "map": {"cool-xr": None}}, 'the entry for "cool-xr" in the map is null'),
        ({"type": "match", "match": {"patterns": [{"literal": "x", "result": 1}]}}, "match.patterns[0] has no type"),
    ],
)
def test_what_is_not_validated_fails_when_it_runs(step, text):
    made = combine("CombineFromComposite", "spec.x", "%s", "metadata.name") | {"transforms": [step]}
    [(severity, message)] = told(answer(cool(made)))
    assert severity == "Fatal"
    assert text in message
    missing = combine("CombineFromComposite", "spec.x", "%s", "spec.no") | {"transforms": [step]}
    assert told(answer(cool(missing))) == []


@pytest.mark.parametrize(
    ("step", "result"),
    [
        ({"type": "match", "match": {"fallbackValue": "x"}}, "x"),
        ({"type": "match", "match": {"fallbackTo": "Input"}}, "cool-xr"),
        (
            {
                "type": "match",
                "match": {
                    "patterns": [
                        {"type": "literal", "literal": "cool-xr", "result": "hit"},
                        {"type": "regexp", "regexp": "(", "result": "never tried"},
                    ]
                },
            },
            "hit",
        ),
        ({"type": "string", "string": {"type": "Regexp", "regexp": {}}}, ""),
        ({"type": "string", "string": {"type": "Replace", "replace": {"replace": "."}}}, ".c.o.o.l.-.x.r."),
    ],
)
def test_what_is_not_validated_works_where_it_can(step, result):
    made = combine("CombineFromComposite", "spec.x", "%s", "metadata.name") | {"transforms": [step]}
    response = answer(cool(made))
    assert told(response) == []
    assert response.desired.resources["cool"].object["spec"]["x"] == result
