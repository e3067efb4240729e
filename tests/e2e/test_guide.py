"""The manifests of the platform-engineering guide, byte for byte, from the first `kubectl apply` to the last `delete`.

Without shared/seed beside the repository these tests say so and do not run.
"""

from __future__ import annotations

import pytest

from tests.e2e.guide import (
    NAME,
    NETWORK,
    REPOSITORY,
    TEAM,
    apply,
    at_rest,
    claim,
    condition,
    connection_secrets,
    left,
    secret,
    wait_ready,
    writes,
)

SEED = REPOSITORY.parent / "shared" / "seed"
GUIDE = tuple(  # in its own order
    SEED / name for name in ("provider-aws.yaml", "database-xrd.yaml", "database-composition.yaml", "my-database.yaml")
)
PROVIDER, DEFINITION, COMPOSITION, CLAIM = GUIDE

pytestmark = [
    pytest.mark.skipif(not SEED.is_dir(), reason=f"the guide's manifests are not at {SEED}"),
    pytest.mark.usefixtures("clean"),
]


def test_the_guide_ends_in_a_secret_that_fits_the_database_and_leaves_nothing_behind(plane, aws, operator):
    apply(plane, *GUIDE)
    missing = "no SubnetGroup.rds.aws.upbound.io has labels type=database"
    plane.wait("the claim says what is missing", lambda: missing in condition(claim(plane), "Ready").get("message", ""))
    assert missing in plane.kubectl("describe", "database", NAME, "-n", TEAM).stdout
    apply(plane, NETWORK)
    wait_ready(plane)
    found = plane.wait("the Secret", lambda: secret(plane))
    (database,) = aws.databases()
    endpoint = database["Endpoint"]
    assert found["host"] == endpoint["Address"]
    assert found["port"] == str(endpoint["Port"])
    assert found["username"] == database["MasterUsername"] == "postgres"
    assert len(found["password"]) == 27
    assert aws.since_accepted("CreateDBInstance") == [200]
    for kinds in ("xrd,composition,managed", f"database -n {TEAM}"):
        assert plane.kubectl("get", *kinds.split()).stdout.count("\n") > 1

    told = "".join(
        plane.kubectl("get", kind, "-A", "-o", "yaml").stdout for kind in ("events", "managed", "composite", "claim")
    )
    assert found["password"] not in told
    assert found["password"] not in operator.text()

    at_rest(plane)
    mark = len(plane.requests())
    apply(plane, *GUIDE, NETWORK)
    at_rest(plane)
    assert writes(plane, mark) == []
    assert operator.stop() == 0  # it writes down how often events were repeated; nothing else
    assert {text.split("/")[0] for text in writes(plane, mark)} <= {"patch events"}
    mark = len(plane.requests())
    operator.start()
    plane.wait("it leads", operator.leads)
    at_rest(plane)
    assert writes(plane, mark) == []

    plane.kubectl("delete", "database", NAME, "-n", TEAM, "--timeout=180s")
    plane.wait(
        "composite and instance are gone",
        lambda: not plane.get("composite")["items"] and not plane.get("instance.rds.aws.upbound.io")["items"],
    )
    assert aws.databases() == []
    plane.wait("the Secrets are gone", lambda: not connection_secrets(plane))
    assert secret(plane) == {}


@pytest.mark.soak
def test_the_manifests_may_come_in_any_other_order_and_be_deleted_all_at_once(plane, aws, operator):
    """The claim is applied again and again from the first moment on, as a GitOps tool does."""
    refused = plane.kubectl("apply", "-f", CLAIM, check=False)
    assert refused.returncode
    assert "no matches for kind" in refused.stderr
    apply(plane, NETWORK, COMPOSITION, DEFINITION, CLAIM)
    plane.wait(
        "the network says that there is no ProviderConfig",
        lambda: (
            'ProviderConfig: "default" not found'
            in plane.kubectl("describe", "vpcs.ec2.aws.upbound.io", "database").stdout
        ),
    )
    plane.wait(
        "the claim says what it waits for",
        lambda: 'ProviderConfig: "default" not found' in condition(claim(plane), "Ready").get("message", ""),
    )
    apply(plane, PROVIDER)
    wait_ready(plane)
    plane.wait("the Secret", lambda: set(secret(plane)) == {"host", "port", "username", "password"})
    assert len(aws.databases()) == 1

    files = [word for path in (*GUIDE, NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false")
    plane.wait("all is gone", lambda: not left(plane))
    assert aws.databases() == []
    plane.wait("the Secrets are gone", lambda: not connection_secrets(plane))
