"""A composite that is deleted stays until the last of what it is composed of is gone, in order, and says what it waits for."""

import copy
import datetime
import json
from dataclasses import replace

import pytest

from groundplane.core import conditions, deletion
from groundplane.core.objects import Key, key_of, meta
from groundplane.core.transforms import regexp
from groundplane.errors import Denied
from groundplane.functions import sequencer
from groundplane.ports import Options
from tests.reconcile import managed, things
from tests.reconcile.interrupt import deaths
from tests.reconcile.things import a_world, changed

HELD = "example.org/held"


def composition(*, refers=(("alpha", "beta"), ("beta", "gamma")), pipeline=False):
    """Composes alpha, beta and gamma under names of their own; the first of each pair refers to the second."""
    wanted = copy.deepcopy(things.COMPOSITION)
    for resource in wanted["spec"]["resources"]:
        name = resource["name"]
        resource["base"]["metadata"] = {"finalizers": [HELD]}
        named = {"type": "string", "string": {"type": "Format", "fmt": f"%s-{name}"}}
        resource["patches"] = [
            {"fromFieldPath": "spec.claimRef.name", "toFieldPath": "metadata.name", "transforms": [named]}
        ]
        resource.pop("connectionDetails", None)
        refs = [{"kind": used.title(), "name": f"db-{used}"} for user, used in refers if user == name]
        resource["base"]["spec"] = {"forProvider": {}, "usedRefs": refs}
    if pipeline:
        steps = [things.patch_step(*wanted["spec"].pop("resources")), things.READY_STEP]
        wanted["spec"] |= {"mode": "Pipeline", "pipeline": steps}
    return wanted


def foreground():
    return changed(things.THING, compositeDeletePolicy="Foreground")


async def left(world):
    """The composed objects that are there, and those that are being deleted."""
    found = [obj for kind in things.KINDS for obj in await world.cluster.list(things.COMPOSED, kind)]
    going = [meta(obj)["name"] for obj in found if meta(obj).get("deletionTimestamp")]
    return [meta(obj)["name"] for obj in found], going


async def let_go(world, kind):
    key = Key(things.COMPOSED, kind, "", f"db-{kind.lower()}")
    await world.patch(key, {"metadata": {"finalizers": None}})
    await world.settle(seconds=3)


async def composites(world):
    return await world.cluster.list(things.VERSION, "XThing")


async def ready_of(world, key=None):
    obj = await world.cluster.get(key) if key else (await composites(world))[0]
    return conditions.find(obj, "Ready")


@pytest.mark.parametrize("pipeline", [False, True])
async def test_composed_resources_go_in_the_order_of_their_references_and_then_the_composite(pipeline):
    world = await things.running(await a_world(), composition=composition(pipeline=pipeline), claim=foreground())
    await world.cluster.delete(things.CLAIM)
    for kind, others in (("Alpha", 2), ("Beta", 1), ("Gamma", 0)):
        await world.settle(seconds=3)
        _, going = await left(world)
        assert going == [f"db-{kind.lower()}"]
        more = f"; {others} more after or beside it" if others else ""
        for key in (None, things.CLAIM):
            ready = await ready_of(world, key)
            assert (ready["status"], ready["reason"]) == ("False", "Deleting")
            assert ready["message"].startswith(f"waiting for {kind} db-{kind.lower()} to be gone (being deleted since ")
            assert ready["message"].endswith(f": finalizers {HELD}{more}")
        await let_go(world, kind)
    assert await left(world) == ([], [])
    assert await composites(world) == []
    assert await world.cluster.get(things.CLAIM) is None


async def test_the_cause_of_a_resource_that_does_not_go_stands_on_the_claim():
    world = await things.running(await a_world(), composition=composition(), claim=foreground())
    status = {
        "conditions": [{"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "AWS says no"}]
    }
    await world.patch(Key(things.COMPOSED, "Alpha", "", "db-alpha"), {"status": status}, subresource="status")
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=10)
    assert ": AWS says no; 2 more" in (await ready_of(world, things.CLAIM))["message"]


async def test_a_claim_that_is_deleted_in_the_background_does_not_wait():
    world = await things.running(await a_world(), composition=composition())
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=3)
    assert await world.cluster.get(things.CLAIM) is None
    assert await left(world) == (["db-alpha", "db-beta", "db-gamma"], ["db-alpha"])


async def test_what_goes_at_once_needs_no_word_and_no_wait():
    wanted = composition()
    for resource in wanted["spec"]["resources"]:
        del resource["base"]["metadata"]["finalizers"]
    world = await things.running(await a_world(), composition=wanted, claim=foreground())
    told = []
    world.cluster.wrote = lambda since, changes: told.extend(
        change.object for change in changes if change.object["kind"] == "XThing"
    )
    await world.cluster.delete(things.CLAIM)
    await world.settle()
    assert await composites(world) == []
    assert await world.cluster.get(things.CLAIM) is None
    assert [obj for obj in told if (conditions.find(obj, "Ready") or {}).get("reason") == "Deleting"] == []


async def test_a_clock_that_is_behind_the_api_servers_delays_no_word():
    world = await things.running(await a_world(), composition=composition(), claim=foreground())
    await world.cluster.delete(things.CLAIM)
    await world.settle()
    restarted = world.restarted()
    restarted.context = restarted.engine.context = replace(
        restarted.context, now=lambda: world.clock() - datetime.timedelta(hours=1)
    )
    restarted.enqueue({("composite", Key(things.VERSION, "XThing", "", meta((await composites(world))[0])["name"]))})
    await restarted.settle()
    assert "waiting for Alpha" in (await ready_of(restarted))["message"]


def sequence(*names, **more):
    given = {"apiVersion": "sequencer.fn.crossplane.io/v1beta1", "kind": "Input"}
    rules = [{"sequence": list(names)} | more]
    return {
        "step": "order",
        "functionRef": {"name": "function-sequencer"},
        "input": given | {"rules": rules, "resetCompositeReadiness": True},
    }


async def test_a_sequence_is_undone_backwards_also_when_the_composition_is_edited_meanwhile():
    wanted = composition(refers=(), pipeline=True)
    wanted["spec"]["pipeline"].append(sequence("gamma", "be.*", "alpha"))
    world = await things.running(await a_world(), composition=wanted, claim=foreground())
    made = []
    for kind in ("Gamma", "Beta", "Alpha"):
        made.append(kind.lower())
        assert sorted((await left(world))[0]) == sorted(f"db-{name}" for name in made)
        await things.report(world, kind)
        await world.settle(seconds=3)
    assert conditions.is_true((await composites(world))[0], "Ready")
    await world.cluster.delete(things.CLAIM)
    for kind in ("Alpha", "Beta", "Gamma"):
        await world.settle(seconds=3)
        assert (await left(world))[1] == [f"db-{kind.lower()}"]
        if kind == "Alpha":
            await world.apply(composition(refers=(), pipeline=True))
        await let_go(world, kind)
    assert await composites(world) == []


@pytest.mark.parametrize("first", ["Composition", "claim"])
async def test_a_sequence_is_undone_backwards_though_the_composition_goes_with_all_that_was_made_of_it(first):
    wanted = composition(refers=(), pipeline=True)
    wanted["spec"]["pipeline"].append(sequence("gamma", "be.*", "alpha", deleteOnly=True))
    world = await things.running(await a_world(), composition=wanted, claim=foreground())
    composite = (await composites(world))[0]
    assert composite["metadata"]["annotations"] == {deletion.SEQUENCES: '[["gamma","be.*","alpha"]]'}
    if first == "claim":
        await world.cluster.delete(things.CLAIM)
        await world.settle(seconds=3)
    for revision in await world.cluster.list(wanted["apiVersion"], "CompositionRevision"):
        await world.cluster.delete(key_of(revision))
    await world.cluster.delete(Key(wanted["apiVersion"], "Composition", "", "thing"))
    await world.settle(seconds=3)
    if first == "Composition":
        await world.cluster.delete(things.CLAIM)
    world = world.restarted()
    await world.settle(seconds=3)
    for kind in ("Alpha", "Beta", "Gamma"):
        assert (await left(world))[1] == [f"db-{kind.lower()}"]
        await let_go(world, kind)
    await world.settle(seconds=10)
    assert await composites(world) == []


@pytest.mark.parametrize("policy", [{}, {"compositeDeletePolicy": "Background"}])
async def test_a_claim_that_is_composed_is_gone_only_once_what_it_stands_for_is(policy):
    world = await a_world()
    outer = copy.deepcopy(things.XRD)
    del outer["spec"]["claimNames"]
    outer["metadata"]["name"], outer["spec"]["names"] = "xouters.example.org", {"kind": "XOuter", "plural": "xouters"}
    await world.apply(things.XRD, outer)
    await world.settle()
    base = {**things.THING, "spec": {"size": "small", **policy}}
    under = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "under", "namespace": "team-a"}}
    pipes = [things.patch_step({"name": "app", "base": base}, {"name": "under", "base": under})]
    wanted = composition(refers=(), pipeline=True)
    wanted["metadata"]["name"] = "outer"
    wanted["spec"] |= {
        "compositeTypeRef": {"apiVersion": things.VERSION, "kind": "XOuter"},
        "pipeline": [*pipes, sequence("under", "app", deleteOnly=True)],
    }
    metadata = {"apiVersion": things.VERSION, "kind": "XOuter", "metadata": {"name": "whole"}}
    await world.apply(composition(), wanted, {**metadata, "spec": {"size": "small"}})
    await world.settle(seconds=10)
    assert len((await left(world))[0]) == 3
    whole, below = Key(things.VERSION, "XOuter", "", "whole"), Key("v1", "ConfigMap", "team-a", "under")
    await world.cluster.delete(whole)
    for kind in things.KINDS:
        await world.settle(seconds=10)
        assert meta(await world.cluster.get(things.CLAIM))["deletionTimestamp"]
        assert await world.cluster.get(below) is not None
        assert f"waiting for {kind}" in (await ready_of(world, whole))["message"]
        await let_go(world, kind)
    await world.settle(seconds=10)
    assert [await world.cluster.get(key) for key in (whole, below, things.CLAIM)] == [None] * 3


async def test_what_a_composite_notes_of_sequences_goes_with_them_and_nonsense_there_orders_nothing():
    wanted = composition(refers=(), pipeline=True)
    wanted["spec"]["pipeline"].append(sequence("gamma", "alpha", deleteOnly=True))
    world = await things.running(await a_world(), composition=wanted, claim=foreground())
    await world.apply(composition(refers=(), pipeline=True))
    await world.settle(seconds=3)
    composite = (await composites(world))[0]
    assert deletion.SEQUENCES not in (composite["metadata"].get("annotations") or {})
    for nonsense in ("[", "{}", '["a"]', "[[1]]", "[" * 100_000):
        assert deletion.noted_sequences({"metadata": {"annotations": {deletion.SEQUENCES: nonsense}}}) == []
    padded = '[["gamma","alpha"]]' + " " * deletion.MOST_NOTED
    assert deletion.noted_sequences({"metadata": {"annotations": {deletion.SEQUENCES: padded}}}) == []
    long = {"metadata": {"annotations": {deletion.SEQUENCES: "[]"}}}
    deletion.note_sequences(long, [["a" * deletion.MOST_NOTED]])
    assert long["metadata"]["annotations"] == {}


async def test_a_sequence_for_creation_only_orders_no_deletion():
    wanted = composition(refers=(), pipeline=True)
    wanted["spec"]["pipeline"].append(sequence("gamma", "alpha", createOnly=True))
    world = await things.running(await a_world(), composition=wanted, claim=foreground())
    for kind in ("Gamma", "Beta", "Alpha"):
        await things.report(world, kind)
        await world.settle(seconds=3)
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=3)
    assert sorted((await left(world))[1]) == ["db-alpha", "db-beta", "db-gamma"]


async def test_an_edit_of_the_composition_in_between_changes_nothing():
    world = await things.running(await a_world(), composition=composition(), claim=foreground())
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=3)
    await world.apply(composition(refers=(("gamma", "alpha"), ("beta", "alpha"))))
    await world.settle(seconds=30)
    assert (await left(world))[1] == ["db-alpha"]
    await world.cluster.delete(Key(things.COMPOSITION["apiVersion"], "Composition", "", "thing"))
    await world.settle(seconds=30)
    for kind in things.KINDS:
        await let_go(world, kind)
    assert await composites(world) == []


async def test_with_strict_upstream_all_go_at_once_and_nobody_waits():
    world = await things.running(await a_world(options=Options(strict_upstream=True)), composition=composition())
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=3)
    assert await composites(world) == []
    assert (await left(world))[1] == ["db-alpha", "db-beta", "db-gamma"]


async def test_a_composite_that_is_deleted_as_an_orphaning_one_leaves_what_it_made():
    world = await things.running(await a_world(), composition=composition())
    name = meta((await composites(world))[0])["name"]
    await world.cluster.delete(things.CLAIM)
    await world.cluster.delete(Key(things.VERSION, "XThing", "", name), propagation="Orphan")
    await world.settle(seconds=3)
    assert await composites(world) == []
    assert await left(world) == (["db-alpha", "db-beta", "db-gamma"], [])


async def test_what_somebody_has_taken_from_the_composite_stays():
    world = await things.running(await a_world(), composition=composition(refers=()))
    await world.patch(Key(things.COMPOSED, "Beta", "", "db-beta"), {"metadata": {"ownerReferences": None}})
    composite = (await composites(world))[0]
    # not reconciled in between: else it would be taken back
    await world.cluster.delete(Key(things.VERSION, "XThing", "", meta(composite)["name"]))
    await world.settle(seconds=3)
    assert (await left(world))[1] == ["db-alpha", "db-gamma"]


async def test_a_refused_deletion_is_told_and_holds_only_what_it_must():
    world = await things.running(
        await a_world(), composition=composition(refers=(("alpha", "beta"),)), claim=foreground()
    )
    delete = world.cluster.delete

    async def refusing(key, **how):
        if key.kind == "Alpha":
            raise Denied('alphas "db-alpha" is forbidden', mend="allow it")
        return await delete(key, **how)

    world.cluster.delete = refusing
    await delete(things.CLAIM)
    await world.settle(seconds=10)
    assert (await left(world))[1] == ["db-gamma"]
    composite = (await composites(world))[0]
    synced = conditions.find(composite, "Synced")
    assert synced["status"] == "False"
    assert 'cannot delete composed Alpha db-alpha: alphas "db-alpha" is forbidden' in synced["message"]
    assert "is forbidden" in (await ready_of(world, things.CLAIM))["message"]
    world.cluster.delete = delete
    await world.settle(seconds=70)
    for kind in things.KINDS:
        await let_go(world, kind)
    assert await composites(world) == []


async def test_a_kind_that_is_no_longer_served_holds_nothing():
    world = await things.running(await a_world(), composition=composition(refers=()), claim=foreground())
    await world.patch(Key(things.COMPOSED, "Alpha", "", "db-alpha"), {"metadata": {"finalizers": None}})
    await world.cluster.delete(Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "alphas.nop.example.org"))
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=10)
    for kind in ("Beta", "Gamma"):
        await let_go(world, kind)
    assert await composites(world) == []


async def test_it_goes_on_wherever_the_process_dies():
    start = await things.running(await a_world(), composition=composition(), claim=foreground())
    await start.cluster.delete(things.CLAIM)

    async def life(world):
        await world.settle(seconds=3)
        for kind in things.KINDS:
            assert (await left(world))[1] == [f"db-{kind.lower()}"]
            await let_go(world, kind)
        assert await composites(world) == []

    found = await deaths(start, life)
    assert len(found) > 6
    for world in found:
        for kind in things.KINDS:
            await world.settle(seconds=10)
            names, going = await left(world)
            assert len(going) <= 1  # never two of a chain
            if f"db-{kind.lower()}" in names:
                await let_go(world, kind)
        await world.settle(seconds=310)
        assert await left(world) == ([], [])
        assert await composites(world) == []
        assert await world.cluster.get(things.CLAIM) is None


def network():
    """A VPC and a Subnet in it."""

    def resource(name, kind, **for_provider):
        base = {
            "apiVersion": managed.EC2,
            "kind": kind,
            "spec": {"forProvider": {"region": "eu-west-1", **for_provider}},
        }
        return {"name": name, "base": base}

    wanted = copy.deepcopy(things.COMPOSITION)
    wanted["spec"]["resources"] = [
        resource("vpc", "VPC", cidrBlock="10.0.0.0/16"),
        resource("subnet", "Subnet", cidrBlock="10.0.0.0/24", vpcIdSelector={"matchControllerRef": True}),
    ]
    return wanted


async def test_a_subnet_goes_before_its_vpc_and_aws_words_reach_the_claim(aws):
    world = await aws.world()
    await things.running(world, composition=network(), claim=foreground())
    await world.settle(seconds=30)
    assert [each["VpcId"] for each in aws.vpcs()]
    aws.standin.fail("ec2", "DeleteSubnet", "DependencyViolation", message="The subnet has dependencies", times=20)
    await world.cluster.delete(things.CLAIM)
    await world.settle(seconds=20)
    assert "DependencyViolation" in (await ready_of(world, things.CLAIM))["message"]
    assert "waiting for Subnet " in (await ready_of(world, things.CLAIM))["message"]
    aws.standin.mend()
    await world.settle(seconds=300)
    assert await world.cluster.get(things.CLAIM) is None
    deletes = [call for call in aws.standin.operations() if call in ("DeleteSubnet", "DeleteVpc")]
    assert deletes[-1] == "DeleteVpc"
    assert deletes.count("DeleteVpc") == 1


async def test_a_definition_that_may_not_be_let_go_says_so_and_its_two_sides_do_not_wake_each_other_for_ever():
    world = await things.running(await things.a_world())
    await things.all_ready(world)
    patch, update, written = world.cluster.patch, world.cluster.update, []

    async def denied(key, body, **how):
        if key.kind == "CompositeResourceDefinition":
            raise Denied("may not patch", mend="grant it")
        return await patch(key, body, **how)

    async def counted(obj, **how):
        if obj["kind"] == "CompositeResourceDefinition":
            written.append(obj)
        return await update(obj, **how)

    world.cluster.patch, world.cluster.update = denied, counted
    await world.cluster.delete(key_of(things.THING))
    await world.cluster.delete(key_of(things.XRD))
    await world.settle(seconds=60)
    found = await world.cluster.get(key_of(things.XRD))
    told = {type_: conditions.find(found, type_) for type_ in ("Established", "Offered", "Ready", "Synced")}
    assert {type_: each["reason"] for type_, each in told.items()} == {
        "Established": "TerminatingCompositeResource",
        "Offered": "TerminatingCompositeResourceClaim",
        "Ready": "Deleting",
        "Synced": "ReconcileError",
    }
    assert all("may not patch" in told[type_]["message"] for type_ in ("Established", "Offered", "Synced"))
    assert world.told.reasons("CompositeResourceDefinition") >= {
        ("Warning", "TerminateComposite"),
        ("Warning", "RedactClaim"),
    }
    assert len(written) < 30
    world.cluster.patch = patch
    await world.settle(seconds=300)
    assert await world.cluster.get(key_of(things.XRD)) is None


async def test_patterns_that_somebody_notes_on_a_composite_take_little_to_compile(monkeypatch):
    """Whoever may edit a composite of v2 may write them, and has one process compile them that serves all."""
    asked = []
    compiled = regexp.compiled

    def counted(pattern, *, memory=regexp.PATTERN_MEMORY):
        asked.append((pattern, memory))
        return compiled(pattern, memory=memory)

    world = await things.running(await a_world(), composition=composition(refers=(), pipeline=True), claim=foreground())
    for revision in await world.cluster.list(composition()["apiVersion"], "CompositionRevision"):
        await world.cluster.delete(key_of(revision))
    await world.cluster.delete(Key(composition()["apiVersion"], "Composition", "", "thing"))
    forged = json.dumps([["gamma", "alpha", "beta"], ["alpha", "be.*\\pL{99}"]])
    key = key_of((await composites(world))[0])
    await world.patch(key, {"metadata": {"annotations": {deletion.SEQUENCES: forged}}})
    await world.cluster.delete(things.CLAIM)
    monkeypatch.setattr(regexp, "compiled", counted)
    sequencer.matcher.cache_clear()
    await world.settle(seconds=3)
    assert {pattern for pattern, _ in asked} == {"^alpha$", "^be.*\\pL{99}$", "^beta$", "^gamma$"}
    assert {memory for _, memory in asked} == {deletion.NOTED_MEMORY}
    with pytest.raises(regexp.BadPattern):
        compiled("be.*\\pL{99}", memory=deletion.NOTED_MEMORY)
    assert (await left(world))[1] == ["db-beta"]
