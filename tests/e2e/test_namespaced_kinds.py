"""Managed resources in namespaces on a real API server: accounts of both kinds, references, objects where earlier versions have lists."""

from __future__ import annotations

import json

from tests.e2e.guide import condition

TEAM = "team-m"
INI = "[default]\naws_access_key_id = AKIATEAM\naws_secret_access_key = hush-hush\n"


def thing(service, kind, name, spec=None, **for_provider):
    return {
        "apiVersion": f"{service}.aws.m.upbound.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name, "namespace": TEAM},
        "spec": {"forProvider": {"region": "eu-west-1", **for_provider}, **(spec or {})},
    }


def account(kind, **metadata):
    secret = {"namespace": TEAM, "name": "aws", "key": "ini"}
    return {
        "apiVersion": "aws.m.upbound.io/v1beta1",
        "kind": kind,
        "metadata": {"name": "default", **metadata},
        "spec": {"credentials": {"source": "Secret", "secretRef": secret}},
    }


OWN = {"providerConfigRef": {"kind": "ProviderConfig", "name": "default"}}
RULE = {"id": "old", "status": "Enabled", "filter": [{"prefix": "old/"}], "expiration": [{"days": 3}]}
MANIFESTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "aws", "namespace": TEAM}, "stringData": {"ini": INI}},
    account("ClusterProviderConfig"),
    account("ProviderConfig", namespace=TEAM),
    thing("ec2", "VPC", "main", cidrBlock="10.8.0.0/16"),
    thing("ec2", "Subnet", "a", OWN, cidrBlock="10.8.1.0/24", availabilityZone="eu-west-1a", vpcIdRef={"name": "main"}),
    thing("ec2", "Subnet", "b", OWN, cidrBlock="10.8.2.0/24", availabilityZone="eu-west-1b", vpcIdRef={"name": "main"}),
    thing("rds", "SubnetGroup", "data", subnetIdRefs=[{"name": "a"}, {"name": "b"}]),
    thing("s3", "Bucket", "team-m-bucket", forceDestroy=True),
    thing("s3", "BucketLifecycleConfiguration", "team-m", bucketRef={"name": "team-m-bucket"}, rule=[RULE]),
    thing("sqs", "Queue", "orders"),
]


def test_what_lives_in_a_namespace_becomes_ready_and_goes(plane, aws, operator, clean):
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": MANIFESTS})
    plane.kubectl("apply", "-f", "-", input=text)

    def managed():
        return plane.get("managed", "-n", TEAM)["items"]

    def missing():
        return [
            f"{each['kind']}: {condition(each, type_).get('message')}"
            for each in managed()
            for type_ in ("Synced", "Ready")
            if condition(each, type_).get("status") != "True"
        ]

    try:
        plane.wait("all is ready", lambda: len(managed()) == 7 and not missing())
    except AssertionError as error:
        raise AssertionError(f"{missing()}\n{operator.text()[-3000:]}") from error
    bucket = next(each for each in managed() if each["kind"] == "Bucket")
    assert isinstance(bucket["status"]["atProvider"]["versioning"], dict)
    users = {
        kind: plane.get(kind, "default", "-n", TEAM)["status"]["users"]
        for kind in ("providerconfigs.aws.m.upbound.io", "clusterproviderconfigs.aws.m.upbound.io")
    }
    assert users == {"providerconfigs.aws.m.upbound.io": 2, "clusterproviderconfigs.aws.m.upbound.io": 5}
    plane.kubectl("delete", "managed", "--all", "-n", TEAM, "--wait=false")
    plane.wait("all is gone", lambda: not managed())
    for kind in users:
        plane.kubectl("delete", kind, "default", "-n", TEAM, "--timeout=180s")
