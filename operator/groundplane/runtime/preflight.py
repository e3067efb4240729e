"""What must be so before the first reconcile: rights, and a namespace of our own; `rivals.py` sees to it that nobody else is at work."""

from __future__ import annotations

from collections.abc import Iterable

from groundplane.cluster.client import Api
from groundplane.core.objects import Key
from groundplane.errors import AlreadyExists, Denied
from groundplane.ports import Cluster, Resource
from groundplane.runtime import logs

LEASE = "crossplane-leader-election-core"  # Crossplane's own, and ours

log = logs.get_logger(__name__)


async def check_rights(api: Api, resources: Iterable[Resource]) -> None:
    """Raise Denied if our credentials are not accepted, or one of these kinds may not be listed; one that is not served may.

    Later a refusal is waited out, as it may be a mistake that somebody mends; at the start somebody looks.
    """
    for resource in resources:
        await api.request("GET", f"/apis/{resource.api_version}/{resource.plural}", query={"limit": "1"})


async def ensure_namespace(cluster: Cluster, name: str) -> None:
    """Create the namespace if it is absent; without the right to, somebody else must have."""
    try:
        if await cluster.get(Key("v1", "Namespace", "", name)) is None:
            await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            log.info("namespace created", namespace=name)
    except AlreadyExists:
        return
    except Denied as error:
        log.warning("namespace could not be looked after", namespace=name, error=str(error))
