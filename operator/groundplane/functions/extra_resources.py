"""function-extra-resources: objects of the cluster, by name or by labels → the pipeline's context.

Source: function-extra-resources v0.3 (`fn.go`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from groundplane.core.objects import Json, Object
from groundplane.core.pipeline import Request, Response, Result, RunFunction, Selector
from groundplane.core.spec import FUNCTION, Problem, Spec, load, required
from groundplane.errors import GroundplaneError, InvalidInput, at, shown
from groundplane.functions import selecting
from groundplane.functions.selecting import Resolution, label_value, ordered, path_problems

BY_NAME = "metadata.name"
KEY = "apiextensions.crossplane.io/extra-resources"  # in the context, unless the input names another


# --- the YAML -------------------------------------------------------------------------------------------------


class Reference(Spec):
    """One object, by name."""

    name: str = ""


class Label(selecting.Label):
    """A label that the objects must have; there is no environment."""

    type: Literal["FromCompositeFieldPath", "Value"] = "FromCompositeFieldPath"

    def problems(self) -> Iterator[Problem]:
        return iter(()) if self.type == "Value" and self.value == "" else super().problems()


class Labels(Spec):
    """Objects, by labels."""

    matchLabels: list[Label] = Field(default_factory=list)
    sortByFieldPath: str = BY_NAME
    minMatch: Annotated[int | None, Field(ge=0)] = None
    maxMatch: Annotated[int | None, Field(ge=0)] = None


class Source(Spec):
    """Which objects, and the name that they get in the context."""

    type: Literal["Reference", "Selector"] = "Reference"
    apiVersion: str = ""
    kind: str = ""
    namespace: str = ""
    ref: Reference | None = None
    selector: Labels | None = None
    into: str = ""


class Context(Spec):
    """Where in the context the objects go."""

    key: str = KEY


class Settings(Spec):
    """Which objects there are to be in the context."""

    extraResources: list[Source] = Field(default_factory=list)
    policy: Resolution = Field(default_factory=Resolution)
    context: Context = Field(default_factory=Context)


class Input(Spec):
    """`Input` of `extra-resources.fn.crossplane.io/v1beta1`."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    spec: Settings = Field(default_factory=Settings)


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Everything that is wrong with an input."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    if found is None:
        return problems
    return [
        problem.under(f"spec.extraResources[{index}]")
        for index, source in enumerate(found.spec.extraResources)
        for problem in _problems(source)
    ]


def _problems(source: Source) -> Iterator[Problem]:
    for name in ("into", "apiVersion", "kind"):
        if not getattr(source, name):
            yield required(name)
    if source.type == "Reference":
        if source.ref is None or not source.ref.name:
            yield required("ref.name", "must be set for type Reference")
        return
    if source.selector is None:
        yield required("selector", "must be set for type Selector")
        return
    yield from path_problems("selector.sortByFieldPath", source.selector.sortByFieldPath)
    for index, label in enumerate(source.selector.matchLabels):
        yield from (problem.under(f"selector.matchLabels[{index}]") for problem in label.problems())


# --- running ----------------------------------------------------------------------------------------------------


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function with this input, ready to run.  The input has passed `check`."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    assert found is not None, problems
    settings = found.spec
    return lambda request: _run(settings, request)


def _run(settings: Settings, request: Request) -> Response:
    context, results = request.context, list[Result]()
    requirements: dict[str, Selector] = {}
    try:
        requirements |= _requirements(settings, request.observed.composite.object)
        if requirements.keys() & request.required.keys():
            context = {**context, settings.context.key: _found(settings, request.required)}
    except GroundplaneError as error:
        results.append(Result("Fatal", str(error)))
    return Response(request.desired, context, results, requirements=requirements, hints=list(_hints(settings)))


def _hints(settings: Settings) -> Iterator[str]:
    last = {source.into: index for index, source in enumerate(settings.extraResources)}
    for index, source in enumerate(settings.extraResources):
        if last[source.into] != index:
            other = f"extraResources[{last[source.into]}]"
            yield f"extraResources[{index}] has no effect: {other} goes into {shown(source.into)}, too. Mend: call one of them something else"


def _requirements(settings: Settings, composite: Object) -> dict[str, Selector]:
    wanted = {}
    for index, source in enumerate(settings.extraResources):
        if source.type == "Reference":
            name = source.ref.name if source.ref else ""
            wanted[source.into] = Selector(source.apiVersion, source.kind, name, namespace=source.namespace)
            continue
        given = source.selector or Labels()
        with at(f"extraResources[{index}]"):
            labels = _labels(given, composite)
        if labels:
            wanted[source.into] = Selector(source.apiVersion, source.kind, labels=labels, namespace=source.namespace)
    return wanted


def _labels(selector: Labels, composite: Object) -> dict[str, str]:
    labels = {}
    for index, label in enumerate(selector.matchLabels):
        if label.type == "Value":
            labels[label.key] = label.value or ""
            continue
        try:
            with at(f"selector.matchLabels[{index}]"):
                labels[label.key] = label_value(composite, label.valueFromFieldPath or "")
        except InvalidInput as error:
            if label.fromFieldPathPolicy == "Required":
                error.mend = error.mend or "set it in the composite, or write fromFieldPathPolicy: Optional"
                raise
    return labels


def _found(settings: Settings, answers: Mapping[str, Sequence[Object]]) -> dict[str, Json]:
    """The objects of each name; of two entries with one name, the last one's."""
    found: dict[str, Json] = {}
    for index, source in enumerate(settings.extraResources):
        with at(f"extraResources[{index}]"):
            if source.into not in answers:
                raise InvalidInput(
                    f"cannot find expected extra resource {shown(source.into)}",
                    mend="give its selector a label that is always there",
                )
            chosen = _chosen(source, answers[source.into], settings.policy.resolution)
            if chosen or source.type == "Selector":
                found[source.into] = list(chosen)
    return found


def _chosen(source: Source, found: Sequence[Object], resolution: str) -> Sequence[Object]:
    name, selector = shown(source.into), source.selector or Labels()
    if source.type == "Reference":
        if not found and resolution == "Required":
            raise InvalidInput(
                f"Required extra resource {name} not found",
                mend="apply it, correct ref.name or namespace, or set policy.resolution: Optional",
            )
        if len(found) > 1:
            raise InvalidInput(f"expected exactly one extra resource {name}, got {len(found)}")
        return found
    if len(found) < (selector.minMatch or 0):
        raise InvalidInput(
            f"expected at least {selector.minMatch} extra resources {name}, got {len(found)}",
            mend="apply more of them, or lower selector.minMatch",
        )
    if len(found) == 1:
        return found[: selector.maxMatch]
    return ordered(found, selector.sortByFieldPath or BY_NAME)[: selector.maxMatch]
