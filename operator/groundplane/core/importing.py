"""Manifests for what was there before its object: how `groundplane import` writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import Json, Object

LOOK = ("Observe",)
ALL_BUT_DELETE = ("Observe", "Create", "Update", "LateInitialize")
LONGEST = 200  # characters of an object's name that is made of an external one


@dataclass(frozen=True)
class How:
    """How manifests are written."""

    region: str = ""
    namespace: str = ""  # "": of the cluster-scoped generation
    provider_config: str = ""
    adopt: bool = False  # they are to be held to, not only looked at
    given: Mapping[str, Json] = field(default_factory=dict)  # fields that a list, or each thing, needs

    def manifest(
        self, api_version: str, kind: str, name: str, external_name: str, for_provider: Mapping[str, Json]
    ) -> Object:
        """An object that stands for the thing of that external name, and leaves it there when it goes itself."""
        spec: Object = {}
        if not self.adopt:
            spec["managementPolicies"] = list(LOOK)
        elif self.namespace:
            spec["managementPolicies"] = list(ALL_BUT_DELETE)
        if not self.namespace:
            spec["deletionPolicy"] = "Orphan"
        if self.provider_config:
            kinds = {"kind": "ClusterProviderConfig"} if self.namespace else {}
            spec["providerConfigRef"] = {**kinds, "name": self.provider_config}
        found: Object = {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": name, "annotations": {EXTERNAL_NAME: external_name} if external_name else {}},
            "spec": {**spec, "forProvider": dict(for_provider)},
        }
        if self.namespace:
            found["metadata"]["namespace"] = self.namespace
        return found


def name_like(text: str) -> str:
    """A name that an object may have, near to what people call the thing.

    >>> name_like("Main VPC"), name_like("_._")
    ('main-vpc', 'imported')
    """
    plain = re.sub(r"[^a-z0-9.-]+", "-", text.lower())[:LONGEST]
    return re.sub(r"[.-]*\.[.-]*", ".", plain).strip(".-") or "imported"
