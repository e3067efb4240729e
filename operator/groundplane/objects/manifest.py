"""The object that is wanted, and what is told of the one that is there: pure, and of a Secret no value in it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.explain import LAST_APPLIED
from groundplane.core.objects import Json, Key, Object, annotations_of, key_of, meta, spec_of, status_of
from groundplane.errors import InvalidInput, at, shown
from groundplane.objects.kinds import STANDS_FOR
from groundplane.ports import Difference

WHERE = "spec.forProvider.manifest"
_SERVERS = ("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields")
SERVERS_OWN = frozenset((*_SERVERS, "resourceVersion", "selfLink", "uid"))  # metadata that nobody can want
REDACTED = "redacted"
TELLING = 8  # characters of a value that is found within other texts, too
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
    check(manifest)
    metadata = manifest.get("metadata") or {}
    kept = {name: value for name, value in metadata.items() if name not in SERVERS_OWN and value is not None}
    found = {name: fieldpath.copied(value) for name, value in manifest.items() if name not in ("metadata", "status")}
    return {**found, "metadata": {**fieldpath.copied(kept), "name": kept.get("name") or meta(managed)["name"]}}


def check(manifest: Object, *, tells: bool = True) -> None:
    """Raise InvalidInput for what is no object, as it is written or, where no value is told, once values are taken into it."""
    for name in ("apiVersion", "kind"):
        if not isinstance(manifest.get(name), str) or not manifest[name]:
            text = f"{name} is {_told(manifest[name], tells)}" if name in manifest else f"{name} is missing"
            raise InvalidInput(text, mend=f"write the object's {name}", where=(WHERE,))
    if str(manifest["kind"]).endswith("List") and isinstance(manifest.get("items"), list):
        raise InvalidInput("it is a list of objects", mend="write an Object for each of them", where=(WHERE,))
    metadata = manifest.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise InvalidInput(
            f"metadata is {_told(metadata, tells)}", mend="write a name, and what else belongs there", where=(WHERE,)
        )
    for name in ("name", "namespace"):
        if not isinstance(metadata.get(name, ""), str):
            raise InvalidInput(f"metadata.{name} is {_told(metadata[name], tells)}", mend="write text", where=(WHERE,))
    for name, type_ in (("labels", dict), ("annotations", dict), ("ownerReferences", list), ("finalizers", list)):
        if not isinstance(metadata.get(name) or type_(), type_):
            what = "a map" if type_ is dict else "a list"
            raise InvalidInput(f"metadata.{name} is no {what[2:]}", mend=f"write {what}", where=(WHERE,))


def _told(value: Json, tells: bool) -> str:
    return shown(value) if tells else "not what belongs there"


def patched(manifest: Object, path: str, value: Json) -> None:
    """Write a value that was taken from elsewhere into the manifest."""
    try:
        with at(WHERE):
            fieldpath.set(manifest, fieldpath.parse(path), value)
    except InvalidInput as error:
        error.mend = error.mend or "correct toFieldPath, or what is there in the manifest"
        raise


def check_source(path: str) -> None:
    """Raise InvalidInput for a path that leads to no single value of an object."""
    if not path:
        raise InvalidInput("no field is named", mend="write one: data.password, status.address")
    if fieldpath.parse(path).wild:
        raise InvalidInput(f"{shown(path)} means many values", mend="name one of them: [0], or a key")


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
    seen = seen_of(managed)
    return seen[0] if seen else read(annotations_of(managed).get(STANDS_FOR) or "")


def seen_of(managed: Object) -> tuple[Key, str] | None:
    """What an Object's status says that it has seen, and its UID: that nobody else writes.

    It is kept apart from the manifest that is shown, in which what came from a Secret is not.
    """
    known = status_of(managed).get("atProvider") or {}
    kept = known.get("object") or {}
    if all(kept.get(name) for name in ("apiVersion", "kind", "name", "uid")):
        return Key(kept["apiVersion"], kept["kind"], kept.get("namespace") or "", kept["name"]), kept["uid"]
    shown_ = known.get("manifest")  # upstream's status
    if isinstance(shown_, dict) and shown_.get("apiVersion") and shown_.get("kind") and meta(shown_).get("name"):
        return key_of(shown_), str(meta(shown_).get("uid") or "")
    return None


def identity(live: Object) -> dict[str, str]:
    """What an Object's status keeps of what it has seen: which one that was."""
    key = key_of(live)
    found = {"apiVersion": key.api_version, "kind": key.kind, "name": key.name, "uid": str(meta(live)["uid"])}
    return found | ({"namespace": key.namespace} if key.namespace else {})


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


def sanitised(
    live: Object, taken: Collection[str], values: Collection[str] = (), managed: Object | None = None
) -> Object:
    """The object as its Object's status shows it: no Secret's data, nor what was `taken` from Secrets.

    That is known by its path, by its `values`, which others may have moved, and by what `managed` did not show the last time.
    """
    metadata = {name: value for name, value in meta(live).items() if name != "managedFields"}
    found: Object = {**live, "metadata": metadata}
    if is_secret(live):
        metadata["annotations"] = {n: text for n, text in annotations_of(live).items() if n != LAST_APPLIED}
        if not metadata["annotations"]:
            del metadata["annotations"]
        found = {name: value for name, value in found.items() if name not in ("data", "stringData")}
        found |= {"data": {REDACTED: ""}} if live.get("data") else {}
    if taken:
        found = fieldpath.copied(found)
        (found["metadata"].get("annotations") or {}).pop(LAST_APPLIED, None)
        for path in map(fieldpath.parse, taken):
            if (value := fieldpath.find(found, path)) is not fieldpath.MISSING:
                hidden = dict.fromkeys(value, REDACTED) if isinstance(value, dict) else REDACTED
                fieldpath.set(found, path, hidden)  # a map stays one: labels and annotations must be
    if before := (status_of(managed or {}).get("atProvider") or {}).get("manifest"):
        found = _still_hidden(found, before, (spec_of(managed or {}).get("forProvider") or {}).get("manifest"))
    if not values:
        return found
    kept = {name: found[name] for name in ("apiVersion", "kind") if name in found}
    return {**_without_values(found, values), **kept}


def _still_hidden(live: Json, before: Json, given: Json) -> Json:
    """What was hidden `before` stays so, unless it is what anybody may read in the manifest as it is `given`."""
    if before == REDACTED:
        return live if live == given else REDACTED
    if isinstance(live, dict) and isinstance(before, dict):
        named = given if isinstance(given, dict) else {}
        return {
            name: _still_hidden(value, before[name], named.get(name)) if name in before else value
            for name, value in live.items()
        }
    if isinstance(live, list) and isinstance(before, list):
        listed = given if isinstance(given, list) else []
        return [
            _still_hidden(value, before[i], listed[i] if i < len(listed) else None) if i < len(before) else value
            for i, value in enumerate(live)
        ]
    return live


def _without_values(value: Json, values: Collection[str]) -> Json:
    """The value, where each text that is one of the values, or has a long one in it, is not told."""
    match value:
        case str():
            is_hidden = value in values or any(len(each) >= TELLING and each in value for each in values)
            return REDACTED if is_hidden else value
        case dict():
            return {name: _without_values(item, values) for name, item in value.items()}
        case list():
            return [_without_values(item, values) for item in value]
    return value


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
