"""`groundplane delete`: ask for objects of the store to be deleted, as kubectl does."""

from __future__ import annotations

import asyncio
import time

import click

from groundplane.cli import completing, completing_objects, follow, manifests, store
from groundplane.cli.belonging import Belonging
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import providers
from groundplane.core.objects import Key, Object, meta
from groundplane.errors import InvalidInput, NoSuchKind, NotFound, Unavailable

POLL = 0.2  # seconds between two looks whether an object is gone


@click.command(epilog="Example: groundplane delete database my-service-db -n my-team --wait")
@click.argument("kind", required=False, shell_complete=completing_objects.kinds)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing_objects.names)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    shell_complete=completing.files,
    help="Delete what these files, folders or - (standard input) hold.",
)
@click.option(
    "-n",
    "--namespace",
    shell_complete=completing_objects.namespaces,
    default="default",
    show_default=True,
    help="Where the objects are.",
)
@click.option("--wait", is_flag=True, help="Return when they are gone, with all that belongs to them.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds to wait at most.")
@click.option("--ignore-not-found", is_flag=True, help="What is not there is no error.")
@store.database
def delete(
    kind: str | None,
    names: tuple[str, ...],
    files: tuple[str, ...],
    namespace: str,
    wait: bool,
    timeout: float,
    ignore_not_found: bool,
    db: str,
) -> None:
    """Delete objects of a control plane on this machine.

    What an object stands for outside goes with it, while `groundplane up` runs on the same store.
    """
    if kind and "/" in kind:
        kind, _, name = kind.partition("/")
        names = (name, *names)
    if bool(files) == bool(kind and names):
        raise click.UsageError("nothing to delete is named: write either KIND NAME or -f FILE")
    with store.opened(db) as cluster:
        asyncio.run(
            _delete(cluster, kind or "", names, files, namespace, ignore_not_found, timeout if wait else 0.0, db)
        )


async def _delete(
    cluster: SqliteCluster,
    kind: str,
    names: tuple[str, ...],
    files: tuple[str, ...],
    namespace: str,
    ignore_not_found: bool,
    patience: float,
    db: str,
) -> None:
    known = await store.served(cluster)
    targets = _in_files(files, known, namespace) if files else await _named(cluster, known, kind, names, namespace)
    belonging = Belonging(cluster)
    asked = []
    for served, key in targets:
        await belonging.add(key)
        if await cluster.delete(key):
            click.echo(
                f'{served.prefix} "{key.name}" deleted{f" from {key.namespace} namespace" if key.namespace else ""}'
            )
            asked.append(key)
        elif not ignore_not_found:
            raise NotFound(f'{served.full_name} "{key.name}" not found')
    if again := await follow.files_with(cluster, asked):
        click.echo(
            f"still in {', '.join(again)}: groundplane up makes it again when it is started anew or its entry is edited. Mend: remove it there, too.",
            err=True,
        )
    left = await _left(cluster, asked)
    ends = "" if store.is_running(db) else f"; they go once a control plane cleans up: groundplane up --db {db}"
    if left and ends and not patience:
        click.echo(
            f"{', '.join(map(str, left))}: marked, and gone once a control plane has cleaned up: groundplane up --db {db}",
            err=True,
        )
    if patience:
        await _wait(belonging, patience, ends)


async def _wait(belonging: Belonging, patience: float, ends: str) -> None:
    """Return when all of it is gone; tell what is waited for, and what has gone meanwhile, each once."""
    deadline, told = time.monotonic() + patience, list[Key]()
    while there := await belonging.left():
        # who looks after the usages of ProviderConfigs is the control plane; they go with what uses them
        left = [key for key in there if key.kind != providers.USAGE] or there
        text = ", ".join(map(str, left))
        if time.monotonic() > deadline:
            raise Unavailable(
                f"still there after {patience:.0f} seconds: {text}",
                mend=f"look at their conditions with groundplane get -o yaml{store.again()}",
            )
        if gone := [key for key in told if key not in left]:
            click.echo(f"gone: {', '.join(map(str, gone))}", err=True)
        if new := [key for key in left if key not in told]:
            most = "" if told else f", {patience:.0f} seconds at most (--timeout)"
            click.echo(f"waiting for {', '.join(map(str, new))}{most}{ends}", err=True)
        told = left
        await asyncio.sleep(POLL)


async def _get(cluster: SqliteCluster, key: Key) -> Object | None:
    try:
        return await cluster.get(key)
    except NoSuchKind:
        return None


def _in_files(files: tuple[str, ...], known: list[store.Served], namespace: str) -> list[tuple[store.Served, Key]]:
    """In reverse: what came last probably needs what came first."""
    found, problems = manifests.read_all(manifests.files(files))
    if problems:
        raise problems[0]
    targets = []
    for manifest in reversed(found):
        served = _of(manifest.key, known)
        if served is None:
            raise NoSuchKind(
                f"{manifest.origin}: the store has no kind {manifest.key.kind} of {manifest.key.api_version}"
            )
        targets.append((served, store.key_in(served, manifest.key.namespace or namespace, manifest.key.name)))
    return targets


def _of(key: Key, known: list[store.Served]) -> store.Served | None:
    return next((served for served in known if (served.group, served.kind) == (key.group, key.kind)), None)


async def _named(
    cluster: SqliteCluster, known: list[store.Served], kind: str, names: tuple[str, ...], namespace: str
) -> list[tuple[store.Served, Key]]:
    """Each name under the one kind of that name which has it."""
    meant = store.find(kind, known)
    targets = []
    for name in names:
        keys = [(served, store.key_in(served, namespace, name)) for served in meant]
        there = [(served, key) for served, key in keys if await cluster.get(key) is not None]
        if len(there) > 1:
            kinds = ", ".join(served.full_name for served, _ in there)
            raise InvalidInput(
                f'"{kind}" means several kinds with a "{name}": {kinds}', mend="name one of them in full"
            )
        targets += there or keys[:1]
    return targets


async def _left(cluster: SqliteCluster, keys: list[Key]) -> list[Key]:
    """Which of them are marked for deletion, and still there."""
    return [key for key in keys if meta(await _get(cluster, key) or {}).get("deletionTimestamp")]
