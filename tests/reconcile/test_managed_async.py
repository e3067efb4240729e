"""AsyncOperation and LastAsyncOperation, on the kinds whose calls upstream's provider makes in the background."""

import pytest

from tests.reconcile import managed
from tests.reconcile.managed import applied, condition, edited, get, is_ready, message

ONGOING, FINISHED = ("False", "Ongoing"), ("True", "Finished")
SUCCESS = ("True", "Success")


def told(found):
    return condition(found, "LastAsyncOperation"), condition(found, "AsyncOperation")


@pytest.mark.parametrize("strict", [False, True])
async def test_a_database_tells_of_its_create_and_its_end_in_order(aws, strict):
    world = await aws.world(strict=strict)
    aws.standin.slow(30)
    found = await applied(world, managed.instance())
    assert told(found) == ((None, None), ONGOING)
    await world.settle(seconds=60)
    found = await get(world, managed.instance())
    assert is_ready(found)
    assert told(found) == (SUCCESS, FINISHED)
    aws.standin.slow(30)
    await world.cluster.delete(managed.key(found))
    await world.settle(seconds=5)
    assert told(await get(world, found)) == (SUCCESS, ONGOING)


@pytest.mark.parametrize("manifest", [managed.vpc(), managed.group(vpcId="vpc-1"), managed.role(), managed.bucket()])
async def test_only_kinds_whose_calls_run_in_the_background_have_them(aws, manifest):
    world = await aws.world()
    made = await applied(world, managed.vpc("other"), seconds=10)
    if manifest["kind"] == "SecurityGroup":
        manifest["spec"]["forProvider"]["vpcId"] = managed.external_name(made)
    found = await applied(world, manifest, seconds=20)
    assert is_ready(found)
    in_background = manifest["kind"] in ("VPC", "SecurityGroup")
    assert told(found) == ((SUCCESS, FINISHED) if in_background else ((None, None), (None, None)))


async def test_what_aws_refuses_is_told_and_taken_back_once_it_is_mended(aws):
    world = await aws.world()
    aws.standin.fail("rds", "CreateDBInstance", "InvalidParameterValue", message="no such engine", times=1)
    found = await applied(world, managed.instance())
    assert told(found) == (("False", "AsyncCreateFailure"), FINISHED)
    assert message(found, "LastAsyncOperation").startswith("async create failed: ")
    assert "no such engine" in message(found, "LastAsyncOperation")
    found = await edited(world, managed.instance(), storageType="gp2", seconds=60)
    assert told(found) == (SUCCESS, FINISHED)
    aws.standin.fail("rds", "ModifyDBInstance", "InvalidParameterValue", message="too small", times=10_000)
    found = await edited(world, managed.instance(), allocatedStorage=30, seconds=20)
    assert told(found) == (("False", "AsyncUpdateFailure"), FINISHED)
    aws.standin.mend()
    found = await edited(world, managed.instance(), allocatedStorage=20, seconds=20)
    assert told(found) == (SUCCESS, FINISHED)
    aws.standin.fail("rds", "DeleteDBInstance", "AccessDenied", status=403, times=10_000)
    await world.cluster.delete(managed.key(found))
    await world.settle(seconds=40)  # until then it may be a role that is new
    assert told(await get(world, found)) == (("False", "AsyncDeleteFailure"), FINISHED)


async def test_what_passes_by_itself_is_no_failed_operation(aws):
    world = await aws.world()
    aws.standin.fail("ec2", "CreateVpc", "RequestLimitExceeded", times=2)
    found = await applied(world, managed.vpc())
    assert condition(found, "LastAsyncOperation") == (None, None)
    await world.settle(seconds=60)
    assert told(await get(world, found)) == (SUCCESS, FINISHED)


async def test_they_cost_no_write_at_rest(aws):
    world = await aws.world()
    await applied(world, managed.instance(), seconds=60)
    before = (await get(world, managed.instance()))["metadata"]["resourceVersion"]
    await world.settle(seconds=1800)
    assert (await get(world, managed.instance()))["metadata"]["resourceVersion"] == before
