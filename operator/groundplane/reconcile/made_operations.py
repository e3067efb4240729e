"""What CronOperation and WatchOperation have in common: their Operations, which run, which are kept, and how a new one is made."""

from __future__ import annotations

import copy

from groundplane.core import conditions, operations
from groundplane.core.conditions import Condition
from groundplane.core.objects import Json, Object, is_deleting, key_of, meta, status_of
from groundplane.core.operations import History, Making
from groundplane.errors import AlreadyExists, stage
from groundplane.ports import Context

PAUSED = "Reconciliation is paused via the pause annotation"


async def history(maker: Object, context: Context) -> History:
    """Its operations, but for those that are being deleted."""
    label = operations.MADE_BY[key_of(maker).kind]
    found = await context.cluster.list(
        operations.API_VERSION, operations.OPERATION, labels={label: meta(maker)["name"]}
    )
    return operations.history(maker, [each for each in found if not is_deleting(each)])


async def may_begin(making: Making, known: History, context: Context) -> bool:
    """Whether another one may run; with Replace those that run are ended for it."""
    if not known.running or making.concurrencyPolicy == "Allow":
        return True
    if making.concurrencyPolicy == "Forbid":
        return False
    for each in known.running:
        with stage("ReplaceRunningOperation", f"cannot delete running Operation {meta(each)['name']}"):
            await context.cluster.delete(key_of(each), uid=meta(each)["uid"])
    return True


async def make(wanted: Object, maker: Object, source: str, context: Context) -> Object:
    name = meta(wanted)["name"]
    with stage("CreateOperation", f"cannot create Operation {name}"):
        try:
            made = await context.cluster.create(wanted)
        except AlreadyExists:
            return wanted
    context.events.event(maker, "Normal", "CreateOperation", f"Created Operation {name}", source=source)
    return made


def with_another(made: Object, making: Making, known: History) -> History:
    running = () if making.concurrencyPolicy == "Replace" else known.running
    return History((*running, made), known.succeeded, known.failed)


def what_runs(maker: Object, known: History) -> dict[str, Json]:
    refs: list[Json] = [{"name": meta(each)["name"]} for each in known.running]
    status: dict[str, Json] = {"runningOperationRefs": refs}
    if latest := operations.last_success(known, str(status_of(maker).get("lastSuccessfulTime") or "")):
        status["lastSuccessfulTime"] = latest
    return status


async def delete_surplus(making: Making, known: History, context: Context) -> None:
    """Those that need not be kept.  To be called once the status says what they were made for: who is stopped before would make them anew."""
    for surplus in known.surplus(making):
        with stage("GarbageCollectOperations", f"cannot delete old Operation {meta(surplus)['name']}"):
            await context.cluster.delete(key_of(surplus), uid=meta(surplus)["uid"])


async def tell(maker: Object, context: Context, *told: Condition, status: dict[str, Json] | None = None) -> None:
    wanted = copy.deepcopy(maker)
    wanted["status"] = {**(wanted.get("status") or {}), **(status or {})}
    is_at_work = told[0].status == "True"  # it is Synced's; a paused one is as it was
    if is_at_work and not context.options.strict_upstream:
        told = (*told, conditions.available())
    context.tell(wanted, *told, outlook=None, generation=meta(maker).get("generation"))
    await context.cluster.update(wanted, subresource="status")
