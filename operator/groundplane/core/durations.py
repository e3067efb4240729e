"""Durations in Go's words: `1h30m`, `300ms`.  Source: Go's `time.ParseDuration`."""

from __future__ import annotations

import re

from groundplane.errors import InvalidInput, shown

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST = (1 << 63) * 1e-9  # seconds: what Go's 64 bits of nanoseconds hold
_LENGTH = 200  # characters of a text that anybody means


def seconds(text: str) -> float:
    """How many seconds a duration has.

    >>> seconds("5m30s"), seconds("-1.5h"), seconds("0")
    (330.0, -5400.0, 0.0)

    Raises:
        InvalidInput: it is none.
    """
    words, found = text[1:] if text[:1] in ("+", "-") else text, 0.0
    if len(text) > _LENGTH or not words or (words != "0" and _TERM.sub("", words)):
        raise InvalidInput(f"time: invalid duration {shown(text)}", mend="write it as 30s, 5m or 1h30m")
    for number, unit in _TERM.findall(words):
        found += float(number) * _UNITS[unit]
    if found > _LONGEST:
        raise InvalidInput(f"time: invalid duration {shown(text)}", mend="write a shorter one")
    return -found if text.startswith("-") else found
