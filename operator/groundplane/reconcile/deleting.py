"""A composite that is being deleted: what it is composed of goes first, in order, and it stays until the last of that is gone.

Nothing of where it stands is stored: each run looks at what is left (`core/deletion.py`), so it goes on after a crash, in
another process, and whatever becomes of the Composition: the sequences of its function-sequencer are those of the revision that the
composite is at, which nobody edits, and, since a revision goes with its Composition, noted on the composite when it is composed.  With strict upstream
behaviour composed resources are left to garbage collection, all at once, as upstream does; so they are where somebody asked for that
(`--cascade=orphan`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from groundplane.core import claim as flow
from groundplane.core import conditions, deletion
from groundplane.core.objects import Key, Object, is_deleting, is_paused, joined, key_of, meta, spec_of
from groundplane.core.references import Reference
from groundplane.errors import Conflict, GroundplaneError, NoSuchKind, NotFound, stage
from groundplane.functions import sequencer
from groundplane.ports import Context
from groundplane.reconcile import composing
from groundplane.reconcile.composing import CompositeRun

ORPHAN = "orphan"  # the finalizer of who is deleted with that policy: garbage collection takes it off, and the owner references


def is_left_alone(run: CompositeRun) -> bool:
    """Whether composed resources are not for us to delete."""
    return run.context.options.strict_upstream or ORPHAN in (meta(run.composite).get("finalizers") or ())


async def advance(run: CompositeRun) -> str:
    """Delete what nothing else needs any more; what is waited for, "" once nothing is left.

    Raises what refused a deletion, with what is waited for in its conditions; the others are deleted all the same.
    """
    kinds = {(reference["apiVersion"], reference["kind"]) for reference in composing.references(run)}
    await run.context.watches.ensure(sorted(kinds))
    refused: dict[Key, GroundplaneError] = {}
    sequences = await _sequences(run)
    while left := [obj for obj in await composing.observe(run) if composing.is_controlled(run, obj)]:
        users = deletion.users(left, lambda api_version, kind: _references(run.context, api_version, kind), sequences)
        freed = [key for key in map(key_of, left) if not users[key]]
        for obj in left:
            key = key_of(obj)
            if key in freed and not is_deleting(obj) and (error := await _delete(run, obj)):
                refused[key] = error
        found = [live for key in map(key_of, left) if (live := await run.context.cluster.get(key))]
        if set(freed) <= set(map(key_of, found)):  # else something went at once, and others may be free now
            return _text(found, freed, refused)
    return ""


def _text(left: Sequence[Object], freed: Sequence[Key], refused: Mapping[Key, GroundplaneError]) -> str:
    text = deletion.waits_text(left, freed, lambda obj: str(refused.get(key_of(obj)) or _why(obj)))
    for error in refused.values():
        error.conditions = (conditions.deleting(text),)
        raise error
    return text


async def _delete(run: CompositeRun, obj: Object) -> GroundplaneError | None:
    """Ask for its deletion; what refused it, which may pass.

    A claim is told to wait for its composite: it would be gone at once, and what it stands for deleted beside what that needs.
    """
    key, uid = key_of(obj), meta(obj)["uid"]
    is_claim = run.context.definitions.claim(key.group, key.kind) is not None
    try:
        with stage("DeleteComposedResource", f"cannot delete composed {key}"):
            if is_claim and spec_of(obj).get(flow.DELETE_POLICY) != flow.FOREGROUND:
                await run.context.cluster.patch(
                    key, {"metadata": {"uid": uid}, "spec": {flow.DELETE_POLICY: flow.FOREGROUND}}
                )
            await run.context.cluster.delete(key, uid=uid)
    except (Conflict, NoSuchKind, NotFound):
        return None  # another one has its name by now, or its kind goes: the next run sees what there is
    except GroundplaneError as error:
        return error
    return None


async def _sequences(run: CompositeRun) -> list[list[Callable[[str], bool]]]:
    """In which order what the composite is composed of was made, as the steps of its revision say, or said."""
    name = (run.definition.machinery(run.composite).get("compositionRevisionRef") or {}).get("name")
    key = Key("apiextensions.crossplane.io/v1", "CompositionRevision", "", str(name or ""))
    revision = await run.context.cluster.get(key) if name else None
    if revision is not None:
        return sequencer.matchers(sequencer.sequences(spec_of(revision).get("pipeline")))
    return sequencer.matchers(deletion.noted_sequences(run.composite), memory=deletion.NOTED_MEMORY)


def _references(context: Context, api_version: str, kind: str) -> Sequence[Reference]:
    managed = context.cloud.kind(api_version, kind)
    return managed.references if managed else ()


def _why(obj: Object) -> str:
    """Why an object is still there, in the words of whoever deletes it."""
    if is_paused(obj):
        return 'it is paused by the annotation "crossplane.io/paused"'
    if cause := conditions.cause_of(obj):
        return cause
    ready = conditions.find(obj, "Ready") or {}
    if ready.get("reason") == "Deleting" and ready.get("message"):
        return str(ready["message"])
    finalizers = meta(obj).get("finalizers") or ()
    return f"finalizers {joined(sorted(finalizers))}" if is_deleting(obj) and finalizers else ""
