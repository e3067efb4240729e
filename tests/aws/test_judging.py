"""Fields that exclude each other, and values that are spelt otherwise, are refused before any call; what may be new is sent, with a hint if it is refused."""

from __future__ import annotations

import itertools

import pytest
from botocore.session import Session

from groundplane.aws import catalogue, convert, crds, judging
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.grammar import siblings
from groundplane.core import fieldpath, misfits, value_types
from groundplane.errors import InvalidInput
from tests.aws.conftest import EC2, managed

RDS, SQS, DYNAMODB, KMS, SECRETS, CACHE, S3 = (
    f"{service}.aws.upbound.io/v1beta1"
    for service in ("rds", "sqs", "dynamodb", "kms", "secretsmanager", "elasticache", "s3")
)
OTHERWISE = [
    ("dynamodb.aws.upbound.io/v1beta1", "Table", {"billingMode": "pay_per_request"}, "spec.forProvider.billingMode", "PAY_PER_REQUEST"),
    ("dynamodb.aws.upbound.io/v1beta1", "Table", {"billingMode": "PayPerRequest"}, "spec.forProvider.billingMode", "PAY_PER_REQUEST"),
    ("dynamodb.aws.upbound.io/v1beta1", "Table", {"attribute": [{"name": "a", "type": "s"}]}, "spec.forProvider.attribute[0].type", "S"),
    ("s3.aws.upbound.io/v1beta1", "BucketVersioning", {"versioningConfiguration": [{"status": "enabled"}]}, "versioningConfiguration[0].status", "Enabled"),
    ("s3.aws.m.upbound.io/v1beta1", "BucketVersioning", {"versioningConfiguration": {"status": "enabled"}}, "versioningConfiguration.status", "Enabled"),
    ("ec2.aws.upbound.io/v1beta1", "VPC", {"instanceTenancy": "Default"}, "spec.forProvider.instanceTenancy", "default"),
]  # fmt: skip


def pairs():
    for found in catalogue.first_generation():
        seen = {tuple(sorted((name, other))) for name, field in found.fields.items() for other in field.conflicts}
        for names in found.exclusive:
            seen |= {tuple(sorted(pair)) for pair in itertools.combinations(names, 2)}
        for one, two in sorted(seen):
            if not found.fields[one].unsupported and not found.fields[two].unsupported:
                yield pytest.param(found, one, two, id=f"{found.file}-{one}-{two}")


def any_value(field):
    inner = field.type.removeprefix("[]")
    one = {"string": "x", "number": 1, "boolean": True, "map[string]": {"a": "b"}}.get(inner, {"name": "x"})
    if field.fields and not getattr(field, "secret", ""):
        one = {name: any_value(each) for name, each in list(field.fields.items())[:1]}
    return [one] if field.type.startswith("[]") else one


@pytest.mark.parametrize(("found", "one", "two"), list(pairs()))
def test_each_two_fields_that_exclude_each_other_are_refused_before_any_call(found, one, two):
    fields = {name: any_value(found.fields[name]) for name in (one, two)}
    with pytest.raises(InvalidInput, match="can't be used with") as told:
        AwsCloud().check(managed(f"{found.group}/{found.versions[0]}", found.kind, "orders", **fields))
    assert told.value.mend
    for name in (one, two):  # a reference counts as what it will give
        if found.fields[name].reference is not None:
            ref, selector = siblings(name, found.fields[name])
            given = {ref: [{"name": "x"}]} if found.fields[name].type.startswith("[]") else {ref: {"name": "x"}}
            for by in (given, {selector: {"matchLabels": {"a": "b"}}}):
                others = {each: value for each, value in fields.items() if each != name} | by
                with pytest.raises(InvalidInput, match="can't be used with"):
                    AwsCloud().check(managed(f"{found.group}/{found.versions[0]}", found.kind, "orders", **others))


@pytest.mark.parametrize(
    ("expiration", "is_fine"),
    [
        ({"days": 3}, True),
        ({"days": 0, "date": "", "expiredObjectDeleteMarker": True}, True),  # as upstream's exports have it
        ({"days": 3, "expiredObjectDeleteMarker": True}, False),
    ],
)
def test_members_that_exclude_each_other_are_refused_with_their_place(expiration, is_fine):
    rule = [{"id": "a", "status": "Enabled", "expiration": [expiration]}]
    wanted = managed("s3.aws.upbound.io/v1beta1", "BucketLifecycleConfiguration", "x", bucket="b", rule=rule)
    if is_fine:
        return AwsCloud().check(wanted)
    with pytest.raises(InvalidInput, match="can't be used with expiredObjectDeleteMarker") as told:
        AwsCloud().check(wanted)
    assert told.value.where == ("spec.forProvider.rule[0].expiration[0].days",)
    return None


@pytest.mark.parametrize(("api_version", "kind", "fields", "where", "meant"), OTHERWISE)
def test_a_value_that_is_spelt_otherwise_is_refused_with_what_is_meant(api_version, kind, fields, where, meant):
    namespaced = {"namespace": "team-a"} if ".m." in api_version else {}
    wanted = managed(api_version, kind, "orders", bucket="b", hashKey="a", **fields)
    wanted["metadata"] |= namespaced
    with pytest.raises(InvalidInput, match="is not spelt as AWS does") as told:
        AwsCloud().check(wanted)
    assert told.value.where[0].endswith(where)
    assert told.value.mend == f"did you mean {meant}?"


@pytest.mark.parametrize("written", ["as a list", "as an object"])
def test_a_place_is_named_as_it_is_written(cloud, written):
    """An object where earlier versions have a list of one, at each depth."""
    both = {"partitionedPrefix": {"partitionDateSource": "event-time"}}
    form, place = ([both], "[0]") if written == "as a list" else (both, "")
    wanted = managed("s3.aws.upbound.io/v1beta2", "BucketLogging", "x", targetPrefix="", targetObjectKeyFormat=form)
    with pytest.raises(InvalidInput) as told:
        cloud.check(wanted)
    where = f"targetObjectKeyFormat{place}.partitionedPrefix.partitionDateSource"
    assert told.value.where == (f"spec.forProvider.{where}",)
    new = {"partitionedPrefix": {"partitionDateSource": "Time"}}
    form = [new] if written == "as a list" else new
    wanted = managed("s3.aws.upbound.io/v1beta2", "BucketLogging", "x", targetPrefix="", targetObjectKeyFormat=form)
    assert where in cloud._offline(wanted).odd_values()


def test_a_value_that_may_be_new_is_sent(cloud):
    wanted = managed(KMS, "Key", "orders", keyUsage="SIGN_VERIFI")
    cloud.check(wanted)
    found = catalogue.load("kms_key")
    told = list(judging.unknown(wanted["spec"]["forProvider"], found.fields))
    assert told == [("keyUsage", "did you mean SIGN_VERIFY?")]
    odd = cloud._offline(wanted).odd_values()
    assert odd == "for keyUsage, did you mean SIGN_VERIFY?"


SNS = "sns.aws.upbound.io/v1beta1"
RULE = {"type": "ingress", "protocol": "tcp", "fromPort": 80, "toPort": 80, "securityGroupId": "sg-1"}
MAIL = {"topicArn": "arn:aws:sns:eu-west-1:123456789012:orders", "protocol": "email", "endpoint": "a@example.org"}
TRUST = '{"Version": "2012-10-17", "Statement": []}'
EXPIRES = {"id": "a", "status": "Enabled", "expiration": [{"days": 1}]}
REFUSED = [  # what AWS is never to take: no call, and the field with its mend
    (EC2, "VPC", {"instanceTenancy": "dedicate"}, "instanceTenancy", "did you mean dedicated?"),
    (EC2, "VPC", {"cidrBlock": "10.0.0.0/33"}, "cidrBlock", "CIDR notation"),
    (EC2, "VPC", {"cidrBlock": "10.0.0.0"}, "cidrBlock", "CIDR notation"),
    (EC2, "EIP", {"domain": "vcp"}, "domain", "did you mean vpc?"),
    (EC2, "Subnet", {"availabilityZone": "us-west-2a"}, "availabilityZone", "use one of that region: eu-west-1a"),
    (RDS, "Cluster", {"availabilityZones": ["eu-west-1a", "b"]}, "availabilityZones[1]", "use one of that region"),
    (RDS, "Instance", {"availabilityZone": "eu-west-2a"}, "availabilityZone", "use one of that region"),
    (RDS, "Instance", {"backupRetentionPeriod": 36}, "backupRetentionPeriod", "write 0 to 35"),
    (RDS, "Instance", {"backupWindow": "9-10"}, "backupWindow", "09:46-10:16 each day"),
    (RDS, "Instance", {"maintenanceWindow": "Mo:00:00-Mo:03:00"}, "maintenanceWindow", "mon:00:00-mon:03:00"),
    (SQS, "Queue", {"delaySeconds": 901}, "delaySeconds", "write 0 to 900"),
    (SQS, "Queue", {"delaySeconds": -1}, "delaySeconds", "write 0 to 900"),
    (KMS, "Key", {"deletionWindowInDays": 6}, "deletionWindowInDays", "write 7 to 30"),
    (SECRETS, "Secret", {"recoveryWindowInDays": 3}, "recoveryWindowInDays", "write 0, or 7 to 30"),
    (DYNAMODB, "Table", {"attribute": [{"name": "a", "type": "String"}]}, "attribute[0].type", "use one of: B, N, S"),
    (DYNAMODB, "Table", {"replica": [{"propagateTags": True}]}, "replica", "name the region"),
    (CACHE, "Cluster", {"nodeType": "t4g.micro"}, "nodeType", "cache.t4g.micro"),
    (CACHE, "ReplicationGroup", {"nodeType": "db.t4g.micro"}, "nodeType", "cache.t4g.micro"),
    (CACHE, "ReplicationGroup", {"replicasPerNodeGroup": 6}, "replicasPerNodeGroup", "write 0 to 5"),
    (CACHE, "ParameterGroup", {"family": "redis7.0"}, "family", "redis7"),
    (CACHE, "ParameterGroup", {"family": "redis"}, "family", "redis7"),
    (RDS, "Instance", {"instanceClass": "t4g.micro"}, "instanceClass", "db.t4g.micro"),
    (RDS, "ParameterGroup", {"family": "postgresql16"}, "family", "postgres16"),
    (RDS, "ParameterGroup", {"family": "postgres16.3"}, "family", "postgres16"),
    (RDS, "ClusterParameterGroup", {"family": "aurora-postgresql"}, "family", "aurora-postgresql16"),
    (RDS, "ParameterGroup", {"family": "mysql8.0", "parameter": [{"name": "a", "value": "1", "applyMethod": "now"}]}, "parameter[0].applyMethod", "immediate"),
    (RDS, "Cluster", {"serverlessv2ScalingConfiguration": [{"minCapacity": 8, "maxCapacity": 4}]}, "serverlessv2ScalingConfiguration[0].minCapacity", "at most as much"),
    (RDS.replace("v1beta1", "v1beta2"), "Cluster", {"engine": "mysql", "scalingConfiguration": {"minCapacity": 8, "maxCapacity": 4}}, "scalingConfiguration.minCapacity", "at most as much"),
    (RDS, "Instance", {"monitoringInterval": 7}, "monitoringInterval", "write one of 0, 1, 5"),
    (RDS, "Instance", {"engineVersion": "latest"}, "engineVersion", "begin with a number"),
    (RDS, "Instance", {"dbName": "my-db"}, "dbName", "letters, digits and underscores"),
    (RDS, "Cluster", {"databaseName": "1st"}, "databaseName", "begins with none of the digits"),
    (EC2, "SecurityGroup", {"description": "für alle"}, "description", "ASCII"),
    (EC2, "SecurityGroupRule", {**RULE, "fromPort": 443, "toPort": 80}, "fromPort", "at most as much as toPort"),
    (EC2, "SecurityGroupRule", {**RULE, "cidrBlocks": ["10.0.0.0/8", "0.0.0.0"]}, "cidrBlocks[1]", "CIDR notation"),
    (EC2, "SecurityGroupRule", {**RULE, "protocol": "http"}, "protocol", "use tcp"),
    (EC2, "SecurityGroupIngressRule", {"securityGroupId": "sg-1", "ipProtocol": "256", "cidrIpv4": "10.0.0.0/8"}, "ipProtocol", "use tcp"),
    (SNS, "TopicSubscription", {"topicArn": "orders", "protocol": "sqs", "endpoint": "arn:x"}, "topicArn", "arn:aws:sns"),
    ("iam.aws.upbound.io/v1beta1", "Policy", {"policy": "{}"}, "policy", "Statement"),
    (S3, "BucketACL", {"bucket": "b", "acl": "public"}, "acl", "did you mean public-read?"),
    (SQS, "Queue", {"deduplicationScope": "queue"}, "deduplicationScope", "set fifoQueue: true, or remove it"),
    (SQS, "Queue", {"fifoThroughputLimit": "perQueue"}, "fifoThroughputLimit", "set fifoQueue: true"),
    (SQS, "Queue", {"contentBasedDeduplication": True, "fifoQueue": False}, "contentBasedDeduplication", "set fifoQueue: true"),
    ("iam.aws.upbound.io/v1beta1", "Role", {"assumeRolePolicy": TRUST, "inlinePolicy": [{"name": "a"}]}, "inlinePolicy[0].policy", "set it"),
    ("iam.aws.upbound.io/v1beta1", "Role", {"assumeRolePolicy": TRUST, "inlinePolicy": [{}, {"policy": TRUST}]}, "inlinePolicy[1].name", "set it"),
    (S3, "BucketCorsConfiguration", {"bucket": "b", "corsRule": [{"allowedMethods": ["PUT", "get"], "allowedOrigins": ["*"]}]}, "corsRule[0].allowedMethods[1]", "did you mean GET?"),
    (SQS, "Queue", {"redrivePolicy": '{"maxReceiveCount": 4}'}, "redrivePolicy", "write both deadLetterTargetArn and maxReceiveCount"),
    (SQS, "Queue", {"redriveAllowPolicy": "{"}, "redriveAllowPolicy", "correct it"),
    (DYNAMODB, "Table", {"streamEnabled": True}, "streamViewType", "set it, or remove streamEnabled"),
    (SNS, "Topic", {"contentBasedDeduplication": True}, "contentBasedDeduplication", "set fifoTopic: true, or remove it"),
    (SNS, "Topic", {"fifoThroughputScope": "Topic"}, "fifoThroughputScope", "set fifoTopic: true"),
    (SNS, "Topic", {"archivePolicy": '{"MessageRetentionPeriod": 30}'}, "archivePolicy", "set fifoTopic: true"),
    (SNS, "TopicSubscription", {**MAIL, "rawMessageDelivery": True}, "rawMessageDelivery", "set protocol: sqs or http"),
    (KMS, "Key", {"xksKeyId": "a"}, "customKeyStoreId", "set it, or remove xksKeyId"),
    (EC2, "VPC", {"ipv4NetmaskLength": 24}, "ipv4IpamPoolId", "set it, or remove ipv4NetmaskLength"),
    (RDS, "Instance", {"monitoringInterval": 60}, "monitoringRoleArn", "set it, or remove monitoringInterval"),
    (RDS, "ClusterInstance", {"clusterIdentifier": "a", "monitoringInterval": 60}, "monitoringRoleArn", "set it"),
    (RDS, "ParameterGroup", {"family": "mysql8.0", "parameter": [{"name": "a"}]}, "parameter[0].value", "set it"),
    (RDS, "ClusterParameterGroup", {"family": "mysql8.0", "parameter": [{"value": "a"}]}, "parameter[0].name", "set it"),
    (CACHE, "ParameterGroup", {"name": "a", "family": "redis7", "parameter": [{"name": "a", "value": "1"}, {"name": "b"}]}, "parameter[1].value", "set it"),
    (CACHE, "Cluster", {"logDeliveryConfiguration": [{"destination": "a"}]}, "logDeliveryConfiguration[0].destinationType", "set it"),
    (S3, "BucketVersioning", {"bucket": "b", "versioningConfiguration": [{"mfaDelete": "Disabled"}]}, "versioningConfiguration[0].status", "set it"),
    (S3.replace("v1beta1", "v1beta2"), "BucketServerSideEncryptionConfiguration", {"bucket": "b", "rule": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256", "kmsMasterKeyId": "a"}}]}, "rule[0].applyServerSideEncryptionByDefault.kmsMasterKeyId", "set sseAlgorithm: aws:kms"),
    (S3, "BucketNotification", {"bucket": "b", "queue": [{"queueArn": "arn:a"}]}, "queue[0].events", "set it"),
    (S3, "BucketLifecycleConfiguration", {"bucket": "b", "rule": [EXPIRES | {"filter": [{"prefix": "a/"}], "prefix": "b/"}]}, "rule[0].filter", "keep one of filter, prefix"),
    (S3, "BucketLifecycleConfiguration", {"bucket": "b", "rule": [EXPIRES, EXPIRES | {"prefix": "logs/"}]}, "rule[1].id", "choose another"),
    (S3, "BucketLifecycleConfiguration", {"bucket": "b", "rule": [{"id": "a", "status": "Enabled"}]}, "rule[0]", "give it one of"),
    (S3, "BucketLifecycleConfiguration", {"bucket": "b", "rule": [EXPIRES | {"transition": [{"days": 1}]}]}, "rule[0].transition[0].storageClass", "set it"),
    (DYNAMODB, "Table", {"globalSecondaryIndex": [{"name": "a", "hashKey": "b", "projectionType": "INCLUDE"}]}, "globalSecondaryIndex[0].nonKeyAttributes", "list the attributes"),
    (DYNAMODB, "Table", {"localSecondaryIndex": [{"name": "a", "rangeKey": "b", "projectionType": "ALL", "nonKeyAttributes": ["c"]}]}, "localSecondaryIndex[0].nonKeyAttributes", "set projectionType: INCLUDE"),
    (DYNAMODB, "Table", {"localSecondaryIndex": [{"name": "a", "projectionType": "ALL"}]}, "localSecondaryIndex[0].rangeKey", "set it"),
]  # fmt: skip


@pytest.mark.parametrize(("api_version", "kind", "fields", "where", "mend"), REFUSED)
def test_what_aws_is_never_to_take_is_refused_before_a_call(cloud, api_version, kind, fields, where, mend):
    given = {"engine": "postgres", "instanceClass": "db.t4g.micro"} if api_version == RDS else {}
    with pytest.raises(InvalidInput) as told:
        cloud.check(managed(api_version, kind, "orders", **given | fields))
    assert told.value.where == (f"spec.forProvider.{where}",)
    assert mend in told.value.mend


@pytest.mark.parametrize(
    ("api_version", "kind", "fields"),
    [
        (EC2, "VPC", {"cidrBlock": "10.0.0.1/16", "ipv6CidrBlock": "2001:DB8:0:0::/56"}),
        (EC2, "Subnet", {"availabilityZone": "eu-west-1-lax-1a"}),  # a local zone
        (
            RDS,
            "Cluster",
            {"preferredBackupWindow": "23:00 - 23:30", "preferredMaintenanceWindow": "Sun:5:00-sun:06:00"},
        ),
        (SQS, "Queue", {"delaySeconds": 900, "visibilityTimeoutSeconds": 0}),
        (SECRETS, "Secret", {"recoveryWindowInDays": 0}),
        (CACHE, "ParameterGroup", {"name": "orders", "family": "memcached1.6"}),
        (CACHE, "ParameterGroup", {"name": "orders", "family": "redis6.x"}),
        (RDS, "ParameterGroup", {"family": "sqlserver-se-15.0"}),
        (RDS, "ParameterGroup", {"family": "oracle-ee-cdb-21"}),
        (RDS, "ParameterGroup", {"family": "postgres9.6"}),
        (RDS, "ParameterGroup", {"family": "MySQL8.0"}),  # as AWS's own examples spell it
        (RDS, "ClusterParameterGroup", {"family": "aurora-postgresql16-limitless"}),
        (RDS, "ParameterGroup", {"family": "custom-sqlserver-ee-15.0"}),
        (CACHE, "ParameterGroup", {"name": "orders", "family": "Redis3.2"}),
        (CACHE, "ParameterGroup", {"name": "orders", "family": "valkey8"}),
        (RDS, "Instance", {"instanceClass": "DB.r6g.large"}),
        (RDS, "Cluster", {"serverlessv2ScalingConfiguration": [{"minCapacity": 0, "maxCapacity": 512}]}),
        (RDS, "Cluster", {"serverlessv2ScalingConfiguration": [{"minCapacity": 0, "maxCapacity": 0.5}]}),
        (SQS, "Queue", {"contentBasedDeduplication": False}),
        (SQS, "Queue", {"fifoQueue": True, "deduplicationScope": "queue", "contentBasedDeduplication": True}),
        (SNS, "Topic", {"fifoTopic": True, "contentBasedDeduplication": True, "fifoThroughputScope": "Topic"}),
        (RDS, "Instance", {"instanceClass": "db.t4g.micro", "monitoringInterval": 0}),
        (
            RDS,
            "Instance",
            {
                "instanceClass": "db.t4g.micro",
                "monitoringInterval": 60,
                "monitoringRoleArnSelector": {"matchLabels": {"a": "b"}},
            },
        ),
        (RDS, "ParameterGroup", {"family": "mysql8.0", "parameter": [{"name": "init_connect", "value": ""}]}),
        (
            S3,
            "BucketNotification",
            {"bucket": "b", "queue": [{"queueArnRef": {"name": "a"}, "events": ["s3:ObjectCreated:*"]}]},
        ),
        (S3, "BucketLifecycleConfiguration", {"bucket": "b", "rule": [EXPIRES | {"filter": [{}], "prefix": "a/"}]}),
        (
            S3,
            "BucketLifecycleConfiguration",
            {"bucket": "b", "rule": [EXPIRES | {"filter": [{"prefix": "a/"}], "prefix": ""}]},
        ),
        (
            S3,
            "BucketServerSideEncryptionConfiguration",
            {
                "bucket": "b",
                "rule": [{"applyServerSideEncryptionByDefault": [{"sseAlgorithm": "AES256", "kmsMasterKeyId": ""}]}],
            },
        ),
    ],
)
def test_what_aws_may_take_passes(cloud, api_version, kind, fields):
    cloud.check(
        managed(api_version, kind, "orders", **({"engine": "aurora-mysql"} if api_version == RDS else {}), **fields)
    )


OUT = {"securityGroupId": "sg-1", "cidrIpv4": "10.0.0.0/8"}
PAIR = {"description": "x", "nodeType": "cache.t4g.micro"}
DATABASE = {"engine": "mysql", "instanceClass": "db.t4g.micro", "allocatedStorage": 100, "username": "boss", "manageMasterUserPassword": True}  # fmt: skip
KEY = [{"name": "a", "type": "S"}]
LOCAL = {"name": "by-b", "rangeKey": "b", "projectionType": "ALL"}
INDEX = [{"name": "bs", "hashKey": "b", "projectionType": "ALL"}]


@pytest.mark.parametrize(
    ("api_version", "kind", "fields", "message"),
    [
        (EC2, "VPC", {}, "cidrBlock: is required"),
        (EC2, "VPC", {"cidrBlock": "10.0.0.0/8"}, "between /16 and /28"),
        (EC2, "Subnet", {"vpcId": "vpc-1", "cidrBlock": "10.0.0.0/29"}, "between /16 and /28"),
        (EC2, "SecurityGroupEgressRule", {**OUT, "ipProtocol": "TCP"}, "fromPort: is required with TCP"),
        (RDS, "Instance", {**DATABASE, "storageType": "io1"}, "iops: is required with storageType io1"),
        (KMS, "Key", {"customerMasterKeySpec": "RSA_2048", "enableKeyRotation": True}, "rotates no key"),
        (CACHE, "Cluster", {"engine": "redis", "numCacheNodes": 2}, "has one node"),
        (CACHE, "ReplicationGroup", {**PAIR, "numCacheClusters": 1, "automaticFailoverEnabled": True}, "no second"),
        (CACHE, "ReplicationGroup", {**PAIR, "numCacheClusters": 2, "multiAzEnabled": True}, "automatic failover"),
        (
            SECRETS,
            "SecretVersion",
            {"secretId": "a"},
            "secretStringSecretRef: is required",
        ),
        (DYNAMODB, "Table", {"attribute": [*KEY, {"name": "b", "type": "S"}]}, 'attribute: has "b", which is no key'),
        (DYNAMODB, "Table", {"attribute": KEY, "globalSecondaryIndex": INDEX}, 'attribute: lacks "b", which is a key'),
        (DYNAMODB, "Table", {"attribute": KEY, "ttl": [{"enabled": True}]}, "ttl: has no attributeName"),
        (DYNAMODB, "Table", {"attribute": KEY, "rangeKey": "a"}, "rangeKey: is the hashKey"),
        (DYNAMODB, "Table", {"attribute": [*KEY, {"name": "a", "type": "N"}]}, 'attribute: has "a" twice'),
        (DYNAMODB, "Table", {"attribute": KEY, "localSecondaryIndex": [LOCAL]}, "only of a table that has a rangeKey"),
        (
            DYNAMODB,
            "Table",
            {
                "attribute": KEY,
                "globalSecondaryIndex": [
                    INDEX[0] | {"hashKey": "a"},
                    INDEX[0] | {"hashKey": "a", "projectionType": "KEYS_ONLY"},
                ],
            },
            "name of another index",
        ),
        (SQS, "Queue", {"fifoQueue": True, "fifoThroughputLimit": "perMessageGroupId"}, "only with deduplicationScope"),
        (
            KMS,
            "Key",
            {"customerMasterKeySpec": "ECC_NIST_P256"},
            "keyUsage: a key of .* is not for ENCRYPT_DECRYPT. Mend: set it: SIGN_VERIFY or KEY_AGREEMENT",
        ),
        (KMS, "Key", {"customKeyStoreId": "cks-1", "multiRegion": True}, "multiRegion: AWS has no such key"),
        (
            SNS,
            "TopicSubscription",
            {
                "topicArn": "arn:aws:sns:eu-west-1:1:a",
                "protocol": "firehose",
                "endpoint": "arn:aws:firehose:eu-west-1:1:b",
            },
            "subscriptionRoleArn: is required with protocol firehose",
        ),
        (
            EC2,
            "NATGateway",
            {"subnetId": "subnet-1", "allocationId": "eipalloc-1", "connectivityType": "private"},
            "no public address",
        ),
        (
            CACHE,
            "Cluster",
            {"engine": "memcached", "nodeType": "cache.t4g.micro", "azMode": "cross-az", "numCacheNodes": 1},
            "one node is in one zone",
        ),
        (CACHE, "ReplicationGroup", {**PAIR, "numNodeGroups": 2}, "automaticFailoverEnabled: is required where"),
        (
            CACHE,
            "ReplicationGroup",
            {**PAIR, "authTokenSecretRef": {"namespace": "a", "name": "b", "key": "c"}},
            "transitEncryptionEnabled: is required",
        ),
        (
            RDS,
            "Instance",
            {**DATABASE, "multiAz": True, "availabilityZone": "eu-west-1a"},
            "availabilityZone: AWS chooses",
        ),
        (
            RDS,
            "Instance",
            {**DATABASE, "engine": "sqlserver-ex", "dbName": "orders"},
            "dbName: SQL Server makes no database",
        ),
    ],
)
async def test_what_a_create_lacks_is_told_before_it(cloud, account, standin, api_version, kind, fields, message):
    standin.forget_calls()
    more = {"hashKey": "a", "billingMode": "PAY_PER_REQUEST"} if kind == "Table" else {}
    with pytest.raises(InvalidInput, match=message):
        await cloud.create(managed(api_version, kind, "orders", **more | fields), account, {})
    assert not [each for each in standin.operations() if each.startswith(("Create", "Put", "Authorize"))]


def test_how_much_a_list_may_hold_is_aws_s_to_say():
    """Its model says twenty, while DynamoDB takes a hundred."""
    names = [f"column-{number}" for number in range(21)]
    found: dict = {}
    shape = Session().get_service_model("dynamodb").shape_for("Projection")
    convert.place(found, "NonKeyAttributes", names, shape)
    assert found == {"NonKeyAttributes": names}
    with pytest.raises(InvalidInput, match="has 256 characters"):
        convert.place(found, "NonKeyAttributes", ["a" * 256], shape)


async def test_what_aws_refuses_is_told_with_what_may_be_meant(cloud, account):
    facts = {"engine": "postgre", "instanceClass": "db.t4g.micro", "allocatedStorage": 20, "username": "boss"}
    wanted = managed(RDS, "Instance", "orders", manageMasterUserPassword=True, **facts)
    with pytest.raises(InvalidInput) as refused:
        await cloud.create(wanted, account, {})
    assert "for engine, did you mean postgres?" in refused.value.mend


@pytest.mark.parametrize(
    "path, types",
    [
        ("pointInTimeRecovery.enabled", {"boolean"}),
        ("pointInTimeRecovery[0].enabled", {"boolean"}),
        ("pointInTimeRecovery", {"array", "object"}),
        ("pointInTimeRecovery.enabeld", "has no field"),
        ("pointInTimeRecovery[0].enabeld", "has no field"),
        ("pointInTimeRecovery[1].enabled", "at most 1 items"),
    ],
)
def test_a_patch_onto_what_is_a_list_or_an_object_is_checked_in_both_shapes(path, types):
    schema, whole = crds.schema_of("dynamodb.aws.upbound.io/v1beta1", "Table"), f"spec.forProvider.{path}"
    if isinstance(types, set):
        assert value_types.types_at(schema, fieldpath.parse(whole)) == types
        return
    with pytest.raises(value_types.NoSuchField, match=types):
        value_types.types_at(schema, fieldpath.parse(whole))


def test_render_tells_what_is_meant_and_no_api_server_is_told_of_values():
    schema = crds.schema_of("dynamodb.aws.upbound.io/v1beta1", "Table")
    obj = {
        "spec": {
            "forProvider": {"billingMode": "pay-per-request", "tableClass": "NEWEST", "attribute": [{"type": "S"}]}
        }
    }
    told = [(each.detail, each.mend) for each in misfits.of(schema, obj)]
    assert told == [
        ('spec.forProvider.billingMode can hardly be the string "pay-per-request"', "did you mean PAY_PER_REQUEST?")
    ]
    crd = crds.of_kind(catalogue.load("dynamodb_table"), docs=False, strict_upstream=False)
    assert misfits.KNOWN_VALUES not in repr(crd)
