"""How long the commands for authors take, as processes on a store: of five the fastest, and its CPU.

A claim of ten buckets and one of fifty, and a hundred claims of the shipped composition, on a cloud that obeys; the plan is against AWS's stand-in.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cold_start import FOLDER, _children
from groundplane.core import conditions
from groundplane.core.objects import key_of
from groundplane.errors import NoSuchKind
from groundplane.ports import Cloud
from groundplane.runtime.local import LocalControlPlane
from groundplane.runtime.trial import Obedient

CLAIMS = 100
GROUP = "bench.example.org"


def measure() -> Iterator[tuple[str, str]]:
    from tests.standin import serving

    with tempfile.TemporaryDirectory() as folder, serving() as url:
        place = Path(folder)
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
        os.environ.update(keys | {"AWS_ENDPOINT_URL": url})
        asyncio.run(_fill(place / "obedient.db", Obedient(), [*_shipped(), *_rows(50)]))
        asyncio.run(_fill(place / "standin.db", None, [*_read("provider.yaml"), *_rows(10)]))
        files = {
            "claim": [_claim(0, size="large")],
            "composition": [_composition()],
            "row": [_row(10, "blue")],
        }
        for name, objects in files.items():
            (place / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
        for what, words in (
            ("validate the shipped library", ["validate", str(FOLDER.parent)]),
            ("diff of a claim", ["diff", "claim.yaml", "--db", "obedient.db"]),
            (f"diff of a Composition of {CLAIMS} composites", ["diff", "composition.yaml", "--db", "obedient.db"]),
            ("trace of a claim of 50", ["trace", "row/row-50", "-n", "team", "--db", "obedient.db"]),
            ("plan of a claim of ten buckets", ["plan", "row.yaml", "--db", "standin.db"]),
        ):
            yield what, _timed(words, place)


def _timed(words: list[str], place: Path) -> str:
    times, cpu = [], []
    for _ in range(5):
        begun, used = time.perf_counter(), _children()
        ran = subprocess.run(
            [sys.executable, "-m", "groundplane.cli.main", *words], cwd=place, capture_output=True, text=True
        )
        times.append(time.perf_counter() - begun)
        cpu.append(_children() - used)
        if ran.returncode not in (0, 3):
            raise RuntimeError(ran.stderr or ran.stdout)
    return f"{min(times):.2f} s (CPU {min(cpu):.2f} s)"


async def _fill(path: Path, cloud: Cloud | None, objects: list[dict[str, Any]]) -> None:
    async with LocalControlPlane(path, cloud=cloud) as plane:
        for obj in objects:
            while True:
                try:
                    await plane.cluster.apply(obj, manager="person")
                    break
                except NoSuchKind:
                    await asyncio.sleep(0.05)
        claims = [key_of(obj) for obj in objects if obj["kind"] in ("Row", "Database")]
        while not all(conditions.is_true(plane.cluster.peek(key) or {}, "Ready") for key in claims):
            await asyncio.sleep(0.5)


def _read(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def _shipped() -> list[dict[str, Any]]:
    files = ("definition.yaml", "composition.yaml", "provider.yaml", "network.yaml")
    return [*(obj for name in files for obj in _read(name)), *map(_claim, range(CLAIMS))]


def _claim(number: int, **parameters: str) -> dict[str, Any]:
    (claim,) = _read("examples/claim.yaml")
    claim["metadata"]["name"] = f"claim-{number}"
    claim["spec"]["parameters"] |= parameters
    claim["spec"]["writeConnectionSecretToRef"] = {"name": f"claim-{number}"}
    return claim


def _composition() -> dict[str, Any]:
    (composition,) = _read("composition.yaml")
    composition["spec"]["resources"][0]["base"]["spec"]["forProvider"]["storageType"] = "gp2"
    found: dict[str, Any] = composition
    return found


def _rows(size: int) -> list[dict[str, Any]]:
    """A claim of so many buckets."""
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"team": {"type": "string"}}}}}
    definition = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": f"xrows.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {"kind": "XRow", "plural": "xrows"},
            "claimNames": {"kind": "Row", "plural": "rows"},
            "versions": [{"name": "v1", "served": True, "referenceable": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    base = {
        "apiVersion": "s3.aws.upbound.io/v1beta1",
        "kind": "Bucket",
        "spec": {"forProvider": {"region": "eu-west-1"}},
    }
    patch = {
        "type": "FromCompositeFieldPath",
        "fromFieldPath": "spec.team",
        "toFieldPath": "spec.forProvider.tags.team",
    }
    templates = [{"name": f"bucket-{number}", "base": base, "patches": [patch]} for number in range(size)]
    composition = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "rows"},
        "spec": {"compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "XRow"}, "resources": templates},
    }
    return [definition, composition, _row(size, "red")]


def _row(size: int, team: str) -> dict[str, Any]:
    metadata = {"name": f"row-{size}", "namespace": "team"}
    return {"apiVersion": f"{GROUP}/v1", "kind": "Row", "metadata": metadata, "spec": {"team": team}}
