"""ManagedResourceDefinition ↔ CustomResourceDefinition: the one is the other, with a state and connection details.

Source: Crossplane v2.3, internal/controller/apiextensions/managed/crd.go: fields, their order, the owner.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from groundplane.core.activation import DEFINITION, VERSION
from groundplane.core.crds.marks import DIGITS, MARK
from groundplane.core.objects import (
    Json,
    Object,
    annotations_of,
    controller_of,
    is_of_predecessor,
    meta,
    owner_reference,
    spec_of,
)
from groundplane.errors import InvalidInput

CRD_VERSION, CRD_KIND = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
MANAGER = "apiextensions.crossplane.io/managed"
LAYOUT = "1"  # of what is made here from the same CustomResourceDefinition; another one is written anew


def crd_of(definition: Object, live: Object | None) -> Object:
    """The CustomResourceDefinition to apply for a managed definition, where `live` is there now.

    Whoever controls it already stays its controller: a provider's revision does, where an earlier Crossplane made both.

    Raises:
        InvalidInput: it is somebody else's, or the definition names another kind than its own.
    """
    name, spec = meta(definition)["name"], spec_of(definition)
    kind = f"{(spec.get('names') or {}).get('plural')}.{spec.get('group')}"
    if kind != name:
        raise InvalidInput(f"{name} declares {kind}", mend=f"give it the name {kind}")
    wanted: dict[str, Json] = {
        field: spec[field] for field in ("group", "names", "scope", "conversion") if field in spec
    }
    if spec.get("preserveUnknownFields"):
        wanted["preserveUnknownFields"] = True
    versions = [_version(each) for each in spec.get("versions") or ()]
    wanted["versions"] = sorted(versions, key=lambda each: str(each.get("name")))
    return {
        "apiVersion": CRD_VERSION,
        "kind": CRD_KIND,
        "metadata": {"name": name, "ownerReferences": _owners(definition, live)},
        "spec": wanted,
    }


def _version(found: Mapping[str, Json]) -> dict[str, Json]:
    """Without what says nothing: the API server leaves it out, too."""
    return {
        name: value
        for name, value in found.items()
        if value not in (None, [], "") and (name, value) != ("deprecated", False)
    }


def _owners(definition: Object, live: Object | None) -> list[dict[str, Any]]:
    controller = controller_of(live) if live else None
    if (
        controller is None
        or is_of_predecessor(live or {}, definition)
        or controller.get("uid") == meta(definition)["uid"]
    ):
        return [owner_reference(definition)]
    if controller.get("uid") != (controller_of(definition) or {}).get("uid"):
        raise InvalidInput(
            f"CustomResourceDefinition {meta(definition)['name']} belongs to {controller.get('kind')} {controller.get('name')}",
            mend="delete this definition, or the other one",
        )
    return [owner_reference(definition, controller=False), controller]


def definition_of(crd: Object, details: Sequence[Mapping[str, str]], *, mark: str, state: str) -> Object:
    """The managed definition of a kind that is built in."""
    return {
        "apiVersion": VERSION,
        "kind": DEFINITION,
        "metadata": {"name": meta(crd)["name"], "annotations": {MARK: mark}},
        "spec": {**crd["spec"], **({"connectionDetails": list(details)} if details else {}), "state": state},
    }


def mark_of(crd_mark: str, details: Sequence[Mapping[str, str]]) -> str:
    """The mark of a managed definition, by that of its CustomResourceDefinition: nothing need be read to know what is current.

    >>> mark_of("1.0.0-aaaaaaaaaaaa", []) == mark_of("1.0.0-aaaaaaaaaaaa", [{"name": "host", "description": "Where it is."}])
    False
    """
    version, _, digest = crd_mark.rpartition("-")
    text = json.dumps([LAYOUT, digest, list(details)], sort_keys=True, separators=(",", ":"))
    return f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"


def is_built_in(definition: Object) -> bool:
    """Whether it is one of ours: its CustomResourceDefinition is brought as our others are, and stays when it goes."""
    return MARK in annotations_of(definition)
