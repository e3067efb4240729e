"""What informers follow on a real API server: composed kinds, connection Secrets; when, at which version, until when."""

from __future__ import annotations

import asyncio
import base64

from groundplane.core.objects import Key, meta
from groundplane.errors import Awaited
from groundplane.ports import ManagedKind
from tests.runtime.watching import PATIENCE, Kind, NoCloud, Rig, eventually

SECRETS = "/api/v1/namespaces/default/secrets"


def lists(rig, kind):
    return rig.requests.count(("list", kind.name))


async def test_a_composed_kind_is_listed_once_before_ensure_returns_however_many_ask(control_plane):
    kind = Kind("ensured.test")
    async with Rig(control_plane) as rig:
        await rig.person.install(kind.crd())
        await rig.person.apply(kind.path, kind.thing("a"))
        await asyncio.gather(*(rig.watches.ensure([(kind.api_version, kind.kind)]) for _ in range(10)))
        assert rig.cache.get(kind.key("a")) is not None
        await rig.watches.ensure([(kind.api_version, kind.kind)])
        assert lists(rig, kind) == 1
        await rig.person.apply(kind.path, kind.thing("b"))
        await rig.sees(kind.key("b"))
        assert [(key.name, idle) for key, *_, idle in rig.told if key.kind == kind.kind] == [("a", True), ("b", False)]
        await rig.person.uninstall(kind)


async def test_a_kind_that_discovery_does_not_know_yet_is_followed_without_being_asked_for_again(control_plane):
    kind = Kind("lagging.test")
    async with Rig(control_plane) as rig:
        await rig.person.install(kind.crd())
        await rig.person.apply(kind.path, kind.thing("a"))
        await eventually("the definition is known", lambda: rig.watches.serves(kind.resource()))
        discover = rig.cluster._discover

        async def of_another_replica(api_version):
            return {} if api_version == kind.api_version else await discover(api_version)

        rig.cluster._discover = of_another_replica
        await rig.watches.ensure([(kind.api_version, kind.kind)])
        assert rig.cache.get(kind.key("a")) is not None
        await rig.person.uninstall(kind)


async def test_a_kind_that_is_not_served_is_followed_when_it_comes_and_dropped_when_it_goes(control_plane):
    kind = Kind("later.test")
    async with Rig(control_plane) as rig:
        await rig.watches.ensure([(kind.api_version, kind.kind)])
        assert not rig.cache.follows(kind.api_version, kind.kind)
        for name in ("a", "b"):
            await rig.person.install(kind.crd())
            await rig.person.apply(kind.path, kind.thing(name))
            await rig.sees(kind.key(name))
            await rig.person.uninstall(kind)
            await rig.misses(kind.key(name))
            await eventually("it is dropped", lambda: not rig.cache.follows(kind.api_version, kind.kind))
        assert rig.gone().count(kind.key("a")) == 1
        asked = len(rig.requests)
        await asyncio.sleep(1)
        assert [request for request in rig.requests[asked:] if kind.name in request] == []


async def test_a_managed_kind_is_followed_from_the_start_at_one_version_whichever_is_asked_for(control_plane):
    kind = Kind("managed.test", versions=["v1beta1", "v1beta2"])
    old = kind.at("v1beta1")
    managed = ManagedKind((old.api_version, kind.api_version), kind.kind, kind.plural, "name")
    absent = ManagedKind(("managed.test/v1beta1",), "Nothing", "nothings", "name")
    async with Rig(control_plane) as rig:
        await rig.person.install(kind.crd())
        await rig.person.apply(old.path, old.thing("a"))
    async with Rig(control_plane, cloud=NoCloud(managed, absent)) as rig:
        await rig.watches.listed()
        assert rig.cache.get(old.key("a")), "work begins when what is followed from the start is known"
        await rig.watches.ensure([(kind.api_version, kind.kind)])
        assert (kind.api_version, kind.kind) not in rig.cache.count()
        await rig.person.uninstall(kind)


async def test_a_composite_kind_is_left_to_kopf_when_somebody_composes_it(control_plane):
    kind = Kind("nested.test")
    async with Rig(control_plane) as rig:
        await rig.bring(kind)
        await rig.watches.ensure([(kind.api_version, kind.kind)])
        await rig.person.apply(kind.path, kind.thing("a"))
        await rig.sees(kind.key("a"))
        assert ("watch", kind.name) not in rig.requests
        await rig.remove(kind)


def secret(name, type_="Opaque", **fields):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": type_, **fields}


async def test_of_secrets_only_connection_details_are_seen_while_nobody_wants_others(control_plane):
    async with Rig(control_plane) as rig:
        await rig.person.apply(SECRETS, secret("other"))
        await rig.person.apply(SECRETS, secret("connection", "connection.crossplane.io/v1alpha1"))
        await eventually("it is told", lambda: [key for key, *_ in rig.told if key.name == "connection"])
        await rig.person.delete(f"{SECRETS}/connection")
        await eventually("its end is told", lambda: Key("v1", "Secret", "default", "connection") in rig.gone())
        assert [key for key, *_ in rig.told if key.name == "other"] == []
        await rig.person.delete(f"{SECRETS}/other")


async def test_of_a_built_in_kind_only_what_is_composed_is_kept_until_somebody_wants_the_whole(control_plane):
    configs = "/api/v1/namespaces/default/configmaps"

    def config(name, **labels):
        data = {"n": name * 1000}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": data}

    def key(name):
        return Key("v1", "ConfigMap", "default", name)

    def kept():
        return {meta(obj)["name"] for obj in rig.cache.list("v1", "ConfigMap")}

    async with Rig(control_plane) as rig:
        label = {"crossplane.io/composite": "x"}
        for number in range(20):
            await rig.person.apply(configs, config(f"others-{number}"))
        await rig.person.apply(configs, config("ours", **label))
        await rig.watches.ensure([("v1", "ConfigMap")])
        assert kept() == {"ours"}
        assert (await rig.cluster.get(key("others-3")))["data"], "it is there, though we do not keep it"
        written = await rig.cluster.patch(key("ours"), {"data": {"n": "by us"}})
        assert (await rig.cluster.get(key("ours")))["data"] == {"n": "by us"}
        asked = len(rig.requests)
        assert await rig.cluster.update(written) == await rig.cluster.get(key("ours"))
        assert rig.requests[asked:] == [], "a write that changes nothing is made, or a read of what is kept"
        told = len(rig.told)
        await rig.person.patch(f"{configs}/ours", {"metadata": {"labels": {"crossplane.io/composite": None}}})
        await rig.misses(key("ours"))
        assert [(change.name, new) for change, _, new, _ in rig.told[told:]] == [("ours", None)], (
            "its owner is not told"
        )
        assert "crossplane.io/composite" not in ((await rig.cluster.get(key("ours")))["metadata"].get("labels") or {})
        await rig.cluster.patch(key("ours"), {"metadata": {"labels": label}})
        assert kept() == {"ours"}
        await rig.person.patch(f"{configs}/ours", {"data": {"n": "by them"}})
        await eventually("it is followed again", lambda: rig.cache.get(key("ours"))["data"] == {"n": "by them"})
        await rig.watches.ensure([("v1", "ConfigMap")], whole=True)
        assert {"ours", *(f"others-{number}" for number in range(20))} <= kept()
        for name in ("ours", *(f"others-{number}" for number in range(20))):
            await rig.person.delete(f"{configs}/{name}")


async def test_composed_secrets_are_followed_and_nothing_of_their_data_is_kept(control_plane):
    async with Rig(control_plane) as rig:
        await rig.watches.ensure([("v1", "Secret")])
        await rig.person.apply(SECRETS, secret("composed", stringData={"password": "correct-horse"}))
        await eventually("it is told", lambda: [key for key, *_ in rig.told if key.name == "composed"])
        await rig.person.patch(f"{SECRETS}/composed", {"stringData": {"password": "battery-staple"}})
        await eventually("drift is told", lambda: [old for key, old, *_ in rig.told if key.name == "composed" and old])
        assert all(
            set(new) == {"apiVersion", "kind", "metadata"} for key, _, new, _ in rig.told if key.name == "composed"
        )
        await rig.person.apply(SECRETS, secret("connection", "connection.crossplane.io/v1alpha1"))
        await eventually("it is told", lambda: [key for key, *_ in rig.told if key.name == "connection"])
        await rig.person.delete(f"{SECRETS}/composed")
        await eventually("its end is told", lambda: Key("v1", "Secret", "default", "composed") in rig.gone())
        assert [key.name for key, *_ in rig.told if key.name == "connection"] == ["connection"]  # by one watch, not two
        await rig.person.delete(f"{SECRETS}/connection")


async def test_a_secret_that_others_refer_to_is_fetched_once_per_change_and_kept_while_it_is_used(
    control_plane, monkeypatch
):
    monkeypatch.setattr("groundplane.cluster.referenced.UNUSED", 2.0)
    key = Key("v1", "Secret", "default", "referred")
    async with Rig(control_plane) as rig:

        async def read():
            """What it says, and how often the API server was asked."""
            before = rig.requests.count(("get", "secrets"))
            found = await rig.cluster.referenced(key)
            word = base64.b64decode(found["data"]["word"]).decode() if found else None
            return word, rig.requests.count(("get", "secrets")) - before

        async def told(times):
            await eventually("it is told", lambda: [each for each, *_ in rig.told if each == key][times:])

        await rig.person.apply(SECRETS, secret("referred", stringData={"word": "first"}))
        assert [await read(), await read()] == [("first", 1)] * 2  # nobody would tell of a change
        assert await rig.cluster.referenced(key._replace(name="missing")) is None
        assert await rig.cluster.referenced(key._replace(name="missing")) is None
        assert rig.requests.count(("get", "secrets")) == 4
        await rig.watches.ensure([("v1", "Secret")])
        await told(0)
        assert [await read(), await read(), await read()] == [("first", 1), ("first", 0), ("first", 0)]
        (await rig.cluster.referenced(key))["data"].clear()  # what comes out is the caller's
        await rig.person.patch(f"{SECRETS}/referred", {"stringData": {"word": "second"}})
        await told(1)
        assert [await read(), await read()] == [("second", 1), ("second", 0)]
        await rig.cluster.patch(key, {"stringData": {"word": "ours"}})
        assert (await read())[0] == "ours"
        await told(2)
        await rig.person.delete(f"{SECRETS}/referred")
        await told(3)
        assert [await read(), await read()] == [(None, 1), (None, 0)]  # who waits for it asks again and again
        await rig.person.apply(SECRETS, secret("referred", stringData={"word": "again"}))
        await told(4)
        assert [await read(), await read()] == [("again", 1), ("again", 0)]
        await eventually("it is forgotten", lambda: len(rig.cluster._referenced) == 0)
        assert await read() == ("again", 1)
        await rig.person.delete(f"{SECRETS}/referred")


async def test_what_is_waited_for_is_followed_until_nobody_waits_any_longer(control_plane, monkeypatch):
    kind = Kind("awaited.test")
    async with Rig(control_plane) as rig:
        await rig.person.install(kind.crd())
        awaited = [Awaited("", "Namespace", name="later"), Awaited(kind.group, kind.kind, name="a")]
        await eventually("the kind is known", lambda: rig.watches.serves(kind.resource()))
        rig.watches.expect(awaited)
        await rig.person.apply(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}}
        )
        await rig.person.apply(kind.path, kind.thing("a", spec={"size": 1}))
        for name in ("later", "a"):
            await eventually(f"{name} is told", lambda name=name: [key for key, *_ in rig.told if key.name == name])
        assert not rig.cache.follows(kind.api_version, kind.kind)  # reads go to the API server
        assert [key.name for key, *_ in rig.told if key.name == "a"] == ["a"]  # by one watch, not two
        monkeypatch.setattr("groundplane.runtime.informers.UNWANTED", 0.0)
        for place in rig.watches.glanced():
            rig.watches._informers._retire(place)  # as a timer would, much later
        assert rig.watches.glanced() == []
        monkeypatch.undo()
        await rig.person.apply(kind.path, kind.thing("b"))
        rig.watches.expect(awaited)
        await eventually("b is told", lambda: [key for key, *_ in rig.told if key.name == "b"])
        await rig.watches.ensure([(kind.api_version, kind.kind)])  # now it is composed
        assert rig.cache.get(kind.key("a"))["spec"] == {"size": 1}
        await rig.person.uninstall(kind)


async def test_a_kind_that_may_not_be_listed_holds_nobody_up_twice(control_plane, monkeypatch):
    monkeypatch.setattr("groundplane.runtime.informers.PATIENCE", 0.2)
    async with Rig(control_plane) as rig:
        # Nothing can list reviews: the API server has only a create for them.
        await rig.watches.ensure([("authorization.k8s.io/v1", "SubjectAccessReview")])
        monkeypatch.setattr("groundplane.runtime.informers.PATIENCE", 3600.0)
        async with asyncio.timeout(PATIENCE):
            for _ in range(20):
                await rig.watches.ensure([("authorization.k8s.io/v1", "SubjectAccessReview")])
        assert rig.watches.problem() == ""
        monkeypatch.setattr("groundplane.runtime.watches.LISTS", 3600.0)
        async with asyncio.timeout(PATIENCE):
            await rig.watches.listed()


async def test_a_version_of_the_same_schema_is_answered_from_the_cache_and_one_of_another_by_the_api_server(
    control_plane,
):
    kind = Kind("alike.test", versions=["v1", "v2", "v3"])
    crd = kind.crd()
    strict = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    crd["spec"]["versions"][2]["schema"] = {"openAPIV3Schema": strict}
    first, second, third = (kind.at(version) for version in kind.versions)
    async with Rig(control_plane) as rig:
        await rig.person.install(crd)
        async with asyncio.timeout(PATIENCE):
            while not rig.cache.synced(first.api_version, kind.kind):  # discovery may be behind
                await rig.watches.ensure([(first.api_version, kind.kind)])
        await rig.person.apply(second.path, second.thing("a", spec={"size": 1, "free": "x"}))
        await rig.sees(first.key("a"))
        asked = rig.requests.count(("get", kind.name))
        found = await rig.cluster.get(second.key("a"))
        assert await rig.cluster.get(second.key("b")) is None
        assert [obj["apiVersion"] for obj in await rig.cluster.list(second.api_version, kind.kind)] == [
            second.api_version
        ]
        assert rig.requests.count(("get", kind.name)) == asked
        live = await rig.cluster.get(second.key("a"), live=True)
        assert (found["apiVersion"], found["spec"]) == (live["apiVersion"], live["spec"])
        written = await rig.cluster.patch(second.key("a"), {"spec": {"size": 2}})
        assert rig.cache.get(first.key("a"))["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]
        pruned = await rig.cluster.get(third.key("a"))
        assert pruned["spec"] == {"size": 2}
        await rig.person.uninstall(kind)
