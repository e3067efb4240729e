"""What an Object takes from others, and what it keeps from being deleted: always in the control plane's cluster, whatever cluster it acts in."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.objects import Json, Key, Object, has_finalizer, is_deleting, key_of, meta, spec_of
from groundplane.errors import Awaited, Denied, InvalidInput, NoSuchKind, NotFound, Waiting, at
from groundplane.objects.kinds import FINALIZER, NAMESPACED_DOMAIN, OBJECT, VERSION, applying, finalizer, is_object
from groundplane.objects.manifest import check_source, held_by, is_secret, patched, texts_in
from groundplane.ports import Cluster

FEW = 100  # objects that each look for a circle may look at
SHORTEST = 4  # characters of a text that is kept out of messages: without shorter ones hardly any word would be left


@dataclass
class Taken:
    """What the references have given."""

    keys: list[Key] = field(default_factory=list)
    unheld: list[Key] = field(default_factory=list)  # those that lack the finalizer, and can be given it
    secrets: list[str] = field(default_factory=list, repr=False)  # texts of values that come from Secrets

    def spare(self, own: Key) -> None:
        """Don't keep this one from being deleted: it goes with the Object, which would wait for itself."""
        self.keys = [key for key in self.keys if not is_same(key, own)]
        self.unheld = [key for key in self.unheld if not is_same(key, own)]


def is_same(one: Key, other: Key) -> bool:
    """Whether they are one object, in whatever version."""
    return (one.group, *one[1:]) == (other.group, *other[1:])


def check(managed: Object) -> None:
    """Raise InvalidInput for references that can't mean anything."""
    for place, reference in enumerate(spec_of(managed).get("references") or ()):
        with at(f"spec.references[{place}]"):
            source, depends = reference.get("patchesFrom"), reference.get("dependsOn")
            if not source and not depends:
                raise InvalidInput("neither patchesFrom nor dependsOn is set", mend="set one of them")
            if source:
                with at("patchesFrom.fieldPath"):
                    check_source(str(source.get("fieldPath") or ""))
                with at("toFieldPath"):
                    fieldpath.parse(filled(reference))


def filled(reference: Mapping[str, Any]) -> str:
    """The field of the manifest that is filled."""
    return str(reference.get("toFieldPath") or reference["patchesFrom"].get("fieldPath") or "")


def of(managed: Object) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each reference, and the part of it that says what it refers to."""
    found = spec_of(managed).get("references") or ()
    return [(each, each.get("patchesFrom") or each.get("dependsOn") or {}) for each in found]


def from_secrets(managed: Object) -> list[str]:
    """The fields of the manifest whose values come from Secrets."""
    secret = ("v1", "Secret")
    return [
        filled(reference)
        for reference, target in of(managed)
        if reference.get("patchesFrom") and (target.get("apiVersion"), target.get("kind")) == secret
    ]


async def key(managed: Object, target: Mapping[str, Any], here: Cluster, *, confined: bool, strict: bool) -> Key:
    """What a reference refers to.

    Raises:
        InvalidInput: it is in another namespace, and `confined` to its own.
    """
    namespace, own = str(target.get("namespace") or ""), str(meta(managed).get("namespace") or "")
    group = managed["apiVersion"].rpartition("/")[0]
    api_version = str(target.get("apiVersion") or f"{group}/{VERSION}")
    found = Key(api_version, str(target.get("kind") or OBJECT), namespace, str(target.get("name") or ""))
    if strict:
        return found
    found = await placed(found, own, here)
    if group != NAMESPACED_DOMAIN:
        return found
    if confined and found.namespace != own:
        place = f"in namespace {found.namespace}" if found.namespace else "in no namespace"
        raise InvalidInput(
            f"{found} is {place}: with a ProviderConfig of its own namespace an Object refers to that alone",
            mend=f"refer to something in namespace {own}, or use a ClusterProviderConfig",
        )
    return found


async def placed(found: Key, own: str, cluster: Cluster) -> Key:
    """It, where it names no namespace in the Object's `own`, if its kind lives in one.

    Raises:
        InvalidInput: neither it nor the Object has a namespace.
    """
    if found.namespace or not (await cluster.resource(found.api_version, found.kind)).namespaced:
        return found
    if not own:
        raise InvalidInput(f"{found} has no namespace, where its kind lives in one", mend="set namespace")
    return found._replace(namespace=own)


async def resolve(managed: Object, manifest: Object, here: Cluster, *, confined: bool, strict: bool) -> Taken:
    """Fill what is taken from others into the manifest, in their order.

    Raises:
        Waiting: something is not there yet.
        InvalidInput: a value does not fit.
    """
    taken = Taken()
    for place, (reference, target) in enumerate(of(managed)):
        with at(f"spec.references[{place}]"):
            found = await key(managed, target, here, confined=confined, strict=strict)
            source = await here.get(found)
            awaited = Awaited(found.group, found.kind, found.namespace, found.name)
            if source is None:
                raise Waiting(
                    f"{found} of {found.api_version} not found",
                    mend="create it, or correct the reference",
                    on=[awaited],
                )
            if found not in taken.keys:
                taken.keys.append(found)
                if not has_finalizer(source, finalizer(managed)) and not is_deleting(source):
                    taken.unheld.append(found)
            if reference.get("patchesFrom"):
                value = _value(source, found, str(target.get("fieldPath") or ""), awaited)
                patched(manifest, filled(reference), value)
                if is_secret(source):
                    taken.secrets += [text for text in texts_in(value) if len(text) >= SHORTEST]
    return taken


def _value(source: Object, found: Key, path: str, awaited: Awaited) -> Json:
    try:
        return fieldpath.get(source, fieldpath.parse(path))
    except fieldpath.FieldNotFound as error:
        raise Waiting(
            f"{found} has no field {path} yet", mend="correct fieldPath, unless it is still to come", on=[awaited]
        ) from error


# --- holding ----------------------------------------------------------------------------------------------------


async def hold(managed: Object, keys: Collection[Key], here: Cluster) -> None:
    """Keep these from being deleted, as long as the Object is there."""
    for found in keys:
        obj = await here.get(found, live=True)
        if obj is None or is_deleting(obj) or has_finalizer(obj, finalizer(managed)):
            continue
        await _set(obj, [*(meta(obj).get("finalizers") or ()), finalizer(managed)], here)


async def let_go(managed: Object, keys: Collection[Key], here: Cluster) -> None:
    """Keep them no more; what is gone needs no doing."""
    for found in keys:
        try:
            obj = await here.get(found, live=True)
            if obj is not None and has_finalizer(obj, finalizer(managed)):
                await _set(obj, [each for each in meta(obj)["finalizers"] if each != finalizer(managed)], here)
        except (NoSuchKind, NotFound):
            continue


async def _set(obj: Object, finalizers: list[str], here: Cluster) -> None:
    metadata = {"resourceVersion": meta(obj)["resourceVersion"], "finalizers": finalizers}
    await here.patch(key_of(obj), {"metadata": metadata})


# --- circles ----------------------------------------------------------------------------------------------------


class Circles:
    """Finds them.

    Where hundreds of Objects are deleted that hang together, each looks at few of them, and now and then one at all: what it has looked at
    more, as many looks pay for.  One that finds its circle is enough: the others go one after the other.
    """

    def __init__(self) -> None:
        self._owed = 0

    async def around(self, managed: Object, live: Object | None, here: Cluster) -> list[Object]:
        """The Objects that keep this one, or what it stands for, from being deleted, and are deleted, too, and kept by it, be it by a detour:
        each would wait for the other.
        """
        both = (managed, live or {"metadata": {}})
        keeping = {name for each in both for name in meta(each).get("finalizers") or () if name.startswith(FINALIZER)}
        ahead, seen = [managed] if keeping - {finalizer(managed)} else [], {str(meta(managed)["uid"]): managed}
        self._owed = max(0, self._owed - FEW)
        goes_far = False
        while ahead and (goes_far or len(seen) < FEW or not self._owed):
            goes_far = len(seen) >= FEW
            for obj in await _after(ahead.pop(), here):
                if str(meta(obj)["uid"]) not in seen:
                    seen[str(meta(obj)["uid"])] = obj
                    ahead.append(obj)
            if goes_far:
                self._owed += 1
                await asyncio.sleep(0)  # the others get their turn: what is cached comes without a wait
        return [obj for obj in list(seen.values())[1:] if finalizer(obj) in keeping]


async def _after(leaving: Object, here: Cluster) -> list[Object]:
    """What is deleted, too, and goes after this one: what an Object refers to, and the Objects that have applied something of it."""
    found = held_by(leaving) if is_object(leaving) else []
    for _, target in of(leaving) if is_object(leaving) else ():
        with suppress(NoSuchKind, InvalidInput, Denied):  # then it keeps nothing
            found.append(await key(leaving, target, here, confined=False, strict=False))
    found += [by for entry in meta(leaving).get("managedFields") or () if (by := applying(entry.get("manager") or ""))]
    there = []
    for each in dict.fromkeys(found):
        with suppress(NoSuchKind, InvalidInput, Denied):
            there.append(await here.get(each))
    return [obj for obj in there if obj is not None and is_deleting(obj)]
