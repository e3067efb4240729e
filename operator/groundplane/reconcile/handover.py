"""What was written by plain updates becomes what is applied: so that it can go when it is applied no longer.

A field that a plain update wrote stays its writer's, and stays when nobody applies it any more.  So it is where a composition of mode
Resources becomes a pipeline, and with what an older Crossplane wrote.  Before the first apply our entry in managedFields goes
to another manager, and is taken out after it.  Each step can be repeated after a crash: managedFields tell where we are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from groundplane import ports
from groundplane.core.objects import Json, Object, key_of, meta
from groundplane.errors import Conflict
from groundplane.ports import Context

Subresource = Literal["", "status"]
MANAGER = "groundplane.io/handover"  # owns, for a moment, what we wrote by plain updates
_WRITTEN = {"manager": ports.MANAGER, "operation": "Update"}
_HANDED = {"manager": MANAGER, "operation": "Apply"}


def has_applied(obj: Object, manager: str, subresource: Subresource = "") -> bool:
    """Whether a manager (or one whose name starts so) has applied this object."""
    return any(
        entry.get("operation") == "Apply"
        and entry.get("manager", "").startswith(manager)
        and entry.get("subresource", "") == subresource
        for entry in meta(obj).get("managedFields") or ()
    )


def is_under_way(obj: Object, subresource: Subresource = "") -> bool:
    """Whether it was begun, and not ended."""
    return has_applied(obj, MANAGER, subresource)


async def begin(context: Context, obj: Object, manager: str, subresource: Subresource = "") -> Object:
    """Before an apply of `manager`, if it is its first one: nothing is owned by a plain update of ours."""
    if has_applied(obj, manager, subresource) or is_under_way(obj, subresource):
        return obj
    return await _edited(context, obj, _WRITTEN, subresource, _HANDED)


async def end(context: Context, obj: Object, subresource: Subresource = "") -> Object:
    """After it: nobody owns any more what was handed over and is not applied."""
    if not is_under_way(obj, subresource):
        return obj
    return await _edited(context, obj, _HANDED, subresource, None)


async def _edited(
    context: Context,
    obj: Object,
    wanted: Mapping[str, str],
    subresource: Subresource,
    changes: Mapping[str, str] | None,
) -> Object:
    """The object with one entry of its managedFields changed, or taken out; as it is if there is no such entry.

    Raises Conflict if it is no longer as it was seen.
    """
    key = key_of(obj)
    live = await context.cluster.get(key, live=True)  # what is read from a cache lacks the entries of plain updates
    if live and meta(live)["resourceVersion"] != meta(obj)["resourceVersion"]:
        raise Conflict(f"{key} has changed meanwhile")
    for index, entry in enumerate(meta(live or {}).get("managedFields") or ()):
        if entry.get("subresource", "") == subresource and wanted.items() <= entry.items():
            place = f"/metadata/managedFields/{index}"
            version = meta(obj)["resourceVersion"]
            patch: list[dict[str, Json]] = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}]
            if changes is None:
                patch.append({"op": "remove", "path": place})
            for name, value in (changes or {}).items():
                patch.append({"op": "replace", "path": f"{place}/{name}", "value": value})
            return await context.cluster.patch(key, patch)
    return obj
