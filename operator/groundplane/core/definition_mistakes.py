"""What a definition may not say, and what it says to no effect.

Source: what the API server refuses the CRDs for, and Crossplane v1.20 and v2.0, internal/xcrd.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from groundplane.core import machinery, schema_defects
from groundplane.core.definition import read
from groundplane.core.objects import Json, Object, mapping, spec_of
from groundplane.core.openapi import Schema
from groundplane.errors import InvalidInput, shown

_LOST = schema_defects.KEYS - {"type", "title", "example", "externalDocs"}  # what is missed if it is not copied
_ROOT = ("apiVersion", "kind", "metadata", "spec", "status")  # the fields that every object has


def all_of(xrd: Object) -> list[InvalidInput]:
    """All that the API server would refuse the CRDs for, said in terms of the definition."""
    return list(_mistakes(xrd))


def check(xrd: Object) -> None:
    """Raise InvalidInput: the first of them."""
    for mistake in _mistakes(xrd):
        raise mistake


def check_claim_names(claim: Mapping[str, Any], composite: Mapping[str, Any]) -> None:
    """Raise InvalidInput: a claim would be called as its composite is; both are `names` of a definition."""
    for name in ("kind", "plural", "singular", "listKind"):
        if claim.get(name) and claim[name] == composite.get(name):
            raise InvalidInput(
                f'invalid resource claim names: "{claim[name]}" conflicts with composite resource name',
                mend=f"give claimNames.{name} a name of its own; usually the composite's has an X in front",
            )


def _mistakes(xrd: Object) -> Iterator[InvalidInput]:
    known = read(xrd)
    expected = f"{known.plural}.{known.group}"
    if known.name != expected:
        yield InvalidInput(
            f'metadata.name "{known.name}" is not <spec.names.plural>.<spec.group>',
            mend=f"name it {expected}",
        )
    given = spec_of(xrd).get("versions")
    versions = [mapping(version) for version in given] if isinstance(given, list) else []
    if not versions:
        yield InvalidInput("spec.versions is empty", mend="declare a version, with a schema")
        return
    referenceable = [str(version.get("name")) for version in versions if version.get("referenceable")]
    if len(referenceable) != 1:
        told = f"{len(referenceable)} are: {', '.join(referenceable)}" if referenceable else "none is"
        yield InvalidInput(
            f"exactly one of spec.versions must be referenceable; {told}",
            mend="set referenceable: true on the version that Compositions are written for, and false on the others",
        )
    elif not any(version.get("served") for version in versions if version.get("referenceable")):
        yield InvalidInput(
            f"version {known.version} is referenceable, but not served",
            mend="set served: true on it: composites are read and written at this version",
        )
    for version in versions:
        user = mapping(version.get("schema")).get("openAPIV3Schema")
        if isinstance(user, Mapping):  # else told by who makes the CRD, in upstream's words
            yield from _schema_mistakes(user, version)


def _schema_mistakes(user: Mapping[str, Any], version: Mapping[str, Any]) -> Iterator[InvalidInput]:
    if not _is_mapping(properties := user.get("properties")):
        yield _no_mapping(properties, "schema.openAPIV3Schema.properties", version)
        return
    for part in ("spec", "status"):
        place = f"schema.openAPIV3Schema.properties[{part}]"
        declared = mapping(properties).get(part)
        if not _is_mapping(declared):
            yield _no_mapping(declared, place, version)
            continue
        own = machinery.merged(declared, {}, machinery.OF_STATUS)
        found = schema_defects.of(own, place, with_rules=False)  # which may ask about fields that are put in later
        if found:
            yield InvalidInput("; ".join(found), where=[f"version {version.get('name')}"])


def _is_mapping(value: Json) -> bool:
    """Else it would be taken for one that says nothing, and all that claims ask for would be dropped without a word."""
    return value is None or isinstance(value, Mapping)


def _no_mapping(value: Json, place: str, version: Mapping[str, Any]) -> InvalidInput:
    return InvalidInput(
        f"{place} wants a map, got {shown(value)}",
        mend="write a schema there: type: object, and its properties",
        where=[f"version {version.get('name')}"],
    )


def dropped(xrd: Object) -> list[str]:
    """The paths of what a definition's schemas say that its CRDs do not: nothing but what is copied counts."""
    found: dict[str, None] = {}
    for version in spec_of(xrd).get("versions") or ():
        user = mapping(mapping(mapping(version).get("schema")).get("openAPIV3Schema"))
        properties = mapping(user.get("properties"))
        place = "openAPIV3Schema"
        found |= dict.fromkeys(f"{place}.properties.{name}" for name in properties if name not in _ROOT)
        for part, copied in (("spec", machinery.OF_SPEC), ("status", machinery.OF_STATUS)):
            own = mapping(properties.get(part))
            found |= dict.fromkeys(
                f"{place}.properties.{part}.{name}" for name in own if name in _LOST and name not in copied
            )
    return list(found)


def replaced(xrd: Object) -> list[str]:
    """The paths of what a definition's schemas declare and our machinery, which has other fields there, takes the place of."""
    known = read(xrd)
    ours: dict[str, list[Schema]] = {"spec": [machinery.composite_spec(known, strict_upstream=False)], "status": []}
    if known.claim_kind:
        ours["spec"].append(machinery.claim_spec(known))
    ours["status"].append(machinery.status(known, strict_upstream=False, is_composite=True))
    found: dict[str, None] = {}
    for version in spec_of(xrd).get("versions") or ():
        user = mapping(mapping(mapping(version).get("schema")).get("openAPIV3Schema"))
        for part, taken in ours.items():
            own = mapping(mapping(mapping(user.get("properties")).get(part)).get("properties"))
            found |= dict.fromkeys(
                f"openAPIV3Schema.properties.{part}.properties.{name}"
                for name, declared in own.items()
                if any(_says_more(mapping(declared), fields[name]) for fields in taken if name in fields)
            )
    return list(found)


def _says_more(user: Mapping[str, Any], ours: Schema) -> bool:
    """Whether a declared field is of another type than ours, or has fields that ours has not."""
    if user.get("type") != ours.get("type"):
        return True
    return not mapping(user.get("properties")).keys() <= mapping(ours.get("properties")).keys()
