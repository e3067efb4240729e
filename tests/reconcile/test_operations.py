"""Operations run once; CronOperations make them when it is time, WatchOperations when something changes."""

import copy
import datetime
from functools import partial

import pytest

from groundplane.core import conditions, operations
from groundplane.core.objects import Key, key_of, meta
from groundplane.errors import Denied, Unavailable
from groundplane.reconcile.cron_operation import LOOK
from groundplane.runtime.queue import After
from tests.reconcile.interrupt import deaths
from tests.reconcile.things import patch_step
from tests.world import EPOCH, World

OPS = operations.API_VERSION
AT_WORK = {"Synced": ("True", "ReconcileSuccess"), "Ready": ("True", "Available")}


def config(name, *, key="a", **data):
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "team"}, "data": data}
    return {"name": key, "base": base}


def spec(*resources, **more):
    return {"mode": "Pipeline", "pipeline": [patch_step(*(resources or [config("made", x="1")]))]} | more


ENDLESS = spec({"name": "a", "base": {"apiVersion": "v1", "kind": "ConfigMap"}}, retryLimit=99)


def operation(name="once", **given):
    return {"apiVersion": OPS, "kind": "Operation", "metadata": {"name": name}, "spec": spec(**given)}


def cron(schedule="*/5 * * * *", **more):
    made = {"schedule": schedule, "operationTemplate": {"spec": spec()}} | more
    return {"apiVersion": OPS, "kind": "CronOperation", "metadata": {"name": "often"}, "spec": made}


def watch(**more):
    what = {"apiVersion": "v1", "kind": "ConfigMap", "matchLabels": {"watch": "me"}}
    made = {"watch": what, "operationTemplate": {"metadata": {"labels": {"x": "y"}}, "spec": spec()}} | more
    return {"apiVersion": OPS, "kind": "WatchOperation", "metadata": {"name": "eyes"}, "spec": made}


def watched(name="seen", **data):
    metadata = {"name": name, "namespace": "team", "labels": {"watch": "me"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def a_world(*manifests):
    world = await World().install()
    await world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}, *manifests)
    return await world.settle()


async def get(world, kind, name):
    return await world.cluster.get(Key(OPS, kind, "", name))


def told(obj):
    return {c["type"]: (c["status"], c["reason"]) for c in obj["status"]["conditions"]}


async def names(world):
    return [meta(each)["name"] for each in await world.cluster.list(OPS, "Operation")]


# --- Operation


async def test_an_operation_applies_what_functions_desire_once_and_owns_nothing():
    world = await a_world(operation())
    found = await get(world, "Operation", "once")
    assert told(found) == AT_WORK | {
        "ValidPipeline": ("True", "ValidPipeline"),
        "Succeeded": ("True", "PipelineSuccess"),
    }
    made = Key("v1", "ConfigMap", "team", "made")
    assert found["status"]["appliedResourceRefs"] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "team", "name": "made"}
    ]
    applied = await world.cluster.get(made, live=True)
    assert "ownerReferences" not in applied["metadata"]
    [entry] = applied["metadata"]["managedFields"]
    assert entry["manager"] == f"ops.crossplane.io/operation/{meta(found)['uid']}"
    await world.cluster.delete(made)
    await world.settle(seconds=3600)
    assert await world.cluster.get(made) is None, "it is not run again"
    await world.cluster.delete(Key(OPS, "Operation", "", "once"))
    assert await get(world, "Operation", "once") is None


async def test_an_operation_that_fails_is_tried_again_until_its_limit():
    nameless = {"name": "a", "base": {"apiVersion": "v1", "kind": "ConfigMap"}}
    world = await a_world({**operation(), "spec": spec(nameless, retryLimit=3)})
    found = await get(world, "Operation", "once")
    assert found["status"]["failures"] == 1
    assert told(found)["Succeeded"] == ("Unknown", "PipelineRunning")
    assert told(found)["Synced"] == ("False", "ReconcileError")
    assert told(found)["ValidPipeline"] == ("True", "ValidPipeline"), "the functions are there; what they do fails"
    await world.settle(seconds=600)
    found = await get(world, "Operation", "once")
    assert found["status"]["failures"] == 3
    assert told(found)["Succeeded"] == ("False", "PipelineError")
    message = conditions.find(found, "Succeeded")["message"]
    assert message.startswith("failure limit of 3 reached: ")
    assert 'desired resource "a" lacks apiVersion, kind or metadata.name' in message


async def test_what_passes_by_itself_does_not_end_it():
    world = await World().install()
    await world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    apply, failing = world.cluster.apply, [2]

    async def flaky(obj, **how):
        if obj["kind"] == "ConfigMap" and failing[0]:
            failing[0] -= 1
            raise Unavailable("the API server is away")
        return await apply(obj, **how)

    world.cluster.apply = flaky
    await world.apply(operation())
    await world.settle(seconds=60)
    found = await get(world, "Operation", "once")
    assert told(found)["Succeeded"] == ("True", "PipelineSuccess")
    assert found["status"]["failures"] == 2


async def test_a_function_that_is_not_for_operations_is_named_and_nothing_runs_until_it_is():
    """control-plane.md §10.6: functions need the capability operation."""
    revision = Key("pkg.crossplane.io/v1", "FunctionRevision", "", "patches-1")
    labels = {"pkg.crossplane.io/package": "function-patch-and-transform"}
    image = {"image": "example.org/patches:v1", "revision": 1, "desiredState": "Active"}
    metadata = {"name": revision.name, "labels": labels}
    world = await a_world(
        {"apiVersion": revision.api_version, "kind": revision.kind, "metadata": metadata, "spec": image}
    )
    await world.patch(revision, {"status": {"capabilities": ["composition"]}}, subresource="status")
    await world.apply(operation())
    await world.settle(seconds=3600)
    found = await get(world, "Operation", "once")
    assert told(found)["ValidPipeline"] == ("False", "MissingCapabilities")
    assert told(found)["Succeeded"] == ("Unknown", "PipelineRunning")
    assert "function-patch-and-transform" in conditions.find(found, "Synced")["message"]
    assert not found["status"].get("failures"), "it has not been tried"
    assert ("Warning", "CheckCapabilities") in world.told.reasons("Operation")
    made = Key("v1", "ConfigMap", "team", "made")
    assert await world.cluster.get(made) is None
    await world.patch(revision, {"status": {"capabilities": ["composition", "Operation"]}}, subresource="status")
    await world.settle()
    found = await get(world, "Operation", "once")
    assert told(found)["ValidPipeline"] == ("True", "ValidPipeline")
    assert told(found)["Succeeded"] == ("True", "PipelineSuccess")
    assert await world.cluster.get(made)


async def test_an_unknown_function_says_what_to_do():
    steps = [{"step": "x", "functionRef": {"name": "function-nobody-has"}}]
    world = await a_world({**operation(), "spec": {"mode": "Pipeline", "pipeline": steps}})
    found = await get(world, "Operation", "once")
    assert "ValidPipeline" not in told(found)
    message = conditions.find(found, "Synced")["message"]
    assert "function-nobody-has" in message
    assert "Mend: " in message


async def test_it_comes_to_its_end_wherever_the_process_dies():
    start = await World().install()
    await start.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}, operation())
    found = await deaths(start, World.settle)
    assert len(found) >= 3
    for world in found:
        await world.settle(seconds=60)
        assert told(await get(world, "Operation", "once"))["Succeeded"] == ("True", "PipelineSuccess")


# --- CronOperation


async def test_a_schedule_makes_one_each_time_and_keeps_as_many_as_it_is_told():
    world = await a_world(cron(successfulHistoryLimit=2))
    assert await names(world) == []
    await world.settle(seconds=301)
    due = EPOCH + datetime.timedelta(minutes=5)
    assert await names(world) == [f"often-{int(due.timestamp())}"]
    made = (await world.cluster.list(OPS, "Operation"))[0]
    assert made["metadata"]["labels"] == {"ops.crossplane.io/cronoperation": "often"}
    assert made["metadata"]["ownerReferences"][0]["kind"] == "CronOperation"
    await world.settle(seconds=1200)
    found = await get(world, "CronOperation", "often")
    assert told(found) == AT_WORK | {"Scheduling": ("True", "ScheduleActive")}
    assert found["status"]["lastScheduleTime"] == "2026-01-01T00:25:00Z"
    assert found["status"]["lastSuccessfulTime"].startswith("2026-01-01T00:2")
    assert len(await names(world)) == 2
    await world.cluster.delete(Key(OPS, "CronOperation", "", "often"))
    await world.settle(seconds=600)
    assert await names(world) == []


async def test_it_asks_to_be_looked_at_exactly_when_the_next_is_due():
    world = await a_world(cron("0 2 * * *", startingDeadlineSeconds=1))
    outcome = await world.engine.process("cronoperation", Key(OPS, "CronOperation", "", "often"))
    assert outcome == After(LOOK, exactly=True), "the clock may be set, or the machine sleep, until then"
    world.clock.advance(2 * 3600 - 20)
    outcome = await world.engine.process("cronoperation", Key(OPS, "CronOperation", "", "often"))
    assert outcome == After(20, exactly=True), "two minutes late would be too late"


async def test_a_clock_that_was_ahead_for_a_while_stops_no_schedule_and_has_none_made_twice():
    world = await a_world(cron("*/30 * * * *"))
    target, often = ("cronoperation", Key(OPS, "CronOperation", "", "often")), Key(OPS, "CronOperation", "", "often")
    world.clock.advance(3600 + 300)
    ahead = world.restarted()
    ahead.enqueue({target})
    await ahead.settle()
    [early] = await ahead.cluster.list(OPS, "Operation")
    world.clock.advance(-3600)
    right = world.restarted()
    right.enqueue({target})
    await right.settle(seconds=3600)
    found = {meta(each)["name"]: meta(each)["uid"] for each in await right.cluster.list(OPS, "Operation")}
    times = [int((EPOCH + datetime.timedelta(minutes=each)).timestamp()) for each in (30, 60)]
    assert sorted(found) == [f"often-{time}" for time in times]
    assert found[f"often-{times[1]}"] == meta(early)["uid"]
    assert (await right.cluster.get(often))["status"]["lastScheduleTime"] == "2026-01-01T01:00:00Z"


async def test_what_was_missed_is_made_up_for_by_one_unless_it_is_too_late():
    for deadline, count in ((None, 1), (60, 0)):
        more = {} if deadline is None else {"startingDeadlineSeconds": deadline}
        world = await a_world(cron("0 * * * *", **more))
        world.clock.advance(3 * 3600 + 300)
        restarted = world.restarted()
        restarted.enqueue({("cronoperation", Key(OPS, "CronOperation", "", "often"))})
        await restarted.settle()
        assert len(await names(restarted)) == count


@pytest.mark.parametrize("policy, expected", [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
async def test_what_becomes_of_one_that_is_due_while_another_runs(policy, expected):
    endless = spec({"name": "a", "base": {"apiVersion": "v1", "kind": "ConfigMap"}}, retryLimit=99)
    world = await a_world(cron(concurrencyPolicy=policy, operationTemplate={"spec": endless}))
    await world.settle(seconds=301)
    [first] = await names(world)
    await world.settle(seconds=301)
    found = await names(world)
    assert len(found) == expected
    assert (first in found) is (policy != "Replace")
    running = (await get(world, "CronOperation", "often"))["status"]["runningOperationRefs"]
    assert [each["name"] for each in running] == found


@pytest.mark.parametrize(
    ("making", "reason"),
    [
        ({"concurrencyPolicy": "Replace", "operationTemplate": {"spec": ENDLESS}}, "ReplaceRunningOperation"),
        ({"successfulHistoryLimit": 0}, "GarbageCollectOperations"),
    ],
)
async def test_an_operation_that_may_not_be_deleted_is_told_by_what_it_was_to_go_for(making, reason):
    world = await a_world(cron(**making))
    delete = world.cluster.delete

    async def denied(key, **how):
        if key.kind == "Operation":
            raise Denied("may not delete", mend="grant it")
        await delete(key, **how)

    world.cluster.delete = denied
    await world.settle(seconds=700)
    assert ("Warning", reason) in world.told.reasons("CronOperation")
    assert "may not delete" in conditions.find(await get(world, "CronOperation", "often"), "Synced")["message"]


def made_before(maker, name, **told):
    """An operation as a process has left it that died before it said so on its maker."""
    template = operations.Template.model_validate(maker["spec"]["operationTemplate"])
    made = operations.made(maker, template, name)
    return made | ({"status": {"conditions": [told]}} if told else {})


SUCCEEDED = {
    "type": "Succeeded",
    "status": "True",
    "reason": "PipelineSuccess",
    "lastTransitionTime": "2026-01-01T00:05:01Z",
}


@pytest.mark.parametrize("policy", ["Allow", "Forbid", "Replace"])
async def test_whose_maker_died_before_it_said_so_runs_on_and_is_the_one_of_its_time(policy):
    world = await a_world(cron(concurrencyPolicy=policy, operationTemplate={"spec": ENDLESS}))
    world.clock.advance(301)
    due = EPOCH + datetime.timedelta(minutes=5)
    maker = await get(world, "CronOperation", "often")
    made = await world.cluster.create(made_before(maker, operations.cron_name(maker, due)))
    successor = world.restarted()
    await successor.settle()
    [found] = await world.cluster.list(OPS, "Operation")
    assert meta(found)["uid"] == meta(made)["uid"]
    assert (await get(world, "CronOperation", "often"))["status"]["lastScheduleTime"] == "2026-01-01T00:05:00Z"


async def test_what_has_run_and_need_not_be_kept_is_not_run_again_by_a_successor():
    world = await a_world(cron(successfulHistoryLimit=0))
    world.clock.advance(301)
    maker = await get(world, "CronOperation", "often")
    name = operations.cron_name(maker, EPOCH + datetime.timedelta(minutes=5))
    await world.cluster.create(made_before(maker, name, **SUCCEEDED))
    await world.restarted().settle()
    assert "CreateOperation" not in {reason for _, _, reason, _ in world.told.events}
    assert await names(world) == []
    assert (await get(world, "CronOperation", "often"))["status"]["lastScheduleTime"] == "2026-01-01T00:05:00Z"


async def test_what_ran_for_changes_and_need_not_be_kept_is_not_run_again_by_a_successor():
    world = await a_world(watch(successfulHistoryLimit=1), watched("a"), watched("b"), watched("c"))
    maker = await get(world, "WatchOperation", "eyes")
    await world.settle(seconds=10)
    assert len(world.told.events) == len(set(world.told.events))
    before = [text for _, _, reason, text in world.told.events if reason == "CreateOperation"]
    for each in await world.cluster.list(OPS, "Operation"):
        await world.cluster.delete(key_of(each))
    maker = await get(world, "WatchOperation", "eyes")
    maker["status"].pop("watchedVersion")
    await world.cluster.update(maker, subresource="status")
    for name in "abc":
        seen = await world.cluster.get(Key("v1", "ConfigMap", "team", name))
        await world.cluster.create(made_before(maker, operations.watch_name(maker, seen), **SUCCEEDED))
    world.seen = world.cluster.version()
    world.due.clear()
    successor = world.restarted()
    successor.enqueue({("watchoperation", Key(OPS, "WatchOperation", "", "eyes"))})
    await successor.settle()
    assert [text for _, _, reason, text in world.told.events if reason == "CreateOperation"] == before
    assert len(await names(world)) == 1


async def test_a_schedule_that_is_none_says_so_and_a_paused_one_makes_nothing():
    world = await a_world(cron("every now and then"))
    found = await get(world, "CronOperation", "often")
    assert told(found)["Scheduling"] == ("False", "ScheduleInvalid")
    assert "give five fields" in conditions.find(found, "Synced")["message"]
    assert world.told.reasons("CronOperation") == {("Warning", "InvalidSchedule")}
    paused = cron()
    paused["metadata"]["annotations"] = {"crossplane.io/paused": "true"}
    await world.apply(paused)
    await world.settle(seconds=600)
    assert told(await get(world, "CronOperation", "often"))["Scheduling"] == ("False", "SchedulePaused")
    assert await names(world) == []


# --- WatchOperation


async def test_each_version_of_what_is_watched_makes_one_which_sees_it():
    world = await a_world(watch(), watched(), {**watched("other"), "metadata": {"name": "other", "namespace": "team"}})
    [first] = await names(world)
    made = await get(world, "Operation", first)
    assert made["metadata"]["labels"] == {"ops.crossplane.io/watchoperation": "eyes", "x": "y"}
    [need] = made["spec"]["pipeline"][0]["requirements"]["requiredResources"]
    assert need == {
        "requirementName": "ops.crossplane.io/watched-resource",
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": "team",
        "name": "seen",
    }
    found = await get(world, "WatchOperation", "eyes")
    assert told(found) == AT_WORK | {"Watching": ("True", "WatchActive")}
    assert found["status"]["watchingResources"] == 1
    await world.apply(watched(x="2"))
    await world.settle()
    assert len(await names(world)) == 2


async def test_a_process_that_starts_makes_none_for_what_has_not_changed_and_one_for_what_has():
    world = await a_world(watch(successfulHistoryLimit=0), watched("a"), watched("b"))
    await world.settle(seconds=10)
    assert await names(world) == []
    await world.apply(watched("b", x="2"))
    restarted = world.restarted()
    restarted.seen = world.cluster.version()
    restarted.enqueue({("watchoperation", Key(OPS, "WatchOperation", "", "eyes"))})
    await restarted.settle()
    events = [text for key, _, reason, text in world.told.events if reason == "CreateOperation"]
    assert len(events) == 3


async def test_one_at_a_time_with_forbid_and_none_is_lost():
    world = await a_world(watch(concurrencyPolicy="Forbid", successfulHistoryLimit=9))
    await world.apply(*(watched(name) for name in "abc"))
    await world.settle()
    assert len(await names(world)) == 3


async def test_a_watch_operation_has_a_finalizer_until_its_end():
    world = await a_world(watch())
    found = await get(world, "WatchOperation", "eyes")
    assert found["metadata"]["finalizers"] == ["watchoperation.ops.crossplane.io"]
    await world.cluster.delete(Key(OPS, "WatchOperation", "", "eyes"))
    await world.settle()
    assert await get(world, "WatchOperation", "eyes") is None


async def test_an_unknown_kind_is_waited_for_and_a_paused_one_watches_nothing():
    other = watch()
    other["spec"]["watch"] = {"apiVersion": "example.org/v1", "kind": "Nobody"}
    world = await a_world(other)
    assert told(await get(world, "WatchOperation", "eyes"))["Watching"] == ("False", "WatchFailed")
    assert world.told.reasons("WatchOperation") == {("Warning", "EstablishWatched")}
    paused = copy.deepcopy(other)
    paused["metadata"]["annotations"] = {"crossplane.io/paused": "true"}
    await world.apply(paused)
    await world.settle()
    assert told(await get(world, "WatchOperation", "eyes"))["Watching"] == ("False", "WatchPaused")
    assert len(world.interests) == 0


@pytest.mark.parametrize("policy", ["Allow", "Forbid", "Replace"])
@pytest.mark.parametrize("making", [cron, watch])
async def test_wherever_the_process_dies_each_time_and_each_version_has_one_operation(making, policy):
    start = await World().install()
    maker = making(concurrencyPolicy=policy, successfulHistoryLimit=9)
    await start.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}, maker)
    if making is watch:
        await start.apply(watched("a"), watched("b"))
    else:
        await start.settle()
    found = await deaths(start, partial(World.settle, seconds=301))
    assert len(found) > 5
    expected = await names(start)
    assert len(expected) == (2 if making is watch and policy != "Replace" else 1)
    made = await start.cluster.list("v1", "ConfigMap", namespace="team")
    for world in found:
        await world.settle(seconds=max(0.0, (start.clock() - world.clock()).total_seconds()))
        assert await names(world) == expected
        assert {told(each)["Succeeded"] for each in await world.cluster.list(OPS, "Operation")} == {
            ("True", "PipelineSuccess")
        }
        assert len(await world.cluster.list("v1", "ConfigMap", namespace="team")) == len(made)
        kept = (await get(world, maker["kind"], meta(maker)["name"]))["status"]["runningOperationRefs"]
        assert kept == []
