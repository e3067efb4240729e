"""Which composite and which Composition are meant, among the objects that somebody hands to `groundplane render`.

A claim stands for the composite that its reconciler would make.  Definitions say what is a claim and what is left
out of it; without them, a kind that differs from the composite's by its X alone is taken for a claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from groundplane.core import (
    composition,
    definition,
    definition_crds,
    fieldpath,
    known_schemas,
    misfits,
    mistakes,
    naming,
    preview,
    rules,
    typecheck,
)
from groundplane.core import schema as schemas
from groundplane.core.composition import CompositionSpec
from groundplane.core.definition import Scope
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import Object, annotations_of, group_of, key_of, labels_of, matches, meta, spec_of
from groundplane.core.rules import Unchecked
from groundplane.core.structural import Structural
from groundplane.errors import GroundplaneError, InvalidInput, did_you_mean, nearest, shown

CORE = "apiextensions.crossplane.io"
NOT_A_SUBJECT = frozenset({CORE, "pkg.crossplane.io", "apiextensions.k8s.io"})  # API groups that no composite has


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is rendered."""

    composite: Object
    source: Object  # the Composition
    definition: Object | None = None  # of the composite's kind, if it is known
    mistakes: list[GroundplaneError] = field(default_factory=list)  # in the composite or the claim
    warnings: list[GroundplaneError] = field(default_factory=list)  # rules that could not be checked
    asks_for_secret: bool = False  # whether its claim asks for a connection Secret

    @property
    def is_pipeline(self) -> bool:
        """Whether functions compose."""
        spec = composition.review(spec_of(self.source)).spec
        return spec is not None and spec.is_pipeline

    @property
    def scope(self) -> Scope | None:
        """Of the composite, if its definition is known."""
        return definition.read(self.definition).scope if self.definition else None


@dataclass(frozen=True)
class _Subject:
    """One object that could be meant: a composite, or a claim with the kind of its composite."""

    given: Object
    api_version: str
    kind: str
    is_claim: bool
    definition: Object | None


def choose(subjects: Sequence[Object], sources: Sequence[Object], extra: Iterable[Object] = ()) -> Chosen:
    """The one composite among `subjects` and the one Composition among `sources`, and what the composite would be
    in a cluster.  Definitions are looked for in all three.

    Raises:
        InvalidInput: there is none, or more than one, or they do not fit each other.
    """
    definitions = [obj for obj in (*extra, *subjects, *sources) if _is(obj, "CompositeResourceDefinition")]
    compositions = compositions_in(sources)
    if not compositions:
        check_group(sources, "Composition")
        raise InvalidInput(
            f"there is no Composition in what was given as COMPOSITION{_listed(sources)}",
            mend="the arguments are XR COMPOSITION [FUNCTIONS], in this order",
        )
    subject = _subject(subjects, compositions, definitions)
    name = meta(subject.given).get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(
            f"{subject.given['kind']} of {subject.given['apiVersion']} has no metadata.name", mend="name it"
        )
    source = _source(subject, compositions)
    return _admitted(subject, source)


def compositions_in(objects: Iterable[Object]) -> list[Object]:
    """The Compositions among objects."""
    return [obj for obj in objects if _is(obj, "Composition")]


def check_group(objects: Iterable[Object], kind: str) -> None:
    """Raise InvalidInput if one is of a kind's name, and of another API group than Crossplane's; what is needed is not there."""
    for obj in objects:
        if obj.get("kind") == kind and not _is(obj, kind):
            raise InvalidInput(
                f"{kind} {meta(obj).get('name', '')} is of {obj.get('apiVersion')}", mend=f"write apiVersion: {CORE}/v1"
            )


def _is(obj: Object, kind: str) -> bool:
    return obj.get("kind") == kind and group_of(obj.get("apiVersion", "")) == CORE


def _listed(objects: Iterable[Object]) -> str:
    names = sorted({str(key_of(obj)) for obj in objects})
    return f" (there: {', '.join(names)})" if names else ""


# --- the composite or claim ---------------------------------------------------------------------------------


def _subject(subjects: Sequence[Object], compositions: Sequence[Object], definitions: Sequence[Object]) -> _Subject:
    candidates = [obj for obj in subjects if group_of(obj.get("apiVersion", "")) not in NOT_A_SUBJECT]
    kinds = {_reference(source) for source in compositions}
    fitting = [found for obj in candidates for found in [_recognised(obj, definitions, kinds)] if found is not None]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        raise InvalidInput(
            f"there are {len(fitting)} composites or claims in what was given as XR"
            f"{_listed(subject.given for subject in fitting)}",
            mend="pass the file of one of them",
        )
    if len(candidates) == 1:
        _check_spelling(candidates[0], definitions)
    if len(candidates) == 1 and len(compositions) == 1:
        preview.check_fit(candidates[0], compositions[0])
    wanted = ", ".join(sorted(f"{kind} of {api_version}" for api_version, kind in kinds))
    mend = "pass its definition with --xrd if it is a claim" if candidates else "the first argument is the composite"
    raise InvalidInput(f"there is no {wanted} in what was given as XR{_listed(subjects)}", mend=mend)


def _recognised(obj: Object, definitions: Sequence[Object], kinds: set[tuple[str, str]]) -> _Subject | None:
    api_version, kind = obj["apiVersion"], obj["kind"]
    group = group_of(api_version)
    for xrd in definitions:
        known = definition.read(xrd)
        if known.group != group:
            continue
        is_of_it = kind in (known.kind, known.claim_kind)
        if is_of_it and known.versions and api_version not in known.versions:
            raise InvalidInput(
                f"{key_of(obj)}: {kind} is not served as {api_version}",
                mend=f"write apiVersion: {known.api_version if known.version else known.versions[0]}, or have its definition serve that version",
            )
        if kind == known.claim_kind:
            return _Subject(obj, known.api_version, known.kind, True, xrd)
        if kind == known.kind:
            return _Subject(obj, api_version, kind, False, xrd)
    if (api_version, kind) in kinds:
        return _Subject(obj, api_version, kind, False, None)
    if (api_version, f"X{kind}") in kinds:
        return _Subject(obj, api_version, f"X{kind}", True, None)
    return None


def _check_spelling(obj: Object, definitions: Sequence[Object]) -> None:
    """Raise InvalidInput if the object's kind, or its group, is nearly one that is defined."""
    group, kind = group_of(obj["apiVersion"]), obj["kind"]
    for known in map(definition.read, definitions):
        kinds = [name for name in (known.kind, known.claim_kind) if name]
        meant = nearest(kind, kinds) if known.group == group else ""
        if kind in kinds:
            meant = nearest(group, [known.group])
        if meant:
            raise InvalidInput(
                f"{key_of(obj)}: there is no definition of {kind} of {obj['apiVersion']}", mend=f"did you mean {meant}?"
            )


def _reference(source: Object) -> tuple[str, str]:
    reference = spec_of(source).get("compositeTypeRef")
    wanted = reference if isinstance(reference, dict) else {}
    return str(wanted.get("apiVersion") or ""), str(wanted.get("kind") or "")


# --- the Composition ----------------------------------------------------------------------------------------


def _source(subject: _Subject, compositions: Sequence[Object]) -> Object:
    if len(compositions) == 1:
        return compositions[0]
    fitting = [obj for obj in compositions if composition.compatible(obj, subject.api_version, subject.kind)]
    if not fitting:
        return compositions[0]  # whose check then says what does not fit
    spec = spec_of(subject.given)
    nested = spec.get("crossplane")
    for machinery in (spec, nested if isinstance(nested, dict) else {}):
        reference, selector = machinery.get("compositionRef"), machinery.get("compositionSelector")
        if isinstance(reference, dict) and reference.get("name"):
            named = [obj for obj in fitting if meta(obj).get("name") == reference["name"]]
            if not named:
                names = [str(meta(obj).get("name")) for obj in fitting]
                raise InvalidInput(
                    f'there is no Composition "{reference["name"]}", which spec.compositionRef names',
                    mend=did_you_mean(str(reference["name"]), names),
                )
            fitting = named
        labels = selector.get("matchLabels") if isinstance(selector, dict) else None
        if isinstance(labels, dict):
            fitting = [obj for obj in fitting if matches(labels_of(obj), labels)] or fitting
    if len(fitting) > 1:
        raise InvalidInput(
            f"there are {len(fitting)} Compositions for {subject.kind}{_listed(fitting)}",
            mend="pass the file of one, or choose it with spec.compositionRef.name",
        )
    return fitting[0]


# --- what it would be in a cluster ----------------------------------------------------------------------------


def _admitted(subject: _Subject, source: Object) -> Chosen:
    if subject.definition is not None and (refused := _refused(subject.definition)):
        return Chosen(composite=subject.given, source=source, definition=subject.definition, mistakes=refused)
    given, mistakes, unchecked = subject.given, [], Unchecked()
    known = definition.read(subject.definition) if subject.definition else None
    if subject.is_claim:
        given = {**given, "metadata": {"namespace": "default", **meta(given)}}
        if subject.definition is not None:
            given, found = _checked(given, subject.definition, definition_crds.claim_crd, unchecked)
            mistakes += found
        given = preview.composite_of(
            given,
            api_version=subject.api_version,
            kind=subject.kind,
            enforced=known is not None and known.enforces_composition,
        )
    if subject.definition is not None:
        given, found = _checked(given, subject.definition, definition_crds.composite_crd, unchecked)
        if not (subject.is_claim and mistakes):  # the same again, one level down
            mistakes += found
    preview.check_fit(given, source)
    asks = subject.is_claim and bool(spec_of(subject.given).get("writeConnectionSecretToRef"))
    where = f"{subject.given.get('kind')} {meta(subject.given).get('name', '')}"
    warnings: list[GroundplaneError] = [
        InvalidInput(what, mend=mend, where=(where,)) for what, mend in unchecked.told()
    ]
    return Chosen(
        composite=given,
        source=source,
        definition=subject.definition,
        mistakes=mistakes,
        warnings=warnings,
        asks_for_secret=asks,
    )


def _refused(xrd: Object) -> list[GroundplaneError]:
    """What the API server would refuse in a definition itself."""
    compiled = _of_definitions(xrd["apiVersion"])
    if compiled is None:
        return []
    stored = schemas.prune(compiled, schemas.default(compiled, xrd))
    where, spec = f"CompositeResourceDefinition {meta(xrd).get('name', '')}", spec_of(stored)
    found: list[GroundplaneError] = [preview.Refused(fault, where) for fault in schemas.misshapen(compiled, stored)]
    if not found and spec.get("scope", "LegacyCluster") != "LegacyCluster":  # rules of its kind, asked without CEL
        found += [
            InvalidInput(f"spec.{name} is only for scope LegacyCluster", mend=mend, where=(where,))
            for name, mend in definition.LEGACY_ONLY.items()
            if name in spec
        ]
    return found


@cache
def _of_definitions(api_version: str) -> Structural | None:
    from groundplane.core.crds import apiextensions

    openapi = known_schemas.version_schema(apiextensions.crds()[0], api_version)
    return Structural(openapi) if openapi else None


def _checked(
    obj: Object, xrd: Object, crd_of: Callable[[Object], Object | None], unchecked: Unchecked
) -> tuple[Object, list[GroundplaneError]]:
    """The object as it would be kept, and what is wrong with it; or what is wrong with the rules of its definition."""
    crd, name = crd_of(xrd), meta(xrd).get("name", "")
    schema = known_schemas.version_schema(crd, obj["apiVersion"]) if crd else None
    if schema is None:
        return obj, []
    compiled = Structural(schema)
    where = (f"CompositeResourceDefinition {name}", f"version {obj['apiVersion'].rpartition('/')[2]}")
    wrong = [InvalidInput(problem, where=where) for problem in rules.mistakes(compiled, "schema.openAPIV3Schema")]
    if wrong:
        return obj, [*wrong]
    return preview.admitted(obj, compiled, unchecked)


# --- do the patches fit? ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """How the bases and patches of a Composition fit the schemas that are known."""

    warnings: list[GroundplaneError]
    mistakes: list[GroundplaneError]  # where its author asks for strictness


def fit(
    source: Object,
    schemas: typecheck.Schemas,
    parts: Callable[[CompositionSpec], Sequence[typecheck.Part]],
    built_in: known_schemas.BuiltIn,
    *,
    scopes: known_schemas.Scopes,
    tell_missing: bool,
    strict_upstream: bool,
) -> Fit:
    """Check a Composition that is valid by itself; with `tell_missing`, kinds without a schema are told.

    `parts` says what the steps of a pipeline are told of patches.  Of `built_in` only the kinds are asked for that the
    Composition makes and `schemas` has not; none in strict mode, where what is known must have been given.

    Raises:
        InvalidInput: the Composition's annotation says no mode that there is.
    """
    mode = typecheck.mode_of(source)
    spec = spec_of(source)
    reviewed = composition.review(spec).spec
    if reviewed is None:
        return Fit([], [])
    told = parts(reviewed)
    if not strict_upstream:
        unknown = [pair for pair in typecheck.kinds_in(reviewed, *told) if pair not in schemas]
        schemas = {**schemas, **{pair: schema for pair in unknown if (schema := built_in.schema(*pair))}}
        scopes = typecheck.scopes_in(
            reviewed, told, partial(known_schemas.namespaced, scopes=scopes, built_in=built_in)
        )
    outcome = typecheck.check(reviewed, schemas, *told, scopes=scopes, strict_upstream=strict_upstream)
    where = f"Composition {meta(source).get('name', '')}"
    found: list[GroundplaneError] = [mistakes.error_of(problem, spec, where) for problem in outcome.misfits]
    for (version, kind), text in zip(outcome.missing, outcome.unknown(), strict=True):
        meant = known_schemas.kind_meant((version, kind), schemas, None if strict_upstream else built_in)
        if meant or tell_missing or mode == "strict":
            found.append(InvalidInput(text, mend=_mend(meant), where=(where,)))
    return Fit([], found) if outcome.refuses(mode) else Fit(found, [])


def _mend(meant: str) -> str:
    mend = "pass its CustomResourceDefinition with --crds, or its definition with --xrd"
    return f"did you mean {meant}? Else {mend}" if meant else mend


def rendered_fit(
    source: Object,
    composed: Sequence[Object],
    schemas: typecheck.Schemas,
    built_in: known_schemas.BuiltIn,
    told: Sequence[GroundplaneError],
    scopes: known_schemas.Scopes,
) -> list[GroundplaneError]:
    """What does not fit in the objects that were rendered, but what is `told` of their templates already."""
    where = f"Composition {meta(source).get('name', '')}"
    known = dict(schemas)
    seen = {(error.what, place) for error in told for place in error.where}
    found: list[GroundplaneError] = []
    in_namespace = known_schemas.namespaced(_reference(source), scopes, None)
    for obj in composed:
        pair, name = (obj["apiVersion"], obj["kind"]), meta(obj).get("name")
        if isinstance(name, str) and name and not naming.may_be_called(pair[0], name):
            place = (where, resource_of(obj), "rendered", "metadata.name")
            found.append(InvalidInput(f"{shown(name)} is no name of a {pair[1]}", mend=naming.NAMES, where=place))
        if in_namespace and known_schemas.namespaced(pair, scopes, built_in) is False:
            resource, misfit = resource_of(obj), misfits.cluster_scoped(*pair)
            if (misfit.detail, resource) not in seen:
                found.append(InvalidInput(misfit.detail, mend=misfit.mend, where=(where, resource, "rendered")))
        if typecheck.is_built_in(pair[0]):
            continue
        if pair not in known and (schema := built_in.schema(*pair)) is not None:
            known[pair] = schema
        resource = resource_of(obj)
        errors: list[GroundplaneError] = []
        if pair in known:
            errors = [
                InvalidInput(misfit.detail, mend=misfit.mend, where=(where, resource, "rendered"))
                for misfit in misfits.of(known[pair], obj)
            ]
        elif meant := known_schemas.kind_meant(pair, schemas, built_in):
            [text] = typecheck.Outcome(missing=[pair]).unknown()
            if (text, where) not in seen:
                errors = [InvalidInput(text, mend=_mend(meant), where=(where, resource, "rendered"))]
        found += [error for error in errors if (error.what, resource) not in seen]
    return found


def lacking(
    source: Object, composed: Sequence[Object], schemas: typecheck.Schemas, built_in: known_schemas.BuiltIn
) -> list[GroundplaneError]:
    """Required fields that are not in the objects that were rendered, and that no patch of the Composition writes: no later render has them."""
    where = f"Composition {meta(source).get('name', '')}"
    written = list(_written(spec_of(source)))
    found: list[GroundplaneError] = []
    for obj in composed:
        pair = (obj["apiVersion"], obj["kind"])
        schema = None if typecheck.is_built_in(pair[0]) else schemas.get(pair) or built_in.schema(*pair)
        for path in misfits.absent(schema or {}, obj):
            if not any(_overlap(path, each) for each in written):
                what = f"{fieldpath.render(path)}: Required value"
                mend = "set it in the base, or by a patch"
                found.append(InvalidInput(what, mend=mend, where=(where, resource_of(obj), "rendered")))
    return found


def _written(part: Any) -> Iterator[tuple[fieldpath.Segment, ...]]:
    """The paths that patches anywhere in this may write to; without `toFieldPath` it is that which is read."""
    if isinstance(part, Mapping):
        text = part.get("toFieldPath") or part.get("fromFieldPath")
        if isinstance(text, str) and fieldpath.is_path(text):
            yield fieldpath.parse(text).segments
    for item in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        yield from _written(item)


def _overlap(one: tuple[fieldpath.Segment, ...], other: tuple[fieldpath.Segment, ...]) -> bool:
    """Whether one is in the other, whichever elements of lists are meant."""
    return all(
        a == b or not (isinstance(a, str) and isinstance(b, str)) or "*" in (a, b)
        for a, b in zip(one, other, strict=False)
    )


def resource_of(obj: Object) -> str:
    """What messages call a composed object: by its template."""
    return f"resource {annotations_of(obj).get(TEMPLATE_ANNOTATION) or key_of(obj)}"
