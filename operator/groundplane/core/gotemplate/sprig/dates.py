"""sprig's functions for dates: Go's layouts, times and durations.  The local zone is UTC.

Source: Masterminds/sprig v3.3.0 `date.go`; Go 1.26 `time/format.go`, `time/time.go`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from groundplane.core import goformat
from groundplane.core.fieldpath import INT64_MAX, INT64_MIN
from groundplane.core.goformat import Special
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import Run
from groundplane.core.gotemplate.sprig.library import Library, function
from groundplane.core.gotemplate.values import Int, Struct, Value, wrapped

DATES: Library = {}

_LONG_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SECOND = 1_000_000_000  # nanoseconds

# In the order in which Go looks for them at each place of a layout.
_PIECES = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|002|01|02|03|04|05|06|15|_2006|__2|_2|PM|pm"
    r"|Z07:00:00|Z070000|Z07:00|Z0700|Z07|-07:00:00|-070000|-07:00|-0700|-07"
    r"|[.,]0+(?![0-9])|[.,]9+(?![0-9])|1|2|3|4|5"
)


class Duration(Special, int):
    """Nanoseconds between two times."""

    go_type = "time.Duration"

    def text(self) -> str:
        return shown(int(self))


class Time(Struct):
    """A moment, in a zone: whole seconds as Python has them, and nanoseconds."""

    __slots__ = ("at", "nanoseconds", "zone")
    go_type = "time.Time"

    def __init__(self, at: datetime, nanoseconds: int = 0, zone: str = "UTC") -> None:
        super().__init__()
        self.at = at
        self.nanoseconds = nanoseconds
        self.zone = zone

    def text(self) -> str:
        return formatted(self, "2006-01-02 15:04:05.999999999 -0700 MST")

    def json(self) -> str:
        return formatted(self, "2006-01-02T15:04:05.999999999Z07:00")

    @property
    def unix(self) -> int:
        """Seconds since 1970."""
        passed = self.at - _EPOCH
        return passed.days * 86_400 + passed.seconds

    @property
    def unix_nanoseconds(self) -> int:
        return self.unix * _SECOND + self.nanoseconds

    @property
    def offset(self) -> int:
        """Seconds east of UTC."""
        return int((self.at.utcoffset() or timedelta()).total_seconds())


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZERO = Time(datetime(1, 1, 1, tzinfo=UTC))


def moment(at: datetime) -> Time:
    """A Python time as Go has it."""
    at = at.astimezone(UTC)
    return Time(at.replace(microsecond=0), at.microsecond * 1000)


def from_unix(seconds: int, nanoseconds: int = 0) -> Time:
    try:
        return Time(_EPOCH + timedelta(seconds=seconds), nanoseconds)
    except OverflowError:
        raise Failure("a date beyond the year 9999, or before the year 1") from None


def _in_zone(time: Time, name: str) -> Time:
    zone: tzinfo = UTC
    shown_name = "UTC"
    if name not in ("", "UTC", "Local"):
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            zone = UTC
        else:
            shown_name = ""
    try:
        at = time.at.astimezone(zone)
    except OverflowError:
        at = time.at
    return Time(at, time.nanoseconds, shown_name or at.tzname() or "UTC")


# --- writing --------------------------------------------------------------------------------------------------------------


def formatted(time: Time, layout: str) -> str:
    """Go's Format."""
    out, last = [], 0
    for piece in _PIECES.finditer(layout):
        if piece[0][0] in ".," and not _is_fraction(layout, piece):
            continue
        out.append(layout[last : piece.start()])
        out.append(_piece(time, piece[0]))
        last = piece.end()
    return "".join([*out, layout[last:]])


def _is_fraction(layout: str, piece: re.Match[str]) -> bool:
    """A dot and nines, or zeros, are a fraction of a second wherever no digit follows."""
    return piece[0][1:] != ""


def _piece(time: Time, piece: str) -> str:
    at = time.at
    hour = at.hour % 12 or 12
    match piece:
        case "2006":
            return f"{at.year:04d}"
        case "_2006":
            return f"_{at.year:04d}"
        case "06":
            return f"{at.year % 100:02d}"
        case "January" | "Jan":
            return _LONG_MONTHS[at.month - 1][: 3 if piece == "Jan" else None]
        case "01" | "1":
            return f"{at.month:02d}" if piece == "01" else str(at.month)
        case "Monday" | "Mon":
            return _LONG_DAYS[at.weekday()][: 3 if piece == "Mon" else None]
        case "02" | "_2" | "2":
            return {"02": f"{at.day:02d}", "_2": f"{at.day:2d}"}.get(piece, str(at.day))
        case "002" | "__2":
            day = at.timetuple().tm_yday
            return f"{day:03d}" if piece == "002" else f"{day:3d}"
        case "15":
            return f"{at.hour:02d}"
        case "03" | "3":
            return f"{hour:02d}" if piece == "03" else str(hour)
        case "04" | "4":
            return f"{at.minute:02d}" if piece == "04" else str(at.minute)
        case "05" | "5":
            return f"{at.second:02d}" if piece == "05" else str(at.second)
        case "PM" | "pm":
            word = "PM" if at.hour >= 12 else "AM"
            return word if piece == "PM" else word.lower()
        case "MST":
            return time.zone
    if piece[0] in ".,":
        return _fraction(time.nanoseconds, piece)
    return _zone_offset(time.offset, piece)


def _fraction(nanoseconds: int, piece: str) -> str:
    digits = f"{nanoseconds:09d}"[: len(piece) - 1].ljust(len(piece) - 1, "0")
    if piece[1] == "9":
        digits = digits.rstrip("0")
        return piece[0] + digits if digits else ""
    return piece[0] + digits


def _zone_offset(offset: int, piece: str) -> str:
    if piece[0] == "Z" and offset == 0:
        return "Z"
    sign, offset = ("-" if offset < 0 else "+"), abs(offset)
    hours, minutes, seconds = offset // 3600, offset // 60 % 60, offset % 60
    form = piece[1:]
    text = f"{sign}{hours:02d}"
    if len(form) > 2:
        text += (":" if ":" in form else "") + f"{minutes:02d}"
    if len(form) > 5:
        text += (":" if ":" in form else "") + f"{seconds:02d}"
    return text


# --- reading --------------------------------------------------------------------------------------------------------------


def parsed(layout: str, text: str) -> Time:
    """Go's ParseInLocation, in UTC.  Raises Failure."""
    found: dict[str, Any] = {}
    rest, last = text, 0
    try:
        for piece in _PIECES.finditer(layout):
            rest = _without(rest, layout[last : piece.start()])
            last = piece.end()
            follows = layout[piece.end() : piece.end() + 1]
            rest = _read(piece[0], rest, found, follows)
        rest = _without(rest, layout[last:])
        if rest:
            raise _Unreadable("extra text: " + goformat.sprintf("%q", rest), "")
        return _assembled(found)
    except _Unreadable as error:
        shown_text, shown_layout = goformat.sprintf("%q", text), goformat.sprintf("%q", layout)
        what, wanted = error.args
        if not wanted:
            raise Failure(f"parsing time {shown_text}: {what}") from None
        words = f"cannot parse {goformat.sprintf('%q', what)} as {goformat.sprintf('%q', wanted)}"
        raise Failure(
            f"parsing time {shown_text} as {shown_layout}: {words}", "the layout is Go's: 2006-01-02T15:04:05Z07:00"
        ) from None


class _Unreadable(Exception):
    """The text that does not fit, and the piece of the layout that it does not fit."""


def _without(text: str, prefix: str) -> str:
    """What is left of a text behind a literal part of the layout; runs of spaces match."""
    while prefix:
        if prefix[0] == " ":
            if text and text[0] != " ":
                raise _Unreadable(text, prefix)
            prefix, text = prefix.lstrip(" "), text.lstrip(" ")
            continue
        if not text or text[0] != prefix[0]:
            raise _Unreadable(text, prefix)
        prefix, text = prefix[1:], text[1:]
    return text


_DIGITS = {
    "2006": (4, 4), "06": (2, 2), "01": (2, 2), "1": (1, 2), "02": (2, 2), "_2": (1, 2), "2": (1, 2), "002": (3, 3),
    "__2": (3, 3), "15": (1, 2), "03": (2, 2), "3": (1, 2), "04": (2, 2), "4": (1, 2), "05": (2, 2), "5": (1, 2),
}  # fmt: skip
_FIELDS = {
    "2006": "year", "06": "year2", "01": "month", "1": "month", "02": "day", "_2": "day", "2": "day", "002": "yday",
    "__2": "yday", "15": "hour", "03": "hour12", "3": "hour12", "04": "minute", "4": "minute", "05": "second", "5": "second",
}  # fmt: skip
_BOUNDS = {"month": (1, 12), "hour": (0, 23), "hour12": (0, 12), "minute": (0, 59), "second": (0, 59)}
_NAMES = {
    "year": "year",
    "month": "month",
    "day": "day",
    "hour": "hour",
    "hour12": "hour",
    "minute": "minute",
    "second": "second",
}


def _read(piece: str, text: str, found: dict[str, Any], follows: str) -> str:
    """Take from the text what a piece of the layout says; what is left."""
    if piece in _DIGITS:
        if piece in ("_2", "__2"):
            text = text.lstrip(" ")
        least, most = _DIGITS[piece]
        match = re.match(rf"[0-9]{{{least},{most}}}", text)
        if match is None:
            raise _Unreadable(text, piece)
        field = _FIELDS[piece]
        found[field] = int(match[0])
        low, high = _BOUNDS.get(field, (0, 9999))
        if not low <= found[field] <= high:
            raise _Unreadable(f"{_NAMES.get(field, field)} out of range", "")
        text = text[match.end() :]
        if field == "second" and text[:1] in (".", ",") and text[1:2].isdigit() and follows[:1] not in (".", ","):
            text = _read_fraction(text, found)
        return text
    if piece in ("January", "Jan", "Monday", "Mon"):
        return _read_name(piece, text, found)
    if piece in ("PM", "pm"):
        word = text[:2]
        if word not in (("AM", "PM") if piece == "PM" else ("am", "pm")):
            raise _Unreadable(text, piece)
        found["is_afternoon"] = word.upper() == "PM"
        return text[2:]
    if piece == "MST":
        match = re.match(r"UTC|GMT[+-]?[0-9]*|[A-Z]{3,5}|[+-][0-9]{2}", text)
        if match is None:
            raise _Unreadable(text, piece)
        found["zone_name"] = match[0]
        return text[match.end() :]
    if piece[0] in ".,":
        match = re.match(r"[.,][0-9]+", text)
        if match is None or (piece[1] == "0" and len(match[0]) != len(piece)):
            if piece[1] == "9" and match is None:
                return text
            raise _Unreadable(text, piece)
        return _read_fraction(text, found)
    if piece == "_2006":
        return _read("2006", _without(text, "_"), found, follows)
    return _read_offset(piece, text, found)


def _read_fraction(text: str, found: dict[str, Any]) -> str:
    match = re.match(r"[.,]([0-9]+)", text)
    assert match is not None, "digits follow"
    found["nanoseconds"] = int(match[1][:9].ljust(9, "0"))
    return text[match.end() :]


def _read_name(piece: str, text: str, found: dict[str, Any]) -> str:
    names = _LONG_MONTHS if piece.startswith("J") else _LONG_DAYS
    for number, name in enumerate(names, 1):
        word = name if piece in ("January", "Monday") else name[:3]
        if text[: len(word)].lower() == word.lower():
            if names is _LONG_MONTHS:
                found["month"] = number
            return text[len(word) :]
    raise _Unreadable(text, piece)


def _read_offset(piece: str, text: str, found: dict[str, Any]) -> str:
    if piece[0] == "Z" and text[:1] == "Z":
        found["offset"] = 0
        return text[1:]
    form = piece[1:]
    colon = ":" if ":" in form else ""
    pattern = r"([+-])([0-9]{2})"
    if len(form) > 2:
        pattern += colon + r"([0-9]{2})"
    if len(form) > 5:
        pattern += colon + r"([0-9]{2})"
    match = re.match(pattern, text)
    if match is None:
        raise _Unreadable(text, piece)
    hours, minutes, seconds = (int(part or 0) for part in [*match.groups()[1:], 0, 0][:3])
    if hours > 24 or minutes >= 60 or seconds >= 60:
        raise _Unreadable("time zone offset out of range", "")
    found["offset"] = (hours * 3600 + minutes * 60 + seconds) * (-1 if match[1] == "-" else 1)
    return text[match.end() :]


def _assembled(found: dict[str, Any]) -> Time:
    year = found.get("year")
    if year is None and "year2" in found:
        year = found["year2"] + (1900 if found["year2"] >= 69 else 2000)
    year = 0 if year is None else year
    hour = found.get("hour", 0)
    if "hour12" in found:
        hour = found["hour12"]
    if "is_afternoon" in found:
        hour = hour % 12 + 12 if found["is_afternoon"] else (0 if hour == 12 else hour)
    offset = found.get("offset", 0)
    zone: tzinfo = UTC
    name = "UTC"
    if offset:
        zone = timezone(timedelta(seconds=offset))
        name = found.get("zone_name") or _zone_offset(offset, "-0700")
    elif "zone_name" in found and found["zone_name"] not in ("UTC", "GMT") and "offset" not in found:
        name = found["zone_name"]
    try:
        if "yday" in found and "month" not in found:
            day = datetime(max(year, 1), 1, 1, tzinfo=zone) + timedelta(days=found["yday"] - 1)
            month, day_of_month = day.month, day.day
        else:
            month, day_of_month = found.get("month", 1), found.get("day", 1)
        at = datetime(
            max(year, 1), month, day_of_month, hour, found.get("minute", 0), found.get("second", 0), tzinfo=zone
        )
    except ValueError:
        raise _Unreadable("day out of range", "") from None
    return Time(at, found.get("nanoseconds", 0), name)


# --- durations ------------------------------------------------------------------------------------------------------------

_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND,
}  # fmt: skip
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")


def duration_of(text: str) -> Duration:
    """Go's ParseDuration.  Raises Failure.

    >>> duration_of("1h2.5s").text(), duration_of("-300ms").text()
    ('1h0m2.5s', '-300ms')
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return Duration(0)
    total, position = 0, 0
    while position < len(rest) and len(rest) < 200:
        part = _PART.match(rest, position)
        if part is None or not (part[1] or part[2]):
            break
        unit = _UNITS[part[3]]
        total += int(part[1] or "0") * unit
        fraction = part[2] or ""
        total += int(fraction) * unit // 10 ** len(fraction) if fraction else 0
        position = part.end()
    if not rest or position < len(rest) or total > INT64_MAX:
        raise Failure(f"time: invalid duration {goformat.sprintf('%q', text)}", 'write it as "1h30m" or "90s"')
    return Duration(-total if text[0] == "-" else total)


def shown(nanoseconds: int) -> str:
    """Go's Duration.String."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-" if nanoseconds < 0 else ""), abs(nanoseconds)
    if rest < _SECOND:
        for unit in ("ns", "µs", "ms"):
            if rest < _UNITS[unit] * 1000:
                return sign + _decimal(rest, _UNITS[unit]) + unit
    minutes, seconds = divmod(rest, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(seconds, _SECOND)}s"


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    digits = str(unit + rest)[1:].rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


# --- the functions --------------------------------------------------------------------------------------------------------


def _time_of(run: Run, value: Value) -> Time:
    """What sprig takes for a time: anything else is now."""
    if isinstance(value, Time):
        return value
    if isinstance(value, int) and not isinstance(value, bool | Special):
        return from_unix(int(value))
    return moment(run.now())


@function(DATES, "now", wants_run=True, is_random=True)
def now(run: Run) -> Time:
    return moment(run.now())


@function(DATES, "date", "string any", wants_run=True)
def date(run: Run, layout: str, value: Value) -> str:
    return formatted(_in_zone(_time_of(run, value), "UTC"), layout)


@function(DATES, "dateInZone date_in_zone", "string any string", wants_run=True)
def date_in_zone(run: Run, layout: str, value: Value, zone: str) -> str:
    return formatted(_in_zone(_time_of(run, value), zone), layout)


@function(DATES, "htmlDate", "any", wants_run=True)
def html_date(run: Run, value: Value) -> str:
    return date(run, "2006-01-02", value)


@function(DATES, "htmlDateInZone", "any string", wants_run=True)
def html_date_in_zone(run: Run, value: Value, zone: str) -> str:
    return date_in_zone(run, "2006-01-02", value, zone)


@function(DATES, "mustDateModify must_date_modify", "string time")
def must_modify(change: str, time: Time) -> Time:
    return added(time, duration_of(change))


@function(DATES, "dateModify date_modify", "string time")
def modify(change: str, time: Time) -> Time:
    try:
        return must_modify(change, time)
    except Failure:
        return time


def added(time: Time, duration: int) -> Time:
    total = time.nanoseconds + duration
    try:
        return Time(time.at + timedelta(seconds=total // _SECOND), total % _SECOND, time.zone)
    except OverflowError:
        raise Failure("a date beyond the year 9999, or before the year 1") from None


@function(DATES, "ago", "any", wants_run=True, is_random=True)
def ago(run: Run, value: Value) -> str:
    passed = moment(run.now()).unix_nanoseconds - _time_of(run, value).unix_nanoseconds
    return shown((abs(passed) + _SECOND // 2) // _SECOND * _SECOND * (-1 if passed < 0 else 1))


@function(DATES, "duration", "any")
def duration(value: Value) -> str:
    seconds = 0
    if isinstance(value, str):
        digits = value[1:] if value[:1] in ("+", "-") else value
        if digits.isascii() and digits.isdigit() and len(digits) < 20:
            seconds = max(INT64_MIN, min(INT64_MAX, int(value)))
    elif type(value) is int:
        seconds = value
    return shown(wrapped(seconds * _SECOND))


@function(DATES, "durationRound", "any", wants_run=True)
def duration_round(run: Run, value: Value) -> str:
    nanoseconds = 0
    if isinstance(value, str):
        try:
            nanoseconds = duration_of(value)
        except Failure:
            nanoseconds = 0
    elif type(value) is int:
        nanoseconds = value
    elif isinstance(value, Time):
        nanoseconds = moment(run.now()).unix_nanoseconds - value.unix_nanoseconds
    rest = abs(nanoseconds)
    hour = 3600 * _SECOND
    sizes = (
        ("y", 24 * 365 * hour),
        ("mo", 24 * 30 * hour),
        ("d", 24 * hour),
        ("h", hour),
        ("m", 60 * _SECOND),
        ("s", _SECOND),
    )
    for unit, size in sizes:
        if rest > size:
            return f"{rest // size}{unit}"
    return "0s"


@function(DATES, "mustToDate", "string string")
def must_to_date(layout: str, text: str) -> Time:
    return parsed(layout, text)


@function(DATES, "toDate", "string string")
def to_date(layout: str, text: str) -> Time:
    try:
        return parsed(layout, text)
    except Failure:
        return ZERO


@function(DATES, "unixEpoch", "time")
def unix_epoch(time: Time) -> str:
    return str(time.unix)


# --- methods of times -----------------------------------------------------------------------------------------------------


def _layout(time: Time, layout: Value) -> str:
    if not isinstance(layout, str):
        raise Failure("wrong type for value; expected string")
    return formatted(time, layout)


def _difference(time: Time, other: Value) -> Duration:
    if not isinstance(other, Time):
        raise Failure("wrong type for value; expected time.Time")
    return Duration(max(INT64_MIN, min(INT64_MAX, time.unix_nanoseconds - other.unix_nanoseconds)))


def _later(time: Time, duration: Value) -> Time:
    if not isinstance(duration, Duration | Int):
        raise Failure("wrong type for value; expected time.Duration")
    return added(time, int(duration))


def _later_date(time: Time, years: Value, months: Value, days: Value) -> Time:
    """Go's AddDate: what overflows a month goes on in the next."""
    if not all(isinstance(each, int) and abs(each) < 100_000 for each in (years, months, days)):
        raise Failure("wrong type for value; expected int")
    month = time.at.month - 1 + months
    try:
        first = time.at.replace(year=time.at.year + years + month // 12, month=month % 12 + 1, day=1)
        return Time(first + timedelta(days=time.at.day - 1 + days), time.nanoseconds, time.zone)
    except (OverflowError, ValueError):
        raise Failure("a date beyond the year 9999, or before the year 1") from None


Time.methods = {
    "Format": _layout,
    "String": lambda time: time.text(),
    "Unix": lambda time: time.unix,
    "UnixMilli": lambda time: time.unix_nanoseconds // 1_000_000,
    "UnixNano": lambda time: wrapped(time.unix_nanoseconds),
    "Year": lambda time: Int(time.at.year),
    "Month": lambda time: _LONG_MONTHS[time.at.month - 1],
    "Day": lambda time: Int(time.at.day),
    "Hour": lambda time: Int(time.at.hour),
    "Minute": lambda time: Int(time.at.minute),
    "Second": lambda time: Int(time.at.second),
    "Nanosecond": lambda time: Int(time.nanoseconds),
    "Weekday": lambda time: _LONG_DAYS[time.at.weekday()],
    "YearDay": lambda time: Int(time.at.timetuple().tm_yday),
    "UTC": lambda time: _in_zone(time, "UTC"),
    "Local": lambda time: _in_zone(time, "UTC"),
    "IsZero": lambda time: time.unix_nanoseconds == ZERO.unix_nanoseconds,
    "Add": _later,
    "AddDate": _later_date,
    "Sub": _difference,
    "After": lambda time, other: _difference(time, other) > 0,
    "Before": lambda time, other: _difference(time, other) < 0,
    "Equal": lambda time, other: _difference(time, other) == 0,
}
