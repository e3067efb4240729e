"""DynamoDB Table: keys and indexes in AWS's shape, and changes that AWS takes one at a time.

Source: Terraform AWS provider 5.31, internal/service/dynamodb/table.go.  A table takes one change of its indexes, its stream or its replicas
at a time, and only while it is ACTIVE: each look makes the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from groundplane.aws import compare, tags
from groundplane.aws.grammar import Path
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, Waiting, shown
from groundplane.ports import Difference

CAPACITY = {"readCapacity", "writeCapacity"}
COPIES = ("restoreBackupArn", "restoreSourceName", "restoreSourceTableArn")
OPTIONS = ("deletionProtectionEnabled", "pointInTimeRecovery", "propagateTags")  # of a replica
BACKED_UP = Path("ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus")
AGAIN = 10.0  # seconds between two looks at replicas that go


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        if any(not each.get("regionName") for each in _objects(resource.spec.get("replica"))):
            raise _bad("replica", "has no regionName", "name the region of each replica")
        for name in ("globalSecondaryIndex", "localSecondaryIndex"):
            for place, index in enumerate(_objects(resource.spec.get(name))):
                _check_projection(f"{name}[{place}]", index)

    def check_create(self, resource: Resource) -> None:
        spec = resource.spec
        if any(spec.get(name) for name in COPIES):
            return
        if not spec.get("hashKey"):
            raise _bad("hashKey", "is required", "name the attribute that is the partition key")
        if not spec.get("attribute"):
            raise _bad("attribute", "is required", "list the attributes that are keys, with their types")
        _check_keys(spec)
        _check_attributes(spec)
        if any(each.get("enabled") and not each.get("attributeName") for each in _objects(spec.get("ttl"))):
            raise _bad("ttl", "has no attributeName", "name the attribute that holds when an item expires")
        if not _on_demand(resource) and not (spec.get("readCapacity") and spec.get("writeCapacity")):
            mend = "set readCapacity and writeCapacity, or billingMode: PAY_PER_REQUEST"
            raise _bad("readCapacity", "is needed by a table of billingMode PROVISIONED", mend)

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        spec = resource.spec
        if any(spec.get(name) for name in COPIES):
            return "", {}
        given: Parameters = {"KeySchema": _keys(spec)}
        if _on_demand(resource):
            given["ProvisionedThroughput"] = None  # as with an update
        if not spec.get("streamEnabled"):
            given["StreamSpecification"] = None  # a kind alone, as of a stream that was switched off, is none
        return "", given

    def outgoing(self, resource: Resource, name: str, value: Json) -> Json:
        if name == "globalSecondaryIndex":
            return [_index(each, on_demand=_on_demand(resource)) for each in _objects(value)]
        if name == "localSecondaryIndex":
            hash_key = resource.spec.get("hashKey")
            return [_index({**each, "hashKey": hash_key}, on_demand=True) for each in _objects(value)]
        if name == "serverSideEncryption":
            given = (_objects(value) or [{}])[0]
            made: dict[str, Json] = {"Enabled": bool(given.get("enabled"))}
            if given.get("enabled"):
                made["SSEType"] = "KMS"
            if given.get("kmsKeyArn"):
                made["KMSMasterKeyId"] = given["kmsKeyArn"]
            return made
        return value

    def observed(self, resource: Resource, item: Item) -> Item:
        item["globalIndexes"] = [_seen(index) for index in item.get("GlobalSecondaryIndexes") or ()]
        item["localIndexes"] = [_seen(index) for index in item.get("LocalSecondaryIndexes") or ()]
        found = item.get("SSEDescription") or {}
        on = found.get("Status") in ("ENABLED", "ENABLING", "UPDATING")
        item["encryption"] = {"enabled": on, "kmsKeyArn": found.get("KMSMasterKeyArn")} if on else None
        item["replicas"] = [
            self._replica(resource, each, item)
            for each in item.get("Replicas") or ()
            if each.get("ReplicaStatus") != "DELETING"
        ]
        if any(index.get("IndexStatus") in ("CREATING", "UPDATING", "DELETING") for index in _indexes(item)):
            item["TableStatus"] = "UPDATING" if item.get("TableStatus") == "ACTIVE" else item.get("TableStatus")
        return item

    def _replica(self, resource: Resource, there: Item, item: Item) -> dict[str, Json]:
        """A replica as the spec has it; its own region is asked for what the spec says of that."""
        region, table = str(there.get("RegionName")), resource.external_name
        found: dict[str, Json] = {"regionName": region, "kmsKeyArn": there.get("KMSMasterKeyId")}
        named = _objects(resource.desired("replica", item))
        asked: Mapping[str, Json] = next((each for each in named if each.get("regionName") == region), {})
        if there.get("ReplicaStatus") != "ACTIVE":
            return found
        if asked.get("deletionProtectionEnabled") is not None:
            facts = resource.ask("describe_table", region=region, TableName=table).get("Table") or {}
            found["deletionProtectionEnabled"] = bool(facts.get("DeletionProtectionEnabled"))
        if asked.get("pointInTimeRecovery") is not None:
            answer = resource.ask("describe_continuous_backups", region=region, TableName=table)
            found["pointInTimeRecovery"] = BACKED_UP.search(answer) == "ENABLED"
        if asked.get("propagateTags"):
            found["propagateTags"] = not self._tag_changes(resource, region, item)
        return found

    def _tag_changes(self, resource: Resource, region: str, item: Item) -> list[tuple[str, Parameters]]:
        """The calls that give a replica the table's tags."""
        style, arn = tags.STYLES["dynamodb"], _replica_arn(item, region)
        answer = resource.ask("list_tags_of_resource", region=region, ResourceArn=arn)
        return tags.changes(resource.wanted_tags(), tags.parsed(answer.get("Tags"), style), style, arn)

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        """What is read and written on demand has no capacity of its own; what a stream that is off shows is nothing's."""
        if _on_demand(resource, item):
            found = [each for each in found if each.field not in CAPACITY]
        if not resource.desired("streamEnabled", item):
            found = [each for each in found if each.field != "streamViewType"]
        return found

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        if group == "capacity":
            self._capacity(resource, item, parameters)
        return parameters

    def _capacity(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        """With the capacity of the indexes, where they get one for the first time."""
        if parameters.get("BillingMode") == "PAY_PER_REQUEST":
            parameters.pop("ProvisionedThroughput", None)
            return
        was_on_demand = (item.get("BillingModeSummary") or {}).get("BillingMode") == "PAY_PER_REQUEST"
        if was_on_demand:
            updates = [
                {"Update": {"IndexName": index["name"], "ProvisionedThroughput": _throughput(index)}}
                for index in _objects(resource.desired("globalSecondaryIndex", item))
            ]
            if updates:
                parameters["GlobalSecondaryIndexUpdates"] = updates
        else:
            parameters.pop("BillingMode", None)

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        if group == "stream":
            self._stream(resource, item)
        elif group == "replicas":
            self._replicas(resource, item)
        else:
            self._one_index(resource, item)

    def _stream(self, resource: Resource, item: Item) -> None:
        """The kind of a stream can't be changed: it is switched off, and at the next look on again."""
        table = resource.external_name
        is_on = bool((item.get("StreamSpecification") or {}).get("StreamEnabled"))
        if is_on:
            resource.write("update_table", TableName=table, StreamSpecification={"StreamEnabled": False})
            return
        kind = resource.desired("streamViewType", item) or "NEW_AND_OLD_IMAGES"
        resource.write(
            "update_table", TableName=table, StreamSpecification={"StreamEnabled": True, "StreamViewType": kind}
        )

    def _one_index(self, resource: Resource, item: Item) -> None:
        """The first change of indexes that is due: one that goes, one that changes its capacity, one that comes."""
        wanted = {each["name"]: each for each in _objects(resource.desired("globalSecondaryIndex", item))}
        there = {each["name"]: each for each in item["globalIndexes"]}
        rule = resource.kind.fields["globalSecondaryIndex"]
        change: dict[str, Any] = {}
        for name, index in there.items():
            if name not in wanted or _is_other(wanted[name], index):
                change = {"Delete": {"IndexName": name}}
                break
        else:
            for name, index in wanted.items():
                if name not in there:
                    change = {"Create": _index(index, on_demand=_on_demand(resource, item))}
                    break
                if compare.entries([index], [there[name]], rule)[1]:
                    made = _index(index, on_demand=_on_demand(resource, item))
                    change = {"Update": {key: made[key] for key in made if key in UPDATABLE}}
                    break
        if not change:
            return
        attributes = [
            {"AttributeName": each.get("name"), "AttributeType": each.get("type")}
            for each in _objects(resource.desired("attribute", item) or resource.observed("attribute", item))
        ]
        resource.write(
            "update_table",
            TableName=resource.external_name,
            AttributeDefinitions=attributes,
            GlobalSecondaryIndexUpdates=[change],
        )

    def _replicas(self, resource: Resource, item: Item) -> None:
        rule = resource.kind.fields["replica"]
        wanted = _objects(resource.desired("replica", item))
        gone, new = compare.entries(wanted, item["replicas"], rule)
        there = {each["regionName"]: each for each in item["replicas"]}
        if gone:
            change: dict[str, Any] = {"Delete": {"RegionName": gone[0]["regionName"]}}
        elif (known := there.get(new[0]["regionName"])) and _has_key(new[0], known):
            self._set_replica(resource, new[0], known, item)
            return
        else:
            what = "Update" if known else "Create"
            facts = {"RegionName": new[0]["regionName"]}
            if new[0].get("kmsKeyArn"):
                facts["KMSMasterKeyId"] = new[0]["kmsKeyArn"]
            change = {what: facts}
        more = {"MultiRegionConsistency": new[0]["consistencyMode"]} if new and new[0].get("consistencyMode") else {}
        resource.write("update_table", TableName=resource.external_name, ReplicaUpdates=[change], **more)

    def _set_replica(self, resource: Resource, wanted: Mapping[str, Any], there: Mapping[str, Any], item: Item) -> None:
        """What is set on the replica itself, in its region."""
        table, region = resource.external_name, wanted["regionName"]
        is_other = {name: wanted[name] != there.get(name) for name in OPTIONS if wanted.get(name) is not None}
        if is_other.get("deletionProtectionEnabled"):
            is_on = wanted["deletionProtectionEnabled"]
            resource.write("update_table", region=region, TableName=table, DeletionProtectionEnabled=is_on)
        if is_other.get("pointInTimeRecovery"):
            setting = {"PointInTimeRecoveryEnabled": wanted["pointInTimeRecovery"]}
            resource.write(
                "update_continuous_backups", region=region, TableName=table, PointInTimeRecoverySpecification=setting
            )
        if is_other.get("propagateTags") and wanted["propagateTags"]:
            for call, parameters in self._tag_changes(resource, region, item):
                resource.write(call, region=region, **parameters)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        """The replicas that the spec names go first: AWS would leave them behind, as tables of their own.

        They stay with a table that is protected: AWS refuses its deletion.
        """
        named = [each.get("regionName") for each in _objects(resource.spec.get("replica"))]
        left = [each for each in item.get("Replicas") or () if each.get("RegionName") in named]
        if not left or item.get("DeletionProtectionEnabled"):
            return
        if not any(each.get("ReplicaStatus") in ("CREATING", "UPDATING", "DELETING") for each in left):
            change = {"Delete": {"RegionName": left[0]["RegionName"]}}
            resource.write("update_table", TableName=resource.external_name, ReplicaUpdates=[change])
        regions = ", ".join(sorted(str(each["RegionName"]) for each in left))
        raise Waiting(f"its replicas go first: {regions}", after=AGAIN)


UPDATABLE = ("IndexName", "ProvisionedThroughput", "OnDemandThroughput", "WarmThroughput")


def _objects(value: Json) -> list[dict[str, Any]]:
    values = value if isinstance(value, list) else [value] if value else []
    return [dict(entry) for entry in values if isinstance(entry, Mapping)]


def _replica_arn(item: Item, region: str) -> str:
    """The ARN of a table's replica in a region.

    >>> _replica_arn({"TableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"}, "eu-west-3")
    'arn:aws:dynamodb:eu-west-3:123456789012:table/orders'
    """
    parts = str(item["TableArn"]).split(":")
    return ":".join([*parts[:3], region, *parts[4:]])


def _has_key(wanted: Mapping[str, Json], there: Mapping[str, Json]) -> bool:
    """Whether a replica is encrypted as it is to be."""
    key = wanted.get("kmsKeyArn")
    return key is None or compare.equal("kms", key, there.get("kmsKeyArn"))


def _indexes(item: Item) -> list[Item]:
    return [*(item.get("GlobalSecondaryIndexes") or ())]


def _on_demand(resource: Resource, item: Item | None = None) -> bool:
    return bool(resource.desired("billingMode", item) == "PAY_PER_REQUEST")


def _keys(spec: Mapping[str, Json]) -> list[dict[str, Json]]:
    if given := _objects(spec.get("keySchema")):
        return [{"AttributeName": each.get("attributeName"), "KeyType": each.get("keyType")} for each in given]
    keys = [{"AttributeName": spec.get("hashKey"), "KeyType": "HASH"}]
    if spec.get("rangeKey"):
        keys.append({"AttributeName": spec["rangeKey"], "KeyType": "RANGE"})
    return keys


def _throughput(index: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "ReadCapacityUnits": index.get("readCapacity") or 1,
        "WriteCapacityUnits": index.get("writeCapacity") or 1,
    }


def _index(index: Mapping[str, Any], *, on_demand: bool) -> dict[str, Any]:
    """An index in AWS's shape."""
    projection: dict[str, Json] = {"ProjectionType": index.get("projectionType")}
    if index.get("nonKeyAttributes"):
        projection["NonKeyAttributes"] = index["nonKeyAttributes"]
    made: dict[str, Any] = {"IndexName": index.get("name"), "KeySchema": _keys(index), "Projection": projection}
    if not on_demand:
        made["ProvisionedThroughput"] = _throughput(index)
    for name, parameter in (("onDemandThroughput", "OnDemandThroughput"), ("warmThroughput", "WarmThroughput")):
        for given in _objects(index.get(name)):
            made[parameter] = {key[0].upper() + key[1:]: value for key, value in given.items() if value is not None}
    return made


def _seen(index: Item) -> dict[str, Any]:
    """An index as the spec has it."""
    keys = {each["KeyType"]: each["AttributeName"] for each in index.get("KeySchema") or ()}
    projection, throughput = index.get("Projection") or {}, index.get("ProvisionedThroughput") or {}
    return {
        "name": index.get("IndexName"),
        "hashKey": keys.get("HASH"),
        "rangeKey": keys.get("RANGE"),
        "keySchema": index.get("KeySchema"),
        "projectionType": projection.get("ProjectionType"),
        "nonKeyAttributes": projection.get("NonKeyAttributes"),
        "readCapacity": throughput.get("ReadCapacityUnits"),
        "writeCapacity": throughput.get("WriteCapacityUnits"),
        "onDemandThroughput": index.get("OnDemandThroughput"),
        "warmThroughput": index.get("WarmThroughput"),
    }


def _is_other(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether an index is to have other keys or another projection: then it is made anew."""
    same = [str(wanted.get(name) or "") == str(there.get(name) or "") for name in ("hashKey", "rangeKey")]
    if wanted.get("keySchema"):
        same = []
    attributes = [sorted(each.get("nonKeyAttributes") or ()) for each in (wanted, there)]
    return (
        not all(same) or wanted.get("projectionType") != there.get("projectionType") or attributes[0] != attributes[1]
    )


def _check_projection(place: str, index: Mapping[str, Json]) -> None:
    """AWS takes further attributes with INCLUDE, and with nothing else."""
    kind, more = index.get("projectionType"), index.get("nonKeyAttributes")
    if kind == "INCLUDE" and not more:
        raise _bad(f"{place}.nonKeyAttributes", "is required with projectionType INCLUDE", "list the attributes")
    if more and kind in ("ALL", "KEYS_ONLY"):
        what = f"AWS takes none with projectionType {kind}"
        raise _bad(f"{place}.nonKeyAttributes", what, "remove them, or set projectionType: INCLUDE")


def _check_keys(spec: Mapping[str, Json]) -> None:
    """Of the table and its indexes: each has its own name, and no attribute is both keys of one."""
    if spec.get("hashKey") == spec.get("rangeKey"):
        raise _bad("rangeKey", f"is the hashKey, {shown(spec['hashKey'])}", "name another attribute, or remove it")
    if spec.get("localSecondaryIndex") and not spec.get("rangeKey"):
        mend = "set rangeKey, or make it a globalSecondaryIndex"
        raise _bad("localSecondaryIndex", "is only of a table that has a rangeKey", mend)
    seen: set[Json] = set()
    for name in ("globalSecondaryIndex", "localSecondaryIndex"):
        for place, index in enumerate(_objects(spec.get(name))):
            if name.startswith("global") and not (index.get("hashKey") or index.get("keySchema")):
                raise _bad(f"{name}[{place}].hashKey", "is required", "name the attribute that is its partition key")
            if index.get("name") in seen:
                what = f"{shown(index['name'])} is the name of another index of the table"
                raise _bad(f"{name}[{place}].name", what, "choose another")
            seen.add(index.get("name"))


def _check_attributes(spec: Mapping[str, Json]) -> None:
    """AWS takes the attributes that are keys, of the table or of an index, and no other."""
    keys = [each["AttributeName"] for each in _keys(spec)]
    for index in (*_objects(spec.get("globalSecondaryIndex")), *_objects(spec.get("localSecondaryIndex"))):
        keys += [each["AttributeName"] for each in _keys(index) if each["AttributeName"]]
    listed = [each.get("name") for each in _objects(spec.get("attribute"))]
    if twice := [name for name in listed if listed.count(name) > 1]:
        raise _bad("attribute", f"has {shown(twice[0])} twice", "list each once")
    if missing := [key for key in keys if key not in listed]:
        raise _bad("attribute", f"lacks {shown(missing[0])}, which is a key", "list it, with its type")
    if more := [name for name in listed if name not in keys]:
        raise _bad("attribute", f"has {shown(more[0])}, which is no key of the table or of an index", "leave it out")


def _bad(field: str, what: str, mend: str) -> InvalidInput:
    return InvalidInput(what, mend=mend, where=(f"spec.forProvider.{field}",))
