"""A control plane comes back from a backup, and one of Crossplane's is taken over and given back: as the pages in docs/ say, with their commands."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import boto3
import pytest

from groundplane.core.managed import EXTERNAL_NAME, FINALIZER
from tests.chart.generate import CHART
from tests.cluster.rig import ControlPlane
from tests.e2e import guide
from tests.e2e.release import NAMESPACE, USER, Release
from tests.reconcile.restore import MANAGER, kept
from tests.standin import REGION

USAGES = "providerconfigusages.aws.upbound.io"
VPCS = "vpcs.ec2.aws.upbound.io"
MANY = 1000
LONG = 900.0  # seconds for all of them: some twenty on an idle machine
TAGS = {"AddTagsToResource", "CreateTags"}
READS = ("Describe", "Get", "List")
PACKAGES = "pkg.crossplane.io/v1"
BACKED_UP = (
    *guide.DECLARED,
    "providerrevisions.pkg.crossplane.io",
    "compositionrevisions.apiextensions.crossplane.io",
    "xdatabases.platform.example.com",
    "databases.platform.example.com",
    "managed",
    "secrets",
)
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def plane():
    with ControlPlane(audit=True) as running:
        yield running


@pytest.fixture
def release(plane, tmp_path):
    made = Release(plane, tmp_path)
    yield made
    made.close()
    made.helm("uninstall", "--ignore-not-found")


def changes(aws):
    """What AWS was asked to change."""
    calls = aws.request("GET", "/standin/calls")
    return [call["operation"] for call in calls if not call["operation"].startswith(READS)]


def doctor(plane, aws, part):
    """`groundplane doctor PART`: its exit code, and what it says of what is not "ok", by check."""
    keys = {"AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    command = [sys.executable, "-m", "groundplane.cli.main", "doctor", part, "--output", "json"]
    environment = os.environ | keys | {"KUBECONFIG": str(plane.kubeconfig), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)["checks"]
    told = {each["id"]: [] for each in found if each["state"] != "ok"}
    for each in found:
        if each["state"] != "ok":
            told[each["id"]].append(f"{each['message']}. {each['mend']}")
    return done.returncode, {name: " ".join(said) for name, said in told.items()}


def taken(plane, kind):
    return json.loads(plane.kubectl("get", kind, "-A", "-o", "json").stdout)["items"]


def usages(plane):
    return [kept(each) for each in taken(plane, USAGES)]


def dump(plane):
    """What Velero keeps: definitions of kinds, and all of it without owners and status."""
    declared = [crd for crd in taken(plane, "crds") if crd["spec"]["group"] == "platform.example.com"]
    objects = [obj for kind in BACKED_UP for obj in taken(plane, kind) if obj.get("type") != "helm.sh/release.v1"]
    return [kept(each) for each in declared], [kept(each) for each in objects]


def names(objects):
    return {(obj["kind"], obj["metadata"]["name"]) for obj in objects}


def lose(plane, definitions, objects):
    """The cluster's state is gone: nothing in AWS hears of it."""
    for obj in objects:
        place = ("-n", obj["metadata"]["namespace"]) if obj["metadata"].get("namespace") else ()
        kind = _resource(obj)
        bare = '{"metadata":{"finalizers":null}}'
        plane.kubectl("patch", kind, obj["metadata"]["name"], *place, "--type", "merge", "-p", bare, check=False)
        plane.kubectl("delete", kind, obj["metadata"]["name"], *place, "--wait=false", "--cascade=orphan", check=False)
    for crd in definitions:
        plane.kubectl("delete", "crd", crd["metadata"]["name"], "--wait=true", "--timeout=180s")


def _resource(obj):
    """A kind as kubectl takes it beyond doubt: Kind.version.group."""
    group, _, version = obj["apiVersion"].rpartition("/")
    return f"{obj['kind']}.{version}.{group}" if group else obj["kind"]


def test_a_restored_control_plane_takes_back_what_it_had_in_aws(plane, aws, release):
    release.install()
    pod = release.pod(aws)
    plane.wait("it leads", pod.leads)
    plane.kubectl("create", "namespace", guide.TEAM, check=False)
    guide.apply(plane, *guide.GUIDE, guide.NETWORK)
    guide.wait_ready(plane)
    plane.wait("the Secret", lambda: guide.secret(plane))
    guide.at_rest(plane, user=USER)
    secret, uid = guide.secret(plane), guide.claim(plane)["metadata"]["uid"]
    assert pod.stop() == 0
    definitions, objects = dump(plane)
    before = names(objects)
    objects += usages(plane)
    lose(plane, definitions, objects)
    assert guide.left(plane) == []
    assert guide.claim(plane) == {}
    aws.request("DELETE", "/standin/calls")

    plane.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions}))
    plane.wait_for_kinds()
    random.Random(1).shuffle(objects)
    without = [obj for obj in objects if obj["kind"] != "Instance"]
    for some in (without, objects):
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": some})  # `create` would edit annotations
        plane.kubectl("apply", "--server-side", "--field-manager", MANAGER, "-f", "-", input=manifest)
        code, found = doctor(plane, aws, "restore")
        if some is without:
            assert code == 1
            assert "composed resources are not there: XDatabase" in found["composites"]
    assert (code, found) == (0, {})

    pod = release.pod(aws)
    plane.wait("it leads", pod.leads)
    guide.wait_ready(plane)
    guide.at_rest(plane, user=USER)
    assert guide.claim(plane)["metadata"]["uid"] != uid
    assert guide.secret(plane) == secret
    assert set(changes(aws)) <= TAGS
    assert len(aws.databases()) == 1
    _, now = dump(plane)
    assert (names(now) - before, before - names(now)) == (set(), set())
    uids = {each["metadata"]["uid"] for each in taken(plane, "managed")}
    assert {each["metadata"]["name"] for each in taken(plane, USAGES)} == uids, "usages are those of the new objects"
    (instance,) = taken(plane, "instances.rds.aws.upbound.io")
    (composite,) = taken(plane, "xdatabases.platform.example.com")
    assert [each["uid"] for each in instance["metadata"]["ownerReferences"]] == [composite["metadata"]["uid"]]
    delete_all(plane, aws)


def delete_all(plane, aws):
    files = [word for path in (*guide.GUIDE, guide.NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false", check=False)
    try:
        plane.wait("all is gone", lambda: not guide.left(plane))
    except AssertionError as error:
        raise AssertionError(f"left: {guide.left(plane)}") from error
    assert aws.databases() == []


# --- from Crossplane, and back


def a_deployment(name, labels):
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    metadata = {"name": name, "namespace": NAMESPACE}
    if name == "crossplane":
        metadata["labels"] = labels
    spec = {"selector": {"matchLabels": labels}, "template": pods}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


CORE = a_deployment("crossplane", {"app": "crossplane"})
PROVIDER = a_deployment(
    "provider-aws-ec2-1a2b3c",
    {"pkg.crossplane.io/provider": "provider-aws-ec2", "pkg.crossplane.io/revision": "provider-aws-ec2-1a2b3c"},
)
OTHER = {  # of a provider that is not built in
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "tables.bigquery.example.org"},
    "spec": {
        "group": "bigquery.example.org",
        "names": {"kind": "Table", "plural": "tables", "categories": ["crossplane", "managed"]},
        "scope": "Cluster",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
TABLE = {"apiVersion": "bigquery.example.org/v1", "kind": "Table", "metadata": {"name": "t"}}


def ready_replicas(plane, deployment, count):
    name = deployment["metadata"]["name"]
    patch = json.dumps({"status": {"replicas": count, "readyReplicas": count, "observedGeneration": 1}})
    plane.kubectl("patch", "deployment", name, "-n", NAMESPACE, "--subresource=status", "--type", "merge", "-p", patch)


def of_crossplane(plane, aws):
    """What a Crossplane and its provider have left: definitions that a revision controls, and resources that are in AWS."""
    plane.kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager", "crossplane", "-f", guide.REPOSITORY / "crds"
    )
    plane.wait_for_kinds()
    plane.kubectl("annotate", "crds", "--all", "groundplane.io/crd-")
    plane.kubectl("create", "namespace", NAMESPACE, check=False)
    guide.apply(plane, guide.DEFINITION, guide.COMPOSITION)
    package = {"apiVersion": PACKAGES, "kind": "Provider", "metadata": {"name": "provider-aws-ec2"}}
    plane.apply(package | {"spec": {"package": "xpkg.upbound.io/upbound/provider-aws-ec2:v1.1.0"}})
    for kind, name, owned in (
        ("ProviderRevision", "provider-aws-ec2-1a2b3c", ("crd", VPCS)),
        (
            "ConfigurationRevision",
            "platform-1a2b3c",
            ("compositeresourcedefinitions.v1.apiextensions.crossplane.io", "xdatabases.platform.example.com"),
        ),
    ):
        spec = {"image": f"xpkg.upbound.io/{name}:v1", "revision": 1, "desiredState": "Active"}
        plane.apply({"apiVersion": PACKAGES, "kind": kind, "metadata": {"name": name}, "spec": spec})
        uid = plane.get(kind, name)["metadata"]["uid"]
        owner = {"apiVersion": PACKAGES, "kind": kind, "name": name, "uid": uid, "controller": True}
        patch = json.dumps({"metadata": {"ownerReferences": [owner | {"blockOwnerDeletion": True}]}})
        plane.kubectl("patch", *owned, "--type", "merge", "-p", patch)
    plane.apply(
        {
            "apiVersion": "aws.upbound.io/v1beta1",
            "kind": "ProviderConfig",
            "metadata": {"name": "default"},
            "spec": {"credentials": {"source": "InjectedIdentity"}},
        }
    )
    ec2 = client(aws)
    names = []
    for index in range(MANY):
        tags = {
            "crossplane-kind": "vpc.ec2.aws.upbound.io",
            "crossplane-name": f"vpc-{index}",
            "crossplane-providerconfig": "default",
        }
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": listed}])
        names.append(vpc["Vpc"]["VpcId"])
    items = [a_vpc(index, name) for index, name in enumerate(names)]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    plane.kubectl("create", "--field-manager", "provider", "-f", "-", input=manifest)
    return names


def client(aws):
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client("ec2", region_name=REGION, endpoint_url=aws.url, **keys)


def a_vpc(index, name):
    then = "2025-11-03T10:00:00Z"
    annotations = {
        EXTERNAL_NAME: name,
        "crossplane.io/external-create-pending": then,
        "crossplane.io/external-create-succeeded": then,
        "upjet.crossplane.io/provider-meta": "null",
    }
    return {
        "apiVersion": "ec2.aws.upbound.io/v1beta1",
        "kind": "VPC",
        "metadata": {"name": f"vpc-{index}", "annotations": annotations, "finalizers": [FINALIZER]},
        "spec": {
            "deletionPolicy": "Delete",
            "forProvider": {"region": REGION, "cidrBlock": "10.0.0.0/16", "enableDnsSupport": True},
            "providerConfigRef": {"name": "default"},
        },
    }


def synced(plane):
    """How the VPCs are, by name: the status of Synced."""
    return {obj["metadata"]["name"]: guide.condition(obj, "Synced").get("status") for obj in taken(plane, VPCS)}


def lasting(plane):
    """Who is whom of all that must outlive the move."""
    kinds = ("crds", VPCS, "providerrevisions.pkg.crossplane.io", "configurationrevisions.pkg.crossplane.io")
    kinds += ("compositeresourcedefinitions", "compositions.apiextensions.crossplane.io", "providers.pkg.crossplane.io")
    return {
        (obj["kind"], obj["metadata"]["name"]): obj["metadata"]["uid"] for kind in kinds for obj in taken(plane, kind)
    }


def test_a_thousand_resources_move_from_crossplane_and_back_without_one_change_in_aws_but_a_tag(plane, aws, release):
    made = of_crossplane(plane, aws)
    plane.apply(CORE, PROVIDER, OTHER)
    plane.wait_for_kinds()
    plane.apply(TABLE)
    for each in (CORE, PROVIDER):
        ready_replicas(plane, each, 1)
    code, found = doctor(plane, aws, "takeover")
    assert code == 1
    assert "Deployment crossplane-system/crossplane has ready replicas" in found["stopped"]
    assert "providers are at work: crossplane-system/provider-aws-ec2-1a2b3c" in found["stopped"]
    assert "kinds are in use and not served here: tables.bigquery.example.org" in found["in-use"]
    for each in (CORE, PROVIDER):
        ready_replicas(plane, each, 0)
    plane.kubectl("delete", "crd", OTHER["metadata"]["name"])
    assert doctor(plane, aws, "takeover") == (0, {})
    before, since = lasting(plane), len(plane.requests())
    client(aws).modify_vpc_attribute(VpcId=made[0], EnableDnsSupport={"Value": False})
    aws.request("DELETE", "/standin/calls")

    release.values = {"settings": {"observeOnly": True}}
    release.install()
    pod = release.pod(aws)
    plane.wait("all was looked at", lambda: None not in synced(plane).values(), seconds=LONG)
    guide.at_rest(plane, user=USER)
    assert {name for name, status in synced(plane).items() if status != "True"} == {"vpc-0"}
    message = guide.condition(plane.get(VPCS, "vpc-0"), "Synced")["message"]
    assert "enableDnsSupport (there false, here true)" in message
    assert changes(aws) == []

    release.helm("upgrade", CHART, "--reset-then-reuse-values", "--set", "settings.observeOnly=false")
    assert pod.stop() == 0
    pod = release.pod(aws)
    plane.wait("all are tagged", lambda: len(changes(aws)) >= MANY + 1, seconds=LONG)
    guide.at_rest(plane, user=USER)
    assert set(synced(plane).values()) == {"True"}
    done = changes(aws)
    assert (done.count("CreateTags"), done.count("ModifyVpcAttribute"), len(done)) == (MANY, 1, MANY + 1)

    assert pod.stop() == 0
    release.uninstall()
    assert {key: uid for key, uid in lasting(plane).items() if key in before} == before
    deleted = {each for each in guide.writes(plane, since, user=USER) if each.startswith("delete")}
    assert not [each for each in deleted if not each.endswith(" groundplane-no-usages")], "its own policy, no more"
    for obj in taken(plane, VPCS):
        assert obj["metadata"]["finalizers"] == [FINALIZER]
        given = a_vpc(0, obj["metadata"]["annotations"][EXTERNAL_NAME])["spec"]["forProvider"]
        assert given.items() <= obj["spec"]["forProvider"].items()
