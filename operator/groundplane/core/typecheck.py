"""Does each patch fit the schemas at both its ends, and each base its own?  Found out from a Composition alone, before any claim exists.

Source: Crossplane v1.20 `internal/validation/apiextensions/v1/composition` and `pkg/validation/internal/schema` (spec §5.4).
Upstream reports some patches that work; only with `strict_upstream` does this:

- `[*]` is no field of an array: every patch with a wildcard is reported;
- arrays count as objects, so that `Join` on an array is;
- `math` gives a float, so that it can't be written to an integer;
- what `map` and `match` give, a path that `toFieldPath` leaves to `fromFieldPath`, and everything behind one
  unknown kind is not looked at; nor are bases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol, get_args

from groundplane.core import fieldpath, goformat, misfits, value_types
from groundplane.core.composition import CompositionSpec
from groundplane.core.connection import ConnectionDetail
from groundplane.core.fieldpath import PathSyntax
from groundplane.core.objects import Json, Object, annotations_of, group_of
from groundplane.core.patches import AnyPatch, PatchSetReference
from groundplane.core.readiness import AnyCheck
from groundplane.core.spec import Problem, required
from groundplane.core.structural import OpenAPI
from groundplane.core.transforms.base import AnyTransform
from groundplane.core.transforms.convert import ConvertTransform, convertible
from groundplane.core.value_types import ANY, NUMBERS, SCALARS, TEXT, NoSuchField, Types
from groundplane.errors import InvalidInput, did_you_mean, shown

MODE_ANNOTATION = "crossplane.io/composition-schema-aware-validation-mode"
LISTED = 20  # warnings in one text: a condition's message has 32 KiB at most

Mode = Literal["warn", "loose", "strict"]
Schemas = Mapping[tuple[str, str], OpenAPI]  # (API version, kind) → the schema of that version

MODES: tuple[Mode, ...] = get_args(Mode)

_GO_NAMES = {"string": "string", "boolean": "bool", "integer": "int64", "number": "float64"}
_JSON_NAMES = {"string": "string", "bool": "boolean", "int": "integer", "int64": "integer", "float64": "number"}
_CHECKED = {
    "MatchString": TEXT,
    "MatchInteger": frozenset({"integer"}),
    "MatchTrue": frozenset({"boolean"}),
    "MatchFalse": frozenset({"boolean"}),
}
_OF_ANYTHING = frozenset({"ToJson", "ToSha1", "ToSha256", "ToSha512", "ToAdler32"})


@dataclass(frozen=True)
class Outcome:
    """What a check found."""

    problems: list[Problem] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)  # (API version, kind) of which no schema is known
    bases: list[Problem] = field(default_factory=list)  # upstream does not look at them: refused in mode strict alone

    @property
    def misfits(self) -> list[Problem]:
        """All problems."""
        return [*self.problems, *self.bases]

    def refuses(self, mode: Mode) -> bool:
        """Whether the Composition must not be used."""
        if mode == "strict":
            return bool(self.misfits or self.missing)
        return mode == "loose" and bool(self.problems) and not self.missing

    def warnings(self) -> list[str]:
        """A line each."""
        return [*map(str, self.misfits), *self.unknown()]

    def summary(self) -> str:
        """All warnings in one text, if they are not too many for a condition."""
        found = self.warnings()
        rest = [f"and {len(found) - LISTED} more"] if len(found) > LISTED else []
        return "; ".join([*found[:LISTED], *rest])

    def unknown(self) -> list[str]:
        """A line for each kind that could not be checked."""
        return [
            f"the schema of {kind} of {version} is not known: its fields are not checked"
            for version, kind in self.missing
        ]


def mode_of(composition: Object) -> Mode:
    """What becomes of a Composition whose patches do not fit.

    Raises:
        InvalidInput: its annotation says none of the modes.
    """
    word = annotations_of(composition).get(MODE_ANNOTATION) or "warn"
    for mode in MODES:
        if word == mode:
            return mode
    raise InvalidInput(
        f"metadata.annotations[{MODE_ANNOTATION}]: there is no mode {shown(word)}", mend=did_you_mean(word, MODES)
    )


def kinds_in(spec: CompositionSpec, *parts: Part) -> list[tuple[str, str]]:
    """(API version, kind) of the composite and of everything composed that has a CustomResourceDefinition."""
    found = {(spec.compositeTypeRef.apiVersion, spec.compositeTypeRef.kind), *composed_in(spec, *parts)}
    return sorted(pair for pair in found if all(pair) and not is_built_in(pair[0]))


def composed_in(spec: CompositionSpec, *parts: Part) -> list[tuple[str, str]]:
    """(API version, kind) of everything composed."""
    found = {_kind(template) for part in (native(spec), *parts) for template in part.templates if template.base}
    return sorted(pair for pair in found if all(pair))


def scopes_in(
    spec: CompositionSpec, parts: Sequence[Part], namespaced: Callable[[tuple[str, str]], bool | None]
) -> dict[tuple[str, str], bool]:
    """What `check` asks about scopes: the composite's and, if it lives in a namespace, those of what is composed."""
    composite = (spec.compositeTypeRef.apiVersion, spec.compositeTypeRef.kind)
    if not namespaced(composite):
        return {}
    found = {pair: known for pair in composed_in(spec, *parts) if (known := namespaced(pair)) is not None}
    return {**found, composite: True}


def is_built_in(api_version: str) -> bool:
    """Whether the API server itself brings a kind, so that it has no CustomResourceDefinition.

    >>> is_built_in("v1"), is_built_in("apps/v1"), is_built_in("rds.aws.upbound.io/v1beta1")
    (True, True, False)
    """
    group = group_of(api_version)
    return "." not in group or (group.endswith(".k8s.io") and group.count(".") == 2)


def _kind(template: Template) -> tuple[str, str]:
    base = template.base or {}
    version, kind = base.get("apiVersion"), base.get("kind")
    return (version if isinstance(version, str) else "", kind if isinstance(kind, str) else "")


# --- a whole Composition --------------------------------------------------------------------------------------


class Template(Protocol):
    """A template of either dialect."""

    @property
    def name(self) -> str | None: ...
    @property
    def base(self) -> Mapping[str, Json] | None: ...
    @property
    def patches(self) -> Sequence[AnyPatch]: ...
    @property
    def connectionDetails(self) -> Sequence[ConnectionDetail]: ...
    @property
    def readinessChecks(self) -> Sequence[AnyCheck]: ...


class PatchSet(Protocol):
    """A patch set of either dialect."""

    @property
    def name(self) -> str: ...
    @property
    def patches(self) -> Sequence[AnyPatch]: ...


@dataclass(frozen=True)
class Part:
    """Templates that belong together, and where in the Composition they are: "spec", or a step's input."""

    place: str
    templates: Sequence[Template]
    sets: Sequence[PatchSet] = ()
    environment: Sequence[AnyPatch] = ()  # patches between composite and environment


def native(spec: CompositionSpec) -> Part:
    """What a Composition of mode Resources is made of."""
    return Part("spec", spec.resources, spec.patchSets)


def check(
    spec: CompositionSpec,
    schemas: Schemas,
    *parts: Part,
    scopes: Mapping[tuple[str, str], bool] | None = None,
    strict_upstream: bool = False,
) -> Outcome:
    """Check every base, patch, readiness check and connection detail of a Composition; `parts` are what its steps are told.

    `scopes` says whether the objects of a kind live in namespaces, as far as it is known.

    >>> from groundplane.core.composition import review
    >>> spec = review({"compositeTypeRef": {"apiVersion": "a.b/v1", "kind": "X"}, "resources": [{"name": "map",
    ...     "base": {"apiVersion": "v1", "kind": "ConfigMap"}, "patches": [{"fromFieldPath": "spec.sise"}]}]}).spec
    >>> size = {"type": "object", "properties": {"size": {"type": "string"}}}
    >>> print(check(spec, {("a.b/v1", "X"): {"type": "object", "properties": {"spec": size}}}).problems[0])
    spec.resources[0].patches[0].fromFieldPath: spec.sise: spec has no field "sise" (did you mean size?)
    """
    if strict_upstream and spec.is_pipeline:
        return Outcome()  # inputs are opaque to upstream
    missing = [pair for pair in kinds_in(spec, *parts) if pair not in schemas]
    if strict_upstream and missing:
        return Outcome(missing=missing)
    reference = spec.compositeTypeRef
    composite = schemas.get((reference.apiVersion, reference.kind))
    known_scopes = {} if strict_upstream or scopes is None else scopes
    in_namespace = known_scopes.get((reference.apiVersion, reference.kind), False)
    found: dict[Problem, None] = {}
    bases: list[Problem] = []
    for part in (native(spec), *parts):
        if not strict_upstream:
            bases += _same_names(part)
        for index, template in enumerate(part.templates):
            place, composed = f"{part.place}.resources[{index}]", schemas.get(_kind(template))
            checker = _Checker(composite, composed, strict_upstream)
            found |= dict.fromkeys(checker.template(part, place, template))
            if in_namespace and not known_scopes.get(_kind(template), True):
                misfit = misfits.cluster_scoped(*_kind(template))
                bases.append(Problem("Invalid", f"{place}.base.apiVersion", misfit.detail, misfit.mend))
            if composed is not None and template.base and not strict_upstream:
                bases += _base(composed, template.base, f"{place}.base", _written(part, template))
        between = _Checker(composite, None, strict_upstream)
        for index, patch in enumerate(part.environment):
            place = f"{part.place}.environment.patches[{index}]"
            found |= dict.fromkeys(between.environment(place, patch))
    return Outcome(list(found), missing, bases)


def _same_names(part: Part) -> Iterator[Problem]:
    """Templates that another takes the place of: upstream's function composes the last one of a name alone."""
    seen: set[str] = set()
    for index, template in enumerate(part.templates):
        if template.name and template.name in seen:
            text = f"there is a template {shown(template.name)} already, and only the last of a name is composed"
            yield Problem("Duplicate", f"{part.place}.resources[{index}].name", text, "rename one of them")
        seen.add(template.name or "")


@dataclass(frozen=True)
class _Checker:
    """Checks one template; a schema that is None accepts everything."""

    composite: OpenAPI | None
    composed: OpenAPI | None
    upstream: bool

    def template(self, part: Part, place: str, template: Template) -> Iterator[Problem]:
        numbers = {patch_set.name: number for number, patch_set in enumerate(part.sets)}
        for index, patch in enumerate(template.patches):
            if not isinstance(patch, PatchSetReference):
                yield from self.patch(f"{place}.patches[{index}]", patch)
            elif patch.patchSetName in numbers:
                number = numbers[patch.patchSetName]
                for other, inner in enumerate(part.sets[number].patches):
                    yield from self.patch(f"{part.place}.patchSets[{number}].patches[{other}]", inner)
        word = "readinessCheck" if self.upstream else "readinessChecks"
        for index, check in enumerate(template.readinessChecks):
            yield from self.readiness(f"{place}.{word}[{index}].fieldPath", check)
        for index, detail in enumerate(template.connectionDetails):
            if detail.fromFieldPath:
                where = f"{place}.connectionDetails[{index}].fromFieldPath"
                _, problems = self.types(self.composed, detail.fromFieldPath, where)
                yield from problems

    def types(self, schema: OpenAPI | None, text: str, where: str) -> tuple[Types, list[Problem]]:
        """What the value at a path may be, or why there can't be one."""
        try:
            return value_types.types_at(schema, fieldpath.parse(text), strict_upstream=self.upstream), []
        except NoSuchField as error:
            return ANY, [Problem("Invalid", where, f"{text}: {error.what}", error.mend)]
        except PathSyntax as error:  # which names the path itself
            return ANY, [Problem("Invalid", where, error.what, error.mend)]

    def readiness(self, where: str, check: AnyCheck) -> Iterator[Problem]:
        if not check.fieldPath or check.type in ("None", "MatchCondition"):
            return
        types, problems = self.types(self.composed, check.fieldPath, where)
        yield from problems
        wanted = _CHECKED.get(check.type, ANY)
        if not problems and not value_types.fits(types, wanted):
            text = f"{check.fieldPath} is {value_types.in_words(types)}, and {check.type} compares {value_types.in_words(wanted)}"
            yield Problem("Invalid", where, text, "choose the type of check that fits")

    def patch(self, place: str, patch: AnyPatch) -> Iterator[Problem]:
        """One patch of a template; of an environment no schema is known."""
        ends: Mapping[str, OpenAPI | None] = {"Composite": self.composite, "Environment": None}
        other = ends["Environment" if "Environment" in patch.type else "Composite"]
        is_forth = "From" in patch.type
        yield from self.between(
            place, patch, other if is_forth else self.composed, self.composed if is_forth else other
        )

    def environment(self, place: str, patch: AnyPatch) -> Iterator[Problem]:
        """One patch between composite and environment, whose types are named after the first or the second."""
        is_forth = ("From" in patch.type) is ("Composite" in patch.type)
        yield from self.between(
            place, patch, self.composite if is_forth else None, None if is_forth else self.composite
        )

    def between(self, place: str, patch: AnyPatch, source: OpenAPI | None, target: OpenAPI | None) -> Iterator[Problem]:
        to_path = patch.toFieldPath
        if to_path is None and patch.combine is None and not self.upstream:
            to_path = patch.fromFieldPath if fieldpath.is_path(patch.fromFieldPath or "") else ""  # or it is told twice
        wanted, problems = self.types(target, to_path or "", f"{place}.toFieldPath")
        if patch.combine is not None and patch.fromFieldPath is None:
            given = TEXT
            if patch.combine.string is None:
                problems.append(required(f"{place}.combine.string"))
            variables = []
            for variable in patch.combine.variables:
                types, found = self.types(source, variable.fromFieldPath, f"{place}.combine")
                problems += found
                variables.append(types)
            if patch.combine.string is not None:
                problems += self.format(f"{place}.combine.string.fmt", patch.combine.string.fmt, variables)
        else:
            given, found = self.types(source, patch.fromFieldPath or "", f"{place}.fromFieldPath")
            problems = [*found, *problems]
        if problems:
            yield from problems
            return
        yield from self.chain(place, patch, given, wanted)

    def chain(self, place: str, patch: AnyPatch, given: Types, wanted: Types) -> Iterator[Problem]:
        """Whether the value still fits after all transforms."""
        types = given
        for index, transform in enumerate(patch.transforms):
            accepted, made = self.transformed(transform, types)
            if not types & accepted:
                text = (
                    f"{_what(transform)} takes {value_types.in_words(accepted)}, and gets {value_types.in_words(types)}"
                )
                mend = "convert it to a string first" if accepted == TEXT else "convert it first"
                yield Problem("Invalid", f"{place}.transforms[{index}]", text, mend)
                return
            if transform.type == "string" and transform.string and (transform.string.type or "Format") == "Format":
                yield from self.format(f"{place}.transforms[{index}].string.fmt", transform.string.fmt, [types])
            types = made
            if self.upstream and transform.type in ("map", "match"):
                return
        if value_types.fits(types, wanted):
            return
        target = patch.toFieldPath or patch.fromFieldPath or ""
        text = f"{target} is {value_types.in_words(wanted)}, and {value_types.in_words(types)} would be written to it"
        mend = f"convert it: toType {_to_type(wanted)}" if wanted & SCALARS else ""
        yield Problem("Invalid" if patch.transforms else "Required", f"{place}.transforms", text, mend)

    def format(self, where: str, template: str | None, given: Sequence[Types]) -> list[Problem]:
        """Whether a format prints what it gets; where it does not, the text says so in place of the value."""
        printed = "" if self.upstream or not template else _misprinted(template, given)
        if not printed:
            return []
        text = f"{shown(template)} does not fit {' and '.join(map(value_types.in_words, given))}: it prints {shown(printed)}"
        return [Problem("Invalid", where, text, "write %v, which prints every type, once for each value")]

    def transformed(self, transform: AnyTransform, given: Types) -> tuple[Types, Types]:
        """What a transform takes, and what it makes of `given`."""
        match transform.type:
            case "map":
                values = (transform.map or {}).values()
                return TEXT, ANY if self.upstream else value_types.of_values(values)
            case "match":
                return TEXT, ANY if self.upstream else _matched(transform, given)
            case "math":
                return NUMBERS, frozenset({"number"}) if self.upstream else given & NUMBERS
            case "convert":
                assert isinstance(transform, ConvertTransform)
                return self.converted(transform)
        return self.text(transform), TEXT

    def text(self, transform: AnyTransform) -> Types:
        settings = transform.string
        kind = (settings.type if settings else None) or "Format"
        if kind == "Format" or (kind == "Convert" and settings and settings.convert in _OF_ANYTHING):
            return ANY
        if kind == "Join":
            return frozenset({"array"})
        return TEXT if self.upstream else SCALARS

    def converted(self, transform: ConvertTransform) -> tuple[Types, Types]:
        settings = transform.convert
        assert settings is not None
        to = "int64" if settings.toType == "int" else settings.toType
        accepted = {
            name for name, word in _GO_NAMES.items() if word == to or convertible(word, to, settings.format or "none")
        }
        return frozenset(accepted), frozenset({_JSON_NAMES.get(settings.toType, settings.toType)})


def _matched(transform: AnyTransform, given: Types) -> Types:
    settings = transform.match
    if settings is None:
        return ANY
    values = [pattern.result for pattern in settings.patterns]
    if settings.fallbackTo == "Input":
        return value_types.of_values(values) | (given & TEXT)
    return value_types.of_values([*values, settings.fallbackValue])


_SAMPLES: Mapping[str, Sequence[Json]] = {
    "string": ["x"],
    "integer": [1],
    "number": [1.5, 1],
    "boolean": [True],
    "array": [[]],
    "object": [{}],
}


def _misprinted(template: str, given: Sequence[Types]) -> str:
    """What a format prints that fits no values of these types; "" if it fits some.

    >>> _misprinted("%d-db", [TEXT]), _misprinted("%d-db", [ANY]), _misprinted("db", [ANY])
    ('%!d(string=x)-db', '', 'db%!(EXTRA string=x)')
    """
    plain = template.replace("%%", "")
    values: list[Json] = ["x"] * len(given)

    def faults(index: int, value: Json) -> int:
        return goformat.sprintf(plain, *values[:index], value, *values[index + 1 :]).count("%!")

    try:
        for index, types in enumerate(given):  # each by itself: a verb's fault is its value's alone
            samples = [value for name, some in _SAMPLES.items() if name in types for value in some]
            values[index] = min(samples, key=partial(faults, index))
        return goformat.sprintf(template, *values) if "%!" in goformat.sprintf(plain, *values) else ""
    except InvalidInput:  # it would be too long: told where it is used
        return ""


def _what(transform: AnyTransform) -> str:
    settings = transform.string
    return f"string {settings.type or 'Format'}" if transform.type == "string" and settings else transform.type


def _to_type(wanted: Types) -> str:
    names = {"boolean": "bool", "integer": "int64", "number": "float64"}
    first = sorted(wanted & SCALARS)[0]
    return names.get(first, first)


def _written(part: Part, template: Template) -> set[tuple[fieldpath.Segment, ...]]:
    """The fields of the composed resource that patches may write: what a base has there may be a stand-in."""
    sets = {patch_set.name: patch_set.patches for patch_set in part.sets}
    found = set()
    for patch in template.patches:
        inner = sets.get(patch.patchSetName or "", ()) if isinstance(patch, PatchSetReference) else (patch,)
        for each in inner:
            if not isinstance(each, PatchSetReference) and "From" in each.type:
                text = each.toFieldPath or each.fromFieldPath
                if text and fieldpath.is_path(text):
                    found.add(fieldpath.parse(text).segments)
    return found


def _base(
    schema: OpenAPI, base: Mapping[str, Json], place: str, written: set[tuple[fieldpath.Segment, ...]]
) -> Iterator[Problem]:
    """What does not fit in a base, but where a patch writes."""
    for found in misfits.of(schema, base):
        if found.path not in written:
            where = fieldpath.render(found.path)
            yield Problem("Invalid", f"{place}.{where}", found.detail, found.mend)
