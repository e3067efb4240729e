"""What is seen in AWS and not to be touched: another object's thing, and all of it where the operator only observes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import Key, annotations_of, meta
from groundplane.errors import Awaited, InvalidInput, shown
from groundplane.ports import Difference, Observation
from groundplane.reconcile.managing import ManagedRun

OWNERSHIP = "crossplane-"  # what the tags begin with by which things in AWS are known; an operator that goes to work writes them
LISTED = 10  # differences in a message


def differences(observation: Observation) -> str:
    """What an update would change, with both values; "" if that is nothing but the tags that say whose it is."""
    found = [text for each in observation.drift for text in _told(each)]
    more = f", and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return f"AWS differs, and would be changed: {', '.join(found[:LISTED])}{more}" if found else ""


def _told(difference: Difference) -> list[str]:
    desired, observed = difference.desired, difference.observed
    if difference.field != "tags" or not isinstance(desired, Mapping) or not isinstance(observed, Mapping):
        return [_pair(difference.field, desired, observed)]
    names = sorted(name for name in desired.keys() | observed.keys() if not name.startswith(OWNERSHIP))
    return [
        _pair(f"tags[{name}]", desired.get(name), observed.get(name))
        for name in names
        if desired.get(name) != observed.get(name)
    ]


def _pair(field: str, desired: Any, observed: Any) -> str:
    return f"{field} (there {shown(observed)}, here {shown(desired)})"


async def owner(run: ManagedRun, observation: Observation) -> Key | None:
    """The other object whose thing this is: which its tags name by UID, and which is there and names the thing itself.

    An object that was restored has another UID than the tag, and its name: the thing is its own, as that of one that is gone is whose
    names it now.
    """
    tags = observation.at_provider.get("tags")
    if run.context.options.strict_upstream or not isinstance(tags, Mapping):
        return None
    uid, told = tags.get("crossplane-uid"), str(tags.get("crossplane-kind") or "")
    if not uid or uid == meta(run.managed).get("uid"):
        return None
    namespace, name = str(tags.get("crossplane-namespace") or ""), str(tags.get("crossplane-name") or "")
    for kind in run.context.cloud.kinds():
        version = kind.api_versions[0]
        key = Key(version, kind.kind, namespace, name)
        if f"{kind.kind}.{key.group}".lower() != told:
            continue
        found = await run.context.cluster.get(key)
        if found and meta(found).get("uid") == uid and annotations_of(found).get(EXTERNAL_NAME) == run.external_name:
            return key
    return None


def is_of_another(run: ManagedRun, other: Key) -> InvalidInput:
    error = InvalidInput(
        f"{run.external_name} is that of {other}, by its tags in AWS: two objects would change it in turn",
        mend='delete one of the two, that one with deletionPolicy: Orphan; or only look, by managementPolicies: ["Observe"]',
        where=(f"annotation {EXTERNAL_NAME}",),
    )
    error.on = (Awaited(other.group, other.kind, other.namespace, other.name),)
    error.reason, error.prefix = "CannotUpdateExternalResource", "update failed"
    return error
