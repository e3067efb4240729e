"""Which kinds the API server serves, by the CustomResourceDefinitions that there are: at which versions, under which plural."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from groundplane.core import conditions
from groundplane.core.crds.marks import MARK
from groundplane.core.objects import Json, Object, annotations_of, group_of, spec_of, status_of
from groundplane.ports import Resource

CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)


class ApiKind(NamedTuple):
    """A kind as the API's paths name it."""

    group: str
    version: str
    plural: str


@dataclass(frozen=True)
class Crd:
    """What matters of a CustomResourceDefinition."""

    group: str
    kind: str
    plural: str
    namespaced: bool
    established: bool
    versions: tuple[tuple[str, bool], ...]  # those that are served, and whether they have the status subresource
    alike: tuple[tuple[str, ...], ...] = ()  # sets of served versions in which an object differs by its apiVersion only
    schema: str = field(default="", compare=False)  # a digest of what its versions hold
    mark: str = field(default="", compare=False)  # of who brought it, if it was a Groundplane
    storage: str = field(default="", compare=False)  # the version in which objects are stored from now on
    stored: tuple[str, ...] = field(default=(), compare=False)  # those in which some may be

    def serves(self, version: str) -> bool:
        return self.established and any(version == name for name, _ in self.versions)

    def is_of(self, api_version: str, kind: str) -> bool:
        """Whether it declares this kind, at whichever version."""
        return (self.group, self.kind) == (group_of(api_version), kind)


class ServedKinds:
    """The CustomResourceDefinitions that there are, by their names and by the kinds that they declare."""

    def __init__(self) -> None:
        self._by_plural: dict[tuple[str, str], Crd] = {}
        self._by_kind: dict[tuple[str, str], Crd] = {}

    def take(self, crd: Crd) -> Crd | None:
        """It is there now; what it was before, None if it is new."""
        before = self._by_plural.get((crd.group, crd.plural))
        if before:
            self.drop(before)
        self._by_plural[crd.group, crd.plural] = self._by_kind[crd.group, crd.kind] = crd
        return before

    def drop(self, crd: Crd) -> None:
        """It is gone."""
        self._by_plural.pop((crd.group, crd.plural), None)
        known = self._by_kind.get((crd.group, crd.kind))
        if known and known.plural == crd.plural:
            del self._by_kind[crd.group, crd.kind]

    def named(self, group: str, plural: str) -> Crd | None:
        return self._by_plural.get((group, plural))

    def declaring(self, api_version: str, kind: str) -> Crd | None:
        """The definition of a kind, whichever of its versions are served."""
        return self._by_kind.get((group_of(api_version), kind))

    def serves(self, kind: ApiKind) -> bool:
        crd = self._by_plural.get((kind.group, kind.plural))
        return crd is not None and crd.serves(kind.version)


def read(crd: Object) -> Crd | None:
    """What matters of a CustomResourceDefinition; None of one that names no kind."""
    spec = spec_of(crd)
    names = spec.get("names") or {}
    if not (spec.get("group") and names.get("kind") and names.get("plural")):
        return None
    schemas = {
        each["name"]: orjson.dumps(_without_prose(each.get("schema")), option=orjson.OPT_SORT_KEYS)
        for each in spec.get("versions") or ()
        if each.get("served")
    }
    return Crd(
        group=spec["group"],
        kind=names["kind"],
        plural=names["plural"],
        namespaced=spec.get("scope") == "Namespaced",
        established=conditions.is_true(crd, "Established"),
        versions=tuple(
            (version["name"], "status" in (version.get("subresources") or {}))
            for version in spec.get("versions") or ()
            if version.get("served")
        ),
        alike=_alike(spec, schemas),
        schema=hashlib.sha256(b"".join(schemas.values())).hexdigest(),
        mark=annotations_of(crd).get(MARK, ""),
        storage=next((each["name"] for each in spec.get("versions") or () if each.get("storage")), ""),
        stored=tuple(status_of(crd).get("storedVersions") or ()),
    )


def _alike(spec: Mapping[str, Any], schemas: Mapping[str, bytes]) -> tuple[tuple[str, ...], ...]:
    """The versions that have the same schema, if nobody converts: then the API server changes nothing but the apiVersion."""
    if (spec.get("conversion") or {}).get("strategy", "None") != "None":
        return ()
    by_schema: dict[bytes, list[str]] = {}
    for version, schema in schemas.items():
        by_schema.setdefault(schema, []).append(version)
    return tuple(tuple(names) for names in by_schema.values() if len(names) > 1)


def _without_prose(schema: Json) -> Json:
    if isinstance(schema, dict):
        return {
            name: _without_prose(below)
            for name, below in schema.items()
            if name != "description" or not isinstance(below, str)
        }
    return [_without_prose(item) for item in schema] if isinstance(schema, list) else schema


def api_kind(resource: Resource) -> ApiKind:
    return ApiKind(group_of(resource.api_version), version_of(resource.api_version), resource.plural)


def version_of(api_version: str) -> str:
    """The version without its group.

    >>> version_of("apps/v1")
    'v1'
    """
    return api_version.rpartition("/")[2]
