"""Definitions (CompositeResourceDefinition, XRD): what one declares, and the CRDs that follow from it.

`read` takes from a definition what the reconcilers ask for; `composite_crd` and `claim_crd` make the
CustomResourceDefinitions of the composite and of its claim.  Definitions are read loosely, as plain data: the API
server may have pruned them, and fields that nobody asks for are nobody's business here.

With `strict_upstream` a legacy composite's or claim's CRD is exactly that of Crossplane v1.20, and mistakes that
upstream leaves to the API server are left to it; without, they are named with a mend, and the CRDs have a few fields more.

Source: Crossplane v1.20 and v2.0, internal/xcrd, and CRDs recorded from v1.20.11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from groundplane.core import gitops, health, requests, schema_defects, summary
from groundplane.core.objects import Json, Object, annotations_of, labels_of, meta, owner_reference, spec_of
from groundplane.core.openapi import (
    AGE,
    Schema,
    array,
    column,
    condition_column,
    conditions,
    enum,
    fresh,
    handled_request,
    named,
    obj,
    seen_generation,
    string,
    strings,
    time,
)
from groundplane.errors import InvalidInput, at, shown, stage

GROUP = "apiextensions.crossplane.io"
API_VERSION = f"{GROUP}/v1"
MAX_NAME = 63  # characters: names of composites and claims become label values

Scope = Literal["LegacyCluster", "Namespaced", "Cluster"]
LEGACY_ONLY = {  # fields of a spec that only a definition of that scope can have, and what else to do
    "claimNames": "leave it out, people write the composite itself; or write apiVersion apiextensions.crossplane.io/v1 without a scope",
    "connectionSecretKeys": "leave it out, and compose a Secret",
}
_COPIED = ("description", "required", "oneOf", "x-kubernetes-validations", "properties")  # of a user's spec and status
_OF_SPEC = (*_COPIED, "x-kubernetes-preserve-unknown-fields")
_LOST = schema_defects.KEYS - {"type", "title", "example", "externalDocs"}  # what is missed if it is not copied
_ROOT = ("apiVersion", "kind", "metadata", "spec", "status")  # the fields that every object has


@dataclass(frozen=True)
class Definition:
    """What a definition declares.  `version` is the referenceable one: composites are reconciled at it."""

    name: str
    group: str
    kind: str
    plural: str
    version: str  # "" if no version is referenceable
    scope: Scope
    versions: tuple[str, ...] = ()  # every version, with its group
    served: tuple[str, ...] = ()  # those that are served
    claim_kind: str | None = None
    claim_plural: str | None = None
    connection_secret_keys: tuple[str, ...] = ()  # none: every key passes
    default_composition: str | None = None
    enforced_composition: str | None = None
    default_update_policy: str | None = None  # Automatic or Manual
    default_delete_policy: str | None = None  # Background or Foreground, of claims
    default_revision_labels: Mapping[str, str] = field(default_factory=dict)
    status_fields: frozenset[str] = frozenset()  # what the user's schemas have in status

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"

    @property
    def is_legacy(self) -> bool:
        """Machinery directly under spec, claims and connection Secrets: the way of v1."""
        return self.scope == "LegacyCluster"

    @property
    def is_namespaced(self) -> bool:
        return self.scope == "Namespaced"

    @property
    def has_own_generation(self) -> bool:
        """Whether status.observedGeneration is a field of the user's schema, and not ours then."""
        return health.GENERATION in self.status_fields

    @property
    def has_own_request(self) -> bool:
        """Whether status.lastHandledReconcileAt is a field of the user's schema, and not ours then."""
        return requests.HANDLED in self.status_fields

    @property
    def has_own_summary(self) -> bool:
        """Whether status.composed is a field of the user's schema, and not ours then."""
        return summary.FIELD in self.status_fields

    @property
    def enforces_composition(self) -> bool:
        return self.enforced_composition is not None

    @property
    def place(self) -> str:
        """Where people find the machinery of a composite."""
        return "spec" if self.is_legacy else "spec.crossplane"

    def machinery(self, composite: Object) -> dict[str, Any]:
        """The part of a composite's spec that is ours; attached to the composite, so that it can be written to."""
        spec: dict[str, Any] = composite.setdefault("spec", {})
        if self.is_legacy:
            return spec
        found: dict[str, Any] = spec.setdefault("crossplane", {})
        return found


def read(xrd: Object) -> Definition:
    """What a definition declares, as far as it does; never raises, so that a bad one can still be deleted."""
    spec = spec_of(xrd)
    names, claim, group = _mapping(spec.get("names")), _mapping(spec.get("claimNames")), _text(spec.get("group"))
    scope = _scope(xrd)
    legacy = scope == "LegacyCluster"
    versions = [_mapping(version) for version in _listed(spec.get("versions"))]
    selector = _mapping(spec.get("defaultCompositionRevisionSelector"))
    return Definition(
        name=meta(xrd).get("name") or "",
        group=group,
        kind=_text(names.get("kind")),
        plural=_text(names.get("plural")),
        version=next((_text(v.get("name")) for v in reversed(versions) if v.get("referenceable")), ""),
        scope=scope,
        versions=tuple(f"{group}/{_text(v.get('name'))}" for v in versions),
        served=tuple(f"{group}/{_text(v.get('name'))}" for v in versions if v.get("served")),
        claim_kind=_optional(claim.get("kind")) if legacy else None,
        claim_plural=_optional(claim.get("plural")) if legacy else None,
        connection_secret_keys=tuple(map(_text, _listed(spec.get("connectionSecretKeys")))) if legacy else (),
        default_composition=_optional(_mapping(spec.get("defaultCompositionRef")).get("name")),
        enforced_composition=_optional(_mapping(spec.get("enforcedCompositionRef")).get("name")),
        default_update_policy=_optional(spec.get("defaultCompositionUpdatePolicy")),
        default_delete_policy=_optional(spec.get("defaultCompositeDeletePolicy")),
        default_revision_labels=dict(_mapping(selector.get("matchLabels"))),
        status_fields=frozenset(name for version in versions for name in _own_status(version)),
    )


def with_versions_of(crd: Object, xrd: Object) -> Object:
    """A definition whose own versions can't be read, with those of the composite's CRD that was made of it before.

    Their schemas have our fields as well, which `read` takes for the user's, so that nothing is written to them.
    """
    versions = [{**version, "referenceable": version.get("storage")} for version in spec_of(crd).get("versions") or ()]
    return {**xrd, "spec": {**spec_of(xrd), "versions": versions}}


def _own_status(version: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties that the user's schema gives the status."""
    user = _mapping(_mapping(version.get("schema")).get("openAPIV3Schema"))
    return _mapping(_mapping(_mapping(user.get("properties")).get("status")).get("properties"))


def _scope(xrd: Object) -> Scope:
    """A definition without a scope is legacy, unless its manifest says v2 (where the API server fills it in)."""
    found = spec_of(xrd).get("scope")
    if found in ("Namespaced", "Cluster"):
        return "Namespaced" if found == "Namespaced" else "Cluster"
    if not found and xrd.get("apiVersion") == f"{GROUP}/v2":
        return "Namespaced"
    return "LegacyCluster"


def _mapping(value: Json) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _optional(value: Json) -> str | None:
    return value if isinstance(value, str) else None


# --- the two CRDs --------------------------------------------------------------------------------------


def composite_crd(xrd: Object, *, strict_upstream: bool = False) -> Object:
    """The CRD of the composite, ready to be applied.

    Raises:
        InvalidInput: no CRD can be made of the definition.
    """
    known = read(xrd)
    with at(f"CompositeResourceDefinition {known.name}"):
        if not strict_upstream:
            _check_definition(xrd, known)
    names = dict(_mapping(spec_of(xrd).get("names")))
    names["categories"] = _with(names.get("categories"), "composite")
    columns = _composite_columns(known)
    spec, status = _composite_spec(known, strict_upstream), _status(known, strict_upstream, is_composite=True)
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
    names = dict(_mapping(spec_of(xrd).get("claimNames")))
    with at(f"CompositeResourceDefinition {known.name}", "claimNames"):
        _check_claim_names(names, _mapping(spec_of(xrd).get("names")))
    with at(f"CompositeResourceDefinition {known.name}"):
        if not strict_upstream:
            _check_definition(xrd, known)
    names["categories"] = _with(names.get("categories"), "claim")
    spec, status = _claim_spec(known), _status(known, strict_upstream, is_composite=False)
    with stage("RenderCRD", f'cannot generate CRD for "Composite Resource Claim" "{known.name}"'):
        versions = _versions(xrd, known, spec, status, _claim_columns(), strict_upstream)
    return _crd(xrd, f"{known.claim_plural}.{known.group}", names, "Namespaced", versions, strict_upstream)


def _crd(xrd: Object, name: str, names: dict[str, Any], scope: str, versions: list[Schema], strict: bool) -> Object:
    spec = spec_of(xrd)
    extra = _mapping(spec.get("metadata"))
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
        user = _mapping(declared.get("schema")).get("openAPIV3Schema")
        if not isinstance(user, Mapping):
            raise InvalidInput(
                "custom resource validation cannot be nil",
                where=[f"version {version['name']}"],
                mend=f"give version {version['name']} a schema.openAPIV3Schema",
            )
        keep_rules = not (strict and known.is_legacy)
        version["schema"] = {"openAPIV3Schema": _schema(user, spec, status, keep_rules=keep_rules)}
        version["subresources"] = {"status": {}}
        scale = _mapping(declared.get("subresources")).get("scale")
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


# --- what a definition may not say -------------------------------------------------------------------------


def mistakes(xrd: Object) -> list[InvalidInput]:
    """All that the API server would refuse the CRDs for, said in terms of the definition."""
    return list(_mistakes(xrd, read(xrd)))


def _check_definition(xrd: Object, known: Definition) -> None:
    for mistake in _mistakes(xrd, known):
        raise mistake


def _mistakes(xrd: Object, known: Definition) -> Iterator[InvalidInput]:
    expected = f"{known.plural}.{known.group}"
    if known.name != expected:
        yield InvalidInput(
            f'metadata.name "{known.name}" is not <spec.names.plural>.<spec.group>',
            mend=f"name it {expected}",
        )
    given = spec_of(xrd).get("versions")
    versions = [_mapping(version) for version in given] if isinstance(given, list) else []
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
        user = _mapping(version.get("schema")).get("openAPIV3Schema")
        if isinstance(user, Mapping):  # else told by `_versions`, in upstream's words
            yield from _schema_mistakes(user, version)


def _schema_mistakes(user: Mapping[str, Any], version: Mapping[str, Any]) -> Iterator[InvalidInput]:
    if not _is_mapping(properties := user.get("properties")):
        yield _no_mapping(properties, "schema.openAPIV3Schema.properties", version)
        return
    for part in ("spec", "status"):
        place = f"schema.openAPIV3Schema.properties[{part}]"
        declared = _mapping(properties).get(part)
        if not _is_mapping(declared):
            yield _no_mapping(declared, place, version)
            continue
        own = _merged(declared, {}, _COPIED)
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
        user = _mapping(_mapping(_mapping(version).get("schema")).get("openAPIV3Schema"))
        properties = _mapping(user.get("properties"))
        place = "openAPIV3Schema"
        found |= dict.fromkeys(f"{place}.properties.{name}" for name in properties if name not in _ROOT)
        for part, copied in (("spec", _OF_SPEC), ("status", _COPIED)):
            own = _mapping(properties.get(part))
            found |= dict.fromkeys(
                f"{place}.properties.{part}.{name}" for name in own if name in _LOST and name not in copied
            )
    return list(found)


def replaced(xrd: Object) -> list[str]:
    """The paths of what a definition's schemas declare and our machinery, which has other fields there, takes the place of."""
    known = read(xrd)
    ours: dict[str, list[Schema]] = {"spec": [_composite_spec(known, False)], "status": []}
    if known.claim_kind:
        ours["spec"].append(_claim_spec(known))
    ours["status"].append(_status(known, False, is_composite=True))
    found: dict[str, None] = {}
    for version in spec_of(xrd).get("versions") or ():
        user = _mapping(_mapping(_mapping(version).get("schema")).get("openAPIV3Schema"))
        for part, machinery in ours.items():
            own = _mapping(_mapping(_mapping(user.get("properties")).get(part)).get("properties"))
            found |= dict.fromkeys(
                f"openAPIV3Schema.properties.{part}.properties.{name}"
                for name, declared in own.items()
                if any(_says_more(_mapping(declared), fields[name]) for fields in machinery if name in fields)
            )
    return list(found)


def _says_more(user: Mapping[str, Any], ours: Schema) -> bool:
    """Whether a declared field is of another type than ours, or has fields that ours has not."""
    if user.get("type") != ours.get("type"):
        return True
    return not _mapping(user.get("properties")).keys() <= _mapping(ours.get("properties")).keys()


def _check_claim_names(claim: Mapping[str, Any], composite: Mapping[str, Any]) -> None:
    for name in ("kind", "plural", "singular", "listKind"):
        if claim.get(name) and claim[name] == composite.get(name):
            raise InvalidInput(
                f'invalid resource claim names: "{claim[name]}" conflicts with composite resource name',
                mend=f"give claimNames.{name} a name of its own; usually the composite's has an X in front",
            )


# --- schemas ---------------------------------------------------------------------------------------------------


def _schema(user: Mapping[str, Any], spec: Schema, status: Schema, *, keep_rules: bool) -> Schema:
    """The user's schema with our machinery put over it.  What is not copied here is dropped, as upstream drops it."""
    user = _mapping(schema_defects.without_foreign_keys(user))
    properties = _mapping(user.get("properties"))
    result = obj(
        {
            "apiVersion": string(),
            "kind": string(),
            "metadata": obj({"name": string(maxLength=_longest_name(properties))}),
            "spec": _merged(properties.get("spec"), spec, _OF_SPEC),
            "status": _merged(properties.get("status"), status, _COPIED),
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
    asks = any("status" in str(_mapping(rule).get("rule")) for rule in rules)
    return not asks and not any(status.get(word) for word in ("required", "oneOf", "x-kubernetes-validations"))


def _longest_name(properties: Mapping[str, Any]) -> int:
    metadata = _mapping(_mapping(properties.get("metadata")).get("properties"))
    longest = _mapping(metadata.get("name")).get("maxLength")
    return min(MAX_NAME, longest) if isinstance(longest, int) else MAX_NAME


def _merged(user: Json, machinery: Schema, copied: Iterable[str]) -> Schema:
    user = _mapping(user)
    result: Schema = {"type": "object"}
    result |= {name: user[name] for name in copied if user.get(name)}
    if machinery:
        result["properties"] = {**_mapping(result.get("properties")), **machinery}
    return result


def _selection(known: Definition | None) -> Schema:
    """Which composition to use; `known` gives a composite's default policy, a claim's has none."""
    policy = enum(
        ["Automatic", "Manual"],
        "Automatic follows the newest revision of the Composition; Manual stays at the one that is referenced.",
    )
    if known is not None and known.default_update_policy:
        policy["default"] = known.default_update_policy
    labels = strings("Labels that it must have.")
    return {
        "compositionRef": named("The Composition to use; chosen if there is none yet.", of="The Composition"),
        "compositionSelector": obj(
            {"matchLabels": labels}, "Chooses among the Compositions for this kind by label.", required=["matchLabels"]
        ),
        "compositionRevisionRef": named("The revision in use, or with Manual the one to use.", of="The revision"),
        "compositionRevisionSelector": obj(
            {"matchLabels": labels}, "Considers only revisions with these labels.", required=["matchLabels"]
        ),
        "compositionUpdatePolicy": policy,
    }


def _reference(names: Iterable[str], description: str) -> Schema:
    return obj({name: string() for name in names}, description, required=names)


def _publish_to() -> Schema:
    """External secret stores: accepted, as manifests may have it, and ignored."""
    metadata = obj({"labels": strings(), "annotations": strings(), "type": string()})
    config = obj({"name": string()}, default={"name": "default"})
    return obj(
        {"name": string(), "configRef": config, "metadata": metadata},
        "Not supported: external secret stores were removed upstream. Use writeConnectionSecretToRef.",
        required=["name"],
    )


def _composite_spec(known: Definition, strict: bool) -> Schema:
    names = ["apiVersion", "kind", "name"]
    if known.scope == "Cluster" or (known.is_legacy and not strict):
        names.append("namespace")
    references = array(
        obj({name: string() for name in names}, required=["apiVersion", "kind"]),
        "The composed resources that exist or are being made.",
        **{"x-kubernetes-list-type": "atomic"},
    )
    machinery = {**_selection(known), "resourceRefs": references}
    if not known.is_legacy:
        return {"crossplane": obj(machinery, "Configures how Crossplane will reconcile this composite resource")}
    machinery["claimRef"] = _reference(
        ["apiVersion", "kind", "namespace", "name"], "The claim that this composite belongs to."
    )
    machinery["writeConnectionSecretToRef"] = _reference(
        ["name", "namespace"], "The Secret that the connection details are written to."
    )
    machinery["publishConnectionDetailsTo"] = _publish_to()
    return machinery


def _claim_spec(known: Definition) -> Schema:
    policy = enum(
        ["Background", "Foreground"],
        "With Foreground the claim is there until its composite and all composed resources are gone.",
    )
    if known.default_delete_policy:
        policy["default"] = known.default_delete_policy
    return {
        **_selection(None),
        "compositeDeletePolicy": policy,
        "resourceRef": _reference(["apiVersion", "kind", "name"], "The composite behind this claim."),
        "writeConnectionSecretToRef": named(
            "The Secret in the claim's namespace that the connection details are written to.", of="The Secret"
        ),
        "publishConnectionDetailsTo": _publish_to(),
    }


def _status(known: Definition, strict: bool, *, is_composite: bool) -> Schema:
    legacy = known.is_legacy
    found = {"conditions": conditions(observed_generation=not (legacy and strict))}
    if not strict and not known.has_own_generation:
        found[health.GENERATION] = seen_generation()
    if not strict and is_composite and not known.has_own_request:
        found[requests.HANDLED] = handled_request()
    if not strict and not known.has_own_summary:
        found[summary.FIELD] = summary.schema()
    if legacy:
        published = time("When the connection Secret last changed.")
        found["connectionDetails"] = obj({"lastPublishedTime": published})
        found["claimConditionTypes"] = array(
            string(), "Types of conditions that the claim shows too.", **{"x-kubernetes-list-type": "set"}
        )
    return found


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
