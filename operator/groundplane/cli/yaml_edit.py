"""Changes a YAML text so that it says something else, and keeps the comments, the order and the style of what stays.

Whoever asks for it must read the result again: a text that can't be changed so comes out wrong, or as None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import yaml

from groundplane.cli import manifests
from groundplane.core.objects import Json

COMMENT = re.compile(r"(^|\s)#", re.MULTILINE)
_MARK = re.compile(r"^---(?=\s|$)", re.MULTILINE)

Edit = tuple[int, int, str]  # begin and end in the text, and what to put there instead


class Source:
    """A text of one document, and its nodes."""

    def __init__(self, text: str) -> None:
        """Raises yaml.YAMLError, or ValueError if it is no mapping."""
        self.text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        node = yaml.compose(text, Loader=manifests.Loader)
        if not isinstance(node, yaml.MappingNode) or node.flow_style:
            raise ValueError("no block mapping")
        self.root = node

    def begin(self, node: yaml.Node) -> int:
        return self._starts[node.start_mark.line] + int(node.start_mark.column)

    def end(self, node: yaml.Node) -> int:
        """Where its own text ends: libyaml lets a block reach to the next token."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self.end(last[1] if isinstance(last, tuple) else last)
        end = min(self._starts[node.end_mark.line] + int(node.end_mark.column), len(self.text))
        return len(self.text[:end].rstrip()) if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end

    def line_of(self, offset: int) -> int:
        """The beginning of the line that a place is on."""
        return self.text.rfind("\n", 0, offset) + 1

    def with_comments(self, begin: int) -> int:
        """The beginning of the comments right above a line, or of the line."""
        while begin > 0:
            above = self.line_of(begin - 1)
            if not self.text[above:begin].strip().startswith("#"):
                break
            begin = above
        return begin


def edited(text: str, old: Json, new: Json) -> str | None:
    """A document's text that says `old`, so that it says `new`; None if that can't be done without losing comments."""
    try:
        source = None if old == new else Source(text)
        made = applied(text, list(changed(source, source.root, old, new))) if source else text
        loaded = yaml.load(made, Loader=manifests.Loader)
    except (yaml.YAMLError, ValueError, KeyError, IndexError):
        return None
    return made if loaded == new else None


def changed(source: Source, node: yaml.Node, old: Json, new: Json) -> Iterator[Edit]:
    """What to change in a node's text so that it says `new`, where it says `old`.

    Raises:
        ValueError: comments would be lost.
    """
    if old == new and type(old) is type(new):
        return
    if isinstance(node, yaml.MappingNode) and isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _changed_mapping(source, node, old, new)
    elif isinstance(node, yaml.SequenceNode) and isinstance(old, list) and isinstance(new, list):
        yield from _changed_list(source, node, old, new)
    elif isinstance(node, yaml.SequenceNode) and isinstance(old, list) and len(old) == 1 and isinstance(new, dict):
        yield from _unwrapped(source, node)
        yield from changed(source, node.value[0], old[0], new)
    else:
        yield from _replaced(source, node, new)


def _replaced(source: Source, node: yaml.Node, new: Json) -> Iterator[Edit]:
    begin, end = source.begin(node), source.end(node)
    if isinstance(node, yaml.CollectionNode) and COMMENT.search(source.text[begin:end]):
        raise ValueError("a comment in what is replaced")
    yield begin, end, inline(new)


def _changed_mapping(
    source: Source, node: yaml.MappingNode, old: Mapping[str, Json], new: Mapping[str, Json]
) -> Iterator[Edit]:
    added = [name for name in new if name not in old]
    removed = [(key, value) for key, value in node.value if key.value not in new]
    if not new or (node.flow_style and len(removed) > len(added)):
        yield from _replaced(source, node, new)
        return
    for key, value in node.value:
        if key.value in new and new[key.value] in ([], {}) and old[key.value]:
            if COMMENT.search(source.text[source.end(key) : source.begin(value)]):
                raise ValueError("a comment in what is replaced")
            yield source.end(key), source.end(value), f": {inline(new[key.value])}"
        elif key.value in new:
            yield from changed(source, value, old[key.value], new[key.value])
    column = -1 if node.flow_style else node.start_mark.column
    for key, value in removed:
        if added:  # one takes the place of the other
            name = added.pop(0)
            yield source.begin(key), source.end(value), _entry(name, new[name], column)
        else:
            yield _without(source, key, value, [other for other, _ in node.value])
    if added:
        begin = source.begin(node) + (1 if node.flow_style else 0)
        joint = ", " if node.flow_style else "\n" + " " * column
        if node.flow_style and not node.value:
            joint = ""
        yield begin, begin, "".join(f"{_entry(name, new[name], column)}{joint}" for name in added)


def _changed_list(source: Source, node: yaml.SequenceNode, old: list[Json], new: list[Json]) -> Iterator[Edit]:
    if len(new) != len(old) and (node.flow_style or not new or not old):
        yield from _replaced(source, node, new)
        return
    if len(new) > len(old):  # what is more comes last
        place = next_line(source.text, source.end(node) - 1)
        begun = "" if source.text[:place].endswith("\n") else "\n"
        yield place, place, begun + "".join(_item(each, node.start_mark.column) for each in new[len(old) :])
        new = new[: len(old)]
    of = _partners(old, new)
    for index, (child, before) in enumerate(zip(node.value, old, strict=True)):
        if index in of:
            yield from changed(source, child, before, new[of[index]])
        else:
            dash = source.text.rindex("-", 0, source.begin(child))
            rest = [source.text.rindex("-", 0, source.begin(other)) for other in node.value[index + 1 : index + 2]]
            begin = source.line_of(dash)
            if source.text[begin:dash].strip():
                raise ValueError("a list in a list's line")
            end = source.line_of(rest[0]) if rest else next_line(source.text, source.end(child) - 1)
            yield source.with_comments(begin), source.with_comments(end) if rest else end, ""


def _partners(old: list[Json], new: list[Json]) -> dict[int, int]:
    """Which of the old elements became which of the new ones, in order: those that are most alike."""
    found: dict[int, int] = {}
    first = 0
    for index, each in enumerate(new):
        last = len(old) - (len(new) - index)  # some must be left for the others
        best = max(range(first, last + 1), key=lambda at: (_likeness(old[at], each), -at))
        found[best] = index
        first = best + 1
    return found


def _likeness(one: Json, other: Json) -> float:
    if one == other:
        return 1
    if isinstance(one, dict) and isinstance(other, dict):
        return sum(_likeness(one[name], other[name]) for name in one if name in other) / (len(one | other) + 1)
    return 0


def _unwrapped(source: Source, node: yaml.SequenceNode) -> Iterator[Edit]:
    """A list of one without what makes it a list."""
    if node.flow_style:
        begin, end = source.begin(node), source.end(node)
        yield begin, begin + 1, ""
        yield end - 1, end, ""
    else:
        dash = source.text.rindex("-", 0, source.begin(node.value[0]))
        yield dash, dash + 1, " "


def _without(source: Source, key: yaml.Node, value: yaml.Node, keys: Sequence[yaml.Node]) -> Edit:
    """An entry of a block, with the comments right above it."""
    begin, end = source.begin(key), source.end(value)
    after = [source.begin(other) for other in keys if source.begin(other) > begin]
    line = source.line_of(begin)
    if source.text[line:begin].strip():  # behind a dash: the next one moves up
        if COMMENT.search(source.text[end : min(after)]):
            raise ValueError("a comment in what is replaced")
        return begin, min(after), ""
    return source.with_comments(line), next_line(source.text, end - 1), ""


def _entry(name: str, value: Json, column: int) -> str:
    """A name and its value: in a block at that column, or in one line (-1)."""
    if column < 0 or not isinstance(value, dict | list) or not value:
        return f"{name}: {inline(value)}"
    from groundplane.core import goyaml

    by = column + (2 if isinstance(value, dict) else 0)
    return f"{name}:\n{indented(goyaml.dumps(value), by)}".rstrip("\n")


def _item(value: Json, column: int) -> str:
    """An element of a list in a block, its dash at that column."""
    from groundplane.core import goyaml

    lines = indented(goyaml.dumps(value), column + 2) if isinstance(value, dict) and value else f"{inline(value)}\n"
    return f"{' ' * column}- {lines.lstrip(' ')}"


def next_line(text: str, offset: int) -> int:
    found = text.find("\n", offset)
    return len(text) if found < 0 else found + 1


def inline(value: Json) -> str:
    """A value in one line: plain words as they are, other scalars as JSON, which is YAML.

    >>> inline({"name": "x", "list": ["a b", 1]})
    '{name: x, list: ["a b", 1]}'
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inline(name)}: {inline(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value):
        loaded = yaml.load(value, Loader=manifests.Loader)
        return value if loaded == value else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


def applied(text: str, edits: Sequence[Edit]) -> str:
    """The text with the edits; they may not overlap."""
    for begin, end, instead in sorted(edits, reverse=True):
        text = text[:begin] + instead + text[end:]
    return text


def indented(text: str, by: int) -> str:
    """A block of lines, further in, or further out."""
    lines = text.splitlines(keepends=True)
    if by >= 0:
        return "".join(" " * by + line if line.strip() else line for line in lines)
    return "".join(line[min(-by, len(line) - len(line.lstrip(" "))) :] for line in lines)


# --- documents -----------------------------------------------------------------------------------------------


def documents(text: str) -> list[str]:
    """The documents of a text, each with the --- above it."""
    starts = [found.start() for found in _MARK.finditer(text)]
    bounds = sorted({0, *starts, len(text)})
    return [text[begin:end] for begin, end in pairwise(bounds) if text[begin:end]]


def split_mark(part: str) -> tuple[str, str]:
    """The --- above a document, with its line, and the document."""
    if not _MARK.match(part):
        return "", part
    first, newline, rest = part.partition("\n")
    return (
        (first + newline, rest)
        if not first[3:].strip() or first[3:].strip().startswith("#")
        else ("---\n", first[3:] + newline + rest)
    )


def comments(text: str) -> str:
    """The comments of a text that says nothing, each in a line of its own.

    >>> comments("--- # one\\n%YAML 1.1\\n  # two\\nnull\\n")
    '# one\\n# two\\n'
    """
    found = (COMMENT.search(line) for line in text.split("\n"))
    return "".join(f"{each.string[each.end() - 1 :]}\n" for each in found if each)
