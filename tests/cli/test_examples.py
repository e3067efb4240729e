"""`examples/` and `compositions/` as GitOps tools take them: what kustomize makes of them, what an API server says to it, and that it is current."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from groundplane.cli import argocd_health, manifests
from tests.chart.helm import helm
from tests.cluster import build

REPOSITORY = Path(__file__).parents[2]
WAVE = "argocd.argoproj.io/sync-wave"
NAMESPACES = {"argocd": "argocd", "flux": "flux-system"}
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
# The fields of the tools' kinds that the examples may have, each with its type: a wrong one is refused, as by their own definitions.
SYNC = {
    "automated": {"prune": "boolean", "selfHeal": "boolean"},
    "syncOptions": ["string"],
    "retry": {"limit": "integer", "backoff": {"duration": "string", "factor": "integer", "maxDuration": "string"}},
}
APPLICATION = {
    "project": "string",
    "source": {"repoURL": "string", "targetRevision": "string", "path": "string", "helm": {"valuesObject": ANY}},
    "destination": {"server": "string", "namespace": "string"},
    "syncPolicy": SYNC,
}
DIRECTORIES = {"repoURL": "string", "revision": "string", "directories": [{"path": "string", "exclude": "boolean"}]}
SOURCE = {"kind": "string", "name": "string"}
REMEDIATION = {"createNamespace": "boolean", "remediation": {"retries": "integer"}}
KINDS = {  # by the tool: plural and group, kind, version, spec
    "argocd": (
        ("applications.argoproj.io", "Application", "v1alpha1", APPLICATION),
        (
            "applicationsets.argoproj.io",
            "ApplicationSet",
            "v1alpha1",
            {
                "goTemplate": "boolean",
                "goTemplateOptions": ["string"],
                "generators": [{"git": DIRECTORIES}],
                "template": {"metadata": {"name": "string"}, "spec": APPLICATION},
            },
        ),
    ),
    "flux": (
        (
            "gitrepositories.source.toolkit.fluxcd.io",
            "GitRepository",
            "v1",
            {"url": "string", "ref": {"branch": "string"}, "interval": "string"},
        ),
        (
            "kustomizations.kustomize.toolkit.fluxcd.io",
            "Kustomization",
            "v1",
            {
                "dependsOn": [{"name": "string"}],
                "sourceRef": SOURCE,
                "prune": "boolean",
                "wait": "boolean",
                **dict.fromkeys(
                    ("path", "interval", "retryInterval", "timeout", "targetNamespace", "deletionPolicy"), "string"
                ),
            },
        ),
        (
            "helmreleases.helm.toolkit.fluxcd.io",
            "HelmRelease",
            "v2",
            {
                **dict.fromkeys(("interval", "targetNamespace", "releaseName"), "string"),
                "install": REMEDIATION,
                "upgrade": REMEDIATION,
                "chart": {"spec": {"chart": "string", "sourceRef": SOURCE, "reconcileStrategy": "string"}},
                "values": ANY,
            },
        ),
    ),
}


def kustomized(folder):
    """What `kubectl kustomize` makes of a folder."""
    command = [str(build.binaries() / "kubectl"), "kustomize", str(REPOSITORY / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def schema(shape):
    """The structural schema of a shape: a type, fields, or what a list holds."""
    if isinstance(shape, str):
        return {"type": shape}
    if isinstance(shape, list):
        return {"type": "array", "items": schema(shape[0])}
    return shape if shape is ANY else {"type": "object", "properties": {each: schema(shape[each]) for each in shape}}


def stub(name, kind, version, spec):
    """A CustomResourceDefinition that knows these fields of a tool's kind."""
    plural, _, group = name.partition(".")
    whole = {"type": "object", "properties": {"spec": schema(spec), "status": ANY}, "required": ["spec"]}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": whole}}
    names = {"kind": kind, "plural": plural}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


def test_definitions_come_before_compositions_and_both_before_what_needs_them():
    waves = {}
    for obj in kustomized("compositions"):
        waves.setdefault(obj["metadata"]["annotations"][WAVE], set()).add(obj["kind"])
    assert waves == {
        "0": {"CompositeResourceDefinition", "Provider"},
        "1": {"Composition", "ProviderConfig"},
        "2": {"VPC", "Subnet", "SubnetGroup", "SecurityGroup"},
    }


def test_all_of_a_composition_but_its_examples_is_in_the_kustomization():
    found = {(obj["kind"], obj["metadata"]["name"]) for obj in kustomized("compositions")}
    named = yaml.safe_load((REPOSITORY / "compositions" / "kustomization.yaml").read_text())["resources"]
    files = manifests.files(sorted({str((REPOSITORY / "compositions" / name).parent) for name in named}))
    assert found == {(each.key.kind, each.key.name) for file in files for each in manifests.read(file)}


@pytest.mark.parametrize("tool", ["argocd", "flux"])
def test_an_example_is_one_kustomization_whose_paths_are_in_this_repository(tool):
    objects = kustomized(f"examples/{tool}")
    assert {obj["metadata"]["namespace"] for obj in objects} == {NAMESPACES[tool]}
    paths = []
    for obj in objects:
        spec = obj.get("spec") or {}
        paths += [spec[name] for name in ("path",) if name in spec]
        paths += [source["path"] for source in [spec.get("source")] if source]
        paths += [chart["spec"]["chart"] for chart in [spec.get("chart")] if chart]
        for generator in spec.get("generators") or ():
            paths += [each["path"].rstrip("/*") for each in generator["git"]["directories"]]
    assert len(paths) >= 4
    assert all((REPOSITORY / path).is_dir() for path in paths), paths


def test_a_tools_chart_values_are_values_of_the_chart():
    given = [
        obj["spec"]["values"] if obj["kind"] == "HelmRelease" else obj["spec"]["source"]["helm"]["valuesObject"]
        for tool in ("argocd", "flux")
        for obj in kustomized(f"examples/{tool}")
        if "values" in obj.get("spec", {}) or "helm" in obj.get("spec", {}).get("source", {})
    ]
    assert len(given) == 2
    for values in given:
        version = ("--kube-version", build.kubernetes_version())
        done = helm("template", "groundplane", REPOSITORY / "charts" / "groundplane", *version, values=values)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tool", NAMESPACES)
def test_an_example_is_applied_with_one_command_and_changes_nothing_when_it_is_applied_again(control_plane, tool):
    objects, namespace = kustomized(f"examples/{tool}"), NAMESPACES[tool]
    control_plane.install(*(stub(*each) for each in KINDS[tool]))
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"url": "x"}}
    kinds = ",".join(("configmaps", *(name for name, *_ in KINDS[tool])))

    def applied(*way):
        control_plane.kubectl("apply", *way, "--validate=strict", "-k", REPOSITORY / "examples" / tool)
        found = control_plane.get(kinds, "-n", namespace)["items"]
        return {(each["kind"], each["metadata"]["name"]): each for each in found}

    for way in ((), ("--server-side",)):
        if tool == "argocd":  # its own installation has it already
            control_plane.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(theirs))
        there = applied(*way)
        assert {(obj["kind"], obj["metadata"]["name"]) for obj in objects} <= there.keys()
        assert applied(*way) == there
        for obj in objects:
            kept = {"url": "x"} if obj["kind"] == "ConfigMap" else {}
            stored = there[obj["kind"], obj["metadata"]["name"]]
            assert (stored.get("spec"), stored.get("data", {})) == (obj.get("spec"), kept | obj.get("data", {}))
        control_plane.kubectl("delete", "-k", REPOSITORY / "examples" / tool)


def test_what_an_example_refers_to_is_in_it():
    for tool in NAMESPACES:
        objects = kustomized(f"examples/{tool}")
        there = {(obj["kind"], obj["metadata"]["name"]) for obj in objects}
        named = set()
        for obj in objects:
            spec = obj.get("spec") or {}
            named |= {("Kustomization", each["name"]) for each in spec.get("dependsOn", ())}
            references = (spec.get("sourceRef"), spec.get("chart", {}).get("spec", {}).get("sourceRef"))
            named |= {(each["kind"], each["name"]) for each in references if each}
        assert named <= there, (tool, named - there)


def test_the_charts_release_has_the_name_that_the_pages_type():
    """Flux would put the namespace before it."""
    (flux,) = [obj for obj in kustomized("examples/flux") if obj["kind"] == "HelmRelease"]
    assert flux["spec"]["releaseName"] == "groundplane"
    (argo,) = [obj for obj in kustomized("examples/argocd") if "helm" in obj.get("spec", {}).get("source", {})]
    assert argo["metadata"]["name"] == "groundplane"  # whose name Argo CD gives it


def test_the_health_checks_of_the_example_are_those_that_are_printed():
    [found] = [obj for obj in kustomized("examples/argocd") if obj["kind"] == "ConfigMap"]
    kinds = argocd_health.declared(kustomized("compositions"))
    assert found["data"] == argocd_health.checks(kinds) | argocd_health.SETTINGS
    assert found["metadata"]["name"] == "argocd-cm"


def test_a_team_of_the_examples_asks_for_what_the_platform_declares():
    [xrd] = [obj for obj in kustomized("compositions") if obj["kind"] == "CompositeResourceDefinition"]
    kinds = {
        (f"{xrd['spec']['group']}/{version['name']}", xrd["spec"]["claimNames"]["kind"])
        for version in xrd["spec"]["versions"]
    }
    for folder in (REPOSITORY / "examples" / "teams").iterdir():
        for obj in kustomized(folder):
            assert (obj["apiVersion"], obj["kind"]) in kinds
            assert obj["metadata"]["namespace"] == folder.name


def test_a_folder_with_a_kustomization_is_read_without_it():
    names = {file.name for file in manifests.files([str(REPOSITORY / "compositions")], recursive=True)}
    assert "kustomization.yaml" not in names
    assert "composition.yaml" in names
