"""Declared packages: what is built in is reported as installed, anything else is told what is."""

from dataclasses import replace

import pytest

from groundplane.core import conditions, packages
from groundplane.core.function_runtime import Bounds
from groundplane.core.function_sources import Rules
from groundplane.core.objects import Key, owner_reference
from groundplane.ports import Options
from tests.reconcile import things
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
    assert world.told.reasons(f"{kind}Revision") == {("Normal", "SyncPackage")}


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


async def test_a_provider_that_has_a_substitute_says_which():
    world = await World().install()
    found = await declared(world, "Provider", "xpkg.upbound.io/crossplane-contrib/provider-helm:v1")
    assert "Argo CD or Flux" in message(found, "Installed")


def version(number, **spec):
    package = f"xpkg.upbound.io/upbound/provider-aws:v{number}"
    return {"apiVersion": API, "kind": "Provider", "metadata": {"name": "mine"}, "spec": {"package": package, **spec}}


async def revisions(world):
    """Version, number and state of each revision, by number."""
    found = [each["spec"] for each in await world.cluster.list(API, "ProviderRevision")]
    rows = [(each["revision"], each["image"][-1], each["desiredState"]) for each in found]
    return [(image, number, state) for number, image, state in sorted(rows)]


async def applied(world, *packages):
    for each in packages:
        await world.apply(each)
        await world.settle()
    return await world.cluster.get(Key(API, "Provider", "", "mine"))


async def test_another_version_is_another_revision_and_as_many_earlier_ones_stay_as_is_said():
    world = await World().install()
    found = await applied(world, version(1), version(2))
    assert await revisions(world) == [("1", 1, "Inactive"), ("2", 2, "Active")]
    assert ("Normal", "TransitionRevision") in world.told.reasons("Provider")
    assert found["status"]["currentIdentifier"].endswith("v2")
    await applied(world, version(3))
    assert await revisions(world) == [("2", 2, "Inactive"), ("3", 3, "Active")]
    await applied(world, version(4, revisionHistoryLimit=2))
    assert [image for image, *_ in await revisions(world)] == ["2", "3", "4"]
    await applied(world, version(5, revisionHistoryLimit=0), version(6, revisionHistoryLimit=0))
    assert len(await revisions(world)) == 5


async def test_a_revision_says_of_its_package_what_was_declared_and_follows_it():
    world = await World().install()
    given = {
        "packagePullPolicy": "Always",
        "packagePullSecrets": [{"name": "registry"}],
        "ignoreCrossplaneConstraints": True,
        "skipDependencyResolution": True,
        "commonLabels": {"team": "a"},
        "commonAnnotations": {"note": "b"},
        "runtimeConfigRef": {"name": "two-replicas"},
        "controllerConfigRef": {"name": "old"},
    }
    assert set(given) == set(packages.SHARED)
    found = await applied(world, version(1, **given))

    async def of_revision():
        spec = (await world.one(API, "ProviderRevision"))["spec"]
        return {name: value for name, value in spec.items() if name in packages.SHARED}

    said = await of_revision()
    assert said == {name: found["spec"][name] for name in given}
    assert (said["runtimeConfigRef"]["name"], said["packagePullSecrets"]) == ("two-replicas", [{"name": "registry"}])
    found = await applied(world, version(1, commonLabels={"team": "b"}))
    assert await of_revision() == packages.shared(found)
    assert "packagePullSecrets" not in await of_revision()
    assert await revisions(world) == [("1", 1, "Active")]


@pytest.mark.parametrize("kind", ["Provider", "Function", "Configuration"])
async def test_events_on_a_package_come_from_the_controller_of_its_kind(kind):
    world = await World().install()
    sources, event = set(), world.told.event

    def told(about, *what, source="", **more):
        sources.add((about["kind"], source))
        event(about, *what, source=source, **more)

    world.told.event = told
    await declared(world, kind, "xpkg.upbound.io/acme/unknown:v1")
    assert sources == {(kind, f"packages/{kind.lower()}.pkg.crossplane.io")}


async def test_who_goes_back_to_an_earlier_version_gets_its_revision_to_the_front():
    world = await World().install()
    await applied(world, version(1), version(2), version(1))
    assert await revisions(world) == [("2", 2, "Inactive"), ("1", 3, "Active")]


@pytest.mark.parametrize(("strict", "before"), [(False, "Active"), (True, "Inactive")])
async def test_with_policy_manual_a_new_version_is_inactive_until_somebody_activates_it(strict, before):
    world = await World(options=Options(strict_upstream=strict)).install()
    manual = version(2, revisionActivationPolicy="Manual")
    found = await applied(world, version(1), manual)
    assert await revisions(world) == [("1", 1, before), ("2", 2, "Inactive")]
    assert condition(found, "Installed") == ("False", "InactivePackageRevision")
    assert condition(found, "Healthy") == ("True", "HealthyPackageRevision")
    for part in (found["status"]["currentRevision"], "built in, and works all the same", "desiredState to Active"):
        assert part in message(found, "Installed")
    key = Key(API, "ProviderRevision", "", found["status"]["currentRevision"])
    await world.patch(key, {"spec": {"desiredState": "Active"}})
    await world.settle()
    found = await world.cluster.get(Key(API, "Provider", "", "mine"))
    assert condition(found, "Installed") == ("True", "ActivePackageRevision")
    assert await revisions(world) == [("1", 1, "Inactive"), ("2", 2, "Active")]


async def test_a_revision_that_somebody_deactivates_is_active_again_at_the_next_look():
    world = await World().install()
    found = await applied(world, version(1))
    key = Key(API, "ProviderRevision", "", found["status"]["currentRevision"])
    await world.patch(key, {"spec": {"desiredState": "Inactive"}})
    await applied(world, version(1, commonLabels={"a": "b"}))
    assert await revisions(world) == [("1", 1, "Active")]


async def test_the_column_of_v2_says_which_revision_runs():
    async def running():
        found = sorted(await world.cluster.list(API, "ProviderRevision"), key=lambda each: each["spec"]["image"])
        return [condition(each, "RuntimeActive") for each in found]

    active, inactive = ("True", "ActiveRuntime"), ("False", "InactiveRuntime")
    world = await World().install()
    manual = version(2, revisionActivationPolicy="Manual")
    found = await applied(world, version(1), manual)
    assert await running() == [active, inactive]
    await world.patch(
        Key(API, "ProviderRevision", "", found["status"]["currentRevision"]), {"spec": {"desiredState": "Active"}}
    )
    await world.settle()
    assert await running() == [inactive, active]
    await applied(world, version(1))
    assert await running() == [active, inactive]
    writes = world.cluster.writes
    await world.restarted().settle(seconds=600)
    assert world.cluster.writes == writes


@pytest.mark.parametrize("strict", [False, True])
async def test_what_has_no_effect_on_a_package_that_is_built_in_is_told_once(strict):
    world = await World(options=Options(strict_upstream=strict)).install()
    await applied(world, version(1), version(1, commonLabels={"a": "b"}))
    told = [each for each in world.told.events if each[1:3] == ("Normal", "InstallPackageRevision")]
    assert len(told) == (0 if strict else 1)


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


async def test_a_revision_that_came_from_a_backup_is_its_packages_again_and_goes_with_it():
    world = await World().install()
    found = await declared(world, *BUILT_IN[0])
    revision = await world.one(API, "ProviderRevision")
    bare = await world.cluster.update({**revision, "metadata": {**revision["metadata"], "ownerReferences": []}})
    assert not bare["metadata"].get("ownerReferences")
    await declared(world.restarted(), *BUILT_IN[0])
    revision = await world.one(API, "ProviderRevision")
    assert [each["uid"] for each in revision["metadata"]["ownerReferences"]] == [found["metadata"]["uid"]]


async def test_an_unchanged_package_is_not_written():
    world = await World().install()
    await declared(world, *BUILT_IN[0])
    await declared(world, "Provider", "xpkg.upbound.io/upbound/provider-gcp:v1", name="other")
    before = world.cluster.writes
    await world.restarted().settle(seconds=600)
    assert world.cluster.writes == before


@pytest.mark.parametrize("strict", [False, True])
async def test_gitops_tools_see_that_an_unknown_package_failed_and_that_it_is_mended(strict):
    world = await World(options=Options(strict_upstream=strict)).install()
    found = await declared(world, "Function", "xpkg.upbound.io/upbound/function-kcl:v1")
    assert condition(found, "Synced") == ((None, None) if strict else ("False", "ReconcileError"))
    found = await declared(world, *BUILT_IN[3])
    assert condition(found, "Synced") == ((None, None) if strict else ("True", "ReconcileSuccess"))


async def test_a_paused_package_is_left_alone_and_says_so_until_it_is_not():
    world = await World().install()
    await declared(world, *BUILT_IN[0])
    key, paused = Key(API, "Provider", "", "mine"), "crossplane.io/paused"
    await world.patch(key, {"metadata": {"annotations": {paused: "true"}}, "spec": {"package": "other/provider:v1"}})
    await world.settle()
    found = await world.cluster.get(key)
    assert condition(found, "Synced") == ("False", "ReconcilePaused")
    assert condition(found, "Installed") == ("True", "ActivePackageRevision")
    await world.patch(key, {"metadata": {"annotations": {paused: None}}})
    await world.settle()
    assert condition(await world.cluster.get(key), "Installed") == ("False", "InactivePackageRevision")


@pytest.mark.parametrize("strict", [False, True])
async def test_a_revision_says_that_what_it_brings_runs_in_the_columns_of_v2(strict):
    world = await World(options=Options(strict_upstream=strict)).install()
    await declared(world, *BUILT_IN[0])
    revision = await world.one(API, "ProviderRevision")
    assert condition(revision, "RuntimeHealthy") == ("True", "HealthyPackageRevision")
    assert condition(revision, "RuntimeActive") == ((None, None) if strict else ("True", "ActiveRuntime"))


# --- what Crossplane made before us

UPSTREAM = {"pkg.crossplane.io/package": "mine"}


async def upstreams_revision(world, kind, package, **annotations):
    """A revision as Crossplane made it: it controls the definition that its package installed."""
    name = f"mine-{kind[:4].lower()}"
    revision = {
        "apiVersion": API,
        "kind": f"{kind}Revision",
        "metadata": {
            "name": name,
            "labels": UPSTREAM,
            "annotations": annotations,
            "ownerReferences": [owner_reference(package)],
        },
        "spec": {"image": package["spec"]["package"], "revision": 7, "desiredState": "Active"},
    }
    made = await world.cluster.create(revision)
    owned = things.XRD | {"metadata": {"name": "xthings.example.org", "ownerReferences": [owner_reference(made)]}}
    await world.apply(owned)
    return await world.cluster.get(Key(API, f"{kind}Revision", "", name))


@pytest.mark.parametrize(
    ("kind", "image"), [("Configuration", "xpkg.upbound.io/acme/platform:v1"), BUILT_IN[0], BUILT_IN[3]]
)
async def test_revisions_that_crossplane_made_stay_as_they_are_with_all_that_they_own(kind, image):
    world = await World().install()
    package = {"apiVersion": API, "kind": kind, "metadata": {"name": "mine"}, "spec": {"package": image}}
    await world.apply(package)
    found = await world.cluster.get(Key(API, kind, "", "mine"))
    before = await upstreams_revision(world, kind, found)
    await world.settle(seconds=600)
    await world.apply(package | {"spec": {"package": f"{image}-changed"}})
    await world.settle(seconds=600)
    assert await world.cluster.get(Key(API, f"{kind}Revision", "", before["metadata"]["name"])) == before
    definition = await world.one("apiextensions.crossplane.io/v1", "CompositeResourceDefinition")
    assert condition(definition, "Established") == ("True", "WatchingCompositeResource")


async def test_a_revision_of_somebody_else_under_the_name_of_ours_stays_as_it_is():
    package = {"apiVersion": API, "kind": "Provider", "metadata": {"name": "mine"}, "spec": {"package": BUILT_IN[0][1]}}
    world = await World().install()
    await world.apply(package)
    await world.settle(seconds=600)
    made = await world.one(API, "ProviderRevision")
    world = await World().install()
    theirs = {**made, "metadata": {"name": made["metadata"]["name"], "labels": made["metadata"]["labels"]}}
    before = await world.cluster.create({name: value for name, value in theirs.items() if name != "status"})
    await world.apply(package)
    await world.settle(seconds=600)
    assert await world.one(API, "ProviderRevision") == before


async def test_a_revision_that_another_package_controls_is_told_and_the_package_goes_on_without_it():
    package = {"apiVersion": API, "kind": "Provider", "metadata": {"name": "mine"}, "spec": {"package": BUILT_IN[0][1]}}
    world = await World().install()
    await declared(world, *BUILT_IN[0])
    made = await world.one(API, "ProviderRevision")
    world = await World().install()
    other = await declared(world, "Provider", BUILT_IN[1][1], name="other")
    metadata = {name: made["metadata"][name] for name in ("name", "labels", "annotations")}
    theirs = {name: made[name] for name in ("apiVersion", "kind", "spec")}
    before = await world.cluster.create(theirs | {"metadata": metadata | {"ownerReferences": [owner_reference(other)]}})
    await world.apply(package)
    await world.settle()
    found = await world.cluster.get(Key(API, "Provider", "", "mine"))
    assert "Provider other controls it. Mend: delete that ProviderRevision" in message(found, "Synced")
    key = Key(API, "ProviderRevision", "", made["metadata"]["name"])
    assert await world.cluster.get(key) == before
    await world.cluster.delete(key)
    await world.settle()
    found = await world.cluster.get(Key(API, "Provider", "", "mine"))
    assert condition(found, "Installed") == ("True", "ActivePackageRevision")
    assert condition(found, "Synced") == ("True", "ReconcileSuccess")


class Signs:
    """Certificates that nobody looks at."""

    async def ensure(self, secret, hosts, owner):
        return "digest"


async def running_packages():
    """A world that runs the packages of Functions; it has no Deployments."""
    world = await World().install()
    options = replace(world.context.options, functions=Rules(runs=True))
    world.context = world.engine.context = replace(world.context, certifier=Signs(), options=options)
    return world


ACME = {
    "apiVersion": "pkg.crossplane.io/v1",
    "kind": "Function",
    "metadata": {"name": "acme"},
    "spec": {"package": "example.org/acme/function-acme:v1"},
}


async def told(world):
    found = await world.cluster.get(Key("pkg.crossplane.io/v1", "Function", "", "acme"))
    return conditions.find(found, "Installed"), conditions.find(found, "Healthy")


async def test_a_revision_that_somebody_must_activate_is_inactive_and_runs_nothing():
    world = await running_packages()
    await world.apply({**ACME, "spec": {**ACME["spec"], "revisionActivationPolicy": "Manual"}})
    await world.settle(seconds=60)
    [revision] = await world.cluster.list("pkg.crossplane.io/v1", "FunctionRevision")
    assert revision["spec"]["desiredState"] == "Inactive"
    assert "endpoint" not in revision.get("status", {})
    installed, healthy = await told(world)
    assert (installed["status"], installed["reason"]) == ("False", "InactivePackageRevision")
    assert f"FunctionRevision {revision['metadata']['name']} is inactive" in installed["message"]
    assert "set its spec.desiredState to Active" in installed["message"]
    assert (healthy["status"], healthy["message"]) == ("False", "it serves nothing yet")


async def test_what_an_image_config_wants_verified_is_not_run_and_says_so():
    world = await running_packages()
    image_config = {
        "apiVersion": "pkg.crossplane.io/v1beta1",
        "kind": "ImageConfig",
        "metadata": {"name": "signed"},
        "spec": {
            "matchImages": [{"type": "Prefix", "prefix": "example.org/"}],
            "verification": {"provider": "Cosign"},
        },
    }
    await world.apply(image_config, ACME)
    await world.settle(seconds=10)
    _, healthy = await told(world)
    assert healthy["status"] == "False"
    assert "ImageConfig signed wants the signature" in healthy["message"]
    assert "Mend:" in healthy["message"]


async def test_an_image_that_is_not_on_the_list_is_not_run_and_what_is_pulled_counts():
    world = await running_packages()
    options = replace(world.context.options, function_bounds=Bounds(images=("mirror.example.org/*/*",)))
    world.context = world.engine.context = replace(world.context, options=options)
    rewrite = {"matchImages": [{"prefix": "example.org/"}], "rewriteImage": {"prefix": "evil.example.org/"}}
    config = {"apiVersion": "pkg.crossplane.io/v1beta1", "kind": "ImageConfig", "metadata": {"name": "mirror"}}
    await world.apply({**config, "spec": rewrite}, ACME)
    await world.settle(seconds=10)
    _, healthy = await told(world)
    assert (healthy["status"], healthy["reason"]) == ("False", "UnhealthyPackageRevision")
    assert 'image "evil.example.org/acme/function-acme:v1" is not one' in healthy["message"]
    assert "have the operator's --function-allowed-images list it" in healthy["message"]
