"""function-go-templating: composed resources, the composite's status and more from a template in Go's language that renders to YAML.

Source: function-go-templating v0.12 (`fn.go`, `template.go`, `extraresources.go`, `claimconditions.go`).  Templates see the request as protobuf's
JSON has it.  Departures: whole numbers stay whole, and an answer asks for another run only if the input does.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import Field

from groundplane.core import durations, environment, fieldpath, gotemplate, goyaml_read
from groundplane.core.conditions import Condition
from groundplane.core.gotemplate.requests import EXTRA_RESOURCES, FUNCTIONS, NAME_ANNOTATION
from groundplane.core.gotemplate.sprig.containers import MUTATING, merge_overwrite
from groundplane.core.goyaml_read import NotYaml
from groundplane.core.objects import Json, Object
from groundplane.core.pipeline import (
    Long,
    Request,
    Resource,
    Response,
    Result,
    RunFunction,
    Selector,
    State,
    Told,
    bounded_ttl,
    passed_on,
)
from groundplane.core.spec import FUNCTION, Problem, Spec, load, required
from groundplane.errors import GroundplaneError, InvalidInput, did_you_mean, shown

NAME = "manifests"  # of the template, in errors, as upstream calls it
SEPARATOR = "\n---\n"  # between templates of one input
READY_ANNOTATION = "gotemplating.fn.crossplane.io/ready"
TTL_ANNOTATION = "gotemplating.fn.crossplane.io/ttl"
META = "meta.gotemplating.fn.crossplane.io/v1alpha1"
META_KINDS = ("ClaimConditions", "CompositeConnectionDetails", "Context", "ExtraResources")
SETTING = "--function-templates-dir"
SOURCES = ("Inline", "FileSystem", "Environment")
NO_VALUE = "<no value>"  # what an action writes that has none
SHOWN = 3  # places that are named in a warning
CHANGING = "changes on every run"  # what a warning says of what a template renders

_RESERVED = frozenset(("Ready", "Synced", "Healthy"))
_READY = {"True": True, "False": False, "Unspecified": None}
_OBSERVING = re.compile(r"observed\.resources|getComposed|\.status\b")  # something that was there before is looked at


# --- the YAML -------------------------------------------------------------------------------------------------


class Delimiters(Spec):
    """What actions stand between."""

    left: str = ""
    right: str = ""


class Inline(Spec):
    """Templates in the input itself; `template` counts more."""

    template: str = ""
    templates: list[str] = Field(default_factory=list)


class Folder(Spec):
    """A folder with templates."""

    dirPath: str = ""


class Key(Spec):
    """The key of the environment that holds the template."""

    key: str = ""


class Input(Spec):
    """`GoTemplate` of `gotemplating.fn.crossplane.io/v1beta1`."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    delims: Delimiters = Field(default_factory=Delimiters)
    source: str = ""
    inline: Inline | None = None
    fileSystem: Folder | None = None
    environment: Key | None = None
    options: list[str] = Field(default_factory=list)
    ttl: str = ""


Files = Mapping[str, str]  # path below the folder of the setting → text


# --- the function ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GoTemplating:
    """The function; `files` are what lies in the folder that templates may come from, None: there is no such folder."""

    files: Files | None = None

    def check(self, given: Mapping[str, Json]) -> list[Problem]:
        """Everything that is wrong with an input."""
        found, problems, _ = load(Input, given, "", FUNCTION)
        return problems if found is None else list(self._problems(found))

    def compile(self, given: Mapping[str, Json]) -> RunFunction:
        """The function with this input, ready to run.  The input has passed `check`."""
        found, problems, _ = load(Input, given, "", FUNCTION)
        assert found is not None, problems
        if found.source == "Environment":
            key = found.environment.key if found.environment else ""
            return lambda request: _run(found, given, request, lambda: _template(found, _of_environment(request, key)))
        template = _template(found, self._text(found))
        return lambda request: _run(found, given, request, lambda: template)

    def _problems(self, given: Input) -> Iterator[Problem]:
        if given.source not in SOURCES:
            if not given.source:
                yield required("source", "must be set", f"use one of: {', '.join(SOURCES)}")
            else:
                yield Problem(
                    "NotSupported",
                    "source",
                    f"invalid source {shown(given.source)}",
                    did_you_mean(given.source, SOURCES),
                )
            return
        problem, mend = gotemplate.options_problem(given.options)
        if problem:
            yield Problem("Invalid", "options", f"cannot apply template options: {problem}", mend)
            return
        if given.source == "Environment":
            if given.environment is None or not given.environment.key:
                yield required("environment.key", "must be set for source Environment")
            return
        place = "inline" if given.source == "Inline" else "fileSystem.dirPath"
        try:
            text = self._text(given)
        except InvalidInput as error:
            yield Problem("Invalid", place, error.what, error.mend)
            return
        if given.inline is not None and given.source == "Inline":
            place = "inline.template" if given.inline.template else "inline.templates"
        try:
            _template(given, text)
        except InvalidInput as error:
            yield Problem("Invalid", place, f"cannot parse the provided templates: {error.what}", error.mend)

    def _text(self, given: Input) -> str:
        if given.source == "Inline":
            inline = given.inline or Inline()
            if not inline.template and not inline.templates:
                raise InvalidInput(
                    "inline.template or inline.templates should be provided", mend="write the template there"
                )
            return inline.template or SEPARATOR.join(inline.templates)
        folder = given.fileSystem.dirPath if given.fileSystem else ""
        if self.files is None:
            what = "templates are read from no folder here" if folder else "fileSystem.dirPath should be provided"
            raise InvalidInput(what, mend=f"write them into inline.template, or have the operator run with {SETTING}")
        below = _below(folder)
        texts = [self.files[path] for path in sorted(self.files) if path.startswith(below)]
        if not texts:
            known = sorted({path.rpartition("/")[0] for path in self.files})
            raise InvalidInput(
                f"there is no template in {shown(folder)}", mend=did_you_mean(folder, [f"/{each}" for each in known])
            )
        return "".join(f"{text}{SEPARATOR}" for text in texts)


def _below(folder: str) -> str:
    """How paths begin that are in a folder below that of the setting; it is written as if that were the root."""
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidInput(f"{shown(folder)} leads out of the folder with templates", mend="write it without ..")
    return "".join(f"{part}/" for part in parts)


_alone = GoTemplating()
check = _alone.check
compile = _alone.compile


def _template(given: Input, text: str) -> gotemplate.Template:
    return _compiled(text, (given.delims.left, given.delims.right), tuple(given.options))


@lru_cache(maxsize=64)  # an input is checked and compiled, and one of the environment compiled at each run
def _compiled(text: str, delims: tuple[str, str], options: tuple[str, ...]) -> gotemplate.Template:
    return gotemplate.compile(text, name=NAME, functions=FUNCTIONS, delims=delims, options=options)


def _of_environment(request: Request, key: str) -> str:
    if environment.KEY not in request.context:
        raise InvalidInput(
            f"cannot read the template from the environment: {environment.KEY} key does not exist in context",
            mend="put a step of function-environment-configs before this one",
        )
    found = environment.of(request.context)
    if key not in found:
        mend = did_you_mean(key, found)
        raise InvalidInput(f"cannot read the template from the environment: key: {key} does not exist", mend=mend)
    text = found[key]
    if not isinstance(text, str):
        raise InvalidInput(f"cannot read the template from the environment: key: {key} value is not a string")
    return text


# --- what a template sees ----------------------------------------------------------------------------------------


def seen(request: Request, given: Mapping[str, Json]) -> dict[str, Any]:
    """The request as protobuf's JSON has it: what is not set is not there.  It shares the request's objects."""
    data: dict[str, Any] = {"meta": {"tag": request.tag} if request.tag else {}}
    data["observed"] = _state(request.observed)
    desired = _state(request.desired)
    composite = request.desired.composite
    if composite.object.keys() <= {"apiVersion", "kind"} and not composite.connection and composite.ready is None:
        desired.pop("composite", None)  # nobody desires anything of it yet
    data["desired"] = desired
    data["input"] = given
    if request.context:
        data["context"] = request.context
    if request.extra:
        data["extraResources"] = _found(request.extra)
    if request.required:
        data["requiredResources"] = _found(request.required)
        data.setdefault("extraResources", data["requiredResources"])
    if request.credentials:
        data["credentials"] = {
            name: {"credentialData": {"data": _encoded(values)}} for name, values in request.credentials.items()
        }
    return data


def _state(state: State) -> dict[str, Any]:
    found: dict[str, Any] = {"composite": _resource(state.composite)}
    if state.resources:
        found["resources"] = {name: _resource(resource) for name, resource in state.resources.items()}
    return found


def _resource(resource: Resource) -> dict[str, Any]:
    found: dict[str, Any] = {"resource": resource.object}
    if resource.connection:
        found["connectionDetails"] = _encoded(resource.connection)
    if resource.ready is not None:
        found["ready"] = "READY_TRUE" if resource.ready else "READY_FALSE"
    return found


def _encoded(values: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(value).decode() for name, value in values.items()}


def _found(found: Mapping[str, Sequence[Object]]) -> dict[str, Any]:
    return {
        name: {"items": [{"resource": obj} for obj in objects]} if objects else {} for name, objects in found.items()
    }


# --- one call ------------------------------------------------------------------------------------------------------


def _run(
    given: Input, raw: Mapping[str, Json], request: Request, template_of: Callable[[], gotemplate.Template]
) -> Response:
    answer = _Answer(request)
    try:
        template = template_of()
        data = seen(request, raw)
        if MUTATING & template.used:
            data = fieldpath.copied(data)
        valueless: list[str] = []
        output = _rendered(template, data, request, valueless)
        told = []
        for document in documents(output):
            if valueless and (path := _valueless(document.manifest)):
                told.append(f"{path} of {document.manifest['kind']} (line {document.line} of the output)")
            try:
                answer.take(document)
            except InvalidInput as error:
                place = f"document {document.number}, line {document.line} of the output"
                raise InvalidInput(f"{error.what} ({place})", mend=error.mend) from None
    except InvalidInput as error:
        fatal = passed_on(request, Result("Fatal", str(error)))
        return replace(fatal, conditions=tuple(answer.conditions))
    changing = sorted(name for name in template.used if FUNCTIONS.get(name) and FUNCTIONS[name].is_random)
    results = []
    if changing and not _OBSERVING.search(template.source):
        what = f"what {', '.join(changing)} gives {CHANGING}, and so does what is desired"
        results.append(
            Result("Warning", f"{what}. Mend: keep it in a resource, and take it from what is observed: {_KEEPING}")
        )
    hints = [_no_value(told, valueless)] if told else []
    return replace(answer.response(_ttl(given, request), results), hints=hints)


_KEEPING = '{{ with getComposedResource . "NAME" }}…{{ else }}…{{ end }}'


def _rendered(template: gotemplate.Template, data: dict[str, Any], request: Request, valueless: list[str]) -> str:
    try:
        return template.render(data, is_brief=request.is_brief, pause=request.pause, valueless=valueless)
    except gotemplate.Unfinished:
        raise Long from None
    except InvalidInput as error:
        raise InvalidInput(f"cannot execute template: {error.what}", mend=error.mend) from None


def _valueless(value: Json, path: str = "") -> str:
    """Where it is in a manifest that a template had no value; "" if nowhere: it may have been a comment."""
    if isinstance(value, str):
        return path if NO_VALUE in value else ""
    if isinstance(value, dict):
        for name, each in value.items():
            if (
                found := f"a name in {path or 'it'}"
                if NO_VALUE in name
                else _valueless(each, f"{path}.{name}".lstrip("."))
            ):
                return found
    if isinstance(value, list):
        for index, each in enumerate(value):
            if found := _valueless(each, f"{path}[{index}]"):
                return found
    return ""


def _no_value(places: Sequence[str], actions: Sequence[str]) -> str:
    what = f'"{NO_VALUE}" stands in {_few(places)}: nothing was there for {_few(actions)}'
    mend = 'guard it: {{ with X }}…{{ end }}, or give another value: {{ X | default "…" }}'
    return f"{what}. Mend: {mend}"


def _few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")


def _ttl(given: Input, request: Request) -> float:
    metadata = request.observed.composite.object.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict) and TTL_ANNOTATION in annotations:
        return _seconds(annotations[TTL_ANNOTATION])
    return _seconds(given.ttl)


def _seconds(text: Json) -> float:
    """What upstream can't read asks for nothing."""
    try:
        return bounded_ttl(durations.seconds(text)) if isinstance(text, str) and text else 0.0
    except InvalidInput:
        return 0.0


# --- YAML → documents ------------------------------------------------------------------------------------------------


class Document(NamedTuple):
    """One manifest of the output, and the line where it begins."""

    number: int
    line: int
    manifest: Object


_BREAK = re.compile(r"^---.*(?:\n|\Z)", re.MULTILINE)


def documents(output: str) -> Iterator[Document]:
    """The manifests of what was rendered, empty ones left out.

    Raises:
        InvalidInput: one can't be read; with the line.
    """
    if output.lstrip().startswith("{"):
        found = _json_documents(output)
        if found is not None:
            yield from found
            return
    start, number = 0, 0
    lines = 1  # of the output, up to the document at hand
    for separator in [*_BREAK.finditer(output), None]:
        text = output[start : separator.start() if separator else None]
        if text.strip():
            number += 1
            yield from _document(text, number, lines)
        if separator is not None:
            lines += output.count("\n", start, separator.end())
            start = separator.end()


def _document(text: str, number: int, line: int) -> Iterator[Document]:
    try:
        value = fieldpath.normalised(goyaml_read.manifest(text))
    except NotYaml as error:
        place = f"line {line + error.line - 1} (document {number}, line {error.line})"
        raise InvalidInput(f"cannot decode manifest: YAML {place}: {error.what}", mend=error.mend) from None
    except GroundplaneError as error:
        raise InvalidInput(f"cannot decode manifest: document {number}: {error.what}", mend=error.mend) from None
    if value is None:
        return
    yield Document(number, line, _manifest(value, number, line))


def _manifest(value: Json, number: int, line: int) -> Object:
    place = f"document {number}, line {line} of the output"
    if not isinstance(value, dict):
        what = f"cannot decode manifest: {place}: it is {fieldpath.kind_of(value)}, not a map"
        raise InvalidInput(what, mend="each document is one manifest; separate them by lines with ---")
    if not isinstance(value.get("kind"), str) or not value["kind"]:
        raise InvalidInput(f"cannot decode manifest: {place}: it has no kind", mend="give it apiVersion and kind")
    return value


def _json_documents(output: str) -> list[Document] | None:
    """The documents of a stream of JSON; None if it is none, and may be YAML."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    found: list[Document] = []
    position = 0
    while True:
        blank = re.compile(r"(?:\s|^---.*$)*", re.MULTILINE).match(output, position)
        position = blank.end() if blank else position
        if position >= len(output):
            return found
        if output[position] != "{" or output.count("{", position) > 100_000:
            return None
        try:
            value, end = decoder.raw_decode(output, position)
            value = fieldpath.normalised(value)
        except (ValueError, RecursionError, GroundplaneError):
            return None
        line = output.count("\n", 0, position) + 1
        found.append(Document(len(found) + 1, line, _manifest(value, len(found) + 1, line)))
        position = end


def _refuse(word: str) -> Any:
    raise ValueError(word)


# --- documents → an answer ----------------------------------------------------------------------------------------------


@dataclass
class _Answer:
    """What the documents amount to, one after the other."""

    request: Request
    resources: dict[str, Resource] = field(init=False)
    composite: Resource = field(init=False)
    context: dict[str, Json] = field(init=False)
    conditions: list[Told] = field(default_factory=list)
    requirements: dict[str, Selector] = field(default_factory=dict)
    extra_requirements: dict[str, Selector] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resources = dict(self.request.desired.resources)
        self.composite = self.request.desired.composite
        self.context = dict(self.request.context)

    def response(self, ttl: float, results: Sequence[Result]) -> Response:
        came = {**_found(self.request.extra), **_found(self.request.required)}
        if came:
            before = self.context.get(EXTRA_RESOURCES)
            self.context[EXTRA_RESOURCES] = {**(before if isinstance(before, dict) else {}), **came}
        return Response(
            State(self.composite, self.resources),
            self.context,
            results,
            self.conditions,
            self.requirements,
            self.extra_requirements,
            ttl=ttl,
        )

    def take(self, document: Document) -> None:
        manifest = document.manifest
        if manifest.get("apiVersion") == META:
            self.take_meta(manifest)
            self.tell(document, manifest["kind"])
            return
        annotations = _annotations(manifest)
        ready = _readiness(manifest, annotations)
        observed = self.request.observed.composite.object
        name = annotations.get(NAME_ANNOTATION)
        is_composite = all(manifest.get(part) == observed.get(part) for part in ("apiVersion", "kind"))
        if is_composite and NAME_ANNOTATION not in annotations:
            self.take_composite(manifest, annotations, ready)
            self.tell(document, "the composite's status")
            return
        if not name:
            raise InvalidInput(
                f'{shown(manifest["kind"])} template is missing required "{NAME_ANNOTATION}" annotation',
                mend=_NAMED,
            )
        if annotations:
            kept = {key: value for key, value in annotations.items() if key not in (NAME_ANNOTATION, READY_ANNOTATION)}
            manifest["metadata"]["annotations"] = kept
        self.resources[name] = Resource(manifest, ready=ready)
        self.tell(document, f"resource {name}")

    def tell(self, document: Document, target: str) -> None:
        if self.request.trace is not None:
            kind = f"{document.manifest.get('apiVersion') or ''} {document.manifest['kind']}".strip()
            place = (f"document {document.number}, line {document.line} of the output",)
            self.request.trace.begin(place, type="GoTemplate", sources=(kind,), target=target)

    def take_composite(self, manifest: Object, annotations: Mapping[str, str], ready: bool | None) -> None:
        obj = dict(self.composite.object)
        if "status" in manifest:
            status = _map(manifest["status"], "status")
            there = _map(obj.get("status"), "the status that an earlier step desires")
            obj["status"] = merge_overwrite(fieldpath.copied(there), status)
        if READY_ANNOTATION not in annotations:
            ready = self.composite.ready
        self.composite = replace(self.composite, object=obj, ready=ready)

    def take_meta(self, manifest: Object) -> None:
        match manifest["kind"]:
            case "CompositeConnectionDetails":
                self.take_details(manifest)
            case "ClaimConditions":
                self.take_conditions(manifest)
            case "Context":
                self.take_context(manifest)
            case "ExtraResources":
                self.take_requirements(manifest)
            case kind:
                what = f"invalid kind {shown(kind)} for apiVersion {shown(META)}"
                raise InvalidInput(what, mend=did_you_mean(str(kind), META_KINDS))

    def take_details(self, manifest: Object) -> None:
        data = manifest.get("data")
        if isinstance(data, dict) and all(isinstance(value, str) for value in data.values()):
            details = {name: _decoded(value) for name, value in data.items()}
            self.composite = replace(self.composite, connection={**self.composite.connection, **details})

    def take_conditions(self, manifest: Object) -> None:
        given = manifest.get("conditions", fieldpath.MISSING)
        if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
            raise InvalidInput(
                "cannot get Conditions from input: conditions: not a list of maps",
                mend="give ClaimConditions conditions",
            )
        for at, each in enumerate(given):
            for name in ("type", "status", "reason", "message", "target"):
                if not isinstance(each.get(name, "") or "", str):
                    kind = fieldpath.kind_of(each[name])
                    what = f"cannot get Conditions from input: conditions[{at}].{name} is {kind}, not a string"
                    raise InvalidInput(what, mend="put it into quotes")
        for each in given:
            type_ = each.get("type") or ""
            if type_ in _RESERVED:
                raise InvalidInput(
                    f"cannot set ClaimCondition type: {type_} is a reserved Crossplane Condition",
                    mend="call it something else",
                )
            status = each.get("status") if each.get("status") in ("True", "False") else "Unknown"
            condition = Condition(type_, status, each.get("reason") or "", each.get("message") or "")
            self.conditions.append(Told(condition, to_claim=each.get("target") == "CompositeAndClaim"))

    def take_context(self, manifest: Object) -> None:
        if not isinstance(manifest.get("data"), dict):
            raise InvalidInput("cannot get Contexts from input: data: no such field", mend="give Context data, a map")
        if self.request.context:
            self.context = merge_overwrite(fieldpath.copied(self.context), manifest["data"])
        else:
            self.context |= manifest["data"]

    def take_requirements(self, manifest: Object) -> None:
        given = manifest.get("requirements", fieldpath.MISSING)
        if not isinstance(given, dict):
            raise InvalidInput(
                "cannot get ExtraResources requirements: no such field", mend="give ExtraResources requirements, a map"
            )
        for name, each in given.items():
            if name in self.requirements:
                raise InvalidInput(
                    f"duplicate extra resource key {shown(name)}", mend="call one of them something else"
                )
            self.requirements[name] = _selector(name, each)
            if not each.get("namespace"):
                self.extra_requirements[name] = self.requirements[name]


def _selector(name: str, given: Json) -> Selector:
    wrong = ""
    if not isinstance(given, dict):
        raise InvalidInput(
            f"cannot get ExtraResources requirements: {shown(name)} is no map", mend="give it apiVersion and kind"
        )
    labels = given.get("matchLabels") or {}
    for part in ("apiVersion", "kind", "matchName", "namespace"):
        if not isinstance(given.get(part) or "", str):
            wrong = part
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        wrong = "matchLabels"
    if wrong:
        raise InvalidInput(
            f"cannot get ExtraResources requirements: {wrong} of {shown(name)} is no text", mend="put it into quotes"
        )
    if not given.get("apiVersion") or not given.get("kind"):
        raise InvalidInput(f"extra resource {shown(name)} says no apiVersion or no kind", mend="give it both")
    if given.get("matchName"):
        return Selector(given["apiVersion"], given["kind"], given["matchName"], namespace=given.get("namespace") or "")
    return Selector(given["apiVersion"], given["kind"], labels=labels)


def _annotations(manifest: Object) -> dict[str, str]:
    """A manifest's annotations, which are texts."""
    metadata = manifest.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise _odd_annotations(manifest, f"metadata is {fieldpath.kind_of(metadata)}, not a map")
    if "annotations" not in metadata:
        return {}
    annotations = metadata["annotations"]
    if not isinstance(annotations, dict):
        mend = _NAMED if annotations is None else _QUOTED
        raise _odd_annotations(manifest, f"they are {fieldpath.kind_of(annotations)}, not a map", mend)
    for name, value in annotations.items():
        if not isinstance(value, str):
            raise _odd_annotations(manifest, f"{shown(name)} is {fieldpath.kind_of(value)}, not a string")
    return annotations


_NAMED = '{{ setResourceNameAnnotation "NAME" }} among its annotations'
_QUOTED = "put their values into quotes: X | quote"


def _odd_annotations(manifest: Object, what: str, mend: str = _QUOTED) -> InvalidInput:
    kind = f"{manifest.get('apiVersion') or ''} {manifest['kind']}".strip()
    return InvalidInput(f"invalid annotations of {kind}: {what}", mend=mend)


def _readiness(manifest: Object, annotations: Mapping[str, str]) -> bool | None:
    value = annotations.get(READY_ANNOTATION)
    if value is not None and value not in _READY:
        what = f'invalid "{READY_ANNOTATION}" annotation value {shown(value)}'
        raise InvalidInput(what, mend="use one of: True, False, Unspecified")
    return _READY[value] if value is not None else None


def _map(value: Json, what: str) -> dict[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} is {fieldpath.kind_of(value)}, not a map", mend="make it a map")
    return value


_QUANTA = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def _decoded(text: str) -> bytes:
    """What of base64 can be read, from the start on."""
    found = _QUANTA.match(re.sub(r"[\r\n]", "", text))
    return base64.b64decode(found[0]) if found else b""
