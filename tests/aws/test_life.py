"""The life of every kind, from its file alone: its example is made, each of its `changes` is made and undone, and it goes.

What an example refers to is made from the example of that kind.  `--kinds s3_bucket,iam_role` plays these alone.
"""

import copy
import itertools
import json
from dataclasses import replace

import pytest

from groundplane.aws import actions, catalogue, compare, convert, shared_reads
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.session import Sessions
from groundplane.core import references
from tests.aws.conftest import made, managed, settle, source_of_hooks

KINDS = {found.file: found for found in catalogue.first_generation()}
EXACT = ["Observe", "Create", "Update", "Delete"]
READS = ("Describe", "Get", "List", "HEAD", "GET")
ROUNDS = 8
PENDING, SUCCEEDED = "crossplane.io/external-create-pending", "crossplane.io/external-create-succeeded"
# what differs in a second one of a kind
OTHERS = {"ec2/Subnet": {"availabilityZone": "eu-west-1b", "cidrBlock": "10.0.2.0/24"}}


class World:
    """Things in the stand-in, and what they refer to, which `others` makes."""

    def __init__(self, cloud, others, account):
        self.cloud, self.others, self.account = cloud, others, account
        self._made = {}

    async def thing(self, found, name, /, **changes):
        """A new object of a kind from its example, its references filled; not made."""
        spec = {"tags": {"team": "orders"}} if found.tags else {}
        thing = managed(f"{found.group}/{found.versions[0]}", found.kind, name, **spec | found.example | changes)
        if found.is_global:
            thing["spec"]["forProvider"].pop("region", None)
        return await self.filled(found, thing)

    async def filled(self, found, thing):
        """The object with what its references give."""
        nested = []
        for wish in references.wishes(thing, found.port.references):
            values = references.resolved(wish, [await self._target(wish, index) for index in range(1 + wish.many)])
            nested.append((wish, values))
        return references.placed(thing, nested)

    async def _target(self, wish, index):
        name = wish.names[index] if index < len(wish.names) else f"{wish.kind.lower()}-{index}"
        key = f"{wish.group.partition('.')[0]}/{wish.kind}"
        if (key, index) not in self._made:
            api_version = f"{wish.group}/v1beta1"
            found = catalogue.lookup(api_version, wish.kind)
            assert found, f"the example refers to a {key}, which is not built in"
            other = OTHERS.get(key, {}) if index else {}
            target = await self.thing(found, name, **other)
            observation = await made(self.others, target, self.account, secrets(found))
            target["status"] = {"atProvider": dict(observation.at_provider)}
            self._made[key, index] = target
        return self._made[key, index]


def secrets(found):
    return {secret.field: "correct-horse-battery" for secret in found.port.secrets}


def shows(found, observation, name, value):
    """Whether what AWS says of a field is that value."""
    rule = found.fields[name]
    if rule.observe is None or rule.secret:
        return True
    wanted = convert.fitted(value, rule)
    return compare.covers(wanted, observation.at_provider.get(name), rule)


def make_policies(standin):
    """Two managed policies; the stand-in comes without AWS's own."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
    for name in ("ReadOnlyAccess", "PowerUserAccess"):
        standin.client("iam").create_policy(PolicyName=name, PolicyDocument=json.dumps(document))


@pytest.fixture(autouse=True)
def policies(standin):
    make_policies(standin)


@pytest.fixture
def asked():
    """What was called for the thing itself: (service, operation)."""
    return set()


@pytest.fixture
def watched_cloud(asked, monkeypatch):
    passed = itertools.count(step=60.0)
    told = Sessions(attempts=1, on_call=lambda service, operation, *_: asked.add((service, operation)))
    monkeypatch.setattr(shared_reads, "LEAST", 1)
    made = AwsCloud(sessions=told, clock=lambda: next(passed), window=0)
    yield made
    made.close()


@pytest.fixture
def world(watched_cloud, patient_cloud, account):
    return World(watched_cloud, patient_cloud, account)


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
async def test_a_kind_lives_as_its_file_says(world, strict_cloud, account, standin, asked, found):
    cloud, hidden = world.cloud, secrets(found)
    thing = await world.thing(found, "orders-one")
    before = await cloud.observe(thing, account, hidden)
    assert not before.exists
    thing["metadata"]["annotations"] |= before.to_note
    first = await made(cloud, thing, account, hidden)
    assert first.ready
    assert first.ready.status == "True"
    assert first.settled
    assert first.immutable == ()
    for name, value in thing["spec"]["forProvider"].items():
        if name in found.fields:
            assert shows(found, first, name, value), f"{name}: {value} became {first.at_provider.get(name)}"

    standin.forget_calls()
    again = await cloud.observe(thing, account, hidden)
    assert again.exists
    assert (again.drift, again.late) == ((), first.late)
    calls = standin.operations()
    assert not [name for name in calls if not name.startswith(READS)]
    await polled(world, found, thing, again, standin, len(calls))
    assert (await strict_cloud.observe(copy.deepcopy(thing), account, hidden)).drift == ()

    for name, value in found.changes.items():
        thing = await change(world, found, thing, name, value)
    if found.tags:
        thing["spec"]["forProvider"]["tags"] = {"team": "billing", "tier": "data"}
        observation = await settle(cloud, thing, account, hidden, ROUNDS)
        tags = observation.at_provider["tagsAll"]
        assert tags["team"] == "billing"
        assert tags["crossplane-uid"] == thing["metadata"]["uid"]

    observation = await cloud.observe(thing, account, hidden)
    thing["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    for _ in range(ROUNDS):
        if not observation.exists:
            break
        await cloud.delete(thing, account, observation)
        observation = await cloud.observe(thing, account, hidden)
    assert not observation.exists
    await cloud.delete(thing, account, first)  # what is gone can be deleted again

    needed = {action for service, name in asked for action in actions.of_operation(service.replace("-", ""), name)}
    allowed = [statement["Action"] for statement in actions.policy([found])["Statement"]]
    assert not needed - set(itertools.chain(*allowed)), "not in what `groundplane iam-policy` prints for the kind"


async def polled(world, found, thing, known, standin, calls):
    """A poll of what has settled finds what a look of its own does, which took so many calls, with no call but the shared one."""
    conditions = [{"type": name, "status": "True"} for name in ("Synced", "Ready")]
    settled = copy.deepcopy(thing)
    settled["status"] = {"conditions": conditions, "observedGeneration": 1, "atProvider": dict(known.at_provider)}
    settled["metadata"]["annotations"] = {**thing["metadata"]["annotations"], SUCCEEDED: "2026-01-01T00:00:00Z"}
    settled["spec"]["forProvider"] |= known.late
    account = replace(world.account, lane="poll")
    standin.forget_calls()
    observation = await world.cloud.observe(settled, account, secrets(found))
    assert observation.at_provider == known.at_provider
    assert (observation.exists, observation.settled, observation.drift, observation.late) == (True, True, (), {})
    called = set(standin.operations())
    if found.observe.shared is not None:
        reads = [found.observe, *found.also.values()]
        shared = {(each.shared.call or each.call).rpartition(":")[2] for each in reads if each.shared}
        shared |= {call.rpartition(":")[2] for call in actions.shared_calls(found)}
        assert called <= {"GET ?max-buckets", *(actions.operation(each) for each in shared)}
    else:
        assert len(standin.operations()) <= calls - found.is_untagged


async def change(world, found, before, name, value):
    """Change one field, undo it by hand, have it repaired; take it out of the spec and see it reset; then put it back."""
    cloud, account, hidden = world.cloud, world.account, secrets(found)
    rule = found.fields[name]
    after = copy.deepcopy(before)
    after["spec"]["forProvider"][name] = value
    after = await world.filled(found, after)
    value = after["spec"]["forProvider"][name]
    observation = await cloud.observe(after, account, hidden)
    if rule.immutable:
        assert [difference.field for difference in observation.immutable] == [name]
        assert observation.drift == ()
        return before
    assert name in [difference.field for difference in observation.drift], f"{name}: no drift to {value}"
    observation = await settle(cloud, after, account, hidden, ROUNDS)
    assert shows(found, observation, name, value), f"{name}: {value} became {observation.at_provider.get(name)}"
    moved = copy.deepcopy(before)
    moved["metadata"]["annotations"] = after["metadata"]["annotations"]

    by_hand = copy.deepcopy(moved)
    if name not in by_hand["spec"]["forProvider"]:
        by_hand["spec"]["managementPolicies"] = EXACT
    observation = await cloud.observe(by_hand, account, hidden)
    if observation.drift:
        await cloud.update(by_hand, account, hidden, observation)
        after["metadata"]["annotations"] = by_hand["metadata"]["annotations"]
        observation = await settle(cloud, after, account, hidden, ROUNDS)
        assert shows(found, observation, name, value), f"{name}: drift is not repaired"

    if not rule.required and (rule.unset is not None or rule.default is not None):
        gone = copy.deepcopy(after)
        del gone["spec"]["forProvider"][name]
        gone["spec"]["managementPolicies"] = EXACT
        observation = await settle(cloud, gone, account, hidden, ROUNDS)
        back = rule.default if rule.unset is None else rule.unset
        if not (isinstance(back, str) and "$" in back):
            assert shows(found, observation, name, back), f"{name}: it is not reset to {back}"
        after["metadata"]["annotations"] = gone["metadata"]["annotations"]
    moved["metadata"]["annotations"] = after["metadata"]["annotations"]
    await settle(cloud, moved, account, hidden, ROUNDS)
    return moved


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_every_field_that_is_updated_is_tried_or_says_why_not(found):
    updated = {name for name, rule in found.fields.items() if rule.group and rule.observe and not rule.secret}
    left = updated - set(found.changes) - {name for names in found.untried.values() for name in names}
    assert not left, f"{found.file}.yaml: changes lacks {sorted(left)}"


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_every_field_does_something_or_is_refused(found, kind_source):
    text = json.dumps(kind_source(found.file))
    beside = source_of_hooks(found.file)
    idle = [
        name
        for name, rule in found.fields.items()
        if not (rule.create or rule.update or rule.delete or rule.secret or rule.observe)
        and not (rule.unsupported or rule.idle)
        and f"spec.{name}" not in text
        and name not in {found.delete.skip, found.external_name.field, *found.create.instead}
        and name not in [rule.generate for rule in found.fields.values()]
        and f'"{name}"' not in beside
    ]
    assert not idle, f"{found.file}.yaml: {idle} are read by nothing: map them, or say `unsupported` or `idle` and why"


@pytest.mark.soak
@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
async def test_what_somebody_deletes_by_hand_is_made_again_as_it_was(world, account, standin, found):
    """With all that a first look has filled in: nothing of it may keep the create from going through."""
    cloud, hidden = world.cloud, secrets(found)
    thing = await world.thing(found, "orders-one")
    thing["metadata"]["annotations"] |= (await cloud.observe(thing, account, hidden)).to_note
    first = await made(cloud, thing, account, hidden)
    thing["spec"]["forProvider"] |= first.late
    by_hand = copy.deepcopy(thing)
    by_hand["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    for _ in range(ROUNDS):
        gone = await cloud.observe(by_hand, account, hidden)
        if not gone.exists:
            break
        await cloud.delete(by_hand, account, gone)
    found_gone = await cloud.observe(thing, account, hidden)
    if not found_gone.exists or found.external_name.preset:
        thing["metadata"]["annotations"] |= found_gone.to_note | {PENDING: "2030-01-01T00:00:01Z"}
        again = await made(cloud, thing, account, hidden)
        assert (again.exists, again.ready and again.ready.status) == (True, "True")
        assert again.drift == ()
        assert {name: value for name, value in again.late.items() if name not in first.late} == {}
    else:
        assert found.delete.done is not None or not found.delete.call, "it is still there"
