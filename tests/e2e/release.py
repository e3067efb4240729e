"""A helm release of the chart on a real API server, with its Pods as processes beside the cluster.

There is no kubelet: a Pod here is the operator with the arguments and the environment that the Deployment has at that moment,
and a token of its ServiceAccount, so that the API server grants it what the chart's roles do and no more.
"""

from __future__ import annotations

from pathlib import Path

from tests.chart.generate import CHART
from tests.chart.helm import helm
from tests.cluster.rig import ControlPlane
from tests.e2e.conftest import Aws, Operator, asked_at
from tests.ports import free_port

NAMESPACE, NAME = "crossplane-system", "groundplane"
USER = f"system:serviceaccount:{NAMESPACE}:groundplane"


def may(plane: ControlPlane, *request: str, who: str = USER) -> bool:
    """Whether RBAC allows it to somebody, by default to the operator: `list secrets`."""
    return plane.kubectl("auth", "can-i", *request, "--as", who, check=False).returncode == 0


class Release:
    """`folder` takes the logs of the Pods."""

    def __init__(self, plane: ControlPlane, folder: Path, values: dict | None = None) -> None:
        self.plane, self.folder, self.values = plane, folder, values or {}
        self.pods: list[Operator] = []

    def helm(self, command: str, *args: object, values: dict | None = None) -> str:
        done = helm(command, NAME, *args, "-n", NAMESPACE, "--kubeconfig", self.plane.kubeconfig, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, chart: Path = CHART) -> None:
        self.helm("install", chart, "--create-namespace", values=self.values)
        self.wait_for_rights()

    def upgrade(self, chart: Path = CHART) -> None:
        self.helm("upgrade", chart, "--reset-then-reuse-values")
        self.wait_for_rights()

    def rollback(self) -> None:
        self.helm("rollback")
        self.wait_for_rights()

    def uninstall(self) -> None:
        self.helm("uninstall")

    def wait_for_rights(self) -> None:
        """Roles are gathered by a controller, and in force a moment later."""
        self.plane.wait("the roles are gathered", self._is_gathered)
        self.plane.wait("they are in force", lambda: may(self.plane, "list", "secrets"))

    def pod(self, aws: Aws, **environment: str) -> Operator:
        """Start one, as the Deployment is now."""
        spec = self.plane.get("deployment", "groundplane", "-n", NAMESPACE)["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        told = {
            each["name"]: each.get("value", NAMESPACE) for each in container["env"]
        }  # a reference is to the namespace
        if "GROUNDPLANE_WEBHOOKS" in told:  # no Service leads out of the cluster
            told |= {f"GROUNDPLANE_{name.upper()}": value for name, value in asked_at(free_port()).items()}
        kubeconfig = self.plane.kubeconfig_of_account(NAMESPACE, spec["serviceAccountName"])
        log = self.folder / f"pod-{len(self.pods)}.log"
        running = Operator(kubeconfig, aws.url, log, tuple(container["args"][1:]), environment=told | environment)
        running.start()
        self.pods.append(running)
        return running

    def close(self) -> None:
        """What still runs is ended."""
        for pod in self.pods:
            pod.stop()

    def _is_gathered(self) -> bool:
        whole = self.plane.get("clusterrole", "crossplane").get("rules") or ()
        parts = self.plane.get("clusterroles", "-l", "rbac.crossplane.io/aggregate-to-crossplane=true")["items"]
        return all(rule in whole for part in parts for rule in part["rules"])
