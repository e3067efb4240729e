"""RDS as AWS has it, in the stand-in.

What moto 5.2 lacks and this adds: instances whose creation, modification and deletion take time; PendingModifiedValues;
ModifyDBSubnetGroup; a master user, a password, a known class and a snapshot decision demanded; subnet groups and parameter
groups in use kept, parameters reset; an own DbiResourceId for each instance; names and classes in lower case; settings of
instances that moto takes and forgets; domains left; the zones of instances in two, and their fail-over; windows that do not overlap, where one is left to AWS; copies whose password
AWS keeps, under the name of their own user; the log exports of clusters.
"""

from __future__ import annotations

import importlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Protocol

CLASS = re.compile(
    r"db\.(serverless|(t[234]g?|[cmrx]\d\w*|z1d)\.(micro|small|medium|large|\d*xlarge|metal)(\.tpc\d\.mem\dx)?)"
)
# forProvider's and ModifyDBInstance's names that wait for the window unless ApplyImmediately: (parameter, attribute)
WAITING = {
    "db_instance_class": "DBInstanceClass",
    "allocated_storage": "AllocatedStorage",
    "multi_az": "MultiAZ",
    "engine_version": "EngineVersion",
    "storage_type": "StorageType",
    "iops": "Iops",
    "backup_retention_period": "BackupRetentionPeriod",
    "license_model": "LicenseModel",
    "ca_certificate_identifier": "CACertificateIdentifier",
}
# what moto's RDS takes and doesn't show: parameter → attribute
ECHOED = {
    "backup_target": "backup_target",
    "custom_iam_instance_profile": "custom_iam_instance_profile",
    "database_insights_mode": "database_insights_mode",
    "dedicated_log_volume": "dedicated_log_volume",
    "enable_customer_owned_ip": "customer_owned_ip_enabled",
    "enable_performance_insights": "performance_insights_enabled",
    "engine_lifecycle_support": "engine_lifecycle_support",
    "nchar_character_set_name": "nchar_character_set_name",
    "network_type": "network_type",
    "performance_insights_kms_key_id": "performance_insights_kms_key_id",
    "performance_insights_retention_period": "performance_insights_retention_period",
    "replica_mode": "replica_mode",
    "timezone": "timezone",
}
DOMAIN = {  # parameter → member of a DomainMembership
    "domain": "domain",
    "domain_auth_secret_arn": "auth_secret_arn",
    "domain_dns_ips": "dns_ips",
    "domain_fqdn": "fqdn",
    "domain_iam_role_name": "iam_role_name",
    "domain_ou": "ou",
}


class Clock(Protocol):
    """The time of what takes time."""

    slow: float  # seconds that a creation, a modification or a deletion takes

    def now(self) -> float:
        """In seconds, since any moment."""
        ...


def mend(clock: Clock) -> None:
    """Replace the methods of moto's RDS that behave otherwise than AWS."""
    _mend_instances(clock)
    _mend_zones()
    _mend_secrets()
    _mend_subnet_groups()
    _mend_parameter_groups()
    _mend_tags()


def _mend_tags() -> None:
    """The tagging API tells the tags of groups, too."""
    backend: Any = importlib.import_module("moto.rds.models").RDSBackend
    tagged: Any = importlib.import_module("moto.core.resource_tagging").TaggedResource
    others = backend.iter_tagged_resources

    def iter_tagged_resources(self: Any) -> Iterator[Any]:
        yield from others(self)
        for groups in (self.subnet_groups, self.db_parameter_groups, self.db_cluster_parameter_groups):
            for group in groups.values():
                tags = {tag["Key"]: tag["Value"] for tag in group.get_tags()}
                yield tagged(group.arn, tags, f"rds:{group.resource_type}")

    backend.iter_tagged_resources = iter_tagged_resources


def _mend_instances(clock: Clock) -> None:
    rds_errors: Any = importlib.import_module("moto.rds.exceptions")
    models: Any = importlib.import_module("moto.rds.models")
    DBInstance, RDSBackend = models.DBInstance, models.RDSBackend
    create, modify, delete = RDSBackend.create_db_instance, RDSBackend.modify_db_instance, RDSBackend.delete_db_instance
    modify_cluster, delete_cluster = RDSBackend.modify_db_cluster, RDSBackend.delete_db_cluster
    describe, promote = RDSBackend.describe_db_instances, RDSBackend.promote_read_replica
    endpoint = DBInstance.endpoint.fget

    def create_db_instance(self: Any, arguments: dict[str, Any]) -> Any:
        if "dbi_resource_id" in arguments:  # a restore, which hands over all that its source has
            arguments.pop("source_db_instance_identifier", None)  # it is no replica of it
            if arguments.get("manage_master_user_password"):
                arguments.pop("master_user_password", None)
        _check_instance(arguments, rds_errors)
        if str(arguments.get("option_group_name") or "").startswith("default:"):
            del arguments["option_group_name"]  # AWS has it, moto only says so
        _choose_windows(self, arguments)
        database = create(self, arguments)
        database.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"
        database.pending_modified_values = {}
        _echo(database, arguments, models.DomainMembership)
        _pass(clock, database, "creating")
        return database

    def describe_db_instances(self: Any, db_instance_identifier: str | None = None, filters: Any = None) -> Any:
        for database in list(self.databases.values()):
            _advance(clock, self, database)
        return describe(self, db_instance_identifier, filters)

    def modify_db_instance(self: Any, db_instance_identifier: str, arguments: dict[str, Any]) -> Any:
        name = db_instance_identifier.lower()
        database = self.describe_db_instances(name)[0]
        if database.status not in ("available", "storage-full", "storage-optimization"):
            raise rds_errors.InvalidDBInstanceStateFault(f"Instance {name} is not in available state.")
        if name_ := arguments.get("db_instance_class"):
            _check_class(name_, rds_errors)
        now = arguments.get("apply_immediately")
        waiting = {}
        for parameter, attribute in WAITING.items():
            value = arguments.get(parameter)
            if now or value is None or value == getattr(database, parameter, None):
                continue
            waiting[attribute] = value
            database.deferred = {**getattr(database, "deferred", {}), parameter: arguments.pop(parameter)}
        if port := arguments.get("db_port_number"):
            database.port = port
        changed = {key for key in arguments if key not in ("apply_immediately", "db_instance_identifier")}
        modify(self, name, arguments)
        _echo(database, arguments, models.DomainMembership)
        database.pending_modified_values = {**(getattr(database, "pending_modified_values", None) or {}), **waiting}
        if "master_user_password" in changed:
            _pass(clock, database, "resetting-master-credentials")
        elif changed and now:
            _pass(clock, database, "modifying")
        return database

    def delete_db_instance(self: Any, db_instance_identifier: str, **arguments: Any) -> Any:
        name = db_instance_identifier.lower()
        database = self.describe_db_instances(name)[0]
        if database.status == "deleting":
            raise rds_errors.InvalidDBInstanceStateFault(f"Instance {name} is already being deleted.")
        skip = arguments.get("skip_final_snapshot")
        if not skip and not arguments.get("final_db_snapshot_identifier") and not database.is_replica:
            raise rds_errors.InvalidParameterCombination(
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            )
        database = delete(self, name, **arguments)
        if clock.slow:
            self.databases[name] = database  # still there for a while
            database.until = clock.now() + clock.slow
        return database

    def promote_read_replica(self: Any, arguments: dict[str, Any]) -> Any:
        database = promote(self, arguments)
        database.source_db_instance_identifier = None
        return database

    def modify_db_cluster(self: Any, kwargs: dict[str, Any]) -> Any:
        if logs := kwargs.get("cloudwatch_logs_export_configuration"):
            kwargs["enable_cloudwatch_logs_exports"] = logs  # moto knows it by the name of the create's
        return modify_cluster(self, kwargs)

    def delete_db_cluster(self: Any, cluster_identifier: str, snapshot_name: str | None = None) -> Any:
        gone = delete_cluster(self, cluster_identifier, snapshot_name)
        for name in [each for each in self.cluster_snapshots if each.startswith(f"rds:{cluster_identifier}-")]:
            del self.cluster_snapshots[name]  # AWS's own go with their cluster
        return gone

    RDSBackend.create_db_instance = create_db_instance
    RDSBackend.describe_db_instances = describe_db_instances
    RDSBackend.modify_db_instance = modify_db_instance
    RDSBackend.delete_db_instance = delete_db_instance
    RDSBackend.promote_read_replica = promote_read_replica
    RDSBackend.modify_db_cluster = modify_db_cluster
    RDSBackend.delete_db_cluster = delete_db_cluster
    DBInstance.endpoint = property(lambda self: None if self.status == "creating" else endpoint(self))


def _mend_zones() -> None:
    """An instance in two zones tells the second one, and changes over to it in a reboot with fail-over."""
    DBInstance: Any = importlib.import_module("moto.rds.models").DBInstance
    responses: Any = importlib.import_module("moto.rds.responses")

    def secondary_availability_zone(self: Any) -> str | None:
        if not self.multi_az:
            return None
        first = self.availability_zone
        return f"{first[:-1]}{'b' if first.endswith('a') else 'a'}"

    def reboot_db_instance(self: Any) -> Any:
        database = self.backend.reboot_db_instance(self.params.get("DBInstanceIdentifier"))
        if self.params.get("ForceFailover"):
            database.availability_zone = database.secondary_availability_zone or database.availability_zone
        return responses.ActionResult({"DBInstance": database})

    DBInstance.secondary_availability_zone = property(secondary_availability_zone)
    responses.RDSResponse.reboot_db_instance = reboot_db_instance


def _choose_windows(backend: Any, arguments: dict[str, Any]) -> None:
    """Where one window is given, or the cluster has one, the other is half a day later: AWS chooses one that does not overlap."""
    cluster = backend.clusters.get(arguments.get("db_cluster_identifier") or "")
    backups = arguments.get("preferred_backup_window") or getattr(cluster, "preferred_backup_window", None)
    maintenance = arguments.get("preferred_maintenance_window")
    if backups and not maintenance:
        hour = (int(backups[:2]) + 12) % 24
        arguments["preferred_maintenance_window"] = f"wed:{hour:02}:00-wed:{hour:02}:30"
    elif maintenance and not backups:
        hour = (int(maintenance[4:6]) + 12) % 24
        arguments["preferred_backup_window"] = f"{hour:02}:00-{hour:02}:30"


def _mend_secrets() -> None:
    """The secret that AWS keeps names the user of its database."""
    secret: Any = importlib.import_module("moto.rds.models").MasterUserSecret

    def _generate_secret_string(self: Any) -> str:
        username = getattr(self.resource, "master_username", None) or "admin"
        return json.dumps({"username": username, "password": f"kept-{uuid.uuid4().hex}"})

    secret._generate_secret_string = _generate_secret_string


def _mend_subnet_groups() -> None:
    rds_errors: Any = importlib.import_module("moto.rds.exceptions")
    RDSBackend: Any = importlib.import_module("moto.rds.models").RDSBackend
    create_group, delete_group = RDSBackend.create_subnet_group, RDSBackend.delete_subnet_group

    def create_subnet_group(self: Any, name: str, description: str, subnets: list[Any], tags: list[Any]) -> Any:
        if name.lower() in self.subnet_groups:
            raise rds_errors.RDSClientError("DBSubnetGroupAlreadyExists", f"DB Subnet Group {name} already exists")
        _check_zones(subnets, rds_errors)
        return create_group(self, name.lower(), description, subnets, tags)

    def modify_db_subnet_group(self: Any, name: str, description: str, subnets: list[Any]) -> Any:
        group = self.describe_db_subnet_groups(name)[0]
        _check_zones(subnets, rds_errors)
        group.subnets = subnets
        if description is not None:
            group.description = description
        return group

    def delete_subnet_group(self: Any, name: str) -> Any:
        users = [db for db in self.databases.values() if getattr(db, "_db_subnet_group_name", None) == name]
        if users:
            raise rds_errors.RDSClientError(
                "InvalidDBSubnetGroupStateFault",
                f"Cannot delete the subnet group '{name}' because at least one database instance is still using it.",
            )
        return delete_group(self, name)

    RDSBackend.create_subnet_group = create_subnet_group
    RDSBackend.modify_db_subnet_group = modify_db_subnet_group
    RDSBackend.delete_subnet_group = delete_subnet_group


def _mend_parameter_groups() -> None:
    """Let parameters be reset, which moto doesn't know, and keep groups that are in use."""
    rds_errors: Any = importlib.import_module("moto.rds.exceptions")
    backend: Any = importlib.import_module("moto.rds.models").RDSBackend
    responses: Any = importlib.import_module("moto.rds.responses")
    delete = backend.delete_db_parameter_group

    def delete_db_parameter_group(self: Any, db_parameter_group_name: str) -> Any:
        if any(each.db_parameter_group_name == db_parameter_group_name for each in self.databases.values()):
            words = "One or more database instances are still members of this parameter group"
            what = f"{words} {db_parameter_group_name}, so the group cannot be deleted"
            raise rds_errors.RDSClientError("InvalidDBParameterGroupState", what)
        return delete(self, db_parameter_group_name)

    backend.delete_db_parameter_group = delete_db_parameter_group

    def reset(member: str, groups: str) -> Callable[[Any], Any]:
        def answer(self: Any) -> Any:
            name = self.params.get(member)
            found = getattr(self.backend, groups).get(name)
            if found is None:
                raise responses.DBParameterGroupNotFoundError(name)
            given = [parameter.original_dict()["ParameterName"] for parameter in self.params.get("Parameters", [])]
            for parameter in list(found.parameters) if self.params.get("ResetAllParameters") else given:
                found.parameters.pop(parameter, None)
            return responses.ActionResult({member: name})

        return answer

    rds: Any = responses.RDSResponse
    rds.reset_db_parameter_group = reset("DBParameterGroupName", "db_parameter_groups")
    rds.reset_db_cluster_parameter_group = reset("DBClusterParameterGroupName", "db_cluster_parameter_groups")


def _echo(database: Any, arguments: dict[str, Any], membership: Any) -> None:
    """Keep what moto takes and forgets."""
    for parameter, attribute in ECHOED.items():
        if arguments.get(parameter) is not None:
            setattr(database, attribute, arguments[parameter])
    given = {member: arguments[name] for name, member in DOMAIN.items() if arguments.get(name)}
    if arguments.get("disable_domain"):
        database.domain_memberships = []
    elif given:
        known = database.domain_memberships[0] if database.domain_memberships else membership()
        vars(known).update(given)
        database.domain_memberships = [known]


def _check_instance(arguments: dict[str, Any], errors: Any) -> None:
    if arguments.get("db_cluster_identifier"):
        return
    if not arguments.get("master_username"):
        raise errors.InvalidParameterValue("The parameter MasterUsername must be provided and must not be blank.")
    password, managed = arguments.get("master_user_password"), arguments.get("manage_master_user_password")
    if password and managed:
        raise errors.InvalidParameterCombination(
            "You can't specify MasterUserPassword when you specify ManageMasterUserPassword."
        )
    if not managed and (not password or not 8 <= len(password) <= 128 or set(password) & set('/"@ ')):
        raise errors.InvalidParameterValue("Invalid master password")
    if arguments.get("multi_az") and arguments.get("availability_zone") and "dbi_resource_id" not in arguments:
        raise errors.InvalidParameterCombination(
            "Requesting a specific availability zone is not valid for Multi-AZ instances."
        )
    if not arguments.get("allocated_storage"):
        raise errors.InvalidParameterValue("Invalid storage size for engine name. You must specify AllocatedStorage.")
    _check_class(arguments.get("db_instance_class") or "", errors)


def _check_class(name: str, errors: Any) -> None:
    if not CLASS.fullmatch(name):
        raise errors.InvalidParameterValue(f"Invalid DB Instance class: {name}")


def _check_zones(subnets: list[Any], errors: Any) -> None:
    if len({subnet.availability_zone for subnet in subnets}) < 2:
        raise errors.RDSClientError(
            "DBSubnetGroupDoesNotCoverEnoughAZs",
            "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. "
            "Current AZ coverage: 1. Add subnets to cover at least 2 AZs.",
        )


def _pass(clock: Clock, database: Any, state: str) -> None:
    """Put an instance into a state that passes."""
    if clock.slow:
        database.status, database.until = state, clock.now() + clock.slow


def _advance(clock: Clock, backend: Any, database: Any) -> None:
    until = getattr(database, "until", None)
    if until is None or clock.now() < until:
        return
    database.until = None
    if database.status == "deleting":
        backend.databases.pop(database.db_instance_identifier, None)
    else:
        database.status = "available"


def maintain() -> None:
    """Apply what waits for the maintenance window, in all accounts and regions."""
    for database in _databases():
        database.update(**getattr(database, "deferred", {}))
        database.deferred, database.pending_modified_values = {}, {}


def passwords() -> dict[str, str | None]:
    """The master passwords that databases were given, by identifier, in all accounts and regions."""
    return {
        database.db_instance_identifier: getattr(database, "_master_user_password", None) for database in _databases()
    }


def _databases() -> list[Any]:
    models: Any = importlib.import_module("moto.rds.models")
    backends = [backend for regions in models.rds_backends.values() for backend in regions.values()]
    return [database for backend in backends for database in backend.databases.values()]
