"""`groundplane xr`: composites, without any control plane.  Commands and flags are those of Crossplane v2's `crossplane xr`."""

from __future__ import annotations

import secrets
import uuid
from pathlib import Path

import click

from groundplane.cli import completing
from groundplane.cli.groups import Group
from groundplane.errors import InvalidInput, at


@click.group(cls=Group, epilog="Example: groundplane xr generate claim.yaml -o xr.yaml")
def xr() -> None:
    """Make composites of claims."""


@xr.command(epilog="Example: groundplane xr generate claim.yaml --name my-database -o xr.yaml")
@click.argument("file", default="-", metavar="[FILE]", shell_complete=completing.files)
@click.option(
    "-o", "--output-file", default="", metavar="PATH", shell_complete=completing.files, help="Write it there."
)
@click.option(
    "--name", default="", help="Its name.  [default: the claim's, and something at random, but with --direct]"
)
@click.option("--kind", default="", help="Its kind.  [default: the claim's behind an X]")
@click.option("--direct/--no-direct", help="One that no claim is bound to: without claimRef and the claim's labels.")
@click.option("--gen-uid", is_flag=True, help="Give it a UID.")
def generate(file: str, output_file: str, name: str, kind: str, direct: bool, gen_uid: bool) -> None:
    """Print the composite that a control plane would make of the claim in FILE, or standard input."""
    from groundplane.cli import manifests
    from groundplane.core import goyaml, naming
    from groundplane.core.conversion import claims

    found = [manifest for path in manifests.files([file]) for manifest in manifests.read(path)]
    if len(found) != 1:
        mend = "name a file with one claim"
        raise InvalidInput(f"{file}: {len(found)} objects, not one", mend=mend)
    claim = found[0].object
    with at(found[0].origin):
        own = str(claim["metadata"].get("name") or "") if isinstance(claim.get("metadata"), dict) else ""
        name = name or (own if direct else naming.composite_name(own, secrets.randbelow))
        made = claims.composite(claim, name, kind=kind, direct=direct)
    if gen_uid:
        made["metadata"]["uid"] = str(uuid.uuid4())
    text = f"---\n{goyaml.dumps(made)}"
    if output_file:
        Path(output_file).write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)
