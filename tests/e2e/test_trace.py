"""`groundplane trace` on the real API server: few requests, and what may not be read is a row."""

from __future__ import annotations

import pytest
from click.shell_completion import BashComplete

from groundplane.cli import completing_objects
from groundplane.cli.completion import VARIABLE
from groundplane.cli.main import main
from tests.cli.platform import groundplane

GROUP = "trace.example.org"
LEAVES = 50
READY = {
    "conditions": [{"type": "Synced", "status": "True"}, {"type": "Ready", "status": "True", "reason": "Available"}]
}
BROKEN = {
    "conditions": [
        {
            "type": "Synced",
            "status": "False",
            "reason": "ReconcileError",
            "message": "AWS refuses it. Mend: ask for less.",
        }
    ]
}


def definition(kind: str, scope: str) -> dict:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {"kind": kind, "plural": f"{kind.lower()}s"},
            "scope": scope,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def obj(kind: str, name: str, spec: dict, status: dict = READY, **metadata: object) -> dict:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": spec,
        "status": status,
    }


@pytest.fixture(scope="module")
def trail(plane):
    """A claim whose composite is composed of fifty leaves, one of which is broken, and of one that is gone."""
    plane.apply(definition("Trail", "Namespaced"), definition("XTrail", "Cluster"), definition("Leaf", "Cluster"))
    for kind in ("trails", "xtrails", "leafs"):
        plane.kubectl("wait", "--for=condition=Established", f"crd/{kind}.{GROUP}", "--timeout=180s")
    names = [f"leaf-{n:02}" for n in range(LEAVES)]
    references = [{"apiVersion": f"{GROUP}/v1", "kind": "Leaf", "name": name} for name in [*names, "lost"]]
    leaves = [
        obj(
            "Leaf",
            name,
            {"forProvider": {}},
            BROKEN if name == "leaf-07" else READY,
            labels={"crossplane.io/composite": "x"},
        )
        for name in names
    ]
    plane.apply(
        obj(
            "Trail",
            "t",
            {"resourceRef": {"apiVersion": f"{GROUP}/v1", "kind": "XTrail", "name": "x"}},
            namespace="default",
        ),
        obj("XTrail", "x", {"resourceRefs": references}),
        *leaves,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "trace-some"},
            "rules": [{"apiGroups": [GROUP], "resources": ["trails", "xtrails"], "verbs": ["get", "list"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "trace-some"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "trace-some"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
        },
    )
    yield plane
    plane.kubectl("delete", "crd", *(f"{kind}.{GROUP}" for kind in ("trails", "xtrails", "leafs")), "--wait=false")
    plane.kubectl("delete", "clusterrole/trace-some", "clusterrolebinding/trace-some")


def test_fifty_resources_take_one_list_and_the_broken_one_is_the_cause(trail):
    asked = len(trail.requests())
    result = groundplane("trace", f"trails.{GROUP}", "t", "--kubeconfig", trail.kubeconfig_of("operator"))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1].startswith("Trail/t (default)")
    assert sum("Leaf/" in line for line in lines) == 22  # twenty that are ready, the broken one, the lost one
    assert "… and 29 more Leaf, ready (--all)" in result.stdout
    assert 'Error: Leaf "lost" not found' in result.stdout
    assert lines[-2:] == ["Cause  Leaf leaf-07: AWS refuses it.", "       Mend: ask for less."]
    ours = [each for each in trail.requests()[asked:] if GROUP in each.get("requestURI", "")]
    assert len(ours) <= 4  # the claim, the composite, one list, the one that the list has not


def test_what_may_not_be_read_is_a_row_and_the_right_is_named(trail):
    result = groundplane("trace", "trail/t", "--kubeconfig", trail.kubeconfig_of("nobody"), "-n", "default", "--all")
    assert result.exit_code == 0, result.output
    assert "XTrail/x" in result.stdout
    assert result.stdout.count("Error: ") == LEAVES + 1
    rule = f'{{apiGroups: ["{GROUP}"], resources: [leafs], verbs: [get, list]}}'
    assert result.stderr == f"Leaf may not be read. Mend: add to a ClusterRole of yours: {rule}.\n"


def test_all_of_a_kind_and_a_kind_that_is_not_there(trail):
    kubeconfig = trail.kubeconfig_of("operator")
    assert "XTrail/x" in groundplane("trace", "xtrails", "--kubeconfig", kubeconfig, "--depth", 0).stdout
    missing = groundplane("trace", "trial", "t", "--kubeconfig", kubeconfig)
    assert missing.exit_code == 1
    assert 'there is no kind "trial". Mend: did you mean trail?' in missing.stderr


def test_kinds_names_and_fields_are_completed(trail, monkeypatch):
    monkeypatch.setattr(completing_objects, "PATIENCE", 60)  # however slow this machine is
    given = ["--kubeconfig", trail.kubeconfig_of("operator"), "-n", "default"]

    def completed(command: str, *words: str, begun: str = "") -> list[str]:
        shell = BashComplete(main, {}, "groundplane", VARIABLE)
        return [each.value for each in shell.get_completions([command, *given, *words], begun)]

    assert completed("trace", begun="xtr") == ["xtrail"]
    assert completed("trace", "leafs", begun="leaf-0") == [f"leaf-{n:02}" for n in range(10)]
    assert completed("explain", begun=f"trail.{GROUP}/") == [f"trail.{GROUP}/t"]
    assert completed("explain", "trail/t", begun="spec.resourceRef.n") == ["spec.resourceRef.name"]
    assert "default" in completed("plan", "-n")
    assert completed("trace", "nothing") == []
    given[1] = trail.kubeconfig_of("nobody")
    assert completed("trace", "leafs") == []  # which may not be listed
