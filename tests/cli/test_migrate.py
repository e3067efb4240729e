"""`groundplane migrate`: manifests of v1 in, manifests of v2 out, and what is left to a person."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cli import platform
from tests.cli.platform import groundplane, write

DATABASE = Path(__file__).resolve().parents[2] / "compositions" / "database-aws"

ENGINE = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  resources:
  - name: bucket
    base:
      apiVersion: s3.aws.upbound.io/v1beta1
      kind: BucketVersioning
      spec:
        deletionPolicy: Orphan
        providerConfigRef: {name: team}
        forProvider: {region: eu-west-1, versioningConfiguration: [{status: Enabled}]}
    patches:
    - {fromFieldPath: spec.claimRef.namespace, toFieldPath: metadata.namespace}
    - {fromFieldPath: spec.text, toFieldPath: "spec.forProvider.versioningConfiguration[0].status"}
    - {type: ToCompositeFieldPath, fromFieldPath: "status.atProvider.versioningConfiguration[0].status", toFieldPath: status.state}
    - {fromFieldPath: spec.writeConnectionSecretToRef.name, toFieldPath: spec.forProvider.bucket}
    - type: CombineFromComposite
      combine: {strategy: string, variables: [{fromFieldPath: spec.claimRef.name}, {fromFieldPath: spec.text}], string: {fmt: "%s-%s"}}
      toFieldPath: spec.forProvider.bucket
  - {name: role, base: {apiVersion: other.example.org/v1, kind: Role}}
"""
CLAIM = platform.CLAIM.replace(
    "spec: {text",
    "spec: {compositionRef: {name: notes}, resourceRef: {name: x}, writeConnectionSecretToRef: {name: s}, text",
)


def migrated(tmp_path: Path, **files: str) -> tuple[dict[str, dict], str]:
    source = write(tmp_path / "v1", **files)
    result = groundplane("migrate", "v2", source, "-o", tmp_path / "v2")
    assert result.exit_code == 0, result.output
    found = {file.stem: yaml.safe_load(file.read_text()) for file in (tmp_path / "v2").iterdir()}
    return found, result.stdout


def test_definition_composition_and_claim_become_those_of_composites_in_namespaces(tmp_path):
    made, told = migrated(tmp_path, definition=platform.DEFINITION, composition=ENGINE, claim=CLAIM)
    definition = made["definition"]
    assert (definition["apiVersion"], definition["metadata"]["name"]) == (
        "apiextensions.crossplane.io/v2",
        "notes.m.tests.example.com",
    )
    assert definition["spec"]["scope"] == "Namespaced"
    assert definition["spec"]["names"]["kind"] == "Note"
    assert "claimNames" not in definition["spec"]
    assert made["claim"] == {
        "apiVersion": "m.tests.example.com/v1",
        "kind": "Note",
        "metadata": {"name": "first", "namespace": "team", "labels": {"tier": "gold"}},
        "spec": {"text": "hello", "length": 5, "crossplane": {"compositionRef": {"name": "notes-v2"}}},
    }
    assert "Note team/first: writeConnectionSecretToRef: composites of v2 have no connection Secret" in told
    composition = made["composition"]
    assert composition["metadata"]["name"] == "notes-v2"
    assert composition["spec"]["compositeTypeRef"] == {"apiVersion": "m.tests.example.com/v1", "kind": "Note"}
    bucket, _ = composition["spec"]["pipeline"][0]["input"]["resources"]
    assert bucket["base"] == {
        "apiVersion": "s3.aws.m.upbound.io/v1beta1",
        "kind": "BucketVersioning",
        "spec": {
            "managementPolicies": ["Observe", "Create", "Update", "LateInitialize"],
            "providerConfigRef": {"kind": "ClusterProviderConfig", "name": "team"},
            "forProvider": {"region": "eu-west-1", "versioningConfiguration": {"status": "Enabled"}},
        },
    }
    first, second, third, combined = bucket["patches"]
    assert (first["fromFieldPath"], first["toFieldPath"]) == ("metadata.namespace", "metadata.namespace")
    assert second["toFieldPath"] == "spec.forProvider.versioningConfiguration.status"
    assert third["fromFieldPath"] == "status.atProvider.versioningConfiguration.status"
    assert [each["fromFieldPath"] for each in combined["combine"]["variables"]] == ["metadata.name", "spec.text"]
    assert "patches[3]: left out, as it reads the composite's connection Secret" in told
    assert "resource role: Role of other.example.org/v1 may not be in a namespace" in told


def test_the_library_becomes_manifests_that_are_right(tmp_path):
    result = groundplane("migrate", "v2", DATABASE, "-o", tmp_path / "v2", "--group", "platform.example.org")
    assert result.exit_code == 0, result.output
    assert (
        yaml.safe_load((tmp_path / "v2/definition.yaml").read_text())["metadata"]["name"]
        == "databases.platform.example.org"
    )
    checked = groundplane("validate", tmp_path / "v2")
    assert checked.exit_code == 0, checked.output
    again = groundplane("migrate", "v2", DATABASE, "-o", tmp_path / "v2")
    assert again.exit_code == 1
    assert "is not empty" in again.stderr


def test_what_stands_in_the_way_is_counted_by_upstreams_categories(tmp_path):
    provider = "apiVersion: pkg.crossplane.io/v1\nkind: Provider\nmetadata: {name: p}\nspec: {package: upbound/provider-aws:v1}\n"
    source = write(tmp_path / "v1", composition=ENGINE, provider=provider)
    result = groundplane("migrate", "check", source)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "[✗] 2 issues, 0 informational, 0 incomplete checks.",
        "[✗] Native patch and transform - 1 issue",
        "    Composition notes",
        "    Fix: groundplane convert pipeline-composition",
        "[✓] ControllerConfigs",
        "[✓] External secret stores",
        "[✗] Packages without a registry - 1 issue",
        "    Provider p (upbound/provider-aws:v1)",
        "    Fix: write the registry: xpkg.crossplane.io/…",
        "[✓] Connection details of composites",
    ]
    assert groundplane("migrate", "check", write(tmp_path / "v2", claim=platform.CLAIM)).exit_code == 0


@pytest.mark.parametrize("text", ["a: [", "- a"])
def test_what_can_not_be_read_is_not_taken_for_nothing(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert groundplane("migrate", "v2", tmp_path / "a.yaml", "-o", tmp_path / "v2").exit_code == 1
    assert "1 incomplete checks" in groundplane("migrate", "check", tmp_path / "a.yaml").stdout
