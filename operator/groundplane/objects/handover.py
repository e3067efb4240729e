"""The handover of an object that provider-kubernetes has written by plain updates to who applies it.

A field that was written so stays its writer's, and stays when the manifest has it no more.  So its fields are made an applier's first, and
what nobody applies then goes with that applier.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from groundplane.core.objects import Key, Object, key_of, meta
from groundplane.errors import Rejected
from groundplane.ports import Cluster

WROTE = "crossplane-kubernetes-provider"  # as whom provider-kubernetes wrote before it applied server-side
HANDOVER = "groundplane.io/handover"  # owns for a moment what was written so


def written(live: Object) -> int | None:
    """The place in managedFields of what plain updates of provider-kubernetes own, or of its handover."""
    owners = ((WROTE, "Update"), (HANDOVER, "Apply"))
    entries = enumerate(meta(live).get("managedFields") or ())
    found = (
        i
        for i, each in entries
        if (each.get("manager"), each.get("operation")) in owners and not each.get("subresource")
    )
    return next(found, None)


async def begin(key: Key, target: Cluster) -> None:
    """Have it owned by an applier, who can give it up.  Raises Conflict if the object changes meanwhile."""
    live = await target.get(key, live=True)
    place = written(live) if live else None
    if live is None or place is None:
        return
    entry = f"/metadata/managedFields/{place}"
    changes = {"manager": HANDOVER, "operation": "Apply"}.items()
    edits = [{"op": "replace", "path": f"{entry}/{name}", "value": value} for name, value in changes]
    await target.patch(key, [_as_seen(live), *edits])


async def end(made: Object, target: Cluster) -> Object:
    """What nobody applies goes, with who owned it for a moment; what the server does not let go stays, and nobody owns it."""
    key = key_of(made)
    metadata = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
    nothing = {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata}
    with suppress(Rejected):
        made = await target.apply(nothing, manager=HANDOVER)
    left = [
        place for place, each in enumerate(meta(made).get("managedFields") or ()) if each.get("manager") == HANDOVER
    ]
    edits = [{"op": "remove", "path": f"/metadata/managedFields/{place}"} for place in reversed(left)]
    return await target.patch(key, [_as_seen(made), *edits]) if edits else made


def _as_seen(obj: Object) -> dict[str, Any]:
    return {"op": "test", "path": "/metadata/resourceVersion", "value": meta(obj)["resourceVersion"]}
