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


WITHOUT_CREATE = [
    ["Observe"],
    ["Observe", "Delete"],
    ["Observe", "Update"],
    ["Observe", "LateInitialize"],
    ["Observe", "LateInitialize", "Update"],
]


@pytest.mark.parametrize("policies", WITHOUT_CREATE, ids="+".join)
async def test_without_the_create_policy_a_thing_is_taken_up_when_somebody_makes_it_and_not_ready_once_it_is_gone(
    aws, policies
):
    world = await aws.world()
    role, vpc = managed.role(spec={"managementPolicies": policies}), managed.vpc(spec={"managementPolicies": policies})
    found = await applied(world, vpc, role, seconds=70)
    for absent, mend in ((found, "correct the external name"), (await get(world, vpc), "crossplane.io/external-name")):
        assert "observe failed: external resource does not exist" in message(absent)
        assert mend in message(absent)
        assert condition(absent, "Ready") == ("False", "Creating")
    assert aws.writes() == []
    iam = aws.client("iam")
    iam.create_role(RoleName="orders", AssumeRolePolicyDocument=role["spec"]["forProvider"]["assumeRolePolicy"])
    network = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    await world.patch(managed.key(vpc), {"metadata": {"annotations": {"crossplane.io/external-name": network}}})
    aws.standin.forget_calls()
    await world.settle(seconds=70)
    for there in (role, vpc):
        assert is_ready(await get(world, there))
    changes = {name for name in aws.writes() if name not in ("TagRole", "CreateTags")}
    assert not changes
    assert bool(aws.writes()) == ("Update" in policies)
    iam.delete_role(RoleName="orders")
    await world.settle(seconds=70)
    gone = await get(world, role)
    assert "external resource does not exist" in message(gone)
    assert condition(gone, "Ready") == ("False", "Unavailable")
    assert "CreateRole" not in aws.writes()


async def test_strict_upstream_leaves_ready_what_is_gone_and_may_not_be_created(aws):
    world = await aws.world(strict=True)
    existing(aws)
    manifest = managed.resource(managed.RDS, "Instance", "orders", {"managementPolicies": ["Observe"]})
    assert is_ready(await applied(world, manifest, seconds=70))
    aws.client("rds").delete_db_instance(DBInstanceIdentifier="orders", SkipFinalSnapshot=True)
    await world.settle(seconds=140)
    found = await get(world, manifest)
    assert "external resource does not exist" in message(found)
    assert condition(found, "Ready") == ("True", "Available")


@pytest.mark.parametrize(
    "policies",
    [
        ["Observe", "Update", "Delete"],
        ["Observe", "Delete", "LateInitialize"],
        ["Create"],
        ["Update", "LateInitialize"],
    ],
    ids="+".join,
)
async def test_the_mend_of_an_unsupported_combination_names_those_that_are(aws, policies):
    world = await aws.world()
    found = await applied(world, managed.vpc(spec={"managementPolicies": policies}))
    assert f"{sorted(policies)} is not a supported combination" in message(found)
    assert "Observe without Create, alone, with Delete, or with Update, LateInitialize or both" in message(found)
    assert aws.vpcs() == []


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
