"""Making a plan of files and flags: what `plan` prints, and `apply` makes once more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundplane.errors import GroundplaneError, InvalidInput

if TYPE_CHECKING:
    from groundplane.cli.overlaid import Overlaid
    from groundplane.core.objects import Key, Object
    from groundplane.core.plan import Input, Plan, Read, Step
    from groundplane.runtime.clouds import Clouds
    from groundplane.runtime.planning import Looking


SHARED = ("CompositeResourceDefinition", "Composition", "EnvironmentConfig", "Function")  # what counts is who uses them


@dataclass(frozen=True)
class Asked:
    """What a plan is made of."""

    paths: tuple[str, ...] = ()
    namespace: str = ""
    resource: tuple[str, ...] = ()
    include_pinned: bool = False
    refresh: bool = True
    function: tuple[str, ...] = ()
    function_templates_dir: str = ""

    def record(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @staticmethod
    def of(record: Mapping[str, Any]) -> Asked:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return Asked(**values)


@dataclass(frozen=True)
class Planned:
    """A plan, and what came up while it was made."""

    plan: Plan
    errors: Sequence[str] = ()
    is_refused: bool = False  # a file would not be taken
    pinned: Sequence[Key] = ()
    documents: Sequence[Any] = field(default=(), repr=False)  # what was read, each with its place
    objects: Sequence[Object] = field(default=(), repr=False)  # the same, in their namespaces
    wanted: Mapping[Key, Object] = field(default_factory=dict, repr=False)  # what there would be, by place
    left_out: Sequence[Key] = ()  # what the files reach, and --resource or --namespace leaves out

    def check_whole(self) -> None:
        """Whether it says all that the files do.  Raises InvalidInput."""
        if not self.left_out:
            return
        some = ", ".join(map(str, self.left_out[:3])) + (", …" if len(self.left_out) > 3 else "")
        raise InvalidInput(
            f"--resource or --namespace leaves out what these files change as well: {some}; a plan of some can be shown, and not applied",
            mend="plan without it, or only the files of what is meant",
        )


async def make(asked: Asked, place: tuple[str, str, str]) -> Planned:
    """Look, and say what would be done; nothing is changed anywhere.

    Raises:
        GroundplaneError: it can't be told.
    """
    from groundplane.cli import function_flag, overlaid, sources
    from groundplane.core.plan import Plan
    from groundplane.runtime import clouds
    from groundplane.runtime.planned_targets import PlannedTargets
    from groundplane.runtime.planning import Looking, Planner

    inputs = _inputs(asked.paths)
    read = overlaid.read(asked.paths) if asked.paths else []
    calls: list[None] = []
    functions = (function_flag.addresses(asked.function), function_flag.files(asked.function_templates_dir))
    async with sources.opened(*place) as source:
        targets = PlannedTargets(source.cluster)
        cloud = clouds.looking(lambda: calls.append(None), targets)
        looking = Looking(cloud, refresh=asked.refresh)
        try:
            async with overlaid.begun(
                source, [document.object for document in read], functions=functions, cloud=looking
            ) as found:
                targets.peek = found.overlay.cluster.peek
                await found.apply(read, asked.namespace, asked.resource, include_manual=asked.include_pinned)
                whole = _whole(found, asked)
                reach = _reach(found, asked, whole)
                steps = await Planner(found.overlay, looking, found.settle).steps(reach)
                warnings = _warnings(found, steps)
            accounts, troubles = await _accounts(cloud, looking) if asked.refresh else ({}, [])
        finally:
            await cloud.close()
            await targets.close()
    steps = [_of_account(step, looking, accounts) for step in steps]
    plan = Plan(
        steps,
        accounts=sorted(set(accounts.values()) - {""}),
        regions=sorted({region for step in steps if (region := _region(step, looking))}),
        calls=len(calls),
        users=_users(found, reach),
        inputs=inputs,
        objects=_objects(found, reach),
        asked=asked.record(),
    )
    objects = [found.placed(document.object, asked.namespace) for document in read]
    return Planned(
        plan,
        [*found.errors, *warnings, *troubles],
        found.is_refused,
        found.pinned,
        read,
        objects,
        {key.place: obj for key, obj in found.overlay.objects().items()},
        _left_out(found, whole, reach),
    )


def may_compose(obj: Object) -> bool:
    """Whether an object may be a composite, or a claim: its API group is nobody else's.

    >>> [may_compose({"apiVersion": f"{group}/v1"}) for group in ("shop.example.org", "pkg.crossplane.io", "s3.aws.upbound.io", "apps")]
    [True, False, False, False]
    """
    group = str(obj["apiVersion"]).rpartition("/")[0]
    return "." in group and not group.endswith(("crossplane.io", "upbound.io", "k8s.io"))


def _warnings(found: Overlaid, steps: Sequence[Step]) -> list[str]:
    """What reconcilers would tell.  Of a composite some of whose resources can't be told about that is only what they lack."""
    unseen: dict[Key, Key] = {}
    for step in steps:
        if step.action == "unknown" and step.composite:
            unseen.setdefault(step.composite.place, step.key)
    told: dict[str, None] = {}
    for key, texts in found.warnings.items():
        cause = unseen.get(key.place)
        more = f"{key}: what follows from {cause} can't be told, since that can't be (see below)" if cause else ""
        told |= dict.fromkeys([more] if more else texts)
    return list(told)


def _inputs(paths: Sequence[str]) -> list[Input]:
    from groundplane.cli import documents, manifests
    from groundplane.core.plan import Input

    files = [file for file in manifests.files(documents.expanded(paths)) if file is not None]
    return [Input(str(file), hashlib.sha256(Path(file).read_bytes()).hexdigest()) for file in files]


def _whole(found: Overlaid, asked: Asked) -> set[Key]:
    """The places of what the files concern, and of all that belongs to it; without files everything."""
    from groundplane.cli import overlaid
    from groundplane.core.objects import key_of

    before, now = found.overlay.base, found.overlay.objects()
    both: dict[Key, Object] = {**before, **now}
    if asked.paths:
        keys = {*found.applied, *(change.key for change in found.overlay.changes())}
        keys |= {key_of(obj) for obj in overlaid.composites_of(found.overlay, found.applied)}
    else:
        keys = set(both)
    return (overlaid.below(before, keys) | overlaid.below(now, keys)) - overlaid.below(both, found.pinned)


def _reach(found: Overlaid, asked: Asked, whole: set[Key]) -> set[Key]:
    """The places of the objects that are looked at: of the whole what is asked for."""
    from groundplane.cli import overlaid

    if asked.resource or asked.namespace:
        both = (found.overlay.base, found.overlay.objects())
        chosen = [overlaid.family(each, asked.resource, asked.namespace) for each in both]
        return whole & (chosen[0] | chosen[1])
    return whole


def _left_out(found: Overlaid, whole: set[Key], reach: set[Key]) -> list[Key]:
    """What the files change and is not looked at; and who uses a shared object that they change, whatever comes of it."""
    from groundplane.cli import overlaid
    from groundplane.core.objects import key_of

    left = whole - reach
    if not left:
        return []
    changed = {change.key.place: change.key for change in found.overlay.changes()}
    out = {place: key for place, key in changed.items() if place in left and key.kind not in SHARED}
    for obj in overlaid.composites_of(found.overlay, changed.values()):
        if (key := key_of(obj)).place in left:
            out[key.place] = key
    kinds = {kind for key, obj in found.overlay.base.items() if key.place in changed for kind in _defined(obj)}
    for key in found.overlay.base:
        if (key.group, key.kind) in kinds and key.place not in reach:
            out[key.place] = key
    return sorted(out.values())


def _defined(obj: Object) -> set[tuple[str, str]]:
    """Group and kinds of the composites and claims, if the object is a definition."""
    from groundplane.core.objects import spec_of

    if obj["kind"] != "CompositeResourceDefinition":
        return set()
    spec = spec_of(obj)
    names = (spec.get("names") or {}, spec.get("claimNames") or {})
    return {(str(spec.get("group")), str(each.get("kind") or "")) for each in names}


async def _accounts(cloud: Clouds, looking: Looking) -> tuple[dict[str, str], list[str]]:
    """The numbers of the accounts with AWS that were used, by the UID of their ProviderConfigs, and what could not be told."""
    from groundplane.core.objects import key_of, meta

    found: dict[str, str] = {}
    troubles: list[str] = []
    for note in looking.notes.values():
        config = note.account.provider_config
        uid = str(meta(config).get("uid") or "") if config else ""
        if not uid or uid in found:
            continue
        try:
            found[uid] = await cloud.identify(note.account)
        except GroundplaneError as error:
            found[uid] = ""
            troubles.append(f"{key_of(config)}: can't tell whose account it is: {error}")
    return found, troubles


def _of_account(step: Step, looking: Looking, accounts: Mapping[str, str]) -> Step:
    """The step; unknown, if these credentials are of another account than the thing was seen in last."""
    from groundplane.core.objects import meta, status_of

    note = looking.notes.get(step.key.place)
    if note is None or not note.account.provider_config:
        return step
    here = accounts.get(str(meta(note.account.provider_config).get("uid")), "")
    arn = str((status_of(looking.base.get(step.key.place) or {}).get("atProvider") or {}).get("arn") or "").split(":")
    there = arn[4] if len(arn) > 5 else ""
    if not here or not there or here == there:
        return step
    reason = f"it is in account {there}, these credentials are of {here}. Mend: use those of its ProviderConfig."
    return replace(step, action="unknown", reason=reason, changes=())


def _region(step: Step, looking: Looking) -> str:
    from groundplane.core.objects import spec_of

    note = looking.notes.get(step.key.place)
    obj = note.managed if note else looking.base.get(step.key.place) or {}
    region = (spec_of(obj).get("forProvider") or {}).get("region")
    return region if isinstance(region, str) else ""


def _users(found: Overlaid, reach: set[Key]) -> dict[tuple[str, str], int]:
    """How many composites there are of each Composition that is concerned."""
    from groundplane.core.objects import controller_of, machinery_of, spec_of

    counts: dict[tuple[str, str], int] = {}
    for key, obj in found.overlay.objects().items():
        used = machinery_of(obj).get("compositionRef")
        if key.place not in reach or not isinstance(used, dict) or "resourceRef" in spec_of(obj) or controller_of(obj):
            continue
        place = (str(used.get("name") or ""), key.kind)
        counts[place] = counts.get(place, 0) + 1
    return counts


def _objects(found: Overlaid, reach: set[Key]) -> list[Read]:
    """What the plan depends on, as it is there."""
    from groundplane.core.plan import read_of

    there = found.loader.objects
    wanted = {key for key in there if key.place in reach or key.kind in ("ProviderConfig", "ClusterProviderConfig")}
    return [read_of(there[key]) for key in sorted(wanted)]
