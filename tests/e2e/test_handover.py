"""Replicas in succession, in the middle of work whose other side is no AWS resource: a PostgreSQL server, another cluster, Cloud Control, Operations, kinds, webhooks.

The leader is killed, told to end, or stopped for longer than its Lease and sent on again.  Nothing is made twice, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import signal
import socket
import ssl
import threading
from collections import Counter
from datetime import UTC, datetime

import asyncpg
import boto3
import pytest

from groundplane.runtime import certificates, issuing, pairs
from groundplane.sql import standin as sql_standin
from tests.cluster.silent import Silent
from tests.e2e import test_webhooks as webhooks
from tests.e2e.conftest import Aws, asked_at
from tests.e2e.guide import condition
from tests.e2e.test_objects import portable
from tests.e2e.test_operations import made
from tests.e2e.test_two_operators import CONFIG, LEASE, NAMESPACE, QUICK, Pair
from tests.ports import free_port
from tests.reconcile import mrds
from tests.reconcile.things import patch_step
from tests.standin import REGION, serving

pytestmark = pytest.mark.soak

TEAM = "team-handover"
COUNT = 6  # things that are made, changed and deleted at once
OPTIONS = (*QUICK, "--webhooks", "off")
WAYS = ("killed", "told", "stopped")
SQL, OBJECTS = "postgresql.sql.m.crossplane.io/v1alpha1", "kubernetes.crossplane.io/v1alpha2"


class Succession:
    """Two replicas, of which the leader goes, again and again; there is always another one."""

    def __init__(self, pair, *options):
        self.pair, self._options = pair, (*OPTIONS, *options)
        self.leader, self.standby = pair.start(*self._options), None
        pair.wait_leads(self.leader)
        self._relieve()

    def _relieve(self):
        self.standby = self.pair.start(*self._options)
        self.pair.plane.wait("the standby is warm", lambda: self.pair.is_ready(self.standby))

    def amid(self, way, steps, begin):
        """Begin something, and have the leader go once it has written so often."""
        pair, leader = self.pair, self.leader
        identity = pair.identity(leader)
        before = len(pair.writes(identity))
        begin()
        pair.plane.wait(f"{steps} writes", lambda: len(pair.writes(identity)) >= before + steps)
        leader.process.send_signal({"killed": signal.SIGKILL, "told": signal.SIGTERM, "stopped": signal.SIGSTOP}[way])
        pair.wait_leads(self.standby)
        if way == "stopped":
            leader.process.send_signal(signal.SIGCONT)
        code = leader.process.wait(180)
        assert code == {"killed": -signal.SIGKILL, "told": 0, "stopped": 1}[way]
        assert "Traceback" not in leader.text()
        self.leader = self.standby
        self._relieve()


def are_done(plane, kind, count, is_as_wanted=lambda obj: True):
    """Whether there are so many, all of them Ready and Synced, and as wanted."""
    found = plane.get(kind, "-A")["items"]
    states = [condition(obj, type_).get("status") for obj in found for type_ in ("Ready", "Synced")]
    return len(found) == count and set(states) <= {"True"} and all(map(is_as_wanted, found))


@pytest.fixture
def pair(plane, tmp_path):
    plane.kubectl("delete", "lease", LEASE, "-n", NAMESPACE, "--ignore-not-found")
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}}, CONFIG)
    with serving() as url:
        found = Pair(plane, Aws(url), tmp_path)
        yield found
        found.close()
    plane.kubectl("delete", "lease", LEASE, "-n", NAMESPACE, "--ignore-not-found")


# --- PostgreSQL


def sql(kind, name, **fields):
    reference = {"providerConfigRef": {"name": "default", "kind": "ProviderConfig"}}
    spec = {"forProvider": fields, **reference}
    if kind == "Role":
        spec["writeConnectionSecretToRef"] = {"name": f"{name}-conn"}
    return {"apiVersion": SQL, "kind": kind, "metadata": {"name": name, "namespace": TEAM}, "spec": spec}


def sql_config(server):
    told = {"endpoint": server.host, "port": str(server.port), "username": server.user, "password": server.password}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "admin", "namespace": TEAM}, "stringData": told}
    credentials = {"source": "PostgreSQLConnectionSecret", "connectionSecretRef": {"name": "admin"}}
    yield {
        "apiVersion": SQL,
        "kind": "ProviderConfig",
        "metadata": {"name": "default", "namespace": TEAM},
        "spec": {"sslMode": "disable", "credentials": credentials},
    }


def password(plane, name):
    return base64.b64decode(plane.get("secret", f"{name}-conn", "-n", TEAM)["data"]["password"]).decode()


async def owned(server, name, word):
    """The databases that a role owns, by what it sees itself."""
    connection = await asyncpg.connect(
        host=server.host, port=server.port, user=name, password=word, database=name, ssl=False
    )
    try:
        query = "SELECT datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = current_user"
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


@pytest.mark.parametrize("way", WAYS)
def test_logins_and_their_databases_are_made_rotated_and_dropped_across_successions(pair, way):
    plane, names = pair.plane, [f"login-{number}" for number in range(COUNT)]
    kinds = [f"{kind}.{SQL.partition('/')[0]}" for kind in ("roles", "databases")]
    with sql_standin.serving() as server:
        plane.apply(*sql_config(server))
        succession = Succession(pair)

        def make():
            plane.apply(*(sql("Role", name, privileges={"login": True}) for name in names))
            plane.apply(*(sql("Database", name, ownerRef={"name": name}) for name in names))

        succession.amid(way, 12, make)
        for kind in kinds:
            plane.wait(f"{kind} are ready", lambda kind=kind: are_done(plane, kind, COUNT))
        first = {name: password(plane, name) for name in names}
        for name, word in first.items():
            assert asyncio.run(owned(server, name, word)) == [name]

        trigger = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

        def rotate():
            plane.apply(
                *(sql("Role", name, privileges={"login": True}, passwordRotationTrigger=trigger) for name in names)
            )

        def is_rotated(role):
            told = role.get("status", {}).get("atProvider", {}).get("lastPasswordChange", "")
            return told >= trigger and password(plane, role["metadata"]["name"]) != first[role["metadata"]["name"]]

        succession.amid(way, 5, rotate)
        plane.wait("they are rotated", lambda: are_done(plane, kinds[0], COUNT, is_rotated))
        for name in names:
            assert asyncio.run(owned(server, name, password(plane, name))) == [name]
            with pytest.raises(asyncpg.InvalidPasswordError):
                asyncio.run(owned(server, name, first[name]))

        def delete():
            for kind in kinds:
                plane.kubectl("delete", kind, "--all", "-n", TEAM, "--wait=false")

        succession.amid(way, 5, delete)
        plane.wait("all are gone", lambda: not any(plane.get(kind, "-A")["items"] for kind in kinds))
        config = f"providerconfigs.{SQL.partition('/')[0]}"
        plane.kubectl("delete", config, "default", "-n", TEAM, "--timeout=180s")


# --- another cluster


def thing(number, colour):
    metadata = {"name": f"thing-{number}", "namespace": TEAM}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"colour": colour}}
    spec = {"forProvider": {"manifest": manifest}, "providerConfigRef": {"name": "there"}}
    return {"apiVersion": OBJECTS, "kind": "Object", "metadata": {"name": f"thing-{number}"}, "spec": spec}


def elsewhere(plane):
    """What leads to another cluster, which is this one."""
    reference = {"namespace": TEAM, "name": "there", "key": "kubeconfig"}
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "there", "namespace": TEAM},
        "stringData": {"kubeconfig": portable(plane)},
    }
    yield {
        "apiVersion": "kubernetes.crossplane.io/v1alpha1",
        "kind": "ProviderConfig",
        "metadata": {"name": "there"},
        "spec": {"credentials": {"source": "Secret", "secretRef": reference}},
    }


@pytest.mark.parametrize("way", WAYS)
def test_objects_of_another_cluster_are_made_changed_and_deleted_across_successions(pair, way):
    plane, kind = pair.plane, "objects.kubernetes.crossplane.io"
    plane.apply(*elsewhere(plane))
    succession = Succession(pair)

    def colours():
        found = plane.get("configmaps", "-n", TEAM)["items"]
        return [obj["data"]["colour"] for obj in found if obj["metadata"]["name"].startswith("thing-")]

    def paint(colour):
        plane.apply(*(thing(number, colour) for number in range(COUNT)))

    succession.amid(way, 8, lambda: paint("red"))
    plane.wait("all are ready", lambda: are_done(plane, kind, COUNT))
    assert colours() == ["red"] * COUNT
    succession.amid(way, 3, lambda: paint("blue"))
    paint("green")
    plane.wait("all are green", lambda: colours() == ["green"] * COUNT and are_done(plane, kind, COUNT))
    succession.amid(way, 3, lambda: plane.kubectl("delete", kind, "--all", "--wait=false"))
    plane.wait("all are gone", lambda: not plane.get(kind)["items"])
    assert colours() == []
    plane.kubectl("delete", "providerconfigs.kubernetes.crossplane.io", "there", "--timeout=180s")


def test_a_write_to_another_cluster_has_ended_before_another_replica_leads(pair):
    """A webhook there holds what changes ConfigMaps for ten seconds, and lets it pass then; the leader is stopped meanwhile."""
    plane, kind = pair.plane, "objects.kubernetes.crossplane.io"
    plane.apply(*elsewhere(plane))
    succession = Succession(pair)
    plane.apply(thing(0, "red"))
    plane.wait("it is ready", lambda: are_done(plane, kind, 1))
    with Silent() as webhook:
        plane.apply(webhook.holds("configmaps", TEAM))
        plane.wait("the webhook counts", lambda: _is_held(plane, webhook))
        before = webhook.asked
        plane.apply(thing(0, "blue"))
        plane.wait("the change is held", lambda: webhook.asked > before)
        succession.leader.process.send_signal(signal.SIGSTOP)
        plane.kubectl("delete", "validatingwebhookconfigurations", webhook.NAME)
        pair.wait_leads(succession.standby)
        plane.kubectl("delete", kind, "--all", "--wait=false")
        plane.wait("it is gone", lambda: not plane.get(kind)["items"])

        who = pair.identity(succession.leader)

        def codes():
            """What the leader's applies were answered, the one that made it before."""
            return [
                entry.get("responseStatus", {}).get("code")
                for entry in plane.requests()
                if (entry["verb"], entry.get("objectRef", {}).get("name")) == ("patch", "thing-0")
                and f"({who})" in entry.get("userAgent", "")
                and "dryRun" not in entry["requestURI"]
                and entry["objectRef"]["resource"] == "configmaps"
            ]

        plane.wait("the change has ended", lambda: len(codes()) == 2)
        made, ended = codes()
        assert made == 201
        assert ended >= 500
        succession.leader.process.send_signal(signal.SIGCONT)
        assert succession.leader.process.wait(180) == 1
    assert plane.get("configmap", "thing-0", "-n", TEAM) is None
    plane.kubectl("delete", "providerconfigs.kubernetes.crossplane.io", "there", "--timeout=180s")


def _is_held(plane, webhook):
    """Whether the API server asks the webhook by now: a ConfigMap of nobody's is held, for as long as the shortest timeout."""
    before = webhook.asked
    plane.kubectl("create", "configmap", "probe", "-n", TEAM, "--request-timeout=1s", check=False)
    plane.kubectl("delete", "configmap", "probe", "-n", TEAM, "--ignore-not-found")
    return webhook.asked > before


# --- Cloud Control


def resource(number, size):
    spec = {"region": REGION, "typeName": "AWS::Stand::In", "desiredState": json.dumps({"Size": size})}
    return {
        "apiVersion": "cloudcontrol.aws.upbound.io/v1beta1",
        "kind": "Resource",
        "metadata": {"name": f"any-{number}"},
        "spec": {"forProvider": spec, "providerConfigRef": {"name": CONFIG["metadata"]["name"]}},
    }


@pytest.mark.parametrize("way", WAYS)
def test_what_cloud_control_makes_is_made_once_changed_and_deleted_across_successions(pair, way):
    plane, kind = pair.plane, "resources.cloudcontrol.aws.upbound.io"
    keys = {"aws_access_key_id": "person", "aws_secret_access_key": "person"}
    client = boto3.client("cloudcontrol", region_name=REGION, endpoint_url=pair.aws.url, **keys)

    def there():
        found = client.list_resources(TypeName="AWS::Stand::In")["ResourceDescriptions"]
        return sorted(each["Identifier"] for each in found)

    def sizes():
        found = client.list_resources(TypeName="AWS::Stand::In")["ResourceDescriptions"]
        return {
            json.loads(
                client.get_resource(TypeName="AWS::Stand::In", Identifier=each["Identifier"])["ResourceDescription"][
                    "Properties"
                ]
            )["Size"]
            for each in found
        }

    def apply(size):
        plane.apply(*(resource(number, size) for number in range(COUNT)))

    succession = Succession(pair, "--activations", "resources.cloudcontrol.*")
    plane.wait("the kind", lambda: plane.get(kind) is not None)
    fault = {"service": "cloudcontrol", "operation": "CreateResource", "delay": 1.5, "times": 10_000}
    pair.aws.request("POST", "/standin/faults", fault)
    succession.amid(way, 9, lambda: apply(1))
    plane.wait("all are ready", lambda: are_done(plane, kind, COUNT))
    names = sorted(obj["metadata"]["annotations"]["crossplane.io/external-name"] for obj in plane.get(kind)["items"])
    assert there() == names
    succession.amid(way, 3, lambda: apply(2))
    plane.wait("all are changed", lambda: sizes() == {2} and are_done(plane, kind, COUNT))
    succession.amid(way, 3, lambda: plane.kubectl("delete", kind, "--all", "--wait=false"))
    plane.wait("all are gone", lambda: not plane.get(kind)["items"])
    assert there() == []
    client.close()


# --- Operations


def operation(number):
    metadata = {"name": f"run-{number}", "namespace": TEAM}
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": "1"}}
    spec = {"mode": "Pipeline", "pipeline": [patch_step({"name": "a", "base": base})]}
    return made("Operation", f"run-{number}", **spec)


@pytest.mark.parametrize("way", WAYS)
def test_operations_come_to_their_end_and_a_schedule_makes_one_each_time_across_successions(pair, way):
    plane = pair.plane
    succession = Succession(pair)

    def ended(selector=()):
        found = plane.get("operations", *selector)["items"]
        return [obj for obj in found if condition(obj, "Succeeded").get("status") == "True"]

    succession.amid(way, 6, lambda: plane.apply(*(operation(number) for number in range(COUNT))))
    plane.wait("all have succeeded", lambda: len(ended()) == COUNT)
    assert {obj["status"].get("failures") for obj in ended()} == {None}
    template = {"spec": operation("time")["spec"]}
    cron = made("CronOperation", "minute", schedule="* * * * *", operationTemplate=template, successfulHistoryLimit=99)
    begun = len(pair.plane.requests())
    succession.amid(way, 3, lambda: plane.apply(cron))  # its status, the first Operation, and its status
    of_it = ("-l", "ops.crossplane.io/cronoperation=minute")
    plane.wait("two times have come", lambda: len(ended(of_it)) >= 2)
    created = [
        entry["objectRef"]["name"]
        for entry in plane.requests()[begun:]
        if entry["verb"] == "create"
        and entry.get("objectRef", {}).get("resource") == "operations"
        and entry["responseStatus"]["code"] < 300
    ]
    assert len(created) == len(set(created))
    plane.kubectl("delete", "cronoperations,operations", "--all")


# --- activation


@pytest.mark.parametrize("way", WAYS)
def test_kinds_are_activated_and_made_across_a_succession(pair, way):
    plane, group = pair.plane, f"{way}.{mrds.GROUP}"
    plurals = [f"{letter * 3}s" for letter in "abcdef"]
    names = [f"{plural}.{group}" for plural in plurals]
    succession = Succession(pair)
    plane.wait("the kinds are served", lambda: plane.get("mrap") is not None)

    def declare():
        plane.apply(*(mrds.definition(plural, group) for plural in plurals), mrds.policy(f"*.{group}"))

    def are_established():
        found = [plane.get("mrd", name) or {} for name in names]
        return all(condition(each, "Established").get("status") == "True" for each in found)

    succession.amid(way, 10, declare)
    plane.wait("all are established", are_established)
    plane.wait("all are listed", lambda: plane.get("mrap", "mine")["status"].get("activated") == names)
    assert condition(plane.get("mrap", "mine"), "Healthy")["reason"] == "Running"
    for name in names:
        [owner] = plane.get("crd", name)["metadata"]["ownerReferences"]
        assert (owner["name"], owner["uid"]) == (name, plane.get("mrd", name)["metadata"]["uid"])
    plane.kubectl("delete", "mrap", "mine")
    plane.kubectl("delete", "mrd", *names)
    plane.wait("they are gone", lambda: not any(plane.get("crd", name) for name in names))


# --- webhooks


class Service:
    """One address for several ports: hands each connection to the next one that takes it, as a Service hands it to a Pod that is ready."""

    def __init__(self, *ports):
        self._turns, self._count = itertools.cycle(ports), len(ports)
        self._taking = socket.create_server(("127.0.0.1", 0))
        self._open, self._threads = {self._taking}, []
        self.port = self._taking.getsockname()[1]
        self._begin(self._take)

    def close(self):
        for each in list(self._open):
            self._shut(each)
        for thread in self._threads:
            thread.join()
        self._taking.close()

    def _begin(self, work, *given):
        self._threads.append(thread := threading.Thread(target=work, args=given))
        thread.start()
        return thread

    def _take(self):
        with contextlib.suppress(OSError):  # shut
            while True:
                self._begin(self._hand_on, self._taking.accept()[0])

    def _hand_on(self, taken):
        with taken:
            for _ in range(self._count):
                with contextlib.suppress(ConnectionRefusedError), self._connected() as given:
                    self._open |= {taken, given}
                    back = self._begin(self._pump, given, taken)
                    self._pump(taken, given)
                    back.join()
                    self._open -= {taken, given}
                    return

    def _connected(self):
        return socket.create_connection(("127.0.0.1", next(self._turns)))

    def _pump(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        self._shut(source)
        self._shut(target)

    @staticmethod
    def _shut(each):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def about_to_expire(plane):
    """What is served with, as if it had been made long ago."""
    there, authority = (webhooks.secret_pair(plane, name) for name in (pairs.SERVER, pairs.AUTHORITY))
    certificate = issuing.x509.load_pem_x509_certificate(there.certificate)
    names = certificate.extensions.get_extension_for_class(issuing.x509.SubjectAlternativeName).value
    past = certificates.now() - 0.9 * issuing.SERVER_LIFE
    hosts = ["127.0.0.1", *names.get_values_for_type(issuing.x509.DNSName)]
    old = issuing.signed(authority, hosts, past)
    data = {"tls.crt": old.certificate, "tls.key": old.key}
    return {name: base64.b64encode(value).decode() for name, value in data.items()}


def test_the_api_server_is_answered_while_a_certificate_is_renewed_and_a_replica_goes(pair):
    plane, ports = pair.plane, (free_port(), free_port())
    service = Service(*ports)
    settings = {"webhooks": "on"} | asked_at(service.port)
    words = {name.replace("_", "-"): value for name, value in settings.items()}
    options = [word for name, value in words.items() if name != "webhook-port" for word in (f"--{name}", value)]
    first, second = (pair.start(*QUICK, *options, "--webhook-port", str(port)) for port in ports)
    for each in (first, second):
        plane.wait("it serves", lambda each=each: "webhooks are served" in each.text())
    plane.wait("the API server asks", lambda: webhooks.is_asked(plane))
    answers, ended = Counter(), threading.Event()

    def keep_asking():
        while not ended.is_set():
            answers[webhooks.is_asked(plane)] += 1

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        before = webhooks.secret_pair(plane).certificate
        data = about_to_expire(plane)
        plane.kubectl("patch", "secret", "-n", NAMESPACE, pairs.SERVER, "-p", json.dumps({"data": data}))

        def is_renewed():
            served = [ssl.PEM_cert_to_DER_cert(webhooks.secret_pair(plane).certificate.decode())] * 2
            made = base64.b64encode(webhooks.secret_pair(plane).certificate).decode()
            return made not in (data["tls.crt"], before) and [webhooks.serial(port) for port in ports] == served

        plane.wait("both serve with a new one", is_renewed)
        assert answers[False] == 0
        leader, other = (first, second) if pair.leads(first) else (second, first)
        leader.kill()
        pair.wait_leads(other)
        so_far = answers[True]
        plane.wait("it goes on", lambda: answers[True] > so_far + 20)
        bundle = base64.b64decode(
            webhooks.entries(plane)["compositions.apiextensions.crossplane.io"]["clientConfig"]["caBundle"]
        )
        assert webhooks.secret_pair(plane).bundle == bundle
        assert answers[False] <= 1, "what was under way when it was killed"
    finally:
        ended.set()
        asking.join()
        for each in (first, second):
            webhooks.withdraw(plane, each)
        service.close()
