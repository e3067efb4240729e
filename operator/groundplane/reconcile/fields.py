"""Fields of a managed resource's spec that we fill in: server-side apply, and nothing that we own is ever dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core import managed as rules
from groundplane.core.objects import Json, Object, key_of
from groundplane.ports import Context


async def apply(managed: Object, spec: Mapping[str, Json], manager: str, context: Context) -> Object:
    """Write fields of spec as one of our managers, along with what it wrote before; the object as it is then.

    Applying by a manager of its own means that whoever applies the rest of the spec (a composition, a
    GitOps tool) neither meets a conflict nor removes these fields.
    """
    key = key_of(managed)
    metadata: dict[str, Any] = {"name": key.name}
    if key.namespace:
        metadata["namespace"] = key.namespace
    wanted = {
        "apiVersion": key.api_version,
        "kind": key.kind,
        "metadata": metadata,
        "spec": rules.overlaid(rules.applied_by(managed, manager), spec),
    }
    return await context.cluster.apply(wanted, manager=manager)
