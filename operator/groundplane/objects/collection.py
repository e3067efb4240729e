"""What an ObservedObjectCollection finds in its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core.objects import Object, labels_of, meta, spec_of
from groundplane.errors import InvalidInput, shown
from groundplane.ports import Cluster

WHERE = "spec.observeObjects"


async def found(collection: Object, target: Cluster, *, confined: bool) -> list[Object]:
    """The objects that it selects.

    Raises:
        InvalidInput: a selector that means nothing, or another namespace than its own if it is `confined` to that.
    """
    asked = spec_of(collection).get("observeObjects") or {}
    selector = asked.get("selector") or {}
    namespace, own = str(asked.get("namespace") or ""), str(meta(collection).get("namespace") or "")
    if confined and namespace not in ("", own):
        raise InvalidInput(
            f"namespace {namespace} is not its own: with a ProviderConfig of its own namespace a collection sees that alone",
            mend="leave namespace out, or use a ClusterProviderConfig",
            where=(WHERE,),
        )
    api_version, kind = str(asked.get("apiVersion")), str(asked.get("kind"))
    resource = await target.resource(api_version, kind)
    if confined and not resource.namespaced:
        raise InvalidInput(
            f"{kind} is in no namespace: with a ProviderConfig of its own namespace a collection sees that alone",
            mend="use a ClusterProviderConfig",
            where=(WHERE,),
        )
    place = (namespace or (own if confined else "")) if resource.namespaced else ""
    objects = await target.list(api_version, kind, namespace=place, labels=selector.get("matchLabels") or None)
    requirements = selector.get("matchExpressions") or ()
    return [obj for obj in objects if all(_holds(each, labels_of(obj)) for each in requirements)]


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels meet an entry of matchExpressions.

    >>> [_holds({"key": "tier", "operator": operator, "values": ["web"]}, {"tier": "db"}) for operator in ("In", "NotIn", "Exists")]
    [False, True, True]
    """
    key, values = str(requirement.get("key")), requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise InvalidInput(
        f"operator {shown(requirement.get('operator'))} is none",
        mend="use In, NotIn, Exists or DoesNotExist",
        where=(f"{WHERE}.selector.matchExpressions",),
    )
