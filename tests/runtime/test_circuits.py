"""The circuit breaker of composites where changes are dispatched: whose changes count, and that nobody is left blind."""

import asyncio

from groundplane.cluster import own_writes
from groundplane.core.circuit import PACE, Circuits
from groundplane.core.declared_kinds import Definitions
from groundplane.core.definition import read
from groundplane.core.objects import Key
from groundplane.ports import Context, Options, Result
from groundplane.runtime.dispatch import Dispatcher
from groundplane.runtime.engine import Controller, Engine
from groundplane.runtime.routes import Routes
from tests.reconcile.things import VERSION, XRD
from tests.runtime import virtual

COMPOSITE = Key(VERSION, "XThing", "", "db")
OWNER = {"apiVersion": VERSION, "kind": "XThing", "name": "db", "uid": "u", "controller": True}


def config(data="", **metadata):
    told = {"name": "loud", "namespace": "team", "uid": "c", "ownerReferences": [OWNER]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": told | metadata, "data": {"x": data}}


class Rig:
    """A dispatcher that knows the kind XThing; counts its reconciles and what they were told of their circuit."""

    def __init__(self, **options):
        self.runs, self.told, self.options = 0, [], Options(**options)

    async def reconcile(self, key, context):
        self.runs += 1
        self.told.append(context.circuits.told(key, context.uptime())[0])
        return Result()

    def play(self, scene):
        async def main():
            loop, definitions = asyncio.get_running_loop(), Definitions()
            definitions.add(read(XRD), "composite", strict_upstream=False)
            context = Context(
                None, None, None, None, None, None, None, options=self.options, circuits=Circuits(), uptime=loop.time
            )
            controller = Controller("composite", self.reconcile, lambda key, context: "test", "Failed")
            routes = Routes(definitions, lambda version, kind: False, lambda key: None, context.interests)
            dispatcher = Dispatcher(Engine([controller], context), routes, peek=lambda key: None)
            running = asyncio.create_task(dispatcher.run())
            await scene(dispatcher)
            await dispatcher.drain(10)
            await running

        virtual.run(main())
        return self


async def storm(dispatcher, seconds):
    for number in range(seconds * 10):
        dispatcher.dispatch(config(str(number)), config(str(number + 1)))
        await asyncio.sleep(0.1)


def test_a_storm_slows_its_composite_down_and_the_last_change_is_seen():
    async def scene(dispatcher):
        await storm(dispatcher, 60)
        before = rig.runs
        await asyncio.sleep(PACE + 1)
        assert rig.runs == before + 1, "what was dropped last comes with the next one"

    rig = Rig()
    rig.play(scene)
    assert rig.runs <= 60 + 10
    assert rig.told[-1] == "ConfigMap/loud (team)"


def test_with_strict_upstream_nothing_is_slowed_down():
    rig = Rig(strict_upstream=True)
    rig.play(lambda dispatcher: storm(dispatcher, 60))
    assert rig.runs > 500


def test_what_this_process_writes_itself_is_no_storm():
    async def scene(dispatcher):
        with own_writes.running(("managed", Key("v1", "ConfigMap", "team", "loud"))):
            await storm(dispatcher, 60)

    rig = Rig()
    rig.play(scene)
    assert rig.runs > 500
    assert set(rig.told) == {""}


def test_what_is_being_deleted_passes_and_the_composites_own_deletion_closes_its_circuit():
    async def scene(dispatcher):
        await storm(dispatcher, 20)
        before = rig.runs
        dispatcher.dispatch(config(), config(deletionTimestamp="2026-01-01T00:00:00Z"))
        await asyncio.sleep(1)
        assert rig.runs == before + 1
        composite = {"apiVersion": VERSION, "kind": "XThing", "metadata": {"name": "db", "uid": "u"}}
        dispatcher.dispatch(composite, composite | {"metadata": {"name": "db", "deletionTimestamp": "x"}})
        await asyncio.sleep(1)
        assert rig.told[-1] == ""

    rig = Rig()
    rig.play(scene)
