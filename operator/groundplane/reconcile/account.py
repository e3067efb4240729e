"""Whose cloud a managed resource is in: its ProviderConfig, the record of its use, the credentials.

Source: crossplane-runtime v1.20, pkg/resource/providerconfig.go (`ProviderConfigUsageTracker`, `CommonCredentialExtractor`);
provider-upjet-aws 75a4c57, apis/v1beta1 `ProviderConfigSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core.objects import (
    Json,
    Key,
    Object,
    key_of,
    labels_of,
    meta,
    owner_reference,
    spec_of,
)
from groundplane.errors import InvalidInput, Waiting, at, did_you_mean, shown
from groundplane.ports import Account, Context
from groundplane.reconcile import connection

VERSION = "v1beta1"
CONFIG = "ProviderConfig"
CLUSTER_CONFIG = "ClusterProviderConfig"
USAGE = "ProviderConfigUsage"
LABEL = "crossplane.io/provider-config"
SOURCES = ("InjectedIdentity", "IRSA", "PodIdentity", "Secret", "WebIdentity", "Upbound", "Environment", "Filesystem",
           "None")  # fmt: skip
_REQUIRED = {  # source: what its block must say
    "Secret": ("secretRef.namespace", "secretRef.name", "secretRef.key"),
    "Environment": ("env.name",),
    "Filesystem": ("fs.path",),
    "WebIdentity": ("webIdentity.roleARN",),
    "Upbound": ("upbound.webIdentity.roleARN",),
}


async def connect(managed: Object, context: Context) -> Account:
    """The account of a managed resource; its use of the ProviderConfig is recorded first.

    Raises:
        Waiting: the ProviderConfig, or the Secret with its credentials, is not there yet.
        InvalidInput: its credentials block can't work.
    """
    key = _config_key(managed)
    config = await context.cluster.get(key)
    if config is None:
        raise Waiting(
            f'cannot get {key.kind} "{key.name}": not found',
            mend=f"create a {key.kind} of {key.api_version} named {key.name}, or name another in spec.providerConfigRef",
            on=[(key.group, key.kind)],
        )
    await _track(managed, key, context)
    with at(f"{key.kind} {key.name}"):
        reference = check(config)
        if reference is None:
            return Account(config, version=_version(config, ""))
        secret = await context.cluster.get(Key("v1", "Secret", reference["namespace"], reference["name"]))
        if secret is None:
            raise Waiting(
                f"cannot get credentials secret: Secret {reference['namespace']}/{reference['name']} does not exist",
                mend="create it, or correct secretRef",
                on=[("", "Secret")],
            )
    version = _version(config, f"{meta(secret).get('uid')}/{meta(secret).get('resourceVersion')}")
    return Account(config, connection.data_of(secret), version)


def _version(config: Object, secret: str) -> str:
    """Not the resourceVersion: that changes with each count of users."""
    return f"{meta(config).get('uid')}/{meta(config).get('generation')}/{secret}"


def _config_key(managed: Object) -> Key:
    own = key_of(managed)
    reference = spec_of(managed).get("providerConfigRef") or {}
    api_version = f"{own.group.partition('.')[2]}/{VERSION}"  # rds.aws.upbound.io → aws.upbound.io
    name = str(reference.get("name") or "default")
    if not own.namespace:
        return Key(api_version, CONFIG, "", name)
    kind = str(reference.get("kind") or CLUSTER_CONFIG)
    return Key(api_version, kind, own.namespace if kind == CONFIG else "", name)


async def _track(managed: Object, config: Key, context: Context) -> None:
    """Record that this managed resource uses the ProviderConfig, which keeps it from being deleted."""
    own = key_of(managed)
    key = Key(config.api_version, USAGE, own.namespace, meta(managed)["uid"])
    reference = {"name": config.name}
    labels = {LABEL: config.name}
    if own.namespace:
        reference["kind"] = labels[f"{LABEL}-kind"] = config.kind
    wanted: dict[str, Any] = {
        "providerConfigRef": reference,
        "resourceRef": {
            "apiVersion": own.api_version,
            "kind": own.kind,
            "name": own.name,
            "uid": meta(managed)["uid"],
        },
    }
    usage = await context.cluster.get(key)
    if usage is None:
        metadata: dict[str, Any] = {
            "name": key.name,
            "labels": labels,
            "ownerReferences": [owner_reference(managed)],
        }
        if key.namespace:
            metadata["namespace"] = key.namespace
        await context.cluster.create({"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata, **wanted})
        return
    if labels.items() <= labels_of(usage).items() and all(usage.get(name) == value for name, value in wanted.items()):
        return
    usage["metadata"]["labels"] = labels_of(usage) | labels
    await context.cluster.update(usage | wanted)


def check(config: Object) -> Mapping[str, str] | None:
    """The Secret that a ProviderConfig's credentials come from, {namespace, name, key}; None if from elsewhere.

    Raises:
        InvalidInput: the credentials block is malformed.
    """
    credentials = spec_of(config).get("credentials") or {}
    source = credentials.get("source")
    if source not in SOURCES:
        raise InvalidInput(
            f"unknown source of credentials: {shown(source)}" if source else "names no source of credentials",
            mend=did_you_mean(str(source), SOURCES) if source else f"use one of: {', '.join(SOURCES)}",
            where=("spec.credentials.source",),
        )
    for path in _REQUIRED.get(source, ()):
        if not _at(credentials, path):
            raise InvalidInput(
                f"is missing, and source {source} needs it", mend="set it", where=(f"spec.credentials.{path}",)
            )
    if source == "Secret":
        found: Mapping[str, str] = credentials["secretRef"]
        return found
    token = _at(credentials, "webIdentity.tokenConfig") if source == "WebIdentity" else None
    if not token or token.get("source") != "Secret":
        return None
    found = token.get("secretRef") or {}
    for name in ("namespace", "name", "key"):
        if not found.get(name):
            where = f"spec.credentials.webIdentity.tokenConfig.secretRef.{name}"
            raise InvalidInput("is missing, and source Secret needs it", mend="set it", where=(where,))
    return found


def _at(value: Json, path: str) -> Json:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
