"""No write passes a gate that is shut: not to the API server, not to AWS, and no key leaves a queue."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import re
from pathlib import Path

import aiohttp
import pytest

import groundplane
from groundplane.aws.session import Sessions
from groundplane.cluster import client
from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.objects import Key, key_of
from groundplane.errors import InvalidInput, NotLeader, Unavailable
from groundplane.ports import Account
from groundplane.runtime.engine import Controller, Engine
from groundplane.runtime.kopf_supervisor import KopfSupervisor
from groundplane.runtime.leader import Gate
from groundplane.runtime.queue import Done, Queue
from tests.cluster.silent import Silent
from tests.runtime import virtual
from tests.standin import REGION
from tests.world import World

SOURCES = Path(groundplane.__file__).parent
KEY = Key("v1", "ConfigMap", "default", "gated")
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": KEY.name, "namespace": KEY.namespace}}


@pytest.fixture
async def shut(control_plane):
    """A cluster whose gate is shut, and the gate."""
    gate = Gate()
    api = Api.connect(str(control_plane.kubeconfig), may_write=gate.check)
    yield KubernetesCluster(api, Cache()), gate
    await api.close()


async def test_who_may_not_write_can_read_and_changes_nothing_at_the_api_server(control_plane, shut):
    cluster, gate = shut
    there = {**MAP, "metadata": {"name": "there", "namespace": "default"}}
    control_plane.apply(there)
    before = await cluster.get(Key("v1", "ConfigMap", "default", "there"))
    changed = {**before, "data": {"a": "b"}}
    for write in (
        lambda: cluster.create(MAP),
        lambda: cluster.update(changed),
        lambda: cluster.apply({**there, "data": {"a": "b"}}, manager="test"),
        lambda: cluster.patch(Key("v1", "ConfigMap", "default", "there"), {"data": {"a": "b"}}),
        lambda: cluster.delete(Key("v1", "ConfigMap", "default", "there")),
    ):
        with pytest.raises(NotLeader):
            await write()
    assert control_plane.get("configmap", KEY.name) is None
    assert control_plane.get("configmap", "there").get("data") is None
    gate.valid_until = float("inf")
    await cluster.create(MAP)
    assert control_plane.get("configmap", KEY.name) is not None


def ec2_of(standin, may_write):
    config = {
        "metadata": {"name": "default"},
        "spec": {
            "credentials": {"source": "None"},
            "endpoint": {"url": {"type": "Static", "static": standin.url}, "hostnameImmutable": True},
        },
    }
    return Sessions({}, may_write=may_write).clients(Account(config)).client("ec2", REGION)


def test_a_call_that_changes_aws_is_refused_between_two_calls_of_one_reconcile(standin):
    gate = Gate(is_open=True)
    ec2 = ec2_of(standin, gate.check)
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    gate.valid_until = float("-inf")
    with pytest.raises(NotLeader):
        ec2.delete_vpc(VpcId=made)
    assert made in [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]]


def test_a_repeat_of_a_call_is_refused_as_well(standin):
    gate = Gate(is_open=True)
    standin.fail("ec2", "CreateVpc", "InternalError", status=500, times=1)
    passed = []

    def once():
        gate.check()
        passed.append(1)
        gate.valid_until = float("-inf")

    ec2 = ec2_of(standin, once)
    before = len(ec2.describe_vpcs()["Vpcs"])
    with pytest.raises(NotLeader):
        ec2.create_vpc(CidrBlock="10.0.0.0/16")
    assert passed == [1]
    assert len(ec2.describe_vpcs()["Vpcs"]) == before


def test_keys_wait_while_the_gate_is_shut_and_are_taken_when_it_opens():
    async def main():
        is_open, taken = [False], []

        async def handle(key, lane):
            taken.append(key)
            return Done()

        queue = Queue("gated", handle, may_take=lambda: is_open[0])
        running = asyncio.create_task(queue.run(1))
        queue.add(KEY)
        await asyncio.sleep(1)
        assert taken == []
        is_open[0] = True
        queue.resume()
        await asyncio.sleep(1)
        assert taken == [KEY]
        await queue.drain(0)
        await running

    virtual.run(main())


# --- no way around it ---------------------------------------------------------------------------------------------


def callers(*names):
    """The modules in which a method or function of one of these names is called."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                if name in names:
                    found.add(str(path.relative_to(SOURCES)))
    return found


@pytest.mark.soak
async def test_what_passed_the_gate_ends_in_the_api_server_though_whoever_sent_it_is_stopped(
    control_plane, monkeypatch
):
    """A webhook holds it for ten seconds, and lets it pass then; who is stopped gives nothing up."""
    monkeypatch.setattr(client, "EARLIER", 100.0)
    answered, namespace = [], "held"
    api = Api.connect(
        str(control_plane.kubeconfig),
        on_request=lambda verb, resource, status, _: answered.append((verb, status)),
        write_timeout=2.0,
    )
    cluster = KubernetesCluster(api, Cache())
    held = {**MAP, "metadata": {"name": KEY.name, "namespace": namespace}}
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    with Silent() as webhook:
        control_plane.apply(webhook.holds("configmaps", namespace))
        while not webhook.asked:  # until it counts
            await cluster.delete(key_of(held))
            with contextlib.suppress(Unavailable):
                await cluster.apply(held, manager="test")
        verb, status = answered[-1]
        assert verb == "apply"
        assert not 200 <= status < 300
        control_plane.kubectl("delete", "validatingwebhookconfigurations", webhook.NAME)
    assert control_plane.get("configmap", KEY.name, "-n", namespace) is None
    await api.close()


def test_clients_of_aws_are_made_in_one_place_which_has_the_gate():
    assert callers("create_client") == {"aws/client_factory.py"}
    importing = {
        path for path in SOURCES.rglob("*.py") if re.search(r"^\s*(import|from) boto3", path.read_text(), re.M)
    }
    assert importing == set()  # it makes clients of its own


def test_connections_to_the_api_server_are_made_by_its_client_and_for_kopf_which_only_reads():
    assert callers("ClientSession") == {"cluster/client.py", "runtime/kopf_supervisor.py"}


async def test_what_kopf_would_write_is_refused(control_plane):
    api = Api.connect(str(control_plane.kubeconfig))
    supervisor = KopfSupervisor(api, lambda *_: None, served=lambda _: True, touch=lambda _: asyncio.sleep(0))
    connector = aiohttp.TCPConnector(ssl=api.ssl)
    async with aiohttp.ClientSession(connector=connector, middlewares=(supervisor.guard,)) as session:
        async with session.get(f"{api.server}/api/v1/namespaces") as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(f"{api.server}/api/v1/namespaces/default/configmaps", json=MAP)
    await api.close()


async def test_who_loses_the_lease_before_an_error_is_told_leaves_it_to_the_leader():
    world = await World().install()
    await world.apply(MAP)
    before = await world.cluster.get(KEY)

    async def reconcile(key, context):
        raise InvalidInput("no good", mend="another")

    async def refuse(obj, *, subresource=""):
        raise NotLeader("another replica may be leading")

    world.cluster.update = refuse
    engine = Engine([Controller("gated", reconcile, lambda key, context: "test", "Failed")], world.context)
    assert await engine.process("gated", KEY) == Done()
    assert await world.cluster.get(KEY) == before
