"""A ProviderConfig's account: which cluster it means, and how one logs in there."""

from __future__ import annotations

from dataclasses import dataclass, field

from groundplane.core.objects import Object, key_of, meta, spec_of
from groundplane.core.providers import CONFIG
from groundplane.errors import InvalidInput
from groundplane.objects.kinds import NAMESPACED_DOMAIN
from groundplane.ports import Account

HERE, SECRET = "InjectedIdentity", "Secret"


@dataclass(frozen=True)
class Place:
    """A cluster.  Never printed: it holds a kubeconfig."""

    is_here: bool
    kubeconfig: bytes = field(default=b"", repr=False)


def place_of(account: Account) -> Place:
    """The cluster that a ProviderConfig means.

    Raises:
        InvalidInput: it asks for a way to log in that there is not.
    """
    spec, where = spec_of(account.provider_config), named(account.provider_config)
    source = (spec.get("credentials") or {}).get("source")
    if identity := spec.get("identity"):
        raise InvalidInput(
            f"{identity.get('type')} is not understood",
            mend="leave spec.identity out, and put a ServiceAccount's token into the kubeconfig",
            where=(where, "spec.identity.type"),
        )
    if source == HERE:
        return Place(is_here=True)
    if source != SECRET:
        raise InvalidInput(
            f"{source} names no cluster",
            mend=f"use {HERE} for this cluster, or {SECRET} with a kubeconfig",
            where=(where, "spec.credentials.source"),
        )
    return Place(is_here=False, kubeconfig=next(iter(account.credentials.values()), b""))


def named(config: Object) -> str:
    return f'{config["kind"]} "{meta(config)["name"]}"'


def is_of_tenant(account: Account) -> bool:
    """Whether the account is one that somebody has made in a namespace, who need not have any right elsewhere."""
    key = key_of(account.provider_config)
    return key.group == NAMESPACED_DOMAIN and key.kind == CONFIG
