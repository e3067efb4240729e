"""What may be done to an external resource: pause, management policies, deletion policy."""

import pytest

from tests.reconcile import managed
from tests.reconcile.managed import applied, condition, deleted, edited, get, is_ready, message, secret_of

EXISTING = {"DBInstanceClass": "db.t3.large", "Engine": "postgres", "MasterUsername": "theirs", "AllocatedStorage": 50}


def existing(aws, name="orders"):
    aws.client("rds").create_db_instance(DBInstanceIdentifier=name, MasterUserPassword="their-password", **EXISTING)
    aws.standin.forget_calls()


async def test_a_paused_resource_is_left_alone_also_when_deleted_until_it_is_unpaused(aws):
    world = await aws.world()
    manifest = managed.vpc(spec={"annotations": {"crossplane.io/paused": "true"}})
    found = await applied(world, manifest, seconds=70)
    assert condition(found, "Synced") == ("False", "ReconcilePaused")
    assert ("Normal", "ReconciliationPaused") in world.told.reasons("VPC")
    assert aws.vpcs() == []
    await world.patch(managed.key(manifest), {"metadata": {"annotations": {"crossplane.io/paused": None}}})
    await world.settle(seconds=10)
    assert is_ready(await get(world, manifest))
    await world.patch(managed.key(manifest), {"metadata": {"annotations": {"crossplane.io/paused": "true"}}})
    assert await deleted(world, manifest) is not None
    assert len(aws.vpcs()) == 1
    await world.patch(managed.key(manifest), {"metadata": {"annotations": {"crossplane.io/paused": None}}})
    await world.settle(seconds=40)
    assert await get(world, manifest) is None
    assert aws.vpcs() == []


async def test_no_policy_at_all_pauses_too(aws):
    world = await aws.world()
    found = await applied(world, managed.vpc(spec={"managementPolicies": []}), seconds=70)
    assert condition(found, "Synced") == ("False", "ReconcilePaused")
    assert aws.vpcs() == []


async def test_a_resource_that_is_only_observed_shows_what_is_there_and_changes_nothing(aws):
    world = await aws.world()
    existing(aws)
    manifest = managed.resource(managed.RDS, "Instance", "orders", {"managementPolicies": ["Observe"]})
    found = await applied(world, manifest, seconds=70)
    assert is_ready(found)
    assert found["status"]["atProvider"]["allocatedStorage"] == 50
    assert found["spec"]["forProvider"] == {"region": managed.REGION}
    assert await deleted(world, manifest) is None
    assert aws.writes() == []
    assert len(aws.databases()) == 1


async def test_a_resource_that_is_only_observed_and_does_not_exist_says_so_and_is_found_later(aws):
    world = await aws.world()
    manifest = managed.resource(managed.RDS, "Instance", "orders", {"managementPolicies": ["Observe"]})
    found = await applied(world, manifest)
    assert "observe failed: external resource does not exist" in message(found)
    assert aws.writes() == []
    existing(aws)
    await world.settle(seconds=70)
    assert is_ready(await get(world, manifest))


async def test_without_the_update_policy_drift_stays(aws):
    world = await aws.world()
    spec = {"managementPolicies": ["Observe", "Create", "Delete"]}
    await applied(world, managed.instance(spec=spec, applyImmediately=True), seconds=10)
    found = await edited(world, managed.instance(), instanceClass="db.r5.large", seconds=70)
    assert is_ready(found)
    assert aws.database()["DBInstanceClass"] == "db.t3.micro"


EXACT = {"managementPolicies": ["Observe", "Create", "Update", "Delete"]}


async def test_a_field_taken_out_of_the_spec_is_reset_where_nothing_is_late_initialised(aws):
    world = await aws.world()
    role = managed.role(spec=EXACT, description="for orders")
    asked = {"deletionProtection": True, "iamDatabaseAuthenticationEnabled": True, "maxAllocatedStorage": 100}
    instance = managed.instance(spec=EXACT, applyImmediately=True, **asked)
    for manifest in (role, instance):
        assert is_ready(await applied(world, manifest, seconds=60))
    assert aws.database()["DeletionProtection"] is True
    await edited(world, role, description=None, seconds=60)
    await edited(world, instance, **dict.fromkeys(asked), seconds=60)
    assert not aws.client("iam").get_role(RoleName="orders")["Role"].get("Description")
    found = aws.database()
    assert (found["DeletionProtection"], found["IAMDatabaseAuthenticationEnabled"]) == (False, False)
    assert found.get("MaxAllocatedStorage") in (None, 20)
    assert is_ready(await get(world, instance))


async def test_a_field_taken_out_of_the_spec_stays_where_the_spec_may_mean_what_aws_has(aws):
    world = await aws.world()
    role = managed.role(description="for orders")
    await applied(world, role, seconds=60)
    await edited(world, role, description=None, seconds=60)
    assert aws.client("iam").get_role(RoleName="orders")["Role"]["Description"] == "for orders"


@pytest.mark.parametrize(
    "spec",
    [
        {"deletionPolicy": "Orphan"},
        {"managementPolicies": ["Observe", "Create", "Update", "LateInitialize"]},
    ],
    ids=["deletionPolicy Orphan", "no Delete policy"],
)
async def test_what_is_not_to_be_deleted_stays_in_aws_and_the_object_goes_at_once(aws, spec):
    world = await aws.world()
    await applied(world, managed.vpc(spec=spec), seconds=10)
    assert await deleted(world, managed.vpc(), seconds=0) is None
    assert len(aws.vpcs()) == 1
    assert await managed.kinds_left(world) == []


async def test_what_is_not_to_be_deleted_goes_though_aws_is_down_and_its_provider_config_is_missing(aws):
    world = await aws.world(ready=False)
    await applied(world, managed.vpc(spec={"deletionPolicy": "Orphan"}))
    assert await deleted(world, managed.vpc(), seconds=0) is None


async def test_a_combination_of_policies_that_is_not_supported_is_named(aws):
    world = await aws.world()
    found = await applied(world, managed.vpc(spec={"managementPolicies": ["Create", "Delete"]}))
    assert "['Create', 'Delete'] is not a supported combination" in message(found)
    assert ("Warning", "CannotUseInvalidManagementPolicy") in world.told.reasons("VPC")
    assert aws.vpcs() == []


async def test_a_database_that_stays_keeps_its_generated_password_and_who_adopts_it_finds_that(aws):
    world = await aws.world()
    bare = {"username": None, "passwordSecretRef": None, "autoGeneratePassword": None}
    manifest = managed.instance(spec={"deletionPolicy": "Orphan"}, **bare)
    await applied(world, manifest, seconds=10)
    password = aws.standin.passwords()["orders"]
    assert await deleted(world, manifest, seconds=0) is None
    assert await secret_of(world, "crossplane-system", "orders-master-password") == {"password": password}
    assert await secret_of(world) is None
    reference = {"namespace": "crossplane-system", "name": "orders-master-password", "key": "password"}
    found = await applied(world, managed.instance(passwordSecretRef=reference, username="postgres"), seconds=10)
    assert is_ready(found)
    assert (await secret_of(world))["password"] == password == aws.standin.passwords()["orders"]
