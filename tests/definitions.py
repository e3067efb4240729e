"""Definitions (XRDs) as most tests need them: one version, and the fields that the test is about."""

from __future__ import annotations


def definition(kind, group, *, spec=None, status=None, claim="", scope="", version="v1", **more):
    """The definition of a kind; of Crossplane v2 if it has a `scope`.

    `spec` and `status` are properties of the schema, by name; `claim` the claim's kind; `more` goes into the definition's spec.
    """
    plural = f"{kind.lower()}s"
    properties = {
        part: {"type": "object", "properties": fields}
        for part, fields in (("spec", spec), ("status", status))
        if fields is not None
    }
    schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    claims = {"claimNames": {"kind": claim, "plural": f"{claim.lower()}s"}} if claim else {}
    return {
        "apiVersion": f"apiextensions.crossplane.io/{'v2' if scope else 'v1'}",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            **({"scope": scope} if scope else {}),
            "group": group,
            "names": {"kind": kind, "plural": plural},
            **claims,
            **more,
            "versions": [{"name": version, "served": True, "referenceable": True, "schema": schema}],
        },
    }
