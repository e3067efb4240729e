"""What kstatus, Argo CD and `kubectl wait` make of our objects in every state, the real reconcilers at work.

The rows are those that GitOps tools meet: just applied, being made, ready, edited, invalid, a hiccup, an outage, paused, deleted.
`Verdict`s are (kstatus, Argo CD, kubectl wait); of definitions, compositions and managed resources by Argo CD's bundled checks.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from groundplane.cli import argocd_health
from groundplane.core import conditions, health
from groundplane.core.objects import key_of
from groundplane.reconcile import composite
from groundplane.reconcile.composing import Composed
from tests import gitops
from tests.reconcile import managed, things
from tests.reconcile.things import a_world, running

CM = argocd_health.checks(argocd_health.declared([things.XRD]))
XRD, COMPOSITION = key_of(things.XRD), key_of(things.COMPOSITION)
NEW = ("InProgress", "Progressing", "waits")
DONE = ("Current", "Healthy", "met")
WAITED = ("InProgress", "Progressing", "waits")
INVALID = ("Failed", "Degraded", "waits")


async def seen(world, key, cm=CM):
    return gitops.verdict(await world.cluster.get(key), cm)


async def verdicts(world):
    """Of the claim and of its composite, which always agree once all is quiet."""
    found = {await seen(world, things.CLAIM), gitops.verdict(await world.one(things.VERSION, "XThing"), CM)}
    assert len(found) == 1, found
    return found.pop()


async def outlook(world, key=things.CLAIM):
    return health.outlook(await world.cluster.get(key))


# --- claims and composites


async def test_a_claim_is_never_healthy_before_the_first_reconcile_nor_while_it_is_made():
    world = await a_world()
    await world.apply(things.XRD)
    await world.settle()
    await world.apply(things.COMPOSITION, things.THING)
    assert await seen(world, things.CLAIM) == NEW
    await world.settle()
    assert await verdicts(world) == NEW
    await things.report(world, "Alpha")
    await world.settle()
    assert await verdicts(world) == NEW
    composite = await world.one(things.VERSION, "XThing")
    assert (
        conditions.find(composite, "Reconciling")["message"]
        == "1 of 3 resources are ready; the first that is not: beta"
    )
    await things.all_ready(world)
    assert await verdicts(world) == DONE


async def test_an_edited_claim_is_in_progress_until_every_composed_resource_took_the_change():
    world = await a_world()
    await running(world)
    await things.all_ready(world)
    alpha = await world.one(things.COMPOSED, "Alpha")
    await world.patch(
        key_of(alpha), {"status": {"observedGeneration": alpha["metadata"]["generation"]}}, subresource="status"
    )
    await world.settle()
    await world.patch(things.CLAIM, {"spec": {"size": "large"}})
    assert await seen(world, things.CLAIM) == WAITED
    await world.settle()
    assert await verdicts(world) == WAITED
    claim = await world.cluster.get(things.CLAIM)
    assert conditions.is_true(claim, "Ready")  # it may be used all the while
    composite = await world.one(things.VERSION, "XThing")
    words = "1 of 3 resources still have to take the change; the first: alpha"
    assert conditions.find(composite, "Reconciling")["message"] == words
    alpha = await world.one(things.COMPOSED, "Alpha")
    await world.patch(
        key_of(alpha), {"status": {"observedGeneration": alpha["metadata"]["generation"]}}, subresource="status"
    )
    await world.settle()
    assert await verdicts(world) == DONE
    assert await outlook(world) is None


async def test_a_claim_that_only_a_person_can_mend_is_degraded_with_the_reason_also_after_it_was_ready():
    world = await a_world()
    await running(world, claim=things.changed(things.THING, size="huge"))
    assert await verdicts(world) == INVALID
    assert 'no entry for "huge"' in (await outlook(world)).message
    assert await outlook(world) == health.outlook(await world.one(things.VERSION, "XThing"))
    await world.patch(things.CLAIM, {"spec": {"size": "small"}})
    await world.settle()
    await things.all_ready(world)
    assert await verdicts(world) == DONE
    await world.patch(things.CLAIM, {"spec": {"size": "huge"}})
    await world.settle()
    assert await verdicts(world) == INVALID


async def test_a_claim_without_a_composition_waits_and_is_not_degraded_so_that_the_order_of_applying_does_not_matter():
    world = await a_world()
    await world.apply(things.XRD)
    await world.settle()
    await world.apply(things.THING)
    await world.settle(seconds=600)
    assert await verdicts(world) == NEW
    assert "apply a Composition" in (await outlook(world)).message
    assert (await outlook(world)).reason == "Waiting"


async def test_a_claim_that_may_not_have_its_composite_is_degraded():
    world = await a_world()
    await running(world)
    name = (await world.one(things.VERSION, "XThing"))["metadata"]["name"]
    thief = copy.deepcopy(things.THING)
    thief["metadata"]["name"] = "thief"
    thief["spec"]["resourceRef"] = {"apiVersion": things.VERSION, "kind": "XThing", "name": name}
    await world.apply(thief)
    await world.settle()
    assert await seen(world, key_of(thief)) == INVALID


async def test_a_paused_claim_is_suspended_and_one_that_was_never_looked_at_does_not_count_as_done():
    world = await a_world()
    await running(world)
    await things.all_ready(world)
    await world.patch(things.CLAIM, {"metadata": {"annotations": {"crossplane.io/paused": "true"}}})
    await world.settle()
    assert await seen(world, things.CLAIM) == ("Current", "Suspended", "met")
    other = copy.deepcopy(things.THING)
    other["metadata"] |= {"name": "other", "annotations": {"crossplane.io/paused": "true"}}
    await world.apply(other)
    await world.settle()
    assert await seen(world, key_of(other)) == ("InProgress", "Suspended", "waits")


async def test_what_is_being_deleted_says_so():
    world = await a_world()
    await running(world)
    await things.all_ready(world)
    await world.patch(things.CLAIM, {"metadata": {"finalizers": ["theirs", "finalizer.apiextensions.crossplane.io"]}})
    await world.cluster.delete(things.CLAIM)
    await world.settle()
    assert await seen(world, things.CLAIM) == ("Terminating", "Progressing", "waits")


async def test_with_strict_upstream_nothing_of_it_is_there():
    from groundplane.ports import Options

    world = await a_world(options=Options(strict_upstream=True))
    await running(world)
    await things.all_ready(world)
    for key in (things.CLAIM, XRD, COMPOSITION):
        status = (await world.cluster.get(key)).get("status") or {}
        types = {condition["type"] for condition in status.get("conditions") or ()}
        assert types <= {"Ready", "Synced", "Established", "Offered"}
        assert not any("observedGeneration" in condition for condition in status.get("conditions") or ())
    assert "observedGeneration" not in (await world.cluster.get(things.CLAIM))["status"]


async def test_a_field_of_that_name_in_a_users_schema_stays_the_users():
    world = await a_world()
    xrd = copy.deepcopy(things.XRD)
    schema = xrd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    schema["status"]["properties"]["observedGeneration"] = {"type": "string"}
    await world.apply(xrd)
    await world.settle()
    patch = {
        "type": "ToCompositeFieldPath",
        "fromFieldPath": "status.atProvider.address",
        "toFieldPath": "status.observedGeneration",
    }
    composition = copy.deepcopy(things.COMPOSITION)
    composition["spec"]["resources"][0]["patches"].append(patch)
    await world.apply(composition, things.THING)
    await world.settle()
    await things.all_ready(world)
    claim = await world.cluster.get(things.CLAIM)
    assert claim["status"]["observedGeneration"] == "a.example.org"
    assert conditions.find(claim, "Ready")["observedGeneration"] == claim["metadata"]["generation"]


# --- definitions, compositions, packages


async def test_a_definition_is_ready_once_its_composites_and_its_claims_are_served():
    world = await a_world()
    await world.apply(things.XRD)
    assert await seen(world, XRD) == NEW
    for name in ("defined", "offered"):
        await world.engine.process(name, XRD)
        await world.engine.process(name, XRD)
        if name == "defined":
            assert await seen(world, XRD) == ("InProgress", "Healthy", "waits")  # the bundled check looks no further
    assert await seen(world, XRD) == DONE
    await world.settle()
    assert await seen(world, XRD) == DONE


async def test_a_definition_that_is_wrong_is_degraded_also_while_the_old_one_is_served_and_mends():
    world = await a_world()
    broken = copy.deepcopy(things.XRD)
    broken["spec"]["versions"][0]["served"] = False
    await world.apply(broken)
    await world.settle()
    assert await seen(world, XRD) == INVALID
    await world.apply(things.XRD)
    await world.settle()
    assert await seen(world, XRD) == DONE
    await world.apply(broken)
    await world.settle()
    assert await seen(world, XRD) == INVALID  # `wait` asks for the new generation
    await world.apply(things.XRD)
    await world.settle()
    assert await seen(world, XRD) == DONE


async def test_a_composition_is_ready_once_it_has_a_revision_and_degraded_if_it_cannot_be_rendered():
    world = await a_world()
    await world.apply(things.COMPOSITION)
    assert await seen(world, COMPOSITION) == NEW
    await world.settle()
    assert await seen(world, COMPOSITION) == DONE
    broken = copy.deepcopy(things.COMPOSITION)
    broken["spec"]["resources"][0]["patches"] = [{"type": "PatchSet", "patchSetName": "nowhere"}]
    await world.apply(broken)
    await world.settle()
    assert await seen(world, COMPOSITION) == INVALID
    assert "nowhere" in (await outlook(world, COMPOSITION)).message
    await world.apply(things.COMPOSITION)
    await world.settle()
    assert await seen(world, COMPOSITION) == DONE


async def test_a_composition_that_does_not_fit_is_ready_all_the_same():
    world = await a_world()
    await world.apply(things.XRD)
    await world.settle()
    misfit = copy.deepcopy(things.COMPOSITION)
    misfit["spec"]["resources"][0]["patches"][0]["fromFieldPath"] = "spec.sizes"
    await world.apply(misfit)
    await world.settle()
    assert conditions.find(await world.cluster.get(COMPOSITION), "FitsSchemas")["status"] == "False"
    assert await seen(world, COMPOSITION) == DONE


@pytest.mark.parametrize(
    "kind, image, wanted",
    [
        ("Provider", "xpkg.upbound.io/upbound/provider-aws-rds:v1", ("Current", "Healthy", "waits")),
        ("Provider", "xpkg.upbound.io/upbound/provider-gcp:v1", INVALID),
        ("Function", "xpkg.upbound.io/crossplane-contrib/function-auto-ready:v0.4.2", ("Current", "Healthy", "waits")),
        ("Function", "example.org/function-unknown:v1", INVALID),
    ],
)
async def test_a_package_is_healthy_if_it_is_built_in_and_else_degraded(kind, image, wanted):
    world = await a_world()
    manifest = {
        "apiVersion": "pkg.crossplane.io/v1",
        "kind": kind,
        "metadata": {"name": "p"},
        "spec": {"package": image},
    }
    await world.apply(manifest)
    assert await seen(world, key_of(manifest)) == NEW
    await world.settle()
    assert await seen(world, key_of(manifest)) == wanted


# --- managed resources and ProviderConfigs


async def test_a_provider_config_is_ready_once_its_credentials_resolve_and_waits_for_a_secret_that_is_missing(aws):
    world = await aws.world(ready=False)
    await world.apply(managed.provider_config(aws.standin.url))
    assert await seen(world, managed.CONFIG) == NEW
    await world.settle()
    found = await seen(world, managed.CONFIG)
    assert (found.kstatus, found.wait) == ("InProgress", "waits")
    assert found.argo == "Degraded"  # the bundled check looks at Synced alone
    await world.apply(managed.CREDENTIALS)
    await world.settle()
    assert await seen(world, managed.CONFIG) == DONE


async def test_a_managed_resource_is_in_progress_until_aws_has_made_it_and_took_every_change(aws):
    world = await aws.world()
    aws.standin.slow(30)
    database = managed.instance()
    await world.apply(database)
    assert await seen(world, key_of(database)) == NEW
    await world.settle()
    assert await seen(world, key_of(database)) == NEW
    await world.settle(seconds=60)
    assert await seen(world, key_of(database)) == DONE
    await world.patch(key_of(database), {"spec": {"forProvider": {"allocatedStorage": 30}}})
    assert (await seen(world, key_of(database))).kstatus == "InProgress"
    await world.settle()
    found = await seen(world, key_of(database))
    assert (found.kstatus, found.wait) == ("InProgress", "waits")
    await world.settle(seconds=120)
    assert await seen(world, key_of(database)) == DONE


async def test_a_change_that_aws_cannot_make_leaves_the_live_thing_degraded_without_a_write_at_every_look(aws):
    world = await aws.world()
    vpc = managed.vpc()
    await managed.applied(world, vpc, seconds=10)
    await managed.edited(world, vpc, cidrBlock="10.1.0.0/16", seconds=10)
    assert await seen(world, key_of(vpc)) == INVALID
    before = (await managed.get(world, vpc))["metadata"]["resourceVersion"]
    await world.settle(seconds=1800)
    assert (await managed.get(world, vpc))["metadata"]["resourceVersion"] == before
    await managed.edited(world, vpc, cidrBlock="10.0.0.0/16", seconds=10)
    assert await seen(world, key_of(vpc)) == DONE


async def test_a_hiccup_of_aws_is_progress_an_outage_is_degraded_and_both_pass(aws):
    world = await aws.world()
    vpc = managed.vpc()
    await managed.applied(world, vpc, seconds=10)
    aws.standin.fail("ec2", "DescribeVpcs", "InternalError", status=503, times=1000)
    await world.settle(seconds=61)
    found = await managed.get(world, vpc)
    assert gitops.verdict(found, CM) == ("InProgress", "Healthy", "met")
    assert (health.outlook(found).reason, conditions.is_true(found, "Synced")) == ("Retrying", True)
    await world.settle(seconds=60)
    found = await managed.get(world, vpc)
    assert gitops.verdict(found, CM) == ("InProgress", "Degraded", "met")
    aws.standin.mend()
    await world.settle(seconds=120)
    assert await seen(world, key_of(vpc)) == DONE


async def test_being_denied_is_progress_while_a_role_may_be_new_and_stalled_when_it_lasts(aws):
    world = await aws.world()
    aws.standin.fail("ec2", "CreateVpc", "UnauthorizedOperation", status=403, times=1000)
    vpc = managed.vpc()
    await managed.applied(world, vpc, seconds=5)
    assert await seen(world, key_of(vpc)) == NEW
    await world.settle(seconds=60)
    found = await managed.get(world, vpc)
    assert gitops.verdict(found, CM) == ("InProgress", "Degraded", "waits")
    await world.settle(seconds=120)
    assert await seen(world, key_of(vpc)) == INVALID
    aws.standin.mend()
    await world.settle(seconds=120)
    assert await seen(world, key_of(vpc)) == DONE


@pytest.mark.parametrize("code", ["InvalidClientTokenId", "SignatureDoesNotMatch", "AuthFailure"])
async def test_wrong_credentials_are_told_at_once_for_a_person_must_mend_them(aws, code):
    world = await aws.world()
    aws.standin.fail("ec2", "CreateVpc", code, status=403, times=1000)
    vpc = managed.vpc()
    await managed.applied(world, vpc, seconds=5)
    found = await managed.get(world, vpc)
    assert gitops.verdict(found, CM) == ("InProgress", "Degraded", "waits")
    assert code in conditions.cause_of(found)


def test_a_composites_cause_is_a_call_that_failed_before_a_wait_for_a_reference():
    def synced(template, message):
        condition = {"type": "Synced", "status": "False", "message": message}
        obj = {"apiVersion": "a/v1", "kind": "Thing", "metadata": {"name": "x"}, "status": {"conditions": [condition]}}
        return Composed(template, obj)

    waits, fails = synced("a", f"x ({conditions.EARLY}): y"), synced("b", "observe failed: Could not connect")
    context = SimpleNamespace(options=SimpleNamespace(strict_upstream=False))
    run = SimpleNamespace(composed=[waits, fails], withheld="", context=context)
    assert composite._cause(run) == "Thing b: observe failed: Could not connect"
    run.composed = [waits]
    assert conditions.EARLY in composite._cause(run)
