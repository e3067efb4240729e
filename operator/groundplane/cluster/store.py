"""Kubernetes objects in one SQLite file: versions, places, owners, and what changed since.

Knows rows and transactions, nothing of what an API server makes of a request: that is `sqlite.py`.

Several processes may share a file: each write is a transaction (WAL, `BEGIN IMMEDIATE`).  `synchronous=NORMAL`: a
killed process loses nothing, a power failure at most the last moments, never soundness.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from groundplane.cluster import depth
from groundplane.core.objects import Key, Object, group_of, is_deleting, key_of, labels_of, meta
from groundplane.errors import InvalidInput, Unavailable

IN_MEMORY = ":memory:"
PRIVATE = 0o600  # mode of the files
BUSY = 10_000  # milliseconds to wait for another process's write
REMEMBERED = 10_000  # changes for which deletions are remembered
FORMAT = 1  # of the file

_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
  uid TEXT PRIMARY KEY, grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  born INTEGER NOT NULL, version INTEGER NOT NULL, going INTEGER NOT NULL, labels TEXT NOT NULL, body TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS by_place ON objects (grp, kind, namespace, name);
CREATE INDEX IF NOT EXISTS by_version ON objects (version);
CREATE INDEX IF NOT EXISTS by_namespace ON objects (namespace) WHERE namespace != '';
CREATE INDEX IF NOT EXISTS containers_going ON objects (kind, name) WHERE going;
CREATE INDEX IF NOT EXISTS spoken_of ON objects (
  json_extract(body, '$.spec.of.kind'), json_extract(body, '$.spec.of.resourceRef.name')) WHERE kind IN ('Usage', 'ClusterUsage');
CREATE INDEX IF NOT EXISTS spoken_of_by ON objects (
  json_extract(body, '$.spec.by.kind'), json_extract(body, '$.spec.by.resourceRef.name')) WHERE kind IN ('Usage', 'ClusterUsage');
CREATE TABLE IF NOT EXISTS owners (owner TEXT, uid TEXT, PRIMARY KEY (owner, uid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owned ON owners (uid);
CREATE TABLE IF NOT EXISTS kinds (grp TEXT, kind TEXT, uid TEXT NOT NULL, PRIMARY KEY (grp, kind)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gone (version INTEGER PRIMARY KEY, body TEXT NOT NULL);
"""
# Text is read back as bytes where orjson is the reader: no detour over str.
_BODY = "CAST(body AS BLOB)"


@dataclass(frozen=True)
class Change:
    """An object's latest change.  `rv` orders changes; a deleted object is shown as it last was."""

    rv: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object


_MENDS = {  # of what SQLite reports, by the beginning of its name
    "SQLITE_FULL": "make room on that disk",
    "SQLITE_IOERR": "make room on that disk, or look whether it is sound",
    "SQLITE_BUSY": "end the process that keeps it locked: groundplane never does for long",
    "SQLITE_LOCKED": "end the process that keeps it locked: groundplane never does for long",
    "SQLITE_READONLY": "give this user the right to write to the file and its folder",
    "SQLITE_PERM": "give this user the right to write to the file and its folder",
    "SQLITE_CANTOPEN": "give this user the right to write to the file and its folder",
}

Objects = list[Object]  # inside the class, `list` is the verb
Uids = list[str]
Changes = list[Change]
Rows = list[Any]


def _made(path: str) -> None:
    """Make the file if there is none; SQLite gives those beside it the same mode.

    Raises:
        InvalidInput: a folder or a device has this name.
    """
    if path == IN_MEMORY:
        return
    if os.path.exists(path) and not os.path.isfile(path):
        raise InvalidInput(f"{path} is not a store: it is no file", mend="name another one, which may be new")
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))


def _keep_private(path: str) -> None:
    """Have a store and the files beside it read by their owner alone: Secrets are in it.  The folder stays as it is."""
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(FileNotFoundError):
            if stat.S_IMODE(os.stat(name).st_mode) != PRIVATE:
                os.chmod(name, PRIVATE)


def _closed(path: str, error: Exception) -> Unavailable:
    return Unavailable(f"cannot open {path}: {error}", mend="check folder and permissions")


class Store:
    """The file.  Belongs to one thread at a time; `writes` counts the rows' changes that were committed."""

    def __init__(self, path: str) -> None:
        """
        Raises:
            InvalidInput: the file is no store, or one of another version.
            Unavailable: it can't be opened.
        """
        self.path = path
        self.writes = 0
        self._db = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            _made(self.path)
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise _closed(self.path, error) from error
        try:
            db.execute(f"PRAGMA busy_timeout={BUSY}")
            found = db.execute("PRAGMA user_version").fetchone()[0]
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if found != FORMAT and (found or tables):
                db.close()
                raise _another(self.path, found)
            if self.path != IN_MEMORY:
                _keep_private(self.path)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version={FORMAT}; COMMIT;")
        except sqlite3.DatabaseError as error:
            db.close()
            if isinstance(error, sqlite3.OperationalError):
                raise _trouble(f"cannot open {self.path}", error) from error
            raise InvalidInput(f"{self.path} is not a store: {error}", mend="name another file") from error
        except OSError as error:
            db.close()
            raise _closed(self.path, error) from error
        return db

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else writes in between."""
        before = self.writes
        self._rows("BEGIN IMMEDIATE")
        try:
            yield
            self._rows("COMMIT")
        except BaseException:
            self._db.rollback()
            self.writes = before
            raise

    # --- reading

    def version(self) -> int:
        """The resource version of the latest change."""
        last = "SELECT max(ifnull((SELECT max(version) FROM objects), 0), ifnull((SELECT max(version) FROM gone), 0))"
        found: int = self._rows(last)[0][0]
        return found

    def changes(self, since: int) -> Changes:
        """What changed after `since`, oldest first, each object once, as it is now.  0 gives all there is.

        An object that came and went in between shows up as deleted only; one that was deleted and
        made anew, as both.  Deletions are remembered for the last 10,000 changes.
        """
        found = [
            Change(version, "ADDED" if born > since else "MODIFIED", orjson.loads(body))
            for version, born, body in self._rows(
                f"SELECT version, born, {_BODY} FROM objects WHERE version>? ORDER BY version", since
            )
        ]
        if since:
            gone = self._rows(f"SELECT version, {_BODY} FROM gone WHERE version>? ORDER BY version", since)
            found += [Change(version, "DELETED", orjson.loads(body)) for version, body in gone]
            found.sort(key=lambda change: change.rv)
        return found

    def read(self, key: Key) -> Object | None:
        """The object in this place, labelled with the key's version."""
        found = self._rows(
            f"SELECT {_BODY} FROM objects WHERE grp=? AND kind=? AND namespace=? AND name=?",
            group_of(key.api_version),
            key.kind,
            key.namespace,
            key.name,
        )
        if not found:
            return None
        obj: Object = orjson.loads(found[0][0])
        obj["apiVersion"] = key.api_version
        return obj

    def by_uid(self, uid: str) -> Object | None:
        found = self._rows(f"SELECT {_BODY} FROM objects WHERE uid=?", uid)
        return orjson.loads(found[0][0]) if found else None

    def list(self, api_version: str, kind: str, namespace: str, labels: Mapping[str, str], owner: str = "") -> Objects:
        """All of a kind (of all namespaces if "" is given; with `owner`, a UID, what it owns), sorted by namespace and name."""
        where, values = _where(api_version, kind, namespace, labels)
        if owner:
            where, values = f"{where} AND uid IN (SELECT uid FROM owners WHERE owner=?)", [*values, owner]
        rows = self._rows(f"SELECT {_BODY} FROM objects WHERE {where} ORDER BY namespace, name", *values)
        found: Objects = orjson.loads(b"[%b]" % b",".join(body for (body,) in rows))
        for obj in found:
            obj["apiVersion"] = api_version
        return found

    def versions(self, api_version: str, kind: str, labels: Mapping[str, str]) -> Rows:
        """UID and resource version of all of a kind, in the same order."""
        where, values = _where(api_version, kind, "", labels)
        return self._rows(f"SELECT uid, version FROM objects WHERE {where} ORDER BY namespace, name", *values)

    def staying(self, *, namespace: str = "", group: str = "", kind: str = "") -> Objects:
        """What is in a namespace, or of a kind, and not being deleted, in the order of creation."""
        where, values = _inside(namespace, group, kind)
        rows = self._rows(f"SELECT {_BODY} FROM objects WHERE {where} AND NOT going ORDER BY born", *values)
        return [orjson.loads(body) for (body,) in rows]

    def is_empty(self, *, namespace: str = "", group: str = "", kind: str = "") -> bool:
        """Whether nothing is in a namespace, or of a kind."""
        where, values = _inside(namespace, group, kind)
        return not self._rows(f"SELECT 1 FROM objects WHERE {where} LIMIT 1", *values)

    def dependents(self, uid: str, *, staying: bool = False) -> Iterator[Object]:
        """What that owns, in the order of creation, or what of it is not being deleted; each is read when it is come to."""
        which = "owner=? AND NOT going" if staying else "owner=?"
        rows = self._rows(f"SELECT {_BODY} FROM owners JOIN objects USING (uid) WHERE {which} ORDER BY born", uid)
        return (orjson.loads(body) for (body,) in rows)

    def owned_by_kind(self, kind: str) -> Objects:
        """Whatever has an owner of this kind, of any group."""
        says = "SELECT 1 FROM json_each(body, '$.metadata.ownerReferences') WHERE json_extract(value, '$.kind')=?"
        having = f"uid IN (SELECT uid FROM owners) AND EXISTS ({says})"
        rows = self._rows(f"SELECT {_BODY} FROM objects WHERE {having} ORDER BY born", kind)
        return [orjson.loads(body) for (body,) in rows]

    def usages(self, role: Literal["of", "by"], kind: str, name: str) -> Objects:
        """Usages, and whatever else is called so, that name an object of that kind and name as used (`of`), or as its user (`by`)."""
        named = f"json_extract(body, '$.spec.{role}.kind')=? AND json_extract(body, '$.spec.{role}.resourceRef.name')=?"
        where = f"kind IN ('Usage', 'ClusterUsage') AND {named}"
        rows = self._rows(f"SELECT {_BODY} FROM objects WHERE {where} ORDER BY namespace, name", kind, name)
        return [orjson.loads(body) for (body,) in rows]

    def has_dependents(self, uid: str) -> bool:
        return bool(self._rows("SELECT 1 FROM owners WHERE owner=? LIMIT 1", uid))

    def containers_going(self) -> Uids:
        """The UIDs of definitions and namespaces that are being deleted."""
        rows = self._rows("SELECT uid FROM objects WHERE going AND kind IN ('Namespace', 'CustomResourceDefinition')")
        return [uid for (uid,) in rows]

    def definition_of(self, group: str, kind: str) -> tuple[str, int] | None:
        """UID and resource version of the definition that serves a kind."""
        rows = self._rows(
            "SELECT k.uid, o.version FROM kinds k JOIN objects o ON o.uid = k.uid WHERE k.grp=? AND k.kind=?",
            group,
            kind,
        )
        return rows[0] if rows else None

    def kinds(self) -> Sequence[tuple[str, str]]:
        """Group and kind of all that definitions serve."""
        return [(group, kind) for group, kind in self._rows("SELECT grp, kind FROM kinds ORDER BY grp, kind")]

    # --- writing, within a transaction

    def put(self, obj: Object, *, new: bool) -> Object:
        """Write the object under the next resource version."""
        key, version = key_of(obj), self.version() + 1
        uid = meta(obj)["uid"]
        obj = {**obj, "metadata": {**meta(obj), "resourceVersion": str(version)}}
        labels = "".join(f"\n{name}={value}\n" for name, value in labels_of(obj).items())
        row = (version, is_deleting(obj), labels, depth.written(obj).decode())
        if new:
            place = (uid, key.group, key.kind, key.namespace, key.name, version)
            self._rows("INSERT INTO objects VALUES (?,?,?,?,?,?,?,?,?,?)", *place, *row)
        else:
            self._rows("UPDATE objects SET version=?, going=?, labels=?, body=? WHERE uid=?", *row, uid)
        self.writes += 1
        return obj

    def set_owners(self, uid: str, owners: Uids) -> None:
        self._rows("DELETE FROM owners WHERE uid=?", uid)
        for owner in owners:
            self._rows("INSERT INTO owners VALUES (?,?)", owner, uid)

    def serve(self, group: str, kind: str, uid: str) -> None:
        """Remember which definition serves a kind, until that is removed."""
        self._rows("INSERT OR REPLACE INTO kinds VALUES (?,?,?)", group, kind, uid)

    def remove(self, obj: Object) -> Object:
        """Take the object out; it is remembered as it was, under the next resource version."""
        uid, version = meta(obj)["uid"], self.version() + 1
        obj = {**obj, "metadata": {**meta(obj), "resourceVersion": str(version)}}
        self._rows("DELETE FROM objects WHERE uid=?", uid)
        self._rows("DELETE FROM owners WHERE uid=?", uid)
        self._rows("DELETE FROM kinds WHERE uid=?", uid)
        self._rows("INSERT INTO gone VALUES (?,?)", version, orjson.dumps(obj).decode())
        self._rows("DELETE FROM gone WHERE version<?", version - REMEMBERED)
        self.writes += 1
        return obj

    def _rows(self, statement: str, *values: Any) -> Rows:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            raise _trouble(self.path, error) from error
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"{self.path}: {error}", mend="restore the file from a copy") from error


def _inside(namespace: str, group: str, kind: str) -> tuple[str, list[str]]:
    """In SQL: what is in a namespace or, without one, of a kind."""
    return ("namespace=?", [namespace]) if namespace else ("grp=? AND kind=?", [group, kind])


def _another(path: str, format_: int) -> InvalidInput:
    """The error of a SQLite file that is no store of ours, or one of a later FORMAT."""
    if format_ > FORMAT:
        what = f"{path} is of a newer groundplane, or none of its stores (format {format_}, this one knows {FORMAT})"
        return InvalidInput(what, mend="use that version, or name another file")
    return InvalidInput(f"{path} is a SQLite file, and no store of groundplane", mend="name another file")


def _trouble(what: str, error: sqlite3.OperationalError) -> Unavailable:
    name = getattr(error, "sqlite_errorname", "")
    mend = next((mend for start, mend in _MENDS.items() if name.startswith(start)), "")
    return Unavailable(f"{what}: {error}", mend=mend)


def _where(api_version: str, kind: str, namespace: str, labels: Mapping[str, str]) -> tuple[str, list[str]]:
    """The condition that chooses a kind's objects, and its values."""
    where, values = "grp=? AND kind=?", [group_of(api_version), kind]
    if namespace:
        where, values = f"{where} AND namespace=?", [*values, namespace]
    for name, value in labels.items():
        where, values = f"{where} AND instr(labels, ?)", [*values, f"\n{name}={value}\n"]
    return where, values
