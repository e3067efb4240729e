"""`groundplane trace`: a claim, composite or package, all that comes of it, how each does, and what to look at first.

Arguments, flags and output are those of `crossplane beta trace`; it looks at a cluster, or at the store of `groundplane up`.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from groundplane.cli import completing_objects, sources, store
from groundplane.core.naming import COMPOSITE_LABEL
from groundplane.errors import Denied, GroundplaneError, InvalidInput, NotFound, nearest

if TYPE_CHECKING:
    from groundplane.cli.sources import Source
    from groundplane.cli.store import Served
    from groundplane.cli.trace_report import Look
    from groundplane.core.lineage import Member
    from groundplane.core.objects import Key, Object

MANY = 4  # references of a kind from which they are listed, not asked for one by one
FOLD = 20  # siblings of a kind that are ready and shown
PAUSE = 2.0  # seconds between two looks
NOT_READY = 3  # exit code


@click.command(epilog="Example: groundplane trace database my-service-db -n my-team")
@click.argument("kind", metavar="KIND[/NAME]", shell_complete=completing_objects.kinds)
@click.argument("name", required=False, metavar="[NAME]", shell_complete=completing_objects.names)
@click.option(
    "-n",
    "--namespace",
    shell_complete=completing_objects.namespaces,
    default="",
    help="Where it is.  [default: the context's]",
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Wherever it is; without a name, all there are.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["default", "wide", "json", "yaml", "dot"]),
    default="default",
    show_default=True,
)
@click.option(
    "-s",
    "--show-connection-secrets",
    is_flag=True,
    help="Show connection Secrets: that they are there, never what is in them.",
)
@click.option(
    "--show-package-dependencies", type=click.Choice(["unique", "all", "none"]), default="unique", hidden=True
)
@click.option(
    "--show-package-revisions", type=click.Choice(["active", "all", "none"]), default="active", show_default=True
)
@click.option("--show-package-runtime-configs", is_flag=True)
@click.option("--concurrency", type=click.IntRange(min=1), default=16, show_default=True, help="Requests at once.")
@click.option("-w", "--watch", is_flag=True, help="Show it again whenever it changes, until it is gone.")
@click.option("--until", type=click.Choice(["ready", "gone"]), help="Watch until it is so.")
@click.option("--unready", is_flag=True, help="Only branches in which something is not ready.")
@click.option("--depth", type=click.IntRange(min=0), help="Not deeper than that.")
@click.option(
    "--all", "everything", is_flag=True, help=f"Show all; else siblings of a kind that are ready fold beyond {FOLD}."
)
@click.option("--external", is_flag=True, help="A column with what each stands for in AWS.")
@click.option("--providers", is_flag=True, help="Show ProviderConfigs, too.")
@click.option("--plain", is_flag=True, help="As upstream: no cause, nothing folded.")
@click.option("--exit-code", is_flag=True, help=f"Exit with {NOT_READY} unless all is ready.")
@sources.options
def trace(
    kind: str,
    name: str | None,
    namespace: str,
    all_namespaces: bool,
    output: str,
    show_connection_secrets: bool,
    show_package_dependencies: str,
    show_package_revisions: str,
    show_package_runtime_configs: bool,
    concurrency: int,
    watch: bool,
    until: str | None,
    unready: bool,
    depth: int | None,
    everything: bool,
    external: bool,
    providers: bool,
    plain: bool,
    exit_code: bool,
    db: str,
    context: str,
    kubeconfig: str,
) -> None:
    """Show a claim, composite or package, and all that comes of it, as a tree; then what to look at first.

    KIND is a plural, singular or short name, with version and group if need be: database, databases.platform.example.com.
    Without a name, all objects of the kind are shown.  The store ./groundplane.db is looked at if there is one and no cluster is named.

    Exit code 1 if there is no such object, or none of the kind (but as JSON and YAML); else 0, ready or not, unless --exit-code is given.
    """
    from groundplane.cli.trace_report import Look

    if "/" in kind:
        kind, _, inner = kind.partition("/")
        if name is not None or not inner or "/" in inner:
            raise click.UsageError("name the object once: KIND NAME, or KIND/NAME")
        name = inner
    if (watch or until) and name is None:
        raise click.UsageError("name the object that is to be watched")
    asked = Asked(
        kind=kind,
        name=name or "",
        namespace=namespace,
        everywhere=all_namespaces,
        secrets=show_connection_secrets,
        providers=providers,
        revisions=show_package_revisions,
        runtimes=show_package_runtime_configs,
        at_once=concurrency,
        may_be_none=output in ("json", "yaml"),
    )
    shape = Shape(unready, depth, everything or plain, Look(output=output, plain=plain, external=external))
    all_ready = asyncio.run(_run(asked, shape, db, kubeconfig, context, watch=watch or bool(until), until=until or ""))
    if exit_code and not all_ready:
        raise SystemExit(NOT_READY)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody wants to see."""

    kind: str
    name: str
    namespace: str = ""
    everywhere: bool = False  # in all namespaces
    secrets: bool = False
    providers: bool = False
    revisions: str = "active"
    runtimes: bool = False
    at_once: int = 16
    may_be_none: bool = False  # a list for programs may be empty; for people there is nothing to show


@dataclass(frozen=True)
class Shape:
    """What of it is shown, and how."""

    unready: bool
    depth: int | None
    everything: bool
    look: Look

    def of(self, root: Member) -> Member:
        from groundplane.core import lineage

        if self.unready:
            root = lineage.unready(root)
        if self.depth is not None:
            root = lineage.pruned(root, self.depth)
        return root if self.everything else lineage.folded(root, FOLD)


async def _run(asked: Asked, shape: Shape, db: str, kubeconfig: str, context: str, *, watch: bool, until: str) -> bool:
    """Show it, and with `watch` again and again; whether everything is ready."""
    from groundplane.cli import trace_report
    from groundplane.core import lineage

    async with sources.opened(db, kubeconfig, context) as source:
        before = ""
        while True:
            gathering = Gathering(source, asked)
            try:
                roots = await gathering.trees()
            except NotFound:
                if watch and (before or until == "gone"):
                    click.echo("It is gone.", err=True)
                    return until == "gone"
                raise
            text = trace_report.written([shape.of(root) for root in roots], shape.look, is_list=not asked.name)
            if not watch and shape.look.tells_causes and len(roots) == 1:
                text += await _set_by(roots[0], source)
            if text != before:
                again = "\x1b[H\x1b[2J" if before and sys.stdout.isatty() else "\n" if before else ""
                click.echo(again + text, nl=False)
                _tell_rights(gathering)
            before = text
            all_ready = all(lineage.is_ready(member) for root in roots for member in lineage.every(root))
            if not watch or (until == "ready" and all_ready):
                return all_ready
            await asyncio.sleep(PAUSE)


async def _set_by(root: Member, source: Source) -> str:
    """A line below the cause: who in a Composition has set what it is about; "" where that is not known."""
    from groundplane.cli import chain, trace_report

    cause = trace_report.cause_of(root).removeprefix(trace_report.CAUSE).splitlines()
    lines = await chain.set_by(root, cause, chain.Chain(source, ({}, None)))
    return "".join(f"{'':<{len(trace_report.CAUSE)}}{line}\n" for line in lines)


def _tell_rights(gathering: Gathering) -> None:
    """The rules that whoever looks lacks."""
    plurals = {(kind.group, kind.kind): kind.plural for kind in gathering.source.kinds}
    for group, kind in sorted(gathering.denied):
        rule = (
            f'{{apiGroups: ["{group}"], resources: [{plurals.get((group, kind), kind.lower())}], verbs: [get, list]}}'
        )
        click.echo(f"{kind} may not be read. Mend: add to a ClusterRole of yours: {rule}.", err=True)


# --- reading ------------------------------------------------------------------------------------------------


@dataclass
class Gathering:
    """Reads trees from a source, level by level: of many references of a kind in one request."""

    source: Source
    asked: Asked
    found: dict[Key, Object | str] = field(default_factory=dict)  # or why it is not there
    children: dict[Key, list[Key]] = field(default_factory=dict)
    denied: set[tuple[str, str]] = field(default_factory=set)  # groups and kinds

    async def trees(self) -> list[Member]:
        """The trees that are asked for.

        Raises:
            InvalidInput: there is no such kind, or there are several.
            NotFound: there is no such object.
        """
        from groundplane.core import lineage
        from groundplane.core.objects import key_of

        self._slots = asyncio.Semaphore(self.asked.at_once)
        roots = await self._roots()
        due = []
        for root in roots:
            self.found[key_of(root)] = root
            due.append(key_of(root))
        while due:
            level: dict[Key, Object] = {}
            for key in due:
                obj = self.found[key]
                if isinstance(obj, dict) and key not in self.children:
                    self.children[key] = await self._children(obj)
                    level |= {child: obj for child in self.children[key] if child not in self.found}
            await self._read(level)
            due = [key for key in level if isinstance(self.found.get(key), dict)]
        return [lineage.grown(key_of(obj), self.found, self.children) for obj in roots]

    async def _roots(self) -> list[Object]:
        from groundplane.core.objects import Key, joined, meta

        kinds = meant(self.asked.kind, self.source.kinds)
        place = self.asked.namespace or self.source.namespace
        if not self.asked.name:
            several = one(self.asked.kind, kinds)
            in_one = several.namespaced and not self.asked.everywhere
            found = await self.source.list(several.api_version, several.kind, namespace=place if in_one else "")
            if not found and not self.asked.may_be_none:
                mend = (
                    f"look in all namespaces: groundplane trace {self.asked.kind} -A{store.again()}" if in_one else ""
                )
                where = f" in namespace {place}" if in_one else ""
                raise NotFound(f"there are no {several.full_name}{where}", mend=mend)
            return found
        if self.asked.everywhere and (named := await self._elsewhere(kinds)):
            return named
        there: list[Object] = []
        for kind in kinds:
            obj = await self.source.get(
                Key(kind.api_version, kind.kind, place if kind.namespaced else "", self.asked.name)
            )
            there += [obj] if obj is not None else []
        if len(there) > 1:
            one(self.asked.kind, kinds)
        if not there:
            where = f" in namespace {place}" if any(kind.namespaced for kind in kinds) else ""
            mend = f"see what is there: groundplane trace {self.asked.kind}{' -A' if where else ''}{store.again()}"
            if near := await self._nearly(kinds, place):
                mend = f"did you mean {near}?"
            if places := [str(meta(obj).get("namespace")) for obj in (await self._elsewhere(kinds) if where else ())]:
                mend = f"there is one in {joined(places)}: add -n {places[0]}"
            raise NotFound(
                f'{" or ".join(kind.full_name for kind in kinds)} "{self.asked.name}" not found{where}', mend=mend
            )
        return there

    async def _nearly(self, kinds: Sequence[Served], place: str) -> str:
        """The name there, as far as they may be listed, that is nearly that one, or that of the composite which a claim of that name has."""
        names = set[str]()
        for kind in kinds:
            try:
                names |= {name for _, name in await self.source.names(kind, place)}
            except Denied:
                continue  # then nobody can say
        begun = sorted(name for name in names if name.startswith(f"{self.asked.name}-"))
        return begun[0] if len(begun) == 1 else nearest(self.asked.name, names)

    async def _elsewhere(self, kinds: Sequence[Served]) -> list[Object]:
        """Objects of that name in any namespace, as far as they may be listed."""
        from groundplane.core.objects import meta

        found: list[Object] = []
        for kind in kinds:
            try:
                found += await self.source.list(kind.api_version, kind.kind) if kind.namespaced else []
            except Denied:
                continue  # then nobody can say
        return [obj for obj in found if meta(obj)["name"] == self.asked.name]

    async def _children(self, obj: Object) -> list[Key]:
        from groundplane.core import lineage
        from groundplane.core.objects import Key, group_of, key_of, meta, spec_of

        if group_of(obj["apiVersion"]) != lineage.PACKAGES or obj["kind"] not in lineage.PACKAGE_KINDS:
            return lineage.edges(obj, secrets=self.asked.secrets, providers=self.asked.providers)
        found: list[Key] = []
        runtime = spec_of(obj).get("runtimeConfigRef")
        if self.asked.runtimes and isinstance(runtime, dict) and runtime.get("name"):
            found.append(Key("pkg.crossplane.io/v1beta1", "DeploymentRuntimeConfig", "", str(runtime["name"])))
        if self.asked.revisions == "none":
            return found
        kind = f"{obj['kind']}Revision"
        try:
            revisions = await self.source.list(
                obj["apiVersion"], kind, labels={lineage.REVISION_LABEL: meta(obj)["name"]}
            )
        except GroundplaneError:
            return found
        for revision in sorted(revisions, key=lambda each: str(meta(each).get("creationTimestamp") or "")):
            if self.asked.revisions == "all" or spec_of(revision).get("desiredState") == "Active":
                self.found[key_of(revision)] = revision
                self.children[key_of(revision)] = []
                found.append(key_of(revision))
        return found

    async def _read(self, level: dict[Key, Object]) -> None:
        """Get these objects, each of which is a part of one of their parents."""
        by_kind: dict[tuple[str, str, str], list[Key]] = defaultdict(list)
        for key, parent in level.items():
            by_kind[key.api_version, key.kind, _composite(parent)].append(key)
        await asyncio.gather(
            *(
                self._list(keys, composite) if len(keys) >= MANY and composite else self._get_all(keys)
                for (_, _, composite), keys in by_kind.items()
            )
        )

    async def _list(self, keys: Sequence[Key], composite: str) -> None:
        """All of one kind that belong to one composite, then what of them has not its label."""
        from groundplane.core.objects import key_of

        places = {key.namespace for key in keys}
        namespace = places.pop() if len(places) == 1 else ""
        wanted = set(keys)
        try:
            async with self._slots:
                listed = await self.source.list(
                    keys[0].api_version, keys[0].kind, namespace=namespace, labels={COMPOSITE_LABEL: composite}
                )
        except GroundplaneError:
            listed = []  # what can't be listed may be gotten
        self.found |= {key_of(obj): obj for obj in listed if key_of(obj) in wanted}
        await self._get_all([key for key in keys if key not in self.found])

    async def _get_all(self, keys: Sequence[Key]) -> None:
        await asyncio.gather(*map(self._get, keys))

    async def _get(self, key: Key) -> None:
        try:
            async with self._slots:
                obj = await self.source.get(key)
            self.found[key] = obj if obj is not None else f'{key.kind} "{key.name}" not found'
        except GroundplaneError as error:
            if isinstance(error, Denied):
                self.denied.add((key.group, key.kind))
            self.found[key] = error.what


def _composite(parent: Object) -> str:
    """The label that what an object is composed of has."""
    from groundplane.core.objects import labels_of, meta, spec_of

    if isinstance(spec_of(parent).get("resourceRef"), dict):
        return ""
    return str(labels_of(parent).get(COMPOSITE_LABEL) or meta(parent).get("name") or "")


def meant(word: str, kinds: Sequence[Served]) -> list[Served]:
    found = [kind for kind in kinds if kind.is_called(word)]
    if found:
        return found
    near = nearest(word.lower(), {name for kind in kinds for name in kind.names})
    mend = f"did you mean {near}?" if near else "name it as `kubectl api-resources` does"
    raise InvalidInput(f'there is no kind "{word}"', mend=mend)


def one(word: str, kinds: Sequence[Served]) -> Served:
    if len(kinds) > 1:
        names = ", ".join(sorted(kind.full_name for kind in kinds))
        raise InvalidInput(f'"{word}" means several kinds: {names}', mend="name one of them with its group")
    return kinds[0]
