"""Mode Resources: the composed resources that templates render, by JSON merge patch.

Source: Crossplane v1.20, internal/controller/apiextensions/composite/composition_pt.go.  References are saved on the composite
before anything is created, and what left the composition is deleted before its reference goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from groundplane.core import claim as flow
from groundplane.core import composition, fieldpath, naming, render, usages
from groundplane.core.objects import Json, Object, annotations_of, applied_by, key_of
from groundplane.core.patches import MEND_IN_STATUS
from groundplane.errors import AlreadyExists, Conflict, InvalidInput, Misshapen, NoSuchKind, Rejected, at
from groundplane.reconcile import composing, restored, silence
from groundplane.reconcile.composing import Composed, CompositeRun, Made
from groundplane.reconcile.difference import merge_patch


async def compose(run: CompositeRun, compiled: composition.Compiled, *, helpful: bool) -> Made:
    """Bring the composed resources in line; the composite's own changes are saved on the way."""
    composite, cluster = run.composite, run.context.cluster
    references = composing.references(run)
    if run.definition.is_namespaced:
        references = [{**reference, "namespace": key_of(composite).namespace} for reference in references]
    kinds = {(r["apiVersion"], r["kind"]) for r in references} | set(compiled.kinds)
    await run.context.watches.ensure(sorted(kinds))
    observed = await _observe(run, compiled)
    if not compiled.is_anonymous:
        wanted = [(template.name, template.api_version, template.kind) for template in compiled.templates]
        observed += (await restored.lost(run, wanted)).values()
    association = render.associate(composite, compiled, references, observed)
    for garbage in association.garbage:
        if not await composing.collect_garbage(run, garbage):
            silence.of_orphan(run, garbage)

    legacy = run.definition.is_legacy
    rendered = render.render(composite, compiled, association.observed, helpful=helpful, legacy=legacy)
    await composing.check_scope(run, rendered)
    if not helpful:
        await _leave_unnamed(run, rendered, association.observed)
    found = render.references(rendered)
    if run.definition.is_namespaced:
        for reference in found:
            reference.pop("namespace", None)  # the composite's own says it
    if not compiled.is_anonymous:  # else the place in the list tells the template
        found += composing.unseen(run, rendered)
    run.definition.machinery(composite)["resourceRefs"] = found
    run.composite = await cluster.update(composite)

    composing.forced(run, rendered)
    await composing.apply_each(run, rendered, lambda item: _apply(run, item, helpful=helpful))
    applied = {
        composed.template: render.Composed(composed.object, await composing.details(run, composed.object))
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
    _leave_to_claim(run, collected.composite)
    status = collected.composite.get("status")
    run.composite = await cluster.update(collected.composite)
    if status is not None:
        run.composite["status"] = status
    return Made(collected.connection, collected.notes)


async def _observe(run: CompositeRun, compiled: composition.Compiled) -> list[Object]:
    """What there is, with what a template made and somebody else controls by now: else it would be made a second time."""
    names = {template.name for template in compiled.templates}
    return [
        obj
        for obj in await composing.observe(run, of_others=True)
        if not composing.is_of_others(run, obj)
        or (compiled.is_anonymous or annotations_of(obj).get(naming.TEMPLATE_ANNOTATION) in names)
    ]


def _leave_to_claim(run: CompositeRun, patched: Object) -> None:
    """What the claim sets in the composite's spec stays so, in place: else both would overwrite each other for ever."""
    for place in _restore(patched.get("spec"), applied_by(run.composite, flow.MANAGER), "spec"):
        if run.context.options.strict_upstream:
            continue
        run.event(
            "Warning",
            "ComposeResources",
            f"{place} is set by the claim: what patches write to it is not taken. "
            "Mend: leave it out of the claim, or patch another field, below status for example.",
        )


def _restore(patched: Json, set_: dict[str, Json], place: str) -> list[str]:
    """Set these values again, in place, and tell where they were others."""
    if not isinstance(patched, dict):
        return []
    found = []
    for name, value in set_.items():
        if isinstance(value, dict) and isinstance(patched.get(name), dict):
            found += _restore(patched[name], value, f"{place}.{name}")
        elif not fieldpath.same(patched.get(name), value):
            patched[name] = value
            found.append(f"{place}.{name}")
    return found


async def _leave_unnamed(run: CompositeRun, rendered: list[render.Rendered], observed: Mapping[str, Object]) -> None:
    """In place: upstream can't name what nobody serves, and refers to it without a name."""
    for index, item in enumerate(rendered):
        if item.template in observed or item.object is None:
            continue
        try:
            await run.context.cluster.resource(item.reference["apiVersion"], item.reference["kind"])
        except NoSuchKind as error:
            unnamed = {name: value for name, value in item.reference.items() if name != "name"}
            rendered[index] = replace(item, object=None, error=error, reference=unnamed)


async def _apply(run: CompositeRun, item: render.Rendered, *, helpful: bool) -> Composed:
    """Create one composed resource, or bring it to what was rendered."""
    if isinstance(item.error, NoSuchKind):
        run.unknown = run.unknown or item.error
        return Composed(item.template, synced=False, trouble=str(item.error))
    if item.object is None:
        run.event("Warning", "ComposeResources", str(item.error))
        early = isinstance(item.error, fieldpath.FieldNotFound)  # or misspelt; nobody can tell
        is_refused = isinstance(item.error, InvalidInput) and not early
        waits = isinstance(item.error, fieldpath.FieldNotFound) and item.error.mend == MEND_IN_STATUS
        return Composed(item.template, synced=False, trouble=str(item.error), is_early=waits, is_refused=is_refused)
    desired, key = item.object, key_of(item.object)
    cluster = run.context.cluster
    try:
        with at(f'cannot apply composed resource "{item.template}"'):
            live = await cluster.get(key)
            if live is not None:
                composing.check_control(run, live)
                if usages.is_usage(key):
                    desired = usages.with_owners_of(live, desired)
                patch = merge_patch(live, desired)
                if not patch:
                    return Composed(item.template, live)
                made = await cluster.patch(key, patch)
            else:
                run.created = True
                try:
                    made = await cluster.create(desired)
                except AlreadyExists as error:
                    raise Conflict(f"{key} appeared meanwhile") from error
    except Rejected as error:
        if isinstance(error, Misshapen) and not helpful:
            raise
        return composing.refused(run, item.template, key, error)
    except NoSuchKind as error:
        if not helpful:
            raise
        return composing.not_served(run, item, error)
    for note in item.notes:
        run.event("Normal", "ComposeResources", note)
    return Composed(item.template, made)
