"""Secrets Manager Secret: how long it can be restored; what is replicated can't be deleted.

Source: Secrets Manager API 2017-10-17, DeleteSecret.
"""

from __future__ import annotations

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.errors import InvalidInput

SHORTEST = 7  # days that AWS keeps what is deleted and can be restored


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        days = resource.spec.get("recoveryWindowInDays")
        if isinstance(days, int | float) and 0 < days < SHORTEST:
            where = ("spec.forProvider.recoveryWindowInDays",)
            raise InvalidInput(f"AWS takes no {days} days", mend=f"write 0, or {SHORTEST} to 30", where=where)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        regions = sorted(str(replica["Region"]) for replica in item.get("ReplicationStatus") or ())
        if regions:
            name = resource.external_name
            resource.write("remove_regions_from_replication", SecretId=name, RemoveReplicaRegions=regions)
