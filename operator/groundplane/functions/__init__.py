"""The composition functions that are built in, and which one a pipeline's step means."""

from __future__ import annotations

from collections.abc import Mapping

from groundplane.core import packages
from groundplane.core.composition import CompositionSpec
from groundplane.core.pipeline import Find, Function
from groundplane.core.typecheck import Part
from groundplane.errors import InvalidInput, shown
from groundplane.functions import auto_ready, environment_configs, patch_and_transform

BUILT_IN: Mapping[str, Function] = {
    "function-patch-and-transform": patch_and_transform,
    "function-auto-ready": auto_ready,
    "function-environment-configs": environment_configs,
}


def finder(images: Mapping[str, str] | None = None) -> Find:
    """Find built-in functions by the name that a step gives.

    `images` holds `spec.package` of the Function objects that are declared, by name: it says what a name means.
    Where none is declared the name itself does, alone or behind an organisation.
    """

    def find(name: str) -> Function:
        image = (images or {}).get(name)
        words = name if image is None else packages.path_of(image).rpartition("/")[2]
        for known, function in BUILT_IN.items():
            if words == known or (image is None and words.endswith(f"-{known}")):
                return function
        what = f"no function {shown(name)} is built in"
        if image is not None:
            what = f"Function {shown(name)} is package {shown(image)}, which is not built in"
        raise InvalidInput(what, mend=f"use one of: {', '.join(sorted(BUILT_IN))}")

    return find


def parts(spec: CompositionSpec, find: Find) -> list[Part]:
    """What the steps of a valid Composition are told of patches, for `typecheck`."""
    found = []
    for index, step in enumerate(spec.pipeline if spec.is_pipeline else ()):
        if find(step.functionRef.name) is patch_and_transform:
            found.append(patch_and_transform.part(step.input or {}, f"spec.pipeline[{index}].input"))
    return found
