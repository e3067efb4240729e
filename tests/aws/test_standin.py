"""The stand-in as a process: its controls, and its end."""

import os
import subprocess
import sys
import time

import pytest

from groundplane import errors
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
