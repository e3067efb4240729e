"""Versions as CEL's semver library reads and compares them.

Source: Kubernetes 1.34, apiserver pkg/cel/library/semverlib.go, and blang/semver v4, whose words its errors have.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from groundplane.errors import InvalidInput

_DIGITS = re.compile("[0-9]*")
_WORD = re.compile("[0-9A-Za-z-]*")
_UINT64 = 2**64


class Version(NamedTuple):
    """In the order of precedence: what a build is called does not count, and what is to be released comes before it."""

    major: int
    minor: int
    patch: int
    is_release: bool = True
    before: tuple[tuple[bool, int, str], ...] = ()  # is it a word, the number, the word


def parse(text: str, *, normalize: bool = False) -> Version:
    """The version; with `normalize` also of "v1.2" and "01.2.3".

    >>> parse("1.2.3-rc.1") < parse("1.2.3") == parse("v1.2.3+build", normalize=True)
    True

    Raises:
        InvalidInput: it is none, in the words of the API server.
    """
    if normalize:
        text = _normalized(text)
    if not text:
        raise InvalidInput("Version string empty")
    parts = text.split(".", 2)
    if len(parts) != 3:
        raise InvalidInput("No Major.Minor.Patch elements found")
    major, minor = _number(parts[0], "Major"), _number(parts[1], "Minor")
    patch, plus, build = parts[2].partition("+")
    patch, dash, before = patch.partition("-")
    number = _number(patch, "Patch")
    found = tuple(map(_identifier, before.split("."))) if dash else ()
    for word in build.split(".") if plus else ():
        if not word:
            raise InvalidInput("Build meta data is empty")
        if not _WORD.fullmatch(word):
            raise InvalidInput(f"Invalid character(s) found in build meta data {_quoted(word)}")
    return Version(major, minor, number, not dash, found)


def _normalized(text: str) -> str:
    parts = text.removeprefix("v").split(".", 2)
    for index, part in enumerate(parts):
        if len(part) > 1:
            rest = part.lstrip("0")
            parts[index] = rest if rest[:1].isascii() and rest[:1].isdigit() else f"0{rest}"
    if len(parts) < 3 and re.search("[+-]", parts[-1]):
        raise InvalidInput("short version cannot contain PreRelease/Build meta data")
    return ".".join([*parts, "0", "0"][:3])


def _number(text: str, name: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise InvalidInput(f"Invalid character(s) found in {name.lower()} number {_quoted(text)}")
    if len(text) > 1 and text.startswith("0"):
        raise InvalidInput(f"{name} number must not contain leading zeroes {_quoted(text)}")
    return _uint(text)


def _identifier(text: str) -> tuple[bool, int, str]:
    if not text:
        raise InvalidInput("Prerelease is empty")
    if _DIGITS.fullmatch(text):
        if len(text) > 1 and text.startswith("0"):
            raise InvalidInput(f"Numeric PreRelease version must not contain leading zeroes {_quoted(text)}")
        return False, _uint(text), ""
    if not _WORD.fullmatch(text):
        raise InvalidInput(f"Invalid character(s) found in prerelease {_quoted(text)}")
    return True, 0, text


def _uint(text: str) -> int:
    if not text:
        raise InvalidInput('strconv.ParseUint: parsing "": invalid syntax')
    if len(text) > 20 or (value := int(text)) >= _UINT64:
        raise InvalidInput(f'strconv.ParseUint: parsing "{text}": value out of range')
    return value


def _quoted(text: str) -> str:
    return f'"{text}"'
