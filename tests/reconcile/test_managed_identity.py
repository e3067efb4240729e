"""A managed resource never loses sight of what it made: its region and the name it was made under stay its own."""

import pytest

from groundplane.core.objects import key_of
from tests.reconcile import managed
from tests.reconcile.managed import applied, condition, deleted, edited, is_ready, message

OTHER = "eu-central-1"


def vpcs_of(aws, region):
    import boto3

    keys = {"aws_access_key_id": "person", "aws_secret_access_key": "person"}
    client = boto3.client("ec2", region_name=region, endpoint_url=aws.standin.url, **keys)
    return [vpc["VpcId"] for vpc in client.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]


@pytest.mark.parametrize("known", ["annotation", "status", "arn"])
async def test_another_region_is_refused_with_both_names_and_nothing_is_made_there(aws, known):
    world, vpc = await aws.world(), managed.vpc()
    made = await applied(world, vpc, seconds=10)
    assert is_ready(made)
    if known != "annotation":
        await world.patch(key_of(vpc), {"metadata": {"annotations": {"groundplane.io/region": None}}})
    if known == "arn":
        await world.patch(key_of(vpc), {"status": {"atProvider": {"region": None}}}, subresource="status")
    found = await edited(world, vpc, region=OTHER, seconds=30)
    assert condition(found, "Synced") == ("False", "ReconcileError")
    assert "spec.forProvider.region cannot be changed from 'eu-west-1' to 'eu-central-1'" in message(found)
    assert vpcs_of(aws, OTHER) == []
    assert vpcs_of(aws, "eu-west-1") == [managed.external_name(found)]
    assert found["status"]["atProvider"]["region"] == "eu-west-1"
    assert is_ready(await edited(world, vpc, region="eu-west-1", seconds=30))


async def test_what_was_given_another_region_is_deleted_where_it_is(aws):
    world, vpc = await aws.world(), managed.vpc()
    await applied(world, vpc, seconds=10)
    await edited(world, vpc, region=OTHER, seconds=10)
    assert await deleted(world, vpc) is None
    assert vpcs_of(aws, "eu-west-1") == vpcs_of(aws, OTHER) == []


async def test_an_interrupted_create_is_looked_for_in_the_region_where_it_was_begun(aws):
    world, vpc = await aws.world(), managed.vpc()
    await applied(world, vpc, seconds=10)
    gone = {
        "crossplane.io/external-name": None,
        "crossplane.io/external-create-succeeded": None,
    }
    await world.patch(key_of(vpc), {"status": {"atProvider": None, "conditions": None}}, subresource="status")
    await world.patch(key_of(vpc), {"metadata": {"annotations": gone}, "spec": {"forProvider": {"region": OTHER}}})
    await world.settle(seconds=30)
    assert vpcs_of(aws, OTHER) == []
    assert len(vpcs_of(aws, "eu-west-1")) == 1


async def test_where_a_create_was_never_sent_its_region_can_still_be_chosen(aws):
    """In one that is misspelt nothing answers as it should: what is looked for there first would hang for good."""
    queue = managed.resource("sqs.aws.upbound.io/v1beta1", "Queue", "orders", {}, region="eu-wst-1")
    world = await aws.world()
    found = await applied(world, queue, seconds=30)
    assert "did you mean eu-west-1?" in message(found, "Reconciling")
    assert is_ready(await edited(world, queue, region="eu-west-1", seconds=90))


async def test_what_is_gone_from_its_region_is_made_again_where_the_spec_has_it_now(aws):
    world, vpc = await aws.world(), managed.vpc()
    made = await applied(world, vpc, seconds=10)
    aws.client("ec2").delete_vpc(VpcId=managed.external_name(made))
    assert is_ready(await edited(world, vpc, region=OTHER, seconds=60))
    assert vpcs_of(aws, "eu-west-1") == []
    assert len(vpcs_of(aws, OTHER)) == 1


async def test_what_is_only_looked_at_may_be_looked_at_elsewhere(aws):
    world = await aws.world()
    for region in ("eu-west-1", OTHER):
        await applied(world, managed.vpc(region, region=region), seconds=10)
    [here], [there] = vpcs_of(aws, "eu-west-1"), vpcs_of(aws, OTHER)
    spec = {"managementPolicies": ["Observe"], "annotations": {"crossplane.io/external-name": here}}
    watched = managed.vpc("watched", spec, cidrBlock=None)
    assert is_ready(await applied(world, watched, seconds=10))
    annotations = {"annotations": {"crossplane.io/external-name": there}}
    await world.patch(key_of(watched), {"metadata": annotations, "spec": {"forProvider": {"region": OTHER}}})
    await world.settle(seconds=120)
    found = await managed.get(world, watched)
    assert is_ready(found)
    assert found["status"]["atProvider"]["region"] == OTHER


async def test_a_database_that_vanished_is_made_again_under_the_identifier_of_the_spec(aws):
    world, instance = await aws.world(), managed.instance(identifier="orders-main")
    made = await applied(world, instance, seconds=60)
    assert is_ready(made)
    resource_id = aws.database()["DbiResourceId"]
    aws.client("rds").delete_db_instance(DBInstanceIdentifier="orders-main", SkipFinalSnapshot=True)
    name = {
        "metadata": {"annotations": {"crossplane.io/external-name": resource_id}}
    }  # as upstream's provider keeps it
    await world.patch(key_of(instance), name)
    await world.settle(seconds=120)
    found = await managed.get(world, instance)
    assert is_ready(found)
    assert aws.database()["DBInstanceIdentifier"] == managed.external_name(found) == "orders-main"
