"""`ValidPipeline`: whether the functions of a revision may compose.  From the specification of the control plane, §3.2."""

from __future__ import annotations

import pytest

from groundplane.core import conditions
from groundplane.core.capabilities import VALID
from groundplane.core.objects import Key
from groundplane.ports import Options
from tests.reconcile import things
from tests.reconcile.things import a_world, running

FUNCTION = "function-auto-ready"
KEY = Key("pkg.crossplane.io/v1", "FunctionRevision", "", "auto-ready-1")


def revision_of(function=FUNCTION, *, state="Active"):
    """One that an earlier Crossplane has left, or still looks after."""
    return {
        "apiVersion": KEY.api_version,
        "kind": KEY.kind,
        "metadata": {"name": KEY.name, "labels": {"pkg.crossplane.io/package": function}},
        "spec": {"image": "example.org/auto-ready:v1", "revision": 1, "desiredState": state},
    }


async def able_to(world, *capabilities, **how):
    await world.apply(revision_of(**how))
    await world.patch(KEY, {"status": {"capabilities": list(capabilities)}}, subresource="status")
    await world.settle()


async def verdict(world):
    (found,) = await world.cluster.list("apiextensions.crossplane.io/v1", "CompositionRevision")
    return conditions.find(found, VALID)


async def synced(world):
    return conditions.find(await world.one(things.VERSION, "XThing"), "Synced")


async def test_a_pipeline_is_valid_where_nothing_says_otherwise_and_is_judged_once():
    world = await running(await a_world(), composition=things.PIPELINE)
    await things.all_ready(world)
    assert (await verdict(world))["reason"] == VALID
    mark = world.cluster.version()
    await world.restarted().settle(seconds=10)
    assert world.cluster.version() == mark


async def test_a_function_that_does_not_compose_is_named_and_its_revision_not_used_until_it_does():
    world = await a_world()
    await able_to(world, "operation")
    await running(world, composition=things.PIPELINE)
    told = await verdict(world)
    assert (told["status"], told["reason"]) == ("False", "MissingCapabilities")
    assert FUNCTION in told["message"]
    assert ("Warning", "CheckCapabilities") in world.told.reasons("CompositionRevision")
    assert "refusing to use invalid CompositionRevision" in (await synced(world))["message"]
    assert FUNCTION in (await synced(world))["message"]
    assert await world.cluster.list(things.COMPOSED, "Alpha") == []
    await able_to(world, "operation", "COMPOSITION")
    assert (await verdict(world))["status"] == "True"
    assert (await synced(world))["status"] == "True"


@pytest.mark.parametrize(
    ("capabilities", "how"),
    [
        (["operation"], {"state": "Inactive"}),
        (["operation"], {"function": "another"}),
        ([], {}),
        (["Com-position"], {}),
    ],
)
async def test_what_is_inactive_or_says_nothing_or_says_it_otherwise_does_not_count(capabilities, how):
    world = await a_world()
    await able_to(world, *capabilities, **how)
    await running(world, composition=things.PIPELINE)
    assert (await verdict(world))["status"] == "True"
    assert (await synced(world))["status"] == "True"


@pytest.mark.parametrize(
    ("composition", "options"), [(things.COMPOSITION, Options()), (things.PIPELINE, Options(strict_upstream=True))]
)
async def test_mode_resources_and_v1_know_no_such_condition(composition, options):
    world = await running(await a_world(options=options), composition=composition)
    assert await verdict(world) is None
