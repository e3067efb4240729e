"""Which Composition and which of its revisions a composite takes; and what of that its claim can say beforehand.

Source: Crossplane v1.20, internal/controller/apiextensions/composite (composition_selector, revision fetcher).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from groundplane.core import claim as flow
from groundplane.core import composition, conditions
from groundplane.core.definition import Definition
from groundplane.core.objects import Key, Object, applied_by, controller_of, key_of, meta, spec_of
from groundplane.errors import Awaited, InvalidInput, Waiting, stage
from groundplane.ports import Context
from groundplane.reconcile import composing, leaving, restored, silence
from groundplane.reconcile.composing import CompositeRun

CORE = "apiextensions.crossplane.io"
CORE_VERSION = f"{CORE}/v1"
CHOSEN = ("compositionRef", "compositionRevisionRef")  # of a composite's machinery
FORESEEN = (*CHOSEN, "compositionRevisionSelector")  # of a claim's spec
TOLD = ("Waiting", "Available")  # reasons of Ready of a claim that has told of a composite


async def select(run: CompositeRun) -> Object:
    """Choose composition and revision; both are set on `run.composite`, in memory."""
    before = copy.deepcopy(spec_of(run.composite))
    said = await _said_by_claim(run)
    with stage("SelectComposition", "cannot select Composition"):
        await _select_composition(run, said.get("compositionRef"))
    _select_revisions(run, said.get("compositionRevisionSelector"))
    if pinned := said.get("compositionRevisionRef"):
        run.definition.machinery(run.composite)["compositionRevisionRef"] = pinned
    _follow(run)
    try:
        with stage("ComposeResources", "cannot fetch Composition"):
            return await _select_revision(run)
    finally:
        _tell_choice(run, run.definition.machinery({"spec": before}))


def _tell_choice(run: CompositeRun, before: Object) -> None:
    chosen = {name: (run.definition.machinery(run.composite).get(name) or {}).get("name") for name in CHOSEN}
    words = ("Successfully selected composition", "Selected composition revision")
    told = [
        f"{text}: {name}"
        for text, (field, name) in zip(words, chosen.items(), strict=True)
        if name and (before.get(field) or {}).get("name") != name
    ]
    if told:
        run.event("Normal", "SelectComposition", "; ".join(told))


def _follow(run: CompositeRun) -> None:
    """Be told of the composition's next revision, unless it is not to be taken."""
    machinery = run.definition.machinery(run.composite)
    follows = machinery.get("compositionUpdatePolicy") != "Manual"
    run.context.followers.set(
        key_of(run.composite),
        machinery["compositionRef"]["name"] if follows else "",
        selects=bool(machinery.get("compositionRevisionSelector")),
    )


async def _said_by_claim(run: CompositeRun) -> dict[str, Any]:
    """What the claim says of a composite's first choice, and has not applied to it.

    It wrote that when it made the composite (`foreseen`), or a person did meanwhile; later it applies it.  What fits may be another
    by now: to choose once more would be to change over to what the claim says, as soon as that is applied.
    """
    machinery = run.definition.machinery(run.composite)
    key = composing.claim_key(run)
    if key is None or machinery.get("compositionRevisionRef"):
        return {}
    claim = await leaving.seen(key, run.context, anyhow=True)
    spec = spec_of(claim or {})
    if (spec.get("resourceRef") or {}).get("name") != key_of(run.composite).name:
        return {}
    names = ["compositionRef", "compositionRevisionSelector"]
    is_pinned = "Manual" == machinery.get("compositionUpdatePolicy") == spec.get("compositionUpdatePolicy")
    if is_pinned and not run.context.options.strict_upstream:
        names.append("compositionRevisionRef")
    return {name: copy.deepcopy(spec[name]) for name in names if spec.get(name) and not machinery.get(name)}


def _select_revisions(run: CompositeRun, said: Object | None) -> None:
    """Begin with the definition's selector of revisions where the composite has none, and no revision yet."""
    machinery = run.definition.machinery(run.composite)
    labels = _default_revision_labels(machinery, run.definition, run.context)
    if said and _labels({"said": said}, "said") != labels:
        machinery["compositionRevisionSelector"] = said
    elif labels:
        machinery["compositionRevisionSelector"] = {"matchLabels": labels}
        run.event("Normal", "CompositionSelection", "Default revision selector has been selected", plain=True)


def _default_revision_labels(machinery: Mapping[str, Any], definition: Definition, context: Context) -> dict[str, str]:
    """Those that revisions must have by the definition, for a composite that says nothing of revisions; v1.20 knows none."""
    if machinery.get("compositionRevisionSelector") or machinery.get("compositionRevisionRef"):
        return {}
    return {} if context.options.strict_upstream else dict(definition.default_revision_labels or {})


async def _select_composition(run: CompositeRun, said: Object | None) -> None:
    machinery = run.definition.machinery(run.composite)
    name, how = _by_definition(machinery, run.definition)
    if said and not run.definition.enforced_composition and said.get("name") != name:
        machinery["compositionRef"] = said
    elif name:
        machinery["compositionRef"] = {"name": name}
        run.event("Normal", "CompositionSelection", f"{how} composition has been selected", plain=True)
    if (machinery.get("compositionRef") or {}).get("name"):
        return
    key, selector = key_of(run.composite), _labels(machinery, "compositionSelector")
    candidates = await run.context.cluster.heads(CORE_VERSION, "Composition", composition.head, labels=selector)
    fitting = [c for c in candidates if composition.compatible(c, key.api_version, key.kind)]
    if not fitting:
        place = f"{run.definition.place}.compositionSelector"
        labelled = f" and that carries the labels {_labels_text(selector)}, or correct {place}" if selector else ""
        raise Waiting(
            _nothing_fits(key, selector, candidates),
            mend="apply a Composition whose spec.compositeTypeRef names them" + labelled,
            on=[Awaited(CORE, "Composition", labels=tuple(sorted(selector.items())))],
        )
    chosen = fitting[run.context.choose(len(fitting))]
    machinery["compositionRef"] = {"name": meta(chosen)["name"]}


def _by_definition(machinery: Mapping[str, Any], definition: Definition) -> tuple[str, str]:
    """The Composition that the definition chooses, and how: "Enforced" or "Default"; two empty texts where it leaves the choice."""
    named = (machinery.get("compositionRef") or {}).get("name")
    if enforced := definition.enforced_composition:
        return (enforced, "Enforced") if named != enforced else ("", "")
    if named or machinery.get("compositionSelector") or not definition.default_composition:
        return "", ""
    return definition.default_composition, "Default"


def _labels(machinery: Mapping[str, Any], selector: str) -> dict[str, str]:
    return (machinery.get(selector) or {}).get("matchLabels") or {}


def _nothing_fits(key: Key, selector: Mapping[str, str], candidates: Sequence[Object]) -> str:
    text = f"no compatible Compositions found for apiVersion {key.api_version}, kind {key.kind}"
    if selector:
        text += f" with labels {_labels_text(selector)}"
    others = sorted(
        f"{meta(c)['name']} is for {reference.get('kind')} of {reference.get('apiVersion')}"
        for c in candidates
        for reference in [spec_of(c).get("compositeTypeRef") or {}]
    )[:3]
    return f"{text} ({'; '.join(others)})" if others else text


def _labels_text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


async def _select_revision(run: CompositeRun) -> Object:
    machinery = run.definition.machinery(run.composite)
    name = machinery["compositionRef"]["name"]
    policy = machinery.get("compositionUpdatePolicy")
    origin = await leaving.seen(Key(CORE_VERSION, "Composition", "", name), run.context, anyhow=True)
    if origin is None:
        raise Waiting(
            f'Composition "{name}" not found',
            mend=f"apply it, or correct {run.definition.place}.compositionRef.name",
            on=[Awaited(CORE, "Composition", name=name)],
        )
    silence.of_selector(run, origin)
    if policy == "Manual" and (pinned := await _pinned(run, origin)):
        return await _checked(run, pinned)
    revision = await _newest_revision(origin, machinery, policy, run.context)
    if revision is None:
        selector = _labels(machinery, "compositionRevisionSelector")
        raise Waiting(
            f'no compatible CompositionRevisions found for Composition "{name}"'
            + (f" with labels {_labels_text(selector)}" if selector and policy == "Automatic" else ""),
            mend=f"correct {run.definition.place}.compositionRevisionSelector, or wait a moment if the Composition is new",
            on=[Awaited(CORE, "CompositionRevision", labels=(("crossplane.io/composition-name", name),))],
        )
    machinery["compositionRevisionRef"] = {"name": meta(revision)["name"]}
    return await _checked(run, revision)


async def _newest_revision(
    origin: Object, machinery: Mapping[str, Any], policy: str | None, context: Context
) -> Object | None:
    """The newest revision of a Composition that the policy and the composite's selector allow; None if there is none."""
    labels = {composition.NAME_LABEL: meta(origin)["name"]}
    revisions = await context.cluster.heads(CORE_VERSION, "CompositionRevision", composition.head, labels=labels)
    selector = _labels(machinery, "compositionRevisionSelector")
    return composition.select_revision(revisions, composition_uid=meta(origin)["uid"], policy=policy, selector=selector)


async def _pinned(run: CompositeRun, origin: Object) -> Object | None:
    """The revision that the composite names, which must be one of its Composition's; None if it may have another one.

    It may where it once chose the revision itself, and its claim went to another Composition since, or the definition made it;
    and where the definition enforces the Composition, which overrides all that is asked for.
    """
    name = (run.definition.machinery(run.composite).get("compositionRevisionRef") or {}).get("name")
    if not name:
        return None
    revision = await run.context.cluster.get(Key(CORE_VERSION, "CompositionRevision", "", name))
    if revision is None:
        raise Waiting(
            f'CompositionRevision "{name}" not found',
            mend="name an existing revision in compositionRevisionRef, or remove it",
            on=[Awaited(CORE, "CompositionRevision", name=name)],
        )
    if composition.is_revision_of(revision, origin):
        return revision
    if composition.names_composition(revision, origin) and controller_of(revision) is None:
        raise Waiting(
            f'CompositionRevision "{name}" is not controlled by its Composition yet',
            mend="wait a moment: it is adopted",
            on=[Awaited(CORE, "CompositionRevision", name=name)],
        )
    if run.definition.enforced_composition and not composition.names_composition(revision, origin):
        return None
    is_asked_for = "compositionRevisionRef" in applied_by(run.composite, flow.MANAGER)
    if spec_of(run.composite).get("claimRef") and not is_asked_for:
        return None
    raise InvalidInput(
        f'CompositionRevision "{name}" is none of Composition "{meta(origin)["name"]}", which is in use here',
        mend="name one of its revisions in compositionRevisionRef, or remove compositionRevisionRef",
    )


async def _checked(run: CompositeRun, revision: Object) -> Object:
    key = key_of(run.composite)
    reference = spec_of(revision).get("compositeTypeRef") or {}
    version, is_strict = reference.get("apiVersion", ""), run.context.options.strict_upstream
    # A Composition stays when another version becomes the referenceable one, but not where its paths may mean nothing there.
    if is_strict or run.definition.has_conversion or version not in run.definition.versions:
        version = key.api_version
    if composition.compatible(revision, version, key.kind):
        return revision
    raise InvalidInput(
        "referenced composition is not compatible with this composite resource: "
        f"it is for {reference.get('kind')} of {reference.get('apiVersion')}, this is {key.kind} of {key.api_version}",
        mend=f"name a Composition for this kind in {run.definition.place}.compositionRef",
    )


# --- for a claim, beforehand -----------------------------------------------------------------------------


async def foreseen(claim: Object, definition: Definition, context: Context) -> dict[str, Any]:
    """What the composite that a claim is about to make will choose: fields of the claim's spec, as far as they are certain.

    The claim saves them with its first write, so that none is left to do once its composite has chosen, which goes by them
    (`_said_by_claim`).  Where several Compositions fit, it is the composite that chooses.
    """
    machinery = dict(spec_of(claim))
    name = _by_definition(machinery, definition)[0] or (machinery.get("compositionRef") or {}).get("name")
    if not name:
        labels = _labels(machinery, "compositionSelector")
        candidates = await context.cluster.heads(CORE_VERSION, "Composition", composition.head, labels=labels)
        fitting = [c for c in candidates if composition.compatible(c, definition.api_version, definition.kind)]
        if len(fitting) != 1:
            return {}
        name = meta(fitting[0])["name"]
    chosen: dict[str, Any] = {"compositionRef": {"name": name}}
    if labels := _default_revision_labels(machinery, definition, context):
        chosen["compositionRevisionSelector"] = {"matchLabels": labels}
    policy = machinery.get("compositionUpdatePolicy") or definition.default_update_policy
    origin = await context.cluster.get(Key(CORE_VERSION, "Composition", "", name))
    if policy == "Automatic" and origin is not None:
        revision = await _newest_revision(origin, machinery | chosen, policy, context)
        if revision is not None:
            chosen["compositionRevisionRef"] = {"name": meta(revision)["name"]}
    return chosen


async def unforeseen(claim: Object, context: Context) -> Object:
    """A claim that has no composite, as a copy without what was foreseen for one that was never made: it may be otherwise by now.

    What a composite has chosen stays, since its claim tells of that: the next one is to be like it.
    """
    if not spec_of(claim).get("resourceRef") or (conditions.find(claim, "Ready") or {}).get("reason") in TOLD:
        return claim
    ours = await restored.written_by_us_alone(claim, FORESEEN, context)
    return {**claim, "spec": {name: value for name, value in spec_of(claim).items() if name not in ours}}
