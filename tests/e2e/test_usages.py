"""Usages on a real API server, with its garbage collection: what is used can't be deleted, and goes after what uses it."""

from __future__ import annotations

import json

import pytest

from groundplane.runtime import guard
from groundplane.runtime.webhook_configurations import NO_USAGES
from tests.e2e.conftest import QUICK, Operator
from tests.e2e.release import Release
from tests.e2e.test_webhooks import options, withdraw
from tests.ports import free_port

GROUP = "nop.usages.example.org"
VERSION = f"{GROUP}/v1"
LEGACY = "usages.apiextensions.crossplane.io"
PROTECTION = "usages.protection.crossplane.io"


def crd(kind):
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {"kind": kind, "plural": f"{kind.lower()}s"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}},
                }
            ],
        },
    }


XRD = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "CompositeResourceDefinition",
    "metadata": {"name": "xorders.usages.example.org"},
    "spec": {
        "group": "usages.example.org",
        "names": {"kind": "XOrder", "plural": "xorders"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "referenceable": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}},
            }
        ],
    },
}


def party(kind, name="", api_version=VERSION, **more):
    selected = {"resourceRef": {"name": name, **more}} if name else {"resourceSelector": {"matchControllerRef": True}}
    return {"apiVersion": api_version, "kind": kind, **selected}


def usage(name, kind="Usage", api_version="apiextensions.crossplane.io/v1beta1", namespace="", **spec):
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def nop(kind, name):
    return {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}, "spec": {}}


COMPOSITION = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "Composition",
    "metadata": {"name": "order"},
    "spec": {
        "compositeTypeRef": {"apiVersion": "usages.example.org/v1", "kind": "XOrder"},
        "resources": [
            {
                "name": name,
                "base": base,
                "readinessChecks": [{"type": "None"}],
            }
            for name, base in {
                "used": {"apiVersion": VERSION, "kind": "Used", "spec": {}},
                "user": {"apiVersion": VERSION, "kind": "User", "metadata": {"finalizers": ["example.org/slow"]}},
                "order": {
                    "apiVersion": "apiextensions.crossplane.io/v1beta1",
                    "kind": "Usage",
                    "spec": {"of": party("Used"), "by": party("User"), "replayDeletion": True},
                },
            }.items()
        ],
    },
}


@pytest.fixture(scope="module")
def operator(plane, tmp_path_factory):
    """One for all tests of a way to guard; they may kill it."""
    log = tmp_path_factory.mktemp("usages") / "operator.log"
    running = Operator(plane.kubeconfig_of("operator"), "http://127.0.0.1:9", log)
    running.asked = options(free_port())
    yield running
    withdraw(plane, running)


def run(operator, *wanted):
    """See that it runs with these options."""
    is_over = operator.process is None or operator.process.poll() is not None
    if operator.options != wanted and not is_over:
        operator.stop()
        is_over = True
    operator.options = wanted
    if is_over:
        operator.start()


@pytest.fixture
def kinds(plane):
    plane.install(crd("Used"), crd("User"))
    yield
    for kind in ("xorders.usages.example.org", LEGACY, f"useds.{GROUP}", f"users.{GROUP}"):
        plane.kubectl("delete", kind, "--all", "--wait=false", check=False)
    plane.kubectl("delete", PROTECTION, "configmaps", "-n", "team-u", "--all", "--wait=false", check=False)


@pytest.fixture
def guarded(plane, operator, kinds):
    """A policy of the API server protects."""
    run(operator, *QUICK)
    plane.wait("the policy", lambda: plane.get("validatingadmissionpolicybinding", guard.NAME))


def is_ready(plane, kind, name, *where):
    found = plane.get(kind, name, *where) or {}
    conditions = (found.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def refused(plane, kind, name, *where):
    """What is said if it can't be deleted now; asked without doing it."""
    done = plane.kubectl("delete", kind, name, *where, "--dry-run=server", check=False)
    return done.stderr if done.returncode else ""


def is_labelled(plane, kind, name, *where):
    found = plane.get(kind, name, *where) or {}
    return (found.get("metadata", {}).get("labels") or {}).get("crossplane.io/in-use") == "true"


@pytest.mark.usefixtures("guarded")
def test_what_is_used_can_not_be_deleted_until_nothing_uses_it(plane):
    plane.apply(nop("User", "b1"), usage("late", of=party("Used", "a1"), by=party("User", "b1")))
    plane.wait("its missing object is told", lambda: "not found" in json.dumps(plane.get(LEGACY, "late")))
    plane.apply(nop("Used", "a1"))  # of a kind that nobody follows but for this
    plane.wait("the label", lambda: is_labelled(plane, f"useds.{GROUP}", "a1"))
    plane.wait("Ready", lambda: is_ready(plane, LEGACY, "late"))
    plane.wait("the API server refuses", lambda: refused(plane, f"useds.{GROUP}", "a1"))
    said = plane.kubectl("delete", f"useds.{GROUP}", "a1", check=False).stderr
    assert f"'{guard.NAME}'" in said
    assert "This resource is in-use" in said
    assert plane.get(f"useds.{GROUP}", "a1")
    plane.kubectl("label", f"useds.{GROUP}", "a1", "crossplane.io/in-use-")
    plane.wait("the label again", lambda: is_labelled(plane, f"useds.{GROUP}", "a1"))
    plane.kubectl("delete", f"users.{GROUP}", "b1")
    plane.wait("the usage is gone", lambda: not plane.get(LEGACY, "late"))
    plane.wait("it can be deleted", lambda: not refused(plane, f"useds.{GROUP}", "a1"))
    plane.kubectl("delete", f"useds.{GROUP}", "a1")


@pytest.mark.usefixtures("guarded")
def test_a_usage_in_a_namespace_protects_a_configmap(plane):
    plane.kubectl("create", "namespace", "team-u", check=False)
    for name in ("c1", "c2"):
        plane.kubectl("create", "configmap", name, "-n", "team-u", check=False)
    by = party("ConfigMap", "c2", "v1")
    plane.apply(
        usage(
            "u",
            api_version="protection.crossplane.io/v1beta1",
            namespace="team-u",
            of=party("ConfigMap", "c1", "v1"),
            by=by,
        )
    )
    here = ("-n", "team-u")
    plane.wait("Ready", lambda: is_ready(plane, PROTECTION, "u", *here))
    plane.wait("the API server refuses", lambda: refused(plane, "configmap", "c1", *here))
    plane.kubectl("delete", "configmap", "c2", *here)
    plane.wait("it can be deleted", lambda: not refused(plane, "configmap", "c1", *here))
    assert not plane.get(PROTECTION, "u", *here)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    "collected",
    [False, pytest.param(True, marks=pytest.mark.soak)],
    ids=["by the composite", "by garbage collection"],
)
def test_a_composed_usage_orders_the_deletion_of_a_composite(plane, operator, collected):
    """With strict upstream behaviour the composite goes at once, and garbage collection is refused until the user is gone."""
    if collected:
        run(operator, *QUICK, "--strict-upstream", "--crds", "leave")
    plane.apply(XRD, COMPOSITION)
    plane.wait_for_kinds(XRD["metadata"]["name"])
    plane.restart_controller_manager()  # which looks for new kinds each 30 s only
    plane.apply({"apiVersion": "usages.example.org/v1", "kind": "XOrder", "metadata": {"name": "o"}, "spec": {}})
    plane.wait("Ready", lambda: is_ready(plane, "xorder", "o"))
    [user] = plane.get(f"users.{GROUP}")["items"]
    [used] = plane.get(f"useds.{GROUP}")["items"]
    plane.wait("the label", lambda: is_labelled(plane, f"useds.{GROUP}", used["metadata"]["name"]))
    plane.wait("the API server refuses", lambda: refused(plane, f"useds.{GROUP}", used["metadata"]["name"]))
    plane.kubectl("delete", "xorder", "o", "--wait=false")

    def user_goes():
        return plane.get(f"users.{GROUP}", user["metadata"]["name"])["metadata"].get("deletionTimestamp")

    plane.wait("what uses is asked to go", user_goes)
    plane.wait("the composite is gone, or waits", lambda: bool(plane.get("xorder", "o")) is not collected)
    assert not plane.get(f"useds.{GROUP}", used["metadata"]["name"])["metadata"].get("deletionTimestamp")
    patch = json.dumps({"metadata": {"finalizers": None}})
    plane.kubectl("patch", f"users.{GROUP}", user["metadata"]["name"], "--type=merge", "-p", patch)
    plane.wait("all is gone", lambda: not plane.get(f"useds.{GROUP}")["items"])
    plane.wait("the usage, too", lambda: not plane.get(LEGACY)["items"])
    plane.wait("and the composite", lambda: not plane.get("xorder", "o"))


@pytest.fixture
def asked(plane, operator, kinds):
    """The API server asks the operator; its own policy is gone."""
    run(operator, *operator.asked)
    plane.wait("the webhook", lambda: plane.get("validatingwebhookconfigurations", NO_USAGES))
    plane.wait("the policy is gone", lambda: not plane.get("validatingadmissionpolicy", guard.NAME))
    return operator


@pytest.mark.usefixtures("asked")
def test_with_webhooks_the_answer_names_the_usage_and_the_deletion_is_replayed(plane):
    kind = f"useds.{GROUP}"
    plane.apply(nop("Used", "a2"), usage("u", of=party("Used", "a2"), reason="production", replayDeletion=True))
    plane.wait("Ready", lambda: is_ready(plane, LEGACY, "u"))
    plane.wait("the API server refuses", lambda: "denied the request" in refused(plane, kind, "a2"))
    assert "usage.crossplane.io/deletion-attempt-with-policy" not in json.dumps(plane.get(kind, "a2"))
    said = plane.kubectl("delete", kind, "a2", "--cascade=foreground", check=False).stderr
    assert (
        'admission webhook "nousages.protection.crossplane.io" denied the request: This resource is in-use by 1 usage(s),'
        in said
    )
    assert 'including the *v1beta1.Usage "u" with reason: "production".' in said
    noted = plane.get(kind, "a2")["metadata"]["annotations"]
    assert noted["usage.crossplane.io/deletion-attempt-with-policy"] == "Foreground"
    plane.kubectl("delete", LEGACY, "u")
    plane.wait("it is deleted, as somebody wanted", lambda: not plane.get(kind, "a2"))


@pytest.mark.soak
def test_while_no_operator_answers_what_is_in_use_stays(plane, asked):
    kind = f"useds.{GROUP}"
    plane.apply(nop("Used", "a3"), nop("Used", "a4"), usage("v", of=party("Used", "a3"), reason="production"))
    plane.wait("Ready", lambda: is_ready(plane, LEGACY, "v"))
    plane.wait("the webhook alone refuses", lambda: "denied the request" in refused(plane, kind, "a3"))
    asked.kill()
    assert "failed calling webhook" in plane.kubectl("delete", kind, "a3", check=False).stderr
    plane.kubectl("delete", kind, "a4")
    asked.start()
    plane.wait("it answers again", lambda: "denied the request" in refused(plane, kind, "a3"))
    plane.kubectl("delete", LEGACY, "v")
    plane.wait("it can be deleted", lambda: not refused(plane, kind, "a3"))


@pytest.fixture
def installed(plane, aws, operator, tmp_path):
    """An operator with the chart's rights and no other, without webhooks."""
    withdraw(plane, operator)
    plane.kubectl("delete", guard.POLICIES, guard.NAME, "--ignore-not-found")
    release = Release(plane, tmp_path, {"webhooks": {"enabled": False}})
    release.install()
    running = release.pod(aws)
    yield running
    running.stop()
    release.uninstall()


@pytest.mark.soak
def test_with_the_charts_rights_usages_work_and_a_right_that_is_missing_is_told(plane, installed):
    plane.wait("the policy", lambda: plane.get(guard.POLICIES, guard.NAME))
    bucket = {"apiVersion": "s3.aws.upbound.io/v1beta1", "kind": "Bucket"}
    held = {**bucket, "metadata": {"name": "held", "annotations": {"crossplane.io/paused": "true"}}}
    held["spec"] = {"forProvider": {"region": "eu-west-1"}}
    of = party("Bucket", "held", bucket["apiVersion"])
    plane.apply(held, usage("bucket", "ClusterUsage", "protection.crossplane.io/v1beta1", of=of, reason="r"))
    plane.wait("Ready", lambda: is_ready(plane, "clusterusage", "bucket"))
    plane.wait("the API server refuses", lambda: refused(plane, "buckets.s3.aws.upbound.io", "held"))
    role = party("ClusterRole", "view", "rbac.authorization.k8s.io/v1")
    plane.apply(usage("right", "ClusterUsage", "protection.crossplane.io/v1beta1", of=role, reason="r"))
    limits = party("PriorityClass", "system-node-critical", "scheduling.k8s.io/v1")
    plane.apply(usage("limits", "ClusterUsage", "protection.crossplane.io/v1beta1", of=limits, reason="r"))
    for name, plural in (("right", "clusterroles"), ("limits", "priorityclasses")):
        plane.wait("the mend", lambda name=name: "apply a ClusterRole" in json.dumps(plane.get("clusterusage", name)))
        assert f"resources: [{plural}]" in json.dumps(plane.get("clusterusage", name))
        plane.kubectl("delete", "clusterusage", name, "--wait=false")
    plane.kubectl("delete", "clusterusage", "bucket")
    plane.kubectl("annotate", "buckets.s3.aws.upbound.io", "held", "crossplane.io/paused-")
    plane.kubectl("delete", "buckets.s3.aws.upbound.io", "held")
    plane.wait("all usages are gone", lambda: not plane.get("clusterusages")["items"])
