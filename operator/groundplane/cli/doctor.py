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

PARTS = ("installation", "takeover", "restore")
SIGNS = {"ok": "✔", "warning": "!", "failed": "✘", "not allowed": "?"}


@click.command(epilog="Example: groundplane doctor --account groundplane --output json")
@click.argument("part", type=click.Choice(PARTS), default=PARTS[0], metavar="[takeover|restore]")
@click.option(
    "--checks",
    default="",
    metavar="a,b",
    help="Only these: kinds, rights, lease, rivals, definitions, credentials, webhooks; of takeover: stopped, in-use, packages, creates;"
    " of restore: nobody, claims, composites, managed, secrets, credentials.",
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
    "--secret-namespaces", default="", envvar="GROUNDPLANE_SECRET_NAMESPACES", help="As of `groundplane run`."
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
    part: str,
    checks: str,
    output: str,
    kubeconfig: str,
    context: str,
    namespace: str,
    activations: str,
    rbac: str,
    secret_namespaces: str,
    webhooks: Literal["off", "on"],
    account: str,
    db: str,
) -> None:
    """Look whether the installation is sound: kinds, rights, who leads, credentials.

    `doctor takeover`, before the operator takes over from a Crossplane: has that one ended, is all served here that is in use?
    `doctor restore`, when objects are back from a backup and before the operator goes to work: is something missing?

    Nothing is changed.  Exit code 1 if something failed or could not be looked at; a warning is none.
    """
    from groundplane.runtime import doctor as checking
    from groundplane.runtime import moves
    from groundplane.runtime.settings import Settings

    every = {"installation": checking.CHECKS, "takeover": moves.TAKEOVER, "restore": moves.RESTORE}[part]
    only = [each.strip() for each in checks.split(",") if each.strip()] or list(every)
    for each in only:
        if each not in every:
            raise InvalidInput(f"there is no check called {each}", mend=did_you_mean(each, every))
    chosen = {name: check for name, check in every.items() if name in only}
    if db and part != PARTS[0]:
        raise InvalidInput(f"doctor {part} looks at a cluster", mend="leave --db out")
    with ExitStack() as stack:
        if db:
            cluster = stack.enter_context(store.opened(db))
            findings = asyncio.run(checking.examine_store(cluster, chosen))
        else:
            settings = Settings(
                kubeconfig=kubeconfig,
                context=context,
                namespace=namespace,
                activations=activations,
                secret_namespaces=secret_namespaces,
                webhooks=webhooks,
            )
            findings = asyncio.run(checking.examine_cluster(settings, chosen, mode=rbac, account=account))
    if output == "json":
        click.echo(json.dumps(checking.as_json(findings), indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(f"{SIGNS[finding.state]} {finding.id:<12} {finding.message}")
            if finding.mend:
                click.echo(f"{'':<15}Mend: {finding.mend.rstrip('.')}.")
    if checking.has_failed(findings):
        raise SystemExit(1)
