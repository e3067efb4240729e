"""A revision, compiled; what its steps' functions are is said by the Function objects of their names, where there are any.

A Function whose package is not built in may be served by another package manager: its revisions say where.
"""

from __future__ import annotations

from dataclasses import replace

from groundplane.core import capabilities, composition, function_sources
from groundplane.core.conditions import Condition
from groundplane.core.function_sources import Source
from groundplane.core.objects import Key, Object, key_of, meta, spec_of
from groundplane.errors import Awaited, Conflict, InvalidInput, NoSuchKind
from groundplane.functions import sequencer
from groundplane.ports import Context

PACKAGES = "pkg.crossplane.io"
FUNCTIONS = f"{PACKAGES}/v1"
REVISION = "FunctionRevision"


async def compiled(context: Context, revision: Object, *, keep: bool = True) -> composition.Compiled:
    """The revision, of which its head is enough, ready to render; what it says is read once for each content.

    Without `keep` the form is forgotten: of many revisions that nobody composes with, each would take some thirty KiB.

    Raises:
        InvalidInput: with every problem in it; a Function that changes may end it.
        Conflict: it was replaced, or went, since its head was read.
    """
    sources = await sources_of(context, revision)
    if known := context.compiled_revisions.get(revision, sources):
        return known
    whole = await context.cluster.get(key_of(revision))
    if whole is None or meta(whole).get("uid") != meta(revision).get("uid"):
        raise Conflict(f"{key_of(revision)} has changed meanwhile")
    try:
        form = context.compiled(whole, sources)
        if order := sequencer.sequences(spec_of(whole).get("pipeline")):
            form = replace(form, sequences=tuple(map(tuple, order)))
    except InvalidInput as error:
        error.on = tuple(
            awaited for name in composition.function_names(revision) for awaited in _awaited(name, sources.get(name))
        )
        raise
    if keep:
        context.compiled_revisions.put(whole, sources, form)
    return form


def _awaited(name: str, source: Source | None) -> list[Awaited]:
    """What may say where a function is, once it is there or changes."""
    found = [Awaited(PACKAGES, "Function", name=name)]
    if source is not None and source.endpoint is None:
        found.append(Awaited(PACKAGES, REVISION, labels=((function_sources.PACKAGE_LABEL, name),)))
    return found


async def valid(context: Context, source: Object, capability: str = capabilities.COMPOSITION) -> Condition | None:
    """Whether the functions of a pipeline may do what it is for; None where that is not asked: of mode Resources, and by v1.20."""
    names = composition.function_names(source)
    if not names or context.options.strict_upstream:
        return None
    try:
        await context.watches.ensure([(FUNCTIONS, REVISION)], whole=True)
        found = {
            name: await context.cluster.heads(
                FUNCTIONS, REVISION, capabilities.head, labels={function_sources.PACKAGE_LABEL: name}
            )
            for name in names
        }
    except NoSuchKind:
        found = {}
    return capabilities.verdict(found, capability)


def awaited_capabilities(source: Object) -> tuple[Awaited, ...]:
    """What may change that."""
    return tuple(
        Awaited(PACKAGES, REVISION, labels=((function_sources.PACKAGE_LABEL, name),))
        for name in composition.function_names(source)
    )


async def sources_of(context: Context, revision: Object) -> dict[str, Source]:
    """What is known of the functions that a revision's steps name."""
    sources: dict[str, Source] = {}
    for name in composition.function_names(revision):
        try:
            function = await context.cluster.get(Key(FUNCTIONS, "Function", "", name))
        except NoSuchKind:
            function = None
        if found := await source_of(context, name, function):
            sources[name] = found
    return sources


async def source_of(context: Context, name: str, function: Object | None) -> Source | None:
    """What is known of one function; None if nothing is."""
    rules, revisions = context.options.functions, []
    if function is not None and function_sources.needs_revisions(name, function, rules):
        await context.watches.ensure([(FUNCTIONS, REVISION)], whole=True)
        try:
            revisions = await context.cluster.list(
                FUNCTIONS, REVISION, labels={function_sources.PACKAGE_LABEL: meta(function)["name"]}
            )
        except NoSuchKind:
            revisions = []
    return function_sources.source(name, function, revisions, rules)
