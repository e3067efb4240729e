"""What flows between a claim and its composite, in both directions.

Source: Crossplane v1.20, internal/controller/apiextensions/claim (server-side-apply syncer); from v2 the
stripping of all composite machinery, so that a claim with a permissive schema can't write it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from groundplane.core.objects import Json, Object, annotations_of, applied_by, key_of, labels_of, spec_of, status_of

MANAGER = "apiextensions.crossplane.io/claim"  # field manager of what a claim wants in its composite
FINALIZER = "finalizer.apiextensions.crossplane.io"
EXTERNAL_NAME = "crossplane.io/external-name"
CLAIM_NAME = "crossplane.io/claim-name"
CLAIM_NAMESPACE = "crossplane.io/claim-namespace"
RESERVED_SUFFIXES = ("kubernetes.io", "k8s.io")  # of the part of a key before its first slash

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
_FLOWING_MACHINERY = ("compositionSelector", "compositionUpdatePolicy", "compositionRevisionSelector")
OWN_STATUS = (
    "conditions",
    "connectionDetails",
    "claimConditionTypes",
)  # the status that a claim and a composite do not share


def reference_to(claim: Object) -> dict[str, str]:
    """The `claimRef` that binds a composite to this claim."""
    key = key_of(claim)
    return {"apiVersion": key.api_version, "kind": key.kind, "namespace": key.namespace, "name": key.name}


def reference_to_composite(api_version: str, kind: str, name: str) -> dict[str, str]:
    """The `resourceRef` that binds a claim to its composite."""
    return {"apiVersion": api_version, "kind": kind, "name": name}


def composite_from(
    claim: Object, composite: Object | None, *, api_version: str, kind: str, name: str, enforced: bool
) -> Object:
    """What the claim wants of its composite: exactly the fields to be applied under `MANAGER`.

    `composite` is the one that exists, if any: its external name wins over the claim's, and its
    update policy decides whether the claim's revision flows.  `enforced`: the definition enforces a
    composition, so the claim's own choice does not flow.
    """
    existing = composite or {}
    annotations = _flowing(annotations_of(claim))
    if external_name := annotations_of(existing).get(EXTERNAL_NAME):
        annotations[EXTERNAL_NAME] = external_name
    reference = reference_to(claim)
    labels = _flowing(labels_of(claim)) | {
        CLAIM_NAME: reference["name"],
        CLAIM_NAMESPACE: reference["namespace"],
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
    wanted["claimRef"] = reference

    metadata: dict[str, Any] = {"name": name, "labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": wanted}


def _came_back(wanted: Mapping[str, Json], composite: Object) -> list[str]:
    """What the composite chose, and the claim has only taken over: applying it would change its ownership and nothing else."""
    applied = applied_by(composite, MANAGER)
    return [
        field
        for field in (*_FLOWING_MACHINERY, "compositionRef")
        if applied and field in wanted and field not in applied and wanted[field] == spec_of(composite).get(field)
    ]


def claim_from(claim: Object, composite: Object, *, enforced: bool) -> Object:
    """The claim with what flows back from its composite's metadata and spec; the input is not changed."""
    result = copy.deepcopy(claim)
    spec = result.setdefault("spec", {})
    theirs = spec_of(composite)
    key = key_of(composite)
    spec["resourceRef"] = reference_to_composite(key.api_version, key.kind, key.name)

    if external_name := annotations_of(composite).get(EXTERNAL_NAME):
        result["metadata"].setdefault("annotations", {})[EXTERNAL_NAME] = external_name
    if "compositionRef" in theirs and (enforced or "compositionRef" not in spec):
        spec["compositionRef"] = copy.deepcopy(theirs["compositionRef"])
    if "compositionRevisionSelector" in theirs and "compositionRevisionSelector" not in spec:
        spec["compositionRevisionSelector"] = copy.deepcopy(theirs["compositionRevisionSelector"])
    if theirs.get("compositionUpdatePolicy") == "Automatic" and "compositionRevisionRef" in theirs:
        spec["compositionRevisionRef"] = copy.deepcopy(theirs["compositionRevisionRef"])
    return result


def status_from(claim: Object, composite: Object) -> dict[str, Any]:
    """The claim's status: the composite's, but for what is each one's own.

    A composite without any status yet leaves the claim's as it is.
    """
    mine = status_of(claim)
    theirs = status_of(composite)
    if not theirs:
        return copy.deepcopy(mine)
    result = {field: copy.deepcopy(value) for field, value in theirs.items() if field not in OWN_STATUS}
    result |= {field: copy.deepcopy(mine[field]) for field in OWN_STATUS if field in mine}
    return result


def is_bound_elsewhere(claim: Object, composite: Object) -> bool:
    """Whether the composite has a claimRef, and to another claim than this one."""
    reference = spec_of(composite).get("claimRef")
    return bool(reference) and reference != reference_to(claim)


def _flowing(entries: dict[str, str]) -> dict[str, str]:
    """Without keys whose prefix is Kubernetes' own: a plain text suffix, as upstream has it."""
    return {key: value for key, value in entries.items() if not key.partition("/")[0].endswith(RESERVED_SUFFIXES)}
