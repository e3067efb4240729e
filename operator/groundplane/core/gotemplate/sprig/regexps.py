"""sprig's functions for regular expressions: Go's language and its rules of matching; time is linear in the text.

Source: Masterminds/sprig v3.3.0 `regex.go`, Go 1.26 `regexp/regexp.go`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from groundplane.core import goformat
from groundplane.core.fieldpath import utf8
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import Run, check_items, check_length
from groundplane.core.gotemplate.sprig.library import Library, function
from groundplane.core.gotemplate.values import Strings
from groundplane.core.transforms import regexp
from groundplane.errors import InvalidInput

REGEXPS: Library = {}

_SCANNED = 512  # bytes that are as much work as a step


@lru_cache(maxsize=128)
def _compiled(pattern: str) -> Any:
    return regexp.compiled(pattern)


def compiled(pattern: str, *, panics: bool = False) -> Any:
    try:
        return _compiled(pattern)
    except InvalidInput as error:
        reason = error.what.partition(": ")[2] or error.what
        start = f"regexp: Compile({goformat.sprintf('%#q', pattern)}): " if panics else ""
        raise Failure(f"{start}error parsing regexp: {reason}", error.mend) from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _width(data: bytes, position: int) -> int:
    """Bytes of the character at a place; 0 at the end."""
    if position >= len(data):
        return 0
    first = data[position]
    wanted = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    try:
        data[position : position + wanted].decode()
    except UnicodeDecodeError:
        return 1
    return wanted


def _matches(run: Run, pattern: Any, data: bytes, most: int) -> Iterator[Any]:
    """All matches, as Go counts them: none that is empty directly behind another."""
    position, found, before = 0, 0, -1
    while (most < 0 or found < most) and position <= len(data):
        run.charge(1 + (len(data) - position) // _SCANNED)
        match = pattern.search(data, position)
        if match is None:
            return
        is_taken = True
        if match.end() == position:
            is_taken = match.start() != before
            position += _width(data, position) or len(data) + 1
        else:
            position = match.end()
        before = match.end()
        if is_taken:
            found += 1
            check_items(found)
            yield match


@function(REGEXPS, "regexMatch", "string string")
def regex_match(pattern: str, text: str) -> bool:
    try:
        return must_match(pattern, text)
    except Failure:
        return False


@function(REGEXPS, "mustRegexMatch", "string string")
def must_match(pattern: str, text: str) -> bool:
    return compiled(pattern).search(utf8(text)) is not None


def _both(name: str, types: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """With `must` and without: then a pattern that is none panics, which is an error, too."""

    def register(body: Callable[..., Any]) -> Callable[..., Any]:
        def variant(panics: bool) -> Callable[..., Any]:
            return lambda run, pattern, *given: body(run, compiled(pattern, panics=panics), *given)

        function(REGEXPS, f"regex{name}", types, wants_run=True)(variant(True))
        function(REGEXPS, f"mustRegex{name}", types, wants_run=True)(variant(False))
        return body

    return register


@_both("Find", "string string")
def regex_find(run: Run, pattern: Any, text: str) -> str:
    match = pattern.search(utf8(text))
    return _text(match.group(0)) if match else ""


@_both("FindAll", "string string int")
def regex_find_all(run: Run, pattern: Any, text: str, most: int) -> Strings:
    return Strings(_text(match.group(0)) for match in _matches(run, pattern, utf8(text), most))


@_both("ReplaceAll", "string string string")
def regex_replace_all(run: Run, pattern: Any, text: str, new: str) -> str:
    parts = _template(new)
    names = {name.decode(): group for name, group in pattern.groupindex.items()}
    return _replaced(run, pattern, text, lambda match: _expanded(parts, names, match))


@_both("ReplaceAllLiteral", "string string string")
def regex_replace_literally(run: Run, pattern: Any, text: str, new: str) -> str:
    data = utf8(new)
    return _replaced(run, pattern, text, lambda match: data)


def _replaced(run: Run, pattern: Any, text: str, new: Callable[[Any], bytes]) -> str:
    data = utf8(text)
    out: list[bytes] = []
    last, position, total = 0, 0, 0
    while position <= len(data):
        run.charge(1 + (len(data) - position) // _SCANNED)
        match = pattern.search(data, position)
        if match is None:
            break
        out.append(data[last : match.start()])
        if match.end() > last or match.start() == 0:
            out.append(new(match))
            total += len(out[-1])
            check_length(total)
        last = match.end()
        width = _width(data, position)
        if position + width > match.end():
            position += width
        elif position + 1 > match.end():
            position += 1
        else:
            position = match.end()
    return _text(b"".join([*out, data[last:]]))


_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def _template(new: str) -> list[bytes | str]:
    """A replacement: bytes as they are, and names of groups."""
    parts: list[bytes | str] = []
    last = 0
    for found in _REFERENCE.finditer(new):
        parts.append(utf8(new[last : found.start()]))
        parts.append(b"$" if found[1] else found[2] or found[3])
        last = found.end()
    return [*parts, utf8(new[last:])]


def _expanded(parts: list[bytes | str], names: dict[str, int], match: Any) -> bytes:
    out = []
    for part in parts:
        if isinstance(part, bytes):
            out.append(part)
            continue
        is_number = part.isascii() and part.isdigit() and (part == "0" or part[0] != "0") and len(part) < 9
        group = int(part) if is_number else names.get(part, -1)
        if 0 <= group <= match.re.groups:
            out.append(match.group(group) or b"")
    return b"".join(out)


@_both("Split", "string string int")
def regex_split(run: Run, pattern: Any, text: str, most: int) -> Strings:
    data = utf8(text)
    if most == 0:
        return Strings()
    if not data and pattern.pattern:
        return Strings([""])
    parts: list[bytes] = []
    start = end = 0
    for match in _matches(run, pattern, data, most):
        if most > 0 and len(parts) == most - 1:
            break
        end = match.start()
        if match.end() != 0:
            parts.append(data[start:end])
        start = match.end()
    if end != len(data):
        parts.append(data[start:])
    return Strings(map(_text, parts))


@function(REGEXPS, "regexQuoteMeta", "string")
def regex_quote(text: str) -> str:
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)
