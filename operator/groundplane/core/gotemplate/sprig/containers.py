"""sprig's functions for lists, maps, defaults and types.

Source: Masterminds/sprig v3.3.0 `list.go`, `dict.go`, `defaults.go`, `reflect.go`; mergo v1.0 for `merge`.
"""

from __future__ import annotations

from typing import Any

from groundplane.core import goformat
from groundplane.core.goformat import Special
from groundplane.core.gotemplate import values as go
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import check_items
from groundplane.core.gotemplate.sprig.library import Library, function, items_of, text_of
from groundplane.core.gotemplate.sprig.numbers import to_int64
from groundplane.core.gotemplate.values import Lists, NilList, Strings, Value, kind, type_name

CONTAINERS: Library = {}
Map = dict[str, Any]

# --- defaults -----------------------------------------------------------------------------------------------------------

function(CONTAINERS, "default", "any", "any")(lambda fallback, *given: given[0] if given and given[0] else fallback)
function(CONTAINERS, "empty", "any")(lambda value: not value)
function(CONTAINERS, "coalesce", "", "any")(lambda *given: next((value for value in given if value), None))
function(CONTAINERS, "all", "", "any")(lambda *given: all(map(bool, given)))
function(CONTAINERS, "any", "", "any")(lambda *given: any(map(bool, given)))
function(CONTAINERS, "ternary", "any any bool")(lambda yes, no, which: yes if which else no)

# --- types --------------------------------------------------------------------------------------------------------------

function(CONTAINERS, "typeOf", "any")(type_name)
function(CONTAINERS, "typeIs", "string any")(lambda name, value: name == type_name(value))
function(CONTAINERS, "typeIsLike", "string any")(lambda name, value: type_name(value) in (name, f"*{name}"))
function(CONTAINERS, "kindOf", "any")(kind)
function(CONTAINERS, "kindIs", "string any")(lambda name, value: name == kind(value))
function(CONTAINERS, "deepEqual", "any any", is_deep=True)(go.same)

# --- lists --------------------------------------------------------------------------------------------------------------


function(CONTAINERS, "list tuple", "", "any")(lambda *items: list(items))


@function(CONTAINERS, "first mustFirst", "any")
def first(value: Value) -> Value:
    items = items_of(value, "Cannot find first on type")
    return items[0] if items else None


@function(CONTAINERS, "last mustLast", "any")
def last(value: Value) -> Value:
    items = items_of(value, "Cannot find last on type")
    return items[-1] if items else None


@function(CONTAINERS, "rest mustRest", "any")
def rest(value: Value) -> list[Value]:
    items = items_of(value, "Cannot find rest on type")
    return list(items[1:]) if items else NilList()


@function(CONTAINERS, "initial mustInitial", "any")
def initial(value: Value) -> list[Value]:
    items = items_of(value, "Cannot find initial on type")
    return list(items[:-1]) if items else NilList()


@function(CONTAINERS, "append push mustAppend mustPush", "any any")
def append(value: Value, item: Value) -> list[Value]:
    return [*items_of(value, "Cannot push on type"), item]


@function(CONTAINERS, "prepend mustPrepend", "any any")
def prepend(value: Value, item: Value) -> list[Value]:
    return [item, *items_of(value, "Cannot prepend on type")]


@function(CONTAINERS, "reverse mustReverse", "any")
def reverse(value: Value) -> list[Value]:
    return list(reversed(items_of(value, "Cannot find reverse on type")))


@function(CONTAINERS, "compact mustCompact", "any")
def compact(value: Value) -> list[Value]:
    return [item for item in items_of(value, "Cannot compact on type") if item]


@function(CONTAINERS, "uniq mustUniq", "any", is_deep=True)
def uniq(value: Value) -> list[Value]:
    seen: set[Any] = set()
    found = []
    for item in items_of(value, "Cannot find uniq on type"):
        mark = identity(item)
        if mark not in seen:
            seen.add(mark)
            found.append(item)
    return found


@function(CONTAINERS, "without mustWithout", "any", "any", is_deep=True)
def without(value: Value, *omitted: Value) -> list[Value]:
    marks = {identity(item) for item in omitted}
    return [item for item in items_of(value, "Cannot find without on type") if identity(item) not in marks]


@function(CONTAINERS, "has mustHas", "any any", is_deep=True)
def has(needle: Value, value: Value) -> bool:
    if value is None:
        return False
    return any(go.same(needle, item) for item in items_of(value, "Cannot find has on type"))


def identity(value: Value) -> Any:
    """Something that is equal for values that Go's DeepEqual takes for the same."""
    if isinstance(value, list):
        return type_name(value), isinstance(value, go.Nil), tuple(identity(item) for item in value)
    if isinstance(value, dict):
        members = frozenset((identity(name), identity(item)) for name, item in value.items())
        return type_name(value), isinstance(value, go.Nil), members
    if isinstance(value, float) and value != value:
        return object()
    return type_name(value), value.text() if isinstance(value, Special) else value


@function(CONTAINERS, "slice mustSlice", "any", "any")
def slice_of(value: Value, *indices: Value) -> Value:
    items = items_of(value, "list should be type of slice or array but")
    if not items:
        return None
    start = to_int64(indices[0]) if indices else 0
    end = to_int64(indices[1]) if len(indices) > 1 else len(items)
    if not 0 <= start <= end <= len(items):
        raise Failure("reflect.Value.Slice: slice index out of bounds", "look at len first")
    return type(items)(items[start:end])


@function(CONTAINERS, "concat", "", "any")
def concat(*lists: Value) -> list[Value]:
    found: list[Value] = []
    for each in lists:
        if not isinstance(each, list):
            items_of(each, "Cannot concat type")  # complains of what is not there
        found += each
        check_items(len(found))
    return found or NilList()


@function(CONTAINERS, "chunk mustChunk", "int any")
def chunk(size: int, value: Value) -> Lists:
    items = items_of(value, "Cannot chunk type")
    if size < 1:
        raise Failure(
            "runtime error: makeslice: len out of range", "the first argument is how many there are in each: 1 at least"
        )
    return Lists([items[start : start + size] for start in range(0, len(items), size)])


# --- maps -----------------------------------------------------------------------------------------------------------------


@function(CONTAINERS, "dict", "", "any")
def dictionary(*given: Value) -> Map:
    return {text_of(given[at]): given[at + 1] if at + 1 < len(given) else "" for at in range(0, len(given), 2)}


@function(CONTAINERS, "get", "map string")
def get(holder: Map, name: str) -> Value:
    return holder.get(name, "")


@function(CONTAINERS, "set", "map string any")
def put(holder: Map, name: str, value: Value) -> Map:
    if isinstance(holder, go.Nil):
        raise Failure("assignment to entry in nil map", "start with a map: {{ $x := dict }}")
    holder[name] = value
    return holder


@function(CONTAINERS, "unset", "map string")
def unset(holder: Map, name: str) -> Map:
    holder.pop(name, None)
    return holder


function(CONTAINERS, "hasKey", "map string")(lambda holder, name: name in holder)
function(CONTAINERS, "values", "map")(lambda holder: [holder[name] for name in sorted(holder)])


@function(CONTAINERS, "keys", "", "map")
def keys(*holders: Map) -> Strings:
    return Strings(name for holder in holders for name in sorted(holder))


@function(CONTAINERS, "pluck", "string", "map")
def pluck(name: str, *holders: Map) -> list[Value]:
    return [holder[name] for holder in holders if name in holder]


@function(CONTAINERS, "pick", "map", "string")
def pick(holder: Map, *names: str) -> Map:
    return {name: holder[name] for name in names if name in holder}


@function(CONTAINERS, "omit", "map", "string")
def omit(holder: Map, *names: str) -> Map:
    return {name: value for name, value in holder.items() if name not in names}


@function(CONTAINERS, "dig", "", "any")
def dig(*given: Value) -> Value:
    if len(given) < 3:
        raise Failure("dig needs at least three arguments", 'dig "a" "b" DEFAULT MAP')
    *names, default, value = given
    for name in names:
        if not isinstance(name, str):
            raise Failure(f"interface conversion: interface {{}} is {_named(name)}, not string")
    for name in names:
        if type_name(value) != "map[string]interface {}":
            what = f"interface conversion: interface {{}} is {_named(value)}, not map[string]interface {{}}"
            raise Failure(what, f"what {goformat.sprintf('%q', name)} is looked for in is no map: guard it")
        if name not in value:
            return default
        value = value[name]
    return value


def _named(value: Value) -> str:
    return "nil" if value is None else type_name(value)


# --- merging and copying ------------------------------------------------------------------------------------------------------


def _merge(into: Map, *others: Map, overwrites: bool) -> Map:
    if isinstance(into, go.Nil) and any(not isinstance(other, go.Nil) for other in others):
        into = {}
    for other in others:
        _merge_one(into, other, overwrites)
    return into


def _merge_one(into: Map, other: Map, overwrites: bool) -> None:
    for name, value in list(other.items()):
        if value is None:
            if overwrites:
                into[name] = None
            continue
        there = into.get(name)
        if isinstance(value, dict) and isinstance(there, dict) and there is not value:
            _merge_one(there, value, overwrites)
            if there:
                continue
        if overwrites or not there:
            into[name] = value


@function(CONTAINERS, "merge mustMerge", "map", "map", is_deep=True)
def merge(into: Map, *others: Map) -> Map:
    return _merge(into, *others, overwrites=False)


@function(CONTAINERS, "mergeOverwrite mustMergeOverwrite", "map", "map", is_deep=True)
def merge_overwrite(into: Map, *others: Map) -> Map:
    return _merge(into, *others, overwrites=True)


@function(CONTAINERS, "deepCopy mustDeepCopy", "any", is_deep=True)
def deep_copy(value: Value) -> Value:
    if value is None:
        raise Failure(
            "reflect: call of reflect.Value.Type on zero Value", "what is copied is not there: X | default dict"
        )
    return copied(value)


def copied(value: Value) -> Value:
    """A copy of all maps and lists in a value, each of the type that it has."""
    if isinstance(value, dict):
        found = type(value)()
        for name, item in value.items():
            found[name] = copied(item) if isinstance(item, dict | list) else item
        return found
    if isinstance(value, list):
        return type(value)(copied(item) if isinstance(item, dict | list) else item for item in value)
    return value


MUTATING = frozenset(("merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite", "set", "unset"))
