"""Composition → CompositionRevision: the immutable snapshots that composites pin.

Source: Crossplane v1.20, internal/controller/apiextensions/composition/reconciler.go.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from groundplane import functions
from groundplane.core import admission, composition, conditions, definition, typecheck
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
from groundplane.core.structural import OpenAPI
from groundplane.errors import AlreadyExists, Awaited, Conflict, InvalidInput, NoSuchKind, TooDeep, Waiting, at, stage
from groundplane.ports import Context, Result
from groundplane.reconcile import compiling, doubts
from groundplane.reconcile import functions as schemas

SOURCE = "revisions/composition.apiextensions.crossplane.io"
API_VERSION = "apiextensions.crossplane.io/v1"
FITS = "FitsSchemas"  # our condition on Compositions: whether the patches fit the kinds at both their ends, and the bases their own
DECLARED = "FitsDefinition"  # and whether it is what the definition of its composite's kind asks for
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
RECHECK = 300.0  # seconds until a kind that was not there is looked for again


async def reconcile(key: Key, context: Context) -> Result:
    """Snapshot one Composition; then say on it whether it can be rendered at all."""
    found = await context.cluster.get(key)
    if found is None or is_deleting(found):
        return Result()
    if not context.options.strict_upstream:
        context.paces.check("revisions", key, context.uptime())
    with stage("InvalidComposition"):
        outcome = await _fit(found, context)
    with stage("CreateRevision", "cannot create new CompositionRevision"):
        revision = await _snapshot(found, context)
    await _check(found, revision, outcome, context)
    again = RECHECK if outcome is not None and outcome.missing else None
    reference = spec_of(found).get("compositeTypeRef") or {}
    kind = Awaited(group_of(reference.get("apiVersion") or ""), reference.get("kind") or "", served=True)
    return Result(requeue_after=again, on=() if context.options.strict_upstream else (kind,))


async def _snapshot(found: Object, context: Context) -> Object:
    """The revision for the Composition's content as it is: found again, brought to the front, or made.

    Those that lost their controller (restored from a backup) get it back after that: composites choose among those that have it, and none is led
    back to an older one in between.
    """
    name = meta(found)["name"]
    revisions = await context.cluster.heads(
        API_VERSION, "CompositionRevision", composition.head, labels={composition.NAME_LABEL: name}
    )
    own = [each for each in revisions if _is_of(each, found) or _is_lost(each)]
    digest = composition.content_hash(found)[:63]
    same = next((each for each in own if labels_of(each).get(composition.HASH_LABEL) == digest), None)
    others = max((composition.number_of(each) for each in own if each is not same), default=0)
    if same is None or composition.number_of(same) <= others:
        context.paces.spend("revisions", key_of(found), context.followers.count(name), context.uptime())
        same = await _in_front(same, others + 1, found, context)
    for each in own:
        if _is_lost(each) and meta(each)["name"] != meta(same)["name"]:
            await context.cluster.update(_adopted(await _whole(each, context), found))
    if _is_lost(same):
        same = await context.cluster.update(_adopted(await _whole(same, context), found))
    return same


async def _in_front(same: Object | None, number: int, found: Object, context: Context) -> Object:
    """The revision for the content as it is, made or renumbered."""
    if same is None:
        made = composition.revision_for(found, number, strict_upstream=context.options.strict_upstream)
        try:
            made = await context.cluster.create(made)
        except AlreadyExists as error:
            raise Conflict(f"CompositionRevision {meta(made)['name']} appeared meanwhile") from error
        context.events.event(found, "Normal", "CreateRevision", "Created new revision", source=SOURCE)
        return made
    wanted = await _whole(same, context)
    wanted["spec"]["revision"] = number
    updated = await context.cluster.update(_adopted(wanted, found) if _is_lost(same) else wanted)
    if not context.options.strict_upstream:
        context.events.event(found, "Normal", "UpdateRevision", "Updated revision", source=SOURCE)
    return updated


def _is_of(revision: Object, owner: Object) -> bool:
    return bool((controller_of(revision) or {}).get("uid") == meta(owner)["uid"])


def _is_lost(revision: Object) -> bool:
    return controller_of(revision) is None and not is_deleting(revision)


def _adopted(revision: Object, owner: Object) -> Object:
    """A revision given back to its Composition, in place."""
    others = [r for r in meta(revision).get("ownerReferences") or () if r.get("uid") != meta(owner)["uid"]]
    revision["metadata"]["ownerReferences"] = [*others, owner_reference(owner)]
    return revision


async def _whole(head: Object, context: Context) -> Object:
    """The revision that this is the head of, as of the same version."""
    found = await context.cluster.get(key_of(head))
    if found is None or meta(found)["resourceVersion"] != meta(head)["resourceVersion"]:
        raise Conflict(f"{key_of(head)} has changed meanwhile")
    return found


async def _fit(found: Object, context: Context) -> typecheck.Outcome | None:
    """Check the bases, and the patches against the schemas at both their ends; None if that can't be done.

    Upstream's webhook refuses a Composition that does not fit in mode loose or strict.  It is written when we see
    it, so it gets no revision instead: composites stay with the one that they have.

    Raises:
        InvalidInput: it does not fit and must, or its mode is none.
        Waiting: mode strict, and a kind is not there yet.
    """
    mode = typecheck.mode_of(found)
    review = composition.review(spec_of(found))
    if review.spec is None or review.shape or review.sense:
        return None  # told when it is compiled
    find = functions.finder(await compiling.sources_of(context, found), templates=context.options.templates)
    if review.spec.is_pipeline and composition.step_problems(review.spec.pipeline, find):
        return None
    strict_upstream, parts = context.options.strict_upstream, functions.parts(review.spec, find)
    wanted = typecheck.kinds_in(review.spec, *parts)
    schemas = await schemas_of(wanted, context)
    scopes = await scopes_of(review.spec, parts, context)
    outcome = typecheck.check(review.spec, schemas, *parts, scopes=scopes, strict_upstream=strict_upstream)
    if not outcome.refuses(mode):
        return None if strict_upstream else outcome
    with at(f"Composition {meta(found)['name']}"):
        if outcome.misfits:
            raise InvalidInput(outcome.summary(), mend="correct the fields and paths, or add transforms")
        raise Waiting(
            outcome.summary(),
            mend=f"install the kind, or set the annotation {typecheck.MODE_ANNOTATION} to warn",
            on=[
                Awaited(group_of(version), kind, served=True)
                for version, kind in wanted
                if (version, kind) not in schemas
            ],
        )


async def schemas_of(kinds: list[tuple[str, str]], context: Context) -> dict[tuple[str, str], OpenAPI]:
    """The schemas of the kinds, as far as they are served."""
    found: dict[tuple[str, str], OpenAPI] = {}
    for api_version, kind in kinds:
        schema = await schemas.schema(context, api_version, kind)
        if schema is not None:
            found[api_version, kind] = schema
    return found


async def scopes_of(
    spec: composition.CompositionSpec, parts: Sequence[typecheck.Part], context: Context
) -> dict[tuple[str, str], bool]:
    """Whether what a composite in a namespace composes lives in one, as far as the kinds are served; nothing of other composites."""
    composite = (spec.compositeTypeRef.apiVersion, spec.compositeTypeRef.kind)
    if context.options.strict_upstream or not await _namespaced(composite, context):
        return {}
    found = {pair: await _namespaced(pair, context) for pair in typecheck.composed_in(spec, *parts)}
    return {composite: True} | {pair: known for pair, known in found.items() if known is not None}


async def _namespaced(pair: tuple[str, str], context: Context) -> bool | None:
    try:
        return (await context.cluster.resource(*pair)).namespaced
    except NoSuchKind:
        return None


async def _check(found: Object, revision: Object, outcome: typecheck.Outcome | None, context: Context) -> None:
    """Compile the revision now, so that its author learns of mistakes before any claim exists."""
    try:
        await compiling.compiled(context, revision, keep=False)
    except InvalidInput as error:
        error.reason = "InvalidComposition"
        if context.options.strict_upstream:
            return  # upstream is silent here: only composites that use it tell
        raise
    if context.options.strict_upstream:
        return
    told = [conditions.available()]
    if conditions.find(found, "Synced") is not None:
        told.append(conditions.reconcile_success())
    if outcome is not None:
        told += _fitting(found, outcome, context)
    told += await _declared(found, context)
    told += doubts.unread(found, admission.gone_warnings(spec_of(found)), context, SOURCE)
    wanted = copy.deepcopy(found)
    context.tell(wanted, *told, outlook=None)
    await context.cluster.update(wanted, subresource="status")


def _fitting(found: Object, outcome: typecheck.Outcome, context: Context) -> list[Condition]:
    """What to say of how patches and bases fit: nothing, as long as nothing is wrong; a new misfit in an event as well."""
    before = conditions.find(found, FITS) or {}
    text = outcome.summary()
    if outcome.misfits:
        reason = "PatchesDoNotFit" if outcome.problems else "BasesDoNotFit"
        if before.get("message") != text:
            context.events.event(found, "Warning", reason, text, source=SOURCE)
        return [Condition(FITS, "False", reason, text)]
    if not before:
        return []
    if outcome.missing:
        return [Condition(FITS, "Unknown", "SchemasMissing", text)]
    return [Condition(FITS, "True", "PatchesFit")]


async def _declared(found: Object, context: Context) -> list[Condition]:
    """What to say of a Composition that its composites' definition makes useless, or less than it seems: nothing, as long as nothing is wrong."""
    known = await _definition_of(found, context)
    spec = composition.review(spec_of(found)).spec
    if known is None or spec is None:
        return []
    kind = spec.compositeTypeRef.kind
    of_kind, of_claim = (known, None) if kind == known.kind else (None, known)
    problems = admission.composition_warnings(spec, of_kind, of_claim)
    return doubts.told(found, DECLARED, problems, ("DefinitionFits", "DefinitionDoesNotFit"), context, SOURCE)


async def _definition_of(found: Object, context: Context) -> definition.Definition | None:
    """What declares the kind that a Composition is for, as composites or, mistakenly, as claims; None if nothing does now."""
    reference = spec_of(found).get("compositeTypeRef") or {}
    group, kind = group_of(reference["apiVersion"]), reference["kind"]
    known = context.definitions.composite(group, kind) or context.definitions.claim(group, kind)
    name = known.name if known else await _declaring(reference["apiVersion"], kind, context)
    if not name:
        return None
    try:
        xrd = await context.cluster.get(Key(API_VERSION, "CompositeResourceDefinition", "", name))
    except TooDeep:
        return known
    return definition.read(xrd) if xrd else None


async def _declaring(api_version: str, kind: str, context: Context) -> str:
    """The definition whose kind this is, though nobody looks after it yet; "" if there is none."""
    try:
        plural = (await context.cluster.resource(api_version, kind)).plural
    except NoSuchKind:
        return ""
    crd = await context.cluster.get(Key(*CRD, "", f"{plural}.{group_of(api_version)}"))
    owner = (controller_of(crd) if crd else None) or {}
    return str(owner["name"]) if owner.get("kind") == "CompositeResourceDefinition" else ""


async def announce(key: Key, context: Context) -> Result:
    """Have every composite reconciled that may want this new or renumbered revision.

    Those that nobody has reconciled yet since the start look at the revisions that there are when their turn comes.
    """
    found = await context.cluster.get(key)
    if found is None:
        context.compiled_revisions.drop(key.name)
        return Result()
    revision = composition.head(found)
    name = labels_of(revision).get(composition.NAME_LABEL, "")
    all_of_it = await context.cluster.heads(
        API_VERSION, "CompositionRevision", composition.head, labels={composition.NAME_LABEL: name}
    )
    latest = composition.select_revision(
        all_of_it, composition_uid=(controller_of(revision) or {}).get("uid", ""), policy=None, selector={}
    )
    is_latest = latest is None or meta(latest)["name"] == key.name
    context.watches.wake(tuple(context.followers.of(name, latest=is_latest)))
    return await _judge(found, context)


async def _judge(found: Object, context: Context) -> Result:
    """Say on a revision whether the functions of its pipeline may compose."""
    told = await compiling.valid(context, found)
    if told is None or is_deleting(found):
        return Result()
    if told.status == "False" and (conditions.find(found, told.type) or {}).get("message") != told.message:
        context.events.event(found, "Warning", "CheckCapabilities", told.message, source=SOURCE)
    wanted = copy.deepcopy(found)
    conditions.set_on(wanted, told, now=context.now(), generation=meta(found).get("generation"))
    await context.cluster.update(wanted, subresource="status")
    return Result(on=compiling.awaited_capabilities(found))
