"""What nothing would tell, although somebody wants to know: each said in one event, once in a process.

Upstream is silent in all of these, so with strict upstream behaviour we are, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from groundplane.core import conditions, known_schemas, readiness
from groundplane.core.objects import Json, Key, Object, group_of, key_of, labels_of, matches, meta, spec_of, status_of
from groundplane.core.pipeline import Remote, Step
from groundplane.core.structural import OpenAPI
from groundplane.errors import NoSuchKind, mending, with_article
from groundplane.functions import auto_ready
from groundplane.ports import Context
from groundplane.reconcile.composing import HOW_TO_ACTIVATE, SOURCE, Composed, CompositeRun

REMEMBERED = 10_000  # objects about which something was said
PATIENCE = 10.0  # seconds in which somebody else's provider says its first word on a new object
SENTENCES = 20  # that are remembered of each
DEFAULT_CHECKS = [
    {"type": "MatchCondition", "matchCondition": {"type": "Ready", "status": "True"}}
]  # as the schema has it
READY_BUILT_IN = frozenset({"Pod", "Node"})  # the only kinds of Kubernetes itself that have a condition Ready


def once(run: CompositeRun, about: Object, reason: str, message: str) -> None:
    """A Warning about an object, unless it was said since the start."""
    if not _is_new(run.context, about, message):
        return
    if meta(about).get("uid") == meta(run.composite).get("uid"):
        run.event("Warning", reason, message)
    else:
        run.context.events.event(about, "Warning", reason, message, source=SOURCE)


def _is_new(context: Context, about: Object, message: str) -> bool:
    """Whether it is to be said; from then on it counts as said."""
    noted, uid = context.noted, meta(about).get("uid", "")
    told = noted.get(uid, ())
    if context.options.strict_upstream or message in told:
        return False
    noted[uid] = (*told[1 - SENTENCES :], message)
    if len(noted) > REMEMBERED:
        del noted[next(iter(noted))]
    return True


def of_spec(about: Object, reason: str, message: str, context: Context, source: str) -> None:
    """What an object itself asks for and does not get; "": nothing."""
    if message and _is_new(context, about, message):
        context.events.event(about, "Warning", reason, message, source=source)


def forget(run: CompositeRun) -> None:
    """The composite goes: what was said of it may be said of the next one."""
    run.context.noted.pop(meta(run.composite).get("uid", ""), None)


def of_selector(run: CompositeRun, origin: Object) -> None:
    """A compositionSelector that would choose another Composition than the one in use: a choice, once made, stays."""
    selector = run.definition.machinery(run.composite).get("compositionSelector") or {}
    wanted = selector.get("matchLabels") or {}
    if not wanted or run.definition.enforces_composition or matches(labels_of(origin), wanted):
        return
    once(
        run,
        run.composite,
        "SelectComposition",
        f'compositionSelector has no effect: Composition "{meta(origin)["name"]}", which is in use, lacks its labels, and a Composition '
        "stays once it is chosen. Mend: clear compositionRef of the claim and of the composite to choose again.",
    )


async def of_details(run: CompositeRun, left_out: Iterable[str]) -> None:
    """Connection details that no Secret will have, said where they are composed and where they are declared."""
    names = ", ".join(sorted(left_out))
    if not names:
        return
    text = (
        f"connection details {names} are left out of the Secret: CompositeResourceDefinition {run.definition.name} does not list them. "
        "Mend: add them to its spec.connectionSecretKeys, or compose them under a name that it lists."
    )
    once(run, run.composite, "PublishConnectionSecret", text)
    name = (run.definition.machinery(run.composite).get("compositionRef") or {}).get("name", "")
    origin = await run.context.cluster.get(Key("apiextensions.crossplane.io/v1", "Composition", "", name))
    if origin is not None:
        once(run, origin, "PublishConnectionSecret", text)


def of_orphan(run: CompositeRun, orphan: Object) -> None:
    """What left the composition and stays, since nothing says any more that it is the composite's."""
    once(
        run,
        run.composite,
        "ComposeResources",
        f"{key_of(orphan)} left the composition and is not deleted: it has no owner reference to this composite any more. "
        "Mend: delete it by hand if nobody needs it.",
    )


def of_former(run: CompositeRun, former: Object, template: str, kind: str) -> None:
    """What a template made before it made another kind: upstream forgets it, and it stands for something, perhaps with data."""
    once(
        run,
        run.composite,
        "ComposeResources",
        f'{key_of(former)} is not composed any more, for template "{template}" makes {with_article(kind)} now; it stays until its composite goes. '
        "Mend: delete it by hand if nobody needs it; under another name of the template it would have been deleted.",
    )


async def of_readiness(run: CompositeRun, revision: Object, steps: Sequence[Step]) -> None:
    """Composed resources that are ready themselves and do not pass a check, or wait for a condition Ready that their kind can't have.

    What functions elsewhere go by, only they know.
    """
    if run.context.options.strict_upstream or any(isinstance(step.run, Remote) for step in steps):
        return
    knowing = any("auto-ready" in step.function for step in steps)
    for composed in run.composed:
        if composed.ready or composed.is_judged or not composed.synced or composed.object is None:
            continue
        if conditions.is_true(composed.object, "Ready"):
            composed.unmet = _unmet(composed.object, _checks(await _full(run, revision), composed.template))
            continue
        if await _may_be_ready(run, composed):
            continue
        if knowing and auto_ready.knows(composed.object["apiVersion"], composed.object["kind"]):
            continue
        if checks := _checks(await _full(run, revision), composed.template):
            composed.unmet = _unmet(composed.object, checks)
            continue
        key = key_of(composed.object)
        once(
            run,
            run.composite,
            "ComposeResources",
            f'composed resource "{composed.template}" will never be ready: {key.kind} of {key.api_version} has no conditions. '
            "Mend: give it readinessChecks, [{type: None}] if it is ready as soon as it is there.",
        )


def _unmet(obj: Object, checks: Sequence[Json]) -> str:
    found = readiness.unmet(obj, checks)
    return found and f"{found}. {mending('correct the check in its Composition, if that is not to come')}"


def of_inactive(run: CompositeRun) -> float | None:
    """Composed resources of a kind that is served, and not active here, of which nobody else tells anything either.

    Seconds until the next look, if one is too young to tell: another provider may be about to begin with it.
    """
    looks: list[float] = []
    if run.context.options.strict_upstream:
        return None
    for composed in run.composed:
        if composed.ready or composed.object is None or status_of(composed.object).get("conditions"):
            continue
        name = run.context.built_in.inactive(composed.object["apiVersion"], composed.object["kind"])
        born = conditions.moment(str(meta(composed.object).get("creationTimestamp"))) if name else None
        if born is None:
            continue
        left = PATIENCE - (run.context.now() - born).total_seconds()
        if 0 < left <= PATIENCE:  # more: the clock here is behind, and tells no age
            looks.append(left)
            continue
        mend = f"activate it {HOW_TO_ACTIVATE}, or start the provider that runs it"
        composed.unmet = f"nobody looks after it, for {name} is not active here. {mending(mend)}"
    return min(looks, default=None)


async def _may_be_ready(run: CompositeRun, composed: Composed) -> bool:
    obj = composed.object or {}
    key, context = key_of(obj), run.context
    if status_of(obj).get("conditions") or context.cloud.kind(key.api_version, key.kind):
        return True
    if context.definitions.composite(key.group, key.kind) or context.definitions.claim(key.group, key.kind):
        return True
    if "." not in key.group or key.group.endswith(".k8s.io"):
        return key.kind in READY_BUILT_IN
    try:
        plural = (await context.cluster.resource(key.api_version, key.kind)).plural
    except NoSuchKind:
        return True
    place = Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"{plural}.{group_of(key.api_version)}")
    crd = await context.cluster.get(place)
    schema = known_schemas.version_schema(crd, key.api_version) if crd else None
    return schema is None or _has_conditions(schema)


def _has_conditions(schema: OpenAPI) -> bool:
    for name in ("status", "conditions"):
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return True
        below = (schema.get("properties") or {}).get(name)
        if below is None:
            return False
        schema = below
    return True


async def _full(run: CompositeRun, revision: Object) -> Object:
    place = Key("apiextensions.crossplane.io/v1", "CompositionRevision", "", meta(revision)["name"])
    return await run.context.cluster.get(place) or revision


def _checks(revision: Object, template: str) -> list[Json]:
    """A template's checks, as they are written; none where its condition Ready decides."""
    spec = spec_of(revision)
    holders: list[Mapping[str, object]] = [spec, *(step.get("input") or {} for step in spec.get("pipeline") or ())]
    for holder in holders:
        resources = holder.get("resources")
        for resource in resources if isinstance(resources, list) else ():
            if isinstance(resource, dict) and resource.get("name") == template:
                given: list[Json] = resource.get("readinessChecks") or []
                return [] if given == DEFAULT_CHECKS else given
    return []
