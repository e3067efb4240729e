"""The composition functions that are built in, and which one a pipeline's step means: one of them, or one that runs elsewhere."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from groundplane.core import packages
from groundplane.core.composition import CompositionSpec
from groundplane.core.function_sources import ENDPOINT, Source
from groundplane.core.objects import Json
from groundplane.core.pipeline import Endpoint, Find, Function, Remote, RunFunction
from groundplane.core.spec import Problem
from groundplane.core.typecheck import Part
from groundplane.errors import InvalidInput, nearest, shown
from groundplane.functions import (
    auto_ready,
    cel_filter,
    environment_configs,
    extra_resources,
    patch_and_transform,
    sequencer,
    tag_manager,
)

if TYPE_CHECKING:
    from groundplane.functions.go_templating import Files


@dataclass(frozen=True, slots=True)
class Later:
    """A function whose module is imported when it is first asked for: Go's templates take three MiB, and many platforms have none."""

    module: str

    def check(self, given: Mapping[str, Json]) -> list[Problem]:
        return self._function.check(given)

    def compile(self, given: Mapping[str, Json]) -> RunFunction | Remote:
        return self._function.compile(given)

    @property
    def _function(self) -> Function:
        return cast(Function, importlib.import_module(f"{__name__}.{self.module}"))


GO_TEMPLATING = "function-go-templating"

BUILT_IN: Mapping[str, Function] = {
    "function-auto-ready": auto_ready,
    "function-cel-filter": cel_filter,
    "function-environment-configs": environment_configs,
    "function-extra-resources": extra_resources,
    GO_TEMPLATING: Later("go_templating"),
    "function-patch-and-transform": patch_and_transform,
    "function-sequencer": sequencer,
    "function-status-transformer": Later("status_transformer"),
    "function-tag-manager": tag_manager,
}
assert set(BUILT_IN) == set(packages.FUNCTIONS)


HOW = f"run it, and say where in an annotation of the Function of that name, {ENDPOINT}: HOST:PORT"
HOW_HERE = "run it, and say where: --function NAME=localhost:9443, or NAME=exec:COMMAND"  # on a laptop


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A function that does not run in this process: what is wrong with an input, only it knows."""

    name: str
    package: str
    endpoint: Endpoint

    def check(self, given: Mapping[str, Json]) -> list[Problem]:
        return []

    def compile(self, given: Mapping[str, Json]) -> Remote:
        return Remote(self.name, self.endpoint, self.package, given or None)


def finder(sources: Mapping[str, Source] | None = None, *, how: str = HOW, templates: Files | None = None) -> Find:
    """Find functions by the name that a step gives.

    `sources` holds what the Function objects that are declared, and settings, say of names.  Where nothing does, the name itself
    says which of those that are built in is meant, alone or behind an organisation.  `how` one can be had that is not built in, an
    error says.  `templates` are what lies in the folder that templates of go-templating may come from, if there is one.
    """

    def find(name: str) -> Function:
        source = (sources or {}).get(name)
        if source is not None and source.problem:
            raise InvalidInput(source.problem, mend=source.mend)
        if source is not None and source.endpoint is not None:
            return Elsewhere(name, source.package, source.endpoint)
        words = name if source is None else packages.path_of(source.package).rpartition("/")[2]
        for known, function in BUILT_IN.items():
            if words == known or (source is None and words.endswith(f"-{known}")):
                if known == GO_TEMPLATING and templates is not None:
                    from groundplane.functions import go_templating

                    return go_templating.GoTemplating(templates)
                return function
        if source is not None and source.is_starting:
            what = f"Function {shown(name)}, package {shown(source.package)}, does not serve yet"
            raise InvalidInput(what, mend=f"its conditions say why: kubectl describe function.pkg.crossplane.io {name}")
        what = f"no function {shown(name)} is built in"
        if source is not None:
            what = f"Function {shown(name)} is package {shown(source.package)}, which is not built in"
        bare = {known.removeprefix("function-"): known for known in BUILT_IN}
        near = nearest(words.removeprefix("function-"), bare) if source is None else ""
        meant = f"did you mean {bare[near]}? Else " if near else ""
        raise InvalidInput(what, mend=f"{meant}{how}; or use one of: {', '.join(sorted(BUILT_IN))}")

    return find


def parts(spec: CompositionSpec, find: Find) -> list[Part]:
    """What the steps of a valid Composition are told of patches, for `typecheck`."""
    found = []
    for index, step in enumerate(spec.pipeline if spec.is_pipeline else ()):
        if find(step.functionRef.name) is patch_and_transform:
            found.append(patch_and_transform.part(step.input or {}, f"spec.pipeline[{index}].input"))
    return found
