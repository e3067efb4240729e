"""What the operator asks of the API server, as data: the one table behind the chart's roles, and the test that runs with exactly these rights.

A new request needs its rule here first.  Nothing is granted by wildcard but the kinds of a group that definitions own, for
RBAC knows no pattern inside a name.  To give an owner to what is there, as after a restore, takes the right to delete it where the API server
enforces permissions on owner references (OpenShift does).  What compositions compose beyond AWS is not here: a person grants it, for whoever writes a
Composition would otherwise have every right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from groundplane.core import operations, providers, usages
from groundplane.core.objects import Object
from groundplane.core.roles import HOLD
from groundplane.runtime import clouds, guard, webhook_configurations
from groundplane.runtime.preflight import LEASE

_ADMISSION = "admissionregistration.k8s.io"
READ = ("get", "list", "watch")

OBJECTS_ACCOUNT = "crossplane-objects"  # the chart's ServiceAccount for provider-kubernetes' Objects

_CORE, _PACKAGES, _RBAC = (
    "apiextensions.crossplane.io",
    "pkg.crossplane.io",
    "rbac.authorization.k8s.io",
)


@dataclass(frozen=True)
class Rule:
    """One rule of a role: verbs on resources of one group, or only on objects of these names."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def policy(self) -> Object:
        """As RBAC's `PolicyRule`."""
        rule: Object = {"apiGroups": [self.group], "resources": list(self.resources), "verbs": list(self.verbs)}
        return rule | ({"resourceNames": list(self.names)} if self.names else {})


@dataclass(frozen=True)
class Concern:
    """The rules of one purpose: a ClusterRole, or a Role in the operator's namespace."""

    name: str
    """The end of the role's name: `secrets`."""
    why: str
    """What breaks without it."""
    rules: tuple[Rule, ...]
    in_namespace: bool = False
    """A Role in the operator's own namespace is enough."""
    mode: str = ""
    """Only with this `rbac.mode`; "": always."""
    part: str = ""
    """Only with this part of the chart enabled, `webhooks`, `functions` or `objects`; "": always."""
    confined_by: str = ""
    """The value below `rbac` of the chart that names namespaces: if it names any, a Role in each of them and in the operator's is enough."""


def _owners(group: str, *plurals: str) -> Rule:
    """To own what it makes: an owner reference that blocks deletion needs it where the API server enforces that."""
    return Rule(group, tuple(f"{plural}/finalizers" for plural in plurals), ("update",))


def _status(group: str, *plurals: str) -> Rule:
    return Rule(group, tuple(f"{plural}/status" for plural in plurals), ("update",))


def _accounts(family: providers.Family) -> tuple[Rule, ...]:
    """The rules for the ProviderConfigs of a provider."""
    configs = tuple(providers.CONFIG_PLURALS[kind] for kind in family.config_kinds)
    return (
        Rule(family.domain, configs, (*READ, "update", "patch")),
        Rule(family.domain, (providers.CONFIG_PLURALS[providers.USAGE],), (*READ, "create", "update", "delete")),
        _status(family.domain, *configs),
    )


def _collections(family: providers.Family) -> tuple[Rule, ...]:
    plural = f"{providers.COLLECTION.lower()}s"
    return (
        Rule(family.domain, (plural,), READ),
        _status(family.domain, plural),
        _owners(family.domain, plural),
    )


_PACKAGE_KINDS = ("providers", "functions", "configurations")
_REVISION_KINDS = ("providerrevisions", "functionrevisions", "configurationrevisions")

CONCERNS = (
    Concern(
        "definitions",
        "Definitions and Compositions are read, revisions of Compositions made.",
        (
            Rule(_CORE, ("compositeresourcedefinitions",), (*READ, "update", "patch")),
            Rule(_CORE, ("compositions", "environmentconfigs"), READ),
            Rule(_CORE, ("compositionrevisions",), (*READ, "create", "update", "delete")),
            _status(_CORE, "compositeresourcedefinitions", "compositions", "compositionrevisions"),
            _owners(_CORE, "compositeresourcedefinitions", "compositions"),
        ),
    ),
    Concern(
        "kinds",
        "Our kinds are brought and upgraded; each definition becomes a CustomResourceDefinition or two, and takes them away with it.",
        (
            Rule("apiextensions.k8s.io", ("customresourcedefinitions",), (*READ, "create", "patch", "delete")),
            Rule("apiextensions.k8s.io", ("customresourcedefinitions/status",), ("patch",)),
        ),
    ),
    Concern(
        "activation",
        "Managed kinds become active by name: each is declared, and what a policy names is activated.",
        (
            Rule(_CORE, ("managedresourcedefinitions",), (*READ, "create", "patch")),
            Rule(_CORE, ("managedresourceactivationpolicies",), (*READ, "create")),
            _status(_CORE, "managedresourcedefinitions", "managedresourceactivationpolicies"),
            _owners(_CORE, "managedresourcedefinitions"),
        ),
    ),
    Concern(
        "packages",
        "Providers and Functions that are built in are reported as installed; revisions of our own are made and taken away.",
        (
            Rule(_PACKAGES, _PACKAGE_KINDS, READ),
            Rule(_PACKAGES, _REVISION_KINDS, (*READ, "create", "update", "patch", "delete")),
            Rule(_PACKAGES, ("locks",), (*READ, "create", "update", "patch")),
            Rule(_PACKAGES, ("deploymentruntimeconfigs",), ("get", "create")),
            Rule(_PACKAGES, ("imageconfigs",), ("list",)),
            _status(_PACKAGES, *_PACKAGE_KINDS, *_REVISION_KINDS),
            _owners(_PACKAGES, *_PACKAGE_KINDS, "functionrevisions"),
        ),
    ),
    Concern(
        "secrets",
        "Credentials and passwords are read, connection details written, Secrets composed.  RBAC can't tell them from other Secrets.",
        (Rule("", ("secrets",), HOLD),),
        confined_by="secretNamespaces",
    ),
    Concern(
        "events",
        "What happened is told in events of every namespace; one that repeats is counted.",
        (Rule("", ("events",), ("get", "create", "patch")),),
    ),
    Concern(
        "rivals",
        "Another Crossplane in the cluster is found before two of them undo each other's work.",
        (Rule("apps", ("deployments",), ("list",)), Rule("coordination.k8s.io", ("leases",), ("list",))),
    ),
    Concern(
        "accounts",
        "ProviderConfigs say how to log in to AWS and to databases, and count who uses them.",
        tuple(rule for family in providers.FAMILIES if family.version for rule in _accounts(family)),
    ),
    Concern(
        "collections",
        "Collections say which objects are observed, and own the Objects that do it.",
        tuple(rule for family in providers.FAMILIES if family.provider == "objects" for rule in _collections(family)),
    ),
    Concern(
        "usages",
        "Usages protect objects, and may be composed; where no webhook runs, a policy of the API server refuses to delete what they protect.",
        (
            Rule(usages.LEGACY, ("usages",), HOLD),
            Rule(usages.PROTECTION, ("usages", "clusterusages"), HOLD),
            _status(usages.LEGACY, "usages"),
            _status(usages.PROTECTION, "usages", "clusterusages"),
            _owners(usages.LEGACY, "usages"),
            _owners(usages.PROTECTION, "usages", "clusterusages"),
            Rule(_ADMISSION, (guard.POLICIES, guard.BINDINGS), ("create",)),
            Rule(_ADMISSION, (guard.POLICIES, guard.BINDINGS), ("get", "patch", "delete"), (guard.NAME,)),
        ),
    ),
    Concern(
        "operations",
        "Operations are run, and made on a schedule or at changes.  What they apply, and what is watched, needs rights of its own.",
        (
            Rule(operations.GROUP, ("operations",), (*READ, "create", "delete")),
            Rule(operations.GROUP, ("cronoperations",), READ),
            # A finalizer is put on, and taken off.
            Rule(operations.GROUP, ("watchoperations",), (*READ, "update", "patch")),
            _status(operations.GROUP, "operations", "cronoperations", "watchoperations"),
            _owners(operations.GROUP, "cronoperations", "watchoperations"),
        ),
    ),
    Concern(
        "lease",
        "The replicas agree on which of them writes.",
        (
            Rule("coordination.k8s.io", ("leases",), ("create",)),
            Rule("coordination.k8s.io", ("leases",), (*READ, "update"), (LEASE,)),
        ),
        in_namespace=True,
    ),
    Concern(
        "roles",
        "Definitions get their ClusterRoles, the operator's and people's; what is edited is put back.  To escalate is everything: rbac.guard narrows it.",
        (Rule(_RBAC, ("clusterroles",), (*READ, "create", "update", "delete", "escalate")),),
        mode="aggregated",
    ),
    Concern(
        "webhooks",
        "The API server is told where our webhooks are.  This role owns what tells it, and takes it along when it goes.",
        (
            Rule(
                _ADMISSION,
                ("validatingwebhookconfigurations",),
                (*READ, "create", "patch", "delete"),
                webhook_configurations.NAMES,
            ),
            Rule(_RBAC, ("clusterroles",), ("get",), ("crossplane:system:webhooks",)),
        ),
        part="webhooks",
    ),
    Concern(
        "functions",
        "Packages of Functions that are not built in are run: each gets a Deployment, a Service and a ServiceAccount beside the operator.",
        (
            Rule("apps", ("deployments",), ("get", "create", "patch")),
            Rule("", ("services", "serviceaccounts"), ("get", "create", "patch")),
        ),
        in_namespace=True,
        part="functions",
    ),
    Concern(
        "objects",
        "provider-kubernetes' Objects act as a ServiceAccount of their own, which may do what you allow it.",
        (Rule("", ("serviceaccounts",), ("impersonate",), (OBJECTS_ACCOUNT,)),),
        in_namespace=True,
        part="objects",
    ),
)


def managed(groups: Iterable[str] | None = None) -> tuple[Rule, ...]:
    """The rules for the managed resources of these groups (`rds.aws.upbound.io`), all by default.

    Raises:
        KeyError: a group of which there is no kind.
    """
    plurals: dict[str, list[str]] = {}
    for kind in clouds.kinds():
        plurals.setdefault(kind.group, []).append(kind.plural)
    rules: list[Rule] = []
    for group in sorted(plurals if groups is None else set(groups)):
        names = sorted(plurals[group])
        rules += [Rule(group, tuple(names), HOLD), _status(group, *names), _owners(group, *names)]
    return tuple(rules)


def declared(groups: Iterable[str]) -> tuple[Rule, ...]:
    """The rules for composites and claims of these groups, status and finalizers included, whatever their kinds are called."""
    return tuple(Rule(group, ("*",), HOLD) for group in sorted(set(groups)))


_TYPES = tuple(
    Rule(group, ("*",), ("*",))
    for group in (
        _CORE,
        _PACKAGES,
        usages.PROTECTION,
        operations.GROUP,
        *(family.domain for family in providers.FAMILIES),
    )
)
_SEEN_TYPES = tuple(Rule(rule.group, ("*",), READ) for rule in _TYPES)
_EVENTS = Rule("", ("events",), READ)

PEOPLE = {
    "admin": (
        _EVENTS,
        Rule("", ("secrets", "namespaces"), ("*",)),
        Rule(_RBAC, ("clusterroles", "roles"), READ),
        Rule(_RBAC, ("clusterrolebindings", "rolebindings"), ("*",)),
        Rule("apiextensions.k8s.io", ("customresourcedefinitions",), READ),
        *_TYPES,
    ),
    "edit": (_EVENTS, Rule("", ("secrets",), ("*",)), Rule("", ("namespaces",), READ), *_TYPES),
    "view": (_EVENTS, Rule("", ("namespaces",), READ), *_SEEN_TYPES),
    "browse": (_EVENTS, _SEEN_TYPES[0]),
}
"""What `crossplane-admin`, `-edit`, `-view` and `-browse` may do with what is there from the start: in Crossplane
v1.20's chart (rbac-manager-managed-clusterroles.yaml) and, for ProviderConfigs, in a provider's role."""
