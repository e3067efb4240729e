"""Compositions and their revisions: what a user wrote, what is wrong with it, which one is meant, its hash.

Source: Crossplane v1.20 `apis/apiextensions/v1` (types, defaults, logical validation), `internal/controller/apiextensions/
composition` (revisions, hash) and `internal/controller/apiextensions/composite/api.go` (selection).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple

from pydantic import Field

from groundplane.core import connection, fieldpath, gitops, goyaml, patches, pipeline, readiness
from groundplane.core.connection import ConnectionDetail
from groundplane.core.objects import (
    Json,
    Object,
    annotations_of,
    controller_of,
    labels_of,
    matches,
    meta,
    owner_reference,
    spec_of,
)
from groundplane.core.patches import Patch, PatchSet, PatchSetReference
from groundplane.core.readiness import ReadinessCheck
from groundplane.core.spec import NATIVE, Dialect, Problem, Spec, load, refusal, required
from groundplane.core.template import CompiledTemplate, Templates
from groundplane.errors import InvalidInput, at, did_you_mean, shown

API_VERSION = "apiextensions.crossplane.io/v1"
NAME_LABEL = "crossplane.io/composition-name"
HASH_LABEL = "crossplane.io/composition-hash"
HASH_LENGTH = 63  # of the 64 hex digits: what fits into a label
# Of a spec: empty ones are as if they were not there, as upstream writes them.
OPTIONAL_LISTS = ("patchSets", "resources", "pipeline")
GONE = "environment"  # of a spec: kept on the Composition to say that nothing reads it; upstream does not store it
KUBECTL = "kubectl.kubernetes.io/"  # annotations: the manifest once more
OURS = "groundplane.io/"  # annotations that a revision keeps: they change how it renders
KEEP_HOST_PORT = "groundplane.io/keep-host-port"


# --- the YAML ------------------------------------------------------------------------------------------


class CompositeType(Spec):
    """The kind of composite that a composition is for."""

    apiVersion: str
    kind: str


class Template(Spec):
    """What becomes one composed resource."""

    name: str | None = None
    base: dict[str, Json]
    patches: list[Patch] = Field(default_factory=list)
    connectionDetails: list[ConnectionDetail] = Field(default_factory=list)
    readinessChecks: list[ReadinessCheck] = Field(default_factory=list)


class FunctionReference(Spec):
    """The Function that a step calls."""

    name: str


class SecretReference(Spec):
    """Where a Secret is."""

    namespace: str
    name: str


class Credentials(Spec):
    """A Secret that a function is handed."""

    name: str
    source: Literal["None", "Secret"]
    secretRef: SecretReference | None = None


class RequiredResource(Spec):
    """Objects that a function sees from its first call on: by name, or by labels."""

    requirementName: str
    apiVersion: str
    kind: str
    name: str | None = None
    matchLabels: dict[str, str] = Field(default_factory=dict)
    namespace: str | None = None


class RequiredSchema(Spec):
    """A kind whose schema a function sees from its first call on."""

    requirementName: str
    apiVersion: str
    kind: str


class Requirements(Spec):
    """What a step needs to see."""

    requiredResources: list[RequiredResource] = Field(default_factory=list)
    requiredSchemas: list[RequiredSchema] = Field(default_factory=list)


class Step(Spec):
    """One function of a pipeline."""

    step: str
    functionRef: FunctionReference
    input: dict[str, Json] | None = None
    credentials: list[Credentials] = Field(default_factory=list)
    requirements: Requirements | None = None


class StoreConfig(Spec):
    """Where external secret stores were configured; read and not used."""

    name: str


class CompositionSpec(Spec):
    """The spec of a Composition, and of a CompositionRevision (which alone has `revision`)."""

    compositeTypeRef: CompositeType
    mode: Literal["Resources", "Pipeline"] | None = None
    patchSets: list[PatchSet] = Field(default_factory=list)
    resources: list[Template] = Field(default_factory=list)
    pipeline: list[Step] = Field(default_factory=list)
    writeConnectionSecretsToNamespace: str | None = None
    publishConnectionDetailsWithStoreConfigRef: StoreConfig | None = None
    revision: int | None = None

    @property
    def is_pipeline(self) -> bool:
        """Whether functions compose.

        A manifest of v2 may leave its one mode out, and the API server then fills in that of v1: what is there tells.
        """
        return self.mode == "Pipeline" or bool(self.pipeline and not self.resources)


# --- ready to render ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compiled(Templates):
    """A composition, ready to render any number of composites."""

    steps: tuple[pipeline.Step, ...] = ()  # of mode Pipeline; then there are no templates
    sequences: tuple[tuple[str, ...], ...] = ()  # in which steps make things; patterns of their names

    @property
    def is_pipeline(self) -> bool:
        """Whether functions compose."""
        return bool(self.steps)


def compile(source: Object, find: pipeline.Find | None = None) -> Compiled:
    """Make a Composition or CompositionRevision ready to render.

    `find` tells the function that a step names; without it there are none.

    Raises:
        InvalidInput: with every problem in it, each with the path of its field.
    """
    name = labels_of(source).get(NAME_LABEL) or meta(source).get("name") or ""
    templates: tuple[CompiledTemplate, ...] = ()
    steps: tuple[pipeline.Step, ...] = ()
    with at(f"Composition {name}"):
        spec, shape, sense, pruned = review(spec_of(source))
        if spec is None or shape or sense:
            raise refusal(shape + sense)
        if spec.is_pipeline:
            steps = compiled_steps(spec.pipeline, find or _no_functions)
        else:
            sets = {patch_set.name: patch_set.patches for patch_set in spec.patchSets}
            templates = tuple(_compiled(index, template, sets) for index, template in enumerate(spec.resources))
    return Compiled(
        name=name,
        templates=templates,
        kinds=frozenset((template.api_version, template.kind) for template in templates),
        secrets_namespace=spec.writeConnectionSecretsToNamespace,
        keep_host_port=annotations_of(source).get(KEEP_HOST_PORT) == "true",
        pruned=tuple(pruned),
        steps=steps,
    )


def _no_functions(name: str) -> pipeline.Function:
    raise InvalidInput(f"there is no function {shown(name)}", mend="use mode Resources")


def compiled_steps(steps: Sequence[Step], find: pipeline.Find) -> tuple[pipeline.Step, ...]:
    """The steps of a pipeline; all that is wrong with any is told at once."""
    problems = step_problems(steps, find)
    if problems:
        raise refusal(problems)
    return tuple(_compiled_step(step, find(step.functionRef.name)) for step in steps)


def step_problems(steps: Sequence[Step], find: pipeline.Find) -> list[Problem]:
    """All that is wrong with the functions that steps name, and with what they are told."""
    problems: list[Problem] = []
    for index, step in enumerate(steps):
        place = f"spec.pipeline[{index}]"
        try:
            function = find(step.functionRef.name)
        except InvalidInput as error:
            problems.append(Problem("NotSupported", f"{place}.functionRef.name", error.what, error.mend))
            continue
        problems += [problem.under(f"{place}.input") for problem in function.check(step.input or {})]
    return problems


def _compiled_step(step: Step, function: pipeline.Function) -> pipeline.Step:
    with at(f"step {step.step}"):
        run = function.compile(step.input or {})
    needs = step.requirements or Requirements()
    return pipeline.Step(
        name=step.step,
        function=step.functionRef.name,
        run=run,
        credentials=tuple(
            pipeline.Credentials(given.name, given.secretRef.namespace, given.secretRef.name)
            for given in step.credentials
            if given.source == "Secret" and given.secretRef
        ),
        requirements={
            need.requirementName: pipeline.Selector(
                need.apiVersion, need.kind, need.name or "", need.matchLabels, need.namespace or ""
            )
            for need in needs.requiredResources
        },
        schemas={need.requirementName: pipeline.Kind(need.apiVersion, need.kind) for need in needs.requiredSchemas},
    )


def _compiled(index: int, template: Template, sets: Mapping[str, list[Patch]]) -> CompiledTemplate:
    base = {"metadata": {}} | fieldpath.normalised(template.base)
    base["metadata"] = {
        name: value for name, value in (base["metadata"] or {}).items() if name not in ("name", "namespace")
    }
    steps = [(place, patch.compile(NATIVE), patch.type) for place, patch in patches.placed(template.patches, sets)]
    return CompiledTemplate(
        name=template.name or f"resource {index + 1}",
        is_named=bool(template.name),
        base=base,
        api_version=base["apiVersion"],
        kind=base["kind"],
        from_composite=tuple((where, patch) for where, patch, type_ in steps if type_ in patches.FROM_COMPOSITE),
        to_composite=tuple((where, patch) for where, patch, type_ in steps if type_ in patches.TO_COMPOSITE),
        connection=connection.compile(template.connectionDetails),
        readiness=readiness.compile(template.readinessChecks),
    )


def function_names(source: Object) -> list[str]:
    """The Functions that a Composition or revision names: what is known of them says what they are."""
    spec = spec_of(source)
    steps = spec.get("pipeline") if spec.get("mode") == "Pipeline" or not spec.get("resources") else None
    names = {
        (step.get("functionRef") or {}).get("name")
        for step in (steps if isinstance(steps, list) else ())
        if isinstance(step, dict) and isinstance(step.get("functionRef"), dict)
    }
    return sorted(name for name in names if name and isinstance(name, str))


# --- what is wrong with it -------------------------------------------------------------------------------


class Review(NamedTuple):
    """What reading a Composition's spec gave."""

    spec: CompositionSpec | None  # None if its shape is wrong
    shape: list[Problem]  # what the API server would refuse
    sense: list[Problem]  # what is well-formed, and can't work; looked for only if the shape is right
    pruned: list[str]  # paths of fields that do not exist


def review(raw: Mapping[str, Any]) -> Review:
    """Read the spec of a Composition or revision, and find every problem in it."""
    raw = fieldpath.normalised(dict(raw))
    spec, shape, pruned = load(CompositionSpec, raw, "spec", NATIVE)
    shape += _base_problems(raw)
    if spec is not None:
        shape += [problem.under("spec") for problem in _unsupported(spec, NATIVE)]
    shape.sort(key=lambda problem: problem.field)
    sense = [] if spec is None or shape else [problem.under("spec") for problem in _logical_problems(spec)]
    return Review(spec, shape, sense, pruned)


def _base_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """What the API server demands of an embedded object."""
    resources = raw.get("resources")
    for index, template in enumerate(resources if isinstance(resources, list) else ()):
        base = template.get("base") if isinstance(template, dict) else None
        if not isinstance(base, dict):
            continue
        place = f"spec.resources[{index}].base"
        for name in ("apiVersion", "kind"):
            if not base.get(name) or not isinstance(base[name], str):
                yield required(f"{place}.{name}", "must not be empty")
        metadata = base.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            yield Problem("Invalid", f"{place}.metadata", "must be an object")
        for name in ("labels", "annotations"):
            entries = metadata.get(name) if isinstance(metadata, dict) else None
            if entries is not None and not isinstance(entries, dict):
                yield Problem("Invalid", f"{place}.metadata", f"{name} must be an object")
                break
            odd = [
                key for key, value in (entries or {}).items() if not isinstance(value, str | None)
            ]  # null: a patch fills it
            if odd:
                yield Problem("Invalid", f"{place}.metadata", f"{name}[{odd[0]}] must be a string", "put it in quotes")
                break


def _unsupported(spec: CompositionSpec, dialect: Dialect) -> Iterator[Problem]:
    for place, patch in _patches(spec):
        for problem in patch.unsupported(dialect):
            yield problem.under(place)


def _patches(spec: CompositionSpec) -> Iterator[tuple[str, Patch]]:
    for index, patch_set in enumerate(spec.patchSets):
        for number, patch in enumerate(patch_set.patches):
            yield f"patchSets[{index}].patches[{number}]", patch
    for index, template in enumerate(spec.resources):
        for number, patch in enumerate(template.patches):
            yield f"resources[{index}].patches[{number}]", patch


def _logical_problems(spec: CompositionSpec) -> Iterator[Problem]:
    if spec.is_pipeline:
        if not spec.pipeline:
            yield required("pipeline", "a pipeline needs at least one step")
    elif not spec.resources:
        yield required("resources", "mode Resources needs at least one template")
    yield from _pipeline_problems(spec)
    yield from _patch_set_problems(spec)
    yield from _name_problems(spec)
    sets = {patch_set.name: patch_set.patches for patch_set in spec.patchSets}
    yield from patches.size_problems((template.patches for template in spec.resources), sets)
    for index, template in enumerate(spec.resources):
        place = f"resources[{index}]"
        for number, patch in enumerate(template.patches):
            yield from _first(f"{place}.patches[{number}]", patch.problems(NATIVE))
        for number, readiness_check in enumerate(template.readinessChecks):
            yield from _first(f"{place}.readinessChecks[{number}]", readiness_check.problems(NATIVE))


def _first(place: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    """Upstream tells one problem of each patch and each readiness check, the first."""
    return (problem.under(place) for problem in islice(problems, 1))


def _pipeline_problems(spec: CompositionSpec) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, step in enumerate(spec.pipeline):
        place = f"pipeline[{index}]"
        if step.step in seen:
            yield Problem("Duplicate", f"{place}.step", f"there is a step {shown(step.step)} already")
        seen.add(step.step)
        names: set[str] = set()
        for number, credentials in enumerate(step.credentials):
            if credentials.name in names:
                yield Problem("Duplicate", f"{place}.credentials[{number}].name", "there is one of that name already")
            names.add(credentials.name)
            if credentials.source == "Secret" and credentials.secretRef is None:
                yield required(f"{place}.credentials[{number}].secretRef")


def _patch_set_problems(spec: CompositionSpec) -> Iterator[Problem]:
    names = [patch_set.name for patch_set in spec.patchSets]
    for index, patch_set in enumerate(spec.patchSets):
        for number, patch in enumerate(patch_set.patches):
            place = f"patchSets[{index}].patches[{number}]"
            if isinstance(patch, PatchSetReference):
                yield Problem("Invalid", f"{place}.type", "a patch set can't use patch sets", "list its patches here")
                continue
            yield from _first(place, patch.problems(NATIVE))
    for index, template in enumerate(spec.resources):
        for number, patch in enumerate(template.patches):
            if not isinstance(patch, PatchSetReference):
                continue
            place = f"resources[{index}].patches[{number}].patchSetName"
            if patch.patchSetName is None:
                yield required(place, "must be set for patch type PatchSet")
            elif patch.patchSetName not in names:
                text = f"no patch set is named {shown(patch.patchSetName)}"
                yield Problem("Invalid", place, text, did_you_mean(patch.patchSetName, names))


def _name_problems(spec: CompositionSpec) -> Iterator[Problem]:
    mixed = "named and anonymous templates can't be mixed"
    seen: set[str] = set()
    for index, template in enumerate(spec.resources):
        place = f"resources[{index}].name"
        if not template.name:
            if spec.pipeline:
                yield required(place, "templates need names where there is a pipeline")
            elif seen:
                yield required(place, mixed, "give every template a name")
        elif template.name in seen:
            yield Problem(
                "Duplicate", place, f"there is a template {shown(template.name)} already", "rename one of them"
            )
        elif index and not seen:
            yield Problem("Invalid", place, mixed, "give every template a name")
        else:
            seen.add(template.name)


# --- which one is meant -------------------------------------------------------------------------------------


def head(source: Object) -> Object:
    """Of a Composition or revision, what decides whether it is chosen, and which Functions it needs; not what it says."""
    spec = spec_of(source)
    metadata = {name: value for name, value in meta(source).items() if name not in ("annotations", "managedFields")}
    kept: dict[str, Any] = {name: spec[name] for name in ("compositeTypeRef", "mode", "revision") if name in spec}
    if names := function_names(source):
        kept["pipeline"] = [{"functionRef": {"name": name}} for name in names]
    elif spec.get("resources"):
        kept["resources"] = [{}]  # there are some: so it is no pipeline
    return {"apiVersion": source["apiVersion"], "kind": source["kind"], "metadata": metadata, "spec": kept}


def compatible(composition: Object, api_version: str, kind: str) -> bool:
    """Whether a Composition or revision is for this kind of composite."""
    reference = spec_of(composition).get("compositeTypeRef")
    return isinstance(reference, dict) and (reference.get("apiVersion"), reference.get("kind")) == (api_version, kind)


def is_revision_of(revision: Object, origin: Object) -> bool:
    """Whether a revision is one of this Composition's: it says so, and the Composition controls it."""
    controller = controller_of(revision) or {}
    return names_composition(revision, origin) and bool(controller.get("uid") == meta(origin)["uid"])


def names_composition(revision: Object, origin: Object) -> bool:
    """Whether a revision says of itself that it is one of this Composition's."""
    return bool(labels_of(revision).get(NAME_LABEL) == meta(origin)["name"])


def select_revision(
    revisions: Iterable[Object],
    *,
    composition_uid: str,
    policy: str | None,
    selector: Mapping[str, str],
) -> Object | None:
    """The latest of a Composition's revisions that a composite may follow, if there is one.

    `selector` holds labels and counts only with `policy` "Automatic".  A composite with policy "Manual" that has
    a revision keeps it, and does not ask.
    """
    wanted = selector if policy == "Automatic" else {}
    candidates = [
        revision
        for revision in revisions
        if (controller_of(revision) or {}).get("uid") == composition_uid and matches(labels_of(revision), wanted)
    ]
    return max(candidates, key=number_of, default=None)


# --- revisions ---------------------------------------------------------------------------------------------


def number_of(revision: Object) -> int:
    """The highest is the latest."""
    return int(spec_of(revision).get("revision") or 0)


def content_hash(composition: Object) -> str:
    """The 64 hex digits that tell one content of a Composition from another: labels, annotations and spec.

    No labels are null, not an empty object: so upstream's structs are written.
    """
    content = (labels_of(composition) or None, annotations_of(composition) or None, _canonical(spec_of(composition)))
    return hashlib.sha256("".join(map(goyaml.dumps, content)).encode()).hexdigest()


def _canonical(spec: Mapping[str, Json]) -> Json:
    """The spec as upstream's Go structs write it: empty lists left out, and a match's fallback always there."""
    result = _snapshot(spec)
    for holder in (*result.get("patchSets", ()), *result.get("resources", ())):
        _without_empty(holder, "connectionDetails", "readinessChecks")
        if "base" in holder:
            _without_empty(holder, "patches")
        for readiness_check in holder.get("readinessChecks", ()):
            _without_empty(readiness_check, "fieldPath", "matchString", "matchInteger")
        for patch in holder.get("patches") or ():
            for transform in _without_empty(patch, "transforms", "type").get("transforms", ()):
                match = transform.get("match")
                if isinstance(match, dict):
                    _without_empty(match, "patterns", "fallbackTo").setdefault("fallbackValue", None)
    for step in result.get("pipeline", ()):
        _without_empty(step, "credentials")
    return result


def _snapshot(spec: Mapping[str, Json]) -> dict[str, Json]:
    """What of a Composition's spec its revision holds."""
    result = _without_empty(fieldpath.copied(dict(spec)), *OPTIONAL_LISTS)
    result.pop(GONE, None)
    return result


def _without_empty(obj: dict[str, Json], *names: str) -> dict[str, Json]:
    for name in names:
        if name in obj and not obj[name]:
            del obj[name]
    return obj


def _annotations(composition: Object, strict_upstream: bool) -> dict[str, str]:
    """The annotations of a Composition that its revision has, too: with v2 all but what tools keep there, with v1.20 none but ours."""
    found = annotations_of(composition)
    if strict_upstream:
        return {key: text for key, text in found.items() if key.startswith(OURS)}
    return {key: text for key, text in gitops.without_tools(found).items() if not key.startswith(KUBECTL)}


def revision_for(composition: Object, number: int, *, strict_upstream: bool = False) -> Object:
    """The CompositionRevision that snapshots a Composition; `number` grows with each."""
    labels = labels_of(composition) if strict_upstream else gitops.without_tools(labels_of(composition))
    name = meta(composition)["name"]
    digest = content_hash(composition)
    metadata: dict[str, Any] = {
        "name": f"{name}-{digest[:7]}",
        "labels": {NAME_LABEL: name, HASH_LABEL: digest[:HASH_LENGTH]} | labels,
        "ownerReferences": [owner_reference(composition)],
    }
    if annotations := _annotations(composition, strict_upstream):
        metadata["annotations"] = annotations
    return {
        "apiVersion": API_VERSION,
        "kind": "CompositionRevision",
        "metadata": metadata,
        "spec": _snapshot(spec_of(composition)) | {"revision": number},
    }
