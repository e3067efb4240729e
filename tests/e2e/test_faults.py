"""What goes wrong around the operator: it dies, the API server or AWS goes away, kinds vanish.  It recovers by itself."""

from __future__ import annotations

import random
import time

import pytest

from tests.e2e.guide import (
    CLAIM,
    COMPOSITION,
    DEFINITION,
    GUIDE,
    NAME,
    NETWORK,
    PROVIDER,
    REPOSITORY,
    TEAM,
    any_of,
    apply,
    claim,
    condition,
    left,
    secret,
    wait_ready,
)

pytestmark = [
    pytest.mark.soak,
    pytest.mark.usefixtures("clean"),
]


def master_passwords(plane) -> list[str]:
    secrets = plane.get("secrets", "-A")["items"]
    return [s["metadata"]["name"] for s in secrets if s["metadata"]["name"].endswith("-master-password")]


def set_size(plane, size: str) -> None:
    patch = f'{{"spec":{{"parameters":{{"size":"{size}"}}}}}}'
    plane.wait(
        "the claim is changed",
        lambda: (
            plane.kubectl("patch", "database", NAME, "-n", TEAM, "--type=merge", "-p", patch, check=False).returncode
            == 0
        ),
    )


def instance_classes(plane) -> list[str]:
    found = plane.get("instance.rds.aws.upbound.io") or {"items": []}
    return [item["spec"]["forProvider"].get("instanceClass") for item in found["items"]]


@pytest.mark.parametrize(("while_made", "while_deleted"), [(3, 1), (8, 4)], ids=["a few times", "often"])
def test_killed_again_and_again_it_makes_one_database_with_one_password(
    plane, aws, operator, while_made, while_deleted
):
    apply(plane, NETWORK, PROVIDER, DEFINITION, COMPOSITION, CLAIM)
    chance = random.Random(7)
    for _ in range(while_made):
        time.sleep(chance.uniform(0.2, 2.5))
        operator.kill()
        operator.start()
    wait_ready(plane)
    (database,) = aws.databases()
    assert aws.since_accepted("CreateDBInstance") == [200]
    assert plane.wait("the Secret", lambda: secret(plane))["host"] == database["Endpoint"]["Address"]
    assert len(plane.get("composite")["items"]) == 1
    assert len(master_passwords(plane)) == 1

    plane.kubectl("delete", "database", NAME, "-n", TEAM, "--wait=false")
    for _ in range(while_deleted):
        time.sleep(chance.uniform(0.2, 1.5))
        operator.kill()
        operator.start()
    plane.wait("the database is gone", lambda: not aws.databases())
    plane.wait(
        "the claim and its composite are gone",
        lambda: not claim(plane) and not any_of(plane, "composite"),
    )


def test_it_recovers_by_itself_from_an_api_server_and_an_aws_that_were_away(plane, aws, operator):
    apply(plane, NETWORK, *GUIDE)
    wait_ready(plane)
    plane.restart_api_server()
    aws.request(
        "POST",
        "/standin/faults",
        {"service": "rds", "operation": "*", "code": "InternalFailure", "status": 500, "times": 1000},
    )
    set_size(plane, "large")
    plane.wait("the new size reaches the instance", lambda: instance_classes(plane) == ["db.r5.large"])
    plane.wait(
        "the claim says that AWS can't be reached",
        lambda: "InternalFailure" in condition(claim(plane), "Ready").get("message", ""),
    )
    aws.request("DELETE", "/standin/faults")
    wait_ready(plane)
    plane.wait("AWS has the new size", lambda: aws.since_accepted("ModifyDBInstance") == [200])
    assert len(aws.databases()) == 1
    assert aws.since_accepted("CreateDBInstance") == [200]
    assert aws.calls("DeleteDBInstance") == 0


def test_a_kind_that_is_taken_away_and_brought_back_changes_nothing_in_the_cloud(plane, aws, operator):
    """As when somebody deletes a CustomResourceDefinition by mistake: the objects go, and what they stood for stays."""
    apply(plane, NETWORK, *GUIDE)
    wait_ready(plane)
    for managed in plane.get("instance.rds.aws.upbound.io")["items"]:
        # Orphan: kubectl delete crd deletes the objects first, and the operator would delete the database.
        patch = '{"spec":{"deletionPolicy":"Orphan"}}'
        plane.kubectl("patch", "instance.rds.aws.upbound.io", managed["metadata"]["name"], "--type=merge", "-p", patch)
    plane.kubectl("delete", "crd", "instances.rds.aws.upbound.io", "--timeout=180s")
    assert len(aws.databases()) == 1
    plane.kubectl("apply", "--server-side", "-f", REPOSITORY / "crds" / "rds.aws.upbound.io_instances.yaml")
    plane.wait(
        "the instance is made again and finds its database",
        lambda: any(
            condition(item, "Ready").get("status") == "True"
            for item in (plane.get("instance.rds.aws.upbound.io") or {"items": []})["items"]
        ),
    )
    wait_ready(plane)
    assert len(aws.databases()) == 1
    assert left(plane)
