"""Go's text/template: text with actions, rendered from data.

Source: Go 1.26 `text/template`, sprig v3.3, function-go-templating v0.12.  A template is compiled once and rendered any number of times; it sees
what it is given, and nothing of the machine.  What it may do is bounded: see `run`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from groundplane.core.gotemplate.builtins import BUILTINS
from groundplane.core.gotemplate.evaluate import MissingKey, Program
from groundplane.core.gotemplate.mistakes import ParseError, Source, Unfinished
from groundplane.core.gotemplate.parser import parse
from groundplane.core.gotemplate.run import Run
from groundplane.core.gotemplate.values import Function
from groundplane.errors import InvalidInput, did_you_mean

MAX_SOURCE = 1 << 20  # characters of a template

_OPTIONS: Mapping[str, MissingKey] = {
    "missingkey=default": "default",
    "missingkey=invalid": "default",
    "missingkey=zero": "zero",
    "missingkey=error": "error",
}


def _now() -> datetime:
    return datetime.now(UTC)


class Template:
    """A compiled template."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def render(
        self,
        data: Any,
        *,
        now: Callable[[], datetime] = _now,
        random: Callable[[int], bytes] = secrets.token_bytes,
        is_brief: bool = False,
        pause: Callable[[], None] | None = None,
        valueless: list[str] | None = None,
    ) -> str:
        """The output.  `data` is changed where the template changes it.  `pause` lets others work.  `valueless` is told which actions wrote `<no value>`.

        Raises:
            ExecutionError: it can't be rendered from this; with line, column and mend.
            Unfinished: it was to be brief, and takes longer.
        """
        run = Run(now, random, is_brief=is_brief, pause=pause)
        text = self._program.render(run, data)
        if valueless is not None:
            lines = sorted(run.valueless.items())
            valueless += [f"{self._program.source.place(position)} {shown}" for position, shown in lines]
        return text

    @property
    def source(self) -> str:
        """The text that it was compiled from."""
        return self._program.source.text

    @property
    def used(self) -> frozenset[str]:
        """The names of the functions that occur in it."""
        return frozenset(self._program.used)


__all__ = ["Template", "Unfinished", "compile", "options_problem"]


def options_problem(options: Sequence[str]) -> tuple[str, str]:
    """What is wrong with options, and the mend; "" if nothing is."""
    for option in options:
        if option not in _OPTIONS:
            return f"unrecognized option: {option}", did_you_mean(option, _OPTIONS)
    return "", ""


def compile(
    text: str,
    *,
    name: str = "template",
    functions: Mapping[str, Function] | None = None,
    delims: tuple[str, str] = ("", ""),
    options: Sequence[str] = (),
) -> Template:
    """Compile a template; without `functions` it has the language's own.

    >>> compile('{{ range .names }}{{ . | printf "%q " }}{{ end }}').render({"names": ["a", "b"]})
    '"a" "b" '

    Raises:
        ParseError: with line and column.
    """
    problem, mend = options_problem(options)
    if problem:
        raise InvalidInput(problem, mend=mend)
    source = Source(name, text)
    if len(text) > MAX_SOURCE:
        raise ParseError(f"template: {name}: it has more than {MAX_SOURCE} characters", mend="split it into several")
    known = {**BUILTINS, **(functions or {})}
    missing: MissingKey = "default"
    for option in options:
        missing = _OPTIONS[option]
    return Template(Program(source, parse(source, known, *delims), known, missing))
