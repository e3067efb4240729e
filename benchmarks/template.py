"""function-go-templating in process: a template of 100 lines that makes ten resources; CPU, the best of five rounds."""

from __future__ import annotations

import timeit
from collections.abc import Iterator
from time import process_time

from groundplane.core.pipeline import Request, Resource, State
from groundplane.functions import go_templating
from groundplane.functions.go_templating import NAME, _compiled

RESOURCE = """---
apiVersion: s3.aws.upbound.io/v1beta1
kind: Bucket
metadata:
  annotations:
    {{ setResourceNameAnnotation "bucket-NUMBER" }}
  labels: {{ toJson $labels }}
spec:
  forProvider: {region: {{ $xr.spec.region | default "eu-west-1" | quote }}}
  forced: {{ if and (eq $xr.spec.size "large") (getComposedResource . "bucket-0") }}true{{ else }}false{{ end }}
"""
TEMPLATE = (
    '{{ $xr := .observed.composite.resource }}\n{{ $labels := dict "team" "payments" "name" $xr.metadata.name }}\n'
    + "".join(RESOURCE.replace("NUMBER", str(number)) for number in range(10))
)
SMALL = "apiVersion: example.org/v1\nkind: XApp\nstatus: {}\n"
ROUNDS, TIMES = 5, 50


def measure() -> Iterator[tuple[str, str]]:
    composite = {
        "apiVersion": "example.org/v1",
        "kind": "XApp",
        "metadata": {"name": "shop", "uid": "u"},
        "spec": {"size": "large", "region": "eu-west-1"},
    }
    observed = {
        f"bucket-{number}": Resource(
            {"apiVersion": "s3.aws.upbound.io/v1beta1", "kind": "Bucket", "status": {"atProvider": {"arn": "a"}}}
        )
        for number in range(10)
    }
    request = Request(
        State(Resource(composite), observed), State(Resource({"apiVersion": "example.org/v1", "kind": "XApp"}))
    )
    run = go_templating.compile(_input(TEMPLATE))
    assert len(run(request).desired.resources) == 10
    template = _compiled(TEMPLATE, ("", ""), ())
    small = go_templating.compile(_input(SMALL))
    output = template.render(go_templating.seen(request, {}))

    def compiling() -> object:
        _compiled.cache_clear()
        return _compiled(TEMPLATE, ("", ""), ())

    assert template.render(go_templating.seen(request, {})) == output, NAME
    for what, call in (
        (
            f"render {TEMPLATE.count(chr(10))} lines for ten resources, to text",
            lambda: template.render(go_templating.seen(request, {})),
        ),
        ("read the YAML of it", lambda: list(go_templating.documents(output))),
        ("the whole step", lambda: run(request)),
        ("a step that makes next to nothing", lambda: small(request)),
        ("compile it", compiling),
    ):
        best = min(timeit.repeat(call, timer=process_time, repeat=ROUNDS, number=TIMES))
        yield what, f"{best / TIMES * 1e6:.0f} µs"


def _input(template: str) -> dict[str, object]:
    return {"source": "Inline", "inline": {"template": template}}
