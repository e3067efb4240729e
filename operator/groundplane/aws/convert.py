"""Desired values to AWS's shapes and back; `compare.py` says what counts as equal.

The way out is guided by botocore's shapes: members are matched by normalised name, a list of one is unwrapped
for a structure, a scalar wrapped for a list, numbers become integers where AWS wants integers.  The way back is
guided by the kind file's types.  Source of the rules: the field tables of provider-upjet-aws 75a4c57.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.validate import ParamValidator

from groundplane.aws import judging
from groundplane.aws.grammar import KindField, Path, SchemaField, siblings
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, at, did_you_mean, shown

PART = re.compile(r"\[\d+\]|[^.\[\]]+")  # of a parameter's place

Shape = Any  # botocore.model.Shape; botocore has no types


def whole(value: Json) -> Json:
    """A number without a fraction as an int; all else as it is.

    >>> whole(20.0), whole(0.5)
    (20, 0.5)
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


def normalised(name: str) -> str:
    """What two spellings of a member have in common.

    >>> normalised("dbInstanceIdentifier") == normalised("DBInstanceId")
    True
    """
    return re.sub(r"[^a-z0-9]", "", name.lower()).replace("identifier", "id")


def camel(name: str) -> str:
    """AWS's member name in Kubernetes' style.

    >>> camel("SecretArn"), camel("DBName"), camel("KMSKeyId")
    ('secretArn', 'dbName', 'kmsKeyId')
    """
    head = re.match(r"[A-Z]+(?![a-z])|[A-Z]", name)
    return head.group().lower() + name[head.end() :] if head else name


# --- from the spec --------------------------------------------------------------------------------

WANTED = {
    "string": ("a text", "write a text: orders"),
    "number": ("a number", "write a number: 20"),
    "boolean": ("true or false", "write true or false"),
    "object": ("an object", "write an object: {name: value}"),
    "map[string]": ("a map of texts", "write a map of texts: {team: orders}"),
}


def fitted(value: Json, field: SchemaField) -> Json:
    """A value of the spec in its field's type and in v1beta1 style: an object where a list of one is meant becomes that list.

    An entry of a set that says the same as another one counts once.

    >>> block = SchemaField(type="[]object", single=True, fields={"days": SchemaField(type="number")})
    >>> fitted({"rule": {"days": "1"}}, SchemaField(type="[]object", single=True, fields={"rule": block}))
    [{'rule': [{'days': 1}]}]

    Raises:
        InvalidInput: it has another type, or a member that the field doesn't have.
    """
    if isinstance(field, KindField) and field.formerly is not None and isinstance(value, list | Mapping):
        return fitted(value, field.formerly)
    if not field.type.startswith("[]"):
        return _one(value, field.type, field)
    values = value if isinstance(value, list) else [value]
    if field.single and len(values) > 1:
        raise InvalidInput(f"takes at most one element, got {len(values)}", mend="remove all but one")
    found = [_one(entry, field.type[2:], field) for entry in values]
    if field.compare == "list" or field.repeats:
        return found
    return [each for place, each in enumerate(found) if each not in found[:place]]


def _one(value: Json, kind: str, field: SchemaField) -> Json:
    is_scalar = isinstance(value, str | int | float)
    if kind == "string" and is_scalar:
        return text(value)
    if kind == "number" and is_scalar and not isinstance(value, bool) and _is_finite(value):
        return whole(float(value)) if isinstance(value, str) else whole(value)
    if kind == "boolean" and (isinstance(value, bool) or value in ("true", "false")):
        return value in (True, "true")
    if kind == "map[string]" and isinstance(value, Mapping):
        return {
            str(key): _at(key, entry, SchemaField(type="string")) for key, entry in value.items() if entry is not None
        }
    if kind == "object" and isinstance(value, Mapping):
        members = field.fields
        beside = {name for key, member in members.items() if member.reference for name in siblings(key, member)}
        unknown = sorted({*value} - {*members} - beside) if members else []
        if unknown:
            raise InvalidInput(f"unknown field {shown(unknown[0])}", mend=did_you_mean(unknown[0], members))
        return {
            key: _at(key, entry, members[key]) if key in members and entry is not None else entry
            for key, entry in value.items()
            if key not in beside
        }
    what, mend = WANTED[kind]
    is_secret = isinstance(field, KindField) and bool(field.secret)  # somebody may have put the password itself there
    raise InvalidInput(f"wants {what}, got {'something else' if is_secret else shown(value)}", mend=mend)


def _at(key: str, value: Json, field: SchemaField) -> Json:
    with at(key):
        return fitted(value, field)


def _is_finite(value: str | float) -> bool:
    return (not isinstance(value, str) or _is_number(value)) and math.isfinite(float(value))


# --- to AWS ---------------------------------------------------------------------------------------


ANY = SchemaField(type="object")
PAIRS = (("Key", "Value"), ("TagKey", "TagValue"), ("Name", "Value"))  # members of an entry of a map that is a list


def to_aws(value: Json, shape: Shape, field: SchemaField = ANY) -> Any:
    """The value as the shape wants it; the field tells the members that AWS calls otherwise.

    Raises:
        InvalidInput: a fraction where AWS wants an integer, an unknown member, a wrong type.
    """
    kind = shape.type_name
    if kind == "structure":
        return _structure(value, shape, field)
    if kind == "list":
        if isinstance(value, Mapping) and field.type == "map[string]" and (pair := _pair(shape.member)):
            return [{pair[0]: name, pair[1]: text(entry)} for name, entry in sorted(value.items())]
        items = value if isinstance(value, list) else [value]
        return judging.bounded([*_entries(items, shape.member, field)], shape)
    if kind == "map":
        if not isinstance(value, Mapping):
            raise InvalidInput(f"wants an object, got {shown(value)}", mend=WANTED["object"][1])
        return {key: to_aws(entry, shape.value) for key, entry in value.items()}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return judging.bounded(_scalar(value, kind), shape)


def _entries(items: list[Json], shape: Shape, field: SchemaField) -> Iterator[Any]:
    for place, item in enumerate(items):
        with at(*([f"[{place}]"] if len(items) > 1 else [])):
            yield to_aws(item, shape, field)


def _pair(shape: Shape) -> tuple[str, str] | None:
    members = shape.members if shape.type_name == "structure" else {}
    return next((pair for pair in PAIRS if set(pair) <= set(members)), None)


def _structure(value: Json, shape: Shape, field: SchemaField) -> dict[str, Any]:
    if value is True and not shape.members:  # it is said by being there
        return {}
    if isinstance(value, list):
        if len(value) > 1:
            raise InvalidInput(f"takes at most one element, got {len(value)}", mend="remove all but one")
        value = value[0] if value else {}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"wants an object, got {shown(value)}", mend=WANTED["object"][1])
    members = {normalised(name): name for name in shape.members}
    result: dict[str, Any] = {}
    for key, entry in value.items():
        if entry is None:
            continue
        rule = field.fields.get(key, ANY)
        name = rule.aws or members.get(normalised(key))
        if name is None:
            raise InvalidInput(f"unknown field {key}", mend=did_you_mean(key, map(camel, shape.members)))
        with at(key):
            _put(result, name, entry, shape, rule)
    return result


def _put(parameters: dict[str, Any], path: str, value: Json, shape: Shape, field: SchemaField) -> Shape:
    """Put a converted value at a dotted path; its shape, None if there is none."""
    *parents, last = path.split(".")
    target = parameters
    for name in parents:
        shape = member(shape, name)
        if shape is not None and shape.type_name == "list":
            entries = target.setdefault(name, [{}])
            target = entries[0]
        else:
            target = target.setdefault(name, {})
    leaf = member(shape, last)
    if leaf is None:
        raise InvalidInput(f"AWS has no parameter {path}")
    target[last] = to_aws(value, leaf, field)
    if refused := ParamValidator().validate(target[last], leaf).generate_report():
        found = judging.unfit(refused)
        found.where = spelt("".join(found.where), field)
        raise found
    return leaf


def spelt(path: str, field: SchemaField) -> tuple[str, ...]:
    """The place of a parameter in the spec, from its place in AWS's shape; () for the field itself.

    >>> inner = SchemaField(type="[]object", fields={"days": SchemaField(type="number", aws="ExpirationInDays")})
    >>> spelt("[0].Expiration.ExpirationInDays", SchemaField(type="[]object", fields={"expiration": inner}))
    ('[0].expiration.days',)
    """
    found = []
    for part in PART.findall(path):
        if not part.startswith("["):
            names = {normalised(rule.aws or key): key for key, rule in field.fields.items()}
            name = names.get(normalised(part)) or camel(part)
            field = field.fields.get(name, ANY)
            part = f".{name}"
        found.append(part)
    return ("".join(found).lstrip("."),) if found else ()


def _scalar(value: Json, kind: str) -> Any:
    if kind in ("integer", "long"):
        number = whole(float(value)) if isinstance(value, str) and _is_number(value) else whole(value)
        if isinstance(number, bool) or not isinstance(number, int):
            raise InvalidInput(f"wants a whole number, got {shown(value)}", mend="write one: 20")
        return number
    if kind in ("float", "double"):
        if isinstance(value, bool) or not (isinstance(value, int | float) or _is_number(value)):
            raise InvalidInput(f"wants a number, got {shown(value)}", mend="write one: 0.5")
        return float(value)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise InvalidInput(f"wants true or false, got {shown(value)}", mend="write one of the two")
    if kind == "blob":
        return value.encode() if isinstance(value, str) else value
    if isinstance(value, Mapping | list):
        raise InvalidInput(f"wants a single value, got {shown(value)}", mend="write one")
    if isinstance(value, float) and not value.is_integer():  # attributes that AWS takes as texts
        raise InvalidInput(f"wants a whole number, got {shown(value)}", mend="write one: 20")
    return text(value)  # string, character; a timestamp is parsed by botocore


def _is_number(value: Json) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d+)?", value) is not None


def text(value: Json) -> str:
    """A scalar as AWS spells it in a text.

    >>> text(True), text(20.0), text("a")
    ('true', '20', 'a')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(whole(value))


def member(shape: Shape, name: str) -> Shape | None:
    """The member of a structure or a map; None if there is none."""
    if shape is None:
        return None
    if shape.type_name == "structure":
        return shape.members.get(name)
    if shape.type_name == "list":
        return member(shape.member, name)
    return shape.value if shape.type_name == "map" else None


def place(parameters: dict[str, Any], path: str, value: Json, shape: Shape, field: SchemaField = ANY) -> None:
    """Put a converted value at a dotted path of a call's parameters, in place."""
    _put(parameters, path, value, shape, field)


# --- from AWS -------------------------------------------------------------------------------------


def from_aws(value: Any, field: SchemaField) -> Json:
    """What AWS says, in the type that the field has in v1beta1."""
    if value is None:
        return None
    kind = field.type
    if kind == "map[string]" and isinstance(value, list | tuple):
        return _map_of(value)
    if kind.startswith("[]"):
        items = list(value) if isinstance(value, list | tuple) else [value]
        return [_element(item, kind[2:], field) for item in items if item is not None]
    if kind == "object" and isinstance(value, list | tuple):
        value = value[0] if value else {}
    return _element(value, kind, field)


def _map_of(values: Any) -> dict[str, str]:
    """A map that AWS writes as a list of pairs."""
    found = {}
    for entry in values:
        name, value = next((pair for pair in PAIRS if pair[0] in entry), PAIRS[0])
        found[str(entry.get(name))] = text(entry.get(value) or "")
    return found


def _element(value: Any, kind: str, field: SchemaField) -> Json:
    if kind == "object":
        return _object(value, field)
    if kind == "map[string]":
        return {key: text(entry) for key, entry in value.items()}
    if kind == "number":
        return whole(float(value)) if isinstance(value, str) else whole(value)
    if kind == "boolean":
        return value == "true" if isinstance(value, str) else bool(value)
    if isinstance(value, Mapping | list):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else text(value)


def _object(value: Any, field: SchemaField) -> Json:
    if not isinstance(value, Mapping):
        return plain(value)
    if not field.fields:
        return plain(value)
    by_name = {normalised(key): entry for key, entry in value.items()}
    found = {
        name: _member(value, member_.aws) or by_name.get(normalised(name)) for name, member_ in field.fields.items()
    }
    return {name: from_aws(entry, field.fields[name]) for name, entry in found.items() if entry is not None}


def shaped(value: Json, field: SchemaField) -> Json:
    """A value with each field that may occur once as an object, as later API versions have it.

    >>> block = SchemaField(type="[]object", single=True, fields={"days": SchemaField(type="number")})
    >>> shaped([{"rule": [{"days": 1}]}], SchemaField(type="[]object", single=True, fields={"rule": block}))
    {'rule': {'days': 1}}
    """
    if isinstance(value, list):
        entries = [shaped(entry, field) for entry in value]
        return (entries[0] if entries else None) if field.single else entries
    if isinstance(value, Mapping) and field.fields:
        members = field.fields
        return {name: shaped(entry, members[name]) if name in members else entry for name, entry in value.items()}
    return value


def _member(value: Any, path: str) -> Any:
    return Path(path).search(value) if path else None


def plain(value: Any) -> Json:
    """Any answer of AWS as JSON, member names in Kubernetes' style."""
    if isinstance(value, Mapping):
        return {camel(key): plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else whole(value)
