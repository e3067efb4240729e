"""Definition (XRD) → the composite's and the claim's CustomResourceDefinition, and their watches.

Two independent reconcilers on one kind, as upstream: `define` for the composite's side, `offer` for the claim's.
Source: Crossplane v1.20, internal/controller/apiextensions/{definition,offered}/reconciler.go.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from groundplane.core import admission, conditions, definition, definition_crds, health
from groundplane.core.conditions import Condition
from groundplane.core.crds.marks import MARK
from groundplane.core.definition import Definition
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    controller_of,
    has_finalizer,
    is_deleting,
    is_of_predecessor,
    key_of,
    meta,
    spec_of,
)
from groundplane.errors import Awaited, InvalidInput, NoSuchKind, TooDeep, Waiting, stage
from groundplane.ports import Context, Resource, Result
from groundplane.reconcile import doubts, handover, leaving, roles
from groundplane.reconcile.taken import take_over, taken

API_VERSION = "apiextensions.crossplane.io/v1"
KIND = "CompositeResourceDefinition"
CRD_VERSION = "apiextensions.k8s.io/v1"
CRD_KIND = "CustomResourceDefinition"
MANAGER = "apiextensions.crossplane.io/definition"  # field manager of the CRDs
RECHECK = 0.3  # seconds until the API server is asked again for a kind that is just coming up
LAG = 10.0  # seconds for which discovery may lag behind an established CRD
SETTLE = 2.0  # seconds between two looks at objects that are being deleted


@dataclass(frozen=True)
class Side:
    """One of the two halves of a definition: what differs between them is names."""

    role: Literal["composite", "claim"]
    finalizer: str
    source: str
    words: str  # "composite resource"
    established: Condition
    terminating: Condition
    status_field: str  # under status.controllers
    applied: str  # event reasons
    ended: str

    def failure(self, xrd: Object, text: str) -> Iterable[Condition]:
        """What to say when this side did not go through: a kind that is served stays served, and one that goes is still going."""
        type_ = self.established.type
        if is_deleting(xrd):
            yield replace(self.terminating, message=text)
        elif conditions.is_true(xrd, type_):
            yield replace(self.established, message=f"the last change was not taken: {text}")
        else:
            yield Condition(type_, "False", "ReconcileError", text)
        if self is CLAIM and COMPOSITE.is_in_trouble(xrd):
            return  # which has told it, in other words: both would write for ever
        yield conditions.reconcile_error(text)
        if is_deleting(xrd):
            yield conditions.deleting()
        elif not conditions.is_true(xrd, "Ready"):
            yield conditions.unavailable()

    def outlook(self, xrd: Object) -> Condition | None:
        """What is still to come of this side."""
        found = conditions.find(xrd, self.established.type) or {}
        if found.get("status") == "True" and found.get(health.GENERATION) == meta(xrd).get("generation"):
            return None
        reason = "Updating" if found.get("status") == "True" else "Creating"
        return health.reconciling(reason, f"the {self.words}'s kind is not served yet as this definition has it")

    def is_in_trouble(self, xrd: Object) -> bool:
        """Whether the last attempt of this side was told to have failed."""
        found = conditions.find(xrd, self.established.type) or {}
        reasons = (self.established.reason, self.terminating.reason, "ReconcileError")
        return bool(found.get("message")) and found.get("reason") in reasons


COMPOSITE = Side(
    role="composite",
    finalizer="defined.apiextensions.crossplane.io",
    source="defined/compositeresourcedefinition.apiextensions.crossplane.io",
    words="composite resource",
    established=Condition("Established", "True", "WatchingCompositeResource"),
    terminating=Condition("Established", "False", "TerminatingCompositeResource"),
    status_field="compositeResourceType",
    applied="EstablishComposite",
    ended="TerminateComposite",
)
CLAIM = Side(
    role="claim",
    finalizer="offered.apiextensions.crossplane.io",
    source="offered/compositeresourcedefinition.apiextensions.crossplane.io",
    words="composite resource claim",
    established=Condition("Offered", "True", "WatchingCompositeResourceClaim"),
    terminating=Condition("Offered", "False", "TerminatingCompositeResourceClaim"),
    status_field="compositeResourceClaimType",
    applied="OfferClaim",
    ended="RedactClaim",
)


async def define(key: Key, context: Context) -> Result:
    """The composite's side: its CRD, and composites being reconciled."""
    return await _reconcile(key, context, COMPOSITE)


async def offer(key: Key, context: Context) -> Result:
    """The claim's side: its CRD, and claims being reconciled."""
    return await _reconcile(key, context, CLAIM)


async def take_up(key: Key, context: Context) -> None:
    """What a standby makes of a definition: its kinds are known and followed, and nothing is written."""
    xrd = await leaving.seen(key, context, anyhow=True)
    if xrd is None:
        for gone in context.definitions.named(key.name):
            context.watches.unfollow(gone.api_version, gone.kind)
            if gone.claim_kind:
                context.watches.unfollow(gone.api_version, gone.claim_kind)
        context.definitions.remove(key.name)
        return
    for side in (COMPOSITE, CLAIM):
        await _go_on(xrd, context, side)


async def _go_on(xrd: Object, context: Context, side: Side) -> None:
    """Follow what was established before, as it was then."""
    if conditions.is_true(xrd, side.established.type):
        await _follow(await _known(xrd, context), context, side)


async def _known(xrd: Object, context: Context) -> Definition:
    """What it declares; where it is nested too deep, with the versions of the CustomResourceDefinition that it once made."""
    if spec_of(xrd).get("versions"):
        return definition.read(xrd)
    crd = await context.cluster.get(Key(CRD_VERSION, CRD_KIND, "", meta(xrd)["name"]))
    return definition.read(definition.with_versions_of(crd, xrd) if crd else xrd)


async def _reconcile(key: Key, context: Context, side: Side) -> Result:
    try:
        xrd = await leaving.seen(key, context)
    except TooDeep as unreadable:
        await _go_on(unreadable.object, context, side)
        raise
    if xrd is None:
        context.definitions.remove(key.name)
        return Result()
    if is_deleting(xrd):
        with stage(side.ended):
            return await _terminate(xrd, context, side)
    with stage("RenderCRD", f"cannot render {side.words} CustomResourceDefinition"):
        crd = _render(xrd, context, side)
    if crd is None:
        return Result()
    known = definition.read(xrd)
    if not has_finalizer(xrd, side.finalizer):
        xrd["metadata"].setdefault("finalizers", []).append(side.finalizer)
        if not context.options.strict_upstream:
            xrd["spec"].setdefault("scope", known.scope)  # so that edits through v2, kubectl's choice, are taken
        xrd = await context.cluster.update(xrd)
    with stage(side.applied, f"cannot apply rendered {side.words} CustomResourceDefinition"):
        live = await _apply(xrd, crd, context, side)
    if not conditions.is_true(live, "Established"):
        if obstacle := _obstacle(live):
            raise Waiting(
                f"CustomResourceDefinition {meta(live)['name']} is not established: {obstacle}",
                mend="give the kind other names",
                on=[Awaited("apiextensions.k8s.io", CRD_KIND)],
            )
        _event(context, xrd, side, f"waiting for {side.words} CustomResourceDefinition to be established")
        return Result(requeue_after=RECHECK)  # its own change brings us back sooner
    are_new = False
    if context.options.makes_roles:
        with stage("ApplyClusterRoles", "cannot apply the definition's ClusterRoles"):
            are_new = await roles.ensure(xrd, known, context)
    with stage(side.applied, f"cannot start {side.words} controller watches"):
        if lacking := await _lacking_right(known, context, side):
            if are_new:
                return Result(requeue_after=RECHECK)  # they are gathered in a moment
            plural = known.plural if side is COMPOSITE else known.claim_plural or ""
            raise roles.denied(lacking, known.group, plural)
        try:
            await _follow(known, context, side)
        except NoSuchKind:
            if _is_just_coming_up(live, known.version, context):
                return Result(requeue_after=RECHECK)  # discovery lags behind
            raise
    if side is COMPOSITE and not context.options.strict_upstream and _has_changed(xrd):
        text = f"The definition has changed: {known.kind} is followed as it is now"  # nothing restarts here
        context.events.event(xrd, "Normal", "RestartComposite", text, source=side.source)
    await _report(xrd, known, context, side)
    return Result()


def _has_changed(xrd: Object) -> bool:
    """Whether its spec is another one than when its kind was last found established; upstream restarts a controller then."""
    seen = (conditions.find(xrd, COMPOSITE.established.type) or {}).get(health.GENERATION)
    return conditions.is_true(xrd, COMPOSITE.established.type) and seen not in (None, 0, meta(xrd).get("generation"))


def _render(xrd: Object, context: Context, side: Side) -> Object | None:
    strict = context.options.strict_upstream
    if side is COMPOSITE:
        return definition_crds.composite_crd(xrd, strict_upstream=strict)
    return definition_crds.claim_crd(xrd, strict_upstream=strict)


def _leaves_conversion(live: Object, crd: Object) -> bool:
    """Whether a conversion webhook of the definition's goes: all of it, or the API server refuses what others put into it (cert-manager its authority)."""
    before, after = ((spec_of(obj).get("conversion") or {}).get("strategy") for obj in (live, crd))
    is_ours = any(
        entry["manager"] in (MANAGER, handover.MANAGER) and "f:conversion" in (entry["fieldsV1"].get("f:spec") or {})
        for entry in meta(live).get("managedFields") or ()
    )
    return is_ours and before == "Webhook" != after


async def _apply(xrd: Object, crd: Object, context: Context, side: Side) -> Object:
    """Create or update the CRD, also one that nobody controls; somebody else's is refused, and so is one that the operator brings.

    What Crossplane wrote of it, and is not wanted any more, goes: upstream writes all of it each time.  What others added stays.
    """
    key = key_of(crd)
    live = await context.cluster.get(key)
    if live is not None:
        if is_of_predecessor(live, xrd):
            if is_deleting(live):
                raise Waiting(
                    f"CustomResourceDefinition {key.name} is being deleted, with all objects of the kind: a definition "
                    "of this name, which is gone, owned it",
                    mend="nothing: it is made again then; to keep objects of a backup, restore without ownerReferences",
                    on=[Awaited("apiextensions.k8s.io", CRD_KIND, name=key.name)],
                )
            live = await take_over(live, xrd, context)
        controller = controller_of(live)
        if controller is not None and controller.get("uid") != meta(xrd)["uid"]:
            raise taken(
                live,
                f"existing object is not controlled by this definition: {key} belongs to "
                f"{controller.get('kind')} {controller.get('name')}",
                mend="rename the kind, or delete the other definition",
            )
        if controller is None and MARK in annotations_of(live):
            raise InvalidInput(
                f"existing object is not controlled by this definition: {key} is one of Groundplane's own",
                mend="choose a group of your own, platform.example.com",
            )
    before = meta(live)["resourceVersion"] if live is not None else None
    if live is not None:
        live = await handover.begin(context, live, MANAGER)
        if _leaves_conversion(live, crd):
            await context.cluster.patch(key, {"spec": {"conversion": {"strategy": "None", "webhook": None}}})
    applied = await context.cluster.apply(crd, manager=MANAGER)
    if handover.is_under_way(applied):
        named = {"name": key.name, "resourceVersion": meta(applied)["resourceVersion"]}
        nothing: Object = {"apiVersion": CRD_VERSION, "kind": CRD_KIND, "metadata": named}
        applied = await context.cluster.apply(nothing, manager=handover.MANAGER)
        applied = await handover.end(context, applied)
    if meta(applied)["resourceVersion"] != before:
        _event(context, xrd, side, f"Applied {side.words} CustomResourceDefinition: {key.name}")
    return applied


def _obstacle(crd: Object) -> str:
    """Why the API server did not accept the names, if it says so."""
    condition = conditions.find(crd, "NamesAccepted") or {}
    return str(condition.get("message")) if condition.get("status") == "False" else ""


async def _lacking_right(known: Definition, context: Context, side: Side) -> str:
    """The verb that the operator needs to follow the kind and may not use; "" if none, or it follows it already."""
    kinds = context.definitions
    if side is COMPOSITE:
        is_known, plural = kinds.composite(known.group, known.kind), known.plural
    else:
        is_known, plural = kinds.claim(known.group, known.claim_kind or ""), known.claim_plural or ""
    return "" if is_known else await roles.refused(known.group, plural, context)


def _is_just_coming_up(crd: Object, version: str, context: Context) -> bool:
    """Whether discovery will soon know a version of which the CRD says that it is served."""
    since = conditions.moment((conditions.find(crd, "Established") or {}).get("lastTransitionTime") or "")
    served = any(v["name"] == version and v.get("served") for v in spec_of(crd).get("versions") or ())
    return served and since is not None and abs((context.now() - since).total_seconds()) < LAG


async def _follow(known: Definition, context: Context, side: Side) -> None:
    """Make the kind known and watched.  A version that is not served can't be watched.

    Claims are reconciled once their composites are watched, too, for they read these: what is not known yet would be written once more at each start.
    """
    if side is COMPOSITE:
        await _declare(known, context, side)
        return
    composite = await context.cluster.resource(known.api_version, known.kind)
    if context.definitions.claim(known.group, known.claim_kind or ""):
        await _watch(composite, context, COMPOSITE)
        await _declare(known, context, side)
        return
    claim = await context.cluster.resource(known.api_version, known.claim_kind or "")
    await asyncio.gather(_watch(composite, context, COMPOSITE), _watch(claim, context, CLAIM))
    await _declare(known, context, side)
    for obj in await context.cluster.list(claim.api_version, claim.kind):  # listed while nobody knew whose they are
        context.watches.enqueue_listed(obj)


async def _declare(known: Definition, context: Context, side: Side) -> None:
    """Its objects are reconciled from now on."""
    kind = known.kind if side is COMPOSITE else known.claim_kind or ""
    resource = await context.cluster.resource(known.api_version, kind)
    changed = context.definitions.add(known, side.role, strict_upstream=context.options.strict_upstream)
    await _watch(resource, context, side)
    if changed:
        for obj in await context.cluster.list(resource.api_version, resource.kind):
            context.watches.enqueue(key_of(obj))


async def _watch(resource: Resource, context: Context, side: Side) -> None:
    await context.watches.follow(
        resource.api_version,
        resource.kind,
        resource.plural,
        namespaced=resource.namespaced,
        role=side.role,
    )


async def _report(xrd: Object, known: Definition, context: Context, side: Side) -> None:
    wanted = copy.deepcopy(xrd)
    controllers = wanted.setdefault("status", {}).setdefault("controllers", {})
    kind = known.kind if side is COMPOSITE else known.claim_kind
    for field in (COMPOSITE.status_field, CLAIM.status_field):
        controllers.setdefault(field, {"apiVersion": "", "kind": ""})
    controllers[side.status_field] = {"apiVersion": known.api_version, "kind": kind}
    _tell(wanted, known, context, side)
    await context.cluster.update(wanted, subresource="status")


def _tell(wanted: Object, known: Definition, context: Context, side: Side) -> None:
    """This side is as wanted; the definition is once the other one is, too.  Both write, each what it knows."""
    other = CLAIM if side is COMPOSITE else COMPOSITE
    has_other = other is COMPOSITE or known.claim_kind is not None
    if context.options.strict_upstream:
        context.tell(wanted, side.established, outlook=None)
    elif has_other and other.is_in_trouble(wanted):
        context.tell(wanted, side.established, outlook=health.outlook(wanted))
    else:
        outlook = other.outlook(wanted) if has_other else None
        told = [side.established]
        if conditions.find(wanted, "Synced") is not None:
            told.append(conditions.reconcile_success())
        if outlook is None or not conditions.is_true(wanted, "Ready"):
            told.append(conditions.available() if outlook is None else conditions.creating())
        if side is COMPOSITE:
            told += doubts.unread(wanted, admission.definition_warnings(wanted, None), context, side.source)
        context.tell(wanted, *told, outlook=outlook)


async def _terminate(xrd: Object, context: Context, side: Side) -> Result:
    """Delete the objects of the kind, then its CRD, then let the definition go."""
    if not has_finalizer(xrd, side.finalizer):
        return Result()
    told = conditions.find(xrd, side.terminating.type) or {}
    generation = meta(xrd).get("generation")
    if told.get("status") != "False" or told.get("observedGeneration", generation) != generation:
        xrd = await _say_terminating(
            xrd, context, side
        )  # once: an error of the deletion stands until a step goes through
    known = await _known(xrd, context)
    plural = known.plural if side is COMPOSITE else known.claim_plural
    crd = await context.cluster.get(Key(CRD_VERSION, CRD_KIND, "", f"{plural}.{known.group}"))
    if crd is None or (controller_of(crd) or {}).get("uid") != meta(xrd)["uid"]:
        kind = known.kind if side is COMPOSITE else known.claim_kind or ""
        context.watches.unfollow(known.api_version, kind)
        context.definitions.remove(known.name, side.role)
        await leaving.release(xrd, side.finalizer, context)
        return Result()
    await _stay_with_it(known, context, side)
    if await _delete_objects(known, context, side):
        await _say_terminating(xrd, context, side)
        _event(context, xrd, side, f"waiting for defined {side.words}s to be deleted", ended=True)
        return Result(requeue_after=SETTLE)
    await _delete_dependents(known, context, side)
    await context.cluster.delete(key_of(crd), uid=meta(crd)["uid"])
    await _say_terminating(xrd, context, side)
    _event(context, xrd, side, f"Deleted {side.words} CustomResourceDefinition: {meta(crd)['name']}", ended=True)
    return Result(requeue_after=SETTLE)


async def _say_terminating(xrd: Object, context: Context, side: Side) -> Object:
    wanted = copy.deepcopy(xrd)
    told = [side.terminating] if context.options.strict_upstream else [side.terminating, conditions.deleting()]
    if conditions.find(xrd, "Synced") is not None:
        told.append(conditions.reconcile_success())
    conditions.set_on(wanted, *told, now=context.now(), generation=context.observed_generation(xrd))
    return {**wanted, "metadata": meta(await context.cluster.update(wanted, subresource="status"))}


async def _stay_with_it(known: Definition, context: Context, side: Side) -> None:
    """Have the objects reconciled until they are gone, also by a process that was started meanwhile: they wait for it."""
    kinds = context.definitions
    if (
        kinds.composite(known.group, known.kind)
        if side is COMPOSITE
        else kinds.claim(known.group, known.claim_kind or "")
    ):
        return
    try:
        await _declare(known, context, side)
    except NoSuchKind:
        return  # then it has no objects


async def _delete_objects(known: Definition, context: Context, side: Side) -> bool:
    """Ask for the deletion of all objects of the kind; True while any is left."""
    kind = known.kind if side is COMPOSITE else known.claim_kind or ""
    try:
        objects = await context.cluster.list(known.api_version, kind)
    except NoSuchKind:
        return False
    for obj in objects:
        if not is_deleting(obj):
            await context.cluster.delete(key_of(obj), uid=meta(obj)["uid"])
    return bool(objects)


async def _delete_dependents(known: Definition, context: Context, side: Side) -> None:
    """Delete what the objects of the kind have made and garbage collection has not come to.

    Once the kind is gone, it can't find out whether an owner is there, and leaves what it owned for ever:
    composed resources with all that they cost, and Secrets.
    """
    kind = known.kind if side is COMPOSITE else known.claim_kind or ""
    for obj in await context.cluster.dependents(known.group, kind):
        if not is_deleting(obj):
            await context.cluster.delete(key_of(obj), uid=meta(obj)["uid"])


def _event(context: Context, xrd: Object, side: Side, message: str, *, ended: bool = False) -> None:
    reason = side.ended if ended else side.applied
    context.events.event(xrd, "Normal", reason, message, source=side.source)
