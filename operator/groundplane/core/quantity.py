"""Kubernetes quantities ("500m", "1Gi") as floats.

Source: k8s.io/apimachinery `pkg/api/resource`, `ParseQuantity` and `AsApproximateFloat64`: how far digits are kept
depends on how many there are, and a quantity keeps nothing below 10⁻⁹ (it rounds away from zero).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from groundplane.errors import InvalidInput, shown

MAX_LENGTH = 1000  # characters: no quantity is that long, and big integers cost time

_SHAPE = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:([numkMGTPE]|[KMGTPE]i)?|[eE]([+-]?[0-9]+))", flags=re.ASCII)
_DECIMAL = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_LARGEST = 2**63 - 1


def parse(text: str) -> float:
    """The approximate value of a quantity.

    >>> parse("1500m"), parse("1Gi")
    (1.5, 1073741824.0)

    Raises:
        InvalidInput: it is no quantity.
    """
    found = _SHAPE.fullmatch(text) if 0 < len(text) <= MAX_LENGTH else None
    if found is None:
        raise _invalid(text)
    sign, whole, decimals, suffix, exponent = found.groups(default="")
    size = max(1, len(whole.lstrip("0")))
    number = int(whole + decimals or "0")
    if suffix in _BINARY:
        result = _binary(text, number, size, decimals, _BINARY[suffix])
    else:
        power = int(exponent) if exponent else _DECIMAL[suffix]
        if size + len(decimals) <= 18 and power - len(decimals) >= -9:
            result = _scaled(number, power - len(decimals))
        elif not whole + decimals:
            raise _invalid(text)
        else:
            result = _to_nano(number, power - len(decimals))
    return -result if sign == "-" and result else result


def exact(text: str) -> Fraction:
    """The value of a quantity, kept to 10⁻⁹ as the API server keeps it.

    >>> exact("1500m"), exact("1Gi")
    (Fraction(3, 2), Fraction(1073741824, 1))

    Raises:
        InvalidInput: it is no quantity, or one that is beyond all measure.
    """
    parse(text)
    found = _SHAPE.fullmatch(text)
    assert found is not None  # else `parse` has raised
    sign, whole, decimals, suffix, exponent = found.groups(default="")
    power = int(exponent) if exponent else _DECIMAL.get(suffix, 0)
    if abs(power) > MAX_LENGTH:
        raise _invalid(text)
    value = (
        Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
        * Fraction(10) ** power
        * 2 ** _BINARY.get(suffix, 0)
    )
    nano = Fraction(math.ceil(value * 10**9), 10**9)
    return -nano if sign == "-" else nano


def _binary(text: str, number: int, size: int, decimals: str, bits: int) -> float:
    if not decimals and 14 - size - bits * 3 // 10 >= 0 and number << bits <= _LARGEST:
        return float(number << bits)
    if not number and not re.search("[0-9]", text):
        raise _invalid(text)
    value = Fraction(number << bits, 10 ** len(decimals))
    if value > _LARGEST:
        return float(_LARGEST)
    return _scaled(math.ceil(value * 10**9), -9) if value else 0.0


def _to_nano(number: int, power: int) -> float:
    if not number:
        return 0.0
    if power + 9 >= 0:
        return math.inf if power > 400 else _scaled(number * 10 ** (power + 9), -9)
    if -power > MAX_LENGTH + 20:
        return _scaled(1, -9)
    return _scaled(-(-number // 10 ** -(power + 9)), -9)


def _scaled(number: int, power: int) -> float:
    try:
        value = float(number)
    except OverflowError:
        return math.inf
    if not value or not power:
        return value
    if abs(power) > 400:
        return math.inf if power > 0 else 0.0
    return value * float(f"1e{power}")


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        f"{shown(text)} is no quantity", mend='write a number and a suffix without spaces, as in "500m", "1.5", "10Gi"'
    )
