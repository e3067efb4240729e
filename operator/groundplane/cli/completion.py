"""`groundplane completion`: what makes a shell complete our command line.  What it offers then, `completing.py` finds."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

NAME = "groundplane"
VARIABLE = "_GROUNDPLANE_COMPLETE"  # click's: by it the shell asks


@click.command(epilog="Example: source <(groundplane completion bash)")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for bash (4.4 or later), zsh or fish, which completes commands, options, files, and the kinds and names of your objects."""
    found = get_completion_class(shell)
    assert found is not None  # the choice is of click's own shells
    click.echo(found(click.get_current_context().find_root().command, {}, NAME, VARIABLE).source())
