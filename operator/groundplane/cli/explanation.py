"""What `render --explain` prints: each patch's input, steps and output, as comments in front of the YAML."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import IO

from groundplane.core.explain import Told
from groundplane.errors import shown

Line = list[tuple[str, str]]  # (text, style) one after the other
COLUMN = 8  # characters: the widest of our own words


def lines(told: Iterable[Told]) -> Iterator[Line]:
    """The explanation, one patch after the other under the resource that it belongs to."""
    holder: tuple[str, ...] = ()
    for each in told:
        if each.place[:-1] != holder:
            holder = each.place[:-1]
            yield [(" › ".join(holder), "bold")]
        yield [*_head(each)]
        for path, value in each.inputs:
            yield [("    input".ljust(COLUMN + 4), "dim"), (f"{path} = {shown(value)}", "")]
        for what, value in each.steps:
            yield [(f"    {what}".ljust(COLUMN + 4), "dim"), (f" → {shown(value)}", "cyan")]
        for path, value in each.written:
            yield [("    output".ljust(COLUMN + 4), "dim"), (f"{path} = {shown(value)}", "green")]
        if each.skipped:
            yield [("    skipped".ljust(COLUMN + 4), "dim"), (each.skipped, "yellow")]
        if each.error:
            yield [("    failed".ljust(COLUMN + 4), "dim"), (each.error, "red")]


def _head(told: Told) -> Iterator[tuple[str, str]]:
    target = told.target or '""'
    yield f"  {told.place[-1]}  ", "bold"
    yield f"{', '.join(told.sources)} → {target}", ""
    if told.policy:
        yield f"  ({told.policy})", "dim"


def write(told: Iterable[Told], file: IO[str] | None = None) -> None:
    """Print the explanation; in colour only if that is a terminal."""
    target = file or sys.stdout
    if target.isatty():
        from rich.console import Console
        from rich.text import Text

        console = Console(file=target, highlight=False, soft_wrap=True)
        for line in lines(told):
            console.print(Text.assemble(("# ", "dim"), *line))
        return
    for line in lines(told):
        target.write(f"# {''.join(text for text, _ in line)}\n")
