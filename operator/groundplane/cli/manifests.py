"""YAML files → Kubernetes objects, each with the place that it was written at.

Numbers, booleans and quoted text are read as kubectl reads them; dates and times stay text, since JSON has none.  What no JSON
can hold, or only JSON without end, is told as any other mistake: manifests may be a stranger's.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from groundplane.core.fieldpath import MAX_DEPTH
from groundplane.core.objects import Key, Object, key_of, meta
from groundplane.errors import GroundplaneError, InvalidInput

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
KUSTOMIZATIONS = frozenset({"kustomization.yaml", "kustomization.yml"})  # what kubectl -k reads; no objects
STDIN = "-"
LARGEST = 50_000_000  # characters of a file
MOST_NODES = 2_000_000  # of a document, with its aliases resolved: more is an alias bomb
LARGEST_INTEGER = 2**63  # beyond, JSON's numbers are fractions, as Go reads them

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
    """Safe YAML that JSON can hold: without dates, sets and binaries, without keys that are given twice, and of an end."""

    def construct_document(self, node: yaml.Node) -> Any:
        _weigh(node)
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value != "<<":
                if name.value in seen:
                    raise _no(name, f'"{name.value}" is {TWICE}')
                seen.add(name.value)
        made = super().construct_mapping(node, deep=deep)
        return {name if isinstance(name, str) else _word(name): value for name, value in made.items()}


_TAG = "tag:yaml.org,2002:"
TWICE = "given twice"


def _word(name: Any) -> str:
    """A field's name that YAML takes for something else than text, as it is in JSON."""
    return str(name).lower() if isinstance(name, bool) else "null" if name is None else str(name)


def _no(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _number(loader: Any, node: yaml.ScalarNode) -> int | float | str:
    """A number as JSON has it; hours with minutes, which YAML 1.1 takes for one, are text as for kubectl."""
    if ":" in node.value:
        return str(node.value)
    value: int | float | None = _scalar(loader, node)
    try:
        found = value if isinstance(value, int) and -LARGEST_INTEGER <= value < LARGEST_INTEGER else float(value or 0)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise _no(node, "it is no number that JSON can hold")
    return found


def _truth(loader: Any, node: yaml.ScalarNode) -> bool:
    return node.value in "yY" or (node.value not in "nN" and bool(_scalar(loader, node)))


def _scalar(loader: Any, node: yaml.ScalarNode) -> Any:
    try:
        return _Base.yaml_constructors[node.tag](loader, node)
    except (ValueError, KeyError, IndexError):
        raise _no(node, f"it is no {node.tag.removeprefix(_TAG)}: put it in quotes") from None


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (f"{_TAG}timestamp", f"{_TAG}value")]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
for _letter in "yYnN":  # true and false, alone, to kubectl; PyYAML lacks them
    Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^[yYnN]$"), [_letter])
_CONSTRUCTORS: Mapping[str, Callable[[Any, Any], Any]] = {"int": _number, "float": _number, "bool": _truth}
Loader.yaml_constructors = {None: _Base.yaml_constructors[None]} | {
    f"{_TAG}{name}": _CONSTRUCTORS.get(name, _Base.yaml_constructors[f"{_TAG}{name}"])
    for name in ("null", "bool", "int", "float", "str", "seq", "map")
}


def _weigh(root: yaml.Node) -> None:
    """Raises yaml.MarkedYAMLError: it is nested too deep, without an end, or too large with its aliases resolved."""
    weights: dict[
        int, tuple[int, int]
    ] = {}  # nodes and levels of what has been looked at, each once however often it is meant
    under: set[int] = set()  # what is being looked at
    path = [(root, iter(_inside(root)))]
    sums = [(1, 1)]
    while path:
        node, rest = path[-1]
        under.add(id(node))
        for inner in rest:
            if id(inner) in under:
                raise _no(inner, "an alias stands for what it is in, without an end")
            if id(inner) not in weights and isinstance(inner, yaml.CollectionNode):
                if len(path) == MAX_DEPTH:
                    raise _no(inner, f"it is nested more than {MAX_DEPTH} levels deep")
                path.append((inner, iter(_inside(inner))))
                sums.append((1, 1))
                break
            sums[-1] = _sum(sums[-1], weights.get(id(inner), (1, 0)))
        else:
            path.pop()
            under.discard(id(node))
            weights[id(node)] = nodes, levels = sums.pop()
            if nodes > MOST_NODES:
                raise _no(node, "its aliases stand for too much")
            if len(path) + levels > MAX_DEPTH:
                raise _no(node, f"it is nested more than {MAX_DEPTH} levels deep")
            if sums:
                sums[-1] = _sum(sums[-1], (nodes, levels))


def _sum(outer: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int]:
    return outer[0] + inner[0], max(outer[1], inner[1] + 1)


def _inside(node: yaml.Node) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return (each for pair in node.value for each in pair)
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def files(paths: Iterable[str], *, recursive: bool = False) -> list[Path | None]:
    """The files that paths mean, folders in order of names; None is standard input.  A link that leads nowhere is one of them.

    Of a folder, kustomizations are left out, and what is no file: nobody may ever write into a pipe that lies there.

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
                if file.suffix in SUFFIXES and file.name not in KUSTOMIZATIONS and (file.is_file() or not file.exists())
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
        InvalidInput: it can't be read, is no UTF-8, or has no end.
    """
    try:
        with contextlib.nullcontext(sys.stdin) if path is None else path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
    except UnicodeDecodeError as error:
        what = f"{name_of(path)} is no text in UTF-8: its byte {error.start + 1} can't be"
        raise InvalidInput(what, mend="name a file of YAML, or save it as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise InvalidInput(
            f"{name_of(path)} can't be read: {reason}", mend="correct the path, or its rights"
        ) from error
    if len(text) > LARGEST:
        raise InvalidInput(f"{name_of(path)} has more than {LARGEST // 1_000_000} MB", mend="split it")
    return text


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
        raise InvalidInput(f"{place}: {error.problem or 'is no YAML'}", mend=yaml_mend(error.problem)) from error
    except yaml.reader.ReaderError as error:
        raise InvalidInput(f"{name}:{line_of(error, text)}: {NO_CHARACTER}", mend=WITHOUT_IT) from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{name}: {' '.join(str(error).split())}", mend="correct the YAML") from error
    finally:
        loader.dispose()
    return found


NO_CHARACTER = "there is a character that YAML does not allow"
WITHOUT_IT = "leave it out; in quotes it can be written as an escape"


def line_of(error: yaml.reader.ReaderError, text: str) -> int:
    """The line, from 1, of a character that can't be."""
    return text.count("\n", 0, error.position) + 1


_YAML_MENDS = {  # by what the parser says
    **{f'"{name}" is {TWICE}': "part two objects by a line ---" for name in ("apiVersion", "kind", "metadata")},
    TWICE: "take out one of the two",
    "that JSON can hold": "a text that looks like a number is put in quotes",
    "constructor for the tag": "take out what begins with !; it would be another tool's",
    "did not find expected ',' or": "close the bracket, and quote a text within {} or [] that has one of , [ ] { } in it",
    "mapping values are not allowed": "quote a text that has a colon and a space in it, and look at the indentation",
    "cannot start any token": "indent with spaces, not tabs, and quote a text that begins with @, ` or %",
    "undefined alias": "quote a text that begins with *",
    "did not find expected key": "look at the indentation",
    "did not find expected '-'": "look at the indentation",
    "could not find expected ':'": "look for a colon that is missing, and at the indentation",
    "unexpected end of stream": "close the quotation mark",
    "unhashable key": "quote a text that begins with {; a template of Helm is rendered first, by helm template",
    "expected node content": "close the bracket; a template of Helm is rendered first, by helm template",
    "unknown escape character": "write the backslash twice, or ' in place of \"",
}


def yaml_mend(problem: str | None) -> str:
    """What to do about a text that is no YAML.

    >>> yaml_mend("found undefined alias")
    'correct the YAML: quote a text that begins with *'
    >>> yaml_mend("found something")
    'correct the YAML'
    """
    hint = next((mend for words, mend in _YAML_MENDS.items() if words in (problem or "")), "")
    return f"correct the YAML: {hint}" if hint else "correct the YAML"


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
    for field, shape in _SHAPES.items():
        if not isinstance(metadata.get(field), shape | None):
            kind = "mapping" if shape is Mapping else "list" if shape is list else "text"
            raise InvalidInput(f"{origin}: metadata.{field} is no {kind}", mend="correct it, or leave it out")
    yield dict(document)


_SHAPES: Mapping[str, type] = {
    "namespace": str,
    "labels": Mapping,
    "annotations": Mapping,
    "finalizers": list,
    "ownerReferences": list,
}


def read_all(paths: Iterable[Path | None]) -> tuple[list[Manifest], list[GroundplaneError]]:
    """All objects, and what is wrong with files that can't be read and with objects that are given twice, and differ."""
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
            if first is not manifest and first.object != manifest.object:  # several folders may need the same
                problems.append(
                    InvalidInput(
                        f"{manifest.origin}: {manifest.key} is given at {first.origin} already",
                        mend="remove one of them",
                    )
                )
    return list(found.values()), problems
