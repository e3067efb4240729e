"""RDS Instance: users and passwords, versions, storage, what waits for the maintenance window, and the way out.

Source: Terraform AWS provider 5.31, internal/service/rds/instance.go; provider-upjet-aws 75a4c57, config/rds; the quirks of
aws-controllers-k8s/rds-controller.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from groundplane.aws import compare, convert, faults
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core import conditions
from groundplane.core.objects import Json, status_of
from groundplane.errors import InvalidInput, did_you_mean, shown
from groundplane.ports import Default, Difference

RESOURCE_ID = re.compile(r"db-[A-Z0-9]{20,}")  # what later versions of upstream's provider keep as external name
PENDING = "PendingModifiedValues"
RESTORABLE = 3600  # seconds: how much later latestRestorableTime must be to be told
STORAGE = frozenset({"allocatedStorage", "iops", "storageThroughput", "storageType", "maxAllocatedStorage"})
# GiB of gp3 by engine: below it the rate is fixed, and must not be named; elsewhere it can always be chosen
GP3_FIXED_BELOW = {"db2": 100, "mariadb": 400, "mysql": 400, "oracle": 200, "postgres": 400}
GP3_FIXED = {"iops": 3000, "storageThroughput": 125}  # that rate
RATES = {"iops": "Iops", "storageThroughput": "StorageThroughput"}
DOMAIN = {
    "domain": "Domain",
    "domainAuthSecretArn": "DomainAuthSecretArn",
    "domainDnsIps": "DomainDnsIps",
    "domainFqdn": "DomainFqdn",
    "domainIamRoleName": "DomainIAMRoleName",
    "domainOu": "DomainOu",
}
# fields that count only beside another, and what AWS wants to hear of that one with them
BESIDE = {
    "performanceInsightsKmsKeyId": "performanceInsightsEnabled",
    "performanceInsightsRetentionPeriod": "performanceInsightsEnabled",
    "monitoringRoleArn": "monitoringInterval",
    "masterUserSecretKmsKeyId": "manageMasterUserPassword",
}
DEFAULTS = {"parameterGroupName": "DBParameterGroupName", "optionGroupName": "OptionGroupName"}
OWN_PASSWORDS = ("passwordSecretRef", "passwordWoSecretRef")
SOURCE = "ReadReplicaSourceDBInstanceIdentifier"
COPIES = ("replicateSourceDb", "s3Import", "snapshotIdentifier", "restoreToPointInTime")  # in upstream's order


class Hooks(Base):
    # --- before any call ----------------------------------------------------------------------------

    def defaults(self, resource: Resource) -> Sequence[Default]:
        spec = resource.spec
        if _copy_of(spec):
            return ()
        found = []
        if not spec.get("username"):
            username = "postgres" if str(spec.get("engine") or "").startswith("postgres") else "admin"
            note = f"spec.forProvider.username was not set: the engine's usual {username} is used"
            found.append(Default("username", username, note))
        if not _has_password(spec) or (spec.get("autoGeneratePassword") and not spec.get("passwordSecretRef")):
            name = f"{resource.name}-master-password"
            reference = {"namespace": resource.namespace, "name": name, "key": "password"}
            note = f"no password was given: one is generated into Secret {resource.namespace}/{name}"
            found.append(Default("passwordSecretRef", reference, note))
            if not spec.get("autoGeneratePassword"):
                found.append(Default("autoGeneratePassword", True, note))
        return found

    def check(self, resource: Resource) -> None:
        spec = resource.spec
        engine, username = str(spec.get("engine") or ""), str(spec.get("username") or "")
        if username.lower() == "rdsadmin" or (engine.startswith("postgres") and username.lower() == "admin"):
            raise _bad("username", f"{username} is reserved by the engine", "choose another: postgres")
        limit, size = spec.get("maxAllocatedStorage"), spec.get("allocatedStorage")
        if limit and size and limit < size:
            raise _bad("maxAllocatedStorage", f"{limit} is below allocatedStorage {size}", "raise or remove it")

    def check_create(self, resource: Resource) -> None:
        spec, engine = resource.spec, str(resource.spec.get("engine") or "")
        if spec.get("multiAz") and spec.get("availabilityZone") and not spec.get("replicateSourceDb"):
            raise _bad("availabilityZone", "AWS chooses the zones of an instance with multiAz", "remove one of the two")
        if _copy_of(spec):
            return
        if not engine:
            raise _bad("engine", "is required", "set it: postgres, mysql, mariadb, …")
        if spec.get("allocatedStorage") is None and not engine.startswith("aurora"):
            raise _bad("allocatedStorage", "is required", "set it, in GiB: 20")
        if str(spec.get("storageType")) in ("io1", "io2") and not spec.get("iops"):
            raise _bad("iops", f"is required with storageType {spec['storageType']}", "set it: 3000")
        if engine.startswith("sqlserver") and spec.get("dbName"):
            raise _bad("dbName", "SQL Server makes no database with the instance", "remove it")
        if not spec.get("username"):
            raise _bad("username", '"username": required field is not set', "set it: postgres")
        if not _has_password(spec):
            raise _bad("passwordSecretRef", "no password is given", "set it, or manageMasterUserPassword: true")
        if not spec.get("manageMasterUserPassword") and not any(resource.secrets.values()):
            raise _bad("passwordSecretRef", "has no value", "fill the Secret, or set autoGeneratePassword: true")

    # --- create -------------------------------------------------------------------------------------

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        spec = resource.spec
        match _copy_of(spec):
            case "replicateSourceDb":
                return "create_db_instance_read_replica", {"SourceDBInstanceIdentifier": spec["replicateSourceDb"]}
            case "s3Import":
                names = {
                    "bucketName": "S3BucketName",
                    "bucketPrefix": "S3Prefix",
                    "ingestionRole": "S3IngestionRoleArn",
                    "sourceEngine": "SourceEngine",
                    "sourceEngineVersion": "SourceEngineVersion",
                }
                parameters = _renamed(spec["s3Import"], names, "s3Import")
                for name, parameter in names.items():
                    if name != "bucketPrefix" and not parameters.get(parameter):
                        raise _bad("s3Import", f"lacks {name}", "set it")
                if not spec.get("engine"):
                    raise _bad("engine", "is required", "set it: mysql")
                return "restore_db_instance_from_s3", parameters
            case "snapshotIdentifier":
                return "restore_db_instance_from_db_snapshot", {"DBSnapshotIdentifier": spec["snapshotIdentifier"]}
            case "restoreToPointInTime":
                return "restore_db_instance_to_point_in_time", {
                    "TargetDBInstanceIdentifier": resource.external_name,
                    **_point_in_time(spec["restoreToPointInTime"]),
                }
        silent = [RATES[name] for name, rate in GP3_FIXED.items() if spec.get(name) == rate and _is_fixed(spec)]
        for name, parameter in DEFAULTS.items():  # of an earlier version, maybe; what is not named is right
            silent += [parameter] if compare.are_defaults(spec.get(name), spec.get(name)) else []
        return "", dict.fromkeys(silent)

    # --- observe ------------------------------------------------------------------------------------

    def resolved(self, resource: Resource) -> str:
        """An object that came from a later version of upstream's provider holds the resource id."""
        name = resource.external_name
        if not RESOURCE_ID.fullmatch(name):
            return name
        found = resource.ask("describe_db_instances", Filters=[{"Name": "dbi-resource-id", "Values": [name]}])
        return str(found["DBInstances"][0]["DBInstanceIdentifier"]) if found["DBInstances"] else name

    def name(self, resource: Resource) -> str:
        """A resource id was AWS's name of a database that is gone; it can't be given to another."""
        name = resource.external_name
        return resource.default_name() if RESOURCE_ID.fullmatch(name) else name

    def observed(self, resource: Resource, item: Item) -> Item:
        """What waits for the maintenance window counts as done: it is neither drift nor sent again."""
        pending: Mapping[str, Any] = item.get(PENDING) or {}
        item["live"] = {name: item.get(name) for name in pending}
        for name, value in pending.items():
            if name == "Port":
                item["Endpoint"] = {**(item.get("Endpoint") or {}), "PendingPort": value}
            elif name == "DBSubnetGroupName":
                item["DBSubnetGroup"] = {**(item.get("DBSubnetGroup") or {}), name: value}
            elif name == "PendingCloudwatchLogsExports":
                logs = set(item.get("EnabledCloudwatchLogsExports") or ()) | set(value.get("LogTypesToEnable") or ())
                item["EnabledCloudwatchLogsExports"] = sorted(logs - set(value.get("LogTypesToDisable") or ()))
            elif name not in ("MasterUserPassword", "DBInstanceIdentifier"):
                item[name] = value
        zone = resource.spec.get("availabilityZone")
        if zone and item.get("MultiAZ") and item.get("SecondaryAvailabilityZone") == zone:  # it has failed over
            item["live"]["AvailabilityZone"], item["AvailabilityZone"] = item.get("AvailabilityZone"), zone
        return item

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        kept = [difference for difference in found if not _is_none(resource, item, difference)]
        if item.get("DBInstanceStatus") == "storage-full":
            kept = [difference for difference in kept if difference.field in STORAGE]
        return kept

    def notes(self, resource: Resource, item: Item) -> Sequence[str]:
        found, desired = [], resource.desired
        wanted, live = desired("engineVersion"), item.get("EngineVersion")
        if wanted and live and not compare.equal("version", wanted, live) and compare.is_older(wanted, live):
            found.append(f"engineVersion {wanted} is older than the {live} that runs; RDS can't go back")
        size, has = desired("allocatedStorage"), item.get("AllocatedStorage")
        if size and has and size < has and not desired("maxAllocatedStorage"):
            found.append(f"allocatedStorage {size} is less than the {has} GiB that it has; RDS can't shrink storage")
        if not desired("skipFinalSnapshot") and not desired("finalSnapshotIdentifier"):
            found.append("deleting it will need forProvider.finalSnapshotIdentifier, or skipFinalSnapshot: true")
        found += unpublished(item)
        if item.get(SOURCE) and any(desired(name) for name in OWN_PASSWORDS):
            found.append(
                f"a replica has the password of {item[SOURCE]}: the spec's is set once replicateSourceDb is removed"
            )
        if any(group.get("ParameterApplyStatus") == "pending-reboot" for group in item.get("DBParameterGroups") or ()):
            found.append("changes of its parameter group wait for a reboot, which is yours to choose")
        return found

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        wanted, live = resource.desired("engineVersion"), at_provider.get("engineVersion")
        if wanted and compare.equal("version", wanted, live):
            at_provider["engineVersion"] = wanted
        at_provider["availabilityZone"] = item["live"].get("AvailabilityZone") or item.get("AvailabilityZone")
        at_provider["engineVersionActual"] = item["live"].get("EngineVersion") or item.get("EngineVersion")
        before = status_of(resource.managed).get("atProvider") or {}
        if not _is_later(at_provider.get("latestRestorableTime"), before.get("latestRestorableTime")):
            at_provider["latestRestorableTime"] = before["latestRestorableTime"]
        pending = {name: value for name, value in (item.get(PENDING) or {}).items() if name != "MasterUserPassword"}
        at_provider["pendingModifiedValues"] = convert.plain(pending)

    def connection(self, resource: Resource, item: Item) -> Mapping[str, str | None]:
        if item.get(SOURCE):  # it has its source's password, whatever the spec gives
            return dict.fromkeys(("password", "attribute.password"), None)
        return kept_by_aws(resource, item, "attribute.password")

    # --- update -------------------------------------------------------------------------------------

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        desired = resource.desired
        storage = {"AllocatedStorage", "Iops", "StorageThroughput", "StorageType"} & parameters.keys()
        if storage:
            kind = str(desired("storageType") or item.get("StorageType") or "")
            size = desired("allocatedStorage") or item.get("AllocatedStorage") or 0
            if kind.startswith("io"):
                parameters.setdefault("AllocatedStorage", size)
                if iops := desired("iops") or item.get("Iops"):
                    parameters["Iops"] = iops
            if kind == "gp3" and size < _fixed_below(item.get("Engine")):
                parameters.pop("Iops", None)
                parameters.pop("StorageThroughput", None)
        return self._beside(resource, item, parameters)

    def _beside(self, resource: Resource, item: Item, parameters: Parameters) -> Parameters:
        """What AWS takes only together: with a domain, an encryption key, a role, an own password."""
        fields = resource.kind.fields
        for name, other in BESIDE.items():
            if fields[name].parameter in parameters:
                parameters.setdefault(fields[other].parameter, resource.desired(other))
        if parameters.get("MonitoringInterval") and (role := resource.desired("monitoringRoleArn")):
            parameters.setdefault("MonitoringRoleArn", role)
        if "MasterUserPassword" in parameters and item.get("MasterUserSecret"):
            parameters["ManageMasterUserPassword"] = False
        if parameters.keys() & set(DOMAIN.values()):
            wanted = {parameter: resource.desired(name) for name, parameter in DOMAIN.items()}
            rest = {name: value for name, value in parameters.items() if name not in wanted}
            parameters = rest | ({key: value for key, value in wanted.items() if value} or {"DisableDomain": True})
        return parameters

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        if group == "replica":
            if resource.desired("replicateSourceDb"):
                raise _bad(
                    "replicateSourceDb", "can't be changed to another source", "revert it, or make a new replica"
                )
            resource.write("promote_read_replica", DBInstanceIdentifier=resource.external_name)
            return
        wanted = set(resource.desired("enabledCloudwatchLogsExports") or ())
        found = set(item.get("EnabledCloudwatchLogsExports") or ())
        change = {"EnableLogTypes": sorted(wanted - found), "DisableLogTypes": sorted(found - wanted)}
        resource.write(
            "modify_db_instance",
            DBInstanceIdentifier=resource.external_name,
            CloudwatchLogsExportConfiguration={name: types for name, types in change.items() if types},
            ApplyImmediately=bool(resource.desired("applyImmediately")),
        )

    # --- delete -------------------------------------------------------------------------------------

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        if parameters["SkipFinalSnapshot"]:
            parameters.pop("FinalDBSnapshotIdentifier", None)
        elif not parameters.get("FinalDBSnapshotIdentifier"):
            raise _bad(
                "finalSnapshotIdentifier",
                "is required when skipFinalSnapshot is false",
                "set it, or skipFinalSnapshot: true",
            )
        if item.get("ReadReplicaSourceDBInstanceIdentifier"):
            parameters.pop("FinalDBSnapshotIdentifier", None)  # a replica can't have one
            parameters["SkipFinalSnapshot"] = True

    def delete_refused(self, resource: Resource, code: str, text: str) -> bool:
        """Protection goes only if the spec doesn't want it, and wants changes now."""
        protected = code == "InvalidParameterCombination" and "deletion protection" in text.lower()
        if not protected or resource.spec.get("deletionProtection") or not resource.spec.get("applyImmediately"):
            return False
        resource.write(
            "modify_db_instance",
            DBInstanceIdentifier=resource.external_name,
            DeletionProtection=False,
            ApplyImmediately=True,
        )
        return True


def _is_later(time: Json, before: Json) -> bool:
    """Whether a time that moves all the time is worth a write: it has gone back, or on by an hour."""
    moments = [conditions.moment(text) if isinstance(text, str) else None for text in (time, before)]
    if moments[0] is None or moments[1] is None:
        return True
    return not 0 <= (moments[0] - moments[1]).total_seconds() < RESTORABLE


def _fixed_below(engine: Json) -> int:
    """From how many GiB of gp3 on an engine's rate can be chosen."""
    return next((size for name, size in GP3_FIXED_BELOW.items() if str(engine or "").startswith(name)), 0)


def _is_fixed(spec: Mapping[str, Json]) -> bool:
    """Whether the storage that is asked for has a rate that can't be chosen."""
    size: Any = spec.get("allocatedStorage")
    return spec.get("storageType") == "gp3" and bool(size) and size < _fixed_below(spec.get("engine"))


def _bad(field: str, what: str, mend: str) -> InvalidInput:
    return InvalidInput(what, mend=mend, where=(f"spec.forProvider.{field}",))


def _renamed(value: Json, names: Mapping[str, str], field: str) -> Parameters:
    """A block, or a list of one, under AWS's names."""
    block = value[0] if isinstance(value, list) else value
    if not isinstance(block, Mapping):
        raise _bad(field, f"wants an object, got {shown(block)}", f"use: {', '.join(sorted(names))}")
    for key in block:
        if key not in names:
            raise _bad(field, f"has no member {key}", did_you_mean(key, names))
    return {names[key]: value for key, value in block.items() if value is not None}


def _copy_of(spec: Mapping[str, Json]) -> str:
    """The field that says what the instance is made from, "" if it is made new."""
    return next((name for name in COPIES if spec.get(name)), "")


def _has_password(spec: Mapping[str, Json]) -> bool:
    return any(spec.get(name) for name in (*OWN_PASSWORDS, "manageMasterUserPassword"))


def _point_in_time(block: Json) -> Parameters:
    names = {
        "restoreTime": "RestoreTime",
        "sourceDbInstanceAutomatedBackupsArn": "SourceDBInstanceAutomatedBackupsArn",
        "sourceDbInstanceIdentifier": "SourceDBInstanceIdentifier",
        "sourceDbiResourceId": "SourceDbiResourceId",
        "useLatestRestorableTime": "UseLatestRestorableTime",
    }
    return _renamed(block, names, "restoreToPointInTime")


def _is_none(resource: Resource, item: Item, difference: Difference) -> bool:
    """Whether a difference is one that nobody should act on."""
    wanted, found = difference.desired, difference.observed
    if difference.field == "vpcSecurityGroupIds" and not wanted:
        return True  # AWS takes no empty list; upstream doesn't send one
    if difference.field in DOMAIN and not wanted:
        return any(resource.desired(name) for name in DOMAIN)  # the domain can be left, but nothing of it alone
    if difference.field in BESIDE and not resource.desired(BESIDE[difference.field]):
        return True  # AWS shows it no more, and takes it no more
    if difference.field == "engineVersion":  # RDS can't go back
        return compare.is_older(wanted, found)
    if difference.field == "allocatedStorage":
        return bool(found is not None and found >= wanted)  # it grew by itself, RDS rounded up, or can't shrink
    if difference.field == "maxAllocatedStorage":
        return found is None and wanted == resource.desired("allocatedStorage")  # that is how it is switched off
    if difference.field in ("parameterGroupName", "optionGroupName"):
        return compare.are_defaults(wanted, found)  # a new version brings its own
    if difference.field in GP3_FIXED and wanted == GP3_FIXED[difference.field] and item.get("StorageType") == "gp3":
        return (
            0 < _fixed_below(item.get("Engine")) <= (item.get("AllocatedStorage") or 0)
        )  # filled in while it was small
    if difference.field in OWN_PASSWORDS:
        return bool(item.get(SOURCE))
    return bool(difference.field == "port" and (item.get("Endpoint") or {}).get("PendingPort") == wanted)


def kept_by_aws(resource: Resource, item: Item, key: str) -> dict[str, str]:
    """What AWS keeps in Secrets Manager, where it was asked to: connection details, the password also under upstream's `key`.

    What may not be read is noted in the item; `unpublished` tells it.
    """
    arn = (item.get("MasterUserSecret") or {}).get("SecretArn")
    if not arn or not resource.spec.get("manageMasterUserPassword"):
        return {}
    try:
        answer = resource.ask("secretsmanager:get_secret_value", SecretId=arn)
    except ClientError as error:
        if faults.code_of(error) in ("ResourceNotFoundException", "InvalidRequestException"):
            return {}  # not written yet
        if faults.code_of(error) in faults.DENIED and not faults.are_stale(error):
            item["unreadable"] = faults.code_of(error)
            return {}
        raise
    try:
        kept = json.loads(answer["SecretString"])
        username, password = str(kept["username"]), str(kept["password"])
    except (ValueError, KeyError, TypeError):  # somebody wrote into it
        return {}
    return {"username": username, "password": password, key: password}


def unpublished(item: Item) -> list[str]:
    """Why the password is not among the connection details, if AWS keeps it and does not let it be read."""
    code = item.get("unreadable")
    return (
        []
        if not code
        else [
            f"the password that AWS keeps for it can't be published: {code} at secretsmanager:GetSecretValue; "
            "allow it to the ProviderConfig's credentials, or read it from AWS"
        ]
    )
