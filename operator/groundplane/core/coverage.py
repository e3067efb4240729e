"""What of Compositions tests have met: steps, templates, patches, entries of maps, patterns, readiness both ways, connection details.

A Composition's points are read from its manifest; which of them a test met, from what its patches told.
Source: author-tools specification, §6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from groundplane.core import fieldpath
from groundplane.core.assertions import Outcome
from groundplane.core.explain import Told
from groundplane.core.objects import Object, meta, spec_of

Kind = Literal["step", "template", "patch", "map entry", "match pattern", "readiness", "connection detail"]


class Point(NamedTuple):
    """Something that a test can meet."""

    composition: str
    kind: Kind
    resource: str  # the name of the template
    what: str  # "patches[2] › transforms[0] › small"
    path: tuple[str | int, ...]  # where it is written, in the manifest
    step: str = ""  # of the pipeline; "" where only one has templates

    def __str__(self) -> str:
        what = " ".join(part for part in (self.resource, self.what) if part)
        return f"{self.composition}: {f'step {self.step} › ' if self.step else ''}{self.kind} {what}"


@dataclass(frozen=True)
class _Templates:
    resources: Sequence[Mapping[str, Any]]
    sets: Mapping[str, Sequence[Mapping[str, Any]]]
    path: tuple[str | int, ...]  # of what holds both


def points(source: Object) -> Iterator[Point]:
    """All that there is to meet in a Composition; one that makes no sense has no more than can be read of it."""
    several = sum(bool(templates.resources) for templates in _templates(source)) > 1
    for point in _points(source):
        yield point._replace(step=_step(source, point)) if several and point.kind != "step" else point


def _points(source: Object) -> Iterator[Point]:
    name = str(meta(source).get("name", ""))
    for index, step in enumerate(_maps(spec_of(source).get("pipeline"))):
        yield Point(name, "step", "", str(step.get("step", index + 1)), ("spec", "pipeline", index))
    for templates in _templates(source):
        for number, template in enumerate(_maps(templates.resources)):
            resource, path = str(template.get("name") or f"{number + 1}"), (*templates.path, "resources", number)
            yield Point(name, "template", resource, "", path)
            for label, patch, place in _patches(template, templates, path):
                yield Point(name, "patch", resource, label, place)
                for kind, what, inner in _branches(patch):
                    yield Point(name, kind, resource, f"{label} › {what}", (*place, *inner))
            for what in ("ready", "not ready"):
                yield Point(name, "readiness", resource, what, path)
            for index, detail in enumerate(_maps(template.get("connectionDetails"))):
                if detail.get("name"):
                    place = (*path, "connectionDetails", index)
                    yield Point(name, "connection detail", resource, str(detail["name"]), place)


def met(source: Object, outcome: Outcome) -> set[Point]:
    """The points of the Composition that this outcome has met."""
    applied = {_key(told): told for told in outcome.told if told.written}
    found: set[Point] = set()
    for point in points(source):
        if point.kind == "step":
            is_met = outcome.composite is not None  # a pipeline that is stopped leaves none
        elif point.kind == "template":
            is_met = point.resource in outcome.composed
        elif point.kind == "readiness":
            is_met = outcome.readiness.get(point.resource) is (point.what == "ready")
        elif point.kind == "connection detail":
            is_met = point.what in outcome.keys
        else:
            label, *rest = point.what.split(" › transforms[")
            told = applied.get((_step(source, point), point.resource, label))
            is_met = told is not None and (not rest or _takes(told, rest[0], is_pattern=point.kind == "match pattern"))
        if is_met:
            found.add(point)
    return found


def written_at(source: Object, told: Told) -> str:
    """Where in the Composition's manifest a patch is written, as a field path; empty if that can't be told."""
    return patch_at(source, *_key(told))


def base_at(source: Object, step: str, resource: str) -> str:
    """Where a template's base is written, as a field path; empty if that can't be told.  `step` is "" if it is not known, or there are none."""
    found = _path(source, "template", (step, resource, ""))
    return fieldpath.render((*found, "base")) if found else ""


def place_at(source: Object, words: Sequence[str]) -> str:
    """As `written_at`, of the template or patch that the words of an error name: ("step a", "resource b", "patches[0] (FromCompositeFieldPath)")."""
    named = {
        word: name for word, _, name in (each.partition(" ") for each in words[:2]) if word in ("step", "resource")
    }
    if "resource" not in named:
        return ""
    step, resource, inside = named.get("step", ""), named["resource"], words[len(named) :]
    labels = (" › ".join(inside[:end]) for end in range(len(inside), 0, -1))  # behind it may be a transform
    return next(filter(None, (patch_at(source, step, resource, each) for each in labels)), "") or base_at(
        source, step, resource
    )


def patch_at(source: Object, step: str, resource: str, label: str) -> str:
    """As `written_at`, of the patch `patches[0] › patch set size › patches[1]` of a template."""
    return fieldpath.render(_path(source, "patch", (step, resource, _unnamed(label))))


def _path(source: Object, kind: Kind, key: tuple[str, str, str]) -> tuple[str | int, ...]:
    step, *rest = key
    found = (each for each in points(source) if each.kind == kind and [each.resource, each.what] == rest)
    return next((each.path for each in found if step in ("", _step(source, each))), ())


def _step(source: Object, point: Point) -> str:
    """The step that a point is of: several may have templates of one name, for one thing."""
    if point.path[1] != "pipeline":
        return ""
    return str(_maps(spec_of(source).get("pipeline"))[int(point.path[2])].get("step", ""))


def _key(told: Told) -> tuple[str, str, str]:
    """Step, template, and which of its patches."""
    *above, resource, label = told.place if len(told.place) > 1 else ("", *told.place)
    step = next((each for each in above if each.startswith("step ")), "")
    return step.removeprefix("step "), resource.removeprefix("resource "), _unnamed(label)


def _unnamed(label: str) -> str:
    """A patch's place without the patch's type."""
    return re.sub(r" \(\w+\)$", "", label)


# --- what is written ----------------------------------------------------------------------------------------


def _templates(source: Object) -> Iterator[_Templates]:
    spec = spec_of(source)
    yield _Templates(_maps(spec.get("resources")), _sets(spec), ("spec",))
    for index, step in enumerate(_maps(spec.get("pipeline"))):
        given = step.get("input")
        if isinstance(given, dict) and given.get("kind") == "Resources":
            yield _Templates(_maps(given.get("resources")), _sets(given), ("spec", "pipeline", index, "input"))


def _sets(spec: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {str(each.get("name")): _maps(each.get("patches")) for each in _maps(spec.get("patchSets"))}


def _maps(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _patches(
    template: Mapping[str, Any], templates: _Templates, path: tuple[str | int, ...]
) -> Iterator[tuple[str, Mapping[str, Any], tuple[str | int, ...]]]:
    """Each patch with its place as `explain` has it, and where it is written; those of sets where they are used."""
    names = list(templates.sets)
    for index, patch in enumerate(_maps(template.get("patches"))):
        label, place = f"patches[{index}]", (*path, "patches", index)
        name = str(patch.get("patchSetName"))
        if patch.get("type") != "PatchSet":
            yield label, patch, place
        elif name in templates.sets:
            for number, inner in enumerate(templates.sets[name]):
                written = (*templates.path, "patchSets", names.index(name), "patches", number)
                yield f"{label} › patch set {name} › patches[{number}]", inner, written


def _branches(patch: Mapping[str, Any]) -> Iterator[tuple[Kind, str, tuple[str | int, ...]]]:
    for index, transform in enumerate(_maps(patch.get("transforms"))):
        entries, match = transform.get("map"), transform.get("match")
        for entry in entries if isinstance(entries, dict) else ():
            yield "map entry", f"transforms[{index}] › {entry}", ("transforms", index, "map", str(entry))
        patterns = _maps(match.get("patterns")) if isinstance(match, dict) else []
        for number, pattern in enumerate(patterns):
            text = str(pattern.get("literal", pattern.get("regexp", "")))
            place = ("transforms", index, "match", "patterns", number)
            yield "match pattern", f"transforms[{index}] › {text}", place


def _takes(told: Told, branch: str, *, is_pattern: bool) -> bool:
    """Whether the value that came to a transform took this branch of it: `0] › small`."""
    index, _, wanted = branch.partition("] › ")
    steps = [value for what, value in told.steps if what.startswith("transforms[")]
    before = [value for what, value in told.steps if what == "combined"] or [value for _, value in told.inputs]
    number = int(index)
    value = steps[number - 1] if 0 < number <= len(steps) else (before[0] if before else None)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return text == wanted or (is_pattern and re.search(wanted, text) is not None)
    except re.error:
        return False
