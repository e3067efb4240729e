"""How `groundplane plan` tells what would be done: as text for people, as JSON, or as Markdown for a pull request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from groundplane.core import goyaml, providers
from groundplane.core.plan import IMMUTABLE, LATER, OUTSIDE, PAUSED, SENSITIVE, SIGNS, Field, Step
from groundplane.core.plan import Action as Action
from groundplane.errors import shown

if TYPE_CHECKING:
    from groundplane.core.plan import Plan

FEW = 5  # paused resources that are named
ALIKE = 3  # steps with the same change in each that are told as one
COLOURS = {"+": "green", "-": "red", "~": "yellow", "!": "red", ".": "cyan", "?": "magenta"}
KNOWN = ("", IMMUTABLE)  # reasons that the fields tell


def write(plan: Plan, output: str, *, saved: str = "", verbose: bool = False, in_colour: bool = True) -> None:
    if output in ("json", "yaml"):
        record = plan.record()
        text = goyaml.dumps(record) if output == "yaml" else json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        click.echo(text, nl=False)
    elif output == "markdown":
        click.echo("\n".join(_markdown(plan, saved)))
    else:
        for line in text_of(plan, saved=saved, verbose=verbose):
            click.echo(_coloured(line) if in_colour else line)


def text_of(plan: Plan, *, saved: str = "", verbose: bool = False) -> Iterator[str]:
    """Blast radius first, then each step, then what was changed outside, then the sum."""
    if plan.is_empty:
        yield _nothing(plan)
        yield from _paused(plan)
        if saved:
            yield f"Saved: {saved}, valid 24 h"
        return
    yield "; ".join(_radius(plan))
    told = [step for step in plan.steps if step.action != "same" and not step.is_outside]
    groups = [[step] for step in told] if verbose else _groups(told)
    groups.sort(key=lambda group: list(SIGNS).index(group[0].action))
    width = max((len(_name(group[0])) for group in groups), default=0)
    for group in groups:
        yield from _block(group, width)
    for step in plan.steps:
        for each in step.changes:
            if each.source == OUTSIDE and step.action in ("change", "blocked"):
                yield f"Changed outside: {step.key.kind} {step.key.name} {_outside(each)}"
    yield from _paused(plan)
    counts = plan.summary
    sums = [
        f"{counts['add']} to add",
        f"{counts['change']} to change",
        f"{counts['destroy']} to destroy",
        f"{counts['blocked']} blocked",
        f"{counts['forget']} to forget",
        f"{counts['unknown']} unknown",
    ]
    yield f"Plan: {', '.join(sums)}." + (f"   Saved: {saved}, valid 24 h" if saved else "")


def _nothing(plan: Plan) -> str:
    if not plan.steps:
        return "No changes: this concerns no managed resource."
    seen = [step for step in plan.steps if step.reason != PAUSED]
    if not seen:
        return "No changes: all that this concerns is paused."
    titles = {title for step in seen if (title := _title(step))}
    count = len(seen)
    match = "matches" if count == 1 else "match"
    what = f"{match} {' and '.join(sorted(titles))}" if titles else ("is as wanted" if count == 1 else "are as wanted")
    if plan.asked.get("refresh") is False:
        what += " as last seen; nothing was looked at"
    return f"No changes. {count} {'resource' if count == 1 else 'resources'} {what}."


def _paused(plan: Plan) -> Iterator[str]:
    """What nobody has looked at, since nothing is done about it as long as it is paused."""
    names = [f"{step.key.kind} {step.key.name}" for step in plan.steps if step.reason == PAUSED]
    if names:
        few = ", ".join(sorted(names)[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
        yield f"Paused, and not looked at: {few}"


def _title(step: Step) -> str:
    family = providers.of(step.key.group)
    return family.title if family and family.version else ""


def _radius(plan: Plan) -> Iterator[str]:
    if plan.accounts or plan.regions:
        yield " ".join(filter(None, ("AWS", ", ".join(plan.accounts), ", ".join(plan.regions))))
    others = sorted({_title(step) for step in plan.steps} - {"", "AWS"})
    yield from others
    for each in plan.impact():
        blocked = each["blocked"]
        told = f"{each['changed']} of {each['total']} {each['kind']} change"
        yield told + (f", {blocked} {'is' if blocked == 1 else 'are'} blocked" if blocked else "")
    if plan.calls or not others:
        yield f"{plan.calls} {'call' if plan.calls == 1 else 'calls'}"


def _groups(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps with the same change in each are one, if there are many."""
    found: dict[Any, list[Step]] = {}
    for number, step in enumerate(steps):
        lines = tuple(line for each in _told(step) for line in _field(step, each))
        alike = step.action in ("change", "blocked", "unknown")
        kind = ("", "") if step.action == "unknown" else (step.key.group, step.key.kind)
        key: Any = (step.action, *kind, lines, step.reason) if alike else number
        found.setdefault(key, []).append(step)
    return [
        part for group in found.values() for part in ([group] if len(group) >= ALIKE else [[step] for step in group])
    ]


def _name(step: Step) -> str:
    return f"{SIGNS[step.action]} {step.key.kind} {step.key.name}"


def _block(group: Sequence[Step], width: int) -> Iterator[str]:
    step = group[0]
    owner = f"{step.owner}" if step.owner else ""
    place = " › ".join(filter(None, (owner, step.template)))
    yield f"{_name(step):<{width}}   ({place})" if place else _name(step)
    for each in _told(step):
        yield from _field(step, each)
    if step.reason not in KNOWN and step.action in ("unknown", "forget", "blocked"):
        yield f"    {step.reason}"
    if len(group) > 1:
        why = "for the same reason" if step.action == "unknown" else "the same change in each"
        yield f"    … and {len(group) - 1} more, {why} (-v lists)"


def _told(step: Step) -> list[Field]:
    return [each for each in step.changes if each.source != OUTSIDE or step.action == "blocked"]


def _field(step: Step, each: Field) -> Iterator[str]:
    if step.action == "add" and each.before is None:
        yield f"    {each.path}: {_value(each.after)}"
    elif step.action == "blocked" and each.kind == "immutable":
        what = step.owner.kind if step.owner else "one"
        why = f"   immutable in {_title(step)}. Mend: make a second {what} and move the data."
        why = why if step.reason in KNOWN else ""
        yield f"    {each.path}: {_value(each.before)} → {_value(each.after)}{why}"
    elif each.kind == "sensitive":
        yield f"    {each.path}: {_value(each.after)}" + (f"   {each.note}" if each.note else "")
    else:
        for path, before, after in _leaves(each.path, each.before, each.after):
            yield f"    {path}: {_value(before)} → {_value(after)}" + (f"   {each.note}" if each.note else "")


def _leaves(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """What differs inside of two values, as (path, before, after)."""
    if isinstance(before, dict) and isinstance(after, dict):
        inside = [
            (f"{path}.{name}", before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())
        ]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        inside = [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip(before, after, strict=True))]
    else:
        yield path, before, after
        return
    for name, was, becomes in inside:
        if was != becomes:
            yield from _leaves(name, was, becomes)


def _value(value: Any) -> str:
    if isinstance(value, str) and (value.startswith(LATER) or value == SENSITIVE):
        return value
    return "(unset)" if value is None else shown(value)


def _outside(each: Field) -> str:
    """What somebody did there, and what would be done about it."""
    name = each.path.removeprefix("spec.forProvider.")
    if isinstance(each.before, list) and isinstance(each.after, list):
        more = [_short(entry) for entry in each.before if entry not in each.after]
        less = [_short(entry) for entry in each.after if entry not in each.before]
        parts = [f"+ {entry} (would be removed)" for entry in more] + [
            f"- {entry} (would be put back)" for entry in less
        ]
        return f"{name} {', '.join(parts) or 'in another order'}"
    if each.after is None:
        return f"{name} + {_value(each.before)} (would be removed)"
    if each.before is None:
        return f"{name} - {_value(each.after)} (would be put back)"
    return f"{name} {_value(each.before)} (would be set to {_value(each.after)})"


def _short(entry: Any) -> str:
    """An entry of a list, in few words."""
    if isinstance(entry, dict):
        return " ".join(f"{name}={_short(value)}" for name, value in entry.items() if value not in (None, "", [], {}))
    if isinstance(entry, list):
        return ",".join(map(_short, entry))
    return str(entry)


def _markdown(plan: Plan, saved: str) -> Iterator[str]:
    """The sum as a heading, and all else below it."""
    lines = list(text_of(plan, saved=saved))
    total = lines.pop(0 if plan.is_empty else -1)
    yield f"### {total}"
    if lines:
        yield from ("", "```", *lines, "```")


def _coloured(line: str) -> str:
    colour = COLOURS.get(line[:1]) if line[1:2] == " " else None
    return click.style(line, fg=colour) if colour else line
