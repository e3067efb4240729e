"""Every kind of core's as a person meets it on a real API server: each version takes a whole manifest, and kubectl shows the columns.

Source of versions, short names, categories and columns: the CRDs of Crossplane v1.20 and v2.3.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from groundplane.core import crds
from tests.reconcile import mrds

CORE, PACKAGES, OPS = "apiextensions.crossplane.io", "pkg.crossplane.io", "ops.crossplane.io"
PULLED = {
    "packagePullPolicy": "Always",
    "packagePullSecrets": [{"name": "registry"}],
    "ignoreCrossplaneConstraints": True,
    "skipDependencyResolution": True,
    "commonLabels": {"team": "a"},
    "commonAnnotations": {"note": "b"},
}
RUN = {
    "runtimeConfigRef": {"apiVersion": "pkg.crossplane.io/v1beta1", "kind": "DeploymentRuntimeConfig", "name": "big"},
    "controllerConfigRef": {"name": "old"},
}
PACKAGE = {
    "package": "registry.example.org/acme/thing:v1",
    "revisionActivationPolicy": "Manual",
    "revisionHistoryLimit": 3,
    **PULLED,
}
REVISION = {
    "image": "registry.example.org/acme/thing:v1",
    "revision": 1,
    "desiredState": "Inactive",
    "tlsServerSecretName": "server",
    "tlsClientSecretName": "client",
    **PULLED,
}
INSTALLED, HEALTHY = "NAME INSTALLED HEALTHY PACKAGE AGE", "NAME HEALTHY IMAGE STATE AGE"
RUNNING = "NAME HEALTHY RUNTIME-HEALTHY RUNTIME-ACTIVE IMAGE STATE AGE"
WIDE = {
    HEALTHY: "NAME HEALTHY REVISION IMAGE STATE DEP-FOUND DEP-INSTALLED AGE",
    RUNNING: "NAME HEALTHY RUNTIME-HEALTHY RUNTIME-ACTIVE REVISION IMAGE STATE DEP-FOUND DEP-INSTALLED AGE",
}
COMPOSITE = {"apiVersion": "served.example.org/v1", "kind": "XThing"}
STEPS = {
    "compositeTypeRef": COMPOSITE,
    "mode": "Pipeline",
    "pipeline": [{"step": "ready", "functionRef": {"name": "function-auto-ready"}}],
}
DEFINITION = {
    "group": "served.example.org",
    "names": {"kind": "XThing", "plural": "xthings"},
    "versions": [
        {"name": "v1", "served": True, "referenceable": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    ],
}
OF = {"apiVersion": "v1", "kind": "ConfigMap", "resourceRef": {"name": "a"}}
RUN_ONCE = {name: value for name, value in STEPS.items() if name != "compositeTypeRef"}
MANY = {
    "concurrencyPolicy": "Forbid",
    "successfulHistoryLimit": 2,
    "failedHistoryLimit": 2,
    "operationTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": RUN_ONCE},
}
USED, PROTECTED = {"of": OF, "reason": "needed", "replayDeletion": True}, "NAME DETAILS READY AGE"


@dataclass(frozen=True)
class Row:
    group: str
    kind: str
    plural: str
    versions: str
    spec: dict
    columns: str
    short: str = ""
    categories: str = "crossplane"
    more: dict = field(default_factory=dict)  # beside spec
    name: str = "served"
    namespaced: bool = False


def packages(kind, versions, **run):
    running = RUNNING if run else HEALTHY
    plural = f"{kind.lower()}s"
    return [
        Row(PACKAGES, kind, plural, versions, PACKAGE | run, INSTALLED, categories="crossplane pkg"),
        Row(
            PACKAGES,
            f"{kind}Revision",
            f"{kind.lower()}revisions",
            versions,
            REVISION | run,
            running,
            categories="crossplane pkgrev",
        ),
    ]


MANAGED = mrds.definition(plural="kegs", group="served.example.org")
ROWS = [
    Row(
        CORE,
        "CompositeResourceDefinition",
        "compositeresourcedefinitions",
        "v1 v2",
        DEFINITION | {"scope": "Cluster"},
        "NAME ESTABLISHED OFFERED AGE",
        "xrd xrds",
        name="xthings.served.example.org",
    ),
    Row(CORE, "Composition", "compositions", "v1", STEPS, "NAME XR-KIND XR-APIVERSION AGE", "comp"),
    Row(
        CORE,
        "CompositionRevision",
        "compositionrevisions",
        "v1 v1beta1",
        STEPS | {"revision": 1},
        "NAME REVISION XR-KIND XR-APIVERSION AGE",
        "comprev",
    ),
    Row(
        CORE,
        "EnvironmentConfig",
        "environmentconfigs",
        "v1beta1 v1alpha1",
        {},
        "NAME AGE",
        "envcfg",
        more={"data": {"a": {"b": [1, True]}}},
    ),
    Row(CORE, "Usage", "usages", "v1alpha1 v1beta1", USED, PROTECTED),
    Row(
        CORE,
        "ManagedResourceDefinition",
        "managedresourcedefinitions",
        "v1alpha1",
        MANAGED["spec"],
        "NAME STATE ESTABLISHED AGE",
        "mrd mrds",
        name=MANAGED["metadata"]["name"],
    ),
    Row(
        CORE,
        "ManagedResourceActivationPolicy",
        "managedresourceactivationpolicies",
        "v1alpha1",
        {"activate": ["*.served.example.org"]},
        "NAME AGE",
        "mrap",
    ),
    Row(OPS, "Operation", "operations", "v1alpha1", RUN_ONCE | {"retryLimit": 2}, "NAME SYNCED SUCCEEDED AGE", "ops"),
    Row(
        OPS,
        "CronOperation",
        "cronoperations",
        "v1alpha1",
        MANY | {"schedule": "0 3 * * *", "startingDeadlineSeconds": 60},
        "NAME SCHEDULE SYNCED SCHEDULING LAST SCHEDULE LAST SUCCESS AGE",
        "cronops",
    ),
    Row(
        OPS,
        "WatchOperation",
        "watchoperations",
        "v1alpha1",
        MANY | {"watch": {"apiVersion": "v1", "kind": "ConfigMap", "matchLabels": {"a": "b"}, "namespace": "default"}},
        "NAME KIND COUNT SYNCED WATCHING LAST SCHEDULE LAST SUCCESS AGE",
        "watchops",
    ),
    Row("protection.crossplane.io", "Usage", "usages", "v1beta1", USED, PROTECTED, namespaced=True),
    Row("protection.crossplane.io", "ClusterUsage", "clusterusages", "v1beta1", USED, PROTECTED),
    *packages("Provider", "v1", **RUN),
    *packages("Function", "v1 v1beta1", **RUN),
    *packages("Configuration", "v1"),
    Row(
        PACKAGES,
        "DeploymentRuntimeConfig",
        "deploymentruntimeconfigs",
        "v1beta1",
        {
            "deploymentTemplate": {"spec": {"replicas": 1}},
            "serviceTemplate": {"metadata": {"labels": {"a": "b"}}},
            "serviceAccountTemplate": {"metadata": {"name": "c"}},
        },
        "NAME AGE",
    ),
    Row(
        PACKAGES,
        "ImageConfig",
        "imageconfigs",
        "v1beta1",
        {
            "matchImages": [{"type": "Prefix", "prefix": "registry.example.org"}],
            "registry": {"authentication": {"pullSecretRef": {"name": "registry"}}},
            "rewriteImage": {"prefix": "mirror.example.org"},
            "runtime": {"configRef": {"name": "big"}},
            "verification": {"provider": "Cosign", "cosign": {"authorities": [{"name": "a"}]}},
        },
        "NAME AGE",
    ),
    Row(
        PACKAGES,
        "Lock",
        "locks",
        "v1beta1",
        {},
        "NAME AGE",
        more={"packages": [{"name": "a", "type": "Provider", "source": "b", "version": "v1", "dependencies": []}]},
    ),
    Row(PACKAGES, "ControllerConfig", "controllerconfigs", "v1alpha1", {"replicas": 1}, "NAME AGE"),
    Row(
        "secrets.crossplane.io",
        "StoreConfig",
        "storeconfigs",
        "v1alpha1",
        {"type": "Kubernetes", "defaultScope": "crossplane-system"},
        "NAME AGE TYPE DEFAULT-SCOPE",
        categories="crossplane store",
    ),
]


@pytest.fixture(scope="module")
def plane(control_plane):
    control_plane.install(*crds.crds())
    return control_plane


def test_the_table_has_every_kind_and_version():
    listed = {(row.group, row.kind, version) for row in ROWS for version in row.versions.split()}
    served = {
        (crd["spec"]["group"], crd["spec"]["names"]["kind"], version["name"])
        for crd in crds.crds()
        for version in crd["spec"]["versions"]
    }
    assert listed == served


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}.{row.group}")
def test_discovery_names_versions_short_names_and_categories(plane, row):
    stored, *others = row.versions.split()
    for version in (stored, *others):
        found = json.loads(plane.kubectl("get", "--raw", f"/apis/{row.group}/{version}").stdout)
        (resource,) = [each for each in found["resources"] if each["name"] == row.plural]
        assert resource["kind"] == row.kind
        assert resource["namespaced"] is row.namespaced
        assert resource.get("shortNames", []) == row.short.split()
        assert sorted(resource["categories"]) == sorted(row.categories.split())


CASES = [(row, version) for row in ROWS for version in row.versions.split()]


@pytest.mark.parametrize(("row", "version"), CASES, ids=[f"{row.kind}.{version}.{row.group}" for row, version in CASES])
def test_a_whole_manifest_is_taken_at_each_version_and_shown_as_upstream_shows_it(plane, row, version):
    manifest = {"apiVersion": f"{row.group}/{version}", "kind": row.kind, "metadata": {"name": row.name}, **row.more}
    if row.spec:
        manifest["spec"] = row.spec
    if row.namespaced:
        manifest["metadata"]["namespace"] = "default"
    resource = f"{row.plural}.{version}.{row.group}"
    try:
        plane.apply(manifest)
        found = plane.get(resource, row.name)
        assert found["apiVersion"] == manifest["apiVersion"]
        for name, value in row.spec.items():
            assert found["spec"][name] == value
        for name, value in row.more.items():
            assert found[name] == value
        for wide, columns in ((False, row.columns), (True, WIDE.get(row.columns, row.columns))):
            assert " ".join(plane.columns(resource, wide=wide)) == columns
        for short in row.short.split() if version == row.versions.split()[0] else ():
            assert row.name in plane.kubectl("get", short, "-o", "name").stdout
    finally:
        plane.kubectl("delete", resource, row.name, "--ignore-not-found", check=False)
