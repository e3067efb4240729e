"""The examples of all AWS kinds as one set of manifests that stands by itself: what an example refers to is there, under that name and with these labels.

In either generation: what upstream's documentation has (references, selectors, a ProviderConfig, Secrets in the same file, annotations of its tests).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from groundplane.aws import catalogue
from groundplane.aws.grammar import Kind
from groundplane.core.objects import Object
from tests.chart import aws_pages

NAMESPACE = "my-team"
INI = "[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
NAMES = {  # of the examples themselves, by service and kind; all others are called orders
    "ec2/EIP": "main",
    "ec2/InternetGateway": "main",
    "ec2/RouteTable": "main",
    "ec2/VPC": "main",
    "ec2/Subnet": "a",
    "ec2/SecurityGroup": "database",
    "elasticache/SubnetGroup": "caches",
    "rds/ClusterInstance": "orders-1",
}
CHANGES: dict[str, dict[str, Any]] = {  # where two examples would make the same thing
    "ec2/SecurityGroupRule": {"fromPort": 6379, "toPort": 6379},
}
LABELS = {"ec2/Subnet": {"tier": "data"}, "ec2/SecurityGroup": {"type": "database"}}
MORE: tuple[tuple[str, str, dict[str, Any]], ...] = (  # others that examples refer to: kind, name, what is otherwise
    ("ec2/Subnet", "b", {"availabilityZone": "eu-west-1b", "cidrBlock": "10.0.2.0/24"}),
    ("ec2/Subnet", "public-a", {"availabilityZone": "eu-west-1a", "cidrBlock": "10.0.3.0/24"}),
    ("ec2/SecurityGroup", "orders", {}),
    ("iam/Policy", "read-only-access", {}),
)
UNLABELLED = {"public-a", "orders", "read-only-access"}
EXTERNAL = {"read-only-access": "ReadOnlyAccess"}


def kinds(generation: int) -> list[Kind]:
    """All kinds, of the cluster-scoped generation (1) or of that in namespaces (2)."""
    return [kind if generation == 1 else kind.namespaced for kind in catalogue.first_generation()]


def name_of(kind: Kind) -> str:
    return f"{kind.group.partition('.')[0]}/{kind.kind}"


def manifests(generation: int) -> list[Object]:
    """Everything to apply, in no order that would help."""
    return [*accounts(generation), *reversed(list(managed(generation)))]


def accounts(generation: int) -> Iterator[Object]:
    """Namespace, Secrets and ProviderConfigs; the example Secret of a SecretVersion, too."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    where = NAMESPACE if generation == 2 else "crossplane-system"
    yield _secret("aws", where, credentials=INI)
    yield _secret("orders", where, password="correct-horse-battery")
    reference = {"source": "Secret", "secretRef": {"namespace": where, "name": "aws", "key": "credentials"}}
    version = "aws.m.upbound.io/v1beta1" if generation == 2 else "aws.upbound.io/v1beta1"
    for kind in ("ClusterProviderConfig", "ProviderConfig") if generation == 2 else ("ProviderConfig",):
        metadata = {"name": "default"} | (
            {"namespace": NAMESPACE} if (generation, kind) == (2, "ProviderConfig") else {}
        )
        yield {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {"credentials": reference}}


def _secret(name: str, namespace: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "stringData": data,
    }


def managed(generation: int) -> Iterator[Object]:
    """The managed resources: each kind's example, and what examples refer to beside it."""
    by_name = {name_of(kind): kind for kind in kinds(generation)}
    for name, kind in by_name.items():
        yield _named(kind, NAMES.get(name, "orders"), CHANGES.get(name, {}))
    for name, own, changes in MORE:
        yield _named(by_name[name], own, changes)


def _named(kind: Kind, name: str, changes: dict[str, Any]) -> Object:
    made: Object = copy.deepcopy(aws_pages.example(kind))
    made["metadata"]["name"] = name
    made["metadata"]["annotations"] = {
        "meta.upbound.io/example-id": f"{kind.group.partition('.')[0]}/{kind.versions[0]}/{kind.kind.lower()}",
        "uptest.upbound.io/timeout": "3600",
    }
    if name in EXTERNAL:
        made["metadata"]["annotations"]["crossplane.io/external-name"] = EXTERNAL[name]
    made["metadata"]["labels"] = {"testing.upbound.io/example-name": name}
    if name not in UNLABELLED:
        made["metadata"]["labels"] |= LABELS.get(name_of(kind), {})
    if kind.is_namespaced:
        made["metadata"]["namespace"] = NAMESPACE
        if kind.service == "ec2":
            made["spec"]["providerConfigRef"] = {"kind": "ProviderConfig", "name": "default"}
    made["spec"]["forProvider"] |= changes
    return made
