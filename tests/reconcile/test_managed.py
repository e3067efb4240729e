"""A managed resource's life: what is in AWS, in its Secret and in its status, from creation to the end."""

from tests.reconcile import managed
from tests.reconcile.managed import condition, get, is_ready, key, message, secret_of


async def applied(world, *manifests, seconds=0):
    await world.apply(*manifests)
    await world.settle(seconds=seconds)
    return await get(world, manifests[-1])


async def edited(world, manifest, *, seconds=0, **for_provider):
    await world.patch(key(manifest), {"spec": {"forProvider": for_provider}})
    await world.settle(seconds=seconds)
    return await get(world, manifest)


async def deleted(world, manifest, *, seconds=60):
    await world.cluster.delete(key(manifest))
    await world.settle(seconds=seconds)
    return await get(world, manifest)


async def test_a_database_is_created_becomes_ready_and_has_its_secret(aws):
    world = await aws.world()
    aws.standin.slow(30)
    found = await applied(world, managed.instance())
    assert condition(found, "Ready") == ("False", "Creating")
    assert condition(found, "Synced") == ("True", "ReconcileSuccess")
    assert aws.database()["DBInstanceStatus"] == "creating"
    await world.settle(seconds=40)
    found = await get(world, managed.instance())
    assert is_ready(found)
    database = aws.database()
    secret = await secret_of(world)
    assert secret["address"] == secret["host"] == database["Endpoint"]["Address"]
    assert secret["username"] == "boss"
    assert secret["password"] == secret["attribute.password"] == aws.standin.passwords()["orders"]
    assert found["status"]["atProvider"]["arn"] == database["DBInstanceArn"]
    assert managed.external_name(found) == "orders"
    assert ("Normal", "CreatedExternalResource") in world.told.reasons("Instance")


async def test_a_deleted_database_goes_from_aws_first_and_leaves_nothing(aws):
    world = await aws.world()
    await applied(world, managed.instance(), seconds=10)
    aws.standin.slow(30)
    found = await deleted(world, managed.instance(), seconds=5)
    assert condition(found, "Ready") == ("False", "Deleting")
    assert aws.database()["DBInstanceStatus"] == "deleting"
    await world.settle(seconds=60)
    assert await get(world, managed.instance()) is None
    assert aws.databases() == []
    assert await managed.kinds_left(world) == []
    assert aws.writes().count("DeleteDBInstance") == 1


async def test_what_somebody_changed_in_aws_is_changed_back(aws):
    world = await aws.world()
    await applied(world, managed.instance(applyImmediately=True), seconds=10)
    aws.client("rds").modify_db_instance(
        DBInstanceIdentifier="orders", DBInstanceClass="db.r5.large", ApplyImmediately=True
    )
    await world.settle(seconds=70)
    assert aws.database()["DBInstanceClass"] == "db.t3.micro"
    assert is_ready(await get(world, managed.instance()))
    assert ("Normal", "UpdatedExternalResource") in world.told.reasons("Instance")


async def test_an_immutable_field_is_refused_with_its_name_and_both_values_until_it_is_reverted(aws):
    world = await aws.world()
    await applied(world, managed.vpc(), seconds=10)
    found = await edited(world, managed.vpc(), cidrBlock="10.1.0.0/16", seconds=10)
    assert condition(found, "Synced") == ("False", "ReconcileError")
    assert condition(found, "Ready") == ("True", "Available")
    for part in ("spec.forProvider.cidrBlock", "10.0.0.0/16", "10.1.0.0/16", "Mend: set the old value again"):
        assert part in message(found)
    found = await edited(world, managed.vpc(), cidrBlock="10.0.0.0/16")
    assert is_ready(found)
    assert len(aws.vpcs()) == 1
