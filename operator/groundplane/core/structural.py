"""What a structural schema says, compiled: its tree, its limits and formats, and the words for what is wrong.

A schema (OpenAPI v3 as a CustomResourceDefinition carries it) stays plain data; `compiled` turns it into a
`Structural` once.  `schema.py` applies it to objects; `rules.py` asks its CEL rules.

Source: Kubernetes 1.34, apiextensions-apiserver pkg/apiserver/validation and kube-openapi pkg/validation.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cache
from typing import Any, Final

from groundplane.core.objects import Json
from groundplane.errors import SHOWN, InvalidInput

OpenAPI = Mapping[str, Any]  # a structural schema as a CRD version has it under schema.openAPIV3Schema

Path = tuple[Any, ...] | None  # (parent, name or index); None is the root.  Linked: cheap to extend, rarely shown.

ANYTHING: OpenAPI = {"x-kubernetes-preserve-unknown-fields": True}
"""What `lookup` answers below a place where every field is allowed."""

TYPES = ("array", "boolean", "integer", "number", "object", "string")
TYPE_META = ("apiVersion", "kind", "metadata")
STRING: dict[str, Any] = {"type": "string"}
_STRINGS: OpenAPI = {"type": "object", "additionalProperties": STRING}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_INTEGER: OpenAPI = {"type": "integer", "format": "int64"}
OBJECT_META: OpenAPI = {
    "type": "object",
    "properties": {
        "name": STRING,
        "generateName": STRING,
        "namespace": STRING,
        "selfLink": STRING,
        "uid": STRING,
        "resourceVersion": STRING,
        "generation": _INTEGER,
        "creationTimestamp": _TIME | {"nullable": True},
        "deletionTimestamp": _TIME | {"nullable": True},
        "deletionGracePeriodSeconds": _INTEGER,
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "ownerReferences": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": dict.fromkeys(("apiVersion", "kind", "name", "uid"), STRING)
                | {name: {"type": "boolean"} for name in ("controller", "blockOwnerDeletion")},
            },
        },
        "finalizers": {"type": "array", "items": STRING},
        "managedFields": {"type": "array", "items": {"type": "object", **ANYTHING}},
    },
}
"""Every object's metadata, whatever its schema says: fields beyond these are dropped."""


class Missing:
    """There is no such value; None would be JSON's null."""


MISSING: Final = Missing()


# --- compiling


_PYTHON: dict[str, type] = {"array": list, "boolean": bool, "integer": int, "object": dict, "string": str}


class Structural:
    """A schema, compiled: one node of the tree, its checks prepared.  Immutable; share it freely.

    Shortcuts: `python` is the Python type of valid values; `plain` is that too, where every value of it is valid; `ruled`
    says that there are rules at the node or below, `compares` that some of them read `oldSelf`.  `view` is `rules.py`'s.
    """

    __slots__ = (
        "additional",
        "checks",
        "compares",
        "default",
        "embedded",
        "enum",
        "int_or_string",
        "items",
        "keys",
        "list_type",
        "logic",
        "nullable",
        "openapi",
        "plain",
        "preserve",
        "properties",
        "python",
        "required",
        "ruled",
        "rules",
        "type",
        "view",
    )

    def __init__(self, openapi: OpenAPI) -> None:
        """Raises InvalidInput for a pattern that is not a regular expression (RE2)."""
        self.openapi = openapi
        self.type: str = openapi.get("type") or ""
        self.nullable: bool = bool(openapi.get("nullable"))
        self.default: Json = openapi.get("default", MISSING)
        self.preserve: bool = bool(openapi.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded: bool = bool(openapi.get("x-kubernetes-embedded-resource"))
        self.int_or_string: bool = bool(openapi.get("x-kubernetes-int-or-string"))
        self.properties = {name: Structural(child) for name, child in (openapi.get("properties") or {}).items()}
        additional = openapi.get("additionalProperties")
        self.additional: Structural | None = None
        if additional is True:
            self.additional = Structural({"nullable": True})
        elif isinstance(additional, Mapping):
            self.additional = Structural(additional)
        self.items = Structural(openapi["items"]) if isinstance(openapi.get("items"), Mapping) else None
        self.required: tuple[str, ...] = tuple(openapi.get("required") or ())
        self.enum: tuple[Json, ...] = tuple(openapi.get("enum") or ())
        self.list_type: str = openapi.get("x-kubernetes-list-type") or ""
        self.keys: tuple[str, ...] = tuple(openapi.get("x-kubernetes-list-map-keys") or ())
        self.checks: Mapping[type, tuple[_Check, ...]] = _checks(openapi)
        self.logic: Mapping[str, tuple[Structural, ...]] = _logic(openapi)
        self.rules: tuple[Mapping[str, Any], ...] = tuple(openapi.get("x-kubernetes-validations") or ())
        below = [*self.properties.values(), *filter(None, (self.additional, self.items))]
        self.ruled: bool = bool(self.rules) or any(child.ruled for child in below)
        self.compares: bool = self.ruled and (
            any("oldSelf" in str(rule.get("rule")) for rule in self.rules) or any(child.compares for child in below)
        )
        self.view: Any = None
        self.python = _PYTHON.get(self.type)
        is_bare = not (self.enum or self.logic or self.rules or self.checks)
        self.plain = self.python if is_bare and self.python not in (dict, list) else None


def compiled(schema: OpenAPI | Structural) -> Structural:
    """Compile a schema once; a compiled one is returned as it is."""
    return schema if isinstance(schema, Structural) else Structural(schema)


_Check = Callable[[Any, Path], str]  # (value, path) → the problem without its path, or ""


_NOTHING: Final[Mapping[Any, Any]] = {}  # shared by all nodes without limits, or without logic: nearly all
_LOGIC: Final = ("allOf", "anyOf", "oneOf")
_LIMITS: Final = frozenset(
    f"{least_or_most}{what}" for least_or_most in ("min", "max") for what in ("Length", "Items", "Properties", "imum")
) | {"pattern", "format", "multipleOf", "uniqueItems"}  # what a check is made of


def _logic(openapi: OpenAPI) -> Mapping[str, tuple[Structural, ...]]:
    """The branches of allOf, anyOf, oneOf and not, of those that are there."""
    found = {name: tuple(Structural(branch) for branch in openapi[name]) for name in _LOGIC if openapi.get(name)}
    if isinstance(openapi.get("not"), Mapping):
        found["not"] = (Structural(openapi["not"]),)
    return found or _NOTHING


def _checks(openapi: OpenAPI) -> Mapping[type, tuple[_Check, ...]]:
    """The limits that a schema sets, by the Python type of the values they apply to."""
    if _LIMITS.isdisjoint(openapi):
        return _NOTHING
    numbers = [*_number_checks(openapi)]
    found = {
        str: (*_string_checks(openapi),),
        int: (*numbers,),
        float: (*numbers,),
        list: (*_size_checks(openapi, "Items", "items"),),
        dict: (*_size_checks(openapi, "Properties", "properties"),),
    }
    return {type_: checks for type_, checks in found.items() if checks}


def _string_checks(openapi: OpenAPI) -> Iterable[_Check]:
    least, most = openapi.get("minLength"), openapi.get("maxLength")
    if least:
        yield (
            lambda v, p: (
                "" if len(v) >= least else invalid(v, f"{text(p)} in body should be at least {least} chars long")
            )
        )
    if most is not None:
        yield lambda v, p: "" if len(v) <= most else f"Too long: may not be more than {most} bytes"
    pattern = openapi.get("pattern")
    if pattern:
        wanted = expression(pattern)
        yield lambda v, p: "" if wanted.search(v) else invalid(v, f"{text(p)} in body should match '{pattern}'")
    name = openapi.get("format") or ""
    is_valid = FORMATS.get(name)
    if is_valid is not None:
        yield lambda v, p: "" if is_valid(v) else invalid(v, f"{text(p)} in body must be of type {name}: {quoted(v)}")


def expression(pattern: str) -> Any:
    import re2  # 2 MiB, and most schemas have no patterns

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise InvalidInput(f"pattern {quoted(pattern)} is no regular expression: {error}") from error


def _number_checks(openapi: OpenAPI) -> Iterable[_Check]:
    least, most, step = openapi.get("minimum"), openapi.get("maximum"), openapi.get("multipleOf")
    if least is not None and openapi.get("exclusiveMinimum"):
        yield lambda v, p: "" if v > least else invalid(v, f"{text(p)} in body should be greater than {least}")
    elif least is not None:
        yield (
            lambda v, p: (
                "" if v >= least else invalid(v, f"{text(p)} in body should be greater than or equal to {least}")
            )
        )
    if most is not None and openapi.get("exclusiveMaximum"):
        yield lambda v, p: "" if v < most else invalid(v, f"{text(p)} in body should be less than {most}")
    elif most is not None:
        yield lambda v, p: "" if v <= most else invalid(v, f"{text(p)} in body should be less than or equal to {most}")
    if step:
        yield (
            lambda v, p: (
                "" if (v / step).is_integer() else invalid(v, f"{text(p)} in body should be a multiple of {step}")
            )
        )


def _size_checks(openapi: OpenAPI, suffix: str, words: str) -> Iterable[_Check]:
    least, most = openapi.get(f"min{suffix}"), openapi.get(f"max{suffix}")
    if least:
        yield (
            lambda v, p: (
                "" if len(v) >= least else invalid(len(v), f"{text(p)} in body should have at least {least} {words}")
            )
        )
    if most is not None:
        yield (
            lambda v, p: (
                "" if len(v) <= most else f"Too many: {len(v)}: must have at most {most} item{'' if most == 1 else 's'}"
            )
        )
    if openapi.get("uniqueItems") and suffix == "Items":
        yield (
            lambda v, p: (
                ""
                if len({identity(i) for i in v}) == len(v)
                else invalid(v, f"{text(p)} in body shouldn't contain duplicates")
            )
        )


# --- formats: those that people get wrong; every other text passes


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = cache(lambda: expression(pattern))
    return lambda text: bool(compiled().search(text))


_is_clock = _like(r"^([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$")
_is_base64 = _like(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$")
_is_uuid = _like(r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$")
_is_duration = _like(
    r"^[+-]?(?:0|(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h)(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))*)$"
    r"|(?i)^\d+\s*(?:ns|nano|nanosecond|us|µs|micro|microsecond|ms|milli|millisecond|s|sec|second|m|min|minute"
    r"|h|hr|hour|d|day|w|wk|week)s?$"
)


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _is_date_time(text: str) -> bool:
    day, clock = text[:10], text[11:].upper()
    return text[10:11] in ("T", "t") and _is_date(day) and _is_clock(clock)


def _is_address(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


def _is_network(text: str) -> bool:
    try:
        return "/" in text and bool(ipaddress.ip_interface(text))
    except ValueError:
        return False


FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _is_date,
    "date-time": _is_date_time,
    "datetime": _is_date_time,
    "byte": _is_base64,
    "uuid": _is_uuid,
    "duration": _is_duration,
    "ipv4": _is_address(4),
    "ipv6": _is_address(6),
    "cidr": _is_network,
}


# --- the items of a list that is keyed


def keys_of(node: Structural, item: Json) -> Any:
    """What tells an item from the others: its keys' values."""
    return identity([item.get(name) for name in node.keys]) if isinstance(item, dict) else identity(item)


def by_keys(node: Structural, items: list[Json]) -> dict[Any, Json]:
    return {keys_of(node, item): item for item in items}


# --- words


class Entry(str):
    """The key of a map's entry in a path, told from a property's name where the API server does."""


def text(path: Path) -> str:
    parts: list[str] = []
    while path is not None:
        path, step = path
        parts.append(f"[{step}]" if isinstance(step, int | Entry) else f".{step}")
    return "".join(reversed(parts)).removeprefix(".") or "<root>"


def quoted(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def invalid(value: Json, detail: str) -> str:
    return f"Invalid value: {quoted(value)}: {detail}"


def type_of(value: Json) -> str:
    """JSON's name of a value's type; a whole float is an integer, one beyond 64 bits a number."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if -(2**63) <= value < 2**63 else "number"
    if isinstance(value, float):
        return "integer" if value.is_integer() and -(2**63) <= value < 2**63 else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def identity(value: Json) -> Any:
    """Something hashable that is equal for equal JSON values; true is not 1, but 1.0 is."""
    if isinstance(value, dict):
        return frozenset((name, identity(item)) for name, item in value.items())
    if isinstance(value, list):
        return tuple(identity(item) for item in value)
    return (isinstance(value, bool), value)
