"""`groundplane xrd`: definitions, without any control plane.  Commands and flags are those of Crossplane v2's `crossplane xrd`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundplane.cli import completing
from groundplane.cli.groups import Group
from groundplane.errors import InvalidInput, at

if TYPE_CHECKING:
    from groundplane.core.objects import Object


@click.group(cls=Group, epilog="Example: groundplane xrd convert definition.yaml --output-dir crds/")
def xrd() -> None:
    """Show what becomes of CompositeResourceDefinitions."""


@xrd.command(epilog="Example: groundplane xrd convert definition.yaml --format jsonschema --output-dir schemas/")
@click.argument("file", default="-", metavar="[FILE]", shell_complete=completing.files)
@click.option(
    "-o", "--output-file", default="", metavar="PATH", shell_complete=completing.files, help="Write it all there."
)
@click.option(
    "--output-dir", default="", metavar="DIR", shell_complete=completing.folders, help="Write a file for each."
)
@click.option("--format", "format_", type=click.Choice(["crd", "jsonschema"]), default="crd", show_default=True)
@click.option("--strict-upstream", is_flag=True, help="As upstream makes them, for an operator that runs so.")
def convert(file: str, output_file: str, output_dir: str, format_: str, strict_upstream: bool) -> None:
    """Print the CustomResourceDefinitions that are made of the definitions in FILE, or standard input: the composite's, and the claim's.

    With --format jsonschema the JSON Schema of each of their versions instead.
    """
    from groundplane.cli import manifests
    from groundplane.core import known_schemas

    if output_file and output_dir:
        raise click.UsageError("choose one: --output-file or --output-dir")
    files: dict[str, str] = {}
    for manifest in (manifest for path in manifests.files([file]) for manifest in manifests.read(path)):
        with at(manifest.origin):
            if not known_schemas.is_definition(manifest.object):
                what = f"{manifest.object['kind']} of {manifest.object['apiVersion']}"
                raise InvalidInput(
                    f"{what} is no CompositeResourceDefinition", mend="name a file with definitions alone"
                )
            for crd in _crds(manifest.object, strict_upstream):
                files |= dict(_schemas(crd) if format_ == "jsonschema" else _manifest(crd))
    if not files:
        raise InvalidInput(f"there is nothing in {file}", mend="name a file with a definition")
    if output_dir:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return
    if format_ == "jsonschema" and len(files) > 1:
        raise InvalidInput(
            f"{len(files)} JSON Schemas are not one file", mend="write them to a folder, with --output-dir"
        )
    whole = "".join(files.values())
    if output_file:
        Path(output_file).write_text(whole, encoding="utf-8")
    else:
        click.echo(whole, nl=False)


def _crds(obj: Object, strict_upstream: bool) -> list[Object]:
    from groundplane.core import definition_crds

    claim = definition_crds.claim_crd(obj, strict_upstream=strict_upstream)
    return [definition_crds.composite_crd(obj, strict_upstream=strict_upstream), *([claim] if claim else [])]


def _manifest(crd: Object) -> Iterator[tuple[str, str]]:
    from groundplane.core import goyaml

    yield f"{crd['metadata']['name']}.yaml", f"---\n{goyaml.dumps(crd)}"


def _schemas(crd: Object) -> Iterator[tuple[str, str]]:
    from groundplane.core import json_schema, known_schemas

    group, kind = crd["spec"]["group"], known_schemas.kind_of(crd)
    for version, openapi in known_schemas.versions(crd):
        schema = json_schema.of_kind(openapi, f"{group}/{version['name']}", kind)
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        yield f"{group}_{version['name']}_{kind.lower()}.json", f"{text}\n"
