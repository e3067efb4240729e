"""Ready means seen in AWS: of whatever credentials expire in the middle of, it is said, and goes on from what a look shows, without a restart."""

from __future__ import annotations

import pytest

from groundplane.core.objects import key_of
from tests import aws_examples
from tests.reconcile import managed
from tests.reconcile.managed import condition

MADE_BY_AWS = ("Bucket", "BucketPublicAccessBlock")  # each bucket has one; and the bucket itself
SETTINGS = [kind for kind in aws_examples.kinds(1) if kind.kind.startswith("Bucket") and kind.kind not in MADE_BY_AWS]


@pytest.mark.soak
@pytest.mark.parametrize("through", [1, 2])
@pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.kind)
async def test_credentials_expire_in_the_middle_of_a_create(aws, kind, through):
    """After the first call, which looks, or after the second, which makes it."""
    world = await aws.world()
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in aws_examples.managed(1)}
    wanted = [each for name, each in by_name.items() if name[0] in ("Bucket", "Queue", "QueuePolicy")]
    await world.apply(*wanted)
    await world.settle(seconds=300)
    setting = next(each for name, each in by_name.items() if name[0] == kind.kind)
    aws.standin.fail("s3", "*", "ExpiredToken", status=400, skip=through, times=40)
    await world.apply(setting)
    await world.settle(seconds=20)
    found = await world.cluster.get(key_of(setting))
    assert condition(found, "Ready")[0] != "True"
    assert condition(found, "Synced")[0] == "False"
    assert "ExpiredToken" in managed.message(found)
    aws.standin.mend()
    await world.settle(seconds=900)
    found = await world.cluster.get(key_of(setting))
    assert [condition(found, type_)[0] for type_ in ("Ready", "Synced")] == ["True", "True"], found["status"]
    for each in (setting, *wanted):
        await world.cluster.delete(key_of(each))
    await world.settle(seconds=300)
    assert await managed.kinds_left(world) == []
