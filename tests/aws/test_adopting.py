"""Each kind, made from its example and forgotten: its list finds it, and the manifest that is made of it changes nothing.

The stand-in is asked what it was told to change; worlds run the reconcilers on the manifests.
"""

import copy
import json

import pytest

from groundplane.aws import adopting, catalogue, tags
from groundplane.aws.session import Sessions
from groundplane.core import conditions, importing
from groundplane.core.objects import key_of
from tests.aws.conftest import external_name, made
from tests.aws.test_life import World, secrets
from tests.reconcile.conftest import Aws
from tests.standin import REGION

KINDS = {found.file: found for found in catalogue.first_generation()}
READS = ("Describe", "Get", "List", "HEAD", "GET")
TAGS = ("CreateTags", "AddTagsToResource", "TagResource", "TagRole", "TagUser", "TagPolicy", "TagInstanceProfile", "TagQueue",
    "TagOpenIDConnectProvider", "PUT ?tagging")  # fmt: skip


@pytest.fixture(autouse=True)
def policies(standin):
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
    for name in ("ReadOnlyAccess", "PowerUserAccess"):
        standin.client("iam").create_policy(PolicyName=name, PolicyDocument=json.dumps(document))


@pytest.fixture
def there(cloud, patient_cloud, account):
    """Makes the example of a kind, and what it refers to: its external name."""

    async def make(found):
        thing = await World(cloud, patient_cloud, account).thing(found, "orders-one")
        await made(patient_cloud, thing, account, secrets(found))
        return external_name(thing), thing

    return make


@pytest.fixture
def aws(standin):
    made = Aws(standin)
    yield made
    made.close()


def in_account(account, **how):
    return adopting.Account(Sessions(attempts=1).clients(account), importing.How(region=REGION, **how))


def given(found):
    """What has to be said of a kind whose list needs it."""
    return {"typeName": found.example["typeName"]} if "typeName" in found.fields else {}


def writes(standin):
    return [name for name in standin.operations() if not name.startswith(READS)]


def seen(there_is, found, name):
    """What is made of the one thing of that name, of those that the list has."""
    listed = there_is.candidates(found)
    matching = [each for each in listed if each.external_name == name or found.kind == "Resource"]
    assert matching, f"{name} is not among {[each.external_name for each in listed]}"
    return [there_is.look(found, each) for each in matching]


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
async def test_what_is_imported_of_a_kind_is_left_as_it_is(there, account, aws, standin, found):
    name, thing = await there(found)
    name = name.partition(",")[0]  # what was asked for beside a bucket, AWS does not tell
    standin.forget_calls()
    for how in ({}, {"namespace": "orders"}):
        kind = found.namespaced if how else found
        there_is = in_account(account, given=given(found), **how)
        [sight] = seen(there_is, kind, name)
        assert (sight.problem, sight.left_out, sight.is_own) == ("", [], False)
        assert not {rule.secret and key for key, rule in kind.fields.items()} & sight.for_provider.keys() - {""}
        manifest = there_is.manifest(kind, name, sight.for_provider, sight.tags)
        assert manifest["metadata"].get("namespace") == how.get("namespace")
        if not how:
            first = (sight, manifest)
        assert not set(manifest["spec"]["forProvider"].get("tags", {})) & tags.OWNERSHIP
        if found.tags:
            assert sight.owner["crossplane-uid"] == thing["metadata"]["uid"]
    assert writes(standin) == []

    sight, manifest = first
    world = await aws.world()
    held = copy.deepcopy(manifest)
    held["metadata"]["name"] += "-held"
    del held["spec"]["managementPolicies"]
    await world.apply(manifest)
    await world.settle(seconds=120)
    assert writes(standin) == [], "who only looks has changed something"
    await world.apply(held)
    await world.settle(seconds=120)
    assert not [each for each in writes(standin) if each not in TAGS], "to take it over changes more than whose it is"
    for each in (manifest, held):
        live = await world.cluster.get(key_of(each))
        assert conditions.is_true(live, "Synced"), conditions.find(live, "Synced")
        assert conditions.is_true(live, "Ready"), conditions.find(live, "Ready")
