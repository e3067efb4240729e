"""CronOperation and WatchOperation → Operations: when it is time, or when an object changes.

Source: Crossplane v2.3, internal/controller/ops/cronoperation and watchoperation.  Ours: a WatchOperation remembers up to which version it has reacted
(`status.watchedVersion`), so that a process that starts makes none for what has not changed, and misses nothing that changed meanwhile.
"""

from __future__ import annotations

import copy

from groundplane.core import conditions, operations
from groundplane.core.conditions import Condition
from groundplane.core.objects import Json, Key, Object, is_deleting, is_paused, key_of, meta, status_of
from groundplane.core.operations import History, Making
from groundplane.errors import AlreadyExists, InvalidInput, NoSuchKind, stage
from groundplane.ports import Context, Result
from groundplane.reconcile import leaving

CRON_SOURCE, WATCH_SOURCE = "ops/cronoperation.ops.crossplane.io", "ops/watchoperation.ops.crossplane.io"
MOST = 50  # operations that one reconcile makes
PAUSED = "Reconciliation is paused via the pause annotation"


async def at_times(key: Key, context: Context) -> Result:
    """Make the operation of a CronOperation that is due, if one is."""
    cron = await leaving.seen(key, context)
    if cron is None or is_deleting(cron):
        return Result()
    if is_paused(cron):
        await _tell(cron, context, conditions.reconcile_paused(PAUSED), _scheduling("False", "SchedulePaused"))
        return Result()
    spec: operations.CronSpec = operations.read(cron, operations.CronSpec)
    known = await _history(cron, spec, context)
    now, before = context.now(), status_of(cron)
    since = conditions.moment(str(before.get("lastScheduleTime") or meta(cron)["creationTimestamp"])) or now
    try:
        due = operations.due(spec, since, now)
    except InvalidInput as error:
        error.conditions = (_scheduling("False", "ScheduleInvalid", error.what),)
        raise
    status: dict[str, Json] = {}
    if due.now is not None and await _may_begin(spec, known, context):
        name = operations.cron_name(cron, due.now)
        made = await _make(operations.made(cron, spec.operationTemplate, name), cron, CRON_SOURCE, context)
        status["lastScheduleTime"] = conditions.timestamp(due.now)
        known = _with(made, spec, known)
    told = (conditions.reconcile_success(), _scheduling("True", "ScheduleActive"))
    await _tell(cron, context, *told, status=status | _runs(cron, known))
    return Result((due.next - now).total_seconds() if due.next else None)


async def at_changes(key: Key, context: Context) -> Result:
    """Make operations for what has changed of what a WatchOperation watches."""
    watching = await leaving.seen(key, context)
    if watching is None or is_deleting(watching):
        context.interests.set(key, ())
        return Result()
    if is_paused(watching):
        context.interests.set(key, ())
        await _tell(watching, context, conditions.reconcile_paused(PAUSED), _watching("False", "WatchPaused"))
        return Result()
    spec: operations.WatchSpec = operations.read(watching, operations.WatchSpec)
    watch, selector = spec.watch, spec.selector
    context.interests.set(key, (selector,))  # before looking: what changes meanwhile counts
    await context.watches.ensure([(watch.apiVersion, watch.kind)], whole=True)
    known = await _history(watching, spec, context)
    try:
        heads = await context.cluster.heads(watch.apiVersion, watch.kind, _head, labels=watch.matchLabels)
    except NoSuchKind as error:
        error.conditions = (_watching("False", "WatchFailed", error.what),)
        raise
    watched = sorted((head for head in heads if selector.selects(head)), key=_version)
    reacted = int(str(status_of(watching).get("watchedVersion") or 0))
    changed = [head for head in watched if _version(head) > reacted]
    status: dict[str, Json] = {"watchingResources": len(watched)}
    for head in changed[:MOST]:
        if not await _may_begin(spec, known, context):
            break
        name = operations.watch_name(watching, head)
        wanted = operations.made(watching, spec.operationTemplate, name, watched=head)
        known = _with(await _make(wanted, watching, WATCH_SOURCE, context), spec, known)
        status |= {"watchedVersion": str(_version(head)), "lastScheduleTime": conditions.timestamp(context.now())}
    told = (conditions.reconcile_success(), _watching("True", "WatchActive"))
    await _tell(watching, context, *told, status=status | _runs(watching, known))
    return Result(again=len(changed) > MOST)


# --- what both do -------------------------------------------------------------------------------------------


async def _history(maker: Object, making: Making, context: Context) -> History:
    """Its operations, without those that need not be kept, which are deleted."""
    label = operations.MADE_BY[key_of(maker).kind]
    found = await context.cluster.list(
        operations.API_VERSION, operations.OPERATION, labels={label: meta(maker)["name"]}
    )
    known = operations.history(maker, [each for each in found if not is_deleting(each)])
    for surplus in known.surplus(making):
        await context.cluster.delete(key_of(surplus), uid=meta(surplus)["uid"])
    return known


async def _may_begin(making: Making, known: History, context: Context) -> bool:
    """Whether another one may run; with Replace those that run are ended for it."""
    if not known.running or making.concurrencyPolicy == "Allow":
        return True
    if making.concurrencyPolicy == "Forbid":
        return False
    for each in known.running:
        await context.cluster.delete(key_of(each), uid=meta(each)["uid"])
    return True


async def _make(wanted: Object, maker: Object, source: str, context: Context) -> Object:
    name = meta(wanted)["name"]
    with stage("CreateOperation", f"cannot create Operation {name}"):
        try:
            made = await context.cluster.create(wanted)
        except AlreadyExists:
            return wanted
    context.events.event(maker, "Normal", "CreateOperation", f"Created Operation {name}", source=source)
    return made


def _with(made: Object, making: Making, known: History) -> History:
    running = () if making.concurrencyPolicy == "Replace" else known.running
    return History((*running, made), known.succeeded, known.failed)


def _runs(maker: Object, known: History) -> dict[str, Json]:
    refs: list[Json] = [{"name": meta(each)["name"]} for each in known.running]
    status: dict[str, Json] = {"runningOperationRefs": refs}
    if latest := operations.last_success(known, str(status_of(maker).get("lastSuccessfulTime") or "")):
        status["lastSuccessfulTime"] = latest
    return status


def _head(obj: Object) -> Object:
    """What of a watched object is looked at."""
    names = ("name", "namespace", "uid", "resourceVersion", "labels")
    metadata = {name: meta(obj)[name] for name in names if name in meta(obj)}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


def _version(head: Object) -> int:
    return int(meta(head).get("resourceVersion") or 0)


def _scheduling(status: str, reason: str, message: str = "") -> Condition:
    return Condition("Scheduling", status, reason, message)


def _watching(status: str, reason: str, message: str = "") -> Condition:
    return Condition("Watching", status, reason, message)


async def _tell(maker: Object, context: Context, *told: Condition, status: dict[str, Json] | None = None) -> None:
    wanted = copy.deepcopy(maker)
    wanted["status"] = {**(wanted.get("status") or {}), **(status or {})}
    conditions.set_on(wanted, *told, now=context.now(), generation=meta(maker).get("generation"))
    await context.cluster.update(wanted, subresource="status")
