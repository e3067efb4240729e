"""What only the adapter for a real API server has: the informer, the cache in front, faults of the server."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from groundplane.cluster import own_writes
from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.informer import Informer
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.objects import Key, is_deleting, meta
from groundplane.errors import (
    AlreadyExists,
    Awaited,
    Conflict,
    Denied,
    NoSuchKind,
    NotFound,
    Rejected,
    TooDeep,
    Waiting,
)
from groundplane.reconcile import leaving

MANAGER = "apiextensions.crossplane.io/composite"
CRDS = "apiextensions.k8s.io/v1", "CustomResourceDefinition"


def crd(group: str) -> dict:
    spec = {
        "type": "object",
        "properties": {
            "size": {"type": "integer"},
            "class": {"type": "string", "default": "standard"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    }
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": spec, "status": free}}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "apiVersion": CRDS[0],
        "kind": CRDS[1],
        "metadata": {"name": f"boxes.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Box", "plural": "boxes", "singular": "box", "listKind": "BoxList"},
            "versions": [version | {"schema": {"openAPIV3Schema": schema}}],
        },
    }


async def until(condition: Callable[[], object], what: str, seconds: float = 180) -> None:
    """Come back when the condition holds; polling, since it is about the world outside."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


class World:
    """One CRD of its own, a cluster on it, and an informer if it is wanted."""

    def __init__(self, plane, api: Api, group: str, requests: Counter) -> None:
        self.plane, self.api, self.group, self.requests = plane, api, group, requests
        self.cache = Cache()
        self.cluster = KubernetesCluster(api, self.cache)
        self.told: list[tuple[str, str]] = []
        self.kind = (f"{group}/v1", "Box")

    def key(self, name: str) -> Key:
        return Key(*self.kind, "default", name)

    def box(self, name: str, *, metadata: dict | None = None, **spec) -> dict:
        return {
            "apiVersion": self.kind[0],
            "kind": "Box",
            "metadata": {"name": name, "namespace": "default", **(metadata or {})},
            "spec": spec,
        }

    async def install(self) -> None:
        await self.cluster.create(crd(self.group))
        await self.served()

    async def served(self) -> None:
        async with asyncio.timeout(180):
            while True:
                try:
                    await self.cluster.list(*self.kind)
                    return
                except NoSuchKind:
                    await asyncio.sleep(0.05)

    def _on_change(self, change) -> None:
        what = "gone" if change.new is None else "new" if change.old is None else "changed"
        self.told.append((what, change.key.name))

    @asynccontextmanager
    async def informed(self, *kind: str) -> AsyncIterator[Informer]:
        """While an informer of the kind, by default the world's own, feeds the cache."""
        resource = await self.cluster.resource(*(kind or self.kind))
        informer = Informer(self.api, resource, self.cache, self._on_change)
        task = asyncio.create_task(informer.run())
        try:
            await asyncio.wait_for(informer.synced.wait(), 180)
            yield informer
        finally:
            informer.stop()
            await task

    def elsewhere(self, *args: object, **options: object) -> None:
        """Somebody else does it."""
        self.plane.kubectl(*args, **options)

    def applied_elsewhere(self, *objects: dict) -> None:
        self.elsewhere("apply", "-f", "-", input="\n---\n".join(map(json.dumps, objects)))

    def writes(self) -> int:
        return sum(
            n for (verb, _), n in self.requests.items() if verb in ("create", "update", "apply", "patch", "delete")
        )


@pytest.fixture
async def world(control_plane, request) -> AsyncIterator[World]:
    requests: Counter = Counter()
    api = Api.connect(
        str(control_plane.kubeconfig), on_request=lambda verb, kind, code, seconds: requests.update([(verb, kind)])
    )
    group = f"{request.node.name.replace('_', '-').split('[')[0][-60:].strip('-')}.example.org"
    world = World(control_plane, api, group, requests)
    await world.install()
    yield world
    await world.cluster.delete(Key(*CRDS, "", f"boxes.{group}"))
    await api.close()


async def test_what_is_nested_too_deep_is_let_go_by_what_can_be_read_of_it(world):
    box = json.dumps(world.box("deep", size=7, metadata={"finalizers": ["example.org/ours", "example.org/theirs"]}))
    status = '{"status": {"phase": "up", "deep": ' + '{"a":' * 1200 + "1" + "}" * 1202
    world.elsewhere("create", "-f", "-", input=box)
    world.elsewhere("patch", "box", "deep", "--subresource=status", "--type=merge", "-p", status)
    async with world.informed():
        assert await world.cluster.delete(world.key("deep"))
        for finalizer in ("example.org/ours", "example.org/theirs"):
            with pytest.raises(TooDeep) as caught:
                await world.cluster.get(world.key("deep"))
            left = caught.value.object
            assert is_deleting(left)
            assert (left["spec"]["size"], left["status"]["phase"]) == (7, "up")
            released = await leaving.release(left, finalizer, SimpleNamespace(cluster=world.cluster))
            assert released["spec"] == left["spec"]
        await until(lambda: not world.cache.has(world.key("deep")), "it is gone")


# --- the cache in front ---------------------------------------------------------------------------


async def test_an_apply_that_changes_nothing_sends_nothing(world):
    async with world.informed():
        first = await world.cluster.apply(world.box("a", size=1, tags=["x"]), manager=MANAGER)
        before = world.requests.copy()
        again = await world.cluster.apply(world.box("a", size=1, tags=["x"]), manager=MANAGER)
        assert world.requests == before
        assert meta(again)["resourceVersion"] == meta(first)["resourceVersion"]
        changed = await world.cluster.apply(world.box("a", size=2, tags=["x"]), manager=MANAGER)
        assert changed["spec"] == {"size": 2, "class": "standard", "tags": ["x"]}


async def test_a_field_that_the_server_rewrites_is_sent_once_not_at_each_reconcile(world):
    """Like `stringData` of a Secret, a quantity in CPU milli-units, or what a webhook or a default changes."""
    desired = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "a", "namespace": "default"}}
    desired |= {"spec": {"hard": {"cpu": "5000m"}}}
    key = Key("v1", "ResourceQuota", "default", "a")
    async with world.informed(key.api_version, key.kind):
        assert (await world.cluster.apply(desired, manager=MANAGER))["spec"]["hard"] == {"cpu": "5"}
        await world.cluster.patch(key, {"status": {"used": {"cpu": "1"}}}, subresource="status")
        before = world.writes()
        assert (await world.cluster.apply(desired, manager=MANAGER))["status"]["used"] == {"cpu": "1"}
        assert world.writes() == before
        await world.cluster.patch(key, {"spec": {"hard": {"cpu": "7"}}})
        assert (await world.cluster.apply(desired, manager=MANAGER))["spec"]["hard"] == {"cpu": "5"}
        await world.cluster.apply(
            desired | {"metadata": {**desired["metadata"], "labels": {"a": "b"}}}, manager=MANAGER
        )
        assert world.writes() == before + 3
    await world.cluster.delete(key)


async def test_an_update_that_changes_nothing_sends_nothing(world):
    async with world.informed():
        await world.cluster.create(world.box("a", size=1))
        obj = await world.cluster.get(world.key("a"))
        before = world.writes()
        await world.cluster.update(obj)
        await world.cluster.update(obj | {"status": {"ignored": "here"}})
        assert world.writes() == before
        obj["status"] = {"phase": "up"}
        obj = await world.cluster.update(obj, subresource="status")
        assert world.writes() == before + 1
        await world.cluster.update(obj, subresource="status")
        assert world.writes() == before + 1


async def test_an_update_from_the_cache_leaves_other_managers_their_fields(world):
    async with world.informed():
        world.elsewhere("apply", "--server-side", "-f", "-", input=json.dumps(world.box("a", size=1)))
        await world.cluster.apply(world.box("a", tags=["x"]), manager=MANAGER)
        obj = await world.cluster.get(world.key("a"))
        assert [entry["manager"] for entry in meta(obj)["managedFields"]] == [MANAGER]
        obj["metadata"]["labels"] = {"a": "b"}
        await world.cluster.update(obj)
        live = await world.cluster.get(world.key("a"), live=True)
        assert {entry["manager"] for entry in meta(live)["managedFields"]} == {"kubectl", MANAGER, "crossplane"}


async def test_a_read_after_a_write_never_sees_less_than_was_written(world):
    async with world.informed():
        await world.cluster.create(world.box("a", size=0))
        for size in range(1, 60):
            await world.cluster.patch(world.key("a"), {"spec": {"size": size}})
            assert (await world.cluster.get(world.key("a")))["spec"]["size"] == size
        await world.cluster.delete(world.key("a"))
        assert await world.cluster.get(world.key("a")) is None
        await asyncio.sleep(0.2)  # the late events of all that come now
        assert await world.cluster.get(world.key("a")) is None
        assert world.told == [("new", "a"), *[("changed", "a")] * 59, ("gone", "a")]


async def test_a_deletion_that_waits_for_a_finalizer_is_read_at_once_and_so_is_its_end(world):
    world.cache.replace(*world.kind, [])  # and no watch: what is read comes from the answers alone
    await world.cluster.create(world.box("a", metadata={"finalizers": ["example.org/wait"]}))
    assert await world.cluster.delete(world.key("a"), propagation="Background")
    assert is_deleting(await world.cluster.get(world.key("a")))
    steps = [
        {"op": "test", "path": "/metadata/finalizers/0", "value": "example.org/wait"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ]
    await world.cluster.patch(world.key("a"), steps)
    assert await world.cluster.get(world.key("a")) is None
    assert not await world.cluster.delete(world.key("a"))
    await world.cluster.create(world.box("a"))
    await world.cluster.delete(world.key("a"))
    assert await world.cluster.get(world.key("a")) is None


async def test_each_change_is_told_once_whoever_made_it(world):
    async with world.informed():
        await world.cluster.create(world.box("ours"))
        world.applied_elsewhere(world.box("theirs"))
        await until(lambda: ("new", "theirs") in world.told, "their object is seen")
        await world.cluster.delete(world.key("ours"))
        world.elsewhere("delete", "boxes." + world.group, "theirs")
        await until(lambda: len(world.told) >= 4, "the deletions are seen")
        await asyncio.sleep(0.2)
        assert sorted(world.told) == [("gone", "ours"), ("gone", "theirs"), ("new", "ours"), ("new", "theirs")]


# --- the informer -----------------------------------------------------------------------------------


async def test_a_watch_that_is_faster_than_the_answer_runs_no_reconcile_for_what_it_wrote_itself(world, monkeypatch):
    """As it is in an operator that has much to do: it has read the event and not yet the answer."""
    send, held = world.cluster._send, []

    async def late(*args, **options):
        found = await send(*args, **options)
        if meta(found)["name"] == "a":
            await until(lambda: world.cache.version(world.key("a")) >= int(meta(found)["resourceVersion"]), "the event")
            held.append(meta(found)["name"])
        return found

    told = []
    monkeypatch.setattr(world, "_on_change", lambda change: told.append((change.key.name, set(own_writes.writers()))))
    async with world.informed():
        await world.cluster.create(world.box("b"))
        monkeypatch.setattr(world.cluster, "_send", late)
        with own_writes.running(("managed", world.key("a"))):
            made = await world.cluster.create(world.box("a", size=1))
            made = await world.cluster.update({**made, "spec": {"size": 2}})
            await world.cluster.update({**made, "status": {"is": "so"}}, subresource="status")
            await world.cluster.apply(world.box("a", tags=["x"]), manager=MANAGER)
            await world.cluster.patch(world.key("a"), {"metadata": {"labels": {"x": "y"}}})
        await world.cluster.create(world.box("last"))
    assert len(held) == 5
    assert [targets for name, targets in told if name == "a"] == [{("managed", world.key("a"))}] * 5


async def test_what_was_deleted_while_nobody_watched_is_told_as_gone(world):
    world.applied_elsewhere(*(world.box(name) for name in "abc"))
    async with world.informed():
        assert sorted(world.told) == [("new", "a"), ("new", "b"), ("new", "c")]
    world.elsewhere("delete", "boxes." + world.group, "b")
    world.applied_elsewhere(world.box("c", size=3))
    del world.told[:]
    async with world.informed():
        assert sorted(world.told) == [("changed", "c"), ("gone", "b")]


async def test_a_list_of_several_pages_is_complete(world, monkeypatch):
    monkeypatch.setattr("groundplane.cluster.informer.PAGE", 3)
    monkeypatch.setattr("groundplane.cluster.kubernetes.PAGE", "3")
    world.applied_elsewhere(*(world.box(f"b{n}") for n in range(10)))
    assert len(await world.cluster.list(*world.kind)) == 10
    async with world.informed():
        assert len(await world.cluster.list(*world.kind)) == 10
        assert world.requests["list", f"boxes.{world.group}"] >= 8


async def test_a_watch_survives_a_crash_of_the_api_server(world):
    world.applied_elsewhere(world.box("a"), world.box("b"))
    async with world.informed():
        await asyncio.to_thread(world.plane.kill_api_server)
        await asyncio.to_thread(world.plane.start_api_server)
        world.elsewhere("delete", "boxes." + world.group, "a")
        world.applied_elsewhere(world.box("b", size=2), world.box("c"))
        want = {("gone", "a"), ("changed", "b"), ("new", "c")}
        await until(lambda: want <= set(world.told), "all changes after the crash")
        assert [obj["metadata"]["name"] for obj in await world.cluster.list(*world.kind)] == ["b", "c"]


async def test_a_kind_that_vanishes_takes_its_objects_along_and_may_come_back(world):
    name = Key(*CRDS, "", f"boxes.{world.group}")
    async with world.informed() as informer:
        await world.cluster.create(world.box("a", size=1))
        await world.cluster.delete(name)
        await until(lambda: ("gone", "a") in world.told, "its object is told as gone")
        await until(lambda: not informer.synced.is_set(), "the informer knows that the kind is not served")
        with pytest.raises(NoSuchKind):
            await world.cluster.get(world.key("a"))
        await world.install()
        informer.wake()
        await until(lambda: informer.synced.is_set(), "the kind is served again")
        await world.cluster.create(world.box("a", size=2))
        assert (await world.cluster.get(world.key("a")))["spec"]["size"] == 2
        world.applied_elsewhere(world.box("later"))
        await until(lambda: world.told[-1] == ("new", "later"), "the new kind's events")


async def test_an_informer_of_a_kind_that_is_not_served_yet_waits_for_it(world):
    group = f"later.{world.group}"
    resource = await world.cluster.resource(*world.kind)
    later = type(resource)(f"{group}/v1", "Box", "boxes", True)
    informer = Informer(world.api, later, world.cache, lambda change: None)
    task = asyncio.create_task(informer.run())
    await until(lambda: informer.problem, "the informer has tried")
    await world.cluster.create(crd(group))
    await until(informer.synced.is_set, "it is served, without being told to wake")
    informer.stop()
    await task
    await world.cluster.delete(Key(*CRDS, "", f"boxes.{group}"))


async def test_a_label_makes_a_part_of_a_kind_which_an_object_enters_and_leaves_with_it(world):
    world.applied_elsewhere(world.box("in", metadata={"labels": {"app": "x"}}), world.box("out"))
    resource = await world.cluster.resource(*world.kind)
    informer = Informer(world.api, resource, world.cache, world._on_change, label="app")
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced.wait(), 180)
    assert world.told == [("new", "in")]
    assert await world.cluster.get(world.key("out")) is not None
    for labels, names in (({"app": "x"}, ["in"]), ({"app": "y"}, []), (None, ["in", "out"])):
        found = await world.cluster.list(*world.kind, labels=labels)
        assert [each["metadata"]["name"] for each in found] == names, "of all that have the label, all is known"
    for change, wanted in (("app-", ("gone", "in")), ("app=y", ("new", "in"))):
        world.elsewhere("label", "--overwrite", "boxes." + world.group, "in", change)
        await until(lambda wanted=wanted: world.told[-1] == wanted, f"{wanted}")
    informer.stop()
    await task


async def test_a_kind_that_may_not_be_listed_is_tried_again_until_it_may(world):
    role = f"see-{world.group}"
    resource = await world.cluster.resource(*world.kind)
    api = Api.connect(str(world.plane.kubeconfig_of("nobody")))
    informer = Informer(api, resource, world.cache, world._on_change)
    task = asyncio.create_task(informer.run())
    await until(lambda: "forbidden" in informer.problem, "the refusal")
    rule = f"--resource=boxes.{world.group}"
    world.elsewhere("create", "clusterrole", role, "--verb=list,watch", rule)
    world.elsewhere("create", "clusterrolebinding", role, f"--clusterrole={role}", "--user=nobody")
    await until(informer.synced.is_set, "the list after the grant")
    informer.stop()
    await task
    await api.close()


# --- errors and kinds ---------------------------------------------------------------------------------


async def test_the_first_object_of_a_brand_new_kind_needs_no_patience_with_throttling(world):
    group = f"new.{world.group}"
    await world.cluster.create(crd(group))
    obj = world.box("a", size=1) | {"apiVersion": f"{group}/v1"}
    async with asyncio.timeout(180):
        while True:
            try:
                await world.cluster.apply(obj, manager=MANAGER)
                break
            except NoSuchKind:
                await asyncio.sleep(0.01)
    await world.cluster.delete(Key(*CRDS, "", f"boxes.{group}"))


async def test_a_kind_that_is_not_served_is_told_from_an_object_that_is_not_there(world):
    with pytest.raises(NoSuchKind):
        await world.cluster.get(Key("nobody.example.org/v1", "Box", "default", "a"))
    with pytest.raises(NoSuchKind):
        await world.cluster.get(Key(world.kind[0], "Crate", "default", "a"))
    assert await world.cluster.get(world.key("a")) is None
    with pytest.raises(NotFound):
        await world.cluster.patch(world.key("a"), {"spec": {"size": 1}})
    with pytest.raises(NotFound):
        await world.cluster.apply(world.box("a") | {"status": {}}, manager=MANAGER, subresource="status")
    text = 'namespaces "nowhere" not found. Mend: create that namespace.'
    elsewhere = world.box("a", metadata={"namespace": "nowhere"})
    for write in (world.cluster.create(elsewhere), world.cluster.apply(elsewhere, manager=MANAGER)):
        with pytest.raises(NotFound, match=text) as raised:
            await write
        assert raised.value.on == (Awaited("", "Namespace", name="nowhere"),), "it is tried again once that is there"


async def test_a_kind_that_has_vanished_is_noticed_though_discovery_had_been_asked(world):
    await world.cluster.delete(Key(*CRDS, "", f"boxes.{world.group}"))

    async def get_until_it_fails():
        while True:
            await world.cluster.get(world.key("a"))
            await asyncio.sleep(0.05)

    with pytest.raises(NoSuchKind):
        await asyncio.wait_for(get_until_it_fails(), 180)
    with pytest.raises(NoSuchKind):
        await world.cluster.resource(*world.kind)


async def test_a_kind_changes_its_scope_or_gains_a_subresource_once_it_is_forgotten(world):
    assert (await world.cluster.resource(*world.kind)).has_status
    without = crd(world.group)
    del without["spec"]["versions"][0]["subresources"]
    await world.cluster.apply(without, manager=MANAGER)
    live = await world.cluster.get(Key(*CRDS, "", f"boxes.{world.group}"))
    live["spec"]["versions"][0].pop("subresources", None)
    await world.cluster.update(live)
    async with asyncio.timeout(180):
        while (await world.cluster.resource(*world.kind)).has_status:
            world.cluster.forget(world.group)
            await asyncio.sleep(0.05)


async def test_refusals_have_their_errors(world):
    cluster = world.cluster
    first = await cluster.create(world.box("a", size=1))
    with pytest.raises(AlreadyExists):
        await cluster.create(world.box("a"))
    with pytest.raises(Rejected, match=r"spec\.size"):
        await cluster.create(world.box("b", size="big"))
    with pytest.raises(Rejected, match=r"spec\.size"):
        await cluster.apply(world.box("b", size="big"), manager=MANAGER)
    await cluster.patch(world.key("a"), {"spec": {"size": 2}})
    with pytest.raises(Conflict):
        await cluster.update(first | {"spec": {"size": 3}})
    with pytest.raises(Conflict):
        await cluster.patch(world.key("a"), [{"op": "test", "path": "/spec/size", "value": 1}])
    with pytest.raises(Rejected, match="does not fit"):
        await cluster.patch(world.key("a"), [{"op": "remove", "path": "/spec/nothing"}])
    with pytest.raises(Conflict):
        await cluster.delete(world.key("a"), uid="another")
    with pytest.raises(Rejected, match="namespace"):
        await cluster.create(world.box("a", metadata={"namespace": ""}))
    assert await cluster.get(Key(*world.kind, "", "a")) is None


async def test_who_may_not_is_denied(world):
    for user, token in (("nobody", "nobody-token"), ("a stranger", "no such token")):
        path = world.plane.folder / "denied.kubeconfig"
        path.write_text(world.plane.kubeconfig_of("nobody").read_text().replace("nobody-token", token))
        api = Api.connect(str(path))
        with pytest.raises(Denied):
            await KubernetesCluster(api, Cache()).get(Key("v1", "Secret", "default", "a"))
        await api.close()
        assert user


async def test_a_namespace_that_is_being_deleted_takes_nothing_new_and_that_is_no_lack_of_rights(world):
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.org/wait"]}}
    await world.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dying"}})
    held["metadata"]["namespace"] = "dying"
    await world.cluster.create(held)
    await world.cluster.delete(Key("v1", "Namespace", "", "dying"))
    with pytest.raises(Waiting):
        await world.cluster.create(world.box("a", metadata={"namespace": "dying"}))
    await world.cluster.patch(Key("v1", "ConfigMap", "dying", "held"), {"metadata": {"finalizers": None}})


async def test_objects_of_built_in_kinds_say_what_they_are_in_lists_too(world):
    found = await world.cluster.list("v1", "ConfigMap", namespace="kube-system")
    assert found
    assert {(obj["apiVersion"], obj["kind"]) for obj in found} == {("v1", "ConfigMap")}
    resource = await world.cluster.resource("v1", "ConfigMap")
    informer = Informer(world.api, resource, world.cache, lambda change: None)
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced.wait(), 180)
    assert {(obj["apiVersion"], obj["kind"]) for obj in world.cache.list("v1", "ConfigMap")} == {("v1", "ConfigMap")}
    informer.stop()
    await task


async def test_a_patch_of_a_managed_resource_that_is_known_as_it_expects_is_written_whole_and_conflicts_as_one(world):
    """A merge patch costs the API server twice an update."""
    world.group = "boxes-of-a-test.aws.upbound.io"
    world.kind = (f"{world.group}/v1", "Box")
    await world.install()
    sent = lambda: {verb: world.requests[verb, f"boxes.{world.group}"] for verb in ("patch", "update")}  # noqa: E731
    key, ours = world.key("a"), "example.org/ours"
    try:
        async with world.informed():
            made = await world.cluster.create(world.box("a", size=1, tags=["x"]))
            world.elsewhere("label", f"boxes.{world.group}", "a", "theirs=kept")
            await until(lambda: "labels" in meta(world.cache.get(key)), "their label is seen")
            stale = {"metadata": {"resourceVersion": meta(made)["resourceVersion"], "annotations": {"a": "stale"}}}
            with pytest.raises(Conflict):
                await world.cluster.patch(key, stale)
            assert sent() == {"patch": 1, "update": 0}
            version = meta(world.cache.get(key))["resourceVersion"]
            begun = {"resourceVersion": version, "annotations": {"a": "b", "c": "d"}, "finalizers": [ours]}
            begun = await world.cluster.patch(key, {"metadata": begun})
            assert sent() == {"patch": 1, "update": 1}
            ended = {"resourceVersion": meta(begun)["resourceVersion"], "annotations": {"a": None}}
            await world.cluster.patch(key, {"metadata": ended})
            assert sent() == {"patch": 1, "update": 2}
            live = await world.cluster.get(key, live=True)
            assert (meta(live)["annotations"], meta(live)["labels"]) == ({"c": "d"}, {"theirs": "kept"})
            assert (live["spec"], meta(live)["generation"]) == (made["spec"], 1)
            assert {entry["manager"] for entry in meta(live)["managedFields"]} == {"crossplane", "kubectl-label"}
            late = KubernetesCluster(world.api, Cache())  # which has not seen the last write
            late._cache.replace(*world.kind, [begun])
            with pytest.raises(Conflict):
                await late.patch(key, {"metadata": {**ended, "finalizers": []}})
            assert sent() == {"patch": 1, "update": 3}
            await world.cluster.patch(key, {"metadata": {"finalizers": []}})  # that expects nothing
            assert sent() == {"patch": 2, "update": 3}
    finally:
        await world.cluster.delete(Key(*CRDS, "", f"boxes.{world.group}"))
