"""The references of a managed resource: other objects give it fields, and what is filled in is owned by a manager."""

from __future__ import annotations

from collections.abc import Mapping

from groundplane.core import references
from groundplane.core.objects import Json, Key, Object, applied_by, controller_of, key_of
from groundplane.errors import InvalidInput, Waiting, stage
from groundplane.reconcile import provider_config
from groundplane.reconcile.managing import ManagedRun


async def resolve(run: ManagedRun) -> None:
    """Fill fields from other managed resources.  Where it has to wait, a ProviderConfig that is missing is told instead:
    that does not pass, and may well be what the others wait for.
    """
    try:
        with stage("CannotResolveResourceReferences", "cannot resolve references"):
            await _fill_references(run)
    except Waiting:
        if not run.context.options.strict_upstream:
            with stage("CannotConnectToProvider", "connect failed"):
                await provider_config.find(run.managed, run.context)
        raise


async def _fill_references(run: ManagedRun) -> None:
    """Save the values that references give, and the references that gave them."""
    found: dict[str, dict[str, Json]] = {}
    for wish in references.wishes(run.managed, run.kind.references):
        try:
            values = references.resolved(wish, await _targets(run, wish))
            if wish.inside:
                run.nested.append((wish, values))
            else:
                found.setdefault(wish.block, {}).update(values)
        except (Waiting, InvalidInput):
            if not wish.optional:
                raise
    if found:
        await fill(run, references.MANAGER, found)


async def _targets(run: ManagedRun, wish: references.Wish) -> list[Object]:
    versions = [
        kind.api_versions[0]
        for kind in run.context.cloud.kinds()
        if kind.kind == wish.kind and kind.api_versions[0].startswith(f"{wish.group}/")
    ]
    if not versions:
        raise InvalidInput(f"{wish.where}: {wish.kind}.{wish.group} is not built in", mend=f"set {wish.where}")
    if wish.labels is None:
        places = zip(wish.names, wish.namespaces, strict=True)
        keys = [Key(versions[0], wish.kind, namespace, name) for name, namespace in places]
        found = [await run.context.cluster.get(key) for key in keys]
        return [] if None in found else [obj for obj in found if obj is not None]
    uid = (controller_of(run.managed) or {}).get("uid", "") if wish.same_controller else ""
    candidates = await run.context.cluster.list(
        versions[0], wish.kind, namespace=wish.namespace, labels=wish.labels, controller=uid
    )
    return references.matching(wish, run.managed, candidates)


async def fill(run: ManagedRun, manager: str, fields: Mapping[str, Mapping[str, Json]]) -> None:
    """Set fields of spec, by block, as `manager`, keeping what that manager set before."""
    key = key_of(run.managed)
    owned = applied_by(run.managed, manager)
    wanted = owned | {block: _merged(owned.get(block) or {}, values) for block, values in fields.items()}
    patch = {
        "apiVersion": key.api_version,
        "kind": key.kind,
        "metadata": {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {}),
        "spec": wanted,
    }
    run.take(await run.context.cluster.apply(patch, manager=manager))


def _merged(owned: Mapping[str, Json], values: Mapping[str, Json]) -> dict[str, Json]:
    """The values over those that are owned, member by member of objects."""
    merged = dict(owned)
    for name, value in values.items():
        before = owned.get(name)
        merged[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
