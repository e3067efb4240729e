"""What AWS keeps in lower case may be written in capitals: it is no difference, never sent again, and no change of what can't be changed."""

from __future__ import annotations

import pytest

from groundplane.aws import compare
from tests.aws.conftest import RDS, external_name, made, managed

CACHE = "elasticache.aws.upbound.io/v1beta1"
REF = {"namespace": "crossplane-system", "name": "orders", "key": "password"}
SECRETS = {"password": "correct-horse-battery", "masterPassword": "correct-horse-battery"}
DATABASE = {"instanceClass": "db.T4G.Micro", "skipFinalSnapshot": True}
NEW = {"engine": "postgres", "allocatedStorage": 20, "username": "boss", "passwordSecretRef": REF}
AURORA = {
    "engine": "aurora-postgresql",
    "masterUsername": "boss",
    "masterPasswordSecretRef": REF,
    "skipFinalSnapshot": True,
}
THINGS = [
    (RDS, "ParameterGroup", "Postgres", {"family": "Postgres15"}),
    (RDS, "ClusterParameterGroup", "Aurora", {"family": "Aurora-PostgreSQL15"}),
    (RDS, "Instance", "Orders", {**DATABASE, **NEW, "parameterGroupName": "Postgres", "identifier": "Orders"}),
    (RDS, "Instance", "Reader", {**DATABASE, "replicateSourceDb": "Orders"}),
    (RDS, "Cluster", "Orders", {**AURORA, "dbClusterParameterGroupName": "Aurora"}),
    (RDS, "ClusterInstance", "One", {"clusterIdentifier": "Orders", "engine": "aurora-postgresql", "instanceClass": "db.R6g.Large"}),
    (CACHE, "ParameterGroup", "Redis", {"name": "Redis", "family": "Redis7"}),
    (CACHE, "ReplicationGroup", "Orders", {"description": "of orders", "nodeType": "cache.T4g.Micro",
        "parameterGroupName": "Redis", "userGroupIds": ["Team-B", "Team-A"]}),
    (CACHE, "Cluster", "Sessions", {"engine": "memcached", "nodeType": "cache.T4g.Micro", "numCacheNodes": 1}),
    (CACHE, "Cluster", "Replica", {"replicationGroupId": "Orders"}),
]  # fmt: skip


async def test_what_is_written_in_capitals_rests(cloud, account):
    for api_version, kind, name, spec in THINGS:
        thing = managed(api_version, kind, name.lower(), name, **spec)
        secrets = SECRETS if any(field.endswith("SecretRef") for field in spec) else {}
        found = await made(cloud, thing, account, secrets)
        assert external_name(thing) == name.lower(), kind
        assert (found.drift, found.immutable) == ((), ()), kind


async def test_a_real_change_of_user_groups_is_sent_in_lower_case(cloud, account):
    facts = {"description": "of orders", "nodeType": "cache.t4g.micro"}
    group = managed(CACHE, "ReplicationGroup", "orders", **facts, userGroupIds=["Team-A", "Team-B"])
    await made(cloud, group, account)
    group["spec"]["forProvider"]["userGroupIds"] = ["Team-C", "TEAM-A"]
    found = await cloud.observe(group, account, {})
    await cloud.update(group, account, {}, found)
    found = await cloud.observe(group, account, {})
    assert found.drift == ()
    assert found.at_provider["userGroupIds"] == ["team-a", "team-c"]


ARN = "arn:aws:rds:eu-west-1:123456789012:db:orders"


@pytest.mark.parametrize(
    "desired, observed, same",
    [
        (ARN, "orders", True),  # a source of the same region is shown by its name
        ("Orders", "orders", True),
        (ARN, ARN, True),
        (ARN, ARN.replace("eu-west-1", "us-east-1"), False),
        (ARN, "payments", False),
        ("payments", "orders", False),
    ],
)
def test_a_source_by_its_name_or_its_arn(desired, observed, same):
    assert compare.equal("arn", desired, observed) is same
