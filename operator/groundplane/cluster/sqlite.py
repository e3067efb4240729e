"""The Cluster port on one SQLite file (or `:memory:`): the control plane of `groundplane up` and of most tests.

It behaves as a Kubernetes API server does where reconcilers can tell: resource versions, generations, the status
subresource, finalizers, server-side apply, garbage collection by owner references, CRDs with schemas.  It is for one
machine: several processes may share the file, each write is a transaction.  What it leaves out: authorisation,
admission webhooks, CEL rules (but for those of our own CRDs), conversion (versions are relabelled).

SQLite is called directly in the async methods: a call takes tens of microseconds, less than handing it to a thread.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import random
import re
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jsonpatch
import orjson

from groundplane.cluster import apply as rules
from groundplane.cluster import kinds
from groundplane.core.conditions import timestamp
from groundplane.core.objects import Json, Key, Object, group_of, key_of, labels_of, matches, meta
from groundplane.errors import AlreadyExists, Conflict, NoSuchKind, NotFound, Rejected
from groundplane.ports import MANAGER, Propagation, Resource

POLL = 0.1  # seconds between two looks for changes that another process made
REMEMBERED = 10_000  # deletions that a follower can still learn of
CRD_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"  # finalizer of a CRD that waits for its objects
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # of generated names, as the API server's
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")

_TABLES = """
CREATE TABLE IF NOT EXISTS counter (version INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
CREATE TABLE IF NOT EXISTS objects (
  grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  uid TEXT NOT NULL, born INTEGER NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (grp, kind, namespace, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_version ON objects (version);
CREATE INDEX IF NOT EXISTS objects_by_uid ON objects (uid);
CREATE TABLE IF NOT EXISTS owners (owner TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (owner, uid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deleted (version INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Change:
    """One object's latest change.  `rv` orders changes; a deleted object is shown as it last was."""

    rv: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object


Objects = list[Object]  # inside the class, `list` is the verb
Changes = list[Change]


class SqliteCluster:
    """A small Kubernetes API on a file.  Belongs to one thread; close it at the end."""

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """`now` and `new_uid` are for tests that want the same times and UIDs each time."""
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA busy_timeout=10000")
        self._db.executescript(_TABLES)
        self._now, self._new_uid = now, new_uid
        self._kinds: dict[tuple[str, str], tuple[int, kinds.Kind]] = {}
        self._changed = asyncio.Event()
        self.writes = 0  # changes made through this object
        self.requests: Counter[str] = Counter()  # calls by verb, also those that changed nothing

    def close(self) -> None:
        self._db.close()

    # --- reading

    async def resource(self, api_version: str, kind: str) -> Resource:
        return self._resource(api_version, kind)

    async def get(self, key: Key, *, live: bool = False) -> Object | None:
        self.requests["get"] += 1
        self._resource(key.api_version, key.kind)
        return self._read(key)

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Objects:
        self.requests["list"] += 1
        self._resource(api_version, kind)
        found = [
            self._relabelled(orjson.loads(data), api_version)
            for (data,) in self._db.execute(
                "SELECT data FROM objects WHERE grp=? AND kind=? AND (?='' OR namespace=?) ORDER BY namespace, name",
                (group_of(api_version), kind, namespace, namespace),
            )
        ]
        return [obj for obj in found if matches(labels_of(obj), labels)] if labels else found

    def version(self) -> int:
        """The resource version of the latest change."""
        found: int = self._db.execute("SELECT version FROM counter").fetchone()[0]
        return found

    def changes(self, since: int) -> Changes:
        """What changed after `since`, each object once, oldest first.  0 gives all there is."""
        found = [
            Change(version, "ADDED" if born > since else "MODIFIED", orjson.loads(data))
            for version, born, data in self._db.execute(
                "SELECT version, born, data FROM objects WHERE version>? ORDER BY version", (since,)
            )
        ]
        if since:
            found += [
                Change(version, "DELETED", orjson.loads(data))
                for version, data in self._db.execute("SELECT version, data FROM deleted WHERE version>?", (since,))
            ]
        return sorted(found, key=lambda change: change.rv)

    async def watch(self, since: int) -> None:
        """Return once something changed after `since`, here or in another process."""
        while self.version() <= since:
            self._changed.clear()
            try:
                async with asyncio.timeout(POLL):
                    await self._changed.wait()
            except TimeoutError:
                continue

    # --- writing

    async def create(self, obj: Object) -> Object:
        self.requests["create"] += 1
        with self._transaction():
            return self._create(copy.deepcopy(obj), MANAGER)

    async def update(self, obj: Object, *, subresource: Literal["", "status"] = "") -> Object:
        self.requests["update"] += 1
        key = key_of(obj)
        with self._transaction():
            live = self._must(key)
            theirs = meta(obj)
            if theirs.get("uid") not in (None, meta(live)["uid"]):
                raise Conflict(f"{key} was deleted and made anew")
            if theirs.get("resourceVersion") not in (None, meta(live)["resourceVersion"]):
                raise Conflict(f"{key} has been modified; read it again")
            return self._replace(live, copy.deepcopy(obj), subresource)

    async def apply(self, obj: Object, *, manager: str, subresource: Literal["", "status"] = "") -> Object:
        self.requests["apply"] += 1
        key = key_of(obj)
        self._resource(key.api_version, key.kind)
        with self._transaction():
            live = self._read(key)
            if live is not None and rules.unchanged(live, obj, manager, subresource):
                return live
            if live is None and subresource:
                raise NotFound(f"{key} not found")
            applied = self._applicable(obj, subresource)
            merged = rules.server_side_apply(
                live,
                applied,
                manager,
                subresource=subresource,
                schema=self._openapi(key),
                now=timestamp(self._now()),
            )
            if live is None:
                return self._create(merged, manager=None)
            merged["metadata"] = {**merged["metadata"], "resourceVersion": meta(live)["resourceVersion"]}
            return self._replace(live, merged, subresource, manager=None)

    async def patch(
        self,
        key: Key,
        patch: Sequence[Mapping[str, Json]] | Mapping[str, Json],
        *,
        subresource: Literal["", "status"] = "",
    ) -> Object:
        self.requests["patch"] += 1
        with self._transaction():
            live = self._must(key)
            if isinstance(patch, Mapping):
                new = _merge_patched(live, patch)
            else:
                try:
                    new = jsonpatch.apply_patch(live, list(patch))
                except jsonpatch.JsonPatchTestFailed as error:
                    raise Conflict(f"{key}: a test of the patch failed") from error
                except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
                    raise Rejected(f"{key}: the patch does not fit: {error}") from error
            return self._replace(live, new, subresource)

    async def delete(self, key: Key, *, uid: str = "", propagation: Propagation | None = None) -> bool:
        self.requests["delete"] += 1
        self._resource(key.api_version, key.kind)
        with self._transaction():
            live = self._read(key)
            if live is None:
                return False
            if uid and meta(live)["uid"] != uid:
                raise Conflict(f"{key} was deleted and made anew")
            self._delete(live, propagation or "Background")
            return True

    # --- kinds

    def _resource(self, api_version: str, kind: str) -> Resource:
        if built_in := kinds.BUILT_IN.get((group_of(api_version), kind)):
            return built_in
        return self._kind(api_version, kind).resource(api_version)

    def _kind(self, api_version: str, kind: str) -> kinds.Kind:
        """The custom kind, from its CRD as it is now."""
        group = group_of(api_version)
        row = self._kinds.get((group, kind))
        if row is not None:
            current = self._db.execute(
                "SELECT version FROM objects WHERE grp='apiextensions.k8s.io' AND kind=? AND namespace='' AND name=?",
                (kinds.CRD_KIND, f"{row[1].plural}.{group}"),
            ).fetchone()
            if current and current[0] == row[0]:
                return row[1]
            del self._kinds[group, kind]
        for version, data in self._db.execute(
            "SELECT version, data FROM objects WHERE grp='apiextensions.k8s.io' AND kind=?", (kinds.CRD_KIND,)
        ):
            crd = orjson.loads(data)
            if crd["spec"]["group"] == group and crd["spec"]["names"]["kind"] == kind and _is_established(crd):
                found = kinds.read(crd)
                self._kinds[group, kind] = (version, found)
                return found
        raise NoSuchKind(
            f'no matches for kind "{kind}" in version "{api_version}"',
            mend="apply the definition or CustomResourceDefinition that declares it, or correct the spelling",
        )

    def _openapi(self, key: Key) -> dict[str, Any] | None:
        if (key.group, key.kind) in kinds.BUILT_IN:
            return None
        return self._kind(key.api_version, key.kind).version(key.api_version).openapi

    def _admitted(self, obj: Object, old: Object | None) -> Object:
        key = key_of(obj)
        if key.kind == kinds.CRD_KIND and key.group == "apiextensions.k8s.io":
            others = [
                orjson.loads(data)
                for (data,) in self._db.execute("SELECT data FROM objects WHERE kind=?", (kinds.CRD_KIND,))
            ]
            return kinds.accept(obj, others, timestamp(self._now()))
        if key.kind == "Secret" and not key.group:
            return _secret(obj, old)
        if (key.group, key.kind) in kinds.BUILT_IN:
            return obj
        kind = self._kind(key.api_version, key.kind)
        if old is None and kind.deleting:
            raise Conflict(f"create not allowed while the definition of {kinds.names_text(kind)} is terminating")
        return kind.admit(obj, old)

    # --- rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        self._changed.set()

    def _read(self, key: Key) -> Object | None:
        row = self._db.execute(
            "SELECT data FROM objects WHERE grp=? AND kind=? AND namespace=? AND name=?",
            (key.group, key.kind, key.namespace, key.name),
        ).fetchone()
        return self._relabelled(orjson.loads(row[0]), key.api_version) if row else None

    @staticmethod
    def _relabelled(obj: Object, api_version: str) -> Object:
        obj["apiVersion"] = api_version
        return obj

    def _must(self, key: Key) -> Object:
        self._resource(key.api_version, key.kind)
        found = self._read(key)
        if found is None:
            raise NotFound(f"{key} not found")
        return found

    def _next(self) -> int:
        self._db.execute("UPDATE counter SET version = version + 1")
        return self.version()

    def _store(self, obj: Object, *, born: bool = False) -> Object:
        key, version = key_of(obj), self._next()
        obj["metadata"]["resourceVersion"] = str(version)
        data = orjson.dumps(obj)
        if born:
            self._db.execute(
                "INSERT INTO objects VALUES (?,?,?,?,?,?,?,?)",
                (key.group, key.kind, key.namespace, key.name, meta(obj)["uid"], version, version, data),
            )
        else:
            self._db.execute(
                "UPDATE objects SET version=?, data=? WHERE grp=? AND kind=? AND namespace=? AND name=?",
                (version, data, key.group, key.kind, key.namespace, key.name),
            )
            self._db.execute("DELETE FROM owners WHERE uid=?", (meta(obj)["uid"],))
        self._db.executemany(
            "INSERT OR IGNORE INTO owners VALUES (?,?)", [(owner, meta(obj)["uid"]) for owner in rules.owners(obj)]
        )
        self.writes += 1
        return obj

    def _create(self, obj: Object, manager: str | None) -> Object:
        """`manager` None: managedFields are in the object already (an apply)."""
        resource = self._resource(obj["apiVersion"], obj["kind"])
        metadata = obj.setdefault("metadata", {})
        self._check_place(obj, resource)
        if not metadata.get("name") and metadata.get("generateName"):
            suffix = "".join(random.choice(SUFFIX) for _ in range(5))
            metadata["name"] = metadata["generateName"][:58] + suffix
        name = metadata.get("name")
        if not name or len(name) > 253 or not _NAME.match(name):
            raise Rejected(
                f'{obj["kind"]} "{name or ""}" is invalid: metadata.name: Invalid value: "{name or ""}": a lowercase '
                "RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
            )
        if self._read(key_of(obj)) is not None:
            raise AlreadyExists(f"{key_of(obj)} already exists")
        self._ensure_namespace(metadata.get("namespace") or "")
        if resource.has_status and not _is_crd(obj):
            obj.pop("status", None)
        obj = self._admitted(obj, None)
        metadata = obj["metadata"]
        metadata.pop("resourceVersion", None)
        metadata.pop("deletionTimestamp", None)
        now = timestamp(self._now())
        metadata |= {"uid": self._new_uid(), "creationTimestamp": now, "generation": 1}
        if not resource.has_status and not group_of(obj["apiVersion"]):
            metadata.pop("generation")
        if manager is not None:
            rules.record_update(None, obj, manager, schema=self._openapi(key_of(obj)), now=now)
        stored = self._store(obj, born=True)
        owners = list(rules.owners(stored))
        if owners and not any(map(self._by_uid, owners)):
            self._delete(stored, "Background")  # its owner is gone already
        return stored

    def _check_place(self, obj: Object, resource: Resource) -> None:
        namespace = meta(obj).get("namespace")
        if resource.namespaced and not namespace:
            raise Rejected(
                f"{key_of(obj)}: an empty namespace may not be set during creation", mend="set metadata.namespace"
            )
        if not resource.namespaced and namespace:
            raise Rejected(f"{key_of(obj)}: namespace not allowed on this type", mend="remove metadata.namespace")

    def _ensure_namespace(self, name: str) -> None:
        """Make a namespace that is not there: on a laptop nobody wants to make it by hand."""
        key = Key("v1", "Namespace", "", name)
        if name and (found := self._read(key)):
            if meta(found).get("deletionTimestamp"):
                raise Conflict(f"namespace {name} is being terminated")
        elif name:
            self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, MANAGER)

    def _replace(self, live: Object, new: Object, subresource: str, manager: str | None = MANAGER) -> Object:
        """Store `new` in place of `live`, as far as this endpoint may change it."""
        key = key_of(live)
        resource = self._resource(key.api_version, key.kind)
        if subresource == "status":
            fields = meta(new).get("managedFields") if manager is None else None
            status = new.get("status")
            new = copy.deepcopy(live)
            new.pop("status", None)
            if status is not None:
                new["status"] = status
            if fields is not None:
                new["metadata"]["managedFields"] = fields
        elif resource.has_status and not _is_crd(live):
            new.pop("status", None)
            if "status" in live:
                new["status"] = copy.deepcopy(live["status"])
        metadata = new.setdefault("metadata", {})
        for name in ("uid", "creationTimestamp", "deletionTimestamp", "generation", "name", "namespace"):
            metadata.pop(name, None)
            if name in meta(live):
                metadata[name] = meta(live)[name]
        self._check_finalizers(live, new)
        new = self._admitted(new, live)
        metadata = new["metadata"]
        metadata["resourceVersion"] = meta(live)["resourceVersion"]
        if _content(new) == _content(live) and (manager is not None or _same_fields(new, live)):
            return live
        if "generation" in meta(live) and _spec(new) != _spec(live):
            metadata["generation"] = meta(live)["generation"] + 1
        if manager is not None:
            now = timestamp(self._now())
            rules.record_update(live, new, manager, subresource=subresource, schema=self._openapi(key), now=now)
        stored = self._store(new)
        if meta(stored).get("deletionTimestamp") and not meta(stored).get("finalizers"):
            self._remove(stored)
        elif (owners := list(rules.owners(stored))) and not any(map(self._by_uid, owners)):
            self._delete(stored, "Background")
        return stored

    def _check_finalizers(self, live: Object, new: Object) -> None:
        if not meta(live).get("deletionTimestamp"):
            return
        added = set(meta(new).get("finalizers") or ()) - set(meta(live).get("finalizers") or ())
        if added:
            raise Rejected(
                f"{key_of(live)} is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the "
                f"object is being deleted, found new finalizers {sorted(added)}"
            )

    def _applicable(self, obj: Object, subresource: str) -> Object:
        """What of an applied object this endpoint takes."""
        resource = self._resource(obj["apiVersion"], obj["kind"])
        taken = copy.deepcopy(obj)
        for name in ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation"):
            taken.get("metadata", {}).pop(name, None)
        if subresource == "status":
            names = {name: value for name, value in meta(taken).items() if name in ("name", "namespace")}
            taken = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": names}
            if "status" in obj:
                taken["status"] = copy.deepcopy(obj["status"])
        elif resource.has_status:
            taken.pop("status", None)
        return taken

    # --- deleting

    def _delete(self, live: Object, propagation: Propagation) -> None:
        finalizers = list(meta(live).get("finalizers") or ())
        uid = meta(live)["uid"]
        waits = self._holds_others(live)
        if propagation == "Foreground" and any(rules.blocks(d, uid) for d in self._dependents(uid)):
            finalizers = [*finalizers, rules.FOREGROUND] if rules.FOREGROUND not in finalizers else finalizers
        elif propagation == "Orphan":
            for dependent in self._dependents(uid):
                self._disown(dependent, uid)
        if waits and CRD_CLEANUP not in finalizers:
            finalizers.append(CRD_CLEANUP)
        if not finalizers:
            self._remove(live)
            return
        if not meta(live).get("deletionTimestamp") or finalizers != meta(live).get("finalizers"):
            marked = copy.deepcopy(live)
            marked["metadata"].setdefault("deletionTimestamp", timestamp(self._now()))
            marked["metadata"]["deletionGracePeriodSeconds"] = 0
            marked["metadata"]["finalizers"] = finalizers
            if "generation" in marked["metadata"] and not meta(live).get("deletionTimestamp"):
                marked["metadata"]["generation"] += 1
            live = self._store(marked)
        for held in waits:
            self._delete_again(held, "Background")
        if rules.FOREGROUND in finalizers:
            for dependent in self._dependents(uid):
                self._delete_again(dependent, "Foreground")
            self._finish_foreground(uid)

    def _delete_again(self, obj: Object, propagation: Propagation) -> None:
        """Delete an object as it is now, unless that is under way."""
        current = self._by_uid(meta(obj)["uid"])
        if current is not None and not meta(current).get("deletionTimestamp"):
            self._delete(current, propagation)

    def _holds_others(self, live: Object) -> Objects:
        """What must go before it: the objects of a CRD's kind, the content of a namespace."""
        key = key_of(live)
        if _is_crd(live):
            spec = live["spec"]
            rows = self._db.execute(
                "SELECT data FROM objects WHERE grp=? AND kind=?", (spec["group"], spec["names"]["kind"])
            )
        elif key.kind == "Namespace" and not key.group:
            rows = self._db.execute("SELECT data FROM objects WHERE namespace=?", (key.name,))
        else:
            return []
        return [orjson.loads(data) for (data,) in rows]

    def _remove(self, live: Object) -> None:
        """Take the object out, then what it owned, then what waited for it."""
        key, uid, version = key_of(live), meta(live)["uid"], self._next()
        self._db.execute(
            "DELETE FROM objects WHERE grp=? AND kind=? AND namespace=? AND name=?",
            (key.group, key.kind, key.namespace, key.name),
        )
        self._db.execute("DELETE FROM owners WHERE uid=?", (uid,))
        self._db.execute("INSERT INTO deleted VALUES (?,?)", (version, orjson.dumps(live)))
        self._db.execute("DELETE FROM deleted WHERE version<?", (version - REMEMBERED,))
        self.writes += 1
        for dependent in self._dependents(uid):
            others = [r for r in rules.without_owner(dependent, uid) if self._by_uid(r.get("uid", ""))]
            if others:
                self._disown(dependent, uid)
            else:
                self._delete_again(dependent, "Background")
        for owner in rules.owners(live):
            self._finish_foreground(owner)
        self._finish_holders(key)

    def _finish_foreground(self, uid: str) -> None:
        """Let an owner go that waited for its dependents, if none holds it up any more."""
        owner = self._by_uid(uid)
        if owner is None or rules.FOREGROUND not in (meta(owner).get("finalizers") or ()):
            return
        if any(rules.blocks(dependent, uid) for dependent in self._dependents(uid)):
            return
        self._drop_finalizer(owner, rules.FOREGROUND)

    def _finish_holders(self, key: Key) -> None:
        """Let a CRD or namespace go that waited for its last object."""
        holders = [Key("v1", "Namespace", "", key.namespace)] if key.namespace else []
        holders += [
            key_of(crd)
            for (data,) in self._db.execute("SELECT data FROM objects WHERE kind=?", (kinds.CRD_KIND,))
            for crd in [orjson.loads(data)]
            if crd["spec"]["group"] == key.group and crd["spec"]["names"]["kind"] == key.kind
        ]
        for holder in holders:
            found = self._read(holder)
            if found and CRD_CLEANUP in (meta(found).get("finalizers") or ()) and not self._holds_others(found):
                self._drop_finalizer(found, CRD_CLEANUP)

    def _drop_finalizer(self, obj: Object, finalizer: str) -> None:
        obj = copy.deepcopy(obj)
        obj["metadata"]["finalizers"] = [name for name in meta(obj)["finalizers"] if name != finalizer]
        stored = self._store(obj)
        if not meta(stored)["finalizers"]:
            self._remove(stored)

    def _disown(self, dependent: Object, uid: str) -> None:
        obj = copy.deepcopy(dependent)
        obj["metadata"]["ownerReferences"] = rules.without_owner(dependent, uid)
        if not obj["metadata"]["ownerReferences"]:
            del obj["metadata"]["ownerReferences"]
        self._store(obj)

    def _dependents(self, uid: str) -> Objects:
        return [
            orjson.loads(data)
            for (data,) in self._db.execute(
                "SELECT o.data FROM owners w JOIN objects o ON o.uid = w.uid WHERE w.owner=? ORDER BY o.born", (uid,)
            ).fetchall()
        ]

    def _by_uid(self, uid: str) -> Object | None:
        row = self._db.execute("SELECT data FROM objects WHERE uid=?", (uid,)).fetchone()
        return orjson.loads(row[0]) if row else None


def _merge_patched(live: Json, patch: Json) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = copy.deepcopy(live) if isinstance(live, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge_patched(result.get(name), value)
    return result


def _secret(obj: Object, old: Object | None) -> Object:
    """A Secret with stringData merged in, a type, and sound data."""
    for name, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(str(text).encode()).decode()
    obj.setdefault("type", "Opaque")
    if old is not None and obj["type"] != old.get("type"):
        raise Rejected(f"{key_of(obj)} is invalid: type: Invalid value: field is immutable")
    for name, text in (obj.get("data") or {}).items():
        try:
            base64.b64decode(text, validate=True)
        except (TypeError, ValueError) as error:
            raise Rejected(f"{key_of(obj)} is invalid: data[{name}]: not base64") from error
    return obj


def _is_crd(obj: Object) -> bool:
    return bool(obj["kind"] == kinds.CRD_KIND and obj["apiVersion"] == kinds.CRD_VERSION)


def _is_established(crd: Object) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _content(obj: Object) -> Object:
    return {**obj, "metadata": {k: v for k, v in meta(obj).items() if k not in ("managedFields", "resourceVersion")}}


def _spec(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status", "apiVersion")}


def _same_fields(new: Object, live: Object) -> bool:
    """Whether ownership is the same, whenever it was taken."""

    def owned(obj: Object) -> list[Any]:
        entries = [{k: v for k, v in e.items() if k != "time"} for e in meta(obj).get("managedFields") or ()]
        return sorted(entries, key=orjson.dumps)

    return owned(new) == owned(live)
