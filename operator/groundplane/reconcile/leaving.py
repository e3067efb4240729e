"""What is being deleted goes whatever its contents are: it is read as far as it can be, and released by its metadata alone."""

from __future__ import annotations

from groundplane.core.objects import Key, Object, drop_finalizer, has_finalizer, is_deleting, key_of, meta
from groundplane.errors import TooDeep
from groundplane.ports import Context


async def seen(key: Key, context: Context, *, anyhow: bool = False, live: bool = False) -> Object | None:
    """The object; of one that is nested too deep and leaves, or that is needed `anyhow`, what can be read of it.

    Raises:
        TooDeep: it is nested too deep, and stays.
    """
    try:
        return await context.cluster.get(key, live=live)
    except TooDeep as unreadable:
        if not (anyhow or is_deleting(unreadable.object)):
            raise
        return unreadable.object


async def release(obj: Object, finalizer: str, context: Context) -> Object:
    """Take our finalizer off, if it is there: the object with its new metadata.

    A patch, since of a partly read object no more than that may be written.  A stale read conflicts.
    """
    if not has_finalizer(obj, finalizer):
        return obj
    left: Object = {"metadata": dict(meta(obj))}
    drop_finalizer(left, finalizer)
    metadata = {"resourceVersion": meta(obj)["resourceVersion"], "finalizers": meta(left)["finalizers"]}
    written = await context.cluster.patch(key_of(obj), {"metadata": metadata})
    return {**obj, "metadata": meta(written)}
