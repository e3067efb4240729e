"""Whether cost grows in proportion: compositions of many resources and many patches, native and in a pipeline."""

from __future__ import annotations

import timeit
import tracemalloc
from collections.abc import Iterator
from typing import Any

from groundplane.core import composition, pipeline, render
from groundplane.functions import finder

ROUNDS = 7
SIZES = ((10, 100), (50, 500), (100, 1000), (200, 2000))  # resources, patches in all
PATCHES = ((50, 50), (50, 250), (50, 1000))


def source(resources: int, patches: int, *, mode: str = "Resources") -> dict[str, Any]:
    """A composition of this size: texts copied, looked up in tables, and formatted, into objects of some depth."""
    each = patches // resources
    templates = [
        {
            "name": f"resource-{index}",
            "base": {
                "apiVersion": "nop.example.org/v1",
                "kind": "Thing",
                "metadata": {"labels": {"app": "demo", "index": str(index)}},
                "spec": {
                    "forProvider": {"region": "eu-west-1", "rules": [{"port": 80}, {"port": 443}], "tags": {"a": "b"}}
                },
            },
            "patches": [patch(number) for number in range(each)],
        }
        for index in range(resources)
    ]
    spec: dict[str, Any] = {"compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "XR"}, "mode": mode}
    if mode == "Resources":
        spec["resources"] = templates
    else:
        given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": templates}
        step = {"step": "all", "functionRef": {"name": "function-patch-and-transform"}, "input": given}
        spec["pipeline"] = [step]
    return {"metadata": {"name": "scale"}, "spec": spec}


def patch(number: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "FromCompositeFieldPath",
        "fromFieldPath": f"spec.parameters.field{number % 20}",
        "toFieldPath": f"spec.forProvider.field{number}.value",
    }
    if number % 3 == 1:
        made["transforms"] = [{"type": "map", "map": {f"value {n}": f"mapped {n}" for n in range(20)}}]
    elif number % 3 == 2:
        made["transforms"] = [{"type": "string", "string": {"type": "Format", "fmt": "%s-suffix"}}]
    return made


COMPOSITE = {
    "apiVersion": "example.org/v1",
    "kind": "XR",
    "metadata": {"name": "xr", "uid": "u", "labels": {"crossplane.io/composite": "xr"}},
    "spec": {"parameters": {f"field{n}": f"value {n}" for n in range(20)}},
}


def measure() -> Iterator[tuple[str, str]]:
    for resources, patches in (*SIZES, *PATCHES):
        given = source(resources, patches)
        compiled = composition.compile(given)
        made = render.render(COMPOSITE, compiled, {}, helpful=True)
        assert len(made) == resources
        assert not any(item.error for item in made)
        taken = best(lambda compiled=compiled: render.render(COMPOSITE, compiled, {}, helpful=True))
        each = f"{taken / patches * 1e6:.1f} µs a patch, {taken / resources * 1e6:.0f} µs a resource"
        yield f"render {resources} resources, {patches} patches", f"{taken * 1e3:.2f} ms ({each})"
    given = source(50, 500)
    taken = best(lambda: composition.compile(given))
    yield "compile 50 resources, 500 patches", f"{taken * 1e3:.1f} ms"
    yield "memory of that, compiled", f"{memory(given) / 2**20:.2f} MiB"
    piped = composition.compile(source(50, 500, mode="Pipeline"), finder())
    resource = pipeline.Resource(COMPOSITE)
    taken = best(lambda: pipeline.run(resource, piped.steps, {}, fetch=lambda selector: []))
    yield "the same 50 and 500 in a pipeline", f"{taken * 1e3:.2f} ms"


def best(call: Any) -> float:
    number = max(1, int(0.05 / min(timeit.repeat(call, repeat=2, number=1))))
    return min(timeit.repeat(call, repeat=ROUNDS, number=number)) / number


def memory(given: dict[str, Any]) -> int:
    """Bytes that a compiled revision holds."""
    composition.compile(given)  # what is made once for all
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = composition.compile(given)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert kept.templates
    return held
