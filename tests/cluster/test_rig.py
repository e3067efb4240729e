"""The control plane of the tests: it ends with its starter, and its binaries are what their sources say."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
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


def thing(*versions, plural="things", group="direct.example.org"):
    """A kind of a category, which prefers the first of its versions."""
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {}}}}}
    served = [{"name": name, "served": True, "storage": name == versions[0], "schema": schema} for name in versions]
    names = {"kind": plural[:-1].capitalize(), "plural": plural, "shortNames": [plural[:2]], "categories": ["directs"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": served},
    }


def test_what_is_asked_without_kubectl_is_what_kubectl_says(control_plane, tmp_path):
    def both(*args):
        unaware = f"--cache-dir={tempfile.mkdtemp(dir=tmp_path)}"  # of what was served before
        done = control_plane.kubectl("get", *args, "-o", "json", unaware, check=False)
        return control_plane.get(*args), json.loads(done.stdout) if done.returncode == 0 else None

    def check(*args):
        ours, theirs = both(*args)
        assert theirs is not None
        if theirs["kind"] == "List":
            ours, theirs = ours["items"], theirs["items"]
        assert ours == theirs, args

    control_plane.apply(thing("v2", "v1"))
    control_plane.wait_for_kinds("things.direct.example.org")
    control_plane.wait("it is served", lambda: control_plane.get("things") is not None)
    for name in ("a", "b"):
        metadata = {"name": name, "labels": {"is": name}}
        control_plane.apply({"apiVersion": "direct.example.org/v1", "kind": "Thing", "metadata": metadata, "spec": {}})
    for words in (
        "namespaces",
        "ns default",
        "namespace/default",
        "service kubernetes --show-managed-fields",
        "endpoints,services -n default",
        "clusterroles -l kubernetes.io/bootstrapping=rbac-defaults",
        "crd things.direct.example.org",
        "customresourcedefinitions.v1.apiextensions.k8s.io/things.direct.example.org",
        "directs",
        "directs -A -l is=b",
        "thing a -n default",
        "th -l is=a",
        "things.v1.direct.example.org b",
        "things.direct.example.org -n kube-system",
    ):
        check(*words.split())
    for words in ("namespace nobody", "nobodies", "nobodies.example.org one", "things c"):
        assert both(*words.split()) == (None, None)
    control_plane.apply(thing("v2", "v1", plural="others"))  # the category has grown
    control_plane.wait("it is served", lambda: control_plane.get("others") is not None)
    control_plane.apply({"apiVersion": "direct.example.org/v1", "kind": "Other", "metadata": {"name": "c"}})
    assert [each["kind"] for each in control_plane.get("directs")["items"]] == ["Other", "Thing", "Thing"]


def test_what_is_applied_without_kubectl_is_refused_as_kubectl_is(control_plane):
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "direct"}, "data": {"a": "1"}}
    control_plane.apply(config)
    control_plane.apply(config | {"data": {"b": "2"}})
    found = control_plane.get("configmap", "direct", "--show-managed-fields")
    assert found["data"] == {"b": "2"}
    assert [(each["manager"], each["operation"]) for each in found["metadata"]["managedFields"]] == [
        ("kubectl", "Apply")
    ]
    for wrong, said in (
        (config | {"data": {"a": 1}}, "expected string"),
        (config | {"dada": {}}, "dada"),
        (config | {"kind": "Nobody"}, "Nobody"),
        (config | {"metadata": {"name": "direct", "namespace": "nowhere"}}, "nowhere"),
    ):
        with pytest.raises(AssertionError, match=said):
            control_plane.apply(wrong)


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
