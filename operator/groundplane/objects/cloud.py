"""The Cloud port over Kubernetes: an Object's object is applied, watched over and deleted, in this cluster or in another.

Source: crossplane-contrib/provider-kubernetes 350ef9a, internal/controller/*/object.  Values that are taken from others never get into the
Object's spec, and no Secret's data into its status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from groundplane.core import conditions
from groundplane.core import managed as core
from groundplane.core.fieldpath import FieldNotFound
from groundplane.core.managed import CREATE_ENDS, CREATE_PENDING, Action
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    has_finalizer,
    is_deleting,
    key_of,
    meta,
    spec_of,
    status_of,
)
from groundplane.errors import (
    Awaited,
    Denied,
    GroundplaneError,
    InvalidInput,
    NoSuchKind,
    NotFound,
    Rejected,
    Waiting,
    at,
)
from groundplane.objects import collection, connection, handover, readiness, references
from groundplane.objects import manifest as manifests
from groundplane.objects.account import HERE, Place, is_of_tenant, place_of
from groundplane.objects.kinds import (
    KINDS,
    STANDS_FOR,
    every,
    finalizer,
    is_object,
    manager,
    upstreams_manager,
)
from groundplane.objects.memory import Memory
from groundplane.objects.references import Taken
from groundplane.ports import (
    Account,
    Cluster,
    Creation,
    Default,
    Difference,
    ManagedKind,
    Observation,
    Propagation,
    Targets,
)

UNREADY = 30.0  # seconds between two looks at what is not ready for long
YOUNG, SOON = 60.0, 2.0  # seconds in which what was just made is looked at more often, and how often
WATCHED = (
    600.0  # seconds between two looks at most, where changes are told: who is not asked for so long, tells no more
)
SKEW = 60.0  # seconds by which another cluster's clock may differ
_SEEN_LATER = "watch: changes in another cluster are seen at the next look, not at once; what is referred to is watched"


@dataclass(frozen=True)
class Found:
    """What an observation has found, for the call that comes of it."""

    key: Key
    uid: str = ""
    manager: str = ""  # as which it is applied, if that is no matter of course
    is_written: bool = False  # by provider-kubernetes, before it applied: what it wrote goes over to who applies
    # By these Objects' finalizers, which nobody waits for: its own, as upstream's leaves it, and a circle's.
    kept: Sequence[Object] = ()
    wanted: Object = field(default_factory=dict, repr=False)
    taken: Taken = field(default_factory=Taken, repr=False)


class ObjectCloud:
    """`ports.Cloud` for provider-kubernetes' Objects, and `ports.Collected`."""

    def __init__(
        self,
        targets: Targets,
        *,
        strict_upstream: bool = False,
        may_write: Callable[[], None] = lambda: None,
        looks_first: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`looks_first`: what is applied for the first time is looked at before: for who tells what would be done, or does what was told."""
        self._targets, self._strict, self._may_write, self._now = targets, strict_upstream, may_write, now
        self._looks_first = looks_first
        self._memory = Memory()
        self._circles = references.Circles()

    def kind(self, api_version: str, kind: str) -> ManagedKind | None:
        return KINDS.get((api_version, kind))

    def kinds(self) -> Sequence[ManagedKind]:
        return every()

    def default_external_name(self, managed: Object) -> str:
        return str(meta(managed)["name"])

    def check(self, managed: Object) -> None:
        spec = spec_of(managed)
        manifests.given(managed)
        references.check(managed)
        readiness.check(spec.get("readiness") or {})
        connection.check(spec.get("connectionDetails"))

    async def check_account(self, account: Account) -> None:
        place = place_of(account)
        if not place.is_here:
            self._targets.check(place.kubeconfig, by_aws=place.by_aws)

    def defaults(self, managed: Object) -> Sequence[Default]:
        return ()

    # --- the life of an object --------------------------------------------------------------------------------

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        place = place_of(account)
        target = await self._cluster(place, account)
        if is_deleting(managed):
            return await self._leaving(managed, target, confined=self._confines(account, place))
        found = await self._wanted(managed, account, place, target)
        with _told(found.taken):
            if moved := await self._moved(managed, found, target, confined=self._confines(account, place)):
                return moved
            with _of_manifest():
                if self._is_new(managed):
                    await target.resource(found.key.api_version, found.key.kind)  # or nothing is noted
                    live = None
                else:
                    live = await target.get(found.key, live=True)
            if live is None:
                return Observation(exists=False, item=found, to_note={STANDS_FOR: manifests.noted(found.key)})
            return await self._looked_at(managed, live, found, target, account, place)

    def _is_new(self, managed: Object) -> bool:
        """Whether it is applied without a look at what is there: it never did anything, and the answer tells all that a look would."""
        notes = annotations_of(managed)
        has_acted = manifests.stands_for(managed) or any(notes.get(each) for each in (CREATE_PENDING, *CREATE_ENDS))
        may_change = core.allowed(managed) >= {Action.CREATE, Action.UPDATE}
        return may_change and self._answer_is_all(managed) and not (has_acted or self._looks_first)

    def _answer_is_all(self, managed: Object) -> bool:
        """Whether the answer to an apply tells all that is to be known."""
        asked = spec_of(managed)
        return not (asked.get("connectionDetails") or asked.get("watch") or self._strict)

    async def _wanted(self, managed: Object, account: Account, place: Place, target: Cluster) -> Found:
        """What an Object wants to be there, with what it takes from others.

        Raises:
            Waiting: something of that is not there yet.
            InvalidInput: it can't be, or is not for this account to ask.
        """
        here, confined = await self._targets.here(), self._is_confined(account)
        wanted = manifests.given(managed)
        taken = await references.resolve(managed, wanted, here, confined=confined, strict=self._strict)
        with _told(taken):
            manifests.check(wanted, tells=not references.from_secrets(managed))
            key = await self._key(managed, wanted, target, confined=self._confines(account, place))
            if place.is_here:
                _check_not_itself(managed, key)
            if not self._strict:
                for own in (key_of(managed), *([key] if place.is_here else ())):
                    taken.spare(own)
        return Found(key, wanted=wanted, taken=taken)

    def _is_confined(self, account: Account) -> bool:
        """Whether what the control plane's cluster has is an Object's only in its own namespace."""
        return is_of_tenant(account) and not self._strict

    def _confines(self, account: Account, place: Place) -> bool:
        """Whether what an Object makes must be in its own namespace."""
        return place.is_here and self._is_confined(account)

    async def find(self, managed: Object, account: Account) -> str | None:
        key = manifests.stands_for(managed)
        if key is None:
            return ""
        place = place_of(account)
        target = await self._cluster(place, account)
        there = await self._own(managed, key, target, confined=self._confines(account, place))
        return self.default_external_name(managed) if there else ""

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        place = place_of(account)
        target = await self._cluster(place, account)
        found = await self._wanted(managed, account, place, target)
        live = await self._apply(managed, found, target)
        name = self.default_external_name(managed)
        if not self._answer_is_all(managed):
            return Creation(name)
        shown = self._shown(managed, live, found, place)
        was_there = _was_there(live, managed, self._manager(managed), slack=_slack(place))
        notes = (*shown.notes, _adopts(live)) if was_there else shown.notes
        return Creation(name, observation=replace(shown, notes=notes))

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        found: Found = observation.item
        self._memory.pace(_uid(managed), self._now())
        dropped = [key for key in manifests.held_by(managed) if key not in found.taken.keys]
        if dropped:
            self._may_write()
            await references.let_go(managed, dropped, await self._targets.here())
        await self._apply(managed, found, await self._cluster(place_of(account), account))
        return {}

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        found: Found = observation.item
        asked = spec_of(managed).get("forProvider") or {}
        policy = cast(Propagation, asked.get("deletionPropagationPolicy") or "Background")
        self._may_write()
        target = await self._cluster(place_of(account), account)
        await target.delete(found.key, uid=found.uid, propagation=policy)
        for each in found.kept:
            await references.let_go(each, [found.key], target)

    async def let_go(self, managed: Object) -> None:
        self._memory.forget(_uid(managed))
        here = await self._targets.here()  # where finalizers are ours to take off, also for who changes nothing outside
        await references.let_go(managed, manifests.held_by(managed), here)
        for _, target in references.of(managed):  # which may be held since a moment ago, and not be told yet
            with suppress(NoSuchKind, InvalidInput, Denied):  # then they never were
                await references.let_go(
                    managed, [await references.key(managed, target, here, confined=False, strict=self._strict)], here
                )

    # --- collections --------------------------------------------------------------------------------------------

    async def collected(self, collection_: Object, account: Account) -> Sequence[Object]:
        place = place_of(account)
        target = await self._cluster(place, account)
        return await collection.found(collection_, target, confined=place.is_here and self._is_confined(account))

    # --- looking ------------------------------------------------------------------------------------------------

    async def _own(
        self, managed: Object, key: Key, target: Cluster, *, confined: bool, anyhow: bool = False
    ) -> Object | None:
        """What is there of that name, if the Object has made or seen it: the annotation that says what it stands for is anybody's.

        Raises:
            InvalidInput: it is, and is where the Object may not act any more.
        """
        try:
            live = await target.get(key, live=True)
        except NoSuchKind:  # whose kind is not served any more is gone with it
            return None
        if live is None or not (anyhow or self._is_ours(live, managed)):
            return None
        if confined:
            _check_confined(managed, key)
        return live

    async def _leaving(self, managed: Object, target: Cluster, *, confined: bool) -> Observation:
        """What an Object that is deleted stands for: what it has seen or was about to make, whatever its manifest says by now."""
        key = manifests.stands_for(managed)
        made = any(annotations_of(managed).get(each) for each in (CREATE_PENDING, *CREATE_ENDS))
        if key is None and (made or self._strict):
            with suppress(InvalidInput, NoSuchKind):
                key = await self._key(managed, manifests.given(managed), target, confined=False)
        live = await self._own(managed, key, target, confined=confined, anyhow=self._strict) if key else None
        around = [] if self._strict else await self._circles.around(managed, live, await self._targets.here())
        released, notes = self._released(managed, live, around)
        if live is None or key is None:
            is_begun = key is not None and not manifests.seen_of(managed)  # and how it ended nobody has told
            may_come = is_begun and not self._strict and not self._memory.has_tried(_uid(managed))
            return Observation(exists=False, may_come=may_come, released=released, notes=notes)
        kept = [each for each in (managed, *around) if has_finalizer(live, finalizer(each))]
        found = Found(key, uid=str(meta(live)["uid"]), kept=kept)
        return Observation(
            exists=True,
            deleting=is_deleting(live) and not found.kept,
            item=found,
            at_provider=self._seen(managed, live),
            released=released,
            notes=notes,
        )

    def _released(
        self, managed: Object, live: Object | None, around: Sequence[Object]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Which finalizers of Objects its deletion does not wait for, and why: those of a circle, and of an Object that goes with it."""
        if self._strict:
            return (), ()
        names = ", ".join(sorted(str(key_of(each)) for each in around))
        text = f"{names} and this object refer to each other: they are deleted without one waiting for the other"
        own = [managed, *([live] if live is not None and is_object(live) else []), *around]
        return tuple(map(finalizer, own)), (text,) if around else ()

    async def _key(self, managed: Object, wanted: Object, target: Cluster, *, confined: bool) -> Key:
        """What the manifest means; in namespaces it is in its Object's unless it says otherwise."""
        own = str(meta(managed).get("namespace") or "")
        key = key_of(wanted)
        implied = own and not key.namespace and not self._strict
        if implied:
            with _of_manifest():
                resource = await target.resource(key.api_version, key.kind)
            if resource.namespaced:
                wanted["metadata"]["namespace"] = own
                key = key._replace(namespace=own)
        if confined:
            _check_confined(managed, key)
        return key

    async def _moved(self, managed: Object, found: Found, target: Cluster, *, confined: bool) -> Observation | None:
        """An object of another name or kind than the manifest's, which stays what the Object stands for."""
        before = None if self._strict else manifests.stands_for(managed)
        moved = manifests.moved(before, found.key) if before else ()
        if before is None or not moved:
            return None
        there = await self._own(managed, before, target, confined=confined)
        if there is None:
            return None
        return Observation(exists=True, immutable=moved, at_provider=self._seen(managed, there))

    async def _looked_at(
        self, managed: Object, live: Object, found: Found, target: Cluster, account: Account, place: Place
    ) -> Observation:
        is_written = _has_seen(live, managed) and handover.written(live) is not None
        found = replace(found, uid=str(meta(live)["uid"]), manager=self._manager(managed, live), is_written=is_written)
        if not is_deleting(live):
            if Action.UPDATE in core.allowed(managed) and (drift := await self._drift(managed, live, found, target)):
                return Observation(
                    exists=True,
                    drift=drift,
                    at_provider=self._seen(managed, live, found.taken),
                    item=found,
                    watches=self._watched(managed, found, place),
                    notes=self._adopted(managed, live, place),
                )
            details = await self._details(managed, target, confined=place.is_here and self._is_confined(account))
            shown = self._shown(managed, live, found, place)
            return replace(shown, connection=details, notes=(*shown.notes, *self._adopted(managed, live, place)))
        return self._shown(managed, live, found, place)

    def _shown(self, managed: Object, live: Object, found: Found, place: Place) -> Observation:
        """What is told of an object that is as it should be, or is being deleted."""
        spec, watches = spec_of(managed), self._watched(managed, found, place)
        tells = _tells(managed) and not manifests.is_secret(live)
        ready = (
            conditions.unavailable("the object is being deleted")
            if is_deleting(live)
            else readiness.of(spec.get("readiness") or {}, live, tells=tells)
        )
        settled = ready.status == "True"
        return Observation(
            exists=True,
            ready=ready,
            settled=settled,
            at_provider=self._seen(managed, live, found.taken),
            item=found,
            watches=watches,
            next_look=self._next_look(live, settled=settled, watched=bool(watches)),
            rests=bool((spec.get("readiness") or {}).get("noRequeue")),
            notes=() if place.is_here or not spec.get("watch") else (_SEEN_LATER,),
        )

    def _next_look(self, live: Object, *, settled: bool, watched: bool) -> float | None:
        if not settled:
            born = conditions.moment(str(meta(live).get("creationTimestamp")))
            return SOON if born and abs((self._now() - born).total_seconds()) < YOUNG else UNREADY
        return WATCHED if watched else None

    def _seen(self, managed: Object, live: Object, taken: Taken | None = None) -> dict[str, Any]:
        """The status' atProvider; what is held stays as it was where it was not looked at."""
        held = manifests.held_by(managed) if taken is None or not self._holds(managed) else taken.keys
        known: dict[str, Any]
        if self._strict:
            known = {"manifest": live}
        elif taken is None and references.from_secrets(managed):  # whose values are not known here
            known = {**(status_of(managed).get("atProvider") or {}), "object": manifests.identity(live)}
        else:
            values = taken.secrets if taken else ()
            shown = manifests.sanitised(live, references.from_secrets(managed), values, managed)
            known = {"manifest": shown, "object": manifests.identity(live)}
        return known | ({"references": manifests.as_held(held)} if held else {})

    def _adopted(self, managed: Object, live: Object, place: Place) -> tuple[str, ...]:
        """That somebody else has made what is there: told with the first status, also where who applied it was stopped before that."""
        known = status_of(managed).get("atProvider") or any(annotations_of(managed).get(each) for each in CREATE_ENDS)
        if known or Action.UPDATE not in core.allowed(managed):
            return ()
        if _has_applied(self._manager(managed), live) and not _is_older(live, managed, slack=_slack(place)):
            return ()
        return (_adopts(live),)

    def _watched(self, managed: Object, found: Found, place: Place) -> tuple[Key, ...]:
        if self._strict or not spec_of(managed).get("watch"):
            return ()
        return (*([found.key] if place.is_here else ()), *found.taken.keys)

    async def _drift(self, managed: Object, live: Object, found: Found, target: Cluster) -> tuple[Difference, ...]:
        """What an apply would change: asked of the server once, for it alone knows its defaults; then again when something is otherwise."""
        if found.is_written:
            return (Difference("manifest", f"applied by {found.manager}", "written by plain updates"),)
        name = found.manager
        wanted, there = manifests.fingerprint(found.wanted), manifests.fingerprint(manifests.content(live, name))
        if not self._memory.is_settled(_uid(managed), wanted, there):
            with _told(found.taken), _of_manifest():
                would = await target.apply(found.wanted, manager=name, dry_run=True)
            if drift := manifests.differences(would, live, name, tells=_tells(managed)):
                return drift
            self._memory.settle(_uid(managed), wanted, there)
        if self._holds(managed):
            held = manifests.held_by(managed)
            if found.taken.unheld or any(key not in found.taken.keys for key in held):
                return (Difference("references", "held", "not held"),)
        return ()

    def _holds(self, managed: Object) -> bool:
        """Whether it keeps what it refers to from being deleted: who only looks needs nothing of it."""
        return bool(core.allowed(managed) & {Action.CREATE, Action.UPDATE})

    async def _details(self, managed: Object, target: Cluster, *, confined: bool) -> dict[str, bytes]:
        made, own = {}, str(meta(managed).get("namespace") or "")
        for place, detail in enumerate(spec_of(managed).get("connectionDetails") or ()):
            with at(f"spec.connectionDetails[{place}]"):
                key = Key(detail["apiVersion"], detail["kind"], str(detail.get("namespace") or ""), detail["name"])
                if own or not self._strict:
                    key = await references.placed(key, own, target)
                if confined and key.namespace != own:
                    raise InvalidInput(
                        f"{key} is not in the object's own namespace", mend=f"take it from something in namespace {own}"
                    )
                source = await target.get(key, live=True)
                awaited = Awaited(key.group, key.kind, key.namespace, key.name)
                if source is None:
                    raise Waiting(f"{key} not found", mend="create it, or correct the entry", on=[awaited])
                try:
                    made[detail["toConnectionSecretKey"]] = connection.value(source, detail)
                except FieldNotFound as error:
                    text = f"{key} has no field {detail['fieldPath']} yet"
                    raise Waiting(text, mend="correct fieldPath, unless it is still to come", on=[awaited]) from error
        return made

    # --- writing ------------------------------------------------------------------------------------------------

    async def _apply(self, managed: Object, found: Found, target: Cluster) -> Object:
        self._may_write()
        self._memory.try_(_uid(managed))
        if self._holds(managed) and found.taken.unheld:
            await references.hold(managed, found.taken.unheld, await self._targets.here())
        with _told(found.taken), _of_manifest():
            made = await self._applied(managed, found, target)
        content = manifests.content(made, found.manager or self._manager(managed))
        self._memory.settle(_uid(managed), manifests.fingerprint(found.wanted), manifests.fingerprint(content))
        return made

    def _manager(self, managed: Object, live: Object | None = None) -> str:
        """As whom it is applied: what has come from upstream goes on as upstream's, or nothing of it could ever be taken away."""
        name, old = manager(managed), upstreams_manager(managed)
        if self._strict:
            return old
        if live and _has_seen(live, managed) and _has_applied(old, live) and not _has_applied(name, live):
            return old
        return name

    def _is_ours(self, live: Object, managed: Object) -> bool:
        """Whether it is what the Object has seen, or has applied something of."""
        return _has_seen(live, managed) or _has_applied(self._manager(managed), live)

    async def _applied(self, managed: Object, found: Found, target: Cluster) -> Object:
        try:
            if found.is_written:
                await handover.begin(found.key, target)
            made = await target.apply(found.wanted, manager=found.manager or self._manager(managed))
            return await handover.end(made, target) if found.is_written else made
        except NotFound as error:
            namespace = found.key.namespace
            on = [Awaited("", "Namespace", name=namespace)]
            raise Waiting(f"namespace {namespace} not found", mend="create it", on=on) from error

    async def _cluster(self, place: Place, account: Account) -> Cluster:
        if place.is_here:
            return await self._targets.here()
        uid = str(meta(account.provider_config)["uid"])
        return await self._targets.there(uid, account.version, place.kubeconfig, by_aws=place.by_aws)


def _uid(managed: Object) -> str:
    return str(meta(managed)["uid"])


def _adopts(live: Object) -> str:
    return f"{key_of(live)} was there before: it is adopted, and goes with this object"


def _was_there(live: Object, managed: Object, manager_: str, *, slack: float) -> bool:
    """Whether an apply, whose answer this is, has not made it: somebody else has fields of it, or it is older than the Object.

    What nobody has a field of, such as a ServiceAccount that is but a name, tells its age alone.  `slack` is in seconds, of two servers' clocks.
    """
    entries = meta(live).get("managedFields") or ()
    if any((each.get("manager"), each.get("subresource")) != (manager_, None) for each in entries):
        return True
    return _is_older(live, managed, slack=slack)


def _is_older(live: Object, managed: Object, *, slack: float) -> bool:
    born, asked = (conditions.moment(str(meta(each).get("creationTimestamp"))) for each in (live, managed))
    return bool(born and asked and (asked - born).total_seconds() > slack)


def _slack(place: Place) -> float:
    """Seconds by which clocks may differ: a cluster is its own clock."""
    return 0.0 if place.is_here else SKEW


@contextmanager
def _told(taken: Taken) -> Iterator[None]:
    """What a server refuses, in words in which nothing of a Secret is, and with a mend."""
    try:
        yield
    except GroundplaneError as error:
        error.what = manifests.without(error.what, taken.secrets)
        if isinstance(error, Rejected) and "immutable" in error.what and not error.mend:
            error.mend = "set the old value again, or delete the object: it is then made anew"
        raise


@contextmanager
def _of_manifest() -> Iterator[None]:
    """Where it stands, what a server does not take."""
    try:
        yield
    except (InvalidInput, NoSuchKind) as error:
        error.where = error.where or (manifests.WHERE,)
        raise


def _check_not_itself(managed: Object, key: Key) -> None:
    if references.is_same(key_of(managed), key):
        raise InvalidInput("the manifest is the Object itself", mend="write another object", where=(manifests.WHERE,))


def _tells(managed: Object) -> bool:
    """Whether no value of the object comes from a Secret, or came from one when it was seen last."""
    shown = (status_of(managed).get("atProvider") or {}).get("manifest")
    return not references.from_secrets(managed) and manifests.REDACTED not in manifests.texts_in(shown)


def _check_confined(managed: Object, key: Key) -> None:
    own = str(meta(managed).get("namespace") or "")
    if key.namespace != own:
        place = f"in namespace {key.namespace}" if key.namespace else "in no namespace"
        raise InvalidInput(
            f"{key} is {place}: with a ProviderConfig of its own namespace that has source {HERE}, an Object makes nothing elsewhere",
            mend=f"put it into namespace {own}, or use a ClusterProviderConfig",
            where=(f"{manifests.WHERE}.metadata.namespace",),
        )


def _has_seen(live: Object, managed: Object) -> bool:
    seen = manifests.seen_of(managed)
    return bool(seen and seen[1] == meta(live)["uid"])


def _has_applied(name: str, live: Object) -> bool:
    return any(entry.get("manager") == name for entry in meta(live).get("managedFields") or ())
