"""Definitions (CompositeResourceDefinition, XRD): what one declares.

`read` takes from a definition what the reconcilers ask for.  `definition_crds.py` makes its two CRDs, `definition_mistakes.py` says
what is wrong with it.  Definitions are read loosely, as plain data: the API server may have pruned them, and fields that nobody asks
for are nobody's business here.

Source: Crossplane v1.20 and v2.0, apis/apiextensions, CompositeResourceDefinitionSpec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from groundplane.core import health, requests, summary
from groundplane.core.objects import Json, Object, mapping, meta, spec_of

GROUP = "apiextensions.crossplane.io"
API_VERSION = f"{GROUP}/v1"

Scope = Literal["LegacyCluster", "Namespaced", "Cluster"]
LEGACY_ONLY = {  # fields of a spec that only a definition of that scope can have, and what else to do
    "claimNames": "leave it out, people write the composite itself; or write apiVersion apiextensions.crossplane.io/v1 without a scope",
    "connectionSecretKeys": "leave it out, and compose a Secret",
}


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
    has_conversion: bool = False  # by a webhook: the same field may have another place in another version

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
    names, claim, group = mapping(spec.get("names")), mapping(spec.get("claimNames")), _text(spec.get("group"))
    scope = _scope(xrd)
    legacy = scope == "LegacyCluster"
    versions = [mapping(version) for version in _listed(spec.get("versions"))]
    selector = mapping(spec.get("defaultCompositionRevisionSelector"))
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
        default_composition=_optional(mapping(spec.get("defaultCompositionRef")).get("name")),
        enforced_composition=_optional(mapping(spec.get("enforcedCompositionRef")).get("name")),
        default_update_policy=_optional(spec.get("defaultCompositionUpdatePolicy")),
        default_delete_policy=_optional(spec.get("defaultCompositeDeletePolicy")),
        default_revision_labels=dict(mapping(selector.get("matchLabels"))),
        status_fields=frozenset(name for version in versions for name in _own_status(version)),
        has_conversion=mapping(spec.get("conversion")).get("strategy") == "Webhook",
    )


def with_versions_of(crd: Object, xrd: Object) -> Object:
    """A definition whose own versions can't be read, with those of the composite's CRD that was made of it before.

    Their schemas have our fields as well, which `read` takes for the user's, so that nothing is written to them.
    """
    versions = [{**version, "referenceable": version.get("storage")} for version in spec_of(crd).get("versions") or ()]
    return {**xrd, "spec": {**spec_of(xrd), "versions": versions}}


def _own_status(version: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties that the user's schema gives the status."""
    user = mapping(mapping(version.get("schema")).get("openAPIV3Schema"))
    return mapping(mapping(mapping(user.get("properties")).get("status")).get("properties"))


def _scope(xrd: Object) -> Scope:
    """A definition without a scope is legacy, unless its manifest says v2 (where the API server fills it in)."""
    found = spec_of(xrd).get("scope")
    if found in ("Namespaced", "Cluster"):
        return "Namespaced" if found == "Namespaced" else "Cluster"
    if not found and xrd.get("apiVersion") == f"{GROUP}/v2":
        return "Namespaced"
    return "LegacyCluster"


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _optional(value: Json) -> str | None:
    return value if isinstance(value, str) else None
