"""A managed resource's life: what is in AWS, in its Secret and in its status, from creation to the end."""

import asyncio
import datetime

import pytest

from groundplane.aws.session import Sessions
from groundplane.core import health
from groundplane.errors import Busy, Rejected
from groundplane.runtime.queue import After, Held
from tests.reconcile import managed
from tests.reconcile.managed import applied, condition, deleted, edited, get, is_ready, message, secret_of


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


@pytest.mark.parametrize(("strict", "hidden"), [(False, 0), (False, 1), (True, 0)])
async def test_what_is_usable_once_it_is_there_is_ready_with_its_create_if_aws_shows_it(aws, strict, hidden):
    world = await aws.world(strict=strict)
    aws.standin.fail("iam", "GetRole", "NoSuchEntity", status=404, times=1 + hidden)  # first it is looked for
    found = await applied(world, managed.role())  # and no time passes
    assert is_ready(found) == (not strict and not hidden)
    assert condition(found, "Synced") == ("True", "ReconcileSuccess")
    await world.settle(seconds=10)
    assert is_ready(await get(world, managed.role()))
    assert aws.writes().count("CreateRole") == 1


@pytest.mark.parametrize("strict", [False, True])
async def test_what_waits_for_its_account_has_its_name_already(aws, strict):
    world = await aws.world(ready=False, strict=strict)
    found = await applied(world, managed.role())
    assert condition(found, "Synced")[0] == "False"
    assert managed.external_name(found) == "orders"


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


async def test_where_a_call_has_just_failed_a_poll_is_sent_away_and_a_change_is_the_next_to_try(aws):
    """So the lane in which the queue had the object is known where calls wait for each other."""
    now = [0.0]
    world = await aws.world(clock=lambda: now[0])
    await applied(world, managed.vpc())
    target = ("managed", managed.key(managed.vpc()))
    budgets = world.cloud._budgets
    (budget,) = [budget for place, budget in budgets._budgets.items() if place.service == "ec2"]
    budgets.done(await budgets.begin(budget.place), "silent", "no answer")
    assert isinstance(await world.engine.process(*target, "poll"), Held)
    changed = asyncio.ensure_future(world.engine.process(*target, "change"))
    while not budget.line:
        await asyncio.sleep(0.001)
    assert not changed.done()
    now[0] = budget.until
    budgets._let_in()
    assert isinstance(await changed, After)
    assert isinstance(await world.engine.process(*target, "poll"), After)


async def test_what_is_held_back_for_long_says_that_it_waits_for_its_turn_and_nothing_else(aws):
    now = [0.0]
    world = await aws.world(clock=lambda: now[0])
    found = await applied(world, managed.vpc(), seconds=70)
    target, ready = ("managed", managed.key(managed.vpc())), condition(found, "Ready")
    budgets = world.cloud._budgets
    (budget,) = [budget for place, budget in budgets._budgets.items() if place.service == "ec2"]
    budgets.done(await budgets.begin(budget.place), "silent", "no answer")
    for seconds in (5.0, 6.0):
        assert isinstance(await world.engine.process(*target, "poll"), Held)
        found = await get(world, managed.vpc())
        world.clock.moment += datetime.timedelta(seconds=seconds)
    assert health.outlook(found) is None
    events = len(world.told.events)
    assert isinstance(await world.engine.process(*target, "poll"), Held)
    found = await get(world, managed.vpc())
    assert condition(found, "Reconciling") == ("True", "Waiting")
    assert Busy.line in message(found, "Reconciling")
    assert condition(found, "Ready") == ready
    assert condition(found, "Synced")[0] == "True"
    assert len(world.told.events) == events
    now[0] = budget.until
    assert isinstance(await world.engine.process(*target, "poll"), After)
    assert health.outlook(await get(world, managed.vpc())) is None


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


# --- what is filled in, and quiet ----------------------------------------------------------------------------------


async def test_what_aws_chose_is_filled_in_and_never_fights_with_who_applies_other_fields(aws):
    world = await aws.world()
    found = await applied(world, managed.instance(), seconds=10)
    assert found["spec"]["forProvider"]["backupRetentionPeriod"] == 1
    assert found["spec"]["forProvider"]["storageType"] == "gp2"
    await world.apply(managed.instance(backupRetentionPeriod=7, applyImmediately=True))
    await world.settle(seconds=10)
    assert aws.database()["BackupRetentionPeriod"] == 7
    found = await applied(world, managed.instance(backupRetentionPeriod=7, applyImmediately=True), seconds=70)
    assert found["spec"]["forProvider"]["storageType"] == "gp2"


async def test_nothing_is_filled_in_without_the_policy_for_it(aws):
    world = await aws.world()
    spec = {"managementPolicies": ["Observe", "Create", "Update", "Delete"]}
    found = await applied(world, managed.instance(spec=spec), seconds=10)
    assert is_ready(found)
    assert "storageType" not in found["spec"]["forProvider"]


LIVES = [managed.instance(), managed.vpc(enableDnsHostnames=True), managed.group(), managed.role(), managed.bucket()]


@pytest.mark.parametrize("manifest", LIVES, ids=lambda manifest: manifest["kind"])
async def test_an_unchanged_thing_is_only_looked_at_also_by_a_new_process(aws, manifest):
    world = await aws.world()
    assert is_ready(await applied(world, manifest, seconds=60))
    before, told = world.cluster.writes, list(world.told.events)
    aws.standin.forget_calls()
    await world.settle(seconds=130)
    await aws.restarted(world).settle(seconds=130)
    assert aws.standin.operations()
    assert aws.writes() == []
    assert world.cluster.writes == before
    assert world.told.events == told


# --- manifests with mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (managed.instance(allocatedStorage="20"), "allocatedStorage"),
        (managed.instance(tags={"cost": 5}), "tags"),
        (managed.instance(region=None), "region"),
        (managed.instance(spec={"deletionPolicy": "Keep"}), "deletionPolicy"),
        (managed.instance(spec={"managementPolicies": ["Watch"]}), "managementPolicies"),
        (managed.instance(passwordSecretRef={"name": "x"}), "passwordSecretRef"),
    ],
)
async def test_a_wrong_type_is_refused_where_it_is_applied(aws, manifest, words):
    world = await aws.world()
    with pytest.raises(Rejected, match=words):
        await world.apply(manifest)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (managed.instance(name="or.ders"), ["metadata.name", "is no name for this kind in AWS", "crossplane.io/external-name"]),
        (managed.instance(engine=None), ["spec.forProvider.engine: is required"]),
        (managed.instance(allocatedStorage=None), ["spec.forProvider.allocatedStorage: is required"]),
        (managed.instance(allocatedStorage=20.5), ["spec.forProvider.allocatedStorage", "wants a whole number"]),
        (managed.instance(username="admin"), ["spec.forProvider.username", "reserved by the engine"]),
        (managed.instance(region="eu-west-1a"), ["spec.forProvider.region", '"eu-west-1a" is no region']),
        (managed.bucket(name="ab"), ["is no name for this kind in AWS"]),
        (managed.role(assumeRolePolicy="{"), ["spec.forProvider.assumeRolePolicy: is no JSON: ", "line 1, column 2"]),
        (managed.vpc(cidrBlock="10.0.0.0/8"), ["cidrBlock"]),
        (managed.vpc(ipv4NetmaskLength=24), ["can't be used with"]),
    ],
)  # fmt: skip
async def test_what_cannot_work_is_told_with_its_field_and_makes_nothing(aws, manifest, words):
    world = await aws.world()
    found = await applied(world, manifest, seconds=10)
    assert condition(found, "Synced") == ("False", "ReconcileError")
    assert condition(found, "Ready") == ("False", "Creating")
    for word in words:
        assert word in message(found)
    assert (aws.databases(), aws.buckets(), aws.roles(), aws.vpcs()) == ([], [], [], [])
    assert await deleted(world, manifest, seconds=0) is None


async def test_an_unknown_member_of_a_block_is_named(aws):
    world = await aws.world()
    manifest = managed.instance(restoreToPointInTime={"restoreTim": "2026-01-01T00:00:00Z"})
    found = await applied(world, {**manifest, "apiVersion": "rds.aws.upbound.io/v1beta3"}, seconds=10)
    assert "restoreTim" in message(found)
    assert "internal error" not in message(found)


async def test_a_block_that_is_none_is_named_with_what_to_write(aws):
    world = await aws.world()
    manifest = managed.instance(
        restoreToPointInTime="now"
    )  # a place that takes an object or a list, so the schema has no type
    found = await applied(world, {**manifest, "apiVersion": "rds.aws.upbound.io/v1beta3"}, seconds=10)
    assert 'spec.forProvider.restoreToPointInTime: wants an object, got "now". Mend: write an object' in message(found)


@pytest.mark.parametrize("pending", ["soon", "2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z", ""])
async def test_any_text_in_the_annotations_of_a_create_leads_to_one_vpc_in_the_end(aws, pending):
    world = await aws.world()
    annotations = {"crossplane.io/external-create-pending": pending, "crossplane.io/poll-interval": "often"}
    found = await applied(world, managed.vpc(spec={"annotations": annotations}), seconds=150)
    assert is_ready(found)
    assert len(aws.vpcs()) == 1


@pytest.mark.parametrize("interval", ["often", "", "10", "-1m", "0s"])
async def test_a_poll_interval_that_is_none_is_told_in_one_event(aws, interval):
    world = await aws.world()
    annotations = {"crossplane.io/poll-interval": interval}
    assert is_ready(await applied(world, managed.vpc(spec={"annotations": annotations}), seconds=150))
    assert f'crossplane.io/poll-interval has no effect: "{interval}" is no duration' in world.told.text()
    assert ("Warning", "PollInterval") in world.told.reasons("VPC")


async def test_the_poll_interval_of_an_annotation_is_kept(aws):
    world = await aws.world()
    annotations = {"crossplane.io/poll-interval": "1m40s"}
    await applied(world, managed.vpc(spec={"annotations": annotations}), seconds=10)
    aws.standin.forget_calls()
    await world.settle(seconds=320)
    assert aws.standin.operations().count("DescribeVpcs") == 3


async def test_a_deletion_in_the_foreground_ends_too(aws):
    world = await aws.world()
    await applied(world, managed.instance(), seconds=10)
    aws.standin.slow(20)
    await world.cluster.delete(managed.key(managed.instance()), propagation="Foreground")
    await world.settle(seconds=120)
    assert await get(world, managed.instance()) is None
    assert aws.databases() == []
    assert await managed.kinds_left(world) == []


async def test_a_reconcile_that_somebody_asks_for_is_made_and_told_once(aws):
    world = await aws.world()
    await applied(world, managed.vpc(), seconds=20)
    for token in ("2026-01-01T00:00:00Z", "again"):
        await world.patch(
            managed.key(managed.vpc()), {"metadata": {"annotations": {"crossplane.io/reconcile-requested-at": token}}}
        )
        await world.settle()
        found = await get(world, managed.vpc())
        assert found["status"]["lastHandledReconcileAt"] == token
    await world.settle(seconds=600)
    assert world.told.text().count("ReconcileRequestHandled") == 2


async def test_what_is_there_at_once_is_ready_within_a_second(aws):
    world = await aws.world()
    assert is_ready(await applied(world, managed.vpc(), seconds=1))
    assert aws.standin.operations().count("CreateVpc") == 1
