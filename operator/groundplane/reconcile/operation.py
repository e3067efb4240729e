"""Operation → its pipeline, run once: what functions desire is applied, and belongs to nobody.

Source: Crossplane v2.3, internal/controller/ops/operation.  It is run at least once: a process that ends after it has applied something,
and before it has said so, leaves it to the next one, which applies the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from groundplane import functions as catalogue
from groundplane.core import capabilities, conditions, health, operations, pipeline
from groundplane.core.conditions import Condition
from groundplane.core.objects import Json, Key, Object, is_deleting, key_of, meta
from groundplane.core.pipeline import Outcome, Resource
from groundplane.errors import Busy, Conflict, GroundplaneError, InvalidInput, NotLeader, at
from groundplane.ports import Context, Result
from groundplane.reconcile import compiling, functions, leaving

SOURCE = "ops/operation.ops.crossplane.io"
LONGEST_PAUSE = 60.0  # seconds until one that has failed is tried again, doubled each time up to here
VALID = Condition("ValidPipeline", "True", "ValidPipeline")


async def reconcile(key: Key, context: Context) -> Result:
    """Run one operation, unless it has come to its end."""
    operation = await leaving.seen(key, context)
    if operation is None or is_deleting(operation) or operations.state(operation) != "runs":
        return Result()
    spec = operations.read(operation, operations.OperationSpec)
    await _check_functions(operation, context)
    try:
        steps = await _compiled(operation, spec, context)
        if conditions.find(operation, operations.SUCCEEDED) is None:
            outlook = health.reconciling("Creating", "the pipeline runs")
            operation = await _tell(operation, context, VALID, operations.running(), outlook=outlook)
        refs, outcome = await _run(operation, steps, context)
    except (Busy, Conflict, NotLeader):
        raise
    except GroundplaneError as error:
        if isinstance(error, pipeline.Stopped):
            _hear(operation, error.outcome, context)
        if await _fail(operation, spec, error, context):
            return Result()
        raise
    status: dict[str, Json] = {"appliedResourceRefs": refs}
    if outcome.outputs:
        status["pipeline"] = [{"step": step, "output": dict(output)} for step, output in outcome.outputs]
    _hear(operation, outcome, context)
    told = (VALID, conditions.reconcile_success(), operations.succeeded())
    await _tell(operation, context, *told, outlook=None, status=status)
    return Result()


async def _check_functions(operation: Object, context: Context) -> None:
    """Raise InvalidInput if a function says that it is not for operations.  That is no failure: nothing was tried."""
    told = await compiling.valid(context, operation, capabilities.OPERATION)
    if told is None or told.status == "True":
        return
    error = InvalidInput(told.message, mend="use a function that is for operations, or another version of it")
    error.reason, error.on = "CheckCapabilities", compiling.awaited_capabilities(operation)
    error.conditions = (told, operations.running())
    raise error


async def _compiled(operation: Object, spec: operations.OperationSpec, context: Context) -> Sequence[pipeline.Step]:
    find = catalogue.finder(await compiling.sources_of(context, operation), templates=context.options.templates)
    return operations.compiled(operation, spec, find)


async def _run(
    operation: Object, steps: Sequence[pipeline.Step], context: Context
) -> tuple[list[dict[str, str]], Outcome]:
    """Call the functions, then apply what they desire: references to that, and what they said."""
    handed = await functions.credentials(context, steps)
    running = pipeline.calls(Resource({}), steps, {}, credentials=handed, hands_over=True)
    outcome = await functions.run(context, running, lambda wanted: functions.found(context, wanted))
    wanted = [operations.applied(each.object, name) for name, each in outcome.desired.resources.items()]
    for obj in wanted:
        with at(f"cannot apply {key_of(obj)}"):
            await context.cluster.apply(obj, manager=f"{operations.MANAGER}/{meta(operation)['uid']}")
    return [_reference(obj) for obj in wanted], outcome


def _reference(obj: Object) -> dict[str, str]:
    key = key_of(obj)
    found = {"apiVersion": key.api_version, "kind": key.kind, "name": key.name}
    return found | ({"namespace": key.namespace} if key.namespace else {})


async def _fail(operation: Object, spec: operations.OperationSpec, error: GroundplaneError, context: Context) -> bool:
    """Count it; once it has failed too often, that is its end: whether it is."""
    failures = operations.failures(operation) + 1
    told, outlook = operations.running(), health.reconciling("Retrying", str(error))
    if is_over := failures >= spec.retryLimit:
        told = operations.failed(f"failure limit of {spec.retryLimit} reached: {error}")
        outlook = health.stalled(told.reason, told.message)
        context.events.event(operation, "Warning", error.reason or "RunPipelineStep", str(error), source=SOURCE)
    error.after = min(LONGEST_PAUSE, 2.0 ** (failures - 1))
    synced, status = conditions.reconcile_error(str(error)), {"failures": failures}
    await _tell(operation, context, told, synced, outlook=outlook, status=status)
    return is_over


def _hear(operation: Object, outcome: Outcome, context: Context) -> None:
    for step, result in outcome.results:
        text = f'Pipeline step "{step}": {result.message}'
        context.events.event(
            operation,
            "Normal" if result.severity == "Normal" else "Warning",
            result.reason or "RunPipelineStep",
            text,
            source=SOURCE,
        )


async def _tell(
    operation: Object,
    context: Context,
    *told: Condition,
    outlook: Condition | None,
    status: Mapping[str, Json] | None = None,
) -> Object:
    wanted = copy.deepcopy(operation)
    wanted["status"] = {**(wanted.get("status") or {}), **(status or {})}
    if not context.options.strict_upstream:
        ready = conditions.creating() if outlook else conditions.available()
        told = (*told, conditions.unavailable() if outlook and outlook.type == health.STALLED else ready)
    context.tell(wanted, *told, outlook=outlook, generation=meta(operation).get("generation"))
    return await context.cluster.update(wanted, subresource="status")
