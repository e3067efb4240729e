"""`groundplane up`: a control plane on this machine that brings the store to what some files say, and keeps it there.

Like a small GitOps engine: it follows the files' edits.  A file that can't be read changes nothing.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

import click

from groundplane.cli import completing, function_flag, health, manifests, store, tree
from groundplane.cli.follow import Applier, Source
from groundplane.cli.health import Verdict
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.function_sources import Rules
from groundplane.core.objects import Key, key_of
from groundplane.errors import counted, mending
from groundplane.ports import StaticBinding

if TYPE_CHECKING:
    from groundplane.runtime.local import LocalControlPlane

LOOK = 1.0  # seconds between two looks at the files
RETRY = 0.2  # seconds until what could not be applied yet is tried again
GRACE = 10.0  # seconds that the same troubles must stand, with nothing under way, before --once gives up


@dataclass(frozen=True)
class Wishes:
    """What the person asked for."""

    source: Source
    namespace: str
    prune: bool
    prune_folders: bool
    once: bool
    timeout: float  # seconds
    strict_upstream: bool
    static_binding: StaticBinding
    nop_scope: str
    functions: Mapping[str, str]  # where those are that the command line names
    templates: Mapping[str, str] | None  # that the source FileSystem reads, by path


@click.command(epilog="Example: groundplane up platform/ claims/")
@click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=completing.files)
@store.database
@click.option("-n", "--namespace", default="default", show_default=True, help="For objects that name none.")
@click.option("-R", "--recursive", is_flag=True, help="Folders with their subfolders.")
@click.option("--once", is_flag=True, help="Wait until all has settled; exit 0 if all is ready, else 1 and say why.")
@click.option(
    "--prune",
    is_flag=True,
    help="Delete what was applied from these paths and has been gone for 3 seconds; not if its whole file or folder vanished or is empty.",
)
@click.option(
    "--prune-folders",
    is_flag=True,
    help="The same; as it starts, also what came from folders that are gone or hold nothing any more.",
)
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds that --once waits at most.")
@click.option("--strict-upstream", is_flag=True, help="Exactly upstream's behaviour, without helpful defaults.")
@click.option(
    "--static-binding",
    type=click.Choice(get_args(StaticBinding)),
    default="free",
    show_default=True,
    help="Which composites that no claim has yet a claim may take: all; those annotated groundplane.io/bindable-to; none.",
)
@click.option(
    "--nop-scope",
    type=click.Choice(["namespaced", "cluster"]),
    default="namespaced",
    show_default=True,
    help="Where a NopResource lives: in a namespace, as since v0.5 of its provider, or in none.",
)
@function_flag.option
@function_flag.templates
@click.option("-v", "--verbose", is_flag=True, help="Log what the controllers do, and what functions write.")
def up(
    paths: tuple[str, ...],
    db: str,
    namespace: str,
    recursive: bool,
    once: bool,
    prune: bool,
    prune_folders: bool,
    timeout: float,
    strict_upstream: bool,
    static_binding: StaticBinding,
    nop_scope: str,
    function: tuple[str, ...],
    function_templates_dir: str,
    verbose: bool,
) -> None:
    """Run a control plane on this machine, on one file, and apply the manifests in PATHs.

    PATHs are files, folders, or - for standard input, in any order.  Edits are followed, and shown.  AWS is reached
    with the credentials of this process, as by the AWS command line.
    """
    from groundplane.runtime import logs

    logs.configure("text", "info" if verbose else "error")
    manifests.files(paths)  # a path that is not there is told before anything starts
    wishes = Wishes(
        Source(paths, recursive=recursive),
        namespace,
        prune,
        prune_folders,
        once,
        timeout,
        strict_upstream,
        static_binding,
        nop_scope,
        function_flag.addresses(function),
        function_flag.files(function_templates_dir),
    )
    with store.locked(db):
        is_fine = asyncio.run(_run(db, wishes))
    sys.exit(0 if is_fine else 1)


async def _run(db: str, wishes: Wishes) -> bool:
    from groundplane.ports import Options
    from groundplane.runtime.local import LocalControlPlane

    options = Options(
        strict_upstream=wishes.strict_upstream,
        static_binding=wishes.static_binding,
        nop_scope=wishes.nop_scope,
        functions=Rules(given=wishes.functions, develops=True),
        templates=wishes.templates,
    )
    with interruptible() as stop:
        async with LocalControlPlane(db, options=options) as plane:
            applier = Applier(
                plane.cluster,
                wishes.source,
                namespace=wishes.namespace,
                prune=wishes.prune,
                prune_folders=wishes.prune_folders,
                tell=click.echo,
            )
            if wishes.once:
                return await _settle(plane, applier, stop, wishes)
            click.echo(f"control plane on {db}; Ctrl-C ends it")
            reporter = Reporter(plane.cluster)
            while not stop.is_set():
                await applier.round()
                for verdict in await reporter.news(applier.keys):
                    click.echo(str(verdict))
                await _pause(stop, RETRY if applier.waiting else LOOK)
            click.echo("ending")
            return True


async def _settle(plane: LocalControlPlane, applier: Applier, stop: asyncio.Event, wishes: Wishes) -> bool:
    """Work until all is ready (True), or nothing gets any better or takes too long (False, and told)."""
    if problems := wishes.source.check():
        for problem in problems:
            click.echo(problem)
        return False
    reporter = Reporter(plane.cluster)
    deadline, standing, since = time.monotonic() + wishes.timeout, [""], time.monotonic()
    told, last = set[str](), time.monotonic()  # of what is waited for; when anything was told
    while not stop.is_set():
        await applier.round()
        is_idle = await plane.idle(LOOK)
        for verdict in await reporter.news(applier.keys):
            if verdict.state == "fine":
                click.echo(str(verdict))
                last = time.monotonic()
        lacking = [verdict for verdict in reporter.verdicts.values() if verdict.state != "fine"]
        open_ends = [
            *applier.waiting.values(),
            *applier.refused.values(),
            *applier.problems,
            *applier.unpruned,
            *(f"{key} has left its file" for key in applier.parting),
            *(f"{key} is being deleted" for key in applier.leaving),
        ]
        if is_idle and not lacking and not open_ends:
            click.echo(f"all ready: {counted(len(applier.keys), 'object', 'objects')}")
            return True
        troubles = [*map(str, lacking), *open_ends]
        if troubles != standing or not is_idle:
            standing, since = troubles, time.monotonic()
        is_under_way = bool(applier.leaving or applier.parting) or any(
            verdict.state == "under way" for verdict in lacking
        )
        is_final = not lacking and open_ends == list(applier.refused.values())  # but for an edit
        has_stood = time.monotonic() - since >= (LOOK if is_final else GRACE) and not is_under_way
        if has_stood or time.monotonic() >= deadline:
            for trouble in troubles:
                click.echo(trouble)
            settled = _left(plane, lacking) or "settled, but not ready"
            click.echo(settled if has_stood else f"not ready after {wishes.timeout:.0f} seconds")
            return False
        if time.monotonic() - last >= GRACE:  # whoever looks on is told what takes so long, once each
            for trouble in [trouble for trouble in troubles if trouble not in told]:
                click.echo(f"waiting: {trouble}")
            told.update(troubles)
            last = time.monotonic()
        await _pause(stop, RETRY)
    return False


def _left(plane: LocalControlPlane, lacking: list[Verdict]) -> str:
    """What would still be tried by itself, and when; "" if only a change helps."""
    keys = {key for verdict in lacking for key in verdict.retried}
    due = sorted((seconds, str(key)) for key in keys if (seconds := plane.dispatcher.retry_in(key)) is not None)
    if not due:
        return ""
    more = f" and {len(due) - 1} more later" if due[1:] else ""
    return (
        f"not ready, and nothing new for {GRACE:.0f} seconds: {due[0][1]} would be tried again in {due[0][0]:.0f} seconds{more}. "
        + mending("run it again, or without --once")
    )


class Reporter:
    """Says how things are, whenever that has changed."""

    def __init__(self, cluster: SqliteCluster) -> None:
        self._cluster = cluster
        self._looked_at = (-1, -1)  # the store's version, and how many objects
        self.verdicts: dict[Key, Verdict] = {}

    async def news(self, keys: list[Key]) -> list[Verdict]:
        """The verdicts that differ from the last look's.  Without keys, on all claims, composites and managed resources."""
        version = self._cluster.version()
        if (version, len(keys)) == self._looked_at:
            return []
        known = {(kind.group, kind.kind): kind for kind in await store.served(self._cluster)}
        roots = keys or [
            key_of(obj)
            for kind in known.values()
            if health.CARRIES_READY & set(kind.categories)
            for obj in await self._cluster.list(kind.api_version, kind.kind)
        ]
        now, before = datetime.now(UTC), self.verdicts
        self.verdicts = {}
        for key in roots:
            kind = known.get((key.group, key.kind))
            categories = frozenset(kind.categories if kind else ())
            self.verdicts[key] = await health.judge(self._cluster, key, categories, now)
        self._looked_at = (version, len(keys))
        return [
            verdict
            for key, verdict in self.verdicts.items()
            if verdict.is_telling and verdict.causes != (tree.SILENT,) and verdict != before.get(key)
        ]


@contextmanager
def interruptible() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C and SIGTERM set.  A second Ctrl-C is Python's own."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end(number: int) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
