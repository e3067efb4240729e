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

from groundplane.runtime.settings import Settings


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    """A flag and an environment variable for each setting."""
    types = typing.get_type_hints(Settings)
    for field in reversed(dataclasses.fields(Settings)):
        type_ = types[field.name]
        flag = f"--{field.name.replace('_', '-')}"
        shape: dict[str, Any] = {"type": type_, "show_default": field.default != ""}
        if type_ is bool:
            shape = {"is_flag": True}
        elif typing.get_origin(type_) is Literal:
            shape["type"] = click.Choice(typing.get_args(type_))
        command = click.option(
            flag,
            envvar=f"GROUNDPLANE_{field.name.upper()}",
            show_envvar=True,
            default=field.default,
            help=field.metadata["help"],
            **shape,
        )(command)
    return command


@click.command(epilog="Example: groundplane run --context kind-groundplane --log-level debug")
@_flags
def run(**values: Any) -> None:
    """Run the operator against a Kubernetes API server, until SIGTERM or Ctrl-C.

    The second signal ends it at once.
    """
    settings = Settings(**values)
    from groundplane.runtime import operator

    code = asyncio.run(operator.run(settings))
    logging.shutdown()
    os._exit(code)  # threads that still wait for AWS would hold the process back
