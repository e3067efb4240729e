"""Which of a Composition's revisions concern whom, and what is remembered of them."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import composition, conditions
from groundplane.core.compiled_revisions import CompiledRevisions
from groundplane.core.followers import Followers
from groundplane.core.objects import Key, controller_of
from groundplane.core.paces import MOST
from groundplane.ports import Options
from groundplane.runtime.engine import HELD_LONG
from tests.reconcile import things
from tests.world import World

REVISION = "apiextensions.crossplane.io/v1"
NAME = things.COMPOSITION["metadata"]["name"]


async def a_world(*, claims=1, strict_upstream=False):
    world = await World(options=Options(strict_upstream=strict_upstream)).install()
    await world.apply(*things.composed_crds(), things.XRD)
    await world.settle()
    await world.apply(things.COMPOSITION)
    for number in range(claims):
        claim = copy.deepcopy(things.THING)
        claim["metadata"]["name"] = f"db-{number}"
        await world.apply(claim)
    return await world.settle()


async def edited(world, times):
    """So many more revisions of the composition; the names of all, from the first to the last."""
    for number in range(times):
        changed = copy.deepcopy(things.COMPOSITION)
        changed["metadata"]["labels"] = {"edition": str(number)}
        await world.apply(changed)
        await world.settle()
    revisions = await world.cluster.list(REVISION, "CompositionRevision")
    return [r["metadata"]["name"] for r in sorted(revisions, key=lambda r: r["spec"]["revision"])]


async def names_followed(world):
    composites = await world.cluster.list(things.VERSION, "XThing")
    return {composite["spec"]["compositionRevisionRef"]["name"] for composite in composites}


async def announced(world, name):
    """The composites that are enqueued when this revision is told of."""
    world.due.clear()
    await world.engine.process("announce", Key(REVISION, "CompositionRevision", "", name))
    return {key.name for controller, key in world.due if controller == "composite"}


async def test_every_composite_takes_the_latest_revision():
    world = await a_world(claims=3)
    revisions = await edited(world, 4)
    assert len(revisions) == 5
    assert await names_followed(world) == {revisions[-1]}


def with_followers(world, count):
    """As if so many more composites followed the composition, in which nobody looks."""
    for number in range(count):
        world.context.followers.set(Key(things.VERSION, "XThing", "", f"far-{number}"), NAME)


async def revisions_of(world, name):
    labels = {composition.NAME_LABEL: name}
    found = await world.cluster.list(REVISION, "CompositionRevision", labels=labels)
    return sorted(found, key=lambda r: r["spec"]["revision"])


async def test_a_composition_that_is_edited_in_a_loop_is_followed_at_a_pace_that_its_followers_set():
    world = await a_world(claims=3)
    with_followers(world, 400)
    await edited(world, 40)  # no time passes
    [*_, latest] = revisions = await revisions_of(world, NAME)
    assert len(revisions) < 5
    assert await names_followed(world) == {latest["metadata"]["name"]}
    await world.settle(seconds=2 * MOST)
    assert len(await revisions_of(world, NAME)) == len(revisions) + 1, "what it is by then, and nothing in between"
    [*_, newest] = await revisions_of(world, NAME)
    assert newest["metadata"]["labels"]["edition"] == "39"
    assert await names_followed(world) == {newest["metadata"]["name"]}


async def test_a_composition_that_is_edited_in_a_loop_says_so_and_holds_up_no_other():
    world = await a_world()
    with_followers(world, 400)
    await edited(world, 10)
    other = copy.deepcopy(things.COMPOSITION)
    other["metadata"]["name"] = "another"
    await world.apply(other)
    await world.settle()
    assert len(await revisions_of(world, "another")) == 1
    for _ in range(3):
        with_followers(world, 400)  # they were looked for when they were told
        await world.settle(seconds=HELD_LONG)
        await edited(world, 10)
    loud = await world.cluster.get(Key(REVISION, "Composition", "", NAME))
    assert "changes again and again" in conditions.find(loud, "Reconciling")["message"]
    for number in range(3):
        changed = copy.deepcopy(things.COMPOSITION)
        changed["spec"]["writeConnectionSecretsToNamespace"] = f"place-{number}"
        await world.apply(changed)
        await world.settle()
    loud = await world.cluster.get(Key(REVISION, "Composition", "", NAME))
    assert conditions.find(loud, "Reconciling")["observedGeneration"] == 1, "told once, not with each edit"
    await world.settle(seconds=2 * MOST)
    loud = await world.cluster.get(Key(REVISION, "Composition", "", NAME))
    assert conditions.find(loud, "Reconciling") is None


async def test_upstream_follows_each_edit_of_a_composition():
    world = await a_world(strict_upstream=True)
    with_followers(world, 400)
    await edited(world, 10)
    assert len(await revisions_of(world, NAME)) == 11


async def test_a_superseded_revision_is_told_to_nobody_but_those_that_choose_by_label():
    world = await a_world(claims=3)
    revisions = await edited(world, 2)
    composites = {c["metadata"]["name"] for c in await world.cluster.list(things.VERSION, "XThing")}
    assert await announced(world, revisions[0]) == set()
    assert await announced(world, revisions[-1]) == composites
    choosy = sorted(composites)[0]
    selector = {
        "spec": {
            "compositionUpdatePolicy": "Automatic",
            "compositionRevisionSelector": {"matchLabels": {"edition": "0"}},
        }
    }
    await world.patch(Key(things.VERSION, "XThing", "", choosy), selector)
    await world.settle()
    assert await announced(world, revisions[0]) == {choosy}


async def test_a_composite_that_was_pinned_is_told_of_no_revision():
    world = await a_world(claims=2)
    revisions = await edited(world, 1)
    pinned, other = sorted(c["metadata"]["name"] for c in await world.cluster.list(things.VERSION, "XThing"))
    await world.patch(Key(things.VERSION, "XThing", "", pinned), {"spec": {"compositionUpdatePolicy": "Manual"}})
    await world.settle()
    assert await announced(world, revisions[-1]) == {other}


async def test_a_claim_goes_back_to_an_earlier_revision_by_one_edit():
    world = await a_world()
    first, *_ = await edited(world, 2)
    [claim] = await world.cluster.list(things.VERSION, "Thing")
    pinned = {"compositionUpdatePolicy": "Manual", "compositionRevisionRef": {"name": first}}
    await world.patch(
        Key(things.VERSION, "Thing", claim["metadata"]["namespace"], claim["metadata"]["name"]), {"spec": pinned}
    )
    await world.settle()
    assert await names_followed(world) == {first}
    [claim] = await world.cluster.list(things.VERSION, "Thing")
    assert claim["spec"]["compositionRevisionRef"] == {"name": first}


async def test_what_is_said_by_revisions_is_not_read_to_choose_among_them():
    """Of a revision that was seen before, only the head is asked for: a reconcile reads none as a whole."""
    world = await a_world()
    await edited(world, 5)
    read = []
    original = world.cluster.get

    async def get(key, **how):
        read.append(key.kind)
        return await original(key, **how)

    world.cluster.get = get
    [composite] = await world.cluster.list(things.VERSION, "XThing")
    await world.engine.process("composite", Key(things.VERSION, "XThing", "", composite["metadata"]["name"]))
    assert "Composition" in read
    assert "CompositionRevision" not in read


async def test_a_revision_that_is_deleted_takes_its_compiled_form_along():
    world = await a_world()
    revisions = await edited(world, 3)
    assert len(world.context.compiled_revisions) == 4
    for name in revisions[:-1]:
        await world.cluster.delete(Key(REVISION, "CompositionRevision", "", name))
        await world.engine.process("announce", Key(REVISION, "CompositionRevision", "", name))
    assert len(world.context.compiled_revisions) == 1


async def test_what_nobody_composes_with_is_judged_and_not_kept_compiled():
    world = await a_world(claims=0)
    assert len(await edited(world, 2)) == 3
    assert len(world.context.compiled_revisions) == 0
    await world.apply(things.THING)
    await world.settle()
    assert len(world.context.compiled_revisions) == 1


async def test_a_composite_that_is_gone_follows_nothing():
    world = await a_world(claims=2)
    assert len(world.context.followers) == 2
    for number in range(2):
        await world.cluster.delete(Key(things.VERSION, "Thing", "team-a", f"db-{number}"))
    await world.settle()
    assert await world.cluster.list(things.VERSION, "XThing") == []
    assert len(world.context.followers) == 0


def test_a_head_names_the_same_functions_as_the_whole():
    step = {"step": "a", "functionRef": {"name": "function-a"}, "input": {"much": "x" * 100}}
    for spec in (things.COMPOSITION["spec"], {"mode": "Pipeline", "pipeline": [step]}, {"pipeline": [step]}):
        whole = {**things.COMPOSITION, "spec": spec | {"revision": 3}}
        head = composition.head(whole)
        assert composition.function_names(head) == composition.function_names(whole)
        assert "much" not in str(head)
        assert head["spec"]["revision"] == 3


def test_followers_and_forms_of_a_day_of_churn_stay_within_bounds():
    followers, forms, form = Followers(), CompiledRevisions(limit=10), composition.compile(things.COMPOSITION)
    for number in range(10_000):
        key = Key(things.VERSION, "XThing", "", f"x-{number % 50}")
        followers.set(key, f"c-{number % 7}")
        followers.set(key, "" if number % 3 else f"c-{number % 11}", selects=number % 2 == 0)
        revision = {"metadata": {"name": f"r-{number}", "uid": str(number), "generation": 1}}
        forms.put(revision, {}, form)
    assert len(followers) <= 50
    assert sum(len(followers.of(f"c-{number}", latest=True)) for number in range(11)) == len(followers)
    assert len(forms) == 10


async def test_a_claim_that_pinned_an_older_revision_and_then_says_nothing_of_it_follows_the_newest():
    world = await a_world(claims=0)
    older, newest = await edited(world, 1)
    await world.apply(things.THING)
    await world.settle()
    assert await names_followed(world) == {newest}
    await world.patch(things.CLAIM, {"spec": {"compositionUpdatePolicy": "Manual"}})
    await world.settle()
    await world.patch(things.CLAIM, {"spec": {"compositionRevisionRef": {"name": older}}})
    await world.settle()
    assert await names_followed(world) == {older}  # whose name the claim alone owns now
    automatic = {"compositionUpdatePolicy": "Automatic", "compositionRevisionRef": None}
    await world.patch(things.CLAIM, {"spec": automatic})
    await world.settle()
    assert await names_followed(world) == {newest}
    claim = await world.cluster.get(things.CLAIM)
    assert claim["spec"]["compositionRevisionRef"] == {"name": newest}
    assert conditions.is_true(claim, "Synced")


async def restored(world, *revisions):
    """As from a backup, which leaves owners out, while the Composition has been there again for a while."""
    for revision in revisions:
        kept = {name: revision["metadata"][name] for name in ("name", "labels")}
        await world.cluster.create({**revision, "metadata": kept})


async def controlled(world):
    """The Composition's revisions by name: their numbers."""
    owner = await world.cluster.get(Key(REVISION, "Composition", "", NAME))
    return {
        revision["metadata"]["name"]: revision["spec"]["revision"]
        for revision in await world.cluster.list(REVISION, "CompositionRevision")
        if (controller_of(revision) or {}).get("uid") == owner["metadata"]["uid"]
    }


@pytest.mark.parametrize("count", [1, 2])
async def test_older_revisions_that_a_backup_brings_later_are_taken_up_and_lead_nobody_back(count):
    """control-plane.md §3.2, repair."""
    world = await a_world()
    names = await edited(world, count)
    older = [await world.cluster.get(Key(REVISION, "CompositionRevision", "", name)) for name in names[:-1]]
    for name in names:
        await world.cluster.delete(Key(REVISION, "CompositionRevision", "", name))
    await world.settle()
    assert await controlled(world) == {names[-1]: 1}
    pinned = {"compositionUpdatePolicy": "Manual", "compositionRevisionRef": {"name": names[0]}}
    other = {**copy.deepcopy(things.THING), "metadata": {"name": "pinned", "namespace": "team-a"}}
    await world.apply({**other, "spec": {**other["spec"], **pinned}})
    await world.settle(seconds=10)
    followed = []

    def look(since, changes):
        followed.extend(
            change.object["spec"]["compositionRevisionRef"]["name"]
            for change in world.cluster.changes(since)
            if change.object["kind"] == "XThing" and change.object["spec"]["claimRef"]["name"] == "db-0"
        )

    world.cluster.wrote = look
    await restored(world, *older)
    await world.settle(seconds=10)
    assert set(followed) <= {names[-1]}
    assert await names_followed(world) == {names[0], names[-1]}
    found = await controlled(world)
    assert found.keys() == set(names)
    assert max(found, key=found.__getitem__) == names[-1]
    assert len(set(found.values())) == len(names)


async def test_a_revision_whose_owner_is_taken_off_gets_it_back_and_one_that_is_deleted_is_made_again():
    world = await a_world()
    [name] = await controlled(world)
    key = Key(REVISION, "CompositionRevision", "", name)
    await world.patch(key, {"metadata": {"ownerReferences": None}})
    await world.settle()
    assert await controlled(world) == {name: 1}
    await world.cluster.delete(key)
    await world.settle()
    assert await controlled(world) == {name: 1}


@pytest.mark.parametrize("strict_upstream", [False, True])
async def test_a_selector_of_revisions_that_a_claim_takes_back_is_gone_in_v1_and_comes_back_in_v2(strict_upstream):
    """control-plane.md §2.4: only v2 copies the composite's to a claim that has none."""
    world = await a_world(strict_upstream=strict_upstream)
    selector = {
        "compositionUpdatePolicy": "Automatic",
        "compositionRevisionSelector": {"matchLabels": {"edition": "0"}},
    }
    claim = Key(things.VERSION, "Thing", "team-a", "db-0")
    await world.patch(claim, {"spec": selector})
    names = await edited(world, 2)
    assert await names_followed(world) == {names[1]}
    await world.patch(claim, {"spec": {"compositionRevisionSelector": None}})
    await world.settle()
    assert await names_followed(world) == {names[-1] if strict_upstream else names[1]}
    left = {"compositionRevisionSelector"} & (await world.cluster.get(claim))["spec"].keys()
    assert bool(left) is not strict_upstream
