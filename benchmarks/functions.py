"""Three steps that are built in, in this process and behind gRPC; and what functions that are dead cost everybody else.

The other side of gRPC is a server in Python in a process of its own (`grpc.aio`) with the same three functions, since most of the
originals can't be built from Go's module proxy: it takes about as long to read and write a request as ours does.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from groundplane.core import pipeline
from groundplane.core.objects import Object
from groundplane.core.pipeline import Endpoint, Outcome, Remote, Request, Resource, State, Step
from groundplane.errors import GroundplaneError
from groundplane.functions import BUILT_IN, go_templating
from groundplane.remote import messages, wire
from groundplane.remote.runner import Runner
from groundplane.remote.turns import Slices
from groundplane.runtime.aside import Aside
from groundplane.runtime.operator import SWITCH

ROUNDS = 40
TICK = 0.005  # seconds: how often the event loop is asked whether it is late
DEAD = 300  # composites whose function is dead
WORKERS = 32  # of the operator's queue
SECONDS = 15  # that it is looked at
IDLE = 100  # functions that were called once
TEMPLATE = "{{ range $i := until 1000 }}{{ range $j := until 900 }}{{ $x := add $i $j }}{{ end }}{{ end }}"  # uses up its bounds
STEPS = ("patch-and-transform", "sequencer", "auto-ready")
READY = {1: True, 2: False}
SEVERITIES = {"Fatal": 1, "Warning": 2, "Normal": 3}


# --- the other side -----------------------------------------------------------------------------------------------


def _state(given: dict[str, Any]) -> State:
    def resource(each: dict[str, Any]) -> Resource:
        return Resource(each.get("resource", {}), each.get("connection_details", {}), READY.get(each.get("ready", 0)))

    resources = {name: resource(each) for name, each in given.get("resources", {}).items()}
    return State(resource(given.get("composite", {})), resources)


def answer(data: bytes) -> bytes:
    """What the function that the input names answers."""
    asked = wire.decode(messages.REQUEST, data)
    given = dict(asked["input"])
    run = BUILT_IN[f"function-{given.pop('function')}"].compile(given)
    assert not isinstance(run, Remote)
    response = run(Request(_state(asked["observed"]), _state(asked.get("desired", {})), asked.get("context", {})))

    def shown(each: Resource) -> dict[str, Any]:
        return {"resource": each.object, "ready": {True: 1, False: 2, None: 0}[each.ready]}

    desired = {name: shown(each) for name, each in response.desired.resources.items()}
    values = {
        "meta": {"tag": asked["meta"]["tag"]},
        "desired": {"composite": shown(response.desired.composite), "resources": desired},
        "context": dict(response.context),
        "results": [{"severity": SEVERITIES[each.severity], "message": each.message} for each in response.results],
    }
    return wire.encode(messages.RESPONSE, values)


async def serve() -> None:
    import grpc.aio

    async def run(data: bytes, context: object) -> bytes:
        return answer(data)

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    handler = grpc.unary_unary_rpc_method_handler(run)
    service = "apiextensions.fn.proto.v1.FunctionRunnerService"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"RunFunction": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    for index in range(IDLE):
        server.add_insecure_port(f"127.0.1.{index + 1}:{port}")  # connections to one address would be shared
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


# --- this side ----------------------------------------------------------------------------------------------------


def inputs(count: int) -> dict[str, Object]:
    def template(index: int) -> Object:
        patches = [
            {"fromFieldPath": "spec.region", "toFieldPath": "spec.forProvider.region"},
            {"fromFieldPath": "metadata.name", "toFieldPath": "spec.forProvider.tags.owner"},
        ]
        base = {"apiVersion": "s3.aws.upbound.io/v1beta1", "kind": "Bucket", "spec": {"forProvider": {"index": index}}}
        return {"name": f"r{index}", "base": base, "patches": patches}

    return {
        "patch-and-transform": {"resources": [template(index) for index in range(count)]},
        "sequencer": {"rules": [{"sequence": ["r0", "r[1-9].*"]}]},
        "auto-ready": {},
    }


def observed(count: int) -> dict[str, Resource]:
    """Objects of 3.5 KB, as managed resources are once they exist."""
    found = {}
    for index in range(count):
        managed = {f"f:field{each}": {} for each in range(60)}
        obj = {
            "apiVersion": "s3.aws.upbound.io/v1beta1",
            "kind": "Bucket",
            "metadata": {
                "name": f"r{index}",
                "uid": f"u-{index}",
                "resourceVersion": "7",
                "annotations": {"crossplane.io/external-name": f"bucket-{index}"},
                "managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": managed}}],
            },
            "spec": {"forProvider": {"region": "eu-west-1", "tags": {f"tag{each}": "x" * 20 for each in range(20)}}},
            "status": {
                "atProvider": {f"field{each}": "x" * 20 for each in range(30)},
                "conditions": [{"type": each, "status": "True", "reason": "Said"} for each in ("Ready", "Synced")],
            },
        }
        found[f"r{index}"] = Resource(obj)
    return found


COMPOSITE = {
    "apiVersion": "example.org/v1",
    "kind": "XStore",
    "metadata": {"name": "store", "uid": "u", "resourceVersion": "3"},
    "spec": {"region": "eu-west-1"},
}


def local(count: int) -> list[Step]:
    return [Step(name, name, BUILT_IN[f"function-{name}"].compile(given)) for name, given in inputs(count).items()]


def elsewhere(count: int, port: int) -> list[Step]:
    endpoint = Endpoint(f"dns:///127.0.0.1:{port}")
    return [
        Step(name, name, Remote(f"function-{name}", endpoint, "", {**given, "function": name}))
        for name, given in inputs(count).items()
    ]


async def once(runner: Runner, steps: list[Step], seen: dict[str, Resource]) -> Outcome:
    running = pipeline.calls(Resource(COMPOSITE), steps, seen)
    try:
        asked = next(running)
        while True:
            if isinstance(asked, pipeline.Wanted):
                asked = running.send(pipeline.Found())
                continue
            try:
                response = await runner.run(asked.remote, asked.request, None)
            except GroundplaneError as error:
                asked = running.throw(error)
            else:
                asked = running.send(response)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


async def timed(runner: Runner, steps: list[Step], seen: dict[str, Resource]) -> tuple[float, float]:
    """Milliseconds of one run and of our CPU in it: the medians."""
    await once(runner, steps, seen)
    found = []
    for _ in range(ROUNDS):
        begun, cpu = time.perf_counter(), time.process_time()
        await once(runner, steps, seen)
        found.append((time.perf_counter() - begun, time.process_time() - cpu))
    walls, cpus = (sorted(each) for each in zip(*found, strict=True))
    return walls[ROUNDS // 2] * 1e3, cpus[ROUNDS // 2] * 1e3


@asynccontextmanager
async def lateness() -> AsyncIterator[list[tuple[float, float]]]:
    """How late the event loop is, again and again; and how much of that is work of this thread, whatever else the machine does."""
    found: list[tuple[float, float]] = []

    async def ask() -> None:
        while True:
            begun, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            found.append((time.perf_counter() - begun - TICK, time.thread_time() - cpu))

    task = asyncio.create_task(ask())
    try:
        yield found
    finally:
        task.cancel()


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.CancelledError):
        await reader.read()
    writer.close()


async def dead(kind: str) -> str:
    """The lateness while composites whose function is dead are tried by as many workers as the operator has, each after the pause that it is told."""
    silent = await asyncio.start_server(_hang, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    if kind == "refuses":
        silent.close()
    runner, seen, workers = Runner(), observed(5), asyncio.Semaphore(WORKERS)
    steps = elsewhere(5, port)

    async def composite(index: int) -> None:
        pause = 1.0
        while True:
            async with workers:
                try:
                    await once(runner, steps, seen)
                except GroundplaneError:
                    await asyncio.sleep(0)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 30.0)

    try:
        await once(runner, steps, seen)  # the library is loaded, and what is imported late
    except GroundplaneError:
        await asyncio.sleep(1)
    tasks = [asyncio.create_task(composite(index)) for index in range(DEAD)]
    async with lateness() as found:
        await asyncio.sleep(SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await runner.close()
    silent.close()
    late, work = (sorted(each) for each in zip(*found, strict=True))
    told = [
        values[min(int(len(values) * share), len(values) - 1)] * 1e3 for values in (late, work) for share in (0.99, 1)
    ]
    return f"{told[0]:.0f}, {told[1]:.0f} ms; work of ours in between {told[2]:.0f}, {told[3]:.0f} ms"


def _resident() -> int:
    """KiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def idle(runner: Runner, port: int) -> str:
    """What a function costs that was called once."""

    async def call(host: str) -> None:
        remote = Remote(f"function-{host}", Endpoint(f"dns:///{host}:{port}"), "", {"function": "auto-ready"})
        await once(runner, [Step("one", "one", remote)], {})

    for _ in range(5):
        await call("127.0.0.1")
    gc.collect()
    before = _resident()
    for index in range(IDLE):
        await call(f"127.0.1.{index + 1}")
    gc.collect()
    return f"{(_resident() - before) / IDLE:.0f} KiB"


async def long() -> str:
    """The lateness while two tenants have templates rendered that use up their bounds, again and again."""
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()  # as the operator does
    gc.set_threshold(2_000, 20, 1_000)
    aside, function = Aside(Slices()), go_templating.compile({"source": "Inline", "inline": {"template": TEMPLATE}})

    async def tenant(name: str) -> None:
        composite = {**COMPOSITE, "metadata": {"labels": {"crossplane.io/claim-namespace": name}}}
        while True:
            await aside.run(function, Request(State(Resource(composite)), State(Resource({}))))

    tasks = [asyncio.create_task(tenant(name)) for name in ("a", "b")]
    await asyncio.sleep(0.1)
    async with lateness() as found:
        await asyncio.sleep(SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    aside.close()
    late = sorted(each for each, _ in found)
    return f"{late[int(len(late) * 0.99)] * 1e3:.0f}, {late[-1] * 1e3:.0f} ms"


async def overhead() -> str:
    """Of one step that does nothing, as the operator runs it."""
    aside, steps = Aside(Slices()), [Step("one", "one", lambda request: pipeline.passed_on(request))]
    begun = time.process_time()
    for _ in range(1000):
        running = pipeline.calls(Resource(COMPOSITE), steps, {}, hands_over=True)
        asked = next(running)
        assert isinstance(asked, pipeline.Run)
        with suppress(StopIteration):
            running.send(await aside.run(asked.function, asked.request))
    aside.close()
    return f"{(time.process_time() - begun) * 1e3:.0f} µs, CPU"


async def _measure() -> list[tuple[str, str]]:
    found = []
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.functions", stdout=asyncio.subprocess.PIPE
    )
    runner = Runner()
    try:
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        for count in (5, 50):
            seen = observed(count)
            for where, steps in (("in process", local(count)), ("over gRPC", elsewhere(count, port))):
                wall, cpu = await timed(runner, steps, seen)
                found.append((f"three steps, {count} resources, {where}", f"{wall:.2f} ms, our CPU {cpu:.2f} ms"))
        found.append((f"memory of a function over gRPC that is idle, of {IDLE}", await idle(runner, port)))
    finally:
        await runner.close()
        server.terminate()
        await server.wait()
    found.append(("a step that does nothing, as the operator runs it", await overhead()))
    found.append(("loop late by beside templates that use up their bounds: 99 %, worst", await long()))
    for kind in ("refuses", "is silent"):
        what = f"loop late by beside {DEAD} composites whose function {kind}: 99 %, worst"
        found.append((what, await dead(kind)))
    return found


def measure() -> Iterator[tuple[str, str]]:
    yield from asyncio.run(_measure())


if __name__ == "__main__":
    asyncio.run(serve())
