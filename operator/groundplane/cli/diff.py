"""`groundplane diff`: what would change, for whom, if these files were applied?

The work is `overlaid.py`'s and `runtime/overlay.py`'s, the words are `diff_report.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from groundplane.cli import completing, completing_objects, function_flag, overlaid, sources
from groundplane.core import fieldpath
from groundplane.errors import GroundplaneError, InvalidInput

if TYPE_CHECKING:
    from groundplane.cli.diff_report import Report
    from groundplane.core.objects import Key, Object
    from groundplane.runtime.overlay import Change

CHANGES, REFUSED = 3, 2  # exit codes


@click.command(epilog="Example: groundplane diff composition.yaml")
@click.argument("what", metavar="[xr|comp]", required=False)
@click.argument("paths", metavar="PATH...", shell_complete=completing.files, nargs=-1)
@click.option(
    "-n",
    "--namespace",
    shell_complete=completing_objects.namespaces,
    default="",
    help="Of objects that name none; with comp, only composites there.",
)
@click.option(
    "--resource",
    multiple=True,
    metavar="[NAMESPACE/]NAME",
    shell_complete=completing_objects.composites,
    help="Only these composites, and claims.",
)
@click.option("--include-manual", is_flag=True, help="Also composites that stay on their revision by themselves.")
@click.option("-o", "--output", type=click.Choice(["diff", "json", "yaml"]), default="diff", show_default=True)
@click.option("--compact", is_flag=True, help="Only lines around what changes.")
@click.option("--no-color", is_flag=True, help="No colours on a terminal, either.")
@click.option("--ignore-paths", multiple=True, metavar="PATH", help="Fields whose changes don't count.")
@click.option("-v", "--verbose", is_flag=True, help="Each object by itself, equal changes, too.")
@click.option(
    "--server",
    is_flag=True,
    help="Have the API server say what it would store, and refuse, by a dry run: its own defaults and webhooks count as well.",
)
@click.option(
    "--minimize-composition",
    is_flag=True,
    help="Of a changed Composition a line, not what changes in it; what comes of it in full.",
)
@click.option(
    "--eventual-state",
    is_flag=True,
    help="As if all that is composed were ready at once: what a step (function-sequencer) holds back until then is shown, too.",
)
@click.option(
    "--function-credentials",
    multiple=True,
    metavar="PATH",
    shell_complete=completing.files,
    help="Secrets that steps are handed, in place of those that are there.",
)
@click.option("--max-nested-depth", hidden=True)  # the reconcilers themselves stop where nothing changes any more
@click.option("--max-iterations", hidden=True)
@click.option("--timeout", hidden=True)
@click.option("--function-registry-override", hidden=True)
@click.option("--crossplane-version", hidden=True)
@click.option("--crossplane-image", hidden=True)
@function_flag.option
@function_flag.templates
@sources.options
def diff(
    what: str | None,
    paths: tuple[str, ...],
    namespace: str,
    resource: tuple[str, ...],
    include_manual: bool,
    output: str,
    compact: bool,
    no_color: bool,
    ignore_paths: tuple[str, ...],
    verbose: bool,
    server: bool,
    minimize_composition: bool,
    eventual_state: bool,
    function_credentials: tuple[str, ...],
    function: tuple[str, ...],
    function_templates_dir: str,
    db: str,
    kubeconfig: str,
    context: str,
    **_accepted: object,
) -> None:
    """Show what would change if the files in PATHs were applied: claims, composites, Compositions, definitions, together.

    Of a folder, the files in it are read, as `up` does, not those below.

    The real reconcilers run on a copy in memory; nothing is written, and no cloud is called.  Only readable objects are needed: a
    list that is not allowed is an error, for "nobody" must not be said of what was not seen.

    Exit code 0: nothing would change.  3: something would.  2: a file would be refused.  1: it can't be told.
    """
    if what not in (None, "xr", "comp"):
        paths = (str(what), *paths)
    if not paths:
        raise click.UsageError("no file is named")
    for path in ignore_paths:
        try:
            fieldpath.parse(path)
        except GroundplaneError as refused:
            raise click.UsageError(f"--ignore-paths {path}: {refused}") from None
    read = overlaid.read(paths)
    report = asyncio.run(
        _diff(
            read,
            (db, kubeconfig, context),
            namespace,
            resource,
            include_manual=include_manual,
            eventual=eventual_state,
            server=server,
            functions=(function_flag.addresses(function), function_flag.files(function_templates_dir)),
            credentials=[document.object for document in overlaid.read(function_credentials)]
            if function_credentials
            else [],
        )
    )
    report = report.without(ignore_paths)
    for path in report.unmatched:
        click.echo(f"--ignore-paths {path}: nothing that would change has such a field", err=True)
    for error in report.errors:
        click.echo(f"ERROR: {error}", err=True)
    report.write(output, compact=compact, verbose=verbose, minimize=minimize_composition, in_colour=not no_color)
    if report.errors:
        click.get_current_context().exit(REFUSED if report.is_refused else 1)
    click.get_current_context().exit(CHANGES if report.changes else 0)


async def _diff(
    read: Sequence[Any],
    place: tuple[str, str, str],
    namespace: str,
    chosen: Sequence[str],
    *,
    include_manual: bool,
    eventual: bool,
    server: bool,
    functions: tuple[Any, Any],
    credentials: Sequence[Object],
) -> Report:
    from groundplane.cli import diff_server
    from groundplane.cli.diff_report import Filtered, Report

    async with (
        sources.opened(*place) as source,
        overlaid.begun(
            source, [document.object for document in read], functions=functions, credentials=credentials
        ) as found,
    ):
        await found.apply(read, namespace, chosen, include_manual=include_manual)
        if eventual:
            await found.ripen()
        family = _family(found, chosen, namespace)
        changes = _chosen(found, family)
        is_refused, errors = found.is_refused, [*found.errors, *chain.from_iterable(found.warnings.values())]
        if server:
            if not isinstance(source, sources.Server):
                raise InvalidInput("--server asks an API server, and a store has none", mend="leave it out")
            results = await diff_server.tried(source, changes)
            changes = [each.change for each in results]
            errors += [each.error for each in results if each.error]
            is_refused = is_refused or any(each.is_refused for each in results)
    filtered = [Filtered(key, "Manual update policy (use --include-manual to evaluate)") for key in found.pinned]
    return Report(changes, found.applied, found.overlay.objects(), filtered, errors, is_refused, chosen=family)


def _family(found: overlaid.Overlaid, chosen: Sequence[str], namespace: str) -> frozenset[Key] | None:
    """The places of what is asked for, before and after, and of the files themselves; None: of everything."""
    if not chosen and not namespace:
        return None
    both = (found.overlay.base, found.overlay.objects())
    asked = {place for each in both for place in overlaid.family(each, chosen, namespace)}
    return frozenset(asked | {key.place for key in found.applied})


def _chosen(found: overlaid.Overlaid, family: Collection[Key] | None) -> list[Change]:
    """The changes of what is asked for."""
    changes = found.overlay.changes()
    if family is None:
        return changes
    return [each for each in changes if each.key.place in family]
