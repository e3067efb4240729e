"""The CRDs of core's own kinds: one module per API group.

Source: the CRDs of Crossplane v1.20 and v2.0 (names, types, defaults, enums, rules); the descriptions are ours.
"""

from __future__ import annotations

from groundplane.core.crds import apiextensions, composition, managed, operations, packages, protection
from groundplane.core.objects import Object


def crds() -> list[Object]:
    """All of core's CustomResourceDefinitions, ready to be applied; fresh copies, the caller's to change."""
    groups = (apiextensions, composition, managed, operations, packages, protection)
    found = [crd for group in groups for crd in group.crds()]
    return sorted(found, key=lambda crd: str(crd["metadata"]["name"]))
