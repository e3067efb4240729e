"""What GitOps tools make of Crossplane v2's generation, row by row: composites in namespaces, and managed resources and accounts there."""

from __future__ import annotations

from groundplane.cli import argocd_health
from groundplane.core.objects import key_of
from tests import gitops
from tests.reconcile import managed, things
from tests.reconcile import test_composites_v2 as v2
from tests.reconcile import test_managed_namespaced as namespaced
from tests.reconcile.things import a_world

CM = argocd_health.checks(argocd_health.declared([things.v2_definition()]))
PAUSED = {"metadata": {"annotations": {"crossplane.io/paused": "true"}}}
GOES_ON = {"metadata": {"annotations": {"crossplane.io/paused": None}}}
NEW = ("InProgress", "Progressing", "waits")
DONE = ("Current", "Healthy", "met")
WRONG = ("Failed", "Degraded", "waits")


def secret(**more):
    """Ready once it has been given data."""
    check = {"type": "NonEmpty", "fieldPath": "data.filled"}
    copy = {"type": "FromCompositeFieldPath", "fromFieldPath": "spec.size", "toFieldPath": "data.size"}
    known = {"type": "map", "map": {"small": "1", "large": "3"}}
    return v2.template() | {"readinessChecks": [check], "patches": [copy | {"transforms": [known]}]} | more


async def of(world, key=things.APP, cm=CM):
    return gitops.verdict(await world.cluster.get(key), cm)


async def filled(world):
    (made,) = await world.cluster.list("v1", "ConfigMap")
    await world.patch(key_of(made), {"data": {"filled": "yes"}})
    await world.settle()


async def test_a_composite_of_v2_in_every_state():
    world = await a_world()
    await world.apply(things.v2_definition())
    await world.settle()
    await world.apply(things.v2_composite())
    assert await of(world) == NEW, "just applied"
    await world.settle(seconds=600)
    assert await of(world) == NEW, "no Composition yet"
    await world.apply(v2.piped(secret()))
    await world.settle()
    assert await of(world) == NEW, "being made"
    await filled(world)
    assert await of(world) == DONE, "ready"
    await world.patch(things.APP, {"spec": {"size": "large"}})
    assert await of(world) == NEW, "edited, unseen"
    await world.settle()
    assert await of(world) == DONE, "edited, taken"
    await world.patch(things.APP, {"spec": {"size": "huge"}})
    await world.settle()
    assert await of(world) == WRONG, "live, and the edit can't be rendered"
    await world.patch(things.APP, {"spec": {"size": "small"}})
    await world.settle()
    assert await of(world) == DONE, "mended"
    await world.patch(things.APP, PAUSED)
    await world.settle()
    assert await of(world) == ("Current", "Suspended", "met"), "paused"
    await world.patch(things.APP, {"metadata": {"finalizers": ["theirs"], **GOES_ON["metadata"]}})
    await world.cluster.delete(things.APP)
    await world.settle()
    assert await of(world) == ("Terminating", "Progressing", "waits"), "being deleted"


async def test_a_composite_of_v2_that_was_wrong_from_the_start():
    world = await v2.running(v2.piped(secret()))
    await world.patch(things.APP, {"spec": {"size": "huge"}})
    await world.settle()
    assert await of(world) == WRONG


async def test_a_definition_and_a_composition_of_v2():
    world, key = await a_world(), key_of(things.v2_definition())
    await world.apply(things.v2_definition())
    assert await of(world, key) == NEW
    await world.settle()
    assert await of(world, key) == DONE
    composition = v2.piped(secret())
    await world.apply(composition)
    assert await of(world, key_of(composition)) == NEW
    await world.settle()
    assert await of(world, key_of(composition)) == DONE
    await world.apply(v2.piped(secret(patches=[{"type": "Nonsense"}])))
    await world.settle()
    assert await of(world, key_of(composition)) == WRONG


async def test_accounts_in_namespaces_wait_for_their_secret_and_are_then_ready(aws):
    world = await aws.world(ready=False)
    configs = [
        namespaced.config(aws.standin.url),
        namespaced.config(
            aws.standin.url,
            "ProviderConfig",
            namespaced.TEAM,
            secretRef={"namespace": namespaced.TEAM, "name": "aws", "key": "creds"},
        ),
    ]
    await world.apply(*configs)
    for each in configs:
        found = await of(world, key_of(each))
        assert found == NEW, "just applied"
    await world.settle()
    for each in configs:
        found = await of(world, key_of(each))
        assert (found.kstatus, found.wait) == ("InProgress", "waits"), "its Secret is missing"
    await world.apply(managed.CREDENTIALS, managed.secret("aws", namespaced.TEAM, creds=managed.INI))
    await world.settle()
    for each in configs:
        assert await of(world, key_of(each)) == DONE


async def test_a_managed_resource_in_a_namespace_in_every_state(aws):
    world = await aws.world(ready=False)
    await world.apply(managed.CREDENTIALS, namespaced.config(aws.standin.url))
    await world.settle()
    aws.standin.slow(30)
    database = namespaced.database(autoGeneratePassword=True, passwordSecretRef={"name": "pw", "key": "password"})
    key = key_of(database)
    await world.apply(database)
    assert await of(world, key) == NEW, "just applied"
    await world.settle()
    assert await of(world, key) == NEW, "being made"
    await world.settle(seconds=60)
    assert await of(world, key) == DONE, "ready"
    await world.patch(key, {"spec": {"forProvider": {"allocatedStorage": 30}}})
    unseen = ("InProgress", "Healthy", "waits")  # Argo CD's bundled check does not look at generations
    assert await of(world, key) == unseen, "edited, unseen"
    await world.settle()
    assert await of(world, key) == unseen, "edited, under way"
    await world.settle(seconds=120)
    assert await of(world, key) == DONE, "edited, taken"
    aws.standin.fail("rds", "DescribeDBInstances", "InternalError", status=503, times=1000)
    while (await of(world, key)).kstatus == "Current":
        await world.settle(seconds=1)
    assert await of(world, key) == ("InProgress", "Healthy", "met"), "a hiccup"
    await world.settle(seconds=60)
    assert await of(world, key) == ("InProgress", "Degraded", "met"), "an outage"
    aws.standin.mend()
    await world.settle(seconds=120)
    assert await of(world, key) == DONE, "it has passed"
    await world.patch(key, {"spec": {"forProvider": {"engine": "mysql"}}})
    await world.settle(seconds=10)
    assert await of(world, key) == WRONG, "live, and the edit is refused"
    await world.patch(key, {"spec": {"forProvider": {"engine": "postgres"}}})
    await world.settle(seconds=120)
    assert await of(world, key) == DONE, "mended"
    await world.patch(key, PAUSED)
    await world.settle()
    assert await of(world, key) == ("Current", "Degraded", "met"), "paused, which the bundled check does not know"
    await world.patch(key, GOES_ON)
    await world.cluster.delete(key)
    await world.settle()
    assert await of(world, key) == ("Terminating", "Progressing", "waits"), "being deleted"
