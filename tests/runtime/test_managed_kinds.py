"""The managed kinds that are built in, as managed definitions: made once, upgraded, and never taken from anybody."""

from __future__ import annotations

import asyncio
import copy
from types import SimpleNamespace

import pytest

from groundplane.aws import catalogue
from groundplane.cluster.client import Api
from groundplane.core.crds.marks import MARK
from groundplane.core.managed_definition import definition_of
from groundplane.core.objects import Key
from groundplane.runtime import clouds, managed_kinds
from groundplane.runtime.crds import brought
from groundplane.runtime.managed_kinds import ManagedKinds
from tests.reconcile import interrupt, mrds
from tests.reconcile.interrupt import Trouble
from tests.world import World

VPCS, INSTANCES = "vpcs.ec2.aws.upbound.io", "instances.rds.aws.upbound.io"
RDS = ("*.rds.aws.upbound.io",)


@pytest.fixture
def few(monkeypatch):
    """Of the kinds that are built in only some: each is declared as the next, and all of them take a second each time."""
    some = [kind for kind in clouds.kinds() if kind.plural in ("vpcs", "instances", "subnetgroups")]
    monkeypatch.setattr(
        managed_kinds, "clouds", SimpleNamespace(kinds=lambda: some, connection_details=clouds.connection_details)
    )


FEW = pytest.mark.usefixtures("few")


def kinds(world, globs=RDS, *, heard=None, **how):
    def unasked(*_):
        raise AssertionError("no request but through the cluster")

    api = Api.__new__(Api)
    api.request = unasked
    return ManagedKinds(
        api, world.cluster, globs, lambda name: None, (heard if heard is not None else []).append, **how
    )


def earlier(state="Inactive", mark="0.0.1-aaaaaaaaaaaa", **names):
    """The VPC's managed definition as an earlier Groundplane made it, or without a mark, somebody else."""
    (ours,) = [each for each in brought() if each.name == VPCS]
    crd = ours.read()
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "earlier"
    crd["spec"]["names"] |= names
    made = definition_of(crd, [], mark=mark or "", state=state)
    if not mark:
        del made["metadata"]["annotations"]
    return made


async def is_earlier(world):
    now = await world.cluster.get(mrds.key(VPCS))
    return now["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] == "earlier"


async def begun():
    return await World().install()


async def states(world):
    found = await world.cluster.list(*mrds.key()[:2])
    return {each["metadata"]["name"]: each["spec"]["state"] for each in found}


async def test_each_kind_is_declared_once_with_the_state_that_the_setting_gives_it():
    world = await begun()
    await kinds(world).declare_all()
    found = await states(world)
    assert found[VPCS] == "Inactive"
    assert {name for name, state in found.items() if state == "Active"} == {
        name for name in found if ".rds.aws.upbound.io" in name
    }
    assert (await world.cluster.get(mrds.policy_key("default")))["spec"]["activate"] == list(RDS)
    database = await world.cluster.get(mrds.key(INSTANCES))
    details = {each["name"]: each["description"] for each in database["spec"]["connectionDetails"]}
    assert {"endpoint", "host", "port", "username", "password"} <= details.keys()
    assert all(details.values())
    before = world.cluster.writes
    await kinds(world).declare_all()
    assert world.cluster.writes == before


@FEW
async def test_the_policy_is_whoevers_edited_it_and_none_is_made_of_an_empty_setting():
    world = await begun()
    await world.apply(mrds.policy("*.s3.*", name="default"))
    await kinds(world).declare_all()
    assert (await world.cluster.get(mrds.policy_key("default")))["spec"]["activate"] == ["*.s3.*"]
    other = await begun()
    await kinds(other, ()).declare_all()
    assert await other.cluster.get(mrds.policy_key("default")) is None
    assert set((await states(other)).values()) == {"Inactive"}


@FEW
@pytest.mark.parametrize(
    ("mark", "is_replaced"), [("0.0.1-aaaaaaaaaaaa", True), ("99.0.0-aaaaaaaaaaaa", False), (None, False)]
)
async def test_an_older_one_is_upgraded_and_stays_active_and_one_of_others_or_of_later_stays_as_it_is(
    mark, is_replaced
):
    world = await begun()
    await world.apply(earlier("Active", mark))
    before = await world.cluster.get(mrds.key(VPCS))
    await kinds(world).declare_all()
    now = await world.cluster.get(mrds.key(VPCS))
    assert await is_earlier(world) is not is_replaced
    assert now["spec"]["state"] == "Active"
    assert is_replaced or now == before


@FEW
async def test_whoever_activates_one_while_it_is_upgraded_has_the_last_word():
    world = await begun()
    await world.apply(earlier())
    apply = world.cluster.apply

    async def overtaken(obj, **how):
        if obj["metadata"]["name"] == VPCS and obj["spec"]["state"] == "Inactive":
            await world.patch(mrds.key(VPCS), {"spec": {"state": "Active"}})
        return await apply(obj, **how)

    world.cluster.apply = overtaken
    await kinds(world).declare_all()
    assert (await states(world))[VPCS] == "Active"
    assert not await is_earlier(world)


@FEW
async def test_one_that_can_not_be_brought_in_line_keeps_no_other_from_being_declared():
    world = await begun()
    await world.apply(earlier(categories=["net"]))  # names are immutable
    await kinds(world).declare_all()
    assert await is_earlier(world)
    assert len(await states(world)) > 3


async def test_a_kind_is_active_by_the_setting_or_once_its_own_definition_says_so():
    world, heard = await begun(), []
    served = kinds(world, heard=heard)
    assert served.is_active(INSTANCES)
    assert not served.is_active(VPCS)
    theirs = mrds.definition(plural="vpcs", group="ec2.aws.upbound.io", state="Active")
    served.see(theirs)
    assert not served.is_active(VPCS)  # somebody else's
    ours = copy.deepcopy(theirs)
    ours["metadata"]["annotations"] = {MARK: "1.0.0-a"}
    served.see({**ours, "spec": {**ours["spec"], "state": "Inactive"}})
    assert heard == []
    served.see(ours)
    served.see(ours)
    assert [kind.kind for kind in heard] == ["VPC"]
    assert served.is_active(VPCS)
    assert [each.name for each in served.added] == [VPCS]


async def test_where_the_kinds_are_left_to_others_nothing_is_declared():
    world = await begun()
    left = kinds(world, brings=False)
    await left.declare_all()
    await left.declare(INSTANCES)
    assert await states(world) == {}
    assert not left.has(INSTANCES)
    assert left.is_active(INSTANCES)
    ours = mrds.definition(plural="vpcs", group="ec2.aws.upbound.io", state="Active")
    ours["metadata"]["annotations"] = {MARK: "1.0.0-a"}
    left.see(ours)
    assert not left.is_active(VPCS)


@FEW
async def test_whatever_write_it_dies_at_the_next_one_ends_with_the_same():
    whole = await begun()
    await kinds(whole).declare_all()
    expected = await states(whole)
    last = len(expected) + 2
    for fatal in range(1, last + 1):
        world = await begun()
        counter = interrupt.Counter(fatal)
        fragile = interrupt.FragileCluster(world.cluster, counter, Trouble.KILLED)
        dying = kinds(world)
        dying._cluster = fragile
        try:
            await dying.declare_all()
        except interrupt.Killed:
            await kinds(world).declare_all()
        assert await states(world) == expected
        assert await world.cluster.get(Key(*mrds.policy_key("default")[:3], "default")) is not None
    assert counter.times == 0


@FEW
async def test_two_at_once_make_each_one_once():
    world = await begun()
    await asyncio.gather(kinds(world).declare_all(), kinds(world).declare_all())
    found = await world.cluster.list(*mrds.key()[:2])
    assert {each["metadata"]["generation"] for each in found} == {1}


def test_a_kind_beside_aws_is_known_without_reading_any_of_aws(monkeypatch):
    monkeypatch.setattr(catalogue, "every", lambda: pytest.fail("every kind file is read"))
    clouds._beside_aws.cache_clear()
    assert clouds.lookup("postgresql.sql.crossplane.io/v1alpha1", "Role").kind == "Role"
    assert clouds.lookup("example.org/v1", "Role") is None


def test_a_kind_that_is_built_in_and_not_active_is_told_by_the_name_of_its_definition():
    ours = kinds(World())
    assert ours.inactive("ec2.aws.upbound.io/v1beta1", "VPC") == VPCS
    assert ours.inactive("rds.aws.upbound.io/v1beta1", "Instance") == ""
    assert ours.inactive("example.org/v1", "VPC") == ""
