"""Is what somebody applied as it should be?  The verdict of `groundplane up`: fine, under way, or stuck and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from groundplane.cli import store, tree
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import conditions, health
from groundplane.core.objects import Key, Object, spec_of
from groundplane.errors import NoSuchKind

CARRIES_READY = frozenset({"claim", "composite", "managed"})  # categories of kinds that always get a Ready condition
NAMED = 3  # objects with one and the same cause
UPDATING = "is being brought to what is asked for"
PACKAGES = "pkg.crossplane.io"


@dataclass(frozen=True)
class Verdict:
    """How one object is."""

    key: Key
    state: Literal["fine", "under way", "stuck"]
    causes: tuple[str, ...] = ()  # "Instance x: <message>", the lowest objects that fail or are under way
    is_telling: bool = True  # False: it has no condition that could be awaited
    retried: tuple[Key, ...] = field(default=(), compare=False)  # of what is stuck: what may go well by itself

    def __str__(self) -> str:
        if self.state == "fine":
            return f"{self.key} is ready"
        if len(self.causes) == 1:
            return f"{self.key} is not ready: {self.causes[0]}"
        return "\n  ".join([f"{self.key} is not ready:", *self.causes])


async def judge(cluster: SqliteCluster, key: Key, categories: frozenset[str], now: datetime) -> Verdict:
    """Look at an object and all that it is made of; `categories` are those of its kind."""
    try:
        objects = await store.family(cluster, key)
    except NoSuchKind as error:
        return Verdict(key, "stuck", (str(error),))
    return verdict_of(key, objects, categories, now)


def verdict_of(key: Key, objects: Mapping[Key, Object], categories: frozenset[str], now: datetime) -> Verdict:
    """As `judge`, from the object and all that it is made of."""
    root = objects.get(key)
    if root is None:
        return Verdict(key, "under way", ("not there",))
    wanted = _wanted(root, categories)
    lacking = [type_ for type_ in wanted if not conditions.is_true(root, type_)]
    node = tree.grow(key, objects, now)
    refused = tree.troubles(node)
    if node.state != "deleting" and not lacking and not refused:  # an edit that fails below leaves the root Ready
        # and so does one that is not through yet: it is there, and not all of it is as asked for
        updating = [each.key for each in tree.every(node) if _is(objects.get(each.key) or {}, "Updating")]
        if updating:
            return Verdict(key, "under way", _folded(((each, UPDATING) for each in updating), key))
        return Verdict(key, "fine", is_telling=bool(wanted))
    if refused:
        retried = tuple(each.key for each in tree.every(node) if _is(objects.get(each.key) or {}, "Retrying"))
        told = ((trouble.key, trouble.cause) for trouble in refused)
        return Verdict(key, "stuck", _folded(told, key), retried=retried)
    if said := [text for text in (_failure(root, type_) for type_ in lacking) if text]:
        return Verdict(key, "stuck", tuple(said))
    unready = [child for child in tree.every(node) if child.state != "ready" and not child.children]
    unready = (
        [child for child in unready if child.state != "absent"] or unready or [node]
    )  # what is made later is no cause
    unready.sort(key=lambda child: not child.cause)  # a call that failed, before what waits for its result
    under_way = ((child.key, f"{child.told}: {child.cause}" if child.cause else child.told) for child in unready)
    return Verdict(key, "under way", _folded(under_way, key))


def _wanted(obj: Object, categories: frozenset[str]) -> tuple[str, ...]:
    """The types of the conditions that must be True."""
    group = str(obj["apiVersion"]).partition("/")[0]
    if obj["kind"] == "CompositeResourceDefinition":
        return ("Established", "Offered") if spec_of(obj).get("claimNames") else ("Established",)
    if obj["kind"] == "CustomResourceDefinition":
        return ("Established",)
    if group == PACKAGES and not obj["kind"].endswith("Revision"):
        return ("Installed", "Healthy")
    if categories & CARRIES_READY or conditions.find(obj, "Ready"):
        return ("Ready",)
    return ()


def _is(obj: Object, reason: str) -> bool:
    """Whether an object says that it is not done yet, for this reason."""
    said = health.outlook(obj)
    return said is not None and (said.type, said.reason) == (health.RECONCILING, reason)


def _failure(obj: Object, type_: str) -> str:
    """What a condition that is False says, where False is no passing state (Healthy, Established, …)."""
    found = conditions.find(obj, type_) or {}
    return str(found.get("message") or "") if found.get("status") == "False" and type_ != "Ready" else ""


def _folded(told: Iterable[tuple[Key, str]], root: Key) -> tuple[str, ...]:
    """Each text once, behind the objects that it is of."""
    found: dict[str, list[str]] = {}
    for key, text in told:
        found.setdefault(text, []).append("" if key == root else str(key))
    return tuple(f"{lead}: {text}" if (lead := _named(names)) else text for text, names in found.items())


def _named(names: list[str]) -> str:
    shown = [name for name in names if name][:NAMED]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(shown) + more
