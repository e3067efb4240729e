"""The operator dies while fifty claims are made at once, and while they go: nothing is lost, made twice, or left behind."""

from __future__ import annotations

import boto3
import pytest

from tests.standin import REGION

GROUP, TEAM, COUNT = "killed.example.org", "team-killed", 50
CONFIG = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": "killed"},
    "spec": {"credentials": {"source": "InjectedIdentity"}},
}
OBJECT = {"type": "object"}
DEFINITION = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "CompositeResourceDefinition",
    "metadata": {"name": f"xnets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"kind": "XNet", "plural": "xnets"},
        "claimNames": {"kind": "Net", "plural": "nets"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "referenceable": True,
                "schema": {"openAPIV3Schema": OBJECT | {"properties": {"spec": OBJECT}}},
            }
        ],
    },
}
VPC = {
    "apiVersion": "ec2.aws.upbound.io/v1beta1",
    "kind": "VPC",
    "spec": {"forProvider": {"region": REGION, "cidrBlock": "10.0.0.0/16"}, "providerConfigRef": {"name": "killed"}},
}
COMPOSITION = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "Composition",
    "metadata": {"name": "killed"},
    "spec": {
        "compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "XNet"},
        "resources": [{"name": "vpc", "base": VPC}],
    },
}
CLAIMS, COMPOSITES, MANAGED = f"nets.{GROUP}", f"xnets.{GROUP}", "vpcs.ec2.aws.upbound.io"


def claim(index):
    metadata = {"name": f"net-{index}", "namespace": TEAM}
    return {"apiVersion": f"{GROUP}/v1", "kind": "Net", "metadata": metadata, "spec": {}}


@pytest.fixture
def platform(plane, operator):
    plane.kubectl("create", "namespace", TEAM, check=False)
    plane.apply(CONFIG, DEFINITION, COMPOSITION)
    plane.wait("the claim's kind", lambda: plane.get(CLAIMS) is not None)
    yield plane
    plane.kubectl("delete", f"xrd/{COMPOSITES}", "composition/killed", "providerconfigs.aws.upbound.io/killed")


@pytest.fixture
def vpcs(aws):
    """A function that lists the VPCs that AWS has."""
    keys = {"aws_access_key_id": "person", "aws_secret_access_key": "person"}
    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=aws.url, **keys)
    yield lambda: sorted(vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"])
    ec2.close()


@pytest.mark.soak
@pytest.mark.parametrize("made", [3, 40], ids=["early", "late"])
def test_killed_while_fifty_claims_are_made_and_again_while_they_go(platform, operator, aws, vpcs, made):
    plane = platform

    def names(kind):
        return [obj["metadata"]["name"] for obj in plane.get(kind, "-A")["items"]]

    def ready():
        found = [obj.get("status", {}).get("conditions", ()) for obj in plane.get(CLAIMS, "-A")["items"]]
        return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in each) for each in found)

    fault = {"service": "ec2", "operation": "CreateVpc", "delay": 0.3, "times": 10_000}
    aws.request("POST", "/standin/faults", fault)
    plane.apply(*map(claim, range(COUNT)))
    plane.wait(f"{made} creates", lambda: aws.calls("CreateVpc") >= made)
    operator.kill()
    assert ready() < COUNT, "killed too late: all was done"
    operator.start()
    plane.wait("all claims are ready", lambda: ready() == COUNT)
    assert len(names(COMPOSITES)) == COUNT
    found = [obj["metadata"]["annotations"]["crossplane.io/external-name"] for obj in plane.get(MANAGED)["items"]]
    assert len(set(found)) == COUNT
    assert vpcs() == sorted(found)

    plane.kubectl("delete", CLAIMS, "--all", "-n", TEAM, "--wait=false")
    plane.wait(f"{made} are gone", lambda: len(vpcs()) <= COUNT - made)
    operator.kill()
    operator.start()
    plane.wait("nothing is left", lambda: not (names(CLAIMS) or names(COMPOSITES) or names(MANAGED)))
    assert vpcs() == []


@pytest.mark.soak
def test_the_api_server_is_killed_three_times_among_a_hundred_creates(platform, operator, aws, vpcs):
    plane, count = platform, 100

    def managed():
        return (plane.get(MANAGED) or {"items": []})["items"]

    def ready():
        found = [obj.get("status", {}).get("conditions", ()) for obj in managed()]
        return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in each) for each in found)

    fault = {"service": "ec2", "operation": "CreateVpc", "delay": 0.3, "times": 10_000}
    aws.request("POST", "/standin/faults", fault)
    plane.apply(*(VPC | {"metadata": {"name": f"vpc-{index}"}} for index in range(count)))
    for made in (3, 30, 60):
        plane.wait(f"{made} creates", lambda made=made: aws.calls("CreateVpc") >= made)
        plane.restart_api_server()
    plane.wait("all are ready", lambda: ready() == count)
    found = [obj["metadata"]["annotations"]["crossplane.io/external-name"] for obj in managed()]
    assert len(set(found)) == count
    assert vpcs() == sorted(found)

    plane.kubectl("delete", MANAGED, "--all", "--wait=false")
    plane.wait("some are gone", lambda: len(vpcs()) <= count - 20)
    plane.restart_api_server()
    plane.wait("nothing is left", lambda: not managed())
    assert vpcs() == []
