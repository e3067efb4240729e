"""Changes that the stand-in can't play: what AWS has answered, and exactly which calls follow from what the spec says then.

Answers are as the API references have them.  Each call is held to botocore's model.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest
from botocore.validate import ParamValidator

from groundplane.aws import catalogue
from groundplane.aws.engine import Engine
from groundplane.errors import InvalidInput, Waiting
from tests.aws.conftest import managed
from tests.aws.test_at_provider import Partition
from tests.aws.test_grammar import operation


class Recorded(Engine):
    """One that is answered from a table, and whose calls are noted."""

    def ask(self, name, /, *, region="", **parameters):
        return copy.deepcopy(self.answers.get(f"{name} {region}" if region else name, {}))

    def pages(self, name, /, **parameters):
        yield self.ask(name)

    def shape(self, call):
        return operation(self.kind, call).input_shape

    def write(self, name, /, *, once=False, region="", **parameters):
        report = ParamValidator().validate(parameters, operation(self.kind, name).input_shape)
        assert not report.has_errors(), report.generate_report()
        self.sent.append((f"{name} {region}" if region else name, parameters))
        return {}


def changes(api_version, kind, spec, answers, secrets=None):
    """The calls of one look and the update that follows."""
    found = catalogue.lookup(api_version, kind)
    wanted = managed(api_version, kind, "orders", external_name="orders", **spec)
    engine = Recorded(found, catalogue.hooks(found.file), wanted, None, secrets or {}, now=datetime.now(UTC))
    engine._clients, engine.answers, engine.sent = Partition(), answers, []
    engine.check()
    observation = engine.observe()
    if observation.drift:
        engine.update(observation)
    tagging = {"tag_resource", "add_tags_to_resource", "untag_resource"}
    return [call for call in engine.sent if call[0] not in tagging]


# --- dynamodb Table

TABLE = {
    "TableName": "orders",
    "TableStatus": "ACTIVE",
    "TableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "N"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
}  # fmt: skip
ON_DEMAND = {"hashKey": "id", "billingMode": "PAY_PER_REQUEST"}
STREAM = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
PARIS, LONDON = ({"RegionName": region, "ReplicaStatus": "ACTIVE"} for region in ("eu-west-3", "eu-west-2"))
BY_TIME = {"name": "by-time", "hashKey": "at", "projectionType": "ALL"}
KEYS = [{"AttributeName": "at", "KeyType": "HASH"}]
SEEN = {"IndexName": "by-time", "IndexStatus": "ACTIVE", "KeySchema": KEYS, "Projection": {"ProjectionType": "ALL"}}


def table(spec, **facts):
    return changes(
        "dynamodb.aws.upbound.io/v1beta1", "Table", ON_DEMAND | spec, {"describe_table": {"Table": TABLE | facts}}
    )


def updated(**parameters):
    return [("update_table", {"TableName": "orders"} | parameters)]


ATTRIBUTES = {"AttributeDefinitions": TABLE["AttributeDefinitions"]}


@pytest.mark.parametrize(
    ("spec", "facts", "sent"),
    [
        ({}, {}, []),
        # streams: on, off, and another kind in two looks
        ({"streamEnabled": True, "streamViewType": "KEYS_ONLY"}, {}, updated(StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})),
        ({"streamEnabled": True}, {}, updated(StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})),
        ({"streamEnabled": False}, STREAM, updated(StreamSpecification={"StreamEnabled": False})),
        ({"streamEnabled": True, "streamViewType": "KEYS_ONLY"}, STREAM, updated(StreamSpecification={"StreamEnabled": False})),
        ({"streamEnabled": True, "streamViewType": "NEW_IMAGE"}, STREAM, []),
        # replicas: one change at a time, what is too many first
        ({"replica": [{"regionName": "eu-west-3"}, {"regionName": "eu-west-2"}]}, {}, updated(ReplicaUpdates=[{"Create": {"RegionName": "eu-west-3"}}])),
        ({"replica": [{"regionName": "eu-west-3"}, {"regionName": "eu-west-2"}]}, {"Replicas": [PARIS]}, updated(ReplicaUpdates=[{"Create": {"RegionName": "eu-west-2"}}])),
        ({"replica": [{"regionName": "eu-west-2"}]}, {"Replicas": [PARIS]}, updated(ReplicaUpdates=[{"Delete": {"RegionName": "eu-west-3"}}])),
        ({"replica": [{"regionName": "eu-west-3", "kmsKeyArn": "arn:aws:kms:eu-west-3:123456789012:key/a"}]}, {"Replicas": [PARIS]},
         updated(ReplicaUpdates=[{"Update": {"RegionName": "eu-west-3", "KMSMasterKeyId": "arn:aws:kms:eu-west-3:123456789012:key/a"}}])),
        ({"replica": [{"regionName": "eu-west-3"}]}, {"Replicas": [PARIS]}, []),
        ({}, {"Replicas": [PARIS, LONDON]}, []),  # nobody has said anything of replicas
        ({"replica": [{"regionName": "eu-west-3"}]}, {"TableStatus": "UPDATING"}, []),  # it takes nothing then
        # how it is paid
        ({"billingMode": "PROVISIONED", "readCapacity": 5, "writeCapacity": 6}, {},
         updated(BillingMode="PROVISIONED", ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6})),
        ({}, {"BillingModeSummary": {"BillingMode": "PROVISIONED"}, "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}}, updated(BillingMode="PAY_PER_REQUEST")),
        # indexes
        ({"globalSecondaryIndex": [BY_TIME]}, {}, updated(**ATTRIBUTES, GlobalSecondaryIndexUpdates=[{"Create": {"IndexName": "by-time", "KeySchema": KEYS, "Projection": {"ProjectionType": "ALL"}}}])),
        ({"globalSecondaryIndex": [BY_TIME | {"name": "other"}]}, {"GlobalSecondaryIndexes": [SEEN]}, updated(**ATTRIBUTES, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-time"}}])),
        ({"globalSecondaryIndex": [BY_TIME]}, {"GlobalSecondaryIndexes": [SEEN]}, []),
        ({"globalSecondaryIndex": []}, {"GlobalSecondaryIndexes": [SEEN | {"IndexStatus": "DELETING"}]}, []),
        # what moto does not keep
        ({"tableClass": "STANDARD_INFREQUENT_ACCESS"}, {}, updated(TableClass="STANDARD_INFREQUENT_ACCESS")),
        ({"serverSideEncryption": [{"enabled": True}]}, {}, updated(SSESpecification={"Enabled": True, "SSEType": "KMS"})),
    ],
)  # fmt: skip
def test_a_table_changes_one_thing_at_a_time(spec, facts, sent):
    assert table(spec, **facts) == sent


PROTECTED = {"describe_table eu-west-3": {"Table": {"DeletionProtectionEnabled": True}}}
BACKED_UP = {
    "describe_continuous_backups eu-west-3": {
        "ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}
    }
}
IN_PARIS = "arn:aws:dynamodb:eu-west-3:123456789012:table/orders"


@pytest.mark.parametrize(
    ("options", "there", "sent"),
    [
        ({"deletionProtectionEnabled": True}, {}, [("update_table eu-west-3", {"DeletionProtectionEnabled": True})]),
        ({"deletionProtectionEnabled": False}, PROTECTED, [("update_table eu-west-3", {"DeletionProtectionEnabled": False})]),
        ({"deletionProtectionEnabled": True}, PROTECTED, []),
        ({"deletionProtectionEnabled": False}, {}, []),
        ({"pointInTimeRecovery": True}, {}, [("update_continuous_backups eu-west-3", {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}})]),
        ({"pointInTimeRecovery": False}, BACKED_UP, [("update_continuous_backups eu-west-3", {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False}})]),
        ({"pointInTimeRecovery": True}, BACKED_UP, []),
        ({"propagateTags": True}, {}, [("tag_resource eu-west-3", {"ResourceArn": IN_PARIS})]),
        ({"propagateTags": False}, {}, []),
        ({}, PROTECTED | BACKED_UP, []),  # nobody has said anything of them
    ],
)  # fmt: skip
def test_what_is_set_on_a_replica_is_set_in_its_region(options, there, sent):
    spec = ON_DEMAND | {"replica": [{"regionName": "eu-west-3"} | options]}
    answers = {"describe_table": {"Table": TABLE | {"Replicas": [PARIS]}}} | there
    made = changes("dynamodb.aws.upbound.io/v1beta1", "Table", spec, answers)
    assert [call for call, _ in made] == [call for call, _ in sent]
    for (_, given), (_, wanted) in zip(made, sent, strict=True):
        assert given.items() >= wanted.items()


def test_a_replica_that_has_the_tables_tags_gets_no_others():
    answers = {"describe_table": {"Table": TABLE | {"Replicas": [PARIS]}}}
    spec = ON_DEMAND | {"tags": {"team": "a"}, "replica": [{"regionName": "eu-west-3", "propagateTags": True}]}
    [(_, tagged)] = changes("dynamodb.aws.upbound.io/v1beta1", "Table", spec, answers)
    assert {"Key": "team", "Value": "a"} in tagged["Tags"]
    answers["list_tags_of_resource eu-west-3"] = {"Tags": tagged["Tags"]}
    [(_, again)] = changes("dynamodb.aws.upbound.io/v1beta1", "Table", spec, answers)
    assert [tag["Key"] for tag in again["Tags"]] == ["crossplane-uid"]  # that of this other object


@pytest.mark.parametrize(
    ("named", "there", "sent"),
    [
        ((), [PARIS], [("delete_table", {"TableName": "orders"})]),  # somebody else's
        (("eu-west-3",), [], [("delete_table", {"TableName": "orders"})]),
        (("eu-west-3", "eu-west-2"), [PARIS, LONDON], updated(ReplicaUpdates=[{"Delete": {"RegionName": "eu-west-3"}}])),
        (("eu-west-3", "eu-west-2"), [PARIS | {"ReplicaStatus": "DELETING"}, LONDON], []),
    ],
)  # fmt: skip
def test_replicas_go_before_their_table(named, there, sent):
    found = catalogue.lookup("dynamodb.aws.upbound.io/v1beta1", "Table")
    spec = ON_DEMAND | ({"replica": [{"regionName": region} for region in named]} if named else {})
    wanted = managed("dynamodb.aws.upbound.io/v1beta1", "Table", "orders", external_name="orders", **spec)
    engine = Recorded(found, catalogue.hooks(found.file), wanted, None, {}, now=datetime.now(UTC))
    engine._clients, engine.answers, engine.sent = (
        Partition(),
        {"describe_table": {"Table": TABLE | {"Replicas": there}}},
        [],
    )
    observation = engine.observe()
    if sent and sent[0][0] == "delete_table":
        engine.delete(observation)
    else:
        with pytest.raises(Waiting, match="its replicas go first"):
            engine.delete(observation)
    assert engine.sent == sent


def test_the_replicas_of_a_protected_table_stay():
    found = catalogue.lookup("dynamodb.aws.upbound.io/v1beta1", "Table")
    wanted = managed(
        "dynamodb.aws.upbound.io/v1beta1",
        "Table",
        "orders",
        external_name="orders",
        replica=[{"regionName": "eu-west-3"}],
    )
    engine = Recorded(found, catalogue.hooks(found.file), wanted, None, {}, now=datetime.now(UTC))
    table = TABLE | {"Replicas": [PARIS], "DeletionProtectionEnabled": True}
    engine._clients, engine.answers, engine.sent = Partition(), {"describe_table": {"Table": table}}, []
    engine.delete(engine.observe())
    assert engine.sent == [("delete_table", {"TableName": "orders"})], "which AWS refuses"


# --- elasticache ReplicationGroup


def shards(*replicas, **facts):
    groups = [
        {"NodeGroupId": f"{index:04}", "NodeGroupMembers": [{"CacheClusterId": f"orders-{index:04}-{each}"} for each in range(count + 1)]}
        for index, count in enumerate(replicas, 1)
    ]  # fmt: skip
    members = [member["CacheClusterId"] for group in groups for member in group["NodeGroupMembers"]]
    found = {
        "ReplicationGroupId": "orders", "Status": "available", "Description": "orders", "ARN": "arn:aws:elasticache:eu-west-1:123456789012:replicationgroup:orders",
        "NodeGroups": groups, "MemberClusters": members, "ClusterEnabled": len(groups) > 1, "MultiAZ": "disabled", "AutomaticFailover": "enabled",
    }  # fmt: skip
    return {"describe_replication_groups": {"ReplicationGroups": [found | facts]}, "describe_cache_clusters": {"CacheClusters": [{"Engine": "redis"}]}}  # fmt: skip


NOW = {"ReplicationGroupId": "orders", "ApplyImmediately": True}
SHARDED = {"description": "orders", "automaticFailoverEnabled": True}


@pytest.mark.parametrize(
    ("spec", "there", "sent"),
    [
        ({"numNodeGroups": 2, "replicasPerNodeGroup": 1}, (1, 1), []),
        ({"numNodeGroups": 3}, (1, 1), [("modify_replication_group_shard_configuration", NOW | {"NodeGroupCount": 3})]),
        ({"numNodeGroups": 2}, (1, 1, 1), [("modify_replication_group_shard_configuration", NOW | {"NodeGroupCount": 2, "NodeGroupsToRemove": ["0003"]})]),
        ({"numNodeGroups": 2, "replicasPerNodeGroup": 2}, (1, 1), [("increase_replica_count", NOW | {"NewReplicaCount": 2})]),
        ({"numNodeGroups": 2, "replicasPerNodeGroup": 0}, (1, 1), [("decrease_replica_count", NOW | {"NewReplicaCount": 0})]),
        # of both, the shards first
        ({"numNodeGroups": 3, "replicasPerNodeGroup": 2}, (1, 1), [("modify_replication_group_shard_configuration", NOW | {"NodeGroupCount": 3})]),
        # without shards the nodes are counted, and one of them is the primary
        ({"numCacheClusters": 3}, (1,), [("increase_replica_count", NOW | {"NewReplicaCount": 2})]),
        ({"numCacheClusters": 2}, (2,), [("decrease_replica_count", NOW | {"NewReplicaCount": 1})]),
        ({"numCacheClusters": 2}, (1,), []),
    ],
)  # fmt: skip
def test_shards_and_replicas_come_and_go_one_change_at_a_time(spec, there, sent):
    assert changes("elasticache.aws.upbound.io/v1beta2", "ReplicationGroup", SHARDED | spec, shards(*there)) == sent


def test_a_group_that_is_being_changed_takes_nothing():
    there = shards(1, 1, Status="modifying")
    assert (
        changes("elasticache.aws.upbound.io/v1beta2", "ReplicationGroup", SHARDED | {"numNodeGroups": 3}, there) == []
    )


def test_the_fields_of_v1beta1_say_the_same():
    spec = {
        "replicationGroupDescription": "orders",
        "automaticFailoverEnabled": True,
        "clusterMode": [{"numNodeGroups": 3, "replicasPerNodeGroup": 1}],
    }
    sent = [("modify_replication_group_shard_configuration", NOW | {"NodeGroupCount": 3})]
    assert changes("elasticache.aws.upbound.io/v1beta1", "ReplicationGroup", spec, shards(1, 1)) == sent


# --- rds Cluster

ARN = "arn:aws:rds:eu-west-1:123456789012:cluster:orders"
CLUSTER = {
    "DBClusterIdentifier": "orders", "DBClusterArn": ARN, "Status": "available", "Engine": "aurora-postgresql", "EngineVersion": "15.4", "EngineMode": "provisioned",
    "CopyTagsToSnapshot": False, "TagList": [],
}  # fmt: skip
MODIFIED = {"DBClusterIdentifier": "orders", "ApplyImmediately": True}


def cluster(spec, **facts):
    usual = {"engine": "aurora-postgresql", "applyImmediately": True}
    return changes(
        "rds.aws.upbound.io/v1beta1",
        "Cluster",
        usual | spec,
        {"describe_db_clusters": {"DBClusters": [CLUSTER | facts]}},
    )


def modified(**parameters):
    return [("modify_db_cluster", MODIFIED | parameters)]


@pytest.mark.parametrize(
    ("spec", "facts", "sent"),
    [
        ({}, {}, []),
        ({"engineVersion": "15.4"}, {}, []),
        ({"engineVersion": "15"}, {}, []),
        ({"engineVersion": "16.1", "allowMajorVersionUpgrade": True}, {}, modified(EngineVersion="16.1", AllowMajorVersionUpgrade=True)),
        ({"engineVersion": "16.1"}, {"PendingModifiedValues": {"EngineVersion": "16.1"}}, []),  # it waits for its window
        ({"engineVersion": "14.9"}, {}, []),  # AWS takes none back
        ({"allowMajorVersionUpgrade": True, "backupRetentionPeriod": 7}, {"BackupRetentionPeriod": 1}, modified(BackupRetentionPeriod=7)),
        ({"enabledCloudwatchLogsExports": ["postgresql"]}, {"EnabledCloudwatchLogsExports": ["upgrade"]},
         [("modify_db_cluster", {"DBClusterIdentifier": "orders", "CloudwatchLogsExportConfiguration": {"EnableLogTypes": ["postgresql"], "DisableLogTypes": ["upgrade"]}})]),
        ({"serverlessv2ScalingConfiguration": [{"minCapacity": 1, "maxCapacity": 4}]}, {"ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5, "MaxCapacity": 4}},
         modified(ServerlessV2ScalingConfiguration={"MinCapacity": 1, "MaxCapacity": 4})),
        ({"storageType": "aurora-iopt1"}, {"StorageType": "aurora"}, modified(StorageType="aurora-iopt1")),
        ({"iops": 3000, "allocatedStorage": 200}, {"Iops": 1000, "AllocatedStorage": 100}, modified(AllocatedStorage=200, Iops=3000)),
        ({"monitoringInterval": 30, "monitoringRoleArn": "arn:aws:iam::123456789012:role/m"}, {}, modified(MonitoringInterval=30, MonitoringRoleArn="arn:aws:iam::123456789012:role/m")),
        ({"backtrackWindow": 3600}, {"BacktrackWindow": 0}, modified(BacktrackWindow=3600)),
        ({"manageMasterUserPassword": True}, {}, modified(ManageMasterUserPassword=True)),
        ({"networkType": "DUAL"}, {"NetworkType": "IPV4"}, modified(NetworkType="DUAL")),
        ({"vpcSecurityGroupIds": ["sg-2"]}, {"VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1", "Status": "active"}]}, modified(VpcSecurityGroupIds=["sg-2"])),
        # the Data API has calls of its own
        ({"enableHttpEndpoint": True}, {"HttpEndpointEnabled": False}, [("enable_http_endpoint", {"ResourceArn": ARN})]),
        ({"enableHttpEndpoint": False}, {"HttpEndpointEnabled": True}, [("disable_http_endpoint", {"ResourceArn": ARN})]),
        ({"enableHttpEndpoint": True}, {"HttpEndpointEnabled": False, "EngineMode": "serverless"}, [("modify_db_cluster", {"DBClusterIdentifier": "orders", "EnableHttpEndpoint": True})]),
        # states
        ({"backtrackWindow": 3600}, {"BacktrackWindow": 0, "Status": "modifying"}, []),
        ({"backtrackWindow": 3600}, {"BacktrackWindow": 0, "Status": "stopped"}, []),
    ],
)  # fmt: skip
def test_a_cluster_is_modified_by_these_calls(spec, facts, sent):
    assert cluster(spec, **facts) == sent


def test_a_cluster_gets_its_other_password_once():
    reference = {"masterPasswordSecretRef": {"name": "x", "namespace": "y", "key": "z"}}
    answers = {"describe_db_clusters": {"DBClusters": [CLUSTER]}}
    spec = {"engine": "aurora-postgresql", "applyImmediately": True} | reference
    sent = changes("rds.aws.upbound.io/v1beta1", "Cluster", spec, answers, {"masterPassword": "correct-horse"})
    assert sent == modified(MasterUserPassword="correct-horse")


# --- what a create says of what follows from the rest


def created(api_version, kind, spec):
    """The parameters of the create call."""
    found = catalogue.lookup(api_version, kind)
    wanted = managed(api_version, kind, "orders", **spec)
    engine = Recorded(found, catalogue.hooks(found.file), wanted, None, {"password": "p"}, now=datetime.now(UTC))
    engine._clients, engine.answers, engine.sent = Partition(), {}, []
    engine.check()
    engine.hooks.check_create(engine)
    return engine.create_call()[1]


GP3 = {"instanceClass": "db.t4g.micro", "username": "boss", "storageType": "gp3", "manageMasterUserPassword": True}


@pytest.mark.parametrize(
    ("engine", "size", "rate", "sent"),
    [
        ("postgres", 20, {"iops": 3000, "storageThroughput": 125}, {}),  # as a first look has filled in
        ("postgres", 20, {"iops": 5000}, {"Iops": 5000}),  # AWS says what is wrong
        ("postgres", 400, {"iops": 12000}, {"Iops": 12000}),
        ("oracle-ee", 200, {"iops": 12000}, {"Iops": 12000}),
        ("sqlserver-ex", 20, {"iops": 4000, "storageThroughput": 200}, {"Iops": 4000, "StorageThroughput": 200}),
        ("custom-oracle-ee", 40, {"iops": 4000}, {"Iops": 4000}),
    ],
)
def test_the_rate_of_gp3_is_sent_where_it_can_be_chosen(engine, size, rate, sent):
    spec = {**GP3, "engine": engine, "allocatedStorage": size, **rate}
    parameters = created("rds.aws.upbound.io/v1beta1", "Instance", spec)
    assert {name: parameters[name] for name in ("Iops", "StorageThroughput") if name in parameters} == sent


def test_the_rate_of_sql_server_is_changed_at_any_size():
    there = {
        "DBInstanceIdentifier": "orders",
        "DBInstanceStatus": "available",
        "DBInstanceArn": "arn:aws:rds:eu-west-1:123456789012:db:orders",
        "Engine": "sqlserver-ex",
        "StorageType": "gp3",
        "AllocatedStorage": 20,
        "Iops": 3000,
        "DBInstanceClass": "db.t3.micro",
    }
    spec = {"engine": "sqlserver-ex", "instanceClass": "db.t3.micro", "iops": 4000}
    answers = {"describe_db_instances": {"DBInstances": [there]}}
    ((call, parameters),) = changes("rds.aws.upbound.io/v1beta1", "Instance", spec, answers)
    assert (call, parameters["Iops"]) == ("modify_db_instance", 4000)


@pytest.mark.parametrize(
    ("spec", "origin"),
    [
        ({"customKeyStoreId": "cks-1"}, "AWS_CLOUDHSM"),
        ({"customKeyStoreId": "cks-1", "xksKeyId": "a"}, "EXTERNAL_KEY_STORE"),
        ({}, None),
    ],
)
def test_a_key_of_a_custom_key_store_comes_from_there(spec, origin):
    assert created("kms.aws.upbound.io/v1beta1", "Key", spec).get("Origin") == origin


@pytest.mark.parametrize("is_fifo", [True, False])
def test_what_is_only_of_fifo_queues_is_sent_to_no_other_that_is_there(is_fifo):
    """Whatever the spec says of fifoQueue: an imported one says nothing."""
    there = {"QueueArn": "arn:aws:sqs:eu-west-1:123456789012:orders", "FifoQueue": str(is_fifo).lower()}
    answers = {"get_queue_attributes": {"Attributes": there}}
    arguments = ("sqs.aws.upbound.io/v1beta1", "Queue", {"deduplicationScope": "queue"}, answers)
    if not is_fifo:
        with pytest.raises(InvalidInput, match="deduplicationScope: AWS takes it only with fifoQueue: true"):
            changes(*arguments)
        return
    assert dict(changes(*arguments))["set_queue_attributes"]["Attributes"]["DeduplicationScope"] == "queue"


# --- what AWS or another thing decides

GROUPED = {
    "CacheClusterId": "orders", "ARN": "arn:aws:elasticache:eu-west-1:123456789012:cluster:orders", "CacheClusterStatus": "available", "Engine": "redis",
    "EngineVersion": "7.1.0", "CacheNodeType": "cache.t4g.small", "NumCacheNodes": 1, "AutoMinorVersionUpgrade": False,
    "CacheParameterGroup": {"CacheParameterGroupName": "default.redis7"},
}  # fmt: skip


def cache(spec, **facts):
    answers = {"describe_cache_clusters": {"CacheClusters": [GROUPED | facts]}}
    given = {"engine": "redis", "autoMinorVersionUpgrade": "false", **spec}
    return changes("elasticache.aws.upbound.io/v1beta1", "Cluster", given, answers)


@pytest.mark.parametrize(
    ("spec", "facts", "sent"),
    [
        ({"engineVersion": "6.2", "parameterGroupName": "default.redis6.x"}, {}, []),  # AWS has upgraded it
        ({"engineVersion": "7.2"}, {}, [{"EngineVersion": "7.2"}]),
        ({"parameterGroupName": "orders"}, {}, [{"CacheParameterGroupName": "orders"}]),
        ({"nodeType": "cache.t4g.micro"}, {}, [{"CacheNodeType": "cache.t4g.micro"}]),
        # its replication group decides
        ({"nodeType": "cache.t4g.micro", "autoMinorVersionUpgrade": "true"}, {"ReplicationGroupId": "orders"}, []),
        ({"engineVersion": "7.2", "parameterGroupName": "orders"}, {"ReplicationGroupId": "orders"}, []),
    ],
)
def test_a_cache_is_not_held_to_what_others_decide(spec, facts, sent):
    found = [parameters for _, parameters in cache(spec, **facts)]
    assert found == [each | {"CacheClusterId": "orders", "ApplyImmediately": False} for each in sent]


def late(api_version, kind, spec, answers):
    """What a first look fills in."""
    found = catalogue.lookup(api_version, kind)
    wanted = managed(api_version, kind, "orders", external_name="orders", **spec)
    engine = Recorded(found, catalogue.hooks(found.file), wanted, None, {}, now=datetime.now(UTC))
    engine._clients, engine.answers = Partition(), answers
    return engine.observe().late


def test_of_a_member_of_a_replication_group_nothing_is_filled_in_that_the_group_decides():
    answers = {"describe_cache_clusters": {"CacheClusters": [GROUPED | {"ReplicationGroupId": "orders"}]}}
    member = late("elasticache.aws.upbound.io/v1beta1", "Cluster", {"replicationGroupId": "orders"}, answers)
    assert not member.keys() & {"engineVersion", "nodeType", "parameterGroupName", "numCacheNodes"}
    alone = {"describe_cache_clusters": {"CacheClusters": [GROUPED]}}
    assert late("elasticache.aws.upbound.io/v1beta1", "Cluster", {}, alone)["engineVersion"] == "7.1.0"


def test_a_group_in_a_global_one_is_upgraded_with_that():
    spec = SHARDED | {"engineVersion": "7.1", "nodeType": "cache.r7g.large"}
    for facts, is_changed in (
        ({"GlobalReplicationGroupInfo": {"GlobalReplicationGroupId": "world"}}, False),
        ({}, True),
    ):
        answers = shards(1, 1, CacheNodeType="cache.r6g.large", **facts)
        answers["describe_cache_clusters"]["CacheClusters"][0]["EngineVersion"] = "7.0.7"
        sent = changes("elasticache.aws.upbound.io/v1beta2", "ReplicationGroup", spec, answers)
        assert is_changed == any({"EngineVersion", "CacheNodeType"} <= parameters.keys() for _, parameters in sent)


@pytest.mark.parametrize(
    ("wanted", "there", "sent"),
    [
        ("default.aurora-postgresql15", "default.aurora-postgresql16", []),
        ("default.aurora-postgresql15", "orders", modified(DBClusterParameterGroupName="default.aurora-postgresql15")),
        ("orders", "default.aurora-postgresql16", modified(DBClusterParameterGroupName="orders")),
    ],
)
def test_an_upgraded_cluster_keeps_the_parameters_that_came_with_its_version(wanted, there, sent):
    assert cluster({"dbClusterParameterGroupName": wanted}, DBClusterParameterGroup=there) == sent


@pytest.mark.parametrize(
    ("size", "wanted", "sent"), [(500, 3000, []), (500, 13000, [13000]), (20, 3000, []), (20, None, [])]
)
def test_the_rate_that_grows_with_its_storage_is_not_set_back(size, wanted, sent):
    there = {
        "DBInstanceIdentifier": "orders",
        "DBInstanceStatus": "available",
        "DBInstanceArn": "arn:aws:rds:eu-west-1:123456789012:db:orders",
        "Engine": "postgres",
        "StorageType": "gp3",
        "AllocatedStorage": size,
        "Iops": 12000 if size == 500 else 3000,
        "DBInstanceClass": "db.t4g.micro",
    }
    spec = {"engine": "postgres", "instanceClass": "db.t4g.micro"} | ({"iops": wanted} if wanted else {})
    answers = {"describe_db_instances": {"DBInstances": [there]}}
    found = changes("rds.aws.upbound.io/v1beta1", "Instance", spec, answers)
    assert [parameters["Iops"] for _, parameters in found if "Iops" in parameters] == sent
    assert "iops" not in late("rds.aws.upbound.io/v1beta1", "Instance", spec, answers)


DECIDED = {  # by an autoscaling target, by a resource of its own, or by AWS
    "dynamodb_table": ["readCapacity", "writeCapacity"],
    "ec2_internet_gateway": ["vpcId"],
    "iam_role": ["inlinePolicy", "managedPolicyArns"],
    "kms_key": ["policy"],
    "rds_cluster": ["masterUserSecretKmsKeyId"],
    "rds_cluster_instance": ["dbParameterGroupName", "engineVersion", "monitoringRoleArn", "performanceInsightsKmsKeyId"],
    "rds_instance": ["iops", "storageThroughput"],
    "sns_topic": ["policy"],
    "sqs_queue": ["policy", "redriveAllowPolicy", "redrivePolicy"],
}  # fmt: skip


@pytest.mark.parametrize(("file", "names"), DECIDED.items())
def test_what_another_resource_may_decide_is_not_filled_in(file, names):
    fields = catalogue.load(file).fields
    assert [name for name in names if fields[name].late] == []


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "parameter"),
    [
        ("rds.aws.upbound.io/v1beta1", "Instance", {**GP3, "engine": "postgres", "allocatedStorage": 20, "parameterGroupName": "default.postgres15"}, "DBParameterGroupName"),
        ("rds.aws.upbound.io/v1beta1", "Cluster", {"engine": "aurora-mysql", "masterUsername": "boss", "manageMasterUserPassword": True, "dbClusterParameterGroupName": "default.aurora-mysql5.7"}, "DBClusterParameterGroupName"),
        ("elasticache.aws.upbound.io/v1beta1", "Cluster", {"engine": "redis", "parameterGroupName": "default.redis6.x"}, "CacheParameterGroupName"),
    ],
)  # fmt: skip
def test_a_group_of_parameters_of_an_earlier_version_does_not_keep_a_deleted_thing_from_being_made_again(
    api_version, kind, spec, parameter
):
    assert parameter not in created(api_version, kind, spec)
    own = {name: "orders" if str(value).startswith("default.") else value for name, value in spec.items()}
    assert created(api_version, kind, own)[parameter] == "orders"
    if kind == "Cluster" and "elasticache" in api_version:
        assert created(api_version, kind, spec | {"parameterGroupName": "default.redis7.cluster.on"})[parameter]


def test_what_comes_after_a_thing_that_is_gone_has_a_token_of_its_own():
    """With the token of the one that is gone, EC2 answers with that."""
    found, seen = catalogue.lookup("ec2.aws.upbound.io/v1beta1", "RouteTable"), []
    wanted = managed("ec2.aws.upbound.io/v1beta1", "RouteTable", "main", vpcId="vpc-1")
    for name in ("", "", "rtb-1", "rtb-1", "rtb-2"):
        if name:
            wanted["metadata"]["annotations"]["crossplane.io/external-name"] = name
        engine = Recorded(found, catalogue.hooks(found.file), wanted, None, {}, now=datetime.now(UTC))
        engine._clients, engine.answers, engine.sent = Partition(), {}, []
        engine.create()
        seen.append(engine.sent[0][1]["ClientToken"])
    assert seen[0] == seen[1] == wanted["metadata"]["uid"]
    assert seen[2] == seen[3]
    assert len({*seen}) == 3
    assert max(map(len, seen)) <= 64


@pytest.mark.parametrize("spec", [{}, {"streamEnabled": False}, {"streamEnabled": True}])
def test_the_kind_of_a_stream_alone_makes_none(spec):
    """As a look has filled it in, before the stream was switched off."""
    given = {**ON_DEMAND, "attribute": [{"name": "id", "type": "S"}], "streamViewType": "NEW_IMAGE", **spec}
    sent = created("dynamodb.aws.upbound.io/v1beta1", "Table", given).get("StreamSpecification")
    assert sent == ({"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"} if spec.get("streamEnabled") else None)
