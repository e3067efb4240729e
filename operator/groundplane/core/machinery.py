"""The fields of composites and claims that are ours, as schemas, and how the user's schema goes with them.

With `strict_upstream` those of a legacy composite or claim are exactly Crossplane v1.20's; without, there are a few more.

Source: Crossplane v1.20 and v2.0, internal/xcrd/schemas.go, and CRDs recorded from v1.20.11.
"""

from __future__ import annotations

from collections.abc import Iterable

from groundplane.core import health, requests, summary
from groundplane.core.definition import Definition
from groundplane.core.objects import Json, mapping
from groundplane.core.openapi import (
    Schema,
    array,
    conditions,
    enum,
    handled_request,
    named,
    obj,
    seen_generation,
    string,
    strings,
    time,
)

OF_STATUS = (
    "description",
    "required",
    "oneOf",
    "x-kubernetes-validations",
    "properties",
)  # what is copied of a user's status
OF_SPEC = (*OF_STATUS, "x-kubernetes-preserve-unknown-fields")  # and of a user's spec


def merged(user: Json, ours: Schema, copied: Iterable[str]) -> Schema:
    """The user's schema of a spec or a status with our fields put over its own; of its other words those that are `copied`."""
    user = mapping(user)
    result: Schema = {"type": "object"}
    result |= {name: user[name] for name in copied if user.get(name)}
    if ours:
        result["properties"] = {**mapping(result.get("properties")), **ours}
    return result


def composite_spec(known: Definition, *, strict_upstream: bool) -> Schema:
    """Our fields of a composite's spec: in `spec.crossplane`, or in a legacy one beside the user's."""
    names = ["apiVersion", "kind", "name"]
    if known.scope == "Cluster" or (known.is_legacy and not strict_upstream):
        names.append("namespace")
    references = array(
        obj({name: string() for name in names}, required=["apiVersion", "kind"]),
        "The composed resources that exist or are being made.",
        **{"x-kubernetes-list-type": "atomic"},
    )
    found = {**_selection(known), "resourceRefs": references}
    if not known.is_legacy:
        return {"crossplane": obj(found, "Configures how Crossplane will reconcile this composite resource")}
    found["claimRef"] = _reference(
        ["apiVersion", "kind", "namespace", "name"], "The claim that this composite belongs to."
    )
    found["writeConnectionSecretToRef"] = _reference(
        ["name", "namespace"], "The Secret that the connection details are written to."
    )
    found["publishConnectionDetailsTo"] = _publish_to()
    return found


def claim_spec(known: Definition) -> Schema:
    """Our fields of a claim's spec."""
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


def status(known: Definition, *, strict_upstream: bool, is_composite: bool) -> Schema:
    """Our fields of the status, of a composite or of a claim."""
    legacy = known.is_legacy
    found = {"conditions": conditions(observed_generation=not (legacy and strict_upstream))}
    if not strict_upstream and not known.has_own_generation:
        found[health.GENERATION] = seen_generation()
    if not strict_upstream and is_composite and not known.has_own_request:
        found[requests.HANDLED] = handled_request()
    if not strict_upstream and not known.has_own_summary:
        found[summary.FIELD] = summary.schema()
    if legacy:
        published = time("When the connection Secret last changed.")
        found["connectionDetails"] = obj({"lastPublishedTime": published})
        found["claimConditionTypes"] = array(
            string(), "Types of conditions that the claim shows too.", **{"x-kubernetes-list-type": "set"}
        )
    return found


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
