"""A claim and all that comes of it, as a tree: claim → composite → managed resources → what they stand for.

Pure: objects in, text out.  On a terminal the tree is drawn; elsewhere each change of a state is a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from groundplane.core import conditions, health, providers
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import Key, Object, annotations_of, is_deleting, meta, spec_of

if TYPE_CHECKING:  # rich takes 40 ms to import: only what draws pays for it
    from rich.text import Text
    from rich.tree import Tree

SILENT = "no conditions yet"
UNAVAILABLE = "unavailable"  # the cause of what says none

State = Literal["ready", "working", "failed", "deleting", "absent"]
_LOOKS: dict[State, tuple[str, str]] = {  # sign, style
    "ready": ("✔", "green"),
    "working": ("…", "yellow"),
    "failed": ("✘", "red"),
    "deleting": ("−", "magenta"),
    "absent": ("○", "dim"),
}


@dataclass(frozen=True)
class Node:
    """One object in the tree, as it is now."""

    key: Key
    state: State
    told: str = ""  # the conditions, and why it is not ready: "Synced, not Ready: Creating"
    cause: str = ""  # the message of an error
    external_name: str = ""  # what a managed resource stands for
    seconds: int | None = None  # until it was ready; its age while it is not
    children: tuple[Node, ...] = ()
    waits: bool = False  # what it lacks is still to come


def references(obj: Object) -> Iterator[Key]:
    """What an object is made of: a claim's composite, a composite's composed resources."""
    spec = spec_of(obj)
    found = [spec.get("resourceRef"), *(spec.get("resourceRefs") or ())]
    found += (spec.get("crossplane") or {}).get("resourceRefs") or ()
    for reference in found:
        if isinstance(reference, Mapping) and reference.get("name") and reference.get("kind"):
            is_modern = "crossplane" in spec
            namespace = reference.get("namespace") or (meta(obj).get("namespace") if is_modern else "") or ""
            yield Key(reference.get("apiVersion", ""), reference["kind"], namespace, reference["name"])


def grow(root: Key, objects: Mapping[Key, Object], now: datetime) -> Node:
    """The tree below an object, from objects by key; what is referred to and not among them is absent."""
    return _grow(root, objects, now, frozenset())


def _grow(key: Key, objects: Mapping[Key, Object], now: datetime, above: frozenset[Key]) -> Node:
    obj = objects.get(key)
    if obj is None:
        return Node(key, "absent", "gone")
    below = above | {key}
    children = tuple(_grow(child, objects, now, below) for child in references(obj) if child not in below)
    state, told, cause = condition(obj)
    name = annotations_of(obj).get(EXTERNAL_NAME, "") if "forProvider" in spec_of(obj) else ""
    return Node(key, state, told, cause, name, seconds_of(obj, state, now), children, waits(obj, state))


def waits(obj: Object, state: State) -> bool:
    """Whether an object that failed says that it only lacks what something else has yet to bring."""
    outlook = health.outlook(obj)
    return state == "failed" and outlook is not None and outlook.reason == "Waiting"


def condition(obj: Object) -> tuple[State, str, str]:
    """How an object is, from its conditions: the state, the conditions in words, and the error's message.

    >>> condition({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Creating"}]}})
    ('working', 'not Ready: Creating', '')
    """
    synced, ready = conditions.find(obj, "Synced"), conditions.find(obj, "Ready")
    words = [word for word in (_word(synced), _word(ready)) if word]
    told = ", ".join(words) or SILENT
    is_refused = synced is not None and synced.get("status") == "False"
    cause = str((synced or {}).get("message") or "") if is_refused else ""
    if is_deleting(obj):
        return "deleting", told, cause
    retried = health.outlook(obj)
    call = retried.message if retried and retried.reason == "Retrying" else ""  # it failed; Synced says so only later
    if call and (not is_refused or conditions.EARLY in cause) and not _is_ready(ready):
        return "working", told, call
    if conditions.EARLY in cause:
        return "working", _awaited(cause), ""
    if is_refused and (synced or {}).get("reason") != "ReconcilePaused":
        return "failed", told, cause
    if _is_ready(ready):
        return "ready", told, ""
    if ready is not None and ready.get("reason") == "Unavailable":
        return "failed", told, str(ready.get("message") or UNAVAILABLE)
    return "working", told, ""


def _awaited(message: str) -> str:
    """What a reference waits for, of the condition's message.

    >>> _awaited(f"spec.vpcId: referenced field was empty ({conditions.EARLY}): VPC net has no id yet. Mend: wait for it.")
    'waits for what it refers to: VPC net has no id yet'
    >>> _awaited(f"spec.vpcId: referenced field was empty ({conditions.EARLY})")
    'waits for what it refers to'
    """
    said = message.partition(f"{conditions.EARLY}): ")[2].partition(" Mend: ")[0].rstrip(".")
    return f"waits for what it refers to: {said}" if said else "waits for what it refers to"


def _is_ready(found: Mapping[str, str] | None) -> bool:
    return found is not None and found.get("status") == "True"


def _word(found: Mapping[str, str] | None) -> str:
    if found is None:
        return ""
    if found.get("status") == "True":
        return str(found["type"])
    reason = found.get("reason") or found.get("status") or ""
    return f"not {found['type']}: {reason}"


def seconds_of(obj: Object, state: State, now: datetime) -> int | None:
    """Until it was ready; its age while it is not; None if it does not say."""
    ready = conditions.find(obj, "Ready")
    try:
        born = _time(meta(obj).get("creationTimestamp"))
        until = _time(ready.get("lastTransitionTime")) if state == "ready" and ready else now
        return max(0, int((until - born).total_seconds()))
    except (ValueError, TypeError):  # no time, or one without a zone: somebody else's object
        return None


def _time(text: object) -> datetime:
    return datetime.fromisoformat(str(text or "").replace("Z", "+00:00"))


# --- reading it -----------------------------------------------------------------------------------------


def every(node: Node) -> Iterator[Node]:
    """The node and all below it, from the top."""
    yield node
    for child in node.children:
        yield from every(child)


def troubles(node: Node) -> list[Node]:
    """Where it fails, from the top; none while it is ready or under way.

    What only sums up a failure below it is left out, and so is what waits while something below it is under way and nothing failed.
    """
    below = [trouble for child in node.children for trouble in troubles(child)]
    if node.waits and not below and any(each.state == "working" for child in node.children for each in every(child)):
        return []
    is_own = node.state == "failed" and not any(trouble.cause in node.cause for trouble in below)
    is_own = is_own and (not below or node.cause != UNAVAILABLE)
    return [node, *below] if is_own else below


# --- showing it -----------------------------------------------------------------------------------------


def drawn(node: Node) -> Tree:
    """The tree for a terminal."""
    from rich.tree import Tree

    return _drawn(node, Tree(_label(node)))


def _drawn(node: Node, tree: Tree) -> Tree:
    from rich.text import Text

    for child in node.children:
        _drawn(child, tree.add(_label(child)))
    if node.external_name:
        tree.add(Text.assemble((f"{cloud(node)} ", "dim"), node.external_name))
    return tree


def _label(node: Node) -> Text:
    from rich.text import Text

    sign, style = _LOOKS[_looks_like(node)]
    text = Text.assemble((f"{sign} ", style), (node.key.kind, "bold"), f" {_place(node.key)}  ", (_told(node), style))
    if node.seconds is not None:
        text.append(f"  {node.seconds} s", "dim")
    if node.cause:
        text.append(f"\n  {node.cause}", style)
    return text


def changes(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    """What is new, a line each, from the top of the tree; the same twice gives nothing, nor do objects that say nothing.

    >>> key = Key("a/v1", "Thing", "", "x")
    >>> changes([], [Node(key, "working", "not Ready: Creating")])
    ['… Thing x: not Ready: Creating']
    """
    known = {node.key: node for root in before for node in every(root)}
    lines = []
    for node in (node for root in after for node in every(root)):
        old = known.pop(node.key, None)
        if node.told == SILENT:
            continue
        if old is None or line(old) != line(node):
            lines.append(line(node))
    lines += [f"{_LOOKS['absent'][0]} {key}: gone" for key, node in known.items() if node.state != "absent"]
    return lines


def line(node: Node) -> str:
    """One node in one line."""
    name = f" → {cloud(node)} {node.external_name}" if node.external_name else ""
    cause = node.cause.partition(" Mend:")[0] if node.waits else node.cause  # what is still to come nobody has to mend
    cause = f": {cause}" if cause else ""
    return f"{_LOOKS[_looks_like(node)][0]} {node.key}{name}: {_told(node)}{cause}"


def _looks_like(node: Node) -> State:
    return "working" if node.waits else node.state


def _told(node: Node) -> str:
    if node.waits:
        return "waits"
    return "being deleted" if node.state == "deleting" and not node.cause else node.told


def cloud(node: Node) -> str:
    """What has the thing that a managed resource stands for."""
    family = providers.of(node.key.group)
    return family.title if family else "external"


def _place(key: Key) -> str:
    return f"{key.namespace}/{key.name}" if key.namespace else key.name
