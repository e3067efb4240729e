"""`groundplane get` and `delete`: kubectl's columns, names and words."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
import yaml

from groundplane.cli import store, table
from groundplane.cli.belonging import Belonging
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.crds import crds as core_crds
from groundplane.core.objects import Key, key_of, meta
from groundplane.errors import InvalidInput
from tests.cli.platform import CLAIM, COMPOSITION, DEFINITION, groundplane, write
from tests.reconcile import things
from tests.world import World

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OBJECT = {
    "metadata": {"name": "x", "annotations": {"crossplane.io/external-name": "vpc-1"}},
    "spec": {"size": "small", "list": [{"a": 1}, {"a": 2}], "on": True, "many": {"b": 1, "a": 2}},
    "status": {"conditions": [{"type": "Synced", "status": "True"}, {"type": "Ready", "status": "False"}]},
}


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """A store in which a claim has become ready, with a Secret beside it."""
    folder = tmp_path_factory.mktemp("get")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "team"},
        "data": {"password": base64.b64encode(b"hunter2").decode()},
    }
    manifests = write(folder / "m", a=DEFINITION, b=COMPOSITION, c=CLAIM, d=yaml.safe_dump(secret))
    path = folder / "x.db"
    done = groundplane("up", manifests, "--db", path, "--once", "--timeout", 60)
    assert done.exit_code == 0, done.output
    return path


@pytest.mark.parametrize(
    "path, found",
    [
        (".spec.size", ["small"]),
        ("{.spec.size}", ["small"]),
        (".metadata.annotations.crossplane\\.io/external-name", ["vpc-1"]),
        (".metadata.annotations['crossplane.io/external-name']", ["vpc-1"]),
        (".status.conditions[?(@.type=='Ready')].status", ["False"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["False"]),
        (".status.conditions[?(@.type!='Ready')].status", ["True"]),
        (".status.conditions[?(@.type=='None')].status", []),
        (".spec.list[1].a", [2]),
        (".spec.list[-1].a", [2]),
        (".spec.list[5].a", []),
        (".spec.list[*].a", [1, 2]),
        (".spec.size.deeper", []),
        (".nothing", []),
    ],
)
def test_a_column_path_finds(path, found):
    assert table.look_up(path, OBJECT) == found


def test_a_column_path_beyond_the_subset_is_an_error():
    with pytest.raises(InvalidInput, match="no JSONPath"):
        table.look_up(".spec.list[?(@.a>1)]", OBJECT)


@pytest.mark.parametrize(
    "column, cell",
    [
        (store.Column("A", ".spec.on", "boolean"), "true"),
        (store.Column("A", ".spec.size", "integer"), ""),
        (store.Column("A", ".spec.many"), '{"a":2,"b":1}'),
        (store.Column("A", ".status.none"), ""),
        (store.Column("A", ".spec.size", "date"), "<invalid>"),
    ],
)
def test_a_cell_is_printed_as_the_api_server_does(column, cell):
    kind = store.Served("a/v1", "A", "as", "a", False, columns=(column,))
    assert table.row(kind, OBJECT, wide=False, namespaces=False, prefix=False, now=NOW) == ["x", cell]


def test_the_table_has_the_definitions_columns_and_then_crossplanes(db):
    lines = groundplane("get", "notes", "-n", "team", "--db", db).output.splitlines()
    assert lines[0].split() == ["NAME", "TEXT", "SYNCED", "READY", "CONNECTION-SECRET", "AGE"]
    assert lines[1].split()[:4] == ["first", "hello", "True", "True"]
    assert lines[0].index("TEXT") == lines[1].index("hello")


def test_wide_shows_the_columns_of_lower_priority(db):
    lines = groundplane("get", "note", "first", "-n", "team", "-o", "wide", "--db", db).output.splitlines()
    assert lines[0].split()[:3] == ["NAME", "TEXT", "LENGTH"]
    assert lines[1].split()[:3] == ["first", "hello", "5"]


@pytest.mark.parametrize(
    "word", ["notes", "note", "Note", "nt", "notes.tests.example.com", "notes.v1.tests.example.com", "claim"]
)
def test_a_kind_goes_by_each_of_its_names(db, word):
    assert groundplane("get", word, "-n", "team", "-o", "name", "--db", db).output == "note.tests.example.com/first\n"


def test_several_kinds_have_a_table_each_with_prefixed_names(db):
    output = groundplane("get", "notes,configmaps", "-A", "--db", db).output
    first, second = output.strip().split("\n\n")[:2]
    assert "note.tests.example.com/first" in output
    assert "configmap/first-" in output
    assert first.split()[0] == second.split()[0] == "NAMESPACE"


def test_a_misspelt_kind_gets_the_nearest(db):
    done = groundplane("get", "ntes", "--db", db)
    assert done.exit_code == 1
    assert "did you mean notes?" in done.output


def test_what_is_not_there_is_an_error_with_kubectls_words(db):
    done = groundplane("get", "note", "second", "-n", "team", "--db", db)
    assert done.exit_code == 1
    assert 'notes.tests.example.com "second" not found' in done.output


def test_an_empty_namespace_is_no_error(db):
    done = groundplane("get", "notes", "-n", "nobody", "--db", db)
    assert (done.exit_code, done.output) == (0, "No resources found in nobody namespace.\n")


@pytest.mark.parametrize(
    "selector, count", [("tier=gold", 1), ("tier!=gold", 0), ("tier", 1), ("!tier", 0), ("tier=gold,x", 0)]
)
def test_labels_select(db, selector, count):
    output = groundplane("get", "notes", "-A", "-l", selector, "-o", "name", "--db", db).stdout
    assert len(output.splitlines()) == count


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_secrets_are_masked_unless_asked_for(db, form):
    masked = groundplane("get", "secret", "keys", "-n", "team", "-o", form, "--db", db).output
    read = yaml.safe_load(masked) if form == "yaml" else json.loads(masked)
    assert read["data"] == {"password": "********"}
    shown = groundplane("get", "secret", "keys", "-n", "team", "-o", form, "--show-secrets", "--db", db).output
    assert base64.b64encode(b"hunter2").decode() in shown


def test_yaml_can_be_applied_again(db, tmp_path):
    text = groundplane("get", "notes", "-A", "-o", "yaml", "--db", db).output
    (note,) = yaml.safe_load(text)["items"]
    assert note["spec"]["text"] == "hello"
    assert "managedFields" not in note["metadata"]


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    done = groundplane("get", "notes", "--db", tmp_path / "none.db")
    assert done.exit_code == 1
    assert "there is no store" in done.output
    assert not (tmp_path / "none.db").exists()


async def test_every_served_kind_has_its_row_in_the_all_category_or_a_name(db):
    cluster = SqliteCluster(db)
    known = await store.served(cluster)
    cluster.close()
    assert {kind.kind for kind in store.find("claim,composite", known)} == {"Note", "XNote"}
    assert "VPC" in {kind.kind for kind in store.find("managed", known)}
    assert {kind.kind for kind in store.find("all", known)} >= {"Note", "XNote", "VPC"}


def test_delete_says_what_is_left_to_a_control_plane(tmp_path):
    folder = write(tmp_path / "m", a=DEFINITION, b=COMPOSITION, c=CLAIM)
    db = tmp_path / "x.db"
    assert groundplane("up", folder, "--db", db, "--once", "--timeout", 60).exit_code == 0
    done = groundplane("delete", "note", "first", "-n", "team", "--db", db)
    assert done.exit_code == 0
    assert 'note.tests.example.com "first" deleted' in done.output
    assert "c.yaml: groundplane up makes it again when" in done.output
    assert "marked, and gone once" in done.output, "its finalizer waits for a control plane, which does not run"
    again = groundplane("delete", "note", "second", "-n", "team", "--db", db)
    assert again.exit_code == 1
    assert "not found" in again.output
    assert groundplane("delete", "note", "second", "-n", "team", "--ignore-not-found", "--db", db).exit_code == 0


async def test_what_is_waited_for_goes_from_the_claim_down_to_the_secrets_and_ends_where_something_was_let_go():
    world = World()
    for manifest in [*core_crds(), *things.composed_crds()]:
        await world.cluster.apply(manifest, manager="test")
    await world.apply(things.XRD, things.COMPOSITION)
    await world.settle()
    await world.apply(things.THING)
    await world.settle()
    claim, secret = things.CLAIM, Key("v1", "Secret", things.CLAIM.namespace, "conn")
    await things.all_ready(world)
    alpha = await world.one(things.COMPOSED, "Alpha")
    source = await world.one("v1", "Secret", namespace="crossplane-system")
    hold = {"metadata": {"finalizers": ["tests.example.com/hold"]}}
    for held in (key_of(alpha), secret, key_of(source)):
        await world.patch(held, hold)
    belonging = Belonging(world.cluster)
    await belonging.add(claim)
    composite = key_of(await world.one(things.VERSION, "XThing"))
    beta, gamma = [key_of(await world.one(things.COMPOSED, kind)) for kind in ("Beta", "Gamma")]
    assert await belonging.left() == sorted([claim, composite, key_of(alpha), beta, gamma, secret, key_of(source)])
    await world.cluster.delete(claim)
    await world.settle()
    waits = sorted([composite, key_of(alpha), secret, key_of(source)])
    assert await belonging.left() == waits, (
        "held, each by its finalizer; the composite waits for what it is composed of"
    )
    await world.patch(key_of(alpha), {"metadata": {"finalizers": None}})
    await world.settle()
    assert await belonging.left() == sorted([secret, key_of(source)])
    for held in (secret, key_of(source)):
        await world.patch(held, {"metadata": {"finalizers": None}})
    await world.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "conn", "namespace": claim.namespace}}
    )
    assert await belonging.left() == [], "a Secret that somebody made anew is waited for"


async def test_what_is_orphaned_on_purpose_is_not_waited_for():
    cluster = SqliteCluster(":memory:")
    owner = await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "x"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": meta(owner)["uid"]}
    owned = {"name": "b", "namespace": "x", "ownerReferences": [reference]}
    await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned})
    belonging = Belonging(cluster)
    await belonging.add(key_of(owner))
    assert [key.name for key in await belonging.left()] == ["a", "b"]
    await cluster.delete(key_of(owner), propagation="Orphan")
    assert await belonging.left() == []
    cluster.close()


def test_delete_names_what_it_has_waited_for_in_vain(tmp_path):
    folder = write(tmp_path / "m", a=DEFINITION, b=COMPOSITION, c=CLAIM)
    db = str(tmp_path / "x.db")
    assert groundplane("up", folder, "--db", db, "--once", "--timeout", 60).exit_code == 0
    done = groundplane("delete", "note", "first", "-n", "team", "--wait", "--timeout", 0.1, "--db", db)
    assert done.exit_code == 1
    told = done.output.splitlines()[-1]
    assert (done.output.count("waiting for"), done.output.count("marked, and gone")) == (1, 0), done.output
    assert ", 0 seconds at most (--timeout); they go once a" in done.output
    assert f"; they go once a control plane cleans up: groundplane up --db {db}" in done.output
    assert all(
        part in told
        for part in ("still there after 0 seconds: ", "ConfigMap team/first-", "Note team/first", "XNote first-")
    )


def test_delete_takes_what_a_file_names(tmp_path):
    folder = write(tmp_path / "m", a="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    db = tmp_path / "x.db"
    assert groundplane("up", folder, "--db", db, "--once").exit_code == 0
    assert 'configmap "a" deleted' in groundplane("delete", "-f", folder, "--db", db).output
    assert groundplane("get", "cm", "a", "--db", db).exit_code == 1
