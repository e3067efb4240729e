"""What is taken and does not do what it seems to: told in a condition while it is so, and once in an event."""

from __future__ import annotations

from collections.abc import Sequence

from groundplane.core import conditions
from groundplane.core.conditions import Condition
from groundplane.core.objects import Object
from groundplane.ports import Context

READ = "FieldsRead"  # our condition on definitions and Compositions: whether all that they say is read


def told(
    found: Object, type_: str, problems: Sequence[str], reasons: tuple[str, str], context: Context, source: str
) -> list[Condition]:
    """The condition for these problems; `reasons` are those of well and of wrong.  Nothing, as long as nothing was wrong."""
    before = conditions.find(found, type_) or {}
    well, wrong = reasons
    if not problems:
        return [Condition(type_, "True", well)] if before else []
    text = "; ".join(problems)
    if before.get("message") != text:
        context.events.event(found, "Warning", wrong, text, source=source)
    return [Condition(type_, "False", wrong, text)]


def unread(found: Object, problems: Sequence[str], context: Context, source: str) -> list[Condition]:
    """The condition for fields that nothing reads."""
    return told(found, READ, problems, ("AllFieldsRead", "FieldsNotRead"), context, source)
