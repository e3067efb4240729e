"""The stand-in for AWS: moto's server as a process of its own, mended where AWS behaves otherwise.

    python -m groundplane.aws.standin --port 5000 --slow 5

It prints its URL when it listens, and ends on SIGTERM or with its parent, a shell that is closed, too; all is forgotten then.  The demo and the tests talk to it over
HTTP, through a ProviderConfig's endpoint block or AWS_ENDPOINT_URL.  What moto 5.2 lacks and this adds: RDS
instances whose creation, modification and deletion take time; PendingModifiedValues; ModifyDBSubnetGroup;
a master user, a password, a known class and a snapshot decision demanded; DB subnet groups in use kept;
an own DbiResourceId for each instance; names and classes in lower case, in ElastiCache, too; settings of instances and subnets that moto takes and forgets; domains left.  For S3, SQS, SNS and
Secrets Manager see `standin_storage.py`, `standin_messaging.py` and `standin_secrets.py`; for DynamoDB `standin_dynamodb.py`; for Cloud Control `standin_cloudcontrol.py`; for
NAT gateways, IAM and KMS `standin_network.py` and `standin_identity.py`.

Controls, JSON over HTTP:

    POST   /standin/faults  {"service": "rds", "operation": "CreateDBInstance", "code": "Throttling", "status": 400,
                             "message": "…", "times": 2, "skip": 0, "lost": false}
                              the next matching calls fail, but for the first `skip`; operation "*" is any;
                              with `lost` they take effect, and only their answer is this error;
                              with "delay": 4 they begin 4 s later, and without a code they go through then;
                              with "key": only those that are signed with this access key
    GET    /standin/faults                                    them, each with how many times it is still to come
    DELETE /standin/faults                                    no more
    GET    /standin/calls                                     [{"service": …, "operation": …, "status": 200}, …] in
                                                              order; no status yet: not answered
    DELETE /standin/calls
    GET    /standin/passwords                                 {"orders": "…"}: what RDS never tells
    POST   /standin/clock   {"advance": 60}                   let 60 s pass for whatever takes time
    POST   /standin/slow    {"seconds": 5}                    how long creations and the like take from now on
    POST   /standin/maintenance                               apply what waits for the maintenance window
    POST   /moto-api/reset                                    forget everything (moto's own)
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from groundplane.aws import (
    standin_cloudcontrol,
    standin_dynamodb,
    standin_elasticache,
    standin_identity,
    standin_messaging,
    standin_network,
    standin_secrets,
    standin_storage,
)

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
LOWERED = {  # parameters that AWS keeps in lower case and takes in any, by service
    "rds": (
        "DBClusterIdentifier",
        "DBClusterInstanceClass",
        "DBClusterParameterGroupName",
        "DBInstanceClass",
        "DBInstanceIdentifier",
        "DBParameterGroupName",
        "DBSubnetGroupName",
        "GlobalClusterIdentifier",
        "OptionGroupName",
        "SourceDBInstanceIdentifier",
    ),
    "elasticache": (
        "CacheClusterId",
        "CacheNodeType",
        "CacheParameterGroupName",
        "CacheSubnetGroupName",
        "ReplicationGroupId",
        "UserGroupIds",
        "UserGroupIdsToAdd",
        "UserGroupIdsToRemove",
    ),
}
XML_ERROR = (
    '<?xml version="1.0"?><ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>'
    "</Error><RequestId>{id}</RequestId></ErrorResponse>"
)
EC2_ERROR = (
    '<?xml version="1.0"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>'
    "<RequestID>{id}</RequestID></Response>"
)
S3_ERROR = (
    '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message><RequestId>{id}</RequestId></Error>'
)


@dataclass
class Fault:
    service: str
    operation: str
    code: str
    message: str
    status: int
    times: int
    skip: int
    lost: bool
    delay: float
    key: str  # "": whichever access key it is called with


@dataclass
class World:
    """What the controls change, and the clock of whatever takes time."""

    slow: float = 0.0  # seconds
    offset: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        return time.monotonic() + self.offset


WORLD = World()


# --- RDS as AWS does it ---------------------------------------------------------------------------


def mend_rds() -> None:
    """Replace the methods of moto's RDS backend that behave otherwise than AWS."""
    rds_errors: Any = importlib.import_module("moto.rds.exceptions")
    models: Any = importlib.import_module("moto.rds.models")
    DBInstance, RDSBackend = models.DBInstance, models.RDSBackend
    create, modify, delete = RDSBackend.create_db_instance, RDSBackend.modify_db_instance, RDSBackend.delete_db_instance
    describe, promote = RDSBackend.describe_db_instances, RDSBackend.promote_read_replica
    endpoint = DBInstance.endpoint.fget

    def create_db_instance(self: Any, arguments: dict[str, Any]) -> Any:
        _check_instance(arguments, rds_errors)
        if str(arguments.get("option_group_name") or "").startswith("default:"):
            del arguments["option_group_name"]  # AWS has it, moto only says so
        database = create(self, arguments)
        database.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"
        database.pending_modified_values = {}
        _echo(database, arguments, models.DomainMembership)
        _pass(database, "creating")
        return database

    def describe_db_instances(self: Any, db_instance_identifier: str | None = None, filters: Any = None) -> Any:
        for database in list(self.databases.values()):
            _advance(self, database)
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
            _pass(database, "resetting-master-credentials")
        elif changed and now:
            _pass(database, "modifying")
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
        if WORLD.slow:
            self.databases[name] = database  # still there for a while
            database.until = WORLD.now() + WORLD.slow
        return database

    def promote_read_replica(self: Any, arguments: dict[str, Any]) -> Any:
        database = promote(self, arguments)
        database.source_db_instance_identifier = None
        return database

    RDSBackend.create_db_instance = create_db_instance
    RDSBackend.describe_db_instances = describe_db_instances
    RDSBackend.modify_db_instance = modify_db_instance
    RDSBackend.delete_db_instance = delete_db_instance
    RDSBackend.promote_read_replica = promote_read_replica
    DBInstance.endpoint = property(lambda self: None if self.status == "creating" else endpoint(self))


def mend_subnet_groups() -> None:
    """The same for DB subnet groups."""
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


def mend_parameter_groups() -> None:
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


def _pass(database: Any, state: str) -> None:
    """Put an instance into a state that passes."""
    if WORLD.slow:
        database.status, database.until = state, WORLD.now() + WORLD.slow


def _advance(backend: Any, database: Any) -> None:
    until = getattr(database, "until", None)
    if until is None or WORLD.now() < until:
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


# --- EC2 as AWS does it ---------------------------------------------------------------------------


def mend_ec2() -> None:
    """Let subnets keep the attributes that moto doesn't know, and tell the state of their IPv6 block."""
    subnets: Any = importlib.import_module("moto.ec2.responses.subnets").Subnets
    modify = subnets.modify_subnet_attribute

    def modify_subnet_attribute(self: Any) -> Any:
        subnet = self.ec2_backend.get_subnet(self._get_param("SubnetId"))
        for attribute, name in (
            ("EnableDns64", "enable_dns64"),
            ("MapCustomerOwnedIpOnLaunch", "map_customer_owned_ip_on_launch"),
        ):
            if (value := self._get_param(f"{attribute}.Value")) is not None:
                setattr(subnet, name, value)
        if (value := self._get_param("EnableResourceNameDnsAAAARecordOnLaunch.Value")) is not None:
            subnet.private_dns_name_options_on_launch["EnableResourceNameDnsAAAARecord"] = value
        if (value := self._get_param("CustomerOwnedIpv4Pool")) is not None:
            subnet.customer_owned_ipv4_pool = value
        if (value := self._get_param("EnableLniAtDeviceIndex")) is not None:
            subnet.enable_lni_at_device_index = value
        if self._get_param("DisableLniAtDeviceIndex"):
            subnet.enable_lni_at_device_index = None
        return modify(self)

    def blocks(self: Any) -> list[dict[str, Any]]:
        kept = [
            entry
            for entry in self.ipv6_cidr_block_associations.values()
            if entry["ipv6CidrBlockState"]["State"] == "associated"
        ]
        return [entry | {"ipv6CidrBlockState": {"state": "associated"}} for entry in kept]

    subnets.modify_subnet_attribute = modify_subnet_attribute
    importlib.import_module("moto.ec2.models.subnets").Subnet.ipv6_cidr_block_association_set = property(blocks)


# --- the controls ---------------------------------------------------------------------------------


class Application:
    """moto's WSGI application behind the controls, the log of calls and the injected faults."""

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self._inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO") or "")
        body = _body(environ)
        if path.startswith("/standin/"):
            return self._control(environ["REQUEST_METHOD"], path.removeprefix("/standin/"), body, start_response)
        if path.startswith("/moto-api"):
            if path.endswith("/reset"):
                standin_cloudcontrol.STORE.clear()
            return self._inner(environ, start_response)
        service, operation = _called(environ, body)
        _lower(environ, body, service)
        with WORLD.lock:
            call: dict[str, Any] = {"service": service, "operation": operation}
            WORLD.calls.append(call)
            fault = _fault(service, operation, _access_key(environ))

        def answer(status: str, *rest: Any) -> Any:
            call["status"] = int(status.split()[0])
            return start_response(status, *rest)

        if fault is not None:
            time.sleep(fault.delay)
        if fault is not None and fault.code:
            if fault.lost:
                list(self._inner(environ, lambda *_: None))
            return _failed(fault, environ, answer)
        if service == "cloudcontrolapi":
            with WORLD.lock:
                code, found = standin_cloudcontrol.answer(operation, body, WORLD.now(), WORLD.slow)
            answer(f"{code} {'OK' if code == 200 else 'Bad Request'}", [("Content-Type", "application/x-amz-json-1.0")])
            return [json.dumps(found).encode()]
        if service == "cloudformation" and operation == "DescribeType":
            code, text = standin_cloudcontrol.describe_type((parse_qs(body.decode()).get("TypeName") or [""])[0])
            answer(f"{code} {'OK' if code == 200 else 'Not Found'}", [("Content-Type", "text/xml")])
            return [text.encode()]
        return self._inner(environ, answer)

    def _control(self, method: str, name: str, body: bytes, start_response: Any) -> Iterable[bytes]:
        given = json.loads(body) if body else {}
        answer: Any = {}
        with WORLD.lock:
            match method, name:
                case "POST", "faults":
                    WORLD.faults.append(
                        Fault(
                            service=given.get("service", "*"),
                            operation=given.get("operation", "*"),
                            code=given.get("code", ""),
                            message=given.get("message", "injected"),
                            status=int(given.get("status", 400)),
                            times=int(given.get("times", 1)),
                            skip=int(given.get("skip", 0)),
                            lost=bool(given.get("lost")),
                            delay=float(given.get("delay", 0)),
                            key=given.get("key", ""),
                        )
                    )
                case "GET", "faults":
                    answer = [
                        {"service": each.service, "operation": each.operation, "times": each.times}
                        for each in WORLD.faults
                    ]
                case "DELETE", "faults":
                    WORLD.faults.clear()
                case "GET", "calls":
                    answer = list(WORLD.calls)
                case "DELETE", "calls":
                    WORLD.calls.clear()
                case "GET", "passwords":
                    answer = passwords()
                case "POST", "clock":
                    WORLD.offset += float(given["advance"])
                case "POST", "slow":
                    WORLD.slow = float(given["seconds"])
                case "POST", "maintenance":
                    maintain()
                case _:
                    start_response("404 Not Found", [("Content-Type", "application/json")])
                    return [b'{"error": "no such control"}']
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


def _body(environ: dict[str, Any]) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    if length:
        environ["wsgi.input"] = io.BytesIO(body)
    return body


def _lower(environ: dict[str, Any], body: bytes, service: str) -> None:
    """Put what AWS keeps in lower case, and finds in any, into it."""
    if names := LOWERED.get(service):
        pattern = rf"(?<![^&])({'|'.join(names)})(\.[A-Za-z.]+\d+)?=[^&]*"
        body = re.sub(pattern.encode(), _with_lower_value, body)
        environ["wsgi.input"] = io.BytesIO(body)


def _with_lower_value(parameter: re.Match[bytes]) -> bytes:
    name, _, value = parameter[0].partition(b"=")
    return name + b"=" + value.lower()


def _called(environ: dict[str, Any], body: bytes) -> tuple[str, str]:
    """The service and the operation of a request; for S3 its method and what it is about."""
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION") or "")
    service = scope.group(1) if scope else ""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return service, str(target).rpartition(".")[2]
    action = parse_qs(body.decode("utf-8", "replace")).get("Action") if b"Action=" in body else None
    if action:
        return service or "sts", action[0]
    query = str(environ.get("QUERY_STRING") or "").partition("&")[0].partition("=")[0]
    return service, f"{environ['REQUEST_METHOD']} {'?' + query if query else '/'}"


def _access_key(environ: dict[str, Any]) -> str:
    signed = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION") or "")
    return signed.group(1) if signed else ""


def _fault(service: str, operation: str, key: str) -> Fault | None:
    for fault in WORLD.faults:
        is_meant = fault.service in ("*", service) and fault.operation in ("*", operation) and fault.key in ("", key)
        if fault.times > 0 and is_meant:
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
    return None


def _failed(fault: Fault, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    service, _ = _called(environ, b"")
    facts = {"code": fault.code, "message": fault.message, "id": str(uuid.uuid4())}
    kind = "text/xml"
    if "json" in str(environ.get("CONTENT_TYPE") or ""):
        kind, text = "application/x-amz-json-1.1", json.dumps({"__type": fault.code, "message": fault.message})
    else:
        text = {"ec2": EC2_ERROR, "s3": S3_ERROR}.get(service, XML_ERROR).format(**facts)
    start_response(f"{fault.status} Injected", [("Content-Type", kind), ("x-amzn-RequestId", facts["id"])])
    return [text.encode()]


# --- the process ----------------------------------------------------------------------------------


def _end_with_parent(parent: int) -> None:
    """A test run or a demo that was killed leaves no server behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m groundplane.aws.standin",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that creations and the like take")
    options = parser.parse_args(argv)
    WORLD.slow = options.slow
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log(self, *args: Any, **kwargs: Any) -> None:
            """The log of calls is asked for at /standin/calls."""

    mend_rds()
    mend_subnet_groups()
    mend_parameter_groups()
    mend_ec2()
    standin_dynamodb.mend()
    standin_elasticache.mend()
    standin_storage.mend()
    standin_messaging.mend()
    standin_secrets.mend()
    standin_network.mend()
    standin_identity.mend()
    server = make_server(
        options.host,
        options.port,
        Application(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=Quiet,
    )
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    os.environ["MOTO_PORT"] = str(server.port)
    sys.stdout.write(f"http://{options.host}:{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
