"""What flows between a claim and its composite, in both directions.

Source: Crossplane v1.20, internal/controller/apiextensions/claim (server-side-apply syncer); from v2 the
stripping of all composite machinery, so that a claim with a permissive schema can't write it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from groundplane.core import gitops, health, requests, summary
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.naming import CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL
from groundplane.core.objects import (
    Json,
    Object,
    annotations_of,
    applied_by,
    controller_of,
    group_of,
    is_deleting,
    key_of,
    labels_of,
    meta,
    spec_of,
    status_of,
)

MANAGER = "apiextensions.crossplane.io/claim"  # field manager of what a claim wants in its composite
FINALIZER = "finalizer.apiextensions.crossplane.io"
BINDABLE_TO = "groundplane.io/bindable-to"  # annotation of a free composite: NAMESPACE/NAME or NAMESPACE/*
RESERVED_SUFFIXES = ("kubernetes.io", "k8s.io")  # of the part of a key before its first slash
OURS = frozenset(  # such parts, too: what they say of an object its reconciler says, and nobody who writes a claim
    {"crossplane.io", "groundplane.io"}
    | {
        f"{name}.crossplane.io"
        for name in (
            "apiextensions",
            "gotemplating.fn",
            "kubernetes",
            "managed",
            "meta",
            "ops",
            "pkg",
            "protection",
            "rbac",
            "render",
            "usage",
        )
    }
)

_CLAIM_MACHINERY = frozenset(
    {
        "compositionRef",
        "compositionSelector",
        "compositionRevisionRef",
        "compositionRevisionSelector",
        "compositionUpdatePolicy",
        "compositeDeletePolicy",
        "resourceRef",
        "writeConnectionSecretToRef",
        "publishConnectionDetailsTo",
    }
)
_COMPOSITE_MACHINERY = frozenset({"resourceRefs", "claimRef"})
MACHINERY = _CLAIM_MACHINERY | _COMPOSITE_MACHINERY
"""The fields of a claim's and of a composite's spec, of v1, that are no field of their definition."""
DELETE_POLICY, FOREGROUND = "compositeDeletePolicy", "Foreground"
_FLOWING_MACHINERY = ("compositionSelector", "compositionUpdatePolicy", "compositionRevisionSelector")
_OWN_STATUS = ("conditions", "connectionDetails", "claimConditionTypes")


def own_status(theirs: Collection[str] = ()) -> tuple[str, ...]:
    """The status that a claim and a composite do not share; `theirs`: the fields that the user's schema gives it."""
    ours = (health.GENERATION, requests.HANDLED, summary.FIELD)
    return (*_OWN_STATUS, *(name for name in ours if name not in theirs))


def reference_to(claim: Object) -> dict[str, str]:
    """The `claimRef` that binds a composite to this claim."""
    key = key_of(claim)
    return {"apiVersion": key.api_version, "kind": key.kind, "namespace": key.namespace, "name": key.name}


def tenant(obj: Object) -> str:
    """The namespace on whose behalf an object is there: its own, or that of the claim it was made for; "" if there is none."""
    claimed_by = spec_of(obj).get("claimRef") or {}
    return str(
        meta(obj).get("namespace") or claimed_by.get("namespace") or labels_of(obj).get(CLAIM_NAMESPACE_LABEL) or ""
    )


def reference_to_composite(api_version: str, kind: str, name: str) -> dict[str, str]:
    """The `resourceRef` that binds a claim to its composite."""
    return {"apiVersion": api_version, "kind": kind, "name": name}


def composite_from(
    claim: Object,
    composite: Object | None,
    *,
    api_version: str,
    kind: str,
    name: str,
    enforced: bool,
    strict_upstream: bool = False,
) -> Object:
    """What the claim wants of its composite: exactly the fields to be applied under `MANAGER`.

    `composite` is the one that exists, if any: its external name wins over the claim's, and its
    update policy decides whether the claim's revision flows.  `enforced`: the definition enforces a
    composition, so the claim's own choice does not flow.  What GitOps tools write on claims stays there, unless
    `strict_upstream`.
    """
    existing = composite or {}
    annotations = _flowing(annotations_of(claim), strict_upstream)
    if external_name := annotations_of(existing).get(EXTERNAL_NAME) or annotations_of(claim).get(EXTERNAL_NAME):
        annotations[EXTERNAL_NAME] = external_name
    reference = reference_to(claim) | {"apiVersion": api_version}  # the claim may still be read in an older version
    labels = _flowing(labels_of(claim), strict_upstream) | {
        CLAIM_NAME_LABEL: reference["name"],
        CLAIM_NAMESPACE_LABEL: reference["namespace"],
    }

    theirs = spec_of(claim)
    wanted = {
        field: copy.deepcopy(value)
        for field, value in theirs.items()
        if field not in _CLAIM_MACHINERY and field not in _COMPOSITE_MACHINERY
    }
    flowing = list(_FLOWING_MACHINERY)
    if not enforced:
        flowing.append("compositionRef")
    if spec_of(existing).get("compositionUpdatePolicy") == "Manual":
        flowing.append("compositionRevisionRef")
    wanted |= {field: copy.deepcopy(theirs[field]) for field in flowing if field in theirs}
    for field in _came_back(wanted, existing):
        del wanted[field]
    if _left_to_composite(wanted, existing):
        wanted["compositionRevisionRef"] = copy.deepcopy(spec_of(existing)["compositionRevisionRef"])
    wanted["claimRef"] = reference

    metadata: dict[str, Any] = {"name": name, "labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": wanted}


def precondition(composite: Object | None) -> dict[str, str]:
    """What the metadata of an apply says of the composite that was seen, so that it never takes another one.

    None was there: version "1", which no object has.  One that has no claim yet: exactly as it was seen, since two claims may
    want it.  One that is bound: that incarnation, whatever else was written meanwhile.
    """
    if composite is None:
        return {"resourceVersion": "1"}
    precondition = {"uid": meta(composite)["uid"]}
    if not spec_of(composite).get("claimRef"):
        precondition["resourceVersion"] = meta(composite)["resourceVersion"]
    return precondition


def _left_to_composite(wanted: Mapping[str, Json], composite: Object) -> bool:
    """Whether the claim once set the revision, and says nothing of it any more.

    To apply nothing would take away the name and leave an empty reference, which no schema takes: it stays until the
    composite chooses.
    """
    return (
        "compositionRevisionRef" not in wanted
        and "compositionRevisionRef" in applied_by(composite, MANAGER)
        and bool((spec_of(composite).get("compositionRevisionRef") or {}).get("name"))
    )


def _came_back(wanted: Mapping[str, Json], composite: Object) -> list[str]:
    """What the composite chose, and the claim has only taken over: applying it would change its ownership and nothing else."""
    applied = applied_by(composite, MANAGER)
    return [
        field
        for field in (*_FLOWING_MACHINERY, "compositionRef")
        if applied and field in wanted and field not in applied and wanted[field] == spec_of(composite).get(field)
    ]


def claim_from(claim: Object, composite: Object, *, enforced: bool, strict_upstream: bool = False) -> Object:
    """The claim with what flows back from its composite's metadata and spec; the input is not changed.

    `strict_upstream`: as v1.20, where no selector of revisions does, so that a claim can take its own back.
    """
    result = copy.deepcopy(claim)
    spec = result.setdefault("spec", {})
    theirs = spec_of(composite)
    key = key_of(composite)
    spec["resourceRef"] = reference_to_composite(key.api_version, key.kind, key.name)

    if external_name := annotations_of(composite).get(EXTERNAL_NAME):
        result["metadata"].setdefault("annotations", {})[EXTERNAL_NAME] = external_name
    if "compositionRef" in theirs and (enforced or "compositionRef" not in spec):
        spec["compositionRef"] = copy.deepcopy(theirs["compositionRef"])
    if not strict_upstream and "compositionRevisionSelector" in theirs and "compositionRevisionSelector" not in spec:
        spec["compositionRevisionSelector"] = copy.deepcopy(theirs["compositionRevisionSelector"])
    # the composite may still have to learn that the claim pins one: what a person has chosen is not overwritten by what came in between
    is_pinned = spec.get("compositionUpdatePolicy") == "Manual" and spec.get("compositionRevisionRef")
    if theirs.get("compositionUpdatePolicy") == "Automatic" and "compositionRevisionRef" in theirs and not is_pinned:
        spec["compositionRevisionRef"] = copy.deepcopy(theirs["compositionRevisionRef"])
    return result


def status_from(claim: Object, composite: Object, fields: Collection[str] = ()) -> dict[str, Any]:
    """The claim's status: the composite's, but for what is each one's own.

    A composite without any status yet leaves the claim's as it is.  `fields`: those that the user's schema gives it.
    """
    own, counted = own_status(fields), health.GENERATION not in fields
    mine = status_of(claim)
    theirs = status_of(composite)
    if not theirs or (counted and theirs == {health.GENERATION: health.UNSEEN}):
        return copy.deepcopy(mine)
    result = {field: copy.deepcopy(value) for field, value in theirs.items() if field not in own}
    result |= {field: copy.deepcopy(mine[field]) for field in own if field in mine}
    return result


def is_bound_to(claim: Object, composite: Object) -> bool:
    """Whether the composite's claimRef names this claim: in whatever version, which may change under both."""
    return _identity(spec_of(composite).get("claimRef") or {}) == _identity(reference_to(claim))


def is_bound_elsewhere(claim: Object, composite: Object) -> bool:
    """Whether the composite has a claimRef, and to another claim than this one."""
    return bool(spec_of(composite).get("claimRef")) and not is_bound_to(claim, composite)


def _identity(reference: Mapping[str, str]) -> tuple[str, ...]:
    group = group_of(reference.get("apiVersion") or "")
    return (group, *(reference.get(name) or "" for name in ("kind", "namespace", "name")))


def refusal(claim: Object, composite: Object, static_binding: str) -> tuple[str, str] | None:
    """Why this claim may not have that composite, and the mend; None if it may.

    `static_binding` rules over composites that no claim has yet: "free", "marked" or "never".
    """
    mend = "clear spec.resourceRef of this claim, or name a composite that is free"
    if controller := controller_of(composite):
        return f'it belongs to {controller.get("kind")} "{controller.get("name")}"', mend
    if is_bound_elsewhere(claim, composite):
        other = spec_of(composite)["claimRef"]
        name, namespace = other.get("name"), other.get("namespace")
        return f'it is bound to {other.get("kind")} "{name}" in namespace "{namespace}"', mend
    if is_bound_to(claim, composite):
        return None
    if is_deleting(composite):
        return "it is being deleted", mend
    if static_binding == "never":
        return "claims may not take composites that are there already (--static-binding=never)", mend
    own = key_of(claim)
    if static_binding == "marked" and annotations_of(composite).get(BINDABLE_TO) not in (
        f"{own.namespace}/{own.name}",
        f"{own.namespace}/*",
    ):
        return (
            f"it is not marked for this claim, which --static-binding=marked asks for (annotation {BINDABLE_TO})",
            f'have the composite annotated {BINDABLE_TO}: "{own.namespace}/{own.name}", or clear spec.resourceRef',
        )
    return None


def _flowing(entries: dict[str, str], strict_upstream: bool) -> dict[str, str]:
    """Without keys whose prefix is Kubernetes' own (a plain text suffix, as upstream has it), Crossplane's, ours or a GitOps tool's."""
    if not strict_upstream:
        entries = gitops.without_tools(entries)
    prefixes = {key: key.partition("/")[0] for key in entries}
    return {
        key: value
        for key, value in entries.items()
        if not prefixes[key].endswith(RESERVED_SUFFIXES) and prefixes[key] not in OURS
    }
