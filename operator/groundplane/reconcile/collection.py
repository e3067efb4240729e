"""ObservedObjectCollection: each object that it selects is observed by an Object of its own.

Source: crossplane-contrib/provider-kubernetes 350ef9a, internal/controller/*/observedobjectcollection.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from groundplane.core import conditions, requests
from groundplane.core.objects import Key, Object, is_deleting, is_paused, key_of, meta, owner_reference, spec_of
from groundplane.errors import GroundplaneError, InvalidInput, stage
from groundplane.ports import Context, Result
from groundplane.reconcile import provider_config, silence

OBJECT = "Object"
LABEL = "kubernetes.crossplane.io/owned-by-collection"
MANAGER = "kubernetes.crossplane.io/observed-object-collection-controller"


def source(key: Key, context: Context) -> str:
    """The component that events on this kind come from."""
    return f"collection/{key.kind.lower()}.{key.group}"


async def reconcile(key: Key, context: Context) -> Result:
    """Bring the Objects of a collection in line with what there is to observe."""
    kind = context.cloud.kind(key.api_version, OBJECT)
    collection = await context.cluster.get(key)
    if collection is None or is_deleting(collection):
        return Result()  # its Objects go with it: it owns them
    if kind is None or context.collected is None:
        return Result()  # Objects are somebody else's, and so are collections of them
    if is_paused(collection):
        await _tell(collection, context, [conditions.reconcile_paused()])
        return Result()
    silence.of_spec(collection, "PollInterval", requests.unread_interval(collection), context, source(key, context))
    with stage("CannotConnectToProvider", "connect failed"):
        account = await provider_config.connect(collection, context)
    try:
        with stage("CannotObserveExternalResource", "observe failed"):
            found = await context.collected.collected(collection, account)
        await _bring(collection, found, kind.api_versions[0], context)
    except GroundplaneError as error:
        error.conditions = (conditions.unavailable(),)
        raise
    await _tell(collection, context, [conditions.reconcile_success(), conditions.available()])
    return Result(requeue_after=requests.interval(collection) or context.options.poll_interval)


async def _bring(collection: Object, found: Sequence[Object], api_version: str, context: Context) -> None:
    key = key_of(collection)
    names = member_names(key.name, [key_of(obj) for obj in found])
    wanted = {name: _member(collection, observed, name, api_version) for observed, name in names.items()}
    there = await context.cluster.list(
        api_version, OBJECT, namespace=key.namespace, labels={LABEL: key.name}, controller=meta(collection)["uid"]
    )
    known = {meta(each)["name"] for each in there}
    for member in wanted.values():
        if meta(member)["name"] not in known and await context.cluster.get(key_of(member), live=True):
            raise InvalidInput(
                f"{key_of(member)} is there, and is none of this collection's",
                mend="delete it, or give the collection another name",
            )
        await context.cluster.apply(member, manager=MANAGER)
    for member in there:
        if meta(member)["name"] not in wanted and not is_deleting(member):
            await context.cluster.delete(key_of(member), uid=meta(member)["uid"])


def _member(collection: Object, observed: Key, name: str, api_version: str) -> Object:
    """The Object that observes one of the objects."""
    key, spec = key_of(collection), spec_of(collection)
    template: Mapping[str, Any] = (spec.get("objectTemplate") or {}).get("metadata") or {}
    metadata = {
        "name": name,
        "labels": {**(template.get("labels") or {}), LABEL: key.name},
        "ownerReferences": [owner_reference(collection)],
    }
    if template.get("annotations"):
        metadata["annotations"] = dict(template["annotations"])
    if key.namespace:
        metadata["namespace"] = key.namespace
    named = {"name": observed.name} | ({"namespace": observed.namespace} if observed.namespace else {})
    manifest = {"apiVersion": observed.api_version, "kind": observed.kind, "metadata": named}
    reference = {n: value for n, value in (spec.get("providerConfigRef") or {}).items() if n in ("kind", "name")}
    return {
        "apiVersion": api_version,
        "kind": OBJECT,
        "metadata": metadata,
        "spec": {
            "managementPolicies": ["Observe"],
            "forProvider": {"manifest": manifest},
            **({"providerConfigRef": reference} if reference else {}),
        },
    }


def member_names(collection: str, observed: Iterable[Key]) -> dict[Key, str]:
    """The names of the Objects that observe these: upstream's, but of two that it calls the same the second has a longer one.

    >>> pod, settings = Key("v1", "Pod", "shop", "web"), [Key("v1", "ConfigMap", "shop", name) for name in ("c4089", "c15730")]
    >>> list(member_names("all", [pod, *settings]).values())
    ['all-4adba5d', 'all-4adba5d6160cea96', 'all-7d0fe8f']
    """
    found: dict[Key, str] = {}
    taken: set[str] = set()
    for key in sorted(observed):
        group, _, version = key.api_version.rpartition("/")
        told = f"{group}/{version}, Kind={key.kind}/{key.namespace}/{key.name}"
        digest = hashlib.sha256(told.encode()).hexdigest()
        found[key] = next(name for size in (7, 16) if (name := f"{collection}-{digest[:size]}") not in taken)
        taken.add(found[key])
    return found


async def _tell(collection: Object, context: Context, told: list[conditions.Condition]) -> None:
    wanted = copy.deepcopy(collection)
    generation = meta(collection).get("generation")
    wanted.setdefault("status", {})["membershipLabel"] = {LABEL: meta(collection)["name"]}
    context.tell(wanted, *told, outlook=None, generation=generation)
    await context.cluster.update(wanted, subresource="status")
