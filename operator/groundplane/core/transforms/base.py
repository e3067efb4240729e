"""What all transforms have in common: their settings in YAML, and what each can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, ClassVar, NoReturn

from pydantic import Field

from groundplane.core import fieldpath
from groundplane.core.objects import Json
from groundplane.core.spec import FUNCTION, Dialect, Problem, Spec, not_supported, only, refusal, required, word
from groundplane.errors import did_you_mean

TRANSFORMS = ("map", "match", "math", "string", "convert")

Apply = Callable[[Json], Json]
Int64 = Annotated[int, Field(ge=fieldpath.INT64_MIN, le=fieldpath.INT64_MAX)]


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


CONVERSIONS = (
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
    convert: Annotated[str | None, word(*CONVERSIONS)] = None
    trim: str | None = None
    regexp: Regexp | None = None
    join: Join | None = None
    replace: Annotated[Replace | None, only(FUNCTION, "use a regexp, or match, in mode Resources")] = None


TYPES = ("string", "int", "int64", "bool", "float64", "object", "array")
FORMATS = ("none", "quantity", "json")


class Convert(Spec):
    """The type that a value shall have, and how a text of it is to be read."""

    zero: ClassVar = {"toType": ""}

    toType: Annotated[str, word(*TYPES)]
    format: Annotated[str | None, word(*FORMATS)] = None


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
        yield (
            not_supported("type", self.type, TRANSFORMS)
            if self.type
            else required("type", mend=did_you_mean("", TRANSFORMS))
        )
