"""A name that is needed belongs to an object of somebody else, or of one of the same name that is gone."""

from __future__ import annotations

from groundplane.core.objects import Object, key_of, meta, owner_reference
from groundplane.errors import Awaited, Conflict, InvalidInput
from groundplane.ports import Context


def taken(obj: Object, what: str, *, mend: str) -> InvalidInput:
    """The error; it is tried again when that object changes, or goes."""
    error, key = InvalidInput(what, mend=mend), key_of(obj)
    error.on = (Awaited(key.group, key.kind, key.namespace, key.name),)
    return error


async def take_over(live: Object, owner: Object, context: Context) -> Object:
    """Have `owner` control what a predecessor of its name has made, before garbage collection takes it; the object as it is then.

    Raises Conflict if it changes meanwhile, or the owner itself is another one by now.
    """
    now = await context.cluster.get(key_of(owner), live=True)
    if now is None or meta(now)["uid"] != meta(owner)["uid"]:
        raise Conflict(f"{key_of(owner)} is another object by now")
    others = [each for each in meta(live)["ownerReferences"] if not each.get("controller")]
    metadata = {"resourceVersion": meta(live)["resourceVersion"], "ownerReferences": [*others, owner_reference(owner)]}
    return await context.cluster.patch(key_of(live), {"metadata": metadata})
