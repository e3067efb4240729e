"""Managed resource ↔ external resource: observe, create, update, delete, and never twice.

Source: crossplane-runtime v1.20, pkg/reconciler/managed.  Where it stops after an interrupted create, this one asks
the cloud for what carries our ownership tags, and stops only if that can't be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from groundplane.core import conditions, fieldpath, health, requests
from groundplane.core import managed as core
from groundplane.core.conditions import Condition
from groundplane.core.managed import Action, External, Facts
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    has_finalizer,
    is_deleting,
    is_paused,
    key_of,
    meta,
    status_of,
)
from groundplane.errors import (
    Denied,
    GroundplaneError,
    InvalidInput,
    NotLeader,
    Throttled,
    Unavailable,
    Waiting,
    shown,
    stage,
)
from groundplane.ports import Context, Creation, ManagedKind, Observation, Result
from groundplane.reconcile import leaving, observing, provider_config, resolving, secret_inputs, silence, stale_owners
from groundplane.reconcile.managing import (
    LATER,
    ManagedRun,
    begin,
    check_over,
    is_noted,
    is_unsure_when,
    recover,
    save_outcome,
    source,
    timestamp,
    too_early,
)

DEFAULTS = "groundplane.io/defaults"  # field manager of what we fill in: helpful defaults, late initialisation
YOUNG = 60.0  # seconds after its creation in which a resource is looked at often
SOON = 2.0  # seconds between two looks at a young resource in transition
MADE = 0.5  # seconds from a create to the first look: most things are there and usable by then


async def reconcile(key: Key, context: Context) -> Result:
    """Bring one managed resource and what it stands for in line."""
    kind = context.cloud.kind(key.api_version, key.kind)
    if kind is None:
        return Result()
    managed = await leaving.seen(key, context)
    if managed is None:
        context.creates.forget(key)
        return Result()
    if is_paused(managed) or core.is_paused_by_policy(managed):
        await _pause(managed, kind, context)
        return Result()
    with stage("CannotUseInvalidManagementPolicy"):
        may = core.allowed(managed)
    run = ManagedRun(context, kind, managed, may)
    silence.of_spec(managed, "PollInterval", requests.unread_interval(managed), context, source(key, context))
    try:
        result = await _bring_in_line(run)
    except GroundplaneError:
        await _save_name(run)  # what names it need not wait for whatever this waits for
        raise
    await _save_name(run)
    return result


async def _bring_in_line(run: ManagedRun) -> Result:
    context = run.context
    if _next(run, External.UNSEEN) is Action.RELEASE:
        return await _release(run)

    if not is_deleting(run.managed):
        with stage("CannotInitializeManagedResource", "cannot initialize the managed resource"):
            context.cloud.check(run.given)  # before the name is saved: a wrong one would stay
            await _name(run)
        await resolving.resolve(run)
    with stage("CannotConnectToProvider", "connect failed"):
        run.account = await provider_config.connect(run.managed, context)
    if core.is_create_unfinished(run.managed):
        await recover(run)
    secrets = {} if is_deleting(run.managed) else await secret_inputs.read_all(run, generate=False)
    with stage("CannotObserveExternalResource", "observe failed"):
        observation = await context.cloud.observe(run.given, run.account, secrets)
    return await _act(run, observation, secrets)


def _next(run: ManagedRun, external: External, released: Sequence[str] = ()) -> Action:
    finalizers = {*(meta(run.managed).get("finalizers") or ())} - {core.FINALIZER, *released}
    facts = Facts(
        external=external,
        deleting=is_deleting(run.managed),
        create_unfinished=core.is_create_unfinished(run.managed) and external is not External.UNSEEN,
        created_recently=not run.kind.consistent
        and (core.is_created_recently(run.managed, run.context.now()) or is_unsure_when(run))
        and not run.context.creates.is_leaving(run.managed),  # a delete was sent since: "not found" is true
        other_finalizers=bool(finalizers),
        may=run.may,
    )
    return core.next_action(facts)


def _seen(observation: Observation) -> External:
    if not observation.exists:
        return External.ABSENT
    if observation.deleting:
        return External.LEAVING
    return External.DRIFTED if observation.drift else External.CURRENT


async def _act(run: ManagedRun, observation: Observation, secrets: Mapping[str, str]) -> Result:
    """Do what the observation calls for; write the status once."""
    action = _next(run, _seen(observation), observation.released)
    if observation.may_come and action is Action.RELEASE:
        check_over(run)
    if observation.released and action in (Action.DELETE, Action.RELEASE):
        _tell(run, observation)
    if action is Action.RELEASE:
        _wake(run, observation)
        return await _release(run)
    may_be_of_another = action in (Action.UPDATE, Action.DELETE) or (observation.owner and run.may - {Action.OBSERVE})
    if may_be_of_another and (other := await observing.owner(run, observation)):
        return await _leave_to(run, other, observation)
    if run.context.options.observe_only and action in (Action.CREATE, Action.DELETE):
        return await _leave(run, observation, action)
    if action is Action.DELETE:
        await stale_owners.check_meant(run)
        return await _delete(run, observation)
    if action is Action.WAIT:
        return await _wait(run, observation)
    if action is Action.CREATE:
        return await _create(run, observation)
    if not observation.exists:
        raise _stays_absent(run)
    return await _keep(run, observation, secrets, update=action is Action.UPDATE)


# --- before the first call ---------------------------------------------------------------------------------


async def _name(run: ManagedRun) -> None:
    """Choose the external name.  It is saved with what is saved first, so before anything is made under it."""
    if run.external_name:
        return
    if name := run.context.cloud.default_external_name(run.given):
        run.new_name = name
        run.take(run.managed)
        if run.context.options.strict_upstream:
            await _save_name(run)


async def _save_name(run: ManagedRun) -> None:
    """Save the external name if nothing has: of an Object nobody asks for it."""
    if run.new_name and not run.kind.refers:
        run.new_name = ""
        run.managed = await run.context.cluster.update(run.managed)


# --- create, update, delete ------------------------------------------------------------------------------------


async def _create(run: ManagedRun, observation: Observation) -> Result:
    """Create, in the order in which a crash at any point can be told apart afterwards."""
    assert run.account is not None
    if is_noted(run) and timestamp(run) in [annotations_of(run.managed).get(end) for end in core.CREATE_ENDS]:
        # times are whole seconds: this begin could not be told from the end before it
        return Result(requeue_after=1.0 - run.context.now().microsecond / 1e6)
    if defaults := run.context.cloud.defaults(run.given):
        # one apply: half of them would keep the cloud from proposing the other half
        await resolving.fill(run, DEFAULTS, {"forProvider": {default.field: default.value for default in defaults}})
        for note in dict.fromkeys(default.note for default in defaults):
            run.event("Normal", "AssumedDefault", note)
    with stage("CannotCreateExternalResource", "create failed"):
        try:
            run.context.cloud.check(run.given)
            if observation.obstacle:
                raise observation.obstacle
            secrets = await secret_inputs.read_all(run, generate=True)
        except GroundplaneError as error:
            error.conditions = (conditions.creating(),)
            raise
    if status_of(run.managed).get("atProvider"):
        await _forget(run)
    await begin(run, observation.to_note)
    try:
        with stage("CannotCreateExternalResource", "create failed"):
            made = await run.context.cloud.create(run.given, run.account, secrets)
    except GroundplaneError as error:
        error.conditions = (*_failed(run, "Create", error), conditions.creating())
        if not _is_outcome_unknown(error):
            await save_outcome(run, {core.CREATE_FAILED: timestamp(run), core.REGION: None})  # it is nowhere
        raise
    _wake(run, made)
    notes = {core.CREATE_SUCCEEDED: timestamp(run)}
    if made.external_name:
        notes[core.EXTERNAL_NAME] = made.external_name
    if made.connection:
        await _publish_once(run, made)
    await save_outcome(run, notes)
    run.event("Normal", "CreatedExternalResource", "Successfully requested creation of external resource")
    if made.observation:
        return await _keep(run, made.observation, secrets, update=False)
    if run.kind.ready_at_once and not run.context.options.strict_upstream and (there := await _made(run, secrets)):
        return await _act(run, there, secrets)
    if not run.kind.consistent:  # else the next look tells at once what has become of it
        told = [conditions.reconcile_success(), *_ongoing(run), conditions.creating()]
        outlook = health.reconciling("Creating", f"{run.kind.cloud} has been asked to create it")
        await _write_status(run, told, outlook=outlook)
    return _look_again(run, MADE)


async def _made(run: ManagedRun, secrets: Mapping[str, str]) -> Observation | None:
    """What was just made, as the cloud shows it; None if it doesn't show it yet, or can't be asked: the next look tells."""
    assert run.account is not None
    try:
        observation = await run.context.cloud.observe(run.given, run.account, secrets)
    except GroundplaneError:
        return None
    return observation if observation.exists else None


async def _publish_once(run: ManagedRun, made: Creation) -> None:
    """Store what only the create tells, before anything else.  Where that fails, what was made is of no use: it goes."""
    assert run.account is not None
    try:
        await secret_inputs.publish(run, made.connection)
    except GroundplaneError:
        taken_back = Observation(exists=True, external_name=made.external_name)
        await run.context.cloud.delete(run.given, run.account, taken_back)
        await save_outcome(run, {core.CREATE_FAILED: timestamp(run)})
        raise


def _is_outcome_unknown(error: GroundplaneError) -> bool:
    """Whether the cloud may have created it all the same: no answer came, or none that says so."""
    if isinstance(error, Unavailable):
        return not (error.unsent or isinstance(error, Throttled))
    return isinstance(error, NotLeader)


async def _keep(run: ManagedRun, observation: Observation, secrets: Mapping[str, str], *, update: bool) -> Result:
    """It exists: publish, fill in what AWS chose, update what drifted, report."""
    assert run.account is not None
    if run.kind.refers:
        observing.follow(run, observation)
    await secret_inputs.publish(run, observation.connection)
    if run.new_name or not has_finalizer(run.managed, core.FINALIZER):
        finalizers = meta(run.managed).get("finalizers") or []
        run.managed["metadata"]["finalizers"] = [*finalizers, *({core.FINALIZER} - set(finalizers))]
        run.managed = await run.context.cluster.update(run.managed)
        run.new_name = ""
    # only another name is saved: a template that spells it otherwise would be fought for ever
    if observation.external_name and observation.external_name.lower() != run.external_name.lower():
        metadata = {
            "resourceVersion": meta(run.managed)["resourceVersion"],
            "annotations": {core.EXTERNAL_NAME: observation.external_name},
        }
        run.managed = await run.context.cluster.patch(key_of(run.managed), {"metadata": metadata})
    only_looks = run.context.options.observe_only
    if observation.late and Action.LATE_INITIALIZE in run.may and not only_looks:
        with stage("CannotUpdateManagedResource", "cannot update managed resource"):
            await resolving.fill(run, DEFAULTS, {"forProvider": observation.late})
    ready = [observation.ready] if observation.ready else []
    if observation.immutable and Action.UPDATE in run.may:
        error = _unchangeable(run, observation)
        await _write_status(run, ready, observation, outlook=health.stalled(type(error).__name__, str(error)))
        raise error
    settled = observation.settled
    withheld = observing.differences(run, observation) if update and only_looks else ""
    if update and not only_looks:
        await _update(run, observation, secrets)
        for field in observation.contested:
            run.event("Warning", "ContestedExternalResource", await observing.contest(run, observation, field))
        settled = bool(observation.contested)  # against somebody else haste does not help
    synced = conditions.observed_only(withheld) if withheld else conditions.reconcile_success()
    told = [*observation.conditions, synced, *_background(run, observation, updated=update), *ready]
    before = meta(run.managed)["resourceVersion"]
    await _write_status(run, told, observation, outlook=_outlook(run, observation, settled=settled))
    if meta(run.managed)["resourceVersion"] != before:  # a quiet reconcile is silent, also the first of a process
        _tell(run, observation)
    if update and run.kind.consistent and not (only_looks or observation.contested):
        return Result(again=True)  # it shows at once whether that was all
    return Result(requeue_after=_pause_until_next(run, observation, settled=settled))


def _tell(run: ManagedRun, observation: Observation) -> None:
    for note in observation.notes:
        run.event("Normal", "ObservedExternalResource", note)


async def _update(run: ManagedRun, observation: Observation, secrets: Mapping[str, str]) -> None:
    assert run.account is not None
    with stage("CannotUpdateExternalResource", "update failed"):
        published = dict(observation.connection)
        for secret in run.kind.secrets:
            if secret.field in observation.renew:
                value = await secret_inputs.renew(run, secret)
                secrets = {**secrets, secret.field: value}
                published[secret.in_connection] = value.encode()
        try:
            details = await run.context.cloud.update(run.given, run.account, secrets, observation)
        except GroundplaneError as error:
            error.conditions = (*_failed(run, "Update", error), *([observation.ready] if observation.ready else []))
            raise
    _wake(run, observation)
    await secret_inputs.publish(run, {**published, **details})
    fields = ", ".join(sorted({difference.field for difference in observation.drift}))
    run.event("Normal", "UpdatedExternalResource", f"Successfully requested update of external resource: {fields}")


def _unchangeable(run: ManagedRun, observation: Observation) -> InvalidInput:
    texts = [
        f"spec.forProvider.{d.field} cannot be changed from {d.observed!r} to {d.desired!r}"
        for d in observation.immutable
    ]
    error = InvalidInput(
        f"{'; '.join(sorted(texts))}: {run.kind.cloud} would have to replace the resource",
        mend="set the old value again, or delete and recreate the managed resource",
    )
    error.reason, error.prefix = "CannotUpdateExternalResource", "update failed"
    return error


async def _leave_to(run: ManagedRun, other: Key, observation: Observation) -> Result:
    """Touch nothing that is another object's; whoever names it and is deleted just goes."""
    if is_deleting(run.managed):
        run.event(
            "Normal", "LeftExternalResource", f"{run.external_name} is left in {run.kind.cloud}: it is that of {other}"
        )
        return await _release(run)
    error = observing.is_of_another(run, other)
    if observation.owner:
        error.conditions = (conditions.unavailable(error.what),)
    raise error


async def _leave(run: ManagedRun, observation: Observation, action: Action) -> Result:
    """Tell what would be created or deleted, in an operator that only observes."""
    if action is Action.CREATE:
        run.context.cloud.check(run.managed)
        text, ready = f"{run.kind.cloud} has no such thing: it would be created", conditions.creating()
    else:
        text, ready = f"it would be deleted in {run.kind.cloud}", conditions.deleting()
    told = conditions.observed_only(text)
    outlook = health.reconciling("Waiting", told.message)
    await _write_status(run, [told, ready], observation, outlook=outlook)
    return Result(requeue_after=_pause_until_next(run, settled=True))


async def _delete(run: ManagedRun, observation: Observation) -> Result:
    assert run.account is not None
    with stage("CannotDeleteExternalResource", "delete failed"):
        try:
            await run.context.cloud.delete(run.managed, run.account, observation)
        except GroundplaneError as error:
            error.conditions = (*observation.conditions, *_failed(run, "Delete", error), conditions.deleting())
            raise
    _wake(run, observation)
    run.context.creates.leave(run.managed)
    run.event("Normal", "DeletedExternalResource", "Successfully requested deletion of external resource")
    told = [conditions.reconcile_success(), *_ongoing(run), conditions.deleting()]
    is_leaving = (conditions.find(run.managed, "Ready") or {}).get("reason") == conditions.deleting().reason
    stays = is_leaving and conditions.is_true(run.managed, "Synced")  # although it was deleted before, without an error
    await _write_status(run, told, outlook=health.reconciling("Deleting"))
    return Result(again=True) if stays and run.kind.consistent else _look_again(run, SOON)  # less and less often


def _wake(run: ManagedRun, done: Observation | Creation) -> None:
    for key in done.wakes:
        run.context.watches.enqueue(key)


def _look_again(run: ManagedRun, pause: float) -> Result:
    """Whether what was asked for has been done: at once, where a write is seen at once."""
    return Result(requeue_after=0.0 if run.kind.consistent else pause)


async def _wait(run: ManagedRun, observation: Observation) -> Result:
    """For the cloud to finish, or to show what it made; or for somebody else's finalizer."""
    if not observation.exists and is_unsure_when(run):
        then = "it counts as gone"
        raise too_early(
            run, f"{run.kind.cloud} shows nothing yet", core.CREATE_SUCCEEDED, core.GRACE.total_seconds(), then
        )
    if is_deleting(run.managed):
        told = [*observation.conditions, conditions.reconcile_success(), *_ongoing(run), conditions.deleting()]
        await _write_status(run, told, observation, outlook=health.reconciling("Deleting"))
        return Result(requeue_after=_pause_until_next(run, observation, settled=False))
    run.event("Normal", "PendingExternalResource", "Waiting for external resource existence to be confirmed")
    return Result(requeue_after=SOON)


def _stays_absent(run: ManagedRun) -> GroundplaneError:
    """It is not there, and may not be created.  What was Ready until somebody deleted it is so no longer."""
    name = "correct the external name" if run.external_name else f"name it in the annotation {core.EXTERNAL_NAME}"
    error = Waiting(
        "external resource does not exist",
        mend=f"create it in {run.kind.cloud}, {name}, or allow Create in spec.managementPolicies",
    )
    error.reason, error.prefix = "CannotObserveExternalResource", "observe failed"
    if conditions.is_true(run.managed, "Ready") and not run.context.options.strict_upstream:
        error.conditions = (conditions.unavailable(f"{run.kind.cloud} has it no more"),)
    return error


async def _release(run: ManagedRun) -> Result:
    """Let the object go: nothing of it is left in the cloud, or it stays there on purpose."""
    if is_deleting(run.managed) and Action.DELETE not in run.may and not run.context.options.strict_upstream:
        await secret_inputs.leave(run)
    if run.kind.refers:
        await run.context.cloud.let_go(run.managed)
    await leaving.release(run.managed, core.FINALIZER, run.context)
    if run.account and is_deleting(run.account.provider_config):  # which has waited for this one
        run.context.watches.enqueue(key_of(run.account.provider_config))
    return Result()


# --- reporting --------------------------------------------------------------------------------------------------


async def _pause(managed: Object, kind: ManagedKind, context: Context) -> None:
    run = ManagedRun(context, kind, managed, frozenset())
    if (conditions.find(managed, "Synced") or {}).get("reason") != "ReconcilePaused":
        run.event("Normal", "ReconciliationPaused", "Reconciliation is paused via the pause annotation")
    told = [conditions.reconcile_paused()]
    if conditions.find(managed, "Ready") is None and not context.options.strict_upstream:
        told.append(conditions.creating())
    await _write_status(run, told)


def _failed(run: ManagedRun, operation: str, error: GroundplaneError) -> list[Condition]:
    """What an operation in the background leaves behind: the cloud said no.  What passes by itself is no such end."""
    if not run.kind.asynchronous or not isinstance(error, InvalidInput | Denied):
        return []
    return [conditions.last_async(operation, str(error)), conditions.async_operation(ongoing=False)]


def _ongoing(run: ManagedRun) -> list[Condition]:
    """An operation was begun: no failure of an earlier one stays."""
    if not run.kind.asynchronous:
        return []
    failed = (conditions.find(run.managed, "LastAsyncOperation") or {}).get("status") == "False"
    return [*([conditions.last_async()] if failed else []), conditions.async_operation(ongoing=True)]


def _background(run: ManagedRun, observation: Observation, *, updated: bool) -> list[Condition]:
    """The operations in the background, as upstream tells of them for a thing that exists; the same at every quiet look."""
    if not run.kind.asynchronous:
        return []
    if not observation.settled:
        return _ongoing(run)
    if observation.drift and not updated:
        return [conditions.async_operation(ongoing=False)]
    return [conditions.last_async(), conditions.async_operation(ongoing=False)]


def _outlook(run: ManagedRun, observation: Observation, *, settled: bool) -> Condition | None:
    """What is still to come of a thing that exists, unless it says so itself."""
    if any(each.type in health.TYPES for each in observation.conditions):
        return None
    if observation.ready is None:
        ready = conditions.is_true(run.managed, "Ready")
        message = ""
    else:
        ready, message = observation.ready.status == "True", observation.ready.message
    if not settled:
        return health.reconciling("Updating" if ready else "Creating", message)
    if observation.ready is not None and observation.ready.reason == "Unavailable":
        return health.stalled("Failed", f"{run.kind.cloud} has given it up: {message}")
    return None


async def _write_status(
    run: ManagedRun,
    told: list[Condition],
    observation: Observation | None = None,
    *,
    outlook: Condition | None = None,
) -> None:
    generation = meta(run.managed).get("generation")
    status = fieldpath.copied(status_of(run.managed))
    wanted: Object = {**run.managed, "status": status}
    if observation is not None and observation.exists:
        status["atProvider"] = dict(observation.at_provider)
    if generation is not None:
        status["observedGeneration"] = generation
    if requested := requests.asked(wanted):
        status[requests.HANDLED] = requested
        run.event("Normal", "ReconcileRequestHandled", f"Handled reconcile request {shown(requested)}")
    run.context.tell(wanted, *told, outlook=outlook, generation=generation)
    run.take(await run.context.cluster.update(wanted, subresource="status"))


async def _forget(run: ManagedRun) -> None:
    """Drop what is known of a thing that is gone: it holds for no other, least of all that it has been shown."""
    status = fieldpath.copied(status_of(run.managed))
    del status["atProvider"]
    wanted: Object = {**run.managed, "status": status}
    generation = meta(run.managed).get("generation")
    conditions.set_on(wanted, conditions.creating(), now=run.context.now(), generation=generation)
    run.take(await run.context.cluster.update(wanted, subresource="status"))


def _pause_until_next(run: ManagedRun, observation: Observation | None = None, *, settled: bool) -> float | None:
    """Seconds; sooner than it would be, if the cloud says when something will have changed.  None: as long as nothing is written."""
    if settled and observation is not None and observation.rests and not requests.interval(run.managed):
        return observation.next_look
    usual = _usual_pause(run, settled=settled)
    if observation is None or observation.next_look is None:
        return usual
    return max(0.0, observation.next_look if not settled else min(usual, observation.next_look))


def _usual_pause(run: ManagedRun, *, settled: bool) -> float:
    if not settled:
        born = _age(run)
        return SOON if born < YOUNG else LATER
    return requests.interval(run.managed) or run.context.options.poll_interval


def _age(run: ManagedRun) -> float:
    """Seconds since the last thing that a cloud takes its time for: the create, or the deletion."""
    since = meta(run.managed).get("deletionTimestamp") or annotations_of(run.managed).get(core.CREATE_SUCCEEDED)
    if not since:
        return YOUNG
    moment = conditions.moment(since)
    age = (run.context.now() - moment).total_seconds() if moment else YOUNG
    return age if age >= 0 else YOUNG  # by a clock that is ahead: no telling
