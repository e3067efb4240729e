"""`groundplane get`: what is in the store, in kubectl's words and columns."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime

import click

from groundplane.cli import completing_objects, store, table
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import explain, goyaml
from groundplane.core.objects import Object, meta
from groundplane.errors import InvalidInput, NotFound

MASK = "********"  # in place of a Secret's values

Found = list[tuple[store.Served, list[Object]]]


@click.command(epilog="Example: groundplane get managed -o wide")
@click.argument("kind", shell_complete=completing_objects.kinds)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing_objects.names)
@click.option(
    "-n",
    "--namespace",
    shell_complete=completing_objects.namespaces,
    default="default",
    show_default=True,
    help="Where to look.",
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Look in all namespaces.")
@click.option("-o", "--output", type=click.Choice(["table", "wide", "yaml", "json", "name"]), default="table")
@click.option("-l", "--selector", default="", metavar="a=b[,…]", help="Only objects with these labels.")
@click.option("--show-secrets", is_flag=True, help="Print the values of Secrets, which are masked otherwise.")
@store.database
def get(
    kind: str,
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    output: str,
    selector: str,
    show_secrets: bool,
    db: str,
) -> None:
    """Show objects of a control plane on this machine.

    KIND is a plural, singular or short name (databases, database, db), with its group if need be
    (instances.rds.aws.upbound.io), a category (claim, composite, managed, crossplane, all), or several with commas
    between.  KIND/NAME works, too.
    """
    if "/" in kind:
        kind, _, name = kind.partition("/")
        names = (name, *names)
    with store.opened(db) as cluster:
        found = asyncio.run(_find(cluster, kind, names, "" if all_namespaces else namespace, selector))
    if not show_secrets:
        found = [(served, [masked(obj) for obj in objects]) for served, objects in found]
    if not any(objects for _, objects in found):
        in_namespace = not all_namespaces and all(served.namespaced for served, _ in found)
        place = f" in {namespace} namespace" if in_namespace and found else ""
        click.echo(f"No resources found{place}.", err=True)
        if output in ("table", "wide", "name"):
            return
    click.echo(
        _written(found, output, names=bool(names), namespaces=all_namespaces, several=kind == "all" or "," in kind)
    )


async def _find(cluster: SqliteCluster, kind: str, names: tuple[str, ...], namespace: str, selector: str) -> Found:
    known = await store.served(cluster)
    meant = store.find(kind, known)
    if names and not namespace:
        raise InvalidInput("a name can't be looked up in all namespaces", mend="leave out -A, or the name")
    found: Found = []
    for served in meant:
        objects = await cluster.list(served.api_version, served.kind, namespace=namespace if served.namespaced else "")
        if names:
            objects = [obj for obj in objects if meta(obj)["name"] in names]
        found.append((served, store.selected(objects, selector)))
    missing = sorted(set(names) - {meta(obj)["name"] for _, objects in found for obj in objects})
    if missing:
        place = f" in namespace {namespace}" if any(served.namespaced for served in meant) else ""
        there = ", ".join(served.full_name for served in meant)
        raise NotFound(
            f'{there} "{missing[0]}" not found{place}',
            mend=f"see what is there: groundplane get {kind} -A{store.again()}",
        )
    return found


def masked(obj: Object) -> Object:
    """A Secret without its values; any other object as it is.

    >>> masked({"apiVersion": "v1", "kind": "Secret", "data": {"password": "aHVudGVyMg=="}})["data"]
    {'password': '********'}
    """
    if obj.get("kind") != "Secret" or obj.get("apiVersion") != "v1":
        return obj
    return explain.masked_secret(obj)


def _written(found: Found, output: str, *, names: bool, namespaces: bool, several: bool) -> str:
    if output in ("table", "wide"):
        return _tables(
            [part for part in found if part[1]], wide=output == "wide", namespaces=namespaces, several=several
        )
    if output == "name":
        return "\n".join(f"{served.prefix}/{meta(obj)['name']}" for served, objects in found for obj in objects)
    objects = [_readable(obj) for _, objects in found for obj in objects]
    one = names and len(objects) == 1
    whole = (
        objects[0]
        if one
        else {"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}}
    )
    if output == "json":
        return json.dumps(whole, indent=4, ensure_ascii=False)
    return goyaml.dumps(whole).rstrip("\n")


def _tables(found: Iterable[tuple[store.Served, list[Object]]], *, wide: bool, namespaces: bool, several: bool) -> str:
    parts = list(found)
    prefix = several or len(parts) > 1
    now = datetime.now(UTC)
    tables = []
    for served, objects in parts:
        spaces = namespaces and (served.namespaced or prefix)
        rows = [table.row(served, o, wide=wide, namespaces=spaces, prefix=prefix, now=now) for o in objects]
        tables.append(table.lay_out([table.header(served, wide=wide, namespaces=spaces), *rows]))
    return "\n\n".join(tables)


def _readable(obj: Object) -> Object:
    """Without managedFields, as kubectl shows it."""
    return {**obj, "metadata": {name: value for name, value in meta(obj).items() if name != "managedFields"}}
