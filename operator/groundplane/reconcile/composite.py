"""Composite → composed resources: pick a revision, render, apply, collect, report.

Source: Crossplane v1.20, internal/controller/apiextensions/composite (reconciler.go, composition_pt.go).
The order is the safety: references to composed resources are saved on the composite before anything
is created, and what left the composition is deleted before its reference goes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from groundplane.core import claim as flow
from groundplane.core import composition, conditions, render
from groundplane.core.conditions import Condition
from groundplane.core.definition import Definition
from groundplane.core.objects import (
    Key,
    Object,
    controller_of,
    has_finalizer,
    is_deleting,
    is_paused,
    joined,
    key_of,
    meta,
    spec_of,
)
from groundplane.errors import (
    AlreadyExists,
    Conflict,
    InvalidInput,
    NoSuchKind,
    Rejected,
    Waiting,
    at,
    stage,
)
from groundplane.ports import Context, Result
from groundplane.reconcile import compiling, connection
from groundplane.reconcile.difference import merge_patch

FINALIZER = "composite.apiextensions.crossplane.io"
SOURCE = "defined/compositeresourcedefinition.apiextensions.crossplane.io"
COMPOSITE_LABEL = "crossplane.io/composite"
CORE = "apiextensions.crossplane.io"
CORE_VERSION = f"{CORE}/v1"


@dataclass
class Composed:
    """What became of one template in this run."""

    template: str
    object: Object | None = None
    synced: bool = True
    ready: bool = False
    trouble: str = ""  # why it is not synced


@dataclass
class Run:
    """One reconcile of one composite: what is known so far."""

    context: Context
    definition: Definition
    composite: Object
    composed: list[Composed] = field(default_factory=list)

    def event(self, type_: str, reason: str, message: str) -> None:
        self.context.events.event(
            self.composite,
            "Warning" if type_ == "Warning" else "Normal",
            reason,
            message,
            source=SOURCE,
            annotations={"controller": f"composite/{self.definition.name}"},
        )


async def reconcile(key: Key, context: Context) -> Result:
    """Bring one composite and its composed resources in line."""
    definition = context.definitions.composite(key.group, key.kind)
    if definition is None:
        return Result()
    composite = await context.cluster.get(key)
    if composite is None:
        return Result()
    run = Run(context, definition, composite)
    if is_paused(composite):
        await _pause(run)
        return Result()
    if is_deleting(composite):
        await _release(run)
        return Result()

    revision = await _select(run)
    with stage("ComposeResources", "refusing to use invalid Composition"):
        compiled = await compiling.compiled(context, revision)
    with stage("ComposeResources", "cannot compose resources"):
        collected = await _compose(run, compiled)
    published = await _publish(run, collected.connection)
    for note in collected.notes if published else ():
        run.event("Normal", "PublishConnectionSecret", note)
    await _report(run, published)
    return Result()


# --- choosing ------------------------------------------------------------------------------------------


async def _select(run: Run) -> Object:
    """Choose composition and revision; both are set on `run.composite`, in memory."""
    before = copy.deepcopy(spec_of(run.composite))
    with stage("SelectComposition", "cannot select Composition"):
        await _select_composition(run)
    with stage("SelectComposition", "cannot select CompositionRevision"):
        revision = await _select_revision(run)
    machinery = run.definition.machinery(run.composite)
    old = run.definition.machinery({"spec": before})
    chosen = []
    if old.get("compositionRef") != machinery["compositionRef"]:
        chosen.append(f"Successfully selected composition: {machinery['compositionRef']['name']}")
    if old.get("compositionRevisionRef") != machinery["compositionRevisionRef"]:
        chosen.append(f"Selected composition revision: {meta(revision)['name']}")
    if chosen:
        run.event("Normal", "SelectComposition", "; ".join(chosen))
    return revision


async def _select_composition(run: Run) -> None:
    machinery = run.definition.machinery(run.composite)
    reference = machinery.get("compositionRef") or {}
    enforced = run.definition.enforced_composition
    if enforced and reference.get("name") != enforced:
        machinery["compositionRef"] = {"name": enforced}
        run.event("Normal", "CompositionSelection", "Enforced composition has been selected")
        return
    if reference.get("name"):
        return
    default = run.definition.default_composition
    selector = (machinery.get("compositionSelector") or {}).get("matchLabels") or {}
    if default and not machinery.get("compositionSelector"):
        machinery["compositionRef"] = {"name": default}
        run.event("Normal", "CompositionSelection", "Default composition has been selected")
        return
    key = key_of(run.composite)
    candidates = await run.context.cluster.list(CORE_VERSION, "Composition", labels=selector)
    fitting = [c for c in candidates if composition.compatible(c, key.api_version, key.kind)]
    if not fitting:
        raise Waiting(
            _nothing_fits(key, selector, candidates),
            mend="apply a Composition whose spec.compositeTypeRef names them"
            + (f" and that carries the labels {_labels_text(selector)}" if selector else ""),
            on=[(CORE, "Composition")],
        )
    chosen = fitting[run.context.choose(len(fitting))]
    machinery["compositionRef"] = {"name": meta(chosen)["name"]}


def _nothing_fits(key: Key, selector: Mapping[str, str], candidates: Sequence[Object]) -> str:
    text = f"no compatible Compositions found for apiVersion {key.api_version}, kind {key.kind}"
    if selector:
        text += f" with labels {_labels_text(selector)}"
    others = sorted(
        f"{meta(c)['name']} is for {reference.get('kind')} of {reference.get('apiVersion')}"
        for c in candidates
        for reference in [spec_of(c).get("compositeTypeRef") or {}]
    )[:3]
    return f"{text} ({'; '.join(others)})" if others else text


def _labels_text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


async def _select_revision(run: Run) -> Object:
    machinery = run.definition.machinery(run.composite)
    name = machinery["compositionRef"]["name"]
    policy = machinery.get("compositionUpdatePolicy")
    pinned = (machinery.get("compositionRevisionRef") or {}).get("name")
    cluster = run.context.cluster
    if policy == "Manual" and pinned:
        revision = await cluster.get(Key(CORE_VERSION, "CompositionRevision", "", pinned))
        if revision is None:
            raise Waiting(
                f'CompositionRevision "{pinned}" not found',
                mend="name an existing revision in compositionRevisionRef, or remove it",
                on=[(CORE, "CompositionRevision")],
            )
        return await _checked(run, revision)
    origin = await cluster.get(Key(CORE_VERSION, "Composition", "", name))
    if origin is None:
        raise Waiting(
            f'Composition "{name}" not found',
            mend="apply it, or correct spec.compositionRef.name",
            on=[(CORE, "Composition")],
        )
    revisions = await cluster.list(CORE_VERSION, "CompositionRevision", labels={"crossplane.io/composition-name": name})
    selector = (machinery.get("compositionRevisionSelector") or {}).get("matchLabels") or {}
    revision = composition.select_revision(
        revisions, composition_uid=meta(origin)["uid"], policy=policy, selector=selector
    )
    if revision is None:
        raise Waiting(
            f'no compatible CompositionRevisions found for Composition "{name}"'
            + (f" with labels {_labels_text(selector)}" if selector and policy == "Automatic" else ""),
            mend="correct spec.compositionRevisionSelector, or wait a moment if the Composition is new",
            on=[(CORE, "CompositionRevision")],
        )
    machinery["compositionRevisionRef"] = {"name": meta(revision)["name"]}
    return await _checked(run, revision)


async def _checked(run: Run, revision: Object) -> Object:
    key = key_of(run.composite)
    if composition.compatible(revision, key.api_version, key.kind):
        return revision
    reference = spec_of(revision).get("compositeTypeRef") or {}
    raise InvalidInput(
        "referenced composition is not compatible with this composite resource: "
        f"it is for {reference.get('kind')} of {reference.get('apiVersion')}, this is {key.kind} of {key.api_version}",
        mend="name a Composition for this kind in spec.compositionRef",
    )


# --- composing -------------------------------------------------------------------------------------------


async def _compose(run: Run, compiled: composition.Compiled) -> render.Collected:
    if compiled.is_pipeline:
        raise InvalidInput("pipelines are not composed yet", mend="use mode Resources")
    composite, cluster = run.composite, run.context.cluster
    helpful = not run.context.options.strict_upstream
    if not has_finalizer(composite, FINALIZER):
        composite["metadata"].setdefault("finalizers", []).append(FINALIZER)
    composite["metadata"].setdefault("labels", {}).setdefault(COMPOSITE_LABEL, meta(composite)["name"])
    await _ask_for_secret(run, compiled, helpful=helpful)

    references = run.definition.machinery(composite).get("resourceRefs") or []
    kinds = {(r["apiVersion"], r["kind"]) for r in references} | set(compiled.kinds)
    await run.context.watches.ensure(sorted(kinds))
    found = await _observe(run, references)
    association = render.associate(composite, compiled, references, found)
    for garbage in association.garbage:
        await _collect_garbage(run, garbage)

    rendered = render.render(composite, compiled, association.observed, helpful=helpful)
    run.definition.machinery(composite)["resourceRefs"] = render.references(rendered)
    run.composite = await cluster.update(composite)

    for item in rendered:
        run.composed.append(await _apply(run, item))
    applied = {
        composed.template: render.Composed(composed.object, await _details(run, composed.object))
        for composed in run.composed
        if composed.object is not None and composed.synced
    }
    try:
        collected = render.collect(run.composite, compiled, applied, helpful=helpful)
    except render.Broken as error:  # what was patched into the status until then stays, as upstream has it
        await cluster.update(error.composite, subresource="status")
        raise
    for composed in run.composed:
        composed.ready = collected.ready.get(composed.template, False)
    status = collected.composite.get("status")
    run.composite = await cluster.update(collected.composite)
    if status is not None:
        run.composite["status"] = status
    return collected


async def _observe(run: Run, references: Sequence[Mapping[str, str]]) -> list[Object]:
    """The composed resources that the composite refers to and that are there."""
    found = []
    for reference in references:
        if not reference.get("name"):
            continue
        key = Key(reference["apiVersion"], reference["kind"], reference.get("namespace", ""), reference["name"])
        try:
            obj = await run.context.cluster.get(key)
        except NoSuchKind:
            continue
        controller = controller_of(obj) if obj else None
        if obj and (controller is None or controller.get("uid") == meta(run.composite)["uid"]):
            found.append(obj)
    return found


async def _collect_garbage(run: Run, garbage: Object) -> None:
    """Delete what left the composition; never what we do not control."""
    controller = controller_of(garbage)
    if is_deleting(garbage) or controller is None or controller.get("uid") != meta(run.composite)["uid"]:
        return
    key = key_of(garbage)
    names = (COMPOSITE_LABEL, flow.CLAIM_NAME, flow.CLAIM_NAMESPACE)
    await run.context.cluster.patch(key, {"metadata": {"labels": dict.fromkeys(names)}})
    await run.context.cluster.delete(key, uid=meta(garbage)["uid"])


async def _apply(run: Run, item: render.Rendered) -> Composed:
    """Create one composed resource, or bring it to what was rendered."""
    if item.object is None:
        run.event("Warning", "ComposeResources", str(item.error))
        return Composed(item.template, synced=False, trouble=str(item.error))
    desired, key = item.object, key_of(item.object)
    cluster = run.context.cluster
    try:
        with at(f'cannot apply composed resource "{item.template}"'):
            live = await cluster.get(key)
            if live is not None:
                _check_control(run, live)
                patch = merge_patch(live, desired)
                if not patch:
                    return Composed(item.template, live)
                made = await cluster.patch(key, patch)
            else:
                try:
                    made = await cluster.create(desired)
                except AlreadyExists as error:
                    raise Conflict(f"{key} appeared meanwhile") from error
    except Rejected as error:
        run.event("Warning", "ComposeResources", str(error))
        return Composed(item.template, synced=False, trouble=str(error))
    for note in item.notes:
        run.event("Normal", "ComposeResources", note)
    return Composed(item.template, made)


def _check_control(run: Run, live: Object) -> None:
    controller = controller_of(live)
    if controller is not None and controller.get("uid") != meta(run.composite)["uid"]:
        raise InvalidInput(
            f"existing object is not controlled by this composite: {key_of(live)} belongs to "
            f"{controller.get('kind')} {controller.get('name')}",
            mend="give the template another name, or delete that object",
        )


async def _details(run: Run, obj: Object) -> dict[str, bytes]:
    reference = spec_of(obj).get("writeConnectionSecretToRef") or {}
    if not isinstance(reference, dict) or not reference.get("name"):
        return {}
    namespace = meta(obj).get("namespace") or reference.get("namespace") or ""
    return await connection.read(run.context, namespace, reference["name"])


# --- the composite's own Secret ---------------------------------------------------------------------------


async def _ask_for_secret(run: Run, compiled: composition.Compiled, *, helpful: bool) -> None:
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


async def _claim_asks(run: Run) -> bool:
    reference = spec_of(run.composite).get("claimRef")
    if not reference:
        return False
    key = Key(reference["apiVersion"], reference["kind"], reference["namespace"], reference["name"])
    claim = await run.context.cluster.get(key)
    return bool(claim and spec_of(claim).get("writeConnectionSecretToRef"))


async def _publish(run: Run, details: Mapping[str, bytes]) -> bool | None:
    """Whether that took a write; None if there is no Secret to be written."""
    reference = spec_of(run.composite).get("writeConnectionSecretToRef")
    if not run.definition.is_legacy or not reference:
        return None
    keys = run.definition.connection_secret_keys
    filtered = {name: value for name, value in details.items() if not keys or name in keys}
    with stage("PublishConnectionSecret", "cannot publish connection details"):
        published = await connection.publish(
            run.context, run.composite, reference["namespace"], reference["name"], filtered
        )
    if published:
        run.event("Normal", "PublishConnectionSecret", "Successfully published connection details")
    return published


# --- reporting ---------------------------------------------------------------------------------------------


async def _report(run: Run, published: bool | None) -> None:
    """Say how it went: Synced, Ready, and what is in the way."""
    wanted = run.composite
    known = wanted.setdefault("status", {}).get("connectionDetails") or {}
    if published or (published is not None and not known.get("lastPublishedTime")):  # or the time was not saved then
        wanted["status"]["connectionDetails"] = {**known, "lastPublishedTime": conditions.timestamp(run.context.now())}
    unsynced = [c.template for c in run.composed if not c.synced]
    unready = [c.template for c in run.composed if not c.ready]
    synced = conditions.reconcile_success()
    if unsynced:
        synced = conditions.reconcile_error(
            conditions.with_cause(f"Unsynced resources: {joined(unsynced)}", _cause(run))
        )
    ready = conditions.available()
    if unready:
        ready = conditions.creating(conditions.with_cause(f"Unready resources: {joined(unready)}", _cause(run)))
    previous = conditions.find(wanted, "Ready") or {}
    if unsynced and (conditions.find(wanted, "Synced") or {}).get("status") != "False":
        for name in unsynced:
            run.event("Normal", "ComposeResources", f'Composed resource "{name}" is not yet valid')
    if unready and previous.get("reason") != ready.reason:
        run.event("Normal", "ComposeResources", f"Composed resources are not yet ready: {joined(unready)}")
    await _write_status(run, synced, ready)


def _cause(run: Run) -> str:
    """The first composed resource's own trouble, by name of its template."""
    if run.context.options.strict_upstream:
        return ""
    for composed in sorted(run.composed, key=lambda c: (c.synced, c.template)):
        if composed.trouble:
            return composed.trouble
        if composed.object is not None and (text := conditions.cause_of(composed.object)):
            return f"{key_of(composed.object).kind} {composed.template}: {text}"
    return ""


async def _pause(run: Run) -> None:
    message = "Reconciliation is paused via the pause annotation"
    if (conditions.find(run.composite, "Synced") or {}).get("reason") != "ReconcilePaused":
        run.event("Normal", "ReconciliationPaused", message)
    await _write_status(run, conditions.reconcile_paused(message))


async def _release(run: Run) -> None:
    """Drop our finalizer, and nothing else: garbage collection follows the owner references."""
    composite = copy.deepcopy(run.composite)
    if has_finalizer(composite, FINALIZER):
        composite["metadata"]["finalizers"] = [n for n in meta(composite)["finalizers"] if n != FINALIZER]
        run.composite = await run.context.cluster.update(composite)
    if meta(run.composite).get("finalizers"):
        await _write_status(run, conditions.deleting(), conditions.reconcile_success())


async def _write_status(run: Run, *told: Condition) -> None:
    context = run.context
    wanted = copy.deepcopy(run.composite)
    conditions.set_on(wanted, *told, now=context.now(), generation=context.observed_generation(run.composite))
    await context.cluster.update(wanted, subresource="status")
