"""Package revisions and the Lock as Crossplane has left them: they stay as they are, but whoever deletes one is not kept waiting.

Their finalizers wait for Crossplane's package manager, which works no more.  What it would do before it takes them off is done here, as
far as somebody may still ask for it: a revision that goes leaves the Lock, so that Crossplane, if it comes back, does not take its package for installed.

Ours: a revision waits as long as there are objects of kinds that would go with it.  It owns what its package installed, so the garbage
collector takes definitions, with them claims and managed resources, and we would delete all that is in AWS, where Crossplane's
provider has gone before and deletes nothing.
Source: Crossplane v2.3, internal/controller/pkg/{revision,resolver}/reconciler.go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from groundplane.core import activation
from groundplane.core.objects import (
    Key,
    Object,
    has_finalizer,
    is_deleting,
    is_paused,
    key_of,
    meta,
    spec_of,
)
from groundplane.errors import Awaited, NoSuchKind, Waiting
from groundplane.ports import Context, Result
from groundplane.reconcile import definition, leaving

SOURCE = "packages/lock.pkg.crossplane.io"
GROUP = "pkg.crossplane.io"
REVISIONS = ("ProviderRevision", "FunctionRevision", "ConfigurationRevision")
REVISION_FINALIZER = f"revision.{GROUP}"
LOCK, LOCK_VERSION, LOCK_NAME, LOCK_FINALIZER = "Lock", f"{GROUP}/v1beta1", "lock", f"lock.{GROUP}"
KINDS = (*((f"{GROUP}/v1", kind) for kind in REVISIONS), (LOCK_VERSION, LOCK))  # as (api version, kind)
_CRD = (definition.CRD_VERSION, definition.CRD_KIND)
_DEFINING = ((definition.API_VERSION, definition.KIND), (activation.VERSION, activation.DEFINITION))


async def reconcile(key: Key, context: Context) -> Result:
    """Let go what somebody deletes; a paused one waits, as upstream's.

    Raises:
        Waiting: there are objects that would go with it.
    """
    found = await leaving.seen(key, context)
    if found is None or not is_deleting(found) or is_paused(found):
        return Result()
    if key.kind == LOCK:
        await leaving.release(found, LOCK_FINALIZER, context)
    elif has_finalizer(found, REVISION_FINALIZER):
        await _check_use(found, context)
        await _leave_lock(found, context)
        await leaving.release(found, REVISION_FINALIZER, context)
    return Result()


async def _check_use(revision: Object, context: Context) -> None:
    """Raise Waiting if there is an object of a kind that goes with the revision."""
    async for root, crd in _kinds_of(revision, context):
        spec = spec_of(crd)
        group, kind = spec["group"], spec["names"]["kind"]
        stored = next(each["name"] for each in spec["versions"] if each.get("storage"))
        try:
            objects = await context.cluster.list(f"{group}/{stored}", kind)
        except NoSuchKind:
            continue
        if objects:
            first = key_of(objects[0])
            place = f"{first.namespace}/{first.name}" if first.namespace else first.name
            owner, own = key_of(revision), key_of(root)
            raise Waiting(
                f"{owner.kind} {owner.name} owns {own.kind} {own.name}, which would go with it, and with that all {spec['names']['plural']}: {place} is there",
                mend=f"delete those objects first; to keep them, take the owner references off that {own.kind}",
                on=[Awaited(group, kind), Awaited(own.group, own.kind, name=own.name)],
            )


async def _kinds_of(revision: Object, context: Context) -> AsyncIterator[tuple[Object, Object]]:
    """What would go with the revision that defines kinds, each with the CustomResourceDefinition of such a kind.

    Whether it controls them or not: a revision that is active no more owns what it installed as well.
    """
    uid = meta(revision)["uid"]
    crds = await context.cluster.heads(*_CRD, _head)
    for crd in _owned(crds, uid):
        if not await _has_other_owner(crd, uid, context):
            yield crd, crd
    for defining in _DEFINING:
        try:
            roots = await context.cluster.heads(*defining, _head)
        except NoSuchKind:
            continue  # v1.20 has no managed definitions
        for root in _owned(roots, uid):
            if not await _has_other_owner(root, uid, context):
                for crd in _owned(crds, meta(root)["uid"]):
                    yield root, crd


def _owned(objects: Iterable[Object], uid: str) -> list[Object]:
    return [each for each in objects if any(owner["uid"] == uid for owner in meta(each).get("ownerReferences") or ())]


def _head(obj: Object) -> Object:
    """Who owns a definition, and what objects are of its kind: of two hundred kilobytes, maybe."""
    spec = spec_of(obj)
    metadata = {name: meta(obj)[name] for name in ("name", "uid", "ownerReferences") if name in meta(obj)}
    versions = [{name: each.get(name) for name in ("name", "storage")} for each in spec.get("versions") or ()]
    kept = {"group": spec.get("group"), "names": spec.get("names"), "versions": versions}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, "spec": kept}


async def _has_other_owner(obj: Object, uid: str, context: Context) -> bool:
    """Whether it stays when that owner goes: garbage collection takes what has none left; Crossplane's have their package, too."""
    for owner in meta(obj).get("ownerReferences") or ():
        if owner["uid"] == uid:
            continue
        found = await context.cluster.get(Key(owner["apiVersion"], owner["kind"], "", owner["name"]))
        if found is not None and meta(found)["uid"] == owner["uid"] and not is_deleting(found):
            return True
    return False


async def _leave_lock(revision: Object, context: Context) -> None:
    lock = await context.cluster.get(Key(LOCK_VERSION, LOCK, "", LOCK_NAME))
    packages = (lock or {}).get("packages") or []
    left = [each for each in packages if each.get("name") != meta(revision)["name"]]
    if lock is not None and left != packages:
        await context.cluster.update({**lock, "packages": left})
