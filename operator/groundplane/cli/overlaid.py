"""Files over what is there, in memory: what `diff` and `plan` look at.

Here is what is loaded, applied and chosen; the work is `runtime/overlay.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from groundplane.errors import Denied, GroundplaneError, InvalidInput, NoSuchKind, NotFound, Rejected

if TYPE_CHECKING:
    from groundplane.cli.sources import Source
    from groundplane.cli.store import Served
    from groundplane.core.objects import Key, Object
    from groundplane.core.pipeline import Endpoint, Remote, Request, Response
    from groundplane.ports import Certificates, Cloud
    from groundplane.runtime.overlay import Copy, Overlay

AT_ONCE = 16  # requests
HOME = "crossplane-system"  # where Secrets are that name no namespace
CORE = "apiextensions.crossplane.io"
ALWAYS = (  # kinds that are loaded whole: definitions, Compositions and what functions are
    (CORE, "CompositeResourceDefinition"),
    (CORE, "Composition"),
    (CORE, "CompositionRevision"),
    (CORE, "EnvironmentConfig"),
    ("pkg.crossplane.io", "Function"),
    ("pkg.crossplane.io", "FunctionRevision"),
)


def read(paths: Sequence[str]) -> list[Any]:
    """The objects in files, and in folders without what is below them, as `up` reads them, so without tests of compositions; each with its place.

    Raises:
        InvalidInput: a file is wrong, or there is nothing in them.
    """
    from groundplane.cli import documents
    from groundplane.core import testing
    from groundplane.core.objects import key_of, meta

    found, wrong = documents.read(documents.expanded(paths), recursive=False)
    if wrong:
        raise InvalidInput(f"{wrong[0].place}: {wrong[0].message}", mend=wrong[0].mend)
    found = [each for each in found if not testing.is_test(each.object)]
    if not found:
        raise InvalidInput(f"there is no object in {', '.join(paths)}", mend="name files with manifests")
    first: dict[Key, Any] = {}
    for document in found:
        if not meta(document.object).get("name"):
            continue  # generateName: each is another
        earlier = first.setdefault(key_of(document.object), document)
        if earlier.object != document.object:  # several folders may need the same
            what = f"{document.place()}: {key_of(document.object)} is given at {earlier.place()} already"
            raise InvalidInput(what, mend="remove one of them")
    return found


@asynccontextmanager
async def begun(
    source: Source,
    wanted: Sequence[Object],
    *,
    functions: tuple[Any, Any],
    cloud: Cloud | None = None,
    credentials: Sequence[Object] = (),
) -> AsyncIterator[Overlaid]:
    """What is there, as far as what is wanted may concern it.  With a `cloud`, also what its resources log in and are made with.

    `functions`: where those are that run elsewhere, by name, and the templates.  Those that were started are ended with it.
    `credentials`: Secrets that are handed to them, in place of those that are there.
    """
    from groundplane.core.function_sources import Rules
    from groundplane.ports import Options
    from groundplane.runtime import logs
    from groundplane.runtime.overlay import MANAGER, Copy, Overlay

    logs.configure("text", "critical")
    options = Options(functions=Rules(given=functions[0], develops=True), templates=functions[1])
    if not source.has_others:
        options = replace(options, create_wait=0.0)
    cluster = Copy(((each.group, each.kind) for each in source.kinds), of_cluster=source.has_others)
    loader = Loader(source, cluster, with_accounts=cloud is not None)
    await loader.load(wanted)
    for secret in credentials:
        await cluster.apply(secret, manager=MANAGER)
    called = _Given(functions[0]) if functions[0] else None
    overlay = Overlay(cluster, options=options, cloud=cloud, functions=called)
    try:
        await overlay.begin(loader.definitions, loader.users)
        while missed := loader.missed():
            await loader.load_missed(missed)
            await overlay.begin(loader.definitions, loader.users)
        yield Overlaid(overlay, loader, functions, errors=list(loader.troubles))
    finally:
        if called:
            await called.close()


class _Given:
    """`ports.Functions`: those that the command line names; where a cluster has others can't be told from here."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        import click

        from groundplane.remote.runner import Runner

        self._names = frozenset(addresses)
        self._runner = Runner(on_output=lambda name, line: click.echo(f"{name}: {line}", err=True))

    async def run(self, remote: Remote, request: Request, certificates: Certificates | None) -> Response:
        if remote.name not in self._names:
            raise InvalidInput(
                f"Function {remote.name} does not run in this process", mend=f"say --function {remote.name}=ADDRESS"
            )
        return await self._runner.run(remote, request, certificates)

    async def problem(self, name: str, endpoint: Endpoint, certificates: Certificates | None) -> str:
        from groundplane.ports import NoFunctions

        known = self._runner if name in self._names else NoFunctions()
        return await known.problem(name, endpoint, certificates)

    async def close(self) -> None:
        await self._runner.close()


@dataclass
class Overlaid:
    """Files that were applied over what is there."""

    overlay: Overlay
    loader: Loader
    functions: tuple[Any, Any]  # where those are that run elsewhere, by name, and the templates
    applied: list[Key] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    is_refused: bool = False
    pinned: list[Key] = field(default_factory=list)  # composites that stay on their revision by themselves
    _wrong: set[Key] = field(
        default_factory=set
    )  # definitions and Compositions of the files, of which all that is wrong is told

    async def apply(self, read: Sequence[Any], namespace: str, chosen: Sequence[str], *, include_manual: bool) -> None:
        """Apply them, and reconcile until nothing is left to do.

        Raises:
            InvalidInput: nothing is called as what is `chosen`.
        """
        from groundplane.core.objects import key_of, meta

        told: dict[int, set[str]] = {}  # fields, by the `id` of the object that was refused
        for document in sorted(read, key=lambda each: rank(each.object)):
            obj = self.placed(document.object, namespace)
            try:
                await self.overlay.apply(obj)
                self.applied.append(key_of(obj))
            except (Rejected, NoSuchKind, NotFound) as error:
                self.is_refused = True
                what = f"{obj['kind']}/{meta(obj).get('name') or ''}"
                faults = self.overlay.cluster.faults(obj) if isinstance(error, Rejected) else []
                told[id(document.object)] = {fault.path.lstrip(".") for fault in faults}
                for fault in faults:
                    field = fault.path.lstrip(".")
                    problem = InvalidInput(f"{field}: {fault.problem}", mend=fault.mend)
                    self.errors.append(f"{what}: {problem} ({document.place(field)})")
                if not faults:
                    field = error.field if isinstance(error, Rejected) else ""
                    text = str(error).partition('" is invalid: ')[2] if field else ""
                    self.errors.append(f"{what}: {text or error} ({document.place(field)})")
            await self.settle()
        self._look_over(read, told)
        if chosen and not any(_is_chosen(key, chosen) for key in self.overlay.objects()):
            raise InvalidInput(f"there is no {' or '.join(chosen)}", mend="correct --resource")
        if include_manual:
            await _follow_all(self.overlay, self.applied)
        else:
            self.pinned = _manual(self.overlay, self.applied)

    def _look_over(self, read: Sequence[Any], told: Mapping[int, set[str]]) -> None:
        """Tell all that is wrong with the definitions and Compositions in files at once, each where it is written."""
        from groundplane.cli.render import finder
        from groundplane.core import known_schemas, mistakes
        from groundplane.core.objects import key_of, meta, spec_of
        from groundplane.core.validation import definitions, objects

        there = self.overlay.objects()
        for document in read:
            obj, refused = document.object, id(document.object) in told
            found: Sequence[GroundplaneError] = ()
            if known_schemas.is_definition(obj):
                found = definitions.errors(obj, is_refused=refused)
            elif objects.is_composition(obj):
                find = finder(there.values(), *self.functions) if spec_of(obj).get("pipeline") else None
                # which functions there are elsewhere is not known here
                found = [
                    each for each in mistakes.every(obj, find) if not each.where[-1].startswith("functionRef.name")
                ]
            for each in found:
                self._wrong.add(key_of(obj).place)
                place = each.field if isinstance(each, InvalidInput) else ""
                if place not in told.get(id(obj), ()):
                    text = InvalidInput(each.what, mend=each.mend, where=each.where[1:])
                    self.errors.append(f"{obj['kind']}/{meta(obj).get('name')}: {text} ({document.place(place)})")

    @property
    def warnings(self) -> dict[Key, list[str]]:
        """What reconcilers would tell, but for what is told of the files already."""
        names = [f"Composition {key.name}" for key in self._wrong if key.kind == "Composition"]
        found = {}
        for key, texts in self.overlay.warnings.items():
            found[key] = [
                text
                for text in texts
                if key.place not in self._wrong
                and not (
                    "refusing to use invalid" in text
                    and any(f"{name}: " in text or f"{name} › " in text for name in names)
                )
            ]
        return found

    async def ripen(self) -> None:
        """Have all that is composed be ready as soon as it is there, and what waits for that be made as well.

        Raises:
            InvalidInput: there is always more.
        """
        from groundplane.core import conditions
        from groundplane.core.objects import controller_of, is_composite, is_deleting, key_of
        from groundplane.runtime.overlay import ROUNDS

        for _ in range(ROUNDS):
            composites = {key_of(obj).place for obj in self.overlay.objects().values() if is_composite(obj)}
            unripe = [
                obj
                for key, obj in self.overlay.objects().items()
                if key.place not in composites
                and controller_of(obj)
                and not is_deleting(obj)
                and not conditions.is_true(obj, "Ready")
                and (await self.overlay.cluster.resource(key.api_version, key.kind)).has_status
            ]
            if not unripe:
                return
            for obj in unripe:
                told = (conditions.reconcile_success(), conditions.available())
                conditions.set_on(obj, *told, now=self.overlay.context.now())
                await self.overlay.cluster.update(obj, subresource="status")
            await self.settle()
        raise InvalidInput("what is composed comes to no end", mend="leave --eventual-state out")

    async def settle(self) -> None:
        """Reconcile until nothing is left to do, and nothing more of what is there is needed."""
        await self.overlay.settle()
        while missed := self.loader.missed():
            self.overlay.know(await self.loader.load_missed(missed), missed)
            await self.overlay.settle()

    def placed(self, obj: Object, namespace: str) -> Object:
        """The object in a namespace, if its kind lives in one and it names none."""
        from groundplane.core.objects import meta

        served = self.loader.served.get((obj["apiVersion"], obj["kind"]))
        if served is None or not served.namespaced or meta(obj).get("namespace"):
            return obj
        return {**obj, "metadata": {**meta(obj), "namespace": namespace or self.loader.namespace}}


def rank(obj: Object) -> int:
    order = ("CompositeResourceDefinition", "Function", "EnvironmentConfig", "Composition")
    return order.index(obj["kind"]) if obj["kind"] in order else len(order)


def _is_chosen(key: Key, chosen: Iterable[str]) -> bool:
    return any(name in (key.name, f"{key.namespace}/{key.name}") for name in chosen)


def family(objects: Mapping[Key, Object], chosen: Sequence[str], namespace: str) -> set[Key]:
    """The places of the objects that are chosen, and of all that they control or refer to."""
    return below(
        objects,
        [
            key
            for key in objects
            if (not chosen or _is_chosen(key, chosen)) and (not namespace or chosen or key.namespace == namespace)
        ],
    )


def below(objects: Mapping[Key, Object], keys: Iterable[Key]) -> set[Key]:
    """The places of objects, and of all that they control or refer to."""
    from groundplane.cli import tree

    there = {key.place: obj for key, obj in objects.items()}
    due = [key.place for key in keys]
    found: set[Key] = set()
    while due:
        place = due.pop()
        if place in found or place not in there:
            continue
        found.add(place)
        due += [key.place for key in tree.references(there[place])]
    return found


def composites_of(overlay: Overlay, applied: Iterable[Key]) -> list[Object]:
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
    for obj in composites_of(overlay, applied):
        if machinery_of(obj).get("compositionUpdatePolicy") == "Manual":
            found.append(key_of(obj))
    return found


async def _follow_all(overlay: Overlay, applied: Iterable[Key]) -> None:
    """Have those take the newest revision that stay on theirs by themselves, and their claims not set them back."""
    from groundplane.core.objects import Key, key_of, machinery_of, spec_of

    automatic = {"compositionUpdatePolicy": "Automatic"}
    for obj in composites_of(overlay, applied):
        nested = isinstance(spec_of(obj).get("crossplane"), dict)
        if machinery_of(obj).get("compositionUpdatePolicy") != "Manual":
            continue
        if claim := spec_of(obj).get("claimRef"):
            key = Key(claim["apiVersion"], claim["kind"], claim["namespace"], claim["name"])
            await overlay.assume(key, {"spec": automatic})
        await overlay.assume(key_of(obj), {"spec": {"crossplane": automatic} if nested else automatic})
    await overlay.settle()


class Loader:
    """Copies what a change may concern from a source, each kind with one list, and of definitions those of these kinds alone."""

    def __init__(self, source: Source, cluster: Copy, *, with_accounts: bool = False) -> None:
        """`with_accounts`: also what managed resources log in with, and refer to."""
        self._source, self._cluster, self._with_accounts = source, cluster, with_accounts
        self.namespace = source.namespace
        self.served: dict[tuple[str, str], Served] = {(each.api_version, each.kind): each for each in source.kinds}
        self._by_kind = {(each.group, each.kind): each for each in source.kinds}
        self._loaded: dict[tuple[str, str], list[Object]] = {}
        self._declared: set[tuple[str, str]] = set()
        self._single: set[Key] = set()
        self._wanted: Sequence[Object] = ()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.definitions: list[Key] = []
        self.users: list[Key] = []  # composites and claims that what is to be applied may concern
        self.troubles: list[str] = []  # what could not be read, where that need not matter

    @property
    def objects(self) -> dict[Key, Object]:
        """What was loaded, but for what was read one by one; as it is there."""
        from groundplane.core.objects import key_of

        return {key_of(obj): obj for objects in self._loaded.values() for obj in objects}

    async def load(self, wanted: Sequence[Object]) -> None:
        """Load definitions, Compositions, composites, claims, and all that these are composed of; if nothing is wanted, all managed resources.

        Raises:
            Denied: a list is not allowed, so that it can't be told whom a change reaches.
        """
        from groundplane.core.objects import group_of, key_of, spec_of

        self._wanted = wanted
        await self._list_all(ALWAYS)
        definitions = self._loaded.get((CORE, "CompositeResourceDefinition"), [])
        self.definitions = [key_of(each) for each in definitions]
        users: list[tuple[str, str]] = []
        for definition in definitions:
            spec = spec_of(definition)
            for names in (spec.get("names") or {}, spec.get("claimNames") or {}):
                users.append((str(spec.get("group")), str(names.get("kind") or "")))
        places = [*users, *((group_of(obj["apiVersion"]), obj["kind"]) for obj in wanted)]
        for source in (*self._loaded.get((CORE, "Composition"), ()), *wanted):
            places += sorted(_templates(source))
        await self._list_all(places)
        if not wanted:
            await self._list_all([place for place in self._by_kind if _is_managed(place[0])], where_any=True)
        await self._load_composed([obj for objects in self._loaded.values() for obj in objects])
        if any(group_of(obj["apiVersion"]) in (CORE, "pkg.crossplane.io") for obj in wanted):
            self.users = [key_of(obj) for place in users for obj in self._loaded.get(place, ())]

    def missed(self) -> list[tuple[str, str]]:
        """Kinds that turned out to be needed as well, for a template names them in a way that can't be read in it."""
        found = [place for place in sorted(self._cluster.missed) if place in self._by_kind]
        self._cluster.missed.clear()
        return [place for place in found if place not in self._declared]

    async def load_missed(self, missed: Sequence[tuple[str, str]]) -> list[Object]:
        before = set(self._loaded)
        await self._list_all(missed)
        await self._load_composed([obj for place in missed for obj in self._loaded.get(place, ())])
        return [obj for place, objects in self._loaded.items() if place not in before for obj in objects]

    async def _load_composed(self, due: list[Object]) -> None:
        """What is composed, and what belongs to it, level by level."""
        while due:
            before = set(self._loaded)
            await self._list_all(sorted({found for obj in due for found in _composed(obj)}))
            due = [obj for place, objects in self._loaded.items() if place not in before for obj in objects]
        if self._with_accounts:
            await self._load_accounts()
        await self._load_single()

    async def _list_all(
        self, places: Iterable[tuple[str, str]], *, is_needed: bool = True, where_any: bool = False
    ) -> None:
        """All objects of these kinds; what is not `is_needed` may be refused, and `where_any`: kinds that have none stay unknown."""
        new = [place for place in dict.fromkeys(places) if place not in self._loaded]
        lists = (self._list(*place, where_any=where_any) for place in new)
        results = await asyncio.gather(*lists, return_exceptions=True)
        for result in results:
            if isinstance(result, Denied) and not is_needed:
                self.troubles.append(str(result))
            elif isinstance(result, BaseException):
                raise result

    async def _list(self, group: str, kind: str, *, where_any: bool = False) -> None:
        from groundplane.cluster.kinds import BUILT_IN, PLAIN

        served = self._by_kind.get((group, kind))
        if served is None or (group, kind) in self._loaded or (served.api_version, kind) in BUILT_IN | PLAIN:
            return  # of Kubernetes' own there are thousands: what is composed of them is read one by one
        if not where_any:
            await self._declare(served)
        try:
            async with self._gate:
                found = await self._source.list(served.api_version, kind)
        except Denied as error:
            mend = f"grant list of {served.full_name}"
            raise Denied(f"not allowed to list {served.full_name}: can't tell whom this reaches", mend=mend) from error
        if where_any and not found:
            return
        await self._declare(served)
        self._loaded[group, kind] = found
        self._cluster.load(found)

    async def _declare(self, served: Served) -> None:
        """Have the kind served here, too."""
        from groundplane.cluster import kubernetes_schemas
        from groundplane.cluster.kinds import CRD_KIND, CRD_VERSION
        from groundplane.core.objects import Key

        if (served.group, served.kind) in self._declared:
            return
        self._declared.add((served.group, served.kind))
        if schema := kubernetes_schemas.schema(served.api_version, served.kind):
            self._cluster.load([definition_of(served, schema)])
            return
        async with self._gate:
            found = await self._source.get(Key(CRD_VERSION, CRD_KIND, "", served.full_name))
        self._cluster.load([found] if found else [])

    async def _load_accounts(self) -> None:
        """The accounts of managed resources, and what these refer to."""
        import json

        from groundplane.core import providers
        from groundplane.core.objects import spec_of
        from groundplane.runtime import clouds

        families = {family for group, _ in self._loaded if (family := providers.of(group))}
        for family in families:
            if family.version and (usage := self._by_kind.get((family.domain, providers.USAGE))):
                await self._declare(usage)
        configs = [(family.domain, kind) for family in families for kind in family.config_kinds]
        await self._list_all(configs, is_needed=False)
        while True:
            before = set(self._loaded)
            text = json.dumps([spec_of(obj) for objects in self._loaded.values() for obj in objects])
            targets: set[tuple[str, str]] = set()
            for place in before:
                served = self._by_kind[place]
                kind = clouds.lookup(served.api_version, served.kind)
                for each in kind.references if kind else ():
                    if each.ref.rpartition(".")[2] in text or each.selector.rpartition(".")[2] in text:
                        targets.add((each.group, each.kind))
            await self._list_all(sorted(targets), is_needed=False)
            if set(self._loaded) == before:
                return

    async def _load_single(self) -> None:
        """What is read one by one: connection Secrets (without them it would look as if they came anew), what steps are handed, and what is composed of such kinds."""
        every = [*self._wanted, *(obj for objects in self._loaded.values() for obj in objects)]
        wanted = {key for obj in every for key in self._singles(obj)}
        new = sorted(wanted - self._single)
        self._single.update(new)

        async def one(key: Key) -> Object | None:
            async with self._gate:
                try:
                    return await self._source.get(key)
                except (Denied, NoSuchKind) as error:
                    if isinstance(error, Denied):
                        self.troubles += [f"not allowed to read {key}"] if self._with_accounts else []
                    return None

        self._cluster.load([obj for obj in await asyncio.gather(*map(one, new)) if obj is not None])

    def _singles(self, obj: Object) -> Iterator[Key]:
        from groundplane.cluster.kinds import BUILT_IN, PLAIN
        from groundplane.core.objects import Key, meta, spec_of

        namespace = str(meta(obj).get("namespace") or "")
        for each in _references(obj):
            if (each.get("apiVersion"), each.get("kind")) in BUILT_IN | PLAIN and each.get("name"):
                place = str(each.get("namespace") or namespace)
                yield Key(each["apiVersion"], each["kind"], place, each["name"])
        spec = spec_of(obj)
        steps = spec.get("pipeline") if obj["kind"] in ("Composition", "CompositionRevision") else ()
        handed = [step.get("credentials") for step in steps or () if isinstance(step, dict)]
        named = [spec.get("writeConnectionSecretToRef"), *_secrets(handed)]
        if self._with_accounts:
            named += _secrets([spec.get("credentials"), spec.get("forProvider"), spec.get("initProvider")])
        for reference in named:
            if isinstance(reference, dict) and reference.get("name"):
                yield Key("v1", "Secret", namespace or str(reference.get("namespace") or HOME), str(reference["name"]))


def _is_managed(group: str) -> bool:
    from groundplane.core import providers

    return providers.of(group) is not None


def _secrets(value: Any) -> Iterator[Any]:
    """Every reference to a Secret inside of a value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.endswith(("SecretRef", "secretRef")):
                yield inner
            else:
                yield from _secrets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets(inner)


def definition_of(served: Served, schema: Any) -> Object:
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
