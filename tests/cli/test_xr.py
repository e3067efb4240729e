"""`groundplane xr generate` and `xrd convert`: a claim in, its composite out; a definition in, what is made of it out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from groundplane.cli.main import main
from groundplane.core import definition_crds
from tests.cli.platform import CLAIM, COMPOSITION, DEFINITION, groundplane, write


def generated(tmp_path: Path, claim: dict, *flags: str) -> dict:
    (tmp_path / "claim.yaml").write_text(yaml.safe_dump(claim))
    result = groundplane("xr", "generate", tmp_path / "claim.yaml", *flags)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("---\n")
    return yaml.safe_load(result.stdout)


def claim(**metadata: object) -> dict:
    return {
        "apiVersion": "example.org/v1alpha1",
        "kind": "TestApp",
        "metadata": {"name": "test-app", "namespace": "myclaims", **metadata},
        "spec": {"size": 42, "list": [1, "b"], "inner": {"a": 0.5}, "resourceRef": {"name": "other"}},
    }


OWN = {"size": 42, "list": [1, "b"], "inner": {"a": 0.5}}  # what the claim says of its own
NAMES = {"crossplane.io/claim-name": "test-app", "crossplane.io/claim-namespace": "myclaims"}
REFERENCE = {"apiVersion": "example.org/v1alpha1", "kind": "TestApp", "name": "test-app", "namespace": "myclaims"}


def test_a_claims_composite_is_bound_to_it(tmp_path):
    made = generated(tmp_path, claim(labels={"existing": "value", "crossplane.io/claim-name": "old"}))
    name = made["metadata"].pop("name")
    assert re.fullmatch("test-app-[a-z0-9]{5}", name)
    assert made == {
        "apiVersion": "example.org/v1alpha1",
        "kind": "XTestApp",
        "metadata": {"labels": {"existing": "value", **NAMES}},
        "spec": {**OWN, "claimRef": REFERENCE},
    }


@pytest.mark.parametrize(
    ("flags", "metadata", "expected"),
    [
        (["--direct"], {}, {"name": "test-app"}),
        (["--direct"], {"labels": {"existing": "value"}}, {"name": "test-app", "labels": {"existing": "value"}}),
        (["--direct"], {"annotations": {"note": "x"}}, {"name": "test-app", "annotations": {"note": "x"}}),
        (["--direct", "--name", "my-xr"], {}, {"name": "my-xr"}),
        (["--name", "my-xr"], {}, {"name": "my-xr", "labels": NAMES}),
        (["--name", "my-xr"], {"labels": {"crossplane.io/composite": "x"}}, {"name": "my-xr", "labels": NAMES}),
    ],
)
def test_its_name_labels_and_annotations(tmp_path, flags, metadata, expected):
    made = generated(tmp_path, claim(**metadata), *flags)
    assert made["metadata"] == expected
    assert made["spec"] == (OWN if "--direct" in flags else {**OWN, "claimRef": REFERENCE})


def test_its_kind_and_uid_and_file(tmp_path):
    made = generated(tmp_path, claim(), "--kind", "Other", "--gen-uid")
    assert made["kind"] == "Other"
    assert re.fullmatch("[0-9a-f-]{36}", made["metadata"]["uid"])
    written = groundplane("xr", "generate", tmp_path / "claim.yaml", "-o", tmp_path / "xr.yaml", "--direct")
    assert written.stdout == ""
    assert yaml.safe_load((tmp_path / "xr.yaml").read_text())["kind"] == "XTestApp"


def test_what_is_generated_is_rendered(tmp_path):
    folder = write(tmp_path / "m", claim=CLAIM, composition=COMPOSITION)
    groundplane("xr", "generate", folder / "claim.yaml", "-o", folder / "xr.yaml")
    rendered = groundplane("render", folder / "xr.yaml", folder / "composition.yaml")
    assert rendered.exit_code == 0, rendered.output
    assert "text: hello" in rendered.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 objects, not one"),
        (f"{CLAIM}---{CLAIM}", "2 objects, not one"),
        (CLAIM.replace("spec: {text: hello, length: 5}", ""), "the claim has no spec"),
        (CLAIM.replace("name: first, ", ""), "name"),
        ("a: [", "correct the YAML"),
    ],
)
def test_what_is_no_claim_is_told(text, words):
    result = CliRunner().invoke(main, ["xr", "generate"], input=text)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_definition_becomes_the_definitions_that_a_control_plane_makes(tmp_path):
    (tmp_path / "xrd.yaml").write_text(DEFINITION)
    xrd = yaml.safe_load(DEFINITION)
    for flags, strict in (((), False), (("--strict-upstream",), True)):
        printed = groundplane("xrd", "convert", tmp_path / "xrd.yaml", *flags)
        made = [
            definition_crds.composite_crd(xrd, strict_upstream=strict),
            definition_crds.claim_crd(xrd, strict_upstream=strict),
        ]
        assert list(yaml.safe_load_all(printed.stdout)) == made
    groundplane("xrd", "convert", tmp_path / "xrd.yaml", "-o", tmp_path / "crds.yaml")
    assert [each["metadata"]["name"] for each in yaml.safe_load_all((tmp_path / "crds.yaml").read_text())] == [
        "xnotes.tests.example.com",
        "notes.tests.example.com",
    ]
    groundplane("xrd", "convert", tmp_path / "xrd.yaml", "--output-dir", tmp_path / "crds")
    assert {file.name for file in (tmp_path / "crds").iterdir()} == {
        "xnotes.tests.example.com.yaml",
        "notes.tests.example.com.yaml",
    }


def test_a_definition_as_json_schemas(tmp_path):
    (tmp_path / "xrd.yaml").write_text(DEFINITION)
    asked = ["xrd", "convert", tmp_path / "xrd.yaml", "--format", "jsonschema"]
    assert "--output-dir" in groundplane(*asked).stderr  # two are not one file
    assert groundplane(*asked, "--output-dir", tmp_path / "s").exit_code == 0
    schemas = {file.name: json.loads(file.read_text()) for file in (tmp_path / "s").iterdir()}
    assert set(schemas) == {"tests.example.com_v1_note.json", "tests.example.com_v1_xnote.json"}
    assert schemas["tests.example.com_v1_note.json"]["properties"]["spec"]["properties"]["text"]["maxLength"] == 20
    single = DEFINITION.replace("  claimNames: {kind: Note, plural: notes, shortNames: [nt]}\n", "")
    printed = CliRunner().invoke(main, ["xrd", "convert", "--format", "jsonschema", "-"], input=single)
    assert json.loads(printed.stdout)["properties"]["kind"]["const"] == "XNote"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CLAIM, "Note of tests.example.com/v1 is no CompositeResourceDefinition"),
        ("", "there is nothing in -"),
        (DEFINITION.replace("plural: xnotes", "plural: 5"), "xnotes.tests.example.com"),
        ("- a", "no Kubernetes object"),
        (f"{DEFINITION.partition('  versions:')[0]}  versions: 5\n", "spec.versions is empty"),
    ],
)
def test_what_is_no_definition_is_told(text, words):
    result = CliRunner().invoke(main, ["xrd", "convert"], input=text)
    assert result.exit_code == 1
    assert words in result.stderr


def test_one_place_to_write_to(tmp_path):
    (tmp_path / "xrd.yaml").write_text(DEFINITION)
    both = groundplane("xrd", "convert", tmp_path / "xrd.yaml", "-o", "a", "--output-dir", "b")
    assert both.exit_code == 80


def test_a_composite_of_v2_is_no_claim(tmp_path):
    found = claim()
    found["spec"]["crossplane"] = {"compositionRef": {"name": "it"}}
    write(tmp_path, claim=yaml.safe_dump(found))
    result = groundplane("xr", "generate", tmp_path / "claim.yaml")
    assert result.exit_code == 1
    assert (
        "it has spec.crossplane: it is a composite of v2, and no claim. Mend: name a file with one claim."
        in result.stderr
    )


@pytest.mark.parametrize("api_version", ["apiextensions.crossplane.io/v1", "v1", "apps/v1"])
def test_what_can_be_no_claim_is_refused(tmp_path, api_version):
    write(tmp_path, claim=yaml.safe_dump({**claim(), "apiVersion": api_version, "kind": "Thing"}))
    result = groundplane("xr", "generate", tmp_path / "claim.yaml")
    assert result.exit_code == 1
    assert f"Thing of {api_version} is no claim. Mend: name a file with one claim." in result.stderr
