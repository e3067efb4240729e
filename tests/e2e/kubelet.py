"""What there is of a node on the control plane of the tests: it runs the Pods of a namespace as processes beside the cluster.

A Pod whose image is the operator's is `groundplane` with the container's arguments and environment and a token of its ServiceAccount; of any other it
is only said that it runs.  The Deployment's rollout, `helm --wait` and `kubectl scale` go as on a cluster: a Pod is ready when its /readyz
says so, gets SIGTERM when it is deleted, and is gone when its process has ended.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.rig import ControlPlane
from tests.e2e.conftest import Aws, Operator, asked_at
from tests.ports import free_port

CONTROLLERS = ("deployment-controller", "replicaset-controller")  # that the control plane needs beside its own
NODE = "here"
LOOK = 0.05  # seconds between two looks at the Pods


@dataclass
class Running:
    """A Pod that runs."""

    operator: Operator | None  # None: of an image that is none of ours
    port: int  # of its probes
    begun: float  # by the monotonic clock
    ready: bool = False
    ready_after: float = 0.0  # seconds
    told_to_end: float = 0.0  # by the monotonic clock


class Kubelet:
    """A context manager; `pods` are those that run, by name."""

    def __init__(self, plane: ControlPlane, aws: Aws, folder: Path, namespace: str) -> None:
        """`folder` takes the logs."""
        self._plane, self.aws, self._folder = plane, aws, folder
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._namespace = namespace
        self._trust = ssl.create_default_context(cafile=plane.folder / "certificates" / "apiserver.crt")
        self._thread = threading.Thread(target=self._work)
        self._over = threading.Event()
        self.pods: dict[str, Running] = {}
        self.past: dict[str, Running] = {}

    def __enter__(self) -> Kubelet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for running in self.pods.values():
            if running.operator:
                running.operator.stop()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in sorted(self._folder.glob("pod-*.log")))

    def _work(self) -> None:
        while not self._over.wait(LOOK):
            with contextlib.suppress(urllib.error.URLError, OSError):  # the next look finds it again
                found = {each["metadata"]["name"]: each for each in self._request("GET", self._path)["items"]}
                for name in self.pods.keys() - found.keys():
                    self._forget(name)
                for name, pod in found.items():
                    self._mind(name, pod)

    def _mind(self, name: str, pod: dict) -> None:
        running, path = self.pods.get(name), f"{self._path}/{name}"
        if pod["metadata"].get("deletionTimestamp"):
            if running is None or self._has_ended(running):
                self._request("DELETE", path, {"gracePeriodSeconds": 0})
                self._forget(name)
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            self._request("POST", f"{path}/binding", binding)
        elif running is None:
            self.pods[name] = self._start(name, pod["spec"])
            self._tell(path, ready=False)
        elif (ready := self._is_ready(running)) != running.ready:
            running.ready = ready
            running.ready_after = running.ready_after or time.monotonic() - running.begun
            self._tell(path, ready=ready)

    def _start(self, name: str, spec: dict) -> Running:
        (container,) = spec["containers"]
        if "groundplane" not in container["image"]:
            return Running(None, 0, time.monotonic())
        told = {each["name"]: each.get("value", self._namespace) for each in container["env"]}
        if "GROUNDPLANE_WEBHOOKS" in told:  # no Service leads out of the cluster
            told |= {f"GROUNDPLANE_{setting.upper()}": value for setting, value in asked_at(free_port()).items()}
        port, account = free_port(), spec["serviceAccountName"]
        options = (*container["args"][1:], "--health-port", str(port))
        kubeconfig = self._plane.kubeconfig_of_account(self._namespace, account)
        log = self._folder / f"pod-{name}.log"
        operator = Operator(kubeconfig, self.aws.url, log, options, environment=told)
        operator.start()
        return Running(operator, port, time.monotonic())

    def _is_ready(self, running: Running) -> bool:
        if running.operator is None:
            return True
        assert running.operator.process
        if running.operator.process.poll() is not None:
            running.operator.start()  # as restartPolicy Always
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def _has_ended(self, running: Running) -> bool:
        if running.operator is None:
            return True
        assert running.operator.process
        if not running.told_to_end:
            running.told_to_end = time.monotonic()
            running.operator.process.terminate()
        return running.operator.process.poll() is not None

    def _forget(self, name: str) -> None:
        if (running := self.pods.pop(name, None)) is None:
            return
        self.past[name] = running
        if running.operator and running.operator.process and running.operator.process.poll() is None:
            running.operator.kill()  # it was deleted by force

    def _tell(self, path: str, *, ready: bool) -> None:
        types = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        is_so = {"PodScheduled": True, "Initialized": True}
        conditions = [{"type": each, "status": str(is_so.get(each, ready))} for each in types]
        status = {"phase": "Running", "conditions": conditions}
        self._request("PATCH", f"{path}/status", {"status": status})

    def _request(self, method: str, path: str, body: dict | None = None) -> dict:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": "Bearer admin-token", "Content-Type": kind}
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(self._plane.server + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(asked, context=self._trust, timeout=10) as answer:
            found: dict = json.loads(answer.read())
        return found
