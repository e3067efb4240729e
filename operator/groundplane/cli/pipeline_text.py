"""A Composition's text in mode Pipeline: its templates are moved as they were written, with their comments."""

from __future__ import annotations

import yaml

from groundplane.cli import yaml_edit
from groundplane.cli.yaml_edit import Edit, Source
from groundplane.core.objects import Object

MOVED = ("patchSets", "resources")


def converted(text: str, before: Object, after: Object) -> str | None:
    """The text of `before`, so that it says `after`; None if that can't be done by moving blocks."""
    try:
        made = _converted(Source(text), before, after)
        loaded = yaml.load(made, Loader=_loader()) if made is not None else None
    except (yaml.YAMLError, ValueError, KeyError, IndexError):
        return None
    return made if loaded == after else None


def _loader() -> type:
    from groundplane.cli.manifests import Loader

    return Loader


def _converted(source: Source, before: Object, after: Object) -> str | None:
    spec = next((value for key, value in source.root.value if key.value == "spec"), None)
    steps = after["spec"].get("pipeline")
    if not isinstance(spec, yaml.MappingNode) or spec.flow_style or len(steps) != 1:
        return None
    entries = [(key, value) for key, value in spec.value]
    kept = {key.value for key, _ in entries} - {*MOVED, "mode"}
    if kept != set(after["spec"]) - {"mode", "pipeline"}:
        return None  # an environment was moved
    column = spec.start_mark.column
    given = steps[0]["input"]
    blocks: dict[str, str] = {}
    edits: list[Edit] = []
    for index, (key, value) in enumerate(entries):
        begin, end = _lines(source, entries, index)
        if key.value in MOVED:
            inside = [
                (start - begin, stop - begin, instead)
                for start, stop, instead in yaml_edit.changed(
                    source, value, before["spec"][key.value], given[key.value]
                )
            ]
            blocks[key.value] = yaml_edit.applied(source.text[begin:end], inside)
            edits.append((begin, end, ""))
        elif key.value == "mode":
            edits.append((source.begin(value), source.end(value), "Pipeline"))
    head = "" if any(key.value == "mode" for key, _ in entries) else f"{' ' * column}mode: Pipeline\n"
    step = steps[0]
    lines = [
        "pipeline:",
        f"- step: {step['step']}",
        "  functionRef:",
        f"    name: {yaml_edit.inline(step['functionRef']['name'])}",
        "  input:",
        *(f"    {name}: {given[name]}" for name in ("apiVersion", "kind")),
    ]
    tail = head + "".join(f"{' ' * column}{line}\n" for line in lines)
    moved = "".join(_ended(yaml_edit.indented(blocks[key.value], 4)) for key, _ in entries if key.value in MOVED)
    where = _lines(source, entries, len(entries) - 1)[1]
    before_it = source.text[:where]
    joint = "" if before_it.endswith("\n") else "\n"
    return yaml_edit.applied(source.text, [*edits, (where, where, joint + tail + moved)])


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _lines(source: Source, entries: list[tuple[yaml.Node, yaml.Node]], index: int) -> tuple[int, int]:
    """From the first line of an entry, comments right above it included, to the first of the next."""
    begin = source.with_comments(source.line_of(source.begin(entries[index][0])))
    if index + 1 < len(entries):
        return begin, source.with_comments(source.line_of(source.begin(entries[index + 1][0])))
    return begin, yaml_edit.next_line(source.text, source.end(entries[index][1]) - 1)
