"""A ProviderConfig's account: which cluster it means, and how one logs in there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from groundplane.core.objects import Object, key_of, meta, spec_of
from groundplane.core.providers import CONFIG
from groundplane.errors import InvalidInput, shown
from groundplane.objects.kinds import NAMESPACED_DOMAIN
from groundplane.ports import Account

HERE, SECRET = "InjectedIdentity", "Secret"
OF_AWS = "AWSWebIdentityCredentials"  # of identities the one that is understood


@dataclass(frozen=True)
class Place:
    """A cluster.  Never printed: it holds a kubeconfig."""

    is_here: bool
    kubeconfig: bytes = field(default=b"", repr=False)
    by_aws: bool = False  # the operator's identity in AWS logs in there: a cluster of EKS


def place_of(account: Account) -> Place:
    """The cluster that a ProviderConfig means.

    Raises:
        InvalidInput: it asks for a way to log in that there is not.
    """
    spec, where = spec_of(account.provider_config), named(account.provider_config)
    source = (spec.get("credentials") or {}).get("source")
    identity = spec.get("identity")
    if identity:
        _check_identity(account, identity, where)
    if source == HERE and not identity:
        return Place(is_here=True)
    if source != SECRET:
        if identity:
            text, mend = f"{source} is no cluster of EKS", f"use {SECRET}, with the kubeconfig that AWS's tool writes"
        else:
            text, mend = f"{source} names no cluster", f"use {HERE} for this cluster, or {SECRET} with a kubeconfig"
        raise InvalidInput(
            text,
            mend=mend,
            where=(where, "spec.credentials.source"),
        )
    return Place(is_here=False, kubeconfig=next(iter(account.credentials.values()), b""), by_aws=bool(identity))


def _check_identity(account: Account, identity: Mapping[str, Any], where: str) -> None:
    """Raise InvalidInput for one that is not understood, or that is not a namespace's to use."""
    if identity.get("type") != OF_AWS:
        raise InvalidInput(
            f"{identity.get('type')} is not understood",
            mend="leave spec.identity out, and put a ServiceAccount's token into the kubeconfig",
            where=(where, "spec.identity.type"),
        )
    if identity.get("source") != HERE:
        raise InvalidInput(
            f"{OF_AWS} is for source {HERE} alone, and not for {shown(identity.get('source'))}",
            mend=f"write {HERE}: the operator's own identity in AWS",
            where=(where, "spec.identity.source"),
        )
    if is_of_tenant(account):
        raise InvalidInput(
            f"{OF_AWS} is the operator's own identity in AWS, which is not for a namespace to use",
            mend="put a ServiceAccount's token into the kubeconfig, or use a ClusterProviderConfig",
            where=(where, "spec.identity.type"),
        )


def named(config: Object) -> str:
    return f'{config["kind"]} "{meta(config)["name"]}"'


def is_of_tenant(account: Account) -> bool:
    """Whether the account is one that somebody has made in a namespace, who need not have any right elsewhere."""
    key = key_of(account.provider_config)
    return key.group == NAMESPACED_DOMAIN and key.kind == CONFIG
