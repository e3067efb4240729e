"""Composite → composed resources: pick a revision, render, apply, collect, report.

Source: Crossplane v1.20, internal/controller/apiextensions/composite (reconciler.go, composition_pt.go).
The order is the safety: references to composed resources are saved on the composite before anything
is created, and what left the composition is deleted before its reference goes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from groundplane.core import claim as flow
from groundplane.core import composition, conditions, deletion, fieldpath, health, requests, summary
from groundplane.core.conditions import Condition
from groundplane.core.naming import COMPOSITE_LABEL
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    has_finalizer,
    is_deleting,
    is_paused,
    joined,
    key_of,
    labels_of,
    meta,
    spec_of,
)
from groundplane.errors import (
    Conflict,
    Denied,
    GroundplaneError,
    InvalidInput,
    Rejected,
    shown,
    stage,
)
from groundplane.ports import Context, Result
from groundplane.reconcile import (
    choosing,
    compiling,
    composing,
    connection,
    deleting,
    leaving,
    pipelines,
    restored,
    silence,
    templates,
)
from groundplane.reconcile.composing import CompositeRun, Made

SOURCE = composing.SOURCE
FINALIZER = "composite.apiextensions.crossplane.io"
EARLY = 2.0  # seconds of a deletion until it is told what it waits for
LOOK = 300.0  # seconds between two looks at what is left, beside those that its changes call for
PAUSED = 'Reconciliation (including deletion) is paused via the annotation "crossplane.io/paused"'
COMPOSING = "cannot compose resources"  # how it went wrong, of all that composing does


async def reconcile(key: Key, context: Context) -> Result:
    """Bring one composite and its composed resources in line."""
    definition = context.definitions.composite(key.group, key.kind)
    if definition is None:
        return Result()
    if key.api_version != definition.api_version:  # it was queued before another version became the referenceable one
        context.watches.enqueue(key._replace(api_version=definition.api_version))
        return Result()
    composite = await leaving.seen(key, context)
    if composite is None:
        _forget(key, context)
        return Result()
    source, seconds = context.circuits.told(key, context.uptime())
    run = CompositeRun(context, definition, composite)
    if not context.options.strict_upstream:
        run.responsive = (conditions.responsive(source),)
    try:
        result = await _reconcile(run)
    except GroundplaneError as error:
        error.conditions += run.responsive
        if context.options.strict_upstream:
            if type(error) is Rejected and error.prefix.startswith(COMPOSING):
                error.told = f"{COMPOSING}: some resources were invalid, check events"
        elif isinstance(error, Denied):
            run.event("Warning", "RoleBasedAccessControl", str(error))
        raise
    return replace(result, requeue_after=min(seconds, result.requeue_after or seconds)) if source else result


async def _reconcile(run: CompositeRun) -> Result:
    if is_paused(run.composite):
        await _pause(run)
        return Result()
    if is_deleting(run.composite):
        return await _delete(run)

    if wrong := requests.unread_interval(run.composite):
        silence.once(run, run.composite, "PollInterval", wrong)
    _mark(run.composite)
    try:
        return await _advance(run)
    except Conflict:
        raise
    except GroundplaneError:
        await _keep_choice(run)
        raise


async def _advance(run: CompositeRun) -> Result:
    """Choose, compose, publish, report."""
    context, key = run.context, key_of(run.composite)
    revision = await choosing.select(run)
    await _check_pipeline(run, revision)
    with stage("ComposeResources", "refusing to use invalid Composition"):
        compiled = await compiling.compiled(context, revision)
    with stage("ComposeResources", COMPOSING):
        await restored.await_composed(run)
        await _ask_for_secret(run, compiled, helpful=not context.options.strict_upstream)
        if not context.options.strict_upstream:
            deletion.note_sequences(run.composite, compiled.sequences)
        before = _read(run, compiled)
        made = await _compose(run, compiled)
        await silence.of_readiness(run, revision, compiled.steps)
        look = silence.of_inactive(run)
    if run.unknown:
        with stage("WatchComposedResources", "cannot watch resource for changes"):
            raise run.unknown
    published = await _publish(run, made.connection)
    for note in made.notes if published else ():
        run.event("Normal", "PublishConnectionSecret", note)
    if _is_too_early(run):
        context.watches.enqueue(key)
    else:
        await _report(run, published)
    # What one resource gave may be what another waits for, and our own writes call for no reconcile.
    again = run.again or not fieldpath.same(before, _read(run, compiled))
    looks = [made.ttl, _interval(run), look, run.retry]
    return Result(min(filter(None, looks), default=None), again=again, on=tuple(run.awaited))


def _interval(run: CompositeRun) -> float | None:
    """Seconds until the composite asks to be looked at again, changes or not; v1.20 knows no such wish."""
    return None if run.context.options.strict_upstream else requests.interval(run.composite)


def _mark(composite: Object) -> None:
    """Set in place what a composite has before anything is chosen: it is saved with the next write."""
    if not has_finalizer(composite, FINALIZER):
        composite["metadata"].setdefault("finalizers", []).append(FINALIZER)
    composite["metadata"].setdefault("labels", {}).setdefault(COMPOSITE_LABEL, meta(composite)["name"])


async def _keep_choice(run: CompositeRun) -> None:
    """Save what was chosen before it went wrong: a composite shows which Composition fails it, and is deleted in order."""
    stored = await run.context.cluster.get(key_of(run.composite))
    if stored is None or meta(stored)["resourceVersion"] != meta(run.composite)["resourceVersion"]:
        return  # it was saved on the way, or somebody has changed it: the next run chooses again
    _mark(stored)
    chosen, kept = run.definition.machinery(run.composite), run.definition.machinery(stored)
    kept |= {name: chosen[name] for name in (*choosing.CHOSEN, "compositionRevisionSelector") if name in chosen}
    if secret := spec_of(run.composite).get("writeConnectionSecretToRef"):
        stored["spec"]["writeConnectionSecretToRef"] = secret
    await run.context.cluster.update(stored)


async def _compose(run: CompositeRun, compiled: composition.Compiled) -> Made:
    helpful = not run.context.options.strict_upstream
    compose = pipelines.compose if compiled.is_pipeline else templates.compose
    return await compose(run, compiled, helpful=helpful)


def _read(run: CompositeRun, compiled: composition.Compiled) -> list[object]:
    """What of the composite decides what it is composed of: what templates read, or all that functions may."""
    if not compiled.is_pipeline:
        return [patch.reads(run.composite) for template in compiled.templates for _, patch in template.from_composite]
    composite: Object = copy.deepcopy({name: run.composite.get(name) or {} for name in ("metadata", "spec", "status")})
    run.definition.machinery(composite).pop("resourceRefs", None)
    for name in flow.own_status(run.definition.status_fields):
        composite["status"].pop(name, None)
    return [labels_of(composite), annotations_of(composite), composite["spec"], composite["status"]]


def _forget(key: Key, context: Context) -> None:
    context.interests.set(key, ())
    context.followers.set(key, "")


async def _check_pipeline(run: CompositeRun, revision: Object) -> None:
    """Raise InvalidInput if a function of the pipeline says that it can't compose."""
    told = await compiling.valid(run.context, revision)
    if told is None or told.status == "True":
        return
    error = InvalidInput(
        f'refusing to use invalid CompositionRevision "{meta(revision)["name"]}": {told.message}',
        mend="use a function that composes, or another version of it",
    )
    error.reason, error.on = "ComposeResources", compiling.awaited_capabilities(revision)
    raise error


# --- the composite's own Secret ---------------------------------------------------------------------------


async def _ask_for_secret(run: CompositeRun, compiled: composition.Compiled, *, helpful: bool) -> None:
    """Give a legacy composite its Secret's place: from the composition, else because its claim asks."""
    spec = run.composite.setdefault("spec", {})
    if not run.definition.is_legacy or spec.get("writeConnectionSecretToRef"):
        return
    namespace = compiled.secrets_namespace
    if not namespace and helpful and await _claim_asks(run):
        namespace = run.context.options.namespace
        run.event(
            "Normal",
            "PublishConnectionSecret",
            f"The claim asks for a connection Secret and the Composition sets no writeConnectionSecretsToNamespace: "
            f'assuming "{namespace}"',
        )
    if namespace:
        spec["writeConnectionSecretToRef"] = {"name": meta(run.composite)["uid"], "namespace": namespace}


async def _claim_asks(run: CompositeRun) -> bool:
    key = composing.claim_key(run)
    claim = await run.context.cluster.get(key) if key else None
    return bool(claim and spec_of(claim).get("writeConnectionSecretToRef"))


async def _publish(run: CompositeRun, details: Mapping[str, bytes]) -> bool | None:
    """Whether that took a write; None if there is no Secret to be written."""
    reference = spec_of(run.composite).get("writeConnectionSecretToRef")
    if not run.definition.is_legacy or not reference:
        return None
    keys = run.definition.connection_secret_keys
    filtered = {name: value for name, value in details.items() if not keys or name in keys}
    await silence.of_details(run, details.keys() - filtered.keys())
    with stage("PublishConnectionSecret", "cannot publish connection details"):
        published = await connection.publish(
            run.context, run.composite, reference["namespace"], reference["name"], filtered
        )
    if published:
        run.event("Normal", "PublishConnectionSecret", "Successfully published connection details")
    return published


# --- reporting ---------------------------------------------------------------------------------------------


def _is_too_early(run: CompositeRun) -> bool:
    """Whether the first report is better left to the run that comes right after: what was just created may be ready by then.

    That run waits behind the composites that are due already, so with many at once most need no other report.
    """
    is_first = conditions.find(run.composite, "Synced") is None
    return is_first and run.created and all(composed.synced for composed in run.composed)


async def _report(run: CompositeRun, published: bool | None) -> None:
    """Say how it went: Synced, Ready, and what is in the way."""
    wanted = run.composite
    known = wanted.setdefault("status", {}).get("connectionDetails") or {}
    if published or (published is not None and not known.get("lastPublishedTime")):  # or the time was not saved then
        wanted["status"]["connectionDetails"] = {**known, "lastPublishedTime": conditions.timestamp(run.context.now())}
    _answer(run, wanted)
    if not (run.context.options.strict_upstream or run.definition.has_own_summary):
        wanted["status"][summary.FIELD] = composing.summed_up(run)
    unsynced = [c.template for c in run.composed if not c.synced]
    unready = [c.template for c in run.composed if not c.ready]
    cause = _cause(run)
    synced = conditions.reconcile_success()
    if unsynced:
        synced = conditions.reconcile_error(conditions.with_cause(f"Unsynced resources: {joined(unsynced)}", cause))
    ready = conditions.available(cause)
    if unready and run.ready is not True:
        ready = conditions.creating(conditions.with_cause(f"Unready resources: {joined(unready)}", cause))
    if run.ready is False and (run.context.options.strict_upstream or not unready):
        helpful = run.withheld and not run.context.options.strict_upstream
        ready = conditions.creating(conditions.with_cause("Resources are held back", run.withheld) if helpful else "")
    previous = conditions.find(wanted, "Ready") or {}
    if unsynced and (conditions.find(wanted, "Synced") or {}).get("status") != "False":
        for name in unsynced:
            run.event("Normal", "ComposeResources", f'Composed resource "{name}" is not yet valid')
    if unready and previous.get("reason") != ready.reason:
        run.event("Normal", "ComposeResources", f"Composed resources are not yet ready: {joined(unready)}")
    outlook = composing.outlook(run, is_ready=ready.status == "True", cause=cause)
    await _write_status(run, synced, ready, outlook=outlook)


def _answer(run: CompositeRun, wanted: Object) -> None:
    """In place: who asked for a look finds that it was taken.  Upstream tells it once, and does not keep it."""
    if run.context.options.strict_upstream or run.definition.has_own_request:
        return
    if requested := requests.asked(wanted):
        wanted["status"][requests.HANDLED] = requested
        run.event("Normal", "ReconcileRequestHandled", f"Handled reconcile request {shown(requested)}")


def _cause(run: CompositeRun) -> str:
    """The first composed resource's own trouble, by name of its template; waits for each other, and checks that are not met, are the last."""
    if run.context.options.strict_upstream:
        return ""
    early = waiting = unmet = ""
    for composed in sorted(run.composed, key=lambda c: (c.synced, c.template)):
        if composed.is_early:
            early = early or composed.trouble
        elif composed.trouble:
            return composed.trouble
        if composed.object is not None and (text := conditions.cause_of(composed.object)):
            found = f"{key_of(composed.object).kind} {composed.template}: {text}"
            if conditions.EARLY not in text:
                return found
            waiting = waiting or found
        if composed.object is not None and composed.unmet:
            unmet = unmet or f"{key_of(composed.object).kind} {composed.template}: {composed.unmet}"
    return early or waiting or unmet or run.withheld


async def _pause(run: CompositeRun) -> None:
    if (conditions.find(run.composite, "Synced") or {}).get("reason") != "ReconcilePaused":
        run.event("Normal", "ReconciliationPaused", "Reconciliation is paused via the pause annotation")
    told = [conditions.reconcile_paused(PAUSED)]
    if conditions.find(run.composite, "Ready") is None and not run.context.options.strict_upstream:
        told.append(conditions.creating())
    await _write_status(run, *told)


async def _delete(run: CompositeRun) -> Result:
    """Delete what it is composed of, then let it go."""
    is_ours = has_finalizer(run.composite, FINALIZER) and not deleting.is_left_alone(run)
    if is_ours and (text := await deleting.advance(run)):
        return await _tell_deletion(run, text)
    await _release(run)
    return Result()


async def _tell_deletion(run: CompositeRun, text: str) -> Result:
    """Say what is waited for; not in the first seconds, in which most of what stands for nothing in a cloud is gone."""
    since = conditions.moment(str(meta(run.composite)["deletionTimestamp"]))
    early = EARLY - (run.context.now() - since).total_seconds() if since else 0.0
    if 0 < early <= EARLY:  # more: the clocks differ
        return Result(requeue_after=early)
    outlook = health.reconciling("Deleting", text)
    if not run.definition.has_own_summary:
        run.composite.get("status", {}).pop(summary.FIELD, None)  # of what is on its way out, the condition tells
    await _write_status(run, conditions.deleting(text), conditions.reconcile_success(), outlook=outlook)
    return Result(requeue_after=LOOK)


async def _release(run: CompositeRun) -> None:
    """Drop our finalizer: what is left, garbage collection finds by its owner references."""
    silence.forget(run)
    key = key_of(run.composite)
    run.composite = await leaving.release(run.composite, FINALIZER, run.context)
    _forget(key, run.context)
    if meta(run.composite).get("finalizers"):
        await _write_status(run, conditions.deleting(), conditions.reconcile_success())


async def _write_status(run: CompositeRun, *told: Condition, outlook: Condition | None = None) -> None:
    wanted = copy.deepcopy(run.composite)
    composing.tell(run, wanted, *told, outlook=outlook)
    run.composite = await run.context.cluster.update(wanted, subresource="status")
