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
QUESTIONS = ("selfsubjectaccessreviews",)  # created, and nothing of them is stored
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
        self.operators, self._since = [], len(plane.requests())
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
        self.plane.wait("all are ready", lambda: self.all_ready(count))
        assert len(set(self.external_names())) == count
        assert self.vpcs() == self.external_names()

    def clear(self):
        self.plane.kubectl("delete", "vpcs.ec2.aws.upbound.io", "--all", "--wait=false")
        self.plane.wait("all are gone", lambda: not self.objects())
        assert self.vpcs() == []

    def writes(self, identity):
        """What a replica changed: (moment, verb, object), by the API server's clock, the oldest first.

        Not counted are events, what a standby writes too (the Lease and its namespace), and what was refused: a Lease fences
        nothing, so a request that had passed the gate when its process was stopped may be sent when that goes on.
        """
        found = []
        for entry in self.plane.requests()[self._since :]:
            about = entry.get("objectRef", {})
            is_write = entry["verb"] not in READS and about.get("resource") not in BESIDE + QUESTIONS
            is_ours = f"({identity})" in entry.get("userAgent", "")
            if is_ours and is_write and entry.get("responseStatus", {}).get("code", 500) < 400:
                moment = datetime.fromisoformat(entry["requestReceivedTimestamp"])
                found.append((moment, entry["verb"], (about.get("resource"), about.get("name"))))
        return sorted(found)

    def check_succession(self, led):
        """Each of the replicas that led in turn changed no object any more once its successor had.

        The versions of objects see to that; names of what is created are derived from what it is for.  The one write without
        a version is the outcome of a create, a patch that must not be lost: late or not, it tells the truth.
        """
        for before, after in itertools.pairwise(map(self.writes, led)):
            taken = {}
            for moment, _, about in after:
                taken.setdefault(about, moment)
            assert taken
            assert {verb for moment, verb, about in before if about in taken and moment > taken[about]} <= {"patch"}

    def progress(self, identity):
        """How many steps of creates a replica has gone: its writes, and the creates that AWS was asked for."""
        return len(self.writes(identity)) + self.aws.calls("CreateVpc")


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


class Successions:
    """One leader after the other, each stopped for longer than its Lease while it makes eight VPCs at once, and sent on again."""

    OBJECTS = 8

    def __init__(self, pair):
        self.pair, self.options = pair, (*QUICK, "--aws-threads", "4")
        first, second = pair.start(*self.options), pair.start(*self.options)
        pair.plane.wait("one leads", lambda: pair.leads(first) or pair.leads(second))
        self.leader, self.standby = (first, second) if pair.leads(first) else (second, first)
        self.led, self.count, self.stops = [pair.identity(self.leader)], 0, 0
        pair.delay(SLOW_CREATE)

    def stop_after(self, steps, *, is_killed):
        """Stop the leader once it has gone so many steps; it goes on when another one leads, and ends or is killed at once."""
        pair, leader, standby = self.pair, self.leader, self.standby
        pair.plane.wait("the standby is warm", lambda: pair.is_ready(standby))
        begun = pair.progress(self.led[-1])
        pair.make(*(f"stop-{self.stops}-{index}" for index in range(self.OBJECTS)))
        self.count, self.stops = self.count + self.OBJECTS, self.stops + 1
        pair.plane.wait(f"{steps} steps are gone", lambda: pair.progress(self.led[-1]) >= begun + steps)
        leader.process.send_signal(signal.SIGSTOP)
        assert not pair.all_ready(self.count), "stopped too late: all was done"
        pair.wait_leads(standby)
        leader.process.send_signal(signal.SIGCONT)
        if is_killed:
            leader.kill()
        else:
            assert leader.process.wait(180) == 1
            assert "another replica leads" in leader.text()
            assert "Traceback" not in leader.text()
        self.led.append(pair.identity(standby))
        self.leader = standby

    def relieve(self):
        """A new standby for the next stop."""
        self.standby = self.pair.start(*self.options)

    def check(self):
        self.pair.delay(0)
        self.pair.check_one_each(self.count)
        self.pair.check_succession(self.led)
        self.pair.clear()


@pytest.mark.soak
def test_a_leader_stopped_in_the_middle_of_creates_makes_nothing_twice_when_it_goes_on_or_is_killed(pair):
    """The stop catches calls that are on their way, that wait for a thread, and objects of which nothing is saved yet."""
    run = Successions(pair)
    run.stop_after(6, is_killed=False)
    run.relieve()
    run.stop_after(20, is_killed=True)
    run.check()


@pytest.mark.soak
@pytest.mark.parametrize("first", range(4))
def test_a_leader_stopped_at_twenty_positions_of_creates_makes_nothing_twice(pair, first):
    """Twenty positions over the first two thirds of what eight creates take; the other third is waiting."""
    run = Successions(pair)
    for steps in range(first * 2, 40, 8):
        if steps != first * 2:
            run.relieve()
        run.stop_after(steps, is_killed=first % 2 == 1)
    run.check()


@pytest.mark.soak
def test_two_that_do_not_elect_make_one_vpc_for_each_object_all_the_same(pair):
    for _ in range(2):
        pair.start("--no-leader-election", "--create-wait", "10")
    for operator in pair.operators:
        pair.plane.wait("it is ready", lambda operator=operator: pair.is_ready(operator))
    pair.delay(SLOW_CREATE)
    pair.make(*(f"both-{index}" for index in range(20)))
    pair.check_one_each(20)
    pair.clear()


def test_a_standby_is_ready_and_leads_as_soon_as_the_leader_is_told_to_end(pair):
    leader = pair.start(
        "--lease-duration", "3600", "--renew-deadline", "3590"
    )  # who waits for its end, waits for an hour
    pair.wait_leads(leader)
    standby = pair.start()
    pair.plane.wait("both are ready", lambda: pair.is_ready(leader) and pair.is_ready(standby))
    assert pair.leads(standby, "0.0")
    assert f"lease={NAMESPACE}/{LEASE} holder={pair.identity(leader)} until=" in standby.text()
    pair.make("before")
    pair.plane.wait("it is ready", lambda: pair.all_ready(1))
    assert leader.stop() == 0
    assert "the Lease is released" in leader.text()
    pair.plane.wait("the standby leads", lambda: pair.leads(standby))
    pair.make("after")
    pair.check_one_each(2)
    before, after = pair.writes(pair.identity(leader)), pair.writes(pair.identity(standby))
    assert before[-1] < after[0]
    pair.clear()


@pytest.mark.soak
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


@pytest.mark.soak
def test_beside_a_crossplane_that_leads_it_is_not_ready_and_ends_after_a_while(pair, crossplane):
    operator = pair.start(*QUICK)
    pair.plane.wait("it says so", lambda: "[-]rivals crossplane-0" in pair.ask(operator, "/readyz")[1])
    assert operator.process.wait(180) == 1
    assert (
        operator.text()
        .splitlines()[-1]
        .startswith(
            f"Error: a Crossplane is at work in this cluster: crossplane-0 holds the Lease {NAMESPACE}/{LEASE}."
        )
    )
    assert pair.writes(pair.identity(operator)) == []


@pytest.mark.soak
def test_a_crossplane_that_leads_is_waited_for_if_asked_to(pair, crossplane):
    operator = pair.start(*QUICK, "--takeover-wait")
    pair.plane.wait("it says so", lambda: "[-]rivals crossplane-0" in pair.ask(operator, "/readyz")[1])
    pair.make("waiting")
    assert pair.holder() == "crossplane-0"
    crossplane.end()
    pair.wait_leads(operator)
    pair.check_one_each(1)
    pair.clear()
