"""`status.composed` of a composite and of its claim: how each resource that it is composed of does, in a few lines.

Additive to upstream's status, so with strict upstream behaviour nobody calls this.  It is part of the status that is written
anyway: it says of a resource only what the conditions count (ready or not), and the trouble that it is in, never its progress.
The trouble is what conditions carry already, so no Secret is in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from groundplane.core import conditions
from groundplane.core.objects import Object, key_of, status_of
from groundplane.core.openapi import Schema, array, boolean, integer, obj, string
from groundplane.errors import clipped

FIELD = "composed"  # of a status
LISTED = 20  # resources: those in trouble first, then those that are not ready
LONGEST = 300  # characters of a trouble that are shown
MENDING = " Mend: "  # between what happened and what to do


@dataclass(frozen=True)
class Part:
    """One composed resource; without `object` it is not there."""

    template: str
    object: Object | None
    ready: bool
    synced: bool
    trouble: str  # why it is not synced
    nested: bool = False  # a composite, which has a summary of its own

    def entry(self) -> dict[str, Any]:
        """What is shown of it."""
        found: dict[str, Any] = {"resource": self.template, "ready": self.ready, "synced": self.synced}
        trouble = self.trouble
        if self.object is not None:
            key = key_of(self.object)
            found |= {"apiVersion": key.api_version, "kind": key.kind, "name": key.name}
            found |= {"namespace": key.namespace} if key.namespace else {}
            found["synced"] &= (conditions.find(self.object, "Synced") or {}).get("status") != "False"
            trouble = trouble or conditions.cause_of(self.object)
        return found | ({"message": _shown(trouble)} if trouble else {})

    def entries(self) -> list[dict[str, Any]]:
        """The resource, and what is in trouble below it, by a path of names: `network/vpc`."""
        found = [self.entry()]
        if self.nested and self.object is not None:
            below = _troubled(status_of(self.object).get(FIELD))
            found += [{**each, "resource": f"{self.template}/{each.get('resource')}"} for each in below]
        return found


def _shown(trouble: str) -> str:
    """A trouble, cut if it is long: rather what happened than what to do."""
    cause, sign, mend = trouble.rpartition(MENDING)
    kept = LONGEST - len(sign + mend)
    return f"{clipped(cause, kept)}{sign}{mend}" if cause and kept >= LONGEST // 2 else clipped(trouble, LONGEST)


def of(parts: Collection[Part]) -> dict[str, Any]:
    """A composite's summary; one in which not all fit says so by its total."""
    entries = sorted((each for part in parts for each in part.entries()), key=_rank)
    return {
        "total": len(parts),
        "ready": sum(part.ready for part in parts),
        "resources": entries[:LISTED],
    }


def of_claim(found: object, *, is_ready: bool) -> dict[str, Any] | None:
    """The claim's: its composite's; while that is not ready only what is in trouble, since each that comes up would be a write."""
    if not isinstance(found, dict) or is_ready:
        return found if isinstance(found, dict) else None
    return {**({"total": found["total"]} if "total" in found else {}), "resources": _troubled(found)}


def schema() -> Schema:
    """Of `composed`, in a status."""
    resource = {
        "resource": string(
            "Its name in the composition; of what a nested composite is composed of, behind that one's name: network/vpc."
        ),
        "apiVersion": string("The object's apiVersion; as kind and name, none where there is no object."),
        "kind": string("The object's kind."),
        "name": string("The object's name."),
        "namespace": string("The object's namespace, if it has one."),
        "ready": boolean("Whether the composition takes it for ready."),
        "synced": boolean("Whether it is as it is wanted."),
        "message": string("What is in the way, and the mend."),
    }
    return obj(
        {
            "total": integer("How many resources it is composed of, those of nested composites not counted."),
            "ready": integer("How many of them are ready. A claim says so once its composite is ready."),
            "resources": array(
                obj(resource, required=["resource", "ready", "synced"]),
                f"At most {LISTED}: what is in trouble first, then what is not ready. A claim whose composite is not ready has only what is in trouble.",
                **{"x-kubernetes-list-type": "atomic"},
            ),
        },
        "How the resources do that it is composed of.",
    )


def _troubled(found: object) -> list[dict[str, Any]]:
    listed = found.get("resources") if isinstance(found, dict) else None
    entries: Iterable[object] = listed if isinstance(listed, list) else ()
    return [each for each in entries if isinstance(each, dict) and each.get("message")]


def _rank(entry: dict[str, Any]) -> tuple[bool, bool, bool, str]:
    synced, ready = (entry.get(name) is True for name in ("synced", "ready"))
    return synced, "message" not in entry, ready, str(entry.get("resource"))
