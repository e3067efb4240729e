"""The transform `string`: all that makes a text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

from groundplane.core import fieldpath, goformat
from groundplane.core.fieldpath import utf8
from groundplane.core.objects import Json
from groundplane.core.spec import FUNCTION, Dialect, Problem, not_supported, required
from groundplane.core.transforms import regexp
from groundplane.core.transforms.base import AnyTransform, Apply, Regexp, Replace, refusing
from groundplane.errors import InvalidInput, did_you_mean, shown

MAX_RESULT = 1_000_000  # characters of a text that a transform makes

_PARAMETERS = {
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
            yield required("string.type", mend=did_you_mean("", _PARAMETERS))
        elif (self.string.type or "Format") not in _PARAMETERS:
            yield not_supported("string.type", self.string.type, _PARAMETERS)
        else:
            parameter = _PARAMETERS[self.string.type or "Format"]
            if getattr(self.string, parameter) is None:
                yield required(f"string.{parameter}")
            elif parameter == "regexp" and self.string.regexp:
                if not self.string.regexp.match:
                    yield required("string.regexp.match")
                yield from regexp.problems("string.regexp.match", self.string.regexp.match)
            elif self.string.replace and parameter == "replace" and not self.string.replace.search:
                yield required("string.replace.search")

    def unsupported(self, dialect: Dialect) -> Iterator[Problem]:
        """A type that only the function knows."""
        if self.string and self.string.type == "Replace" and dialect != FUNCTION:
            yield not_supported("string.type", "Replace", [name for name in _PARAMETERS if name != "Replace"])

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
                unknown = [not_supported("string.convert", settings.convert, CONVERTERS)]
                return CONVERTERS.get(settings.convert) or refusing(unknown)
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
    expression = regexp.compiled(settings.match)
    group = settings.group or 0

    def apply(value: Json) -> str:
        text = goformat.text(value)
        found = expression.search(utf8(text))
        if found is None or not 0 <= group <= expression.groups:
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
    return _by_letter(_upper_letter, value)


def _lower(value: Json) -> str:
    return _by_letter(_lower_letter, value)


def _by_letter(change: Callable[[str], str], value: Json) -> str:
    """Each different letter is looked at once: a text may have a million."""
    text = fieldpath.unicode_only(goformat.text(value))
    return text.translate({ord(letter): change(letter) for letter in set(text)})


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


CONVERTERS: dict[str, Apply] = {
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
