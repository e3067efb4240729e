"""The chart's life: what helm does to a release changes nothing of what users have, in the cluster or in AWS.

The previous version is this one with less: the chart without one value and one rule, the operator with a lower version and a
definition that lacks a field.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from contextlib import contextmanager

import pytest
import yaml

from groundplane import __version__
from groundplane.core.crds.marks import MARK, marked
from tests.chart.generate import CHART
from tests.cluster.rig import ControlPlane
from tests.e2e import guide
from tests.e2e.release import NAMESPACE, USER, Release, may

PREVIOUS = "0.0.9"
MENDED = "instances.rds.aws.upbound.io"  # its definition has one field more than in the previous version
LATER_FIELD, LATER_RULE, LATER_VALUE = "dedicatedLogVolume", "customresourcedefinitions/status", "prometheusRule"
LATER_RIGHT = ("customresourcedefinitions", "--subresource=status")
LEASE = "crossplane-leader-election-core"
CLAIM_NAME = "crossplane.io/claim-name"
LOOKS = {  # of whoever takes up the guide's resources
    f"Describe{each}" for each in ("Vpcs", "Subnets", "SecurityGroups", "DBSubnetGroups", "DBInstances")
}
READS = ("Describe", "Get", "List")


@pytest.fixture(scope="module")
def plane():
    """A control plane to which nothing has been brought yet."""
    with ControlPlane(audit=True) as running:
        yield running


@pytest.fixture
def release(plane, tmp_path):
    found = Release(plane, tmp_path, {"args": ["--poll-interval", "300", "--qps", "400"]})
    found.install(previous_chart(tmp_path / "chart"))
    yield found
    found.close()
    found.helm("uninstall", "--ignore-not-found")


def previous_chart(folder):
    """The chart before one value, one rule and one version."""
    shutil.copytree(CHART, folder)
    (folder / "templates" / "observability.yaml").unlink()
    with rewritten(folder / "Chart.yaml") as content:
        content |= {"version": PREVIOUS, "appVersion": PREVIOUS}
    with rewritten(folder / "values.yaml") as content:
        del content[LATER_VALUE]
    with rewritten(folder / "values.schema.json") as content:
        del content["properties"][LATER_VALUE]
    with rewritten(folder / "files" / "rights.yaml") as content:
        (kinds,) = [each for each in content["concerns"] if each["name"] == "kinds"]
        kinds["rules"] = [rule for rule in kinds["rules"] if rule["resources"] != [LATER_RULE]]
    return folder


def previous_code(folder):
    """The source root of the operator before one field and one version."""
    shutil.copytree(guide.REPOSITORY / "operator", folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    package = folder / "groundplane"
    code = package / "__init__.py"
    code.write_text(code.read_text().replace(__version__, PREVIOUS))
    with rewritten(package / "crds" / "rds.aws.upbound.io_instances.yaml") as crd:
        for fields in fields_of(crd):
            del fields[LATER_FIELD]
        crd |= marked(crd, PREVIOUS)
    return folder


@contextmanager
def rewritten(file):
    """What is in a file of YAML or JSON, to be changed."""
    content = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    yield content
    file.write_text(json.dumps(content) if file.suffix == ".json" else yaml.dump(content, Dumper=yaml.CSafeDumper))


def fields_of(crd):
    """The fields of `spec.forProvider` in each version of a definition."""
    for version in crd["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        yield spec["properties"]["forProvider"]["properties"]


class World:
    """What users have, in the cluster and in AWS."""

    def __init__(self, plane, aws):
        self.plane, self.aws = plane, aws

    def objects(self):
        """Versions of all objects that are users' or made for them, Secrets among them: one write changes its."""
        kinds = (*guide.DECLARED, *guide.MADE, "databases.platform.example.com", "secrets")
        found = [obj for kind in kinds for obj in (self.plane.get(kind, "-A") or {"items": []})["items"]]
        return {
            f"{obj['kind']} {obj['metadata']['name']}": (obj["metadata"]["uid"], obj["metadata"]["resourceVersion"])
            for obj in found
            if obj.get("type") != "helm.sh/release.v1"
        }

    def definitions(self):
        """CustomResourceDefinitions, by name: their identity."""
        return {crd["metadata"]["name"]: crd["metadata"]["uid"] for crd in self.plane.get("crds")["items"]}

    def mended(self):
        """The mark of the definition that the versions differ in, and whether it has the field."""
        crd = self.plane.get("crd", MENDED)
        return crd["metadata"]["annotations"][MARK].rpartition("-")[0], all(
            LATER_FIELD in each for each in fields_of(crd)
        )

    def changes_in_aws(self):
        return [call["operation"] for call in self.calls() if not call["operation"].startswith(READS)]

    def looked_at(self):
        return {call["operation"] for call in self.calls()}

    def calls(self):
        return self.aws.request("GET", "/standin/calls")


@pytest.mark.soak
def test_no_command_of_helm_changes_what_users_have(plane, aws, release, tmp_path):
    """Install, upgrade, rollback, uninstall, install again: the next operator takes up what is there, and deletes it when asked."""
    world = World(plane, aws)
    old = {"PYTHONPATH": str(previous_code(tmp_path / "code"))}
    pod = release.pod(aws, **old)
    plane.wait("it leads", pod.leads)
    plane.kubectl("create", "namespace", guide.TEAM, check=False)
    guide.apply(plane, *guide.GUIDE, guide.NETWORK)
    guide.wait_ready(plane)
    plane.wait("the Secret", lambda: guide.secret(plane))
    guide.at_rest(plane, user=USER)
    objects, definitions = world.objects(), world.definitions()
    assert world.mended() == (PREVIOUS, False)
    assert not may(plane, "patch", *LATER_RIGHT)

    def check_taken_up(pod):
        plane.wait("all was looked at", lambda: world.looked_at() >= LOOKS)
        guide.at_rest(plane, user=USER)
        assert world.objects() == objects
        assert world.definitions() == definitions
        assert world.changes_in_aws() == []

    def roll(**environment):
        """As a Deployment does it: a new Pod is ready before the old one goes."""
        nonlocal pod
        aws.request("DELETE", "/standin/calls")
        before, pod = pod, release.pod(aws, **environment)
        plane.wait("it stands by", lambda: "standing by" in pod.text())
        assert before.stop() == 0
        plane.wait("it leads", pod.leads)
        check_taken_up(pod)

    release.upgrade()
    assert may(plane, "patch", *LATER_RIGHT)
    roll()
    assert world.mended() == (__version__, True)

    release.rollback()
    assert not may(plane, "patch", *LATER_RIGHT)
    roll(**old)
    assert world.mended() == (__version__, True), "a rollback takes no field from what is stored"

    aws.request("DELETE", "/standin/calls")
    release.uninstall()
    assert not may(plane, "list", "secrets")
    assert pod.stop() == 0
    assert "Traceback" not in pod.text()
    assert (world.objects(), world.definitions(), world.changes_in_aws()) == (objects, definitions, [])

    release.install()
    pod = release.pod(aws)
    plane.wait("it leads", pod.leads)
    check_taken_up(pod)
    assert guide.condition(guide.claim(plane), "Ready")["status"] == "True"

    files = [word for path in (*guide.GUIDE, guide.NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false")
    plane.wait("all is gone", lambda: not guide.left(plane))
    assert aws.databases() == []


class Replicas:
    """Two Pods of the release as it is; one leads."""

    def __init__(self, plane, release, aws):
        self.plane, self._release, self._aws = plane, release, aws
        self.leader, self.standby = self.start(), self.start()
        plane.wait("one leads, and the other stands by", self._are_two)

    def start(self):
        return self._release.pod(self._aws)

    def _are_two(self):
        if self.standby.leads():
            self.leader, self.standby = self.standby, self.leader
        return self.leader.leads() and is_warm(self.standby)

    def succeed(self, name, end):
        """End the leader, make a claim at once, and return the seconds until the standby has composed it."""
        before, after = (
            re.search(r"groundplane_[\w.-]+_[0-9a-f]{8}", pod.text())[0] for pod in (self.leader, self.standby)
        )
        begun = time.monotonic()
        end(self.leader)
        self.plane.apply(claim(name))
        self.plane.wait("it is composed", lambda: self.plane.get(MENDED, "-l", f"{CLAIM_NAME}={name}")["items"])
        seconds = time.monotonic() - begun
        assert self.plane.get("lease", LEASE, "-n", NAMESPACE)["spec"]["holderIdentity"] == after
        last, first = max(self._writes(before)), min(self._writes(after))
        assert last < first
        self.leader = self.standby
        return seconds

    def relieve(self):
        """A new standby."""
        self.standby = self.start()
        self.plane.wait("it stands by", lambda: is_warm(self.standby))

    def _writes(self, identity):
        """When a replica changed what only the leader may change, by the API server's clock."""
        return [
            entry["requestReceivedTimestamp"]
            for entry in self.plane.requests()
            if f"({identity})" in entry.get("userAgent", "")
            and entry["verb"] in ("create", "update", "patch", "delete")
            and entry["objectRef"]["resource"] not in ("leases", "events", "namespaces", "selfsubjectaccessreviews")
            and (entry["objectRef"]["resource"], entry["objectRef"].get("namespace")) != ("secrets", NAMESPACE)
        ]  # any replica makes the webhooks' certificate: runtime/certificates.py


def is_warm(pod):
    """A standby that has listed all; what it follows of definitions comes right after."""
    return '"message":"working"' in pod.text() and '"message":"standing by' in pod.text()


def claim(name):
    found = yaml.safe_load(guide.CLAIM.read_text())
    found["metadata"]["name"] = found["spec"]["writeConnectionSecretToRef"]["name"] = name
    return found


@pytest.mark.soak
def test_the_other_replica_composes_the_next_claim_when_the_leader_is_killed_or_told_to_end(plane, aws, release):
    """On the chart's own settings: 15 seconds of Lease after a kill, none after SIGTERM.  `-s` shows how long it took."""
    replicas = Replicas(plane, release, aws)
    plane.kubectl("create", "namespace", guide.TEAM, check=False)
    guide.apply(plane, *guide.GUIDE[:-1], guide.NETWORK)
    plane.wait_for_kinds("databases.platform.example.com")
    plane.apply(claim("first"))
    plane.wait("it is composed", lambda: plane.get(MENDED)["items"])
    guide.at_rest(plane, user=USER)
    killed = replicas.succeed("after-kill", lambda pod: pod.kill())
    replicas.relieve()
    rolled = replicas.succeed("after-roll", lambda pod: pod.process.send_signal(signal.SIGTERM))
    print(f"killed: {killed:.1f} s; told to end: {rolled:.1f} s")
    plane.kubectl("delete", "databases.platform.example.com", "--all", "-n", guide.TEAM, "--wait=false")
    files = [word for path in (*guide.GUIDE[:-1], guide.NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false")
    plane.wait("all is gone", lambda: not guide.left(plane))
