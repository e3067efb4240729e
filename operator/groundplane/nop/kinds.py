"""The two kinds, NopResource and ClusterNopResource, and their definitions.

Source: crossplane-contrib/provider-nop, v0.4 (NopResource is cluster-scoped) and main (it lives in a namespace, beside ClusterNopResource).
"""

from __future__ import annotations

from typing import Any

from groundplane.core.crds import bricks
from groundplane.core.objects import Object
from groundplane.core.openapi import array, enum, free, handled_request, obj, string, unseen
from groundplane.ports import ManagedKind

API_VERSION = "nop.crossplane.io/v1alpha1"
NOP, CLUSTER_NOP = "NopResource", "ClusterNopResource"
KINDS = {
    kind: ManagedKind(
        api_versions=(API_VERSION,),
        kind=kind,
        plural=f"{kind.lower()}s",
        external_name="name",
        regional=False,
        repeatable=True,
        namespaced=kind == NOP,
        cloud="provider-nop",
        consistent=True,
    )
    for kind in (NOP, CLUSTER_NOP)
}


def crds(*, cluster_scoped: bool = False) -> list[Object]:
    """Both definitions; `cluster_scoped` is the NopResource of manifests for v0.4."""
    return [crd(NOP, namespaced=not cluster_scoped), crd(CLUSTER_NOP, namespaced=False)]


def crd(kind: str, *, namespaced: bool) -> Object:
    """The definition of one of the kinds, in this scope."""
    group, _, version = API_VERSION.partition("/")
    synced, ready, age = (bricks.MANAGED_COLUMNS[place] for place in (0, 1, 3))
    made = bricks.version(version, schema(namespaced=namespaced), [ready, synced, age])
    scope = "Namespaced" if namespaced else "Cluster"
    return bricks.crd(group, kind, f"{kind.lower()}s", [made], categories=["crossplane", "managed", "nop"], scope=scope)


def schema(*, namespaced: bool) -> dict[str, Any]:
    """Of an object of either kind."""
    condition = obj(
        {
            "time": string("How long after the object's creation: 10s, 1h30m."),
            "conditionType": string("Of the condition: Ready."),
            "conditionStatus": enum(["True", "False", "Unknown"], "Of the condition."),
            "conditionReason": string("Of the condition."),
        },
        required=["time", "conditionType", "conditionStatus"],
    )
    detail = obj(
        {"name": string("The key."), "value": string("What the Secret holds under it.")}, required=["name", "value"]
    )
    asked = obj(
        {
            "conditionAfter": array(condition, "Conditions, and when they are set."),
            "connectionDetails": array(detail, "What the connection Secret gets."),
            "deleteAfter": string("How long the deletion takes: 10s."),
            "deleteError": string("The text with which the deletion fails."),
            "fields": free("Anything. Nobody looks at it."),
        }
    )
    managed = bricks.namespaced_fields() if namespaced else bricks.cluster_fields(strict_upstream=False)
    spec = bricks.obj({**managed, **bricks.policies(), "forProvider": asked}, required=["forProvider"])
    status = bricks.obj(
        {
            "atProvider": obj({"fields": free("Nobody writes it but you.")}),
            "conditions": bricks.conditions(),
            "lastHandledReconcileAt": handled_request(),
        }
    )
    text = f"A resource that stands for nothing{'' if namespaced else ', in no namespace'}."
    return {**bricks.root(spec, unseen(status)), "description": text}
