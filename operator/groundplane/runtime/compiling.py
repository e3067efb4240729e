"""Compositions' revisions, compiled for the functions that there are, whose runs in this process are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from groundplane.core import composition
from groundplane.core.function_sources import Source
from groundplane.core.objects import Object
from groundplane.functions import HOW, finder
from groundplane.runtime import metrics


def compiled(
    revision: Object, sources: Mapping[str, Source], *, how: str = HOW, templates: Mapping[str, str] | None = None
) -> composition.Compiled:
    """A revision, compiled for the functions that there are; `how` to have another, errors say."""
    made = composition.compile(revision, finder(sources, how=how, templates=templates))
    steps = tuple(metrics.measured(step, sources.get(step.function, Source()).package) for step in made.steps)
    return replace(made, steps=steps)
