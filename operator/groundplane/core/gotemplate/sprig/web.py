"""sprig's functions for URLs and versions.

Source: Masterminds/sprig v3.3.0 `url.go`, `semver.go`; Go's `net/url`; Masterminds/semver v3.3.
"""

from __future__ import annotations

import re
import urllib.parse
import uuid
from typing import Any

from groundplane.core import goformat
from groundplane.core.fieldpath import utf8
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import Run
from groundplane.core.gotemplate.sprig.library import Library, function
from groundplane.core.gotemplate.values import Int, Struct, Uint64, Value, kind

WEB: Library = {}

# --- URLs ---------------------------------------------------------------------------------------------------------------

_PATH = "-_.~$&+,/:;=@"
_FRAGMENT = "-_.~!$&()*+,/:;=?@"
_USER = "-_.~$&+,;="


def _unescaped(text: str, what: str) -> str:
    wrong = re.search(r"%(?![0-9a-fA-F]{2}).{0,2}", text, re.DOTALL)
    if wrong:
        raise ValueError(f"invalid URL escape {goformat.sprintf('%q', wrong[0])}")
    return urllib.parse.unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _parsed(text: str) -> dict[str, str]:
    """Go's url.Parse: raises ValueError with its words."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("net/url: invalid control character in URL")
    rest, has_fragment, fragment = text.partition("#")
    found = {"scheme": "", "host": "", "hostname": "", "path": "", "query": "", "opaque": "", "userinfo": ""}
    found["fragment"] = _unescaped(fragment, "fragment") if has_fragment else ""
    if rest == "*":
        return found | {"path": "*"}
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):", rest)
    if scheme:
        found["scheme"] = scheme[1].lower()
        rest = rest[scheme.end() :]
    elif rest.startswith(":"):
        raise ValueError("missing protocol scheme")
    rest, _, found["query"] = rest.partition("?")
    if not rest.startswith("/"):
        if found["scheme"]:
            return found | {"opaque": rest}
        if ":" in rest.partition("/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
    if rest.startswith("//") and (found["scheme"] or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        _authority(authority, found)
    found["path"] = _unescaped(rest, "path")
    return found


def _authority(authority: str, found: dict[str, str]) -> None:
    user, at, host = authority.rpartition("@")
    if at:
        if re.search(r"[^a-zA-Z0-9\-._:~!$&'()*+,;=%@]", user):
            raise ValueError("net/url: invalid userinfo")
        name, has_password, password = user.partition(":")
        escaped = urllib.parse.quote(_bytes(_unescaped(name, "user")), safe=_USER)
        if has_password:
            escaped += ":" + urllib.parse.quote(_bytes(_unescaped(password, "password")), safe=_USER)
        found["userinfo"] = escaped
    bracket = host.rfind("]")
    port = host[bracket + 1 :] if host.startswith("[") else host[host.rfind(":") :] if ":" in host else ""
    if host.startswith("[") and bracket < 0:
        raise ValueError("missing ']' in host")
    if port and not re.fullmatch(r":[0-9]*", port):
        raise ValueError(f"invalid port {goformat.sprintf('%q', port)} after host")
    if re.search(r'[ "<>\\^`{|}]', host):
        wrong = re.search(r'[ "<>\\^`{|}]', host)
        raise ValueError(f"invalid character {goformat.sprintf('%q', wrong[0] if wrong else '')} in host name")
    found["host"] = _unescaped(host, "host")
    name = found["host"].removesuffix(port) if port else found["host"]
    found["hostname"] = name[1:-1] if name.startswith("[") else name


def _bytes(text: str) -> bytes:
    return utf8(text)


@function(WEB, "urlParse", "string")
def url_parse(text: str) -> dict[str, Value]:
    try:
        return dict(_parsed(text))
    except ValueError as error:
        raise Failure(f"unable to parse url: {error}") from None  # without the URL, which may have a password in it


@function(WEB, "urlJoin", "map")
def url_join(parts: dict[str, Value]) -> str:
    def part(name: str) -> str:
        value = parts.get(name, "")
        if not isinstance(value, str):
            raise Failure(f"unable to parse {name} key, must be of type string, but {kind(value)} found")
        return value

    user = part("userinfo")
    if user:
        try:
            user = _parsed(f"proto://{user}@host")["userinfo"]
        except ValueError as error:
            raise Failure(f"unable to parse userinfo in dict: {error}") from None
    scheme, host, path, query, opaque = map(part, ("scheme", "host", "path", "query", "opaque"))
    text = f"{scheme}:" if scheme else ""
    if opaque:
        text += opaque
    else:
        escaped = path if path == "*" else urllib.parse.quote(_bytes(path), safe=_PATH)
        if scheme or host or user:
            text += "//" if host or path or user else ""
            text += f"{user}@" if user else ""
            text += urllib.parse.quote(_bytes(host), safe="-_.~!$&'()*+,;=:[]<>\"")
        if escaped and not escaped.startswith("/") and host:
            text += "/"
        if not text and ":" in escaped.partition("/")[0]:
            text += "./"
        text += escaped
    if query:
        text += f"?{query}"
    fragment = part("fragment")
    return text + (f"#{urllib.parse.quote(_bytes(fragment), safe=_FRAGMENT)}" if fragment else "")


@function(WEB, "uuidv4", wants_run=True, is_random=True)
def uuid4(run: Run) -> str:
    return str(uuid.UUID(bytes=run.random(16), version=4))


# --- versions -------------------------------------------------------------------------------------------------------------

_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({_IDENTIFIERS}))?(?:\+({_IDENTIFIERS}))?")
_UINT64 = 2**64


class Version(Struct):
    """A semantic version."""

    __slots__ = ("_metadata", "numbers", "original", "prerelease")
    go_type = "*semver.Version"
    kind = "ptr"

    def __init__(self, numbers: tuple[int, int, int], prerelease: str, metadata: str, original: str) -> None:
        super().__init__()
        self.numbers, self.prerelease, self.original = numbers, prerelease, original
        self.fields = {}
        self._metadata = metadata

    def text(self) -> str:
        pre = f"-{self.prerelease}" if self.prerelease else ""
        return ".".join(map(str, self.numbers)) + pre + (f"+{self._metadata}" if self._metadata else "")

    def json(self) -> str:
        return self.text()

    @property
    def order(self) -> tuple[Any, ...]:
        """What versions are ordered by; build metadata does not count."""
        return (*self.numbers, not self.prerelease, tuple(map(_identifier_order, self.prerelease.split("."))))


def _identifier_order(identifier: str) -> tuple[bool, int, str]:
    """Numbers come before words."""
    is_number = identifier.isdigit()
    return (not is_number, int(identifier) if is_number else 0, "" if is_number else identifier)


def _compared(one: Version, other: Value) -> Int:
    if not isinstance(other, Version):
        raise Failure("wrong type for value; expected *semver.Version")
    return Int((one.order > other.order) - (one.order < other.order))


def _raised(version: Version, at: int) -> Version:
    if version.prerelease and at == 2:
        return Version(version.numbers, "", "", version.original)
    numbers = list(version.numbers)
    numbers[at] += 1
    numbers[at + 1 :] = [0] * (2 - at)
    return Version((numbers[0], numbers[1], numbers[2]), "", "", version.original)


Version.methods = {
    "Major": lambda version: Uint64(version.numbers[0]),
    "Minor": lambda version: Uint64(version.numbers[1]),
    "Patch": lambda version: Uint64(version.numbers[2]),
    "Prerelease": lambda version: version.prerelease,
    "Metadata": lambda version: version._metadata,
    "Original": lambda version: version.original,
    "String": lambda version: version.text(),
    "Compare": _compared,
    "Equal": lambda version, other: _compared(version, other) == 0,
    "LessThan": lambda version, other: _compared(version, other) < 0,
    "GreaterThan": lambda version, other: _compared(version, other) > 0,
    "LessThanEqual": lambda version, other: _compared(version, other) <= 0,
    "GreaterThanEqual": lambda version, other: _compared(version, other) >= 0,
    "IncMajor": lambda version: _raised(version, 0),
    "IncMinor": lambda version: _raised(version, 1),
    "IncPatch": lambda version: _raised(version, 2),
}


@function(WEB, "semver", "string")
def semver(text: str) -> Version:
    found = _VERSION.fullmatch(text) if len(text) <= 256 else None
    if found is None:
        raise Failure("invalid semantic version", "write it as 1.2.3, or 1.2.3-rc.1")
    numbers = [int(part or "0") for part in found.groups()[:3]]
    if any(number >= _UINT64 for number in numbers):
        raise Failure("version part is too large")
    prerelease = found[4] or ""
    if any(part.isdigit() and len(part) > 1 and part[0] == "0" for part in prerelease.split(".")):
        raise Failure("version segment starts with 0")
    return Version((numbers[0], numbers[1], numbers[2]), prerelease, found[5] or "", text)


_PART = r"(?:[0-9]+|[xX*])"
_CONSTRAINT_VERSION = rf"v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?(?:-({_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?"
_OPERATORS = "=||!=|>|<|>=|=>|<=|=<|~|~>|^"
_OPERATOR = "|".join(sorted((re.escape(each) for each in _OPERATORS.split("|") if each), key=len, reverse=True))
_CONSTRAINT = re.compile(rf"\s*({_OPERATOR})?\s*{_CONSTRAINT_VERSION}\s*,?")
_RANGE = re.compile(rf"\s*({_CONSTRAINT_VERSION})\s+-\s+({_CONSTRAINT_VERSION})\s*")
_LONGEST_CONSTRAINT = 1_000


class _Constraint:
    """One comparison: what may stand before it, and a version some parts of which may be left open."""

    def __init__(self, operator: str, parts: tuple[str | None, ...], prerelease: str) -> None:
        self.operator = {"=>": ">=", "=<": "<=", "~>": "~", "": "="}.get(operator, operator)
        given = [part for part in parts if part is not None]
        self.given = next((at for at, part in enumerate(given) if part in "xX*"), len(given))
        numbers = [int(part) for part in given[: self.given]] + [0] * (3 - self.given)
        self.is_open = self.given < 3
        self.version = Version((numbers[0], numbers[1], numbers[2]), prerelease, "", "")
        if self.given == 0 and self.operator in ("=", "^", "~"):
            self.operator = ">=" if self.operator != "=" else "*"

    def holds(self, version: Version, *, prereleases: bool) -> bool:
        is_exact = self.operator == "!=" and not self.is_open
        if version.prerelease and not self.version.prerelease and not prereleases and not is_exact:
            return False
        order, wanted, numbers = version.order, self.version.order, version.numbers
        same = numbers[: self.given] == self.version.numbers[: self.given]
        match self.operator:
            case "*":
                return True
            case "=":
                return self._about(version) if self.is_open else order == wanted
            case "!=":
                return not same if self.is_open else order != wanted
            case ">":
                return (numbers[: self.given] > self.version.numbers[: self.given]) if self.is_open else order > wanted
            case "<":
                return order < wanted
            case ">=":
                return order >= wanted
            case "<=":
                return (
                    (numbers[: self.given] <= self.version.numbers[: self.given]) if self.is_open else order <= wanted
                )
            case "~":
                return self._about(version)
        return self._compatible(version)

    def _about(self, version: Version) -> bool:
        """`~`: the same minor version, or major one if no more is said."""
        if version.order < self.version.order:
            return False
        if self.given == 0 or not (self.is_open or any(self.version.numbers)):
            return True
        fixed = 1 if self.given == 1 else 2
        return version.numbers[:fixed] == self.version.numbers[:fixed]

    def _compatible(self, version: Version) -> bool:
        """`^`: the first number that is not zero stays."""
        if version.order < self.version.order:
            return False
        major, minor, patch = self.version.numbers
        if major > 0 or self.given == 1:
            return version.numbers[0] == major
        if version.numbers[0] > 0:
            return False
        if minor > 0 or self.given == 2:
            return version.numbers[1] == minor
        if version.numbers[1] > 0:
            return False
        return version.numbers[2] == patch


def _constraints(text: str) -> list[list[_Constraint]]:
    if len(text) > _LONGEST_CONSTRAINT:
        raise Failure("improper constraint: it is too long")
    alternatives = []
    for alternative in text.split("||"):
        rewritten = _RANGE.sub(lambda found: f" >={found[1]}, <={found[6]} ", alternative)
        found: list[_Constraint] = []
        position = 0
        while position < len(rewritten):
            match = _CONSTRAINT.match(rewritten, position)
            if match is None or (found and rewritten[position - 1] not in " \t\n,"):
                if not rewritten[position:].strip():
                    break
                raise Failure(f"improper constraint: {text}", 'write it as ">= 1.2, < 2" or "^1.2"')
            found.append(_Constraint(match[1] or "", match.groups()[1:4], match[5] or ""))
            position = match.end()
        if not found:
            raise Failure(f"improper constraint: {text}", 'write it as ">= 1.2, < 2" or "^1.2"')
        alternatives.append(found)
    return alternatives


@function(WEB, "semverCompare", "string string")
def semver_compare(constraint: str, text: str) -> bool:
    alternatives = _constraints(constraint)
    version = semver(text)
    return any(
        all(each.holds(version, prereleases=any(one.version.prerelease for one in alternative)) for each in alternative)
        for alternative in alternatives
    )
