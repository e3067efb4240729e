"""What is in the store of `groundplane up`: opening it, its kinds by any name that a person uses, and its objects.

Names follow kubectl: plural, singular, kind, short name or category, in any case, with or without the group.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import click
from click.core import ParameterSource

from groundplane.cli import tree
from groundplane.cluster import kinds as built_in
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import Key, Object, group_of, meta
from groundplane.errors import InvalidInput, NoSuchKind, nearest

DEFAULT = "groundplane.db"  # in the current folder
PLACES = ("db", "kubeconfig", "context")  # flags
ALL = ("claim", "composite", "managed", "all")  # categories that `get all` shows
SHORT = {"Namespace": ("ns",), "ConfigMap": ("cm",), "Event": ("ev",), built_in.CRD_KIND: ("crd", "crds")}

database = click.option(
    "--db", "db", type=click.Path(dir_okay=False), default=DEFAULT, show_default=True, help="The store's file."
)


def again() -> str:
    """The flags with which the running command was told where to look, for a hint that names another command: " --db x.db".

    What the environment says holds for that one, too.
    """
    context = click.get_current_context(silent=True)
    given = [
        (name, str(value))
        for name, value in (context.params.items() if context else ())
        if context and name in PLACES and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in given if value)


@dataclass(frozen=True)
class Column:
    """One of additionalPrinterColumns."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0  # above 0: only with -o wide


@dataclass(frozen=True)
class Served:
    """A kind in the version that is shown."""

    api_version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = field(default=(), repr=False)

    @property
    def group(self) -> str:
        return group_of(self.api_version)

    @property
    def full_name(self) -> str:
        """How messages call it: "databases.platform.example.com"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def prefix(self) -> str:
        """What `-o name` writes before the slash: "database.platform.example.com"."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    @property
    def names(self) -> set[str]:
        """What it may be called, alone and with its group."""
        alone = {self.plural, self.singular, *self.short_names}
        return alone | ({f"{name}.{self.group}" for name in alone} if self.group else set())

    def is_called(self, word: str) -> bool:
        """Whether a person's word means this kind; no category.

        >>> kind = Served("a.example.com/v1", "Thing", "things", "thing", True, ("th",))
        >>> [kind.is_called(word) for word in ("Things", "th", "thing.a.example.com", "thing.b", "thin")]
        [True, True, True, False, False]
        """
        name, dot, group = word.lower().partition(".")
        if name not in {self.plural, self.singular, self.kind.lower(), *self.short_names}:
            return False
        version = self.api_version.rpartition("/")[2]
        return not dot or group in (self.group, f"{version}.{self.group}", f"{self.group}/{version}")


@contextmanager
def opened(db: str) -> Iterator[SqliteCluster]:
    """The store in an existing file.

    Raises:
        InvalidInput: there is no such file.
    """
    if not Path(db).exists():
        raise InvalidInput(
            f"there is no store at {db}", mend="start one with `groundplane up`, or name its file with --db"
        )
    cluster = SqliteCluster(db)
    try:
        yield cluster
    finally:
        cluster.close()


@contextmanager
def locked(db: str) -> Iterator[None]:
    """Be the one control plane on this store.  The lock is in a file of its own, and ends with the process.

    Raises:
        InvalidInput: another process is it, or there is no such place to write to.
    """
    path = Path(f"{db}-lock")
    try:
        path.touch()
    except OSError as error:
        mend = "make its folder, or name a place that this user may write to with --db"
        raise InvalidInput(f"{db} can't be written: {error.strerror}", mend=mend) from error
    with path.open("a+", encoding="utf-8") as file:
        if not _lock(file):
            file.seek(0)
            other = file.read().strip() or "another"
            raise InvalidInput(
                f"a control plane (process {other}) is running on {db} already",
                mend="end that one first, or use another store with --db",
            )
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.seek(0)
        file.truncate()


def is_running(db: str) -> bool:
    """Whether a control plane is at work on this store."""
    path = Path(f"{db}-lock")
    if not path.exists():
        return False
    with path.open("a+", encoding="utf-8") as file:
        return not _lock(file)


def _lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- kinds ------------------------------------------------------------------------------------------


async def served(cluster: SqliteCluster) -> list[Served]:
    """Every kind that the store serves, those of our own core first, then by group."""
    found = [
        Served(
            resource.api_version,
            resource.kind,
            resource.plural,
            resource.kind.lower(),
            resource.namespaced,
            SHORT.get(resource.kind, ()),
        )
        for resource in (*built_in.BUILT_IN.values(), *built_in.PLAIN.values())
    ]
    for crd in await cluster.list(built_in.CRD_VERSION, built_in.CRD_KIND):
        if _is_established(crd):
            found.append(_from_crd(crd))
    return sorted(found, key=lambda kind: (kind.group, kind.plural))


def find(words: str, known: Sequence[Served]) -> list[Served]:
    """The kinds that a comma-separated list of names and categories means, each once.

    Raises:
        InvalidInput: nothing is called so.
    """
    found: dict[str, Served] = {}
    for word in filter(None, (word.strip() for word in words.split(","))):
        meant = [kind for kind in known if kind.is_called(word)]
        if not meant:
            wanted = ALL if word == "all" else (word,)
            meant = [kind for kind in known if set(wanted) & set(kind.categories)]
        if not meant:
            if word in ALL:
                continue
            near = nearest(word.lower(), {name for kind in known for name in (*kind.names, *kind.categories)})
            mend = f"did you mean {near}?" if near else f"see them with: groundplane get crds{again()}"
            raise InvalidInput(f'the store has no kind "{word}"', mend=mend)
        found |= {kind.full_name: kind for kind in meant}
    return list(found.values())


def _is_established(crd: Object) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)


def _from_crd(crd: Object) -> Served:
    spec = crd["spec"]
    names = spec["names"]
    version = max((v for v in spec["versions"] if v.get("served")), key=lambda v: _rank(v["name"]))
    return Served(
        f"{spec['group']}/{version['name']}",
        names["kind"],
        names["plural"],
        names.get("singular") or names["kind"].lower(),
        spec.get("scope") == "Namespaced",
        tuple(names.get("shortNames") or ()),
        tuple(names.get("categories") or ()),
        tuple(
            Column(c["name"], c["jsonPath"], c.get("type", "string"), c.get("priority") or 0)
            for c in version.get("additionalPrinterColumns") or ()
        ),
    )


def _rank(version: str) -> tuple[int, int, int]:
    """Kubernetes' order of versions: v2 before v1 before v1beta1 before v1alpha1.

    >>> sorted(["v1alpha1", "v1", "v2", "v1beta2"], key=_rank)
    ['v1alpha1', 'v1beta2', 'v1', 'v2']
    """
    import re

    parts = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not parts:
        return (-1, 0, 0)
    stage = {None: 2, "beta": 1, "alpha": 0}[parts[2]]
    return (stage, int(parts[1]), int(parts[3] or 0))


# --- objects -----------------------------------------------------------------------------------------


def key_in(kind: Served, namespace: str, name: str) -> Key:
    return Key(kind.api_version, kind.kind, namespace if kind.namespaced else "", name)


def selected(objects: Iterable[Object], selector: str) -> list[Object]:
    """The objects whose labels fit "a=b,c!=d,e,!f".

    >>> [o["metadata"]["name"] for o in selected([{"metadata": {"name": "x", "labels": {"a": "b"}}}], "a=b,!c")]
    ['x']

    Raises:
        InvalidInput: a selector that is none.
    """
    tests = [_requirement(part) for part in selector.split(",") if part.strip()]
    return [obj for obj in objects if all(test(meta(obj).get("labels") or {}) for test in tests)]


def _requirement(part: str) -> Any:
    text = part.strip()
    if "!=" in text:
        name, _, value = (piece.strip() for piece in text.partition("!="))
        return lambda labels: labels.get(name) != value
    if "=" in text:
        name, _, value = (piece.strip() for piece in text.replace("==", "=").partition("="))
        if not name:
            raise InvalidInput(f'"{part}" is no label selector', mend="write -l name=value")
        return lambda labels: labels.get(name) == value
    if text.startswith("!"):
        return lambda labels: text[1:].strip() not in labels
    if " " in text:
        raise InvalidInput(f'"{part}" is no label selector', mend="write -l name=value")
    return lambda labels: text in labels


async def family(cluster: SqliteCluster, root: Key) -> dict[Key, Object]:
    """An object and all that it is made of, as far as it is there."""
    found: dict[Key, Object] = {}
    due = [root]
    while due:
        key = due.pop()
        if key in found:
            continue
        try:
            obj = await cluster.get(key)
        except NoSuchKind:
            continue
        if obj is not None:
            found[key] = obj
            due += tree.references(obj)
    return found
