"""A definition's ClusterRoles: upstream's, controlled by it, and none for a group that is no user's own."""

from __future__ import annotations

import copy

import pytest
import yaml

from groundplane.core import definition as definitions
from groundplane.core import roles
from groundplane.core.objects import controller_of
from groundplane.errors import InvalidInput

XRD = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "CompositeResourceDefinition",
    "metadata": {"name": "xdatabases.platform.example.com", "uid": "u-1"},
    "spec": {
        "group": "platform.example.com",
        "names": {"kind": "XDatabase", "plural": "xdatabases"},
        "claimNames": {"kind": "Database", "plural": "databases"},
        "versions": [
            {"name": "v1", "served": True, "referenceable": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}
# As Crossplane v1.20.11's RBAC manager makes them; the label with the definition's name is on those that people get.
EXPECTED = """
crossplane:
  labels: [crossplane]
  rules:
  - {apiGroups: [platform.example.com], resources: [xdatabases, xdatabases/status, databases, databases/status], verbs: ["*"]}
  - {apiGroups: [platform.example.com], resources: [xdatabases/finalizers, databases/finalizers], verbs: [update]}
edit:
  labels: [admin, ns-admin, edit, ns-edit]
  rules:
  - {apiGroups: [platform.example.com], resources: [xdatabases, xdatabases/status, databases, databases/status], verbs: ["*"]}
view:
  labels: [view, ns-view]
  rules:
  - {apiGroups: [platform.example.com], resources: [xdatabases, xdatabases/status, databases, databases/status], verbs: [get, list, watch]}
browse:
  labels: [browse]
  rules:
  - {apiGroups: [platform.example.com], resources: [xdatabases, xdatabases/status], verbs: [get, list, watch]}
"""


def test_a_definition_has_the_roles_that_upstream_makes():
    made = roles.roles(definitions.read(XRD), XRD, ["xdatabases", "databases"])
    assert {role["metadata"]["name"].rpartition("-to-")[2]: role["rules"] for role in made} == {
        to: expected["rules"] for to, expected in yaml.safe_load(EXPECTED).items()
    }
    for role in made:
        to = role["metadata"]["name"].removeprefix("crossplane:composite:xdatabases.platform.example.com:aggregate-to-")
        named = {} if to == "crossplane" else {"rbac.crossplane.io/xrd": "xdatabases.platform.example.com"}
        assert role["metadata"]["labels"] == named | {
            f"rbac.crossplane.io/aggregate-to-{each}": "true" for each in yaml.safe_load(EXPECTED)[to]["labels"]
        }
        assert controller_of(role)["uid"] == "u-1"


@pytest.mark.parametrize(
    "group",
    ["apps", "rbac.authorization.k8s.io", "k8s.io", "pkg.crossplane.io", "rds.aws.upbound.io", "x.kubernetes.io"],
)
def test_no_definition_gives_rights_to_kinds_of_kubernetes_or_of_a_provider(group):
    foreign = copy.deepcopy(XRD)
    foreign["spec"]["group"] = group
    with pytest.raises(InvalidInput, match="no roles are made for kinds of the group"):
        roles.roles(definitions.read(foreign), foreign, ["xdatabases", "databases"])


def test_a_definition_that_names_somebody_elses_kind_gives_no_right_to_it():
    made = roles.roles(definitions.read(XRD), XRD, ["xdatabases"])
    named = {part for role in made for rule in role["rules"] for part in rule["resources"]}
    assert named == {"xdatabases", "xdatabases/status", "xdatabases/finalizers"}
    assert [role["rules"] for role in roles.roles(definitions.read(XRD), XRD, [])] == [[], [], [], []]


def test_a_name_too_long_for_a_label_is_shortened_and_no_two_of_them_are_alike():
    names = [f"xpostgresqlinstances.databases.platform.internal-systems.{end}.example.com" for end in ("one", "two")]
    labels = {roles.label_of(name) for name in names}
    assert len(labels) == 2
    assert all(len(label) <= 63 for label in labels)
