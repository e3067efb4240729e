"""Regular expressions in Go's language, for match and string."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import re2

from groundplane.core.fieldpath import utf8
from groundplane.core.spec import Problem
from groundplane.errors import InvalidInput, shown

MAX_PATTERN = 10_000  # characters of a regular expression
PATTERN_MEMORY = 8 << 20  # bytes that a compiled one may take: what RE2 itself allows by default


def compiled(pattern: str) -> Any:
    """A compiled regular expression in Go's language, over bytes; matching takes linear time.

    Raises:
        InvalidInput: Go would not compile it.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY
    if len(pattern) > MAX_PATTERN:
        raise InvalidInput(f"a regular expression of more than {MAX_PATTERN} characters", mend="shorten it")
    try:
        if _has_raw_byte(pattern):
            raise InvalidInput(f"cannot compile regular expression {shown(pattern)}: \\C is not supported")
        return re2.compile(utf8(pattern), options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "bad syntax"
        raise InvalidInput(
            f"cannot compile regular expression {shown(pattern)}: {reason}",
            mend="write it in RE2 syntax: no look-around, no back-references",
        ) from None


def _has_raw_byte(pattern: str) -> bool:
    """Whether `\\C` occurs outside a quotation: RE2 has it, Go has not."""
    unquoted = re.sub(r"\\Q.*?(\\E|$)", "", pattern, flags=re.DOTALL)
    return re.search(r"(?<!\\)(?:\\\\)*\\C", unquoted) is not None


def problems(field: str, pattern: str) -> Iterator[Problem]:
    try:
        compiled(pattern)
    except InvalidInput as error:
        yield Problem("Invalid", field, error.what, error.mend)
