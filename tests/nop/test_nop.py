"""NopResources say of themselves what their spec has them say, exactly when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from groundplane.core import conditions
from groundplane.core.conditions import find
from groundplane.core.objects import Key, annotations_of, key_of, meta
from groundplane.nop import kinds
from groundplane.nop.cloud import NopCloud, due
from groundplane.ports import Options
from groundplane.runtime.clouds import Clouds
from groundplane.runtime.crds import brought
from tests.world import Clock, World


def entry(time, type_="Ready", status="True", reason=None):
    found = {"time": time, "conditionType": type_, "conditionStatus": status}
    return found | ({"conditionReason": reason} if reason else {})


def nop(name="a", kind="NopResource", spec=None, **for_provider):
    place = {"namespace": "shop"} if kind == "NopResource" else {}
    return {
        "apiVersion": kinds.API_VERSION,
        "kind": kind,
        "metadata": {"name": name, **place},
        "spec": {"forProvider": for_provider, **(spec or {})},
    }


async def the_world():
    clock = Clock()
    return await World(
        Clouds({"nop": lambda: NopCloud(clock)}), clock=clock, options=Options(poll_interval=600.0)
    ).install()


async def seen(world, manifest):
    return await world.cluster.get(key_of(manifest))


def told(obj):
    return {each["type"]: (each["status"], each["reason"]) for each in obj["status"]["conditions"]}


@pytest.mark.parametrize(
    ("entries", "age", "wanted", "left"),
    [
        ([], 5.0, {}, None),
        ([entry("0s", reason="Now")], 0.0, {"Ready": ("True", "Now")}, None),
        ([entry("10s"), entry("5s", status="False")], 4.9, {}, pytest.approx(0.1)),
        ([entry("10s"), entry("5s", status="False")], 5.0, {"Ready": ("False", "")}, 5.0),
        ([entry("10s"), entry("5s", status="False")], 10.0, {"Ready": ("True", "")}, None),
        ([entry("5s", reason="First"), entry("5s", reason="Second")], 6.0, {"Ready": ("True", "First")}, None),
        (
            [entry("1s", "Warm"), entry("2s"), entry("1m")],
            3.0,
            {"Ready": ("True", ""), "Warm": ("True", "")},
            57.0,
        ),
    ],
)
def test_of_each_type_the_latest_that_is_due_counts_and_of_equally_late_ones_the_first(entries, age, wanted, left):
    found, pause = due(entries, age)
    assert ({type_: (each.status, each.reason) for type_, each in found.items()}, pause) == (wanted, left)


async def test_conditions_come_exactly_when_they_are_due_and_none_before():
    world = await the_world()
    manifest = nop(
        conditionAfter=[entry("10s", reason="Here"), entry("3s", status="False"), entry("1s", "Synced", "False")]
    )
    await world.apply(manifest)
    await world.settle()
    assert told(await seen(world, manifest)) == {"Synced": ("True", "ReconcileSuccess")}
    await world.settle(seconds=2.9)
    assert "Ready" not in told(await seen(world, manifest))
    await world.settle(seconds=0.1)
    assert told(await seen(world, manifest))["Ready"] == ("False", "")
    await world.settle(seconds=6.9)
    assert told(await seen(world, manifest))["Ready"] == ("False", "")
    await world.settle(seconds=0.1)
    found = await seen(world, manifest)
    assert told(found) == {"Synced": ("True", "ReconcileSuccess"), "Ready": ("True", "Here")}
    assert find(found, "Ready")["lastTransitionTime"] == "2026-01-01T00:00:10Z"
    version = meta(found)["resourceVersion"]
    await world.settle(seconds=1300.0)  # two polls, both silent
    assert meta(await seen(world, manifest))["resourceVersion"] == version
    assert annotations_of(found)["crossplane.io/external-name"] == "a"


async def test_what_it_says_of_being_stalled_or_reconciled_stays_until_its_time_is_over():
    world = await the_world()
    manifest = nop(
        conditionAfter=[
            entry("0s", status="False"),
            entry("0s", "Reconciling", reason="Slow"),
            entry("10s", "Reconciling", "False"),
            entry("10s", "Stalled", reason="Stuck"),
        ]
    )
    await world.apply(manifest)
    await world.settle()
    found = {"Synced": ("True", "ReconcileSuccess"), "Ready": ("False", "")}
    assert told(await seen(world, manifest)) == found | {"Reconciling": ("True", "Slow")}
    await world.settle(seconds=10)
    found |= {"Reconciling": ("False", ""), "Stalled": ("True", "Stuck")}
    assert told(await seen(world, manifest)) == found
    version = meta(await seen(world, manifest))["resourceVersion"]
    await world.settle(seconds=1300.0)
    assert meta(await seen(world, manifest))["resourceVersion"] == version


@pytest.mark.parametrize("kind", ["NopResource", "ClusterNopResource"])
async def test_connection_details_are_published_and_come_back(kind):
    world = await the_world()
    reference = {"name": "conn"} | ({"namespace": "shop"} if kind == "ClusterNopResource" else {})
    manifest = nop(
        kind=kind,
        spec={"writeConnectionSecretToRef": reference},
        connectionDetails=[{"name": "user", "value": "boss"}],
    )
    await world.apply(manifest)
    await world.settle()
    place = Key("v1", "Secret", "shop", "conn")
    assert (await world.cluster.get(place))["data"] == {"user": "Ym9zcw=="}
    await world.cluster.delete(place)
    await world.settle()
    assert (await world.cluster.get(place))["data"] == {"user": "Ym9zcw=="}


async def test_a_resource_goes_at_once_when_it_is_deleted():
    world = await the_world()
    manifest = nop(fields={"any": ["thing", 1]})
    await world.apply(manifest)
    await world.settle()
    await world.cluster.delete(key_of(manifest))
    await world.settle()
    assert await seen(world, manifest) is None


async def test_a_deletion_takes_as_long_as_is_said():
    world = await the_world()
    manifest = nop(deleteAfter="7s", conditionAfter=[entry("0s")])
    await world.apply(manifest)
    await world.settle()
    await world.cluster.delete(key_of(manifest))
    await world.settle(seconds=6.9)
    assert told(await seen(world, manifest))["Deletion"] == ("False", "DeletionPending")
    await world.settle(seconds=0.1)
    assert await seen(world, manifest) is None


async def test_a_deletion_fails_as_long_as_it_is_told_to_whatever_time_has_passed():
    world = await the_world()
    manifest = nop(deleteAfter="1s", deleteError="out of order")
    await world.apply(manifest)
    await world.settle()
    await world.cluster.delete(key_of(manifest))
    await world.settle(seconds=30)
    found = await seen(world, manifest)
    assert told(found)["Deletion"] == ("False", "DeletionFailed")
    assert "out of order" in find(found, "Synced")["message"]
    await world.patch(key_of(manifest), {"spec": {"forProvider": {"deleteError": None}}})
    await world.settle()
    assert await seen(world, manifest) is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"conditionAfter": [entry("1s"), entry("soon")]}, ("conditionAfter[1].time", '"soon"')),
        ({"deleteAfter": "10"}, ("deleteAfter", '"10"')),
        (
            {"connectionDetails": [{"name": "a", "value": "b"}, {"name": "a b", "value": "c"}]},
            ("spec.forProvider.connectionDetails[1].name", '"a b" can\'t be a key'),
        ),
    ],
)
async def test_what_can_not_be_is_told_where_it_stands(wrong, words):
    world = await the_world()
    manifest = nop(**wrong)
    await world.apply(manifest)
    await world.settle()
    synced = find(await seen(world, manifest), "Synced")
    assert synced["status"] == "False"
    assert all(word in synced["message"] for word in words)
    await world.cluster.delete(key_of(manifest))
    await world.settle()
    assert await seen(world, manifest) is None


async def test_a_deletion_whose_time_was_edited_to_no_duration_names_the_field_and_goes_once_that_is_right():
    world = await the_world()
    manifest = nop(conditionAfter=[entry("0s")])
    await world.apply(manifest)
    await world.settle()
    await world.patch(key_of(manifest), {"spec": {"forProvider": {"deleteAfter": "10"}}})
    await world.cluster.delete(key_of(manifest))
    await world.settle()
    assert (
        'spec.forProvider.deleteAfter: time: invalid duration "10"'
        in find(await seen(world, manifest), "Synced")["message"]
    )
    await world.patch(key_of(manifest), {"spec": {"forProvider": {"deleteAfter": "1s"}}})
    await world.settle(seconds=1)
    assert await seen(world, manifest) is None


def test_the_definition_of_v04_lives_in_no_namespace_and_has_a_mark_of_its_own():
    def scopes(**how):
        found = {each.name: each for each in brought(["*.nop.crossplane.io"], **how)}
        read = {name: each.read() for name, each in found.items() if name.endswith("nop.crossplane.io")}
        return {name: crd["spec"]["scope"] for name, crd in read.items()}, found["nopresources.nop.crossplane.io"]

    now, then = scopes(), scopes(nop_scope="cluster")
    both = {"nopresources.nop.crossplane.io": "Namespaced", "clusternopresources.nop.crossplane.io": "Cluster"}
    assert now[0] == both
    assert then[0] == both | {"nopresources.nop.crossplane.io": "Cluster"}
    assert now[1].mark != then[1].mark
    assert then[1].read()["metadata"]["annotations"]["groundplane.io/crd"] == then[1].mark


# --- in compositions


REPOSITORY = Path(__file__).resolve().parents[2]


def composition():
    """The one of the page."""
    page = (REPOSITORY / "docs" / "reference" / "other-providers.md").read_text().partition("## provider-nop")[2]
    blocks = [yaml.safe_load(block.partition("```")[0]) for block in page.split("```yaml\n")[1:]]
    (found,) = [block for block in blocks if block["kind"] == "Composition"]
    return found


def claim():
    spec = {
        "parameters": {"size": "small"},
        "compositionRef": {"name": "databases-of-nothing"},
        "writeConnectionSecretToRef": {"name": "conn"},
    }
    metadata = {"name": "a", "namespace": "team"}
    return {"apiVersion": "platform.example.com/v1alpha1", "kind": "Database", "metadata": metadata, "spec": spec}


@pytest.fixture
def definition():
    return yaml.safe_load((REPOSITORY / "compositions" / "database-aws" / "definition.yaml").read_text())


async def test_the_composition_of_the_page_serves_a_claim(definition):
    world = await the_world()
    await world.apply(definition, composition())
    await world.settle()
    await world.apply(claim())
    await world.settle(seconds=5)
    assert not conditions.is_true(await world.cluster.get(key_of(claim())), "Ready")
    await world.settle(seconds=10)
    assert conditions.is_true(await world.cluster.get(key_of(claim())), "Ready")
    secret = await world.cluster.get(Key("v1", "Secret", "team", "conn"))
    assert set(secret["data"]) == {"host", "password"}


async def test_a_composition_of_the_first_generation_is_told_which_kind_lives_in_no_namespace(definition):
    world = await the_world()
    wrong = composition()
    wrong["spec"]["resources"][0]["base"]["kind"] = "NopResource"
    await world.apply(definition, wrong)
    await world.settle()
    await world.apply(claim())
    await world.settle(seconds=5)
    told = json.dumps(await world.cluster.get(key_of(claim())))
    assert "compose ClusterNopResource, which lives in none" in told
