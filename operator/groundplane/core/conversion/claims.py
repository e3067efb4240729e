"""A claim as the composite that a control plane would make of it, for whoever works without one."""

from __future__ import annotations

from groundplane.core import claim as claims
from groundplane.core.naming import CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL, COMPOSITE_LABEL
from groundplane.core.objects import Object, group_of, labels_of, meta
from groundplane.errors import InvalidInput


def composite(claim: Object, name: str, *, kind: str = "", direct: bool = False) -> Object:
    """The composite of that name; `direct`: one that no claim is bound to.  Without `kind` it is the claim's behind an X.

    >>> claim = {"apiVersion": "a.b/v1", "kind": "App", "metadata": {"name": "x", "namespace": "team"}, "spec": {"size": 1}}
    >>> composite(claim, "x", direct=True)
    {'apiVersion': 'a.b/v1', 'kind': 'XApp', 'metadata': {'name': 'x'}, 'spec': {'size': 1}}

    Raises:
        InvalidInput: it has no name, or no spec, or is of a kind that no claim is of.
    """
    group = group_of(claim["apiVersion"])
    if "." not in group or group == "crossplane.io" or group.endswith(".crossplane.io"):
        raise InvalidInput(f"{claim['kind']} of {claim['apiVersion']} is no claim", mend="name a file with one claim")
    if not meta(claim).get("name"):
        raise InvalidInput("the claim has no name", mend="write metadata: {name: …}")
    if not isinstance(claim.get("spec"), dict):
        raise InvalidInput("the claim has no spec", mend="write spec: {…}")
    if "crossplane" in claim["spec"]:
        raise InvalidInput(
            "it has spec.crossplane: it is a composite of v2, and no claim", mend="name a file with one claim"
        )
    made = claims.composite_from(
        claim, None, api_version=claim["apiVersion"], kind=kind or f"X{claim['kind']}", name=name, enforced=False
    )
    own = {CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL} if direct else set()
    own.add(COMPOSITE_LABEL)
    labels = {label: value for label, value in labels_of(made).items() if label not in own}
    made["metadata"] = {**made["metadata"], "labels": labels}
    if not labels:
        del made["metadata"]["labels"]
    if direct:
        del made["spec"]["claimRef"]
    return made
