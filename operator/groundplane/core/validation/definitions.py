"""What can be wrong with a CompositeResourceDefinition beyond its own schema, and what an edit of it breaks.

`learn` takes the schemas from it; nothing is learnt from one that no CustomResourceDefinition can be made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from groundplane.core import definition, definition_mistakes, known_schemas, schema_defects
from groundplane.core.objects import GroupKind, Object, group_of, mapping, meta, spec_of
from groundplane.core.structural import TYPE_META, OpenAPI
from groundplane.core.validation.findings import Finding
from groundplane.errors import GroundplaneError, InvalidInput, nearest

if TYPE_CHECKING:
    from groundplane.core.typecheck import Part

KIND = "CompositeResourceDefinition"
CRD_GROUP, CRD_KIND = "apiextensions.k8s.io", "CustomResourceDefinition"

_PLACE = re.compile(r"(metadata\.name|spec\.[\w.\[\]]+|(?:schema\.)?openAPIV3Schema[^\s:]*)")
_PROPERTIES = re.compile(r"properties\[([^\]]+)\]")


def is_crd(obj: Object) -> bool:
    return obj.get("kind") == CRD_KIND and group_of(str(obj.get("apiVersion"))) == CRD_GROUP


def learn(obj: Object) -> tuple[dict[tuple[str, str], OpenAPI], list[Finding]]:
    """The schemas that a definition or CustomResourceDefinition gives, and what is wrong with it."""
    if known_schemas.is_definition(obj):
        return _of_definition(obj)
    if not is_crd(obj):
        return {}, []
    found: list[Finding] = []
    learnt: dict[tuple[str, str], OpenAPI] = {}
    for pair, openapi in known_schemas.schemas_in([obj]).items():
        index = _index(spec_of(obj).get("versions"), pair[0].rpartition("/")[2])
        wrong = schema_defects.of(openapi)
        found += [_defect(text, index, "schema.") for text in wrong]
        if not wrong:
            learnt[pair] = openapi
    return learnt, found


def declared(obj: Object) -> dict[GroupKind, str]:
    """What a definition or CustomResourceDefinition that may be wrong declares, each with its name."""
    if not known_schemas.is_definition(obj) and not is_crd(obj):
        return {}
    group, name = spec_of(obj).get("group"), mapping(obj.get("metadata")).get("name")
    kinds = [mapping(spec_of(obj).get(field)).get("kind") for field in ("names", "claimNames")]
    return {GroupKind(str(group), kind): str(name) for kind in kinds if kind and isinstance(kind, str)}


def declared_in(text: str) -> set[GroupKind]:
    """What definitions probably declare, in a text that is no YAML.

    >>> declared_in("kind: CustomResourceDefinition\\nspec: {group: a.example.org, names: kind: Thing")
    {GroupKind(group='a.example.org', kind='Thing')}
    """
    if not re.search(r"kind: *(CompositeResourceDefinition|CustomResourceDefinition)\b", text):
        return set()
    groups, kinds = (re.findall(rf"\b{name}: *[\"']?([\w.-]+)", text) for name in ("group", "kind"))
    return {GroupKind(group, kind) for group in groups for kind in kinds if not kind.endswith("ResourceDefinition")}


def _of_definition(xrd: Object) -> tuple[dict[tuple[str, str], OpenAPI], list[Finding]]:
    found = [_finding(error, xrd) for error in definition_mistakes.all_of(xrd)]
    learnt: dict[tuple[str, str], OpenAPI] = {}
    if not found:
        try:
            learnt = known_schemas.schemas_in([xrd])
        except InvalidInput as error:
            found.append(_finding(error, xrd))
    if found:
        return {}, [*found, *defects(xrd, {each.field for each in found})]
    versions = spec_of(xrd).get("versions")
    for (api_version, kind), openapi in list(learnt.items()):
        wrong = schema_defects.of(openapi)
        if kind == definition.read(xrd).kind:  # the claim's has the same
            found += [_defect(text, _index(versions, api_version.rpartition("/")[2]), "schema.") for text in wrong]
        if wrong:
            del learnt[api_version, kind]
    if learnt:
        dropped = "goes into no CustomResourceDefinition: nothing enforces it"
        found += [
            _unread(path, dropped, "remove it, or say it of the properties below")
            for path in definition_mistakes.dropped(xrd)
        ]
        found += _never_there(xrd, learnt)
        replaced = "is not used: every composite or claim has a field of that name, for Crossplane"
        found += [_unread(path, replaced, "give yours another name") for path in definition_mistakes.replaced(xrd)]
    return learnt, found


def errors(xrd: Object, *, is_refused: bool = False) -> list[InvalidInput]:
    """All that keeps a definition from being used, each with its field; of one that the API server refuses, what is wrong with its schemas."""
    found: list[InvalidInput] = []
    for finding in defects(xrd) if is_refused else learn(xrd)[1]:
        if finding.severity == "error":
            found.append(InvalidInput(finding.message, mend=finding.mend, where=(f"{KIND} {meta(xrd).get('name')}",)))
            found[-1].field = finding.field
    return found


def defects(xrd: Object, told: Iterable[str] = ()) -> Iterator[Finding]:
    """What is wrong with the schemas of a definition of which no CustomResourceDefinition can be made, but for what is `told` already."""
    told = [*filter(None, told)]
    versions = spec_of(xrd).get("versions")
    for index, version in enumerate(versions if isinstance(versions, list) else ()):
        user = mapping(mapping(mapping(version).get("schema")).get("openAPIV3Schema"))
        properties = {
            name: {"type": "object", **child} if name in ("spec", "status") and isinstance(child, Mapping) else child
            for name, child in mapping(user.get("properties")).items()
        }
        for text in schema_defects.of({"type": "object", **user, "properties": properties}):
            found = _defect(text, index, "schema.")
            if not any(found.field.startswith(each) or each.startswith(found.field) for each in told):
                yield found


def _never_there(xrd: Object, learnt: Mapping[tuple[str, str], OpenAPI]) -> Iterator[Finding]:
    """What is required, and no property: the API server drops it from every object, and then misses it."""
    ours = {
        part: {name for openapi in learnt.values() for name in openapi["properties"][part].get("properties") or ()}
        for part in ("spec", "status")
    }
    for index, version in enumerate(spec_of(xrd).get("versions") or ()):
        place = f"spec.versions[{index}].schema.openAPIV3Schema"
        user = version["schema"]["openAPIV3Schema"].get("properties") or {}
        for part, also in ours.items():
            yield from _unlisted(user.get(part) or {}, f"{place}.properties.{part}", part, also)


def _unlisted(schema: Mapping[str, Any], place: str, path: str, also: Iterable[str] = ()) -> Iterator[Finding]:
    properties, items = mapping(schema.get("properties")), schema.get("items")
    others = mapping(schema.get("additionalProperties"))
    is_open = schema.get("additionalProperties") or schema.get("x-kubernetes-preserve-unknown-fields")
    implied = (*also, *(TYPE_META if schema.get("x-kubernetes-embedded-resource") else ()), "metadata")
    for index, name in enumerate(() if is_open else schema.get("required") or ()):
        if name not in properties and name not in implied:
            text = f"{path}.{name} is required, and not among the properties: no object can have it"
            near = nearest(name, properties.keys() - set(schema["required"]))
            mend = f"did you mean {near}?" if near else "declare it among properties, or take it out of required"
            yield Finding(
                type="definition", field=f"{place}.required[{index}]", message=text, mend=mend, severity="warning"
            )
    for name, child in properties.items():
        yield from _unlisted(mapping(child), f"{place}.properties.{name}", f"{path}.{name}")
    for word, child, sign in (("items", items, "[*]"), ("additionalProperties", others, "[*]")):
        if isinstance(child, Mapping) and child:
            yield from _unlisted(child, f"{place}.{word}", f"{path}{sign}")


def _unread(path: str, why: str, mend: str) -> Finding:
    field = f"spec.versions[0].schema.{path}"
    return Finding(type="definition", field=field, message=f"{path} {why}", mend=mend, severity="warning")


def _index(versions: Any, name: str) -> int:
    named = [version.get("name") if isinstance(version, dict) else None for version in versions or ()]
    return named.index(name) if name in named else 0


def _defect(text: str, index: int, prefix: str) -> Finding:
    place, _, _ = text.partition(": ")
    return Finding(type="definition", field=f"spec.versions[{index}].{prefix}{_dotted(place)}", message=text)


def _finding(error: GroundplaneError, xrd: Object) -> Finding:
    """The error of a definition with the field that it is about, as far as its words say."""
    place = _PLACE.match(error.what)
    field = _dotted(place[0]) if place else ""
    named = [word.removeprefix("version ") for word in error.where if word.startswith("version ")]
    if named and not field.startswith(("spec.", "metadata.")):
        field = f"spec.versions[{_index(spec_of(xrd).get('versions'), named[0])}]" + (f".{field}" if field else "")
    elif "claimNames" in error.where:
        field = "spec.claimNames"
    message = ": ".join(
        part for part in (" › ".join(word for word in error.where if KIND not in word), error.what) if part
    )
    return Finding(type="definition", field=field, message=message, mend=error.mend)


def _dotted(place: str) -> str:
    """
    >>> _dotted("schema.openAPIV3Schema.properties[spec].properties[size].type")
    'schema.openAPIV3Schema.properties.spec.properties.size.type'
    """
    return _PROPERTIES.sub(r"properties.\1", place)


# --- connection keys -------------------------------------------------------------------------------------------


def connection_keys(
    xrd: Object, compositions: Iterable[Object], parts: Callable[[Object], list[Part] | None]
) -> Iterator[tuple[Object, Finding]]:
    """Keys that a definition declares and a Composition never makes, and the reverse; each with the object to tell it of.

    `parts` tells what a pipeline's steps are told, None if some step may make keys that nobody here knows.
    """
    from groundplane.core.composition import compatible, review
    from groundplane.core.typecheck import native

    known = definition.read(xrd)
    declared = set(known.connection_secret_keys)
    if not declared:
        return
    for source in compositions:
        spec = review(spec_of(source)).spec
        if spec is None or not compatible(source, known.api_version, known.kind):
            continue
        told = parts(source) if spec.is_pipeline else [native(spec)]
        if told is None:
            continue
        details = [detail for part in told for template in part.templates for detail in template.connectionDetails]
        if any(not (detail.name or detail.fromConnectionSecretKey) for detail in details):
            continue
        made = {str(detail.name or detail.fromConnectionSecretKey) for detail in details}
        for key in sorted(declared - made):
            yield (
                source,
                Finding(
                    type="composition",
                    message=f'no template makes the connection detail "{key}", which {known.name} declares',
                    mend="add it to connectionDetails of a template, or take it out of connectionSecretKeys",
                    severity="warning",
                ),
            )
        for key in sorted(made - declared):
            yield (
                xrd,
                Finding(
                    type="definition",
                    field="spec.connectionSecretKeys",
                    message=f'Composition {meta(source).get("name")} makes the connection detail "{key}", which is not among connectionSecretKeys: nobody gets it',
                    mend="add it to connectionSecretKeys",
                    severity="warning",
                ),
            )


# --- what an edit breaks ------------------------------------------------------------------------------------------


def breaking(old: Object, new: Object) -> list[Finding]:
    """What objects that were right by a definition, or CustomResourceDefinition, no longer are, or lose, by its edit."""
    found: list[Finding] = []
    for name in ("group", "scope"):
        before, now = spec_of(old).get(name), spec_of(new).get(name)
        if before != now and (before or now):
            found.append(_broken(f"spec.{name}", f'{name} "{before}" → "{now}" can\'t change', "make a new definition"))
    for name in ("names", "claimNames"):
        kind, now = ((spec_of(obj).get(name) or {}).get("kind") for obj in (old, new))
        if kind and kind != now:
            found.append(_broken(f"spec.{name}.kind", f"the kind {kind} is gone", "make a new definition"))
    later = {v.get("name"): (i, v) for i, v in enumerate(spec_of(new).get("versions") or ()) if isinstance(v, dict)}
    for version in spec_of(old).get("versions") or ():
        if not isinstance(version, dict) or not version.get("served"):
            continue
        index, kept = later.get(version.get("name"), (0, None))
        if kept is None or not kept.get("served"):
            found.append(
                _broken(
                    "spec.versions",
                    f"version {version.get('name')} is served no more",
                    "keep it served until nobody uses it",
                )
            )
            continue
        then, now = ((v.get("schema") or {}).get("openAPIV3Schema") for v in (version, kept))
        if isinstance(then, dict) and isinstance(now, dict):
            found += _schema_breaks(then, now, "", f"spec.versions[{index}].schema.openAPIV3Schema")
    return found


def _broken(field: str, message: str, mend: str) -> Finding:
    return Finding(type="breaking", field=field, message=message, mend=mend)


def _schema_breaks(old: Mapping[str, Any], new: Mapping[str, Any], path: str, place: str) -> Iterator[Finding]:
    shown = path or "the object"
    if old.get("type") != new.get("type"):
        yield _broken(
            f"{place}.type",
            f"{shown}: type {old.get('type')} → {new.get('type')}",
            "add a field of the new type beside it",
        )
        return
    if lost := [value for value in old.get("enum") or () if new.get("enum") and value not in new["enum"]]:
        yield _broken(
            f"{place}.enum", f"{shown}: {', '.join(map(str, lost))} is allowed no more", "keep it until nobody uses it"
        )
    elif new.get("enum") and not old.get("enum"):
        yield _broken(
            f"{place}.enum",
            f"{shown}: only {', '.join(map(str, new['enum']))} is allowed now",
            "leave other values allowed",
        )
    for word, is_tighter in (
        ("maxLength", int.__lt__),
        ("maxItems", int.__lt__),
        ("maximum", int.__lt__),
        ("minLength", int.__gt__),
        ("minimum", int.__gt__),
    ):
        before, now = old.get(word), new.get(word)
        if isinstance(now, int) and ((isinstance(before, int) and is_tighter(now, before)) or before is None):
            yield _broken(
                f"{place}.{word}",
                f"{shown}: {word} is {now} now, it was {before if before is not None else 'not there'}",
                "leave it as it was",
            )
    if new.get("pattern") and new.get("pattern") != old.get("pattern"):
        yield _broken(
            f"{place}.pattern",
            f"{shown}: pattern is {new['pattern']} now",
            "see that every value that is in use fits it",
        )
    properties, later = old.get("properties") or {}, new.get("properties") or {}
    for name in new.get("required") or ():
        has_default = isinstance(later.get(name), dict) and "default" in later[name]
        if name not in (old.get("required") or ()) and not has_default:
            yield _broken(
                f"{place}.required", f"{f'{path}.' if path else ''}{name} is required now", "give it a default"
            )
    for name, child in properties.items():
        inner = f"{path}.{name}" if path else name
        if name in later:
            if isinstance(child, dict) and isinstance(later[name], dict):
                yield from _schema_breaks(child, later[name], inner, f"{place}.properties.{name}")
        elif not new.get("x-kubernetes-preserve-unknown-fields"):
            yield _broken(
                f"{place}.properties",
                f"{inner} is gone: it is dropped from every object",
                "keep it until nobody uses it",
            )
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        yield from _schema_breaks(old["items"], new["items"], f"{path}[*]", f"{place}.items")
