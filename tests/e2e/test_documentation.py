"""The documentation, done as it is printed: each command of its pages, from a shell, on a control plane whose Pods run as processes.

Commands are read from the pages, so that what is printed is what is tried; `documented.ELSEWHERE` has those that can't be run here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.cluster import build
from tests.cluster.rig import ControlPlane
from tests.e2e import documented, guide
from tests.e2e.kubelet import CONTROLLERS, Kubelet
from tests.e2e.release import NAMESPACE, may
from tests.standin import serving

from .conftest import KINDS, Aws

LONG = 600  # seconds for one command: some wait for Pods


class Shell:
    """Where a reader of the pages types: kubectl, helm and groundplane are on the path, and the cluster is the current one."""

    def __init__(self, plane, kubelet, folder):
        self.plane, self.kubelet, self.folder = plane, kubelet, folder
        self.typed = set()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "kubectl").symlink_to(plane.bin / "kubectl")
        (programs / "helm").symlink_to(build.helm())
        (programs / "groundplane").write_text(f'#!/bin/sh\nexec {sys.executable} -m groundplane.cli.main "$@"\n')
        (programs / "groundplane").chmod(0o755)
        aws = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
        self.environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(plane.kubeconfig),
            "KUBECACHEDIR": str(folder / "cache"),
            "AWS_ENDPOINT_URL": kubelet.aws.url,
            "GROUNDPLANE_ACTIVATIONS": KINDS[1],  # as of the Pods here: what tests use
            **aws,
        }

    def types(self, command, code=0, where=documented.REPOSITORY):
        """Run it, and it ends so; what it said."""
        self.typed.add(command)
        shutil.rmtree(self.environment["KUBECACHEDIR"], ignore_errors=True)  # as if minutes had passed, for its reader
        run = ["sh", "-c", command]
        done = subprocess.run(
            run, cwd=where, env=self.environment, capture_output=True, text=True, timeout=LONG, stdin=subprocess.DEVNULL
        )
        assert done.returncode == code, f"$ {command}\n{done.stdout}{done.stderr}\n{self.kubelet.logs()}"
        return done.stdout

    def of(self, page, start, nth=0):
        """The page's command that begins so."""
        found = [each for each in documented.commands(page) if each.startswith(start)]
        assert len(found) > nth, f"docs/{page}.md prints no {start} any more"
        return found[nth]


@pytest.fixture(scope="module")
def plane():
    with ControlPlane(audit=True, controllers=CONTROLLERS) as running:
        yield running


@pytest.fixture(scope="module")
def shell(plane, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    with serving(slow=1.0) as url, Kubelet(plane, Aws(url), folder, NAMESPACE) as kubelet:
        yield Shell(plane, kubelet, folder)


def works(plane):
    """The guide's database is ready, as its reader would wait for it."""
    plane.kubectl("create", "namespace", guide.TEAM, check=False)
    guide.apply(plane, *guide.GUIDE, guide.NETWORK)
    guide.wait_ready(plane)
    plane.wait("the Secret", lambda: guide.secret(plane))


def installed(shell):
    """There is a release, with the guide's database: of the test before, or a new one."""
    if not shell.plane.get("deployment", "groundplane", "-n", NAMESPACE):
        shell.types(shell.of("install", "helm install"))
        works(shell.plane)


def nothing_installed(shell):
    """There is no release, whichever test was before."""
    if shell.plane.get("deployment", "groundplane", "-n", NAMESPACE):
        shell.types(shell.of("operations", "helm uninstall"))
        shell.plane.wait("the Pods are gone", lambda: not shell.kubelet.pods)


def roles(plane):
    """ClusterRoles of Crossplane's names, but for those of definitions."""
    names = [each["metadata"]["name"] for each in plane.get("clusterroles")["items"]]
    return [name for name in names if name.startswith("crossplane") and not name.startswith("crossplane:composite:")]


def test_each_command_of_the_pages_is_tried_or_said_to_be_tried_elsewhere():
    """Whoever prints one more has it tried below, or says why not."""
    printed = {(page, each) for page in documented.PAGES for each in documented.commands(page)}
    assert len(printed) > 30
    tried = {
        (page, each) for page, starts in TRIED.items() for each in documented.commands(page) if each.startswith(starts)
    }
    left = {each for each in printed - tried - set(looks()) if not documented.elsewhere(each[1])}
    assert not left


TRIED = {
    "install": ("helm install", "helm upgrade", "groundplane doctor"),
    "operations": ("helm ", "kubectl get ", "kubectl delete "),
    "backup": ("kubectl -n ", "groundplane doctor", "helm upgrade", "kubectl get ", "kubectl wait", "kubectl annotate"),
    "moving-from-crossplane": ("groundplane doctor", "kubectl ", "helm "),
    "gitops": ("groundplane argocd-health",),
    "usages": ("kubectl get clusterusages", "kubectl delete "),
    "day-two": ("kubectl get operations", "kubectl describe operation"),
}
FILLED = {  # what stands for something of the reader's, and what it is here; by the page
    "runbooks": {"<kind>": "databases"},
    "operations": {"my-db": "$(kubectl get xdatabase -o name | sed s,.*/,,)"},
    "install": {"mrd NAME": "mrd eips.ec2.aws.upbound.io"},
    "usages": {"KIND NAME": "instances.rds.aws.upbound.io orders"},
    "gitops": {"=NAME": f"={guide.NAME}"},
}


def looks():
    """What sentences and tables say to run, as (page, command), and what a block describes; but for what blocks have, too."""
    blocks = {each for page in documented.PAGES for each in documented.commands(page)}
    described = [("operations", each) for each in documented.commands("operations") if "describe" in each]
    return described + [
        (page, each)
        for page in documented.PAGES
        for each in documented.quoted(page)
        if not documented.elsewhere(each) and each not in blocks
    ]


@pytest.mark.soak
def test_install_operate_and_uninstall_as_the_pages_say(plane, shell):
    nothing_installed(shell)
    install = shell.of("install", "helm install")
    assert "--wait" in install
    told = shell.types(install)
    assert "STATUS: deployed" in told
    assert [each.ready for each in shell.kubelet.pods.values()] == [True, True], "it came back before they were ready"
    works(plane)
    before = plane.get("databases.platform.example.com", guide.NAME, "-n", guide.TEAM)["metadata"]["uid"]

    (role,) = [each for each in blocks("install") if each.get("kind") == "ClusterRole"]
    (policy,) = [each for each in blocks("install") if each.get("kind") == "ManagedResourceActivationPolicy"]
    plane.apply(role, policy)
    plane.wait("the right is in force", lambda: may(plane, "create", "deployments.apps"))
    assert "✘" not in shell.types(shell.of("install", "groundplane doctor"))

    plane.kubectl("create", "namespace", "your-team")
    shell.types(shell.of("install", "helm upgrade"))
    plane.wait("all Secrets are no longer its own", lambda: not may(plane, "list", "secrets"))
    rolled(plane)
    shell.types("groundplane doctor --account groundplane --secret-namespaces my-team,your-team")
    shell.types(shell.of("operations", "helm rollback"))
    plane.wait("they are again", lambda: may(plane, "list", "secrets"))
    rolled(plane)
    shell.types(shell.of("operations", "helm upgrade"))
    rolled(plane)
    for _ in range(3):
        shell.types(shell.of("operations", "helm uninstall"))
        plane.wait("the Pods are gone", lambda: not shell.kubelet.pods)
        assert roles(plane) == []
        shell.types(shell.of("operations", "helm install"))
        rolled(plane)
    guide.wait_ready(plane)
    assert plane.get("databases.platform.example.com", guide.NAME, "-n", guide.TEAM)["metadata"]["uid"] == before


def blocks(page):
    """The manifests in a page's indented blocks."""
    parts = [""]
    for line in documented.text(page).splitlines():
        parts.append("") if not line.startswith("    ") else parts.__setitem__(-1, parts[-1] + line[4:] + "\n")
    found = [yaml.safe_load(part) for part in parts if part.startswith("apiVersion:")]
    return [each for each in found if isinstance(each, dict)]


def rolled(plane):
    """The Deployment is as it should be, the old Pods gone."""
    plane.kubectl("rollout", "status", "deployment", "groundplane", "-n", NAMESPACE, f"--timeout={LONG}s")


@pytest.mark.soak
def test_back_up_and_restore_as_the_page_says(plane, shell):
    """The restore itself is Velero's."""
    installed(shell)
    lines = [each for each in documented.commands("backup") if not documented.elsewhere(each)]
    for command in lines[: next(i for i, each in enumerate(lines) if each.startswith("kubectl annotate"))]:
        shell.types(command)
        if "--replicas=0" in command:
            plane.wait("nobody works", lambda: not shell.kubelet.pods)
        if command.startswith("helm upgrade"):
            rolled(plane)
    plane.wait("both are ready", lambda: [each.ready for each in shell.kubelet.pods.values()] == [True, True])
    vpc = {"apiVersion": "ec2.aws.upbound.io/v1beta1", "kind": "VPC", "metadata": {"name": "main"}}
    vpc["metadata"]["annotations"] = {
        "crossplane.io/external-create-pending": "2026-01-01T00:00:00Z",
        "crossplane.io/paused": "true",
    }
    plane.apply(vpc | {"spec": {"forProvider": {"region": "eu-west-1", "cidrBlock": "10.0.0.0/16"}}})
    for command in lines:
        if command.startswith("kubectl annotate"):
            shell.types(command)
    found = plane.get("vpc.ec2.aws.upbound.io", "main")["metadata"]["annotations"]
    assert found["crossplane.io/external-name"].startswith("vpc-")
    assert "crossplane.io/external-create-pending" not in found
    plane.kubectl(
        "patch", "vpc.ec2.aws.upbound.io", "main", "--type=merge", "-p", '{"spec": {"deletionPolicy": "Orphan"}}'
    )
    plane.kubectl("annotate", "vpc.ec2.aws.upbound.io", "main", "crossplane.io/paused-")
    plane.kubectl("delete", "vpc.ec2.aws.upbound.io", "main")


@pytest.mark.soak
def test_health_checks_for_argo_cd_as_the_page_says(plane, shell, tmp_path):
    (tmp_path / "apis").symlink_to(documented.REPOSITORY / "compositions")
    plane.kubectl("create", "namespace", "argocd")
    shell.types(shell.of("gitops", "groundplane argocd-health"), where=tmp_path)
    assert any(name.endswith("_Database") for name in plane.get("configmap", "argocd-cm", "-n", "argocd")["data"])


def fenced(page):
    """The whole manifests among a page's fenced ones, in their order."""
    parts = re.findall(r"^```yaml\n(.*?)^```", documented.text(page), flags=re.M | re.S)
    return [each for each in map(yaml.safe_load, parts) if isinstance(each, dict) and "kind" in each]


@pytest.mark.soak
def test_what_the_pages_say_to_look_at_is_there(plane, shell, tmp_path):
    """With a usage and an operation as their pages have them, and one resource that is not synced."""
    installed(shell)
    (tmp_path / "apis").symlink_to(documented.REPOSITORY / "compositions")
    metadata = {"name": "orders", "annotations": {"crossplane.io/paused": "true"}}
    spec = {"managementPolicies": ["Observe"], "forProvider": {"region": "eu-west-1"}}
    plane.apply({"apiVersion": "rds.aws.upbound.io/v1beta1", "kind": "Instance", "metadata": metadata, "spec": spec})
    labels = {"rbac.crossplane.io/aggregate-to-crossplane": "true"}
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    plane.apply(role | {"metadata": {"name": "notes", "labels": labels}, "rules": rules})
    plane.wait("the right is in force", lambda: may(plane, "create", "configmaps"))

    usage, policy = [each for each in fenced("usages") if each["apiVersion"][0] in "ap"]
    plane.apply(usage, policy, *fenced("day-two"))
    plane.wait("it is protected", lambda: ready(plane, "clusterusage", usage["metadata"]["name"]))
    for command in documented.commands("usages"):
        told = shell.types(command, code=1 if "delete" in command else 0)
    assert usage["metadata"]["name"] in shell.types("kubectl get clusterusages")
    plane.wait("it has run", lambda: ready(plane, "operation", "note-the-release"))
    for command in documented.commands("day-two"):
        assert "note-the-release" in shell.types(command)
    assert plane.get("configmap", "release")["data"] == {"version": "7"}
    for kind in ("CronOperation", "WatchOperation"):
        (made,) = [each["metadata"]["name"] for each in fenced("day-two") if each["kind"] == kind]
        plane.wait(f"{kind} is taken", lambda kind=kind, made=made: ready(plane, kind, made))
    (nightly,) = [each for each in fenced("day-two") if each["kind"] == "CronOperation"]
    once = {"kind": "Operation", "metadata": {"name": "tonight"}, "spec": nightly["spec"]["operationTemplate"]["spec"]}
    plane.apply({"apiVersion": nightly["apiVersion"], **once})
    plane.wait("what runs each night can", lambda: ready(plane, "operation", "tonight"))
    labelled = {"name": "settings", "namespace": "default", "labels": {"check": "yes"}}
    plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": labelled})
    plane.wait("a change is answered", lambda: plane.get("configmap", "checked-settings"))

    gone = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "groundplane-no-usages"}}
    match = {
        "resourceRules": [
            {"apiGroups": ["example.org"], "apiVersions": ["*"], "resources": ["x"], "operations": ["DELETE"]}
        ]
    }
    spec = {"matchConstraints": match, "validations": [{"expression": "false"}]}
    plane.apply(gone | {"kind": "ValidatingAdmissionPolicy", "spec": spec})
    bound = {"policyName": "groundplane-no-usages", "validationActions": ["Deny"]}
    plane.apply(gone | {"kind": "ValidatingAdmissionPolicyBinding", "spec": bound})
    for page, command in looks():
        for placeholder, here in FILLED.get(page, {}).items():
            command = command.replace(placeholder, here)
        told = shell.types(command, where=tmp_path)
        assert told, command

    plane.kubectl("delete", "operations,cronoperations,watchoperations", "--all")
    plane.kubectl("delete", "clusterusage", usage["metadata"]["name"])
    plane.kubectl("delete", "validatingadmissionpolicy", policy["metadata"]["name"])
    plane.kubectl("delete", "instances.rds.aws.upbound.io", "orders")


def ready(plane, kind, name):
    return guide.condition(plane.get(kind, name) or {}, "Ready").get("status") == "True"


@pytest.mark.soak
def test_delete_everything_as_the_page_says(plane, shell):
    """Nothing is left that the page does not name."""
    installed(shell)
    _, *lines = documented.commands("operations")[documented.commands("operations").index("kubectl get claim -A") :]
    lines = lines[: next(i for i, each in enumerate(lines) if each.startswith("kubectl get crd")) + 1]
    shell.types("kubectl get claim -A")
    for command in lines:
        if command.startswith("kubectl get managed"):
            plane.wait("there is nothing", lambda: not plane.kubectl("get", "managed", "-A", "-o", "name").stdout)
        shell.types(command)
    plane.wait("the Pods are gone", lambda: not shell.kubelet.pods)
    assert roles(plane) == []
    assert not [name for name in crds(plane) if name.endswith(("crossplane.io", "upbound.io", "example.com"))]
    assert shell.kubelet.aws.databases() == []


def crds(plane):
    return [each["metadata"]["name"] for each in plane.get("crds")["items"]]


DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment"}


def deployment(name, **labels):
    """What a Crossplane has there."""
    labels = {"app": "crossplane" if name == "crossplane" else name, **labels}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "registry.example/crossplane"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return DEPLOYMENT | {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "spec": spec}


@pytest.mark.soak
def test_move_from_crossplane_as_the_page_says(plane, shell):
    """A Crossplane of three Deployments, and the definitions that it leaves; tests/e2e/test_moves.py has a thousand resources."""
    nothing_installed(shell)
    plane.kubectl("create", "namespace", NAMESPACE, check=False)
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", documented.REPOSITORY / "crds")
    plane.wait_for_kinds()
    theirs = ("crossplane", "crossplane-rbac-manager", "provider-aws-ec2")
    provider = {"pkg.crossplane.io/provider": "provider-aws-ec2"}
    plane.apply(*(deployment(name, **(provider if "provider" in name else {})) for name in theirs))
    secret = {"metadata": {"name": "crossplane-tls-client", "namespace": NAMESPACE}}
    plane.apply({"apiVersion": "v1", "kind": "Secret", **secret, "stringData": {"ca.crt": "x"}})
    for name in theirs:
        plane.kubectl("rollout", "status", "deployment", name, "-n", NAMESPACE)
    lines = documented.commands("moving-from-crossplane")
    told = shell.types(lines[0], code=1)
    assert "crossplane" in told
    rival = shell.of("moving-from-crossplane", "helm install").replace("--wait", "")
    shell.types(rival)
    plane.wait("it says who is at work", lambda: "a Crossplane is at work in this cluster" in shell.kubelet.logs())
    shell.types(shell.of("operations", "helm uninstall"))
    plane.kubectl(
        "delete", "validatingwebhookconfigurations", "crossplane", "crossplane-no-usages", "--ignore-not-found"
    )
    for name in ("crossplane", "crossplane-no-usages"):
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
        plane.apply(kind | {"metadata": {"name": name}, "webhooks": []})
    for command in lines[1:]:
        command = command.replace("PROVIDERS-NAME", "provider-aws-ec2")
        if "crossplane-tls-client" in command:
            command = f"cd {shell.folder} && {command}"
        shell.types(command)
        if command.startswith("helm upgrade"):
            rolled(plane)
    assert (shell.folder / "crossplane-tls-client.yaml").read_text()
    works(plane)
