"""Rendering one composition, compiled and not: the best of five rounds."""

from __future__ import annotations

import timeit
from collections.abc import Iterator
from pathlib import Path

import yaml

from groundplane.core import composition, render

FOLDER = Path(__file__).resolve().parents[1] / "compositions" / "database-aws"
ROUNDS, TIMES = 5, 2000


def measure() -> Iterator[tuple[str, str]]:
    source = yaml.safe_load((FOLDER / "composition.yaml").read_text())
    composite = {
        "apiVersion": "platform.example.com/v1alpha1",
        "kind": "XDatabase",
        "metadata": {"name": "db", "uid": "u", "labels": {"crossplane.io/composite": "db"}},
        "spec": {"parameters": {"size": "medium", "engine": "postgres", "version": "15"}},
    }
    compiled = composition.compile(source)
    rendered = render.render(composite, compiled, {}, helpful=True)
    composed = {
        item.template: render.Composed({**item.object, "status": {"atProvider": {"address": "a", "port": 5432}}})
        for item in rendered
        if item.object
    }

    def compiling() -> composition.Compiled:
        return composition.compile(source)

    for what, call in (
        ("render a database's composition, compiled", lambda: render.render(composite, compiled, {}, helpful=True)),
        ("collect status, details and readiness", lambda: render.collect(composite, compiled, composed, helpful=True)),
        ("compile it", compiling),
    ):
        number = TIMES // 10 if call is compiling else TIMES
        best = min(timeit.repeat(call, repeat=ROUNDS, number=number))
        yield what, f"{best / number * 1e6:.0f} µs"
