"""What would be done outside of the cluster: the managed reconcilers on an overlay, with a cloud that looks, and does nothing.

What would be made counts as made, with values that only its making tells, so that what follows from it is seen as well.  Source:
author-tools specification, §4.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from groundplane.aws.tags import OWNERSHIP
from groundplane.core import conditions, fieldpath, origin
from groundplane.core import managed as core
from groundplane.core.managed import CREATE_PENDING, CREATE_SUCCEEDED, EXTERNAL_NAME, FINALIZER
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    controller_of,
    has_finalizer,
    is_deleting,
    is_paused,
    key_of,
    meta,
    spec_of,
    status_of,
)
from groundplane.core.plan import (
    IMMUTABLE,
    LATER,
    OUTSIDE,
    PAUSED,
    SENSITIVE,
    Action,
    Allowed,
    Field,
    Step,
    belonging,
    permits,
)
from groundplane.errors import GroundplaneError, Rejected, Throttled, Waiting
from groundplane.objects import references
from groundplane.ports import Account, Cloud, Creation, Default, Difference, ManagedKind, Observation
from groundplane.runtime import clouds
from groundplane.runtime.overlay import MADE_UP, MANAGED, MANAGER, Overlay

REFERENCE = origin.MACHINERY[origin.REFERENCES]
PAUSES = (0.5, 1.0, 2.0)  # seconds until what was throttled is asked again
HIDDEN = ("(secret)", "(as wanted)", "as wanted")  # what clouds say in place of a value that nobody may read
NAME_PATH = f"metadata.annotations[{EXTERNAL_NAME}]"
OWNED = origin.MACHINERY["crossplane"]  # who sets the tags that say whose a thing is: they change with its object
FILE = "file"  # who set a field: one of the files that are planned
Did = Literal["create", "update", "delete"]


@dataclass
class Note:
    """What was seen, and asked for, of one managed resource."""

    managed: Object  # as it was looked at last
    account: Account
    found: Observation | None = None
    error: GroundplaneError | None = None
    asked: dict[Did, Observation | None] = field(default_factory=dict)


class _Through:
    """`ports.Cloud` that asks another one."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def kind(self, api_version: str, kind: str) -> ManagedKind | None:
        return self._cloud.kind(api_version, kind)

    def kinds(self) -> Sequence[ManagedKind]:
        return self._cloud.kinds()

    def default_external_name(self, managed: Object) -> str:
        return self._cloud.default_external_name(managed)

    def check(self, managed: Object) -> None:
        self._cloud.check(managed)

    async def check_account(self, account: Account) -> None:
        await self._cloud.check_account(account)

    def defaults(self, managed: Object) -> Sequence[Default]:
        return self._cloud.defaults(managed)

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        return await self._cloud.observe(managed, account, secrets)

    async def find(self, managed: Object, account: Account) -> str | None:
        return await self._cloud.find(managed, account)


class Looking(_Through):
    """Looks, and notes what it is asked to do; nothing is done."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        refresh: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Without `refresh` nothing is looked at either: what was there last counts, with the spec that it had in `base`."""
        super().__init__(cloud)
        self._refresh, self._sleep = refresh, sleep
        self.base: Mapping[Key, Object] = {}  # by place
        self.is_on = False  # before that, no kind is known: what is composed is worked out first
        self.notes: dict[Key, Note] = {}  # by place
        self._made: set[tuple[Key, str]] = set()  # with the UID
        self._gone: set[tuple[Key, str]] = set()
        self._seen: dict[tuple[Key, str], Observation | GroundplaneError] = {}

    def kind(self, api_version: str, kind: str) -> ManagedKind | None:
        return self._cloud.kind(api_version, kind) if self.is_on else None

    def kinds(self) -> Sequence[ManagedKind]:
        return self._cloud.kinds() if self.is_on else ()

    async def check_account(self, account: Account) -> None:
        """A look tells."""

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        key, identity = key_of(managed).place, _identity(managed)
        note = self.notes.setdefault(key, Note(managed, account))
        note.managed, note.account = managed, account
        if identity in self._gone:
            return Observation(exists=False)
        if identity in self._made:
            return self._as_made(managed)
        if self._is_still_to_come(managed):
            note.found, note.error = Observation(exists=False), None
            return note.found
        place = (key, _digest(managed, secrets))
        if place not in self._seen or self._refers(managed):
            try:
                self._seen[place] = await self._look(managed, account, secrets)
            except GroundplaneError as error:
                self._seen[place] = error
        found = self._seen[place]
        if isinstance(found, GroundplaneError):
            note.found, note.error = None, found
            raise copy.copy(found)  # who tells of it adds to its words
        if note.found != found:
            note.asked.pop("update", None)
        note.found, note.error = found, None
        # it counts as it will be: settled, and as it was sent; what the cloud chose is not written down, what it lacks may be planned, too
        drift = () if "update" in note.asked else found.drift
        as_it_will_be = replace(found, drift=drift, settled=True, late={}, external_name="", contested=(), renew=())
        return replace(as_it_will_be, next_look=None, notes=(), obstacle=None)

    def _refers(self, managed: Object) -> bool:
        """Whether what is seen of it depends on objects that may have changed meanwhile."""
        kind = self._cloud.kind(managed["apiVersion"], managed["kind"])
        return kind is not None and kind.refers

    def _is_still_to_come(self, managed: Object) -> bool:
        """Whether what it is called only comes of the making of something else, as the settings of a bucket are."""
        if (known := self.base.get(key_of(managed).place)) is not None and _was_made(known):
            return False
        return LATER in (annotations_of(managed).get(EXTERNAL_NAME) or self._cloud.default_external_name(managed))

    async def _look(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        if not self._refresh:
            return self._remembered(managed)
        for pause in PAUSES:
            try:
                return await self._cloud.observe(managed, account, secrets)
            except Throttled:
                await self._sleep(pause)
        return await self._cloud.observe(managed, account, secrets)

    def _remembered(self, managed: Object) -> Observation:
        """As it was seen last, in nothing but what is asked for now and was not asked for then."""
        known = self.base.get(key_of(managed).place)
        if known is None or not _was_made(known):
            return Observation(exists=False)
        before, after = _asked(known), _asked(managed)
        fixed = clouds.immutable(managed["apiVersion"], managed["kind"])
        seen = status_of(known).get("atProvider") or {}
        shown = (
            before if self._refers(managed) else {**before, **seen}
        )  # an Object's status has the server's own fields, too
        drift = [
            Difference(name, HIDDEN[0], None) if _is_secret(value) else Difference(name, value, shown.get(name))
            for name, value in after.items()
            if before.get(name) != value and not name.endswith(("Ref", "Refs", "Selector"))
        ]
        return Observation(
            exists=True,
            at_provider=seen,
            drift=tuple(each for each in drift if each.field not in fixed),
            immutable=tuple(each for each in drift if each.field in fixed),
        )

    def _as_made(self, managed: Object) -> Observation:
        key = key_of(managed)
        told = {name: f"{LATER}: {name} of {key})" for name in _texts(managed)}
        at_provider = told | _masked(_asked(managed)) | {name: told[name] for name in ("id", "arn") if name in told}
        if name := self.name_to_be(managed):
            at_provider |= dict.fromkeys(clouds.named_so(managed["apiVersion"], managed["kind"]), name)
        return Observation(exists=True, ready=conditions.available(), at_provider=at_provider)

    def name_to_be(self, managed: Object) -> str:
        """The external name that it will have; "" if only the making of something tells: a composite's UID is part of what it composes is called."""
        name = annotations_of(managed).get(EXTERNAL_NAME) or self._cloud.default_external_name(managed)
        above = str((controller_of(managed) or {}).get("uid") or "")
        is_of_a_new_one = above.startswith(MADE_UP) and str(meta(managed)["name"]) in name
        return "" if LATER in name or is_of_a_new_one else name

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        self._ask(managed, "create", None)
        self._made.add(_identity(managed))
        name = annotations_of(managed).get(EXTERNAL_NAME) or self._cloud.default_external_name(managed)
        return Creation(name or f"{LATER}: {key_of(managed)})")

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        self._ask(managed, "update", self.notes[key_of(managed).place].found)
        return {}

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        self._ask(managed, "delete", observation)
        self._gone.add(_identity(managed))

    async def let_go(self, managed: Object) -> None:
        return None  # what it has left on others is no change that a plan tells

    def _ask(self, managed: Object, did: Did, observation: Observation | None) -> None:
        self.notes[key_of(managed).place].asked[did] = observation


def _identity(managed: Object) -> tuple[Key, str]:
    return key_of(managed).place, str(meta(managed).get("uid") or "")


def _digest(managed: Object, secrets: Mapping[str, str]) -> str:
    """What a look depends on; in memory alone, for there are secrets in it."""
    annotations = {name: text for name, text in annotations_of(managed).items() if "crossplane.io/" in name}
    return json.dumps([spec_of(managed), annotations, is_deleting(managed), dict(secrets)], sort_keys=True, default=str)


def _asked(managed: Object) -> dict[str, Any]:
    spec = spec_of(managed)
    return {**(spec.get("initProvider") or {}), **(spec.get("forProvider") or {})}


def _was_made(managed: Object) -> bool:
    """Whether something of it is known to be outside, or may be."""
    notes = annotations_of(managed)
    return bool(status_of(managed).get("atProvider") or CREATE_SUCCEEDED in notes or CREATE_PENDING in notes)


def _texts(managed: Object) -> list[str]:
    """The fields of its status.atProvider that are texts."""
    properties = _properties(managed, "status", "atProvider")
    return sorted(name for name, each in properties.items() if each.get("type") == "string")


def _properties(managed: Object, *place: str) -> Mapping[str, Any]:
    """The schemas of the fields in a place of a managed resource, forProvider unless it is named."""
    schema: Any = clouds.schema_of(managed["apiVersion"], managed["kind"])
    for name in place or ("spec", "forProvider"):
        schema = ((schema or {}).get("properties") or {}).get(name)
    found: Mapping[str, Any] = (schema or {}).get("properties") or {}
    return found


# --- the steps ------------------------------------------------------------------------------------------------


class Planner:
    """Carries an overlay on to what is outside."""

    def __init__(self, overlay: Overlay, looking: Looking, settle: Callable[[], Awaitable[None]]) -> None:
        """`overlay` has settled, with `looking` as its cloud; `settle` has it do so once more."""
        self._overlay, self._looking, self._settle = overlay, looking, settle
        self._reach: set[Key] = set()

    async def steps(self, reach: Iterable[Key]) -> list[Step]:
        """What would be done for the managed resources in these places, and those that come of what is there."""
        overlay, looking = self._overlay, self._looking
        self._reach = set(reach)
        looking.base, looking.is_on = {key.place: obj for key, obj in overlay.base.items()}, True
        overlay.admits = self._is_reached
        overlay.wake([key for key in sorted(overlay.objects()) if key.place in self._reach])
        await self._settle()
        now = {key.place: obj for key, obj in overlay.objects().items()}
        found = []
        for place in sorted({*looking.base, *now}):
            obj = now.get(place) or looking.base[place]
            if looking.kind(obj["apiVersion"], obj["kind"]) and self._is_reached(MANAGED, key_of(obj)):
                found.append(self._step(obj, looking.base.get(place), now.get(place)))
        return self._with_causes(found)

    def _with_causes(self, steps: Sequence[Step]) -> list[Step]:
        """What waits for something that can't be told about says that, and not what it lacks."""
        causes = {
            _naming(step.key): step.key
            for step in steps
            if step.action == "unknown" and (note := self._looking.notes.get(step.key.place)) and note.error
        }
        found = []
        for step in steps:
            cause = next((key for name, key in causes.items() if key != step.key and name.search(step.reason)), None)
            if step.action == "unknown" and cause:
                step = replace(step, reason=f"it needs {cause}, of which nothing can be told")
            found.append(step)
        return found

    def _is_reached(self, controller: str, key: Key) -> bool:
        """Whether an object is one of those, or belongs to one."""
        if controller != MANAGED or key.place in self._reach:
            return True
        obj = self._overlay.cluster.peek(key)
        its = belonging(obj, self._overlay.cluster.peek) if obj else None
        if its is not None and {each.place for each in (its.owner, its.composite) if each} & self._reach:
            self._reach.add(key.place)
            return True
        return False

    def _step(self, obj: Object, before: Object | None, after: Object | None) -> Step:
        key, its = key_of(obj), belonging(obj, self._peek)
        note = self._looking.notes.get(key.place)
        renamed = _renamed(before, after)
        action, reason, changes = self._judged(None if renamed else before, after, note, its.composition)
        if renamed:  # it stands for another thing, with which nobody has done anything yet
            changes = [renamed, *(each for each in changes if each.path != NAME_PATH)]
            action = "forget" if action == "same" else action
        return Step(
            key, action, its.address, its.owner, its.template, reason, its.composite, its.composition, tuple(changes)
        )

    def _peek(self, key: Key) -> Object | None:
        """As it is then, or, if it is gone by then, as it is now."""
        return self._overlay.cluster.peek(key) or self._looking.base.get(key.place)

    def _judged(
        self, before: Object | None, after: Object | None, note: Note | None, composition: str
    ) -> tuple[Action, str, list[Field]]:
        if note is not None and note.error is not None:
            return "blocked" if isinstance(note.error, Rejected) else "unknown", str(note.error), []
        if note is not None and "delete" in note.asked:
            return "destroy", "", []
        if after is None or is_deleting(after):
            return self._leaving(before, after, note)
        if note is None:
            return self._unseen(after)
        if "create" in note.asked:
            return "add", "", self._made(after, composition)
        if note.found is not None and note.found.immutable and core.Action.UPDATE in core.allowed(after):
            found = [self._field(each, before, after, composition, "immutable") for each in note.found.immutable]
            reason = clouds.unknown_region(after, note.account) or IMMUTABLE
            return "blocked", reason, [field for fields in found for field in fields]
        sent = note.asked.get("update")
        if sent is not None:
            found = [self._field(each, before, after, composition, "change") for each in sent.drift]
            fields_ = [field for fields in found for field in fields]
            return "change", "", sorted(fields_, key=lambda each: each.path)
        return self._unseen(after, is_seen=True)

    def _leaving(
        self, before: Object | None, after: Object | None, note: Note | None
    ) -> tuple[Action, str, list[Field]]:
        if after is not None:
            return "unknown", f"its deletion waits: {_trouble(after) or 'for what needs it'}", []
        if note is not None and note.found is not None and not note.found.exists:
            return "same", "nothing of it is there", []
        if before is not None and (has_finalizer(before, FINALIZER) or _was_made(before)):
            return "forget", "it stays, and nobody here knows it any more", []
        return "same", "nothing of it is there", []

    def _unseen(self, managed: Object, *, is_seen: bool = False) -> tuple[Action, str, list[Field]]:
        if is_paused(managed) or spec_of(managed).get("managementPolicies") == []:
            return "same", PAUSED, []
        if trouble := _trouble(managed):
            return "unknown", trouble, []
        return ("same", "", []) if is_seen else ("unknown", "it was not looked at", [])

    def _made(self, managed: Object, composition: str) -> list[Field]:
        kind = self._looking.kind(managed["apiVersion"], managed["kind"])
        name = self._looking.name_to_be(managed) if kind and kind.external_name == "name" and not kind.refers else ""
        named = [Field(NAME_PATH, None, name)] if name else []
        return named + [
            Field(
                f"spec.forProvider.{name}",
                None,
                _shown(value),
                "unknown" if LATER in json.dumps(value, default=str) else "change",
                self._source(managed, name, composition),
            )
            for name, value in _leaves(_masked(_asked(managed)))
            if not name.endswith(("Ref", "Refs", "Selector"))
        ]

    def _field(
        self,
        difference: Difference,
        before: Object | None,
        after: Object,
        composition: str,
        kind: Literal["change", "immutable"],
    ) -> list[Field]:
        name, path = difference.field, f"spec.forProvider.{difference.field}"
        is_field = name == "tags" or re.split(r"[.[]", name)[0] in _properties(
            after
        )  # or what a create has not finished
        is_outside = is_field and before is not None and _asked_at(before, name) == _asked_at(after, name)
        source = self._source(after, name, composition)
        if is_outside and source != REFERENCE:
            source = OUTSIDE
        note = _note(after, name) if kind == "change" else ""
        if name == "tags" and isinstance(difference.desired, dict) and isinstance(difference.observed, dict):
            names = sorted(difference.desired.keys() | difference.observed.keys())
            pairs = [(each, difference.observed.get(each), difference.desired.get(each)) for each in names]
            return [
                Field(f"{path}[{each}]", old, _shown(new), kind, OWNED if each in OWNERSHIP else source)
                for each, old, new in pairs
                if old != new
            ]
        if difference.desired in HIDDEN:
            return [Field(path, None, SENSITIVE, "sensitive", source, note)]
        later = LATER in json.dumps(difference.desired, default=str)
        shown = "unknown" if later and kind == "change" else kind
        observed = clouds.as_far_as_desired(after, name, difference.desired, difference.observed)
        return [Field(path, observed, _shown(difference.desired), "waiting" if note else shown, source, note)]

    def _source(self, managed: Object, name: str, composition: str) -> str:
        """Who sets a field."""
        if _is_taken(managed, name):
            return REFERENCE
        path = f"spec.forProvider.{name}"
        found = origin.writers(managed, fieldpath.parse(path)) if fieldpath.is_path(path) else []
        if not found:
            return ""
        what = origin.machinery(found[0])
        if what in ("composed", "control plane") and composition:
            return f"Composition {composition}"
        ours = (MANAGER, self._overlay.appliers.get(key_of(managed).place))
        return what or (FILE if found[0].manager in ours else found[0].manager)


def _naming(key: Key) -> re.Pattern[str]:
    """What finds an object in a text, and none whose kind or name only contains its own.

    >>> found = _naming(Key("iam.aws.upbound.io/v1beta1", "Policy", "", "a"))
    >>> [bool(found.search(text)) for text in ("no Policy a.", "no BucketPolicy a.", "no Policy a-b.", "no Policy a.b.")]
    [True, False, False, False]
    """
    return re.compile(rf"(?<![\w.-]){re.escape(str(key))}(?![\w-]|\.\w)")


def _renamed(before: Object | None, after: Object | None) -> Field | None:
    """The external name, if an object stands for another thing than before."""
    was, becomes = (annotations_of(each or {}).get(EXTERNAL_NAME) or "" for each in (before, after))
    if before is None or after is None or is_deleting(after) or not _was_made(before) or was in ("", becomes):
        return None
    note = f"{was} stays, and nobody here knows it any more"
    return Field(NAME_PATH, was, _shown(becomes) or None, note=note)


def _asked_at(managed: Object, name: str) -> Any:
    """What is asked for at a path in forProvider."""
    return fieldpath.find(_asked(managed), fieldpath.parse(name)) if fieldpath.is_path(name) else None


def _is_taken(managed: Object, name: str) -> bool:
    """Whether an Object's field is filled from another object."""
    return any(
        reference.get("patchesFrom") and f"{name}.".startswith(f"manifest.{references.filled(reference)}.")
        for reference, _ in references.of(managed)
    )


def _leaves(asked: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The fields that are asked for, sorted; of an Object those of its manifest.

    >>> _leaves({"region": "eu-west-1", "manifest": {"kind": "ConfigMap", "data": {"a.b": "c"}}})
    [('manifest.data[a.b]', 'c'), ('manifest.kind', 'ConfigMap'), ('region', 'eu-west-1')]
    """
    found = {name: value for name, value in asked.items() if name != "manifest"}
    if isinstance(manifest := asked.get("manifest"), dict):
        found |= {fieldpath.render(path): value for path, value in _inside(("manifest",), manifest)}
    return sorted(found.items())


def _inside(path: tuple[fieldpath.Segment, ...], value: Any) -> Iterator[tuple[tuple[fieldpath.Segment, ...], Any]]:
    """Each value inside of a map, with its path; a list is one value."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for name, each in value.items():
        yield from _inside((*path, name), each)


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and (value.get("apiVersion"), value.get("kind")) == ("v1", "Secret")


def _masked(value: Any) -> Any:
    """A value with nothing in it of the Secrets in it.

    >>> _masked({"manifest": {"apiVersion": "v1", "kind": "Secret", "data": {"password": "c2VjcmV0"}}})
    {'manifest': {'apiVersion': 'v1', 'kind': 'Secret', 'data': {'password': '(sensitive value)'}}}
    """
    if not isinstance(value, dict):
        return value
    if not _is_secret(value):
        return {name: _masked(each) for name, each in value.items()}
    hidden = {name: dict.fromkeys(value[name], SENSITIVE) for name in ("data", "stringData") if value.get(name)}
    return value | hidden


def _note(managed: Object, name: str) -> str:
    """When a change comes late."""
    has = "applyImmediately" in _properties(managed)
    if has and not _asked(managed).get("applyImmediately") and name not in ("tags", "applyImmediately"):
        return "waits for the maintenance window (applyImmediately: false)"
    return ""


def _shown(value: Any) -> Any:
    """A value with what only the making of something else tells said in the same words each time."""
    if isinstance(value, str) and value.startswith((LATER, MADE_UP)):
        return f"{LATER})"
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    return value


def _trouble(obj: Object) -> str:
    """Why it does not go on."""
    synced = conditions.find(obj, "Synced") or {}
    return str(synced.get("message") or "") if synced.get("status") == "False" else ""


# --- doing what a plan says, and nothing else -----------------------------------------------------------------


class OffPlan(Waiting):
    """What was to be done is not in the plan."""


class Guarded(_Through):
    """Does what a plan has, and notes what it was asked for beyond that."""

    def __init__(self, cloud: Cloud, steps: Mapping[str, Allowed], address: Callable[[Object], str]) -> None:
        """`steps` by what `address` calls a managed resource."""
        super().__init__(cloud)
        self._steps, self._address = steps, address
        self.done: dict[str, set[Did]] = {}  # by address
        self.refused: dict[str, str] = {}  # by address: what was not done

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        address = self._check(managed, "create", ())
        made = await self._cloud.create(managed, account, secrets)
        self.done.setdefault(address, set()).add("create")
        return made

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        address = self._check(managed, "update", [each.field for each in observation.drift])
        details = await self._cloud.update(managed, account, secrets, observation)
        self.done.setdefault(address, set()).add("update")
        return details

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        address = self._check(managed, "delete", ())
        await self._cloud.delete(managed, account, observation)
        self.done.setdefault(address, set()).add("delete")

    async def let_go(self, managed: Object) -> None:
        await self._cloud.let_go(managed)

    def _check(self, managed: Object, did: Did, fields: Sequence[str]) -> str:
        address = self._address(managed)
        if not permits(self._steps.get(address), did, fields):
            of = f" of {', '.join(sorted(fields))}" if fields else ""
            self.refused[address] = f"{did}{of}: {key_of(managed)}"
            raise OffPlan(f"the {did}{of} is not in the plan that is applied", mend="plan again")
        self.refused.pop(address, None)
        return address
