"""Revisions of declared packages, as tools and people expect them beside an installed package: numbered, active or not, a few earlier ones.

Those that we make carry the annotation `groundplane.io/made`; all others stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from groundplane.core import conditions, packages
from groundplane.core.conditions import Condition
from groundplane.core.function_sources import MADE, PACKAGE_LABEL, is_ours
from groundplane.core.objects import Key, Object, controller_of, is_deleting, key_of, meta, owner_reference, spec_of
from groundplane.errors import AlreadyExists, Awaited, Conflict, InvalidInput
from groundplane.ports import Context


def source(kind: str) -> str:
    """The component that events on packages, or revisions, of a kind come from."""
    return f"packages/{kind.lower()}.pkg.crossplane.io"


def kind_of(package: Object) -> str:
    """The kind of its revisions."""
    return f"{package['kind']}Revision"


async def all_of(package: Object, context: Context) -> list[Object]:
    """All revisions of a package, whoever made them."""
    label = {PACKAGE_LABEL: meta(package)["name"]}
    return await context.cluster.list(package["apiVersion"], kind_of(package), labels=label)


async def current(package: Object, image: str, context: Context) -> Object:
    """The revision of a package as it is now: made, or brought to the front again; active, unless somebody must say so.

    Raises:
        InvalidInput: what bears its name is another package's.
    """
    name = packages.revision_name(meta(package)["name"], image)
    there = await context.cluster.get(Key(package["apiVersion"], kind_of(package), "", name))
    _check_owner(package, there)
    spec = packages.shared(package) | {
        "revision": packages.number(await all_of(package, context), name),
        "desiredState": "Active" if packages.is_activated(package, there) else "Inactive",
    }
    if there is None:
        return await _make(package, name, {"image": image, **spec}, context)
    if not is_ours(there) or is_deleting(there):
        return there
    wanted = copy.deepcopy(there)
    wanted["spec"] = {name: value for name, value in spec_of(there).items() if name not in packages.SHARED} | spec
    if controller_of(wanted) is None:  # restored from a backup
        wanted["metadata"]["ownerReferences"] = [owner_reference(package)]
    return there if wanted == there else await context.cluster.update(wanted)


def _check_owner(package: Object, there: Object | None) -> None:
    owner = controller_of(there) if there is not None else None
    if there is None or owner is None or (owner["kind"], owner["name"]) == (package["kind"], meta(package)["name"]):
        return
    key = key_of(there)
    error = InvalidInput(
        f"{key.kind} {key.name} is to be this package's, and {owner['kind']} {owner['name']} controls it",
        mend=f"delete that {key.kind}, or give this package another name",
    )
    error.on = (Awaited(key.group, key.kind, name=key.name),)
    raise error


async def _make(package: Object, name: str, spec: Object, context: Context) -> Object:
    metadata = {
        "name": name,
        "labels": {PACKAGE_LABEL: meta(package)["name"]},
        "annotations": {MADE: "true"},
        "ownerReferences": [owner_reference(package)],
    }
    body = {"apiVersion": package["apiVersion"], "kind": kind_of(package), "metadata": metadata, "spec": spec}
    try:
        return await context.cluster.create(body)
    except AlreadyExists as error:
        raise Conflict(f"{kind_of(package)} {name} appeared meanwhile") from error


async def retire(package: Object, revision: Object, context: Context) -> None:
    """Have what was active before the current revision step back, and take what is too old away.

    Until somebody has activated the current one, the one before goes on; upstream has it step back at once.
    """
    earlier = [each for each in await all_of(package, context) if is_ours(each) and not _is(each, revision)]
    if spec_of(revision).get("desiredState") == "Active" or context.options.strict_upstream:
        for each in earlier:
            now = each
            if spec_of(each).get("desiredState") == "Active":
                each["spec"]["desiredState"] = "Inactive"
                now = await context.cluster.update(each)
                message = f"{each['kind']} {meta(each)['name']} is inactive: {meta(revision)['name']} has taken over"
                context.events.event(package, "Normal", "TransitionRevision", message, source=source(package["kind"]))
            if conditions.is_true(now, "RuntimeActive"):
                await _tell(now, [_runtime(now)], context)
    for each in packages.surplus(package, earlier):
        await _delete(each, context)


async def remove(package: Object, context: Context, *, keep: Object | None = None) -> None:
    """Take the package's revisions of ours away, but that one."""
    for each in await all_of(package, context):
        if is_ours(each) and not (keep is not None and _is(each, keep)):
            await _delete(each, context)


async def tell(revision: Object, problem: str, context: Context) -> None:
    """Say in a revision of ours how it does."""
    if not is_ours(revision):
        return
    told = [
        Condition(type_, "False", "UnhealthyPackageRevision", problem)
        if problem and type_ != "RevisionHealthy"
        else Condition(type_, "True", "HealthyPackageRevision")
        for type_ in ("Healthy", "RevisionHealthy", "RuntimeHealthy")
    ]
    if not context.options.strict_upstream:
        told.append(_runtime(revision))
    if not problem and not conditions.is_true(revision, "Healthy"):
        text = "Successfully configured package revision"
        context.events.event(revision, "Normal", "SyncPackage", text, source=source(revision["kind"]))
    await _tell(revision, told, context)


def _runtime(revision: Object) -> Condition:
    """Whether it is by this revision that its package is run: the column RUNTIME-ACTIVE."""
    if spec_of(revision).get("desiredState") == "Active":
        return Condition("RuntimeActive", "True", "ActiveRuntime")
    return Condition("RuntimeActive", "False", "InactiveRuntime")


async def _tell(revision: Object, told: Sequence[Condition], context: Context) -> None:
    wanted = copy.deepcopy(revision)
    conditions.set_on(wanted, *told, now=context.now(), generation=meta(revision).get("generation"))
    await context.cluster.update(wanted, subresource="status")


async def _delete(revision: Object, context: Context) -> None:
    await context.cluster.delete(key_of(revision), uid=meta(revision)["uid"])


def _is(one: Object, other: Object) -> bool:
    return bool(meta(one)["name"] == meta(other)["name"])
