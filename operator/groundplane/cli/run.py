"""`groundplane run`: the operator against a Kubernetes API server.  Its flags are the fields of `Settings`."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import typing
from collections.abc import Callable
from typing import Any, Literal

import click

from groundplane.cli import upstream_flags
from groundplane.runtime import logs
from groundplane.runtime.settings import Settings

SHORT = {"namespace": "-n"}  # as theirs


class Start(click.Command):
    """Takes Crossplane's flags beside our own, also after its words `core start`."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params += upstream_flags.options({name[2:] for param in self.params for name in param.opts})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = len(upstream_flags.CORE_START)
        return super().parse_args(ctx, args[words:] if tuple(args[:words]) == upstream_flags.CORE_START else args)


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    """A flag and an environment variable for each setting."""
    types = typing.get_type_hints(Settings)
    for field in reversed(dataclasses.fields(Settings)):
        type_ = types[field.name]
        flags = [f"--{field.name.replace('_', '-')}", *filter(None, [SHORT.get(field.name)])]
        shape: dict[str, Any] = {"type": type_, "show_default": field.default != ""}
        if type_ is bool:
            shape = {"is_flag": True}
        elif typing.get_origin(type_) is Literal:
            shape["type"] = click.Choice(typing.get_args(type_))
        elif field.metadata["help"].startswith("Seconds"):
            shape["type"] = upstream_flags.SECONDS
        command = click.option(
            *flags,
            envvar=f"GROUNDPLANE_{field.name.upper()}",
            show_envvar=True,
            default=field.default,
            help=field.metadata["help"],
            **shape,
        )(command)
    return command


@click.command(cls=Start, epilog="Example: groundplane run --context kind-groundplane --log-level debug")
@_flags
@click.pass_context
def run(ctx: click.Context, /, **values: Any) -> None:
    """Run the operator against a Kubernetes API server, until SIGTERM or Ctrl-C.

    The second signal ends it at once. Flags of Crossplane's `core start` are taken, too: docs/install.md says what each means.
    """
    settings = Settings(**values | upstream_flags.settings(ctx))
    logs.configure(settings.log_format, settings.log_level)
    upstream_flags.tell(ctx)
    from groundplane.runtime import operator

    code = asyncio.run(operator.run(settings))
    logging.shutdown()
    os._exit(code)  # threads that still wait for AWS would hold the process back
