"""`groundplane doctor`: is the installation sound?"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from groundplane.cli import sources, store
from groundplane.errors import InvalidInput, did_you_mean, mending
from groundplane.runtime.settings import RBAC, WEBHOOKS, Settings

if TYPE_CHECKING:
    from groundplane.cluster.sqlite import SqliteCluster

PARTS = ("installation", "takeover", "restore", "orphans")
WITH_LEAKS = ("installation", "orphans")  # parts that know of things in AWS
LEAKED = 3  # exit code
ORPHANS = "groundplane doctor orphans"  # in mends: what is to be run next
SIGNS = {"ok": "✔", "warning": "!", "failed": "✘", "not allowed": "?"}


@click.command(epilog="Example: groundplane doctor --account groundplane --output json")
@click.argument("part", type=click.Choice(PARTS), default=PARTS[0], metavar="[takeover|restore|orphans]")
@click.option(
    "--checks",
    default="",
    metavar="a,b",
    help="Only these: kinds, rights, lease, rivals, definitions, credentials, webhooks; of takeover: stopped, in-use, packages, creates;"
    " of restore: nobody, claims, composites, managed, secrets, credentials; of orphans: leaks, missing, finalizers.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@sources.as_run()
@click.option(
    "--namespace",
    default="crossplane-system",
    envvar="GROUNDPLANE_NAMESPACE",
    show_default=True,
    help="The operator's namespace.",
)
@click.option(
    "--activations",
    default="",
    envvar="GROUNDPLANE_ACTIVATIONS",
    help="As of `groundplane run`; unless given, the managed kinds that are not inactive in the cluster.",
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
@click.option("--leaks", is_flag=True, help="Also look for what in AWS carries our tags and has no object any more.")
@click.option(
    "--region",
    "regions",
    multiple=True,
    help="Of --leaks and of orphans: look here, too; else only where objects are.",
)
@click.option("--adopt", is_flag=True, help="Of orphans: make the objects again of which AWS still has the things.")
@click.option("--delete", is_flag=True, help="Of orphans: delete those things in AWS.")
@click.option(
    "--alone",
    is_flag=True,
    help="With --adopt and --delete: no other control plane has ProviderConfigs of these names in these accounts. Tags can't tell whose a thing is.",
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask before --adopt and --delete.")
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
    leaks: bool,
    regions: tuple[str, ...],
    adopt: bool,
    delete: bool,
    alone: bool,
    yes: bool,
) -> None:
    """Look whether the installation is sound: kinds, rights, who leads, credentials.

    `doctor takeover`, before the operator takes over from a Crossplane: has that one ended, is all served here that is in use?
    `doctor restore`, when objects are back from a backup and before the operator goes to work: is something missing?

    `doctor orphans`: what in AWS carries our tags and has no object any more, which objects have nothing in AWS any more, which deletions nobody
    ends.

    Nothing is changed, but by --adopt and --delete, after a question.  Exit code 1 if something failed or could not be looked at, 3 if nothing did
    and something in AWS has no object any more; another warning is none.
    """
    from groundplane.runtime import doctor as checking
    from groundplane.runtime import moves, orphans
    from groundplane.runtime.findings import as_json, has_failed

    every = {
        "installation": checking.CHECKS,
        "takeover": moves.TAKEOVER,
        "restore": moves.RESTORE,
        "orphans": orphans.ORPHANS,
    }[part]
    if leaks and part not in WITH_LEAKS:
        raise click.UsageError(f"doctor {part} does not look for leaks. Mend: write groundplane doctor --leaks.")
    only = [each.strip() for each in checks.split(",") if each.strip()] or list(every)
    for each in only:
        if each not in every:
            raise click.UsageError(f"there is no check called {each}. {mending(did_you_mean(each, every))}")
    chosen = {name: check for name, check in every.items() if name in only}
    if leaks:
        chosen[orphans.LEAKS] = orphans.check_leaked
    if db and part in ("takeover", "restore"):
        raise click.UsageError(f"doctor {part} looks at a cluster. Mend: leave --db out.")
    if (adopt or delete) and part != "orphans":
        raise click.UsageError("--adopt and --delete are of orphans. Mend: write groundplane doctor orphans …")
    if regions and orphans.LEAKS not in chosen and not (adopt or delete):
        raise click.UsageError("--region is where to look for leaks. Mend: write groundplane doctor --leaks --region …")
    _check_deeds(adopt=adopt, delete=delete, alone=alone, as_json=output == "json")
    settings = Settings(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        activations=activations,
        secret_namespaces=secret_namespaces,
        webhooks=webhooks,
    )
    if part in ("installation", "orphans") and not account:
        db = sources.store_file(db, kubeconfig, context)
    with ExitStack() as stack:
        cluster = stack.enter_context(store.opened(db)) if db else None
        if adopt or delete:
            asyncio.run(_do(settings, cluster, regions, adopt=adopt, yes=yes))
            return
        if regions:
            chosen[orphans.LEAKS] = partial(orphans.check_leaked, regions=regions)
        if cluster is not None:
            findings = asyncio.run(checking.examine_store(cluster, chosen))
        else:
            findings = asyncio.run(checking.examine_cluster(settings, chosen, mode=rbac, account=account))
    findings = [replace(each, mend=each.mend.replace(ORPHANS, f"{ORPHANS}{store.again()}")) for each in findings]
    if output == "json":
        click.echo(json.dumps(as_json(findings), indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(f"{SIGNS[finding.state]} {finding.id:<12} {finding.message}")
            if finding.mend:
                click.echo(f"{'':<15}{mending(finding.mend)}")
    if has_failed(findings):
        raise SystemExit(1)
    if any(each.id == orphans.LEAKS and each.state == "warning" for each in findings):
        raise SystemExit(LEAKED)


def _check_deeds(*, adopt: bool, delete: bool, alone: bool, as_json: bool) -> None:
    if adopt and delete:
        raise click.UsageError("--adopt and --delete exclude each other. Mend: choose one.")
    if (adopt or delete) and not alone:
        raise InvalidInput(
            "what another control plane has made in the account looks the same: its objects can't be seen from here",
            mend="make sure that none uses ProviderConfigs of these names there, and say so: --alone",
            where=("--adopt" if adopt else "--delete",),
        )
    if as_json and (adopt or delete):
        raise click.UsageError("--adopt and --delete ask and tell. Mend: leave --output out.")


async def _do(
    settings: Settings, cluster: SqliteCluster | None, regions: tuple[str, ...], *, adopt: bool, yes: bool
) -> None:
    """Adopt or delete what was left behind, after a question."""
    from groundplane.runtime import orphans
    from groundplane.runtime.installation import installed, of_store

    async with AsyncExitStack() as stack:
        installation = (
            of_store(cluster)
            if cluster is not None
            else await stack.enter_async_context(installed(settings, mode=RBAC[0], account=""))
        )
        found, problems = await orphans.orphans(installation, regions)
        for problem in problems:
            click.echo(f"{SIGNS['not allowed']} {problem}", err=True)
        if not found:
            click.echo("Nothing was left behind.")
            return
        for orphan in found:
            click.echo(f"  {orphan}")
        things = f"{len(found)} thing{'' if len(found) == 1 else 's'}"
        question = f"Make the objects of {things} again?" if adopt else f"Delete {things} in AWS? This can't be undone."
        if not yes and not await asyncio.to_thread(click.confirm, question):
            click.echo("Nothing was done.")
            return
        lines = await (orphans.adopt(installation, found) if adopt else orphans.delete(installation, found))
        for line in lines:
            click.echo(line)
        if any(line.startswith("✘") for line in lines):
            raise SystemExit(1)
