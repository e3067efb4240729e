"""Patches against the schemas at both their ends: the table in tests/vectors/typecheck, paths, whole compositions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import fieldpath, typecheck
from groundplane.core.composition import review
from groundplane.core.spec import Problem
from groundplane.core.typecheck import Outcome
from groundplane.core.value_types import ANY, NoSuchField, types_at
from groundplane.errors import InvalidInput

ROWS = yaml.safe_load(
    (Path(__file__).parents[1] / "vectors" / "typecheck" / "patches.yaml").read_text(encoding="utf-8")
)
KEEP = {"x-kubernetes-preserve-unknown-fields": True}


def obj(**properties):
    return {"type": "object", "properties": properties}


def array(items, **more):
    return {"type": "array", "items": items, **more}


STRING, INTEGER = {"type": "string"}, {"type": "integer"}


def composition(*resources, sets=()):
    found = review(
        {
            "compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "XR"},
            "patchSets": list(sets),
            "resources": [
                {"name": f"r{index}", "base": {"apiVersion": "cloud.example.org/v1", "kind": "Bucket"}, **resource}
                for index, resource in enumerate(resources)
            ],
        }
    )
    assert not found.shape + found.sense, found
    assert not found.pruned
    return found.spec


def schemas(composite, composed):
    return {("example.org/v1", "XR"): composite, ("cloud.example.org/v1", "Bucket"): composed}


def found(spec, known, **how):
    return [(p.type, p.field) for p in typecheck.check(spec, known, **how).problems]


def field(name):
    if not name:
        return KEEP
    return array(STRING) if name == "array" else {"type": name}


@pytest.mark.parametrize("upstream", [False, True], ids=["sane", "upstream"])
@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row['from'] or 'any'} to {row['to'] or 'any'} {row['transforms']}"
)
def test_a_chain_of_transforms_is_judged_as_the_table_says(row, upstream):
    patch = {"fromFieldPath": "spec.a", "toFieldPath": "spec.b", "transforms": row["transforms"]}
    known = schemas(obj(spec=obj(a=field(row["from"]))), obj(spec=obj(b=field(row["to"]))))
    if not row["from"]:
        known = schemas(obj(spec=KEEP), known["cloud.example.org/v1", "Bucket"])
    if not row["to"]:
        known["cloud.example.org/v1", "Bucket"] = obj(spec=KEEP)
    wanted = row["both"] if "both" in row else row["upstream" if upstream else "sane"]
    got = found(composition({"patches": [patch]}), known, strict_upstream=upstream)
    place = "spec.resources[0].patches[0]."
    assert [f"{type_} {path.removeprefix(place)}" for type_, path in got] == ([wanted] if wanted else [])


BUCKET = obj(
    spec=obj(
        forProvider=obj(
            foo=array(obj(bar=STRING)), ids=array(STRING, maxItems=100), port={"x-kubernetes-int-or-string": True}
        ),
        tags={"type": "object", "additionalProperties": STRING},
        open={"type": "object", **KEEP},
    ),
    metadata={"type": "object"},
    data={"type": "object", "additionalProperties": KEEP},
    free={"type": "object", "additionalProperties": True},
)


@pytest.mark.parametrize(
    ("path", "types"),
    [
        ("", ANY),
        ("spec.forProvider.foo[0].bar", {"string"}),
        ("spec.forProvider.foo[*].bar", {"string"}),
        ("spec.forProvider.ids[99]", {"string"}),
        ("spec.forProvider.port", {"integer", "string"}),
        ("spec.forProvider", {"object"}),
        ("spec.tags[a.b/c]", {"string"}),
        ("spec.tags[*]", {"string"}),
        ("spec[*].x", ANY),
        ("spec.open.any[3].thing", ANY),
        ("data.someField", ANY),
        ("data.some.field", ANY),
        ("free.x.y", ANY),
        ("metadata.uid", {"string"}),
        ("metadata.generateName", {"string"}),
        ("metadata.annotations[x]", {"string"}),
        ("metadata.creationTimestamp", {"string"}),
        ("metadata.ownerReferences[0].uid", {"string"}),
    ],
)
def test_a_path_has_the_types_that_its_schema_says(path, types):
    assert types_at(BUCKET, fieldpath.parse(path)) == types


@pytest.mark.parametrize(
    ("path", "text", "mend"),
    [
        ("spec.forProvidr", 'spec has no field "forProvidr"', "did you mean forProvider?"),
        ("spec.forProvider.foo.bar", 'spec.forProvider.foo is of type array: it has no field "bar"', ""),
        ("spec.forProvider.ids[101]", "spec.forProvider.ids has at most 100 items", ""),
        ("spec.forProvider[0]", "spec.forProvider is of type object: it has no index 0", ""),
        ("spec.forProvider.foo[0].bar.x", 'is of type string: it has no field "x"', ""),
        ("metadata.nmae", 'metadata has no field "nmae"', "did you mean name?"),
        ("sepc", 'the object has no field "sepc"', "did you mean spec?"),
    ],
)
def test_a_path_that_a_schema_does_not_have_is_told_with_the_nearest(path, text, mend):
    with pytest.raises(NoSuchField) as caught:
        types_at(BUCKET, fieldpath.parse(path))
    assert text in caught.value.what
    assert caught.value.mend == mend


@pytest.mark.parametrize("path", ["spec.forProvider.foo[*].bar", "spec.forProvider.port", "metadata.ownerReferences"])
def test_upstream_reports_some_paths_that_are_there(path):
    with pytest.raises(NoSuchField):
        types_at(BUCKET, fieldpath.parse(path), strict_upstream=True)


def test_each_problem_says_where_what_and_the_mend():
    spec = composition(
        {
            "patches": [
                {"fromFieldPath": "spec.sise", "toFieldPath": "spec.size"},
                {"type": "ToCompositeFieldPath", "fromFieldPath": "status.arn", "toFieldPath": "status.arm"},
                {
                    "type": "CombineFromComposite",
                    "toFieldPath": "spec.size",
                    "combine": {
                        "strategy": "string",
                        "string": {"fmt": "%s"},
                        "variables": [{"fromFieldPath": "spec.nme"}],
                    },
                },
                {"fromFieldPath": "spec.count"},
                {"fromFieldPath": "spec.count", "toFieldPath": "spec.size"},
                {"type": "PatchSet", "patchSetName": "common"},
            ],
            "readinessChecks": [{"type": "MatchString", "fieldPath": "status.size", "matchString": "x"}],
            "connectionDetails": [{"name": "a", "fromFieldPath": "status.endpont"}],
        },
        {"patches": [{"type": "PatchSet", "patchSetName": "common"}]},
        sets=[{"name": "common", "patches": [{"fromFieldPath": "spec.region", "toFieldPath": "spec.region"}]}],
    )
    composite = obj(spec=obj(size=STRING, name=STRING, count=INTEGER), status=obj(arn=STRING))
    composed = obj(spec=obj(size=STRING, region=STRING), status=obj(arn=STRING, endpoint=STRING, size=INTEGER))
    problems = typecheck.check(spec, schemas(composite, composed)).problems
    first = "spec.resources[0]"
    assert [(p.type, p.field, p.mend) for p in problems] == [
        ("Invalid", f"{first}.patches[0].fromFieldPath", "did you mean size?"),
        ("Invalid", f"{first}.patches[1].toFieldPath", "did you mean arn?"),
        ("Invalid", f"{first}.patches[2].combine", "did you mean name?"),
        ("Invalid", f"{first}.patches[3].toFieldPath", "use one of: region, size"),
        ("Required", f"{first}.patches[4].transforms", "convert it: toType string"),
        ("Invalid", "spec.patchSets[0].patches[0].fromFieldPath", "use one of: count, name, size"),
        ("Invalid", f"{first}.readinessChecks[0].fieldPath", "choose the type of check that fits"),
        ("Invalid", f"{first}.connectionDetails[0].fromFieldPath", "did you mean endpoint?"),
    ]
    assert problems[4].detail == "spec.size is a string, and an integer would be written to it"
    assert problems[6].detail == "status.size is an integer, and MatchString compares a string"


def test_a_path_that_can_not_be_parsed_is_told_where_it_stands_once_and_itself_but_once():
    variables = {"strategy": "string", "variables": [{"fromFieldPath": "spec[d"}], "string": {"fmt": "%s"}}
    spec = composition(
        {
            "patches": [
                {"fromFieldPath": "spec[a"},
                {"fromFieldPath": "spec.size", "toFieldPath": "spec..b"},
                {"type": "ToCompositeFieldPath", "fromFieldPath": "status[c"},
                {"type": "CombineFromComposite", "toFieldPath": "spec.size", "combine": variables},
            ],
            "readinessChecks": [{"type": "NonEmpty", "fieldPath": "status]e"}],
            "connectionDetails": [{"name": "a", "fromFieldPath": "status[f"}],
        }
    )
    schema = obj(spec=obj(size=STRING), status=obj(arn=STRING))
    problems = typecheck.check(spec, schemas(schema, schema)).problems
    assert [p.field.removeprefix("spec.resources[0].") for p in problems] == [
        "patches[0].fromFieldPath",
        "patches[1].toFieldPath",
        "patches[2].fromFieldPath",
        "patches[3].combine",
        "readinessChecks[0].fieldPath",
        "connectionDetails[0].fromFieldPath",
    ]
    for problem, path in zip(
        problems, ("spec[a", "spec..b", "status[c", "spec[d", "status]e", "status[f"), strict=True
    ):
        assert problem.detail.startswith("cannot parse path")
        assert problem.detail.count(path) == 1
        assert problem.mend


def test_a_kind_without_a_schema_is_told_and_the_rest_is_checked():
    spec = composition({"patches": [{"fromFieldPath": "spec.sise", "toFieldPath": "spec.size"}]})
    known = {("example.org/v1", "XR"): obj(spec=obj(size=STRING))}
    outcome = typecheck.check(spec, known)
    assert outcome.missing == [("cloud.example.org/v1", "Bucket")]
    assert [p.field for p in outcome.problems] == ["spec.resources[0].patches[0].fromFieldPath"]
    assert typecheck.check(spec, known, strict_upstream=True).problems == []


def test_kinds_of_the_api_server_itself_need_no_schema():
    spec = composition({"base": {"apiVersion": "apps/v1", "kind": "Deployment"}})
    assert typecheck.kinds_in(spec) == [("example.org/v1", "XR")]


PROBLEM = [Problem("Invalid", "a", "b")]


@pytest.mark.parametrize(
    ("outcome", "refused"),
    [
        (Outcome(), set()),
        (Outcome(problems=PROBLEM), {"loose", "strict"}),
        (Outcome(missing=[("a", "b")]), {"strict"}),
        (Outcome(problems=PROBLEM, missing=[("a", "b")]), {"strict"}),
    ],
)
def test_the_mode_decides_what_is_refused(outcome, refused):
    assert {mode for mode in typecheck.MODES if outcome.refuses(mode)} == refused


def test_a_summary_has_room_in_a_condition():
    many = Outcome(problems=[Problem("Invalid", f"spec.resources[{n}]", "x" * 200) for n in range(500)])
    assert len(many.summary()) < 32_768
    assert many.summary().endswith("; and 480 more")
    assert Outcome(problems=PROBLEM, missing=[("a/v1", "B")]).summary() == (
        "a: b; the schema of B of a/v1 is not known: its fields are not checked"
    )


def test_a_mode_that_does_not_exist_is_refused():
    annotated = {"metadata": {"annotations": {typecheck.MODE_ANNOTATION: "strikt"}}}
    with pytest.raises(InvalidInput, match="did you mean strict"):
        typecheck.mode_of(annotated)
    assert typecheck.mode_of({}) == "warn"


paths = st.lists(
    st.sampled_from(["spec", "status", "a", "b", "metadata", "labels", "[0]", "[*]", "['x.y']"]), max_size=4
)
nodes = st.recursive(
    st.sampled_from([STRING, INTEGER, KEEP, {}, {"x-kubernetes-int-or-string": True}, {"type": "object"}]),
    lambda inner: (
        st.dictionaries(st.sampled_from(["spec", "status", "a", "b", "metadata"]), inner, max_size=3).map(
            lambda p: obj(**p)
        )
        | inner.map(array)
        | inner.map(lambda schema: {"type": "object", "additionalProperties": schema})
    ),
    max_leaves=8,
)


@given(nodes, paths, st.booleans())
def test_any_path_in_any_schema_has_types_or_is_not_there(schema, parts, upstream):
    text = "".join(part if part.startswith("[") else f".{part}" for part in parts).removeprefix(".")
    try:
        types = types_at(schema, fieldpath.parse(text), strict_upstream=upstream)
    except NoSuchField:
        return
    assert types
    assert types <= ANY


NUMBER = {"type": "number"}


@pytest.mark.parametrize(
    ("fmt", "schema", "printed"),
    [
        ("%d-db", STRING, "%!d(string=x)-db"),
        ("db", STRING, "db%!(EXTRA string=x)"),
        ("%s-%s", STRING, "x-%!s(MISSING)"),
        ("%t", INTEGER, "%!t(int64=1)"),
        ("%d", KEEP, ""),
        ("%d", INTEGER, ""),
        ("%d", NUMBER, ""),
        ("100%%!(d) %s", STRING, ""),
        ("%08.3f", NUMBER, ""),
    ],
)
def test_a_format_that_fits_no_value_it_can_get_is_told_with_what_it_prints(fmt, schema, printed):
    known = schemas(obj(spec=obj(a=schema)), KEEP)
    single = {"fromFieldPath": "spec.a", "transforms": [{"type": "string", "string": {"type": "Format", "fmt": fmt}}]}
    several = {
        "type": "CombineFromComposite",
        "combine": {"strategy": "string", "variables": [{"fromFieldPath": "spec.a"}], "string": {"fmt": fmt}},
        "toFieldPath": "spec.b",
    }
    for patch, place in ((single, "transforms[0]"), (several, "combine")):
        spec = composition({"patches": [patch]})
        problems = typecheck.check(spec, known).problems
        assert [problem.field for problem in problems] == [f"spec.resources[0].patches[0].{place}.string.fmt"] * bool(
            printed
        )
        assert all(printed in problem.detail and "%v" in problem.mend for problem in problems)
        strict = typecheck.check(spec, known, strict_upstream=True).problems
        assert not [problem for problem in strict if problem.field.endswith(".fmt")]


def test_each_value_of_a_combination_is_looked_at_by_itself():
    known = schemas(obj(spec=obj(a=STRING, b=INTEGER)), KEEP)
    variables = [{"fromFieldPath": "spec.a"}, {"fromFieldPath": "spec.b"}]
    for fmt, is_wrong in (("%s-%d", False), ("%d-%s", True), ("%s-%t", True)):
        combine = {"strategy": "string", "variables": variables, "string": {"fmt": fmt}}
        spec = composition({"patches": [{"type": "CombineFromComposite", "combine": combine, "toFieldPath": "spec.c"}]})
        assert bool(typecheck.check(spec, known).problems) is is_wrong


# --- bases ----------------------------------------------------------------------------------------------------

COMPOSED = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["missing"],
            "properties": {
                "count": {"type": "integer"},
                "share": {"type": "number"},
                "name": {"type": "string"},
                "tier": {"type": "string", "enum": ["small", "large"]},
                "either": {"x-kubernetes-int-or-string": True},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "untyped": {},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "ports": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "integer"}}}},
                "whole": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
                },
            },
        }
    },
}


def of_base(spec, *patches, strict_upstream=False, **more):
    base = {"apiVersion": "a.example.org/v1", "kind": "Y", "spec": spec, **more}
    composition = {
        "compositeTypeRef": {"apiVersion": "a.example.org/v1", "kind": "X"},
        "resources": [{"name": "y", "base": base, "patches": [*patches]}],
    }
    schemas = {
        ("a.example.org/v1", "X"): {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        ("a.example.org/v1", "Y"): COMPOSED,
    }
    return typecheck.check(review(composition).spec, schemas, strict_upstream=strict_upstream)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"nmae": "x"}, 'spec.nmae: spec has no field "nmae" (did you mean name?)'),
        ({"count": "60"}, 'spec.count: spec.count is an integer, and not the string "60" (write 60)'),
        ({"count": 1.5}, "spec.count: spec.count is an integer, and not the number 1.5"),
        ({"name": True}, 'spec.name: spec.name is a string, and not the boolean true (write "true", with the quotes)'),
        ({"tier": "smal"}, 'spec.tier: spec.tier can\'t be the string "smal" (did you mean small?)'),
        ({"ports": {"port": 1}}, "spec.ports: spec.ports is an array, and not an object (write a list)"),
        ({"ports": [{}, {"prot": 1}]}, 'spec.ports[1].prot: spec.ports[1] has no field "prot" (did you mean port?)'),
        ({"labels": {"a": 1}}, 'spec.labels.a: spec.labels.a is a string, and not the integer 1 (write "1", with the quotes)'),
        ({"whole": {"kind": "Z", "spec": {"b": ""}}}, 'spec.whole.spec.b: spec.whole.spec has no field "b" (use one of: a)'),
    ],
)  # fmt: skip
def test_what_a_base_has_and_its_schema_has_not_is_told(spec, said):
    outcome = of_base(spec)
    assert [str(problem) for problem in outcome.bases] == [f"spec.resources[0].base.{said}"]
    assert outcome.problems == []
    assert [outcome.refuses(mode) for mode in typecheck.MODES] == [False, False, True]
    assert of_base(spec, strict_upstream=True).misfits == []


def test_a_base_may_leave_out_what_is_required_and_have_what_fits():
    spec = {
        "count": 1.0,
        "share": 1,
        "name": None,
        "tier": "small",
        "either": "50%",
        "open": {"any": [1]},
        "untyped": {"a": 1},
        "labels": {"a.b/c": "d"},
        "ports": [{"port": 1}, None],
        "whole": {"apiVersion": "v1", "kind": "Z", "metadata": {"name": "z"}, "spec": {}},
    }
    assert of_base(spec, metadata={"labels": {"a": "b"}}).misfits == []
    assert [str(found) for found in of_base({}, metadata={"lables": {}}).bases] == [
        'spec.resources[0].base.metadata.lables: metadata has no field "lables" (did you mean labels?)'
    ]


def test_a_stand_in_for_what_a_patch_writes_is_no_misfit():
    assert of_base({"count": ""}, {"fromFieldPath": "spec.count"}).bases == []
    assert of_base({"count": ""}, {"fromFieldPath": "spec.n", "toFieldPath": "spec.count"}).bases == []
    assert of_base({"count": ""}, {"fromFieldPath": "spec.n", "toFieldPath": "spec.name"}).bases != []
    assert of_base({"count": ""}, {"type": "ToCompositeFieldPath", "fromFieldPath": "spec.count"}).bases != []
