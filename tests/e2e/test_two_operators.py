"""Two replicas on one cluster: one writes, the other takes over, and nothing is made twice, whatever moment the first one is stopped at."""

from __future__ import annotations

import itertools
import re
import signal
import threading
import urllib.request
from collections.abc import Iterator
from datetime import datetime

import boto3
import pytest

from tests.e2e.conftest import Operator
from tests.standin import REGION, serving

LEASE = "crossplane-leader-election-core"
NAMESPACE = "crossplane-system"
READS = ("get", "list", "watch")
BESIDE = ("leases", "namespaces", "events")  # resources that are written beside the work
QUICK = ("--lease-duration", "5", "--renew-deadline", "3.5", "--retry-period", "0.5", "--create-wait", "10")
SLOW_CREATE = 1.5  # seconds that a CreateVpc takes
CONFIG = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": "replicas"},
    "spec": {"credentials": {"source": "InjectedIdentity"}},
}


def vpc(name):
    spec = {"forProvider": {"region": REGION, "cidrBlock": "10.0.0.0/16"}, "providerConfigRef": {"name": "replicas"}}
    return {"apiVersion": "ec2.aws.upbound.io/v1beta1", "kind": "VPC", "metadata": {"name": name}, "spec": spec}


class Pair:
    """Operators side by side, and what one sees of the cluster and of AWS."""

    def __init__(self, plane, aws, folder):
        self.plane, self.aws, self._folder = plane, aws, folder
        self.operators = []
        keys = {"aws_access_key_id": "person", "aws_secret_access_key": "person"}
        self._ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=aws.url, **keys)

    def start(self, *options):
        log = self._folder / f"operator-{len(self.operators)}.log"
        operator = Operator(self.plane.kubeconfig_of("operator"), self.aws.url, log, options)
        operator.start()
        self.operators.append(operator)
        return operator

    def close(self):
        for operator in self.operators:
            if operator.process.poll() is None:
                operator.process.send_signal(signal.SIGCONT)
                operator.kill()
        self._ec2.close()

    # --- operators

    def ask(self, operator, path):
        """Status and text; 0 while there is no answer."""
        port = re.search(r"health_port=(\d+)", operator.text())
        if not port:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_ready(self, operator):
        return self.ask(operator, "/readyz")[0] == 200

    def leads(self, operator, value="1.0"):
        return f'leader_election_master_status{{name="{LEASE}"}} {value}' in self.ask(operator, "/metrics")[1]

    def identity(self, operator):
        return re.search(r"groundplane_[\w.-]+_[0-9a-f]{8}", operator.text())[0]

    def holder(self):
        lease = self.plane.get("lease", LEASE, "-n", NAMESPACE)
        return (lease or {}).get("spec", {}).get("holderIdentity") or ""

    def wait_leads(self, operator):
        self.plane.wait("it leads", lambda: self.leads(operator))
        assert self.identity(operator) == self.holder()

    # --- the world

    def make(self, *names):
        self.plane.apply(*(vpc(name) for name in names))

    def delay(self, seconds):
        """How long a CreateVpc takes from now on."""
        fault = {"service": "ec2", "operation": "CreateVpc", "delay": seconds, "times": 10_000}
        self.aws.request("DELETE", "/standin/faults")
        self.aws.request("POST", "/standin/faults", fault)

    def vpcs(self):
        return sorted(vpc["VpcId"] for vpc in self._ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"])

    def objects(self):
        return self.plane.get("vpcs.ec2.aws.upbound.io")["items"]

    def all_ready(self, count):
        found = self.objects()
        conditions = [{c["type"]: c["status"] for c in obj.get("status", {}).get("conditions", ())} for obj in found]
        return len(found) == count and all(each.get("Ready") == each.get("Synced") == "True" for each in conditions)

    def external_names(self):
        return sorted(obj["metadata"]["annotations"]["crossplane.io/external-name"] for obj in self.objects())

    def check_one_each(self, count):
        self.plane.wait("all are ready", lambda: self.all_ready(count), seconds=120)
        assert len(set(self.external_names())) == count
        assert self.vpcs() == self.external_names()

    def clear(self):
        self.plane.kubectl("delete", "vpcs.ec2.aws.upbound.io", "--all", "--wait=false")
        self.plane.wait("all are gone", lambda: not self.objects(), seconds=90)
        assert self.vpcs() == []

    def writes(self, *identities):
        """When each replica changed an object, by the API server's clock.

        Not counted are the Lease and its namespace, which a standby writes too, events, and what was refused: a request that a stopped
        process had let pass is sent when it goes on, since a Lease fences nothing; resource versions make the API server refuse it.
        """
        found = {identity: [] for identity in identities}
        for entry in self.plane.requests():
            who = entry.get("userAgent", "").partition("(")[2].rstrip(")")
            is_write = entry["verb"] not in READS and entry["objectRef"].get("resource") not in BESIDE
            if who in found and is_write and entry.get("responseStatus", {}).get("code", 500) < 400:
                found[who].append(datetime.fromisoformat(entry["requestReceivedTimestamp"]))
        return found


@pytest.fixture
def pair(plane, tmp_path) -> Iterator[Pair]:
    from tests.e2e.conftest import Aws

    plane.kubectl("delete", "lease", LEASE, "-n", NAMESPACE, "--ignore-not-found")
    plane.apply(CONFIG)
    with serving() as url:
        found = Pair(plane, Aws(url), tmp_path)
        yield found
        found.close()
    for kind in ("vpcs.ec2.aws.upbound.io", "providerconfigs.aws.upbound.io"):  # nobody is left who would let them go
        for obj in plane.get(kind)["items"]:
            name = obj["metadata"]["name"]
            plane.kubectl("delete", kind, name, "--wait=false", check=False)
            plane.kubectl("patch", kind, name, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}', check=False)
        plane.wait("they are gone", lambda kind=kind: not plane.get(kind)["items"])
    plane.kubectl("delete", "lease", LEASE, "-n", NAMESPACE, "--ignore-not-found")


def test_a_leader_stopped_at_twenty_positions_of_a_create_makes_nothing_twice(pair):
    """Each stop catches calls that are on their way, that wait for a thread, and objects of which nothing is saved yet."""
    options = (*QUICK, "--aws-threads", "4")
    leader, standby = pair.start(*options), pair.start(*options)
    pair.plane.wait("one leads", lambda: pair.leads(leader) or pair.leads(standby))
    leader, standby = (leader, standby) if pair.leads(leader) else (standby, leader)
    pair.delay(SLOW_CREATE)
    led, count, caught = [pair.identity(leader)], 0, 0
    for stop in range(4):
        pair.plane.wait("the standby is warm", lambda standby=standby: pair.is_ready(standby))
        before = pair.aws.calls("CreateVpc")
        pair.make(*(f"stop-{stop}-{index}" for index in range(8)))
        count += 8
        pair.plane.wait("creates are under way", lambda b=before, s=stop: pair.aws.calls("CreateVpc") >= b + 1 + s)
        leader.process.send_signal(signal.SIGSTOP)
        caught += sum(
            "crossplane.io/external-name" not in obj["metadata"].get("annotations", {}) for obj in pair.objects()
        )
        pair.wait_leads(standby)
        leader.process.send_signal(signal.SIGCONT)
        assert leader.process.wait(20) == 1
        assert "another replica leads" in leader.text()
        led.append(pair.identity(standby))
        leader, standby = standby, pair.start(*options)
    assert caught >= 20
    pair.delay(0)
    pair.check_one_each(count)
    writes = pair.writes(*led)
    assert all(max(writes[before]) < min(writes[after]) for before, after in itertools.pairwise(led))
    pair.clear()


def test_two_that_do_not_elect_make_one_vpc_for_each_object_all_the_same(pair):
    for _ in range(2):
        pair.start("--no-leader-election")
    for operator in pair.operators:
        pair.plane.wait("it is ready", lambda operator=operator: pair.is_ready(operator))
    pair.delay(SLOW_CREATE)
    pair.make(*(f"both-{index}" for index in range(20)))
    pair.check_one_each(20)
    pair.clear()


def test_a_standby_is_ready_and_leads_as_soon_as_the_leader_is_told_to_end(pair):
    leader = pair.start()  # a Lease of 15 seconds
    pair.wait_leads(leader)
    standby = pair.start()
    pair.plane.wait("both are ready", lambda: pair.is_ready(leader) and pair.is_ready(standby))
    assert pair.leads(standby, "0.0")
    assert f"lease={NAMESPACE}/{LEASE} holder={pair.identity(leader)} until=" in standby.text()
    pair.make("before")
    pair.plane.wait("it is ready", lambda: pair.all_ready(1))
    assert leader.stop() == 0
    assert "the Lease is released" in leader.text()
    pair.plane.wait("the standby leads before the old Lease would have ended", lambda: pair.leads(standby), seconds=12)
    pair.make("after")
    pair.check_one_each(2)
    before, after = pair.identity(leader), pair.identity(standby)
    writes = pair.writes(before, after)
    assert max(writes[before]) < min(writes[after])
    pair.clear()


def test_a_leader_that_cannot_reach_the_api_server_stops_writing_and_goes_on_when_it_can(pair):
    leader = pair.start(*QUICK)
    pair.wait_leads(leader)
    pair.make("before")
    pair.plane.wait("it is ready", lambda: pair.all_ready(1))
    pair.plane.kill_api_server()
    pair.plane.wait("the gate is shut", lambda: pair.leads(leader, "0.0"))
    pair.plane.wait("it says so", lambda: "the Lease could not be renewed in time" in leader.text())
    assert pair.ask(leader, "/livez")[0] == 200
    pair.plane.start_api_server()
    pair.plane.wait("it leads again", lambda: pair.leads(leader))
    assert leader.process.poll() is None
    pair.make("after")
    pair.check_one_each(2)
    pair.clear()


class Crossplane:
    """Another one's leader: renews the Lease until it is told to end."""

    def __init__(self, plane):
        self._plane, self._ended = plane, threading.Event()
        self._renew(0)
        self._thread = threading.Thread(target=self._hold)
        self._thread.start()

    def _renew(self, count):
        spec = {"holderIdentity": "crossplane-0", "leaseDurationSeconds": 4, "leaseTransitions": count}
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": NAMESPACE},
        }
        self._plane.apply(lease | {"spec": spec})

    def _hold(self):
        count = 0
        while not self._ended.wait(0.5):
            count += 1
            self._renew(count)

    def end(self):
        self._ended.set()
        self._thread.join()


@pytest.fixture
def crossplane(pair):
    pair.plane.kubectl("create", "namespace", NAMESPACE, check=False)
    found = Crossplane(pair.plane)
    yield found
    found.end()


def test_beside_a_crossplane_that_leads_it_is_not_ready_and_ends_after_a_while(pair, crossplane):
    operator = pair.start(*QUICK)
    pair.plane.wait("it says so", lambda: "[-]rivals crossplane-0" in pair.ask(operator, "/readyz")[1])
    assert operator.process.wait(60) == 1
    assert (
        operator.text()
        .splitlines()[-1]
        .startswith(
            f"Error: a Crossplane is at work in this cluster: crossplane-0 holds the Lease {NAMESPACE}/{LEASE}."
        )
    )
    assert pair.writes(pair.identity(operator)) == {pair.identity(operator): []}


def test_a_crossplane_that_leads_is_waited_for_if_asked_to(pair, crossplane):
    operator = pair.start(*QUICK, "--takeover-wait")
    pair.plane.wait("it says so", lambda: "[-]rivals crossplane-0" in pair.ask(operator, "/readyz")[1])
    pair.make("waiting")
    assert pair.holder() == "crossplane-0"
    crossplane.end()
    pair.wait_leads(operator)
    pair.check_one_each(1)
    pair.clear()
