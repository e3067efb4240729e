"""Regular expressions in Go's language, for match and string."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from groundplane.core.fieldpath import utf8
from groundplane.core.spec import Problem
from groundplane.errors import InvalidInput, shown

MAX_PATTERN = 10_000  # characters of a regular expression
PATTERN_MEMORY = 8 << 20  # bytes that a compiled one may take: what RE2 itself allows by default


class BadPattern(InvalidInput):
    """Go would not compile a regular expression; `go` is what it would say."""

    def __init__(self, what: str, go: str, *, mend: str = "") -> None:
        super().__init__(what, mend=mend)
        self.go = go


_GO = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
}


def _go(reason: str, pattern: str) -> str:
    """RE2's words as Go's."""
    if reason.startswith("trailing \\"):
        return "error parsing regexp: trailing backslash at end of expression: ``"
    said, _, about = reason.partition(": ")
    return f"error parsing regexp: {_GO.get(said, said)}: `{about or pattern}`"


def compiled(pattern: str, *, memory: int = PATTERN_MEMORY) -> Any:
    """A compiled regular expression in Go's language, over bytes; matching takes linear time.

    Raises:
        BadPattern: Go would not compile it, or it takes more memory, in bytes, than it may.
    """
    import re2  # 2 MiB, and most Compositions have no regular expressions

    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory
    if len(pattern) > MAX_PATTERN:
        what = f"a regular expression of more than {MAX_PATTERN} characters"
        raise BadPattern(what, f"error parsing regexp: expression too large: `{shown(pattern)}`", mend="shorten it")
    try:
        if _has_raw_byte(pattern):
            what = f"cannot compile regular expression {shown(pattern)}: \\C is not supported"
            raise BadPattern(what, "error parsing regexp: invalid escape sequence: `\\C`")
        return re2.compile(utf8(pattern), options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "bad syntax"
        raise BadPattern(
            f"cannot compile regular expression {shown(pattern)}: {reason}",
            _go(reason, pattern),
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
