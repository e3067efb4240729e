"""YAML files → Kubernetes objects, each with the place that it was written at.

Numbers, booleans and quoted text are read as kubectl reads them; dates stay text, since JSON has none.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from groundplane.core.objects import Key, Object, key_of, meta
from groundplane.errors import GroundplaneError, InvalidInput

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
KUSTOMIZATIONS = frozenset({"kustomization.yaml", "kustomization.yml"})  # what kubectl -k reads; no objects
STDIN = "-"

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NoObject(InvalidInput):
    """A document that is YAML, and no Kubernetes object."""


@dataclass(frozen=True)
class Manifest:
    """One object as somebody wrote it."""

    object: Object
    origin: str  # "network.yaml:12": the file as it was named, and the line where the document begins

    @property
    def key(self) -> Key:
        return key_of(self.object)


class Loader(_Base):  # type: ignore[misc] # libyaml's class has no stubs
    """Safe YAML without dates, and without keys that are given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value != "<<":
                if name.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f'"{name.value}" is given twice', name.start_mark
                    )
                seen.add(name.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


def files(paths: Iterable[str], *, recursive: bool = False) -> list[Path | None]:
    """The files that paths mean, folders in order of names; None is standard input.  A link that leads nowhere is one of them.

    Of a folder, kustomizations are left out.

    Raises:
        InvalidInput: a path that does not exist.
        OSError: a folder that can't be looked into.
    """
    found: list[Path | None] = []
    for name in paths:
        path = Path(name)
        if name == STDIN:
            found.append(None)
        elif path.is_dir():
            inside = _below(path) if recursive else path.iterdir()
            found += sorted(
                file
                for file in inside
                if file.suffix in SUFFIXES and file.name not in KUSTOMIZATIONS and not file.is_dir()
            )
        elif path.exists():
            found.append(path)
        else:
            raise InvalidInput(f'there is no file or folder "{name}"', mend="correct the path")
    return found


def _below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for parent, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(parent, name) for name in names)


def read(path: Path | None, *, skip_others: bool = False) -> list[Manifest]:
    """The objects in one file (None: standard input); the items of Lists count each.

    With `skip_others`, documents that are no Kubernetes objects are left out.

    Raises:
        InvalidInput: no YAML, or no Kubernetes object; names file and line.
    """
    return parse(text_of(path), name_of(path), skip_others=skip_others)


def name_of(path: Path | None) -> str:
    """How messages call a file."""
    return "standard input" if path is None else str(path)


def text_of(path: Path | None) -> str:
    """All that is in a file (None: standard input).

    Raises:
        InvalidInput: it can't be read, or is no UTF-8.
    """
    try:
        return sys.stdin.read() if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{name_of(path)} can't be read: {error}") from error


def parse(text: str, name: str, *, skip_others: bool = False) -> list[Manifest]:
    """As `read`, from a text.

    >>> [str(m.key) for m in parse("kind: Namespace\\napiVersion: v1\\nmetadata: {name: a}", "x.yaml")]
    ['Namespace a']
    """
    loader = Loader(text)
    found: list[Manifest] = []
    try:
        while loader.check_node():
            node = loader.get_node()
            origin = f"{name}:{node.start_mark.line + 1}"
            document = loader.construct_document(node)
            if document is not None:
                with contextlib.suppress(NoObject) if skip_others else contextlib.nullcontext():
                    found += [Manifest(obj, origin) for obj in _objects(document, origin)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise InvalidInput(f"{place}: {error.problem or 'is no YAML'}", mend="correct the YAML") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{name}: {' '.join(str(error).split())}", mend="correct the YAML") from error
    finally:
        loader.dispose()
    return found


def with_namespace(manifest: Manifest, namespace: str) -> Manifest:
    """The manifest with that namespace, unless it names one (only for kinds that live in namespaces)."""
    if meta(manifest.object).get("namespace"):
        return manifest
    return Manifest({**manifest.object, "metadata": {**meta(manifest.object), "namespace": namespace}}, manifest.origin)


def _objects(document: Any, origin: str) -> Iterator[Object]:
    if not isinstance(document, Mapping):
        raise NoObject(f"{origin}: no Kubernetes object", mend="write a mapping with apiVersion, kind and metadata")
    missing = [field for field in ("apiVersion", "kind") if not isinstance(document.get(field), str)]
    if missing:
        raise NoObject(f"{origin}: {' and '.join(missing)} missing", mend="say what kind of object it is")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item, origin)
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        raise NoObject(f"{origin}: {document['kind']} has no metadata.name", mend="name it")
    yield dict(document)


def read_all(paths: Iterable[Path | None]) -> tuple[list[Manifest], list[GroundplaneError]]:
    """All objects, and what is wrong with files that can't be read and with objects that are given twice."""
    found: dict[Key, Manifest] = {}
    problems: list[GroundplaneError] = []
    for path in paths:
        try:
            manifests = read(path)
        except InvalidInput as error:
            problems.append(error)
            continue
        for manifest in manifests:
            first = found.setdefault(manifest.key, manifest)
            if first is not manifest:
                problems.append(
                    InvalidInput(
                        f"{manifest.origin}: {manifest.key} is given at {first.origin} already",
                        mend="remove one of them",
                    )
                )
    return list(found.values()), problems
