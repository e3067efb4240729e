"""`groundplane plan`: what would change in AWS, for whom, if these files were applied?"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundplane.cli import completing, completing_objects, function_flag, sources
from groundplane.errors import GroundplaneError, InvalidInput

if TYPE_CHECKING:
    from groundplane.cli.planned import Asked, Planned
    from groundplane.core.plan import Plan

CHANGES, FORBIDDEN = 2, 3  # exit codes
FORBIDDABLE = ("add", "change", "destroy", "blocked", "forget", "unknown")


@click.command(epilog="Example: groundplane plan composition.yaml --out plan.json")
@click.argument("paths", metavar="[PATH]...", shell_complete=completing.files, nargs=-1)
@click.option(
    "-n",
    "--namespace",
    shell_complete=completing_objects.namespaces,
    default="",
    help="Of objects that name none; and only what belongs to composites and claims there.",
)
@click.option(
    "--resource",
    multiple=True,
    metavar="[NAMESPACE/]NAME",
    shell_complete=completing_objects.composites,
    help="Only these composites, and claims.",
)
@click.option("--include-pinned", is_flag=True, help="Also composites that stay on their revision by themselves.")
@click.option(
    "--refresh",
    type=bool,
    default=True,
    show_default=True,
    help="Look at AWS; --refresh=false: count on what was seen there last.",
)
@click.option(
    "--forbid", default="", metavar="ACTION,...", help=f"Exit 3 if there is one of these: {', '.join(FORBIDDABLE)}."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 if anything would be done.")
@click.option(
    "--out",
    default="",
    metavar="FILE",
    shell_complete=completing.files,
    help="Save the plan, for `groundplane apply FILE`.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "yaml", "markdown"]),
    default="text",
    show_default=True,
    help="For people, for programs, or for a pull request.",
)
@click.option("--iam", is_flag=True, help="Print the rights in AWS that looking takes, and do no more.")
@click.option("--no-color", is_flag=True, help="No colours on a terminal, either.")
@click.option("-v", "--verbose", is_flag=True, help="Each resource by itself, equal changes, too.")
@function_flag.option
@function_flag.templates
@sources.options
def plan(
    paths: tuple[str, ...],
    namespace: str,
    resource: tuple[str, ...],
    include_pinned: bool,
    refresh: bool,
    forbid: str,
    detailed_exitcode: bool,
    out: str,
    output: str,
    iam: bool,
    no_color: bool,
    verbose: bool,
    function: tuple[str, ...],
    function_templates_dir: str,
    db: str,
    kubeconfig: str,
    context: str,
) -> None:
    """Show what would change in AWS, and in other clouds, if the files in PATHs were applied; without PATHs, what differs already.

    The real reconcilers run on a copy in memory, with a cloud that only looks: no call gets through but those that read.  Nothing is written.

    Exit code 0: a plan was made.  2: with --detailed-exitcode, something would be done.  3: something that --forbid names.  1: it can't be told.
    """
    from groundplane.cli import plan_report, planned

    forbidden = [word for word in forbid.split(",") if word]
    if unknown := [word for word in forbidden if word not in FORBIDDABLE]:
        raise click.UsageError(f"--forbid: there is no {unknown[0]}, but: {', '.join(FORBIDDABLE)}")
    if out and "-" in paths:
        raise click.UsageError("a plan of standard input can't be saved: it is read again when it is applied")
    asked = planned.Asked(paths, namespace, resource, include_pinned, refresh, function, function_templates_dir)
    if iam:
        click.echo(json.dumps(_policy(asked, (db, kubeconfig, context)), indent=2))
        return
    found = asyncio.run(planned.make(asked, (db, kubeconfig, context)))
    for error in found.errors:
        click.echo(f"ERROR: {error}", err=True)
    if found.is_refused:
        raise click.exceptions.Exit(1)
    _tell_pinned(found)
    if out:
        found.check_whole()
        _save(found.plan, out)
    plan_report.write(found.plan, output, saved=out, verbose=verbose, in_colour=not no_color)
    raise click.exceptions.Exit(_code(found, forbidden, detailed=detailed_exitcode))


def _code(found: Planned, forbidden: list[str], *, detailed: bool) -> int:
    counts = found.plan.summary
    if any(counts[word] for word in forbidden):
        return FORBIDDEN
    if found.errors:
        return 1
    return CHANGES if detailed and not found.plan.is_empty else 0


def _tell_pinned(found: Planned) -> None:
    if count := len(found.pinned):
        stay = "composite stays on its revision" if count == 1 else "composites stay on their revisions"
        click.echo(
            f"{count} {stay} and {'is' if count == 1 else 'are'} left out; --include-pinned plans for them as well.",
            err=True,
        )


def _save(plan: Plan, file: str) -> None:
    """For its owner alone: it tells of what there is."""
    from datetime import UTC, datetime

    from groundplane import __version__
    from groundplane.core.plan import saved

    text = json.dumps(saved(plan, version=__version__, now=datetime.now(UTC)), indent=2, ensure_ascii=False) + "\n"
    Path(file).unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)


def _policy(asked: Asked, place: tuple[str, str, str]) -> dict[str, object]:
    """What it takes to look at all of the kinds that are named in files, and that are made for the composites in them."""
    from groundplane.aws import actions, catalogue
    from groundplane.cli import overlaid, planned
    from groundplane.cli.iam_policy import used

    if not asked.paths:
        raise InvalidInput(
            "--iam needs files: the rights depend on the kinds in them",
            mend="name claims, composites, Compositions or managed resources",
        )
    kinds = {name: kind for path in asked.paths for name, kind in used(path).items()}
    if any(planned.may_compose(document.object) for document in overlaid.read(asked.paths)):
        found = asyncio.run(planned.make(replace(asked, refresh=False), place))
        if found.errors:
            raise InvalidInput(f"it can't be told what is made of these files: {found.errors[0]}")
        for step in found.plan.steps:
            if kind := catalogue.lookup(step.key.api_version, step.key.kind):
                kinds[kind.file] = kind
    if not kinds:
        raise GroundplaneError(f"no kind of AWS is named in {', '.join(asked.paths)}, nor made for what is")
    return actions.reading_policy([kind for _, kind in sorted(kinds.items())])
