"""The Containerfile agrees with what it uses; `make image` where nothing can build it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess

import pytest

from tests.image import recipe

BOTH = pytest.mark.parametrize("stage", ["operator", "standin"])


@BOTH
def test_an_image_has_what_the_step_makes_and_its_python_finds_it(stage):
    (step,) = (rest for word, rest in recipe.stages()[f"{stage}-files"] if word == "RUN")
    *_, script, python, folder, which = shlex.split(step)
    assert (python, which) == ("python3", stage)
    assert (recipe.REPOSITORY / script.removeprefix("/src/")).is_file()
    assert recipe.said(stage, "COPY").split() == [f"--from={stage}-files", folder, folder]
    assert recipe.packages(stage) == f"{folder}/site"
    assert recipe.said(stage, "USER") == "65532:65532"
    assert recipe.command(stage, "ENTRYPOINT")[:2] == ["python3", "-m"]


def test_each_file_that_the_step_reads_is_copied_before_it_and_not_ignored():
    copied = {
        source for word, rest in recipe.stages()["sources"] if word == "COPY" for source in shlex.split(rest)[:-1]
    }
    script = (recipe.REPOSITORY / "image" / "assemble.sh").read_text()
    read = set(re.findall(r"lock=(\S+)", script)) | set(re.findall(r"\$here/([a-z]+)/", script))
    assert {each.strip(";") for each in read} | {"crds"} == copied
    ignored = (recipe.REPOSITORY / ".dockerignore").read_text().splitlines()
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}


def test_the_operator_is_the_last_stage_and_so_what_is_built_if_none_is_named():
    assert list(recipe.stages())[-1] == "operator"


@BOTH
def test_make_image_builds_the_named_stage_with_the_first_program_that_works(tmp_path, stage):
    log = tmp_path / "said"
    for name, works in (("docker", False), ("podman", True)):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "$0" "$@" >>{log}\n{"exit 0" if works else "exit 1"}\n')
        program.chmod(0o700)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "image", f"TARGET={stage}", "IMAGE=registry.example/it:1"]
    subprocess.run(command, cwd=recipe.REPOSITORY, env=environment, check=True, capture_output=True)
    *_, built = log.read_text().splitlines()
    assert (
        f"podman build -f Containerfile --target {stage} -t registry.example/it:1 --build-arg SOURCE_DATE_EPOCH="
        in built
    )
    assert re.search(
        r"SOURCE_DATE_EPOCH=\d+ --build-arg REVISION=[0-9a-f]{40} --build-arg VERSION=\d+\.\d+\.\d+ \.$", built
    )


def test_without_a_container_runtime_make_image_says_in_one_line_what_it_needs(tmp_path):
    make = shutil.which("make")
    assert make
    done = subprocess.run(
        [make, "image"], cwd=recipe.REPOSITORY, env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode != 0
    first, *rest = done.stderr.splitlines()
    assert first.startswith("make image needs docker (with its daemon running), podman or buildah")
    assert len(rest) == 1  # make's own
