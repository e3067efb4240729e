"""The answers to the API server's admission requests: facts from the cache, the verdict from `core/admission.py`.

Every replica answers, also one that stands by, so nothing here writes.  No request lists anything at the API server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from groundplane import functions
from groundplane.core import admission, composition, definition_crds, typecheck
from groundplane.core.admission import ALLOWED, Verdict
from groundplane.core.definition import Definition
from groundplane.core.objects import Key, Object, controller_of, group_of, key_of, meta, spec_of
from groundplane.core.spec import Problem
from groundplane.errors import GroundplaneError, InvalidInput, NoSuchKind, Rejected, did_you_mean
from groundplane.ports import Context
from groundplane.reconcile import compiling, revision

API_VERSION = "apiextensions.crossplane.io/v1"
LIKE = 500  # Compositions among which the one is looked for that may be meant

Request = Mapping[str, Any]  # the `request` of an AdmissionReview, as `core.admission.request_in` has checked it
TryOut = Callable[[Object], Awaitable[None]]  # have the API server judge an object that is applied, without keeping it


async def definitions(request: Request, context: Context, try_out: TryOut) -> Verdict:
    """May this CompositeResourceDefinition be written?"""
    xrd, old = _objects(request)
    if xrd is None or xrd["kind"] != "CompositeResourceDefinition" or admission.is_settled(xrd, old):
        return ALLOWED
    strict = context.options.strict_upstream
    if strict:  # where no version has a default for the scope: none is legacy, whichever is written
        xrd, old = {**xrd, "apiVersion": API_VERSION}, {**old, "apiVersion": API_VERSION} if old else None
    warnings = [] if strict else admission.definition_warnings(xrd, old)
    problems = admission.definition_problems(xrd, old, strict_upstream=strict)
    if not problems:
        crds = (
            definition_crds.composite_crd(xrd, strict_upstream=strict),
            definition_crds.claim_crd(xrd, strict_upstream=strict),
        )
        tried = await asyncio.gather(*(_tried(xrd, crd, context, try_out) for crd in crds if crd))
        for refusal, warning in tried:
            problems += refusal
            warnings += warning
    return admission.refused(xrd, problems, warnings) if problems else admission.allowed(warnings)


async def _tried(xrd: Object, crd: Object, context: Context, try_out: TryOut) -> tuple[list[str], list[str]]:
    """What the API server says of a CRD that follows from a definition: why it is refused, or why it could not be asked."""
    name = meta(crd)["name"]
    try:
        live = await context.cluster.get(key_of(crd))
        owner = controller_of(live) if live else None
        if owner and owner.get("uid") != meta(xrd).get("uid"):
            who = f"{owner.get('kind')} {owner.get('name')}"
            return [], [f"CustomResourceDefinition {name} belongs to {who}: this definition waits until it is gone"]
        await try_out(crd)
    except Rejected as error:
        return [f"invalid CRD generated for CompositeResourceDefinition: {error.what}"], []
    except GroundplaneError as error:
        return [], [
            f"whether the API server takes CustomResourceDefinition {name} could not be found out: {error.what}"
        ]
    return [], []


async def compositions(request: Request, context: Context, try_out: TryOut) -> Verdict:
    """May this Composition be written?  Its patches are judged as its annotation asks: warn, loose or strict."""
    obj, old = _objects(request)
    if obj is None or obj["kind"] != "Composition" or (admission.is_settled(obj, old) and _mode(obj) == _mode(old)):
        return ALLOWED
    review = composition.review(spec_of(obj))
    if review.spec is None or review.shape or review.sense:
        return admission.refused(obj, map(admission.told, [*review.shape, *review.sense]))
    try:
        mode = typecheck.mode_of(obj)
    except InvalidInput as error:
        return admission.refused(obj, [f"{error.what} ({error.mend})" if error.mend else error.what])
    strict, warnings, steps = context.options.strict_upstream, list[str](), list[Problem]()
    find = functions.finder(await compiling.sources_of(context, obj), templates=context.options.templates)
    if not strict:
        warnings = [*admission.gone_warnings(spec_of(obj)), *_newcomers(review.spec, context)]
        steps = composition.step_problems(review.spec.pipeline, find) if review.spec.is_pipeline else []
    if steps or (strict and review.spec.is_pipeline):
        return admission.composition(obj, mode, typecheck.Outcome(), steps, warnings)
    parts = functions.parts(review.spec, find)
    schemas = await revision.schemas_of(typecheck.kinds_in(review.spec, *parts), context)
    scopes = await revision.scopes_of(review.spec, parts, context)
    outcome = typecheck.check(review.spec, schemas, *parts, scopes=scopes, strict_upstream=strict)
    return admission.composition(obj, mode, outcome, (), warnings)


def _mode(obj: Object | None) -> object:
    return (meta(obj or {}).get("annotations") or {}).get(typecheck.MODE_ANNOTATION)


def _newcomers(spec: composition.CompositionSpec, context: Context) -> list[str]:
    group, kind = group_of(spec.compositeTypeRef.apiVersion), spec.compositeTypeRef.kind
    known = context.definitions
    return admission.composition_warnings(spec, known.composite(group, kind), known.claim(group, kind))


async def composites(request: Request, context: Context, try_out: TryOut) -> Verdict:
    """Does the Composition exist that a composite or claim names, and is it for its kind?  Never refused: it may come later."""
    obj, _ = _objects(request)
    if obj is None:
        return ALLOWED
    group, kind = group_of(obj["apiVersion"]), obj["kind"]
    claimed = context.definitions.claim(group, kind)
    known = claimed or context.definitions.composite(group, kind)
    name = admission.reference_of(obj, known, is_claim=claimed is not None) if known else ""
    if known is None or not name:
        return ALLOWED
    try:
        named = await context.cluster.get(Key(API_VERSION, "Composition", "", name))
        meant = "" if named else did_you_mean(name, await _usable(known, context))
    except NoSuchKind:
        return ALLOWED
    warning = admission.reference_warning(name, named, known, meant)
    return admission.allowed([warning] if warning else [])


async def _usable(known: Definition, context: Context) -> list[str]:
    """The names of Compositions for this kind."""
    heads = await context.cluster.heads(API_VERSION, "Composition", composition.head)
    found = (meta(head)["name"] for head in heads[:LIKE] if composition.compatible(head, known.api_version, known.kind))
    return sorted(found)


def _objects(request: Request) -> tuple[Object | None, Object | None]:
    """The object as it would be, and as it is."""
    return request.get("object"), request.get("oldObject")
