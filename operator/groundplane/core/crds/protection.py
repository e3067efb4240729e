"""Usages: what keeps an object from being deleted.

`apiextensions.crossplane.io` Usage (v1, cluster-scoped; stored as v1alpha1, as v1.20 does) and
`protection.crossplane.io` Usage and ClusterUsage (v2).
"""

from __future__ import annotations

from groundplane.core.crds.build import crd, version
from groundplane.core.crds.composition import GROUP as LEGACY_GROUP
from groundplane.core.objects import Object
from groundplane.core.openapi import (
    AGE,
    Schema,
    boolean,
    column,
    condition_column,
    conditions,
    named,
    obj,
    root,
    string,
    strings,
    unseen,
)

GROUP = "protection.crossplane.io"
BY_OR_REASON = ("has(self.by) || has(self.reason)", 'either "spec.by" or "spec.reason" must be specified.')
REF_OR_SELECTOR = (
    "has(self.resourceRef) || has(self.resourceSelector)",
    "either a resource reference or a resource selector should be set.",
)
COLUMNS = (
    column("DETAILS", r".metadata.annotations.crossplane\.io/usage-details"),
    condition_column("READY", "Ready"),
    AGE,
)


def crds() -> list[Object]:
    """The three kinds of usage."""
    across = _usage(namespaces=True)
    plain = _usage(namespaces=False)
    legacy = [version(name, plain, COLUMNS) for name in ("v1alpha1", "v1beta1")]
    return [
        crd(LEGACY_GROUP, "Usage", legacy),
        crd(GROUP, "Usage", [version("v1beta1", across, COLUMNS)], scope="Namespaced"),
        crd(GROUP, "ClusterUsage", [version("v1beta1", plain, COLUMNS)]),
    ]


def _usage(*, namespaces: bool) -> Schema:
    spec = obj(
        {
            "of": _resource("What is in use, and must not be deleted.", namespaces=namespaces),
            "by": _resource("What uses it. The usage goes when this goes.", namespaces=False),
            "reason": string("Why it must stay, if nothing in the cluster uses it."),
            "replayDeletion": boolean("Delete the used object once the usage is gone, if somebody tried before."),
        },
        "What is protected, and why.",
        required=["of"],
        rules=[BY_OR_REASON],
    )
    return root(
        "A usage keeps an object from being deleted while another one needs it, or until it is removed.",
        spec=spec,
        status=unseen(obj({"conditions": conditions()}, "Whether the protection is in place.")),
    )


def _resource(description: str, *, namespaces: bool) -> Schema:
    ref = named("The object, by name; filled in if a selector is given.", of="The object")
    selector = obj(
        {
            "matchLabels": strings("Labels that the object must have."),
            "matchControllerRef": boolean("Only objects with the same controller as the usage."),
        },
        "Chooses the object, once: the first that fits.",
    )
    if namespaces:
        for schema in (ref, selector):
            schema["properties"]["namespace"] = string("Its namespace, if that is not the usage's own.")
    return obj(
        {
            "apiVersion": string("The object's API version."),
            "kind": string("The object's kind."),
            "resourceRef": ref,
            "resourceSelector": selector,
        },
        description,
        rules=[REF_OR_SELECTOR],
    )
