"""What a shell offers where a word of the command line is begun, and nobody needs to be asked: files, contexts, kinds of AWS."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def files(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(begun, type="file")]


def folders(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(begun, type="dir")]


def contexts(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Those of the kubeconfig."""
    from groundplane.cli import kubeconfig

    names = sorted(kubeconfig.contexts(str(ctx.params.get("kubeconfig") or "")))
    return [CompletionItem(name) for name in names if name.startswith(begun)]


def aws_kinds(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Kinds of AWS, as rds/instance; what stands before a comma stays."""
    return _listed(_of_aws(), begun)


def importable(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Kinds of AWS, and of PostgreSQL."""
    from groundplane.sql.kinds import PLURALS

    return _listed([*_of_aws(), *(f"postgresql/{kind.lower()}" for kind in PLURALS)], begun)


def _of_aws() -> list[str]:
    from groundplane.aws import catalogue

    return [
        f"{service}/{rest.replace('_', '')}" for service, _, rest in (file.partition("_") for file in catalogue.names())
    ]


def _listed(words: list[str], begun: str) -> list[CompletionItem]:
    before, comma, last = begun.rpartition(",")
    return [CompletionItem(before + comma + word) for word in words if word.startswith(last.lower())]
