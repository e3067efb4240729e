"""Go's way of turning values into text: `fmt.Sprintf`, `encoding/json`, `strconv` floats.

Source: Go 1.26 `fmt/print.go`, `fmt/format.go`, `strconv/ftoa.go`, `encoding/json`, as far as JSON values reach them.
Compositions are full of format strings, and their authors tuned them on these results, the odd ones
included.  Text that is not UTF-8 is carried as Python's surrogate escapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any

from groundplane.core.fieldpath import INT64_MAX, INT64_MIN, MAX_DEPTH, as_float, too_deep, utf8
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput

MAX_LENGTH = 1_000_000  # characters of one formatted text: no object of that size can be stored anyway


class Special:
    """A Go value that is no JSON: it says its type, and what `%v` prints of it."""

    __slots__ = ()

    go_type: str

    def text(self) -> str:
        raise NotImplementedError


_HUGE = 1_000_000  # where Go itself gives up reading a width
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_SIMPLE = re.compile(r"(?:[^%]|%[sv])*")


def type_name(value: Json) -> str:
    """Go's name for the type of a JSON value.

    >>> type_name(1), type_name([1]), type_name(None)
    ('int64', '[]interface {}', '<nil>')
    """
    named: str | None = getattr(value, "go_type", None)
    if named is not None:
        return named
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int64"
        case float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case bytes():
            return "[]uint8"
        case complex():
            return "complex128"
    return "map[string]interface {}"


def text(value: Json) -> str:
    """What `%v` prints.

    >>> text({"b": [1, None, "x"], "a": 1e6})
    'map[a:1e+06 b:[1 <nil> x]]'
    """
    return value if isinstance(value, str) else sprintf("%v", value)


def sprintf(template: str, *values: Json) -> str:
    """Go's Sprintf.  It never fails on a mismatch: that shows as `%!…` in the text.

    >>> sprintf("%s-%d", "a", 7), sprintf("%d", "a")
    ('a-7', '%!d(string=a)')

    Raises:
        InvalidInput: a width or the whole text would be absurdly large.
    """
    return _Printer(values).run(template)


def formatter(template: str, count: int) -> Callable[[Sequence[Json]], str]:
    """A function that formats `count` values; much quicker than `sprintf` for plain `%s` of strings."""
    parts = re.split("%[sv]", template)
    if not _SIMPLE.fullmatch(template) or len(parts) != count + 1:
        return lambda values: sprintf(template, *values)
    first, rest = parts[0], parts[1:]

    def join(values: Sequence[Json]) -> str:
        result = first
        for value, part in zip(values, rest, strict=True):
            if type(value) is not str or len(result) > MAX_LENGTH:
                return sprintf(template, *values)
            result += value + part
        return result

    return join


class _Printer:
    """One call of Sprintf: the flags of the directive at hand, and the text so far."""

    def __init__(self, values: Sequence[Json]) -> None:
        self.values = values
        self.out: list[str] = []
        self.length = 0
        self.reordered = False
        self.good_index = True
        self.clear()

    def clear(self) -> None:
        self.sharp = self.zero = self.plus = self.minus = self.space = False
        self.sharp_v = self.plus_v = False
        self.width: int | None = None
        self.precision: int | None = None

    def write(self, part: str) -> None:
        self.length += len(part)
        if self.length > MAX_LENGTH:
            raise InvalidInput(f"the formatted text would have more than {MAX_LENGTH} characters")
        self.out.append(part)

    # --- the format string ---

    def run(self, template: str) -> str:
        position, argument = 0, 0
        while position < len(template):
            percent = template.find("%", position)
            if percent < 0:
                percent = len(template)
            self.write(template[position:percent])
            if percent == len(template):
                break
            position, argument = self.directive(template, percent + 1, argument)
        if not self.reordered and argument < len(self.values):
            self.clear()
            self.write("%!(EXTRA ")
            for index, value in enumerate(self.values[argument:]):
                self.write(", " if index else "")
                self.write("<nil>" if value is None else f"{type_name(value)}=")
                if value is not None:
                    self.argument(value, "v")
            self.write(")")
        return "".join(self.out)

    def directive(self, template: str, position: int, argument: int) -> tuple[int, int]:
        """One directive, from behind its percent sign; where to go on, and with which argument."""
        self.clear()
        self.good_index = True
        flags = {"#": "sharp", "0": "zero", "+": "plus", "-": "minus", " ": "space"}
        while position < len(template) and template[position] in flags:
            setattr(self, flags[template[position]], True)
            position += 1
        argument, position, after_index = self.index(template, position, argument)
        if template[position : position + 1] == "*":
            position += 1
            self.width, argument = self.from_argument(argument)
            if self.width is None:
                self.write("%!(BADWIDTH)")
            elif self.width < 0:
                self.width, self.minus, self.zero = -self.width, True, False
            after_index = False
        else:
            self.width, position = _number(template, position)
            if after_index and self.width is not None:
                self.good_index = False
        if template[position : position + 1] == "." and position + 1 < len(template):
            position += 1
            if after_index:
                self.good_index = False
            argument, position, after_index = self.index(template, position, argument)
            if template[position : position + 1] == "*":
                position += 1
                self.precision, argument = self.from_argument(argument)
                if self.precision is None or self.precision < 0:
                    self.precision = None
                    self.write("%!(BADPREC)")
                after_index = False
            else:
                precision, position = _number(template, position)
                self.precision = precision or 0
        if not after_index:
            argument, position, after_index = self.index(template, position, argument)
        if max(self.width or 0, self.precision or 0) > MAX_LENGTH:
            raise InvalidInput(f"a width or precision of more than {MAX_LENGTH} in the format string")
        if position >= len(template):
            self.write("%!(NOVERB)")
            return position, argument
        verb = template[position]
        position += 1
        if verb == "%":
            self.write("%")
        elif not self.good_index:
            self.write(f"%!{verb}(BADINDEX)")
        elif argument >= len(self.values):
            self.write(f"%!{verb}(MISSING)")
        else:
            if verb in "vw":
                self.sharp_v, self.sharp = self.sharp, False
                self.plus_v, self.plus = self.plus, False
            self.argument(self.values[argument], verb)
            argument += 1
        return position, argument

    def index(self, template: str, position: int, argument: int) -> tuple[int, int, bool]:
        """An explicit argument index `[n]`, if there is one."""
        if template[position : position + 1] != "[":
            return argument, position, False
        self.reordered = True
        close = template.find("]", position)
        if close < 0 or len(template) - position < 3:
            self.good_index = False
            return argument, position + 1, False
        number, stop = _number(template, position + 1, close)
        if number is None or stop != close:
            self.good_index = False
            return argument, close + 1, False
        if 1 <= number <= len(self.values):
            return number - 1, close + 1, True
        self.good_index = False
        return argument, close + 1, True

    def from_argument(self, argument: int) -> tuple[int | None, int]:
        """A width or precision given as `*`."""
        if argument >= len(self.values):
            return None, argument
        value = self.values[argument]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _HUGE:
            return value, argument + 1
        return None, argument + 1

    # --- values ---

    def argument(self, value: Json, verb: str, depth: int = 0) -> None:
        if value is None:
            self.null(verb, depth)
        elif verb == "T" and not depth:
            self.padded(self.cut(type_name(value)))
        elif isinstance(value, Special):
            self.string(value.text(), "s" if verb == "v" else verb, depth)
        elif isinstance(value, bool):
            if verb in "tv":
                self.padded("true" if value else "false")
            else:
                self.mismatch(value, verb, depth)
        elif isinstance(value, str):
            self.string(value, verb, depth)
        elif isinstance(value, int):
            self.integer(value, verb, depth)
        elif isinstance(value, float):
            self.float(value, verb, depth)
        elif isinstance(value, complex):
            self.pair(value, verb, depth)
        elif isinstance(value, bytes):
            self.byte_text(value, verb, depth)
        elif verb in "pw" and not depth:
            self.mismatch(value, verb, depth)  # for "p" Go prints an address, which nobody can want
        else:
            self.container(value, verb, depth)

    def null(self, verb: str, depth: int) -> None:
        if depth:
            self.write("interface {}(nil)" if self.sharp_v else "<nil>")
        elif verb in "Tv":
            self.padded("<nil>")
        else:
            self.write(f"%!{verb}(<nil>)")

    def mismatch(self, value: Json, verb: str, depth: int) -> None:
        self.write(f"%!{verb}({type_name(value)}=")
        self.argument(value, "v", depth)
        self.write(")")

    def container(self, value: Json, verb: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise too_deep()
        separator = ", " if self.sharp_v else " "
        if self.sharp_v:
            opening, closing = f"{type_name(value)}{{", "}"
        else:
            opening, closing = ("[" if isinstance(value, list) else "map["), "]"
        self.write(opening)
        if isinstance(value, list):
            for index, item in enumerate(value):
                self.write(separator if index else "")
                self.argument(item, verb, depth + 1)
        else:
            for index, name in enumerate(sorted_keys(value)):
                self.write(separator if index else "")
                self.argument(name, verb, depth + 1)
                self.write(":")
                self.argument(value[name], verb, depth + 1)
        self.write(closing)

    def string(self, value: str, verb: str, depth: int) -> None:
        if verb == "s" or (verb == "v" and not self.sharp_v):
            self.padded(self.cut(value))
        elif verb in "qv":
            value = self.cut(value)
            if self.sharp and _can_backquote(value):
                self.padded(f"`{value}`")
            else:
                self.padded(_quoted(value, '"', ascii_only=self.plus))
        elif verb in "xX":
            self.hexadecimal(utf8(value), verb)
        else:
            self.mismatch(value, verb, depth)

    def byte_text(self, value: bytes, verb: str, depth: int) -> None:
        if verb in "sqxX":
            self.string(value.decode("utf-8", "surrogateescape"), verb, depth)
        else:
            self.container(list(value), verb, depth)

    def pair(self, value: complex, verb: str, depth: int) -> None:
        if verb not in "vbgGxXfFeE":
            self.mismatch(value, verb, depth)
            return
        plus = self.plus
        self.write("(")
        self.float(value.real, verb, depth)
        self.plus = True
        self.float(value.imag, verb, depth)
        self.write("i)")
        self.plus = plus

    def hexadecimal(self, data: bytes, verb: str) -> None:
        data = data[: self.precision] if self.precision is not None else data
        prefix = f"0{verb}" if self.sharp and data else ""
        digits = data.hex(" ").upper() if verb == "X" else data.hex(" ")
        self.padded(prefix + digits.replace(" ", f" {prefix}" if self.space else ""))

    def integer(self, value: int, verb: str, depth: int) -> None:
        if verb in "dv":
            self.digits(f"{abs(value):d}", value, "")
        elif verb == "b":
            self.digits(f"{abs(value):b}", value, "0b" if self.sharp else "")
        elif verb in "oO":
            self.digits(f"{abs(value):o}", value, "0o" if verb == "O" else "", octal=True)
        elif verb in "xX":
            self.digits(f"{abs(value):{verb}}", value, f"0{verb}" if self.sharp else "")
        elif verb in "cq":
            character = chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value <= 0xDFFF else "\ufffd"
            self.padded(character if verb == "c" else _quoted(character, "'", ascii_only=self.plus))
        elif verb == "U":
            number = value % 2**64
            shown = f"U+{number:0{max(4, self.precision or 0)}X}"
            if self.sharp and number <= 0x10FFFF and chr(number).isprintable():
                shown += f" '{chr(number)}'"
            self.padded(shown, zero=False)
        else:
            self.mismatch(value, verb, depth)

    def digits(self, digits: str, value: int, prefix: str, *, octal: bool = False) -> None:
        """An integer's digits, with zeros, prefix and sign; zeros asked for by width go behind the sign."""
        if self.precision is not None:
            if self.precision == 0 and value == 0:
                self.padded("", zero=False)
                return
            digits = digits.rjust(self.precision, "0")
        elif self.zero and not self.minus and self.width is not None:
            digits = digits.rjust(self.width - (value < 0 or self.plus or self.space), "0")
        if octal and self.sharp and not digits.startswith("0"):
            digits = f"0{digits}"
        sign = "-" if value < 0 else "+" if self.plus else " " if self.space else ""
        self.padded(f"{sign}{prefix}{digits}", zero=False)

    def float(self, value: float, verb: str, depth: int) -> None:
        if verb not in "vbgGxXfFeE":
            self.mismatch(value, verb, depth)
            return
        default = 6 if verb in "fFeE" else -1
        precision = default if self.precision is None else self.precision
        form = {"v": "g", "F": "f"}.get(verb, verb)
        shown = format_float(value, form, precision)
        if shown[0] not in "+-":
            shown = (" " if self.space and not self.plus else "+") + shown
        if not math.isfinite(value):
            plain = math.isnan(value) and not self.space and not self.plus
            self.padded(shown[1:] if plain else shown, zero=False)
            return
        if self.sharp and form != "b":
            shown = _with_point(shown, form, precision)
        if not self.plus and shown[0] == "+":
            self.padded(shown[1:])
        elif self.zero and not self.minus and self.width is not None and self.width > len(shown):
            self.write(shown[0] + shown[1:].rjust(self.width - 1, "0"))
        else:
            self.padded(shown)

    # --- layout ---

    def cut(self, value: str) -> str:
        return value if self.precision is None else value[: self.precision]

    def padded(self, value: str, *, zero: bool | None = None) -> None:
        if self.width is None:
            self.write(value)
        elif self.minus:
            self.write(value.ljust(self.width))
        else:
            self.write(value.rjust(self.width, "0" if (self.zero if zero is None else zero) else " "))


def _number(template: str, position: int, end: int | None = None) -> tuple[int | None, int]:
    """Decimal digits at a position, and where they end; nothing and the end if there are absurdly many."""
    end = len(template) if end is None else end
    number, stop = 0, position
    while stop < end and "0" <= template[stop] <= "9":
        if number > _HUGE:
            return None, end
        number = number * 10 + int(template[stop])
        stop += 1
    return (number, stop) if stop > position else (None, min(position, end))


def _with_point(shown: str, form: str, precision: int) -> str:
    """The `#` flag for floats: always a decimal point, and no zeros taken from the end of `%g`."""
    digits = (6 if precision == -1 else precision) if form in "gGx" else 0
    body, tail = shown, ""
    for mark in "pP" if form in "xX" else "eE":
        if mark in shown:
            body, tail = shown[: shown.index(mark)], shown[shown.index(mark) :]
    significant = body[1:].replace(".", "").lstrip("0")
    digits -= len(significant)
    if "." not in body:
        if body[1:] == "0":
            digits -= 1
        body += "."
    return body + "0" * max(0, digits) + tail


def sorted_keys(mapping: Mapping[Any, Json]) -> list[Any]:
    """The keys of a map in the order in which Go prints and ranges over them."""
    if type(mapping) is dict:
        return sorted(mapping)
    return sorted(mapping, key=lambda name: (type_name(name), name if name is not None else 0))


# --- floats ------------------------------------------------------------------------------------------------


def format_float(value: float, form: str, precision: int) -> str:
    """Go's strconv.FormatFloat; a precision of -1 means as many digits as needed to read the same back.

    >>> format_float(1234567.0, "g", -1), format_float(0.1, "f", -1), format_float(10.0, "x", -1)
    ('1.234567e+06', '0.1', '0x1.4p+03')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if form == "b":
        return _binary(value)
    if form in "xX":
        shown = _hexadecimal(value, precision)
        return shown.upper() if form == "X" else shown
    if precision >= 0:
        if form in "gG":
            precision = precision or 1
        return f"{value:.{precision}{form}}"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    digits, point = _shortest(abs(value))
    if form in "gG":
        form = chr(ord(form) - 2) if point - 1 < -4 or point - 1 >= max(6, 0) else "f"
    if form == "f":
        return sign + _plain(digits, point)
    exponent = point - 1 if value else 0
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{sign}{mantissa}{form}{exponent:+03d}"


def _shortest(value: float) -> tuple[str, int]:
    """The fewest digits that read back as the value (≥ 0), and the place of the decimal point in them."""
    if value == 0:
        return "0", 1
    mantissa, _, exponent = f"{value!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    return stripped.rstrip("0") or "0", point


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def _binary(value: float) -> str:
    _, exponent = math.frexp(abs(value))
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    exponent = max(exponent - 53, -1074) if value else -1074
    return f"{sign}{int(math.ldexp(abs(value), -exponent)) if value else 0}p{exponent:+d}"


def _hexadecimal(value: float, precision: int) -> str:
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    fraction, exponent = math.frexp(abs(value))
    bits = int(math.ldexp(fraction, 61))  # the leading 1 is bit 60: 15 hexadecimal digits follow it
    exponent = exponent - 1 if value else 0
    if 0 <= precision < 15:
        shift = 4 * precision
        extra = (bits << shift) & (2**60 - 1)
        bits >>= 60 - shift
        if extra | (bits & 1) > 2**59:
            bits += 1
        bits <<= 60 - shift
        if bits & 2**61:
            bits, exponent = bits >> 1, exponent + 1
    digits = f"{bits & (2**60 - 1):015x}"
    digits = digits.rstrip("0") if precision < 0 else digits.ljust(precision, "0")[:precision]
    return f"{sign}0x{bits >> 60}{f'.{digits}' if digits else ''}p{exponent:+03d}"


# --- quoting and JSON -----------------------------------------------------------------------------------


def _quoted(value: str, quote: str, *, ascii_only: bool) -> str:
    escapes = {ord(character): _escaped(character, quote, ascii_only) for character in set(value)}
    return quote + value.translate(escapes) + quote


def _escaped(character: str, quote: str, ascii_only: bool) -> str:
    if character in (quote, "\\"):
        return f"\\{character}"
    if character.isprintable() and (character.isascii() or not ascii_only):
        return character
    if character in _ESCAPES:
        return _ESCAPES[character]
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x20 or number == 0x7F:
        return f"\\x{number:02x}"
    if 0xD800 <= number <= 0xDFFF:
        number = 0xFFFD
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _can_backquote(value: str) -> bool:
    return not any(
        (character < " " and character != "\t") or character in "`\x7f\ufeff" or "\ud800" <= character <= "\udfff"
        for character in value
    )


_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_HTML_PATTERN = re.compile("[<>&\u2028\u2029]")


def dumps(value: Json, depth: int = 0) -> str:
    r"""A value as Go's encoding/json writes it: compact, keys sorted, safe inside HTML.

    >>> print(dumps({"b": 1, "a": [1.0, None], "<k>": "v"}))
    {"\u003ck\u003e":"v","a":[1,null],"b":1}

    Raises:
        InvalidInput: a number that JSON has not, or absurd nesting.
    """
    if depth > MAX_DEPTH:
        raise too_deep()
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _json_string(value)
        case int():
            return str(value) if INT64_MIN <= value <= INT64_MAX else _json_float(as_float(value))
        case float():
            return _json_float(value)
        case list():
            return f"[{','.join([dumps(item, depth + 1) for item in value])}]"
    members = [f"{_json_string(name)}:{dumps(value[name], depth + 1)}" for name in sorted(value)]
    return f"{{{','.join(members)}}}"


def _json_string(value: str) -> str:
    quoted: str = encode_basestring(value)
    quoted = _HTML_PATTERN.sub(lambda found: _HTML[found[0]], quoted)
    return re.sub("[\ud800-\udfff]", "\ufffd", quoted)


def _json_float(value: float) -> str:
    if not math.isfinite(value):
        raise InvalidInput(f"{value} is no JSON number")
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return format_float(value, "f", -1)
    mantissa, _, exponent = format_float(value, "e", -1).partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0') if exponent[0] == '-' else exponent[1:]}"
