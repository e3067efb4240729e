"""ElastiCache ReplicationGroup: shards and replicas come and go by calls of their own, one at a time; and the fields that v1beta1 has otherwise.

Source: Terraform AWS provider 5.31, internal/service/elasticache/replication_group.go.  v1beta1 has `clusterMode[0].numNodeGroups` and
`replicasPerNodeGroup`, `clusterOperationMode`, `numberCacheClusters` and `replicationGroupDescription` for what v1beta2 has at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from groundplane.aws.kinds.elasticache_cluster import log_changes, without_default, without_versions
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput
from groundplane.ports import Difference

SAME = {"numberCacheClusters": "numCacheClusters", "replicationGroupDescription": "description"}


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        if not _now(resource).get("description"):
            where = ("spec.forProvider.description",)
            raise InvalidInput("is required", mend="set it, in words: what it is for", where=where)
        spec = resource.spec
        if spec.get("automaticFailoverEnabled") and _now(resource).get("numCacheClusters") == 1:
            mend = "set numCacheClusters: 2, or more"
            where = ("spec.forProvider.automaticFailoverEnabled",)
            raise InvalidInput("there is no second node to fail over to", mend=mend, where=where)
        if not spec.get("automaticFailoverEnabled") and (_now(resource).get("numNodeGroups") or 1) > 1:
            where, mend = ("spec.forProvider.automaticFailoverEnabled",), "set it: true"
            raise InvalidInput("is required where there are several shards", mend=mend, where=where)
        is_encrypted = spec.get("transitEncryptionEnabled", spec.get("engine") == "valkey")
        if spec.get("authTokenSecretRef") and not is_encrypted:
            where, mend = ("spec.forProvider.transitEncryptionEnabled",), "set it: true"
            raise InvalidInput("is required with a token", mend=mend, where=where)
        if spec.get("multiAzEnabled") and not spec.get("automaticFailoverEnabled"):
            where = ("spec.forProvider.multiAzEnabled",)
            raise InvalidInput("needs automatic failover", mend="set automaticFailoverEnabled: true", where=where)

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        """What earlier fields say; without a mode of its own, what has replicas of shards is in cluster mode."""
        now, spec = _now(resource), resource.spec
        names = {
            "description": "ReplicationGroupDescription",
            "numCacheClusters": "NumCacheClusters",
            "numNodeGroups": "NumNodeGroups",
            "replicasPerNodeGroup": "ReplicasPerNodeGroup",
            "clusterMode": "ClusterMode",
        }
        given = {names[name]: value for name, value in now.items() if name not in spec or name == "clusterMode"}
        return "", given | without_default(resource)

    def observed(self, resource: Resource, item: Item) -> Item:
        members = item.get("MemberClusters") or []
        item["member"] = {}
        if members:
            found = resource.ask("describe_cache_clusters", CacheClusterId=members[0])["CacheClusters"]
            item["member"] = found[0] if found else {}
        groups = item.get("NodeGroups") or []
        counts = [len(group.get("NodeGroupMembers") or ()) - 1 for group in groups]
        item["replicasPerNodeGroup"] = max(counts) if counts else None
        return item

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        """Of the fields of v1beta1; a count of nodes says nothing where there are shards."""
        found = without_versions(found)
        if (item.get("GlobalReplicationGroupInfo") or {}).get("GlobalReplicationGroupId"):  # which decides these
            found = [each for each in found if each.field not in ("engineVersion", "nodeType")]
        sharded = bool(item.get("ClusterEnabled"))
        kept = [each for each in found if each.field != "clusterMode" or isinstance(each.desired, str)]
        if sharded:
            kept = [each for each in kept if each.field != "numCacheClusters"]
        known = {each.field for each in kept}
        for name, desired in _now(resource).items():
            if name in known or name in resource.spec or (sharded and name == "numCacheClusters"):
                continue
            observed = resource.observed(name, item)
            if observed is not None and observed != desired:
                kept.append(Difference(name, desired, observed))
        return kept

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        now = _now(resource)
        if "description" not in resource.spec and now.get("description") not in (None, item.get("Description")):
            parameters["ReplicationGroupDescription"] = now["description"]
        if "AuthToken" not in parameters:
            parameters.pop("AuthTokenUpdateStrategy", None)
        elif "AuthTokenUpdateStrategy" not in parameters:
            parameters["AuthTokenUpdateStrategy"] = "ROTATE"
        return parameters

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        name = resource.external_name
        if group == "logs":
            changes = log_changes(resource, item)
            resource.write(
                "modify_replication_group",
                ReplicationGroupId=name,
                ApplyImmediately=True,
                LogDeliveryConfigurations=changes,
            )
        elif group == "users":
            self._users(resource, item)
        elif group == "shards":
            self._shards(resource, item)
        else:
            self._replicas(resource, item)

    def _users(self, resource: Resource, item: Item) -> None:
        groups = _texts(resource.desired("userGroupIds", item))
        wanted, there = {name.lower() for name in groups}, set(item.get("UserGroupIds") or ())
        change = {
            "UserGroupIdsToAdd": sorted(wanted - there),
            "UserGroupIdsToRemove": sorted(there - wanted),
        }
        given: Parameters = {name: groups for name, groups in change.items() if groups}
        resource.write(
            "modify_replication_group", ReplicationGroupId=resource.external_name, ApplyImmediately=True, **given
        )

    def _shards(self, resource: Resource, item: Item) -> None:
        wanted = int(_now(resource).get("numNodeGroups") or 1)
        names = sorted(group["NodeGroupId"] for group in item.get("NodeGroups") or ())
        given: Parameters = {"NodeGroupsToRemove": names[wanted:]} if wanted < len(names) else {}
        resource.write(
            "modify_replication_group_shard_configuration",
            ReplicationGroupId=resource.external_name,
            NodeGroupCount=wanted,
            ApplyImmediately=True,
            **given,
        )

    def _replicas(self, resource: Resource, item: Item) -> None:
        now = _now(resource)
        wanted = now.get("replicasPerNodeGroup")
        if wanted is None or not item.get("ClusterEnabled"):
            wanted = int(now.get("numCacheClusters") or 1) - 1
        there = int(item.get("replicasPerNodeGroup") or 0)
        call = "increase_replica_count" if wanted > there else "decrease_replica_count"
        resource.write(
            call, ReplicationGroupId=resource.external_name, NewReplicaCount=int(wanted), ApplyImmediately=True
        )


def _now(resource: Resource) -> dict[str, Any]:
    """What the spec says, in the fields that v1beta2 has; those of v1beta1 count where these are silent."""
    spec = resource.spec
    found: dict[str, Any] = {SAME[name]: spec[name] for name in SAME if spec.get(name) is not None}
    mode: Json = spec.get("clusterMode")
    if isinstance(mode, list):
        for block in mode:
            found |= {name: value for name, value in block.items() if value is not None}
    elif mode:
        found["clusterMode"] = mode
    if spec.get("clusterOperationMode"):
        found["clusterMode"] = spec["clusterOperationMode"]
    names = ("description", "numCacheClusters", "numNodeGroups", "replicasPerNodeGroup")
    return found | {name: spec[name] for name in names if spec.get(name) is not None}


def _texts(value: Json) -> list[str]:
    return [str(entry) for entry in value or ()]
