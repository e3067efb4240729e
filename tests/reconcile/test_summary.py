"""`status.composed`: how each composed resource does, on the composite and on its claim, through nested composites."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import summary
from groundplane.core.objects import key_of
from groundplane.ports import Options
from tests.reconcile import things
from tests.reconcile.things import a_world, running

DENIED = "UnauthorizedOperation: you may not. Mend: allow ec2:CreateVpc."
BASES = {kind: {"apiVersion": things.COMPOSED, "kind": kind, "spec": {"forProvider": {}}} for kind in things.KINDS}


async def composed(world, key=things.CLAIM):
    return (await world.cluster.get(key))["status"].get("composed")


async def of_composite(world):
    return (await world.one(things.VERSION, "XThing"))["status"].get("composed")


async def trouble(world, kind, message):
    """Be the provider that can't do what is asked of it."""
    found = await world.one(things.COMPOSED, kind)
    condition = {"type": "Synced", "status": "False", "reason": "ReconcileError", "message": message}
    status = {"conditions": [condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    await world.patch(key_of(found), {"status": status}, subresource="status")
    await world.settle()


@pytest.mark.parametrize("composition", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])
async def test_a_claim_names_each_resource_in_trouble_and_once_ready_each_resource(composition):
    world = await a_world()
    await running(world, composition=composition)
    assert await composed(world) == {"total": 3, "resources": []}
    await things.report(world, "Alpha")
    await trouble(world, "Beta", DENIED)
    beta = await world.one(things.COMPOSED, "Beta")
    entry = {
        "resource": "beta",
        "apiVersion": things.COMPOSED,
        "kind": "Beta",
        "name": key_of(beta).name,
        "ready": False,
        "synced": False,
        "message": DENIED,
    }
    assert await composed(world) == {"total": 3, "resources": [entry]}
    found = await of_composite(world)
    assert (found["total"], found["ready"]) == (3, 1)
    assert [each["resource"] for each in found["resources"]] == ["beta", "gamma", "alpha"]
    await things.all_ready(world)
    assert await composed(world) == await of_composite(world)
    found = await composed(world)
    assert (found["total"], found["ready"]) == (3, 3)
    assert all(each["ready"] and each["synced"] and "message" not in each for each in found["resources"])


async def test_a_resource_that_could_not_be_made_says_why():
    world = await a_world()
    await running(world, claim=things.changed(things.THING, size="huge"))
    (entry,) = (await composed(world))["resources"]
    assert (entry["resource"], entry["synced"], "name" in entry) == ("alpha", False, False)
    assert 'no entry for "huge" in the map' in entry["message"]


async def test_trouble_below_a_nested_composite_is_told_by_the_path_to_it():
    world = await a_world()
    await world.apply(things.XRD, things.v2_definition("Cluster"))
    await world.settle()
    inner = things.changed(
        things.COMPOSITION,
        compositeTypeRef={"apiVersion": things.VERSION, "kind": "App"},
        resources=[{"name": "vpc", "base": BASES["Alpha"]}, {"name": "subnet", "base": BASES["Beta"]}],
        writeConnectionSecretsToNamespace=None,
    )
    network = {"name": "network", "base": {"apiVersion": things.VERSION, "kind": "App", "spec": {}}}
    outer = things.changed(things.COMPOSITION, resources=[network, {"name": "rest", "base": BASES["Gamma"]}])
    await world.apply(inner | {"metadata": {"name": "network"}}, outer, things.THING)
    await world.settle()
    await trouble(world, "Alpha", DENIED)
    found = {each["resource"]: each for each in (await composed(world))["resources"]}
    assert sorted(found) == ["network", "network/vpc"]
    assert found["network/vpc"]["kind"] == "Alpha"
    assert found["network/vpc"]["message"] == DENIED
    assert DENIED in found["network"]["message"]
    await things.all_ready(world)
    found = await composed(world)
    assert (found["total"], [each["resource"] for each in found["resources"]]) == (2, ["network", "rest"])


async def test_what_comes_up_one_by_one_is_no_write_of_the_claim_and_what_is_settled_none_at_all():
    world = await a_world()
    await running(world)
    before = await world.cluster.get(things.CLAIM)
    for kind in ("Alpha", "Beta"):
        await things.report(world, kind, address=None)
        await world.settle()
    assert (await of_composite(world))["ready"] == 2
    assert await world.cluster.get(things.CLAIM) == before
    await things.all_ready(world)
    mark = world.cluster.version()
    await world.restarted().settle(seconds=10)
    assert world.cluster.version() == mark


async def test_a_summary_is_bounded_and_shows_trouble_first():
    world = await a_world()
    many = [{"name": f"r{index:03}", "base": BASES["Gamma"]} for index in range(60)]
    await running(world, composition=things.changed(things.COMPOSITION, resources=many))
    last = max(
        await world.cluster.list(things.COMPOSED, "Gamma"), key=lambda each: str(each["metadata"]["annotations"])
    )
    status = {"conditions": [{"type": "Synced", "status": "False", "reason": "No", "message": "no " * 500}]}
    await world.patch(key_of(last), {"status": status}, subresource="status")
    await world.settle()
    found = await of_composite(world)
    assert (found["total"], found["ready"], len(found["resources"])) == (60, 0, summary.LISTED)
    assert found["resources"][0]["resource"] == "r059"
    assert len(found["resources"][0]["message"]) == summary.LONGEST


@pytest.mark.parametrize("policy", ["Foreground", "Background"])
async def test_what_is_being_deleted_has_none(policy):
    world = await a_world()
    await running(world, claim=things.changed(things.THING, compositeDeletePolicy=policy))
    await things.all_ready(world)
    alpha = await world.one(things.COMPOSED, "Alpha")
    await world.patch(key_of(alpha), {"metadata": {"finalizers": ["example.org/held"]}})
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=10)
    assert await of_composite(world) is None
    claim = await world.cluster.get(things.CLAIM)
    assert (claim is None) == (policy == "Background")
    assert "composed" not in (claim or {}).get("status", {})


async def test_upstreams_v1_has_none():
    world = await a_world(options=Options(strict_upstream=True))
    await running(world)
    await things.all_ready(world)
    assert await composed(world) is None
    assert await of_composite(world) is None


async def test_a_field_of_the_users_that_has_its_name_is_the_users():
    world = await a_world()
    definition = copy.deepcopy(things.XRD)
    version = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    version["properties"]["status"]["properties"]["composed"] = things.text()
    await world.apply(definition)
    await world.settle()
    first, *others = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    first["patches"][1]["toFieldPath"] = "status.composed"
    await world.apply(things.changed(things.COMPOSITION, resources=[first, *others]), things.THING)
    await world.settle()
    await things.all_ready(world)
    assert await composed(world) == await of_composite(world) == "a.example.org"


async def test_what_a_function_writes_to_a_field_of_its_name_is_not_taken_as_no_schema_has_it():
    world = await a_world()
    first, *others = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    first["patches"][1]["toFieldPath"] = "status.composed.total"
    composition = things.changed(things.PIPELINE, pipeline=[things.patch_step(first, *others), things.READY_STEP])
    await running(world, composition=composition)
    await things.all_ready(world)
    assert (await composed(world))["total"] == 3


def test_of_a_long_trouble_what_to_do_is_kept():
    mend = " Mend: allow ec2:CreateVpc."
    part = summary.Part("vpc", None, ready=False, synced=False, trouble=f"UnauthorizedOperation: {'x' * 1000}.{mend}")
    message = part.entry()["message"]
    assert len(message) == summary.LONGEST
    assert message.startswith("UnauthorizedOperation: xxx")
    assert message.endswith(f"(cut: 1024 characters in all){mend}")
    endless = summary.Part("vpc", None, ready=False, synced=False, trouble=f"no. Mend: {'y' * 1000}")
    assert len(endless.entry()["message"]) == summary.LONGEST
