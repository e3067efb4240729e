"""What is seen in the cloud and not to be touched: another object's thing, and all of it where the operator only observes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import Key, Object, annotations_of, key_of, meta, spec_of, status_of
from groundplane.core.pipeline import Selector
from groundplane.errors import Awaited, InvalidInput, shown
from groundplane.ports import Difference, ManagedKind, Observation
from groundplane.reconcile.managing import ManagedRun

OWNERSHIP = "crossplane-"  # what the tags begin with by which things in AWS are known; an operator that goes to work writes them
LISTED = 10  # differences in a message


def differences(run: ManagedRun, observation: Observation) -> str:
    """What an update would change, with both values; "" if that is nothing but the tags that say whose it is."""
    found = [text for each in observation.drift for text in _told(each)]
    more = f", and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return f"{run.kind.cloud} differs, and would be changed: {', '.join(found[:LISTED])}{more}" if found else ""


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


def follow(run: ManagedRun, observation: Observation) -> None:
    """Have it looked at again when what it watches changes; nothing else is watched for it any more."""
    watched = tuple(
        Selector(key.api_version, key.kind, name=key.name, namespace=key.namespace) for key in observation.watches
    )
    run.context.interests.set(key_of(run.managed), watched)
    run.context.watches.expect([Awaited(key.group, key.kind, key.namespace, key.name) for key in observation.watches])


async def owner(run: ManagedRun, observation: Observation) -> Key | None:
    """The other object whose thing this is: which its tags name by UID, and which is there and names the thing itself.

    An object that was restored has another UID than the tag, and its name: the thing is its own, as that of one that is gone is whose
    names it now.
    """
    tags = observation.owner or observation.at_provider.get("tags")
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
        if found and meta(found).get("uid") == uid and _names_the_same(run, observation, found):
            return key
    return None


def _names_the_same(run: ManagedRun, observation: Observation, found: Object) -> bool:
    """Whether an object still names the thing that it has marked.

    One name is spelt in many ways (another case, an ARN, a URL): what the cloud calls the thing counts as much as what it was asked for.
    Of an object of another kind it is taken for granted.
    """
    ours = run.external_name or run.context.cloud.default_external_name(run.given)  # it may not be saved yet
    if not ours or _kind_of(found) != _kind_of(run.managed):
        return True  # some kinds have no names
    asked = {ours, observation.external_name} - {""}
    mine = asked | _names(run.managed, observation.at_provider) if observation.at_provider else asked
    its = _names(found, status_of(found).get("atProvider") or {})
    return not {each.casefold() for each in mine}.isdisjoint(each.casefold() for each in its)


async def contest(run: ManagedRun, observation: Observation, field: str) -> str:
    """Who sets a field back, as far as it is an object of ours: one of the same name in AWS, or of a kind that sets the same."""
    found = [each for each in observation.drift if each.field == field]
    reads = f", and reads {shown(found[0].observed)} again" if found else ""
    who = "somebody else"
    kinds = {(run.managed["apiVersion"].partition("/")[0], run.managed["kind"])}
    kinds |= {(each.group, each.kind) for each in run.kind.shared if each.field == field}
    for kind in run.context.cloud.kinds():
        version = kind.api_versions[0]
        if (version.partition("/")[0], kind.kind) not in kinds:
            continue
        for other in await run.context.cluster.list(version, kind.kind):
            if meta(other).get("uid") != meta(run.managed).get("uid") and _sets_the_same(run, observation, other, kind):
                who = str(key_of(other))
    return (
        f"{who} changes field {field} in turn: {run.kind.cloud} showed the wanted value after it was sent{reads}. "
        "Mend: leave the field to one of the two"
    )


def _sets_the_same(run: ManagedRun, observation: Observation, other: Object, kind: ManagedKind) -> bool:
    """Whether another object, which is not only looking, is about the same thing in the same account and region."""
    ours, theirs = spec_of(run.managed), spec_of(other)
    places = [
        (spec.get("providerConfigRef"), (spec.get("forProvider") or {}).get("region"), meta(obj).get("namespace"))
        for spec, obj in ((ours, run.managed), (theirs, other))
    ]
    if places[0] != places[1] or theirs.get("managementPolicies") == ["Observe"]:
        return False
    if kind != run.kind:
        fields = {each.field for each in kind.shared if (each.kind, each.group) == _kind_of(run.managed)}
        if fields and not fields & (theirs.get("forProvider") or {}).keys():
            return False
    known = observation.at_provider
    mine = _names(run.managed, known), _referred(run.managed, run.kind)
    its = _names(other, status_of(other).get("atProvider") or {}), _referred(other, kind)
    if kind == run.kind:
        return bool(mine[0] & its[0])
    return bool(mine[0] & (its[0] | its[1]) or mine[1] & its[0])


def _kind_of(obj: Object) -> tuple[str, str]:
    return str(obj["kind"]), str(obj["apiVersion"]).partition("/")[0]


def _names(obj: Object, known: Mapping[str, Any]) -> set[str]:
    """What its thing is called in AWS."""
    found = (annotations_of(obj).get(EXTERNAL_NAME), known.get("id"), known.get("arn"))
    return {name for name in found if isinstance(name, str) and name}


def _referred(obj: Object, kind: ManagedKind) -> set[str]:
    """What the things are called that it belongs to."""
    spec = spec_of(obj).get("forProvider") or {}
    return {value for each in kind.references if isinstance(value := spec.get(each.field), str) and value}


def is_of_another(run: ManagedRun, other: Key) -> InvalidInput:
    kind = run.kind
    error = InvalidInput(
        f"{run.external_name or 'it'} is that of {other}, by its {kind.marked_by} in {kind.cloud}: two objects would change it in turn",
        mend='delete one of the two, that one with deletionPolicy: Orphan; or only look, by managementPolicies: ["Observe"]',
        where=(f"annotation {EXTERNAL_NAME}",),
    )
    error.on = (Awaited(other.group, other.kind, other.namespace, other.name),)
    error.reason, error.prefix = "CannotUpdateExternalResource", "update failed"
    return error
