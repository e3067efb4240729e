"""OpenAPI v3 structural schemas, as CustomResourceDefinitions carry them: default, prune, validate, look up.

`admit` does to an object what the API server does on a write: fill in defaults, drop fields that the schema
doesn't know, then refuse with all problems at once, in the API server's words.  The separate steps are there too.
A schema is plain data; `compiled` turns it into a `Structural` once, and every function takes either.

The rules of x-kubernetes-validations (CEL) are asked as well, by `rules.py`; those that can't be are collected in an
`Unchecked`, for whoever can tell a person.

Source: Kubernetes 1.34, apiextensions-apiserver pkg/apiserver/schema/{defaulting,pruning,listtype,objectmeta}
and pkg/apiserver/validation; every vector was answered by a real kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from groundplane.core import rules
from groundplane.core.objects import Json, Object, group_of, meta
from groundplane.core.rules import Unchecked
from groundplane.core.structural import (
    ANYTHING,
    MISSING,
    OBJECT_META,
    STRING,
    TYPE_META,
    Missing,
    OpenAPI,
    Path,
    Structural,
    by_keys,
    compiled,
    identity,
    invalid,
    keys_of,
    quoted,
    text,
    type_of,
)
from groundplane.errors import InvalidInput, Rejected, did_you_mean, field_meant

# --- default and prune


def default(schema: OpenAPI | Structural, obj: Object) -> Object:
    """A copy of the object with the schema's defaults filled in where fields are absent (or null, if that's not allowed)."""
    return _object(_shaped(compiled(schema), obj, True, None))


def prune(schema: OpenAPI | Structural, obj: Object) -> Object:
    """A copy of the object without the fields that the schema doesn't know, and without forbidden nulls."""
    return _object(pruned(schema, obj))


def pruned(schema: OpenAPI | Structural, value: Json) -> Json:
    """As `prune`, of a value that need be no object."""
    return _shaped(compiled(schema), value, False, [])


class Fault(NamedTuple):
    """One thing that is wrong with an object: where, what in the API server's words, and what to write instead."""

    path: str
    problem: str
    mend: str = ""  # "" if there is no telling

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def undeclared(schema: OpenAPI | Structural, obj: Object) -> list[Fault]:
    """What `prune` would drop, sorted: what a strict reader refuses, as misspelt most likely.

    >>> undeclared({"type": "object", "properties": {"size": {"type": "string"}}}, {"sise": "small"})
    [Fault(path='.sise', problem='field not declared in schema', mend='did you mean size?')]
    """
    dropped: list[_Dropped] = []
    _shaped(compiled(schema), obj, False, dropped)
    return sorted(
        Fault(f".{text(path).lstrip('.')}", "field not declared in schema", _meant(path, node))
        for path, node in dropped
    )


NO_SECRET = "composites of Crossplane v2 have no connection Secret: compose a Secret instead"
"""The mend for `writeConnectionSecretToRef` where the machinery has a field of its own, `crossplane`."""


def _meant(path: tuple[Any, Any], node: Structural) -> str:
    """What to write instead of a field that is not there: one that is spelt alike, or the same one further down."""
    word = str(path[1])
    mend = field_meant(word, node.properties, parent=str(path[0][1]) if path[0] else "")
    if mend and not mend.startswith("use one of"):
        return mend
    if word == "writeConnectionSecretToRef" and "crossplane" in node.properties:
        return NO_SECRET
    inside = [name for name, child in node.properties.items() if word in child.properties]
    return f"did you mean {inside[0]}.{word}?" if len(inside) == 1 else mend


def mends(faults: Sequence[Fault]) -> str:
    """One text of what to write instead, each with its place unless there is but one fault."""
    if len(faults) == 1:
        return faults[0].mend
    return "; ".join(f"{fault.path.lstrip('.')}: {fault.mend}" for fault in faults if fault.mend)


def _object(value: Json) -> Object:
    if not isinstance(value, dict):
        raise Rejected(f"an object is wanted, got {quoted(value)}")
    return value


_META: Final = Structural(OBJECT_META)
_Dropped = tuple[tuple[Any, Any], Structural]  # the path of what was dropped, and the schema that does not know it
_UNKNOWN: Final = Structural({"nullable": True})  # a place that a schema mentions and says nothing of


def _copied(value: Json) -> Json:
    """A deep copy, numbers as a round trip through the API server leaves them: 10.0 is 10."""
    kind = type(value)
    if kind is dict:
        return {name: _copied(item) for name, item in value.items()}
    if kind is list:
        return [_copied(item) for item in value]
    if kind is float:
        return int(value) if value.is_integer() and -(2**63) <= value < 2**63 else value
    if kind is int and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def _shaped(node: Structural, value: Json, defaulting: bool, dropped: list[_Dropped] | None, path: Path = None) -> Json:
    """A copy of the value; with `defaulting` defaults are filled in; with `dropped` (collecting paths) it is pruned."""
    kind = type(value)
    if node.python is dict and kind is list:  # its type is wrong: of what is in it nothing is known
        return _copied(value)
    if kind is dict:
        result = {}
        for name, item in value.items():
            child = node.properties.get(name) or node.additional
            if name in TYPE_META and (node.embedded or path is None):
                result[name] = _type_meta(name, item, child, defaulting, dropped, (path, name))
                continue
            if child is None:
                if dropped is None or node.preserve:
                    result[name] = _copied(item)
                else:
                    dropped.append(((path, name), node))
                continue
            if item is None and not child.nullable:
                if defaulting and child.default is not MISSING:
                    result[name] = _shaped(child, child.default, True, dropped, (path, name))
                elif dropped is None:
                    result[name] = None
                continue
            if type(item) is str:
                result[name] = item
            else:
                result[name] = _shaped(child, item, defaulting, dropped, (path, name))
        if defaulting:
            for name, child in node.properties.items():
                if child.default is not MISSING and name not in value:
                    result[name] = _shaped(child, child.default, True, dropped, (path, name))
        return result
    if kind is list:
        items = node.items
        if items is None:
            if dropped is None or node.preserve:
                return _copied(value)
            items = _UNKNOWN
        shaped = []
        for index, item in enumerate(value):
            if item is None and defaulting and not items.nullable and items.default is not MISSING:
                item = items.default
            shaped.append(_shaped(items, item, defaulting, dropped, (path, index)))
        return shaped
    return _copied(value)


def _type_meta(
    name: str, value: Json, node: Structural | None, defaulting: bool, dropped: list[_Dropped] | None, path: Path
) -> Json:
    if name == "metadata" and dropped is not None:
        return _shaped(_META, value, False, dropped, path)
    return _copied(value) if node is None or dropped is not None else _shaped(node, value, defaulting, None, path)


# --- validate


class _Problems(dict[tuple[str, str], str]):
    """(path, problem) → mend, if one is obvious."""

    def __init__(self) -> None:
        super().__init__()
        self.of_rules: set[tuple[str, str]] = set()

    def add(self, path: Path, problem: str, mend: str = "") -> None:
        self[text(path), problem] = mend

    def add_rule(self, path: Path, problem: str, mend: str = "") -> None:
        """A rule that is broken."""
        self.add(path, problem, mend)
        self.of_rules.add((text(path), problem))


def validate(
    schema: OpenAPI | Structural, value: Json, old: Json | None = None, *, unchecked: Unchecked | None = None
) -> list[str]:
    """All that is wrong with a value, sorted, as the API server words it; [] if nothing is.

    `old` is what was there before an update: parts that are as they were are not judged again, so that an
    object stays writable when its schema has become stricter.  `unchecked` takes the rules that could not be asked.

    >>> size = {"type": "object", "properties": {"size": {"enum": ["small", "large"], "type": "string"}}}
    >>> validate(size, {"size": "xl"})
    ['size: Unsupported value: "xl": supported values: "small", "large"']
    """
    return [str(fault) for fault in faults(schema, value, old, unchecked=unchecked)]


def faults(
    schema: OpenAPI | Structural, value: Json, old: Json | None = None, *, unchecked: Unchecked | None = None
) -> list[Fault]:
    """As `validate`, each with its mend."""
    problems = _problems(compiled(schema), value, MISSING if old is None else old, unchecked)
    return _listed(problems)


def faults_and_broken_rules(
    schema: OpenAPI | Structural, value: Json, old: Json | None = None, *, unchecked: Unchecked | None = None
) -> tuple[list[Fault], list[Fault]]:
    """As `faults`, those that break a rule apart."""
    problems = _problems(compiled(schema), value, MISSING if old is None else old, unchecked)
    found = _listed(problems)
    by_rule = [(fault.path, fault.problem) in problems.of_rules for fault in found]
    return (
        [fault for fault, is_rule in zip(found, by_rule, strict=True) if not is_rule],
        [fault for fault, is_rule in zip(found, by_rule, strict=True) if is_rule],
    )


def misshapen(schema: OpenAPI | Structural, value: Json) -> list[Fault]:
    """As `faults`, but for rules: whether a value can be worked with."""
    problems = _Problems()
    _check(compiled(schema), value, MISSING, None, problems)
    return _listed(problems)


def _listed(problems: _Problems) -> list[Fault]:
    return sorted((Fault(path, problem, mend) for (path, problem), mend in problems.items()), key=str)


_BLOCKING = ("Required value", "Unsupported value", "Too long", "Too many")


def _problems(node: Structural, value: Json, old: Json | Missing, unchecked: Unchecked | None) -> _Problems:
    """Rules are asked of a value that has the schema's shape; other limits may be broken, as in the API server."""
    problems = _Problems()
    _check(node, value, old, None, problems)
    if node.ruled and not any(problem.startswith(_BLOCKING) or _IS_OF_TYPE in problem for _, problem in problems):
        rules.broken(node, value, old, problems.add_rule, Unchecked() if unchecked is None else unchecked)
    return problems


def _check(node: Structural, value: Json, old: Json | Missing, path: Path, problems: _Problems) -> None:
    if old is not MISSING and old == value:
        return
    kind = type(value)
    if kind is dict:
        _check_object(node, value, old, path, problems)
    elif kind is list:
        _check_list(node, value, old, path, problems)
    if kind is not node.python and (node.type or node.int_or_string):
        _check_type(node, value, path, problems)
    if node.checks:
        for check in node.checks.get(kind, ()):
            problem = check(value, path)
            if problem:
                problems.add(path, problem)
                if kind is str:  # too short says enough: the API server doesn't add that the pattern fails too
                    break
    if node.enum:
        _check_enum(node, value, path, problems)
    if node.logic:
        _check_logic(node, value, path, problems)


_IS_OF_TYPE = " in body must be of type"


def _check_type(node: Structural, value: Json, path: Path, problems: _Problems) -> None:
    found = type_of(value)
    wanted = node.type
    if found == wanted or (wanted == "number" and found == "integer") or (found == "null" and node.nullable):
        return
    if node.int_or_string:
        if found in ("integer", "string"):
            return
        wanted = "integer,string"
    problems.add(path, invalid(found, f'{text(path)}{_IS_OF_TYPE} {wanted}: "{found}"'), _wants(node, found))


_WANTS: Final[Mapping[str, str]] = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def _wants(node: Structural, found: str = "") -> str:
    """The mend for a value that is missing, or is `found` to be of another type: what the schema wants."""
    if node.enum:
        return did_you_mean("", _words(node.enum))
    wanted = "an integer or a string" if node.int_or_string else _WANTS.get(node.type, "")
    if not wanted:
        return ""
    if node.type == "string" and found in ("integer", "number", "boolean"):
        wanted += ", in quotes"
    elif found == "string" and node.type in ("integer", "number", "boolean"):
        wanted += ", without quotes"
    return f"write {wanted}"


def _words(allowed: Iterable[Json]) -> list[str]:
    return [value if isinstance(value, str) else quoted(value) for value in allowed]


def _check_enum(node: Structural, value: Json, path: Path, problems: _Problems) -> None:
    wanted = identity(value)
    if any(identity(allowed) == wanted for allowed in node.enum):
        return
    words = _words(node.enum)
    supported = ", ".join(quoted(word) for word in words)
    mend = did_you_mean(value, words) if isinstance(value, str) else ""
    if not mend.startswith("did you mean"):
        mend = ""  # all of them are in the message already
    problems.add(path, f"Unsupported value: {quoted(value)}: supported values: {supported}", mend)


def _check_object(
    node: Structural, value: dict[str, Json], old: Json | Missing, path: Path, problems: _Problems
) -> None:
    properties, additional = node.properties, node.additional
    before = old if isinstance(old, dict) else None
    if properties or additional is not None:
        for name, item in value.items():
            child = properties.get(name) or additional
            if child is None or type(item) is child.plain:
                continue
            then = MISSING if before is None else before.get(name, MISSING)
            _check(child, item, then, (path, name), problems)
    for name in node.required:
        if name not in value:
            child = properties.get(name)
            problems.add((path, name), "Required value", _wants(child) if child else "")
    if path is None and value.get("metadata") is not None:
        then = MISSING if before is None else before.get("metadata", MISSING)
        _check(_META, value["metadata"], then, (path, "metadata"), problems)
    elif node.embedded:
        _check_embedded(value, path, problems)


def _check_embedded(value: dict[str, Json], path: Path, problems: _Problems) -> None:
    for name in ("apiVersion", "kind"):
        if name not in value:
            problems.add((path, name), "Required value")
        elif not isinstance(value[name], str):
            problems.add((path, name), invalid(value[name], "must be a string"))
        elif not value[name]:
            problems.add((path, name), invalid("", "must not be empty"))
    if value.get("metadata") is not None:
        _check(_META, value["metadata"], MISSING, (path, "metadata"), problems)


def _check_list(node: Structural, value: list[Json], old: Json | Missing, path: Path, problems: _Problems) -> None:
    items = node.items
    if items is not None:
        before = by_keys(node, old) if node.list_type == "map" and isinstance(old, list) else {}
        for index, item in enumerate(value):
            if type(item) is items.plain:
                continue
            then = before.get(keys_of(node, item), MISSING) if before else MISSING
            _check(items, item, then, (path, index), problems)
    if node.list_type == "set":
        _check_unique(value, [identity(item) for item in value], path, problems)
    elif node.list_type == "map" and all(type(item) is dict for item in value):
        shown = [{name: item[name] for name in node.keys if name in item} for item in value]
        _check_unique(shown, [keys_of(node, item) for item in value], path, problems)


def _check_unique(shown: list[Json], identities: list[Any], path: Path, problems: _Problems) -> None:
    if len(set(identities)) == len(identities):
        return
    seen: dict[Any, int] = {}
    for index, key in enumerate(identities):
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 2:  # the third of a kind says nothing new
            problems.add((path, index), f"Duplicate value: {quoted(shown[index])}")


def _check_logic(node: Structural, value: Json, path: Path, problems: _Problems) -> None:
    name = f'"{text(path)}" must'
    for word, branches in node.logic.items():
        failures: list[_Problems] = []
        for branch in branches:
            found = _Problems()
            _check(branch, value, MISSING, path, found)
            failures.append(found)
        valid = sum(not found for found in failures)
        nearest: _Problems = min(failures, key=len)
        detail = ""
        if word == "allOf" and valid < len(branches):
            some = "None validated" if valid == 0 else ""
            detail = f"{name} validate all the schemas (allOf). {some}".rstrip()
            for found in failures:
                problems.update(found)
        elif word == "anyOf" and not valid:
            detail = f"{name} validate at least one schema (anyOf)"
            problems.update(nearest)
        elif word == "oneOf" and not valid:
            detail = f"{name} validate one and only one schema (oneOf). Found none valid"
            problems.update(nearest)
        elif word == "oneOf" and valid > 1:
            detail = f"{name} validate one and only one schema (oneOf). Found {valid} valid alternatives"
        elif word == "not" and valid:
            detail = f"{name} not validate the schema (not)"
        if detail:
            problems.add(path, invalid("", detail))


# --- admit


def admit(
    schema: OpenAPI | Structural, obj: Object, *, old: Object | None = None, unchecked: Unchecked | None = None
) -> Object:
    """What the API server would store of `obj`: a new object, defaulted and pruned.

    `old` is the stored object in case of an update.  The object's status is judged with the rest; which parts
    of it a request may write is the store's business.  `unchecked` takes the rules that could not be asked.

    Raises:
        Rejected: it is not valid; all problems, sorted, in the API server's words.
    """
    root = compiled(schema)
    admitted = _object(_shaped(root, obj, True, []))
    problems = _problems(root, admitted, MISSING if old is None else old, unchecked)
    if problems:
        raise _rejected(obj, problems)
    return admitted


def _rejected(obj: Object, problems: _Problems) -> Rejected:
    found = _listed(problems)
    listed = str(found[0]) if len(found) == 1 else f"[{', '.join(map(str, found))}]"
    group = group_of(obj.get("apiVersion") or "")
    kind = f"{obj.get('kind')}.{group}" if group else f"{obj.get('kind')}"
    name = meta(obj).get("name") or meta(obj).get("generateName") or ""
    return Rejected(f'{kind} "{name}" is invalid: {listed}', mend=mends(found), field=found[0].path.lstrip("."))


# --- look up


def lookup(schema: OpenAPI | Structural, segments: Iterable[str | int]) -> OpenAPI:
    """The schema of the field at a path; `ANYTHING` where the schema allows every field.

    A segment is a field's name, an index, or "*" for every item or entry.  The root's metadata is known even if
    its schema doesn't name it.

    Raises:
        InvalidInput: the schema has no such field, or can't be walked into there.
    """
    openapi = schema.openapi if isinstance(schema, Structural) else schema
    path: Path = None
    is_object = True  # the root, and every embedded resource
    for segment in segments:
        if openapi is ANYTHING:
            return ANYTHING
        openapi = _step(openapi, segment, path, is_object=is_object)
        path = (path, segment)
        is_object = bool(openapi.get("x-kubernetes-embedded-resource"))
    return openapi


def _step(openapi: OpenAPI, segment: str | int, path: Path, *, is_object: bool) -> OpenAPI:
    properties: Mapping[str, OpenAPI] = openapi.get("properties") or {}
    additional: OpenAPI | bool | None = openapi.get("additionalProperties")
    items: OpenAPI | None = openapi.get("items")
    if is_object and segment in TYPE_META:
        named = properties.get(str(segment))
        return _with_metadata(named) if segment == "metadata" else named or STRING
    if items is not None and (isinstance(segment, int) or segment == "*"):
        return items
    if isinstance(segment, str) and segment in properties:
        return properties[segment]
    if isinstance(segment, str) and additional:
        return ANYTHING if additional is True else additional
    if openapi.get("x-kubernetes-preserve-unknown-fields"):
        return ANYTHING
    place = text(path) if path is not None else "the object"
    kind = openapi.get("type") or ("integer or string" if openapi.get("x-kubernetes-int-or-string") else "value")
    if kind == "object" and isinstance(segment, str):
        raise InvalidInput(f'{place} has no field "{segment}"', mend=did_you_mean(segment, properties))
    wanted = f"index {segment}" if isinstance(segment, int) else f'field "{segment}"'
    raise InvalidInput(f"{place} is of type {kind}: it has no {wanted}")


def _with_metadata(named: OpenAPI | None) -> OpenAPI:
    if not named:
        return OBJECT_META
    return {**OBJECT_META, "properties": {**OBJECT_META["properties"], **(named.get("properties") or {})}}
