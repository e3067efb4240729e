"""What counts as equal: a desired value beside one that AWS shows.

What the spec leaves out is never a difference, at any depth.  A kind file names the comparison of a field; the rest is compared as it is.
Source of the rules: the field tables of provider-upjet-aws 75a4c57.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from groundplane.aws import judging
from groundplane.aws.convert import text, whole
from groundplane.aws.grammar import SchemaField
from groundplane.core.objects import Json


def is_empty(value: Json) -> bool:
    """What AWS and a spec may both leave out: null, false, 0, "", nothing in it."""
    return not value


def equal(comparison: str, desired: Json, observed: Json) -> bool:
    """Whether what is observed is what is desired, in the way that this kind of value is compared."""
    if is_empty(desired) and is_empty(observed):
        return True
    if desired is None or observed is None:
        return False
    return _COMPARISONS[comparison](desired, observed)


def covers(desired: Json, observed: Json, field: SchemaField) -> bool:
    """Whether what is observed is what is desired, where the desired says anything: what it leaves out is no difference, at any depth.

    >>> tag = SchemaField(type="object", fields={"key": SchemaField(type="string"), "value": SchemaField(type="string")})
    >>> covers({"key": "a"}, {"key": "a", "value": "b"}, tag)
    True
    """
    if is_empty(desired) and is_empty(observed):
        return True
    if field.compare not in (None, "set", "list") or field.type.removeprefix("[]") != "object":
        return equal(field.comparison, desired, observed)
    wanted, found = _listed(desired), _listed(observed)
    if not field.is_many:
        return len(wanted) <= 1 and _has(wanted[0] if wanted else {}, found[0] if found else {}, field)
    if len(wanted) != len(found):
        return False
    if field.compare == "list":
        return all(_has(one, other, field) for one, other in zip(wanted, found, strict=True))
    gone, new = entries(wanted, found, field)
    return not gone and not new


def as_far_as(desired: Json, observed: Json, field: SchemaField) -> Json:
    """What is observed, where the desired says anything; the rest is no difference.

    >>> tag = SchemaField(type="object", fields={"key": SchemaField(type="string"), "value": SchemaField(type="string")})
    >>> as_far_as({"key": "a"}, {"key": "b", "value": "c"}, tag)
    {'key': 'b'}
    """
    if isinstance(desired, list) and isinstance(observed, list) and len(desired) == len(observed):
        return [as_far_as(one, other, field) for one, other in zip(desired, observed, strict=True)]
    if not (field.fields and isinstance(desired, Mapping) and isinstance(observed, Mapping)):
        return observed
    return {
        name: as_far_as(desired[name], value, field.fields[name]) if name in field.fields else value
        for name, value in observed.items()
        if name not in field.fields or desired.get(name) is not None
    }


def entries(wanted: Json, found: Json, field: SchemaField) -> tuple[list[Json], list[Json]]:
    """What is too much in a list that was found, and what is missing or other: by the entries' keys, else by what they say.

    >>> entries(["a", "b"], ["b", "c"], SchemaField(type="[]string"))
    (['c'], ['a'])
    """
    left = list(found)
    new = []
    for one in sorted(wanted, key=lambda one: -len(one) if isinstance(one, Mapping) else 0):
        match = next((other for other in left if _has(one, other, field)), None)
        if match is None:
            new.append(one)
        else:
            left.remove(match)
    if field.key:
        keys = [_key(one, field) for one in new]
        left = [other for other in left if _key(other, field) not in keys]
    return left, new


def _key(entry: Json, field: SchemaField) -> list[str]:
    return [text(entry.get(name) or "").lower() for name in field.key]


def _has(desired: Json, observed: Json, field: SchemaField) -> bool:
    """Whether an entry of a list, or an object, has what is desired of it."""
    if not isinstance(desired, Mapping) or not isinstance(observed, Mapping):
        return equal("exact", desired, observed)
    if not field.fields:
        return _exact(desired, observed)
    if desired.get("enabled") is False and not observed.get("enabled"):
        return True  # off it is: AWS forgets all else that was said of it
    return all(
        covers(value, observed.get(name), field.fields[name])
        for name, value in desired.items()
        if value is not None and name in field.fields
    )


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _exact(desired: Json, observed: Json) -> bool:
    return bool(canonical(desired) == canonical(observed)) or (_is_json(desired) and _json(desired, observed))


def _is_json(value: Json) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("{", "["))


def _ci(desired: Json, observed: Json) -> bool:
    """Whatever the case: AWS keeps it in lower case; of a list, the order doesn't matter either."""
    if isinstance(desired, list) and isinstance(observed, list):
        return {text(entry).lower() for entry in desired} == {text(entry).lower() for entry in observed}
    return text(desired).lower() == text(observed).lower()


def _set(desired: Json, observed: Json) -> bool:
    return _sorted(desired) == _sorted(observed)


def _sorted(values: Json) -> list[str]:
    return sorted({json.dumps(canonical(_document(value)), sort_keys=True) for value in values})


def _document(value: Json) -> Json:
    """A value whose texts that are JSON objects are read: policies inside of lists of objects."""
    if isinstance(value, Mapping):
        return {key: _document(entry) for key, entry in value.items()}
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return policy(json.loads(value))
        except judging.NO_JSON:
            return value
    return value


def _version(desired: Json, observed: Json) -> bool:
    """A prefix counts: "15" is "15.7"."""
    return str(observed) == str(desired) or str(observed).startswith(f"{desired}.")


def are_defaults(wanted: Json, found: Json) -> bool:
    """Whether both are groups of parameters or options that AWS makes for an engine and a version, and gives to what has no other.

    >>> are_defaults("default.redis6.x", "default.redis7"), are_defaults("default.redis7", "default.redis7.cluster.on")
    (True, False)
    """
    names = [str(name or "") for name in (wanted, found)]
    return all(name.startswith("default") for name in names) and len({name.endswith(".on") for name in names}) == 1


def is_older(wanted: str, live: str) -> bool:
    """Whether a version comes before another, as far as it says.

    >>> is_older("7.0", "7.1.2"), is_older("7", "7.1.2")
    (True, False)
    """
    key = version_key(wanted)
    return key < version_key(live)[: len(key)]


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """For comparing versions part by part, numbers numerically.

    >>> version_key("15.10") > version_key("15.9")
    True
    """
    parts = re.split(r"[.\-]", version)
    return tuple((int(part), "") if re.fullmatch(r"[0-9]{1,9}", part) else (-1, part) for part in parts)


def _json(desired: Json, observed: Json) -> bool:
    return _same(canonical, desired, observed)


def _json_text(desired: Json, observed: Json) -> bool:
    """JSON in which a number, or a boolean, may be a text."""
    return _same(_texts, desired, observed)


def _texts(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _texts(entry) for key, entry in value.items() if entry is not None}
    return [_texts(entry) for entry in value] if isinstance(value, list) else text(value)


def _parsed(value: Json) -> Json:
    return json.loads(value) if isinstance(value, str) else value


def _policy(desired: Json, observed: Json) -> bool:
    return _same(policy, desired, observed)


def _same(form: Callable[[Json], Json], desired: Json, observed: Json) -> bool:
    """Whether two values, or JSON texts, have one form; a text that is no JSON means itself."""
    try:
        return bool(form(_parsed(desired)) == form(_parsed(observed)))
    except judging.NO_JSON:
        return bool(desired == observed)


def policy(document: Json) -> Json:
    """An IAM policy in the one form that its many spellings mean.

    Order of keys and lists, a single value for a list of one, an account for its root ARN, the Version
    that is the default: none of them matters.
    """
    if not isinstance(document, Mapping):
        return document
    statements = document.get("Statement") or []
    if isinstance(statements, Mapping):
        statements = [statements]
    shaped = [_statement(statement) for statement in statements if isinstance(statement, Mapping)]
    return {
        "Version": document.get("Version", "2008-10-17"),
        "Statement": sorted(shaped, key=lambda statement: json.dumps(statement, sort_keys=True)),
        **({"Id": document["Id"]} if "Id" in document else {}),
    }


def _statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in statement.items():
        if key in ("Principal", "NotPrincipal"):
            names = value if isinstance(value, Mapping) else {"AWS": value}
            result[key] = {
                name: sorted({_principal(name, text(entry)) for entry in _list(entries)})
                for name, entries in names.items()
            }
        elif key == "Condition" and _is_condition(value):
            result[key] = {
                operator: {name: sorted({text(entry) for entry in _list(entries)}) for name, entries in test.items()}
                for operator, test in value.items()
            }
        elif key in ("Sid", "Effect"):
            if value:
                result[key] = value
        elif key in ("Action", "NotAction"):
            result[key] = sorted({str(entry).lower() for entry in _list(value)})
        else:
            result[key] = sorted({str(entry) for entry in _list(value)})
    return result


def _is_condition(value: Json) -> bool:
    return isinstance(value, Mapping) and all(isinstance(test, Mapping) for test in value.values())


def _principal(kind: str, value: str) -> str:
    root = re.fullmatch(r"arn:[a-z-]+:iam::(\d{12}):root", value) if kind == "AWS" else None
    return root.group(1) if root else value


def _list(value: Json) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _window(desired: Json, observed: Json) -> bool:
    """Maintenance and backup windows: case and blanks don't matter."""
    return re.sub(r"\s", "", text(desired)).lower() == re.sub(r"\s", "", text(observed)).lower()


def _cidr(desired: Json, observed: Json) -> bool:
    try:
        return ipaddress.ip_network(desired, strict=False) == ipaddress.ip_network(observed, strict=False)
    except ValueError:
        return bool(desired == observed)


def _kms(desired: Json, observed: Json) -> bool:
    """A key by its id or its ARN; an alias can't be told without asking KMS, and is believed."""
    if "alias/" in text(desired) and "alias/" not in text(observed):
        return True
    return text(desired).rpartition("/")[2] == text(observed).rpartition("/")[2]


def _arn(desired: Json, observed: Json) -> bool:
    """An identifier by itself is the one in an ARN, whatever the case; of two ARNs all parts count."""
    one, other = text(desired).lower(), text(observed).lower()
    if one.startswith("arn:") and other.startswith("arn:"):
        return one == other
    return one.rpartition(":")[2] == other.rpartition(":")[2]


def _time(desired: Json, observed: Json) -> bool:
    """A moment in two spellings: `2030-01-01` is midnight in UTC."""
    try:
        return _moment(text(desired)) == _moment(text(observed))
    except ValueError:
        return bool(desired == observed)


def _moment(value: str) -> datetime:
    found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def canonical(value: Json) -> Json:
    """Without nulls, whole floats as ints, a list of one object as that object.

    Such a list is how earlier API versions write an object that may occur once.  They have it as a field's value, never as an
    item of a list: there it stays, so that what is canonical stays as it is.

    >>> canonical([{"a": 1.0, "b": None}]), canonical([[{}]])
    ({'a': 1}, [[{}]])
    """
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
        return canonical(value[0])
    if isinstance(value, list):
        return _items(value)
    if isinstance(value, Mapping):
        return {key: canonical(entry) for key, entry in value.items() if entry is not None}
    return whole(value)


def _items(values: list[Json]) -> list[Json]:
    return [_items(entry) if isinstance(entry, list) else canonical(entry) for entry in values]


_COMPARISONS: dict[str, Callable[[Json, Json], bool]] = {
    "exact": _exact,
    "list": _exact,
    "ci": _ci,
    "set": _set,
    "version": _version,
    "json": _json,
    "json-list": _json,
    "json-text": _json_text,
    "policy": _policy,
    "window": _window,
    "cidr": _cidr,
    "kms": _kms,
    "arn": _arn,
    "time": _time,
    "subset": lambda desired, observed: set(_sorted(desired)) <= set(_sorted(observed)),
    "any": lambda desired, observed: True,
}
