"""Commands that have commands of their own."""

from __future__ import annotations

import click

from groundplane.errors import did_you_mean, mending, shown


class Group(click.Group):
    """Tells what was probably meant by a command that there is not."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but for the words about a command that there is not."""
        known = self.list_commands(ctx)
        if args[:1] and args[0] not in known and args[0][:1] not in ("", "-"):
            ctx.fail(f"No such command {shown(args[0])}. {mending(did_you_mean(args[0], known))}")
        return super().resolve_command(ctx, args)
