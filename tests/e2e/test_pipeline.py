"""A composition of mode Pipeline on a real API server: applied by its manager, and silent when nothing changes."""

from __future__ import annotations

import base64
import copy
import json

import pytest

from tests.definitions import definition
from tests.e2e.conftest import without_aws
from tests.e2e.guide import any_of, at_rest, writes

GROUP = "pipelines.example.org"


def text():
    return {"type": "string"}


XRD = definition("XApp", GROUP, claim="App", spec={"size": text()}, status={"seen": text(), "more": text()})
CLAIM = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "App",
    "metadata": {"name": "shop", "namespace": "team-p"},
    "spec": {"size": "small", "writeConnectionSecretToRef": {"name": "conn"}},
}
SITE = {
    "apiVersion": "apiextensions.crossplane.io/v1beta1",
    "kind": "EnvironmentConfig",
    "metadata": {"name": "site"},
    "data": {"zone": "b"},
}


def patch(source, target, type_="FromCompositeFieldPath"):
    return {"type": type_, "fromFieldPath": source, "toFieldPath": target}


def template(name="settings", *patches, **data):
    """A ConfigMap in the claim's namespace; mode Resources takes no namespace from a base."""
    return {
        "name": name,
        "base": {"apiVersion": "v1", "kind": "ConfigMap", "data": data},
        "patches": [
            patch("spec.claimRef.namespace", "metadata.namespace"),
            patch("spec.size", "data.size"),
            *patches,
        ],
    }


BACK = [
    patch("data.size", "status.seen", "ToCompositeFieldPath"),
    patch("data.old", "status.more", "ToCompositeFieldPath"),
]
ZONE = patch("zone", "data.zone", "FromEnvironmentFieldPath")
DETAILS = {"connectionDetails": [{"name": "url", "type": "FromValue", "value": "https://shop"}]}


def composition(**spec):
    return {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "app"},
        "spec": {"compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "XApp"}} | spec,
    }


def pipeline(*templates):
    def step(name, **given):
        return {"step": name, "functionRef": {"name": f"function-{name}"}} | ({"input": given} if given else {})

    sources = [{"type": "Reference", "ref": {"name": "site"}}]
    return composition(
        mode="Pipeline",
        pipeline=[
            step(
                "environment-configs",
                apiVersion="environmentconfigs.fn.crossplane.io/v1beta1",
                kind="Input",
                spec={"environmentConfigs": sources},
            ),
            step(
                "patch-and-transform",
                apiVersion="pt.fn.crossplane.io/v1beta1",
                kind="Resources",
                resources=list(templates),
            ),
            step("auto-ready"),
        ],
    )


@pytest.fixture(scope="module")
def operator(plane, tmp_path_factory):
    with without_aws(plane, tmp_path_factory.mktemp("pipelines")) as running:
        yield running


@pytest.fixture
def app(plane, operator):
    plane.kubectl("create", "namespace", "team-p", check=False)
    plane.apply(XRD, SITE)
    plane.wait("the claim's kind", lambda: plane.get("apps", "-n", "team-p") is not None)
    yield
    plane.kubectl("delete", f"apps.{GROUP}", "--all", "-n", "team-p", "--wait=false", check=False)
    plane.wait("the app is gone", lambda: not any_of(plane, "xapps"))
    plane.kubectl("delete", f"xrd/xapps.{GROUP}", "composition/app", "environmentconfig/site")
    plane.kubectl("delete", "secret", "conn", "-n", "team-p", "--ignore-not-found")


def settings(plane):
    found = plane.get("configmaps", "-n", "team-p", "-l", "crossplane.io/claim-name=shop")["items"]
    return {item["metadata"]["annotations"]["crossplane.io/composition-resource-name"]: item for item in found}


def is_ready(plane):
    claim = plane.get("app", "shop", "-n", "team-p")
    return {c["type"]: c["status"] for c in claim.get("status", {}).get("conditions", ())} == {
        "Ready": "True",
        "Synced": "True",
    }


def test_a_pipeline_from_claim_to_secret_and_what_leaves_it_leaves_the_cluster(plane, operator, app):
    plane.apply(pipeline(template("settings", ZONE, *BACK, old="x") | DETAILS, template("other")), CLAIM)
    plane.wait("the claim is ready", lambda: is_ready(plane))
    found = settings(plane)
    assert found["settings"]["data"] == {"old": "x", "size": "small", "zone": "b"}
    secret = plane.wait("the Secret", lambda: plane.get("secret", "conn", "-n", "team-p"))
    assert base64.b64decode(secret["data"]["url"]).decode() == "https://shop"
    plane.wait("the status", lambda: plane.get("app", "shop", "-n", "team-p")["status"].get("more") == "x")

    at_rest(plane)
    mark = len(plane.requests())
    plane.kubectl("annotate", "app", "shop", "-n", "team-p", "example.org/a=b", "--overwrite")
    at_rest(plane)
    written = {each.split()[1] for each in writes(plane, mark)} - {"events/"}  # events come when there is time for them
    assert written <= {"xapps/"}, "only the annotation goes to the composite"

    plane.apply({**SITE, "data": {"zone": "c"}})
    plane.wait("the new zone", lambda: settings(plane)["settings"]["data"]["zone"] == "c")
    plane.apply(pipeline(template("settings", *BACK) | DETAILS))
    plane.wait("the other one is gone", lambda: "other" not in settings(plane))
    plane.wait("fields are gone", lambda: settings(plane)["settings"]["data"] == {"size": "small"})
    assert settings(plane)["settings"]["metadata"]["uid"] == found["settings"]["metadata"]["uid"]
    plane.wait("the status is gone", lambda: "more" not in plane.get("app", "shop", "-n", "team-p")["status"])
    plane.wait("the claim is ready", lambda: is_ready(plane))


def test_functions_that_are_built_in_select_filter_and_sequence_and_deletion_goes_backwards(plane, operator, app):
    held = template("held", size="x")
    held["base"]["metadata"] = {"finalizers": ["example.org/held"]}
    wanted = pipeline(template("settings"), held, template("never"))
    steps = wanted["spec"]["pipeline"]
    site = {"into": "site", "apiVersion": SITE["apiVersion"], "kind": SITE["kind"], "ref": {"name": "site"}}
    inputs = {
        "extra-resources": {"spec": {"extraResources": [site]}},
        "cel-filter": {
            "filters": [
                {
                    "name": "never",
                    "expression": "context['apiextensions.crossplane.io/extra-resources'].site[0].data.zone != 'b'",
                }
            ]
        },
        "sequencer": {"rules": [{"sequence": ["settings", "held"]}], "resetCompositeReadiness": True},
    }
    for name, given in inputs.items():
        given |= {"apiVersion": f"{name}.fn.crossplane.io/v1beta1", "kind": "Input"}
        steps.append({"step": name, "functionRef": {"name": f"function-{name}"}, "input": given})
    plane.apply(wanted, CLAIM)
    plane.wait("the claim is ready", lambda: is_ready(plane))
    assert settings(plane).keys() == {"settings", "held"}
    assert (
        settings(plane)["settings"]["metadata"]["creationTimestamp"]
        <= settings(plane)["held"]["metadata"]["creationTimestamp"]
    )
    plane.kubectl("delete", "app", "shop", "-n", "team-p", "--wait=false")
    plane.wait("what was made last goes first", lambda: settings(plane)["held"]["metadata"].get("deletionTimestamp"))
    assert not settings(plane)["settings"]["metadata"].get("deletionTimestamp")
    free = json.dumps({"metadata": {"finalizers": None}})
    name = settings(plane)["held"]["metadata"]["name"]
    plane.kubectl("patch", "configmap", name, "-n", "team-p", "--type=merge", "-p", free)
    plane.wait("the rest goes", lambda: not settings(plane))


def test_a_composition_of_mode_resources_becomes_a_pipeline(plane, operator, app):
    ready = {"readinessChecks": [{"type": "None"}]}
    plane.apply(composition(mode="Resources", resources=[template("settings", *BACK, old="x") | ready]), CLAIM)
    plane.wait("the claim is ready", lambda: is_ready(plane))
    before = settings(plane)["settings"]
    plane.wait("the status", lambda: plane.get("app", "shop", "-n", "team-p")["status"].get("more") == "x")
    plane.apply(pipeline(template("settings", *BACK, old="x")))
    plane.wait(
        "the pipeline's manager",
        lambda: any(
            entry["manager"].startswith("apiextensions.crossplane.io/composed/")
            for entry in plane.get("configmap", before["metadata"]["name"], "-n", "team-p", "--show-managed-fields")[
                "metadata"
            ]["managedFields"]
        ),
    )
    plane.wait("the claim is ready", lambda: is_ready(plane))
    plane.apply(pipeline(template("settings", *BACK)))
    plane.wait("the field is gone", lambda: settings(plane)["settings"]["data"] == {"size": "small"})
    plane.wait("the status is gone", lambda: "more" not in plane.get("app", "shop", "-n", "team-p")["status"])
    assert settings(plane)["settings"]["metadata"]["uid"] == before["metadata"]["uid"]
    at_rest(plane)
    mark = len(plane.requests())
    operator.stop()
    operator.start()
    plane.wait("it leads", operator.leads)
    at_rest(plane)
    assert [each for each in writes(plane, mark) if "events" not in each] == []


def test_a_field_that_leaves_in_the_same_moment_as_mode_resources_leaves_the_object(plane, operator, app):
    ready = {"readinessChecks": [{"type": "None"}]}
    plane.apply(composition(mode="Resources", resources=[template("settings", *BACK, old="x") | ready]), CLAIM)
    plane.wait("the claim is ready", lambda: is_ready(plane))
    plane.wait("the status", lambda: plane.get("app", "shop", "-n", "team-p")["status"].get("more") == "x")
    before = settings(plane)["settings"]
    plane.kubectl("annotate", "configmap", before["metadata"]["name"], "-n", "team-p", "example.org/theirs=kept")
    plane.apply(pipeline(template("settings", *BACK)), {**CLAIM, "spec": {**CLAIM["spec"], "size": "large"}})
    plane.wait("the field is gone", lambda: settings(plane)["settings"]["data"] == {"size": "large"})
    plane.wait("the status is gone", lambda: "more" not in plane.get("app", "shop", "-n", "team-p")["status"])
    after = settings(plane)["settings"]["metadata"]
    assert after["uid"] == before["metadata"]["uid"]
    assert after["annotations"]["example.org/theirs"] == "kept"
    plane.wait("the claim is ready", lambda: is_ready(plane))


def test_what_leaves_a_claim_leaves_a_composite_that_plain_updates_wrote(plane, operator, app):
    plane.apply(pipeline(template("settings", *BACK)))
    reference = {"apiVersion": f"{GROUP}/v1", "kind": "App", "namespace": "team-p", "name": "shop"}
    written = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "XApp",
        "metadata": {"name": "older", "labels": {"team": "a", "tier": "gold"}},
        "spec": {"size": "small", "claimRef": reference},
    }
    plane.kubectl("create", "--field-manager=crossplane", "-f", "-", input=json.dumps(written))
    claim = {**CLAIM, "metadata": {**CLAIM["metadata"], "labels": {"team": "a", "tier": "gold"}}}
    claim["spec"] = {**CLAIM["spec"], "resourceRef": {"apiVersion": f"{GROUP}/v1", "kind": "XApp", "name": "older"}}
    plane.apply(claim)
    plane.wait("the claim is ready", lambda: is_ready(plane))
    del claim["metadata"]["labels"]["tier"]
    plane.apply(claim)
    plane.wait("the label is gone", lambda: "tier" not in plane.get("xapp", "older")["metadata"]["labels"])
    assert plane.get("xapp", "older")["metadata"]["labels"]["team"] == "a"


def test_a_field_with_a_default_that_a_definition_gains_reaches_all_that_is_there(plane, operator, app):
    tier = patch("spec.tier", "data.tier")
    plane.apply(pipeline(template("settings", *BACK, tier)), CLAIM)
    plane.wait("the claim is ready", lambda: is_ready(plane))
    changed = copy.deepcopy(XRD)
    schema = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["tier"] = text() | {"default": "gold"}
    plane.apply(changed)
    plane.wait("it is composed", lambda: settings(plane)["settings"]["data"].get("tier") == "gold")
    plane.wait("the claim is ready", lambda: is_ready(plane))


def test_a_storm_of_changes_opens_the_circuit_of_its_composite_which_says_so_and_still_mends_drift(
    plane, operator, app
):
    plane.apply(pipeline(template("settings", *BACK, old="x") | DETAILS), CLAIM)
    plane.wait("the claim is ready", lambda: is_ready(plane))
    [composite] = plane.get("xapps")["items"]
    key = composite["metadata"]["name"]

    def responsive():
        found = plane.get("xapp", key)["status"]["conditions"]
        return next((c["status"], c["reason"]) for c in found if c["type"] == "Responsive")

    assert responsive() == ("True", "WatchCircuitClosed")
    name = settings(plane)["settings"]["metadata"]["name"]
    metadata = {"name": name, "namespace": "team-p"}
    for number in range(70):
        annotations = {"example.org/n": str(number)}
        plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, "annotations": annotations}})
    plane.wait("it says so", lambda: responsive() == ("False", "WatchCircuitOpen"))
    plane.kubectl("patch", "configmap", name, "-n", "team-p", "-p", '{"data": {"old": "y"}}')
    plane.wait("drift is mended", lambda: settings(plane)["settings"]["data"]["old"] == "x")
