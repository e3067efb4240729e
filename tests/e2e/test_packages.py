"""Packages as a person declares them, at each version: what is built in is installed and healthy, of anything else is said why not."""

from __future__ import annotations

import json

import pytest

from tests.e2e import guide

REGISTRY = "xpkg.upbound.io"
BUILT_IN = (
    ("pkg.crossplane.io/v1", "Provider", f"{REGISTRY}/upbound/provider-aws-rds:v1.21.0"),
    ("pkg.crossplane.io/v1", "Function", f"{REGISTRY}/crossplane-contrib/function-auto-ready:v0.4.2"),
    ("pkg.crossplane.io/v1beta1", "Function", f"{REGISTRY}/crossplane-contrib/function-patch-and-transform:v0.8.0"),
)
OTHERS = (
    ("pkg.crossplane.io/v1", "Provider", f"{REGISTRY}/upbound/provider-gcp-storage:v1"),
    ("pkg.crossplane.io/v1", "Configuration", f"{REGISTRY}/acme/platform:v1"),
)


def package(api_version, kind, image, name):
    spec = {
        "package": image,
        "revisionActivationPolicy": "Automatic",
        "packagePullSecrets": [{"name": "registry"}],
        "commonLabels": {"team": "a"},
        "commonAnnotations": {"note": "b"},
        **({} if kind == "Configuration" else {"runtimeConfigRef": {"name": "big"}}),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def resource(kind):
    return f"{kind.lower()}s.v1.pkg.crossplane.io"


def told(plane, kind, name):
    found = plane.get(resource(kind), name) or {}
    return {type_: guide.condition(found, type_) for type_ in ("Installed", "Healthy")}


@pytest.mark.usefixtures("operator")
def test_what_is_built_in_is_installed_at_each_version_and_anything_else_is_told_why_not(plane):
    declared = [package(*each, f"declared-{number}") for number, each in enumerate((*BUILT_IN, *OTHERS))]
    try:
        for each in declared:
            plane.kubectl("apply", "--validate=strict", "-f", "-", input=json.dumps(each))
        for each in declared[: len(BUILT_IN)]:
            kind, name = each["kind"], each["metadata"]["name"]
            plane.wait(
                f"{name} is healthy",
                lambda kind=kind, name=name: (
                    [c.get("status") for c in told(plane, kind, name).values()] == ["True", "True"]
                ),
            )
            revision = plane.get(resource(kind), name)["status"]["currentRevision"]
            shown = plane.kubectl("get", f"{kind.lower()}revisions.pkg.crossplane.io", revision).stdout.splitlines()
            row = dict(zip(shown[0].split(), shown[1].split(), strict=True))
            assert (row["HEALTHY"], row["RUNTIME-HEALTHY"], row["RUNTIME-ACTIVE"], row["STATE"]) == (
                *["True"] * 3,
                "Active",
            )
            assert row["IMAGE"] == each["spec"]["package"]
        for each in declared[len(BUILT_IN) :]:
            kind, name = each["kind"], each["metadata"]["name"]
            healthy = plane.wait(
                f"{name} is told", lambda kind=kind, name=name: told(plane, kind, name)["Healthy"].get("message")
            )
            assert each["spec"]["package"] in healthy
            assert "not built in" in healthy
            assert {c["status"] for c in told(plane, kind, name).values()} == {"False"}
    finally:
        for each in declared:
            plane.kubectl("delete", resource(each["kind"]), each["metadata"]["name"], "--ignore-not-found")


@pytest.mark.usefixtures("operator")
def test_what_crossplanes_init_makes_is_there_and_what_it_left_goes_when_it_is_deleted(plane):
    plane.wait("the Lock", lambda: plane.get("locks.pkg.crossplane.io", "lock"))
    plane.wait("the default", lambda: plane.get("deploymentruntimeconfigs.pkg.crossplane.io", "default"))
    metadata = {"name": "left-1234", "finalizers": ["revision.pkg.crossplane.io"]}
    spec = {"image": "xpkg.example.org/acme/left:v1", "revision": 1, "desiredState": "Active"}
    revision = {"apiVersion": "pkg.crossplane.io/v1", "kind": "ConfigurationRevision", "metadata": metadata}
    plane.apply(revision | {"spec": spec})
    plane.kubectl("patch", "lock", "lock", "--type=merge", "-p", '{"packages": [{"name": "left-1234"}]}')
    plane.kubectl("delete", "configurationrevision", "left-1234", "--timeout=60s")
    assert plane.get("lock", "lock")["packages"] == []
