"""Transforms: one class per type, with the YAML that configures it and what it does to a value.

Source: Crossplane v1.20 `internal/controller/apiextensions/composite/composition_transforms.go` and
function-patch-and-transform v0.10 `transforms.go`.  A transform is a pure function from value to value;
`compile` makes it once, so that nothing is looked up or checked when a composite is rendered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, NoReturn

import re2
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo

from groundplane.core import fieldpath, goformat, quantity
from groundplane.core.fieldpath import utf8
from groundplane.core.objects import Json
from groundplane.core.spec import (
    FUNCTION,
    Dialect,
    Problem,
    Spec,
    is_function,
    not_supported,
    only,
    refusal,
    required,
    word,
)
from groundplane.errors import InvalidInput, did_you_mean, shown

MAX_RESULT = 1_000_000  # characters of a text that a transform makes
MAX_PATTERN = 10_000  # characters of a regular expression
PATTERN_MEMORY = 8 << 20  # bytes that a compiled one may take: what RE2 itself allows by default

Apply = Callable[[Json], Json]
Int64 = Annotated[int, Field(ge=fieldpath.INT64_MIN, le=fieldpath.INT64_MAX)]


# --- the YAML ------------------------------------------------------------------------------------------


class Math(Spec):
    """One calculation with one 64-bit integer; which field is read depends on `type` (Multiply by default)."""

    type: Annotated[str | None, word("Multiply", "ClampMin", "ClampMax")] = None
    multiply: Int64 | None = None
    clampMin: Int64 | None = None
    clampMax: Int64 | None = None


class Pattern(Spec):
    """A text or a regular expression, and what the input becomes where it fits.

    The function has no default for the type: a pattern without one fails when it is tried.
    """

    zero: ClassVar = {"type": "", "result": None}

    type: Annotated[str, word("literal", "regexp")] = "literal"
    literal: str | None = None
    regexp: str | None = None
    result: Json


class Match(Spec):
    """Patterns in order of preference, and what happens where none fits."""

    patterns: list[Pattern] = Field(default_factory=list)
    fallbackTo: Annotated[str, word("Value", "Input")] = "Value"  # of the function: any other word is Value too
    fallbackValue: Json = None


class Regexp(Spec):
    """An expression in RE2 syntax, and which of its groups is wanted (0: all of it)."""

    zero: ClassVar = {"match": ""}

    match: str
    group: Int64 | None = None


class Join(Spec):
    """What goes between the items of an array."""

    zero: ClassVar = {"separator": ""}

    separator: str


class Replace(Spec):
    """Each occurrence of a text, taken literally, becomes another one."""

    zero: ClassVar = {"search": "", "replace": ""}

    search: str
    replace: str


_CONVERSION_NAMES = (
    "ToUpper",
    "ToLower",
    "ToBase64",
    "FromBase64",
    "ToJson",
    "ToSha1",
    "ToSha256",
    "ToSha512",
    "ToAdler32",
)


class String(Spec):
    """What kind of text to make; which field is read depends on `type` (Format by default)."""

    type: Annotated[str | None, word("Format", "Convert", "TrimPrefix", "TrimSuffix", "Regexp", "Join", "Replace")] = (
        None
    )
    fmt: str | None = None
    convert: Annotated[str | None, word(*_CONVERSION_NAMES)] = None
    trim: str | None = None
    regexp: Regexp | None = None
    join: Join | None = None
    replace: Annotated[Replace | None, only(FUNCTION, "use a regexp, or match, in mode Resources")] = None


_TYPES = ("string", "int", "int64", "bool", "float64", "object", "array")
_FORMATS = ("none", "quantity", "json")


class Convert(Spec):
    """The type that a value shall have, and how a text of it is to be read."""

    zero: ClassVar = {"toType": ""}

    toType: Annotated[str, word(*_TYPES)]
    format: Annotated[str | None, word(*_FORMATS)] = None


class AnyTransform(Spec):
    """The fields of every transform: settings that belong to another type are read and not used."""

    type: str
    map: dict[str, Json] | None = None
    match: Match | None = None
    math: Math | None = None
    string: String | None = None
    convert: Convert | None = None

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        """What is wrong with this one transform, beyond the shape of its YAML."""
        raise NotImplementedError

    def compile(self, dialect: Dialect) -> Apply:
        """The function from value to value; it raises InvalidInput for values that do not fit.

        Never raises for a transform without `problems`.
        """
        raise NotImplementedError

    def expressions(self) -> int:
        """How many regular expressions it holds in memory."""
        return 0

    def prepared(self, dialect: Dialect) -> Apply:
        """`compile`, but a transform with problems becomes a function that tells them: it was not validated."""
        problems = list(self.problems(dialect))
        return refusing(problems) if problems else self.compile(dialect)


def refusing(problems: Sequence[Problem]) -> Apply:
    """A step that can't work, and says why when it should."""

    def apply(value: Json) -> NoReturn:
        raise refusal(problems)

    return apply


class UnknownTransform(AnyTransform):
    """Of a type that there is not.  Only the function takes one, where it validates nothing: it fails when it runs."""

    type: str = ""

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        yield not_supported("type", self.type, TRANSFORMS) if self.type else required("type")


# --- map -----------------------------------------------------------------------------------------------


class MapTransform(AnyTransform):
    """Look the input up in a table; the usual way from a size to an instance class."""

    type: Literal["map"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        pairs = self.map or {}
        if not (pairs if dialect == FUNCTION else any(value is not None for value in pairs.values())):
            yield required("map.pairs" if self.map is not None else "map", "at least one pair must be given")

    def compile(self, dialect: Dialect) -> Apply:
        nulls = dialect == FUNCTION  # it keeps them, and can't read them
        pairs = {name: _plain(value) for name, value in (self.map or {}).items() if nulls or value is not None}

        def apply(value: Json) -> Json:
            if not isinstance(value, str):
                raise InvalidInput(f"map wants a string, got {shown(value)}", mend="convert it to a string first")
            if value not in pairs:
                raise InvalidInput(
                    f"no entry for {shown(value)} in the map", mend=f"add it, or {did_you_mean(value, pairs)}"
                )
            if pairs[value] is None:
                raise InvalidInput(f"the entry for {shown(value)} in the map is null", mend="give it a value")
            return pairs[value]

        return apply


def _plain(value: Json) -> Json:
    """A value as Go's plain JSON decoder reads it: every number is a float.

    An integer that no float holds exactly stays an integer: nobody can want it rounded.
    """
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if type(value) is int:
        number = fieldpath.as_float(value)
        return number if int(number) == value else value
    return value


# --- match ---------------------------------------------------------------------------------------------


class MatchTransform(AnyTransform):
    """Try patterns in order; the first that fits gives the result, else the fallback."""

    type: Literal["match"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.match is None or not self.match.patterns:
            yield required("match" if self.match is None else "match.patterns", "at least one pattern must be given")
            return
        for index, pattern in enumerate(self.match.patterns):
            yield from _pattern_problems(f"match.patterns[{index}]", pattern)

    def expressions(self) -> int:
        return sum(pattern.type == "regexp" for pattern in self.match.patterns) if self.match else 0

    def prepared(self, dialect: Dialect) -> Apply:
        """Where nothing is validated, a pattern fails when it is tried, and to have none is no mistake."""
        return super().prepared(dialect) if self.match is None else self.compile(dialect)

    def compile(self, dialect: Dialect) -> Apply:
        settings = self.match or Match()
        tests = [
            (_pattern_test(f"match.patterns[{index}]", pattern), _plain(pattern.result))
            for index, pattern in enumerate(settings.patterns)
        ]
        to_input = settings.fallbackTo == "Input"
        fallback = _plain(settings.fallbackValue)

        def apply(value: Json) -> Json:
            for index, (fits, result) in enumerate(tests):
                if fits is None:
                    raise InvalidInput(
                        f"match.patterns[{index}] has no type", mend="say whether it is a literal or a regexp"
                    )
                if not isinstance(value, str):
                    raise InvalidInput(
                        f"match.patterns[{index}] wants a string, got {shown(value)}",
                        mend="convert it to a string first",
                    )
                if fits(value):
                    return result
            if not to_input:
                return fallback
            if fallback is not None:
                raise InvalidInput(
                    "no pattern fits, and match has both fallbackTo: Input and a fallbackValue",
                    mend="remove one of the two",
                )
            return value

        return apply


def _pattern_problems(place: str, pattern: Pattern) -> Iterator[Problem]:
    if pattern.type in ("literal", "") and pattern.literal is None:
        yield required(f"{place}.literal", "a literal pattern needs one")
    elif pattern.type == "regexp" and pattern.regexp is None:
        yield required(f"{place}.regexp", "a regexp pattern needs one")
    elif pattern.type == "regexp" and pattern.regexp is not None:
        yield from _regexp_problems(f"{place}.regexp", pattern.regexp)
    elif pattern.type not in ("literal", "regexp", ""):
        yield not_supported(f"{place}.type", pattern.type, ["literal", "regexp"])


def _pattern_test(place: str, pattern: Pattern) -> Callable[[str], bool] | None:
    if not pattern.type:
        return None
    problems = list(_pattern_problems(place, pattern))
    if problems:
        return refusing(problems)
    if pattern.type == "literal":
        return lambda value: value == pattern.literal
    regexp = compile_regexp(pattern.regexp or "")
    return lambda value: regexp.search(utf8(value)) is not None


# --- math ----------------------------------------------------------------------------------------------


_MATH_PARAMETERS = {"Multiply": "multiply", "ClampMin": "clampMin", "ClampMax": "clampMax"}


class MathTransform(AnyTransform):
    """Multiply a number, or keep it within a limit.  Integers are of 64 bits and overflow as Go's do."""

    type: Literal["math"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.math is None:
            yield required("math")
        elif not self.math.type and dialect == FUNCTION:
            yield required("math.type")
        elif (self.math.type or "Multiply") not in _MATH_PARAMETERS:
            yield not_supported("math.type", self.math.type, _MATH_PARAMETERS)
        else:
            parameter = _MATH_PARAMETERS[self.math.type or "Multiply"]
            if getattr(self.math, parameter) is None:
                yield required(f"math.{parameter}")

    def compile(self, dialect: Dialect) -> Apply:
        assert self.math is not None
        kind = self.math.type or "Multiply"
        parameter: int = getattr(self.math, _MATH_PARAMETERS[kind])
        calculate = {"Multiply": _multiplied, "ClampMin": _at_least, "ClampMax": _at_most}[kind]

        def apply(value: Json) -> Json:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidInput(
                    f"math wants a number, got {shown(value)}", mend="convert it to int64 or float64 first"
                )
            return calculate(value, parameter)

        return apply


def _multiplied(value: float, factor: int) -> float:
    if isinstance(value, float):
        return value * float(factor)
    return _wrapped(value * factor)


def _at_least(value: float, limit: int) -> float:
    return limit if _truncated(value) < limit else value


def _at_most(value: float, limit: int) -> float:
    return limit if _truncated(value) > limit else value


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _truncated(value: float) -> int:
    """A float cut to a 64-bit integer as amd64 does it: the smallest one for what does not fit."""
    if isinstance(value, float) and not -(2.0**63) <= value < 2.0**63:
        return fieldpath.INT64_MIN
    return int(value)


# --- string --------------------------------------------------------------------------------------------


_STRING_PARAMETERS = {
    "Format": "fmt",
    "Convert": "convert",
    "TrimPrefix": "trim",
    "TrimSuffix": "trim",
    "Regexp": "regexp",
    "Join": "join",
    "Replace": "replace",
}


class StringTransform(AnyTransform):
    """Make text of any value: format, change case, encode, hash, trim, cut out, join, replace."""

    type: Literal["string"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.string is None:
            yield required("string")
        elif not self.string.type and dialect == FUNCTION:
            yield required("string.type")
        elif (self.string.type or "Format") not in _STRING_PARAMETERS:
            yield not_supported("string.type", self.string.type, _STRING_PARAMETERS)
        else:
            parameter = _STRING_PARAMETERS[self.string.type or "Format"]
            if getattr(self.string, parameter) is None:
                yield required(f"string.{parameter}")
            elif parameter == "regexp" and self.string.regexp:
                if not self.string.regexp.match:
                    yield required("string.regexp.match")
                yield from _regexp_problems("string.regexp.match", self.string.regexp.match)
            elif self.string.replace and parameter == "replace" and not self.string.replace.search:
                yield required("string.replace.search")

    def unsupported(self, dialect: Dialect) -> Iterator[Problem]:
        """A type that only the function knows."""
        if self.string and self.string.type == "Replace" and dialect != FUNCTION:
            yield not_supported("string.type", "Replace", [name for name in _STRING_PARAMETERS if name != "Replace"])

    def prepared(self, dialect: Dialect) -> Apply:
        """Where nothing is validated, an empty expression and an empty text to look for work as they are."""
        empty = (required("string.regexp.match"), required("string.replace.search"))
        problems = [problem for problem in self.problems(dialect) if problem not in empty]
        return refusing(problems) if problems else self.compile(dialect)

    def expressions(self) -> int:
        return int(self.string is not None and self.string.type == "Regexp")

    def compile(self, dialect: Dialect) -> Apply:
        settings = self.string
        assert settings is not None
        match settings.type or "Format":
            case "Format":
                make = goformat.formatter(settings.fmt or "", 1)
                return lambda value: make((value,))
            case "Convert":
                assert settings.convert is not None
                unknown = [not_supported("string.convert", settings.convert, _CONVERSIONS)]
                return _CONVERSIONS.get(settings.convert) or refusing(unknown)
            case "TrimPrefix":
                trim = settings.trim or ""
                return lambda value: goformat.text(value).removeprefix(trim)
            case "TrimSuffix":
                trim = settings.trim or ""
                return lambda value: goformat.text(value).removesuffix(trim)
            case "Regexp":
                assert settings.regexp is not None
                return _cut_out(settings.regexp)
            case "Join":
                assert settings.join is not None
                return _join(settings.join.separator)
        assert settings.replace is not None
        return _replace(settings.replace)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _cut_out(settings: Regexp) -> Apply:
    regexp = compile_regexp(settings.match)
    group = settings.group or 0

    def apply(value: Json) -> str:
        text = goformat.text(value)
        found = regexp.search(utf8(text))
        if found is None or not 0 <= group <= regexp.groups:
            raise InvalidInput(
                f"the regular expression {shown(settings.match)} has no match for group {group} in {shown(text)}",
                mend="add a match transform before it, or widen the expression",
            )
        return _text(found.group(group) or b"")

    return apply


def _join(separator: str) -> Apply:
    def apply(value: Json) -> str:
        if not isinstance(value, list):
            raise InvalidInput(f"Join wants an array, got {shown(value)}")
        if len(separator) * len(value) > MAX_RESULT:
            raise InvalidInput(f"Join would make a text of more than {MAX_RESULT} characters")
        return separator.join([goformat.text(item) for item in value])

    return apply


def _replace(settings: Replace) -> Apply:
    def apply(value: Json) -> str:
        text = goformat.text(value)
        grown = len(text) + text.count(settings.search) * (len(settings.replace) - len(settings.search))
        if grown > MAX_RESULT:
            raise InvalidInput(f"Replace would make a text of more than {MAX_RESULT} characters")
        return text.replace(settings.search, settings.replace)

    return apply


def _upper(value: Json) -> str:
    return "".join(map(_upper_letter, fieldpath.unicode_only(goformat.text(value))))


def _lower(value: Json) -> str:
    return "".join(map(_lower_letter, fieldpath.unicode_only(goformat.text(value))))


def _upper_letter(letter: str) -> str:
    """One letter for one letter, as Go's simple mapping: "ß" and "ﬁ" stay."""
    upper = letter.upper()
    if len(upper) == 1:
        return upper
    title = letter.title()  # Greek letters with iota: their simple upper case is the title-case letter
    return title if len(title) == 1 else letter


def _lower_letter(letter: str) -> str:
    lower = letter.lower()
    return lower if len(lower) == 1 else "i" if letter == "İ" else letter


def _to_base64(value: Json) -> str:
    return base64.b64encode(utf8(goformat.text(value))).decode()


def _from_base64(value: Json) -> str:
    text = goformat.text(value).replace("\r", "").replace("\n", "")
    try:
        if len(text) % 4 or not re.fullmatch("[A-Za-z0-9+/]*={0,2}", text):
            raise binascii.Error
        return _text(base64.b64decode(text, validate=True))
    except binascii.Error:
        raise InvalidInput("the string is not valid base64", mend="use the standard alphabet, with padding") from None


def _hashable(value: Json) -> bytes:
    return utf8(value) if isinstance(value, str) else goformat.dumps(value).encode()


_CONVERSIONS: dict[str, Apply] = {
    "ToUpper": _upper,
    "ToLower": _lower,
    "ToBase64": _to_base64,
    "FromBase64": _from_base64,
    "ToJson": goformat.dumps,
    "ToSha1": lambda value: hashlib.sha1(_hashable(value), usedforsecurity=False).hexdigest(),
    "ToSha256": lambda value: hashlib.sha256(_hashable(value)).hexdigest(),
    "ToSha512": lambda value: hashlib.sha512(_hashable(value)).hexdigest(),
    "ToAdler32": lambda value: str(zlib.adler32(_hashable(value))),
}


# --- convert -------------------------------------------------------------------------------------------


class ConvertTransform(AnyTransform):
    """Turn a value into one of another type."""

    type: Literal["convert"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.convert is None:
            yield required("convert")
            return
        if self.convert.format is not None and self.convert.format not in _FORMATS:
            yield not_supported("convert.format", self.convert.format, _FORMATS)
        if self.convert.toType not in _TYPES:
            yield not_supported("convert.toType", self.convert.toType, _TYPES)

    def compile(self, dialect: Dialect) -> Apply:
        assert self.convert is not None
        target = {"int": "int64"}.get(self.convert.toType, self.convert.toType)
        form = self.convert.format or "none"
        by_source = {source: step for (source, to, how), step in _PAIRS.items() if (to, how) == (target, form)}

        def apply(value: Json) -> Json:
            source = goformat.type_name(value)
            if source not in ("string", "bool", "int64", "float64"):
                raise InvalidInput(f"convert wants a string, number or boolean, got {shown(value)}")
            if source == target:
                return value
            step = by_source.get(source)
            if step is None:
                raise InvalidInput(f"conversion from {source} to {target} is not supported with format {form}")
            return step(value)

        return apply


def _cannot_convert(value: str, target: str, mend: str = "") -> NoReturn:
    raise InvalidInput(f"cannot convert {shown(value)} to {target}", mend=mend)


def _bool_of(value: str) -> bool:
    if value in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if value not in ("0", "f", "F", "FALSE", "false", "False"):
        _cannot_convert(value, "bool", 'use "true" or "false"')
    return False


def _int_of(value: str) -> int:
    if not re.fullmatch("[+-]?[0-9]{1,400}", value):
        _cannot_convert(value, "int64", "use decimal digits only")
    number = int(value)
    if not fieldpath.INT64_MIN <= number <= fieldpath.INT64_MAX:
        _cannot_convert(value, "int64", "it must fit into 64 bits")
    return number


_FLOAT = re.compile(r"[+-]?(?:[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?|0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*[pP][+-]?[0-9]+)")
_ODD_UNDERSCORE = re.compile("(?<![0-9])_|_(?![0-9])")
_ODD_HEX_UNDERSCORE = re.compile("(?<![0-9a-fA-FxX])_|_(?![0-9a-fA-F])")


def _float_of(value: str) -> float:
    if re.fullmatch("[+-]?inf(inity)?|nan", value, flags=re.IGNORECASE | re.ASCII):
        return float(value)
    digits, is_hex = value.replace("_", ""), "x" in value.lower()
    try:
        odd = _ODD_HEX_UNDERSCORE if is_hex else _ODD_UNDERSCORE
        if not _FLOAT.fullmatch(digits) or odd.search(value):
            raise ValueError
        number = float.fromhex(digits) if is_hex else float(digits)
    except (ValueError, OverflowError):
        _cannot_convert(value, "float64", "use a decimal number, as in 1.5 or 2e3")
    if math.isinf(number):
        _cannot_convert(value, "float64", "it is too large")
    return number


def _json_of(kind: type) -> Callable[[str], Json]:
    name = "object" if kind is dict else "array"

    def convert(value: str) -> Json:
        try:
            found = json.loads(value, parse_int=_json_integer, parse_float=_json_float, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            _cannot_convert(value, name, f"it must be JSON, one {name}")
        if found is not None and not isinstance(found, kind):
            _cannot_convert(value, name, f"its JSON must be one {name}")
        return _valid(found)

    return convert


def _json_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("too large")
    return number


def _json_integer(digits: str) -> float:
    number = _json_float(digits)
    exact = int(digits) if len(digits) < 20 else int(number)
    return number if exact == number else exact


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _valid(value: Json, depth: int = 0) -> Json:
    """What JSON text gave, with its escapes of half characters replaced, and its depth bounded."""
    if depth > fieldpath.MAX_DEPTH:
        raise fieldpath.too_deep()
    if isinstance(value, str):
        return fieldpath.unicode_only(value)
    if isinstance(value, list):
        return [_valid(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {fieldpath.unicode_only(name): _valid(item, depth + 1) for name, item in value.items()}
    return value


def _decimal_text(value: float) -> str:
    return goformat.format_float(value, "f", -1)


_PAIRS: dict[tuple[str, str, str], Apply] = {
    ("string", "bool", "none"): _bool_of,
    ("string", "int64", "none"): _int_of,
    ("string", "float64", "none"): _float_of,
    ("string", "float64", "quantity"): quantity.parse,
    ("string", "object", "json"): _json_of(dict),
    ("string", "array", "json"): _json_of(list),
    ("bool", "string", "none"): lambda value: "true" if value else "false",
    ("bool", "int64", "none"): int,
    ("bool", "float64", "none"): float,
    ("int64", "string", "none"): str,
    ("int64", "bool", "none"): lambda value: value == 1,
    ("int64", "float64", "none"): fieldpath.as_float,
    ("float64", "string", "none"): _decimal_text,
    ("float64", "bool", "none"): lambda value: value == 1.0,
    ("float64", "int64", "none"): _truncated,
}


def convertible(source: str, target: str, form: str) -> bool:
    """Whether values of one type can be converted to another, different one; in Go's names of types.

    >>> convertible("string", "int64", "none"), convertible("int64", "float64", "quantity")
    (True, False)
    """
    return (source, target, form) in _PAIRS


# --- regular expressions ----------------------------------------------------------------------------------


def compile_regexp(pattern: str) -> Any:
    """A compiled regular expression in Go's language, over bytes; matching takes linear time.

    Raises:
        InvalidInput: Go would not compile it.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY
    if len(pattern) > MAX_PATTERN:
        raise InvalidInput(f"a regular expression of more than {MAX_PATTERN} characters", mend="shorten it")
    try:
        if _has_raw_byte(pattern):
            raise InvalidInput(f"cannot compile regular expression {shown(pattern)}: \\C is not supported")
        return re2.compile(utf8(pattern), options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "bad syntax"
        raise InvalidInput(
            f"cannot compile regular expression {shown(pattern)}: {reason}",
            mend="write it in RE2 syntax: no look-around, no back-references",
        ) from None


def _has_raw_byte(pattern: str) -> bool:
    """Whether `\\C` occurs outside a quotation: RE2 has it, Go has not."""
    unquoted = re.sub(r"\\Q.*?(\\E|$)", "", pattern, flags=re.DOTALL)
    return re.search(r"(?<!\\)(?:\\\\)*\\C", unquoted) is not None


def _regexp_problems(field: str, pattern: str) -> Iterator[Problem]:
    try:
        compile_regexp(pattern)
    except InvalidInput as error:
        yield Problem("Invalid", field, error.what, error.mend)


# --- the union ------------------------------------------------------------------------------------------

TRANSFORMS = ("map", "match", "math", "string", "convert")
_UNKNOWN = "unknown"  # a tag that no text of a user becomes


def _tag(value: Any) -> str | None:
    if isinstance(value, UnknownTransform):
        return _UNKNOWN
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return None if kind is None else f"<{kind}>"


def _any_type(value: Any, info: ValidationInfo) -> Any:
    """Take transforms of unknown types, where the function does."""
    if not isinstance(value, list) or not is_function(info):
        return value
    return [
        UnknownTransform.model_validate(item, context=info.context)
        if isinstance(item, dict) and item.get("type") not in TRANSFORMS
        else item
        for item in value
    ]


Transform = Annotated[
    Annotated[MapTransform, Tag("<map>")]
    | Annotated[MatchTransform, Tag("<match>")]
    | Annotated[MathTransform, Tag("<math>")]
    | Annotated[StringTransform, Tag("<string>")]
    | Annotated[ConvertTransform, Tag("<convert>")]
    | Annotated[UnknownTransform, Tag(_UNKNOWN)],
    Discriminator(_tag),
]
Transforms = Annotated[list[Transform], BeforeValidator(_any_type)]
