"""Mode Pipeline: the composed resources that functions desire, by server-side apply.

Source: Crossplane v1.20, internal/controller/apiextensions/composite/composition_functions.go.  What functions no longer desire is
deleted, then references are saved on the composite, then the desired resources are applied, then the composite's status.
A fatal result changes nothing of these.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence

from groundplane.core import claim as flow
from groundplane.core import composition, connection, fieldpath, health, naming, pipeline, render, summary
from groundplane.core.conditions import SYSTEM_TYPES, V1_SYSTEM_TYPES, Condition
from groundplane.core.objects import (
    Json,
    Object,
    annotations_of,
    group_of,
    is_composite,
    key_of,
    meta,
    spec_of,
    status_of,
)
from groundplane.core.pipeline import Found, Outcome, Resource, Selector, Wanted
from groundplane.core.render import Rendered
from groundplane.errors import (
    Awaited,
    Busy,
    Conflict,
    GroundplaneError,
    InvalidInput,
    Misshapen,
    NoSuchKind,
    Rejected,
    at,
)
from groundplane.ports import MANAGER
from groundplane.reconcile import composing, functions, handover, restored, silence
from groundplane.reconcile import connection as secrets
from groundplane.reconcile.composing import Composed, CompositeRun, Made

COMPOSITE_MANAGER = "apiextensions.crossplane.io/composite"
COMPOSED_MANAGER = "apiextensions.crossplane.io/composed"
# Of the metadata: who manages an object writes there, too.
KEPT = ("labels", "annotations", "finalizers", "ownerReferences")


def composed_manager(composite: Object) -> str:
    """The field manager of everything that this composite is composed of."""
    key = key_of(composite)
    kind = f"{key.kind}.{key.group}"
    return f"{COMPOSED_MANAGER}/{hashlib.sha256(f'{key.name}{kind}'.encode()).hexdigest()}"


async def compose(run: CompositeRun, compiled: composition.Compiled, *, helpful: bool) -> Made:
    """Bring the composed resources in line with what the functions desire."""
    try:
        return await _compose(run, compiled, helpful=helpful)
    except (Conflict, Busy):
        raise
    except GroundplaneError as error:
        if isinstance(error, pipeline.Stopped):
            await _hear(run, error.outcome)
        await _leave_word(run)
        raise


async def _compose(run: CompositeRun, compiled: composition.Compiled, *, helpful: bool) -> Made:
    run.composite = await run.context.cluster.update(run.composite)
    kinds = {(reference["apiVersion"], reference["kind"]) for reference in composing.references(run)}
    await run.context.watches.ensure(sorted(kinds))
    observed, held = await _observed(run)
    outcome = await _outcome(run, compiled, observed)
    held |= await _lost(run, outcome)
    scope = run.definition.scope
    rendered = pipeline.compose(run.composite, outcome.desired, {**held, **observed}, scope=scope, v1=not helpful)
    if helpful:  # upstream's v1 leaves it to the API server
        composing.check_names(rendered)
    await composing.check_scope(run, rendered)
    for name in observed.keys() - outcome.desired.resources.keys():
        if not await composing.collect_garbage(run, observed[name].object):
            silence.of_orphan(run, observed[name].object)
    for item in rendered:
        if item.template in observed and not pipeline.is_of_kind(observed[item.template].object, item.reference):
            silence.of_former(run, observed[item.template].object, item.template, item.reference["kind"])
    await _refer(run, rendered)
    await run.context.watches.ensure(
        sorted({(item.reference["apiVersion"], item.reference["kind"]) for item in rendered})
    )
    composing.forced(run, rendered)
    await composing.apply_each(run, rendered, lambda item: _apply(run, item, outcome, helpful=helpful))
    await _apply_status(run, outcome.desired.composite.object)
    await _hear(run, outcome)
    details = dict(outcome.desired.composite.connection)
    told = []
    if helpful and not compiled.keep_host_port and connection.without_port(details):
        told.append(
            "The connection detail host has the port in it: publishing it without (annotate the Composition "
            'groundplane.io/keep-host-port: "true" to keep it)'
        )
    return Made(details, told, outcome.ttl)


# --- what the functions are asked -----------------------------------------------------------------------------


async def _observed(run: CompositeRun) -> tuple[dict[str, Resource], dict[str, Resource]]:
    """What functions are shown; and what somebody else controls by now, whose name its template keeps: else it is made twice."""
    observed: dict[str, Resource] = {}
    held: dict[str, Resource] = {}
    for obj in await composing.observe(run, of_others=True):
        name = annotations_of(obj).get(naming.TEMPLATE_ANNOTATION)
        if composing.is_of_others(run, obj):
            held |= {name: Resource(obj)} if name else {}
            continue
        if not name:
            raise InvalidInput(
                f'encountered composed resource without required "{naming.TEMPLATE_ANNOTATION}" annotation: {key_of(obj)}',
                mend="annotate it with the name of the resource in the composition, or delete it",
            )
        observed[name] = Resource(fieldpath.normalised(obj), await composing.details(run, obj))
    return observed, held


async def _lost(run: CompositeRun, outcome: Outcome) -> dict[str, Resource]:
    """What keeps its name as it was made by a predecessor of the composite: functions observe it from the next run on."""
    desired = {name: resource.object for name, resource in outcome.desired.resources.items()}
    wanted = [(name, str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")) for name, obj in desired.items()]
    return {name: Resource(obj) for name, obj in (await restored.lost(run, wanted)).items()}


async def _outcome(run: CompositeRun, compiled: composition.Compiled, observed: Mapping[str, Resource]) -> Outcome:
    seen: tuple[Selector, ...] = ()
    run.context.interests.set(key_of(run.composite), seen)
    composite = Resource(fieldpath.normalised(run.composite), await _own_details(run))
    running = pipeline.calls(
        composite,
        compiled.steps,
        observed,
        credentials=await functions.credentials(run.context, compiled.steps),
        hands_over=True,
    )

    async def see(wanted: Wanted) -> Found:
        nonlocal seen
        seen += tuple(selector for selector in wanted.selectors if selector not in seen)
        run.context.interests.set(key_of(run.composite), seen)  # before looking: what changes meanwhile counts
        return await _found(run, wanted)

    return await functions.run(run.context, running, see)


async def _found(run: CompositeRun, wanted: Wanted) -> Found:
    """What a function wants to see; a change of it calls for another run."""
    found = await functions.found(run.context, wanted)
    for objects in (*found.resources.values(), *found.extra.values()):
        run.context.interests.saw(key_of(run.composite), objects)
    for name, what in wanted.schemas.items():
        if found.schemas[name] is None:
            run.awaited.append(Awaited(group_of(what.api_version), what.kind, served=True))
    return found


async def _own_details(run: CompositeRun) -> dict[str, bytes]:
    reference = spec_of(run.composite).get("writeConnectionSecretToRef")
    if not run.definition.is_legacy or not reference:
        return {}
    return await secrets.read_own(run.context, run.composite, reference["namespace"], reference["name"])


# --- what becomes of the answer ---------------------------------------------------------------------------------


async def _refer(run: CompositeRun, rendered: Sequence[Rendered]) -> None:
    """Save on the composite what it is composed of, before anything is made."""
    wanted: Object = _named_as(run.composite)
    found = [dict(item.reference) for item in rendered]
    if run.definition.is_namespaced or (run.definition.is_legacy and run.context.options.strict_upstream):
        for reference in found:  # the composite's own namespace says it, or upstream's schema has no such field
            reference.pop("namespace", None)
    found += [reference for reference in composing.unseen(run, rendered) if reference not in found]
    found.sort(key=lambda entry: [entry.get(name, "") for name in ("apiVersion", "kind", "namespace", "name")])
    run.definition.machinery(wanted)["resourceRefs"] = found
    run.composite = await run.context.cluster.apply(wanted, manager=COMPOSITE_MANAGER)


def _named_as(obj: Object) -> Object:
    """An object that says of itself only which one it is, as we have seen it.

    With its version, since an edit that came in between would be in the answer to our own write, and call for no reconcile.
    """
    key = key_of(obj)
    metadata = {"name": key.name, "resourceVersion": meta(obj)["resourceVersion"]}
    metadata |= {"namespace": key.namespace} if key.namespace else {}
    return {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata}


async def _apply(run: CompositeRun, item: Rendered, outcome: Outcome, *, helpful: bool) -> Composed:
    desired = item.object or {}
    ready = outcome.desired.resources[item.template].ready is True
    notes = list(item.notes)
    manager = composed_manager(run.composite)
    cluster = run.context.cluster
    try:
        with at(f'cannot apply composed resource "{item.template}"'):
            live = await cluster.get(key_of(desired))
            if helpful:
                render.name_secret(run.composite, item.template, desired, notes, live)
            if live is not None:
                composing.check_control(run, live)
                live = await handover.begin(run.context, live, COMPOSED_MANAGER)
            made = await cluster.apply(desired, manager=manager)
            made = await _let_go(run, made)
    except InvalidInput as error:
        if isinstance(error, Misshapen) and not helpful:  # upstream takes but a 422 for the object's fault
            raise
        return composing.refused(run, item.template, key_of(desired), error, ready=ready)
    except NoSuchKind as error:
        if not helpful:
            raise
        return composing.not_served(run, item, error)
    run.created = run.created or live is None
    if live is None or meta(live).get("resourceVersion") != meta(made).get("resourceVersion"):
        run.again = True  # functions have not observed it yet
        for note in notes:
            run.event("Normal", "ComposeResources", note)
    is_judged = outcome.desired.resources[item.template].ready is False
    return Composed(item.template, made, ready=ready, is_judged=is_judged)


async def _apply_status(run: CompositeRun, desired: Object) -> None:
    """The composite's status is what the last function desires; what functions stop to desire goes."""
    status = desired.get("status") or {}
    if (
        isinstance(status, dict) and not run.definition.has_own_summary
    ):  # a function's mistake is for the API server to tell
        status = {name: value for name, value in status.items() if name != summary.FIELD}
    is_new = not handover.has_applied(run.composite, COMPOSITE_MANAGER, "status")
    if not status and is_new and not await _has_patched_status(run):
        return
    if _has_their_status(run):  # else there is nothing to hand over: four requests of each new composite
        run.composite = await handover.begin(run.context, run.composite, COMPOSITE_MANAGER, "status")
    if status or not is_new:
        wanted = _named_as(run.composite) | {"status": status}
        run.composite = await run.context.cluster.apply(wanted, manager=COMPOSITE_MANAGER, subresource="status")
    run.composite = await _let_go(run, run.composite, "status")


async def _let_go(run: CompositeRun, obj: Object, subresource: handover.Subresource = "") -> Object:
    """After an apply: what was handed over and is not applied goes, but for what others of us keep there by plain updates.

    What the API server does not let go stays, and nobody owns it.
    """
    if not handover.is_under_way(obj, subresource):
        return obj
    kept: Object = _named_as(obj)
    if subresource:
        kept["status"] = {name: value for name, value in status_of(obj).items() if name in _own_status(run)}
    else:
        kept["metadata"] |= {name: meta(obj)[name] for name in KEPT if name in meta(obj)}
        if machinery := _machinery_of(obj):
            kept["spec"] = machinery
    try:
        obj = await run.context.cluster.apply(kept, manager=handover.MANAGER, subresource=subresource)
    except Rejected as error:
        run.event("Normal", "ComposeResources", f"{key_of(obj)} keeps what its composition no longer has: {error}")
    return await handover.end(run.context, obj, subresource)


def _machinery_of(obj: Object) -> dict[str, Json]:
    """What of a composed composite's, or claim's, spec its own reconciler writes: without it, it would make all of its resources anew."""
    spec = spec_of(obj)
    if not (is_composite(obj) or "resourceRef" in spec):
        return {}
    return {name: value for name, value in spec.items() if name in flow.MACHINERY or name == "crossplane"}


async def _has_patched_status(run: CompositeRun) -> bool:
    """Whether patches of mode Resources wrote to the definition's own status."""
    if not _has_their_status(run):
        return False
    live = await run.context.cluster.get(key_of(run.composite), live=True)
    own = {f"f:{name}" for name in _own_status(run)} | {"."}
    return any(
        entry.get("manager") == MANAGER and ((entry.get("fieldsV1") or {}).get("f:status") or {}).keys() - own
        for entry in meta(live or {}).get("managedFields") or ()
        if entry.get("subresource") == "status"
    )


def _has_their_status(run: CompositeRun) -> bool:
    """Whether anything is in the status beside what is ours."""
    return bool(status_of(run.composite).keys() - _own_status(run))


def _own_status(run: CompositeRun) -> frozenset[str]:
    """The fields of a composite's status that are not its definition's."""
    return frozenset(flow.own_status(run.definition.status_fields))


# --- what the functions told --------------------------------------------------------------------------------------


async def _hear(run: CompositeRun, outcome: Outcome) -> None:
    """Events for results, and conditions for the composite's status, which is written later."""
    for told in outcome.conditions:
        if told.condition.type in _reserved(run):
            continue
        run.told.append(told.condition)
        if told.to_claim:
            run.claim_types.append(told.condition.type)
    run.ready = outcome.desired.composite.ready
    warnings = [result.message for _, result in outcome.results if result.severity == "Warning"]
    run.withheld = warnings[0] if warnings and run.ready is False else ""
    for step, hint in outcome.hints:
        silence.once(run, run.composite, "ComposeResources", f'Pipeline step "{step}": {hint}')
    claim = await _claim(run) if any(result.to_claim for _, result in outcome.results) else None
    for step, result in outcome.results:
        reason = result.reason or "ComposeResources"
        if result.severity == "Unknown":
            words = "returned a result of unknown severity (assuming warning)"
            run.event("Warning", reason, f'Pipeline step "{step}" {words}: {result.message}')
            continue
        run.event(result.severity, reason, f'Pipeline step "{step}": {result.message}')
        if result.to_claim and claim is not None:
            run.context.events.event(
                claim,
                "Warning" if result.severity == "Warning" else "Normal",
                reason,
                result.message,
                source=composing.SOURCE,
            )


async def _claim(run: CompositeRun) -> Object | None:
    key = composing.claim_key(run)
    return await run.context.cluster.get(key) if key else None


async def _leave_word(run: CompositeRun) -> None:
    """What functions told before it failed; of what they told earlier and not now, nothing is known."""
    heard = {condition.type for condition in run.told}
    lost = [
        Condition(
            condition["type"],
            "Unknown",
            "FatalError",
            "A fatal error occurred before the status of this condition could be determined.",
        )
        for condition in status_of(run.composite).get("conditions") or ()
        if condition.get("type") not in heard | _reserved(run)
    ]
    if not run.told and not lost:
        return
    wanted = copy.deepcopy(run.composite)
    composing.tell(run, wanted, *lost, outlook=health.outlook(wanted))
    run.composite = await run.context.cluster.update(wanted, subresource="status")


def _reserved(run: CompositeRun) -> frozenset[str]:
    """Types of conditions that no function sets: upstream's own, and ours beside them."""
    return V1_SYSTEM_TYPES if run.context.options.strict_upstream else SYSTEM_TYPES | health.TYPES
