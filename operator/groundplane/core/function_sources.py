"""Where a function of a pipeline runs: what its Function object, its revisions and the command line say, as data.

A name means what its Function object says.  In order: what the command line gives, an annotation on the Function, a package whose
content is built in, a revision that somebody else's package manager serves.  Whatever is sent to a function holds the Secrets of all
composites that use it: so plaintext stays on this machine, and hosts outside the cluster must be allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from groundplane.core import packages
from groundplane.core.objects import Object, annotations_of, meta, spec_of, status_of
from groundplane.core.pipeline import Endpoint
from groundplane.errors import InvalidInput, shown

ENDPOINT = "groundplane.io/endpoint"  # annotations on a Function
TLS_SECRET = "groundplane.io/endpoint-tls-secret"
SERVER_NAME = "groundplane.io/endpoint-server-name"
TIMEOUT = "groundplane.io/timeout"
RUNTIME = "render.crossplane.io/runtime"  # upstream's, for `render`
DEVELOPMENT_TARGET = "render.crossplane.io/runtime-development-target"
DEVELOPMENT = "localhost:9443"  # where upstream's SDKs listen, unless told otherwise
PACKAGE_LABEL = "pkg.crossplane.io/package"
MADE = "groundplane.io/made"  # annotation, "true" on revisions that are ours
CLIENT_SECRET = "crossplane-tls-client"  # upstream's, in the operator's namespace
LONGEST = 100.0  # seconds that a call may be given: a reconcile has 120

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.svc(\.cluster\.local)?)?)?")
_SOCKET = re.compile(r"unix:(//)?/[^\s/][^\s]*")
_PORT = re.compile(r"\d{1,5}", re.ASCII)
_LOOPBACK = re.compile(r"localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\]")


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of a Function: its package, and where it is served; or why it can't be called there."""

    package: str = ""
    endpoint: Endpoint | None = None
    problem: str = ""
    mend: str = ""
    is_starting: bool = False  # we run it, and it has not served yet


@dataclass(frozen=True)
class Rules:
    """What the operator's settings say of functions that do not run in this process."""

    given: Mapping[str, str] = field(default_factory=dict)  # --function NAME=ADDRESS|exec:COMMAND
    develops: bool = False  # annotations of Crossplane's `render` count: on a laptop
    plaintext: tuple[str, ...] = ()  # Functions that may be called without TLS beyond this machine
    hosts: tuple[str, ...] = ()  # globs: hosts outside the cluster that functions may be called at
    runs: bool = False  # packages of functions are run by us: revisions of ours are served, too


def source(name: str, function: Object | None, revisions: Sequence[Object], rules: Rules) -> Source | None:
    """What a pipeline's step means by a name; None if nothing says so.  `revisions` are those of the Function's package."""
    package = str(spec_of(function).get("package") or "") if function is not None else ""
    try:
        endpoint = _endpoint(name, function, package, revisions, rules)
    except InvalidInput as error:
        return Source(package, problem=f"Function {shown(name)}: {error.what}", mend=error.mend)
    if function is None:
        return None if endpoint is None else Source(package, endpoint)
    is_starting = rules.runs and endpoint is None and not packages.is_built_in("Function", package)
    return Source(package, endpoint, is_starting=is_starting)


def needs_revisions(name: str, function: Object, rules: Rules) -> bool:
    """Whether only the revisions of a Function can say where it runs."""
    notes = annotations_of(function)
    is_known = name in rules.given or ENDPOINT in notes or (rules.develops and notes.get(RUNTIME) == "Development")
    return not is_known and not packages.is_built_in("Function", str(spec_of(function).get("package") or ""))


def _endpoint(
    name: str, function: Object | None, package: str, revisions: Iterable[Object], rules: Rules
) -> Endpoint | None:
    if given := rules.given.get(name):
        return given_endpoint(given)
    if function is None:
        return None
    notes = annotations_of(function)
    if target := notes.get(ENDPOINT):
        return _annotated(name, target, notes, rules)
    if rules.develops and notes.get(RUNTIME) == "Development":
        return _local(notes.get(DEVELOPMENT_TARGET) or DEVELOPMENT)  # no command: manifests run nothing here
    if packages.is_built_in("Function", package):
        return None
    for revision in sorted(revisions, key=lambda each: str(meta(each).get("name"))):
        target = str(status_of(revision).get("endpoint") or "")
        if spec_of(revision).get("desiredState") == "Active" and target and (rules.runs or not is_ours(revision)):
            secret = notes.get(TLS_SECRET) or CLIENT_SECRET
            return Endpoint(_allowed(target, rules), secret, notes.get(SERVER_NAME, ""), _timeout(notes))
    return None


def is_ours(revision: Object) -> bool:
    """Whether we made a package's revision: where another package manager's run, only it knows."""
    return annotations_of(revision).get(MADE) == "true"


def given_endpoint(address: str) -> Endpoint:
    """What a person at this machine gives: a command, or an address on it.

    >>> given_endpoint("localhost:9443").target, given_endpoint("exec:python main.py").command
    ('dns:///localhost:9443', 'python main.py')

    Raises:
        InvalidInput: it is neither.
    """
    if address.startswith("exec:"):
        command = address.removeprefix("exec:").strip()
        if not command:
            raise InvalidInput("exec: has no command", mend="write exec:COMMAND, such as exec:python main.py")
        return Endpoint(command=command)
    return _local(address)


def _local(address: str) -> Endpoint:
    target = _target(address)
    if not is_local(target):
        raise InvalidInput(
            f"{shown(address)} is not on this machine, and plaintext does not leave it",
            mend="give an address on localhost, by a tunnel if it must be",
        )
    return Endpoint(target)


def _annotated(name: str, address: str, notes: Mapping[str, str], rules: Rules) -> Endpoint:
    target, secret = _allowed(address, rules), notes.get(TLS_SECRET, "")
    if not secret and not is_local(target):
        if name not in rules.plaintext:
            secret = CLIENT_SECRET
        elif "." in (host := host_of(target)) and ".svc" not in host and not _is_listed(host, rules):
            raise InvalidInput(
                f"{shown(host)} may be a host outside the cluster, and plaintext does not go there",
                mend="name the Service as <service>.<namespace>.svc",
            )
    return Endpoint(target, secret, notes.get(SERVER_NAME, ""), _timeout(notes))


def _allowed(address: str, rules: Rules) -> str:
    target = _target(address)
    host = host_of(target)
    if is_local(target) or _SERVICE.fullmatch(host) or _is_listed(host, rules):
        return target
    raise InvalidInput(
        f"{shown(host)} is no Service of this cluster, and functions are handed Secrets",
        mend="name it as <service>.<namespace>, or allow the host: --function-hosts",
    )


def _is_listed(host: str, rules: Rules) -> bool:
    return any(fnmatchcase(host, glob) for glob in rules.hosts)


def _target(address: str) -> str:
    """An address as gRPC takes it."""
    if address.startswith("unix:"):
        if _SOCKET.fullmatch(address):
            return address
    else:
        host, colon, port = address.removeprefix("dns:///").rpartition(":")
        if colon and _HOST.fullmatch(host) and _PORT.fullmatch(port) and 0 < int(port) < 65536:
            return f"dns:///{host}:{int(port)}"
    raise InvalidInput(f"{shown(address)} is no address of a function", mend="write HOST:PORT, or unix:///PATH")


def host_of(target: str) -> str:
    """The host of a target; "" of a socket in the file system."""
    return target.removeprefix("dns:///").rpartition(":")[0] if target.startswith("dns:") else ""


def is_local(target: str) -> bool:
    """Whether a target is on this machine, where nobody listens in between.

    >>> [is_local(each) for each in ("unix:///run/f", "dns:///127.0.0.1:1", "dns:///localhost.example.org:1")]
    [True, True, False]
    """
    return target.startswith("unix:") or _LOOPBACK.fullmatch(host_of(target)) is not None


def _timeout(notes: Mapping[str, str]) -> float:
    text = notes.get(TIMEOUT)
    if text is None:
        return Endpoint().timeout
    number = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)s?", text)
    if number is None or not 0 < float(number[1]) <= LONGEST:
        raise InvalidInput(
            f"annotation {TIMEOUT} is {shown(text)}", mend=f"write a number of seconds, at most {LONGEST:g}"
        )
    return float(number[1])
