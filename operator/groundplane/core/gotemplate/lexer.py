"""Text with actions → tokens, as Go's text/template reads it.

Source: Go 1.26 `text/template/parse/lex.go`.  A mistake is the last token; the parser tells it when it gets there, so that mistakes
are told in the order of the text.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

LEFT, RIGHT = "{{", "}}"

_SPACES = " \t\r\n"
_COMMENT = "/*"
_COMMENT_END = "*/"
_MARK = 2  # characters of a trim marker: the minus and the space that belongs to it
KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"))
_WORD = re.compile(r"\w*")
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?"
    r"|0[oO][0-7_]*(?:\.[0-7_]*)?|0[bB][01_]*(?:\.[01_]*)?"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)


class Kind(Enum):
    """What a token is; a keyword is KEYWORD, and its text says which."""

    TEXT = auto()
    LEFT = auto()
    RIGHT = auto()
    SPACE = auto()
    ASSIGN = auto()
    DECLARE = auto()
    PIPE = auto()
    STRING = auto()
    RAW_STRING = auto()
    CHARACTER = auto()
    NUMBER = auto()
    COMPLEX = auto()
    BOOL = auto()
    DOT = auto()
    FIELD = auto()
    VARIABLE = auto()
    IDENTIFIER = auto()
    KEYWORD = auto()
    OPEN = auto()
    CLOSE = auto()
    OTHER = auto()
    ERROR = auto()
    END = auto()


class Token(NamedTuple):
    """A piece of the template, and where it begins, in characters."""

    kind: Kind
    text: str
    position: int

    def __str__(self) -> str:
        if self.kind is Kind.END:
            return "EOF"
        if self.kind is Kind.ERROR:
            return self.text
        if self.kind is Kind.KEYWORD or self.kind is Kind.DOT:
            return f"<{self.text}>"
        return quoted(self.text) if len(self.text) <= 10 else f"{quoted(self.text[:10])}..."


def quoted(text: str) -> str:
    """A text in quotes, as Go's `%q` has it for plain ones."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    )
    return f'"{escaped}"'


class _Wrong(Exception):
    """What follows can't be read; `args` is the message and the position."""


def tokens(source: str, left: str = LEFT, right: str = RIGHT) -> list[Token]:
    """The tokens of a template; the last is an END or an ERROR."""
    lexer = _Lexer(source, left or LEFT, right or RIGHT)
    try:
        lexer.run()
    except _Wrong as wrong:
        lexer.found.append(Token(Kind.ERROR, wrong.args[0], wrong.args[1]))
    return lexer.found


class _Lexer:
    def __init__(self, source: str, left: str, right: str) -> None:
        self.source, self.left, self.right = source, left, right
        self.found: list[Token] = []

    def run(self) -> None:
        position, source = 0, self.source
        while (opening := source.find(self.left, position)) >= 0:
            inside = opening + len(self.left)
            trims = source[inside : inside + 1] == "-" and source[inside + 1 : inside + 2] in _space_set
            text = source[position:opening]
            if trims:
                text = text.rstrip(_SPACES)
            if text:
                self.found.append(Token(Kind.TEXT, text, position))
            if source.startswith(_COMMENT, inside + (_MARK if trims else 0)):
                position = self.comment(inside + (_MARK if trims else 0))
            else:
                self.found.append(Token(Kind.LEFT, self.left, opening))
                position = self.action(inside + (_MARK if trims else 0), opening)
        if position < len(source):
            self.found.append(Token(Kind.TEXT, source[position:], position))
        self.found.append(Token(Kind.END, "", len(source)))

    def comment(self, start: int) -> int:
        close = self.source.find(_COMMENT_END, start + len(_COMMENT))
        if close < 0:
            raise _Wrong("unclosed comment", start)
        close += len(_COMMENT_END)
        ends, trims = self.at_right(close)
        if not ends:
            raise _Wrong("comment ends before closing delimiter", start)
        return self.behind(close, trims)

    def at_right(self, position: int) -> tuple[bool, bool]:
        """Whether the action ends here, and takes the space behind it away."""
        source = self.source
        if source[position : position + 1] in _space_set and source.startswith("-" + self.right, position + 1):
            return True, True
        return source.startswith(self.right, position), False

    def behind(self, position: int, trims: bool) -> int:
        """Where text goes on after an action that ends at a position."""
        position += len(self.right) + (_MARK if trims else 0)
        while trims and self.source[position : position + 1] in _space_set:
            position += 1
        return position

    def action(self, position: int, opening: int) -> int:
        """From behind the opening delimiter to behind the closing one."""
        source, parentheses = self.source, 0
        while True:
            ends, trims = self.at_right(position)
            if ends:
                if parentheses:
                    raise _Wrong("unclosed left paren", position)
                start = position + (_MARK if trims else 0)
                self.found.append(Token(Kind.RIGHT, self.right, start))
                return self.behind(position, trims)
            if position >= len(source):
                raise _Wrong("unclosed action", opening)
            if source[position] in _SPACES:
                position = self.space(position)
                continue
            parentheses += {"(": 1, ")": -1}.get(source[position], 0)
            if parentheses < 0:
                raise _Wrong("unexpected right paren", position)
            kind, end = self.token(position)
            self.found.append(Token(kind, source[position:end], position))
            position = end

    def space(self, start: int) -> int:
        """A run of spaces; the last one may belong to a closing delimiter that trims."""
        end = start
        while self.source[end : end + 1] in _space_set:
            end += 1
        if self.at_right(end - 1)[1]:
            end -= 1
        if end > start:
            self.found.append(Token(Kind.SPACE, self.source[start:end], start))
        return end

    def token(self, start: int) -> tuple[Kind, int]:
        """What begins here, and where it ends."""
        source = self.source
        first, following = source[start], source[start + 1 : start + 2]
        if first in _SINGLE:
            return _SINGLE[first], start + 1
        if first == ":":
            if following != "=":
                raise _Wrong("expected :=", start)
            return Kind.DECLARE, start + 2
        if first == '"':
            return Kind.STRING, self.quote(start, '"', "unterminated quoted string")
        if first == "'":
            return Kind.CHARACTER, self.quote(start, "'", "unterminated character constant")
        if first == "`":
            end = source.find("`", start + 1)
            if end < 0:
                raise _Wrong("unterminated raw quoted string", start)
            return Kind.RAW_STRING, end + 1
        if first == "$":
            return Kind.VARIABLE, self.word(start)
        if first == "." and not ("0" <= following <= "9" and following):
            end = self.word(start)
            return (Kind.DOT if end == start + 1 else Kind.FIELD), end
        if first in "+-." or "0" <= first <= "9":
            return self.number(start)
        if is_word(first):
            end = self.word(start, first=False)
            return _word_kind(source[start:end]), end
        if first.isascii() and first.isprintable():
            return Kind.OTHER, start + 1
        raise _Wrong(f"unrecognized character in action: {_named(first)}", start)

    def quote(self, start: int, mark: str, complaint: str) -> int:
        position = start + 1
        while (character := self.source[position : position + 1]) != mark:
            if character == "\\":
                position += 1
                character = self.source[position : position + 1]
            if character in ("", "\n"):
                raise _Wrong(complaint, start)
            position += 1
        return position + 1

    def word(self, start: int, *, first: bool = True) -> int:
        """The end of a name; its first character may be a mark."""
        found = _WORD.match(self.source, start + first)
        end = found.end() if found else start + first
        character = self.source[end : end + 1]
        if character and character not in " \t\r\n.,|:)(" and not self.source.startswith(self.right, end):
            raise _Wrong(f"bad character {_named(character)}", end)
        return end

    def number(self, start: int) -> tuple[Kind, int]:
        source = self.source
        found = _NUMBER.match(source, start)
        end = found.end() if found else start
        if is_word(source[end : end + 1]):
            raise _Wrong(f"bad number syntax: {quoted(source[start : end + 1])}", start)
        if source[end : end + 1] not in ("+", "-"):
            return Kind.NUMBER, end
        found = _NUMBER.match(source, end)
        end = found.end() if found else end
        if source[end - 1] != "i" or is_word(source[end : end + 1]):
            raise _Wrong(f"bad number syntax: {quoted(source[start:end])}", start)
        return Kind.COMPLEX, end


_SINGLE = {"=": Kind.ASSIGN, "|": Kind.PIPE, "(": Kind.OPEN, ")": Kind.CLOSE}
_space_set = frozenset(_SPACES)


def is_word(character: str) -> bool:
    """Whether a character may be in a name: a letter, a digit or an underscore."""
    return bool(character) and _WORD.fullmatch(character) is not None


def _word_kind(word: str) -> Kind:
    if word in KEYWORDS:
        return Kind.KEYWORD
    return Kind.BOOL if word in ("true", "false") else Kind.IDENTIFIER


def _named(character: str) -> str:
    return f"U+{ord(character):04X} '{character}'" if character.isprintable() else f"U+{ord(character):04X}"
