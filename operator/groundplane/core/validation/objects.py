"""Judges objects, one after the other, by the schemas that are known.

What the API server does on a write is done here: defaults, then unknown fields, shape, rules.  In what was there before
(`old`) rules that compare are asked as well, and fields that can't be changed in AWS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from groundplane.core import definition, known_schemas
from groundplane.core import schema as schemas
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import GroupKind, Json, Object, annotations_of, group_of, labels_of, meta, spec_of
from groundplane.core.rules import Unchecked
from groundplane.core.structural import OpenAPI, Structural, quoted
from groundplane.core.validation import accounts, definitions, kubernetes_versions
from groundplane.core.validation.findings import Finding, Severity, Status, Verdict
from groundplane.core.validation.library import BuiltIn, Library
from groundplane.errors import InvalidInput

if TYPE_CHECKING:
    from groundplane.core.pipeline import Find
    from groundplane.core.typecheck import Part
    from groundplane.core.validation.library import Parts

MAX_LABEL = 63  # characters
MAX_NAME = 253

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_WORD = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked."""

    strict: bool = False  # what could not be checked is wrong
    renders: bool = True
    kubernetes: int | None = None  # the minor version of the API server that is meant; None: the newest that is known


@dataclass(frozen=True, kw_only=True)
class Known:
    """What objects are judged with."""

    library: Library
    find: Callable[[], Find]  # the functions; made when the first pipeline is met
    parts: Parts
    compositions: Sequence[Object] = ()
    definitions: Sequence[Object] = ()
    of_definition: Mapping[int, Sequence[Finding]] = field(
        default_factory=dict
    )  # what is wrong with those, by `id` of the object
    there: Sequence[Object] = ()  # what functions may ask for
    judged: frozenset[int] = (
        frozenset()
    )  # objects that are judged themselves, by `id`: what is wrong with them is told there


def judge(obj: Object, known: Known, old: Object | None = None, options: Options | None = None) -> list[Verdict]:
    """The verdicts of one object: those of the inputs of a Composition's steps come before its own, as upstream has them."""
    asked = options or Options()
    if not is_composition(obj):
        return [_judge_object(obj, known, old, asked)]
    from groundplane.core.validation import compositions  # takes a tenth of a second: only where there is one

    spec = spec_of(obj)
    steps = spec.get("pipeline")
    steps = [step if isinstance(step, dict) else {} for step in steps] if isinstance(steps, list) else []
    find = known.find() if steps else None
    wrong = compositions.mistakes_of(obj, known.library, find, known.parts)
    own = _judge_object(obj, known, old, asked)
    inputs = []
    for index, step in enumerate(steps):
        place = f"spec.pipeline[{index}].input"
        if not isinstance(step.get("input"), dict):
            continue
        inside = [
            finding
            for finding in wrong
            if finding.field == place or finding.field.startswith((f"{place}.", f"{place}["))
        ]
        wrong = [finding for finding in wrong if finding not in inside]
        inputs.append(_of_input(step, place, inside, find, known, asked))
    told = {finding.field for finding in wrong} | {finding.field for verdict in inputs for finding in verdict.findings}
    seen = [finding for finding in own.findings if not any(_is_about(finding.field, each) for each in told)]
    return [*inputs, _decided(replace(own, findings=[*seen, *wrong]), asked)]


def is_composition(obj: Object) -> bool:
    return obj.get("kind") == "Composition" and group_of(str(obj.get("apiVersion"))) == "apiextensions.crossplane.io"


def _is_about(field: str, other: str) -> bool:
    """Whether two findings are about the same field, or one of a part of the other's."""
    return bool(other) and (
        field == other or field.startswith((f"{other}.", f"{other}[")) or other.startswith((f"{field}.", f"{field}["))
    )


def _of_input(
    step: Mapping[str, Json], place: str, found: Sequence[Finding], find: Find | None, known: Known, asked: Options
) -> Verdict:
    """How the input of one step does: its function judges it, where that is built in; else a schema, if there is one."""
    given = step["input"]
    assert isinstance(given, dict)
    reference = step.get("functionRef")
    name = str(reference.get("name") or "") if isinstance(reference, dict) else ""
    try:
        is_known = find is not None and not hasattr(find(name), "endpoint")
    except InvalidInput:
        is_known = False
    if is_known:
        return _decided(Verdict(object=given, status="valid", findings=found, within=place), asked)
    verdict = _judge_object(given, known, None, asked, is_input=True)
    return replace(
        verdict,
        within=place,
        findings=[*found, *(replace(each, field=f"{place}.{each.field}") for each in verdict.findings)],
    )


def _judge_object(obj: Object, known: Known, old: Object | None, asked: Options, *, is_input: bool = False) -> Verdict:
    api_version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    found = [*(() if is_input else _nameless(obj)), *_metadata(obj), *known.of_definition.get(id(obj), ())]
    if asked.kubernetes is not None and (known_schemas.is_definition(obj) or definitions.is_crd(obj)):
        found += kubernetes_versions.too_new(obj, asked.kubernetes)
    if old is not None and known.library.first_fault(old) is not None:
        old = None  # nothing can be compared with it
    try:
        structural = known.library.structural(api_version, kind)
        if structural is None:
            status: Status = "invalid" if any(finding.severity == "error" for finding in found) else "missingSchema"
            broken = known.library.broken(api_version, kind)
            meant = "" if broken else known.library.meant(api_version, kind)
            return Verdict(
                object=obj,
                status=status,
                findings=found,
                broken=broken,
                meant=f"did you mean {meant}?" if meant else "",
            )
        unchecked = Unchecked()
        found += _by_schema(structural, obj, old, unchecked)
    except RecursionError:
        deep = Finding(type="schema", message="it is nested too deep to be judged", mend="make it flatter")
        return Verdict(object=obj, status="invalid", findings=[*found, deep])
    if old is not None and not any(finding.severity == "error" for finding in found):
        if known_schemas.is_definition(obj) or definitions.is_crd(obj):
            found += definitions.breaking(old, obj)
        found += _immutable(obj, old, known.library.built_in.immutable(api_version, kind))
    wrong = {finding.type for finding in found if finding.severity == "error"}
    if wrong <= {"metadata", "unknownField"}:  # its shape is right
        found += _by_aws(obj, known, found)
    if not any(finding.severity == "error" for finding in found):
        found += _rendered(obj, known, asked)
    return _decided(Verdict(object=obj, status="valid", findings=found, unchecked=tuple(unchecked.told())), asked)


def _by_aws(obj: Object, known: Known, told: Sequence[Finding]) -> list[Finding]:
    refused, doubted = known.library.built_in.check(obj), known.library.built_in.doubt(obj)
    config = accounts.doubt(obj, known.there)
    found: list[Finding] = []
    judged: tuple[tuple[InvalidInput | None, Severity], ...] = (
        (refused, "error"),
        (doubted, "warning"),
        (config, "warning"),
    )
    for each, severity in judged:
        if each is None:
            continue
        place = each.where[-1] if each.where else ""
        field = place.removeprefix("annotation ")
        if not any(_is_about(field, other.field) for other in (*told, *found)):
            message = f"{place}: {each.what}" if place else each.what
            found.append(Finding(type="aws", field=field, message=message, mend=each.mend, severity=severity))
    return found


def _rendered(obj: Object, known: Known, asked: Options) -> list[Finding]:
    if (
        asked.renders
        and known.compositions
        and meta(obj).get("name")
        and group_of(str(obj.get("apiVersion"))) not in NOT_RENDERED
    ):
        from groundplane.core.validation import compositions

        needs = any(spec_of(source).get("pipeline") for source in known.compositions)
        return compositions.rendered(
            obj,
            known.compositions,
            known.definitions,
            known.library,
            known.find() if needs else None,
            known.parts,
            known.there,
            known.judged,
        )
    return []


NO_DETAILS = (
    "auto-ready",
    "cel-filter",
    "environment-configs",
    "extra-resources",
    "sequencer",
    "status-transformer",
    "tag-manager",
)
"""Ends of the names of functions that make no connection details."""
NOT_RENDERED = frozenset({"", "apiextensions.crossplane.io", "pkg.crossplane.io", "apiextensions.k8s.io"})


def _decided(verdict: Verdict, asked: Options) -> Verdict:
    if verdict.is_wrong or (asked.strict and (verdict.unchecked or verdict.findings)):
        return replace(verdict, status="invalid")
    return replace(verdict, status="unchecked") if verdict.unchecked else verdict


def _by_schema(structural: Structural, obj: Object, old: Object | None, unchecked: Unchecked) -> Iterable[Finding]:
    filled = schemas.default(structural, obj)
    stored = schemas.prune(structural, filled)
    before = schemas.prune(structural, schemas.default(structural, old)) if old is not None else None
    shape, rules = schemas.faults_and_broken_rules(structural, stored, before, unchecked=unchecked)
    for fault in shape:
        yield Finding(type="schema", field=_of(fault.path), message=str(fault), mend=fault.mend)
    for fault in schemas.undeclared(structural, filled):
        field = fault.path.removeprefix(".")
        name = re.split(r"[.\[]", field.rstrip("]"))[-1]
        message = f'{field}: Invalid value: "{name}": unknown field: "{name}"'
        yield Finding(type="unknownField", field=field, message=message, mend=_near(fault.mend))
    for fault in rules:
        yield Finding(type="cel", field=_of(fault.path), message=str(fault), mend=fault.mend)


def _of(path: str) -> str:
    return "" if path == "<root>" else path


def _near(mend: str) -> str:
    return mend if mend and not mend.startswith("use one of") else "remove it: the API server drops it"


def _immutable(obj: Object, old: Object, names: Sequence[str]) -> Iterable[Finding]:
    before, now = (spec_of(each).get("forProvider") for each in (old, obj))
    if not isinstance(before, dict) or not isinstance(now, dict):
        return
    for name in names:
        then, is_now = before.get(name), now.get(name)
        if then is None or is_now is None or then == is_now:
            continue
        place = f"spec.forProvider.{name}"
        message = f"{place}: {quoted(then)} → {quoted(is_now)} can't change in AWS"
        yield Finding(
            type="immutable", field=place, message=message, mend=f"make a new {obj.get('kind')} and move the data"
        )


# --- metadata --------------------------------------------------------------------------------------------------------


def _nameless(obj: Object) -> Iterable[Finding]:
    """That an object has no name; what a Composition makes gets one."""
    if not (meta(obj).get("name") or meta(obj).get("generateName") or TEMPLATE_ANNOTATION in annotations_of(obj)):
        yield _wrong("metadata.name", "Required value: name or generateName is required", "name it")


def _metadata(obj: Object) -> Iterable[Finding]:
    """What the API server refuses of names, labels and annotations, whatever the kind."""
    found = meta(obj)
    for word in ("name", "namespace", "generateName"):
        value = found.get(word)
        if not isinstance(value, str) or not value:
            continue
        longest = MAX_LABEL if word == "namespace" else MAX_NAME
        if len(value) > longest:
            yield _wrong(f"metadata.{word}", f"Too long: may not be more than {longest} bytes", "shorten it")
        elif (
            word != "generateName"
            and not _NAME.fullmatch(value)
            and group_of(str(obj.get("apiVersion"))) != "rbac.authorization.k8s.io"
        ):
            what = f'Invalid value: "{value}": must be lowercase letters, digits, "-" and "."'
            yield _wrong(f"metadata.{word}", what, "rename it")
    for word, entries in (("labels", labels_of(obj)), ("annotations", annotations_of(obj))):
        for key, value in entries.items() if isinstance(entries, Mapping) else ():
            place = f"metadata.{word}[{key}]"
            if not _KEY.fullmatch(str(key)) or len(str(key).rpartition("/")[2]) > MAX_LABEL:
                yield _wrong(
                    place,
                    f'Invalid value: "{key}": is no name of {word}',
                    "use letters, digits, -, _ and ., at most 63",
                )
            elif word == "labels" and isinstance(value, str) and (len(value) > MAX_LABEL or not _WORD.fullmatch(value)):
                yield _wrong(
                    place,
                    f'Invalid value: "{value[:80]}": is no value of a label',
                    "use letters, digits, -, _ and ., at most 63",
                )


def _wrong(field: str, what: str, mend: str) -> Finding:
    return Finding(type="metadata", field=field, message=f"{field}: {what}", mend=mend)


def of_extension(obj: Object, found: Sequence[Finding]) -> Verdict:
    """The verdict of an object that others are judged by: told only of what is wrong with it."""
    return _decided(Verdict(object=obj, status="valid", findings=found), Options())


# --- all of them -----------------------------------------------------------------------------------------------------


def _is_sound(obj: Object, library: Library) -> bool:
    """Whether others can be judged by it; only of what others are judged by."""
    is_used = known_schemas.is_definition(obj) or definitions.is_crd(obj) or is_composition(obj)
    return not is_used or library.first_fault(obj) is None


def _misshapen(obj: Object, library: Library) -> Iterable[Finding]:
    """What is wrong with the shape of an object that others are judged by."""
    structural = library.structural(str(obj.get("apiVersion")), str(obj.get("kind")))
    if structural is not None:
        yield from (each for each in _by_schema(structural, obj, None, Unchecked()) if each.type == "schema")


def _broken_rules(obj: Object, library: Library) -> Iterable[Finding]:
    """The rules of its kind that a definition breaks: the API server would not take it."""
    structural = library.structural(str(obj.get("apiVersion")), str(obj.get("kind")))
    if structural is not None:
        yield from (each for each in _by_schema(structural, obj, None, Unchecked()) if each.type == "cel")


def known_of(
    extensions: Iterable[Object],
    objects: Iterable[Object],
    built_in: BuiltIn,
    find: Callable[[], Find],
    parts: Parts,
    unreadable: Mapping[GroupKind, str],
) -> tuple[Known, list[tuple[Object, Finding]]]:
    """What `objects` are judged with: the schemas, Compositions and definitions among `extensions`; and what is wrong with these.

    `unreadable`: what definitions declare that could not be read, with their files.
    """
    given: dict[tuple[str, str], OpenAPI] = {}
    wrong: dict[int, list[Finding]] = {}
    told: list[tuple[Object, Finding]] = []
    broken = dict(unreadable)
    defined: set[str] = set()
    claims: dict[GroupKind, str] = {}
    bare = Library({}, built_in)
    given_over, every, subjects = list(extensions), list[Object](), list(objects)
    seen, judged = {id(each) for each in given_over}, frozenset(id(each) for each in subjects)
    for obj in given_over:
        if not _is_sound(obj, bare):  # told by its schema, if it is judged itself
            misshapen = [*_misshapen(obj, bare)]
            if known_schemas.is_definition(obj):
                wrong[id(obj)] = [*definitions.defects(obj, {finding.field for finding in misshapen})]
            told += [(obj, finding) for finding in (*misshapen, *wrong.get(id(obj), ()))]
            broken |= definitions.declared(obj)
            continue
        every.append(obj)
        learnt, found = definitions.learn(obj)
        given |= learnt
        if found:
            wrong[id(obj)] = found
            told += [(obj, finding) for finding in found]
        if known_schemas.is_definition(obj) and id(obj) not in judged:
            told += [(obj, finding) for finding in _broken_rules(obj, bare)]
        if any(finding.severity == "error" for finding in found):
            broken |= definitions.declared(obj)
        elif known_schemas.is_definition(obj):
            defined |= {group_of(version) for version, _ in learnt}
            declared = definition.read(obj)
            if declared.claim_kind:
                claims[GroupKind(declared.group, declared.claim_kind)] = declared.kind
    for obj in subjects:
        is_schema = known_schemas.is_definition(obj) or definitions.is_crd(obj)
        if is_schema and id(obj) not in seen and _is_sound(obj, bare) and (found := definitions.learn(obj)[1]):
            wrong[id(obj)] = found
    sources = [obj for obj in every if is_composition(obj)]
    xrds = [obj for obj in every if known_schemas.is_definition(obj)]
    told_of = partial(_told_to_steps, parts=parts, find=find)
    for xrd in xrds:
        for obj, finding in definitions.connection_keys(xrd, sources, told_of):
            wrong.setdefault(id(obj), []).append(finding)
    scopes = known_schemas.scopes_in(every)
    library = Library(given, built_in, scopes, broken, frozenset(defined), claims)
    there = [*every, *(obj for obj in subjects if id(obj) not in seen and _is_sound(obj, bare))]
    known = Known(
        library=library,
        find=find,
        parts=parts,
        compositions=sources,
        definitions=xrds,
        of_definition=wrong,
        there=there,
        judged=judged,
    )
    return known, told


def _told_to_steps(source: Object, parts: Parts, find: Callable[[], Find]) -> list[Part] | None:
    """What the steps of a pipeline are told; None if one of them may do what nobody here knows."""
    from groundplane.core import composition

    spec = composition.review(spec_of(source)).spec
    try:
        found = parts(spec, find()) if spec else []
    except InvalidInput:
        return None
    names = [step.functionRef.name for step in spec.pipeline] if spec else []
    silent = sum(name.endswith(NO_DETAILS) for name in names)
    return found if len(found) + silent == len(names) else None
