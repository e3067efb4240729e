"""Where a value of an object comes from, followed back through what a source has: for `explain`, and for the cause that `trace` tells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from groundplane.errors import GroundplaneError, InvalidInput, NotFound, did_you_mean

if TYPE_CHECKING:
    from groundplane.cli.sources import Source
    from groundplane.core.composition import CompositionSpec
    from groundplane.core.lineage import Member
    from groundplane.core.objects import Key, Object
    from groundplane.core.origin import Hop
    from groundplane.core.pipeline import Find
    from groundplane.core.typecheck import Part

T = TypeVar("T")
Step: TypeAlias = "tuple[Hop, tuple[Object, Any] | None]"  # and the object and path where the next one begins
FIELD = re.compile(r"spec\.forProvider(?:\.\w+(?:\[\d+\])?)+|annotation ([\w./-]+)")  # in a message
ENDS = ("Selector", "Ref", "Refs", "")  # of the fields that fill a field, and of itself
CORE = "apiextensions.crossplane.io"


async def set_by(root: Member, causes: Sequence[str], chain: Chain) -> list[str]:
    """Who in a Composition has set the field that the cause is about, or its selector; [] where that is not known."""
    from groundplane.core import fieldpath, lineage

    named = FIELD.search(causes[0]) if causes else None
    blamed = [
        each for each in lineage.every(root) if causes and causes[0].startswith(f"{each.key.kind} {each.key.name} ")
    ]
    if not named or not blamed or blamed[0].object is None:
        return []
    fields = [f"metadata.annotations[{named[1]}]"] if named[1] else [f"{named[0]}{end}" for end in ENDS]
    for path in fields:
        if fieldpath.find(blamed[0].object, fieldpath.parse(path)) is not fieldpath.MISSING:
            try:
                hops = (await chain.of(blamed[0], path))["chain"]
            except GroundplaneError:
                return []  # a Composition that is broken by now: the cause is told all the same
            place = next((hop["place"] for hop in hops if hop["by"] in ("patch", "base", "function")), "")
            return [f"{path} is set by {place}."] if place else []
    return []


class Chain:
    """Follows one value back to where it was first said."""

    def __init__(self, source: Source, functions: tuple[Any, Any]) -> None:
        self._source, self._functions = source, functions

    async def of(self, root: Member, text: str) -> dict[str, Any]:
        """The value at a path, and its way there.

        Raises:
            NotFound: there is no such field; the ones beside it are named.
        """
        from groundplane.core import fieldpath, origin
        from groundplane.core.explain import is_secret
        from groundplane.core.objects import controller_of

        obj = root.object
        assert obj is not None
        if is_secret(obj) and not text.startswith(("data.", "data[", "metadata")) and text not in obj:
            keys = obj.get("data") or {}
            if text not in keys:
                raise NotFound(f"{root.key} has no key {text}", mend=did_you_mean(text, keys))
            text = fieldpath.render(("data", text))
        path = fieldpath.parse(text)
        value = fieldpath.find(obj, path)
        if value is fieldpath.MISSING:
            composite = await self._composite(obj, controller_of(obj))
            if composite is not None and (why := await self._in_composition(composite, obj, path, origin.unwritten)):
                raise NotFound(f"{root.key}: {text} is not set. {'; '.join(why)}", mend="give the patch its value")
            if _is_declared(await self._schema(obj), path):
                raise NotFound(
                    f"{root.key}: {text} is not set, and nothing that is known writes it",
                    mend="set it, or a patch to it",
                )
            raise NotFound(f"{root.key} has no {text}", mend=_beside(obj, path))
        return {
            "object": str(root.key),
            "path": text,
            "value": origin.shown_value(obj, path, value),
            "chain": [_record(holder, hop, masked=is_secret(obj)) async for holder, hop in self._hops(obj, path)],
        }

    async def every(self, root: Member) -> dict[str, Any]:
        """Each value in its spec, and its way there."""
        from groundplane.core import fieldpath
        from groundplane.core.objects import spec_of

        assert root.object is not None
        leaves = [fieldpath.render(segments) for segments in _leaves(spec_of(root.object), ("spec",))]
        return {"object": str(root.key), "fields": [await self.of(root, path) for path in leaves]}

    async def reached(self, root: Member, text: str) -> dict[str, Any]:
        """The value at a path of a claim or composite, and the fields of what is composed that patches write from it.

        Raises:
            NotFound: there is no such field.
            InvalidInput: it is neither claim nor composite.
        """
        from groundplane.core import fieldpath, origin
        from groundplane.core.naming import TEMPLATE_ANNOTATION
        from groundplane.core.objects import annotations_of, machinery_of

        obj, path = root.object, fieldpath.parse(text)
        assert obj is not None
        value = fieldpath.find(obj, path)
        if value is fieldpath.MISSING:
            raise NotFound(f"{root.key} has no {text}", mend=_beside(obj, path))
        composite = await self._bound(obj) or obj
        if not isinstance(machinery_of(composite).get("compositionRevisionRef"), dict):
            raise InvalidInput(f"{root.key} is not composed", mend="name a claim or a composite")
        flows = composite is obj or origin.claim_field(composite, obj, path)
        found = await self._in_composition(composite, composite, path, origin.reached) if flows else ()
        there = {
            annotations_of(each).get(TEMPLATE_ANNOTATION): origin.name_of(each)
            for each in await self._observed(composite)
        }
        reaches = [
            {
                "object": there.get(each.template, f"resource {each.template}"),
                "path": each.path,
                "value": each.value,
                "place": each.place,
            }
            for each in found
        ]
        return {
            "object": str(root.key),
            "path": text,
            "value": origin.shown_value(obj, path, value),
            "reaches": reaches,
        }

    async def _hops(self, obj: Object, path: Any) -> Any:
        """The steps, from the last one back: pairs of the object's name and the step."""
        from groundplane.core import fieldpath, origin
        from groundplane.core.objects import controller_of

        seen: set[tuple[str, str]] = set()
        while (origin.name_of(obj), path.text) not in seen:
            seen.add((origin.name_of(obj), path.text))
            if path.segments[0] in ("status", "data") and (step := await self._back(obj, path)):
                hop, further = step
                yield origin.name_of(obj), hop
                if further is None:
                    return
                obj, path = further
                continue
            writers = origin.writers(obj, path)
            people = [writer for writer in writers if not origin.machinery(writer)]
            if people and await self._is_defaulted(obj, path, people):
                people = []
            for writer in people:
                yield origin.name_of(obj), origin.Hop("person", f"set by {writer.manager}{ago(writer.time)}")
            for writer in writers:
                if writer.manager == origin.REFERENCES:
                    yield origin.name_of(obj), origin.Hop("reference", _reference(obj, path))
                elif writer.manager == origin.DEFAULTS:
                    yield (
                        origin.name_of(obj),
                        origin.Hop("filled in", "what was left out, by a helpful default or as AWS has it"),
                    )
            composite = await self._composite(obj, controller_of(obj))
            if composite is not None:
                hops = await self._in_composition(composite, obj, path, origin.in_composition)
                if [hop.by for hop in hops] == ["function"] and (base := await self._in_base(composite, obj, path)):
                    hops = [base]
                for hop in hops:
                    yield origin.name_of(obj), hop
                if hops and hops[0].inputs:
                    obj, path = composite, fieldpath.parse(hops[0].inputs[0][0])
                    continue
                if hops:
                    return
            claim = await self._claim(obj)
            if claim is not None and origin.claim_field(obj, claim, path):
                yield (
                    origin.name_of(obj),
                    origin.Hop("claim", f"from {origin.name_of(claim)}", ((path.text, fieldpath.find(claim, path)),)),
                )
                obj = claim
                continue
            told = {origin.machinery(writer) for writer in writers}
            if not people and not told & {"reference", "filled in"}:
                default = origin.default_of(await self._schema(obj), path)
                if default is not fieldpath.MISSING and default == fieldpath.find(obj, path):
                    yield origin.name_of(obj), origin.Hop("default", "default of its definition's schema")
                elif told:
                    yield (
                        origin.name_of(obj),
                        origin.Hop("control plane", f"set by the {' and '.join(sorted(told))} reconciler"),
                    )
                else:
                    yield origin.name_of(obj), origin.Hop("unknown", "nobody is known to have set it")
            return

    async def _is_defaulted(self, obj: Object, path: Any, people: Sequence[Any]) -> bool:
        """Whether people own a field only since it was filled in when they made the object, as far as `kubectl apply` tells what they wrote."""
        from groundplane.core import fieldpath, origin
        from groundplane.core.explain import LAST_APPLIED
        from groundplane.core.objects import annotations_of

        said = annotations_of(obj).get(LAST_APPLIED)
        if said is None or any(writer.applied for writer in people):
            return False
        try:
            written = json.loads(said)
        except ValueError:
            return False
        default = origin.default_of(await self._schema(obj), path)
        is_default = default is not fieldpath.MISSING and default == fieldpath.find(obj, path)
        return is_default and fieldpath.find(written, path) is fieldpath.MISSING

    async def _back(self, obj: Object, path: Any) -> Step | None:
        """The last step of what does not come from the claim but from what is composed: status, and the keys of connection Secrets."""
        from groundplane.core.explain import is_secret
        from groundplane.core.objects import controller_of, machinery_of

        if is_secret(obj):
            owner = await self._owner(obj, controller_of(obj))
            return await self._key(obj, owner, str(path.segments[1])) if owner and len(path.segments) == 2 else None
        if path.segments[0] != "status":
            return None
        if composite := await self._bound(obj):
            return self._copied(composite, path, obj)
        if isinstance(machinery_of(obj).get("compositionRevisionRef"), dict):
            return await self._reported(obj, path)
        return (_outside(obj), None) if path.segments[1:2] == ("atProvider",) else None

    def _copied(self, composite: Object, path: Any, claim: Object) -> Step | None:
        from groundplane.core import fieldpath, origin

        value = fieldpath.find(composite, path)
        if value is fieldpath.MISSING or value != fieldpath.find(claim, path):
            return None
        return origin.Hop("composite", f"from {origin.name_of(composite)}", ((path.text, value),)), (composite, path)

    async def _reported(self, composite: Object, path: Any) -> Step | None:
        """Which patch or step wrote a composite's status."""
        from groundplane.core import fieldpath, origin

        hops = await self._in_composition(composite, composite, path, origin.onto_composite)
        if not hops:
            return None
        composed = await self._composed(composite, hops[0].template)
        if composed is None or not hops[0].inputs:
            return hops[0], None
        return hops[0], (composed, fieldpath.parse(hops[0].inputs[0][0]))

    async def _key(self, secret: Object, owner: Object, key: str) -> Step | None:
        """Where a connection Secret's key comes from: `owner` is the claim, composite or managed resource whose it is."""
        from groundplane.core import fieldpath, origin
        from groundplane.core.objects import machinery_of

        path = fieldpath.parse(fieldpath.render(("data", key)))
        if composite := await self._bound(owner):
            its = await self._connection(composite)
            if its is None or fieldpath.find(its, path) != fieldpath.find(secret, path):
                return None
            return origin.Hop("composite", f"from {origin.name_of(its)}, of {origin.name_of(composite)}"), (its, path)
        reference = machinery_of(owner).get("compositionRevisionRef")
        if not isinstance(reference, dict):
            return origin.Hop("provider", f"written for {origin.name_of(owner)}"), None
        for hop in await self._details(owner, key):
            composed = await self._composed(owner, hop.template)
            if not hop.template:
                return hop, None
            if composed is not None and hop.inputs:
                return hop, (composed, fieldpath.parse(hop.inputs[0][0]))
            if composed is not None and hop.key:
                its = await self._connection(composed)
                return hop, ((its, fieldpath.parse(fieldpath.render(("data", hop.key)))) if its else None)
        return None

    async def _bound(self, obj: Object) -> Object | None:
        """The composite of a claim."""
        from groundplane.core import claim, lineage
        from groundplane.core.objects import spec_of

        if not isinstance(spec_of(obj).get("resourceRef"), dict):
            return None
        composites = [await self._get(key) for key in lineage.edges(obj)]
        return next((found for found in composites if found and claim.is_bound_to(obj, found)), None)

    async def _composed(self, composite: Object, template: str) -> Object | None:
        from groundplane.core.naming import TEMPLATE_ANNOTATION
        from groundplane.core.objects import annotations_of

        if not template:
            return None
        return next(
            (
                each
                for each in await self._observed(composite)
                if annotations_of(each).get(TEMPLATE_ANNOTATION) == template
            ),
            None,
        )

    async def _observed(self, composite: Object) -> list[Object]:
        from groundplane.core import lineage

        return [found for key in lineage.edges(composite) if (found := await self._get(key)) is not None]

    async def _connection(self, obj: Object) -> Object | None:
        """An object's connection Secret."""
        from groundplane.core import lineage

        keys = [key for key in lineage.edges(obj, secrets=True) if (key.api_version, key.kind) == ("v1", "Secret")]
        return await self._get(keys[-1]) if keys else None

    async def _owner(self, obj: Object, owner: Mapping[str, Any] | None) -> Object | None:
        from groundplane.core.objects import Key, meta

        for namespace in dict.fromkeys(("", str(meta(obj).get("namespace") or ""))) if owner else ():
            assert owner is not None
            found = await self._get(Key(owner["apiVersion"], owner["kind"], namespace, owner["name"]))
            if found is not None and meta(found).get("uid") == owner.get("uid"):
                return found
        return None

    async def _composite(self, obj: Object, owner: Mapping[str, Any] | None) -> Object | None:
        """What composes an object."""
        from groundplane.core.naming import TEMPLATE_ANNOTATION
        from groundplane.core.objects import annotations_of

        return await self._owner(obj, owner) if TEMPLATE_ANNOTATION in annotations_of(obj) else None

    async def _claim(self, obj: Object) -> Object | None:
        from groundplane.core.objects import Key, spec_of

        reference = spec_of(obj).get("claimRef")
        if not isinstance(reference, dict):
            return None
        return await self._get(
            Key(reference["apiVersion"], reference["kind"], str(reference.get("namespace") or ""), reference["name"])
        )

    async def _in_composition(
        self, composite: Object, obj: Object, path: Any, ask: Callable[..., Sequence[T]]
    ) -> Sequence[T]:
        """What `origin.in_composition`, or `unwritten`, tells of a field by the revision that the composite uses."""
        from groundplane.core import composition, preview

        if (known := await self._revision(composite)) is None:
            return ()
        revision, find = known
        compiled = composition.compile(revision, find)
        observed = await self._observed(composite)
        return ask(composite, obj, observed, compiled, preview.Around(), path)

    async def _in_base(self, composite: Object, obj: Object, path: Any) -> Hop | None:
        """The base that has the value of a field, where a step's templates have one."""
        from groundplane.core import origin

        return await self._told(composite, lambda spec, parts, where: origin.in_base(spec, parts, where, obj, path))

    async def _details(self, composite: Object, key: str) -> Sequence[Hop]:
        """The connection details that give a composite's Secret that key."""
        from groundplane.core import origin

        told = await self._told(composite, lambda spec, parts, where: origin.details(spec, parts, where, key))
        return told or ()

    async def _told(
        self, composite: Object, ask: Callable[[CompositionSpec, Sequence[Part], str], T | None]
    ) -> T | None:
        """What is asked of what the steps of a composite's revision are told; None where that can't be known."""
        from groundplane.cli.render import parts_of
        from groundplane.core import composition
        from groundplane.core.objects import labels_of, spec_of

        if (known := await self._revision(composite)) is None:
            return None
        revision, find = known
        spec = composition.review(spec_of(revision)).spec
        where = f"Composition {labels_of(revision).get(composition.NAME_LABEL, '')}"
        try:
            return ask(spec, parts_of(spec, find), where) if spec else None
        except GroundplaneError:
            return None  # a function that is not known: what it makes is not, either

    async def _revision(self, composite: Object) -> tuple[Object, Find] | None:
        """The revision that a composite uses, and what finds its functions."""
        from groundplane.cli.render import finder
        from groundplane.core import composition
        from groundplane.core.objects import Key, machinery_of

        reference = machinery_of(composite).get("compositionRevisionRef")
        if not isinstance(reference, dict):
            return None
        revision = await self._get(Key(f"{CORE}/v1", "CompositionRevision", "", str(reference.get("name"))))
        if revision is None:
            return None
        functions = []
        for name in composition.function_names(revision):
            found = await self._get(Key("pkg.crossplane.io/v1", "Function", "", name))
            functions += [found] if found is not None else []
        return revision, finder(functions, *self._functions)

    async def _schema(self, obj: Object) -> Any:
        """The schema of an object's kind, as its definition has it."""
        from groundplane.core.known_schemas import version_schema
        from groundplane.core.objects import Key, group_of

        for kind in self._source.kinds:
            if kind.kind == obj["kind"] and kind.group == group_of(obj["apiVersion"]):
                name = f"{kind.plural}.{kind.group}"
                crd = await self._get(Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name))
                return version_schema(crd, obj["apiVersion"]) if crd else None
        return None

    async def _get(self, key: Key) -> Object | None:
        try:
            return await self._source.get(key)
        except GroundplaneError:
            return None  # it may not be read: the chain ends there


def _reference(obj: Object, path: Any) -> str:
    """Which reference or selector gave a field its value."""
    from groundplane.core.objects import spec_of

    block = spec_of(obj).get(path.segments[1]) if len(path.segments) > 1 else None
    name = path.segments[2] if len(path.segments) > 2 else ""
    for each in (f"{name}Ref", f"{name}Refs", f"{str(name).removesuffix('s')}Refs"):
        if isinstance(block, dict) and each in block:
            given = block[each]
            names = [
                one.get("name") for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)
            ]
            return f"spec.{path.segments[1]}.{each}: {', '.join(map(str, names))}"
    return "a reference or a selector"


def _outside(obj: Object) -> Hop:
    """What a provider found."""
    from groundplane.core import managed, origin
    from groundplane.core.objects import annotations_of

    external = annotations_of(obj).get(managed.EXTERNAL_NAME)
    return origin.Hop("observed", f"what {origin.name_of(obj)} stands for{f', {external}' if external else ''}")


def _record(holder: str, hop: Hop, *, masked: bool = False) -> dict[str, Any]:
    """`masked`: where the chain ends in a Secret, whose value these may be."""
    from groundplane.core.explain import MASK

    found: dict[str, Any] = {"object": holder, "by": hop.by, "place": hop.place}
    if hop.inputs:
        found["input"] = [{"path": path, "value": MASK if masked else value} for path, value in hop.inputs]
    if hop.steps:
        found["steps"] = [{"what": what, "value": MASK if masked else value} for what, value in hop.steps]
    return found


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [leaf for name, inner in inside for leaf in _leaves(inner, (*path, name))]
    yield from below or [path]


def _beside(obj: Object, path: Any) -> str:
    """The mend for a path that leads nowhere."""
    value: Any = obj
    for segment in path.segments:
        inside = value.get(segment) if isinstance(value, dict) and isinstance(segment, str) else None
        if isinstance(value, list) and isinstance(segment, int) and segment < len(value):
            inside = value[segment]
        if inside is None:
            return did_you_mean(str(segment), map(str, value)) if isinstance(value, dict) else "correct the path"
        value = inside
    return "correct the path"


def _is_declared(schema: Any, path: Any) -> bool:
    """Whether a kind has a field of that path."""
    for segment in path.segments:
        if not isinstance(schema, dict):
            return False
        inner = schema.get("items") if isinstance(segment, int) else (schema.get("properties") or {}).get(segment)
        schema = schema.get("additionalProperties") if inner is None else inner
    return isinstance(schema, dict)


def ago(time: str) -> str:
    """How long a moment is ago: " 3d ago"; "" if it is none."""
    from groundplane.cli import table
    from groundplane.core import conditions

    moment = conditions.moment(time)
    if moment is None:
        return ""
    return f" {table.duration(int((datetime.now(UTC) - moment).total_seconds()))} ago"
