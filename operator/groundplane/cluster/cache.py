"""What we know of the cluster: the objects of the kinds that somebody follows, and who wants to hear of changes.

Objects are kept as compact JSON (about a third of what they weigh as dicts), so every read is a fresh dict; those of the kinds that say what kinds there are,
compressed (a tenth).  Of managedFields
only the server-side-apply entries of our own managers stay: they are what `apply.unchanged` compares with; and that of what nobody is known to have written.
Versions that our own writes made are told apart from others' by `own_writes.Versions`.
One event loop puts; no locks but the turn of those who list.  Another thread may read (`Reading`): what it goes through it copies in one step of the
interpreter first, entries are replaced whole, and what stays indexed by something is so at every moment.  Versions are compared as integers: resource versions of one kind are ordered (Kubernetes KEP 5504).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from sys import intern
from typing import Any, NamedTuple

import orjson

from groundplane.cluster import depth, own_writes
from groundplane.cluster.heads import Cut, Heads
from groundplane.cluster.own_writes import Versions
from groundplane.cluster.tally import Tally
from groundplane.core import usages
from groundplane.core.objects import Key, Object, controller_of, group_of, labels_of, matches, meta
from groundplane.ports import UNTRACKED

OUR_MANAGERS = (
    "apiextensions.crossplane.io/",
    "managed.crossplane.io/",
    "pkg.crossplane.io/",
    "kubernetes.crossplane.io/",
    "groundplane",
)  # prefixes
BATCH = 25  # objects of a list after which the event loop gets to its other work
SMALL = 2048  # bytes of JSON that are not worth compressing
TOMBSTONES = 4096  # deletions remembered, against answers and events that come late

Kind = tuple[str, str]  # api version, kind
Place = tuple[str, str]  # namespace, name


@dataclass(frozen=True)
class Change:
    """What an object was and is; None: it was or is not there.  To be read while it is told, not changed."""

    key: Key
    old: Object | None
    new: Object | None


Listener = Callable[[Change], None]


class _Entry(NamedTuple):
    version: int
    uid: str
    data: bytes
    versions: Versions


class _Store:
    """The objects of one kind, by place, by label and by controller; usages by what they speak of, too."""

    def __init__(self) -> None:
        self.objects: dict[Place, _Entry] = {}
        self.labels: dict[tuple[str, str], set[Place]] = {}
        self.controllers: dict[str, set[Place]] = {}  # by UID
        self.controlling: dict[tuple[str, str], set[Place]] = {}  # by the controller's group and kind
        self.spoken_of: dict[tuple[usages.Role, usages.Referent], set[Place]] = {}
        self.tally = Tally()
        self.listener: Listener | None = None
        self.partial = False
        self.label = ""  # that all have which come, if it is partial by a label
        self.synced = False
        # The latest version up to which the API server has told all, by the namespace that is followed; "": all of them.
        self.seen: dict[str, int] = {}
        self.compressed = False  # its objects are large, and seldom read
        self.outdated = False  # since the schema changed: the next list may differ in objects of the same version

    def packed(self, obj: Object) -> tuple[Object, bytes]:
        """The object as it can be kept, and what is kept of it."""
        obj, data = depth.packed(obj)
        return obj, zlib.compress(data, 1) if self.compressed and len(data) > SMALL else data

    def tell(self, change: Change | None) -> Change | None:
        if change and self.listener:
            self.listener(change)
        return change

    def index(self, place: Place, old: Object | None, new: Object | None) -> None:
        """Have a place found by what its object is now.  What the object was as well is never taken away in between."""
        for found, before, now in zip(self._indexes, _indexed_by(old), _indexed_by(new), strict=True):
            if now == before:  # an object may have thirty thousand labels
                continue
            for value in now - before:
                found.setdefault(value, set()).add(place)
            for value in before - now:
                _discard(found, value, place)

    @property
    def _indexes(self) -> Sequence[dict[Any, set[Place]]]:
        return self.labels, self.controllers, self.controlling, self.spoken_of

    def entries(self, places: Iterable[Place]) -> Iterator[_Entry]:
        """What is there at those places; one that another thread has just removed is not."""
        return (entry for place in places if (entry := self.objects.get(place)))

    def chosen(self, labels: Mapping[str, str], namespace: str = "", controller: str = "") -> list[Place]:
        """Where those are that may be meant, sorted.  They have one of the labels; whether all is still to be seen."""
        among: list[Collection[Place]] = [self.labels.get(label) or () for label in labels.items()]
        if controller:
            among.append(self.controllers.get(controller) or ())
        fewest = min(among, key=len, default=self.objects)
        return sorted(place for place in list(fewest) if not namespace or place[0] == namespace)


class Cache:
    """Objects by key, for the kinds that are followed.

    Fed by informers, by kopf's events and by our own writes; each change reaches the kind's listeners
    exactly once, whoever brought it first.
    """

    def __init__(self, managers: Collection[str] = OUR_MANAGERS) -> None:
        """`managers` are prefixes of the field managers whose apply entries are kept."""
        self._managers = tuple(managers)
        self._turn = asyncio.Lock()  # whose list goes on now
        self._stores: dict[Kind, _Store] = {}
        self._alike: dict[Kind, tuple[str, ...]] = {}  # api versions in which its objects are the same
        self._heads = Heads()
        self._flights = own_writes.Flights()
        self._tombstones: dict[Key, tuple[str, int]] = {}  # uid and version of what was deleted, oldest first

    async def in_batches(self, objects: Sequence[Object], put: Callable[[Object], object]) -> None:
        """Have each object of a list put, a batch of a single kind at a time, however many kinds are being listed."""
        for begin in range(0, len(objects), BATCH):
            async with self._turn:
                for obj in objects[begin : begin + BATCH]:
                    put(obj)
                await asyncio.sleep(0)

    # --- which kinds ----------------------------------------------------------------------------------

    def follow(
        self,
        api_version: str,
        kind: str,
        listener: Listener | None = None,
        *,
        partial: bool = False,
        label: str = "",
        compressed: bool = False,
    ) -> None:
        """Keep what comes of this kind from now on, and tell the listener (the kind's one and only) of each change.

        `partial`: only some objects of the kind come, so what is not in here may be there all the same.  `label`: those that
        have this one, and of them all is known, as of a kind that comes whole.  `compressed`: its objects are large, and seldom read.
        """
        store = self._stores.setdefault((intern(api_version), intern(kind)), _Store())
        store.listener = listener or store.listener
        if store.partial and not partial and not label:
            store.synced = (
                False  # the rest is still to be listed, and with it what seemed deleted when it lost its label
            )
            for key in [key for key in self._tombstones if key[:2] == (api_version, kind)]:
                del self._tombstones[key]
        store.partial, store.label, store.compressed = partial or bool(label), label, compressed

    def alike(self, group: str, kind: str, versions: Iterable[tuple[str, ...]]) -> None:
        """In each of these sets of a kind's versions an object differs by its apiVersion only: who follows one knows all."""
        for known in [known for known in self._alike if (group_of(known[0]), known[1]) == (group, kind)]:
            del self._alike[known]
        for names in versions:
            api_versions = tuple(f"{group}/{name}" for name in names)
            self._alike |= dict.fromkeys(((each, kind) for each in api_versions), api_versions)

    def _kept_as(self, api_version: str, kind: str) -> Kind:
        """The kind, at the version at which it is followed, if any is."""
        if (api_version, kind) not in self._stores:
            for other in self._alike.get((api_version, kind), ()):
                if (other, kind) in self._stores:
                    return other, kind
        return api_version, kind

    def follows(self, api_version: str, kind: str) -> bool:
        """Whether all objects of the kind belong in here."""
        store = self._stores.get(self._kept_as(api_version, kind))
        return store is not None and not store.partial

    def keeps(self, obj: Object) -> bool:
        """Whether this object belongs in here."""
        store = self._stores.get(self._kept_as(obj["apiVersion"], obj["kind"]))
        return store is not None and (not store.partial or store.label in labels_of(obj))

    def certain(self, key: Key) -> Object | None:
        """The object, if it is here, of a kind that has been listed, and whose own writes are taken in, too."""
        store = self._stores.get(self._kept_as(key.api_version, key.kind))
        return self.get(key) if store is not None and store.synced and (store.label or not store.partial) else None

    def synced(self, api_version: str, kind: str) -> bool:
        """Whether the kind has been listed, so that what is not in here is not there."""
        store = self._stores.get(self._kept_as(api_version, kind))
        return store is not None and store.synced and not store.partial

    def hears(self, key: Key) -> bool:
        """Whether what comes of the kind, in its namespace, has been listed and is told of since."""
        store = self._stores.get(self._kept_as(key.api_version, key.kind))
        return store is not None and store.synced and ("" in store.seen or key.namespace in store.seen)

    def knows_all(self, api_version: str, kind: str, labels: Mapping[str, str]) -> bool:
        """Whether all objects of the kind that have these labels are here."""
        store = self._stores.get(self._kept_as(api_version, kind))
        return store is not None and store.synced and (not store.partial or bool(store.label and store.label in labels))

    def empty(self, api_version: str, kind: str) -> list[Change]:
        """The kind is not served: its objects are gone, and nothing is certain until it is listed again."""
        store = self._stores.get((api_version, kind))
        if store is None:
            return []
        store.synced = False
        # No tombstones: if it was only the server that was not up yet, the same objects come back.
        changes = [_popped(store, (api_version, kind), place) for place in list(store.objects)]
        for change in changes:
            store.tell(change)
        return changes

    def outdate(self, api_version: str, kind: str) -> None:
        """The kind's schema has changed: what is listed next may differ, by defaults, from what is here of the same version."""
        if store := self._stores.get((api_version, kind)):
            store.outdated = True

    def drop(self, api_version: str, kind: str) -> None:
        """Nobody follows the kind any more: forget its objects without a word."""
        self._stores.pop((api_version, kind), None)

    # --- what comes in -----------------------------------------------------------------------------------

    def listing(self, api_version: str, kind: str, resource_version: str = "", *, namespace: str = "") -> Listing:
        """Take in a list of all objects of a kind, or of those in a namespace, made at `resource_version`, piece by piece."""
        if (api_version, kind) not in self._stores:
            self.follow(api_version, kind)
        return Listing(self, self._stores[api_version, kind], (api_version, kind), _number(resource_version), namespace)

    def replace(
        self, api_version: str, kind: str, objects: Iterable[Object], *, resource_version: str = ""
    ) -> list[Change]:
        """The same in one go.  What changed, those included that are gone."""
        listing = self.listing(api_version, kind, resource_version)
        changes = [change for obj in objects if (change := listing.add(obj))]
        return changes + listing.finish()

    def put(self, obj: Object, *, ours: bool = False) -> Change | None:
        """An object as it is now, from an event or (`ours`) an answer to a write of ours.

        None if that was known, is outdated, or nobody follows it.  An event of somebody's write between two of ours is
        told, without a difference: the answer to ours held that write already, and seemed to be all our own.
        """
        kind = self._kept_as(obj["apiVersion"], obj["kind"])
        store = self._stores.get(kind)
        if store is None:
            return None
        obj = _labelled(obj, kind[0])
        change = self._put(store, kind, obj, ours=ours)
        if change and not ours and (suspects := self._flights.suspects(change.key, _version(obj))):
            with own_writes.running(*suspects):
                return store.tell(change)
        return store.tell(change)

    @contextmanager
    def writing(self, key: Key) -> Iterator[list[Object]]:
        """A write of this object is on its way; its answer is to be put into the list.  Whose change was told meanwhile shows by that."""
        kind, answers = self._kept_as(key.api_version, key.kind), list[Object]()
        kept = key._replace(api_version=kind[0])
        with self._flights.sent(kept) as told:
            try:
                yield answers
            finally:
                theirs = told - {_version(answer) for answer in answers}
                if theirs and (store := self._stores.get(kind)) and (now := self.get(kept)):
                    with own_writes.running():
                        store.tell(Change(kept, now, now))

    def remove(self, key: Key, resource_version: str | None = None, *, uid: str = "") -> Change | None:
        """The object is deleted; None if it was not here.

        With `resource_version`, that of the deletion, a younger object of the same name stays; so does,
        with `uid`, another incarnation.
        """
        kind, place = self._kept_as(key.api_version, key.kind), (key.namespace, key.name)
        store = self._stores.get(kind)
        if store is None:
            return None
        key = key._replace(api_version=kind[0])
        version = _number(resource_version)
        known = store.objects.get(place)
        if known is None or (version and known.version > version) or (uid and known.uid != uid):
            if uid or version:
                self._bury(key, uid, version)
            return None
        return store.tell(self._remove(store, kind, place, version))

    def saw(self, api_version: str, kind: str, resource_version: str, *, namespace: str = "") -> None:
        """The API server has told all that happened up to here, or all in a namespace: an event or a bookmark."""
        if store := self._stores.get((api_version, kind)):
            store.seen[namespace] = max(store.seen.get(namespace, 0), _number(resource_version))

    # --- what goes out --------------------------------------------------------------------------------------

    def get(self, key: Key) -> Object | None:
        store = self._stores.get(self._kept_as(key.api_version, key.kind))
        entry = store.objects.get((key.namespace, key.name)) if store else None
        return _labelled(_unpacked(entry.data), key.api_version) if entry else None

    def version(self, key: Key) -> int:
        """The resource version of an object; 0: it is not in here."""
        store = self._stores.get(self._kept_as(key.api_version, key.kind))
        entry = store.objects.get((key.namespace, key.name)) if store else None
        return entry.version if entry else 0

    def has(self, key: Key) -> bool:
        store = self._stores.get(self._kept_as(key.api_version, key.kind))
        return store is not None and (key.namespace, key.name) in store.objects

    def dependents(self, group: str, kind: str) -> Sequence[Object]:
        """The objects, of any followed kind, whose controller is of that kind."""
        return [
            _unpacked(entry.data)
            for store in list(self._stores.values())
            for entry in store.entries(sorted(store.controlling.get((group, kind), ())))
        ]

    def speaking_of(self, role: usages.Role, referent: usages.Referent) -> list[Key]:
        """The usages of which that is what is used (`of`), or what uses it (`by`), sorted by kind, namespace and name."""
        return [
            Key(*kind, *place)
            for kind in usages.KINDS
            if (store := self._stores.get(kind))
            for place in sorted(store.spoken_of.get((role, referent), ()))
        ]

    def keys(self) -> Sequence[Key]:
        """The objects of all followed kinds, as they are now."""
        return [Key(*kind, *place) for kind, store in self._stores.items() for place in store.objects]

    def labelled(self, api_version: str, kind: str, label: tuple[str, str]) -> int:
        """How many objects of a kind have a label of that value; none is looked at."""
        store = self._stores.get(self._kept_as(api_version, kind))
        return len(store.labels.get(label) or ()) if store else 0

    def count(self) -> dict[Kind, int]:
        """How many objects of each followed kind there are."""
        return {kind: len(store.objects) for kind, store in self._stores.items()}

    def tallies(self) -> dict[Kind, Tally]:
        """How the objects of each followed kind stand; to be read, not changed."""
        return {kind: store.tally for kind, store in self._stores.items()}

    def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        controller: str = "",
    ) -> list[Object]:
        """The objects of a kind, in all namespaces if "" is given, sorted by namespace and name.

        With `controller`, a UID, only what that object controls.
        """
        store, labels = self._stores.get(self._kept_as(api_version, kind)), labels or {}
        if store is None:
            return []
        found = (_unpacked(entry.data) for entry in store.entries(store.chosen(labels, namespace, controller)))
        return [
            _labelled(obj, api_version)
            for obj in found
            if matches(labels_of(obj), labels)
            and (not controller or (controller_of(obj) or {}).get("uid") == controller)
        ]

    def heads(
        self, api_version: str, kind: str, cut: Cut, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        """What `cut` leaves of the objects of a kind, its labels at least; made once of each version."""
        store, labels = self._stores.get(self._kept_as(api_version, kind)), labels or {}
        if store is None:
            return []
        found = []
        for entry in store.entries(store.chosen(labels)):
            found.append(self._heads.get(cut, entry.uid, entry.version, partial(_unpacked, entry.data)))
        return [_labelled(head, api_version) for head in found if head is not None and matches(labels_of(head), labels)]

    # --- inside ---------------------------------------------------------------------------------------------

    def _put(
        self, store: _Store, kind: Kind, obj: Object, *, force: bool = False, ours: bool = False, anew: bool = False
    ) -> Change | None:
        """`force`: the API server has just listed it, so it is right even if it looks older; `anew`: even if it looks the same."""
        place, metadata = _place(obj), meta(obj)
        key = Key(*kind, *place)
        version, uid = _number(metadata.get("resourceVersion")), metadata.get("uid") or ""
        known = store.objects.get(place)
        if anew and known and (uid, version) == (known.uid, known.version):
            if store.packed(self._trimmed(obj))[1] == known.data:
                return None
        elif known and uid == known.uid and (version == known.version or (version < known.version and not force)):
            return None if ours else _late(store, key, known, version)
        if not force:
            if known and version < known.version:
                return None
            dead_uid, dead_version = self._tombstones.get(key, ("", 0))
            # Of a partial kind an object is also "deleted" when it is no longer selected, and may come back.
            if version <= dead_version or (uid == dead_uid and not store.partial):
                return None
        self._tombstones.pop(key, None)
        trimmed, data = store.packed(self._trimmed(obj))
        old = _unpacked(known.data) if known else None
        store.index(place, old, trimmed)
        store.tally.changed(place, old, trimmed)
        versions = known.versions.wrote(version) if ours and known and known.uid == uid else Versions(version)
        store.objects[place] = _Entry(version, uid, data, versions)
        return Change(key, old, trimmed)

    def _remove(self, store: _Store, kind: Kind, place: Place, version: int = 0) -> Change:
        entry = store.objects[place]
        self._bury(Key(*kind, *place), entry.uid, max(version, entry.version))
        return _popped(store, kind, place)

    def _bury(self, key: Key, uid: str, version: int) -> None:
        before = self._tombstones.pop(key, ("", 0))
        self._tombstones[key] = (uid or before[0], max(version, before[1]))
        if len(self._tombstones) > TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]

    def _trimmed(self, obj: Object) -> Object:
        metadata: Mapping[str, Any] = meta(obj)
        if "managedFields" not in metadata:
            return obj
        kept = [
            entry
            for entry in metadata["managedFields"]
            if (entry.get("operation") == "Apply" and entry.get("manager", "").startswith(self._managers))
            or entry.get("manager") == UNTRACKED
        ]
        rest = {name: value for name, value in metadata.items() if name != "managedFields"}
        return {**obj, "metadata": {**rest, "managedFields": kept} if kept else rest}


class Listing:
    """One list of a kind, in all namespaces or in one, on its way into the cache."""

    def __init__(self, cache: Cache, store: _Store, kind: Kind, made_at: int, namespace: str) -> None:
        self._cache, self._store, self._kind = cache, store, kind
        self._made_at, self._namespace = made_at, namespace
        # A list older than what the server told before: it was restored from a backup, and the list is right.
        self._rewound = 0 < made_at < store.seen.get(namespace, 0)
        self._anew = store.outdated
        self._listed: set[Place] = set()

    def add(self, obj: Object) -> Change | None:
        place = _place(obj)
        self._listed.add(place)
        known = self._store.objects.get(place)
        certain = self._rewound or (known is not None and known.version <= self._made_at)
        return self._store.tell(self._cache._put(self._store, self._kind, obj, force=certain, anew=self._anew))

    def finish(self) -> list[Change]:
        """What was not listed is gone, unless it was written after the list was made.  The kind is synced."""
        store, changes = self._store, []
        for place, entry in list(store.objects.items()):
            if self._namespace and place[0] != self._namespace:
                continue
            if place not in self._listed and (self._rewound or not self._made_at or entry.version <= self._made_at):
                changes.append(self._cache._remove(store, self._kind, place))
        store.synced = True
        store.outdated = store.outdated and not self._anew  # by now, unless it was outdated meanwhile
        store.seen[self._namespace] = self._made_at or store.seen.get(self._namespace, 0)
        for change in changes:
            store.tell(change)
        return changes


def _late(store: _Store, key: Key, known: _Entry, version: int) -> Change | None:
    """An event of a version that we have, or are past; a change (of nothing) if somebody else made it since we were told last."""
    versions, is_theirs = known.versions.heard(version)
    store.objects[key.namespace, key.name] = known._replace(versions=versions)
    if not is_theirs:
        return None
    obj = _unpacked(known.data)
    return Change(key, obj, obj)


def _unpacked(data: bytes) -> Object:
    """An object as it is kept, which is JSON, or that compressed."""
    found: Object = orjson.loads(data if data[:1] == b"{" else zlib.decompress(data))
    return found


def _labelled(obj: Object, api_version: str) -> Object:
    return obj if obj.get("apiVersion", api_version) == api_version else {**obj, "apiVersion": api_version}


def _popped(store: _Store, kind: Kind, place: Place) -> Change:
    """Take an object out of its store."""
    old: Object = _unpacked(store.objects.pop(place).data)
    store.index(place, old, None)
    store.tally.changed(place, old, None)
    return Change(Key(*kind, *place), old, None)


def _indexed_by(obj: Object | None) -> Sequence[Set[Any]]:
    """The values of `_Store._indexes` for an object."""
    if obj is None:
        return (frozenset(),) * 4
    controller = controller_of(obj)
    return (
        labels_of(obj).items(),
        {controller["uid"]} if controller else frozenset(),
        {_kind_of(controller)} if controller else frozenset(),
        set(usages.spoken_of(obj)),
    )


def _kind_of(reference: Mapping[str, Any]) -> tuple[str, str]:
    return intern(group_of(reference.get("apiVersion") or "")), intern(reference.get("kind") or "")


def _place(obj: Object) -> Place:
    metadata = meta(obj)
    return intern(metadata.get("namespace") or ""), metadata["name"]


def _version(obj: Object) -> int:
    return _number(meta(obj).get("resourceVersion"))


def _number(resource_version: str | None) -> int:
    return int(resource_version) if resource_version else 0


def _discard(index: dict[Any, set[Place]], value: Any, place: Place) -> None:
    members = index.get(value)
    if members:
        members.discard(place)
        if not members:
            del index[value]


class Reading(Cache):
    """The same objects for another thread: it reads them as they are, and puts nothing in.

    An answer to what it writes comes to the cache by the watch alone.
    """

    def __init__(self, cache: Cache) -> None:
        self.__dict__ |= cache.__dict__  # one and the same stores
        self._heads, self._tombstones, self._flights = Heads(), {}, own_writes.Flights()

    def put(self, obj: Object, *, ours: bool = False) -> Change | None:
        return None

    def remove(self, key: Key, resource_version: str | None = None, *, uid: str = "") -> Change | None:
        return None
