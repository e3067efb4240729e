"""`make pin-bases` and `make check-bases` with a skopeo that answers what it is told to; no registry is asked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess

import pytest

from tests.image import recipe

TOOLS = ("sh", "sed", "dirname", "cut", "cat", "sha256sum")
SKOPEO = """#!/bin/sh
echo "$*" >>{folder}/asked
[ -e {folder}/down ] && {{ echo "no such host" >&2; exit 1; }}
cat {folder}/manifest
"""


@pytest.fixture
def bases(tmp_path):
    """Run the script in a folder of its own; `tmp_path / "manifest"` is what each tag stands for."""
    (tmp_path / "image").mkdir()
    shutil.copy(recipe.REPOSITORY / "image" / "bases.sh", tmp_path / "image")
    shutil.copy(recipe.REPOSITORY / "Containerfile", tmp_path)
    (tmp_path / "manifest").write_text("one")
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))
    (programs / "skopeo").write_text(SKOPEO.format(folder=tmp_path))
    (programs / "skopeo").chmod(0o755)

    def run(what):
        command = ["sh", str(tmp_path / "image" / "bases.sh"), what]
        done = subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


def digest(text):
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_bases_of_the_recipe_are_pinned_to_what_their_tags_stand_for_and_built_from(bases, tmp_path):
    declared = dict(re.findall(r"^ARG (BUILDER|BASE)=(\S+)$", (tmp_path / "Containerfile").read_text(), flags=re.M))
    assert declared.keys() == {"BUILDER", "BASE"}
    assert bases("print") == (0, "", "")
    assert bases("pin")[0] == 0
    pinned = {f"{name}={image}@{digest('one')}" for name, image in declared.items()}
    assert set(bases("print")[1].split("\n")) - {""} == {f"--build-arg {each}" for each in pinned}
    assert bases("check") == (0, "", "")
    assert {f"inspect --raw docker://{image}" for image in declared.values()} == set(
        (tmp_path / "asked").read_text().splitlines()
    )


def test_a_tag_that_has_moved_on_and_one_that_is_not_pinned_are_told(bases, tmp_path):
    code, _, told = bases("check")
    assert (code, told) == (1, "nothing is pinned: make pin-bases\n")
    bases("pin")
    (tmp_path / "manifest").write_text("two")
    code, _, told = bases("check")
    assert (code, told.count(f"has moved on to {digest('two')}")) == (1, 2)
    recipe_of = tmp_path / "Containerfile"
    recipe_of.write_text(recipe_of.read_text().replace("3.11-slim", "3.12-slim"))
    code, _, told = bases("check")
    assert (code, "3.12-slim-bookworm is not pinned" in told) == (1, True)


def test_without_a_registry_nothing_is_pinned(bases, tmp_path):
    (tmp_path / "down").touch()
    code, _, told = bases("pin")
    assert (code, "no digest of docker.io/library/python" in told) == (1, True)
    assert not (tmp_path / "image" / "bases.lock").exists()
    (tmp_path / "bin" / "skopeo").unlink()
    code, _, told = bases("pin")
    assert (code, "this needs skopeo, or docker with buildx" in told) == (1, True)


def test_make_image_builds_from_what_is_pinned():
    environment = os.environ | {"MAKEFLAGS": ""}
    command = ["make", "--no-print-directory", "-n", "image"]
    told = subprocess.run(command, cwd=recipe.REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert "$(sh image/bases.sh print)" in told.stdout
