"""The transform `match`: patterns in order, and a fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from groundplane.core.fieldpath import utf8
from groundplane.core.objects import Json
from groundplane.core.spec import Dialect, Problem, not_supported, required
from groundplane.core.transforms import govalues, regexp
from groundplane.core.transforms.base import AnyTransform, Apply, Match, Pattern, refusing
from groundplane.errors import InvalidInput, shown


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
            (_pattern_test(f"match.patterns[{index}]", pattern), govalues.plain(pattern.result))
            for index, pattern in enumerate(settings.patterns)
        ]
        to_input = settings.fallbackTo == "Input"
        fallback = govalues.plain(settings.fallbackValue)

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
        yield from regexp.problems(f"{place}.regexp", pattern.regexp)
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
    expression = regexp.compiled(pattern.regexp or "")
    return lambda value: expression.search(utf8(value)) is not None
