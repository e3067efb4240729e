"""`groundplane apply`: do what a saved plan says, and nothing else.

The plan is made once more, and has to be the same; then its files are applied as they are.  On a store this process is the control plane,
with a cloud that does what is in the plan alone; on a cluster the operator acts by itself, and what was not planned is paused.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundplane.cli import sources, store
from groundplane.core.objects import PAUSED_ANNOTATION
from groundplane.errors import Conflict, Denied, GroundplaneError, InvalidInput, NoSuchKind, Unavailable

if TYPE_CHECKING:
    from groundplane.cli.planned import Planned
    from groundplane.cluster.sqlite import SqliteCluster
    from groundplane.core.objects import Key, Object
    from groundplane.core.plan import Step
    from groundplane.ports import Cluster
    from groundplane.runtime.local import LocalControlPlane
    from groundplane.runtime.planning import Guarded

STALE = 4  # exit code
KUBECTL = "kubectl"  # field manager of `kubectl apply --server-side`
MANAGER = "groundplane-apply"  # field manager on a cluster
LOOK = 1.0  # seconds between two looks
GRACE = 10.0  # seconds in which nothing gets any better until it is given up
DECIDE = ("CompositeResourceDefinition", "CustomResourceDefinition", "Namespace")  # whether others are taken


@click.command(epilog="Example: groundplane apply plan.json")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--timeout", type=float, default=600.0, show_default=True, help="Seconds to wait at most until all is done."
)
@click.option(
    "--allow-unknown", is_flag=True, help="Also if of some it can't be told what would be done: whatever it is."
)
@sources.options
def apply(file: str, timeout: float, allow_unknown: bool, db: str, kubeconfig: str, context: str) -> None:
    """Apply the plan in FILE, which `groundplane plan --out FILE` has saved, if it still holds.

    It is refused, and nothing is done, if a file, an object, AWS, the account or this version is not as it was, or if something in it is unknown.

    Exit code 0: done.  4: the plan is stale.  1: not all of it could be done.
    """
    from datetime import UTC, datetime

    from groundplane import __version__
    from groundplane.core.plan import Stale, check_file

    mend = "make one with: groundplane plan PATH… --out FILE"
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no saved plan {file}", mend=mend) from error
    except ValueError as error:
        raise InvalidInput(f"{file} is no saved plan: it is no JSON", mend=mend) from error
    try:
        before = check_file(found, version=__version__, now=datetime.now(UTC))
        asyncio.run(_apply(before, timeout, (db, kubeconfig, context), allow_unknown=allow_unknown))
    except Stale as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(STALE) from error


async def _apply(
    before: Mapping[str, Any], timeout: float, place: tuple[str, str, str], *, allow_unknown: bool
) -> None:
    if path := sources.store_file(*place):
        with store.locked(path):
            planned = await _again(before, (path, "", ""), allow_unknown=allow_unknown)
            await _on_store(path, planned, timeout)
    else:
        await sources.connected(*place[1:]).close()  # where no cluster is named, that is told: the plan may hold
        planned = await _again(before, place, allow_unknown=allow_unknown)
        await _on_cluster(place, planned, timeout)
    counts = planned.plan.summary
    click.echo(f"Applied: {counts['add']} added, {counts['change']} changed, {counts['destroy']} destroyed.")


async def _again(before: Mapping[str, Any], place: tuple[str, str, str], *, allow_unknown: bool) -> Planned:
    """The plan as it is made now, if that is the same, and says what would be done.  Raises Stale, InvalidInput."""
    from groundplane.cli import planned
    from groundplane.core.plan import Stale, check

    try:
        now = await planned.make(planned.Asked.of(before["asked"]), place)
    except InvalidInput as error:
        raise Stale(f"the plan is stale: it can't be made again: {error.what}", mend="plan again") from error
    if now.errors:
        raise Stale(f"the plan is stale: {now.errors[0]}", mend="plan again")
    check(before, now.plan)
    now.check_whole()
    unknown = [step for step in now.plan.steps if step.action == "unknown"]
    if unknown and not allow_unknown:
        first, more = unknown[0], f", and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        what, _, mend = first.reason.partition(". Mend: ")
        raise InvalidInput(
            f"it can't be told what would be done to {first.key}{more}: {what}".rstrip(": "),
            mend=f"{mend.rstrip('.')}; or " * bool(mend)
            + "leave it out of the files and plan again, or take whatever comes of it: apply --allow-unknown",
        )
    return now


def _versioned(planned: Planned) -> list[Object]:
    """What is to be applied, in order; what is there already with the version that the plan has seen."""
    from groundplane.cli.overlaid import rank
    from groundplane.core.objects import key_of, meta

    seen = {each.key.place: each.version for each in planned.plan.objects}
    found = []
    for obj in sorted(planned.objects, key=rank):
        version = seen.get(key_of(obj).place)
        found.append({**obj, "metadata": {**meta(obj), **({"resourceVersion": version} if version else {})}})
    return found


async def _apply_all(cluster: Cluster | _AsBefore, objects: Sequence[Object], manager: str, deadline: float) -> None:
    """Raises Stale for what has been edited since it was planned."""
    from groundplane.core.objects import key_of
    from groundplane.core.plan import Stale

    for obj in objects:
        while True:
            try:
                await cluster.apply(obj, manager=manager)
                break
            except NoSuchKind:  # its definition was applied a moment ago
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(LOOK / 4)
            except Conflict as error:
                raise Stale(f"the plan is stale: {key_of(obj)} was edited meanwhile", mend="plan again") from error


async def _check_all(cluster: Cluster, objects: Sequence[Object], manager: str) -> None:
    """Whether they would be taken, before the first is written; what another of them may decide is left to when they are.

    Raises:
        Stale: one has been edited since it was planned.
        GroundplaneError: one would be refused.
    """
    from groundplane.core.objects import key_of
    from groundplane.core.plan import Stale

    decide = [obj for obj in objects if obj["kind"] in DECIDE]
    for obj in decide or objects:
        try:
            await cluster.apply(obj, manager=manager, dry_run=True)
        except NoSuchKind:
            continue
        except Conflict as error:
            raise Stale(f"the plan is stale: {key_of(obj)} was edited meanwhile", mend="plan again") from error


# --- on a store -----------------------------------------------------------------------------------------------


async def _on_store(path: str, planned: Planned, timeout: float) -> None:
    from groundplane.cli import function_flag
    from groundplane.cli.follow import MANAGER as UP
    from groundplane.cluster.sqlite import SqliteCluster
    from groundplane.core.function_sources import Rules
    from groundplane.core.plan import allowed, belonging
    from groundplane.ports import Options
    from groundplane.runtime import clouds
    from groundplane.runtime.local import INSTALLER, LocalControlPlane, brought
    from groundplane.runtime.planning import Guarded
    from groundplane.runtime.targets import ClusterTargets

    asked = planned.plan.asked
    functions = function_flag.addresses(asked["function"])
    templates = function_flag.files(str(asked["function_templates_dir"]))
    cluster = SqliteCluster(path)
    options = Options(
        functions=Rules(given=functions, develops=True), templates=templates, nop_scope=_nop_scope(cluster)
    )
    targets = ClusterTargets(cluster)
    cloud = clouds.every(strict_upstream=False, namespace=options.namespace, targets=targets, looks_first=True)
    guarded = Guarded(
        cloud, allowed(planned.plan, unknown=True), lambda managed: belonging(managed, cluster.peek).address
    )
    deadline = time.monotonic() + timeout
    later: list[Object] = []
    await _check_all(cluster, brought(options), INSTALLER)
    await _check_all(cluster, _versioned(planned), UP)
    for obj in _versioned(planned):
        try:
            await _apply_all(cluster, [obj], UP, 0.0)
        except NoSuchKind:
            later.append(obj)
    try:
        async with LocalControlPlane(path, options=options, cloud=guarded, cluster=cluster) as plane:
            await _apply_all(plane.cluster, later, UP, deadline)
            await _finish(plane, guarded, planned, deadline)
    finally:
        await cloud.close()
        await targets.close()


def _nop_scope(cluster: SqliteCluster) -> str:
    """Where NopResources live in this store: `up` may have been told so."""
    from groundplane.cluster.kinds import CRD_KIND, CRD_VERSION
    from groundplane.core.objects import Key, spec_of

    found = cluster.peek(Key(CRD_VERSION, CRD_KIND, "", "nopresources.nop.crossplane.io"))
    return "cluster" if found and spec_of(found).get("scope") == "Cluster" else "namespaced"


async def _finish(plane: LocalControlPlane, guarded: Guarded, planned: Planned, deadline: float) -> None:
    """Until all of it is done.  Raises GroundplaneError if that does not come."""
    from groundplane.cli.up import Reporter
    from groundplane.core import managed

    steps = {step.address: step for step in planned.plan.steps}
    owners = {step.owner.place for step in steps.values() if step.owner}
    wanted = {"add": "create", "change": "update", "destroy": "delete"}
    reporter = Reporter(plane.cluster)
    told: set[tuple[str, str]] = set()
    standing, since = [""], time.monotonic()
    while True:
        is_idle = await plane.idle(LOOK)
        for address, done in sorted(guarded.done.items()):
            for did in sorted(done - {each for at, each in told if at == address}):
                told.add((address, did))
                if (step := steps.get(address)) and wanted.get(step.action) == did:
                    click.echo(f"{did}d: {address}")
        off = [text for address, text in sorted(guarded.refused.items()) if _concerns(address, steps, owners)]
        if off:
            raise GroundplaneError(f"stopped before what is not in the plan: {'; '.join(off)}", mend="plan again")
        pending = [
            step.address
            for step in steps.values()
            if step.action in wanted and wanted[step.action] not in guarded.done.get(step.address, ())
        ]
        keys = [key for key in _roots(planned) if plane.cluster.peek(key) is not None]
        await reporter.news(keys)
        lacking = [str(each) for each in reporter.verdicts.values() if each.state != "fine"] if keys else []
        if is_idle and not pending and (not lacking or _is_blocked(planned)):
            return
        troubles = [*(f"not done yet: {address}" for address in pending), *lacking]
        if troubles != standing or not is_idle:
            standing, since = troubles, time.monotonic()
        states = {each.state for each in reporter.verdicts.values()}
        # under another name than it was made a moment ago, it is not made before that moment is over
        patience = GRACE if "stuck" in states or not pending else GRACE + managed.GRACE.total_seconds()
        if (time.monotonic() - since > patience and "under way" not in states) or time.monotonic() > deadline:
            for trouble in troubles:
                click.echo(trouble, err=True)
            raise GroundplaneError("not all of the plan could be done", mend="see above, and plan again")
        await asyncio.sleep(LOOK / 4)


def _is_blocked(planned: Planned) -> bool:
    """Whether the plan itself says that not all will be well."""
    counts = planned.plan.summary
    return bool(counts["blocked"] or counts["unknown"])


def _concerns(address: str, steps: Mapping[str, Step], owners: Iterable[Key]) -> bool:
    """Whether what was held back belongs to what the plan is about; others are only left alone."""
    return address in steps or any(address.startswith(f"{owner} ({owner.group})") for owner in owners)


def _roots(planned: Planned) -> list[Key]:
    """What was applied, and the owners of what was changed."""
    from groundplane.core.objects import key_of

    found = {key_of(obj): None for obj in planned.objects}
    found |= {step.owner: None for step in planned.plan.steps if step.owner and step.action not in ("same", "unknown")}
    return list(found)


# --- on a cluster ---------------------------------------------------------------------------------------------


async def _on_cluster(place: tuple[str, str, str], planned: Planned, timeout: float) -> None:
    from groundplane.cluster.cache import Cache
    from groundplane.cluster.kubernetes import KubernetesCluster

    deadline = time.monotonic() + timeout
    api = sources.connected(place[1], place[2])
    try:
        cluster = KubernetesCluster(api, Cache())
        await _check_all(cluster, _versioned(planned), MANAGER)
        await _apply_all(_AsBefore(cluster), _versioned(planned), MANAGER, deadline)
        await _Overseer(cluster, planned).run(deadline)
    finally:
        await api.close()


class _AsBefore:
    """Applies as whoever has applied before, so that what is gone from a manifest goes, as it was planned."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """`manager`: for what is new, or has been applied by nobody."""
        from groundplane.core import applied
        from groundplane.core.objects import key_of, meta

        key = key_of(obj)
        live = await self._cluster.get(key, live=True) if meta(obj).get("resourceVersion") else None
        if live is None:
            return await self._cluster.apply(obj, manager=manager)
        obj = applied.with_tools(obj, live)
        metadata, who = dict(meta(obj)), applied.applier(live) or manager
        if patch := applied.taken_out(live, obj):
            seen = {"resourceVersion": metadata.pop("resourceVersion")}  # from then on the operator writes, too
            await self._cluster.patch(key, {**patch, "metadata": {**(patch.get("metadata") or {}), **seen}})
        elif meta(live)["resourceVersion"] != metadata["resourceVersion"]:
            raise Conflict(f"{key} was edited meanwhile")
        elif who == KUBECTL:  # the API server writes what is applied into kubectl's annotation
            del metadata["resourceVersion"]
        return await self._cluster.apply({**obj, "metadata": metadata}, manager=who)


class _Overseer:
    """Looks at what the operator does, and pauses what was not planned.

    It comes after the operator: what is paused may have been begun.
    """

    def __init__(self, cluster: Cluster, planned: Planned) -> None:
        from groundplane.core.plan import allowed

        self._cluster, self._planned = cluster, planned
        self._allowed = allowed(planned.plan, unknown=True)  # `_again` has asked
        self._was = {each.key.place: each for each in planned.plan.objects}
        self._paused: set[Key] = set()

    async def run(self, deadline: float) -> None:
        """Until all that was planned is done and well.  Raises GroundplaneError if that does not come, or something was paused."""
        standing, since = [""], time.monotonic()
        while True:
            objects = await self._family()
            troubles = [*await self._pause_unplanned(objects), *self._troubles(objects)]
            if not troubles or (_is_blocked(self._planned) and time.monotonic() - since > GRACE):
                break
            if troubles != standing:
                standing, since = troubles, time.monotonic()
            if time.monotonic() > deadline:
                for trouble in troubles:
                    click.echo(trouble, err=True)
                raise GroundplaneError("not all of the plan could be done", mend="see above, and plan again")
            await asyncio.sleep(LOOK)
        if self._paused:
            names = ", ".join(map(str, sorted(self._paused)))
            raise GroundplaneError(
                f"paused, since it is not in the plan: {names}",
                mend=f"plan again, and remove annotation {PAUSED_ANNOTATION}; the operator may have begun before it was paused",
            )

    async def _family(self) -> dict[Key, Object]:
        """What the plan is about, and all that it is made of, by place."""
        from groundplane.cli import tree

        found: dict[Key, Object] = {}
        due = [*_roots(self._planned), *(step.key for step in self._planned.plan.steps)]
        while due:
            new = [key for key in dict.fromkeys(due) if key.place not in found]
            results = await asyncio.gather(*(self._get(key) for key in new))
            due = []
            for key, obj in zip(new, results, strict=True):
                if obj is not None:
                    found[key.place] = obj
                    due += tree.references(obj)
        return found

    async def _get(self, key: Key) -> Object | None:
        try:
            return await self._cluster.get(key, live=True)
        except (NoSuchKind, Unavailable, Denied):
            return None

    async def _pause_unplanned(self, objects: Mapping[Key, Object]) -> list[str]:
        """Pause what asks for something that was not planned.  What is as it was when it was planned for: the operator has still to come to it."""
        from groundplane.core.objects import is_deleting, is_paused, key_of
        from groundplane.core.plan import belonging
        from groundplane.runtime import clouds

        awaited = []
        for obj in objects.values():
            if not clouds.lookup(obj["apiVersion"], obj["kind"]) or is_paused(obj) or is_deleting(obj):
                continue
            address = belonging(obj, lambda key: objects.get(key.place)).address
            key, differs = key_of(obj), self._differs(obj)
            if address in self._allowed and not (differs and await self._was_changed(obj)):
                awaited += [f"{key}: the operator has not come to it yet"] if differs else []
                continue
            await self._cluster.patch(key, {"metadata": {"annotations": {PAUSED_ANNOTATION: "true"}}})
            self._paused.add(key)
            click.echo(f"paused: {key} is not in the plan", err=True)
        return awaited

    def _differs(self, obj: Object) -> bool:
        """Whether an object that was planned for asks for something else than it was to."""
        from groundplane.core.objects import key_of, spec_of
        from groundplane.core.plan import LATER

        wanted = self._planned.wanted.get(key_of(obj).place)
        if wanted is None:
            return False  # made anew, under another name
        asked = spec_of(obj).get("forProvider") or {}
        return any(
            name in asked and asked[name] != value and LATER not in json.dumps(value)
            for name, value in (spec_of(wanted).get("forProvider") or {}).items()
            if not name.endswith(("Ref", "Refs", "Selector"))
        )

    async def _was_changed(self, obj: Object) -> bool:
        """Whether it is otherwise than it was when it was planned for, and not as it was to be: else the operator has still to come to it."""
        from groundplane.core.objects import key_of
        from groundplane.core.plan import read_of

        was = self._was.get(key_of(obj).place)
        there = await self._get(was.key) if was else None
        if was is not None and there is not None and read_of(there).spec == was.spec:
            return False
        now = await self._get(key_of(obj))  # the operator may have come to it since it was looked at
        return now is not None and self._differs(now)

    def _troubles(self, objects: Mapping[Key, Object]) -> list[str]:
        """What of the plan is not done yet."""
        from groundplane.core import conditions
        from groundplane.core.managed import is_made
        from groundplane.core.objects import is_paused, meta
        from groundplane.core.plan import belonging
        from groundplane.runtime import clouds

        managed = {
            belonging(obj, lambda key: objects.get(key.place)).address: obj
            for obj in objects.values()
            if clouds.lookup(obj["apiVersion"], obj["kind"])
        }
        found = []
        for step in self._planned.plan.steps:
            obj = managed.get(step.address)
            if step.action == "destroy":
                found += [f"still there: {step.address}"] if step.key.place in objects else []
            elif step.action == "add" and (obj is None or not is_made(obj)):
                found.append(f"not made yet: {step.address}")
            elif step.action in ("add", "change") and obj is not None and not is_paused(obj):
                synced = conditions.find(obj, "Synced") or {}
                is_new = synced.get("observedGeneration", meta(obj).get("generation")) == meta(obj).get("generation")
                if synced.get("status") != "True" or not is_new or not conditions.is_true(obj, "Ready"):
                    found.append(f"not done yet: {step.address}: {synced.get('message') or 'the operator is at it'}")
        for key in _roots(self._planned):
            obj = objects.get(key.place)
            if obj is not None and conditions.find(obj, "Ready") and not conditions.is_true(obj, "Ready"):
                found.append(f"not ready: {key}")
        return found
