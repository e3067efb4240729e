"""The kinds that are built in: their files read once, each with its hooks.

Lazy: a kind file is read, and the module beside it imported, when that kind is first asked for.  What acts on AWS is
imported with the hooks: who asks for schemas alone, as `render` does, waits for nothing of boto3.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from groundplane.aws.grammar import DOMAIN, NAMESPACED_DOMAIN, Kind, file_of
from groundplane.core.objects import group_of
from groundplane.errors import InvalidInput, nearest
from groundplane.ports import ManagedKind

if TYPE_CHECKING:
    from groundplane.aws.resource import Hooks


DOMAINS = (f".{DOMAIN}", f".{NAMESPACED_DOMAIN}")  # how the groups of both generations end


def _read(file: str) -> Kind | None:
    source = resources.files(f"{__package__}.kinds") / f"{file}.yaml"
    if not source.is_file():
        return None
    return parsed(source.read_text(encoding="utf-8"), f"aws/kinds/{file}.yaml")


def parsed(text: str, name: str) -> Kind:
    """A kind file's text.  Raises InvalidInput, with the file's name, the line and the key, if it is faulty."""
    document: Mapping[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    try:
        return Kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        words = first["msg"].removeprefix("Value error, ")
        path = [str(part) for part in first["loc"]]
        if not path:  # of the whole file: the message begins with the key
            key, _, words = words.partition(": ")
            path = key.split(".")
        raise InvalidInput(words, where=(f"{name}:{_line(text, path)}", ".".join(path))) from error


def _line(text: str, path: Sequence[str]) -> int:
    """The line, from 1, of the key at a path, or of the nearest that is there."""
    node = yaml.compose(text, Loader=yaml.CSafeLoader)
    line = 1
    for part in path:
        if not isinstance(node, yaml.MappingNode):
            break
        known = {key.value: (key, value) for key, value in node.value}
        if part not in known:
            break
        key, node = known[part]
        line = key.start_mark.line + 1
    return line


@cache
def hooks(file: str) -> Hooks:
    """What the module beside the kind file of that name adds to it; nothing if there is none.

    Raises InvalidInput if the kind file leaves to them what they do not do.
    """
    name = f"{__package__}.kinds.{file}"
    from groundplane.aws.resource import Hooks

    beside = importlib.util.find_spec(name) is not None
    found: Hooks = importlib.import_module(name).Hooks() if beside else Hooks()
    kind = load(file)
    if kind is not None and type(found).update is Hooks.update:
        for group, update in kind.update.items():
            if not update.call:
                message = f"the group has no call, and kinds/{file}.py no hook `update` that sends it"
                raise InvalidInput(message, where=(f"aws/kinds/{file}.yaml", f"update.{group}"))
    return found


@cache
def load(file: str) -> Kind | None:
    """The kind file of that name, read once; None if there is none.  Raises InvalidInput if it is faulty."""
    return _read(file) if file.replace("_", "").isalnum() else None


_ports: dict[str, tuple[ManagedKind, ManagedKind]] = {}  # of both generations, by kind file


def ports() -> Iterator[ManagedKind]:
    """What the managed reconciler must know of all kinds, in both generations, sorted by file name.

    A kind file takes fifty times the memory of that: it is read, and not kept, until somebody acts on AWS with it.
    """
    for name in names():
        if name not in _ports and (kind := _read(name)):
            _ports[name] = (kind.port, kind.namespaced.port)
        yield from _ports.get(name, ())


def port(api_version: str, kind: str) -> ManagedKind | None:
    """What the managed reconciler must know of the kind that is served under that API version and kind, if any."""
    if known := _ports.get(file_of(group_of(api_version), kind)):
        return next((each for each in known if each.kind == kind and api_version in each.api_versions), None)
    found = lookup(api_version, kind)
    return found.port if found else None


def lookup(api_version: str, kind: str) -> Kind | None:
    """The kind that is served under that API version and kind, if any."""
    group, _, version = api_version.partition("/")
    if group_of(api_version) != group or not group.endswith(DOMAINS):
        return None
    found = load(file_of(group, kind))
    if found and group.endswith(f".{NAMESPACED_DOMAIN}"):
        found = found.namespaced
    return found if found and found.kind == kind and version in found.versions else None


def meant(api_version: str, kind: str) -> str:
    """The kind that is served under that API version, and is nearly spelt so, or the same one of another version; "" if there is none.

    >>> meant("rds.aws.upbound.io/v1beta1", "Instanc"), meant("rds.aws.upbound.io/v1beta1", "Queue")
    ('Instance', '')
    >>> meant("ec2.aws.upbound.io/v1beta2", "InternetGateway")
    'InternetGateway of ec2.aws.upbound.io/v1beta1'
    """
    group = group_of(api_version)
    if not group.endswith(DOMAINS):
        return ""
    inside = [name for name in names() if name.startswith(file_of(group, ""))]
    found = load(nearest(file_of(group, kind), inside))
    if found is None or not nearest(kind, [found.kind]):
        return ""  # like it in its group alone
    if lookup(api_version, found.kind):
        return found.kind
    version = f"{group}/{found.versions[0]}"
    return f"{kind} of {version}" if lookup(version, kind) else ""


def names() -> list[str]:
    """The kind files, sorted."""
    files = resources.files(f"{__package__}.kinds").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in files if entry.name.endswith(".yaml"))


@cache
def first_generation() -> tuple[Kind, ...]:
    """All kinds of the cluster-scoped generation, sorted by file name."""
    return tuple(kind for name in names() if (kind := load(name)) is not None)


@cache
def every() -> tuple[Kind, ...]:
    """All kinds that are served, in both generations, sorted by file name."""
    return tuple(each for kind in first_generation() for each in (kind, kind.namespaced))
