"""The whole product as a user runs it: a real API server, AWS's stand-in, and `groundplane run` as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from groundplane.aws.crds import crds as aws_crds
from groundplane.core.crds import crds as core_crds
from tests.cluster.rig import ControlPlane

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Operator:
    """`groundplane run` as a process of its own; its log goes to a file."""

    kubeconfig: Path
    endpoint: str
    log: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    spent: list[str] = field(default_factory=list)

    def start(self, *, ready: bool = True) -> None:
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "groundplane.cli.main", "run", "--health-port", "0", *self.options],
                env=environment,
                stdout=out,
                stderr=out,
                cwd=REPOSITORY,
            )

    def kill(self) -> None:
        """As the kernel would at the worst moment."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Orderly; returns the exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def text(self) -> str:
        return self.log.read_text(errors="replace")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The URL of AWS's stand-in, in a process of its own; databases take a moment to come and go."""
    from groundplane.aws.standin import serving

    with serving(slow=1.0) as url:
        yield url


@pytest.fixture(scope="session")
def cluster_with_kinds(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with Groundplane's own kinds, as `kubectl apply -f crds/` makes them."""
    control_plane.kubectl("apply", "--server-side", "-f", REPOSITORY / "crds")
    control_plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
    return control_plane


@pytest.fixture
def operator(cluster_with_kinds: ControlPlane, endpoint: str, tmp_path: Path) -> Iterator[Operator]:
    running = Operator(cluster_with_kinds.kubeconfig, endpoint, tmp_path / "operator.log")
    running.start()
    yield running
    running.stop()


__all__ = ["aws_crds", "core_crds", "time"]
