"""The chart is installed by helm, and the operator runs beside the cluster with its Pod's arguments, environment and ServiceAccount.

So it has the rights of `runtime/rights.py` and no other (tests/chart holds that the chart's are the table's), and the API server
enforces them: nothing that it asks for is refused.
"""

from __future__ import annotations

import json

import pytest

from tests.chart.generate import CHART
from tests.chart.helm import helm
from tests.e2e import guide
from tests.e2e.conftest import Operator

NAMESPACE, RELEASE = "crossplane-system", "groundplane"
USER = f"system:serviceaccount:{NAMESPACE}:groundplane"
VALUES = {"rbac": {"compositeGroups": ["platform.example.com"]}, "args": ["--poll-interval", "300"]}

pytestmark = [
    pytest.mark.skipif(not guide.SEED.is_dir(), reason=f"the guide's manifests are not at {guide.SEED}"),
    pytest.mark.usefixtures("clean"),
]


def is_gathered(plane):
    """Whether the operator's role has all rules of the roles that it collects."""
    whole = plane.get("clusterrole", "crossplane").get("rules") or ()
    parts = plane.get("clusterroles", "-l", "rbac.crossplane.io/aggregate-to-crossplane=true")["items"]
    return all(rule in whole for part in parts for rule in part["rules"])


@pytest.fixture
def operator(plane, aws, tmp_path, monkeypatch):
    where = ("-n", NAMESPACE, "--kubeconfig", plane.kubeconfig)
    done = helm("install", RELEASE, CHART, *where, "--create-namespace", values=VALUES)
    assert done.returncode == 0, done.stderr
    plane.wait("the roles are gathered", lambda: is_gathered(plane))
    asked = ("auth", "can-i", "list", "secrets", "--as", USER)
    plane.wait("they are in force", lambda: plane.kubectl(*asked, check=False).returncode == 0)
    pod = plane.get("deployment", "groundplane", "-n", NAMESPACE)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for each in container["env"]:
        monkeypatch.setenv(each["name"], each.get("value", NAMESPACE))  # what is a reference is one to the namespace
    kubeconfig = plane.kubeconfig_of_account(NAMESPACE, pod["serviceAccountName"])
    running = Operator(kubeconfig, aws.url, tmp_path / "operator.log", options=tuple(container["args"][1:]))
    running.start()
    yield running
    running.stop()
    done = helm("uninstall", RELEASE, *where)
    assert done.returncode == 0, done.stderr
    assert plane.kubectl(*asked, check=False).returncode == 1
    assert plane.get("crd", guide.DECLARED[0])


def refused(plane):
    """What of our account's requests was refused, from its first on."""
    ours = [entry for entry in plane.requests() if entry["user"]["username"] == USER]
    assert ours
    return {
        f"{entry['verb']} {json.dumps(entry.get('objectRef'))}"
        for entry in ours
        if entry["responseStatus"]["code"] == 403
    }


def test_with_the_rights_that_the_chart_gives_the_guide_goes_there_and_back_and_nothing_is_refused(plane, aws):
    guide.apply(plane, *guide.GUIDE, guide.NETWORK)
    guide.wait_ready(plane)
    plane.wait("the Secret", lambda: guide.secret(plane))
    files = [word for path in (*guide.GUIDE, guide.NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false")
    plane.wait("all is gone", lambda: not guide.left(plane))
    assert aws.databases() == []
    assert refused(plane) == set()
