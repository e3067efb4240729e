"""Tables as kubectl prints them: printer columns by JSONPath, ages, alignment.

Source: Kubernetes 1.34, apiextensions-apiserver `tableconvertor`, apimachinery `duration.HumanDuration`, kubectl's
tab writer (at least 6 wide, 3 apart).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from groundplane.cli.store import Column, Served
from groundplane.core.objects import Json, Object, meta
from groundplane.errors import InvalidInput

NARROWEST, APART = 6, 3  # characters
AGE = Column("Age", ".metadata.creationTimestamp", "date")

Step = Callable[[list[Json]], list[Json]]  # from the values so far to those one step down

# What the API server prints for kinds that have no CRD.
_BUILT_IN: dict[str, tuple[tuple[str, Callable[[Object, datetime], str]], ...]] = {
    "Secret": (
        ("TYPE", lambda obj, now: str(obj.get("type") or "")),
        ("DATA", lambda obj, now: str(len(obj.get("data") or {}))),
        ("AGE", lambda obj, now: age(meta(obj).get("creationTimestamp"), now)),
    ),
    "ConfigMap": (
        ("DATA", lambda obj, now: str(len(obj.get("data") or {}) + len(obj.get("binaryData") or {}))),
        ("AGE", lambda obj, now: age(meta(obj).get("creationTimestamp"), now)),
    ),
    "Namespace": (
        ("STATUS", lambda obj, now: "Terminating" if meta(obj).get("deletionTimestamp") else "Active"),
        ("AGE", lambda obj, now: age(meta(obj).get("creationTimestamp"), now)),
    ),
    "CustomResourceDefinition": (("CREATED AT", lambda obj, now: str(meta(obj).get("creationTimestamp") or "")),),
    "Event": (
        ("LAST SEEN", lambda obj, now: age(obj.get("lastTimestamp"), now)),
        ("TYPE", lambda obj, now: str(obj.get("type") or "")),
        ("REASON", lambda obj, now: str(obj.get("reason") or "")),
        ("OBJECT", lambda obj, now: _involved(obj)),
        ("MESSAGE", lambda obj, now: str(obj.get("message") or "").strip()),
    ),
}


def _involved(event: Object) -> str:
    about = event.get("involvedObject") or {}
    return f"{str(about.get('kind') or '').lower()}/{about.get('name') or ''}"


def header(kind: Served, *, wide: bool, namespaces: bool) -> list[str]:
    """The first row, in capitals."""
    if kind.kind in _BUILT_IN and not kind.columns:
        names = [name for name, _ in _BUILT_IN[kind.kind]]
    else:
        names = [column.name.upper() for column in _columns(kind, wide=wide)]
    named = [] if kind.kind == "Event" else ["NAME"]
    return [*(["NAMESPACE"] if namespaces else []), *named, *names]


def row(kind: Served, obj: Object, *, wide: bool, namespaces: bool, prefix: bool, now: datetime) -> list[str]:
    """One object's cells, as `header` names them; `prefix` puts the kind before the name."""
    if kind.kind in _BUILT_IN and not kind.columns:
        cells = [cell(obj, now) for _, cell in _BUILT_IN[kind.kind]]
    else:
        cells = [_cell(column, obj, now) for column in _columns(kind, wide=wide)]
    name = f"{kind.prefix}/{meta(obj)['name']}" if prefix else meta(obj)["name"]
    named = [] if kind.kind == "Event" else [name]
    return [*([meta(obj).get("namespace") or ""] if namespaces else []), *named, *cells]


def lay_out(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned lines.

    >>> print(lay_out([["NAME", "AGE"], ["orders", "5s"]]))
    NAME     AGE
    orders   5s
    """
    widths = [max(NARROWEST, APART + max(map(len, column))) for column in zip(*rows, strict=True)]
    return "\n".join(
        "".join([*(cell.ljust(width) for cell, width in zip(cells[:-1], widths, strict=False)), cells[-1]])
        for cells in rows
    )


def age(time: Json, now: datetime) -> str:
    """How long ago an RFC 3339 time is, in kubectl's words.

    >>> age("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 3, 30, tzinfo=UTC))
    '3h30m'
    """
    if not time:
        return "<unknown>"
    try:
        then = datetime.fromisoformat(str(time).replace("Z", "+00:00"))
    except ValueError:
        return "<invalid>"
    return duration((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())


def duration(seconds: float) -> str:
    """A span of time with at most two units.

    >>> [duration(s) for s in (5, 119, 120, 605, 7200, 90000, 864000, 94608000)]
    ['5s', '119s', '2m', '10m', '120m', '25h', '10d', '3y']
    """
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole >= -1 else "<invalid>"
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, unit: str, small: int, sub: str) -> str:
    return f"{large}{unit}{small}{sub}" if small else f"{large}{unit}"


def _columns(kind: Served, *, wide: bool) -> list[Column]:
    return [column for column in kind.columns or (AGE,) if wide or not column.priority]


def _cell(column: Column, obj: Object, now: datetime) -> str:
    found = look_up(column.path, obj)
    if not found or found[0] is None:
        return ""
    value = found[0]
    if column.type == "date":
        return age(value, now)
    fits = {
        "boolean": lambda: isinstance(value, bool),
        "integer": lambda: isinstance(value, int | float) and not isinstance(value, bool),
        "number": lambda: isinstance(value, int | float) and not isinstance(value, bool),
    }
    if column.type in fits and not fits[column.type]():
        return ""
    if column.type == "integer":
        value = int(value)
    return _text(value)


def _text(value: Json) -> str:
    """One line, as kubectl shortens it."""
    if isinstance(value, str):
        first, newline, _ = value.partition("\n")
        return f"{first}..." if newline else first
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


# --- JSONPath ------------------------------------------------------------------------------------------


_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<every>\*)\] | \.(?P<each>\*)
      | \['(?P<quoted>(?:\\.|[^'\\])*)'\]
      | \[\?\(\s*@(?P<path>(?:\.(?:\\.|[^.\[\]\s=!<>)\\])+)+)\s*(?P<sign>==|!=)\s*(?P<wanted>'[^']*'|"[^"]*"|[^'"\s)]+)\s*\)\]
    """,
    re.VERBOSE,
)


def look_up(path: str, obj: Json) -> list[Json]:
    """The values at a JSONPath of printer columns; none if it leads nowhere.

    Fields (dots in names escaped), indexes, `*`, quoted names and filters on equality.

    >>> look_up(".status.conditions[?(@.type=='Ready')].status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    ['True']

    Raises:
        InvalidInput: a path beyond that.
    """
    values = [obj]
    for step in _steps(path):
        values = step(values)
    return values


@lru_cache(maxsize=1000)
def _steps(path: str) -> tuple[Step, ...]:
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if not text.startswith((".", "[")):
        text = f".{text}"
    steps: list[Step] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        if not found:
            raise InvalidInput(
                f'"{path}" is no JSONPath that columns can have', mend="use fields, [0] and [?(@.a=='b')]"
            )
        steps.append(_step(found))
        position = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if (name := found["field"]) is not None and name != "*":
        return _field(name)
    if (name := found["quoted"]) is not None:
        return _field(name)
    if found["index"] is not None:
        index = int(found["index"])
        return lambda values: [v[index] for v in values if isinstance(v, list) and -len(v) <= index < len(v)]
    if found["path"] is not None:
        inner, equal = _steps(found["path"]), found["sign"] == "=="
        literal = _literal(found["wanted"])

        def keep(values: list[Json]) -> list[Json]:
            return [
                item for v in values if isinstance(v, list) for item in v if (_at(inner, item) == [literal]) is equal
            ]

        return keep
    return lambda values: [
        item for v in values for item in (v if isinstance(v, list) else v.values() if isinstance(v, dict) else ())
    ]


def _literal(text: str) -> Json:
    if text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _field(name: str) -> Step:
    plain = re.sub(r"\\(.)", r"\1", name)
    return lambda values: [v[plain] for v in values if isinstance(v, dict) and plain in v]


def _at(steps: Sequence[Step], value: Json) -> list[Any]:
    values = [value]
    for step in steps:
        values = step(values)
    return values
