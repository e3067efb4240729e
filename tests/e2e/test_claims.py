"""Claims that live through what people do to them and to their definition, on a real API server; no AWS is needed.

The store's rules are ours; these are the ones that the API server's own field ownership, versions and watches decide.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from groundplane.cli import argocd_health
from groundplane.core import conditions
from tests import gitops
from tests.e2e import guide
from tests.e2e.conftest import without_aws

GROUP, TEAM, NAME = "claims.example.org", "team-claims", "shop"
XRD = f"xapps.{GROUP}"
OBJECT = {"type": "object"}
SCHEMA = OBJECT | {"properties": {"spec": OBJECT | {"properties": {"size": {"type": "string"}}}}}


def definition(referenceable="v1"):
    """Of two served versions."""
    versions = [
        {"name": name, "served": True, "referenceable": name == referenceable, "schema": {"openAPIV3Schema": SCHEMA}}
        for name in ("v1", "v2")
    ]
    names = {"names": {"kind": "XApp", "plural": "xapps"}, "claimNames": {"kind": "App", "plural": "apps"}}
    return {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": XRD},
        "spec": {"group": GROUP, **names, "versions": versions},
    }


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def composition(edition="1"):
    """Composes one Opaque Secret, a kind that nobody follows."""
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"edition": encoded(edition)}}
    to_base64 = [{"type": "string", "string": {"type": "Convert", "convert": "ToBase64"}}]
    patches = [
        {"fromFieldPath": "spec.claimRef.namespace", "toFieldPath": "metadata.namespace"},
        {"fromFieldPath": "spec.size", "toFieldPath": "data.size", "transforms": to_base64},
    ]
    patches = [{"type": "FromCompositeFieldPath", **patch} for patch in patches]
    template = {"name": "app", "base": secret, "patches": patches, "readinessChecks": [{"type": "None"}]}
    return {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "claims"},
        "spec": {"compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "XApp"}, "resources": [template]},
    }


def claim(**spec):
    metadata = {"name": NAME, "namespace": TEAM}
    return {"apiVersion": f"{GROUP}/v1", "kind": "App", "metadata": metadata, "spec": {"size": "small"} | spec}


class Team:
    """What a member of the team sees."""

    def __init__(self, plane):
        self.plane = plane

    def claim(self):
        return self.plane.get(f"apps.{GROUP}", NAME, "-n", TEAM)

    def composites(self):
        return self.plane.get(f"xapps.{GROUP}")["items"]

    def is_ready(self):
        conditions = (self.claim() or {}).get("status", {}).get("conditions", ())
        return {each["type"]: each["status"] for each in conditions} == {"Ready": "True", "Synced": "True"}

    def secrets(self):
        return self.plane.get("secrets", "-n", TEAM, "-l", f"crossplane.io/claim-name={NAME}")["items"]

    def wait_composed(self, **wanted):
        """Until the claim is ready and its one Secret holds this."""

        def composed():
            found = [{k: base64.b64decode(v).decode() for k, v in each["data"].items()} for each in self.secrets()]
            return found == [wanted] and self.is_ready()

        self.plane.wait(f"ready, and composed with {wanted}", composed)


@pytest.fixture(scope="module")
def team(plane, tmp_path_factory):
    with without_aws(plane, tmp_path_factory.mktemp("claims")):
        plane.kubectl("create", "namespace", TEAM, check=False)
        plane.apply(definition(), composition())
        plane.wait("the claim's kind", lambda: plane.get(f"apps.{GROUP}") is not None)
        yield Team(plane)
        plane.kubectl("delete", f"xrd/{XRD}", "composition/claims")


@pytest.fixture
def shop(team):
    """The team, with one claim that is ready; after, nothing of it may be left."""
    team.plane.apply(definition(), composition(), claim())
    team.wait_composed(edition="1", size="small")
    yield team
    team.plane.kubectl("delete", f"apps.{GROUP}", NAME, "-n", TEAM, "--timeout=180s")
    team.plane.wait("nothing is left", lambda: not team.composites() and not team.secrets())


def test_a_claim_of_manual_with_a_revision_that_is_applied_automatic_without_one_follows_the_newest(shop):
    revision = shop.claim()["spec"]["compositionRevisionRef"]
    shop.plane.apply(claim(compositionUpdatePolicy="Manual", compositionRevisionRef=revision))
    shop.plane.apply(composition("2"))
    shop.plane.apply(claim(size="large", compositionUpdatePolicy="Manual", compositionRevisionRef=revision))
    shop.wait_composed(edition="1", size="large")
    shop.plane.apply(claim(size="large", compositionUpdatePolicy="Automatic"))
    shop.wait_composed(edition="2", size="large")
    shop.plane.apply(composition("3"))
    shop.wait_composed(edition="3", size="large")
    shop.plane.wait(
        "the claim names the newest revision",
        lambda: (
            shop.claim()["spec"]["compositionRevisionRef"] == shop.composites()[0]["spec"]["compositionRevisionRef"]
        ),
    )
    assert shop.claim()["spec"]["compositionRevisionRef"]["name"] != revision["name"]


def test_a_claim_goes_on_when_another_version_becomes_the_referenceable_one(shop):
    [before] = shop.composites()
    shop.plane.apply(definition(referenceable="v2"))
    shop.plane.wait(
        "the claim refers to it by the new version",
        lambda: shop.claim()["spec"]["resourceRef"]["apiVersion"] == f"{GROUP}/v2",
    )
    shop.plane.apply(claim(size="large") | {"apiVersion": f"{GROUP}/v2"})
    shop.wait_composed(edition="1", size="large")
    [after] = shop.composites()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["claimRef"]["apiVersion"] == f"{GROUP}/v2"


@pytest.mark.parametrize("drift", ['{"data":{"size":"eA=="}}', '{"data":{"size":null}}'], ids=["edited", "removed"])
def test_a_composed_secret_that_somebody_changes_is_repaired_at_once(shop, drift):
    [secret] = shop.secrets()
    shop.plane.kubectl("patch", "secret", secret["metadata"]["name"], "-n", TEAM, "--type=merge", "-p", drift)
    shop.wait_composed(edition="1", size="small")


def test_a_composed_secret_that_somebody_deletes_is_made_again_at_once(shop):
    [secret] = shop.secrets()
    shop.plane.kubectl("delete", "secret", secret["metadata"]["name"], "-n", TEAM)
    shop.wait_composed(edition="1", size="small")
    [again] = shop.secrets()
    assert again["metadata"]["name"] == secret["metadata"]["name"]


# --- GitOps

ARGO = {"argocd.argoproj.io/tracking-id": f"shop:{GROUP}/App:{TEAM}/{NAME}"}
ARGO_LABELS = {"app.kubernetes.io/instance": "shop", "argocd.argoproj.io/instance": "shop"}
FLUX = {"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
FORCED = ("--server-side", "--force-conflicts", "--field-manager")
WAYS = {  # how somebody applies, and what the tool adds: labels, annotations
    "kubectl": ((), {}, {}),
    "kubectl, server-side": (("--server-side", "--force-conflicts"), {}, {}),
    "Argo CD": ((*FORCED, "argocd-controller"), ARGO_LABELS, ARGO),
    "Flux": ((*FORCED, "kustomize-controller"), FLUX, {}),
}


def marked(obj, labels, annotations):
    return obj | {"metadata": obj["metadata"] | {"labels": labels, "annotations": annotations}}


@pytest.mark.parametrize("times", [5, pytest.param(250, marks=pytest.mark.soak)])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_applied_again_in_a_tools_way_takes_no_write_and_its_marks_go_no_further(shop, way, times):
    options, labels, annotations = WAYS[way]
    objects = [marked(each, labels, annotations) for each in (definition(), composition(), claim())]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})

    def applied():
        shop.plane.kubectl("apply", *options, "-f", "-", input=manifest)

    applied()
    shop.wait_composed(edition="1", size="small")
    guide.at_rest(shop.plane)
    before, began = len(shop.plane.requests()), conditions.timestamp(datetime.now(UTC))
    for _ in range(times):
        applied()
    guide.at_rest(shop.plane)
    # What happened before is counted in its event five minutes later: that is told by its time.
    assert [each for each in guide.writes(shop.plane, before) if not each.startswith("patch events/")] == []
    assert [each for each in shop.plane.get("events", "-A")["items"] if (each["lastTimestamp"] or "") > began] == []

    made = [
        *shop.composites(),
        *shop.secrets(),
        shop.plane.get(f"crd/apps.{GROUP}"),
        shop.plane.get(f"crd/xapps.{GROUP}"),
    ]
    made += shop.plane.get("compositionrevisions")["items"]
    keys = {key for each in made for part in ("labels", "annotations") for key in each["metadata"].get(part) or ()}
    assert not keys & {*ARGO, *ARGO_LABELS, *FLUX}
    shown = shop.plane.get(f"apps.{GROUP}", NAME, "-n", TEAM, "--show-managed-fields")
    theirs = [each for each in shown["metadata"]["managedFields"] if each["manager"] in options]
    assert len(theirs) == len(options[3:])  # a manager that is named
    for entry in theirs:  # what we fill in is ours: none of it would go with what they take out
        assert set(entry["fieldsV1"]["f:spec"]) == {"f:size"}


def test_gitops_tools_see_a_claim_that_is_new_made_wrong_and_mended_as_what_it_is(shop):
    plane, name = shop.plane, "other"
    other = claim() | {"metadata": {"name": name, "namespace": TEAM}}
    cm = argocd_health.checks(argocd_health.declared([definition()]))
    made = json.loads(plane.kubectl("create", "-f", "-", "-o", "json", input=json.dumps(other)).stdout)
    assert gitops.verdict(made, cm) == ("InProgress", "Progressing", "waits")

    def seen():
        return gitops.verdict(plane.get(f"apps.{GROUP}", name, "-n", TEAM), cm)

    ready = ("wait", f"apps.{GROUP}/{name}", "-n", TEAM, "--for=condition=Ready", "--timeout=120s")
    plane.kubectl(*ready)
    plane.wait("done", lambda: seen() == ("Current", "Healthy", "met"))
    for kind, of in (("xrd", XRD), ("composition", "claims")):
        assert gitops.verdict(plane.get(kind, of)) == ("Current", "Healthy", "met")
    # The very object that the API server gives in answer to an edit tells that nobody has looked yet.
    wrong = plane.kubectl(
        "patch", f"apps.{GROUP}", name, "-n", TEAM, "--type=merge", "-p",
        '{"spec":{"compositionRef":{"name":"nowhere"}}}', "-o", "json",
    )  # fmt: skip
    assert gitops.verdict(json.loads(wrong.stdout), cm) == ("InProgress", "Progressing", "waits")
    plane.wait("waiting", lambda: "nowhere" in json.dumps(plane.get(f"apps.{GROUP}", name, "-n", TEAM)["status"]))
    assert seen().kstatus == "InProgress"
    plane.apply(
        composition()
        | {
            "metadata": {"name": "nowhere"},
            "spec": composition()["spec"] | {"compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "XOther"}},
        }
    )
    plane.wait("stalled", lambda: seen() == ("Failed", "Degraded", "waits"))
    plane.kubectl("delete", "composition", "nowhere")
    plane.kubectl(
        "patch",
        f"apps.{GROUP}",
        name,
        "-n",
        TEAM,
        "--type=merge",
        "-p",
        '{"spec":{"compositionRef":{"name":"claims"}}}',
    )
    plane.kubectl(*ready)
    plane.wait("done again", lambda: seen() == ("Current", "Healthy", "met"))
    plane.kubectl("delete", f"apps.{GROUP}", name, "-n", TEAM, "--timeout=180s")


def deep(levels=400):
    schema = {"type": "string"}
    for _ in range(levels // 2):
        schema = OBJECT | {"properties": {"a": schema}}
    return schema


def too_deep(plane, *what):
    """Whether it says so."""
    conditions = (plane.get(*what) or {}).get("status", {}).get("conditions", ())
    return any(each["type"] == "Synced" and "nested too deep" in each.get("message", "") for each in conditions)


def test_what_is_edited_to_be_nested_too_deep_says_so_stops_nobody_and_can_be_deleted(shop):
    plane, edited, flawed = shop.plane, definition(), composition("deep")
    edited["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": SCHEMA | {"properties": {"spec": deep()}}}
    flawed["spec"]["resources"][0]["base"]["nested"] = deep()
    plane.apply(edited, flawed)
    plane.wait("both say so", lambda: too_deep(plane, "xrd", XRD) and too_deep(plane, "composition", "claims"))
    plane.apply(claim(size="large"))
    shop.wait_composed(edition="1", size="large")
    plane.apply(definition(), composition("2"))
    shop.wait_composed(edition="2", size="large")

    other = definition()
    other["metadata"]["name"] = f"xdeeps.{GROUP}"
    other["spec"] |= {"names": {"kind": "XDeep", "plural": "xdeeps"}, "claimNames": {"kind": "Deep", "plural": "deeps"}}
    plane.apply(other)
    plane.wait("its kind", lambda: plane.get(f"deeps.{GROUP}") is not None)
    other["spec"]["versions"] = edited["spec"]["versions"]
    plane.apply(other)
    plane.wait("it says so", lambda: too_deep(plane, "xrd", f"xdeeps.{GROUP}"))
    plane.kubectl("delete", "xrd", f"xdeeps.{GROUP}", "--timeout=120s")
    assert plane.get("crd", f"deeps.{GROUP}") is None
