"""Who owns which fields of an object: sets of fields, how a schema merges, and `metadata.managedFields`.

Pure.  A set of fields is a dict from path element (`f:<field>`, `k:<keys of a list item>`, `v:<set item>`) to the set
below it, as `fieldsV1` on the wire: `{}` is a member with nothing below it, "." says that a path with members below it is
one itself.  Follows structured-merge-diff v6 (`fieldpath.Set`, `typed.ToFieldSet`, `typed.Compare`) and
apimachinery 0.34 `managedfields`.  Results may share parts with the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from groundplane.core.objects import Json, Object, meta

Fields = dict[str, Any]  # path element → Fields; see above
Schema = Mapping[str, Any]  # OpenAPI v3, as in a CustomResourceDefinition

# What the API server itself writes in metadata: never merged from an applied object, owned by nobody.
SERVER_METADATA = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    }
)
NOTHING: Schema = {}
_TEXTS: Schema = {"additionalProperties": {"type": "string"}}
METADATA: Schema = {
    "properties": {
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "generateName": {},
        "finalizers": {"x-kubernetes-list-type": "set", "items": {}},
        "ownerReferences": {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {"x-kubernetes-map-type": "atomic"},
        },
    }
}


# --- schema: what merges how ----------------------------------------------------------------------


def rooted(schema: Schema | None) -> Schema:
    """The schema of a whole object, with the metadata that CustomResourceDefinitions leave out."""
    if schema is None:
        schema = NOTHING
    return {**schema, "properties": {**(schema.get("properties") or {}), "metadata": METADATA}}


def child(schema: Schema, name: str) -> Schema:
    properties = schema.get("properties")
    if properties and name in properties:
        found: Schema = properties[name]
        return found
    other = schema.get("additionalProperties")
    return other if isinstance(other, dict) else NOTHING


def items_of(schema: Schema) -> Schema:
    found = schema.get("items")
    return found if isinstance(found, dict) else NOTHING


def is_atomic(value: Json, schema: Schema) -> bool:
    """Whether the value is merged and owned as a whole."""
    if isinstance(value, dict):
        return schema.get("x-kubernetes-map-type") == "atomic"
    if isinstance(value, list):
        return schema.get("x-kubernetes-list-type") not in ("map", "set")
    return True


def keys_of(schema: Schema) -> tuple[str, ...]:
    """The fields that identify an item of a list; none in a set."""
    if schema.get("x-kubernetes-list-type") == "map":
        return tuple(schema.get("x-kubernetes-list-map-keys") or ())
    return ()


def element(item: Json, keys: tuple[str, ...], schema: Schema) -> str:
    """The path element of a list item: `k:{"name":"a"}`, or `v:"a"` in a set.  A key may have a default."""
    if not keys or not isinstance(item, dict):
        return "v:" + orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()
    if len(keys) == 1 and type(item.get(keys[0])) is str:
        return _keyed(keys[0], item[keys[0]])
    found = {}
    for key in keys:
        value = item.get(key)
        if value is None:
            value = child(items_of(schema), key).get("default")
        if value is not None:
            found[key] = value
    return "k:" + orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


@lru_cache(maxsize=4096)
def _keyed(key: str, value: str) -> str:
    return "k:" + orjson.dumps({key: value}).decode()


# --- sets of fields -------------------------------------------------------------------------------


def is_member(node: Fields) -> bool:
    return not node or "." in node


def union(one: Fields, other: Fields) -> Fields:
    """
    >>> union({"f:a": {}}, {"f:a": {"f:b": {}}, "f:c": {}})
    {'f:a': {'.': {}, 'f:b': {}}, 'f:c': {}}
    """
    merged = dict(one)
    for name, theirs in other.items():
        mine = merged.get(name)
        if mine is None:
            merged[name] = theirs
        elif mine is not theirs and name != ".":
            if mine and theirs:
                merged[name] = union(mine, theirs)
            elif mine or theirs:
                merged[name] = {".": {}, **mine, **theirs}
    return merged


def difference(one: Fields, other: Fields) -> Fields:
    """
    >>> difference({"f:a": {".": {}, "f:b": {}}, "f:c": {}}, {"f:a": {"f:b": {}}})
    {'f:a': {}, 'f:c': {}}
    """
    rest: Fields = {}
    for name, mine in one.items():
        theirs = other.get(name)
        if theirs is None:
            rest[name] = mine
        elif name == ".":
            continue
        elif not mine:
            if not is_member(theirs):
                rest[name] = mine
        else:
            left = difference(mine, theirs or {".": {}})
            if left:
                rest[name] = {} if left.keys() == {"."} else left
    return rest


def owned(value: Json, schema: Schema) -> Fields:
    """The fields that applying a value owns: leaves, the keys of free maps, list items."""
    if is_atomic(value, schema):
        return {}
    fields: Fields = {}
    if isinstance(value, dict):
        declared = schema.get("properties") or ()
        for name, item in value.items():
            inside = child(schema, name)
            below = owned(item, inside)
            if name in declared:
                if item == [] and not is_atomic(item, inside):
                    continue
            elif below:
                below["."] = {}
            fields["f:" + name] = below
        return fields
    keys, inside = keys_of(schema), items_of(schema)
    for item in value:
        below = owned(item, inside)
        if below:
            below["."] = {}
        fields[element(item, keys, schema)] = below
    return fields


def everything(value: Json, schema: Schema) -> Fields:
    """What is below a value that is a member itself, all of it."""
    below = {name: everything(item, inside) for name, item, inside in parts(value, schema)}
    if below:
        below["."] = {}
    return below


def parts(value: Json, schema: Schema) -> Iterator[tuple[str, Json, Schema]]:
    """What is right below a value: path element, value, schema.  None if it is a whole."""
    if is_atomic(value, schema):
        return
    if isinstance(value, dict):
        for name, item in value.items():
            yield "f:" + name, item, child(schema, name)
    else:
        keys, inside = keys_of(schema), items_of(schema)
        for item in value:
            yield element(item, keys, schema), item, inside


def compare(old: Json, new: Json, schema: Schema) -> tuple[Fields | None, Fields | None]:
    """The fields that were added or got another value, and those that are gone; None if there are none."""
    if same(old, new):
        return None, None
    if type(old) is not type(new) or is_atomic(new, schema):
        before = everything(old, schema)
        before.pop(".", None)
        return everything(new, schema), before or None
    changed: Fields = {}
    removed: Fields = {}
    there = {name: item for name, item, _ in parts(old, schema)}
    for name, item, inside in parts(new, schema):
        if name not in there:
            changed[name] = everything(item, inside)
            continue
        more, less = compare(there.pop(name), item, inside)
        if more is not None:
            changed[name] = more
        if less is not None:
            removed[name] = less
    if there:
        for name, item, inside in parts(old, schema):
            if name in there:
                removed[name] = everything(item, inside)
    return changed or None, removed or None


def stripped(fields: Fields | None) -> Fields:
    """Without what nobody owns: the type, and the metadata that the server writes."""
    rest = {name: below for name, below in (fields or {}).items() if name not in ("f:apiVersion", "f:kind", ".")}
    if "f:metadata" in rest:
        metadata = rest.pop("f:metadata")
        kept = {name: below for name, below in metadata.items() if name != "." and name[2:] not in SERVER_METADATA}
        if kept:
            rest["f:metadata"] = kept
    return rest


def same(one: Json, other: Json) -> bool:
    """JSON equality: 10 equals 10.0, but true is not 1."""
    if one is other:
        return True
    if isinstance(one, (dict, list)):
        # Almost always decided here, at C's speed; what is left is another order of keys, or true beside 1.
        return one == other and (orjson.dumps(one) == orjson.dumps(other) or _same_inside(one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _same_inside(one: Json, other: Json) -> bool:
    """For two that Python finds equal, so their shapes are."""
    if isinstance(one, dict):
        return all(same(item, other[name]) for name, item in one.items())
    return all(map(same, one, other))


# --- managedFields --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writer:
    """Who owns: an Apply manager is one in all versions, an Update manager is one in each."""

    manager: str
    operation: str
    subresource: str
    api_version: str = ""  # "" for Apply


@dataclass
class Entry:
    fields: Fields
    time: str
    api_version: str = ""  # of an Apply


Entries = dict[Writer, Entry]


def entries_of(obj: Object | None) -> Entries:
    found = {}
    for entry in (meta(obj).get("managedFields") if obj else None) or ():
        version = entry.get("apiVersion") or ""
        operation = entry.get("operation") or ""
        applies = operation == "Apply"
        writer = Writer(
            entry.get("manager") or "", operation, entry.get("subresource") or "", "" if applies else version
        )
        found[writer] = Entry(entry.get("fieldsV1") or {}, entry.get("time") or "", version if applies else "")
    return found


def take_away(entries: Entries, writer: Writer, changed: Fields | None, removed: Fields | None) -> None:
    """Nobody but the writer owns a changed value any more, and nobody at all a removed one."""
    for other in list(entries):
        entry = entries[other]
        if changed and other != writer:
            entry.fields = difference(entry.fields, changed)
        if removed:
            entry.fields = difference(entry.fields, removed)
        if not entry.fields and other != writer:
            del entries[other]


def with_entries(obj: Object, entries: Entries) -> Object:
    """The object with these managedFields, as the API server writes them: Apply before Update, then by time."""
    metadata = {name: value for name, value in meta(obj).items() if name != "managedFields"}
    if entries:
        metadata["managedFields"] = _encoded(entries)
    return {**obj, "metadata": metadata}


def _encoded(entries: Entries) -> list[dict[str, Any]]:
    encoded = []
    for writer, entry in entries.items():
        one = {
            "apiVersion": writer.api_version or entry.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": entry.fields,
            "manager": writer.manager,
            "operation": writer.operation,
        }
        if writer.subresource:
            one["subresource"] = writer.subresource
        if entry.time:
            one["time"] = entry.time
        encoded.append(one)
    if len(encoded) > 1:
        encoded.sort(
            key=lambda one: (
                one["operation"],
                one.get("time", ""),
                one["manager"],
                one["apiVersion"],
                one.get("subresource", ""),
            )
        )
    return encoded


def ordered(fields: Fields) -> Fields:
    """The same set, its elements sorted at every depth: so the API server shows them."""
    return {name: ordered(fields[name]) for name in sorted(fields)}
