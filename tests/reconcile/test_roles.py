"""A definition's ClusterRoles stay as they are to be, whatever somebody does to them."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import roles
from groundplane.core.objects import Key, labels_of
from groundplane.core.paces import SAVED
from groundplane.ports import Options
from tests.reconcile import things
from tests.world import NoWatches, World

NAME = f"crossplane:composite:{things.XRD['metadata']['name']}:aggregate-to-"
KINDS = ("crossplane", "edit", "view", "browse")


def key(to):
    return Key(roles.API_VERSION, roles.KIND, "", NAME + to)


async def a_world(*, makes_roles=True):
    world = await World(options=Options(makes_roles=makes_roles)).install()
    await world.apply(things.XRD)
    return await world.settle()


async def made(world):
    return {to: await world.cluster.get(key(to)) for to in KINDS}


def told(found):
    """What counts of roles."""
    return {to: (labels_of(role), role["rules"]) for to, role in found.items()}


async def deleted(world, to):
    await world.cluster.delete(key(to))


async def without_rules(world, to):
    await world.patch(key(to), {"rules": []})


async def without_labels(world, to):
    await world.patch(key(to), {"metadata": {"labels": None}})


async def gathered_elsewhere(world, to):
    await world.patch(key(to), {"metadata": {"labels": {f"{roles.AGGREGATE}admin-of-all": "true"}}})


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("change", [deleted, without_rules, without_labels, gathered_elsewhere])
async def test_a_role_that_somebody_changes_is_put_back_at_once(change, to):
    world = await a_world()
    before = told(await made(world))
    await change(world, to)
    await world.settle()
    assert told(await made(world)) == before


async def test_who_undoes_it_at_once_again_and_again_is_answered_by_and_by():
    world, answers = await a_world(), 0
    before = told(await made(world))
    for _ in range(3 * int(SAVED)):
        await without_rules(world, "view")
        await world.settle(seconds=0.1)
        answers += bool((await world.cluster.get(key("view")))["rules"])
    assert 5 < answers <= SAVED + 10
    await world.settle(seconds=10)
    assert told(await made(world)) == before


async def test_what_somebody_adds_for_purposes_of_their_own_stays():
    world = await a_world()
    await world.patch(key("view"), {"metadata": {"labels": {"team": "a"}}})
    await without_rules(world, "view")
    await world.settle()
    role = await world.cluster.get(key("view"))
    assert labels_of(role)["team"] == "a"
    assert role["rules"]


async def test_the_label_of_the_definition_is_taken_off_the_operators_own_role_where_it_was_before():
    world = await a_world()
    await world.patch(key("crossplane"), {"metadata": {"labels": {roles.DEFINITION: "x"}}})
    await world.settle()
    assert labels_of(await world.cluster.get(key("crossplane"))) == {roles.OPERATORS: "true"}


@pytest.mark.parametrize("makes_roles", [True, False])
async def test_roles_are_followed_where_definitions_get_them_and_only_there(makes_roles, monkeypatch):
    followed = []

    async def ensure(watches, kinds, *, whole=False):
        followed.extend((*kind, whole) for kind in kinds)

    monkeypatch.setattr(NoWatches, "ensure", ensure)
    await a_world(makes_roles=makes_roles)
    assert ((roles.API_VERSION, roles.KIND, True) in followed) is makes_roles


async def test_a_definition_that_goes_takes_its_roles_along_and_none_comes_back():
    world = await a_world()
    copied = copy.deepcopy(things.XRD)
    await world.cluster.delete(Key(copied["apiVersion"], copied["kind"], "", copied["metadata"]["name"]))
    await world.settle(seconds=60)
    assert await made(world) == dict.fromkeys(KINDS)
