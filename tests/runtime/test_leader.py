"""The elector: a standby leads as soon as the Lease is free, not at its next try."""

import asyncio
import socket

import pytest

from groundplane.errors import Denied
from groundplane.runtime import alive
from groundplane.runtime.election import Standing, Terms
from groundplane.runtime.leader import LEASE, Elector, Gate

NEVER = Terms(duration=9_000.0, deadline=6_000.0, retry=3_000.0)  # seconds: no second try comes in a test's life
PATIENCE = 60.0


class ApiServer:
    """One Lease, held by another one until `free`; whether its watch may be had."""

    def __init__(self, *, may_watch=True):
        self.holder, self.version, self.may_watch = "groundplane_other", 1, may_watch
        self.watched, self.events = [], asyncio.Queue()
        self.loop = asyncio.get_running_loop()

    def lease(self):
        spec = {"holderIdentity": self.holder, "leaseDurationSeconds": 9_000, "leaseTransitions": 1}
        return {"metadata": {"name": LEASE, "resourceVersion": str(self.version)}, "spec": spec}

    async def request(self, method, path, *, body=None, **how):
        if method == "PUT":
            self.holder, self.version = body["spec"]["holderIdentity"], self.version + 1
            return 200, {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return 200, self.lease()

    async def stream_watch(self, path, query, **how):
        self.watched.append(query["fieldSelector"])
        if not self.may_watch:
            raise Denied("no right to watch")
        yield "ADDED", self.lease()
        while True:
            future = asyncio.run_coroutine_threadsafe(self.events.get(), self.loop)
            yield await asyncio.wrap_future(future)

    async def close(self):
        return None

    def free(self):
        self.holder, self.version = "", self.version + 1
        self.events.put_nowait(("MODIFIED", self.lease()))


def elector(server, told):
    return Elector(lambda: server, Gate(), "crossplane-system", NEVER, told.put_nowait, identity="groundplane_me")


async def test_a_standby_leads_the_moment_the_lease_is_released():
    server, told = ApiServer(), asyncio.Queue()
    one = elector(server, told)
    one.start()
    try:
        while not server.watched:
            await asyncio.sleep(0.01)
        server.free()
        assert await asyncio.wait_for(told.get(), PATIENCE) is Standing.LEADS
        assert server.holder == "groundplane_me"
        assert server.watched[0] == f"metadata.name={LEASE}"
    finally:
        await one.stop(release=True)
    assert server.holder == ""


async def test_a_holder_that_was_killed_on_this_machine_is_succeeded_at_once():
    server, told = ApiServer(), asyncio.Queue()
    server.holder = f"groundplane_{socket.gethostname()}_{alive.here()}_0a1b2c3d"  # nobody shows its sign
    one = elector(server, told)
    one.start()
    try:
        assert await asyncio.wait_for(told.get(), PATIENCE) is Standing.LEADS
    finally:
        await one.stop(release=True)


async def test_without_the_right_to_watch_it_goes_on_trying():
    server, told = ApiServer(may_watch=False), asyncio.Queue()
    one = elector(server, told)
    one.start()
    try:
        while not server.watched:
            await asyncio.sleep(0.01)
        with pytest.raises(asyncio.QueueEmpty):
            told.get_nowait()
        assert one.problem() == ""
    finally:
        await one.stop(release=False)
