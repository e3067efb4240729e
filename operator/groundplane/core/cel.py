"""CEL as Kubernetes' API server speaks it, and CEL's standard library alone: one expression compiled and evaluated.

The only module that knows the library, cel-expr-python (extra `groundplane[cel]`), and it imports it at the first
expression.  An expression has one of three ends: a value; a `Failure` in the API server's words; or `Unchecked`, if it
can't be said here what the API server would say: the library is not there, or lacks a function, or a limit is reached.
Which rules there are, and on what they are asked, is `rules.py`'s; what composition functions ask, `cel_requests.py`'s.

Every evaluation ends: the library stops after 10,000 steps and refuses expressions nested deeper than 32; what texts and
lists could grow to is bounded here (`_growth`), before they do.

Source: Kubernetes 1.34, apiserver pkg/cel/environment/base.go, apiextensions-apiserver pkg/apiserver/schema/cel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

INSTALL: Final = "pip install 'groundplane[cel]'"
LONGEST: Final = 20_000  # characters of an expression
MOST: Final = 100_000_000  # characters, roughly, that an evaluation may take in memory
KEPT: Final = 1024  # compiled expressions
MOST_PAIRS: Final = 32  # comprehensions with two variables in one

Type = Any  # "dyn", "int" …; ("list", of) and ("map", of); the full name of a message
Types = tuple[tuple[str, Type], ...]  # of variables, sorted by name: hashable


class Failure(Exception):
    """A rule that fails while it is evaluated, as it would in the API server; the text is the API server's."""


class Unchecked(Exception):
    """Nothing can be said; `str()` says why.  `missing`: for want of the library."""

    def __init__(self, why: str, *, missing: bool = False) -> None:
        super().__init__(why)
        self.missing = missing


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        from cel_expr_python import cel
        from cel_expr_python.ext import ext_optional
    except ImportError:
        return None
    return cel, ext_optional


def is_available() -> bool:
    """Whether expressions can be compiled at all."""
    return _library() is not None


# --- text


_LITERAL = re.compile(
    r"""(?:[rR]?[bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3})|[rR][bB]?"[^"\n]*"|[rR][bB]?'[^'\n]*'"""
    r"""|[bB]?"(?:\\.|[^"\\\n])*"|[bB]?'(?:\\.|[^'\\\n])*'|//[^\n]*""",
    re.DOTALL,
)
_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter|optMap|optFlatMap)\s*\(")
_TWO_VARIABLES = re.compile(
    r"\.\s*(all|exists|exists_one|existsOne|transformList|transformMap|transformMapEntry)\s*\(\s*([A-Za-z_]\w*)\s*,\s*([A-Za-z_]\w*)\s*,"
)
_OPTIONAL = re.compile(r"(?:\.\s*validate|\bformat\s*\.\s*named)\s*\(")


def masked(text: str) -> str:
    """The expression with blanks for its literals and comments, every other character at its place; "" if it is too long.

    >>> masked("self.a != 'self.b'")
    'self.a !=         '
    """
    return _LITERAL.sub(lambda found: " " * len(found.group()), text) if len(text) <= LONGEST else ""


def _growth(code: str) -> float:
    """How many times larger than what goes in something may become: each macro may repeat what the one before it made."""
    macros = len(_MACRO.findall(code))
    return (1 + sum(map(code.count, "+,")) / max(macros, 1)) ** max(macros, 1)


def _with_optionals(text: str) -> str:
    """What our functions that give an optional give is a map: its entry `v`, if there is one, is what they mean."""
    code, at = masked(text), 0
    while found := _OPTIONAL.search(code, at):
        depth, end = 1, found.end()
        while depth and end < len(code):
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        text, code = f"{text[:end]}.?v{text[end:]}", f"{code[:end]}.?v{code[end:]}"
        at = found.end()
    return text


def _with_pairs(text: str) -> str:
    """Comprehensions with two variables, which the library lacks, as those with one, over the pairs of key (or index) and value.

    >>> _with_pairs("self.all(i, x, i < x)")
    'self.groundplane_pairs().all(pair_0, [pair_0.k].all(i, [pair_0.v].all(x, i < x)))'

    Raises:
        Unchecked: there are too many.
    """
    from groundplane.core.cel_functions import PAIRS

    if len(_TWO_VARIABLES.findall(masked(text))) > MOST_PAIRS:
        raise Unchecked(f"it has more than {MOST_PAIRS} comprehensions with two variables")
    at, number = 0, 0
    while found := _TWO_VARIABLES.search(code := masked(text), at):
        at = found.start() + 1
        rest = _arguments(code, found.end())
        if rest is None:
            continue
        begins, end = [found.end(), *(comma + 1 for comma in rest[:-1])], rest[-1]
        args = [text[begin:stop].strip() for begin, stop in zip(begins, rest, strict=True)]
        if written := _over_pairs(found[1], f"pair_{number}", (found[2], found[3]), args):
            text, number = f"{text[: found.start()]}.{PAIRS}(){written}{text[end + 1 :]}", number + 1
    return text


def _arguments(code: str, begin: int) -> list[int] | None:
    """Where the commas of a call's remaining arguments are, and its closing parenthesis; None if there is none."""
    commas: list[int] = []
    depth = 0
    for at in range(begin, len(code)):
        if code[at] in "([{":
            depth += 1
        elif code[at] in ")]}":
            if not depth:
                return [*commas, at]
            depth -= 1
        elif code[at] == "," and not depth:
            commas.append(at)
    return None


def _over_pairs(macro: str, pair: str, names: tuple[str, str], args: list[str]) -> str:
    """What a macro with two variables is over pairs; "" if it does not take so many arguments."""
    from groundplane.core.cel_functions import MAPPED, MERGED

    key, value = names
    *condition, result = args

    def among(call: str, what: str) -> str:
        return f"[{pair}.k].{call}({key}, [{pair}.v].{call}({value}, {what}))"

    made = f"[{pair}.k].map({key}, [{pair}.v].map({value}, {result})[0])[0]"
    chosen = f".filter({pair}, {among('exists', condition[0])})" if condition else ""
    match macro, len(condition):
        case ("all", 0) | ("exists", 0):
            return f".{macro}({pair}, {among(macro, result)})"
        case ("exists_one", 0) | ("existsOne", 0):
            return f".exists_one({pair}, {among('exists', result)})"
        case "transformList", 0 | 1:
            return f"{chosen}.map({pair}, {made})"
        case "transformMap", 0 | 1:
            return f"{chosen}.map({pair}, {{'k': {pair}.k, 'v': {made}}}).{MAPPED}()"
        case "transformMapEntry", 0 | 1:
            return f"{chosen}.map({pair}, {made}).{MERGED}()"
    return ""


# --- compiling


@lru_cache(maxsize=64)
def _environment(types: Types) -> Any:
    from groundplane.core.cel_functions import FUNCTIONS

    cel, ext_optional = _library()
    by_name: dict[str, list[Any]] = {}
    for index, each in enumerate(FUNCTIONS):
        takes = [_type(name) for name in each.takes]
        overload = cel.Overload(f"groundplane_{index}", _type(each.gives), takes, each.is_member, _ours(each.do))
        by_name.setdefault(each.name, []).append(overload)
    declared = [cel.FunctionDecl(name, overloads) for name, overloads in by_name.items()]
    variables = {name: _type(type_) for name, type_ in types}
    return cel.NewEnv(variables=variables, extensions=[ext_optional.ExtOptional()], functions=declared)


def _ours(do: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its failures marked: the library tells nothing but their text."""

    from groundplane.core.cel_functions import Failed

    def call(*values: Any) -> Any:
        try:
            return do(*values)
        except Failed as error:
            raise Failed(f"{_OURS}{error}") from error

    return call


def _type(type_: Type) -> Any:
    cel, _ = _library()
    if isinstance(type_, tuple):
        of = _type(type_[1])
        return cel.Type.List(of) if type_[0] == "list" else cel.Type.Map(cel.Type.STRING, of)
    return cel.Type(type_) if "." in type_ else getattr(cel.Type, type_.upper())


class Prepared:
    """Variables that several expressions are evaluated with: converted once."""

    def __init__(self, activation: Any, size: int) -> None:
        self.activation, self.size = activation, size


def _size(data: Mapping[str, Any] | Prepared) -> int:
    return data.size if isinstance(data, Prepared) else len(repr(data))


class Expression:
    """A compiled expression; `evaluate` may be called any number of times."""

    def __init__(self, text: str, program: Any, growth: float) -> None:
        self._text, self._program, self._growth = text, program, growth

    @property
    def gives(self) -> str:
        """The type that it evaluates to, as far as it is known before: "bool", "dyn" …"""
        return str(self._program.return_type().name()).lower()

    def evaluate(self, data: Mapping[str, Any] | Prepared) -> Any:
        """The value for these variables, as a plain Python value.

        Raises:
            Failure: it fails, as it would in the API server.
            Unchecked: it can't be evaluated here.
        """
        prepared = data if isinstance(data, Prepared) else None
        if self._growth > 16 and self._growth * (len(self._text) + _size(data)) > MOST:
            raise Unchecked("it could take too much memory")
        try:
            if prepared is not None:
                found = self._program.eval(activation=prepared.activation)
            else:
                found = self._program.eval(data=data)
            value = found.plain_value()
            is_error = found.type().name().upper().lstrip("*").startswith("ERROR")
        except (RuntimeError, OverflowError, RecursionError) as error:
            raise Unchecked(_first_line(str(error))) from None
        if is_error:
            raise _told(str(value))
        return value


@lru_cache(maxsize=KEPT)
def _compiled(text: str, types: Types) -> Expression | Unchecked:
    if not is_available():
        return Unchecked("no CEL library is installed", missing=True)
    growth = _growth(masked(text))
    if len(text) > LONGEST or growth > MOST:
        return Unchecked("it could take too much memory")
    try:
        source = _with_pairs(_with_optionals(text))
    except Unchecked as error:
        return error
    try:
        program = _environment(types).compile(source)
    except (RuntimeError, TypeError) as error:
        if not _crosses_numbers(str(error)):
            return Unchecked(_first_line(str(error)))
        try:
            program = _environment(types).compile(source, disable_check=True)
        except RuntimeError as other:
            return Unchecked(_first_line(str(other)))
    return Expression(text, program, growth)


def compile(text: str, types: Types) -> Expression:
    """Compile an expression over variables of these types.

    Raises:
        Unchecked: it can't be compiled here; see `mistake` for whether it could be anywhere.
    """
    found = _compiled(text, types)
    if isinstance(found, Unchecked):
        raise found.with_traceback(None)
    return found


# --- the standard library alone


@lru_cache(maxsize=8)
def _standard(types: Types, pool: Any) -> Any:
    cel, _ = _library()
    return cel.NewEnv(descriptor_pool=pool, variables={name: _type(type_) for name, type_ in types})


def standard(text: str, types: Types, pool: Any = None) -> Expression:
    """Compile an expression that has CEL's standard library and no function more; `pool` describes the messages among the types.

    Raises:
        Unchecked: it is none, or nothing can compile it here.
    """
    if not is_available():
        raise Unchecked("no CEL library is installed", missing=True)
    growth = _growth(masked(text))
    if len(text) > LONGEST or growth > MOST:
        raise Unchecked("it could take too much memory")
    try:
        return Expression(text, _standard(types, pool).compile(text), growth)
    except (RuntimeError, TypeError) as error:
        raise Unchecked(_first_line(str(error))) from None


def prepared(variables: Mapping[str, Any], types: Types, pool: Any, size: int) -> Prepared:
    """Variables for several expressions that `standard` has compiled; `size` is about how many bytes they have."""
    return Prepared(_standard(types, pool).Activation(variables), size)


# --- what is wrong with an expression by itself

_NO_OVERLOAD = re.compile(r"found no matching overload for '([^']+)' applied to '\((.*)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_STANDARD = frozenset(
    [
        "_==_",
        "_!=_",
        "_<_",
        "_<=_",
        "_>_",
        "_>=_",
        "_&&_",
        "_||_",
        "!_",
        "_?_:_",
        "_+_",
        "_-_",
        "_*_",
        "_/_",
        "_%_",
        "-_",
    ]
    + ["@in", "matches", "startsWith", "endsWith", "contains"]
)
_DEFINITE = re.compile(r"(?:int|double|uint|string|bool|bytes|null_type|google\.protobuf\.\w+|list\(|map\(|[(), ])+")
_NUMBERS = {"int", "double", "uint"}


def mistake(text: str, types: Types, gives: str) -> str:
    """What the API server would refuse the expression for, if that is certain; `types` are as exact as is known.

    `gives` is what it must evaluate to: "bool" or "string".
    """
    if not is_available() or len(text) > LONGEST:
        return ""
    try:
        program = _environment(types).compile(_with_pairs(_with_optionals(text)))
    except Unchecked:
        return ""
    except (RuntimeError, TypeError) as error:
        lines = [line for line in str(error).splitlines() if "ERROR: <input>:" in line]
        certain = [_without_place(line) for line in lines if _is_certain(line)]
        return f"compilation failed: {'; '.join(dict.fromkeys(certain))}" if certain else ""
    found = str(program.return_type().name()).lower()
    if found in ("int", "string", "double", "bool", "bytes", "timestamp", "duration", "uint") and found != gives:
        if gives == "bool":
            return "cel expression must evaluate to a bool"
        return "messageExpression must evaluate to a string"
    return ""


def _is_certain(line: str) -> bool:
    from groundplane.core.cel_functions import ELSEWHERE

    if "Syntax error" in line:
        return True
    if found := _UNDECLARED.search(line):
        name = found[1]
        return name.rpartition(".")[2] not in ELSEWHERE and name not in ELSEWHERE
    if found := _NO_OVERLOAD.search(line):
        return found[1] in _STANDARD and bool(_DEFINITE.fullmatch(found[2])) and not _crosses_numbers(line)
    return False


def _crosses_numbers(told: str) -> bool:
    """Kubernetes compares numbers of different types; the library does so only if the types are not known before."""
    found = _NO_OVERLOAD.findall(told)
    return bool(found) and all(
        name in ("_<_", "_<=_", "_>_", "_>=_") and set(types.split(", ")) <= _NUMBERS for name, types in found
    )


# --- words

_PLACE = re.compile(r"(?:[A-Z_]+: )?ERROR: <input>:[-\d]+:[-\d]+: ")
_ERRORS: Final = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r'Key not found in map : "?(.*?)"?$', r"no such key: \1"),
        (r'No value with name "__(?:self|oldSelf)_\d+_(\w+)" found', r"no such key: \1"),
        (r"divide by zero", "division by zero"),
        (r"modulus by zero", "modulus by zero"),
        (r"integer overflow", "integer overflow"),
        (r"Index error: index=(-?\d+)", r"index out of bounds: \1"),
        (r"(optional\.none\(\) dereference)", r"\1"),
        (r"(invalid regular expression: .*)", r"\1"),
        (r"(cannot convert .* to \w+|String to \w+ conversion failed|\w+ out of \w+ range)", r"\1"),
        (r"(Type conversion error from '\w+' to '\w+')", r"\1"),
    )
)
_OURS = "groundplane: "  # in front of what our own functions raise, since the library tells only the text


def _told(text: str) -> Failure | Unchecked:
    if _OURS in text:
        return Failure(text.partition(_OURS)[2].removesuffix(" [UNKNOWN]"))
    for pattern, words in _ERRORS:
        if found := pattern.search(text):
            return Failure(found.expand(words))
    return Unchecked(_first_line(text))


def _without_place(line: str) -> str:
    words = _PLACE.sub("", line).removesuffix(" [INVALID_ARGUMENT]").removesuffix(" (in container '')")
    return words.replace("null_type", "null")


def _first_line(text: str) -> str:
    return _without_place(text.partition("\n")[0])[:200]
