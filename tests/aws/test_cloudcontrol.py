"""Cloud Control: any type of AWS by its name and a document."""

import json

import pytest

from groundplane import errors
from groundplane.aws.kinds.cloudcontrol_resource import patch
from groundplane.ports import Account
from tests.aws.conftest import external_name, made, managed, settle

API = "cloudcontrol.aws.upbound.io/v1beta1"
TYPE = "AWS::Stand::In"


def resource(name="orders", /, **document):
    thing = managed(API, "Resource", name, typeName=TYPE, desiredState=json.dumps({"Size": 1, **document}))
    thing["metadata"]["annotations"]["crossplane.io/external-create-pending"] = "2030-01-01T00:00:00Z"
    return thing


def put(thing, **document):
    thing["spec"]["forProvider"]["desiredState"] = json.dumps({"Size": 1, **document})


def properties(observation):
    return json.loads(observation.at_provider["properties"])


def deleting(thing):
    thing["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"


async def test_a_document_becomes_a_resource_is_changed_and_goes(patient_cloud, account, standin):
    cloud, thing = (
        patient_cloud,
        resource(Name="a", Password="correct", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}]),
    )
    observation = await made(cloud, thing, account)
    assert observation.ready.status == "True"
    assert properties(observation)["Arn"].endswith(external_name(thing))
    assert "Password" not in properties(observation)

    put(thing, Name="b", Password="correct", Tags=[{"Key": "b"}, {"Key": "a", "Value": "1"}])
    assert properties(await settle(cloud, thing, account))["Name"] == "b"
    standin.forget_calls()
    await cloud.observe(thing, account, {})
    assert standin.operations() == ["GetResource"]

    put(thing, Password="horse")  # one that is never shown, and a name and tags that are named no more
    observation = await settle(cloud, thing, account)
    assert set(properties(observation)) == {"Size", "Id", "Arn"}

    deleting(thing)
    await cloud.delete(thing, account, observation)
    assert not (await cloud.observe(thing, account, {})).exists


async def test_what_an_endpoint_says_of_a_type_counts_for_its_own_account_alone(patient_cloud, account, standin):
    other = Account({**account.provider_config, "metadata": {"name": "other", "uid": "pc-2"}}, account.credentials, "2")
    for each in (account, other):
        thing = resource()
        await made(patient_cloud, thing, each)
        standin.forget_calls()
        await patient_cloud.observe(thing, each, {})
        assert "DescribeType" not in standin.operations()  # it is remembered
    standin.forget_calls()
    third = Account({**account.provider_config, "metadata": {"name": "third", "uid": "pc-3"}}, account.credentials, "3")
    await patient_cloud.observe(thing, third, {})
    assert "DescribeType" in standin.operations()


async def test_what_takes_time_is_awaited_and_made_once(patient_cloud, account, standin):
    cloud, thing = patient_cloud, resource()
    standin.request("POST", "/standin/slow", {"seconds": 600})
    try:
        creation = await cloud.create(thing, account, {})
        assert await cloud.find(thing, account) == creation.external_name
        thing["metadata"]["annotations"]["crossplane.io/external-name"] = creation.external_name
        observation = await cloud.observe(thing, account, {})
        assert (observation.exists, observation.ready.reason, observation.settled) == (True, "Creating", False)
        standin.request("POST", "/standin/clock", {"advance": 700})
        assert (await settle(cloud, thing, account)).ready.status == "True"

        put(thing, Name="b")
        observation = await cloud.observe(thing, account, {})
        await cloud.update(thing, account, {}, observation)
        assert (await cloud.observe(thing, account, {})).drift == ()
        standin.request("POST", "/standin/clock", {"advance": 700})
        assert properties(await settle(cloud, thing, account))["Name"] == "b"

        deleting(thing)
        for _ in range(2):
            await cloud.delete(thing, account, await cloud.observe(thing, account, {}))
        assert (await cloud.observe(thing, account, {})).exists
        standin.request("POST", "/standin/clock", {"advance": 700})
        assert not (await cloud.observe(thing, account, {})).exists
    finally:
        standin.request("POST", "/standin/slow", {"seconds": 0})


async def test_a_create_that_fails_late_is_told_in_awss_words_and_tried_anew(patient_cloud, account, standin):
    cloud, thing = patient_cloud, resource(Fail="ServiceLimitExceeded")
    standin.request("POST", "/standin/slow", {"seconds": 600})
    try:
        creation = await cloud.create(thing, account, {})
        thing["metadata"]["annotations"]["crossplane.io/external-name"] = creation.external_name
        standin.request("POST", "/standin/clock", {"advance": 700})
        with pytest.raises(errors.Waiting, match="CREATE: ServiceLimitExceeded: as the stand-in was told"):
            await cloud.observe(thing, account, {})
        assert not (await cloud.observe(thing, account, {})).exists
    finally:
        standin.request("POST", "/standin/slow", {"seconds": 0})
    with pytest.raises(errors.InvalidInput, match=r"spec.forProvider.desiredState: CREATE: InvalidRequest.*Mend"):
        await cloud.create(resource("other", Arn="mine"), account, {})


async def test_what_can_not_be_changed_is_refused_before_it_is_sent(patient_cloud, account, standin):
    cloud, thing = patient_cloud, resource(Zone="a")
    observation = await made(cloud, thing, account)
    put(thing, Zone="b")
    with pytest.raises(errors.InvalidInput, match="Zone cannot be changed"):
        await cloud.observe(thing, account, {})
    put(thing, Zone="a")
    thing["spec"]["forProvider"]["typeName"] = "AWS::Logs::LogGroup"
    with pytest.raises(errors.InvalidInput, match=f"cannot be changed from {TYPE} to AWS::Logs::LogGroup"):
        await cloud.observe(thing, account, {})
    deleting(thing)
    assert (await cloud.observe(thing, account, {})).exists
    await cloud.delete(thing, account, observation)
    assert not (await cloud.observe(thing, account, {})).exists


@pytest.mark.parametrize("document", ["{", "[]", '"text"', "1"])
def test_a_document_that_is_no_object_is_refused_without_a_call(cloud, document):
    with pytest.raises(errors.InvalidInput, match=r"spec.forProvider.desiredState: is no JSON"):
        cloud.check(managed(API, "Resource", "orders", typeName=TYPE, desiredState=document))


def test_a_patch_names_what_is_other_and_no_more():
    schema = {
        "readOnlyProperties": ["/properties/Id", "/properties/Net/Id"],
        "writeOnlyProperties": ["/properties/Secret"],
    }
    found = {"Id": "1", "Net": {"Id": "n", "Size": 1}, "Grown": True, "Tags": [{"Key": "aws:x"}, {"Key": "a"}]}
    wanted = {"Id": "2", "Net": {"Id": "m", "Size": 1}, "Tags": [{"Key": "a"}], "Secret": "s"}
    assert patch(wanted, wanted, found, schema) == []
    assert patch({**wanted, "Net": {"Size": 2}}, wanted, found, schema) == [
        {"op": "add", "path": "/Net", "value": {"Size": 2}},
        {"op": "add", "path": "/Secret", "value": "s"},
    ]
    assert patch(wanted, {"Grown": True, "Gone": 1}, found, schema)[0] == {"op": "remove", "path": "/Grown"}
