"""How `groundplane trace` shows a tree: upstream's table, wide table, JSON, YAML and DOT; then the cause."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from groundplane.cli import store, table, tree
from groundplane.cli.get import masked
from groundplane.core import lineage
from groundplane.core.lineage import Member
from groundplane.core.objects import Json, is_deleting, spec_of
from groundplane.errors import mending

LONGEST = 64  # bytes of a message in a table that is not wide
CAUSE = "Cause  "
MEND = " Mend: "  # between what is wrong and what to do about it


@dataclass(frozen=True, kw_only=True)
class Look:
    """How it shall look."""

    output: str = "default"
    plain: bool = False  # upstream's alone: without what we add
    external: bool = False

    @property
    def tells_causes(self) -> bool:
        """Whether, below the trees, it is said what to look at first."""
        return not self.plain and self.output not in ("json", "yaml", "dot")


def written(roots: Sequence[Member], look: Look, *, is_list: bool = False) -> str:
    """The trees as text, with its line end."""
    if look.output in ("json", "yaml"):
        found: Json = {"items": [_record(root, look) for root in roots]} if is_list else _record(roots[0], look)
        if look.output == "json":
            return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        from groundplane.core import goyaml

        return goyaml.dumps(found)
    if look.output == "dot":
        return "".join(_dot(root) for root in roots)
    text = _table(roots, look)
    if look.plain:
        return text
    causes = [cause for root in roots for cause in [cause_of(root)] if cause]
    return text + "".join(f"\n{line}\n" for line in causes)


# --- the table ------------------------------------------------------------------------------------------


def _table(roots: Sequence[Member], look: Look) -> str:
    wide = look.output == "wide"
    if roots and all(lineage.is_package(root.key.api_version, root.key.kind) for root in roots):
        rows = [["NAME", *(["PACKAGE"] if wide else []), "VERSION", "INSTALLED", "HEALTHY", "STATE", "STATUS", ""]]
        for root in roots:
            rows += [[name, *_package_cells(member, look), ""] for name, member in _named(root, "", "")]
        return table.lay_out(rows) + "\n"
    columns = [
        "NAME",
        *(["RESOURCE"] if wide else []),
        *(["EXTERNAL"] if look.external else []),
        "SYNCED",
        "READY",
        "STATUS",
    ]
    rows = [columns]
    for root in roots:
        for name, member in _named(root, "", ""):
            cells = [*([member.template] if wide else []), *([member.external] if look.external else [])]
            rows.append([name, *cells, *_cells(member, look)])
            if member.folded:
                rest = f"{name[: len(name) - len(_title(member))]}… and {member.folded} more {member.key.kind}, ready (--all)"
                rows.append([rest, *[""] * (len(columns) - 1)])
    return table.lay_out(rows) + "\n"


def _named(member: Member, prefix: str, below: str) -> Iterator[tuple[str, Member]]:
    yield prefix + _title(member), member
    for index, child in enumerate(member.children):
        is_last = index == len(member.children) - 1
        yield from _named(child, below + ("└─ " if is_last else "├─ "), below + ("   " if is_last else "│  "))


def _title(member: Member) -> str:
    place = f" ({member.key.namespace})" if member.key.namespace else ""
    return f"{member.key.kind}/{member.key.name}{place}"


def _cells(member: Member, look: Look) -> list[str]:
    synced, ready = (lineage.condition(member.object, type_) for type_ in ("Synced", "Ready"))
    return [
        synced.get("status") or "-",
        ready.get("status") or _readiness(member, look),
        _status(member, synced, ready, look),
    ]


def _readiness(member: Member, look: Look) -> str:
    """Of kinds that have no condition Ready: what `kubectl wait` would go by."""
    if look.plain or member.object is None or "forProvider" in spec_of(member.object):
        return "-"
    available = lineage.condition(member.object, "Available") or lineage.condition(member.object, "Established")
    if available:
        return str(available.get("status"))
    return "True" if "spec" not in member.object and "status" not in member.object else "-"


def _status(member: Member, synced: Mapping[str, str], ready: Mapping[str, str], look: Look) -> str:
    if member.error:
        return _worded("Error", member.error, look)
    if member.object is not None and is_deleting(member.object):
        return "Deleting"
    if ready.get("status") == "True" and synced.get("status") == "True":
        return str(ready.get("reason") or "")
    for found in (synced, ready):
        if found.get("status") != "True" and (found.get("reason") or found.get("message")):
            return _worded(str(found.get("reason") or ""), str(found.get("message") or ""), look)
    return _worded(str(ready.get("reason") or ""), str(ready.get("message") or ""), look)


def _worded(reason: str, message: str, look: Look) -> str:
    """A reason and the end of its message, as upstream cuts it; the mend has lines of its own below, so that the end is of the cause.

    >>> _worded("Creating", "x" * 70, Look()) == f"Creating: ...{'x' * 64}"
    True
    >>> _worded("Creating", "no such class. Mend: use another.", Look())
    'Creating: no such class'
    """
    message = " ".join(message.split("\n"))
    if look.output != "wide":
        if not look.plain and MEND in message:
            message = message.partition(MEND)[0].rstrip(".")
        raw = message.encode()
        if len(raw) > LONGEST:
            message = "..." + raw[-LONGEST:].decode(errors="ignore")
    return f"{reason}: {message}" if message else reason


def _package_cells(member: Member, look: Look) -> list[str]:
    installed, healthy = (lineage.condition(member.object, type_) for type_ in ("Installed", "Healthy"))
    spec = spec_of(member.object or {})
    is_revision = member.key.kind.endswith("Revision")
    package, state = str(spec.get("image" if is_revision else "package") or ""), str(spec.get("desiredState") or "-")
    status = str(healthy.get("reason") or "")
    if member.error:
        status = _worded("Error", member.error, look)
    elif is_revision:
        status = _worded(status, str(healthy.get("message") or ""), look)
    elif not (installed.get("status") == "True" and healthy.get("status") == "True"):
        said = [
            each
            for each in (installed, healthy)
            if each.get("status") != "True" and (each.get("reason") or each.get("message"))
        ]
        told = said[0] if said else installed
        status = _worded(str(told.get("reason") or ""), str(told.get("message") or ""), look)
    name, _, tag = package.partition("@")[0].rpartition(":") if ":" in package.rpartition("/")[2] else (package, "", "")
    return [
        *([name] if look.output == "wide" else []),
        tag,
        installed.get("status") or "-",
        healthy.get("status") or "-",
        state,
        status,
    ]


# --- JSON, YAML, DOT --------------------------------------------------------------------------------------


def _record(member: Member, look: Look, *, is_root: bool = True) -> dict[str, Any]:
    key = member.key
    obj = member.object or {
        "apiVersion": key.api_version,
        "kind": key.kind,
        "metadata": {"name": key.name, **({"namespace": key.namespace} if key.namespace else {})},
    }
    found: dict[str, Any] = {"object": masked(obj)}
    if member.error:
        found["error"] = member.error
    if member.external and not look.plain:
        found["external"] = member.external
    if member.children:
        found["children"] = [_record(child, look, is_root=False) for child in member.children]
    if is_root and not look.plain and (cause := cause_of(member)):
        found["cause"] = cause.removeprefix(CAUSE)
    return found


def _dot(root: Member) -> str:
    due, nodes, edges = [(root, 0)], [], []
    number = 0
    while due:
        member, parent = due.pop(0)
        number += 1
        if parent:
            edges.append(f"\tn{parent}--n{number};\n")
        label = [f"Name: {member.key.kind}/{member.key.name}", f"ApiVersion: {member.key.api_version}"]
        label += [f"Namespace: {member.key.namespace}"] if member.key.namespace else []
        if lineage.is_package(member.key.api_version, member.key.kind):
            label += [
                f"{type_}: {lineage.condition(member.object, type_).get('status', '')}"
                for type_ in ("Installed", "Healthy")
            ]
            label += [f"Error: {member.error}"] if member.error else []
        else:
            label += [
                f"{type_}: {lineage.condition(member.object, type_).get('status', '')}" for type_ in ("Ready", "Synced")
            ]
        text = "".join(f"{_escaped(line)}\\n" for line in label)
        nodes.append(f'\tn{number}[label="{text}",penwidth="2"];\n')
        due += [(child, number) for child in member.children]
    return f"graph  {{\n\t\n{''.join(nodes)}{''.join(edges)}\t\n}}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


# --- the cause ----------------------------------------------------------------------------------------------


def cause_of(root: Member) -> str:
    """The first thing to look at, and what to do about it; "" if all is ready.

    The lowest that failed; else the lowest that is not ready, since what is above it waits for it.
    """
    objects = {
        member.key: member.object for member in lineage.every(root) if member.object is not None and not member.error
    }
    members = {member.key: member for member in lineage.every(root)}
    grown = _grown(root)
    failing = tree.troubles(grown)
    if failing:
        lowest = _lowest(failing)
        rest = len(failing) - 1
        told = _sentence(lowest, members[lowest.key])
        namespace = f" -n {root.key.namespace}" if root.key.namespace else ""
        trace = f"groundplane trace {root.key.kind.lower()}/{root.key.name}{namespace} -o wide{store.again()}"
        return told + (f"\n{'':<{len(CAUSE)}}{rest} more failed: {trace} shows all." if rest else "")
    lost = [member for member in lineage.every(root) if member.object is None]
    waiting = [
        node
        for node in tree.every(grown)
        if (node.state in ("working", "deleting") or node.waits) and node.told != tree.SILENT
    ]
    deepest = [node for node in waiting if not any(child in waiting for child in node.children)]
    awaited = [node for node in deepest if not node.waits and not any(each.state == "absent" for each in node.children)]
    if lost and not awaited:
        return f"{CAUSE}{lost[0].key}: {lost[0].error}"
    if not awaited or not objects:
        return ""
    return _sentence(awaited[0], members[awaited[0].key])


def _grown(member: Member) -> tree.Node:
    """The tree with the state of each object; whatever could not be read is absent."""
    children = tuple(_grown(child) for child in member.children)
    if member.object is None or member.error:
        return tree.Node(member.key, "absent", member.error)
    state, told, cause = tree.condition(member.object)
    return tree.Node(
        member.key,
        state,
        told,
        cause,
        member.external,
        tree.seconds_of(member.object, state, datetime.now(UTC)),
        children,
        tree.waits(member.object, state),
    )


def _lowest(failing: Sequence[tree.Node]) -> tree.Node:
    """The first of those with no other failure below."""
    keys = {node.key for node in failing}
    return next(
        node for node in failing if not any(each.key in keys for child in node.children for each in tree.every(child))
    )


def _sentence(node: tree.Node, member: Member) -> str:
    text = node.cause or node.told
    ready = lineage.condition(member.object, "Ready")
    if not node.cause and ready.get("message"):
        text = f"{node.told}: {ready['message']}"
    what, _, mend = text.replace("\n", " ").partition(MEND)
    since = f", for {table.duration(node.seconds)}" if node.state == "working" and node.seconds is not None else ""
    names = (
        f"template {member.template}" * bool(member.template),
        f"{tree.cloud(node)}: {node.external_name}" * bool(node.external_name),
    )
    known_as = ", ".join(filter(None, names))
    told = f"{CAUSE}{node.key}{f' ({known_as})' if known_as else ''}: {what.rstrip('.')}{since}."
    return told + (f"\n{'':<{len(CAUSE)}}{mending(mend)}" if mend else "")
