"""Mode Resources: the composed resources that templates render, by JSON merge patch.

Source: Crossplane v1.20, internal/controller/apiextensions/composite/composition_pt.go.  References are saved on the composite
before anything is created, and what left the composition is deleted before its reference goes.
"""

from __future__ import annotations

from groundplane.core import composition, render
from groundplane.core.objects import key_of
from groundplane.errors import AlreadyExists, Conflict, Rejected, at
from groundplane.reconcile import composing
from groundplane.reconcile.composing import Composed, Made, Run
from groundplane.reconcile.difference import merge_patch


async def compose(run: Run, compiled: composition.Compiled, *, helpful: bool) -> Made:
    """Bring the composed resources in line; the composite's own changes are saved on the way."""
    composite, cluster = run.composite, run.context.cluster
    references = composing.references(run)
    kinds = {(r["apiVersion"], r["kind"]) for r in references} | set(compiled.kinds)
    await run.context.watches.ensure(sorted(kinds))
    association = render.associate(composite, compiled, references, await composing.observe(run))
    for garbage in association.garbage:
        await composing.collect_garbage(run, garbage)

    rendered = render.render(composite, compiled, association.observed, helpful=helpful)
    found = render.references(rendered)
    if not compiled.is_anonymous:  # else the place in the list tells the template
        found += composing.unseen(run, rendered)
    run.definition.machinery(composite)["resourceRefs"] = found
    run.composite = await cluster.update(composite)

    for item in rendered:
        run.composed.append(await _apply(run, item))
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
    status = collected.composite.get("status")
    run.composite = await cluster.update(collected.composite)
    if status is not None:
        run.composite["status"] = status
    return Made(collected.connection, collected.notes)


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
                composing.check_control(run, live)
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
