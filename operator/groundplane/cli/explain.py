"""`groundplane explain`: why is an object not ready, and where does a value of it come from?

Objects are gathered as `trace` does; what set a value, `core/origin.py` finds out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundplane.cli import completing, completing_objects, function_flag, sources
from groundplane.errors import shown

if TYPE_CHECKING:
    from groundplane.core.lineage import Member

NOT_READY = 3  # exit code


@click.command(epilog="Example: groundplane explain database/my-service-db spec.parameters.size -n my-team")
@click.argument("what", metavar="KIND/NAME", shell_complete=completing_objects.objects)
@click.argument("path", metavar="[PATH]", shell_complete=completing_objects.fields, required=False)
@click.argument("more", nargs=-1, metavar="", shell_complete=completing.files)
@click.option(
    "--resource",
    default="",
    metavar="TEMPLATE",
    help="Look at what this template makes of files, without any cluster: groundplane explain FILE… [PATH] --resource TEMPLATE.",
)
@click.option("--all", "everything", is_flag=True, help="Of each field of its spec, where it comes from.")
@click.option(
    "-n",
    "--namespace",
    shell_complete=completing_objects.namespaces,
    default="",
    help="Where it is.  [default: the context's]",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--forward", is_flag=True, help="Of a claim's or composite's field: what it comes to in what is composed."
)
@function_flag.option
@function_flag.templates
@sources.options
def explain(
    what: str,
    path: str | None,
    more: tuple[str, ...],
    resource: str,
    everything: bool,
    namespace: str,
    output: str,
    forward: bool,
    function: tuple[str, ...],
    function_templates_dir: str,
    db: str,
    context: str,
    kubeconfig: str,
) -> None:
    """Say why an object is not ready: the first cause, and what to do about it.

    With PATH (spec.forProvider.instanceClass), say where that value comes from: who set it last, the patch or base in its
    Composition, the composite's field that it was read from, the claim, the definition's default.  What is not known is said to be unknown.

    With --resource and files, both of what a template makes of them, as `render` shows it; without PATH, of every field.

    With --forward as well, say which fields of composed resources patches write from that field of a claim or composite.

    Exit code 3 if the object is not ready (without PATH), 1 if there is no such object or field.
    """
    given = (function_flag.addresses(function), function_flag.files(function_templates_dir))
    if forward and (not path or resource):
        raise click.UsageError("--forward needs the PATH of a field of a claim or composite")
    if resource:
        files, path = _files([what, *([path] if path else []), *more])
        found = asyncio.run(_explain_files(files, resource, path, given))
    else:
        kind, slash, name = what.partition("/")
        if not slash or not name or more:
            meant = f": {what}/{path}" if path and not slash and not more else ""
            raise click.UsageError(f"name the object as KIND/NAME{meant}, or files with --resource TEMPLATE")
        if everything and path:
            raise click.UsageError("--all is of every field: leave PATH out")
        asked = _explain(
            kind, name, namespace, path, given, (db, kubeconfig, context), forward=forward, everything=everything
        )
        found = asyncio.run(asked)
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for line in _lines(found):
            click.echo(line)
    if "ready" in found and not found["ready"]:
        click.get_current_context().exit(NOT_READY)


def _files(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Files, and the path of a field behind them, if there is one."""
    (*before, last) = words
    is_path = bool(before) and last != "-" and not Path(last).exists() and not last.endswith((".yaml", ".yml"))
    return (before, last) if is_path else (list(words), None)


async def _explain_files(files: Sequence[str], template: str, path: str | None, functions: Any) -> dict[str, Any]:
    from groundplane.cli.chain import Chain
    from groundplane.cli.explain_files import rendered, with_places

    source, root, places = await rendered(files, template)
    chain = Chain(source, functions)
    if path is not None:
        return with_places(await chain.of(root, path), places)
    found = await chain.every(root)
    return {**found, "fields": [with_places(each, places) for each in found["fields"]]}


async def _explain(
    kind: str,
    name: str,
    namespace: str,
    path: str | None,
    functions: tuple[Any, Any],
    place: tuple[str, str, str],
    *,
    forward: bool,
    everything: bool,
) -> dict[str, Any]:
    from groundplane.cli.chain import Chain, set_by
    from groundplane.cli.trace import Asked, Gathering

    async with sources.opened(*place) as source:
        gathering = Gathering(source, Asked(kind=kind, name=name, namespace=namespace))
        (root,) = await gathering.trees()
        chain = Chain(source, functions)
        if everything:
            return await chain.every(root)
        if path is None:
            found = _cause(root)
            return found | {"causes": [*found["causes"], *await set_by(root, found["causes"], chain)]}
        return await (chain.reached(root, path) if forward else chain.of(root, path))


def _cause(root: Member) -> dict[str, Any]:
    from groundplane.cli import trace_report
    from groundplane.core import lineage

    cause = trace_report.cause_of(root).removeprefix(trace_report.CAUSE)
    ready = lineage.condition(root.object, "Ready")
    return {
        "object": str(root.key),
        "ready": all(map(lineage.is_ready, lineage.every(root))),
        "usable": ready.get("status") == "True",  # itself, whatever a later change has come to
        "since": str(ready.get("lastTransitionTime") or "") if ready.get("status") != "True" else "",
        "causes": [" ".join(line.split()) for line in cause.splitlines() if line.strip()],
    }


# --- text ----------------------------------------------------------------------------------------------------------


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    if "fields" in found:
        for each in found["fields"]:
            first, *rest = _lines(each)
            yield f"{each['path']} {first}"
            yield from rest
        return
    if "path" not in found:
        if found["ready"]:
            yield f"{found['object']} is ready, and so is all that it is made of."
            return
        if found["usable"]:
            yield f"Ready, but not all that it is made of is as wanted: {', '.join(found['causes'][:1])}"
            yield from found["causes"][1:]
            return
        from groundplane.cli import chain

        since = chain.ago(found["since"]).strip().removesuffix(" ago") if found["since"] else ""
        first, *rest = found["causes"] or ["nothing says why; groundplane trace shows what there is"]
        yield f"Not ready{f' for {since}' if since else ''}: {first}"
        yield from rest
        return
    yield f"= {shown(found['value'])}"
    if "reaches" in found:
        for each in found["reaches"]:
            yield f"  {each['object']} {each['path']} = {shown(each['value'])}  ({each['place']})"
        if not found["reaches"]:
            yield "  no patch reads it; what functions with templates or code of their own do is not known"
        return
    width = max((len(hop["by"]) for hop in found["chain"]), default=0)
    for hop in found["chain"]:
        steps = "".join(f", {step['what']} → {shown(step['value'])}" for step in hop.get("steps", ()))
        inputs = ", ".join(f"{each['path']} = {shown(each['value'])}" for each in hop.get("input", ()))
        yield f"  {hop['by']:<{width}}  {hop['place']}{f': {inputs}' if inputs else ''}{steps}"
    if not found["chain"]:
        yield "  unknown  nobody is known to have set it"
