"""Tokens → the parts of templates, with Go's rules and complaints.

Source: Go 1.26 `text/template/parse/parse.go`.  One departure: nesting is bounded by what a person can read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from groundplane.core.fieldpath import INT64_MAX, INT64_MIN
from groundplane.core.gotemplate import lexer, nodes
from groundplane.core.gotemplate.lexer import Kind, Token, quoted
from groundplane.core.gotemplate.mistakes import ParseError, Source
from groundplane.core.gotemplate.nodes import Node, Operand
from groundplane.errors import did_you_mean, nearest

MAX_NESTING = 200  # parentheses and blocks in one another
_UINT64_MAX = 2**64 - 1

# Functions that authors know from elsewhere, and what they can write instead.
ELSEWHERE: Mapping[str, str] = {
    "required": 'it is Helm\'s: write {{ if not X }}{{ fail "…" }}{{ end }}',
    "tpl": "it is Helm's: define the template, and use include",
    "lookup": "it is Helm's: ask for the object with a document of kind ExtraResources",
    "env": "the environment of the operator is nobody's business: take the value from the composite or an EnvironmentConfig",
    "expandenv": "the environment of the operator is nobody's business: take the value from the composite or an EnvironmentConfig",
    "fromYamlArray": "fromYaml reads lists, too",
    "fromJsonArray": "fromJson reads lists, too",
    "toToml": "it is Helm's: use toYaml or toJson",
    "elif": "write else if",
    "elseif": "write else if",
}


@dataclass(slots=True)
class Parsed:
    """A template: what it consists of, and the name of each variable's slot is the variable's."""

    name: str
    body: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class _Else:
    word: str  # what follows: "if", "with" or nothing

    def __str__(self) -> str:
        return "{{else}}"


@dataclass(slots=True)
class _End:
    def __str__(self) -> str:
        return "{{end}}"


def parse(source: Source, functions: Collection[str], left: str = "", right: str = "") -> dict[str, Parsed]:
    """The templates of a text by name, the text's own among them.

    Raises:
        ParseError: with line and column.
    """
    return _Parser(source, functions, lexer.tokens(source.text, left, right), right or lexer.RIGHT).run()


def _is_empty(body: list[Node]) -> bool:
    return all(isinstance(node, nodes.Text) and not node.text.strip() for node in body)


class _Parser:
    def __init__(self, source: Source, functions: Collection[str], tokens: list[Token], right: str) -> None:
        self.source = source
        self.right = right
        self.functions = functions
        self.tokens = tokens
        self.index = 0
        self.variables = ["$"]
        self.loops = 0
        self.depth = 0
        self.started: int | None = None  # the position of the action at hand
        self.templates: dict[str, Parsed] = {}

    # --- tokens ---

    def next(self) -> Token:
        token = self.tokens[self.index]
        if self.index < len(self.tokens) - 1:
            self.index += 1
        return token

    def peek(self) -> Token:
        return self.tokens[self.index]

    def next_solid(self) -> Token:
        """The next token that is no space."""
        self.peek_solid()
        return self.next()

    def peek_solid(self) -> Token:
        while self.tokens[self.index].kind is Kind.SPACE:
            self.index += 1
        return self.tokens[self.index]

    def is_word(self, token: Token, *words: str) -> bool:
        return token.kind is Kind.KEYWORD and token.text in words

    def expect(self, kind: Kind, context: str) -> Token:
        token = self.next_solid()
        if token.kind is not kind:
            self.unexpected(token, context)
        return token

    def unexpected(self, token: Token, context: str) -> NoReturn:
        mend = self.unclosed(token)
        if token.kind is not Kind.ERROR:
            self.fail(f"unexpected {token} in {context}", token.position, mend)
        extra = ""
        started = self.source.text.count("\n", 0, self.started) if self.started is not None else 0
        if self.started is not None and started != self.source.text.count("\n", 0, token.position):
            extra = f" in action started at {self.source.name}:{started + 1}"
            extra = extra.removeprefix(" in action") if token.text.endswith(" action") else extra
        self.fail(f"{token}{extra}", token.position, mend)

    def unclosed(self, token: Token) -> str:
        """What to do about a token that an action meets most likely because it is not closed: a brace, or one of a later line."""
        if self.started is None:
            return ""
        begun, met = (self.source.text.count("\n", 0, position) + 1 for position in (self.started, token.position))
        is_brace = token.kind is Kind.OTHER and token.text in ("{", "}")
        if not is_brace and begun == met and token.text != "unclosed action":
            return ""
        return f"close the action of line {begun} with {self.right}"

    def fail(self, what: str, position: int | None = None, mend: str = "") -> NoReturn:
        at = self.peek().position if position is None else position
        raise ParseError(f"template: {self.source.place(at)}: {what}", mend=mend)

    @contextmanager
    def nested(self) -> Iterator[None]:
        self.depth += 1
        if self.depth > MAX_NESTING:
            self.fail(
                f"blocks and parentheses are nested more than {MAX_NESTING} deep",
                mend="define templates for the inner ones",
            )
        yield
        self.depth -= 1

    # --- templates ---

    def run(self) -> dict[str, Parsed]:
        body: list[Node] = []
        while self.peek().kind is not Kind.END:
            if self.peek().kind is Kind.LEFT:
                start = self.index
                self.next()
                if self.is_word(self.next_solid(), "define"):
                    self.definition()
                    continue
                self.index = start
            node = self.text_or_action()
            if isinstance(node, _Else | _End):
                self.fail(f"unexpected {node}", self.started)
            body.append(node)
        self.add(Parsed(self.source.name, body))
        return self.templates

    def add(self, parsed: Parsed) -> None:
        known = self.templates.get(parsed.name)
        if known is None or _is_empty(known.body):
            self.templates[parsed.name] = parsed
        elif not _is_empty(parsed.body):
            self.fail(f"template: multiple definition of template {quoted(parsed.name)}", mend="rename one of them")

    def definition(self) -> None:
        context = "define clause"
        token = self.next_solid()
        if token.kind not in (Kind.STRING, Kind.RAW_STRING):
            self.unexpected(token, context)
        name = self.unquoted(token)
        self.expect(Kind.RIGHT, context)
        self.add(Parsed(name, self.separate(context)))

    def separate(self, context: str) -> list[Node]:
        """The body of a template of its own: it sees no variables of others."""
        variables, loops = self.variables, self.loops
        self.variables, self.loops = ["$"], 0
        body, end = self.items()
        if not isinstance(end, _End):
            self.fail(f"unexpected {end} in {context}")
        self.variables, self.loops = variables, loops
        return body

    def items(self) -> tuple[list[Node], _Else | _End]:
        """Everything up to an else or end."""
        body: list[Node] = []
        with self.nested():
            while self.peek_solid().kind is not Kind.END:
                node = self.text_or_action()
                if isinstance(node, _Else | _End):
                    return body, node
                body.append(node)
        self.fail("unexpected EOF", mend="give each if, with, range, define and block its {{ end }}")
        return None

    def text_or_action(self) -> Node | _Else | _End:
        token = self.next_solid()
        if token.kind is Kind.TEXT:
            return nodes.Text(token.position, token.text)
        if token.kind is Kind.LEFT:
            self.started = token.position
            node = self.action()
            if not isinstance(node, _Else | _End):
                self.started = None
            return node
        self.unexpected(token, "input")
        return None

    # --- actions ---

    def action(self) -> Node | _Else | _End:
        token = self.peek_solid()
        is_keyword = token.kind is Kind.KEYWORD
        match token.text if is_keyword else "":
            case "block":
                return self.block()
            case "break" | "continue":
                return self.jump()
            case "else":
                return self.otherwise()
            case "end":
                self.next()
                self.expect(Kind.RIGHT, "end")
                return _End()
            case "if" | "with" | "range":
                self.next()
                return self.branch(token)
            case "template":
                return self.call()
        return nodes.Action(token.position, self.pipeline("command", Kind.RIGHT))

    def jump(self) -> nodes.Jump:
        token = self.next()
        after = self.next_solid()
        if after.kind is not Kind.RIGHT:
            self.unexpected(after, f"{{{{{token.text}}}}}")
        if not self.loops:
            self.fail(f"{{{{{token.text}}}}} outside {{{{range}}}}", token.position)
        return nodes.Jump(token.position, "break" if token.text == "break" else "continue")

    def otherwise(self) -> _Else:
        self.next()
        following = self.peek_solid()
        if self.is_word(following, "if", "with"):
            return _Else(following.text)
        self.expect(Kind.RIGHT, "else")
        return _Else("")

    def branch(self, token: Token) -> nodes.Branch:
        word = token.text
        known = len(self.variables)
        pipeline = self.pipeline(word, Kind.RIGHT)
        self.loops += word == "range"
        body, end = self.items()
        self.loops -= word == "range"
        otherwise: list[Node] | None = None
        if isinstance(end, _Else):
            if end.word and end.word == word and word != "range":
                following = self.next_solid()
                with self.nested():
                    otherwise = [self.branch(following)]
            else:
                otherwise, end = self.items()
                if not isinstance(end, _End):
                    self.fail(f"expected end; found {end}")
        del self.variables[known:]
        kind: nodes.Branching = "if" if word == "if" else "with" if word == "with" else "range"
        return nodes.Branch(token.position, kind, pipeline, body, otherwise)

    def block(self) -> nodes.Template:
        context = "block clause"
        token = self.next()
        name = self.template_name(context)
        pipeline = self.pipeline(context, Kind.RIGHT)
        self.add(Parsed(name, self.separate(context)))
        return nodes.Template(token.position, name, pipeline)

    def call(self) -> nodes.Template:
        context = "template clause"
        self.next()
        position = self.peek_solid().position
        name = self.template_name(context)
        pipeline = None
        if self.peek_solid().kind is Kind.RIGHT:
            self.next()
        else:
            pipeline = self.pipeline(context, Kind.RIGHT)
        return nodes.Template(position, name, pipeline)

    def template_name(self, context: str) -> str:
        token = self.next_solid()
        if token.kind not in (Kind.STRING, Kind.RAW_STRING):
            self.unexpected(token, context)
        return self.unquoted(token)

    # --- pipelines ---

    def pipeline(self, context: str, end: Kind) -> nodes.Pipeline:
        pipeline = nodes.Pipeline(self.peek_solid().position)
        self.declarations(pipeline, context)
        while True:
            token = self.next_solid()
            if token.kind is end:
                break
            if token.kind not in _OPERANDS and not self.is_word(token, "nil"):
                self.unexpected(token, context)
            self.index -= 1
            pipeline.commands.append(self.command())
        if not pipeline.commands:
            self.fail(f"missing value for {context}", pipeline.position)
        for stage, command in enumerate(pipeline.commands[1:], 2):
            if isinstance(command.arguments[0], nodes.Bool | nodes.Dot | nodes.Nil | nodes.Number | nodes.String):
                self.fail(f"non executable command in pipeline stage {stage}", command.position)
        return pipeline

    def declarations(self, pipeline: nodes.Pipeline, context: str) -> None:
        while (token := self.peek_solid()).kind is Kind.VARIABLE:
            start = self.index
            self.next()
            following = self.peek_solid()
            if following.kind in (Kind.ASSIGN, Kind.DECLARE):
                pipeline.assigns = following.kind is Kind.ASSIGN
                self.next()
                self.declare(pipeline, token)
            elif following.kind is Kind.OTHER and following.text == ",":
                self.next()
                self.declare(pipeline, token)
                if context != "range" or len(pipeline.declared) >= 2:
                    self.fail(f"too many declarations in {context}", token.position)
                if self.peek_solid().kind not in (Kind.VARIABLE, Kind.RIGHT, Kind.CLOSE):
                    self.fail("range can only initialize variables", token.position)
                continue
            else:
                self.index = start
            return

    def declare(self, pipeline: nodes.Pipeline, token: Token) -> None:
        pipeline.declared.append(nodes.Variable(token.position, token.text, []))
        self.variables.append(token.text)

    def command(self) -> nodes.Command:
        command = nodes.Command(self.peek_solid().position, [])
        while True:
            self.peek_solid()
            operand = self.operand()
            if operand is not None:
                command.arguments.append(operand)
            token = self.next()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in (Kind.RIGHT, Kind.CLOSE):
                self.index -= 1
            elif token.kind is not Kind.PIPE:
                self.unexpected(token, "operand")
            break
        if not command.arguments:
            self.fail("empty command", command.position)
        return command

    def operand(self) -> Operand | None:
        node = self.term()
        if node is None or self.peek().kind is not Kind.FIELD:
            return node
        position = self.peek().position
        names = []
        while self.peek().kind is Kind.FIELD:
            names.append(self.next().text[1:])
        if isinstance(node, nodes.Field):
            return nodes.Field(position, node.names + names)
        if isinstance(node, nodes.Variable):
            return nodes.Variable(position, node.name, node.names + names)
        if isinstance(node, nodes.Bool | nodes.String | nodes.Number | nodes.Nil | nodes.Dot):
            self.fail(f"unexpected . after term {quoted(str(node))}", position)
        return nodes.Chain(position, node, names)

    def term(self) -> Operand | None:
        token = self.next_solid()
        position = token.position
        match token.kind:
            case Kind.IDENTIFIER:
                if token.text not in self.functions:
                    follows = self.peek()  # `name: …` is YAML that an open action runs into
                    mend = self.unclosed(follows) if follows.kind is Kind.ERROR else ""
                    mend = (
                        mend
                        or ELSEWHERE.get(token.text)
                        or did_you_mean(token.text, [*lexer.KEYWORDS, *self.functions])
                    )
                    self.fail(f"function {quoted(token.text)} not defined", position, mend)
                return nodes.Identifier(position, token.text)
            case Kind.DOT:
                return nodes.Dot(position)
            case Kind.KEYWORD if token.text == "nil":
                return nodes.Nil(position)
            case Kind.VARIABLE:
                if token.text not in self.variables:
                    near = nearest(token.text, [each for each in self.variables if each != "$"])
                    mend = f"did you mean {near}?" if near else ""
                    mend = mend or "declare it outside the block, or in the same template: {{ $x := … }}"
                    self.fail(f"undefined variable {quoted(token.text)}", position, mend)
                return nodes.Variable(position, token.text, [])
            case Kind.FIELD:
                return nodes.Field(position, [token.text[1:]])
            case Kind.BOOL:
                return nodes.Bool(position, token.text == "true")
            case Kind.CHARACTER | Kind.COMPLEX | Kind.NUMBER:
                return self.number(token)
            case Kind.OPEN:
                with self.nested():
                    return self.pipeline("parenthesized pipeline", Kind.CLOSE)
            case Kind.STRING | Kind.RAW_STRING:
                return nodes.String(position, token.text, self.unquoted(token))
        if self.tokens[self.index] is not token:  # the last one stays where it is
            self.index -= 1
        return None

    # --- literals ---

    def unquoted(self, token: Token) -> str:
        if token.kind is Kind.RAW_STRING:
            return token.text[1:-1].replace("\r", "")
        value = unescaped(token.text[1:-1], '"')
        if value is None:
            self.fail("invalid syntax", token.position, "a backslash begins an escape: write two, or use backquotes")
        return value

    def number(self, token: Token) -> nodes.Number:
        text, position = token.text, token.position
        if token.kind is Kind.CHARACTER:
            value = unescaped(text[1:-1], "'")
            if value is None or not value:
                self.fail("invalid syntax", position)
            if len(value) != 1:
                self.fail(f"malformed character constant: {text}", position)
            number = ord(value)
            return nodes.Number(position, text, number, number, float(number))
        found = number_of(position, text, is_complex=token.kind is Kind.COMPLEX)
        if isinstance(found, str):
            self.fail(found, position)
        return found


_OPERANDS = frozenset(
    (
        Kind.BOOL, Kind.CHARACTER, Kind.COMPLEX, Kind.DOT, Kind.FIELD, Kind.IDENTIFIER, Kind.NUMBER, Kind.RAW_STRING,
        Kind.STRING, Kind.VARIABLE, Kind.OPEN,
    )
)  # fmt: skip

# --- literals, as strconv reads them -----------------------------------------------------------------------------

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))", re.DOTALL)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


def unescaped(text: str, quote: str) -> str | None:
    r"""What stands between quotes in Go, without the escapes; None if it is no Go.  Bytes that are no UTF-8 become surrogate escapes.

    >>> unescaped(r"a\tb\x41\u00e9\101", '"')
    'a\tbAéA'
    """
    if "\\" not in text:
        return None if quote in text or "\n" in text else text
    out: list[bytes] = []
    position = 0
    is_character = quote == "'"
    while position < len(text):
        found = _ESCAPE.match(text, position) if text[position] == "\\" else None
        if found is None:
            if text[position] in (quote, "\n", "\\"):
                return None
            out.append(text[position].encode("utf-8", "surrogatepass"))
            position += 1
            continue
        position = found.end()
        two, four, eight, octal, plain = found.groups()
        if two or octal:
            number = int(two, 16) if two else int(octal, 8)
            if number > 255:
                return None
            out.append(chr(number).encode() if is_character else bytes([number]))
        elif four or eight:
            number = int(four or eight, 16)
            if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
                return None
            out.append(chr(number).encode())
        elif plain in _PLAIN or plain == quote:
            out.append(_PLAIN.get(plain, plain).encode())
        else:
            return None
    return b"".join(out).decode("utf-8", "surrogateescape")


_INTEGER = re.compile(
    r"([+-]?)(?:(0[xX](?:_?[0-9a-fA-F])+)|(0[bB](?:_?[01])+)|(0[oO]?(?:_?[0-7])+)|([1-9](?:_?[0-9])*|0))"
)
_FLOAT = re.compile(
    r"[+-]?(?:[0-9]+(?:_[0-9]+)*\.?(?:[0-9]+(?:_[0-9]+)*)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][+-]?[0-9]+(?:_[0-9]+)*)?"
)
_HEX_FLOAT = re.compile(r"[+-]?0[xX](?:_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+")
_LONGEST_NUMBER = 1_000  # characters


def integer(text: str) -> int | None:
    """An integer as Go writes it, whatever its size; None if it is none.

    >>> integer("0x_ff"), integer("017"), integer("08"), integer("1__0")
    (255, 15, None, None)
    """
    found = _INTEGER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if found is None:
        return None
    sign, *forms = found.groups()
    for base, form in zip((16, 2, 8, 10), forms, strict=True):
        if form:
            digits = form.replace("_", "")
            if base != 10:
                digits = digits.lstrip("0").lstrip("xXbBoO") or "0"
            return int(digits, base) * (-1 if sign == "-" else 1)
    return None


def floating(text: str, *, underscores: bool = True) -> float | None:
    """A float as Go writes it; None if it is none, or beyond what 64 bits hold.

    >>> floating("0x1.8p1"), floating("1e1000"), floating(".5")
    (3.0, None, 0.5)
    """
    if len(text) > _LONGEST_NUMBER or (not underscores and "_" in text):
        return None
    if _HEX_FLOAT.fullmatch(text):
        try:
            return float.fromhex(text.replace("_", ""))
        except OverflowError:
            return None
    if not _FLOAT.fullmatch(text):
        return None
    value = float(text.replace("_", ""))
    return None if value in (float("inf"), float("-inf")) else value


def number_of(position: int, text: str, *, is_complex: bool = False) -> nodes.Number | str:
    """A number, or the complaint about it."""
    if is_complex or text.endswith("i"):
        return _complex(position, text, is_pair=is_complex)
    found = nodes.Number(position, text)
    whole = integer(text)
    if whole is not None:
        if 0 <= whole <= _UINT64_MAX and text[0] not in "+-":
            found.unsigned = whole
        if INT64_MIN <= whole <= INT64_MAX:
            found.integer = whole
            found.unsigned = 0 if whole == 0 else found.unsigned
    if found.integer is not None or found.unsigned is not None:
        found.float = float(found.integer if found.integer is not None else found.unsigned or 0)
        return found
    value = floating(text)
    if value is None:
        return f"illegal number syntax: {quoted(text)}"
    if not any(mark in text for mark in ".eEpP"):
        return f"integer overflow: {quoted(text)}"
    found.float = value
    if value.is_integer() and INT64_MIN <= value < 2.0**63:
        found.integer = int(value)
    if value.is_integer() and 0 <= value < 2.0**64:
        found.unsigned = int(value)
    return found


def _complex(position: int, text: str, *, is_pair: bool) -> nodes.Number | str:
    body, real = text[:-1], ""
    if is_pair:
        split = max(index for index in range(1, len(body)) if body[index] in "+-" and body[index - 1] not in "eEpP")
        real, body = body[:split], body[split:]
    parts = [floating(part) if floating(part) is not None else integer(part) for part in (real or "0", body)]
    if parts[0] is None or parts[1] is None:
        return f"illegal number syntax: {quoted(text)}"
    value = complex(float(parts[0]), float(parts[1]))
    found = nodes.Number(position, text, complex=value)
    if value.imag == 0:
        found.float = value.real
        found.integer = int(value.real) if value.real.is_integer() else None
    return found
