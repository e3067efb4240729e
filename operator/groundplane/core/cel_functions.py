"""The functions of Kubernetes' CEL environment that the CEL library does not bring, in Python.

`FUNCTIONS` says what there is; `cel.py` hands it to the library.  Values of types of Kubernetes' own (URL, IP, CIDR,
Quantity, Semver, Format) are maps with one key, in a canonical form, so that equality is theirs.  Whatever makes text of text is
bounded by `LONGEST`, since the library bounds steps, not sizes.

Source: Kubernetes 1.34, apiserver pkg/cel/environment/base.go and pkg/cel/library; cel-go v0.26, ext/strings.go, lists.go,
sets.go, comprehensions.go.  Left out: the lists' functions of 1.34 (which its API server takes no new rule with) and authorizer.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import re2

from groundplane.core import quantity, semver
from groundplane.core.structural import FORMATS, expression, identity
from groundplane.errors import InvalidInput

LONGEST: Final = 2_000_000  # characters of a text that a function makes: more than an object may be long
_LARGEST: Final = 2**63 - 1


class Failed(ValueError):
    """A rule that fails while it is evaluated, as it would in the API server; the text is the API server's."""


class Function(NamedTuple):
    """One overload.  Types by name: `int`, `double`, `bool`, `string`, `bytes`, `list`, `map`, `null`, `dyn` …"""

    name: str
    takes: tuple[str, ...]
    gives: str
    do: Callable[..., Any]
    is_member: bool = True


# --- text


def _at(text: str, index: int, *, end: bool = True) -> int:
    if 0 <= index < len(text) or (end and index == len(text)):
        return index
    raise Failed(f"index out of range: {index}")


def _bounded(size: int) -> None:
    if size > LONGEST:
        raise OverflowError("the text would be too long")


def _last_index(text: str, part: str, start: int | None = None) -> int:
    return text.rfind(part) if start is None else text.rfind(part, 0, _at(text, start) + len(part))


def _replaced(text: str, old: str, new: str, count: int = -1) -> str:
    _bounded(len(text) + (text.count(old)) * len(new))
    return text.replace(old, new, count)


def _split(text: str, by: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if not by:
        letters = list(text)
        return letters if count < 0 or len(letters) <= count else [*letters[: count - 1], "".join(letters[count - 1 :])]
    return text.split(by, count - 1 if count > 0 else -1)


def _joined(parts: list[Any], by: str = "") -> str:
    if not all(isinstance(part, str) for part in parts):
        raise TypeError("join wants strings")
    _bounded(sum(map(len, parts)) + len(parts) * len(by))
    return by.join(parts)


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else _at(text, end)
    if _at(text, start) > stop:
        raise Failed(f"invalid substring range. start: {start}, end: {stop}")
    return text[start:stop]


_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = {after: before for before, after in _UPPER.items()}
_QUOTED = {7: "\\a", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t", 11: "\\v", 92: "\\\\", 34: '\\"'}


def _found(text: str, pattern: str) -> str:
    found = _regex(pattern).search(text)
    return found.group(0) if found else ""


def _all_found(text: str, pattern: str, count: int = -1) -> list[str]:
    found = [match.group(0) for match in _regex(pattern).finditer(text)]
    return found if count < 0 else found[:count]


def _regex(pattern: str) -> Any:
    try:
        return expression(pattern)
    except InvalidInput as error:
        raise Failed(f"Illegal regex: {error.what}") from error


_CLAUSE = re.compile(r"%(?:\.(\d{1,3}))?([a-zA-Z%])")


def _formatted(text: str, values: list[Any]) -> str:
    """Go's verbs, as cel-go has them; at most as many as there are values."""
    rest = iter(values)

    def clause(found: re.Match[str]) -> str:
        if found[2] == "%":
            return "%"
        try:
            value = next(rest)
        except StopIteration:
            raise Failed(f"index {len(values)} out of range") from None
        return _verb(found[2], value, int(found[1] or 6))

    result = _CLAUSE.sub(clause, text)
    _bounded(len(result))
    return result


def _verb(verb: str, value: Any, precision: int) -> str:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if verb == "s":
        return _shown(value)
    if verb == "d" and is_integer:
        return str(value)
    if verb in "fe" and (is_integer or isinstance(value, float)):
        return f"{value:.{precision}{verb}}"
    if verb == "b" and isinstance(value, int):
        return f"{value:b}"
    if verb in "xXo" and is_integer:
        return f"{value:{verb}}"
    if verb in "xX" and isinstance(value, str | bytes | bytearray):
        digits = (value.encode() if isinstance(value, str) else bytes(value)).hex()
        return digits.upper() if verb == "X" else digits
    raise TypeError(f"no such format: %{verb}")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{_number(value.total_seconds())}s"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_shown(name)}: {_shown(value[name])}' for name in sorted(value, key=_shown))}}}"
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    raise TypeError("no such format: %s")


def _number(value: float) -> str:
    if not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


# --- lists and sets


def _sum(values: list[Any]) -> Any:
    if values and isinstance(values[0], timedelta):
        return sum(values, timedelta())
    total = sum(values)
    if isinstance(total, int) and not -_LARGEST - 1 <= total <= _LARGEST:
        raise Failed("integer overflow")
    return total


def _extreme(name: str, choose: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    def found(values: list[Any]) -> Any:
        if not values:
            raise Failed(f"{name} called on empty list")
        return choose(values)

    return found


def _key(value: Any) -> Any:
    """Something hashable, so that nothing takes quadratic time."""
    return bytes(value) if isinstance(value, bytearray) else identity(value)


def _position(values: Iterable[tuple[int, Any]], wanted: Any) -> int:
    key = _key(wanted)
    return next((index for index, value in values if _key(value) == key), -1)


def _contains(values: list[Any], wanted: list[Any]) -> bool:
    return {_key(each) for each in wanted} <= {_key(value) for value in values}


# --- addresses

_SCHEME = re2.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:")
_AUTHORITY = re2.compile(r"^(?:[^@/\s]*@)?(?:\[[0-9a-fA-F:.%]+\]|[^\[\]:/\s<>\"\\^`{|}]*)(?::\d*)?$")
_BAD_IN_URL = re2.compile(r"[\x00-\x1f\x7f]|%(?:$|.$|[^0-9a-fA-F]|.[^0-9a-fA-F])")


def _is_url(text: str) -> bool:
    if not text or _BAD_IN_URL.search(text):
        return False
    if not (text.startswith("/") or _SCHEME.search(text)):
        return False
    try:
        return bool(_AUTHORITY.search(urlsplit(text).netloc))
    except ValueError:
        return False


def _url(text: str) -> dict[str, str]:
    if not _is_url(text):
        raise Failed(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return {"url": text}


def _of_url(read: Callable[[Any], Any]) -> Callable[[Mapping[str, str]], Any]:
    return lambda given: read(urlsplit(given["url"]))


def _host(parts: Any) -> str:
    return str(parts.netloc.rpartition("@")[2])


def _hostname(parts: Any) -> str:
    host = _host(parts)
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _port(parts: Any) -> str:
    return _host(parts).rpartition("]")[2].partition(":")[2]


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(given: Any) -> Address:
    text = given["ip"] if isinstance(given, Mapping) else given
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise Failed(f'IP Address "{text}" parse error during conversion from string: {error}') from error
    if "%" in text:
        raise Failed(f'IP address "{text}" with zone value is not allowed')
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        raise Failed(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return found


def _network(given: Any) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    text = given["cidr"] if isinstance(given, Mapping) else given
    address, slash, length = text.partition("/")
    if not slash or not re.fullmatch(r"0|[1-9][0-9]{0,2}", length):
        raise Failed(f'network address parse error during conversion from string: netip.ParsePrefix("{text}")')
    _address(address)
    try:
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise Failed(f"network address parse error during conversion from string: {error}") from error


def _is(read: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def holds(given: Any) -> bool:
        try:
            read(given)
        except Failed:
            return False
        return True

    return holds


def _is_global(address: Address) -> bool:
    """Go's IsGlobalUnicast: private addresses are."""
    others = (address.is_unspecified, address.is_loopback, address.is_multicast, address.is_link_local)
    return not any(others) and str(address) != "255.255.255.255"


_LOCAL_MULTICAST: Final = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}


def _contains_ip(network: Any, address: Any) -> bool:
    return _address(address) in _network(network).network


def _contains_network(network: Any, other: Any) -> bool:
    outer, inner = _network(network).network, _network(other).network
    return outer.version == inner.version and inner.network_address in outer and inner.prefixlen >= outer.prefixlen


# --- quantities


def _quantity(given: Any) -> Fraction:
    if isinstance(given, int):
        return Fraction(given)
    if isinstance(given, Mapping):
        return Fraction(given["quantity"])
    try:
        return quantity.exact(given)
    except InvalidInput as error:
        raise Failed(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ) from error


def _boxed(value: Fraction) -> dict[str, str]:
    return {"quantity": str(value)}


def _as_integer(given: Any) -> int:
    value = _quantity(given)
    if not _is_integer(given):
        raise Failed("cannot convert value to integer")
    return int(value)


def _is_integer(given: Any) -> bool:
    value = _quantity(given)
    return value.denominator == 1 and -_LARGEST - 1 <= value <= _LARGEST


def _compared(one: Any, other: Any) -> int:
    """Of two quantities, or of two versions."""
    first: Any
    second: Any
    if isinstance(one, Mapping) and "semver" in one:
        first, second = _version(one), _version(other)
    else:
        first, second = _quantity(one), _quantity(other)
    return int(first > second) - int(first < second)


# --- versions


def _parsed_version(text: str, normalize: bool = False) -> semver.Version:
    try:
        return semver.parse(text, normalize=normalize)
    except InvalidInput as error:
        raise Failed(error.what) from error


def _semver(text: str, normalize: bool = False) -> dict[str, str]:
    """What its build is called does not count, so it is left out: versions are equal that differ by it alone."""
    found = _parsed_version(text, normalize)
    before = ".".join(word if is_word else str(number) for is_word, number, word in found.before)
    return {"semver": f"{found.major}.{found.minor}.{found.patch}{'' if found.is_release else f'-{before}'}"}


def _signed(value: int) -> int:
    """As Go converts to an int64."""
    return value - 2**64 if value > _LARGEST else value


def _version(given: Any) -> semver.Version:
    return semver.parse(given["semver"])


def _is_semver(text: str, normalize: bool = False) -> bool:
    return _is(lambda given: _parsed_version(given, normalize))(text)


# --- two variables: `cel.py` writes them as comprehensions of one over these


def _pairs(values: Any) -> list[dict[str, Any]]:
    """The entries of a list, by index, or of a map."""
    entries = values.items() if isinstance(values, Mapping) else enumerate(values)
    return [{"k": key, "v": value} for key, value in entries]


def _mapped(pairs: list[Any]) -> dict[Any, Any]:
    return {pair["k"]: pair["v"] for pair in pairs}


def _merged(maps: list[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for each in maps:
        for key, value in each.items():
            if key in found:
                raise Failed(f"insert failed: key {key} already exists")
            found[key] = value
    return found


# --- formats

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_WORD = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"


def _is_qualified(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    if slash and (len(prefix) > 253 or not re.fullmatch(_SUBDOMAIN, prefix)):
        return False
    return len(name) <= 63 and bool(re.fullmatch(_WORD, name))


def _matching(pattern: str, longest: int, *, prefix: bool = False) -> Callable[[str], bool]:
    """With `prefix` a dash at the end is fine, as something follows."""
    shape = re.compile(pattern)
    return lambda text: (
        len(text) <= longest and bool(shape.fullmatch(f"{text[:-1]}a" if prefix and text[-1:] == "-" else text))
    )


_FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "dns1123Label": _matching(_LABEL, 63),
    "dns1123Subdomain": _matching(_SUBDOMAIN, 253),
    "dns1035Label": _matching(_LABEL_1035, 63),
    "dns1123LabelPrefix": _matching(_LABEL, 63, prefix=True),
    "dns1123SubdomainPrefix": _matching(_SUBDOMAIN, 253, prefix=True),
    "dns1035LabelPrefix": _matching(_LABEL_1035, 63, prefix=True),
    "qualifiedName": _is_qualified,
    "labelValue": _matching(rf"({_WORD})?", 63),
    "uri": _is_url,
    "uuid": FORMATS["uuid"],
    "byte": FORMATS["byte"],
    "date": FORMATS["date"],
    "datetime": FORMATS["date-time"],
}


def _named(name: str) -> dict[str, Any]:
    """An optional: a map whose entry `v` it is, if there is one; `cel.py` reads it."""
    return {"v": {"format": name}} if name in _FORMATS else {}


def _validated(given: Mapping[str, str], text: str) -> dict[str, Any]:
    """An optional, as `_named`'s: none if the text is valid."""
    return {} if _FORMATS[given["format"]](text) else {"v": [f"does not match the format {given['format']}"]}


# --- the table

PAIRS: Final = "groundplane_pairs"
MAPPED: Final = "groundplane_mapped"
MERGED: Final = "groundplane_merged"

_ANY = ("bool", "int", "double", "string", "bytes", "list", "map", "null")
_IP, _CIDR, _QUANTITY = ("string", "map"), ("string", "map"), ("map", "int")

FUNCTIONS: Final[tuple[Function, ...]] = (
    Function("charAt", ("string", "int"), "string", lambda text, index: text[_at(text, index) : index + 1]),
    Function("indexOf", ("string", "string"), "int", lambda text, part: text.find(part)),
    Function(
        "indexOf", ("string", "string", "int"), "int", lambda text, part, start: text.find(part, _at(text, start))
    ),
    Function("lastIndexOf", ("string", "string"), "int", _last_index),
    Function("lastIndexOf", ("string", "string", "int"), "int", _last_index),
    Function("lowerAscii", ("string",), "string", lambda text: text.translate(_LOWER)),
    Function("upperAscii", ("string",), "string", lambda text: text.translate(_UPPER)),
    Function("replace", ("string", "string", "string"), "string", _replaced),
    Function("replace", ("string", "string", "string", "int"), "string", _replaced),
    Function("split", ("string", "string"), "list", _split),
    Function("split", ("string", "string", "int"), "list", _split),
    Function("join", ("list",), "string", _joined),
    Function("join", ("list", "string"), "string", _joined),
    Function("substring", ("string", "int"), "string", _substring),
    Function("substring", ("string", "int", "int"), "string", _substring),
    Function("trim", ("string",), "string", str.strip),
    Function("format", ("string", "list"), "string", _formatted),
    Function("strings.quote", ("string",), "string", lambda text: f'"{text.translate(_QUOTED)}"', is_member=False),
    Function("find", ("string", "string"), "string", _found),
    Function("findAll", ("string", "string"), "list", _all_found),
    Function("findAll", ("string", "string", "int"), "list", _all_found),
    Function("isSorted", ("list",), "bool", lambda values: all(a <= b for a, b in pairwise(values))),
    Function("sum", ("list",), "dyn", _sum),
    Function("min", ("list",), "dyn", _extreme("min", min)),
    Function("max", ("list",), "dyn", _extreme("max", max)),
    *(
        Function("indexOf", ("list", each), "int", lambda values, one: _position(enumerate(values), one))
        for each in _ANY
    ),
    *(
        Function("lastIndexOf", ("list", each), "int", lambda values, one: _position([*enumerate(values)][::-1], one))
        for each in _ANY
    ),
    Function("sets.contains", ("list", "list"), "bool", _contains, is_member=False),
    Function(
        "sets.equivalent", ("list", "list"), "bool", lambda a, b: _contains(a, b) and _contains(b, a), is_member=False
    ),
    Function(
        "sets.intersects",
        ("list", "list"),
        "bool",
        lambda a, b: bool({_key(each) for each in a} & {_key(each) for each in b}),
        is_member=False,
    ),
    Function("isURL", ("string",), "bool", _is_url, is_member=False),
    Function("url", ("string",), "dyn", _url, is_member=False),
    Function("getScheme", ("map",), "string", _of_url(lambda parts: parts.scheme)),
    Function("getHost", ("map",), "string", _of_url(_host)),
    Function("getHostname", ("map",), "string", _of_url(_hostname)),
    Function("getPort", ("map",), "string", _of_url(_port)),
    Function("getEscapedPath", ("map",), "string", _of_url(lambda parts: quote(parts.path, "/%:@!$&'()*+,;=~"))),
    Function("getQuery", ("map",), "dyn", _of_url(lambda parts: parse_qs(parts.query, keep_blank_values=True))),
    Function("isIP", ("string",), "bool", _is(_address), is_member=False),
    Function("ip", ("string",), "dyn", lambda text: {"ip": str(_address(text))}, is_member=False),
    Function("ip.isCanonical", ("string",), "bool", lambda text: str(_address(text)) == text, is_member=False),
    Function("family", ("map",), "int", lambda given: _address(given).version),
    Function("isUnspecified", ("map",), "bool", lambda given: _address(given).is_unspecified),
    Function("isLoopback", ("map",), "bool", lambda given: _address(given).is_loopback),
    Function(
        "isLinkLocalMulticast",
        ("map",),
        "bool",
        lambda given: _address(given) in _LOCAL_MULTICAST[_address(given).version],
    ),
    Function("isLinkLocalUnicast", ("map",), "bool", lambda given: _address(given).is_link_local),
    Function("isGlobalUnicast", ("map",), "bool", lambda given: _is_global(_address(given))),
    Function("isCIDR", ("string",), "bool", _is(_network), is_member=False),
    Function("cidr", ("string",), "dyn", lambda text: {"cidr": str(_network(text))}, is_member=False),
    *(Function("containsIP", ("map", each), "bool", _contains_ip) for each in _IP),
    *(Function("containsCIDR", ("map", each), "bool", _contains_network) for each in _CIDR),
    Function("ip", ("map",), "dyn", lambda given: {"ip": str(_network(given).ip)}),
    Function("masked", ("map",), "dyn", lambda given: {"cidr": str(_network(given).network)}),
    Function("prefixLength", ("map",), "int", lambda given: _network(given).network.prefixlen),
    Function("isQuantity", ("string",), "bool", _is(_quantity), is_member=False),
    Function("quantity", ("string",), "dyn", lambda text: _boxed(_quantity(text)), is_member=False),
    Function("sign", ("map",), "int", lambda given: _compared(given, 0), is_member=False),
    Function("isInteger", ("map",), "bool", _is_integer),
    Function("asInteger", ("map",), "int", _as_integer),
    Function("asApproximateFloat", ("map",), "double", lambda given: float(_quantity(given))),
    *(Function("add", ("map", each), "dyn", lambda a, b: _boxed(_quantity(a) + _quantity(b))) for each in _QUANTITY),
    *(Function("sub", ("map", each), "dyn", lambda a, b: _boxed(_quantity(a) - _quantity(b))) for each in _QUANTITY),
    Function("compareTo", ("map", "map"), "int", _compared),
    Function("isGreaterThan", ("map", "map"), "bool", lambda a, b: _compared(a, b) > 0),
    Function("isLessThan", ("map", "map"), "bool", lambda a, b: _compared(a, b) < 0),
    Function("semver", ("string",), "dyn", _semver, is_member=False),
    Function("semver", ("string", "bool"), "dyn", _semver, is_member=False),
    Function("isSemver", ("string",), "bool", _is_semver, is_member=False),
    Function("isSemver", ("string", "bool"), "bool", _is_semver, is_member=False),
    *(
        Function(part, ("map",), "int", lambda given, part=part: _signed(getattr(_version(given), part)))
        for part in ("major", "minor", "patch")
    ),
    *(Function(PAIRS, (each,), "list", _pairs) for each in ("list", "map")),
    Function(MAPPED, ("list",), "map", _mapped),
    Function(MERGED, ("list",), "map", _merged),
    *(Function(f"format.{name}", (), "dyn", lambda name=name: {"format": name}, is_member=False) for name in _FORMATS),
    Function("format.named", ("string",), "dyn", _named, is_member=False),
    Function("validate", ("map", "string"), "dyn", _validated),
)

ELSEWHERE: Final = frozenset(
    [
        "slice",
        "flatten",
        "distinct",
        "reverse",
        "sort",
        "sortBy",
        "lists",
        "range",
        "first",
        "last",
        "authorizer",
        "group",
    ]
    + [
        "resource",
        "subresource",
        "namespace",
        "name",
        "path",
        "serviceAccount",
        "check",
        "allowed",
        "reason",
        "errored",
    ]
    + ["error", "fieldSelector", "labelSelector"]
)
"""Functions and macros of Kubernetes' environment that are neither here nor in the library: a rule with one is not checked."""
