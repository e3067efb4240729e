"""`groundplane diff`: what would change, for whom, if these files were applied?

Here is what is loaded, applied and chosen: the work is `runtime/overlay.py`'s, the words are `diff_report.py`'s.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from groundplane.cli import function_flag, sources
from groundplane.errors import Denied, InvalidInput, NoSuchKind, Rejected

if TYPE_CHECKING:
    from groundplane.cli.diff_report import Report
    from groundplane.cli.sources import Source
    from groundplane.cli.store import Served
    from groundplane.cluster.sqlite import SqliteCluster
    from groundplane.core.objects import Key, Object
    from groundplane.runtime.overlay import Overlay

CHANGES, REFUSED = 3, 2  # exit codes
AT_ONCE = 16  # requests
CORE = "apiextensions.crossplane.io"
ALWAYS = (  # kinds that are loaded whole: definitions, Compositions and what functions are
    (CORE, "CompositeResourceDefinition"),
    (CORE, "Composition"),
    (CORE, "CompositionRevision"),
    (CORE, "EnvironmentConfig"),
    ("pkg.crossplane.io", "Function"),
    ("pkg.crossplane.io", "FunctionRevision"),
)


@click.command(epilog="Example: groundplane diff composition.yaml")
@click.argument("what", metavar="[xr|comp]", required=False)
@click.argument("paths", metavar="PATH...", nargs=-1)
@click.option("-n", "--namespace", default="", help="Of objects that name none; with comp, only composites there.")
@click.option("--resource", multiple=True, metavar="[NAMESPACE/]NAME", help="Only these composites, and claims.")
@click.option("--include-manual", is_flag=True, help="Also composites that stay on their revision by themselves.")
@click.option("-o", "--output", type=click.Choice(["diff", "json", "yaml"]), default="diff", show_default=True)
@click.option("--compact", is_flag=True, help="Only lines around what changes.")
@click.option("--no-color", is_flag=True, help="No colours on a terminal, either.")
@click.option("--ignore-paths", multiple=True, metavar="PATH", help="Fields whose changes don't count.")
@click.option("-v", "--verbose", is_flag=True, help="Each object by itself, equal changes, too.")
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
    function: tuple[str, ...],
    function_templates_dir: str,
    db: str,
    kubeconfig: str,
    context: str,
) -> None:
    """Show what would change if the files in PATHs were applied: claims, composites, Compositions, definitions, together.

    Of a folder, the files in it are read, as `up` does, not those below.

    The real reconcilers run on a copy in memory; nothing is written, and no cloud is called.  Only readable objects are needed: a
    list that is not allowed is an error, for "nobody" must not be said of what was not seen.

    Exit code 0: nothing would change.  3: something would.  2: a file would be refused.  1: it can't be told.
    """
    from groundplane.cli import documents

    if what not in (None, "xr", "comp"):
        paths = (str(what), *paths)
    if not paths:
        raise click.UsageError("no file is named")
    read, wrong = documents.read(documents.expanded(paths), recursive=False)  # as `up` reads folders
    if wrong:
        raise InvalidInput(f"{wrong[0].place}: {wrong[0].message}", mend=wrong[0].mend)
    if not read:
        raise InvalidInput(f"there is no object in {', '.join(paths)}")
    report = asyncio.run(
        _diff(
            read,
            (db, kubeconfig, context),
            namespace,
            resource,
            include_manual=include_manual,
            functions=(function_flag.addresses(function), function_flag.files(function_templates_dir)),
        )
    )
    report = report.without(ignore_paths)
    for error in report.errors:
        click.echo(f"ERROR: {error}", err=True)
    report.write(output, compact=compact, verbose=verbose, in_colour=not no_color)
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
    functions: tuple[Any, Any],
) -> Report:
    from groundplane.cli.diff_report import Filtered, Report
    from groundplane.cluster.sqlite import SqliteCluster
    from groundplane.core.function_sources import Rules
    from groundplane.core.objects import key_of, meta
    from groundplane.ports import Options
    from groundplane.runtime import logs
    from groundplane.runtime.overlay import Overlay

    logs.configure("text", "critical")
    options = Options(functions=Rules(given=functions[0], develops=True), templates=functions[1])
    numbers = itertools.count()
    cluster = SqliteCluster(new_uid=lambda: f"00000000-0000-4000-8000-{next(numbers):012d}")
    async with sources.opened(*place) as source:
        loader = Loader(source, cluster)
        await loader.load([document.object for document in read])
    overlay = Overlay(cluster, options=options)
    await overlay.begin(loader.definitions, loader.users)
    errors: list[str] = []
    is_refused = False
    applied: list[Key] = []
    for document in sorted(read, key=lambda each: _rank(each.object)):
        obj = document.object
        served = loader.served.get((obj["apiVersion"], obj["kind"]))
        if served is not None and served.namespaced and not meta(obj).get("namespace"):
            obj = {**obj, "metadata": {**meta(obj), "namespace": namespace or loader.namespace}}
        try:
            await overlay.apply(obj)
            applied.append(key_of(obj))
        except (Rejected, NoSuchKind) as error:
            is_refused = True
            errors.append(f"{obj['kind']}/{meta(obj).get('name')}: {error} ({document.place()})")
        await overlay.settle()
    if chosen and not any(_is_chosen(key, chosen) for key in overlay.objects()):
        raise InvalidInput(f"there is no {' or '.join(chosen)}", mend="correct --resource")
    filtered: list[Filtered] = []
    if include_manual:
        await _follow_all(overlay, applied)
    else:
        filtered = [
            Filtered(key, "Manual update policy (use --include-manual to evaluate)")
            for key in _manual(overlay, applied)
        ]
    changes = overlay.changes()
    if chosen or namespace:
        family = _family(overlay.objects(), chosen, namespace)
        changes = [each for each in changes if each.key in family or each.key in applied]
    return Report(changes, applied, overlay.objects(), filtered, errors + list(overlay.warnings), is_refused)


def _rank(obj: Object) -> int:
    order = ("CompositeResourceDefinition", "Function", "EnvironmentConfig", "Composition")
    return order.index(obj["kind"]) if obj["kind"] in order else len(order)


def _is_chosen(key: Key, chosen: Iterable[str]) -> bool:
    return any(name in (key.name, f"{key.namespace}/{key.name}") for name in chosen)


def _family(objects: Any, chosen: Sequence[str], namespace: str) -> set[Key]:
    """The objects that are chosen, and all that they control or refer to."""
    from groundplane.cli import tree

    due = [
        key
        for key in objects
        if (not chosen or _is_chosen(key, chosen)) and (not namespace or chosen or key.namespace == namespace)
    ]
    found: set[Key] = set()
    while due:
        key = due.pop()
        if key in found or key not in objects:
            continue
        found.add(key)
        due += tree.references(objects[key])
    return found


def _composites_of(overlay: Overlay, applied: Iterable[Key]) -> list[Object]:
    """The composites that use a Composition that was applied."""
    from groundplane.core.objects import machinery_of, spec_of

    names = {key.name for key in applied if key.kind == "Composition"}
    found = []
    for obj in overlay.objects().values():
        spec = spec_of(obj)
        machinery = machinery_of(obj)
        reference = machinery.get("compositionRef")
        is_composite = "claimRef" in spec or "resourceRefs" in machinery or "compositionRevisionRef" in machinery
        if (
            is_composite
            and "resourceRef" not in spec
            and isinstance(reference, dict)
            and reference.get("name") in names
        ):
            found.append(obj)
    return found


def _manual(overlay: Overlay, applied: Iterable[Key]) -> list[Key]:
    from groundplane.core.objects import key_of, machinery_of

    found = []
    for obj in _composites_of(overlay, applied):
        if machinery_of(obj).get("compositionUpdatePolicy") == "Manual":
            found.append(key_of(obj))
    return found


async def _follow_all(overlay: Overlay, applied: Iterable[Key]) -> None:
    """Have those take the newest revision that stay on theirs by themselves, and their claims not set them back."""
    from groundplane.core.objects import Key, key_of, machinery_of, spec_of

    automatic = {"compositionUpdatePolicy": "Automatic"}
    for obj in _composites_of(overlay, applied):
        nested = isinstance(spec_of(obj).get("crossplane"), dict)
        if machinery_of(obj).get("compositionUpdatePolicy") != "Manual":
            continue
        if claim := spec_of(obj).get("claimRef"):
            key = Key(claim["apiVersion"], claim["kind"], claim["namespace"], claim["name"])
            await overlay.assume(key, {"spec": automatic})
        await overlay.assume(key_of(obj), {"spec": {"crossplane": automatic} if nested else automatic})
    await overlay.settle()


class Loader:
    """Copies what a change may concern from a source, each kind with one list."""

    def __init__(self, source: Source, cluster: SqliteCluster) -> None:
        self._source, self._cluster = source, cluster
        self.namespace = source.namespace
        self.served: dict[tuple[str, str], Served] = {(each.api_version, each.kind): each for each in source.kinds}
        self._by_kind = {(each.group, each.kind): each for each in source.kinds}
        self._loaded: dict[tuple[str, str], list[Object]] = {}
        self._secrets: set[tuple[str, str]] = set()
        self.definitions: list[Key] = []
        self.users: list[Key] = []  # composites and claims that what is to be applied may concern

    async def load(self, wanted: Sequence[Object]) -> None:
        """Load definitions, Compositions, composites, claims, and all that these are composed of.

        Raises:
            Denied: a list is not allowed, so that it can't be told whom a change reaches.
        """
        from groundplane.core.objects import key_of, spec_of

        await self._list("apiextensions.k8s.io", "CustomResourceDefinition")
        for group, kind in ALWAYS:
            await self._list(group, kind)
        definitions = self._loaded.get((CORE, "CompositeResourceDefinition"), [])
        self.definitions = [key_of(each) for each in definitions]
        users: list[tuple[str, str]] = []
        for definition in definitions:
            spec = spec_of(definition)
            for names in (spec.get("names") or {}, spec.get("claimNames") or {}):
                users.append((str(spec.get("group")), str(names.get("kind") or "")))
                await self._list(*users[-1])
        for obj in wanted:
            await self._list(obj["apiVersion"].rpartition("/")[0], obj["kind"])
        for source in (*self._loaded.get((CORE, "Composition"), ()), *wanted):
            for group, kind in sorted(_templates(source)):
                await self._list(group, kind)
        due = [obj for objects in self._loaded.values() for obj in objects]
        while due:
            kinds = {found for obj in due for found in _composed(obj)}
            before = set(self._loaded)
            for group, kind in sorted(kinds):
                await self._list(group, kind)
            due = [obj for place, objects in self._loaded.items() if place not in before for obj in objects]
        await self._load_single()
        if any(obj["apiVersion"].partition("/")[0] in (CORE, "pkg.crossplane.io") for obj in wanted):
            self.users = [key_of(obj) for place in users for obj in self._loaded.get(place, ())]

    async def _list(self, group: str, kind: str) -> None:
        from groundplane.cluster import kubernetes_schemas
        from groundplane.cluster.kinds import BUILT_IN

        served = self._by_kind.get((group, kind))
        if served is None or (group, kind) in self._loaded:
            return
        if (served.api_version, kind) in BUILT_IN and kind != "CustomResourceDefinition":
            return  # in a cluster there are thousands: what is composed of them is read one by one
        try:
            found = await self._source.list(served.api_version, kind)
        except Denied as error:
            mend = f"grant list of {served.full_name}"
            raise Denied(f"not allowed to list {served.full_name}: can't tell whom this reaches", mend=mend) from error
        self._loaded[group, kind] = found
        if schema := kubernetes_schemas.schema(served.api_version, kind):
            self._cluster.load([_definition(served, schema)])
        self._cluster.load(found)

    async def _load_single(self) -> None:
        """What is read one by one: connection Secrets (without them it would look as if they came anew), and what is composed of such kinds."""
        from groundplane.cluster.kinds import BUILT_IN
        from groundplane.core.objects import Key, meta, spec_of

        wanted: set[Key] = set()
        for objects in self._loaded.values():
            for obj in objects:
                namespace = str(meta(obj).get("namespace") or "")
                reference = spec_of(obj).get("writeConnectionSecretToRef")
                if isinstance(reference, dict) and reference.get("name"):
                    place = namespace or str(reference.get("namespace") or "")
                    wanted.add(Key("v1", "Secret", place, str(reference["name"])))
                for each in _references(obj):
                    if (each.get("apiVersion"), each.get("kind")) in BUILT_IN and each.get("name"):
                        place = str(each.get("namespace") or namespace)
                        wanted.add(Key(each["apiVersion"], each["kind"], place, each["name"]))
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(key: Key) -> Object | None:
            async with gate:
                try:
                    return await self._source.get(key)
                except (Denied, NoSuchKind):
                    return None

        found = await asyncio.gather(*map(one, sorted(wanted)))
        self._cluster.load([obj for obj in found if obj is not None])


def _definition(served: Served, schema: Any) -> Object:
    """One of Kubernetes' own kinds, as a definition would declare it."""
    version = {
        "name": served.api_version.rpartition("/")[2],
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    name = f"{served.plural}.{served.group}"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "uid": name},
        "spec": {
            "group": served.group,
            "names": {"kind": served.kind, "plural": served.plural},
            "scope": "Namespaced" if served.namespaced else "Cluster",
            "versions": [version],
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }


def _references(obj: Object) -> list[dict[str, Any]]:
    """What a composite, or a claim, refers to as composed."""
    from groundplane.core.objects import machinery_of, spec_of

    spec = spec_of(obj)
    machinery = machinery_of(obj)
    return [
        each for each in (*(machinery.get("resourceRefs") or ()), spec.get("resourceRef")) if isinstance(each, dict)
    ]


def _composed(obj: Object) -> set[tuple[str, str]]:
    """Group and kind of all that it refers to."""
    from groundplane.core.objects import group_of

    return {(group_of(str(each.get("apiVersion") or "")), str(each.get("kind") or "")) for each in _references(obj)}


def _templates(source: Object) -> set[tuple[str, str]]:
    """Group and kind of all that a Composition's templates make, as far as that can be read in it, text templates included."""
    import json
    import re

    from groundplane.core.objects import group_of, spec_of

    text = json.dumps(spec_of(source))
    pairs = re.findall(r'\\?"?apiVersion\\?"?: ?\\?"?([\w./-]+)\\?"?(?:,|\\n)\s*\\?"?kind\\?"?: ?\\?"?(\w+)', text)
    return {(group_of(api_version), kind) for api_version, kind in pairs}
