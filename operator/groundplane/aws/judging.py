"""What can be told of values without asking AWS: fields that exclude each other, and values that it can't take.

A value that AWS's model does not know may be newer than the model: it is sent.  If AWS refuses it, the error says what may be meant.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from groundplane.aws.grammar import SchemaField, siblings
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, Required, did_you_mean, shown

JSON = ("policy", "json", "json-list", "json-text")  # comparisons of texts that are JSON
NO_JSON = (ValueError, RecursionError)  # what a text raises that is no JSON, or none that anybody means
UNSET: tuple[Json, ...] = (None, "", [], {}, [{}], False)  # and 0, which equals False
CORRECT = "write what AWS takes"
# What botocore reports of parameters, one a line.  Source: botocore 1.44, validate.py, `ValidationErrors`.
MISSING = re.compile(r'Missing required parameter in (?P<path>\S+): "(?P<name>\w+)"')
BOUND = re.compile(
    r"Invalid \w+ for parameter (?P<path>\S*), value: (?P<value>\S+), valid min (?P<what>length|value): (?P<least>\S+)"
)
TYPE = re.compile(r"Invalid type for parameter (?P<path>\S*), value: ")
WINDOW = re.compile(r"((mon|tue|wed|thu|fri|sat|sun):)?([01]?\d|2[0-3]):[0-5]\d", re.IGNORECASE)  # one of its two ends


def check(
    where: str,
    values: Mapping[str, Json],
    fields: Mapping[str, SchemaField],
    region: str = "",
    written: Json = None,
) -> None:
    """Look through an object's fields, at any depth, and name their places as they are `written`: an object may stand for a list of one.

    Raises:
        InvalidInput: fields that exclude each other are set, or a value is none that AWS takes.
    """
    for name, value in values.items():
        field = fields.get(name)
        if field is None or value is None:
            continue
        if field.key and isinstance(value, list):
            _check_keys(f"{where}.{name}", value, field)
        for place, entry, own in _entries(f"{where}.{name}", value, _member(written, name)):
            if isinstance(entry, str) and entry:
                _check_text(place, entry, field, region)
                check_json(place, entry, field)
            elif field.range and isinstance(entry, int | float) and not field.range[0] <= entry <= field.range[1]:
                low, high = field.range
                raise InvalidInput(f"AWS takes no {shown(entry)}", mend=f"write {low} to {high}", where=(place,))
            elif field.closed and isinstance(entry, int | float) and f"{entry:g}" not in field.values:
                mend = f"write one of {', '.join(field.values)}"
                raise InvalidInput(f"AWS takes no {shown(entry)}", mend=mend, where=(place,))
            if isinstance(entry, Mapping) and field.fields:
                given = {**own, **entry} if isinstance(own, Mapping) else entry  # with its references
                for names in field.exclusive:
                    check_exclusive(place, [each for each in names if _is_set(given, each, field.fields)])
                _check_members(place, given, field.fields)
                check(place, entry, field.fields, region, own)


def check_json(place: str, text: str, field: SchemaField) -> None:
    """Whether a text is JSON, where the field takes that.

    Raises:
        InvalidInput: it is none, a policy without a statement, or no object where AWS takes one, no list of objects where it takes that.
    """
    if field.comparison not in JSON:
        return
    try:
        found = json.loads(text)
    except NO_JSON as error:
        what = "is no JSON that can be read: it is nested too deep, or has too long a number"
        if isinstance(error, json.JSONDecodeError):
            what = f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        raise InvalidInput(what, mend="correct it", where=(place,)) from error
    members = {key.lower() for key in found} if isinstance(found, Mapping) else set()
    if field.comparison == "policy" and "statement" not in members:
        mend = 'write {"Version": "2012-10-17", "Statement": […]}'
        raise InvalidInput("is a policy without a Statement", mend=mend, where=(place,))
    if field.comparison == "json-list":
        if not isinstance(found, list) or not all(isinstance(entry, Mapping) for entry in found):
            raise InvalidInput("is no JSON list of objects", mend='write a list: [{"name": "value"}]', where=(place,))
    elif not isinstance(found, Mapping):
        raise InvalidInput("is no JSON object", mend='write an object, such as {"name": "value"}', where=(place,))


def _check_keys(place: str, entries: Sequence[Json], field: SchemaField) -> None:
    """Whether each entry is another one's: of two for the same, each update would undo the other."""
    seen: dict[tuple[Json, ...], int] = {}
    for index, entry in enumerate(entries):
        key = tuple(entry.get(name) for name in field.key) if isinstance(entry, Mapping) else ()
        if not all(isinstance(part, str) and part for part in key) or not key:
            continue
        if (first := seen.setdefault(key, index)) != index:
            said = ", ".join(f"{name} {shown(part)}" for name, part in zip(field.key, key, strict=True))
            mend = f"keep one of {place.rpartition('.')[2]}[{first}] and [{index}]"
            raise InvalidInput(f"{said} is there twice", mend=mend, where=(f"{place}[{index}].{field.key[0]}",))


def _check_members(place: str, entry: Mapping[str, Json], fields: Mapping[str, SchemaField]) -> None:
    for name, field in fields.items():
        if field.needed and entry.get(name) is None and not is_referred(entry, name, field):
            raise Required("is required", mend="set it", where=(f"{place}.{name}",))
        if field.beside and entry.get(name):
            check_beside(place, name, field, {other: entry.get(other) for other in field.beside})


def check_beside(where: str, name: str, field: SchemaField, others: Mapping[str, Json]) -> None:
    """Whether the fields `others`, without which AWS refuses one that is set, are there.

    Raises:
        InvalidInput: one is missing, or has another value.
    """
    for other, value in others.items():
        allowed = field.beside[other]
        if not allowed and value in UNSET:
            raise Required(f"is required with {name}", mend=f"set it, or remove {name}", where=(f"{where}.{other}",))
        if allowed and _word(value) not in allowed:
            wanted = f"{other}: {' or '.join(allowed)}"
            raise InvalidInput(
                f"AWS takes it only with {wanted}", mend=f"set {wanted}, or remove it", where=(f"{where}.{name}",)
            )


def _word(value: Json) -> str:
    """As a kind file spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_text(place: str, value: str, field: SchemaField, region: str) -> None:
    what = mend = ""
    if field.values and (meant := _spelt(value, field)):
        what, mend = f"{shown(value)} is not spelt as AWS does", f"did you mean {meant}?"
    elif field.closed and value not in field.values:
        what, mend = f"AWS knows no {shown(value)}", did_you_mean(value, field.values)
    elif field.pattern and not re.fullmatch(field.pattern, value):
        what, mend = f"AWS knows no {shown(value)}", field.rule
    elif field.zone and region and not value.startswith(region):
        what, mend = f"{shown(value)} is no availability zone of {region}", f"use one of that region: {region}a"
    elif field.compare == "cidr" and not is_block(value):
        what, mend = (
            f"{shown(value)} is no block of addresses",
            "write one in CIDR notation: 10.0.0.0/16, 2001:db8::/32",
        )
    elif field.compare == "window" and not _is_window(value):
        what = f"{shown(value)} is no window of time"
        mend = "write it in UTC: 09:46-10:16 each day, mon:00:00-mon:03:00 each week"
    if what:
        raise InvalidInput(what, mend=mend, where=(place,))


def is_block(value: str) -> bool:
    """Whether it is a block of addresses in CIDR notation, of either kind."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return "/" in value


def _is_window(value: str) -> bool:
    ends = re.sub(r"\s", "", value).split("-")
    return len(ends) == 2 and all(WINDOW.fullmatch(end) for end in ends)


def check_exclusive(where: str, given: Sequence[str]) -> None:
    """Whether of some fields at most one is `given`.  Raises InvalidInput."""
    if len(given) > 1:
        raise InvalidInput(
            f"can't be used with {given[1]}", mend=f"keep one of {', '.join(given)}", where=(f"{where}.{given[0]}",)
        )


def bounded(value: Any, shape: Any) -> Any:
    """A value in AWS's shape, if it is within what botocore's model allows.  Texts and lists are not quoted but where a pattern is missed: they may be long.

    How many entries a list may have is a quota, which AWS raises before its model tells: DynamoDB projects a hundred attributes, not twenty.

    Raises:
        InvalidInput: it is too small, too long, or of another form.
    """
    if isinstance(value, bool) or not (limits := shape.metadata):
        return value
    low, high = limits.get("min"), None if isinstance(value, list) else limits.get("max")
    is_number = isinstance(value, int | float)
    size = value if is_number else len(value) if isinstance(value, str | bytes | list) else None
    if size is not None and ((low is not None and size < low) or (high is not None and size > high)):
        what = f"AWS takes no {size}" if is_number else f"has {_counted(size, value)}"
        raise InvalidInput(what, mend=_within(low, high, value))
    form = _form(limits.get("pattern") or "")
    if isinstance(value, str) and form is not None and not form.fullmatch(value):
        told = "such a value" if limits.get("sensitive") else shown(value)
        raise InvalidInput(f"AWS takes no {told}", mend=f"it has to match {form.pattern}")
    return value


def _counted(size: float, value: Any) -> str:
    """So many of what a value consists of; of a number, the number alone.

    >>> _counted(1, "x"), _counted(0, []), _counted(7, 3)
    ('1 character', '0 entries', '7')
    """
    if isinstance(value, int | float):
        return str(size)
    one, many = ("entry", "entries") if isinstance(value, list) else ("character", "characters")
    return f"{size} {one if size == 1 else many}"


def _within(low: float | None, high: float | None, value: Any) -> str:
    """What to write instead.

    >>> _within(1, None, []), _within(6, 128, "x"), _within(36, 36, "x"), _within(None, 255, "x"), _within(60, 3600, 7)
    ('write 1 entry or more', 'write 6 to 128 characters', 'write 36 characters', 'write 255 characters or fewer', 'write 60 to 3600')
    """
    if high is None:
        return f"write {_counted(low or 0, value)} or more"
    if low is None:
        return f"write {_counted(high, value)} or {'less' if isinstance(value, int | float) else 'fewer'}"
    return f"write {_counted(high, value)}" if low == high else f"write {low} to {_counted(high, value)}"


@cache
def _form(pattern: str) -> re.Pattern[str] | None:
    """A pattern of AWS's model; None where there is none, or Python has no such thing (a class of Unicode's)."""
    try:
        return re.compile(pattern, re.ASCII) if pattern else None
    except re.error:
        return None


def unfit(report: str) -> InvalidInput:
    """What botocore says of parameters that are none for AWS: the first of it, `where` being the parameter in AWS's shape.

    >>> str(unfit('Missing required parameter in [1]: "RuleName"'))
    '[1].RuleName: is required. Mend: set it.'
    >>> str(unfit("Invalid length for parameter [0].RuleName, value: 0, valid min length: 1"))
    '[0].RuleName: has a length of 0. Mend: write 1 or more.'
    """
    if found := MISSING.match(report):
        path = found["name"] if found["path"] == "input" else f"{found['path']}.{found['name']}"
        return Required("is required", mend="set it", where=(path,))
    if found := BOUND.match(report):
        what = f"has a {found['what']} of {found['value']}"
        return InvalidInput(what, mend=f"write {found['least']} or more", where=(found["path"],))
    if found := TYPE.match(report):
        return InvalidInput("is of another type than AWS takes", mend=CORRECT, where=(found["path"],))
    return InvalidInput(" ".join(report.split()), mend=CORRECT)


def is_referred(values: Mapping[str, Json], name: str, field: SchemaField) -> bool:
    """Whether a field is to be filled by a reference."""
    return field.reference is not None and any(values.get(each) for each in siblings(name, field))


def unknown(
    values: Mapping[str, Json], fields: Mapping[str, SchemaField], where: str = "", written: Json = None
) -> Iterator[tuple[str, str]]:
    """The values that AWS's model does not know: their places below forProvider, and what may be meant."""
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            continue
        for place, entry, own in _entries(f"{where}.{name}".lstrip("."), value, _member(written, name)):
            if field.values and isinstance(entry, str) and entry not in field.values:
                yield place, did_you_mean(entry, field.values)
            elif isinstance(entry, Mapping):
                yield from unknown(entry, field.fields, place, own)


def _is_set(values: Mapping[str, Json], name: str, known: Mapping[str, SchemaField]) -> bool:
    return values.get(name) not in UNSET or is_referred(values, name, known[name])


def _entries(where: str, value: Json, written: Json) -> Iterator[tuple[str, Json, Json]]:
    """Place, value, and what was written there, of a value that is none in a list, or of a list's entries."""
    if isinstance(value, list) and not isinstance(written, Mapping):
        own = written if isinstance(written, list) else []
        for index, entry in enumerate(value):
            yield f"{where}[{index}]", entry, own[index] if index < len(own) else None
    elif isinstance(value, list):
        yield from ((where, entry, written) for entry in value)
    else:
        yield where, value, written


def _member(written: Json, name: str) -> Json:
    return written.get(name) if isinstance(written, Mapping) else None


def _spelt(value: str, field: SchemaField) -> str:
    """How AWS spells a value that differs in case and separators alone; "" where it does not, or does not matter."""
    if value in field.values or field.compare == "ci":
        return ""
    plain = _plain(value)
    return next((each for each in field.values if _plain(each) == plain), "")


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())
