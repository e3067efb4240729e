"""Composition → CompositionRevision: the immutable snapshots that composites pin.

Source: Crossplane v1.20, internal/controller/apiextensions/composition/reconciler.go.
"""

from __future__ import annotations

import copy

from groundplane.core import composition, conditions
from groundplane.core.conditions import Condition
from groundplane.core.objects import (
    Key,
    Object,
    controller_of,
    group_of,
    is_deleting,
    key_of,
    labels_of,
    meta,
    owner_reference,
    spec_of,
)
from groundplane.errors import AlreadyExists, Conflict, InvalidInput, NoSuchKind, stage
from groundplane.ports import Context, Result
from groundplane.reconcile.compiling import compiled

SOURCE = "revisions/composition.apiextensions.crossplane.io"
API_VERSION = "apiextensions.crossplane.io/v1"
NAME_LABEL = "crossplane.io/composition-name"
HASH_LABEL = "crossplane.io/composition-hash"


async def reconcile(key: Key, context: Context) -> Result:
    """Snapshot one Composition; then say on it whether it can be rendered at all."""
    found = await context.cluster.get(key)
    if found is None or is_deleting(found):
        return Result()
    with stage("CreateRevision", "cannot create new CompositionRevision"):
        revision = await _snapshot(found, context)
    await _check(found, revision, context)
    return Result()


async def _snapshot(found: Object, context: Context) -> Object:
    """The revision for the Composition's content as it is: found again, brought to the front, or made."""
    name, uid = meta(found)["name"], meta(found)["uid"]
    revisions = await context.cluster.list(API_VERSION, "CompositionRevision", labels={NAME_LABEL: name})
    digest = composition.content_hash(found)
    latest, same = 0, None
    for revision in revisions:
        revision = await _adopted(revision, found, context)
        if (controller_of(revision) or {}).get("uid") != uid:
            continue
        number = int(spec_of(revision).get("revision") or 0)
        latest = max(latest, number)
        if labels_of(revision).get(HASH_LABEL) == digest[:63]:
            same = revision
    if same is None:
        made = composition.revision_for(found, latest + 1)
        try:
            made = await context.cluster.create(made)
        except AlreadyExists as error:
            raise Conflict(f"CompositionRevision {meta(made)['name']} appeared meanwhile") from error
        context.events.event(found, "Normal", "CreateRevision", "Created new revision", source=SOURCE)
        return made
    if int(spec_of(same).get("revision") or 0) == latest:
        return same
    wanted = copy.deepcopy(same)
    wanted["spec"]["revision"] = latest + 1
    updated = await context.cluster.update(wanted)
    context.events.event(found, "Normal", "UpdateRevision", "Updated revision", source=SOURCE)
    return updated


async def _adopted(revision: Object, owner: Object, context: Context) -> Object:
    """Give a revision that lost its controller (restored from a backup) back to its Composition."""
    if controller_of(revision) is not None or is_deleting(revision):
        return revision
    wanted = copy.deepcopy(revision)
    others = [r for r in meta(revision).get("ownerReferences") or () if r.get("uid") != meta(owner)["uid"]]
    wanted["metadata"]["ownerReferences"] = [*others, owner_reference(owner)]
    return await context.cluster.update(wanted)


async def _check(found: Object, revision: Object, context: Context) -> None:
    """Compile the revision now, so that its author learns of mistakes before any claim exists."""
    try:
        await compiled(context, revision)
    except InvalidInput as error:
        error.reason = "InvalidComposition"
        if context.options.strict_upstream:
            return  # upstream is silent here: only composites that use it tell
        raise
    if conditions.find(found, "Synced") is not None:
        wanted = copy.deepcopy(found)
        told: Condition = conditions.reconcile_success()
        conditions.set_on(wanted, told, now=context.now(), generation=context.observed_generation(found))
        await context.cluster.update(wanted, subresource="status")


async def announce(key: Key, context: Context) -> Result:
    """Have every composite reconciled that may want this new or renumbered revision."""
    revision = await context.cluster.get(key)
    if revision is None:
        return Result()
    reference = spec_of(revision).get("compositeTypeRef") or {}
    name = labels_of(revision).get(NAME_LABEL)
    try:
        composites = await context.cluster.list(reference.get("apiVersion", ""), reference.get("kind", ""))
    except NoSuchKind:
        return Result()
    group = group_of(reference.get("apiVersion", ""))
    definition = context.definitions.composite(group, reference.get("kind", ""))
    if definition is None:
        return Result()
    for composite in composites:
        machinery = definition.machinery(composite)
        follows = machinery.get("compositionUpdatePolicy") != "Manual"
        if follows and (machinery.get("compositionRef") or {}).get("name") == name:
            context.watches.enqueue(key_of(composite))
    return Result()
