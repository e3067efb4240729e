"""What can be wrong with a Composition: by itself, against the schemas at both ends of its patches, and in what it renders."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from groundplane.core import choice, composition, fieldpath, mistakes, pipeline, preview, typecheck
from groundplane.core.composition import CompositionSpec
from groundplane.core.objects import Json, Object, group_of, meta, spec_of
from groundplane.core.pipeline import Find
from groundplane.core.spec import Problem
from groundplane.core.validation import accounts
from groundplane.core.validation.findings import Finding, Severity, Type
from groundplane.core.validation.library import Library
from groundplane.errors import GroundplaneError, InvalidInput, Required, did_you_mean, shown

if TYPE_CHECKING:
    from groundplane.core.validation.library import Parts


ROUNDS = 5  # in each of which what is found wrong is taken out, and the rest looked at again
_PLACES = [  # of what can be taken out, from the inside to the outside
    re.compile(rf".*\b(?:{words})\[\d+\]")
    for words in ("patches|readinessChecks|connectionDetails", "resources|patchSets")
]
_SOUND: Mapping[str, Object] = {
    "patches": {
        "type": "FromCompositeFieldPath",
        "fromFieldPath": "metadata.name",
        "toFieldPath": "metadata.annotations[name]",
    },
    "readinessChecks": {"type": "None"},
    "connectionDetails": {"name": "name", "type": "FromValue", "value": "value"},
    "resources": {"base": {"apiVersion": "v1", "kind": "ConfigMap"}},
    "patchSets": {"patches": []},
}


def by_itself(source: Object, find: Find | None) -> list[Finding]:
    """What is wrong with it whatever the kinds are like."""
    spec = spec_of(source)
    found = [_finding("composition", problem, spec) for problem in mistakes.problems(source, find)]
    for problem in mistakes.stray_problems(source):
        found.append(_finding("composition", problem, spec, "warning" if problem.mend == mistakes.STRAY else "error"))
    return found


def mistakes_of(source: Object, library: Library, find: Find | None, parts: Parts) -> list[Finding]:
    """All that is wrong with it: of what is right by itself, also which bases, patches, checks and details do not fit the schemas."""
    found: list[Finding] = []
    rest = source
    for _ in range(ROUNDS):
        more = by_itself(rest, find)
        found += [finding for finding in more if finding not in found]
        wrong = [each for each in more if each.severity == "error" and not each.field.endswith(".functionRef.name")]
        if not wrong:
            return [*found, *against_schemas(rest, library, find, parts)]
        if (sound := _without(rest, wrong)) is None:
            return found
        rest = sound
    return found


def _without(source: Object, wrong: Sequence[Finding]) -> Object | None:
    """It with what nothing is wrong with in place of each template, patch, check and detail that is wrong; None if something else is."""
    made: Object = fieldpath.copied(source)
    for finding in wrong:
        place = next((found[0] for pattern in _PLACES if (found := pattern.match(finding.field))), "")
        if not place:
            return None
        path = fieldpath.parse(place)
        there = fieldpath.find(made, path)
        field_name = path.segments[-2]
        name = there.get("name") if isinstance(there, dict) else None
        fieldpath.set(made, path, {**_SOUND[str(field_name)], **_named(str(field_name), name, place)})
    return made if made != source else None


def _named(field_name: str, name: Json, place: str) -> dict[str, Json]:
    if field_name not in ("resources", "patchSets"):
        return {}
    return {"name": name if isinstance(name, str) and name else place}


def against_schemas(source: Object, library: Library, find: Find | None, parts: Parts) -> list[Finding]:
    """Which bases, patches, checks and details do not fit; for one that is right by itself."""
    spec = spec_of(source)
    reviewed = composition.review(spec).spec
    if reviewed is None:
        return []
    reference = reviewed.compositeTypeRef
    if composite := library.composite_of(reference.apiVersion, reference.kind):
        message = f"compositeTypeRef.kind: {reference.kind} is the kind of claims"
        return [Finding(type="patch", field="spec.compositeTypeRef.kind", message=message, mend=f"write {composite}")]
    told = parts(reviewed, _without_errors(find)) if find else []
    outcome = _outcome(reviewed, told, library)
    found = [_finding("patch", problem, spec) for problem in outcome.misfits]
    found += [_finding("patch", problem, spec, "warning") for problem in _no_such_keys(reviewed, told, library)]
    for (api_version, kind), text in zip(outcome.missing, outcome.unknown(), strict=True):
        if library.broken(api_version, kind):
            continue  # told of that definition
        if (api_version, kind) == (reference.apiVersion, reference.kind) and group_of(api_version) in library.defined:
            found.append(_undefined(api_version, kind, library))
            continue
        meant = library.meant(api_version, kind)
        mend = "name its CustomResourceDefinition or definition among EXTENSIONS"
        found.append(
            Finding(
                type="patch",
                field=_first_use(spec, told, api_version, kind),
                message=text,
                mend=f"did you mean {meant}? Else {mend}" if meant else mend,
                severity="warning",
            )
        )
    return found


def _undefined(api_version: str, kind: str, library: Library) -> Finding:
    """A Composition is for what no definition declares, though those of its API group are there."""
    group = group_of(api_version)
    others = {
        name: version
        for version, name in library.given
        if group_of(version) == group and not library.composite_of(version, name)
    }
    field = f"spec.compositeTypeRef.{'apiVersion' if kind in others else 'kind'}"
    meant = library.meant(api_version, kind)
    meant = library.composite_of(api_version, meant) or meant
    return Finding(
        type="patch",
        field=field,
        message=f"{field.removeprefix('spec.')}: no definition declares {kind} of {api_version}",
        mend=f"did you mean {meant}?" if meant else did_you_mean(kind, others),
    )


def _no_such_keys(spec: CompositionSpec, told: Sequence[typecheck.Part], library: Library) -> Iterator[Problem]:
    """Connection details that are read from a key which the connection Secret of its kind never has."""
    for part in (typecheck.native(spec), *told):
        for index, template in enumerate(part.templates):
            base = template.base or {}
            pair = (str(base.get("apiVersion") or ""), str(base.get("kind") or ""))
            for number, detail in enumerate(template.connectionDetails):
                key = detail.fromConnectionSecretKey
                if not key or detail.kind != "FromConnectionSecretKey":
                    continue
                keys = library.built_in.connection_keys(*pair)
                if keys is not None and key not in keys:
                    field = f"{part.place}.resources[{index}].connectionDetails[{number}].fromConnectionSecretKey"
                    text = f"{pair[1]} of {group_of(pair[0])} has no connection key {shown(key)}"
                    yield Problem("Invalid", field, text, did_you_mean(key, keys) or "it has none: use fromFieldPath")


def _without_errors(find: Find) -> Find:
    """Functions that nobody knows are as those of which nothing is known."""

    def found(name: str) -> Any:
        try:
            return find(name)
        except InvalidInput:
            return None

    return found


def _outcome(spec: CompositionSpec, told: Sequence[typecheck.Part], library: Library) -> typecheck.Outcome:
    known = {pair: library.openapi(*pair) for pair in typecheck.kinds_in(spec, *told)}
    schemas = {pair: schema for pair, schema in known.items() if schema is not None}
    return typecheck.check(spec, schemas, *told, scopes=typecheck.scopes_in(spec, told, library.namespaced))


def _first_use(spec: Mapping[str, object], told: Sequence[typecheck.Part], api_version: str, kind: str) -> str:
    """Where a kind is named first."""
    reviewed = composition.review(spec).spec
    for part in [*([typecheck.native(reviewed)] if reviewed else []), *told]:
        for index, template in enumerate(part.templates):
            base = template.base or {}
            if (base.get("apiVersion"), base.get("kind")) == (api_version, kind):
                return f"{part.place}.resources[{index}].base.kind"
    return "spec.compositeTypeRef.kind"


def _finding(type_: Type, problem: Problem, spec: Mapping[str, object], severity: Severity = "error") -> Finding:
    """
    >>> _finding("patch", Problem("Invalid", "spec.resources[0].patches[1].x", "is odd"), {"resources": [{"name": "vpc"}]}).message
    'resource vpc › patches[1] › x: is odd'
    """
    error = mistakes.error_of(problem, spec)
    return Finding(
        type=type_,
        field=problem.field,
        message=": ".join(part for part in (" › ".join(error.where), error.what) if part),
        mend=error.mend,
        severity=severity,
    )


# --- rendering -------------------------------------------------------------------------------------------------------


def rendered(
    obj: Object,
    compositions: Sequence[Object],
    definitions: Sequence[Object],
    library: Library,
    find: Find | None,
    parts: Parts,
    there: Sequence[Object] = (),
    judged: Collection[int] = (),
) -> list[Finding]:
    """What goes wrong when a claim or composite is composed for the first time, and what does not fit in what is made of it.

    Nothing is said of what has no Composition here, or several.  `there` is what functions may ask for, and `judged` has the `id` of
    each Composition that is told of itself what is wrong with it.
    """
    try:
        chosen = choice.choose([obj], compositions, definitions)
    except InvalidInput:
        return []
    if chosen.mistakes:
        return []  # told of the object
    is_told = id(chosen.source) in judged
    if wrong := mistakes.every(chosen.source, find if chosen.is_pipeline else None):
        # which functions there are elsewhere is not known of what others bring
        return (
            [] if is_told else [_of_render(each) for each in wrong if not each.where[-1].startswith("functionRef.name")]
        )
    where = f"Composition {meta(chosen.source).get('name', '')}"
    try:
        compiled = composition.compile(chosen.source, find)
        if compiled.is_pipeline:
            if any(isinstance(step.run, pipeline.Remote) for step in compiled.steps):
                return []  # a function that runs elsewhere
            found = preview.piped(chosen.composite, compiled, [], preview.Around(extra=list(there), scope=chosen.scope))
        else:
            found = preview.native(chosen.composite, compiled, [], scope=chosen.scope)
    except InvalidInput as error:
        return [_of_render(error)]
    spec = composition.review(spec_of(chosen.source)).spec
    told: list[GroundplaneError] = []
    if spec is not None and is_told:
        part = parts(spec, find) if find and chosen.is_pipeline else []
        misfits = _outcome(spec, part, library).misfits
        told = [mistakes.error_of(problem, spec_of(chosen.source), where) for problem in misfits]
    misfit = choice.rendered_fit(chosen.source, found.composed, library.given, library.built_in, told, library.scopes)
    shaped = [*map(_of_render, found.mistakes), *map(_of_render, misfit)]
    if shaped:
        return shaped
    lacking = choice.lacking(chosen.source, found.composed, library.given, library.built_in)
    # Warnings: a function might set it once it sees more.
    return [
        *(replace(_of_render(each), severity="warning") for each in lacking),
        *(finding for each in found.composed for finding in _by_cloud(each, where, library, there)),
    ]


def _by_cloud(obj: Object, where: str, library: Library, there: Sequence[Object]) -> Iterator[Finding]:
    """What its cloud would refuse in a managed resource that was rendered; what it lacks, a later render may have."""
    refused, doubted = library.built_in.check(obj), library.built_in.doubt(obj)
    place = (where, choice.resource_of(obj), "rendered")
    if refused is not None and not isinstance(refused, Required):
        yield _of_render(InvalidInput(refused.what, mend=refused.mend, where=(*place, *refused.where[-1:])))
    if (config := accounts.doubt(obj, there)) is not None:
        told = InvalidInput(config.what, mend=config.mend, where=(*place, *config.where))
        yield replace(_of_render(told), severity="warning")
    if doubted is not None:
        told = InvalidInput(doubted.what, mend=doubted.mend, where=(*place, *doubted.where[-1:]))
        yield replace(_of_render(told), severity="warning")


def _of_render(error: GroundplaneError) -> Finding:
    return Finding(type="render", message=error.without_mend, mend=error.mend)
