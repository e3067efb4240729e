"""One run of the managed reconciler, and the protocol of a create: what is saved when, so that nothing is made twice.

That a create begins is saved before the call, its outcome after it.  A create is known by the object's UID and the text of the annotation
that says when it began: who was stopped in between saves its outcome only where that is still the object's create.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from groundplane.core import conditions, references
from groundplane.core import managed as core
from groundplane.core.conditions import Condition
from groundplane.core.managed import Action, Pending, Verdict
from groundplane.core.objects import Json, Key, Object, annotations_of, is_deleting, key_of, meta, spec_of
from groundplane.errors import Conflict, InvalidInput, Unavailable, Waiting, stage
from groundplane.ports import Account, Context, ManagedKind
from groundplane.reconcile import leaving

LATER = 10.0  # seconds between two looks at what takes its time
ATTEMPTS = 5  # to save the outcome of a create
_CLOCKS = "have the clocks of all replicas set by NTP; to go on at once, remove the annotation"


@dataclass
class ManagedRun:
    """One reconcile of one managed resource: what is known so far."""

    context: Context
    kind: ManagedKind
    managed: Object
    may: frozenset[Action]
    told: list[Condition] = field(default_factory=list)
    new_name: str = ""  # the external name, if it was chosen in this run and is not saved yet
    account: Account | None = None
    nested: list[tuple[references.Wish, dict[str, Json]]] = field(
        default_factory=list
    )  # what references in fields gave

    @property
    def given(self) -> Object:
        """The object as the cloud is to see it: with what references inside of its fields gave.

        That is not written into its spec: there a list is written whole, and whoever composes it would take it out again and again.
        """
        return references.placed(self.managed, self.nested)

    def take(self, managed: Object) -> None:
        """The object as it was written, with the name that was not."""
        self.managed = managed
        if self.new_name:
            metadata = dict(meta(managed))
            metadata["annotations"] = {**annotations_of(managed), core.EXTERNAL_NAME: self.new_name}
            self.managed = {**managed, "metadata": metadata}

    def event(self, type_: str, reason: str, message: str) -> None:
        key = key_of(self.managed)
        self.context.events.event(
            self.managed,
            "Warning" if type_ == "Warning" else "Normal",
            reason,
            message,
            source=source(key, self.context),
            annotations={"external-name": self.external_name},
        )

    @property
    def external_name(self) -> str:
        return annotations_of(self.managed).get(core.EXTERNAL_NAME) or ""


def source(key: Key, context: Context) -> str:
    """The component that events on this kind come from."""
    kind = context.cloud.kind(key.api_version, key.kind)
    return f"managed/{key.group and (kind.plural if kind else key.kind.lower()) + '.' + key.group}"


def asked(run: ManagedRun) -> dict[str, Json]:
    """What the user asks for: forProvider, and initProvider where that is silent."""
    spec = spec_of(run.managed)
    return {**(spec.get("initProvider") or {}), **(spec.get("forProvider") or {})}


def timestamp(run: ManagedRun) -> str:
    return conditions.timestamp(run.context.now())


async def begin(run: ManagedRun, to_note: Mapping[str, str]) -> None:
    """Save that a create begins, and what is to be noted before it.  A stale read conflicts: nothing is created.

    A patch, for an update that changes nothing is not sent: another process may have begun in this very second, with this very text.
    """
    finalizers = list(meta(run.managed).get("finalizers") or ())
    begun: dict[str, str | None] = {}
    if is_noted(run):
        begun = {**dict.fromkeys(core.CREATE_ENDS), core.CREATE_PENDING: timestamp(run)}  # no old end hides it
        begun |= {core.REGION: _region(run) or None, core.CREATE_UID: meta(run.managed)["uid"]}
    metadata = {
        "resourceVersion": meta(run.managed)["resourceVersion"],
        "annotations": {**to_note, **begun} | ({core.EXTERNAL_NAME: run.external_name} if run.external_name else {}),
        "finalizers": [*finalizers, *({core.FINALIZER} - set(finalizers))],
    }
    run.managed = await run.context.cluster.patch(key_of(run.managed), {"metadata": metadata})
    run.new_name = ""
    if is_noted(run):
        run.context.creates.begin(run.managed)


def is_noted(run: ManagedRun) -> bool:
    """Whether it is noted that a create begins, and how it ends.

    crossplane-runtime goes on with what has neither note as with what has both, and stops at a beginning without an end.
    """
    return run.context.options.strict_upstream or not run.kind.tells_maker


def _region(run: ManagedRun) -> str:
    """Where the create goes to: it is looked for there, wherever the spec points meanwhile.  "" where there are none."""
    return str(asked(run).get("region") or "") if run.kind.regional else ""


async def save_outcome(run: ManagedRun, notes: Mapping[str, str | None]) -> None:
    """Save the outcome of a create that is noted, whatever else is written meanwhile: it must not be lost, nor taken for another create's.

    Raises:
        Conflict: the object or its create is another one by now.
    """
    if not is_noted(run):
        return
    context, key = run.context, key_of(run.managed)
    for attempt in range(ATTEMPTS):
        try:
            if attempt:
                run.managed = await _still_ours(run, notes.get(core.EXTERNAL_NAME) or "")
                if core.CREATE_FAILED in notes and not core.is_create_unfinished(run.managed):
                    break  # somebody has found out already, and may have found more
            annotations = {**notes, **_outrun(run)}
            metadata = {"resourceVersion": meta(run.managed)["resourceVersion"], "annotations": annotations}
            written = await context.cluster.patch(key, {"metadata": metadata})
        except (Conflict, Unavailable) as error:
            if attempt == ATTEMPTS - 1 or isinstance(error, Overtaken):
                raise
        else:
            run.managed = {**run.managed, "metadata": meta(written)}
            break
    context.creates.forget(key)


def _outrun(run: ManagedRun) -> dict[str, None]:
    """What to write beside the end of a create that is said to have begun later, by a clock that was ahead: else it would count as unfinished."""
    return {core.CREATE_PENDING: None} if core.is_begun_later(run.managed, run.context.now()) else {}


class Overtaken(Conflict):
    """Another process, or a person, has ended what was begun here."""


async def _still_ours(run: ManagedRun, made: str) -> Object:
    """The object as it is now, if its latest create is still the one of this run, which has `made` something of that name."""
    found = await leaving.seen(key_of(run.managed), run.context, anyhow=True, live=True)
    if found is not None and core.create_of(found) == core.create_of(run.managed):
        return found
    run.context.creates.forget(key_of(run.managed))
    if made and made != annotations_of(found or {}).get(core.EXTERNAL_NAME):
        run.event(
            "Warning",
            "CannotCreateExternalResource",
            f"{made} was made too late: it is nobody's, delete it in {run.kind.cloud}",
        )
    raise Overtaken(f"another create of {key_of(run.managed)} has begun meanwhile")


def is_unsure_when(run: ManagedRun) -> bool:
    """Whether a create went through at a time that is ahead of ours, and was not seen here for long."""
    if not core.is_ahead(run.managed, core.CREATE_SUCCEEDED, run.context.now()):
        return False
    waited, _ = run.context.creates.waited(run.managed, run.context.uptime(), run.context.now())
    return waited < core.GRACE.total_seconds()


def too_early(run: ManagedRun, what: str, annotation: str, patience: float, then: str) -> Waiting:
    """What is waited for, until when, and why; `patience` in seconds since it was seen first."""
    context = run.context
    waited, since = context.creates.waited(run.managed, context.uptime(), context.now())
    told = annotations_of(run.managed).get(annotation)
    is_ahead = core.is_ahead(run.managed, annotation, context.now())
    why = f" (annotation {annotation} says {told}, which is ahead of the clock here)" if is_ahead else ""
    until = conditions.timestamp(since + timedelta(seconds=patience))
    error = Waiting(
        f"{what}{why}: {then} after {until}",
        mend=_CLOCKS if is_ahead else "",
        after=max(0.1, min(LATER, patience - waited)),
    )
    error.conditions = (conditions.deleting() if is_deleting(run.managed) else conditions.creating(),)
    return error


def check_over(run: ManagedRun) -> None:
    """Raise Waiting while what another process began without a note may still be sent to the cloud: what it makes would be left behind."""
    context, patience = run.context, run.context.options.create_wait
    waited, _ = context.creates.waited(run.managed, context.uptime(), context.now())
    if waited < patience:
        what = "another process began a create that may still be under way"
        raise too_early(run, what, core.CREATE_PENDING, patience, "it is taken for dead")


async def _found(run: ManagedRun, begun_by: str) -> str | None:
    """What the create has made, which carries the UID that it was begun with, whatever the object's is by now."""
    assert run.account is not None
    sought = {**run.managed, "metadata": {**meta(run.managed), "uid": begun_by or meta(run.managed)["uid"]}}
    return await run.context.cloud.find(sought, run.account)


async def recover(run: ManagedRun) -> None:
    """Find out what became of a create whose outcome was never saved."""
    assert run.account is not None
    context, patience = run.context, run.context.options.create_wait
    waited, _ = context.creates.waited(run.managed, context.uptime(), context.now())
    lag = core.GRACE.total_seconds() if core.is_ahead(run.managed, core.CREATE_PENDING, context.now()) else 0.0
    begun_by = core.begun_by(run.managed)
    is_of_predecessor = begun_by != meta(run.managed)["uid"] and run.kind.external_name == "assigned"
    with stage("CannotInitializeManagedResource", "cannot determine creation result"):
        found = await _found(run, begun_by)
        verdict = core.verdict(
            Pending(
                found=found,
                is_ours=context.creates.is_ours(run.managed),
                repeatable=run.kind.repeatable,
                deleting=is_deleting(run.managed),
                is_over=waited >= patience,
                is_of_predecessor=is_of_predecessor,
            )
        )
        if verdict is Verdict.WAIT:
            what = "another process began a create that may still be under way"
            raise too_early(run, what, core.CREATE_PENDING, patience, "it is taken for dead")
        if found == "" and waited < lag:
            raise too_early(
                run, f"{run.kind.cloud} shows nothing yet", core.CREATE_PENDING, lag, "it counts as not made"
            )
        if verdict is Verdict.REFUSE:
            by = " by the object that this one was restored from" if is_of_predecessor else ""
            error = InvalidInput(
                f"a create was begun{by} and its outcome is unknown",
                mend=f"look in {run.kind.cloud} whether it exists; if it does, set annotation {core.EXTERNAL_NAME} to its name; "
                f"then remove annotation {core.CREATE_PENDING}",
            )
            error.conditions = (conditions.creating(),)
            raise error
    ended = core.CREATE_SUCCEEDED if found else core.CREATE_FAILED
    notes = {ended: timestamp(run)} | ({core.EXTERNAL_NAME: found} if found else {})
    annotations = {**notes, **_outrun(run)}
    metadata = {"resourceVersion": meta(run.managed)["resourceVersion"], "annotations": annotations}
    written = await context.cluster.patch(key_of(run.managed), {"metadata": metadata})
    run.managed = {**run.managed, "metadata": meta(written)}
    context.creates.forget(key_of(run.managed))
    run.event(
        "Normal",
        "RecoveredExternalResource" if found else "PendingExternalResource",
        f"An interrupted create had made {found}: adopted" if found else "An interrupted create had made nothing",
    )
