"""A managed resource's life: what is in AWS, in its Secret and in its status, from creation to the end."""

from groundplane.aws.session import Sessions
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


# --- creates that go wrong -------------------------------------------------------------------------------------


async def test_a_lost_answer_never_makes_a_second_vpc_however_often_boto3_may_repeat_a_call(aws):
    world = await aws.world(sessions=Sessions(attempts=3))
    aws.standin.fail("ec2", "CreateVpc", "InternalError", status=500, lost=True)
    found = await applied(world, managed.vpc(), seconds=60)
    [made] = aws.vpcs()
    assert is_ready(found)
    assert managed.external_name(found) == made["VpcId"]
    assert ("Normal", "RecoveredExternalResource") in world.told.reasons("VPC")


async def test_a_group_whose_set_up_is_throttled_is_not_made_again_and_lets_nothing_out_in_the_end(aws):
    world = await aws.world()
    aws.standin.fail("ec2", "RevokeSecurityGroupEgress", "RequestLimitExceeded")
    found = await applied(world, managed.group(), seconds=60)
    assert is_ready(found)
    [made] = aws.groups()
    assert made["IpPermissionsEgress"] == []


async def test_what_somebody_deleted_in_aws_is_made_again(aws):
    world = await aws.world()
    await applied(world, managed.vpc(), seconds=10)
    old = aws.vpcs()[0]["VpcId"]
    known = (await get(world, managed.vpc()))["status"]["atProvider"]
    aws.client("ec2").delete_vpc(VpcId=old)
    await world.settle(seconds=90)
    found = await get(world, managed.vpc())
    [new] = aws.vpcs()
    assert is_ready(found)
    assert managed.external_name(found) == new["VpcId"] != old
    for name, value in found["status"]["atProvider"].items():
        if name.endswith("Id") and name.startswith(("default", "main")):
            assert value != known[name]  # nothing of the old one is left


async def test_what_was_made_again_is_awaited_though_aws_does_not_show_it_at_once(aws):
    world = await aws.world()
    await applied(world, managed.vpc(), seconds=10)
    aws.client("ec2").delete_vpc(VpcId=aws.vpcs()[0]["VpcId"])
    aws.standin.fail("ec2", "DescribeVpcs", "InvalidVpcID.NotFound", skip=1, times=3)
    await world.settle(seconds=90)
    assert len(aws.vpcs()) == 1
    assert is_ready(await get(world, managed.vpc()))


async def test_a_password_is_given_anew_to_a_database_that_was_made_again(aws):
    world = await aws.world()
    await applied(world, managed.instance(), seconds=10)
    aws.client("rds").delete_db_instance(DBInstanceIdentifier="orders", SkipFinalSnapshot=True)
    await world.settle(seconds=90)
    assert aws.standin.passwords() == {"orders": (await secret_of(world))["password"]}


async def test_a_name_that_does_not_exist_in_aws_is_replaced_by_that_of_a_new_thing(aws):
    world = await aws.world()
    found = await applied(
        world, managed.vpc(spec={"annotations": {"crossplane.io/external-name": "vpc-00000000"}}), seconds=10
    )
    [made] = aws.vpcs()
    assert managed.external_name(found) == made["VpcId"]
    assert is_ready(found)


async def test_a_name_of_an_existing_thing_adopts_it(aws):
    world = await aws.world()
    existing = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    found = await applied(world, managed.vpc(spec={"annotations": {"crossplane.io/external-name": existing}}))
    assert is_ready(found)
    [vpc] = aws.vpcs()
    assert {tag["Key"] for tag in vpc["Tags"]} >= {"crossplane-name", "crossplane-uid"}


async def test_another_identifier_is_refused_because_a_database_keeps_its_name(aws):
    world = await aws.world()
    await applied(world, managed.instance(identifier="orders-1"), seconds=10)
    found = await edited(world, managed.instance(), identifier="orders-2", seconds=10)
    assert "spec.forProvider.identifier cannot be changed from 'orders-1' to 'orders-2'" in message(found)
    assert [database["DBInstanceIdentifier"] for database in aws.databases()] == ["orders-1"]


async def test_a_bucket_that_somebody_else_has_is_never_touched_and_can_be_given_up(aws):
    world = await aws.world()
    aws.standin.fail("s3", "HEAD /", "403", status=403, times=1000)  # the stand-in would show it to us
    found = await applied(world, managed.bucket(), seconds=30)
    assert condition(found, "Synced") == ("False", "ReconcileError")
    assert "choose another name" in message(found)
    assert await deleted(world, managed.bucket(), seconds=0) is None
    assert aws.writes() == []


async def test_what_aws_refuses_is_told_with_the_field_and_the_mend_and_goes_through_once_it_is_edited(aws):
    world = await aws.world()
    found = await applied(world, managed.instance(instanceClass="db.huge"), seconds=10)
    assert condition(found, "Ready") == ("False", "Creating")
    for part in ("create failed", "spec.forProvider.instanceClass", "db.huge", "Mend: use a class that RDS has"):
        assert part in message(found)
    assert ("Warning", "CannotCreateExternalResource") in world.told.reasons("Instance")
    assert aws.databases() == []
    found = await edited(world, managed.instance(), instanceClass="db.t3.small", seconds=10)
    assert is_ready(found)


async def test_a_throttled_call_is_repeated_until_it_goes_through(aws):
    world = await aws.world()
    aws.standin.fail("rds", "*", "Throttling", times=4, message="Rate exceeded")
    found = await applied(world, managed.instance(), seconds=90)
    assert is_ready(found)
    assert len(aws.databases()) == 1


async def test_nothing_is_made_twice_or_deleted_while_aws_is_down(aws):
    world = await aws.world()
    await applied(world, managed.vpc(), seconds=10)
    for service in ("ec2", "rds"):
        aws.standin.fail(service, "*", "ServiceUnavailable", status=503, times=10_000)
    await applied(world, managed.instance(), seconds=300)
    found = await get(world, managed.vpc())
    assert condition(found, "Ready") == ("True", "Available")
    assert condition(found, "Synced") == ("False", "ReconcileError")
    assert await deleted(world, managed.vpc(), seconds=300) is not None
    aws.standin.mend()
    assert len(aws.vpcs()) == 1
    await world.settle(seconds=120)
    assert aws.vpcs() == []
    assert is_ready(await get(world, managed.instance()))
    assert len(aws.databases()) == 1


# --- deletion in odd moments -------------------------------------------------------------------------------------


async def test_a_database_is_deleted_while_aws_still_creates_it(aws):
    world = await aws.world()
    aws.standin.slow(60)
    await applied(world, managed.instance(), seconds=5)
    aws.standin.fail("rds", "DeleteDBInstance", "InvalidDBInstanceState", times=1000, message="is not available")
    found = await deleted(world, managed.instance(), seconds=5)
    assert condition(found, "Ready") == ("False", "Deleting")
    assert "InvalidDBInstanceState" in message(found)
    aws.standin.mend()
    await world.settle(seconds=200)
    assert await get(world, managed.instance()) is None
    assert aws.databases() == []


async def test_what_is_deleted_while_its_create_is_unfinished_leaves_nothing_in_aws(aws):
    world = await aws.world()
    aws.standin.fail("ec2", "CreateVpc", "InternalError", status=500, lost=True)
    await applied(world, managed.vpc())
    assert len(aws.vpcs()) == 1
    await deleted(world, managed.vpc())
    assert await get(world, managed.vpc()) is None
    assert aws.vpcs() == []


async def test_what_aws_never_made_is_deleted_at_once(aws):
    world = await aws.world()
    await applied(world, managed.instance(instanceClass="db.huge"), seconds=10)
    assert await deleted(world, managed.instance(), seconds=0) is None
    assert await managed.kinds_left(world) == []


async def test_a_database_without_a_word_on_its_final_snapshot_is_kept_and_says_what_to_set(aws):
    world = await aws.world()
    await applied(world, managed.instance(skipFinalSnapshot=None), seconds=10)
    found = await deleted(world, managed.instance())
    assert "finalSnapshotIdentifier" in message(found)
    assert len(aws.databases()) == 1
    assert await edited(world, managed.instance(), skipFinalSnapshot=True, seconds=10) is None
    assert aws.databases() == []
