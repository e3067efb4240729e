"""`groundplane crds`: every definition, the same text each time, and crds/ is what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from groundplane.cli import crds
from tests.cli.platform import DEFINITION, groundplane, write

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_repositorys_folder_is_fresh(tmp_path):
    assert groundplane("crds", "--output", tmp_path).exit_code == 0
    fresh = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert fresh == {path.name: path.read_text() for path in (REPOSITORY / "crds").iterdir()}, "run: make crds"


def test_what_is_printed_is_what_is_written():
    printed = groundplane("crds").output
    names = [crds.file_name(crd) for crd in yaml.load_all(printed, Loader=yaml.CSafeLoader)]
    assert "---\n".join((REPOSITORY / "crds" / name).read_text() for name in names) == printed
    assert sorted(names) == sorted(path.name for path in (REPOSITORY / "crds").iterdir())


@pytest.fixture
def one_kind(monkeypatch):
    """What is written is a single definition: the others would not differ."""
    (vpcs,) = [crd for crd in crds.every() if crd["metadata"]["name"] == "vpcs.ec2.aws.upbound.io"]
    monkeypatch.setattr(crds, "every", lambda **_: [vpcs])


@pytest.mark.usefixtures("one_kind")
def test_stale_files_go_and_files_of_others_stay(tmp_path):
    (tmp_path / "old_things.yaml").write_text(crds.HEADER + "kind: CustomResourceDefinition\n")
    (tmp_path / "theirs.yaml").write_text("kind: CustomResourceDefinition\n")
    assert groundplane("crds", "--output", tmp_path).exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert "theirs.yaml" in names
    assert "old_things.yaml" not in names


@pytest.mark.usefixtures("one_kind")
def test_a_file_of_others_is_never_overwritten(tmp_path):
    theirs = tmp_path / "ec2.aws.upbound.io_vpcs.yaml"
    theirs.write_text("kind: CustomResourceDefinition\n")
    assert groundplane("crds", "--output", tmp_path).exit_code == 1
    assert theirs.read_text() == "kind: CustomResourceDefinition\n"


# --- schemas for editors -------------------------------------------------------------------------------------


def test_editors_get_a_schema_of_each_kind_and_one_that_tells_them_apart(tmp_path):
    own = write(tmp_path / "own", definition=DEFINITION)
    folder = tmp_path / "schemas"
    result = groundplane(
        "crds", "--json-schema", folder, "--only", "buckets.s3.*", "--only", "compositions.*", "--definitions", own
    )
    assert result.exit_code == 0, result.output
    note = json.loads((folder / "tests.example.com/note_v1.json").read_text())
    assert note["properties"]["kind"] == {"type": "string", "const": "Note"}
    assert note["properties"]["spec"]["properties"]["text"] == {"type": "string", "maxLength": 20}
    assert note["properties"]["spec"]["additionalProperties"] is False
    assert note["required"] == ["apiVersion", "kind", "metadata", "spec"]
    bucket = json.loads((folder / "s3.aws.upbound.io/bucket_v1beta1.json").read_text())
    assert "description" in bucket["properties"]["spec"]["properties"]["forProvider"]["properties"]["tags"]
    composition = json.loads((folder / "apiextensions.crossplane.io/composition_v1.json").read_text())
    base = composition["properties"]["spec"]["properties"]["resources"]["items"]["properties"]["base"]
    assert "additionalProperties" not in base
    index = json.loads((folder / "all.json").read_text())
    named = {"apiVersion": {"const": "tests.example.com/v1"}, "kind": {"const": "Note"}}
    assert {
        "if": {"properties": named, "required": ["apiVersion", "kind"]},
        "then": {"$ref": "tests.example.com/note_v1.json"},
    } in index["allOf"]
    for case in index["allOf"]:
        assert (folder / case["then"]["$ref"]).is_file()


def test_schemas_and_definitions_are_not_written_at_once(tmp_path):
    assert groundplane("crds", "--json-schema", tmp_path, "--output", tmp_path).exit_code == 80
