"""ElastiCache for the stand-in, of which moto has little: parameter groups, changes of clusters and of replication groups, and their ends."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

Thing = dict[str, Any]
KEPT = (
    "CacheNodeType",
    "PreferredMaintenanceWindow",
    "SnapshotWindow",
    "SnapshotRetentionLimit",
    "EngineVersion",
    "IpDiscovery",
    "AutoMinorVersionUpgrade",
    "TransitEncryptionEnabled",
    "TransitEncryptionMode",
    "NumCacheNodes",
    "ClusterMode",
    "NetworkType",
)


class Store:
    """What one account has in one region; goes with moto's backend when that is reset."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Thing]] = {}
        self.tags: dict[str, dict[str, str]] = {}

    def of(self, kind: str) -> dict[str, Thing]:
        return self.things.setdefault(kind, {})


def _result(answer: Thing) -> Any:
    """An answer as moto's responses give it."""
    return importlib.import_module("moto.elasticache.responses").ActionResult(answer)


def _fail(code: str, message: str) -> Exception:
    errors: Any = importlib.import_module("moto.elasticache.exceptions")
    made: Exception = type("Refused", (errors.ElastiCacheException,), {"code": code})(message)
    return made


def _store(self: Any) -> Store:
    found: Store = vars(self.elasticache_backend).setdefault("groundplane", Store())
    return found


def _arn(self: Any, kind: str, name: str) -> str:
    return f"arn:aws:elasticache:{self.region}:{self.current_account}:{kind}:{name}"


def _one(self: Any, kind: str, name: str, missing: str) -> Thing:
    try:
        return _store(self).of(kind)[name.lower()]
    except KeyError:
        raise _fail(missing, f"{kind} {name} not found.") from None


def _added(self: Any, kind: str, name: str, thing: Thing, exists: str) -> Thing:
    if name.lower() in _store(self).of(kind):
        raise _fail(exists, f"{kind} {name} already exists.")
    _store(self).of(kind)[name.lower()] = thing
    _store(self).tags[thing["ARN"]] = {tag["Key"]: tag["Value"] for tag in self._get_params().get("Tags", [])}
    return thing


def _described(kind: str, parameter: str, missing: str) -> Callable[[Any], Any]:
    def answer(self: Any) -> Any:
        name = self._get_params().get(parameter)
        found = [_one(self, kind, name, missing)] if name else list(_store(self).of(kind).values())
        return _result({f"{kind}s": found})

    return answer


def _deleted(kind: str, parameter: str, missing: str) -> Callable[[Any], Any]:
    def answer(self: Any) -> Any:
        name = self._get_params()[parameter]
        thing = _one(self, kind, name, missing)
        if kind == "CacheSubnetGroup" and any(
            each.get("CacheSubnetGroupName") == thing["CacheSubnetGroupName"]
            for each in _store(self).of("CacheCluster").values()
        ):
            raise _fail("CacheSubnetGroupInUse", f"Cache Subnet Group {name} is used by a cluster.")
        for member in thing.get("MemberClusters", ()):
            _store(self).of("CacheCluster").pop(member, None)
        del _store(self).of(kind)[name.lower()]
        return _result({kind: thing})

    return answer


# --- tags ---


def list_tags_for_resource(self: Any) -> Any:
    tags = _store(self).tags.get(self._get_params()["ResourceName"], {})
    return _result({"TagList": [{"Key": key, "Value": value} for key, value in tags.items()]})


def add_tags_to_resource(self: Any) -> Any:
    given = self._get_params()
    tags = _store(self).tags.setdefault(given["ResourceName"], {})
    tags.update({tag["Key"]: tag["Value"] for tag in given.get("Tags", [])})
    return list_tags_for_resource(self)


def _tagged(backend: Any) -> Iterator[Any]:
    """What the tagging API tells."""
    tagged: Any = importlib.import_module("moto.core.resource_tagging").TaggedResource
    store: Store = vars(backend).get("groundplane") or Store()
    there = {thing.get("ARN") for things in store.things.values() for thing in things.values()}
    for arn, tags in store.tags.items():
        if arn in there:
            yield tagged(arn, tags, f"elasticache:{arn.split(':')[5]}")


def remove_tags_from_resource(self: Any) -> Any:
    given = self._get_params()
    for key in given.get("TagKeys", []):
        _store(self).tags.get(given["ResourceName"], {}).pop(key, None)
    return list_tags_for_resource(self)


# --- subnet groups and parameter groups ---


def _subnet_group(self: Any) -> Thing:
    given = self._get_params()
    subnets = [{"SubnetIdentifier": name} for name in given.get("SubnetIds", [])]
    ec2: Any = importlib.import_module("moto.ec2.models").ec2_backends[self.current_account][self.region]
    known = [subnet for subnet in ec2.describe_subnets() if subnet.id in given.get("SubnetIds", [])]
    return {"Subnets": subnets, "VpcId": known[0].vpc_id if known else "vpc-0123456789abcdef0"}


def create_cache_subnet_group(self: Any) -> Any:
    given = self._get_params()
    name = given["CacheSubnetGroupName"].lower()
    thing = {
        "CacheSubnetGroupName": name,
        "CacheSubnetGroupDescription": given["CacheSubnetGroupDescription"],
        "ARN": _arn(self, "subnetgroup", name),
    } | _subnet_group(self)
    return _result({"CacheSubnetGroup": _added(self, "CacheSubnetGroup", name, thing, "CacheSubnetGroupAlreadyExists")})


def modify_cache_subnet_group(self: Any) -> Any:
    given = self._get_params()
    thing = _one(self, "CacheSubnetGroup", given["CacheSubnetGroupName"], "CacheSubnetGroupNotFoundFault")
    if given.get("SubnetIds"):
        thing.update(_subnet_group(self))
    if "CacheSubnetGroupDescription" in given:
        thing["CacheSubnetGroupDescription"] = given["CacheSubnetGroupDescription"]
    return _result({"CacheSubnetGroup": thing})


def create_cache_parameter_group(self: Any) -> Any:
    given = self._get_params()
    name = given["CacheParameterGroupName"].lower()
    thing = {
        "CacheParameterGroupName": name,
        "CacheParameterGroupFamily": given["CacheParameterGroupFamily"],
        "Description": given["Description"],
        "ARN": _arn(self, "parametergroup", name),
    }
    _store(self).of("parameters")[name] = {}
    _added(self, "CacheParameterGroup", name, thing, "CacheParameterGroupAlreadyExists")
    return _result({"CacheParameterGroup": thing})


def _parameters_of(self: Any) -> Thing:
    name = self._get_params()["CacheParameterGroupName"]
    _one(self, "CacheParameterGroup", name, "CacheParameterGroupNotFound")
    return _store(self).of("parameters")[name.lower()]


def describe_cache_parameters(self: Any) -> Any:
    found = [
        {"ParameterName": name, "ParameterValue": value, "Source": "user"}
        for name, value in _parameters_of(self).items()
    ]
    return _result({"Parameters": found})


def modify_cache_parameter_group(self: Any) -> Any:
    given = self._get_params()
    for each in given.get("ParameterNameValues", []):
        _parameters_of(self)[each["ParameterName"]] = each.get("ParameterValue")
    return _result({"CacheParameterGroupName": given["CacheParameterGroupName"]})


def reset_cache_parameter_group(self: Any) -> Any:
    given = self._get_params()
    for each in given.get("ParameterNameValues", []):
        _parameters_of(self).pop(each["ParameterName"], None)
    return _result({"CacheParameterGroupName": given["CacheParameterGroupName"]})


# --- clusters and replication groups ---


def _settings(given: Thing) -> Thing:
    """What a call sets of a cluster, as it is shown."""
    found = {name: given[name] for name in KEPT if given.get(name) is not None}
    if given.get("CacheParameterGroupName"):
        found["CacheParameterGroup"] = {"CacheParameterGroupName": given["CacheParameterGroupName"]}
    if given.get("SecurityGroupIds"):
        found["SecurityGroups"] = [{"SecurityGroupId": name, "Status": "active"} for name in given["SecurityGroupIds"]]
    if "NotificationTopicArn" in given:
        found["NotificationConfiguration"] = {"TopicArn": given["NotificationTopicArn"], "TopicStatus": "active"}
    if given.get("LogDeliveryConfigurations"):
        found["LogDeliveryConfigurations"] = [
            {**each, "Status": "active"}
            for each in given["LogDeliveryConfigurations"]
            if each.get("Enabled") not in (False, "false")
        ]
    return found


def _cluster(self: Any, name: str, given: Thing) -> Thing:
    engine = given.get("Engine") or "redis"
    port = int(given.get("Port") or (11211 if engine == "memcached" else 6379))
    host = f"{name}.abc123.0001.euw1.cache.amazonaws.com"
    thing: Thing = {
        "CacheClusterId": name,
        "ARN": _arn(self, "cluster", name),
        "CacheClusterStatus": "available",
        "Engine": engine,
        "EngineVersion": "1.6.22" if engine == "memcached" else "7.1.0",
        "CacheNodeType": "cache.t3.micro",
        "NumCacheNodes": 1,
        "PreferredAvailabilityZone": given.get("PreferredAvailabilityZone") or f"{self.region}a",
        "PreferredMaintenanceWindow": "sun:05:00-sun:06:00",
        "CacheSubnetGroupName": given.get("CacheSubnetGroupName") or "default",
        "CacheParameterGroup": {"CacheParameterGroupName": f"default.{engine}7"},
        "SecurityGroups": [],
        "SnapshotRetentionLimit": 0,
        "NetworkType": "ipv4",
        "IpDiscovery": "ipv4",
        "AutoMinorVersionUpgrade": True,
        "TransitEncryptionEnabled": False,
    }
    thing |= _settings(given)
    if given.get("ReplicationGroupId"):
        thing["ReplicationGroupId"] = given["ReplicationGroupId"]
    if engine == "memcached":
        thing["ConfigurationEndpoint"] = {"Address": f"cfg.{host}", "Port": port}
    thing["CacheNodes"] = [
        {
            "CacheNodeId": f"{number + 1:04}",
            "CacheNodeStatus": "available",
            "CustomerAvailabilityZone": thing["PreferredAvailabilityZone"],
            "Endpoint": {"Address": host, "Port": port},
        }
        for number in range(int(thing["NumCacheNodes"]))
    ]
    return thing


def create_cache_cluster(self: Any) -> Any:
    given = self._get_params()
    name = given["CacheClusterId"].lower()
    thing = _added(self, "CacheCluster", name, _cluster(self, name, given), "CacheClusterAlreadyExists")
    return _result({"CacheCluster": thing})


def modify_cache_cluster(self: Any) -> Any:
    given = self._get_params()
    thing = _one(self, "CacheCluster", given["CacheClusterId"], "CacheClusterNotFound")
    removed = given.get("CacheNodeIdsToRemove", [])
    if int(given.get("NumCacheNodes") or thing["NumCacheNodes"]) < int(thing["NumCacheNodes"]) and not removed:
        raise _fail("InvalidParameterCombination", "CacheNodeIdsToRemove must be given to remove nodes.")
    thing |= _settings(given)
    nodes = [node for node in thing["CacheNodes"] if node["CacheNodeId"] not in removed]
    while len(nodes) < int(thing["NumCacheNodes"]):
        nodes.append({**nodes[0], "CacheNodeId": f"{len(nodes) + 1:04}"})
    thing["CacheNodes"] = nodes
    return _result({"CacheCluster": thing})


def _shape(self: Any, thing: Thing, shards: int, replicas: int) -> None:
    """Give a replication group so many shards, with so many replicas each, and the clusters that these are."""
    name, given, clusters = thing["ReplicationGroupId"], thing["given"], _store(self).of("CacheCluster")
    for member in thing.get("MemberClusters", []):
        clusters.pop(member, None)
    thing["MemberClusters"], thing["NodeGroups"] = [], []
    port = int(given.get("Port") or 6379)
    for shard in range(shards):
        members = []
        for replica in range(replicas + 1):
            prefix = f"{name}-{shard + 1:04}" if thing["ClusterEnabled"] else name
            member = f"{prefix}-{replica + 1:03}"
            made = {**given, "ReplicationGroupId": name, "NumCacheNodes": 1}
            clusters[member] = _cluster(self, member, made)
            thing["MemberClusters"].append(member)
            members.append({"CacheClusterId": member, "CacheNodeId": "0001"})
        group: Thing = {"NodeGroupId": f"{shard + 1:04}", "Status": "available", "NodeGroupMembers": members}
        if not thing["ClusterEnabled"]:
            host = f"{name}.abc123.ng.0001.euw1.cache.amazonaws.com"
            group["PrimaryEndpoint"] = {"Address": host, "Port": port}
            group["ReaderEndpoint"] = {"Address": host.replace(".abc123", "-ro.abc123"), "Port": port}
        thing["NodeGroups"].append(group)
    if thing["ClusterEnabled"]:
        host = f"clustercfg.{name}.abc123.euw1.cache.amazonaws.com"
        thing["ConfigurationEndpoint"] = {"Address": host, "Port": port}


def _echo(thing: Thing, given: Thing) -> None:
    thing["given"] |= given
    for name in ("CacheNodeType", "SnapshotWindow", "SnapshotRetentionLimit", "IpDiscovery", "NetworkType"):
        if given.get(name) is not None:
            thing[name] = given[name]
    for name in ("TransitEncryptionEnabled", "TransitEncryptionMode", "AutoMinorVersionUpgrade", "ClusterMode"):
        if given.get(name) is not None:
            thing[name] = given[name]
    for name, shown in (("AutomaticFailoverEnabled", "AutomaticFailover"), ("MultiAZEnabled", "MultiAZ")):
        if given.get(name) is not None:
            thing[shown] = "enabled" if given[name] in (True, "true") else "disabled"
    if given.get("ReplicationGroupDescription") is not None:
        thing["Description"] = given["ReplicationGroupDescription"]
    if "LogDeliveryConfigurations" in given:
        thing["LogDeliveryConfigurations"] = _settings(given).get("LogDeliveryConfigurations", [])
    users = [*thing["UserGroupIds"], *given.get("UserGroupIdsToAdd", [])]
    thing["UserGroupIds"] = [name for name in users if name not in given.get("UserGroupIdsToRemove", [])]


def create_replication_group(self: Any) -> Any:
    given = self._get_params()
    name = given["ReplicationGroupId"].lower()
    shards = int(given.get("NumNodeGroups") or len(given.get("NodeGroupConfiguration", [])) or 1)
    enabled = "NumNodeGroups" in given or given.get("ClusterMode") == "enabled"
    thing: Thing = {
        "ReplicationGroupId": name,
        "ARN": _arn(self, "replicationgroup", name),
        "Status": "available",
        "Engine": given.get("Engine") or "redis",
        "ClusterEnabled": enabled,
        "ClusterMode": "enabled" if enabled else "disabled",
        "AutomaticFailover": "disabled",
        "MultiAZ": "disabled",
        "SnapshotRetentionLimit": 0,
        "AuthTokenEnabled": bool(given.get("AuthToken")),
        "AtRestEncryptionEnabled": given.get("AtRestEncryptionEnabled") in (True, "true"),
        "TransitEncryptionEnabled": False,
        "AutoMinorVersionUpgrade": True,
        "DataTiering": "enabled" if given.get("DataTieringEnabled") in (True, "true") else "disabled",
        "NetworkType": "ipv4",
        "IpDiscovery": "ipv4",
        "UserGroupIds": given.get("UserGroupIds", []),
        "given": {},
    }
    if given.get("KmsKeyId"):
        thing["KmsKeyId"] = given["KmsKeyId"]
    _echo(thing, given)
    replicas = given.get("ReplicasPerNodeGroup")
    count = int(replicas) if replicas is not None else int(given.get("NumCacheClusters") or 1) - 1
    _added(self, "ReplicationGroup", name, thing, "ReplicationGroupAlreadyExists")
    _shape(self, thing, shards, count)
    return _result({"ReplicationGroup": thing})


def _group(self: Any) -> Thing:
    return _one(self, "ReplicationGroup", self._get_params()["ReplicationGroupId"], "ReplicationGroupNotFoundFault")


def modify_replication_group(self: Any) -> Any:
    thing, given = _group(self), self._get_params()
    _echo(thing, given)
    for member in thing["MemberClusters"]:
        _store(self).of("CacheCluster")[member].update(_settings(given))
    return _result({"ReplicationGroup": thing})


def _replica_count(self: Any) -> Any:
    thing = _group(self)
    _shape(self, thing, len(thing["NodeGroups"]), int(self._get_params()["NewReplicaCount"]))
    return _result({"ReplicationGroup": thing})


def modify_replication_group_shard_configuration(self: Any) -> Any:
    thing, given = _group(self), self._get_params()
    wanted = int(given["NodeGroupCount"])
    if wanted < len(thing["NodeGroups"]) and not given.get("NodeGroupsToRemove"):
        raise _fail("InvalidParameterCombination", "NodeGroupsToRemove must be given to remove shards.")
    _shape(self, thing, wanted, len(thing["NodeGroups"][0]["NodeGroupMembers"]) - 1)
    return _result({"ReplicationGroup": thing})


def mend() -> None:
    """Give moto's ElastiCache the calls above, in place of its own."""
    responses: Any = importlib.import_module("moto.elasticache.responses").ElastiCacheResponse
    kinds = (
        ("CacheSubnetGroup", "cache_subnet_group", "CacheSubnetGroupName", "CacheSubnetGroupNotFoundFault"),
        ("CacheParameterGroup", "cache_parameter_group", "CacheParameterGroupName", "CacheParameterGroupNotFound"),
        ("CacheCluster", "cache_cluster", "CacheClusterId", "CacheClusterNotFound"),
        ("ReplicationGroup", "replication_group", "ReplicationGroupId", "ReplicationGroupNotFoundFault"),
    )
    for kind, call, parameter, missing in kinds:
        setattr(responses, f"describe_{call}s", _described(kind, parameter, missing))
        setattr(responses, f"delete_{call}", _deleted(kind, parameter, missing))
    for answer in (
        list_tags_for_resource,
        add_tags_to_resource,
        remove_tags_from_resource,
        create_cache_subnet_group,
        modify_cache_subnet_group,
        create_cache_parameter_group,
        describe_cache_parameters,
        modify_cache_parameter_group,
        reset_cache_parameter_group,
        create_cache_cluster,
        modify_cache_cluster,
        create_replication_group,
        modify_replication_group,
        modify_replication_group_shard_configuration,
    ):
        setattr(responses, answer.__name__, answer)
    backend: Any = importlib.import_module("moto.elasticache.models").ElastiCacheBackend
    backend.iter_tagged_resources = _tagged
    for name in ("increase_replica_count", "decrease_replica_count"):
        setattr(responses, name, _replica_count)
