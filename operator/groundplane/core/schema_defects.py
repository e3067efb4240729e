"""What is wrong with a schema itself: what keeps the API server from taking it into a CustomResourceDefinition, in its words.

Source: Kubernetes 1.34, apiextensions-apiserver pkg/apis/apiextensions/validation and pkg/apiserver/schema; every
vector was answered by a real kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from groundplane.core import rules, schema
from groundplane.core.objects import Json
from groundplane.core.structural import TYPES, OpenAPI, Structural, expression, invalid, quoted, type_of
from groundplane.errors import InvalidInput, did_you_mean

KEYS: Final = frozenset(
    [
        "$ref",
        "$schema",
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "default",
        "definitions",
        "dependencies",
        "description",
        "enum",
        "example",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "externalDocs",
        "format",
        "id",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "nullable",
        "oneOf",
        "pattern",
        "patternProperties",
        "properties",
        "required",
        "title",
        "type",
        "uniqueItems",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ]
)
"""All that a schema in a CRD can say: the fields of apiextensions.k8s.io/v1 JSONSchemaProps."""
_BY_NAME = ("properties", "patternProperties", "definitions", "dependencies")  # names of the author's choice → schemas
_WITHIN = ("items", "additionalProperties", "additionalItems", "not", "allOf", "anyOf", "oneOf")  # a schema, or several
_INTEGERS = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
_SHAPES: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {  # of a schema's own fields: JSON's names of their types
    "properties": (("object",), "an object"),
    "x-kubernetes-validations": (("array",), "an array"),
    **dict.fromkeys(
        ("allOf", "anyOf", "oneOf", "enum", "required", "x-kubernetes-list-map-keys"), (("array",), "an array")
    ),
    **dict.fromkeys(("type", "pattern", "description", "format", "x-kubernetes-list-type"), (("string",), "a string")),
    **dict.fromkeys(_INTEGERS, (("integer",), "an integer")),
    **dict.fromkeys(("maximum", "minimum", "multipleOf"), (("integer", "number"), "a number")),
    **dict.fromkeys(
        ("nullable", "exclusiveMaximum", "exclusiveMinimum", "uniqueItems"), (("boolean",), "true or false")
    ),
}
_ITEMS: Final = {  # of such arrays
    "required": ("string", "a string"),
    "x-kubernetes-list-map-keys": ("string", "a string"),
    "x-kubernetes-validations": ("object", "an object"),
}


def of(openapi: Json, where: str = "openAPIV3Schema", *, with_rules: bool = True) -> list[str]:
    """What keeps the API server from taking a schema into a CRD, sorted: types, arrays, patterns, defaults, CEL rules.

    Not all that the API server asks for: what authors get wrong.  Without rules it may be a part of an object's schema.
    """
    found: list[str] = []
    _defects(openapi, where, found, typed=True)
    if with_rules and not found:
        found += rules.mistakes(Structural(openapi), where)
    return sorted(found)


def without_foreign_keys(openapi: Json) -> Json:
    """A schema without the keys that the API server does not know and would refuse: `x-ui-order`, `readOnly` …

    They are other tools' and stay on the definition; a CRD made through a typed client, as upstream makes it, hasn't them
    either.

    >>> without_foreign_keys({"type": "object", "x-ui": 1, "properties": {"x-ui": {"type": "string", "x-order": 2}}})
    {'type': 'object', 'properties': {'x-ui': {'type': 'string'}}}
    """
    if isinstance(openapi, list):
        return [without_foreign_keys(branch) for branch in openapi]
    if not isinstance(openapi, Mapping):
        return openapi
    found: dict[str, Json] = {}
    for key, value in openapi.items():
        if key in _BY_NAME and isinstance(value, Mapping):
            found[key] = {name: without_foreign_keys(child) for name, child in value.items()}
        elif key in KEYS:
            found[key] = without_foreign_keys(value) if key in _WITHIN else value
    return found


def _misspelt(openapi: OpenAPI, where: str) -> list[str]:
    """Keys that would be left out although they were probably meant: `requierd`, `x-kubernetes-validation`."""
    known = {*KEYS, "examples"}  # a word of JSON Schema
    unknown = [key for key in openapi if key not in known and (key.startswith("x-kubernetes-") or key[:2] != "x-")]
    mends = {key: did_you_mean(key, KEYS) for key in unknown}
    return [f"{where}.{key}: unknown field, {mend}" for key, mend in mends.items() if mend.startswith("did you mean")]


def _misshapen(openapi: OpenAPI, where: str) -> list[str]:
    """The fields of one schema that are of another type than the API server can read."""
    found = []
    for name, value in openapi.items():
        types, words = _SHAPES.get(name, ((), ""))
        if types and value is not None and type_of(value) not in types:
            found.append(f"{where}.{name}: {invalid(value, f'must be {words}')}")
        elif name in _ITEMS and value is not None:
            type_, words = _ITEMS[name]
            wrong = [item for item in value if type_of(item) != type_]
            found += [f"{where}.{name}: {invalid(item, f'each must be {words}')}" for item in wrong]
    return found


def _defects(openapi: Json, where: str, found: list[str], *, typed: bool) -> None:
    """`typed`: outside of allOf, anyOf, oneOf and not, where every schema must say its type."""
    if not isinstance(openapi, Mapping):
        found.append(f"{where}: {invalid(openapi, 'must be a schema')}")
        return
    if misshapen := _misshapen(openapi, where):
        found.extend(misshapen)
        return
    found.extend(_misspelt(openapi, where))
    type_ = openapi.get("type") or ""
    open_ = openapi.get("x-kubernetes-int-or-string") or openapi.get("x-kubernetes-preserve-unknown-fields")
    if type_ and type_ not in TYPES:
        supported = ", ".join(quoted(name) for name in TYPES)
        found.append(f"{where}.type: Unsupported value: {quoted(type_)}: supported values: {supported}")
    if not type_ and not open_ and typed:
        found.append(f"{where}.type: Required value: must not be empty for specified object fields")
    if type_ == "array" and not openapi.get("items") and typed:
        found.append(f"{where}.items: Required value: must be specified")
    if openapi.get("x-kubernetes-validations") and not typed:
        found.append(f"{where}.x-kubernetes-validations: Forbidden: must be empty to be structural")
    if openapi.get("properties") and openapi.get("additionalProperties"):
        found.append(
            f"{where}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"
        )
    if openapi.get("pattern"):
        try:
            expression(openapi["pattern"])
        except InvalidInput as error:
            found.append(f"{where}.pattern: {invalid(openapi['pattern'], error.what)}")
    before = len(found)
    for name, child in (openapi.get("properties") or {}).items():
        _defects(child, f"{where}.properties[{name}]", found, typed=typed)
    if isinstance(openapi.get("additionalProperties"), Mapping):
        _defects(openapi["additionalProperties"], f"{where}.additionalProperties", found, typed=typed)
    if openapi.get("items") is not None:
        _defects(openapi["items"], f"{where}.items", found, typed=typed)
    for word in ("allOf", "anyOf", "oneOf"):
        for index, branch in enumerate(openapi.get(word) or ()):
            _defects(branch, f"{where}.{word}[{index}]", found, typed=False)
    if openapi.get("not") is not None:
        _defects(openapi["not"], f"{where}.not", found, typed=False)
    if "default" in openapi and len(found) == before and not open_ and type_ in TYPES:
        node = Structural(openapi)
        filled = schema.pruned(node, openapi["default"])
        found.extend(f"{where}.default: {problem}" for problem in schema.validate(node, filled))
