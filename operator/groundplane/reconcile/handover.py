"""What was written by plain updates becomes what is applied: so that it can go when it is applied no longer.

A field that a plain update wrote stays its writer's, and stays when nobody applies it any more.  So it is where a composition of mode
Resources becomes a pipeline, and with what an older Crossplane wrote.  Before the first apply our entries in managedFields, one for each version in
which we wrote, go to another manager as one, which is taken out after it.  Each step can be repeated after a crash: managedFields tell where we are.
Crossplane's own way there has the API server give everything to `before-first-apply`, and takes that entry out: where it was killed in between, it is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from groundplane import ports
from groundplane.core.objects import Json, Object, key_of, meta
from groundplane.errors import Conflict
from groundplane.ports import Context

Subresource = Literal["", "status"]
MANAGER = "groundplane.io/handover"  # owns, for a moment, what we wrote by plain updates
_WRITTEN = {"manager": ports.MANAGER, "operation": "Update"}
_HANDED = {"manager": MANAGER, "operation": "Apply"}
_UNTRACKED = {"manager": ports.UNTRACKED, "operation": "Update"}


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
    """Before an apply of `manager`, if it is its first one: nothing is owned by a plain update of ours.

    If it is not: nothing is owned by whoever wrote before anything was tracked.
    """
    if is_under_way(obj, subresource):
        return obj
    if has_applied(obj, manager, subresource):
        is_left = any(_is_of(entry, _UNTRACKED, subresource) for entry in meta(obj).get("managedFields") or ())
        return await _edited(context, obj, _UNTRACKED, subresource, None) if is_left else obj
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
    """The object whose managedFields have one entry with `changes` for all those that are `wanted`, or none; as it is if there are none.

    Raises Conflict if it is no longer as it was seen.
    """
    key = key_of(obj)
    live = await context.cluster.get(key, live=True)  # what is read from a cache lacks the entries of plain updates
    version = meta(obj)["resourceVersion"]
    if live and meta(live)["resourceVersion"] != version:
        raise Conflict(f"{key} has changed meanwhile")
    entries = meta(live or {}).get("managedFields") or []
    found = [index for index, entry in enumerate(entries) if _is_of(entry, wanted, subresource)]
    if not found:
        return obj
    patch: list[dict[str, Json]] = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}]
    if changes is not None:
        own = next((index for index in found if entries[index].get("apiVersion") == key.api_version), found[0])
        found.remove(own)
        fields = dict(entries[own].get("fieldsV1") or {})
        for index in found:
            fields = _united(fields, entries[index].get("fieldsV1") or {})
        value = {**entries[own], **changes, "fieldsV1": fields}
        patch.append({"op": "replace", "path": f"/metadata/managedFields/{own}", "value": value})
    patch += [{"op": "remove", "path": f"/metadata/managedFields/{index}"} for index in reversed(found)]
    return await context.cluster.patch(key, patch)


def _is_of(entry: Mapping[str, Json], wanted: Mapping[str, str], subresource: Subresource) -> bool:
    return entry.get("subresource", "") == subresource and wanted.items() <= entry.items()


def _united(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two sets of fields, as `fieldsV1` has them, as one.

    >>> _united({"f:a": {}, "f:b": {}}, {"f:a": {"f:c": {}}})
    {'f:a': {'.': {}, 'f:c': {}}, 'f:b': {}}
    """
    united = dict(one)
    for name, theirs in other.items():
        ours = united.get(name, theirs)
        itself: dict[str, Any] = {".": {}} if name != "." and bool(ours) != bool(theirs) else {}
        united[name] = _united({**itself, **ours}, theirs)
    return united
