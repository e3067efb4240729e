"""The Cluster port on one SQLite file (or `:memory:`): the control plane of `groundplane up` and of most tests.

It answers as a Kubernetes API server does wherever a reconciler can tell: resource versions, generations, the status
subresource, finalizers, field ownership, garbage collection by owner references, CRDs with their schemas.  Where
Kubernetes leaves work to controllers (garbage collection, namespaces, Established), the store does it within the
same write, so that it is done when the call returns.  On purpose different: a namespace that is not there is
made on the fly.  Left out: authorisation, admission webhooks, conversion (objects are relabelled), pagination.

For one machine; several processes may share the file (see `store.py`).

SQLite is called right in the async methods: a call takes tens of microseconds, less than handing it to a thread,
and nothing can come in between a read and the write that depends on it.  Only another process's write
can keep one waiting; those are as short.

Source: Kubernetes 1.34, apiserver registry/rest and registry/generic.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jsonpatch
import orjson

from groundplane.cluster import apply as rules
from groundplane.cluster import depth, kinds
from groundplane.cluster.garbage_collection import Collector
from groundplane.cluster.heads import Cut, Heads
from groundplane.cluster.ownership import SERVER_METADATA, same
from groundplane.cluster.store import Change, Store
from groundplane.core import providers, schema, usages
from groundplane.core.conditions import timestamp
from groundplane.core.naming import ALPHABET
from groundplane.core.objects import (
    Json,
    Key,
    Object,
    controller_of,
    group_of,
    is_deleting,
    key_of,
    labels_of,
    merge_patched,
    meta,
    spec_of,
)
from groundplane.core.rules import Unchecked
from groundplane.errors import AlreadyExists, Awaited, Conflict, InUse, Misshapen, NotFound, Rejected
from groundplane.ports import MANAGER, Propagation, Resource

POLL = 0.1  # seconds between two looks for changes that another process made
WARNINGS = 1000  # remembered, so that each is told once

Objects = list[Object]  # inside the class, `list` is the verb
Changes = list[Change]


class _Undone(Exception):
    """A dry run is over."""


class SqliteCluster:
    """A small Kubernetes API on a file.  Belongs to one thread at a time; close it at the end.

    `writes` counts the changes that it made, `requests` the calls by verb, those that changed nothing included.
    """

    keeps_all = False  # whether it stands for a cluster, which keeps all kinds of Kubernetes

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """`now` and `new_uid` are for those who want the same times, UIDs and generated names each time.

        Raises:
            InvalidInput: the file is no store, or one of another version.
            Unavailable: it can't be opened.
        """
        self.requests: Counter[str] = Counter()
        self._now = now
        self._new_uid = new_uid
        # By group and kind: the definition's UID and resource version, and what it serves by API version.
        self._kinds: dict[tuple[str, str], tuple[tuple[str, int], dict[str, kinds.Kind]]] = {}
        self._heads = Heads()
        self._awake = asyncio.Event()
        self.wrote: Callable[[int, Changes], None] = lambda since, changes: None  # called after each write of ours
        # Called with what an object was not checked for, and the mend: each once.
        self.warned: Callable[[str, str], None] = lambda what, mend: None
        self._warnings: dict[str, None] = {}
        self._store = Store(str(path))
        self._collector = Collector(self._store, self._openapi, self._time)

    def close(self) -> None:
        self._store.close()

    @property
    def writes(self) -> int:
        return self._store.writes

    # --- reading

    async def resource(self, api_version: str, kind: str) -> Resource:
        return self._resource(api_version, kind)

    async def get(self, key: Key, *, live: bool = False) -> Object | None:
        self.requests["get"] += 1
        self._resource(key.api_version, key.kind)
        return self._store.read(key)

    def owned_by(self, uid: str) -> Objects:
        """The objects with an owner reference to that UID."""
        return list(self._store.dependents(uid))

    async def referenced(self, key: Key) -> Object | None:
        return await self.get(key)

    async def count(self, api_version: str, kind: str, label: tuple[str, str]) -> int:
        self.requests["list"] += 1
        self._resource(api_version, kind)
        return len(self._store.versions(api_version, kind, dict([label])))

    def peek(self, key: Key) -> Object | None:
        """The object, if it is there; a kind that is not served has none."""
        return self._store.read(key)

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        controller: str = "",
    ) -> Objects:
        self.requests["list"] += 1
        self._resource(api_version, kind)
        found = self._store.list(api_version, kind, namespace, labels or {}, controller)
        return [obj for obj in found if not controller or (controller_of(obj) or {}).get("uid") == controller]

    async def heads(
        self, api_version: str, kind: str, cut: Cut, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        self.requests["list"] += 1
        self._resource(api_version, kind)
        versions = self._store.versions(api_version, kind, labels or {})
        found = [self._heads.get(cut, uid, version, partial(self._store.by_uid, uid)) for uid, version in versions]
        return [head | {"apiVersion": api_version} for head in found if head is not None]

    async def dependents(self, group: str, kind: str) -> Sequence[Object]:
        controllers = ((controller_of(obj), obj) for obj in self._store.owned_by_kind(kind))
        return [obj for ref, obj in controllers if ref and (group_of(ref["apiVersion"]), ref["kind"]) == (group, kind)]

    async def usages_of(self, used: usages.Referent) -> Sequence[Key]:
        self.requests["list"] += 1
        return self.speaking_of("of", used)

    def speaking_of(self, role: usages.Role, referent: usages.Referent) -> Sequence[Key]:
        """The usages of which that is what is used (`of`), or what uses it (`by`)."""
        return [key_of(usage) for usage in self._collector.usages_of(role, referent)]

    def version(self) -> int:
        """The resource version of the latest change."""
        return self._store.version()

    def changes(self, since: int) -> Changes:
        """What changed after `since`, oldest first, each object once, as it is now.  0 gives all there is.

        An object that came and went in between shows up as deleted only; one that was deleted and
        made anew, as both.  Deletions are remembered for the last 10,000 changes.
        """
        return self._store.changes(since)

    async def watch(self, since: int) -> None:
        """Return once something has changed after `since`, here or in another process."""
        while self.version() <= since:
            self._awake.clear()
            try:
                async with asyncio.timeout(POLL):
                    await self._awake.wait()
            except TimeoutError:
                continue

    # --- writing

    def load(self, objects: Iterable[Object]) -> None:
        """Have objects as they are elsewhere, UIDs and owners included; nothing of them is checked, or reconciled."""
        with self._store.transaction():
            for obj in objects:
                self._collector.put(None, obj)
        self._collector.forget()

    async def create(self, obj: Object) -> Object:
        with self._write("create"):
            return self._create(_copied(obj), MANAGER)

    async def update(self, obj: Object, *, subresource: Literal["", "status"] = "") -> Object:
        with self._write("update"):
            live = self._must(key_of(obj))
            self._check_preconditions(live, meta(obj))
            if not meta(obj).get("resourceVersion") and group_of(obj["apiVersion"]):
                what = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
                raise kinds.invalid(obj, [what], mend="read the object, change it, send it back")
            return self._replace(live, _copied(obj), subresource)

    async def apply(
        self, obj: Object, *, manager: str, subresource: Literal["", "status"] = "", dry_run: bool = False
    ) -> Object:
        resource = self._resource(obj["apiVersion"], obj["kind"])
        wanted = rules.taken_by(rules.without_nulls(obj), subresource, has_status=resource.has_status)
        if resource.kind == "Secret" and resource.api_version == "v1":
            wanted = kinds.folded(wanted)
        openapi = self._openapi(wanted)
        live = self._store.read(key_of(wanted))
        if live is not None and rules.unchanged(live, wanted, manager, subresource, schema=openapi):
            self.requests["apply"] += 1
            return live
        with self._write("apply", dry_run=dry_run):
            live = self._store.read(key_of(wanted))
            if live is None and (subresource or meta(wanted).get("uid")):
                uid = "" if subresource else str(meta(wanted)["uid"])
                raise NotFound(
                    f"{key_of(obj)} not found" + (f", and so none with uid {uid}" if uid else ""),
                    mend="leave metadata.uid out: the one that is made gets its own" if uid else "",
                )
            if live is not None:
                self._check_preconditions(live, meta(wanted))
            self._check_declared(wanted)
            merged = rules.server_side_apply(live, _copied(wanted), manager, subresource, openapi, self._time())
            if live is None:
                return self._create(merged, None)
            return live if merged is live else self._replace(live, merged, subresource, tracked=True)

    async def patch(
        self,
        key: Key,
        patch: Sequence[Mapping[str, Json]] | Mapping[str, Json],
        *,
        subresource: Literal["", "status"] = "",
    ) -> Object:
        with self._write("patch"):
            live = self._must(key)
            if isinstance(patch, Mapping):
                new = merge_patched(live, _copied(patch))
            else:
                try:
                    new = jsonpatch.apply_patch(live, _copied(list(patch)))
                except jsonpatch.JsonPatchTestFailed as error:
                    raise Conflict(f"{key} is not as the patch expects it") from error
                except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
                    raise Rejected(f"the JSON patch does not fit {key}") from error
                if not isinstance(new, dict):
                    raise Rejected(f"the JSON patch makes no object of {key}")
            self._check_preconditions(live, meta(new))
            return self._replace(live, new, subresource)

    async def delete(self, key: Key, *, uid: str = "", propagation: Propagation | None = None) -> bool:
        self._resource(key.api_version, key.kind)
        with self._write("delete"):
            live = self._store.read(key)
            if live is None:
                return False
            self._check_preconditions(live, {"uid": uid})
            denial = self._collector.denial(live, propagation)
            if not denial:
                self._collector.delete(live, propagation)
                return True
        raise InUse(denial, mend=usages.MEND, on=[Awaited(key.group, key.kind, key.namespace, key.name)])

    # --- kinds

    def _kind(self, api_version: str, kind: str) -> kinds.Kind:
        """The kind that has a schema: Kubernetes' own, or a custom one by its definition as it is now (another process may have changed it)."""
        if plain := kinds.plain(api_version, kind):
            return plain
        place = (group_of(api_version), kind)
        serving = self._store.definition_of(*place)
        if serving is None:
            raise kinds.no_such_kind(api_version, kind, known=self._known(), keeps_all=self.keeps_all)
        known = self._kinds.get(place)
        if known is None or known[0] != serving:
            definition = self._store.by_uid(serving[0])
            known = (serving, kinds.versions(definition) if definition else {})
            self._kinds[place] = known
        if api_version not in known[1]:
            raise kinds.no_such_kind(api_version, kind, known[1])
        return known[1][api_version]

    def _known(self) -> Iterable[tuple[str, str]]:
        """Group and kind of all that is served here."""
        own = ((group_of(api_version), kind) for api_version, kind in (*kinds.BUILT_IN, *kinds.PLAIN))
        return [*self._store.kinds(), *own]

    def _resource(self, api_version: str, kind: str) -> Resource:
        return kinds.BUILT_IN.get((api_version, kind)) or self._kind(api_version, kind).resource

    def _openapi(self, obj: Object) -> Mapping[str, Any]:
        place = (obj["apiVersion"], obj["kind"])
        return kinds.BUILT_IN_SCHEMA if place in kinds.BUILT_IN else self._kind(*place).openapi

    def _check_declared(self, applied: Object) -> None:
        """A misspelt field is an error in an apply, where an update drops it: both as on the API server."""
        place = (applied["apiVersion"], applied["kind"])
        if place in kinds.BUILT_IN:
            return
        unknown = schema.undeclared(self._kind(*place).compiled, applied)
        if unknown:
            listed = ", ".join(map(str, unknown))
            raise Misshapen(
                f"failed to create typed patch object ({key_of(applied)}): {listed}", mend=schema.mends(unknown)
            )

    def _admitted(self, obj: Object, old: Object | None) -> Object:
        """Defaulted, pruned and validated as its kind wants it.  Raises Rejected."""
        place = (obj["apiVersion"], obj["kind"])
        kinds.check_metadata(obj, plain_label=place == ("v1", "Namespace"))
        if kinds.is_definition(obj):
            names = spec_of(obj).get("names") or {}
            serving = self._store.definition_of(spec_of(obj).get("group") or "", names.get("kind") or "")
            taken = serving is not None and serving[0] != meta(old or {}).get("uid")
            return kinds.accepted(obj, old, kind_is_taken=taken, now=self._time())
        if place == ("v1", "Secret"):
            return kinds.secret(obj, old)
        if place == ("v1", "ConfigMap"):
            kinds.check_config_map(obj, old)
        if place in kinds.BUILT_IN:
            return obj
        kind = self._kind(*place)
        if old is None and kind.deleting:
            raise Conflict(f"create not allowed while custom resource definition is terminating: {key_of(obj)}")
        unchecked = Unchecked()
        admitted = schema.admit(kind.compiled, obj, old=old, unchecked=unchecked)
        for what, mend in unchecked.told():
            self._warn(f"{kind.resource.plural}.{group_of(obj['apiVersion'])}: {what}", mend)
        return admitted

    def _warn(self, what: str, mend: str) -> None:
        if what not in self._warnings:
            if len(self._warnings) >= WARNINGS:
                self._warnings.pop(next(iter(self._warnings)))
            self._warnings[what] = None
            self.warned(what, mend)

    # --- making and changing objects

    def _create(self, obj: Object, manager: str | None) -> Object:
        """`manager` None: an apply, the ownership is in the object already."""
        resource = self._resource(obj["apiVersion"], obj["kind"])
        obj = rules.taken_by(obj, "", has_status=resource.has_status)
        metadata = {name: value for name, value in meta(obj).items() if name not in _SET_BY_STORE}
        obj["metadata"] = metadata
        self._check_scope(obj, resource)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generated_name(obj)
        if self._store.read(key_of(obj)) is not None:
            raise AlreadyExists(f'{resource.plural} "{metadata["name"]}" already exists')
        if obj["kind"] == "Namespace" and resource.api_version == "v1":
            obj["spec"] = {"finalizers": ["kubernetes"]}
            obj["status"] = {"phase": "Active"}
            metadata["labels"] = {**labels_of(obj), "kubernetes.io/metadata.name": metadata.get("name") or ""}
        obj = self._admitted(obj, None)
        if resource.namespaced:
            self._ensure_namespace(metadata["namespace"])
        metadata = {**meta(obj), "uid": self._new_uid(), "creationTimestamp": self._time()}
        if (resource.api_version, resource.kind) not in _WITHOUT_GENERATION:
            metadata["generation"] = 1
        obj = {**obj, "metadata": metadata}
        if manager is not None:
            metadata.pop("managedFields", None)
            obj = rules.record_update(None, obj, manager, "", self._time(), self._openapi(obj))
        return self._collector.put(None, obj)

    def _check_scope(self, obj: Object, resource: Resource) -> None:
        if resource.namespaced == bool(meta(obj).get("namespace")):
            return
        if resource.namespaced:
            key = key_of(obj)
            raise Rejected(f"{key} has no namespace", mend=providers.mend_of_no_namespace(key.group, key.kind))
        raise Rejected(f"{key_of(obj)} is cluster-scoped", mend="leave metadata.namespace out")

    def _generated_name(self, obj: Object) -> str:
        """A free name; derived from fresh UIDs, so that whoever controls those controls it."""
        base = meta(obj)["generateName"][:58]
        for _ in range(8):
            drawn = hashlib.sha256(self._new_uid().encode()).digest()
            name = base + "".join(ALPHABET[byte % len(ALPHABET)] for byte in drawn[:5])
            if self._store.read(key_of(obj)._replace(name=name)) is None:
                return str(name)
        raise AlreadyExists(f"no free name found for {obj['kind']} {base}")

    def _ensure_namespace(self, name: str) -> None:
        """Make a namespace that is not there: on a laptop nobody wants to do so by hand."""
        found = self._store.read(Key("v1", "Namespace", "", name))
        if found is None:
            self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, MANAGER)
        elif is_deleting(found):
            raise Conflict(f"unable to create new content in namespace {name} because it is being terminated")

    def _replace(self, live: Object, new: Object, subresource: str, *, tracked: bool = False) -> Object:
        """Store what of `new` the endpoint takes; `tracked`: ownership has been worked out (an apply)."""
        key = key_of(live)
        resource = self._resource(key.api_version, key.kind)
        fields = meta(new).get("managedFields")
        if subresource:
            taken, metadata = dict(live), dict(meta(live))
            taken.pop(subresource, None)
            if new.get(subresource) is not None:
                taken[subresource] = new[subresource]
        else:
            taken = rules.taken_by(new, "", has_status=resource.has_status)
            if resource.has_status and "status" in live:
                taken = {**taken, "status": live["status"]}
            metadata = {name: value for name, value in meta(taken).items() if name not in _SET_BY_STORE}
            metadata |= {name: value for name, value in meta(live).items() if name in _SET_BY_STORE}
        metadata.pop("managedFields", None)
        if fields:
            metadata["managedFields"] = fields
        taken |= {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata}
        self._check_finalizers(live, taken)
        admitted = self._admitted(taken, live)
        if not tracked:
            admitted = rules.record_update(live, admitted, MANAGER, subresource, self._time(), self._openapi(admitted))
        if _same_but_times(admitted, live):
            return live
        before = meta(live).get("generation")
        if before and not subresource and self._is_another(admitted, live, resource):
            admitted = {**admitted, "metadata": {**meta(admitted), "generation": before + 1}}
        return self._collector.put(live, admitted)

    def _is_another(self, new: Object, live: Object, resource: Resource) -> bool:
        """Whether somebody wants something else of it; what a default has filled in since is nobody's wish."""
        wanted = _generational(new, resource)
        if same(wanted, _generational(live, resource)):
            return False
        return not same(wanted, _generational(self._admitted(live, live), resource))

    def _check_preconditions(self, live: Object, theirs: Mapping[str, Any]) -> None:
        uid, version = theirs.get("uid"), theirs.get("resourceVersion")
        if uid and uid != meta(live)["uid"]:
            raise Conflict(
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta(live)['uid']}",
                where=[str(key_of(live))],
            )
        if version and version != meta(live)["resourceVersion"]:
            raise Conflict(
                "the object has been modified; please apply your changes to the latest version and try again",
                where=[str(key_of(live))],
            )

    def _check_finalizers(self, live: Object, new: Object) -> None:
        if not is_deleting(live):
            return
        added = sorted(set(meta(new).get("finalizers") or ()) - set(meta(live).get("finalizers") or ()))
        if added:
            told = " ".join(f'"{name}"' for name in added)
            what = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
            raise kinds.invalid(live, [f"{what}found new finalizers []string{{{told}}}"])

    # --- the store

    @contextmanager
    def _write(self, verb: str, *, dry_run: bool = False) -> Iterator[None]:
        """One transaction: what the caller does, and the garbage collection that it brings about; undone at its end if `dry_run`."""
        self.requests[verb] += 1
        before = self.writes
        try:
            with self._store.transaction():
                since = self.version()
                yield
                if dry_run:
                    raise _Undone
                self._collector.settle()
                changes = self.changes(since) if self.writes != before else []
        except _Undone:
            self._collector.forget()
            return
        except BaseException:
            self._collector.forget()
            self._kinds.clear()  # some may be of a definition that is undone
            raise
        if self.writes != before:
            self.wrote(since, changes)
            self._awake.set()

    def _must(self, key: Key) -> Object:
        resource = self._resource(key.api_version, key.kind)
        found = self._store.read(key)
        if found is None:
            raise NotFound(f'{resource.plural} "{key.name}" not found')
        return found

    def _time(self) -> str:
        return timestamp(self._now())


_SET_BY_STORE = SERVER_METADATA - {"name", "namespace", "managedFields"}
_WITHOUT_GENERATION = {("v1", kind) for kind in ("Namespace", "Secret", "ConfigMap", "Event")} | {
    place for place in kinds.PLAIN if place[1] != "NetworkPolicy"
}


def _copied(value: Any) -> Any:
    """A deep copy, as JSON: a caller's object is never shared with the store's."""
    return orjson.loads(depth.written(value))


def _generational(obj: Object, resource: Resource) -> Object:
    """The part of an object whose change bumps its generation."""
    left_out = ("apiVersion", "metadata", "status") if resource.has_status else ("apiVersion", "metadata")
    return {name: value for name, value in obj.items() if name not in left_out}


def _same_but_times(new: Object, live: Object) -> bool:
    """Equality, times of ownership aside."""

    def owned(obj: Object) -> Objects:
        entries = [
            {name: value for name, value in entry.items() if name != "time"}
            for entry in meta(obj).get("managedFields") or ()
        ]
        return sorted(entries, key=lambda entry: orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))

    def content(obj: Object) -> Object:
        return {**obj, "metadata": {name: value for name, value in meta(obj).items() if name != "managedFields"}}

    return same(content(new), content(live)) and owned(new) == owned(live)
