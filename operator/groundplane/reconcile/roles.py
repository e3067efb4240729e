"""The ClusterRoles of a definition, and whether the operator has the rights that its kinds need.

Upstream's RBAC manager is a process of its own (internal/controller/rbac/definition/reconciler.go); here the definition's reconciler does it, with the
roles before the watches, so that nobody is refused in between.
"""

from __future__ import annotations

from groundplane.core import conditions, roles
from groundplane.core.definition import Definition
from groundplane.core.objects import Key, Object, controller_of, is_of_predecessor, key_of, labels_of, meta
from groundplane.errors import Denied, NoSuchKind
from groundplane.ports import Context
from groundplane.reconcile.taken import taken

SOURCE = "rbac/compositeresourcedefinition.apiextensions.crossplane.io"
PACED = "roles"  # the pace at which they are put back
LAG = 10.0  # seconds until a role is gathered into the operator's own; some tenths of one, as a rule
WATCHED = ("list", "watch")  # without these a kind can't be followed


async def ensure(definition: Object, known: Definition, context: Context) -> bool:
    """Make or mend the definition's roles, as far as they differ; whether they are so new that they may not count yet.

    They are followed from then on, so that what somebody edits or deletes is put back at once.

    Raises:
        InvalidInput: its group is nobody's to give rights for, or a role of that name is somebody else's.
        Busy: somebody changes them again and again.
    """
    owned = [
        plural
        for plural in (known.plural, known.claim_plural)
        if plural and await _controls(definition, f"{plural}.{known.group}", context)
    ]
    wanted = roles.roles(known, definition, owned)
    await context.watches.ensure([(roles.API_VERSION, roles.KIND)], whole=True)
    found = [(role, await context.cluster.get(key_of(role))) for role in wanted]
    others = [(role, live) for role, live in found if live is None or not _is_as_wanted(live, role)]
    if (
        others and not context.options.strict_upstream
    ):  # two who want it otherwise would undo each other's work for ever
        context.paces.check(PACED, key_of(definition), context.uptime())
        context.paces.spend(PACED, key_of(definition), 1, context.uptime())
    for role, live in others:
        await _write(role, live, definition, context)
        text = f"Applied RBAC ClusterRole: {meta(role)['name']}"
        context.events.event(definition, "Normal", "ApplyClusterRoles", text, source=SOURCE)
    return bool(others) or any(_is_new(live, context) for _, live in found if live is not None)


async def _controls(definition: Object, crd: str, context: Context) -> bool:
    """Whether a CustomResourceDefinition is the definition's: one that only names somebody else's gives no right to it."""
    found = await context.cluster.get(Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", crd))
    return bool(found) and (controller_of(found or {}) or {}).get("uid") == meta(definition)["uid"]


def _is_new(role: Object, context: Context) -> bool:
    made = conditions.moment(meta(role).get("creationTimestamp") or "")
    return made is not None and abs((context.now() - made).total_seconds()) < LAG


def _is_as_wanted(live: Object, role: Object) -> bool:
    owner, controller = meta(role)["ownerReferences"][0], controller_of(live) or {}
    return (
        labels_of(live) == _labels(live, role)
        and (live.get("rules") or []) == role["rules"]
        and controller.get("uid") == owner["uid"]
    )


def _labels(live: Object, role: Object) -> dict[str, str]:
    """Those that a role is to have: others' stay, but none that says into which role its rules are gathered."""
    others = {name: value for name, value in labels_of(live).items() if not name.startswith(roles.LABELS)}
    return others | labels_of(role)


async def _write(role: Object, live: Object | None, definition: Object, context: Context) -> None:
    if live is None:
        await context.cluster.create(role)
        return
    owner, controller = meta(role)["ownerReferences"][0], controller_of(live)
    if controller and controller.get("uid") != owner["uid"] and not is_of_predecessor(live, definition):
        raise taken(
            live,
            f"ClusterRole {meta(role)['name']} belongs to {controller.get('kind')} {controller.get('name')}",
            mend="delete it, or rename the definition",
        )
    metadata = {
        **meta(live),
        "labels": _labels(live, role),
        "ownerReferences": [*(each for each in meta(live).get("ownerReferences") or () if each != controller), owner],
    }
    await context.cluster.update({**live, "metadata": metadata, "rules": role["rules"]})


async def refused(group: str, plural: str, context: Context) -> str:
    """Which right to follow a kind the operator lacks, as a verb; "" if none, or where there are no rights at all."""
    for verb in WATCHED:
        if not await may(verb, group, plural, context):
            return verb
    return ""


async def may(verb: str, group: str, plural: str, context: Context) -> bool:
    """Whether the API server would let us; a kind of resource that nobody serves is asked for all the same."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {"verb": verb, "group": group, "resource": plural}},
    }
    try:
        answer = await context.cluster.create(review)
    except NoSuchKind:
        return True
    return bool((answer.get("status") or {}).get("allowed"))


def denied(verb: str, group: str, plural: str) -> Denied:
    return Denied(f"the operator may not {verb} {plural}.{group}", mend=roles.grant(group, plural))
