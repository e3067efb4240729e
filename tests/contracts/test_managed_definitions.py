"""Managed definitions as both adapters store them: defaults, rules, and a whole CustomResourceDefinition in one, unchanged."""

from __future__ import annotations

import copy

import pytest

from groundplane.core import crds
from groundplane.core.activation import DEFINITION, VERSION
from groundplane.core.crds.marks import MARK
from groundplane.core.managed_definition import crd_of, definition_of
from groundplane.core.objects import Key
from groundplane.errors import NoSuchKind, Rejected
from groundplane.runtime.crds import brought
from tests.contracts.conftest import eventually
from tests.reconcile import mrds


@pytest.fixture
async def place(bare):
    (kind,) = [crd for crd in crds.crds() if crd["spec"]["names"]["kind"] == DEFINITION]
    await bare.cluster.apply(kind, manager="test")

    async def served():
        try:
            await bare.cluster.list(VERSION, DEFINITION)
        except NoSuchKind:
            return False
        return True

    await eventually(served, "managed definitions are served")
    return bare


async def test_one_is_inactive_and_namespaced_unless_it_says_otherwise(place):
    plain = mrds.definition(group=place.group)
    del plain["spec"]["scope"]
    made = await place.cluster.create(plain)
    assert (made["spec"]["state"], made["spec"]["scope"]) == ("Inactive", "Namespaced")


async def test_there_is_no_way_back_from_active(place):
    made = await place.cluster.create(mrds.definition(group=place.group))
    key = mrds.key(made["metadata"]["name"])
    assert (await place.cluster.patch(key, {"spec": {"state": "Active"}}))["spec"]["state"] == "Active"
    with pytest.raises(Rejected, match="state cannot be changed once it becomes Active"):
        await place.cluster.patch(key, {"spec": {"state": "Inactive"}})


@pytest.mark.parametrize("name", ["instances.rds.aws.upbound.io", "vpcs.ec2.aws.upbound.io"])
async def test_a_kind_that_is_built_in_is_in_its_managed_definition_as_it_is(place, name):
    (ours,) = [each for each in brought() if each.name == name]
    crd = ours.read()
    wanted = definition_of(crd, [{"name": "host", "description": "Where it is."}], mark="1.0.0-a", state="Inactive")
    wanted["metadata"]["name"] = name.replace("aws.upbound.io", place.group)
    wanted["spec"]["group"] = wanted["metadata"]["name"].partition(".")[2]
    await place.cluster.apply(copy.deepcopy(wanted), manager="test")
    stored = await place.cluster.get(Key(VERSION, DEFINITION, "", wanted["metadata"]["name"]), live=True)
    assert stored["spec"] == wanted["spec"]
    assert stored["metadata"]["annotations"] == {MARK: "1.0.0-a"}
    made = crd_of(stored, None)["spec"]
    assert made["versions"] == sorted(crd["spec"]["versions"], key=lambda each: each["name"])
    assert made["names"] == crd["spec"]["names"]
