"""The stand-in as a process: its controls, and its end."""

import os
import subprocess
import sys
import time

import pytest
from botocore.exceptions import ClientError

from groundplane import errors
from groundplane.aws import standin as standin_process
from tests.aws.conftest import EC2, RDS, made, managed

MOTHER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "groundplane.aws.standin"], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
sys.stdin.readline()
"""


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_ends_with_its_parent():
    mother = subprocess.Popen([sys.executable, "-c", MOTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with mother:
        pid, url = mother.stdout.readline().split()
        assert url.startswith("http://127.0.0.1:")
        assert is_alive(int(pid))
        mother.stdin.close()
    deadline = time.monotonic() + 180
    while is_alive(int(pid)):
        assert time.monotonic() < deadline, "it outlived its parent"


def test_its_help_says_that_it_ends_with_its_parent(capsys):
    with pytest.raises(SystemExit):
        standin_process.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "ends on SIGTERM or with its parent" in told
    assert "POST /standin/faults" in told


async def test_calls_are_told_by_service_and_operation(cloud, account, standin):
    await made(cloud, managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16"), account)
    calls = standin.request("GET", "/standin/calls")
    assert calls[0] == {"service": "ec2", "operation": "CreateVpc", "status": 200}
    standin.forget_calls()
    assert standin.operations() == []


async def test_a_fault_hits_only_its_operation_and_only_so_often(patient_cloud, account, standin):
    cloud = patient_cloud
    standin.fail("rds", "CreateDBSubnetGroup", "Throttling", times=2)
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    await made(cloud, vpc, account)
    group = managed(RDS, "SubnetGroup", "orders", subnetIds=["subnet-1"])
    for _ in range(2):
        with pytest.raises(errors.Throttled):
            await cloud.create(group, account, {})
    with pytest.raises(errors.Waiting, match="subnet-1"):
        await cloud.create(group, account, {})


async def test_a_server_error_is_never_a_missing_thing(cloud, account, standin):
    for service, operation, thing in (
        ("rds", "DescribeDBSubnetGroups", managed(RDS, "SubnetGroup", "orders")),
        ("s3", "HEAD /", managed("s3.aws.upbound.io/v1beta1", "Bucket", "orders")),
        ("iam", "GetRole", managed("iam.aws.upbound.io/v1beta1", "Role", "orders")),
    ):
        standin.fail(service, operation, "InternalFailure", status=500)
        with pytest.raises(errors.Unavailable):
            await cloud.observe(thing, account, {})
        assert not (await cloud.observe(thing, account, {})).exists


async def test_subnets_of_one_zone_are_refused_as_by_aws(cloud, account, network):
    group = managed(RDS, "SubnetGroup", "orders", subnetIds=network["subnets"][:1])
    with pytest.raises(errors.InvalidInput, match="at least two availability zones"):
        await cloud.create(group, account, {})


def test_a_new_bucket_is_private_and_shows_its_settings_as_they_were_put(standin):
    s3, name = standin.client("s3"), {"Bucket": "orders-shown"}
    s3.create_bucket(**name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert set(s3.get_public_access_block(**name)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_ownership_controls(**name)["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]
    rule = {
        "ID": "old",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "a/", "ObjectSizeGreaterThan": 5}},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
    }
    s3.put_bucket_lifecycle_configuration(**name, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(**name)["Rules"] == [rule]
    events = {"QueueArn": "arn:aws:sqs:eu-west-1:123456789012:q", "Events": ["s3:ObjectCreated:*"]}
    told = {"EventBridgeConfiguration": {}, "QueueConfigurations": [events]}
    s3.put_bucket_notification_configuration(**name, NotificationConfiguration=told)
    found = s3.get_bucket_notification_configuration(**name)
    assert found["EventBridgeConfiguration"] == {}
    assert found["QueueConfigurations"][0].pop("Id")
    assert found["QueueConfigurations"] == [events]
    s3.delete_bucket_encryption(**name)
    [rule] = s3.get_bucket_encryption(**name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    with pytest.raises(Exception, match="AccessDenied"):
        s3.get_bucket_cors(**name, ExpectedBucketOwner="999999999999")


def test_queues_and_topics_forget_no_setting(standin):
    sqs, sns = standin.client("sqs"), standin.client("sns")
    allowed, policy = '{"redrivePermission":"denyAll"}', '{"Statement": [{"Effect": "Allow"}]}'
    url = sqs.create_queue(QueueName="orders", Attributes={"RedriveAllowPolicy": allowed, "Policy": policy})["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/orders"})
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (found["RedriveAllowPolicy"], found["Policy"]) == (allowed, policy)
    assert (found["SqsManagedSseEnabled"], found["KmsMasterKeyId"]) == ("false", "alias/orders")
    arn = sns.create_topic(Name="orders", Attributes={"SignatureVersion": "2"})["TopicArn"]
    sns.set_topic_attributes(TopicArn=arn, AttributeName="HTTPSuccessFeedbackSampleRate", AttributeValue="5")
    found = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (found["SignatureVersion"], found["HTTPSuccessFeedbackSampleRate"]) == ("2", "5")


def test_a_notification_keeps_its_name_and_gets_one_if_it_has_none(standin):
    s3, queue = standin.client("s3"), standin.client("sqs").create_queue(QueueName="orders")["QueueUrl"]
    s3.create_bucket(Bucket="orders", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    one = {
        "QueueArn": f"arn:aws:sqs:eu-west-1:123456789012:{queue.rpartition('/')[2]}",
        "Events": ["s3:ObjectCreated:*"],
    }
    given = {"QueueConfigurations": [{**one, "Id": "mine"}, one, {**one, "Id": "theirs"}]}
    s3.put_bucket_notification_configuration(Bucket="orders", NotificationConfiguration=given)
    names = [each["Id"] for each in s3.get_bucket_notification_configuration(Bucket="orders")["QueueConfigurations"]]
    assert (names[0], names[2]) == ("mine", "theirs")
    assert len(names[1]) == 36


def test_databases_are_restored_have_real_classes_and_keep_their_parameters(standin):
    rds = standin.client("rds")
    facts = {"Engine": "postgres", "DBInstanceClass": "db.t3.micro", "AllocatedStorage": 20}
    login = {"MasterUsername": "boss", "MasterUserPassword": "correct-horse"}
    rds.create_db_parameter_group(DBParameterGroupName="ours", DBParameterGroupFamily="postgres16", Description="ours")
    rds.create_db_instance(DBInstanceIdentifier="orders", DBParameterGroupName="ours", **facts, **login)
    times = {"SourceDBInstanceIdentifier": "orders", "UseLatestRestorableTime": True}
    rds.restore_db_instance_to_point_in_time(TargetDBInstanceIdentifier="again", **times)
    names = {each["DBInstanceIdentifier"] for each in rds.describe_db_instances()["DBInstances"]}
    assert names == {"orders", "again"}
    with pytest.raises(ClientError, match="still members of this parameter group ours"):
        rds.delete_db_parameter_group(DBParameterGroupName="ours")
    with pytest.raises(ClientError, match="Invalid DB Instance class: db.t2.nope"):
        rds.create_db_instance(DBInstanceIdentifier="odd", **facts | {"DBInstanceClass": "db.t2.nope"}, **login)
