"""An operator on a real API server and AWS's stand-in, for the benchmarks that need one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.rig import ControlPlane
from tests.standin import serving

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Running:
    plane: ControlPlane
    process: subprocess.Popen[bytes]

    def cost(self) -> tuple[float, float]:
        """CPU seconds so far, and resident memory in MiB."""
        return _cost(self.process.pid)

    def cluster_cpu(self) -> float:
        """CPU seconds of the API server, etcd and the controllers so far."""
        return sum(_cost(pid)[0] for pid in self.plane.pids())

    def requests(self, since: int = 0) -> list[tuple[str, str]]:
        """The operator's requests as (verb, resource or resource/subresource), from the audit log."""
        about = [
            (entry["verb"], entry.get("objectRef") or {})
            for entry in self.plane.requests()[since:]
            if entry["user"]["username"] == "operator"
        ]
        return [(verb, "/".join(filter(None, (of.get("resource"), of.get("subresource"))))) for verb, of in about]


def _cost(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def running(*options: str, port: int = 0) -> Iterator[Running]:
    """`port`: where the operator's metrics are."""
    with ControlPlane(audit=True) as plane, serving(slow=1.0) as endpoint:
        plane.kubectl("apply", "--server-side", "-f", REPOSITORY / "crds")
        plane.wait_for_kinds()
        plane.kubectl("create", "namespace", "my-team")
        environment = os.environ | {
            "KUBECONFIG": str(plane.kubeconfig_of("operator")),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }
        command = [
            sys.executable,
            "-m",
            "groundplane.cli.main",
            "run",
            "--no-leader-election",
            "--health-port",
            str(port),
            "--log-level",
            "error",
            *options,
        ]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(6)
            yield Running(plane, process)
        finally:
            process.terminate()
            process.wait(30)


def platform(plane: ControlPlane) -> None:
    """The shipped platform API with its network, ready."""
    folder = REPOSITORY / "compositions" / "database-aws"
    for name in ("provider.yaml", "network.yaml", "definition.yaml", "composition.yaml"):
        plane.kubectl("apply", "-f", folder / name)
    plane.wait("the claim's kind", lambda: plane.get("databases.platform.example.com", "-A") is not None)
    plane.wait(
        "the network",
        lambda: all(
            any(c["type"] == "Ready" and c["status"] == "True" for c in (o.get("status") or {}).get("conditions", []))
            for o in plane.get("managed")["items"]
        ),
        seconds=90,
    )
