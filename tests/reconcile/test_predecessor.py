"""What Crossplane has left of packages: it stays, and goes when somebody deletes it."""

from __future__ import annotations

import pytest

from groundplane.core.objects import Key, owner_reference
from tests.reconcile import things
from tests.world import World

API, LOCK = "pkg.crossplane.io/v1", Key("pkg.crossplane.io/v1beta1", "Lock", "", "lock")
KINDS = ("Provider", "Function", "Configuration")
PAUSED = {"crossplane.io/paused": "true"}


async def a_world(kind, **annotations):
    """A package with a revision as Crossplane made it, and the Lock that lists it beside another one."""
    world = await World().install()
    spec = {"package": "xpkg.example.org/acme/thing:v1"}
    await world.apply({"apiVersion": API, "kind": kind, "metadata": {"name": "thing"}, "spec": spec})
    package = await world.cluster.get(Key(API, kind, "", "thing"))
    metadata = {
        "name": "thing-1234",
        "labels": {"pkg.crossplane.io/package": "thing"},
        "annotations": annotations,
        "finalizers": ["revision.pkg.crossplane.io"],
        "ownerReferences": [owner_reference(package)],
    }
    spec = {"image": spec["package"], "revision": 1, "desiredState": "Active"}
    await world.cluster.create({"apiVersion": API, "kind": f"{kind}Revision", "metadata": metadata, "spec": spec})
    lock = {"apiVersion": LOCK.api_version, "kind": LOCK.kind, "metadata": {"name": LOCK.name}}
    lock["metadata"]["finalizers"] = ["lock.pkg.crossplane.io"]
    await world.cluster.create(lock | {"packages": [{"name": "thing-1234"}, {"name": "other-5678"}]})
    await world.settle(seconds=600)
    return world


def revision(kind):
    return Key(API, f"{kind}Revision", "", "thing-1234")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_revision_that_somebody_deletes_goes_and_the_lock_lists_it_no_more(kind):
    world = await a_world(kind)
    before = await world.cluster.get(revision(kind))
    assert before["metadata"]["finalizers"] == ["revision.pkg.crossplane.io"]
    await world.cluster.delete(revision(kind))
    await world.settle()
    assert await world.cluster.get(revision(kind)) is None
    assert (await world.cluster.get(LOCK))["packages"] == [{"name": "other-5678"}]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_package_that_somebody_deletes_takes_its_revision_along(kind):
    world = await a_world(kind)
    await world.cluster.delete(Key(API, kind, "", "thing"))
    await world.settle()
    assert await world.cluster.get(revision(kind)) is None


async def test_a_revision_that_is_paused_stays_until_it_is_not():
    world = await a_world("Provider", **PAUSED)
    await world.cluster.delete(revision("Provider"))
    await world.settle()
    assert len((await world.cluster.get(LOCK))["packages"]) == 2
    await world.patch(revision("Provider"), {"metadata": {"annotations": None}})
    await world.settle()
    assert await world.cluster.get(revision("Provider")) is None


async def test_finalizers_of_others_are_theirs():
    world = await a_world("Provider")
    patch = {"metadata": {"finalizers": ["revision.pkg.crossplane.io", "example.org/mine"]}}
    await world.patch(revision("Provider"), patch)
    await world.cluster.delete(revision("Provider"))
    await world.settle()
    assert (await world.cluster.get(revision("Provider")))["metadata"]["finalizers"] == ["example.org/mine"]


async def test_the_lock_goes_when_somebody_deletes_it():
    world = await a_world("Provider")
    await world.cluster.delete(LOCK)
    await world.settle()
    assert await world.cluster.get(LOCK) is None


async def claimed(world, kind, *owners, controls=True):
    """A definition that the revision owns, and an object of its kind."""
    found = await world.cluster.get(revision(kind))
    references = [owner_reference(found) | {"controller": controls}, *owners]
    await world.apply(things.XRD | {"metadata": {"name": "xthings.example.org", "ownerReferences": references}})
    await world.settle()
    await world.apply(things.THING)
    await world.settle()
    assert (
        "composite.apiextensions.crossplane.io" in (await world.one(things.VERSION, "XThing"))["metadata"]["finalizers"]
    )


@pytest.mark.parametrize("whole", [False, True], ids=["revision", "package"])
async def test_a_revision_with_which_claims_would_go_waits_for_their_end_and_says_so(whole):
    world = await a_world("Configuration")
    await claimed(world, "Configuration")
    await world.cluster.delete(Key(API, "Configuration", "", "thing") if whole else revision("Configuration"))
    await world.settle(seconds=600)
    assert await world.cluster.get(revision("Configuration"))
    assert await world.cluster.get(things.CLAIM)
    told = [
        text
        for key, type_, _, text in world.told.events
        if key == "ConfigurationRevision thing-1234" and type_ == "Warning"
    ]
    assert (
        told
        == [
            "ConfigurationRevision thing-1234 owns CompositeResourceDefinition xthings.example.org, which would go with it, and with that "
            "all things: team-a/db is there. Mend: delete those objects first; to keep them, take the owner references off that CompositeResourceDefinition."
        ]
        or "all xthings" in told[0]
    )
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=60)
    assert await world.cluster.get(revision("Configuration")) is None


async def test_a_revision_that_only_owns_definitions_as_an_inactive_one_does_waits_as_well():
    world = await a_world("Configuration")
    package = owner_reference(await world.cluster.get(Key(API, "Configuration", "", "thing")))
    await claimed(world, "Configuration", {**package, "controller": False}, controls=False)
    await world.cluster.delete(Key(API, "Configuration", "", "thing"))
    await world.settle(seconds=600)
    assert await world.cluster.get(revision("Configuration"))
    assert await world.cluster.get(things.CLAIM)
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=60)
    assert await world.cluster.get(revision("Configuration")) is None


async def test_a_revision_whose_definitions_its_package_keeps_does_not_wait():
    world = await a_world("Configuration")
    package = owner_reference(await world.cluster.get(Key(API, "Configuration", "", "thing")))
    await claimed(world, "Configuration", {**package, "controller": False})
    await world.cluster.delete(revision("Configuration"))
    await world.settle()
    assert await world.cluster.get(revision("Configuration")) is None
    assert await world.cluster.get(things.CLAIM)


async def test_a_revision_whose_definitions_were_taken_from_it_goes_and_they_stay():
    world = await a_world("Configuration")
    await claimed(world, "Configuration")
    await world.cluster.delete(revision("Configuration"))
    await world.settle(seconds=60)
    xrd = Key("apiextensions.crossplane.io/v1", "CompositeResourceDefinition", "", "xthings.example.org")
    await world.patch(xrd, {"metadata": {"ownerReferences": None}})
    await world.settle()
    assert await world.cluster.get(revision("Configuration")) is None
    assert await world.cluster.get(things.CLAIM)
