"""function-cel-filter: of what earlier steps desire, leave out what an expression in CEL says.

Source: function-cel-filter v0.2 (`fn.go`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import Field

from groundplane.core import cel_requests
from groundplane.core.fieldpath import utf8
from groundplane.core.objects import Json
from groundplane.core.pipeline import Request, Response, Result, RunFunction, State, passed_on
from groundplane.core.spec import FUNCTION, Problem, Spec, load, required
from groundplane.core.transforms import regexp
from groundplane.errors import GroundplaneError, InvalidInput, at, did_you_mean, shown


class Filter(Spec):
    """Which resources, by a pattern of their whole name, and when they are desired."""

    name: str = ""
    expression: str = ""


class Input(Spec):
    """`Filters` of `cel.fn.crossplane.io/v1beta1`."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    filters: list[Filter] = Field(default_factory=list)


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Everything that is wrong with an input: the function looks at every pattern and expression before it does anything."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    return problems if found is None else list(_problems(found))


def _problems(found: Input) -> Iterator[Problem]:
    looks: Mapping[str, Callable[[str], Any]] = {"name": _compiled, "expression": cel_requests.Question}
    for index, each in enumerate(found.filters):
        if not each.expression:
            yield required(f"filters[{index}].expression")
            continue
        for field, look in looks.items():
            try:
                look(getattr(each, field))
            except InvalidInput as error:
                yield Problem("Invalid", f"filters[{index}].{field}", error.what, error.mend)


def _compiled(name: str) -> Any:
    return regexp.compiled(f"^{name}$")


def _hints(given: Input, filters: Iterable[tuple[Any, Any]], request: Request) -> list[str]:
    """Filters of nothing: a name that is misspelt lets everything pass."""
    names = request.desired.resources
    return [
        f"filters[{index}]: no resource is called {shown(each.name)}. Mend: {did_you_mean(each.name, names)}"
        for index, (each, (pattern, _)) in enumerate(zip(given.filters, filters, strict=True))
        if names and not any(pattern.search(utf8(name)) for name in names)
    ]


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function with this input, ready to run.  The input has passed `check`."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    assert found is not None, problems
    filters = [(_compiled(each.name), cel_requests.Question(each.expression)) for each in found.filters]

    def run(request: Request) -> Response:
        if not filters:
            return passed_on(request)
        try:
            asked, out = cel_requests.Asked(request), []
            for index, (pattern, question) in enumerate(filters):
                with at(f"filters[{index}]"):
                    if not question.ask(asked):
                        out.append(pattern)
        except GroundplaneError as error:
            return passed_on(request, Result("Fatal", str(error)))
        left = {
            name: resource
            for name, resource in request.desired.resources.items()
            if not any(pattern.search(utf8(name)) for pattern in out)
        }
        return Response(State(request.desired.composite, left), request.context, hints=_hints(found, filters, request))

    return run
