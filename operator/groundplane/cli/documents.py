"""YAML files → objects that know where they were written: for what tells mistakes with file, line and column.

More patient than `manifests`: what is wrong with one document, or one file, is told, and the others are read.  The place of a
field is looked up only when something is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from groundplane.cli import manifests
from groundplane.core.objects import Object
from groundplane.errors import InvalidInput

EXPECTED = "expected"  # a folder's name
BOOLEANS = frozenset({"y", "Y", "n", "N", "yes", "Yes", "no", "No", "on", "On", "off", "Off"})  # in YAML 1.1, as names


@dataclass(frozen=True)
class Place:
    """A position in a file, from 1; 0: not known."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


@dataclass(frozen=True)
class Mistake:
    """What is wrong with a file or a document, as YAML."""

    place: Place
    message: str
    mend: str = ""

    def __str__(self) -> str:
        return str(InvalidInput(f"{self.place}: {self.message}", mend=self.mend))


@dataclass(frozen=True)
class Text:
    """What is in a file."""

    file: str
    lines: list[str] = field(repr=False)


@dataclass(frozen=True)
class Document:
    """One object, and where it was written."""

    object: Object
    text: Text
    first: int  # line of its document, from 0
    last: int
    prefix: str = ""  # its path in the document: `items[2]`, of a List

    def place(self, field_path: str = "", *, of_name: bool = False) -> Place:
        """Where a field is written, or the nearest of what it is in; with `of_name` where its name is, not its value."""
        slice_ = "\n".join(self.text.lines[self.first : self.last + 1])
        loader = _Loader(slice_)
        try:
            node = loader.get_node() if loader.check_node() else None
        except yaml.YAMLError:
            node = None
        finally:
            loader.dispose()
        if node is None:
            return Place(self.text.file, self.first + 1)
        path = ".".join(part for part in (self.prefix, field_path) if part)
        line, column = _position(node, path, of_name=of_name)
        return Place(self.text.file, self.first + line + 1, column + 1)


class _Loader(manifests.Loader):
    """Collects names that YAML takes for something else than text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and not name.style and name.value in BOOLEANS:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {name.value} is a boolean in YAML: put it in quotes", name.start_mark
                )
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def expanded(paths: Sequence[str]) -> list[str]:
    """The paths in arguments, each of which may be a list with commas."""
    return [path for argument in paths for path in argument.split(",") if path]


def read(paths: Iterable[str], *, recursive: bool = True) -> tuple[list[Document], list[Mistake]]:
    """All objects below the paths (of folders without `recursive`, those in them alone), in order, and what could not be read.

    Raises:
        InvalidInput: a path does not exist.
    """
    found: list[Document] = []
    wrong: list[Mistake] = []
    for path in paths:
        is_folder = Path(path).is_dir()
        for file in manifests.files([path], recursive=recursive):
            name = manifests.name_of(file)
            try:
                text = manifests.text_of(file)
            except InvalidInput as error:
                wrong.append(Mistake(Place(name), f"it {error.what.removeprefix(f'{name} ')}", error.mend))
                continue
            documents, mistakes = parse(text, name, is_told=not is_folder)
            found += documents
            wrong += mistakes
    return found, wrong


def judged(found: Sequence[Document], paths: Iterable[str], *, with_tests: bool = False) -> list[Document]:
    """Those that somebody means to apply: of a folder nothing that tests compare with; no tests.

    That is the snapshots that tests name, and whatever lies in a folder `expected`; who names such a file, or folder, means it.
    """
    from groundplane.core.testing import is_test, snapshots

    folders = [Path(path) for path in paths if Path(path).is_dir()]
    compared = {
        (Path(each.text.file).parent / name).resolve()
        for each in found
        if is_test(each.object)
        for name in snapshots(each.object)
    }

    def is_meant(document: Document) -> bool:
        file = Path(document.text.file)
        for folder in folders:
            if folder in file.parents and (
                file.resolve() in compared or EXPECTED in file.relative_to(folder).parts[:-1]
            ):
                return False
        return with_tests or not is_test(document.object)

    return [document for document in found if is_meant(document)]


def parse(text: str, name: str, *, is_told: bool = True) -> tuple[list[Document], list[Mistake]]:
    """The objects in a text, and what is wrong with it; documents that are no objects, nor look like it, count as wrong only if `is_told`."""
    loader = _Loader(text)
    source = Text(name, text.split("\n"))
    found: list[Document] = []
    wrong: list[Mistake] = []
    try:
        while loader.check_node():
            node = loader.get_node()
            first = node.start_mark.line
            try:
                value = loader.construct_document(node)
            except yaml.MarkedYAMLError as error:
                wrong.append(_mistake(error, name))
                continue
            if value is not None:
                documents, problem = objects_in(value, source, first, node.end_mark.line)
                found += documents
                wrong += [problem] if problem and (is_told or _is_meant(value)) else []
    except yaml.MarkedYAMLError as error:
        wrong.append(_mistake(error, name))
    except yaml.reader.ReaderError as error:
        place = Place(name, manifests.line_of(error, text))
        wrong.append(Mistake(place, manifests.NO_CHARACTER, manifests.WITHOUT_IT))
    except (yaml.YAMLError, RecursionError) as error:
        wrong.append(Mistake(Place(name), " ".join(str(error).split()) or "it is nested too deep", "correct the YAML"))
    finally:
        loader.dispose()
    return found, wrong


def _is_meant(value: Any) -> bool:
    """Whether somebody will have meant an object: a folder may have values and charts of Helm, and other tools' files, too.

    >>> _is_meant({"kind": "Database", "metadata": "orders"}), _is_meant({"apiVersion": "v2", "name": "a-chart"})
    (True, False)
    """
    if isinstance(value, list):
        return any(isinstance(item, Mapping) and _is_meant(item) for item in value)
    return isinstance(value, Mapping) and sum(word in value for word in ("apiVersion", "kind", "metadata", "spec")) > 1


def _mistake(error: yaml.MarkedYAMLError, name: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
    return Mistake(place, error.problem or "it is no YAML", manifests.yaml_mend(error.problem))


def objects_in(value: Any, source: Text, first: int = 0, last: int = 0) -> tuple[list[Document], Mistake | None]:
    """The objects that a value of YAML is, one or a List of them, and what is wrong with it."""
    place = Place(source.file, first + 1)
    if not isinstance(value, Mapping):
        mend = "write a mapping with apiVersion, kind and metadata"
        mend = "write them one below the other, a line --- between two" if _is_meant(value) else mend
        return [], Mistake(place, "no Kubernetes object", mend)
    missing = [name for name in ("apiVersion", "kind") if not isinstance(value.get(name), str)]
    if missing:
        return [], Mistake(place, f"{' and '.join(missing)} missing", "say what kind of object it is")
    if value["kind"].endswith("List") and isinstance(value.get("items"), list):
        items = [
            Document(dict(item), source, first, last, f"items[{index}]")
            for index, item in enumerate(value["items"])
            if isinstance(item, Mapping)
            and isinstance(item.get("apiVersion"), str)
            and isinstance(item.get("kind"), str)
        ]
        odd = len(value["items"]) - len(items)
        return items, Mistake(place, f"{odd} of its items are no objects", "say what kinds they are") if odd else None
    if not isinstance(value.get("metadata"), Mapping | None):
        return [], Mistake(place, "metadata is no mapping", "write metadata: {name: …}")
    return [Document(dict(value), source, first, last)], None


def _position(node: yaml.Node, path: str, *, of_name: bool) -> tuple[int, int]:
    """Line and column, from 0, of what a field path leads to, as far as it does."""
    name: yaml.Node | None = None
    rest = path
    while rest:
        step = _step(node, rest)
        if step is None:
            of_name = True
            break
        name, node, rest = step
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    mark = (name if name is not None and (of_name or is_block) else node).start_mark
    return mark.line, mark.column


def _step(node: yaml.Node, rest: str) -> tuple[yaml.Node, yaml.Node, str] | None:
    """The name and the value of the longest entry that a path begins with, and what is left of the path.

    Paths are written by many: `a.b[0]`, `a[b.c]`, `a["b.c"]`; what is there tells which is meant.
    """
    if isinstance(node, yaml.SequenceNode):
        index, closed, after = rest.removeprefix("[").partition("]")
        if rest.startswith("[") and closed and index.isdigit() and int(index) < len(node.value):
            item = node.value[int(index)]
            return item, item, after.removeprefix(".")
        return None
    if not isinstance(node, yaml.MappingNode):
        return None
    best: tuple[int, yaml.Node, yaml.Node] | None = None
    for name, value in node.value:
        if not isinstance(name, yaml.ScalarNode):
            continue
        for written in (name.value, f"[{name.value}]", f'["{name.value}"]', f"['{name.value}']"):
            is_whole = rest.startswith(written) and rest[len(written) : len(written) + 1] in ("", ".", "[")
            if is_whole and (best is None or len(written) > best[0]):
                best = (len(written), name, value)
    if best is None:
        return None
    return best[1], best[2], rest[best[0] :].removeprefix(".")
