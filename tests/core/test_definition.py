"""Definitions: CRDs recorded from upstream, and what a definition may not say (tests/vectors/definition)."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from groundplane.core import crds, definition, definition_crds, schema, schema_defects
from groundplane.errors import InvalidInput

VECTORS = Path(__file__).parents[1] / "vectors" / "definition"
RECORDED = yaml.load((VECTORS / "recorded.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
REFUSED = yaml.load((VECTORS / "refused.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "string"}}}}}


def xrd(*, name="xthings.example.org", api="v1", **spec):
    version = {"name": "v1", "served": True, "referenceable": True, "schema": {"openAPIV3Schema": SCHEMA}}
    names = {"kind": "XThing", "plural": "xthings"}
    return {
        "apiVersion": f"apiextensions.crossplane.io/{api}",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": name, "uid": "u1"},
        "spec": {"group": "example.org", "names": names, "versions": [version], **spec},
    }


def without_prose(value, *, in_properties=False):
    if isinstance(value, dict):
        return {
            name: without_prose(item, in_properties=name == "properties" and not in_properties)
            for name, item in value.items()
            if in_properties or name != "description" or not isinstance(item, str)
        }
    return [without_prose(item) for item in value] if isinstance(value, list) else value


def schema_of(crd, version=0):
    return crd["spec"]["versions"][version]["schema"]["openAPIV3Schema"]


@pytest.mark.parametrize("side", ["composite", "claim"])
def test_the_crds_are_those_that_upstream_made(side):
    make = definition_crds.composite_crd if side == "composite" else definition_crds.claim_crd
    made = make(RECORDED["definition"], strict_upstream=True)
    made["spec"]["conversion"] = {"strategy": "None"}  # filled in by the API server
    assert without_prose(made) == without_prose(RECORDED[side])


@pytest.mark.parametrize("properties", ["spec", ["spec"], {"spec": "size"}, {"spec": ["size"]}, {"status": 7}])
def test_a_schema_that_is_none_is_refused_instead_of_dropping_all_that_claims_ask_for(properties):
    version = {"name": "v1", "served": True, "referenceable": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    with pytest.raises(InvalidInput, match=r"version v1: schema.openAPIV3Schema.properties.* wants a map, got"):
        definition_crds.composite_crd(xrd(versions=[version | {"schema": schema}]))


def test_what_the_user_says_about_fields_stays():
    made = schema_of(definition_crds.composite_crd(RECORDED["definition"], strict_upstream=True), 1)
    assert made["description"] == "A rich thing."
    assert made["properties"]["spec"]["description"] == "What is wanted."
    assert made["properties"]["spec"]["properties"]["size"]["description"] == "How big."


def test_without_strictness_conditions_have_their_generation_and_rules_at_the_root_stay():
    made = schema_of(definition_crds.composite_crd(RECORDED["definition"]), 1)
    condition = schema.lookup(made, ["status", "conditions", 0, "observedGeneration"])
    assert (condition["type"], condition["format"]) == ("integer", "int64")
    assert made["x-kubernetes-validations"] == [{"rule": "self.metadata.name != 'no'", "message": "root rule"}]


def test_the_definition_is_not_touched():
    before = copy.deepcopy(RECORDED["definition"])
    made = definition_crds.composite_crd(RECORDED["definition"])
    schema_of(made, 1)["properties"]["spec"]["properties"]["size"]["enum"].append("huge")
    made["spec"]["names"]["shortNames"].append("x")
    assert RECORDED["definition"] == before


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["case"])
def test_a_definition_that_no_crd_can_be_made_of_is_refused_with_a_mend(row):
    spec = {name: row[name] for name in ("versions", "claimNames") if name in row}
    wrong = xrd(name=row.get("name", "xthings.example.org"), **spec)
    make = definition_crds.claim_crd if row.get("side") == "claim" else definition_crds.composite_crd
    with pytest.raises(InvalidInput) as caught:
        make(wrong)
    assert (caught.value.what, caught.value.mend) == (row["what"], row["mend"])
    if row.get("strict"):
        with pytest.raises(InvalidInput) as caught:
            make(wrong, strict_upstream=True)
        assert row["strict"] in str(caught.value)
    else:
        assert make(wrong, strict_upstream=True)["kind"] == "CustomResourceDefinition"


def test_an_error_says_where_it_is():
    nothing = {"name": "v1", "served": True, "referenceable": True}
    with pytest.raises(InvalidInput) as caught:
        definition_crds.composite_crd(xrd(versions=[nothing]))
    assert str(caught.value) == (
        'cannot generate CRD for "Composite Resource" "xthings.example.org": version v1:'
        " custom resource validation cannot be nil. Mend: give version v1 a schema.openAPIV3Schema."
    )


# --- scopes


@pytest.mark.parametrize(
    ("scope", "api", "crd_scope", "found"),
    [
        (None, "v1", "Cluster", "LegacyCluster"),
        ("LegacyCluster", "v2", "Cluster", "LegacyCluster"),
        ("Cluster", "v1", "Cluster", "Cluster"),
        ("Namespaced", "v1", "Namespaced", "Namespaced"),
        (None, "v2", "Namespaced", "Namespaced"),
    ],
)
def test_the_scope_decides_where_composites_live_and_where_their_machinery_is(scope, api, crd_scope, found):
    declared = xrd(api=api, **({"scope": scope} if scope else {}))
    known = definition.read(declared)
    crd = definition_crds.composite_crd(declared)
    fields = schema_of(crd)["properties"]["spec"]["properties"]
    assert (known.scope, crd["spec"]["scope"]) == (found, crd_scope)
    assert ("compositionRef" in fields) is known.is_legacy
    assert ("crossplane" in fields) is not known.is_legacy
    composite = {"spec": {"size": "small"}}
    known.machinery(composite)["compositionRef"] = {"name": "a"}
    place = composite["spec"] if known.is_legacy else composite["spec"]["crossplane"]
    assert place["compositionRef"] == {"name": "a"}


def references(**spec):
    declared = xrd(**spec)
    legacy = definition.read(declared).is_legacy
    path = ["spec", *([] if legacy else ["crossplane"]), "resourceRefs", 0]
    return set(schema.lookup(schema_of(definition_crds.composite_crd(declared)), path)["properties"])


def test_composed_resources_of_a_namespaced_composite_are_in_its_own_namespace():
    assert references(scope="Namespaced") == {"apiVersion", "kind", "name"}
    assert references(scope="Cluster") == {"apiVersion", "kind", "name", "namespace"}
    assert references() == {"apiVersion", "kind", "name", "namespace"}


@pytest.mark.parametrize("scope", ["Namespaced", "Cluster"])
def test_a_modern_composite_has_no_claim_and_no_connection_secret(scope):
    declared = xrd(scope=scope, claimNames={"kind": "Thing", "plural": "things"}, connectionSecretKeys=["a"])
    made = schema_of(definition_crds.composite_crd(declared))
    for path in (["claimRef"], ["writeConnectionSecretToRef"]):
        with pytest.raises(InvalidInput, match="has no field"):
            schema.lookup(made, ["spec", "crossplane", *path])
    assert set(made["properties"]["status"]["properties"]) == {
        "composed",
        "conditions",
        "lastHandledReconcileAt",
        "observedGeneration",
    }
    assert definition_crds.claim_crd(declared) is None
    assert definition.read(declared).connection_secret_keys == ()


def test_the_columns_of_a_modern_composite_look_into_its_machinery():
    [version] = definition_crds.composite_crd(xrd(scope="Namespaced"))["spec"]["versions"]
    columns = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}
    assert columns["COMPOSITION"] == ".spec.crossplane.compositionRef.name"
    assert columns["COMPOSITIONREVISION"] == ".spec.crossplane.compositionRevisionRef.name"


# --- details


@pytest.mark.parametrize(("longest", "limit"), [(None, 63), (20, 20), (100, 63), ("long", 63)])
def test_a_name_fits_into_a_label(longest, limit):
    rules = {} if longest is None else {"maxLength": longest}
    names = {"type": "object", "properties": {"name": {"type": "string", **rules}}}
    version = {
        "name": "v1",
        "served": True,
        "referenceable": True,
        "schema": {"openAPIV3Schema": {"properties": {"metadata": names}}},
    }
    made = schema_of(definition_crds.composite_crd(xrd(versions=[version])))
    assert made["properties"]["metadata"]["properties"]["name"] == {"type": "string", "maxLength": limit}


def test_a_spec_that_is_no_object_becomes_one():
    version = {
        "name": "v1",
        "served": True,
        "referenceable": True,
        "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "string"}, "status": {"type": "string"}}}},
    }
    made = schema_of(definition_crds.composite_crd(xrd(versions=[version])))
    assert made["properties"]["spec"]["type"] == "object"
    assert made["properties"]["status"]["type"] == "object"


def test_conversion_and_scale_are_copied():
    scale = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}
    declared = xrd(conversion={"strategy": "None"})
    declared["spec"]["versions"][0]["subresources"] = {"scale": scale}
    made = definition_crds.composite_crd(declared)
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert made["spec"]["versions"][0]["subresources"] == {"status": {}, "scale": scale}


def test_a_category_is_not_added_twice():
    names = {"kind": "XThing", "plural": "xthings", "categories": ["composite", "mine"]}
    assert definition_crds.composite_crd(xrd(names=names))["spec"]["names"]["categories"] == ["composite", "mine"]


def test_a_manifest_that_no_api_server_has_seen_owns_nothing():
    declared = xrd()
    del declared["metadata"]["uid"]
    assert "ownerReferences" not in definition_crds.composite_crd(declared)["metadata"]


def test_the_owner_is_named_as_v1_whatever_version_it_was_read_at():
    [owner] = definition_crds.composite_crd(xrd(api="v2"))["metadata"]["ownerReferences"]
    assert owner["apiVersion"] == "apiextensions.crossplane.io/v1"


def test_no_claim_names_no_claim():
    assert definition_crds.claim_crd(xrd()) is None
    assert definition.read(xrd()).claim_kind is None


def test_everything_that_reconcilers_ask_for_is_read():
    known = definition.read(RECORDED["definition"])
    assert known == definition.Definition(
        name="xthings.example.org",
        group="example.org",
        kind="XThing",
        plural="xthings",
        version="v1",
        scope="LegacyCluster",
        versions=("example.org/v1alpha1", "example.org/v1"),
        served=("example.org/v1alpha1", "example.org/v1"),
        claim_kind="Thing",
        claim_plural="things",
        connection_secret_keys=("username", "password"),
        default_composition="thing",
        default_update_policy="Manual",
        default_delete_policy="Foreground",
        status_fields=frozenset({"address", "conditions", "more", "phase"}),
    )
    assert known.api_version == "example.org/v1"
    assert not known.enforces_composition


def test_policies_and_references_are_read_where_they_are():
    known = definition.read(
        xrd(
            enforcedCompositionRef={"name": "only"},
            defaultCompositionRevisionSelector={"matchLabels": {"channel": "stable"}},
        )
    )
    assert known.enforces_composition
    assert known.enforced_composition == "only"
    assert known.default_revision_labels == {"channel": "stable"}


def test_an_enforced_composition_without_a_name_is_no_free_choice():
    assert definition.read(xrd(enforcedCompositionRef={"name": ""})).enforces_composition


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"spec": None},
        {"spec": {"names": "x", "claimNames": [], "versions": ["x"]}},
        {"spec": {"names": {"kind": [1]}, "claimNames": {"kind": {}}, "versions": 5, "connectionSecretKeys": 5}},
    ],
)
def test_a_broken_definition_can_still_be_read_and_so_deleted(broken):
    known = definition.read({"metadata": {"name": "x"}, **broken})
    assert (known.name, known.version, known.claim_kind) == ("x", "", None)


def test_generated_schemas_are_such_that_the_api_server_takes_them():
    for scope in ("LegacyCluster", "Namespaced", "Cluster"):
        declared = xrd(scope=scope, claimNames={"kind": "Thing", "plural": "things"})
        for crd in (definition_crds.composite_crd(declared), definition_crds.claim_crd(declared)):
            if crd is not None:
                assert schema_defects.of(schema_of(crd)) == []


# --- keys of other tools

FOREIGN = {
    "x-ui-order": ["a", "b"],
    "x-ui-hidden": True,
    "x-acme": {"type": "object"},
    "readOnly": True,
    "examples": [1],
}
MARKED = {
    "type": "object",
    **FOREIGN,
    "properties": {
        "spec": {
            "type": "object",
            **FOREIGN,
            "x-kubernetes-validations": [{"rule": "self.a != 'z'", "message": "not z"}],
            "properties": {
                "a": {"type": "string", "default": "b", **FOREIGN},
                "x-ui-order": {"type": "integer", "x-ui-order": 1},
                "list": {"type": "array", "items": {"type": "string", **FOREIGN}, "x-kubernetes-list-type": "set"},
                "table": {"type": "object", "additionalProperties": {"type": "string", **FOREIGN}, **FOREIGN},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "default": {"x-ui-order": 1}},
                "size": {
                    "type": "integer",
                    "allOf": [{"minimum": 1, **FOREIGN}, {"not": {"enum": [5], **FOREIGN}}],
                    "anyOf": [{"maximum": 9, **FOREIGN}],
                    "oneOf": [{"multipleOf": 1, **FOREIGN}],
                },
            },
        },
        "status": {"type": "object", "properties": {"b": {"type": "string", **FOREIGN}}},
    },
}
CLEAN = {
    "a": {"type": "string", "default": "b"},
    "x-ui-order": {"type": "integer"},
    "list": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    "table": {"type": "object", "additionalProperties": {"type": "string"}},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "default": {"x-ui-order": 1}},
    "size": {
        "type": "integer",
        "allOf": [{"minimum": 1}, {"not": {"enum": [5]}}],
        "anyOf": [{"maximum": 9}],
        "oneOf": [{"multipleOf": 1}],
    },
}


def marked():
    found = xrd(claimNames={"kind": "Thing", "plural": "things"})
    found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = copy.deepcopy(MARKED)
    return found


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("make", [definition_crds.composite_crd, definition_crds.claim_crd])
def test_keys_that_the_api_server_does_not_know_are_left_out_wherever_they_are(make, strict):
    declared = marked()
    spec = schema_of(make(declared, strict_upstream=strict))["properties"]["spec"]
    assert {name: spec["properties"][name] for name in CLEAN} == CLEAN
    assert spec["x-kubernetes-validations"] == MARKED["properties"]["spec"]["x-kubernetes-validations"]
    assert schema_defects.without_foreign_keys(spec) == spec
    assert declared == marked()


@pytest.mark.parametrize(
    ("key", "meant"), [("requierd", "required"), ("x-kubernetes-validation", "x-kubernetes-validations")]
)
def test_a_misspelt_key_is_named_instead_of_left_out(key, meant):
    declared = marked()
    declared["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["a"][key] = []
    with pytest.raises(InvalidInput, match=f"properties\\[a\\].{key}: unknown field, did you mean {meant}"):
        definition_crds.composite_crd(declared)
    assert definition_crds.composite_crd(declared, strict_upstream=True)


def test_a_real_api_server_keeps_them_on_the_definition_and_takes_the_kind(control_plane):
    declared = marked()
    declared["metadata"] = {"name": "xmarkeds.marked.example.org"}
    declared["spec"] |= {
        "group": "marked.example.org",
        "names": {"kind": "XMarked", "plural": "xmarkeds"},
        "claimNames": {"kind": "Marked", "plural": "markeds"},
    }
    [ours] = [crd for crd in crds.crds() if crd["spec"]["names"]["kind"] == "CompositeResourceDefinition"]
    control_plane.install(ours)
    control_plane.apply(declared)
    name = "compositeresourcedefinitions.v1.apiextensions.crossplane.io/xmarkeds.marked.example.org"
    found = json.loads(control_plane.kubectl("get", name, "-o", "json").stdout)
    assert found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == MARKED
    for crd in (definition_crds.composite_crd(found), definition_crds.claim_crd(found)):
        crd["metadata"].pop("ownerReferences")
        control_plane.install(crd)
