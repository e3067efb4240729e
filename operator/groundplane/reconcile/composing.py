"""One run of the composite reconciler: what is known so far, and what both ways of composing do with composed resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundplane.core import conditions, health, naming, providers, summary
from groundplane.core.conditions import Condition
from groundplane.core.definition import Definition
from groundplane.core.naming import CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL, COMPOSITE_LABEL
from groundplane.core.objects import Key, Object, controller_of, group_of, is_deleting, key_of, labels_of, meta, spec_of
from groundplane.core.render import Rendered
from groundplane.errors import (
    Awaited,
    Denied,
    GroundplaneError,
    InvalidInput,
    Misshapen,
    NoSuchKind,
    NotFound,
    Rejected,
    Waiting,
    shown,
)
from groundplane.ports import Context
from groundplane.reconcile import connection
from groundplane.reconcile.taken import taken

SOURCE = "defined/compositeresourcedefinition.apiextensions.crossplane.io"
MISSHAPEN_RETRY = 30.0  # seconds until what did not fit its kind is applied again: upstream's longest backoff
REJECTED_RETRY = 60.0  # and what was refused otherwise: a policy may have, and nothing tells when that changes; as often as upstream polls
HOW_TO_ACTIVATE = "by a ManagedResourceActivationPolicy, or by --activations (the chart's provider.defaultActivations)"
FIRST = {("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")}  # what others need to be at all


@dataclass
class Composed:
    """What became of one composed resource in this run."""

    template: str
    object: Object | None = None
    synced: bool = True
    ready: bool = False
    is_judged: bool = False  # a function says that it is not ready, by rules of its own
    trouble: str = ""  # why it is not synced
    unmet: str = ""  # why it is not ready though nothing is wrong with it, and the mend: a check that it does not pass, nobody to look after it
    is_early: bool = False  # the trouble is but that others have not filled a field of the status yet
    is_refused: bool = False  # it can't be synced as it is wanted: only a person can help


@dataclass
class CompositeRun:
    """One reconcile of one composite: what is known so far."""

    context: Context
    definition: Definition
    composite: Object
    unserved: list[dict[str, str]] = field(default_factory=list)  # references to kinds that nobody serves now
    composed: list[Composed] = field(default_factory=list)
    told: list[Condition] = field(default_factory=list)  # by functions, for the composite's status
    responsive: tuple[Condition, ...] = ()  # whether it follows each change; upstream's v1 says nothing of it
    awaited: list[Awaited] = field(default_factory=list)  # what calls for another run by changing
    unknown: NoSuchKind | None = (
        None  # the first composed kind that nobody serves, where that fails the whole run, as upstream
    )
    claim_types: list[str] = field(default_factory=list)  # of conditions that the claim shows, too
    ready: bool | None = None  # what functions say of the composite itself; None: nothing
    retry: float | None = None  # seconds until what was refused is applied again
    again: bool = False  # something changed that the next run will see, and no event will tell
    created: bool = False  # a composed resource is new; of it there is no more to tell yet than that
    withheld: str = ""  # what is missing, where functions hold something back

    def event(self, type_: str, reason: str, message: str, *, plain: bool = False) -> None:
        """`plain`: without annotations, as upstream tells of the definition's defaults."""
        self.context.events.event(
            self.composite,
            "Warning" if type_ == "Warning" else "Normal",
            reason,
            message,
            source=SOURCE,
            annotations={} if plain else {"controller": f"composite/{self.definition.name}"},
        )


@dataclass(frozen=True)
class Made:
    """What composing gives to publish and to tell."""

    connection: Mapping[str, bytes] = field(repr=False)
    notes: Sequence[str] = ()
    ttl: float = 0.0  # seconds until functions want to be asked again; 0: not


def tell(run: CompositeRun, wanted: Object, *more: Condition, outlook: Condition | None) -> None:
    """Set on a composite's status, in place, what functions told in this run, more, and what is still to come."""
    run.context.tell(wanted, *run.told, *more, *run.responsive, outlook=outlook)
    if run.claim_types and run.definition.is_legacy:
        known = wanted["status"].get("claimConditionTypes") or []
        fresh = [type_ for type_ in dict.fromkeys(run.claim_types) if type_ not in known]
        wanted["status"]["claimConditionTypes"] = [*known, *fresh]


def summed_up(run: CompositeRun) -> dict[str, Any]:
    """How each composed resource does, for the composite's status."""
    return summary.of([_part(run, each) for each in run.composed])


def _part(run: CompositeRun, each: Composed) -> summary.Part:
    known = None
    if each.object is not None:
        key = key_of(each.object)
        definitions = run.context.definitions
        known = definitions.composite(key.group, key.kind) or definitions.claim(key.group, key.kind)
    nested = known is not None and not known.has_own_summary
    trouble = each.trouble or conditions.cause_of(each.object or {}) or each.unmet
    return summary.Part(each.template, each.object, each.ready, each.synced, trouble, nested)


def outlook(run: CompositeRun, *, is_ready: bool, cause: str) -> Condition | None:
    """What is still to come of a composite after a run that went through, by what its composed resources say."""
    composed = sorted(run.composed, key=lambda each: each.template)
    if any(each.is_refused for each in composed):
        return health.stalled("InvalidInput", cause)
    for each in composed:
        found = health.outlook(each.object) if each.object is not None else None
        if found is not None and found.type == health.STALLED:
            return health.stalled(found.reason, f"{(each.object or {})['kind']} {each.template}: {found.message}")
    if any(not each.synced for each in composed):
        return health.reconciling("Waiting", cause)
    total = len(composed)
    if not is_ready:
        unready = [each.template for each in composed if not each.ready]
        first = (
            f"; the first that is not: {unready[0]}" if unready else f": {run.withheld or 'the composition says so'}"
        )
        reason = "Creating" if unready else "Waiting"
        return health.reconciling(reason, f"{total - len(unready)} of {total} resources are ready{first}")
    return _change(run, composed)


def _change(run: CompositeRun, composed: Sequence[Composed]) -> Condition | None:
    """What a change still has to reach of resources that are all ready."""
    late: list[str] = []
    for each in composed:
        if each.object is None:
            continue
        found = health.outlook(each.object)
        if found is not None and found.reason == "Retrying":
            return health.reconciling("Retrying", f"{each.object['kind']} {each.template}: {found.message}")
        if found is not None or not health.has_seen(each.object, counted=run.context.counts(each.object)):
            late.append(each.template)
    if not late:
        return None
    words = f"{len(late)} of {len(composed)} resources still have to take the change; the first: {late[0]}"
    return health.reconciling("Updating", words)


def references(run: CompositeRun) -> list[dict[str, str]]:
    """What the composite refers to as composed resources."""
    found: list[dict[str, str]] = run.definition.machinery(run.composite).get("resourceRefs") or []
    return found


def claim_key(run: CompositeRun) -> Key | None:
    """The composite's claim, in the version that is read now: its claimRef may name an older one."""
    reference = spec_of(run.composite).get("claimRef") or {}
    known = run.context.definitions.claim(group_of(reference.get("apiVersion") or ""), reference.get("kind") or "")
    if known is None or not reference.get("name"):
        return None
    return Key(known.api_version, reference["kind"], reference.get("namespace") or "", reference["name"])


async def observe(run: CompositeRun, *, of_others: bool = False) -> list[Object]:
    """The composed resources that the composite refers to and that are there; those of others only if wanted."""
    found = []
    for reference in references(run):
        if not reference.get("name"):
            continue
        namespace = reference.get("namespace", "")
        if run.definition.is_namespaced:
            namespace = key_of(run.composite).namespace
        key = Key(reference["apiVersion"], reference["kind"], namespace, reference["name"])
        try:
            obj = await run.context.cluster.get(key)
        except NoSuchKind:
            run.unserved.append(dict(reference))
            continue
        if obj and (of_others or not is_of_others(run, obj)):
            found.append(obj)
    return found


def unseen(run: CompositeRun, rendered: Sequence[Rendered]) -> list[dict[str, str]]:
    """The references that stay though nothing is known of what they name: its kind is not served at the moment.

    But for those that a template has left by a change of its kind, under the name that we make: one misspelt, most likely.
    """
    root, uid = labels_of(run.composite).get(COMPOSITE_LABEL, ""), meta(run.composite).get("uid", "")
    made = {naming.composed_name(root, uid, item.template) for item in rendered}
    known = [dict(item.reference) for item in rendered]
    left = made & {reference.get("name", "") for reference in known}
    return [reference for reference in run.unserved if reference not in known and reference["name"] not in left]


def is_of_others(run: CompositeRun, obj: Object) -> bool:
    """Whether another object than this composite controls it."""
    controller = controller_of(obj)
    return controller is not None and controller.get("uid") != meta(run.composite)["uid"]


def is_controlled(run: CompositeRun, obj: Object) -> bool:
    """Whether this composite controls the object."""
    controller = controller_of(obj)
    return controller is not None and controller.get("uid") == meta(run.composite)["uid"]


def check_control(run: CompositeRun, live: Object) -> None:
    """Raise InvalidInput if the object is another one's: controlled by it, or bound to a claim."""
    controller = controller_of(live)
    if controller is not None and is_of_others(run, live):
        refers = any(reference.get("name") == meta(live)["name"] for reference in references(run))
        adopt = f"to adopt it, as after a restore, take that owner reference (UID {controller.get('uid')}) off it"
        if is_deleting(live):
            adopt = "wait until it is gone, unless its own conditions say what to do before"
        raise taken(
            live,
            f"existing object is not controlled by this composite: {key_of(live)} belongs to "
            f"{controller.get('kind')} {controller.get('name')}",
            mend=adopt if refers else "give the template another name, or delete that object",
        )
    key, claim = key_of(live), spec_of(live).get("claimRef")
    if controller is None and claim and run.context.definitions.composite(key.group, key.kind):
        raise taken(
            live,
            f"existing object is bound to a claim: {key} belongs to {claim.get('kind')} {claim.get('name')} "
            f"in namespace {claim.get('namespace')}",
            mend="give the template another name",
        )


def refused(run: CompositeRun, template: str, key: Key, error: InvalidInput, *, ready: bool = False) -> Composed:
    """A composed resource that can't be as it is wanted; the others go on, and this one is tried again when its kind is another one."""
    run.event("Warning", "ComposeResources", str(error))
    run.awaited += error.on
    if isinstance(error, Rejected):
        run.awaited.append(Awaited(key.group, key.kind, served=True))
        seconds = MISSHAPEN_RETRY if isinstance(error, Misshapen) else REJECTED_RETRY
        run.retry = min(seconds, run.retry or seconds)
    return Composed(template, synced=False, ready=ready, trouble=str(error), is_refused=True)


def not_served(run: CompositeRun, item: Rendered, error: NoSuchKind) -> Composed:
    """A composed resource whose kind nobody serves; the others go on, and this one is tried again as soon as it is served."""
    if name := run.context.built_in.inactive(item.reference["apiVersion"], item.reference["kind"]):
        error.mend = f"activate {name}, {HOW_TO_ACTIVATE}"
    run.event("Warning", "ComposeResources", str(error))
    run.awaited += error.on
    return Composed(item.template, synced=False, trouble=str(error))


async def apply_each(
    run: CompositeRun, rendered: Sequence[Rendered], apply: Callable[[Rendered], Awaitable[Composed]]
) -> None:
    """Apply all; first that without which the rest could not be.

    What the API server refuses because of its kind or its place keeps no other from being applied: upstream ends there, but begins with
    another one each time.

    Raises:
        GroundplaneError: the first such refusal, once all were tried; anything else at once.
    """
    refused: GroundplaneError | None = None
    for item in sorted(rendered, key=lambda item: _kind_of(item) not in FIRST):
        try:
            run.composed.append(await apply(item))
        except (Denied, NotFound, Waiting) as error:
            if refused is not None:
                refused.on += error.on
            refused = refused or error
    if refused is not None:
        raise refused


def _kind_of(item: Rendered) -> tuple[str, str]:
    return group_of(item.reference["apiVersion"]), item.reference["kind"]


def forced(run: CompositeRun, rendered: Sequence[Rendered]) -> None:
    """Tell of what asks for another namespace than its composite's."""
    own = key_of(run.composite).namespace
    for item in sorted(rendered, key=lambda item: item.template):
        if item.elsewhere:
            run.event(
                "Warning",
                "NamespaceOverridden",
                f'Composed resource "{item.template}" asks for namespace "{item.elsewhere}": it goes to that of its composite, "{own}"'
                " (leave its metadata.namespace out; to compose in other namespaces, declare the composite with scope: Cluster)",
            )


def check_names(rendered: Sequence[Rendered]) -> None:
    """Raise InvalidInput if a function gives a name that no object may have, before anything is made of what it desires."""
    for item in rendered:
        name = item.reference["name"]
        if not naming.may_be_called(item.reference["apiVersion"], name):
            raise InvalidInput(
                f'cannot apply composed resource "{item.template}": {shown(name)} is no name of a {item.reference["kind"]}',
                mend=naming.NAMES,
            )


async def check_scope(run: CompositeRun, rendered: Sequence[Rendered]) -> None:
    """Raise InvalidInput if a composite in a namespace would own what is in none: garbage collection would take it at once."""
    if not run.definition.is_namespaced:
        return
    for item in rendered:
        kind = item.reference["kind"]
        try:
            served = await run.context.cluster.resource(item.reference["apiVersion"], kind)
        except NoSuchKind:
            continue  # applying it says so
        if not served.namespaced:
            raise InvalidInput(
                f'cannot apply cluster scoped composed resource "{item.template}" (a {kind} named '
                f"{item.reference['name']}) for a namespaced composite resource",
                mend=providers.mend_of_cluster_scope(group_of(item.reference["apiVersion"]), kind),
            )


async def collect_garbage(run: CompositeRun, garbage: Object) -> bool:
    """Delete what left the composition; never what we do not control.  False if it stays, and nobody else controls it either."""
    controller = controller_of(garbage)
    if is_deleting(garbage) or controller is None or is_of_others(run, garbage):
        return is_deleting(garbage) or controller is not None
    key = key_of(garbage)
    names = (COMPOSITE_LABEL, CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL)
    await run.context.cluster.patch(key, {"metadata": {"labels": dict.fromkeys(names)}})
    await run.context.cluster.delete(key, uid=meta(garbage)["uid"])
    return True


async def details(run: CompositeRun, obj: Object) -> dict[str, bytes]:
    """The data of a composed resource's connection Secret; empty if there is none yet."""
    reference = spec_of(obj).get("writeConnectionSecretToRef") or {}
    if not isinstance(reference, dict) or not reference.get("name"):
        return {}
    namespace = meta(obj).get("namespace") or reference.get("namespace") or ""
    return await connection.read_own(run.context, obj, namespace, reference["name"])
