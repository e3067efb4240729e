"""ElastiCache Cluster: which nodes go, and logs, which are told one by one.

Source: Terraform AWS provider 5.31, internal/service/elasticache/cluster.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from groundplane.aws import compare
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput
from groundplane.ports import Difference

# what a replication group decides for its members
OF_GROUP = frozenset(
    {
        "autoMinorVersionUpgrade",
        "engine",
        "engineVersion",
        "ipDiscovery",
        "maintenanceWindow",
        "nodeType",
        "notificationTopicArn",
        "numCacheNodes",
        "parameterGroupName",
        "securityGroupIds",
        "snapshotRetentionLimit",
        "snapshotWindow",
    }
)


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        engine, count = str(resource.spec.get("engine") or ""), resource.spec.get("numCacheNodes") or 1
        if engine in ("redis", "valkey") and count > 1:
            mend = "write 1, or use a ReplicationGroup, which has replicas"
            where = ("spec.forProvider.numCacheNodes",)
            raise InvalidInput(f"a cluster of {engine} has one node, not {count}", mend=mend, where=where)
        if resource.spec.get("azMode") == "cross-az" and count == 1:
            where = ("spec.forProvider.azMode",)
            raise InvalidInput(
                "one node is in one zone", mend="set numCacheNodes: 2, or azMode: single-az", where=where
            )

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        return "", without_default(resource)

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        """What its replication group decides is not its own."""
        found = without_versions(found)
        return [each for each in found if each.field not in OF_GROUP] if item.get("ReplicationGroupId") else found

    def late(self, resource: Resource, item: Item, found: dict[str, Json]) -> dict[str, Json]:
        if not item.get("ReplicationGroupId"):
            return found
        return {name: value for name, value in found.items() if name not in OF_GROUP}

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        resource.write(
            "modify_cache_cluster",
            CacheClusterId=resource.external_name,
            ApplyImmediately=True,
            LogDeliveryConfigurations=log_changes(resource, item),
        )

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        """AWS wants to hear which nodes go: the last ones, as upstream."""
        wanted, nodes = parameters.get("NumCacheNodes"), item.get("CacheNodes") or []
        if wanted is not None and wanted < len(nodes):
            names = sorted(node["CacheNodeId"] for node in nodes)
            parameters["CacheNodeIdsToRemove"] = names[wanted:]
        return parameters


def without_default(resource: Resource) -> Parameters:
    """AWS's own group of parameters may be that of an earlier version; what is not named is right."""
    group = str(resource.spec.get("parameterGroupName") or "")
    is_default = compare.are_defaults(group, group) and not group.endswith(".on")
    return {"CacheParameterGroupName": None} if is_default else {}


def without_versions(found: list[Difference]) -> list[Difference]:
    """AWS may have upgraded it by itself, takes no version back, and a new one brings its own group of parameters."""

    def is_version(each: Difference) -> bool:
        if each.field == "parameterGroupName":
            return compare.are_defaults(each.desired, each.observed)
        is_number = each.field == "engineVersion" and bool(each.observed)
        return is_number and compare.is_older(str(each.desired), str(each.observed))

    return [each for each in found if not is_version(each)]


def log_changes(resource: Resource, item: Item) -> list[dict[str, Any]]:
    """What to say of logs: each that is wanted, and of each that is there and not wanted, that it ends."""
    rule = resource.kind.fields["logDeliveryConfiguration"]
    wanted: Any = resource.desired("logDeliveryConfiguration", item) or []
    gone, new = compare.entries(wanted, resource.observed("logDeliveryConfiguration", item) or [], rule)
    changes: list[dict[str, Any]] = [{"LogType": entry["logType"], "Enabled": False} for entry in gone]
    for entry in new:
        name, where = entry.get("destination"), entry.get("destinationType")
        details = (
            {"CloudWatchLogsDetails": {"LogGroup": name}}
            if where == "cloudwatch-logs"
            else {"KinesisFirehoseDetails": {"DeliveryStream": name}}
        )
        changes.append(
            {
                "LogType": entry.get("logType"),
                "DestinationType": where,
                "DestinationDetails": details,
                "LogFormat": entry.get("logFormat"),
                "Enabled": True,
            }
        )
    return changes
