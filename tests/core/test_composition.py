"""Compositions: what is wrong with them, which revision is meant, and their hash."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from groundplane.core import composition, fieldpath
from groundplane.errors import InvalidInput

HASHES = yaml.safe_load((Path(__file__).parents[1] / "vectors/composition/hash.yaml").read_text(encoding="utf-8"))


def base(**more):
    return {"apiVersion": "nop.example.org/v1", "kind": "Nop"} | more


def make(*resources, name="thing", **spec):
    return {
        "apiVersion": composition.API_VERSION,
        "kind": "Composition",
        "metadata": {"name": name, "uid": "uid-1"},
        "spec": {"compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "XThing"}, "resources": list(resources)}
        | spec,
    }


def problems(*resources, **spec):
    review = composition.review(make(*resources, **spec)["spec"])
    return [(problem.type, problem.field) for problem in (*review.shape, *review.sense)]


# --- what is wrong ---------------------------------------------------------------------------------------


def test_a_sound_composition_has_no_problems():
    assert problems({"name": "a", "base": base()}) == []


@pytest.mark.parametrize(
    ("resources", "spec", "expected"),
    [
        ([], {}, [("Required", "spec.resources")]),
        ([], {"mode": "Pipeline"}, [("Required", "spec.pipeline")]),
        ([], {"mode": "Both"}, [("NotSupported", "spec.mode")]),
        ([], {"compositeTypeRef": {"kind": "X"}}, [("Required", "spec.compositeTypeRef.apiVersion")]),
        ([{"name": "a"}], {}, [("Required", "spec.resources[0].base")]),
        ([{"name": "a", "base": {"kind": "A"}}], {}, [("Required", "spec.resources[0].base.apiVersion")]),
        (
            [{"name": "a", "base": {}}],
            {},
            [("Required", f"spec.resources[0].base.{n}") for n in ("apiVersion", "kind")],
        ),
        ([{"name": "a", "base": base(metadata="x")}], {}, [("Invalid", "spec.resources[0].base.metadata")]),
        (
            [{"name": "a", "base": base(metadata={"labels": {"x": 5}})}],
            {},
            [("Invalid", "spec.resources[0].base.metadata")],
        ),
        ([{"name": "a", "base": base()}] * 2, {}, [("Duplicate", "spec.resources[1].name")]),
        ([{"name": "a", "base": base()}, {"base": base()}], {}, [("Required", "spec.resources[1].name")]),
        ([{"base": base()}, {"name": "a", "base": base()}], {}, [("Invalid", "spec.resources[1].name")]),
        (
            [{"name": "a", "base": base(), "patches": [{"type": "PatchSet"}]}],
            {},
            [("Required", "spec.resources[0].patches[0].patchSetName")] * 2,
        ),
        (
            [{"name": "a", "base": base(), "patches": [{"type": "PatchSet", "patchSetName": "x"}]}],
            {},
            [("Invalid", "spec.resources[0].patches[0].patchSetName")],
        ),
        (
            [{"name": "a", "base": base()}],
            {"patchSets": [{"name": "x", "patches": [{"type": "PatchSet", "patchSetName": "x"}, {}]}]},
            [
                ("Invalid", "spec.patchSets[0].patches[0].type"),
                ("Required", "spec.patchSets[0].patches[1].fromFieldPath"),
            ],
        ),
        (
            [{"name": "a", "base": base()}],
            {"pipeline": [{"step": "s", "functionRef": {"name": "f"}}] * 2},
            [("Duplicate", "spec.pipeline[1].step")],
        ),
        (
            [],
            {
                "mode": "Pipeline",
                "pipeline": [
                    {
                        "step": "s",
                        "functionRef": {"name": "f"},
                        "credentials": [{"name": "c", "source": "Secret"}, {"name": "c", "source": "None"}],
                    }
                ],
            },
            [
                ("Required", "spec.pipeline[0].credentials[0].secretRef"),
                ("Duplicate", "spec.pipeline[0].credentials[1].name"),
            ],
        ),
        (
            [{"name": "a", "base": base(), "readinessChecks": [{"type": "MatchString"}]}],
            {},
            [("Required", "spec.resources[0].readinessChecks[0].matchString")],
        ),
        (
            [{"name": "a", "base": base(), "patches": [{"transforms": [{"type": "map"}]}]}],
            {"patchSets": [{"name": "x", "patches": [{"transforms": [{"type": "map"}]}]}]},
            [
                ("Required", "spec.patchSets[0].patches[0].fromFieldPath"),
                ("Required", "spec.resources[0].patches[0].fromFieldPath"),
            ],
        ),
        (
            [{"base": base()}, {"name": "a", "base": base()}, {"base": base()}, {"name": "a", "base": base()}],
            {},
            [("Invalid", "spec.resources[1].name"), ("Invalid", "spec.resources[3].name")],
        ),
        (
            [
                {
                    "name": "a",
                    "base": base(),
                    "patches": [
                        {"type": "CombineFromComposite", "combine": {"strategy": "string", "variables": []}},
                        {"fromFieldPath": 5, "transforms": [{"type": "math", "math": {"multiply": 1.5}}]},
                    ],
                    "connectionDetails": {},
                }
            ],
            {},
            [
                ("TypeInvalid", "spec.resources[0].connectionDetails"),
                ("Invalid", "spec.resources[0].patches[0].combine.variables"),
                ("TypeInvalid", "spec.resources[0].patches[1].fromFieldPath"),
                ("TypeInvalid", "spec.resources[0].patches[1].transforms[0].math.multiply"),
            ],
        ),
    ],
)
def test_each_problem_has_the_type_and_path_that_the_api_server_gives(resources, spec, expected):
    assert problems(*resources, **spec) == expected


def test_all_problems_are_told_at_once_with_their_mends():
    broken = make(
        {
            "name": "a",
            "base": base(),
            "patches": [{"type": "FromCompositFieldPath"}, {"policy": {"fromFieldPath": "Must"}}],
        },
        {"name": "b", "base": base(), "readinessChecks": [{"type": "MatchStrin", "fieldPath": "x"}]},
    )
    with pytest.raises(InvalidInput) as caught:
        composition.compile(broken)
    text = str(caught.value)
    assert text.startswith("Composition thing: spec.resources[0].patches[0].type: unsupported value")
    assert "did you mean FromCompositeFieldPath?" in text
    assert "spec.resources[0].patches[1].policy.fromFieldPath" in text
    assert "did you mean MatchString?" in text


def test_unknown_fields_are_left_out_as_the_api_server_does_and_named():
    compiled = composition.compile(make({"name": "a", "base": base(), "patchs": []}, environment={}))
    assert set(compiled.pruned) == {"spec.environment", "spec.resources[0].patchs"}


def test_a_null_is_as_nothing_at_all():
    source = make({"name": "a", "base": base(metadata=None), "patches": None, "readinessChecks": None}, patchSets=None)
    [template] = composition.compile(source).templates
    assert template.base == base(metadata={})


def test_a_field_named_as_our_union_members_are_takes_nothing_else_with_it():
    source = make({"name": "a", "base": base(), "<map>": 1, "patches": [{"fromFieldPath": "a", "<PatchSet>": {}}]})
    compiled = composition.compile(source)
    assert set(compiled.pruned) == {"spec.resources[0].<map>", "spec.resources[0].patches[0].<PatchSet>"}
    assert len(compiled.templates) == 1


def test_a_function_that_is_not_there_is_an_error_and_never_an_empty_composition():
    pipeline = [{"step": "one", "functionRef": {"name": "function-x"}}]
    with pytest.raises(InvalidInput, match="function-x"):
        composition.compile(make(mode="Pipeline", pipeline=pipeline))


# --- compiling ---------------------------------------------------------------------------------------------


def test_compiling_gives_what_a_reconciler_must_know():
    source = make(
        {"name": "a", "base": base()},
        {"name": "b", "base": {"apiVersion": "v1", "kind": "ConfigMap"}},
        writeConnectionSecretsToNamespace="secrets",
    )
    compiled = composition.compile(source)
    assert compiled.name == "thing"
    assert compiled.kinds == {("nop.example.org/v1", "Nop"), ("v1", "ConfigMap")}
    assert compiled.secrets_namespace == "secrets"
    assert not compiled.keep_host_port
    assert not compiled.is_anonymous


def test_compiling_does_not_change_the_composition():
    source = make({"name": "a", "base": base(metadata={"name": "x"}, spec={"n": 1.0})})
    before = fieldpath.copied(source)
    composition.compile(source)
    assert fieldpath.same(source, before)


def test_a_revision_compiles_as_its_composition_does():
    source = make({"name": "a", "base": base()})
    source["metadata"]["annotations"] = {"groundplane.io/keep-host-port": "true", "other": "x"}
    revision = composition.revision_for(source, 3)
    compiled = composition.compile(revision)
    assert compiled.name == "thing"
    assert compiled.keep_host_port


# --- choosing ----------------------------------------------------------------------------------------------


def test_a_composition_is_for_exactly_one_kind_and_version():
    assert composition.compatible(make(), "example.org/v1", "XThing")
    assert not composition.compatible(make(), "example.org/v2", "XThing")
    assert not composition.compatible(make(), "example.org/v1", "XOther")


def revision(number, uid="uid-1", **labels):
    return {
        "metadata": {"labels": labels, "ownerReferences": [{"uid": uid, "controller": True}]},
        "spec": {"revision": number},
    }


@pytest.mark.parametrize(
    ("policy", "selector", "expected"),
    [
        ("Automatic", {}, 10),
        ("Automatic", {"channel": "stable"}, 9),
        ("Automatic", {"channel": "none"}, None),
        ("Manual", {"channel": "stable"}, 10),
        (None, {"channel": "stable"}, 10),
    ],
)
def test_the_latest_revision_is_chosen_and_labels_count_only_with_policy_automatic(policy, selector, expected):
    known = [revision(9, channel="stable"), revision(10, channel="edge"), revision(11, uid="another")]
    found = composition.select_revision(known, composition_uid="uid-1", policy=policy, selector=selector)
    assert (found and found["spec"]["revision"]) == expected


# --- revisions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", HASHES, ids=lambda row: row["case"])
def test_the_hash_is_upstreams(row):
    assert composition.content_hash({"metadata": row["metadata"], "spec": row["spec"]}) == row["hash"]


def test_whatever_is_no_content_does_not_change_the_hash():
    one, other = make({"name": "a", "base": base()}), make({"name": "a", "base": base()})
    other["metadata"] |= {"uid": "another", "generation": 7, "managedFields": [], "labels": {}}
    other["status"] = {"conditions": []}
    assert composition.content_hash(one) == composition.content_hash(other)
    other["metadata"]["labels"] = {"a": "b"}
    assert composition.content_hash(one) != composition.content_hash(other)


def test_a_revision_is_a_snapshot_that_belongs_to_its_composition():
    source = make({"name": "a", "base": base()})
    source["metadata"] |= {"labels": {"channel": "stable"}, "annotations": {"note": "x"}}
    made = composition.revision_for(source, 4)
    digest = composition.content_hash(source)
    assert made["metadata"] == {
        "name": f"thing-{digest[:7]}",
        "labels": {
            "channel": "stable",
            "crossplane.io/composition-name": "thing",
            "crossplane.io/composition-hash": digest[:63],
        },
        "annotations": {"note": "x"},
        "ownerReferences": [
            {
                "apiVersion": composition.API_VERSION,
                "kind": "Composition",
                "name": "thing",
                "uid": "uid-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert made["spec"] == source["spec"] | {"revision": 4}
    made["spec"]["resources"].append("x")
    assert len(source["spec"]["resources"]) == 1


def test_a_revision_has_the_annotations_as_v2_but_for_those_of_tools():
    source = make({"name": "a", "base": base()})
    tools = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "argocd.argoproj.io/tracking-id": "a"}
    ours = {"groundplane.io/keep-host-port": "true"}
    source["metadata"]["annotations"] = {"note": "x", **ours, **tools}
    assert composition.revision_for(source, 1)["metadata"]["annotations"] == {"note": "x", **ours}
    strict = composition.revision_for(source, 1, strict_upstream=True)
    assert strict["metadata"]["annotations"] == ours, "v1.20 copies none"
