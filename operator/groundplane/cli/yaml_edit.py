"""Changes a YAML text so that it says something else, and keeps the comments, the order and the style of what stays.

Whoever asks for it must read the result again: a text that can't be changed so comes out wrong, or as None.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from groundplane.cli import manifests
from groundplane.core.objects import Json

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
        return min(self._starts[node.end_mark.line] + int(node.end_mark.column), len(self.text))

    def line_of(self, offset: int) -> int:
        """The beginning of the line that a place is on."""
        return self.text.rfind("\n", 0, offset) + 1


def changed(source: Source, node: yaml.Node, old: Json, new: Json) -> Iterator[Edit]:
    """What to change in a node's text so that it says `new`, where it says `old`."""
    if old == new and type(old) is type(new):
        return
    if isinstance(node, yaml.MappingNode) and isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _changed_mapping(source, node, old, new)
    elif (
        isinstance(node, yaml.SequenceNode)
        and isinstance(old, Sequence)
        and isinstance(new, Sequence)
        and len(old) == len(new)
    ):
        for child, before, after in zip(node.value, old, new, strict=True):
            yield from changed(source, child, before, after)
    else:
        yield source.begin(node), source.end(node), inline(new)


def _changed_mapping(
    source: Source, node: yaml.MappingNode, old: Mapping[str, Json], new: Mapping[str, Json]
) -> Iterator[Edit]:
    added = [name for name in new if name not in old]
    removed = [(key, value) for key, value in node.value if key.value not in new]
    for key, value in node.value:
        if key.value in new:
            yield from changed(source, value, old[key.value], new[key.value])
    for key, value in removed:
        if added:  # one takes the place of the other
            name = added.pop(0)
            yield source.begin(key), source.end(value), f"{name}: {inline(new[name])}"
        elif node.flow_style or len(node.value) == 1:
            yield source.begin(node), source.end(node), inline(new)
            return
        else:
            begin, end = source.begin(key), source.end(value)
            after = [source.begin(other) for other, _ in node.value if source.begin(other) > begin]
            yield (begin, min(after), "") if after else (source.line_of(begin), next_line(source.text, end), "")
    if added:
        begin = source.begin(node) + (1 if node.flow_style else 0)
        joint = ", " if node.flow_style else "\n" + " " * node.start_mark.column
        if node.flow_style and not node.value:
            joint = ""
        yield begin, begin, "".join(f"{name}: {inline(new[name])}{joint}" for name in added)


def next_line(text: str, offset: int) -> int:
    found = text.find("\n", offset)
    return len(text) if found < 0 else found + 1


def inline(value: Json) -> str:
    """A value in one line: plain words as they are, all else as JSON, which is YAML."""
    if isinstance(value, str) and value.replace("-", "").replace(".", "").isalnum() and not value[0].isdigit():
        loaded: Any = yaml.safe_load(value)
        if loaded == value:
            return value
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
