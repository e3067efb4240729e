"""The command `groundplane`.  A command's module is imported when that command is run, so that help and completion are quick."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import keyword
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from groundplane import __version__
from groundplane.cli.groups import Group
from groundplane.errors import GroundplaneError

COMMANDS = {  # name (with _ for -, and behind a word of Python's, also of the module and of the command in it): what help says, in the order of help
    "run": "Run the operator against a Kubernetes API server.",
    "up": "Run a control plane on this machine, from manifests.",
    "render": "Show what a composite becomes, without any control plane.",
    "validate": "Look whether manifests are right, before anybody applies them.",
    "test": "Run the tests of Compositions, without any control plane.",
    "review": "Validate, test and compare what a pull request changes.",
    "convert": "Convert manifests to what Crossplane v2 takes.",
    "migrate": "Bring manifests of Crossplane's first generation to the second.",
    "xrd": "Show what becomes of CompositeResourceDefinitions.",
    "xr": "Make composites of claims.",
    "import": "Write manifests for what there is in AWS already.",
    "diff": "Show what would change if files were applied.",
    "plan": "Show what would change in AWS if files were applied.",
    "apply": "Do what a saved plan says, and nothing else.",
    "trace": "Show a claim, all that comes of it, and the cause.",
    "explain": "Say why an object is not ready, or where a value comes from.",
    "get": "Show what is in that control plane's store.",
    "delete": "Delete objects from that store.",
    "demo": "Show it all in half a minute, against a stand-in for AWS.",
    "crds": "Print, write or apply the CustomResourceDefinitions.",
    "iam-policy": "Print the least rights in AWS that chosen kinds need.",
    "argocd-health": "Print health checks of your kinds for Argo CD or Flux.",
    "doctor": "Look whether an installation is sound.",
    "completion": "Print what makes a shell complete all this.",
}


UPSTREAM_GROUPS = (
    "beta",
    "resource",
    "composition",
)  # `crossplane beta validate` of v1.20 is `crossplane resource validate` of v2
WRONG_USAGE = 80  # exit code, as that of Crossplane's command line; 1 is for what is wrong or failed

_MENDS = {  # of what the machine refuses
    errno.ENOENT: "make its folder, or name another place",
    errno.ENOTDIR: "make its folder, or name another place",
    errno.EACCES: "name a place that this user may write to",
    errno.EPERM: "name a place that this user may write to",
    errno.EROFS: "name a place that can be written to",
    errno.ENOSPC: "make room on that disk, or name another place",
}


LASTING = frozenset({"run", "up", "core"})  # commands that stay
CONTAINERS = (
    500_000  # new ones until Python looks for garbage: what ends in a second would spend a quarter of it on that
)


class Commands(Group):
    """Knows the commands by the table above."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:
        if args is None and not LASTING & set(sys.argv[1:2]):  # this process is the command
            gc.set_threshold(CONTAINERS, 10, 100)
            atexit.register(
                gc.freeze
            )  # Python looks once more for garbage before it ends: a fifth of the time, for nothing
        return super().main(args, *more, **options)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """`core start`, as in the args of Crossplane's Deployment, is `run`; the groups that its commands are in may be named."""
        if args[:2] == ["core", "start"]:
            args = ["run", *args[2:]]
        elif args[:1] and args[0] in UPSTREAM_GROUPS and args[1:2] and args[1] in COMMANDS:
            args = args[1:]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_") + "_" * keyword.iskeyword(cmd_name)
        module = importlib.import_module(f"groundplane.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _wrong_usage():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """A deliberate error is a line for the user, not a traceback; so is what the machine refuses."""
        try:
            with _wrong_usage():
                return super().invoke(ctx)
        except GroundplaneError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise  # whoever read us has gone: click's own affair
        except OSError as error:
            raise click.ClickException(_refusal(error)) from error


@contextmanager
def _wrong_usage() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        error.exit_code = WRONG_USAGE  # type: ignore[misc] # click's default is of the class, what it reads is the error's
        raise


def _refusal(error: OSError) -> str:
    """What the machine refuses, with its mend.

    >>> _refusal(FileNotFoundError(2, "No such file or directory", "/nowhere/x.db"))
    '/nowhere/x.db: No such file or directory. Mend: make its folder, or name another place.'
    """
    what = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    mend = _MENDS.get(error.errno or 0, "look at that place's rights and at what the machine has left")
    return f"{what}. Mend: {mend}."


@click.group(cls=Commands, epilog="Example: groundplane up compositions/database-aws")
@click.version_option(__version__, prog_name="groundplane")
def main() -> None:
    """Crossplane-style compositions in one Python process."""


if __name__ == "__main__":
    main()
