"""The CustomResourceDefinitions that follow from a definition: the composite's, and the claim's.

With `strict_upstream` a legacy composite's or claim's CRD is exactly that of Crossplane v1.20, and mistakes that
upstream leaves to the API server are left to it; without, they are named with a mend, and the CRDs have a few fields more.

Source: Crossplane v1.20 and v2.0, internal/xcrd, and CRDs recorded from v1.20.11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from groundplane.core import definition_mistakes, gitops, health, machinery, schema_defects
from groundplane.core.definition import API_VERSION, Definition, read
from groundplane.core.objects import Json, Object, annotations_of, labels_of, mapping, meta, owner_reference, spec_of
from groundplane.core.openapi import AGE, Schema, column, condition_column, fresh, obj, string
from groundplane.errors import InvalidInput, at, stage

MAX_NAME = 63  # characters: names of composites and claims become label values


def composite_crd(xrd: Object, *, strict_upstream: bool = False) -> Object:
    """The CRD of the composite, ready to be applied.

    Raises:
        InvalidInput: no CRD can be made of the definition.
    """
    known = read(xrd)
    with at(f"CompositeResourceDefinition {known.name}"):
        if not strict_upstream:
            definition_mistakes.check(xrd)
    names = dict(mapping(spec_of(xrd).get("names")))
    names["categories"] = _with(names.get("categories"), "composite")
    columns = _composite_columns(known)
    spec = machinery.composite_spec(known, strict_upstream=strict_upstream)
    status = machinery.status(known, strict_upstream=strict_upstream, is_composite=True)
    with stage("RenderCRD", f'cannot generate CRD for "Composite Resource" "{known.name}"'):
        versions = _versions(xrd, known, spec, status, columns, strict_upstream)
    return _crd(xrd, known.name, names, "Namespaced" if known.is_namespaced else "Cluster", versions, strict_upstream)


def claim_crd(xrd: Object, *, strict_upstream: bool = False) -> Object | None:
    """The CRD of the claim; None if the definition offers none.

    Raises:
        InvalidInput: no CRD can be made of the definition.
    """
    known = read(xrd)
    if known.claim_kind is None:
        return None
    names = dict(mapping(spec_of(xrd).get("claimNames")))
    with at(f"CompositeResourceDefinition {known.name}", "claimNames"):
        definition_mistakes.check_claim_names(names, mapping(spec_of(xrd).get("names")))
    with at(f"CompositeResourceDefinition {known.name}"):
        if not strict_upstream:
            definition_mistakes.check(xrd)
    names["categories"] = _with(names.get("categories"), "claim")
    spec, status = (
        machinery.claim_spec(known),
        machinery.status(known, strict_upstream=strict_upstream, is_composite=False),
    )
    with stage("RenderCRD", f'cannot generate CRD for "Composite Resource Claim" "{known.name}"'):
        versions = _versions(xrd, known, spec, status, _claim_columns(), strict_upstream)
    return _crd(xrd, f"{known.claim_plural}.{known.group}", names, "Namespaced", versions, strict_upstream)


def _crd(xrd: Object, name: str, names: dict[str, Any], scope: str, versions: list[Schema], strict: bool) -> Object:
    spec = spec_of(xrd)
    extra = mapping(spec.get("metadata"))
    metadata: dict[str, Any] = {"name": name}
    own = labels_of(xrd) if strict else gitops.without_tools(labels_of(xrd))
    labels = {**own, **labels_of({"metadata": extra})}
    annotations = annotations_of({"metadata": extra})
    if labels:
        metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = dict(annotations)
    if meta(xrd).get("uid"):  # a manifest that no API server has seen has none
        metadata["ownerReferences"] = [owner_reference({**xrd, "apiVersion": API_VERSION})]
    crd: Object = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {"group": spec.get("group") or "", "names": names, "scope": scope, "versions": versions},
    }
    if spec.get("conversion"):
        crd["spec"]["conversion"] = spec["conversion"]
    made: Object = fresh(crd)
    return made


def _versions(
    xrd: Object, known: Definition, spec: Schema, status: Schema, columns: list[Schema], strict: bool
) -> list[Schema]:
    found = []
    for declared in spec_of(xrd).get("versions") or ():
        version: Schema = {
            "name": declared.get("name") or "",
            "served": bool(declared.get("served")),
            "storage": bool(declared.get("referenceable")),
        }
        for name in ("deprecated", "deprecationWarning"):
            if declared.get(name):
                version[name] = declared[name]
        user = mapping(declared.get("schema")).get("openAPIV3Schema")
        if not isinstance(user, Mapping):
            raise InvalidInput(
                "custom resource validation cannot be nil",
                where=[f"version {version['name']}"],
                mend=f"give version {version['name']} a schema.openAPIV3Schema",
            )
        keep_rules = not (strict and known.is_legacy)
        version["schema"] = {"openAPIV3Schema": _schema(user, spec, status, keep_rules=keep_rules)}
        version["subresources"] = {"status": {}}
        scale = mapping(declared.get("subresources")).get("scale")
        if scale:
            version["subresources"]["scale"] = scale
        version["additionalPrinterColumns"] = [
            *(declared.get("additionalPrinterColumns") or ()),
            *columns,
        ]
        found.append(version)
    return found


def _with(words: Iterable[str] | None, word: str) -> list[str]:
    found = list(words or ())
    return found if word in found else [*found, word]


def _schema(user: Mapping[str, Any], spec: Schema, status: Schema, *, keep_rules: bool) -> Schema:
    """The user's schema with our machinery put over it.  What is not copied here is dropped, as upstream drops it."""
    user = mapping(schema_defects.without_foreign_keys(user))
    properties = mapping(user.get("properties"))
    result = obj(
        {
            "apiVersion": string(),
            "kind": string(),
            "metadata": obj({"name": string(maxLength=_longest_name(properties))}),
            "spec": machinery.merged(properties.get("spec"), spec, machinery.OF_SPEC),
            "status": machinery.merged(properties.get("status"), status, machinery.OF_STATUS),
        },
        user.get("description") or "",
        required=["spec"],
    )
    rules = user.get("x-kubernetes-validations") if keep_rules else None
    if rules:
        result["x-kubernetes-validations"] = rules
    if health.GENERATION in status and _may_begin_unseen(result["properties"]["status"], rules or ()):
        result["properties"]["status"]["default"] = {health.GENERATION: health.UNSEEN}
    return result


def _may_begin_unseen(status: Schema, rules: Iterable[Json]) -> bool:
    """Whether a status with nothing in it but our generation suits the user's schema: else the CRD, or every object, is refused."""
    asks = any("status" in str(mapping(rule).get("rule")) for rule in rules)
    return not asks and not any(status.get(word) for word in ("required", "oneOf", "x-kubernetes-validations"))


def _longest_name(properties: Mapping[str, Any]) -> int:
    metadata = mapping(mapping(properties.get("metadata")).get("properties"))
    longest = mapping(metadata.get("name")).get("maxLength")
    return min(MAX_NAME, longest) if isinstance(longest, int) else MAX_NAME


def _composite_columns(known: Definition) -> list[Schema]:
    place = f".{known.place}"
    return [
        condition_column("SYNCED", "Synced"),
        condition_column("READY", "Ready"),
        column("COMPOSITION", f"{place}.compositionRef.name"),
        column("COMPOSITIONREVISION", f"{place}.compositionRevisionRef.name", wide=True),
        AGE,
    ]


def _claim_columns() -> list[Schema]:
    return [
        condition_column("SYNCED", "Synced"),
        condition_column("READY", "Ready"),
        column("CONNECTION-SECRET", ".spec.writeConnectionSecretToRef.name"),
        AGE,
    ]
