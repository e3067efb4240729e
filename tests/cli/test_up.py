"""`groundplane up`: what is in files gets into the store, follows their edits, and leaves with them."""

from __future__ import annotations

import json
import os
import re
import textwrap

import pytest

from groundplane.cli import store
from groundplane.cli.follow import INVENTORY, WRITING, Applier, Source
from groundplane.cli.prune import SETTLED
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import usages
from groundplane.core.crds import protection
from groundplane.core.objects import Key, meta
from groundplane.errors import InvalidInput
from tests.cli.platform import BROKEN, CLAIM, COMPOSITION, DEFINITION, groundplane, write
from tests.contracts.conftest import definition


def config(name: str, text: str = "a", namespace: str = "") -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{place}}}\ndata: {{text: {text}}}\n"


class Followed:
    """A folder, a store, a clock, and what was told; `round` is one look at the folder."""

    def __init__(self, folder, **how):
        self.folder, self.cluster, self.told = folder, SqliteCluster(":memory:"), []
        self.clock = 1000.0
        folder.mkdir(exist_ok=True)
        self.how = how
        self.start()

    def start(self, **how):
        """As a process that has just begun, on the same store."""
        source = Source([str(self.folder)], recursive=True, now=lambda: self.clock)
        self.applier = Applier(self.cluster, source, tell=self.told.append, **self.how | how)

    def write(self, name, text):
        path = self.folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        moment = path.stat().st_mtime_ns + 10_000_000 * (len(self.told) + 1)  # a later edit, however fast the test
        os.utime(path, ns=(moment, moment))

    def remove(self, name):
        (self.folder / f"{name}.yaml").unlink()

    async def round(self):
        await self.applier.round()
        return self

    async def settle(self):
        """Look, and look again when what is seen has been so for long enough."""
        for _ in range(3):
            await self.applier.round()
            self.clock += max(WRITING, SETTLED)
        await self.applier.round()

    async def texts(self, *names):
        return [await self.text(name) for name in names]

    async def text(self, name, namespace="default"):
        found = await self.cluster.get(Key("v1", "ConfigMap", namespace, name))
        return found and found["data"]["text"]


@pytest.fixture
def followed(tmp_path):
    made = []

    def make(**how):
        made.append(Followed(tmp_path / "manifests", **how))
        return made[-1]

    yield make
    for each in made:
        each.cluster.close()


async def test_an_edit_is_followed_and_nothing_else_is_written(followed):
    world = followed()
    world.write("a", config("a"))
    world.write("b", config("b"))
    await world.round()
    version = world.cluster.version()
    await world.round()
    assert world.cluster.version() == version
    world.write("a", config("a", "new"))
    await world.round()
    assert (await world.text("a"), await world.text("b")) == ("new", "a")


async def test_a_file_that_cannot_be_read_changes_nothing_and_is_told_with_its_line(followed):
    world = followed(prune=True)
    world.write("a", config("a"))
    await world.round()
    world.write("a", config("a", "new") + "---\nkind: [\n")
    await world.round()
    assert await world.text("a") == "a"
    assert [text for text in world.told if "a.yaml:" in text and "Mend" in text]
    world.start()
    await world.settle()
    assert await world.text("a") == "a", "pruned, though nobody can tell what the file holds"


@pytest.mark.parametrize(
    ("broken", "accepted"),
    [
        ("kind: [", "a.yaml is accepted again"),
        (
            config("a").replace("name: a", "name: a, labels: {'?': b}"),
            "ConfigMap default/a is accepted again, as it was",
        ),
        (f"# twice\n{config('a')}---\n{config('a', 'other')}", "ConfigMap a is accepted again"),
    ],
    ids=["no YAML", "refused", "given twice"],
)
async def test_a_file_that_is_mended_back_to_what_was_applied_is_said_to_be_accepted_again(followed, broken, accepted):
    world = followed()
    for text in (config("a"), broken, config("a")):
        world.write("a", text)
        await world.settle()
    created, problem, last = world.told
    assert "created" in created
    assert "Mend: " in problem or "refused" in problem
    assert accepted in last


def things(field):
    """A kind whose schema knows the field `known`, and one more."""
    found = definition("tests.example.com", "Thing", "things")
    spec = {"type": "object", "properties": {"known": {"type": "string"}, field: {"type": "string"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    found["spec"]["versions"] = [found["spec"]["versions"][0] | {"schema": schema}]
    return found


async def test_a_change_of_kinds_applies_again_what_is_there_and_never_what_was_deleted_by_hand(followed):
    world = followed()
    await world.cluster.create(things("old"))
    fields = {"stays": "known", "refused": "new", "gone": "known", "leaving": "known"}
    stays, _, gone, leaving = keys = [Key("tests.example.com/v1", "Thing", "default", name) for name in fields]
    for key, field in zip(keys, fields.values(), strict=True):
        thing = {"apiVersion": key.api_version, "kind": key.kind, "metadata": {"name": key.name}, "spec": {field: "a"}}
        world.write(key.name, json.dumps(thing))
    world.write("a", config("a"))
    await world.round()
    await world.cluster.patch(stays, {"spec": {"known": "b"}})
    await world.cluster.patch(leaving, {"metadata": {"finalizers": ["tests.example.com/held"]}})
    await world.cluster.delete(Key("v1", "ConfigMap", "default", "a"))
    await world.cluster.delete(gone)
    await world.cluster.delete(leaving)
    await world.cluster.apply(things("new"), manager="tests")
    await world.round()
    await world.cluster.patch(leaving, {"metadata": {"finalizers": None}})
    await world.cluster.create(definition("tests.example.com", "Other", "others"))
    await world.round()
    await world.cluster.delete(
        Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "others.tests.example.com")
    )
    await world.round()
    found = [await world.cluster.get(key) for key in keys]
    assert [each and each["spec"] for each in found] == [{"known": "a"}, {"new": "a"}, None, None]
    assert await world.text("a") is None
    world.write("a", config("a", "edited"))
    await world.round()
    assert await world.text("a") == "edited"


async def test_what_went_with_its_kind_comes_again_with_it(followed):
    world = followed()
    await world.cluster.create(things("new"))
    thing = Key("tests.example.com/v1", "Thing", "default", "a")
    world.write("a", "apiVersion: tests.example.com/v1\nkind: Thing\nmetadata: {name: a}\n")
    await world.round()
    await world.cluster.delete(
        Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "things.tests.example.com")
    )
    await world.round()
    await world.cluster.create(things("new"))
    await world.round()
    assert await world.cluster.get(thing)


async def test_what_left_the_folder_is_pruned_also_after_a_restart(followed):
    world = followed(prune=True)
    world.write("a", config("a"))
    world.write("b", config("b"))
    await world.round()
    world.remove("b")
    world.start()
    await world.settle()
    assert (await world.text("a"), await world.text("b")) == ("a", None)


@pytest.mark.parametrize("loss", ["renamed", "emptied", "a file", "no folder"])
async def test_a_path_that_vanishes_or_is_empty_stops_pruning_and_says_so(followed, loss):
    world = followed(prune=True)
    for name in "ab":
        world.write(name, config(name))
    await world.round()
    away = world.folder.with_name("away")
    world.folder.rename(away)
    if loss == "emptied":
        world.folder.mkdir()
    elif loss == "a file":
        world.folder.write_text("")
    told = len(world.told)
    await world.settle()
    if loss == "no folder":
        world.start()  # a process that never saw the files
        await world.settle()
    assert (await world.text("a"), await world.text("b")) == ("a", "a")
    assert len([text for text in world.told[told:] if str(world.folder) in text and "Mend" in text]) >= 1
    if world.folder.is_dir():
        world.folder.rmdir()
    elif world.folder.exists():
        world.folder.unlink()
    away.rename(world.folder)
    world.remove("b")
    await world.settle()
    assert (await world.text("a"), await world.text("b")) == ("a", None), "pruning did not go on"


async def test_a_file_without_manifests_or_a_link_to_nowhere_prunes_nothing(followed, tmp_path):
    world = followed(prune=True)
    for name in ("a", "b", "c"):
        world.write(name, config(name))
    (tmp_path / "far.yaml").write_text(config("far"))
    (world.folder / "link.yaml").symlink_to(tmp_path / "far.yaml")
    await world.round()
    (tmp_path / "far.yaml").unlink()
    await world.settle()
    (world.folder / "link.yaml").unlink()
    (tmp_path / "far.yaml").write_text(config("far"))
    (world.folder / "link.yaml").symlink_to(tmp_path / "far.yaml")
    world.write("b", "")
    world.write("c", "# all of it: later\n")
    await world.settle()
    world.start()
    await world.settle()
    assert await world.texts("a", "b", "c", "far") == ["a", "a", "a", "a"]
    assert [text for text in world.told if "b.yaml holds no manifests any more" in text and "remove the file" in text]
    for name in ("link", "b", "c"):
        world.remove(name)
    await world.settle()
    assert await world.texts("a", "b", "c", "far") == ["a", None, None, None]


async def test_what_is_gone_for_less_than_a_few_seconds_stays(followed):
    world = followed(prune=True)
    world.write("a", config("a"))
    world.write("b", config("b"))
    await world.round()
    for _ in range(3):
        world.remove("b")
        await world.round()
        world.clock += SETTLED * 0.9
        await world.round()
        assert world.applier.parting
        world.write("b", config("b"))
        await world.round()
    assert await world.texts("a", "b") == ["a", "a"]
    world.remove("b")
    await world.round()
    world.clock += SETTLED
    await world.round()
    assert await world.texts("a", "b") == ["a", None]


async def test_a_file_that_ends_earlier_is_taken_as_it_is_only_once_it_has_been_so_for_a_while(followed):
    world = followed(prune=True)
    whole = config("a") + "---\n" + config("b").replace("{text: a}", "\n  text: a\n  more: x")
    world.write("m", whole)
    await world.round()
    for end in (0, len(config("a")), whole.index("  more")):
        world.write("m", whole[:end])
        await world.round()
        world.clock += WRITING * 0.9
        await world.round()
        assert [text for text in world.told if "m.yaml ends earlier than before" in text]
        world.write("m", whole)
        await world.round()
        world.clock += SETTLED
        await world.round()
        assert not world.applier.problems
        assert (await world.cluster.get(Key("v1", "ConfigMap", "default", "b")))["data"] == {"text": "a", "more": "x"}
    world.write("m", config("a"))
    await world.settle()
    assert await world.texts("a", "b") == ["a", None]


@pytest.mark.parametrize("loss", ["gone", "empty"])
async def test_a_sub_folder_that_loses_everything_keeps_it_and_says_so_until_it_is_said_that_it_is_meant(
    followed, loss
):
    world = followed(prune=True)
    for name in ("a", "team/b", "team/c"):
        world.write(name, config(name.rpartition("/")[2]))
    await world.round()
    team = world.folder / "team"
    away = world.folder.with_name("away")
    team.rename(away)
    if loss == "empty":
        team.mkdir()
    await world.settle()
    world.start()
    await world.settle()
    assert await world.texts("a", "b", "c") == ["a", "a", "a"]
    assert [text for text in world.told if f"{team} holds no manifests any more" in text and "--prune-folders" in text]
    if loss == "empty":
        team.rmdir()
    away.rename(team)
    await world.settle()
    assert not world.applier.unpruned
    world.remove("team/c")
    await world.settle()
    assert await world.texts("a", "b", "c") == ["a", "a", None]
    world.remove("team/b")
    await world.settle()
    assert await world.texts("a", "b") == ["a", "a"]
    world.start(prune_folders=True)
    await world.settle()
    assert await world.texts("a", "b") == ["a", None]


async def test_what_moved_to_another_folder_is_looked_for_there(followed):
    world = followed(prune=True)
    for name in ("a", "old/b", "old/c"):
        world.write(name, config(name.rpartition("/")[2]))
    await world.round()
    (world.folder / "old").rename(world.folder / "new")
    await world.settle()
    assert not world.applier.unpruned
    world.remove("new/b")
    await world.settle()
    assert await world.texts("a", "b", "c") == ["a", None, "a"]


async def test_folders_are_pruned_only_as_it_starts(followed):
    world = followed(prune_folders=True)
    for name in ("a", "team/b"):
        world.write(name, config(name.rpartition("/")[2]))
    await world.settle()
    world.remove("team/b")
    await world.settle()
    assert await world.texts("a", "b") == ["a", "a"]


async def test_what_left_while_a_usage_protects_it_stays_until_the_usage_is_gone(followed):
    world = followed(prune=True)
    for crd in protection.crds():
        await world.cluster.apply(crd, manager="test")
    world.write("a", config("a"))
    world.write("b", config("b"))
    await world.round()
    place = Key("v1", "ConfigMap", "default", "a")
    await world.cluster.patch(place, {"metadata": {"labels": {usages.IN_USE: "true"}}})
    usage = Key(usages.PROTECTION_VERSION, "Usage", "default", "u")
    used = {"apiVersion": "v1", "kind": "ConfigMap", "resourceRef": {"name": "a"}}
    metadata = {"name": usage.name, "namespace": usage.namespace}
    spec = {"of": used, "reason": "needed"}
    await world.cluster.create(
        {"apiVersion": usage.api_version, "kind": usage.kind, "metadata": metadata, "spec": spec}
    )
    world.remove("a")
    await world.settle()
    assert await world.text("a") == "a"
    [told] = world.applier.unpruned
    assert "in-use by 1 usage(s)" in told
    await world.cluster.delete(usage)
    await world.settle()
    assert await world.texts("a", "b") == [None, "a"]
    assert not world.applier.unpruned


async def test_without_prune_nothing_is_deleted(followed):
    world = followed()
    world.write("a", config("a"))
    await world.round()
    world.remove("a")
    await world.settle()
    assert await world.text("a") == "a"


async def test_what_others_applied_is_never_pruned(followed, tmp_path):
    world = followed(prune=True)
    world.write("a", config("a"))
    await world.round()
    await world.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "theirs", "namespace": "default"},
            "data": {"text": "x"},
        },
        manager="somebody",
    )
    other = tmp_path / "other"
    write(other, c=config("c"))
    world.applier = Applier(
        world.cluster, Source([str(other)], now=lambda: world.clock), tell=world.told.append, prune=True
    )
    await world.settle()
    assert [await world.text(name) for name in ("a", "theirs", "c")] == ["a", "x", "a"]


async def test_what_was_made_anew_by_somebody_else_is_never_pruned(followed):
    world = followed(prune=True)
    world.write("a", config("a"))
    world.write("b", config("b"))
    await world.round()
    key = Key("v1", "ConfigMap", "default", "a")
    await world.cluster.delete(key)
    await world.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "default"},
            "data": {"text": "theirs"},
        },
        manager="somebody",
    )
    world.remove("a")
    await world.settle()
    assert await world.text("a") == "theirs"


async def test_a_namespace_is_added_only_where_none_is_written(followed):
    world = followed(namespace="team")
    world.write("a", config("a"))
    world.write("b", config("b", namespace="elsewhere"))
    await world.round()
    assert (await world.text("a", "team"), await world.text("b", "elsewhere")) == ("a", "a")


async def test_an_object_that_is_given_twice_is_told(followed):
    world = followed()
    world.write("a", config("a"))
    world.write("b", config("a", "other"))
    await world.round()
    assert await world.text("a") == "a"
    assert any("b.yaml:1: ConfigMap a is given at" in text for text in world.told)


async def test_the_inventory_says_where_each_object_came_from(followed):
    world = followed()
    world.write("a", config("a"))
    await world.round()
    inventory = await world.cluster.get(INVENTORY)
    assert str(world.folder / "a.yaml") in inventory["data"]["objects"]


def test_once_waits_until_all_is_ready_in_whatever_order(tmp_path):
    folder = write(tmp_path / "m", a=CLAIM, b=COMPOSITION, c=DEFINITION)
    done = groundplane("up", folder, "--db", tmp_path / "x.db", "--once")
    assert done.exit_code == 0, done.output
    assert "Note team/first is ready" in done.output
    got = groundplane("get", "configmaps", "-n", "team", "-o", "yaml", "--db", tmp_path / "x.db")
    assert "text: hello" in got.output


def test_once_says_what_is_not_ready_and_why(tmp_path, monkeypatch):
    monkeypatch.setattr("groundplane.cli.up.GRACE", 0.5)
    folder = write(tmp_path / "m", a=CLAIM, b=BROKEN, c=DEFINITION)
    done = groundplane("up", folder, "--db", tmp_path / "x.db", "--once")
    assert done.exit_code == 1
    assert "Note team/first is not ready" in done.output
    assert 'no entry for "hello" in the map' in done.output


def test_once_fails_for_what_the_schema_refuses_and_names_file_and_field(tmp_path, monkeypatch):
    """It needs an edit: nothing is waited for."""
    monkeypatch.setattr("groundplane.cli.up.GRACE", 1000.0)
    folder = write(tmp_path / "m", a=CLAIM.replace("hello", "x" * 21), b=COMPOSITION, c=DEFINITION)
    done = groundplane("up", folder, "--db", tmp_path / "x.db", "--once")
    assert done.exit_code == 1
    assert "a.yaml:2: Note team/first is refused" in done.output
    assert "spec.text" in done.output
    assert done.output.endswith("settled, but not ready\n")


DEAD = """
apiVersion: v1
kind: Secret
metadata: {name: admin, namespace: team}
stringData: {endpoint: 127.0.0.1, port: "1", username: boss, password: hush}
---
apiVersion: postgresql.sql.crossplane.io/v1alpha1
kind: ProviderConfig
metadata: {name: default}
spec: {sslMode: disable, credentials: {source: PostgreSQLConnectionSecret, connectionSecretRef: {name: admin, namespace: team}}}
---
apiVersion: postgresql.sql.crossplane.io/v1alpha1
kind: Role
metadata: {name: app}
spec: {forProvider: {}}
"""


def test_once_says_what_would_be_tried_again_by_itself_and_when(tmp_path, monkeypatch):
    monkeypatch.setattr("groundplane.cli.up.GRACE", 0.5)
    monkeypatch.setattr("groundplane.core.health.TRIES", 1)
    monkeypatch.setattr("groundplane.core.health.PATIENCE", 0.0)
    done = groundplane("up", write(tmp_path / "m", a=DEAD), "--db", tmp_path / "x.db", "--once")
    assert done.exit_code == 1
    last = done.output.splitlines()[-1]
    assert re.search(r"Role app would be tried again in \d+ seconds\. Mend: run it again, or without --once\.$", last)
    assert "127.0.0.1 does not answer" in done.output


def test_once_says_meanwhile_what_it_waits_for_and_each_once(tmp_path, monkeypatch):
    monkeypatch.setattr("groundplane.cli.up.GRACE", 0.0)
    done = groundplane("up", write(tmp_path / "m", a=DEAD), "--db", tmp_path / "x.db", "--once", "--timeout", "1.0")
    assert done.output.endswith("not ready after 1 seconds\n")
    waited = [line for line in done.output.splitlines() if line.startswith("waiting: Role app is not ready")]
    assert waited
    assert len(waited) == len(set(waited))


async def test_what_the_schema_refuses_is_told_with_what_to_write_instead(followed):
    world = followed()
    crd = definition("a.example.org", "Note", "notes")
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
        "type": "object",
        "properties": {"size": {"type": "string", "enum": ["small", "large"]}, "count": {"type": "integer"}},
    }
    world.write("crd", json.dumps(crd))
    for name, spec in {"a": "sise: small", "b": "size: smal", "c": 'count: "3"', "d": "size: 3, count: true"}.items():
        world.write(name, f"{{apiVersion: a.example.org/v1, kind: Note, metadata: {{name: {name}}}, spec: {{{spec}}}}}")
    await world.settle()
    mends = {text.split("Note default/")[1][0]: text.split(" Mend: ")[1] for text in world.told if "refused" in text}
    assert mends == {
        "a": "did you mean size?",
        "b": "did you mean small?",
        "c": "write an integer, without quotes.",
        "d": "spec.count: write an integer; spec.size: use one of: large, small.",
    }


def ruled(rule):
    """The definition with a rule for its spec."""
    length = "length: {type: integer}}"
    return DEFINITION.replace(length, f'{length}\n            x-kubernetes-validations: [{{rule: "{rule}"}}]')


def test_once_fails_for_what_a_rule_refuses_and_names_file_and_rule(tmp_path, monkeypatch):
    monkeypatch.setattr("groundplane.cli.up.GRACE", 0.5)
    folder = write(
        tmp_path / "m", a=CLAIM.replace("length: 5", "length: 11"), b=COMPOSITION, c=ruled("self.length <= 10")
    )
    done = groundplane("up", folder, "--db", tmp_path / "x.db", "--once")
    assert done.exit_code == 1
    assert "a.yaml:2: Note team/first is refused" in done.output
    assert 'spec: Invalid value: "object": failed rule: self.length <= 10' in done.output


def test_once_says_which_rule_of_a_definition_can_not_be(tmp_path, monkeypatch):
    monkeypatch.setattr("groundplane.cli.up.GRACE", 0.5)
    folder = write(tmp_path / "m", c=ruled("self.lenght <= 10"))
    done = groundplane("up", folder, "--db", tmp_path / "x.db", "--once")
    assert done.exit_code == 1
    assert "CompositeResourceDefinition xnotes.tests.example.com" in done.output
    assert "undefined field 'lenght'" in done.output


async def test_a_rule_that_can_not_be_checked_is_told_once(followed):
    world = followed()
    crd = definition("tests.example.com", "Widget", "widgets")
    for version in crd["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["x-kubernetes-validations"] = [{"rule": "[self.note].distinct() == [self.note]"}]
    world.write("crd", json.dumps(crd))
    for name in ("a", "b"):
        widget = {
            "apiVersion": "tests.example.com/v1",
            "kind": "Widget",
            "metadata": {"name": name},
            "spec": {"note": "x"},
        }
        world.write(name, json.dumps(widget))
    await world.round()
    await world.round()
    assert await world.cluster.get(Key("tests.example.com/v1", "Widget", "default", "b"))
    (warning,) = [line for line in world.told if line.startswith("Warning: ")]
    assert "widgets.tests.example.com: spec: rule [self.note].distinct() == [self.note] was not checked" in warning


def test_once_applies_nothing_while_a_file_is_broken(tmp_path):
    folder = write(tmp_path / "m", a="kind: [", b=config("b"))
    done = groundplane("up", folder, "--db", tmp_path / "x.db", "--once")
    assert done.exit_code == 1
    assert "a.yaml:" in done.output
    assert "No resources" in groundplane("get", "configmaps", "--db", tmp_path / "x.db").output


def test_once_with_prune_waits_until_the_claim_is_gone(tmp_path):
    folder = write(tmp_path / "m", a=CLAIM, b=COMPOSITION, c=DEFINITION)
    assert groundplane("up", folder, "--db", tmp_path / "x.db", "--once").exit_code == 0
    (folder / "a.yaml").unlink()
    done = groundplane("up", folder, "--db", tmp_path / "x.db", "--once", "--prune")
    assert done.exit_code == 0, done.output
    assert "Note team/first deleted" in done.output
    left = groundplane("get", "notes,xnotes", "-A", "--db", tmp_path / "x.db")
    assert "No resources found" in left.output


def test_a_path_that_is_not_there_is_told_before_anything_starts(tmp_path):
    done = groundplane("up", tmp_path / "nowhere", "--db", tmp_path / "x.db")
    assert done.exit_code == 1
    assert "there is no file or folder" in done.output
    assert not (tmp_path / "x.db").exists()


def test_one_store_has_one_control_plane(tmp_path):
    db = str(tmp_path / "x.db")
    with store.locked(db):
        assert store.is_running(db)
        with pytest.raises(InvalidInput, match=f"process {os.getpid()}"), store.locked(db):
            pass
    assert not store.is_running(db)


def test_a_list_counts_each_item_and_a_key_given_twice_is_an_error(tmp_path):
    from groundplane.cli import manifests

    text = textwrap.dedent("""
        apiVersion: v1
        kind: List
        items:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}
    """)
    assert [meta(m.object)["name"] for m in manifests.parse(text, "x")] == ["a", "b"]
    with pytest.raises(InvalidInput, match='x:3: "name" is given twice'):
        manifests.parse("metadata:\n  name: a\n  name: b", "x")


def test_a_nopresource_of_v04_becomes_ready_without_any_cloud(tmp_path):
    manifest = tmp_path / "nop.yaml"
    manifest.write_text(
        textwrap.dedent(
            """\
            apiVersion: nop.crossplane.io/v1alpha1
            kind: NopResource
            metadata: {name: some}
            spec:
              forProvider:
                conditionAfter:
                - {time: 0s, conditionType: Ready, conditionStatus: "True"}
            """
        )
    )
    run = groundplane("up", "--db", tmp_path / "gp.db", "--once", "--nop-scope", "cluster", manifest)
    assert run.exit_code == 0, run.output
    assert "NopResource some" in run.output


@pytest.mark.parametrize("group", ["test.crossplane.io", "meta.dev.upbound.io"])
async def test_tests_of_compositions_are_passed_over_and_that_is_told_once(followed, group):
    """They lie beside what they test; for their kind no definition would ever come."""
    world = followed()
    world.write("a", config("a"))
    world.write("test", f"apiVersion: {group}/v1alpha1\nkind: CompositionTest\nmetadata: {{name: a}}\n")
    await world.round()
    await world.round()
    world.remove("test")
    await world.round()
    words = "Tests of compositions are passed over: 1; groundplane test runs them"
    assert [each for each in world.told if "passed over" in each] == [words]
    assert await world.text("a") == "a"
    assert not world.applier.waiting
