"""`apiextensions.crossplane.io`: CompositeResourceDefinition and EnvironmentConfig.

A definition is stored as v1 and served as v1 and v2, the same object under two labels.  v1 has no default for the
scope, as v1.20 has none: absent is legacy.  v2 defaults it to Namespaced, and every kubectl without an explicit version
speaks v2: the rule on `spec` keeps an edit of a legacy definition from making it namespaced unnoticed.
"""

from __future__ import annotations

from groundplane.core import definition
from groundplane.core.crds.build import crd, version
from groundplane.core.crds.composition import GROUP, IMMUTABLE
from groundplane.core.objects import Object
from groundplane.core.openapi import (
    AGE,
    Schema,
    anything,
    array,
    boolean,
    condition_column,
    conditions,
    enum,
    free,
    integer,
    named,
    obj,
    root,
    ruled,
    string,
    strings,
    unseen,
)

SCOPES = ("LegacyCluster", "Namespaced", "Cluster")

LOWER_CASE = (
    ("self.plural == self.plural.lowerAscii()", "Plural name must be lowercase"),
    ("!has(self.singular) || self.singular == self.singular.lowerAscii()", "Singular name must be lowercase"),
)
SAME_SCOPE = (
    "(has(self.scope) ? self.scope : 'LegacyCluster') == (has(oldSelf.scope) ? oldSelf.scope : 'LegacyCluster')",
    "scope is immutable; a definition without one is LegacyCluster: edit it as apiextensions.crossplane.io/v1",
)
LEGACY_ONLY = tuple(
    (
        f"!has(self.{name}) || !has(self.scope) || self.scope == 'LegacyCluster'",
        f"{name} is only for scope LegacyCluster: {mend}",
    )
    for name, mend in definition.LEGACY_ONLY.items()
)


def crds() -> list[Object]:
    """CompositeResourceDefinition and EnvironmentConfig."""
    columns = [condition_column("ESTABLISHED", "Established"), condition_column("OFFERED", "Offered"), AGE]
    environment = [version(name, _environment(), has_status=False) for name in ("v1beta1", "v1alpha1")]
    return [
        crd(
            GROUP,
            "CompositeResourceDefinition",
            [version(name, _definition(name), columns) for name in ("v1", "v2")],
            short=["xrd", "xrds"],
        ),
        crd(GROUP, "EnvironmentConfig", environment, short=["envcfg"]),
    ]


def _environment() -> Schema:
    data = obj(description="Any values, by name.", additionalProperties=anything())
    return root("An EnvironmentConfig holds values that compositions read.", data=data)


def _definition(name: str) -> Schema:
    return root(
        "A CompositeResourceDefinition declares a new API: a kind of composite, its schema, and the claim for it.",
        spec=_spec(name),
        status=_status(),
    )


def _spec(name: str) -> Schema:
    scope = enum(
        SCOPES,
        "Where composites live: Namespaced or Cluster (as in Crossplane v2), or LegacyCluster (as in v1: cluster-wide,"
        " with claims and connection Secrets).",
    )
    delete_policy = enum(
        ["Background", "Foreground"],
        "The compositeDeletePolicy of claims that choose none. Foreground: a claim is there until all is deleted.",
    )
    if name == "v1":
        delete_policy["default"] = "Background"
    else:
        scope["default"] = "Namespaced"
    return obj(
        {
            "group": ruled(string("The API group, such as platform.example.com."), IMMUTABLE),
            "names": _names("The composite's names; usually with an X in front, such as XDatabase and xdatabases."),
            "scope": scope,
            "claimNames": _names("The claim's names, such as Database and databases. No claims without."),
            "connectionSecretKeys": array(
                string(), "The keys that a composite's connection Secret may have. All, if there are none here."
            ),
            "defaultCompositeDeletePolicy": delete_policy,
            "defaultCompositionRef": named(
                "The Composition of composites that choose none and select none.", of="The Composition"
            ),
            "defaultCompositionUpdatePolicy": enum(
                ["Automatic", "Manual"],
                "The compositionUpdatePolicy of composites that choose none. Automatic: they follow new revisions.",
                default="Automatic",
            ),
            "defaultCompositionRevisionSelector": _selector(),
            "enforcedCompositionRef": named(
                "The only Composition that composites of this kind can use.",
                of="The Composition",
                rules=[IMMUTABLE],
            ),
            "versions": array(_version(), "The versions of the API. Exactly one is referenceable."),
            "conversion": conversion(),
            "metadata": obj(
                {
                    "labels": strings("Labels of the CRDs."),
                    "annotations": strings("Annotations of the CRDs."),
                },
                "What the CRDs that follow from this definition carry.",
            ),
        },
        "The API that is declared.",
        required=["group", "names", "versions"],
        rules=[SAME_SCOPE, *LEGACY_ONLY],
    )


def _names(description: str) -> Schema:
    return obj(
        {
            "kind": string("In CamelCase, singular."),
            "plural": string("In lower case; part of the URL and, with the group, of the definition's name."),
            "singular": string("In lower case; the lower-case kind if absent."),
            "listKind": string("The kind of a list; <kind>List if absent."),
            "shortNames": array(string(), "Short names for kubectl."),
            "categories": array(string(), "Groups of kinds, for kubectl get <category>."),
        },
        description,
        required=["kind", "plural"],
        rules=[IMMUTABLE, *LOWER_CASE],
    )


def _selector() -> Schema:
    expression = obj(
        {
            "key": string("The label."),
            "operator": string("In, NotIn, Exists or DoesNotExist."),
            "values": array(string(), "The values to compare with."),
        },
        required=["key", "operator"],
    )
    return obj(
        {
            "matchLabels": strings("Labels that a revision must have."),
            "matchExpressions": array(expression, "Not supported: composites have matchLabels only."),
        },
        "The compositionRevisionSelector of composites that have neither that nor a revision.",
    )


def printed() -> Schema:
    """A printer column, as in a CustomResourceDefinition."""
    return obj(
        {
            "name": string("The column's heading."),
            "type": string("string, integer, number, boolean or date."),
            "jsonPath": string("The field that is shown, such as .spec.parameters.size."),
            "format": string("How the value is to be read."),
            "description": string("What is shown."),
            "priority": integer("Above 0: shown with -o wide only.", format="int32"),
        },
        required=["jsonPath", "name", "type"],
    )


def scale() -> Schema:
    """The subresource scale, as in a CustomResourceDefinition."""
    return obj(
        {
            "specReplicasPath": string("The field with the wanted number."),
            "statusReplicasPath": string("The field with the actual number."),
            "labelSelectorPath": string("The field with the selector."),
        },
        "Makes kubectl scale work.",
        required=["specReplicasPath", "statusReplicasPath"],
    )


def _version() -> Schema:
    return obj(
        {
            "name": string("The version, such as v1alpha1."),
            "served": boolean("Whether the API server serves it."),
            "referenceable": boolean("Whether Compositions are written for it; true for exactly one version."),
            "deprecated": boolean("Whether its users are warned."),
            "deprecationWarning": string("The warning.", maxLength=256),
            "schema": obj(
                {"openAPIV3Schema": free("OpenAPI v3: spec.properties are what users write, status what they see.")},
                "The shape of composites and claims. What Crossplane itself needs is added to it.",
            ),
            "additionalPrinterColumns": array(printed(), "Columns of kubectl get, before the standard ones."),
            "subresources": obj({"scale": scale()}, "Subresources beside status, which is always there."),
        },
        required=["name", "referenceable", "served"],
    )


def conversion() -> Schema:
    """How objects are converted, as in a CustomResourceDefinition."""
    service = obj(
        {
            "namespace": string("The service's namespace."),
            "name": string("The service's name."),
            "path": string("The path of the URL."),
            "port": integer("The port; 443 if absent.", format="int32"),
        },
        "A service in the cluster; or else url.",
        required=["name", "namespace"],
    )
    client = obj(
        {
            "url": string("Where the webhook is; or else service."),
            "service": service,
            "caBundle": string("The certificates to trust, PEM in base64.", format="byte"),
        },
        "How to reach the webhook.",
    )
    webhook = obj(
        {
            "clientConfig": client,
            "conversionReviewVersions": array(string(), "The review versions that it understands, the best first."),
        },
        "With strategy Webhook.",
        required=["conversionReviewVersions"],
    )
    return obj(
        {
            "strategy": string("None: versions differ in name only. Webhook: a webhook converts."),
            "webhook": webhook,
        },
        "How objects are converted between versions; copied to the CRDs.",
        required=["strategy"],
    )


def _status() -> Schema:
    kind = obj(
        {"apiVersion": string("Group and version."), "kind": string("The kind.")},
        required=["apiVersion", "kind"],
    )
    status = obj(
        {
            "conditions": conditions(),
            "controllers": obj(
                {"compositeResourceType": kind, "compositeResourceClaimType": kind},
                "The kinds that are being reconciled.",
            ),
        },
        "What has become of the definition.",
    )
    return unseen(status)
