"""What comes back from a backup: objects without owner references, status and UID, in any order, while others are still on their way.

A backup tool brings back spec, labels, annotations and finalizers (Velero, pkg/restore/restore.go, `resetMetadataAndStatus`).  So what an
object refers to, and has not written itself, may be about to come: to make it anew would make it twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from groundplane.core import conditions, naming
from groundplane.core.naming import CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL, COMPOSITE_LABEL, TEMPLATE_ANNOTATION
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    controller_of,
    group_of,
    is_deleting,
    key_of,
    labels_of,
    meta,
    spec_of,
)
from groundplane.errors import Awaited, InvalidInput, NoSuchKind, Waiting
from groundplane.ports import MANAGER, Context
from groundplane.reconcile import composing
from groundplane.reconcile.composing import CompositeRun

PATIENCE = 60.0  # seconds after an object's creation in which what it refers to may still come
OURS = frozenset({MANAGER, "apiextensions.crossplane.io/composite"})  # who writes references, as field managers


async def await_composite(claim: Object, name: str, kind: Key, context: Context) -> None:
    """Return if a claim may make the composite that it names and that is not there.

    Raises:
        Waiting: the claim is young, and somebody else than us wrote the reference: the composite may be about to be restored.
    """
    if not name or (left := _left(claim, context)) <= 0 or await _is_written_by_us(claim, ("f:resourceRef",), context):
        return
    raise Waiting(
        f'composite resource "{name}" is not there: it may be about to be restored',
        mend="restore it; else another one of that name is made a minute after the claim's creation",
        on=[Awaited(kind.group, kind.kind, name=name)],
        after=left,
    )


async def await_composed(run: CompositeRun) -> None:
    """Return if a composite may make anew what it refers to and what is not there.

    Raises:
        Waiting: the composite is young, and somebody else than us wrote the references: the others may be about to be restored.
    """
    references = composing.references(run)
    if (
        not references
        or conditions.is_true(run.composite, "Synced")
        or (left := _left(run.composite, run.context)) <= 0
    ):
        return
    found = {key_of(obj)[1:] for obj in await composing.observe(run, of_others=True)}
    run.unserved.clear()  # they are told of again
    own = key_of(run.composite).namespace
    missing = [
        reference
        for reference in references
        if reference.get("name")
        and (
            reference["kind"],
            own if run.definition.is_namespaced else reference.get("namespace", ""),
            reference["name"],
        )
        not in found
    ]
    where = ("f:resourceRefs",) if run.definition.is_legacy else ("f:crossplane", "f:resourceRefs")
    if not missing or await _is_written_by_us(run.composite, where, run.context):
        return
    first = missing[0]
    raise Waiting(
        f"{len(missing)} of {len(references)} composed resources are not there and may be about to be restored; "
        f"the first: {first['kind']} {first['name']}",
        mend="restore them; else they are made anew a minute after the composite's creation",
        on=[Awaited(group_of(each["apiVersion"]), each["kind"], name=each["name"]) for each in missing],
        after=left,
    )


def _left(obj: Object, context: Context) -> float:
    """Seconds until an object counts as complete; upstream waits for nothing."""
    if context.options.strict_upstream:
        return 0.0
    born = conditions.moment(str(meta(obj).get("creationTimestamp") or ""))
    if born is None or is_deleting(obj):
        return 0.0
    age = (context.now() - born).total_seconds()
    if (
        age < -PATIENCE
    ):  # the clock here is far behind, or was set back: what it says would keep the object waiting for as long
        age, _ = context.creates.waited(obj, context.uptime(), context.now())
    return PATIENCE - age


async def written_by_us_alone(obj: Object, names: Iterable[str], context: Context) -> set[str]:
    """Those fields of spec that were written by us, and in no part by anybody else.  Asks the API server: caches don't keep it."""
    live = await context.cluster.get(key_of(obj), live=True)
    entries = meta(live or {}).get("managedFields") or ()
    ours, others = set[str](), set[str]()
    for entry in entries:
        written = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        (ours if entry.get("manager") in OURS else others).update(name for name in names if f"f:{name}" in written)
    return ours - others


async def _is_written_by_us(obj: Object, path: tuple[str, ...], context: Context) -> bool:
    """Whether a field below spec was written by us since the object is there.  Asks the API server: caches don't keep it."""
    live = await context.cluster.get(key_of(obj), live=True)
    for entry in meta(live or {}).get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        for name in path:
            fields = fields.get(name) if isinstance(fields, dict) else None
        if fields is not None and entry.get("manager") in OURS:
            return True
    return False


async def lost(run: CompositeRun, templates: Iterable[tuple[str, str, str]]) -> dict[str, Object]:
    """What a predecessor of the composite has made, by template, where the composite refers to nothing: its references are lost.

    `templates` are name, API version and kind of each.  Taken is only what nobody controls, of the template's kind and in the
    composite's own namespace, with the labels that this composite gives, the template's annotation, and a name that is made of the
    composite's.  Below another composite that can't be told apart: nothing is taken there, nor beside one but the composites themselves.

    Raises:
        InvalidInput: there are two for one template.
    """
    wanted = list(templates)
    if composing.references(run) or labels_of(run.composite).get(COMPOSITE_LABEL) != meta(run.composite)["name"]:
        return {}
    nested = [each for each in wanted if run.context.definitions.composite(group_of(each[1]), each[2])]
    found: dict[str, Object] = {}
    for api_version, kind in sorted({(version, kind) for _, version, kind in nested or wanted}):
        names = {name for name, *of in wanted if of == [api_version, kind]}
        for obj in await _left_behind(run, api_version, kind):
            template = annotations_of(obj).get(TEMPLATE_ANNOTATION) or ""
            if template not in names or spec_of(obj).get("claimRef"):
                continue
            if template in found:
                raise InvalidInput(
                    f'two objects may be "{template}" of this composite: {key_of(found[template])} and {key_of(obj)}',
                    mend="name the one that counts in the composite's resourceRefs, or take the annotation "
                    f"{TEMPLATE_ANNOTATION} off the other",
                )
            found[template] = obj
    return found


async def _left_behind(run: CompositeRun, api_version: str, kind: str) -> list[Object]:
    """The objects of a kind that nobody controls and that are marked and named as this composite's."""
    theirs, root = labels_of(run.composite), meta(run.composite)["name"]
    labels = {COMPOSITE_LABEL: root} | {
        name: theirs[name] for name in (CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL) if theirs.get(name)
    }
    namespace = key_of(run.composite).namespace
    try:
        await run.context.watches.ensure([(api_version, kind)])  # or each of a thousand new composites lists it
        found = await run.context.cluster.list(api_version, kind, namespace=namespace, labels=labels)
    except NoSuchKind:
        return []
    return [
        obj
        for obj in found
        if controller_of(obj) is None
        and not is_deleting(obj)
        and key_of(obj).namespace == namespace
        and naming.is_composed_name(root, meta(obj)["name"])
        and all(
            labels_of(obj).get(name, "") == theirs.get(name, "") for name in (CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL)
        )
    ]
