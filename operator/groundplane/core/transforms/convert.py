"""The transform `convert`: from one type to another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from groundplane.core import fieldpath, goformat, quantity
from groundplane.core.objects import Json
from groundplane.core.spec import Dialect, Problem, not_supported, required
from groundplane.core.transforms import govalues
from groundplane.core.transforms.base import FORMATS, TYPES, AnyTransform, Apply
from groundplane.errors import InvalidInput, shown


class ConvertTransform(AnyTransform):
    """Turn a value into one of another type."""

    type: Literal["convert"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.convert is None:
            yield required("convert")
            return
        if self.convert.format is not None and self.convert.format not in FORMATS:
            yield not_supported("convert.format", self.convert.format, FORMATS)
        if self.convert.toType not in TYPES:
            yield not_supported("convert.toType", self.convert.toType, TYPES)

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


_PAIRS: dict[tuple[str, str, str], Apply] = {
    ("string", "bool", "none"): govalues.parse_bool,
    ("string", "int64", "none"): govalues.parse_int,
    ("string", "float64", "none"): govalues.parse_float,
    ("string", "float64", "quantity"): quantity.parse,
    ("string", "object", "json"): govalues.json_parser(dict),
    ("string", "array", "json"): govalues.json_parser(list),
    ("bool", "string", "none"): lambda value: "true" if value else "false",
    ("bool", "int64", "none"): int,
    ("bool", "float64", "none"): float,
    ("int64", "string", "none"): str,
    ("int64", "bool", "none"): lambda value: value == 1,
    ("int64", "float64", "none"): fieldpath.as_float,
    ("float64", "string", "none"): govalues.decimal_text,
    ("float64", "bool", "none"): lambda value: value == 1.0,
    ("float64", "int64", "none"): govalues.truncated,
}


def convertible(source: str, target: str, form: str) -> bool:
    """Whether values of one type can be converted to another, different one; in Go's names of types.

    >>> convertible("string", "int64", "none"), convertible("int64", "float64", "quantity")
    (True, False)
    """
    return (source, target, form) in _PAIRS
