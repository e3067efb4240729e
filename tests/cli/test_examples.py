"""`examples/` and `compositions/` as GitOps tools take them: what kustomize makes of them, and that it is current."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from groundplane.cli import argocd_health, manifests
from tests.cluster import build

REPOSITORY = Path(__file__).parents[2]
WAVE = "argocd.argoproj.io/sync-wave"


def kustomized(folder):
    """What `kubectl kustomize` makes of a folder."""
    command = [str(build.binaries() / "kubectl"), "kustomize", str(REPOSITORY / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


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
    assert {obj["metadata"]["namespace"] for obj in objects} == {"argocd" if tool == "argocd" else "flux-system"}
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
    known = yaml.safe_load((REPOSITORY / "charts" / "groundplane" / "values.yaml").read_text())
    given = [
        obj["spec"]["values"] if obj["kind"] == "HelmRelease" else obj["spec"]["source"]["helm"]["valuesObject"]
        for tool in ("argocd", "flux")
        for obj in kustomized(f"examples/{tool}")
        if "values" in obj.get("spec", {}) or "helm" in obj.get("spec", {}).get("source", {})
    ]
    assert len(given) == 2
    for values in given:
        assert all(name in known[part] for part in values for name in values[part])


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
