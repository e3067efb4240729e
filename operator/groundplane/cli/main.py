"""The command `groundplane`.  A command's module is imported when that command is run, so that help and completion are quick."""

from __future__ import annotations

import importlib
from typing import Any

import click

from groundplane import __version__
from groundplane.errors import GroundplaneError

COMMANDS = {  # name (also of the module and of the command in it): what help says, in the order of help
    "run": "Run the operator against a Kubernetes API server.",
    "up": "Run a control plane on this machine, from a folder of manifests.",
    "render": "Show what a composite becomes, without any control plane.",
    "get": "Show what is in that control plane's store.",
    "delete": "Delete objects from that store.",
    "demo": "Show it all in half a minute, against a stand-in for AWS.",
    "crds": "Print or write the CustomResourceDefinitions.",
}


class Commands(click.Group):
    """Knows the commands by the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"groundplane.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """A deliberate error is a line for the user, not a traceback."""
        try:
            return super().invoke(ctx)
        except GroundplaneError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, epilog="Example: groundplane up compositions/database-aws")
@click.version_option(__version__, prog_name="groundplane")
def main() -> None:
    """Crossplane-style compositions in one Python process."""


if __name__ == "__main__":
    main()
