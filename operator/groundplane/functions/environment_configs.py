"""function-environment-configs: EnvironmentConfigs, by name or by labels → the environment in the pipeline's context.

Source: function-environment-configs v0.4 (`fn.go`).  What is selected counts more than what an earlier step put there, and
that more than the defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from groundplane.core import environment, fieldpath
from groundplane.core.objects import Json, Object
from groundplane.core.pipeline import Request, Response, Result, RunFunction, Selector, passed_on
from groundplane.core.spec import FUNCTION, Problem, Spec, load, required
from groundplane.errors import GroundplaneError, InvalidInput, at, shown
from groundplane.functions.selecting import Label, Resolution, label_value, ordered, path_problems

API_VERSION = "apiextensions.crossplane.io/v1beta1"
KIND = "EnvironmentConfig"


# --- the YAML -------------------------------------------------------------------------------------------------


class Reference(Spec):
    """One EnvironmentConfig, by name."""

    name: str = ""


class Labels(Spec):
    """EnvironmentConfigs, by labels: exactly one, or the first few in some order."""

    mode: Literal["Single", "Multiple"] = "Single"
    matchLabels: list[Label] = Field(default_factory=list)
    sortByFieldPath: str = "metadata.name"
    minMatch: Annotated[int | None, Field(ge=0)] = None
    maxMatch: Annotated[int | None, Field(ge=0)] = None


class Source(Spec):
    """Where some of the environment comes from, and where in it it goes."""

    type: Literal["Reference", "Selector"] = "Reference"
    ref: Reference | None = None
    selector: Labels | None = None
    toFieldPath: str | None = None


class Settings(Spec):
    """What the environment is made of."""

    defaultData: dict[str, Json] = Field(default_factory=dict)
    environmentConfigs: list[Source] = Field(default_factory=list)
    policy: Resolution = Field(default_factory=Resolution)


class Input(Spec):
    """`Input` of `environmentconfigs.fn.crossplane.io/v1beta1`."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    spec: Settings = Field(default_factory=Settings)


# --- what is wrong with it --------------------------------------------------------------------------------------


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Everything that is wrong with an input."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    if found is None:
        return problems
    return [
        problem.under(f"spec.environmentConfigs[{index}]")
        for index, source in enumerate(found.spec.environmentConfigs)
        for problem in _problems(source)
    ]


def _problems(source: Source) -> Iterator[Problem]:
    if source.toFieldPath is not None:
        yield from path_problems("toFieldPath", source.toFieldPath)
    if source.type == "Reference":
        if source.ref is None or not source.ref.name:
            yield required("ref.name", "must be set for type Reference")
        return
    selector = source.selector
    if selector is None or not selector.matchLabels:
        yield required("selector.matchLabels", "must be set for type Selector")
        return
    yield from path_problems("selector.sortByFieldPath", selector.sortByFieldPath)
    for name in ("minMatch", "maxMatch"):
        if selector.mode == "Single" and getattr(selector, name) is not None:
            yield Problem(
                "Forbidden", f"selector.{name}", "not with mode Single", "set mode: Multiple, or leave it out"
            )
    for index, label in enumerate(selector.matchLabels):
        place = f"selector.matchLabels[{index}]"
        yield from (problem.under(place) for problem in label.problems())


# --- running ----------------------------------------------------------------------------------------------------


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function with this input, ready to run.  The input has passed `check`."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    assert found is not None, problems
    settings = found.spec
    return lambda request: _Run(settings, request).answer()


@dataclass(frozen=True, slots=True)
class _Run:
    """One call: what becomes of what was asked."""

    settings: Settings
    request: Request

    def answer(self) -> Response:
        if not self.settings.environmentConfigs:
            return passed_on(self.request)
        try:
            return self._answer()
        except GroundplaneError as error:
            return passed_on(self.request, Result("Fatal", str(error)))

    def _answer(self) -> Response:
        base = environment.merged(self.settings.defaultData, environment.of(self.request.context))
        found = self._selected(base)
        requirements = self._requirements(found)
        if not requirements.keys() <= self.request.required.keys():
            return Response(self.request.desired, self.request.context, requirements=requirements)
        self._check(requirements)
        made = environment.named(fieldpath.copied(found))
        return Response(
            self.request.desired, {**self.request.context, environment.KEY: made}, requirements=requirements
        )

    def _sources(self) -> Iterator[tuple[str, str, Source]]:
        """Each with its place in the input and the name of its requirement."""
        for index, source in enumerate(self.settings.environmentConfigs):
            yield f"environmentConfigs[{index}]", f"environment-config-{index}", source

    def _selected(self, base: dict[str, Json]) -> dict[str, Json]:
        """The base, and what was found so far."""
        for place, name, source in self._sources():
            with at(place):
                for config in _chosen(source, self.request.required.get(name) or ()):
                    base = environment.merged(base, _nested(config.get("data") or {}, source.toFieldPath))
        return base

    def _requirements(self, seen: Mapping[str, Json]) -> dict[str, Selector]:
        requirements = {}
        for place, name, source in self._sources():
            if source.type == "Reference":
                requirements[name] = Selector(API_VERSION, KIND, name=source.ref.name if source.ref else "")
                continue
            with at(place):
                labels = self._labels(source.selector or Labels(), seen)
            if labels:
                requirements[name] = Selector(API_VERSION, KIND, labels=labels)
        return requirements

    def _labels(self, selector: Labels, seen: Mapping[str, Json]) -> dict[str, str]:
        labels = {}
        for index, label in enumerate(selector.matchLabels):
            if label.type == "Value":
                labels[label.key] = label.value or ""
                continue
            source = self.request.observed.composite.object if label.type == "FromCompositeFieldPath" else seen
            try:
                with at(f"selector.matchLabels[{index}]"):
                    labels[label.key] = label_value(source, label.valueFromFieldPath or "")
            except InvalidInput:
                if label.fromFieldPathPolicy == "Required":
                    raise
        return labels

    def _check(self, requirements: Mapping[str, Selector]) -> None:
        """Complain of what was looked for in vain."""
        for place, name, source in self._sources():
            if name in requirements:
                with at(place):
                    _check_count(source, len(self.request.required[name]), self.settings.policy.resolution)


def _check_count(source: Source, count: int, resolution: str) -> None:
    selector = source.selector
    if source.type == "Reference":
        name = source.ref.name if source.ref else ""
        if count > 1 or (count == 0 and resolution == "Required"):
            raise InvalidInput(
                f"EnvironmentConfig {shown(name)} not found",
                mend="apply it, correct ref.name, or set policy.resolution: Optional",
            )
    elif selector is not None and selector.mode == "Single":
        if count != 1:
            raise InvalidInput(
                f"{count} EnvironmentConfigs have the labels, not exactly one",
                mend="correct the labels, or set selector.mode: Multiple",
            )
    elif selector is not None and count < (selector.minMatch or 0):
        raise InvalidInput(
            f"{count} EnvironmentConfigs have the labels, fewer than {selector.minMatch}",
            mend="apply more of them, or lower selector.minMatch",
        )


def _chosen(source: Source, found: Sequence[Object]) -> Sequence[Object]:
    """Which of the configs that were found count, in which order."""
    selector = source.selector
    if source.type == "Reference" or selector is None or selector.mode == "Single":
        return found
    return ordered(found, selector.sortByFieldPath)[: selector.maxMatch]


def _nested(data: Json, path: str | None) -> dict[str, Json]:
    if not path:
        result: dict[str, Json] = data
        return result
    holder: dict[str, Json] = {}
    fieldpath.set(holder, fieldpath.parse(path), data)
    return holder
