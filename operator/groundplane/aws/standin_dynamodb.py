"""The stand-in's DynamoDB, mended.

What this adds to moto 5.2: a table's class, its limits on demand, its encryption and its replicas are changed, and shown; what is switched off shows no
more of itself, and is not switched off twice.  What is protected is kept in AWS's words.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

PROTECTED = (
    "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first."
)
KEPT = ("TableClass", "OnDemandThroughput")


def mend() -> None:
    handler: Any = importlib.import_module("moto.dynamodb.responses").DynamoHandler
    table_class: Any = importlib.import_module("moto.dynamodb.models.table").Table
    backend: Any = importlib.import_module("moto.dynamodb.models").DynamoDBBackend
    refused: Any = importlib.import_module("moto.dynamodb.exceptions").MockValidationException
    protected: Any = importlib.import_module("moto.dynamodb.exceptions").DeletionProtectedException
    protected.__init__ = lambda self, _: refused.__init__(self, PROTECTED)
    describe, change_ttl, describe_ttl = (
        table_class.describe,
        backend.update_time_to_live,
        backend.describe_time_to_live,
    )

    def replicate(self: Any, table: Any, change: dict[str, dict[str, Any]]) -> None:
        """Make a table like it in another region, tell its settings, or let it go."""
        backends: Any = importlib.import_module("moto.dynamodb.models").dynamodb_backends[self.current_account]
        ((what, given),) = change.items()
        region, replicas = given["RegionName"], getattr(table, "replicas", {})
        if what == "Delete":
            replicas.pop(region, None)
            backends[region].tables.pop(table.name, None)
            return
        if what == "Create":
            twin = copy.copy(table)
            twin.region_name, twin.kept = region, {}
            twin.table_arn = table.table_arn.replace(f":{table.region_name}:", f":{region}:")
            backends[region].tables[table.name] = twin
        table.replicas = replicas | {region: replicas.get(region, {}) | given | {"ReplicaStatus": "ACTIVE"}}

    def keeping(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def answer(self: Any) -> Any:
            made = call(self)
            table = self.dynamodb_backend.get_table(self.body["TableName"])
            table.kept = getattr(table, "kept", {}) | {name: self.body[name] for name in KEPT if name in self.body}
            if "SSESpecification" in self.body:
                given = dict(self.body["SSESpecification"])
                own = table._get_default_encryption_key(table.account_id, table.region_name)
                table.sse_specification = {"KMSMasterKeyId": own} | given
            for change in self.body.get("ReplicaUpdates") or ():
                replicate(self, table, change)
            return made

        return answer

    def describe_table(self: Any, base_key: str = "TableDescription") -> dict[str, Any]:
        found: dict[str, Any] = describe(self, base_key)
        kept = dict(getattr(self, "kept", {}))
        if name := kept.pop("TableClass", None):
            found[base_key]["TableClassSummary"] = {"TableClass": name}
        found[base_key] |= kept
        if replicas := getattr(self, "replicas", None):
            found[base_key]["Replicas"] = list(replicas.values())
        return found

    def update_time_to_live(self: Any, table_name: str, ttl_spec: dict[str, Any]) -> None:
        if not ttl_spec.get("Enabled") and self.get_table(table_name).ttl["TimeToLiveStatus"] == "DISABLED":
            raise refused("TimeToLive is already disabled")
        change_ttl(self, table_name, ttl_spec)

    def describe_time_to_live(self: Any, table_name: str) -> dict[str, Any]:
        found: dict[str, Any] = describe_ttl(self, table_name)
        is_off = found["TimeToLiveStatus"] == "DISABLED"
        return {"TimeToLiveStatus": "DISABLED"} if is_off else found

    handler.create_table, handler.update_table = keeping(handler.create_table), keeping(handler.update_table)
    table_class.describe = describe_table
    backend.update_time_to_live, backend.describe_time_to_live = update_time_to_live, describe_time_to_live
