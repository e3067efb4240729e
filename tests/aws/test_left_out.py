"""What the spec leaves out is no difference, at any depth: each leaf that AWS shows of a thing is changed by hand, one after the other.

A thing is made from its kind's example.  What the stand-in does not show of it is filled from botocore's model, so that members
that are newer than the stand-in (a table's `WarmThroughput`) are among the leaves.  A default that a kind file enforces, and the
docs tell, is a difference on purpose.
"""

import copy

import pytest

from tests.aws.conftest import made
from tests.aws.test_at_provider import answer
from tests.aws.test_grammar import operation
from tests.aws.test_life import (  # noqa: F401  fixtures
    KINDS,
    asked,
    policies,
    secrets,
    watched_cloud,
    world,
)

APART = {"cloudcontrol_resource"}  # all that AWS shows is one text
SHARED_LISTS = {"s3_bucket_notification": {"topic", "lambdaFunction", "queue"}, "s3_bucket_logging": {"targetGrant"}}


def filled(item, sample):
    """What is shown, and beside it all that could be."""
    if isinstance(item, dict) and isinstance(sample, dict):
        there = {name: filled(value, sample.get(name)) for name, value in item.items() if value is not None}
        return sample | there
    if isinstance(item, list) and isinstance(sample, list) and sample:
        return [filled(entry, sample[0]) for entry in item]
    return item


def leaves(value, path=()):
    """Each leaf's path, and another value for it."""
    if isinstance(value, dict | list):
        for name, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(entry, (*path, name))
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, int | float):
        yield path, value + 7
    elif value in ("true", "false"):
        yield path, "false" if value == "true" else "true"
    elif isinstance(value, str):
        yield path, str(int(value) + 7) if value.isdigit() else f"{value}x"


def changed(item, source, path, value):
    """A copy of the item with one leaf changed; what it lacks on the way there comes from `source`."""
    found = copy.deepcopy(item)
    at, other = found, source
    for name in path[:-1]:
        if isinstance(at, dict) and at.get(name) is None:
            at[name] = copy.deepcopy(other[name])
        at, other = at[name], other[name]
    at[path[-1]] = value
    return found


def told(value, path=()):
    """What a value says, by paths without places in lists: those of its entries are compared as sets."""
    found = {}
    if isinstance(value, dict):
        for name, entry in value.items():
            for place, texts in told(entry, (*path, name)).items():
                found.setdefault(place, []).extend(texts)
    elif isinstance(value, list):
        for entry in value:
            for place, texts in told(entry, path).items():
                found.setdefault(place, []).extend(texts)
    else:
        found[path] = [str(value)]
    return {place: sorted(texts) for place, texts in found.items()}


@pytest.mark.soak
@pytest.mark.parametrize("file", sorted(KINDS.keys() - APART))
async def test_a_change_by_hand_of_what_the_spec_leaves_out_is_no_difference(world, account, file):  # noqa: F811
    kind = KINDS[file]
    cloud, hidden = world.cloud, secrets(kind)
    thing = await world.thing(kind, "orders-one")
    seen = await made(cloud, thing, account, hidden)
    item, spec = seen.item["item"], thing["spec"]["forProvider"]
    sample = kind.observe.item.search(answer(operation(kind, kind.observe.call).output_shape))
    sample = sample[0] if isinstance(sample, list) else sample
    source = filled(item, sample)
    engine = cloud._engine(thing, cloud._sessions.clients(account), hidden)
    wrong, tried = {}, 0
    for path, value in leaves(source):
        other = changed(item, source, path, value)
        tried += 1
        for difference in engine.drift(copy.deepcopy(other), None):
            name = difference.field
            before, after = (told(engine.observed(name, copy.deepcopy(each))) for each in (item, other))
            moved = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
            is_default = name not in spec and kind.fields[name].default is not None
            is_all = name in SHARED_LISTS.get(file, ())  # put whole, as upstream's
            if not (moved & told(difference.desired).keys() or is_default or is_all):
                wrong["/".join(map(str, path))] = (name, difference.desired)
    assert wrong == {}
    assert tried
