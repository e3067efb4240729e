"""What a shell offers where a word of the command line is begun, and a store or cluster is asked: kinds, names, namespaces, fields.

Kinds and names are those of the store or cluster that the command would look at.  Nothing is offered, and nothing is said, where that does
not answer within a moment: whoever presses the tab key wants to go on writing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from groundplane.errors import GroundplaneError

if TYPE_CHECKING:
    from groundplane.cli.sources import Source
    from groundplane.cli.store import Served
    from groundplane.core.objects import Json

Ask = Callable[["Source"], Awaitable[Iterable[CompletionItem]]]

PATIENCE = 2.0  # seconds; a login program may take one
ROOTS = {"claim", "composite"}  # categories of what people look at first


def kinds(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Kinds; and, behind a kind and a slash, names."""

    async def ask(source: Source) -> Iterable[CompletionItem]:
        if "/" in begun:
            return await _objects(ctx, source, begun)
        return [CompletionItem(word, help=kind.full_name) for word, kind in _words(source.kinds, begun)]

    return _asked(ctx, ask)


def objects(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """KIND/NAME: the kinds, as long as there are several that may be meant; then the objects of the one."""

    async def ask(source: Source) -> Iterable[CompletionItem]:
        if "/" in begun:
            return await _objects(ctx, source, begun)
        words = list(_words(source.kinds, begun))
        if len(words) == 1:
            return await _objects(ctx, source, f"{words[0][0]}/")
        return [CompletionItem(f"{word}/", help=kind.full_name) for word, kind in words]

    return _asked(ctx, ask)


def names(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of the kind that was written before; not those that were, too."""
    kind = str(ctx.params.get("kind") or "")
    given = ctx.params.get(param.name or "") or ()

    async def ask(source: Source) -> Iterable[CompletionItem]:
        found = await _names(ctx, source, kind)
        return [CompletionItem(name) for name in found if name.startswith(begun) and name not in given]

    return _asked(ctx, ask) if kind and "/" not in kind else []


def composites(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Claims and composites, as NAME or NAMESPACE/NAME."""

    async def ask(source: Source) -> Iterable[CompletionItem]:
        found = [await source.names(kind) for kind in source.kinds if ROOTS & set(kind.categories)]
        words = {f"{namespace}/{name}".removeprefix("/") for names in found for namespace, name in names}
        return [CompletionItem(word) for word in sorted(words) if word.startswith(begun)]

    return _asked(ctx, ask)


def namespaces(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    async def ask(source: Source) -> Iterable[CompletionItem]:
        found = [await source.names(kind) for kind in source.kinds if kind.full_name == "namespaces"]
        return [CompletionItem(name) for names in found for _, name in names if name.startswith(begun)]

    return _asked(ctx, ask)


def fields(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Paths of the values of the object that was written before."""
    kind, _, name = str(ctx.params.get("what") or "").partition("/")

    async def ask(source: Source) -> Iterable[CompletionItem]:
        from groundplane.cli import store

        paths: set[str] = set()
        for served in store.find(kind, source.kinds):
            namespace = str(ctx.params.get("namespace") or "") or source.namespace
            obj = await source.get(store.key_in(served, namespace, name))
            for part in ("spec", "status"):
                paths.update(_paths((obj or {}).get(part), part))
        return [CompletionItem(path) for path in sorted(paths) if path.startswith(begun)]

    return _asked(ctx, ask) if name else []


# --- asking ---------------------------------------------------------------------------------------------------


def _asked(ctx: click.Context, ask: Ask) -> list[CompletionItem]:
    """What the store or cluster answers; nothing if it does not."""
    import asyncio

    from groundplane.cli import sources

    async def run() -> list[CompletionItem]:
        async with (
            asyncio.timeout(PATIENCE),
            sources.opened(*(str(ctx.params.get(name) or "") for name in ("db", "kubeconfig", "context"))) as source,
        ):
            return list(await ask(source))

    found: list[CompletionItem] = []

    def look() -> None:
        with suppress(GroundplaneError, OSError):  # no store, no cluster, no right, no such kind; too late
            found.extend(asyncio.run(run()))

    with _silence():
        looking = threading.Thread(target=look, daemon=True)  # a login program may take its time, and is not waited for
        looking.start()
        looking.join(PATIENCE + 0.5)
    return list(found)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing on standard error, of login programs either: it would stand in the line that somebody writes."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _words(known: Sequence[Served], begun: str) -> Iterator[tuple[str, Served]]:
    """What kinds are called that begin so, each once and by one kind alone; if nothing is begun, of claims and composites, where there are any."""
    if not begun:
        roots = [kind for kind in known if ROOTS & set(kind.categories)]
        known = roots or known
    called: dict[str, list[Served]] = {}
    for kind in known:
        called.setdefault(kind.singular, []).append(kind)
    for kind in sorted(known, key=lambda kind: (kind.singular, kind.group)):
        alone = len(called[kind.singular]) == 1
        words = [*((kind.singular, kind.plural) if alone else ()), kind.prefix, kind.full_name, *kind.short_names]
        if word := next((word for word in words if word.startswith(begun.lower())), ""):
            yield word, kind


async def _objects(ctx: click.Context, source: Source, begun: str) -> list[CompletionItem]:
    kind, _, name = begun.partition("/")
    return [CompletionItem(f"{kind}/{found}") for found in await _names(ctx, source, kind) if found.startswith(name)]


async def _names(ctx: click.Context, source: Source, kind: str) -> list[str]:
    """The names of a kind, or of several, where the command would look for them."""
    from groundplane.cli import store

    everywhere = bool(ctx.params.get("all_namespaces"))
    namespace = "" if everywhere else str(ctx.params.get("namespace") or "") or source.namespace
    found = [await source.names(served, namespace) for served in store.find(kind, source.kinds)]
    return sorted({name for names in found for _, name in names})


def _paths(value: Json, *before: str | int) -> Iterator[str]:
    """The paths of all values in an object.

    >>> list(_paths({"a": [{"b": 1}], "c.d": 2, "e": {}}, "spec"))
    ['spec.a[0].b', 'spec[c.d]', 'spec.e']
    """
    from groundplane.core import fieldpath

    if value and isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(each, *before, name)
    elif value is not None:
        yield fieldpath.render(before)
