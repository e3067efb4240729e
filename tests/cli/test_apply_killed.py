"""`groundplane apply` is killed while AWS is at work: what is planned and applied after that brings the same end, and nothing twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import boto3
import pytest
import yaml

from groundplane.runtime.local import LocalControlPlane
from tests.cli.platform import groundplane
from tests.cli.test_plan import KEYS, READING
from tests.e2e.test_plan import CONFIG
from tests.standin import REGION

PATIENCE = 120  # seconds until what does not come is given up


def thing(kind, name, **asked):
    return {
        "apiVersion": "ec2.aws.upbound.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"forProvider": {"region": REGION, **asked}},
    }


def objects():
    """A network, none of whose names is ours to choose: what is made twice is two."""
    yield thing("VPC", "net", cidrBlock="10.0.0.0/16")
    for number in range(3):
        yield thing("Subnet", f"net-{number}", vpcIdRef={"name": "net"}, cidrBlock=f"10.0.{number}.0/24")
        yield thing("SecurityGroup", f"net-{number}", vpcIdRef={"name": "net"}, description="some")


def mutating(aws):
    return [call for call in aws.operations() if not call.startswith(READING)]


@pytest.mark.soak
@pytest.mark.parametrize("calls", [1, 2, 4, 6])
def test_what_a_killed_apply_has_left_is_finished_by_the_next(standin_process, tmp_path, monkeypatch, calls):
    aws = standin_process
    aws.reset()
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    async def fill():
        async with LocalControlPlane("groundplane.db") as plane:
            await plane.cluster.apply(CONFIG, manager="person")
            await plane.idle()

    asyncio.run(fill())
    with open("net.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump_all(list(objects()), file)
    place = ("--db", "groundplane.db")
    made = groundplane("plan", "net.yaml", *place, "--out", "p.json")
    assert "Plan: 7 to add, 0 to change" in made.stdout, made.output
    aws.forget_calls()
    command = [sys.executable, "-m", "groundplane.cli.main", "apply", "p.json", *place]
    with subprocess.Popen(
        command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as killed:
        end = time.monotonic() + PATIENCE
        while len(mutating(aws)) < calls and killed.poll() is None:
            assert time.monotonic() < end, "it never came so far"
        killed.kill()

    end = time.monotonic() + PATIENCE
    while True:  # what was begun a moment ago AWS need not show yet: nobody can tell so long
        again = groundplane("plan", "net.yaml", *place, "--out", "p.json")
        assert again.exit_code == 0, again.output
        if "\n? " not in again.stdout:
            break
        assert "an interrupted create may have made something that AWS doesn't show yet" in again.stdout
        assert time.monotonic() < end, again.stdout
        time.sleep(1)
    assert "Changed outside" not in again.stdout
    done = groundplane("apply", "p.json", *place)
    assert done.exit_code == 0, done.output
    assert groundplane("plan", "net.yaml", *place).stdout == "No changes. 7 resources match AWS.\n"
    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=aws.url)
    assert len([each for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]]) == 1
    assert len([each for each in ec2.describe_subnets()["Subnets"] if not each["DefaultForAz"]]) == 3
    assert (
        len([each for each in ec2.describe_security_groups()["SecurityGroups"] if each["GroupName"] != "default"]) == 3
    )
