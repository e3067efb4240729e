"""Collections: what they select is observed, each by an Object of its own."""

from __future__ import annotations

import pytest

from groundplane.core.objects import key_of, meta
from tests.objects.conftest import (
    CONFIGS,
    NAMESPACED,
    TEAM,
    applied,
    config,
    configmap,
    deleted,
    is_quiet,
    is_ready,
    made,
    message,
    secret,
    seen,
    texts,
)

LABEL = "kubernetes.crossplane.io/owned-by-collection"


def collection(criteria, namespace="", name="some", **spec):
    return {
        "apiVersion": NAMESPACED if namespace else CONFIGS,
        "kind": "ObservedObjectCollection",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "spec": {"observeObjects": {"apiVersion": "v1", "kind": "ConfigMap", "selector": {}, **criteria}, **spec},
    }


def labelled(name, tier, namespace=TEAM):
    made = configmap(name, namespace)
    made["metadata"]["labels"] = {"tier": tier}
    return made


async def members(world, namespace=""):
    version = NAMESPACED if namespace else "kubernetes.crossplane.io/v1alpha2"
    return await world.cluster.list(version, "Object", namespace=namespace, labels={LABEL: "some"})


async def names(world, namespace=""):
    return sorted(
        each["spec"]["forProvider"]["manifest"]["metadata"]["name"] for each in await members(world, namespace)
    )


@pytest.mark.parametrize("namespace", ["", TEAM])
async def test_what_is_selected_is_observed_and_what_is_not_any_more_is_let_go(namespace):
    world = await made()
    await world.apply(labelled("one", "web"), labelled("two", "web"), labelled("three", "db"))
    template = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}}
    mine = collection({"selector": {"matchLabels": {"tier": "web"}}}, namespace, objectTemplate=template)
    obj = await applied(world, mine)
    assert is_ready(obj), message(obj)
    assert obj["status"]["membershipLabel"] == {LABEL: "some"}
    assert await names(world, namespace) == ["one", "two"]
    for each in await members(world, namespace):
        assert is_ready(each), message(each)
        assert each["spec"]["managementPolicies"] == ["Observe"]
        assert each["status"]["atProvider"]["manifest"]["data"] == {"colour": "blue"}
        assert (meta(each)["labels"]["team"], meta(each)["annotations"]["note"]) == ("a", "b")
        assert meta(each)["name"].startswith("some-")
    assert await is_quiet(world, mine)
    await world.apply(labelled("four", "web"))
    await world.cluster.delete(key_of(configmap("one")))
    await world.settle(seconds=70)
    assert await names(world, namespace) == ["four", "two"]
    assert await deleted(world, mine, seconds=5) is None
    assert await members(world, namespace) == []
    assert await seen(world, configmap("two")), "what is only observed stays"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "tier", "operator": "In", "values": ["web", "db"]}, ["one", "three"]),
        ({"key": "tier", "operator": "NotIn", "values": ["web"]}, ["none", "three"]),
        ({"key": "tier", "operator": "Exists"}, ["one", "three"]),
        ({"key": "tier", "operator": "DoesNotExist"}, ["none"]),
    ],
)
async def test_expressions_select(expression, expected):
    world = await made()
    await world.apply(labelled("one", "web"), labelled("three", "db"), configmap("none"))
    await applied(world, collection({"selector": {"matchExpressions": [expression]}, "namespace": TEAM}))
    assert await names(world) == expected


async def test_what_a_collection_can_not_mean_is_told():
    world = await made()
    wrong = {"matchExpressions": [{"key": "a", "operator": "Like"}]}
    await world.apply(configmap())
    mine = collection({"selector": wrong})
    assert 'operator "Like" is none. Mend: use In' in message(await applied(world, mine, seconds=400))
    other = collection({"kind": "Gadget"}, name="other")
    assert "Gadget" in message(await applied(world, other))


async def test_with_a_config_of_its_namespace_a_collection_sees_that_alone():
    world = await made()
    await world.apply(config(kind="ProviderConfig", namespace=TEAM), secret(namespace="kube-system"), secret())
    own = {"providerConfigRef": {"kind": "ProviderConfig", "name": "default"}}
    mine = collection({"kind": "Secret"}, TEAM, **own)
    assert is_ready(await applied(world, mine)), message(await seen(world, mine))
    assert await names(world, TEAM) == ["login"]
    theirs = collection({"kind": "Secret", "namespace": "kube-system"}, TEAM, name="theirs", **own)
    assert "namespace kube-system is not its own" in message(await applied(world, theirs))
    everywhere = collection({"kind": "Namespace"}, TEAM, name="everywhere", **own)
    assert "Namespace is in no namespace" in message(await applied(world, everywhere))
    assert "s3cret-word" not in texts(world)


async def test_two_objects_that_upstream_would_call_the_same_are_both_observed():
    world = await made()
    await world.apply(configmap("c4089"), configmap("c15730"))
    mine = collection({})
    assert is_ready(await applied(world, mine))
    assert await names(world) == ["c15730", "c4089"]
    assert await is_quiet(world, mine)
    await world.cluster.delete(key_of(configmap("c15730")))
    await world.settle(seconds=70)
    assert await names(world) == ["c4089"]


async def test_a_collection_keeps_its_provider_config():
    world = await made()
    mine = collection({})
    await applied(world, mine)
    assert (await seen(world, config()))["status"]["users"] == 1
