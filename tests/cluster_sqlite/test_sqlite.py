"""What only the embedded store has: a file, other processes on it, a change feed, work done within the write."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import schema_defects
from groundplane.core.objects import Key, is_deleting, meta, owner_reference
from groundplane.errors import Conflict, InvalidInput, NoSuchKind, Rejected, Unavailable
from tests.contracts.conftest import definition

GROUP = "example.org"
ROOT = Path(__file__).resolve().parents[2]
WRITER = f"""
import asyncio, sys
from groundplane.cluster.sqlite import SqliteCluster
from tests.contracts.conftest import definition

async def main(path, who, count):
    store = SqliteCluster(path)
    await store.apply(definition("{GROUP}", "Widget", "widgets"), manager="us")
    print("ready", flush=True)
    for index in range(count):
        await store.create({{
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {{"name": f"{{who}}-{{index}}", "namespace": "default"}}, "data": {{"n": str(index) * 100}},
        }})
    store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.fixture
def store():
    opened = SqliteCluster()
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


def writer(path, who, count):
    """Another process that creates ConfigMaps `<who>-<n>`."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), who, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"},
    )


def config(name="one", **fields):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}} | fields


def widget(name="one", **fields):
    metadata = {"name": name, "namespace": "default"} | fields.pop("metadata", {})
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": metadata} | fields


def key(obj):
    return Key(obj["apiVersion"], obj["kind"], meta(obj).get("namespace", ""), meta(obj)["name"])


def told(changes):
    return [(change.type, meta(change.object)["name"]) for change in changes]


# --- the file


async def test_everything_is_there_again_after_reopening(path):
    store = SqliteCluster(path)
    await store.create(definition(GROUP, "Widget", "widgets"))
    made = await store.apply(widget(spec={"count": 1}), manager="us")
    version = store.version()
    store.close()
    again = SqliteCluster(path)
    assert await again.get(key(made)) == made
    assert again.version() == version
    assert await again.apply(widget(spec={"count": 1}), manager="us") == made
    with pytest.raises(Rejected):
        await again.create(widget("two", spec={"count": -1}))
    again.close()


async def test_versions_never_repeat_though_the_latest_object_is_gone(path):
    store = SqliteCluster(path)
    await store.create(config())
    await store.delete(key(config()))
    version = store.version()
    store.close()
    again = SqliteCluster(path)
    made = await again.create(config())
    assert int(meta(made)["resourceVersion"]) == again.version() > version
    again.close()


def test_a_file_that_is_something_else_is_refused(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no database " * 100)
    with pytest.raises(InvalidInput) as raised:
        SqliteCluster(text)
    assert str(text) in raised.value.what
    foreign = tmp_path / "foreign.db"
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE recipes (name)")
    other.close()
    with pytest.raises(InvalidInput) as raised:
        SqliteCluster(foreign)
    assert raised.value.mend


def test_a_file_that_cannot_be_opened_says_so(tmp_path):
    with pytest.raises(Unavailable) as raised:
        SqliteCluster(tmp_path / "no" / "such" / "folder.db")
    assert "folder.db" in raised.value.what


async def test_processes_share_a_file_and_lose_nothing(path):
    writers = [writer(path, who, 60) for who in "ab"]
    store = SqliteCluster(path)
    for index in range(60):
        await store.create(config(f"c-{index}"))
        await asyncio.sleep(0)
    assert [process.wait() for process in writers] == [0, 0]
    for process in writers:
        process.stdout.close()
    found = await store.list("v1", "ConfigMap")
    assert sorted(meta(obj)["name"] for obj in found) == sorted(f"{who}-{n}" for who in "abc" for n in range(60))
    versions = [meta(obj)["resourceVersion"] for obj in found]
    assert len(set(versions)) == len(versions)
    store.close()


async def test_a_killed_process_leaves_a_sound_file(path):
    process = writer(path, "killed", 1_000_000)
    assert process.stdout.readline() == "ready\n"
    store = SqliteCluster(path)
    seen = store.version()
    async with asyncio.timeout(30):
        while store.version() < seen + 20:
            await store.watch(store.version())
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    store.close()
    again = SqliteCluster(path)
    found = await again.list("v1", "ConfigMap", namespace="default")
    numbers = sorted(int(meta(obj)["name"].removeprefix("killed-")) for obj in found)
    assert numbers == list(range(len(numbers)))
    await again.create(config("after"))
    again.close()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


async def test_a_definition_that_another_process_changes_is_heeded_at_once(path):
    ours, theirs = SqliteCluster(path), SqliteCluster(path)
    crd = definition(GROUP, "Widget", "widgets")
    await theirs.create(crd)
    await ours.create(widget(spec={"size": "large"}))
    for version in crd["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["enum"] = ["tiny", "small"]
    await theirs.apply(crd, manager="us")
    with pytest.raises(Rejected):
        await ours.create(widget("two", spec={"size": "large"}))
    await theirs.delete(Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"widgets.{GROUP}"))
    with pytest.raises(NoSuchKind):
        await ours.get(key(widget()))
    ours.close()
    theirs.close()


# --- the change feed


async def test_the_feed_tells_what_came_changed_and_went(store):
    await store.create(config("stays"))
    await store.create(config("goes"))
    start = store.version()
    assert told(store.changes(0)) == [("ADDED", "default"), ("ADDED", "stays"), ("ADDED", "goes")]
    await store.patch(key(config("stays")), {"data": {"a": "1"}})
    await store.create(config("new"))
    await store.delete(key(config("goes")))
    await store.create(config("brief"))
    await store.delete(key(config("brief")))
    changes = store.changes(start)
    assert told(changes) == [("MODIFIED", "stays"), ("ADDED", "new"), ("DELETED", "goes"), ("DELETED", "brief")]
    assert [change.rv for change in changes] == sorted(change.rv for change in changes)
    assert changes[0].object == await store.get(key(config("stays")))
    assert all(meta(change.object)["resourceVersion"] == str(change.rv) for change in changes)
    assert changes[-1].rv == store.version()
    assert store.changes(store.version()) == []


async def test_an_object_made_anew_is_told_as_gone_and_come(store):
    await store.create(config())
    start = store.version()
    await store.delete(key(config()))
    await store.create(config())
    assert told(store.changes(start)) == [("DELETED", "one"), ("ADDED", "one")]


async def test_a_watcher_wakes_for_a_change_here_and_in_another_process(path):
    ours, theirs = SqliteCluster(path), SqliteCluster(path)
    for cluster, name in ((ours, "here"), (theirs, "there")):
        seen = ours.version()
        waiting = asyncio.create_task(ours.watch(seen))
        await asyncio.sleep(0)
        assert not waiting.done()
        await cluster.create(config(name))
        async with asyncio.timeout(60):
            await waiting
        assert ("ADDED", name) in told(ours.changes(seen))
    async with asyncio.timeout(60):
        await ours.watch(0)
    ours.close()
    theirs.close()


# --- what it counts and decides


async def test_only_changes_count_as_writes(store):
    await store.create(definition(GROUP, "Widget", "widgets"))
    wanted = widget(spec={"count": 1, "ports": [{"name": "a"}]})
    made = await store.apply(wanted, manager="us")
    before = store.writes
    await store.apply(wanted, manager="us")
    await store.update(made)
    await store.patch(key(made), {"spec": {"count": 1}})
    await store.patch(key(made), [{"op": "test", "path": "/spec/count", "value": 1}])
    with pytest.raises(Rejected):
        await store.apply(widget(spec={"count": -1}), manager="us")
    assert store.writes == before
    assert store.requests["apply"] == 3
    assert store.requests["patch"] == 2
    await store.patch(key(made), {"spec": {"count": 2}})
    assert store.writes == before + 1


async def test_a_write_that_fails_leaves_nothing_behind(store):
    before = store.version()
    with pytest.raises(Rejected):
        await store.create(config("Not a name"))
    assert store.version() == before
    assert await store.list("v1", "Namespace") == []


async def test_a_missing_namespace_is_made_on_the_fly(store):
    await store.create(config())
    made = await store.get(Key("v1", "Namespace", "", "default"))
    assert made["status"] == {"phase": "Active"}


async def test_nothing_new_comes_into_a_namespace_that_is_going(store):
    await store.create(config(metadata={"name": "one", "namespace": "going", "finalizers": ["example.org/hold"]}))
    await store.delete(Key("v1", "Namespace", "", "going"))
    with pytest.raises(Conflict):
        await store.create(config(metadata={"name": "two", "namespace": "going"}))


async def test_garbage_is_collected_before_the_delete_returns(store):
    owner = await store.create(config("owner"))
    child = await store.create(
        config("child", metadata=meta(config("child")) | {"ownerReferences": [owner_reference(owner)]})
    )
    reference = owner_reference(child)
    await store.create(config("grandchild", metadata=meta(config("grandchild")) | {"ownerReferences": [reference]}))
    start = store.version()
    await store.delete(key(owner))
    assert await store.list("v1", "ConfigMap") == []
    assert told(store.changes(start)) == [("DELETED", "owner"), ("DELETED", "child"), ("DELETED", "grandchild")]


async def test_owners_that_own_each_other_go_together_in_the_foreground(store):
    one = await store.create(config("one"))
    two = await store.create(config("two", metadata=meta(config("two")) | {"ownerReferences": [owner_reference(one)]}))
    await store.patch(key(one), {"metadata": {"ownerReferences": [owner_reference(two)]}})
    await store.delete(key(one), propagation="Background")
    assert await store.list("v1", "ConfigMap") == []


async def test_an_owner_counts_only_in_its_own_namespace(store):
    owner = await store.create(config("owner"))
    elsewhere = {"name": "child", "namespace": "elsewhere", "ownerReferences": [owner_reference(owner)]}
    await store.create(config(metadata=elsewhere))
    assert await store.list("v1", "ConfigMap", namespace="elsewhere") == []


async def test_times_uids_and_generated_names_are_the_callers_to_choose():
    async def run():
        numbers = itertools.count(1)
        store = SqliteCluster(now=lambda: datetime(2026, 1, 2, tzinfo=UTC), new_uid=lambda: f"uid-{next(numbers)}")
        metadata = {"generateName": "one-", "namespace": "default"}
        made = [await store.create(config(metadata=metadata)) for _ in range(2)]
        store.close()
        return made

    first, again = await run(), await run()
    assert first == again
    assert meta(first[0])["name"] != meta(first[1])["name"]
    assert meta(first[0])["creationTimestamp"] == "2026-01-02T00:00:00Z"
    assert meta(first[0])["uid"].startswith("uid-")


async def test_a_kind_that_another_definition_has_is_not_accepted(store):
    await store.create(definition(GROUP, "Widget", "widgets"))
    await store.create(definition(GROUP, "Widget", "gadgets"))
    second = await store.get(Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"gadgets.{GROUP}"))
    conditions = {one["type"]: (one["status"], one["message"]) for one in second["status"]["conditions"]}
    assert conditions == {
        "NamesAccepted": ("False", '"Widget" is already in use'),
        "Established": ("False", "not all names are accepted"),
    }
    assert (await store.resource(f"{GROUP}/v1", "Widget")).plural == "widgets"


async def test_a_schema_without_defects_is_judged_once_and_one_with_some_each_time(monkeypatch):
    """Tests of Compositions make a store each, with all our kinds in it."""
    judged, judge = [], schema_defects.of

    def counted(openapi, path):
        judged.append(openapi["properties"]["spec"]["pattern"])
        return judge(openapi, path)

    monkeypatch.setattr(schema_defects, "of", counted)
    sound, wrong = definition(GROUP, "Once", "onces"), definition(GROUP, "Wrong", "wrongs")
    for crd, pattern in ((sound, "once"), (wrong, "[")):
        for version in crd["spec"]["versions"]:  # two of one schema
            version["schema"]["openAPIV3Schema"]["properties"]["spec"] = {"type": "string", "pattern": pattern}
    for _ in range(2):
        fresh = SqliteCluster(":memory:")
        await fresh.create(sound)
        with pytest.raises(Rejected, match="pattern"):
            await fresh.create(wrong)
        fresh.close()
    assert (judged.count("once"), judged.count("[")) == (1, 4)


async def test_a_stored_version_must_stay_in_the_definition(store):
    crd = definition(GROUP, "Widget", "widgets")
    await store.apply(crd, manager="us")
    crd["spec"]["versions"] = [crd["spec"]["versions"][1] | {"storage": True}]
    with pytest.raises(Rejected) as raised:
        await store.apply(crd, manager="us")
    assert 'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions' in raised.value.what


async def ruled(store, where, *rules):
    """Widgets with rules for their spec or status, and one of them with a status."""
    crd = definition(GROUP, "Widget", "widgets")
    for version in crd["spec"]["versions"]:
        schema = version["schema"]["openAPIV3Schema"]["properties"]
        schema["status"]["properties"]["count"] = {"type": "integer"}
        schema[where]["x-kubernetes-validations"] = [{"rule": rule} for rule in rules]
    await store.create(crd)
    made = await store.create(widget(spec={"count": 5, "note": "a"}))
    return await store.update(made | {"status": {"count": 5}}, subresource="status")


async def test_a_rule_refuses_a_create_an_update_a_patch_and_an_apply(store):
    live = await ruled(store, "spec", "self.count <= 10", "!has(self.note) || self.note == oldSelf.note")
    wrong = {"count": 11, "note": "a"}
    for write in (
        store.create(widget("two", spec=wrong)),
        store.update(live | {"spec": wrong}),
        store.patch(key(live), {"spec": wrong}),
        store.apply(widget(spec=wrong), manager="us"),
    ):
        with pytest.raises(Rejected, match='spec: Invalid value: "object": failed rule: self.count <= 10'):
            await write
    with pytest.raises(Rejected, match="failed rule: .* == oldSelf.note"):
        await store.update(live | {"spec": {"count": 1, "note": "b"}})
    assert (await store.get(key(live)))["spec"] == {"count": 5, "note": "a", "size": "small"}


async def test_a_rule_compares_a_status_with_the_one_before(store):
    live = await ruled(store, "status", "!has(oldSelf.count) || self.count >= oldSelf.count")
    with pytest.raises(Rejected, match="failed rule: .* self.count >= oldSelf.count"):
        await store.update(live | {"status": {"count": 4}}, subresource="status")
    later = await store.patch(key(live), {"status": {"count": 6}}, subresource="status")
    assert later["status"]["count"] == 6


async def test_a_definition_whose_rule_can_not_be_is_refused(store):
    with pytest.raises(
        Rejected, match=r"properties\[spec\].x-kubernetes-validations\[0\].rule: .*undefined field 'cuont'"
    ):
        await ruled(store, "spec", "self.cuont <= 10")


async def test_a_version_that_is_not_served_names_those_that_are(store):
    await store.create(definition(GROUP, "Widget", "widgets"))
    with pytest.raises(NoSuchKind) as raised:
        await store.resource(f"{GROUP}/v9", "Widget")
    assert str(raised.value) == (
        f'no matches for kind "Widget" in version "{GROUP}/v9". Mend: it is served as {GROUP}/v1, {GROUP}/v1beta1.'
    )


async def test_a_misspelt_kind_is_told_with_that_which_is_meant(store):
    await store.create(definition(GROUP, "Widget", "widgets"))
    with pytest.raises(NoSuchKind, match=r"Mend: did you mean Widget\?$"):
        await store.resource(f"{GROUP}/v1", "Widgit")
    with pytest.raises(NoSuchKind, match="Mend: apply the definition or"):
        await store.resource(f"other.{GROUP}/v1", "Widget")
    with pytest.raises(NoSuchKind, match=r"Mend: did you mean ConfigMap\?$"):
        await store.resource("v1", "ConfgMap")


async def test_a_secrets_data_is_never_told(store):
    for data in ({"password": "hunter2!"}, {"bad key": "aHVudGVyMg=="}):
        with pytest.raises(Rejected) as raised:
            await store.create(config(kind="Secret", data=data))
        assert "hunter2" not in str(raised.value)
        assert "aHVudGVyMg" not in str(raised.value)


async def test_a_definition_is_marked_while_its_objects_hold_it(store):
    await store.create(definition(GROUP, "Widget", "widgets"))
    await store.create(widget(metadata={"finalizers": ["example.org/hold"]}))
    place = Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"widgets.{GROUP}")
    await store.delete(place)
    crd = await store.get(place)
    assert is_deleting(crd)
    assert meta(crd)["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert [one["type"] for one in crd["status"]["conditions"]] == ["NamesAccepted", "Established", "Terminating"]
    with pytest.raises(Conflict):
        await store.create(widget("two"))
    await store.patch(key(widget()), {"metadata": {"finalizers": []}})
    assert await store.get(place) is None


async def test_what_a_kind_controls_is_found_by_the_kind(store):
    await store.apply(definition(GROUP, "Widget", "widgets"), manager="us")
    metadata = {"name": "owner", "namespace": "default"}
    owner = await store.create({"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": metadata})
    for name, controls in (("controlled", True), ("owned", False)):
        metadata = {"name": name, "namespace": "default"}
        metadata["ownerReferences"] = [owner_reference(owner, controller=controls)]
        await store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    assert [meta(obj)["name"] for obj in await store.dependents(GROUP, "Widget")] == ["controlled"]
    assert await store.dependents(GROUP, "Gadget") == []


def test_the_files_are_read_by_their_owner_alone_and_the_folder_stays_as_it_is(path):
    path.parent.chmod(0o755)
    opened = SqliteCluster(path)
    try:
        files = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]
        assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"] * 3
    finally:
        opened.close()
    assert path.parent.stat().st_mode & 0o777 == 0o755


def test_files_that_others_could_read_are_closed_to_them_when_the_store_is_opened(path):
    first = SqliteCluster(path)
    files = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]
    for file in files:
        file.chmod(0o644)
    second = SqliteCluster(path)
    try:
        assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"] * 3
    finally:
        second.close()
        first.close()


@pytest.mark.parametrize("content", [b"a: text\n", None])
def test_what_is_no_store_stays_as_it_is(path, content):
    if content is None:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version=7")
    else:
        path.write_bytes(content)
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(InvalidInput):
        SqliteCluster(path)
    assert (path.stat().st_mode & 0o777, path.read_bytes()) == (0o644, before)


@pytest.mark.parametrize("path", [Path(os.devnull), Path()])
def test_what_is_no_file_is_no_store(path):
    before = path.stat().st_mode
    with pytest.raises(InvalidInput, match="it is no file"):
        SqliteCluster(path)
    assert path.stat().st_mode == before


# --- kinds of Kubernetes that only say something


async def test_what_only_says_something_is_kept_as_a_server_would_take_it(store):
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "team", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "Group", "name": "shop"}],
    }
    made = await store.apply(binding, manager="us")
    assert made["subjects"] == binding["subjects"]
    assert "generation" not in made["metadata"]
    changed = await store.apply(binding | {"subjects": [{"kind": "Group", "name": "other"}]}, manager="us")
    assert changed["subjects"] == [{"kind": "Group", "name": "other"}]
    with pytest.raises(Rejected, match="subject"):
        await store.apply(binding | {"subject": []}, manager="us")
    assert [each["metadata"]["name"] for each in await store.list(binding["apiVersion"], "RoleBinding")] == ["team"]
    await store.delete(key(binding))
    assert await store.get(key(binding)) is None


@pytest.mark.parametrize("how", ["Background", "Foreground", "namespace"])
async def test_what_goes_with_many_others_does_not_read_all_of_them_for_each(store, monkeypatch, how):
    """Else a thousand Objects of a collection, or of a namespace, take minutes."""
    many, read = 60, itertools.count()
    namespace = await store.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}, manager="us"
    )
    owner = await store.create(config("owner"))
    made = [f"part-{index}" for index in range(many)]
    for name in made:
        own = {"name": name, "namespace": "default", "finalizers": ["example.org/wait"]}
        owners = [] if how == "namespace" else [owner_reference(owner)]
        await store.create(config(metadata=own | {"ownerReferences": owners}))
    if how == "namespace":
        await store.delete(Key("v1", "Namespace", "", "default"), uid=meta(namespace)["uid"])
    else:
        await store.delete(Key("v1", "ConfigMap", "default", "owner"), propagation=how)

    def loads(text):
        next(read)
        return json.loads(text)

    reader = SimpleNamespace(loads=loads, dumps=orjson.dumps)
    monkeypatch.setattr("groundplane.cluster.store.orjson", reader)
    for name in made:
        key = Key("v1", "ConfigMap", "default", name)
        assert is_deleting(await store.get(key))
        await store.patch(key, {"metadata": {"finalizers": None}})
    assert next(read) < many * 20
    assert await store.list("v1", "ConfigMap", namespace="default") == []
