"""What an Object takes from others, waits for, keeps and publishes: and what of it nobody may read."""

from __future__ import annotations

import base64
import itertools
import json

import pytest

from groundplane.core.objects import has_finalizer, key_of, meta
from groundplane.objects import references
from groundplane.objects.kinds import finalizer
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
    secret_of,
    seen,
    texts,
    thing,
)

WORD = base64.b64encode(b"s3cret-word").decode()


def source(obj, path, to="", **more):
    key = key_of(obj)
    named = {"apiVersion": key.api_version, "kind": key.kind, "name": key.name}
    named |= {"namespace": key.namespace} if key.namespace else {}
    return {"patchesFrom": {**named, "fieldPath": path}, **({"toFieldPath": to} if to else {}), **more}


def waits_for(obj):
    return {"dependsOn": {name: value for name, value in source(obj, "")["patchesFrom"].items() if name != "fieldPath"}}


async def test_values_come_from_others_and_never_into_the_spec():
    world = await made()
    settings = configmap("source", colour="red")
    mine = thing(
        configmap(), references=[source(settings, "data.colour"), source(settings, "data.colour", "data.again")]
    )
    obj = await applied(world, mine)
    assert "ConfigMap shop/source of v1 not found. Mend: create it" in message(obj)
    assert await seen(world, configmap()) is None
    await world.apply(settings)
    await world.settle(seconds=10)
    obj = await seen(world, mine)
    assert is_ready(obj), message(obj)
    assert (await seen(world, configmap()))["data"] == {"colour": "red", "again": "red"}
    assert obj["spec"]["forProvider"]["manifest"]["data"] == {"colour": "blue"}
    assert await is_quiet(world, mine)
    await world.patch(key_of(settings), {"data": {"colour": "green"}})
    await world.settle(seconds=70)
    assert (await seen(world, configmap()))["data"] == {"colour": "green", "again": "green"}
    await world.patch(key_of(settings), {"data": {"colour": None, "size": "xl"}})
    await world.settle(seconds=70)
    assert "ConfigMap shop/source has no field data.colour yet" in message(await seen(world, mine))
    assert (await seen(world, configmap()))["data"] == {"colour": "green", "again": "green"}, (
        "and nothing is taken away"
    )


async def test_another_object_is_the_default_of_what_is_referred_to():
    world = await made()
    first = thing(configmap("first"), "first")
    path = "status.atProvider.manifest.metadata.uid"
    mine = thing(
        configmap(), references=[{"patchesFrom": {"name": "first", "fieldPath": path}, "toFieldPath": "data.uid"}]
    )
    await world.apply(mine)
    await applied(world, first, seconds=10)
    assert is_ready(await seen(world, mine)), message(await seen(world, mine))
    assert (await seen(world, configmap()))["data"]["uid"] == meta(await seen(world, configmap("first")))["uid"]


async def test_what_is_referred_to_is_kept_until_nobody_refers_to_it():
    world = await made()
    one, two = configmap("one"), configmap("two")
    await world.apply(one, two)
    mine = thing(configmap(), references=[waits_for(one), waits_for(two)])
    obj = await applied(world, mine)
    mark = finalizer(obj)
    assert [has_finalizer(await seen(world, each), mark) for each in (one, two)] == [True, True]
    assert len(obj["status"]["atProvider"]["references"]) == 2
    assert await is_quiet(world, mine)
    await edited(world, mine, {"references": [waits_for(one)]}, seconds=5)
    assert [has_finalizer(await seen(world, each), mark) for each in (one, two)] == [True, False]
    await world.cluster.update(
        {**await seen(world, one), "metadata": {**meta(await seen(world, one)), "finalizers": []}}
    )
    await world.settle(seconds=70)
    assert has_finalizer(await seen(world, one), mark)
    await world.cluster.delete(key_of(one))
    await world.settle(seconds=130)
    assert await seen(world, one), "it is kept"
    assert await deleted(world, mine) is None
    assert await seen(world, one) is None


async def test_objects_go_in_the_order_that_they_depend_on_each_other():
    world = await made()
    base = thing(configmap("base"), "base")
    mine = thing(configmap(), references=[{"dependsOn": {"name": "base"}}])
    await applied(world, base, mine, seconds=5)
    await world.cluster.delete(key_of(base))
    await world.settle(seconds=30)
    assert await seen(world, configmap("base")), "it waits for whoever depends on it"
    assert await deleted(world, mine, seconds=30) is None
    assert await seen(world, base) is None


@pytest.mark.parametrize("spec", [{"managementPolicies": ["Observe"]}, {"deletionPolicy": "Orphan"}])
async def test_who_leaves_its_object_leaves_no_finalizer(spec):
    world = await made()
    await world.apply(configmap(), configmap("one"))
    mine = thing(configmap(), references=[waits_for(configmap("one"))], **spec)
    assert is_ready(await applied(world, mine, seconds=5))
    assert await deleted(world, mine) is None
    assert not meta(await seen(world, configmap("one"))).get("finalizers")


async def test_what_is_gone_or_going_needs_no_finalizer():
    world = await made()
    one = configmap("one")
    await world.apply(one)
    mine = thing(configmap(), references=[waits_for(one)])
    await applied(world, mine)
    await world.cluster.delete(key_of(one))
    await world.patch(key_of(one), {"metadata": {"finalizers": None}})
    await world.settle()
    assert await seen(world, one) is None
    assert await deleted(world, mine) is None


# --- circles


def depends(*names):
    return [{"dependsOn": {"name": name}} for name in names]


@pytest.mark.parametrize("namespace", ["", TEAM])
@pytest.mark.parametrize(
    "others_of",
    [
        {"a": ["b"], "b": ["a"]},
        {"a": ["b"], "b": ["c"], "c": ["a"]},
        {"a": ["b", "c"], "b": ["a"], "c": ["b", "a"]},
    ],
)
async def test_objects_that_refer_to_each_other_are_deleted(others_of, namespace):
    world = await made()
    things = [
        thing(configmap(name), name, namespace=namespace, references=depends(*others))
        for name, others in others_of.items()
    ]
    outside = thing(configmap("base"), "base", namespace=namespace)
    things[0]["spec"]["references"] += depends("base")
    await applied(world, outside, *things, seconds=70)
    assert all([is_ready(await seen(world, each)) for each in things])
    await world.cluster.delete(key_of(outside))
    for each in things[:-1]:
        await world.cluster.delete(key_of(each))
    await world.settle(seconds=130)
    assert all([await seen(world, each["spec"]["forProvider"]["manifest"]) for each in [outside, *things[:-1]]]), (
        "whoever is not deleted is waited for"
    )
    assert await deleted(world, things[-1], seconds=30) is None
    assert not [obj for obj in world.objects() if obj["kind"] in ("Object", "ConfigMap")]
    assert "refer to each other: they are deleted without one waiting for the other" in world.told.text()


async def test_a_circle_of_any_size_is_deleted_and_who_waits_in_a_long_row_looks_no_further_each_time(monkeypatch):
    """In a row of ten thousand that are deleted, whole looks would take minutes of a core."""
    monkeypatch.setattr(references, "FEW", 2)
    world = await made()
    ring, row = ([f"{word}{n}" for n in range(size)] for word, size in (("ring", 6), ("row", 16)))
    things = [
        thing(configmap(name), name, references=depends(next_)) for name, next_ in itertools.pairwise([*ring, ring[0]])
    ]
    things += [thing(configmap(name), name, references=depends(next_)) for name, next_ in itertools.pairwise(row)]
    last, stays = thing(configmap(row[-1]), row[-1]), thing(configmap("stays"), "stays", references=depends(row[0]))
    await applied(world, *things, last, stays, seconds=70)
    looked, after = [], references._after

    async def counted(leaving, here):
        looked.append(leaving)
        return await after(leaving, here)

    monkeypatch.setattr(references, "_after", counted)
    observed, around = [], references.Circles.around

    async def noted(circles, managed, *rest):
        observed.append(managed)
        return await around(circles, managed, *rest)

    monkeypatch.setattr(references.Circles, "around", noted)
    assert await deleted(world, *[each for each in things if each["metadata"]["name"] in row], last, seconds=20)
    assert len(looked) < 2 * 2 * len(observed) + len(row)
    assert await deleted(world, *things[:6], seconds=60) is None
    assert await deleted(world, stays, seconds=60) is None
    await world.settle(seconds=60)
    assert not [obj for obj in world.objects() if obj["kind"] in ("Object", "ConfigMap")]


@pytest.mark.parametrize("namespace", ["", TEAM])
@pytest.mark.parametrize("more", [[], ["b"]])
async def test_objects_that_refer_to_what_each_other_makes_are_deleted(namespace, more):
    world = await made()
    one, two = (thing(configmap(name), name, namespace=namespace) for name in ("a", "b"))
    await applied(world, one, two, seconds=70)
    await edited(world, one, {"references": [waits_for(configmap("b")), *depends(*more)]}, seconds=10)
    await edited(world, two, {"references": [waits_for(configmap("a"))]}, seconds=70)
    assert await deleted(world, one, seconds=70)
    assert await seen(world, configmap("a")), "whoever is not deleted is waited for"
    assert await deleted(world, two, seconds=130) is None
    assert not [obj for obj in world.objects() if obj["kind"] in ("Object", "ConfigMap")]


@pytest.mark.parametrize("namespace", ["", TEAM])
async def test_an_object_goes_with_the_object_that_it_makes_and_that_refers_to_it(namespace):
    world = await made()
    inner = thing(configmap("i"), "inner", namespace=namespace, references=depends("outer"))
    outer = thing(inner, "outer", namespace=namespace)
    await applied(world, outer, seconds=70)
    obj = await edited(world, outer, {"references": [waits_for(configmap("i"))]}, seconds=70)
    assert is_ready(obj), message(obj)
    assert await deleted(world, outer, seconds=130) is None
    assert not [obj for obj in world.objects() if obj["kind"] in ("Object", "ConfigMap")]


@pytest.mark.parametrize("namespace", ["", TEAM])
async def test_an_object_that_refers_to_itself_or_to_its_own_is_made_and_deleted(namespace):
    world = await made()
    await world.apply(configmap())
    own = {"patchesFrom": {"name": "some", "fieldPath": "metadata.uid"}, "toFieldPath": "data.uid"}
    references = [own, waits_for(configmap()), *depends("some")]
    mine = thing(configmap(), namespace=namespace, references=references)
    obj = await applied(world, mine, seconds=10)
    assert is_ready(obj), message(obj)
    assert (await seen(world, configmap()))["data"]["uid"] == meta(obj)["uid"]
    assert not has_finalizer(obj, finalizer(obj))
    assert not meta(await seen(world, configmap())).get("finalizers")
    assert await is_quiet(world, mine)
    for each in (mine, configmap()):  # as others have left it
        await world.patch(
            key_of(each),
            {"metadata": {"finalizers": [*(meta(await seen(world, each)).get("finalizers") or ()), finalizer(obj)]}},
        )
    assert await deleted(world, mine, seconds=70) is None
    assert await seen(world, configmap()) is None


async def test_an_object_and_what_another_has_made_go_though_they_refer_to_each_other():
    world = await made()
    first = thing(configmap("first"), "first", references=[waits_for(configmap("second"))])
    second = thing(configmap("second"), "second", references=depends("first"))
    await applied(world, first, second, seconds=70)
    assert is_ready(await seen(world, first))
    assert is_ready(await seen(world, second))
    assert await deleted(world, first, second, seconds=30) is None
    assert not [obj for obj in world.objects() if obj["kind"] in ("Object", "ConfigMap")]


# --- Secrets


async def test_nothing_of_a_secret_is_to_be_read_anywhere():
    world = await made()
    await world.apply(secret())
    copied = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "copy", "namespace": TEAM}}
    annotated = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"password": WORD}})}
    written = secret("written", password="s3cret-word")
    written["metadata"]["annotations"] = annotated
    manifests = [
        thing(copied, "copy", references=[source(secret(), "data.password")]),
        thing({**copied, "metadata": {"name": "written", "namespace": TEAM}}, "look", managementPolicies=["Observe"]),
        thing(configmap(), "plain", references=[source(secret(), "data.password")]),
    ]
    await world.apply(written)
    await applied(world, *manifests, seconds=70)
    for each in manifests:
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    assert await secret_of(world, "copy") == {"password": "s3cret-word"}
    shown = [json.dumps(await seen(world, each)) for each in manifests]
    assert all(WORD not in text and "s3cret-word" not in text for text in shown)
    assert [json.loads(text)["status"]["atProvider"]["manifest"]["data"] for text in shown] == [
        {"redacted": ""},
        {"redacted": ""},
        {"colour": "blue", "password": "redacted"},
    ]
    await world.patch(key_of(secret()), {"data": {"password": base64.b64encode(b"an0ther-word").decode()}})
    await world.cluster.delete(key_of(manifests[1]))
    await world.settle(seconds=70)
    assert await secret_of(world, "copy") == {"password": "an0ther-word"}
    told = "".join([world.told.text(), *[json.dumps(await seen(world, each)) for each in manifests]])
    assert not any(word in told for word in ("s3cret-word", "an0ther-word", WORD))


async def test_a_refusal_does_not_repeat_what_came_from_a_secret():
    world = await made()
    await world.apply(secret(password="not-a-number"))
    bad = thing(
        thing(configmap(), "inner"),
        references=[
            source(secret(password="not-a-number"), "data.password", "spec.forProvider.deletionPropagationPolicy")
        ],
    )
    obj = await applied(world, bad)
    assert "deletionPropagationPolicy" in message(obj)
    assert base64.b64encode(b"not-a-number").decode() not in texts(world)


async def test_with_strict_upstream_the_status_shows_what_upstreams_does():
    world = await made(strict=True)
    obj = await applied(world, thing(secret()), seconds=5)
    assert obj["status"]["atProvider"]["manifest"]["data"] == {"password": WORD}
    assert meta(obj["status"]["atProvider"]["manifest"])["managedFields"]


# --- connection details


def detail(obj, path, key):
    return source(obj, path)["patchesFrom"] | {"toConnectionSecretKey": key}


@pytest.mark.parametrize("namespace", ["", TEAM])
async def test_connection_details_are_taken_from_the_objects_there(namespace):
    world = await made()
    await world.apply(secret())
    details = [
        detail(secret(), "data.password", "password"),
        detail(configmap(), "data.colour", "colour"),
        detail(configmap(), "data", "all"),
    ]
    place = {"name": "conn"} | ({} if namespace else {"namespace": TEAM})
    mine = thing(configmap(), namespace=namespace, connectionDetails=details, writeConnectionSecretToRef=place)
    assert is_ready(await applied(world, mine)), message(await seen(world, mine))
    expected = {"password": "s3cret-word", "colour": "blue", "all": '{"colour": "blue"}'}
    assert await secret_of(world, "conn") == expected
    await world.patch(key_of(secret()), {"data": {"password": base64.b64encode(b"fresh").decode()}})
    await world.settle(seconds=70)
    assert (await secret_of(world, "conn"))["password"] == "fresh"
    await world.cluster.delete(key_of(secret()))
    await world.settle(seconds=70)
    assert "spec.connectionDetails[0]: Secret shop/login not found" in message(await seen(world, mine))
    assert await deleted(world, mine) is None, "and it still goes"


async def test_a_detail_that_is_not_there_yet_is_waited_for():
    world = await made()
    mine = thing(configmap(), connectionDetails=[detail(configmap(), "data.later", "later")])
    assert "ConfigMap shop/settings has no field data.later yet" in message(await applied(world, mine))
    await world.patch(key_of(configmap()), {"data": {"later": "now"}})
    await world.settle(seconds=10)
    assert is_ready(await seen(world, mine))


# --- watch


async def test_what_is_watched_is_looked_at_at_once():
    world = await made(poll_interval=10_000.0)
    one = configmap("one", colour="red")
    await world.apply(one)
    mine = thing(configmap(), watch=True, references=[source(one, "data.colour", "data.taken")])
    assert is_ready(await applied(world, mine))
    await world.patch(key_of(configmap()), {"data": {"colour": "grey"}})
    await world.settle()
    assert (await seen(world, configmap()))["data"] == {"colour": "blue", "taken": "red"}
    await world.patch(key_of(one), {"data": {"colour": "green"}})
    await world.settle()
    assert (await seen(world, configmap()))["data"]["taken"] == "green"
    await edited(world, mine, {"watch": False}, seconds=60)
    await world.patch(key_of(configmap()), {"data": {"colour": "grey"}})
    await world.settle(seconds=5)
    assert (await seen(world, configmap()))["data"]["colour"] == "grey"
    await deleted(world, mine)
    assert len(world.interests) == 0


async def test_with_watch_what_is_in_another_cluster_is_seen_later_and_that_is_told():
    world, other = await made(), await made()
    world.targets.others["theirs"] = other.cluster
    reference = {"namespace": TEAM, "name": "kubeconfig", "key": "kubeconfig"}
    await world.apply(
        secret("kubeconfig", kubeconfig="theirs"),
        config(name="theirs", credentials={"source": "Secret", "secretRef": reference}),
    )
    mine = thing(configmap(), watch=True, providerConfigRef={"name": "theirs"})
    assert is_ready(await applied(world, mine, seconds=5)), message(await seen(world, mine))
    assert world.told.text().count("changes in another cluster are seen at the next look") == 1
    await other.patch(key_of(configmap()), {"data": {"colour": "grey"}})
    await world.settle(seconds=70)
    assert (await seen(other, configmap()))["data"]["colour"] == "blue"


async def test_with_no_requeue_what_is_ready_is_looked_at_when_its_object_changes():
    world = await made()
    mine = thing(configmap(), namespace=TEAM, readiness={"noRequeue": True})
    assert is_ready(await applied(world, mine, seconds=5))
    await world.patch(key_of(configmap()), {"data": {"colour": "grey"}})
    await world.settle(seconds=3600)
    assert (await seen(world, configmap()))["data"]["colour"] == "grey"
    await edited(world, mine, {"forProvider": {"manifest": configmap(colour="blue", size="xl")}})
    assert (await seen(world, configmap()))["data"] == {"colour": "blue", "size": "xl"}
    for spec in ({"watch": True}, {"readiness": {"policy": "DeriveFromObject", "noRequeue": True}}):
        await edited(world, mine, spec)
        await world.patch(key_of(configmap()), {"data": {"colour": "grey"}})
        await world.settle(seconds=70)
        assert (await seen(world, configmap()))["data"]["colour"] == "blue"
        await edited(world, mine, {"watch": False})


# --- readiness


@pytest.mark.parametrize(
    ("readiness", "before", "statuses"),
    [
        ({"policy": "SuccessfulCreate"}, "", ("True", "True", "True")),
        ({"policy": "DeriveFromObject"}, "condition Ready of the object is False", ("False", "True", "True")),
        ({"policy": "AllTrue"}, "conditions of the object that are not True: Ready", ("False", "False", "True")),
        (
            {
                "policy": "DeriveFromCelQuery",
                "celQuery": "object.status.conditions.exists(c, c.type == 'Other' && c.status == 'False')",
            },
            "celQuery is false",
            ("False", "True", "False"),
        ),
        (
            {"policy": "DeriveFromCelQuery", "celQuery": "object.status.nothing == 'x'"},
            "celQuery: no such key",
            ("False", "False", "False"),
        ),
    ],
)
async def test_readiness_is_what_the_policy_says(readiness, before, statuses):
    world = await made()
    inner = {"apiVersion": "nop.crossplane.io/v1alpha1", "kind": "ClusterNopResource", "metadata": {"name": "inner"}}
    inner["spec"] = {"forProvider": {"fields": {}}}
    mine = thing(inner, readiness=readiness)
    await applied(world, mine)
    for ready, (first, second) in zip(statuses, (("False", "True"), ("True", "False"), ("True", "True")), strict=True):
        found = await seen(world, inner)
        found["status"] = {"conditions": [condition("Ready", first), condition("Other", second)]}
        await world.cluster.update(found, subresource="status")
        await world.settle(seconds=70)
        obj = await seen(world, mine)
        got = next(each for each in obj["status"]["conditions"] if each["type"] == "Ready")
        assert got["status"] == ready, got
        if (first, second) == ("False", "True") and ready == "False":
            assert before in got["message"]


def condition(type_, status):
    return {"type": type_, "status": status, "reason": "Said", "lastTransitionTime": "2026-01-01T00:00:00Z"}


# --- tenants


OWN = {"providerConfigRef": {"kind": "ProviderConfig", "name": "default"}}
SHARED = {"providerConfigRef": {"kind": "ClusterProviderConfig", "name": "default"}}
ELSEWHERE = "kube-system"


@pytest.mark.parametrize(
    ("manifest", "spec"),
    [
        (configmap(namespace=ELSEWHERE), {}),
        ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}, {}),
        (configmap(), {"references": [source(secret(namespace=ELSEWHERE), "data.password")]}),
        (
            configmap(),
            {"references": [waits_for({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}})]},
        ),
        (configmap(), {"connectionDetails": [detail(secret(namespace=ELSEWHERE), "data.password", "x")]}),
    ],
)
async def test_with_a_config_of_its_namespace_an_object_gets_nowhere_else(manifest, spec):
    world = await made()
    await world.apply(secret(namespace=ELSEWHERE), configmap(namespace=ELSEWHERE, colour="theirs"))
    mine = thing(manifest, namespace=TEAM, **OWN, **spec)
    obj = await applied(world, mine, seconds=70)
    said = message(obj)
    assert "ProviderConfig of its own namespace" in said or "own namespace" in said, said
    assert "s3cret-word" not in texts(world)
    assert (await seen(world, configmap(namespace=ELSEWHERE)))["data"] == {"colour": "theirs"}
    assert not meta(await seen(world, secret(namespace=ELSEWHERE))).get("finalizers")
    assert await deleted(world, mine) is None
    assert await seen(world, configmap(namespace=ELSEWHERE))
    shared = thing(manifest, "shared", namespace=TEAM, **SHARED, **spec)
    assert is_ready(await applied(world, shared, seconds=5)), "whoever made the ClusterProviderConfig lets it"


async def test_what_references_give_stays_in_the_namespace_also_where_the_object_goes_to_another_cluster():
    world = await made()
    other = await made()
    world.targets.others["theirs"] = other.cluster
    kubeconfig = secret("kubeconfig", **{"kubeconfig": "theirs"})
    reference = {"name": "kubeconfig", "key": "kubeconfig"}
    theirs = config("ProviderConfig", "theirs", TEAM, {"source": "Secret", "secretRef": reference})
    await world.apply(secret(namespace=ELSEWHERE), kubeconfig, theirs)
    named = {"providerConfigRef": {"kind": "ProviderConfig", "name": "theirs"}}
    stolen = thing(
        configmap(), "thief", namespace=TEAM, references=[source(secret(namespace=ELSEWHERE), "data.password")], **named
    )
    fine = thing(configmap(namespace="anywhere"), "fine", namespace=TEAM, **named)
    assert "in namespace kube-system" in message(await applied(world, stolen))
    assert is_ready(await applied(world, fine, seconds=5)), message(await seen(world, fine))
    assert await seen(other, configmap(namespace="anywhere"))
    assert await seen(world, configmap(namespace="anywhere")) is None
    assert await seen(other, configmap()) is None
