"""`groundplane crds`: every definition, the same text each time, and crds/ is what it writes."""

from __future__ import annotations

from pathlib import Path

import yaml

from groundplane.cli import crds
from tests.cli.platform import groundplane

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_repositorys_folder_is_fresh(tmp_path):
    assert groundplane("crds", "--output", tmp_path).exit_code == 0
    fresh = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert fresh == {path.name: path.read_text() for path in (REPOSITORY / "crds").iterdir()}, "run: make crds"


def test_what_is_printed_is_what_is_written(tmp_path):
    printed = list(yaml.safe_load_all(groundplane("crds").output))
    groundplane("crds", "--output", tmp_path)
    written = {path.name: yaml.safe_load(path.read_text()) for path in tmp_path.iterdir()}
    assert {crds.file_name(crd): crd for crd in printed} == written


def test_stale_files_go_and_files_of_others_stay(tmp_path):
    (tmp_path / "old_things.yaml").write_text(crds.HEADER + "kind: CustomResourceDefinition\n")
    (tmp_path / "theirs.yaml").write_text("kind: CustomResourceDefinition\n")
    assert groundplane("crds", "--output", tmp_path).exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert "theirs.yaml" in names
    assert "old_things.yaml" not in names


def test_a_file_of_others_is_never_overwritten(tmp_path):
    theirs = tmp_path / "ec2.aws.upbound.io_vpcs.yaml"
    theirs.write_text("kind: CustomResourceDefinition\n")
    assert groundplane("crds", "--output", tmp_path).exit_code == 1
    assert theirs.read_text() == "kind: CustomResourceDefinition\n"
