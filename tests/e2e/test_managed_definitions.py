"""Managed definitions and activation policies on a real API server, as kubectl shows them; and a kind that is built in, activated while the operator runs."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest
import yaml

from tests.definitions import definition
from tests.e2e import guide
from tests.e2e.conftest import QUICK, Operator
from tests.reconcile import mrds
from tests.standin import REGION

REPOSITORY = Path(__file__).resolve().parents[2]
VAULTS, URNS = f"vaults.{mrds.GROUP}", f"urns.{mrds.GROUP}"
VPCS, INSTANCES = "vpcs.ec2.aws.upbound.io", "instances.rds.aws.upbound.io"
DEFINITIONS, POLICIES = (
    f"{plural}.apiextensions.crossplane.io"
    for plural in ("managedresourcedefinitions", "managedresourceactivationpolicies")
)
ACTIVE = '{"spec":{"state":"Active"}}'
CONFIG = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": "activated"},
    "spec": {"credentials": {"source": "InjectedIdentity"}},
}
VPC = {
    "apiVersion": "ec2.aws.upbound.io/v1beta1",
    "kind": "VPC",
    "metadata": {"name": "activated"},
    "spec": {
        "forProvider": {"region": REGION, "cidrBlock": "10.0.0.0/16"},
        "providerConfigRef": {"name": "activated"},
    },
}


@pytest.fixture
def tidy(plane):
    """Where nothing is activated by itself: the policy that the operator makes is somebody's who edited it."""
    plane.apply(mrds.policy("-", name="default"))
    yield
    plane.kubectl("delete", POLICIES, "default")
    plane.kubectl("delete", DEFINITIONS, VAULTS, URNS, "--ignore-not-found")
    plane.kubectl("delete", POLICIES, "mine", "--ignore-not-found")
    plane.wait("their kinds are gone", lambda: not plane.get("crd", VAULTS) and not plane.get("crd", URNS))


def established(plane, name):
    found = guide.condition(plane.get("mrd", name) or {}, "Established")
    return found.get("status"), found.get("reason")


def events(plane, name):
    return {
        (each["reason"], each["message"])
        for each in plane.get("events", "-n", "default")["items"]
        if each["involvedObject"]["name"] == name
    }


@pytest.mark.usefixtures("tidy", "operator")
def test_the_life_of_a_managed_definition(plane):
    plane.wait("the kinds are served", lambda: plane.get("mrds") is not None)
    plane.apply(mrds.definition())
    plane.wait("it is looked at", lambda: established(plane, VAULTS) == ("False", "InactiveManagedResource"))
    assert plane.get("crd", VAULTS) is None
    plane.kubectl("patch", "mrd", VAULTS, "--type=merge", "-p", ACTIVE)
    plane.wait("it is established", lambda: established(plane, VAULTS) == ("True", "EstablishedManagedResource"))
    shown = plane.kubectl("get", "mrd", VAULTS).stdout.splitlines()
    assert shown[0].split() == ["NAME", "STATE", "ESTABLISHED", "AGE"]
    assert shown[1].split()[:3] == [VAULTS, "Active", "True"]
    (owner,) = plane.get("crd", VAULTS)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ManagedResourceDefinition", VAULTS, True)
    reason = ("ApplyCustomResourceDefinition", "Successfully applied CustomResourceDefinition")
    plane.wait("it is told", lambda: reason in events(plane, VAULTS))
    vault = {"apiVersion": f"{mrds.GROUP}/v1beta1", "kind": "Vault", "metadata": {"name": "a"}, "spec": {"size": "l"}}
    plane.apply(vault)
    assert "SIZE" in plane.kubectl("get", "vaults").stdout
    back = plane.kubectl(
        "patch", "mrd", VAULTS, "--type=merge", "-p", ACTIVE.replace("Active", "Inactive"), check=False
    )
    assert "state cannot be changed once it becomes Active" in back.stderr
    plane.kubectl("delete", "mrd", VAULTS)
    plane.wait("its kind goes with it", lambda: plane.get("crd", VAULTS) is None)


@pytest.mark.usefixtures("tidy", "operator")
def test_a_policy_activates_what_fits_and_what_comes_later(plane):
    plane.wait("the kinds are served", lambda: plane.get("mrap") is not None)
    plane.apply(mrds.definition(), mrds.policy(f"*.{mrds.GROUP}"))
    plane.wait("it is established", lambda: established(plane, VAULTS)[0] == "True")
    plane.apply(mrds.definition(plural="urns"))
    plane.wait("the other one is, too", lambda: established(plane, URNS)[0] == "True")
    plane.wait("both are listed", lambda: plane.get("mrap", "mine")["status"].get("activated") == [URNS, VAULTS])
    assert guide.condition(plane.get("mrap", "mine"), "Healthy")["reason"] == "Running"
    reason = ("ActivateManagedResourceDefinition", "Successfully activated ManagedResourceDefinition")
    plane.wait("it is told", lambda: reason in events(plane, "mine"))


@pytest.fixture
def narrow(plane, aws, tmp_path):
    """One that serves databases alone from the start, where networks are not yet a kind and no policy of an earlier test is there."""
    plane.kubectl("delete", POLICIES, "--all")
    plane.kubectl("delete", DEFINITIONS, VPCS, "--ignore-not-found")
    plane.kubectl("delete", "crd", VPCS, "--ignore-not-found")
    options = (*QUICK, "--activations", "*.rds.aws.upbound.io")
    operator = Operator(plane.kubeconfig_of("operator"), aws.url, tmp_path / "operator.log", options)
    operator.start()
    yield operator
    if operator.process.poll() is not None:
        operator.start()
    plane.kubectl("delete", VPCS, "--all", "--wait=false", check=False)
    plane.wait("nothing is left", lambda: not (plane.get(VPCS) or {}).get("items"))
    plane.kubectl("delete", "providerconfig.aws.upbound.io", "activated", "--ignore-not-found")
    operator.stop()
    plane.kubectl("delete", POLICIES, "--all")


def vpcs_in_aws(aws):
    client = boto3.client(
        "ec2", region_name=REGION, endpoint_url=aws.url, aws_access_key_id="a", aws_secret_access_key="b"
    )
    try:
        return [found["VpcId"] for found in client.describe_vpcs()["Vpcs"] if not found["IsDefault"]]
    finally:
        client.close()


def is_ready(plane):
    return guide.condition(plane.get(VPCS, "activated") or {}, "Ready").get("status") == "True"


def test_a_kind_that_is_built_in_is_activated_and_served_without_a_restart_and_stays_so(plane, aws, narrow):
    plane.wait("all are declared", lambda: plane.get("mrd", VPCS) and established(plane, INSTANCES)[0] == "True")
    plane.wait("it is inactive", lambda: established(plane, VPCS) == ("False", "InactiveManagedResource"))
    assert plane.get("mrap", "default")["spec"]["activate"] == ["*.rds.aws.upbound.io"]
    assert plane.get("crd", VPCS) is None
    details = {each["name"] for each in plane.get("mrd", INSTANCES)["spec"]["connectionDetails"]}
    assert {"endpoint", "username", "password"} <= details
    plane.apply(CONFIG, mrds.policy("vpcs.*"))
    narrow.kill()  # at whatever write it is
    narrow.start()
    plane.wait("it is established", lambda: established(plane, VPCS) == ("True", "EstablishedManagedResource"))
    assert plane.get("crd", VPCS)["metadata"].get("ownerReferences") is None
    plane.apply(VPC)
    plane.wait("it is made", lambda: is_ready(plane))
    assert aws.since_accepted("CreateVpc") == [200]
    narrow.stop()
    narrow.start()
    plane.wait("it leads again", narrow.leads)
    plane.kubectl("delete", VPCS, "activated", "--wait=false")
    plane.wait("it is gone", lambda: not vpcs_in_aws(aws) and plane.get(VPCS, "activated") is None)
    assert narrow.stop() == 0
    assert "internal error" not in narrow.text()


@pytest.mark.soak
def test_a_start_writes_nothing_of_what_is_declared_already_and_a_deleted_definition_comes_back(plane, narrow):
    plane.wait("all are declared", lambda: plane.get("mrd", VPCS) and established(plane, INSTANCES)[0] == "True")
    plane.wait("the policy is done", lambda: (plane.get("mrap", "default") or {}).get("status", {}).get("activated"))
    guide.at_rest(plane)
    narrow.stop()
    since = len(plane.requests())
    narrow.start()
    plane.wait("it leads", narrow.leads)
    guide.at_rest(plane)
    written = [each for each in guide.writes(plane, since) if "managedresource" in each or "customresource" in each]
    assert written == []
    before = plane.get("crd", INSTANCES)["metadata"]["uid"]
    plane.kubectl("delete", "mrd", INSTANCES)
    plane.wait("it is declared again", lambda: established(plane, INSTANCES)[0] == "True")
    assert plane.get("mrd", INSTANCES)["spec"]["state"] == "Active"
    assert plane.get("crd", INSTANCES)["metadata"]["uid"] == before
    sizes = {name: len(json.dumps(plane.get("mrd", name))) for name in (INSTANCES, VPCS)}
    assert max(sizes.values()) < 1_000_000  # etcd takes 1.5 MiB


@pytest.mark.soak
def test_a_claim_says_that_nobody_looks_after_a_kind_that_is_served_and_not_active(plane, aws, narrow):
    """Its CustomResourceDefinition is somebody else's; once a policy activates it, the claim becomes ready."""
    crd = next(iter(yaml.safe_load_all((REPOSITORY / "crds" / "ec2.aws.upbound.io_vpcs.yaml").read_text())))
    crd["metadata"].pop("annotations", None)
    xrd = definition("XIsland", "islands.example.org", claim="Island", spec={})
    composition = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "islands"},
        "spec": {
            "compositeTypeRef": {"apiVersion": "islands.example.org/v1", "kind": "XIsland"},
            "resources": [{"name": "vpc", "base": {**VPC, "metadata": {}}}],
        },
    }
    island = {
        "apiVersion": "islands.example.org/v1",
        "kind": "Island",
        "metadata": {"name": "i", "namespace": "default"},
        "spec": {},
    }
    told = lambda: guide.condition(plane.get("islands.islands.example.org", "i") or {}, "Ready")  # noqa: E731
    plane.wait("it is inactive", lambda: established(plane, VPCS) == ("False", "InactiveManagedResource"))
    plane.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(crd))
    plane.apply(CONFIG, xrd, composition)
    plane.wait("the claim's kind", lambda: plane.get("islands.islands.example.org") is not None)
    try:
        plane.apply(island)
        plane.wait("the cause is told", lambda: f"{VPCS} is not active here" in told().get("message", ""))
        assert "VPC vpc: nobody looks after it" in told()["message"]
        plane.apply(mrds.policy("vpcs.*"))
        plane.wait("it is ready", lambda: told().get("status") == "True")
    finally:
        plane.kubectl("delete", "islands.islands.example.org", "i", "--timeout=120s", "--ignore-not-found")
        plane.kubectl("delete", "composition", "islands")
        plane.kubectl("delete", "xrd", "xislands.islands.example.org")
