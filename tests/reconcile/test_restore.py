"""A control plane that is restored from a backup takes back what it had, and makes nothing in AWS a second time."""

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from groundplane.core.definition_crds import composite_crd
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import controller_of, key_of, meta, owner_reference
from tests.reconcile import managed, restore, things
from tests.reconcile.things import changed
from tests.world import World, manifests

PLATFORM = Path(__file__).resolve().parents[2] / "compositions" / "database-aws"
VERSION = "platform.example.com/v1alpha1"
LOST = "6e1b0f4c-58a5-4c3e-9f0e-2d9a3c1b7f60"  # the UID of an owner that is not there
TAGGING = {"AddTagsToResource", "CreateTags", "TagRole", "PUT"}


async def provisioned(aws):
    """A world with the platform and a claim that is ready."""
    world = await aws.world()
    for name in ("definition", "composition", "network", "examples/claim"):
        await world.apply(*manifests(PLATFORM / f"{name}.yaml"))
        await world.settle()
    await world.settle(seconds=120)
    await is_whole(world)
    return world


async def is_whole(world):
    """One of each, ready, owned, and nothing that is nobody's."""
    claim = await world.one(VERSION, "Database")
    composite = await world.one(VERSION, "XDatabase")
    assert managed.is_ready(claim), (claim["status"], composite.get("status"))
    assert claim["spec"]["resourceRef"]["name"] == meta(composite)["name"]
    instance = await world.one(managed.RDS, "Instance")
    assert controller_of(instance)["uid"] == meta(composite)["uid"]
    for obj in world.objects():
        for reference in meta(obj).get("ownerReferences") or ():
            assert world.cluster._store.by_uid(reference["uid"]), f"{key_of(obj)} has an owner that is not there"
        if obj["kind"] == "ProviderConfigUsage" or obj["kind"] == "CompositionRevision":
            assert controller_of(obj), key_of(obj)
    return claim, instance


def secret_of(world, claim):
    namespace, name = meta(claim)["namespace"], claim["spec"]["writeConnectionSecretToRef"]["name"]
    [found] = [o for o in world.objects() if o["kind"] == "Secret" and key_of(o)[2:] == (namespace, name)]
    return managed.decoded(found)


def in_aws(world):
    """What is whose in AWS."""
    return {key_of(obj): name for obj in world.objects() if (name := managed.external_name(obj))}


async def restored(aws, backup, seed, *, running):
    """A fresh control plane with the backup in it; the operator runs meanwhile, or starts when all is there."""
    world = await aws.world(ready=False)
    aws.standin.forget_calls()
    for obj in restore.in_order(backup, random.Random(seed)):
        await restore.bring_back(world, obj)
        if running:
            await world.settle()
    if not running:
        world = aws.restarted(world)
    await world.settle(seconds=180)
    return world


@pytest.mark.soak
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
async def test_a_restored_control_plane_takes_back_all_that_it_had_and_makes_nothing_twice(aws, running):
    world = await provisioned(aws)
    backup, claim = restore.dump(world), await world.one(VERSION, "Database")
    credentials = secret_of(world, claim)
    before = [key_of(obj) for obj in backup if obj["kind"] not in ("ProviderConfigUsage",)]
    names = in_aws(world)
    for seed in range(3):
        fresh = await restored(aws, backup, seed, running=running)
        claim, _ = await is_whole(fresh)
        assert secret_of(fresh, claim) == credentials
        assert set(aws.writes()) <= TAGGING, (seed, aws.writes())
        left = {key_of(obj) for obj in fresh.objects()}
        assert [key for key in before if key not in left] == []
        assert in_aws(fresh) == names
        assert len(aws.databases()) == len(aws.vpcs()) == len(aws.groups()) == 1
    await fresh.cluster.delete(key_of(claim))
    await fresh.settle(seconds=180)
    assert aws.databases() == []


# --- whoever composes, whatever is composed

BOTH = pytest.mark.parametrize("composition", [things.COMPOSITION, things.PIPELINE], ids=["Resources", "Pipeline"])


async def composed(world):
    return {
        (kind, meta(obj)["name"]) for kind in things.KINDS for obj in await world.cluster.list(things.COMPOSED, kind)
    }


async def brought_back(backup, seed, *, running):
    world = World()
    await world.install()
    for obj in restore.in_order(backup, random.Random(seed)):
        await restore.bring_back(world, obj)
        if running:
            await world.settle()
    if not running:
        world = world.restarted()
    return await world.settle(seconds=90)


async def a_backup(composition):
    world = await things.running(await things.a_world(), composition=composition)
    await things.all_ready(world)
    return world, restore.dump(world)


async def is_taken_back(world):
    composite = await world.one(things.VERSION, "XThing")
    claim = await world.one(things.VERSION, "Thing")
    assert claim["spec"]["resourceRef"]["name"] == meta(composite)["name"]
    for kind in things.KINDS:
        assert controller_of(await world.one(things.COMPOSED, kind))["uid"] == meta(composite)["uid"]


@BOTH
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
async def test_whatever_comes_first_each_composed_resource_is_taken_back_and_none_made_anew(composition, running):
    world, backup = await a_backup(composition)
    for seed in range(6):
        fresh = await brought_back(backup, seed, running=running)
        assert await composed(fresh) == await composed(world), seed
        await is_taken_back(fresh)


@BOTH
async def test_a_composite_that_lost_its_references_finds_what_its_predecessor_made(composition):
    world, backup = await a_backup(composition)
    for obj in backup:
        if obj["kind"] == "XThing":
            del obj["spec"]["resourceRefs"]
    fresh = await brought_back(backup, 1, running=False)
    assert await composed(fresh) == await composed(world)
    await is_taken_back(fresh)


FITTING = {"crossplane.io/composite": "free", "crossplane.io/claim-name": "", "crossplane.io/claim-namespace": ""}


@BOTH
@pytest.mark.parametrize(
    ("name", "labels", "template", "controller"),
    [
        ("other-ffb197dc9f7b", {}, "alpha", False),
        ("free-eu-ffb197dc9f7b", {}, "alpha", False),
        ("free-ffb197dc9f7b", {"crossplane.io/composite": "other"}, "alpha", False),
        ("free-ffb197dc9f7b", {"crossplane.io/claim-name": "db"}, "alpha", False),
        ("free-ffb197dc9f7b", {}, "beta", False),
        ("free-ffb197dc9f7b", {}, "alpha", True),
    ],
    ids=["name", "longer name", "composite", "claim", "template", "controller"],
)
async def test_what_only_resembles_a_composed_resource_is_left_alone(composition, name, labels, template, controller):
    world = await things.a_world()
    await world.apply(things.XRD)
    await world.settle()
    await world.apply(composition)
    other = await world.one("apiextensions.crossplane.io/v1", "CompositeResourceDefinition")
    metadata = {"name": name, "labels": FITTING | labels, "annotations": {TEMPLATE_ANNOTATION: template}}
    metadata |= {"ownerReferences": [owner_reference(other)]} if controller else {}
    await world.apply({"apiVersion": things.COMPOSED, "kind": "Alpha", "metadata": metadata, "spec": {}})
    free = {"apiVersion": things.VERSION, "kind": "XThing", "metadata": {"name": "free"}, "spec": {"size": "small"}}
    await world.apply(free)
    await world.settle(seconds=10)
    composite = await world.one(things.VERSION, "XThing")
    found = await world.cluster.list(things.COMPOSED, "Alpha")
    mine = [meta(obj)["name"] for obj in found if (controller_of(obj) or {}).get("uid") == meta(composite)["uid"]]
    assert len(found) == 2
    assert len(mine) == 1
    assert mine != [name]


@BOTH
async def test_of_two_that_may_be_one_composed_resource_none_is_taken_and_none_made(composition):
    world = await things.a_world()
    await world.apply(things.XRD)
    await world.settle()
    for name in ("free-ffb197dc9f7b", "free-x7k2p"):
        metadata = {"name": name, "labels": FITTING, "annotations": {TEMPLATE_ANNOTATION: "alpha"}}
        await world.apply({"apiVersion": things.COMPOSED, "kind": "Alpha", "metadata": metadata, "spec": {}})
    free = {"apiVersion": things.VERSION, "kind": "XThing", "metadata": {"name": "free"}, "spec": {"size": "small"}}
    await world.apply(composition, free)
    await world.settle(seconds=10)
    found = await world.cluster.list(things.COMPOSED, "Alpha")
    assert [controller_of(obj) for obj in found] == [None, None]
    composite = await world.one(things.VERSION, "XThing")
    assert 'two objects may be "alpha" of this composite' in managed.message(composite)


async def test_a_claim_whose_composite_does_not_come_back_gets_another_of_that_name_after_a_minute():
    world = await things.a_world()
    await world.apply(things.XRD, things.COMPOSITION)
    await world.settle()
    claim = changed(things.THING, resourceRef={"apiVersion": things.VERSION, "kind": "XThing", "name": "db-x7k2p"})
    await world.apply(claim)
    await world.settle(seconds=50)
    assert await world.cluster.list(things.VERSION, "XThing") == []
    assert "may be about to be restored" in managed.message(await world.one(things.VERSION, "Thing"))
    await world.settle(seconds=20)
    assert meta(await world.one(things.VERSION, "XThing"))["name"] == "db-x7k2p"


async def test_a_clock_that_is_set_back_keeps_a_claim_waiting_for_its_minute_and_no_longer():
    world, back = await things.a_world(), timedelta(hours=1)
    await world.apply(things.XRD, things.COMPOSITION)
    await world.settle()
    await world.apply(
        changed(things.THING, resourceRef={"apiVersion": things.VERSION, "kind": "XThing", "name": "db-x7k2p"})
    )
    world.clock.moment -= back
    up = replace(world.context, uptime=lambda: (world.clock() + back).timestamp())
    world.context = world.engine.context = up
    await world.settle(seconds=50)
    assert await world.cluster.list(things.VERSION, "XThing") == []
    await world.settle(seconds=20)
    assert meta(await world.one(things.VERSION, "XThing"))["name"] == "db-x7k2p"


# --- creates that nobody finished


async def test_a_create_that_a_predecessor_began_is_never_repeated_where_nothing_shows_what_it_made(aws):
    world = await aws.world()
    annotations = {"crossplane.io/external-create-pending": "2025-12-31T23:00:00Z"}
    found = await managed.applied(world, managed.vpc(spec={"annotations": annotations}), seconds=300)
    assert aws.vpcs() == []
    assert managed.condition(found, "Stalled") == ("True", "InvalidInput")
    assert "by the object that this one was restored from" in managed.message(found)
    assert "Mend: look in AWS whether it exists" in managed.message(found)


async def test_what_a_predecessor_made_and_did_not_save_is_found_by_the_uid_of_then(aws):
    world, uid = await aws.world(), "6e1b0f4c-58a5-4c3e-9f0e-2d9a3c1b7f60"
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "crossplane-uid", "Value": uid}]}]
    made = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags)["Vpc"]["VpcId"]
    pending = {"crossplane.io/external-create-pending": "2025-12-31T23:00:00Z"}
    annotations = pending | {"groundplane.io/external-create-uid": uid}
    found = await managed.applied(world, managed.vpc(spec={"annotations": annotations}), seconds=30)
    assert managed.external_name(found) == made
    [vpc] = aws.vpcs()
    assert {"Key": "crossplane-uid", "Value": meta(found)["uid"]} in vpc["Tags"]


# --- brought back with the owner references of then


@pytest.mark.parametrize("kind", ["Instance", "VPC"])
async def test_what_comes_back_with_an_owner_that_is_not_there_stays_in_aws(aws, kind):
    world = await aws.world()
    wanted = managed.instance() if kind == "Instance" else managed.vpc()
    found = await managed.applied(world, wanted, seconds=60)
    assert managed.is_ready(found)
    [backup] = [obj for obj in restore.dump(world) if obj["kind"] == kind]
    lost = {"apiVersion": VERSION, "kind": "XDatabase", "name": "orders-x7k2p", "uid": LOST}
    backup["metadata"]["ownerReferences"] = [{**lost, "controller": True, "blockOwnerDeletion": True}]
    fresh = await aws.world()
    aws.standin.forget_calls()
    await restore.bring_back(fresh, backup)
    await fresh.settle(seconds=60)
    there = await fresh.one(backup["apiVersion"], kind)
    assert meta(there)["deletionTimestamp"]
    assert "came back from a backup with an owner reference (XDatabase orders-x7k2p" in managed.message(there)
    assert not {"DeleteDBInstance", "DeleteVpc"} & set(aws.writes())
    await fresh.patch(key_of(there), {"metadata": {"ownerReferences": None}})
    await fresh.settle(seconds=60)
    assert {"DeleteDBInstance", "DeleteVpc"} & set(aws.writes())
    assert await fresh.cluster.list(backup["apiVersion"], kind) == []


async def test_a_definition_whose_kind_goes_with_an_owner_of_then_says_so_and_makes_it_again():
    world = await things.a_world()
    crd = composite_crd(things.XRD)
    lost = {**owner_reference({**things.XRD, "metadata": {"name": meta(crd)["name"], "uid": LOST}})}
    crd["metadata"] |= {"ownerReferences": [lost], "finalizers": ["example.org/hold"]}
    await world.apply(crd)
    await world.apply(things.XRD)
    await world.settle(seconds=10)
    [xrd] = [obj for obj in world.objects() if obj["kind"] == "CompositeResourceDefinition"]
    told = managed.message(xrd, "Established")
    assert f"CustomResourceDefinition {meta(crd)['name']} is being deleted, with all objects of the kind" in told
    await world.patch(key_of(crd), {"metadata": {"finalizers": None}})
    await world.settle(seconds=60)
    [xrd] = [obj for obj in world.objects() if obj["kind"] == "CompositeResourceDefinition"]
    assert managed.condition(xrd, "Established") == ("True", "WatchingCompositeResource")
    assert controller_of(await world.cluster.get(key_of(crd)))["uid"] == meta(xrd)["uid"]


async def test_a_definition_takes_over_its_kind_from_one_of_its_name_that_is_gone_before_it_is_collected(monkeypatch):
    world, crd = await things.a_world(), composite_crd(things.XRD)
    lost = owner_reference({**things.XRD, "metadata": {"name": things.XRD["metadata"]["name"], "uid": LOST}})
    with monkeypatch.context() as late:
        late.setattr(world.cluster._collector, "settle", lambda: None)
        await world.apply({**crd, "metadata": {"name": meta(crd)["name"], "ownerReferences": [lost]}})
        world.cluster._collector.forget()
    before = await world.cluster.get(key_of(crd))
    await world.apply(things.XRD)
    await world.settle(seconds=10)
    [xrd] = [obj for obj in world.objects() if obj["kind"] == "CompositeResourceDefinition"]
    assert managed.condition(xrd, "Established") == ("True", "WatchingCompositeResource")
    after = await world.cluster.get(key_of(crd))
    assert meta(after)["uid"] == meta(before)["uid"]
    assert controller_of(after)["uid"] == meta(xrd)["uid"]
