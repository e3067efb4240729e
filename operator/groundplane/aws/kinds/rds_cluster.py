"""RDS Cluster: passwords, versions, log exports, promotion, and the way out.

Source: Terraform AWS provider 5.31, internal/service/rds/cluster.go; the rules that it shares with an instance are in rds_instance.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from groundplane.aws import compare
from groundplane.aws.kinds.rds_instance import kept_by_aws, unpublished
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput
from groundplane.ports import Default, Difference

PASSWORDS = ("masterPasswordSecretRef", "masterPasswordWoSecretRef", "manageMasterUserPassword")
COPIES = ("snapshotIdentifier", "restoreToPointInTime", "replicationSourceIdentifier", "globalClusterIdentifier")


class Hooks(Base):
    def defaults(self, resource: Resource) -> Sequence[Default]:
        spec = resource.spec
        if any(spec.get(name) for name in COPIES):
            return ()
        found = []
        if not spec.get("masterUsername"):
            username = "postgres" if "postgres" in str(spec.get("engine") or "") else "admin"
            note = f"spec.forProvider.masterUsername was not set: the engine's usual {username} is used"
            found.append(Default("masterUsername", username, note))
        if not any(spec.get(name) for name in PASSWORDS):
            name = f"{resource.name}-master-password"
            reference = {"namespace": resource.namespace, "name": name, "key": "password"}
            note = f"no password was given: one is generated into Secret {resource.namespace}/{name}"
            found.append(Default("masterPasswordSecretRef", reference, note))
            if not spec.get("autoGeneratePassword"):
                found.append(Default("autoGeneratePassword", True, note))
        return found

    def check(self, resource: Resource) -> None:
        for block in ("scalingConfiguration", "serverlessv2ScalingConfiguration"):
            for given in resource.spec.get(block) or ():
                least, most = given.get("minCapacity"), given.get("maxCapacity")
                if least is not None and most is not None and least > most:
                    what = f"minCapacity {least} is more than maxCapacity {most}"
                    place = f"{block}[0]" if isinstance(resource.written().get(block), list) else block
                    raise _bad(f"{place}.minCapacity", what, "write at most as much as maxCapacity")

    def check_create(self, resource: Resource) -> None:
        spec = resource.spec
        if any(spec.get(name) for name in COPIES):
            return
        if not spec.get("masterUsername"):
            raise _bad("masterUsername", "is required", "set it: postgres")
        if not spec.get("manageMasterUserPassword") and not any(resource.secrets.values()):
            raise _bad("masterPasswordSecretRef", "has no value", "fill the Secret, or set autoGeneratePassword: true")

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        """AWS's own group of parameters may be that of an earlier version; what is not named is right."""
        group = resource.spec.get("dbClusterParameterGroupName")
        is_copy = any(resource.spec.get(name) for name in COPIES)
        is_default = compare.are_defaults(group, group) and not is_copy
        return "", {"DBClusterParameterGroupName": None} if is_default else {}

    def observed(self, resource: Resource, item: Item) -> Item:
        """What waits for the maintenance window counts as there: it is not sent again and again."""
        pending = item.get("PendingModifiedValues") or {}
        for member in ("EngineVersion", "BackupRetentionPeriod", "StorageType", "AllocatedStorage", "Iops"):
            if pending.get(member) is not None:
                item[member] = pending[member]
        if pending.get("IAMDatabaseAuthenticationEnabled") is not None:
            item["IAMDatabaseAuthenticationEnabled"] = pending["IAMDatabaseAuthenticationEnabled"]
        return item

    def connection(self, resource: Resource, item: Item) -> Mapping[str, str]:
        return kept_by_aws(resource, item, "attribute.master_password")

    def notes(self, resource: Resource, item: Item) -> list[str]:
        return unpublished(item)

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        return [each for each in found if not _is_downgrade(each) and not _is_default(each)]

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        cluster = resource.external_name
        if group == "replica":
            if resource.desired("replicationSourceIdentifier", item):
                raise _bad(
                    "replicationSourceIdentifier", "can't be another one", "put it back, or remove it to promote"
                )
            resource.write("promote_read_replica_db_cluster", DBClusterIdentifier=cluster)
            return
        if group == "http":
            self._http(resource, item)
            return
        wanted = set(_texts(resource.desired("enabledCloudwatchLogsExports", item)))
        there = set(_texts(resource.observed("enabledCloudwatchLogsExports", item)))
        change = {"EnableLogTypes": sorted(wanted - there), "DisableLogTypes": sorted(there - wanted)}
        resource.write(
            "modify_db_cluster",
            DBClusterIdentifier=cluster,
            CloudwatchLogsExportConfiguration={name: logs for name, logs in change.items() if logs},
        )

    def _http(self, resource: Resource, item: Item) -> None:
        """The Data API: a modification takes it for Serverless v1 alone."""
        is_on = bool(resource.desired("enableHttpEndpoint", item))
        if item.get("EngineMode") == "serverless":
            resource.write("modify_db_cluster", DBClusterIdentifier=resource.external_name, EnableHttpEndpoint=is_on)
        else:
            resource.write(f"{'enable' if is_on else 'disable'}_http_endpoint", ResourceArn=item["DBClusterArn"])

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        if "EngineVersion" not in parameters:
            parameters.pop("AllowMajorVersionUpgrade", None)
            parameters.pop("DBInstanceParameterGroupName", None)
        return parameters

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        if parameters.get("SkipFinalSnapshot"):
            parameters.pop("FinalDBSnapshotIdentifier", None)
        elif not parameters.get("FinalDBSnapshotIdentifier"):
            raise _bad(
                "finalSnapshotIdentifier",
                "is needed for the deletion, which makes a last snapshot",
                "set it, or skipFinalSnapshot: true",
            )

    def delete_refused(self, resource: Resource, code: str, text: str) -> bool:
        """The protection goes where the spec does not want it, and may go at once."""
        spec = resource.spec
        if code != "InvalidParameterCombination" or "disable deletion protection" not in text.lower():
            return False
        if spec.get("deletionProtection") or not spec.get("applyImmediately"):
            return False
        resource.write(
            "modify_db_cluster",
            DBClusterIdentifier=resource.external_name,
            DeletionProtection=False,
            ApplyImmediately=True,
        )
        return True


def _is_downgrade(difference: Difference) -> bool:
    """AWS may have upgraded it by itself, and takes no version back."""
    if difference.field != "engineVersion" or not difference.observed:
        return False
    return compare.version_key(str(difference.desired)) <= compare.version_key(str(difference.observed))


def _is_default(difference: Difference) -> bool:
    """A new version brings its own group of parameters."""
    is_group = difference.field == "dbClusterParameterGroupName"
    return is_group and compare.are_defaults(difference.desired, difference.observed)


def _texts(value: Json) -> list[str]:
    return [str(entry) for entry in value or ()]


def _bad(field: str, what: str, mend: str) -> InvalidInput:
    return InvalidInput(what, mend=mend, where=(f"spec.forProvider.{field}",))
