"""Managed definitions: what becomes of one in each state, and whose CustomResourceDefinition is never touched."""

from __future__ import annotations

import copy

import pytest

from groundplane.core.crds.marks import MARK, marked
from groundplane.core.objects import owner_reference
from groundplane.errors import Denied, Rejected
from groundplane.ports import Options
from tests.reconcile import interrupt, mrds, things
from tests.reconcile.interrupt import Trouble
from tests.reconcile.managed import condition, message
from tests.world import World

ACTIVE = {"spec": {"state": "Active"}}
ESTABLISHED = ("True", "EstablishedManagedResource")
PENDING = ("False", "PendingManagedResource")


async def found(world, key=mrds.key()):  # noqa: B008 - a tuple
    return await world.cluster.get(key)


async def begun(*manifests, **how):
    world = await World(**how).install()
    await world.apply(*manifests)
    return await world.settle()


async def test_an_inactive_one_is_defaulted_and_makes_no_kind():
    world = await begun(mrds.definition())
    now = await found(world)
    assert now["spec"]["state"] == "Inactive"
    assert condition(now, "Established") == ("False", "InactiveManagedResource")
    assert condition(now, "Ready") == ("True", "Available")
    assert await world.cluster.get(mrds.crd_key()) is None


async def test_an_active_one_makes_its_kind_which_it_controls():
    world = await begun(mrds.definition(state="Active"))
    now, crd = await found(world), await world.cluster.get(mrds.crd_key())
    assert condition(now, "Established") == ESTABLISHED
    assert crd["metadata"]["ownerReferences"] == [owner_reference(now)]
    for name in ("group", "scope", "versions"):
        assert crd["spec"][name] == now["spec"][name]
    assert now["spec"]["names"].items() <= crd["spec"]["names"].items()
    assert [each["manager"] for each in crd["metadata"]["managedFields"]] == ["apiextensions.crossplane.io/managed"]
    mine = {"apiVersion": f"{mrds.GROUP}/v1beta1", "kind": "Vault", "metadata": {"name": "a"}, "spec": {"size": "l"}}
    await world.apply(mine)
    assert ("Normal", "ApplyCustomResourceDefinition") in world.told.reasons("ManagedResourceDefinition")


async def test_one_that_becomes_active_makes_its_kind_and_a_change_reaches_it():
    world = await begun(mrds.definition())
    await world.patch(mrds.key(), ACTIVE)
    await world.settle()
    assert condition(await found(world), "Established") == ESTABLISHED
    await world.apply(mrds.definition(state="Active", fields=("size", "colour")))
    await world.settle()
    crd = await world.cluster.get(mrds.crd_key())
    assert "colour" in str(crd["spec"]["versions"][0]["schema"])


@pytest.mark.parametrize("state", ["Inactive", "Asleep"])
async def test_there_is_no_way_back(state):
    world = await begun(mrds.definition(state="Active"))
    with pytest.raises(Rejected):
        await world.patch(mrds.key(), {"spec": {"state": state}})


@pytest.mark.parametrize(
    "change",
    [
        {"group": "other.example.org"},
        {"scope": "Namespaced"},
        {"names": {"kind": "Other", "plural": "vaults"}},
    ],
)
async def test_what_it_is_can_not_be_changed(change):
    world = await begun(mrds.definition())
    with pytest.raises(Rejected, match="immutable"):
        await world.apply(mrds.definition(**change) | {"metadata": {"name": mrds.key().name}})


@pytest.mark.parametrize("lacking", ["group", "names", "versions"])
async def test_one_that_lacks_a_field_is_refused(lacking):
    world = await World().install()
    wrong = mrds.definition()
    del wrong["spec"][lacking]
    with pytest.raises(Rejected, match="Required"):
        await world.apply(wrong)


async def test_a_deleted_one_takes_its_kind_along():
    world = await begun(mrds.definition(state="Active"))
    await world.cluster.delete(mrds.key())
    await world.settle(seconds=60)
    assert await world.cluster.get(mrds.crd_key()) is None


async def test_one_that_is_being_deleted_says_so():
    world = await begun(mrds.definition(state="Active"))
    await world.patch(mrds.key(), {"metadata": {"finalizers": ["example.org/hold"]}})
    await world.cluster.delete(mrds.key())
    await world.settle()
    now = await found(world)
    assert condition(now, "Established") == ("False", "TerminatingManagedResource")
    await world.patch(mrds.key(), {"metadata": {"finalizers": None}})
    await world.settle(seconds=60)
    assert await world.cluster.get(mrds.crd_key()) is None


async def test_a_kind_that_somebody_deletes_comes_back():
    world = await begun(mrds.definition(state="Active"))
    await world.cluster.delete(mrds.crd_key())
    await world.settle(seconds=60)
    assert await world.cluster.get(mrds.crd_key()) is not None
    assert condition(await found(world), "Established") == ESTABLISHED


async def test_a_paused_one_is_left_alone():
    paused = mrds.definition(state="Active")
    paused["metadata"]["annotations"] = {"crossplane.io/paused": "true"}
    world = await begun(paused)
    assert await world.cluster.get(mrds.crd_key()) is None
    assert ("Normal", "ReconciliationPaused") in world.told.reasons("ManagedResourceDefinition")
    await world.patch(mrds.key(), {"metadata": {"annotations": {"crossplane.io/paused": None}}})
    await world.settle()
    assert condition(await found(world), "Established") == ESTABLISHED


async def test_an_unchanged_one_is_not_written():
    world = await begun(mrds.definition(state="Active"), mrds.definition(plural="urns"), mrds.policy("*.absent.org"))
    before = world.cluster.writes
    again = world.restarted()
    again.seen = 0
    await again.settle(seconds=600)
    assert world.cluster.writes == before


async def test_with_strict_upstream_there_is_no_such_kind():
    world = await World(options=Options(strict_upstream=True)).install()
    names = {crd["metadata"]["name"] for crd in await world.cluster.list(*mrds.crd_key()[:2])}
    assert not {name for name in names if "managedresource" in name}


# --- what goes wrong


async def test_one_that_names_another_kind_is_told_its_name():
    wrong = mrds.definition(state="Active") | {"metadata": {"name": "others.example.org"}}
    world = await begun(wrong)
    now = await found(world, mrds.key("others.example.org"))
    assert condition(now, "Established") == PENDING
    assert f"give it the name vaults.{mrds.GROUP}" in message(now, "Established")
    assert condition(now, "Ready") == ("False", "Unavailable")


async def test_a_kind_that_the_api_server_refuses_is_told_in_its_words_and_works_once_it_is_mended():
    wrong = mrds.definition(state="Active")
    wrong["spec"]["versions"][0]["storage"] = False
    world = await begun(wrong)
    now = await found(world)
    assert condition(now, "Established") == PENDING
    assert "storage" in message(now, "Established")
    assert ("Warning", "ApplyCustomResourceDefinition") in world.told.reasons("ManagedResourceDefinition")
    await world.apply(mrds.definition(state="Active"))
    await world.settle()
    now = await found(world)
    assert condition(now, "Established") == ESTABLISHED
    assert condition(now, "Synced") == ("True", "ReconcileSuccess")


# --- whose definition it is


def crd_of(definition, **metadata):
    spec = {name: definition["spec"][name] for name in ("group", "names", "scope", "versions")}
    name = definition["metadata"]["name"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, **metadata},
        "spec": copy.deepcopy(spec),
    }


async def test_what_groundplane_brought_is_used_as_it_is_and_stays_when_the_managed_definition_goes():
    brought = marked(crd_of(mrds.definition()), "1.0.0")
    world = await begun(brought, mrds.definition(state="Active", fields=("other",)))
    assert condition(await found(world), "Established") == ESTABLISHED
    assert "Groundplane's own" in message(await found(world), "Established")
    crd = await world.cluster.get(mrds.crd_key())
    assert crd["metadata"].get("ownerReferences") is None
    assert crd["metadata"]["annotations"][MARK]
    assert crd["spec"]["versions"][0]["schema"] == brought["spec"]["versions"][0]["schema"]
    await world.cluster.delete(mrds.key())
    await world.settle(seconds=60)
    assert await world.cluster.get(mrds.crd_key()) is not None


async def test_a_kind_whose_definition_was_restored_with_another_uid_gets_the_new_one_as_its_owner():
    world = await begun(mrds.definition(state="Active"))
    (old,) = (await world.cluster.get(mrds.crd_key()))["metadata"]["ownerReferences"]
    gone = {**old, "uid": "00000000-0000-4000-8000-000000000000"}
    await world.patch(mrds.crd_key(), {"metadata": {"ownerReferences": [gone]}})
    await world.settle()
    assert (await world.cluster.get(mrds.crd_key()))["metadata"]["ownerReferences"] == [old]
    assert condition(await found(world), "Established") == ESTABLISHED


async def test_what_a_definition_controls_is_refused():
    world = await begun(things.XRD)
    plural, _, group = things.XRD["metadata"]["name"].partition(".")
    theirs = mrds.definition(plural=plural, group=group, state="Active")
    before = await world.cluster.get(mrds.crd_key(theirs["metadata"]["name"]))
    await world.apply(theirs)
    await world.settle()
    now = await found(world, mrds.key(theirs["metadata"]["name"]))
    assert condition(now, "Established") == PENDING
    assert "belongs to CompositeResourceDefinition" in message(now, "Established")
    assert await world.cluster.get(mrds.crd_key(theirs["metadata"]["name"])) == before


async def test_what_a_providers_revision_controls_stays_with_it_where_the_managed_definition_is_its_own():
    revision = {
        "apiVersion": "pkg.crossplane.io/v1",
        "kind": "ProviderRevision",
        "metadata": {"name": "provider-vault-1"},
        "spec": {"image": "example.org/provider-vault:v1", "revision": 1, "desiredState": "Active"},
    }
    world = await begun(revision)
    (made,) = await world.cluster.list("pkg.crossplane.io/v1", "ProviderRevision")
    theirs = owner_reference(made)
    mine = mrds.definition(state="Active")
    mine["metadata"]["ownerReferences"] = [theirs]
    await world.apply(crd_of(mine, ownerReferences=[theirs]))
    await world.apply(mine)
    await world.settle()
    now, crd = await found(world), await world.cluster.get(mrds.crd_key())
    assert condition(now, "Established") == ESTABLISHED
    assert theirs in crd["metadata"]["ownerReferences"]
    assert owner_reference(now, controller=False) in crd["metadata"]["ownerReferences"]


# --- those that are built in


class BuiltIn:
    """One kind is: the Vault.  It remembers what it was asked for."""

    def __init__(self):
        self.world, self.asked = None, []

    def has(self, name):
        return name == mrds.key().name

    async def bring(self, name):
        self.asked.append(("bring", name))
        await self.world.cluster.apply(marked(crd_of(mrds.definition()), "1.0.0"), manager="groundplane.io/crds")

    async def declare(self, name):
        self.asked.append(("declare", name))
        if self.has(name):
            await self.world.cluster.apply(of_ours(state="Active"), manager="groundplane.io/crds")


def of_ours(**how):
    made = mrds.definition(**how)
    made["metadata"]["annotations"] = {MARK: "1.0.0-aaaaaaaaaaaa"}
    return made


async def built_in(*manifests):
    port = BuiltIn()
    world = port.world = await World(built_in=port).install()
    await world.apply(*manifests)
    await world.settle()
    return world, port


async def test_one_that_is_built_in_is_brought_once_it_is_active_and_owned_by_nobody():
    world, port = await built_in(of_ours())
    assert port.asked == []
    await world.patch(mrds.key(), ACTIVE)
    await world.settle(seconds=600)
    assert port.asked == [("bring", mrds.key().name)]
    assert condition(await found(world), "Established") == ESTABLISHED
    assert (await world.cluster.get(mrds.crd_key()))["metadata"].get("ownerReferences") is None


async def test_one_that_is_built_in_is_declared_again_if_somebody_deletes_it_and_its_kind_stays():
    world, port = await built_in(of_ours(state="Active"))
    await world.cluster.delete(mrds.key())
    await world.settle(seconds=60)
    assert port.asked == [("bring", mrds.key().name), ("declare", mrds.key().name)]
    assert condition(await found(world), "Established") == ESTABLISHED
    assert await world.cluster.get(mrds.crd_key()) is not None


async def test_a_kind_of_somebody_else_is_used_as_it_is_by_one_that_is_built_in():
    theirs = crd_of(mrds.definition(fields=("theirs",)))
    world, port = await built_in(theirs, of_ours(state="Active"))
    assert port.asked == []
    assert condition(await found(world), "Established") == ESTABLISHED
    assert "theirs" in str((await world.cluster.get(mrds.crd_key()))["spec"])


async def test_where_the_kinds_are_left_to_others_none_is_brought_nor_taken_and_it_is_told_how_to():
    world = await begun(of_ours(state="Active"))
    now = await found(world)
    assert condition(now, "Established") == PENDING
    assert f"groundplane crds --only {mrds.key().name}" in message(now, "Established")
    assert await world.cluster.get(mrds.crd_key()) is None
    await world.apply(crd_of(mrds.definition()))
    await world.settle(seconds=60)
    assert condition(await found(world), "Established") == ESTABLISHED
    assert (await world.cluster.get(mrds.crd_key()))["metadata"].get("ownerReferences") is None


async def test_a_right_that_is_missing_to_a_kind_that_is_to_be_served_is_told_with_its_mend():
    class Cloud:
        def kind(self, api_version, kind):
            return object() if kind == "Vault" else None

        def kinds(self):
            return []

    port = BuiltIn()
    world = port.world = await World(Cloud(), built_in=port).install()
    create = world.cluster.create

    async def refusing(obj):
        if obj["kind"] == "SelfSubjectAccessReview":
            return obj | {"status": {"allowed": False}}
        return await create(obj)

    world.cluster.create = refusing
    await world.apply(of_ours(state="Active"))
    await world.settle()
    now = await found(world)
    assert condition(now, "Established") == PENDING
    assert "rbac.activatable" in message(now, "Established")
    assert Denied.__name__ not in message(now, "Established")


# --- at each write


async def life(world):
    await world.apply(mrds.policy("vaults.*"), mrds.definition())
    await world.settle(seconds=60)


async def as_it_should_be(world):
    now, crd = await found(world), await world.cluster.get(mrds.crd_key())
    policy = await world.cluster.get(mrds.policy_key())
    return (
        now["spec"]["state"],
        condition(now, "Established"),
        crd["metadata"]["ownerReferences"],
        policy["status"]["activated"],
        condition(policy, "Healthy"),
    )


@pytest.mark.parametrize("trouble", Trouble)
async def test_an_activation_that_breaks_off_at_any_write_is_carried_to_its_end(trouble):
    whole = await World().install()
    await life(whole)
    expected = await as_it_should_be(whole)
    assert expected[0] == "Active"
    for fatal in range(1, 30):
        counter = interrupt.Counter(fatal)
        world = interrupt.fragile(await World().install(), counter, trouble)
        try:
            await life(world)
        except interrupt.Killed:
            assert trouble is Trouble.KILLED
        if not counter.times:
            break
        after = world.restarted() if trouble is Trouble.KILLED else world
        after.seen = after.installed
        await after.settle(seconds=600)
        state = await as_it_should_be(after)
        assert (state[0], state[1], state[3], state[4]) == (expected[0], expected[1], expected[3], expected[4])
    assert counter.times == 0
    assert fatal > 3
