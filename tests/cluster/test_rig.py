"""The control plane of the tests: it ends with its starter, and its binaries are what their sources say."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster import build
from tests.cluster.rig import ControlPlane

ROOT = Path(__file__).parents[2]
START_AND_CRASH = """
import os
from tests.cluster.rig import ControlPlane
plane = ControlPlane().__enter__()
print(plane.folder, *plane.pids(), flush=True)
os.kill(os.getpid(), 9)
"""


def is_running(pid: int) -> bool:
    """A process that has ended but that nobody has waited for yet does not count."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def wait_for_the_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 180
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, f"{pids} still run"


@pytest.mark.cluster
def test_a_control_plane_ends_with_a_starter_that_crashes():
    done = subprocess.run([sys.executable, "-c", START_AND_CRASH], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    folder, *pids = done.stdout.split()
    assert len(pids) == 3
    wait_for_the_end([int(pid) for pid in pids])
    deadline = time.monotonic() + 180
    while Path(folder).exists():
        assert time.monotonic() < deadline, f"{folder} is still there"


@pytest.mark.cluster
def test_a_stopped_control_plane_leaves_nothing_behind():
    with ControlPlane() as plane:
        pids = plane.pids()
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))
    assert not plane.folder.exists()


def test_the_api_server_says_the_version_that_go_mod_pins(control_plane):
    assert build.kubernetes_version() in control_plane.kubectl("version").stdout


def test_binaries_of_a_persons_own_are_used_and_must_be_complete(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(SystemExit, match="has no etcd, kube-apiserver, kube-controller-manager, kubectl"):
        build.binaries()
    for name in build.PACKAGES:
        (tmp_path / name).touch()
    assert build.binaries() == tmp_path


def test_other_sources_are_another_folder_of_the_cache(tmp_path, monkeypatch):
    before = build.key()
    for name in ("go.mod", "go.sum", "tools.go"):
        (tmp_path / name).write_bytes((build.SOURCES / name).read_bytes())
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    assert build.key() == before
    with (tmp_path / "go.sum").open("a") as sums:
        sums.write("\n")
    assert build.key() != before


def test_a_build_that_fails_leaves_no_half_made_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "_go", lambda wanted: "false")
    with pytest.raises(subprocess.CalledProcessError):
        build.binaries()
    assert [path.name for path in (tmp_path / "groundplane" / "cluster").iterdir() if path.is_dir()] == []
