"""WatchOperation → an Operation whenever an object changes.

Source: Crossplane v2.3, internal/controller/ops/watchoperation.  Ours: it remembers up to which version it has reacted (`status.watchedVersion`), so that a
process that starts makes none for what has not changed, and misses nothing that changed meanwhile.
"""

from __future__ import annotations

from groundplane.core import conditions, operations
from groundplane.core.conditions import Condition
from groundplane.core.objects import Json, Key, Object, has_finalizer, is_deleting, is_paused, meta, status_of
from groundplane.errors import NoSuchKind, stage
from groundplane.ports import Context, Result
from groundplane.reconcile import leaving
from groundplane.reconcile import made_operations as making

SOURCE = "ops/watchoperation.ops.crossplane.io"
FINALIZER = "watchoperation.ops.crossplane.io"
MOST = 50  # operations that one reconcile makes


async def reconcile(key: Key, context: Context) -> Result:
    """Make operations for what has changed of what a WatchOperation watches."""
    watching = await leaving.seen(key, context)
    if watching is None or is_deleting(watching):
        context.interests.set(key, ())
        if watching is not None:
            await leaving.release(watching, FINALIZER, context)
        return Result()
    if is_paused(watching):
        context.interests.set(key, ())
        await making.tell(
            watching, context, conditions.reconcile_paused(making.PAUSED), _watching("False", "WatchPaused")
        )
        return Result()
    if not has_finalizer(watching, FINALIZER):
        watching["metadata"].setdefault("finalizers", []).append(FINALIZER)
        watching = await context.cluster.update(watching)
    spec = operations.read(watching, operations.WatchSpec)
    watch, selector = spec.watch, spec.selector
    context.interests.set(key, (selector,))  # before looking: what changes meanwhile counts
    known = await making.history(watching, context)
    try:
        with stage("EstablishWatched", f"cannot watch {watch.kind}"):
            await context.watches.ensure([(watch.apiVersion, watch.kind)], whole=True)
            heads = await context.cluster.heads(watch.apiVersion, watch.kind, _head, labels=watch.matchLabels)
    except NoSuchKind as error:
        error.conditions = (_watching("False", "WatchFailed", error.what),)
        raise
    watched = sorted((head for head in heads if selector.selects(head)), key=_version)
    reacted = int(str(status_of(watching).get("watchedVersion") or 0))
    changed = [head for head in watched if _version(head) > reacted]
    status: dict[str, Json] = {"watchingResources": len(watched)}
    for head in changed[:MOST]:
        name = operations.watch_name(watching, head)
        if not known.has(name):  # else who made it did not come to say so
            if not await making.may_begin(spec, known, context):
                break
            wanted = operations.made(watching, spec.operationTemplate, name, watched=head)
            known = making.with_another(await making.make(wanted, watching, SOURCE, context), spec, known)
        status |= {"watchedVersion": str(_version(head)), "lastScheduleTime": conditions.timestamp(context.now())}
    told = (conditions.reconcile_success(), _watching("True", "WatchActive"))
    await making.tell(watching, context, *told, status=status | making.what_runs(watching, known))
    await making.delete_surplus(spec, known, context)
    return Result(again=len(changed) > MOST)


def _head(obj: Object) -> Object:
    """What of a watched object is looked at."""
    names = ("name", "namespace", "uid", "resourceVersion", "labels")
    metadata = {name: meta(obj)[name] for name in names if name in meta(obj)}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


def _version(head: Object) -> int:
    return int(meta(head).get("resourceVersion") or 0)


def _watching(status: str, reason: str, message: str = "") -> Condition:
    return Condition("Watching", status, reason, message)
