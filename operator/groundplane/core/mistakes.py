"""All that is wrong with a Composition, with its place as a person finds it, and the mend.

The reconcilers tell the same in one line, on a condition; `groundplane render` a line each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from groundplane.core import composition, fieldpath, pipeline
from groundplane.core import schema as schemas
from groundplane.core.objects import Object, meta, spec_of
from groundplane.core.spec import GONE_ENVIRONMENT, Problem
from groundplane.errors import GroundplaneError, InvalidInput, shown

STRAY = "remove it: nothing reads it"  # the mend for a field that is like none that there is
STRAYS = (STRAY, GONE_ENVIRONMENT)


def every(source: Object, find: pipeline.Find | None = None) -> list[GroundplaneError]:
    """All that is wrong with a Composition, misspelt fields included, each with its place.

    `find` tells the functions of a pipeline, whose inputs are then checked as well.
    """
    spec = spec_of(source)
    where = f"Composition {meta(source).get('name', '')}"
    errors: list[GroundplaneError] = [error_of(problem, spec, where) for problem in problems(source, find)]
    return sorted(errors, key=lambda error: error.where)


def problems(source: Object, find: pipeline.Find | None = None) -> list[Problem]:
    """The same, each with the path of its field in the manifest; misspelt fields last."""
    spec = spec_of(source)
    found, pruned = _in_spec(spec)
    if find is not None:
        found += _in_steps(spec, find)
    unknown = [_unknown(path) for path in pruned]
    return [*dict.fromkeys(found), *(problem for problem in unknown if problem.mend not in STRAYS)]


def _in_spec(spec: Mapping[str, Any]) -> tuple[list[Problem], list[str]]:
    """What is wrong with a spec; what the API server would refuse hides nothing of what makes no sense."""
    found = composition.review(spec)
    problems, healed = [*found.shape, *found.sense], _healed(spec, found.shape)
    if found.shape and healed is not None:
        problems += composition.review(healed).sense
    return problems, found.pruned


def _in_steps(spec: Mapping[str, Any], find: pipeline.Find) -> list[Problem]:
    """What is wrong with the functions that steps name, and with what they are told."""
    found = composition.review(spec).spec
    problems: list[Problem] = []
    for index, step in enumerate(found.pipeline if found and found.is_pipeline else ()):
        inside = composition.step_problems([step], find)
        healed = _healed(step.input or {}, [problem._replace(field=_within_input(problem)) for problem in inside])
        if inside and healed is not None:
            inside += composition.step_problems([step.model_copy(update={"input": healed})], find)
        problems += [
            p._replace(field=p.field.replace("spec.pipeline[0]", f"spec.pipeline[{index}]", 1)) for p in inside
        ]
    return problems


def _within_input(problem: Problem) -> str:
    return problem.field.removeprefix("spec.pipeline[0].input").removeprefix(".")


_HARMLESS: Mapping[str, Mapping[str, Any]] = {
    "patches": {"type": "FromCompositeFieldPath", "fromFieldPath": "metadata.name"},
    "readinessChecks": {"type": "None"},
    "connectionDetails": {"type": "FromValue", "name": "x", "value": ""},
}


def _healed(given: Mapping[str, Any], problems: Iterable[Problem]) -> dict[str, Any] | None:
    """A copy with something harmless in place of each patch, check or detail that is wrong, so that the rest can be judged.

    None if something else is wrong, or nothing.
    """
    result: dict[str, Any] = fieldpath.copied(dict(given))
    healed = None
    for problem in problems:
        segments = _segments(problem.field)
        places = [
            n for n, (word, index) in enumerate(pairwise(segments)) if word in _HARMLESS and isinstance(index, int)
        ]
        if not places:
            return None
        name, whole = str(segments[places[0]]), segments[: places[0] + 2]
        whole = whole[1:] if whole[:1] == ("spec",) else whole
        fieldpath.set(result, fieldpath.Path("", whole), dict(_HARMLESS[name]))
        healed = result
    return healed


def strays(source: Object) -> list[GroundplaneError]:
    """The fields of a Composition that do not exist and are like none that does: nothing reads them."""
    spec = spec_of(source)
    where = f"Composition {meta(source).get('name', '')}"
    return [error_of(problem, spec, where) for problem in stray_problems(source)]


def stray_problems(source: Object) -> list[Problem]:
    """The same, each with the path of its field in the manifest."""
    unknown = [_unknown(path) for path in composition.review(spec_of(source)).pruned]
    return [problem for problem in unknown if problem.mend in STRAYS]


def error_of(problem: Problem, spec: Mapping[str, Any], where: str = "") -> InvalidInput:
    """A problem as an error, with its place as a person finds it, in the Composition that `where` names."""
    *outer, name = place(problem.field, spec)
    around = [where] if where else []
    if problem.type == "Forbidden":
        *_, word = _segments(name) or (name,)
        text = f"{problem.detail} {shown(str(word))}"
        found = InvalidInput(text, mend=problem.mend, where=(*around, *outer, *_parents(name)))
    else:
        found = InvalidInput(problem.detail, mend=problem.mend, where=(*around, *outer, name))
    found.field = problem.field
    return found


def place(path: str, spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The path of a field in a Composition, as a person finds it.

    >>> place("spec.resources[0].patches[2].policy.x", {"resources": [{"name": "vpc"}]})
    ('resource vpc', 'patches[2]', 'policy.x')
    """
    segments = list(_segments(path))
    return _named(segments[1:] if segments[:1] == ["spec"] else segments, spec) or (path,)


_NAMED = {"resources": ("resource", "name"), "pipeline": ("step", "step"), "patchSets": ("patch set", "name")}


def _named(rest: list[fieldpath.Segment], spec: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    if len(rest) > 1 and rest[0] in _NAMED and isinstance(rest[1], int):
        word, key = _NAMED[str(rest[0])]
        items = spec.get(str(rest[0]))
        item = items[rest[1]] if isinstance(items, list) and rest[1] < len(items) else None
        holder = item if isinstance(item, dict) else {}
        name = holder.get(key)
        found.append(f"{word} {name}" if isinstance(name, str) and name else f"{rest[0]}[{rest[1]}]")
        if word == "step" and rest[2:3] == ["input"]:
            given = holder.get("input")
            return (*found, *(_named(rest[3:], given if isinstance(given, dict) else {}) or ("input",)))
        rest = rest[2:]
    if len(rest) > 1 and isinstance(rest[1], int):
        found.append(f"{rest[0]}[{rest[1]}]")
        rest = rest[2:]
    if rest:
        found.append(fieldpath.render(tuple(rest)))
    return tuple(found)


def _unknown(path: str) -> Problem:
    """The problem of a field that no Composition has, with the one that was probably meant."""
    if path == "spec.environment":
        return Problem("Forbidden", path, "unknown field", GONE_ENVIRONMENT)
    from groundplane.core.crds.composition import crds

    schema = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    mend = ""
    try:
        schemas.lookup(schema, _segments(path) or (path,))
    except InvalidInput as error:
        mend = error.mend
    return Problem("Forbidden", path, "unknown field", mend if mend.startswith("did you mean") else STRAY)


def _parents(path: str) -> tuple[str, ...]:
    parents = _segments(path)[:-1]
    return (fieldpath.render(parents),) if parents else ()


def _segments(path: str) -> tuple[fieldpath.Segment, ...]:
    """The segments of a path; none if it is none, since somebody gave a field an odd name."""
    return fieldpath.parse(path).segments if fieldpath.is_path(path) else ()
