"""The schemas of kinds, as CustomResourceDefinitions and definitions declare them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from groundplane.core import definition, definition_crds
from groundplane.core.objects import Json, Object, group_of, spec_of
from groundplane.core.structural import OpenAPI
from groundplane.errors import nearest


class BuiltIn(Protocol):
    """The kinds that are known without being given."""

    def schema(self, api_version: str, kind: str) -> OpenAPI | None: ...
    def meant(self, api_version: str, kind: str) -> str: ...
    def namespaced(self, api_version: str, kind: str) -> bool | None:
        """Whether the kind's objects live in namespaces; None if it is not known."""
        ...


Scopes = Mapping[tuple[str, str], bool]  # (API version, kind) → whether its objects live in namespaces


def is_definition(obj: Object) -> bool:
    """Whether it is a CompositeResourceDefinition."""
    return obj.get("kind") == "CompositeResourceDefinition" and group_of(str(obj.get("apiVersion"))) == definition.GROUP


def version_schema(crd: Object, api_version: str) -> OpenAPI | None:
    """The OpenAPI schema of one version of a CRD, if it has that version and a schema.

    >>> version_schema({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}]}}, "a/v1")
    {'type': 'object'}
    """
    name = api_version.rpartition("/")[2]
    return next((schema for version, schema in versions(crd) if version["name"] == name), None)


def versions(crd: Object) -> Iterator[tuple[Mapping[str, Json], OpenAPI]]:
    """The versions of a CRD that have a name and a schema; what no API server has read may have anything in their place."""
    listed = spec_of(crd).get("versions")
    for version in listed if isinstance(listed, list) else ():
        schema = version.get("schema") if isinstance(version, dict) else None
        openapi = schema.get("openAPIV3Schema") if isinstance(schema, dict) else None
        if isinstance(openapi, dict) and openapi and isinstance(version.get("name"), str):
            yield version, openapi


def kind_of(crd: Object) -> str:
    """The kind that a CRD declares; "" if it does not."""
    names = spec_of(crd).get("names")
    kind = names.get("kind") if isinstance(names, dict) else ""
    return kind if isinstance(kind, str) else ""


def schemas_in(objects: Iterable[Object]) -> dict[tuple[str, str], OpenAPI]:
    """(API version, kind) → schema, for every CustomResourceDefinition and definition among the objects.

    Raises:
        InvalidInput: no CustomResourceDefinition can be made of a definition.
    """
    found: dict[tuple[str, str], OpenAPI] = {}
    for obj in objects:
        made: list[Object | None] = []
        if obj.get("kind") == "CustomResourceDefinition":
            made = [obj]
        elif is_definition(obj):
            made = [definition_crds.composite_crd(obj), definition_crds.claim_crd(obj)]
        for crd in filter(None, made):
            for version, schema in versions(crd):
                found[f"{spec_of(crd).get('group')}/{version['name']}", kind_of(crd)] = schema
    return found


def scopes_in(objects: Iterable[Object]) -> dict[tuple[str, str], bool]:
    """(API version, kind) → whether its objects live in namespaces, for every kind that is declared among the objects.

    >>> spec = {"group": "a.b", "names": {"kind": "X"}, "scope": "Namespaced", "versions": [{"name": "v1"}]}
    >>> scopes_in([{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}])
    {('a.b/v1', 'X'): True}
    """
    found: dict[tuple[str, str], bool] = {}
    for obj in objects:
        if is_definition(obj):
            known = definition.read(obj)
            found |= {(version, known.kind): known.is_namespaced for version in known.versions}
            found |= {(version, known.claim_kind): True for version in known.versions if known.claim_kind}
        elif obj.get("kind") == "CustomResourceDefinition":
            spec = spec_of(obj)
            listed = spec.get("versions")
            names = [each.get("name") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
            found |= {(f"{spec.get('group')}/{name}", kind_of(obj)): spec.get("scope") != "Cluster" for name in names}
    return found


def namespaced(pair: tuple[str, str], scopes: Scopes, built_in: BuiltIn | None) -> bool | None:
    """Whether a kind's objects live in namespaces; None if it is not known."""
    if pair in scopes:
        return scopes[pair]
    return built_in.namespaced(*pair) if built_in is not None else None


def group_meant(group: str, groups: Iterable[str]) -> str:
    """The API group that a misspelt one is most like; "" if it is like none, or one of another that is above it.

    >>> group_meant("exmple.org", ["example.org"]), group_meant("meta.pkg.crossplane.io", ["pkg.crossplane.io"])
    ('example.org', '')
    """
    near = nearest(group, groups)
    return "" if near and group.endswith(f".{near}") else near


def nearly(api_version: str, kind: str, known: Iterable[tuple[str, str]]) -> str:
    """Which of the `known` groups and kinds is nearly spelt so: one of that name in another group, or another kind of the group; "" if none is.

    >>> nearly("ec2.example.org/v1", "vpcs", [("ec2.example.org", "VPC"), ("ec2.example.org", "VPCPeering")])
    'VPC'
    >>> nearly("exmple.org/v1", "Database", [("example.org", "Database")])
    'Database of example.org'
    """
    group, there = group_of(api_version), set(known)
    beside = sorted(name for place, name in there if place == group)
    if same := next((name for name in beside if kind.lower() in (name.lower(), f"{name.lower()}s")), ""):
        return same
    if near := group_meant(group, {place for place, name in there if name == kind}):
        return f"{kind} of {near}"
    return nearest(kind, beside)


def kind_meant(pair: tuple[str, str], schemas: Mapping[tuple[str, str], OpenAPI], built_in: BuiltIn | None) -> str:
    """The kind that is meant: served in another version, in a group that is nearly spelt so, or nearly spelt so itself; "" if none is.

    >>> kind_meant(("exmple.org/v1", "Note"), {("example.org/v1", "Note"): {}}, None)
    'Note of example.org/v1'
    """
    version, kind = pair
    others = [known for known, name in schemas if name == kind and group_of(known) == group_of(version)]
    if others:
        return f"{kind} of {max(others)}"
    group = group_of(version)
    if near := group_meant(group, {group_of(known) for known, name in schemas if name == kind}):
        return f"{kind} of {max(known for known, name in schemas if name == kind and group_of(known) == near)}"
    if meant := nearest(kind, [name for known, name in schemas if known == version]):
        return meant
    return built_in.meant(version, kind) if built_in is not None else ""
