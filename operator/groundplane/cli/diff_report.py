"""How `groundplane diff` tells what would change: as crossplane-diff does, with equal changes told once."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import click

from groundplane.core import fieldpath, goyaml
from groundplane.core.explain import is_secret, masked_secret
from groundplane.core.naming import CLAIM_NAME_LABEL, COMPOSITE_LABEL, TEMPLATE_ANNOTATION
from groundplane.core.objects import (
    Json,
    Key,
    Object,
    annotations_of,
    controller_of,
    is_composite,
    labels_of,
    machinery_of,
    meta,
)
from groundplane.errors import GroundplaneError
from groundplane.runtime.overlay import Change, comparable

SIGNS = {"added": "+++", "removed": "---", "modified": "~~~"}
CONTEXT = 3  # lines around what changes, with --compact


@dataclass(frozen=True)
class Filtered:
    """A composite that was left out, and why."""

    key: Key
    why: str


@dataclass(frozen=True)
class Group:
    """Changes that are the same but for names."""

    change: Change
    lines: list[str]
    count: int = 1


@dataclass(frozen=True)
class Report:
    """What would change."""

    every: Sequence[Change]
    applied: Sequence[Key]  # what the files are
    objects: Mapping[Key, Object]  # all that there would be
    filtered: Sequence[Filtered]
    errors: Sequence[str]
    is_refused: bool = False
    ignored: tuple[str, ...] = ()
    chosen: frozenset[Key] | None = None  # the places of what is asked for; None: of everything

    def without(self, paths: Sequence[str]) -> Report:
        """The same, where changes of these fields do not count."""
        return replace(self, ignored=tuple(paths))

    @property
    def unmatched(self) -> list[str]:
        """The paths to ignore that no changed object has, before or after."""
        objects = [obj for each in self.every for obj in (each.old, each.new) if obj is not None]
        paths = [(text, fieldpath.parse(text)) for text in self.ignored] if objects else []
        return [text for text, path in paths if not any(_has(obj, path) for obj in objects)]

    @cached_property
    def changes(self) -> list[Change]:
        """What counts."""
        return [
            each for each in self.every if each.kind != "modified" or self._shown(each.old) != self._shown(each.new)
        ]

    @property
    def summary(self) -> Counter[str]:
        return Counter(each.kind for each in self.changes if each.key.kind != "Composition")

    def write(self, output: str, *, compact: bool, verbose: bool, minimize: bool, in_colour: bool) -> None:
        if output != "diff":
            record = self._record()
            text = goyaml.dumps(record) if output == "yaml" else json.dumps(record, indent=2, ensure_ascii=False) + "\n"
            click.echo(text, nl=False)
            return
        for line in self.text(compact=compact, verbose=verbose, minimize=minimize):
            click.echo(_coloured(line) if in_colour else line)

    # --- text ----------------------------------------------------------------------------------------------------

    def text(self, *, compact: bool, verbose: bool, minimize: bool = False) -> Iterator[str]:
        """`minimize`: of a Composition that is changed, only that it is."""
        if not self.changes and not self.filtered:
            if not self.errors:
                yield "No changes."
            return
        compositions = [each for each in self.changes if each.key.kind == "Composition"]
        others = [each for each in self.changes if each.key.kind != "Composition"]
        if compositions or any(key.kind == "Composition" for key in self.applied):
            yield "=== Composition Changes ==="
            yield ""
            for change in compositions:
                if minimize:
                    yield f"{SIGNS[change.kind]} {change.key.kind}/{change.key.name}  …"
                else:
                    yield from self._block(change, self._lines(change, compact=compact))
            if not compositions:
                yield "No changes."
            yield ""
            yield "=== Affected Composite Resources ==="
            yield ""
            yield from self._affected(verbose=verbose)
            yield ""
            yield "=== Impact Analysis ==="
            yield ""
        if verbose:
            groups = [Group(change, self._lines(change, compact=compact)) for change in others]
        else:
            groups = self._groups(others, compact=compact)
        for group in groups:
            yield from self._block(group.change, group.lines, count=group.count)
        counts = self.summary
        words = [f"{counts[kind]} {kind}" for kind in ("added", "modified", "removed") if counts[kind]]
        beside = " beside the Composition" if compositions else ""
        yield f"Summary: {', '.join(words) or f'no changes{beside}'}"

    def _block(self, change: Change, lines: list[str], *, count: int = 1) -> Iterator[str]:
        name = f"{change.key.kind}/{change.key.name}"
        if count > 1:
            owner = (controller_of(change.new or change.old or {}) or {}).get("kind", "")
            name = f"{change.key.kind}  of {count} {owner or 'objects'}, the same change in each"
        yield f"{SIGNS[change.kind]} {name}{' (local)' if change.local else ''}"
        yield from lines
        yield "---"

    def _affected(self, *, verbose: bool) -> Iterator[str]:
        """The composites that a change reaches, those that it does not, and those that were left out."""
        changed = {self._root(each) for each in self.changes} - {None}
        left_out = {each.key: each.why for each in self.filtered}
        used = {key.name for key in self.applied if key.kind == "Composition"}
        users = [key for key, obj in self.objects.items() if _composition_of(obj) in used and is_composite(obj)]
        counts: dict[tuple[str, str], list[Key]] = {}
        others = Counter(key.kind for key in users if self.chosen is not None and key.place not in self.chosen)
        users = [key for key in users if self.chosen is None or key.place in self.chosen]
        for key in users:
            sign = "⊘" if key in left_out else "⚠" if (key.kind, key.name) in changed else "✓"
            counts.setdefault((sign, key.kind), []).append(key)
        for (sign, kind), keys in sorted(counts.items(), key=lambda each: ("⚠✓⊘".index(each[0][0]), each[0][1])):
            if sign == "⊘" or verbose or len(keys) == 1:
                for key in keys:
                    place = f" (namespace: {key.namespace})" if key.namespace else " (cluster-scoped)"
                    why = f" — filtered: {left_out[key]}" if sign == "⊘" else ""
                    yield f"  {sign} {kind}/{key.name}{place}{why}"
            else:
                yield f"  {sign} {len(keys)} {kind}{' (-v lists)' if sign == '⚠' else ''}"
        for kind, count in sorted(others.items()):
            yield f"  ⊘ {count} {kind} — not asked for (--namespace, --resource)"
        if not users and not others:
            yield "  No composite uses it."

    def _root(self, change: Change) -> tuple[str, str] | None:
        """The composite that a changed object is, or belongs to."""
        obj = change.new or change.old or {}
        if is_composite(obj):
            return (change.key.kind, change.key.name)
        owner = controller_of(obj)
        return (owner["kind"], owner["name"]) if owner else None

    def _groups(self, changes: Sequence[Change], *, compact: bool) -> list[Group]:
        """Modifications with the same lines, but for names, are one; each addition and removal is by itself."""
        found: dict[Any, Group] = {}
        for number, change in enumerate(changes):
            lines = self._lines(change, compact=compact)
            differing = tuple(_nameless(line, change) for line in lines if line[:1] in "+-")
            template = annotations_of(change.new or {}).get(TEMPLATE_ANNOTATION, "")
            key: Any = (change.key.kind, template, differing) if change.kind == "modified" else number
            if key in found:
                found[key] = replace(
                    found[key],
                    count=found[key].count + 1,
                    lines=[line for line in found[key].lines if line[:1] in "+-"],
                )
            else:
                found[key] = Group(change, lines)
        return list(found.values())

    def _lines(self, change: Change, *, compact: bool) -> list[str]:
        """The object as YAML, each line with its sign in front."""
        if change.kind != "modified":
            sign = "+" if change.kind == "added" else "-"
            return [f"{sign} {line}" for line in self._yaml(change.new or change.old)]
        old, new = self._yaml(change.old), self._yaml(change.new)
        context = CONTEXT if compact else max(len(old), len(new))
        lines = list(difflib.unified_diff(old, new, n=context, lineterm=""))[2:]
        return [
            "..." if line.startswith("@@") else f"{line[0]} {line[1:]}"
            for line in lines
            if compact or not line.startswith("@@")
        ]

    def _yaml(self, obj: Object | None) -> list[str]:
        return goyaml.dumps(self._shown(obj)).splitlines() if obj else []

    def _shown(self, obj: Object | None) -> Object:
        """What is compared and told: no value of a Secret, nothing that each write changes."""
        if obj is None:
            return {}
        found: Object = fieldpath.copied(comparable(obj))
        found["metadata"].pop("ownerReferences", None)
        if is_secret(obj):
            found = masked_secret(found)
        for text in self.ignored:
            try:
                fieldpath.delete(found, fieldpath.parse(text))
            except GroundplaneError:
                continue  # it is not there
        return found

    # --- JSON ----------------------------------------------------------------------------------------------------

    def _record(self) -> dict[str, Json]:
        counts = self.summary
        changes: list[Json] = [
            {
                "type": each.kind,
                "apiVersion": each.key.api_version,
                "kind": each.key.kind,
                "name": each.key.name,
                "namespace": each.key.namespace,
                "diff": {
                    **({"old": self._shown(each.old)} if each.old else {}),
                    **({"new": self._shown(each.new)} if each.new else {}),
                },
                **({"local": True} if each.local else {}),
            }
            for each in self.changes
        ]
        groups: list[Json] = [
            {
                "kind": group.change.key.kind,
                "count": group.count,
                "lines": [line for line in group.lines if line[:1] in "+-"],
            }
            for group in self._groups(self.changes, compact=True)
            if group.count > 1
        ]
        return {
            "summary": {kind: counts[kind] for kind in ("added", "modified", "removed")},
            "changes": changes,
            "groups": groups,
            "filtered": [{"kind": each.key.kind, "name": each.key.name, "reason": each.why} for each in self.filtered],
            "errors": [{"message": error} for error in self.errors],
        }


def _composition_of(obj: Object) -> str:
    reference = machinery_of(obj).get("compositionRef")
    return str(reference.get("name") or "") if isinstance(reference, dict) else ""


def _nameless(line: str, change: Change) -> str:
    """A line without the names that are the object's own."""
    obj = change.new or change.old or {}
    labels = labels_of(obj)
    names = {
        change.key.name,
        labels.get(COMPOSITE_LABEL, ""),
        labels.get(CLAIM_NAME_LABEL, ""),
        meta(obj).get("uid", ""),
    }
    for name in sorted(names - {""}, key=len, reverse=True):
        line = re.sub(rf"(?<![\w-]){re.escape(name)}", "*", line)
    return line


def _coloured(line: str) -> str:
    """Of a change, in the colours that everybody knows; click takes them out where there is no terminal."""
    if line.startswith(("+ ", "+++")):
        return click.style(line, fg="green")
    if line.startswith(("- ", "--- ")):
        return click.style(line, fg="red")
    if line.startswith("~~~"):
        return click.style(line, fg="yellow")
    return line


def _has(obj: Object, path: fieldpath.Path) -> bool:
    try:
        return fieldpath.find(obj, path) is not fieldpath.MISSING
    except GroundplaneError:
        return False  # a value on the way is of another kind
