"""The operator with the rights of its table and no other, as a ServiceAccount: nothing that it asks for is refused."""

from __future__ import annotations

import json

import pytest

from groundplane.runtime import rights
from tests.e2e import guide
from tests.e2e.conftest import Operator

NAMESPACE, ACCOUNT = "crossplane-system", "least"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
SUBJECT = {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": ACCOUNT}
RBAC = "rbac.authorization.k8s.io"

pytestmark = [
    pytest.mark.skipif(not guide.SEED.is_dir(), reason=f"the guide's manifests are not at {guide.SEED}"),
    pytest.mark.usefixtures("clean"),
]


def role(kind, name, rules):
    """A role of these rules and its binding to our account."""
    place = {} if kind == "ClusterRole" else {"namespace": NAMESPACE}
    metadata = {"name": f"least:{name}", **place}
    reference = {"apiGroup": RBAC, "kind": kind, "name": metadata["name"]}
    policies = [rule.policy for rule in rules]
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": policies},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": reference,
            "subjects": [SUBJECT],
        },
    ]


@pytest.fixture
def operator(plane, aws, tmp_path):
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}},
        *role("ClusterRole", "managed", rights.managed()),
        *role("ClusterRole", "declared", rights.declared(["platform.example.com"])),
    ]
    for concern in rights.CONCERNS:
        objects += role("Role" if concern.in_namespace else "ClusterRole", concern.name, concern.rules)
    plane.apply(*objects)
    kubeconfig = plane.kubeconfig_of_account(NAMESPACE, ACCOUNT)
    running = Operator(
        kubeconfig, aws.url, tmp_path / "operator.log", options=()
    )  # the Lease lasts as it does for users
    running.start()
    yield running
    running.stop()


def refused(plane, since):
    """What of our account's requests was refused, from the audit log's entry `since` on."""
    ours = [entry for entry in plane.requests()[since:] if entry["user"]["username"] == USER]
    assert ours
    return {
        f"{entry['verb']} {json.dumps(entry.get('objectRef'))}"
        for entry in ours
        if entry["responseStatus"]["code"] == 403
    }


def test_with_exactly_the_rights_of_the_table_the_guide_goes_there_and_back_and_nothing_is_refused(plane, aws):
    mark = len(plane.requests())
    guide.apply(plane, *guide.GUIDE, guide.NETWORK)
    guide.wait_ready(plane, seconds=180)
    plane.wait("the Secret", lambda: guide.secret(plane))
    files = [word for path in (*guide.GUIDE, guide.NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false")
    plane.wait("all is gone", lambda: not guide.left(plane), seconds=180)
    assert aws.databases() == []
    assert refused(plane, mark) == set()
