"""`--function NAME=ADDRESS|exec:COMMAND`: where functions are that do not run in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import click

from groundplane.cli import completing
from groundplane.errors import InvalidInput

option = click.option(
    "--function",
    multiple=True,
    metavar="NAME=ADDRESS",
    help="Where the function of a pipeline's steps is that is called so: an address on this machine, or exec:COMMAND, which is"
    " started when needed with --insecure --address HOST:PORT, or with the address for {address}.",
)


templates = click.option(
    "--function-templates-dir",
    default="",
    metavar="PATH",
    shell_complete=completing.folders,
    help="Folder with templates for function-go-templating's source FileSystem.",
)


def files(folder: str) -> Mapping[str, str] | None:
    """The templates in that folder, by path; None if there is none.

    Raises:
        InvalidInput: it can't be read.
    """
    if not folder:
        return None
    from groundplane.runtime import template_files

    return template_files.read(folder)


def addresses(pairs: Iterable[str]) -> dict[str, str]:
    """The addresses by name.

    Raises:
        InvalidInput: one is no NAME=ADDRESS, or can't be meant.
    """
    from groundplane.core.function_sources import given_endpoint

    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, address = pair.partition("=")
        if not equals or not name or not address:
            raise InvalidInput(
                f'--function "{pair}" is no NAME=ADDRESS',
                mend=f"write --function {name or 'NAME'}=localhost:9443, or {name or 'NAME'}=exec:COMMAND",
            )
        given_endpoint(address)
        found[name] = address
    return found
