"""What kstatus, Argo CD's bundled checks and `kubectl wait` make of Objects and of what observes many, in every state."""

from __future__ import annotations

import pytest

from groundplane.core.objects import key_of
from tests import gitops
from tests.objects.conftest import CONFIGS, NAMESPACED, TEAM, applied, config, configmap, deleted, made, seen, thing

NEW = ("InProgress", "Progressing", "waits")
DONE = ("Current", "Healthy", "met")
AWAITED = (
    "InProgress",
    "Degraded",
    "waits",
)  # what it needs is not there yet: Argo CD's bundled checks know no waiting
WRONG = ("Failed", "Degraded", "waits")
GOING = ("Terminating", "Progressing", "waits")
NONE = {"apiVersion": "none.example.org/v1", "kind": "None", "metadata": {"name": "x", "namespace": TEAM}}
UNREADY = {"readiness": {"policy": "DeriveFromCelQuery", "celQuery": "has(object.data.never)"}}
BROKEN = {
    "patchesFrom": {"apiVersion": "v1", "kind": "ConfigMap", "name": "made", "namespace": TEAM, "fieldPath": "data[x"},
    "toFieldPath": "data.x",
}
NOWHERE = {"source": "Secret", "secretRef": {"name": "gone", "namespace": TEAM, "key": "kubeconfig"}}


def collection(name, namespace, **criteria):
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    observed = {"apiVersion": "v1", "kind": "ConfigMap", "selector": {"matchLabels": {"a": "b"}}, **criteria}
    version = NAMESPACED if namespace else CONFIGS
    kind = "ObservedObjectCollection"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {"observeObjects": observed}}


async def verdict(world, manifest):
    return gitops.verdict(await seen(world, manifest))


@pytest.mark.parametrize("namespace", ["", TEAM], ids=["first generation", "second generation"])
async def test_of_objects_and_collections_in_every_state(namespace):
    world = await made()
    away = {"apiVersion": NONE["apiVersion"], "kind": NONE["kind"]}
    states = {
        "made": (thing(configmap(), "made", namespace=namespace), DONE),
        "of no kind": (thing(NONE, "of-no-kind", namespace=namespace), AWAITED),
        "not ready": (thing(configmap("other"), "unready", namespace=namespace, **UNREADY), NEW),
        "observed and absent": (
            thing(configmap("absent"), "absent", namespace=namespace, managementPolicies=["Observe"]),
            AWAITED,
        ),
        "wrong": (thing(configmap("wrong"), "wrong", namespace=namespace, references=[BROKEN]), WRONG),
        "collected": (collection("some", namespace), DONE),
        "collected of no kind": (collection("none", namespace, **away), AWAITED),
        "no login": (config(name="nowhere", namespace=namespace, credentials=NOWHERE), AWAITED),
    }
    for manifest, _ in states.values():
        await world.apply(manifest)
        assert await verdict(world, manifest) == NEW
    await world.settle(seconds=600)
    assert {state: await verdict(world, manifest) for state, (manifest, _) in states.items()} == {
        state: wanted for state, (_, wanted) in states.items()
    }
    manifest, _ = states["made"]
    await world.cluster.delete(key_of(manifest))
    assert await verdict(world, manifest) == GOING
    await world.settle()
    assert await seen(world, manifest) is None


async def test_an_object_that_may_not_go_yet_is_going():
    world = await made()
    kept = configmap()
    kept["metadata"]["finalizers"] = ["example.org/kept"]
    manifest = thing(kept)
    await applied(world, manifest)
    await deleted(world, manifest, seconds=60)
    assert await verdict(world, manifest) == GOING
