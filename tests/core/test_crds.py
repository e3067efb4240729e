"""The CRDs of core's kinds: what they refuse and fill in, as recorded from upstream, and that they explain themselves."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from groundplane.core import crds, schema, schema_defects
from groundplane.core.crds.upstream import of_upstream
from groundplane.core.rules import RULES
from groundplane.errors import Rejected

VECTORS = Path(__file__).parents[1] / "vectors" / "crds"
ANSWERS = yaml.load((VECTORS / "answers.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
ALL = crds.crds()


def served(found):
    return {
        (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): version["schema"][
            "openAPIV3Schema"
        ]
        for crd in found
        for version in crd["spec"]["versions"]
        if version["served"]
    }


VERSIONS = served(ALL)
UPSTREAM = served(of_upstream(ALL))  # as v1.20, of which the answers are


def admit(obj, old=None, versions=VERSIONS):
    return schema.admit(versions[obj["apiVersion"], obj["kind"]], obj, old=old)


def walk(openapi, path=""):
    yield path, openapi
    for name, child in (openapi.get("properties") or {}).items():
        yield from walk(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(openapi.get(name), dict):
            yield from walk(openapi[name], f"{path}[]")


# --- recorded answers


@pytest.mark.parametrize("row", ANSWERS["admitted"], ids=lambda row: row["case"])
def test_a_manifest_is_stored_with_the_defaults_that_upstream_fills_in(row):
    assert admit(row["object"], versions=UPSTREAM)["spec"] == row["spec"]


@pytest.mark.parametrize("row", ANSWERS["refused"], ids=lambda row: row["case"])
def test_a_manifest_is_refused_as_upstream_refuses_it(row):
    old = admit(row["old"], versions=UPSTREAM) if "old" in row else None
    with pytest.raises(Rejected) as caught:
        admit(row["object"], old, versions=UPSTREAM)
    assert caught.value.what == row["what"]


# --- editing definitions


def definition(api, **spec):
    return {
        "apiVersion": f"apiextensions.crossplane.io/{api}",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": "xthings.example.org"},
        "spec": {"group": "example.org", "names": {"kind": "XThing", "plural": "xthings"}, "versions": [], **spec},
    }


def test_a_definition_keeps_the_scope_that_its_version_implies():
    assert "scope" not in admit(definition("v1"))["spec"]
    assert admit(definition("v2"))["spec"]["scope"] == "Namespaced"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_no_version_gives_a_definition_a_scope_where_all_is_as_v1_20_has_it(version):
    """The garbage collector edits through whichever it has seen first; v1.20 knows no scope."""
    assert "scope" not in admit(definition(version), versions=UPSTREAM)["spec"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"mode": "Pipeline"}, "an array of pipeline steps is required in Pipeline mode"),
        ({}, "an array of pipeline steps is required in Pipeline mode"),
        ({"pipeline": []}, "an array of pipeline steps is required in Pipeline mode"),
        ({"mode": "Pipeline", "pipeline": []}, "an array of pipeline steps is required in Pipeline mode"),
        (
            {
                "mode": "Pipeline",
                "pipeline": [
                    {"step": "a", "functionRef": {"name": "f"}, "credentials": [{"name": "c", "source": "Secret"}]}
                ],
            },
            "the Secret source requires a secretRef",
        ),
    ],
)
def test_a_composition_is_refused_by_the_rules_of_v2_and_only_where_there_are_such(spec, message):
    reference = {"apiVersion": "example.org/v1", "kind": "XThing"}
    found = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "thing"},
        "spec": {"compositeTypeRef": reference, **spec},
    }
    with pytest.raises(Rejected, match=message):
        admit(found)
    assert admit(found, versions=UPSTREAM)


@pytest.mark.parametrize("kind", ["Composition", "CompositionRevision"])
def test_a_composition_has_a_mode_by_default_only_where_there_is_one_mode_that_can_be_meant(kind):
    """control-plane.md §3.1: Resources in v1.20, Pipeline in v2, which a manifest of v2 may leave out."""
    step = {"step": "a", "functionRef": {"name": "f"}}
    reference = {"apiVersion": "example.org/v1", "kind": "XThing"}
    found = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": kind,
        "metadata": {"name": "thing"},
        "spec": {"compositeTypeRef": reference, "pipeline": [step], "revision": 1},
    }
    assert "mode" not in admit(found)["spec"]
    assert admit(found, versions=UPSTREAM)["spec"]["mode"] == "Resources"


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ({"name": "a"}, True),
        ({"matchLabels": {}}, True),
        ({}, False),
        ({"name": "a", "matchLabels": {"b": "c"}}, False),
    ],
)
@pytest.mark.parametrize("kind", ["Composition", "Operation"])
def test_what_a_step_needs_is_named_or_selected(kind, given, is_taken):
    """control-plane.md §3.1: name xor matchLabels."""
    need = {"requirementName": "x", "apiVersion": "v1", "kind": "ConfigMap", **given}
    step = {"step": "a", "functionRef": {"name": "f"}, "requirements": {"requiredResources": [need]}}
    reference = {"compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "XThing"}}
    found = {
        "apiVersion": "apiextensions.crossplane.io/v1" if kind == "Composition" else "ops.crossplane.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "thing"},
        "spec": {**(reference if kind == "Composition" else {}), "mode": "Pipeline", "pipeline": [step]},
    }
    if is_taken:
        assert admit(found)
        return
    with pytest.raises(Rejected, match="either name or matchLabels must be given"):
        admit(found)


def test_an_edit_through_v2_does_not_make_a_legacy_definition_namespaced():
    old = admit(definition("v1"))
    with pytest.raises(Rejected, match=r"edit it as apiextensions\.crossplane\.io/v1"):
        admit(definition("v2", defaultCompositionRef={"name": "a"}), old)
    edited = definition("v2", scope="LegacyCluster", defaultCompositionRef={"name": "a"})
    assert admit(edited, old)["spec"]["scope"] == "LegacyCluster"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"scope": "Namespaced"}, {"scope": "Cluster"}),
        ({}, {"group": "other.org"}),
        ({}, {"names": {"kind": "XOther", "plural": "xthings"}}),
        (
            {"claimNames": {"kind": "Thing", "plural": "things"}},
            {"claimNames": {"kind": "Other", "plural": "others"}},
        ),
        ({"enforcedCompositionRef": {"name": "a"}}, {"enforcedCompositionRef": {"name": "b"}}),
    ],
)
def test_what_a_definition_is_can_not_be_changed(before, after):
    with pytest.raises(Rejected, match="immutable"):
        admit(definition("v1", **after), admit(definition("v1", **before)))


def test_claims_can_be_offered_later_and_an_enforced_composition_set_and_dropped():
    plain = admit(definition("v1"))
    more = definition("v1", claimNames={"kind": "Thing", "plural": "things"}, enforcedCompositionRef={"name": "a"})
    assert admit(plain, admit(more))
    assert admit(more, plain)


@pytest.mark.parametrize("name", ["claimNames", "connectionSecretKeys"])
def test_a_modern_definition_offers_no_claims_and_no_connection_secrets(name):
    value = {"kind": "Thing", "plural": "things"} if name == "claimNames" else ["host"]
    with pytest.raises(Rejected, match=f"{name} is only for scope LegacyCluster"):
        admit(definition("v1", scope="Cluster", **{name: value}))
    assert admit(definition("v1", scope="LegacyCluster", **{name: value}))


# --- how they are served

REVISION_COLUMNS = "HEALTHY REVISION IMAGE STATE DEP-FOUND DEP-INSTALLED AGE"
RUNTIME_COLUMNS = REVISION_COLUMNS.replace("HEALTHY", "HEALTHY RUNTIME-HEALTHY RUNTIME-ACTIVE", 1)
SERVED = {
    "apiextensions.crossplane.io": {
        "CompositeResourceDefinition": ("v1 v2", "xrd xrds", "ESTABLISHED OFFERED AGE"),
        "Composition": ("v1", "comp", "XR-KIND XR-APIVERSION AGE"),
        "CompositionRevision": ("v1 v1beta1", "comprev", "REVISION XR-KIND XR-APIVERSION AGE"),
        "EnvironmentConfig": ("v1beta1 v1alpha1", "envcfg", "AGE"),
        "ManagedResourceActivationPolicy": ("v1alpha1", "mrap", "AGE"),
        "ManagedResourceDefinition": ("v1alpha1", "mrd mrds", "STATE ESTABLISHED AGE"),
        "Usage": ("v1alpha1 v1beta1", "", "DETAILS READY AGE"),
    },
    "protection.crossplane.io": {
        "Usage": ("v1beta1", "", "DETAILS READY AGE"),
        "ClusterUsage": ("v1beta1", "", "DETAILS READY AGE"),
    },
    "pkg.crossplane.io": {
        "Provider": ("v1", "", "INSTALLED HEALTHY PACKAGE AGE"),
        "ProviderRevision": ("v1", "", RUNTIME_COLUMNS),
        "Configuration": ("v1", "", "INSTALLED HEALTHY PACKAGE AGE"),
        "ConfigurationRevision": ("v1", "", REVISION_COLUMNS),
        "Function": ("v1 v1beta1", "", "INSTALLED HEALTHY PACKAGE AGE"),
        "FunctionRevision": ("v1 v1beta1", "", RUNTIME_COLUMNS),
        "Lock": ("v1beta1", "", "AGE"),
        "DeploymentRuntimeConfig": ("v1beta1", "", "AGE"),
        "ImageConfig": ("v1beta1", "", "AGE"),
        "ControllerConfig": ("v1alpha1", "", "AGE"),
    },
    "ops.crossplane.io": {
        "Operation": ("v1alpha1", "ops", "SYNCED SUCCEEDED AGE"),
        "CronOperation": ("v1alpha1", "cronops", "SCHEDULE SYNCED SCHEDULING LAST SCHEDULE LAST SUCCESS AGE"),
        "WatchOperation": ("v1alpha1", "watchops", "KIND COUNT SYNCED WATCHING LAST SCHEDULE LAST SUCCESS AGE"),
    },
    "secrets.crossplane.io": {"StoreConfig": ("v1alpha1", "", "AGE TYPE DEFAULT-SCOPE")},
}


def test_versions_short_names_and_columns_are_upstreams():
    found = {group: {} for group in SERVED}
    for crd in ALL:
        versions = crd["spec"]["versions"]
        columns = [column["name"] for column in versions[0]["additionalPrinterColumns"]]
        names = [version["name"] for version in versions]
        short = crd["spec"]["names"].get("shortNames", [])
        found[crd["spec"]["group"]][crd["spec"]["names"]["kind"]] = (
            " ".join(names),
            " ".join(short),
            " ".join(columns),
        )
    assert found == SERVED


@pytest.mark.parametrize("crd", ALL, ids=lambda crd: crd["metadata"]["name"])
def test_every_kind_is_in_the_category_and_stores_one_version(crd):
    assert "crossplane" in crd["spec"]["names"]["categories"]
    assert [version["storage"] for version in crd["spec"]["versions"]].count(True) == 1
    assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"


# --- schemas


@pytest.mark.parametrize("openapi", VERSIONS.values(), ids=map(" ".join, VERSIONS))
def test_every_schema_is_such_that_the_api_server_takes_it(openapi):
    assert schema_defects.of(openapi) == []


@pytest.mark.parametrize("openapi", VERSIONS.values(), ids=map(" ".join, VERSIONS))
def test_every_rule_holds_in_the_embedded_store_as_well(openapi):
    for path, node in walk(openapi):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["rule"] in RULES, path
            assert rule["message"]


@pytest.mark.parametrize("openapi", VERSIONS.values(), ids=map(" ".join, VERSIONS))
def test_every_field_that_people_write_explains_itself(openapi):
    silent = [
        path
        for path, node in walk(openapi)
        if not node.get("description") and not path.endswith("[]") and path.startswith(".spec")
    ]
    assert silent == []


def test_the_list_is_the_callers_to_change():
    changed = crds.crds()
    changed[0]["spec"]["versions"].clear()
    assert crds.crds() == ALL


def test_no_part_appears_twice_so_that_yaml_has_no_anchors():
    assert "&id" not in yaml.safe_dump_all(copy.copy(ALL))


@pytest.mark.parametrize(
    ("of", "mistake"),
    [
        ({"resourceRef": {"name": "a"}}, None),
        ({"resourceSelector": {"matchLabels": {"a": "b"}}}, None),
        ({}, 'spec.of: Invalid value: "object": either a resource reference or a resource selector should be set.'),
    ],
)
def test_a_usage_says_what_it_is_of(of, mistake):
    usage = {
        "apiVersion": "protection.crossplane.io/v1beta1",
        "kind": "Usage",
        "metadata": {"name": "a"},
        "spec": {"of": {"apiVersion": "v1", "kind": "Secret", **of}, "reason": "needed"},
    }
    if mistake is None:
        assert admit(usage) == usage | {"status": {"observedGeneration": -1}}
    else:
        with pytest.raises(Rejected) as caught:
            admit(usage)
        assert caught.value.what.endswith(mistake)


def test_all_crds_are_established_on_a_real_api_server_and_it_answers_as_we_do(control_plane):
    found = of_upstream(ALL)
    control_plane.install(*found)
    for row in ANSWERS["refused"]:
        if "old" in row:
            continue
        assert row["what"].split(" is invalid: ")[1] in control_plane.judge(row["object"])[1], row["case"]
    for row in ANSWERS["admitted"]:
        stored, refusal = control_plane.judge(row["object"])
        assert refusal == ""
        assert stored["spec"] == row["spec"], row["case"]


EARLIER = [
    (
        {"kind": "Function", "apiVersion": "pkg.crossplane.io/v1beta1", "metadata": {"name": "earlier"}},
        {"package": "xpkg.upbound.io/crossplane-contrib/function-auto-ready:v0.2.1"},
    ),
    (
        {"kind": "FunctionRevision", "apiVersion": "pkg.crossplane.io/v1beta1", "metadata": {"name": "earlier-1"}},
        {"image": "xpkg.upbound.io/acme/function-a:v1", "revision": 1, "desiredState": "Active"},
    ),
    (
        {
            "kind": "CompositionRevision",
            "apiVersion": "apiextensions.crossplane.io/v1beta1",
            "metadata": {"name": "earlier-1a2b3c4"},
        },
        {"compositeTypeRef": {"apiVersion": "a.org/v1", "kind": "XA"}, "revision": 1, "resources": []},
    ),
]


@pytest.mark.parametrize(("head", "spec"), EARLIER, ids=[head["kind"] for head, _ in EARLIER])
def test_a_manifest_of_an_earlier_version_is_the_same_object_in_the_version_that_is_stored(control_plane, head, spec):
    group = head["apiVersion"].partition("/")[0]
    control_plane.install(
        *(crd for crd in ALL if (crd["spec"]["group"], crd["spec"]["names"]["kind"]) == (group, head["kind"]))
    )
    control_plane.apply({**head, "spec": spec})
    name = f"{head['kind'].lower()}s.v1.{group}/{head['metadata']['name']}"
    found = json.loads(control_plane.kubectl("get", name, "-o", "json").stdout)
    assert found["apiVersion"] == f"{group}/v1"
    assert found["spec"].items() >= spec.items()
