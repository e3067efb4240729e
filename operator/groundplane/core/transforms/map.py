"""The transform `map`: a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from groundplane.core.objects import Json
from groundplane.core.spec import FUNCTION, Dialect, Problem, required
from groundplane.core.transforms import govalues
from groundplane.core.transforms.base import AnyTransform, Apply
from groundplane.errors import InvalidInput, did_you_mean, shown


class MapTransform(AnyTransform):
    """Look the input up in a table; the usual way from a size to an instance class."""

    type: Literal["map"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        pairs = self.map or {}
        if not (pairs if dialect == FUNCTION else any(value is not None for value in pairs.values())):
            yield required("map.pairs" if self.map is not None else "map", "at least one pair must be given")

    def compile(self, dialect: Dialect) -> Apply:
        nulls = dialect == FUNCTION  # it keeps them, and can't read them
        pairs = {name: govalues.plain(value) for name, value in (self.map or {}).items() if nulls or value is not None}

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
