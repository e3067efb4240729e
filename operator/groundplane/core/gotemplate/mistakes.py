"""What is wrong with a template, where in it, and the mend."""

from __future__ import annotations

from typing import NamedTuple

from groundplane.errors import InvalidInput

LONGEST = 2_000  # characters of an error: one that passed many templates names the innermost


class Source(NamedTuple):
    """The text of a template, and the name that errors call it by."""

    name: str
    text: str

    def place(self, position: int) -> str:
        """Name, line and column, as Go counts them: lines from 1, columns from 0 and in bytes."""
        before = self.text[:position]
        start = before.rfind("\n") + 1
        column = len(before[start:].encode("utf-8", "surrogateescape"))
        return f"{self.name}:{before.count(chr(10)) + 1}:{column}"


class ParseError(InvalidInput):
    """A template that can't be read."""


class ExecutionError(InvalidInput):
    """A template that can't be rendered from what it was given."""


class Failure(Exception):
    """What a function can't do; whoever calls it adds the place."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


class Exhausted(Failure):
    """A bound was reached."""


class Unfinished(Exception):
    """A rendering that was to be brief takes longer."""


def executing(source: Source, position: int, template: str, context: str, what: str, mend: str = "") -> ExecutionError:
    """The error of a node of a template that was being rendered."""
    if len(context) > LONGEST // 8:
        context = f"{context[: LONGEST // 8]}…"
    place = f'template: {source.place(position)}: executing "{template}" at <{context}>: '
    if len(place) + len(what) > LONGEST:
        what = what[: LONGEST // 4] + " … " + what[-LONGEST // 2 :]
    return ExecutionError(place + what, mend=mend)
