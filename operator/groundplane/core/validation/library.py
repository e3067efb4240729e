"""The schemas that are known, by API version and kind: what somebody handed over, before what is built in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from groundplane.core import known_schemas
from groundplane.core import schema as schemas
from groundplane.core.objects import GroupKind, Object, group_of
from groundplane.core.structural import ANYTHING, OpenAPI, Structural
from groundplane.errors import InvalidInput

if TYPE_CHECKING:
    from groundplane.core.composition import CompositionSpec
    from groundplane.core.pipeline import Find
    from groundplane.core.typecheck import Part

    Parts = Callable[[CompositionSpec, Find], list[Part]]  # what the steps of a pipeline are told of patches


class BuiltIn(known_schemas.BuiltIn, Protocol):
    """What is known without being handed over; asked only for what is used."""

    def immutable(self, api_version: str, kind: str) -> Sequence[str]:
        """The fields of forProvider that can't be changed in AWS."""
        ...

    def connection_keys(self, api_version: str, kind: str) -> Sequence[str] | None:
        """The keys that a kind's connection Secrets can have; None if they are not known."""
        ...

    def check(self, obj: Object) -> InvalidInput | None:
        """What AWS would refuse in a managed resource, whatever is there."""
        ...

    def doubt(self, obj: Object) -> InvalidInput | None:
        """What AWS may know, and nobody here does, in a managed resource: a region that may be a new one."""
        ...


_ANY_OBJECT = Structural({"type": "object", **ANYTHING})


class Library:
    """Schemas by API version and kind, each compiled once, when it is first asked for."""

    def __init__(
        self,
        given: Mapping[tuple[str, str], OpenAPI],
        built_in: BuiltIn,
        scopes: known_schemas.Scopes | None = None,
        broken: Mapping[GroupKind, str] | None = None,
        defined: frozenset[str] = frozenset(),
        claims: Mapping[GroupKind, str] | None = None,
    ) -> None:
        """`scopes` are those of kinds that somebody handed over, `broken` the names of definitions that are wrong, by what they declare,
        `defined` the API groups of those that are right, `claims` the composite's kind of each claim's."""
        self.given = given
        self.scopes = scopes or {}
        self.defined = defined
        self._broken = broken or {}
        self._claims = claims or {}
        self.built_in = built_in
        self._compiled: dict[tuple[str, str], Structural | None] = {}

    def structural(self, api_version: str, kind: str) -> Structural | None:
        """The schema of a kind, None if it is not known."""
        pair = (api_version, kind)
        if pair not in self._compiled:
            openapi = self.given.get(pair) or self.built_in.schema(*pair)
            self._compiled[pair] = Structural(openapi) if openapi else None
        return self._compiled[pair]

    def first_fault(self, obj: Object) -> schemas.Fault | None:
        """What keeps an object from being worked with: its shape, of metadata alone if its kind is not known; rules aside."""
        structural = self.structural(str(obj.get("apiVersion")), str(obj.get("kind"))) or _ANY_OBJECT
        stored = schemas.prune(structural, schemas.default(structural, obj))
        found = schemas.misshapen(structural, stored)
        return found[0] if found else None

    def openapi(self, api_version: str, kind: str) -> OpenAPI | None:
        found = self.structural(api_version, kind)
        return found.openapi if found else None

    def namespaced(self, pair: tuple[str, str]) -> bool | None:
        """Whether a kind's objects live in namespaces, None if it is not known."""
        return known_schemas.namespaced(pair, self.scopes, self.built_in)

    def broken(self, api_version: str, kind: str) -> str:
        """The name of the definition that declares a kind, and is wrong; "" if there is none."""
        return self._broken.get(GroupKind(group_of(api_version), kind), "")

    def composite_of(self, api_version: str, kind: str) -> str:
        """The kind that claims of a kind are made into; "" if it is none of claims."""
        return self._claims.get(GroupKind(group_of(api_version), kind), "")

    def meant(self, api_version: str, kind: str) -> str:
        """The kind that is nearly spelt so, or served in another version; "" if none is."""
        return known_schemas.kind_meant((api_version, kind), self.given, self.built_in)
