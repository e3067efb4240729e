"""The object that is wanted, and what is told of the one that is there: pure, and of a Secret no value in it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.objects import Json, Key, Object, annotations_of, key_of, meta, spec_of, status_of
from groundplane.errors import InvalidInput, at, shown
from groundplane.objects.kinds import STANDS_FOR
from groundplane.ports import Difference

WHERE = "spec.forProvider.manifest"
_SERVERS = ("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields")
SERVERS_OWN = frozenset((*_SERVERS, "resourceVersion", "selfLink", "uid"))  # metadata that nobody can want
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
REDACTED = "redacted"
MOST = 20  # differences that are told


def given(managed: Object) -> Object:
    """The manifest as it is written, without what a server says of an object.

    Raises:
        InvalidInput: it is none.
    """
    manifest = (spec_of(managed).get("forProvider") or {}).get("manifest")
    if not isinstance(manifest, dict) or not manifest:
        raise InvalidInput(
            "there is no manifest", mend="write the object there, with apiVersion and kind", where=(WHERE,)
        )
    for name in ("apiVersion", "kind"):
        if not isinstance(manifest.get(name), str) or not manifest[name]:
            text = f"{name} is {shown(manifest[name])}" if name in manifest else f"{name} is missing"
            raise InvalidInput(text, mend=f"write the object's {name}", where=(WHERE,))
    metadata = manifest.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise InvalidInput(
            f"metadata is {shown(metadata)}", mend="write a name, and what else belongs there", where=(WHERE,)
        )
    for name in ("name", "namespace"):
        if not isinstance(metadata.get(name, ""), str):
            raise InvalidInput(f"metadata.{name} is {shown(metadata[name])}", mend="write text", where=(WHERE,))
    kept = {name: value for name, value in metadata.items() if name not in SERVERS_OWN and value is not None}
    found = {name: fieldpath.copied(value) for name, value in manifest.items() if name not in ("metadata", "status")}
    return {**found, "metadata": {**fieldpath.copied(kept), "name": kept.get("name") or meta(managed)["name"]}}


def patched(manifest: Object, path: str, value: Json) -> None:
    """Write a value that was taken from elsewhere into the manifest."""
    with at(WHERE):
        fieldpath.set(manifest, fieldpath.parse(path), value)


# --- what it stands for -----------------------------------------------------------------------------------------


def noted(key: Key) -> str:
    """As an annotation keeps it.

    >>> read(noted(Key("apps/v1", "Deployment", "shop", "web")))
    Key(api_version='apps/v1', kind='Deployment', namespace='shop', name='web')
    """
    return json.dumps(list(key), separators=(",", ":"))


def read(text: str) -> Key | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, list) or len(found) != 4 or not all(isinstance(part, str) for part in found):
        return None
    return Key(*found)


def stands_for(managed: Object) -> Key | None:
    """What an Object has stood for so far; None: nothing that anybody knows of."""
    seen = (status_of(managed).get("atProvider") or {}).get("manifest")
    if isinstance(seen, dict) and seen.get("apiVersion") and seen.get("kind") and meta(seen).get("name"):
        return key_of(seen)
    return read(annotations_of(managed).get(STANDS_FOR) or "")


def moved(before: Key, now: Key) -> tuple[Difference, ...]:
    """In which of the fields that say what it is it differs; another version of the same group is the same object."""
    pairs = (
        ("apiVersion", before.api_version, now.api_version, before.group != now.group),
        ("kind", before.kind, now.kind, before.kind != now.kind),
        ("metadata.namespace", before.namespace, now.namespace, before.namespace != now.namespace),
        ("metadata.name", before.name, now.name, before.name != now.name),
    )
    return tuple(Difference(f"manifest.{field}", new, old) for field, old, new, is_other in pairs if is_other)


# --- what is told -----------------------------------------------------------------------------------------------


def is_secret(obj: Object) -> bool:
    return bool((obj["apiVersion"], obj["kind"]) == ("v1", "Secret"))


def sanitised(live: Object, taken: Collection[str]) -> Object:
    """The object as its Object's status shows it: no Secret's data, nor what was `taken` from Secrets, by path."""
    metadata = {name: value for name, value in meta(live).items() if name != "managedFields"}
    found: Object = {**live, "metadata": metadata}
    if is_secret(live):
        metadata["annotations"] = {n: text for n, text in annotations_of(live).items() if n != LAST_APPLIED}
        if not metadata["annotations"]:
            del metadata["annotations"]
        found = {name: value for name, value in found.items() if name not in ("data", "stringData")}
        return {**found, "data": {REDACTED: ""}} if live.get("data") else found
    if taken:
        found = fieldpath.copied(found)
        found["metadata"].get("annotations", {}).pop(LAST_APPLIED, None)
        for path in map(fieldpath.parse, taken):
            if fieldpath.find(found, path) is not fieldpath.MISSING:
                fieldpath.set(found, path, REDACTED)
    return found


def content(obj: Object, manager: str) -> Json:
    """What an apply by the manager is about: the object without its status, and what of it the manager owns."""
    metadata = {name: value for name, value in meta(obj).items() if name not in SERVERS_OWN}
    owned = [
        entry.get("fieldsV1")
        for entry in meta(obj).get("managedFields") or ()
        if (entry.get("manager"), entry.get("operation")) == (manager, "Apply") and not entry.get("subresource")
    ]
    rest = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
    return {**rest, "metadata": metadata, "owned": owned}


def fingerprint(value: Json) -> int:
    """What changes when the value does, in this process."""
    return hash(json.dumps(value, sort_keys=True))


def differences(wanted: Object, live: Object, manager: str, *, tells: bool) -> tuple[Difference, ...]:
    """What an apply would change; `wanted` is the object as it would be then.  Values are told if `tells`, and never of Secrets."""
    before, after = content(live, manager), content(wanted, manager)
    if before == after:
        return ()
    owned = before.pop("owned") == after.pop("owned")
    found: list[Difference] = []
    for path, old, new in _differing(before, after, ""):
        if len(found) == MOST:
            break
        is_told = tells and not is_secret(wanted)
        found.append(Difference(f"manifest{path}", *((new, old) if is_told else ("as wanted", "another value"))))
    if not found and not owned:
        found.append(Difference("manifest", f"applied by {manager}", "not applied so"))
    return tuple(found)


def _differing(old: Json, new: Json, path: str) -> Iterator[tuple[str, Json, Json]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            segment = f"[{name}]" if "." in name else f".{name}"
            yield from _differing(old.get(name), new.get(name), f"{path}{segment}")
    elif old != new:
        yield path, old, new


def without(text: str, values: Collection[str]) -> str:
    """A server's words without what was taken from Secrets.

    >>> without('Invalid value: "s3cret-value"', ["s3cret-value"])
    'Invalid value: "…"'
    """
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "…")
    return text


def texts_in(value: Json) -> Iterator[str]:
    """All texts inside of a value."""
    match value:
        case str():
            yield value
        case Mapping():
            for item in value.values():
                yield from texts_in(item)
        case list():
            for item in value:
                yield from texts_in(item)


def held_by(managed: Object) -> list[Key]:
    """What an Object's status says that it keeps from being deleted."""
    found: list[Any] = (status_of(managed).get("atProvider") or {}).get("references") or []
    return [
        Key(str(each["apiVersion"]), str(each["kind"]), str(each.get("namespace") or ""), str(each["name"]))
        for each in found
        if isinstance(each, dict) and each.get("apiVersion") and each.get("kind") and each.get("name")
    ]


def as_held(keys: Collection[Key]) -> list[dict[str, str]]:
    return [
        {"apiVersion": key.api_version, "kind": key.kind, "name": key.name}
        | ({"namespace": key.namespace} if key.namespace else {})
        for key in keys
    ]
