"""A deletion that nobody meant: of what came back from a backup with the owner references of then.

Kubernetes deletes what belongs to objects that are not there.  So a managed resource that was restored with its references would take along
what it stands for, a database with its data, minutes after somebody has tried to save it.
"""

from __future__ import annotations

from typing import Any

from groundplane.core import conditions
from groundplane.core import managed as core
from groundplane.core.objects import Key, Object, key_of, meta
from groundplane.errors import InvalidInput, NoSuchKind
from groundplane.ports import MANAGER, Context
from groundplane.reconcile.managing import ManagedRun

COMPOSERS = "apiextensions.crossplane.io/"  # how the field managers of whoever composes begin, upstream's and ours


async def check_meant(run: ManagedRun) -> None:
    """Return if what an object that is being deleted stands for is to be deleted, too.

    Raises:
        InvalidInput: it was restored with owner references that nobody has written since, and none of these owners is there.
    """
    managed, context = run.managed, run.context
    references = meta(managed).get("ownerReferences") or ()
    if context.options.strict_upstream or not references or not core.is_restored(managed):
        return
    live = await context.cluster.get(key_of(managed), live=True)
    if live is None or _written_since(live) & {each.get("uid") for each in references}:
        return
    for reference in references:
        if await _is_there(reference, managed, context):
            return
    first = references[0]
    error = InvalidInput(
        f"it is left in {run.kind.cloud}: this object came back from a backup with an owner reference ({first.get('kind')} "
        f"{first.get('name')}, UID {first.get('uid')}) to what is not there, and so Kubernetes deletes it",
        mend="to keep it, pause its composite, let the object go without it (deletionPolicy: Orphan, or managementPolicies without"
        " Delete), and restore the object without metadata.ownerReferences; to delete it, take the owner references off the object",
    )
    error.reason, error.conditions = "CannotDeleteExternalResource", (conditions.deleting(),)
    raise error


def _written_since(live: Object) -> set[str]:
    """The UIDs of the owners that a composer has written into an object since it is there.  Only the API server tells: caches don't keep it."""
    found = set[str]()
    for entry in meta(live).get("managedFields") or ():
        manager = str(entry.get("manager") or "")
        if manager == MANAGER or manager.startswith(COMPOSERS):
            fields = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:ownerReferences") or {}
            found |= {name.partition('"uid":"')[2].partition('"')[0] for name in fields}
    return found


async def _is_there(reference: dict[str, Any], managed: Object, context: Context) -> bool:
    api_version, kind = str(reference.get("apiVersion") or ""), str(reference.get("kind") or "")
    try:
        resource = await context.cluster.resource(api_version, kind)
    except NoSuchKind:
        return False
    namespace = str(meta(managed).get("namespace") or "") if resource.namespaced else ""
    owner = await context.cluster.get(Key(api_version, kind, namespace, str(reference.get("name") or "")), live=True)
    return owner is not None and meta(owner)["uid"] == reference.get("uid")
