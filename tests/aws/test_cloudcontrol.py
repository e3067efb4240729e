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


@pytest.mark.parametrize("code", ["NotStabilized", "InternalFailure", "ServiceTimeout", "GeneralServiceException"])
async def test_what_a_failed_create_has_left_is_kept_and_not_made_twice(patient_cloud, account, standin, code):
    cloud, thing = patient_cloud, resource(Fail=code, Leaves=True, Slow=True)
    standin.request("POST", "/standin/slow", {"seconds": 600})
    try:
        with pytest.raises(errors.Unavailable, match="has not told its identifier yet"):
            await cloud.create(thing, account, {})
        with pytest.raises(errors.Waiting):
            await cloud.find(thing, account)
        standin.request("POST", "/standin/clock", {"advance": 700})
        name = await cloud.find(thing, account)
    finally:
        standin.request("POST", "/standin/slow", {"seconds": 0})
    thing["metadata"]["annotations"]["crossplane.io/external-name"] = name
    put(thing, Leaves=True, Slow=True)
    assert (await settle(cloud, thing, account)).ready.status == "True"
    listed = standin.client("cloudcontrol").list_resources(TypeName=TYPE)["ResourceDescriptions"]
    assert [each["Identifier"] for each in listed] == [name]

    at_once = resource("at-once", Fail=code, Leaves=True)
    creation = await cloud.create(at_once, account, {})
    at_once["metadata"]["annotations"]["crossplane.io/external-name"] = creation.external_name
    assert (await cloud.observe(at_once, account, {})).exists


async def test_what_somebody_else_has_made_is_not_taken_for_what_a_failed_create_left(patient_cloud, account):
    cloud, log = patient_cloud, {"LogGroupName": "orders"}
    first = managed(API, "Resource", "one", typeName="AWS::Logs::LogGroup", desiredState=json.dumps(log))
    await made(cloud, first, account)
    for more in ({}, {"Fail": "AccessDenied"}):
        second = managed(API, "Resource", "two", typeName="AWS::Logs::LogGroup", desiredState=json.dumps(log | more))
        with pytest.raises(errors.GroundplaneError, match="CREATE: A"):
            await cloud.create(second, account, {})
        assert await cloud.find(second, account) == ""


@pytest.mark.parametrize(
    "code, becomes, mend",
    [
        ("AccessDenied", errors.Denied, "allow stand:Describe, stand:In, or name a roleArn"),
        ("InvalidCredentials", errors.Denied, "allow stand:Describe, stand:In"),
        ("AlreadyExists", errors.InvalidInput, "correct what AWS names"),
        ("InvalidRequest", errors.InvalidInput, "correct what AWS names"),
        ("NotUpdatable", errors.InvalidInput, "correct what AWS names"),
        ("UnauthorizedTaggingOperation", errors.InvalidInput, "correct what AWS names"),
        ("ServiceLimitExceeded", errors.Waiting, "a higher quota"),
        ("Throttling", errors.Throttled, ""),
        ("ResourceConflict", errors.Waiting, ""),
        ("NetworkFailure", errors.Waiting, ""),
    ],
)
async def test_why_a_create_failed_is_told_with_what_helps(patient_cloud, account, code, becomes, mend):
    with pytest.raises(becomes, match=code) as caught:
        await patient_cloud.create(resource(Fail=code), account, {})
    assert mend in caught.value.mend


async def test_the_order_of_a_list_counts_where_the_types_schema_says_so(patient_cloud, account):
    cloud, thing = patient_cloud, resource(Steps=["a", "b"], Names=["a", "b"], Rules=[{"Ways": [1, 2]}, {"Ways": [3]}])
    await made(cloud, thing, account)
    same = {"Steps": ["a", "b"], "Names": ["b", "a"], "Rules": [{"Ways": [3]}, {"Ways": [1, 2]}]}
    put(thing, **same)
    assert (await cloud.observe(thing, account, {})).drift == ()
    for other in ({"Steps": ["b", "a"]}, {"Rules": [{"Ways": [2, 1]}, {"Ways": [3]}]}):
        put(thing, **same | other)
        (difference,) = (await cloud.observe(thing, account, {})).drift
        assert [difference.desired] == [*other]


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
