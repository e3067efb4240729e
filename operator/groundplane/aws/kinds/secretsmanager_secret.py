"""Secrets Manager Secret: what is replicated can't be deleted.

Source: Secrets Manager API 2017-10-17, DeleteSecret.
"""

from __future__ import annotations

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource


class Hooks(Base):
    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        regions = sorted(str(replica["Region"]) for replica in item.get("ReplicationStatus") or ())
        if regions:
            name = resource.external_name
            resource.write("remove_regions_from_replication", SecretId=name, RemoveReplicaRegions=regions)
