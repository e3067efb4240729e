"""CronOperation → an Operation whenever it is time.

Source: Crossplane v2.3, internal/controller/ops/cronoperation.
"""

from __future__ import annotations

from datetime import timedelta

from groundplane.core import conditions, operations
from groundplane.core.conditions import Condition
from groundplane.core.objects import Json, Key, is_deleting, is_paused, meta, status_of
from groundplane.errors import InvalidInput, stage
from groundplane.ports import Context, Result
from groundplane.reconcile import leaving
from groundplane.reconcile import made_operations as making

SOURCE = "ops/cronoperation.ops.crossplane.io"
LOOK = 60.0  # seconds at most between two looks at the clock: it may have been set, or the machine have slept
AHEAD = timedelta(minutes=5)  # what was made for a time further ahead was made by a clock that was wrong


async def reconcile(key: Key, context: Context) -> Result:
    """Make the operation of a CronOperation that is due, if one is."""
    cron = await leaving.seen(key, context)
    if cron is None or is_deleting(cron):
        return Result()
    if is_paused(cron):
        await making.tell(
            cron, context, conditions.reconcile_paused(making.PAUSED), _scheduling("False", "SchedulePaused")
        )
        return Result()
    spec = operations.read(cron, operations.CronSpec)
    known = await making.history(cron, context)
    now, before = context.now(), status_of(cron)
    since = conditions.moment(str(before.get("lastScheduleTime") or meta(cron)["creationTimestamp"])) or now
    status: dict[str, Json] = {}
    if since - now > AHEAD:  # else nothing would be due for as long
        since, status["lastScheduleTime"] = now, conditions.timestamp(now)
    try:
        with stage("InvalidSchedule"):
            due = operations.due(spec, since, now)
    except InvalidInput as error:
        error.conditions = (_scheduling("False", "ScheduleInvalid", error.what),)
        raise
    name = operations.cron_name(cron, due.now) if due.now else ""
    if due.now and known.has(name):  # who made it did not come to say so
        status["lastScheduleTime"] = conditions.timestamp(due.now)
    elif due.now and await making.may_begin(spec, known, context):
        made = await making.make(operations.made(cron, spec.operationTemplate, name), cron, SOURCE, context)
        status["lastScheduleTime"] = conditions.timestamp(due.now)
        known = making.with_another(made, spec, known)
    told = (conditions.reconcile_success(), _scheduling("True", "ScheduleActive"))
    await making.tell(cron, context, *told, status=status | making.what_runs(cron, known))
    await making.delete_surplus(spec, known, context)
    return Result(min(LOOK, (due.next - now).total_seconds()) if due.next else None, exactly=True)


def _scheduling(status: str, reason: str, message: str = "") -> Condition:
    return Condition("Scheduling", status, reason, message)
