"""Declared packages: what is built in is reported as installed, anything else is told what is."""

import pytest

from groundplane.core.objects import Key
from tests.reconcile.managed import condition, message
from tests.world import World

API = "pkg.crossplane.io/v1"
BUILT_IN = [
    ("Provider", "xpkg.upbound.io/upbound/provider-aws:v0.47.0"),
    ("Provider", "xpkg.upbound.io/upbound/provider-aws-rds:v1.2.3"),
    ("Provider", "registry.example.org/crossplane-contrib/provider-aws-s3@sha256:abc"),
    ("Function", "xpkg.upbound.io/crossplane-contrib/function-patch-and-transform:v0.8.0"),
]


async def declared(world, kind, image, name="mine"):
    await world.apply({"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": {"package": image}})
    await world.settle()
    return await world.cluster.get(Key(API, kind, "", name))


@pytest.mark.parametrize(("kind", "image"), BUILT_IN)
async def test_a_package_that_is_built_in_is_installed_and_healthy_with_a_revision(kind, image):
    world = await World().install()
    found = await declared(world, kind, image)
    assert condition(found, "Installed") == ("True", "ActivePackageRevision")
    assert condition(found, "Healthy") == ("True", "HealthyPackageRevision")
    assert found["status"]["currentIdentifier"] == image
    revision = await world.one(API, f"{kind}Revision")
    assert revision["metadata"]["name"] == found["status"]["currentRevision"]
    assert condition(revision, "Healthy") == ("True", "HealthyPackageRevision")
    assert revision["metadata"]["labels"]["pkg.crossplane.io/package"] == "mine"


@pytest.mark.parametrize(("kind", "says"), [("Provider", "provider-aws"), ("Configuration", "no Configuration")])
async def test_an_unknown_package_is_told_what_is_built_in(kind, says):
    world = await World().install()
    found = await declared(world, kind, "xpkg.upbound.io/upbound/provider-gcp:v1")
    assert condition(found, "Installed") == ("False", "InactivePackageRevision")
    assert condition(found, "Healthy") == ("False", "UnhealthyPackageRevision")
    for part in ("provider-gcp", "not built in", says):
        assert part in message(found, "Healthy")
    assert ("Warning", "InstallPackageRevision") in world.told.reasons(kind)
    assert await world.cluster.list(API, f"{kind}Revision") == []


async def test_another_version_has_another_revision_and_takes_the_old_one_away():
    world = await World().install()
    old = await declared(world, *BUILT_IN[0])
    new = await declared(world, "Provider", "xpkg.upbound.io/upbound/provider-aws:v1.0.0")
    assert new["status"]["currentRevision"] != old["status"]["currentRevision"]
    assert (await world.one(API, "ProviderRevision"))["metadata"]["name"] == new["status"]["currentRevision"]


async def test_a_package_that_becomes_unknown_is_no_longer_healthy_and_keeps_no_revision():
    world = await World().install()
    await declared(world, *BUILT_IN[0])
    found = await declared(world, "Provider", "xpkg.upbound.io/upbound/provider-gcp:v1")
    assert condition(found, "Healthy") == ("False", "UnhealthyPackageRevision")
    assert await world.cluster.list(API, "ProviderRevision") == []
    assert "currentRevision" not in found["status"]


async def test_a_deleted_package_takes_its_revision_along():
    world = await World().install()
    await declared(world, *BUILT_IN[0])
    await world.cluster.delete(Key(API, "Provider", "", "mine"))
    await world.settle()
    assert await world.cluster.list(API, "ProviderRevision") == []


async def test_an_unchanged_package_is_not_written():
    world = await World().install()
    await declared(world, *BUILT_IN[0])
    await declared(world, "Provider", "xpkg.upbound.io/upbound/provider-gcp:v1", name="other")
    before = world.cluster.writes
    await world.restarted().settle(seconds=600)
    assert world.cluster.writes == before
