"""Whoever may write Objects in a namespace, and no more than that, gets at nothing else by them."""

from __future__ import annotations

import base64
import json

import pytest

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import managed as core
from groundplane.core.objects import key_of, meta
from groundplane.errors import Denied
from groundplane.objects.kinds import STANDS_FOR
from groundplane.reconcile.collection import member_names
from tests.objects.conftest import (
    TEAM,
    applied,
    config,
    configmap,
    deleted,
    edited,
    is_quiet,
    is_ready,
    made,
    message,
    secret,
    seen,
    texts,
    thing,
)
from tests.objects.test_collections import collection

OWN = {"providerConfigRef": {"kind": "ProviderConfig", "name": "default"}}
NEVER = [{"dependsOn": {"apiVersion": "v1", "kind": "ConfigMap", "name": "no"}}]
BEGUN = {core.CREATE_PENDING: "2026-01-01T00:00:00Z", core.CREATE_SUCCEEDED: "2026-01-01T00:00:01Z"}
WORD = base64.b64encode(b"s3cret-word").decode()


def password(to, *, source="data.password"):
    login = {"apiVersion": "v1", "kind": "Secret", "name": "login", "namespace": TEAM}
    return {"patchesFrom": {**login, "fieldPath": source}, "toFieldPath": to}


# --- what an Object stands for


@pytest.mark.parametrize("namespace", ["", TEAM])
@pytest.mark.parametrize(
    "victim",
    [
        configmap("victim", "kube-system"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}},
        secret("pw", "kube-system"),
        configmap("victim"),
    ],
)
@pytest.mark.parametrize("annotations", [{}, BEGUN, {core.CREATE_PENDING: "2026-01-01T00:00:00Z"}])
async def test_what_an_annotation_says_is_deleted_and_shown_only_if_it_is_the_objects(victim, annotations, namespace):
    world = await made()
    await world.apply(victim)
    claimed = {STANDS_FOR: json.dumps(list(key_of(victim))), **annotations}
    spec = {"references": NEVER} | (OWN if namespace else {})
    mine = thing(configmap(), namespace=namespace, annotations=claimed, **spec)
    mine["metadata"]["finalizers"] = [core.FINALIZER, "example.org/hold"]
    await applied(world, mine)
    obj = await deleted(world, mine, seconds=30)
    assert not (obj.get("status") or {}).get("atProvider")
    await world.patch(key_of(mine), {"metadata": {"finalizers": [core.FINALIZER]}})
    await world.settle(seconds=30)
    assert await seen(world, mine) is None
    assert await seen(world, victim)


async def test_a_manifest_that_was_never_applied_deletes_nothing():
    world = await made()
    victim = configmap("victim", "kube-system")
    await world.apply(victim)
    mine = thing(victim, namespace=TEAM, annotations=BEGUN, **OWN)
    mine["metadata"]["finalizers"] = [core.FINALIZER]
    await applied(world, mine)
    assert await deleted(world, mine, seconds=30) is None
    assert await seen(world, victim)


async def test_one_name_in_two_namespaces_is_two_owners():
    world = await made()
    await world.apply(config(namespace="other"))
    theirs = thing(configmap("private", "other", word="hidden"), namespace="other", **OWN)
    assert is_ready(await applied(world, theirs, seconds=5))
    claimed = {STANDS_FOR: json.dumps(list(key_of(configmap("private", "other"))))}
    mine = thing(configmap(), namespace=TEAM, annotations=claimed, **OWN)
    assert "hidden" not in json.dumps((await applied(world, mine, seconds=5)).get("status"))
    assert await deleted(world, mine, seconds=30) is None
    assert await seen(world, configmap("private", "other"))


async def test_what_it_made_elsewhere_is_told_when_it_may_not_act_there_any_more():
    world = await made()
    elsewhere = configmap(namespace="kube-system")
    mine = thing(elsewhere, namespace=TEAM)
    assert is_ready(await applied(world, mine, seconds=5)), message(await seen(world, mine))
    await edited(world, mine, OWN, seconds=5)
    obj = await deleted(world, mine, seconds=30)
    assert "use a ClusterProviderConfig" in message(obj)
    assert await seen(world, elsewhere)
    await edited(world, mine, {"providerConfigRef": {"kind": "ClusterProviderConfig", "name": "default"}}, seconds=60)
    assert await seen(world, mine) is None
    assert await seen(world, elsewhere) is None


async def test_what_somebody_made_after_a_refusal_stays(monkeypatch):
    world = await made()
    real = world.cluster.apply

    async def refused(obj, *, manager, **options):
        if obj["kind"] == "ConfigMap":
            raise Denied("no right")
        return await real(obj, manager=manager, **options)

    monkeypatch.setattr(world.cluster, "apply", refused)
    mine = thing(configmap())
    assert "no right" in message(await applied(world, mine, seconds=5))
    await real(configmap(precious="theirs"), manager="kubectl")
    assert await deleted(world, mine, seconds=30) is None
    assert await seen(world, configmap())


async def test_a_config_that_means_another_cluster_deletes_nothing_there():
    world = await made()
    other = world.targets.others["there"] = SqliteCluster(":memory:", now=world.clock)
    await other.apply(configmap(precious="theirs"), manager="them")
    await world.apply(secret("kubeconfig", kubeconfig="there"))
    mine = thing(configmap())
    assert is_ready(await applied(world, mine))
    reference = {"name": "kubeconfig", "namespace": TEAM, "key": "kubeconfig"}
    credentials = {"source": "Secret", "secretRef": reference}
    await world.patch(key_of(config()), {"spec": {"credentials": credentials}})
    assert await deleted(world, mine, seconds=60) is None
    assert await other.get(key_of(configmap()))


async def test_what_comes_from_upstream_goes_on_as_its_manager():
    world = await made()
    mine = thing(configmap(), namespace=TEAM)
    before = await world.cluster.apply(configmap(colour="blue", old="x"), manager="provider-kubernetes/some")
    await world.apply(thing(configmap(), namespace=TEAM, managementPolicies=["Observe"]))
    await world.settle()
    live = await applied(world, mine, seconds=5) and await seen(world, configmap())
    assert live["data"] == {"colour": "blue"}, "what the manifest does not have any more goes"
    assert {each["manager"] for each in meta(live)["managedFields"]} == {"provider-kubernetes/some"}
    assert meta(live)["uid"] == meta(before)["uid"]


@pytest.mark.parametrize("has_applied", [False, True])
async def test_what_provider_kubernetes_wrote_before_it_applied_goes_when_the_manifest_has_it_no_more(has_applied):
    world = await made()
    mine = thing(configmap())
    written = configmap(colour="blue", old="x", last="y")
    written["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    await world.cluster.create(written)
    changes = [
        {"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "crossplane-kubernetes-provider"}
    ]
    await world.cluster.patch(key_of(written), changes)
    if has_applied:
        await world.cluster.apply(configmap(colour="blue", last="y"), manager="provider-kubernetes/some")
    await world.cluster.apply(configmap(size="xl"), manager="somebody")
    await applied(world, thing(configmap(), managementPolicies=["Observe"]))
    assert (await seen(world, configmap()))["data"].keys() == {"colour", "old", "last", "size"}
    obj = await applied(world, mine, seconds=5)
    assert is_ready(obj), message(obj)
    live = await seen(world, configmap())
    assert live["data"] == {"colour": "blue", "size": "xl"}
    assert "annotations" not in meta(live)
    assert {each["manager"] for each in meta(live)["managedFields"]} == {"provider-kubernetes/some", "somebody"}
    assert await is_quiet(world, mine)


# --- what comes from a Secret


@pytest.mark.parametrize(
    "query", ["int(object.data.password) > 0", "timestamp(object.data.password) > timestamp('2020-01-01T00:00:00Z')"]
)
async def test_why_a_query_fails_repeats_nothing_of_a_secret(query):
    world = await made()
    await world.apply(secret())
    asks = {"readiness": {"policy": "DeriveFromCelQuery", "celQuery": query}}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": TEAM}}
    looks = await applied(world, thing(manifest, managementPolicies=["Observe"], **asks), seconds=5)
    takes = await applied(world, thing(configmap(), "takes", references=[password("data.password")], **asks), seconds=5)
    for obj in (looks, takes):
        assert "celQuery fails" in message(obj, "Ready")
        assert WORD not in json.dumps(obj)
    assert WORD not in world.told.text()


async def test_in_a_secret_an_annotation_from_a_secret_is_not_shown():
    world = await made()
    await world.apply(secret())
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "out", "namespace": TEAM}}
    mine = thing(manifest, references=[password("metadata.annotations[note]")])
    assert is_ready(await applied(world, mine, seconds=5))
    assert WORD not in texts(world)


async def test_what_others_move_is_not_shown_either():
    world = await made()
    await world.apply(secret())
    mine = thing(configmap(), references=[password("data.password")])
    assert is_ready(await applied(world, mine, seconds=5))
    await world.patch(key_of(configmap()), {"data": {"copy": WORD, "within": f"login:{WORD}"}})
    await world.settle(seconds=70)
    shown = (await seen(world, mine))["status"]["atProvider"]["manifest"]["data"]
    assert shown == {"colour": "blue", "password": "redacted", "copy": "redacted", "within": "redacted"}


async def test_what_was_hidden_stays_so_once_its_reference_is_gone():
    world = await made()
    await world.apply(secret())
    mine = thing(configmap(), references=[password("data.password")])
    assert is_ready(await applied(world, mine, seconds=5))
    live = await seen(world, configmap())
    await edited(world, mine, {"references": None, "managementPolicies": ["Observe"]}, seconds=70)
    told = [text for text in texts(world).splitlines() if json.dumps(live["data"]["password"]) in text]
    assert [json.loads(text)["kind"] for text in told] == ["ConfigMap"], "which has it, as was asked"
    await edited(world, mine, {"managementPolicies": ["*"]}, seconds=70)
    assert (await seen(world, configmap()))["data"] == {"colour": "blue"}
    assert WORD not in texts(world)


async def test_a_key_from_a_secret_is_the_objects_own_all_the_same():
    world = await made()
    await world.apply(secret(), configmap("settings", "redacted", precious="yes"))
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    mine = thing(manifest, references=[password("metadata.namespace", source="metadata.namespace")])
    assert is_ready(await applied(world, mine, seconds=70)), message(await seen(world, mine))
    assert await seen(world, configmap())
    assert await deleted(world, mine, seconds=30) is None
    assert await seen(world, configmap()) is None
    assert await seen(world, configmap("settings", "redacted"))


@pytest.mark.parametrize("to", ["kind", "apiVersion", "metadata", "metadata.labels"])
async def test_a_shape_that_a_secret_gives_is_told_without_its_values(to):
    world = await made()
    await world.apply(secret())
    obj = await applied(world, thing(configmap(), references=[password(to)]), seconds=5)
    assert message(obj)
    assert WORD not in texts(world)


async def test_annotations_that_a_secret_gives_are_hidden_each():
    world = await made()
    await world.apply(secret())
    mine = thing(configmap(), references=[password("metadata.annotations", source="data")])
    obj = await applied(world, mine, seconds=5)
    assert is_ready(obj), message(obj)
    assert obj["status"]["atProvider"]["manifest"]["metadata"]["annotations"] == {"password": "redacted"}


# --- odd shapes


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("metadata", "metadata is"),
        ("metadata.name", None),
        ("metadata.labels", "metadata.labels is no map"),
        ("metadata.ownerReferences", "metadata.ownerReferences is no list"),
        ("metadata.finalizers", "metadata.finalizers is no list"),
    ],
)
async def test_what_is_no_object_once_values_are_taken_into_it_is_told(to, said):
    world = await made()
    await world.apply(configmap("source"))
    path = {"apiVersion": "v1", "kind": "ConfigMap", "name": "source", "namespace": TEAM, "fieldPath": "data.colour"}
    obj = await applied(world, thing(configmap(), references=[{"patchesFrom": path, "toFieldPath": to}]), seconds=5)
    assert said in message(obj) if said else is_ready(obj)


async def test_a_collection_takes_no_object_of_somebody_else():
    world = await made()
    await world.apply(configmap())
    [name] = member_names("some", [key_of(configmap())]).values()
    theirs = thing(configmap("theirs"), name, namespace=TEAM)
    before = await applied(world, theirs)
    watching = collection({}, TEAM)
    assert "is none of this collection's" in message(await applied(world, watching, seconds=5))
    assert (await seen(world, theirs))["spec"] == before["spec"]
    await deleted(world, watching, seconds=30)
    assert await seen(world, theirs)
