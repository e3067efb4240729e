"""Our CRDs as v1.20 has them, for an operator that is to be like upstream to the byte."""

from __future__ import annotations

from collections.abc import Iterable

from groundplane.core.crds.composition import GONE_FIELD, GONE_TYPES, GROUP, OF_OTHERS
from groundplane.core.crds.packages import COLUMNS_OF_V2
from groundplane.core.objects import Json, Object
from groundplane.core.openapi import fresh

DEFINITION = "CompositeResourceDefinition"
COMPOSITIONS = ("Composition", "CompositionRevision")
OF_V2_ONLY = tuple(
    f"{plural}.{GROUP}" for plural in ("managedresourcedefinitions", "managedresourceactivationpolicies")
)
"""The CRDs, by name, that v1.20 does not have, and whose kinds mean something here."""


def of_upstream(crds: Iterable[Object]) -> list[Object]:
    """Those of the CRDs that v1.20 has, too, as it has them."""
    return [as_upstream(crd) for crd in crds if crd["metadata"]["name"] not in OF_V2_ONLY]


def as_upstream(crd: Object) -> Object:
    """The CRD, as a copy, without what v1.20 does not have.

    That is columns of v2's, and statuses that do not say from the beginning that nobody has looked yet (`openapi.unseen`), rules of v2's and ours, and what is kept of
    Compositions only to say that it is gone.  Compositions are of mode Resources by default.  v2 of definitions is served all the same, since what the garbage collector has once seen in a version it looks for there for ever;
    without its default for the scope, or an edit through it would make those namespaced that have none.
    """
    made: Object = fresh(crd)
    is_definition = made["spec"]["names"]["kind"] == DEFINITION
    for version in made["spec"]["versions"]:
        columns = version["additionalPrinterColumns"]
        version["additionalPrinterColumns"] = [each for each in columns if each["name"] not in COLUMNS_OF_V2]
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"].get("status", {}).pop("default", None)
        _drop_rules(schema)
        fields = schema["properties"].get("spec", {}).get("properties", {})
        if made["spec"]["names"]["kind"] in COMPOSITIONS:
            fields.pop(GONE_FIELD, None)
            fields["mode"]["default"] = "Resources"
        if is_definition:
            fields["scope"].pop("default", None)
    return made


def _drop_rules(schema: Json) -> None:
    """Take the rules that v1.20 has not off, and the types of patches, in place, at every level."""
    if isinstance(schema, list):
        for each in schema:
            _drop_rules(each)
        return
    if not isinstance(schema, dict):
        return
    rules = schema.get("x-kubernetes-validations")
    if isinstance(rules, list):
        kept = [rule for rule in rules if rule["rule"] not in OF_OTHERS]
        schema["x-kubernetes-validations"] = kept
        if not kept:
            del schema["x-kubernetes-validations"]
    if isinstance(words := schema.get("enum"), list):
        schema["enum"] = [word for word in words if word not in GONE_TYPES]
    for each in schema.values():
        _drop_rules(each)
