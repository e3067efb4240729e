"""The CustomResourceDefinition around our schemas: names, scope, versions, printer columns."""

from __future__ import annotations

from collections.abc import Iterable

from groundplane.core.objects import Object
from groundplane.core.openapi import AGE, Schema, fresh


def crd(
    group: str,
    kind: str,
    versions: Iterable[Schema],
    *,
    plural: str = "",
    scope: str = "Cluster",
    short: Iterable[str] = (),
    categories: Iterable[str] = ("crossplane",),
) -> Object:
    """A CRD; `plural` is the lower-case kind with an s unless given, the first of `versions` is stored."""
    plural = plural or f"{kind.lower()}s"
    names: Schema = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "categories": list(categories),
    }
    if short:
        names["shortNames"] = list(short)
    found = [{**version, "storage": index == 0} for index, version in enumerate(versions)]
    made: Object = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": found},
    }
    copied: Object = fresh(made)
    return copied


def version(
    name: str,
    schema: Schema,
    columns: Iterable[Schema] = (AGE,),
    *,
    has_status: bool = True,
    deprecated: str = "",
) -> Schema:
    """One served version; `deprecated` is the warning that its users get, if any."""
    found: Schema = {
        "name": name,
        "served": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": list(columns),
    }
    if has_status:
        found["subresources"] = {"status": {}}
    if deprecated:
        found |= {"deprecated": True, "deprecationWarning": deprecated}
    return found
