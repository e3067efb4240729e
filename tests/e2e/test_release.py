"""Two replicas of the chart on its own settings: whichever is ended, the other one goes on where it was."""

from __future__ import annotations

import re
import signal
import time

import pytest
import yaml

from tests.cluster.rig import ControlPlane
from tests.e2e import guide
from tests.e2e.release import NAMESPACE, USER, Release

INSTANCES = "instances.rds.aws.upbound.io"
LEASE = "crossplane-leader-election-core"
CLAIM_NAME = "crossplane.io/claim-name"

pytestmark = pytest.mark.skipif(not guide.SEED.is_dir(), reason=f"the guide's manifests are not at {guide.SEED}")


@pytest.fixture(scope="module")
def plane():
    """A control plane to which nothing has been brought yet."""
    with ControlPlane(audit=True) as running:
        yield running


@pytest.fixture
def release(plane, tmp_path):
    found = Release(plane, tmp_path, {"args": ["--poll-interval", "300", "--qps", "400"]})
    found.install()
    yield found
    found.close()
    found.helm("uninstall", "--ignore-not-found")


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
        self.plane.wait("it is composed", lambda: self.plane.get(INSTANCES, "-l", f"{CLAIM_NAME}={name}")["items"])
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
        """When a replica changed objects, by the API server's clock."""
        return [
            entry["requestReceivedTimestamp"]
            for entry in self.plane.requests()
            if f"({identity})" in entry.get("userAgent", "")
            and entry["verb"] in ("create", "update", "patch", "delete")
            and entry["objectRef"]["resource"] not in ("leases", "events", "namespaces", "selfsubjectaccessreviews")
        ]


def is_warm(pod):
    """A standby that has listed all; what it follows of definitions comes right after."""
    return '"message":"working"' in pod.text() and '"message":"standing by' in pod.text()


def claim(name):
    found = yaml.safe_load(guide.CLAIM.read_text())
    found["metadata"]["name"] = found["spec"]["writeConnectionSecretToRef"]["name"] = name
    return found


def test_the_other_replica_composes_the_next_claim_when_the_leader_is_killed_or_told_to_end(plane, aws, release):
    """On the chart's own settings: 15 seconds of Lease after a kill, none after SIGTERM.  `-s` shows how long it took."""
    replicas = Replicas(plane, release, aws)
    plane.kubectl("create", "namespace", guide.TEAM, check=False)
    guide.apply(plane, *guide.GUIDE[:-1], guide.NETWORK)
    plane.apply(claim("first"))
    plane.wait("it is composed", lambda: plane.get(INSTANCES)["items"])
    guide.at_rest(plane, user=USER)
    killed = replicas.succeed("after-kill", lambda pod: pod.kill())
    replicas.relieve()
    rolled = replicas.succeed("after-roll", lambda pod: pod.process.send_signal(signal.SIGTERM))
    print(f"killed: {killed:.1f} s; told to end: {rolled:.1f} s")
    plane.kubectl("delete", "databases.platform.example.com", "--all", "-n", guide.TEAM, "--wait=false")
    files = [word for path in (*guide.GUIDE[:-1], guide.NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false")
    plane.wait("all is gone", lambda: not guide.left(plane))
