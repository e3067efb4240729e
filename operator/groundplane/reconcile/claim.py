"""Claim ↔ composite: bind, sync both ways, propagate the connection Secret, delete.

Source: Crossplane v1.20, internal/controller/apiextensions/claim/reconciler.go.  The order of writes is
the safety: the composite's name is saved on the claim, with its resourceVersion, before the
composite is created, so a crash or a stale read never leaks a composite.
"""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from groundplane.core import claim as flow
from groundplane.core import composition, conditions, health, naming, summary
from groundplane.core.conditions import Condition
from groundplane.core.definition import Definition
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.naming import CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    controller_of,
    has_finalizer,
    is_deleting,
    is_paused,
    key_of,
    labels_of,
    meta,
    spec_of,
    status_of,
)
from groundplane.errors import (
    Awaited,
    GroundplaneError,
    InvalidInput,
    Misshapen,
    NoSuchKind,
    Rejected,
    Unavailable,
    stage,
)
from groundplane.ports import Context, Result
from groundplane.reconcile import choosing, connection, handover, leaving, restored

SOURCE = "offered/compositeresourcedefinition.apiextensions.crossplane.io"
WAITING = "Claim is waiting for composite resource to become Ready"
WAITING_SECRET = "Composite resource is Ready, and claim is waiting for its connection Secret"
REFUSED_POLL = 300.0  # seconds between two looks at a composite of another claim, which may go: nothing tells of it
FIRST_REPORT = 5.0  # seconds after which a claim says something though its composite has not
BEHIND = 30.0  # seconds until it looks again while its composite waits for its turn: that will have something to say
REJECTED_RETRY = 30.0  # seconds until a composite is applied again that was refused though its claim was taken
FOREGROUND_POLL = 5.0  # seconds between two looks at a composite that is being deleted in foreground


async def reconcile(key: Key, context: Context) -> Result:
    """Bring one claim and its composite in line."""
    definition = context.definitions.claim(key.group, key.kind)
    if definition is None:
        return Result()
    if key.api_version != definition.api_version:  # it was queued before another version became the referenceable one
        context.watches.enqueue(key._replace(api_version=definition.api_version))
        return Result()
    claim = await leaving.seen(key, context)
    if claim is None:
        return Result()
    if is_paused(claim):
        await _pause(claim, definition, context)
        return Result()

    composite = await _composite(claim, definition, context)
    reasons = flow.refusal(claim, composite, context.options.static_binding) if composite is not None else None
    if is_deleting(claim) and composite is not None and not flow.is_bound_elsewhere(claim, composite):
        mine = reasons is None and flow.is_bound_to(claim, composite)
        return await _delete(claim, composite if mine else None, definition, context)
    if composite is not None and reasons is not None:
        await _refuse(claim, composite, *reasons, definition, context)
        return Result(requeue_after=REFUSED_POLL)
    if is_deleting(claim):
        return await _delete(claim, None, definition, context)

    with stage("BindCompositeResource", "cannot bind and sync claim with composite resource"):
        if composite is None:
            name = spec_of(claim).get("resourceRef", {}).get("name") or ""
            await restored.await_composite(claim, name, Key(definition.api_version, definition.kind, "", name), context)
        was_bound = composite is not None and bool(spec_of(composite).get("claimRef"))
        before = claim
        claim, composite = await _sync(claim, composite, definition, context)
    if not was_bound:
        _event(context, before, definition, "BindCompositeResource", "Successfully bound composite resource")
    if _asks_in_vain(claim, composite, context):
        context.watches.enqueue(key_of(composite))  # nothing of it changes when a claim asks later
    if seconds := _until_report(claim, composite, context):
        return Result(requeue_after=seconds)
    await _report(claim, composite, definition, context)
    return Result()


async def _composite(claim: Object, definition: Definition, context: Context) -> Object | None:
    """The composite that the claim names; if there is none, the one that it has already.

    Else whoever edits its reference gets another one each time, and leaves the last behind, with all that it costs.
    """
    named = await _named(claim, definition, context)
    if named is not None and not (is_deleting(claim) and flow.is_bound_elsewhere(claim, named)):
        return named
    own = await _own(claim, definition, context)
    if not own:
        return named
    if not is_deleting(claim):
        message = f'spec.resourceRef names no composite resource: keeping "{meta(own[0])["name"]}"'
        context.events.event(claim, "Warning", "BindCompositeResource", message, source=SOURCE)
    return own[0]


async def _own(claim: Object, definition: Definition, context: Context) -> list[Object]:
    """The composites that are bound to the claim and not being deleted, the oldest first: one, or none."""
    reference = flow.reference_to(claim)
    labels = {CLAIM_NAME_LABEL: reference["name"], CLAIM_NAMESPACE_LABEL: reference["namespace"]}
    try:
        found = await context.cluster.list(definition.api_version, definition.kind, labels=labels)
    except NoSuchKind:
        return []
    mine = [each for each in found if flow.is_bound_to(claim, each) and not (is_deleting(each) or controller_of(each))]
    return sorted(mine, key=lambda each: (meta(each)["creationTimestamp"], meta(each)["name"]))


async def _named(claim: Object, definition: Definition, context: Context) -> Object | None:
    name = spec_of(claim).get("resourceRef", {}).get("name")
    if not name:
        return None
    with stage("BindCompositeResource", "cannot get composite resource"):
        try:
            key = Key(definition.api_version, definition.kind, "", name)
            found = await leaving.seen(key, context, anyhow=is_deleting(claim))
            if found is None and is_deleting(claim):  # by a cache that is late, it would be left behind
                found = await leaving.seen(key, context, anyhow=True, live=True)
            return found
        except NoSuchKind:
            crd = Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", definition.name)
            if not is_deleting(claim) or await context.cluster.get(crd):
                raise
            return None  # it went with its kind, whose definition is being deleted


async def _sync(
    claim: Object, composite: Object | None, definition: Definition, context: Context
) -> tuple[Object, Object]:
    """Save the composite's name on the claim, then apply the composite, then take back what flows back.

    What a new composite is going to choose is saved with its name, and not applied to it: it reads that when it first chooses.
    """
    enforced, strict = definition.enforces_composition, context.options.strict_upstream
    if composite is None:
        claim = await choosing.unforeseen(claim, context)
    wanted = copy.deepcopy(claim)
    if composite is not None:
        wanted = flow.claim_from(claim, composite, enforced=enforced, strict_upstream=strict)
    if not has_finalizer(wanted, flow.FINALIZER):
        wanted["metadata"].setdefault("finalizers", []).append(flow.FINALIZER)
    name = spec_of(wanted).get("resourceRef", {}).get("name") or await _free_name(claim, definition, context)
    wanted.setdefault("spec", {})["resourceRef"] = flow.reference_to_composite(
        definition.api_version, definition.kind, name
    )
    foreseen = await choosing.foreseen(claim, definition, context) if composite is None else {}
    wanted["spec"] |= foreseen
    own = {field: value for field, value in spec_of(claim).items() if field in foreseen}
    claim = await context.cluster.update(wanted)

    asks = {field: value for field, value in claim["spec"].items() if field not in foreseen} | own
    patch = flow.composite_from(
        await _within_enforced({**claim, "spec": asks}, definition, context),
        composite,
        api_version=definition.api_version,
        kind=definition.kind,
        name=name,
        enforced=enforced,
        strict_upstream=strict,
    )
    if composite is not None:  # an older Crossplane may have written it by plain updates
        composite = await handover.begin(context, composite, flow.MANAGER)
    patch["metadata"] |= flow.precondition(composite)
    applied = await handover.end(context, await _applied(patch, context))
    wanted = flow.claim_from(claim, applied, enforced=enforced, strict_upstream=strict)
    return await context.cluster.update(wanted), applied


async def _applied(patch: Object, context: Context) -> Object:
    """The composite as it is then.  A claim whose kind was changed a moment before that of its composite is refused but for that moment."""
    try:
        return await context.cluster.apply(patch, manager=flow.MANAGER)
    except Rejected as error:
        key = key_of(patch)
        error.on = (Awaited(key.group, key.kind, served=True),)
        if not isinstance(error, Misshapen):
            error.after = REJECTED_RETRY
        raise


async def _within_enforced(claim: Object, definition: Definition, context: Context) -> Object:
    """The claim without a revision of another Composition than the enforced one, which overrides that as it does compositionRef."""
    name = (spec_of(claim).get("compositionRevisionRef") or {}).get("name")
    if not definition.enforced_composition or not name:
        return claim
    revision = await context.cluster.get(Key("apiextensions.crossplane.io/v1", "CompositionRevision", "", name))
    if revision is None or labels_of(revision).get(composition.NAME_LABEL) == definition.enforced_composition:
        return claim
    return {
        **claim,
        "spec": {field: value for field, value in claim["spec"].items() if field != "compositionRevisionRef"},
    }


async def _free_name(claim: Object, definition: Definition, context: Context) -> str:
    """A composite's name that nobody has yet."""
    for _ in range(10):
        name = naming.composite_name(meta(claim)["name"], context.choose)
        key = Key(definition.api_version, definition.kind, "", name)
        if await context.cluster.get(key) is None:
            return name
    raise Unavailable("cannot generate a name for a resource: ten names in a row were taken")


def _until_report(claim: Object, composite: Object, context: Context) -> float:
    """Seconds in which the claim leaves it to its composite to say something first, which calls for its own report; 0: it reports."""
    if conditions.find(claim, "Synced") or status_of(composite).get("conditions"):
        return 0.0
    if context.is_waiting(key_of(composite)):
        return BEHIND
    age = (context.now() - datetime.fromisoformat(meta(composite)["creationTimestamp"])).total_seconds()
    return FIRST_REPORT - age if 0 <= age < FIRST_REPORT else 0.0


async def _report(claim: Object, composite: Object, definition: Definition, context: Context) -> None:
    """Propagate the Secret if the composite is ready; write the claim's status once."""
    wanted = copy.deepcopy(claim)
    wanted["status"] = flow.status_from(claim, composite, definition.status_fields)
    if not (context.options.strict_upstream or definition.has_own_summary):
        _sum_up(wanted["status"], composite)
    told = [conditions.reconcile_success()]
    for type_ in status_of(composite).get("claimConditionTypes") or ():
        found = conditions.find(composite, type_) or {}
        told.append(Condition(type_, found.get("status", "Unknown"), found.get("reason", ""), found.get("message", "")))
    if conditions.is_true(composite, "Ready"):
        try:
            propagated = await _propagate(claim, composite, definition, context)
        except GroundplaneError as error:  # else what was in the way before stands there for ever
            if not (context.options.strict_upstream or conditions.is_true(claim, "Ready")):
                error.conditions = (Condition("Ready", "False", "Waiting", f"{WAITING_SECRET}: {error}"),)
            await context.cluster.update(wanted, subresource="status")
            raise
        known = wanted["status"].get("connectionDetails") or {}
        if propagated or (propagated is not None and not known.get("lastPublishedTime")):  # or it was not saved then
            published = {**known, "lastPublishedTime": conditions.timestamp(context.now())}
            wanted["status"]["connectionDetails"] = published
        told.append(conditions.available(_cause(composite, context)))
    else:
        told.append(
            Condition("Ready", "False", "Waiting", ": ".join(t for t in (WAITING, _cause(composite, context)) if t))
        )
    counted = not definition.has_own_generation
    await _write_status(wanted, told, context, outlook=_outlook(composite, told[-1], counted=counted))


def _sum_up(status: dict[str, Any], composite: Object) -> None:
    """In place: how the composed resources do, by what the composite says of them."""
    found = summary.of_claim(status_of(composite).get(summary.FIELD), is_ready=conditions.is_true(composite, "Ready"))
    status.pop(summary.FIELD, None)
    if found:
        status[summary.FIELD] = copy.deepcopy(found)


def _outlook(composite: Object, ready: Condition, *, counted: bool) -> Condition | None:
    """What is still to come of a claim: what is of its composite.

    In words that stay the same while resources come up one by one: each would be a write more.
    """
    found = health.outlook(composite)
    if found is not None and (found.type == health.STALLED or found.reason in ("Retrying", "Waiting")):
        return found
    if ready.status != "True":
        return health.reconciling("Creating", ready.message)
    if found is not None or not health.has_seen(composite, counted=counted):
        return health.reconciling("Updating", "Composite resource still has to take the change")
    return None


def _asks_in_vain(claim: Object, composite: Object, context: Context) -> bool:
    """Whether the claim wants a Secret, and its composite has not given itself a place for one yet."""
    asks = bool(spec_of(claim).get("writeConnectionSecretToRef"))
    return asks and not spec_of(composite).get("writeConnectionSecretToRef") and not context.options.strict_upstream


def _cause(composite: Object, context: Context) -> str:
    """The trouble at the composite's root, so that a developer need not look two levels down."""
    return "" if context.options.strict_upstream else conditions.cause_of(composite)


async def _propagate(claim: Object, composite: Object, definition: Definition, context: Context) -> bool | None:
    """Copy the composite's Secret to the claim's namespace: whether that took a write; None if there is none to copy."""
    target = spec_of(claim).get("writeConnectionSecretToRef")
    source = spec_of(composite).get("writeConnectionSecretToRef")
    if not target or not source:
        return None
    with stage("PropagateConnectionSecret", "cannot propagate connection details from composite resource"):
        secret = await context.cluster.get(Key("v1", "Secret", source["namespace"], source["name"]))
        if secret is None:
            raise Unavailable("cannot get composite resource's connection secret: not found")
        owner = controller_of(secret)
        if owner is None or owner.get("uid") != meta(composite)["uid"]:
            raise InvalidInput(
                f"cannot establish control of existing connection secret: {key_of(secret)} is not the "
                f'composite resource "{meta(composite)["name"]}" to publish',
                mend="delete that Secret, or give the composite another writeConnectionSecretToRef",
            )
        details = connection.own_data(secret)
        if not await connection.publish(context, claim, meta(claim)["namespace"], target["name"], details, exact=True):
            return False
    message = "Successfully propagated connection details from composite resource"
    _event(context, claim, definition, "PropagateConnectionSecret", message)
    return True


async def _delete(claim: Object, composite: Object | None, definition: Definition, context: Context) -> Result:
    """Delete the composite, then release the claim; with Foreground not before the composite is gone.

    That deletes what it is composed of first, in order; the API server's foreground deletion would do so all at once.
    """
    if not has_finalizer(claim, flow.FINALIZER):
        return Result()
    wanted = copy.deepcopy(claim)
    foreground = spec_of(claim).get(flow.DELETE_POLICY) == flow.FOREGROUND
    for left in await _own(claim, definition, context):
        if composite is None or meta(left)["uid"] != meta(composite)["uid"]:
            await context.cluster.delete(key_of(left), uid=meta(left)["uid"])
    if composite is not None:
        with stage("DeleteCompositeResource", "cannot delete composite resource"):
            if not is_deleting(composite):
                await context.cluster.delete(
                    key_of(composite),
                    uid=meta(composite)["uid"],
                    propagation="Foreground" if foreground and context.options.strict_upstream else None,
                )
        if foreground:
            await _tell_deletion(wanted, composite, definition, context)
            return Result(requeue_after=FOREGROUND_POLL)
    _event(context, claim, definition, "DeleteCompositeResource", "Successfully deleted composite resource")
    claim = await leaving.release(wanted, flow.FINALIZER, context)
    if meta(claim).get("finalizers"):
        await _write_status(claim, [conditions.deleting(), conditions.reconcile_success()], context)
    return Result()


async def _tell_deletion(claim: Object, composite: Object, definition: Definition, context: Context) -> None:
    """Say what the composite waits for."""
    ready, text = conditions.find(composite, "Ready") or {}, ""
    if ready.get("reason") == "Deleting" and not context.options.strict_upstream:
        text = str(ready.get("message") or "")
    outlook = health.reconciling("Deleting", text) if text else None
    if not definition.has_own_summary:
        claim.get("status", {}).pop(summary.FIELD, None)
    await _write_status(claim, [conditions.deleting(text), conditions.reconcile_success()], context, outlook=outlook)


async def _pause(claim: Object, definition: Definition, context: Context) -> None:
    message = 'Reconciliation (including deletion) is paused via the annotation "crossplane.io/paused"'
    if not _is_told(claim, "ReconcilePaused"):
        context.events.event(
            claim, "Normal", "ReconciliationPaused", message, source=SOURCE, annotations=_controller(definition)
        )
    told = [conditions.reconcile_paused(message)]
    if conditions.find(claim, "Ready") is None and not context.options.strict_upstream:
        told.append(conditions.creating())
    await _write_status(claim, told, context)


async def _refuse(
    claim: Object, composite: Object, why: str, mend: str, definition: Definition, context: Context
) -> None:
    """Say why the claim may not have that composite, and wait for a person."""
    message = f'refusing to operate on composite resource "{meta(composite)["name"]}": {why}. Mend: {mend}.'
    context.events.event(
        claim,
        "Warning",
        "BindCompositeResource",
        message,
        source=SOURCE,
        annotations=event_annotations(claim, definition),
    )
    told = [conditions.reconcile_error(message)]
    if conditions.find(claim, "Ready") is None and not context.options.strict_upstream:
        told.append(conditions.creating())
    await _write_status(claim, told, context, outlook=health.stalled("Refused", message))


def _is_told(claim: Object, reason: str) -> bool:
    return (conditions.find(claim, "Synced") or {}).get("reason") == reason


async def _write_status(
    claim: Object, told: list[Condition], context: Context, *, outlook: Condition | None = None
) -> None:
    wanted = copy.deepcopy(claim)
    context.tell(wanted, *told, outlook=outlook)
    await context.cluster.update(wanted, subresource="status")


def event_annotations(claim: Object, definition: Definition) -> dict[str, str]:
    """Of an event about a claim, which upstream tells with the composite that it concerns, once the claim names that."""
    composite = spec_of(claim).get("resourceRef", {}).get("name")
    told = _controller(definition) | {"external-name": annotations_of(claim).get(EXTERNAL_NAME, "")}
    return told | ({"composite-name": composite} if composite else {})


def _controller(definition: Definition) -> dict[str, str]:
    return {"controller": f"claim/{definition.name}"}


def _event(context: Context, claim: Object, definition: Definition, reason: str, message: str) -> None:
    told = event_annotations(claim, definition)
    context.events.event(claim, "Normal", reason, message, source=SOURCE, annotations=told)
