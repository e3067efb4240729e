"""Where a value comes from: which patch, base, claim, default or person set a field, one step after the other.

A step is told only if it is known: by the field's managers, by the Composition's own patches run again on what is there, by a definition's
defaults.  Source: author-tools specification, §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from groundplane.core import claim, connection, fieldpath, preview, references, typecheck
from groundplane.core.composition import Compiled, CompositionSpec
from groundplane.core.explain import MASK, Told, Trace, is_secret, masked_secret
from groundplane.core.fieldpath import MISSING, Path, Segment
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import Json, Object, annotations_of, key_of, meta, spec_of
from groundplane.core.preview import Around
from groundplane.core.structural import OpenAPI
from groundplane.core.typecheck import Part
from groundplane.errors import GroundplaneError

REFERENCES = references.MANAGER
DEFAULTS = "groundplane.io/defaults"
MACHINERY = {  # field managers → what they are
    claim.MANAGER: "claim",
    REFERENCES: "reference",
    DEFAULTS: "filled in",
    "apiextensions.crossplane.io/composed": "composed",
    "apiextensions.crossplane.io/composite": "composite",
    "crossplane": "control plane",
    "groundplane.io/handover": "control plane",
}


@dataclass(frozen=True)
class Hop:
    """One step on the way of a value, the last one first."""

    by: str  # patch, base, function, claim, default, reference, filled in, person, control plane
    place: str  # where that is: "Composition database-aws › resource instance › patches[0]"
    inputs: tuple[tuple[str, Json], ...] = ()  # paths and values that were read
    steps: tuple[tuple[str, Json], ...] = ()  # what was done to them
    path: tuple[Segment, ...] = ()  # in a Composition: where it is written
    template: str = ""  # of the composed resource that was read
    key: str = ""  # of that one's connection Secret


@dataclass(frozen=True)
class Writer:
    """Who owns a field, by server-side apply."""

    manager: str
    time: str
    applied: bool = True  # what it owns it has said; one that creates or updates owns the defaults as well


def machinery(writer: Writer) -> str:
    """Which part of a control plane it is; "" if it is somebody else.

    >>> machinery(Writer("apiextensions.crossplane.io/composed/1a2b", "")), machinery(Writer("kubectl", ""))
    ('composed', '')
    """
    manager = writer.manager
    return next((what for name, what in MACHINERY.items() if manager == name or manager.startswith(f"{name}/")), "")


def writers(obj: Object, path: Path) -> list[Writer]:
    """The field managers that own a field or what it is in, the latest first."""
    found = []
    for entry in meta(obj).get("managedFields") or ():
        if isinstance(entry, dict) and _owns(entry.get("fieldsV1") or {}, path.segments, obj):
            applied = entry.get("operation") == "Apply"
            found.append(Writer(str(entry.get("manager")), str(entry.get("time") or ""), applied))
    return sorted(found, key=lambda writer: writer.time, reverse=True)


def _owns(fields: Mapping[str, Any], segments: Sequence[Segment], value: Any) -> bool:
    """Whether a set of fields has that one, or ends above it: an atomic list, or a map that is owned as a whole."""
    if not segments:
        return True
    first, rest = segments[0], segments[1:]
    if isinstance(first, int):
        item = value[first] if isinstance(value, list) and first < len(value) else None
        return any(_owns(below, rest, item) for name, below in fields.items() if _is_element(name, first, item))
    if f"f:{first}" not in fields:
        return False
    below = fields[f"f:{first}"]
    inner = value.get(first) if isinstance(value, dict) else None
    return not below or _owns(below, rest, inner)


def _is_element(name: str, index: int, item: Any) -> bool:
    import json

    if name.startswith("i:"):
        return name[2:] == str(index)
    try:
        given: Any = json.loads(name[2:]) if name[:2] in ("k:", "v:") else MISSING
    except ValueError:
        return False
    if name.startswith("k:"):
        return isinstance(item, dict) and all(item.get(key) == value for key, value in given.items())
    return name.startswith("v:") and bool(given == item)


# --- in a Composition ------------------------------------------------------------------------------------------


def in_composition(
    composite: Object, composed: Object, observed: Sequence[Object], compiled: Compiled, around: Around, path: Path
) -> list[Hop]:
    """What of a Composition wrote a field of a composed resource, the last one first.

    `composed` is the resource as it is; `observed` all that the composite is composed of, with connection Secrets.
    """
    template = annotations_of(composed).get(TEMPLATE_ANNOTATION, "")
    where = f"Composition {compiled.name}"
    trace = Trace()
    rendered = _rendered(composite, observed, compiled, around, trace).get(template)
    value = fieldpath.find(rendered, path) if rendered is not None else MISSING
    hops = [_patch(told, where) for told in reversed(trace.told) if _wrote(told, template, path)]
    if hops or value is MISSING:
        return hops
    if not compiled.is_pipeline:
        made_by_us = path.segments[:1] == ("metadata",)
        return [Hop("control plane" if made_by_us else "base", f"{where} › resource {template}")]
    for count, step in enumerate(compiled.steps, start=1):
        part = replace(compiled, steps=compiled.steps[:count])
        there = _rendered(composite, observed, part, around, Trace()).get(template)
        if there is not None and fieldpath.find(there, path) == value:
            return [Hop("function", f'{where} › step "{step.name}" ({step.function})')]
    return []


def in_base(spec: CompositionSpec, parts: Sequence[Part], where: str, composed: Object, path: Path) -> Hop | None:
    """The base of a template, in a step of a pipeline, that has a field of a composed resource as it is; None if none has.

    `parts` are what the steps are told.
    """
    name, value = annotations_of(composed).get(TEMPLATE_ANNOTATION, ""), fieldpath.find(composed, path)
    steps = _steps(spec)
    for part in reversed(parts):
        for template in part.templates:
            if template.name == name and fieldpath.find(template.base, path) == value is not MISSING:
                step = steps.get(part.place, "").replace('"', "")
                return Hop("base", f"{where}{step} › resource {name}")
    return None


def _steps(spec: CompositionSpec) -> dict[str, str]:
    """By the place of a step's input, how the step is called in a chain."""
    return {f"spec.pipeline[{index}].input": f' › step "{step.step}"' for index, step in enumerate(spec.pipeline or ())}


def onto_composite(
    composite: Object, composed: Object, observed: Sequence[Object], compiled: Compiled, around: Around, path: Path
) -> list[Hop]:
    """What of a Composition wrote a field of the composite itself, the last one first.  Arguments as of `in_composition`."""
    where = f"Composition {compiled.name}"
    trace = Trace()
    found = _composite_after(composite, observed, compiled, around, trace)
    hops = [
        replace(_patch(told, where), template=_template(told))
        for told in reversed(trace.told)
        if _is_back(told) and any(_covers(text, path) for text, _ in told.written)
    ]
    value = fieldpath.find(found, path)
    if hops or value is MISSING or not compiled.is_pipeline:
        return hops
    for count, step in enumerate(compiled.steps, start=1):
        part = replace(compiled, steps=compiled.steps[:count])
        if fieldpath.find(_composite_after(composite, observed, part, around, Trace()), path) == value:
            return [Hop("function", f'{where} › step "{step.name}" ({step.function})')]
    return []


def details(spec: CompositionSpec, parts: Sequence[Part], where: str, key: str) -> list[Hop]:
    """The connection details that give the composite's Secret that key, the last one first; `parts` are what the steps are told."""
    steps = _steps(spec)
    return [
        _detail(detail, f"{where}{steps.get(part.place, '')} › resource {template.name}", index, template.name or "")
        for part in (typecheck.native(spec), *parts)
        for template in part.templates
        for index, detail in enumerate(connection.compile(template.connectionDetails))
        if detail.name == key and not detail.error
    ][::-1]


def _detail(detail: connection.Detail, resource: str, index: int, template: str) -> Hop:
    place = f"{resource} › connectionDetails[{index}]"
    if detail.kind == "FromConnectionSecretKey":
        return Hop("connection detail", place, template=template, key=detail.parameter)
    if detail.kind == "FromFieldPath":
        return Hop("connection detail", place, ((detail.parameter, MASK),), template=template)
    return Hop("connection detail", f"{place}: the value that is written there")


@dataclass(frozen=True)
class Reach:
    """A field that a value of the composite comes to."""

    template: str  # of the composed resource
    path: str
    value: Json
    place: str  # of the patch


def reached(
    composite: Object, composed: Object, observed: Sequence[Object], compiled: Compiled, around: Around, path: Path
) -> list[Reach]:
    """The fields of composed resources that patches write from a field of the composite, or from what is in it.  Arguments as of `in_composition`."""
    trace = Trace()
    _preview(composite, observed, compiled, around, trace)
    return [
        Reach(_template(told), target, value, " › ".join((f"Composition {compiled.name}", *told.place)))
        for told in trace.told
        if _template(told) and not _is_back(told)
        if any(_covers(path.text, fieldpath.parse(text)) or _covers(text, path) for text, _ in told.inputs)
        for target, value in told.written
    ]


def unwritten(
    composite: Object, composed: Object, observed: Sequence[Object], compiled: Compiled, around: Around, path: Path
) -> list[str]:
    """Of a field that has no value: each patch that would write it, and why it did not.  Arguments as of `in_composition`."""
    template = annotations_of(composed).get(TEMPLATE_ANNOTATION, "")
    trace = Trace()
    _rendered(composite, observed, compiled, around, trace)
    return [
        f"{' › '.join((f'Composition {compiled.name}', *told.place))}: {told.skipped or told.error}"
        for told in trace.told
        if (told.skipped or told.error) and _is_forth(told, template) and told.target == path.text
    ]


def _rendered(
    composite: Object, observed: Sequence[Object], compiled: Compiled, around: Around, trace: Trace
) -> dict[str, Object]:
    found = _preview(composite, observed, compiled, around, trace)
    return {annotations_of(obj).get(TEMPLATE_ANNOTATION, ""): obj for obj in found.composed} if found else {}


def _composite_after(
    composite: Object, observed: Sequence[Object], compiled: Compiled, around: Around, trace: Trace
) -> Object:
    """The composite as a render leaves it."""
    found = _preview(composite, observed, compiled, around, trace)
    return found.composite if found else {}


def _preview(
    composite: Object, observed: Sequence[Object], compiled: Compiled, around: Around, trace: Trace
) -> preview.Preview | None:
    try:
        if compiled.is_pipeline:
            return preview.piped(composite, compiled, observed, around, trace=trace)
        return preview.native(composite, compiled, observed, scope=around.scope, trace=trace)
    except GroundplaneError:
        return None  # what was told until then still holds


def _is_back(told: Told) -> bool:
    """Whether a patch is from a resource onto the composite."""
    return told.type.startswith(("ToComposite", "CombineToComposite"))


def _is_forth(told: Told, template: str) -> bool:
    """Whether a patch is onto this resource, and not from it onto the composite."""
    return not _is_back(told) and f"resource {template}" in told.place


def _template(told: Told) -> str:
    """The template of the resource that a patch is between."""
    return next((part.removeprefix("resource ") for part in told.place if part.startswith("resource ")), "")


def _wrote(told: Told, template: str, path: Path) -> bool:
    return _is_forth(told, template) and any(_covers(text, path) for text, _ in told.written)


def _covers(text: str, path: Path) -> bool:
    """Whether a path is another, or leads to what that is in."""
    return path.text == text or path.text.startswith((f"{text}.", f"{text}["))


def _patch(told: Told, where: str) -> Hop:
    return Hop("patch", " › ".join((where, *told.place)), tuple(told.inputs), tuple(told.steps))


# --- on the way ----------------------------------------------------------------------------------------------------


def default_of(schema: OpenAPI | None, path: Path) -> Any:
    """The default that a schema gives a field, or what it is in; MISSING if it gives none."""
    node: Any = schema
    found: Any = MISSING
    for segment in path.segments:
        if not isinstance(node, dict):
            return found
        if found is not MISSING:
            inside = isinstance(found, dict) and segment in found
            inside = inside or (isinstance(found, list) and isinstance(segment, int) and segment < len(found))
            found = found[segment] if inside else MISSING
        if isinstance(segment, int):
            node = node.get("items")
        else:
            node = (node.get("properties") or {}).get(segment) or node.get("additionalProperties")
        if isinstance(node, dict) and "default" in node:
            found = node["default"]
    return found


def claim_field(composite: Object, asked: Object | None, path: Path) -> bool:
    """Whether a composite has this field from its claim."""
    if asked is None or path.segments[:1] != ("spec",):
        return False
    value = fieldpath.find(asked, path)
    return (
        value is not MISSING and value == fieldpath.find(composite, path) and bool(spec_of(composite).get("claimRef"))
    )


def shown_value(obj: Object, path: Path, value: Any) -> Any:
    """A value as it may be told."""
    return fieldpath.find(masked_secret(obj), path) if is_secret(obj) else value


def name_of(obj: Object) -> str:
    """How an object is called in a chain: `Database my-team/orders`."""
    key = key_of(obj)
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
