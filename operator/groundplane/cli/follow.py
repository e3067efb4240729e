"""Files → store: what some paths hold is applied, again after each edit, and pruned when it has left.

What was applied is remembered in the store itself (`INVENTORY`), with the file that it came from: only that is ever
deleted, only while every file can be read, and only as `prune` allows.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from groundplane.cli import manifests, prune
from groundplane.cli.manifests import STDIN, Manifest
from groundplane.cli.prune import Placed
from groundplane.cluster.kinds import CRD_KIND
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import testing
from groundplane.core.objects import Json, Key, group_of, is_deleting, meta, spec_of
from groundplane.errors import Conflict, GroundplaneError, InUse, InvalidInput, NoSuchKind, Unavailable

MANAGER = "groundplane-up"  # field manager of what is applied
INVENTORY = Key("v1", "ConfigMap", "default", "groundplane-up-inventory")
EARLY = ("Namespace", CRD_KIND, "CompositeResourceDefinition", "Provider", "ProviderConfig", "Composition")

WRITING = 5.0  # seconds after which a file that ends earlier than it did is no longer taken for half written
QUIET = 3.0  # seconds that an object may wait for its kind before that is told

Identity = tuple[str, str, str, str]  # group, kind, namespace, name: an object in whichever version
Tell = Callable[[str], None]


@dataclass
class _File:
    root: str  # the path that it was found under, absolute
    place: str  # its own
    stamp: tuple[int, int] | None = (-1, -1)  # mtime in ns, size; None: it can't be looked at
    manifests: list[Manifest] = field(default_factory=list)
    text: str = ""  # what they were read from
    problem: str = ""
    writing_since: float | None = None  # when it was first seen to end earlier than it did


class Source:
    """The objects in the files behind some paths, as they are now."""

    def __init__(
        self, paths: Iterable[str], *, recursive: bool = False, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = now  # seconds
        self.paths = tuple(paths)
        self.roots = {_root(path) for path in self.paths}
        self._recursive = recursive
        self._files: dict[Path | None, _File] = {}
        self._unseen = False  # something was read that no look has told of
        self.lost: dict[str, str] = {}  # paths that can't be looked into now, and why
        self.mended: list[str] = []  # what the last look found in order that was not before: paths and files
        self._twice: set[Identity] = set()

    def check(self) -> list[str]:
        """Read everything, and say what is wrong; the next look tells of it all the same."""
        self._unseen = self.look()
        return self.objects()[1]

    def look(self) -> bool:
        """Read what has changed since the last look; whether anything has.

        A file that can't be read keeps what was last read from it; so does, for a while, one that ends earlier than it
        did, or is empty: it is most likely being written.
        """
        lost = dict(self.lost)
        found = {file: path for path in self.paths for file in self._inside(path)}
        self.mended = [path for path in lost if path not in self.lost]
        is_changed = self._unseen or lost != self.lost or bool(self._files.keys() - found.keys())
        self._unseen = False
        for gone in self._files.keys() - found.keys():
            del self._files[gone]
        for path, given in found.items():
            file = self._files.setdefault(path, _File(_root(given), _place(path, given)))
            stamp = _stamp(path)
            if stamp == file.stamp and not self._is_written(file):
                continue
            file.stamp, is_changed, before = stamp, True, file.problem
            try:
                self._read(path, file)
            except InvalidInput as error:
                file.problem = str(error)
            if before and not file.problem:
                self.mended.append(manifests.name_of(path))
        return is_changed

    def _is_written(self, file: _File) -> bool:
        """Whether it has been long enough as it is, having been taken for half written."""
        return file.writing_since is not None and self.now() - file.writing_since >= WRITING

    def _read(self, path: Path | None, file: _File) -> None:
        text = manifests.text_of(path)
        is_cut = len(text) < len(file.text) and file.text.startswith(text)
        if is_cut and not self._is_written(file):
            file.writing_since = file.writing_since or self.now()
            file.problem = f"{path} ends earlier than before: nothing of it is taken until it has been so for {WRITING:.0f} seconds."
            return
        file.writing_since = None
        file.manifests = manifests.parse(text, manifests.name_of(path))
        file.text, file.problem = text, ""

    def objects(self) -> tuple[list[Placed], list[str]]:
        """Each object with its place, and what is wrong: unreadable files, objects given twice."""
        problems = [*self.lost.values(), *(file.problem for file in self._files.values() if file.problem)]
        found: dict[Identity, Placed] = {}
        twice: set[Identity] = set()
        for file in self._files.values():
            for manifest in file.manifests:
                first = found.setdefault(identity(manifest.key), Placed(manifest, file.root, file.place)).manifest
                if first is not manifest and first.object != manifest.object:  # several folders may need the same
                    twice.add(identity(manifest.key))
                    problems.append(
                        f"{manifest.origin}: {manifest.key} is given at {first.origin} already. Mend: remove one of them."
                    )
        once = [found[who].manifest for who in sorted(self._twice - twice) if who in found]
        self.mended += [f"{manifest.origin}: {manifest.key}" for manifest in once]
        self._twice = twice
        return sorted(found.values(), key=lambda each: _rank(each.manifest.key)), problems

    def files(self) -> set[str]:
        """The files that there are, whatever they hold."""
        return {file.place for file in self._files.values()}

    def _inside(self, path: str) -> list[Path | None]:
        """The files that a path means.  One that can't be looked into keeps those that it had: a folder that is renamed or
        mounted anew, or whose rights have changed, is not its owner's wish to have everything in it deleted.
        """
        try:
            found = manifests.files([path], recursive=self._recursive)
        except InvalidInput as error:
            self.lost[path] = str(error)
        except OSError as error:
            self.lost[path] = f"{path} can't be looked into: {error.strerror}"
        else:
            self.lost.pop(path, None)
            return found
        return [file for file, known in self._files.items() if known.root == _root(path)]


class Applier:
    """Brings the store to what a source says, a round at a time."""

    def __init__(
        self,
        cluster: SqliteCluster,
        source: Source,
        *,
        namespace: str = "default",
        prune: bool = False,
        prune_folders: bool = False,
        tell: Tell,
    ) -> None:
        """With `prune_folders`, the first pruning also deletes what came from folders that hold nothing any more."""
        self._cluster, self._source, self._namespace, self._tell = cluster, source, namespace, tell
        self._prune, self._prune_folders = prune or prune_folders, prune_folders
        self._wanted: list[Placed] = []
        self._gone_since: dict[Identity, float] = {}  # what has left the files, and when that was seen
        self._done: dict[Identity, Json] = {}  # what was applied, as it was written
        self._stale: set[Identity] = set()  # of these, what was applied before the last change of kinds
        self._told: set[str] = set()
        self._tests = 0  # that were found among the manifests
        self._waits_since: dict[Identity, float] = {}
        self._inventory: dict[Identity, dict[str, str]] | None = None
        self._seen = cluster.version()
        cluster.warned = lambda what, mend: tell(f"Warning: {what}. Mend: {mend}.")
        self.keys: list[Key] = []  # what is applied
        self.problems: list[str] = []  # with files
        self.waiting: dict[Identity, str] = {}  # not applied yet; tried again in each round
        self.refused: dict[Identity, str] = {}  # not applied; an edit is needed
        self._is_noted = True  # whether the inventory in the store is the one in here
        self.unpruned: list[str] = []  # why what has left a path stays all the same
        self.parting: list[Key] = []  # what has left, but may be back in a moment
        self.leaving: list[Key] = []  # deleted by us, and not gone yet

    async def round(self) -> None:
        """Read what changed, apply what is due, prune, remember."""
        if self._source.look():
            found, self.problems = self._source.objects()
            self._wanted = [each for each in found if not testing.is_test(each.manifest.object)]
            self._pass_over(len(found) - len(self._wanted))
            for name in self._source.mended:
                self._tell(f"{name} is accepted again")
        self._look_at_kinds()
        self.keys, self.waiting, before = [], {}, self.refused
        self.refused = {}
        for placed in self._wanted:
            await self._apply(placed, before)
        now = self._source.now()
        self._waits_since = {who: self._waits_since.get(who, now) for who in self.waiting}
        long = [text for who, text in self.waiting.items() if now - self._waits_since[who] >= QUIET]
        self.unpruned, self.parting = [], []
        if self._prune and not self.problems:
            await self._delete_what_left()
        if not self._is_noted:
            await self._write_inventory()
        self._retell([*self.problems, *self.refused.values(), *long, *self.unpruned])
        self.leaving = [key for key in self.leaving if await self._is_there(key)]

    def _pass_over(self, tests: int) -> None:
        """They lie beside what they test; `groundplane test` reads them."""
        before, self._tests = self._tests, tests
        if self._tests not in (0, before):
            self._tell(f"Tests of compositions are passed over: {self._tests}; groundplane test runs them")

    async def _apply(self, placed: Placed, refused_before: dict[Identity, str]) -> None:
        manifest = placed.manifest
        key = manifest.key
        try:
            if (await self._cluster.resource(key.api_version, key.kind)).namespaced:
                manifest = manifests.with_namespace(manifest, self._namespace)
                key = manifest.key
            who = identity(key)
            if self._done.get(who) == manifest.object and not await self._is_due_again(key, refused_before):
                if who in refused_before:
                    self.refused[who] = refused_before[who]
                else:
                    self.keys.append(key)
                    await self._remember(key, placed)
                return
            before = await self._cluster.get(key)
            after = await self._cluster.apply(manifest.object, manager=MANAGER)
        except (NoSuchKind, Conflict, Unavailable) as error:
            self.waiting[identity(key)] = f"{manifest.origin}: {key} waits: {error}"
            return
        except GroundplaneError as error:
            self._note_done(manifest)
            self.refused[identity(key)] = f"{manifest.origin}: {key} is refused: {error}"
            return
        self._note_done(manifest)
        self.keys.append(key)
        await self._remember(key, placed, meta(after)["uid"])
        if before is None or meta(before).get("resourceVersion") != meta(after).get("resourceVersion"):
            self._tell(f"{manifest.origin}: {key} {'created' if before is None else 'changed'}")
        elif who in refused_before:
            self._tell(f"{manifest.origin}: {key} is accepted again, as it was")

    def _note_done(self, manifest: Manifest) -> None:
        self._done[identity(manifest.key)] = manifest.object
        self._stale.discard(identity(manifest.key))

    def _look_at_kinds(self) -> None:
        """After a change of kinds all is due again: a field may be known now that was dropped before.

        What went with its kind comes again with it.
        """
        changes = self._cluster.changes(self._seen) if self._seen < self._cluster.version() else []
        self._seen = max((change.rv for change in changes), default=self._seen)
        kinds = [change for change in changes if change.object["kind"] == CRD_KIND]
        if not kinds:
            return
        specs = [spec_of(change.object) for change in kinds if change.type == "DELETED"]
        gone = {(spec["group"], spec["names"]["kind"]) for spec in specs}
        self._done = {who: done for who, done in self._done.items() if who[:2] not in gone}
        self._stale = set(self._done)

    async def _is_due_again(self, key: Key, refused: dict[Identity, str]) -> bool:
        """Whether to apply again what was applied as it is.  What is not there any more was deleted by somebody, and stays so."""
        who = identity(key)
        if who not in self._stale or who in refused:
            return who in self._stale
        found = await self._cluster.get(key)
        if found is not None and not is_deleting(found):
            return True
        self._stale.discard(who)
        return False

    def _retell(self, texts: Iterable[str]) -> None:
        """Say each text once, until it was gone for a while."""
        texts = list(texts)
        for text in texts:
            if text not in self._told:
                self._tell(text)
        self._told = set(texts)

    # --- the inventory

    async def _remember(self, key: Key, placed: Placed, uid: str = "") -> None:
        """What was applied, and where it is now: it may have moved to another file since."""
        inventory = await self._read_inventory()
        known = inventory.get(identity(key), {})
        uid = uid or known.get("uid", "")
        entry = {**key._asdict(), "uid": uid, "from": placed.root, "file": placed.file}
        if uid and known != entry:
            inventory[identity(key)] = entry
            self._is_noted = False

    async def _delete_what_left(self) -> None:
        inventory = await self._read_inventory()
        certain = self._certain(inventory)
        for who in sorted(certain, key=lambda who: _rank(_key(inventory[who])), reverse=True):
            key = _key(inventory[who])
            try:
                if await self._cluster.delete(key, uid=inventory[who]["uid"]):
                    self._tell(f"{key} deleted: it has left {inventory[who]['from']}")
                    self.leaving.append(key)
            except InUse as error:
                self.unpruned.append(f"{key} has left {inventory[who]['from']}, and stays: {error}")
                continue
            except (NoSuchKind, Conflict):
                pass  # it went with its kind, or somebody else made it anew: not ours any more
            del inventory[who], self._gone_since[who]
            self._done.pop(who, None)
            self._is_noted = False
        self._prune_folders = self._prune_folders and bool(self.parting)

    def _certain(self, inventory: dict[Identity, dict[str, str]]) -> list[Identity]:
        """What is to be deleted now; of all else that has left, `unpruned` and `parting` tell why not."""
        kept = {identity(each.manifest.key) for each in self._wanted}
        kept |= {identity(manifests.with_namespace(each.manifest, self._namespace).key) for each in self._wanted}
        left = [who for who, entry in inventory.items() if entry["from"] in self._source.roots and who not in kept]
        now = self._source.now()
        self._gone_since = {who: self._gone_since.get(who, now) for who in left}
        settled = [who for who in left if now - self._gone_since[who] >= prune.SETTLED]
        self.parting = [_key(inventory[who]) for who in left if who not in set(settled)]
        in_use, there = prune.places_in_use(self._wanted), self._source.files()
        why = {who: prune.held(inventory[who], in_use, there, folders=self._prune_folders) for who in settled}
        self.unpruned = sorted({text for text in why.values() if text})
        return [who for who in settled if not why[who]]

    async def _is_there(self, key: Key) -> bool:
        try:
            return await self._cluster.get(key) is not None
        except NoSuchKind:
            return False

    async def _read_inventory(self) -> dict[Identity, dict[str, str]]:
        if self._inventory is None:
            self._inventory = await inventory(self._cluster)
        return self._inventory

    async def _write_inventory(self) -> None:
        self._is_noted = True
        entries = [entry for _, entry in sorted((self._inventory or {}).items())]
        await self._cluster.apply(
            {
                "apiVersion": INVENTORY.api_version,
                "kind": INVENTORY.kind,
                "metadata": {"name": INVENTORY.name, "namespace": INVENTORY.namespace},
                "data": {"objects": json.dumps(entries, indent=1)},
            },
            manager=MANAGER,
        )


async def inventory(cluster: SqliteCluster) -> dict[Identity, dict[str, str]]:
    """What was applied from files, and which file each object came from."""
    stored = await cluster.get(INVENTORY)
    entries = json.loads(((stored or {}).get("data") or {}).get("objects", "[]"))
    return {identity(_key(entry)): entry for entry in entries}


async def files_with(cluster: SqliteCluster, keys: Iterable[Key]) -> list[str]:
    """The followed files that still have one of these objects, as far as they can be read."""
    known = await inventory(cluster)
    found = set()
    for key in keys:
        entry = known.get(identity(key))
        if entry is None or entry["file"] == STDIN:
            continue
        with contextlib.suppress(InvalidInput):
            given = manifests.parse(manifests.text_of(Path(entry["file"])), entry["file"])
            same = {(each.key.group, each.key.kind, each.key.name) for each in given}
            found |= {entry["file"]} if (key.group, key.kind, key.name) in same else set()
    return sorted(found)


def identity(key: Key) -> Identity:
    """What stays the same when a manifest moves to another version of its kind."""
    return (group_of(key.api_version), key.kind, key.namespace, key.name)


def _key(entry: dict[str, str]) -> Key:
    return Key(entry["api_version"], entry["kind"], entry["namespace"], entry["name"])


def _rank(key: Key) -> int:
    """What others need comes first; it only saves waiting."""
    return EARLY.index(key.kind) if key.kind in EARLY else len(EARLY)


def _root(path: str) -> str:
    return STDIN if path == STDIN else str(Path(path).resolve())


def _place(path: Path | None, given: str) -> str:
    """Where a file is that was found under a given path."""
    return STDIN if path is None else str(Path(_root(given), path.relative_to(given)))


def _stamp(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return (0, 0)
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size)
