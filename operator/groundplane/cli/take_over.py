"""`groundplane migrate take-over`: a claim's resources go over to a composite of the second generation, and nothing in AWS is changed.

What would come of it is looked at first, on a copy in memory.  The new composite is paused while its resources only look; once all of them see
what is theirs, the old ones are told to leave it there, and the claim is deleted.  Each stage can be repeated: where it goes on is seen in what is there.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from groundplane.cli import overlaid, sources
from groundplane.core import conditions, definition, health
from groundplane.core.objects import (
    PAUSED_ANNOTATION,
    Key,
    Object,
    all_applied_by,
    controller_of,
    is_composite,
    is_deleting,
    is_paused,
    joined,
    key_of,
    machinery_of,
    meta,
    spec_of,
)
from groundplane.core.plan import Plan, belonging
from groundplane.core.take_over import (
    LOOKS,
    MANAGER,
    STAYS,
    Place,
    by_place,
    external_name,
    hindrances,
    without_tags,
)
from groundplane.errors import GroundplaneError, InvalidInput, NoSuchKind, NotFound, counted
from groundplane.runtime import clouds
from groundplane.runtime.overlay import MADE_UP
from groundplane.runtime.planning import Looking, Planner

if TYPE_CHECKING:
    from groundplane.cli.overlaid import Overlaid
    from groundplane.cli.sources import Source
    from groundplane.ports import Cluster

LOOK = 0.5  # seconds between two looks
MOST_LEVELS = 20  # of composites in composites
CORE = definition.GROUP


class Stopped(GroundplaneError):
    """It does not go on by itself."""


@dataclass(frozen=True)
class Asked:
    """Whose resources go over, and how that is to go."""

    kind: str
    name: str
    namespace: str
    file: str  # with the new composite; "": as `migrate v2` writes it
    place: tuple[str, str, str]
    functions: tuple[Any, Any]
    timeout: float
    may_delete: bool  # objects of Kubernetes that go with the claim


@dataclass
class Rehearsal:
    """What would come of it."""

    claim: Key
    composite: Object  # the new one: as it is to be
    is_there: bool = False  # the new one
    claim_is_there: bool = False
    old: dict[Place, Object] = field(default_factory=dict)
    owners: list[Key] = field(default_factory=list)  # the claim, if it is there, and all composites of it
    new: dict[Place, Object] = field(default_factory=dict)  # as they would be
    nested: list[Object] = field(default_factory=list)
    references: list[Object] = field(default_factory=list)  # new composites, with what they are composed of
    managers: dict[Key, str] = field(default_factory=dict)  # who applies what is composed
    goes: list[Key] = field(default_factory=list)  # objects of Kubernetes that go with the claim
    hindrances: list[str] = field(default_factory=list)
    lost: list[str] = field(
        default_factory=list
    )  # keys of the claim's connection Secret that no Secret of the new composite will have
    plan: Plan = field(default_factory=lambda: Plan([]))

    @property
    def key(self) -> Key:
        return key_of(self.composite)

    @property
    def is_past(self) -> bool:
        """Whether the claim has been deleted: there is no way back."""
        return not self.claim_is_there

    @property
    def would_take_along(self) -> bool:
        """Whether old resources, whose composite is paused, would still be deleted in AWS: somebody else has deleted the claim, before all were let go."""
        return any(
            not is_deleting(obj) and spec_of(obj).get("deletionPolicy") != STAYS["deletionPolicy"]
            for obj in self.old.values()
        )

    def lines(self) -> list[str]:
        """What goes over, and what stands in the way."""
        from groundplane.cli import plan_report

        found = [f"{self.claim} → {self.key} ({self.key.group})"]
        found += [
            f"  {template}: {key_of(obj)} → {external_name(obj)}" for (template, _), obj in sorted(self.old.items())
        ]
        found += [f"  goes with the claim: {key}" for key in self.goes]
        if self.lost:
            found.append(
                f"! no Secret of the new composite has what the claim's has in {joined(self.lost)}: have programs read it elsewhere first"
            )
        found += [f"✘ {text}" for text in self.hindrances]
        return found + ["", *plan_report.text_of(self.plan)]

    def check(self, *, may_delete: bool) -> None:
        """Raise Stopped if it can't be done without a change in AWS, or a loss."""
        if self.hindrances or not self.plan.is_empty:
            raise Stopped("not all of it can be handed over as it is", mend="see above")
        if self.goes and not may_delete:
            raise Stopped(
                f"{', '.join(map(str, self.goes))} would be deleted with the claim",
                mend="have the new Composition make what is needed under other names, and say --allow-deletions",
            )


# --- what would come of it ------------------------------------------------------------------------------------


class _Handing(Looking):
    """Looks, and calls what the new composite makes as its predecessor is called."""

    names: Mapping[Place, str]
    composite: Key
    overlay: Any

    def default_external_name(self, managed: Object) -> str:
        its = belonging(managed, self.overlay.cluster.peek)
        name = self.names.get((its.template, str(managed["kind"])))
        is_its = its.composite is not None and its.composite.place == self.composite.place
        return name if name and is_its else super().default_external_name(managed)


async def rehearse(asked: Asked) -> Rehearsal:
    """Look what would come of it, on a copy; nothing is changed anywhere.

    Raises:
        GroundplaneError: it can't be told.
    """
    calls: list[None] = []
    cloud = clouds.looking(lambda: calls.append(None))
    handing = _Handing(cloud)
    try:
        async with sources.opened(*asked.place) as source:
            claim, wanted = await _wanted(source, asked)
            async with overlaid.begun(source, [wanted], functions=asked.functions, cloud=handing) as found:
                rehearsal = Rehearsal(claim, wanted)
                await _play(rehearsal, found, handing)
                rehearsal.plan = Plan(rehearsal.plan.steps, calls=len(calls))
                return rehearsal
    finally:
        await cloud.close()


async def _wanted(source: Source, asked: Asked) -> tuple[Key, Object]:
    """The claim's key, and the new composite."""
    from groundplane.cli import built_in, trace
    from groundplane.core.conversion import generations
    from groundplane.core.gitops import without_tools

    definitions = [
        (xrd, definition.read(xrd)) for xrd in await source.list(f"{CORE}/v1", "CompositeResourceDefinition")
    ]
    claims = {(known.group, known.claim_kind): (xrd, known) for xrd, known in definitions if known.claim_kind}
    meant = trace.meant(asked.kind, source.kinds)
    # what `migrate v2` makes of a definition has composites of the same name as its claims
    kind = trace.one(asked.kind, [each for each in meant if (each.group, each.kind) in claims] or meant)
    key = Key(kind.api_version, kind.kind, asked.namespace or source.namespace, asked.name)
    if (key.group, key.kind) not in claims:
        raise InvalidInput(f"{kind.full_name} is no kind of claims", mend="name a claim")
    xrd, known = claims[key.group, key.kind]
    claim = await source.get(key)
    if asked.file:
        (document, *more) = overlaid.read([asked.file])
        if more:
            raise InvalidInput(f"{asked.file} has more than one object", mend="leave only the new composite in it")
        wanted: Object = document.object
        return key, {**wanted, "metadata": {"namespace": key.namespace, **meta(wanted)}}
    compositions = [
        each
        for each in await source.list(f"{CORE}/v1", "Composition")
        if (spec_of(each).get("compositeTypeRef") or {}).get("kind") == known.kind
    ]
    like = claim or {"apiVersion": key.api_version, "kind": key.kind, "metadata": {"name": key.name}}
    (*_, made) = generations.Migration(built_in.EveryKind().schema).run([xrd, *compositions, like])
    assert made is not None  # of a claim something always comes
    metadata: dict[str, Any] = {"name": key.name, "namespace": key.namespace}
    for name in ("labels", "annotations"):
        if entries := without_tools(meta(made).get(name) or {}):
            metadata[name] = entries
    return key, {**made, "metadata": metadata}


async def _play(rehearsal: Rehearsal, found: Overlaid, handing: _Handing) -> None:
    """Have the old ones gone and the new composite there, and see what comes of it."""
    overlay = found.overlay
    base = {key.place: obj for key, obj in overlay.base.items()}
    place = rehearsal.key.place
    rehearsal.is_there = place in base
    rehearsal.claim_is_there = (claim := base.get(rehearsal.claim.place)) is not None and not is_deleting(claim)
    if not rehearsal.claim_is_there and not rehearsal.is_there:
        what = "not found" if claim is None else "is being deleted"
        raise NotFound(f"{rehearsal.claim} {what}", mend="correct its name, or its namespace with -n")
    if rehearsal.is_there and rehearsal.claim_is_there and not is_paused(base[place]):
        raise InvalidInput(
            f"{rehearsal.key} is there already, and makes resources of its own",
            mend="delete it first, with all of those",
        )
    _sort_old(rehearsal, base)
    handing.names = {each: external_name(obj) for each, obj in rehearsal.old.items()}
    handing.composite, handing.overlay = rehearsal.key, overlay
    for key in [*rehearsal.owners, *map(key_of, rehearsal.old.values()), *rehearsal.goes]:
        await _vanish(overlay, key)
    try:
        if rehearsal.is_there:
            await overlay.assume(key_of(base[place]), {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})
            rehearsal.composite = base[place]
        else:
            await overlay.apply(rehearsal.composite)
        await found.settle()
    except NoSuchKind as error:
        raise InvalidInput(str(error), mend="apply what `groundplane migrate v2` writes, but for the claims") from error
    steps = await Planner(overlay, handing, found.settle).steps(overlaid.below(overlay.objects(), [rehearsal.key]))
    rehearsal.plan = Plan(without_tags(steps))
    _sort_new(rehearsal, found)
    rehearsal.lost = _lost_keys(rehearsal, overlay, base)
    rehearsal.hindrances += hindrances(rehearsal.old, rehearsal.new)
    rehearsal.hindrances += found.errors
    told = overlay.warnings.get(key_of(rehearsal.composite)) or []
    rehearsal.hindrances += told if rehearsal.hindrances or not rehearsal.plan.is_empty else []


def _sort_old(rehearsal: Rehearsal, base: Mapping[Key, Object]) -> None:
    """What belongs to the claim, by what becomes of it."""
    claim = rehearsal.claim
    for obj in base.values():
        bound = spec_of(obj).get("claimRef")
        is_its = isinstance(bound, dict) and (bound.get("kind"), bound.get("namespace"), bound.get("name")) == (
            claim.kind,
            claim.namespace,
            claim.name,
        )
        if is_its and key_of(obj).group == claim.group:
            rehearsal.owners.append(key_of(obj))
    its = overlaid.below(base, [claim, *rehearsal.owners])
    managed = []
    for place in sorted(its):
        obj = base[place]
        key = key_of(obj)
        if clouds.lookup(key.api_version, key.kind):
            managed.append(obj)
        elif is_composite(obj) or place == claim.place:
            rehearsal.owners += [key] if key not in rehearsal.owners else []
        else:
            rehearsal.goes.append(key)
    rehearsal.old = by_place(managed, lambda key: base.get(key.place))
    known = [*map(key_of, rehearsal.old.values())]
    rehearsal.hindrances += [
        f"{key} has the template of another {key.kind}, which would be handed over in its place. Mend: delete one of them first, or give it its"
        " own name in the annotation crossplane.io/composition-resource-name."
        for key in map(key_of, managed)
        if key not in known
    ]
    secret = spec_of(base.get(claim.place) or {}).get("writeConnectionSecretToRef")
    if isinstance(secret, dict) and secret.get("name"):
        rehearsal.goes.append(Key("v1", "Secret", claim.namespace, str(secret["name"])))


def _lost_keys(rehearsal: Rehearsal, overlay: Any, base: Mapping[Key, Object]) -> list[str]:
    """Keys of the claim's connection Secret that no new Secret has; where the new Composition makes one, none that it speaks of, for it may come later."""
    reference = spec_of(base.get(rehearsal.claim.place) or {}).get("writeConnectionSecretToRef")
    name = str(reference.get("name") or "") if isinstance(reference, dict) else ""
    old = base.get(Key("v1", "Secret", rehearsal.claim.namespace, name).place) or {}
    now = overlay.objects()
    its = overlaid.below(now, [rehearsal.key])
    secrets = [obj for key, obj in now.items() if key.place in its and key.kind == "Secret"]
    has = {key for obj in secrets for key in obj.get("data") or ()}
    chosen = {machinery_of(obj).get("compositionRef", {}).get("name") for obj in rehearsal.references}
    said = json.dumps([spec_of(obj) for key, obj in now.items() if key.kind == "Composition" and key.name in chosen])
    makes_one = re.search(r'kind\\?"?: ?\\?"?Secret\b', said)
    left = [key for key in sorted(old.get("data") or ()) if key not in has]
    return [key for key in left if not (makes_one and re.search(rf"\b{re.escape(key)}\b", said))]


async def _vanish(overlay: Any, key: Key) -> None:
    """Have it gone at once."""
    obj = overlay.cluster.peek(key)
    if obj is not None:
        if meta(obj).get("finalizers"):
            await overlay.cluster.patch(key_of(obj), {"metadata": {"finalizers": None}})
        await overlay.cluster.delete(key_of(obj))


def _sort_new(rehearsal: Rehearsal, found: Overlaid) -> None:
    from groundplane.reconcile import pipelines

    overlay = found.overlay
    now = {key.place: obj for key, obj in overlay.objects().items()}
    managed = []
    for place in sorted(overlaid.below(overlay.objects(), [rehearsal.key])):
        obj = now[place]
        key = key_of(obj)
        if place != rehearsal.key.place:
            above = now.get(_controller(obj, key.namespace))
            if above is None:
                continue
            rehearsal.managers[key] = pipelines.composed_manager(above)
        if clouds.lookup(key.api_version, key.kind):
            managed.append(obj)
        elif is_composite(obj):
            rehearsal.nested += [obj] if place != rehearsal.key.place else []
            rehearsal.references.append(obj)
    rehearsal.new = by_place(managed, lambda key: now.get(key.place))


def _controller(obj: Object, namespace: str) -> Key:
    above = controller_of(obj) or {}
    named = str(above.get("apiVersion") or ""), str(above.get("kind") or "")
    return Key(*named, namespace, str(above.get("name") or "")).place


# --- doing it -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _at_work(place: tuple[str, str, str]) -> AsyncIterator[Cluster]:
    """The cluster, where an operator is at work; or the store, with a control plane that only looks at AWS."""
    if path := sources.store_file(*place):
        from groundplane.cli import store
        from groundplane.ports import Options
        from groundplane.runtime.local import LocalControlPlane

        cloud = clouds.looking(lambda: None)
        try:
            with store.locked(path):
                async with LocalControlPlane(path, options=Options(observe_only=True), cloud=cloud) as plane:
                    yield plane.cluster
        finally:
            await cloud.close()
        return
    from groundplane.cluster.cache import Cache
    from groundplane.cluster.kubernetes import KubernetesCluster

    api = sources.connected(place[1], place[2])
    try:
        yield KubernetesCluster(api, Cache())
    finally:
        await api.close()


async def show(asked: Asked) -> None:
    """Raises Stopped if it could not be done."""
    seen = await rehearse(asked)
    for line in seen.lines():
        click.echo(line)
    seen.check(may_delete=asked.may_delete)


async def run(asked: Asked) -> None:
    """Do it, or what is left of it.  Raises Stopped where it does not go on."""
    async with _at_work(asked.place) as cluster:
        await _TakeOver(cluster, asked).run()


async def back(asked: Asked) -> None:
    """As if nothing had been begun.  Raises Stopped if the claim has been deleted already."""
    async with _at_work(asked.place) as cluster:
        await _TakeOver(cluster, asked).back()


class _TakeOver:
    """The stages."""

    def __init__(self, cluster: Cluster, asked: Asked) -> None:
        self._cluster, self._asked = cluster, asked
        self._deadline = time.monotonic() + asked.timeout

    async def run(self) -> None:
        seen = await rehearse(self._asked)
        if not seen.is_past or seen.would_take_along:
            seen = await self._prepare(seen)
            await self._wait(lambda: self._unseen(seen))
            click.echo("2/5 each sees what it gets")
            seen = await rehearse(self._asked)
            self._check(seen)
            await self._let_go(seen)
            click.echo("3/5 those of the claim leave it there")
            if not seen.is_past:
                await self._cluster.delete(seen.claim)
        await self._wait(lambda: self._left(seen))
        click.echo(f"4/5 {seen.claim} is gone, and nothing in AWS with it")
        self._check(await rehearse(self._asked))
        new = await self._get(seen.key)
        if new is not None and is_paused(new):
            await self._cluster.patch(key_of(new), {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})
        await self._wait(lambda: self._unready(seen))
        click.echo(f"5/5 {seen.key} ({seen.key.group}) has taken over")

    async def back(self) -> None:
        seen = await rehearse(self._asked)
        if seen.is_past:
            raise Stopped(f"{seen.claim} has been deleted: there is no way back", mend="run it without --back")
        new = await self._get(seen.key)
        if new is not None and is_paused(new):  # as one that has never been reconciled, it goes at once
            await self._cluster.delete(seen.key)
        await self._wait(lambda: self._there([key_of(obj) for obj in seen.new.values()]))
        for obj in seen.old.values():
            key = key_of(obj)
            await self._cluster.apply(_named(key), manager=MANAGER)
        for key in seen.owners:
            if (owner := await self._get(key)) is not None and is_paused(owner):
                await self._cluster.patch(key, {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})
        click.echo(f"{seen.claim} is as it was")

    async def _prepare(self, seen: Rehearsal) -> Rehearsal:
        """Make the new composite, paused, and its resources, which only look; level by level, since names follow from UIDs."""
        for _ in range(MOST_LEVELS):
            self._check(seen)
            if not await self._make(seen):
                break
            seen = await rehearse(self._asked)
        click.echo(
            f"1/5 {counted(len(seen.new), 'resource is made, and only looks', 'resources are made, and only look')}"
        )
        return seen

    def _check(self, seen: Rehearsal) -> None:
        try:
            seen.check(may_delete=self._asked.may_delete)
        except Stopped:
            for line in seen.lines():
                click.echo(line, err=True)
            raise

    async def _make(self, seen: Rehearsal) -> bool:
        """Whether something was not there."""
        if not seen.is_there:
            await self._cluster.apply(_paused(seen.composite), manager=MANAGER)
            return True
        from groundplane.reconcile import pipelines

        made = False
        for obj in (*seen.nested, *seen.new.values()):
            if str((controller_of(obj) or {}).get("uid")).startswith(MADE_UP):
                continue  # its composite is to be made first
            key = key_of(obj)
            there = await self._get(key)
            if there is not None and (controller_of(there) or {}).get("uid") != (controller_of(obj) or {})["uid"]:
                raise Stopped(f"{key} is there already, and another's", mend="give its template another name")
            body = _named(key) | all_applied_by(obj, seen.managers[key])
            body["metadata"] = {**_named(key)["metadata"], **(body.get("metadata") or {})}
            manager = seen.managers[key]
            if obj in seen.nested:
                await self._cluster.apply(_paused(body), manager=manager)
            else:
                own = {"annotations": {"crossplane.io/external-name": external_name(obj)}}
                notes = {**(body["metadata"].get("annotations") or {}), **own["annotations"]}
                looking = {"metadata": {**body["metadata"], "annotations": notes}, "spec": {**body["spec"], **LOOKS}}
                await self._cluster.apply({**body, **looking}, manager=manager)
                # the composite will not ask for the name, and take it away: so that it stays, it is ours as well
                mine = {"metadata": {**_named(key)["metadata"], **own}}
                await self._cluster.apply(_named(key) | mine, manager=MANAGER)
            made = made or there is None
        for obj in seen.references:
            if not str(meta(obj).get("uid")).startswith(MADE_UP):
                named = all_applied_by(obj, pipelines.COMPOSITE_MANAGER).get("spec") or {}
                await self._cluster.apply({**_named(key_of(obj)), "spec": named}, manager=pipelines.COMPOSITE_MANAGER)
        return made

    async def _let_go(self, seen: Rehearsal) -> None:
        """Have the old ones leave what they stand for where it is, and see that they know."""
        for key in seen.owners:
            if key.place != seen.claim.place:  # a Composition that says Delete would say so again
                await self._cluster.patch(key, {"metadata": {"annotations": {PAUSED_ANNOTATION: "true"}}})
        for obj in seen.old.values():
            await self._cluster.apply(_named(key_of(obj)) | {"spec": dict(STAYS)}, manager=MANAGER)
        await self._wait(lambda: self._holding(seen))

    # --- what is waited for

    async def _wait(self, troubles: Callable[[], Awaitable[Sequence[str]]]) -> None:
        while found := await troubles():
            if time.monotonic() > self._deadline:
                for each in found:
                    click.echo(each, err=True)
                raise Stopped(f"it has taken more than {self._asked.timeout:.0f} seconds", mend="see above")
            await asyncio.sleep(LOOK)

    async def _unseen(self, seen: Rehearsal) -> list[str]:
        """New resources that don't see what they get."""
        found = []
        for obj in seen.new.values():
            live = await self._get(key_of(obj))
            if live is None or external_name(live) != external_name(obj):
                raise Stopped(f"{key_of(obj)} is not there, or stands for something else by now", mend="run it again")
            found += _trouble(live)
        return found

    async def _holding(self, seen: Rehearsal) -> list[str]:
        """Old resources that would take along what they stand for, as far as they know."""
        found = []
        for obj in seen.old.values():
            live = await self._get(key_of(obj))
            if live is None or spec_of(live).get("deletionPolicy") != STAYS["deletionPolicy"]:
                raise Stopped(f"somebody changes deletionPolicy of {key_of(obj)}", mend="have them leave it alone")
            if not health.has_seen(live):
                found.append(f"{key_of(obj)} has not seen yet that it is to leave what it stands for")
        return found

    async def _left(self, seen: Rehearsal) -> list[str]:
        """What is left of the claim; composites that are on their way out go on."""
        keys = [seen.claim, *(key for key in seen.owners if key != seen.claim)]
        keys += [key_of(obj) for obj in seen.old.values()]
        for key in keys:
            live = await self._get(key)
            if live is not None and is_deleting(live) and is_paused(live):
                await self._cluster.patch(key, {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})
        return await self._there(keys)

    async def _there(self, keys: Sequence[Key]) -> list[str]:
        return [f"{key} is still there" for key in keys if await self._get(key) is not None]

    async def _unready(self, seen: Rehearsal) -> list[str]:
        """What the new composite has not taken over yet."""
        found = []
        for obj in (seen.composite, *seen.nested, *seen.new.values()):
            live = await self._get(key_of(obj))
            if live is None:
                found.append(f"{key_of(obj)} is not there")
            elif (
                spec_of(live).get("managementPolicies")
                == LOOKS["managementPolicies"]
                != spec_of(obj).get("managementPolicies")
            ):
                found.append(f"{key_of(obj)} only looks")
            else:
                found += _trouble(live)
        return found

    async def _get(self, key: Key) -> Object | None:
        try:
            return await self._cluster.get(key, live=True)
        except NoSuchKind:
            return None


def _named(key: Key) -> Object:
    metadata = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
    return {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata}


def _paused(obj: Object) -> Object:
    metadata = meta(obj)
    return {
        **obj,
        "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), PAUSED_ANNOTATION: "true"}},
    }


def _trouble(obj: Object) -> list[str]:
    """Why it is not in order."""
    key, synced = key_of(obj), conditions.find(obj, "Synced") or {}
    if is_paused(obj):
        return [f"{key} is paused"]
    if synced.get("status") != "True":
        return [f"{key}: {synced.get('message') or 'nobody has looked at it yet'}"]
    return [] if conditions.is_true(obj, "Ready") else [f"{key} is not ready"]
