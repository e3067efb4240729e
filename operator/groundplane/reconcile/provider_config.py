"""ProviderConfig: whose account a managed resource uses, who uses it, and when it may go.

Source: crossplane-runtime v1.20, pkg/reconciler/providerconfig and pkg/resource `ProviderConfigUsageTracker`.
"""

from __future__ import annotations

import copy
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from groundplane.core import conditions, health, providers
from groundplane.core.conditions import Condition
from groundplane.core.managed import FINALIZER as MANAGED
from groundplane.core.objects import (
    Key,
    Object,
    controller_of,
    has_finalizer,
    is_deleting,
    key_of,
    labels_of,
    meta,
    owner_reference,
    spec_of,
)
from groundplane.errors import (
    AlreadyExists,
    Awaited,
    GroundplaneError,
    InvalidInput,
    NoSuchKind,
    Throttled,
    Waiting,
    counted,
    shown,
    stage,
)
from groundplane.ports import Account, Context, Result
from groundplane.reconcile import connection, leaving, silence

KIND, CLUSTER, USAGE = providers.CONFIG, providers.CLUSTER_CONFIG, providers.USAGE
FINALIZER = "in-use.crossplane.io"
LABEL = "crossplane.io/provider-config"
OF_KIND = "crossplane.io/provider-config-kind"
OF_UID = "groundplane.io/provider-config-uid"  # in namespaces, where a name alone says too little
OF_OPERATOR = ("Environment", "Filesystem")  # sources of credentials that only who runs the operator may name
_SALT = secrets.token_bytes(32)
RECOUNT = 30.0  # seconds until usages that block a deletion are counted again


def source(key: Key, context: Context) -> str:
    """The component that events on these kinds come from."""
    return f"providerconfig/{key.kind.lower()}.{key.group}"


async def connect(managed: Object, context: Context) -> Account:
    """The account of a managed resource: its ProviderConfig with credentials; its use is recorded, unless it leaves.

    Where a namespace goes, nothing new can be written: what leaves is a user all the same, see `_users`.

    Raises:
        Waiting: the ProviderConfig, its Secret or the key in it is not there.
    """
    if not _family(managed).version:
        return Account({}, lane=context.lane)
    config = await find(managed, context)
    if not is_deleting(managed):
        await _track(managed, config, context)
    account = await account_of(config, context, leaving=is_deleting(managed))
    context.accounts.uses(key_of(managed), key_of(config), account.version)
    return account


async def find(managed: Object, context: Context) -> Object:
    """The ProviderConfig of a managed resource, {} of one that needs none.  Raises Waiting if it is not there."""
    if not _family(managed).version:
        return {}
    key = referenced(managed)
    config = await context.cluster.get(key)
    if config is None:
        where = f" in namespace {key.namespace}" if key.namespace else ""
        raise Waiting(
            f'cannot get referenced {key.kind}: "{key.name}" not found{where}',
            mend=f'apply a {key.kind}.{key.group} named "{key.name}"{where}, or correct spec.providerConfigRef',
            on=[Awaited(key.group, key.kind, key.namespace, key.name)],
        )
    return config


def referenced(managed: Object) -> Key:
    """Which ProviderConfig a managed resource names.

    >>> managed = {"apiVersion": "s3.aws.m.upbound.io/v1beta1", "kind": "Bucket", "metadata": {"name": "a", "namespace": "shop"}}
    >>> referenced(managed).kind, referenced(managed | {"spec": {"providerConfigRef": {"kind": "ProviderConfig"}}}).namespace
    ('ClusterProviderConfig', 'shop')
    """
    reference = spec_of(managed).get("providerConfigRef") or {}
    name = reference.get("name") or "default"
    family = _family(managed)
    if not family.is_namespaced:
        return Key(family.api_version, KIND, "", name)
    kind = reference.get("kind") or CLUSTER
    if kind not in (KIND, CLUSTER):
        raise InvalidInput(
            f"{shown(kind)} is no kind of ProviderConfig",
            mend=f"use {CLUSTER}, or {KIND} for one in the same namespace",
            where=("spec.providerConfigRef.kind",),
        )
    return Key(family.api_version, kind, meta(managed)["namespace"] if kind == KIND else "", name)


def _family(obj: Object) -> providers.Family:
    """Whose kinds a managed resource, or a ProviderConfig, is one of."""
    found = providers.of(key_of(obj).group)
    assert found is not None, "only kinds of providers have accounts"
    return found


async def account_of(config: Object, context: Context, *, leaving: bool = False) -> Account:
    """A ProviderConfig with its credentials.

    Raises:
        Waiting: they are not there.
        Throttled: they have changed too often lately; each change costs new connections, and a look at all that uses them.
    """
    account = await _account_of(config, context, leaving=leaving)
    key = key_of(config)
    if pause := context.accounts.pause(key, account.version, context.uptime()):
        raise Throttled(
            f'{key.kind} "{key.name}": it or its credentials change again and again, and are followed every ten seconds',
            after=pause,
            mend="find out who writes them, and have it write what is new alone",
        )
    return account


async def _account_of(config: Object, context: Context, *, leaving: bool) -> Account:
    """With a namespace its Secrets go at once, before what needs them to leave: for that it is known what they held."""
    key, name = key_of(config), meta(config)["name"]
    credentials = spec_of(config).get("credentials") or {}
    version = f"{meta(config)['uid']}/{meta(config).get('generation')}"
    awaited = Awaited(key.group, key.kind, key.namespace, name)
    token = (credentials.get("webIdentity") or {}).get("tokenConfig") or {}
    origins = [each.get("source") for each in (credentials, token)]
    if key.namespace and (read := [origin for origin in origins if origin in OF_OPERATOR]):
        error = InvalidInput(
            f'{key.kind} "{name}": source {read[0]} reads what the operator has, which is not for a namespace to say',
            mend="use source Secret, or a ClusterProviderConfig",
        )
        error.on = (awaited,)
        raise error
    whole = _family(config).source
    of_token = "webIdentity.tokenConfig." if credentials.get("source") == "WebIdentity" else ""
    field = f"spec.credentials.{'connectionSecretRef' if whole else f'{of_token}secretRef'}"
    reference = credentials.get("connectionSecretRef") or {} if whole else _secret_reference(credentials)
    if reference is None:
        context.accounts.reads(key, None)
        return Account(config, version=version, lane=context.lane)
    if not reference.get("name"):
        raise Waiting(
            f'{key.kind} "{name}": {field} is not set',
            mend=f"set its {_parts_of_reference(key, is_whole=bool(whole))}",
            on=[awaited],
        )
    namespace = key.namespace or reference.get("namespace") or context.options.namespace
    place = Key("v1", "Secret", namespace, reference["name"])
    context.accounts.reads(key, place)
    await context.watches.ensure([(place.api_version, place.kind)])
    secret, goes = await context.cluster.referenced(place), leaving and is_deleting(config)
    data = connection.data_of(secret) if secret else context.accounts.kept(key) if goes else {}
    if not (secret or data):
        by_hand = f"delete what it stands for yourself, and take its finalizer {MANAGED} off"
        raise Waiting(
            f'{key.kind} "{name}": cannot get credentials: {place} not found',
            mend=f"create it, or correct {field}" + (f"; if its namespace goes, {by_hand}" if goes else ""),
            on=[awaited, Awaited("", "Secret", place.namespace, place.name)],
        )
    if whole:
        text = repr(sorted(data.items())).encode()
        _keep(key, data, context)
        return Account(config, data, f"{version}/{_digest(text)}", context.lane)
    value = data.get(reference.get("key") or "")
    if value is None:
        raise Waiting(
            f'{key.kind} "{name}": {place} has no key "{reference.get("key")}"',
            mend=f"store the credentials under it, or correct {field}.key",
            on=[awaited, Awaited("", "Secret", place.namespace, place.name)],
        )
    _keep(key, {reference["key"]: value}, context)
    return Account(config, {reference["key"]: value}, f"{version}/{_digest(value)}", context.lane)


def _parts_of_reference(config: Key, *, is_whole: bool) -> str:
    """What says which Secret is meant, in a namespace one of its own, and where in it the credentials are."""
    place = "name" if config.namespace else "namespace and name" if is_whole else "namespace, name"
    return place if is_whole else f"{place} and key"


def _keep(config: Key, credentials: Mapping[str, bytes], context: Context) -> None:
    if config.namespace:
        context.accounts.keep(config, credentials)


def _digest(value: bytes) -> str:
    """What changes when the credentials do: a change of labels is no rotation."""
    return hashlib.blake2b(value, key=_SALT, digest_size=16).hexdigest()


def _secret_reference(credentials: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Which Secret the credentials, or the token to get them with, are in; None: they come from elsewhere."""
    if credentials.get("source") == "WebIdentity":
        credentials = (credentials.get("webIdentity") or {}).get("tokenConfig") or {}
    return credentials.get("secretRef") or {} if credentials.get("source") == "Secret" else None


async def _track(managed: Object, config: Object, context: Context) -> None:
    """Record that the managed resource uses the ProviderConfig; once, unless it changes."""
    key, used = key_of(managed), key_of(config)
    name, value = _counted_by(config)
    labels, reference = {LABEL: used.name, name: value}, {"name": used.name}
    if key.namespace:
        labels[OF_KIND] = reference["kind"] = used.kind
    usage = {
        "apiVersion": used.api_version,
        "kind": USAGE,
        "metadata": {
            "name": meta(managed)["uid"],
            "labels": labels,
            "ownerReferences": [owner_reference(managed)],
        }
        | ({"namespace": key.namespace} if key.namespace else {}),
        "providerConfigRef": reference,
        "resourceRef": {"apiVersion": key.api_version, "kind": key.kind, "name": key.name},
    }
    found = await context.cluster.get(key_of(usage))
    if found is None:
        try:
            await context.cluster.create(usage)
        except AlreadyExists:
            return  # our own, not yet seen
    elif labels_of(found).get(name) != value:
        before = used_by(found)
        found["metadata"]["labels"] = {**labels_of(found), **labels}
        found["providerConfigRef"] = reference
        await context.cluster.update(found)
        if before and before != used:
            context.watches.enqueue(before)  # it has one user less


def used_by(usage: Object) -> Key | None:
    """The ProviderConfig that a ProviderConfigUsage speaks of; None if it says none."""
    reference, key = usage.get("providerConfigRef") or {}, key_of(usage)
    if not reference.get("name"):
        return None
    kind = str(reference.get("kind") or KIND)
    return Key(key.api_version, kind, key.namespace if kind == KIND else "", reference["name"])


def _counted_by(config: Object) -> tuple[str, str]:
    """The label that the usages of a ProviderConfig have, and no others'."""
    if not _family(config).is_namespaced:
        return LABEL, meta(config)["name"]
    return OF_UID, meta(config)["uid"]


async def reconcile(key: Key, context: Context) -> Result:
    """Count who uses a ProviderConfig; hold it while anybody does; say on it what is wrong with it; tell its users of new credentials.

    Or take a ProviderConfigUsage away that is nobody's, so that all that are left count.
    """
    config = await context.cluster.get(key)
    if config is None:
        return Result()
    if key.kind == USAGE:
        if controller_of(config) is None:
            await context.cluster.delete(key, uid=meta(config)["uid"])
        return Result()
    users = await _users(config, context)
    if is_deleting(config):
        return await _terminate(config, users, context)
    if not has_finalizer(config, FINALIZER):
        config["metadata"].setdefault("finalizers", []).append(FINALIZER)
        config = await context.cluster.update(config)
    silence.of_spec(config, "InvalidProviderConfig", _ineffective(config), context, source(key, context))
    strict, told = context.options.strict_upstream, [conditions.available()]
    if conditions.find(config, "Synced") is not None:
        told.append(conditions.reconcile_success())
    try:
        with stage("InvalidProviderConfig"):
            account = await _wake_users(config, context, quietly=strict)
            if account and not strict:
                await context.cloud.check_account(account)
    except GroundplaneError:
        await _count(
            config, users, [conditions.unavailable()], context
        )  # Argo CD takes one that only counts for healthy
        raise
    return await _count(config, users, [] if strict else told, context)


def _ineffective(config: Object) -> str:
    """What a ProviderConfig says of its credentials that nobody reads, as upstream reads none of it."""
    credentials = spec_of(config).get("credentials") or {}
    given = (credentials.get("upbound") or {}).get("webIdentity") or {}
    if credentials.get("source") != "Upbound" or not given.get("tokenConfig"):
        return ""
    return (
        "spec.credentials.upbound.webIdentity.tokenConfig has no effect: with source Upbound the token is what Upbound "
        "puts into the operator's own container. Mend: take it out, or use source WebIdentity with webIdentity.tokenConfig."
    )


async def _users(config: Object, context: Context) -> int:
    """How many use a ProviderConfig, by their usages.  Of one that leaves, where none is left, by the users themselves:
    with a namespace its usages go at once, and what they spoke of needs credentials until it is gone.
    """
    try:
        usages = await context.cluster.count(config["apiVersion"], USAGE, _counted_by(config))
    except NoSuchKind:
        usages = 0
    return usages or (await _bound(config, context) if is_deleting(config) else 0)


async def _bound(config: Object, context: Context) -> int:
    """How many managed resources that may stand for something in the cloud name a ProviderConfig."""
    family, key, found = _family(config), key_of(config), 0
    for kind in context.cloud.kinds():
        if providers.of(kind.group) != family:
            continue
        try:
            users = await context.cluster.list(kind.api_versions[0], kind.kind, namespace=key.namespace)
        except NoSuchKind:
            continue  # not active
        found += sum(has_finalizer(user, MANAGED) and _names(user, key) for user in users)
    return found


def _names(user: Object, config: Key) -> bool:
    try:
        return referenced(user)[1:] == config[1:]
    except InvalidInput:
        return False


async def _count(config: Object, users: int, told: list[Condition], context: Context) -> Result:
    """Write how many use it, and what is known of it, at once; where nothing but their number changes again and again, by and by."""
    wanted = copy.deepcopy(config)
    before = wanted.setdefault("status", {}).get("users")
    if told:
        outlook = health.outlook(config) if told[0].status == "False" else None
        context.tell(wanted, *told, outlook=outlook, generation=meta(config).get("generation"))
    only_number = users != before and before is not None and wanted["status"] == config.get("status")
    if only_number and (left := context.accounts.until_counted(key_of(config), context.uptime())):
        return Result(requeue_after=left)
    wanted["status"]["users"] = users
    await context.cluster.update(wanted, subresource="status")
    return Result()


async def _wake_users(config: Object, context: Context, *, quietly: bool) -> Account | None:
    """Have those reconciled that were last looked at with other credentials than the ProviderConfig has now."""
    try:
        account = await account_of(config, context)
    except GroundplaneError:
        if not quietly:
            raise
        return None
    if outdated := context.accounts.take_outdated(key_of(config), account.version):
        context.watches.wake(outdated)
    return account


async def _terminate(config: Object, users: int, context: Context) -> Result:
    if users == 0:
        await leaving.release(config, FINALIZER, context)
        return Result()
    those, group = "that one" if users == 1 else "them", key_of(config).group
    message = (
        f"cannot delete while {counted(users, 'managed resource uses', 'managed resources use')} it; delete {those} first,"
        f" or give {those} another ProviderConfig; {USAGE.lower()}s.{group} say which"
    )
    context.events.event(config, "Warning", "UsageAccounting", message, source=source(key_of(config), context))
    wanted = copy.deepcopy(config)
    wanted.setdefault("status", {})["users"] = users
    told = Condition("Terminating", "True", "InUse", message)
    conditions.set_on(wanted, told, now=context.now(), generation=meta(config).get("generation"))
    config = await context.cluster.update(wanted, subresource="status")
    await _wake_users(config, context, quietly=True)
    return Result(requeue_after=RECOUNT)
