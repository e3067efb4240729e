"""The manifests of the platform-engineering guide, byte for byte, from the first `kubectl apply` to the last `delete`.

They lie beside the repository, in shared/seed; without that folder these tests say so and do not run.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from tests.cluster.rig import ControlPlane
from tests.e2e.conftest import REPOSITORY, Aws, Operator

SEED = REPOSITORY.parent / "shared" / "seed"
GUIDE = ["provider-aws.yaml", "database-xrd.yaml", "database-composition.yaml", "my-database.yaml"]
NETWORK = REPOSITORY / "compositions" / "database-aws" / "network.yaml"
OURS = ["claim", "composite", "managed", "providerconfigusages.aws.upbound.io"]

pytestmark = pytest.mark.skipif(not SEED.is_dir(), reason=f"the guide's manifests are not at {SEED}")


@pytest.fixture(autouse=True)
def clean(plane: ControlPlane, aws: Aws, operator: Operator):
    """The team's namespace before, and nothing of the guide after."""
    plane.kubectl("create", "namespace", "my-team", check=False)
    yield
    if operator.process and operator.process.poll() is not None:
        operator.start()
    plane.kubectl(
        "delete",
        "--ignore-not-found",
        "--wait=false",
        "databases.platform.example.com",
        "--all",
        "-n",
        "my-team",
        check=False,
    )
    plane.kubectl(
        "delete", "xrd,composition,provider,providerconfig.aws.upbound.io", "--all", "--wait=false", check=False
    )
    plane.kubectl("delete", "managed", "--all", "--wait=false", check=False)
    try:
        plane.wait("all is gone", lambda: not left(plane), seconds=90)
    except AssertionError as error:
        raise AssertionError(left(plane) + operator.text()[-3000:]) from error


def left(plane: ControlPlane) -> str:
    """What there still is, one kind at a time: a category that nothing is in is an error to kubectl."""
    kinds = ("managed", "composite", "xrd", "providerconfigs.aws.upbound.io", "providers.pkg.crossplane.io")
    return "".join(plane.kubectl("get", kind, "-o", "name", check=False).stdout for kind in kinds)


def apply(plane: ControlPlane, *paths: Path) -> None:
    """`kubectl apply -f`, repeated until the API server takes it, as a person or a GitOps tool would."""
    for path in paths:
        plane.wait(
            f"{path.name} is taken", lambda path=path: plane.kubectl("apply", "-f", path, check=False).returncode == 0
        )


def secret(plane: ControlPlane) -> dict[str, str]:
    found = plane.get("secret", "my-service-db-credentials", "-n", "my-team")
    return {name: base64.b64decode(value).decode() for name, value in found["data"].items()} if found else {}


def wait_ready(plane: ControlPlane) -> None:
    plane.wait(
        "the claim is ready",
        lambda: (
            "True"
            in plane.kubectl(
                "get",
                "database",
                "my-service-db",
                "-n",
                "my-team",
                "-o",
                "jsonpath={.status.conditions[?(@.type=='Ready')].status}",
                check=False,
            ).stdout
        ),
        seconds=90,
    )


def writes(plane: ControlPlane, since: int = 0) -> list[str]:
    """The operator's writing requests, from the audit log's entry `since` on."""
    verbs = ("create", "update", "patch", "delete", "deletecollection")
    return [
        f"{e['verb']} {e['objectRef'].get('resource')}/{e['objectRef'].get('subresource', '')} {e['objectRef'].get('name')}"
        for e in plane.requests()[since:]
        if e["verb"] in verbs and e["user"]["username"] == "operator"
    ]


def test_the_guide_ends_in_a_secret_that_fits_the_database_and_leaves_nothing_behind(plane, aws, operator):
    apply(plane, *(SEED / name for name in GUIDE))
    plane.wait(
        "the claim says what is missing",
        lambda: (
            "no SubnetGroup.rds.aws.upbound.io has labels type=database"
            in plane.kubectl("describe", "database", "my-service-db", "-n", "my-team").stdout
        ),
    )
    apply(plane, NETWORK)
    wait_ready(plane)
    found = plane.wait("the Secret", lambda: secret(plane))
    (database,) = aws.databases()
    endpoint = database["Endpoint"]
    assert found["host"] == endpoint["Address"]
    assert found["port"] == str(endpoint["Port"])
    assert found["username"] == database["MasterUsername"] == "postgres"
    assert len(found["password"]) == 27
    assert aws.calls("CreateDBInstance") == 1
    for kinds in ("xrd,composition,managed", "database -n my-team"):
        assert plane.kubectl("get", *kinds.split()).stdout.count("\n") > 1

    told = "".join(
        plane.kubectl("get", kind, "-A", "-o", "yaml").stdout for kind in ("events", "managed", "composite", "claim")
    )
    assert found["password"] not in told
    assert found["password"] not in operator.text()

    time.sleep(3)
    mark = len(plane.requests())
    apply(plane, *(SEED / name for name in GUIDE), NETWORK)
    time.sleep(3)
    assert writes(plane, mark) == []
    assert operator.stop() == 0  # it writes down how often events were repeated; nothing else
    assert {text.split("/")[0] for text in writes(plane, mark)} <= {"patch events"}
    mark = len(plane.requests())
    operator.start()
    time.sleep(8)
    assert writes(plane, mark) == []

    plane.kubectl("delete", "database", "my-service-db", "-n", "my-team", "--timeout=60s")
    plane.wait(
        "composite and instance are gone",
        lambda: not plane.get("composite")["items"] and not plane.get("instance.rds.aws.upbound.io")["items"],
    )
    assert aws.databases() == []
    plane.wait(
        "the Secrets are gone",
        lambda: not [s for s in plane.get("secrets", "-A")["items"] if s["type"].startswith("connection.")],
    )
    assert secret(plane) == {}
