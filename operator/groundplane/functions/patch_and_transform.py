"""function-patch-and-transform: composed resources from bases and patches, as a step of a pipeline.

Source: function-patch-and-transform v0.10 (`fn.go`, `patches.go`, `connection.go`, `ready.go`, `validate.go`).  Patches, transforms,
readiness and connection details are those of mode Resources, in the function's dialect.  Two departures: integers stay
integers, where upstream's protocol makes floats of them; and every mistake in an input is told at once.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from groundplane.core import connection, environment, fieldpath, patches, readiness
from groundplane.core.connection import ConnectionDetail, Detail
from groundplane.core.fieldpath import FieldNotFound
from groundplane.core.objects import Json, Object, meta, spec_of
from groundplane.core.patches import AnyPatch, FunctionPatch, PatchSetReference
from groundplane.core.pipeline import Request, Resource, Response, Result, RunFunction, State, is_of_kind, passed_on
from groundplane.core.readiness import Check, FunctionCheck
from groundplane.core.spec import FUNCTION, Problem, Spec, load, required
from groundplane.core.typecheck import Part
from groundplane.errors import GroundplaneError, InvalidInput, at, did_you_mean, shown

# --- the YAML -------------------------------------------------------------------------------------------------


class PatchSet(Spec):
    """Patches under a name, for several templates."""

    zero: ClassVar = {"name": ""}

    name: str
    patches: list[FunctionPatch] = Field(default_factory=list)


class Template(Spec):
    """What becomes one composed resource; without a base it changes the one that an earlier step desires."""

    zero: ClassVar = {"name": ""}

    name: str
    base: dict[str, Json] | None = None
    patches: list[FunctionPatch] = Field(default_factory=list)
    connectionDetails: list[ConnectionDetail] = Field(default_factory=list)
    readinessChecks: list[FunctionCheck] = Field(default_factory=list)


class Environment(Spec):
    """Patches between the composite and the environment."""

    patches: list[FunctionPatch] = Field(default_factory=list)


class SecretReference(Spec):
    """Where the connection Secret of a composite of v2 goes."""

    name: str = ""
    namespace: str = ""
    patches: list[FunctionPatch] = Field(default_factory=list)


class Input(Spec):
    """`Resources` of `pt.fn.crossplane.io/v1beta1`."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    patchSets: list[PatchSet] = Field(default_factory=list)
    environment: Environment = Field(default_factory=Environment)
    resources: list[Template] = Field(default_factory=list)
    writeConnectionSecretToRef: SecretReference | None = None


# --- what is wrong with it --------------------------------------------------------------------------------------


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Everything that is wrong with an input."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    return problems if found is None else list(_problems(found))


def part(given: Mapping[str, Json], place: str) -> Part:
    """What there is to be checked against schemas in an input that has passed `check`."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    assert found is not None, problems
    return Part(place, found.resources, found.patchSets, found.environment.patches)


def _problems(given: Input) -> Iterator[Problem]:
    for index, patch_set in enumerate(given.patchSets):
        if not patch_set.name:
            yield required(f"patchSets[{index}].name")
        for place, patch in _placed(f"patchSets[{index}].patches", patch_set.patches):
            if isinstance(patch, PatchSetReference):
                yield Problem("Invalid", f"{place}.type", "a patch set can't use patch sets", "list its patches here")
                continue
            yield from _without_set(place, patch)
            yield from _under(place, patch.problems(FUNCTION))
    if not given.resources and not given.environment.patches:
        yield required("resources", "give at least one resource, or environment.patches")
    sets = {patch_set.name: patch_set.patches for patch_set in given.patchSets}
    lists = [template.patches for template in given.resources]
    yield from patches.size_problems([*lists, given.environment.patches], sets)
    for index, template in enumerate(given.resources):
        yield from _template_problems(f"resources[{index}]", template, sets)
    for place, patch in _placed("environment.patches", given.environment.patches):
        yield from _without_set(place, patch)
        if patch.type in _ENVIRONMENT_FLOW:
            yield from _under(place, patch.problems(FUNCTION))
        else:
            mend = _AMONG_ENVIRONMENT.get(patch.type) or did_you_mean(patch.type, _ENVIRONMENT_FLOW)
            yield Problem("Invalid", f"{place}.type", f"{patch.type} can't be an environment patch", mend)
    reference = given.writeConnectionSecretToRef or SecretReference()
    for place, patch in _placed("writeConnectionSecretToRef.patches", reference.patches):
        yield from _without_set(place, patch)


def _template_problems(place: str, template: Template, sets: Collection[str]) -> Iterator[Problem]:
    if not template.name:
        yield required(f"{place}.name")
    if template.base is not None and not (isinstance(template.base.get("kind"), str) and template.base["kind"]):
        yield required(f"{place}.base.kind")
    for where, patch in _placed(f"{place}.patches", template.patches):
        yield from _under(where, patch.problems(FUNCTION))
        if isinstance(patch, PatchSetReference) and patch.patchSetName and patch.patchSetName not in sets:
            text = f"no patch set is named {shown(patch.patchSetName)}"
            yield Problem("Invalid", f"{where}.patchSetName", text, did_you_mean(patch.patchSetName, sets))
    for number, detail in enumerate(template.connectionDetails):
        yield from _under(f"{place}.connectionDetails[{number}]", detail.problems(FUNCTION))
    for number, readiness_check in enumerate(template.readinessChecks):
        yield from _under(f"{place}.readinessChecks[{number}]", readiness_check.problems(FUNCTION))


def _without_set(place: str, patch: AnyPatch) -> Iterator[Problem]:
    if patch.patchSetName is not None:
        yield Problem("Forbidden", f"{place}.patchSetName", "unknown field here")


def _placed(place: str, listed: Sequence[FunctionPatch]) -> Iterator[tuple[str, FunctionPatch]]:
    for index, patch in enumerate(listed):
        yield f"{place}[{index}]", patch


def _under(place: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    return (problem.under(place) for problem in problems)


# --- ready to run -----------------------------------------------------------------------------------------------


class _Flow(NamedTuple):
    """Where a type of patch reads and writes."""

    source: str
    target: str


_COMPOSITE, _COMPOSED, _ENVIRONMENT = "composite", "composed", "environment"

_RESOURCE_FLOW = {
    "FromCompositeFieldPath": _Flow(_COMPOSITE, _COMPOSED),
    "CombineFromComposite": _Flow(_COMPOSITE, _COMPOSED),
    "FromEnvironmentFieldPath": _Flow(_ENVIRONMENT, _COMPOSED),
    "CombineFromEnvironment": _Flow(_ENVIRONMENT, _COMPOSED),
    "ToCompositeFieldPath": _Flow(_COMPOSED, _COMPOSITE),
    "CombineToComposite": _Flow(_COMPOSED, _COMPOSITE),
    "ToEnvironmentFieldPath": _Flow(_COMPOSED, _ENVIRONMENT),
    "CombineToEnvironment": _Flow(_COMPOSED, _ENVIRONMENT),
}
_ENVIRONMENT_FLOW = {  # the names of the others, for what goes between composite and environment
    "FromCompositeFieldPath": _Flow(_COMPOSITE, _ENVIRONMENT),
    "CombineFromComposite": _Flow(_COMPOSITE, _ENVIRONMENT),
    "ToEnvironmentFieldPath": _Flow(_COMPOSITE, _ENVIRONMENT),
    "ToCompositeFieldPath": _Flow(_ENVIRONMENT, _COMPOSITE),
    "CombineToComposite": _Flow(_ENVIRONMENT, _COMPOSITE),
    "FromEnvironmentFieldPath": _Flow(_ENVIRONMENT, _COMPOSITE),
}
_AMONG_ENVIRONMENT = {  # what reads or writes the environment elsewhere is named after the composite here
    "CombineFromEnvironment": "use CombineToComposite, which reads the environment here",
    "CombineToEnvironment": "use CombineFromComposite, which writes to the environment here",
}


@dataclass(frozen=True, slots=True)
class _Patch:
    """A patch that is ready to run, with its place in the input, and where it reads and writes."""

    where: str
    patch: patches.Compiled
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class _Template:
    name: str
    base: Object | None
    patches: tuple[_Patch, ...]
    connection: tuple[Detail, ...]
    readiness: Sequence[Check]


@dataclass(frozen=True, slots=True)
class _Secret:
    name: str
    namespace: str
    patches: tuple[
        tuple[str, str, patches.Compiled | None], ...
    ]  # place, type; None for a type that can't be used here


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function with this input, ready to run.  The input has passed `check`."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    assert found is not None, problems
    sets = {patch_set.name: patch_set.patches for patch_set in found.patchSets}
    templates = tuple(
        _Template(
            name=template.name,
            base=template.base,
            patches=_compiled(patches.placed(template.patches, sets), _RESOURCE_FLOW),
            connection=connection.compile(template.connectionDetails),
            readiness=readiness.compile(template.readinessChecks),
        )
        for template in found.resources
    )
    between = _compiled(patches.placed(found.environment.patches, {}), _ENVIRONMENT_FLOW)
    secret = _compiled_secret(found.writeConnectionSecretToRef or SecretReference())
    return lambda request: _Run(request).answer(between, templates, secret)


def _compiled(listed: Iterable[tuple[str, FunctionPatch]], flows: Mapping[str, _Flow]) -> tuple[_Patch, ...]:
    return tuple(_Patch(where, patch.compile(FUNCTION), *flows[patch.type]) for where, patch in listed)


def _compiled_secret(reference: SecretReference) -> _Secret:
    """The input's reference; its patches were not validated, so that they fail when they run."""
    compiled = []
    for index, patch in enumerate(reference.patches):
        usable = patch.type in patches.FROM_COMPOSITE
        if patch.type == "CombineFromComposite":
            usable = not any(patch.missing(FUNCTION))
        elif usable and patch.fromFieldPath is None:
            if patch.policy is None or patch.policy.fromFieldPath != "Required":
                continue  # whatever is wrong with an optional one, it is left out
            usable = False
        compiled.append(
            (
                f"writeConnectionSecretToRef.patches[{index}] ({patch.type})",
                patch.type,
                patch.compile(FUNCTION) if usable else None,
            )
        )
    return _Secret(reference.name, reference.namespace, tuple(compiled))


# --- running ----------------------------------------------------------------------------------------------------


class _Run:
    """One call: what becomes of what was asked."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.observed = request.observed
        desired = request.desired.composite
        self.composite: Object = fieldpath.copied(desired.object)
        for name in ("apiVersion", "kind"):
            if name in self.observed.composite.object:
                self.composite[name] = self.observed.composite.object[name]
        self.connection = dict(desired.connection)
        self.resources = dict(request.desired.resources)
        self.environment: Object = {}
        self.results: list[Result] = []
        self.withheld = False  # whether a template lacks something that it requires

    def answer(self, between: Sequence[_Patch], templates: Sequence[_Template], secret: _Secret) -> Response:
        try:
            self.environment = environment.of(self.request.context)
            with at("environment"):
                for number, patch in enumerate(between):
                    source = self.observed.composite.object if patch.source == _COMPOSITE else self.environment
                    target = self.composite if patch.target == _COMPOSITE else self.environment
                    self._apply("environment", patch, source, target)
                    patches.check_size(number, target)
            for template in templates:
                with at(f"resource {template.name}"):
                    self._template(template)
            self._secret(secret)
        except GroundplaneError as error:
            return passed_on(self.request, *self.results, Result("Fatal", str(error)))
        composite = Resource(self.composite, self.connection, False if self.withheld else None)
        return Response(
            desired=State(composite, self.resources),
            context={**self.request.context, environment.KEY: self.environment},
            results=self.results,
        )

    def _apply(self, place: str, patch: _Patch, source: Object, target: Object) -> None:
        trace = self.request.trace
        told = patch.patch.begin(trace, (place, patch.where), source, target) if trace is not None else None
        try:
            patch.patch.apply(source, target, told)
        except GroundplaneError as error:
            if told is not None:
                told.error = str(error)
            # as `at` does, at less cost for what goes well
            error.where = (patch.where, *error.where)
            raise
        if told is not None and patch.target == _COMPOSITE and any(_is_dropped(path) for path, _ in told.written):
            told.written = [(path, value) for path, value in told.written if not _is_dropped(path)]
            told.skipped = "it has no effect: of a composite, a pipeline changes only the status"

    def _template(self, template: _Template) -> None:
        there = self.observed.resources.get(template.name)
        desired = self._start(template)
        ready = None
        if there is not None:
            _keep_name(there.object, desired)
            self._extract(template, there)
            ready = self._is_ready(template, there)
        sources = {
            _COMPOSITE: self.observed.composite.object,
            _COMPOSED: there.object if there else {},
            _ENVIRONMENT: self.environment,
        }
        targets = {_COMPOSITE: self.composite, _COMPOSED: desired, _ENVIRONMENT: self.environment}
        for number, patch in enumerate(template.patches):
            if patch.source == _COMPOSED and there is None:
                self._tell_early(template, patch, desired)
                continue
            try:
                self._apply(f"resource {template.name}", patch, sources[patch.source], targets[patch.target])
                patches.check_size(number, targets[patch.target])
            except FieldNotFound as error:
                if patch.target == _COMPOSED and there is None:
                    self._warn(f'not adding new composed resource "{template.name}" to the desired state', error)
                    self.withheld = True
                    return
                self._warn(f'composed resource "{template.name}" exists, going on without what is required', error)
        self.resources[template.name] = Resource(desired, ready=ready)

    def _tell_early(self, template: _Template, patch: _Patch, desired: Object) -> None:
        if (trace := self.request.trace) is not None:
            told = patch.patch.begin(trace, (f"resource {template.name}", patch.where), desired, self.composite)
            told.skipped = "the composed resource does not exist yet"

    def _start(self, template: _Template) -> Object:
        base = template.base
        if base is None:
            if template.name not in self.resources:
                raise InvalidInput(
                    "it has no base, and no earlier step of the pipeline desires it",
                    mend="give it a base, or the name of a resource of an earlier step",
                )
            base = self.resources[template.name].object
        found: Object = fieldpath.copied(base)
        return found

    def _extract(self, template: _Template, there: Resource) -> None:
        try:
            self.connection |= connection.extract(template.connection, there.object, there.connection)
        except GroundplaneError as error:
            self._warn(f'cannot extract connection details of composed resource "{template.name}"', error)

    def _is_ready(self, template: _Template, there: Resource) -> bool | None:
        try:
            return readiness.is_ready(there.object, template.readiness) or None
        except readiness.Unusable:
            raise
        except GroundplaneError as error:
            self._warn(f'cannot check readiness of composed resource "{template.name}"', error)
            return None

    def _warn(self, text: str, error: GroundplaneError) -> None:
        self.results.append(Result("Warning", f"{text}: {error}"))

    # --- the Secret of a composite of v2

    def _secret(self, secret: _Secret) -> None:
        """Such a composite has no Secret of its own: it is composed of one."""
        composite = self.observed.composite.object
        if "crossplane" not in spec_of(composite) or not self.connection:
            return
        with at("connection secret"):
            reference = self._secret_reference(secret, composite)
        metadata = {name: value for name, value in reference.items() if value}
        data = {name: base64.b64encode(self.connection[name]).decode() for name in sorted(self.connection)}
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": connection.SECRET_TYPE,
            "data": data,
        }
        self.resources[f"{meta(composite).get('name', '')}-connection-secret"] = Resource(made, ready=True)

    def _secret_reference(self, secret: _Secret, composite: Object) -> dict[str, str]:
        own = spec_of(composite).get("writeConnectionSecretToRef")
        found: dict[str, Any] = {
            "name": f"{meta(composite).get('name', '')}-connection",
            "namespace": meta(composite).get("namespace", ""),
        }
        if isinstance(own, dict):
            found = {"name": own.get("name"), "namespace": own.get("namespace")}
        elif secret.name or secret.namespace:
            found = {"name": secret.name, "namespace": secret.namespace}
        result = {name: value if isinstance(value, str) else "" for name, value in found.items()}
        holder: Object = {"apiVersion": "v1", "kind": "SecretReference", **result}
        for where, type_, patch in secret.patches:
            with at(where):
                if patch is None:
                    raise InvalidInput(
                        "can't name a Secret", mend="use FromCompositeFieldPath or CombineFromComposite, complete"
                    )
                self._patch_reference(type_, patch, composite, holder)
        return result | {name: holder[name] for name in result if isinstance(holder.get(name), str)}

    def _patch_reference(self, type_: str, patch: patches.Compiled, composite: Object, holder: Object) -> None:
        combines = type_ == "CombineFromComposite"
        try:
            if not patch.apply(composite, holder) and combines:
                raise InvalidInput("a value to combine is missing", mend="fill it, or combine other values")
        except GroundplaneError:
            if patch.is_required or combines:
                raise


def _is_dropped(path: str) -> bool:
    """Whether nobody takes what is written to that path of the composite."""
    return fieldpath.parse(path).segments[:1] != ("status",)


def _keep_name(there: Object, desired: Object) -> None:
    """What exists keeps its name and its place, if its metadata can hold them; of another kind that was made before, only the name."""
    metadata = desired.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        return
    for name in ("name", "namespace") if is_of_kind(there, desired) else ("name",):
        if meta(there).get(name):
            metadata[name] = meta(there)[name]
        else:
            metadata.pop(name, None)
