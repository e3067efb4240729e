"""sprig's functions for numbers.

Source: Masterminds/sprig v3.3.0 `numeric.go`; spf13/cast v1.7, shopspring/decimal v1.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from groundplane.core import goformat
from groundplane.core.fieldpath import INT64_MAX, INT64_MIN
from groundplane.core.goformat import Special
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.parser import floating, integer
from groundplane.core.gotemplate.run import Run, check_items
from groundplane.core.gotemplate.sprig.library import Library, function
from groundplane.core.gotemplate.values import Int, Ints, Value, wrapped

NUMBERS: Library = {}


def to_int64(value: Value) -> int:
    """cast.ToInt64: text by its prefix, 0 for what is no number.

    >>> to_int64("010"), to_int64("1.0"), to_int64("1.5"), to_int64(True)
    (8, 1, 0, 1)
    """
    if isinstance(value, Special):
        return 0
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and INT64_MIN <= value < 2.0**63 else INT64_MIN
    if isinstance(value, str):
        head, dot, zeros = value.rpartition(".")
        found = integer(head if dot and zeros and not zeros.strip("0") else value)
        return found if found is not None and INT64_MIN <= found <= INT64_MAX else 0
    return 0


def to_float(value: Value) -> float:
    """cast.ToFloat64."""
    if isinstance(value, Special):
        return 0.0
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        named = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}.get(value.lower().lstrip("+-"))
        if named is not None:
            return -named if value.startswith("-") else named
        found = floating(value)
        return found if found is not None else 0.0
    return 0.0


def _counted(body: Callable[..., int]) -> Callable[..., int]:
    return lambda *values: wrapped(body(*(to_int64(value) for value in values)))


def _divided(one: int, other: int) -> tuple[int, int]:
    """Quotient and remainder, towards zero."""
    if other == 0:
        raise Failure("runtime error: integer divide by zero", "look at the divisor first")
    quotient = abs(one) // abs(other) * (-1 if (one < 0) is not (other < 0) else 1)
    return quotient, one - quotient * other


def _product(*values: int) -> int:
    result = 1
    for value in values:
        result = wrapped(result * value)
    return result


function(NUMBERS, "add", "", "any")(_counted(lambda *values: sum(values)))
function(NUMBERS, "add1", "any")(_counted(lambda value: value + 1))
function(NUMBERS, "sub", "any any")(_counted(lambda one, other: one - other))
function(NUMBERS, "mul", "any", "any")(_counted(_product))
function(NUMBERS, "div", "any any")(_counted(lambda one, other: _divided(one, other)[0]))
function(NUMBERS, "mod", "any any")(_counted(lambda one, other: _divided(one, other)[1]))
function(NUMBERS, "max biggest", "any", "any")(_counted(lambda *values: max(values)))
function(NUMBERS, "min", "any", "any")(_counted(lambda *values: min(values)))
function(NUMBERS, "int64", "any")(to_int64)
function(NUMBERS, "int", "any")(lambda value: Int(to_int64(value)))
function(NUMBERS, "float64", "any")(to_float)
function(NUMBERS, "maxf", "any", "any")(lambda *values: _extreme(max, values))
function(NUMBERS, "minf", "any", "any")(lambda *values: _extreme(min, values))


def _extreme(choose: Callable[[list[float]], float], values: Sequence[Value]) -> float:
    found = [to_float(value) for value in values]
    return math.nan if any(map(math.isnan, found)) else choose(found)


@function(NUMBERS, "toDecimal", "any")
def to_decimal(value: Value) -> int:
    """An octal number's value."""
    text = goformat.text(value)
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits or len(digits) > 30 or digits.strip("01234567"):
        return 0
    found = int(text, 8)
    return found if INT64_MIN <= found <= INT64_MAX else 0


# --- floats, by decimal arithmetic ------------------------------------------------------------------------------------

_EXACT = Context(prec=1_500)
_DIVISION_PLACES = Decimal("1e-16")


def _decimal(value: Value) -> Decimal:
    number = to_float(value)
    if not math.isfinite(number):
        raise Failure(f"Cannot create a Decimal from {goformat.format_float(number, 'g', -1)}")
    return Decimal(repr(number))


def _chain(operate: Callable[[Decimal, Decimal], Decimal], first: Value, others: Sequence[Value]) -> float:
    result = _decimal(first)
    for other in others:
        result = operate(result, _decimal(other))
    return float(result) or 0.0  # a decimal has no negative zero


def _quotient(one: Decimal, other: Decimal) -> Decimal:
    if not other:
        raise Failure("decimal division by 0", "look at the divisor first")
    try:
        return _EXACT.divide(one, other).quantize(_DIVISION_PLACES, ROUND_HALF_UP, context=_EXACT)
    except InvalidOperation:
        return _EXACT.divide(one, other)


function(NUMBERS, "addf", "", "any")(lambda *values: _chain(_EXACT.add, 0, values))
function(NUMBERS, "add1f", "any")(lambda value: _chain(_EXACT.add, value, [1]))
function(NUMBERS, "subf", "any", "any")(lambda first, *others: _chain(_EXACT.subtract, first, others))
function(NUMBERS, "mulf", "any", "any")(lambda first, *others: _chain(_EXACT.multiply, first, others))
function(NUMBERS, "divf", "any", "any")(lambda first, *others: _chain(_quotient, first, others))
function(NUMBERS, "floor", "any")(lambda value: _whole(math.floor, value))
function(NUMBERS, "ceil", "any")(lambda value: _whole(math.ceil, value))


def _whole(rounded: Callable[[float], int], value: Value) -> float:
    number = to_float(value)
    if not math.isfinite(number):
        return number
    whole = float(rounded(number))
    return whole or math.copysign(whole, number)  # Go keeps the sign of zero


@function(NUMBERS, "round", "any int", "float64")
def round_to(value: Value, places: int, *limits: float) -> float:
    limit = limits[0] if limits else 0.5
    try:
        power = math.pow(10, places)
    except OverflowError:
        power = math.inf
    digits = power * to_float(value)
    if not math.isfinite(digits) or not power:
        return math.nan
    rest = math.modf(digits)[0]
    whole = float(math.ceil(digits) if rest >= limit else math.floor(digits))
    return (whole or math.copysign(whole, digits)) / power


# --- sequences ----------------------------------------------------------------------------------------------------------


@function(NUMBERS, "untilStep", "int int int")
def until_step(start: int, stop: int, step: int) -> Ints:
    if (stop < start and step >= 0) or (stop >= start and step <= 0):
        return Ints()
    numbers = range(start, stop, step)
    check_items(len(numbers) if abs(stop - start) < 2**62 else 2**62)
    return Ints(map(Int, numbers))


@function(NUMBERS, "until", "int")
def until(count: int) -> Ints:
    return until_step(0, count, -1 if count < 0 else 1)


@function(NUMBERS, "seq", "", "int")
def seq(*given: int) -> str:
    if not 1 <= len(given) <= 3:
        return ""
    start, end = (1 if len(given) == 1 else given[0]), given[-1]
    direction = -1 if end < start else 1
    step = given[1] if len(given) == 3 else direction
    if len(given) == 3 and direction < 0 < step:
        return ""
    return " ".join(map(str, until_step(start, end + direction, step)))


@function(NUMBERS, "randInt", "int int", wants_run=True, is_random=True)
def rand_int(run: Run, least: int, below: int) -> Int:
    if below <= least:
        raise Failure("invalid argument to Intn", "the second number must be larger than the first")
    return Int(least + int.from_bytes(run.random(16)) % (below - least))
