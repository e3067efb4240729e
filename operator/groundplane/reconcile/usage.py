"""Usage → the label on what it protects, without which nobody refuses to delete that.

Source: Crossplane v1.20, internal/controller/apiextensions/usage/reconciler.go; v2, internal/controller/protection/usage.
Ours: what is used or uses is followed, so that one that comes, goes or loses its label is seen at once; a deletion is replayed before
the usage goes, so that a process that ends in between leaves nothing undone.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from groundplane.core import conditions, health, usages
from groundplane.core.conditions import Condition
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    has_finalizer,
    is_deleting,
    key_of,
    meta,
)
from groundplane.core.usages import Party, Role, Usage
from groundplane.errors import Awaited, Denied, InvalidInput, NoSuchKind, NotFound, Waiting, stage
from groundplane.ports import Context, Propagation, Resource, Result
from groundplane.reconcile import leaving

LOOK_AGAIN = (
    600.0  # seconds until what is used is looked at again: what only is waited for is followed no longer than 700
)
WAIT_FOR_USER = 30.0  # seconds, as upstream; mostly its end is told at once


def source(key: Key, context: Context) -> str:
    """The component of its events, by kind, as upstream."""
    return f"usage/{key.kind.lower()}.{key.group}"


async def reconcile(key: Key, context: Context) -> Result:
    """Bring the protection of one object in line with one usage."""
    found = await leaving.seen(key, context)
    if found is None:
        return Result()
    if is_deleting(found):
        return await _release(found, context)
    try:
        return await _protect(found, context)
    except (Waiting, InvalidInput, NoSuchKind, Denied) as error:
        error.conditions = (conditions.unavailable(),)
        raise


# --- protecting ----------------------------------------------------------------------------------------


async def _protect(found: Object, context: Context) -> Result:
    usages.read(found)  # an error of the whole comes before those of its parts
    for role in ("of", "by"):
        with stage("ResolveSelectors", "cannot resolve selectors"):
            found = await _resolved(found, role, context)
    usage = usages.read(found)
    if before := usages.left_behind(found):
        await _unprotect(found, replace(usage, of=before, replays=False), context)
    with stage("AddFinalizer", "cannot add finalizer"):
        found = await _marked(found, usage, context)
    _follow(usage, context)
    with stage("GetUsedResource", "cannot get used"):
        used = await _there(usage, usage.of, context)
    try:
        using = await _using(usage, context) if usage.is_across else None  # nobody protects what is others' for nobody
        with stage("AddInUseLabel", "cannot add in-use label"):
            await _label(used, context)
        using = using or await _using(usage, context)
    except Waiting as gone:
        if not _had_user(found, usage):
            raise
        return Result(requeue_after=LOOK_AGAIN, on=gone.on)  # its user is gone, and it goes next
    if using:
        owners = usages.owners(found, using)
        if owners is not None:
            found["metadata"]["ownerReferences"] = owners
            with stage("AddOwnerRefToUsage", "cannot update usage"):
                found = await context.cluster.update(found)
    was_ready = conditions.is_true(found, "Ready")
    told = [conditions.available()]
    if conditions.find(found, "Synced") is not None:
        told.append(conditions.reconcile_success())
    await _write_status(found, told, None, context)
    if not was_ready:
        _event(found, "UsageConfigured", "Usage configured successfully.", context)
    return Result(requeue_after=LOOK_AGAIN)


async def _resolved(found: Object, role: Role, context: Context) -> Object:
    """The usage with the name of what its selector chose; it is saved, and stays."""
    usage = usages.read(found)
    party = usage.party(role)
    if party is None or party.name:
        return found
    with stage("ResolveSelectors", f'cannot resolve selector at "spec.{role}.resourceSelector"'):
        resource = await context.cluster.resource(party.api_version, party.kind)
        _check_scope(usage, role, resource)
        namespace = party.namespace if resource.namespaced else ""
        context.watches.expect([_awaited(party, namespace)])
        candidates = await context.cluster.list(party.api_version, party.kind, namespace=namespace, labels=party.labels)
        chosen = usages.selected(party, found, candidates)
        if chosen is None:
            raise Waiting(
                usages.nothing_selected(party),
                mend="give what is meant those labels, or correct the selector",
                on=[_awaited(party, namespace)],
            )
    reference = {"name": meta(chosen)["name"]}
    if role == "of" and "namespace" in party.selector:
        reference["namespace"] = party.selector["namespace"]
    found["spec"][role]["resourceRef"] = reference
    return await context.cluster.update(found)


def _awaited(party: Party, namespace: str) -> Awaited:
    """What calls for another look at a party by changing: it, or whatever its selector might choose."""
    labels = () if party.name else tuple(sorted(party.labels.items()))
    return Awaited(party.referent.group, party.kind, namespace, party.name, labels)


async def _marked(found: Object, usage: Usage, context: Context) -> Object:
    """The usage with the finalizer, the sentence for people, and what it is about to label."""
    told = {usages.DETAILS: usage.details}
    if not context.options.strict_upstream:
        told[usages.PROTECTED] = usage.of.record
    if has_finalizer(found, usages.FINALIZER) and told.items() <= annotations_of(found).items():
        return found
    metadata = found["metadata"]
    if not has_finalizer(found, usages.FINALIZER):
        metadata.setdefault("finalizers", []).append(usages.FINALIZER)
    metadata.setdefault("annotations", {}).update(told)
    return await context.cluster.update(found)


def _follow(usage: Usage, context: Context) -> None:
    """Have changes of both sides told, of whichever kinds they are (`runtime/routes.py` has the rest)."""
    context.watches.expect([_awaited(party, party.namespace) for party in (usage.of, usage.by) if party])


def _check_scope(usage: Usage, role: Role, resource: Resource) -> None:
    """Raise InvalidInput if such a usage does not reach objects of that kind."""
    if resource.namespaced and not usage.key.namespace:
        raise InvalidInput(
            f"spec.{role}: {resource.kind} is a kind with namespaces, {usage.key.kind} of {usage.key.group} has none",
            mend=f"use a Usage of {usages.PROTECTION_VERSION} in the namespace of what uses it",
        )
    if role == "of" and usage.key.namespace and not resource.namespaced:
        raise InvalidInput(
            f"spec.of: {resource.kind} is a kind without namespaces, which no Usage in a namespace may protect",
            mend=f"use a ClusterUsage of {usages.PROTECTION_VERSION}",
        )


async def _there(usage: Usage, party: Party, context: Context) -> Object:
    """The object that the usage names.  Raises Waiting if there is none."""
    role: Role = "of" if party is usage.of else "by"
    resource = await context.cluster.resource(party.api_version, party.kind)
    _check_scope(usage, role, resource)
    key = party.key(namespaced=resource.namespaced)
    found = await leaving.seen(key, context, anyhow=True)
    if found is None:
        group = f".{key.group}" if key.group else ""
        raise Waiting(
            f'{resource.plural}{group} "{key.name}" not found',
            mend=f"create it, or correct spec.{role}",
            on=[_awaited(party, key.namespace)],
        )
    return found


async def _using(usage: Usage, context: Context) -> Object | None:
    """What uses the object; None if the usage says a reason only."""
    with stage("GetUsingResource", "cannot get using"):
        return await _there(usage, usage.by, context) if usage.by else None


def _had_user(found: Object, usage: Usage) -> bool:
    """Whether what uses the object was there, as the usage is now: it owns the usage, or this was Ready since its last edit."""
    if usages.is_owned_by_user(found, usage):
        return True
    ready = conditions.find(found, "Ready") or {}
    return ready.get("status") == "True" and ready.get(health.GENERATION) == meta(found).get("generation")


async def _label(used: Object, context: Context) -> None:
    """Have it labelled: of it as it is, no other of its name."""
    if not usages.is_protected(used):
        metadata = {"uid": meta(used)["uid"], "labels": {usages.IN_USE: "true"}}
        await context.cluster.patch(key_of(used), {"metadata": metadata})


# --- letting go ------------------------------------------------------------------------------------------


async def _release(found: Object, context: Context) -> Result:
    """Take the protection away, unless what uses the object is still there and must go first."""
    if not has_finalizer(found, usages.FINALIZER):
        return Result()
    try:
        usage = usages.read(found)
    except InvalidInput:
        usage = None  # as it is now it never protected anything
    if before := usages.left_behind(found):
        await _unprotect(found, Usage(key_of(found), before, None, None, replays=False), context)
    if usage and usage.of.name:
        _follow(usage, context)
        if await _outlasts(found, context):
            return await _wait(found, usage, context)
        await _unprotect(found, usage, context)
    with stage("RemoveFinalizer", "cannot remove finalizer"):
        await leaving.release(found, usages.FINALIZER, context)
    return Result()


async def _wait(found: Object, usage: Usage, context: Context) -> Result:
    using = usage.by
    assert using is not None  # else it would not wait
    text = f'Waiting for the using resource (which is a "{using.kind}" named "{using.name}") to be deleted.'
    _event(found, "WaitingUsingDeleted", text, context)
    if not context.options.strict_upstream:
        await _write_status(found, [conditions.deleting(text)], health.reconciling("Deleting", text), context)
    return Result(requeue_after=WAIT_FOR_USER, on=(_awaited(using, using.namespace),))


async def _outlasts(found: Object, context: Context) -> bool:
    """Whether a usage that is being deleted still protects."""
    if not usages.outlasts_its_end(found):
        return False
    by = usages.read(found).by
    with stage("GetUsingResource", "cannot get using"):
        return bool(by and by.name and await _seen(by, context))


async def _seen(party: Party, context: Context) -> Object | None:
    """The object that is named, if it is there; there are none of a kind that is not served."""
    try:
        resource = await context.cluster.resource(party.api_version, party.kind)
        return await leaving.seen(party.key(namespaced=resource.namespaced), context, anyhow=True)
    except NoSuchKind:
        return None


async def _unprotect(found: Object, usage: Usage, context: Context) -> None:
    """Take the label off, unless another usage protects the object, too; and delete it, if that was tried and shall be replayed."""
    try:
        with stage("GetUsedResource", "cannot get used"):
            used = await _seen(usage.of, context)
    except Denied as error:
        if _has_protected(found):
            raise
        text = f"{error} If {usage.of.kind} {usage.of.name} has the label {usages.IN_USE} all the same, take it off."
        context.events.event(found, "Warning", "RemoveInUseLabel", text, source=source(usage.key, context))
        return
    if used is None or usages.referent_of(used) != usage.of.referent:
        return  # it is gone, or of a kind that this usage never reached
    if await _is_protected_by_others(usage, context):
        return
    if usages.is_protected(used):
        try:
            metadata: Object = {"labels": {usages.IN_USE: None}}
            if not (usage.replays or context.options.strict_upstream):
                metadata["annotations"] = {
                    usages.ATTEMPT: None
                }  # or a later usage would replay what nobody wants any more
            with stage("RemoveInUseLabel", "cannot remove in-use label"):
                await context.cluster.patch(key_of(used), {"metadata": metadata})
        except NotFound:
            return
        if await _is_protected_by_others(usage, context):  # by one that came meanwhile, and saw the label
            with stage("AddInUseLabel", "cannot add in-use label"):
                await _label(used | {"metadata": {**meta(used), "labels": {}}}, context)
            return
    if usage.replays and not is_deleting(used) and (policy := await _replayed(used, context)):
        with stage("ReplayDeletion", "cannot replay deletion"):
            await context.cluster.delete(key_of(used), uid=meta(used)["uid"], propagation=policy)


def _has_protected(found: Object) -> bool:
    """Whether it has labelled what it protects, as far as it says so."""
    ready = conditions.find(found, "Ready") or {}
    return ready.get("status") == "True" or ready.get("reason") == "Deleting"


async def _is_protected_by_others(usage: Usage, context: Context) -> bool:
    """Whether another usage protects the same object.

    Two that are deleted at once do not count for each other, or neither would take the label off.  One that counts is asked of the
    API server: it may be gone since we began to lead.
    """
    with stage("FindUsages", "cannot find usages"):
        for key in await context.cluster.usages_of(usage.of.referent):
            if key == usage.key:
                continue
            known = await context.cluster.get(key)
            if known and await _protects(known, context):
                live = await context.cluster.get(key, live=True)
                if live and await _protects(live, context):
                    return True
    return False


async def _protects(usage: Object, context: Context) -> bool:
    return not is_deleting(usage) or await _outlasts(usage, context)


async def _replayed(used: Object, context: Context) -> Propagation | None:
    """With which policy to delete what somebody tried to delete; None if nobody did.

    Garbage collection tries to delete what has lost its owners; where no webhook notes that, the owners tell.
    """
    match usages.policy_tried(used):
        case "Background":
            return "Background"
        case "Foreground":
            return "Foreground"
        case "Orphan":
            return "Orphan"
    return "Background" if await _is_garbage(used, context) else None


async def _is_garbage(used: Object, context: Context) -> bool:
    """Whether it had owners, and all of them are gone for certain."""
    owners = meta(used).get("ownerReferences") or []
    for owner in owners:
        try:
            resource = await context.cluster.resource(owner["apiVersion"], owner["kind"])
            namespace = key_of(used).namespace if resource.namespaced else ""
            key = Key(owner["apiVersion"], owner["kind"], namespace, owner["name"])
            there = await context.cluster.get(key, live=True)
        except (NoSuchKind, Denied):
            return False
        if there is not None and meta(there)["uid"] == owner["uid"]:
            return False
    return bool(owners)


# --- telling -----------------------------------------------------------------------------------------------


async def _write_status(found: Object, told: list[Condition], outlook: Condition | None, context: Context) -> None:
    wanted = copy.deepcopy(found)
    context.tell(wanted, *told, outlook=outlook)
    await context.cluster.update(wanted, subresource="status")


def _event(found: Object, reason: str, text: str, context: Context) -> None:
    context.events.event(found, "Normal", reason, text, source=source(key_of(found), context))
