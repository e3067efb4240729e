"""The parts of a parsed template, and how Go writes each in an error.

Source: Go 1.26 `text/template/parse/node.go`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Branching = Literal["if", "with", "range"]


@dataclass(slots=True)
class Dot:
    position: int

    def __str__(self) -> str:
        return "."


@dataclass(slots=True)
class Nil:
    position: int

    def __str__(self) -> str:
        return "nil"


@dataclass(slots=True)
class Bool:
    position: int
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(slots=True)
class Number:
    """A number; which of these it can be, it is used as.  None: it can't."""

    position: int
    text: str
    integer: int | None = None
    unsigned: int | None = None
    float: float | None = None
    complex: complex | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True)
class String:
    position: int
    written: str
    value: str

    def __str__(self) -> str:
        return self.written


@dataclass(slots=True)
class Identifier:
    """The name of a function."""

    position: int
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True)
class Field:
    """Names to follow, from dot on."""

    position: int
    names: list[str]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(slots=True)
class Variable:
    """A variable, with its dollar sign, and names to follow from it on."""

    position: int
    name: str
    names: list[str]

    def __str__(self) -> str:
        return ".".join([self.name, *self.names])


@dataclass(slots=True)
class Chain:
    """Names to follow, from what a pipeline in parentheses or a function gives."""

    position: int
    node: Operand
    names: list[str]

    def __str__(self) -> str:
        start = f"({self.node})" if isinstance(self.node, Pipeline) else str(self.node)
        return start + "".join(f".{name}" for name in self.names)


@dataclass(slots=True)
class Command:
    """An operand, or a function and its operands."""

    position: int
    arguments: list[Operand]

    def __str__(self) -> str:
        return " ".join(f"({each})" if isinstance(each, Pipeline) else str(each) for each in self.arguments)


@dataclass(slots=True)
class Pipeline:
    position: int
    declared: list[Variable] = field(default_factory=list)
    assigns: bool = False
    commands: list[Command] = field(default_factory=list)

    def __str__(self) -> str:
        start = ""
        if self.declared:
            start = ", ".join(map(str, self.declared)) + (" = " if self.assigns else " := ")
        return start + " | ".join(map(str, self.commands))


Operand: TypeAlias = Dot | Nil | Bool | Number | String | Identifier | Field | Variable | Chain | Pipeline


@dataclass(slots=True)
class Text:
    position: int
    text: str


@dataclass(slots=True)
class Action:
    position: int
    pipeline: Pipeline

    def __str__(self) -> str:
        return f"{{{{{self.pipeline}}}}}"


@dataclass(slots=True)
class Branch:
    """An if, a with or a range."""

    position: int
    word: Branching
    pipeline: Pipeline
    body: list[Node]
    otherwise: list[Node] | None = None

    def __str__(self) -> str:
        return f"{{{{{self.word} {self.pipeline}}}}}"


@dataclass(slots=True)
class Jump:
    position: int
    word: Literal["break", "continue"]


@dataclass(slots=True)
class Template:
    """The call of a template."""

    position: int
    name: str
    pipeline: Pipeline | None

    def __str__(self) -> str:
        from groundplane.core.gotemplate.lexer import quoted

        return f"{{{{template {quoted(self.name)}{f' {self.pipeline}' if self.pipeline else ''}}}}}"


Node: TypeAlias = Text | Action | Branch | Jump | Template
