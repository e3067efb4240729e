"""The examples of every AWS kind, as upstream's documentation writes them, applied at once on a real API server: ready, at rest, and gone again.

In either generation; in the stand-in for AWS nothing is left.
"""

from __future__ import annotations

import json

import boto3
import pytest

from tests import aws_examples
from tests.e2e.conftest import QUICK, Operator
from tests.e2e.guide import at_rest, condition, writes

pytestmark = pytest.mark.soak
REGION = "eu-west-1"
LISTED = {  # what there may be: (call, where it lists things, their name) by service
    "ec2": [
        ("describe_vpcs", "Vpcs", "VpcId"),
        ("describe_subnets", "Subnets", "SubnetId"),
        ("describe_route_tables", "RouteTables", "RouteTableId"),
        ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
        ("describe_security_groups", "SecurityGroups", "GroupId"),
        ("describe_addresses", "Addresses", "AllocationId"),
    ],
    "rds": [
        ("describe_db_instances", "DBInstances", "DBInstanceIdentifier"),
        ("describe_db_clusters", "DBClusters", "DBClusterIdentifier"),
        ("describe_db_subnet_groups", "DBSubnetGroups", "DBSubnetGroupName"),
        ("describe_db_parameter_groups", "DBParameterGroups", "DBParameterGroupName"),
        ("describe_db_cluster_parameter_groups", "DBClusterParameterGroups", "DBClusterParameterGroupName"),
    ],
    "elasticache": [
        ("describe_cache_clusters", "CacheClusters", "CacheClusterId"),
        ("describe_replication_groups", "ReplicationGroups", "ReplicationGroupId"),
        ("describe_cache_subnet_groups", "CacheSubnetGroups", "CacheSubnetGroupName"),
        ("describe_cache_parameter_groups", "CacheParameterGroups", "CacheParameterGroupName"),
    ],
    "iam": [
        ("list_roles", "Roles", "RoleName"),
        ("list_users", "Users", "UserName"),
        ("list_policies", "Policies", "Arn"),
        ("list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
        ("list_open_id_connect_providers", "OpenIDConnectProviderList", "Arn"),
    ],
    "s3": [("list_buckets", "Buckets", "Name")],
    "sqs": [("list_queues", "QueueUrls", "")],
    "sns": [("list_topics", "Topics", "TopicArn"), ("list_subscriptions", "Subscriptions", "SubscriptionArn")],
    "dynamodb": [("list_tables", "TableNames", "")],
    "secretsmanager": [("list_secrets", "SecretList", "ARN")],
    "kms": [("list_aliases", "Aliases", "AliasName")],
}


@pytest.fixture
def everything(plane, aws, tmp_path):
    """An operator with all managed kinds."""
    running = Operator(
        plane.kubeconfig_of("operator"), aws.url, tmp_path / "operator.log", (*QUICK, "--activations", "*")
    )
    running.start()
    yield running
    running.stop()


def inside(aws):
    """What there is in AWS, service by service."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    found = {}
    for service, calls in LISTED.items():
        client = boto3.client(service, region_name=REGION, endpoint_url=aws.url, **keys)
        for call, where, name in calls:
            names = (each[name] if name else each for each in getattr(client, call)().get(where) or ())
            found[call] = sorted(
                each for each in names if not each.startswith("default.")
            )  # AWS's own, made at first use
        client.close()
    return found


@pytest.mark.parametrize("generation", [1, 2], ids=["cluster-scoped", "namespaced"])
def test_the_examples_of_all_kinds_become_ready_rest_and_go(plane, aws, everything, generation):
    manifests = aws_examples.manifests(generation)
    names = {f"{kind.plural}.{kind.group}" for kind in aws_examples.kinds(generation)}
    plane.wait("all kinds are served", lambda: names <= _served(plane))
    plane.wait_for_kinds()
    before = inside(aws)
    where = ("-n", aws_examples.NAMESPACE) if generation == 2 else ()
    kinds = ",".join(sorted(names))
    plane.kubectl("create", "namespace", "crossplane-system", check=False)
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def there():
        return json.loads(plane.kubectl("get", kinds, *where, "-o", "json").stdout)["items"]

    def missing():
        return [
            f"{each['kind']} {each['metadata']['name']}: {type_} {condition(each, type_).get('message')}"
            for each in there()
            for type_ in ("Synced", "Ready")
            if condition(each, type_).get("status") != "True"
        ]

    count = sum("aws" in each["apiVersion"] and "forProvider" in each.get("spec", {}) for each in manifests)
    _until(plane, everything, "all are ready", lambda: len(there()) == count and not missing(), missing)
    assert {each["kind"] for each in there()} == {kind.kind for kind in aws_examples.kinds(generation)}

    at_rest(plane)
    told = len(plane.requests())
    aws.request("DELETE", "/standin/calls")
    look = [f"{each['kind']}.{each['apiVersion'].partition('/')[0]}/{each['metadata']['name']}" for each in there()]
    for each in look:
        plane.kubectl("annotate", each, *where, "crossplane.io/reconcile-requested-at=now")
    plane.wait("all were looked at", lambda: not [each for each in there() if not _is_handled(each)])
    at_rest(plane)
    changed = [each for each in writes(plane, told) if "/status" not in each and "events" not in each]
    assert not changed, "what has settled is written again"
    calls = aws.request("GET", "/standin/calls")
    reading = ("Describe", "Get", "List", "HEAD", "GET", "Head")
    assert not [call["operation"] for call in calls if not call["operation"].startswith(reading)]

    plane.kubectl("delete", kinds, "--all", *where, "--wait=false")
    _until(plane, everything, "all is gone", lambda: not there(), lambda: [_left(each) for each in there()])
    assert inside(aws) == before
    for kind in ("clusterproviderconfigs.aws.m.upbound.io", "providerconfigs.aws.m.upbound.io"):
        plane.kubectl("delete", kind, "default", "-n", aws_examples.NAMESPACE, "--ignore-not-found", "--timeout=180s")
    plane.kubectl("delete", "providerconfigs.aws.upbound.io", "default", "--ignore-not-found", "--timeout=180s")


def _served(plane):
    listed = plane.kubectl("get", "crd", "-o", "name").stdout.split()
    return {name.partition("/")[2] for name in listed}


def _is_handled(each):
    return each.get("status", {}).get("lastHandledReconcileAt") == "now"


def _left(each):
    return f"{each['kind']} {each['metadata']['name']}: {condition(each, 'Synced').get('message')}"


def _until(plane, operator, what, reached, missing):
    try:
        plane.wait(what, reached, seconds=240)
    except AssertionError as error:
        raise AssertionError(f"{missing()}\n{operator.text()[-3000:]}") from error
