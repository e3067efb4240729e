"""Who may do what with the kinds of a definition: its four ClusterRoles, and the rule that gives the operator a right.

Source: Crossplane v1.20, internal/controller/rbac/definition/roles.go: names, labels, rules.  Ours: the label with the definition's name is
shortened if need be; of a group that is not a user's own no role is made, for it would give whoever holds `crossplane-edit` what is Kubernetes' or a provider's,
and none for a kind whose CustomResourceDefinition is not the definition's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Any

from groundplane.core import providers
from groundplane.core.definition import Definition
from groundplane.core.objects import Object, meta, owner_reference
from groundplane.errors import InvalidInput

API_VERSION, KIND = "rbac.authorization.k8s.io/v1", "ClusterRole"
LABELS = "rbac.crossplane.io/"  # what those of its labels begin with that say whose a role is, and where it is gathered
DEFINITION = f"{LABELS}xrd"  # label: the definition's name, on the roles that people get
AGGREGATE = f"{LABELS}aggregate-to-"
OPERATORS = f"{AGGREGATE}crossplane"  # label: the operator's own rights are all roles with it
HOLD = ("get", "list", "watch", "create", "update", "patch", "delete")  # an apply creates and patches
_READ = ("get", "list", "watch")
_OTHERS = (
    "k8s.io",
    "kubernetes.io",
    "crossplane.io",
    *(family.domain for family in providers.FAMILIES),
)  # whose groups end so are no user's own


LONGEST = 63  # characters of a label's value; a definition's name may have 253


def label_of(name: str) -> str:
    """What stands for a definition's name in a label.

    >>> label_of("xdatabases.platform.example.com")
    'xdatabases.platform.example.com'
    """
    if len(name) <= LONGEST:
        return name
    return f"{name[:50]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def roles(known: Definition, definition: Object, owned: Collection[str]) -> list[Object]:
    """The definition's roles, which go with it: for those of its plurals that are `owned`, whose CustomResourceDefinitions it controls.

    Raises:
        InvalidInput: its group is not one of which rights may be given by a definition.
    """
    if "." not in known.group or any(known.group == other or known.group.endswith(f".{other}") for other in _OTHERS):
        raise InvalidInput(
            f"no roles are made for kinds of the group {known.group}",
            mend="choose a group of your own, platform.example.com, or set --rbac static (the chart's rbac.mode=static) and"
            f' apply a ClusterRole labelled {OPERATORS}: "true" for it yourself',
        )
    composite = [known.plural] if known.plural in owned else []
    both = [name for name in (known.plural, known.claim_plural) if name and name in owned]
    held = [
        *_with_status(both, ("*",), known.group),
        *([_rule(known.group, [f"{name}/finalizers" for name in both], ("update",))] if both else ()),
    ]
    return [
        _role(definition, "crossplane", ("crossplane",), held),
        _role(definition, "edit", ("admin", "ns-admin", "edit", "ns-edit"), _with_status(both, ("*",), known.group)),
        _role(definition, "view", ("view", "ns-view"), _with_status(both, _READ, known.group)),
        _role(definition, "browse", ("browse",), _with_status(composite, _READ, known.group)),
    ]


def _role(definition: Object, to: str, aggregated: Iterable[str], rules: list[Any]) -> Object:
    name = meta(definition)["name"]
    labels = {} if to == "crossplane" else {DEFINITION: label_of(name)}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": f"crossplane:composite:{name}:aggregate-to-{to}",
            "labels": labels | {f"{AGGREGATE}{each}": "true" for each in aggregated},
            "ownerReferences": [owner_reference(definition)],
        },
        "rules": rules,
    }


def _with_status(plurals: list[str], verbs: Iterable[str], group: str) -> list[Any]:
    names = [part for name in plurals for part in (name, f"{name}/status")]
    return [_rule(group, names, verbs)] if names else []


def _rule(group: str, resources: list[str], verbs: Iterable[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}


def grant(group: str, resource: str) -> str:
    """What to apply, as a mend, so that the operator may work with a resource.

    >>> grant("apps", "deployments/status")
    'apply a ClusterRole labelled rbac.crossplane.io/aggregate-to-crossplane: "true" with the rule {apiGroups: [apps], resources: [deployments/status], verbs: [update]}'
    """
    return f'apply a ClusterRole labelled {OPERATORS}: "true" with the rule {_rule_text(group, resource)}'


def grant_in(namespace: str, group: str, resource: str) -> str:
    """The same for one namespace alone.

    >>> grant_in("my-team", "", "secrets")
    'bind a Role in my-team with the rule {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, update, patch, delete]} to the operator'
    """
    return f"bind a Role in {namespace} with the rule {_rule_text(group, resource)} to the operator"


def grant_to(account: str, group: str, resource: str) -> str:
    """The same for a ServiceAccount, as NAMESPACE/NAME.

    >>> grant_to("crossplane-system/crossplane-objects", "", "configmaps")
    'bind a ClusterRole, or a Role where it is enough, with the rule {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, create, update, patch, delete]} to ServiceAccount crossplane-system/crossplane-objects'
    """
    rule = _rule_text(group, resource)
    return f"bind a ClusterRole, or a Role where it is enough, with the rule {rule} to ServiceAccount {account}"


def _rule_text(group: str, resource: str) -> str:
    verbs = ("update",) if "/" in resource else HOLD
    named = group or '""'
    return f"{{apiGroups: [{named}], resources: [{resource}], verbs: [{', '.join(verbs)}]}}"
