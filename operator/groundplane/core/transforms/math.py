"""The transform `math`: one calculation with one number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from groundplane.core.objects import Json
from groundplane.core.spec import FUNCTION, Dialect, Problem, not_supported, required
from groundplane.core.transforms import govalues
from groundplane.core.transforms.base import AnyTransform, Apply
from groundplane.errors import InvalidInput, did_you_mean, shown

_PARAMETERS = {"Multiply": "multiply", "ClampMin": "clampMin", "ClampMax": "clampMax"}


class MathTransform(AnyTransform):
    """Multiply a number, or keep it within a limit.  Integers are of 64 bits and overflow as Go's do."""

    type: Literal["math"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.math is None:
            yield required("math")
        elif not self.math.type and dialect == FUNCTION:
            yield required("math.type", mend=did_you_mean("", _PARAMETERS))
        elif (self.math.type or "Multiply") not in _PARAMETERS:
            yield not_supported("math.type", self.math.type, _PARAMETERS)
        else:
            parameter = _PARAMETERS[self.math.type or "Multiply"]
            if getattr(self.math, parameter) is None:
                yield required(f"math.{parameter}")

    def compile(self, dialect: Dialect) -> Apply:
        assert self.math is not None
        kind = self.math.type or "Multiply"
        parameter: int = getattr(self.math, _PARAMETERS[kind])
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
    return govalues.wrapped(value * factor)


def _at_least(value: float, limit: int) -> float:
    return limit if govalues.truncated(value) < limit else value


def _at_most(value: float, limit: int) -> float:
    return limit if govalues.truncated(value) > limit else value
