"""Claims that live through what people do to them and to their definition, on a real API server; no AWS is needed.

The store's rules are ours; these are the ones that the API server's own field ownership, versions and watches decide.
"""

from __future__ import annotations

import base64

import pytest

from tests.e2e.conftest import Operator

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
    operator = Operator(
        plane.kubeconfig_of("operator"), "http://127.0.0.1:9", tmp_path_factory.mktemp("claims") / "log"
    )
    operator.start()
    plane.kubectl("create", "namespace", TEAM, check=False)
    plane.apply(definition(), composition())
    plane.wait("the claim's kind", lambda: plane.kubectl("get", f"apps.{GROUP}", check=False).returncode == 0)
    yield Team(plane)
    plane.kubectl("delete", f"xrd/{XRD}", "composition/claims")
    operator.stop()


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
