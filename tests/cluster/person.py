"""`make cluster`: the control plane of the tests for a person, with the operator and AWS's stand-in, until Ctrl-C.

    python -m tests.cluster.person

Everything listens on the loopback interface only, and its data goes when it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from groundplane.cli.demo import postgresql, standin, standin_environment, without_aws
from groundplane.sql.standin import Running
from tests.cluster.rig import ControlPlane
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
SLOW = 10.0  # seconds that a database takes to come and to go; at AWS minutes
SAID = """
In another terminal:

  export KUBECONFIG={kubeconfig}{path}
  kubectl apply -f compositions/database-aws
  kubectl wait xrd/xdatabases.platform.example.com --for=condition=Offered
  kubectl get managed -w                                  # the network comes to be
  kubectl create namespace my-team
  kubectl apply -f compositions/database-aws/examples/claim.yaml
  kubectl get database -n my-team -w                      # ready in {slow:.0f} seconds
  kubectl get secret my-service-db-credentials -n my-team -o yaml
  kubectl delete database my-service-db -n my-team
{postgresql}
The operator's log: {log}
AWS's stand-in:     {url}

Ctrl-C ends it all.
"""


POSTGRESQL = """
The same in a PostgreSQL server, by a label on the claim:

  kubectl apply -f compositions/database-postgresql/definition.yaml -f compositions/database-postgresql/composition.yaml
  kubectl wait xrd/xdatabases.platform.example.com --for=condition=Offered
  kubectl apply -f compositions/database-postgresql/examples/claim.yaml
  kubectl get database my-app-db -n my-team -w            # ready in a second
  kubectl get secret my-app-db-credentials -n my-team -o yaml
"""


def offer(plane: ControlPlane, server: Running) -> None:
    """Tell the control plane where the server is."""
    told = {"endpoint": server.host, "port": str(server.port), "username": server.user, "password": server.password}
    place = {"namespace": "crossplane-system", "name": "postgresql-admin"}
    spec = {
        "sslMode": "disable",
        "credentials": {"source": "PostgreSQLConnectionSecret", "connectionSecretRef": place},
    }
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place["namespace"]}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": place, "stringData": told},
        {
            "apiVersion": "postgresql.sql.crossplane.io/v1alpha1",
            "kind": "ProviderConfig",
            "metadata": {"name": "default"},
            "spec": spec,
        },
    ]
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def main() -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print("starting a Kubernetes API server (built first, if this machine has none yet) …", flush=True)
    with ControlPlane() as plane, standin(SLOW) as url, postgresql() as server:
        plane.kubectl("apply", "--server-side", "-f", REPOSITORY / "crds")
        plane.wait_for_kinds()
        if server:
            offer(plane, server)
        log = plane.folder / "operator.log"
        with operator(plane, url, log) as process:
            own = "" if shutil.which("kubectl") else f"\n  export PATH={plane.bin}:$PATH"
            print(
                SAID.format(
                    kubeconfig=plane.kubeconfig,
                    path=own,
                    slow=SLOW,
                    log=log,
                    url=url,
                    postgresql=POSTGRESQL if server else "",
                ),
                flush=True,
            )
            while not stop.wait(0.5):
                if process.poll() is not None:
                    print(f"the operator ended with {process.returncode}:\n{log.read_text()[-2000:]}", file=sys.stderr)
                    return 1
    print("ended")
    return 0


@contextmanager
def operator(plane: ControlPlane, url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`groundplane run` as a child, ready; ended orderly."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "groundplane.cli.main",
        "run",
        "--health-host",
        "127.0.0.1",
        "--health-port",
        str(port),
    ]
    environment = without_aws(os.environ) | standin_environment(url) | {"KUBECONFIG": str(plane.kubeconfig)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        plane.wait("the operator is ready", lambda: process.poll() is not None or _is_ready(port), seconds=60)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())
