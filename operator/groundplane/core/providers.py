"""The providers that are built in: which API groups are whose, and the kinds that say how each logs in.

A table alone, since those who follow, own, grant rights to and print kinds need no more of a provider; what acts for one is in its package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from groundplane.core.objects import group_of

CONFIG, CLUSTER_CONFIG, USAGE = "ProviderConfig", "ClusterProviderConfig", "ProviderConfigUsage"
CONFIG_PLURALS = {CONFIG: "providerconfigs", CLUSTER_CONFIG: "clusterproviderconfigs", USAGE: "providerconfigusages"}

COLLECTION = "ObservedObjectCollection"


@dataclass(frozen=True)
class Family:
    """One provider's kinds of one generation."""

    provider: str  # the package that acts for it: "aws"
    title: str  # what its things are in, in short: "AWS"
    domain: str  # the API group of its ProviderConfigs, and what those of its managed kinds are or end with
    version: str = ""  # of its ProviderConfigs; "": it has none, since it logs in nowhere
    is_namespaced: bool = False  # the generation whose managed resources live in namespaces
    has_services: bool = False  # the groups of managed kinds begin with a service: "rds.aws.upbound.io"
    is_mixed: bool = False  # kinds that live in namespaces and kinds that do not
    source: str = ""  # of credentials that are a whole Secret, named in connectionSecretRef

    @property
    def api_version(self) -> str:
        return f"{self.domain}/{self.version}"

    @property
    def config_kinds(self) -> tuple[str, ...]:
        if not self.version:
            return ()
        return (CONFIG, CLUSTER_CONFIG) if self.is_namespaced else (CONFIG,)


FAMILIES = (
    Family("aws", "AWS", "aws.upbound.io", "v1beta1", has_services=True),
    Family("aws", "AWS", "aws.m.upbound.io", "v1beta1", is_namespaced=True, has_services=True),
    Family(
        "sql",
        "PostgreSQL",
        "postgresql.sql.crossplane.io",
        "v1alpha1",
        source="PostgreSQLConnectionSecret",
    ),
    Family(
        "sql",
        "PostgreSQL",
        "postgresql.sql.m.crossplane.io",
        "v1alpha1",
        is_namespaced=True,
        source="PostgreSQLConnectionSecret",
    ),
    Family("objects", "Kubernetes", "kubernetes.crossplane.io", "v1alpha1"),
    Family("objects", "Kubernetes", "kubernetes.m.crossplane.io", "v1alpha1", is_namespaced=True),
    Family("nop", "nothing", "nop.crossplane.io", is_mixed=True),
)
_BY_DOMAIN = {family.domain: family for family in FAMILIES}


def of(group: str) -> Family | None:
    """Whose an API group is; None: no provider's.

    >>> of("rds.aws.m.upbound.io").domain, of("aws.upbound.io").provider, of("example.org")
    ('aws.m.upbound.io', 'aws', None)
    """
    if family := _BY_DOMAIN.get(group):
        return family
    family = _BY_DOMAIN.get(group.partition(".")[2])
    return family if family and family.has_services else None


def name_of(api_version: str) -> str:
    """The provider whose kinds are of an API version; "" if it is none's.

    >>> name_of("rds.aws.m.upbound.io/v1beta1"), name_of("apps/v1")
    ('aws', '')
    """
    family = of(group_of(api_version))
    return family.provider if family else ""


def mend_of_no_namespace(group: str, kind: str) -> str:
    """What to write instead of an object that lives in a namespace and names none, as a Composition of the first generation makes it.

    >>> mend_of_no_namespace("s3.aws.m.upbound.io", "Bucket"), mend_of_no_namespace("", "Secret")
    ('compose Bucket of s3.aws.upbound.io, which lives in none, or set metadata.namespace', 'set metadata.namespace')
    """
    family = of(group)
    if family and family.is_mixed:
        return f"compose Cluster{kind}, which lives in none, set --nop-scope cluster, or set metadata.namespace"
    if family and family.is_namespaced:
        other = group.replace(family.domain, family.domain.replace(".m.", ".", 1))
        return f"compose {kind} of {other}, which lives in none, or set metadata.namespace"
    return "set metadata.namespace"


def mend_of_cluster_scope(group: str, kind: str) -> str:
    """What to write instead of an object that lives in no namespace, where a composite in a namespace composes it.

    >>> mend_of_cluster_scope("s3.aws.upbound.io", "Bucket")
    'compose Bucket of s3.aws.m.upbound.io, which lives in a namespace, or declare the composite with scope: Cluster'
    >>> mend_of_cluster_scope("example.org", "Thing")
    'compose a namespaced kind, or declare the composite with scope: Cluster'
    """
    family, instead = of(group), "a namespaced kind"
    if family and family.is_mixed:
        instead = kind.removeprefix("Cluster") if kind.startswith("Cluster") else "with --nop-scope namespaced"
    elif family and family.is_namespaced:
        instead = f"{kind.removeprefix('Cluster')} of {group}"
    elif family:
        other = next(each for each in FAMILIES if each.provider == family.provider and each.is_namespaced)
        instead = f"{kind} of {group.removesuffix(family.domain)}{other.domain}, which lives in a namespace"
    return f"compose {instead}, or declare the composite with scope: Cluster"


def configs() -> Iterator[tuple[str, str]]:
    """The kinds of ProviderConfigs, as (api version, kind)."""
    for family in FAMILIES:
        for kind in family.config_kinds:
            yield family.api_version, kind


def usages() -> Iterator[tuple[str, str]]:
    """The kinds of ProviderConfigUsages, as (api version, kind)."""
    return ((family.api_version, USAGE) for family in FAMILIES if family.version)


def collections() -> Iterator[tuple[str, str]]:
    """The kinds that collect what is in a cluster, as (api version, kind)."""
    return ((family.api_version, COLLECTION) for family in FAMILIES if family.provider == "objects")


def is_managed(definition: str) -> bool:
    """Whether a definition of that name is one of managed resources.

    >>> [is_managed(f"{name}.aws.upbound.io") for name in ("instances.rds", "providerconfigs")], is_managed("things.example.org")
    ([True, False], False)
    """
    plural, _, group = definition.partition(".")
    family = of(group)
    return family is not None and plural not in CONFIG_PLURALS.values()
