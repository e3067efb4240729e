"""`groundplane doctor`: is the installation sound?"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import Literal

import click

from groundplane.cli import store
from groundplane.errors import InvalidInput, did_you_mean
from groundplane.runtime.settings import RBAC, WEBHOOKS

SIGNS = {"ok": "✔", "warning": "!", "failed": "✘", "not allowed": "?"}


@click.command(epilog="Example: groundplane doctor --account groundplane --output json")
@click.option(
    "--checks",
    default="",
    metavar="a,b",
    help="Only these: kinds, rights, lease, rivals, definitions, credentials, webhooks.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--kubeconfig", default="", envvar="GROUNDPLANE_KUBECONFIG", help="As of `groundplane run`.")
@click.option("--context", default="", envvar="GROUNDPLANE_CONTEXT", help="As of `groundplane run`.")
@click.option(
    "--namespace",
    default="crossplane-system",
    envvar="GROUNDPLANE_NAMESPACE",
    show_default=True,
    help="The operator's namespace.",
)
@click.option(
    "--activations", default="*", envvar="GROUNDPLANE_ACTIVATIONS", show_default=True, help="As of `groundplane run`."
)
@click.option(
    "--rbac",
    type=click.Choice(RBAC),
    default="aggregated",
    envvar="GROUNDPLANE_RBAC",
    show_default=True,
    help="As of `groundplane run`.",
)
@click.option(
    "--webhooks",
    type=click.Choice(WEBHOOKS),
    default="off",
    envvar="GROUNDPLANE_WEBHOOKS",
    show_default=True,
    help="As of `groundplane run`.",
)
@click.option(
    "--account",
    default="",
    metavar="[NAMESPACE/]NAME",
    help="Look at the rights of this ServiceAccount instead of your own.",
)
@click.option(
    "--db",
    default="",
    type=click.Path(dir_okay=False),
    help="Look at the store of `groundplane up` in this file, not at a cluster.",
)
def doctor(
    checks: str,
    output: str,
    kubeconfig: str,
    context: str,
    namespace: str,
    activations: str,
    rbac: str,
    webhooks: Literal["off", "on"],
    account: str,
    db: str,
) -> None:
    """Look whether the installation is sound: kinds, rights, who leads, credentials.

    Nothing is changed.  Exit code 1 if something failed or could not be looked at; a warning is none.
    """
    from groundplane.runtime import doctor as checking
    from groundplane.runtime.settings import Settings

    only = [each.strip() for each in checks.split(",") if each.strip()] or list(checking.CHECKS)
    for each in only:
        if each not in checking.CHECKS:
            raise InvalidInput(f"there is no check called {each}", mend=did_you_mean(each, checking.CHECKS))
    with ExitStack() as stack:
        if db:
            cluster = stack.enter_context(store.opened(db))
            findings = asyncio.run(checking.examine_store(cluster, only))
        else:
            settings = Settings(
                kubeconfig=kubeconfig, context=context, namespace=namespace, activations=activations, webhooks=webhooks
            )
            findings = asyncio.run(checking.examine_cluster(settings, only, mode=rbac, account=account))
    if output == "json":
        click.echo(json.dumps(checking.as_json(findings), indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(f"{SIGNS[finding.state]} {finding.id:<12} {finding.message}")
            if finding.mend:
                click.echo(f"{'':<15}Mend: {finding.mend.rstrip('.')}.")
    if checking.has_failed(findings):
        raise SystemExit(1)
